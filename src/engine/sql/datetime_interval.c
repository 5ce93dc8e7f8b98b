/*
 * datetime_interval.c - intervals from text (datetime.h): "1 day 02:03:04", "1 year 2 mons ago", "1-2", "P1Y2M3DT4H5M6S".
 *
 * A fraction of a unit goes to the smaller ones: of a year to months, of a month (30 days) to days, of a week to days, of a day to
 * time.
 */
#include <math.h>

#include "engine/sql/datetime.h"

struct parse {
	const char *text, *p, *end;
	size_t bytes;
	struct error *err;
	struct interval iv;
	bool any;
	unsigned units;      /* seen: each may be given once */
};

static enum status bad(struct parse *x)
{
	return error_set(x->err, ST_BAD_DATETIME, "invalid input syntax for type interval: \"%.*s\"", (int)x->bytes,
			 x->text);
}

static enum status range(struct parse *x)
{
	return error_set(x->err, ST_DATETIME_RANGE, "interval field value out of range: \"%.*s\"", (int)x->bytes,
			 x->text);
}

/* whole + fraction of one unit; exact for the whole part */
struct quantity { int64_t whole; double fraction; bool negative; };

static bool quantity(struct parse *x, struct quantity *q)
{
	bool digit = false, over = false;
	double scale = 0.1;

	*q = (struct quantity){0, 0, false};
	if (x->p < x->end && (*x->p == '+' || *x->p == '-'))
		q->negative = *x->p++ == '-';
	for (; x->p < x->end && ascii_digit((unsigned char)*x->p); x->p++) {
		digit = true;
		over |= __builtin_mul_overflow(q->whole, INT64_C(10), &q->whole) ||
			__builtin_add_overflow(q->whole, (int64_t)(*x->p - '0'), &q->whole);
	}
	if (x->p < x->end && *x->p == '.') {
		const char *start = ++x->p;

		for (; x->p < x->end && ascii_digit((unsigned char)*x->p); x->p++)
			digit = true;
		for (const char *s = x->p; s-- > start;)
			q->fraction = (q->fraction + (*s - '0')) * scale;
	}
	if (over)
		q->whole = INT64_MAX;
	if (q->negative) {
		q->whole = -q->whole;
		q->fraction = -q->fraction;
	}
	return digit;
}

static bool add_us(struct parse *x, int64_t whole, int64_t unit, double fraction)
{
	int64_t us;

	return !__builtin_mul_overflow(whole, unit, &us) && !__builtin_add_overflow(x->iv.us, us, &x->iv.us) &&
	       !__builtin_add_overflow(x->iv.us, (int64_t)rint(fraction * (double)unit), &x->iv.us);
}

static bool add_i32(int32_t *to, int64_t v)
{
	return v >= INT32_MIN && v <= INT32_MAX && !__builtin_add_overflow(*to, (int32_t)v, to);
}

static bool add_days(struct parse *x, int64_t whole, double fraction)
{
	double extra = trunc(fraction);

	return add_i32(&x->iv.days, whole) && add_i32(&x->iv.days, (int64_t)extra) &&
	       add_us(x, 0, DT_DAY, fraction - extra);
}

enum unit { U_NONE, U_US, U_MS, U_SEC, U_MIN, U_HOUR, U_DAY, U_WEEK, U_MONTH, U_YEAR, U_DECADE, U_CENTURY,
	    U_MILLENNIUM };

static bool claim(struct parse *x, unsigned units)
{
	if (x->units & units)
		return false;
	x->units |= units;
	return true;
}

static bool add_unit(struct parse *x, const struct quantity *q, enum unit unit)
{
	static const int years[] = {1, 10, 100, 1000};
	int64_t whole;
	int n;

	x->any = true;
	switch (unit) {
	case U_US: return add_us(x, q->whole, 1, q->fraction);
	case U_MS: return add_us(x, q->whole, 1000, q->fraction);
	case U_SEC: return add_us(x, q->whole, DT_SEC, q->fraction);
	case U_MIN: return add_us(x, q->whole, DT_MINUTE, q->fraction);
	case U_HOUR: return add_us(x, q->whole, DT_HOUR, q->fraction);
	case U_DAY: return add_days(x, q->whole, q->fraction);
	case U_WEEK:
		return !__builtin_mul_overflow(q->whole, INT64_C(7), &whole) && add_days(x, whole, q->fraction * 7);
	case U_MONTH:
		return add_i32(&x->iv.months, q->whole) && add_days(x, 0, q->fraction * 30);
	default:
		n = years[unit - U_YEAR];
		return !__builtin_mul_overflow(q->whole, INT64_C(12) * n, &whole) && add_i32(&x->iv.months, whole) &&
		       add_i32(&x->iv.months, (int64_t)rint(q->fraction * 12 * n));
	}
}

static enum unit unit_of(const char *w, size_t n)
{
	static const struct { const char *name; enum unit unit; } names[] = {
		{"us", U_US}, {"usec", U_US}, {"usecs", U_US}, {"usecond", U_US}, {"useconds", U_US}, {"microsecon", U_US},
		{"microsecond", U_US}, {"microseconds", U_US}, {"ms", U_MS}, {"msec", U_MS}, {"msecs", U_MS},
		{"msecond", U_MS}, {"mseconds", U_MS}, {"millisecon", U_MS}, {"millisecond", U_MS}, {"milliseconds", U_MS},
		{"s", U_SEC}, {"sec", U_SEC}, {"secs", U_SEC}, {"second", U_SEC}, {"seconds", U_SEC}, {"m", U_MIN},
		{"min", U_MIN}, {"mins", U_MIN}, {"minute", U_MIN}, {"minutes", U_MIN}, {"h", U_HOUR}, {"hr", U_HOUR},
		{"hrs", U_HOUR}, {"hour", U_HOUR}, {"hours", U_HOUR}, {"d", U_DAY}, {"day", U_DAY}, {"days", U_DAY},
		{"w", U_WEEK}, {"week", U_WEEK}, {"weeks", U_WEEK}, {"mon", U_MONTH}, {"mons", U_MONTH},
		{"month", U_MONTH}, {"months", U_MONTH}, {"y", U_YEAR}, {"yr", U_YEAR}, {"yrs", U_YEAR},
		{"year", U_YEAR}, {"years", U_YEAR}, {"dec", U_DECADE}, {"decs", U_DECADE}, {"decade", U_DECADE},
		{"decades", U_DECADE}, {"c", U_CENTURY}, {"cent", U_CENTURY}, {"century", U_CENTURY},
		{"centuries", U_CENTURY}, {"mil", U_MILLENNIUM}, {"mils", U_MILLENNIUM}, {"millennia", U_MILLENNIUM},
		{"millennium", U_MILLENNIUM},
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strlen(names[i].name) == n && memcmp(w, names[i].name, n) == 0)
			return names[i].unit;
	return U_NONE;
}

static void skip_space(struct parse *x)
{
	while (x->p < x->end && ascii_space((unsigned char)*x->p))
		x->p++;
}

static size_t word(struct parse *x, char w[16])
{
	size_t n = 0;

	while (x->p < x->end && ascii_alpha((unsigned char)*x->p)) {
		if (n < 16)
			w[n] = (char)ascii_lower((unsigned char)*x->p);
		n++;
		x->p++;
	}
	return n < 16 ? n : 16;
}

/* h:m[:s[.f]], the hours already read; one sign for all of it */
static enum status clock_part(struct parse *x, const struct quantity *hours)
{
	struct quantity m = {0, 0, false}, s = {0, 0, false};
	int sign = hours->negative ? -1 : 1;

	if (hours->fraction != 0 || !claim(x, 1u << U_HOUR | 1u << U_MIN | 1u << U_SEC))
		return bad(x);
	x->p++;
	if (x->p == x->end || !ascii_digit((unsigned char)*x->p) || !quantity(x, &m))
		return bad(x);
	if (x->p < x->end && *x->p == ':') {
		x->p++;
		if (x->p == x->end || !ascii_digit((unsigned char)*x->p) || !quantity(x, &s))
			return bad(x);
	} else if (m.fraction != 0) { /* mm:ss.fff */
		struct quantity minutes = *hours;

		s = m;
		m = minutes;
		m.whole *= sign;
		if (s.whole > 59 || m.whole > 59)
			return range(x);
		x->any = true;
		return add_us(x, sign * m.whole, DT_MINUTE, 0) && add_us(x, sign * s.whole, DT_SEC, sign * s.fraction)
			       ? ST_OK
			       : range(x);
	}
	if (m.whole > 59 || s.whole > 60)
		return range(x);
	x->any = true;
	if (!add_us(x, hours->whole, DT_HOUR, 0) || !add_us(x, sign * m.whole, DT_MINUTE, 0) ||
	    !add_us(x, sign * s.whole, DT_SEC, sign * s.fraction))
		return range(x);
	return ST_OK;
}

static bool clock_follows(const struct parse *x)
{
	const char *p = x->p;

	if (p < x->end && (*p == '+' || *p == '-'))
		p++;
	while (p < x->end && ascii_digit((unsigned char)*p))
		p++;
	return p > x->p && p < x->end && *p == ':';
}

static enum status number_part(struct parse *x)
{
	struct quantity q, m;
	char w[16];
	size_t n;
	enum unit unit;

	if (!quantity(x, &q))
		return bad(x);
	if (x->p < x->end && *x->p == ':')
		return clock_part(x, &q);
	if (x->p < x->end && *x->p == '-' && x->p + 1 < x->end && ascii_digit((unsigned char)x->p[1]) &&
	    q.fraction == 0) { /* years-months */
		x->p++;
		quantity(x, &m);
		if (m.fraction != 0 || m.whole > 11)
			return m.fraction != 0 ? bad(x) : range(x);
		if (q.negative)
			m.whole = -m.whole;
		if ((x->p < x->end && *x->p == '-') || !claim(x, 1u << U_YEAR | 1u << U_MONTH))
			return bad(x);
		return add_unit(x, &q, U_YEAR) && add_unit(x, &m, U_MONTH) ? ST_OK : range(x);
	}
	if (x->p < x->end && !ascii_space((unsigned char)*x->p) && !ascii_alpha((unsigned char)*x->p))
		return bad(x);
	skip_space(x);
	n = word(x, w);
	unit = n ? unit_of(w, n) : clock_follows(x) ? U_DAY : U_SEC; /* a bare number is seconds, before a clock days */
	if (n && unit == U_NONE) {
		if (n == 3 && memcmp(w, "ago", 3) == 0) {
			x->p -= 3;
			unit = U_SEC;
		} else {
			return bad(x);
		}
	}
	if (!claim(x, 1u << unit))
		return bad(x);
	return add_unit(x, &q, unit) ? ST_OK : range(x);
}

/* P[nY][nM][nW][nD][T[nH][nM][nS]] */
static enum status iso_part(struct parse *x)
{
	bool time = false;

	x->p++;
	while (x->p < x->end) {
		struct quantity q;
		enum unit unit;

		if (*x->p == 'T' && !time) {
			time = true;
			x->p++;
			continue;
		}
		if (!quantity(x, &q) || x->p == x->end)
			return bad(x);
		switch (*x->p++) {
		case 'Y': unit = time ? U_NONE : U_YEAR; break;
		case 'M': unit = time ? U_MIN : U_MONTH; break;
		case 'W': unit = time ? U_NONE : U_WEEK; break;
		case 'D': unit = time ? U_NONE : U_DAY; break;
		case 'H': unit = time ? U_HOUR : U_NONE; break;
		case 'S': unit = time ? U_SEC : U_NONE; break;
		default: unit = U_NONE; break;
		}
		if (unit == U_NONE)
			return bad(x);
		if (!add_unit(x, &q, unit))
			return range(x);
	}
	return ST_OK;
}

enum status dt_interval_in(const char *s, size_t n, struct interval *out, struct error *err)
{
	struct parse x = {.text = s, .p = s, .end = s + n, .bytes = n, .err = err};
	char w[16];
	size_t len;
	enum status st = ST_OK;

	skip_space(&x);
	while (x.end > x.p && ascii_space((unsigned char)x.end[-1]))
		x.end--;
	if (x.p < x.end && *x.p == '@')
		x.p++;
	skip_space(&x);
	if (x.p < x.end && *x.p == 'P') {
		st = iso_part(&x);
		*out = x.iv;
		return st == ST_OK && !x.any ? bad(&x) : st;
	}
	while (st == ST_OK && x.p < x.end) {
		if (ascii_alpha((unsigned char)*x.p)) {
			len = word(&x, w);
			if (len != 3 || memcmp(w, "ago", 3) || !x.any || x.p != x.end)
				return bad(&x);
			if (dt_interval_neg(x.iv, &x.iv, err) != ST_OK)
				return range(&x);
			break;
		}
		st = number_part(&x);
		while (x.p < x.end && (ascii_space((unsigned char)*x.p) || *x.p == ','))
			x.p++;
	}
	if (st == ST_OK && !x.any)
		return bad(&x);
	*out = x.iv;
	return st;
}
