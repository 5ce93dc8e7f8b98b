/*
 * op_join.c - joins: nested loop, index lookups, hash.
 *
 * All of them hold a copy of one vector of the left (outer) side and note which of its rows found a match; what
 * depends on that (the null rows of LEFT, all of SEMI and ANTI) goes out when the vector is through.
 */
#include "engine/sql/exec.h"

#include <string.h>

#include "base/assert.h"
#include "engine/sql/exec_key.h"

struct outer {
	struct arena keep;
	struct vec_batch held;
	bool holding, done;
	bool matched[VEC_ROWS];
};

static void outer_open(struct op *op, struct outer *o)
{
	arena_init(&o->keep, op->ex->mem);
}

/* STEP_DONE: a vector is held. STEP_MORE: none yet (or o->done: there are no more). */
static enum step outer_take(struct op *op, struct outer *o, struct budget *work)
{
	struct vec_batch in;
	enum step st = op_step(op->left, &in, work);

	if (st == STEP_DONE) {
		o->done = true;
		return STEP_MORE;
	}
	if (st != STEP_MORE || in.n == 0)
		return st;
	arena_reset(&o->keep);
	batch_copy(&in, &o->keep, &o->held);
	memset(o->matched, 0, o->held.n * sizeof *o->matched);
	o->holding = true;
	return STEP_DONE;
}

static void null_columns(const struct plan *p, uint32_t from, uint32_t to, struct vec *cols, struct arena *arena)
{
	for (uint32_t c = from; c < to; c++) {
		const struct type_info *ti = type_find(p->cols[c].type.oid);
		struct cell null = {.phys = ti ? ti->phys : PHYS_VAR, .null = true};

		vec_constant(&cols[c], &null, arena);
	}
}

/* The rows of the held vector that go out by themselves at its end; n 0: none. */
static void outer_rest(struct op *op, struct outer *o, struct vec_batch *out)
{
	const struct plan *p = op->plan;
	bool want = p->join == JOIN_SEMI;
	uint16_t *sel;
	uint32_t n = 0;

	o->holding = false;
	if (p->join == JOIN_INNER || p->join == JOIN_RIGHT)
		return;
	sel = ARENA_NEW_N(&o->keep, uint16_t, o->held.n);
	for (uint32_t i = 0; i < o->held.n; i++)
		if (o->matched[i] == want)
			sel[n++] = (uint16_t)i;
	*out = o->held;
	out->sel = sel;
	out->n = n;
	out->col_count = p->col_count;
	if (p->col_count > p->join_left_cols) {
		out->cols = ARENA_NEW_N(&o->keep, struct vec, p->col_count + 1);
		memcpy(out->cols, o->held.cols, p->join_left_cols * sizeof *out->cols);
		null_columns(p, p->join_left_cols, p->col_count, out->cols, &o->keep);
	}
}

/* -- nested loop -------------------------------------------------------------------------------------------- */

struct nestloop {
	struct op op;
	struct outer outer;
	uint32_t row;
	bool inside;            /* the right side is open for row */
	struct vec *sets;
};

static void nestloop_open(struct op *op)
{
	outer_open(op, &((struct nestloop *)op)->outer);
}

static enum step nestloop_start_row(struct nestloop *j)
{
	const struct plan *p = j->op.plan;
	struct exec *ex = j->op.ex;

	if (j->row == 0) {
		j->sets = ARENA_NEW_N(&j->outer.keep, struct vec, p->set_count + 1);
		for (uint32_t i = 0; i < p->set_count; i++) {
			enum status st = exec_expr(ex, &j->outer.keep, p->sets[i].value, &j->outer.held, &j->sets[i]);

			if (st)
				return exec_fail(ex, st);
		}
	}
	for (uint32_t i = 0; i < p->set_count; i++)
		vec_cell(&j->sets[i], j->row, &ex->params[p->sets[i].param - 1]);
	op_reset(j->op.right);
	j->inside = true;
	return STEP_MORE;
}

/* One vector of the right side beside the current row. */
static enum step nestloop_match(struct nestloop *j, struct vec_batch *in, struct vec_batch *out)
{
	const struct plan *p = j->op.plan;
	struct exec *ex = j->op.ex;
	uint32_t lc = p->join_left_cols;
	struct arena *arena = &j->op.scratch;

	arena_reset(arena);
	*out = *in;
	out->col_count = lc + in->col_count;
	out->cols = ARENA_NEW_N(arena, struct vec, out->col_count + 1);
	for (uint32_t c = 0; c < lc; c++) {
		struct cell v;

		vec_cell(&j->outer.held.cols[c], j->row, &v);
		v.phys = j->outer.held.cols[c].phys;
		vec_constant(&out->cols[c], &v, arena);
	}
	if (in->col_count)
		memcpy(out->cols + lc, in->cols, in->col_count * sizeof *in->cols);
	if (p->join_cond) {
		enum status st = batch_filter(ex, arena, p->join_cond, out);

		if (st)
			return exec_fail(ex, st);
	}
	if (out->n)
		j->outer.matched[j->row] = true;
	if (p->join == JOIN_SEMI || p->join == JOIN_ANTI) {
		if (out->n)
			j->inside = false; /* one is enough */
		out->n = 0;
		if (!j->inside)
			j->row++;
	}
	return STEP_MORE;
}

static enum step nestloop_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct nestloop *j = (struct nestloop *)op;
	struct vec_batch in;
	enum step st;

	while (work->left > 0) {
		if (!j->outer.holding) {
			if (j->outer.done)
				return STEP_DONE;
			st = outer_take(op, &j->outer, work);
			if (st != STEP_DONE && !j->outer.done)
				return st;
			j->row = 0;
			j->inside = false;
			continue;
		}
		if (j->row >= j->outer.held.n) {
			outer_rest(op, &j->outer, out);
			if (out->n)
				return STEP_MORE;
			continue;
		}
		if (!j->inside && nestloop_start_row(j) != STEP_MORE)
			return STEP_ERROR;
		st = op_step(op->right, &in, work);
		(void)budget_spend(work, 1 + in.n);
		if (st == STEP_DONE) {
			j->inside = false;
			j->row++;
			continue;
		}
		if (st != STEP_MORE)
			return st;
		if (in.n == 0)
			continue;
		st = nestloop_match(j, &in, out);
		if (st != STEP_MORE || out->n)
			return st;
	}
	out->n = 0;
	return STEP_MORE;
}

static void nestloop_reset(struct op *op)
{
	struct nestloop *j = (struct nestloop *)op;

	j->outer.holding = j->outer.done = j->inside = false;
}

static void nestloop_close(struct op *op)
{
	arena_fini(&((struct nestloop *)op)->outer.keep);
}

const struct op_class op_nestloop_class = {"Nested Loop", sizeof(struct nestloop), nestloop_step, nestloop_open,
					   nestloop_reset, nestloop_close};

/* -- index lookups ---------------------------------------------------------------------------------------------- */

struct indexjoin {
	struct op op;
	struct outer outer;
	struct vec *eq, lo, hi;         /* key values over the held vector */
	uint32_t row;
	bool inside;                    /* at is a position within row's range */
	struct access_index_scan at;
	uint16_t *pair_row;
	row_id *pair_id;
	uint32_t pairs;
	struct vec *stored;
	bool *live;
	struct buf buf;
	struct key_range range;
};

static void indexjoin_open(struct op *op)
{
	struct indexjoin *j = (struct indexjoin *)op;

	outer_open(op, &j->outer);
	buf_init(&j->buf, op->ex->mem);
	j->pair_row = ARENA_NEW_N(op->ex->arena, uint16_t, VEC_ROWS);
	j->pair_id = ARENA_NEW_N(op->ex->arena, row_id, VEC_ROWS);
	j->live = ARENA_NEW_N(op->ex->arena, bool, VEC_ROWS);
	j->stored = ARENA_NEW_N(op->ex->arena, struct vec, op->plan->table.want_count + 1);
	j->eq = ARENA_NEW_N(op->ex->arena, struct vec, op->plan->table.key_count + 1);
}

static enum status indexjoin_keys(struct indexjoin *j)
{
	const struct table_access *ta = &j->op.plan->table;
	struct exec *ex = j->op.ex;
	enum status st = ST_OK;

	for (uint32_t i = 0; i < ta->key_count && !st; i++) {
		const struct index_key *k = &ta->keys[i];

		if (k->eq)
			st = exec_expr(ex, &j->outer.keep, k->eq, &j->outer.held, &j->eq[i]);
		if (k->lo && !st)
			st = exec_expr(ex, &j->outer.keep, k->lo, &j->outer.held, &j->lo);
		if (k->hi && !st)
			st = exec_expr(ex, &j->outer.keep, k->hi, &j->outer.held, &j->hi);
	}
	return st;
}

/* The range of the current row; false: it matches nothing. */
static bool indexjoin_range(struct indexjoin *j, enum status *st)
{
	const struct table_access *ta = &j->op.plan->table;
	struct cell eq[SCHEMA_INDEX_COLUMNS_MAX] = {{0}}, lo = {.null = true}, hi = {.null = true};
	bool ok;

	for (uint32_t i = 0; i < ta->key_count; i++) {
		const struct index_key *k = &ta->keys[i];

		if (k->eq)
			vec_cell(&j->eq[i], j->row, &eq[i]);
		if (k->lo)
			vec_cell(&j->lo, j->row, &lo);
		if (k->hi)
			vec_cell(&j->hi, j->row, &hi);
	}
	ok = key_range_make(ta->index, ta->keys, ta->key_count, eq, &lo, &hi, &j->buf, &j->outer.keep, &j->range,
			    j->op.ex->err, st);
	if (*st == ST_PROGRAM_LIMIT) { /* longer than any stored key */
		error_clear(j->op.ex->err);
		*st = ST_OK;
	}
	return ok;
}

/* Resolve: pairs of (left row, row id) until a vector is full or the left rows are through. */
static enum status indexjoin_collect(struct indexjoin *j)
{
	const struct table_access *ta = &j->op.plan->table;
	struct exec *ex = j->op.ex;

	while (j->row < j->outer.held.n && j->pairs < VEC_ROWS) {
		uint32_t got = 0;
		enum status st = ST_OK;

		if (!j->inside) {
			if (!indexjoin_range(j, &st)) {
				if (st)
					return st;
				j->row++;
				continue;
			}
			memset(&j->at, 0, offsetof(struct access_index_scan, last));
			j->at.last_len = 0;
			j->at.lo = j->range.lo.p;
			j->at.lo_len = j->range.lo.bytes;
			j->at.hi = j->range.hi.p;
			j->at.hi_len = j->range.hi.bytes;
			j->inside = true;
		}
		if (ta->unique_point) {
			st = access_index_get(ex->access, ta->table, ta->index, j->range.lo.p, j->range.lo.bytes,
					      &j->pair_id[j->pairs], ex->err);
			if (st)
				return st;
			got = j->pair_id[j->pairs] != 0;
			st = ST_END;
		} else {
			st = access_index_next(ex->access, ta->table, ta->index, &j->at, VEC_ROWS - j->pairs,
					       &j->op.scratch, j->pair_id + j->pairs, NULL, &got, ex->err);
			if (st && st != ST_END)
				return st;
			if (st == ST_END)
				got = 0;
		}
		for (uint32_t i = 0; i < got; i++)
			j->pair_row[j->pairs + i] = (uint16_t)j->row;
		j->pairs += got;
		if (st == ST_END) {
			j->inside = false;
			j->row++;
		}
	}
	return ST_OK;
}

static enum step indexjoin_match(struct indexjoin *j, struct vec_batch *out)
{
	const struct plan *p = j->op.plan;
	const struct table_access *ta = &p->table;
	struct exec *ex = j->op.ex;
	struct arena *arena = &j->op.scratch;
	uint32_t n = 0, cols = p->join_left_cols + ta->want_count + (ta->rowid_slot != UINT32_MAX);
	uint16_t *sel;
	enum status st;

	arena_reset(arena);
	st = access_rows_get(ex->access, ta->table, j->pair_id, j->pairs, ta->wants, ta->want_count, arena, j->stored,
			     j->live, ex->err);
	if (st)
		return exec_fail(ex, st);
	sel = ARENA_NEW_N(arena, uint16_t, j->pairs);
	for (uint32_t i = 0; i < j->pairs; i++)
		if (j->live[i])
			sel[n++] = (uint16_t)i;
	*out = (struct vec_batch){.rows = j->pairs, .n = n, .sel = sel, .col_count = cols};
	out->cols = ARENA_NEW_N(arena, struct vec, cols + 1);
	for (uint32_t c = 0; c < p->join_left_cols; c++)
		vec_gather(&j->outer.held.cols[c], j->pair_row, j->pairs, arena, &out->cols[c]);
	table_batch_place(ta, j->stored, j->pair_id, out, arena);
	j->pairs = 0;
	st = batch_filter(ex, arena, p->join_cond, out);
	if (st)
		return exec_fail(ex, st);
	for (uint32_t i = 0; i < out->n; i++)
		j->outer.matched[j->pair_row[batch_row(out, i)]] = true;
	if (p->join == JOIN_SEMI || p->join == JOIN_ANTI)
		out->n = 0;
	return STEP_MORE;
}

static enum step indexjoin_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct indexjoin *j = (struct indexjoin *)op;
	enum step st;
	enum status s;

	while (work->left > 0) {
		if (!j->outer.holding) {
			if (j->outer.done)
				return STEP_DONE;
			st = outer_take(op, &j->outer, work);
			if (st != STEP_DONE && !j->outer.done)
				return st;
			j->row = j->pairs = 0;
			j->inside = false;
			if (!j->outer.holding)
				continue;
			s = indexjoin_keys(j);
			if (s)
				return exec_fail(op->ex, s);
		}
		s = indexjoin_collect(j);
		if (s)
			return exec_fail(op->ex, s);
		(void)budget_spend(work, 8 + j->pairs * 4);
		if (j->pairs) {
			st = indexjoin_match(j, out);
			if (st != STEP_MORE || out->n)
				return st;
		} else if (j->row >= j->outer.held.n) {
			outer_rest(op, &j->outer, out);
			if (out->n)
				return STEP_MORE;
		}
	}
	out->n = 0;
	return STEP_MORE;
}

static void indexjoin_reset(struct op *op)
{
	struct indexjoin *j = (struct indexjoin *)op;

	j->outer.holding = j->outer.done = j->inside = false;
	j->pairs = 0;
}

static void indexjoin_close(struct op *op)
{
	arena_fini(&((struct indexjoin *)op)->outer.keep);
	buf_fini(&((struct indexjoin *)op)->buf);
}

const struct op_class op_indexjoin_class = {"Index Join", sizeof(struct indexjoin), indexjoin_step, indexjoin_open,
					    indexjoin_reset, indexjoin_close};

/* -- hash join ------------------------------------------------------------------------------------------------------ */

struct hashjoin {
	struct op op;
	struct outer outer;
	struct arena store;
	struct rowset rows;             /* the right side's columns, then its keys */
	uint8_t *phys;
	bool built, left_through;
	uint64_t *hashes, *next, *heads;
	uint64_t hash_cap, next_cap, head_cap;
	bool *right_matched;            /* FULL */
	uint64_t right_cap;
	struct vec *keys;               /* of the held vector */
	uint64_t left_hashes[VEC_ROWS];
	uint32_t row;
	uint64_t chain;                 /* row number + 1 to look at next for row; 0: start of its chain */
	bool inside;
	uint16_t pair_left[VEC_ROWS];
	uint64_t pair_right[VEC_ROWS];
	uint64_t rest_at;
};

static void hashjoin_open(struct op *op)
{
	struct hashjoin *j = (struct hashjoin *)op;
	const struct plan *p = op->plan;
	uint32_t rc = p->right->col_count;

	outer_open(op, &j->outer);
	arena_init(&j->store, op->ex->mem);
	j->phys = arena_alloc(op->ex->arena, rc + p->hash_count + 1);
	memcpy(j->phys, plan_phys(p->right, op->ex->arena), rc);
	for (uint32_t i = 0; i < p->hash_count; i++) {
		const struct type_info *ti = type_find(p->hash_right[i]->type.oid);

		j->phys[rc + i] = ti ? ti->phys : PHYS_VAR;
	}
	rowset_init(&j->rows, &j->store, rc + p->hash_count, j->phys);
}

static void hashjoin_free(struct hashjoin *j)
{
	struct mem *mem = j->op.ex->mem;

	mem_free(mem, j->hashes, j->hash_cap * sizeof *j->hashes);
	mem_free(mem, j->next, j->next_cap * sizeof *j->next);
	mem_free(mem, j->heads, j->head_cap * sizeof *j->heads);
	mem_free(mem, j->right_matched, j->right_cap);
	j->hashes = j->next = j->heads = NULL;
	j->right_matched = NULL;
	j->hash_cap = j->next_cap = j->head_cap = j->right_cap = 0;
}

static void hashjoin_close(struct op *op)
{
	struct hashjoin *j = (struct hashjoin *)op;

	hashjoin_free(j);
	arena_fini(&j->store);
	arena_fini(&j->outer.keep);
}

static void hashjoin_reset(struct op *op)
{
	struct hashjoin *j = (struct hashjoin *)op;

	hashjoin_free(j);
	arena_reset(&j->store);
	rowset_init(&j->rows, &j->store, op->plan->right->col_count + op->plan->hash_count, j->phys);
	j->built = j->left_through = j->inside = false;
	j->outer.holding = j->outer.done = false;
	j->rest_at = 0;
}

static enum status build_add(struct hashjoin *j, const struct vec_batch *in)
{
	const struct plan *p = j->op.plan;
	struct exec *ex = j->op.ex;
	struct vec_batch b = *in;
	uint32_t rc = p->right->col_count, cols[64];
	uint64_t hashes[VEC_ROWS];

	if (in->n == 0)
		return ST_OK;
	ASSERT_OP(p->hash_count, <=, 64);
	arena_reset(&j->op.scratch);
	b.col_count = rc + p->hash_count;
	b.cols = ARENA_NEW_N(&j->op.scratch, struct vec, b.col_count + 1);
	if (rc)
		memcpy(b.cols, in->cols, rc * sizeof *b.cols);
	for (uint32_t i = 0; i < p->hash_count; i++) {
		enum status st = exec_expr(ex, &j->op.scratch, p->hash_right[i], in, &b.cols[rc + i]);

		if (st)
			return st;
		cols[i] = rc + i;
	}
	batch_hash(&b, cols, p->hash_oids, p->hash_count, hashes);
	if (j->rows.count + b.n > j->hash_cap) {
		uint64_t cap = j->hash_cap ? j->hash_cap * 2 : VEC_ROWS;

		while (cap < j->rows.count + b.n)
			cap *= 2;
		j->hashes = mem_realloc(ex->mem, j->hashes, j->hash_cap * sizeof *j->hashes, cap * sizeof *j->hashes);
		j->hash_cap = cap;
	}
	memcpy(j->hashes + j->rows.count, hashes, b.n * sizeof *hashes);
	rowset_add(&j->rows, &b);
	return ST_OK;
}

static void build_finish(struct hashjoin *j)
{
	const struct plan *p = j->op.plan;
	struct mem *mem = j->op.ex->mem;
	uint64_t n = j->rows.count, cap = 16;

	while (cap < n * 2)
		cap *= 2;
	j->heads = mem_alloc(mem, cap * sizeof *j->heads);
	j->head_cap = cap;
	j->next = mem_alloc(mem, (n + 1) * sizeof *j->next);
	j->next_cap = n + 1;
	if (p->join == JOIN_FULL) {
		j->right_matched = mem_alloc(mem, n + 1);
		j->right_cap = n + 1;
	}
	/* from the last to the first, so that chains run in order of arrival; a null key equals nothing */
	for (uint64_t i = n; i-- > 0;) {
		uint64_t *head = &j->heads[j->hashes[i] & (cap - 1)];
		bool null = false;

		for (uint32_t k = 0; k < p->hash_count && !null; k++)
			null = vec_null(rowset_vec(&j->rows, i, p->right->col_count + k), (uint32_t)(i % VEC_ROWS));
		if (null)
			continue;
		j->next[i] = *head;
		*head = i + 1;
	}
	j->built = true;
}

static enum step build(struct hashjoin *j, struct budget *work)
{
	struct vec_batch in;

	while (!j->built) {
		enum step st = op_step(j->op.right, &in, work);
		enum status s;

		if (st == STEP_DONE) {
			build_finish(j);
			break;
		}
		if (st != STEP_MORE)
			return st;
		s = build_add(j, &in);
		if (s)
			return exec_fail(j->op.ex, s);
		if (exec_memory(j->op.ex) == STEP_ERROR)
			return STEP_ERROR;
		if (!budget_spend(work, in.n * 2))
			return STEP_MORE;
	}
	return STEP_DONE;
}

static enum status probe_start(struct hashjoin *j)
{
	const struct plan *p = j->op.plan;
	struct vec_batch b = j->outer.held;

	j->row = 0;
	j->inside = false;
	j->keys = ARENA_NEW_N(&j->outer.keep, struct vec, p->hash_count + 1);
	for (uint32_t i = 0; i < p->hash_count; i++) {
		enum status st = exec_expr(j->op.ex, &j->outer.keep, p->hash_left[i], &j->outer.held, &j->keys[i]);

		if (st)
			return st;
	}
	b.cols = j->keys;
	batch_hash(&b, NULL, p->hash_oids, p->hash_count, j->left_hashes);
	return ST_OK;
}

static bool keys_equal(const struct hashjoin *j, uint32_t left, uint64_t right)
{
	const struct plan *p = j->op.plan;

	for (uint32_t k = 0; k < p->hash_count; k++)
		if (vec_compare(p->hash_oids[k], &j->keys[k], left, rowset_vec(&j->rows, right, p->right->col_count + k),
				(uint32_t)(right % VEC_ROWS)))
			return false;
	return true;
}

/* Candidate pairs until a vector is full or the held one is through. */
static uint32_t probe_pairs(struct hashjoin *j)
{
	const struct plan *p = j->op.plan;
	bool first_only = (p->join == JOIN_SEMI || p->join == JOIN_ANTI) && !p->join_cond;
	uint32_t n = 0;

	for (; j->row < j->outer.held.n; j->row++) {
		if (!j->inside) {
			bool null = false;

			for (uint32_t k = 0; k < p->hash_count; k++)
				null = null || vec_null(&j->keys[k], j->row);
			j->chain = null ? 0 : j->heads[j->left_hashes[j->row] & (j->head_cap - 1)];
			j->inside = true;
		}
		while (j->chain) {
			uint64_t r = j->chain - 1;

			if (j->hashes[r] != j->left_hashes[j->row] || !keys_equal(j, j->row, r)) {
				j->chain = j->next[r];
				continue;
			}
			if (first_only) {
				j->outer.matched[j->row] = true;
				break;
			}
			if (n == VEC_ROWS)
				return n;
			j->pair_left[n] = (uint16_t)j->row;
			j->pair_right[n++] = r;
			j->chain = j->next[r];
		}
		j->inside = false;
	}
	return n;
}

static enum step probe_match(struct hashjoin *j, uint32_t n, struct vec_batch *out)
{
	const struct plan *p = j->op.plan;
	struct arena *arena = &j->op.scratch;
	uint32_t lc = p->join_left_cols, rc = p->right->col_count;
	enum status st;

	arena_reset(arena);
	*out = (struct vec_batch){.rows = n, .n = n, .col_count = lc + rc};
	out->cols = ARENA_NEW_N(arena, struct vec, lc + rc + 1);
	for (uint32_t c = 0; c < lc; c++)
		vec_gather(&j->outer.held.cols[c], j->pair_left, n, arena, &out->cols[c]);
	rowset_gather(&j->rows, 0, rc, j->pair_right, n, arena, out->cols + lc);
	st = batch_filter(j->op.ex, arena, p->join_cond, out);
	if (st)
		return exec_fail(j->op.ex, st);
	for (uint32_t i = 0; i < out->n; i++) {
		uint32_t r = batch_row(out, i);

		j->outer.matched[j->pair_left[r]] = true;
		if (j->right_matched)
			j->right_matched[j->pair_right[r]] = true;
	}
	if (p->join == JOIN_SEMI || p->join == JOIN_ANTI)
		out->n = 0;
	return STEP_MORE;
}

/* FULL: the right rows that nobody matched. */
static enum step hashjoin_right_rest(struct hashjoin *j, struct vec_batch *out)
{
	const struct plan *p = j->op.plan;
	uint32_t n = 0;

	if (p->join != JOIN_FULL)
		return STEP_DONE;
	for (; j->rest_at < j->rows.count && n < VEC_ROWS; j->rest_at++)
		if (!j->right_matched[j->rest_at])
			j->pair_right[n++] = j->rest_at;
	if (n == 0)
		return STEP_DONE;
	arena_reset(&j->op.scratch);
	*out = (struct vec_batch){.rows = n, .n = n, .col_count = p->col_count};
	out->cols = ARENA_NEW_N(&j->op.scratch, struct vec, p->col_count + 1);
	null_columns(p, 0, p->join_left_cols, out->cols, &j->op.scratch);
	rowset_gather(&j->rows, 0, p->right->col_count, j->pair_right, n, &j->op.scratch,
		      out->cols + p->join_left_cols);
	return STEP_MORE;
}

static enum step hashjoin_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct hashjoin *j = (struct hashjoin *)op;
	enum step st;
	uint32_t n;

	if (!j->built) {
		st = build(j, work);
		if (st != STEP_DONE)
			return st;
	}
	while (work->left > 0) {
		if (!j->outer.holding) {
			enum status s;

			if (j->outer.done)
				return hashjoin_right_rest(j, out);
			st = outer_take(op, &j->outer, work);
			if (st != STEP_DONE && !j->outer.done)
				return st;
			if (!j->outer.holding)
				continue;
			s = probe_start(j);
			if (s)
				return exec_fail(op->ex, s);
		}
		n = probe_pairs(j);
		(void)budget_spend(work, 8 + n * 2);
		if (n) {
			st = probe_match(j, n, out);
			if (st != STEP_MORE || out->n)
				return st;
		}
		if (j->row >= j->outer.held.n) {
			outer_rest(op, &j->outer, out);
			if (out->n)
				return STEP_MORE;
		}
	}
	out->n = 0;
	return STEP_MORE;
}

const struct op_class op_hashjoin_class = {"Hash Join", sizeof(struct hashjoin), hashjoin_step, hashjoin_open,
					   hashjoin_reset, hashjoin_close};
