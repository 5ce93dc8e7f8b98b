/*
 * plan_index.c - which index serves which conditions and which order.
 *
 * A key is a run of equalities from the first column on, then at most one range. Everything that an index
 * was chosen for stays in the filter: entries may be stale, values may be null, bounds may be clamped. An index has the
 * rows as of when it was built, and no versions from before: older snapshots do without it.
 */
#include "engine/sql/plan.h"

#include <math.h>
#include <string.h>

#include "engine/txn/access.h"

static bool int_family(uint32_t oid)
{
	return oid == T_INT2 || oid == T_INT4 || oid == T_INT8;
}

static bool key_type_ok(uint32_t column, uint32_t value)
{
	if (column == value || (int_family(column) && int_family(value)))
		return true;
	return (column == T_VARCHAR || column == T_TEXT) && (value == T_VARCHAR || value == T_TEXT || value == T_UNKNOWN);
}

static void note_outside(void *ctx, const struct expr *col, uint32_t level)
{
	if (col->levels_up >= level)
		*(bool *)ctx = true;
}

/* Can be computed before the scan: parameters, constants, columns of the allowed relations, closed scalar queries. */
static bool value_ok(const struct expr *ex, uint64_t allowed)
{
	bool outside = false;

	if ((expr_rels(ex) & ~allowed) || expr_volatile(ex))
		return false;
	if (!expr_waits(ex))
		return true;
	if (ex->kind != EX_SUBQUERY || ex->sub_kind != SUB_SCALAR)
		return false;
	query_columns(ex->sub, 1, note_outside, &outside);
	return !outside;
}

static bool is_column(const struct expr *ex, uint32_t rel, uint16_t attno)
{
	ex = expr_bare(ex);
	return ex->kind == EX_COLUMN && ex->levels_up == 0 && ex->rel == rel && ex->attno == attno;
}

/* cond as "column op value": the operator as if the column stood left; NULL no such. */
static const char *column_op(const struct expr *cond, uint32_t rel, uint16_t attno, uint32_t type, uint64_t allowed,
			     struct expr **value_out)
{
	static const struct { const char *op, *flipped; } ops[] = {
		{"=", "="}, {"<", ">"}, {"<=", ">="}, {">", "<"}, {">=", "<="}};

	if (cond->kind != EX_FUNC || cond->arg_count != 2 || !cond->fn || !cond->fn->sql_name)
		return NULL;
	for (uint32_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
		if (strcmp(cond->fn->sql_name, ops[i].op))
			continue;
		for (uint32_t side = 0; side < 2; side++) {
			const struct expr *col = cond->args[side], *val = cond->args[1 - side];

			if (!is_column(col, rel, attno) || !key_type_ok(type, val->type.oid) || !value_ok(val, allowed))
				continue;
			*value_out = (struct expr *)val;
			return side ? ops[i].flipped : ops[i].op;
		}
	}
	return NULL;
}

static bool in_list(const struct expr *cond, uint32_t rel, uint16_t attno, uint32_t type, uint64_t allowed)
{
	const struct type_info *ti;

	if (cond->arg_count < 2 || cond->negate || cond->all || !is_column(cond->args[0], rel, attno))
		return false;
	if (cond->fn && cond->fn->sql_name && strcmp(cond->fn->sql_name, "="))
		return false;
	if (cond->kind == EX_ANY_ARRAY) {
		ti = type_find(cond->args[1]->type.oid);
		return ti && key_type_ok(type, ti->element_oid) && value_ok(cond->args[1], allowed);
	}
	if (cond->kind != EX_IN)
		return false;
	for (uint32_t i = 1; i < cond->arg_count; i++)
		if (!key_type_ok(type, cond->args[i]->type.oid) || !value_ok(cond->args[i], allowed))
			return false;
	return true;
}

/* Fills the key of one column; true: an equality, so that the next column may follow. */
static bool column_key(struct index_key *k, const struct column_def *c, uint32_t rel, struct expr **conds, uint32_t count,
		       uint64_t allowed, bool may_list)
{
	k->attno = c->attno;
	k->type = (struct sql_type){c->type_oid, c->typmod};
	for (uint32_t i = 0; i < count; i++) {
		struct expr *v;
		const char *op = column_op(conds[i], rel, c->attno, c->type_oid, allowed, &v);

		if (op && op[0] == '=') {
			k->eq = v;
			k->lo = k->hi = NULL;
			return true;
		}
		if (conds[i]->kind == EX_IS_NULL && !conds[i]->negate && is_column(conds[i]->args[0], rel, c->attno)) {
			k->is_null = true;
			return true;
		}
		if (op && op[0] == '>' && !k->lo) {
			k->lo = v;
			k->lo_inclusive = op[1] == '=';
		} else if (op && op[0] == '<' && !k->hi) {
			k->hi = v;
			k->hi_inclusive = op[1] == '=';
		}
	}
	for (uint32_t i = 0; may_list && i < count; i++)
		if (in_list(conds[i], rel, c->attno, c->type_oid, allowed)) {
			k->in = conds[i];
			k->lo = k->hi = NULL;
			return true;
		}
	return false;
}

/* Does the index give the wanted order after its eq_count leading equalities? */
static bool order_fits(struct planner *pl, const struct table_def *t, const struct index_def *ix, uint32_t eq_count,
		       bool *backward_out)
{
	uint32_t at = eq_count;
	int direction = -1;

	for (uint32_t i = 0; i < pl->order_count; i++) {
		const struct sort_item *s = &pl->order[i];
		const struct expr *col = expr_bare(pl->q->targets[s->target].expr);
		bool fixed = false, reversed;

		for (uint32_t k = 0; k < eq_count; k++)
			fixed = fixed || ix->attnos[k] == col->attno;
		if (fixed)
			continue;
		if (at >= ix->column_count || ix->attnos[at] != col->attno)
			return false;
		reversed = s->desc != ix->desc[at];
		if (!t->columns[col->attno - 1].not_null && (s->nulls_first != ix->nulls_first[at]) != reversed)
			return false;
		if (direction >= 0 && direction != reversed)
			return false;
		direction = reversed;
		at++;
	}
	*backward_out = direction == 1;
	return true;
}

static double key_selectivity(const struct index_def *ix, const struct index_choice *c, double rows)
{
	double sel = 1;

	if (c->unique_point)
		return 1 / (rows > 1 ? rows : 1);
	for (uint32_t i = 0; i < c->key_count; i++) {
		const struct index_key *k = &c->keys[i];

		if (k->eq || k->is_null || k->in) {
			double one = ix->unique ? pow(rows, -1.0 / ix->column_count) : 0.01;

			if (k->in && k->in->kind == EX_IN)
				one *= k->in->arg_count - 1;
			else if (k->in)
				one *= 8;
			sel *= one < 1 ? one : 1;
		} else {
			sel *= k->lo && k->hi ? 0.1 : 0.33;
		}
	}
	return sel;
}

bool plan_choose_index(struct planner *pl, uint32_t rel, struct expr **conds, uint32_t cond_count, uint64_t allowed,
		       double rows, struct index_choice *out)
{
	const struct table_def *t = pl->q->rels[rel].table;
	bool found = false;
	double best = 0;

	for (uint32_t x = 0; x < t->index_count; x++) {
		const struct index_def *ix = &t->indexes[x];
		struct index_choice c = {.index = ix};
		uint32_t eq = 0;
		bool list = false, order_ok = false;
		double cost;

		if (!access_snapshot_reaches(pl->sh->access, ix->built)) {
			if (ix->built > pl->sh->root->unseen)
				pl->sh->root->unseen = ix->built;
			continue;
		}
		c.keys = ARENA_NEW_N(pl->sh->arena, struct index_key, ix->column_count);
		for (uint32_t i = 0; i < ix->column_count; i++) {
			struct index_key *k = &c.keys[i];
			bool equal = column_key(k, &t->columns[ix->attnos[i] - 1], rel, conds, cond_count, allowed, !list);

			if (equal || k->lo || k->hi)
				c.key_count++;
			if (!equal)
				break;
			list = list || k->in;
			eq++;
		}
		c.unique_point = ix->unique && eq == ix->column_count && !list;
		for (uint32_t i = 0; i < eq; i++)
			c.unique_point = c.unique_point && !c.keys[i].is_null;
		if (pl->order_count && !list)
			order_ok = order_fits(pl, t, ix, eq, &c.backward);
		c.ordered = order_ok && (pl->order_limited || c.key_count > 0);
		c.backward = c.ordered && c.backward;
		if (c.key_count == 0 && !c.ordered)
			continue;
		c.selectivity = key_selectivity(ix, &c, rows);
		cost = c.selectivity;
		if (c.ordered && pl->order_limited)
			cost *= 0.02; /* stops early */
		if (!found || cost < best) {
			found = true;
			best = cost;
			*out = c;
		}
	}
	return found;
}
