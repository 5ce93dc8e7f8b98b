/*
 * deparse.c - bound expressions back to SQL, and a dump of bound queries (engine/sql).
 *
 * The SQL binds to the same expression again: definitions keep defaults and checks in this form. Operators are put
 * in parentheses throughout; implicit casts that run something show as casts, relabelled types do not show.
 */
#include "engine/sql/bind_int.h"

#include <ctype.h>

struct deparse {
	struct buf out;
	const struct query *q;   /* NULL: columns by number */
	struct bind *b;          /* NULL: relations by number */
	struct arena *arena;
};

static bool plain_identifier(const char *s)
{
	if (!*s || !(islower((unsigned char)*s) || *s == '_'))
		return false;
	for (; *s; s++)
		if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s) && *s != '_')
			return false;
	return true;
}

/* Words that the grammar would not take as a column's or table's name. */
static bool reserved(const char *s)
{
	static const char *const words[] = {
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
	size_t i;

	for (i = 0; i < sizeof words / sizeof *words; i++)
		if (!strcmp(words[i], s))
			return true;
	return false;
}

static char *quote(struct arena *arena, const char *s, char q)
{
	char *out = arena_alloc(arena, 2 * strlen(s) + 5), *o = out;
	bool escape = q == '\'' && strchr(s, '\\');

	if (escape) {
		*o++ = 'E';
	}
	*o++ = q;
	for (; *s; s++) {
		if (*s == q || (escape && *s == '\\'))
			*o++ = *s;
		*o++ = *s;
	}
	*o = q;
	return out;
}

const char *bind_quote_identifier(struct arena *arena, const char *s)
{
	return plain_identifier(s) && !reserved(s) ? s : quote(arena, s, '"');
}

const char *bind_quote_literal(struct arena *arena, const char *s)
{
	return quote(arena, s, '\'');
}

static void put_text(struct deparse *d, const char *s)
{
	buf_put(&d->out, s, strlen(s));
}

static void put_name(struct deparse *d, const char *s)
{
	put_text(d, bind_quote_identifier(d->arena, s));
}

static void put_type(struct deparse *d, struct sql_type t)
{
	put_text(d, type_format(t, d->arena));
}

static void put_expr(struct deparse *d, const struct expr *ex);

/* The name of a relation for regclass: '16385' without a binding to ask. */
static const char *relation_text(struct deparse *d, uint64_t id)
{
	struct relation_def rel;
	const struct virtual_rel *v = virtual_find_oid((uint32_t)id);
	const char *schema, *name;

	if (v && v->oid == id)
		return arena_printf(d->arena, "%s.%s", v->schema, v->name);
	if (!d->b || !bind_has_catalog(d->b) || bind_relation_by_id(d->b, id, &rel) != ST_OK)
		return arena_printf(d->arena, "%llu", (unsigned long long)id);
	schema = rel.kind == REL_SEQUENCE ? rel.sequence->schema : rel.table->schema;
	name = rel.kind == REL_SEQUENCE ? rel.sequence->name : rel.kind == REL_INDEX ? rel.index->name : rel.table->name;
	return arena_printf(d->arena, "%s.%s", bind_quote_identifier(d->arena, schema), bind_quote_identifier(d->arena, name));
}

static void put_const(struct deparse *d, const struct expr *ex)
{
	struct buf text;
	char *s;

	if (ex->value.null) {
		put_text(d, "NULL::");
		put_type(d, ex->type);
		return;
	}
	if (ex->type.oid == T_REGCLASS) {
		put_text(d, quote(d->arena, relation_text(d, (uint64_t)ex->value.i), '\''));
		put_text(d, "::regclass");
		return;
	}
	if (ex->type.oid == T_BOOL) {
		put_text(d, ex->value.i ? "true" : "false");
		return;
	}
	if (ex->type.oid == T_UNKNOWN) {
		put_text(d, quote(d->arena, arena_strndup(d->arena, (const char *)ex->value.var, ex->value.bytes), '\''));
		return;
	}
	buf_init(&text, d->arena->mem);
	value_out(ex->type, &ex->value, &text);
	s = text.size ? arena_strndup(d->arena, (const char *)text.data, text.size) : arena_strdup(d->arena, "");
	buf_fini(&text);
	if ((ex->type.oid == T_INT4 || ex->type.oid == T_NUMERIC) && s[strspn(s, "0123456789.")] == 0 && isdigit((unsigned char)*s) &&
	    (ex->type.oid == T_INT4 || strchr(s, '.'))) {
		put_text(d, s);
		return;
	}
	put_text(d, quote(d->arena, s, '\''));
	put_text(d, "::");
	put_type(d, (struct sql_type){ex->type.oid, -1});
}

static void put_column(struct deparse *d, const struct expr *ex)
{
	const struct range_rel *r;
	const char *name;

	if (!d->q || ex->levels_up || ex->rel >= d->q->rel_count) {
		buf_printf(&d->out, "$column(%u,%u,%u)", ex->rel, ex->attno, ex->levels_up);
		return;
	}
	r = &d->q->rels[ex->rel];
	name = ex->attno ? r->columns[ex->attno - 1].name : "ctid";
	if (d->q->rel_count > 1 && r->alias) {
		put_name(d, r->alias);
		put_text(d, ".");
	}
	put_name(d, name ? name : "........dropped........");
}

static void put_list(struct deparse *d, struct expr *const *args, uint32_t count, const char *between)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		if (i)
			put_text(d, between);
		put_expr(d, args[i]);
	}
}

static bool is_operator(const char *name)
{
	return !isalpha((unsigned char)name[0]) && name[0] != '_';
}

/* A cast, or a length cast: the value and the type it has after it. */
static void put_cast(struct deparse *d, const struct expr *arg, struct sql_type t)
{
	bool paren = arg->kind != EX_CONST && arg->kind != EX_COLUMN && arg->kind != EX_PARAM &&
		     !(arg->kind == EX_FUNC && !is_operator(arg->fn->sql_name));

	put_text(d, paren ? "(" : "");
	put_expr(d, arg);
	put_text(d, paren ? ")::" : "::");
	put_type(d, t);
}

static void put_function_name(struct deparse *d, const char *name)
{
	const char *dot = strchr(name, '.');

	if (dot && !is_operator(name)) {
		put_name(d, arena_strndup(d->arena, name, (size_t)(dot - name)));
		put_text(d, ".");
		name = dot + 1;
	}
	/* words of the grammar that are functions only when quoted: "position"(a, b) */
	put_name(d, name);
}

static void put_call(struct deparse *d, const struct expr *ex)
{
	const char *name = ex->fn->sql_name;
	uint32_t n = ex->arg_count;

	if (!strcmp(name, "::") || ex->fn == cast_length_fn(ex->type.oid)) {
		put_cast(d, ex->args[0], ex->type);
	} else if (!strcmp(name, "[]")) {
		put_text(d, "(");
		put_expr(d, ex->args[0]);
		put_text(d, ")[");
		put_expr(d, ex->args[1]);
		put_text(d, "]");
	} else if (is_operator(name)) {
		put_text(d, "(");
		if (n == 2) {
			put_expr(d, ex->args[0]);
			put_text(d, " ");
		}
		put_text(d, name);
		put_text(d, " ");
		put_expr(d, ex->args[n - 1]);
		put_text(d, ")");
	} else if (!n && (!strcmp(name, "current_user") || !strcmp(name, "session_user") || !strcmp(name, "current_schema") ||
			  !strcmp(name, "current_catalog") || !strcmp(name, "current_role") || !strcmp(name, "user"))) {
		put_text(d, name);
	} else {
		put_function_name(d, name);
		put_text(d, "(");
		put_list(d, ex->args, n, ", ");
		put_text(d, ")");
	}
}

static void put_case(struct deparse *d, const struct expr *ex)
{
	uint32_t i;

	put_text(d, "CASE");
	for (i = 0; i + 1 < ex->arg_count; i += 2) {
		put_text(d, " WHEN ");
		put_expr(d, ex->args[i]);
		put_text(d, " THEN ");
		put_expr(d, ex->args[i + 1]);
	}
	put_text(d, " ELSE ");
	put_expr(d, ex->args[ex->arg_count - 1]);
	put_text(d, " END");
}

static void put_agg(struct deparse *d, const struct expr *ex)
{
	const struct agg_use *a;
	uint32_t i;

	if (!d->q || ex->slot >= d->q->agg_count) {
		buf_printf(&d->out, "$agg(%u)", ex->slot);
		return;
	}
	a = &d->q->aggs[ex->slot];
	put_text(d, a->agg->sql_name);
	put_text(d, a->distinct ? "(DISTINCT " : "(");
	put_list(d, a->args, a->arg_count, ", ");
	if (!a->arg_count)
		put_text(d, "*");
	for (i = 0; i < a->order_count; i++) {
		put_text(d, i ? ", " : " ORDER BY ");
		put_expr(d, a->order[i].expr);
		put_text(d, a->order[i].desc ? " DESC" : "");
		if (a->order[i].nulls_first != a->order[i].desc)
			put_text(d, a->order[i].nulls_first ? " NULLS FIRST" : " NULLS LAST");
	}
	put_text(d, ")");
	if (a->filter) {
		put_text(d, " FILTER (WHERE ");
		put_expr(d, a->filter);
		put_text(d, ")");
	}
}

static void put_suffix(struct deparse *d, const struct expr *ex, const char *yes, const char *no)
{
	put_text(d, "(");
	put_expr(d, ex->args[0]);
	put_text(d, ex->negate ? no : yes);
	put_text(d, ")");
}

static void put_in(struct deparse *d, const struct expr *ex)
{
	put_text(d, "(");
	put_expr(d, ex->args[0]);
	put_text(d, ex->negate ? " NOT IN (" : " IN (");
	put_list(d, ex->args + 1, ex->arg_count - 1, ", ");
	put_text(d, "))");
}

static void put_named_list(struct deparse *d, const char *name, const struct expr *ex)
{
	put_text(d, name);
	put_text(d, "(");
	put_list(d, ex->args, ex->arg_count, ", ");
	put_text(d, ")");
}

static void put_subquery(struct deparse *d, const struct expr *ex)
{
	static const char *const words[] = {
		[SUB_SCALAR] = "(SELECT …)", [SUB_EXISTS] = "EXISTS (SELECT …)", [SUB_ARRAY] = "ARRAY(SELECT …)",
	};

	if (ex->sub_kind != SUB_ANY && ex->sub_kind != SUB_ALL) {
		put_text(d, words[ex->sub_kind]);
		return;
	}
	put_text(d, ex->arg_count > 1 ? "(ROW(" : "(");
	put_list(d, ex->args, ex->arg_count, ", ");
	buf_printf(&d->out, "%s %s %s (SELECT …))", ex->arg_count > 1 ? ")" : "", ex->fn->sql_name,
		   ex->sub_kind == SUB_ANY ? "ANY" : "ALL");
}

static void put_logic(struct deparse *d, const struct expr *ex)
{
	put_text(d, "(");
	put_list(d, ex->args, ex->arg_count, ex->kind == EX_AND ? " AND " : " OR ");
	put_text(d, ")");
}

static void put_two(struct deparse *d, const struct expr *ex, const char *between, const char *end)
{
	put_text(d, "(");
	put_expr(d, ex->args[0]);
	put_text(d, between);
	put_expr(d, ex->args[1]);
	put_text(d, end);
}

static void put_expr(struct deparse *d, const struct expr *ex)
{
	switch ((enum expr_kind)ex->kind) {
	case EX_CONST: put_const(d, ex); break;
	case EX_PARAM: buf_printf(&d->out, "$%u", ex->param); break;
	case EX_COLUMN: put_column(d, ex); break;
	case EX_INPUT: buf_printf(&d->out, "#%u", ex->slot); break;
	case EX_FUNC:
	case EX_SESSION: put_call(d, ex); break;
	case EX_AND:
	case EX_OR: put_logic(d, ex); break;
	case EX_NOT:
		put_text(d, "(NOT ");
		put_expr(d, ex->args[0]);
		put_text(d, ")");
		break;
	case EX_IS_NULL: put_suffix(d, ex, " IS NULL", " IS NOT NULL"); break;
	case EX_IS_TRUE: put_suffix(d, ex, " IS TRUE", " IS NOT TRUE"); break;
	case EX_IS_FALSE: put_suffix(d, ex, " IS FALSE", " IS NOT FALSE"); break;
	case EX_IS_UNKNOWN: put_suffix(d, ex, " IS UNKNOWN", " IS NOT UNKNOWN"); break;
	case EX_IS_DISTINCT: put_two(d, ex, ex->negate ? " IS NOT DISTINCT FROM " : " IS DISTINCT FROM ", ")"); break;
	case EX_CASE: put_case(d, ex); break;
	case EX_COALESCE: put_named_list(d, "COALESCE", ex); break;
	case EX_GREATEST: put_named_list(d, "GREATEST", ex); break;
	case EX_LEAST: put_named_list(d, "LEAST", ex); break;
	case EX_NULLIF: put_named_list(d, "NULLIF", ex); break;
	case EX_IN: put_in(d, ex); break;
	case EX_ANY_ARRAY:
		put_two(d, ex, arena_printf(d->arena, " %s %s (", ex->fn->sql_name, ex->all ? "ALL" : "ANY"), "))");
		break;
	case EX_ARRAY:
		put_text(d, "ARRAY[");
		put_list(d, ex->args, ex->arg_count, ", ");
		put_text(d, "]::");
		put_type(d, ex->type);
		break;
	case EX_SUBQUERY: put_subquery(d, ex); break;
	case EX_AGG: put_agg(d, ex); break;
	case EX_NEXTVAL:
		buf_printf(&d->out, "nextval(%s::regclass)", quote(d->arena, relation_text(d, ex->rel_oid), '\''));
		break;
	case EX_DEFAULT: put_text(d, "DEFAULT"); break;
	}
}

static char *deparse(struct bind *b, const struct expr *ex, const struct query *q, struct arena *arena)
{
	struct deparse d = {.q = q, .b = b, .arena = arena};
	char *s;

	buf_init(&d.out, arena->mem);
	put_expr(&d, ex);
	s = arena_strndup(arena, (const char *)d.out.data, d.out.size);
	buf_fini(&d.out);
	return s;
}

char *expr_deparse(const struct expr *ex, const struct query *q, struct arena *arena)
{
	return deparse(NULL, ex, q, arena);
}

const char *bind_deparse(struct bind *b, const struct expr *ex, const struct query *q)
{
	return deparse(b, ex, q, b->arena);
}
