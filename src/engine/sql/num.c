/*
 * num.c - numeric: representation, text, conversions, comparison, rounding (num.h).
 */
#include "engine/sql/num.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/map.h"
#include "engine/sql/num_int.h"
#include "engine/sql/values.h"

const int num_pow10[5] = {1, 10, 100, 1000, 10000};

num_digit *num_room(struct num *r, int digits, struct arena *arena)
{
	num_digit *d = digits <= NUM_DIGITS_INLINE
			       ? r->own
			       : (num_digit *)arena_alloc(arena, sizeof(num_digit) * (size_t)digits);

	r->digits = d;
	r->digit_count = digits;
	return d;
}

void num_strip(struct num *n)
{
	while (n->digit_count > 0 && n->digits[0] == 0) {
		n->digits++;
		n->digit_count--;
		n->weight--;
	}
	while (n->digit_count > 0 && n->digits[n->digit_count - 1] == 0)
		n->digit_count--;
	if (n->digit_count == 0) {
		n->weight = 0;
		if (n->kind == NUM_NEG)
			n->kind = NUM_POS;
	}
}

void num_assign(struct num *r, const struct num *a)
{
	*r = *a;
	if (a->digits >= a->own && a->digits <= a->own + NUM_DIGITS_INLINE)
		r->digits = r->own + (a->digits - a->own);
}

void num_zero(struct num *n)
{
	n->weight = n->dscale = n->digit_count = 0;
	n->kind = NUM_POS;
	n->digits = n->own;
}

void num_set_special(struct num *n, uint8_t kind)
{
	num_zero(n);
	n->kind = kind;
}

void num_load(struct num *n, const uint8_t *p, size_t bytes)
{
	struct num_head h;

	ASSERT_OP(bytes, >=, sizeof h);
	memcpy(&h, p, sizeof h);
	ASSERT_OP(bytes, ==, sizeof h + 2 * (size_t)h.digit_count);
	n->weight = h.weight;
	n->dscale = h.dscale;
	n->kind = h.kind;
	n->digit_count = h.digit_count;
	n->digits = (const num_digit *)(p + sizeof h);
}

void num_store(const struct num *n, struct arena *arena, struct cell *out)
{
	size_t bytes = sizeof(struct num_head) + 2 * (size_t)n->digit_count;
	struct num_head h = {(int16_t)n->weight, (uint16_t)n->dscale, n->kind, 0, (uint16_t)n->digit_count};
	uint8_t *p = arena_alloc(arena, bytes);

	memcpy(p, &h, sizeof h);
	if (n->digit_count)
		memcpy(p + sizeof h, n->digits, 2 * (size_t)n->digit_count);
	*out = cell_var(p, bytes);
}

enum status num_check(const struct num *n, struct error *err)
{
	if (n->weight > NUM_WEIGHT_MAX || n->weight < -NUM_WEIGHT_MAX || n->digit_count > UINT16_MAX ||
	    n->dscale > NUM_DSCALE_MAX)
		return error_set(err, ST_NUMERIC_RANGE, "value overflows numeric format");
	return ST_OK;
}

/* -- integers --------------------------------------------------------------------------------------------------- */

void num_from_i64(struct num *n, int64_t v)
{
	uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v;
	int at = 6;

	n->kind = v < 0 ? NUM_NEG : NUM_POS;
	n->dscale = 0;
	while (u) {
		n->own[--at] = (num_digit)(u % NUM_BASE);
		u /= NUM_BASE;
	}
	n->digits = n->own + at;
	n->digit_count = 6 - at;
	n->weight = n->digit_count - 1;
	num_strip(n);
}

void num_from_i128(struct num *n, i128 v, int scale)
{
	unsigned __int128 u = v < 0 ? -(unsigned __int128)v : (unsigned __int128)v;
	int frac = (scale + 3) / 4, at = NUM_DIGITS_INLINE;

	n->kind = v < 0 ? NUM_NEG : NUM_POS;
	n->dscale = scale;
	/* bring the fraction to a whole number of digits; the multiplication is done digit by digit so that it cannot overflow */
	if (scale % 4) {
		int up = num_pow10[4 - scale % 4], down = num_pow10[scale % 4];

		n->own[--at] = (num_digit)(int)((int)(u % (unsigned)down) * up);
		u /= (unsigned)down;
		frac--;
	} else if (scale == 0) {
		frac = 0;
	}
	while (u > UINT64_MAX) {
		n->own[--at] = (num_digit)(u % NUM_BASE);
		u /= NUM_BASE;
	}
	for (uint64_t w = (uint64_t)u; w; w /= NUM_BASE)
		n->own[--at] = (num_digit)(w % NUM_BASE);
	n->digits = n->own + at;
	n->digit_count = NUM_DIGITS_INLINE - at;
	n->weight = n->digit_count - (scale % 4 ? 1 : 0) - frac - 1;
	num_strip(n);
}

bool num_to_i128(const struct num *n, int scale, i128 *out)
{
	const unsigned __int128 limit = (unsigned __int128)1 << 127;
	unsigned __int128 u = 0;
	int whole = scale / 4, rest = scale % 4, need = n->weight + 1 + whole; /* digits that count in full */
	bool up;
	int next;

	if (num_special(n))
		return false;
	if (need > 12)
		return false;
	for (int i = 0; i < need; i++) {
		unsigned d = i < n->digit_count ? (unsigned)n->digits[i] : 0;

		if (__builtin_mul_overflow(u, (unsigned __int128)NUM_BASE, &u) ||
		    __builtin_add_overflow(u, (unsigned __int128)d, &u))
			return false;
	}
	next = need >= 0 && need < n->digit_count ? n->digits[need] : 0;
	if (rest) {
		int down = num_pow10[4 - rest];

		if (__builtin_mul_overflow(u, (unsigned __int128)(unsigned)num_pow10[rest], &u) ||
		    __builtin_add_overflow(u, (unsigned __int128)(unsigned)(next / down), &u))
			return false;
		up = next % down * 2 >= down;
	} else {
		up = next >= NUM_BASE / 2;
	}
	u += up;
	if (u > limit || (u == limit && n->kind != NUM_NEG))
		return false;
	*out = n->kind == NUM_NEG ? (i128)-u : (i128)u;
	return true;
}

enum status num_to_int(const struct num *n, int64_t min, int64_t max, const char *type_name, int64_t *out,
		       struct error *err)
{
	i128 x;

	if (n->kind == NUM_NAN)
		return error_set(err, ST_UNSUPPORTED, "cannot convert NaN to %s", type_name);
	if (num_special(n))
		return error_set(err, ST_UNSUPPORTED, "cannot convert infinity to %s", type_name);
	if (!num_to_i128(n, 0, &x) || x < min || x > max)
		return error_set(err, ST_NUMERIC_RANGE, "%s out of range", type_name);
	*out = (int64_t)x;
	return ST_OK;
}

/* -- text --------------------------------------------------------------------------------------------------------- */

static bool word_is(const char *s, size_t n, const char *word)
{
	if (strlen(word) != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (ascii_lower((unsigned char)s[i]) != word[i])
			return false;
	return true;
}

static enum status bad_text(const char *s, size_t n, struct error *err)
{
	return error_set(err, ST_BAD_TEXT, "invalid input syntax for type numeric: \"%.*s\"", (int)n, s);
}

/* "NaN", "[+-]inf[inity]": the sign has been read */
static bool parse_word(struct num *n, const char *s, size_t bytes, int sign)
{
	if (!sign && word_is(s, bytes, "nan"))
		num_set_special(n, NUM_NAN);
	else if (word_is(s, bytes, "inf") || word_is(s, bytes, "infinity"))
		num_set_special(n, sign < 0 ? NUM_NINF : NUM_PINF);
	else
		return false;
	return true;
}

/* decimal digits (values 0..9) with the point after the first `point` of them, to base 10,000 */
static void from_decimal(struct num *n, const char *dec, int count, int64_t point, struct arena *arena)
{
	int64_t weight = point > 0 ? (point + 3) / 4 - 1 : -(-point / 4 + 1);
	int lead = (int)((weight + 1) * 4 - point); /* zeros before the first digit */
	int digits = (lead + count + 3) / 4;
	num_digit *d = num_room(n, digits, arena);

	for (int i = 0; i < digits; i++) {
		int v = 0;

		for (int k = 0; k < 4; k++) {
			int at = i * 4 + k - lead;

			v = v * 10 + (at >= 0 && at < count ? dec[at] - '0' : 0);
		}
		d[i] = (num_digit)v;
	}
	n->weight = (int32_t)weight;
	num_strip(n);
}

enum status num_parse(struct num *n, const char *text, size_t bytes, struct arena *arena, struct error *err)
{
	const char *s = text, *end = text + bytes;
	char small[256], *dec;
	int count = 0, sign = 0;
	int64_t point, exponent = 0, dscale;
	bool dot = false, any = false;

	num_zero(n);
	while (s < end && ascii_space((unsigned char)*s))
		s++;
	while (end > s && ascii_space((unsigned char)end[-1]))
		end--;
	if (s < end && (*s == '+' || *s == '-'))
		sign = *s++ == '-' ? -1 : 1;
	if (parse_word(n, s, (size_t)(end - s), sign))
		return ST_OK;
	dec = (size_t)(end - s) < sizeof small ? small : arena_alloc(arena, (size_t)(end - s) + 1);
	point = -1;
	for (; s < end; s++) {
		if (ascii_digit((unsigned char)*s)) {
			any = true;
			dec[count++] = *s;
		} else if (*s == '.' && !dot) {
			dot = true;
			point = count;
		} else {
			break;
		}
	}
	if (!any)
		return bad_text(text, bytes, err);
	if (!dot)
		point = count;
	dscale = count - point;
	if (s < end && (*s == 'e' || *s == 'E')) {
		bool neg = false, digit = false;

		s++;
		if (s < end && (*s == '+' || *s == '-'))
			neg = *s++ == '-';
		for (; s < end && ascii_digit((unsigned char)*s); s++) {
			digit = true;
			if (exponent < 1000000000)
				exponent = exponent * 10 + (*s - '0');
		}
		if (!digit)
			return bad_text(text, bytes, err);
		if (exponent >= INT32_MAX / 2)
			return bad_text(text, bytes, err);
		if (neg)
			exponent = -exponent;
		point += exponent;
		dscale -= exponent;
		if (dscale < 0)
			dscale = 0;
	}
	if (s != end)
		return bad_text(text, bytes, err);
	if (dscale > NUM_DSCALE_MAX || point > (NUM_WEIGHT_MAX + 1) * 4)
		return error_set(err, ST_NUMERIC_RANGE, "value overflows numeric format");
	from_decimal(n, dec, count, point, arena);
	n->dscale = (int32_t)dscale;
	if (sign < 0 && n->digit_count)
		n->kind = NUM_NEG;
	return num_check(n, err);
}

static char *put4(char *p, int d)
{
	p[0] = (char)('0' + d / 1000);
	p[1] = (char)('0' + d / 100 % 10);
	p[2] = (char)('0' + d / 10 % 10);
	p[3] = (char)('0' + d % 10);
	return p + 4;
}

void num_text_scale(const struct num *n, int scale, struct buf *out)
{
	static const char *const special[] = {"", "", "NaN", "Infinity", "-Infinity"};
	int groups = scale > 0 ? (scale + 3) / 4 : 0;
	char *p, *start;

	if (num_special(n)) {
		buf_put(out, special[n->kind], strlen(special[n->kind]));
		return;
	}
	start = p = (char *)buf_append(out, (size_t)(n->weight > 0 ? n->weight : 0) * 4 + 8 + (size_t)groups * 4);
	if (n->kind == NUM_NEG)
		*p++ = '-';
	if (n->weight < 0 || n->digit_count == 0) {
		*p++ = '0';
	} else {
		char *first = p;

		for (int i = 0; i <= n->weight; i++)
			p = put4(p, i < n->digit_count ? n->digits[i] : 0);
		while (first < p - 1 && *first == '0')
			first++;
		{
			char *to = n->kind == NUM_NEG ? start + 1 : start;
			size_t len = (size_t)(p - first);

			memmove(to, first, len);
			p = to + len;
		}
	}
	if (scale > 0) {
		*p++ = '.';
		for (int g = 0; g < groups; g++) {
			int i = n->digit_count ? n->weight + 1 + g : -1;

			p = put4(p, i >= 0 && i < n->digit_count ? n->digits[i] : 0);
		}
		p -= groups * 4 - scale;
	}
	buf_truncate(out, (size_t)((uint8_t *)p - out->data));
}

void num_text(const struct num *n, struct buf *out)
{
	num_text_scale(n, n->dscale, out);
}

/* -- floats ------------------------------------------------------------------------------------------------------- */

void num_from_f64(struct num *n, double d, int digits, struct arena *arena)
{
	char text[64];
	int len;

	if (isnan(d) || isinf(d)) {
		num_set_special(n, isnan(d) ? NUM_NAN : d > 0 ? NUM_PINF : NUM_NINF);
		return;
	}
	len = snprintf(text, sizeof text, "%.*g", digits, d);
	if (num_parse(n, text, (size_t)len, arena, NULL) != ST_OK)
		UNREACHABLE();
}

double num_to_f64(const struct num *n)
{
	char text[128], *p = text;

	if (num_special(n))
		return n->kind == NUM_NAN ? (double)NAN : n->kind == NUM_PINF ? (double)INFINITY : -(double)INFINITY;
	if (n->kind == NUM_NEG)
		*p++ = '-';
	*p++ = '0';
	/* 22 groups are more decimal digits than any tie between two doubles that we can meet; a further digit only breaks it */
	for (int i = 0; i < n->digit_count && i < 22; i++)
		p = put4(p, n->digits[i]);
	if (n->digit_count > 22)
		*p++ = '1';
	snprintf(p, 24, "e%d",
		 (n->weight + 1) * 4 - 4 * (n->digit_count < 22 ? n->digit_count : 22) - (n->digit_count > 22));
	return strtod(text, NULL);
}

/* -- comparison and hash --------------------------------------------------------------------------------------------- */

static int abs_compare(const struct num *a, const struct num *b)
{
	int n = a->digit_count < b->digit_count ? a->digit_count : b->digit_count;

	if (a->digit_count == 0 || b->digit_count == 0)
		return (a->digit_count != 0) - (b->digit_count != 0);
	if (a->weight != b->weight)
		return a->weight < b->weight ? -1 : 1;
	for (int i = 0; i < n; i++)
		if (a->digits[i] != b->digits[i])
			return a->digits[i] < b->digits[i] ? -1 : 1;
	return a->digit_count < b->digit_count ? -1 : a->digit_count > b->digit_count;
}

int num_abs_compare(const struct num *a, const struct num *b)
{
	return abs_compare(a, b);
}

static int rank_special(const struct num *n)
{
	return n->kind == NUM_NINF ? -1 : n->kind == NUM_PINF ? 1 : n->kind == NUM_NAN ? 2 : 0;
}

int num_compare(const struct num *a, const struct num *b)
{
	int sa, sb;

	if (num_special(a) || num_special(b)) {
		int x = rank_special(a), y = rank_special(b);

		return x < y ? -1 : x > y;
	}
	sa = num_sign(a);
	sb = num_sign(b);
	if (sa != sb)
		return sa < sb ? -1 : 1;
	return sa < 0 ? abs_compare(b, a) : abs_compare(a, b);
}

uint64_t num_hash(const struct num *n)
{
	uint64_t h = hash_bytes(n->digits, 2 * (size_t)n->digit_count);

	return hash_u64(h ^ (uint64_t)(uint32_t)n->weight << 8 ^ n->kind);
}

/* -- rounding ----------------------------------------------------------------------------------------------------------- */

/* Drops all after `scale` decimals, then adds one unit of that place when up says so. */
static void cut(struct num *n, int scale, bool round, struct arena *arena)
{
	/* keep: base digits kept; the last of them keeps `part` of its four decimals */
	int64_t decimals = (int64_t)(n->weight + 1) * 4 + scale;
	int keep = decimals <= 0 ? 0 : (int)((decimals + 3) / 4), part = decimals <= 0 ? 0 : (int)(decimals % 4);
	bool up;
	num_digit *d;
	struct num old;

	if (num_special(n))
		return;
	n->dscale = scale < 0 ? 0 : scale;
	if (decimals < 0 || (decimals == 0 && !round)) {
		num_zero(n);
		n->dscale = scale < 0 ? 0 : scale;
		return;
	}
	if (keep > n->digit_count || (keep == n->digit_count && part == 0))
		return;
	num_assign(&old, n);
	d = num_room(n, keep + 1, arena);
	memmove(d + 1, old.digits, (size_t)keep * sizeof *d);
	d[0] = 0;
	n->weight++;
	if (part) {
		int unit = num_pow10[4 - part], low = d[keep] % unit;

		d[keep] = (num_digit)(d[keep] - low);
		up = round && low * 2 >= unit;
		if (up)
			d[keep] = (num_digit)(d[keep] + unit);
	} else {
		up = round && keep < old.digit_count && old.digits[keep] >= NUM_BASE / 2;
		if (up)
			d[keep] = (num_digit)(d[keep] + 1);
	}
	for (int i = keep; up && i > 0 && d[i] >= NUM_BASE; i--) {
		d[i] = (num_digit)(d[i] - NUM_BASE);
		d[i - 1] = (num_digit)(d[i - 1] + 1);
	}
	num_strip(n);
}

void num_round(struct num *n, int scale, struct arena *arena)
{
	cut(n, scale, true, arena);
}

void num_trunc(struct num *n, int scale, struct arena *arena)
{
	cut(n, scale, false, arena);
}

static void to_whole(struct num *n, uint8_t away, struct arena *arena)
{
	struct num whole, one, r;
	bool fraction = n->digit_count > n->weight + 1;

	if (num_special(n))
		return;
	num_trunc(n, 0, arena);
	if (!fraction || n->kind != away) {
		if (!(fraction && n->digit_count == 0))
			return;
	}
	num_assign(&whole, n);
	num_from_i64(&one, away == NUM_NEG ? -1 : 1);
	num_add(&whole, &one, &r, arena);
	num_assign(n, &r);
}

void num_ceil(struct num *n, struct arena *arena)
{
	if (n->kind == NUM_NEG)
		num_trunc(n, 0, arena);
	else
		to_whole(n, NUM_POS, arena);
}

void num_floor(struct num *n, struct arena *arena)
{
	if (n->kind == NUM_POS)
		num_trunc(n, 0, arena);
	else
		to_whole(n, NUM_NEG, arena);
}

enum status num_fit(struct num *n, int32_t typmod, struct arena *arena, struct error *err)
{
	int precision, scale, room, digits, first;

	if (!num_typmod_valid(typmod) || n->kind == NUM_NAN)
		return ST_OK;
	precision = num_typmod_precision(typmod);
	scale = num_typmod_scale(typmod);
	if (num_special(n)) {
		enum status st = error_set(err, ST_NUMERIC_RANGE, "numeric field overflow");

		error_detail(err, "A field with precision %d, scale %d cannot hold an infinite value.", precision,
			     scale);
		return st;
	}
	num_round(n, scale, arena);
	if (n->digit_count == 0)
		return ST_OK;
	room = precision - scale;
	first = n->digits[0];
	digits = (n->weight + 1) * 4 - (first < 10 ? 3 : first < 100 ? 2 : first < 1000 ? 1 : 0);
	if (digits > room) {
		enum status st = error_set(err, ST_NUMERIC_RANGE, "numeric field overflow");

		error_detail(err,
			     "A field with precision %d, scale %d must round to an absolute value less than %s%d.",
			     precision, scale, room ? "10^" : "", room ? room : 1);
		return st;
	}
	return ST_OK;
}
