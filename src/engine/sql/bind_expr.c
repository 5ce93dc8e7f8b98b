/*
 * bind_expr.c - expressions as written to typed ones (engine/sql).
 *
 * BETWEEN, CASE x WHEN and row comparisons use a part several times: it is bound anew each time, so that what
 * comes out is a tree as a rule; BIND_NODES_MAX keeps nested ones from exploding.
 */
#include "engine/sql/bind_int.h"
#include "engine/sql/functions_int.h"

#include <errno.h>
#include <stdlib.h>

static struct expr *bind_number(struct bind *b, const struct ast_expr *e)
{
	const char *s = e->text;
	struct expr *ex;
	enum status st;
	int64_t v;

	if (!s[strspn(s, "0123456789")]) {
		errno = 0;
		v = (int64_t)strtoll(s, NULL, 10);
		if (!errno) {
			ex = bind_const_i(b, T_INT8, v);
			ex->position = e->pos;
			return ex;
		}
	}
	ex = bind_node(b, EX_CONST, 0, T_NUMERIC, e->pos);
	error_clear(b->cx->err);
	st = value_in(ex->type, s, strlen(s), b->arena, &ex->value, b->cx->err);
	return st == ST_OK ? ex : bind_fail_at(b, st, e->pos);
}

static struct expr *bind_literal(struct bind *b, const struct ast_expr *e)
{
	struct expr *ex;

	switch (e->kind) {
	case AX_NULL:
		return bind_const_null(b, (struct sql_type){T_UNKNOWN, -1}, e->pos);
	case AX_INTEGER:
		ex = bind_const_i(b, T_INT4, e->number);
		break;
	case AX_BOOL:
		ex = bind_const_i(b, T_BOOL, e->number);
		break;
	case AX_FLOAT:
		return bind_number(b, e);
	case AX_STRING:
		return bind_const_text(b, T_UNKNOWN, e->text, e->pos);
	default:
		return bind_unsupported(b, e->pos, "a bit string");
	}
	ex->position = e->pos;
	return ex;
}

static struct expr *bind_param(struct bind *b, const struct ast_expr *e)
{
	struct expr *ex;
	uint32_t n = (uint32_t)e->number;

	if (e->number < 1 || e->number > BIND_PARAMS_MAX || !b->params_allowed)
		return bind_fail(b, ST_UNDEFINED_PARAMETER, e->pos, "there is no parameter $%lld", (long long)e->number);
	if (n > b->param_cap) {
		uint32_t cap = n * 2, *params = ARENA_NEW_N(b->arena, uint32_t, cap);

		memcpy(params, b->params, b->param_count * sizeof *params);
		b->params = params;
		b->param_cap = cap;
	}
	while (b->param_count < n)
		b->params[b->param_count++] = T_UNKNOWN;
	ex = bind_node(b, EX_PARAM, 0, b->params[n - 1], e->pos);
	ex->param = n;
	return ex;
}

/* -- operators ------------------------------------------------------------------------------------------ */

static const char *operator_name(const struct ast_expr *e)
{
	return e->names.count ? e->names.at[e->names.count - 1] : "=";
}

static struct expr *bind_op(struct scope *s, const struct ast_expr *e)
{
	const char *name = operator_name(e);
	struct expr *l = NULL, *r;

	if (e->names.count > 1 && strcmp(e->names.at[0], "pg_catalog") != 0)
		return bind_fail(s->b, ST_UNDEFINED_FUNCTION, e->pos, "operator does not exist: %s.%s", e->names.at[0], name);
	if (e->count == 2 && e->args[0]->kind == AX_ROW)
		return bind_row_op(s, e, name, e->args[0], e->args[1]);
	if (e->count == 2 && !(l = bind_expr(s, e->args[0])))
		return NULL;
	r = bind_expr(s, e->args[e->count - 1]);
	return r ? bind_operator(s->b, name, l, r, e->pos) : NULL;
}

static struct expr *compare(struct scope *s, const char *op, const struct ast_expr *l, const struct ast_expr *r,
			    const struct ast_expr *at)
{
	struct expr *a, *c;

	if (l->kind == AX_ROW)
		return bind_row_op(s, at, op, l, r);
	if (!(a = bind_expr(s, l)) || !(c = bind_expr(s, r)))
		return NULL;
	return bind_operator(s->b, op, a, c, at->pos);
}

static struct expr *bool_pair(struct scope *s, enum expr_kind kind, struct expr *l, struct expr *r, int pos)
{
	struct expr *ex;

	if (!l || !r)
		return NULL;
	ex = bind_node(s->b, kind, 2, T_BOOL, pos);
	ex->args[0] = l;
	ex->args[1] = r;
	return ex;
}

static struct expr *between(struct scope *s, const struct ast_expr *e, const struct ast_expr *lo,
			    const struct ast_expr *hi)
{
	struct expr *l = compare(s, e->negate ? "<" : ">=", e->args[0], lo, e);
	struct expr *r = l ? compare(s, e->negate ? ">" : "<=", e->args[0], hi, e) : NULL;

	return bool_pair(s, e->negate ? EX_OR : EX_AND, l, r, e->pos);
}

static struct expr *bind_between(struct scope *s, const struct ast_expr *e)
{
	struct expr *l = between(s, e, e->args[1], e->args[2]);

	if (!l || !e->symmetric)
		return l;
	return bool_pair(s, e->negate ? EX_AND : EX_OR, l, between(s, e, e->args[2], e->args[1]), e->pos);
}


static struct expr *bind_distinct_from(struct scope *s, const struct ast_expr *e)
{
	struct bind *b = s->b;
	uint32_t to[2];
	const struct fn_def *fn;
	struct expr *l, *r, *ex;
	bool null_l = e->args[0]->kind == AX_NULL, null_r = e->args[1]->kind == AX_NULL;

	if (e->args[0]->kind == AX_ROW || e->args[1]->kind == AX_ROW)
		return bind_row_op(s, e, e->negate ? "IS NOT DISTINCT" : "IS DISTINCT", e->args[0], e->args[1]);
	if (null_l || null_r) {
		l = bind_expr(s, e->args[null_r ? 0 : 1]);
		if (!l || !bind_settle(b, &l))
			return NULL;
		ex = bind_node(b, EX_IS_NULL, 1, T_BOOL, e->pos);
		ex->args[0] = l;
		ex->negate = !e->negate;
		return ex;
	}
	if (!(l = bind_expr(s, e->args[0])) || !(r = bind_expr(s, e->args[1])))
		return NULL;
	fn = bind_operator_fn(b, "=", l->type.oid, r->type.oid, to, e->pos);
	if (!fn)
		return NULL;
	ex = bind_node(b, EX_IS_DISTINCT, 2, T_BOOL, e->pos);
	ex->fn = fn;
	ex->negate = e->negate;
	ex->args[0] = bind_coerce(b, l, to[0], CAST_IMPLICIT, e->pos);
	ex->args[1] = ex->args[0] ? bind_coerce(b, r, to[1], CAST_IMPLICIT, e->pos) : NULL;
	return ex->args[1] ? ex : NULL;
}

static struct expr *bind_nullif(struct scope *s, const struct ast_expr *e)
{
	struct bind *b = s->b;
	uint32_t to[2];
	const struct fn_def *fn;
	struct expr *l = bind_expr(s, e->args[0]), *r = l ? bind_expr(s, e->args[1]) : NULL, *ex;

	if (!r || !(fn = bind_operator_fn(b, "=", l->type.oid, r->type.oid, to, e->pos)))
		return NULL;
	ex = bind_node(b, EX_NULLIF, 2, T_NONE, e->pos);
	ex->fn = fn;
	ex->args[0] = bind_coerce(b, l, to[0], CAST_IMPLICIT, e->pos);
	ex->args[1] = ex->args[0] ? bind_coerce(b, r, to[1], CAST_IMPLICIT, e->pos) : NULL;
	if (!ex->args[1])
		return NULL;
	ex->type = ex->args[0]->type;
	return ex;
}

/* x IN (…) of rows, and of what has no common type: an OR of comparisons. */
static struct expr *in_by_or(struct scope *s, const struct ast_expr *e)
{
	struct bind *b = s->b;
	struct expr *ex = bind_node(b, EX_OR, e->count - 1, T_BOOL, e->pos), *not;
	uint32_t i;

	for (i = 1; i < e->count; i++) {
		struct expr *one = compare(s, "=", e->args[0], e->args[i], e);

		if (!one || !(one = bind_to_bool(b, one, "IN")))
			return NULL;
		ex->args[i - 1] = one;
	}
	if (ex->arg_count == 1)
		ex = ex->args[0];
	if (!e->negate)
		return ex;
	not = bind_node(b, EX_NOT, 1, T_BOOL, e->pos);
	not->args[0] = ex;
	return not;
}

static struct expr *bind_in(struct scope *s, const struct ast_expr *e)
{
	struct bind *b = s->b;
	struct expr *ex = bind_node(b, EX_IN, e->count, T_BOOL, e->pos);
	uint32_t i, common, to[2];

	for (i = 0; i < e->count; i++)
		if (e->args[i]->kind == AX_ROW)
			return in_by_or(s, e);
	for (i = 0; i < e->count; i++)
		if (!(ex->args[i] = bind_expr(s, e->args[i])))
			return NULL;
	if (!bind_common(b, ex->args, e->count, NULL, &common))
		return in_by_or(s, e);
	for (i = 0; i < e->count; i++)
		if (!bind_can_coerce(ex->args[i], common, CAST_IMPLICIT))
			return in_by_or(s, e);
	ex->fn = bind_operator_fn(b, "=", common, common, to, e->pos);
	if (!ex->fn)
		return NULL;
	ex->negate = e->negate;
	for (i = 0; i < e->count; i++) {
		ex->args[i] = bind_coerce(b, ex->args[i], common, CAST_IMPLICIT, e->pos);
		if (!ex->args[i] || !(ex->args[i] = bind_coerce(b, ex->args[i], to[i > 0], CAST_IMPLICIT, e->pos)))
			return NULL;
	}
	return ex;
}

/* x op ANY (array): the operator is resolved against the element. */
static struct expr *bind_any_array(struct scope *s, const struct ast_expr *e)
{
	struct bind *b = s->b;
	const char *quantifier = e->kind == AX_OP_ALL ? "ALL" : "ANY";
	struct expr *l = bind_expr(s, e->args[0]), *r = l ? bind_expr(s, e->args[1]) : NULL, *ex;
	const struct type_info *ti, *elem;
	uint32_t to[2], element = T_UNKNOWN;
	const struct fn_def *fn;

	if (!r)
		return NULL;
	if (r->type.oid != T_UNKNOWN) {
		ti = type_find(r->type.oid);
		if (!ti || !ti->element_oid)
			return bind_fail(b, ST_WRONG_OBJECT_TYPE, e->pos, "op ANY/ALL (array) requires array on right side");
		element = ti->element_oid;
	}
	fn = bind_operator_fn(b, operator_name(e), l->type.oid, element, to, e->pos);
	if (!fn)
		return NULL;
	if (fn->result != T_BOOL)
		return bind_fail(b, ST_WRONG_OBJECT_TYPE, e->pos, "op ANY/ALL (array) requires operator to yield boolean");
	ex = bind_node(b, EX_ANY_ARRAY, 2, T_BOOL, e->pos);
	ex->fn = fn;
	ex->all = quantifier[1] == 'L';
	ex->args[0] = bind_coerce(b, l, to[0], CAST_IMPLICIT, e->pos);
	if (!ex->args[0])
		return NULL;
	elem = type_find(to[1] ? to[1] : element);
	if (!elem || !elem->array_oid)
		return bind_fail(b, ST_UNDEFINED_OBJECT, e->pos, "could not find array type for data type %s",
				 bind_type_name(b, to[1] ? to[1] : element));
	ex->args[1] = bind_coerce(b, r, elem->array_oid, CAST_IMPLICIT, e->pos);
	return ex->args[1] ? ex : NULL;
}

/* -- logic ---------------------------------------------------------------------------------------------- */

static struct expr *bind_logic(struct scope *s, const struct ast_expr *e)
{
	static const struct { enum expr_kind kind; const char *name; } ops[] = {
		{EX_AND, "AND"}, {EX_OR, "OR"}, {EX_NOT, "NOT"},
	};
	uint32_t op = (uint32_t)e->kind - AX_AND, i;
	struct expr *ex = bind_node(s->b, ops[op].kind, e->count, T_BOOL, e->pos);

	for (i = 0; i < e->count; i++) {
		struct expr *x = bind_expr(s, e->args[i]);

		if (!x || !(ex->args[i] = bind_to_bool(s->b, x, ops[op].name)))
			return NULL;
	}
	return ex;
}

static struct expr *bind_is_null(struct scope *s, const struct ast_expr *e)
{
	struct bind *b = s->b;
	const struct ast_expr *arg = e->args[0];
	struct expr *ex;
	uint32_t i, n = arg->kind == AX_ROW ? arg->count : 1;
	struct expr *all = n > 1 ? bind_node(b, EX_AND, n, T_BOOL, e->pos) : NULL;

	if (!n)
		return bind_unsupported(b, e->pos, "an empty row");
	for (i = 0; i < n; i++) {
		struct expr *x = bind_expr(s, arg->kind == AX_ROW ? arg->args[i] : arg);

		if (!x || !bind_settle(b, &x))
			return NULL;
		ex = bind_node(b, EX_IS_NULL, 1, T_BOOL, e->pos);
		ex->args[0] = x;
		ex->negate = e->negate;
		if (!all)
			return ex;
		all->args[i] = ex;
	}
	return all;
}

static struct expr *bind_is_bool(struct scope *s, const struct ast_expr *e)
{
	static const uint8_t kinds[] = {
		[AST_IS_TRUE] = EX_IS_TRUE, [AST_IS_FALSE] = EX_IS_FALSE, [AST_IS_UNKNOWN] = EX_IS_UNKNOWN,
	};
	static const char *const names[][2] = {
		[AST_IS_TRUE] = {"IS TRUE", "IS NOT TRUE"}, [AST_IS_FALSE] = {"IS FALSE", "IS NOT FALSE"},
		[AST_IS_UNKNOWN] = {"IS UNKNOWN", "IS NOT UNKNOWN"},
	};
	struct expr *x = bind_expr(s, e->args[0]), *ex;

	if (!x || !(x = bind_to_bool(s->b, x, names[e->op][e->negate])))
		return NULL;
	ex = bind_node(s->b, (enum expr_kind)kinds[e->op], 1, T_BOOL, e->pos);
	ex->args[0] = x;
	ex->negate = e->negate;
	return ex;
}

/* -- CASE, COALESCE, GREATEST, arrays ------------------------------------------------------------------- */

static bool coerce_all(struct bind *b, struct expr **x, uint32_t count, uint32_t type, const char *what)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		if (!bind_can_coerce(x[i], type, CAST_IMPLICIT)) {
			bind_fail(b, ST_CANNOT_COERCE, x[i]->position, "%s could not convert type %s to %s", what,
				  bind_type_name(b, x[i]->type.oid), bind_type_name(b, type));
			return false;
		}
		x[i] = bind_coerce(b, x[i], type, CAST_IMPLICIT, x[i]->position);
		if (!x[i])
			return false;
	}
	return true;
}

/* All of one typmod: the result has it too. */
static int32_t common_typmod(struct expr *const *x, uint32_t count)
{
	int32_t typmod = count ? x[0]->type.typmod : -1;
	uint32_t i;

	for (i = 1; i < count; i++)
		if (x[i]->type.typmod != typmod)
			return -1;
	return typmod;
}

static struct expr *bind_case(struct scope *s, const struct ast_expr *e)
{
	struct bind *b = s->b;
	struct expr *ex = bind_node(b, EX_CASE, e->count + 1, T_NONE, e->pos), **results;
	uint32_t i, whens = e->count / 2, type;

	results = ARENA_NEW_N(b->arena, struct expr *, whens + 1);
	for (i = 0; i < whens; i++) {
		struct expr *when = e->left ? compare(s, "=", e->left, e->args[2 * i], e->args[2 * i])
				    : bind_expr(s, e->args[2 * i]);

		if (!when || !(ex->args[2 * i] = bind_to_bool(b, when, "CASE/WHEN")))
			return NULL;
		if (!(results[i + 1] = bind_expr(s, e->args[2 * i + 1])))
			return NULL;
	}
	results[0] = e->right ? bind_expr(s, e->right)
		     : bind_const_null(b, (struct sql_type){T_UNKNOWN, -1}, 0);
	if (!results[0])
		return NULL;
	if (!bind_common(b, results, whens + 1, "CASE", &type) ||
	    !coerce_all(b, results, 1, type, "CASE/ELSE") || !coerce_all(b, results + 1, whens, type, "CASE/WHEN"))
		return NULL;
	for (i = 0; i < whens; i++)
		ex->args[2 * i + 1] = results[i + 1];
	ex->args[e->count] = results[0];
	ex->type.oid = type;
	ex->type.typmod = common_typmod(results, whens + 1);
	return ex;
}

static struct expr *bind_variadic(struct scope *s, const struct ast_expr *e, enum expr_kind kind, const char *what)
{
	struct bind *b = s->b;
	struct expr *ex = bind_node(b, kind, e->count, T_NONE, e->pos);
	uint32_t i, to[2];

	for (i = 0; i < e->count; i++)
		if (!(ex->args[i] = bind_expr(s, e->args[i])))
			return NULL;
	if (!bind_common(b, ex->args, e->count, what, &ex->type.oid) ||
	    !coerce_all(b, ex->args, e->count, ex->type.oid, what))
		return NULL;
	ex->type.typmod = common_typmod(ex->args, e->count);
	if (kind == EX_COALESCE)
		return ex;
	ex->fn = bind_operator_fn(b, "<", ex->type.oid, ex->type.oid, to, e->pos);
	if (!ex->fn)
		return NULL;
	for (i = 0; i < e->count; i++) /* varchar compares as text */
		if (!(ex->args[i] = bind_coerce(b, ex->args[i], to[0], CAST_IMPLICIT, e->pos)))
			return NULL;
	return ex;
}

/* want: the array type of a cast around it, or T_NONE. */
static struct expr *bind_array(struct scope *s, const struct ast_expr *e, uint32_t want, int cast_pos)
{
	struct bind *b = s->b;
	struct expr *ex = bind_node(b, EX_ARRAY, e->count, T_NONE, e->pos);
	const struct type_info *ti = want ? type_find(want) : NULL;
	uint32_t i, element = ti ? ti->element_oid : T_NONE;

	for (i = 0; i < e->count; i++) {
		if (e->args[i]->kind == AX_ARRAY)
			return bind_unsupported(b, e->args[i]->pos, "an array of several dimensions");
		if (!(ex->args[i] = bind_expr(s, e->args[i])))
			return NULL;
	}
	if (!want) {
		if (!e->count) {
			bind_fail(b, ST_INDETERMINATE_TYPE, e->pos, "cannot determine type of empty array");
			bind_hint(b, "Explicitly cast to the desired type, for example ARRAY[]::integer[].");
			return NULL;
		}
		if (!bind_common(b, ex->args, e->count, "ARRAY", &element) ||
		    !coerce_all(b, ex->args, e->count, element, "ARRAY"))
			return NULL;
		ti = type_find(element);
		if (!ti || !ti->array_oid)
			return bind_fail(b, ST_UNDEFINED_OBJECT, e->pos, "could not find array type for data type %s",
					 bind_type_name(b, element));
		ex->type.oid = ti->array_oid;
		return ex;
	}
	for (i = 0; i < e->count; i++) {
		if (!bind_can_coerce(ex->args[i], element, CAST_EXPLICIT))
			return bind_fail(b, ST_CANNOT_COERCE, cast_pos, "cannot cast type %s to %s",
					 bind_type_name(b, ex->args[i]->type.oid), bind_type_name(b, element));
		if (!(ex->args[i] = bind_coerce(b, ex->args[i], element, CAST_EXPLICIT, cast_pos)))
			return NULL;
	}
	ex->type.oid = want;
	return ex;
}

static struct expr *bind_cast_expr(struct scope *s, const struct ast_expr *e)
{
	struct bind *b = s->b;
	const struct ast_expr *arg = e->args[0];
	const struct type_info *ti;
	struct sql_type to;
	int32_t fields;
	struct expr *x;

	if (!bind_cast_type(b, e->type, &to))
		return NULL;
	ti = type_find(to.oid);
	if (arg->kind == AX_ARRAY && ti && ti->element_oid)
		return bind_array(s, arg, to.oid, e->pos);
	if (to.oid == T_INTERVAL && arg->kind == AX_STRING)
		return bind_interval_literal(b, arg, e->type, e->pos);
	if (to.oid == T_INTERVAL && bind_interval_fields(e->type, &fields))
		return bind_unsupported(b, e->pos, "casting to an interval with fields");
	x = bind_expr(s, arg);
	return x ? bind_cast(b, x, to, CAST_EXPLICIT, e->pos) : NULL;
}

static struct expr *bind_collate(struct scope *s, const struct ast_expr *e)
{
	const char *name = e->names.count ? e->names.at[e->names.count - 1] : "";
	const struct type_info *ti;
	struct expr *x;

	if (strcmp(name, "default") != 0 && strcmp(name, "C") != 0 && strcmp(name, "POSIX") != 0 &&
	    strcmp(name, "ucs_basic") != 0 && strcmp(name, "C.UTF-8") != 0)
		return bind_fail(s->b, ST_UNDEFINED_OBJECT, e->pos, "collation \"%s\" for encoding \"UTF8\" does not exist",
				 name);
	x = bind_expr(s, e->args[0]);
	if (!x || x->type.oid == T_UNKNOWN)
		return x;
	ti = type_find(x->type.oid);
	if (!ti || (ti->category != 'S' && ti->category != 'A'))
		return bind_fail(s->b, ST_DATATYPE_MISMATCH, e->pos, "collations are not supported by type %s",
				 bind_type_name(s->b, x->type.oid));
	return x;
}

/* No name in SQL leads to it, so the resolution does not find it either. */
static const struct fn_def *subscript_fn(uint32_t array)
{
	uint32_t i;

	for (i = 0; i < FNID_COUNT; i++)
		if (!strcmp(fn_table[i].sql_name, "[]") && fn_table[i].args[0] == array)
			return &fn_table[i];
	return NULL;
}

static struct expr *bind_subscript(struct scope *s, const struct ast_expr *e)
{
	struct bind *b = s->b;
	const struct fn_def *fn;
	struct expr *args[2];
	const struct type_info *ti;

	if (!(args[0] = bind_expr(s, e->args[0])) || !(args[1] = bind_expr(s, e->args[1])))
		return NULL;
	ti = type_find(args[0]->type.oid);
	if (!ti || !ti->element_oid)
		return bind_fail(b, ST_DATATYPE_MISMATCH, e->pos, "cannot subscript type %s because it does not support "
				 "subscripting", bind_type_name(b, args[0]->type.oid));
	if (!bind_can_coerce(args[1], T_INT4, CAST_ASSIGNMENT))
		return bind_fail(b, ST_DATATYPE_MISMATCH, args[1]->position, "array subscript must have type integer");
	if (!(args[1] = bind_coerce(b, args[1], T_INT4, CAST_ASSIGNMENT, e->pos)))
		return NULL;
	fn = subscript_fn(args[0]->type.oid);
	return fn ? bind_call(b, fn, 2, args, e->pos) : bind_unsupported(b, e->pos, "a subscript of this array type");
}

static struct expr *bind_kind(struct scope *s, const struct ast_expr *e)
{
	struct bind *b = s->b;

	switch ((enum ast_expr_kind)e->kind) {
	case AX_COLUMN: return bind_column_ref(s, e);
	case AX_PARAM: return bind_param(b, e);
	case AX_NULL: case AX_INTEGER: case AX_FLOAT: case AX_STRING: case AX_BOOL: case AX_BITS:
		return bind_literal(b, e);
	case AX_OP: return bind_op(s, e);
	case AX_OP_ANY: case AX_OP_ALL: return bind_any_array(s, e);
	case AX_DISTINCT: return bind_distinct_from(s, e);
	case AX_NULLIF: return bind_nullif(s, e);
	case AX_IN: return bind_in(s, e);
	case AX_BETWEEN: return bind_between(s, e);
	case AX_AND: case AX_OR: case AX_NOT: return bind_logic(s, e);
	case AX_CALL: return bind_function(s, e);
	case AX_CAST: return bind_cast_expr(s, e);
	case AX_COLLATE: return bind_collate(s, e);
	case AX_CASE: return bind_case(s, e);
	case AX_COALESCE: return bind_variadic(s, e, EX_COALESCE, "COALESCE");
	case AX_GREATEST: return bind_variadic(s, e, EX_GREATEST, "GREATEST");
	case AX_LEAST: return bind_variadic(s, e, EX_LEAST, "LEAST");
	case AX_ARRAY: return bind_array(s, e, T_NONE, e->pos);
	case AX_SUBLINK: return bind_sublink(s, e);
	case AX_IS_NULL: return bind_is_null(s, e);
	case AX_IS_BOOL: return bind_is_bool(s, e);
	case AX_SQL_VALUE: return bind_sql_value(s, e);
	case AX_SUBSCRIPT: return bind_subscript(s, e);
	case AX_DEFAULT: return bind_fail(b, ST_SYNTAX, e->pos, "DEFAULT is not allowed in this context");
	case AX_ROW: return bind_unsupported(b, e->pos, "a row as a value");
	case AX_FIELD: return bind_unsupported(b, e->pos, "selecting a field of a composite value");
	case AX_NAMED_ARG: return bind_unsupported(b, e->pos, "calling a function with named arguments");
	case AX_MULTI: return bind_fail(b, ST_SYNTAX, e->pos, "a multiple-column assignment is not allowed in this context");
	case AX_UNSUPPORTED: return bind_unsupported(b, e->pos, e->text);
	}
	UNREACHABLE();
}

struct expr *bind_expr(struct scope *s, const struct ast_expr *e)
{
	struct bind *b = s->b;
	struct expr *ex = NULL;

	if (!bind_enter(b))
		return NULL;
	if (b->nodes > BIND_NODES_MAX)
		bind_fail(b, ST_TOO_COMPLEX, e->pos, "statement is too complex");
	else
		ex = bind_kind(s, e);
	bind_leave(b);
	return ex;
}

struct expr *bind_expr_place(struct scope *s, const struct ast_expr *e, enum bind_place place)
{
	uint8_t before = s->place;
	struct expr *ex;

	s->place = (uint8_t)place;
	ex = bind_expr(s, e);
	s->place = before;
	return ex;
}

struct expr *bind_bool_expr(struct scope *s, const struct ast_expr *e, enum bind_place place, const char *what)
{
	struct expr *ex = bind_expr_place(s, e, place);

	return ex ? bind_to_bool(s->b, ex, what) : NULL;
}
