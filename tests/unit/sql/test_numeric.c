/* test_numeric.c - numeric: PostgreSQL's answers, laws of arithmetic on random numbers, storage, exact sums. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "engine/sql/num.h"
#include "tests/unit/sql/golden.h"

void suite_sql_numeric(void);

#define GOLDEN(k, n, a, e) {k, n, a, e},
static const struct golden numeric[] = {
#include "tests/unit/sql/golden_numeric.def"
};
static const struct golden aggregates[] = {
#include "tests/unit/sql/golden_aggregates.def"
};

static struct mem mem;
static struct arena arena;
static uint64_t seed;

static int setup(void)
{
	mem_init(&mem, NULL, "test_numeric", 0);
	arena_init(&arena, &mem);
	seed = 12345;
	return 0;
}

static int teardown(void)
{
	arena_fini(&arena);
	mem_fini(&mem);
	return 0;
}

static uint32_t rnd(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % n;
}

static void random_num(struct num *n, uint32_t whole, uint32_t fraction)
{
	char text[400], *p = text;
	struct error err;

	if (rnd(2))
		*p++ = '-';
	*p++ = '0';
	for (uint32_t i = rnd(whole + 1); i > 0; i--)
		*p++ = rnd(3) ? (char)('0' + rnd(10)) : "09"[rnd(2)];
	*p++ = '.';
	for (uint32_t i = rnd(fraction + 1); i > 0; i--)
		*p++ = rnd(3) ? (char)('0' + rnd(10)) : "09"[rnd(2)];
	CU_ASSERT_EQUAL_FATAL(num_parse(n, text, (size_t)(p - text), &arena, &err), ST_OK);
}

static bool text_is(const struct num *n, const char *want)
{
	struct buf b;
	bool same;

	buf_init(&b, &mem);
	num_text(n, &b);
	same = b.size == strlen(want) && memcmp(b.data, want, b.size) == 0;
	if (!same)
		printf("  want %s have %.*s\n", want, (int)b.size, (const char *)b.data);
	buf_fini(&b);
	return same;
}

/* Every recorded answer of PostgreSQL on numeric is ours too, display scale and error words included. */
static void test_numeric_as_postgresql(void)
{
	CU_ASSERT_EQUAL(golden_run(numeric, sizeof numeric / sizeof *numeric), 0);
}

/* Aggregates give PostgreSQL's values and result types. */
static void test_numeric_aggregates(void)
{
	CU_ASSERT_EQUAL(golden_run(aggregates, sizeof aggregates / sizeof *aggregates), 0);
}

/* a = q * b + r with |r| < |b| and r signed as a, for divisors of every length: division is exact. */
static void test_numeric_division_law(void)
{
	struct error err;

	for (int i = 0; i < 4000; i++) {
		struct num a, b, q, r, p, back, size_r, size_b;

		random_num(&a, 60, 20);
		random_num(&b, i % 3 ? 30 : 4, 12);
		if (b.digit_count == 0)
			continue;
		CU_ASSERT_EQUAL_FATAL(num_div_trunc(&a, &b, &q, &arena, &err), ST_OK);
		CU_ASSERT_EQUAL_FATAL(num_mod(&a, &b, &r, &arena, &err), ST_OK);
		num_mul(&q, &b, &p, &arena);
		num_add(&p, &r, &back, &arena);
		num_assign(&size_r, &r);
		num_assign(&size_b, &b);
		if (num_sign(&r) < 0)
			num_neg(&size_r);
		if (num_sign(&b) < 0)
			num_neg(&size_b);
		CU_ASSERT_EQUAL(num_compare(&a, &back), 0);
		CU_ASSERT(num_compare(&size_r, &size_b) < 0);
		CU_ASSERT(num_sign(&r) == 0 || num_sign(&r) == num_sign(&a));
		arena_reset(&arena);
	}
}

/* (a + b) - b = a, (a + b) * c = a * c + b * c, and x^2 compares as the square root does. */
static void test_numeric_ring_laws(void)
{
	struct error err;

	for (int i = 0; i < 4000; i++) {
		struct num a, b, c, s, t, u, v, w;

		random_num(&a, 40, 30);
		random_num(&b, i % 2 ? 40 : 3, 30);
		random_num(&c, 20, 10);
		num_add(&a, &b, &s, &arena);
		num_sub(&s, &b, &t, &arena);
		CU_ASSERT_EQUAL(num_compare(&t, &a), 0);
		num_mul(&s, &c, &t, &arena);
		num_mul(&a, &c, &u, &arena);
		num_mul(&b, &c, &v, &arena);
		num_add(&u, &v, &w, &arena);
		CU_ASSERT_EQUAL(num_compare(&t, &w), 0);
		num_mul(&a, &a, &t, &arena);
		if (i % 10 == 0) {
			CU_ASSERT_EQUAL(num_sqrt(&t, &u, &arena, &err), ST_OK);
			if (num_sign(&a) < 0)
				num_neg(&a);
			CU_ASSERT_EQUAL(num_compare(&u, &a), 0);
		}
		arena_reset(&arena);
	}
}

/* Text to number to text is the identity on canonical texts, and through 128-bit integers at every scale. */
static void test_numeric_round_trips(void)
{
	static const char *const texts[] = {"0", "0.00", "1", "-1", "10000", "0.0001", "-0.00010", "99999999.9999",
					    "170141183460469231731687303715884105727", "1.0", "123456789.000000001"};
	struct num n, m;
	struct error err;
	i128 x;

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		CU_ASSERT_EQUAL(num_parse(&n, texts[i], strlen(texts[i]), &arena, &err), ST_OK);
		CU_ASSERT(text_is(&n, texts[i]));
		CU_ASSERT(num_to_i128(&n, n.dscale, &x));
		num_from_i128(&m, x, n.dscale);
		CU_ASSERT(text_is(&m, texts[i]));
	}
	for (int i = 0; i < 3000; i++) {
		struct cell c;

		random_num(&n, 18, 17);
		num_store(&n, &arena, &c);
		num_load(&m, c.var, c.bytes);
		CU_ASSERT_EQUAL(num_compare(&n, &m), 0);
		CU_ASSERT(num_to_i128(&n, n.dscale, &x));
		num_from_i128(&m, x, n.dscale);
		CU_ASSERT_EQUAL(num_compare(&n, &m), 0);
		CU_ASSERT_EQUAL(num_hash(&n), num_hash(&m));
		arena_reset(&arena);
	}
	num_from_i128(&n, (i128)((unsigned __int128)1 << 127), 0);
	CU_ASSERT(text_is(&n, "-170141183460469231731687303715884105728"));
	CU_ASSERT_EQUAL(num_parse(&n, "170141183460469231731687303715884105728", 39, &arena, &err), ST_OK);
	CU_ASSERT(!num_to_i128(&n, 0, &x));
}

/* A sum kept in counters equals adding one by one, whatever the signs and sizes. */
static void test_numeric_sum(void)
{
	for (int round = 0; round < 50; round++) {
		struct num_sum s = {0};
		struct num total, n, t;

		num_zero(&total);
		for (uint32_t i = rnd(200); i > 0; i--) {
			random_num(&n, i % 7 ? 6 : 50, 20);
			num_sum_add(&s, &n, &arena);
			num_add(&total, &n, &t, &arena);
			num_assign(&total, &t);
		}
		num_sum_get(&s, &n, &arena);
		CU_ASSERT_EQUAL(num_compare(&n, &total), 0);
		CU_ASSERT_EQUAL(n.dscale, total.dscale);
		arena_reset(&arena);
	}
}

static void storage(const char *text, int precision, int scale, uint8_t phys)
{
	struct sql_type t = {T_NUMERIC, (precision << 16 | (scale & 0x7ff)) + 4};
	struct cell v, stored;
	struct error err;
	struct vec in = {.constant = false}, out;

	CU_ASSERT_EQUAL(type_storage_phys(t), phys);
	CU_ASSERT_EQUAL_FATAL(value_in(t, text, strlen(text), &arena, &v, &err), ST_OK);
	CU_ASSERT_EQUAL_FATAL(value_to_storage(t, &v, &arena, &stored, &err), ST_OK);
	CU_ASSERT_EQUAL(stored.phys, phys);
	vec_alloc(&in, phys, 3, &arena);
	bit_set(in.nulls, 0);
	vec_set(&in, 2, &stored);
	vec_from_storage(t, &in, (const uint16_t[]){0, 2}, 2, 3, &arena, &out);
	CU_ASSERT(vec_null(&out, 0));
	vec_cell(&out, 2, &stored);
	CU_ASSERT_EQUAL(value_compare(T_NUMERIC, &v, &stored), 0);
}

/* numeric(p,s) goes to 64 or 128 bits and comes back, NaN too; nulls are not touched (S14). */
static void test_numeric_storage(void)
{
	storage("12345.67", 10, 2, PHYS_I64);
	storage("-999999999999999999", 18, 0, PHYS_I64);
	storage("0.01", 4, 2, PHYS_I64);
	storage("NaN", 10, 2, PHYS_I64);
	storage("-9999999999999999999999999999.9999999999", 38, 10, PHYS_I128);
	storage("NaN", 30, 2, PHYS_I128);
	storage("123456789012345678901234567890123456789", 39, 0, PHYS_VAR);
	storage("1200", 2, -2, PHYS_VAR);
}

static void check_ln(const char *text, const char *start, const char *end)
{
	struct num a, r;
	struct error err;
	struct buf b;

	CU_ASSERT_EQUAL_FATAL(num_parse(&a, text, strlen(text), &arena, &err), ST_OK);
	CU_ASSERT_EQUAL_FATAL(num_ln(&a, &r, &arena, &err), ST_OK);
	buf_init(&b, &mem);
	num_text(&r, &b);
	CU_ASSERT_FATAL(b.size >= strlen(start) && b.size >= strlen(end));
	CU_ASSERT_EQUAL(memcmp(b.data, start, strlen(start)), 0);
	CU_ASSERT_EQUAL(memcmp(b.data + b.size - strlen(end), end, strlen(end)), 0);
	buf_fini(&b);
}

/* Logarithms at the ends of the range end, soon, and have all their digits (Python's decimal says so). */
static void test_numeric_ln_of_the_ends(void)
{
	check_ln("1e-16383", "-37723.251578521450441266754002093938813", "61508756693759201843");
	check_ln("1e131071", "301802.13072382256", "301802.13072382256");
}

void suite_sql_numeric(void)
{
	CU_pSuite s = CU_add_suite("sql_numeric", setup, teardown);

	CU_add_test(s, "as_postgresql", test_numeric_as_postgresql);
	CU_add_test(s, "aggregates", test_numeric_aggregates);
	CU_add_test(s, "division_law", test_numeric_division_law);
	CU_add_test(s, "ring_laws", test_numeric_ring_laws);
	CU_add_test(s, "round_trips", test_numeric_round_trips);
	CU_add_test(s, "sum", test_numeric_sum);
	CU_add_test(s, "storage", test_numeric_storage);
	CU_add_test(s, "ln_of_the_ends", test_numeric_ln_of_the_ends);
}
