/*
 * num_trans.c - numeric: square root, power, exponential and logarithms (num.h).
 *
 * The scale of each result is PostgreSQL's; the value is computed with guard digits beyond it and rounded once.
 */
#include <math.h>

#include "base/assert.h"
#include "engine/sql/num_int.h"

#define GUARD 12

static int at_least(int scale, const struct num *a, const struct num *b)
{
	if (scale < a->dscale)
		scale = a->dscale;
	if (b && scale < b->dscale)
		scale = b->dscale;
	return num_clamp(scale, 0, NUM_SCALE_MAX);
}

static void mul_round(const struct num *a, const struct num *b, int scale, struct num *r, struct arena *arena)
{
	num_mul(a, b, r, arena);
	if (r->dscale > scale)
		num_round(r, scale, arena);
	r->dscale = scale;
}

static void replace(struct num *a, const struct num *b)
{
	num_assign(a, b);
}

/* -- square root -------------------------------------------------------------------------------------------------------------- */

/* A unit in the last place of scale. */
static void unit_of(int scale, struct num *r)
{
	num_from_i128(r, 1, scale % 4);
	r->weight -= scale / 4;
	r->dscale = scale;
}

/* The largest number of `scale` decimals whose square is at most a (a > 0): Newton, then put right by whole units. */
static void sqrt_floor(const struct num *a, int scale, struct num *r, struct arena *arena)
{
	struct num x, q, sum, half, unit, next, square;
	struct num scaled;
	int shift = a->weight / 2;
	double d;

	num_assign(&scaled, a);
	scaled.weight -= 2 * shift;
	d = sqrt(num_to_f64(&scaled));
	num_from_f64(&x, d, 15, arena);
	x.weight += shift;
	num_from_i128(&half, 5, 1);
	for (int digits = 14; digits < 2 * ((a->weight + 1) * 4 + scale + 8) + 28; digits *= 2) {
		num_div_scale(a, &x, scale + 4, false, &q, arena);
		num_add(&x, &q, &sum, arena);
		num_mul(&sum, &half, &next, arena);
		num_trunc(&next, scale + 4, arena);
		replace(&x, &next);
	}
	num_trunc(&x, scale, arena);
	unit_of(scale, &unit);
	for (;;) { /* a step or two at most */
		num_mul_exact(&x, &x, &square, arena); /* a rounded one could stay below a for ever */
		if (num_compare(&square, a) <= 0)
			break;
		num_sub(&x, &unit, &next, arena);
		replace(&x, &next);
	}
	for (;;) {
		num_add(&x, &unit, &next, arena);
		num_mul_exact(&next, &next, &square, arena);
		if (num_compare(&square, a) > 0)
			break;
		replace(&x, &next);
	}
	replace(r, &x);
}

void num_sqrt_scale(const struct num *a, int scale, struct num *r, struct arena *arena)
{
	sqrt_floor(a, scale + 1, r, arena);
	num_round(r, scale, arena);
}

enum status num_sqrt(const struct num *a, struct num *r, struct arena *arena, struct error *err)
{
	int scale;

	if (a->kind == NUM_NINF || (!num_special(a) && num_sign(a) < 0))
		return error_set(err, ST_POWER_ARGUMENT, "cannot take square root of a negative number");
	if (num_special(a)) {
		num_assign(r, a);
		return ST_OK;
	}
	scale = at_least(NUM_SIG_DIGITS - ((a->weight + 1) * 4 / 2 - 1), a, NULL);
	if (a->digit_count == 0) {
		num_zero(r);
		r->dscale = scale;
		return ST_OK;
	}
	num_sqrt_scale(a, scale, r, arena);
	return ST_OK;
}

/* -- exponential ------------------------------------------------------------------------------------------------------------------ */

/* e^x to scale decimals: x is divided by a power of two, the series summed, the result squared as often. */
static void exp_scale(const struct num *a, int scale, struct num *r, struct arena *arena)
{
	double d = num_to_f64(a);
	int halvings = 8, work, weight;
	struct num x, sum, term, k, t, two;

	while (fabs(d) > 0.01 * ldexp(1, halvings) && halvings < 60)
		halvings++;
	weight = (int)(d * 0.434294481903252);
	work = scale + GUARD + halvings + (weight > 0 ? weight : 0);
	if (work < GUARD)
		work = GUARD;
	num_from_i64(&two, INT64_C(1) << halvings);
	num_div_scale(a, &two, work, true, &x, arena);
	num_from_i64(&sum, 1);
	num_from_i64(&term, 1);
	for (int i = 1; i < 10000; i++) {
		mul_round(&term, &x, work, &t, arena);
		num_from_i64(&k, i);
		num_div_scale(&t, &k, work, true, &term, arena);
		if (term.digit_count == 0)
			break;
		num_add(&sum, &term, &t, arena);
		replace(&sum, &t);
	}
	for (int i = 0; i < halvings; i++) {
		mul_round(&sum, &sum, work, &t, arena);
		replace(&sum, &t);
	}
	num_round(&sum, scale, arena);
	replace(r, &sum);
}

enum status num_exp(const struct num *a, struct num *r, struct arena *arena, struct error *err)
{
	double val;
	int scale;

	if (num_special(a)) {
		if (a->kind == NUM_NINF)
			num_zero(r);
		else
			num_assign(r, a);
		return ST_OK;
	}
	val = num_to_f64(a);
	if (val >= NUM_RESULT_SCALE_MAX * 3)
		return error_set(err, ST_NUMERIC_RANGE, "value overflows numeric format");
	val *= 0.434294481903252;
	if (val < -NUM_SCALE_MAX - 20) {
		num_zero(r);
		r->dscale = NUM_SCALE_MAX;
		return ST_OK;
	}
	scale = at_least(NUM_SIG_DIGITS - (int)val, a, NULL);
	exp_scale(a, scale, r, arena);
	return num_check(r, err);
}

/* -- logarithms ------------------------------------------------------------------------------------------------------------------------ */

/* Decimal weight of ln(a), from the leading digits (PostgreSQL's estimate, which its scales depend on). */
static int ln_weight(const struct num *a)
{
	struct num lo, hi, one, x;
	double digits;
	int weight;

	if (num_sign(a) <= 0)
		return 0;
	num_from_i128(&lo, 9, 1);
	num_from_i128(&hi, 11, 1);
	if (num_compare(a, &lo) >= 0 && num_compare(a, &hi) <= 0) {
		struct num wide;
		num_digit space[NUM_DIGITS_INLINE];

		/* only the leading digit of a - 1 matters: short arguments fit the inline digits, long ones are cut */
		num_assign(&wide, a);
		if (wide.digit_count > NUM_DIGITS_INLINE - 2) {
			memcpy(space, wide.digits, sizeof space);
			wide.digits = space;
			wide.digit_count = NUM_DIGITS_INLINE - 2;
		}
		num_from_i64(&one, 1);
		num_sub(&wide, &one, &x, NULL);
		if (x.digit_count == 0)
			return 0;
		return x.weight * 4 + (int)log10(x.digits[0]);
	}
	digits = a->digits[0];
	weight = a->weight * 4;
	if (a->digit_count > 1) {
		digits = digits * NUM_BASE + a->digits[1];
		weight -= 4;
	}
	return (int)log10(fabs(log(digits) + weight * 2.302585092994046));
}

/*
 * ln(a) to scale decimals, for a of some digits on either side of the point. a is brought near 1 by square roots, then ln x = 2 * (z + z^3/3 + …), z = (x - 1) / (x + 1).
 */
static void ln_near(const struct num *a, int scale, struct num *r, struct arena *arena)
{
	struct num x, t, one, z, z2, power, sum, term, k, times;
	struct num lo, hi;
	int doublings = 1, work = scale + GUARD + 8 + 4 * (a->weight < 0 ? -a->weight : a->weight) / 2;

	if (work < GUARD)
		work = GUARD;
	num_assign(&x, a);
	num_from_i64(&one, 1);
	num_from_i128(&lo, 99, 2);
	num_from_i128(&hi, 101, 2);
	while (num_compare(&x, &lo) < 0 || num_compare(&x, &hi) > 0) {
		sqrt_floor(&x, work + doublings / 2, &t, arena);
		replace(&x, &t);
		doublings++;
	}
	num_sub(&x, &one, &t, arena);
	num_add(&x, &one, &z2, arena);
	num_div_scale(&t, &z2, work + doublings, true, &z, arena);
	mul_round(&z, &z, work + doublings, &z2, arena);
	replace(&power, &z);
	replace(&sum, &z);
	for (int i = 3; i < 20000; i += 2) {
		mul_round(&power, &z2, work + doublings, &t, arena);
		replace(&power, &t);
		num_from_i64(&k, i);
		num_div_scale(&power, &k, work + doublings, true, &term, arena);
		if (term.digit_count == 0)
			break;
		num_add(&sum, &term, &t, arena);
		replace(&sum, &t);
	}
	num_from_i64(&times, INT64_C(1) << doublings);
	num_mul(&sum, &times, &t, arena);
	num_round(&t, scale, arena);
	replace(r, &t);
}

/* ln(a) to scale decimals: ln(m * 10^k) = ln(m) + k * ln(10), with digits to spare for k. */
static void ln_scale(const struct num *a, int scale, struct num *r, struct arena *arena)
{
	struct num m, ten, k, ln_m, ln_ten, product, sum;

	if (a->weight >= -8 && a->weight <= 8) {
		ln_near(a, scale, r, arena);
		return;
	}
	num_assign(&m, a);
	m.weight = 0;
	m.dscale = 4 * m.digit_count;
	num_from_i64(&ten, 10);
	num_from_i64(&k, 4 * (int64_t)a->weight);
	ln_near(&m, scale + GUARD, &ln_m, arena);
	ln_near(&ten, scale + GUARD, &ln_ten, arena);
	num_mul_exact(&ln_ten, &k, &product, arena);
	num_add(&ln_m, &product, &sum, arena);
	num_round(&sum, scale, arena);
	replace(r, &sum);
}

static enum status log_domain(const struct num *a, struct error *err)
{
	if (num_sign(a) < 0)
		return error_set(err, ST_LOG_ARGUMENT, "cannot take logarithm of a negative number");
	if (num_sign(a) == 0)
		return error_set(err, ST_LOG_ARGUMENT, "cannot take logarithm of zero");
	return ST_OK;
}

enum status num_ln(const struct num *a, struct num *r, struct arena *arena, struct error *err)
{
	enum status st = log_domain(a, err);

	if (st != ST_OK)
		return st;
	if (num_special(a))
		num_assign(r, a);
	else
		ln_scale(a, at_least(NUM_SIG_DIGITS - ln_weight(a), a, NULL), r, arena);
	return ST_OK;
}

enum status num_log(const struct num *b, const struct num *a, struct num *r, struct arena *arena, struct error *err)
{
	int base_weight, num_weight, weight, scale;
	struct num ln_base, ln_num;
	enum status st = ST_OK;

	if (b->kind == NUM_NAN || a->kind == NUM_NAN) {
		num_set_special(r, NUM_NAN);
		return ST_OK;
	}
	st = log_domain(b, err);
	if (st == ST_OK)
		st = log_domain(a, err);
	if (st != ST_OK)
		return st;
	if (num_special(a) || num_special(b)) {
		if (num_special(a) && num_special(b))
			num_set_special(r, NUM_NAN);
		else if (num_special(a))
			num_assign(r, a);
		else
			num_zero(r);
		return ST_OK;
	}
	base_weight = ln_weight(b);
	num_weight = ln_weight(a);
	weight = num_weight - base_weight;
	scale = at_least(NUM_SIG_DIGITS - weight, b, a);
	ln_scale(b, num_clamp(scale + weight - base_weight + GUARD, 0, 4 * NUM_SCALE_MAX), &ln_base, arena);
	ln_scale(a, num_clamp(scale + weight - num_weight + GUARD, 0, 4 * NUM_SCALE_MAX), &ln_num, arena);
	if (ln_base.digit_count == 0)
		return error_set(err, ST_DIVISION_BY_ZERO, "division by zero");
	num_div_scale(&ln_num, &ln_base, scale, true, r, arena);
	return ST_OK;
}

/* -- power -------------------------------------------------------------------------------------------------------------------------------- */

static bool is_whole(const struct num *a)
{
	return a->digit_count <= a->weight + 1;
}

/* Keeps `digits` significant base digits: what a product needs beyond is noise. */
static void keep_digits(struct num *n, int digits)
{
	if (n->digit_count > digits)
		n->digit_count = digits;
	while (n->digit_count && n->digits[n->digit_count - 1] == 0)
		n->digit_count--;
}

static enum status power_int(const struct num *base, int64_t exponent, int scale, struct num *r, struct arena *arena,
			     struct error *err)
{
	uint64_t left = exponent < 0 ? -(uint64_t)exponent : (uint64_t)exponent;
	struct num acc, square, t, one;
	double f, weight;
	int digits;

	if (exponent == 0) {
		num_from_i64(r, 1);
		r->dscale = scale;
		return ST_OK;
	}
	if (base->digit_count == 0) {
		if (exponent < 0)
			return error_set(err, ST_DIVISION_BY_ZERO, "division by zero");
		num_zero(r);
		r->dscale = scale;
		return ST_OK;
	}
	f = base->digits[0] + (base->digit_count > 1 ? base->digits[1] / 1e4 : 0) +
	    (base->digit_count > 2 ? base->digits[2] / 1e8 : 0) + (base->digit_count > 3 ? base->digits[3] / 1e12 : 0);
	weight = (double)exponent * (log10(f) + base->weight * 4);
	if (weight > (NUM_WEIGHT_MAX + 1) * 4.0)
		return error_set(err, ST_NUMERIC_RANGE, "value overflows numeric format");
	if (weight + 1 < -scale || weight + 1 < -NUM_SCALE_MAX) {
		num_zero(r);
		r->dscale = scale;
		return ST_OK;
	}
	digits = (1 + scale + (int)weight + (int)log((double)(left ? left : 1)) + 8 + GUARD) / 4 + 3;
	if (exponent < 0) /* the reciprocal needs as many digits, however small it is */
		digits += 6;
	num_from_i64(&acc, 1);
	num_assign(&square, base);
	square.dscale = 0; /* only shown; would be limited in long products */
	for (; left; left >>= 1) {
		if (left & 1) {
			num_mul(&acc, &square, &t, arena);
			keep_digits(&t, digits);
			replace(&acc, &t);
		}
		if (left > 1) {
			num_mul(&square, &square, &t, arena);
			keep_digits(&t, digits);
			replace(&square, &t);
		}
	}
	if (exponent < 0) {
		num_from_i64(&one, 1);
		num_div_scale(&one, &acc, scale, true, r, arena);
	} else {
		num_assign(r, &acc);
		num_round(r, scale, arena);
	}
	r->dscale = scale;
	return num_check(r, err);
}

static enum status power_special(const struct num *a, const struct num *b, struct num *r, struct error *err)
{
	struct num one;
	int c;
	bool odd;

	num_from_i64(&one, 1);
	if (a->kind == NUM_NAN || b->kind == NUM_NAN) {
		if ((a->kind == NUM_NAN && b->kind != NUM_NAN && num_sign(b) == 0) ||
		    (b->kind == NUM_NAN && a->kind != NUM_NAN && num_compare(a, &one) == 0))
			num_assign(r, &one);
		else
			num_set_special(r, NUM_NAN);
		return ST_OK;
	}
	if (num_sign(b) == 0 || (!num_special(a) && num_compare(a, &one) == 0)) {
		num_assign(r, &one);
		return ST_OK;
	}
	if (num_special(b)) {
		struct num size;

		num_assign(&size, a);
		if (num_sign(&size) < 0)
			num_neg(&size);
		c = num_compare(&size, &one);
		if (num_sign(a) == 0 && b->kind == NUM_NINF)
			return error_set(err, ST_POWER_ARGUMENT, "zero raised to a negative power is undefined");
		if (c == 0)
			num_assign(r, &one);
		else if ((c > 0) == (b->kind == NUM_PINF))
			num_set_special(r, NUM_PINF);
		else
			num_zero(r);
		return ST_OK;
	}
	if (num_sign(b) < 0) {
		num_zero(r);
		return ST_OK;
	}
	odd = is_whole(b) && b->digit_count == b->weight + 1 && b->digits[b->digit_count - 1] % 2;
	if (a->kind == NUM_NINF && !is_whole(b))
		return error_set(err, ST_POWER_ARGUMENT,
				 "a negative number raised to a non-integer power yields a complex result");
	num_set_special(r, a->kind == NUM_NINF && odd ? NUM_NINF : NUM_PINF);
	return ST_OK;
}

enum status num_power(const struct num *a, const struct num *b, struct num *r, struct arena *arena, struct error *err)
{
	struct num base, ln_base, product;
	int weight, scale, work;
	double val;
	i128 whole;
	bool neg;

	if (num_special(a) || num_special(b))
		return power_special(a, b, r, err);
	if (num_sign(a) == 0 && num_sign(b) < 0)
		return error_set(err, ST_POWER_ARGUMENT, "zero raised to a negative power is undefined");
	if (num_sign(a) < 0 && !is_whole(b))
		return error_set(err, ST_POWER_ARGUMENT,
				 "a negative number raised to a non-integer power yields a complex result");
	if (is_whole(b) && num_to_i128(b, 0, &whole) && whole >= INT32_MIN && whole <= INT32_MAX)
		return power_int(a, (int64_t)whole, at_least(NUM_SIG_DIGITS, a, b), r, arena, err);
	if (num_sign(a) == 0) {
		num_zero(r);
		r->dscale = NUM_SIG_DIGITS;
		return ST_OK;
	}
	num_assign(&base, a);
	neg = num_sign(a) < 0;
	if (neg) {
		num_neg(&base);
		neg = b->digit_count == b->weight + 1 && b->digits[b->digit_count - 1] % 2;
	}
	weight = ln_weight(&base);
	ln_scale(&base, num_clamp(8 - weight, 0, NUM_SCALE_MAX), &ln_base, arena);
	num_mul(&ln_base, b, &product, arena);
	val = num_to_f64(&product);
	if (fabs(val) > NUM_RESULT_SCALE_MAX * 3.01) {
		if (val > 0)
			return error_set(err, ST_NUMERIC_RANGE, "value overflows numeric format");
		num_zero(r);
		r->dscale = NUM_SCALE_MAX;
		return ST_OK;
	}
	val *= 0.434294481903252;
	scale = at_least(NUM_SIG_DIGITS - (int)val, a, b);
	work = scale + (int)(val > 0 ? val : 0) + GUARD;
	/* the error of ln(base) is multiplied by the exponent */
	ln_scale(&base, num_clamp(work + (b->weight + 1) * 4, GUARD, 4 * NUM_SCALE_MAX), &ln_base, arena);
	mul_round(&ln_base, b, work, &product, arena);
	exp_scale(&product, scale, r, arena);
	if (neg)
		num_neg(r);
	return num_check(r, err);
}
