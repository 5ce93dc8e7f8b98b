/*
 * eval.c - runs bound expressions over vectors (expr.h, S13).
 *
 * A walk over the tree, one kernel call a node and vector. What a node costs beside its kernel is a switch, a few stores and
 * one bump of the arena, so that n = 1 (a point read) needs no other path. Constants and parameters are
 * vectors of one row that stand for all; a function of constants is computed once.
 *
 * The parts of AND, OR, CASE, COALESCE, IN see only the rows that still need them: an error in a row that an
 * earlier part has decided never happens (eval_cond.c).
 */
#include "base/assert.h"
#include "engine/sql/eval_int.h"

const uint64_t eval_all_null[VEC_WORDS] = {[0 ... VEC_WORDS - 1] = UINT64_MAX};

void eval_out(struct eval *ev, struct vec *out, uint8_t phys, uint32_t rows)
{
	out->phys = phys;
	out->constant = false;
	out->nulls = NULL;
	out->data = arena_alloc(ev->arena, (size_t)phys_bytes(phys) * rows);
}

void eval_constant(struct eval *ev, const struct cell *c, uint8_t phys, struct vec *out)
{
	out->constant = true;
	out->nulls = NULL;
	out->phys = phys;
	if (c->null || phys == PHYS_VAR) {
		struct slice *s = arena_alloc(ev->arena, sizeof *s);

		out->var = s;
		if (c->null) {
			out->nulls = (uint64_t *)(uintptr_t)eval_all_null; /* never written: kernels own only out */
			return;
		}
		s->p = c->var;
		s->bytes = c->bytes;
		return;
	}
	ASSERT_OP(c->phys, ==, phys);
	out->data = (void *)(uintptr_t)&c->i; /* little-endian: narrower classes are its first bytes */
}

static uint8_t phys_of(uint32_t oid)
{
	const struct type_info *ti = type_find(oid);

	return ti ? ti->phys : PHYS_VAR;
}

/* Null bits of the result of a strict function; false: every row is null (a constant null among the arguments). */
static bool merge_nulls(struct eval *ev, const struct vec *args, uint32_t count, struct vec *out)
{
	out->nulls = NULL;
	for (uint32_t a = 0; a < count; a++) {
		if (!args[a].nulls)
			continue;
		if (args[a].constant) {
			if (bit_get(args[a].nulls, 0))
				return false;
			continue;
		}
		if (!out->nulls) {
			out->nulls = arena_dup(ev->arena, args[a].nulls, VEC_WORDS * sizeof(uint64_t));
			continue;
		}
		for (uint32_t w = 0; w < VEC_WORDS; w++)
			out->nulls[w] |= args[a].nulls[w];
	}
	return true;
}

enum status fn_apply(struct eval *ev, const struct fn_def *fn, uint8_t phys, const struct vec *args, uint32_t arg_count,
		     const uint16_t *sel, uint32_t n, struct vec *out)
{
	bool constant = fn->volatility != FN_VOLATILE;
	enum status st;

	if (!fn->kernel)
		return error_set(ev->err, ST_UNSUPPORTED, "function %s cannot be used here", fn->sql_name);
	for (uint32_t a = 0; a < arg_count && constant; a++)
		constant = args[a].constant;
	if (constant) {
		sel = NULL;
		n = 1;
	}
	eval_out(ev, out, phys, sel ? (uint32_t)sel[n - 1] + 1 : n);
	if (fn->strict && !merge_nulls(ev, args, arg_count, out)) {
		static const struct cell null = {.null = true};

		eval_constant(ev, &null, phys, out);
		return ST_OK;
	}
	st = fn->kernel(ev, fn, args, arg_count, sel, n, out);
	if (constant)
		out->constant = true;
	return st;
}

static enum status eval_args(struct eval *ev, const struct expr *ex, const struct vec *inputs, uint32_t rows,
			     const uint16_t *sel, uint32_t n, struct vec *args)
{
	for (uint32_t a = 0; a < ex->arg_count; a++) {
		enum status st = expr_eval(ev, ex->args[a], inputs, rows, sel, n, &args[a]);

		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

static enum status session_fn(struct eval *ev, const struct expr *ex, const struct vec *args, const uint16_t *sel,
			      uint32_t n, struct vec *out)
{
	if (!ev->hooks || !ev->hooks->session_fn)
		return error_set(ev->err, ST_UNSUPPORTED, "function %s cannot be used here",
				 ex->fn ? ex->fn->sql_name : "of the session");
	return ev->hooks->session_fn(ev->hooks->ctx, ex, args, ex->arg_count, sel, n, ev->arena, out, ev->err);
}

static enum status eval_func(struct eval *ev, const struct expr *ex, const struct vec *inputs, uint32_t rows,
			     const uint16_t *sel, uint32_t n, struct vec *out)
{
	struct vec few[4], *args = ex->arg_count <= 4 ? few : ARENA_NEW_N(ev->arena, struct vec, ex->arg_count);
	const struct expr *outer;
	enum status st = eval_args(ev, ex, inputs, rows, sel, n, args);

	if (st != ST_OK)
		return st;
	if (ex->kind == EX_SESSION || !ex->fn->kernel)
		return session_fn(ev, ex, args, sel, n, out);
	outer = ev->call;
	ev->call = ex;
	st = fn_apply(ev, ex->fn, phys_of(ex->fn->result ? ex->fn->result : ex->type.oid), args, ex->arg_count, sel, n,
		      out);
	ev->call = outer;
	return st;
}

static enum status eval_param(struct eval *ev, const struct expr *ex, struct vec *out)
{
	if (ex->param == 0 || ex->param > ev->param_count)
		return error_set(ev->err, ST_UNDEFINED_PARAMETER, "there is no parameter $%u", ex->param);
	eval_constant(ev, &ev->params[ex->param - 1], phys_of(ex->type.oid), out);
	return ST_OK;
}

static enum status eval_node(struct eval *ev, const struct expr *ex, const struct vec *inputs, uint32_t rows,
			     const uint16_t *sel, uint32_t n, struct vec *out)
{
	switch ((enum expr_kind)ex->kind) {
	case EX_CONST:
		eval_constant(ev, &ex->value, phys_of(ex->type.oid), out);
		return ST_OK;
	case EX_PARAM:
		return eval_param(ev, ex, out);
	case EX_INPUT:
		*out = inputs[ex->slot];
		return ST_OK;
	case EX_FUNC:
	case EX_SESSION:
		return eval_func(ev, ex, inputs, rows, sel, n, out);
	case EX_AND:
	case EX_OR:
		return eval_and_or(ev, ex, inputs, rows, sel, n, out);
	case EX_NOT:
		return eval_not(ev, ex, inputs, rows, sel, n, out);
	case EX_IS_NULL:
	case EX_IS_TRUE:
	case EX_IS_FALSE:
	case EX_IS_UNKNOWN:
		return eval_is(ev, ex, inputs, rows, sel, n, out);
	case EX_IS_DISTINCT:
		return eval_is_distinct(ev, ex, inputs, rows, sel, n, out);
	case EX_CASE:
		return eval_case(ev, ex, inputs, rows, sel, n, out);
	case EX_COALESCE:
		return eval_coalesce(ev, ex, inputs, rows, sel, n, out);
	case EX_GREATEST:
	case EX_LEAST:
		return eval_extreme(ev, ex, inputs, rows, sel, n, out);
	case EX_NULLIF:
		return eval_nullif(ev, ex, inputs, rows, sel, n, out);
	case EX_IN:
		return eval_in(ev, ex, inputs, rows, sel, n, out);
	case EX_ANY_ARRAY:
		return eval_any_array(ev, ex, inputs, rows, sel, n, out);
	case EX_ARRAY:
		return eval_array(ev, ex, inputs, rows, sel, n, out);
	case EX_COLUMN:
	case EX_SUBQUERY:
	case EX_AGG:
	case EX_NEXTVAL:
	case EX_DEFAULT:
		break;
	}
	return error_set(ev->err, ST_INTERNAL, "expression of kind %u is not one that can be evaluated", ex->kind);
}

enum status expr_eval(struct eval *ev, const struct expr *ex, const struct vec *inputs, uint32_t rows,
		      const uint16_t *sel, uint32_t n, struct vec *out)
{
	static const struct cell null = {.null = true};
	enum status st;

	if (n == 0) { /* nothing is asked, so nothing may fail */
		eval_constant(ev, &null, phys_of(ex->type.oid), out);
		return ST_OK;
	}
	if (++ev->depth > EXPR_DEPTH_MAX)
		st = error_set(ev->err, ST_TOO_COMPLEX, "stack depth limit exceeded");
	else
		st = eval_node(ev, ex, inputs, rows, sel, n, out);
	ev->depth--;
	return st;
}

enum status expr_eval_one(struct eval *ev, const struct expr *ex, struct cell *out)
{
	struct vec v;
	enum status st = expr_eval(ev, ex, NULL, 1, NULL, 1, &v);

	if (st == ST_OK)
		vec_cell(&v, 0, out);
	return st;
}

/* -- without evaluating -------------------------------------------------------------------------------------------------- */

static bool walk(const struct expr *ex, bool (*fn)(const struct expr *ex, void *ctx), void *ctx, uint32_t depth)
{
	if (!ex)
		return false;
	if (depth > 4 * EXPR_DEPTH_MAX || fn(ex, ctx)) /* deeper than any bound tree: stop rather than overflow */
		return true;
	for (uint32_t a = 0; a < ex->arg_count; a++)
		if (walk(ex->args[a], fn, ctx, depth + 1))
			return true;
	return false;
}

bool expr_walk(const struct expr *ex, bool (*fn)(const struct expr *ex, void *ctx), void *ctx)
{
	return walk(ex, fn, ctx, 0);
}

static bool varies(const struct expr *ex, void *ctx)
{
	(void)ctx;
	switch ((enum expr_kind)ex->kind) {
	case EX_CONST:
	case EX_AND:
	case EX_OR:
	case EX_NOT:
	case EX_IS_NULL:
	case EX_IS_TRUE:
	case EX_IS_FALSE:
	case EX_IS_UNKNOWN:
	case EX_CASE:
	case EX_COALESCE:
	case EX_ARRAY:
		return false;
	case EX_FUNC:
	case EX_IS_DISTINCT:
	case EX_GREATEST:
	case EX_LEAST:
	case EX_NULLIF:
	case EX_IN:
	case EX_ANY_ARRAY:
		return !ex->fn || !ex->fn->kernel || ex->fn->volatility != FN_IMMUTABLE;
	default:
		return true;
	}
}

bool expr_is_constant(const struct expr *ex)
{
	return !expr_walk(ex, varies, NULL);
}
