/*
 * undo.h - the undo ring of a store and the version index of a frame (atoms).
 *
 * The ring is one sequence of entries over all frames (S6). Positions only grow and are never reused; memory is
 * chunks of 256 KiB, larger ones for an entry that needs it. New entries go to the head; the tail moves with
 * the horizon. An entry whose position is below the tail is gone: every link is checked with undo_live() before use.
 *
 * Entries are in order of index within a frame, not over all: a fetched copy catches up behind the others.
 * So the tail waits for the oldest entry that is still needed, and those behind it wait too.
 *
 * The version index of a frame finds the newest entry of a row or key (by its hash) without a walk.
 */
#ifndef VALENCE_ATOMS_UNDO_H
#define VALENCE_ATOMS_UNDO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "atoms/atoms_disk.h"
#include "base/ids.h"
#include "base/mem.h"

#define UNDO_CHUNK_SHIFT 18
#define UNDO_CHUNK_BYTES (UINT64_C(1) << UNDO_CHUNK_SHIFT)
#define UNDO_SPARE_MAX 4

struct undo_chunk {
	uint8_t *base;
	uint64_t bytes;      /* a multiple of UNDO_CHUNK_BYTES; 0: not the start of a chunk */
	uint64_t fill;       /* bytes used by entries */
	seq_index max_index; /* of its entries */
};

struct undo_ring {
	struct mem *mem;
	struct undo_chunk *chunks; /* by position >> UNDO_CHUNK_SHIFT, modulo cap */
	uint64_t cap;              /* a power of two, or 0 */
	uint64_t tail, head;       /* positions: of the oldest entry, of the next one */
	uint64_t open;             /* number of the chunk being filled; 0 none */
	uint64_t next;             /* number of the next chunk */
	uint8_t *spare[UNDO_SPARE_MAX];
	uint32_t spare_count;
};

void undo_ring_init(struct undo_ring *r, struct mem *mem);
void undo_ring_fini(struct undo_ring *r);
/* Room at the head for an entry with @bytes of old values (not zeroed); *pos_out is its position. */
struct undo *undo_ring_push(struct undo_ring *r, seq_index index, uint32_t bytes, uint64_t *pos_out);
/* Frees from the tail on what is at or below @horizon; entries may wait behind a newer one. */
void undo_ring_trim(struct undo_ring *r, seq_index horizon);
/* The oldest entry, or NULL; and frees it. */
struct undo *undo_ring_oldest(struct undo_ring *r);
void undo_ring_pop(struct undo_ring *r);

static inline bool undo_live(const struct undo_ring *r, uint64_t pos) { return pos >= r->tail; }
static inline struct undo *undo_at(const struct undo_ring *r, uint64_t pos)
{
	return (struct undo *)(r->chunks[(pos >> UNDO_CHUNK_SHIFT) & (r->cap - 1)].base +
			       (pos & (UNDO_CHUNK_BYTES - 1)));
}
static inline const uint8_t *undo_values(const struct undo *u) { return (const uint8_t *)(u + 1); }
static inline uint64_t undo_bytes(uint32_t value_bytes)
{
	return (sizeof(struct undo) + (uint64_t)value_bytes + 15) & ~UINT64_C(15);
}

/* Open addressing; pos 0 is free, pos below the ring's tail may be reused. */
struct vindex_slot { uint64_t key, pos; };
struct vindex {
	struct vindex_slot *slots;
	uint32_t cap, used; /* used: slots that are not free, stale ones too */
};
void vindex_fini(struct vindex *v, struct mem *mem);
uint64_t vindex_find(const struct vindex *v, const struct undo_ring *r, uint64_t key); /* 0: none */
/* Sets key's position; returns the one before, 0 none. */
uint64_t vindex_set(struct vindex *v, struct mem *mem, const struct undo_ring *r, uint64_t key, uint64_t pos);

#endif
