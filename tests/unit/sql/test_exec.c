/*
 * test_exec.c - SQL text through sessions, planner and operators over the fake store.
 *
 * exec_cases.def is one long session of statements with their results, checked by hand against PostgreSQL's rules. It is
 * run as it is, and again with calls that wait, locks that ask for a restart and a client that is full, at random:
 * nothing may differ.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/env.h"
#include "sql/sql_rig.h"

void suite_sql_exec(void);

static const struct { const char *sql, *result; } cases[] = {
#define C(sql, result) {sql, result},
#include "sql/exec_cases.def"
#undef C
};

static uint32_t run_cases(struct sql_rig *r)
{
	uint32_t wrong = 0;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *got = rig_query(r, cases[i].sql);

		if (!strcmp(got, cases[i].result))
			continue;
		wrong++;
		fprintf(stderr, "\n%s\nexpected:\n%sgot:\n%s", cases[i].sql, cases[i].result, got);
	}
	return wrong;
}

/* Each statement gives the rows, tags and errors that PostgreSQL would give. */
static void test_exec_results(void)
{
	struct sql_rig r;

	rig_init(&r);
	CU_ASSERT_EQUAL(run_cases(&r), 0);
	rig_fini(&r);
}

/* Waiting, restarting and a full client change nothing: results are the same for every seed. */
static void test_exec_trouble(void)
{
	static const uint32_t wait_of[] = {2, 5, 40};

	for (uint32_t i = 0; i < 3; i++) {
		struct sql_rig r;

		rig_init(&r);
		rng_init(r.rng, i);
		fake_trouble(r.engine, wait_of[i], 3 + i);
		r.full_one_of = 2 + i;
		CU_ASSERT_EQUAL(run_cases(&r), 0);
		CU_ASSERT(r.waits > 100);
		rig_fini(&r);
	}
}

/* A long query gives up the loop when its budget is used, again and again, and ends with the right answer. */
static void test_exec_budget(void)
{
	struct sql_rig r;

	rig_init(&r);
	CU_ASSERT_STRING_EQUAL(rig_query(&r, "select count(*), sum(g) from generate_series(1, 1000000) g"),
			       "1000000|500000500000\nSELECT 1\n");
	CU_ASSERT(r.agains >= 10);
	CU_ASSERT_STRING_EQUAL(rig_query(&r, "select count(*) from (select g from generate_series(1, 200000) g order by g % 1000, g) x"),
			       "200000\nSELECT 1\n");
	CU_ASSERT_STRING_EQUAL(rig_query(&r, "select g from generate_series(1, 200000) g order by g % 1000 desc, g limit 3 offset 100"),
			       "100999\n101999\n102999\nSELECT 3\n");
	rig_fini(&r);
}

/* The same COPY data in pieces of any size gives the same rows; a bad line is named with its column. */
static void test_exec_copy(void)
{
	static const char text[] = "1\tone\t1.5\n2\t\\N\t\\N\n3\ttab\\there \\\\ \\x41\\101\t-2\r\n\\.\n";
	static const char csv[] = "id,s,n\n1,\"a \"\"quoted\"\"\nline\",2\n2,,\n3,\"\",4\n";
	static const char bad[] = "1\tone\t1.5\n2\ttwo\tx\n";
	static const size_t pieces[] = {1, 3, 7, 4096};

	for (uint32_t i = 0; i < 4; i++) {
		struct sql_rig r;

		rig_init(&r);
		fake_trouble(r.engine, i ? 3 : 0, 0);
		rig_query(&r, "create table c (id int primary key, s text, n numeric(5,1), k bigserial, d int default 7)");
		CU_ASSERT_STRING_EQUAL(rig_copy(&r, "copy c (id, s, n) from stdin", text, strlen(text), pieces[i]), "COPY 3\n");
		CU_ASSERT_STRING_EQUAL(rig_query(&r, "select * from c order by id"),
				       "1|one|1.5|1|7\n2|\\N|\\N|2|7\n3|tab\there \\ AA|-2.0|3|7\nSELECT 3\n");
		CU_ASSERT_STRING_EQUAL(rig_query(&r, "copy c (id, s) to stdout"), "1\tone\n2\t\\N\n3\ttab\\there \\\\ AA\nCOPY 3\n");
		CU_ASSERT_STRING_EQUAL(rig_copy(&r, "copy c (id, s, n) from stdin", bad, strlen(bad), pieces[i]),
				       "22P02: invalid input syntax for type numeric: \"x\" (COPY c, line 2, column n: \"x\")\n");
		CU_ASSERT_STRING_EQUAL(rig_copy(&r, "copy c (id, s, n) from stdin", text, strlen(text), pieces[i]),
				       "23505: duplicate key value violates unique constraint \"c_pkey\" (Key (id)=(1) already exists.)\n");
		CU_ASSERT_STRING_EQUAL(rig_copy(&r, "copy c (id) from stdin", "9\textra\n", 8, pieces[i]),
				       "22P04: extra data after last expected column (COPY c, line 1)\n");
		CU_ASSERT_STRING_EQUAL(rig_copy(&r, "copy c (id, s) from stdin", "9\n", 2, pieces[i]),
				       "22P04: missing data for column \"s\" (COPY c, line 1)\n");
		CU_ASSERT_STRING_EQUAL(rig_copy(&r, "copy c (id, s) from stdin", "9\t\xff\n", 4, pieces[i]),
				       "22021: invalid byte sequence for encoding \"UTF8\": 0xff (COPY c, line 1)\n");
		rig_query(&r, "truncate c");
		CU_ASSERT_STRING_EQUAL(rig_copy(&r, "copy c (id, s, n) from stdin with (format csv, header)", csv, strlen(csv), pieces[i]),
				       "COPY 3\n");
		CU_ASSERT_STRING_EQUAL(rig_query(&r, "select id, s, n from c order by id"),
				       "1|a \"quoted\"\nline|2.0\n2|\\N|\\N\n3||4.0\nSELECT 3\n");
		CU_ASSERT_STRING_EQUAL(rig_query(&r, "copy (select s, id from c order by id) to stdout csv"),
				       "\"a \"\"quoted\"\"\nline\",1\n,2\n\"\",3\nCOPY 3\n");
		rig_fini(&r);
	}
}

/* What COPY TO writes, COPY FROM reads back, in every format. */
static void test_exec_copy_back(void)
{
	static const char *const formats[] = {"text", "csv", "binary"};

	for (uint32_t i = 0; i < 3; i++) {
		struct sql_rig r;
		char sql[200], *data;
		size_t bytes;

		rig_init(&r);
		rig_query(&r, "create table s as select g id, case when g % 3 = 0 then null else repeat(chr(60 + g % 60), g % 40) end t,"
			      " g * 1.25 n, timestamp '2024-01-01' + g * interval '1 hour' ts from generate_series(1, 3000) g");
		rig_query(&r, "create table d (id int, t text, n numeric, ts timestamp)");
		snprintf(sql, sizeof sql, "copy s to stdout with (format %s)", formats[i]);
		rig_query(&r, sql);
		bytes = r.out.size - 1 - strlen("COPY 3000\n");
		data = malloc(bytes);
		memcpy(data, r.out.data, bytes);
		snprintf(sql, sizeof sql, "copy d from stdin with (format %s)", formats[i]);
		CU_ASSERT_STRING_EQUAL(rig_copy(&r, sql, data, bytes, 1000), "COPY 3000\n");
		CU_ASSERT_STRING_EQUAL(rig_query(&r, "select count(*) from (select * from s except all select * from d) x"), "0\nSELECT 1\n");
		free(data);
		rig_fini(&r);
	}
}

/* Suspended portals hand out their rows in pieces, whatever the snapshot does meanwhile; parameters are typed by use. */
static void test_exec_prepared(void)
{
	struct sql_rig r;
	const char *p[3] = {"2", "6", NULL};

	rig_init(&r);
	rig_query(&r, "create table t (id int primary key, v text)");
	rig_query(&r, "insert into t select g, 'v' || g from generate_series(1, 10) g");
	CU_ASSERT_STRING_EQUAL(rig_prepared(&r, "select id from t where id between $1 and $2 order by id", 2, p, 2),
			       "2\n3\n--\n4\n5\n--\n6\nSELECT 1\n");
	CU_ASSERT_STRING_EQUAL(rig_prepared(&r, "select v from t where id = $1", 1, p, 0), "v2\nSELECT 1\n");
	CU_ASSERT_STRING_EQUAL(rig_prepared(&r, "select v from t where id = $1", 1, p + 2, 0), "SELECT 0\n");
	CU_ASSERT_STRING_EQUAL(rig_prepared(&r, "update t set v = v || '!' where id = $1", 1, p, 0), "UPDATE 1\n");
	CU_ASSERT_STRING_EQUAL(rig_prepared(&r, "select v from t where id = $1", 1, p, 5), "v2!\nSELECT 1\n");
	p[0] = "77";
	p[1] = "new";
	CU_ASSERT_STRING_EQUAL(rig_prepared(&r, "insert into t values ($1, $2)", 2, p, 0), "INSERT 0 1\n");
	CU_ASSERT_STRING_EQUAL(rig_prepared(&r, "insert into t values ($1, $2)", 2, p, 0),
			       "23505: duplicate key value violates unique constraint \"t_pkey\" (Key (id)=(77) already exists.)\n");
	p[0] = "x";
	CU_ASSERT_STRING_EQUAL(rig_prepared(&r, "select v from t where id = $1", 1, p, 0),
			       "22P02: invalid input syntax for type integer: \"x\"\n");
	rig_fini(&r);
}

static void sink_rows(void *ctx, const struct sql_shape *shape, const struct vec *columns, const uint16_t *sel, uint32_t n)
{
	(void)shape;
	(void)columns;
	(void)sel;
	*(uint32_t *)ctx = shape->column_count * 1000 + n;
}

/*
 * A statement prepared before the table changed is bound and planned anew, on the fast path as well; one whose result would
 * have other columns than its client knows is refused.
 */
static void test_exec_rebind(void)
{
	struct sql_rig r;
	uint32_t got = 0;
	const struct sql_sink sink = {.ctx = &got, .rows = sink_rows};
	struct sql_param one = {"1", 1, false};
	struct sql_prepared *p, *all;
	struct sql_portal *portal;
	struct error err;
	const char *tag;

	rig_init(&r);
	rig_query(&r, "create table t (id int primary key, v text)");
	rig_query(&r, "insert into t values (1, 'a')");
	CU_ASSERT_EQUAL(sql_prepare(r.session, "s", "select v, id from t where id = $1", NULL, 0, &p, &err), ST_OK);
	CU_ASSERT_EQUAL(sql_prepare(r.session, "all", "select * from t where id = $1", NULL, 0, &all, &err), ST_OK);
	for (int changes = 0; changes < 2; changes++) {
		CU_ASSERT_EQUAL(sql_bind(r.session, "", p, &one, 1, &portal, &err), ST_OK);
		CU_ASSERT_EQUAL(sql_portal_step(r.session, portal, 0, &sink, &tag, &err), ST_OK);
		CU_ASSERT_EQUAL(got, 2 * 1000 + 1);
		CU_ASSERT_EQUAL(sql_sync(r.session, false, &err), ST_OK);
		CU_ASSERT_EQUAL(sql_bind(r.session, "", all, &one, 1, &portal, &err), changes ? ST_UNSUPPORTED : ST_OK);
		CU_ASSERT_EQUAL(sql_sync(r.session, changes, &err), ST_OK);
		rig_query(&r, "alter table t add column w int");
	}
	rig_fini(&r);
}

/* A cancel ends the running statement and nothing else; a timeout says that it was one, and does not go by the wall clock. */
static void test_exec_cancel(void)
{
	struct sql_rig r;
	uint32_t got = 0;
	const struct sql_sink sink = {.ctx = &got, .rows = sink_rows};
	struct sql_prepared *p;
	struct sql_portal *portal;
	struct error err;
	const char *tag;

	rig_init(&r);
	for (int timeout = 0; timeout < 2; timeout++) {
		rig_query(&r, timeout ? "set statement_timeout = 1000" : "reset statement_timeout");
		CU_ASSERT_EQUAL(sql_prepare(r.session, "", "select pg_sleep(100)", NULL, 0, &p, &err), ST_OK);
		CU_ASSERT_EQUAL(sql_bind(r.session, "", p, NULL, 0, &portal, &err), ST_OK);
		CU_ASSERT_EQUAL(sql_portal_step(r.session, portal, 0, &sink, &tag, &err), ST_WAIT);
		CU_ASSERT(sql_session_deadline_us(r.session) > 0);
		for (int jump = 0; jump < 2; jump++) { /* by a day, forwards and back: no time has passed */
			fake_set_clock(r.engine, jump ? -INT64_C(86400000000) : INT64_C(86400000000));
			CU_ASSERT_EQUAL(sql_portal_step(r.session, portal, 0, &sink, &tag, &err), ST_WAIT);
		}
		fake_set_clock(r.engine, -INT64_C(86400000000));
		if (timeout)
			fake_advance_us(r.engine, 1000001);
		else
			sql_session_cancel(r.session);
		CU_ASSERT_EQUAL(sql_portal_step(r.session, portal, 0, &sink, &tag, &err), ST_CANCELED);
		CU_ASSERT_STRING_EQUAL(err.message, timeout ? "canceling statement due to statement timeout" :
							      "canceling statement due to user request");
		CU_ASSERT_EQUAL(sql_sync(r.session, true, &err), ST_OK);
		CU_ASSERT_STRING_EQUAL(rig_query(&r, "select 1"), "1\nSELECT 1\n");
	}
	rig_fini(&r);
}

/* A statement that needs more than its memory fails with 53200, and the session goes on. */
static void test_exec_memory(void)
{
	struct sql_rig r;

	rig_init(&r);
	rig_query(&r, "set valence.statement_memory = '4MB'");
	CU_ASSERT_STRING_EQUAL(rig_query(&r, "select count(*) from (select g, repeat('x', 100) from generate_series(1, 200000) g order by -g) x"),
			       "53200: out of memory: the statement needs more than 4 MB\n");
	CU_ASSERT_STRING_EQUAL(rig_query(&r, "select 1"), "1\nSELECT 1\n");
	rig_fini(&r);
}

/* Random changes with random trouble leave what a plain model of the table has, and every index agrees with the table. */
static void test_exec_random(void)
{
	enum { KEYS = 60 };

	for (uint64_t seed = 0; seed < 6; seed++) {
		int model[KEYS];
		struct rng g;
		struct sql_rig r;
		char sql[200], want[40];

		rng_init(&g, seed);
		rig_init(&r);
		fake_trouble(r.engine, seed % 2 ? 6 : 0, seed % 3 ? 4 : 0);
		memset(model, 0xff, sizeof model);
		rig_query(&r, "create table m (k int primary key, v int not null)");
		rig_query(&r, "create index mv on m (v)");
		for (int step = 0; step < 300; step++) {
			uint32_t k = (uint32_t)rng_below(&g, KEYS), v = (uint32_t)rng_below(&g, 50), n = (uint32_t)rng_below(&g, 4);
			bool back = rng_below(&g, 4) == 0;
			int before[KEYS];

			memcpy(before, model, sizeof model);
			if (back)
				rig_query(&r, "begin");
			switch (rng_below(&g, 4)) {
			case 0:
				snprintf(sql, sizeof sql, "insert into m select g, %u from generate_series(%u, %u) g on conflict (k) do update set v = m.v + 1",
					 v, k, k + n);
				for (uint32_t i = k; i <= k + n && i < KEYS; i++)
					model[i] = model[i] < 0 ? (int)v : model[i] + 1;
				if (k + n >= KEYS) {
					snprintf(sql, sizeof sql, "select 1");
					memcpy(model, before, sizeof model);
				}
				break;
			case 1:
				snprintf(sql, sizeof sql, "update m set v = v + %u where k between %u and %u", n, k, k + n);
				for (uint32_t i = k; i <= k + n && i < KEYS; i++)
					model[i] += model[i] >= 0 ? (int)n : 0;
				break;
			case 2:
				snprintf(sql, sizeof sql, "delete from m where v = %u", v);
				for (uint32_t i = 0; i < KEYS; i++)
					model[i] = model[i] == (int)v ? -1 : model[i];
				break;
			default:
				snprintf(sql, sizeof sql, "update m set v = v - 1 where v > %u", v);
				for (uint32_t i = 0; i < KEYS; i++)
					model[i] -= model[i] > (int)v;
			}
			rig_query(&r, sql);
			if (back) {
				rig_query(&r, "rollback");
				memcpy(model, before, sizeof model);
			}
			if (step % 10 == 0) {
				uint32_t count = 0;
				int64_t sum = 0;

				for (uint32_t i = 0; i < KEYS; i++) {
					count += model[i] >= 0;
					sum += model[i] >= 0 ? (int64_t)(i + 1) * model[i] : 0;
				}
				snprintf(want, sizeof want, "%u|%lld\nSELECT 1\n", count, (long long)sum);
				CU_ASSERT_STRING_EQUAL(rig_query(&r, "select count(*), coalesce(sum((k + 1) * v), 0) from m"), want);
				CU_ASSERT_STRING_EQUAL(rig_query(&r, "select count(*), coalesce(sum((k + 1) * v), 0) from (select * from m where v >= 0 order by v limit 1000) x"),
						       want);
			}
		}
		rig_fini(&r);
	}
}

void suite_sql_exec(void)
{
	CU_pSuite s = CU_add_suite("sql_exec", NULL, NULL);

	CU_add_test(s, "results", test_exec_results);
	CU_add_test(s, "trouble", test_exec_trouble);
	CU_add_test(s, "budget", test_exec_budget);
	CU_add_test(s, "copy", test_exec_copy);
	CU_add_test(s, "copy back", test_exec_copy_back);
	CU_add_test(s, "prepared", test_exec_prepared);
	CU_add_test(s, "rebind", test_exec_rebind);
	CU_add_test(s, "cancel", test_exec_cancel);
	CU_add_test(s, "memory", test_exec_memory);
	CU_add_test(s, "random", test_exec_random);
}
