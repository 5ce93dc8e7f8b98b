/* test_key.c - index keys: bytes sort as values do, for every type, direction and place of nulls. */
#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "atoms/atoms.h"
#include "engine/sql/num.h"
#include "engine/sql/values.h"
#include "tests/unit/sql/golden.h"

#define KEY_MAX (LEAF_KEY_MAX - 16) /* see key.c */

void suite_sql_key(void);

static struct mem mem;
static struct arena arena;
static uint64_t seed;

static int setup(void)
{
	mem_init(&mem, NULL, "test_key", 0);
	arena_init(&arena, &mem);
	seed = 1;
	return 0;
}

static int teardown(void)
{
	arena_fini(&arena);
	mem_fini(&mem);
	return 0;
}

static uint64_t rnd(uint64_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 24) % n;
}

static int64_t random_int(void) /* of every size */
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (int64_t)seed >> rnd(64);
}

static void random_text(struct cell *c)
{
	uint8_t text[8];
	size_t n = rnd(7);

	for (size_t i = 0; i < n; i++)
		text[i] = rnd(3) ? (uint8_t)"\0\1 a\377"[rnd(5)] : (uint8_t)rnd(256);
	*c = cell_var(arena_dup(&arena, text, n), n);
}

static void random_numeric(struct cell *c)
{
	static const char *const special[] = {"NaN", "Infinity", "-Infinity", "0", "0.00", "1", "-1", "1.0"};
	char text[64], *p = text;
	struct error err;
	struct num n;

	if (rnd(8) == 0) {
		p = stpcpy(text, special[rnd(8)]);
	} else {
		if (rnd(2))
			*p++ = '-';
		for (uint64_t i = rnd(10) + 1; i > 0; i--)
			*p++ = (char)('0' + (rnd(2) ? rnd(10) : 0));
		*p++ = '.';
		for (uint64_t i = rnd(10); i > 0; i--)
			*p++ = (char)('0' + (rnd(2) ? rnd(10) : 0));
	}
	CU_ASSERT_EQUAL_FATAL(num_parse(&n, text, (size_t)(p - text), &arena, &err), ST_OK);
	num_store(&n, &arena, c);
}

static void random_float(struct cell *c)
{
	static const double special[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1, -1, 0x1p-1074};
	double d;
	int64_t bits = random_int();

	memcpy(&d, &bits, sizeof d);
	*c = cell_f64(rnd(4) ? d : special[rnd(8)]);
}

static void random_cell(uint32_t oid, struct cell *c)
{
	const struct type_info *ti = type_find(oid);
	struct cell items[4];
	uint32_t n;

	if (ti->element_oid) {
		n = (uint32_t)rnd(4);
		for (uint32_t i = 0; i < n; i++) {
			if (rnd(5) == 0)
				items[i] = (struct cell){.null = true};
			else
				random_cell(ti->element_oid, &items[i]);
		}
		array_build(ti->element_oid, items, n, 1, &arena, c);
		return;
	}
	switch (ti->phys) {
	case PHYS_BOOL: *c = cell_int(PHYS_BOOL, (int64_t)rnd(2)); return;
	case PHYS_I16: *c = cell_int(PHYS_I16, (int16_t)random_int()); return;
	case PHYS_I32: *c = cell_int(PHYS_I32, (int32_t)random_int()); return;
	case PHYS_I64: *c = cell_int(PHYS_I64, random_int()); return;
	case PHYS_F64: random_float(c); return;
	default: break;
	}
	if (oid == T_NUMERIC)
		random_numeric(c);
	else if (oid == T_INTERVAL)
		interval_cell((struct interval){random_int(), (int32_t)random_int(), (int32_t)random_int()}, &arena, c);
	else
		random_text(c);
}

static const uint32_t oids[] = {
	T_BOOL, T_INT2, T_INT4, T_INT8, T_FLOAT4, T_FLOAT8, T_TEXT, T_VARCHAR, T_BPCHAR, T_NAME, T_CHAR1, T_BYTEA, T_DATE,
	T_TIME, T_TIMESTAMP, T_TIMESTAMPTZ, T_INTERVAL, T_NUMERIC, T_OID, T_INT4_ARRAY, T_TEXT_ARRAY, T_NUMERIC_ARRAY,
};

static int sign(int v)
{
	return v < 0 ? -1 : v > 0;
}

static int compare_keys(const struct buf *a, const struct buf *b)
{
	int c = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);

	return c ? sign(c) : sign((a->size > b->size) - (a->size < b->size));
}

static void put(struct buf *b, uint32_t oid, const struct cell *c, bool desc, bool nulls_first)
{
	struct error err;

	CU_ASSERT_EQUAL(key_append((struct sql_type){oid, -1}, c, desc, nulls_first, b, &err), ST_OK);
}

/* One column: memcmp of the keys has the sign of value_compare, inverted by desc; nulls where they were asked for. */
static void test_key_order(void)
{
	struct buf a, b;

	buf_init(&a, &mem);
	buf_init(&b, &mem);
	for (size_t t = 0; t < sizeof oids / sizeof *oids; t++) {
		for (int i = 0; i < 3000; i++) {
			bool desc = rnd(2), nulls_first = rnd(2);
			struct cell x, y;
			int want;

			random_cell(oids[t], &x);
			random_cell(oids[t], &y);
			if (rnd(20) == 0)
				x = (struct cell){.null = true};
			if (rnd(20) == 0)
				y = (struct cell){.null = true};
			if (x.null || y.null)
				want = x.null == y.null ? 0 : x.null == nulls_first ? -1 : 1;
			else
				want = value_compare(oids[t], &x, &y) * (desc ? -1 : 1);
			buf_reset(&a);
			buf_reset(&b);
			put(&a, oids[t], &x, desc, nulls_first);
			put(&b, oids[t], &y, desc, nulls_first);
			if (compare_keys(&a, &b) != want) {
				printf("  type %u desc %d\n", oids[t], desc);
				CU_FAIL("keys and values have different orders");
			}
			if (!x.null && !y.null && want == 0)
				CU_ASSERT_EQUAL(value_hash(oids[t], &x), value_hash(oids[t], &y));
		}
		arena_reset(&arena);
	}
	buf_fini(&a);
	buf_fini(&b);
}

/* Several columns: the first that differs decides, so every encoding says where it ends. */
static void test_key_columns(void)
{
	struct buf a, b;

	buf_init(&a, &mem);
	buf_init(&b, &mem);
	for (int i = 0; i < 30000; i++) {
		uint32_t columns = (uint32_t)rnd(3) + 2;
		int want = 0;

		buf_reset(&a);
		buf_reset(&b);
		for (uint32_t k = 0; k < columns; k++) {
			uint32_t oid = oids[rnd(sizeof oids / sizeof *oids)];
			bool desc = rnd(2);
			struct cell x, y;

			random_cell(oid, &x);
			if (rnd(2))
				y = x;
			else
				random_cell(oid, &y);
			if (want == 0)
				want = value_compare(oid, &x, &y) * (desc ? -1 : 1);
			put(&a, oid, &x, desc, false);
			put(&b, oid, &y, desc, false);
		}
		CU_ASSERT_EQUAL(compare_keys(&a, &b), want);
		if (i % 100 == 0)
			arena_reset(&arena);
	}
	buf_fini(&a);
	buf_fini(&b);
}

/* The bytes of the encodings, which images and records hold, never change. */
static void test_key_bytes(void)
{
	static const struct { uint32_t oid; const char *text, *hex; bool desc; } keys[] = {
		{T_INT4, "1", "0180000001", false}, {T_INT4, "-1", "017fffffff", false}, {T_INT4, "1", "017ffffffe", true},
		{T_INT8, "1", "018000000000000001", false}, {T_INT2, "0", "018000", false}, {T_BOOL, "t", "0101", false},
		{T_TEXT, "ab", "0161620000", false}, {T_BPCHAR, "ab  ", "0161620000", false},
		{T_BYTEA, "\\x6100", "016100ff0000", false}, {T_FLOAT8, "1", "01bff0000000000000", false},
		{T_FLOAT8, "-1", "01400fffffffffffff", false}, {T_NUMERIC, "0", "0102", false},
		{T_NUMERIC, "1.5", "01038000000000021389" "0000", false}, {T_NUMERIC, "-1", "01017ffffffffffd" "ffff", false},
		{T_NUMERIC, "NaN", "0105", false}, {T_DATE, "2000-01-02", "0180000001", false},
		{T_INT4_ARRAY, "{1,NULL}", "0101800000010200", false},
	};

	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		struct expr *ex = ex_const(&arena, keys[i].oid, keys[i].text);
		char hex[128] = "";
		struct buf b;

		buf_init(&b, &mem);
		put(&b, keys[i].oid, &ex->value, keys[i].desc, false);
		for (size_t k = 0; k < b.size; k++)
			snprintf(hex + 2 * k, 3, "%02x", b.data[k]);
		CU_ASSERT_STRING_EQUAL(hex, keys[i].hex);
		buf_fini(&b);
	}
}

/* The successor is above every key with the prefix and not above any other greater key; all 0xff has none. */
static void test_key_successor(void)
{
	struct buf b;

	buf_init(&b, &mem);
	buf_put(&b, "a\1\377\377", 4);
	CU_ASSERT(key_successor(&b));
	CU_ASSERT(b.size == 2 && memcmp(b.data, "a\2", 2) == 0);
	buf_reset(&b);
	buf_put(&b, "\377\377", 2);
	CU_ASSERT(!key_successor(&b));
	buf_reset(&b);
	CU_ASSERT(!key_successor(&b));
	buf_fini(&b);
}

/* A key may have KEY_MAX bytes and no more, also when many columns make it up. */
static void test_key_limit(void)
{
	static uint8_t text[100000];
	struct cell c = cell_var(text, 0);
	struct error err;
	struct buf b;

	memset(text, 'x', sizeof text);
	buf_init(&b, &mem);
	c.bytes = KEY_MAX - 3;
	CU_ASSERT_EQUAL(key_append((struct sql_type){T_TEXT, -1}, &c, false, false, &b, &err), ST_OK);
	CU_ASSERT_EQUAL(b.size, KEY_MAX);
	CU_ASSERT_EQUAL(key_append((struct sql_type){T_TEXT, -1}, &(struct cell){.null = true}, false, false, &b, &err),
			ST_PROGRAM_LIMIT);
	buf_reset(&b);
	c.bytes++;
	CU_ASSERT_EQUAL(key_append((struct sql_type){T_TEXT, -1}, &c, false, false, &b, &err), ST_PROGRAM_LIMIT);
	c.bytes = sizeof text;
	buf_reset(&b);
	CU_ASSERT_EQUAL(key_append((struct sql_type){T_TEXT, -1}, &c, true, false, &b, &err), ST_PROGRAM_LIMIT);
	buf_fini(&b);
}

void suite_sql_key(void)
{
	CU_pSuite s = CU_add_suite("sql_key", setup, teardown);

	CU_add_test(s, "order", test_key_order);
	CU_add_test(s, "columns", test_key_columns);
	CU_add_test(s, "bytes", test_key_bytes);
	CU_add_test(s, "successor", test_key_successor);
	CU_add_test(s, "limit", test_key_limit);
}
