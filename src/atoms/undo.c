/*
 * undo.c - the undo ring of a store and the version index of a frame (atoms).
 */
#include "atoms/undo.h"

#include <string.h>

#include "base/assert.h"
#include "base/poison.h"

#define CHUNK_MASK (UNDO_CHUNK_BYTES - 1)
#define VINDEX_MIN 32u

void undo_ring_init(struct undo_ring *r, struct mem *mem)
{
	memset(r, 0, sizeof *r);
	r->mem = mem;
	r->next = 1; /* position 0 means none */
	r->tail = r->head = UNDO_CHUNK_BYTES;
}

static struct undo_chunk *chunk_of(const struct undo_ring *r, uint64_t number)
{
	return &r->chunks[number & (r->cap - 1)];
}

static void chunk_free(struct undo_ring *r, struct undo_chunk *c)
{
	if (c->bytes == UNDO_CHUNK_BYTES && r->spare_count < UNDO_SPARE_MAX)
		r->spare[r->spare_count++] = c->base;
	else
		mem_free(r->mem, c->base, c->bytes);
	memset(c, 0, sizeof *c);
}

void undo_ring_fini(struct undo_ring *r)
{
	for (uint64_t i = 0; i < r->cap; i++)
		if (r->chunks[i].bytes)
			mem_free(r->mem, r->chunks[i].base, r->chunks[i].bytes);
	for (uint32_t i = 0; i < r->spare_count; i++)
		mem_free(r->mem, r->spare[i], UNDO_CHUNK_BYTES);
	mem_free(r->mem, r->chunks, r->cap * sizeof *r->chunks);
	memset(r, 0, sizeof *r);
}

/* Makes the directory span chunk numbers up to @end (excluded). */
static void directory_grow(struct undo_ring *r, uint64_t end)
{
	uint64_t first = r->tail >> UNDO_CHUNK_SHIFT, cap = r->cap ? r->cap : 16;
	struct undo_chunk *chunks;

	while (end - first > cap)
		cap *= 2;
	if (cap == r->cap)
		return;
	chunks = mem_alloc(r->mem, cap * sizeof *chunks);
	for (uint64_t n = first; n < r->next && r->cap; n++)
		chunks[n & (cap - 1)] = *chunk_of(r, n);
	mem_free(r->mem, r->chunks, r->cap * sizeof *r->chunks);
	r->chunks = chunks;
	r->cap = cap;
}

static void chunk_open(struct undo_ring *r, uint64_t entry_bytes)
{
	uint64_t bytes = (entry_bytes + CHUNK_MASK) & ~CHUNK_MASK, start = r->next << UNDO_CHUNK_SHIFT;
	struct undo_chunk *c;

	if (r->tail == r->head) { /* nothing is kept: neither is the chunk before */
		if (r->open)
			chunk_free(r, chunk_of(r, r->open));
		r->tail = start;
	}
	directory_grow(r, r->next + (bytes >> UNDO_CHUNK_SHIFT));
	c = chunk_of(r, r->next);
	if (bytes == UNDO_CHUNK_BYTES && r->spare_count)
		c->base = r->spare[--r->spare_count];
	else
		c->base = mem_alloc(r->mem, bytes);
	POISON(c->base, bytes);
	c->bytes = bytes;
	c->fill = 0;
	c->max_index = 0;
	r->open = r->next;
	r->next += bytes >> UNDO_CHUNK_SHIFT;
	r->head = start;
}

struct undo *undo_ring_push(struct undo_ring *r, seq_index index, uint32_t bytes, uint64_t *pos_out)
{
	uint64_t need = undo_bytes(bytes);
	struct undo_chunk *c = r->open ? chunk_of(r, r->open) : NULL;
	struct undo *u;

	/* An entry starts within the first UNDO_CHUNK_BYTES of its chunk, so a large chunk takes one only */
	if (!c || c->bytes > UNDO_CHUNK_BYTES || c->fill + need > c->bytes) {
		chunk_open(r, need);
		c = chunk_of(r, r->open);
	}
	*pos_out = r->head;
	u = (struct undo *)(c->base + c->fill);
	UNPOISON(u, sizeof *u + bytes);
	c->fill += need;
	r->head += need;
	if (index > c->max_index)
		c->max_index = index;
	u->index = index;
	u->bytes = bytes;
	u->pad = 0;
	return u;
}

/* Moves the tail to @bytes after the start of its chunk @number, and on to the next chunk at its end. */
static void tail_move(struct undo_ring *r, uint64_t number, uint64_t bytes)
{
	struct undo_chunk *c = chunk_of(r, number);

	POISON(c->base, bytes);
	if (bytes < c->fill || number == r->open) {
		r->tail = (number << UNDO_CHUNK_SHIFT) + bytes;
		return;
	}
	r->tail = (number + (c->bytes >> UNDO_CHUNK_SHIFT)) << UNDO_CHUNK_SHIFT;
	chunk_free(r, c);
}

void undo_ring_trim(struct undo_ring *r, seq_index horizon)
{
	while (r->tail < r->head) {
		uint64_t number = r->tail >> UNDO_CHUNK_SHIFT;
		const struct undo_chunk *c = chunk_of(r, number);

		if (c->max_index <= horizon) {
			tail_move(r, number, c->fill);
			continue;
		}
		if (undo_at(r, r->tail)->index > horizon)
			return;
		undo_ring_pop(r);
	}
}

struct undo *undo_ring_oldest(struct undo_ring *r)
{
	return r->tail < r->head ? undo_at(r, r->tail) : NULL;
}

void undo_ring_pop(struct undo_ring *r)
{
	ASSERT_OP(r->tail, <, r->head);
	tail_move(r, r->tail >> UNDO_CHUNK_SHIFT,
		  (r->tail & CHUNK_MASK) + undo_bytes(undo_at(r, r->tail)->bytes));
}

/* -- version index ------------------------------------------------------------------------------ */

static uint32_t vindex_home(const struct vindex *v, uint64_t key)
{
	uint64_t h = key * UINT64_C(0x9e3779b97f4a7c15); /* row ids are dense: spread them */

	return (uint32_t)(h >> 32) & (v->cap - 1);
}

void vindex_fini(struct vindex *v, struct mem *mem)
{
	mem_free(mem, v->slots, v->cap * sizeof *v->slots);
	memset(v, 0, sizeof *v);
}

uint64_t vindex_find(const struct vindex *v, const struct undo_ring *r, uint64_t key)
{
	if (!v->cap)
		return 0;
	for (uint32_t i = vindex_home(v, key); v->slots[i].pos; i = (i + 1) & (v->cap - 1))
		if (v->slots[i].key == key)
			return undo_live(r, v->slots[i].pos) ? v->slots[i].pos : 0;
	return 0;
}

/* Drops stale slots, and sizes the table for twice what is left. */
static void vindex_rebuild(struct vindex *v, struct mem *mem, const struct undo_ring *r)
{
	struct vindex old = *v;
	uint32_t live = 0;

	for (uint32_t i = 0; i < old.cap; i++)
		live += old.slots[i].pos && undo_live(r, old.slots[i].pos);
	v->cap = VINDEX_MIN;
	while (v->cap < live * 3)
		v->cap *= 2;
	v->used = live;
	v->slots = mem_alloc(mem, v->cap * sizeof *v->slots);
	for (uint32_t i = 0; i < old.cap; i++) {
		uint32_t at;

		if (!old.slots[i].pos || !undo_live(r, old.slots[i].pos))
			continue;
		at = vindex_home(v, old.slots[i].key);
		while (v->slots[at].pos)
			at = (at + 1) & (v->cap - 1);
		v->slots[at] = old.slots[i];
	}
	mem_free(mem, old.slots, old.cap * sizeof *old.slots);
}

uint64_t vindex_set(struct vindex *v, struct mem *mem, const struct undo_ring *r, uint64_t key, uint64_t pos)
{
	struct vindex_slot *reuse = NULL, *s;
	uint64_t before = 0;

	if (v->used * 4 >= v->cap * 3)
		vindex_rebuild(v, mem, r);
	for (uint32_t i = vindex_home(v, key);; i = (i + 1) & (v->cap - 1)) {
		s = &v->slots[i];
		if (!s->pos || s->key == key)
			break;
		if (!reuse && !undo_live(r, s->pos))
			reuse = s;
	}
	if (s->pos) {
		before = undo_live(r, s->pos) ? s->pos : 0;
	} else if (reuse) {
		s = reuse;
	} else {
		v->used++;
	}
	s->key = key;
	s->pos = pos;
	return before;
}
