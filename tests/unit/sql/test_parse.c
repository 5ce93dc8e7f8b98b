/* test_parse.c - query strings to raw statements: splitting, kinds, positions, limits, bad bytes, random damage. */
#include <CUnit/CUnit.h>

#include "base/env.h"
#include "tests/unit/sql/fake_catalog.h"

void suite_sql_parse(void);

static struct mem mem;

static int setup(void)
{
	mem_init(&mem, NULL, "test_parse", 0);
	return 0;
}

static int teardown(void)
{
	mem_fini(&mem);
	return 0;
}

static enum status parse(const char *text, struct error *err, uint32_t *count_out, enum stmt_kind *kind_out)
{
	struct arena arena;
	struct raw_list list = {0};
	enum status st;

	arena_init(&arena, &mem);
	error_clear(err);
	st = sql_parse(text, &arena, &list, err);
	*count_out = list.count;
	*kind_out = st == ST_OK && list.count ? raw_kind(list.at[0]) : STMT_EMPTY;
	arena_fini(&arena);
	return st;
}

/* Each statement is known by its kind before it is bound. */
static void test_parse_kinds(void)
{
	static const struct { const char *text; enum stmt_kind kind; } cases[] = {
		{"select 1", STMT_QUERY}, {"values (1)", STMT_QUERY}, {"table t", STMT_QUERY}, {"insert into t values (1)", STMT_QUERY},
		{"with q as (select 1) update t set a = 1", STMT_QUERY}, {"begin", STMT_BEGIN}, {"start transaction", STMT_BEGIN},
		{"commit", STMT_COMMIT}, {"end", STMT_COMMIT}, {"abort", STMT_ROLLBACK}, {"rollback to x", STMT_ROLLBACK_TO},
		{"savepoint x", STMT_SAVEPOINT}, {"release x", STMT_RELEASE}, {"set a.b = 1", STMT_SET}, {"reset all", STMT_RESET},
		{"set transaction read only", STMT_SET_TRANSACTION}, {"show x", STMT_SHOW}, {"prepare p as select 1", STMT_PREPARE},
		{"execute p(1)", STMT_EXECUTE}, {"deallocate all", STMT_DEALLOCATE}, {"declare c cursor for select 1", STMT_DECLARE},
		{"fetch 5 from c", STMT_FETCH}, {"move all in c", STMT_FETCH}, {"close c", STMT_CLOSE}, {"copy t from stdin", STMT_COPY},
		{"create table t (a int)", STMT_CREATE_TABLE}, {"create table t as select 1", STMT_CREATE_TABLE_AS},
		{"select 1 into t", STMT_CREATE_TABLE_AS}, {"create index on t (a)", STMT_CREATE_INDEX},
		{"create sequence s", STMT_CREATE_SEQUENCE}, {"alter table t add a int", STMT_ALTER_TABLE},
		{"alter sequence s restart", STMT_ALTER_SEQUENCE}, {"drop table t", STMT_DROP}, {"truncate t", STMT_TRUNCATE},
		{"vacuum", STMT_VACUUM}, {"analyze t", STMT_VACUUM}, {"checkpoint", STMT_VACUUM}, {"discard all", STMT_DISCARD},
		{"lock t", STMT_LOCK}, {"create schema s", STMT_CREATE_SCHEMA}, {"comment on table t is 'x'", STMT_COMMENT},
		{"explain select 1", STMT_EXPLAIN}, {"create view v as select 1", STMT_EMPTY},
	};
	size_t i;

	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		enum stmt_kind kind;
		struct error err;
		uint32_t n;

		CU_ASSERT_EQUAL(parse(cases[i].text, &err, &n, &kind), ST_OK);
		CU_ASSERT_EQUAL(n, 1);
		if (kind != cases[i].kind)
			fprintf(stderr, "\n%s: kind %d, not %d\n", cases[i].text, kind, cases[i].kind);
		CU_ASSERT_EQUAL(kind, cases[i].kind);
	}
}

/* A query string may have any number of statements, none included; empty ones do not count. */
static void test_parse_splits(void)
{
	static const struct { const char *text; uint32_t count; } cases[] = {
		{"", 0}, {" ", 0}, {";", 0}, {";;;", 0}, {"-- x", 0}, {"/* x /* y */ */", 0}, {"select 1", 1}, {"select 1;", 1},
		{"select 1; select 2", 2}, {";select 1;;select ';';", 2},
	};
	size_t i;

	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		enum stmt_kind kind;
		struct error err;
		uint32_t n = 99;

		CU_ASSERT_EQUAL(parse(cases[i].text, &err, &n, &kind), ST_OK);
		CU_ASSERT_EQUAL(n, cases[i].count);
	}
}

/* Syntax errors carry PostgreSQL's words and count characters, not bytes. */
static void test_parse_syntax_errors(void)
{
	static const struct { const char *text; int position; const char *message; } cases[] = {
		{"selec 1", 1, "syntax error at or near \"selec\""},
		{"select * form t", 10, "syntax error at or near \"form\""},
		{"select 'é', 'ß' form form", 22, "syntax error at or near \"form\""},
		{"select 1; insert", 17, "syntax error at end of input"},
		{"select 'abc", 8, "unterminated quoted string at or near \"'abc\""},
		{"select \"é", 8, "unterminated quoted identifier at or near \"\"é\""},
		{"select (?)", 10, "syntax error at or near \")\""},
		{"select $$abc", 8, "unterminated dollar-quoted string at or near \"$$abc\""},
	};
	size_t i;

	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		enum stmt_kind kind;
		struct error err;
		uint32_t n;

		CU_ASSERT_EQUAL(parse(cases[i].text, &err, &n, &kind), ST_SYNTAX);
		if (err.position != cases[i].position || strcmp(err.message, cases[i].message) != 0)
			fprintf(stderr, "\n%s: %d %s\n", cases[i].text, err.position, err.message);
		CU_ASSERT_EQUAL(err.position, cases[i].position);
		CU_ASSERT_STRING_EQUAL(err.message, cases[i].message);
	}
}

/* Bytes that are not UTF-8 never reach the parser: 22021, with the bytes in the message. */
static void test_parse_utf8(void)
{
	static const struct { const char *text, *hex; } bad[] = {
		{"select '\x80'", "0x80"}, {"select '\xc3'", "0xc3 0x27"}, {"select '\xc0\xaf'", "0xc0 0xaf"},
		{"select '\xed\xa0\x80'", "0xed 0xa0 0x80"}, {"select '\xe2\x82'", "0xe2 0x82 0x27"},
		{"select '\xf4\x90\x80\x80'", "0xf4 0x90 0x80 0x80"}, {"select '\xff'", "0xff"}, {"\xf0\x9f", "0xf0 0x9f"},
	};
	static const char *const good[] = {"select 'é'", "select '€'", "select '\xf0\x9f\x98\x80'", "select '\xed\x9f\xbf'"};
	enum stmt_kind kind;
	struct error err;
	char want[100];
	uint32_t n;
	size_t i;

	for (i = 0; i < sizeof bad / sizeof *bad; i++) {
		CU_ASSERT_EQUAL(parse(bad[i].text, &err, &n, &kind), ST_BAD_ENCODING);
		snprintf(want, sizeof want, "invalid byte sequence for encoding \"UTF8\": %s", bad[i].hex);
		CU_ASSERT_STRING_EQUAL(err.message, want);
	}
	for (i = 0; i < sizeof good / sizeof *good; i++)
		CU_ASSERT_EQUAL(parse(good[i], &err, &n, &kind), ST_OK);
}

/* Ten thousand levels of parentheses or operators: an error, not the end of the stack. */
static void test_parse_depth(void)
{
	static const char *const parts[] = {"(", "not ", "- ", "array[", "case when "};
	enum stmt_kind kind;
	struct error err;
	uint32_t n;
	size_t i, k;

	for (i = 0; i < sizeof parts / sizeof *parts; i++) {
		size_t step = strlen(parts[i]);
		char *text = malloc(200000);
		enum status st;

		strcpy(text, "select ");
		for (k = 0; k < 10000; k++)
			memcpy(text + 7 + k * step, parts[i], step);
		strcpy(text + 7 + 10000 * step, "a");
		st = parse(text, &err, &n, &kind);
		CU_ASSERT_TRUE(st == ST_TOO_COMPLEX || st == ST_SYNTAX);
		free(text);
	}
}

/* Damaged statements parse or fail, and binding those that parse succeeds or fails: nothing else. */
static void test_parse_mutations(void)
{
	static const char *const seeds[] = {
#define CASE(sql, want) sql,
#include "tests/unit/sql/bind_cases.def"
#undef CASE
	};
	static const char *const pieces[] = {
		"(", ")", ",", "'", "\"", " null ", " select ", " from t ", " $1 ", "::int", " and ", " group by ", "*", ".", ";", "1",
		" in ", " union ", " any ", "[", "]", " row(", " default ", " as x", " lateral ", "é", "--", "/*", " = ", "a", " array",
	};
	static struct fake_catalog fake;
	struct rng rng;
	struct error err;
	uint32_t round, bound = 0;

	rng_init(&rng, 20240501);
	fake_init(&fake);
	CU_ASSERT_EQUAL(fake_run(&fake, FAKE_TABLES, &err), ST_OK);
	for (round = 0; round < 6000; round++) {
		const char *seed = seeds[rng_below(&rng, sizeof seeds / sizeof *seeds)];
		char text[2048];
		uint32_t edits = 1 + (uint32_t)rng_below(&rng, 3);
		size_t n = strlen(seed);
		struct bind_context cx;
		struct raw_list list;
		struct arena arena;
		struct stmt *s;

		memcpy(text, seed, n + 1);
		while (edits--) {
			size_t at = n ? rng_below(&rng, n + 1) : 0, cut = rng_below(&rng, 8), add = 0;
			const char *piece = pieces[rng_below(&rng, sizeof pieces / sizeof *pieces)];

			cut = cut > n - at ? n - at : cut;
			if (rng_below(&rng, 4))
				piece = rng_below(&rng, 2) ? " " : "";
			add = n + strlen(piece) < sizeof text - 1 ? strlen(piece) : 0;
			memmove(text + at + add, text + at + cut, n - at - cut + 1);
			memcpy(text + at, piece, add);
			n = n + add - cut;
		}
		arena_init(&arena, &fake.mem);
		error_clear(&err);
		cx = fake_context(&fake, &arena, &err);
		if (sql_parse(text, &arena, &list, &err) == ST_OK && list.count &&
		    sql_bind_stmt(&cx, list.at[0], &s) == ST_OK) {
			bound++;
			if (s->query)
				(void)query_dump(s->query, &arena);
		}
		arena_fini(&arena);
	}
	if (bound < 100)
		fprintf(stderr, "\nonly %u bound: %s\n", bound, err.message);
	CU_ASSERT_TRUE(bound >= 100);
	fake_fini(&fake);
}

void suite_sql_parse(void)
{
	CU_pSuite s = CU_add_suite("sql_parse", setup, teardown);

	CU_add_test(s, "kinds", test_parse_kinds);
	CU_add_test(s, "splits", test_parse_splits);
	CU_add_test(s, "syntax_errors", test_parse_syntax_errors);
	CU_add_test(s, "utf8", test_parse_utf8);
	CU_add_test(s, "depth", test_parse_depth);
	CU_add_test(s, "mutations", test_parse_mutations);
}
