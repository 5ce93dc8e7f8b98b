/*
 * bind_setop.c - UNION, INTERSECT, EXCEPT and VALUES (engine/sql).
 *
 * The two sides are bound as queries one level below; where a column's type is not the common one the side gets the cast
 * in its list, or is wrapped in a query that has it when its list also decides what is distinct or the order.
 */
#include "engine/sql/bind_int.h"

static bool list_is_free(const struct query *q)
{
	return !q->set_op && !q->distinct && !q->distinct_on_count && !q->sort_count;
}

/* A query around inner, with all of its columns as they are. */
static struct query *around(struct bind *b, struct query *inner)
{
	struct range_rel *r = ARENA_NEW(b->arena, struct range_rel);
	struct query *q = ARENA_NEW(b->arena, struct query);
	uint32_t i, count;
	const struct rel_column *columns;

	query_shift_levels(b, inner);
	columns = bind_query_columns(b, inner, &count);
	*r = (struct range_rel){.source = SRC_SUBQUERY, .alias = "*SELECT*", .subquery = inner, .column_count = count};
	r->columns = arena_dup(b->arena, columns, count * sizeof *columns);
	q->rel_count = 1;
	q->rels = r;
	q->from = ARENA_NEW(b->arena, struct from_node);
	q->target_count = count;
	q->targets = ARENA_NEW_N(b->arena, struct target, count + 1);
	for (i = 0; i < count; i++) {
		struct expr *c = bind_node(b, EX_COLUMN, 0, T_NONE, 0);

		c->type = columns[i].type;
		c->attno = (uint16_t)(i + 1);
		q->targets[i].expr = c;
		q->targets[i].name = columns[i].name;
	}
	return q;
}

struct query *bind_pick_column(struct bind *b, struct query *inner, uint32_t column)
{
	struct query *q = around(b, inner);

	q->targets += column;
	q->target_count = 1;
	return q;
}

/* The visible columns as types: in the list itself where that changes nothing else, else by a query around. */
struct query *bind_wrap(struct bind *b, struct query *inner, const uint32_t *types)
{
	struct query *q;
	uint32_t i, n = 0, same = 0;

	for (i = 0; i < inner->target_count; i++) {
		struct target *t = &inner->targets[i];

		if (t->junk)
			continue;
		if ((t->expr->type.oid == T_UNKNOWN || list_is_free(inner)) &&
		    !(t->expr = bind_coerce(b, t->expr, types[n], CAST_IMPLICIT, t->expr->position)))
			return NULL;
		same += t->expr->type.oid == types[n++];
	}
	if (same == n)
		return inner;
	q = around(b, inner);
	for (i = 0; i < n; i++)
		if (!(q->targets[i].expr = bind_coerce(b, q->targets[i].expr, types[i], CAST_IMPLICIT, 0)))
			return NULL;
	return q;
}

static uint32_t visible(const struct query *q)
{
	uint32_t i, n = 0;

	for (i = 0; i < q->target_count; i++)
		n += !q->targets[i].junk;
	return n;
}

static struct target *nth(const struct query *q, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < q->target_count; i++)
		if (!q->targets[i].junk && !n--)
			return &q->targets[i];
	UNREACHABLE();
}

static const char *set_words(uint8_t op)
{
	static const char *const words[] = {"", "UNION", "INTERSECT", "EXCEPT"};

	return words[op];
}

static bool common_columns(struct scope *s, uint32_t n, uint32_t *types)
{
	struct query *q = s->q;
	uint32_t i;

	for (i = 0; i < n; i++) {
		struct expr *both[2] = {nth(q->set_left, i)->expr, nth(q->set_right, i)->expr};

		if (!bind_common(s->b, both, 2, set_words(q->set_op), &types[i]))
			return false;
	}
	return true;
}

static int32_t same_typmod(const struct expr *l, const struct expr *r)
{
	return l->type.typmod == r->type.typmod && l->type.oid == r->type.oid ? l->type.typmod : -1;
}

/* ORDER BY sees the result's columns, if only to be told that it may not compute with them. */
static void result_item(struct scope *s, uint32_t n)
{
	struct scope_item item = {.rel = 0, .columns_visible = true, .lateral_ok = true, .column_count = n};
	uint32_t i;

	item.columns = ARENA_NEW_N(s->b->arena, struct scope_column, n + 1);
	for (i = 0; i < n; i++)
		item.columns[i] = (struct scope_column){s->q->targets[i].name, s->q->targets[i].expr};
	scope_add_item(s, &s->items, &item);
}

bool bind_set_operation(struct scope *s, const struct ast_select *a)
{
	struct bind *b = s->b;
	struct query *q = s->q;
	struct range_rel r = {.source = SRC_SUBQUERY, .alias = "*SELECT*"};
	uint32_t n, i, *types;

	q->set_op = a->set_op;
	q->set_all = a->set_all;
	if (!(q->set_left = bind_select(b, s, a->left, false, true)) ||
	    !(q->set_right = bind_select(b, s, a->right, false, true)))
		return false;
	n = visible(q->set_left);
	if (n != visible(q->set_right))
		return bind_fail(b, ST_SYNTAX, a->right->targets.count ? a->right->targets.at[0].expr->pos : 0,
				 "each %s query must have the same number of columns", set_words(q->set_op));
	types = ARENA_NEW_N(b->arena, uint32_t, n + 1);
	if (!common_columns(s, n, types) || !(q->set_left = bind_wrap(b, q->set_left, types)) ||
	    !(q->set_right = bind_wrap(b, q->set_right, types)))
		return false;
	r.column_count = n;
	r.columns = ARENA_NEW_N(b->arena, struct rel_column, n + 1);
	for (i = 0; i < n; i++) {
		const struct target *l = nth(q->set_left, i);
		struct expr *c = bind_node(b, EX_COLUMN, 0, types[i], l->expr->position);

		c->type.typmod = same_typmod(l->expr, nth(q->set_right, i)->expr);
		c->attno = (uint16_t)(i + 1);
		r.columns[i] = (struct rel_column){l->name, c->type};
		scope_add_target(s, c, l->name, false);
	}
	scope_add_rel(s, &r);
	result_item(s, n);
	return true;
}

/* -- VALUES ------------------------------------------------------------------------------------------------ */

static bool bind_rows(struct scope *s, const struct ast_select *a, struct expr ***rows, uint32_t n)
{
	uint32_t i, c;

	s->place = AT_VALUES;
	for (i = 0; i < a->row_count; i++) {
		if (a->rows[i].count != n)
			return bind_fail(s->b, ST_SYNTAX, a->rows[i].count ? a->rows[i].at[0]->pos : 0,
					 "VALUES lists must all be the same length");
		rows[i] = ARENA_NEW_N(s->b->arena, struct expr *, n + 1);
		for (c = 0; c < n; c++)
			if (!(rows[i][c] = bind_expr(s, a->rows[i].at[c])))
				return false;
	}
	return true;
}

static bool unify_column(struct scope *s, struct expr ***rows, uint32_t row_count, uint32_t c, struct rel_column *out)
{
	struct expr **column = ARENA_NEW_N(s->b->arena, struct expr *, row_count + 1);
	int32_t typmod = -1;
	uint32_t i, type;

	for (i = 0; i < row_count; i++)
		column[i] = rows[i][c];
	if (!bind_common(s->b, column, row_count, "VALUES", &type))
		return false;
	for (i = 0; i < row_count; i++) {
		rows[i][c] = bind_coerce(s->b, column[i], type, CAST_IMPLICIT, column[i]->position);
		if (!rows[i][c])
			return false;
		typmod = i == 0 || typmod == rows[i][c]->type.typmod ? rows[i][c]->type.typmod : -1;
	}
	out->type = (struct sql_type){type, typmod};
	return true;
}

bool bind_values(struct scope *s, const struct ast_select *a)
{
	struct bind *b = s->b;
	struct range_rel r = {.source = SRC_VALUES, .alias = "*VALUES*", .row_count = a->row_count};
	struct scope_item item = {.rel = 0, .columns_visible = true, .rel_visible = true, .lateral_ok = true};
	uint32_t c;

	r.column_count = a->rows[0].count;
	r.rows = ARENA_NEW_N(b->arena, struct expr **, a->row_count);
	r.columns = ARENA_NEW_N(b->arena, struct rel_column, r.column_count + 1);
	if (!bind_rows(s, a, r.rows, r.column_count))
		return false;
	item.alias = r.alias;
	item.columns = ARENA_NEW_N(b->arena, struct scope_column, r.column_count + 1);
	item.column_count = r.column_count;
	for (c = 0; c < r.column_count; c++) {
		struct expr *ex = bind_node(b, EX_COLUMN, 0, T_NONE, 0);

		r.columns[c].name = arena_printf(b->arena, "column%u", c + 1);
		if (!unify_column(s, r.rows, a->row_count, c, &r.columns[c]))
			return false;
		ex->type = r.columns[c].type;
		ex->attno = (uint16_t)(c + 1);
		item.columns[c] = (struct scope_column){r.columns[c].name, ex};
		scope_add_target(s, expr_copy_up(b, ex, 0), r.columns[c].name, false);
	}
	scope_add_rel(s, &r);
	scope_add_item(s, &s->items, &item);
	s->q->from = ARENA_NEW(b->arena, struct from_node);
	return true;
}
