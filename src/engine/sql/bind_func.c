/* bind_func.c - calls: functions, aggregates, and the SQL words that are functions (engine/sql). */
#include "engine/sql/bind_int.h"

/* The name to resolve: pg_catalog. is implied, valence. is part of it. */
const char *bind_function_name(struct bind *b, const struct ast_expr *e)
{
	const char *schema = e->names.count > 1 ? e->names.at[e->names.count - 2] : NULL;
	const char *name = e->names.at[e->names.count - 1];

	if (!schema || !strcmp(schema, "pg_catalog"))
		return name;
	return arena_printf(b->arena, "%s.%s", schema, name);
}

static struct expr *resolve_call(struct bind *b, const char *name, struct expr **args, uint32_t count, int pos)
{
	uint32_t *types = ARENA_NEW_N(b->arena, uint32_t, count + 1), *to = ARENA_NEW_N(b->arena, uint32_t, count + 1), i;
	const struct fn_def *fn;
	const struct type_info *ti;
	enum status st;

	for (i = 0; i < count; i++)
		types[i] = args[i]->type.oid;
	error_clear(b->cx->err);
	st = fn_resolve(name, types, count, &fn, to, b->cx->err);
	if (st != ST_OK) {
		/* int4('5'), date(x): a type's name with one argument is a cast */
		ti = count == 1 && st == ST_UNDEFINED_FUNCTION ? type_by_name(name) : NULL;
		if (ti && bind_can_coerce(args[0], ti->oid, CAST_EXPLICIT)) {
			error_clear(b->cx->err);
			return bind_coerce(b, args[0], ti->oid, CAST_EXPLICIT, pos);
		}
		return bind_fail_at(b, st, pos);
	}
	for (i = 0; i < count; i++)
		if (!(args[i] = bind_coerce(b, args[i], to[i], CAST_IMPLICIT, pos)))
			return NULL;
	return bind_call(b, fn, count, args, pos);
}

struct expr *bind_named_call(struct bind *b, const char *name, struct expr **args, uint32_t count, int pos)
{
	return resolve_call(b, name, args, count, pos);
}

static bool bind_args(struct scope *s, const struct ast_expr *e, struct expr ***out)
{
	struct expr **args = ARENA_NEW_N(s->b->arena, struct expr *, e->count + 1);
	uint32_t i;

	for (i = 0; i < e->count; i++)
		if (!(args[i] = bind_expr(s, e->args[i])))
			return false;
	*out = args;
	return true;
}

/* -- aggregates ----------------------------------------------------------------------------------------- */

static bool aggregate_allowed(struct scope *s, const struct ast_expr *e)
{
	switch (s->place) {
	case AT_TARGETS:
	case AT_HAVING:
	case AT_ORDER_BY:
	case AT_DISTINCT_ON:
		break;
	default:
		bind_fail(s->b, ST_GROUPING, e->pos, "aggregate functions are not allowed in %s",
			  place_name((enum bind_place)s->place));
		return false;
	}
	if (!s->in_agg)
		return true;
	bind_fail(s->b, ST_GROUPING, e->pos, "aggregate function calls cannot be nested");
	return false;
}

/* Whose aggregate is it? The innermost level that its columns come from; ours only this one's. */
struct level_find { uint32_t least; bool any; };

static bool find_level(const struct expr *ex, uint32_t depth, void *ctx)
{
	struct level_find *f = ctx;

	if (ex->kind == EX_COLUMN && ex->levels_up >= depth) {
		uint32_t up = ex->levels_up - depth;

		if (!f->any || up < f->least)
			f->least = up;
		f->any = true;
	}
	return false;
}

static bool is_outer_aggregate(const struct agg_use *a)
{
	struct level_find f = {0};
	const struct query_walk w = {.fn = find_level, .ctx = &f};
	uint32_t i;

	for (i = 0; i < a->arg_count; i++)
		walk_expr(&w, a->args[i], 0);
	walk_expr(&w, a->filter, 0);
	return f.any && f.least > 0;
}

static bool same_aggregate(const struct agg_use *a, const struct agg_use *b)
{
	uint32_t i;

	if (a->agg != b->agg || a->arg_count != b->arg_count || a->distinct != b->distinct ||
	    a->order_count != b->order_count || !a->filter != !b->filter)
		return false;
	for (i = 0; i < a->arg_count; i++)
		if (!bind_same(a->args[i], b->args[i]))
			return false;
	for (i = 0; i < a->order_count; i++)
		if (a->order[i].desc != b->order[i].desc || a->order[i].nulls_first != b->order[i].nulls_first ||
		    !bind_same(a->order[i].expr, b->order[i].expr))
			return false;
	return !a->filter || bind_same(a->filter, b->filter);
}

static uint32_t add_aggregate(struct scope *s, const struct agg_use *a)
{
	struct query *q = s->q;
	uint32_t i;

	for (i = 0; i < q->agg_count; i++)
		if (same_aggregate(&q->aggs[i], a))
			return i;
	if (q->agg_count == s->agg_cap) {
		uint32_t cap = s->agg_cap ? s->agg_cap * 2 : 4;
		struct agg_use *at = ARENA_NEW_N(s->b->arena, struct agg_use, cap);

		if (q->agg_count)
			memcpy(at, q->aggs, q->agg_count * sizeof *at);
		q->aggs = at;
		s->agg_cap = cap;
	}
	q->aggs[q->agg_count] = *a;
	return q->agg_count++;
}

static bool bind_agg_order(struct scope *s, const struct ast_call *call, struct agg_use *a)
{
	uint32_t i, k;

	a->order_count = call->order.count;
	a->order = arena_alloc(s->b->arena, sizeof *a->order * (a->order_count + 1));
	for (i = 0; i < a->order_count; i++) {
		const struct ast_sort *o = &call->order.at[i];

		if (o->using_op.count) {
			bind_unsupported(s->b, o->pos, "ORDER BY … USING in an aggregate");
			return false;
		}
		a->order[i].expr = bind_expr(s, o->expr);
		if (!a->order[i].expr || !bind_settle(s->b, &a->order[i].expr))
			return false;
		a->order[i].desc = o->desc;
		a->order[i].nulls_first = o->nulls == AST_NULLS_DEFAULT ? o->desc : o->nulls == AST_NULLS_FIRST;
		if (!a->distinct)
			continue;
		for (k = 0; k < a->arg_count && !bind_same(a->args[k], a->order[i].expr); k++)
			;
		if (k == a->arg_count) {
			bind_fail(s->b, ST_BAD_COLUMN_REFERENCE, a->order[i].expr->position,
				  "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list");
			return false;
		}
	}
	return true;
}

static bool bind_agg_parts(struct scope *s, const struct ast_expr *e, struct agg_use *a)
{
	static const struct ast_call none = {0};
	const struct ast_call *call = e->call ? e->call : &none;
	uint32_t *types = ARENA_NEW_N(s->b->arena, uint32_t, e->count + 1), *to, i;
	const char *name = bind_function_name(s->b, e);
	enum status st;

	if (!bind_args(s, e, &a->args))
		return false;
	if (!e->count && !call->star) {
		bind_fail(s->b, ST_WRONG_OBJECT_TYPE, e->pos, "%s(*) must be used to call a parameterless aggregate function",
			  name);
		return false;
	}
	for (i = 0; i < e->count; i++)
		types[i] = a->args[i]->type.oid;
	to = ARENA_NEW_N(s->b->arena, uint32_t, e->count + 1);
	error_clear(s->b->cx->err);
	st = agg_resolve(name, types, e->count, call->star, &a->agg, to, s->b->cx->err);
	if (st != ST_OK)
		return bind_fail_at(s->b, st, e->pos);
	a->arg_count = e->count;
	for (i = 0; i < e->count; i++)
		if (!(a->args[i] = bind_coerce(s->b, a->args[i], to[i], CAST_IMPLICIT, e->pos)))
			return false;
	a->distinct = call->distinct;
	if (!bind_agg_order(s, call, a))
		return false;
	if (call->filter && !(a->filter = bind_bool_expr(s, call->filter, AT_FILTER, "FILTER")))
		return false;
	a->type = (struct sql_type){a->agg->result ? a->agg->result : a->args[0]->type.oid, -1};
	return true;
}

static struct expr *bind_aggregate(struct scope *s, const struct ast_expr *e)
{
	struct agg_use a = {0};
	struct expr *ex;
	bool ok;

	if (e->call && e->call->within_group)
		return bind_unsupported(s->b, e->pos, "WITHIN GROUP");
	if (!aggregate_allowed(s, e))
		return NULL;
	s->in_agg = true;
	ok = bind_agg_parts(s, e, &a);
	s->in_agg = false;
	if (!ok)
		return NULL;
	if (is_outer_aggregate(&a))
		return bind_unsupported(s->b, e->pos, "an aggregate of an outer query level");
	ex = bind_node(s->b, EX_AGG, 0, a.type.oid, e->pos);
	ex->type = a.type;
	ex->slot = add_aggregate(s, &a);
	return ex;
}

/* -- functions ------------------------------------------------------------------------------------------ */

static struct expr *not_an_aggregate(struct bind *b, const struct ast_expr *e, const char *name)
{
	const struct ast_call *c = e->call;
	const char *what = c->star ? "(*)" : c->distinct ? "DISTINCT" : c->within_group ? "WITHIN GROUP"
			   : c->order.count ? "ORDER BY" : "FILTER";

	if (c->star)
		return bind_fail(b, ST_WRONG_OBJECT_TYPE, e->pos, "%s(*) specified, but %s is not an aggregate function",
				 name, name);
	return bind_fail(b, ST_WRONG_OBJECT_TYPE, e->pos, "%s specified, but %s is not an aggregate function", what, name);
}

/* Those whose arguments the binder itself must see. */
static bool bind_special(struct scope *s, const char *name, struct expr **args, uint32_t count, int pos, struct expr **out)
{
	struct bind *b = s->b;

	if (!strcmp(name, "nextval") && count == 1) {
		*out = bind_nextval(b, args[0], pos);
		return true;
	}
	if (!strcmp(name, "pg_typeof") && count == 1) {
		*out = bind_const_i(b, T_REGTYPE, args[0]->type.oid);
		(*out)->position = pos;
		return true;
	}
	return false;
}

struct expr *bind_function(struct scope *s, const struct ast_expr *e)
{
	struct bind *b = s->b;
	const char *name = bind_function_name(b, e);
	enum set_function sfn;
	struct expr **args, *out;

	if (e->call && e->call->over)
		return bind_unsupported(b, e->pos, "a window function");
	if (agg_exists(name))
		return bind_aggregate(s, e);
	if (e->call && e->call->variadic)
		return bind_unsupported(b, e->pos, "VARIADIC");
	if (e->call && e->call->star && !resolve_call(b, name, NULL, 0, e->pos))
		return NULL;
	if (e->call)
		return not_an_aggregate(b, e, name);
	if (set_function_find(name, &sfn))
		return bind_set_function_target(s, e, sfn);
	if (!bind_args(s, e, &args))
		return NULL;
	if (bind_special(s, name, args, e->count, e->pos, &out))
		return out;
	return resolve_call(b, name, args, e->count, e->pos);
}

static struct expr *call_as(struct bind *b, const char *name, uint32_t type, int32_t typmod, int pos)
{
	struct expr *x = bind_named_call(b, name, NULL, 0, pos);

	return x ? bind_cast(b, x, (struct sql_type){type, typmod}, CAST_EXPLICIT, pos) : NULL;
}

struct expr *bind_sql_value(struct scope *s, const struct ast_expr *e)
{
	struct bind *b = s->b;
	int32_t typmod = e->number > 6 ? 6 : (int32_t)e->number;

	switch ((enum ast_sql_value)e->op) {
	case AST_CURRENT_DATE: return call_as(b, "now", T_DATE, -1, e->pos);
	case AST_CURRENT_TIMESTAMP: return call_as(b, "now", T_TIMESTAMPTZ, typmod, e->pos);
	case AST_LOCALTIMESTAMP: return call_as(b, "now", T_TIMESTAMP, typmod, e->pos);
	case AST_LOCALTIME: return call_as(b, "now", T_TIME, typmod, e->pos);
	case AST_CURRENT_USER:
	case AST_CURRENT_ROLE:
	case AST_USER: return bind_named_call(b, "current_user", NULL, 0, e->pos);
	case AST_SESSION_USER: return bind_named_call(b, "session_user", NULL, 0, e->pos);
	case AST_CURRENT_CATALOG: return bind_named_call(b, "current_database", NULL, 0, e->pos);
	case AST_CURRENT_SCHEMA: return bind_named_call(b, "current_schema", NULL, 0, e->pos);
	case AST_CURRENT_TIME: return bind_unsupported(b, e->pos, "CURRENT_TIME (type time with time zone)");
	}
	UNREACHABLE();
}
