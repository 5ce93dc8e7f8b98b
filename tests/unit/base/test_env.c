/*
 * test_env.c - clock, random streams, checksum.
 */
#include "base/env.h"

#include <CUnit/CUnit.h>
#include <stdlib.h>
#include <string.h>

#include "../unit.h"
#include "base/base_int.h"

/* The monotonic clock does not go back, and the wall clock is in microseconds since 1970. */
static void test_env_clock(void)
{
	struct clock c = clock_system();
	uint64_t last_us = clock_now_us(&c);

	for (int i = 0; i < 1000; i++) {
		uint64_t now_us = clock_now_us(&c);

		CU_ASSERT(now_us >= last_us);
		last_us = now_us;
	}
	/* between 2020 and 2100 */
	CU_ASSERT(clock_wall_us(&c) > UINT64_C(1577836800000000));
	CU_ASSERT(clock_wall_us(&c) < UINT64_C(4102444800000000));
}

/* A stream is a function of its seed alone: these values come from an independent implementation. */
static void test_env_rng_is_fixed(void)
{
	static const uint64_t want[] = {
		UINT64_C(0x15780b2e0c2ec716), UINT64_C(0x6104d9866d113a7e), UINT64_C(0xae17533239e499a1),
		UINT64_C(0xecb8ad4703b360a1), UINT64_C(0xfde6dc7fe2ec5e64),
	};
	struct rng r;

	rng_init(&r, 42);
	for (size_t i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(rng_next(&r), want[i]);
}

/* rng_below stays below and gives each value about equally often, also where n is no power of two. */
static void test_env_rng_below_is_uniform(void)
{
	unsigned seen[6] = {0};
	struct rng r;

	rng_init(&r, 1);
	for (int i = 0; i < 60000; i++) {
		uint64_t v = rng_below(&r, 6);

		CU_ASSERT_FATAL(v < 6);
		seen[v]++;
	}
	for (int i = 0; i < 6; i++)
		CU_ASSERT(seen[i] > 9600 && seen[i] < 10400); /* four standard deviations */
	CU_ASSERT_EQUAL(rng_below(&r, 1), 0);
	for (int i = 0; i < 100; i++)
		CU_ASSERT(rng_below(&r, UINT64_MAX) < UINT64_MAX);
}

/* rng_unit is in [0, 1) and its mean is a half. */
static void test_env_rng_unit(void)
{
	double sum = 0;
	struct rng r;

	rng_init(&r, 2);
	for (int i = 0; i < 100000; i++) {
		double v = rng_unit(&r);

		CU_ASSERT_FATAL(v >= 0 && v < 1);
		sum += v;
	}
	CU_ASSERT(sum > 49500 && sum < 50500);
}

/* Two seeds of the system differ. */
static void test_env_seed(void)
{
	CU_ASSERT_NOT_EQUAL(rng_seed_system(), rng_seed_system());
}

/* The published values of CRC-32C: the check string, and RFC 3720 B.4. */
static void test_env_crc32c_known(void)
{
	uint8_t block[32];

	CU_ASSERT_EQUAL(crc32c(0, "123456789", 9), 0xe3069283u);
	CU_ASSERT_EQUAL(crc32c_portable(0, "123456789", 9), 0xe3069283u);
	CU_ASSERT_EQUAL(crc32c(0, "", 0), 0);
	memset(block, 0, sizeof block);
	CU_ASSERT_EQUAL(crc32c(0, block, 32), 0x8a9136aau);
	memset(block, 0xff, sizeof block);
	CU_ASSERT_EQUAL(crc32c(0, block, 32), 0x62a8ab43u);
	for (int i = 0; i < 32; i++)
		block[i] = (uint8_t)i;
	CU_ASSERT_EQUAL(crc32c(0, block, 32), 0x46dd794eu);
}

/* The bit-by-bit definition, to compare with. */
static uint32_t crc32c_slow(uint32_t crc, const uint8_t *p, size_t bytes)
{
	crc = ~crc;
	for (size_t i = 0; i < bytes; i++) {
		crc ^= p[i];
		for (int k = 0; k < 8; k++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
	}
	return ~crc;
}

/* At every length around the sizes where the code changes its step, and at odd addresses, all three agree. */
static void test_env_crc32c_ways_agree(void)
{
	static const size_t around[] = {0, 8, 16, 768, 1536, 12288, 24576, 65536};
	size_t bytes = 70000;
	uint8_t *p = malloc(bytes);
	struct rng r;

	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	rng_init(&r, 3);
	for (size_t i = 0; i < bytes; i++)
		p[i] = (uint8_t)rng_next(&r);
	for (size_t i = 0; i < sizeof around / sizeof around[0]; i++)
		for (int d = -9; d <= 9; d++) {
			size_t n = (int)around[i] + d < 0 ? 0 : around[i] + (size_t)(ptrdiff_t)d;
			size_t off = (size_t)(d + 9) % 8;
			uint32_t start = (uint32_t)rng_next(&r);
			uint32_t want = crc32c_slow(start, p + off, n);

			CU_ASSERT_EQUAL(crc32c(start, p + off, n), want);
			CU_ASSERT_EQUAL(crc32c_portable(start, p + off, n), want);
		}
	free(p);
}

/* The checksum of a whole is that of its parts one after another, wherever it is cut. */
static void test_env_crc32c_in_parts(void)
{
	uint8_t p[2000];
	uint32_t whole;

	for (size_t i = 0; i < sizeof p; i++)
		p[i] = (uint8_t)(i * 7);
	whole = crc32c(0, p, sizeof p);
	for (size_t cut = 0; cut <= sizeof p; cut += 37)
		CU_ASSERT_EQUAL(crc32c(crc32c(0, p, cut), p + cut, sizeof p - cut), whole);
}

void suite_base_env(void)
{
	CU_pSuite s = CU_add_suite("base_env", NULL, NULL);

	CU_add_test(s, "clock", test_env_clock);
	CU_add_test(s, "rng_is_fixed", test_env_rng_is_fixed);
	CU_add_test(s, "rng_below_is_uniform", test_env_rng_below_is_uniform);
	CU_add_test(s, "rng_unit", test_env_rng_unit);
	CU_add_test(s, "seed", test_env_seed);
	CU_add_test(s, "crc32c_known", test_env_crc32c_known);
	CU_add_test(s, "crc32c_ways_agree", test_env_crc32c_ways_agree);
	CU_add_test(s, "crc32c_in_parts", test_env_crc32c_in_parts);
}
