/*
 * value_out.c - values to text (types.h): what PostgreSQL's output functions print.
 */
#include <stdio.h>

#include "engine/sql/datetime.h"
#include "engine/sql/num.h"
#include "engine/sql/values.h"

static void int_out(int64_t v, struct buf *out)
{
	char text[24], *p = text + sizeof text;
	uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v;

	do {
		*--p = (char)('0' + u % 10);
		u /= 10;
	} while (u);
	if (v < 0)
		*--p = '-';
	buf_put(out, p, (size_t)(text + sizeof text - p));
}

static void f64_out(double d, bool single, struct buf *out)
{
	char text[40];

	buf_put(out, text, value_f64_text(d, value_settings_get()->extra_float_digits, single, text));
}

static bool array_must_quote(const uint8_t *p, size_t n)
{
	if (n == 0 || (n == 4 && ascii_lower(p[0]) == 'n' && ascii_lower(p[1]) == 'u' && ascii_lower(p[2]) == 'l' &&
		       ascii_lower(p[3]) == 'l'))
		return true;
	for (size_t i = 0; i < n; i++)
		if (p[i] == '"' || p[i] == '\\' || p[i] == '{' || p[i] == '}' || p[i] == ',' || ascii_space(p[i]))
			return true;
	return false;
}

/* Quotes what was appended from `from` on, in place: first counts what it grows by, then moves from the end. */
static void array_quote(struct buf *out, size_t from)
{
	size_t n = out->size - from, more = 2, to;

	for (size_t i = 0; i < n; i++)
		more += out->data[from + i] == '"' || out->data[from + i] == '\\';
	buf_append(out, more);
	to = out->size;
	out->data[--to] = '"';
	for (size_t i = n; i-- > 0;) {
		uint8_t c = out->data[from + i];

		out->data[--to] = c;
		if (c == '"' || c == '\\')
			out->data[--to] = '\\';
	}
	out->data[--to] = '"';
}

static void array_out(struct sql_type element, const struct cell *v, struct buf *out)
{
	struct array_view view;
	struct cell c;
	bool first = true;

	if (!array_open(&view, v->var, v->bytes))
		return;
	if (view.head.count && view.head.lower != 1)
		buf_printf(out, "[%d:%d]=", view.head.lower, view.head.lower + view.head.count - 1);
	put_u8(out, '{');
	while (array_next(&view, &c)) {
		size_t from;

		if (!first)
			put_u8(out, ',');
		first = false;
		if (c.null) {
			buf_put(out, "NULL", 4);
			continue;
		}
		from = out->size;
		value_out(element, &c, out);
		if (array_must_quote(out->data + from, out->size - from))
			array_quote(out, from);
	}
	put_u8(out, '}');
}

static void reg_out(uint32_t oid, int64_t v, struct buf *out)
{
	const struct type_info *ti = oid == T_REGTYPE ? type_find((uint32_t)v) : NULL;

	if (ti)
		buf_put(out, ti->name, strlen(ti->name));
	else if (v == 0)
		put_u8(out, '-');
	else
		int_out(v, out);
}

void value_out(struct sql_type t, const struct cell *v, struct buf *out)
{
	const struct type_info *ti;
	struct num n;

	switch (t.oid) {
	case T_BOOL:
		put_u8(out, v->i ? 't' : 'f');
		break;
	case T_INT2:
	case T_INT4:
	case T_INT8:
	case T_OID:
		int_out(v->i, out);
		break;
	case T_REGCLASS:
	case T_REGTYPE:
	case T_REGPROC:
		reg_out(t.oid, v->i, out);
		break;
	case T_FLOAT4:
	case T_FLOAT8:
		f64_out(v->f, t.oid == T_FLOAT4, out);
		break;
	case T_NUMERIC:
		num_load(&n, v->var, v->bytes);
		num_text(&n, out);
		break;
	case T_DATE:
		dt_date_out((int32_t)v->i, out);
		break;
	case T_TIME:
		dt_time_out(v->i, out);
		break;
	case T_TIMESTAMP:
	case T_TIMESTAMPTZ:
		dt_timestamp_out(v->i, t.oid == T_TIMESTAMPTZ, out);
		break;
	case T_INTERVAL:
		if (value_settings_get()->interval_iso)
			dt_interval_iso(interval_get(v->var), out);
		else
			dt_interval_out(interval_get(v->var), out);
		break;
	case T_BYTEA:
		value_bytea_text(v->var, v->bytes, value_settings_get()->bytea_escape, out);
		break;
	case T_VOID:
		break;
	default:
		ti = type_find(t.oid);
		if (ti && ti->element_oid)
			array_out((struct sql_type){ti->element_oid, t.typmod}, v, out);
		else
			buf_put(out, v->var, v->bytes);
	}
}
