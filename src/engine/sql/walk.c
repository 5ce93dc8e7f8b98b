/* walk.c - over bound expressions and the queries inside them (engine/sql). Nodes may be shared: fn may see one twice. */
#include "engine/sql/bind_int.h"

#include "base/map.h"

static bool walk_exprs(const struct query_walk *w, struct expr *const *at, uint32_t count, uint32_t depth)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		if (at[i] && walk_expr(w, at[i], depth))
			return true;
	return false;
}

bool walk_expr(const struct query_walk *w, const struct expr *ex, uint32_t depth)
{
	if (!ex)
		return false;
	if (w->fn(ex, depth, w->ctx))
		return true;
	if (w->enter && !w->enter(ex, depth, w->ctx))
		return false;
	if (walk_exprs(w, ex->args, ex->arg_count, depth))
		return true;
	return ex->kind == EX_SUBQUERY && walk_query(w, ex->sub, depth + 1);
}

static bool walk_from(const struct query_walk *w, const struct from_node *f, uint32_t depth)
{
	if (!f || !f->is_join)
		return false;
	return walk_from(w, f->left, depth) || walk_from(w, f->right, depth) || walk_expr(w, f->on, depth);
}

static bool walk_rel(const struct query_walk *w, const struct range_rel *r, uint32_t depth)
{
	uint32_t i;

	if (r->source == SRC_SUBQUERY && r->subquery && walk_query(w, r->subquery, depth + 1))
		return true;
	for (i = 0; i < r->row_count; i++)
		if (walk_exprs(w, r->rows[i], r->column_count, depth))
			return true;
	return walk_exprs(w, r->args, r->arg_count, depth);
}

static bool walk_aggs(const struct query_walk *w, const struct query *q, uint32_t depth)
{
	uint32_t i, k;

	for (i = 0; i < q->agg_count; i++) {
		const struct agg_use *a = &q->aggs[i];

		if (walk_exprs(w, a->args, a->arg_count, depth) || walk_expr(w, a->filter, depth))
			return true;
		for (k = 0; k < a->order_count; k++)
			if (walk_expr(w, a->order[k].expr, depth))
				return true;
	}
	return false;
}

bool walk_query(const struct query_walk *w, const struct query *q, uint32_t depth)
{
	uint32_t i;

	if (!q)
		return false;
	for (i = 0; i < q->cte_count; i++)
		if (walk_query(w, q->ctes[i].query, depth + 1))
			return true;
	for (i = 0; i < q->rel_count; i++)
		if (walk_rel(w, &q->rels[i], depth))
			return true;
	for (i = 0; i < q->target_count; i++)
		if (walk_expr(w, q->targets[i].expr, depth))
			return true;
	return walk_from(w, q->from, depth) || walk_expr(w, q->where, depth) ||
	       walk_exprs(w, q->groups, q->group_count, depth) || walk_aggs(w, q, depth) ||
	       walk_expr(w, q->having, depth) || walk_expr(w, q->limit, depth) || walk_expr(w, q->offset, depth) ||
	       walk_query(w, q->set_left, depth + 1) || walk_query(w, q->set_right, depth + 1) ||
	       walk_query(w, q->source, depth + 1) || walk_expr(w, q->conflict_where, depth) ||
	       walk_exprs(w, q->set_exprs, q->set_count, depth);
}

static bool is_own_column(const struct expr *ex, uint32_t depth, void *ctx)
{
	(void)ctx;
	return ex->kind == EX_COLUMN && ex->levels_up == depth;
}

bool expr_has_columns(const struct expr *ex)
{
	const struct query_walk w = {.fn = is_own_column};

	return walk_expr(&w, ex, 0);
}

static bool is_outer_column(const struct expr *ex, uint32_t depth, void *ctx)
{
	(void)ctx;
	return ex->kind == EX_COLUMN && ex->levels_up > depth;
}

bool query_is_correlated(const struct query *q)
{
	const struct query_walk w = {.fn = is_outer_column};

	return walk_query(&w, q, 0);
}

static bool shift_column(const struct expr *ex, uint32_t depth, void *ctx)
{
	struct map *seen = ctx;

	if (ex->kind == EX_COLUMN && ex->levels_up > depth && !map_find(seen, (uint64_t)(uintptr_t)ex)) {
		struct expr *mine = (struct expr *)(uintptr_t)ex; /* just made, by this binding */

		mine->levels_up++;
		map_put(seen, (uint64_t)(uintptr_t)ex, mine);
	}
	return false;
}

/* q gets one more query level above it: what it has from outside is one level further up. */
void query_shift_levels(struct bind *b, const struct query *q)
{
	struct map seen;
	const struct query_walk w = {.fn = shift_column, .ctx = &seen};

	if (!query_is_correlated(q))
		return;
	map_init(&seen, b->arena->mem);
	walk_query(&w, q, 0);
	map_fini(&seen);
}

/* -- equality -------------------------------------------------------------------------------------------- */

static bool cell_same(const struct cell *a, const struct cell *b)
{
	if (a->phys != b->phys || a->null != b->null)
		return false;
	if (a->null)
		return true;
	switch (a->phys) {
	case PHYS_VAR: return a->bytes == b->bytes && (!a->bytes || !memcmp(a->var, b->var, a->bytes));
	case PHYS_I128: return a->x == b->x;
	case PHYS_F64: return !memcmp(&a->f, &b->f, sizeof a->f);
	default: return a->i == b->i;
	}
}

/*
 * The same value always, as far as the shape tells: positions do not count, nor does a type that only relabels. Two
 * subqueries, and calls that may give another value each time, are never the same.
 */
bool bind_same(const struct expr *a, const struct expr *b)
{
	uint32_t i;

	if (a->kind != b->kind || a->fn != b->fn || a->arg_count != b->arg_count || a->negate != b->negate ||
	    a->all != b->all)
		return false;
	switch (a->kind) {
	case EX_CONST:
		if (a->type.oid != b->type.oid || !cell_same(&a->value, &b->value))
			return false;
		break;
	case EX_COLUMN:
		if (a->rel != b->rel || a->attno != b->attno || a->levels_up != b->levels_up)
			return false;
		break;
	case EX_PARAM:
		return a->param == b->param;
	case EX_INPUT:
	case EX_AGG:
		return a->slot == b->slot;
	case EX_SUBQUERY:
		return a == b;
	case EX_NEXTVAL:
	case EX_DEFAULT:
		return false;
	default:
		break;
	}
	for (i = 0; i < a->arg_count; i++)
		if (!bind_same(a->args[i], b->args[i]))
			return false;
	return true;
}

bool bind_groups(const struct expr *group, const struct expr *ex)
{
	return bind_same(group, ex) && (group->type.oid == ex->type.oid || group->type.oid != T_BPCHAR);
}
