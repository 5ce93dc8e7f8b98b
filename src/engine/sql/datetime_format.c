/*
 * datetime_format.c - to_char of times, to_timestamp and to_date with a pattern (datetime.h).
 *
 * Patterns are PostgreSQL's; FM, TH and th are understood; the texts of months and days are English. TM, SP and the localised
 * forms are not.
 */
#include <stdio.h>
#include <stdlib.h>

#include "engine/sql/datetime.h"

static const char *const month_names[] = {"January", "February", "March", "April", "May", "June", "July", "August",
					  "September", "October", "November", "December"};
static const char *const day_names[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
static const char *const roman[] = {"I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"};

enum field {
	F_TEXT, F_Y_YYY, F_YYYY, F_YYY, F_YY, F_Y, F_IYYY, F_IYY, F_IY, F_I, F_MONTH, F_MON, F_MM, F_RM, F_DAY, F_DY,
	F_DDD, F_IDDD, F_DD, F_D, F_ID, F_WW, F_IW, F_W, F_CC, F_J, F_Q, F_HH24, F_HH12, F_MI, F_SSSS, F_SS, F_MS,
	F_US, F_FF, F_AM, F_AM_DOT, F_BC, F_BC_DOT, F_TZ, F_TZH, F_TZM, F_OF
};

/* longest first where one is the start of another; the case of words is taken from the pattern */
static const struct { const char *name; enum field field; } fields[] = {
	{"Y,YYY", F_Y_YYY}, {"YYYY", F_YYYY}, {"YYY", F_YYY}, {"YY", F_YY}, {"Y", F_Y}, {"IYYY", F_IYYY}, {"IYY", F_IYY},
	{"IY", F_IY}, {"IDDD", F_IDDD}, {"ID", F_ID}, {"IW", F_IW}, {"I", F_I}, {"MONTH", F_MONTH}, {"MON", F_MON},
	{"MM", F_MM}, {"RM", F_RM}, {"DAY", F_DAY}, {"DY", F_DY}, {"DDD", F_DDD}, {"DD", F_DD}, {"D", F_D}, {"WW", F_WW},
	{"W", F_W}, {"CC", F_CC}, {"J", F_J}, {"Q", F_Q}, {"HH24", F_HH24}, {"HH12", F_HH12}, {"HH", F_HH12},
	{"MI", F_MI}, {"SSSSS", F_SSSS}, {"SSSS", F_SSSS}, {"SS", F_SS}, {"MS", F_MS}, {"US", F_US}, {"FF1", F_FF},
	{"FF2", F_FF}, {"FF3", F_FF}, {"FF4", F_FF}, {"FF5", F_FF}, {"FF6", F_FF}, {"A.M.", F_AM_DOT},
	{"P.M.", F_AM_DOT}, {"AM", F_AM}, {"PM", F_AM}, {"B.C.", F_BC_DOT}, {"A.D.", F_BC_DOT}, {"BC", F_BC},
	{"AD", F_BC}, {"TZH", F_TZH}, {"TZM", F_TZM}, {"TZ", F_TZ}, {"OF", F_OF},
};

struct item {
	enum field field;
	const char *p;  /* of the pattern */
	size_t n;
	bool fill_mode; /* FM: no padding */
	char suffix;    /* 'T': TH, 't': th */
};

struct scanner { const char *p, *end; };

static bool starts(const struct scanner *s, const char *word)
{
	for (const char *p = s->p; *word; p++, word++)
		if (p == s->end || ascii_upper((unsigned char)*p) != *word)
			return false;
	return true;
}

/* The next piece of the pattern; quoted text comes one character at a time. */
static bool next_item(struct scanner *s, bool *quoted, struct item *it)
{
	*it = (struct item){.field = F_TEXT};
again:
	if (s->p == s->end)
		return false;
	if (*s->p == '"') {
		*quoted = !*quoted;
		s->p++;
		goto again;
	}
	if (*s->p == '\\' && s->p + 1 < s->end && (*quoted || s->p[1] == '"'))
		s->p++;
	else if (!*quoted) {
		if (s->end - s->p > 2 && starts(s, "FM")) {
			it->fill_mode = true;
			s->p += 2;
			goto again;
		}
		if (s->end - s->p > 2 && (starts(s, "FX") || starts(s, "TM"))) {
			s->p += 2;
			goto again;
		}
		for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
			if (!starts(s, fields[i].name))
				continue;
			it->field = fields[i].field;
			it->p = s->p;
			it->n = strlen(fields[i].name);
			s->p += it->n;
			if (s->end - s->p >= 2 && starts(s, "TH")) {
				it->suffix = s->p[0];
				s->p += 2;
			}
			return true;
		}
	}
	it->p = s->p++;
	it->n = 1;
	return true;
}

/* -- out --------------------------------------------------------------------------------------------------------------------- */

struct source {
	struct dt_fields f;
	bool interval;
	int64_t hours; /* of an interval: not cut to a day */
	int offset;
	const char *zone;
};

static const char *th_of(int64_t v)
{
	int64_t a = v < 0 ? -v : v;

	if (a % 100 / 10 == 1)
		return "TH";
	return a % 10 == 1 ? "ST" : a % 10 == 2 ? "ND" : a % 10 == 3 ? "RD" : "TH";
}

static void put_number(const struct item *it, int64_t v, int width, struct buf *out)
{
	const char *th = th_of(v);

	if (it->fill_mode)
		width = 0;
	else if (v < 0)
		width++;
	buf_printf(out, "%0*lld", width, (long long)v);
	if (it->suffix == 'T')
		buf_put(out, th, 2);
	else if (it->suffix)
		buf_printf(out, "%c%c", ascii_lower(th[0]), ascii_lower(th[1]));
}

/* the word in the case of the pattern: MONTH, Month, month */
static void put_word(const struct item *it, const char *word, size_t n, size_t width, struct buf *out)
{
	bool first_up = ascii_upper((unsigned char)it->p[0]) == it->p[0];
	bool second_up = it->n > 1 && ascii_upper((unsigned char)it->p[1]) == it->p[1];

	for (size_t i = 0; i < n; i++) {
		int c = (unsigned char)word[i];

		put_u8(out, (uint8_t)((i == 0 ? first_up : first_up && second_up) ? ascii_upper(c) : ascii_lower(c)));
	}
	for (size_t i = n; i < width && !it->fill_mode; i++)
		put_u8(out, ' ');
}

static void put_upper_lower(const struct item *it, const char *upper, const char *lower, struct buf *out)
{
	const char *s = *it->p >= 'a' ? lower : upper;

	buf_put(out, s, strlen(s));
}

static int shown_year(int year)
{
	return year > 0 ? year : 1 - year;
}

static void put_year(const struct item *it, const struct source *s, struct buf *out)
{
	int iso, year = s->interval ? s->f.year : shown_year(s->f.year);

	if (it->field >= F_IYYY && it->field <= F_I) {
		dt_iso_week(s->f.year, s->f.month, s->f.day, &iso);
		year = shown_year(iso);
	}
	switch (it->field) {
	case F_Y_YYY:
		buf_printf(out, "%d,%03d", year / 1000, year % 1000);
		break;
	case F_YYYY:
	case F_IYYY: put_number(it, year, 4, out); break;
	case F_YYY:
	case F_IYY: put_number(it, year % 1000, 3, out); break;
	case F_YY:
	case F_IY: put_number(it, year % 100, 2, out); break;
	default: put_number(it, year % 10, 1, out); break;
	}
}

static void put_zone(const struct item *it, const struct source *s, struct buf *out)
{
	int offset = s->offset, size = offset < 0 ? -offset : offset;

	switch (it->field) {
	case F_TZ:
		for (const char *p = s->zone; p && *p; p++)
			put_u8(out, (uint8_t)(*it->p >= 'a' ? ascii_lower((unsigned char)*p) : *p));
		break;
	case F_TZH: buf_printf(out, "%c%02d", offset < 0 ? '-' : '+', size / 3600); break;
	case F_TZM: buf_printf(out, "%02d", size / 60 % 60); break;
	default:
		buf_printf(out, "%c%02d", offset < 0 ? '-' : '+', size / 3600);
		if (size / 60 % 60)
			buf_printf(out, ":%02d", size / 60 % 60);
	}
}

static void put_day(const struct item *it, const struct source *s, struct buf *out)
{
	const struct dt_fields *f = &s->f;
	int jd = dt_julian(f->year, f->month ? f->month : 1, f->day), weekday = ((jd + 1) % 7 + 7) % 7;
	int doy = jd - dt_julian(f->year, 1, 1) + 1, iso, week;

	switch (it->field) {
	case F_DAY: put_word(it, day_names[weekday], strlen(day_names[weekday]), 9, out); break;
	case F_DY: put_word(it, day_names[weekday], 3, 3, out); break;
	case F_DDD: put_number(it, s->interval ? f->year * 365 + f->month * 30 + f->day : doy, 3, out); break;
	case F_IDDD:
		week = dt_iso_week(f->year, f->month, f->day, &iso);
		put_number(it, (week - 1) * 7 + (weekday ? weekday : 7), 3, out);
		break;
	case F_D: put_number(it, weekday + 1, 1, out); break;
	case F_ID: put_number(it, weekday ? weekday : 7, 1, out); break;
	case F_WW: put_number(it, (doy - 1) / 7 + 1, 2, out); break;
	case F_IW: put_number(it, dt_iso_week(f->year, f->month, f->day, &iso), 2, out); break;
	case F_W: put_number(it, (f->day - 1) / 7 + 1, 1, out); break;
	default: put_number(it, jd, 1, out); break;
	}
}

static int century_of(const struct source *s)
{
	int y = s->f.year;

	if (s->interval)
		return y / 100;
	return y > 0 ? (y - 1) / 100 + 1 : y / 100 - 1;
}

static void put_clock(const struct item *it, const struct source *s, struct buf *out)
{
	static const int pow10[] = {1, 10, 100, 1000, 10000, 100000, 1000000};
	const struct dt_fields *f = &s->f;
	bool pm = (s->hours % 24 + 24) % 24 >= 12;
	int digits;

	switch (it->field) {
	case F_HH24: put_number(it, s->hours, 2, out); break;
	case F_HH12: put_number(it, s->hours % 12 == 0 ? 12 : s->hours % 12, 2, out); break;
	case F_MI: put_number(it, f->minute, 2, out); break;
	case F_SS: put_number(it, f->second, 2, out); break;
	case F_SSSS: put_number(it, s->hours * 3600 + f->minute * 60 + f->second, 1, out); break;
	case F_MS: buf_printf(out, "%03d", f->micro / 1000); break;
	case F_US: buf_printf(out, "%06d", f->micro); break;
	case F_FF:
		digits = it->p[2] - '0';
		buf_printf(out, "%0*d", digits, f->micro / pow10[6 - digits]);
		break;
	case F_AM: put_upper_lower(it, pm ? "PM" : "AM", pm ? "pm" : "am", out); break;
	default: put_upper_lower(it, pm ? "P.M." : "A.M.", pm ? "p.m." : "a.m.", out); break;
	}
}

static void put_roman(const struct item *it, const char *word, struct buf *out)
{
	size_t n = strlen(word);

	for (size_t i = 0; i < 4 && (i < n || !it->fill_mode); i++)
		put_u8(out, (uint8_t)(i >= n ? ' ' : *it->p >= 'a' ? ascii_lower(word[i]) : word[i]));
}

/* Fields that an interval has not: names of months and days, eras, zones. */
static bool of_calendar(enum field field)
{
	return field == F_MONTH || field == F_MON || field == F_DAY || field == F_DY || field == F_D || field == F_ID ||
	       field >= F_BC;
}

static void put_item(const struct item *it, const struct source *s, struct buf *out)
{
	bool bc = s->f.year <= 0;

	if (it->field == F_TEXT) {
		buf_put(out, it->p, it->n);
	} else if (it->field <= F_I) {
		put_year(it, s, out);
	} else if (it->field >= F_HH24 && it->field <= F_AM_DOT) {
		put_clock(it, s, out);
	} else if (it->field >= F_TZ) {
		put_zone(it, s, out);
	} else if (it->field == F_DD) {
		put_number(it, s->f.day, s->f.day < 0 ? 1 : 2, out); /* a sign takes one of the two places */
	} else if (it->field >= F_DAY && it->field <= F_W) {
		put_day(it, s, out);
	} else {
		switch (it->field) {
		case F_MONTH:
			if (s->f.month)
				put_word(it, month_names[s->f.month - 1], strlen(month_names[s->f.month - 1]), 9, out);
			break;
		case F_MON:
			if (s->f.month)
				put_word(it, month_names[s->f.month - 1], 3, 3, out);
			break;
		case F_MM: put_number(it, s->f.month, 2, out); break;
		case F_RM:
			if (s->f.month > 0)
				put_roman(it, roman[s->f.month - 1], out);
			break;
		case F_CC: put_number(it, century_of(s), 2, out); break;
		case F_J: put_day(it, s, out); break;
		case F_Q:
			if (s->f.month > 0)
				put_number(it, (s->f.month - 1) / 3 + 1, 1, out);
			break;
		case F_BC: put_upper_lower(it, bc ? "BC" : "AD", bc ? "bc" : "ad", out); break;
		default: put_upper_lower(it, bc ? "B.C." : "A.D.", bc ? "b.c." : "a.d.", out); break;
		}
	}
}

static enum status format(const struct source *s, const char *fmt, size_t n, struct buf *out, struct error *err)
{
	struct scanner scan = {fmt, fmt + n};
	bool quoted = false;
	struct item it;

	while (next_item(&scan, &quoted, &it)) {
		if (s->interval && of_calendar(it.field)) {
			enum status st = error_set(err, ST_BAD_DATETIME, "invalid format specification for an interval value");

			error_hint(err, "Intervals are not tied to specific calendar dates.");
			return st;
		}
		put_item(&it, s, out);
	}
	return ST_OK;
}

enum status dt_to_char(int64_t ts, bool with_zone, const char *fmt, size_t n, struct buf *out, struct error *err)
{
	struct source s = {.zone = ""};

	if (with_zone) {
		s.offset = dt_zone_offset_utc(dt_zone_session(), ts, &s.zone);
		ts += s.offset * DT_SEC;
	}
	dt_split(ts, &s.f);
	s.hours = s.f.hour;
	return format(&s, fmt, n, out, err);
}

enum status dt_to_char_interval(struct interval iv, const char *fmt, size_t n, struct buf *out, struct error *err)
{
	struct source s = {.interval = true, .zone = ""};

	s.f.year = iv.months / 12;
	s.f.month = iv.months % 12;
	s.f.day = iv.days;
	s.hours = iv.us / DT_HOUR;
	s.f.minute = (int)(iv.us / DT_MINUTE % 60);
	s.f.second = (int)(iv.us / DT_SEC % 60);
	s.f.micro = (int)(iv.us % DT_SEC);
	return format(&s, fmt, n, out, err);
}

/* -- in ------------------------------------------------------------------------------------------------------------------------ */

struct reading {
	const char *p, *end;
	int year, month, day, doy, hour, minute, second, micro, half, cc, jd;
	bool bc, have_year, hour12;
	int offset;
	bool offset_set;
};

static bool read_digits(struct reading *r, size_t max, int *v)
{
	size_t n = 0;
	bool neg = false;

	while (r->p < r->end && ascii_space((unsigned char)*r->p))
		r->p++;
	if (r->p < r->end && (*r->p == '-' || *r->p == '+') && max > 4)
		neg = *r->p++ == '-';
	*v = 0;
	while (n < max && r->p < r->end && ascii_digit((unsigned char)*r->p)) {
		*v = *v > 99999999 ? *v : *v * 10 + (*r->p - '0');
		r->p++;
		n++;
	}
	if (neg)
		*v = -*v;
	return n > 0;
}

static int read_name(struct reading *r, const char *const *names, int count, bool full)
{
	while (r->p < r->end && ascii_space((unsigned char)*r->p))
		r->p++;
	for (int i = 0; i < count; i++) {
		size_t n = full ? strlen(names[i]) : 3, k = 0;

		if ((size_t)(r->end - r->p) < n)
			continue;
		while (k < n && ascii_lower((unsigned char)r->p[k]) == ascii_lower((unsigned char)names[i][k]))
			k++;
		if (k == n) {
			r->p += n;
			return i;
		}
	}
	return -1;
}

static bool read_fraction(struct reading *r, size_t max, int *micro)
{
	static const int pow10[] = {1000000, 100000, 10000, 1000, 100, 10, 1};
	const char *start = r->p;
	int v;

	if (!read_digits(r, max, &v) || r->p - start > 6)
		return false;
	*micro = v * pow10[r->p - start];
	return true;
}

static bool read_half(struct reading *r, bool dots)
{
	if (r->end - r->p < (dots ? 4 : 2))
		return false;
	r->half = ascii_lower((unsigned char)*r->p) == 'p' ? 2 : 1;
	r->p += dots ? 4 : 2;
	return true;
}

static bool read_zone(struct reading *r, enum field field)
{
	const char *start = r->p;
	int v, sign = 1;

	if (field == F_TZ && r->p < r->end && ascii_alpha((unsigned char)*r->p)) {
		while (r->p < r->end && ascii_alpha((unsigned char)*r->p))
			r->p++;
		r->offset_set = true;
		return dt_zone_abbreviation(start, (size_t)(r->p - start), &r->offset);
	}
	if (field == F_TZM) {
		if (!read_digits(r, 2, &v))
			return false;
		r->offset += r->offset < 0 ? -v * 60 : v * 60;
		return true;
	}
	if (r->p < r->end && (*r->p == '+' || *r->p == '-'))
		sign = *r->p++ == '-' ? -1 : 1;
	if (!read_digits(r, 2, &v))
		return false;
	r->offset = sign * v * 3600;
	r->offset_set = true;
	if (field != F_TZH && r->p < r->end && *r->p == ':') {
		r->p++;
		if (!read_digits(r, 2, &v))
			return false;
		r->offset += sign * v * 60;
	}
	return true;
}

static bool read_year(struct reading *r, enum field field, bool last)
{
	int v, comma;

	r->have_year = true;
	switch (field) {
	case F_Y_YYY:
		if (!read_digits(r, 4, &v) || r->p == r->end || *r->p++ != ',' || !read_digits(r, 3, &comma))
			return false;
		r->year = v * 1000 + comma;
		return true;
	case F_YYYY:
	case F_IYYY: return read_digits(r, last ? 6 : 4, &r->year);
	case F_YYY:
	case F_IYY:
		if (!read_digits(r, 3, &v))
			return false;
		r->year = v + (v < 100 ? (v < 70 ? 2000 : 1900) : v < 520 ? 2000 : 1000);
		return true;
	default:
		if (!read_digits(r, field == F_YY || field == F_IY ? 2 : 1, &v))
			return false;
		r->year = v + (v < 70 ? 2000 : 1900);
		return true;
	}
}

static bool read_item(struct reading *r, const struct item *it, bool next_digit)
{
	int v;

	switch (it->field) {
	case F_TEXT:
		/* a separator matches any one separator or none; a letter any one character */
		if (ascii_space((unsigned char)*it->p)) {
			while (r->p < r->end && ascii_space((unsigned char)*r->p))
				r->p++;
		} else if (ascii_alpha((unsigned char)*it->p) || ascii_digit((unsigned char)*it->p)) {
			if (r->p < r->end)
				r->p++;
		} else {
			while (r->p < r->end && ascii_space((unsigned char)*r->p))
				r->p++;
			if (r->p < r->end && !ascii_alpha((unsigned char)*r->p) && !ascii_digit((unsigned char)*r->p) &&
			    !(*r->p == '-' && r->p + 1 == r->end))
				r->p++;
		}
		return true;
	case F_MONTH: r->month = read_name(r, month_names, 12, true) + 1; return r->month > 0;
	case F_MON: r->month = read_name(r, month_names, 12, false) + 1; return r->month > 0;
	case F_DAY: return read_name(r, day_names, 7, true) >= 0;
	case F_DY: return read_name(r, day_names, 7, false) >= 0;
	case F_MM: return read_digits(r, 2, &r->month);
	case F_DD: return read_digits(r, 2, &r->day);
	case F_DDD: return read_digits(r, 3, &r->doy);
	case F_J: return read_digits(r, 8, &r->jd);
	case F_CC: return read_digits(r, 2, &r->cc);
	case F_HH12: r->hour12 = true; return read_digits(r, 2, &r->hour);
	case F_HH24: return read_digits(r, 2, &r->hour);
	case F_MI: return read_digits(r, 2, &r->minute);
	case F_SS: return read_digits(r, 2, &r->second);
	case F_SSSS:
		if (!read_digits(r, 5, &v))
			return false;
		r->hour = v / 3600;
		r->minute = v / 60 % 60;
		r->second = v % 60;
		return true;
	case F_MS: return read_fraction(r, 3, &r->micro);
	case F_US: return read_fraction(r, 6, &r->micro);
	case F_FF: return read_fraction(r, (size_t)(it->p[2] - '0'), &r->micro);
	case F_AM: return read_half(r, false);
	case F_AM_DOT: return read_half(r, true);
	case F_BC:
	case F_BC_DOT:
		if (r->end - r->p < 2)
			return false;
		r->bc = ascii_lower((unsigned char)*r->p) == 'b';
		r->p += it->field == F_BC ? 2 : 4;
		return r->p <= r->end;
	case F_TZ:
	case F_TZH:
	case F_TZM:
	case F_OF: return read_zone(r, it->field);
	case F_D:
	case F_ID:
	case F_Q:
	case F_W: return read_digits(r, 1, &v);
	case F_WW:
	case F_IW: return read_digits(r, 2, &v);
	default: return it->field <= F_I && read_year(r, it->field, !next_digit);
	}
}

static bool reading_fields(struct reading *r, struct dt_fields *f)
{
	if (r->cc && !r->have_year)
		r->year = (r->cc - 1) * 100 + 1;
	if (r->half || r->hour12) {
		if (r->hour < 1 || r->hour > 12)
			return false;
		r->hour = r->hour % 12 + (r->half == 2 ? 12 : 0);
	}
	if (!r->have_year && !r->cc)
		r->year = 0; /* 1 BC, as PostgreSQL fills it */
	if (r->bc && r->year > 0)
		r->year = 1 - r->year;
	*f = (struct dt_fields){r->year, r->month ? r->month : 1, r->day ? r->day : 1, r->hour, r->minute, r->second, r->micro};
	if (r->jd) {
		dt_from_julian(r->jd, &f->year, &f->month, &f->day);
	} else if (r->doy) {
		if (r->doy > 366)
			return false;
		dt_from_julian(dt_julian(f->year, 1, 1) + r->doy - 1, &f->year, &f->month, &f->day);
	}
	return f->month >= 1 && f->month <= 12 && f->day >= 1 && f->year > -4714 && f->year < 294277 &&
	       f->day <= dt_days_in_month(f->year, f->month) && f->hour < 24 && f->minute < 60 && f->second < 60;
}

enum status dt_from_char(const char *s, size_t n, const char *fmt, size_t fmt_n, struct dt_fields *out, int *offset_out,
			 bool *offset_set_out, struct error *err)
{
	struct scanner scan = {fmt, fmt + fmt_n}, ahead;
	struct reading r = {.p = s, .end = s + n};
	bool quoted = false, quoted_ahead;
	struct item it, next;

	while (next_item(&scan, &quoted, &it)) {
		if (r.p >= r.end)
			break;
		ahead = scan;
		quoted_ahead = quoted;
		if (!read_item(&r, &it, next_item(&ahead, &quoted_ahead, &next) && next.field != F_TEXT))
			return error_set(err, ST_BAD_DATETIME, "invalid value \"%.*s\" for \"%.*s\"",
					 (int)(r.end - r.p < (ptrdiff_t)it.n ? r.end - r.p : (ptrdiff_t)it.n), r.p,
					 (int)it.n, it.p);
	}
	if (!reading_fields(&r, out))
		return error_set(err, ST_DATETIME_RANGE, "date/time field value out of range: \"%.*s\"", (int)n, s);
	*offset_out = r.offset;
	*offset_set_out = r.offset_set;
	return ST_OK;
}
