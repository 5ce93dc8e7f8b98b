/*
 * slab.h - memory of images (atoms).
 *
 * Slabs reserve 64 MiB of addresses and commit 2 MiB at a time (S18), so that a fabric registers each
 * once. Images are runs of 16 KiB units, first fit. A larger image than a slab gets a slab of its own.
 * Never fails: no memory is the end (apply cannot refuse, S3). Addresses decide nothing.
 */
#ifndef VALENCE_ATOMS_SLAB_H
#define VALENCE_ATOMS_SLAB_H

#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

#define SLAB_BYTES ((size_t)64 << 20)
#define SLAB_UNIT_BYTES ((size_t)16 << 10)
#define SLAB_COMMIT_BYTES ((size_t)2 << 20)

struct slab;
struct slab_pool {
	struct mem *mem;      /* charged for what is handed out */
	VEC(struct slab *) slabs; /* oldest first */
	struct map by_base;   /* address / SLAB_BYTES -> slab */
	size_t used_bytes;
	/* Told before memory of a slab is given back; NULL: nobody. */
	void (*unmapped)(void *ctx, const void *base, size_t bytes);
	void *ctx;
};

void slab_pool_init(struct slab_pool *pool, struct mem *mem);
void slab_pool_fini(struct slab_pool *pool);
void *slab_alloc(struct slab_pool *pool, size_t bytes); /* aligned to a unit; not zeroed; rounds up to units */
void slab_free(struct slab_pool *pool, void *p, size_t bytes);

#endif
