/*
 * test_leave.c - archives that leave and come back: what becomes of their votes (P23).
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine_int.h"
#include "unit.h"
#include "rig.h"

static struct rig r;
static int next_id;

static struct rig_session *begin(uint32_t archives)
{
	struct rig_session *s;

	memset(&r, 0, sizeof r);
	CU_ASSERT_FATAL(rig_init(&r, archives, 1));
	s = rig_session(&r, archives);
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "create table t (id int primary key)"), "");
	next_id = 0;
	return s;
}

static void end(void)
{
	CU_ASSERT(rig_fini(&r));
}

/* Commits go on. */
static bool commits(struct rig_session *s)
{
	char sql[64];

	snprintf(sql, sizeof sql, "insert into t values (%d)", ++next_id);
	if (rig_sql(s, sql)[0])
		printf("%s", s->text);
	return !s->text[0];
}

static uint32_t voting(uint32_t n)
{
	return seq_voting(seq_current_voters(r.at[n].engine->seq));
}

static uint32_t leader(void)
{
	for (uint32_t n = 0; n < r.count; n++)
		if (r.at[n].up && r.at[n].archive && engine_is_leader(r.at[n].engine))
			return n;
	return UINT32_MAX;
}

static bool all_vote(struct rig *rig, void *ctx)
{
	uint32_t n = leader();

	(void)rig;
	return n != UINT32_MAX && voting(n) == *(uint32_t *)ctx;
}

static bool leads(struct rig *rig, void *ctx)
{
	(void)rig;
	(void)ctx;
	return leader() != UINT32_MAX;
}

/* One of two archives leaves, the one that leads or the other: the one left commits alone, and both vote once it is back. */
static void test_leave_one_of_two(void)
{
	struct rig_session *s = begin(2);
	uint32_t two = 2;

	CU_ASSERT(rig_until(&r, 5000000, all_vote, &two));
	for (int round = 0; round < 4; round++) {
		uint32_t goes = round & 1 ? leader() : 1 - leader();

		CU_ASSERT_FATAL(goes < 2);
		CU_ASSERT(rig_stop(&r, 1u << goes));
		CU_ASSERT_FATAL(commits(s));
		CU_ASSERT_EQUAL(voting(1 - goes), 1);
		CU_ASSERT(rig_until(&r, 6000000, NULL, NULL));
		CU_ASSERT_FATAL(commits(s));
		CU_ASSERT_FATAL(rig_start(&r, goes));
		CU_ASSERT(rig_until(&r, 5000000, all_vote, &two));
		CU_ASSERT_FATAL(commits(s));
		CU_ASSERT(rig_quiet(&r));
	}
	end();
}

/* A cluster that is stopped as a whole starts as a whole, and has everything. */
static void test_leave_all(void)
{
	for (uint32_t archives = 1; archives <= 3; archives++) {
		struct rig_session *s = begin(archives);
		uint32_t most = (1u << archives) - 1;

		CU_ASSERT(rig_until(&r, 5000000, all_vote, &archives));
		for (int round = 0; round < 3; round++) {
			for (int i = 0; i < 5; i++)
				CU_ASSERT_FATAL(commits(s));
			CU_ASSERT(rig_stop(&r, 1u << archives));
			CU_ASSERT(rig_stop(&r, most));
			for (uint32_t n = 0; n < archives; n++)
				rig_open(&r, n);
			CU_ASSERT_FATAL(rig_start(&r, archives));
			CU_ASSERT_FATAL(rig_until(&r, 10000000, all_vote, &archives));
			s = rig_session(&r, archives);
			CU_ASSERT_FATAL(atoi(rig_sql(s, "select count(*) from t")) == next_id);
		}
		end();
	}
}

/* With three the first that leaves keeps its vote: a restart changes nothing. The second one's must go, and the first's. */
static void test_leave_two_of_three(void)
{
	struct rig_session *s = begin(3);
	uint32_t three = 3, first, second;

	CU_ASSERT(rig_until(&r, 5000000, all_vote, &three));
	first = (leader() + 1) % 3;
	CU_ASSERT(rig_stop(&r, 1u << first));
	CU_ASSERT_FATAL(commits(s));
	CU_ASSERT_EQUAL(voting(leader()), 3);
	second = leader();
	CU_ASSERT(rig_stop(&r, 1u << second));
	CU_ASSERT(rig_until(&r, 5000000, leads, NULL));
	CU_ASSERT_FATAL(commits(s));
	CU_ASSERT_EQUAL(voting(leader()), 1);
	CU_ASSERT_FATAL(rig_start(&r, first));
	CU_ASSERT_FATAL(rig_start(&r, second));
	CU_ASSERT(rig_until(&r, 5000000, all_vote, &three));
	CU_ASSERT(rig_quiet(&r)); /* the list is committed */
	rig_kill(&r, leader());
	CU_ASSERT(rig_until(&r, 5000000, leads, NULL));
	CU_ASSERT_FATAL(commits(s));
	end();
}

/* One that failed keeps its vote, and one that cannot go without harm says so. */
static void test_leave_after_failure(void)
{
	struct rig_session *s = begin(3);
	uint32_t three = 3, goes;

	CU_ASSERT(rig_until(&r, 5000000, all_vote, &three));
	rig_kill(&r, (leader() + 1) % 3);
	CU_ASSERT(rig_until(&r, 5000000, NULL, NULL));
	CU_ASSERT_FATAL(commits(s));
	goes = leader();
	CU_ASSERT(rig_stop(&r, 1u << goes)); /* after it waited */
	rig_send(s, "insert into t values (1000)");
	CU_ASSERT(!rig_answered(s, 3000000));
	CU_ASSERT_FATAL(rig_start(&r, goes));
	CU_ASSERT(rig_answered(s, 5000000));
	end();
}

void suite_cluster_leave(void)
{
	CU_pSuite suite = CU_add_suite("cluster_leave", NULL, NULL);

	CU_ADD_TEST(suite, test_leave_one_of_two);
	CU_ADD_TEST(suite, test_leave_all);
	CU_ADD_TEST(suite, test_leave_two_of_three);
	CU_ADD_TEST(suite, test_leave_after_failure);
}
