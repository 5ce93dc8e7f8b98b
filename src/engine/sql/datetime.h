/*
 * datetime.h - calendar, clock texts, intervals and time zones (engine/sql).
 *
 * Dates are days, timestamps microseconds since 2000-01-01; timestamptz in UTC. The extreme values are infinities.
 * Zones are read from the system's tzdata by our own reader (datetime_tz.c): the C library's tzset() and environment are
 * never touched, so two sessions may differ and a result depends on the arguments only.
 */
#ifndef VALENCE_ENGINE_SQL_DATETIME_H
#define VALENCE_ENGINE_SQL_DATETIME_H

#include "engine/sql/values.h"

#define DT_SEC INT64_C(1000000)
#define DT_MINUTE (60 * DT_SEC)
#define DT_HOUR (60 * DT_MINUTE)
#define DT_DAY (24 * DT_HOUR)
#define DATE_PINF INT32_MAX
#define DATE_NINF INT32_MIN
#define TS_PINF INT64_MAX
#define TS_NINF INT64_MIN
#define JDATE_2000 2451545
#define JDATE_1970 2440588
#define TS_MIN (-INT64_C(211813488000000000))   /* 4714-11-24 BC */
#define TS_END INT64_C(9223371331200000000)     /* 294277-01-01, not included */
#define DATE_MIN_DAYS (-2451545)
#define DATE_END_DAYS 2145031949                /* 5874898-01-01, not included */

struct dt_fields {
	int year;          /* 1 AD = 1, 1 BC = 0, 2 BC = -1 */
	int month, day;    /* 1-based */
	int hour, minute, second;
	int micro;
};

int dt_julian(int year, int month, int day);
void dt_from_julian(int jd, int *year, int *month, int *day);
int dt_days_in_month(int year, int month);
void dt_split(int64_t ts, struct dt_fields *out);          /* finite only */
bool dt_join(const struct dt_fields *f, int64_t *ts_out);  /* false: out of range */
int dt_iso_week(int year, int month, int day, int *iso_year_out);
static inline bool ts_finite(int64_t ts) { return ts != TS_PINF && ts != TS_NINF; }
static inline bool ts_in_range(int64_t ts) { return ts >= TS_MIN && ts < TS_END; }

/* Text. Out appends; in sets 22007, 22008 or 22023 in PostgreSQL's words. */
enum status dt_date_in(const char *s, size_t n, int32_t *out, struct error *err);
enum status dt_time_in(const char *s, size_t n, int64_t *out, struct error *err);
enum status dt_timestamp_in(const char *s, size_t n, bool with_zone, int64_t *out, struct error *err);
enum status dt_interval_in(const char *s, size_t n, struct interval *out, struct error *err);
void dt_date_out(int32_t d, struct buf *out);
void dt_time_out(int64_t t, struct buf *out);
void dt_timestamp_out(int64_t ts, bool with_zone, struct buf *out);
void dt_interval_out(struct interval iv, struct buf *out);
void dt_interval_iso(struct interval iv, struct buf *out); /* "P1Y2M3DT4H5M6.789S" */
int64_t dt_round(int64_t us, int32_t typmod);              /* timestamp(p), time(p); typmod < 0: as it is */

enum status dt_date_to_ts(int32_t d, int64_t *out, struct error *err);
int32_t dt_ts_to_date(int64_t ts);
enum status dt_local_to_utc(int64_t local, int64_t *out, struct error *err);  /* session's zone */
enum status dt_utc_to_local(int64_t utc, int64_t *out, struct error *err);

enum status dt_ts_add(int64_t ts, struct interval iv, bool with_zone, int64_t *out, struct error *err);
struct interval dt_ts_sub(int64_t a, int64_t b, enum status *st, struct error *err);
enum status dt_interval_add(struct interval a, struct interval b, struct interval *out, struct error *err);
enum status dt_interval_mul(struct interval a, double f, struct interval *out, struct error *err);
enum status dt_interval_div(struct interval a, double f, struct interval *out, struct error *err);
enum status dt_interval_neg(struct interval a, struct interval *out, struct error *err);
struct interval dt_age(int64_t a, int64_t b);
enum status dt_justify(struct interval iv, bool hours, bool days, struct interval *out, struct error *err);

/* date_part, extract, date_trunc; field is case-insensitive. What the value is of, for messages and units. */
enum dt_kind { DT_OF_DATE, DT_OF_TIME, DT_OF_TIMESTAMP, DT_OF_TIMESTAMPTZ, DT_OF_INTERVAL };
/* The part as micro units: value = *whole_out / 10^*scale_out. null_out: infinite and not monotonic; inf_out -1, 1: infinite */
enum status dt_part(const char *field, size_t n, enum dt_kind kind, int64_t v, struct interval iv, i128 *whole_out,
		    int *scale_out, bool *null_out, int *inf_out, struct error *err);
enum status dt_trunc(const char *field, size_t n, bool with_zone, int64_t ts, int64_t *out, struct error *err);
enum status dt_trunc_interval(const char *field, size_t n, struct interval iv, struct interval *out,
			      struct error *err);

/* Zones. An offset is seconds east of UTC. */
struct dt_zone;
/* Name of tzdata, abbreviation ("EST"), or offset ("+02:00", POSIX "UTC-3"); NULL: none such. Lives for the process. */
const struct dt_zone *dt_zone_find(const char *name, size_t n);
/* The same for AT TIME ZONE, where PostgreSQL reads a bare number as POSIX does: west is positive. */
const struct dt_zone *dt_zone_find_posix(const char *name, size_t n);
bool dt_zone_abbreviation(const char *name, size_t n, int *offset_out); /* "est", "cest" … */
void dt_zone_session_changed(void);
void dt_zones_forget(void); /* those of this thread, when nobody has one any more */
const struct dt_zone *dt_zone_session(void);
const char *dt_zone_name(const struct dt_zone *z);
int dt_zone_offset_utc(const struct dt_zone *z, int64_t utc_us, const char **abbrev_out);   /* at that instant */
int dt_zone_offset_local(const struct dt_zone *z, int64_t local_us); /* of a wall clock; in a gap or fold: as PostgreSQL */

/* to_char (datetime_format.c) */
/* ts is finite */
enum status dt_to_char(int64_t ts, bool with_zone, const char *fmt, size_t n, struct buf *out, struct error *err);
enum status dt_to_char_interval(struct interval iv, const char *fmt, size_t n, struct buf *out, struct error *err);
enum status dt_from_char(const char *s, size_t n, const char *fmt, size_t fmt_n, struct dt_fields *out, int *offset_out,
			 bool *offset_set_out, struct error *err);

#endif
