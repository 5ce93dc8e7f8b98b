/*
 * test_flow.c - how fast: elections, commits, pipelines, transfer, and followers that are far
 * behind.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>

#include "cluster.h"
#include "engine/sequencer/seq_int.h"
#include "../unit.h"

static bool has_leader(struct cluster *cl)
{
	return cl_leader(cl) != 0;
}

/* The first election of three takes about one randomised time-out. */
static void test_flow_first_election(void)
{
	uint64_t total = 0;

	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct cluster cl;

		cl_init(&cl, seed, 3, 3);
		for (uint64_t id = 1; id <= 3; id++)
			cl_start(&cl, id);
		CU_ASSERT_TRUE(cl_run_until(&cl, 3000000, has_leader));
		total += cl.now_us - 1000000;
		CU_ASSERT_TRUE(cl.now_us - 1000000 >= 300000); /* not before the least time-out */
		CU_ASSERT_FALSE(cl.failed);
		cl_fini(&cl);
	}
	CU_ASSERT_TRUE(total / 50 < 500000);
}

/*
 * A leader known dead is replaced within milliseconds, also when one follower hears of it later
 * than the other.
 */
static void test_flow_peer_down(void)
{
	uint64_t total = 0, most = 0;

	for (uint64_t seed = 1; seed <= 100; seed++) {
		struct cluster cl;
		uint64_t start;

		cl_init(&cl, seed, 3, 3);
		cl_three(&cl);
		cl_crash(&cl, 1);
		start = cl.now_us;
		seq_peer_down(cl.at[2].seq, cl.now_us, 1);
		cl_run(&cl, seed % 10 * 1000);
		seq_peer_down(cl.at[3].seq, cl.now_us, 1);
		CU_ASSERT_TRUE(cl_run_until(&cl, 3000000, has_leader));
		total += cl.now_us - start;
		most = cl.now_us - start > most ? cl.now_us - start : most;
		CU_ASSERT_FALSE(cl.failed);
		cl_fini(&cl);
	}
	CU_ASSERT_TRUE(total / 100 < 30000);
	CU_ASSERT_TRUE(most < 150000);
}

/* News of a death that is not true changes nothing: the others hear their leader and refuse. */
static void test_flow_peer_down_false(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	seq_peer_down(cl.at[2].seq, cl.now_us, 1);
	seq_peer_down(cl.at[2].seq, cl.now_us, 3);
	seq_peer_down(cl.at[2].seq, cl.now_us, 77);
	cl_run(&cl, 1000000);
	CU_ASSERT_EQUAL(seq_role(cl.at[1].seq), SEQ_LEADER);
	CU_ASSERT_EQUAL(seq_term(cl.at[1].seq), 1);
	CU_ASSERT_EQUAL(seq_leader(cl.at[2].seq), 1);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * Entries go to the followers while the leader's own disk writes: with a slow one it commits by the
 * others' disks.
 */
static void test_flow_parallel_with_own_disk(void)
{
	struct cluster cl;
	uint64_t start, pos;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	cl.at[1].disk_us = 100000;
	start = cl.now_us;
	CU_ASSERT_EQUAL(cl_propose(&cl, 1, "a", &pos), ST_OK);
	while (cl.at[1].delivered < pos && cl_step(&cl, start + 1000000))
		;
	CU_ASSERT_EQUAL(cl.now_us - start, 2 * cl.delay_us + 1000); /* there, their disk, back */
	CU_ASSERT_TRUE(seq_persisted_pos(cl.at[1].seq) < pos);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * An entry of which it is wanted is known to have been received by a majority one round trip after it was proposed, however slow
 * the disks are; by one follower of two is enough. Others are known when they are durable, or with a heartbeat.
 */
static void test_flow_receipt(void)
{
	for (int wanted = 0; wanted < 2; wanted++) {
		struct cluster cl;
		uint64_t start, pos;

		cl_init(&cl, 1, 3, 3);
		cl_three(&cl);
		for (int id = 1; id <= 3; id++)
			cl.at[id].disk_us = 40000;
		cl_cut(&cl, 1, 3, true);
		start = cl.now_us;
		if (wanted)
			seq_want_receipt(cl.at[1].seq);
		CU_ASSERT_EQUAL(cl_propose(&cl, 1, "a", &pos), ST_OK);
		CU_ASSERT_TRUE(seq_received(cl.at[1].seq) < pos);
		while (seq_received(cl.at[1].seq) < pos && cl_step(&cl, start + 1000000))
			;
		CU_ASSERT_EQUAL(cl.now_us - start == 2 * cl.delay_us, wanted);
		CU_ASSERT_TRUE(!wanted || cl.at[1].delivered < pos);
		CU_ASSERT_EQUAL(seq_received(cl.at[2].seq), 0); /* it does not lead */
		while (cl.at[1].delivered < pos && cl_step(&cl, start + 1000000))
			;
		CU_ASSERT_EQUAL(cl.now_us - start, 2 * cl.delay_us + 40000); /* and commits no later for it */
		CU_ASSERT_FALSE(cl.failed);
		cl_fini(&cl);
	}
}

/* What a majority received is there after the leader's end, if those who have it go on running. */
static void test_flow_received_survives(void)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct cluster cl;
		uint64_t pos;
		bool there = false;

		cl_init(&cl, seed, 3, 3);
		cl_three(&cl);
		for (int id = 1; id <= 3; id++)
			cl.at[id].disk_us = 40000;
		cl_cut(&cl, 1, 3, true);
		seq_want_receipt(cl.at[1].seq);
		CU_ASSERT_EQUAL(cl_propose(&cl, 1, "kept", &pos), ST_OK);
		while (seq_received(cl.at[1].seq) < pos && cl_step(&cl, cl.now_us + 1000))
			;
		cl_crash_keep(&cl, 1, 0);
		CU_ASSERT_TRUE(cl_run_until(&cl, 5000000, has_leader));
		CU_ASSERT_EQUAL(cl_leader(&cl), 2); /* 3 has not got it */
		CU_ASSERT_TRUE(cl_run_until(&cl, 5000000, cl_all_agree));
		for (uint64_t id = 2; id <= 3; id++) {
			const struct cl_entry *e = cl_log_at(&cl.at[id].disk, pos);

			there = e && e->bytes == 4 && memcmp(e->data, "kept", 4) == 0;
			CU_ASSERT_TRUE(there);
		}
		CU_ASSERT_FALSE(cl.failed);
		cl_fini(&cl);
	}
}

/*
 * Followers learn what is committed one hop after the leader knows, without waiting for a heartbeat
 * or an entry.
 */
static void test_flow_prompt_commit(void)
{
	struct cluster cl;
	uint64_t start, pos;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	start = cl.now_us;
	CU_ASSERT_EQUAL(cl_propose(&cl, 1, "a", &pos), ST_OK);
	while (cl.at[3].delivered < pos && cl_step(&cl, start + 1000000))
		;
	CU_ASSERT_EQUAL(cl.now_us - start, 3 * cl.delay_us + 1000);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * Appends go out without waiting for answers, up to a bound of messages; then entries gather and go
 * together.
 */
static void test_flow_bounded_pipeline(void)
{
	struct cluster cl;
	size_t messages;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	cl.at[2].disk_stopped = cl.at[3].disk_stopped = true;
	messages = cl.wire.count;
	for (int i = 0; i < 500; i++)
		CU_ASSERT_EQUAL(cl_propose(&cl, 1, "abc", NULL), ST_OK);
	CU_ASSERT_EQUAL(cl.wire.count - messages, 2 * SEQ_FLIGHT_MESSAGES);
	cl_run(&cl, 100000);
	CU_ASSERT_EQUAL(seq_last(cl.at[2].seq), 1 + SEQ_FLIGHT_MESSAGES);
	cl.at[2].disk_stopped = false;
	cl_run(&cl, 600000);
	CU_ASSERT_EQUAL(seq_committed(cl.at[1].seq), 501);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

static uint32_t drops_left;
static bool drop_some_appends(struct cluster *cl, uint64_t from, uint64_t to, const void *data,
			      size_t bytes)
{
	(void)cl, (void)from, (void)bytes;
	if (((const uint8_t *)data)[1] != SEQ_MSG_APPEND || to != 2 || drops_left == 0)
		return false;
	drops_left--;
	return true;
}

/*
 * Lost appends are noticed by the next one, or by a heartbeat, and sent again; nothing stays
 * missing.
 */
static void test_flow_lost_appends(void)
{
	for (uint32_t lost = 1; lost <= 6; lost++) {
		struct cluster cl;

		cl_init(&cl, lost, 3, 3);
		cl_three(&cl);
		drops_left = lost;
		cl.drop = drop_some_appends;
		for (int i = 0; i < 4; i++)
			CU_ASSERT_EQUAL(cl_propose(&cl, 1, "abc", NULL), ST_OK);
		cl_run(&cl, 180000); /* some heartbeats */
		CU_ASSERT_EQUAL(drops_left, 0);
		CU_ASSERT_TRUE(cl_all_agree(&cl));
		CU_ASSERT_EQUAL(seq_last(cl.at[2].seq), 5);
		CU_ASSERT_EQUAL(cl_leader(&cl), 1);
		CU_ASSERT_FALSE(cl.failed);
		cl_fini(&cl);
	}
}

/*
 * Transfer: proposals wait, the target takes over in two hops and a write, nobody waits for a
 * time-out.
 */
static void test_flow_transfer(void)
{
	struct cluster cl;
	uint64_t start;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	CU_ASSERT_EQUAL(seq_transfer(cl.at[2].seq, cl.now_us, 1), ST_NOT_LEADER);
	CU_ASSERT_EQUAL(seq_transfer(cl.at[1].seq, cl.now_us, 9), ST_BAD_PARAMETER);
	CU_ASSERT_EQUAL(cl_propose(&cl, 1, "a", NULL), ST_OK);
	start = cl.now_us;
	CU_ASSERT_EQUAL(seq_transfer(cl.at[1].seq, cl.now_us, 3), ST_OK);
	CU_ASSERT_EQUAL(seq_transfer(cl.at[1].seq, cl.now_us, 2), ST_STATE);
	CU_ASSERT_EQUAL(cl_propose(&cl, 1, "b", NULL), ST_AGAIN);
	while (cl_leader(&cl) != 3 && cl_step(&cl, start + 1000000))
		;
	CU_ASSERT_EQUAL(cl_leader(&cl), 3);
	CU_ASSERT_TRUE(cl.now_us - start < 10000);
	CU_ASSERT_TRUE(cl_run_until(&cl, 1000000, cl_all_agree));
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/* A transfer to a voter that is down is given up after an election time-out; the leader goes on. */
static void test_flow_transfer_fails(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	cl_crash(&cl, 3);
	CU_ASSERT_EQUAL(cl_propose(&cl, 1, "a", NULL), ST_OK);
	CU_ASSERT_EQUAL(seq_transfer(cl.at[1].seq, cl.now_us, 3), ST_OK);
	cl_run(&cl, 290000);
	CU_ASSERT_EQUAL(cl_propose(&cl, 1, "b", NULL), ST_AGAIN);
	cl_run(&cl, 20000);
	CU_ASSERT_EQUAL(cl_propose(&cl, 1, "b", NULL), ST_OK);
	CU_ASSERT_EQUAL(seq_term(cl.at[1].seq), 1);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * A follower that comes back far behind gets old entries from the leader's journal, whose memory
 * holds only the newest.
 */
static void test_flow_from_journal(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 3, 3);
	cl.window_bytes = 2000;
	cl_three(&cl);
	cl_crash_keep(&cl, 3, 9);
	for (int i = 0; i < 2000; i++) {
		CU_ASSERT_EQUAL(cl_propose(&cl, 1, "abcdefgh", NULL), ST_OK);
		cl_deliver_all(&cl);
	}
	CU_ASSERT_TRUE(cl.at[1].mem.used_bytes <
		       100000); /* with 8,000 bytes of ring and the peers */
	CU_ASSERT_EQUAL(seq_stats(cl.at[1].seq).journal_reads, 0);
	cl_start(&cl, 3);
	CU_ASSERT_TRUE(cl_run_until(&cl, 2000000, cl_all_agree));
	CU_ASSERT_TRUE(seq_stats(cl.at[1].seq).journal_reads >= 1900);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * A voter that needs what the leader's journal dropped: the leader's host is told once, and so is
 * its own.
 */
static void test_flow_too_old(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 3, 3);
	cl.window_bytes = 2000;
	cl_three(&cl);
	cl_crash_keep(&cl, 3, 9);
	for (int i = 0; i < 500; i++) {
		CU_ASSERT_EQUAL(cl_propose(&cl, 1, "abcdefgh", NULL), ST_OK);
		cl_deliver_all(&cl);
	}
	cl_disk_drop(&cl, 1, 300);
	cl_disk_drop(&cl, 2, 300);
	cl_start(&cl, 3);
	cl_run(&cl, 2000000);
	CU_ASSERT_EQUAL(cl.at[1].too_old, 3);
	CU_ASSERT_EQUAL(cl.at[3].too_old, 3);
	CU_ASSERT_EQUAL(cl.at[2].too_old, 0);
	CU_ASSERT_EQUAL(cl.met.too_old, 2);
	CU_ASSERT_EQUAL(cl_leader(&cl), 1); /* it is still heard and counted */
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/* A log that begins after a dropped part works as one that begins at 1: restart, follow, lead. */
static void test_flow_dropped_prefix(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	for (int i = 0; i < 50; i++)
		CU_ASSERT_EQUAL(cl_propose(&cl, 1, "abcdefgh", NULL), ST_OK);
	cl_run(&cl, 200000);
	for (uint64_t id = 1; id <= 3; id++)
		cl_disk_drop(&cl, id,
			     id == 2 ? cl_log_last(&cl.at[2].disk) + 1 : 30); /* 2 keeps nothing */
	for (uint64_t id = 1; id <= 3; id++)
		cl_crash(&cl, id);
	for (uint64_t id = 1; id <= 3; id++)
		cl_start(&cl, id);
	CU_ASSERT_TRUE_FATAL(cl_elect(&cl, 2) > 0);
	CU_ASSERT_EQUAL(cl_propose(&cl, 2, "after", NULL), ST_OK);
	CU_ASSERT_TRUE(cl_run_until(&cl, 1000000, cl_all_agree));
	CU_ASSERT_EQUAL(cl.met.too_old, 0);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * A burst of reads shares rounds of heartbeats: few messages, each confirmed after it was asked
 * for.
 */
static void test_flow_reads_share_rounds(void)
{
	struct cluster cl;
	uint64_t messages;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	messages = cl.orders;
	for (int i = 0; i < 100; i++)
		cl_read(&cl, 1);
	cl_deliver_all(&cl);
	CU_ASSERT_EQUAL(cl.at[1].reads_ok, 100);
	CU_ASSERT_EQUAL(cl.orders - messages, 8); /* two rounds to two followers and back */
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

void suite_sequencer_flow(void)
{
	CU_pSuite s = CU_add_suite("sequencer/flow", NULL, NULL);

	CU_add_test(s, "first election", test_flow_first_election);
	CU_add_test(s, "peer down", test_flow_peer_down);
	CU_add_test(s, "peer down, false", test_flow_peer_down_false);
	CU_add_test(s, "parallel with own disk", test_flow_parallel_with_own_disk);
	CU_add_test(s, "receipt", test_flow_receipt);
	CU_add_test(s, "received survives", test_flow_received_survives);
	CU_add_test(s, "prompt commit", test_flow_prompt_commit);
	CU_add_test(s, "bounded pipeline", test_flow_bounded_pipeline);
	CU_add_test(s, "lost appends", test_flow_lost_appends);
	CU_add_test(s, "transfer", test_flow_transfer);
	CU_add_test(s, "transfer fails", test_flow_transfer_fails);
	CU_add_test(s, "from the journal", test_flow_from_journal);
	CU_add_test(s, "too old", test_flow_too_old);
	CU_add_test(s, "dropped prefix", test_flow_dropped_prefix);
	CU_add_test(s, "reads share rounds", test_flow_reads_share_rounds);
}
