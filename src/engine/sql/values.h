/*
 * values.h - encodings of the variable values and small helpers shared by the value files (engine/sql).
 *
 * interval: struct interval, 16 bytes. Arrays: struct array_head, then one byte a value (1: null) when has_nulls, then the
 * elements: fixed classes by their size, variable ones as u32 length and bytes. One dimension only. All of it is
 * little-endian and unaligned: always memcpy.
 */
#ifndef VALENCE_ENGINE_SQL_VALUES_H
#define VALENCE_ENGINE_SQL_VALUES_H

#include "engine/sql/types.h"

#define VALUE_BYTES_MAX (256u << 20) /* of one value; 54000 above */

struct interval { int64_t us; int32_t days, months; };

struct array_head { uint32_t element_oid; int32_t count, lower; uint32_t has_nulls; };
struct array_view {
	struct array_head head;
	const uint8_t *nulls, *at, *end;
	uint8_t phys;
	int32_t next; /* 0-based position of the element that array_next returns */
};

/* Opens an array for reading in order; false: not an array (damaged). The view lends from p. */
bool array_open(struct array_view *v, const uint8_t *p, size_t bytes);
bool array_next(struct array_view *v, struct cell *out); /* false: no more */
void array_build(uint32_t element_oid, const struct cell *cells, uint32_t count, int32_t lower, struct arena *arena,
		 struct cell *out);

static inline struct interval interval_get(const uint8_t *p)
{
	struct interval iv;

	__builtin_memcpy(&iv, p, sizeof iv);
	return iv;
}
void interval_cell(struct interval iv, struct arena *arena, struct cell *out);
i128 interval_span(struct interval iv); /* months of 30 days, in microseconds: the order of intervals */

static inline struct cell cell_int(uint8_t phys, int64_t i)
{
	return (struct cell){.phys = phys, .i = i};
}
static inline struct cell cell_f64(double f)
{
	return (struct cell){.phys = PHYS_F64, .f = f};
}
static inline struct cell cell_var(const void *p, size_t bytes)
{
	return (struct cell){.phys = PHYS_VAR, .bytes = (uint32_t)bytes, .var = (const uint8_t *)p};
}

/* True when arena's account (and its parents) still have room for bytes: asked before large results. */
bool value_room(const struct arena *arena, size_t bytes);

const struct value_settings *value_settings_get(void);

/* Parts of value_in and value_out used by functions as well. */
size_t value_f64_text(double d, int digits_extra, bool single, char out[40]);
/* Whole text is a float as PostgreSQL reads it; type_name for messages. */
enum status value_f64_parse(const char *s, size_t n, bool single, const char *type_name, double *out, struct error *err);
enum status value_int_parse(const char *s, size_t n, int64_t min, int64_t max, const char *type_name, int64_t *out,
			    struct error *err);
void value_bytea_text(const uint8_t *p, size_t n, bool escape, struct buf *out);
enum status value_bytea_parse(const char *s, size_t n, struct arena *arena, struct cell *out, struct error *err);
/* char(n) has its spaces in memory and not in storage: value_to_storage() and vec_from_storage(). */
enum status value_pad(const struct cell *v, int32_t typmod, struct arena *arena, struct cell *out, struct error *err);
/* varchar, bpchar, numeric, timestamp … : value of t's type made to fit t.typmod. explicit: cuts instead of 22001. */
enum status value_fit(struct sql_type t, const struct cell *v, bool explicit_cast, struct arena *arena,
		      struct cell *out, struct error *err);

/* UTF-8 (all text is valid UTF-8; damaged bytes count as one character each). */
static inline uint32_t utf8_len_at(const uint8_t *p, const uint8_t *end)
{
	uint32_t n = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;

	return n <= (size_t)(end - p) ? n : (uint32_t)(end - p);
}
static inline size_t utf8_count(const uint8_t *p, size_t bytes)
{
	size_t n = 0;

	for (size_t i = 0; i < bytes; i++)
		n += (p[i] & 0xc0) != 0x80;
	return n;
}
size_t utf8_offset(const uint8_t *p, size_t bytes, size_t chars); /* bytes of the first chars characters */
uint32_t utf8_decode(const uint8_t *p, uint32_t len);
uint32_t utf8_encode(uint32_t code, uint8_t out[4]); /* bytes; 0: not a character */
bool utf8_valid(const uint8_t *p, size_t bytes);

/* ASCII only, no locale (rule: nothing here depends on the process's locale). */
static inline bool ascii_space(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static inline bool ascii_digit(int c) { return c >= '0' && c <= '9'; }
static inline bool ascii_alpha(int c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static inline int ascii_lower(int c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }
static inline int ascii_upper(int c) { return c >= 'a' && c <= 'z' ? c - 32 : c; }

static inline int bytes_compare(const void *a, size_t an, const void *b, size_t bn)
{
	size_t n = an < bn ? an : bn;
	int c = n ? __builtin_memcmp(a, b, n) : 0;

	return c ? (c < 0 ? -1 : 1) : an < bn ? -1 : an > bn;
}
static inline uint32_t bpchar_bytes(const uint8_t *p, uint32_t n) /* without trailing spaces */
{
	while (n && p[n - 1] == ' ')
		n--;
	return n;
}

#endif
