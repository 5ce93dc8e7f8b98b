/*
 * test_trace.c - every effect of a whole cluster, in order, compared as text.
 *
 * A line: milliseconds since the cluster began at 1000, then what a voter did. These cases are the
 * protocol's examples: when a change of code changes one, read the difference as a reviewer would,
 * then replace the text.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster.h"
#include "../unit.h"

static void compare(struct cluster *cl, const char *wanted)
{
	const char *got;

	put_u8(&cl->trace, 0);
	got = (const char *)cl->trace.data;
	if (strcmp(got, wanted) != 0)
		printf("    got:\n%s\n", got);
	CU_ASSERT_STRING_EQUAL(got, wanted);
	CU_ASSERT_FALSE(cl->failed);
	buf_reset(&cl->trace);
}

/* One voter: its vote, its first entry, a proposal; two writes are under way at once. */
static void test_trace_single(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 1, 1);
	cl.tracing = true;
	cl_start(&cl, 1);
	seq_tick(cl.at[1].seq, cl.now_us);
	CU_ASSERT_TRUE(cl_step(&cl, UINT64_MAX - 1));
	CU_ASSERT_EQUAL(cl_propose(&cl, 1, "a", NULL), ST_OK);
	cl_deliver_all(&cl);
	compare(&cl, "1000.0  1 starts term 0 last 0\n"
		     "1000.0  1 candidate term 1 leader 0\n"
		     "1000.0  1 writes term 1 vote 1, 0 entries from 0\n"
		     "1001.0  1 has written\n"
		     "1001.0  1 leads term 1 leader 1\n"
		     "1001.0  1 writes term 1 vote 1, 1 entries from 1\n"
		     "1001.0  1 writes term 1 vote 1, 1 entries from 2\n"
		     "1002.0  1 has written\n"
		     "1002.0  1 commits 1/1\n"
		     "1003.0  1 has written\n"
		     "1003.0  1 commits 2/1\n");
	cl_fini(&cl);
}

/*
 * Three voters: pre-vote, votes that are written before they are given, the first entry, its
 * commit, told at once.
 */
static void test_trace_election(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 3, 3);
	cl.tracing = true;
	for (uint64_t id = 1; id <= 3; id++)
		cl_start(&cl, id);
	CU_ASSERT_TRUE(cl_stand(&cl, 1));
	compare(&cl, "1000.0  1 starts term 0 last 0\n"
		     "1000.0  2 starts term 0 last 0\n"
		     "1000.0  3 starts term 0 last 0\n"
		     "1342.9  1>2 pre-vote? term 1 last 0/0\n"
		     "1342.9  1>3 pre-vote? term 1 last 0/0\n"
		     "1342.9  1 pre-candidate term 0 leader 0\n"
		     "1343.1  2>1 pre-vote yes term 1\n"
		     "1343.1  3>1 pre-vote yes term 1\n"
		     "1343.3  1 candidate term 1 leader 0\n"
		     "1343.3  1 writes term 1 vote 1, 0 entries from 0\n"
		     "1344.3  1 has written\n"
		     "1344.3  1>2 vote? term 1 last 0/0\n"
		     "1344.3  1>3 vote? term 1 last 0/0\n"
		     "1344.5  2 follows term 1 leader 0\n"
		     "1344.5  2 writes term 1 vote 1, 0 entries from 0\n"
		     "1344.5  3 follows term 1 leader 0\n"
		     "1344.5  3 writes term 1 vote 1, 0 entries from 0\n"
		     "1345.5  2 has written\n"
		     "1345.5  2>1 vote yes term 1\n"
		     "1345.5  3 has written\n"
		     "1345.5  3>1 vote yes term 1\n"
		     "1345.7  1 leads term 1 leader 1\n"
		     "1345.7  1 writes term 1 vote 1, 1 entries from 1\n"
		     "1345.7  1>2 append term 1 prev 0/0 +1 committed 0 answer!\n"
		     "1345.7  1>3 append term 1 prev 0/0 +1 committed 0 answer!\n"
		     "1345.9  2 follows term 1 leader 1\n"
		     "1345.9  2 writes term 1 vote 1, 1 entries from 1\n"
		     "1345.9  2>1 appended term 1 match 0 agreed 1\n"
		     "1345.9  3 follows term 1 leader 1\n"
		     "1345.9  3 writes term 1 vote 1, 1 entries from 1\n"
		     "1345.9  3>1 appended term 1 match 0 agreed 1\n"
		     "1346.7  1 has written\n"
		     "1346.9  2 has written\n"
		     "1346.9  2>1 appended term 1 match 1 agreed 1\n"
		     "1346.9  3 has written\n"
		     "1346.9  3>1 appended term 1 match 1 agreed 1\n"
		     "1347.1  1>2 append term 1 prev 1/1 +0 committed 1\n"
		     "1347.1  1>3 append term 1 prev 1/1 +0 committed 1\n"
		     "1347.1  1 commits 1/1\n"
		     "1347.3  2 commits 1/1\n"
		     "1347.3  3 commits 1/1\n");
	cl_fini(&cl);
}

/*
 * A proposal: written here and sent at once; acknowledged when durable there; committed by the
 * second disk.
 */
static void test_trace_proposal(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	cl.at[1].disk_us = 3000;
	cl.at[3].disk_us = 5000;
	cl.tracing = true;
	CU_ASSERT_EQUAL(cl_propose(&cl, 1, "a", NULL), ST_OK);
	cl_deliver_all(&cl);
	compare(&cl, "1407.3  1 writes term 1 vote 1, 1 entries from 2\n"
		     "1407.3  1>2 append term 1 prev 1/1 +1 committed 1\n"
		     "1407.3  1>3 append term 1 prev 1/1 +1 committed 1\n"
		     "1407.5  2 writes term 1 vote 1, 1 entries from 2\n"
		     "1407.5  3 writes term 1 vote 1, 1 entries from 2\n"
		     "1408.5  2 has written\n"
		     "1408.5  2>1 appended term 1 match 2 agreed 2\n"
		     "1410.3  1 has written\n"
		     "1410.3  1>2 append term 1 prev 2/1 +0 committed 2\n"
		     "1410.3  1>3 append term 1 prev 2/1 +0 committed 2\n"
		     "1410.3  1 commits 2/1\n"
		     "1410.5  2 commits 2/1\n"
		     "1410.5  3 commits 2/1\n"
		     "1412.5  3 has written\n"
		     "1412.5  3>1 appended term 1 match 2 agreed 2\n");
	cl_fini(&cl);
}

/*
 * A leader comes back with entries that nobody else got: refused, stepped back to the last common
 * one, replaced.
 */
static void test_trace_diverged(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	cl_isolate(&cl, 1, true);
	CU_ASSERT_EQUAL(cl_propose(&cl, 1, "lost", NULL), ST_OK);
	CU_ASSERT_EQUAL(cl_propose(&cl, 1, "lost too", NULL), ST_OK);
	cl_crash_keep(&cl, 1, 9);
	CU_ASSERT_EQUAL(cl_elect(&cl, 2), 2);
	cl_heal(&cl);
	CU_ASSERT_EQUAL(cl_propose(&cl, 2, "instead", NULL), ST_OK);
	cl_deliver_all(&cl);
	CU_ASSERT_EQUAL(seq_transfer(cl.at[2].seq, cl.now_us, 3), ST_OK);
	cl_deliver_all(&cl);
	CU_ASSERT_EQUAL(cl_leader(&cl), 3);
	cl.tracing = true;
	cl_start(&cl, 1);
	cl_run(&cl, 55000);
	compare(&cl, "1435.9  1 starts term 1 last 3\n"
		     "1484.3  3>1 append term 3 prev 3/2 +0 committed 4 answer!\n"
		     "1484.3  3>2 append term 3 prev 4/3 +0 committed 4 answer!\n"
		     "1484.5  1>3 refused term 3 match 0 agreed 2\n"
		     "1484.5  1 follows term 3 leader 3\n"
		     "1484.5  1 writes term 3 vote 0, 0 entries from 0\n"
		     "1484.5  2>3 appended term 3 match 4 agreed 4\n"
		     "1484.7  3>1 append term 3 prev 1/1 +3 committed 4 answer!\n"
		     "1484.9  1 writes term 3 vote 0, 3 entries from 2\n"
		     "1484.9  1 commits 1/1\n"
		     "1484.9  1 commits 2/2\n"
		     "1484.9  1 commits 3/2\n"
		     "1484.9  1 commits 4/3\n"
		     "1485.5  1 has written\n"
		     "1485.5  1>3 appended term 3 match 1 agreed 4\n"
		     "1486.5  1 has written\n"
		     "1486.5  1>3 appended term 3 match 4 agreed 4\n");
	cl_fini(&cl);
}

void suite_sequencer_trace(void)
{
	CU_pSuite s = CU_add_suite("sequencer/trace", NULL, NULL);

	CU_add_test(s, "single", test_trace_single);
	CU_add_test(s, "election", test_trace_election);
	CU_add_test(s, "proposal", test_trace_proposal);
	CU_add_test(s, "diverged", test_trace_diverged);
}
