/*
 * plan_expr.c - expressions in the planner: who reads what, and rewriting to an operator's input.
 */
#include "engine/sql/plan.h"

#include <string.h>

#include "base/assert.h"

/* -- walking ------------------------------------------------------------------------------------------ */

void expr_columns(const struct expr *ex, uint32_t level, column_fn fn, void *ctx)
{
	if (!ex)
		return;
	if (ex->kind == EX_COLUMN)
		fn(ctx, ex, level);
	for (uint32_t i = 0; i < ex->arg_count; i++)
		expr_columns(ex->args[i], level, fn, ctx);
	if (ex->kind == EX_SUBQUERY)
		query_columns(ex->sub, level + 1, fn, ctx);
}

static void from_columns(const struct from_node *f, uint32_t level, column_fn fn, void *ctx)
{
	if (!f || !f->is_join)
		return;
	from_columns(f->left, level, fn, ctx);
	from_columns(f->right, level, fn, ctx);
	expr_columns(f->on, level, fn, ctx);
}

static void rel_columns(const struct range_rel *r, uint32_t level, column_fn fn, void *ctx)
{
	if (r->source == SRC_SUBQUERY || r->source == SRC_CTE)
		query_columns(r->subquery, level + 1, fn, ctx);
	for (uint32_t i = 0; r->source == SRC_VALUES && i < r->row_count; i++)
		for (uint32_t c = 0; c < r->column_count; c++)
			expr_columns(r->rows[i][c], level, fn, ctx);
	for (uint32_t i = 0; r->source == SRC_FUNCTION && i < r->arg_count; i++)
		expr_columns(r->args[i], level, fn, ctx);
}

void query_columns(const struct query *q, uint32_t level, column_fn fn, void *ctx)
{
	if (!q)
		return;
	for (uint32_t i = 0; i < q->rel_count; i++)
		rel_columns(&q->rels[i], level, fn, ctx);
	from_columns(q->from, level, fn, ctx);
	expr_columns(q->where, level, fn, ctx);
	for (uint32_t i = 0; i < q->target_count; i++)
		expr_columns(q->targets[i].expr, level, fn, ctx);
	for (uint32_t i = 0; i < q->group_count; i++)
		expr_columns(q->groups[i], level, fn, ctx);
	for (uint32_t i = 0; i < q->agg_count; i++) {
		const struct agg_use *a = &q->aggs[i];

		for (uint32_t j = 0; j < a->arg_count; j++)
			expr_columns(a->args[j], level, fn, ctx);
		for (uint32_t j = 0; j < a->order_count; j++)
			expr_columns(a->order[j].expr, level, fn, ctx);
		expr_columns(a->filter, level, fn, ctx);
	}
	expr_columns(q->having, level, fn, ctx);
	expr_columns(q->limit, level, fn, ctx);
	expr_columns(q->offset, level, fn, ctx);
	if (q->set_op) {
		query_columns(q->set_left, level + 1, fn, ctx);
		query_columns(q->set_right, level + 1, fn, ctx);
	}
	query_columns(q->source, level + 1, fn, ctx);
	for (uint32_t i = 0; i < q->set_count; i++)
		expr_columns(q->set_exprs[i], level, fn, ctx);
	expr_columns(q->conflict_where, level, fn, ctx);
	for (uint32_t i = 0; i < q->cte_count; i++)
		query_columns(q->ctes[i].query, level + 1, fn, ctx);
}

static void add_rel(void *ctx, const struct expr *col, uint32_t level)
{
	uint64_t *set = ctx;

	if (col->levels_up == level && col->rel < 64)
		*set |= UINT64_C(1) << col->rel;
}

uint64_t expr_rels(const struct expr *ex)
{
	uint64_t set = 0;

	expr_columns(ex, 0, add_rel, &set);
	return set;
}

bool expr_has(const struct expr *ex, enum expr_kind kind)
{
	if (!ex)
		return false;
	if (ex->kind == kind)
		return true;
	for (uint32_t i = 0; i < ex->arg_count; i++)
		if (expr_has(ex->args[i], kind))
			return true;
	return false;
}

bool expr_volatile(const struct expr *ex)
{
	if (!ex)
		return false;
	if (ex->kind == EX_NEXTVAL)
		return true;
	if ((ex->kind == EX_FUNC || ex->kind == EX_SESSION) && ex->fn && ex->fn->volatility == FN_VOLATILE)
		return true;
	if (ex->kind == EX_SUBQUERY && query_is_volatile(ex->sub))
		return true;
	for (uint32_t i = 0; i < ex->arg_count; i++)
		if (expr_volatile(ex->args[i]))
			return true;
	return false;
}

bool query_is_volatile(const struct query *q)
{
	if (!q)
		return false;
	if (q->kind != Q_SELECT || q->lock || expr_volatile(q->where) || expr_volatile(q->having))
		return true;
	for (uint32_t i = 0; i < q->target_count; i++)
		if (expr_volatile(q->targets[i].expr))
			return true;
	for (uint32_t i = 0; i < q->rel_count; i++)
		if (q->rels[i].subquery && query_is_volatile(q->rels[i].subquery))
			return true;
	return q->set_op && (query_is_volatile(q->set_left) || query_is_volatile(q->set_right));
}

static bool expr_reads(const struct expr *ex, rel_id table)
{
	if (!ex)
		return false;
	if (ex->kind == EX_SUBQUERY && query_reads(ex->sub, table))
		return true;
	for (uint32_t i = 0; i < ex->arg_count; i++)
		if (expr_reads(ex->args[i], table))
			return true;
	return false;
}

static bool from_reads(const struct from_node *f, rel_id table)
{
	return f && f->is_join &&
	       (expr_reads(f->on, table) || from_reads(f->left, table) || from_reads(f->right, table));
}

/* Does running q read a table? Views of the catalogs count as no. */
bool query_reads(const struct query *q, rel_id table)
{
	bool yes;

	if (!q)
		return false;
	yes = expr_reads(q->where, table) || expr_reads(q->having, table) || from_reads(q->from, table) ||
	      query_reads(q->set_left, table) || query_reads(q->set_right, table) || query_reads(q->source, table);
	for (uint32_t i = 0; i < q->rel_count && !yes; i++) {
		const struct range_rel *r = &q->rels[i];

		yes = (r->source == SRC_TABLE && r->table && r->table->id == table &&
		       !(q->kind == Q_INSERT && (i == q->target_rel || i == q->excluded_rel))) ||
		      query_reads(r->subquery, table);
		for (uint32_t k = 0; r->source == SRC_VALUES && k < r->row_count && !yes; k++)
			for (uint32_t c = 0; c < r->column_count && !yes; c++)
				yes = expr_reads(r->rows[k][c], table);
		for (uint32_t k = 0; k < r->arg_count && !yes; k++)
			yes = expr_reads(r->args[k], table);
	}
	for (uint32_t i = 0; i < q->target_count && !yes; i++)
		yes = expr_reads(q->targets[i].expr, table);
	for (uint32_t i = 0; i < q->agg_count && !yes; i++)
		for (uint32_t j = 0; j < q->aggs[i].arg_count && !yes; j++)
			yes = expr_reads(q->aggs[i].args[j], table);
	for (uint32_t i = 0; i < q->set_count && !yes; i++)
		yes = expr_reads(q->set_exprs[i], table);
	for (uint32_t i = 0; i < q->cte_count && !yes; i++)
		yes = query_reads(q->ctes[i].query, table);
	return yes;
}

/* Session functions that may wait for definitions, the log or time: never inside an expression (S15). */
static bool session_waits(const struct expr *ex)
{
	if ((ex->kind != EX_SESSION && ex->kind != EX_FUNC) || !ex->fn || ex->fn->kernel)
		return false;
	switch (ex->fn->sfn) {
	case SFN_SETVAL:
	case SFN_WAIT_FOR:
	case SFN_TXN_OUTCOME:
	case SFN_SET_CONFIG: /* valence.txn_id */
	case SFN_REMOVE_VOTER:
	case SFN_SLEEP:
	case SFN_ADVISORY:
	case SFN_TABLE_IS_VISIBLE:
	case SFN_GET_EXPR:
	case SFN_GET_INDEXDEF:
	case SFN_GET_CONSTRAINTDEF:
	case SFN_RELATION_SIZE:
	case SFN_TO_REGCLASS:
	case SFN_REGCLASS_OUT:
	case SFN_CURRVAL:
		return true;
	default:
		return false;
	}
}

bool expr_waits(const struct expr *ex)
{
	if (!ex)
		return false;
	if (ex->kind == EX_SUBQUERY || ex->kind == EX_NEXTVAL || session_waits(ex))
		return true;
	for (uint32_t i = 0; i < ex->arg_count; i++)
		if (expr_waits(ex->args[i]))
			return true;
	return false;
}

static bool cell_equal(const struct sql_type t, const struct cell *a, const struct cell *b)
{
	if (a->null || b->null)
		return a->null == b->null;
	if (a->phys != b->phys)
		return false;
	return type_find(t.oid) && value_compare(t.oid, a, b) == 0;
}

bool expr_equal(const struct expr *a, const struct expr *b)
{
	if (a == b)
		return true;
	if (!a || !b || a->kind != b->kind || a->negate != b->negate || a->all != b->all || a->fn != b->fn ||
	    a->type.oid != b->type.oid || a->arg_count != b->arg_count)
		return false;
	switch (a->kind) {
	case EX_CONST:
		if (!cell_equal(a->type, &a->value, &b->value))
			return false;
		break;
	case EX_PARAM:
		if (a->param != b->param)
			return false;
		break;
	case EX_COLUMN:
		if (a->rel != b->rel || a->attno != b->attno || a->levels_up != b->levels_up)
			return false;
		break;
	case EX_INPUT:
	case EX_AGG:
		if (a->slot != b->slot)
			return false;
		break;
	case EX_NEXTVAL:
	case EX_SUBQUERY:
		return false;
	default:
		break;
	}
	if (expr_volatile(a))
		return false;
	for (uint32_t i = 0; i < a->arg_count; i++)
		if (!expr_equal(a->args[i], b->args[i]))
			return false;
	return true;
}

void expr_conjuncts(struct expr *ex, struct expr ***list, uint32_t *count, uint32_t *cap, struct arena *arena)
{
	if (!ex)
		return;
	if (ex->kind == EX_AND) {
		for (uint32_t i = 0; i < ex->arg_count; i++)
			expr_conjuncts(ex->args[i], list, count, cap, arena);
		return;
	}
	if (*count == *cap) {
		uint32_t more = *cap ? *cap * 2 : 8;
		struct expr **bigger = ARENA_NEW_N(arena, struct expr *, more);

		if (*count)
			memcpy(bigger, *list, *count * sizeof *bigger);
		*list = bigger;
		*cap = more;
	}
	(*list)[(*count)++] = ex;
}

struct expr *expr_make_and(struct expr **list, uint32_t count, struct arena *arena)
{
	struct expr *ex;

	if (count == 0)
		return NULL;
	if (count == 1)
		return list[0];
	ex = ARENA_NEW(arena, struct expr);
	ex->kind = EX_AND;
	ex->type = (struct sql_type){T_BOOL, -1};
	ex->arg_count = count;
	ex->args = arena_dup(arena, list, count * sizeof *list);
	return ex;
}

struct expr *expr_input(struct arena *arena, uint32_t slot, struct sql_type type)
{
	struct expr *ex = ARENA_NEW(arena, struct expr);

	ex->kind = EX_INPUT;
	ex->type = type;
	ex->slot = slot;
	return ex;
}

/* varchar and text compare alike; a cast between them that runs nothing hides no index. */
const struct expr *expr_bare(const struct expr *ex)
{
	while (ex && ex->kind == EX_FUNC && ex->arg_count == 1 && ex->fn && ex->fn->sql_name &&
	       !strcmp(ex->fn->sql_name, "::") &&
	       ((ex->type.oid == T_TEXT && ex->args[0]->type.oid == T_VARCHAR) ||
		(ex->type.oid == T_VARCHAR && ex->type.typmod < 0 && ex->args[0]->type.oid == T_TEXT)))
		ex = ex->args[0];
	return ex;
}

/* -- parameters of the planner --------------------------------------------------------------------------- */

/* The parameter that carries an outer column; one for each column and level, made known to the levels between. */
uint32_t outer_param(struct planner *pl, uint32_t rel, uint16_t attno, uint16_t levels_up, struct sql_type type)
{
	struct arena *arena = pl->sh->arena;
	uint32_t param;

	for (uint32_t i = 0; i < pl->outer_count; i++) {
		struct outer_ref *r = &pl->outers[i];

		if (r->rel == rel && r->attno == attno && r->levels_up == levels_up)
			return r->param;
	}
	if (!pl->outer) {
		(void)plan_fail(pl->sh, ST_INTERNAL, "a column of a level that is not there");
		return 1;
	}
	if (levels_up > 1)
		param = outer_param(pl->outer, rel, attno, (uint16_t)(levels_up - 1), type);
	else
		param = ++pl->sh->param_total;
	if (pl->outer_count == pl->outer_cap) {
		uint32_t cap = pl->outer_cap ? pl->outer_cap * 2 : 4;
		struct outer_ref *bigger = ARENA_NEW_N(arena, struct outer_ref, cap);

		if (pl->outer_count)
			memcpy(bigger, pl->outers, pl->outer_count * sizeof *bigger);
		pl->outers = bigger;
		pl->outer_cap = cap;
	}
	pl->outers[pl->outer_count++] = (struct outer_ref){rel, attno, levels_up, param, type};
	return param;
}

static struct expr *param_expr(struct planner *pl, uint32_t param, struct sql_type type)
{
	struct expr *ex = ARENA_NEW(pl->sh->arena, struct expr);

	ex->kind = EX_PARAM;
	ex->param = param;
	ex->type = type;
	return ex;
}

/* -- rewriting ---------------------------------------------------------------------------------------------- */

static struct plan *apply_over(struct planner *pl, struct plan *in)
{
	struct plan *p = plan_new(pl, PLAN_APPLY, in, NULL);

	plan_cols_copy(pl, p, in);
	p->rows = in->rows;
	return p;
}

/* Adds one computed column to *in; returns where it is. */
static uint32_t apply_add(struct planner *pl, struct plan **in, const struct apply_item *item, struct sql_type type)
{
	struct plan *p = *in;
	struct apply_item *items;

	/* items of one APPLY do not see each other's columns: an argument that needs one starts another */
	if (p->kind != PLAN_APPLY)
		p = apply_over(pl, p);
	items = ARENA_NEW_N(pl->sh->arena, struct apply_item, p->apply.item_count + 1);
	if (p->apply.item_count)
		memcpy(items, p->apply.items, p->apply.item_count * sizeof *items);
	items[p->apply.item_count++] = *item;
	p->apply.items = items;
	plan_col_add(pl, p, REL_EXTRA, (uint16_t)++pl->sh->extra, type);
	*in = p;
	return p->col_count - 1;
}

static bool uses_extra_of(const struct plan *p, const struct expr *ex)
{
	if (!ex)
		return false;
	if (ex->kind == EX_INPUT)
		return p->kind == PLAN_APPLY && ex->slot >= p->left->col_count;
	for (uint32_t i = 0; i < ex->arg_count; i++)
		if (uses_extra_of(p, ex->args[i]))
			return true;
	return false;
}

static struct expr *column_of(struct planner *pl, struct plan **in, const struct expr *col)
{
	uint32_t slot;

	if (col->levels_up)
		return param_expr(pl, outer_param(pl, col->rel, col->attno, col->levels_up, col->type), col->type);
	slot = *in ? plan_col_find(*in, col->rel, col->attno) : UINT32_MAX;
	if (slot == UINT32_MAX) {
		(void)plan_fail(pl->sh, ST_INTERNAL, "a column that its input does not have");
		slot = 0;
	}
	return expr_input(pl->sh->arena, slot, col->type);
}

static struct expr *subquery_expr(struct planner *pl, struct plan **in, const struct expr *ex);

static struct expr *rewrite(struct planner *pl, struct plan **in, const struct expr *ex);

static struct expr *computed(struct planner *pl, struct plan **in, const struct expr *ex, enum apply_kind kind)
{
	struct apply_item item = {.kind = (uint8_t)kind};
	struct expr *copy = arena_dup(pl->sh->arena, ex, sizeof *ex);

	if (ex->arg_count) {
		copy->args = ARENA_NEW_N(pl->sh->arena, struct expr *, ex->arg_count);
		for (uint32_t i = 0; i < ex->arg_count; i++)
			copy->args[i] = rewrite(pl, in, ex->args[i]);
		if (*in && (*in)->kind == PLAN_APPLY && uses_extra_of(*in, copy))
			*in = apply_over(pl, *in);
	}
	if (!*in) {
		(void)plan_fail(pl->sh, ST_UNSUPPORTED, "a sequence, subquery or waiting function in this place");
		return copy;
	}
	item.expr = copy;
	return expr_input(pl->sh->arena, apply_add(pl, in, &item, ex->type), ex->type);
}

static struct expr *fold(struct planner *pl, struct expr *ex)
{
	struct error err = {0};
	struct eval ev = {.arena = pl->sh->arena, .err = &err};
	struct expr *c;

	if (ex->kind == EX_CONST || !expr_is_constant(ex))
		return ex;
	c = ARENA_NEW(pl->sh->arena, struct expr);
	c->kind = EX_CONST;
	c->type = ex->type;
	c->position = ex->position;
	/* one that fails does so when it runs: it may never be asked for */
	return expr_eval_one(&ev, ex, &c->value) == ST_OK ? c : ex;
}

/* The group that ex is: of its own type, else one that it only relabels; group_count: none. */
static uint32_t group_of(const struct query *q, const struct expr *ex)
{
	uint32_t close = q->group_count;

	for (uint32_t i = 0; i < q->group_count; i++) {
		if (!bind_groups(q->groups[i], ex))
			continue;
		if (q->groups[i]->type.oid == ex->type.oid)
			return i;
		if (close == q->group_count)
			close = i;
	}
	return close;
}

static struct expr *rewrite(struct planner *pl, struct plan **in, const struct expr *ex)
{
	struct expr *copy;

	if (pl->post_agg && *in) {
		uint32_t g = group_of(pl->q, ex);

		if (g < pl->q->group_count) {
			uint32_t slot = plan_col_find(*in, REL_GROUP, (uint16_t)g);

			ASSERT(slot != UINT32_MAX);
			return expr_input(pl->sh->arena, slot, ex->type);
		}
		if (ex->kind == EX_AGG) {
			uint32_t slot = plan_col_find(*in, REL_AGG, (uint16_t)ex->slot);

			ASSERT(slot != UINT32_MAX);
			return expr_input(pl->sh->arena, slot, ex->type);
		}
	}
	switch (ex->kind) {
	case EX_COLUMN:
		return column_of(pl, in, ex);
	case EX_SUBQUERY:
		return subquery_expr(pl, in, ex);
	case EX_NEXTVAL:
		return computed(pl, in, ex, APPLY_NEXTVAL);
	default:
		break;
	}
	if (session_waits(ex))
		return computed(pl, in, ex, APPLY_CALL);
	if (ex->arg_count == 0)
		return (struct expr *)ex;
	copy = arena_dup(pl->sh->arena, ex, sizeof *ex);
	copy->args = ARENA_NEW_N(pl->sh->arena, struct expr *, ex->arg_count);
	for (uint32_t i = 0; i < ex->arg_count; i++)
		copy->args[i] = rewrite(pl, in, ex->args[i]);
	return fold(pl, copy);
}

struct expr *plan_expr(struct planner *pl, struct plan **in, const struct expr *ex)
{
	if (!ex)
		return NULL;
	if (pl->sh->status)
		return (struct expr *)ex;
	return rewrite(pl, in, ex);
}

/* The comparison of ANY and ALL as an expression over (arguments..., columns...). */
static struct expr *any_test(struct planner *pl, const struct expr *ex, const struct plan *sub, bool *hashable)
{
	struct arena *arena = pl->sh->arena;
	uint32_t n = ex->arg_count;
	struct expr **parts = ARENA_NEW_N(arena, struct expr *, n + 1);

	*hashable = n > 0;
	for (uint32_t i = 0; i < n; i++) {
		struct expr *f = ARENA_NEW(arena, struct expr);

		f->kind = EX_FUNC;
		f->fn = ex->fn;
		f->type = (struct sql_type){T_BOOL, -1};
		f->position = ex->position;
		f->arg_count = 2;
		f->args = ARENA_NEW_N(arena, struct expr *, 2);
		f->args[0] = expr_input(arena, i, ex->args[i]->type);
		f->args[1] = expr_input(arena, n + i, sub->cols[i].type);
		if (n > 1 || !f->fn) { /* a row: each column has its own type's operator */
			uint32_t coerce[2];

			if (op_resolve("=", ex->args[i]->type.oid, sub->cols[i].type.oid, &f->fn, coerce, pl->sh->err))
				(void)plan_fail(pl->sh, pl->sh->err->code, NULL);
		}
		if (!f->fn || strcmp(f->fn->sql_name, "=") || ex->args[i]->type.oid != sub->cols[i].type.oid)
			*hashable = false;
		parts[i] = f;
	}
	return expr_make_and(parts, n, arena);
}

static struct expr *init_plan_add(struct planner *pl, const struct expr *ex, struct plan *sub)
{
	struct plan_root *root = pl->sh->root;
	struct init_plan *bigger;

	if (root->init_count == pl->sh->init_cap) {
		pl->sh->init_cap = pl->sh->init_cap ? pl->sh->init_cap * 2 : 4;
		bigger = ARENA_NEW_N(pl->sh->arena, struct init_plan, pl->sh->init_cap);
		if (root->init_count)
			memcpy(bigger, root->inits, root->init_count * sizeof *bigger);
		root->inits = bigger;
	}
	root->inits[root->init_count++] =
		(struct init_plan){sub, ++pl->sh->param_total, ex->sub_kind, ex->type};
	return param_expr(pl, pl->sh->param_total, ex->type);
}

static struct expr *negated(struct planner *pl, const struct expr *ex, struct expr *value)
{
	struct expr *n;

	if (!ex->negate)
		return value;
	n = ARENA_NEW(pl->sh->arena, struct expr);
	n->kind = EX_NOT;
	n->type = ex->type;
	n->arg_count = 1;
	n->args = ARENA_NEW_N(pl->sh->arena, struct expr *, 1);
	n->args[0] = value;
	return n;
}

static struct expr *subquery_expr(struct planner *pl, struct plan **in, const struct expr *ex)
{
	struct arena *arena = pl->sh->arena;
	struct planner inner = {0};
	struct apply_item item = {.kind = APPLY_SUBQUERY};
	struct plan *sub = plan_level(pl, ex->sub, &inner);
	struct expr *copy;

	if (pl->sh->status)
		return (struct expr *)ex;
	if (ex->sub_kind == SUB_EXISTS && sub->kind != PLAN_LIMIT && !query_is_volatile(ex->sub)) {
		struct plan *one = plan_new(pl, PLAN_LIMIT, sub, NULL);
		struct expr *lim = ARENA_NEW(arena, struct expr);

		lim->kind = EX_CONST;
		lim->type = (struct sql_type){T_INT8, -1};
		lim->value = (struct cell){.phys = PHYS_I64, .i = 1};
		one->limit.limit = lim;
		plan_cols_copy(pl, one, sub);
		sub = one;
	}
	item.is_volatile = query_is_volatile(ex->sub);
	if (inner.outer_count == 0 && !item.is_volatile &&
	    (ex->sub_kind == SUB_SCALAR || ex->sub_kind == SUB_EXISTS || ex->sub_kind == SUB_ARRAY))
		return negated(pl, ex, init_plan_add(pl, ex, sub));
	if (!*in) {
		(void)plan_fail(pl->sh, ST_UNSUPPORTED, "a correlated subquery in this place");
		return (struct expr *)ex;
	}
	copy = arena_dup(arena, ex, sizeof *ex);
	copy->negate = false;
	if (ex->arg_count) {
		copy->args = ARENA_NEW_N(arena, struct expr *, ex->arg_count);
		for (uint32_t i = 0; i < ex->arg_count; i++)
			copy->args[i] = rewrite(pl, in, ex->args[i]);
		item.test = any_test(pl, ex, sub, &item.hashable);
		item.hashable = item.hashable && ex->sub_kind == SUB_ANY && ex->arg_count == 1;
	}
	item.sets = ARENA_NEW_N(arena, struct param_set, inner.outer_count + 1);
	item.key_params = ARENA_NEW_N(arena, uint32_t, inner.outer_count + 1);
	for (uint32_t i = 0; i < inner.outer_count; i++) {
		const struct outer_ref *r = &inner.outers[i];

		item.key_params[item.key_count++] = r->param;
		if (r->levels_up == 1) {
			struct expr col = {.kind = EX_COLUMN, .type = r->type};
			struct expr *kept;

			col.rel = r->rel;
			col.attno = r->attno;
			kept = arena_dup(arena, &col, sizeof col);
			item.sets[item.set_count++] = (struct param_set){r->param, rewrite(pl, in, kept)};
		}
	}
	for (uint32_t i = 0; i < ex->arg_count; i++)
		if (uses_extra_of(*in, copy->args[i])) {
			*in = apply_over(pl, *in);
			break;
		}
	item.expr = copy;
	item.plan = sub;
	return negated(pl, ex, expr_input(arena, apply_add(pl, in, &item, ex->type), ex->type));
}
