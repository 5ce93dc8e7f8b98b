/*
 * test_levels.c - when a commit is answered, step by step: disks that are slow, no leader, a commit that comes to nothing.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "catalog/replica.h"
#include "engine/txn/txn_int.h"
#include "unit.h"
#include "rig.h"

#define SOON 300000 /* us: far less than the disks here take, far more than messages do */

static struct rig r;

static struct rig_session *begin(uint32_t archives, uint32_t caches)
{
	struct rig_session *s;

	memset(&r, 0, sizeof r);
	CU_ASSERT_FATAL(rig_init(&r, archives, caches));
	s = rig_session(&r, archives);
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "create table t (id int primary key, v text)"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "insert into t values (1, 'a'), (2, 'b'), (3, 'c')"), "");
	CU_ASSERT(rig_quiet(&r));
	return s;
}

static void end(void)
{
	CU_ASSERT(rig_fini(&r));
}

static const struct txns_stats *stats(uint32_t n)
{
	return txns_stats(engine_txns(r.at[n].engine));
}

/* A session with this level and an open transaction that has changed row @id: what is left to do is COMMIT. */
static struct rig_session *writer(uint32_t n, const char *level, int id)
{
	struct rig_session *s = rig_session(&r, n);
	char text[100];

	snprintf(text, sizeof text, "set valence.commit_level = %s", level);
	CU_ASSERT_STRING_EQUAL(rig_sql(s, text), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "begin"), "");
	snprintf(text, sizeof text, "update t set v = '%s' where id = %d", level, id);
	CU_ASSERT_STRING_EQUAL(rig_sql(s, text), "");
	return s;
}

/*
 * Disks that take seconds: at level archive COMMIT waits for them, at memory for messages alone. Nobody sees the change before it is
 * journalled, and its own session waits for that.
 */
static void test_levels_slow_disks(void)
{
	struct rig_session *s = begin(3, 2), *a, *m, *l;

	a = writer(3, "archive", 1);
	m = writer(3, "memory", 2);
	l = writer(3, "local", 3);
	for (uint32_t i = 0; i < 3; i++)
		sim_disk_set_slow(r.at[i].disk, 10000);
	rig_send(a, "commit");
	rig_send(m, "commit");
	rig_send(l, "commit");
	CU_ASSERT(rig_answered(l, SOON) && rig_answered(m, SOON));
	CU_ASSERT(!rig_answered(a, SOON));
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "select v from t order by id"), "a\nb\nc\n");
	rig_send(m, "select v from t where id = 2");
	rig_send(l, "select v from t where id = 3");
	CU_ASSERT(!rig_answered(m, SOON) && !rig_answered(l, SOON));
	CU_ASSERT_EQUAL(stats(3)->early, 2);
	for (uint32_t i = 0; i < 3; i++)
		sim_disk_set_slow(r.at[i].disk, 1);
	CU_ASSERT(rig_answered(a, 20000000) && rig_answered(m, 20000000) && rig_answered(l, 20000000));
	CU_ASSERT_STRING_EQUAL(m->text, "memory\n");
	CU_ASSERT_STRING_EQUAL(l->text, "local\n");
	CU_ASSERT_STRING_EQUAL(m->warning, "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "select v from t order by id"), "archive\nmemory\nlocal\n");
	CU_ASSERT_EQUAL(stats(3)->early_lost, 0);
	end();
}

/* One follower of two is enough. */
static void test_levels_majority(void)
{
	struct rig_session *m;

	(void)begin(3, 2);
	m = writer(3, "memory", 1);
	rig_kill(&r, 1);
	CU_ASSERT(rig_quiet(&r));
	for (uint32_t i = 0; i < 3; i += 2)
		sim_disk_set_slow(r.at[i].disk, 10000);
	rig_send(m, "commit");
	CU_ASSERT(rig_answered(m, 6000000)); /* whatever is under way on the disks for the removal */
	CU_ASSERT_EQUAL(stats(3)->early, 1);
	for (uint32_t i = 0; i < 3; i += 2)
		sim_disk_set_slow(r.at[i].disk, 1);
	CU_ASSERT(rig_start(&r, 1));
	CU_ASSERT_STRING_EQUAL(rig_sql(m, "select v from t where id = 1"), "memory\n");
	end();
}

/* Without a leader only level local is answered. The record is kept until there is one again. */
static void test_levels_no_leader(void)
{
	struct rig_session *a, *m, *l;

	(void)begin(1, 2);
	a = writer(1, "archive", 1);
	m = writer(1, "memory", 2);
	l = writer(1, "local", 3);
	rig_kill(&r, 0);
	rig_send(a, "commit");
	rig_send(m, "commit");
	rig_send(l, "commit");
	CU_ASSERT(rig_answered(l, SOON));
	CU_ASSERT(!rig_answered(a, SOON) && !rig_answered(m, SOON));
	CU_ASSERT(rig_start(&r, 0));
	CU_ASSERT(rig_answered(a, 20000000) && rig_answered(m, 20000000));
	CU_ASSERT_STRING_EQUAL(rig_sql(l, "select v from t order by id"), "archive\nmemory\nlocal\n");
	CU_ASSERT_STRING_EQUAL(l->warning, "");
	end();
}

/* What was answered and comes to nothing is told once, with the next reply, and counted; the leader does not vouch for it. */
static void test_levels_lost(void)
{
	for (int memory = 0; memory < 2; memory++) {
		struct rig_session *s = begin(1, 2), *l;
		struct txns *t = engine_txns(r.at[1].engine);

		l = writer(1, memory ? "memory" : "local", 1);
		LIST_FOREACH(it, &t->txns) { /* a grant of an engine that is gone, and whose removal is not known here */
			struct txn *x = CONTAINER_OF(it, struct txn, all);

			VEC_PUSH(t->mem, &x->grantors, 999);
		}
		rig_send(l, "commit");
		CU_ASSERT(rig_answered(l, SOON));
		CU_ASSERT(memory ? !strncmp(l->text, "40001", 5) : !*l->text);
		CU_ASSERT_STRING_EQUAL(rig_sql(l, "select v from t where id = 1"), "a\n");
		CU_ASSERT_STRING_EQUAL(l->warning, memory ? "" : "40001");
		CU_ASSERT_STRING_EQUAL(rig_sql(l, "select 1"), "1\n");
		CU_ASSERT_STRING_EQUAL(l->warning, "");
		CU_ASSERT_EQUAL(stats(1)->early_lost, !memory);
		CU_ASSERT_STRING_EQUAL(rig_sql(s, "update t set v = 'x' where id = 1"), ""); /* its lock is gone, too */
		end();
	}
}

/* Definitions and named transactions wait for the journal at any level; a session that ends does not take its commit with it. */
static void test_levels_archive_all_the_same(void)
{
	struct rig_session *s = begin(1, 2), *n, *d, *l;

	n = writer(1, "local", 1);
	CU_ASSERT_STRING_EQUAL(rig_sql(n, "set local valence.txn_id = 'n'"), "");
	d = rig_session(&r, 1);
	CU_ASSERT_STRING_EQUAL(rig_sql(d, "set valence.commit_level = memory"), "");
	l = writer(1, "local", 3);
	sim_disk_set_slow(r.at[0].disk, 10000);
	rig_send(n, "commit");
	rig_send(d, "create table u (id int)");
	rig_send(l, "commit");
	CU_ASSERT(rig_answered(l, SOON) && !rig_answered(n, SOON) && !rig_answered(d, SOON));
	rig_session_free(l);
	sim_disk_set_slow(r.at[0].disk, 1);
	CU_ASSERT(rig_answered(n, 20000000) && rig_answered(d, 20000000));
	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "select v from t order by id"), "local\nb\nlocal\n");
	CU_ASSERT_EQUAL(stats(1)->early, 1);
	end();
}

void suite_cluster_levels(void)
{
	CU_pSuite s = CU_add_suite("cluster_levels", NULL, NULL);

	CU_add_test(s, "slow disks", test_levels_slow_disks);
	CU_add_test(s, "majority", test_levels_majority);
	CU_add_test(s, "no leader", test_levels_no_leader);
	CU_add_test(s, "lost", test_levels_lost);
	CU_add_test(s, "archive all the same", test_levels_archive_all_the_same);
}
