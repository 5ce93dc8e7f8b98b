/*
 * test_txns.c - transactions on whole engines: properties that need a certain order of steps.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"
#include "rig.h"

static struct rig r;

/* One archive and one cache; @s has a table t with three rows on the cache. */
static struct rig_session *begin(uint32_t archives, uint32_t caches)
{
	struct rig_session *s;

	memset(&r, 0, sizeof r);
	CU_ASSERT_FATAL(rig_init(&r, archives, caches));
	s = rig_session(&r, archives);
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "create table t (id int primary key, v text)"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "insert into t values (1, 'a'), (2, 'b'), (3, 'c')"), "");
	return s;
}

static void end(void)
{
	CU_ASSERT(rig_fini(&r));
}

/* The rig itself: what one engine commits another one reads. */
static void test_txns_two_engines(void)
{
	struct rig_session *s = begin(1, 2), *o = rig_session(&r, 2);

	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "select id, v from t order by id"), "1|a\n2|b\n3|c\n");
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "update t set v = 'x' where id = 2"), "");
	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "select v from t where id = 2"), "x\n");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "select w from t"), "42703 column \"w\" does not exist\n");
	end();
}

/* A lock on a relation that was given up does not stand in the way of the next one, in the same transaction or not. */
static void test_txns_given_up_lock(void)
{
	struct rig_session *s = begin(1, 2), *o = rig_session(&r, 2);

	CU_ASSERT_STRING_EQUAL(rig_sql(s, "create table u (id int primary key)"), "");
	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "begin"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "select count(*) from t"), "3\n");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "begin"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "savepoint a"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "set local statement_timeout = 300"), "");
	CU_ASSERT(!strncmp(rig_sql(s, "alter table t add column w int"), "57014", 5));
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "rollback to a"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "alter table u add column w int"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "select w from u"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "commit"), "");
	/* the other one's transaction was never in the way of the second, and t is free again */
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "select count(*) from t"), "3\n");
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "commit"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "insert into t values (4, 'd')"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "alter table t add column w int"), "");
	end();
}

void suite_cluster_txns(void)
{
	CU_pSuite suite = CU_add_suite("cluster_txns", NULL, NULL);

	CU_ADD_TEST(suite, test_txns_two_engines);
	CU_ADD_TEST(suite, test_txns_given_up_lock);
}
