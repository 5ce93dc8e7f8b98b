/* test_functions.c - functions, operators, casts: PostgreSQL's answers and its choice among candidates; the tables agree with themselves. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "engine/sql/functions_int.h"
#include "tests/unit/sql/golden.h"

void suite_sql_functions(void);

#define GOLDEN(k, n, a, e) {k, n, a, e},
static const struct golden goldens[] = {
#include "tests/unit/sql/golden_functions.def"
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

/* Every recorded answer of PostgreSQL is ours too: result, result type, error code and words. */
static void test_functions_as_postgresql(void)
{
	CU_ASSERT_EQUAL(golden_run(goldens, sizeof goldens / sizeof *goldens), 0);
}

/* Every entry can be found by its own types, and is then the one found: no two entries have the same name and types. */
static void test_functions_table(void)
{
	for (uint32_t id = 0; id < FNID_COUNT; id++) {
		const struct fn_def *fn = &fn_table[id], *found;
		uint32_t to[6];
		struct error err;
		enum status st;

		CU_ASSERT_EQUAL(fn->id, id);
		CU_ASSERT((fn->kernel != NULL) != (fn->sfn != SFN_NONE));
		CU_ASSERT(fn->result == T_NONE || type_find(fn->result) != NULL);
		for (uint32_t i = 0; i < fn->arg_count; i++)
			CU_ASSERT(fn->args[i] == T_NONE || type_find(fn->args[i]) != NULL);
		if (!strcmp(fn->sql_name, "::") || !strcmp(fn->sql_name, "[]") ||
		    id == FNID_anytextcat) /* found by other ways; "any" on the left cannot be asked for */
			continue;
		if (!ascii_alpha(*fn->sql_name) && *fn->sql_name != '_')
			st = op_resolve(fn->sql_name, fn->arg_count == 1 ? T_NONE : fn->args[0],
					fn->args[fn->arg_count - 1], &found, to, &err);
		else
			st = fn_resolve(fn->sql_name, fn->args, fn->arg_count, &found, to, &err);
		if (st != ST_OK)
			printf("  %s: %s\n", fn->name, err.message);
		CU_ASSERT_EQUAL_FATAL(st, ST_OK);
		if (found != fn)
			printf("  %s is hidden by %s\n", fn->name, found->name);
		CU_ASSERT_PTR_EQUAL(found, fn);
	}
}

/* Every session function of the header has at least one entry. */
static void test_functions_session(void)
{
	for (uint32_t sfn = SFN_NONE + 1; sfn < SFN_COUNT; sfn++) {
		uint32_t id = 0;

		while (id < FNID_COUNT && fn_table[id].sfn != sfn)
			id++;
		CU_ASSERT(id < FNID_COUNT);
	}
}

static uint32_t chosen(const char *name, uint32_t a, uint32_t b)
{
	uint32_t types[2] = {a, b}, to[2];
	const struct fn_def *fn;
	struct error err;

	if (op_resolve(name, types[0], types[1], &fn, to, &err) != ST_OK)
		return 0;
	return fn->result;
}

/* Untyped literals take the other side's type, strings first; unrelated types have no operator, with PostgreSQL's hint. */
static void test_functions_resolution(void)
{
	const struct fn_def *fn;
	uint32_t to[2], three[3] = {T_UNKNOWN, T_INT4, T_UNKNOWN};
	struct error err;

	CU_ASSERT_EQUAL(chosen("+", T_INT4, T_UNKNOWN), T_INT4);
	CU_ASSERT_EQUAL(chosen("+", T_INT2, T_NUMERIC), T_NUMERIC);
	CU_ASSERT_EQUAL(chosen("+", T_FLOAT4, T_INT4), T_FLOAT8);
	CU_ASSERT_EQUAL(chosen("||", T_UNKNOWN, T_UNKNOWN), T_TEXT);
	CU_ASSERT_EQUAL(chosen("||", T_INT4, T_UNKNOWN), T_TEXT);
	CU_ASSERT_EQUAL(chosen("||", T_INT4_ARRAY, T_INT4), T_INT4_ARRAY);
	CU_ASSERT_EQUAL(chosen("-", T_DATE, T_DATE), T_INT4);
	CU_ASSERT_EQUAL(chosen("-", T_TIMESTAMP, T_DATE), T_INTERVAL);
	CU_ASSERT_EQUAL(chosen("!=", T_VARCHAR, T_UNKNOWN), T_BOOL);
	CU_ASSERT_EQUAL(op_resolve("+", T_INT4, T_BOOL, &fn, to, &err), ST_UNDEFINED_FUNCTION);
	CU_ASSERT_STRING_EQUAL(err.message, "operator does not exist: integer + boolean");
	CU_ASSERT_STRING_EQUAL(err.hint, "No operator matches the given name and argument types. You might need to add explicit type casts.");
	CU_ASSERT_EQUAL(fn_resolve("substr", three, 3, &fn, three, &err), ST_OK);
	CU_ASSERT(three[0] == T_TEXT && three[1] == T_INT4 && three[2] == T_INT4);
	CU_ASSERT_EQUAL(fn_resolve("nosuch", three, 1, &fn, to, &err), ST_UNDEFINED_FUNCTION);
	CU_ASSERT_STRING_EQUAL(err.message, "function nosuch(text) does not exist");
	CU_ASSERT_STRING_EQUAL(err.hint, "No function matches the given name and argument types. You might need to add explicit type casts.");
	CU_ASSERT_EQUAL(fn_resolve("pg_catalog.upper", three, 1, &fn, to, &err), ST_OK);
	CU_ASSERT_EQUAL(fn_resolve("+", three, 2, &fn, to, &err), ST_UNDEFINED_FUNCTION);
}

/* Which casts happen by themselves, in assignments, only when asked for, never. */
static void test_functions_cast_contexts(void)
{
	static const struct { uint32_t from, to; bool implicit, assignment, explicit; } casts[] = {
		{T_INT4, T_INT8, true, true, true}, {T_INT8, T_INT4, false, true, true},
		{T_INT4, T_BOOL, false, false, true}, {T_INT4, T_TEXT, false, true, true},
		{T_TEXT, T_INT4, false, false, true}, {T_TEXT, T_VARCHAR, true, true, true},
		{T_BOOL, T_FLOAT8, false, false, false}, {T_DATE, T_TIMESTAMP, true, true, true},
		{T_TIMESTAMPTZ, T_TIMESTAMP, false, true, true}, {T_NUMERIC, T_FLOAT8, true, true, true},
		{T_FLOAT8, T_NUMERIC, false, true, true}, {T_INT4_ARRAY, T_INT8_ARRAY, true, true, true},
		{T_BYTEA, T_INT4, false, false, false},
	};
	const struct fn_def *fn;

	for (size_t i = 0; i < sizeof casts / sizeof *casts; i++) {
		CU_ASSERT_EQUAL(cast_find(casts[i].from, casts[i].to, CAST_IMPLICIT, &fn) == ST_OK, casts[i].implicit);
		CU_ASSERT_EQUAL(cast_find(casts[i].from, casts[i].to, CAST_ASSIGNMENT, &fn) == ST_OK, casts[i].assignment);
		CU_ASSERT_EQUAL(cast_find(casts[i].from, casts[i].to, CAST_EXPLICIT, &fn) == ST_OK, casts[i].explicit);
	}
	CU_ASSERT_EQUAL(cast_find(T_TEXT, T_VARCHAR, CAST_IMPLICIT, &fn), ST_OK);
	CU_ASSERT_PTR_NULL(fn);
}

/* The common type of CASE and UNION branches. */
static void test_functions_common_type(void)
{
	static const struct { uint32_t types[3], common; } cases[] = {
		{{T_INT4, T_INT8, T_UNKNOWN}, T_INT8}, {{T_UNKNOWN, T_UNKNOWN, T_UNKNOWN}, T_TEXT},
		{{T_INT4, T_NUMERIC, T_FLOAT8}, T_FLOAT8}, {{T_VARCHAR, T_TEXT, T_UNKNOWN}, T_VARCHAR}, /* the first of two that cast to each other */
		{{T_TEXT, T_VARCHAR, T_UNKNOWN}, T_TEXT},
		{{T_DATE, T_TIMESTAMP, T_TIMESTAMPTZ}, T_TIMESTAMPTZ}, {{T_INT4, T_TEXT, T_UNKNOWN}, 0},
		{{T_BOOL, T_UNKNOWN, T_BOOL}, T_BOOL}, {{T_INT4, T_INT2, T_INT2}, T_INT4},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint32_t common = 0;
		struct error err;

		CU_ASSERT_EQUAL(type_common(cases[i].types, 3, &common, &err) == ST_OK, cases[i].common != 0);
		CU_ASSERT_EQUAL(common, cases[i].common);
	}
}

static enum status call_text(const char *name, const char *a, const char *b, struct error *err, struct cell *c)
{
	struct expr *args[2] = {ex_const(&rig.arena, T_TEXT, a), ex_const(&rig.arena, T_TEXT, b)};
	struct eval ev = {.arena = &rig.arena, .err = err};

	return expr_eval_one(&ev, ex_fn(&rig.arena, name, 2, args), c);
}

/* Results too large, and patterns that would run for ages, are errors: no crash, no hang. */
static void test_functions_limits(void)
{
	struct expr *args[2] = {ex_const(&rig.arena, T_TEXT, "0123456789"), ex_const(&rig.arena, T_INT4, "2000000000")};
	struct eval ev = {.arena = &rig.arena};
	struct error err = {0};
	struct cell c;

	ev.err = &err;
	CU_ASSERT_EQUAL(expr_eval_one(&ev, ex_fn(&rig.arena, "repeat", 2, args), &c), ST_PROGRAM_LIMIT);
	CU_ASSERT_EQUAL(expr_eval_one(&ev, ex_fn(&rig.arena, "lpad", 2, args), &c), ST_PROGRAM_LIMIT);
	args[1] = ex_const(&rig.arena, T_INT4, "26000000"); /* fits a value, not the rig's memory */
	rig.mem.limit_bytes = 64 << 20;
	CU_ASSERT_EQUAL(expr_eval_one(&ev, ex_fn(&rig.arena, "repeat", 2, args), &c), ST_NOMEM);
	rig.mem.limit_bytes = 256 << 20;
	CU_ASSERT_EQUAL(call_text("regexp_like", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "^(a+)+$", &err, &c),
			ST_TOO_COMPLEX);
	CU_ASSERT_EQUAL(call_text("regexp_like", "x", "(((", &err, &c), ST_BAD_REGEX);
}

/* LIKE against a plain recursive matcher, on texts and patterns of a small alphabet. */
static bool slow_like(const char *s, const char *p)
{
	if (!*p)
		return !*s;
	if (*p == '%')
		return slow_like(s, p + 1) || (*s && slow_like(s + 1, p));
	return *s && (*p == '_' || *p == *s) && slow_like(s + 1, p + 1);
}

static void test_functions_like(void)
{
	uint64_t seed = 11;

	for (int i = 0; i < 50000; i++) {
		char s[12], p[10];
		size_t sn, pn;
		bool ok;

		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		sn = (seed >> 33) % 11;
		pn = (seed >> 40) % 9;
		for (size_t k = 0; k < sn; k++)
			s[k] = (char)('a' + (seed >> (11 + 3 * k) & 1));
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		for (size_t k = 0; k < pn; k++)
			p[k] = "ab%_"[seed >> (20 + 2 * k) & 3];
		s[sn] = p[pn] = '\0';
		CU_ASSERT_EQUAL(like_match((const uint8_t *)s, sn, (const uint8_t *)p, pn, false, false, &ok), slow_like(s, p));
		CU_ASSERT_EQUAL(like_match((const uint8_t *)s, sn, (const uint8_t *)p, pn, true, false, &ok), slow_like(s, p));
	}
}

void suite_sql_functions(void)
{
	CU_pSuite s = CU_add_suite("sql_functions", setup, teardown);

	CU_add_test(s, "as_postgresql", test_functions_as_postgresql);
	CU_add_test(s, "table", test_functions_table);
	CU_add_test(s, "session", test_functions_session);
	CU_add_test(s, "resolution", test_functions_resolution);
	CU_add_test(s, "cast_contexts", test_functions_cast_contexts);
	CU_add_test(s, "common_type", test_functions_common_type);
	CU_add_test(s, "limits", test_functions_limits);
	CU_add_test(s, "like", test_functions_like);
}
