/*
 * op_scan.c - where rows come from: tables, indexes, system views, VALUES, functions, CTEs, nothing.
 */
#include "engine/sql/exec.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "engine/sql/exec_key.h"
#include "engine/sql/values.h"
#include "engine/sql/virtual_rows.h"

/* -- one row without columns ------------------------------------------------------------------------------- */

struct result { struct op op; bool done; };

static enum step result_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct result *r = (struct result *)op;

	if (r->done)
		return STEP_DONE;
	r->done = true;
	(void)budget_spend(work, 1);
	out->rows = out->n = 1;
	return STEP_MORE;
}

static void result_reset(struct op *op)
{
	((struct result *)op)->done = false;
}

const struct op_class op_result_class = {"Result", sizeof(struct result), result_step, NULL, result_reset, NULL};

/* -- stored columns to the executor's -------------------------------------------------------------------------- */

static struct sql_type want_type(const struct table_access *ta, uint32_t i)
{
	const struct column_def *c = &ta->table->columns[ta->wants[i].attno - 1];

	return (struct sql_type){c->type_oid, c->typmod};
}

void table_batch_place(const struct table_access *ta, const struct vec *stored, const row_id *ids, struct vec_batch *b,
		       struct arena *arena)
{
	for (uint32_t i = 0; i < ta->want_count; i++) {
		struct sql_type t = want_type(ta, i);
		const struct type_info *ti = type_find(t.oid);
		struct vec *to = &b->cols[ta->want_slots[i]];

		if (ti && ti->phys == stored[i].phys)
			*to = stored[i];
		else
			vec_from_storage(t, &stored[i], b->sel, b->n, b->rows, arena, to);
	}
	if (ta->rowid_slot != UINT32_MAX) {
		struct vec *v = &b->cols[ta->rowid_slot];

		*v = (struct vec){.phys = PHYS_I64};
		v->i64 = arena_dup(arena, ids, b->rows * sizeof *ids);
	}
}

/* -- table scan ----------------------------------------------------------------------------------------------------- */

struct scan { struct op op; struct access_scan at; row_id *ids; struct vec *stored; };

static void scan_open(struct op *op)
{
	struct scan *s = (struct scan *)op;

	s->ids = ARENA_NEW_N(op->ex->arena, row_id, VEC_ROWS);
	s->stored = ARENA_NEW_N(op->ex->arena, struct vec, op->plan->table.want_count + 1);
}

static enum step scan_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct scan *s = (struct scan *)op;
	const struct table_access *ta = &op->plan->table;
	struct exec *ex = op->ex;
	enum status st;

	do {
		uint32_t live = 0, slots = 0;
		uint16_t *sel;

		arena_reset(&op->scratch);
		sel = ARENA_NEW_N(&op->scratch, uint16_t, VEC_ROWS);
		st = access_scan_next(ex->access, ta->table, &s->at, ta->wants, ta->want_count, &op->scratch,
				      s->stored, s->ids, sel, &live, &slots, ex->err);
		if (st == ST_END)
			return STEP_DONE;
		if (st)
			return exec_fail(ex, st);
		(void)budget_spend(work, slots + live * (1 + ta->want_count / 4));
		*out = (struct vec_batch){.rows = slots, .n = live, .sel = sel, .col_count = op->plan->col_count};
		if (live == slots)
			out->sel = NULL;
		if (live == 0)
			continue;
		out->cols = ARENA_NEW_N(&op->scratch, struct vec, op->plan->col_count + 1);
		table_batch_place(ta, s->stored, s->ids, out, &op->scratch);
		st = batch_filter(ex, &op->scratch, op->plan->filter, out);
		if (st)
			return exec_fail(ex, st);
	} while (out->n == 0 && work->left > 0);
	return STEP_MORE;
}

static void scan_reset(struct op *op)
{
	memset(&((struct scan *)op)->at, 0, sizeof(struct access_scan));
}

const struct op_class op_scan_class = {"Seq Scan", sizeof(struct scan), scan_step, scan_open, scan_reset, NULL};

/* -- index scan ------------------------------------------------------------------------------------------------------ */

struct index_scan {
	struct op op;
	bool started;
	uint32_t range_count, range_at, batch;
	struct key_range *ranges;
	struct access_index_scan at;
	row_id *ids;            /* entries read and not yet answered */
	uint32_t id_count;
	struct vec *stored;
	bool *live;
	struct arena keys;      /* the ranges */
	struct buf buf;
};

static void index_open(struct op *op)
{
	struct index_scan *s = (struct index_scan *)op;

	s->ids = ARENA_NEW_N(op->ex->arena, row_id, VEC_ROWS);
	s->live = ARENA_NEW_N(op->ex->arena, bool, VEC_ROWS);
	s->stored = ARENA_NEW_N(op->ex->arena, struct vec, op->plan->table.want_count + 1);
	arena_init(&s->keys, op->ex->mem);
	buf_init(&s->buf, op->ex->mem);
}

static void index_close(struct op *op)
{
	struct index_scan *s = (struct index_scan *)op;

	arena_fini(&s->keys);
	buf_fini(&s->buf);
}

static enum status one_value(struct exec *ex, struct arena *arena, const struct expr *e, struct cell *out)
{
	struct eval ev;

	if (!e) {
		*out = (struct cell){.null = true};
		return ST_OK;
	}
	if (e->kind == EX_PARAM) {
		*out = ex->params[e->param - 1];
		return ST_OK;
	}
	ev = exec_eval(ex, arena);
	return expr_eval_one(&ev, e, out);
}

static enum status list_values(struct exec *ex, struct arena *arena, const struct expr *in, struct cell **out,
			       uint32_t *count_out)
{
	struct array_view view;
	struct cell array;
	enum status st;

	if (in->kind == EX_IN) {
		*count_out = in->arg_count - 1;
		*out = ARENA_NEW_N(arena, struct cell, in->arg_count);
		for (uint32_t i = 1; i < in->arg_count; i++) {
			st = one_value(ex, arena, in->args[i], &(*out)[i - 1]);
			if (st)
				return st;
		}
		return ST_OK;
	}
	*count_out = 0;
	st = one_value(ex, arena, in->args[1], &array);
	if (st || array.null)
		return st;
	if (!array_open(&view, array.var, array.bytes))
		return error_set(ex->err, ST_CORRUPT, "damaged array");
	*out = ARENA_NEW_N(arena, struct cell, (uint32_t)view.head.count + 1);
	while (array_next(&view, &(*out)[*count_out]))
		(*count_out)++;
	return ST_OK;
}

static int range_order(const void *a, const void *b)
{
	const struct key_range *x = a, *y = b;
	uint32_t n = x->lo.bytes < y->lo.bytes ? x->lo.bytes : y->lo.bytes;
	int c = n ? memcmp(x->lo.p, y->lo.p, n) : 0;

	return c ? c : (x->lo.bytes > y->lo.bytes) - (x->lo.bytes < y->lo.bytes);
}

static void add_range(struct index_scan *s, const struct key_range *r)
{
	/* values may repeat: the same row must not come twice */
	if (s->range_count && range_order(&s->ranges[s->range_count - 1], r) == 0)
		return;
	s->ranges[s->range_count++] = *r;
}

static enum status index_ranges(struct index_scan *s)
{
	const struct table_access *ta = &s->op.plan->table;
	struct exec *ex = s->op.ex;
	uint32_t n = ta->key_count, list = UINT32_MAX, count = 0, made = 0;
	struct cell *eq = ARENA_NEW_N(&s->keys, struct cell, n + 1), lo = {.null = true}, hi = {.null = true}, *in = NULL;
	struct key_range *all, range;
	enum status st = ST_OK;

	s->range_count = s->range_at = 0;
	for (uint32_t i = 0; i < n && !st; i++) {
		const struct index_key *k = &ta->keys[i];

		if (k->in) {
			list = i;
			st = list_values(ex, &s->keys, k->in, &in, &count);
		} else if (k->eq) {
			st = one_value(ex, &s->keys, k->eq, &eq[i]);
		} else if (!k->is_null) {
			st = one_value(ex, &s->keys, k->lo, &lo);
			if (!st)
				st = one_value(ex, &s->keys, k->hi, &hi);
		}
	}
	if (st)
		return st;
	if (list == UINT32_MAX)
		count = 1;
	all = ARENA_NEW_N(&s->keys, struct key_range, count + 1);
	s->ranges = ARENA_NEW_N(&s->keys, struct key_range, count + 1);
	for (uint32_t i = 0; i < count; i++) {
		if (list != UINT32_MAX)
			eq[list] = in[i];
		if (key_range_make(ta->index, ta->keys, n, eq, &lo, &hi, &s->buf, &s->keys, &range, ex->err, &st))
			all[made++] = range;
		/* longer than any stored key: equal to none of them */
		if (st && st != ST_PROGRAM_LIMIT)
			return st;
		if (st)
			error_clear(ex->err);
	}
	if (made > 1)
		qsort(all, made, sizeof *all, range_order);
	for (uint32_t i = 0; i < made; i++)
		add_range(s, &all[i]);
	return ST_OK;
}

static void index_seek(struct index_scan *s)
{
	const struct key_range *r = &s->ranges[s->range_at];

	s->at.started = s->at.done = false;
	s->at.last_len = 0;
	s->at.lo = r->lo.p;
	s->at.lo_len = r->lo.bytes;
	s->at.hi = r->hi.p;
	s->at.hi_len = r->hi.bytes;
	s->at.backward = s->op.plan->table.backward;
}

/* Resolve: entries of the index into ids. */
static enum status index_fill(struct index_scan *s)
{
	const struct table_access *ta = &s->op.plan->table;
	struct exec *ex = s->op.ex;
	enum status st;

	while (s->id_count == 0) {
		if (s->range_at == s->range_count)
			return ST_END;
		if (ta->unique_point) {
			const struct slice *key = &s->ranges[s->range_at].lo;

			st = access_index_get(ex->access, ta->table, ta->index, key->p, key->bytes, &s->ids[0], ex->err);
			if (st)
				return st;
			s->id_count = s->ids[0] != 0;
			s->range_at++;
			continue;
		}
		st = access_index_next(ex->access, ta->table, ta->index, &s->at, s->batch, &s->op.scratch, s->ids,
				       NULL, &s->id_count, ex->err);
		if (st && st != ST_END) {
			s->id_count = 0;
			return st;
		}
		if (st == ST_END) {
			s->id_count = 0;
			if (++s->range_at < s->range_count)
				index_seek(s);
		}
	}
	return ST_OK;
}

static enum step index_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct index_scan *s = (struct index_scan *)op;
	const struct table_access *ta = &op->plan->table;
	struct exec *ex = op->ex;
	enum status st;

	if (!s->started) {
		arena_reset(&s->keys);
		st = index_ranges(s);
		if (st)
			return exec_fail(ex, st);
		s->started = true;
		s->batch = ta->ordered ? 32 : VEC_ROWS; /* with an order, few rows may be enough */
		if (s->range_count)
			index_seek(s);
	}
	do {
		uint16_t *sel;
		uint32_t n = 0;

		arena_reset(&op->scratch);
		st = index_fill(s);
		if (st == ST_END)
			return STEP_DONE;
		if (st)
			return exec_fail(ex, st);
		st = access_rows_get(ex->access, ta->table, s->ids, s->id_count, ta->wants, ta->want_count, &op->scratch,
				     s->stored, s->live, ex->err);
		if (st)
			return exec_fail(ex, st);
		(void)budget_spend(work, s->id_count * (4 + ta->want_count / 4));
		sel = ARENA_NEW_N(&op->scratch, uint16_t, s->id_count);
		for (uint32_t i = 0; i < s->id_count; i++)
			if (s->live[i])
				sel[n++] = (uint16_t)i;
		*out = (struct vec_batch){.rows = s->id_count, .n = n, .sel = sel, .col_count = op->plan->col_count};
		s->id_count = 0;
		if (s->batch < VEC_ROWS)
			s->batch *= 2;
		if (n == 0)
			continue;
		out->cols = ARENA_NEW_N(&op->scratch, struct vec, op->plan->col_count + 1);
		table_batch_place(ta, s->stored, s->ids, out, &op->scratch);
		st = batch_filter(ex, &op->scratch, op->plan->filter, out);
		if (st)
			return exec_fail(ex, st);
	} while (out->n == 0 && work->left > 0);
	return STEP_MORE;
}

static void index_reset(struct op *op)
{
	struct index_scan *s = (struct index_scan *)op;

	s->started = false;
	s->id_count = 0;
}

const struct op_class op_index_class = {"Index Scan", sizeof(struct index_scan), index_step, index_open, index_reset,
					index_close};

/* -- VALUES ------------------------------------------------------------------------------------------------------------- */

struct values { struct op op; uint32_t at; uint8_t *phys; };

static void values_open(struct op *op)
{
	((struct values *)op)->phys = plan_phys(op->plan, op->ex->arena);
}

static enum step values_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct values *v = (struct values *)op;
	const struct plan *p = op->plan;
	uint32_t n = p->values.row_count - v->at;
	struct eval ev = exec_eval(op->ex, &op->scratch);

	if (n == 0)
		return STEP_DONE;
	if (n > VEC_ROWS)
		n = VEC_ROWS;
	arena_reset(&op->scratch);
	out->rows = out->n = n;
	out->col_count = p->col_count;
	out->cols = ARENA_NEW_N(&op->scratch, struct vec, p->col_count + 1);
	for (uint32_t c = 0; c < p->col_count; c++) {
		vec_alloc(&out->cols[c], v->phys[c], n, &op->scratch);
		for (uint32_t i = 0; i < n; i++) {
			const struct expr *e = p->values.rows[v->at + i][c];
			struct cell cell;
			enum status st;

			if (e->kind == EX_CONST) {
				vec_set(&out->cols[c], i, &e->value);
				continue;
			}
			st = expr_eval_one(&ev, e, &cell);
			if (st)
				return exec_fail(op->ex, st);
			vec_set(&out->cols[c], i, &cell);
		}
	}
	v->at += n;
	(void)budget_spend(work, (uint64_t)n * (1 + p->col_count));
	return STEP_MORE;
}

static void values_reset(struct op *op)
{
	((struct values *)op)->at = 0;
}

const struct op_class op_values_class = {"Values Scan", sizeof(struct values), values_step, values_open, values_reset,
					 NULL};

/* -- CTE ----------------------------------------------------------------------------------------------------------------- */

struct cte_scan { struct op op; uint64_t at; };

static enum step cte_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct cte_scan *c = (struct cte_scan *)op;
	struct exec *ex = op->ex;
	struct cte_state *cte = &ex->ctes[op->plan->cte.number];

	while (!cte->done) {
		struct vec_batch b;
		enum step st = op_step(cte->op, &b, work);

		if (st == STEP_DONE) {
			cte->done = true;
			break;
		}
		if (st != STEP_MORE)
			return st;
		rowset_add(&cte->rows, &b);
		if (exec_memory(ex) == STEP_ERROR)
			return STEP_ERROR;
		if (work->left <= 0) {
			out->n = 0;
			return STEP_MORE;
		}
	}
	rowset_batch(&cte->rows, c->at, out);
	if (out->rows == 0)
		return STEP_DONE;
	c->at += out->rows;
	(void)budget_spend(work, out->rows);
	return STEP_MORE;
}

static void cte_reset(struct op *op)
{
	((struct cte_scan *)op)->at = 0;
}

const struct op_class op_cte_class = {"CTE Scan", sizeof(struct cte_scan), cte_step, NULL, cte_reset, NULL};

/* -- system views ----------------------------------------------------------------------------------------------------------- */

struct virt {
	struct op op;
	struct virtual_rows *rows;
	struct arena store;
	uint8_t *phys;
};

static void virt_open(struct op *op)
{
	struct virt *v = (struct virt *)op;

	arena_init(&v->store, op->ex->mem);
	v->phys = plan_phys(op->plan, op->ex->arena);
}

static enum step virt_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct virt *v = (struct virt *)op;
	const struct plan *p = op->plan;
	struct rowset rs;
	struct cell *cells;
	enum status st = ST_OK;

	arena_reset(&op->scratch);
	if (!v->rows) {
		arena_reset(&v->store);
		v->rows = virtual_rows_open(op->ex, p->virt.name, p->virt.rel, &v->store);
		if (!v->rows)
			return exec_fail(op->ex, op->ex->err->code);
	}
	rowset_init(&rs, &op->scratch, p->col_count, v->phys);
	cells = ARENA_NEW_N(&op->scratch, struct cell, p->col_count + 1);
	/* a row that must wait keeps the ones before it: they go out first, the wait is met again at the next step */
	while (rs.count < VEC_ROWS && budget_spend(work, 8)) {
		const struct cell *row;

		st = virtual_rows_next(v->rows, &op->scratch, &row);
		if (st)
			break;
		for (uint32_t c = 0; c < p->col_count; c++)
			cells[c] = row[p->virt.attnos[c] - 1];
		rowset_add_row(&rs, cells);
	}
	if (rs.count == 0) {
		if (st == ST_END)
			return STEP_DONE;
		return st ? exec_fail(op->ex, st) : STEP_MORE;
	}
	rowset_batch(&rs, 0, out);
	return STEP_MORE;
}

static void virt_reset(struct op *op)
{
	((struct virt *)op)->rows = NULL;
}

static void virt_close(struct op *op)
{
	arena_fini(&((struct virt *)op)->store);
}

const struct op_class op_virtual_class = {"Virtual Scan", sizeof(struct virt), virt_step, virt_open, virt_reset,
					  virt_close};
