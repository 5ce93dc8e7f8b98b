/*
 * bind_dml.c - INSERT, UPDATE, DELETE (engine/sql).
 *
 * An INSERT's source always gives every column of the table, coerced: what the statement does not name has its default
 * there. Checks and defaults are kept as text in the definition and bound anew in each statement.
 */
#include "engine/sql/bind_int.h"

/* -- expressions of a definition --------------------------------------------------------------------------- */

void expr_clear_positions(struct expr *ex)
{
	uint32_t i;

	ex->position = 0;
	for (i = 0; i < ex->arg_count; i++)
		expr_clear_positions(ex->args[i]);
}

struct expr *bind_sql_text(struct bind *b, const char *text, const struct table_def *t, uint32_t rel, enum bind_place place)
{
	struct raw_list list;
	const struct ast_select *a;
	struct scope s;
	struct range_rel r = {.source = SRC_TABLE};
	struct expr *ex;
	enum status st;
	uint32_t i;

	st = sql_parse(arena_printf(b->arena, "SELECT %s", text), b->arena, &list, b->cx->err);
	if (st != ST_OK)
		return bind_fail_at(b, st, 0);
	a = list.count == 1 && list.at[0]->type == RAW_SELECT ? list.at[0]->select : NULL;
	if (!a || a->targets.count != 1 || a->from_count || a->where || a->set_op)
		return bind_fail(b, ST_SYNTAX, 0, "\"%s\" is not one expression", text);
	scope_init(&s, b, NULL, Q_SELECT);
	s.place = (uint8_t)place;
	for (i = 0; t && i < rel; i++) {
		r.alias = "";
		scope_add_rel(&s, &r); /* so that the table gets its number in the query that this is for */
	}
	if (t && !scope_add_table(&s, t, NULL, t->schema))
		return NULL;
	ex = bind_expr(&s, a->targets.at[0].expr);
	if (ex)
		expr_clear_positions(ex);
	return ex;
}

struct expr *bind_column_default(struct bind *b, const struct table_def *t, const struct column_def *c)
{
	bool params = b->params_allowed;
	struct expr *ex;

	(void)t;
	if (!c->default_sql)
		return bind_const_null(b, (struct sql_type){c->type_oid, c->typmod}, 0);
	b->params_allowed = false;
	ex = bind_sql_text(b, c->default_sql, NULL, 0, AT_DEFAULT);
	b->params_allowed = params;
	return ex ? bind_assign(b, ex, c, 0) : NULL;
}

bool bind_checks(struct bind *b, struct query *q, const struct table_def *t)
{
	bool params = b->params_allowed;
	uint32_t i;

	q->checks = ARENA_NEW_N(b->arena, struct expr *, t->check_count + 1);
	q->check_names = ARENA_NEW_N(b->arena, const char *, t->check_count + 1);
	b->params_allowed = false;
	for (i = 0; i < t->check_count; i++) {
		struct expr *ex = bind_sql_text(b, t->checks[i].expr_sql, t, q->target_rel, AT_CHECK);

		if (!ex || !(ex = bind_to_bool(b, ex, "CHECK")))
			return false;
		q->checks[q->check_count] = ex;
		q->check_names[q->check_count++] = t->checks[i].name;
	}
	b->params_allowed = params;
	return true;
}

/* -- the table and its columns -------------------------------------------------------------------------------- */

static const struct column_def *named_column(struct bind *b, const struct table_def *t, const struct ast_target *at)
{
	const struct column_def *c = table_column(t, at->name);

	if (!c)
		return bind_fail(b, ST_UNDEFINED_COLUMN, at->pos, "column \"%s\" of relation \"%s\" does not exist", at->name,
				 t->name);
	if (at->indirection)
		return bind_unsupported(b, at->pos, "assigning to a part of a column");
	return c;
}

static bool has_attno(const uint16_t *at, uint32_t n, uint16_t attno)
{
	while (n--)
		if (at[n] == attno)
			return true;
	return false;
}

/* The columns that the source's expressions are for. */
static bool insert_columns(struct bind *b, const struct table_def *t, const struct ast_dml *d, uint16_t *attnos,
			   uint32_t *count_out)
{
	uint32_t i, n = 0;

	for (i = 0; !d->columns.count && i < t->column_count; i++)
		if (!t->columns[i].dropped)
			attnos[n++] = t->columns[i].attno;
	for (i = 0; i < d->columns.count; i++) {
		const struct column_def *c = named_column(b, t, &d->columns.at[i]);

		if (!c)
			return false;
		if (has_attno(attnos, n, c->attno))
			return bind_fail(b, ST_DUPLICATE_COLUMN, d->columns.at[i].pos, "column \"%s\" specified more than once",
					 c->name);
		attnos[n++] = c->attno;
	}
	*count_out = n;
	return true;
}

/* -- INSERT: the source ---------------------------------------------------------------------------------------- */

struct insert {
	struct bind *b;
	const struct table_def *table;
	struct scope src;            /* the source query */
	uint16_t *attnos;            /* named or implied, in their order */
	uint32_t attno_count;
	struct expr **given;         /* by attno - 1; NULL: its default */
	bool *valued;                /* by attno - 1: given something else than DEFAULT */
};

static bool check_width(struct insert *in, const struct ast_dml *d, uint32_t have, int pos)
{
	if (have > in->attno_count)
		return bind_fail(in->b, ST_SYNTAX, pos, "INSERT has more expressions than target columns");
	if (have < in->attno_count && d->columns.count)
		return bind_fail(in->b, ST_SYNTAX, d->columns.at[have].pos, "INSERT has more target columns than expressions");
	return true;
}

static const struct column_def *target_column(const struct insert *in, uint32_t i)
{
	return &in->table->columns[in->attnos[i] - 1];
}

static struct expr *insert_value(struct insert *in, const struct ast_expr *e, const struct column_def *c)
{
	struct expr *ex;

	if (e->kind == AX_DEFAULT)
		return bind_column_default(in->b, in->table, c);
	in->valued[c->attno - 1] = true;
	ex = bind_expr_place(&in->src, e, AT_VALUES);
	return ex ? bind_assign(in->b, ex, c, e->pos) : NULL;
}

static bool insert_one_row(struct insert *in, const struct ast_exprs *row)
{
	uint32_t i;

	for (i = 0; i < row->count; i++)
		if (!(in->given[in->attnos[i] - 1] = insert_value(in, row->at[i], target_column(in, i))))
			return false;
	return true;
}

static struct expr *source_column(struct insert *in, uint32_t i, struct sql_type type)
{
	struct expr *ex = bind_node(in->b, EX_COLUMN, 0, type.oid, 0);

	ex->type.typmod = type.typmod;
	ex->attno = (uint16_t)(i + 1);
	return ex;
}

static bool insert_rows(struct insert *in, const struct ast_select *a)
{
	struct range_rel r = {.source = SRC_VALUES, .alias = "*VALUES*", .row_count = a->row_count};
	uint32_t i, k, n = a->rows[0].count;

	r.column_count = n;
	r.columns = ARENA_NEW_N(in->b->arena, struct rel_column, n + 1);
	r.rows = ARENA_NEW_N(in->b->arena, struct expr **, a->row_count);
	for (i = 0; i < a->row_count; i++) {
		if (a->rows[i].count != n)
			return bind_fail(in->b, ST_SYNTAX, a->rows[i].count ? a->rows[i].at[0]->pos : 0,
					 "VALUES lists must all be the same length");
		r.rows[i] = ARENA_NEW_N(in->b->arena, struct expr *, n + 1);
		for (k = 0; k < n; k++)
			if (!(r.rows[i][k] = insert_value(in, a->rows[i].at[k], target_column(in, k))))
				return false;
	}
	for (k = 0; k < n; k++) {
		const struct column_def *c = target_column(in, k);

		r.columns[k].name = arena_printf(in->b->arena, "column%u", k + 1);
		r.columns[k].type = (struct sql_type){c->type_oid, c->typmod};
		in->given[c->attno - 1] = source_column(in, k, r.columns[k].type);
	}
	scope_add_rel(&in->src, &r);
	in->src.q->from = ARENA_NEW(in->b->arena, struct from_node);
	return true;
}

static bool insert_select(struct insert *in, const struct ast_dml *d)
{
	struct query *q = bind_select(in->b, &in->src, d->source, false, true);
	struct range_rel r = {.source = SRC_SUBQUERY, .alias = "*SELECT*", .subquery = q};
	uint32_t i, n = 0;

	if (!q)
		return false;
	for (i = 0; i < q->target_count; i++) {
		struct target *t = &q->targets[i];

		if (t->junk)
			continue;
		if (n >= in->attno_count)
			return check_width(in, d, n + 1, t->expr->position);
		if (t->expr->type.oid == T_UNKNOWN &&
		    !(t->expr = bind_assign(in->b, t->expr, target_column(in, n), t->expr->position)))
			return false;
		n++;
	}
	if (!check_width(in, d, n, 0))
		return false;
	r.columns = (struct rel_column *)(uintptr_t)bind_query_columns(in->b, q, &r.column_count);
	for (i = n = 0; i < q->target_count; i++) {
		const struct target *t = &q->targets[i];
		const struct column_def *c;

		if (t->junk)
			continue;
		c = target_column(in, n);
		in->valued[c->attno - 1] = true;
		in->given[c->attno - 1] = bind_assign(in->b, source_column(in, n, t->expr->type), c, t->expr->position);
		if (!in->given[c->attno - 1])
			return false;
		n++;
	}
	scope_add_rel(&in->src, &r);
	in->src.q->from = ARENA_NEW(in->b->arena, struct from_node);
	return true;
}

static bool plain_values(const struct ast_select *a)
{
	return a->row_count && !a->sorts.count && !a->limit && !a->offset && !a->with && !a->lock_count;
}

static bool insert_source(struct insert *in, const struct ast_dml *d)
{
	const struct ast_select *a = d->source;
	uint32_t i, longest = 0;

	if (!a) /* DEFAULT VALUES */
		return true;
	if (!plain_values(a))
		return insert_select(in, d);
	for (i = 0; i < a->row_count; i++)
		if (a->rows[i].count > a->rows[longest].count)
			longest = i;
	if (a->row_count == 1 || a->rows[longest].count == a->rows[0].count) {
		uint32_t n = a->rows[0].count;

		if (!check_width(in, d, n, n > in->attno_count ? a->rows[0].at[in->attno_count]->pos : 0))
			return false;
	}
	return a->row_count == 1 ? insert_one_row(in, &a->rows[0]) : insert_rows(in, a);
}

static bool always_error(struct bind *b, const struct column_def *c, bool update)
{
	if (update)
		bind_fail(b, ST_GENERATED_ALWAYS, 0, "column \"%s\" can only be updated to DEFAULT", c->name);
	else
		bind_fail(b, ST_GENERATED_ALWAYS, 0, "cannot insert a non-DEFAULT value into column \"%s\"", c->name);
	bind_detail(b, "Column \"%s\" is an identity column defined as GENERATED ALWAYS.", c->name);
	return false;
}

/* What identity columns were given: dropped by OVERRIDING USER VALUE, refused by ALWAYS without OVERRIDING SYSTEM VALUE. */
static bool insert_identity(struct insert *in, const struct ast_dml *d)
{
	for (uint32_t i = 0; i < in->table->column_count; i++) {
		const struct column_def *c = &in->table->columns[i];

		if (c->dropped || !c->identity || !in->valued[i])
			continue;
		if (d->overriding == 1) {
			in->given[i] = NULL;
		} else if (c->identity == IDENTITY_ALWAYS && d->overriding != 2) {
			always_error(in->b, c, false);
			bind_hint(in->b, "Use OVERRIDING SYSTEM VALUE to override.");
			return false;
		}
	}
	return true;
}

/* Every live column, given or default, as the source's list. */
static bool complete_source(struct insert *in, struct query *q)
{
	const struct table_def *t = in->table;
	uint32_t i;

	q->insert_attnos = ARENA_NEW_N(in->b->arena, uint16_t, t->column_count + 1);
	for (i = 0; i < t->column_count; i++) {
		const struct column_def *c = &t->columns[i];
		struct expr *ex = in->given[i];

		if (c->dropped)
			continue;
		if (!ex && !(ex = bind_column_default(in->b, t, c)))
			return false;
		scope_add_target(&in->src, ex, c->name, false);
		q->insert_attnos[q->insert_count++] = c->attno;
	}
	return scope_finish(&in->src);
}

static bool bind_insert_source(struct scope *s, const struct ast_dml *d)
{
	struct insert in = {.b = s->b, .table = s->q->table};

	scope_init(&in.src, s->b, s, Q_SELECT);
	in.attnos = ARENA_NEW_N(s->b->arena, uint16_t, in.table->column_count + d->columns.count + 1);
	in.given = ARENA_NEW_N(s->b->arena, struct expr *, in.table->column_count + 1);
	in.valued = ARENA_NEW_N(s->b->arena, bool, in.table->column_count + 1);
	if (!insert_columns(s->b, in.table, d, in.attnos, &in.attno_count) || !insert_source(&in, d) ||
	    !insert_identity(&in, d) || !complete_source(&in, s->q))
		return false;
	s->q->source = in.src.q;
	return true;
}

/* -- SET ------------------------------------------------------------------------------------------------------- */

/* (a, b) = ROW(1, 2) by its parts; (a, b) = (SELECT …) as one scalar subquery for each column. */
static struct expr *bind_multi(struct scope *s, const struct ast_expr *m, const struct column_def *c)
{
	const struct ast_expr *source = m->args[0];
	struct bind *b = s->b;
	struct query *q;
	struct expr *ex;
	uint32_t i, n = 0;

	if (source->kind == AX_ROW) {
		if (source->count != m->op)
			return bind_fail(b, ST_SYNTAX, source->pos, "number of columns does not match number of values");
		if (source->args[m->number - 1]->kind == AX_DEFAULT)
			return bind_column_default(b, s->q->table, c);
		ex = bind_expr_place(s, source->args[m->number - 1], AT_UPDATE_SET);
		return ex ? bind_assign(b, ex, c, source->args[m->number - 1]->pos) : NULL;
	}
	if (source->kind != AX_SUBLINK || source->op != AST_SUB_SCALAR)
		return bind_fail(b, ST_UNSUPPORTED, source->pos, "source for a multiple-column UPDATE item must be a sub-SELECT "
				 "or ROW() expression");
	if (!(q = bind_select(b, s, source->select, false, false)))
		return NULL;
	for (i = 0; i < q->target_count; i++)
		n += !q->targets[i].junk;
	if (n != m->op)
		return bind_fail(b, ST_SYNTAX, source->pos, "number of columns does not match number of values");
	q = bind_pick_column(b, q, (uint32_t)m->number - 1);
	ex = bind_node(b, EX_SUBQUERY, 0, T_NONE, source->pos);
	ex->type = q->targets[0].expr->type;
	ex->sub_kind = SUB_SCALAR;
	ex->sub = q;
	return bind_assign(b, ex, c, source->pos);
}

static bool bind_set_list(struct scope *s, const struct ast_targets *list)
{
	struct query *q = s->q;
	struct bind *b = s->b;
	uint32_t i;

	q->set_attnos = ARENA_NEW_N(b->arena, uint16_t, list->count + 1);
	q->set_exprs = ARENA_NEW_N(b->arena, struct expr *, list->count + 1);
	for (i = 0; i < list->count; i++) {
		const struct ast_target *at = &list->at[i];
		const struct column_def *c = named_column(b, q->table, at);
		struct expr *ex;

		if (!c)
			return false;
		if (has_attno(q->set_attnos, q->set_count, c->attno))
			return bind_fail(b, ST_SYNTAX, 0, "multiple assignments to same column \"%s\"", c->name);
		if (c->identity == IDENTITY_ALWAYS && at->expr->kind != AX_DEFAULT)
			return always_error(b, c, true);
		if (at->expr->kind == AX_DEFAULT) {
			ex = bind_column_default(b, q->table, c);
		} else if (at->expr->kind == AX_MULTI) {
			ex = bind_multi(s, at->expr, c);
		} else {
			ex = bind_expr_place(s, at->expr, AT_UPDATE_SET);
			ex = ex ? bind_assign(b, ex, c, at->expr->pos ? at->expr->pos : at->pos) : NULL;
		}
		if (!ex)
			return false;
		q->set_attnos[q->set_count] = c->attno;
		q->set_exprs[q->set_count++] = ex;
	}
	return true;
}

/* -- ON CONFLICT ------------------------------------------------------------------------------------------------ */

static const struct index_def *index_of_columns(const struct table_def *t, const uint16_t *attnos, uint32_t n)
{
	uint32_t i, k;

	for (i = 0; i < t->index_count; i++) {
		const struct index_def *ix = &t->indexes[i];

		if (!ix->unique || ix->column_count != n)
			continue;
		for (k = 0; k < n && has_attno(attnos, n, ix->attnos[k]); k++)
			;
		if (k == n)
			return ix;
	}
	return NULL;
}

static bool infer_index(struct scope *s, const struct ast_infer *f)
{
	struct bind *b = s->b;
	const struct table_def *t = s->q->table;
	uint16_t *attnos;
	uint32_t i, n = 0;

	if (f->constraint) {
		for (i = 0; i < t->index_count; i++)
			if (t->indexes[i].constraint && !strcmp(t->indexes[i].name, f->constraint)) {
				s->q->conflict_index = &t->indexes[i];
				return true;
			}
		return bind_fail(b, ST_UNDEFINED_OBJECT, 0, "constraint \"%s\" for table \"%s\" does not exist",
				 f->constraint, t->name);
	}
	if (f->predicate || f->other)
		return bind_unsupported(b, f->pos, "ON CONFLICT with a WHERE, COLLATE or operator class");
	attnos = ARENA_NEW_N(b->arena, uint16_t, f->columns.count + 1);
	for (i = 0; i < f->columns.count; i++) {
		const struct ast_expr *e = f->columns.at[i];
		const struct column_def *c;

		if (e->kind != AX_COLUMN || e->names.count != 1)
			return bind_unsupported(b, f->pos, "ON CONFLICT with an expression");
		c = table_column(t, e->names.at[0]);
		if (!c)
			return bind_fail(b, ST_UNDEFINED_COLUMN, e->pos, "column \"%s\" does not exist", e->names.at[0]);
		if (!has_attno(attnos, n, c->attno))
			attnos[n++] = c->attno;
	}
	s->q->conflict_index = index_of_columns(t, attnos, n);
	if (s->q->conflict_index)
		return true;
	return bind_fail(b, ST_BAD_COLUMN_REFERENCE, 0,
			 "there is no unique or exclusion constraint matching the ON CONFLICT specification");
}

static bool bind_conflict(struct scope *s, const struct ast_conflict *c)
{
	struct query *q = s->q;
	bool ok;

	q->conflict = c->update ? CONFLICT_UPDATE : CONFLICT_NOTHING;
	if (c->update && !c->infer) {
		bind_fail(s->b, ST_SYNTAX, c->pos, "ON CONFLICT DO UPDATE requires inference specification or constraint name");
		bind_hint(s->b, "For example, ON CONFLICT (column_name).");
		return false;
	}
	if (c->infer && !infer_index(s, c->infer))
		return false;
	if (!c->update)
		return true;
	if (!scope_add_table(s, q->table, "excluded", NULL))
		return false;
	q->excluded_rel = q->rel_count - 1;
	ok = bind_set_list(s, &c->set) &&
	     (!c->where || (q->conflict_where = bind_bool_expr(s, c->where, AT_WHERE, "WHERE")));
	/* RETURNING does not see it */
	s->items.at[s->items.count - 1].rel_visible = s->items.at[s->items.count - 1].columns_visible = false;
	return ok;
}

/* -- the statements ---------------------------------------------------------------------------------------------- */

static bool bind_returning(struct scope *s, const struct ast_targets *list)
{
	uint32_t i;

	if (!list->count)
		return true;
	if (!bind_targets(s, list, AT_RETURNING))
		return false;
	for (i = 0; i < s->q->target_count; i++)
		if (!bind_settle(s->b, &s->q->targets[i].expr))
			return false;
	return true;
}

static bool open_target(struct scope *s, const struct ast_dml *d, const char *verb)
{
	const struct table_def *t = bind_table(s->b, d->rel, verb);

	if (!t)
		return false;
	s->q->table = t;
	s->q->target_rel = 0;
	return true;
}

static bool add_target_rel(struct scope *s, const struct ast_dml *d)
{
	if (d->rel->alias.columns.count)
		return bind_unsupported(s->b, d->rel->pos, "a column alias list here");
	return scope_add_table(s, s->q->table, d->rel->alias.name, d->rel->alias.name ? NULL : s->q->table->schema);
}

static bool bind_insert(struct scope *s, const struct ast_dml *d)
{
	if (!open_target(s, d, "insert into") || !bind_insert_source(s, d) || !add_target_rel(s, d))
		return false;
	if (d->conflict && !bind_conflict(s, d->conflict))
		return false;
	return bind_returning(s, &d->returning);
}

/* UPDATE and DELETE: the table is the first item of FROM. */
static bool open_changed(struct scope *s, const struct ast_dml *d, const char *verb)
{
	if (!open_target(s, d, verb) || !add_target_rel(s, d))
		return false;
	s->q->from = ARENA_NEW(s->b->arena, struct from_node);
	s->items.at[0].lateral_only = true; /* not to be seen from FROM, not even laterally */
	s->items.at[0].lateral_ok = false;
	return bind_from(s, d->from, d->from_count);
}

static bool bind_where(struct scope *s, const struct ast_dml *d)
{
	return !d->where || (s->q->where = bind_bool_expr(s, d->where, AT_WHERE, "WHERE"));
}

struct query *bind_dml(struct bind *b, const struct raw_stmt *raw)
{
	const struct ast_dml *d = raw->dml;
	enum query_kind kind = raw->type == RAW_INSERT ? Q_INSERT : raw->type == RAW_UPDATE ? Q_UPDATE : Q_DELETE;
	struct scope s;
	bool ok;

	scope_init(&s, b, NULL, kind);
	if (!bind_with(&s, d->with))
		return NULL;
	switch (kind) {
	case Q_INSERT:
		ok = bind_insert(&s, d);
		break;
	case Q_UPDATE: /* PostgreSQL's order: RETURNING is bound before SET */
		ok = open_changed(&s, d, "update") && bind_where(&s, d) && bind_returning(&s, &d->returning) &&
		     bind_set_list(&s, &d->columns);
		break;
	default:
		ok = open_changed(&s, d, "delete from") && bind_where(&s, d) && bind_returning(&s, &d->returning);
	}
	if (ok && kind != Q_DELETE)
		ok = bind_checks(b, s.q, s.q->table);
	return ok && scope_finish(&s) ? s.q : NULL;
}

struct query *bind_query_stmt(struct bind *b, const struct raw_stmt *raw)
{
	if (raw->type == RAW_SELECT)
		return bind_select(b, NULL, raw->select, false, false);
	return bind_dml(b, raw);
}
