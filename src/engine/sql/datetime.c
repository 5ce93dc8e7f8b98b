/*
 * datetime.c - calendar, output and arithmetic of dates, times and intervals (datetime.h).
 */
#include "engine/sql/datetime.h"

#include <math.h>
#include <stdio.h>

/* -- calendar: the proleptic Gregorian one; year 0 is 1 BC ------------------------------------------------------------------ */

int dt_julian(int year, int month, int day)
{
	/* years are counted from March, so that the leap day is a year's last */
	int64_t y = (int64_t)year + 4800 * 1000 - (month <= 2), era = y / 400, yoe = y % 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return (int)(era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - INT64_C(146097) * 12000 + 1721120);
}

void dt_from_julian(int jd, int *year, int *month, int *day)
{
	int64_t z = (int64_t)jd - 1721120 + INT64_C(146097) * 12000, era = z / 146097, doe = z % 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

	*day = (int)(doy - (153 * mp + 2) / 5 + 1);
	*month = (int)(mp < 10 ? mp + 3 : mp - 9);
	*year = (int)(yoe + era * 400 - 4800 * 1000 + (*month <= 2));
}

int dt_days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] + (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

void dt_split(int64_t ts, struct dt_fields *f)
{
	int64_t days = floor_div(ts, DT_DAY), us = ts - days * DT_DAY;

	dt_from_julian((int)(days + JDATE_2000), &f->year, &f->month, &f->day);
	f->hour = (int)(us / DT_HOUR);
	f->minute = (int)(us / DT_MINUTE % 60);
	f->second = (int)(us / DT_SEC % 60);
	f->micro = (int)(us % DT_SEC);
}

bool dt_join(const struct dt_fields *f, int64_t *ts_out)
{
	int64_t days, ts, us = f->hour * DT_HOUR + f->minute * DT_MINUTE + f->second * DT_SEC + f->micro;

	if (f->year < -4713 || f->year > 300000)
		return false;
	days = (int64_t)dt_julian(f->year, f->month, f->day) - JDATE_2000;
	if (__builtin_mul_overflow(days, DT_DAY, &ts) || __builtin_add_overflow(ts, us, &ts))
		return false;
	*ts_out = ts;
	return true;
}

/* ISO 8601: weeks start on Monday, week 1 has the year's first Thursday */
int dt_iso_week(int year, int month, int day, int *iso_year_out)
{
	int jd = dt_julian(year, month, day), weekday = (jd % 7 + 7) % 7; /* Monday 0 */
	int thursday = jd - weekday + 3, y, m, d;

	dt_from_julian(thursday, &y, &m, &d);
	*iso_year_out = y;
	return (thursday - dt_julian(y, 1, 1)) / 7 + 1;
}

/* -- output -------------------------------------------------------------------------------------------------------------------- */

static char *put_digits(char *p, int v, int width)
{
	char text[12];
	int n = 0;

	do {
		text[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	while (n < width)
		text[n++] = '0';
	while (n)
		*p++ = text[--n];
	return p;
}

static char *put_date(char *p, const struct dt_fields *f)
{
	p = put_digits(p, f->year > 0 ? f->year : 1 - f->year, 4);
	*p++ = '-';
	p = put_digits(p, f->month, 2);
	*p++ = '-';
	return put_digits(p, f->day, 2);
}

static char *put_fraction(char *p, int micro) /* without trailing zeros */
{
	if (!micro)
		return p;
	*p++ = '.';
	p = put_digits(p, micro, 6);
	while (p[-1] == '0')
		p--;
	return p;
}

static char *put_clock(char *p, int hour, int minute, int second, int micro)
{
	p = put_digits(p, hour, 2);
	*p++ = ':';
	p = put_digits(p, minute, 2);
	*p++ = ':';
	p = put_digits(p, second, 2);
	return put_fraction(p, micro);
}

static char *put_offset(char *p, int seconds)
{
	*p++ = seconds < 0 ? '-' : '+';
	if (seconds < 0)
		seconds = -seconds;
	p = put_digits(p, seconds / 3600, 2);
	if (seconds % 3600) {
		*p++ = ':';
		p = put_digits(p, seconds / 60 % 60, 2);
	}
	if (seconds % 60) {
		*p++ = ':';
		p = put_digits(p, seconds % 60, 2);
	}
	return p;
}

static bool put_infinity(bool minus, bool plus, struct buf *out)
{
	if (minus)
		buf_put(out, "-infinity", 9);
	if (plus)
		buf_put(out, "infinity", 8);
	return minus || plus;
}

static void finish(struct buf *out, char *start, char *p, int year)
{
	if (year <= 0) {
		memcpy(p, " BC", 3);
		p += 3;
	}
	buf_put(out, start, (size_t)(p - start));
}

void dt_date_out(int32_t d, struct buf *out)
{
	struct dt_fields f;
	char text[40];

	if (put_infinity(d == DATE_NINF, d == DATE_PINF, out))
		return;
	dt_from_julian(d + JDATE_2000, &f.year, &f.month, &f.day);
	finish(out, text, put_date(text, &f), f.year);
}

void dt_time_out(int64_t t, struct buf *out)
{
	char text[24];
	char *p = put_clock(text, (int)(t / DT_HOUR), (int)(t / DT_MINUTE % 60), (int)(t / DT_SEC % 60),
			    (int)(t % DT_SEC));

	buf_put(out, text, (size_t)(p - text));
}

void dt_timestamp_out(int64_t ts, bool with_zone, struct buf *out)
{
	struct dt_fields f;
	char text[64], *p;
	int offset = 0;

	if (put_infinity(ts == TS_NINF, ts == TS_PINF, out))
		return;
	if (with_zone) {
		offset = dt_zone_offset_utc(dt_zone_session(), ts, NULL);
		if (__builtin_add_overflow(ts, offset * DT_SEC, &ts))
			offset = 0;
	}
	dt_split(ts, &f);
	p = put_date(text, &f);
	*p++ = ' ';
	p = put_clock(p, f.hour, f.minute, f.second, f.micro);
	if (with_zone)
		p = put_offset(p, offset);
	finish(out, text, p, f.year);
}

static void put_unit(struct buf *out, int64_t v, const char *unit, bool *first, bool *negative)
{
	if (v == 0)
		return;
	buf_printf(out, "%s%s%lld %s%s", *first ? "" : " ", *negative && v > 0 ? "+" : "", (long long)v, unit,
		   v == 1 ? "" : "s");
	*negative = v < 0;
	*first = false;
}

/* the style "postgres": 1 year 2 mons -3 days +04:05:06 */
void dt_interval_out(struct interval iv, struct buf *out)
{
	bool first = true, negative = false;
	uint64_t us = iv.us < 0 ? -(uint64_t)iv.us : (uint64_t)iv.us;
	char text[24], *p;

	put_unit(out, iv.months / 12, "year", &first, &negative);
	put_unit(out, iv.months % 12, "mon", &first, &negative);
	put_unit(out, iv.days, "day", &first, &negative);
	if (!first && us == 0)
		return;
	buf_printf(out, "%s%s%02llu", first ? "" : " ", iv.us < 0 ? "-" : negative ? "+" : "",
		   (unsigned long long)(us / (uint64_t)DT_HOUR));
	p = text;
	*p++ = ':';
	p = put_digits(p, (int)(us / (uint64_t)DT_MINUTE % 60), 2);
	*p++ = ':';
	p = put_digits(p, (int)(us / (uint64_t)DT_SEC % 60), 2);
	p = put_fraction(p, (int)(us % (uint64_t)DT_SEC));
	buf_put(out, text, (size_t)(p - text));
}

void dt_interval_iso(struct interval iv, struct buf *out)
{
	uint64_t us = iv.us < 0 ? -(uint64_t)iv.us : (uint64_t)iv.us;
	const char *sign = iv.us < 0 ? "-" : "";
	uint64_t h = us / (uint64_t)DT_HOUR, m = us / (uint64_t)DT_MINUTE % 60, s = us % (uint64_t)DT_MINUTE;
	char text[24], *p;

	if (!iv.months && !iv.days && !us) {
		buf_put(out, "PT0S", 4);
		return;
	}
	buf_put(out, "P", 1);
	if (iv.months / 12)
		buf_printf(out, "%dY", iv.months / 12);
	if (iv.months % 12)
		buf_printf(out, "%dM", iv.months % 12);
	if (iv.days)
		buf_printf(out, "%dD", iv.days);
	if (us)
		buf_put(out, "T", 1);
	if (h)
		buf_printf(out, "%s%lluH", sign, (unsigned long long)h);
	if (m)
		buf_printf(out, "%s%lluM", sign, (unsigned long long)m);
	if (s) {
		p = put_fraction(text, (int)(s % (uint64_t)DT_SEC));
		buf_printf(out, "%s%llu%.*sS", sign, (unsigned long long)(s / (uint64_t)DT_SEC), (int)(p - text), text);
	}
}

/* -- conversions ------------------------------------------------------------------------------------------------------------------ */

int64_t dt_round(int64_t us, int32_t typmod)
{
	static const int64_t unit[] = {1000000, 100000, 10000, 1000, 100, 10, 1};
	int64_t u, rest;

	if (typmod < 0 || typmod >= 6)
		return us;
	u = unit[typmod];
	rest = us % u;
	if (rest < 0)
		return -rest * 2 >= u ? us - rest - u : us - rest;
	return rest * 2 >= u ? us - rest + u : us - rest;
}

static enum status ts_range(struct error *err)
{
	return error_set(err, ST_DATETIME_RANGE, "timestamp out of range");
}

enum status dt_date_to_ts(int32_t d, int64_t *out, struct error *err)
{
	if (d == DATE_NINF || d == DATE_PINF) {
		*out = d == DATE_NINF ? TS_NINF : TS_PINF;
		return ST_OK;
	}
	if (d >= TS_END / DT_DAY || d < DATE_MIN_DAYS)
		return error_set(err, ST_DATETIME_RANGE, "date out of range for timestamp");
	*out = d * DT_DAY;
	return ST_OK;
}

int32_t dt_ts_to_date(int64_t ts)
{
	if (!ts_finite(ts))
		return ts == TS_NINF ? DATE_NINF : DATE_PINF;
	return (int32_t)floor_div(ts, DT_DAY);
}

enum status dt_local_to_utc(int64_t local, int64_t *out, struct error *err)
{
	int64_t utc;

	if (!ts_finite(local)) {
		*out = local;
		return ST_OK;
	}
	if (__builtin_sub_overflow(local, dt_zone_offset_local(dt_zone_session(), local) * DT_SEC, &utc) ||
	    !ts_in_range(utc))
		return ts_range(err);
	*out = utc;
	return ST_OK;
}

enum status dt_utc_to_local(int64_t at, int64_t *out, struct error *err)
{
	int64_t local;

	if (!ts_finite(at)) {
		*out = at;
		return ST_OK;
	}
	if (__builtin_add_overflow(at, dt_zone_offset_utc(dt_zone_session(), at, NULL) * DT_SEC, &local))
		return ts_range(err);
	*out = local;
	return ST_OK;
}

/* -- arithmetic ------------------------------------------------------------------------------------------------------------------- */

static enum status interval_range(struct error *err)
{
	return error_set(err, ST_DATETIME_RANGE, "interval out of range");
}

/* Months first, the day cut to the month's length; then days; then time. With a zone, months and days on the wall clock. */
enum status dt_ts_add(int64_t ts, struct interval iv, bool with_zone, int64_t *out, struct error *err)
{
	struct dt_fields f;
	enum status st;
	int64_t whole;

	if (!ts_finite(ts)) {
		*out = ts;
		return ST_OK;
	}
	if (iv.months || iv.days) {
		if (with_zone) {
			st = dt_utc_to_local(ts, &ts, err);
			if (st != ST_OK)
				return st;
		}
		if (iv.months) {
			int64_t months;

			dt_split(ts, &f);
			months = (int64_t)f.year * 12 + f.month - 1 + iv.months;
			f.year = (int)floor_div(months, 12);
			f.month = (int)(months - (int64_t)f.year * 12) + 1;
			if (f.year > 300000 || f.year < -5000)
				return ts_range(err);
			if (f.day > dt_days_in_month(f.year, f.month))
				f.day = dt_days_in_month(f.year, f.month);
			if (!dt_join(&f, &ts))
				return ts_range(err);
		}
		if (__builtin_mul_overflow((int64_t)iv.days, DT_DAY, &whole) || __builtin_add_overflow(ts, whole, &ts) ||
		    !ts_in_range(ts))
			return ts_range(err);
		if (with_zone) {
			st = dt_local_to_utc(ts, &ts, err);
			if (st != ST_OK)
				return st;
		}
	}
	if (__builtin_add_overflow(ts, iv.us, &ts) || !ts_in_range(ts))
		return ts_range(err);
	*out = ts;
	return ST_OK;
}

/* Whole days of the time to days, whole months of 30 days to months; then one sign for all that took part. */
enum status dt_justify(struct interval iv, bool hours, bool days, struct interval *out, struct error *err)
{
	if (hours && days && ((iv.days > 0 && iv.us > 0) || (iv.days < 0 && iv.us < 0))) { /* lest days overflow */
		if (__builtin_add_overflow(iv.months, iv.days / 30, &iv.months))
			return interval_range(err);
		iv.days %= 30;
	}
	if (hours) {
		if (__builtin_add_overflow(iv.days, (int32_t)(iv.us / DT_DAY), &iv.days))
			return interval_range(err);
		iv.us %= DT_DAY;
	}
	if (days) {
		int64_t us = hours ? iv.us : 0;

		if (__builtin_add_overflow(iv.months, iv.days / 30, &iv.months))
			return interval_range(err);
		iv.days %= 30;
		if (iv.months > 0 && (iv.days < 0 || (iv.days == 0 && us < 0))) {
			iv.days += 30;
			iv.months--;
		} else if (iv.months < 0 && (iv.days > 0 || (iv.days == 0 && us > 0))) {
			iv.days -= 30;
			iv.months++;
		}
	}
	if (hours && iv.days > 0 && iv.us < 0) {
		iv.us += DT_DAY;
		iv.days--;
	} else if (hours && iv.days < 0 && iv.us > 0) {
		iv.us -= DT_DAY;
		iv.days++;
	}
	*out = iv;
	return ST_OK;
}

struct interval dt_ts_sub(int64_t a, int64_t b, enum status *st, struct error *err)
{
	struct interval iv = {0, 0, 0};

	*st = ST_OK;
	if (!ts_finite(a) || !ts_finite(b))
		*st = error_set(err, ST_DATETIME_RANGE, "cannot subtract infinite timestamps");
	else if (__builtin_sub_overflow(a, b, &iv.us))
		*st = interval_range(err);
	else
		*st = dt_justify(iv, true, false, &iv, err);
	return iv;
}

enum status dt_interval_add(struct interval a, struct interval b, struct interval *out, struct error *err)
{
	if (__builtin_add_overflow(a.us, b.us, &out->us) || __builtin_add_overflow(a.days, b.days, &out->days) ||
	    __builtin_add_overflow(a.months, b.months, &out->months))
		return interval_range(err);
	return ST_OK;
}

enum status dt_interval_neg(struct interval a, struct interval *out, struct error *err)
{
	if (a.us == INT64_MIN || a.days == INT32_MIN || a.months == INT32_MIN)
		return interval_range(err);
	*out = (struct interval){-a.us, -a.days, -a.months};
	return ST_OK;
}

static double round_us(double v) /* to a microsecond, of a number of seconds */
{
	return rint(v * 1e6) / 1e6;
}

/* Fractions of months become days (of 30), fractions of days become time; whole parts stay. */
static enum status scale_interval(double months, double days, double time, struct interval *out, struct error *err)
{
	double month_rest, seconds, us;
	struct interval r;

	if (isnan(months) || isnan(days) || fabs(months) > INT32_MAX || fabs(days) > INT32_MAX)
		return interval_range(err);
	r.months = (int32_t)months;
	r.days = (int32_t)days;
	month_rest = round_us((months - r.months) * 30);
	seconds = round_us((days - r.days + month_rest - (int32_t)month_rest) * 86400);
	if (fabs(seconds) >= 86400) { /* rounding gave a whole day */
		r.days += (int32_t)(seconds / 86400);
		seconds -= (int32_t)(seconds / 86400) * 86400;
	}
	if (__builtin_add_overflow(r.days, (int32_t)month_rest, &r.days))
		return interval_range(err);
	us = rint(time + seconds * 1e6);
	if (isnan(us) || fabs(us) >= 9223372036854775808.0)
		return interval_range(err);
	r.us = (int64_t)us;
	*out = r;
	return ST_OK;
}

enum status dt_interval_mul(struct interval a, double f, struct interval *out, struct error *err)
{
	return scale_interval(a.months * f, a.days * f, (double)a.us * f, out, err);
}

enum status dt_interval_div(struct interval a, double f, struct interval *out, struct error *err)
{
	if (f == 0)
		return error_set(err, ST_DIVISION_BY_ZERO, "division by zero");
	return scale_interval(a.months / f, a.days / f, (double)a.us / f, out, err);
}

/* The difference in years, months, days and time, each borrowing from the one before. */
struct interval dt_age(int64_t a, int64_t b)
{
	struct dt_fields x, y;
	bool negative = a < b;
	int64_t us, t;
	int days, months;

	if (negative) {
		t = a;
		a = b;
		b = t;
	}
	dt_split(a, &x);
	dt_split(b, &y);
	us = (x.hour - y.hour) * DT_HOUR + (x.minute - y.minute) * DT_MINUTE + (x.second - y.second) * DT_SEC +
	     (x.micro - y.micro);
	days = x.day - y.day;
	months = (x.year - y.year) * 12 + x.month - y.month;
	if (us < 0) {
		us += DT_DAY;
		days--;
	}
	while (days < 0) { /* the month borrowed is the earlier one's; February may not be enough */
		days += dt_days_in_month(y.year, y.month);
		months--;
	}
	if (negative)
		return (struct interval){-us, -days, -months};
	return (struct interval){us, days, months};
}
