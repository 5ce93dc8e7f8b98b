/*
 * write.c - messages to the client, but for rows (engine/pgwire).
 */
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "engine/pgwire/pgwire_int.h"

/* Returns where the length goes; the body is appended to @out, then pgw_end(). */
size_t pgw_begin(struct buf *out, char type)
{
	uint8_t *p = buf_append(out, 5);

	p[0] = (uint8_t)type;
	return out->size - 4;
}

void pgw_end(struct buf *out, size_t at)
{
	uint32_t bytes = __builtin_bswap32((uint32_t)(out->size - at));

	memcpy(out->data + at, &bytes, sizeof bytes);
}

void pgw_cstr(struct buf *out, const char *s)
{
	buf_put(out, s, strlen(s) + 1);
}

void pgw_empty(struct pg_conn *c, char type)
{
	pgw_end(&c->out, pgw_begin(&c->out, type));
}

void pgw_parameter(void *ctx, const char *name, const char *value)
{
	struct pg_conn *c = ctx;
	size_t at;

	if (!c->reporting)
		return;
	at = pgw_begin(&c->out, 'S');
	pgw_cstr(&c->out, name);
	pgw_cstr(&c->out, value);
	pgw_end(&c->out, at);
}

static void field(struct buf *out, char code, const char *text)
{
	if (text[0] == '\0')
		return;
	put_u8(out, (uint8_t)code);
	pgw_cstr(out, text);
}

static void report(struct pg_conn *c, char type, const char *severity, enum status st, const struct error *what)
{
	size_t at = pgw_begin(&c->out, type);
	char position[16] = "";

	field(&c->out, 'S', severity);
	field(&c->out, 'V', severity);
	field(&c->out, 'C', status_sqlstate(st));
	field(&c->out, 'M', what->message[0] ? what->message : status_text(st));
	field(&c->out, 'D', what->detail);
	field(&c->out, 'H', what->hint);
	if (what->position > 0)
		snprintf(position, sizeof position, "%d", what->position);
	field(&c->out, 'P', position);
	field(&c->out, 'W', what->context);
	field(&c->out, 's', what->schema);
	field(&c->out, 't', what->relation);
	field(&c->out, 'c', what->column);
	field(&c->out, 'n', what->constraint);
	put_u8(&c->out, 0);
	pgw_end(&c->out, at);
}

void pgw_notice(void *ctx, const char *severity, const struct error *what)
{
	report(ctx, 'N', severity, what->code, what);
}

void pgw_error(struct pg_conn *c, const char *severity, enum status st, const struct error *what)
{
	report(c, 'E', severity, st, what);
}

void pgw_ready(struct pg_conn *c)
{
	size_t at = pgw_begin(&c->out, 'Z');

	put_u8(&c->out, (uint8_t)sql_session_status(c->session));
	pgw_end(&c->out, at);
	sql_session_idle(c->session, true);
}

void pgw_tag(struct pg_conn *c, const char *tag)
{
	size_t at = pgw_begin(&c->out, 'C');

	pgw_cstr(&c->out, tag);
	pgw_end(&c->out, at);
}

/* The engine is about to go: nothing that follows on this connection could succeed. */
static bool ends_session(enum status st)
{
	return st == ST_ADMIN_SHUTDOWN || st == ST_CRASH_SHUTDOWN;
}

static enum progress close_with(struct pg_conn *c, enum status st, const struct error *what)
{
	pgw_error(c, "FATAL", st, what);
	log_event(c->log, LOG_PGWIRE, st == ST_PROTOCOL ? LOG_WARN : LOG_INFO, "connection refused or ended",
		  "peer=%s sqlstate=%s message=%s", c->peer, status_sqlstate(st),
		  what->message[0] ? what->message : status_text(st));
	pgw_move(c, PH_CLOSED);
	return GO_ON;
}

enum progress pgw_fail(struct pg_conn *c, enum status st, const struct error *what)
{
	ASSERT(st != ST_OK && !pgw_is_wait(st));
	if (ends_session(st))
		return close_with(c, st, what);
	pgw_error(c, "ERROR", st, what);
	c->failed = true;
	c->tag_held = false;
	c->copy_in = c->copy_out = false;
	c->discard_bytes += c->copy_left;
	c->copy_left = 0;
	if (c->simple) {
		pgw_move(c, PH_SYNC);
	} else {
		c->skipping = true;
		if (c->phase != PH_READY)
			pgw_move(c, PH_READY);
	}
	return GO_ON;
}

enum progress pgw_failf(struct pg_conn *c, enum status st, const char *fmt, ...)
{
	struct error err = {.code = st};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err.message, sizeof err.message, fmt, ap);
	va_end(ap);
	return pgw_fail(c, st, &err);
}

enum progress pgw_fatal(struct pg_conn *c, enum status st, const char *fmt, ...)
{
	struct error err = {.code = st};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err.message, sizeof err.message, fmt, ap);
	va_end(ap);
	return close_with(c, st, &err);
}
