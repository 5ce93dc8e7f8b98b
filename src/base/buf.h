/*
 * buf.h - growable byte buffers, and readers that never run past their end (base).
 *
 * put_*: little-endian. be_*: big-endian, for the PostgreSQL protocol. A reader that is asked for more
 * than it has sets bad, returns zeros and stays bad: check once at the end with reader_ok().
 */
#ifndef VALENCE_BASE_BUF_H
#define VALENCE_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/poison.h"

struct buf {
	struct mem *mem;
	uint8_t *data;
	size_t size, cap; /* bytes */
};

void buf_init(struct buf *b, struct mem *mem);
void buf_fini(struct buf *b);
static inline void buf_reset(struct buf *b)
{
	b->size = 0;
	POISON(b->data, b->cap);
}
/* Room for more_bytes behind the end, for who writes there first and counts afterwards. */
void buf_reserve(struct buf *b, size_t more_bytes);
uint8_t *buf_append(struct buf *b, size_t bytes); /* room for bytes, counted; not zeroed; valid until the next append */
void buf_put(struct buf *b, const void *p, size_t bytes);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_consume(struct buf *b, size_t bytes); /* drops from the front */
void buf_truncate(struct buf *b, size_t bytes);

static inline void put_u8(struct buf *b, uint8_t v) { *buf_append(b, 1) = v; }
static inline void put_u16(struct buf *b, uint16_t v) { memcpy(buf_append(b, 2), &v, 2); }
static inline void put_u32(struct buf *b, uint32_t v) { memcpy(buf_append(b, 4), &v, 4); }
static inline void put_u64(struct buf *b, uint64_t v) { memcpy(buf_append(b, 8), &v, 8); }
void put_varint(struct buf *b, uint64_t v);                       /* LEB128, at most 10 bytes */
void put_bytes(struct buf *b, const void *p, size_t bytes);       /* varint length, then the bytes */
static inline void put_str(struct buf *b, const char *s) { put_bytes(b, s, strlen(s)); }
static inline void be_put_u16(struct buf *b, uint16_t v) { v = __builtin_bswap16(v); memcpy(buf_append(b, 2), &v, 2); }
static inline void be_put_u32(struct buf *b, uint32_t v) { v = __builtin_bswap32(v); memcpy(buf_append(b, 4), &v, 4); }
static inline void be_put_u64(struct buf *b, uint64_t v) { v = __builtin_bswap64(v); memcpy(buf_append(b, 8), &v, 8); }

struct reader {
	const uint8_t *p, *end;
	bool bad;
};

static inline struct reader reader_init(const void *p, size_t bytes)
{
	struct reader r = {(const uint8_t *)p, (const uint8_t *)p + bytes, false};
	return r;
}
static inline size_t reader_left(const struct reader *r) { return (size_t)(r->end - r->p); }
static inline bool reader_ok(const struct reader *r) { return !r->bad; }
/* bytes at the front, or NULL (and bad) when there are fewer */
static inline const uint8_t *get_raw(struct reader *r, size_t bytes)
{
	const uint8_t *p = r->p;

	if (r->bad || bytes > reader_left(r)) {
		r->bad = true;
		return NULL;
	}
	r->p += bytes;
	return p;
}
#define READER_GET(name, type, conv)                                   \
	static inline type name(struct reader *r)                      \
	{                                                              \
		type v = 0;                                            \
		const uint8_t *p = get_raw(r, sizeof v);               \
		if (p)                                                 \
			memcpy(&v, p, sizeof v);                       \
		return conv(v);                                        \
	}
READER_GET(get_u8, uint8_t, )
READER_GET(get_u16, uint16_t, )
READER_GET(get_u32, uint32_t, )
READER_GET(get_u64, uint64_t, )
READER_GET(be_get_u16, uint16_t, __builtin_bswap16)
READER_GET(be_get_u32, uint32_t, __builtin_bswap32)
READER_GET(be_get_u64, uint64_t, __builtin_bswap64)
uint64_t get_varint(struct reader *r);
const uint8_t *get_bytes(struct reader *r, size_t *bytes_out); /* lends into the source; NULL and 0 when bad */
/* NUL-terminated string at the front, lent; NULL (and bad) when unterminated */
const char *get_cstr(struct reader *r);

#endif
