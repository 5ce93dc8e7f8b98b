/*
 * op_function.c - functions of FROM: generate_series, unnest, the cluster's own, and any scalar function as one row.
 */
#include "engine/sql/exec.h"

#include <string.h>

#include "base/assert.h"
#include "engine/sql/values.h"

struct function {
	struct op op;
	struct arena store;     /* the arguments, for as long as rows come */
	bool started, done;
	struct cell *args;
	uint8_t *phys;
	struct cell at;         /* generate_series: the next value */
	int direction;
	struct array_view view;
	struct access_audit audit;
};

static void function_open(struct op *op)
{
	struct function *f = (struct function *)op;

	arena_init(&f->store, op->ex->mem);
	f->phys = plan_phys(op->plan, op->ex->arena);
}

static void function_close(struct op *op)
{
	arena_fini(&((struct function *)op)->store);
}

static void function_reset(struct op *op)
{
	struct function *f = (struct function *)op;

	f->started = f->done = false;
}

static uint32_t arg_oid(const struct plan *p, uint32_t i)
{
	return p->function.args[i]->type.oid;
}

static enum status series_start(struct function *f)
{
	const struct plan *p = f->op.plan;
	uint32_t oid = arg_oid(p, 0);
	struct error *err = f->op.ex->err;
	struct cell zero = {0};

	f->at = f->args[0];
	f->direction = 1;
	if (p->function.arg_count < 3)
		return ST_OK;
	if (oid == T_INT4 || oid == T_INT8) {
		f->direction = (f->args[2].i > 0) - (f->args[2].i < 0);
	} else if (arg_oid(p, 2) == T_INTERVAL) {
		i128 span = interval_span(interval_get(f->args[2].var));

		f->direction = (span > 0) - (span < 0);
	} else {
		enum status st = value_in((struct sql_type){oid, -1}, "0", 1, &f->store, &zero, err);

		if (st)
			return st;
		f->direction = value_compare(oid, &f->args[2], &zero);
	}
	if (f->direction == 0)
		return error_set(err, ST_BAD_PARAMETER, "step size cannot equal zero");
	return ST_OK;
}

/* The value after f->at; false: past what the type can say. */
static enum status series_next(struct function *f, bool *more)
{
	const struct plan *p = f->op.plan;
	uint32_t oid = arg_oid(p, 0);
	struct expr value = {.kind = EX_CONST}, step = {.kind = EX_CONST}, add = {.kind = EX_FUNC};
	struct expr *args[2] = {&value, &step};
	struct eval ev = exec_eval(f->op.ex, &f->store);
	int64_t by = 1;

	*more = true;
	if (oid == T_INT4 || oid == T_INT8) {
		if (p->function.arg_count == 3)
			by = f->args[2].i;
		*more = !__builtin_add_overflow(f->at.i, by, &f->at.i);
		return ST_OK;
	}
	value.type = (struct sql_type){oid, -1};
	value.value = f->at;
	add.type = value.type;
	add.arg_count = 2;
	add.args = args;
	if (p->function.arg_count == 3) {
		step.type = (struct sql_type){arg_oid(p, 2), -1};
		step.value = f->args[2];
		add.fn = p->function.add;
	} else {
		uint32_t coerce[2];
		enum status st = value_in(value.type, "1", 1, &f->store, &step.value, f->op.ex->err);

		if (!st)
			st = op_resolve("+", oid, oid, &add.fn, coerce, f->op.ex->err);
		if (st)
			return st;
		step.type = value.type;
	}
	return expr_eval_one(&ev, &add, &f->at);
}

static enum status series(struct function *f, struct rowset *rs)
{
	uint32_t oid = arg_oid(f->op.plan, 0);
	bool more = true;

	while (rs->count < VEC_ROWS) {
		int c = value_compare(oid, &f->at, &f->args[1]);
		enum status st;

		if (f->direction > 0 ? c > 0 : c < 0)
			more = false;
		if (!more)
			break;
		rowset_add_row(rs, &f->at);
		st = series_next(f, &more);
		if (st)
			return st;
		if (!more)
			break;
	}
	f->done = !more;
	return ST_OK;
}

static enum status scalar(struct function *f, struct rowset *rs)
{
	rowset_add_row(rs, f->args);
	f->done = true;
	return ST_OK;
}

static enum status unnest(struct function *f, struct rowset *rs)
{
	struct cell c;

	while (rs->count < VEC_ROWS) {
		if (!array_next(&f->view, &c)) {
			f->done = true;
			break;
		}
		rowset_add_row(rs, &c);
	}
	return ST_OK;
}

static enum status atom_hash(struct function *f, struct rowset *rs)
{
	seq_index applied = 0;
	uint64_t crc = 0;
	struct cell row[2];
	enum status st = access_atom_hash(f->op.ex->access, (atom_id)f->args[0].i, &applied, &crc, f->op.ex->err);

	if (st)
		return st;
	row[0] = (struct cell){.phys = PHYS_I64, .i = (int64_t)applied};
	row[1] = (struct cell){.phys = PHYS_I64, .i = (int64_t)crc};
	rowset_add_row(rs, row);
	f->done = true;
	return ST_OK;
}

static enum status check_atoms(struct function *f, struct rowset *rs)
{
	seq_index at_least = f->op.plan->function.arg_count && !f->args[0].null ? (seq_index)f->args[0].i : 0;
	atom_id atom;
	engine_id engine;
	uint64_t crc, expected;
	enum status st;

	/* a wait is met again at the next step: what is there goes out first */
	while (rs->count < VEC_ROWS) {
		st = access_check_atoms(f->op.ex->access, at_least, &f->audit, &atom, &engine, &crc, &expected,
					f->op.ex->err);
		if (st == ST_END) {
			f->done = true;
			break;
		}
		if (st == ST_WAIT && rs->count)
			break;
		if (st)
			return st;
		rowset_add_row(rs, (struct cell[]){{.phys = PHYS_I64, .i = (int64_t)atom},
						   {.phys = PHYS_I64, .i = (int64_t)engine},
						   {.phys = PHYS_I64, .i = (int64_t)crc},
						   {.phys = PHYS_I64, .i = (int64_t)expected}});
	}
	return ST_OK;
}

static enum step function_start(struct function *f, struct budget *work)
{
	const struct plan *p = f->op.plan;
	struct vec_batch in;
	enum step s = op_step(f->op.left, &in, work);
	enum status st = ST_OK;

	if (s != STEP_MORE)
		return s;
	if (in.n == 0)
		return STEP_MORE;
	arena_reset(&f->store);
	f->args = ARENA_NEW_N(&f->store, struct cell, p->function.arg_count + 1);
	f->started = true;
	for (uint32_t i = 0; i < p->function.arg_count; i++) {
		struct vec v;

		st = exec_expr(f->op.ex, &f->store, p->function.args[i], &in, &v);
		if (st)
			return exec_fail(f->op.ex, st);
		vec_cell(&v, batch_row(&in, 0), &f->args[i]);
		if (!f->args[i].null && f->args[i].phys == PHYS_VAR)
			f->args[i].var = arena_dup(&f->store, f->args[i].var, f->args[i].bytes);
		f->done = f->done || (f->args[i].null && p->function.function != SETFN_SCALAR &&
				      p->function.function != SETFN_CHECK_ATOMS);
	}
	memset(&f->audit, 0, sizeof f->audit);
	if (f->done)
		return STEP_DONE;
	if (p->function.function == SETFN_GENERATE_SERIES)
		st = series_start(f);
	else if (p->function.function == SETFN_UNNEST && !array_open(&f->view, f->args[0].var, f->args[0].bytes))
		st = error_set(f->op.ex->err, ST_CORRUPT, "damaged array");
	return st ? exec_fail(f->op.ex, st) : STEP_DONE;
}

static enum step function_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct function *f = (struct function *)op;
	struct rowset rs;
	enum status st = ST_OK;

	if (!f->started) {
		enum step s = function_start(f, work);

		if (!f->started || s != STEP_DONE)
			return s;
	}
	if (f->done)
		return STEP_DONE;
	arena_reset(&op->scratch);
	rowset_init(&rs, &op->scratch, op->plan->col_count, f->phys);
	switch ((enum set_function)op->plan->function.function) {
	case SETFN_GENERATE_SERIES: st = series(f, &rs); break;
	case SETFN_UNNEST: st = unnest(f, &rs); break;
	case SETFN_SCALAR: st = scalar(f, &rs); break;
	case SETFN_ATOM_HASH: st = atom_hash(f, &rs); break;
	case SETFN_CHECK_ATOMS: st = check_atoms(f, &rs); break;
	}
	if (st)
		return exec_fail(op->ex, st);
	(void)budget_spend(work, rs.count);
	rowset_batch(&rs, 0, out);
	return out->rows || !f->done ? STEP_MORE : STEP_DONE;
}

const struct op_class op_function_class = {"Function Scan", sizeof(struct function), function_step, function_open,
					   function_reset, function_close};
