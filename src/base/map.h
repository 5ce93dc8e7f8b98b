/*
 * map.h - hash maps keyed by u64 pairs or by bytes (base).
 *
 * Open addressing, deterministic: the order of iteration depends on the operations only, never on
 * addresses (still: nothing replicated may depend on it). Values are pointers, not owned.
 */
#ifndef VALENCE_BASE_MAP_H
#define VALENCE_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct map_slot { uint64_t k1, k2; void *value; };
struct map {
	struct mem *mem;
	struct map_slot *slots; /* value NULL and k1 == 1: removed; value NULL and k1 == 0: free */
	size_t count, removed, cap; /* cap a power of two or 0 */
};

void map_init(struct map *m, struct mem *mem);
void map_fini(struct map *m);
void map_clear(struct map *m);
void *map_find2(const struct map *m, uint64_t k1, uint64_t k2); /* NULL: none */
void map_put2(struct map *m, uint64_t k1, uint64_t k2, void *value); /* replaces; value must not be NULL */
void *map_remove2(struct map *m, uint64_t k1, uint64_t k2);  /* the value removed, or NULL */
static inline void *map_find(const struct map *m, uint64_t k) { return map_find2(m, k, 0); }
static inline void map_put(struct map *m, uint64_t k, void *value) { map_put2(m, k, 0, value); }
static inline void *map_remove(struct map *m, uint64_t k) { return map_remove2(m, k, 0); }
/* Iterate: size_t at = 0; while ((slot = map_next(m, &at))) ...; removal of the current slot is allowed. */
struct map_slot *map_next(const struct map *m, size_t *at);

/* Keyed by bytes; keys are copied. */
struct bmap_slot { uint64_t hash; uint8_t *key; uint32_t key_bytes; void *value; };
struct bmap { struct mem *mem; struct bmap_slot *slots; size_t count, removed, cap; };
void bmap_init(struct bmap *m, struct mem *mem);
void bmap_fini(struct bmap *m);
void *bmap_find(const struct bmap *m, const void *key, size_t key_bytes);
void bmap_put(struct bmap *m, const void *key, size_t key_bytes, void *value);
void *bmap_remove(struct bmap *m, const void *key, size_t key_bytes);
struct bmap_slot *bmap_next(const struct bmap *m, size_t *at);

uint64_t hash_u64(uint64_t v);
uint64_t map_hash_bytes(const void *p, size_t bytes); /* stable across versions: used in formats */
/* The short name is inline only: libpg_query exports a function called hash_bytes. */
static inline uint64_t hash_bytes(const void *p, size_t bytes) { return map_hash_bytes(p, bytes); }

#endif
