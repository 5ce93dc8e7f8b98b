/*
 * functions_num.c - kernels of numeric arithmetic (num.h) and of float mathematics.
 */
#include <math.h>

#include "engine/sql/functions_int.h"
#include "engine/sql/num.h"

static enum status put_num(struct eval *ev, const struct num *n, struct slice *res)
{
	struct cell c;
	enum status st = num_check(n, ev->err);

	if (st != ST_OK)
		return st;
	num_store(n, ev->arena, &c);
	*res = (struct slice){c.var, c.bytes, 0};
	return ST_OK;
}

static inline void load(struct num *n, const struct slice *s)
{
	num_load(n, s->p, s->bytes);
}

/* CALL computes c from a and b into st */
#define NUM_BINARY(name, CALL)                                    \
	KERNEL(name)                                              \
	{                                                         \
		EACH_ROW(r) {                                     \
			struct num a, b, c;                       \
			enum status st = ST_OK;                   \
                                                                  \
			load(&a, &ARG(0, var, r));                \
			load(&b, &ARG(1, var, r));                \
			CALL;                                     \
			if (st == ST_OK)                          \
				st = put_num(ev, &c, &out->var[r]); \
			if (st != ST_OK)                          \
				return st;                        \
		}                                                 \
		return ST_OK;                                     \
	}
/* CALL changes a in place, or sets c and says so by st */
#define NUM_UNARY(name, CALL)                                     \
	KERNEL(name)                                              \
	{                                                         \
		EACH_ROW(r) {                                     \
			struct num a, c, *res = &a;               \
			enum status st = ST_OK;                   \
                                                                  \
			(void)c;                                  \
			load(&a, &ARG(0, var, r));                \
			CALL;                                     \
			if (st == ST_OK)                          \
				st = put_num(ev, res, &out->var[r]); \
			if (st != ST_OK)                          \
				return st;                        \
		}                                                 \
		return ST_OK;                                     \
	}

NUM_BINARY(num_add, num_add(&a, &b, &c, ev->arena))
NUM_BINARY(num_sub, num_sub(&a, &b, &c, ev->arena))
NUM_BINARY(num_mul, num_mul(&a, &b, &c, ev->arena))
NUM_BINARY(num_div, st = num_div(&a, &b, &c, ev->arena, ev->err))
NUM_BINARY(num_mod, st = num_mod(&a, &b, &c, ev->arena, ev->err))
NUM_BINARY(num_div_trunc, st = num_div_trunc(&a, &b, &c, ev->arena, ev->err))
NUM_BINARY(num_power, st = num_power(&a, &b, &c, ev->arena, ev->err))
NUM_BINARY(num_log, st = num_log(&a, &b, &c, ev->arena, ev->err))
NUM_UNARY(num_uminus, num_neg(&a))
NUM_UNARY(num_abs, if (num_sign(&a) < 0) num_neg(&a))
NUM_UNARY(num_ceil, num_ceil(&a, ev->arena))
NUM_UNARY(num_floor, num_floor(&a, ev->arena))
NUM_UNARY(num_sqrt, st = num_sqrt(&a, &c, ev->arena, ev->err); res = &c)
NUM_UNARY(num_exp, st = num_exp(&a, &c, ev->arena, ev->err); res = &c)
NUM_UNARY(num_ln, st = num_ln(&a, &c, ev->arena, ev->err); res = &c)
NUM_UNARY(num_log10, struct num ten; num_from_i64(&ten, 10); st = num_log(&ten, &a, &c, ev->arena, ev->err); res = &c)
NUM_UNARY(num_sign, res = &c; if (a.kind == NUM_NAN) num_assign(&c, &a); else num_from_i64(&c, num_sign(&a)))

static int clamp_scale(int32_t scale)
{
	return scale < -1000 ? -1000 : scale > 1000 ? 1000 : scale;
}

NUM_UNARY(num_round, num_round(&a, arg_count == 2 ? clamp_scale(ARG(1, i32, r)) : 0, ev->arena))
NUM_UNARY(num_trunc, num_trunc(&a, arg_count == 2 ? clamp_scale(ARG(1, i32, r)) : 0, ev->arena))

/* least scale that shows the value exactly */
static int min_scale(const struct num *a)
{
	int scale, last;

	if (a->digit_count == 0 || a->digit_count <= a->weight + 1)
		return 0;
	scale = (a->digit_count - a->weight - 1) * 4;
	for (last = a->digits[a->digit_count - 1]; last % 10 == 0; last /= 10)
		scale--;
	return scale;
}

NUM_UNARY(num_trim_scale, a.dscale = num_special(&a) ? 0 : min_scale(&a))

KERNEL(num_scale)
{
	EACH_ROW(r) {
		struct num a;

		load(&a, &ARG(0, var, r));
		if (num_special(&a))
			out_null(ev, out, r);
		else
			out->i32[r] = a.dscale;
	}
	return ST_OK;
}

KERNEL(num_min_scale)
{
	EACH_ROW(r) {
		struct num a;

		load(&a, &ARG(0, var, r));
		if (num_special(&a))
			out_null(ev, out, r);
		else
			out->i32[r] = min_scale(&a);
	}
	return ST_OK;
}

/* Euclid; specials give NaN */
static enum status gcd(struct eval *ev, const struct num *x, const struct num *y, struct num *g)
{
	struct num a, b, t;
	int dscale = x->dscale > y->dscale ? x->dscale : y->dscale;

	if (num_special(x) || num_special(y)) {
		num_from_f64(g, (double)NAN, 15, ev->arena);
		return ST_OK;
	}
	num_assign(&a, x);
	num_assign(&b, y);
	while (b.digit_count) {
		enum status st = num_mod(&a, &b, &t, ev->arena, ev->err);

		if (st != ST_OK)
			return st;
		num_assign(&a, &b);
		num_assign(&b, &t);
	}
	if (num_sign(&a) < 0)
		num_neg(&a);
	a.dscale = dscale;
	num_assign(g, &a);
	return ST_OK;
}

static enum status lcm(struct eval *ev, const struct num *x, const struct num *y, struct num *l)
{
	struct num g, q;
	enum status st = gcd(ev, x, y, &g);

	if (st != ST_OK || num_special(&g) || g.digit_count == 0) {
		num_assign(l, &g);
		return st;
	}
	st = num_div_trunc(x, &g, &q, ev->arena, ev->err);
	if (st != ST_OK)
		return st;
	num_mul(&q, y, l, ev->arena);
	if (num_sign(l) < 0)
		num_neg(l);
	l->dscale = x->dscale > y->dscale ? x->dscale : y->dscale;
	return ST_OK;
}

NUM_BINARY(num_gcd, st = gcd(ev, &a, &b, &c))
NUM_BINARY(num_lcm, st = lcm(ev, &a, &b, &c))

/* floor((x - lo) * count / (hi - lo)) + 1, clipped; lo > hi counts downwards */
static enum status width_bucket(struct eval *ev, struct num v[3], int32_t count, int32_t *bucket)
{
	struct num off, span, k, prod, q;
	int order = num_compare(&v[1], &v[2]);
	int64_t i;
	enum status st;

	if (count <= 0)
		return error_set(ev->err, ST_BAD_PARAMETER, "count must be greater than zero");
	for (int a = 0; a < 3; a++)
		if (num_special(&v[a]) && (a > 0 || v[a].kind == NUM_NAN))
			return error_set(ev->err, ST_BAD_PARAMETER,
					 v[a].kind == NUM_NAN ? "operand, lower bound, and upper bound cannot be NaN"
							      : "lower and upper bounds must be finite");
	if (order == 0)
		return error_set(ev->err, ST_BAD_PARAMETER, "lower bound cannot equal upper bound");
	if (order < 0 ? num_compare(&v[0], &v[1]) < 0 : num_compare(&v[0], &v[1]) > 0) {
		*bucket = 0;
		return ST_OK;
	}
	if (order < 0 ? num_compare(&v[0], &v[2]) >= 0 : num_compare(&v[0], &v[2]) <= 0) {
		if (count == INT32_MAX)
			return error_set(ev->err, ST_NUMERIC_RANGE, "integer out of range");
		*bucket = count + 1;
		return ST_OK;
	}
	num_sub(&v[0], &v[1], &off, ev->arena);
	num_sub(&v[2], &v[1], &span, ev->arena);
	num_from_i64(&k, count);
	num_mul(&off, &k, &prod, ev->arena);
	num_div_scale(&prod, &span, 0, false, &q, ev->arena);
	st = num_to_int(&q, 0, INT32_MAX - 1, "integer", &i, ev->err);
	*bucket = (int32_t)i + 1;
	return st;
}

KERNEL(num_width_bucket)
{
	EACH_ROW(r) {
		struct num v[3];
		enum status st;

		for (uint32_t a = 0; a < 3; a++)
			load(&v[a], &ARG(a, var, r));
		st = width_bucket(ev, v, ARG(3, i32, r), &out->i32[r]);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

/* -- floats ------------------------------------------------------------------------------------------------------------------- */

static enum status out_of_range(struct eval *ev)
{
	return error_set(ev->err, ST_NUMERIC_RANGE, "input is out of range");
}

static enum status check(struct eval *ev, double x, double v)
{
	if (isinf(v) && !isinf(x))
		return error_set(ev->err, ST_NUMERIC_RANGE, "value out of range: overflow");
	return ST_OK;
}

#define FLOAT_UNARY(name, EXPR, TEST, FAIL)                       \
	KERNEL(name)                                              \
	{                                                         \
		EACH_ROW(r) {                                     \
			double x = ARG(0, f64, r), v;             \
			enum status st;                           \
                                                                  \
			if (TEST)                                 \
				return FAIL;                      \
			v = EXPR;                                 \
			st = check(ev, x, v);                     \
			if (st != ST_OK)                          \
				return st;                        \
			out->f64[r] = v;                          \
		}                                                 \
		return ST_OK;                                     \
	}
#define PI 3.14159265358979323846
static enum status log_error(struct eval *ev, double x)
{
	return error_set(ev->err, ST_LOG_ARGUMENT,
			 x == 0 ? "cannot take logarithm of zero" : "cannot take logarithm of a negative number");
}

FLOAT_UNARY(f64_ceil, ceil(x), false, ST_OK)
FLOAT_UNARY(f64_floor, floor(x), false, ST_OK)
FLOAT_UNARY(f64_round, rint(x), false, ST_OK)
FLOAT_UNARY(f64_trunc, trunc(x), false, ST_OK)
FLOAT_UNARY(f64_sqrt, sqrt(x), x < 0,
	    error_set(ev->err, ST_POWER_ARGUMENT, "cannot take square root of a negative number"))
FLOAT_UNARY(f64_cbrt, cbrt(x), false, ST_OK)
FLOAT_UNARY(f64_exp, exp(x), !isinf(x) && exp(x) == 0,
	    error_set(ev->err, ST_NUMERIC_RANGE, "value out of range: underflow"))
FLOAT_UNARY(f64_ln, log(x), x <= 0, log_error(ev, x))
FLOAT_UNARY(f64_log10, log10(x), x <= 0, log_error(ev, x))
FLOAT_UNARY(f64_sign, x > 0 ? 1.0 : x < 0 ? -1.0 : 0.0, false, ST_OK)
FLOAT_UNARY(f64_degrees, x / (PI / 180.0), false, ST_OK)
FLOAT_UNARY(f64_radians, x * (PI / 180.0), false, ST_OK)
FLOAT_UNARY(f64_sin, sin(x), isinf(x), out_of_range(ev))
FLOAT_UNARY(f64_cos, cos(x), isinf(x), out_of_range(ev))
FLOAT_UNARY(f64_tan, tan(x), isinf(x), out_of_range(ev))
KERNEL(f64_cot)
{
	EACH_ROW(r) {
		double x = ARG(0, f64, r);

		if (isinf(x))
			return out_of_range(ev);
		out->f64[r] = 1.0 / tan(x); /* infinite at 0, as PostgreSQL's */
	}
	return ST_OK;
}
FLOAT_UNARY(f64_asin, asin(x), x < -1 || x > 1, out_of_range(ev))
FLOAT_UNARY(f64_acos, acos(x), x < -1 || x > 1, out_of_range(ev))
FLOAT_UNARY(f64_atan, atan(x), false, ST_OK)
KERNEL(f64_sinh)
{
	EACH_ROW(r)
		out->f64[r] = sinh(ARG(0, f64, r)); /* overflows to infinity without an error, as PostgreSQL's */
	return ST_OK;
}
KERNEL(f64_cosh)
{
	EACH_ROW(r)
		out->f64[r] = cosh(ARG(0, f64, r));
	return ST_OK;
}
FLOAT_UNARY(f64_tanh, tanh(x), false, ST_OK)

KERNEL(f64_pi)
{
	EACH_ROW(r)
		out->f64[r] = PI;
	return ST_OK;
}

KERNEL(f64_atan2)
{
	EACH_ROW(r)
		out->f64[r] = atan2(ARG(0, f64, r), ARG(1, f64, r));
	return ST_OK;
}

static enum status power_row(struct eval *ev, double x, double y, double *out)
{
	double v;

	if (x == 0 && y < 0)
		return error_set(ev->err, ST_POWER_ARGUMENT, "zero raised to a negative power is undefined");
	if (x < 0 && !isinf(x) && !isinf(y) && floor(y) != y && !isnan(y))
		return error_set(ev->err, ST_POWER_ARGUMENT,
				 "a negative number raised to a non-integer power yields a complex result");
	v = pow(x, y);
	if (isinf(v) && !isinf(x) && !isinf(y))
		return error_set(ev->err, ST_NUMERIC_RANGE, "value out of range: overflow");
	if (v == 0 && x != 0 && !isinf(x) && !isinf(y))
		return error_set(ev->err, ST_NUMERIC_RANGE, "value out of range: underflow");
	*out = v;
	return ST_OK;
}

KERNEL(f64_power)
{
	EACH_ROW(r) {
		enum status st = power_row(ev, ARG(0, f64, r), ARG(1, f64, r), &out->f64[r]);

		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}
