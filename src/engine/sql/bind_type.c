/* bind_type.c - type names as written to types, with PostgreSQL's type modifiers (engine/sql). */
#include "engine/sql/bind_int.h"

#include <stdlib.h>

#define VARCHAR_MAX 10485760
#define NUMERIC_PRECISION_MAX 1000
#define F_FULL 0x7fff /* an interval of all fields, in its modifier */

static bool type_missing(struct bind *b, const struct ast_type *t)
{
	char name[256] = "";
	uint32_t i;
	size_t at = 0;

	for (i = 0; i < t->names.count; i++) {
		size_t left = sizeof name - at, n = strlen(t->names.at[i]);

		if (n + 2 > left)
			break;
		if (i)
			name[at++] = '.';
		memcpy(name + at, t->names.at[i], n + 1);
		at += n;
	}
	bind_fail(b, ST_UNDEFINED_OBJECT, t->pos, "type \"%s%s\" does not exist", name, t->array_dims ? "[]" : "");
	return false;
}

static bool modifier(struct bind *b, const struct ast_expr *e, int64_t *out)
{
	if (e && e->kind == AX_INTEGER) {
		*out = e->number;
		return true;
	}
	bind_fail(b, ST_SYNTAX, e ? e->pos : 0, "type modifiers must be simple constants or identifiers");
	return false;
}

static bool length_modifier(struct bind *b, const char *name, int64_t n, int pos, int32_t *out)
{
	if (n < 1) {
		bind_fail(b, ST_BAD_PARAMETER, pos, "length for type %s must be at least 1", name);
		return false;
	}
	if (n > VARCHAR_MAX) {
		bind_fail(b, ST_BAD_PARAMETER, pos, "length for type %s cannot exceed %d", name, VARCHAR_MAX);
		return false;
	}
	*out = (int32_t)n + 4;
	return true;
}

static bool numeric_modifier(struct bind *b, const int64_t *n, uint32_t count, int pos, int32_t *out)
{
	int64_t scale = count > 1 ? n[1] : 0;

	if (n[0] < 1 || n[0] > NUMERIC_PRECISION_MAX) {
		bind_fail(b, ST_BAD_PARAMETER, pos, "NUMERIC precision %lld must be between 1 and %d", (long long)n[0],
			  NUMERIC_PRECISION_MAX);
		return false;
	}
	if (scale < 0 || scale > n[0]) {
		if (scale < -1000 || scale > 1000) {
			bind_fail(b, ST_BAD_PARAMETER, pos, "NUMERIC scale %lld must be between -1000 and 1000",
				  (long long)scale);
			return false;
		}
		bind_fail(b, ST_UNSUPPORTED, pos, "NUMERIC scale %lld must be between 0 and precision %lld",
			  (long long)scale, (long long)n[0]);
		return false;
	}
	*out = (int32_t)((n[0] << 16 | scale) + 4);
	return true;
}

static bool precision_modifier(struct bind *b, const char *name, int64_t n, int pos, int32_t *out)
{
	if (n < 0) {
		bind_fail(b, ST_BAD_PARAMETER, pos, "%s precision must not be negative", name);
		return false;
	}
	if (n > 6) {
		bind_notice(b, arena_printf(b->arena, "%s precision reduced to maximum allowed, 6", name));
		n = 6;
	}
	*out = (int32_t)n;
	return true;
}

bool bind_typmod(struct bind *b, const struct ast_type *t, uint32_t oid, int32_t *out)
{
	int64_t n[2] = {0, 0};
	uint32_t i;

	*out = -1;
	if (!t->mods.count)
		return true;
	for (i = 0; i < t->mods.count && i < 2; i++)
		if (!modifier(b, t->mods.at[i], &n[i]))
			return false;
	if (t->mods.count == 1 || (t->mods.count == 2 && oid == T_NUMERIC)) {
		switch (oid) {
		case T_VARCHAR: return length_modifier(b, "varchar", n[0], t->pos, out);
		case T_BPCHAR: return length_modifier(b, "char", n[0], t->pos, out);
		case T_NUMERIC: return numeric_modifier(b, n, t->mods.count, t->pos, out);
		case T_TIMESTAMP: return precision_modifier(b, "TIMESTAMP", n[0], t->pos, out);
		case T_TIMESTAMPTZ: return precision_modifier(b, "TIMESTAMP WITH TIME ZONE", n[0], t->pos, out);
		case T_TIME: return precision_modifier(b, "TIME", n[0], t->pos, out);
		case T_INTERVAL: break;
		case T_FLOAT4:
		case T_FLOAT8: break;
		default: break;
		}
	}
	if (oid == T_INTERVAL && t->mods.count == 2) /* interval(p); fields alone: bind_interval_fields */
		return n[1] > 6 ? !bind_fail(b, ST_BAD_PARAMETER, t->pos, "interval(%d) precision must be between 0 and 6", (int)n[1])
				: (*out = F_FULL << 16 | (int32_t)n[1], true);
	if (oid == T_INTERVAL)
		return true;
	if (oid == T_NUMERIC)
		bind_fail(b, ST_BAD_PARAMETER, t->pos, "invalid NUMERIC type modifier");
	else if (oid == T_VARCHAR || oid == T_BPCHAR || oid == T_TIMESTAMP || oid == T_TIMESTAMPTZ || oid == T_TIME)
		bind_fail(b, ST_BAD_PARAMETER, t->pos, "invalid type modifier");
	else
		bind_fail(b, ST_SYNTAX, t->pos, "type modifier is not allowed for type \"%s\"",
			  t->names.at[t->names.count - 1]);
	return false;
}

bool bind_type(struct bind *b, const struct ast_type *t, struct sql_type *out)
{
	const char *name = t->names.count ? t->names.at[t->names.count - 1] : "";
	const struct type_info *ti;

	if (t->setof || t->pct_type) {
		bind_unsupported(b, t->pos, t->setof ? "SETOF" : "%TYPE");
		return false;
	}
	if (t->names.count > 2 || (t->names.count == 2 && strcmp(t->names.at[0], "pg_catalog") != 0))
		return type_missing(b, t);
	ti = type_by_name(name);
	if (!ti || ti->oid == T_NONE)
		return type_missing(b, t);
	out->oid = ti->oid;
	if (!bind_typmod(b, t, ti->oid, &out->typmod))
		return false;
	if (t->array_dims) {
		if (!ti->array_oid)
			return type_missing(b, t);
		out->oid = ti->array_oid;
		out->typmod = -1;
	}
	return true;
}

/* Types of PostgreSQL's catalogs that stand for others here: virtual_columns.def has the same. Of casts only. */
bool bind_cast_type(struct bind *b, const struct ast_type *t, struct sql_type *out)
{
	static const struct { const char *name; uint32_t oid; } others[] = {
		{"regnamespace", T_OID}, {"regrole", T_OID}, {"xid", T_OID}, {"cid", T_OID}, {"int2vector", T_INT2_ARRAY},
		{"oidvector", T_OID_ARRAY}, {"aclitem", T_TEXT}, {"pg_node_tree", T_TEXT},
	};
	const char *name = t->names.count ? t->names.at[t->names.count - 1] : "";
	size_t i;

	for (i = 0; i < sizeof others / sizeof *others && !type_by_name(name) && !t->array_dims; i++)
		if (!strcmp(others[i].name, name)) {
			*out = (struct sql_type){others[i].oid, -1};
			return true;
		}
	return bind_type(b, t, out);
}

/* -- INTERVAL '…' fields ------------------------------------------------------------------------------- */

/* Bits as PostgreSQL's grammar gives them in the first modifier: 1 << field. */
enum { F_MONTH = 1 << 1, F_YEAR = 1 << 2, F_DAY = 1 << 3, F_HOUR = 1 << 10, F_MINUTE = 1 << 11, F_SECOND = 1 << 12 };

/* false: the type has no restriction of fields; else *fields_out are those allowed. */
bool bind_interval_fields(const struct ast_type *t, int32_t *fields_out)
{
	if (!t->mods.count || !t->mods.at[0] || t->mods.at[0]->kind != AX_INTEGER)
		return false;
	*fields_out = (int32_t)t->mods.at[0]->number;
	return *fields_out != F_FULL;
}

static const char *field_unit(int32_t fields)
{
	/* the last field is the unit of a number without one */
	if (fields & F_SECOND)
		return "second";
	if (fields & F_MINUTE)
		return "minute";
	if (fields & F_HOUR)
		return "hour";
	if (fields & F_DAY)
		return "day";
	return fields & F_MONTH ? "month" : "year";
}

static bool plain_number(const char *s, bool *fraction_out)
{
	char *end;

	while (*s == ' ')
		s++;
	if (!((*s >= '0' && *s <= '9') || *s == '+' || *s == '-' || *s == '.'))
		return false;
	*fraction_out = strchr(s, '.') != NULL;
	strtod(s, &end);
	while (*end == ' ')
		end++;
	return *end == 0 && end != s;
}

/*
 * INTERVAL '90' DAY: a bare number gets its unit, 'a:b' of MINUTE TO SECOND its hours. What the fields cut off in
 * PostgreSQL (INTERVAL '1 day 02:03' HOUR) is refused here where it would matter: a fraction below the last field.
 */
struct expr *bind_interval_literal(struct bind *b, const struct ast_expr *lit, const struct ast_type *t, int pos)
{
	int32_t fields = F_FULL;
	const char *text = lit->text;
	bool fraction = false;
	struct expr *x;

	if (bind_interval_fields(t, &fields)) {
		if (plain_number(text, &fraction)) {
			if (fraction && !(fields & F_SECOND))
				return bind_unsupported(b, lit->pos, "a fraction in an interval with fields");
			text = arena_printf(b->arena, "%s %s", text, field_unit(fields));
		} else if (fields == (F_MINUTE | F_SECOND) && strchr(text, ':') && strchr(text, ':') == strrchr(text, ':')) {
			text = arena_printf(b->arena, "00:%s", text);
		} else if (!(fields & (fields - 1))) {
			return bind_unsupported(b, lit->pos, "more than a number in an interval of one field");
		}
	}
	x = bind_const_text(b, T_UNKNOWN, text, lit->pos);
	x = bind_coerce(b, x, T_INTERVAL, CAST_EXPLICIT, pos);
	if (x && t->mods.count > 1) { /* interval(p): fields, precision */
		struct sql_type to = {T_INTERVAL, F_FULL << 16 | (int32_t)t->mods.at[1]->number};

		x = bind_cast(b, x, to, CAST_EXPLICIT, pos);
	}
	return x;
}
