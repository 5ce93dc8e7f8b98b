/*
 * op_basic.c - filter, project, limit, append, materialise, unique, row locks.
 */
#include "engine/sql/exec.h"

#include <string.h>

#include "base/assert.h"

/* -- filter ------------------------------------------------------------------------------------------------ */

static enum step filter_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	enum step st;

	do {
		st = op_step(op->left, out, work);
		if (st != STEP_MORE)
			return st;
		arena_reset(&op->scratch);
		if (batch_filter(op->ex, &op->scratch, op->plan->filter, out))
			return exec_fail(op->ex, op->ex->err->code);
	} while (out->n == 0 && work->left > 0);
	return STEP_MORE;
}

const struct op_class op_filter_class = {"Filter", sizeof(struct op), filter_step, NULL, NULL, NULL};

/* -- project ------------------------------------------------------------------------------------------------- */

static enum step project_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	const struct plan *p = op->plan;
	struct vec_batch in;
	enum step st = op_step(op->left, &in, work);

	if (st != STEP_MORE)
		return st;
	arena_reset(&op->scratch);
	*out = (struct vec_batch){.rows = in.rows, .n = in.n, .sel = in.sel, .col_count = p->col_count};
	if (in.n == 0)
		return STEP_MORE;
	out->cols = ARENA_NEW_N(&op->scratch, struct vec, p->col_count + 1);
	for (uint32_t c = 0; c < p->col_count; c++) {
		enum status s = exec_expr(op->ex, &op->scratch, p->project.exprs[c], &in, &out->cols[c]);

		if (s)
			return exec_fail(op->ex, s);
	}
	(void)budget_spend(work, in.n);
	return STEP_MORE;
}

const struct op_class op_project_class = {"Project", sizeof(struct op), project_step, NULL, NULL, NULL};

/* -- limit ------------------------------------------------------------------------------------------------------ */

struct limit { struct op op; bool known; uint64_t skip, left; };

static enum status limit_value(struct op *op, const struct expr *e, bool is_limit, uint64_t *out)
{
	struct eval ev = exec_eval(op->ex, &op->scratch);
	struct cell c;
	enum status st;

	*out = is_limit ? UINT64_MAX : 0;
	if (!e)
		return ST_OK;
	st = expr_eval_one(&ev, e, &c);
	if (st || c.null)
		return st;
	if (c.i < 0)
		return error_set(op->ex->err, is_limit ? ST_BAD_ROW_COUNT_LIMIT : ST_BAD_ROW_COUNT_OFFSET,
				 "%s must not be negative", is_limit ? "LIMIT" : "OFFSET");
	*out = (uint64_t)c.i;
	return ST_OK;
}

static enum step limit_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct limit *l = (struct limit *)op;
	enum step st;
	uint16_t *sel;
	uint32_t n;

	if (!l->known) {
		enum status s = limit_value(op, op->plan->limit.offset, false, &l->skip);

		if (!s)
			s = limit_value(op, op->plan->limit.limit, true, &l->left);
		if (s)
			return exec_fail(op->ex, s);
		l->known = true;
	}
	if (l->left == 0)
		return STEP_DONE;
	st = op_step(op->left, out, work);
	if (st != STEP_MORE || out->n == 0)
		return st;
	if (l->skip == 0 && out->n <= l->left) {
		l->left -= out->n;
		return STEP_MORE;
	}
	if (l->skip >= out->n) {
		l->skip -= out->n;
		out->n = 0;
		return STEP_MORE;
	}
	n = out->n - (uint32_t)l->skip;
	if (n > l->left)
		n = (uint32_t)l->left;
	arena_reset(&op->scratch);
	sel = ARENA_NEW_N(&op->scratch, uint16_t, n);
	for (uint32_t i = 0; i < n; i++)
		sel[i] = (uint16_t)batch_row(out, (uint32_t)l->skip + i);
	out->sel = sel;
	out->n = n;
	l->skip = 0;
	l->left -= n;
	return STEP_MORE;
}

static void limit_reset(struct op *op)
{
	((struct limit *)op)->known = false;
}

const struct op_class op_limit_class = {"Limit", sizeof(struct limit), limit_step, NULL, limit_reset, NULL};

/* -- append -------------------------------------------------------------------------------------------------------- */

struct append { struct op op; bool second; };

static enum step append_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct append *a = (struct append *)op;

	if (!a->second) {
		enum step st = op_step(op->left, out, work);

		if (st != STEP_DONE)
			return st;
		a->second = true;
	}
	return op_step(op->right, out, work);
}

static void append_reset(struct op *op)
{
	((struct append *)op)->second = false;
}

const struct op_class op_append_class = {"Append", sizeof(struct append), append_step, NULL, append_reset, NULL};

/* -- materialise ------------------------------------------------------------------------------------------------------ */

/* Reads its input once, then answers from memory, again after a reset. */
struct material { struct op op; struct arena store; struct rowset rows; uint64_t at; bool full; uint8_t *phys; };

static void material_open(struct op *op)
{
	struct material *m = (struct material *)op;

	arena_init(&m->store, op->ex->mem);
	if (!m->phys)
		m->phys = plan_phys(op->plan, op->ex->arena);
	rowset_init(&m->rows, &m->store, op->plan->col_count, m->phys);
	m->full = false;
	m->at = 0;
}

static enum step material_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct material *m = (struct material *)op;

	while (!m->full) {
		struct vec_batch b;
		enum step st = op_step(op->left, &b, work);

		if (st == STEP_DONE) {
			m->full = true;
			break;
		}
		if (st != STEP_MORE)
			return st;
		rowset_add(&m->rows, &b);
		if (exec_memory(op->ex) == STEP_ERROR)
			return STEP_ERROR;
		if (work->left <= 0)
			return STEP_MORE;
	}
	rowset_batch(&m->rows, m->at, out);
	if (out->rows == 0)
		return STEP_DONE;
	m->at += out->rows;
	(void)budget_spend(work, out->rows);
	return STEP_MORE;
}

static void material_close(struct op *op)
{
	arena_fini(&((struct material *)op)->store);
}

static void material_reset(struct op *op)
{
	struct material *m = (struct material *)op;

	if (!op->plan->material.keep) {
		material_close(op);
		material_open(op);
	}
	m->at = 0;
}

const struct op_class op_material_class = {"Materialize", sizeof(struct material), material_step, material_open,
					   material_reset, material_close};

/* -- unique: the first row of each run of equal keys ------------------------------------------------------------------ */

struct unique { struct op op; bool any; struct arena keep; struct vec_batch last; };

static void unique_open(struct op *op)
{
	arena_init(&((struct unique *)op)->keep, op->ex->mem);
}

static bool unique_same(const struct plan *p, const struct vec_batch *a, uint32_t ra, const struct vec_batch *b,
			uint32_t rb)
{
	for (uint32_t k = 0; k < p->unique.key_count; k++) {
		uint32_t s = p->unique.slots[k];

		if (vec_compare(p->unique.oids[k], &a->cols[s], ra, &b->cols[s], rb))
			return false;
	}
	return true;
}

static enum step unique_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct unique *u = (struct unique *)op;
	enum step st = op_step(op->left, out, work);
	struct vec_batch one;
	uint16_t *sel, first;
	uint32_t n = 0;

	if (st != STEP_MORE || out->n == 0)
		return st;
	arena_reset(&op->scratch);
	sel = ARENA_NEW_N(&op->scratch, uint16_t, out->n);
	for (uint32_t i = 0; i < out->n; i++) {
		uint32_t r = batch_row(out, i);

		if (i ? unique_same(op->plan, out, batch_row(out, i - 1), out, r) :
			u->any && unique_same(op->plan, &u->last, 0, out, r))
			continue;
		sel[n++] = (uint16_t)r;
	}
	(void)budget_spend(work, out->n);
	one = *out;
	first = (uint16_t)batch_row(out, out->n - 1);
	one.sel = &first;
	one.n = 1;
	arena_reset(&u->keep);
	batch_copy(&one, &u->keep, &u->last);
	u->any = true;
	out->sel = sel;
	out->n = n;
	return STEP_MORE;
}

static void unique_reset(struct op *op)
{
	((struct unique *)op)->any = false;
}

static void unique_close(struct op *op)
{
	arena_fini(&((struct unique *)op)->keep);
}

const struct op_class op_unique_class = {"Unique", sizeof(struct unique), unique_step, unique_open, unique_reset,
					 unique_close};

/* -- row locks ------------------------------------------------------------------------------------------------------------ */

/*
 * Locks the rows of a vector before handing it on. Under a LIMIT, and with SKIP LOCKED, row by row: a queue reader
 * must not lock what it does not take.
 */
struct lock {
	struct op op;
	struct arena keep;
	struct vec_batch held;
	bool holding;
	uint32_t at, table, kept;
	uint16_t *sel;
	row_id *ids;
};

static void lock_open(struct op *op)
{
	struct lock *l = (struct lock *)op;

	arena_init(&l->keep, op->ex->mem);
	l->ids = ARENA_NEW_N(op->ex->arena, row_id, VEC_ROWS);
}

/* A whole vector at once; rows of outer joins may be null. */
static enum status lock_all(struct lock *l)
{
	const struct plan *p = l->op.plan;
	struct exec *ex = l->op.ex;

	for (; l->table < p->lock.lock_count; l->table++) {
		const struct vec *v = &l->held.cols[p->lock.slots[l->table]];
		uint32_t n = 0;
		enum status st;

		for (uint32_t i = 0; i < l->held.n; i++)
			if (!vec_null(v, i))
				l->ids[n++] = (row_id)v->i64[v->constant ? 0 : i];
		if (n == 0)
			continue;
		st = access_lock_rows(ex->access, p->lock.tables[l->table], l->ids, n,
				      (enum row_lock)p->lock.mode, p->lock.nowait, ex->err);
		if (st)
			return st;
	}
	return ST_OK;
}

/* One row in every table; false in *got: someone else has it and it is to be skipped. */
static enum status lock_one(struct lock *l, uint32_t row, bool *got)
{
	const struct plan *p = l->op.plan;
	struct exec *ex = l->op.ex;

	*got = true;
	for (; l->table < p->lock.lock_count; l->table++) {
		const struct vec *v = &l->held.cols[p->lock.slots[l->table]];
		enum status st;

		if (vec_null(v, row))
			continue;
		l->ids[0] = (row_id)v->i64[v->constant ? 0 : row];
		st = access_lock_rows(ex->access, p->lock.tables[l->table], l->ids, 1, (enum row_lock)p->lock.mode,
				      p->lock.nowait || p->lock.skip, ex->err);
		if (st == ST_LOCK_NOT_AVAILABLE && p->lock.skip) {
			error_clear(ex->err);
			*got = false;
			break;
		}
		if (st)
			return st;
	}
	l->table = 0;
	return ST_OK;
}

static enum step lock_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct lock *l = (struct lock *)op;
	const struct plan *p = op->plan;
	bool singly = p->lock.skip || p->lock.limited;
	enum status st;

	if (!l->holding) {
		struct vec_batch in;
		enum step s = op_step(op->left, &in, work);

		if (s != STEP_MORE || in.n == 0)
			return s;
		arena_reset(&l->keep);
		batch_copy(&in, &l->keep, &l->held);
		l->holding = true;
		l->at = l->table = l->kept = 0;
		l->sel = ARENA_NEW_N(&l->keep, uint16_t, in.n);
	}
	if (!singly) {
		st = lock_all(l);
		if (st)
			return exec_fail(op->ex, st);
		*out = l->held;
		l->holding = false;
		(void)budget_spend(work, out->n);
		return STEP_MORE;
	}
	while (l->at < l->held.n) {
		bool got;
		uint32_t row = l->at;

		st = lock_one(l, row, &got);
		if (st)
			return exec_fail(op->ex, st);
		l->at++;
		if (!got)
			continue;
		l->sel[0] = (uint16_t)row;
		*out = l->held;
		out->sel = l->sel;
		out->n = 1;
		(void)budget_spend(work, 4);
		return STEP_MORE;
	}
	l->holding = false;
	return STEP_MORE;
}

static void lock_reset(struct op *op)
{
	((struct lock *)op)->holding = false;
}

static void lock_close(struct op *op)
{
	arena_fini(&((struct lock *)op)->keep);
}

const struct op_class op_lock_class = {"LockRows", sizeof(struct lock), lock_step, lock_open, lock_reset, lock_close};
