/*
 * test_undo.c - the undo ring against a plain queue, and the version index against an array.
 */
#include "atoms/undo.h"

#include <CUnit/CUnit.h>
#include <string.h>

#include "../unit.h"
#include "base/env.h"
#include "base/poison.h"

#define QUEUE 60000

static struct { uint64_t pos, index; uint32_t bytes; uint8_t fill; } queue[QUEUE];

/*
 * Entries of all sizes, those over a chunk too, keep their bytes until the tail passes them; the tail
 * never passes one above the horizon, and always one at the front at or below it.
 */
static void test_undo_ring_against_queue(void)
{
	uint32_t first = 0, count = 0, bad = 0;
	struct undo_ring r;
	seq_index horizon = 0;
	struct mem mem;
	struct rng rng;

	mem_init(&mem, NULL, "test", 0);
	rng_init(&rng, 3);
	undo_ring_init(&r, &mem);
	while (count < QUEUE) {
		uint64_t d = rng_below(&rng, 2000);
		uint32_t bytes = d == 0 ? (uint32_t)rng_below(&rng, 900000) : (uint32_t)rng_below(&rng, d < 50 ? 40000 : 300);
		struct undo *u;

		u = undo_ring_push(&r, 1 + count / 4 - rng_below(&rng, 1 + count / 4 < 20 ? 1 : 20), bytes,
				   &queue[count].pos);
		queue[count].index = u->index;
		queue[count].bytes = bytes;
		queue[count].fill = (uint8_t)rng_next(&rng);
		memset(u + 1, queue[count].fill, bytes);
		bad += (uintptr_t)u % 16 != 0;
		bad += count && queue[count].pos <= queue[count - 1].pos;
		count++;
		if (!rng_below(&rng, 300)) {
			horizon = count / 4 - rng_below(&rng, count / 4 < 3000 ? count / 4 + 1 : 3000);
			undo_ring_trim(&r, horizon);
			while (first < count && queue[first].index <= horizon)
				first++;
			bad += undo_ring_oldest(&r) != (first < count ? undo_at(&r, queue[first].pos) : NULL);
			bad += first && undo_live(&r, queue[first - 1].pos);
		}
		if (!rng_below(&rng, 3000) && first < count) {
			undo_ring_pop(&r);
			first++;
		}
		if (!rng_below(&rng, 20) && first < count) {
			uint32_t at = first + (uint32_t)rng_below(&rng, count - first);
			const uint8_t *p;

			u = undo_at(&r, queue[at].pos);
			p = undo_values(u);
			bad += !undo_live(&r, queue[at].pos) || u->index != queue[at].index ||
			       u->bytes != queue[at].bytes;
			bad += u->bytes && (p[0] != queue[at].fill || memcmp(p, p + 1, u->bytes - 1));
		}
	}
	undo_ring_trim(&r, UINT64_MAX);
	CU_ASSERT_EQUAL(bad, 0);
	CU_ASSERT_PTR_NULL(undo_ring_oldest(&r));
	CU_ASSERT_EQUAL(r.head, r.tail);
	CU_ASSERT(mem.used_bytes < 4 << 20); /* chunks were given back */
	undo_ring_fini(&r);
	mem_fini(&mem);
}

/* The index finds the newest live position of each key, and does not grow with keys that are gone. */
static void test_undo_vindex(void)
{
	static uint64_t model[5000];
	struct vindex v = {0};
	struct undo_ring r;
	struct mem mem;
	struct rng rng;
	uint32_t bad = 0;

	mem_init(&mem, NULL, "test", 0);
	rng_init(&rng, 4);
	undo_ring_init(&r, &mem);
	memset(model, 0, sizeof model);
	for (uint64_t n = 1; n < 200000; n++) {
		uint64_t key = (n / 100 + rng_below(&rng, 300)) % 5000, pos, before;

		undo_ring_push(&r, n, 16, &pos);
		before = vindex_set(&v, &mem, &r, key, pos);
		bad += before != (model[key] && undo_live(&r, model[key]) ? model[key] : 0);
		model[key] = pos;
		if (n > 1000 && n % 50 == 0)
			undo_ring_trim(&r, n - 1000);
		key = rng_below(&rng, 5000);
		bad += vindex_find(&v, &r, key) != (model[key] && undo_live(&r, model[key]) ? model[key] : 0);
	}
	CU_ASSERT_EQUAL(bad, 0);
	CU_ASSERT(v.cap <= 4096);
	vindex_fini(&v, &mem);
	undo_ring_fini(&r);
	mem_fini(&mem);
}

#ifdef VALENCE_ASAN
/* The sanitizer sees who follows a link to an entry that is gone, and who writes past a new one's end. */
static void test_undo_ring_poisons_what_is_gone(void)
{
	struct undo_ring r;
	struct mem mem;
	struct undo *u[40];
	uint64_t pos;

	mem_init(&mem, NULL, "test", 0);
	undo_ring_init(&r, &mem);
	for (uint32_t n = 0; n < 40; n++) {
		u[n] = undo_ring_push(&r, 1, 50000 + n, &pos);
		CU_ASSERT_PTR_NULL(__asan_region_is_poisoned(u[n], sizeof *u[n] + u[n]->bytes));
		CU_ASSERT(__asan_address_is_poisoned(undo_values(u[n]) + u[n]->bytes));
	}
	for (uint32_t n = 0; n < 20; n++)
		undo_ring_pop(&r);
	for (uint32_t n = 0; n < 20; n++)
		CU_ASSERT(__asan_address_is_poisoned(u[n]) && __asan_address_is_poisoned(undo_values(u[n]) + 49999));
	for (uint32_t n = 20; n < 40; n++)
		CU_ASSERT_PTR_NULL(__asan_region_is_poisoned(u[n], sizeof *u[n] + u[n]->bytes));
	undo_ring_fini(&r);
	mem_fini(&mem);
}
#endif

void suite_atoms_undo(void)
{
	CU_pSuite s = CU_add_suite("atoms_undo", NULL, NULL);

	CU_add_test(s, "test_undo_ring_against_queue", test_undo_ring_against_queue);
	CU_add_test(s, "test_undo_vindex", test_undo_vindex);
#ifdef VALENCE_ASAN
	CU_add_test(s, "test_undo_ring_poisons_what_is_gone", test_undo_ring_poisons_what_is_gone);
#endif
}
