/*
 * slab.c - memory of images (atoms).
 */
#include "atoms/slab.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/poison.h"

struct slab {
	uint8_t *base;
	uint32_t units, committed, used;
	uint32_t fails;  /* no run of this many units since the last free; 0 unknown */
	uint32_t words;
	uint64_t map[];  /* a bit per unit: taken */
};

static size_t slab_bytes(uint32_t units)
{
	return sizeof(struct slab) + (size_t)((units + 63) / 64) * 8;
}

/* Images are mapped, not allocated, but belong to the same account. */
static void account(struct mem *m, size_t bytes, bool add)
{
	for (; m; m = m->parent) {
		m->used_bytes = add ? m->used_bytes + bytes : m->used_bytes - bytes;
		if (m->used_bytes > m->peak_bytes)
			m->peak_bytes = m->used_bytes;
	}
}

void slab_pool_init(struct slab_pool *pool, struct mem *mem)
{
	memset(pool, 0, sizeof *pool);
	pool->mem = mem;
	map_init(&pool->by_base, mem);
}

static void slab_unmap(struct slab_pool *pool, struct slab *s)
{
	size_t bytes = (size_t)s->units * SLAB_UNIT_BYTES;

	map_remove(&pool->by_base, (uintptr_t)s->base / SLAB_BYTES);
	if (pool->unmapped)
		pool->unmapped(pool->ctx, s->base, bytes);
	UNPOISON(s->base, bytes);
	munmap(s->base, bytes);
	mem_free(pool->mem, s, slab_bytes(s->units));
}

void slab_pool_fini(struct slab_pool *pool)
{
	account(pool->mem, pool->used_bytes, false);
	for (size_t i = 0; i < pool->slabs.count; i++)
		slab_unmap(pool, pool->slabs.at[i]);
	VEC_FINI(pool->mem, &pool->slabs);
	map_fini(&pool->by_base);
}

static struct slab *slab_map(struct slab_pool *pool, size_t bytes)
{
	size_t all = bytes + SLAB_BYTES;
	uint8_t *raw = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint32_t units = (uint32_t)(bytes / SLAB_UNIT_BYTES);
	struct slab *s;
	uint8_t *base;

	ASSERT(raw != MAP_FAILED);
	base = (uint8_t *)(((uintptr_t)raw + SLAB_BYTES - 1) & ~(uintptr_t)(SLAB_BYTES - 1));
	if (base > raw)
		munmap(raw, (size_t)(base - raw));
	if (base + bytes < raw + all)
		munmap(base + bytes, (size_t)(raw + all - base - bytes));
	madvise(base, bytes, MADV_HUGEPAGE);
	s = mem_alloc(pool->mem, slab_bytes(units));
	s->base = base;
	s->units = units;
	s->words = (units + 63) / 64;
	if (units % 64)
		s->map[s->words - 1] = ~UINT64_C(0) << units % 64;
	VEC_PUSH(pool->mem, &pool->slabs, s);
	map_put(&pool->by_base, (uintptr_t)base / SLAB_BYTES, s);
	return s;
}

/* Units of an image's run: where there are redzones one more than it asked for, which is not charged. */
static uint32_t run_units(size_t charged_bytes)
{
	return (uint32_t)(charged_bytes / SLAB_UNIT_BYTES) + (REDZONE_BYTES ? 1 : 0);
}

static size_t charged(size_t bytes)
{
	return (bytes + SLAB_UNIT_BYTES - 1) / SLAB_UNIT_BYTES * SLAB_UNIT_BYTES;
}

/* First unit of a free run of @n, or s->units. */
static uint32_t run_find(const struct slab *s, uint32_t n)
{
	uint32_t start = 0, length = 0;

	for (uint32_t w = 0; w < s->words; w++) {
		uint64_t taken = s->map[w];

		if (taken == ~UINT64_C(0)) {
			length = 0;
			continue;
		}
		for (uint32_t b = 0; b < 64; b++) {
			if (taken >> b & 1) {
				length = 0;
				continue;
			}
			if (!length)
				start = w * 64 + b;
			if (++length == n)
				return start;
		}
	}
	return s->units;
}

static void run_mark(struct slab *s, uint32_t at, uint32_t n, bool taken)
{
	for (uint32_t i = at; i < at + n; i++) {
		uint64_t bit = UINT64_C(1) << i % 64;

		ASSERT(!(s->map[i / 64] & bit) == taken);
		s->map[i / 64] ^= bit;
	}
	s->used = taken ? s->used + n : s->used - n;
}

static void slab_commit(struct slab *s, uint32_t to)
{
	const uint32_t step = (uint32_t)(SLAB_COMMIT_BYTES / SLAB_UNIT_BYTES);
	uint32_t end = (to + step - 1) / step * step;
	uint8_t *p = s->base + (size_t)s->committed * SLAB_UNIT_BYTES;

	if (to <= s->committed)
		return;
	if (end > s->units)
		end = s->units;
	ASSERT(mprotect(p, (size_t)(end - s->committed) * SLAB_UNIT_BYTES, PROT_READ | PROT_WRITE) == 0);
	POISON(p, (size_t)(end - s->committed) * SLAB_UNIT_BYTES);
	s->committed = end;
}

void *slab_alloc(struct slab_pool *pool, size_t bytes)
{
	size_t size = charged(bytes), run;
	uint32_t n = run_units(size), at = 0;
	struct slab *s = NULL;
	uint8_t *p;

	for (size_t i = 0; i < pool->slabs.count && !s; i++) {
		struct slab *x = pool->slabs.at[i];

		if (x->units - x->used < n || (x->fails && n >= x->fails))
			continue;
		at = run_find(x, n);
		if (at < x->units)
			s = x;
		else
			x->fails = n;
	}
	if (!s) {
		run = (size_t)n * SLAB_UNIT_BYTES;
		s = slab_map(pool, run > SLAB_BYTES ? run : SLAB_BYTES);
		at = 0;
	}
	run_mark(s, at, n, true);
	slab_commit(s, at + n);
	p = s->base + (size_t)at * SLAB_UNIT_BYTES;
	UNPOISON(p, bytes);
	pool->used_bytes += size;
	account(pool->mem, size, true);
	return p;
}

/* Unmaps an empty slab, unless it is the only empty one: images that come and go must not map each time. */
static void slab_release(struct slab_pool *pool, struct slab *s)
{
	size_t self = 0, empty = 0;

	for (size_t i = 0; i < pool->slabs.count; i++) {
		empty += !pool->slabs.at[i]->used;
		if (pool->slabs.at[i] == s)
			self = i;
	}
	if (empty < 2)
		return;
	memmove(pool->slabs.at + self, pool->slabs.at + self + 1, (--pool->slabs.count - self) * sizeof s);
	slab_unmap(pool, s);
}

void slab_free(struct slab_pool *pool, void *p, size_t bytes)
{
	size_t size = charged(bytes);
	uint32_t n = run_units(size);
	struct slab *s = map_find(&pool->by_base, (uintptr_t)p / SLAB_BYTES);

	ASSERT(s && (uint8_t *)p >= s->base);
	POISON(p, size);
	run_mark(s, (uint32_t)((size_t)((uint8_t *)p - s->base) / SLAB_UNIT_BYTES), n, false);
	s->fails = 0;
	pool->used_bytes -= size;
	account(pool->mem, size, false);
	if (!s->used)
		slab_release(pool, s);
}
