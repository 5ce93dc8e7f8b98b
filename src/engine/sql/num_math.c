/*
 * num_math.c - numeric: + - * / % and sums (num.h).
 */
#include "base/assert.h"
#include "engine/sql/num_int.h"
#include "engine/sql/values.h"

/* -- addition --------------------------------------------------------------------------------------------------- */

/* digit of weight w, 0 outside */
static inline int digit_at(const struct num *n, int w)
{
	int i = n->weight - w;

	return i >= 0 && i < n->digit_count ? n->digits[i] : 0;
}

static inline int low_weight(const struct num *n)
{
	return n->weight - n->digit_count + 1;
}

static void add_abs(const struct num *a, const struct num *b, struct num *r, struct arena *arena)
{
	int high = (a->weight > b->weight ? a->weight : b->weight) + 1;
	int low = low_weight(a) < low_weight(b) ? low_weight(a) : low_weight(b);
	num_digit *d = num_room(r, high - low + 1, arena);
	int carry = 0;

	for (int w = low; w <= high; w++) {
		int v = digit_at(a, w) + digit_at(b, w) + carry;

		carry = v >= NUM_BASE;
		d[high - w] = (num_digit)(v - (carry ? NUM_BASE : 0));
	}
	r->weight = high;
}

static void sub_abs(const struct num *a, const struct num *b, struct num *r, struct arena *arena) /* |a| >= |b| */
{
	int high = a->weight, low = low_weight(a) < low_weight(b) ? low_weight(a) : low_weight(b);
	num_digit *d = num_room(r, high - low + 1, arena);
	int borrow = 0;

	for (int w = low; w <= high; w++) {
		int v = digit_at(a, w) - digit_at(b, w) - borrow;

		borrow = v < 0;
		d[high - w] = (num_digit)(v + (borrow ? NUM_BASE : 0));
	}
	r->weight = high;
}

static void add_signed(const struct num *a, const struct num *b, bool b_neg, struct num *r, struct arena *arena)
{
	bool a_neg = a->kind == NUM_NEG;
	int c;

	r->dscale = a->dscale > b->dscale ? a->dscale : b->dscale;
	if (b->digit_count == 0 || a->digit_count == 0) {
		const struct num *only = b->digit_count == 0 ? a : b;
		int dscale = r->dscale;
		bool neg = only == a ? a_neg : b_neg;

		num_assign(r, only);
		r->dscale = dscale;
		r->kind = neg && r->digit_count ? NUM_NEG : NUM_POS;
		return;
	}
	if (a_neg == b_neg) {
		add_abs(a, b, r, arena);
		r->kind = a_neg ? NUM_NEG : NUM_POS;
	} else {
		c = num_abs_compare(a, b);
		if (c >= 0)
			sub_abs(a, b, r, arena);
		else
			sub_abs(b, a, r, arena);
		r->kind = (c >= 0 ? a_neg : b_neg) ? NUM_NEG : NUM_POS;
	}
	num_strip(r);
}

static bool add_special(const struct num *a, uint8_t a_kind, const struct num *b, uint8_t b_kind, struct num *r)
{
	if (!num_special(a) && !num_special(b))
		return false;
	if (a_kind == NUM_NAN || b_kind == NUM_NAN)
		num_set_special(r, NUM_NAN);
	else if (num_special(a) && num_special(b))
		num_set_special(r, a_kind == b_kind ? a_kind : NUM_NAN);
	else
		num_set_special(r, num_special(a) ? a_kind : b_kind);
	return true;
}

void num_neg(struct num *n)
{
	static const uint8_t other[] = {NUM_NEG, NUM_POS, NUM_NAN, NUM_NINF, NUM_PINF};

	if (num_special(n) || n->digit_count)
		n->kind = other[n->kind];
}

void num_add(const struct num *a, const struct num *b, struct num *r, struct arena *arena)
{
	if (!add_special(a, a->kind, b, b->kind, r))
		add_signed(a, b, b->kind == NUM_NEG, r, arena);
}

void num_sub(const struct num *a, const struct num *b, struct num *r, struct arena *arena)
{
	uint8_t flipped = b->kind == NUM_PINF ? NUM_NINF : b->kind == NUM_NINF ? NUM_PINF : b->kind;

	if (!add_special(a, a->kind, b, flipped, r))
		add_signed(a, b, b->kind == NUM_POS, r, arena);
}

/* -- multiplication ------------------------------------------------------------------------------------------------ */

static void mul_special(const struct num *a, const struct num *b, struct num *r)
{
	int s = num_sign(a) * num_sign(b);

	if (a->kind == NUM_NAN || b->kind == NUM_NAN || s == 0)
		num_set_special(r, NUM_NAN);
	else
		num_set_special(r, s > 0 ? NUM_PINF : NUM_NINF);
}

/* Long factors: 64-bit counters take the products of 65,535 digits without a carry. */
static void mul_long(const struct num *a, const struct num *b, num_digit *d, int count, struct arena *arena)
{
	uint64_t *acc = ARENA_NEW_N(arena, uint64_t, count), carry = 0;
	uint16_t *right = ARENA_NEW_N(arena, uint16_t, b->digit_count); /* aligned, for the compiler's vector loop */

	memcpy(right, b->digits, sizeof *right * (size_t)b->digit_count);
	for (int i = 0; i < a->digit_count; i++) {
		uint64_t *restrict row = acc + i + 1;
		uint32_t x = (uint32_t)a->digits[i];

		for (int k = 0; x && k < b->digit_count; k++)
			row[k] += x * (uint32_t)right[k];
	}
	for (int i = count - 1; i >= 0; i--) {
		carry += acc[i];
		d[i] = (num_digit)(carry % NUM_BASE);
		carry /= NUM_BASE;
	}
}

/* Short factors: 32 bits hold 42 products, and the shorter factor has no more than 24 digits. */
static void mul_short(const struct num *a, const struct num *b, num_digit *d, int count)
{
	uint32_t acc[2 * NUM_DIGITS_INLINE], carry = 0;

	memset(acc, 0, sizeof *acc * (size_t)count);
	for (int i = 0; i < a->digit_count; i++)
		for (int k = 0; k < b->digit_count; k++)
			acc[i + k + 1] += (uint32_t)a->digits[i] * (uint32_t)b->digits[k];
	for (int i = count - 1; i >= 0; i--) {
		carry += acc[i];
		d[i] = (num_digit)(carry % NUM_BASE);
		carry /= NUM_BASE;
	}
}

void num_mul_exact(const struct num *a, const struct num *b, struct num *r, struct arena *arena)
{
	int count = a->digit_count + b->digit_count;
	num_digit *d;

	if (num_special(a) || num_special(b)) {
		mul_special(a, b, r);
		return;
	}
	r->dscale = a->dscale + b->dscale;
	r->kind = a->kind == b->kind ? NUM_POS : NUM_NEG;
	r->weight = a->weight + b->weight + 1;
	d = num_room(r, count, arena);
	if (count <= 2 * NUM_DIGITS_INLINE)
		mul_short(a, b, d, count);
	else
		mul_long(a, b, d, count, arena);
	num_strip(r);
}

void num_mul(const struct num *a, const struct num *b, struct num *r, struct arena *arena)
{
	num_mul_exact(a, b, r, arena);
	if (!num_special(r) && r->dscale > NUM_DSCALE_MAX)
		num_round(r, NUM_DSCALE_MAX, arena);
}

/* -- division ------------------------------------------------------------------------------------------------------- */

/* by one digit: most divisions are */
static void div_short(const struct num *a, int count, uint32_t by, num_digit *q)
{
	uint32_t rest = 0;

	for (int i = 0; i < count; i++) {
		uint32_t v = rest * NUM_BASE + (i < a->digit_count ? (uint32_t)a->digits[i] : 0);

		q[i] = (num_digit)(v / by);
		rest = v % by;
	}
}

/*
 * Long division (Knuth, The Art of Computer Programming 2, 4.3.1, algorithm D): count quotient digits of u / v, where
 * u holds count + vn digits of which the first is 0, both already scaled so that v[0] >= BASE / 2.
 */
static void div_long(uint32_t *u, const uint32_t *v, int vn, int count, num_digit *q)
{
	for (int j = 0; j < count; j++) {
		uint32_t top = u[j] * NUM_BASE + u[j + 1], guess = top / v[0], rest = top % v[0];
		int32_t borrow = 0;

		if (guess >= NUM_BASE) {
			guess = NUM_BASE - 1;
			rest = top - guess * v[0];
		}
		while (rest < NUM_BASE && guess * v[1] > rest * NUM_BASE + u[j + 2]) {
			guess--;
			rest += v[0];
		}
		for (int i = vn - 1; i >= 0; i--) {
			int32_t x = (int32_t)u[j + 1 + i] - (int32_t)(guess * v[i]) - borrow;

			borrow = x < 0 ? (-x + NUM_BASE - 1) / NUM_BASE : 0;
			u[j + 1 + i] = (uint32_t)(x + borrow * NUM_BASE);
		}
		if ((int32_t)u[j] < borrow) { /* one too many: add the divisor back */
			uint32_t carry = 0;

			guess--;
			for (int i = vn - 1; i >= 0; i--) {
				uint32_t x = u[j + 1 + i] + v[i] + carry;

				carry = x >= NUM_BASE;
				u[j + 1 + i] = x - (carry ? NUM_BASE : 0);
			}
		}
		u[j] = 0;
		q[j] = (num_digit)guess;
	}
}

static void div_scaled(const struct num *a, const struct num *b, int count, num_digit *q, struct arena *arena)
{
	int vn = b->digit_count, un = count + vn;
	uint32_t up = (uint32_t)(NUM_BASE / (b->digits[0] + 1)), carry = 0;
	uint32_t *u = ARENA_NEW_N(arena, uint32_t, un + vn + 3), *v = u + un + 2;

	for (int i = vn - 1; i >= 0; i--) {
		uint32_t x = (uint32_t)b->digits[i] * up + carry;

		v[i] = x % NUM_BASE;
		carry = x / NUM_BASE;
	}
	ASSERT_OP(carry, ==, 0);
	for (int i = un - 1; i >= 0; i--) {
		uint32_t x = (i < a->digit_count ? (uint32_t)a->digits[i] * up : 0) + carry;

		u[i + 1] = x % NUM_BASE;
		carry = x / NUM_BASE;
	}
	u[0] = carry;
	div_long(u, v, vn, count, q);
}

void num_div_scale(const struct num *a, const struct num *b, int rscale, bool round, struct num *r,
		   struct arena *arena)
{
	int weight, count;
	num_digit *q;

	if (a->digit_count == 0) {
		num_zero(r);
		r->dscale = rscale < 0 ? 0 : rscale;
		return;
	}
	weight = a->weight - b->weight;
	count = weight + 1 + (rscale + 3) / 4 + 1; /* one more for the rounding */
	if (rscale < 0)
		count = weight + 1 - -rscale / 4 + 1;
	if (count < 1)
		count = 1;
	q = num_room(r, count, arena);
	r->weight = weight;
	r->kind = a->kind == b->kind ? NUM_POS : NUM_NEG;
	if (b->digit_count == 1)
		div_short(a, count, (uint32_t)b->digits[0], q);
	else
		div_scaled(a, b, count, q, arena);
	num_strip(r);
	r->dscale = rscale < 0 ? 0 : rscale;
	if (round)
		num_round(r, rscale, arena);
	else
		num_trunc(r, rscale, arena);
}

int num_div_scale_for(const struct num *a, const struct num *b)
{
	int wa = a->digit_count ? a->weight : 0, wb = b->digit_count ? b->weight : 0;
	int fa = a->digit_count ? a->digits[0] : 0, fb = b->digit_count ? b->digits[0] : 0;
	int scale = NUM_SIG_DIGITS - (wa - wb - (fa <= fb ? 1 : 0)) * 4;

	if (scale < a->dscale)
		scale = a->dscale;
	if (scale < b->dscale)
		scale = b->dscale;
	return num_clamp(scale, 0, NUM_SCALE_MAX);
}

/* of a / b where one is special; true: r or *st is the answer */
static bool div_special(const struct num *a, const struct num *b, struct num *r, enum status *st, struct error *err)
{
	*st = ST_OK;
	if (!num_special(a) && !num_special(b)) {
		if (b->digit_count)
			return false;
		*st = error_set(err, ST_DIVISION_BY_ZERO, "division by zero");
		return true;
	}
	if (a->kind == NUM_NAN || b->kind == NUM_NAN || (num_special(a) && num_special(b))) {
		num_set_special(r, NUM_NAN);
	} else if (num_special(a)) {
		int s = num_sign(b);

		if (s == 0)
			*st = error_set(err, ST_DIVISION_BY_ZERO, "division by zero");
		else
			num_set_special(r, (a->kind == NUM_PINF) == (s > 0) ? NUM_PINF : NUM_NINF);
	} else {
		num_zero(r);
	}
	return true;
}

enum status num_div(const struct num *a, const struct num *b, struct num *r, struct arena *arena, struct error *err)
{
	enum status st;

	if (div_special(a, b, r, &st, err))
		return st;
	num_div_scale(a, b, num_div_scale_for(a, b), true, r, arena);
	return num_check(r, err);
}

enum status num_div_trunc(const struct num *a, const struct num *b, struct num *r, struct arena *arena,
			  struct error *err)
{
	enum status st;

	if (div_special(a, b, r, &st, err))
		return st;
	num_div_scale(a, b, 0, false, r, arena);
	return ST_OK;
}

enum status num_mod(const struct num *a, const struct num *b, struct num *r, struct arena *arena, struct error *err)
{
	struct num q, p;

	if (num_special(a) || num_special(b)) {
		if (a->kind == NUM_NAN || b->kind == NUM_NAN) {
			num_set_special(r, NUM_NAN);
		} else if (num_special(a)) {
			if (!num_special(b) && b->digit_count == 0)
				return error_set(err, ST_DIVISION_BY_ZERO, "division by zero");
			num_set_special(r, NUM_NAN);
		} else {
			num_assign(r, a);
		}
		return ST_OK;
	}
	if (b->digit_count == 0)
		return error_set(err, ST_DIVISION_BY_ZERO, "division by zero");
	num_div_scale(a, b, 0, false, &q, arena);
	num_mul(&q, b, &p, arena);
	num_sub(a, &p, r, arena);
	r->dscale = a->dscale > b->dscale ? a->dscale : b->dscale;
	return ST_OK;
}

/* -- sums ------------------------------------------------------------------------------------------------------------- */

static void sum_widen(struct num_sum *s, int low, int high, struct arena *arena)
{
	int new_low = s->count == 0 || low < s->low ? low - 1 : s->low;
	int old_high = s->low + s->count - 1;
	int new_high = s->count == 0 || high > old_high ? high + 1 : old_high;
	int64_t *at = ARENA_NEW_N(arena, int64_t, new_high - new_low + 1);

	if (s->count)
		memcpy(at + (s->low - new_low), s->at, sizeof *at * (size_t)s->count);
	s->at = at;
	s->low = new_low;
	s->count = new_high - new_low + 1;
}

void num_sum_add(struct num_sum *s, const struct num *n, struct arena *arena)
{
	s->adds++;
	if (n->dscale > s->dscale)
		s->dscale = n->dscale;
	if (num_special(n)) {
		s->nans += n->kind == NUM_NAN;
		s->pinfs += n->kind == NUM_PINF;
		s->ninfs += n->kind == NUM_NINF;
		return;
	}
	if (n->digit_count == 0)
		return;
	if (s->count == 0 || low_weight(n) < s->low || n->weight >= s->low + s->count)
		sum_widen(s, low_weight(n), n->weight, arena);
	if (n->kind == NUM_NEG)
		for (int i = 0; i < n->digit_count; i++)
			s->at[n->weight - i - s->low] -= n->digits[i];
	else
		for (int i = 0; i < n->digit_count; i++)
			s->at[n->weight - i - s->low] += n->digits[i];
}

void num_sum_get(const struct num_sum *s, struct num *out, struct arena *arena)
{
	int extra = 6; /* carries of 2^63 need no more digits than that */
	int count = s->count + extra;
	num_digit *d;
	int64_t carry = 0;
	bool neg = false;

	if (s->nans || (s->pinfs && s->ninfs)) {
		num_set_special(out, NUM_NAN);
		return;
	}
	if (s->pinfs || s->ninfs) {
		num_set_special(out, s->pinfs ? NUM_PINF : NUM_NINF);
		return;
	}
	num_zero(out);
	out->dscale = s->dscale;
	if (s->count == 0)
		return;
	/* the sign is that of the highest counter after carrying: try positive, and again negated when a borrow is left over */
	d = num_room(out, count, arena);
	for (int pass = 0; pass < 2; pass++) {
		carry = 0;
		for (int i = 0; i < count; i++) {
			int64_t v = (i < s->count ? (neg ? -s->at[i] : s->at[i]) : 0) + carry;
			int64_t low = v % NUM_BASE;

			if (low < 0)
				low += NUM_BASE;
			d[count - 1 - i] = (num_digit)low;
			carry = (v - low) / NUM_BASE;
		}
		if (carry == 0)
			break;
		neg = true;
	}
	out->weight = s->low + count - 1;
	out->kind = neg ? NUM_NEG : NUM_POS;
	num_strip(out);
}
