/* bind_group.c - ORDER BY, GROUP BY, DISTINCT, and what grouping allows (engine/sql). */
#include "engine/sql/bind_int.h"

#define NO_TARGET UINT32_MAX

static const char *bare_name(const struct ast_expr *e)
{
	return e->kind == AX_COLUMN && !e->star && e->names.count == 1 ? e->names.at[0] : NULL;
}

static bool names_a_column(struct scope *s, const char *name)
{
	uint32_t i, c;

	for (i = 0; i < s->items.count; i++)
		for (c = 0; s->items.at[i].columns_visible && c < s->items.at[i].column_count; c++)
			if (s->items.at[i].columns[c].name && !strcmp(s->items.at[i].columns[c].name, name))
				return true;
	return false;
}

/* An output column by its name or number: its number, NO_TARGET when it is neither. false: failed. */
static bool by_name_or_number(struct scope *s, const struct ast_expr *e, enum bind_place place, uint32_t *out)
{
	const char *clause = place_name(place), *name = bare_name(e);
	struct query *q = s->q;
	uint32_t i, n = 0;

	*out = NO_TARGET;
	if (name && !(place == AT_GROUP_BY && names_a_column(s, name))) {
		for (i = 0; i < q->target_count; i++) {
			if (q->targets[i].junk || strcmp(q->targets[i].name, name) != 0)
				continue;
			if (*out != NO_TARGET && !bind_same(q->targets[*out].expr, q->targets[i].expr)) {
				bind_fail(s->b, ST_AMBIGUOUS_COLUMN, e->pos, "%s \"%s\" is ambiguous", clause, name);
				return false;
			}
			if (*out == NO_TARGET)
				*out = i;
		}
		return true;
	}
	if (e->kind == AX_INTEGER) {
		for (i = 0; i < q->target_count; i++)
			if (!q->targets[i].junk && ++n == e->number) {
				*out = i;
				return true;
			}
		bind_fail(s->b, ST_BAD_COLUMN_REFERENCE, e->pos, "%s position %lld is not in select list", clause,
			  (long long)e->number);
		return false;
	}
	if (e->kind == AX_STRING || e->kind == AX_FLOAT || e->kind == AX_NULL || e->kind == AX_BITS) {
		bind_fail(s->b, ST_SYNTAX, e->pos, "non-integer constant in %s", clause);
		return false;
	}
	return true;
}

/* The target to sort or group by; a new junk one for an expression that is not in the list. */
static bool find_target(struct scope *s, const struct ast_expr *e, enum bind_place place, uint32_t *out)
{
	struct query *q = s->q;
	struct expr *ex;
	uint32_t i;

	if (!by_name_or_number(s, e, place, out))
		return false;
	if (*out != NO_TARGET)
		return bind_settle(s->b, &q->targets[*out].expr);
	if (!(ex = bind_expr_place(s, e, place)) || !bind_settle(s->b, &ex))
		return false;
	for (i = 0; i < q->target_count; i++)
		if (bind_same(q->targets[i].expr, ex)) {
			*out = i;
			return true;
		}
	*out = scope_add_target(s, ex, "?column?", true);
	return true;
}

/* ORDER BY x USING <: the two that every type has. */
static bool using_direction(struct bind *b, const struct ast_sort *o, bool *desc)
{
	const char *op = o->using_op.count ? o->using_op.at[o->using_op.count - 1] : NULL;

	if (!op)
		return true;
	if (!strcmp(op, "<"))
		*desc = false;
	else if (!strcmp(op, ">"))
		*desc = true;
	else {
		bind_fail(b, ST_WRONG_OBJECT_TYPE, o->pos, "operator %s is not a valid ordering operator", op);
		bind_hint(b, "Ordering operators must be \"<\" or \">\" members of btree operator families.");
		return false;
	}
	return true;
}

static struct sort_item *add_sort(struct scope *s, uint32_t target)
{
	struct query *q = s->q;
	uint32_t i;

	for (i = 0; i < q->sort_count; i++)
		if (q->sorts[i].target == target)
			return NULL;
	if (q->sort_count == s->sort_cap) {
		uint32_t cap = s->sort_cap ? s->sort_cap * 2 : 4;
		struct sort_item *at = ARENA_NEW_N(s->b->arena, struct sort_item, cap);

		if (q->sort_count)
			memcpy(at, q->sorts, q->sort_count * sizeof *at);
		q->sorts = at;
		s->sort_cap = cap;
	}
	q->sorts[q->sort_count].target = target;
	return &q->sorts[q->sort_count++];
}

bool bind_sort_clause(struct scope *s, const struct ast_select *a)
{
	uint32_t i, target = 0, had;

	for (i = 0; i < a->sorts.count; i++) {
		const struct ast_sort *o = &a->sorts.at[i];
		struct sort_item *item;
		bool desc = o->desc;

		had = s->q->target_count;
		if (a->set_op) {
			if (!by_name_or_number(s, o->expr, AT_ORDER_BY, &target))
				return false;
			if (target == NO_TARGET && (target = had, true)) {
				if (!bind_expr_place(s, o->expr, AT_ORDER_BY))
					return false;
				bind_fail(s->b, ST_UNSUPPORTED, o->expr->pos,
					  "invalid UNION/INTERSECT/EXCEPT ORDER BY clause");
				bind_detail(s->b, "Only result column names can be used, not expressions or functions.");
				bind_hint(s->b, "Add the expression/function to every SELECT, or move the UNION into a FROM clause.");
				return false;
			}
		} else if (!find_target(s, o->expr, AT_ORDER_BY, &target)) {
			return false;
		}
		if (!using_direction(s->b, o, &desc))
			return false;
		item = add_sort(s, target);
		if (!item)
			continue;
		item->desc = desc;
		item->nulls_first = o->nulls == AST_NULLS_DEFAULT ? desc : o->nulls == AST_NULLS_FIRST;
	}
	return true;
}

/* -- DISTINCT ---------------------------------------------------------------------------------------------- */

static bool bind_distinct_on(struct scope *s, const struct ast_select *a)
{
	struct query *q = s->q;
	uint32_t i, k, matched = 0, n = a->distinct_on.count;
	bool *seen = ARENA_NEW_N(s->b->arena, bool, n + 1);

	q->distinct_on = ARENA_NEW_N(s->b->arena, uint32_t, n + 1);
	for (i = 0; i < n; i++) {
		uint32_t target;

		if (!find_target(s, a->distinct_on.at[i], AT_DISTINCT_ON, &target))
			return false;
		for (k = 0; k < q->distinct_on_count && q->distinct_on[k] != target; k++)
			;
		if (k == q->distinct_on_count)
			q->distinct_on[q->distinct_on_count++] = target;
	}
	n = q->distinct_on_count;
	for (i = 0; i < q->sort_count && matched < n; i++) {
		for (k = 0; k < n && q->distinct_on[k] != q->sorts[i].target; k++)
			;
		if (k == n) {
			bind_fail(s->b, ST_BAD_COLUMN_REFERENCE, a->distinct_on.at[0]->pos,
				  "SELECT DISTINCT ON expressions must match initial ORDER BY expressions");
			return false;
		}
		seen[k] = true;
		matched++;
	}
	for (k = 0; k < n; k++)
		if (!seen[k])
			add_sort(s, q->distinct_on[k]);
	return true;
}

bool bind_distinct(struct scope *s, const struct ast_select *a)
{
	struct query *q = s->q;
	uint32_t i;

	if (!a->distinct)
		return true;
	if (a->distinct_on.count)
		return bind_distinct_on(s, a);
	q->distinct = true;
	for (i = 0; i < q->sort_count; i++)
		if (q->targets[q->sorts[i].target].junk) {
			bind_fail(s->b, ST_BAD_COLUMN_REFERENCE, q->targets[q->sorts[i].target].expr->position,
				  "for SELECT DISTINCT, ORDER BY expressions must appear in select list");
			return false;
		}
	for (i = 0; i < q->target_count; i++)
		if (!bind_settle(s->b, &q->targets[i].expr))
			return false;
	return true;
}

/* -- GROUP BY ---------------------------------------------------------------------------------------------- */

static bool add_group(struct scope *s, struct expr *ex)
{
	struct query *q = s->q;
	uint32_t i;

	for (i = 0; i < q->group_count; i++)
		if (bind_groups(q->groups[i], ex))
			return true;
	q->groups[q->group_count++] = ex;
	return true;
}

static bool is_aggregate(const struct expr *ex, uint32_t depth, void *ctx)
{
	(void)ctx;
	return depth == 0 && ex->kind == EX_AGG;
}

static bool group_one(struct scope *s, const struct ast_expr *e)
{
	static const struct query_walk find_agg = {.fn = is_aggregate};
	uint32_t target, i;
	struct expr *ex;

	if (e->kind == AX_ROW) { /* GROUP BY (a, b) */
		for (i = 0; i < e->count; i++)
			if (!group_one(s, e->args[i]))
				return false;
		return true;
	}
	if (!by_name_or_number(s, e, AT_GROUP_BY, &target))
		return false;
	if (target == NO_TARGET) {
		if (!(ex = bind_expr_place(s, e, AT_GROUP_BY)) || !bind_settle(s->b, &ex))
			return false;
		return add_group(s, ex);
	}
	if (!bind_settle(s->b, &s->q->targets[target].expr))
		return false;
	ex = s->q->targets[target].expr;
	if (walk_expr(&find_agg, ex, 0)) {
		bind_fail(s->b, ST_GROUPING, ex->position, "aggregate functions are not allowed in GROUP BY");
		return false;
	}
	return add_group(s, ex);
}

static uint32_t count_groups(const struct ast_exprs *g)
{
	uint32_t i, n = 0;

	for (i = 0; i < g->count; i++)
		n += g->at[i]->kind == AX_ROW ? 1 + g->at[i]->count : 1;
	return n;
}

bool bind_group_by(struct scope *s, const struct ast_select *a)
{
	struct query *q = s->q;
	uint32_t i, room = 0;

	if (!a->groups.count)
		return true;
	/* room for columns that depend on a grouped primary key, too: bind_check_grouping */
	for (i = 0; i < q->rel_count; i++)
		room += q->rels[i].column_count;
	q->groups = ARENA_NEW_N(s->b->arena, struct expr *, count_groups(&a->groups) + room + 1);
	for (i = 0; i < a->groups.count; i++)
		if (!group_one(s, a->groups.at[i]))
			return false;
	return true;
}

/* -- the check --------------------------------------------------------------------------------------------- */

struct grouping { struct scope *s; const struct expr *bad; bool in_subquery; };

static bool is_group(const struct query *q, const struct expr *ex)
{
	uint32_t i;

	for (i = 0; i < q->group_count; i++)
		if (bind_groups(q->groups[i], ex))
			return true;
	return false;
}

/* Is ex, seen from depth levels further down, a grouped column here? */
static bool is_group_below(const struct query *q, const struct expr *ex, uint32_t depth)
{
	struct expr up = *ex;

	if (ex->kind != EX_COLUMN || ex->levels_up < depth)
		return false;
	up.levels_up = (uint16_t)(ex->levels_up - depth);
	return is_group(q, &up);
}

/* All columns of the table's primary key are grouped: its other columns have one value in a group. */
static bool depends_on_key(struct query *q, uint32_t rel, const struct expr *column)
{
	const struct range_rel *r = &q->rels[rel];
	uint32_t i, k, g;

	if (r->source != SRC_TABLE || !q->group_count || !column->attno)
		return false;
	for (i = 0; i < r->table->index_count; i++) {
		const struct index_def *ix = &r->table->indexes[i];

		if (!ix->primary)
			continue;
		for (k = 0; k < ix->column_count; k++) {
			for (g = 0; g < q->group_count; g++)
				if (q->groups[g]->kind == EX_COLUMN && q->groups[g]->rel == rel &&
				    !q->groups[g]->levels_up && q->groups[g]->attno == ix->attnos[k])
					break;
			if (g == q->group_count)
				return false;
		}
		return true;
	}
	return false;
}

static bool check_node(const struct expr *ex, uint32_t depth, void *ctx)
{
	struct grouping *g = ctx;
	struct query *q = g->s->q;

	if (ex->kind != EX_COLUMN || ex->levels_up != depth || is_group_below(q, ex, depth))
		return false;
	if (depends_on_key(q, ex->rel, ex)) {
		struct expr *own = bind_node(g->s->b, EX_COLUMN, 0, T_NONE, ex->position);

		own->type = ex->type;
		own->rel = ex->rel;
		own->attno = ex->attno;
		q->groups[q->group_count++] = own; /* changes no group, and everything outside aggregates is grouped */
		return false;
	}
	g->bad = ex;
	g->in_subquery = depth > 0;
	return true;
}

static bool check_enter(const struct expr *ex, uint32_t depth, void *ctx)
{
	struct grouping *g = ctx;

	return !(depth == 0 && is_group(g->s->q, ex));
}

static bool grouping_error(struct grouping *g)
{
	const struct range_rel *r = &g->s->q->rels[g->bad->rel];
	const char *column = g->bad->attno ? r->columns[g->bad->attno - 1].name : "ctid";

	if (g->in_subquery)
		bind_fail(g->s->b, ST_GROUPING, g->bad->position, "subquery uses ungrouped column \"%s.%s\" from outer query",
			  r->alias, column);
	else
		bind_fail(g->s->b, ST_GROUPING, g->bad->position,
			  "column \"%s.%s\" must appear in the GROUP BY clause or be used in an aggregate function", r->alias,
			  column);
	return false;
}

bool bind_check_grouping(struct scope *s)
{
	struct query *q = s->q;
	struct grouping g = {.s = s};
	const struct query_walk w = {.fn = check_node, .enter = check_enter, .ctx = &g};
	uint32_t i;

	if (!q->has_aggs || q->set_op)
		return true;
	if (s->srf_rel)
		return bind_unsupported(s->b, 0, "a set-returning function in the select list of a query that aggregates");
	for (i = 0; i < q->target_count; i++)
		if (walk_expr(&w, q->targets[i].expr, 0))
			return grouping_error(&g);
	return walk_expr(&w, q->having, 0) ? grouping_error(&g) : true;
}
