/*
 * ddl_alter.c - ALTER TABLE, INDEX and SEQUENCE.
 *
 * The new definition is made from all actions and put once. Then, in one pass over the rows each: columns whose default is
 * no constant are filled, what has to hold is checked, indexes are built.
 */
#include "engine/sql/ddl_int.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

enum { ALTER_START, ALTER_ACTIONS, ALTER_PUT, ALTER_SEQUENCES, ALTER_FILL, ALTER_CHECK, ALTER_BUILD, ALTER_END };

static enum status bind_text(struct ddl *d, const char *text, const struct table_def *t, struct sql_type want,
			     struct expr **out, struct error *err)
{
	struct bind_context cx = {.access = d->access, .arena = d->arena,
				  .search_path = (const char *const *)d->session->search_path,
				  .search_path_count = d->session->search_path_count, .err = err};

	return sql_bind_expr(&cx, text, t, want, out);
}

static void column_is(void *ctx, const struct expr *col, uint32_t level)
{
	uint32_t *want = ctx;

	(void)level;
	if (col->attno == *want)
		*want |= UINT32_C(1) << 31;
}

/* Does a check speak of a column? */
static enum status check_mentions(struct ddl *d, const struct check_def *c, uint16_t attno, bool *out, struct error *err)
{
	struct expr *ex;
	uint32_t want = attno;
	enum status st = bind_text(d, c->expr_sql, d->table, (struct sql_type){T_BOOL, -1}, &ex, err);

	if (st)
		return st;
	expr_columns(ex, 0, column_is, &want);
	*out = want >> 31;
	return ST_OK;
}

/* -- actions ---------------------------------------------------------------------------------------------------- */

static void forbid_nulls(struct ddl *d, uint16_t attno)
{
	d->table->columns[attno - 1].not_null = true;
	d->nulls_forbidden[attno / 64] |= UINT64_C(1) << (attno % 64);
}

static enum status add_column(struct ddl *d, const struct alter_action *a)
{
	struct table_def *t = d->table;
	struct column_def *all = ARENA_NEW_N(d->arena, struct column_def, t->column_count + 1u);

	if (t->column_count + 1 != a->column.attno)
		return ST_AGAIN;
	memcpy(all, t->columns, t->column_count * sizeof *all);
	all[t->column_count] = a->column;
	t->columns = all;
	t->column_count++;
	if (a->column.default_sql && !a->column.has_missing) {
		struct default_value *fills = ARENA_NEW_N(d->arena, struct default_value, d->fill_count + 1);

		if (d->fill_count)
			memcpy(fills, d->fills, d->fill_count * sizeof *fills);
		fills[d->fill_count++].attno = a->column.attno;
		d->fills = fills;
	}
	if (a->column.not_null && !a->column.has_missing)
		forbid_nulls(d, a->column.attno);
	return ST_OK;
}

static enum status drop_column(struct ddl *d, const struct alter_action *a, struct error *err)
{
	struct table_def *t = d->table;
	struct column_def *c = &t->columns[a->attno - 1];

	for (uint16_t i = 0; i < t->index_count; i++)
		for (uint16_t k = 0; k < t->indexes[i].column_count; k++)
			if (t->indexes[i].attnos[k] == a->attno) {
				ddl_remove_index(t, i--);
				break;
			}
	for (uint16_t i = 0; i < t->check_count; i++) {
		bool mentions;
		enum status st = check_mentions(d, &t->checks[i], a->attno, &mentions, err);

		if (st)
			return st;
		if (!mentions)
			continue;
		memmove(&t->checks[i], &t->checks[i + 1], (t->check_count - i - 1u) * sizeof *t->checks);
		t->check_count--;
		i--;
	}
	c->dropped = true;
	c->not_null = false;
	c->default_sql = NULL;
	c->name = arena_printf(d->arena, "........pg.dropped.%u........", a->attno);
	return ST_OK;
}

static void drop_constraint(struct ddl *d, const struct alter_action *a)
{
	struct table_def *t = d->table;

	for (uint16_t i = 0; i < t->index_count; i++)
		if (t->indexes[i].constraint && !strcmp(t->indexes[i].name, a->name)) {
			ddl_remove_index(t, i);
			return;
		}
	for (uint16_t i = 0; i < t->check_count; i++)
		if (!strcmp(t->checks[i].name, a->name)) {
			memmove(&t->checks[i], &t->checks[i + 1], (t->check_count - i - 1u) * sizeof *t->checks);
			t->check_count--;
			return;
		}
}

static enum status rename_column(struct ddl *d, const struct alter_action *a, struct error *err)
{
	struct table_def *t = d->table;

	/* checks are kept as text: one that speaks of the column would have to be rewritten */
	for (uint16_t i = 0; i < t->check_count; i++) {
		bool mentions;
		enum status st = check_mentions(d, &t->checks[i], a->attno, &mentions, err);

		if (st)
			return st;
		if (mentions) {
			(void)error_set(err, ST_UNSUPPORTED, "cannot rename column \"%s\": check constraint \"%s\" uses it",
					t->columns[a->attno - 1].name, t->checks[i].name);
			error_hint(err, "Drop the constraint first, and add it again with the new name.");
			return ST_UNSUPPORTED;
		}
	}
	t->columns[a->attno - 1].name = a->new_name;
	return ST_OK;
}

static void add_check(struct ddl *d, const struct alter_action *a)
{
	struct table_def *t = d->table;
	struct check_def *all = ARENA_NEW_N(d->arena, struct check_def, t->check_count + 1u);

	if (t->check_count)
		memcpy(all, t->checks, t->check_count * sizeof *all);
	all[t->check_count++] = (struct check_def){a->name, a->expr_sql};
	t->checks = all;
	d->check_names = d->check_names ? d->check_names : ARENA_NEW_N(d->arena, const char *, d->stmt->alter.action_count);
	d->check_names[d->check_count++] = a->name;
}

static enum status one_action(struct ddl *d, const struct alter_action *a, struct error *err)
{
	struct table_def *t = d->table;

	switch ((enum alter_kind)a->kind) {
	case ALTER_ADD_COLUMN:
		return add_column(d, a);
	case ALTER_DROP_COLUMN:
		return drop_column(d, a, err);
	case ALTER_ADD_INDEX:
		if (t->index_count >= 64)
			return error_set(err, ST_PROGRAM_LIMIT, "a table can have at most 64 indexes");
		(void)ddl_add_index(d, t, &a->index);
		for (uint16_t i = 0; a->index.primary && i < a->index.column_count; i++)
			forbid_nulls(d, a->index.attnos[i]);
		return ST_OK;
	case ALTER_DROP_CONSTRAINT:
		drop_constraint(d, a);
		return ST_OK;
	case ALTER_SET_DEFAULT:
		t->columns[a->attno - 1].default_sql = a->expr_sql;
		return ST_OK;
	case ALTER_DROP_DEFAULT:
		t->columns[a->attno - 1].default_sql = NULL;
		return ST_OK;
	case ALTER_SET_NOT_NULL:
		forbid_nulls(d, a->attno);
		return ST_OK;
	case ALTER_DROP_NOT_NULL:
		t->columns[a->attno - 1].not_null = false;
		return ST_OK;
	case ALTER_RENAME:
		t->name = a->new_name;
		return ST_OK;
	case ALTER_RENAME_COLUMN:
		return rename_column(d, a, err);
	case ALTER_OWNER:
		return ST_OK;
	case ALTER_ADD_CHECK:
		add_check(d, a);
		return ST_OK;
	}
	UNREACHABLE();
}

/* -- passes over the rows ---------------------------------------------------------------------------------------------- */

static enum status new_sequences(struct ddl *d, struct error *err)
{
	for (; d->action < d->stmt->alter.action_count; d->action++) {
		const struct alter_action *a = &d->stmt->alter.actions[d->action];
		struct sequence_def seq;
		enum status st;

		if (a->kind == ALTER_DROP_COLUMN) {
			st = ddl_drop_owned(d, d->table->id, a->attno, err);
			if (st)
				return st;
		}
		if (a->kind != ALTER_ADD_COLUMN || !a->seq)
			continue;
		seq = *a->seq;
		if (!d->new_id)
			d->new_id = access_new_rel_id(d->access);
		seq.id = d->new_id;
		seq.owned_by_table = d->table->id;
		seq.owned_by_attno = a->attno;
		st = access_put_sequence(d->access, &seq, err);
		if (st)
			return st;
		d->new_id = 0;
	}
	return ST_OK;
}

/* ADD COLUMN … DEFAULT with what differs from row to row: an UPDATE of all rows. */
static enum status fill(struct ddl *d, struct budget *work, struct error *err)
{
	const struct table_def *t = d->table;
	enum status st;

	if (!d->dml_open) {
		d->fill_attnos = ARENA_NEW_N(d->arena, uint16_t, d->fill_count);
		for (uint32_t i = 0; i < d->fill_count; i++) {
			const struct column_def *c = &t->columns[d->fills[i].attno - 1];
			struct expr *ex;

			st = bind_text(d, c->default_sql, NULL, (struct sql_type){c->type_oid, c->typmod}, &ex, err);
			if (st)
				return st;
			default_prepare(&d->fills[i], c->attno, ex, d->arena);
			d->fill_attnos[i] = c->attno;
		}
		d->modify.kind = Q_UPDATE;
		d->modify.table = t;
		d->modify.set_count = d->fill_count;
		d->modify.set_attnos = d->fill_attnos;
		dml_init(&d->dml, &d->ex, &d->modify);
		d->dml_open = true;
	}
	for (;;) {
		struct ddl_rows rows = {0};

		if (d->sub == 0) { /* a new batch: its values are filled in below, which may wait */
			struct arena scratch;

			arena_init(&scratch, d->ex.mem);
			st = build_scan(d, t, &d->scan, &scratch, &rows, err);
			if (!st && rows.n) {
				dml_batch(&d->dml, Q_UPDATE, rows.n);
				memcpy(d->dml.ids, rows.ids, rows.n * sizeof *rows.ids);
				d->sub = 1;
			}
			arena_fini(&scratch);
			if (st == ST_END)
				return ST_OK;
			if (st)
				return st;
		}
		for (; d->sub && d->sub <= d->fill_count; d->sub++) {
			st = default_fill(&d->fills[d->sub - 1], &d->dml, d->dml.n);
			if (st)
				return st;
		}
		st = d->sub ? dml_run(&d->dml) : ST_OK;
		if (st)
			return st;
		d->sub = 0;
		if (!budget_spend(work, 64 + d->dml.n * 8))
			return ST_AGAIN;
	}
}

static enum status check_rows(struct ddl *d, const struct ddl_rows *rows, struct arena *arena, struct error *err)
{
	const struct table_def *t = d->table;
	struct vec_batch b = {.rows = rows->n, .n = rows->n, .col_count = t->column_count, .cols = rows->cols};

	for (uint16_t c = 1; c <= t->column_count; c++) {
		if (!(d->nulls_forbidden[c / 64] >> (c % 64) & 1) || t->columns[c - 1].dropped)
			continue;
		for (uint32_t i = 0; i < rows->n; i++)
			if (vec_null(&rows->cols[c - 1], i))
				return dml_contains_null(err, t, c);
	}
	for (uint32_t k = 0; k < d->check_count; k++) {
		struct vec v;
		enum status st = exec_expr(&d->ex, arena, d->checks[k], &b, &v);

		if (st)
			return st;
		for (uint32_t i = 0; i < rows->n; i++) {
			uint32_t r = v.constant ? 0 : i;

			if (!vec_null(&v, r) && !v.b[r]) {
				(void)error_set(err, ST_CHECK, "check constraint \"%s\" of relation \"%s\" is violated by some row",
						d->check_names[k], t->name);
				snprintf(err->schema, sizeof err->schema, "%s", t->schema);
				snprintf(err->relation, sizeof err->relation, "%s", t->name);
				snprintf(err->constraint, sizeof err->constraint, "%s", d->check_names[k]);
				return ST_CHECK;
			}
		}
	}
	return ST_OK;
}

static struct expr *columns_to_inputs(struct ddl *d, const struct expr *ex)
{
	struct expr *copy = arena_dup(d->arena, ex, sizeof *ex);

	if (ex->kind == EX_COLUMN)
		return expr_input(d->arena, ex->attno - 1u, ex->type);
	if (ex->arg_count)
		copy->args = ARENA_NEW_N(d->arena, struct expr *, ex->arg_count);
	for (uint32_t i = 0; i < ex->arg_count; i++)
		copy->args[i] = columns_to_inputs(d, ex->args[i]);
	return copy;
}

static enum status check(struct ddl *d, struct budget *work, struct error *err)
{
	bool needed = d->check_count > 0;
	enum status st = ST_OK;

	for (uint32_t i = 0; i < sizeof d->nulls_forbidden / sizeof d->nulls_forbidden[0]; i++)
		needed = needed || d->nulls_forbidden[i];
	if (!needed)
		return ST_OK;
	if (!d->checks) {
		struct expr **checks = ARENA_NEW_N(d->arena, struct expr *, d->check_count + 1);

		for (uint32_t i = 0; i < d->check_count; i++) {
			const struct check_def *c = &d->table->checks[d->table->check_count - d->check_count + i];

			st = bind_text(d, c->expr_sql, d->table, (struct sql_type){T_BOOL, -1}, &checks[i], err);
			if (st)
				return st;
			checks[i] = columns_to_inputs(d, checks[i]);
		}
		d->checks = checks;
		memset(&d->scan, 0, sizeof d->scan);
	}
	for (;;) {
		struct ddl_rows rows = {0};
		struct arena scratch;

		arena_init(&scratch, d->ex.mem);
		st = build_scan(d, d->table, &d->scan, &scratch, &rows, err);
		if (!st && rows.n)
			st = check_rows(d, &rows, &scratch, err);
		arena_fini(&scratch);
		if (st == ST_END)
			return ST_OK;
		if (st)
			return st;
		if (!budget_spend(work, 64 + rows.n * 4))
			return ST_AGAIN;
	}
}

/* -- ALTER INDEX, ALTER SEQUENCE ------------------------------------------------------------------------------------------ */

static enum status alter_other(struct ddl *d, struct error *err)
{
	const char *name = NULL;
	struct relation_def r;
	enum status st;

	for (uint32_t i = 0; i < d->stmt->alter.action_count; i++)
		if (d->stmt->alter.actions[i].kind == ALTER_RENAME)
			name = d->stmt->alter.actions[i].new_name;
	if (!name)
		return ST_OK;
	st = relation_by_id(d->access, d->stmt->rels[0], &r);
	if (st)
		return st == ST_UNDEFINED_TABLE ? error_set(err, st, "relation does not exist any more") : st;
	if (r.kind == REL_SEQUENCE) {
		struct sequence_def seq;

		st = access_lock_relation(d->access, r.sequence->id, err);
		if (st)
			return st;
		seq = *r.sequence;
		seq.name = name;
		seq.version++;
		return access_put_sequence(d->access, &seq, err);
	}
	st = ddl_lock_fresh(d, r.table->id, &d->table, err);
	if (st)
		return st;
	for (uint16_t i = 0; i < d->table->index_count; i++)
		if (d->table->indexes[i].id == d->stmt->rels[0])
			d->table->indexes[i].name = name;
	return access_put_table(d->access, d->table, err);
}

/* -- all -------------------------------------------------------------------------------------------------------------------- */

static enum status phase(struct ddl *d, struct budget *work, struct error *err)
{
	const struct table_def *bound = d->stmt->alter.table;
	uint32_t had = bound->index_count;
	enum status st;

	switch (d->at) {
	case ALTER_START:
		st = ddl_lock_fresh(d, bound->id, &d->table, err);
		if (!st && d->table->version != bound->version + 1)
			st = error_set(err, ST_SERIALIZATION, "relation \"%s\" was altered meanwhile", bound->name);
		return st;
	case ALTER_ACTIONS:
		d->first_index = d->table->index_count;
		for (uint32_t i = 0; i < d->stmt->alter.action_count; i++) {
			st = one_action(d, &d->stmt->alter.actions[i], err);
			if (st == ST_AGAIN)
				st = error_set(err, ST_INTERNAL, "columns out of order");
			if (st)
				return st;
		}
		/* dropped ones moved the new ones down */
		d->first_index = d->table->index_count;
		for (uint32_t i = d->table->index_count; i-- > 0;) {
			bool old = false;

			for (uint32_t k = 0; k < had; k++)
				old = old || bound->indexes[k].id == d->table->indexes[i].id;
			if (!old)
				d->first_index = i;
		}
		return ST_OK;
	case ALTER_PUT:
		return access_put_table(d->access, d->table, err);
	case ALTER_SEQUENCES:
		return new_sequences(d, err);
	case ALTER_FILL:
		st = d->fill_count ? fill(d, work, err) : ST_OK;
		if (!st && d->fill_count)
			access_statement_see_own(d->access); /* checks and new indexes are about the filled rows */
		return st;
	case ALTER_CHECK:
		return check(d, work, err);
	case ALTER_BUILD:
		for (; d->first_index < d->table->index_count; d->first_index++) {
			st = build_index(d, d->table, &d->table->indexes[d->first_index], work, err);
			if (st)
				return st;
		}
		return ST_OK;
	}
	UNREACHABLE();
}

enum status alter_step(struct ddl *d, struct budget *work, struct error *err)
{
	if (d->stmt->rel_count == 0)
		return ST_OK; /* IF EXISTS, and it does not */
	if (d->stmt->drop_kind != REL_TABLE)
		return alter_other(d, err);
	for (; d->at < ALTER_END; d->at++) {
		enum status st = phase(d, work, err);

		if (st)
			return st;
		if (d->at == ALTER_START)
			d->action = 0;
	}
	return ST_OK;
}
