/*
 * buf.c - growable byte buffers and bounded readers (base).
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "images and messages are little-endian and read in place (rule 5)");

#define BUF_MIN_BYTES 64

void buf_init(struct buf *b, struct mem *mem)
{
	memset(b, 0, sizeof *b);
	b->mem = mem;
}

void buf_fini(struct buf *b)
{
	mem_free(b->mem, b->data, b->cap);
	b->data = NULL;
	b->size = b->cap = 0;
}

/* What is behind the end is poisoned, until it is appended or reserved. */
static void poison_slack(struct buf *b)
{
	POISON(b->data + b->size, b->cap - b->size);
}

static void grow(struct buf *b, size_t more_bytes)
{
	size_t cap = b->cap ? b->cap : BUF_MIN_BYTES;

	if (more_bytes <= b->cap - b->size && b->data)
		return;
	ASSERT_OP(more_bytes, <=, SIZE_MAX / 4 - b->size);
	while (cap - b->size < more_bytes)
		cap *= 2;
	b->data = mem_realloc(b->mem, b->data, b->cap, cap);
	b->cap = cap;
	poison_slack(b);
}

void buf_reserve(struct buf *b, size_t more_bytes)
{
	grow(b, more_bytes);
	UNPOISON(b->data + b->size, b->cap - b->size);
}

uint8_t *buf_append(struct buf *b, size_t bytes)
{
	uint8_t *p;

	grow(b, bytes);
	p = b->data + b->size;
	UNPOISON(p, bytes);
	b->size += bytes;
	return p;
}

void buf_put(struct buf *b, const void *p, size_t bytes)
{
	if (bytes > 0)
		memcpy(buf_append(b, bytes), p, bytes);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	size_t room;
	int n;

	buf_reserve(b, 1);
	room = b->cap - b->size;
	va_start(ap, fmt);
	n = vsnprintf((char *)b->data + b->size, room, fmt, ap);
	va_end(ap);
	ASSERT(n >= 0);
	if ((size_t)n >= room) {
		/* the terminating NUL needs room as well, but is not counted */
		buf_reserve(b, (size_t)n + 1);
		va_start(ap, fmt);
		vsnprintf((char *)b->data + b->size, (size_t)n + 1, fmt, ap);
		va_end(ap);
	}
	b->size += (size_t)n;
	poison_slack(b);
}

void buf_consume(struct buf *b, size_t bytes)
{
	ASSERT_OP(bytes, <=, b->size);
	b->size -= bytes;
	if (b->size > 0 && bytes > 0)
		memmove(b->data, b->data + bytes, b->size);
	poison_slack(b);
}

void buf_truncate(struct buf *b, size_t bytes)
{
	ASSERT_OP(bytes, <=, b->size);
	b->size = bytes;
	poison_slack(b);
}

void put_varint(struct buf *b, uint64_t v)
{
	uint8_t tmp[10];
	size_t n = 0;

	while (v >= 0x80) {
		tmp[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	tmp[n++] = (uint8_t)v;
	memcpy(buf_append(b, n), tmp, n);
}

void put_bytes(struct buf *b, const void *p, size_t bytes)
{
	put_varint(b, bytes);
	buf_put(b, p, bytes);
}

/*
 * Only the shortest form is taken: one value has one encoding, so that what is compared or checksummed
 * as bytes (rule 2) is equal when the values are.
 */
uint64_t get_varint(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		const uint8_t *p = get_raw(r, 1);

		if (!p)
			return 0;
		if ((shift == 63 && *p > 1) || (shift > 0 && *p == 0))
			break;
		v |= (uint64_t)(*p & 0x7f) << shift;
		if (*p < 0x80)
			return v;
	}
	r->bad = true;
	return 0;
}

const uint8_t *get_bytes(struct reader *r, size_t *bytes_out)
{
	uint64_t n = get_varint(r);
	const uint8_t *p = NULL;

	if (!r->bad && n > reader_left(r))
		r->bad = true;
	if (!r->bad)
		p = get_raw(r, (size_t)n);
	*bytes_out = p ? (size_t)n : 0;
	return p;
}

const char *get_cstr(struct reader *r)
{
	const uint8_t *nul;

	if (r->bad)
		return NULL;
	nul = reader_left(r) ? memchr(r->p, 0, reader_left(r)) : NULL;
	if (!nul) {
		r->bad = true;
		return NULL;
	}
	return (const char *)get_raw(r, (size_t)(nul - r->p) + 1);
}
