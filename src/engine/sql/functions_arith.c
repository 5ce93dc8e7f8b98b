/*
 * functions_arith.c - kernels of integer and float arithmetic and of the casts between them (S13).
 *
 * A step is STEP(x, y, &result) and says whether it failed. Fast loops compute every row, also under null bits, and collect
 * the failures; only when there was one does a second pass look whether it was in a row that counts.
 */
#include <math.h>

#include "engine/sql/functions_int.h"

static enum status out_of_range(struct eval *ev, const char *type)
{
	return error_set(ev->err, ST_NUMERIC_RANGE, "%s out of range", type);
}

static enum status by_zero(struct eval *ev)
{
	return error_set(ev->err, ST_DIVISION_BY_ZERO, "division by zero");
}

#define BINARY(name, fa, fb, fo, STEP, FAIL)                                                           \
	KERNEL(name)                                                                                   \
	{                                                                                              \
		const __typeof__(*args[0].fa) *a = args[0].fa;                                         \
		const __typeof__(*args[1].fb) *b = args[1].fb;                                         \
		__typeof__(*out->fo) *restrict o = out->fo;                                            \
		const uint32_t am = args[0].constant ? 0 : UINT32_MAX;                                 \
		const uint32_t bm = args[1].constant ? 0 : UINT32_MAX;                                 \
		bool bad = false;                                                                      \
                                                                                                       \
		if (!sel && am && bm) {                                                                \
			for (uint32_t r = 0; r < n; r++)                                               \
				bad |= STEP(a[r], b[r], &o[r]);                                        \
		} else if (!sel && am) {                                                               \
			const __typeof__(*b) k = b[0];                                                 \
                                                                                                       \
			for (uint32_t r = 0; r < n; r++)                                               \
				bad |= STEP(a[r], k, &o[r]);                                           \
		} else {                                                                               \
			for (uint32_t i = 0; i < n; i++) {                                             \
				uint32_t r = sel ? sel[i] : i;                                         \
                                                                                                       \
				bad |= STEP(a[r & am], b[r & bm], &o[r]);                              \
			}                                                                              \
		}                                                                                      \
		if (__builtin_expect(bad, false))                                                      \
			EACH_ROW(r)                                                                    \
				if (STEP(a[r & am], b[r & bm], &o[r]))                                 \
					return FAIL(a[r & am], b[r & bm]);                             \
		return ST_OK;                                                                          \
	}

#define UNARY(name, fa, fo, STEP, FAIL)                                                                \
	KERNEL(name)                                                                                   \
	{                                                                                              \
		const __typeof__(*args[0].fa) *a = args[0].fa;                                         \
		__typeof__(*out->fo) *restrict o = out->fo;                                            \
		const uint32_t am = args[0].constant ? 0 : UINT32_MAX;                                 \
		bool bad = false;                                                                      \
                                                                                                       \
		for (uint32_t i = 0; i < n; i++) {                                                     \
			uint32_t r = sel ? sel[i] : i;                                                 \
                                                                                                       \
			bad |= STEP(a[r & am], &o[r]);                                                 \
		}                                                                                      \
		if (__builtin_expect(bad, false))                                                      \
			EACH_ROW(r)                                                                    \
				if (STEP(a[r & am], &o[r]))                                            \
					return FAIL(a[r & am], 0);                                     \
		return ST_OK;                                                                          \
	}

/* -- integers ---------------------------------------------------------------------------------------------------------- */

/*
 * Integers of up to 32 bits are computed in 64 and cut: the comparison with the cut value vectorises where the
 * compiler's overflow builtins do not.
 */
#define NARROW_STEPS(fo, T)                                                                            \
	static inline bool fo##_add_step(int64_t x, int64_t y, T *o) { int64_t v = x + y; *o = (T)v; return *o != v; } \
	static inline bool fo##_sub_step(int64_t x, int64_t y, T *o) { int64_t v = x - y; *o = (T)v; return *o != v; } \
	static inline bool fo##_mul_step(int64_t x, int64_t y, T *o) { int64_t v = x * y; *o = (T)v; return *o != v; }
NARROW_STEPS(i16, int16_t)
NARROW_STEPS(i32, int32_t)
static inline bool i64_add_step(int64_t x, int64_t y, int64_t *o) { return __builtin_add_overflow(x, y, o); }
static inline bool i64_sub_step(int64_t x, int64_t y, int64_t *o) { return __builtin_sub_overflow(x, y, o); }
static inline bool i64_mul_step(int64_t x, int64_t y, int64_t *o) { return __builtin_mul_overflow(x, y, o); }

#define INT_STEPS(fo, T, MIN)                                                                          \
	static inline bool fo##_div_step(T x, T y, T *o)                                               \
	{                                                                                              \
		*o = 0;                                                                                \
		if (y == 0 || (y == -1 && x == MIN))                                                   \
			return true;                                                                   \
		*o = (T)(x / y);                                                                       \
		return false;                                                                          \
	}                                                                                              \
	static inline bool fo##_mod_step(T x, T y, T *o)                                               \
	{                                                                                              \
		*o = 0;                                                                                \
		if (y == 0)                                                                            \
			return true;                                                                   \
		if (y != -1)                                                                           \
			*o = (T)(x % y);                                                               \
		return false;                                                                          \
	}                                                                                              \
	static inline bool fo##_neg_step(T x, T *o) { return __builtin_sub_overflow((T)0, x, o); }     \
	static inline bool fo##_abs_step(T x, T *o)                                                    \
	{                                                                                              \
		*o = x;                                                                                \
		return x < 0 && __builtin_sub_overflow((T)0, x, o);                                    \
	}                                                                                              \
	static inline bool fo##_and_step(T x, T y, T *o) { *o = (T)(x & y); return false; }            \
	static inline bool fo##_or_step(T x, T y, T *o) { *o = (T)(x | y); return false; }             \
	static inline bool fo##_xor_step(T x, T y, T *o) { *o = (T)(x ^ y); return false; }            \
	static inline bool fo##_not_step(T x, T *o) { *o = (T)~x; return false; }
INT_STEPS(i16, int16_t, INT16_MIN)
INT_STEPS(i32, int32_t, INT32_MIN)
INT_STEPS(i64, int64_t, INT64_MIN)

/* shifts: the count is taken modulo the width, as the processor does under PostgreSQL; int2 is shifted as int4 */
static inline bool i16_shl_step(int16_t x, int32_t y, int16_t *o) { *o = (int16_t)((uint32_t)x << (y & 31)); return false; }
static inline bool i16_shr_step(int16_t x, int32_t y, int16_t *o) { *o = (int16_t)(x >> (y & 31)); return false; }
static inline bool i32_shl_step(int32_t x, int32_t y, int32_t *o) { *o = (int32_t)((uint32_t)x << (y & 31)); return false; }
static inline bool i32_shr_step(int32_t x, int32_t y, int32_t *o) { *o = x >> (y & 31); return false; }
static inline bool i64_shl_step(int64_t x, int32_t y, int64_t *o) { *o = (int64_t)((uint64_t)x << (y & 63)); return false; }
static inline bool i64_shr_step(int64_t x, int32_t y, int64_t *o) { *o = x >> (y & 63); return false; }

#define RANGE_I16(x, y) out_of_range(ev, "smallint")
#define RANGE_I32(x, y) out_of_range(ev, "integer")
#define RANGE_I64(x, y) out_of_range(ev, "bigint")
#define DIV_I16(x, y) ((y) == 0 ? by_zero(ev) : out_of_range(ev, "smallint"))
#define DIV_I32(x, y) ((y) == 0 ? by_zero(ev) : out_of_range(ev, "integer"))
#define DIV_I64(x, y) ((y) == 0 ? by_zero(ev) : out_of_range(ev, "bigint"))

#define INT_KERNELS(c, C)                                     \
	BINARY(c##_add, c, c, c, c##_add_step, RANGE_##C)     \
	BINARY(c##_sub, c, c, c, c##_sub_step, RANGE_##C)     \
	BINARY(c##_mul, c, c, c, c##_mul_step, RANGE_##C)     \
	BINARY(c##_div, c, c, c, c##_div_step, DIV_##C)       \
	BINARY(c##_mod, c, c, c, c##_mod_step, DIV_##C)       \
	UNARY(c##_neg, c, c, c##_neg_step, RANGE_##C)         \
	UNARY(c##_abs, c, c, c##_abs_step, RANGE_##C)         \
	BINARY(c##_and, c, c, c, c##_and_step, RANGE_##C)     \
	BINARY(c##_or, c, c, c, c##_or_step, RANGE_##C)       \
	BINARY(c##_xor, c, c, c, c##_xor_step, RANGE_##C)     \
	UNARY(c##_not, c, c, c##_not_step, RANGE_##C)         \
	BINARY(c##_shl, c, i32, c, c##_shl_step, RANGE_##C)   \
	BINARY(c##_shr, c, i32, c, c##_shr_step, RANGE_##C)
INT_KERNELS(i16, I16)
INT_KERNELS(i32, I32)
INT_KERNELS(i64, I64)
#define MIXED_KERNELS(ca, cb, co, C)                              \
	BINARY(ca##_##cb##_add, ca, cb, co, co##_add_step, RANGE_##C) \
	BINARY(ca##_##cb##_sub, ca, cb, co, co##_sub_step, RANGE_##C) \
	BINARY(ca##_##cb##_mul, ca, cb, co, co##_mul_step, RANGE_##C) \
	BINARY(ca##_##cb##_div, ca, cb, co, co##_div_step, DIV_##C)
MIXED_KERNELS(i16, i32, i32, I32)
MIXED_KERNELS(i32, i16, i32, I32)
MIXED_KERNELS(i16, i64, i64, I64)
MIXED_KERNELS(i64, i16, i64, I64)
MIXED_KERNELS(i32, i64, i64, I64)
MIXED_KERNELS(i64, i32, i64, I64)

static inline uint64_t gcd_u64(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t t = a % b;

		a = b;
		b = t;
	}
	return a;
}

static inline uint64_t magnitude(int64_t x)
{
	return x < 0 ? -(uint64_t)x : (uint64_t)x;
}

#define GCD_STEPS(c, T)                                                                                \
	static inline bool c##_gcd_step(T x, T y, T *o)                                                \
	{                                                                                              \
		uint64_t g = gcd_u64(magnitude(x), magnitude(y));                                      \
                                                                                                       \
		*o = (T)g;                                                                             \
		return *o < 0;                                                                         \
	}                                                                                              \
	static inline bool c##_lcm_step(T x, T y, T *o)                                                \
	{                                                                                              \
		uint64_t g = gcd_u64(magnitude(x), magnitude(y)), l;                                   \
                                                                                                       \
		*o = 0;                                                                                \
		if (g == 0)                                                                            \
			return false;                                                                  \
		if (__builtin_mul_overflow(magnitude(x) / g, magnitude(y), &l))                        \
			return true;                                                                   \
		*o = (T)l;                                                                             \
		return *o < 0 || (uint64_t)*o != l;                                                    \
	}
GCD_STEPS(i32, int32_t)
GCD_STEPS(i64, int64_t)
BINARY(i32_gcd, i32, i32, i32, i32_gcd_step, RANGE_I32)
BINARY(i64_gcd, i64, i64, i64, i64_gcd_step, RANGE_I64)
BINARY(i32_lcm, i32, i32, i32, i32_lcm_step, RANGE_I32)
BINARY(i64_lcm, i64, i64, i64, i64_lcm_step, RANGE_I64)

/* -- floats: a result that is infinite, or zero, where no argument was, is an error ------------------------------------------- */

static enum status float_range(struct eval *ev, double x, double y, double v)
{
	(void)x;
	(void)y;
	return error_set(ev->err, ST_NUMERIC_RANGE, "value out of range: %s", isinf(v) ? "overflow" : "underflow");
}

#define ROUND_F64(v) (v)
#define ROUND_F32(v) ((double)(float)(v))
#define FLOAT_STEPS(c, R)                                                                              \
	static inline bool c##_add_step(double x, double y, double *o) { *o = R(x + y); return isinf(*o) & !isinf(x) & !isinf(y); } \
	static inline bool c##_sub_step(double x, double y, double *o) { *o = R(x - y); return isinf(*o) & !isinf(x) & !isinf(y); } \
	static inline bool c##_mul_step(double x, double y, double *o)                                 \
	{                                                                                              \
		*o = R(x * y);                                                                         \
		return (isinf(*o) & !isinf(x) & !isinf(y)) | ((*o == 0) & (x != 0) & (y != 0));        \
	}                                                                                              \
	static inline bool c##_div_step(double x, double y, double *o)                                 \
	{                                                                                              \
		*o = y == 0 ? 0 : R(x / y);                                                            \
		return ((y == 0) & (x == x)) | (isinf(*o) & !isinf(x)) | ((*o == 0) & (x != 0) & !isinf(y)); \
	}
FLOAT_STEPS(f64, ROUND_F64)
FLOAT_STEPS(f32, ROUND_F32)
#define RANGE_ADD(x, y) float_range(ev, x, y, INFINITY)
#define RANGE_MUL(x, y) float_range(ev, x, y, fabs(x) > 1 && fabs(y) > 1 ? (double)INFINITY : 0.0)
#define RANGE_DIV(x, y) ((y) == 0 ? by_zero(ev) : float_range(ev, x, y, fabs(y) < 1 ? (double)INFINITY : 0.0))
#define FLOAT_KERNELS(c)                                          \
	BINARY(c##_add, f64, f64, f64, c##_add_step, RANGE_ADD)   \
	BINARY(c##_sub, f64, f64, f64, c##_sub_step, RANGE_ADD)   \
	BINARY(c##_mul, f64, f64, f64, c##_mul_step, RANGE_MUL)   \
	BINARY(c##_div, f64, f64, f64, c##_div_step, RANGE_DIV)
FLOAT_KERNELS(f64)
FLOAT_KERNELS(f32)

#define NO_FAIL(x, y) ST_OK
static inline bool f64_neg_step(double x, double *o) { *o = -x; return false; }
static inline bool f64_abs_step(double x, double *o) { *o = fabs(x); return false; }
UNARY(f64_neg, f64, f64, f64_neg_step, NO_FAIL)
UNARY(f64_abs, f64, f64, f64_abs_step, NO_FAIL)

/* -- casts ---------------------------------------------------------------------------------------------------------------- */

static inline bool widen_i32(int64_t x, int32_t *o) { *o = (int32_t)x; return *o != x; }
static inline bool widen_i16(int64_t x, int16_t *o) { *o = (int16_t)x; return *o != x; }
static inline bool widen_i64(int64_t x, int64_t *o) { *o = x; return false; }
static inline bool to_oid32(int32_t x, int64_t *o) { *o = (int64_t)(uint32_t)x; return false; }
static inline bool to_oid64(int64_t x, int64_t *o) { *o = x; return x < 0 || x > UINT32_MAX; }
static inline bool oid_to_int(int64_t x, int32_t *o) { *o = (int32_t)(uint32_t)x; return false; }
#define RANGE_OID(x, y) error_set(ev->err, ST_NUMERIC_RANGE, "OID out of range")
UNARY(i16_to_i32, i16, i32, widen_i32, NO_FAIL)
UNARY(i16_to_i64, i16, i64, widen_i64, NO_FAIL)
UNARY(i32_to_i64, i32, i64, widen_i64, NO_FAIL)
UNARY(i32_to_i16, i32, i16, widen_i16, RANGE_I16)
UNARY(i64_to_i16, i64, i16, widen_i16, RANGE_I16)
UNARY(i64_to_i32, i64, i32, widen_i32, RANGE_I32)
UNARY(i16_to_oid, i16, i64, to_oid32, NO_FAIL)
UNARY(i32_to_oid, i32, i64, to_oid32, NO_FAIL)
UNARY(i64_to_oid, i64, i64, to_oid64, RANGE_OID)
UNARY(oid_to_i32, i64, i32, oid_to_int, NO_FAIL)

static inline bool int_to_f64(int64_t x, double *o) { *o = (double)x; return false; }
static inline bool int_to_f32(int64_t x, double *o) { *o = (double)(float)x; return false; }
UNARY(i16_to_f64, i16, f64, int_to_f64, NO_FAIL)
UNARY(i32_to_f64, i32, f64, int_to_f64, NO_FAIL)
UNARY(i64_to_f64, i64, f64, int_to_f64, NO_FAIL)
UNARY(i32_to_f32, i32, f64, int_to_f32, NO_FAIL)
UNARY(i64_to_f32, i64, f64, int_to_f32, NO_FAIL)

/* rounds half to even, as the processor does; NaN fails both comparisons */
#define FLOAT_TO_INT(c, T, LIMIT)                                                                      \
	static inline bool f64_to_##c##_step(double x, T *o)                                           \
	{                                                                                              \
		x = rint(x);                                                                           \
		*o = 0;                                                                                \
		if (!(x >= -LIMIT && x < LIMIT))                                                       \
			return true;                                                                   \
		*o = (T)x;                                                                             \
		return false;                                                                          \
	}
FLOAT_TO_INT(i16, int16_t, 32768.0)
FLOAT_TO_INT(i32, int32_t, 2147483648.0)
FLOAT_TO_INT(i64, int64_t, 9223372036854775808.0)
UNARY(f64_to_i16, f64, i16, f64_to_i16_step, RANGE_I16)
UNARY(f64_to_i32, f64, i32, f64_to_i32_step, RANGE_I32)
UNARY(f64_to_i64, f64, i64, f64_to_i64_step, RANGE_I64)
static inline bool f64_to_f32_step(double x, double *o)
{
	*o = (double)(float)x;
	return (isinf(*o) & !isinf(x)) | ((*o == 0) & (x != 0));
}
#define RANGE_F32(x, y) float_range(ev, x, 0, fabs(x) > 1 ? (double)INFINITY : 0.0)
UNARY(f64_to_f32, f64, f64, f64_to_f32_step, RANGE_F32)

static inline bool bool_to_int(uint8_t x, int32_t *o) { *o = x; return false; }
static inline bool int_to_bool(int32_t x, uint8_t *o) { *o = x != 0; return false; }
UNARY(bool_to_i32, b, i32, bool_to_int, NO_FAIL)
UNARY(i32_to_bool, i32, b, int_to_bool, NO_FAIL)
