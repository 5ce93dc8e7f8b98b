/*
 * status.c - names, SQLSTATEs and texts of outcomes; the error record (base).
 */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

static const struct {
	const char *name, *sqlstate, *text;
} status_table[ST_COUNT] = {
#define X(name, sqlstate, text) [ST_##name] = {"ST_" #name, sqlstate, text},
	STATUS_TABLE(X)
#undef X
};

#define X(name, sqlstate, text) \
	_Static_assert(sizeof sqlstate == 6, "the SQLSTATE of " #name " has five characters");
STATUS_TABLE(X)
#undef X

/* A value that is no status is shown as such rather than read past the table: it may come from a peer. */
const char *status_name(enum status st)
{
	return (unsigned)st < ST_COUNT ? status_table[st].name : "ST_?";
}

const char *status_sqlstate(enum status st)
{
	return (unsigned)st < ST_COUNT ? status_table[st].sqlstate : status_table[ST_INTERNAL].sqlstate;
}

const char *status_text(enum status st)
{
	return (unsigned)st < ST_COUNT ? status_table[st].text : "unknown status";
}

/*
 * Formats into @to, cut at a character's start: a client that is sent half of a UTF-8 character
 * rejects the whole message. Formats aside first, so that arguments may lie in the error itself.
 */
static void field_vset(char *to, size_t size, const char *fmt, va_list ap)
{
	char tmp[sizeof((struct error *)0)->message];
	int n;

	ASSERT_OP(size, <=, sizeof tmp);
	n = vsnprintf(tmp, size, fmt, ap);
	if (n < 0)
		tmp[0] = '\0';
	else if ((size_t)n >= size) {
		size_t end = size - 1, lead = end, need;

		while (lead > 0 && end - lead < 4 && ((unsigned char)tmp[lead - 1] & 0xc0) == 0x80)
			lead--;
		if (lead > 0 && (unsigned char)tmp[lead - 1] >= 0xc0) {
			unsigned char c = (unsigned char)tmp[lead - 1];

			need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
			if (end - (lead - 1) < need)
				tmp[lead - 1] = '\0';
		}
	}
	memcpy(to, tmp, strlen(tmp) + 1);
}

enum status error_set(struct error *err, enum status code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	field_vset(err->message, sizeof err->message, fmt, ap);
	va_end(ap);
	err->code = code;
	err->position = 0;
	err->detail[0] = err->hint[0] = err->context[0] = '\0';
	err->schema[0] = err->relation[0] = err->constraint[0] = err->column[0] = '\0';
	return code;
}

void error_detail(struct error *err, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return;
	va_start(ap, fmt);
	field_vset(err->detail, sizeof err->detail, fmt, ap);
	va_end(ap);
}

void error_context(struct error *err, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return;
	va_start(ap, fmt);
	field_vset(err->context, sizeof err->context, fmt, ap);
	va_end(ap);
}

void error_hint(struct error *err, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return;
	va_start(ap, fmt);
	field_vset(err->hint, sizeof err->hint, fmt, ap);
	va_end(ap);
}

void error_clear(struct error *err)
{
	if (err)
		memset(err, 0, sizeof *err);
}
