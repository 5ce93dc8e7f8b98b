/*
 * functions_compare.c - kernels of = <> < <= > >= for every class (S13).
 *
 * Fixed classes compute all rows, also under null bits, so that the compiler can use vector instructions;
 * variable ones skip them.
 */
#include <math.h>

#include "engine/sql/datetime.h"
#include "engine/sql/functions_int.h"
#include "engine/sql/num.h"

/* The four shapes: dense column with column, with a constant on either side, and any with a selection. */
#define COMPARE_FIXED(name, fa, fb, op, TEST)                                                          \
	KERNEL(name##_##op)                                                                            \
	{                                                                                              \
		const __typeof__(*args[0].fa) *a = args[0].fa;                                         \
		const __typeof__(*args[1].fb) *b = args[1].fb;                                         \
		uint8_t *restrict o = out->b;                                                          \
                                                                                                       \
		if (!sel && !args[0].constant && !args[1].constant) {                                  \
			for (uint32_t r = 0; r < n; r++)                                               \
				o[r] = TEST(a[r], b[r]);                                               \
		} else if (!sel && !args[0].constant) {                                                \
			const __typeof__(*b) k = b[0];                                                 \
                                                                                                       \
			for (uint32_t r = 0; r < n; r++)                                               \
				o[r] = TEST(a[r], k);                                                  \
		} else {                                                                               \
			const uint32_t am = args[0].constant ? 0 : UINT32_MAX;                         \
			const uint32_t bm = args[1].constant ? 0 : UINT32_MAX;                         \
                                                                                                       \
			for (uint32_t i = 0; i < n; i++) {                                             \
				uint32_t r = sel ? sel[i] : i;                                         \
                                                                                                       \
				o[r] = TEST(a[r & am], b[r & bm]);                                     \
			}                                                                              \
		}                                                                                      \
		return ST_OK;                                                                          \
	}

#define INT_EQ(x, y) ((x) == (y))
#define INT_NE(x, y) ((x) != (y))
#define INT_LT(x, y) ((x) < (y))
#define INT_LE(x, y) ((x) <= (y))
#define INT_GT(x, y) ((x) > (y))
#define INT_GE(x, y) ((x) >= (y))
#define COMPARE_INT(name, fa, fb)                \
	COMPARE_FIXED(name, fa, fb, eq, INT_EQ)  \
	COMPARE_FIXED(name, fa, fb, ne, INT_NE)  \
	COMPARE_FIXED(name, fa, fb, lt, INT_LT)  \
	COMPARE_FIXED(name, fa, fb, le, INT_LE)  \
	COMPARE_FIXED(name, fa, fb, gt, INT_GT)  \
	COMPARE_FIXED(name, fa, fb, ge, INT_GE)

COMPARE_INT(b, b, b)
COMPARE_INT(i16, i16, i16)
COMPARE_INT(i32, i32, i32)
COMPARE_INT(i64, i64, i64)
COMPARE_INT(i16_i32, i16, i32)
COMPARE_INT(i32_i16, i32, i16)
COMPARE_INT(i16_i64, i16, i64)
COMPARE_INT(i64_i16, i64, i16)
COMPARE_INT(i32_i64, i32, i64)
COMPARE_INT(i64_i32, i64, i32)

/* NaN equals NaN and is greater than all else: x != x is isnan without a call. */
#define F_NAN(x) ((x) != (x))
#define F_EQ(x, y) (((x) == (y)) | (F_NAN(x) & F_NAN(y)))
#define F_LT(x, y) (((x) < (y)) | (!F_NAN(x) & F_NAN(y)))
#define F_NE(x, y) (!F_EQ(x, y))
#define F_GE(x, y) (!F_LT(x, y))
#define F_GT(x, y) F_LT(y, x)
#define F_LE(x, y) (!F_LT(y, x))
COMPARE_FIXED(f64, f64, f64, eq, F_EQ)
COMPARE_FIXED(f64, f64, f64, ne, F_NE)
COMPARE_FIXED(f64, f64, f64, lt, F_LT)
COMPARE_FIXED(f64, f64, f64, le, F_LE)
COMPARE_FIXED(f64, f64, f64, gt, F_GT)
COMPARE_FIXED(f64, f64, f64, ge, F_GE)

/* -- rows one by one: ORDER(r) gives -1, 0, 1 -------------------------------------------------------------------------- */

#define COMPARE_ROWS(name, op, C, ORDER)                                                               \
	KERNEL(name##_##op)                                                                            \
	{                                                                                              \
		EACH_ROW(r)                                                                            \
			out->b[r] = ORDER(args, r) C 0;                                                \
		return ST_OK;                                                                          \
	}
#define COMPARE_ORDERED(name, ORDER)            \
	COMPARE_ROWS(name, lt, <, ORDER)        \
	COMPARE_ROWS(name, le, <=, ORDER)       \
	COMPARE_ROWS(name, gt, >, ORDER)        \
	COMPARE_ROWS(name, ge, >=, ORDER)
#define COMPARE_ALL(name, ORDER)                \
	COMPARE_ROWS(name, eq, ==, ORDER)       \
	COMPARE_ROWS(name, ne, !=, ORDER)       \
	COMPARE_ORDERED(name, ORDER)

static inline int text_order(const struct vec *args, uint32_t r)
{
	const struct slice *a = &ARG(0, var, r), *b = &ARG(1, var, r);

	return bytes_compare(a->p, a->bytes, b->p, b->bytes);
}

static inline bool slices_equal(const struct slice *a, const struct slice *b)
{
	return a->bytes == b->bytes && (a->bytes == 0 || memcmp(a->p, b->p, a->bytes) == 0);
}

KERNEL(text_eq)
{
	EACH_ROW(r)
		out->b[r] = slices_equal(&ARG(0, var, r), &ARG(1, var, r));
	return ST_OK;
}

KERNEL(text_ne)
{
	EACH_ROW(r)
		out->b[r] = !slices_equal(&ARG(0, var, r), &ARG(1, var, r));
	return ST_OK;
}
COMPARE_ORDERED(text, text_order)

static int bpchar_order(const struct vec *args, uint32_t r)
{
	const struct slice *a = &ARG(0, var, r), *b = &ARG(1, var, r);

	return bytes_compare(a->p, bpchar_bytes(a->p, a->bytes), b->p, bpchar_bytes(b->p, b->bytes));
}
COMPARE_ALL(bpchar, bpchar_order)

static int num_order(const struct vec *args, uint32_t r)
{
	const struct slice *a = &ARG(0, var, r), *b = &ARG(1, var, r);
	struct num x, y;

	num_load(&x, a->p, a->bytes);
	num_load(&y, b->p, b->bytes);
	return num_compare(&x, &y);
}
COMPARE_ALL(num, num_order)

static int interval_order(const struct vec *args, uint32_t r)
{
	i128 a = interval_span(interval_get(ARG(0, var, r).p)), b = interval_span(interval_get(ARG(1, var, r).p));

	return a < b ? -1 : a > b;
}
COMPARE_ALL(interval, interval_order)

static int array_order(const struct vec *args, uint32_t r)
{
	struct cell a = arg_cell(args, 0, r), b = arg_cell(args, 1, r);

	return value_compare(T_INT4_ARRAY, &a, &b); /* any array type: the elements name theirs */
}
COMPARE_ALL(array, array_order)

/* -- dates with timestamps: a date out of a timestamp's range is before or after all of them ------------------------------ */

static int64_t date_as_ts(int32_t d)
{
	int64_t ts;

	if (dt_date_to_ts(d, &ts, NULL) != ST_OK)
		return d < 0 ? TS_NINF + 1 : TS_PINF - 1;
	return ts;
}

static int64_t ts_as_tz(int64_t ts)
{
	int64_t utc;

	if (!ts_finite(ts) || dt_local_to_utc(ts, &utc, NULL) != ST_OK)
		return ts;
	return utc;
}

static inline int order64(int64_t a, int64_t b)
{
	return a < b ? -1 : a > b;
}
#define DATE_TS(args, r) order64(date_as_ts(ARG(0, i32, r)), ARG(1, i64, r))
#define TS_DATE(args, r) order64(ARG(0, i64, r), date_as_ts(ARG(1, i32, r)))
#define DATE_TZ(args, r) order64(ts_as_tz(date_as_ts(ARG(0, i32, r))), ARG(1, i64, r))
#define TZ_DATE(args, r) order64(ARG(0, i64, r), ts_as_tz(date_as_ts(ARG(1, i32, r))))
#define TS_TZ(args, r) order64(ts_as_tz(ARG(0, i64, r)), ARG(1, i64, r))
#define TZ_TS(args, r) order64(ARG(0, i64, r), ts_as_tz(ARG(1, i64, r)))
COMPARE_ALL(date_ts, DATE_TS)
COMPARE_ALL(ts_date, TS_DATE)
COMPARE_ALL(date_tz, DATE_TZ)
COMPARE_ALL(tz_date, TZ_DATE)
COMPARE_ALL(ts_tz, TS_TZ)
COMPARE_ALL(tz_ts, TZ_TS)
