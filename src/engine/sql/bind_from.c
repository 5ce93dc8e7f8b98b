/*
 * bind_from.c - the FROM clause: range table, joins, who sees whom (engine/sql).
 *
 * Names in sight are scope items: one per relation, and one per join that has an alias or merges columns. A merged column
 * of USING is an expression over the joined relations, so no join needs a place in the range table.
 */
#include "engine/sql/bind_int.h"

uint32_t scope_add_rel(struct scope *s, const struct range_rel *r)
{
	struct query *q = s->q;

	if (q->rel_count == s->rel_cap) {
		uint32_t cap = s->rel_cap ? s->rel_cap * 2 : 4;
		struct range_rel *at = ARENA_NEW_N(s->b->arena, struct range_rel, cap);

		if (q->rel_count)
			memcpy(at, q->rels, q->rel_count * sizeof *at);
		q->rels = at;
		s->rel_cap = cap;
	}
	q->rels[q->rel_count] = *r;
	return q->rel_count++;
}

/* An item whose columns are those of rel, renamed by the alias's column list. */
static bool make_item(struct scope *s, uint32_t rel, const struct ast_alias *alias, int pos, struct scope_item *out)
{
	struct range_rel *r = &s->q->rels[rel];
	uint32_t i, named = 0;

	memset(out, 0, sizeof *out);
	out->alias = r->alias;
	out->rel = rel;
	out->rel_visible = out->columns_visible = out->lateral_ok = true;
	out->column_count = r->column_count;
	out->columns = ARENA_NEW_N(s->b->arena, struct scope_column, r->column_count + 1);
	for (i = 0; i < r->column_count; i++) {
		struct expr *ex;

		if (!r->columns[i].name)
			continue;
		if (alias && named < alias->columns.count)
			r->columns[i].name = alias->columns.at[named];
		named++;
		ex = bind_node(s->b, EX_COLUMN, 0, T_NONE, 0);
		ex->type = r->columns[i].type;
		ex->rel = rel;
		ex->attno = (uint16_t)(i + 1);
		out->columns[i].name = r->columns[i].name;
		out->columns[i].expr = ex;
	}
	if (alias && alias->columns.count > named) {
		bind_fail(s->b, ST_BAD_COLUMN_REFERENCE, pos, "table \"%s\" has %u columns available but %u columns specified",
			  r->alias, named, alias->columns.count);
		return false;
	}
	return true;
}

static struct rel_column *table_columns(struct bind *b, const struct table_def *t)
{
	struct rel_column *c = ARENA_NEW_N(b->arena, struct rel_column, t->column_count + 1);
	uint32_t i;

	for (i = 0; i < t->column_count; i++) {
		c[i].name = t->columns[i].dropped ? NULL : t->columns[i].name;
		c[i].type = (struct sql_type){t->columns[i].type_oid, t->columns[i].typmod};
	}
	return c;
}

struct scope_item *scope_add_table(struct scope *s, const struct table_def *t, const char *alias, const char *schema)
{
	struct range_rel r = {.source = SRC_TABLE, .alias = alias ? alias : t->name, .table = t};
	struct scope_item item;

	r.column_count = t->column_count;
	r.columns = table_columns(s->b, t);
	if (!make_item(s, scope_add_rel(s, &r), NULL, 0, &item))
		return NULL;
	item.schema = schema;
	return scope_add_item(s, &s->items, &item);
}

const struct rel_column *bind_query_columns(struct bind *b, const struct query *q, uint32_t *count_out)
{
	struct rel_column *c = ARENA_NEW_N(b->arena, struct rel_column, q->target_count + 1);
	uint32_t i, n = 0;

	for (i = 0; i < q->target_count; i++)
		if (!q->targets[i].junk) {
			c[n].name = q->targets[i].name;
			c[n++].type = q->targets[i].expr->type;
		}
	*count_out = n;
	return c;
}

static struct from_node *leaf(struct bind *b, uint32_t rel)
{
	struct from_node *f = ARENA_NEW(b->arena, struct from_node);

	f->rel = rel;
	return f;
}

static struct from_node *add_leaf(struct scope *s, const struct range_rel *r, const struct ast_alias *alias, int pos,
				  const char *schema, struct scope_items *out)
{
	uint32_t rel = scope_add_rel(s, r);
	struct scope_item item;

	if (!make_item(s, rel, alias, pos, &item))
		return NULL;
	item.schema = schema;
	scope_add_item(s, out, &item);
	return leaf(s->b, rel);
}

/* -- the kinds of items ----------------------------------------------------------------------------------- */

static struct scope_cte *find_cte(struct scope *s, const char *name, uint32_t *levels_out)
{
	struct scope *at;
	struct scope_cte *c;

	*levels_out = 0;
	for (at = s; at; at = at->parent, ++*levels_out)
		for (c = at->ctes; c; c = c->next)
			if (!strcmp(c->name, name))
				return c;
	return NULL;
}

static struct from_node *from_cte(struct scope *s, const struct ast_from *f, const struct scope_cte *c, uint32_t levels,
				  struct scope_items *out)
{
	struct range_rel r = {.source = SRC_CTE, .subquery = c->query};
	struct rel_column *columns;
	uint32_t i;

	if (levels && c->correlated)
		return bind_unsupported(s->b, f->pos, "using a WITH query that depends on an outer query further inside");
	r.alias = f->alias.name ? f->alias.name : c->name;
	columns = (struct rel_column *)(uintptr_t)bind_query_columns(s->b, c->query, &r.column_count);
	for (i = 0; i < r.column_count; i++)
		columns[i].name = c->names[i];
	r.columns = columns;
	return add_leaf(s, &r, &f->alias, f->pos, NULL, out);
}

static struct from_node *from_rel(struct scope *s, const struct ast_from *f, struct scope_items *out)
{
	struct bind *b = s->b;
	const struct virtual_rel *v;
	struct relation_def rel;
	struct range_rel r = {0};
	const char *schema = NULL;
	uint32_t levels;

	if (!f->rel->schema) {
		const struct scope_cte *c = find_cte(s, f->rel->name, &levels);

		if (c)
			return from_cte(s, f, c, levels, out);
	}
	if (!bind_relation(b, f->rel, &rel, &v))
		return NULL;
	r.alias = f->alias.name ? f->alias.name : f->rel->name;
	if (v) {
		r.source = SRC_VIRTUAL;
		r.virtual_name = v->full_name;
		r.column_count = v->column_count;
		r.columns = arena_dup(b->arena, v->columns, sizeof *v->columns * v->column_count);
		schema = v->schema;
	} else if (rel.kind == REL_TABLE) {
		r.source = SRC_TABLE;
		r.table = bind_keep_table(b, rel.table);
		r.column_count = r.table->column_count;
		r.columns = table_columns(b, r.table);
		schema = r.table->schema;
	} else if (rel.kind == REL_INDEX) {
		return bind_fail(b, ST_WRONG_OBJECT_TYPE, f->pos, "\"%s\" is an index", f->rel->name);
	} else {
		return bind_unsupported(b, f->pos, "reading a sequence as a table");
	}
	return add_leaf(s, &r, &f->alias, f->pos, f->alias.name ? NULL : schema, out);
}

static struct from_node *from_select(struct scope *s, const struct ast_from *f, struct scope_items *out)
{
	struct range_rel r = {.source = SRC_SUBQUERY, .lateral = f->lateral};
	bool before = s->lateral;

	if (!f->alias.name) {
		bind_fail(s->b, ST_SYNTAX, f->select->pos, f->select->row_count ? "VALUES in FROM must have an alias"
			  : "subquery in FROM must have an alias");
		bind_hint(s->b, f->select->row_count ? "For example, FROM (VALUES ...) [AS] foo."
			  : "For example, FROM (SELECT ...) [AS] foo.");
		return NULL;
	}
	s->lateral = f->lateral;
	r.subquery = bind_select(s->b, s, f->select, f->lateral, false);
	s->lateral = before;
	if (!r.subquery)
		return NULL;
	r.alias = f->alias.name;
	r.columns = (struct rel_column *)(uintptr_t)bind_query_columns(s->b, r.subquery, &r.column_count);
	return add_leaf(s, &r, &f->alias, f->pos, NULL, out);
}

static struct from_node *from_calls(struct scope *s, const struct ast_from *f, struct scope_items *out)
{
	struct bind *b = s->b;
	struct range_rel r = {.source = SRC_FUNCTION};
	const struct ast_expr *e = f->calls.count ? f->calls.at[0] : NULL;
	bool before = s->lateral, ok;
	const char *name;

	if (f->calls.count != 1)
		return bind_unsupported(b, f->pos, "ROWS FROM of several functions");
	if (f->ordinality)
		return bind_unsupported(b, e->pos, "WITH ORDINALITY");
	if (f->typed_columns)
		return bind_unsupported(b, e->pos, "a column definition list");
	name = e->kind == AX_CALL ? e->names.at[e->names.count - 1] : figure_name(b, e);
	s->lateral = true; /* functions see the items before them without LATERAL, too */
	ok = bind_range_function(s, f->alias.name ? f->alias.name : name, e, &r, e->pos);
	s->lateral = before;
	if (!ok)
		return NULL;
	r.lateral = true;
	r.alias = f->alias.name ? f->alias.name : name;
	return add_leaf(s, &r, &f->alias, e->pos, NULL, out);
}

/* -- joins ------------------------------------------------------------------------------------------------ */

static struct from_node *bind_from_item(struct scope *s, const struct ast_from *f, struct scope_items *out);

static bool check_aliases(struct bind *b, const struct scope_items *l, const struct scope_items *r)
{
	uint32_t i, k;

	for (i = 0; i < r->count; i++) {
		const struct scope_item *y = &r->at[i];

		for (k = 0; k < l->count; k++) {
			const struct scope_item *x = &l->at[k];

			if (!x->rel_visible || !y->rel_visible || !x->alias || !y->alias || strcmp(x->alias, y->alias) != 0)
				continue;
			if (x->schema && y->schema && strcmp(x->schema, y->schema) != 0)
				continue;
			bind_fail(b, ST_DUPLICATE_ALIAS, 0, "table name \"%s\" specified more than once", x->alias);
			return false;
		}
	}
	return true;
}

static void append_items(struct scope *s, struct scope_items *to, const struct scope_items *from, bool lateral_only, bool ok)
{
	uint32_t i;

	for (i = 0; i < from->count; i++) {
		struct scope_item *it = scope_add_item(s, to, &from->at[i]);

		it->lateral_only = lateral_only;
		it->lateral_ok = ok;
	}
}

/* The one column of that name in a side of USING; -1 none, -2 several. */
static int side_column(const struct scope_items *side, const char *name, const struct expr **out)
{
	uint32_t i, c;
	int found = -1;

	for (i = 0; i < side->count; i++)
		for (c = 0; side->at[i].columns_visible && c < side->at[i].column_count; c++)
			if (side->at[i].columns[c].name && !strcmp(side->at[i].columns[c].name, name)) {
				if (found >= 0)
					return -2;
				found = 0;
				*out = side->at[i].columns[c].expr;
			}
	return found;
}

static bool using_side(struct bind *b, const struct scope_items *side, const char *name, const char *which,
		       const struct expr **out)
{
	int found = side_column(side, name, out);

	if (found == -1)
		bind_fail(b, ST_UNDEFINED_COLUMN, 0, "column \"%s\" specified in USING clause does not exist in %s table", name,
			  which);
	else if (found == -2)
		bind_fail(b, ST_AMBIGUOUS_COLUMN, 0, "common column name \"%s\" appears more than once in %s table", name, which);
	return found == 0;
}

static struct expr *merged_column(struct bind *b, enum ast_join join, const struct expr *l, const struct expr *r)
{
	struct expr *both[2] = {expr_copy_up(b, l, 0), expr_copy_up(b, r, 0)}, *ex;
	uint32_t type, i;

	if (!bind_common(b, both, 2, "JOIN/USING", &type))
		return NULL;
	for (i = 0; i < 2; i++)
		if (both[i]->type.oid != type && !(both[i] = bind_coerce(b, both[i], type, CAST_IMPLICIT, 0)))
			return NULL;
	if (join != AJ_FULL)
		return both[join == AJ_RIGHT];
	ex = bind_node(b, EX_COALESCE, 2, type, 0);
	ex->args[0] = both[0];
	ex->args[1] = both[1];
	return ex;
}

static struct ast_names natural_columns(struct bind *b, const struct scope_items *l, const struct scope_items *r)
{
	struct ast_names n = {0};
	const struct expr *ignored;
	uint32_t i, c, cap = 0;

	for (i = 0; i < l->count; i++)
		cap += l->at[i].column_count;
	n.at = ARENA_NEW_N(b->arena, const char *, cap + 1);
	for (i = 0; i < l->count; i++)
		for (c = 0; l->at[i].columns_visible && c < l->at[i].column_count; c++)
			if (l->at[i].columns[c].name && side_column(r, l->at[i].columns[c].name, &ignored) != -1)
				n.at[n.count++] = l->at[i].columns[c].name;
	return n;
}

static bool is_using_column(const struct ast_names *n, const char *name)
{
	uint32_t i;

	for (i = 0; i < n->count; i++)
		if (!strcmp(n->at[i], name))
			return true;
	return false;
}

/* All visible columns of a side but those in skip, into the join's item. */
static void take_columns(struct scope_item *item, const struct scope_items *side, const struct ast_names *skip)
{
	uint32_t i, c;

	for (i = 0; i < side->count; i++)
		for (c = 0; side->at[i].columns_visible && c < side->at[i].column_count; c++) {
			const struct scope_column *col = &side->at[i].columns[c];

			if (col->name && !is_using_column(skip, col->name))
				item->columns[item->column_count++] = *col;
		}
}

static void hide(struct scope_items *side, bool rels)
{
	uint32_t i;

	for (i = 0; i < side->count; i++) {
		side->at[i].columns_visible = false;
		if (rels)
			side->at[i].rel_visible = false;
	}
}

static bool bind_using(struct scope *s, const struct ast_from *f, const struct ast_names *names, struct scope_items *l,
		       struct scope_items *r, struct from_node *j, struct scope_item *item)
{
	struct bind *b = s->b;
	struct expr *on = bind_node(b, EX_AND, names->count, T_BOOL, 0);
	uint32_t i, k;

	for (i = 0; i < names->count; i++) {
		const struct expr *lc, *rc;

		for (k = 0; k < i; k++)
			if (!strcmp(names->at[k], names->at[i])) {
				bind_fail(b, ST_DUPLICATE_COLUMN, 0, "column name \"%s\" appears more than once in USING clause",
					  names->at[i]);
				return false;
			}
		if (!using_side(b, l, names->at[i], "left", &lc) || !using_side(b, r, names->at[i], "right", &rc))
			return false;
		on->args[i] = bind_operator(b, "=", expr_copy_up(b, lc, 0), expr_copy_up(b, rc, 0), 0);
		item->columns[i].name = names->at[i];
		item->columns[i].expr = on->args[i] ? merged_column(b, (enum ast_join)f->join, lc, rc) : NULL;
		if (!item->columns[i].expr)
			return false;
	}
	item->column_count = names->count;
	j->on = names->count == 1 ? on->args[0] : names->count ? on : NULL;
	return true;
}

/* ON sees the two sides only, and nothing to its left. */
static bool bind_on(struct scope *s, const struct ast_from *f, const struct scope_items *l, const struct scope_items *r,
		    struct from_node *j)
{
	struct scope_items before = s->items, mine = {0};

	append_items(s, &mine, l, false, true);
	append_items(s, &mine, r, false, true);
	s->items = mine;
	j->on = bind_bool_expr(s, f->on, AT_ON, "JOIN/ON");
	s->items = before;
	return j->on != NULL;
}

static bool join_item(struct scope *s, const struct ast_from *f, const struct ast_names *using, struct scope_items *l,
		      struct scope_items *r, struct scope_item *item, struct scope_items *out)
{
	uint32_t i;

	take_columns(item, l, using);
	take_columns(item, r, using);
	if (f->alias.columns.count > item->column_count) {
		bind_fail(s->b, ST_BAD_COLUMN_REFERENCE, 0, "join expression \"%s\" has %u columns available but %u columns "
			  "specified", f->alias.name, item->column_count, f->alias.columns.count);
		return false;
	}
	for (i = 0; i < f->alias.columns.count; i++)
		item->columns[i].name = f->alias.columns.at[i];
	hide(l, f->alias.name != NULL);
	hide(r, f->alias.name != NULL);
	item->alias = f->alias.name;
	item->rel = NO_REL;
	item->rel_visible = f->alias.name != NULL;
	item->columns_visible = item->lateral_ok = true;
	append_items(s, out, l, false, true);
	append_items(s, out, r, false, true);
	scope_add_item(s, out, item);
	return true;
}

static uint32_t count_columns(const struct scope_items *side)
{
	uint32_t i, n = 0;

	for (i = 0; i < side->count; i++)
		n += side->at[i].column_count;
	return n;
}

static struct from_node *from_join(struct scope *s, const struct ast_from *f, struct scope_items *out)
{
	static const uint8_t kinds[] = {
		[AJ_INNER] = JOIN_INNER, [AJ_LEFT] = JOIN_LEFT, [AJ_RIGHT] = JOIN_RIGHT, [AJ_FULL] = JOIN_FULL,
	};
	struct from_node *j = ARENA_NEW(s->b->arena, struct from_node);
	struct scope_items l = {0}, r = {0};
	struct scope_item item = {0};
	struct ast_names using = f->using_columns;
	uint32_t before = s->items.count;

	if (f->using_alias)
		return bind_unsupported(s->b, 0, "an alias for USING");
	j->is_join = true;
	j->join = kinds[f->join];
	j->left = bind_from_item(s, f->left, &l);
	if (!j->left)
		return NULL;
	append_items(s, &s->items, &l, true, f->join == AJ_INNER || f->join == AJ_LEFT);
	j->right = bind_from_item(s, f->right, &r);
	s->items.count = before;
	if (!j->right || !check_aliases(s->b, &l, &r))
		return NULL;
	if (f->natural)
		using = natural_columns(s->b, &l, &r);
	item.columns = ARENA_NEW_N(s->b->arena, struct scope_column, count_columns(&l) + count_columns(&r) + 1);
	if ((f->natural || using.count) && !bind_using(s, f, &using, &l, &r, j, &item))
		return NULL;
	if (f->on && !bind_on(s, f, &l, &r, j))
		return NULL;
	if (using.count || f->alias.name)
		return join_item(s, f, &using, &l, &r, &item, out) ? j : NULL;
	append_items(s, out, &l, false, true);
	append_items(s, out, &r, false, true);
	return j;
}

static struct from_node *bind_from_item(struct scope *s, const struct ast_from *f, struct scope_items *out)
{
	struct from_node *n = NULL;

	if (!bind_enter(s->b))
		return NULL;
	switch (f->kind) {
	case AF_REL: n = from_rel(s, f, out); break;
	case AF_SELECT: n = from_select(s, f, out); break;
	case AF_CALLS: n = from_calls(s, f, out); break;
	case AF_JOIN: n = from_join(s, f, out); break;
	default: n = bind_unsupported(s->b, f->pos, f->text);
	}
	bind_leave(s->b);
	return n;
}

/* Appends to what the scope has (the target of an UPDATE); several items are inner joins without a condition. */
bool bind_from(struct scope *s, struct ast_from *const *list, uint32_t count)
{
	uint32_t i, k;

	for (i = 0; i < count; i++) {
		struct scope_items out = {0};
		struct from_node *n = bind_from_item(s, list[i], &out), *j;

		if (!n || !check_aliases(s->b, &s->items, &out))
			return false;
		append_items(s, &s->items, &out, true, true);
		if (s->q->from) {
			j = ARENA_NEW(s->b->arena, struct from_node);
			j->is_join = true;
			j->join = JOIN_INNER;
			j->left = s->q->from;
			j->right = n;
			n = j;
		}
		s->q->from = n;
	}
	for (k = 0; k < s->items.count; k++) {
		s->items.at[k].lateral_only = false;
		s->items.at[k].lateral_ok = true;
	}
	return true;
}
