/*
 * num.h - numeric: decimal numbers of any length, as PostgreSQL computes them (engine/sql, S14).
 *
 * Value = sign * sum(digits[i] * 10000^(weight - i)), shown with dscale digits after the point. Digits have no
 * leading and no trailing zeros; zero has no digits and weight 0. As a value: struct num_head, then the digits, all
 * little-endian and unaligned. Equal numbers may differ in dscale (1.0 and 1.00), nothing else.
 */
#ifndef VALENCE_ENGINE_SQL_NUM_H
#define VALENCE_ENGINE_SQL_NUM_H

#include "engine/sql/types.h"

#define NUM_BASE 10000
#define NUM_DSCALE_MAX 16383
#define NUM_WEIGHT_MAX 32767
#define NUM_PRECISION_MAX 1000
#define NUM_DIGITS_INLINE 24

enum num_kind { NUM_POS, NUM_NEG, NUM_NAN, NUM_PINF, NUM_NINF };

typedef int16_t num_digit __attribute__((aligned(1), may_alias)); /* also inside values, at any address */
struct num_head { int16_t weight; uint16_t dscale; uint8_t kind, pad; uint16_t digit_count; };
struct num {
	int32_t weight, dscale, digit_count;
	uint8_t kind;
	const num_digit *digits;               /* own, lent from a value, or in an arena; copy with num_assign */
	num_digit own[NUM_DIGITS_INLINE];
};

/* Lends from p. Results r of all functions below must not be one of the arguments. */
void num_load(struct num *n, const uint8_t *p, size_t bytes);
void num_assign(struct num *r, const struct num *a);
void num_store(const struct num *n, struct arena *arena, struct cell *out);
enum status num_check(const struct num *n, struct error *err); /* 22003 when too large for a value */

void num_zero(struct num *n);
void num_from_i64(struct num *n, int64_t v);
void num_from_i128(struct num *n, i128 v, int scale);    /* v / 10^scale */
bool num_to_i128(const struct num *n, int scale, i128 *out); /* rounded to scale; false: does not fit */
enum status num_parse(struct num *n, const char *s, size_t bytes, struct arena *arena, struct error *err);
void num_text(const struct num *n, struct buf *out);
void num_text_scale(const struct num *n, int scale, struct buf *out); /* of a value already rounded to scale */
void num_from_f64(struct num *n, double d, int digits, struct arena *arena); /* as PostgreSQL: 15 digits (6 float4) */
double num_to_f64(const struct num *n);
enum status num_to_int(const struct num *n, int64_t min, int64_t max, const char *type_name, int64_t *out,
		       struct error *err);

int num_compare(const struct num *a, const struct num *b); /* NaN is the largest */
uint64_t num_hash(const struct num *n);
void num_neg(struct num *n);
void num_add(const struct num *a, const struct num *b, struct num *r, struct arena *arena);
void num_sub(const struct num *a, const struct num *b, struct num *r, struct arena *arena);
void num_mul(const struct num *a, const struct num *b, struct num *r, struct arena *arena);
enum status num_div(const struct num *a, const struct num *b, struct num *r, struct arena *arena, struct error *err);
/* quotient to rscale digits after the point, rounded or cut; b is not zero */
void num_div_scale(const struct num *a, const struct num *b, int rscale, bool round, struct num *r,
		   struct arena *arena);
enum status num_mod(const struct num *a, const struct num *b, struct num *r, struct arena *arena, struct error *err);
enum status num_div_trunc(const struct num *a, const struct num *b, struct num *r, struct arena *arena,
			  struct error *err); /* div(a, b) */
void num_round(struct num *n, int scale, struct arena *arena); /* half away from zero; scale may be negative */
void num_trunc(struct num *n, int scale, struct arena *arena);
void num_ceil(struct num *n, struct arena *arena);
void num_floor(struct num *n, struct arena *arena);
enum status num_fit(struct num *n, int32_t typmod, struct arena *arena, struct error *err); /* numeric(p,s): 22003 */
enum status num_sqrt(const struct num *a, struct num *r, struct arena *arena, struct error *err);
void num_sqrt_scale(const struct num *a, int scale, struct num *r, struct arena *arena); /* a > 0 */
enum status num_power(const struct num *a, const struct num *b, struct num *r, struct arena *arena,
		      struct error *err);
enum status num_exp(const struct num *a, struct num *r, struct arena *arena, struct error *err);
enum status num_ln(const struct num *a, struct num *r, struct arena *arena, struct error *err);
/* log of a in base b */
enum status num_log(const struct num *b, const struct num *a, struct num *r, struct arena *arena, struct error *err);

static inline bool num_special(const struct num *n) { return n->kind >= NUM_NAN; }
static inline int num_sign(const struct num *n) /* NaN counts as positive */
{
	if (n->kind == NUM_NINF)
		return -1;
	if (num_special(n))
		return 1;
	return n->digit_count == 0 ? 0 : n->kind == NUM_NEG ? -1 : 1;
}
static inline bool num_typmod_valid(int32_t typmod) { return typmod >= 4; }
static inline int num_typmod_precision(int32_t typmod) { return (typmod - 4) >> 16 & 0xffff; }
static inline int num_typmod_scale(int32_t typmod) { return (((typmod - 4) & 0x7ff) ^ 1024) - 1024; }

/*
 * Sums of many numbers without allocating for each: signed 64-bit counters by decimal-10,000 position.
 * Zero-initialised is empty. Memory from the arena of the first add.
 */
struct num_sum {
	int64_t *at;          /* counters of weights low..low+count-1 */
	int32_t low, count, dscale;
	uint32_t nans, pinfs, ninfs;
	uint64_t adds;
};
void num_sum_add(struct num_sum *s, const struct num *n, struct arena *arena);
void num_sum_get(const struct num_sum *s, struct num *out, struct arena *arena);

#endif
