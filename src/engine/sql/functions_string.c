/*
 * functions_string.c - kernels that quote, format, encode and convert text (functions.def).
 */
#include <inttypes.h>
#include <stdio.h>

#include "engine/sql/functions_int.h"

/* -- quoting -------------------------------------------------------------------------------------------------------------- */

/* reserved words, which an identifier may not be unquoted (PostgreSQL 15: all but its unreserved ones); sorted */
static const char *const reserved[] = {
	"all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization", "between", "bigint",
	"binary", "bit", "boolean", "both", "case", "cast", "char", "character", "check", "coalesce", "collate", "collation",
	"column", "concurrently", "constraint", "create", "cross", "current_catalog", "current_date", "current_role",
	"current_schema", "current_time", "current_timestamp", "current_user", "dec", "decimal", "default", "deferrable",
	"desc", "distinct", "do", "else", "end", "except", "exists", "extract", "false", "fetch", "float", "for", "foreign",
	"freeze", "from", "full", "grant", "greatest", "group", "grouping", "having", "ilike", "in", "initially", "inner",
	"inout", "int", "integer", "intersect", "interval", "into", "is", "isnull", "join", "lateral", "leading", "least",
	"left", "like", "limit", "localtime", "localtimestamp", "national", "natural", "nchar", "none", "normalize", "not",
	"notnull", "null", "nullif", "numeric", "offset", "on", "only", "or", "order", "out", "outer", "overlaps", "overlay",
	"placing", "position", "precision", "primary", "real", "references", "returning", "right", "row", "select",
	"session_user", "setof", "similar", "smallint", "some", "substring", "symmetric", "table", "tablesample", "then",
	"time", "timestamp", "to", "trailing", "treat", "trim", "true", "union", "unique", "user", "using", "values",
	"varchar", "variadic", "verbose", "when", "where", "window", "with", "xmlattributes", "xmlconcat", "xmlelement",
	"xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot", "xmlserialize", "xmltable",
};

static bool is_reserved(const uint8_t *p, size_t n)
{
	size_t lo = 0, hi = sizeof reserved / sizeof *reserved;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = bytes_compare(p, n, reserved[mid], strlen(reserved[mid]));

		if (c == 0)
			return true;
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return false;
}

static bool safe_ident(const uint8_t *p, size_t n)
{
	if (n == 0 || !((*p >= 'a' && *p <= 'z') || *p == '_'))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!((p[i] >= 'a' && p[i] <= 'z') || ascii_digit(p[i]) || p[i] == '_'))
			return false;
	return !is_reserved(p, n);
}

static void put_ident(const uint8_t *p, size_t n, struct buf *b)
{
	if (safe_ident(p, n)) {
		buf_put(b, p, n);
		return;
	}
	put_u8(b, '"');
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '"')
			put_u8(b, '"');
		put_u8(b, p[i]);
	}
	put_u8(b, '"');
}

static void put_literal(const uint8_t *p, size_t n, struct buf *b)
{
	if (n && memchr(p, '\\', n))
		put_u8(b, 'E');
	put_u8(b, '\'');
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\'' || p[i] == '\\')
			put_u8(b, p[i]);
		put_u8(b, p[i]);
	}
	put_u8(b, '\'');
}

KERNEL(quote_ident)
{
	EACH_ROW(r) {
		struct buf b;
		enum status st;

		fn_buf_init(ev, &b);
		put_ident(ARG(0, var, r).p, ARG(0, var, r).bytes, &b);
		st = fn_buf_take(ev, &b, &out->var[r]);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

/* any value as a literal, null as NULL */
static enum status quote_any(KERNEL_ARGS)
{
	EVERY_ROW(r) {
		struct cell c = arg_cell(args, 0, r);
		struct buf text, b;
		enum status st;

		fn_buf_init(ev, &b);
		if (c.null) {
			buf_put(&b, "NULL", 4);
		} else {
			fn_buf_init(ev, &text);
			fn_value_text(fn_arg_type(ev, fn, 0), &c, &text);
			put_literal(text.data, text.size, &b);
			buf_fini(&text);
		}
		st = fn_buf_take(ev, &b, &out->var[r]);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

KERNEL(quote_literal) /* strict: the null bits stay */
{
	return quote_any(KERNEL_PASS);
}

KERNEL(quote_literal_any)
{
	return quote_any(KERNEL_PASS);
}

KERNEL(quote_nullable)
{
	return quote_any(KERNEL_PASS);
}

/* -- format -------------------------------------------------------------------------------------------------------------------- */

struct format {
	struct eval *ev;
	const struct fn_def *fn;
	const struct vec *args;
	uint32_t arg_count, row, next; /* next: argument that an unnumbered specifier takes */
	const uint8_t *p, *end;
	struct buf *out;
};

static enum status format_error(struct format *f, const char *message)
{
	return error_set(f->ev->err, ST_BAD_PARAMETER, "%s", message);
}

static bool format_number(struct format *f, uint32_t *v)
{
	bool any = false;

	*v = 0;
	for (; f->p < f->end && ascii_digit(*f->p); f->p++) {
		any = true;
		if (*v < 100000000)
			*v = *v * 10 + (uint32_t)(*f->p - '0');
	}
	return any;
}

static enum status format_arg(struct format *f, uint32_t number, uint8_t kind, uint32_t width, bool left)
{
	size_t at = f->out->size, chars;
	struct cell c;
	struct buf text;

	if (number >= f->arg_count)
		return format_error(f, "too few arguments for format()");
	vec_cell(&f->args[number], f->row, &c);
	if (c.null && kind == 'I')
		return error_set(f->ev->err, ST_NULL_NOT_ALLOWED, "null values cannot be formatted as an SQL identifier");
	if (c.null) {
		if (kind == 'L')
			buf_put(f->out, "NULL", 4);
	} else {
		fn_buf_init(f->ev, &text);
		fn_value_text(fn_arg_type(f->ev, f->fn, number), &c, &text);
		if (kind == 'I')
			put_ident(text.data, text.size, f->out);
		else if (kind == 'L')
			put_literal(text.data, text.size, f->out);
		else
			buf_put(f->out, text.data, text.size);
		buf_fini(&text);
	}
	chars = utf8_count(f->out->data + at, f->out->size - at);
	if (chars < width) {
		size_t n = f->out->size - at, fill = width - chars;

		if (width > VALUE_BYTES_MAX)
			return format_error(f, "number is out of range");
		buf_append(f->out, fill);
		if (left) {
			memset(f->out->data + at + n, ' ', fill);
		} else {
			memmove(f->out->data + at + fill, f->out->data + at, n);
			memset(f->out->data + at, ' ', fill);
		}
	}
	return ST_OK;
}

/* A width given as an argument: its text read as an integer; null is none. */
static enum status format_width(struct format *f, uint32_t number, int64_t *w)
{
	struct cell c;
	struct buf text;
	enum status st;

	if (number >= f->arg_count)
		return format_error(f, "too few arguments for format()");
	vec_cell(&f->args[number], f->row, &c);
	if (c.null)
		return ST_OK;
	fn_buf_init(f->ev, &text);
	fn_value_text(fn_arg_type(f->ev, f->fn, number), &c, &text);
	st = value_int_parse((const char *)text.data, text.size, -(int64_t)VALUE_BYTES_MAX, VALUE_BYTES_MAX, "integer", w,
			     f->ev->err);
	buf_fini(&text);
	return st;
}

/* after a '%': [position$][-][width | * | *position$]type */
static enum status format_spec(struct format *f)
{
	uint32_t number = 0, width = 0, v;
	bool left = false;

	if (format_number(f, &v)) {
		if (f->p < f->end && *f->p == '$') {
			f->p++;
			if (v == 0)
				return format_error(f, "format specifies argument 0, but arguments are numbered from 1");
			number = v;
		} else {
			width = v;
		}
	}
	while (f->p < f->end && *f->p == '-') {
		left = true;
		f->p++;
	}
	if (f->p < f->end && *f->p == '*') {
		int64_t w = 0;
		enum status st;

		f->p++;
		if (format_number(f, &v)) {
			if (f->p == f->end || *f->p++ != '$')
				return format_error(f, "width argument position must be ended by \"$\"");
		} else {
			v = f->next++;
		}
		st = format_width(f, v, &w);
		if (st != ST_OK)
			return st;
		left |= w < 0;
		width = (uint32_t)(w < 0 ? -w : w);
	} else if (format_number(f, &v)) {
		width = v;
	}
	if (f->p == f->end)
		return format_error(f, "unterminated format() type specifier");
	if (*f->p != 's' && *f->p != 'I' && *f->p != 'L')
		return error_set(f->ev->err, ST_BAD_PARAMETER, "unrecognized format() type specifier \"%c\"", *f->p);
	if (number == 0)
		number = f->next;
	f->next = number + 1;
	return format_arg(f, number, *f->p++, width, left);
}

static enum status format_row(struct format *f)
{
	while (f->p < f->end) {
		enum status st;

		if (*f->p != '%') {
			put_u8(f->out, *f->p++);
			continue;
		}
		if (++f->p == f->end)
			return format_error(f, "unterminated format() type specifier");
		if (*f->p == '%') {
			put_u8(f->out, *f->p++);
			continue;
		}
		st = format_spec(f);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

KERNEL(format)
{
	EVERY_ROW(r) {
		struct cell pattern = arg_cell(args, 0, r);
		struct buf b;
		struct format f = {ev, fn, args, arg_count, r, 1, pattern.var, pattern.var + pattern.bytes, &b};
		enum status st;

		if (pattern.null) {
			out_null(ev, out, r);
			continue;
		}
		fn_buf_init(ev, &b);
		st = format_row(&f);
		if (st != ST_OK)
			buf_fini(&b);
		else
			st = fn_buf_take(ev, &b, &out->var[r]);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

/* -- encodings ------------------------------------------------------------------------------------------------------------------- */

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void base64_encode(const uint8_t *p, size_t n, struct buf *b)
{
	size_t line = 0;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t left = (uint32_t)(n - i < 3 ? n - i : 3);
		uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);

		put_u8(b, (uint8_t)base64[v >> 18]);
		put_u8(b, (uint8_t)base64[v >> 12 & 63]);
		put_u8(b, left > 1 ? (uint8_t)base64[v >> 6 & 63] : '=');
		put_u8(b, left > 2 ? (uint8_t)base64[v & 63] : '=');
		line += 4;
		if (line == 76 && i + 3 < n) {
			put_u8(b, '\n');
			line = 0;
		}
	}
}

static enum status base64_decode(struct eval *ev, const uint8_t *p, size_t n, struct buf *b)
{
	uint32_t v = 0, have = 0, pads = 0;

	for (size_t i = 0; i < n; i++) {
		const char *at;

		if (ascii_space(p[i]))
			continue;
		if (p[i] == '=') {
			pads++;
			v <<= 6;
			have++;
		} else {
			at = p[i] ? strchr(base64, p[i]) : NULL;
			if (!at || pads)
				return error_set(ev->err, ST_BAD_PARAMETER,
						 pads ? "unexpected \"=\" while decoding base64 sequence"
						      : "invalid symbol \"%c\" found while decoding base64 sequence",
						 p[i]);
			v = v << 6 | (uint32_t)(at - base64);
			have++;
		}
		if (have == 4) {
			for (uint32_t k = 0; k + pads < 3; k++)
				put_u8(b, (uint8_t)(v >> (16 - 8 * k)));
			have = v = 0;
		}
	}
	if (have)
		return error_set(ev->err, ST_BAD_PARAMETER, "invalid base64 end sequence");
	return ST_OK;
}

static bool named(const struct slice *s, const char *name)
{
	if (s->bytes != strlen(name))
		return false;
	for (uint32_t i = 0; i < s->bytes; i++)
		if (ascii_lower(s->p[i]) != name[i])
			return false;
	return true;
}

static enum status unknown_encoding(struct eval *ev, const struct slice *name)
{
	return error_set(ev->err, ST_BAD_PARAMETER, "unrecognized encoding: \"%.*s\"", (int)name->bytes, name->p);
}

KERNEL(encode)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r), *how = &ARG(1, var, r);
		struct buf b, hex;
		enum status st;

		fn_buf_init(ev, &b);
		if (named(how, "hex")) {
			fn_buf_init(ev, &hex);
			value_bytea_text(s->p, s->bytes, false, &hex);
			buf_put(&b, hex.data + 2, hex.size - 2);
			buf_fini(&hex);
		} else if (named(how, "base64")) {
			base64_encode(s->p, s->bytes, &b);
		} else if (named(how, "escape")) {
			for (uint32_t i = 0; i < s->bytes; i++) {
				if (s->p[i] == '\\')
					buf_put(&b, "\\\\", 2);
				else if (s->p[i] == 0 || s->p[i] >= 0x80)
					buf_printf(&b, "\\%03o", s->p[i]);
				else
					put_u8(&b, s->p[i]);
			}
		} else {
			buf_fini(&b);
			return unknown_encoding(ev, how);
		}
		st = fn_buf_take(ev, &b, &out->var[r]);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

static enum status decode_row(struct eval *ev, const struct slice *s, const struct slice *how, struct slice *res)
{
	struct buf b;
	struct cell c;
	enum status st;

	if (named(how, "base64")) {
		fn_buf_init(ev, &b);
		st = base64_decode(ev, s->p, s->bytes, &b);
		if (st == ST_OK)
			return fn_buf_take(ev, &b, res);
		buf_fini(&b);
		return st;
	}
	if (named(how, "hex")) {
		char *text = (char *)fn_room(ev, (size_t)s->bytes + 2);

		if (!text)
			return fn_failed(ev);
		text[0] = '\\';
		text[1] = 'x';
		if (s->bytes)
			memcpy(text + 2, s->p, s->bytes);
		st = value_bytea_parse(text, s->bytes + 2, ev->arena, &c, ev->err);
	} else if (named(how, "escape")) {
		st = value_bytea_parse((const char *)s->p, s->bytes, ev->arena, &c, ev->err);
	} else {
		return unknown_encoding(ev, how);
	}
	if (st == ST_OK)
		*res = (struct slice){c.var, c.bytes, 0};
	return st;
}

KERNEL(decode)
{
	EACH_ROW(r) {
		enum status st = decode_row(ev, &ARG(0, var, r), &ARG(1, var, r), &out->var[r]);

		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

static bool is_utf8_name(const struct slice *s)
{
	return named(s, "utf8") || named(s, "utf-8") || named(s, "unicode") || named(s, "sql_ascii");
}

static enum status convert(struct eval *ev, const struct slice *s, const struct slice *name, struct slice *res)
{
	if (!is_utf8_name(name))
		return error_set(ev->err, ST_UNSUPPORTED, "encoding \"%.*s\" is not supported", (int)name->bytes,
				 name->p);
	if (!utf8_valid(s->p, s->bytes))
		return error_set(ev->err, ST_BAD_ENCODING, "invalid byte sequence for encoding \"UTF8\"");
	*res = *s;
	return ST_OK;
}

KERNEL(convert_from)
{
	EACH_ROW(r) {
		enum status st = convert(ev, &ARG(0, var, r), &ARG(1, var, r), &out->var[r]);

		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

KERNEL(convert_to)
{
	return fnk_convert_from(KERNEL_PASS);
}

KERNEL(get_byte)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r);
		int32_t at = ARG(1, i32, r);

		if (at < 0 || (uint32_t)at >= s->bytes)
			return error_set(ev->err, ST_DATA, "index %d out of valid range, 0..%d", at,
					 (int)s->bytes - 1);
		out->i32[r] = s->p[at];
	}
	return ST_OK;
}

/* -- numbers as text ---------------------------------------------------------------------------------------------------------------- */

static enum status put_text(struct eval *ev, const char *text, struct slice *res)
{
	size_t n = strlen(text);

	*res = (struct slice){arena_dup(ev->arena, text, n), (uint32_t)n, 0};
	return ST_OK;
}

KERNEL(to_hex32)
{
	EACH_ROW(r) {
		char text[24];

		snprintf(text, sizeof text, "%" PRIx32, (uint32_t)ARG(0, i32, r));
		put_text(ev, text, &out->var[r]);
	}
	return ST_OK;
}

KERNEL(to_hex64)
{
	EACH_ROW(r) {
		char text[24];

		snprintf(text, sizeof text, "%" PRIx64, (uint64_t)ARG(0, i64, r));
		put_text(ev, text, &out->var[r]);
	}
	return ST_OK;
}

KERNEL(size_pretty)
{
	static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB", "PB"};

	EACH_ROW(r) {
		int64_t v = ARG(0, i64, r), half = 0;
		char text[40];
		int u = 0;

		/* up to 10 of the next unit is still shown in this one; one extra bit is kept for the rounding */
		while (u < 5 && (v < 0 ? -(uint64_t)v : (uint64_t)v) >= (u == 0 ? 10240u : 20479u)) {
			v = u == 0 ? v / 512 : v / 1024;
			half = 1;
			u++;
		}
		if (half)
			v = (v < 0 ? v - 1 : v + 1) / 2;
		snprintf(text, sizeof text, "%" PRId64 " %s", v, units[u]);
		put_text(ev, text, &out->var[r]);
	}
	return ST_OK;
}
