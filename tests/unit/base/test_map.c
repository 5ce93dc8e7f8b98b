/*
 * test_map.c - hash maps, against a plain array as the model.
 */
#include "base/map.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "../unit.h"
#include "base/env.h"

#define KEYS 512

static int values[KEYS];
static struct mem account;

/* k1 covers 0 and 1, which stand for "free" and "removed" in a slot without a value. */
static void key_of(size_t i, uint64_t *k1, uint64_t *k2)
{
	*k1 = i / 2;
	*k2 = i % 2;
}

static void check_against(const struct map *m, int *const *model)
{
	size_t at = 0, live = 0, seen = 0;
	const struct map_slot *slot;

	for (size_t i = 0; i < KEYS; i++) {
		uint64_t k1, k2;

		key_of(i, &k1, &k2);
		live += model[i] != NULL;
		CU_ASSERT_PTR_EQUAL(map_find2(m, k1, k2), model[i]);
	}
	while ((slot = map_next(m, &at))) {
		seen++;
		CU_ASSERT_PTR_EQUAL(slot->value, model[slot->k1 * 2 + slot->k2]);
	}
	CU_ASSERT_EQUAL(seen, live);
	CU_ASSERT_EQUAL(m->count, live);
}

/* After any sequence of puts, replacements and removals the map holds what the model holds. */
static void test_map_random_against_model(void)
{
	int *model[KEYS] = {0};
	struct map m;
	struct rng rng;

	rng_init(&rng, 11);
	map_init(&m, &account);
	for (int n = 0; n < 60000; n++) {
		/* the working set drifts, so that old marks must be cleared away */
		size_t i = (rng_below(&rng, 64) + (size_t)n / 100) % KEYS;
		uint64_t k1, k2;

		key_of(i, &k1, &k2);
		if (rng_below(&rng, 2)) {
			model[i] = &values[rng_below(&rng, KEYS)];
			map_put2(&m, k1, k2, model[i]);
		} else {
			CU_ASSERT_PTR_EQUAL(map_remove2(&m, k1, k2), model[i]);
			model[i] = NULL;
		}
		CU_ASSERT(m.cap <= 4 * KEYS && m.count + m.removed < m.cap);
		if (n % 1000 == 0)
			check_against(&m, model);
	}
	check_against(&m, model);
	map_clear(&m);
	memset(model, 0, sizeof model);
	check_against(&m, model);
	map_fini(&m);
	CU_ASSERT_EQUAL(account.used_bytes, 0);
}

/* Keys that come and go in turn, as request numbers do, neither grow the map nor leave marks behind. */
static void test_map_churn_stays_small(void)
{
	struct map m;

	map_init(&m, &account);
	for (uint64_t k = 0; k < 100000; k++) {
		map_put(&m, k, values);
		if (k >= 4)
			CU_ASSERT_PTR_EQUAL(map_remove(&m, k - 4), values);
	}
	CU_ASSERT_EQUAL(m.count, 4);
	CU_ASSERT(m.cap <= 16);
	map_fini(&m);
}

/* The current slot may be removed while iterating: every key is visited once, none is left. */
static void test_map_remove_while_iterating(void)
{
	struct map m;
	struct map_slot *slot;
	size_t at = 0, visited = 0;

	map_init(&m, &account);
	for (uint64_t k = 0; k < 300; k++)
		map_put(&m, k, &values[k]);
	while ((slot = map_next(&m, &at))) {
		uint64_t k = slot->k1;

		CU_ASSERT_PTR_EQUAL(map_remove(&m, k), &values[k]);
		visited++;
	}
	CU_ASSERT_EQUAL(visited, 300);
	CU_ASSERT_EQUAL(m.count, 0);
	map_fini(&m);
}

/* Two maps with the same history iterate in the same order, wherever their memory lies. */
static void test_map_order_is_deterministic(void)
{
	struct map a, b;
	size_t at_a = 0, at_b = 0;
	const struct map_slot *s, *t;

	map_init(&a, &account);
	map_init(&b, &account);
	for (uint64_t k = 0; k < 200; k++) {
		map_put(&a, k * 977, &values[k]);
		map_put(&b, k * 977, &values[KEYS - 1 - k]);
	}
	while ((s = map_next(&a, &at_a))) {
		t = map_next(&b, &at_b);
		CU_ASSERT(t && s->k1 == t->k1);
	}
	map_fini(&a);
	map_fini(&b);
}

/* The map by bytes agrees with the model too, with keys of length 0, with NULs, and one the prefix of another. */
static void test_map_bytes_against_model(void)
{
	int *model[KEYS] = {0};
	struct bmap m;
	struct rng rng;
	size_t at = 0, live = 0, seen = 0;
	const struct bmap_slot *slot;

	rng_init(&rng, 12);
	bmap_init(&m, &account);
	for (int n = 0; n < 40000; n++) {
		uint8_t key[KEYS] = {0};
		size_t i = (rng_below(&rng, 64) + (size_t)n / 100) % KEYS;

		/* key i: i zero bytes */
		if (rng_below(&rng, 2)) {
			model[i] = &values[rng_below(&rng, KEYS)];
			bmap_put(&m, key, i, model[i]);
		} else {
			CU_ASSERT_PTR_EQUAL(bmap_remove(&m, key, i), model[i]);
			model[i] = NULL;
		}
		CU_ASSERT_PTR_EQUAL(bmap_find(&m, key, i), model[i]);
	}
	for (size_t i = 0; i < KEYS; i++)
		live += model[i] != NULL;
	while ((slot = bmap_next(&m, &at))) {
		seen++;
		CU_ASSERT_PTR_EQUAL(slot->value, model[slot->key_bytes]);
	}
	CU_ASSERT_EQUAL(seen, live);
	CU_ASSERT_EQUAL(m.count, live);
	bmap_fini(&m);
	CU_ASSERT_EQUAL(account.used_bytes, 0);
}

/* The map keeps its own copy of a key. */
static void test_map_bytes_copies_key(void)
{
	struct bmap m;
	char key[8] = "alpha";

	bmap_init(&m, &account);
	bmap_put(&m, key, 5, values);
	memcpy(key, "gamma", 5);
	CU_ASSERT_PTR_NULL(bmap_find(&m, key, 5));
	CU_ASSERT_PTR_EQUAL(bmap_find(&m, "alpha", 5), values);
	bmap_fini(&m);
}

/*
 * Formats keep these hashes: the values are fixed. They were computed by an independent implementation
 * (in Python, from the description in map.c).
 */
static void test_map_hash_is_stable(void)
{
	CU_ASSERT_EQUAL(hash_u64(0), UINT64_C(0xe220a8397b1dcdaf));
	CU_ASSERT_EQUAL(hash_u64(1), UINT64_C(0x910a2dec89025cc1));
	CU_ASSERT_EQUAL(hash_bytes("", 0), UINT64_C(0xf725441d87a5fe5e));
	CU_ASSERT_EQUAL(hash_bytes("valence", 7), UINT64_C(0x0e0fdca2141c6b6c));
	CU_ASSERT_EQUAL(hash_bytes("sixteen bytes!!!", 16), UINT64_C(0x2a78a533e7fe9dcc));
	CU_ASSERT_EQUAL(hash_bytes("seventeen bytes!!", 17), UINT64_C(0xf45a1afd3a178b6c));
}

/* Flipping any one bit of a key changes about half of the hash: at least a quarter on average, never nothing. */
static void test_map_hash_spreads(void)
{
	uint8_t key[24];
	int total = 0;

	memset(key, 0x5a, sizeof key);
	for (size_t bit = 0; bit < sizeof key * 8; bit++) {
		uint64_t before = hash_bytes(key, sizeof key), diff;

		key[bit / 8] ^= (uint8_t)(1u << bit % 8);
		diff = before ^ hash_bytes(key, sizeof key);
		key[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CU_ASSERT(diff != 0);
		total += __builtin_popcountll(diff);
	}
	CU_ASSERT(total > 29 * (int)sizeof key * 8 && total < 35 * (int)sizeof key * 8);
}

static int map_suite_init(void)
{
	mem_init(&account, NULL, "test_map", 0);
	return 0;
}

void suite_base_map(void)
{
	CU_pSuite s = CU_add_suite("base_map", map_suite_init, NULL);

	CU_add_test(s, "random_against_model", test_map_random_against_model);
	CU_add_test(s, "churn_stays_small", test_map_churn_stays_small);
	CU_add_test(s, "remove_while_iterating", test_map_remove_while_iterating);
	CU_add_test(s, "order_is_deterministic", test_map_order_is_deterministic);
	CU_add_test(s, "bytes_against_model", test_map_bytes_against_model);
	CU_add_test(s, "bytes_copies_key", test_map_bytes_copies_key);
	CU_add_test(s, "hash_is_stable", test_map_hash_is_stable);
	CU_add_test(s, "hash_spreads", test_map_hash_spreads);
}
