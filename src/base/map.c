/*
 * map.c - hash maps with open addressing and linear probing (base).
 *
 * A removed slot becomes free at once when the next one is free, so that short-lived keys (pending
 * requests, open transactions) leave nothing behind; otherwise it stays as a mark until the next growth.
 * Slots in use and marks together stay below three quarters of the capacity, so every probe ends.
 */
#include "base/map.h"

#include <string.h>

#include "base/assert.h"

#define MAP_MIN_CAP 16

uint64_t hash_u64(uint64_t v)
{
	v += UINT64_C(0x9e3779b97f4a7c15);
	v = (v ^ v >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	v = (v ^ v >> 27) * UINT64_C(0x94d049bb133111eb);
	return v ^ v >> 31;
}

/*
 * Eight bytes a step; each step is one-to-one in the state and in the word, and the last partial word
 * is told from a zero-filled one by the length in the seed. The result is part of formats: the test
 * keeps fixed values, never change it.
 */
uint64_t map_hash_bytes(const void *p, size_t bytes)
{
	const uint8_t *at = p;
	uint64_t h = UINT64_C(0x9ae16a3b2f90404f) ^ (uint64_t)bytes * UINT64_C(0xc2b2ae3d27d4eb4f);

	while (bytes > 0) {
		size_t n = bytes < 8 ? bytes : 8;
		uint64_t w = 0;

		memcpy(&w, at, n);
		w *= UINT64_C(0x9fb21c651e98df25);
		w ^= w >> 32;
		h = (h ^ w) * UINT64_C(0xd6e8feb86659fd93);
		h = h << 29 | h >> 35;
		at += n;
		bytes -= n;
	}
	return hash_u64(h);
}

static size_t cap_for(size_t count)
{
	size_t cap = MAP_MIN_CAP;

	/* at most half full after a rebuild, so that the next one is a while away */
	while (cap / 2 < count)
		cap *= 2;
	return cap;
}

static bool needs_room(size_t count, size_t removed, size_t cap)
{
	return (count + removed + 1) * 4 > cap * 3;
}

/* Keyed by two numbers */

static uint64_t hash2(uint64_t k1, uint64_t k2)
{
	return hash_u64(k2 ? k1 ^ hash_u64(k2) : k1);
}

void map_init(struct map *m, struct mem *mem)
{
	memset(m, 0, sizeof *m);
	m->mem = mem;
}

void map_fini(struct map *m)
{
	mem_free(m->mem, m->slots, m->cap * sizeof *m->slots);
	map_init(m, m->mem);
}

void map_clear(struct map *m)
{
	if (m->slots)
		memset(m->slots, 0, m->cap * sizeof *m->slots);
	m->count = m->removed = 0;
}

static bool slot_free(const struct map_slot *s)
{
	return !s->value && s->k1 == 0;
}

static struct map_slot *map_slot_find(const struct map *m, uint64_t k1, uint64_t k2)
{
	if (m->count == 0)
		return NULL;
	for (size_t i = hash2(k1, k2) & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		struct map_slot *s = &m->slots[i];

		if (s->value) {
			if (s->k1 == k1 && s->k2 == k2)
				return s;
		} else if (s->k1 == 0) {
			return NULL;
		}
	}
}

void *map_find2(const struct map *m, uint64_t k1, uint64_t k2)
{
	const struct map_slot *s = map_slot_find(m, k1, k2);

	return s ? s->value : NULL;
}

/* Puts a key that is known not to be there into the first free slot or mark. */
static void map_place(struct map *m, uint64_t k1, uint64_t k2, void *value)
{
	size_t i = hash2(k1, k2) & (m->cap - 1);

	while (m->slots[i].value)
		i = (i + 1) & (m->cap - 1);
	if (!slot_free(&m->slots[i]))
		m->removed--;
	m->slots[i] = (struct map_slot){k1, k2, value};
	m->count++;
}

static void map_rebuild(struct map *m)
{
	struct map old = *m;

	m->cap = cap_for(old.count + 1);
	m->slots = mem_alloc(m->mem, m->cap * sizeof *m->slots);
	m->count = m->removed = 0;
	for (size_t i = 0; i < old.cap; i++)
		if (old.slots[i].value)
			map_place(m, old.slots[i].k1, old.slots[i].k2, old.slots[i].value);
	mem_free(m->mem, old.slots, old.cap * sizeof *old.slots);
}

void map_put2(struct map *m, uint64_t k1, uint64_t k2, void *value)
{
	struct map_slot *s = map_slot_find(m, k1, k2);

	ASSERT(value != NULL);
	if (s) {
		s->value = value;
		return;
	}
	if (needs_room(m->count, m->removed, m->cap))
		map_rebuild(m);
	map_place(m, k1, k2, value);
}

void *map_remove2(struct map *m, uint64_t k1, uint64_t k2)
{
	struct map_slot *s = map_slot_find(m, k1, k2);
	size_t i;
	void *value;

	if (!s)
		return NULL;
	value = s->value;
	i = (size_t)(s - m->slots);
	*s = (struct map_slot){1, 0, NULL};
	m->count--;
	m->removed++;
	if (slot_free(&m->slots[(i + 1) & (m->cap - 1)])) {
		while (!m->slots[i].value && m->slots[i].k1 == 1) {
			m->slots[i].k1 = 0;
			m->removed--;
			i = (i - 1) & (m->cap - 1);
		}
	}
	return value;
}

struct map_slot *map_next(const struct map *m, size_t *at)
{
	while (*at < m->cap) {
		struct map_slot *s = &m->slots[(*at)++];

		if (s->value)
			return s;
	}
	return NULL;
}

/* Keyed by bytes: the same scheme; a slot is in use when it has a value, a mark when its hash is 1. */

void bmap_init(struct bmap *m, struct mem *mem)
{
	memset(m, 0, sizeof *m);
	m->mem = mem;
}

/* An empty key has no storage of its own but must not be NULL for callers that compare. */
static uint8_t empty_key[1];

static void key_free(struct bmap *m, struct bmap_slot *s)
{
	if (s->key_bytes > 0)
		mem_free(m->mem, s->key, s->key_bytes);
}

void bmap_fini(struct bmap *m)
{
	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].value)
			key_free(m, &m->slots[i]);
	mem_free(m->mem, m->slots, m->cap * sizeof *m->slots);
	bmap_init(m, m->mem);
}

static struct bmap_slot *bmap_slot_find(const struct bmap *m, const void *key, size_t key_bytes,
					uint64_t hash)
{
	if (m->count == 0)
		return NULL;
	for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		struct bmap_slot *s = &m->slots[i];

		if (s->value) {
			if (s->hash == hash && s->key_bytes == key_bytes &&
			    (key_bytes == 0 || memcmp(s->key, key, key_bytes) == 0))
				return s;
		} else if (s->hash == 0) {
			return NULL;
		}
	}
}

void *bmap_find(const struct bmap *m, const void *key, size_t key_bytes)
{
	const struct bmap_slot *s = bmap_slot_find(m, key, key_bytes, map_hash_bytes(key, key_bytes));

	return s ? s->value : NULL;
}

static void bmap_place(struct bmap *m, const struct bmap_slot *item)
{
	size_t i = item->hash & (m->cap - 1);

	while (m->slots[i].value)
		i = (i + 1) & (m->cap - 1);
	if (m->slots[i].hash == 1)
		m->removed--;
	m->slots[i] = *item;
	m->count++;
}

static void bmap_rebuild(struct bmap *m)
{
	struct bmap old = *m;

	m->cap = cap_for(old.count + 1);
	m->slots = mem_alloc(m->mem, m->cap * sizeof *m->slots);
	m->count = m->removed = 0;
	for (size_t i = 0; i < old.cap; i++)
		if (old.slots[i].value)
			bmap_place(m, &old.slots[i]);
	mem_free(m->mem, old.slots, old.cap * sizeof *old.slots);
}

void bmap_put(struct bmap *m, const void *key, size_t key_bytes, void *value)
{
	uint64_t hash = map_hash_bytes(key, key_bytes);
	struct bmap_slot *s = bmap_slot_find(m, key, key_bytes, hash);
	struct bmap_slot item = {hash, empty_key, (uint32_t)key_bytes, value};

	ASSERT(value != NULL);
	ASSERT_OP(key_bytes, <=, UINT32_MAX);
	if (s) {
		s->value = value;
		return;
	}
	if (needs_room(m->count, m->removed, m->cap))
		bmap_rebuild(m);
	if (key_bytes > 0) {
		item.key = mem_alloc(m->mem, key_bytes);
		memcpy(item.key, key, key_bytes);
	}
	bmap_place(m, &item);
}

void *bmap_remove(struct bmap *m, const void *key, size_t key_bytes)
{
	struct bmap_slot *s = bmap_slot_find(m, key, key_bytes, map_hash_bytes(key, key_bytes));
	size_t i, next;
	void *value;

	if (!s)
		return NULL;
	value = s->value;
	i = (size_t)(s - m->slots);
	key_free(m, s);
	*s = (struct bmap_slot){1, NULL, 0, NULL};
	m->count--;
	m->removed++;
	next = (i + 1) & (m->cap - 1);
	if (!m->slots[next].value && m->slots[next].hash == 0) {
		while (!m->slots[i].value && m->slots[i].hash == 1) {
			m->slots[i].hash = 0;
			m->removed--;
			i = (i - 1) & (m->cap - 1);
		}
	}
	return value;
}

struct bmap_slot *bmap_next(const struct bmap *m, size_t *at)
{
	while (*at < m->cap) {
		struct bmap_slot *s = &m->slots[(*at)++];

		if (s->value)
			return s;
	}
	return NULL;
}
