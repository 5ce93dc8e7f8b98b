/* bind_row.c - row comparisons and subqueries in expressions (engine/sql). */
#include "engine/sql/bind_int.h"

static struct expr *operator_of(struct scope *s, const char *op, const struct ast_expr *l, const struct ast_expr *r,
				int pos)
{
	struct expr *a = bind_expr(s, l), *c = a ? bind_expr(s, r) : NULL, *x;

	x = c ? bind_operator(s->b, op, a, c, pos) : NULL;
	if (x && x->type.oid != T_BOOL)
		return bind_fail(s->b, ST_DATATYPE_MISMATCH, pos, "row comparison operator must yield type boolean, not type %s",
				 bind_type_name(s->b, x->type.oid));
	return x;
}

static struct expr *distinct_of(struct scope *s, bool negate, const struct ast_expr *l, const struct ast_expr *r, int pos)
{
	struct ast_expr e = {.kind = AX_DISTINCT, .negate = negate, .pos = pos, .count = 2};
	struct ast_expr *args[2] = {(struct ast_expr *)l, (struct ast_expr *)r};

	e.args = args;
	return bind_expr(s, &e);
}

/* (a, b) < (c, d): a < c OR (a = c AND b < d), from the last column back. */
static struct expr *row_order(struct scope *s, const char *op, const struct ast_expr *l, const struct ast_expr *r, int pos)
{
	const char strict[2] = {op[0], 0};
	struct expr *rest = NULL;
	uint32_t i;

	for (i = l->count; i-- > 0;) {
		struct expr *ex, *both, *x = operator_of(s, i + 1 == l->count ? op : strict, l->args[i], r->args[i], pos);

		if (!x)
			return NULL;
		if (!rest) {
			rest = x;
			continue;
		}
		both = bind_node(s->b, EX_AND, 2, T_BOOL, pos);
		if (!(both->args[0] = operator_of(s, "=", l->args[i], r->args[i], pos)))
			return NULL;
		both->args[1] = rest;
		ex = bind_node(s->b, EX_OR, 2, T_BOOL, pos);
		ex->args[0] = x;
		ex->args[1] = both;
		rest = ex;
	}
	return rest;
}

static struct expr *row_each(struct scope *s, const char *op, const struct ast_expr *l, const struct ast_expr *r, int pos)
{
	bool distinct = op[0] == 'I', negate = distinct && op[3] == 'N';
	enum expr_kind kind = !strcmp(op, "=") || negate ? EX_AND : EX_OR;
	struct expr *ex = bind_node(s->b, kind, l->count, T_BOOL, pos);
	uint32_t i;

	for (i = 0; i < l->count; i++) {
		ex->args[i] = distinct ? distinct_of(s, negate, l->args[i], r->args[i], pos)
			      : operator_of(s, op, l->args[i], r->args[i], pos);
		if (!ex->args[i])
			return NULL;
	}
	return l->count == 1 ? ex->args[0] : ex;
}

struct expr *bind_row_op(struct scope *s, const struct ast_expr *e, const char *op, const struct ast_expr *l,
			 const struct ast_expr *r)
{
	if (r->kind == AX_SUBLINK)
		return bind_unsupported(s->b, e->pos, "comparing a row with a subquery");
	if (l->kind != AX_ROW || r->kind != AX_ROW)
		return bind_unsupported(s->b, e->pos, "comparing a row with what is not written as a row");
	if (l->count != r->count)
		return bind_fail(s->b, ST_SYNTAX, e->pos, "unequal number of entries in row expressions");
	if (!l->count)
		return bind_fail(s->b, ST_UNSUPPORTED, e->pos, "cannot compare rows of zero length");
	if (!strcmp(op, "=") || !strcmp(op, "<>") || op[0] == 'I')
		return row_each(s, op, l, r, e->pos);
	if (!strcmp(op, "<") || !strcmp(op, "<=") || !strcmp(op, ">") || !strcmp(op, ">="))
		return row_order(s, op, l, r, e->pos);
	bind_fail(s->b, ST_UNSUPPORTED, e->pos, "could not determine interpretation of row comparison operator %s", op);
	bind_hint(s->b, "Row comparison operators must be associated with btree operator families.");
	return NULL;
}

/* -- subqueries ----------------------------------------------------------------------------------------- */

static bool place_allows_subquery(struct scope *s, int pos)
{
	const char *what = NULL;

	switch (s->place) {
	case AT_DEFAULT: what = "DEFAULT expression"; break;
	case AT_CHECK: what = "check constraint"; break;
	case AT_EXECUTE: what = "EXECUTE parameter"; break;
	case AT_INDEX: what = "index expression"; break;
	default: return true;
	}
	bind_fail(s->b, ST_UNSUPPORTED, pos, "cannot use subquery in %s", what);
	return false;
}

static uint32_t visible_targets(const struct query *q)
{
	uint32_t i, n = 0;

	for (i = 0; i < q->target_count; i++)
		n += !q->targets[i].junk;
	return n;
}

static const struct target *visible_target(const struct query *q, uint32_t at)
{
	uint32_t i;

	for (i = 0; i < q->target_count; i++)
		if (!q->targets[i].junk && !at--)
			return &q->targets[i];
	UNREACHABLE();
}

/* The left side's columns against the subquery's; both sides are brought to what the operator takes. */
static struct expr *bind_quantified(struct scope *s, const struct ast_expr *e, struct query *q, const char *op)
{
	struct bind *b = s->b;
	bool row = e->left->kind == AX_ROW, negate = false;
	uint32_t n = row ? e->left->count : 1, i, have = visible_targets(q);
	uint32_t *types = ARENA_NEW_N(b->arena, uint32_t, n + 1);
	struct expr *ex = bind_node(b, EX_SUBQUERY, n, T_BOOL, e->pos), *not;

	if (have != n)
		return bind_fail(b, ST_SYNTAX, e->pos, "subquery has too %s columns", have < n ? "few" : "many");
	ex->sub_kind = e->op == AST_SUB_ALL ? SUB_ALL : SUB_ANY;
	if (n > 1 && !strcmp(op, "<>") && ex->sub_kind == SUB_ALL) {
		negate = true; /* (a, b) <> ALL is NOT ((a, b) = ANY) */
		op = "=";
		ex->sub_kind = SUB_ANY;
	}
	if (n > 1 && (strcmp(op, "=") != 0 || ex->sub_kind != SUB_ANY))
		return bind_unsupported(b, e->pos, "this comparison of a row with a subquery");
	for (i = 0; i < n; i++) {
		struct expr *l = bind_expr(s, row ? e->left->args[i] : e->left);
		const struct fn_def *fn;
		uint32_t to[2];

		if (!l)
			return NULL;
		fn = bind_operator_fn(b, op, l->type.oid, visible_target(q, i)->expr->type.oid, to, e->pos);
		if (!fn)
			return NULL;
		if (fn->result != T_BOOL)
			return bind_fail(b, ST_DATATYPE_MISMATCH, e->pos, "row comparison operator must yield type boolean, "
					 "not type %s", bind_type_name(b, fn->result));
		if (i == 0)
			ex->fn = fn;
		if (!(ex->args[i] = bind_coerce(b, l, to[0], CAST_IMPLICIT, e->pos)))
			return NULL;
		types[i] = to[1];
	}
	ex->sub = bind_wrap(b, q, types);
	if (!ex->sub || !negate)
		return ex->sub ? ex : NULL;
	not = bind_node(b, EX_NOT, 1, T_BOOL, e->pos);
	not->args[0] = ex;
	return not;
}

struct expr *bind_sublink(struct scope *s, const struct ast_expr *e)
{
	struct bind *b = s->b;
	const struct type_info *ti;
	struct query *q;
	struct expr *ex;

	if (!place_allows_subquery(s, e->pos) || !(q = bind_select(b, s, e->select, false, false)))
		return NULL;
	if (e->op == AST_SUB_ANY || e->op == AST_SUB_ALL)
		return bind_quantified(s, e, q, e->names.count ? e->names.at[e->names.count - 1] : "=");
	ex = bind_node(b, EX_SUBQUERY, 0, T_BOOL, e->pos);
	ex->sub = q;
	if (e->op == AST_SUB_EXISTS) {
		ex->sub_kind = SUB_EXISTS;
		return ex;
	}
	if (visible_targets(q) != 1)
		return bind_fail(b, ST_SYNTAX, e->pos, visible_targets(q) ? "subquery must return only one column"
				 : "subquery must return a column");
	ex->type = visible_target(q, 0)->expr->type;
	if (e->op == AST_SUB_SCALAR) {
		ex->sub_kind = SUB_SCALAR;
		return ex;
	}
	ti = type_find(ex->type.oid);
	if (!ti || !ti->array_oid)
		return bind_fail(b, ST_UNDEFINED_OBJECT, e->pos, "could not find array type for data type %s",
				 bind_type_name(b, ex->type.oid));
	ex->sub_kind = SUB_ARRAY;
	ex->type = (struct sql_type){ti->array_oid, -1};
	return ex;
}
