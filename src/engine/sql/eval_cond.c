/*
 * eval_cond.c - filters, and the expressions that evaluate their parts only for the rows that need them (expr.h).
 *
 * The rows still undecided are a selection that shrinks from part to part. Selections stay sorted.
 */
#include "base/assert.h"
#include "engine/sql/eval_int.h"

#define ROW(sel, i) ((sel) ? (uint32_t)(sel)[i] : (i))

static uint16_t *new_sel(struct eval *ev, uint32_t n)
{
	return arena_alloc(ev->arena, sizeof(uint16_t) * n);
}

static uint32_t rows_of(const uint16_t *sel, uint32_t n) /* a vector must be so long to hold these rows */
{
	return n == 0 ? 1 : ROW(sel, n - 1) + 1;
}

static void new_nulls(struct eval *ev, struct vec *out)
{
	if (!out->nulls)
		out->nulls = ARENA_NEW_N(ev->arena, uint64_t, VEC_WORDS);
}

/* Copies the rows from one vector to another of the same class. */
static void copy_rows(struct eval *ev, struct vec *out, const struct vec *from, const uint16_t *sel, uint32_t n)
{
	uint32_t mask = from->constant ? 0 : UINT32_MAX;

	ASSERT_OP(out->phys, ==, from->phys);
	if (from->nulls) {
		for (uint32_t i = 0; i < n; i++) {
			uint32_t r = ROW(sel, i);

			if (bit_get(from->nulls, r & mask)) {
				new_nulls(ev, out);
				bit_set(out->nulls, r);
			}
		}
		if (from->constant && bit_get(from->nulls, 0))
			return; /* its data is none */
	}
#define COPY(f)                                               \
	for (uint32_t i = 0; i < n; i++) {                    \
		uint32_t r = ROW(sel, i);                     \
                                                              \
		out->f[r] = from->f[r & mask];                \
	}                                                     \
	break
	switch ((enum phys)out->phys) {
	case PHYS_BOOL: COPY(b);
	case PHYS_I16: COPY(i16);
	case PHYS_I32: COPY(i32);
	case PHYS_I64: COPY(i64);
	case PHYS_F64: COPY(f64);
	case PHYS_I128: COPY(i128);
	case PHYS_VAR: COPY(var);
	case PHYS_NONE:
	case PHYS_COUNT: break;
	}
#undef COPY
}

/* -- filters ----------------------------------------------------------------------------------------------------------- */

/* Rows of sel where v is true go to yes, the others to no (NULL: not asked); either may be sel itself. */
static void split(const struct vec *v, const uint16_t *sel, uint32_t n, uint16_t *yes, uint32_t *yes_n, uint16_t *no,
		  uint32_t *no_n)
{
	uint32_t y = 0, k = 0, mask = v->constant ? 0 : UINT32_MAX;
	const uint8_t *b = v->b;

	if (v->constant && v->nulls && bit_get(v->nulls, 0)) {
		for (uint32_t i = 0; no && i < n; i++)
			no[k++] = (uint16_t)ROW(sel, i);
	} else if (!v->nulls && !no) {
		for (uint32_t i = 0; i < n; i++) {
			uint32_t r = ROW(sel, i);

			yes[y] = (uint16_t)r;
			y += b[r & mask];
		}
	} else {
		for (uint32_t i = 0; i < n; i++) {
			uint32_t r = ROW(sel, i);
			bool is = b[r & mask] && !(v->nulls && bit_get(v->nulls, r & mask));

			if (is)
				yes[y++] = (uint16_t)r;
			else if (no)
				no[k++] = (uint16_t)r;
		}
	}
	*yes_n = y;
	if (no)
		*no_n = k;
}

/* Sorted union of two disjoint selections. */
static uint32_t merge(const uint16_t *a, uint32_t an, const uint16_t *b, uint32_t bn, uint16_t *out)
{
	uint32_t i = 0, k = 0, n = 0;

	while (i < an || k < bn)
		out[n++] = k == bn || (i < an && a[i] < b[k]) ? a[i++] : b[k++];
	return n;
}

static enum status filter_or(struct eval *ev, const struct expr *ex, const struct vec *inputs, uint32_t rows,
			     const uint16_t *sel, uint32_t n, uint16_t *sel_out, uint32_t *n_out)
{
	uint16_t *open = new_sel(ev, n), *yes = new_sel(ev, n), *sum = new_sel(ev, n), *next = new_sel(ev, n);
	uint32_t open_n = n, sum_n = 0;

	for (uint32_t i = 0; i < n; i++)
		open[i] = (uint16_t)ROW(sel, i);
	for (uint32_t a = 0; a < ex->arg_count && open_n; a++) {
		struct vec v;
		uint32_t yes_n;
		uint16_t *t;
		enum status st = expr_eval(ev, ex->args[a], inputs, rows, open, open_n, &v);

		if (st != ST_OK)
			return st;
		split(&v, open, open_n, yes, &yes_n, open, &open_n);
		sum_n = merge(sum, sum_n, yes, yes_n, next);
		t = sum;
		sum = next;
		next = t;
	}
	memcpy(sel_out, sum, sizeof *sum * sum_n);
	*n_out = sum_n;
	return ST_OK;
}

static enum status filter(struct eval *ev, const struct expr *ex, const struct vec *inputs, uint32_t rows,
			  const uint16_t *sel, uint32_t n, uint16_t *sel_out, uint32_t *n_out)
{
	struct vec v;
	enum status st;

	if (ex->kind == EX_AND) {
		const uint16_t *cur = sel;

		for (uint32_t a = 0; a < ex->arg_count && n; a++) {
			st = expr_filter(ev, ex->args[a], inputs, rows, cur, n, sel_out, &n);
			if (st != ST_OK)
				return st;
			cur = sel_out;
		}
		*n_out = n;
		return ST_OK;
	}
	if (ex->kind == EX_OR)
		return filter_or(ev, ex, inputs, rows, sel, n, sel_out, n_out);
	st = expr_eval(ev, ex, inputs, rows, sel, n, &v);
	if (st == ST_OK)
		split(&v, sel, n, sel_out, n_out, NULL, NULL);
	return st;
}

enum status expr_filter(struct eval *ev, const struct expr *ex, const struct vec *inputs, uint32_t rows,
			const uint16_t *sel, uint32_t n, uint16_t *sel_out, uint32_t *n_out)
{
	enum status st;

	if (n == 0) {
		*n_out = 0;
		return ST_OK;
	}
	if (++ev->depth > EXPR_DEPTH_MAX)
		st = error_set(ev->err, ST_TOO_COMPLEX, "stack depth limit exceeded");
	else
		st = filter(ev, ex, inputs, rows, sel, n, sel_out, n_out);
	ev->depth--;
	return st;
}

/* -- logic -------------------------------------------------------------------------------------------------------------- */

/*
 * AND: a row is decided by its first false; a null waits for one. OR is the same with true. So both start from
 * the neutral value and drop the rows that meet the deciding one.
 */
enum status eval_and_or(EVAL_ARGS)
{
	bool decides = ex->kind == EX_OR;
	uint16_t *open = NULL;
	const uint16_t *cur = sel;
	uint32_t cur_n = n;

	eval_out(ev, out, PHYS_BOOL, rows_of(sel, n));
	if (!decides)
		for (uint32_t i = 0; i < n; i++)
			out->b[ROW(sel, i)] = 1;
	for (uint32_t a = 0; a < ex->arg_count && cur_n; a++) {
		struct vec v;
		uint32_t k = 0;
		enum status st = expr_eval(ev, ex->args[a], inputs, rows, cur, cur_n, &v);

		if (st != ST_OK)
			return st;
		if (!open)
			open = new_sel(ev, n);
		for (uint32_t i = 0; i < cur_n; i++) {
			uint32_t r = ROW(cur, i);

			if (vec_null(&v, r)) {
				new_nulls(ev, out);
				bit_set(out->nulls, r);
			} else if ((v.b[v.constant ? 0 : r] != 0) == decides) {
				out->b[r] = decides;
				if (out->nulls)
					bit_clear(out->nulls, r);
				continue;
			}
			open[k++] = (uint16_t)r;
		}
		cur = open;
		cur_n = k;
	}
	return ST_OK;
}

enum status eval_not(EVAL_ARGS)
{
	struct vec v;
	enum status st = expr_eval(ev, ex->args[0], inputs, rows, sel, n, &v);

	if (st != ST_OK)
		return st;
	if (v.constant && v.nulls && bit_get(v.nulls, 0)) {
		*out = v;
		return ST_OK;
	}
	eval_out(ev, out, PHYS_BOOL, v.constant ? 1 : rows_of(sel, n));
	out->constant = v.constant;
	out->nulls = v.nulls;
	if (v.constant) {
		out->b[0] = !v.b[0];
		return ST_OK;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t r = ROW(sel, i);

		out->b[r] = !v.b[r];
	}
	return ST_OK;
}

/* IS [NOT] NULL, TRUE, FALSE, UNKNOWN: never null themselves */
enum status eval_is(EVAL_ARGS)
{
	bool of_null = ex->kind == EX_IS_NULL || ex->kind == EX_IS_UNKNOWN, want = ex->kind == EX_IS_TRUE;
	struct vec v;
	enum status st = expr_eval(ev, ex->args[0], inputs, rows, sel, n, &v);

	if (st != ST_OK)
		return st;
	eval_out(ev, out, PHYS_BOOL, v.constant ? 1 : rows_of(sel, n));
	out->constant = v.constant;
	if (v.constant) {
		n = 1;
		sel = NULL;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t r = ROW(sel, i);
		bool null = v.nulls && bit_get(v.nulls, r);
		bool is = of_null ? null : !null && (v.b[r] != 0) == want;

		out->b[r] = is != ex->negate;
	}
	return ST_OK;
}

/* fn over two vectors for rows where both are not null; a BOOL vector without nulls of its own */
static enum status compare(struct eval *ev, const struct expr *ex, const struct vec *a, const struct vec *b,
			   const uint16_t *sel, uint32_t n, struct vec *out)
{
	struct vec args[2] = {*a, *b};

	return fn_apply(ev, ex->fn, PHYS_BOOL, args, 2, sel, n, out);
}

enum status eval_is_distinct(EVAL_ARGS)
{
	struct vec a, b, eq;
	enum status st = expr_eval(ev, ex->args[0], inputs, rows, sel, n, &a);

	if (st == ST_OK)
		st = expr_eval(ev, ex->args[1], inputs, rows, sel, n, &b);
	if (st == ST_OK)
		st = compare(ev, ex, &a, &b, sel, n, &eq);
	if (st != ST_OK)
		return st;
	eval_out(ev, out, PHYS_BOOL, rows_of(sel, n));
	for (uint32_t i = 0; i < n; i++) {
		uint32_t r = ROW(sel, i);
		bool na = vec_null(&a, r), nb = vec_null(&b, r);
		bool distinct = na || nb ? na != nb : !eq.b[eq.constant ? 0 : r];

		out->b[r] = distinct != ex->negate;
	}
	return ST_OK;
}

/* -- choices -------------------------------------------------------------------------------------------------------------- */

static uint8_t phys_of(const struct expr *ex)
{
	const struct type_info *ti = type_find(ex->type.oid);

	return ti ? ti->phys : PHYS_VAR;
}

/* args[at] for the rows given, into out */
static enum status eval_into(struct eval *ev, const struct expr *part, const struct vec *inputs, uint32_t rows,
			     const uint16_t *sel, uint32_t n, struct vec *out)
{
	struct vec v;
	enum status st;

	if (n == 0)
		return ST_OK;
	st = expr_eval(ev, part, inputs, rows, sel, n, &v);
	if (st == ST_OK)
		copy_rows(ev, out, &v, sel, n);
	return st;
}

enum status eval_case(EVAL_ARGS)
{
	uint16_t *open = new_sel(ev, n), *yes = new_sel(ev, n);
	uint32_t open_n = n, yes_n;

	eval_out(ev, out, phys_of(ex), rows_of(sel, n));
	for (uint32_t i = 0; i < n; i++)
		open[i] = (uint16_t)ROW(sel, i);
	for (uint32_t a = 0; a + 1 < ex->arg_count && open_n; a += 2) {
		struct vec v;
		enum status st = expr_eval(ev, ex->args[a], inputs, rows, open, open_n, &v);

		if (st != ST_OK)
			return st;
		split(&v, open, open_n, yes, &yes_n, open, &open_n);
		st = eval_into(ev, ex->args[a + 1], inputs, rows, yes, yes_n, out);
		if (st != ST_OK)
			return st;
	}
	if (ex->arg_count % 2 == 0) { /* no ELSE: null */
		for (uint32_t i = 0; i < open_n; i++)
			out_null(ev, out, open[i]);
		return ST_OK;
	}
	return eval_into(ev, ex->args[ex->arg_count - 1], inputs, rows, open, open_n, out);
}

enum status eval_coalesce(EVAL_ARGS)
{
	const uint16_t *cur = sel;
	uint16_t *open = NULL, *have = NULL;
	uint32_t cur_n = n;

	eval_out(ev, out, phys_of(ex), rows_of(sel, n));
	for (uint32_t a = 0; a < ex->arg_count && cur_n; a++) {
		struct vec v;
		uint32_t k = 0, h = 0;
		enum status st = expr_eval(ev, ex->args[a], inputs, rows, cur, cur_n, &v);

		if (st != ST_OK)
			return st;
		if (a == 0 && !v.nulls) { /* never null: it is the answer */
			*out = v;
			return ST_OK;
		}
		if (!open) {
			open = new_sel(ev, n);
			have = new_sel(ev, n);
		}
		for (uint32_t i = 0; i < cur_n; i++) {
			uint16_t r = (uint16_t)ROW(cur, i);

			if (vec_null(&v, r))
				open[k++] = r;
			else
				have[h++] = r;
		}
		copy_rows(ev, out, &v, have, h);
		cur = open;
		cur_n = k;
	}
	for (uint32_t i = 0; i < cur_n; i++)
		out_null(ev, out, cur[i]);
	return ST_OK;
}

/* GREATEST, LEAST: nulls are passed over; fn is "<" */
enum status eval_extreme(EVAL_ARGS)
{
	uint16_t *take = new_sel(ev, n), *both = new_sel(ev, n);

	eval_out(ev, out, phys_of(ex), rows_of(sel, n));
	for (uint32_t i = 0; i < n; i++)
		out_null(ev, out, ROW(sel, i));
	for (uint32_t a = 0; a < ex->arg_count; a++) {
		struct vec v, less, *low = ex->kind == EX_LEAST ? &v : out, *high = ex->kind == EX_LEAST ? out : &v;
		uint32_t take_n = 0, both_n = 0, k = 0;
		enum status st = expr_eval(ev, ex->args[a], inputs, rows, sel, n, &v);

		if (st != ST_OK)
			return st;
		for (uint32_t i = 0; i < n; i++) {
			uint16_t r = (uint16_t)ROW(sel, i);

			if (!vec_null(&v, r) && !vec_null(out, r))
				both[both_n++] = r;
		}
		less.constant = true; /* not looked at while there are no such rows */
		if (both_n) {
			st = compare(ev, ex, low, high, both, both_n, &less);
			if (st != ST_OK)
				return st;
		}
		for (uint32_t i = 0; i < n; i++) {
			uint16_t r = (uint16_t)ROW(sel, i);
			bool is_both = k < both_n && both[k] == r;

			k += is_both;
			if (vec_null(&v, r) || (is_both && !less.b[less.constant ? 0 : r]))
				continue;
			take[take_n++] = r;
		}
		for (uint32_t i = 0; i < take_n; i++)
			bit_clear(out->nulls, take[i]);
		copy_rows(ev, out, &v, take, take_n);
	}
	return ST_OK;
}

enum status eval_nullif(EVAL_ARGS)
{
	struct vec a, b, eq;
	enum status st = expr_eval(ev, ex->args[0], inputs, rows, sel, n, &a);

	if (st == ST_OK)
		st = expr_eval(ev, ex->args[1], inputs, rows, sel, n, &b);
	if (st == ST_OK)
		st = compare(ev, ex, &a, &b, sel, n, &eq);
	if (st != ST_OK)
		return st;
	eval_out(ev, out, a.phys, rows_of(sel, n));
	copy_rows(ev, out, &a, sel, n);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t r = ROW(sel, i);

		if (!vec_null(&eq, r) && eq.b[eq.constant ? 0 : r])
			out_null(ev, out, r);
	}
	return ST_OK;
}

/* -- membership -------------------------------------------------------------------------------------------------------------- */

/*
 * State of x op ANY (…) over parts: rows are dropped at the first part that decides (true for ANY, false for ALL); a null on
 * the way makes the rest null.
 */
struct any_state {
	struct eval *ev;
	struct vec *out;
	uint16_t *open;
	uint32_t open_n;
	bool decides;
};

static void any_init(struct any_state *s, struct eval *ev, struct vec *out, const uint16_t *sel, uint32_t n, bool all)
{
	*s = (struct any_state){ev, out, new_sel(ev, n), n, !all};
	eval_out(ev, out, PHYS_BOOL, rows_of(sel, n));
	for (uint32_t i = 0; i < n; i++) {
		s->open[i] = (uint16_t)ROW(sel, i);
		out->b[s->open[i]] = all;
	}
}

static void any_part(struct any_state *s, const struct vec *v)
{
	uint32_t k = 0;

	for (uint32_t i = 0; i < s->open_n; i++) {
		uint16_t r = s->open[i];

		if (vec_null(v, r)) {
			out_null(s->ev, s->out, r);
		} else if ((v->b[v->constant ? 0 : r] != 0) == s->decides) {
			s->out->b[r] = s->decides;
			if (s->out->nulls)
				bit_clear(s->out->nulls, r);
			continue;
		}
		s->open[k++] = r;
	}
	s->open_n = k;
}

static void negate_rows(struct vec *out, const uint16_t *sel, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t r = ROW(sel, i);

		out->b[r] = !out->b[r];
	}
}

enum status eval_in(EVAL_ARGS)
{
	struct vec left, item, eq;
	struct any_state s;
	enum status st = expr_eval(ev, ex->args[0], inputs, rows, sel, n, &left);

	if (st != ST_OK)
		return st;
	any_init(&s, ev, out, sel, n, false);
	for (uint32_t a = 1; a < ex->arg_count && s.open_n; a++) {
		st = expr_eval(ev, ex->args[a], inputs, rows, s.open, s.open_n, &item);
		if (st == ST_OK)
			st = compare(ev, ex, &left, &item, s.open, s.open_n, &eq);
		if (st != ST_OK)
			return st;
		any_part(&s, &eq);
	}
	if (ex->negate)
		negate_rows(out, sel, n);
	return ST_OK;
}

/* One array against the rows open in s. */
static enum status any_elements(struct any_state *s, const struct expr *ex, const struct vec *left,
				const struct cell *array)
{
	struct eval *ev = s->ev;
	struct array_view view;
	struct cell c;

	if (!array_open(&view, array->var, array->bytes))
		return error_set(ev->err, ST_CORRUPT, "damaged array value");
	while (s->open_n && array_next(&view, &c)) {
		struct vec item, hit;
		enum status st;

		eval_constant(ev, &c, view.phys, &item);
		st = compare(ev, ex, left, &item, s->open, s->open_n, &hit);
		if (st != ST_OK)
			return st;
		any_part(s, &hit);
	}
	return ST_OK;
}

enum status eval_any_array(EVAL_ARGS)
{
	struct vec left, arrays;
	struct any_state s, one;
	struct cell array;
	enum status st = expr_eval(ev, ex->args[0], inputs, rows, sel, n, &left);

	if (st == ST_OK)
		st = expr_eval(ev, ex->args[1], inputs, rows, sel, n, &arrays);
	if (st != ST_OK)
		return st;
	any_init(&s, ev, out, sel, n, ex->all);
	if (arrays.constant) {
		vec_cell(&arrays, 0, &array);
		if (!array.null)
			return any_elements(&s, ex, &left, &array);
		for (uint32_t i = 0; i < n; i++)
			out_null(ev, out, ROW(sel, i));
		return ST_OK;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint16_t r = (uint16_t)ROW(sel, i);

		vec_cell(&arrays, r, &array);
		if (array.null) {
			out_null(ev, out, r);
			continue;
		}
		one = (struct any_state){ev, out, &r, 1, s.decides};
		st = any_elements(&one, ex, &left, &array);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

enum status eval_array(EVAL_ARGS)
{
	const struct type_info *ti = type_find(ex->type.oid);
	struct vec *parts = ARENA_NEW_N(ev->arena, struct vec, ex->arg_count + 1);
	struct cell *cells = ARENA_NEW_N(ev->arena, struct cell, ex->arg_count + 1), built;
	bool constant = true;

	if (!ti || !ti->element_oid)
		return error_set(ev->err, ST_INTERNAL, "type %u is no array", ex->type.oid);
	for (uint32_t a = 0; a < ex->arg_count; a++) {
		enum status st = expr_eval(ev, ex->args[a], inputs, rows, sel, n, &parts[a]);

		if (st != ST_OK)
			return st;
		constant = constant && parts[a].constant;
	}
	if (constant) {
		sel = NULL;
		n = 1;
	}
	eval_out(ev, out, PHYS_VAR, rows_of(sel, n));
	out->constant = constant;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t r = ROW(sel, i);

		for (uint32_t a = 0; a < ex->arg_count; a++)
			vec_cell(&parts[a], r, &cells[a]);
		array_build(ti->element_oid, cells, ex->arg_count, 1, ev->arena, &built);
		out->var[r] = (struct slice){built.var, built.bytes, 0};
	}
	return ST_OK;
}
