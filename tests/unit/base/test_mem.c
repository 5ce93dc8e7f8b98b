/*
 * test_mem.c - accounts and arenas.
 */
#include "base/mem.h"

#include <CUnit/CUnit.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "../unit.h"
#include "base/poison.h"

/* A charge counts in the account and in every ancestor, and is taken back by free; the peak stays. */
static void test_mem_charges_ancestors(void)
{
	struct mem root, mid, leaf;
	void *p, *q;

	mem_init(&root, NULL, "root", 0);
	mem_init(&mid, &root, "mid", 0);
	mem_init(&leaf, &mid, "leaf", 0);
	p = mem_alloc(&leaf, 100);
	q = mem_alloc(&mid, 50);
	CU_ASSERT_EQUAL(leaf.used_bytes, 100);
	CU_ASSERT_EQUAL(mid.used_bytes, 150);
	CU_ASSERT_EQUAL(root.used_bytes, 150);
	mem_free(&leaf, p, 100);
	CU_ASSERT_EQUAL(root.used_bytes, 50);
	CU_ASSERT_EQUAL(root.peak_bytes, 150);
	mem_free(&mid, q, 50);
	mem_free(&mid, NULL, 12);
	mem_fini(&leaf);
	mem_fini(&mid);
	mem_fini(&root);
}

/* mem_try_alloc gives NULL when any account up to the root would pass its limit, and charges nothing then. */
static void test_mem_try_honours_every_limit(void)
{
	struct mem root, leaf;
	void *p;

	mem_init(&root, NULL, "root", 100);
	mem_init(&leaf, &root, "leaf", 80);
	CU_ASSERT_PTR_NULL(mem_try_alloc(&leaf, 81));
	p = mem_try_alloc(&leaf, 80);
	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	CU_ASSERT_PTR_NULL(mem_try_alloc(&leaf, 1));
	CU_ASSERT_PTR_NULL(mem_try_alloc(&root, 21));
	CU_ASSERT_PTR_NULL(mem_try_alloc(&root, SIZE_MAX));
	CU_ASSERT_PTR_NULL(mem_try_alloc_raw(&leaf, 1));
	CU_ASSERT_PTR_NULL(mem_try_alloc_raw(&root, 21));
	CU_ASSERT_PTR_NULL(mem_try_alloc_raw(&root, SIZE_MAX));
	CU_ASSERT_EQUAL(root.used_bytes, 80);
	mem_free(&leaf, p, 80);
	p = mem_try_alloc_raw(&leaf, 80);
	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	CU_ASSERT_EQUAL(root.used_bytes, 80);
	mem_free(&leaf, p, 80);
	mem_fini(&leaf);
	mem_fini(&root);
}

/* Only the n-th following try fails, and then no more. */
static void test_mem_fault_injection_fails_nth(void)
{
	struct mem m;
	void *p[3];

	mem_init(&m, NULL, "m", 0);
	mem_fail_after(2);
	for (int i = 0; i < 3; i++)
		p[i] = mem_try_alloc(&m, 8);
	CU_ASSERT_PTR_NOT_NULL(p[0]);
	CU_ASSERT_PTR_NULL(p[1]);
	CU_ASSERT_PTR_NOT_NULL(p[2]);
	mem_free(&m, p[0], 8);
	mem_free(&m, p[2], 8);
	mem_fini(&m);
}

/* realloc keeps the old bytes, zeroes what is new, and charges the difference, both ways. */
static void test_mem_realloc_zeroes_growth(void)
{
	static const unsigned char zeros[4096];
	struct mem m;
	unsigned char *p;

	mem_init(&m, NULL, "m", 0);
	p = mem_realloc(&m, NULL, 0, 16);
	CU_ASSERT(memcmp(p, zeros, 16) == 0);
	memset(p, 7, 16);
	p = mem_realloc(&m, p, 16, 4096);
	CU_ASSERT_EQUAL(p[15], 7);
	CU_ASSERT(memcmp(p + 16, zeros, 4080) == 0);
	CU_ASSERT_EQUAL(m.used_bytes, 4096);
	p = mem_realloc(&m, p, 4096, 8);
	CU_ASSERT_EQUAL(m.used_bytes, 8);
	CU_ASSERT_EQUAL(p[7], 7);
	mem_free(&m, p, 8);
	mem_fini(&m);
}

static void alloc_past_limit(void *ctx)
{
	mem_alloc(ctx, 11);
}

static void fini_in_use(void *ctx)
{
	struct mem *m = ctx;

	m->used_bytes = 1;
	mem_fini(m);
}

static void free_too_much(void *ctx)
{
	char block[8];

	mem_free(ctx, block, 8);
}

/* An internal allocation past its own limit, an account left in use and a wrong size end the process. */
static void test_mem_misuse_aborts(void)
{
	struct mem m;

	mem_init(&m, NULL, "m", 10);
	CU_ASSERT_EQUAL(unit_death_signal(alloc_past_limit, &m), SIGABRT);
	CU_ASSERT_EQUAL(unit_death_signal(fini_in_use, &m), SIGABRT);
	CU_ASSERT_EQUAL(unit_death_signal(free_too_much, &m), SIGABRT);
	mem_fini(&m);
}

/* Data that fills the engine's memory does not make an internal allocation abort. */
static void test_mem_internal_ignores_ancestors_limit(void)
{
	struct mem root, inner;
	void *p;

	mem_init(&root, NULL, "root", 10);
	mem_init(&inner, &root, "inner", 0);
	p = mem_alloc(&inner, 20);
	CU_ASSERT_EQUAL(root.used_bytes, 20);
	CU_ASSERT_PTR_NULL(mem_try_alloc(&inner, 1));
	mem_free(&inner, p, 20);
	mem_fini(&inner);
	mem_fini(&root);
}

/* Arena allocations are aligned to 16, zeroed also after a reset, and apart from each other. */
static void test_mem_arena_aligned_and_zeroed(void)
{
	struct mem m;
	struct arena a;

	mem_init(&m, NULL, "m", 0);
	arena_init(&a, &m);
	for (int round = 0; round < 3; round++) {
		unsigned char *last = NULL;

		for (size_t n = 0; n < 700; n++) {
			unsigned char *p = arena_alloc(&a, n);
			unsigned char any = 0;

			CU_ASSERT_EQUAL((uintptr_t)p % 16, 0);
			CU_ASSERT(p != last);
			for (size_t i = 0; i < n; i++)
				any |= p[i];
			CU_ASSERT_EQUAL(any, 0);
			memset(p, 0xff, n);
			last = p;
		}
		arena_reset(&a);
		CU_ASSERT_EQUAL(a.used_bytes, 0);
		CU_ASSERT(m.used_bytes > 0 && m.used_bytes <= 256 << 10); /* one block is kept */
	}
	arena_fini(&a);
	mem_fini(&m);
}

/* A rewind gives back all that came after its mark, across blocks and for large ones, and nothing before. */
static void test_mem_arena_rewind(void)
{
	struct mem m;
	struct arena a;
	struct arena_mark none, some;
	char *kept;
	size_t used_bytes;

	mem_init(&m, NULL, "m", 0);
	arena_init(&a, &m);
	none = arena_mark(&a);
	kept = arena_printf(&a, "kept %d", 5);
	some = arena_mark(&a);
	used_bytes = m.used_bytes;
	for (int i = 0; i < 100; i++)
		arena_alloc(&a, 5000);
	arena_alloc(&a, 1 << 20);
	arena_rewind(&a, some);
	CU_ASSERT_STRING_EQUAL(kept, "kept 5");
	CU_ASSERT_EQUAL(m.used_bytes, used_bytes);
	CU_ASSERT_EQUAL(a.used_bytes, some.used_bytes);
	CU_ASSERT_STRING_EQUAL(arena_strndup(&a, "abcdef", 3), "abc");
	CU_ASSERT_STRING_EQUAL(arena_strdup(&a, "abcdef"), "abcdef");
	CU_ASSERT_STRING_EQUAL(kept, "kept 5");
	arena_rewind(&a, none);
	CU_ASSERT_EQUAL(m.used_bytes, 0);
	arena_fini(&a);
	mem_fini(&m);
}

/* Blocks double from 4 KiB and stop at 256 KiB, so a large arena does not waste half of itself. */
static void test_mem_arena_blocks_double(void)
{
	struct mem m;
	struct arena a;

	mem_init(&m, NULL, "m", 0);
	arena_init(&a, &m);
	arena_alloc(&a, 1);
	CU_ASSERT_EQUAL(m.used_bytes, 4 << 10);
	arena_alloc(&a, 4000);
	arena_alloc(&a, 200);
	CU_ASSERT_EQUAL(m.used_bytes, (4 + 8) << 10);
	for (int i = 0; i < 4096; i++)
		arena_alloc(&a, 1024);
	CU_ASSERT(m.used_bytes < (4 << 20) + (600 << 10));
	arena_fini(&a);
	CU_ASSERT_EQUAL(m.used_bytes, 0);
	mem_fini(&m);
}

#ifdef VALENCE_ASAN
static bool poisoned(const void *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (!__asan_address_is_poisoned((const char *)p + i))
			return false;
	return true;
}

/* The sanitizer sees a step over either end of an arena's allocation, of whatever size, also beside a block's ends. */
static void test_mem_arena_redzones(void)
{
	struct mem m;
	struct arena a;

	mem_init(&m, NULL, "m", 0);
	arena_init(&a, &m);
	for (size_t n = 1; n < 5000; n += n < 64 ? 1 : 61) {
		char *p = arena_alloc(&a, n);

		CU_ASSERT_PTR_NULL(__asan_region_is_poisoned(p, n));
		CU_ASSERT(poisoned(p - 16, 16));
		CU_ASSERT(poisoned(p + n, 16));
	}
	arena_fini(&a);
	mem_fini(&m);
}

/* What a rewind or a reset took back is poisoned, and after a reset not the first to be handed out again. */
static void test_mem_arena_poisons_what_is_gone(void)
{
	struct mem m;
	struct arena a;
	struct arena_mark mark;
	char *kept, *gone;

	mem_init(&m, NULL, "m", 0);
	arena_init(&a, &m);
	kept = arena_alloc(&a, 40);
	mark = arena_mark(&a);
	gone = arena_alloc(&a, 40);
	arena_rewind(&a, mark);
	CU_ASSERT_PTR_NULL(__asan_region_is_poisoned(kept, 40));
	CU_ASSERT(poisoned(gone, 40));
	arena_reset(&a);
	(void)arena_alloc(&a, 3000);
	CU_ASSERT(poisoned(kept, 40));
	CU_ASSERT(poisoned(gone, 40));
	arena_fini(&a);
	mem_fini(&m);
}
#endif

void suite_base_mem(void)
{
	CU_pSuite s = CU_add_suite("base_mem", NULL, NULL);

	CU_add_test(s, "charges_ancestors", test_mem_charges_ancestors);
	CU_add_test(s, "try_honours_every_limit", test_mem_try_honours_every_limit);
	CU_add_test(s, "fault_injection_fails_nth", test_mem_fault_injection_fails_nth);
	CU_add_test(s, "realloc_zeroes_growth", test_mem_realloc_zeroes_growth);
	CU_add_test(s, "misuse_aborts", test_mem_misuse_aborts);
	CU_add_test(s, "internal_ignores_ancestors_limit", test_mem_internal_ignores_ancestors_limit);
	CU_add_test(s, "arena_aligned_and_zeroed", test_mem_arena_aligned_and_zeroed);
	CU_add_test(s, "arena_rewind", test_mem_arena_rewind);
	CU_add_test(s, "arena_blocks_double", test_mem_arena_blocks_double);
#ifdef VALENCE_ASAN
	CU_add_test(s, "arena_redzones", test_mem_arena_redzones);
	CU_add_test(s, "arena_poisons_what_is_gone", test_mem_arena_poisons_what_is_gone);
#endif
}
