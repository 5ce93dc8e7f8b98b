/* test_values.c - texts and binary forms of values, vectors, order and hash. */
#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sql/values.h"
#include "tests/unit/sql/golden.h"

void suite_sql_values(void);

#define GOLDEN(k, n, a, e) {k, n, a, e},
static const struct golden goldens[] = {
#include "tests/unit/sql/golden_values.def"
};

static struct golden_rig rig;

static int setup(void)
{
	golden_init(&rig);
	return 0;
}

static int teardown(void)
{
	golden_fini(&rig);
	return 0;
}

/* Input, output, casts and their errors are PostgreSQL's. */
static void test_values_as_postgresql(void)
{
	CU_ASSERT_EQUAL(golden_run(goldens, sizeof goldens / sizeof *goldens), 0);
	golden_init(&rig); /* the run reset the settings */
}

static const struct { uint32_t oid; int32_t typmod; const char *text, *hex; } wires[] = {
	{T_BOOL, -1, "t", "01"},
	{T_INT2, -1, "-2", "fffe"},
	{T_INT4, -1, "-2", "fffffffe"},
	{T_INT8, -1, "258", "0000000000000102"},
	{T_OID, -1, "4294967295", "ffffffff"},
	{T_FLOAT4, -1, "1.5", "3fc00000"},
	{T_FLOAT8, -1, "1.5", "3ff8000000000000"},
	{T_NUMERIC, -1, "1234.5678", "000200000000000404d2162e"},
	{T_NUMERIC, -1, "-0.00010", "0001ffff400000050001"},
	{T_NUMERIC, -1, "NaN", "00000000c0000000"},
	{T_NUMERIC, -1, "0.00", "0000000000000002"},
	{T_DATE, -1, "1999-12-31", "ffffffff"},
	{T_TIME, -1, "00:00:01", "00000000000f4240"},
	{T_TIMESTAMP, -1, "2000-01-01 00:00:01", "00000000000f4240"},
	{T_TIMESTAMPTZ, -1, "2000-01-01 01:00:01+01", "00000000000f4240"},
	{T_INTERVAL, -1, "1 mon 2 days 00:00:03", "00000000002dc6c00000000200000001"},
	{T_CHAR1, -1, "a", "61"},
	{T_BPCHAR, 8, "ab", "61622020"},
	{T_TEXT, -1, "h\303\251", "68c3a9"},
	{T_BYTEA, -1, "\\x00ff", "00ff"},
	{T_INT4_ARRAY, -1, "{1,NULL,3}", "00000001000000010000001700000003000000010000000400000001ffffffff0000000400000003"},
	{T_TEXT_ARRAY, -1, "{a,bc}", "00000001000000000000001900000002000000010000000161000000026263"},
	{T_INT8_ARRAY, -1, "{}", "000000000000000000000014"},
};

/* Binary forms are PostgreSQL's bytes, and reading them gives the value back. */
static void test_values_wire(void)
{
	for (size_t i = 0; i < sizeof wires / sizeof *wires; i++) {
		struct sql_type t = {wires[i].oid, wires[i].typmod};
		struct cell v, back;
		struct error err;
		struct buf b;
		char hex[256] = "";

		arena_reset(&rig.arena);
		CU_ASSERT_EQUAL_FATAL(value_in(t, wires[i].text, strlen(wires[i].text), &rig.arena, &v, &err), ST_OK);
		buf_init(&b, &rig.mem);
		value_send(t, &v, &b);
		for (size_t k = 0; k < b.size; k++)
			snprintf(hex + 2 * k, 3, "%02x", b.data[k]);
		CU_ASSERT_STRING_EQUAL(hex, wires[i].hex);
		CU_ASSERT_EQUAL(value_recv(t, b.data, b.size, &rig.arena, &back, &err), ST_OK);
		CU_ASSERT_EQUAL(value_compare(t.oid, &v, &back), 0);
		buf_fini(&b);
	}
}

/* Bytes of any kind are read as a value or refused with an error; nothing is read beyond their end. */
static void test_values_wire_garbage(void)
{
	static const uint32_t oids[] = {T_BOOL, T_INT2, T_INT4, T_INT8, T_FLOAT4, T_FLOAT8, T_NUMERIC, T_DATE, T_TIME,
					T_TIMESTAMP, T_INTERVAL, T_TEXT, T_BYTEA, T_CHAR1, T_NAME, T_INT4_ARRAY,
					T_TEXT_ARRAY, T_NUMERIC_ARRAY, T_OID};
	unsigned accepted = 0, refused = 0;
	uint64_t seed = 7;

	for (int i = 0; i < 20000; i++) {
		struct sql_type t = {oids[(size_t)i % (sizeof oids / sizeof *oids)], -1};
		uint8_t small[64], *bytes;
		size_t n;
		struct cell v;
		struct error err = {0};
		struct buf b;

		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		n = (seed >> 33) % 40;
		for (size_t k = 0; k < n; k++) {
			seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
			small[k] = (uint8_t)(seed >> 60 & 1 ? seed >> 40 & 3 : seed >> 40);
		}
		bytes = malloc(n ? n : 1); /* exact, so that the sanitizer sees a byte too many */
		memcpy(bytes, small, n);
		if (value_recv(t, bytes, n, &rig.arena, &v, &err) == ST_OK) {
			accepted++;
			buf_init(&b, &rig.mem);
			value_out(t, &v, &b);
			buf_fini(&b);
		} else {
			refused++;
			CU_ASSERT(err.code != ST_OK);
		}
		free(bytes);
		arena_reset(&rig.arena);
	}
	CU_ASSERT(accepted > 1000 && refused > 1000);
}

static size_t significant(const char *text, size_t n)
{
	size_t digits = 0;

	for (size_t i = 0; i < n && text[i] != 'e'; i++)
		digits += text[i] >= '0' && text[i] <= '9' && (digits || text[i] != '0');
	while (n && text[n - 1] == '0' && digits && !memchr(text, 'e', n) && !memchr(text, '.', n)) {
		digits--; /* zeros before the point only give the place */
		n--;
	}
	return digits;
}

/* Every float is printed with the fewest digits that read back as the same float. */
static void test_values_float_shortest(void)
{
	uint64_t seed = 99;
	unsigned longer = 0;

	for (int i = 0; i < 20000; i++) {
		char text[40], fewer[40];
		double d, back;
		size_t n;

		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		memcpy(&d, &seed, sizeof d);
		if (isnan(d) || isinf(d))
			continue;
		n = value_f64_text(d, 1, false, text);
		CU_ASSERT_EQUAL(value_f64_parse(text, n, false, "double precision", &back, NULL), ST_OK);
		CU_ASSERT_EQUAL(memcmp(&d, &back, sizeof d), 0);
		/* a digit less is another number */
		snprintf(fewer, sizeof fewer, "%.*e", (int)significant(text, n) - 2, d);
		longer += significant(text, n) > 1 && strtod(fewer, NULL) == d;
	}
	CU_ASSERT(longer < 20); /* only where the shorter text lies exactly between two floats: PostgreSQL avoids those */
	CU_ASSERT_EQUAL(value_f64_text(19224135556439072.0, 1, false, (char[40]){0}), strlen("1.9224135556439072e+16"));
	CU_ASSERT_EQUAL(value_f64_text(5.389014467356853e+23, 1, false, (char[40]){0}), strlen("5.389014467356853e+23"));
	CU_ASSERT_EQUAL(value_f64_text(0x1p-1074, 1, false, (char[40]){0}), strlen("5e-324"));
}

/* Equal values hash alike: 1.0 and 1.00, -0 and 0, 1 month and 30 days, 'a' and 'a ' as char(n). */
static void test_values_hash(void)
{
	static const struct { uint32_t oid; const char *a, *b; } pairs[] = {
		{T_NUMERIC, "1.0", "1.00"}, {T_NUMERIC, "100", "100.000"}, {T_FLOAT8, "-0", "0"},
		{T_INTERVAL, "1 month", "30 days"}, {T_BPCHAR, "a", "a  "}, {T_FLOAT8, "NaN", "NaN"},
		{T_NUMERIC_ARRAY, "{1.0,2}", "{1,2.00}"}, {T_NUMERIC, "NaN", "NaN"},
	};

	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		struct expr *a = ex_const(&rig.arena, pairs[i].oid, pairs[i].a);
		struct expr *b = ex_const(&rig.arena, pairs[i].oid, pairs[i].b);

		CU_ASSERT_EQUAL(value_compare(pairs[i].oid, &a->value, &b->value), 0);
		CU_ASSERT_EQUAL(value_hash(pairs[i].oid, &a->value), value_hash(pairs[i].oid, &b->value));
	}
}

/* Types are found by oid and by every name, and named as PostgreSQL names them. */
static void test_values_types(void)
{
	static const struct { const char *name; uint32_t oid; int32_t typmod; const char *format; } names[] = {
		{"int4", T_INT4, -1, "integer"}, {"integer", T_INT4, -1, "integer"}, {"varchar", T_VARCHAR, 24, "character varying(20)"},
		{"bpchar", T_BPCHAR, 7, "character(3)"}, {"numeric", T_NUMERIC, (10 << 16 | 2) + 4, "numeric(10,2)"},
		{"_int8", T_INT8_ARRAY, -1, "bigint[]"}, {"int8[]", T_INT8_ARRAY, -1, "bigint[]"},
		{"timestamptz", T_TIMESTAMPTZ, 3, "timestamp(3) with time zone"}, {"char", T_CHAR1, -1, "\"char\""},
		{"double precision", T_FLOAT8, -1, "double precision"}, {"interval", T_INTERVAL, -1, "interval"},
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const struct type_info *ti = type_by_name(names[i].name);

		CU_ASSERT_PTR_NOT_NULL_FATAL(ti);
		CU_ASSERT_EQUAL(ti->oid, names[i].oid);
		CU_ASSERT_PTR_EQUAL(type_find(ti->oid), ti);
		CU_ASSERT_STRING_EQUAL(type_format((struct sql_type){ti->oid, names[i].typmod}, &rig.arena), names[i].format);
	}
	CU_ASSERT_PTR_NULL(type_find(0));
	CU_ASSERT_PTR_NULL(type_find(4000000000u));
	CU_ASSERT_PTR_NULL(type_by_name("nosuch"));
}

/* A cell put into a vector comes out again, in every class, nulls and constants included. */
static void test_values_vectors(void)
{
	static const struct cell cells[] = {
		{.phys = PHYS_BOOL, .i = 1}, {.phys = PHYS_I16, .i = -7}, {.phys = PHYS_I32, .i = -70000},
		{.phys = PHYS_I64, .i = INT64_MIN}, {.phys = PHYS_F64, .f = -1.5}, {.phys = PHYS_I128, .x = -5},
		{.phys = PHYS_VAR, .bytes = 3, .var = (const uint8_t *)"abc"},
	};
	static const struct cell null = {.null = true};

	for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
		struct vec v;
		struct cell c;

		vec_alloc(&v, cells[i].phys, VEC_ROWS, &rig.arena);
		vec_set(&v, 1023, &cells[i]);
		vec_set(&v, 1022, &null);
		vec_cell(&v, 1023, &c);
		CU_ASSERT(!c.null && c.phys == cells[i].phys && value_compare(T_TEXT, &c, &cells[i]) == 0);
		vec_cell(&v, 1022, &c);
		CU_ASSERT(c.null);
		vec_set(&v, 1022, &cells[i]);
		CU_ASSERT(!vec_null(&v, 1022));
		vec_set(&v, 0, &cells[i]);
		v.constant = true;
		vec_cell(&v, 500, &c);
		CU_ASSERT(!c.null && value_compare(T_TEXT, &c, &cells[i]) == 0);
	}
}

void suite_sql_values(void)
{
	CU_pSuite s = CU_add_suite("sql_values", setup, teardown);

	CU_add_test(s, "as_postgresql", test_values_as_postgresql);
	CU_add_test(s, "wire", test_values_wire);
	CU_add_test(s, "wire_garbage", test_values_wire_garbage);
	CU_add_test(s, "float_shortest", test_values_float_shortest);
	CU_add_test(s, "hash", test_values_hash);
	CU_add_test(s, "types", test_values_types);
	CU_add_test(s, "vectors", test_values_vectors);
}
