/*
 * plan.c - from a bound query to a tree of plans: the steps above FROM and WHERE.
 */
#include "engine/sql/plan.h"

#include <string.h>

#include "base/assert.h"
#include "engine/txn/access.h"

#define PLAN_DEPTH_MAX 64 /* queries inside queries */

enum status plan_fail(struct plan_shared *sh, enum status st, const char *what)
{
	if (sh->status)
		return sh->status;
	sh->status = st;
	if (what) {
		if (st == ST_UNSUPPORTED)
			(void)error_set(sh->err, st, "%s is not supported", what);
		else
			(void)error_set(sh->err, st, "%s", what);
	}
	return st;
}

struct plan *plan_new(struct planner *pl, enum plan_kind kind, struct plan *left, struct plan *right)
{
	struct plan *p = ARENA_NEW(pl->sh->arena, struct plan);

	p->kind = (uint8_t)kind;
	p->left = left;
	p->right = right;
	if (left)
		p->rows = left->rows;
	return p;
}

void plan_col_add(struct planner *pl, struct plan *p, uint32_t rel, uint16_t attno, struct sql_type type)
{
	/* room in powers of two: full when the count is one */
	if ((p->col_count & (p->col_count - 1)) == 0) {
		uint32_t cap = p->col_count ? p->col_count * 2 : 1;
		struct plan_col *cols = ARENA_NEW_N(pl->sh->arena, struct plan_col, cap);

		if (p->col_count)
			memcpy(cols, p->cols, p->col_count * sizeof *cols);
		p->cols = cols;
	}
	p->cols[p->col_count++] = (struct plan_col){rel, attno, type};
}

void plan_cols_copy(struct planner *pl, struct plan *p, const struct plan *from)
{
	for (uint32_t i = 0; from && i < from->col_count; i++)
		plan_col_add(pl, p, from->cols[i].rel, from->cols[i].attno, from->cols[i].type);
}

uint32_t plan_col_find(const struct plan *p, uint32_t rel, uint16_t attno)
{
	for (uint32_t i = 0; i < p->col_count; i++)
		if (p->cols[i].rel == rel && p->cols[i].attno == attno)
			return i;
	return UINT32_MAX;
}

void plan_use(struct planner *pl, rel_id id, bool write)
{
	struct plan_root *root = pl->sh->root;

	for (uint32_t i = 0; i < root->use_count; i++)
		if (root->uses[i].id == id) {
			root->uses[i].write |= write;
			return;
		}
	if (root->use_count == pl->sh->use_cap) {
		struct rel_use *bigger;

		pl->sh->use_cap = pl->sh->use_cap ? pl->sh->use_cap * 2 : 4;
		bigger = ARENA_NEW_N(pl->sh->arena, struct rel_use, pl->sh->use_cap);
		if (root->use_count)
			memcpy(bigger, root->uses, root->use_count * sizeof *bigger);
		root->uses = bigger;
	}
	root->uses[root->use_count++] = (struct rel_use){id, write};
}

struct plan *plan_filter(struct planner *pl, struct plan *in, struct expr **conds, uint32_t count)
{
	struct expr **list = ARENA_NEW_N(pl->sh->arena, struct expr *, count + 1);
	struct plan *p, *under = in;
	double rows = in->rows;

	if (count == 0)
		return in;
	for (uint32_t i = 0; i < count; i++) {
		list[i] = plan_expr(pl, &under, conds[i]);
		rows *= 0.33;
	}
	p = plan_new(pl, PLAN_FILTER, under, NULL);
	plan_cols_copy(pl, p, under);
	p->filter = expr_make_and(list, count, pl->sh->arena);
	p->rows = in->rows > 0 && rows < 1 ? 1 : rows;
	return p;
}

/* -- which columns are read ------------------------------------------------------------------------------- */

static void need(void *ctx, const struct expr *col, uint32_t level)
{
	struct planner *pl = ctx;

	if (col->levels_up == level && col->rel < pl->q->rel_count && pl->needed[col->rel])
		pl->needed[col->rel][col->attno / 64] |= UINT64_C(1) << (col->attno % 64);
}

static void need_columns(struct planner *pl)
{
	const struct query *q = pl->q;

	pl->needed = ARENA_NEW_N(pl->sh->arena, uint64_t *, q->rel_count + 1);
	for (uint32_t i = 0; i < q->rel_count; i++)
		pl->needed[i] = ARENA_NEW_N(pl->sh->arena, uint64_t, q->rels[i].column_count / 64 + 1);
	query_columns(q, 0, need, pl);
}

/* -- aggregates --------------------------------------------------------------------------------------------- */

static bool min_max_order(struct planner *pl, struct sort_item *item_out, const struct expr **col_out)
{
	const struct query *q = pl->q;
	const struct agg_use *a;
	const struct expr *col;

	if (q->agg_count != 1 || q->group_count || q->rel_count != 1 || q->rels[0].source != SRC_TABLE || q->having)
		return false;
	a = &q->aggs[0];
	if (a->arg_count != 1 || a->filter || a->order_count || a->distinct)
		return false;
	col = expr_bare(a->args[0]);
	if (col->kind != EX_COLUMN || col->levels_up)
		return false;
	*col_out = col;
	*item_out = (struct sort_item){0, !strcmp(a->agg->sql_name, "max"), false};
	return !strcmp(a->agg->sql_name, "min") || item_out->desc;
}

static struct expr *not_null(struct planner *pl, const struct expr *col)
{
	struct expr *ex = ARENA_NEW(pl->sh->arena, struct expr);

	ex->kind = EX_IS_NULL;
	ex->negate = true;
	ex->type = (struct sql_type){T_BOOL, -1};
	ex->arg_count = 1;
	ex->args = ARENA_NEW_N(pl->sh->arena, struct expr *, 1);
	ex->args[0] = (struct expr *)col;
	return ex;
}

static struct expr *int8_const(struct planner *pl, int64_t v)
{
	struct expr *ex = ARENA_NEW(pl->sh->arena, struct expr);

	ex->kind = EX_CONST;
	ex->type = (struct sql_type){T_INT8, -1};
	ex->value = (struct cell){.phys = PHYS_I64, .i = v};
	return ex;
}

static struct plan *plan_limit(struct planner *pl, struct plan *in, const struct expr *limit, const struct expr *offset)
{
	struct plan *p = plan_new(pl, PLAN_LIMIT, in, NULL), *none = NULL;

	plan_cols_copy(pl, p, in);
	p->limit.limit = plan_expr(pl, &none, limit);
	p->limit.offset = plan_expr(pl, &none, offset);
	if (limit && limit->kind == EX_CONST && !limit->value.null && (p->rows == 0 || p->rows > (double)limit->value.i))
		p->rows = (double)limit->value.i;
	return p;
}

/* DISTINCT feeds what depends on order in the order of the values, as PostgreSQL's sort happens to. */
static void order_distinct(struct planner *pl, struct agg_use *u)
{
	const char *name = u->agg->sql_name;
	bool floats = u->arg_count && (u->args[0]->type.oid == T_FLOAT8 || u->args[0]->type.oid == T_FLOAT4);

	if (!u->distinct || u->order_count || (strcmp(name, "string_agg") && strcmp(name, "array_agg") && !floats))
		return;
	u->order = arena_alloc(pl->sh->arena, u->arg_count * sizeof *u->order);
	for (u->order_count = 0; u->order_count < u->arg_count; u->order_count++)
		u->order[u->order_count].expr = u->args[u->order_count];
}

static struct plan *plan_aggregate(struct planner *pl, struct plan *in)
{
	const struct query *q = pl->q;
	struct arena *arena = pl->sh->arena;
	struct plan *p;
	struct expr **groups = ARENA_NEW_N(arena, struct expr *, q->group_count + 1);
	struct agg_use *aggs = ARENA_NEW_N(arena, struct agg_use, q->agg_count + 1);

	for (uint32_t i = 0; i < q->group_count; i++)
		groups[i] = plan_expr(pl, &in, q->groups[i]);
	for (uint32_t i = 0; i < q->agg_count; i++) {
		aggs[i] = q->aggs[i];
		aggs[i].args = ARENA_NEW_N(arena, struct expr *, aggs[i].arg_count + 1);
		for (uint32_t j = 0; j < aggs[i].arg_count; j++)
			aggs[i].args[j] = plan_expr(pl, &in, q->aggs[i].args[j]);
		aggs[i].filter = plan_expr(pl, &in, q->aggs[i].filter);
		if (aggs[i].order_count) {
			aggs[i].order = arena_dup(arena, q->aggs[i].order, aggs[i].order_count * sizeof *aggs[i].order);
			for (uint32_t j = 0; j < aggs[i].order_count; j++)
				aggs[i].order[j].expr = plan_expr(pl, &in, q->aggs[i].order[j].expr);
		}
		order_distinct(pl, &aggs[i]);
	}
	p = plan_new(pl, PLAN_AGG, in, NULL);
	p->agg.groups = groups;
	p->agg.group_count = q->group_count;
	p->agg.aggs = aggs;
	p->agg.agg_count = q->agg_count;
	for (uint32_t i = 0; i < q->group_count; i++)
		plan_col_add(pl, p, REL_GROUP, (uint16_t)i, q->groups[i]->type);
	for (uint32_t i = 0; i < q->agg_count; i++)
		plan_col_add(pl, p, REL_AGG, (uint16_t)i, q->aggs[i].type);
	p->rows = q->group_count ? (in->rows > 0 ? 1 + in->rows / 10 : 0) : 1;
	pl->post_agg = true;
	return p;
}

/* -- above: targets, distinct, order, lock, limit ------------------------------------------------------------- */

/* Rows equal in all of these columns are one: an aggregation without aggregates. */
static struct plan *plan_distinct(struct planner *pl, struct plan *in, uint32_t cols)
{
	struct plan *p = plan_new(pl, PLAN_AGG, in, NULL);

	p->agg.group_count = cols;
	p->agg.groups = ARENA_NEW_N(pl->sh->arena, struct expr *, cols + 1);
	for (uint32_t i = 0; i < cols; i++) {
		p->agg.groups[i] = expr_input(pl->sh->arena, i, in->cols[i].type);
		plan_col_add(pl, p, in->cols[i].rel, in->cols[i].attno, in->cols[i].type);
	}
	return p;
}

static struct plan *plan_project(struct planner *pl, struct plan *in)
{
	const struct query *q = pl->q;
	struct plan *p;
	struct expr **exprs = ARENA_NEW_N(pl->sh->arena, struct expr *, q->target_count + q->rel_count + 1);
	uint32_t n = q->target_count;

	for (uint32_t i = 0; i < n; i++)
		exprs[i] = plan_expr(pl, &in, q->targets[i].expr);
	p = plan_new(pl, PLAN_PROJECT, in, NULL);
	for (uint32_t i = 0; i < n; i++)
		plan_col_add(pl, p, REL_TARGET, (uint16_t)i, q->targets[i].expr->type);
	for (uint32_t r = 0; q->lock && r < q->rel_count; r++) {
		uint32_t slot = plan_col_find(in, r, 0);

		if (slot == UINT32_MAX)
			continue;
		exprs[n++] = expr_input(pl->sh->arena, slot, in->cols[slot].type);
		plan_col_add(pl, p, r, 0, in->cols[slot].type);
	}
	p->project.exprs = exprs;
	return p;
}

static struct plan *plan_sort(struct planner *pl, struct plan *in, const struct expr *limit)
{
	const struct query *q = pl->q;
	struct plan *p = plan_new(pl, PLAN_SORT, in, NULL), *none = NULL;

	plan_cols_copy(pl, p, in);
	p->sort.keys = ARENA_NEW_N(pl->sh->arena, struct sort_key, q->sort_count);
	for (uint32_t i = 0; i < q->sort_count; i++) {
		const struct sort_item *s = &q->sorts[i];
		uint32_t slot = plan_col_find(in, REL_TARGET, (uint16_t)s->target);

		ASSERT(slot != UINT32_MAX);
		p->sort.keys[p->sort.key_count++] =
			(struct sort_key){slot, in->cols[slot].type.oid, s->desc, s->nulls_first};
	}
	p->sort.limit = plan_expr(pl, &none, limit);
	p->sort.offset = limit ? plan_expr(pl, &none, q->offset) : NULL;
	return p;
}

static struct plan *plan_distinct_on(struct planner *pl, struct plan *in)
{
	const struct query *q = pl->q;
	struct plan *p = plan_new(pl, PLAN_UNIQUE, in, NULL);

	plan_cols_copy(pl, p, in);
	p->unique.slots = ARENA_NEW_N(pl->sh->arena, uint32_t, q->distinct_on_count);
	p->unique.oids = ARENA_NEW_N(pl->sh->arena, uint32_t, q->distinct_on_count);
	p->unique.key_count = q->distinct_on_count;
	for (uint32_t i = 0; i < q->distinct_on_count; i++) {
		p->unique.slots[i] = q->distinct_on[i];
		p->unique.oids[i] = in->cols[q->distinct_on[i]].type.oid;
	}
	return p;
}

static struct plan *plan_lock(struct planner *pl, struct plan *in)
{
	const struct query *q = pl->q;
	struct plan *p = plan_new(pl, PLAN_LOCK, in, NULL);

	plan_cols_copy(pl, p, in);
	p->lock.slots = ARENA_NEW_N(pl->sh->arena, uint32_t, q->rel_count);
	p->lock.tables = ARENA_NEW_N(pl->sh->arena, const struct table_def *, q->rel_count);
	p->lock.mode = (uint8_t)(q->lock - 1);
	p->lock.nowait = q->lock_nowait;
	p->lock.skip = q->lock_skip;
	p->lock.limited = q->limit != NULL;
	for (uint32_t r = 0; r < q->rel_count; r++) {
		uint32_t slot = plan_col_find(in, r, 0);

		if (slot == UINT32_MAX)
			continue;
		p->lock.slots[p->lock.lock_count] = slot;
		p->lock.tables[p->lock.lock_count++] = q->rels[r].table;
		plan_use(pl, q->rels[r].table->id, true);
	}
	pl->sh->root->restarts = true;
	pl->sh->root->writes = true;
	return p;
}

/* Only the visible targets, in order. */
static struct plan *plan_strip(struct planner *pl, struct plan *in)
{
	const struct query *q = pl->q;
	struct plan *p;
	bool same = in->col_count == q->target_count;
	uint32_t n = 0;

	for (uint32_t i = 0; i < q->target_count; i++)
		same = same && !q->targets[i].junk;
	if (same)
		return in;
	p = plan_new(pl, PLAN_PROJECT, in, NULL);
	p->project.exprs = ARENA_NEW_N(pl->sh->arena, struct expr *, q->target_count + 1);
	for (uint32_t i = 0; i < q->target_count; i++) {
		if (q->targets[i].junk)
			continue;
		p->project.exprs[n++] = expr_input(pl->sh->arena, i, in->cols[i].type);
		plan_col_add(pl, p, REL_TARGET, (uint16_t)i, in->cols[i].type);
	}
	return p;
}

/* -- set operations --------------------------------------------------------------------------------------------- */

static struct plan *plan_side(struct planner *pl, const struct query *q)
{
	struct planner inner = {0};
	struct plan *p = plan_level(pl, q, &inner);

	/* columns of a level above this one are handed on by number: nothing of ours is there to be meant */
	return p;
}

/* Casts one side's columns to the result's types where they differ in a way that runs something. */
static struct plan *coerce_side(struct planner *pl, struct plan *p)
{
	const struct query *q = pl->q;
	struct plan *cast = NULL;

	for (uint32_t i = 0; i < p->col_count && i < q->target_count; i++) {
		uint32_t from = p->cols[i].type.oid, to = q->targets[i].expr->type.oid;
		const struct fn_def *fn = NULL;
		struct expr *ex;

		if (from == to)
			continue;
		if (cast_find(from, to, CAST_EXPLICIT, &fn) != ST_OK || !fn)
			continue;
		if (!cast) {
			cast = plan_new(pl, PLAN_PROJECT, p, NULL);
			plan_cols_copy(pl, cast, p);
			cast->project.exprs = ARENA_NEW_N(pl->sh->arena, struct expr *, p->col_count);
			for (uint32_t c = 0; c < p->col_count; c++)
				cast->project.exprs[c] = expr_input(pl->sh->arena, c, p->cols[c].type);
		}
		ex = ARENA_NEW(pl->sh->arena, struct expr);
		ex->kind = EX_FUNC;
		ex->fn = fn;
		ex->type = q->targets[i].expr->type;
		ex->arg_count = 1;
		ex->args = ARENA_NEW_N(pl->sh->arena, struct expr *, 1);
		ex->args[0] = cast->project.exprs[i];
		cast->project.exprs[i] = ex;
		cast->cols[i].type = ex->type;
	}
	return cast ? cast : p;
}

static struct plan *plan_setop(struct planner *pl)
{
	const struct query *q = pl->q;
	struct plan *l = plan_side(pl, q->set_left), *r = plan_side(pl, q->set_right), *p;

	if (pl->sh->status)
		return l;
	l = coerce_side(pl, l);
	r = coerce_side(pl, r);
	if (q->set_op == SETOP_UNION) {
		p = plan_new(pl, PLAN_APPEND, l, r);
		p->rows = l->rows + r->rows;
	} else {
		p = plan_new(pl, PLAN_SETOP, l, r);
		p->setop.op = q->set_op;
		p->setop.all = q->set_all;
	}
	for (uint32_t i = 0; i < q->target_count && i < l->col_count; i++)
		plan_col_add(pl, p, REL_TARGET, (uint16_t)i, q->targets[i].expr->type);
	if (q->set_op == SETOP_UNION && !q->set_all)
		p = plan_distinct(pl, p, p->col_count);
	return p;
}

/* -- a level ----------------------------------------------------------------------------------------------------- */

static void register_ctes(struct planner *pl)
{
	struct plan_shared *sh = pl->sh;

	for (uint32_t i = 0; i < pl->q->cte_count; i++) {
		const struct query *c = pl->q->ctes[i].query;

		if (c->kind == Q_SELECT)
			continue; /* planned where it is used */
		(void)plan_fail(sh, ST_UNSUPPORTED, "a data-modifying statement in WITH");
	}
}

static struct plan *finish_select(struct planner *pl, struct plan *p, bool ordered)
{
	const struct query *q = pl->q;
	uint32_t n = q->target_count;

	if (q->distinct && q->distinct_on_count == 0)
		p = plan_distinct(pl, p, n);
	if (q->sort_count && !ordered)
		p = plan_sort(pl, p, q->distinct_on_count ? NULL : q->limit);
	if (q->distinct_on_count)
		p = plan_distinct_on(pl, p);
	if (q->lock)
		p = plan_lock(pl, p);
	if (q->limit || q->offset)
		p = plan_limit(pl, p, q->limit, q->offset);
	return plan_strip(pl, p);
}

/* The order of ORDER BY as columns of the one table, if that is what it is. */
static bool wants_order(struct planner *pl)
{
	const struct query *q = pl->q;

	if (q->sort_count == 0 || q->has_aggs || q->distinct || q->distinct_on_count || !q->from || q->from->is_join ||
	    q->rels[q->from->rel].source != SRC_TABLE)
		return false;
	for (uint32_t i = 0; i < q->sort_count; i++) {
		const struct expr *ex = expr_bare(q->targets[q->sorts[i].target].expr);

		if (ex->kind != EX_COLUMN || ex->levels_up || ex->attno == 0)
			return false;
	}
	return true;
}

struct plan *plan_select(struct planner *pl)
{
	const struct query *q = pl->q;
	struct sort_item mm;
	const struct expr *mm_col;
	struct plan *p;
	bool min_max = false;

	if (q->set_op) {
		p = plan_setop(pl);
		return pl->sh->status ? p : finish_select(pl, p, false);
	}
	if (wants_order(pl)) {
		pl->order = q->sorts;
		pl->order_count = q->sort_count;
		pl->order_limited = q->limit != NULL;
	} else if (q->has_aggs && min_max_order(pl, &mm, &mm_col)) {
		/* min(c) is the first of ORDER BY c with c IS NOT NULL, max(c) the last */
		struct query *nq = arena_dup(pl->sh->arena, q, sizeof *q);
		struct expr **both = ARENA_NEW_N(pl->sh->arena, struct expr *, 2);
		struct target *t = ARENA_NEW(pl->sh->arena, struct target);

		both[0] = not_null(pl, mm_col);
		both[1] = q->where;
		t->expr = (struct expr *)mm_col;
		nq->where = expr_make_and(both, q->where ? 2 : 1, pl->sh->arena);
		nq->targets = t;
		nq->sorts = arena_dup(pl->sh->arena, &mm, sizeof mm);
		nq->sort_count = 1;
		pl->q = nq;
		pl->order = nq->sorts;
		pl->order_count = 1;
		pl->order_limited = min_max = true;
		p = plan_from_where(pl);
		pl->q = q;
		if (pl->sh->status)
			return p;
		if (pl->order_met)
			p = plan_limit(pl, p, int8_const(pl, 1), NULL);
	}
	if (!min_max)
		p = plan_from_where(pl);
	if (pl->sh->status)
		return p;
	if (q->has_aggs)
		p = plan_aggregate(pl, p);
	if (q->having) {
		struct expr **conds = NULL;
		uint32_t count = 0, cap = 0;

		expr_conjuncts(q->having, &conds, &count, &cap, pl->sh->arena);
		p = plan_filter(pl, p, conds, count);
	}
	if (pl->sh->status)
		return p;
	p = plan_project(pl, p);
	if (pl->sh->status)
		return p;
	return finish_select(pl, p, !min_max && pl->order_met);
}

struct plan *plan_level(struct planner *outer, const struct query *q, struct planner *self)
{
	struct plan *p;

	self->sh = outer->sh;
	self->outer = outer->q ? outer : NULL;
	self->q = q;
	if (outer->sh->status || ++outer->sh->depth > PLAN_DEPTH_MAX || q->rel_count > 64) {
		(void)plan_fail(outer->sh, ST_TOO_COMPLEX, "statement too complex: too many relations or levels of queries");
		return plan_new(self, PLAN_RESULT, NULL, NULL);
	}
	need_columns(self);
	for (uint32_t r = 0; q->lock && r < q->rel_count; r++)
		if (q->rels[r].source == SRC_TABLE)
			self->needed[r][0] |= 1;
	register_ctes(self);
	p = q->kind == Q_SELECT ? plan_select(self) : plan_modify(self);
	outer->sh->depth--;
	/* failed half way: the caller goes on with something that it can look at until it asks for the status */
	return p && !self->sh->status ? p : plan_new(self, PLAN_RESULT, NULL, NULL);
}

enum status plan_query(struct access *access, const struct query *q, uint32_t param_count, struct arena *arena,
		       struct plan_root **out, struct error *err)
{
	struct plan_root *root = ARENA_NEW(arena, struct plan_root);
	struct plan_shared sh = {.access = access, .arena = arena, .err = err, .root = root,
				 .param_total = param_count};
	struct planner top = {.sh = &sh}, self = {0};

	root->param_count = param_count;
	root->plan = plan_level(&top, q, &self);
	if (sh.status)
		return sh.status;
	root->param_total = sh.param_total;
	root->has_rows = q->kind == Q_SELECT || q->target_count > 0;
	for (uint32_t i = 0; i < q->target_count; i++)
		root->column_count += !q->targets[i].junk;
	*out = root;
	return ST_OK;
}
