/*
 * op_sort.c - sorting: runs of 16Ki rows, then a merge by a heap of runs; only the best rows when a LIMIT is near.
 */
#include "engine/sql/exec.h"

#include <string.h>

#include "base/assert.h"

#define RUN_ROWS (16u * 1024)
#define TOP_ROWS_MAX 8192u      /* LIMIT + OFFSET up to here: keep no more than twice as many rows */

struct sort {
	struct op op;
	struct arena store[2];  /* rows; the other one is filled when a top-N set is cut down */
	uint32_t active;
	struct rowset rows;
	uint8_t *phys;
	bool bound_known, sorted;
	uint64_t bound;         /* rows that can be wanted; UINT64_MAX all */
	uint64_t run_start;     /* first row that is in no run yet */
	uint32_t *order, *temp; /* row numbers, run by run */
	uint64_t order_cap;
	uint32_t run_count, run_cap;
	struct run { uint64_t at, end; } *runs;
	uint32_t *heap, heap_count;
	uint64_t out_left;
};

static int row_compare(const struct sort *s, uint64_t a, uint64_t b)
{
	const struct plan *p = s->op.plan;

	for (uint32_t k = 0; k < p->sort.key_count; k++) {
		const struct sort_key *key = &p->sort.keys[k];
		const struct vec *va = rowset_vec(&s->rows, a, key->slot), *vb = rowset_vec(&s->rows, b, key->slot);
		uint32_t ra = (uint32_t)(a % VEC_ROWS), rb = (uint32_t)(b % VEC_ROWS);
		bool an = vec_null(va, ra), bn = vec_null(vb, rb);
		int c;

		if (an || bn) {
			if (an == bn)
				continue;
			return an == key->nulls_first ? -1 : 1;
		}
		c = vec_compare(key->oid, va, ra, vb, rb);
		if (c)
			return key->desc ? -c : c;
	}
	return a < b ? -1 : a > b; /* stable */
}

/* Merge sort of row numbers: stable, no recursion deeper than the log. */
static void run_sort(struct sort *s, uint32_t *a, uint32_t *tmp, uint32_t n)
{
	uint32_t half = n / 2, i = 0, j = half, k = 0;

	if (n <= 8) {
		for (i = 1; i < n; i++) {
			uint32_t v = a[i];

			for (j = i; j > 0 && row_compare(s, a[j - 1], v) > 0; j--)
				a[j] = a[j - 1];
			a[j] = v;
		}
		return;
	}
	run_sort(s, a, tmp, half);
	run_sort(s, a + half, tmp, n - half);
	if (row_compare(s, a[half - 1], a[half]) <= 0)
		return;
	while (i < half && j < n)
		tmp[k++] = row_compare(s, a[i], a[j]) <= 0 ? a[i++] : a[j++];
	while (i < half)
		tmp[k++] = a[i++];
	memcpy(a, tmp, k * sizeof *a);
}

static void sort_open(struct op *op)
{
	struct sort *s = (struct sort *)op;

	arena_init(&s->store[0], op->ex->mem);
	arena_init(&s->store[1], op->ex->mem);
	s->phys = plan_phys(op->plan, op->ex->arena);
	rowset_init(&s->rows, &s->store[0], op->plan->col_count, s->phys);
}

static void sort_free(struct sort *s)
{
	struct mem *mem = s->op.ex->mem;

	mem_free(mem, s->order, s->order_cap * sizeof *s->order);
	mem_free(mem, s->temp, s->temp ? RUN_ROWS * sizeof *s->temp : 0);
	mem_free(mem, s->runs, s->run_cap * sizeof *s->runs);
	mem_free(mem, s->heap, s->heap ? s->run_count * sizeof *s->heap : 0);
	s->order = s->temp = s->heap = NULL;
	s->runs = NULL;
	s->order_cap = s->run_cap = s->run_count = 0;
}

static void sort_close(struct op *op)
{
	struct sort *s = (struct sort *)op;

	sort_free(s);
	arena_fini(&s->store[0]);
	arena_fini(&s->store[1]);
}

static void sort_reset(struct op *op)
{
	struct sort *s = (struct sort *)op;

	sort_free(s);
	arena_reset(&s->store[0]);
	arena_reset(&s->store[1]);
	s->active = 0;
	rowset_init(&s->rows, &s->store[0], op->plan->col_count, s->phys);
	s->bound_known = s->sorted = false;
	s->run_start = 0;
}

static void end_run(struct sort *s)
{
	struct mem *mem = s->op.ex->mem;
	uint64_t n = s->rows.count - s->run_start;

	if (n == 0)
		return;
	if (s->rows.count > s->order_cap) {
		uint64_t cap = s->order_cap ? s->order_cap * 2 : 1024;

		while (cap < s->rows.count)
			cap *= 2;
		s->order = mem_realloc(mem, s->order, s->order_cap * sizeof *s->order, cap * sizeof *s->order);
		s->order_cap = cap;
	}
	if (!s->temp)
		s->temp = mem_alloc(mem, RUN_ROWS * sizeof *s->temp);
	if (s->run_count == s->run_cap) {
		uint32_t cap = s->run_cap ? s->run_cap * 2 : 4;

		s->runs = mem_realloc(mem, s->runs, s->run_cap * sizeof *s->runs, cap * sizeof *s->runs);
		s->run_cap = cap;
	}
	for (uint64_t i = s->run_start; i < s->rows.count; i++)
		s->order[i] = (uint32_t)i;
	run_sort(s, s->order + s->run_start, s->temp, (uint32_t)n);
	s->runs[s->run_count++] = (struct run){s->run_start, s->rows.count};
	s->run_start = s->rows.count;
}

/* Top-N: sorts what is there and keeps the first bound rows in the other arena. */
static void cut_down(struct sort *s)
{
	struct rowset kept;
	struct arena *to = &s->store[1 - s->active];
	uint64_t rows[VEC_ROWS];
	struct vec *cols;

	ASSERT_OP(s->rows.count, <=, RUN_ROWS + 2 * VEC_ROWS);
	s->run_start = 0;
	s->run_count = 0;
	end_run(s);
	arena_reset(to);
	arena_reset(&s->op.scratch);
	rowset_init(&kept, to, s->rows.col_count, s->phys);
	cols = ARENA_NEW_N(&s->op.scratch, struct vec, s->rows.col_count + 1);
	for (uint64_t at = 0; at < s->bound && at < s->rows.count;) {
		uint32_t n = 0;
		struct vec_batch b = {.col_count = s->rows.col_count, .cols = cols};

		while (n < VEC_ROWS && at < s->bound && at < s->rows.count)
			rows[n++] = s->order[at++];
		rowset_gather(&s->rows, 0, s->rows.col_count, rows, n, &s->op.scratch, cols);
		b.rows = b.n = n;
		rowset_add(&kept, &b);
	}
	arena_reset(&s->store[s->active]);
	s->active = 1 - s->active;
	s->rows = kept;
	s->run_start = 0;
	s->run_count = 0;
}

static enum status sort_bound(struct sort *s)
{
	const struct plan *p = s->op.plan;
	struct eval ev = exec_eval(s->op.ex, &s->op.scratch);
	struct cell lim, off = {.i = 0};
	enum status st;

	s->bound_known = true;
	s->bound = UINT64_MAX;
	if (!p->sort.limit)
		return ST_OK;
	st = expr_eval_one(&ev, p->sort.limit, &lim);
	if (!st && p->sort.offset)
		st = expr_eval_one(&ev, p->sort.offset, &off);
	if (st)
		return st;
	if (!lim.null && !off.null && lim.i >= 0 && off.i >= 0 && lim.i <= TOP_ROWS_MAX && off.i <= TOP_ROWS_MAX &&
	    lim.i + off.i <= TOP_ROWS_MAX)
		s->bound = (uint64_t)(lim.i + off.i);
	return ST_OK;
}

static enum step sort_fill(struct sort *s, struct budget *work)
{
	struct vec_batch in;

	for (;;) {
		enum step st = op_step(s->op.left, &in, work);

		if (st != STEP_MORE)
			return st;
		rowset_add(&s->rows, &in);
		if (s->rows.count >= UINT32_MAX - VEC_ROWS) {
			(void)error_set(s->op.ex->err, ST_PROGRAM_LIMIT, "more than 4 billion rows to sort");
			return exec_fail(s->op.ex, ST_PROGRAM_LIMIT);
		}
		if (s->bound != UINT64_MAX && s->rows.count > 2 * s->bound + VEC_ROWS && s->rows.count > 2 * VEC_ROWS - 1 + s->bound)
			cut_down(s);
		else if (s->bound == UINT64_MAX && s->rows.count - s->run_start >= RUN_ROWS - VEC_ROWS)
			end_run(s);
		if (exec_memory(s->op.ex) == STEP_ERROR)
			return STEP_ERROR;
		(void)budget_spend(work, in.n * 4);
		if (work->left <= 0)
			return STEP_MORE;
	}
}

static void sift(struct sort *s, uint32_t at)
{
	for (;;) {
		uint32_t l = 2 * at + 1, best = at, t;

		for (uint32_t c = l; c < l + 2 && c < s->heap_count; c++)
			if (row_compare(s, s->order[s->runs[s->heap[c]].at], s->order[s->runs[s->heap[best]].at]) < 0)
				best = c;
		if (best == at)
			return;
		t = s->heap[at];
		s->heap[at] = s->heap[best];
		s->heap[best] = t;
		at = best;
	}
}

static void merge_start(struct sort *s)
{
	s->heap_count = s->run_count;
	if (!s->run_count)
		return;
	s->heap = mem_alloc(s->op.ex->mem, s->run_count * sizeof *s->heap);
	for (uint32_t i = 0; i < s->run_count; i++)
		s->heap[i] = i;
	for (uint32_t i = s->heap_count / 2; i-- > 0;)
		sift(s, i);
}

static enum step sort_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct sort *s = (struct sort *)op;
	uint64_t rows[VEC_ROWS];
	uint32_t n = 0;

	if (!s->bound_known) {
		enum status st = sort_bound(s);

		if (st)
			return exec_fail(op->ex, st);
	}
	if (!s->sorted) {
		enum step st = sort_fill(s, work);

		if (st != STEP_DONE)
			return st;
		end_run(s);
		merge_start(s);
		s->sorted = true;
		s->out_left = s->bound;
	}
	arena_reset(&op->scratch);
	while (n < VEC_ROWS && s->heap_count && s->out_left) {
		struct run *r = &s->runs[s->heap[0]];

		rows[n++] = s->order[r->at++];
		s->out_left--;
		if (r->at == r->end)
			s->heap[0] = s->heap[--s->heap_count];
		if (s->heap_count > 1)
			sift(s, 0);
	}
	if (n == 0)
		return STEP_DONE;
	out->rows = out->n = n;
	out->col_count = op->plan->col_count;
	out->cols = ARENA_NEW_N(&op->scratch, struct vec, out->col_count + 1);
	rowset_gather(&s->rows, 0, out->col_count, rows, n, &op->scratch, out->cols);
	(void)budget_spend(work, n * 4);
	return STEP_MORE;
}

const struct op_class op_sort_class = {"Sort", sizeof(struct sort), sort_step, sort_open, sort_reset, sort_close};
