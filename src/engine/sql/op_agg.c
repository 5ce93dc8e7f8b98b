/*
 * op_agg.c - aggregation by hash, duplicate removal, INTERSECT and EXCEPT.
 */
#include "engine/sql/exec.h"

#include <string.h>

#include "base/assert.h"

/* -- a hash table over rows: nulls equal each other ---------------------------------------------------------- */

struct rowtab {
	struct mem *mem;
	struct rowset rows;
	const uint32_t *oids;
	uint64_t *hashes, *next, *heads;
	uint64_t cap, head_cap; /* cap of hashes and next */
};

static void rowtab_init(struct rowtab *t, struct mem *mem, struct arena *arena, uint32_t cols, const uint8_t *phys,
			const uint32_t *oids)
{
	memset(t, 0, sizeof *t);
	t->mem = mem;
	t->oids = oids;
	rowset_init(&t->rows, arena, cols, phys);
}

static void rowtab_fini(struct rowtab *t)
{
	mem_free(t->mem, t->hashes, t->cap * sizeof *t->hashes);
	mem_free(t->mem, t->next, t->cap * sizeof *t->next);
	mem_free(t->mem, t->heads, t->head_cap * sizeof *t->heads);
	t->hashes = t->next = t->heads = NULL;
	t->cap = t->head_cap = 0;
}

static void rowtab_grow(struct rowtab *t)
{
	uint64_t cap;

	if (t->rows.count == t->cap) {
		cap = t->cap ? t->cap * 2 : 64;
		t->hashes = mem_realloc(t->mem, t->hashes, t->cap * sizeof *t->hashes, cap * sizeof *t->hashes);
		t->next = mem_realloc(t->mem, t->next, t->cap * sizeof *t->next, cap * sizeof *t->next);
		t->cap = cap;
	}
	if (t->rows.count * 2 < t->head_cap)
		return;
	cap = t->head_cap ? t->head_cap * 4 : 128;
	mem_free(t->mem, t->heads, t->head_cap * sizeof *t->heads);
	t->heads = mem_alloc(t->mem, cap * sizeof *t->heads);
	t->head_cap = cap;
	for (uint64_t i = 0; i < t->rows.count; i++) {
		uint64_t *h = &t->heads[t->hashes[i] & (cap - 1)];

		t->next[i] = *h;
		*h = i + 1;
	}
}

/* Row number of an equal row; UINT64_MAX: none, or where it now is when add is set (then *added_out). */
static uint64_t rowtab_find(struct rowtab *t, const struct vec_batch *b, uint32_t row, uint64_t hash, bool add,
			    bool *added_out)
{
	struct vec_batch one = *b;
	uint16_t sel = (uint16_t)row;

	*added_out = false;
	for (uint64_t at = t->heads ? t->heads[hash & (t->head_cap - 1)] : 0; at; at = t->next[at - 1]) {
		uint32_t c = 0;

		if (t->hashes[at - 1] != hash)
			continue;
		while (c < t->rows.col_count &&
		       vec_compare(t->oids[c], &b->cols[c], row, rowset_vec(&t->rows, at - 1, c),
				   (uint32_t)((at - 1) % VEC_ROWS)) == 0)
			c++;
		if (c == t->rows.col_count)
			return at - 1;
	}
	if (!add)
		return UINT64_MAX;
	rowtab_grow(t);
	one.sel = &sel;
	one.n = 1;
	t->hashes[t->rows.count] = hash;
	t->next[t->rows.count] = t->heads[hash & (t->head_cap - 1)];
	t->heads[hash & (t->head_cap - 1)] = t->rows.count + 1;
	rowset_add(&t->rows, &one);
	*added_out = true;
	return t->rows.count - 1;
}

/* -- aggregation ------------------------------------------------------------------------------------------------ */

struct agg_state {
	uint32_t offset;        /* in a group's block */
	bool distinct;
	struct rowtab seen;     /* DISTINCT: (group, arguments) */
	struct rowset buffer;   /* ORDER BY: (group, arguments, order) */
	uint8_t *phys;
	uint32_t *oids;
};
struct agg {
	struct op op;
	struct arena store;
	struct rowtab groups;
	uint8_t *phys;
	uint32_t *oids;
	uint32_t block_bytes;
	uint8_t **blocks;
	uint64_t block_cap, block_count;
	struct agg_state *aggs;
	bool filled;
	uint32_t fed;           /* aggregates with an order that have been fed */
	uint64_t at;
};

static void agg_state_init(struct agg *a, uint32_t i)
{
	const struct agg_use *u = &a->op.plan->agg.aggs[i];
	struct agg_state *s = &a->aggs[i];
	uint32_t n = 1 + u->arg_count + u->order_count;

	if (!s->phys) {
		s->phys = arena_alloc(a->op.ex->arena, n);
		s->oids = ARENA_NEW_N(a->op.ex->arena, uint32_t, n);
		s->phys[0] = PHYS_I64;
		s->oids[0] = T_INT8;
		for (uint32_t c = 1; c < n; c++) {
			const struct expr *e = c <= u->arg_count ? u->args[c - 1] : u->order[c - 1 - u->arg_count].expr;
			const struct type_info *ti = type_find(e->type.oid);

			s->oids[c] = e->type.oid;
			s->phys[c] = ti ? ti->phys : PHYS_VAR;
		}
	}
	s->distinct = u->distinct && u->arg_count;
	rowtab_init(&s->seen, a->op.ex->mem, &a->store, 1 + u->arg_count, s->phys, s->oids);
	rowset_init(&s->buffer, &a->store, n, s->phys);
}

static void agg_start(struct agg *a)
{
	const struct plan *p = a->op.plan;

	rowtab_init(&a->groups, a->op.ex->mem, &a->store, p->agg.group_count, a->phys, a->oids);
	for (uint32_t i = 0; i < p->agg.agg_count; i++)
		agg_state_init(a, i);
	a->filled = false;
	a->fed = 0;
	a->at = a->block_count = 0;
}

static void agg_open(struct op *op)
{
	struct agg *a = (struct agg *)op;
	const struct plan *p = op->plan;

	arena_init(&a->store, op->ex->mem);
	a->phys = plan_phys(p, op->ex->arena);
	a->oids = ARENA_NEW_N(op->ex->arena, uint32_t, p->agg.group_count + 1);
	for (uint32_t i = 0; i < p->agg.group_count; i++)
		a->oids[i] = p->cols[i].type.oid;
	a->aggs = ARENA_NEW_N(op->ex->arena, struct agg_state, p->agg.agg_count + 1);
	for (uint32_t i = 0; i < p->agg.agg_count; i++) {
		a->aggs[i].offset = a->block_bytes;
		a->block_bytes += (p->agg.aggs[i].agg->state_bytes + 15) & ~15u;
	}
	agg_start(a);
}

static void agg_free(struct agg *a)
{
	rowtab_fini(&a->groups);
	for (uint32_t i = 0; i < a->op.plan->agg.agg_count; i++)
		rowtab_fini(&a->aggs[i].seen);
	mem_free(a->op.ex->mem, a->blocks, a->block_cap * sizeof *a->blocks);
	a->blocks = NULL;
	a->block_cap = 0;
}

static void agg_close(struct op *op)
{
	agg_free((struct agg *)op);
	arena_fini(&((struct agg *)op)->store);
}

static void agg_reset(struct op *op)
{
	struct agg *a = (struct agg *)op;

	agg_free(a);
	arena_reset(&a->store);
	agg_start(a);
}

static void agg_new_block(struct agg *a)
{
	if (a->block_count == a->block_cap) {
		uint64_t cap = a->block_cap ? a->block_cap * 2 : 16;

		a->blocks = mem_realloc(a->op.ex->mem, a->blocks, a->block_cap * sizeof *a->blocks,
					cap * sizeof *a->blocks);
		a->block_cap = cap;
	}
	a->blocks[a->block_count++] = arena_alloc(&a->store, a->block_bytes ? a->block_bytes : 1);
}

/* The group of each selected row. */
static enum status agg_groups(struct agg *a, const struct vec_batch *in, uint64_t *group)
{
	const struct plan *p = a->op.plan;
	uint64_t hashes[VEC_ROWS];
	struct vec_batch keys = *in;

	if (p->agg.group_count == 0) {
		if (a->block_count == 0)
			agg_new_block(a);
		memset(group, 0, in->n * sizeof *group);
		return ST_OK;
	}
	keys.col_count = p->agg.group_count;
	keys.cols = ARENA_NEW_N(&a->op.scratch, struct vec, keys.col_count);
	for (uint32_t i = 0; i < keys.col_count; i++) {
		enum status st = exec_expr(a->op.ex, &a->op.scratch, p->agg.groups[i], in, &keys.cols[i]);

		if (st)
			return st;
	}
	batch_hash(&keys, NULL, a->oids, keys.col_count, hashes);
	for (uint32_t i = 0; i < in->n; i++) {
		bool added;

		group[i] = rowtab_find(&a->groups, &keys, batch_row(in, i), hashes[i], true, &added);
		if (added)
			agg_new_block(a);
	}
	return ST_OK;
}

/* Selected rows of args go to their groups' states. group, and the states handed on: by position in the selection. */
static enum status agg_feed(struct agg *a, uint32_t i, const struct vec *args, const uint64_t *group,
			    const uint16_t *sel, uint32_t n)
{
	const struct agg_use *u = &a->op.plan->agg.aggs[i];
	struct eval ev = exec_eval(a->op.ex, &a->op.scratch);
	void *states[VEC_ROWS];

	for (uint32_t k = 0; k < n; k++)
		states[k] = a->blocks[group[k]] + a->aggs[i].offset;
	return u->agg->add(&ev, u->agg, states, args, sel, n, &a->store);
}

static enum status agg_one(struct agg *a, uint32_t i, const struct vec_batch *all, const uint64_t *all_group)
{
	const struct agg_use *u = &a->op.plan->agg.aggs[i];
	struct agg_state *s = &a->aggs[i];
	struct exec *ex = a->op.ex;
	struct arena *arena = &a->op.scratch;
	struct vec_batch in = *all, rows;
	uint64_t group[VEC_ROWS];
	struct vec *cols = ARENA_NEW_N(arena, struct vec, 1 + u->arg_count + u->order_count);
	enum status st = ST_OK;

	st = batch_filter(ex, arena, u->filter, &in);
	if (st || in.n == 0)
		return st;
	for (uint32_t k = 0, w = 0; k < in.n; k++) { /* the filter kept the order */
		while (batch_row(all, w) != batch_row(&in, k))
			w++;
		group[k] = all_group[w];
	}
	for (uint32_t c = 0; c < u->arg_count && !st; c++)
		st = exec_expr(ex, arena, u->args[c], &in, &cols[1 + c]);
	for (uint32_t c = 0; c < u->order_count && !st; c++)
		st = exec_expr(ex, arena, u->order[c].expr, &in, &cols[1 + u->arg_count + c]);
	if (st)
		return st;
	if (!s->distinct && !u->order_count)
		return agg_feed(a, i, cols + 1, group, in.sel, in.n);
	rows = in;
	rows.cols = cols;
	rows.col_count = 1 + u->arg_count;
	vec_alloc(&cols[0], PHYS_I64, in.rows, arena);
	for (uint32_t k = 0; k < in.n; k++)
		cols[0].i64[batch_row(&in, k)] = (int64_t)group[k];
	if (s->distinct) {
		uint64_t hashes[VEC_ROWS];
		uint16_t *sel = ARENA_NEW_N(arena, uint16_t, in.n);
		uint32_t n = 0;

		batch_hash(&rows, NULL, s->oids, rows.col_count, hashes);
		for (uint32_t k = 0; k < in.n; k++) {
			uint32_t r = batch_row(&in, k);
			bool added;

			(void)rowtab_find(&s->seen, &rows, r, hashes[k], true, &added);
			if (!added)
				continue;
			group[n] = group[k];
			sel[n++] = (uint16_t)r;
		}
		rows.sel = sel;
		rows.n = n;
		if (!u->order_count)
			return n ? agg_feed(a, i, cols + 1, group, sel, n) : ST_OK;
	}
	rows.col_count = 1 + u->arg_count + u->order_count;
	rowset_add(&s->buffer, &rows);
	return ST_OK;
}

static int buffer_compare(const struct agg *a, uint32_t i, uint64_t x, uint64_t y)
{
	const struct agg_use *u = &a->op.plan->agg.aggs[i];
	const struct agg_state *s = &a->aggs[i];
	uint32_t rx = (uint32_t)(x % VEC_ROWS), ry = (uint32_t)(y % VEC_ROWS);

	for (uint32_t k = 0; k < u->order_count; k++) {
		uint32_t c = 1 + u->arg_count + k;
		const struct vec *vx = rowset_vec(&s->buffer, x, c), *vy = rowset_vec(&s->buffer, y, c);
		bool xn = vec_null(vx, rx), yn = vec_null(vy, ry);
		int cmp;

		if (xn || yn) {
			if (xn != yn)
				return xn == u->order[k].nulls_first ? -1 : 1;
			continue;
		}
		cmp = vec_compare(s->oids[c], vx, rx, vy, ry);
		if (cmp)
			return u->order[k].desc ? -cmp : cmp;
	}
	return x < y ? -1 : x > y;
}

static void buffer_sort(const struct agg *a, uint32_t i, uint64_t *v, uint64_t *tmp, uint64_t n)
{
	uint64_t half = n / 2, l = 0, r = half, k = 0;

	if (n < 2)
		return;
	buffer_sort(a, i, v, tmp, half);
	buffer_sort(a, i, v + half, tmp, n - half);
	while (l < half && r < n)
		tmp[k++] = buffer_compare(a, i, v[l], v[r]) <= 0 ? v[l++] : v[r++];
	while (l < half)
		tmp[k++] = v[l++];
	memcpy(v, tmp, k * sizeof *v);
}

/* Feeds an ordered aggregate: in its order over all groups, which is its order in each. */
static enum status agg_feed_ordered(struct agg *a, uint32_t i)
{
	const struct agg_use *u = &a->op.plan->agg.aggs[i];
	struct agg_state *s = &a->aggs[i];
	uint64_t n = s->buffer.count;
	uint64_t *order = mem_alloc(a->op.ex->mem, 2 * (n + 1) * sizeof *order);
	enum status st = ST_OK;

	for (uint64_t k = 0; k < n; k++)
		order[k] = k;
	buffer_sort(a, i, order, order + n + 1, n);
	for (uint64_t at = 0; at < n && !st; at += VEC_ROWS) {
		uint32_t m = n - at < VEC_ROWS ? (uint32_t)(n - at) : VEC_ROWS;
		struct vec *cols;

		arena_reset(&a->op.scratch);
		cols = ARENA_NEW_N(&a->op.scratch, struct vec, 1 + u->arg_count);
		rowset_gather(&s->buffer, 0, 1 + u->arg_count, order + at, m, &a->op.scratch, cols);
		st = agg_feed(a, i, cols + 1, (const uint64_t *)cols[0].i64, NULL, m);
	}
	mem_free(a->op.ex->mem, order, 2 * (n + 1) * sizeof *order);
	return st;
}

static enum step agg_fill(struct agg *a, struct budget *work)
{
	const struct plan *p = a->op.plan;
	struct exec *ex = a->op.ex;
	uint64_t group[VEC_ROWS];
	struct vec_batch in;

	for (;;) {
		enum step st = op_step(a->op.left, &in, work);
		enum status s;

		if (st != STEP_MORE)
			return st;
		if (in.n) {
			arena_reset(&a->op.scratch);
			s = agg_groups(a, &in, group);
			for (uint32_t i = 0; i < p->agg.agg_count && !s; i++)
				s = agg_one(a, i, &in, group);
			if (s)
				return exec_fail(ex, s);
			if (exec_memory(ex) == STEP_ERROR)
				return STEP_ERROR;
		}
		if (!budget_spend(work, in.n * (1 + p->agg.agg_count)))
			return STEP_MORE;
	}
}

static enum step agg_out(struct agg *a, struct vec_batch *out, struct budget *work)
{
	const struct plan *p = a->op.plan;
	struct eval ev;
	struct vec_batch keys = {0};
	uint64_t left = a->block_count - a->at;
	uint32_t n = left > VEC_ROWS ? VEC_ROWS : (uint32_t)left, gc = p->agg.group_count;

	if (n == 0)
		return STEP_DONE;
	arena_reset(&a->op.scratch);
	ev = exec_eval(a->op.ex, &a->op.scratch);
	*out = (struct vec_batch){.rows = n, .n = n, .col_count = p->col_count};
	out->cols = ARENA_NEW_N(&a->op.scratch, struct vec, p->col_count + 1);
	if (gc) {
		rowset_batch(&a->groups.rows, a->at, &keys);
		memcpy(out->cols, keys.cols, gc * sizeof *out->cols);
	}
	for (uint32_t i = 0; i < p->agg.agg_count; i++) {
		const struct agg_use *u = &p->agg.aggs[i];

		vec_alloc(&out->cols[gc + i], a->phys[gc + i], n, &a->op.scratch);
		for (uint32_t k = 0; k < n; k++) {
			struct cell c = {.phys = a->phys[gc + i]};
			enum status st = u->agg->final(&ev, u->agg, a->blocks[a->at + k] + a->aggs[i].offset,
						       &a->op.scratch, &c);

			if (st)
				return exec_fail(a->op.ex, st);
			vec_set(&out->cols[gc + i], k, &c);
		}
	}
	a->at += n;
	(void)budget_spend(work, n * (1 + p->agg.agg_count));
	return STEP_MORE;
}

static enum step agg_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct agg *a = (struct agg *)op;

	if (!a->filled) {
		enum step st = agg_fill(a, work);

		if (st != STEP_DONE)
			return st;
		if (op->plan->agg.group_count == 0 && a->block_count == 0)
			agg_new_block(a);
		a->filled = true;
	}
	for (; a->fed < op->plan->agg.agg_count; a->fed++) {
		enum status s = op->plan->agg.aggs[a->fed].order_count ? agg_feed_ordered(a, a->fed) : ST_OK;

		if (s)
			return exec_fail(op->ex, s);
	}
	return agg_out(a, out, work);
}

const struct op_class op_agg_class = {"Aggregate", sizeof(struct agg), agg_step, agg_open, agg_reset, agg_close};

/* -- INTERSECT, EXCEPT --------------------------------------------------------------------------------------------- */

struct setop {
	struct op op;
	struct arena store;
	struct rowtab rows;
	uint8_t *phys;
	uint32_t *oids;
	int64_t *counts;        /* of the right side; -1: already answered from the left */
	uint64_t count_cap;
	bool filled;
};

static void setop_open(struct op *op)
{
	struct setop *s = (struct setop *)op;

	arena_init(&s->store, op->ex->mem);
	s->phys = plan_phys(op->plan, op->ex->arena);
	s->oids = ARENA_NEW_N(op->ex->arena, uint32_t, op->plan->col_count + 1);
	for (uint32_t i = 0; i < op->plan->col_count; i++)
		s->oids[i] = op->plan->cols[i].type.oid;
	rowtab_init(&s->rows, op->ex->mem, &s->store, op->plan->col_count, s->phys, s->oids);
}

static void setop_free(struct setop *s)
{
	rowtab_fini(&s->rows);
	mem_free(s->op.ex->mem, s->counts, s->count_cap * sizeof *s->counts);
	s->counts = NULL;
	s->count_cap = 0;
}

static void setop_close(struct op *op)
{
	setop_free((struct setop *)op);
	arena_fini(&((struct setop *)op)->store);
}

static void setop_reset(struct op *op)
{
	struct setop *s = (struct setop *)op;

	setop_free(s);
	arena_reset(&s->store);
	rowtab_init(&s->rows, op->ex->mem, &s->store, op->plan->col_count, s->phys, s->oids);
	s->filled = false;
}

static int64_t *setop_count(struct setop *s, uint64_t at)
{
	if (at >= s->count_cap) {
		uint64_t cap = s->count_cap ? s->count_cap * 2 : 64;

		while (cap <= at)
			cap *= 2;
		s->counts = mem_realloc(s->op.ex->mem, s->counts, s->count_cap * sizeof *s->counts,
					cap * sizeof *s->counts);
		s->count_cap = cap;
	}
	return &s->counts[at];
}

/* Does a row of the left side come out? */
static bool setop_keep(struct setop *s, const struct vec_batch *b, uint32_t row, uint64_t hash)
{
	bool all = s->op.plan->setop.all, intersect = s->op.plan->setop.op == SETOP_INTERSECT, added;
	uint64_t at = rowtab_find(&s->rows, b, row, hash, !intersect && !all, &added);
	int64_t *count;

	if (at == UINT64_MAX)
		return !intersect;
	count = setop_count(s, at);
	if (added) {
		*count = -1;
		return true;
	}
	if (*count <= 0)
		return !intersect && all;
	if (all)
		(*count)--;
	else if (intersect)
		*count = -1;
	return intersect;
}

static enum step setop_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct setop *s = (struct setop *)op;
	uint64_t hashes[VEC_ROWS];
	struct vec_batch in;
	uint16_t *sel;
	uint32_t n = 0;
	enum step st;

	while (!s->filled) {
		st = op_step(op->right, &in, work);
		if (st == STEP_DONE) {
			s->filled = true;
			break;
		}
		if (st != STEP_MORE)
			return st;
		if (in.n)
			batch_hash(&in, NULL, s->oids, op->plan->col_count, hashes);
		for (uint32_t i = 0; i < in.n; i++) {
			bool added;

			(*setop_count(s, rowtab_find(&s->rows, &in, batch_row(&in, i), hashes[i], true, &added)))++;
		}
		if (exec_memory(op->ex) == STEP_ERROR)
			return STEP_ERROR;
		if (!budget_spend(work, in.n * 2))
			return STEP_MORE;
	}
	st = op_step(op->left, &in, work);
	if (st != STEP_MORE || in.n == 0)
		return st;
	arena_reset(&op->scratch);
	sel = ARENA_NEW_N(&op->scratch, uint16_t, in.n);
	batch_hash(&in, NULL, s->oids, op->plan->col_count, hashes);
	for (uint32_t i = 0; i < in.n; i++)
		if (setop_keep(s, &in, batch_row(&in, i), hashes[i]))
			sel[n++] = (uint16_t)batch_row(&in, i);
	(void)budget_spend(work, in.n * 2);
	*out = in;
	out->sel = sel;
	out->n = n;
	return exec_memory(op->ex);
}

const struct op_class op_setop_class = {"SetOp", sizeof(struct setop), setop_step, setop_open, setop_reset,
					setop_close};
