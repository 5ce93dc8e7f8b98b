/*
 * bind_select.c - SELECT and VALUES (engine/sql).
 *
 * Clauses are bound in PostgreSQL's order, so that of two mistakes the same one is reported: WITH, FROM, the list,
 * WHERE, HAVING, ORDER BY, GROUP BY, DISTINCT, OFFSET, LIMIT, locks; then the grouping is checked.
 */
#include "engine/sql/bind_int.h"

void scope_init(struct scope *s, struct bind *b, struct scope *parent, enum query_kind kind)
{
	*s = (struct scope){.b = b, .parent = parent};
	s->q = ARENA_NEW(b->arena, struct query);
	s->q->kind = (uint8_t)kind;
}

uint32_t scope_add_target(struct scope *s, struct expr *x, const char *name, bool junk)
{
	struct query *q = s->q;

	if (q->target_count == s->target_cap) {
		uint32_t cap = s->target_cap ? s->target_cap * 2 : 8;
		struct target *at = ARENA_NEW_N(s->b->arena, struct target, cap);

		if (q->target_count)
			memcpy(at, q->targets, q->target_count * sizeof *at);
		q->targets = at;
		s->target_cap = cap;
	}
	q->targets[q->target_count] = (struct target){.expr = x, .name = name, .junk = junk};
	return q->target_count++;
}

/* -- names of output columns ----------------------------------------------------------------------------- */

/* How good the name is: 2 the expression's own, 1 a type's, 0 none. */
static int figure(struct bind *b, const struct ast_expr *e, const char **name)
{
	static const char *const values[] = {
		[AST_CURRENT_DATE] = "current_date", [AST_CURRENT_TIME] = "current_time",
		[AST_CURRENT_TIMESTAMP] = "current_timestamp", [AST_LOCALTIME] = "localtime",
		[AST_LOCALTIMESTAMP] = "localtimestamp", [AST_CURRENT_USER] = "current_user",
		[AST_CURRENT_ROLE] = "current_role", [AST_USER] = "user",
		[AST_SESSION_USER] = "session_user", [AST_CURRENT_CATALOG] = "current_catalog",
		[AST_CURRENT_SCHEMA] = "current_schema",
	};
	int strength;

	if (!e)
		return 0;
	switch ((enum ast_expr_kind)e->kind) {
	case AX_COLUMN:
	case AX_CALL:
		*name = e->names.count ? e->names.at[e->names.count - 1] : "?column?";
		return 2;
	case AX_FIELD:
		if (!e->text)
			return figure(b, e->args[0], name);
		*name = e->text;
		return 2;
	case AX_SUBSCRIPT:
	case AX_COLLATE:
		return figure(b, e->args[0], name);
	case AX_NULLIF: *name = "nullif"; return 2;
	case AX_COALESCE: *name = "coalesce"; return 2;
	case AX_GREATEST: *name = "greatest"; return 2;
	case AX_LEAST: *name = "least"; return 2;
	case AX_ARRAY: *name = "array"; return 2;
	case AX_ROW: *name = "row"; return 2;
	case AX_SQL_VALUE: *name = values[e->op]; return 2;
	case AX_CAST:
		strength = figure(b, e->args[0], name);
		if (strength > 1 || !e->type->names.count)
			return strength;
		*name = e->type->names.at[e->type->names.count - 1];
		return 1;
	case AX_CASE:
		strength = figure(b, e->right, name);
		if (strength > 1)
			return strength;
		*name = "case";
		return 1;
	case AX_SUBLINK:
		if (e->op == AST_SUB_EXISTS) {
			*name = "exists";
			return 2;
		}
		if (e->op == AST_SUB_ARRAY) {
			*name = "array";
			return 2;
		}
		if (e->op == AST_SUB_SCALAR) {
			const struct ast_select *sub = e->select;

			while (sub->set_op)
				sub = sub->left;
			if (!sub->targets.count)
				return 0;
			/* what the subquery's column is called, "?column?" too */
			*name = sub->targets.at[0].name ? sub->targets.at[0].name :
							  figure_name(b, sub->targets.at[0].expr);
			return 2;
		}
		return 0;
	default:
		return 0;
	}
}

const char *figure_name(struct bind *b, const struct ast_expr *e)
{
	const char *name = "?column?";

	figure(b, e, &name);
	return name;
}

/* -- the list -------------------------------------------------------------------------------------------- */

static void set_origin(struct scope *s, uint32_t at)
{
	struct target *t = &s->q->targets[at];
	const struct range_rel *r;

	if (t->expr->kind != EX_COLUMN || t->expr->levels_up || !t->expr->attno)
		return;
	r = &s->q->rels[t->expr->rel];
	if (r->columns[t->expr->attno - 1].type.oid != t->expr->type.oid ||
	    r->columns[t->expr->attno - 1].type.typmod != t->expr->type.typmod)
		return; /* relabelled: a value of its own */
	if (r->source == SRC_TABLE) {
		t->table = r->table->id;
		t->attno = t->expr->attno;
	} else if ((r->source == SRC_SUBQUERY || r->source == SRC_CTE) && r->subquery && !r->subquery->set_op) {
		const struct target *of = NULL;

		for (uint32_t i = 0, n = 0; i < r->subquery->target_count && !of; i++)
			if (!r->subquery->targets[i].junk && ++n == t->expr->attno)
				of = &r->subquery->targets[i];
		if (of) {
			t->table = of->table;
			t->attno = of->attno;
		}
	}
}

static bool expand_item(struct scope *s, const struct scope_item *it, uint32_t levels, int pos)
{
	uint32_t c;

	for (c = 0; c < it->column_count; c++) {
		struct expr *ex;

		if (!it->columns[c].name)
			continue;
		ex = bind_item_column(s, it, c, levels, pos);
		if (!ex)
			return false;
		set_origin(s, scope_add_target(s, ex, it->columns[c].name, false));
	}
	return true;
}

static bool expand_star(struct scope *s, const struct ast_expr *e)
{
	const char *alias, *schema;
	const struct scope_item *it;
	uint32_t i, levels = 0;
	bool any = false;

	if (!e->names.count) {
		for (i = 0; i < s->items.count; i++) {
			any = true;
			if (s->items.at[i].columns_visible && !expand_item(s, &s->items.at[i], 0, e->pos))
				return false;
		}
		if (!any)
			bind_fail(s->b, ST_SYNTAX, e->pos, "SELECT * with no tables specified is not valid");
		return any;
	}
	alias = e->names.at[e->names.count - 1];
	schema = e->names.count > 1 ? e->names.at[e->names.count - 2] : NULL;
	it = scope_find_item(s, schema, alias, &levels, e->pos);
	return it && expand_item(s, it, levels, e->pos);
}

bool bind_targets(struct scope *s, const struct ast_targets *list, enum bind_place place)
{
	uint32_t i;

	s->place = (uint8_t)place;
	for (i = 0; i < list->count; i++) {
		const struct ast_target *t = &list->at[i];
		struct expr *ex;

		if (t->expr->kind == AX_COLUMN && t->expr->star) {
			if (!expand_star(s, t->expr))
				return false;
			continue;
		}
		ex = bind_expr(s, t->expr);
		if (!ex)
			return false;
		set_origin(s, scope_add_target(s, ex, t->name ? t->name : figure_name(s->b, t->expr), false));
	}
	return true;
}

/* What is still untyped in the list is text, except where an INSERT or a set operation will say. */
static bool settle_targets(struct scope *s)
{
	uint32_t i;

	if (s->keep_unknown)
		return true;
	for (i = 0; i < s->q->target_count; i++)
		if (!bind_settle(s->b, &s->q->targets[i].expr))
			return false;
	return true;
}

/* -- LIMIT, locks, WITH ------------------------------------------------------------------------------------ */

static struct expr *bind_count(struct scope *s, const struct ast_expr *e, enum bind_place place)
{
	struct expr *ex = bind_expr_place(s, e, place);

	return ex ? bind_to_type(s->b, ex, T_INT8, place_name(place)) : NULL;
}

bool bind_limits(struct scope *s, const struct ast_select *a)
{
	if (a->with_ties) {
		bind_unsupported(s->b, a->limit ? a->limit->pos : 0, "WITH TIES");
		return false;
	}
	if (a->offset && a->offset->kind != AX_NULL && !(s->q->offset = bind_count(s, a->offset, AT_OFFSET)))
		return false;
	if (a->limit && a->limit->kind != AX_NULL && !(s->q->limit = bind_count(s, a->limit, AT_LIMIT)))
		return false;
	return true;
}

static const char *lock_words(uint8_t strength)
{
	static const char *const words[] = {"", "FOR KEY SHARE", "FOR SHARE", "FOR NO KEY UPDATE", "FOR UPDATE"};

	return words[strength];
}

static void lock_rel(struct query *q, uint32_t rel, uint8_t strength)
{
	if (q->rels[rel].source == SRC_TABLE && q->rels[rel].lock < strength)
		q->rels[rel].lock = strength;
}

static bool lock_named(struct scope *s, const struct ast_lock *l)
{
	uint32_t i, k;

	for (i = 0; i < l->rel_count; i++) {
		const struct ast_rel *want = l->rels[i];
		struct range_rel *r = NULL;

		for (k = 0; k < s->q->rel_count && !r; k++)
			if (!strcmp(s->q->rels[k].alias, want->name))
				r = &s->q->rels[k];
		if (!r) {
			bind_fail(s->b, ST_UNDEFINED_TABLE, want->pos, "relation \"%s\" in %s clause not found in FROM clause",
				  want->name, lock_words(l->strength));
			return false;
		}
		if (r->source != SRC_TABLE && r->source != SRC_VIRTUAL) {
			bind_fail(s->b, ST_UNSUPPORTED, want->pos, "%s cannot be applied to a %s", lock_words(l->strength),
				  r->source == SRC_FUNCTION ? "function" : r->source == SRC_CTE ? "WITH query" : "subquery");
			return false;
		}
		lock_rel(s->q, (uint32_t)(r - s->q->rels), l->strength);
	}
	return true;
}

static bool bind_locks(struct scope *s, const struct ast_select *a)
{
	struct query *q = s->q;
	uint32_t i, k;

	for (i = 0; i < a->lock_count; i++) {
		const struct ast_lock *l = &a->locks[i];
		const char *with = q->set_op ? "UNION/INTERSECT/EXCEPT" : a->distinct ? "DISTINCT clause"
				   : q->group_count ? "GROUP BY clause" : q->having ? "HAVING clause"
				   : q->agg_count ? "aggregate functions" : s->srf_rel
				   ? "set-returning functions in the target list" : a->row_count ? "VALUES" : NULL;

		if (with) {
			bind_fail(s->b, ST_UNSUPPORTED, 0, "%s is not allowed with %s", lock_words(l->strength), with);
			return false;
		}
		for (k = 0; !l->rel_count && k < q->rel_count; k++)
			lock_rel(q, k, l->strength);
		if (!lock_named(s, l))
			return false;
		if (q->lock < l->strength)
			q->lock = l->strength;
		q->lock_nowait |= l->nowait;
		q->lock_skip |= l->skip;
	}
	return true;
}

static const char *const *cte_names(struct bind *b, const struct ast_cte *c, const struct query *q)
{
	uint32_t n, i;
	const struct rel_column *columns = bind_query_columns(b, q, &n);
	const char **names = ARENA_NEW_N(b->arena, const char *, n + 1);

	for (i = 0; i < n; i++)
		names[i] = i < c->columns.count ? c->columns.at[i] : columns[i].name;
	if (c->columns.count > n)
		return bind_fail(b, ST_BAD_COLUMN_REFERENCE, c->pos,
				 "WITH query \"%s\" has %u columns available but %u columns specified", c->name, n,
				 c->columns.count);
	return names;
}

static bool bind_cte(struct scope *s, const struct ast_cte *c, const struct ast_with *w, uint32_t at)
{
	struct bind *b = s->b;
	struct scope_cte *o;
	uint32_t i;

	for (i = 0; i < at; i++)
		if (!strcmp(w->at[i].name, c->name)) {
			bind_fail(b, ST_DUPLICATE_ALIAS, c->pos, "WITH query name \"%s\" specified more than once", c->name);
			return false;
		}
	if (c->query->type != RAW_SELECT) {
		bind_unsupported(b, c->pos, "a data-modifying statement in WITH");
		return false;
	}
	o = ARENA_NEW(b->arena, struct scope_cte);
	o->name = c->name;
	o->query = bind_select(b, s, c->query->select, false, false);
	if (!o->query || !(o->names = cte_names(b, c, o->query)))
		return false;
	o->correlated = query_is_correlated(o->query);
	o->next = s->ctes;
	s->ctes = o;
	s->q->ctes[s->q->cte_count++] = (struct cte){.name = c->name, .query = o->query};
	return true;
}

bool bind_with(struct scope *s, const struct ast_with *w)
{
	uint32_t i;

	if (!w)
		return true;
	if (w->recursive) {
		bind_unsupported(s->b, w->pos, "WITH RECURSIVE");
		return false;
	}
	s->q->ctes = ARENA_NEW_N(s->b->arena, struct cte, w->count + 1);
	for (i = 0; i < w->count; i++)
		if (!bind_cte(s, &w->at[i], w, i))
			return false;
	return true;
}

/* -- SELECT ------------------------------------------------------------------------------------------------ */

static bool bind_leaf(struct scope *s, const struct ast_select *a)
{
	struct bind *b = s->b;

	if (a->windows)
		return bind_unsupported(b, a->pos, "WINDOW");
	if (a->into)
		return bind_fail(b, ST_SYNTAX, a->into->rel->pos, "SELECT ... INTO is not allowed here");
	if (!bind_from(s, a->from, a->from_count) || !bind_targets(s, &a->targets, AT_TARGETS))
		return false;
	if (a->where && !(s->q->where = bind_bool_expr(s, a->where, AT_WHERE, "WHERE")))
		return false;
	if (a->having && !(s->q->having = bind_bool_expr(s, a->having, AT_HAVING, "HAVING")))
		return false;
	if (!bind_sort_clause(s, a) || !bind_group_by(s, a) || !bind_distinct(s, a))
		return false;
	return settle_targets(s);
}

bool scope_finish(struct scope *s)
{
	struct query *q = s->q;

	q->has_aggs = q->agg_count || q->group_count || q->having;
	return bind_check_grouping(s);
}

struct query *bind_select(struct bind *b, struct scope *parent, const struct ast_select *a, bool lateral, bool keep_unknown)
{
	struct scope s;
	bool ok = false;

	(void)lateral; /* what it may see is set in the parent: scope.lateral */
	if (!bind_enter(b))
		return NULL;
	scope_init(&s, b, parent, Q_SELECT);
	s.keep_unknown = keep_unknown;
	if (bind_with(&s, a->with)) {
		if (a->set_op)
			ok = bind_set_operation(&s, a) && bind_sort_clause(&s, a);
		else if (a->row_count)
			ok = bind_values(&s, a) && bind_sort_clause(&s, a);
		else
			ok = bind_leaf(&s, a);
	}
	ok = ok && bind_limits(&s, a) && bind_locks(&s, a) && scope_finish(&s);
	bind_leave(b);
	return ok ? s.q : NULL;
}
