/*
 * aggregates.c - aggregate functions (expr.h): states, adding vectors of rows, results.
 *
 * A state is zero before its first row. What it points to lives in the arena given to add. Nulls are passed over by
 * all but count(*) and array_agg. Sums of bigint and numeric are exact; sums of float are in the order of the rows.
 */
#include <math.h>

#include "engine/sql/datetime.h"
#include "engine/sql/functions_int.h"
#include "engine/sql/num.h"

#define ADD_ARGS                                                                                               \
	UNUSED_ARG struct eval *ev, UNUSED_ARG const struct agg_def *agg, void *const *groups,                 \
		UNUSED_ARG const struct vec *args, const uint16_t *sel, uint32_t n, UNUSED_ARG struct arena *arena
#define FINAL_ARGS                                                                                             \
	UNUSED_ARG struct eval *ev, UNUSED_ARG const struct agg_def *agg, const void *state,                   \
		UNUSED_ARG struct arena *arena, struct cell *out

/* Row i of the selection is vector row r and goes to groups[i]. */
#define ROWS(i, r) for (uint32_t i = 0, r = 0; i < n && ((r = sel ? sel[i] : i), true); i++)
#define NOT_NULL(r) if (!vec_null(&args[0], r))

static enum status result_null(struct cell *out)
{
	*out = (struct cell){.null = true};
	return ST_OK;
}

static enum status result_num(const struct num *n, struct arena *arena, struct error *err, struct cell *out)
{
	enum status st = num_check(n, err);

	if (st == ST_OK)
		num_store(n, arena, out);
	return st;
}

/* -- count ------------------------------------------------------------------------------------------------------------- */

struct count_state { int64_t count; };

static enum status count_star_add(ADD_ARGS)
{
	(void)sel;
	for (uint32_t i = 0; i < n; i++)
		((struct count_state *)groups[i])->count++;
	return ST_OK;
}

static enum status count_add(ADD_ARGS)
{
	ROWS(i, r)
		((struct count_state *)groups[i])->count += !vec_null(&args[0], r);
	return ST_OK;
}

static enum status count_final(FINAL_ARGS)
{
	*out = cell_int(PHYS_I64, ((const struct count_state *)state)->count);
	return ST_OK;
}

/* -- sums of integers: exact in 128 bits ----------------------------------------------------------------------------------- */

struct int_sum { i128 sum, squares_low; int64_t count; };

#define INT_SUM_ADD(name, f)                                          \
	static enum status name(ADD_ARGS)                             \
	{                                                             \
		ROWS(i, r)                                            \
			NOT_NULL(r) {                                 \
				struct int_sum *s = groups[i];        \
                                                                      \
				s->sum += ARG(0, f, r);               \
				s->count++;                           \
			}                                             \
		return ST_OK;                                         \
	}
INT_SUM_ADD(sum_i16_add, i16)
INT_SUM_ADD(sum_i32_add, i32)
INT_SUM_ADD(sum_i64_add, i64)

static enum status sum_int_final(FINAL_ARGS) /* of int2 and int4: bigint */
{
	const struct int_sum *s = state;

	if (!s->count)
		return result_null(out);
	if (s->sum > INT64_MAX || s->sum < INT64_MIN)
		return error_set(ev->err, ST_NUMERIC_RANGE, "bigint out of range");
	*out = cell_int(PHYS_I64, (int64_t)s->sum);
	return ST_OK;
}

static enum status sum_i64_final(FINAL_ARGS)
{
	const struct int_sum *s = state;
	struct num n;

	if (!s->count)
		return result_null(out);
	num_from_i128(&n, s->sum, 0);
	return result_num(&n, arena, ev->err, out);
}

static enum status avg_int_final(FINAL_ARGS)
{
	const struct int_sum *s = state;
	struct num sum, count, avg;
	enum status st;

	if (!s->count)
		return result_null(out);
	num_from_i128(&sum, s->sum, 0);
	num_from_i64(&count, s->count);
	st = num_div(&sum, &count, &avg, arena, ev->err);
	return st == ST_OK ? result_num(&avg, arena, ev->err, out) : st;
}

/* -- sums of numeric ------------------------------------------------------------------------------------------------------------ */

struct num_state { struct num_sum sum, squares; int64_t count; };

static enum status sum_num_add(ADD_ARGS)
{
	ROWS(i, r)
		NOT_NULL(r) {
			struct num_state *s = groups[i];
			struct num v;

			num_load(&v, ARG(0, var, r).p, ARG(0, var, r).bytes);
			num_sum_add(&s->sum, &v, arena);
			s->count++;
		}
	return ST_OK;
}

static enum status sum_num_final(FINAL_ARGS)
{
	const struct num_state *s = state;
	struct num n;

	if (!s->count)
		return result_null(out);
	num_sum_get(&s->sum, &n, arena);
	return result_num(&n, arena, ev->err, out);
}

static enum status avg_num_final(FINAL_ARGS)
{
	const struct num_state *s = state;
	struct num sum, count, avg;
	enum status st;

	if (!s->count)
		return result_null(out);
	num_sum_get(&s->sum, &sum, arena);
	num_from_i64(&count, s->count);
	st = num_div(&sum, &count, &avg, arena, ev->err);
	return st == ST_OK ? result_num(&avg, arena, ev->err, out) : st;
}

/* -- variance of exact types ------------------------------------------------------------------------------------------------------ */

static void variance_one(struct num_state *s, const struct num *v, struct arena *arena)
{
	struct num square;

	num_mul(v, v, &square, arena);
	num_sum_add(&s->sum, v, arena);
	num_sum_add(&s->squares, &square, arena);
	s->count++;
}

static enum status var_num_add(ADD_ARGS)
{
	ROWS(i, r)
		NOT_NULL(r) {
			struct num v;

			num_load(&v, ARG(0, var, r).p, ARG(0, var, r).bytes);
			variance_one(groups[i], &v, arena);
		}
	return ST_OK;
}

#define VAR_INT_ADD(name, f)                                          \
	static enum status name(ADD_ARGS)                             \
	{                                                             \
		ROWS(i, r)                                            \
			NOT_NULL(r) {                                 \
				struct num v;                         \
                                                                      \
				num_from_i64(&v, ARG(0, f, r));       \
				variance_one(groups[i], &v, arena);   \
			}                                             \
		return ST_OK;                                         \
	}
VAR_INT_ADD(var_i16_add, i16)
VAR_INT_ADD(var_i32_add, i32)
VAR_INT_ADD(var_i64_add, i64)

/* (N * sum(x^2) - sum(x)^2) / (N * (N or N - 1)) */
static enum status variance(struct eval *ev, const struct num_state *s, bool sample, bool root, struct arena *arena,
			    struct cell *out)
{
	struct num sum, squares, count, less, a, b, top, bottom, v, res;
	enum status st = ST_OK;

	if (s->count < (sample ? 2 : 1))
		return result_null(out);
	num_sum_get(&s->sum, &sum, arena);
	num_sum_get(&s->squares, &squares, arena);
	num_from_i64(&count, s->count);
	num_from_i64(&less, s->count - sample);
	if (num_special(&sum) || num_special(&squares)) {
		num_from_f64(&v, (double)NAN, 15, arena);
		return result_num(&v, arena, ev->err, out);
	}
	num_mul(&squares, &count, &a, arena);
	num_mul(&sum, &sum, &b, arena);
	num_sub(&a, &b, &top, arena);
	num_mul(&count, &less, &bottom, arena);
	if (num_sign(&top) <= 0) {
		num_zero(&v);
		return result_num(&v, arena, ev->err, out);
	}
	st = num_div(&top, &bottom, &v, arena, ev->err);
	if (st != ST_OK)
		return st;
	if (!root)
		return result_num(&v, arena, ev->err, out);
	num_sqrt_scale(&v, v.dscale, &res, arena); /* with the quotient's scale, as PostgreSQL */
	return result_num(&res, arena, ev->err, out);
}

static enum status var_samp_final(FINAL_ARGS) { return variance(ev, state, true, false, arena, out); }
static enum status var_pop_final(FINAL_ARGS) { return variance(ev, state, false, false, arena, out); }
static enum status stddev_samp_final(FINAL_ARGS) { return variance(ev, state, true, true, arena, out); }
static enum status stddev_pop_final(FINAL_ARGS) { return variance(ev, state, false, true, arena, out); }

/* -- floats: sum, and deviations by Youngs and Cramer's recurrence --------------------------------------------------------------------- */

struct float_state { double count, sum, sxx; };

static enum status float_add(ADD_ARGS)
{
	ROWS(i, r)
		NOT_NULL(r) {
			struct float_state *s = groups[i];
			double v = ARG(0, f64, r), before = s->sum;

			s->count++;
			s->sum += v;
			if (s->count > 1) {
				double t = v * s->count - s->sum;

				s->sxx += t * t / (s->count * (s->count - 1));
				if (isinf(s->sum) && !isinf(v) && !isinf(before))
					return error_set(ev->err, ST_NUMERIC_RANGE, "value out of range: overflow");
			}
			if (isinf(v) || isnan(v) || isinf(before))
				s->sxx = (double)NAN;
		}
	return ST_OK;
}

static enum status float_result(double v, struct cell *out)
{
	*out = cell_f64(v);
	return ST_OK;
}

static enum status sum_f64_final(FINAL_ARGS)
{
	const struct float_state *s = state;

	return s->count > 0 ? float_result(s->sum, out) : result_null(out);
}

static enum status sum_f32_final(FINAL_ARGS)
{
	const struct float_state *s = state;

	return s->count > 0 ? float_result((double)(float)s->sum, out) : result_null(out);
}

/* sum(real) is added up as real, as PostgreSQL does */
static enum status sum_f32_add(ADD_ARGS)
{
	ROWS(i, r)
		NOT_NULL(r) {
			struct float_state *s = groups[i];
			float v = (float)ARG(0, f64, r), before = (float)s->sum, sum = before + v;

			if (isinf(sum) && !isinf(v) && !isinf(before))
				return error_set(ev->err, ST_NUMERIC_RANGE, "value out of range: overflow");
			s->sum = (double)sum;
			s->count++;
		}
	return ST_OK;
}

static enum status avg_f64_final(FINAL_ARGS)
{
	const struct float_state *s = state;

	return s->count > 0 ? float_result(s->sum / s->count, out) : result_null(out);
}

static enum status fvar_samp_final(FINAL_ARGS)
{
	const struct float_state *s = state;

	return s->count > 1 ? float_result(s->sxx / (s->count - 1), out) : result_null(out);
}

static enum status fvar_pop_final(FINAL_ARGS)
{
	const struct float_state *s = state;

	return s->count > 0 ? float_result(s->sxx / s->count, out) : result_null(out);
}

static enum status fdev_samp_final(FINAL_ARGS)
{
	const struct float_state *s = state;

	return s->count > 1 ? float_result(sqrt(s->sxx / (s->count - 1)), out) : result_null(out);
}

static enum status fdev_pop_final(FINAL_ARGS)
{
	const struct float_state *s = state;

	return s->count > 0 ? float_result(sqrt(s->sxx / s->count), out) : result_null(out);
}

/* -- intervals ----------------------------------------------------------------------------------------------------------------------- */

struct interval_state { struct interval sum; int64_t count; };

static enum status interval_add(ADD_ARGS)
{
	ROWS(i, r)
		NOT_NULL(r) {
			struct interval_state *s = groups[i];
			enum status st = dt_interval_add(s->sum, interval_get(ARG(0, var, r).p), &s->sum, ev->err);

			if (st != ST_OK)
				return st;
			s->count++;
		}
	return ST_OK;
}

static enum status sum_interval_final(FINAL_ARGS)
{
	const struct interval_state *s = state;

	if (!s->count)
		return result_null(out);
	interval_cell(s->sum, arena, out);
	return ST_OK;
}

static enum status avg_interval_final(FINAL_ARGS)
{
	const struct interval_state *s = state;
	struct interval iv;
	enum status st;

	if (!s->count)
		return result_null(out);
	st = dt_interval_div(s->sum, (double)s->count, &iv, ev->err);
	if (st == ST_OK)
		interval_cell(iv, arena, out);
	return st;
}

/* -- min, max ------------------------------------------------------------------------------------------------------------------------------ */

struct extreme_state { struct cell best; uint32_t cap; bool have; };

static void keep(struct extreme_state *s, const struct cell *c, struct arena *arena)
{
	uint8_t *p;

	s->have = true;
	if (c->phys != PHYS_VAR) {
		s->best = *c;
		return;
	}
	p = s->cap ? (uint8_t *)(uintptr_t)s->best.var : NULL;
	if (c->bytes > s->cap || !p) { /* doubles, so that a growing value does not fill the arena */
		s->cap = c->bytes < 16 ? 32 : c->bytes * 2;
		p = arena_alloc(arena, s->cap);
	}
	if (c->bytes)
		memcpy(p, c->var, c->bytes);
	s->best = cell_var(p, c->bytes);
}

static enum status extreme(ADD_ARGS, int sign)
{
	uint32_t oid = agg->args[0];

	ROWS(i, r)
		NOT_NULL(r) {
			struct extreme_state *s = groups[i];
			struct cell c;

			vec_cell(&args[0], r, &c);
			if (!s->have || value_compare(oid, &c, &s->best) * sign > 0)
				keep(s, &c, arena);
		}
	return ST_OK;
}

static enum status min_add(ADD_ARGS) { return extreme(ev, agg, groups, args, sel, n, arena, -1); }
static enum status max_add(ADD_ARGS) { return extreme(ev, agg, groups, args, sel, n, arena, 1); }

#define EXTREME_INT(name, f, C)                                                              \
	static enum status name(ADD_ARGS)                                                    \
	{                                                                                    \
		ROWS(i, r)                                                                   \
			NOT_NULL(r) {                                                        \
				struct extreme_state *s = groups[i];                         \
				int64_t v = ARG(0, f, r);                                    \
                                                                                             \
				if (!s->have || v C s->best.i) {                             \
					s->have = true;                                      \
					s->best.phys = args[0].phys;                         \
					s->best.i = v;                                       \
				}                                                            \
			}                                                                    \
		return ST_OK;                                                                \
	}
EXTREME_INT(min_i32_add, i32, <)
EXTREME_INT(max_i32_add, i32, >)
EXTREME_INT(min_i64_add, i64, <)
EXTREME_INT(max_i64_add, i64, >)

static enum status extreme_final(FINAL_ARGS)
{
	const struct extreme_state *s = state;

	if (!s->have)
		return result_null(out);
	*out = s->best;
	return ST_OK;
}

/* -- bool and bits ------------------------------------------------------------------------------------------------------------------------ */

struct bits_state { int64_t bits; bool have; };

#define BITS_ADD(name, f, EXPR)                                                       \
	static enum status name(ADD_ARGS)                                             \
	{                                                                             \
		ROWS(i, r)                                                            \
			NOT_NULL(r) {                                                 \
				struct bits_state *s = groups[i];                     \
				int64_t x = s->bits, y = ARG(0, f, r);                \
                                                                                      \
				s->bits = s->have ? (EXPR) : y;                       \
				s->have = true;                                       \
			}                                                             \
		return ST_OK;                                                         \
	}
BITS_ADD(and_b_add, b, x & y)
BITS_ADD(or_b_add, b, x | y)
BITS_ADD(and_i16_add, i16, x & y)
BITS_ADD(or_i16_add, i16, x | y)
BITS_ADD(xor_i16_add, i16, x ^ y)
BITS_ADD(and_i32_add, i32, x & y)
BITS_ADD(or_i32_add, i32, x | y)
BITS_ADD(xor_i32_add, i32, x ^ y)
BITS_ADD(and_i64_add, i64, x & y)
BITS_ADD(or_i64_add, i64, x | y)
BITS_ADD(xor_i64_add, i64, x ^ y)

static enum status bits_final(FINAL_ARGS)
{
	const struct bits_state *s = state;

	if (!s->have)
		return result_null(out);
	*out = cell_int(type_find(agg->result)->phys, s->bits);
	return ST_OK;
}

/* -- string_agg, array_agg -------------------------------------------------------------------------------------------------------------------- */

struct string_state { uint8_t *p; uint32_t bytes, cap; bool have; };

static enum status string_put(struct eval *ev, struct string_state *s, const struct slice *v, struct arena *arena)
{
	if (v->bytes > s->cap - s->bytes) {
		size_t cap = (size_t)s->cap * 2 + v->bytes + 32;
		uint8_t *p;

		if ((size_t)s->bytes + v->bytes > VALUE_BYTES_MAX)
			return error_set(ev->err, ST_PROGRAM_LIMIT, "requested length too large");
		if (!value_room(arena, cap))
			return error_set(ev->err, ST_NOMEM, "out of memory");
		p = arena_alloc(arena, cap);
		if (s->bytes)
			memcpy(p, s->p, s->bytes);
		s->p = p;
		s->cap = (uint32_t)cap;
	}
	if (v->bytes)
		memcpy(s->p + s->bytes, v->p, v->bytes);
	s->bytes += v->bytes;
	return ST_OK;
}

static enum status string_add(ADD_ARGS)
{
	ROWS(i, r)
		NOT_NULL(r) {
			struct string_state *s = groups[i];
			enum status st = ST_OK;

			if (s->have && !vec_null(&args[1], r))
				st = string_put(ev, s, &ARG(1, var, r), arena);
			s->have = true;
			if (st == ST_OK)
				st = string_put(ev, s, &ARG(0, var, r), arena);
			if (st != ST_OK)
				return st;
		}
	return ST_OK;
}

static enum status string_final(FINAL_ARGS)
{
	const struct string_state *s = state;

	if (!s->have)
		return result_null(out);
	*out = cell_var(s->p ? s->p : (const uint8_t *)"", s->bytes);
	return ST_OK;
}

struct array_state { struct cell *cells; uint32_t count, cap; };

static enum status array_add(ADD_ARGS)
{
	ROWS(i, r) {
		struct array_state *s = groups[i];
		struct cell *c;

		if (s->count == s->cap) {
			uint32_t cap = s->cap ? s->cap * 2 : 8;
			struct cell *more;

			if (!value_room(arena, sizeof *more * (size_t)cap))
				return error_set(ev->err, ST_NOMEM, "out of memory");
			more = ARENA_NEW_N(arena, struct cell, cap);
			if (s->count)
				memcpy(more, s->cells, sizeof *more * s->count);
			s->cells = more;
			s->cap = cap;
		}
		c = &s->cells[s->count++];
		vec_cell(&args[0], r, c);
		if (!c->null && c->phys == PHYS_VAR)
			c->var = arena_dup(arena, c->var, c->bytes);
	}
	return ST_OK;
}

static enum status array_final(FINAL_ARGS)
{
	const struct array_state *s = state;

	if (!s->count)
		return result_null(out);
	array_build(agg->args[0], s->cells, s->count, 1, arena, out);
	return ST_OK;
}

/* -- the table ------------------------------------------------------------------------------------------------------------------------------------ */

#define AGG1(name, T, R, state, add, final) {name, 1, false, {T, 0}, R, sizeof(struct state), add, final}
#define DEVIATION(T, R, state, add, vs, vp, ds, dp)              \
	AGG1("variance", T, R, state, add, vs),                  \
	AGG1("var_samp", T, R, state, add, vs),                  \
	AGG1("var_pop", T, R, state, add, vp),                   \
	AGG1("stddev", T, R, state, add, ds),                    \
	AGG1("stddev_samp", T, R, state, add, ds),               \
	AGG1("stddev_pop", T, R, state, add, dp)
#define EXACT_DEVIATION(T, add) \
	DEVIATION(T, T_NUMERIC, num_state, add, var_samp_final, var_pop_final, stddev_samp_final, stddev_pop_final)
#define FLOAT_DEVIATION(T) \
	DEVIATION(T, T_FLOAT8, float_state, float_add, fvar_samp_final, fvar_pop_final, fdev_samp_final, fdev_pop_final)
#define MIN_MAX(T, min, max)                                     \
	AGG1("min", T, T, extreme_state, min, extreme_final),    \
	AGG1("max", T, T, extreme_state, max, extreme_final)
#define BITS(T, c)                                               \
	AGG1("bit_and", T, T, bits_state, and_##c##_add, bits_final), \
	AGG1("bit_or", T, T, bits_state, or_##c##_add, bits_final),   \
	AGG1("bit_xor", T, T, bits_state, xor_##c##_add, bits_final)
#define ARRAY_AGG(T) AGG1("array_agg", T, T##_ARRAY, array_state, array_add, array_final)

static const struct agg_def aggs[] = {
	{"count", 0, false, {0, 0}, T_INT8, sizeof(struct count_state), count_star_add, count_final},
	{"count", 1, true, {T_NONE, 0}, T_INT8, sizeof(struct count_state), count_add, count_final},
	AGG1("sum", T_INT2, T_INT8, int_sum, sum_i16_add, sum_int_final),
	AGG1("sum", T_INT4, T_INT8, int_sum, sum_i32_add, sum_int_final),
	AGG1("sum", T_INT8, T_NUMERIC, int_sum, sum_i64_add, sum_i64_final),
	AGG1("sum", T_NUMERIC, T_NUMERIC, num_state, sum_num_add, sum_num_final),
	AGG1("sum", T_FLOAT4, T_FLOAT4, float_state, sum_f32_add, sum_f32_final),
	AGG1("sum", T_FLOAT8, T_FLOAT8, float_state, float_add, sum_f64_final),
	AGG1("sum", T_INTERVAL, T_INTERVAL, interval_state, interval_add, sum_interval_final),
	AGG1("avg", T_INT2, T_NUMERIC, int_sum, sum_i16_add, avg_int_final),
	AGG1("avg", T_INT4, T_NUMERIC, int_sum, sum_i32_add, avg_int_final),
	AGG1("avg", T_INT8, T_NUMERIC, int_sum, sum_i64_add, avg_int_final),
	AGG1("avg", T_NUMERIC, T_NUMERIC, num_state, sum_num_add, avg_num_final),
	AGG1("avg", T_FLOAT4, T_FLOAT8, float_state, float_add, avg_f64_final),
	AGG1("avg", T_FLOAT8, T_FLOAT8, float_state, float_add, avg_f64_final),
	AGG1("avg", T_INTERVAL, T_INTERVAL, interval_state, interval_add, avg_interval_final),
	MIN_MAX(T_INT2, min_add, max_add), MIN_MAX(T_INT4, min_i32_add, max_i32_add),
	MIN_MAX(T_INT8, min_i64_add, max_i64_add), MIN_MAX(T_OID, min_i64_add, max_i64_add),
	MIN_MAX(T_FLOAT4, min_add, max_add), MIN_MAX(T_FLOAT8, min_add, max_add),
	MIN_MAX(T_NUMERIC, min_add, max_add), MIN_MAX(T_TEXT, min_add, max_add),
	MIN_MAX(T_BPCHAR, min_add, max_add), MIN_MAX(T_DATE, min_i32_add, max_i32_add),
	MIN_MAX(T_TIME, min_i64_add, max_i64_add), MIN_MAX(T_TIMESTAMP, min_i64_add, max_i64_add),
	MIN_MAX(T_TIMESTAMPTZ, min_i64_add, max_i64_add), MIN_MAX(T_INTERVAL, min_add, max_add),
	MIN_MAX(T_INT4_ARRAY, min_add, max_add), MIN_MAX(T_INT8_ARRAY, min_add, max_add),
	MIN_MAX(T_TEXT_ARRAY, min_add, max_add),
	AGG1("bool_and", T_BOOL, T_BOOL, bits_state, and_b_add, bits_final),
	AGG1("every", T_BOOL, T_BOOL, bits_state, and_b_add, bits_final),
	AGG1("bool_or", T_BOOL, T_BOOL, bits_state, or_b_add, bits_final),
	BITS(T_INT2, i16), BITS(T_INT4, i32), BITS(T_INT8, i64),
	EXACT_DEVIATION(T_INT2, var_i16_add), EXACT_DEVIATION(T_INT4, var_i32_add),
	EXACT_DEVIATION(T_INT8, var_i64_add), EXACT_DEVIATION(T_NUMERIC, var_num_add),
	FLOAT_DEVIATION(T_FLOAT4), FLOAT_DEVIATION(T_FLOAT8),
	{"string_agg", 2, false, {T_TEXT, T_TEXT}, T_TEXT, sizeof(struct string_state), string_add, string_final},
	{"string_agg", 2, false, {T_BYTEA, T_BYTEA}, T_BYTEA, sizeof(struct string_state), string_add, string_final},
	ARRAY_AGG(T_BOOL), ARRAY_AGG(T_BYTEA), ARRAY_AGG(T_CHAR1), ARRAY_AGG(T_NAME), ARRAY_AGG(T_INT2),
	ARRAY_AGG(T_INT4), ARRAY_AGG(T_INT8), ARRAY_AGG(T_OID), ARRAY_AGG(T_TEXT), ARRAY_AGG(T_VARCHAR),
	ARRAY_AGG(T_BPCHAR), ARRAY_AGG(T_FLOAT4), ARRAY_AGG(T_FLOAT8), ARRAY_AGG(T_NUMERIC), ARRAY_AGG(T_DATE),
	ARRAY_AGG(T_TIME), ARRAY_AGG(T_TIMESTAMP), ARRAY_AGG(T_TIMESTAMPTZ), ARRAY_AGG(T_INTERVAL),
};
#define AGG_COUNT (sizeof aggs / sizeof *aggs)

bool agg_exists(const char *name)
{
	for (size_t i = 0; i < AGG_COUNT; i++)
		if (!strcmp(aggs[i].sql_name, name))
			return true;
	return false;
}

static const struct agg_def *find_exact(const char *name, const uint32_t *types, uint32_t count)
{
	for (size_t i = 0; i < AGG_COUNT; i++) {
		const struct agg_def *a = &aggs[i];

		if (a->arg_count != count || strcmp(a->sql_name, name))
			continue;
		if (a->variadic_any || ((count < 1 || a->args[0] == types[0]) && (count < 2 || a->args[1] == types[1])))
			return a;
	}
	return NULL;
}

enum status agg_resolve(const char *name, const uint32_t *types, uint32_t count, bool star, const struct agg_def **out,
			uint32_t *coerce_out, struct error *err)
{
	struct fn_candidate list[128];
	uint32_t kept = 0, chosen;
	const struct agg_def *a;
	enum status st;

	if (star)
		count = 0;
	if (count == 0 && !star && agg_exists(name)) {
		if (!strcmp(name, "count"))
			return error_set(err, ST_WRONG_OBJECT_TYPE,
					 "count(*) must be used to call a parameterless aggregate function");
		return fn_choose(name, types, 0, NULL, 0, &chosen, err);
	}
	a = count <= 2 ? find_exact(name, types, count) : NULL;
	if (a) {
		for (uint32_t i = 0; i < count; i++)
			coerce_out[i] = a->args[i] ? a->args[i] : types[i] == T_UNKNOWN ? T_TEXT : types[i];
		*out = a;
		return ST_OK;
	}
	for (size_t i = 0; i < AGG_COUNT && kept < 128; i++)
		if (aggs[i].arg_count == count && !strcmp(aggs[i].sql_name, name))
			list[kept++] = (struct fn_candidate){aggs[i].args, (uint32_t)i, count, false};
	st = fn_choose(name, types, count, list, kept, &chosen, err);
	if (st != ST_OK)
		return st;
	*out = &aggs[chosen];
	for (uint32_t i = 0; i < count; i++)
		coerce_out[i] = aggs[chosen].args[i];
	return ST_OK;
}
