/*
 * datetime_in.c - dates, times and timestamps from text (datetime.h).
 *
 * Reads what PostgreSQL reads with DateStyle "ISO, MDY": ISO forms, 1/2/2023, 8-Jan-1999, January 8, 1999, 20230102T030405, J2451187,
 * am/pm, BC, zones as offset, abbreviation or name, and the special words. The text is cut into tokens, each token
 * fills fields, each field once; what is left open is then checked for the type that was asked for.
 */
#include "base/assert.h"
#include "engine/sql/datetime.h"

enum { HAVE_YEAR = 1, HAVE_MONTH = 2, HAVE_DAY = 4, HAVE_DATE = 7, HAVE_TIME = 8, HAVE_ZONE = 16, HAVE_SPECIAL = 32,
       HAVE_WEEKDAY = 64 };
enum special { SP_NONE, SP_EPOCH, SP_NINF, SP_PINF, SP_NOW, SP_TODAY, SP_TOMORROW, SP_YESTERDAY };

struct parse {
	const char *text, *p, *end, *type;
	size_t bytes;
	struct error *err;
	unsigned have;
	struct dt_fields f;
	bool year_short, bc, after_t;
	int half;             /* 0 none, 1 am, 2 pm */
	enum special special;
	const struct dt_zone *zone; /* NULL: offset */
	int offset;           /* seconds east */
};

static enum status bad(struct parse *x)
{
	return error_set(x->err, ST_BAD_DATETIME, "invalid input syntax for type %s: \"%.*s\"", x->type, (int)x->bytes,
			 x->text);
}

static enum status range(struct parse *x)
{
	return error_set(x->err, ST_DATETIME_RANGE, "date/time field value out of range: \"%.*s\"", (int)x->bytes,
			 x->text);
}

static enum status range_order(struct parse *x) /* a month or day that another order of fields might explain */
{
	enum status st = range(x);

	error_hint(x->err, "Perhaps you need a different \"datestyle\" setting.");
	return st;
}

/* -- words ---------------------------------------------------------------------------------------------------------------------- */

static const char *const months[] = {"january", "february", "march", "april", "may", "june", "july", "august",
				     "september", "october", "november", "december"};
static const char *const weekdays[] = {"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"};

/* Three letters, or the whole name ("sept", "tues", "weds", "thur", "thurs" too) */
static int name_index(const char *w, size_t n, const char *const *names, int count)
{
	for (int i = 0; i < count; i++) {
		size_t len = strlen(names[i]);

		if (n > len || (n != 3 && n != len && !(n == 4 && (w[0] == 's' || w[0] == 't' || w[0] == 'w')) &&
				!(n == 5 && w[0] == 't')))
			continue;
		if (memcmp(w, names[i], n) == 0)
			return i;
	}
	return -1;
}

static bool is(const char *w, size_t n, const char *word)
{
	return strlen(word) == n && memcmp(w, word, n) == 0;
}

static enum special special_word(const char *w, size_t n)
{
	static const struct { const char *word; enum special sp; } words[] = {
		{"epoch", SP_EPOCH}, {"infinity", SP_PINF}, {"-infinity", SP_NINF}, {"now", SP_NOW},
		{"today", SP_TODAY}, {"tomorrow", SP_TOMORROW}, {"yesterday", SP_YESTERDAY},
	};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (is(w, n, words[i].word))
			return words[i].sp;
	return SP_NONE;
}

/* -- numbers ---------------------------------------------------------------------------------------------------------------------- */

static size_t digits(const char *p, const char *end)
{
	size_t n = 0;

	while (p + n < end && ascii_digit((unsigned char)p[n]))
		n++;
	return n;
}

static int number(const char *p, size_t n) /* saturates: every field is far smaller */
{
	int v = 0;

	for (size_t i = 0; i < n; i++)
		v = v > 99999999 ? 999999999 : v * 10 + (p[i] - '0');
	return v;
}

/* .123456 after the seconds, rounded to microseconds; may give 1,000,000 */
static int fraction(const char **p, const char *end)
{
	int v = 0, n = 0, next = 0;

	for ((*p)++; *p < end && ascii_digit((unsigned char)**p); (*p)++, n++) {
		if (n < 6)
			v = v * 10 + (**p - '0');
		else if (n == 6)
			next = **p - '0';
	}
	for (; n < 6; n++)
		v *= 10;
	return v + (next >= 5);
}

static bool claim(struct parse *x, unsigned what)
{
	if (x->have & what)
		return false;
	x->have |= what;
	return true;
}

static void set_year(struct parse *x, const char *p, size_t n)
{
	x->f.year = number(p, n);
	x->year_short = n <= 2;
}

/* hh:mm[:ss[.ffffff]] */
static enum status clock_token(struct parse *x)
{
	size_t n = digits(x->p, x->end);

	if (!claim(x, HAVE_TIME))
		return bad(x);
	x->f.hour = number(x->p, n);
	x->p += n + 1;
	n = digits(x->p, x->end);
	if (n == 0)
		return bad(x);
	x->f.minute = number(x->p, n);
	x->p += n;
	if (x->p < x->end && *x->p == ':') {
		x->p++;
		n = digits(x->p, x->end);
		if (n == 0)
			return bad(x);
		x->f.second = number(x->p, n);
		x->p += n;
		if (x->p < x->end && *x->p == '.')
			x->f.micro = fraction(&x->p, x->end);
	} else if (x->p < x->end && *x->p == '.') {
		return bad(x);
	}
	return ST_OK;
}

/* 2023-01-02, 1/2/2023, 2.1.2023 (as month, day), 1999-Jan-08, 08-Jan-1999 */
static enum status date_token(struct parse *x)
{
	const char *part[3];
	size_t len[3];
	char delim;
	int count = 0, month = -1, month_at = -1;

	for (;;) {
		const char *start = x->p;
		size_t n = digits(x->p, x->end);

		if (n == 0) {
			char w[12];

			while (n < sizeof w && start + n < x->end && ascii_alpha((unsigned char)start[n])) {
				w[n] = (char)ascii_lower((unsigned char)start[n]);
				n++;
			}
			month = n ? name_index(w, n, months, 12) : -1;
			if (month < 0 || month_at >= 0)
				return bad(x);
			month_at = count;
		}
		part[count] = start;
		len[count++] = n;
		x->p += n;
		if (count == 1)
			delim = *x->p;
		if (count == 3 || x->p == x->end || *x->p != delim)
			break;
		x->p++;
	}
	if (count == 3 && x->p < x->end && *x->p == delim)
		return bad(x);
	if (count == 2 && month_at < 0 && delim == '.') { /* 2023.032: year and day of the year */
		int day = number(part[1], len[1]);

		if (len[0] < 3 || len[1] != 3 || !claim(x, HAVE_DATE))
			return bad(x);
		if (day < 1 || day > 366)
			return range(x);
		dt_from_julian(dt_julian(number(part[0], len[0]), 1, 1) + day - 1, &x->f.year, &x->f.month, &x->f.day);
		return ST_OK;
	}
	if (count != 3 || !claim(x, HAVE_DATE))
		return bad(x);
	if (month_at >= 0) {
		int other = month_at == 0 ? 1 : 0, last = 2;

		if (month_at == 2)
			return bad(x);
		x->f.month = month + 1;
		if (month_at == 1 && len[0] > 2) { /* 1999-Jan-08 */
			other = 2;
			last = 0;
		}
		x->f.day = number(part[other], len[other]);
		set_year(x, part[last], len[last]);
	} else if (len[0] > 2) {
		set_year(x, part[0], len[0]);
		x->f.month = number(part[1], len[1]);
		x->f.day = number(part[2], len[2]);
	} else {
		x->f.month = number(part[0], len[0]);
		x->f.day = number(part[1], len[1]);
		set_year(x, part[2], len[2]);
	}
	return ST_OK;
}

/* a run of digits alone */
static enum status number_token(struct parse *x, bool want_time)
{
	const char *p = x->p;
	size_t n = digits(p, x->end);
	bool time = x->after_t || ((x->have & HAVE_DATE) == HAVE_DATE && !(x->have & HAVE_TIME)) ||
		    (want_time && x->have == 0 && n != 8);

	x->p += n;
	if (time && (n == 6 || n == 4 || (x->after_t && n == 2))) {
		if (!claim(x, HAVE_TIME))
			return bad(x);
		x->f.hour = number(p, 2);
		x->f.minute = n >= 4 ? number(p + 2, 2) : 0;
		x->f.second = n == 6 ? number(p + 4, 2) : 0;
		if (n == 6 && x->p < x->end && *x->p == '.')
			x->f.micro = fraction(&x->p, x->end);
		return ST_OK;
	}
	if ((n == 8 || n == 6) && !(x->have & HAVE_DATE)) {
		x->have |= HAVE_DATE;
		set_year(x, p, n - 4);
		x->f.month = number(p + n - 4, 2);
		x->f.day = number(p + n - 2, 2);
		return ST_OK;
	}
	if (n == 3 && (x->have & HAVE_DATE) == HAVE_YEAR) { /* day of the year */
		x->have |= HAVE_DATE;
		dt_from_julian(dt_julian(x->f.year, 1, 1) + number(p, n) - 1, &x->f.year, &x->f.month, &x->f.day);
		return ST_OK;
	}
	if (n > 2 || ((x->have & HAVE_DATE) == (HAVE_MONTH | HAVE_DAY))) {
		if (n > 7 || !claim(x, HAVE_YEAR))
			return bad(x);
		set_year(x, p, n);
		return ST_OK;
	}
	if (!(x->have & HAVE_MONTH)) {
		x->have |= HAVE_MONTH;
		x->f.month = number(p, n);
		return ST_OK;
	}
	if (!claim(x, HAVE_DAY))
		return bad(x);
	x->f.day = number(p, n);
	return ST_OK;
}

/* +hh[:mm[:ss]], +hhmm */
static enum status offset_token(struct parse *x)
{
	int sign = *x->p == '-' ? -1 : 1, h, m = 0, s = 0;
	size_t n;

	x->p++;
	n = digits(x->p, x->end);
	if (n == 0 || !claim(x, HAVE_ZONE))
		return bad(x);
	h = number(x->p, n);
	if (n > 2) {
		m = number(x->p + n - 2, 2);
		h = number(x->p, n - 2);
	}
	x->p += n;
	if (n <= 2 && x->p < x->end && *x->p == ':') {
		x->p++;
		n = digits(x->p, x->end);
		m = number(x->p, n);
		x->p += n;
		if (x->p < x->end && *x->p == ':') {
			x->p++;
			n = digits(x->p, x->end);
			s = number(x->p, n);
			x->p += n;
		}
	}
	if (h > 15 || m > 59 || s > 59) {
		enum status st = error_set(x->err, ST_DATETIME_RANGE, "time zone displacement out of range: \"%.*s\"",
					   (int)x->bytes, x->text);
		return st;
	}
	x->offset = sign * (h * 3600 + m * 60 + s);
	return ST_OK;
}

static enum status zone_word(struct parse *x, const char *start, size_t n)
{
	int offset;

	if (dt_zone_abbreviation(start, n, &offset)) {
		if (!claim(x, HAVE_ZONE))
			return bad(x);
		x->offset = offset;
		return ST_OK;
	}
	x->zone = dt_zone_find_posix(start, n);
	if (!x->zone) {
		if (memchr(start, '/', n))
			return error_set(x->err, ST_BAD_PARAMETER, "time zone \"%.*s\" not recognized", (int)n, start);
		return bad(x);
	}
	return claim(x, HAVE_ZONE) ? ST_OK : bad(x);
}

static bool after_word(struct parse *x, const char *w, size_t n)
{
	int i = name_index(w, n, months, 12);

	if (i >= 0) {
		if (x->have & HAVE_MONTH) { /* "8 Jan": the number taken for a month was the day */
			if (x->have & HAVE_DAY)
				return false;
			x->f.day = x->f.month;
			x->have |= HAVE_DAY;
		}
		x->have |= HAVE_MONTH;
		x->f.month = i + 1;
		while (x->p < x->end && (*x->p == '-' || *x->p == '/' || *x->p == '.'))
			x->p++;
		return true;
	}
	if (name_index(w, n, weekdays, 7) >= 0)
		return claim(x, HAVE_WEEKDAY);
	if (is(w, n, "am") || is(w, n, "pm")) {
		if (x->half)
			return false;
		x->half = w[0] == 'a' ? 1 : 2;
		return true;
	}
	if (is(w, n, "bc") || is(w, n, "ad")) {
		x->bc = w[0] == 'b';
		return true;
	}
	return false;
}

static enum status word_token(struct parse *x)
{
	const char *start = x->p;
	char w[32];
	size_t n = 0;

	if (*x->p == '-')
		w[n++] = *x->p++;
	while (x->p < x->end && n < sizeof w && ascii_alpha((unsigned char)*x->p))
		w[n++] = (char)ascii_lower((unsigned char)*x->p++);
	if (is(w, n, "t") && x->p < x->end && ascii_digit((unsigned char)*x->p)) {
		x->after_t = true;
		return ST_OK;
	}
	if (is(w, n, "j") && x->p < x->end && ascii_digit((unsigned char)*x->p)) {
		size_t len = digits(x->p, x->end);

		if (!claim(x, HAVE_DATE))
			return bad(x);
		dt_from_julian(number(x->p, len), &x->f.year, &x->f.month, &x->f.day);
		x->p += len;
		return ST_OK;
	}
	if (special_word(w, n)) {
		if (!claim(x, HAVE_SPECIAL))
			return bad(x);
		x->special = special_word(w, n);
		return ST_OK;
	}
	if (is(w, n, "allballs")) {
		return claim(x, HAVE_TIME | HAVE_ZONE) ? ST_OK : bad(x);
	}
	if (is(w, n, "at") || is(w, n, "on") || is(w, n, "dst"))
		return ST_OK;
	if (after_word(x, w, n))
		return ST_OK;
	/* the rest of a zone's name: America/New_York, Etc/GMT+5, UTC-3 */
	while (x->p < x->end && (ascii_alpha((unsigned char)*x->p) || ascii_digit((unsigned char)*x->p) ||
				 *x->p == '/' || *x->p == '_' || *x->p == '+' || *x->p == '-'))
		x->p++;
	return zone_word(x, start, (size_t)(x->p - start));
}

static enum status token(struct parse *x, bool want_time)
{
	size_t n = digits(x->p, x->end);
	char after = x->p + n < x->end ? x->p[n] : 0;

	if (n && after == ':')
		return clock_token(x);
	if (n && n <= 2 && (x->have & HAVE_DATE) == HAVE_MONTH && (after == '-' || after == '/' || after == '.')) {
		enum status st = number_token(x, false); /* Jan-08-1999 */

		x->p++;
		return st;
	}
	if (n && (after == '-' || after == '/' || after == '.') && x->p + n + 1 < x->end &&
	    !(after == '-' && ((x->have & HAVE_DATE) == HAVE_DATE || x->after_t)) &&
	    !(after == '.' && (x->after_t || (x->have & HAVE_DATE) == HAVE_DATE)) &&
	    (ascii_digit((unsigned char)x->p[n + 1]) || ascii_alpha((unsigned char)x->p[n + 1])))
		return date_token(x);
	if (n)
		return number_token(x, want_time);
	if ((*x->p == '+' || *x->p == '-') && x->p + 1 < x->end && ascii_digit((unsigned char)x->p[1]))
		return offset_token(x);
	if (ascii_alpha((unsigned char)*x->p) ||
	    (*x->p == '-' && x->p + 1 < x->end && ascii_alpha((unsigned char)x->p[1])))
		return word_token(x);
	return bad(x);
}

/* -- what the fields mean ------------------------------------------------------------------------------------------------------------ */

static enum status check_time(struct parse *x)
{
	struct dt_fields *f = &x->f;

	if (x->half && !(x->have & HAVE_TIME))
		return bad(x);
	if (x->half) {
		if (f->hour > 12)
			return range(x);
		f->hour = f->hour % 12 + (x->half == 2 ? 12 : 0);
	}
	if (f->minute > 59 || f->second > 60 || f->hour > 24 ||
	    (f->hour == 24 && (f->minute || f->second || f->micro)))
		return range(x);
	return ST_OK;
}

static enum status check_date(struct parse *x)
{
	struct dt_fields *f = &x->f;

	if ((x->have & HAVE_DATE) != HAVE_DATE)
		return bad(x);
	if (x->bc) {
		if (f->year <= 0)
			return range(x);
		f->year = 1 - f->year;
	} else if (x->year_short) {
		f->year += f->year < 70 ? 2000 : f->year < 100 ? 1900 : 0;
	} else if (f->year == 0) {
		return range(x);
	}
	if (f->month < 1 || f->month > 12 || f->day < 1 || f->day > 31)
		return range_order(x);
	if (f->day > dt_days_in_month(f->year, f->month))
		return range(x);
	return ST_OK;
}

static enum status parse(struct parse *x, const char *type, const char *s, size_t n, bool want_time, struct error *err)
{
	enum status st;

	*x = (struct parse){.text = s, .p = s, .end = s + n, .type = type, .bytes = n, .err = err};
	for (;;) {
		while (x->p < x->end && (ascii_space((unsigned char)*x->p) || *x->p == ','))
			x->p++;
		if (x->p == x->end)
			break;
		st = token(x, want_time);
		if (st != ST_OK)
			return st;
	}
	if (x->have == 0 || x->have == HAVE_WEEKDAY || x->have == HAVE_ZONE)
		return bad(x);
	if (x->special && (x->have & HAVE_DATE || x->bc))
		return bad(x);
	return check_time(x);
}

/* Today's date in the session's zone, moved by some days; or now. */
static enum status special_ts(struct parse *x, bool with_zone, int64_t *out)
{
	int64_t now = value_settings_get()->now_us, local;
	enum status st;

	switch (x->special) {
	case SP_PINF: *out = TS_PINF; return ST_OK;
	case SP_NINF: *out = TS_NINF; return ST_OK;
	case SP_EPOCH:
		*out = (int64_t)(JDATE_1970 - JDATE_2000) * DT_DAY;
		return ST_OK;
	default: break;
	}
	if (now == 0)
		return error_set(x->err, ST_UNSUPPORTED, "date/time value \"%.*s\" is not supported here", (int)x->bytes,
				 x->text);
	st = dt_utc_to_local(now, &local, x->err);
	if (st != ST_OK)
		return st;
	if (x->special != SP_NOW) {
		local = dt_ts_to_date(local) * DT_DAY;
		local += x->special == SP_TOMORROW ? DT_DAY : x->special == SP_YESTERDAY ? -DT_DAY : 0;
		local += x->f.hour * DT_HOUR + x->f.minute * DT_MINUTE + x->f.second * DT_SEC + x->f.micro;
	} else if (with_zone) {
		*out = now;
		return ST_OK;
	}
	if (with_zone)
		return dt_local_to_utc(local, out, x->err);
	*out = local;
	return ST_OK;
}

enum status dt_date_in(const char *s, size_t n, int32_t *out, struct error *err)
{
	struct parse x;
	int64_t ts;
	enum status st = parse(&x, "date", s, n, false, err);

	if (st != ST_OK)
		return st;
	if (x.special) {
		st = special_ts(&x, false, &ts);
		if (st == ST_OK)
			*out = dt_ts_to_date(ts);
		return st;
	}
	st = check_date(&x);
	if (st != ST_OK)
		return st;
	if (x.f.year < -4713 || x.f.year > 5874897 || dt_julian(x.f.year, x.f.month, x.f.day) < 0)
		return error_set(err, ST_DATETIME_RANGE, "date out of range: \"%.*s\"", (int)n, s);
	*out = dt_julian(x.f.year, x.f.month, x.f.day) - JDATE_2000;
	return ST_OK;
}

enum status dt_time_in(const char *s, size_t n, int64_t *out, struct error *err)
{
	struct parse x;
	int64_t ts;
	enum status st = parse(&x, "time", s, n, true, err);

	if (st != ST_OK)
		return st;
	if (x.special == SP_NOW) {
		st = special_ts(&x, false, &ts);
		if (st == ST_OK)
			*out = ts - dt_ts_to_date(ts) * DT_DAY;
		return st;
	}
	if (!(x.have & HAVE_TIME) || x.special)
		return bad(&x);
	*out = x.f.hour * DT_HOUR + x.f.minute * DT_MINUTE + x.f.second * DT_SEC + x.f.micro;
	return *out > DT_DAY ? range(&x) : ST_OK;
}

enum status dt_timestamp_in(const char *s, size_t n, bool with_zone, int64_t *out, struct error *err)
{
	const char *type = with_zone ? "timestamp with time zone" : "timestamp";
	struct parse x;
	int64_t local, offset;
	enum status st = parse(&x, type, s, n, false, err);

	if (st == ST_OK && x.special)
		return special_ts(&x, with_zone, out);
	if (st == ST_OK)
		st = check_date(&x);
	if (st != ST_OK)
		return st;
	if (!dt_join(&x.f, &local))
		return error_set(err, ST_DATETIME_RANGE, "timestamp out of range: \"%.*s\"", (int)n, s);
	if (with_zone) {
		if (x.zone)
			offset = dt_zone_offset_local(x.zone, local);
		else if (x.have & HAVE_ZONE)
			offset = x.offset;
		else
			offset = dt_zone_offset_local(dt_zone_session(), local);
		local -= offset * DT_SEC;
	}
	if (!ts_in_range(local))
		return error_set(err, ST_DATETIME_RANGE, "timestamp out of range: \"%.*s\"", (int)n, s);
	*out = local;
	return ST_OK;
}
