/*
 * op_modify.c - INSERT, UPDATE, DELETE as an operator.
 *
 * Own writes are seen by reads at once, so unless the planner knows that the source cannot meet them the
 * source is read to its end before anything is put. Rows for RETURNING are kept until everything is done: a restart
 * must not have shown any (access.h).
 */
#include "engine/sql/dml.h"

#include <string.h>

#include "base/assert.h"

struct modify {
	struct op op;
	struct dml dml;
	struct arena source_store, out_store, keep;
	struct rowset source, out;
	uint8_t *source_phys, *out_phys;
	bool source_full, done, holding;
	uint64_t at, out_at;
	struct vec_batch held;  /* UPDATE, DELETE: the source rows of the batch being put */
	struct map seen;        /* rows that were changed: each once, whatever joins say */
};

static void modify_start(struct modify *m)
{
	rowset_init(&m->source, &m->source_store, m->op.plan->left->col_count, m->source_phys);
	rowset_init(&m->out, &m->out_store, m->op.plan->col_count, m->out_phys);
	m->source_full = m->done = m->holding = false;
	m->at = m->out_at = 0;
}

static void modify_open(struct op *op)
{
	struct modify *m = (struct modify *)op;

	arena_init(&m->source_store, op->ex->mem);
	arena_init(&m->out_store, op->ex->mem);
	arena_init(&m->keep, op->ex->mem);
	map_init(&m->seen, op->ex->mem);
	m->source_phys = plan_phys(op->plan->left, op->ex->arena);
	m->out_phys = plan_phys(op->plan, op->ex->arena);
	dml_init(&m->dml, op->ex, op->plan->modify);
	modify_start(m);
}

static void modify_close(struct op *op)
{
	struct modify *m = (struct modify *)op;

	dml_fini(&m->dml);
	map_fini(&m->seen);
	arena_fini(&m->source_store);
	arena_fini(&m->out_store);
	arena_fini(&m->keep);
}

static void modify_reset(struct op *op)
{
	struct modify *m = (struct modify *)op;

	dml_reset(&m->dml);
	map_clear(&m->seen);
	arena_reset(&m->source_store);
	arena_reset(&m->out_store);
	arena_reset(&m->keep);
	modify_start(m);
}

/* -- the source ------------------------------------------------------------------------------------------------- */

static enum step read_all(struct modify *m, struct budget *work)
{
	while (!m->source_full) {
		struct vec_batch in;
		enum step st = op_step(m->op.left, &in, work);

		if (st == STEP_DONE) {
			m->source_full = true;
			break;
		}
		if (st != STEP_MORE)
			return st;
		rowset_add(&m->source, &in);
		if (exec_memory(m->op.ex) == STEP_ERROR)
			return STEP_ERROR;
		if (work->left <= 0)
			return STEP_MORE;
	}
	return STEP_DONE;
}

/* The next vector of the source; n 0 with STEP_DONE: no more. */
static enum step next_source(struct modify *m, struct vec_batch *in, struct budget *work)
{
	enum step st;

	if (m->op.plan->modify->stream) {
		st = op_step(m->op.left, in, work);
		if (st == STEP_DONE)
			in->n = 0;
		return st;
	}
	st = read_all(m, work);
	if (st != STEP_DONE)
		return st;
	rowset_batch(&m->source, m->at, in);
	m->at += in->rows;
	return in->rows ? STEP_MORE : STEP_DONE;
}

static void insert_batch(struct modify *m, const struct vec_batch *in)
{
	const struct plan_modify *pm = m->op.plan->modify;
	struct vec_batch copy;

	dml_batch(&m->dml, Q_INSERT, in->n);
	batch_copy(in, &m->dml.arena, &copy);
	for (uint32_t c = 0; c < pm->insert_count; c++)
		for (uint32_t i = 0; i < in->n; i++)
			vec_cell(&copy.cols[c], i, &dml_new(&m->dml, i)[pm->insert_attnos[c] - 1]);
	for (uint32_t c = 0; c < pm->table->column_count; c++) {
		bool given = false;

		for (uint32_t k = 0; k < pm->insert_count && !given; k++)
			given = pm->insert_attnos[k] == c + 1;
		for (uint32_t i = 0; !given && i < in->n; i++)
			dml_new(&m->dml, i)[c].null = true;
	}
}

/* Selected rows not changed before by this statement. */
static void unseen(struct modify *m, struct vec_batch *in)
{
	const struct vec *ids = &in->cols[m->op.plan->modify->rowid_slot];
	uint16_t *sel = ARENA_NEW_N(&m->keep, uint16_t, in->n);
	uint32_t n = 0;

	for (uint32_t i = 0; i < in->n; i++) {
		uint32_t r = batch_row(in, i);
		uint64_t id;

		if (vec_null(ids, r))
			continue;
		id = (uint64_t)ids->i64[ids->constant ? 0 : r];
		if (map_find(&m->seen, id))
			continue;
		map_put(&m->seen, id, m);
		sel[n++] = (uint16_t)r;
	}
	in->sel = sel;
	in->n = n;
}

static enum status change_batch(struct modify *m, const struct vec_batch *source)
{
	const struct plan_modify *pm = m->op.plan->modify;
	struct vec_batch in = *source;
	struct vec *sets;
	struct dml *d = &m->dml;

	arena_reset(&m->keep);
	if (!pm->stream)
		unseen(m, &in);
	if (in.n == 0)
		return ST_OK;
	batch_copy(&in, &m->keep, &m->held);
	sets = ARENA_NEW_N(&m->keep, struct vec, pm->set_count + 1);
	for (uint32_t c = 0; c < pm->set_count; c++) {
		enum status st = exec_expr(m->op.ex, &m->keep, pm->set_exprs[c], &m->held, &sets[c]);

		if (st)
			return st;
	}
	dml_batch(d, pm->kind, m->held.n);
	for (uint32_t i = 0; i < m->held.n; i++) {
		struct cell id;

		vec_cell(&m->held.cols[pm->rowid_slot], i, &id);
		d->ids[i] = (row_id)id.i;
		for (uint32_t c = 0; c < pm->table->column_count; c++) {
			struct cell *old = &dml_old(d, i)[c];

			old->null = true;
			if (pm->old_slots[c] != UINT32_MAX)
				vec_cell(&m->held.cols[pm->old_slots[c]], i, old);
			if (d->new_cells)
				dml_new(d, i)[c] = *old;
		}
		for (uint32_t c = 0; c < pm->set_count; c++)
			vec_cell(&sets[c], i, &dml_new(d, i)[pm->set_attnos[c] - 1]);
	}
	return ST_OK;
}

/* -- RETURNING ------------------------------------------------------------------------------------------------------ */

static void keep_inserted(struct modify *m, struct dml *d)
{
	uint32_t cols = d->table->column_count;
	struct cell *row = ARENA_NEW_N(&m->keep, struct cell, cols + 1);

	for (uint32_t i = 0; i < d->n; i++) {
		if (d->kind == Q_INSERT && d->skip[i])
			continue;
		memcpy(row, dml_new(d, i), cols * sizeof *row);
		row[cols] = (struct cell){.phys = PHYS_I64, .i = (int64_t)d->ids[i]};
		rowset_add_row(&m->out, row);
	}
}

static void keep_changed(struct modify *m)
{
	const struct plan_modify *pm = m->op.plan->modify;
	struct cell *row = ARENA_NEW_N(&m->keep, struct cell, m->held.col_count + 1);

	for (uint32_t i = 0; i < m->held.n; i++) {
		for (uint32_t c = 0; c < m->held.col_count; c++)
			vec_cell(&m->held.cols[c], i, &row[c]);
		for (uint32_t c = 0; pm->kind == Q_UPDATE && c < pm->set_count; c++) {
			uint32_t slot = pm->old_slots[pm->set_attnos[c] - 1];

			if (slot != UINT32_MAX)
				row[slot] = dml_new(&m->dml, i)[pm->set_attnos[c] - 1];
		}
		rowset_add_row(&m->out, row);
	}
}

static void keep_rows(struct modify *m)
{
	if (!m->op.plan->modify->returning)
		return;
	if (m->op.plan->modify->kind != Q_INSERT) {
		keep_changed(m);
		return;
	}
	keep_inserted(m, &m->dml);
	if (m->dml.update_count)
		keep_inserted(m, m->dml.update);
}

/* -- step ----------------------------------------------------------------------------------------------------------- */

static enum step modify_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct modify *m = (struct modify *)op;
	enum status st;

	while (!m->done) {
		struct vec_batch in;
		enum step s;

		if (m->holding) {
			st = dml_run(&m->dml);
			if (st)
				return exec_fail(op->ex, st);
			m->holding = false;
			keep_rows(m);
			if (exec_memory(op->ex) == STEP_ERROR)
				return STEP_ERROR;
		}
		if (work->left <= 0)
			return STEP_MORE;
		s = next_source(m, &in, work);
		if (s == STEP_DONE) {
			m->done = true;
			break;
		}
		if (s != STEP_MORE)
			return s;
		if (in.n == 0)
			continue;
		(void)budget_spend(work, in.n * 8);
		st = ST_OK;
		m->dml.n = 0;
		if (op->plan->modify->kind == Q_INSERT) {
			arena_reset(&m->keep);
			insert_batch(m, &in);
		} else {
			st = change_batch(m, &in);
		}
		if (st)
			return exec_fail(op->ex, st);
		m->holding = m->dml.n > 0;
	}
	op->ex->affected = m->dml.affected;
	rowset_batch(&m->out, m->out_at, out);
	m->out_at += out->rows;
	return out->rows ? STEP_MORE : STEP_DONE;
}

const struct op_class op_modify_class = {"Modify", sizeof(struct modify), modify_step, modify_open, modify_reset,
					 modify_close};
