/*
 * vec.h - column vectors: how values leave an atom and flow through the executor (atoms).
 *
 * A vector is up to VEC_ROWS values of one physical class. Fixed classes are plain arrays; variable
 * ones are arrays of slices that point into an image, an undo entry or an arena. Pointers into images are
 * valid until the end of the event-loop turn only (S15). Nulls: one bit a row, set = null; NULL pointer =
 * none is null. The value under a null bit is unspecified but initialised.
 */
#ifndef VALENCE_ATOMS_VEC_H
#define VALENCE_ATOMS_VEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VEC_ROWS 1024
#define VEC_WORDS (VEC_ROWS / 64)

enum phys { /* physical classes; the numbers are in images and records: never change them */
	PHYS_NONE = 0,
	PHYS_BOOL = 1, /* one byte, 0 or 1 */
	PHYS_I16 = 2,
	PHYS_I32 = 3,
	PHYS_I64 = 4,
	PHYS_F64 = 5,
	PHYS_I128 = 6,
	PHYS_VAR = 7,
	PHYS_COUNT
};

typedef __int128 i128;

struct slice { const uint8_t *p; uint32_t bytes, pad; };

static inline uint32_t phys_bytes(enum phys ph) /* of one value in a vector or an image's column (slice/var_ref: 16/8) */
{
	static const uint8_t bytes[PHYS_COUNT] = {0, 1, 2, 4, 8, 8, 16, 16};

	return bytes[ph];
}

struct vec {
	uint8_t phys;    /* enum phys */
	bool constant;   /* only row 0 is filled and stands for all */
	uint64_t *nulls; /* VEC_WORDS words, or NULL */
	union {
		void *data;
		uint8_t *b;
		int16_t *i16;
		int32_t *i32;
		int64_t *i64;
		double *f64;
		i128 *i128;
		struct slice *var;
	};
};

static inline bool bit_get(const uint64_t *bits, uint32_t i) { return bits[i / 64] >> (i % 64) & 1; }
static inline void bit_set(uint64_t *bits, uint32_t i) { bits[i / 64] |= UINT64_C(1) << (i % 64); }
static inline void bit_clear(uint64_t *bits, uint32_t i) { bits[i / 64] &= ~(UINT64_C(1) << (i % 64)); }
static inline bool vec_null(const struct vec *v, uint32_t row)
{
	return v->nulls && bit_get(v->nulls, v->constant ? 0 : row);
}

/* One value: in operations of records, in row reads, as defaults. var lends. */
struct cell {
	uint16_t attno;  /* 1-based column number; 0 where it does not matter */
	uint8_t phys;
	bool null;
	uint32_t bytes;  /* of var */
	union {
		int64_t i;   /* BOOL, I16, I32, I64 */
		double f;
		i128 x;
		const uint8_t *var;
	};
};

#endif
