/*
 * log.c - structured log lines (base).
 *
 * log_event reads its format itself, conversion by conversion, because only so can it tell a text value,
 * which may come from a client and hold anything, from the fixed words around it. A value in a line can
 * therefore never look like another key, nor start a new line.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/env.h"

#define LINE_MAX_BYTES 2048

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};
static const char *const sub_names[LOG_SUBSYSTEM_COUNT] = {
	[LOG_BASE] = "base",       [LOG_NET] = "net",           [LOG_RELAY] = "relay",
	[LOG_ATOMS] = "atoms",     [LOG_CATALOG] = "catalog",   [LOG_SEQUENCER] = "sequencer",
	[LOG_TXN] = "txn",         [LOG_ARCHIVE] = "archive",   [LOG_SQL] = "sql",
	[LOG_PGWIRE] = "pgwire",   [LOG_ENGINE] = "engine",     [LOG_CLI] = "cli",
	[LOG_SIM] = "sim",
};

static void stderr_write(void *ctx, const char *line, uint32_t bytes)
{
	(void)ctx;
	/* one write, so that lines of several processes do not mix; a lost log line is not worth failing for */
	if (write(STDERR_FILENO, line, bytes) < 0)
		return;
}

static uint64_t system_wall_us(void *ctx)
{
	struct clock c = clock_system();

	(void)ctx;
	return clock_wall_us(&c);
}

void logger_init_stderr(struct logger *lg, const char *name)
{
	memset(lg, 0, sizeof *lg);
	lg->write = stderr_write;
	lg->wall_us = system_wall_us;
	snprintf(lg->name, sizeof lg->name, "%s", name);
	logger_set_levels(lg, LOG_INFO);
}

void logger_set_levels(struct logger *lg, enum log_level level)
{
	memset(lg->levels, (int)level, sizeof lg->levels);
}

static int name_find(const char *const *names, int count, const char *s, size_t len)
{
	for (int i = 0; i < count; i++)
		if (strlen(names[i]) == len && memcmp(names[i], s, len) == 0)
			return i;
	return -1;
}

bool logger_parse_levels(struct logger *lg, const char *spec)
{
	uint8_t levels[LOG_SUBSYSTEM_COUNT];

	memcpy(levels, lg->levels, sizeof levels);
	for (;;) {
		size_t len = strcspn(spec, ",");
		const char *eq = memchr(spec, '=', len);
		size_t sub_len = eq ? (size_t)(eq - spec) : 0;
		const char *word = eq ? eq + 1 : spec;
		int level, sub;

		level = name_find(level_names, LOG_TRACE + 1, word, (size_t)(spec + len - word));
		if (level < 0)
			return false;
		if (eq) {
			sub = name_find(sub_names, LOG_SUBSYSTEM_COUNT, spec, sub_len);
			if (sub < 0)
				return false;
			levels[sub] = (uint8_t)level;
		} else {
			memset(levels, level, sizeof levels);
		}
		if (spec[len] == '\0')
			break;
		spec += len + 1;
	}
	memcpy(lg->levels, levels, sizeof levels);
	return true;
}

struct line {
	char at[LINE_MAX_BYTES];
	size_t size;
};

/* The last byte is kept for the newline; what does not fit is cut. */
static void line_put(struct line *l, const char *s, size_t bytes)
{
	size_t room = LINE_MAX_BYTES - 1 - l->size;

	if (bytes > room)
		bytes = room;
	memcpy(l->at + l->size, s, bytes);
	l->size += bytes;
}

static bool needs_quotes(const char *s, size_t len)
{
	if (len == 0)
		return true;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f)
			return true;
	}
	return false;
}

static void line_put_text(struct line *l, const char *s, size_t len)
{
	if (!needs_quotes(s, len)) {
		line_put(l, s, len);
		return;
	}
	line_put(l, "\"", 1);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		char esc[8];

		if (c == '"' || c == '\\')
			snprintf(esc, sizeof esc, "\\%c", c);
		else if (c == '\n')
			snprintf(esc, sizeof esc, "\\n");
		else if (c < ' ' || c == 0x7f)
			snprintf(esc, sizeof esc, "\\x%02x", c);
		else
			snprintf(esc, sizeof esc, "%c", c);
		line_put(l, esc, strlen(esc));
	}
	line_put(l, "\"", 1);
}

/* One conversion of a format: "%-5.*ld" and the like. */
struct conv {
	char spec[32]; /* with widths and precisions given by * put in */
	char size;     /* 0, 'h', 'l', 'q' (ll), 'z', 'j', 't' */
	char type;
};

/* Copies a width or precision, taking it from @ap when it is a star. */
static const char *conv_number(struct conv *c, size_t *n, const char *fmt, va_list *ap)
{
	if (*fmt == '*') {
		*n += (size_t)snprintf(c->spec + *n, sizeof c->spec - *n, "%d", va_arg(*ap, int));
		ASSERT_OP(*n, <, sizeof c->spec);
		return fmt + 1;
	}
	while (*fmt >= '0' && *fmt <= '9') {
		ASSERT_OP(*n, <, sizeof c->spec - 6);
		c->spec[(*n)++] = *fmt++;
	}
	return fmt;
}

/* @fmt is just after the percent sign; the place after the conversion is returned. */
static const char *conv_parse(struct conv *c, const char *fmt, va_list *ap)
{
	size_t n = 0;

	c->spec[n++] = '%';
	while (*fmt && strchr("-+ #0", *fmt)) {
		ASSERT_OP(n, <, 8);
		c->spec[n++] = *fmt++;
	}
	fmt = conv_number(c, &n, fmt, ap);
	if (*fmt == '.') {
		c->spec[n++] = *fmt++;
		fmt = conv_number(c, &n, fmt, ap);
	}
	c->size = '\0';
	while (*fmt && strchr("hlzjtL", *fmt)) {
		c->size = c->size == 'l' && *fmt == 'l' ? 'q' : *fmt;
		ASSERT_OP(n, <, sizeof c->spec - 2);
		c->spec[n++] = *fmt++;
	}
	c->type = *fmt;
	ASSERT(*fmt != '\0');
	c->spec[n++] = *fmt++;
	c->spec[n] = '\0';
	return fmt;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the compiler checked the caller's format */
static void line_put_conv(struct line *l, const struct conv *c, va_list *ap)
{
	char tmp[LINE_MAX_BYTES];
	int n;

	if (strchr("diouxXc", c->type)) {
		/* integers of one size pass alike, signed or not */
		if (c->size == 'q' || c->size == 'j' || c->size == 'z' || c->size == 't' ||
		    c->size == 'l')
			n = snprintf(tmp, sizeof tmp, c->spec, va_arg(*ap, long long));
		else
			n = snprintf(tmp, sizeof tmp, c->spec, va_arg(*ap, int));
	} else if (strchr("eEfFgGaA", c->type)) {
		ASSERT(c->size != 'L');
		n = snprintf(tmp, sizeof tmp, c->spec, va_arg(*ap, double));
	} else if (c->type == 's') {
		const char *s = va_arg(*ap, const char *);

		n = snprintf(tmp, sizeof tmp, c->spec, s ? s : "(null)");
	} else {
		ASSERT(c->type == 'p');
		n = snprintf(tmp, sizeof tmp, c->spec, va_arg(*ap, void *));
	}
	ASSERT(n >= 0);
	if (n >= (int)sizeof tmp)
		n = (int)sizeof tmp - 1;
	if (c->type == 's' || c->type == 'c')
		line_put_text(l, tmp, (size_t)n);
	else
		line_put(l, tmp, (size_t)n);
}
#pragma GCC diagnostic pop

_Static_assert(sizeof(long) == sizeof(long long) && sizeof(size_t) == sizeof(long long),
	       "line_put_conv reads them alike");

static void line_vprintf(struct line *l, const char *fmt, va_list *ap)
{
	while (*fmt) {
		size_t plain = strcspn(fmt, "%");
		struct conv c;

		line_put(l, fmt, plain);
		fmt += plain;
		if (*fmt == '\0')
			break;
		if (fmt[1] == '%') {
			line_put(l, "%", 1);
			fmt += 2;
			continue;
		}
		fmt = conv_parse(&c, fmt + 1, ap);
		line_put_conv(l, &c, ap);
	}
}

static void line_put_head(struct line *l, const struct logger *lg, enum log_subsystem sub,
			  enum log_level level, const char *event)
{
	uint64_t wall_us = lg->wall_us ? lg->wall_us(lg->ctx_clock) : 0;
	time_t seconds = (time_t)(wall_us / 1000000);
	struct tm tm;
	char tmp[160];
	int n;

	if (!gmtime_r(&seconds, &tm))
		memset(&tm, 0, sizeof tm);
	n = snprintf(tmp, sizeof tmp, "%04d-%02d-%02dT%02d:%02d:%02d.%06uZ %s %s %s ", tm.tm_year + 1900,
		     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		     (unsigned)(wall_us % 1000000), level_names[level], sub_names[sub],
		     lg->name[0] ? lg->name : "-");
	ASSERT(n > 0 && n < (int)sizeof tmp);
	line_put(l, tmp, (size_t)n);
	line_put(l, event, strlen(event));
}

void log_event(struct logger *lg, enum log_subsystem sub, enum log_level level, const char *event,
	       const char *fmt, ...)
{
	struct line l;
	va_list ap;

	if (!log_on(lg, sub, level))
		return;
	l.size = 0;
	line_put_head(&l, lg, sub, level, event);
	if (fmt[0] != '\0') {
		line_put(&l, " ", 1);
		va_start(ap, fmt);
		line_vprintf(&l, fmt, &ap);
		va_end(ap);
	}
	l.at[l.size++] = '\n';
	lg->write(lg->ctx, l.at, (uint32_t)l.size);
}
