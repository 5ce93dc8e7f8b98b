/*
 * test_single.c - one voter: nothing to agree on, so nothing to wait for but the disk.
 */
#include <CUnit/CUnit.h>

#include "cluster.h"
#include "../unit.h"

/*
 * A single voter is due at once, elects itself and commits, without a message and without a second
 * tick.
 */
static void test_single_starts(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 1, 1);
	cl_start(&cl, 1);
	CU_ASSERT_EQUAL(seq_next_us(cl.at[1].seq), cl.now_us);
	seq_tick(cl.at[1].seq, cl.now_us);
	CU_ASSERT_EQUAL(seq_role(cl.at[1].seq), SEQ_CANDIDATE); /* not before its vote is durable */
	cl_deliver_all(&cl);
	CU_ASSERT_EQUAL(seq_role(cl.at[1].seq), SEQ_LEADER);
	CU_ASSERT_EQUAL(seq_term(cl.at[1].seq), 1);
	CU_ASSERT_TRUE(seq_own_term_committed(cl.at[1].seq));
	CU_ASSERT_EQUAL(seq_next_us(cl.at[1].seq), UINT64_MAX);
	CU_ASSERT_EQUAL(seq_stats(cl.at[1].seq).messages_out, 0);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/* Several entries are in flight at once, and each commits when its own write is durable. */
static void test_single_pipelines(void)
{
	struct cluster cl;
	uint64_t pos[3];

	cl_init(&cl, 1, 1, 1);
	cl_start(&cl, 1);
	CU_ASSERT_EQUAL_FATAL(cl_elect(&cl, 1), 1);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(cl_propose(&cl, 1, "abc", &pos[i]), ST_OK);
	CU_ASSERT_EQUAL(pos[0], 2);
	CU_ASSERT_EQUAL(pos[2], 4);
	CU_ASSERT_EQUAL(cl.at[1].writes.count, 3);
	CU_ASSERT_EQUAL(seq_in_flight(cl.at[1].seq), 3);
	CU_ASSERT_TRUE(cl_step(&cl, UINT64_MAX - 1));
	CU_ASSERT_EQUAL(cl.at[1].delivered, 2);
	CU_ASSERT_EQUAL(seq_in_flight(cl.at[1].seq), 2);
	cl_deliver_all(&cl);
	CU_ASSERT_EQUAL(cl.at[1].delivered, 4);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * A restart reports what was committed before and not yet applied, from the journal, after its new
 * term's first entry.
 */
static void test_single_restarts(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 1, 1);
	cl_start(&cl, 1);
	CU_ASSERT_EQUAL_FATAL(cl_elect(&cl, 1), 1);
	for (int i = 0; i < 1000; i++)
		CU_ASSERT_EQUAL(cl_propose(&cl, 1, "abc", NULL), ST_OK);
	cl_deliver_all(&cl);
	CU_ASSERT_EQUAL(cl.at[1].delivered, 1001);
	cl_crash_keep(&cl, 1, 0);
	cl.at[1].applied_at_open = 100;
	cl_start(&cl, 1);
	CU_ASSERT_EQUAL(cl_elect(&cl, 1), 2);
	/* In portions, so that one event stays short; the next tick is due at once. */
	CU_ASSERT_TRUE(cl.at[1].delivered > 100 && cl.at[1].delivered < 1001);
	CU_ASSERT_TRUE(seq_next_us(cl.at[1].seq) <= cl.now_us);
	cl_run(&cl, 1000);
	CU_ASSERT_EQUAL(cl.at[1].delivered, 1002);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * What is neither durable nor committed cannot leave memory: past the window the leader says try
 * again, then recovers.
 */
static void test_single_bounds_memory(void)
{
	struct cluster cl;
	int accepted = 0;

	cl_init(&cl, 1, 1, 1);
	cl.window_bytes = 1000;
	cl_start(&cl, 1);
	CU_ASSERT_EQUAL_FATAL(cl_elect(&cl, 1), 1);
	cl.at[1].disk_stopped = true;
	while (accepted < 100 &&
	       cl_propose(&cl, 1, "0123456789012345678901234567890123456789", NULL) == ST_OK)
		accepted++;
	CU_ASSERT_TRUE(accepted > 5 && accepted < 30);
	CU_ASSERT_EQUAL(cl_propose(&cl, 1, "x", NULL), ST_AGAIN);
	cl.at[1].disk_stopped = false;
	cl_deliver_all(&cl);
	CU_ASSERT_EQUAL(cl_propose(&cl, 1, "x", NULL), ST_OK);
	cl_deliver_all(&cl);
	CU_ASSERT_EQUAL(cl.at[1].delivered, (uint64_t)accepted + 2);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * A read index of a single voter is confirmed before the call returns, once its term's first entry
 * is committed.
 */
static void test_single_read_index(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 1, 1);
	cl_start(&cl, 1);
	CU_ASSERT_EQUAL(seq_read_index(cl.at[1].seq, cl.now_us, 7), ST_NOT_LEADER);
	cl.at[1].disk_us = 5000;
	seq_tick(cl.at[1].seq, cl.now_us);
	CU_ASSERT_TRUE(cl_step(&cl, UINT64_MAX - 1)); /* the vote */
	CU_ASSERT_EQUAL_FATAL(seq_role(cl.at[1].seq), SEQ_LEADER);
	cl_read(&cl, 1);
	CU_ASSERT_EQUAL(cl.at[1].reads_ok, 0);
	cl_deliver_all(&cl);
	CU_ASSERT_EQUAL(cl.at[1].reads_ok, 1);
	cl_read(&cl, 1);
	CU_ASSERT_EQUAL(cl.at[1].reads_ok, 2);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * Positions and terms that cannot be, proposals that are too large or of a wrong kind: errors that
 * change nothing.
 */
static void test_single_bad_input(void)
{
	static const struct seq_host nothing;
	struct mem mem;
	struct cluster cl;
	struct seq *s = NULL;
	uint64_t pos;

	mem_init(&mem, NULL, "test", 0);
	struct seq_config good = {.mem = &mem, .self = 1, .host = &nothing, .first_pos = 1},
			  c = good;
	CU_ASSERT_EQUAL_FATAL(seq_open(&c, 0, &s), ST_OK);
	seq_close(s);
	c.self = 0;
	CU_ASSERT_EQUAL(seq_open(&c, 0, &s), ST_BAD_PARAMETER);
	c = good;
	c.committed_pos = 1;
	CU_ASSERT_EQUAL(seq_open(&c, 0, &s), ST_BAD_PARAMETER);
	c = good;
	c.last_pos = 5;
	c.last_term = 3; /* term 0 */
	CU_ASSERT_EQUAL(seq_open(&c, 0, &s), ST_BAD_PARAMETER);
	c = good;
	c.first_pos = 7;
	c.last_pos = 5;
	CU_ASSERT_EQUAL(seq_open(&c, 0, &s), ST_BAD_PARAMETER);
	mem_fini(&mem);

	cl_init(&cl, 1, 1, 1);
	cl_start(&cl, 1);
	CU_ASSERT_EQUAL(seq_propose(cl.at[1].seq, cl.now_us, SEQ_BATCH, "x", 1, &pos),
			ST_NOT_LEADER);
	CU_ASSERT_EQUAL_FATAL(cl_elect(&cl, 1), 1);
	CU_ASSERT_EQUAL(seq_propose(cl.at[1].seq, cl.now_us, SEQ_CONFIG, "x", 1, &pos),
			ST_BAD_PARAMETER);
	CU_ASSERT_EQUAL(
		seq_propose(cl.at[1].seq, cl.now_us, SEQ_BATCH, "x", SEQ_ENTRY_MAX + 1, &pos),
		ST_PROGRAM_LIMIT);
	CU_ASSERT_EQUAL(seq_last(cl.at[1].seq), 1);
	CU_ASSERT_EQUAL(seq_transfer(cl.at[1].seq, cl.now_us, 1), ST_BAD_PARAMETER);
	cl_fini(&cl);
}

void suite_sequencer_single(void)
{
	CU_pSuite s = CU_add_suite("sequencer/single", NULL, NULL);

	CU_add_test(s, "starts", test_single_starts);
	CU_add_test(s, "pipelines", test_single_pipelines);
	CU_add_test(s, "restarts", test_single_restarts);
	CU_add_test(s, "bounds memory", test_single_bounds_memory);
	CU_add_test(s, "read index", test_single_read_index);
	CU_add_test(s, "bad input", test_single_bad_input);
}
