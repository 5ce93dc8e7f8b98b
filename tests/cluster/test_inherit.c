/*
 * test_inherit.c - rows of transactions that are submitted and not decided yet (adr/0014), on whole engines.
 */
#include <CUnit/CUnit.h>
#include <string.h>

#include "engine/txn/txn_int.h"
#include "unit.h"
#include "rig.h"

static struct rig r;
static struct rig_session *s[4];

/* One archive; the sessions are a cache's, which originates what they make: rows of (id, n, v). */
static void begin(void)
{
	memset(&r, 0, sizeof r);
	CU_ASSERT_FATAL(rig_init(&r, 1, 1));
	for (int i = 0; i < 4; i++)
		s[i] = rig_session(&r, 1);
	CU_ASSERT_STRING_EQUAL(rig_sql(s[0], "create table t (id int primary key, n int, v text)"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s[0], "insert into t values (1, 0, 'a'), (2, 0, 'b'), (3, 0, 'c')"), "");
	CU_ASSERT(rig_quiet(&r));
}

static void end(void)
{
	CU_ASSERT(rig_fini(&r));
}

static uint64_t early(void)
{
	return txns_stats(engine_txns(r.at[1].engine))->grants_inherited;
}

/* All at once: who comes second is there before the log has decided about the first. */
static void all(const char *a, const char *b, const char *c, const char *d)
{
	const char *sql[4] = {a, b, c, d};

	for (int i = 0; i < 4 && sql[i]; i++)
		rig_send(s[i], sql[i]);
	for (int i = 0; i < 4 && sql[i]; i++) {
		CU_ASSERT(rig_answered(s[i], 10000000));
		CU_ASSERT_STRING_EQUAL(s[i]->text, "");
	}
}

static void test_inherit_counter(void)
{
	uint64_t before;
	seq_index index;

	begin();
	before = early();
	index = rig_applied(&r, 1);
	for (int round = 0; round < 5; round++)
		all("update t set n = n + 1 where id = 1", "update t set n = n + 10, v = v || 'x' where id = 1",
		    "update t set n = n + 100 where id = 1", "update t set n = n + 1000 where n >= 0 and v <> 'c'");
	CU_ASSERT_STRING_EQUAL(rig_sql(s[3], "select * from t order by id"), "1|5555|axxxxx\n2|5000|b\n3|0|c\n");
	CU_ASSERT(early() - before >= 10);
	CU_ASSERT(rig_applied(&r, 1) - index == 20); /* a record each */
	CU_ASSERT(rig_quiet(&r));
	end();
}

/* The condition is asked again of what was inherited, and what is found then may be nothing. */
static void test_inherit_condition(void)
{
	uint64_t before;

	begin();
	before = early();
	all("update t set v = 'z' where id = 1", "update t set v = 'q' where id = 1 and v = 'a'",
	    "update t set n = 7 where id = 1 and v in ('a', 'z')", NULL);
	CU_ASSERT_STRING_EQUAL(rig_sql(s[0], "select * from t where id = 1"), "1|7|z\n");
	CU_ASSERT(early() > before);
	/* a row that the first one takes away, or that gets another key, is waited for */
	before = early();
	all("delete from t where id = 1", "update t set n = 8 where id = 1", NULL, NULL);
	all("update t set id = 20 where id = 2", "update t set n = 9 where id = 2", NULL, NULL);
	CU_ASSERT(early() == before);
	CU_ASSERT_STRING_EQUAL(rig_sql(s[0], "select * from t order by id"), "3|0|c\n20|0|b\n");
	end();
}

/* Between the two somebody had the row without changing it, and passes as well. */
static void test_inherit_key_share(void)
{
	begin();
	CU_ASSERT_STRING_EQUAL(rig_sql(s[0], "create table u (id int primary key, n int); insert into u values (1, 0)"), "");
	CU_ASSERT(rig_quiet(&r));
	rig_send(s[0], "update t set n = n + 1 where id = 1");
	rig_send(s[1], "begin; select 1 from t where id = 1 for key share; update u set n = 1 where id = 1; commit");
	rig_send(s[2], "delete from t where id = 1 and n = 0");
	for (int i = 0; i < 3; i++)
		CU_ASSERT(rig_answered(s[i], 10000000));
	CU_ASSERT_STRING_EQUAL(rig_sql(s[3], "select n from t where id = 1"), "1\n");
	CU_ASSERT_STRING_EQUAL(rig_sql(s[3], "select n from u"), "1\n");
	end();
}

/* What is told before a commit is never of a change that is not decided. */
static void test_inherit_blocks(void)
{
	uint64_t before;

	begin();
	before = early();
	CU_ASSERT_STRING_EQUAL(rig_sql(s[1], "begin"), "");
	rig_send(s[0], "update t set n = n + 1 where id = 1");
	rig_send(s[1], "update t set n = n + 10 where id = 1");
	CU_ASSERT(rig_answered(s[1], 10000000));
	CU_ASSERT(s[0]->ready); /* decided and answered before */
	CU_ASSERT_STRING_EQUAL(rig_sql(s[1], "select n from t where id = 1"), "11\n");
	CU_ASSERT_STRING_EQUAL(rig_sql(s[1], "commit"), "");
	rig_send(s[0], "update t set n = n + 1 where id = 1");
	rig_send(s[1], "update t set n = n + 10 where id = 1 returning n");
	CU_ASSERT(rig_answered(s[1], 10000000));
	CU_ASSERT_STRING_EQUAL(s[1]->text, "22\n");
	CU_ASSERT(early() == before);
	end();
}

/* Several statements of one message are one transaction: those behind the first see all that it built on. */
static void test_inherit_later_statement(void)
{
	uint64_t before;

	begin();
	before = early();
	CU_ASSERT_STRING_EQUAL(rig_sql(s[0], "begin"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s[0], "update t set n = 5 where id = 1"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s[0], "update t set n = 5 where id = 2"), "");
	rig_send(s[1], "update t set n = n + 1 where id = 1; update t set n = n + (select n from t where id = 2) where id = 3");
	CU_ASSERT(!rig_answered(s[1], 100000));
	rig_send(s[0], "commit");
	CU_ASSERT(rig_answered(s[1], 10000000));
	CU_ASSERT_STRING_EQUAL(rig_sql(s[2], "select n from t order by id"), "6\n5\n5\n");
	CU_ASSERT(early() > before);
	end();
}

/* The only archive dies with a row of transactions on their way: of each all or nothing, and none without those before it. */
static void test_inherit_crash(void)
{
	const char *text;

	begin();
	for (int i = 0; i < 4; i++)
		rig_send(s[i], "update t set n = n * 2 + 1, v = v || 'x' where id = 1");
	CU_ASSERT(rig_until(&r, 300, NULL, NULL));
	rig_kill(&r, 0);
	CU_ASSERT(rig_start(&r, 0));
	for (int i = 0; i < 4; i++)
		CU_ASSERT(rig_answered(s[i], 30000000));
	CU_ASSERT(rig_quiet(&r));
	text = rig_sql(s[0], "select n, v from t where id = 1");
	CU_ASSERT(!strcmp(text, "0|a\n") || !strcmp(text, "1|ax\n") || !strcmp(text, "3|axx\n") || !strcmp(text, "7|axxx\n") ||
		  !strcmp(text, "15|axxxx\n"));
	end();
}

void suite_cluster_inherit(void)
{
	CU_pSuite suite = CU_add_suite("cluster_inherit", NULL, NULL);

	CU_ADD_TEST(suite, test_inherit_counter);
	CU_ADD_TEST(suite, test_inherit_condition);
	CU_ADD_TEST(suite, test_inherit_key_share);
	CU_ADD_TEST(suite, test_inherit_blocks);
	CU_ADD_TEST(suite, test_inherit_later_statement);
	CU_ADD_TEST(suite, test_inherit_crash);
}
