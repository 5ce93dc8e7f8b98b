/*
 * plan_from.c - FROM and WHERE: relations, join order, join methods.
 *
 * Inner joins are flattened to items and conditions; outer joins are items of their own, planned inside out. The
 * order is greedy: the smallest item first, then always the connected one that gives the fewest rows. A query has at
 * most 64 relations a level, so sets of them are words.
 */
#include "engine/sql/plan.h"

#include <string.h>

#include "base/assert.h"
#include "engine/txn/access.h"

#define NO_REL UINT32_MAX
#define ROWS_UNKNOWN 1000.0
#define INNER_OFFSET 0x10000u /* relations of a query inside EXISTS, while it is joined */

struct conds { struct expr **at; uint32_t count, cap; };
struct item {
	struct plan *plan;      /* NULL: a table whose plan is not made yet */
	uint64_t rels;
	double rows;
	uint32_t base;          /* the table, or NO_REL */
	struct conds conds;     /* of the table alone */
	uint64_t needs;         /* siblings that a lateral item reads */
	uint32_t set_count;
	struct param_set *sets; /* its parameters, over columns of the query */
};

static void cond_add(struct planner *pl, struct conds *c, struct expr *ex)
{
	expr_conjuncts(ex, &c->at, &c->count, &c->cap, pl->sh->arena);
}

static uint64_t from_rels(const struct from_node *f)
{
	if (!f)
		return 0;
	return f->is_join ? from_rels(f->left) | from_rels(f->right) : UINT64_C(1) << f->rel;
}

/* -- relations --------------------------------------------------------------------------------------------- */

static void add_needed(struct planner *pl, struct plan *p, uint32_t rel)
{
	const struct range_rel *r = &pl->q->rels[rel];

	for (uint32_t a = 0; a <= r->column_count; a++) {
		struct sql_type type = {T_INT8, -1};

		if (!(pl->needed[rel][a / 64] >> (a % 64) & 1))
			continue;
		if (a > 0)
			type = r->columns[a - 1].type;
		plan_col_add(pl, p, rel, (uint16_t)a, type);
	}
}

static void table_columns(struct planner *pl, struct table_access *ta, uint32_t rel, const struct plan *p, uint32_t first)
{
	const struct table_def *t = pl->q->rels[rel].table;

	ta->table = t;
	ta->wants = ARENA_NEW_N(pl->sh->arena, struct access_want, p->col_count + 1);
	ta->want_slots = ARENA_NEW_N(pl->sh->arena, uint32_t, p->col_count + 1);
	ta->rowid_slot = UINT32_MAX;
	for (uint32_t i = first; i < p->col_count; i++) {
		const struct column_def *c;

		if (p->cols[i].rel != rel)
			continue;
		if (p->cols[i].attno == 0) {
			ta->rowid_slot = i;
			continue;
		}
		c = &t->columns[p->cols[i].attno - 1];
		ta->want_slots[ta->want_count] = i;
		ta->wants[ta->want_count++] =
			(struct access_want){c->attno, c->phys, c->has_missing ? &c->missing : NULL};
	}
}

static void index_keys(struct planner *pl, struct table_access *ta, const struct index_choice *c, struct plan **values_in)
{
	ta->index = c->index;
	ta->key_count = c->key_count;
	ta->unique_point = c->unique_point;
	ta->backward = c->backward;
	ta->ordered = c->ordered;
	ta->keys = arena_dup(pl->sh->arena, c->keys, sizeof *c->keys * c->key_count);
	for (uint32_t i = 0; i < c->key_count; i++) {
		struct index_key *k = &ta->keys[i];

		k->eq = plan_expr(pl, values_in, k->eq);
		k->lo = plan_expr(pl, values_in, k->lo);
		k->hi = plan_expr(pl, values_in, k->hi);
		if (k->in) { /* the column itself is not looked at: only the values are rewritten */
			struct expr *in = arena_dup(pl->sh->arena, k->in, sizeof *in);

			in->args = ARENA_NEW_N(pl->sh->arena, struct expr *, in->arg_count);
			for (uint32_t a = 1; a < in->arg_count; a++)
				in->args[a] = plan_expr(pl, values_in, k->in->args[a]);
			k->in = in;
		}
	}
}

static double cond_selectivity(const struct expr *ex)
{
	if (ex->kind == EX_FUNC && ex->fn && ex->fn->sql_name && !strcmp(ex->fn->sql_name, "="))
		return 0.02;
	if (ex->kind == EX_IS_NULL)
		return ex->negate ? 0.95 : 0.05;
	if (ex->kind == EX_IN)
		return ex->negate ? 0.9 : 0.1;
	return 0.33;
}

static double table_rows(struct planner *pl, const struct table_def *t)
{
	uint64_t rows = 0, atoms = 0;

	access_estimate(pl->sh->access, t, &rows, &atoms);
	return (double)rows;
}

static struct plan *plan_table(struct planner *pl, uint32_t rel, struct conds *conds)
{
	const struct range_rel *r = &pl->q->rels[rel];
	struct index_choice choice = {0};
	struct conds here = {0}, later = {0};
	double rows = table_rows(pl, r->table), known = rows > 0 ? rows : ROWS_UNKNOWN, sel = 1;
	bool use_index = plan_choose_index(pl, rel, conds->at, conds->count, 0, known, &choice);
	struct plan *p, *none = NULL;

	plan_use(pl, r->table->id, false);
	if (use_index && !choice.unique_point && !(choice.ordered && pl->order_limited))
		use_index = rows == 0 || choice.selectivity * 3 < 1;
	p = plan_new(pl, use_index ? PLAN_INDEX : PLAN_SCAN, NULL, NULL);
	p->alias = r->alias;
	add_needed(pl, p, rel);
	table_columns(pl, &p->table, rel, p, 0);
	if (use_index) {
		index_keys(pl, &p->table, &choice, &none);
		pl->order_met = choice.ordered;
	}
	for (uint32_t i = 0; i < conds->count; i++) {
		sel *= cond_selectivity(conds->at[i]);
		cond_add(pl, expr_waits(conds->at[i]) ? &later : &here, conds->at[i]);
	}
	for (uint32_t i = 0; i < here.count; i++) {
		struct plan *in = p;

		here.at[i] = plan_expr(pl, &in, here.at[i]);
	}
	p->filter = expr_make_and(here.at, here.count, pl->sh->arena);
	if (use_index && choice.selectivity < sel)
		sel = choice.selectivity;
	p->rows = known * sel < 1 ? 1 : known * sel;
	return plan_filter(pl, p, later.at, later.count);
}

static struct plan *renamed(struct planner *pl, struct plan *p, uint32_t rel, const char *alias)
{
	struct plan *same = arena_dup(pl->sh->arena, p, sizeof *p);

	/* the same node with other names: below, its own columns were only inputs by number */
	same->cols = arena_dup(pl->sh->arena, p->cols, sizeof *p->cols * p->col_count);
	for (uint32_t i = 0; i < same->col_count; i++) {
		same->cols[i].rel = rel;
		same->cols[i].attno = (uint16_t)(i + 1);
	}
	if (!same->alias)
		same->alias = alias;
	return same;
}

/* What a lateral level asked of this one becomes parameters that the join sets for each row of its left side. */
static void lateral_sets(struct planner *pl, struct item *it, const struct planner *inner)
{
	it->sets = ARENA_NEW_N(pl->sh->arena, struct param_set, inner->outer_count + 1);
	for (uint32_t i = 0; i < inner->outer_count; i++) {
		const struct outer_ref *r = &inner->outers[i];
		struct expr *col;

		if (r->levels_up != 1)
			continue;
		col = ARENA_NEW(pl->sh->arena, struct expr);
		col->kind = EX_COLUMN;
		col->type = r->type;
		col->rel = r->rel;
		col->attno = r->attno;
		it->sets[it->set_count++] = (struct param_set){r->param, col};
		it->needs |= UINT64_C(1) << r->rel;
	}
}

static struct plan *plan_cte(struct planner *pl, uint32_t rel)
{
	const struct range_rel *r = &pl->q->rels[rel];
	struct plan_shared *sh = pl->sh;
	struct plan_root *root = sh->root;
	struct planner inner = {0};
	struct plan *p, *made;
	uint32_t at;

	for (at = 0; at < root->cte_count && sh->cte_queries[at] != r->subquery; at++)
		;
	if (at == root->cte_count) {
		made = plan_level(pl, r->subquery, &inner);
		if (inner.outer_count) /* depends on where it stands: not shared */
			return renamed(pl, made, rel, r->alias);
		at = root->cte_count; /* planning may have met more */
		if (root->cte_count == sh->cte_cap) {
			uint32_t cap = sh->cte_cap ? sh->cte_cap * 2 : 4;
			struct plan **plans = ARENA_NEW_N(sh->arena, struct plan *, cap);
			const struct query **queries = ARENA_NEW_N(sh->arena, const struct query *, cap);

			if (root->cte_count) {
				memcpy(plans, root->ctes, root->cte_count * sizeof *plans);
				memcpy(queries, sh->cte_queries, root->cte_count * sizeof *queries);
			}
			root->ctes = plans;
			sh->cte_queries = queries;
			sh->cte_cap = cap;
		}
		root->ctes[at] = made;
		sh->cte_queries[at] = r->subquery;
		root->cte_count++;
	}
	p = plan_new(pl, PLAN_CTE, NULL, NULL);
	p->cte.number = at;
	p->alias = r->alias;
	p->rows = root->ctes[at]->rows;
	for (uint32_t i = 0; i < root->ctes[at]->col_count; i++)
		plan_col_add(pl, p, rel, (uint16_t)(i + 1), root->ctes[at]->cols[i].type);
	return p;
}

/* Columns of the query that stand in arguments of a lateral function become parameters. */
static struct expr *lateral_expr(struct planner *pl, struct item *it, const struct expr *ex)
{
	struct expr *copy;

	if (ex->kind == EX_COLUMN && ex->levels_up == 0) {
		uint32_t param = ++pl->sh->param_total;
		struct param_set *sets = ARENA_NEW_N(pl->sh->arena, struct param_set, it->set_count + 1);

		if (it->set_count)
			memcpy(sets, it->sets, it->set_count * sizeof *sets);
		sets[it->set_count++] = (struct param_set){param, (struct expr *)ex};
		it->sets = sets;
		it->needs |= UINT64_C(1) << ex->rel;
		copy = ARENA_NEW(pl->sh->arena, struct expr);
		copy->kind = EX_PARAM;
		copy->param = param;
		copy->type = ex->type;
		return copy;
	}
	if (ex->arg_count == 0)
		return (struct expr *)ex;
	copy = arena_dup(pl->sh->arena, ex, sizeof *ex);
	copy->args = ARENA_NEW_N(pl->sh->arena, struct expr *, ex->arg_count);
	for (uint32_t i = 0; i < ex->arg_count; i++)
		copy->args[i] = lateral_expr(pl, it, ex->args[i]);
	return copy;
}

static struct plan *plan_function(struct planner *pl, uint32_t rel, struct item *it)
{
	const struct range_rel *r = &pl->q->rels[rel];
	struct plan *p = plan_new(pl, PLAN_FUNCTION, NULL, NULL), *in = plan_new(pl, PLAN_RESULT, NULL, NULL);
	uint32_t coerce[2];

	in->rows = 1;
	p->alias = r->alias;
	p->function.function = r->set_function;
	p->function.arg_count = r->arg_count;
	p->function.args = ARENA_NEW_N(pl->sh->arena, struct expr *, r->arg_count + 1);
	for (uint32_t i = 0; i < r->arg_count; i++)
		p->function.args[i] = plan_expr(pl, &in, lateral_expr(pl, it, r->args[i]));
	p->left = in;
	p->rows = r->set_function == SETFN_SCALAR ? 1 : ROWS_UNKNOWN;
	for (uint32_t i = 0; i < r->column_count; i++)
		plan_col_add(pl, p, rel, (uint16_t)(i + 1), r->columns[i].type);
	if (r->set_function == SETFN_GENERATE_SERIES && r->arg_count == 3 && r->args[0]->type.oid != T_INT4 &&
	    r->args[0]->type.oid != T_INT8 &&
	    op_resolve("+", r->args[0]->type.oid, r->args[2]->type.oid, &p->function.add, coerce, pl->sh->err))
		(void)plan_fail(pl->sh, pl->sh->err->code, NULL);
	return p;
}

static struct plan *values_row(struct planner *pl, uint32_t rel, struct expr **row)
{
	const struct range_rel *r = &pl->q->rels[rel];
	struct plan *in = plan_new(pl, PLAN_RESULT, NULL, NULL), *p;
	struct expr **exprs = ARENA_NEW_N(pl->sh->arena, struct expr *, r->column_count + 1);

	in->rows = 1;
	for (uint32_t c = 0; c < r->column_count; c++)
		exprs[c] = plan_expr(pl, &in, row[c]);
	p = plan_new(pl, PLAN_PROJECT, in, NULL);
	p->project.exprs = exprs;
	for (uint32_t c = 0; c < r->column_count; c++)
		plan_col_add(pl, p, rel, (uint16_t)(c + 1), r->columns[c].type);
	return p;
}

static bool same_nextval(const struct range_rel *r, uint32_t col)
{
	const struct expr *first = expr_bare(r->rows[0][col]);

	while (first->kind == EX_FUNC && first->arg_count == 1)
		first = first->args[0];
	if (first->kind != EX_NEXTVAL)
		return false;
	for (uint32_t i = 0; i < r->row_count; i++) {
		const struct expr *a = r->rows[i][col], *b = r->rows[0][col];

		while (a->kind == EX_FUNC && b->kind == EX_FUNC && a->fn == b->fn && a->arg_count == 1) {
			a = a->args[0];
			b = b->args[0];
		}
		if (a->kind != EX_NEXTVAL || b->kind != EX_NEXTVAL || a->rel_oid != b->rel_oid)
			return false;
	}
	return true;
}

static struct plan *plan_values(struct planner *pl, uint32_t rel)
{
	const struct range_rel *r = &pl->q->rels[rel];
	struct plan *p, *in, *none = NULL;
	bool *above = ARENA_NEW_N(pl->sh->arena, bool, r->column_count + 1), any = false;
	struct expr **exprs;

	if (r->row_count == 1)
		return values_row(pl, rel, r->rows[0]);
	for (uint32_t c = 0; c < r->column_count; c++)
		for (uint32_t i = 0; i < r->row_count && !above[c]; i++)
			if (expr_waits(r->rows[i][c])) {
				if (!same_nextval(r, c))
					goto row_by_row;
				above[c] = any = true;
			}
	p = plan_new(pl, PLAN_VALUES, NULL, NULL);
	p->alias = r->alias;
	p->rows = r->row_count;
	p->values.row_count = r->row_count;
	p->values.rows = ARENA_NEW_N(pl->sh->arena, struct expr **, r->row_count + 1);
	for (uint32_t i = 0; i < r->row_count; i++) {
		p->values.rows[i] = ARENA_NEW_N(pl->sh->arena, struct expr *, r->column_count + 1);
		for (uint32_t c = 0, n = 0; c < r->column_count; c++)
			if (!above[c])
				p->values.rows[i][n++] = plan_expr(pl, &none, r->rows[i][c]);
	}
	for (uint32_t c = 0; c < r->column_count; c++)
		if (!above[c])
			plan_col_add(pl, p, rel, (uint16_t)(c + 1), r->columns[c].type);
	if (!any)
		return p;
	in = p;
	exprs = ARENA_NEW_N(pl->sh->arena, struct expr *, r->column_count + 1);
	for (uint32_t c = 0, n = 0; c < r->column_count; c++)
		exprs[c] = above[c] ? plan_expr(pl, &in, r->rows[0][c]) :
				      expr_input(pl->sh->arena, n, r->columns[c].type), n += !above[c];
	p = plan_new(pl, PLAN_PROJECT, in, NULL);
	p->project.exprs = exprs;
	for (uint32_t c = 0; c < r->column_count; c++)
		plan_col_add(pl, p, rel, (uint16_t)(c + 1), r->columns[c].type);
	return p;
row_by_row:
	p = values_row(pl, rel, r->rows[0]);
	for (uint32_t i = 1; i < r->row_count; i++) {
		struct plan *both = plan_new(pl, PLAN_APPEND, p, values_row(pl, rel, r->rows[i]));

		plan_cols_copy(pl, both, p);
		both->rows = i + 1;
		p = both;
		if (i > 1000) {
			(void)plan_fail(pl->sh, ST_UNSUPPORTED, "VALUES of more than 1000 rows with subqueries");
			break;
		}
	}
	return p;
}

static struct plan *plan_virtual(struct planner *pl, uint32_t rel)
{
	const struct range_rel *r = &pl->q->rels[rel];
	struct plan *p = plan_new(pl, PLAN_VIRTUAL, NULL, NULL);

	p->alias = r->alias;
	p->virt.name = r->virtual_name;
	p->virt.rel = r;
	add_needed(pl, p, rel);
	p->virt.attnos = ARENA_NEW_N(pl->sh->arena, uint32_t, p->col_count + 1);
	for (uint32_t i = 0; i < p->col_count; i++)
		p->virt.attnos[i] = p->cols[i].attno;
	p->rows = 100;
	return p;
}

static struct item item_of_rel(struct planner *pl, uint32_t rel)
{
	const struct range_rel *r = &pl->q->rels[rel];
	struct item it = {.rels = UINT64_C(1) << rel, .base = NO_REL};
	struct planner inner = {0};

	switch (r->source) {
	case SRC_TABLE:
		it.base = rel;
		it.rows = table_rows(pl, r->table);
		it.rows = it.rows > 0 ? it.rows : ROWS_UNKNOWN;
		return it;
	case SRC_SUBQUERY:
		it.plan = plan_level(pl, r->subquery, &inner);
		lateral_sets(pl, &it, &inner);
		it.plan = renamed(pl, it.plan, rel, r->alias);
		break;
	case SRC_CTE:
		it.plan = plan_cte(pl, rel);
		break;
	case SRC_VALUES:
		it.plan = plan_values(pl, rel);
		break;
	case SRC_FUNCTION:
		it.plan = plan_function(pl, rel, &it);
		break;
	case SRC_VIRTUAL:
		it.plan = plan_virtual(pl, rel);
		break;
	default:
		(void)plan_fail(pl->sh, ST_INTERNAL, "a join as a relation of FROM");
		it.plan = plan_new(pl, PLAN_RESULT, NULL, NULL);
	}
	it.rows = it.plan->rows > 0 ? it.plan->rows : ROWS_UNKNOWN;
	return it;
}

/* The item's plan, with the conditions that are its own. */
static struct plan *item_plan(struct planner *pl, struct item *it)
{
	if (!it->plan)
		it->plan = plan_table(pl, it->base, &it->conds);
	else
		it->plan = plan_filter(pl, it->plan, it->conds.at, it->conds.count);
	it->conds.count = 0;
	return it->plan;
}

/* -- two sides --------------------------------------------------------------------------------------------- */

static struct plan *both_columns(struct planner *pl, const struct plan *l, const struct plan *r)
{
	struct plan *p = plan_new(pl, PLAN_RESULT, NULL, NULL);

	plan_cols_copy(pl, p, l);
	plan_cols_copy(pl, p, r);
	return p;
}

static struct expr *over_both(struct planner *pl, struct plan *both, const struct expr *ex)
{
	struct plan *in = both;
	struct expr *out = plan_expr(pl, &in, ex);

	if (in != both)
		(void)plan_fail(pl->sh, ST_UNSUPPORTED, "a correlated subquery or sequence in a join condition");
	return out;
}

static bool ints(uint32_t oid)
{
	return oid == T_INT2 || oid == T_INT4 || oid == T_INT8;
}

static bool hashable(const struct expr *c, uint64_t left, uint64_t right, struct expr **l_out, struct expr **r_out)
{
	if (c->kind != EX_FUNC || c->arg_count != 2 || !c->fn || !c->fn->sql_name || strcmp(c->fn->sql_name, "=") ||
	    expr_waits(c) || expr_volatile(c))
		return false;
	for (uint32_t side = 0; side < 2; side++) {
		uint64_t a = expr_rels(c->args[side]), b = expr_rels(c->args[1 - side]);
		uint32_t ta = c->args[side]->type.oid, tb = c->args[1 - side]->type.oid;

		if (a == 0 || b == 0 || (a & ~left) || (b & ~right) || (ta != tb && !(ints(ta) && ints(tb))))
			continue;
		*l_out = c->args[side];
		*r_out = c->args[1 - side];
		return true;
	}
	return false;
}

static void join_columns(struct planner *pl, struct plan *p, const struct plan *l, const struct plan *r)
{
	plan_cols_copy(pl, p, l);
	if (p->join != JOIN_SEMI && p->join != JOIN_ANTI)
		plan_cols_copy(pl, p, r);
	p->join_left_cols = l->col_count;
}

static struct plan *hash_join(struct planner *pl, struct plan *l, struct plan *r, uint64_t lrels, uint64_t rrels,
			      enum join_type type, struct conds *conds)
{
	struct plan *p = plan_new(pl, PLAN_HASHJOIN, l, r), *both = both_columns(pl, l, r);
	struct conds rest = {0};

	p->join = (uint8_t)type;
	p->hash_left = ARENA_NEW_N(pl->sh->arena, struct expr *, conds->count + 1);
	p->hash_right = ARENA_NEW_N(pl->sh->arena, struct expr *, conds->count + 1);
	p->hash_oids = ARENA_NEW_N(pl->sh->arena, uint32_t, conds->count + 1);
	for (uint32_t i = 0; i < conds->count; i++) {
		struct expr *le, *re;
		struct plan *li = l, *ri = r;

		if (!hashable(conds->at[i], lrels, rrels, &le, &re)) {
			cond_add(pl, &rest, over_both(pl, both, conds->at[i]));
			continue;
		}
		p->hash_oids[p->hash_count] = le->type.oid;
		p->hash_left[p->hash_count] = plan_expr(pl, &li, le);
		p->hash_right[p->hash_count++] = plan_expr(pl, &ri, re);
	}
	join_columns(pl, p, l, r);
	p->join_cond = expr_make_and(rest.at, rest.count, pl->sh->arena);
	return p;
}

static struct plan *nest_loop(struct planner *pl, struct plan *l, struct item *right, enum join_type type,
			      struct conds *conds)
{
	struct plan *r = item_plan(pl, right), *p, *both, *m;
	struct conds over = {0};

	if (right->set_count == 0) {
		m = plan_new(pl, PLAN_MATERIAL, r, NULL);
		plan_cols_copy(pl, m, r);
		m->material.keep = true;
		r = m;
	}
	p = plan_new(pl, PLAN_NESTLOOP, l, r);
	p->join = (uint8_t)type;
	both = both_columns(pl, l, r);
	for (uint32_t i = 0; i < conds->count; i++)
		cond_add(pl, &over, over_both(pl, both, conds->at[i]));
	p->join_cond = expr_make_and(over.at, over.count, pl->sh->arena);
	p->set_count = right->set_count;
	p->sets = ARENA_NEW_N(pl->sh->arena, struct param_set, right->set_count + 1);
	for (uint32_t i = 0; i < right->set_count; i++) {
		struct plan *in = l;

		p->sets[i].param = right->sets[i].param;
		p->sets[i].value = plan_expr(pl, &in, right->sets[i].value);
	}
	join_columns(pl, p, l, r);
	return p;
}

/* Lookups in an index of the right table for each row of the left: when the left is small beside the table. */
static struct plan *index_join(struct planner *pl, struct plan *l, double lrows, uint64_t lrels, struct item *right,
			       enum join_type type, struct conds *conds)
{
	struct conds all = {0}, over = {0};
	struct index_choice choice;
	struct plan *p, *both, *in = l;
	const struct sort_item *order = pl->order;
	uint32_t order_count = pl->order_count;
	bool found, uses_left = false;

	if (right->base == NO_REL || right->plan || type == JOIN_FULL || type == JOIN_RIGHT)
		return NULL;
	for (uint32_t i = 0; i < conds->count; i++)
		cond_add(pl, &all, conds->at[i]);
	for (uint32_t i = 0; i < right->conds.count; i++)
		cond_add(pl, &all, right->conds.at[i]);
	for (uint32_t i = 0; i < all.count; i++)
		if (expr_waits(all.at[i]))
			return NULL;
	pl->order_count = 0;
	found = plan_choose_index(pl, right->base, all.at, all.count, lrels, right->rows, &choice);
	pl->order = order;
	pl->order_count = order_count;
	if (!found || choice.keys[0].in)
		return NULL;
	for (uint32_t i = 0; i < choice.key_count; i++) {
		uses_left = uses_left || (choice.keys[i].eq && (expr_rels(choice.keys[i].eq) & lrels));
		if (choice.keys[i].in)
			return NULL;
	}
	if (!uses_left || lrows * (4 + right->rows * choice.selectivity) > right->rows)
		return NULL;
	p = plan_new(pl, PLAN_INDEXJOIN, l, NULL);
	p->join = (uint8_t)type;
	p->alias = pl->q->rels[right->base].alias;
	plan_use(pl, pl->q->rels[right->base].table->id, false);
	both = both_columns(pl, l, NULL);
	add_needed(pl, both, right->base);
	table_columns(pl, &p->table, right->base, both, l->col_count);
	index_keys(pl, &p->table, &choice, &in);
	for (uint32_t i = 0; i < all.count; i++)
		cond_add(pl, &over, over_both(pl, both, all.at[i]));
	p->join_cond = expr_make_and(over.at, over.count, pl->sh->arena);
	p->join_left_cols = l->col_count;
	if (type == JOIN_SEMI || type == JOIN_ANTI)
		plan_cols_copy(pl, p, l);
	else
		plan_cols_copy(pl, p, both);
	p->rows = lrows * right->rows * choice.selectivity;
	return p;
}

static double join_rows(double l, double r, const struct conds *conds, enum join_type type)
{
	double rows = l * r;
	bool equal = false;

	for (uint32_t i = 0; i < conds->count; i++) {
		double s = cond_selectivity(conds->at[i]);

		if (s == 0.02 && !equal) { /* the first equality: as a foreign key, one match for each row of the larger side */
			rows = l > r ? l : r;
			equal = true;
		} else {
			rows *= s == 0.02 ? 0.1 : s;
		}
	}
	if (type != JOIN_INNER && rows < l)
		rows = l;
	return rows < 1 ? 1 : rows;
}

static struct item join_pair(struct planner *pl, struct item *left, struct item *right, enum join_type type,
			     struct conds *conds)
{
	struct item out = {.rels = left->rels | right->rels, .base = NO_REL};
	struct plan *l = item_plan(pl, left), *p;
	bool hash = false;
	struct expr *le, *re;
	double rrows = right->rows;

	for (uint32_t i = 0; right->plan && i < right->conds.count; i++)
		rrows *= cond_selectivity(right->conds.at[i]);
	out.rows = join_rows(left->rows, rrows, conds, type);
	for (uint32_t i = 0; i < conds->count; i++)
		hash = hash || hashable(conds->at[i], left->rels, right->rels, &le, &re);
	if (right->set_count) {
		if (type != JOIN_INNER && type != JOIN_LEFT)
			(void)plan_fail(pl->sh, ST_UNSUPPORTED, "LATERAL on this side of an outer join");
		p = nest_loop(pl, l, right, type, conds);
	} else if ((p = index_join(pl, l, left->rows, left->rels, right, type, conds))) {
		;
	} else if (hash) {
		p = hash_join(pl, l, item_plan(pl, right), left->rels, right->rels, type, conds);
	} else if (type == JOIN_FULL) {
		p = hash_join(pl, l, item_plan(pl, right), left->rels, right->rels, type, conds);
	} else {
		p = nest_loop(pl, l, right, type, conds);
	}
	p->rows = out.rows;
	out.plan = p;
	out.needs = left->needs & ~out.rels;
	return out;
}

/* -- join order ---------------------------------------------------------------------------------------------- */

struct from { struct item *items; uint32_t count, cap; struct conds conds; };

static void item_add(struct planner *pl, struct from *f, struct item it)
{
	if (f->count == f->cap) {
		uint32_t cap = f->cap ? f->cap * 2 : 4;
		struct item *bigger = ARENA_NEW_N(pl->sh->arena, struct item, cap);

		if (f->count)
			memcpy(bigger, f->items, f->count * sizeof *bigger);
		f->items = bigger;
		f->cap = cap;
	}
	f->items[f->count++] = it;
}

static struct item join_all(struct planner *pl, struct from *f, uint64_t outside, struct conds *left_over);

/* Conditions all of whose relations are in rels move from one list to another. */
static void take_conds(struct planner *pl, struct conds *from, struct conds *to, uint64_t rels, bool waiting)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < from->count; i++) {
		uint64_t r = expr_rels(from->at[i]);

		if ((r & ~rels) == 0 && (r || waiting) && (waiting || !expr_waits(from->at[i])))
			cond_add(pl, to, from->at[i]);
		else
			from->at[kept++] = from->at[i];
	}
	from->count = kept;
}

static void flatten(struct planner *pl, const struct from_node *node, struct from *f, struct conds *above);

static struct item outer_join(struct planner *pl, const struct from_node *node, struct conds *above)
{
	const struct from_node *ln = node->left, *rn = node->right;
	enum join_type type = (enum join_type)node->join;
	struct from lf = {0}, rf = {0};
	struct conds on = {0}, push = {0}, none = {0}, rest = {0};
	struct item l, r, out;

	if (type == JOIN_RIGHT) {
		ln = node->right;
		rn = node->left;
		type = JOIN_LEFT;
	}
	cond_add(pl, &on, node->on);
	if (type == JOIN_LEFT) {
		/* what only the kept side is asked may be asked before; what only the other side is asked in ON, too */
		take_conds(pl, above, &push, from_rels(ln), false);
		take_conds(pl, &on, &rf.conds, from_rels(rn), false);
	}
	flatten(pl, ln, &lf, &push);
	for (uint32_t i = 0; i < push.count; i++)
		cond_add(pl, &lf.conds, push.at[i]);
	flatten(pl, rn, &rf, &none);
	l = join_all(pl, &lf, 0, &rest);
	if (rest.count)
		l.plan = plan_filter(pl, item_plan(pl, &l), rest.at, rest.count);
	rest.count = 0;
	r = join_all(pl, &rf, l.rels, &rest);
	if (rest.count)
		r.plan = plan_filter(pl, item_plan(pl, &r), rest.at, rest.count);
	out = join_pair(pl, &l, &r, type, &on);
	return out;
}

static void flatten(struct planner *pl, const struct from_node *node, struct from *f, struct conds *above)
{
	if (!node->is_join) {
		item_add(pl, f, item_of_rel(pl, node->rel));
	} else if (node->join == JOIN_INNER) {
		flatten(pl, node->left, f, above);
		flatten(pl, node->right, f, above);
		cond_add(pl, &f->conds, node->on);
	} else {
		item_add(pl, f, outer_join(pl, node, above));
	}
}

static bool connected(const struct conds *conds, uint64_t a, uint64_t b)
{
	for (uint32_t i = 0; i < conds->count; i++) {
		uint64_t r = expr_rels(conds->at[i]);

		if ((r & a) && (r & b) && !(r & ~(a | b)))
			return true;
	}
	return false;
}

/* Rows of an item after its own conditions, for the order only. */
static double item_size(const struct item *it)
{
	double rows = it->rows;

	for (uint32_t i = 0; i < it->conds.count; i++)
		rows *= cond_selectivity(it->conds.at[i]);
	return rows < 1 ? 1 : rows;
}

static uint32_t pick_first(const struct from *f)
{
	uint32_t best = UINT32_MAX;

	for (uint32_t i = 0; i < f->count; i++)
		if (f->items[i].needs == 0 && (best == UINT32_MAX || item_size(&f->items[i]) < item_size(&f->items[best])))
			best = i;
	return best;
}

static uint32_t pick_next(const struct from *f, const struct item *sofar, const bool *used)
{
	uint32_t best = UINT32_MAX;
	bool best_connected = false;

	for (uint32_t i = 0; i < f->count; i++) {
		bool c;

		if (used[i] || (f->items[i].needs & ~sofar->rels))
			continue;
		c = connected(&f->conds, sofar->rels, f->items[i].rels) || f->items[i].needs;
		if (best != UINT32_MAX && (best_connected > c ||
					   (best_connected == c && item_size(&f->items[i]) >= item_size(&f->items[best]))))
			continue;
		best = i;
		best_connected = c;
	}
	return best;
}

/* Joins everything of f; conditions that could not be placed (subqueries) are left over for the top. */
static struct item join_all(struct planner *pl, struct from *f, uint64_t outside, struct conds *left_over)
{
	bool *used = ARENA_NEW_N(pl->sh->arena, bool, f->count);
	struct item sofar;
	uint32_t at;

	for (uint32_t i = 0; i < f->count; i++) {
		take_conds(pl, &f->conds, &f->items[i].conds, f->items[i].rels, false);
		f->items[i].needs &= ~f->items[i].rels & ~outside;
	}
	at = pick_first(f);
	if (at == UINT32_MAX) {
		(void)plan_fail(pl->sh, ST_UNSUPPORTED, "LATERAL in both directions");
		at = 0;
	}
	sofar = f->items[at];
	used[at] = true;
	for (uint32_t n = 1; n < f->count && !pl->sh->status; n++) {
		struct conds on = {0};
		double size;

		at = pick_next(f, &sofar, used);
		if (at == UINT32_MAX) {
			(void)plan_fail(pl->sh, ST_UNSUPPORTED, "LATERAL in both directions");
			break;
		}
		used[at] = true;
		take_conds(pl, &f->conds, &on, sofar.rels | f->items[at].rels, false);
		size = item_size(&sofar);
		(void)item_plan(pl, &sofar);
		sofar.rows = size;
		sofar = join_pair(pl, &sofar, &f->items[at], JOIN_INNER, &on);
	}
	for (uint32_t i = 0; i < f->conds.count; i++)
		cond_add(pl, left_over, f->conds.at[i]);
	return sofar;
}

/* -- IN and EXISTS as joins ------------------------------------------------------------------------------------ */

static struct plan *semi_join(struct planner *pl, struct plan *in, struct plan *sub, struct expr **left,
			      uint32_t keys, bool anti, struct expr *rest)
{
	struct plan *p = plan_new(pl, PLAN_HASHJOIN, in, sub);

	p->join = anti ? JOIN_ANTI : JOIN_SEMI;
	p->hash_left = left;
	p->hash_count = keys;
	p->hash_right = ARENA_NEW_N(pl->sh->arena, struct expr *, keys + 1);
	p->hash_oids = ARENA_NEW_N(pl->sh->arena, uint32_t, keys + 1);
	for (uint32_t i = 0; i < keys; i++) {
		p->hash_right[i] = expr_input(pl->sh->arena, i, sub->cols[i].type);
		p->hash_oids[i] = left[i]->type.oid;
	}
	join_columns(pl, p, in, sub);
	p->join_cond = rest;
	p->rows = in->rows / 2;
	return p;
}

/* x IN (SELECT …) that depends on nothing outside: a semi join. NULL: not that simple. */
static struct plan *join_in(struct planner *pl, struct plan *in, const struct expr *c)
{
	struct planner inner = {0};
	struct plan *sub, *over = in;
	struct expr **left;

	if (c->kind != EX_SUBQUERY || c->sub_kind != SUB_ANY || c->negate || !c->fn || strcmp(c->fn->sql_name, "=") ||
	    query_is_volatile(c->sub))
		return NULL;
	sub = plan_level(pl, c->sub, &inner);
	if (pl->sh->status || inner.outer_count)
		return NULL;
	left = ARENA_NEW_N(pl->sh->arena, struct expr *, c->arg_count);
	for (uint32_t i = 0; i < c->arg_count; i++) {
		uint32_t a = c->args[i]->type.oid, b = sub->cols[i].type.oid;

		if ((a != b && !(ints(a) && ints(b))) || expr_waits(c->args[i]))
			return NULL;
		left[i] = plan_expr(pl, &over, c->args[i]);
	}
	return semi_join(pl, in, sub, left, c->arg_count, false, NULL);
}

struct split { uint64_t inner, outer; bool far; };

static void split_columns(void *ctx, const struct expr *col, uint32_t level)
{
	struct split *s = ctx;

	if (col->levels_up == level)
		s->inner |= UINT64_C(1) << col->rel;
	else if (col->levels_up == level + 1)
		s->outer |= UINT64_C(1) << col->rel;
	else if (col->levels_up > level)
		s->far = true;
}

/* An expression of the inner query seen from the outer one: its outer columns come up a level, its own ones get
 * numbers of their own. NULL: it has something that cannot be seen so. */
static struct expr *lifted(struct planner *pl, const struct expr *ex)
{
	struct expr *copy = arena_dup(pl->sh->arena, ex, sizeof *ex);

	if (ex->kind == EX_SUBQUERY || ex->kind == EX_NEXTVAL || ex->kind == EX_AGG)
		return NULL;
	if (ex->kind == EX_COLUMN) {
		if (ex->levels_up)
			copy->levels_up--;
		else
			copy->rel += INNER_OFFSET;
	}
	if (ex->arg_count)
		copy->args = ARENA_NEW_N(pl->sh->arena, struct expr *, ex->arg_count);
	for (uint32_t i = 0; i < ex->arg_count; i++)
		if (!(copy->args[i] = lifted(pl, ex->args[i])))
			return NULL;
	return copy;
}

struct inner_targets { struct planner *pl; struct target *at; uint32_t count, cap; };

static void target_add(struct inner_targets *t, const struct expr *ex)
{
	if (t->count == t->cap) {
		struct target *bigger = ARENA_NEW_N(t->pl->sh->arena, struct target, t->cap ? t->cap * 2 : 8);

		if (t->count)
			memcpy(bigger, t->at, t->count * sizeof *bigger);
		t->at = bigger;
		t->cap = t->cap ? t->cap * 2 : 8;
	}
	t->at[t->count++].expr = (struct expr *)ex;
}

static void inner_column(void *ctx, const struct expr *col, uint32_t level)
{
	struct inner_targets *t = ctx;

	if (col->levels_up != 0 || level != 0)
		return;
	for (uint32_t i = 0; i < t->count; i++)
		if (expr_equal(t->at[i].expr, col))
			return;
	target_add(t, col);
}

static bool exists_simple(const struct query *q)
{
	return q->kind == Q_SELECT && !q->has_aggs && !q->set_op && !q->limit && !q->offset && !q->lock && q->from &&
	       q->cte_count == 0 && !q->distinct_on_count && !query_is_volatile(q);
}

/*
 * [NOT] EXISTS (SELECT … WHERE inner = outer AND …): a semi or anti join on the equalities. The inner query is planned
 * without its correlated conditions, with the inner sides as its targets; other correlated conditions are
 * checked on each match.
 */
static struct plan *join_exists(struct planner *pl, struct plan *in, const struct expr *c)
{
	bool anti = false;
	struct conds all = {0}, own = {0}, mixed = {0};
	struct inner_targets targets = {.pl = pl};
	struct planner inner = {0};
	struct expr **left, *rest = NULL;
	struct query *nq;
	struct plan *sub, *both, *over = in;
	uint32_t keys = 0;

	if (c->kind == EX_NOT && c->args[0]->kind == EX_SUBQUERY) {
		anti = true;
		c = c->args[0];
	}
	if (c->kind != EX_SUBQUERY || c->sub_kind != SUB_EXISTS || !exists_simple(c->sub))
		return NULL;
	anti = anti != c->negate;
	cond_add(pl, &all, c->sub->where);
	left = ARENA_NEW_N(pl->sh->arena, struct expr *, all.count + 1);
	for (uint32_t i = 0; i < all.count; i++) {
		struct expr *cond = all.at[i];
		struct split whole = {0}, a = {0}, b = {0};

		expr_columns(cond, 0, split_columns, &whole);
		if (whole.far)
			return NULL;
		if (!whole.outer) {
			cond_add(pl, &own, cond);
			continue;
		}
		if (!lifted(pl, cond))
			return NULL;
		if (cond->kind == EX_FUNC && cond->arg_count == 2 && cond->fn && !strcmp(cond->fn->sql_name, "=") &&
		    (cond->args[0]->type.oid == cond->args[1]->type.oid ||
		     (ints(cond->args[0]->type.oid) && ints(cond->args[1]->type.oid)))) {
			expr_columns(cond->args[0], 0, split_columns, &a);
			expr_columns(cond->args[1], 0, split_columns, &b);
			if (!a.outer && a.inner && !b.inner) {
				target_add(&targets, cond->args[0]);
				left[keys++] = lifted(pl, cond->args[1]);
				continue;
			}
			if (!b.outer && b.inner && !a.inner) {
				target_add(&targets, cond->args[1]);
				left[keys++] = lifted(pl, cond->args[0]);
				continue;
			}
		}
		cond_add(pl, &mixed, cond);
	}
	if (keys == 0)
		return NULL;
	for (uint32_t i = 0; i < mixed.count; i++)
		expr_columns(mixed.at[i], 0, inner_column, &targets);
	nq = arena_dup(pl->sh->arena, c->sub, sizeof *nq);
	nq->where = expr_make_and(own.at, own.count, pl->sh->arena);
	nq->targets = targets.at;
	nq->target_count = targets.count;
	nq->sort_count = 0;
	nq->distinct = false;
	sub = plan_level(pl, nq, &inner);
	if (pl->sh->status || inner.outer_count)
		return NULL;
	for (uint32_t i = 0; i < keys; i++)
		left[i] = plan_expr(pl, &over, left[i]);
	both = both_columns(pl, in, sub);
	for (uint32_t i = 0; i < targets.count; i++)
		if (targets.at[i].expr->kind == EX_COLUMN) {
			both->cols[in->col_count + i].rel = targets.at[i].expr->rel + INNER_OFFSET;
			both->cols[in->col_count + i].attno = targets.at[i].expr->attno;
		}
	for (uint32_t i = 0; i < mixed.count; i++)
		mixed.at[i] = over_both(pl, both, lifted(pl, mixed.at[i]));
	rest = expr_make_and(mixed.at, mixed.count, pl->sh->arena);
	return semi_join(pl, in, sub, left, keys, anti, rest);
}

static bool is_limited_lookup(const struct plan *p)
{
	return p->kind == PLAN_INDEX && p->table.unique_point;
}

struct plan *plan_from_where(struct planner *pl)
{
	const struct query *q = pl->q;
	struct conds where = {0}, rest = {0}, last = {0};
	struct from f = {0};
	struct item it;
	struct plan *p;

	cond_add(pl, &where, q->where);
	if (!q->from) {
		p = plan_new(pl, PLAN_RESULT, NULL, NULL);
		p->rows = 1;
		return plan_filter(pl, p, where.at, where.count);
	}
	flatten(pl, q->from, &f, &where);
	for (uint32_t i = 0; i < where.count; i++)
		cond_add(pl, &f.conds, where.at[i]);
	if (f.count > 1)
		pl->order_count = 0;
	it = join_all(pl, &f, 0, &rest);
	if (pl->sh->status)
		return it.plan;
	p = item_plan(pl, &it);
	for (uint32_t i = 0; i < rest.count && !pl->sh->status; i++) {
		struct plan *joined = NULL;

		/* a single row is better asked by itself; keep an order that is relied upon */
		if (!is_limited_lookup(p)) {
			joined = join_in(pl, p, rest.at[i]);
			if (!joined && !pl->sh->status)
				joined = join_exists(pl, p, rest.at[i]);
		}
		if (joined)
			p = joined;
		else
			cond_add(pl, &last, rest.at[i]);
	}
	return plan_filter(pl, p, last.at, last.count);
}
