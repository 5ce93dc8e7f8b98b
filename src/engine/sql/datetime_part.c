/*
 * datetime_part.c - extract, date_part, date_trunc (datetime.h).
 */
#include "base/assert.h"
#include "engine/sql/datetime.h"
#include "engine/sql/num.h"

enum part {
	P_NONE, P_US, P_MS, P_SEC, P_MIN, P_HOUR, P_DAY, P_WEEK, P_MONTH, P_QUARTER, P_YEAR, P_DECADE, P_CENTURY,
	P_MILLENNIUM, P_DOW, P_ISODOW, P_DOY, P_ISOYEAR, P_EPOCH, P_JULIAN, P_TZ, P_TZ_HOUR, P_TZ_MINUTE
};

static enum part part_of(const char *s, size_t n)
{
	static const struct { const char *name; enum part part; } names[] = {
		{"microseconds", P_US}, {"microsecond", P_US}, {"us", P_US}, {"usec", P_US}, {"usecs", P_US},
		{"milliseconds", P_MS}, {"millisecond", P_MS}, {"ms", P_MS}, {"msec", P_MS}, {"msecs", P_MS},
		{"second", P_SEC}, {"seconds", P_SEC}, {"sec", P_SEC}, {"secs", P_SEC}, {"s", P_SEC},
		{"minute", P_MIN}, {"minutes", P_MIN}, {"min", P_MIN}, {"mins", P_MIN}, {"m", P_MIN},
		{"hour", P_HOUR}, {"hours", P_HOUR}, {"hr", P_HOUR}, {"hrs", P_HOUR}, {"h", P_HOUR},
		{"day", P_DAY}, {"days", P_DAY}, {"d", P_DAY}, {"week", P_WEEK}, {"weeks", P_WEEK}, {"w", P_WEEK},
		{"month", P_MONTH}, {"months", P_MONTH}, {"mon", P_MONTH}, {"mons", P_MONTH},
		{"quarter", P_QUARTER}, {"qtr", P_QUARTER}, {"year", P_YEAR}, {"years", P_YEAR}, {"yr", P_YEAR},
		{"yrs", P_YEAR}, {"y", P_YEAR}, {"decade", P_DECADE}, {"decades", P_DECADE}, {"dec", P_DECADE},
		{"decs", P_DECADE}, {"century", P_CENTURY}, {"centuries", P_CENTURY}, {"cent", P_CENTURY},
		{"c", P_CENTURY}, {"millennium", P_MILLENNIUM}, {"millennia", P_MILLENNIUM}, {"mil", P_MILLENNIUM},
		{"mils", P_MILLENNIUM}, {"dow", P_DOW}, {"isodow", P_ISODOW}, {"doy", P_DOY}, {"isoyear", P_ISOYEAR},
		{"epoch", P_EPOCH}, {"julian", P_JULIAN}, {"timezone", P_TZ}, {"timezone_hour", P_TZ_HOUR},
		{"timezone_h", P_TZ_HOUR}, {"timezone_minute", P_TZ_MINUTE}, {"timezone_m", P_TZ_MINUTE},
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		size_t k = 0;

		while (k < n && names[i].name[k] && ascii_lower((unsigned char)s[k]) == names[i].name[k])
			k++;
		if (k == n && !names[i].name[k])
			return names[i].part;
	}
	return P_NONE;
}

static const char *const kind_names[] = {"date", "time without time zone", "timestamp without time zone",
					 "timestamp with time zone", "interval"};

static enum status bad_unit(const char *s, size_t n, enum dt_kind kind, bool known, struct error *err)
{
	char name[64];

	if (n >= sizeof name)
		n = sizeof name - 1;
	for (size_t i = 0; i < n; i++)
		name[i] = (char)ascii_lower((unsigned char)s[i]);
	return error_set(err, known ? ST_UNSUPPORTED : ST_BAD_PARAMETER, "unit \"%.*s\" not %s for type %s", (int)n, name,
			 known ? "supported" : "recognized", kind_names[kind]);
}

static enum status not_supported(const char *s, size_t n, enum dt_kind kind, struct error *err)
{
	return bad_unit(s, n, kind, true, err);
}

static enum status not_known(const char *s, size_t n, enum dt_kind kind, struct error *err)
{
	return bad_unit(s, n, kind, false, err);
}

/* units that can be extracted but are nothing to truncate to */
static bool never_truncates(enum part part)
{
	return part == P_DOW || part == P_ISODOW || part == P_DOY || part == P_EPOCH || part == P_ISOYEAR ||
	       part == P_JULIAN;
}

struct answer { i128 v; int scale; };

static struct answer whole(i128 v)
{
	return (struct answer){v, 0};
}

/* century and millennium count from 1; there is no year 0 in what is shown */
static int century(int year, int span)
{
	return year > 0 ? (year + span - 1) / span : -((span - 1 - (year - 1)) / span);
}

static int floor_div(int a, int b)
{
	return a / b - (a % b < 0);
}

/* parts of the clock; us is within a day, or an interval's time */
static bool clock_part(enum part part, int64_t us, struct answer *a)
{
	switch (part) {
	case P_US: *a = whole(us % DT_MINUTE); return true;
	case P_MS: *a = (struct answer){us % DT_MINUTE, 3}; return true;
	case P_SEC: *a = (struct answer){us % DT_MINUTE, 6}; return true;
	case P_MIN: *a = whole(us / DT_MINUTE % 60); return true;
	case P_HOUR: *a = whole(us / DT_HOUR); return true;
	default: return false;
	}
}

static bool date_part(enum part part, int year, int month, int day, struct answer *a)
{
	int jd = dt_julian(year, month, day), weekday = ((jd + 1) % 7 + 7) % 7, iso_year, week;

	switch (part) {
	case P_DAY: *a = whole(day); return true;
	case P_MONTH: *a = whole(month); return true;
	case P_QUARTER: *a = whole((month - 1) / 3 + 1); return true;
	case P_YEAR: *a = whole(year > 0 ? year : year - 1); return true;
	case P_DECADE: *a = whole(floor_div(year, 10)); return true;
	case P_CENTURY: *a = whole(century(year, 100)); return true;
	case P_MILLENNIUM: *a = whole(century(year, 1000)); return true;
	case P_DOW: *a = whole(weekday); return true;
	case P_ISODOW: *a = whole(weekday ? weekday : 7); return true;
	case P_DOY: *a = whole(jd - dt_julian(year, 1, 1) + 1); return true;
	case P_WEEK:
		week = dt_iso_week(year, month, day, &iso_year);
		*a = whole(week);
		return true;
	case P_ISOYEAR:
		dt_iso_week(year, month, day, &iso_year);
		*a = whole(iso_year > 0 ? iso_year : iso_year - 1);
		return true;
	default: return false;
	}
}

/* the time as a fraction of the day, with the scale that a numeric division has */
static void add_day_fraction(int64_t us, struct answer *a)
{
	struct num time, day, q;
	i128 fraction = 0, unit = 1;

	num_from_i64(&time, us);
	num_from_i64(&day, DT_DAY);
	if (num_div(&time, &day, &q, NULL, NULL) != ST_OK || !num_to_i128(&q, q.dscale, &fraction))
		UNREACHABLE(); /* small, and the divisor one digit: no arena is needed */
	for (int i = 0; i < q.dscale; i++)
		unit *= 10;
	*a = (struct answer){a->v * unit + fraction, q.dscale};
}

static bool timestamp_part(enum part part, enum dt_kind kind, int64_t ts, struct answer *a)
{
	struct dt_fields f;
	int64_t local = ts;
	int offset = 0;

	if (kind == DT_OF_TIMESTAMPTZ) {
		offset = dt_zone_offset_utc(dt_zone_session(), ts, NULL);
		local += offset * DT_SEC;
	}
	switch (part) {
	case P_EPOCH:
		*a = (struct answer){(i128)ts + (i128)(JDATE_2000 - JDATE_1970) * DT_DAY, 6};
		if (kind == DT_OF_DATE)
			*a = whole(a->v / DT_SEC);
		return true;
	case P_TZ: *a = whole(offset); return kind == DT_OF_TIMESTAMPTZ;
	case P_TZ_HOUR: *a = whole(offset / 3600); return kind == DT_OF_TIMESTAMPTZ;
	case P_TZ_MINUTE: *a = whole(offset / 60 % 60); return kind == DT_OF_TIMESTAMPTZ;
	case P_JULIAN:
		*a = whole(dt_ts_to_date(local) + JDATE_2000);
		if (kind != DT_OF_DATE)
			add_day_fraction(local - dt_ts_to_date(local) * DT_DAY, a);
		return true;
	default: break;
	}
	dt_split(local, &f);
	if (date_part(part, f.year, f.month, f.day, a))
		return true;
	return kind != DT_OF_DATE &&
	       clock_part(part, f.hour * DT_HOUR + f.minute * DT_MINUTE + f.second * DT_SEC + f.micro, a);
}

static bool interval_part(enum part part, struct interval iv, struct answer *a)
{
	int years = iv.months / 12, rest = iv.months % 12;

	switch (part) {
	case P_DAY: *a = whole(iv.days); return true;
	case P_MONTH: *a = whole(rest); return true;
	case P_QUARTER: *a = whole(rest / 3 + 1); return true;
	case P_YEAR: *a = whole(years); return true;
	case P_DECADE: *a = whole(years / 10); return true;
	case P_CENTURY: *a = whole(years / 100); return true;
	case P_MILLENNIUM: *a = whole(years / 1000); return true;
	case P_EPOCH: /* a year is 365.25 days here, a month 30 */
		*a = (struct answer){(i128)years * 31557600 * DT_SEC + (i128)rest * 30 * DT_DAY + (i128)iv.days * DT_DAY +
					     iv.us,
				     6};
		return true;
	default: return clock_part(part, iv.us, a);
	}
}

/* parts of an infinite value: those that grow for ever are infinite, the others null */
static bool infinite_part(enum part part, bool *infinite)
{
	*infinite = part == P_YEAR || part == P_DECADE || part == P_CENTURY || part == P_MILLENNIUM ||
		    part == P_JULIAN || part == P_ISOYEAR || part == P_EPOCH;
	return true;
}

enum status dt_part(const char *field, size_t n, enum dt_kind kind, int64_t v, struct interval iv, i128 *whole_out,
		    int *scale_out, bool *null_out, int *inf_out, struct error *err)
{
	enum part part = part_of(field, n);
	struct answer a = {0, 0};
	bool known, infinite;
	int64_t ts = v;

	*null_out = false;
	*inf_out = 0;
	if (part == P_NONE)
		return not_known(field, n, kind, err);
	if (kind == DT_OF_DATE) {
		if (part <= P_HOUR || part >= P_TZ)
			return not_supported(field, n, kind, err);
		if (v == DATE_NINF || v == DATE_PINF)
			ts = v == DATE_NINF ? TS_NINF : TS_PINF;
		else if (v >= TS_END / DT_DAY) /* a date may be later than any timestamp: only its calendar parts matter */
			ts = (v - 146097 * ((v - 2900000) / 146097 + 1)) * DT_DAY;
		else
			ts = v * DT_DAY;
	}
	if (kind <= DT_OF_TIMESTAMPTZ && kind != DT_OF_TIME && !ts_finite(ts)) {
		infinite_part(part, &infinite);
		*null_out = !infinite;
		*inf_out = infinite ? (ts == TS_NINF ? -1 : 1) : 0;
		return ST_OK;
	}
	if (kind == DT_OF_INTERVAL)
		known = interval_part(part, iv, &a);
	else if (kind == DT_OF_TIME)
		known = part == P_EPOCH ? (a = (struct answer){v, 6}, true) : clock_part(part, v, &a);
	else
		known = timestamp_part(part, kind, ts, &a);
	if (!known)
		return not_supported(field, n, kind, err);
	if (kind == DT_OF_DATE && v >= TS_END / DT_DAY) {
		int year, month, day;

		dt_from_julian((int)v + JDATE_2000, &year, &month, &day);
		if (part == P_EPOCH)
			a = whole((i128)(v + JDATE_2000 - JDATE_1970) * 86400);
		else if (part == P_JULIAN)
			a = whole(v + JDATE_2000);
		else
			date_part(part, year, month, day, &a);
	}
	*whole_out = a.v;
	*scale_out = a.scale;
	return ST_OK;
}

/* -- truncation ------------------------------------------------------------------------------------------------------------------ */

static void trunc_clock(enum part part, struct dt_fields *f)
{
	if (part >= P_DAY)
		f->hour = 0;
	if (part >= P_HOUR)
		f->minute = 0;
	if (part >= P_MIN)
		f->second = 0;
	if (part >= P_SEC)
		f->micro = 0;
	else if (part == P_MS)
		f->micro -= f->micro % 1000;
}

static int trunc_year(enum part part, int year)
{
	switch (part) {
	case P_DECADE: return floor_div(year, 10) * 10;
	case P_CENTURY: return year > 0 ? (year + 99) / 100 * 100 - 99 : -((99 - (year - 1)) / 100) * 100 + 1;
	case P_MILLENNIUM: return year > 0 ? (year + 999) / 1000 * 1000 - 999 : -((999 - (year - 1)) / 1000) * 1000 + 1;
	default: return year;
	}
}

enum status dt_trunc(const char *field, size_t n, bool with_zone, int64_t ts, int64_t *out, struct error *err)
{
	enum part part = part_of(field, n);
	enum dt_kind kind = with_zone ? DT_OF_TIMESTAMPTZ : DT_OF_TIMESTAMP;
	struct dt_fields f;
	int offset = 0;

	if (!ts_finite(ts)) { /* whatever the field is */
		*out = ts;
		return ST_OK;
	}
	if (part == P_NONE || never_truncates(part))
		return not_known(field, n, kind, err);
	if (part > P_MILLENNIUM)
		return not_supported(field, n, kind, err);
	if (with_zone) {
		offset = dt_zone_offset_utc(dt_zone_session(), ts, NULL);
		ts += offset * DT_SEC;
	}
	dt_split(ts, &f);
	trunc_clock(part, &f);
	if (part == P_WEEK) { /* its Monday */
		int jd = dt_julian(f.year, f.month, f.day);

		dt_from_julian(jd - (jd % 7 + 7) % 7, &f.year, &f.month, &f.day);
	}
	if (part >= P_MONTH)
		f.day = 1;
	if (part == P_QUARTER)
		f.month -= (f.month - 1) % 3;
	if (part >= P_YEAR)
		f.month = 1;
	f.year = trunc_year(part, f.year);
	if (!dt_join(&f, &ts))
		return error_set(err, ST_DATETIME_RANGE, "timestamp out of range");
	if (with_zone) { /* the day's start may have another offset; within the day the old one holds */
		ts -= (part >= P_DAY ? dt_zone_offset_local(dt_zone_session(), ts) : offset) * DT_SEC;
	}
	if (!ts_in_range(ts))
		return error_set(err, ST_DATETIME_RANGE, "timestamp out of range");
	*out = ts;
	return ST_OK;
}

enum status dt_trunc_interval(const char *field, size_t n, struct interval iv, struct interval *out, struct error *err)
{
	static const int months[] = {1, 3, 12, 120, 1200, 12000}; /* from P_MONTH on */
	enum part part = part_of(field, n);

	if (part == P_NONE || never_truncates(part))
		return not_known(field, n, DT_OF_INTERVAL, err);
	if (part == P_WEEK || part > P_MILLENNIUM) {
		enum status st = not_supported(field, n, DT_OF_INTERVAL, err);

		if (part == P_WEEK)
			error_detail(err, "Months usually have fractional weeks.");
		return st;
	}
	if (part >= P_MONTH) {
		iv.months -= iv.months % months[part - P_MONTH];
		iv.days = 0;
		iv.us = 0;
	} else if (part == P_DAY) {
		iv.us = 0;
	} else {
		iv.us -= iv.us % (part == P_HOUR ? DT_HOUR : part == P_MIN ? DT_MINUTE : part == P_SEC ? DT_SEC
				  : part == P_MS ? 1000 : 1);
	}
	*out = iv;
	return ST_OK;
}
