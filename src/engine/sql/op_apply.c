/*
 * op_apply.c - what an expression must wait for, computed before it: subqueries, nextval, waiting functions (S15).
 *
 * Works on one vector at a time, copied, and adds one column for each item. A correlated subquery runs for
 * each distinct combination of its parameters (a cache for as long as the outer parameters stay); an
 * uncorrelated one has none and runs once.
 */
#include "engine/sql/exec.h"

#include <string.h>

#include "base/assert.h"
#include "base/map.h"

#define CACHE_BYTES_MAX (16u << 20) /* of one item; then it starts anew */

struct cached {
	struct cell value;      /* SCALAR, EXISTS, ARRAY */
	struct rowset rows;     /* ANY, ALL */
	bool rows_null;         /* ANY by hash: a null was among them */
	struct map set;         /* hash -> row number + 1 of the first with it */
	uint64_t *next;         /* chain: row -> next row + 1 of equal hash */
};
struct item_state {
	struct op *op;          /* the subquery */
	struct arena store;     /* the cache */
	struct bmap cache;
	uint8_t *phys;
	bool running;
	struct cached *now;     /* being filled, or just found */
};
struct apply {
	struct op op;
	struct arena keep;
	struct vec_batch held;
	bool holding;
	uint32_t item, row;
	uint16_t *one;
	struct vec *args;       /* of the current item, over held */
	struct vec *sets;
	struct item_state *items;
	struct buf key;
	int64_t *sequence;
};

static void item_init(struct apply *a, struct item_state *s, const struct apply_item *it)
{
	arena_init(&s->store, a->op.ex->mem);
	bmap_init(&s->cache, a->op.ex->mem);
	s->now = NULL;
	s->running = false;
	if (it->kind == APPLY_SUBQUERY)
		s->phys = plan_phys(it->plan, a->op.ex->arena);
}

static void apply_open(struct op *op)
{
	struct apply *a = (struct apply *)op;
	const struct plan *p = op->plan;

	arena_init(&a->keep, op->ex->mem);
	buf_init(&a->key, op->ex->mem);
	a->one = ARENA_NEW_N(op->ex->arena, uint16_t, 1);
	a->items = ARENA_NEW_N(op->ex->arena, struct item_state, p->apply.item_count);
	for (uint32_t i = 0; i < p->apply.item_count; i++) {
		item_init(a, &a->items[i], &p->apply.items[i]);
		if (p->apply.items[i].kind == APPLY_SUBQUERY)
			a->items[i].op = op_new(op->ex, p->apply.items[i].plan);
	}
}

static void cache_free(struct item_state *s)
{
	struct bmap_slot *slot;
	size_t at = 0;

	while ((slot = bmap_next(&s->cache, &at)))
		map_fini(&((struct cached *)slot->value)->set);
	bmap_fini(&s->cache);
	if (s->running && s->now)
		map_fini(&s->now->set);
	s->running = false;
	s->now = NULL;
}

static void apply_close(struct op *op)
{
	struct apply *a = (struct apply *)op;

	for (uint32_t i = 0; i < op->plan->apply.item_count; i++) {
		cache_free(&a->items[i]);
		arena_fini(&a->items[i].store);
		if (a->items[i].op)
			op_close(a->items[i].op);
	}
	buf_fini(&a->key);
	arena_fini(&a->keep);
}

static void item_forget(struct apply *a, struct item_state *s)
{
	cache_free(s);
	bmap_init(&s->cache, a->op.ex->mem);
	arena_reset(&s->store);
}

static void apply_reset(struct op *op)
{
	struct apply *a = (struct apply *)op;

	a->holding = false;
	for (uint32_t i = 0; i < op->plan->apply.item_count; i++) {
		/* keyed by every parameter that matters: good over resets, unless what it reads may change (a restart) */
		item_forget(a, &a->items[i]);
		if (a->items[i].op)
			op_reset(a->items[i].op);
	}
}

/* -- subqueries ------------------------------------------------------------------------------------------------ */

static void cell_key(struct buf *key, const struct cell *c)
{
	put_u8(key, c->null);
	if (c->null)
		return;
	if (c->phys == PHYS_VAR)
		put_bytes(key, c->var, c->bytes);
	else
		buf_put(key, &c->x, phys_bytes(c->phys) < 8 ? 8 : phys_bytes(c->phys));
}

/* Sets the parameters for one row; the cache's entry for them in now, or a new one that is to be filled. */
static bool subquery_find(struct apply *a, struct item_state *s, const struct apply_item *it, uint32_t row)
{
	struct exec *ex = a->op.ex;

	for (uint32_t i = 0; i < it->set_count; i++)
		vec_cell(&a->sets[i], row, &ex->params[it->sets[i].param - 1]);
	buf_reset(&a->key);
	for (uint32_t i = 0; i < it->key_count; i++)
		cell_key(&a->key, &ex->params[it->key_params[i] - 1]);
	put_u8(&a->key, 0);
	if (it->is_volatile || s->store.used_bytes > CACHE_BYTES_MAX)
		item_forget(a, s);
	s->now = bmap_find(&s->cache, a->key.data, a->key.size);
	if (s->now)
		return true;
	s->now = ARENA_NEW(&s->store, struct cached);
	map_init(&s->now->set, ex->mem);
	rowset_init(&s->now->rows, &s->store, it->plan->col_count, s->phys);
	op_reset(s->op);
	s->running = true;
	return false;
}

static enum status array_value(struct exec *ex, const struct apply_item *it, struct cached *c, struct arena *arena)
{
	struct expr **args = ARENA_NEW_N(arena, struct expr *, c->rows.count + 1);
	struct expr array = {.kind = EX_ARRAY, .type = it->expr->type, .args = args};
	struct eval ev = exec_eval(ex, arena);

	array.arg_count = (uint32_t)c->rows.count;
	for (uint64_t i = 0; i < c->rows.count; i++) {
		args[i] = ARENA_NEW(arena, struct expr);
		args[i]->kind = EX_CONST;
		args[i]->type = it->plan->cols[0].type;
		rowset_cell(&c->rows, i, 0, &args[i]->value);
	}
	return expr_eval_one(&ev, &array, &c->value);
}

static void hash_rows(struct cached *c, const struct apply_item *it, struct arena *arena)
{
	uint64_t hashes[VEC_ROWS];
	uint32_t oid = it->plan->cols[0].type.oid;
	struct vec_batch b;

	c->next = ARENA_NEW_N(arena, uint64_t, c->rows.count + 1);
	for (uint64_t at = 0; at < c->rows.count; at += VEC_ROWS) {
		rowset_batch(&c->rows, at, &b);
		batch_hash(&b, NULL, &oid, 1, hashes);
		for (uint32_t i = 0; i < b.n; i++) {
			uint64_t head;

			if (vec_null(&b.cols[0], i)) {
				c->rows_null = true;
				continue;
			}
			head = (uint64_t)(uintptr_t)map_find(&c->set, hashes[i]);
			c->next[at + i] = head;
			map_put(&c->set, hashes[i], (void *)(uintptr_t)(at + i + 1));
		}
	}
}

static enum step subquery_run(struct apply *a, struct item_state *s, const struct apply_item *it,
			      struct budget *work)
{
	struct exec *ex = a->op.ex;
	struct cached *c = s->now;

	for (;;) {
		struct vec_batch b;
		enum step st = op_step(s->op, &b, work);

		if (st == STEP_DONE)
			break;
		if (st != STEP_MORE)
			return st;
		rowset_add(&c->rows, &b);
		if (it->expr->sub_kind == SUB_EXISTS && c->rows.count)
			break;
		if (it->expr->sub_kind == SUB_SCALAR && c->rows.count > 1)
			return exec_fail(ex, error_set(ex->err, ST_CARDINALITY,
						       "more than one row returned by a subquery used as an expression"));
		if (exec_memory(ex) == STEP_ERROR)
			return STEP_ERROR;
		if (work->left <= 0)
			return STEP_MORE;
	}
	c->value = (struct cell){.null = true};
	if (it->expr->sub_kind == SUB_EXISTS) {
		c->value = (struct cell){.phys = PHYS_BOOL, .i = c->rows.count > 0};
	} else if (it->expr->sub_kind == SUB_SCALAR && c->rows.count) {
		rowset_cell(&c->rows, 0, 0, &c->value);
	} else if (it->expr->sub_kind == SUB_ARRAY) {
		enum status e = array_value(ex, it, c, &s->store);

		if (e)
			return exec_fail(ex, e);
	} else if (it->hashable) {
		hash_rows(c, it, &s->store);
	}
	s->running = false;
	bmap_put(&s->cache, a->key.data, a->key.size, c);
	return STEP_DONE;
}

/* ANY by hash: true, false, or null by SQL's rules. */
static void any_by_hash(struct apply *a, const struct apply_item *it, const struct cached *c, uint32_t row,
			struct cell *out)
{
	struct vec_batch one = a->held;
	uint32_t zero = 0, oid = it->expr->args[0]->type.oid;
	uint16_t r = (uint16_t)row;
	uint64_t hash, at;

	*out = (struct cell){.phys = PHYS_BOOL, .null = true};
	if (c->rows.count == 0) {
		out->null = false;
		return;
	}
	if (vec_null(&a->args[0], row))
		return;
	one.cols = a->args;
	one.sel = &r;
	one.n = 1;
	batch_hash(&one, &zero, &oid, 1, &hash);
	for (at = (uint64_t)(uintptr_t)map_find(&c->set, hash); at; at = c->next[at - 1])
		if (vec_compare(oid, &a->args[0], row, rowset_vec(&c->rows, at - 1, 0), (uint32_t)((at - 1) % VEC_ROWS)) == 0) {
			out->null = false;
			out->i = 1;
			return;
		}
	out->null = c->rows_null;
}

/* ANY, ALL by testing each row of the subquery, a vector at a time. */
static enum status any_by_test(struct apply *a, const struct apply_item *it, const struct cached *c, uint32_t row,
			       struct arena *arena, struct cell *out)
{
	bool all = it->expr->sub_kind == SUB_ALL, unknown = false;
	uint32_t n = it->expr->arg_count;

	*out = (struct cell){.phys = PHYS_BOOL, .i = all};
	for (uint64_t at = 0; at < c->rows.count; at += VEC_ROWS) {
		struct vec_batch b, in;
		struct vec res;
		enum status st;

		rowset_batch(&c->rows, at, &b);
		in = b;
		in.col_count = n + b.col_count;
		in.cols = ARENA_NEW_N(arena, struct vec, in.col_count);
		for (uint32_t i = 0; i < n; i++) {
			struct cell v;

			vec_cell(&a->args[i], row, &v);
			v.phys = a->args[i].phys;
			vec_constant(&in.cols[i], &v, arena);
		}
		memcpy(in.cols + n, b.cols, b.col_count * sizeof *b.cols);
		st = exec_expr(a->op.ex, arena, it->test, &in, &res);
		if (st)
			return st;
		for (uint32_t i = 0; i < in.n; i++) {
			uint32_t r = res.constant ? 0 : i;

			if (vec_null(&res, r)) {
				unknown = true;
			} else if ((res.b[r] != 0) != all) {
				out->i = !all;
				return ST_OK;
			}
		}
	}
	out->null = unknown;
	return ST_OK;
}

static enum step subquery_item(struct apply *a, const struct apply_item *it, struct vec *out, struct budget *work)
{
	struct item_state *s = &a->items[a->item];

	for (; a->row < a->held.n; a->row++) {
		struct cell v;
		enum step st;

		if (!s->running)
			(void)subquery_find(a, s, it, a->row);
		if (s->running) {
			st = subquery_run(a, s, it, work);
			if (st != STEP_DONE)
				return st;
		}
		if (it->expr->sub_kind != SUB_ANY && it->expr->sub_kind != SUB_ALL) {
			v = s->now->value;
			/* the cache may be dropped before the vector is done */
			if (!v.null && v.phys == PHYS_VAR)
				v.var = arena_dup(&a->keep, v.var, v.bytes);
		} else if (it->hashable) {
			any_by_hash(a, it, s->now, a->row, &v);
		} else {
			enum status e = any_by_test(a, it, s->now, a->row, &a->keep, &v);

			if (e)
				return exec_fail(a->op.ex, e);
		}
		vec_set(out, a->row, &v);
		if (!budget_spend(work, 2) && a->row + 1 < a->held.n) {
			a->row++;
			return STEP_MORE;
		}
	}
	return STEP_DONE;
}

/* -- the rest ---------------------------------------------------------------------------------------------------- */

static enum step nextval_item(struct apply *a, const struct apply_item *it, struct vec *out)
{
	struct exec *ex = a->op.ex;
	enum status st;

	if (!a->sequence)
		a->sequence = ARENA_NEW_N(ex->arena, int64_t, VEC_ROWS);
	st = access_sequence_next(ex->access, it->expr->rel_oid, a->held.n, a->sequence, ex->err);
	if (st)
		return exec_fail(ex, st);
	for (uint32_t i = 0; i < a->held.n; i++) {
		struct cell c = {.phys = out->phys, .i = a->sequence[i]};

		vec_set(out, i, &c);
	}
	if (ex->session)
		session_note_nextval(ex->session, it->expr->rel_oid, a->sequence[a->held.n - 1]);
	return STEP_DONE;
}

static enum step call_item(struct apply *a, const struct apply_item *it, struct vec *out)
{
	/* row by row: what waited for one row is not done again for those before it */
	for (; a->row < a->held.n; a->row++) {
		struct vec_batch one = a->held;
		struct vec res;
		struct cell c;
		enum status st;

		a->one[0] = (uint16_t)a->row;
		one.sel = a->one;
		one.n = 1;
		st = exec_expr(a->op.ex, &a->keep, it->expr, &one, &res);
		if (st)
			return exec_fail(a->op.ex, st);
		vec_cell(&res, a->row, &c);
		vec_set(out, a->row, &c);
	}
	return STEP_DONE;
}

static enum status item_start(struct apply *a, const struct apply_item *it, struct vec *out)
{
	const struct type_info *ti = type_find(it->expr->type.oid);
	enum status st = ST_OK;
	struct vec_batch in = a->held;

	vec_alloc(out, it->expr->sub_kind == SUB_EXISTS && it->kind == APPLY_SUBQUERY ? PHYS_BOOL : ti ? ti->phys : PHYS_VAR,
		  a->held.n, &a->keep);
	a->row = 0;
	if (it->kind != APPLY_SUBQUERY)
		return ST_OK;
	a->args = ARENA_NEW_N(&a->keep, struct vec, it->expr->arg_count + 1);
	a->sets = ARENA_NEW_N(&a->keep, struct vec, it->set_count + 1);
	for (uint32_t i = 0; i < it->expr->arg_count && !st; i++)
		st = exec_expr(a->op.ex, &a->keep, it->expr->args[i], &in, &a->args[i]);
	for (uint32_t i = 0; i < it->set_count && !st; i++)
		st = exec_expr(a->op.ex, &a->keep, it->sets[i].value, &in, &a->sets[i]);
	return st;
}

static enum step apply_take(struct apply *a, struct budget *work)
{
	const struct plan *p = a->op.plan;
	struct vec_batch in;
	struct vec *cols;
	enum step st = op_step(a->op.left, &in, work);

	if (st != STEP_MORE || in.n == 0)
		return st;
	arena_reset(&a->keep);
	batch_copy(&in, &a->keep, &a->held);
	cols = ARENA_NEW_N(&a->keep, struct vec, p->col_count + 1);
	memcpy(cols, a->held.cols, a->held.col_count * sizeof *cols);
	a->held.cols = cols;
	a->holding = true;
	a->item = 0;
	a->row = UINT32_MAX; /* item not started */
	return STEP_DONE;
}

static enum step apply_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	struct apply *a = (struct apply *)op;
	const struct plan *p = op->plan;

	if (!a->holding) {
		enum step st = apply_take(a, work);

		if (!a->holding)
			return st;
	}
	while (a->item < p->apply.item_count) {
		const struct apply_item *it = &p->apply.items[a->item];
		struct vec *v = &a->held.cols[op->left->plan->col_count + a->item];
		enum step st;

		if (a->row == UINT32_MAX) {
			enum status s = item_start(a, it, v);

			if (s)
				return exec_fail(op->ex, s);
		}
		st = it->kind == APPLY_SUBQUERY ? subquery_item(a, it, v, work) :
		     it->kind == APPLY_NEXTVAL  ? nextval_item(a, it, v) :
						  call_item(a, it, v);
		if (st != STEP_DONE)
			return st;
		a->item++;
		a->row = UINT32_MAX;
	}
	a->holding = false;
	*out = a->held;
	out->col_count = p->col_count;
	return STEP_MORE;
}

const struct op_class op_apply_class = {"Apply", sizeof(struct apply), apply_step, apply_open, apply_reset,
					apply_close};
