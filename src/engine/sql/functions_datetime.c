/*
 * functions_datetime.c - kernels of dates, times and intervals (datetime.h).
 */
#include <math.h>

#include "engine/sql/datetime.h"
#include "engine/sql/functions_int.h"
#include "engine/sql/num.h"

#define IV(a, r) interval_get(ARG(a, var, r).p)

static enum status range(struct eval *ev, const char *what)
{
	return error_set(ev->err, ST_DATETIME_RANGE, "%s out of range", what);
}

static void put_interval(struct eval *ev, struct interval iv, struct slice *res)
{
	struct cell c;

	interval_cell(iv, ev->arena, &c);
	*res = (struct slice){c.var, c.bytes, 0};
}

/* The statements set st from row r and write its result. */
#define ROWS_KERNEL(name, ...)                                    \
	KERNEL(name)                                              \
	{                                                         \
		EACH_ROW(r) {                                     \
			enum status st = ST_OK;                   \
                                                                  \
			__VA_ARGS__;                              \
			if (st != ST_OK)                          \
				return st;                        \
		}                                                 \
		return ST_OK;                                     \
	}
#define INTERVAL_KERNEL(name, ...)                                \
	ROWS_KERNEL(name, struct interval iv = {.us = 0}; __VA_ARGS__; if (st == ST_OK) put_interval(ev, iv, &out->var[r]))

/* -- dates -------------------------------------------------------------------------------------------------------------- */

static enum status date_add(struct eval *ev, int32_t d, int64_t days, int32_t *res)
{
	int64_t v = d + days;

	if (d == DATE_PINF || d == DATE_NINF) {
		*res = d;
		return ST_OK;
	}
	if (v < DATE_MIN_DAYS || v >= DATE_END_DAYS)
		return range(ev, "date");
	*res = (int32_t)v;
	return ST_OK;
}

static enum status date_sub(struct eval *ev, int32_t a, int32_t b, int32_t *res)
{
	if (a == DATE_PINF || a == DATE_NINF || b == DATE_PINF || b == DATE_NINF)
		return error_set(ev->err, ST_DATETIME_RANGE, "cannot subtract infinite dates");
	*res = a - b;
	return ST_OK;
}

static enum status ts_add(struct eval *ev, int64_t ts, struct interval iv, bool with_zone, int64_t *res)
{
	return dt_ts_add(ts, iv, with_zone, res, ev->err);
}

static enum status ts_less(struct eval *ev, int64_t ts, struct interval iv, bool with_zone, int64_t *res)
{
	struct interval neg;
	enum status st = dt_interval_neg(iv, &neg, ev->err);

	return st == ST_OK ? dt_ts_add(ts, neg, with_zone, res, ev->err) : st;
}

static enum status date_add_interval(struct eval *ev, int32_t d, struct interval iv, bool less, int64_t *res)
{
	int64_t ts;
	enum status st = dt_date_to_ts(d, &ts, ev->err);

	if (st != ST_OK)
		return st;
	return less ? ts_less(ev, ts, iv, false, res) : ts_add(ev, ts, iv, false, res);
}

static enum status date_add_time(struct eval *ev, int32_t d, int64_t t, int64_t *res)
{
	enum status st = dt_date_to_ts(d, res, ev->err);

	if (st != ST_OK || !ts_finite(*res))
		return st;
	*res += t;
	return ts_in_range(*res) ? ST_OK : range(ev, "timestamp");
}

ROWS_KERNEL(date_pli, st = date_add(ev, ARG(0, i32, r), ARG(1, i32, r), &out->i32[r]))
ROWS_KERNEL(ipl_date, st = date_add(ev, ARG(1, i32, r), ARG(0, i32, r), &out->i32[r]))
ROWS_KERNEL(date_mii, st = date_add(ev, ARG(0, i32, r), -(int64_t)ARG(1, i32, r), &out->i32[r]))
ROWS_KERNEL(date_mi, st = date_sub(ev, ARG(0, i32, r), ARG(1, i32, r), &out->i32[r]))
ROWS_KERNEL(date_pl_interval, st = date_add_interval(ev, ARG(0, i32, r), IV(1, r), false, &out->i64[r]))
ROWS_KERNEL(interval_pl_date, st = date_add_interval(ev, ARG(1, i32, r), IV(0, r), false, &out->i64[r]))
ROWS_KERNEL(date_mi_interval, st = date_add_interval(ev, ARG(0, i32, r), IV(1, r), true, &out->i64[r]))
ROWS_KERNEL(datetime_pl, st = date_add_time(ev, ARG(0, i32, r), ARG(1, i64, r), &out->i64[r]))
ROWS_KERNEL(timedate_pl, st = date_add_time(ev, ARG(1, i32, r), ARG(0, i64, r), &out->i64[r]))

/* -- timestamps ------------------------------------------------------------------------------------------------------------ */

ROWS_KERNEL(ts_pl_interval, st = ts_add(ev, ARG(0, i64, r), IV(1, r), false, &out->i64[r]))
ROWS_KERNEL(interval_pl_ts, st = ts_add(ev, ARG(1, i64, r), IV(0, r), false, &out->i64[r]))
ROWS_KERNEL(ts_mi_interval, st = ts_less(ev, ARG(0, i64, r), IV(1, r), false, &out->i64[r]))
ROWS_KERNEL(tz_pl_interval, st = ts_add(ev, ARG(0, i64, r), IV(1, r), true, &out->i64[r]))
ROWS_KERNEL(interval_pl_tz, st = ts_add(ev, ARG(1, i64, r), IV(0, r), true, &out->i64[r]))
ROWS_KERNEL(tz_mi_interval, st = ts_less(ev, ARG(0, i64, r), IV(1, r), true, &out->i64[r]))
INTERVAL_KERNEL(ts_mi, iv = dt_ts_sub(ARG(0, i64, r), ARG(1, i64, r), &st, ev->err))

/* time of day wraps around; only the interval's time counts */
static int64_t time_add(int64_t t, int64_t us)
{
	t = (t % DT_DAY + us % DT_DAY) % DT_DAY;
	return t < 0 ? t + DT_DAY : t;
}

ROWS_KERNEL(time_pl_interval, out->i64[r] = time_add(ARG(0, i64, r), IV(1, r).us))
ROWS_KERNEL(interval_pl_time, out->i64[r] = time_add(ARG(1, i64, r), IV(0, r).us))
ROWS_KERNEL(time_mi_interval, out->i64[r] = time_add(ARG(0, i64, r), -(IV(1, r).us % DT_DAY)))
INTERVAL_KERNEL(time_mi, iv.us = ARG(0, i64, r) - ARG(1, i64, r))

/* -- intervals ---------------------------------------------------------------------------------------------------------------- */

static enum status interval_minus(struct eval *ev, struct interval a, struct interval b, struct interval *res)
{
	struct interval neg;
	enum status st = dt_interval_neg(b, &neg, ev->err);

	return st == ST_OK ? dt_interval_add(a, neg, res, ev->err) : st;
}

INTERVAL_KERNEL(interval_add, st = dt_interval_add(IV(0, r), IV(1, r), &iv, ev->err))
INTERVAL_KERNEL(interval_sub, st = interval_minus(ev, IV(0, r), IV(1, r), &iv))
INTERVAL_KERNEL(interval_neg, st = dt_interval_neg(IV(0, r), &iv, ev->err))
INTERVAL_KERNEL(interval_mul, st = dt_interval_mul(IV(0, r), ARG(1, f64, r), &iv, ev->err))
INTERVAL_KERNEL(mul_interval, st = dt_interval_mul(IV(1, r), ARG(0, f64, r), &iv, ev->err))
INTERVAL_KERNEL(interval_div, st = dt_interval_div(IV(0, r), ARG(1, f64, r), &iv, ev->err))
INTERVAL_KERNEL(justify_hours, st = dt_justify(IV(0, r), true, false, &iv, ev->err))
INTERVAL_KERNEL(justify_days, st = dt_justify(IV(0, r), false, true, &iv, ev->err))
INTERVAL_KERNEL(justify_interval, st = dt_justify(IV(0, r), true, true, &iv, ev->err))

/* -- overlaps -------------------------------------------------------------------------------------------------------------- */

struct span { int64_t from, to; bool open; }; /* open: its end is not known */

/* Two ends in any order, or a start and a length; false: nothing is known of it. */
static bool span_of(struct eval *ev, const struct fn_def *fn, const struct vec *args, uint32_t a, uint32_t r,
		    struct span *out, enum status *st)
{
	uint32_t type = fn->args[a];
	bool from = !vec_null(&args[a], r), to = !vec_null(&args[a + 1], r);

	*st = ST_OK;
	*out = (struct span){0};
	if (from)
		out->from = ARG(a, i64, r);
	if (to && fn->args[a + 1] != T_INTERVAL)
		out->to = ARG(a + 1, i64, r);
	else if (to && from)
		*st = ts_add(ev, out->from, IV(a + 1, r), type == T_TIMESTAMPTZ, &out->to);
	else
		to = false;
	if (!from && !to)
		return false;
	if (!from)
		out->from = out->to;
	out->open = !from || !to;
	if (!out->open && out->from > out->to) {
		int64_t t = out->from;

		out->from = out->to;
		out->to = t;
	}
	return true;
}

/* 1 yes, 0 no, -1 not known: what PostgreSQL makes of the standard */
static int spans_overlap(const struct span *a, const struct span *b)
{
	if (a->from > b->from)
		return spans_overlap(b, a);
	if (a->from == b->from)
		return a->open || b->open ? -1 : 1;
	if (a->open)
		return -1;
	return b->from < a->to ? 1 : b->open ? -1 : 0;
}

KERNEL(overlaps)
{
	EVERY_ROW(r) {
		struct span a, b;
		enum status st, st2 = ST_OK;
		bool known = span_of(ev, fn, args, 0, r, &a, &st);
		int res;

		if (st == ST_OK)
			known = span_of(ev, fn, args, 2, r, &b, &st2) && known;
		if (st != ST_OK || st2 != ST_OK)
			return st != ST_OK ? st : st2;
		res = known ? spans_overlap(&a, &b) : -1;
		out->b[r] = res == 1;
		if (res < 0)
			out_null(ev, out, r);
	}
	return ST_OK;
}

static enum status date_bin(struct eval *ev, struct interval stride, int64_t ts, int64_t origin, int64_t *res)
{
	int64_t us, diff, rest;

	if (!ts_finite(ts)) {
		*res = ts;
		return ST_OK;
	}
	if (!ts_finite(origin))
		return error_set(ev->err, ST_DATETIME_RANGE, "origin out of range");
	if (stride.months)
		return error_set(ev->err, ST_UNSUPPORTED,
				 "timestamps cannot be binned into intervals containing months or years");
	if (__builtin_mul_overflow((int64_t)stride.days, DT_DAY, &us) || __builtin_add_overflow(us, stride.us, &us))
		return range(ev, "interval");
	if (us <= 0)
		return error_set(ev->err, ST_DATETIME_RANGE, "stride must be greater than zero");
	if (__builtin_sub_overflow(ts, origin, &diff))
		return range(ev, "interval");
	rest = diff % us;
	if (__builtin_add_overflow(origin, diff - rest - (rest < 0 ? us : 0), res) || !ts_in_range(*res))
		return range(ev, "timestamp");
	return ST_OK;
}

ROWS_KERNEL(date_bin, st = date_bin(ev, IV(0, r), ARG(1, i64, r), ARG(2, i64, r), &out->i64[r]))

/* -- parts -------------------------------------------------------------------------------------------------------------------------- */

struct part { i128 whole; int scale, inf; bool null; };

static enum status part_of(KERNEL_ARGS, uint32_t r, enum dt_kind kind, bool as_float, struct part *p)
{
	const struct slice *field = &ARG(0, var, r);
	struct interval iv = {0, 0, 0};
	int64_t v = 0;

	if (kind == DT_OF_INTERVAL) {
		iv = IV(1, r);
	} else if (kind == DT_OF_DATE && as_float) { /* date_part takes a date as a timestamp, extract as a date */
		enum status st = dt_date_to_ts(ARG(1, i32, r), &v, ev->err);

		if (st != ST_OK)
			return st;
		kind = DT_OF_TIMESTAMP;
	} else {
		v = kind == DT_OF_DATE ? ARG(1, i32, r) : ARG(1, i64, r);
	}
	return dt_part((const char *)field->p, field->bytes, kind, v, iv, &p->whole, &p->scale, &p->null, &p->inf,
		       ev->err);
}

static void part_num(struct eval *ev, const struct part *p, struct num *n)
{
	if (p->inf)
		num_from_f64(n, p->inf * (double)INFINITY, 15, ev->arena);
	else
		num_from_i128(n, p->whole, p->scale);
}

static enum status part_rows(KERNEL_ARGS, enum dt_kind kind, bool as_float)
{
	EACH_ROW(r) {
		struct part p = {0, 0, 0, false};
		struct num v;
		struct cell c;
		enum status st = part_of(KERNEL_PASS, r, kind, as_float, &p);

		if (st != ST_OK)
			return st;
		if (p.null) {
			out_null(ev, out, r);
			continue;
		}
		part_num(ev, &p, &v);
		if (as_float) {
			out->f64[r] = num_to_f64(&v);
		} else {
			num_store(&v, ev->arena, &c);
			out->var[r] = (struct slice){c.var, c.bytes, 0};
		}
	}
	return ST_OK;
}

#define PART_KERNELS(suffix, kind)                                                                      \
	KERNEL(date_part_##suffix) { return part_rows(KERNEL_PASS, kind, true); }                       \
	KERNEL(extract_##suffix) { return part_rows(KERNEL_PASS, kind, false); }
PART_KERNELS(date, DT_OF_DATE)
PART_KERNELS(time, DT_OF_TIME)
PART_KERNELS(ts, DT_OF_TIMESTAMP)
PART_KERNELS(tz, DT_OF_TIMESTAMPTZ)
PART_KERNELS(interval, DT_OF_INTERVAL)

#define FIELD(r) (const char *)ARG(0, var, r).p, ARG(0, var, r).bytes
ROWS_KERNEL(date_trunc_ts, st = dt_trunc(FIELD(r), false, ARG(1, i64, r), &out->i64[r], ev->err))
ROWS_KERNEL(date_trunc_tz, st = dt_trunc(FIELD(r), true, ARG(1, i64, r), &out->i64[r], ev->err))
INTERVAL_KERNEL(date_trunc_interval, st = dt_trunc_interval(FIELD(r), IV(1, r), &iv, ev->err))

static const struct dt_zone *zone_arg(struct eval *ev, const struct slice *name)
{
	const struct dt_zone *z = dt_zone_find_posix((const char *)name->p, name->bytes);

	if (!z)
		error_set(ev->err, ST_BAD_PARAMETER, "time zone \"%.*s\" not recognized", (int)name->bytes, name->p);
	return z;
}

static enum status at_utc_offset(struct eval *ev, int64_t ts, int64_t seconds, int64_t *res)
{
	if (!ts_finite(ts)) {
		*res = ts;
		return ST_OK;
	}
	if (__builtin_add_overflow(ts, seconds * DT_SEC, res) || !ts_in_range(*res))
		return range(ev, "timestamp");
	return ST_OK;
}

static enum status tz_to_zone(struct eval *ev, const struct slice *name, int64_t ts, int64_t *res)
{
	const struct dt_zone *z = zone_arg(ev, name);

	if (!z)
		return fn_failed(ev);
	return at_utc_offset(ev, ts, ts_finite(ts) ? dt_zone_offset_utc(z, ts, NULL) : 0, res);
}

static enum status ts_from_zone(struct eval *ev, const struct slice *name, int64_t ts, int64_t *res)
{
	const struct dt_zone *z = zone_arg(ev, name);

	if (!z)
		return fn_failed(ev);
	return at_utc_offset(ev, ts, ts_finite(ts) ? -dt_zone_offset_local(z, ts) : 0, res);
}

ROWS_KERNEL(timezone_tz, st = tz_to_zone(ev, &ARG(0, var, r), ARG(1, i64, r), &out->i64[r]))
ROWS_KERNEL(timezone_ts, st = ts_from_zone(ev, &ARG(0, var, r), ARG(1, i64, r), &out->i64[r]))

static enum status interval_zone(struct eval *ev, struct interval iv, int64_t *seconds)
{
	struct buf b;
	enum status st;

	if (iv.months == 0 && iv.days == 0) {
		*seconds = iv.us / DT_SEC;
		return ST_OK;
	}
	fn_buf_init(ev, &b);
	dt_interval_out(iv, &b);
	st = error_set(ev->err, ST_BAD_PARAMETER, "interval time zone \"%.*s\" must not include months or days",
		       (int)b.size, (const char *)b.data);
	buf_fini(&b);
	return st;
}

ROWS_KERNEL(timezone_itz, int64_t s; st = interval_zone(ev, IV(0, r), &s);
	    if (st == ST_OK) st = at_utc_offset(ev, ARG(1, i64, r), s, &out->i64[r]))
ROWS_KERNEL(timezone_its, int64_t s; st = interval_zone(ev, IV(0, r), &s);
	    if (st == ST_OK) st = at_utc_offset(ev, ARG(1, i64, r), -s, &out->i64[r]))

static enum status trunc_in_zone(struct eval *ev, const struct vec *args, uint32_t r, int64_t *res)
{
	const struct dt_zone *z = zone_arg(ev, &ARG(2, var, r));
	int64_t ts = ARG(1, i64, r), local;
	enum status st;

	if (!z)
		return fn_failed(ev);
	if (!ts_finite(ts)) {
		*res = ts;
		return ST_OK;
	}
	st = dt_trunc(FIELD(r), false, ts + dt_zone_offset_utc(z, ts, NULL) * DT_SEC, &local, ev->err);
	if (st != ST_OK)
		return st;
	return at_utc_offset(ev, local, -dt_zone_offset_local(z, local), res);
}

ROWS_KERNEL(date_trunc_zone, st = trunc_in_zone(ev, args, r, &out->i64[r]))

/* -- age ------------------------------------------------------------------------------------------------------------------------------ */

static enum status age(struct eval *ev, int64_t a, int64_t b, bool with_zone, struct interval *iv)
{
	enum status st = ST_OK;

	if (!ts_finite(a) || !ts_finite(b))
		return range(ev, "timestamp");
	if (with_zone) {
		st = dt_utc_to_local(a, &a, ev->err);
		if (st == ST_OK)
			st = dt_utc_to_local(b, &b, ev->err);
	}
	if (st == ST_OK)
		*iv = dt_age(a, b);
	return st;
}

INTERVAL_KERNEL(age_ts, st = age(ev, ARG(0, i64, r), ARG(1, i64, r), false, &iv))
INTERVAL_KERNEL(age_tz, st = age(ev, ARG(0, i64, r), ARG(1, i64, r), true, &iv))

/* -- making ------------------------------------------------------------------------------------------------------------------------------ */

static enum status make_date(struct eval *ev, int year, int month, int day, int32_t *res)
{
	bool bc = year < 0;

	if (bc)
		year++;
	else if (year == 0)
		goto bad;
	if (month < 1 || month > 12 || day < 1 || year < -4713 || year > 5874897)
		goto bad;
	if (day > dt_days_in_month(year, month) || dt_julian(year, month, day) < 0)
		goto bad;
	*res = dt_julian(year, month, day) - JDATE_2000;
	return ST_OK;
bad:
	return error_set(ev->err, ST_DATETIME_RANGE, "date field value out of range: %d-%02d-%02d", year, month, day);
}

static enum status make_time(struct eval *ev, int hour, int minute, double second, int64_t *res)
{
	double us = rint(second * 1e6);

	if (hour < 0 || hour > 24 || minute < 0 || minute > 59 || !(us >= 0) || us > 60e6 ||
	    (hour == 24 && (minute > 0 || us > 0)))
		return error_set(ev->err, ST_DATETIME_RANGE, "time field value out of range: %d:%02d:%02g", hour, minute,
				 second);
	*res = hour * DT_HOUR + minute * DT_MINUTE + (int64_t)us;
	return ST_OK;
}

static enum status make_timestamp(struct eval *ev, const struct vec *args, uint32_t r, int64_t *res)
{
	int32_t date = 0;
	int64_t time = 0;
	enum status st = make_date(ev, ARG(0, i32, r), ARG(1, i32, r), ARG(2, i32, r), &date);

	if (st == ST_OK)
		st = make_time(ev, ARG(3, i32, r), ARG(4, i32, r), ARG(5, f64, r), &time);
	if (st == ST_OK)
		st = dt_date_to_ts(date, res, ev->err);
	if (st != ST_OK)
		return st;
	*res += time;
	return ts_in_range(*res) ? ST_OK : range(ev, "timestamp");
}

ROWS_KERNEL(make_date, st = make_date(ev, ARG(0, i32, r), ARG(1, i32, r), ARG(2, i32, r), &out->i32[r]))
ROWS_KERNEL(make_time, st = make_time(ev, ARG(0, i32, r), ARG(1, i32, r), ARG(2, f64, r), &out->i64[r]))
ROWS_KERNEL(make_timestamp, st = make_timestamp(ev, args, r, &out->i64[r]))

static enum status from_epoch(struct eval *ev, double seconds, int64_t *res)
{
	const double shift = (double)(JDATE_2000 - JDATE_1970) * 86400;

	if (isnan(seconds))
		return error_set(ev->err, ST_DATETIME_RANGE, "timestamp cannot be NaN");
	if (isinf(seconds)) {
		*res = seconds < 0 ? TS_NINF : TS_PINF;
		return ST_OK;
	}
	if (seconds - shift < (double)TS_MIN / 1e6 || seconds - shift >= (double)TS_END / 1e6)
		return error_set(ev->err, ST_DATETIME_RANGE, "timestamp out of range: \"%g\"", seconds);
	*res = (int64_t)rint((seconds - shift) * 1e6);
	return ST_OK;
}

ROWS_KERNEL(to_timestamp, st = from_epoch(ev, ARG(0, f64, r), &out->i64[r]))

static enum status from_text(struct eval *ev, const struct vec *args, uint32_t r, bool date, int64_t *ts)
{
	const struct slice *s = &ARG(0, var, r), *fmt = &ARG(1, var, r);
	struct dt_fields f;
	int offset;
	bool offset_set;
	enum status st = dt_from_char((const char *)s->p, s->bytes, (const char *)fmt->p, fmt->bytes, &f, &offset,
				      &offset_set, ev->err);

	if (st != ST_OK)
		return st;
	if (!dt_join(&f, ts))
		return range(ev, date ? "date" : "timestamp");
	if (date)
		return ST_OK;
	if (offset_set)
		return at_utc_offset(ev, *ts, -offset, ts);
	return dt_local_to_utc(*ts, ts, ev->err);
}

ROWS_KERNEL(to_timestamp_text, st = from_text(ev, args, r, false, &out->i64[r]))
ROWS_KERNEL(to_date, int64_t ts = 0; st = from_text(ev, args, r, true, &ts); out->i32[r] = dt_ts_to_date(ts))

/* -- to_char -------------------------------------------------------------------------------------------------------------------------------- */

#define TO_CHAR_KERNEL(name, IS_NULL, CALL)                                                                     \
	KERNEL(name)                                                                                     \
	{                                                                                                \
		EACH_ROW(r) {                                                                            \
			const char *fmt = (const char *)ARG(1, var, r).p;                                \
			size_t fmt_n = ARG(1, var, r).bytes;                                             \
			struct buf b;                                                                    \
			enum status st;                                                                  \
                                                                                                         \
			if (IS_NULL(r)) {                                                                \
				out_null(ev, out, r);                                                    \
				continue;                                                                \
			}                                                                                \
			fn_buf_init(ev, &b);                                                             \
			st = CALL;                                                                       \
			if (st == ST_OK) {                                                               \
				st = fn_buf_take(ev, &b, &out->var[r]);                                  \
			} else {                                                                         \
				buf_fini(&b);                                                            \
			}                                                                                \
			if (st != ST_OK)                                                                 \
				return st;                                                               \
		}                                                                                        \
		return ST_OK;                                                                            \
	}
#define NEVER(r) false
#define INFINITE(r) (!ts_finite(ARG(0, i64, r)))
TO_CHAR_KERNEL(to_char_ts, INFINITE, dt_to_char(ARG(0, i64, r), false, fmt, fmt_n, &b, ev->err))
TO_CHAR_KERNEL(to_char_tz, INFINITE, dt_to_char(ARG(0, i64, r), true, fmt, fmt_n, &b, ev->err))
TO_CHAR_KERNEL(to_char_interval, NEVER, dt_to_char_interval(IV(0, r), fmt, fmt_n, &b, ev->err))

/* -- casts -------------------------------------------------------------------------------------------------------------------------------------- */

static enum status date_to_tz(struct eval *ev, int32_t d, int64_t *res)
{
	int64_t ts;
	enum status st = dt_date_to_ts(d, &ts, ev->err);

	return st == ST_OK ? dt_local_to_utc(ts, res, ev->err) : st;
}

static int64_t time_of(int64_t ts)
{
	int64_t t = ts % DT_DAY;

	return t < 0 ? t + DT_DAY : t;
}

ROWS_KERNEL(date_to_ts, st = dt_date_to_ts(ARG(0, i32, r), &out->i64[r], ev->err))
ROWS_KERNEL(date_to_tz, st = date_to_tz(ev, ARG(0, i32, r), &out->i64[r]))
ROWS_KERNEL(ts_to_date, out->i32[r] = dt_ts_to_date(ARG(0, i64, r)))
ROWS_KERNEL(ts_to_tz, st = dt_local_to_utc(ARG(0, i64, r), &out->i64[r], ev->err))
ROWS_KERNEL(tz_to_ts, st = dt_utc_to_local(ARG(0, i64, r), &out->i64[r], ev->err))
ROWS_KERNEL(tz_to_date, int64_t ts = 0; st = dt_utc_to_local(ARG(0, i64, r), &ts, ev->err);
	    out->i32[r] = dt_ts_to_date(ts))
INTERVAL_KERNEL(time_to_interval, iv.us = ARG(0, i64, r))
ROWS_KERNEL(interval_to_time, out->i64[r] = time_of(IV(0, r).us))

KERNEL(ts_to_time)
{
	EACH_ROW(r) {
		if (ts_finite(ARG(0, i64, r)))
			out->i64[r] = time_of(ARG(0, i64, r));
		else
			out_null(ev, out, r);
	}
	return ST_OK;
}

KERNEL(tz_to_time)
{
	EACH_ROW(r) {
		int64_t ts;
		enum status st;

		if (!ts_finite(ARG(0, i64, r))) {
			out_null(ev, out, r);
			continue;
		}
		st = dt_utc_to_local(ARG(0, i64, r), &ts, ev->err);
		if (st != ST_OK)
			return st;
		out->i64[r] = time_of(ts);
	}
	return ST_OK;
}

ROWS_KERNEL(date_finite, out->b[r] = ARG(0, i32, r) != DATE_PINF && ARG(0, i32, r) != DATE_NINF)
ROWS_KERNEL(ts_finite, out->b[r] = ts_finite(ARG(0, i64, r)))
