/*
 * value_in.c - values from their text, as PostgreSQL's input functions read them, and fitting to a type's length (types.h).
 */
#include "base/assert.h"
#include "engine/sql/datetime.h"
#include "engine/sql/num.h"
#include "engine/sql/values.h"

static enum status syntax(const char *type_name, const char *s, size_t n, struct error *err)
{
	return error_set(err, ST_BAD_TEXT, "invalid input syntax for type %s: \"%.*s\"", type_name, (int)n, s);
}

static enum status bool_in(const char *s, size_t n, struct cell *out, struct error *err)
{
	/* any prefix of these that says which one it is */
	static const struct { const char *word; uint8_t least, value; } words[] = {
		{"true", 1, 1}, {"false", 1, 0}, {"yes", 1, 1}, {"no", 1, 0},
		{"on", 2, 1}, {"off", 2, 0}, {"1", 1, 1}, {"0", 1, 0},
	};
	const char *p = s;
	size_t len = n;

	while (len && ascii_space((unsigned char)*p)) {
		p++;
		len--;
	}
	while (len && ascii_space((unsigned char)p[len - 1]))
		len--;
	for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
		size_t i = 0;

		if (len < words[w].least || len > strlen(words[w].word))
			continue;
		while (i < len && ascii_lower((unsigned char)p[i]) == words[w].word[i])
			i++;
		if (i == len) {
			*out = cell_int(PHYS_BOOL, words[w].value);
			return ST_OK;
		}
	}
	return syntax("boolean", s, n, err);
}

static enum status text_in(const char *s, size_t n, struct arena *arena, struct cell *out, struct error *err)
{
	if (!value_room(arena, n))
		return error_set(err, ST_NOMEM, "out of memory");
	*out = cell_var(arena_dup(arena, s, n), n);
	return ST_OK;
}

static enum status name_in(const char *s, size_t n, struct arena *arena, struct cell *out)
{
	if (n > 63) {
		n = 63;
		while (n && ((unsigned char)s[n] & 0xc0) == 0x80)
			n--;
	}
	*out = cell_var(arena_dup(arena, s, n), n);
	return ST_OK;
}

/* oid, and the reg* types given as a number; their names are the session's matter (SFN_TO_REGCLASS) */
static enum status oid_in(uint32_t oid, const char *s, size_t n, struct cell *out, struct error *err)
{
	const struct type_info *ti;
	char name[64];
	int64_t v;
	enum status st;

	if (oid != T_OID && n == 1 && *s == '-') {
		*out = cell_int(PHYS_I64, 0);
		return ST_OK;
	}
	if (oid == T_REGTYPE && n && n < sizeof name && !ascii_digit((unsigned char)*s)) {
		memcpy(name, s, n);
		name[n] = '\0';
		ti = type_by_name(name);
		if (!ti)
			return error_set(err, ST_UNDEFINED_OBJECT, "type \"%s\" does not exist", name);
		*out = cell_int(PHYS_I64, ti->oid);
		return ST_OK;
	}
	if (oid == T_REGCLASS && (n == 0 || !ascii_digit((unsigned char)*s)))
		return error_set(err, ST_UNDEFINED_TABLE, "relation \"%.*s\" does not exist", (int)n, s);
	st = value_int_parse(s, n, INT32_MIN, UINT32_MAX, "oid", &v, err);
	if (st != ST_OK)
		return st;
	*out = cell_int(PHYS_I64, (int64_t)(uint32_t)v);
	return ST_OK;
}

/* -- arrays --------------------------------------------------------------------------------------------------------- */

struct array_parse {
	struct sql_type element;
	const char *text, *at, *end;
	size_t bytes;
	struct arena *arena;
	struct cell *cells;
	uint32_t count, cap;
	struct error *err;
};

static enum status array_syntax(struct array_parse *a, const char *detail)
{
	enum status st = error_set(a->err, ST_BAD_TEXT, "malformed array literal: \"%.*s\"", (int)a->bytes, a->text);

	error_detail(a->err, "%s", detail);
	return st;
}

static void array_space(struct array_parse *a)
{
	while (a->at < a->end && ascii_space((unsigned char)*a->at))
		a->at++;
}

static enum status array_element(struct array_parse *a)
{
	char *item = arena_alloc(a->arena, (size_t)(a->end - a->at) + 1);
	size_t len = 0, solid = 0; /* solid: up to here no trailing space is dropped */
	bool quoted = false, any = false;
	struct cell *c;

	for (;; a->at++) {
		if (a->at == a->end)
			return array_syntax(a, "Unexpected end of input.");
		if (*a->at == '"') {
			if (any && !quoted)
				return array_syntax(a, "Incorrectly quoted array element.");
			quoted = any = true;
			for (a->at++; a->at < a->end && *a->at != '"'; a->at++) {
				if (*a->at == '\\' && ++a->at == a->end)
					break;
				item[len++] = *a->at;
			}
			if (a->at == a->end)
				return array_syntax(a, "Unexpected end of input.");
			solid = len;
			continue;
		}
		if (*a->at == ',' || *a->at == '}')
			break;
		if (*a->at == '{')
			return array_syntax(a, "Unexpected \"{\" character.");
		if (*a->at == '\\') {
			if (++a->at == a->end)
				return array_syntax(a, "Unexpected end of input.");
			item[len++] = *a->at;
			solid = len;
			any = true;
			continue;
		}
		if (quoted && !ascii_space((unsigned char)*a->at))
			return array_syntax(a, "Incorrectly quoted array element.");
		if (!ascii_space((unsigned char)*a->at))
			any = true;
		item[len++] = *a->at;
	}
	if (!any)
		return array_syntax(a, *a->at == ',' ? "Unexpected \",\" character." : "Unexpected \"}\" character.");
	while (len > solid && ascii_space((unsigned char)item[len - 1]))
		len--;
	if (a->count == a->cap) {
		uint32_t cap = a->cap ? a->cap * 2 : 16;
		struct cell *more = ARENA_NEW_N(a->arena, struct cell, cap);

		if (a->count)
			memcpy(more, a->cells, sizeof *more * a->count);
		a->cells = more;
		a->cap = cap;
	}
	c = &a->cells[a->count++];
	if (!quoted && solid == 0 && len == 4 && ascii_lower(item[0]) == 'n' && ascii_lower(item[1]) == 'u' &&
	    ascii_lower(item[2]) == 'l' && ascii_lower(item[3]) == 'l') {
		*c = (struct cell){.null = true};
		return ST_OK;
	}
	return value_in(a->element, item, len, a->arena, c, a->err);
}

static enum status array_in(struct sql_type element, const char *s, size_t n, struct arena *arena, struct cell *out,
			    struct error *err)
{
	struct array_parse a = {element, s, s, s + n, n, arena, NULL, 0, 0, err};
	enum status st;

	if (!value_room(arena, n))
		return error_set(err, ST_NOMEM, "out of memory");
	array_space(&a);
	if (a.at == a.end || *a.at == '[' || *a.at != '{')
		return array_syntax(&a, "Array value must start with \"{\" or dimension information.");
	a.at++;
	array_space(&a);
	if (a.at < a.end && *a.at == '{')
		return error_set(err, ST_UNSUPPORTED, "arrays of more than one dimension are not supported");
	if (a.at < a.end && *a.at == '}') {
		a.at++;
	} else {
		for (;;) {
			array_space(&a);
			st = array_element(&a);
			if (st != ST_OK)
				return st;
			if (*a.at++ == '}')
				break;
		}
	}
	array_space(&a);
	if (a.at != a.end)
		return array_syntax(&a, "Junk after closing right brace.");
	array_build(element.oid, a.cells, a.count, 1, arena, out);
	return ST_OK;
}

/* -- fitting to a declared length --------------------------------------------------------------------------------------- */

/* char(n): as many spaces as are missing of n characters. */
enum status value_pad(const struct cell *v, int32_t typmod, struct arena *arena, struct cell *out, struct error *err)
{
	size_t have = utf8_count(v->var, v->bytes), want = typmod >= 4 ? (size_t)(typmod - 4) : 0;
	uint8_t *p;

	*out = *v;
	if (have >= want)
		return ST_OK;
	if (!value_room(arena, v->bytes + (want - have)))
		return error_set(err, ST_NOMEM, "out of memory");
	p = arena_alloc(arena, v->bytes + (want - have));
	if (v->bytes)
		memcpy(p, v->var, v->bytes);
	memset(p + v->bytes, ' ', want - have);
	out->var = p;
	out->bytes += (uint32_t)(want - have);
	return ST_OK;
}

static enum status fit_chars(struct sql_type t, const struct cell *v, bool cut, struct arena *arena, struct cell *out,
			     struct error *err)
{
	int32_t max = t.typmod - 4;
	size_t keep;

	*out = *v;
	if (t.typmod < 4)
		return ST_OK;
	keep = v->bytes <= (uint32_t)max ? v->bytes : utf8_offset(v->var, v->bytes, (size_t)max);
	if (keep == v->bytes)
		return t.oid == T_BPCHAR ? value_pad(v, t.typmod, arena, out, err) : ST_OK;
	if (!cut && bpchar_bytes(out->var + keep, out->bytes - (uint32_t)keep) != 0)
		return error_set(err, ST_STRING_TRUNCATION, "value too long for type %s(%d)",
				 t.oid == T_BPCHAR ? "character" : "character varying", max);
	out->bytes = (uint32_t)keep;
	return ST_OK;
}

static enum status fit_interval(struct interval iv, int32_t typmod, struct arena *arena, struct cell *out)
{
	enum { YEAR = 1 << 2, MONTH = 1 << 1, DAY = 1 << 3, HOUR = 1 << 10, MINUTE = 1 << 11, SECOND = 1 << 12 };
	int range = typmod >> 16 & 0x7fff, precision = typmod & 0xffff;

	if (range != 0x7fff && range) {
		if (range == YEAR) {
			iv.months -= iv.months % 12;
			iv.days = 0;
			iv.us = 0;
		} else if (range == MONTH || range == (YEAR | MONTH)) {
			iv.days = 0;
			iv.us = 0;
		} else if (range == DAY) {
			iv.us = 0;
		} else if (range == HOUR || range == (DAY | HOUR)) {
			iv.us -= iv.us % DT_HOUR;
		} else if (!(range & SECOND)) {
			iv.us -= iv.us % DT_MINUTE;
		}
	}
	if (precision != 0xffff)
		iv.us = dt_round(iv.us, precision);
	interval_cell(iv, arena, out);
	return ST_OK;
}

enum status value_fit(struct sql_type t, const struct cell *v, bool explicit_cast, struct arena *arena,
		      struct cell *out, struct error *err)
{
	struct num n;
	enum status st;

	if (v->null || t.typmod < 0) {
		*out = *v;
		return ST_OK;
	}
	switch (t.oid) {
	case T_VARCHAR:
	case T_BPCHAR:
		return fit_chars(t, v, explicit_cast, arena, out, err);
	case T_NUMERIC:
		num_load(&n, v->var, v->bytes);
		st = num_fit(&n, t.typmod, arena, err);
		if (st == ST_OK)
			num_store(&n, arena, out);
		return st;
	case T_TIME:
	case T_TIMESTAMP:
	case T_TIMESTAMPTZ:
		*out = *v;
		if (t.oid == T_TIME || ts_finite(v->i))
			out->i = dt_round(v->i, t.typmod);
		if (t.oid != T_TIME && ts_finite(v->i) && !ts_in_range(out->i))
			return error_set(err, ST_DATETIME_RANGE, "timestamp out of range");
		return ST_OK;
	case T_INTERVAL:
		return fit_interval(interval_get(v->var), t.typmod, arena, out);
	default:
		*out = *v;
		return ST_OK;
	}
}

/* -- all types -------------------------------------------------------------------------------------------------------------- */

static enum status int_in(const struct type_info *ti, const char *s, size_t n, struct cell *out, struct error *err)
{
	int64_t v, min = ti->oid == T_INT2 ? INT16_MIN : ti->oid == T_INT4 ? INT32_MIN : INT64_MIN;
	int64_t max = ti->oid == T_INT2 ? INT16_MAX : ti->oid == T_INT4 ? INT32_MAX : INT64_MAX;
	enum status st = value_int_parse(s, n, min, max, ti->name, &v, err);

	if (st == ST_OK)
		*out = cell_int(ti->phys, v);
	return st;
}

static enum status datetime_in(const struct type_info *ti, const char *s, size_t n, struct cell *out, struct error *err)
{
	int32_t days = 0;
	int64_t v = 0;
	enum status st;

	switch (ti->oid) {
	case T_DATE:
		st = dt_date_in(s, n, &days, err);
		v = days;
		break;
	case T_TIME:
		st = dt_time_in(s, n, &v, err);
		break;
	default:
		st = dt_timestamp_in(s, n, ti->oid == T_TIMESTAMPTZ, &v, err);
		break;
	}
	if (st == ST_OK)
		*out = cell_int(ti->phys, v);
	return st;
}

static enum status plain_in(const struct type_info *ti, const char *s, size_t n, struct arena *arena,
			    struct cell *out, struct error *err)
{
	struct interval iv;
	struct num num;
	double d;
	enum status st;

	switch (ti->oid) {
	case T_BOOL:
		return bool_in(s, n, out, err);
	case T_INT2:
	case T_INT4:
	case T_INT8:
		return int_in(ti, s, n, out, err);
	case T_OID:
	case T_REGCLASS:
	case T_REGTYPE:
	case T_REGPROC:
		return oid_in(ti->oid, s, n, out, err);
	case T_FLOAT4:
	case T_FLOAT8:
		st = value_f64_parse(s, n, ti->oid == T_FLOAT4, ti->name, &d, err);
		if (st == ST_OK)
			*out = cell_f64(d);
		return st;
	case T_NUMERIC:
		st = num_parse(&num, s, n, arena, err);
		if (st == ST_OK)
			num_store(&num, arena, out);
		return st;
	case T_DATE:
	case T_TIME:
	case T_TIMESTAMP:
	case T_TIMESTAMPTZ:
		return datetime_in(ti, s, n, out, err);
	case T_INTERVAL:
		st = dt_interval_in(s, n, &iv, err);
		if (st == ST_OK)
			interval_cell(iv, arena, out);
		return st;
	case T_BYTEA:
		return value_bytea_parse(s, n, arena, out, err);
	case T_NAME:
		return name_in(s, n, arena, out);
	case T_CHAR1:
		return text_in(s, n ? 1 : 0, arena, out, err);
	case T_TEXT:
	case T_VARCHAR:
	case T_BPCHAR:
	case T_UNKNOWN:
		return text_in(s, n, arena, out, err);
	case T_VOID:
		return text_in("", 0, arena, out, err);
	default:
		return error_set(err, ST_UNSUPPORTED, "cannot accept a value of type %s", ti->name);
	}
}

enum status value_in(struct sql_type t, const char *text, size_t bytes, struct arena *arena, struct cell *out,
		     struct error *err)
{
	const struct type_info *ti = type_find(t.oid);
	struct cell v = {0};
	enum status st;

	if (!ti)
		return error_set(err, ST_UNDEFINED_OBJECT, "type with OID %u does not exist", t.oid);
	if (ti->element_oid)
		return array_in((struct sql_type){ti->element_oid, t.typmod}, text, bytes, arena, out, err);
	st = plain_in(ti, text, bytes, arena, &v, err);
	if (st != ST_OK)
		return st;
	if (t.typmod < 0) {
		*out = v;
		return ST_OK;
	}
	return value_fit(t, &v, false, arena, out, err);
}
