/*
 * test_safety.c - known ways to lose a committed entry, each as its own case, and what keeps a
 * leader honest.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>

#include "cluster.h"
#include "engine/sequencer/seq_wire.h"
#include "../unit.h"

/* Drops every append that brings an entry of its leader's own term. */
static bool drop_own_term(struct cluster *cl, uint64_t from, uint64_t to, const void *data,
			  size_t bytes)
{
	struct reader r = reader_init(data, bytes);
	struct seq_msg_append m;

	(void)cl, (void)from, (void)to;
	get_u8(&r);
	if (get_u8(&r) != SEQ_MSG_APPEND || !seq_msg_append_decode(&r, &m))
		return false;
	for (uint32_t i = 0; i < m.count; i++) {
		if (get_u64(&r) == m.term)
			return true;
		get_u8(&r);
		get_raw(&r, get_u32(&r));
	}
	return false;
}

static bool has_text(const struct cl_log *log, uint64_t pos, const char *text)
{
	const struct cl_entry *e = cl_log_at(log, pos);

	return e && e->bytes == strlen(text) && memcmp(e->data, text, e->bytes) == 0;
}

/*
 * Raft's figure 8 up to (c): 1 leads again, and its entry X of term 1 is on the disks of 1, 2 and 3
 * of five.
 */
static uint64_t figure_8(struct cluster *cl, uint64_t *x_out)
{
	cl_init(cl, 8, 5, 5);
	cl->noop_bytes = 1 << 20; /* so that X and the no-op of the next term travel apart */
	for (uint64_t id = 1; id <= 5; id++)
		cl_start(cl, id);
	CU_ASSERT_EQUAL_FATAL(cl_elect(cl, 1), 1);
	cl_run(cl, 60000);
	for (uint64_t id = 3; id <= 5; id++)
		cl_cut(cl, 1, id, true);
	CU_ASSERT_EQUAL(cl_propose(cl, 1, "X", x_out), ST_OK); /* (a): on 1 and 2 */
	cl_deliver_all(cl);
	CU_ASSERT_TRUE(has_text(&cl->at[2].disk, *x_out, "X"));
	CU_ASSERT_EQUAL(seq_committed(cl->at[1].seq), *x_out - 1);
	cl_crash_keep(cl, 1, 9);
	cl->drop = drop_own_term;
	CU_ASSERT_TRUE(cl_elect(cl, 5) >
		       0); /* (b): its first entry, at X's position, reaches nobody */
	CU_ASSERT_EQUAL(cl_log_last(&cl->at[5].disk), *x_out);
	cl_crash_keep(cl, 5, 9);
	cl_crash_keep(cl, 4, 9);
	cl_heal(cl);
	cl->drop = drop_own_term;
	cl_start(cl, 1);
	uint64_t term = cl_elect(cl, 1);
	CU_ASSERT_TRUE_FATAL(term > 2);
	cl_run(cl, 120000); /* (c) */
	CU_ASSERT_EQUAL(seq_role(cl->at[1].seq), SEQ_LEADER);
	for (uint64_t id = 1; id <= 3; id++)
		CU_ASSERT_TRUE(has_text(&cl->at[id].disk, *x_out, "X"));
	return term;
}

/*
 * An entry of an old term on a majority of disks is not committed by that: 5 can still replace it,
 * and does.
 */
static void test_safety_figure_8_replaced(void)
{
	struct cluster cl;
	uint64_t x;

	figure_8(&cl, &x);
	CU_ASSERT_TRUE(seq_committed(cl.at[1].seq) < x);
	CU_ASSERT_FALSE(seq_own_term_committed(cl.at[1].seq));
	cl_crash_keep(&cl, 1, 9); /* (d) */
	cl_heal(&cl);
	cl_start(&cl, 4);
	cl_start(&cl, 5);
	CU_ASSERT_TRUE_FATAL(cl_elect(&cl, 5) > 0);
	cl_start(&cl, 1);
	CU_ASSERT_TRUE(cl_run_until(&cl, 3000000, cl_all_agree));
	for (uint64_t id = 1; id <= 5; id++)
		CU_ASSERT_FALSE(has_text(&cl.at[id].view, x, "X"));
	CU_ASSERT_TRUE(cl.max_committed >= x);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * The same up to (c), but an entry of the new term gets through: X is committed with it and 5
 * cannot be elected.
 */
static void test_safety_figure_8_committed(void)
{
	struct cluster cl;
	uint64_t x;

	figure_8(&cl, &x);
	cl_heal(&cl);
	cl_run(&cl, 200000); /* (e) */
	CU_ASSERT_TRUE(seq_committed(cl.at[1].seq) > x);
	cl_crash_keep(&cl, 1, 9);
	cl_start(&cl, 4);
	cl_start(&cl, 5);
	CU_ASSERT_EQUAL(cl_elect(&cl, 5), 0);
	cl_start(&cl, 1);
	CU_ASSERT_TRUE(cl_run_until(&cl, 3000000, cl_all_agree));
	for (uint64_t id = 1; id <= 5; id++)
		CU_ASSERT_TRUE(has_text(&cl.at[id].view, x, "X"));
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * Entries keep coming and the followers' disks are 400 times slower than the leader's: commits go
 * on, without a pause.
 */
static void test_safety_starved_commit(void)
{
	struct cluster cl;
	uint64_t before, accepted = 0;

	cl_init(&cl, 3, 3, 3);
	cl_three(&cl);
	cl.at[1].disk_us = 50;
	cl.at[2].disk_us = cl.at[3].disk_us = 20000;
	for (int window = 0; window < 20; window++) {
		before = seq_committed(cl.at[1].seq);
		for (int i = 0; i < 100; i++) {
			accepted += cl_propose(&cl, 1, "payload", NULL) == ST_OK;
			cl_run(&cl, 1000);
			CU_ASSERT_TRUE(seq_in_flight(cl.at[1].seq) > 0); /* it is never quiet */
		}
		CU_ASSERT_TRUE(seq_committed(cl.at[1].seq) >= before + 3);
	}
	CU_ASSERT_EQUAL(accepted, 2000);
	CU_ASSERT_EQUAL(cl_leader(&cl), 1);
	CU_ASSERT_TRUE(cl_run_until(&cl, 4000000, cl_all_agree));
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/* A vote that a crash could forget is not given: else 3 would help both 1 and 2 to lead term 1. */
static void test_safety_vote_after_crash(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 3, 3);
	for (uint64_t id = 1; id <= 3; id++)
		cl_start(&cl, id);
	cl_cut(&cl, 1, 2, true);
	cl.at[3].disk_stopped = true;
	CU_ASSERT_FALSE(cl_stand(&cl, 1));
	CU_ASSERT_EQUAL(seq_role(cl.at[1].seq), SEQ_CANDIDATE);
	CU_ASSERT_EQUAL(seq_term(cl.at[3].seq), 1); /* it has voted, in memory */
	cl_crash_keep(&cl, 3, 0);
	cl.at[3].disk_stopped = false;
	cl_start(&cl, 3);
	CU_ASSERT_EQUAL(seq_term(cl.at[3].seq), 0);
	CU_ASSERT_TRUE(cl_stand(&cl, 2));
	CU_ASSERT_EQUAL(seq_term(cl.at[2].seq), 1);
	CU_ASSERT_EQUAL(seq_role(cl.at[1].seq), SEQ_CANDIDATE);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

static void send_vote(struct cluster *cl, uint64_t from, uint64_t to, struct seq_msg_vote m)
{
	struct buf b;

	buf_init(&b, &cl->mem);
	seq_msg_vote_encode(&m, &b);
	seq_message(cl->at[to].seq, cl->now_us, from, b.data, b.size);
	buf_fini(&b);
}

/* A vote that is durable survives a crash: the same one is given again, another is refused. */
static void test_safety_vote_is_kept(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 3, 3);
	cl_start(&cl, 3);
	send_vote(&cl, 1, 3, (struct seq_msg_vote){.term = 1});
	cl_deliver_all(&cl);
	CU_ASSERT_EQUAL(cl.at[3].vote, 1);
	cl_crash_keep(&cl, 3, 0);
	cl_start(&cl, 3);
	cl.tracing = true;
	send_vote(&cl, 2, 3, (struct seq_msg_vote){.term = 1});
	send_vote(&cl, 1, 3, (struct seq_msg_vote){.term = 1});
	cl_deliver_all(&cl);
	put_u8(&cl.trace, 0);
	CU_ASSERT_PTR_NOT_NULL(strstr((char *)cl.trace.data, "3>2 vote no term 1"));
	CU_ASSERT_PTR_NOT_NULL(strstr((char *)cl.trace.data, "3>1 vote yes term 1"));
	CU_ASSERT_PTR_NULL(strstr((char *)cl.trace.data, "3>2 vote yes"));
	CU_ASSERT_EQUAL(cl.at[3].vote, 1);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * Whoever stands with a log that lacks something gets no vote: shorter, or of an older last term
 * though longer.
 */
static void test_safety_vote_needs_log(void)
{
	struct seq_msg_vote m = {.term = 9, .last_pos = 2, .last_term = 1, .flags = SEQ_F_TRANSFER};
	struct cluster cl;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	CU_ASSERT_TRUE(seq_transfer(cl.at[1].seq, cl.now_us, 2) == ST_OK);
	cl_run(&cl, 60000);
	CU_ASSERT_EQUAL(seq_term(cl.at[3].seq), 2);
	CU_ASSERT_EQUAL(seq_last(cl.at[3].seq), 2); /* of term 2 */
	send_vote(&cl, 1, 3, m);
	m.term = 10;
	m.last_pos = 99;
	send_vote(&cl, 1, 3, m);
	m.term = 11;
	m.last_term = 2;
	m.last_pos = 1;
	send_vote(&cl, 1, 3, m);
	CU_ASSERT_EQUAL(seq_term(cl.at[3].seq), 11);
	CU_ASSERT_EQUAL(cl.at[3].writes.at[cl.at[3].writes.count - 1].vote, 0);
	m.last_pos = 2;
	send_vote(&cl, 1, 3, m);
	CU_ASSERT_EQUAL(cl.at[3].writes.at[cl.at[3].writes.count - 1].vote, 1);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * A follower commits only what this leader has shown to be common. 1 has entries that nobody else
 * has; a heartbeat that fits before them tells a committed position beyond.
 */
static void test_safety_follower_caps(void)
{
	struct seq_msg_append m = {
		.prev_pos = 1, .prev_term = 1, .committed = 3, .flags = SEQ_F_ANSWER};
	struct cluster cl;
	struct buf b;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	cl_isolate(&cl, 1, true);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(cl_propose(&cl, 1, "nobody has this", NULL), ST_OK);
	cl_deliver_all(&cl);
	m.term = cl_elect(&cl, 2);
	CU_ASSERT_TRUE_FATAL(m.term > 1);
	CU_ASSERT_EQUAL(cl_propose(&cl, 2, "a", NULL), ST_OK);
	cl_deliver_all(&cl);
	CU_ASSERT_EQUAL(seq_committed(cl.at[2].seq), 3);
	buf_init(&b, &cl.mem);
	seq_msg_append_encode(&m, &b);
	seq_message(cl.at[1].seq, cl.now_us, 2, b.data, b.size);
	buf_fini(&b);
	CU_ASSERT_EQUAL(seq_last(cl.at[1].seq), 4);
	CU_ASSERT_EQUAL(seq_committed(cl.at[1].seq), 1);
	cl_heal(&cl);
	CU_ASSERT_TRUE(cl_run_until(&cl, 1000000, cl_all_agree));
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * A leader that hears no majority for an election time-out steps down, and fails the reads it could
 * not confirm.
 */
static void test_safety_check_quorum(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	cl_isolate(&cl, 1, true);
	cl_read(&cl, 1);
	cl_run(&cl, 400000);
	CU_ASSERT_EQUAL(seq_role(cl.at[1].seq) == SEQ_LEADER, false);
	CU_ASSERT_EQUAL(cl.at[1].reads_failed, 1);
	CU_ASSERT_EQUAL(cl.at[1].reads_ok, 0);
	CU_ASSERT_EQUAL(seq_leader(cl.at[1].seq), 0);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * A deposed leader that does not know it yet confirms no read, though a new one has committed more.
 */
static void test_safety_stale_read(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	cl_isolate(&cl, 1, true);
	CU_ASSERT_TRUE_FATAL(cl_elect(&cl, 2) > 1);
	CU_ASSERT_EQUAL(cl_propose(&cl, 2, "new", NULL), ST_OK);
	cl_deliver_all(&cl);
	CU_ASSERT_EQUAL(seq_role(cl.at[1].seq), SEQ_LEADER); /* so it believes */
	cl_read(&cl, 1);
	cl_read(&cl, 2);
	cl_heal(&cl);
	cl_run(&cl, 1000000);
	CU_ASSERT_EQUAL(cl.at[1].reads_ok, 0);
	CU_ASSERT_EQUAL(cl.at[1].reads_failed, 1);
	CU_ASSERT_EQUAL(cl.at[2].reads_ok, 1);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/* A voter that was cut off neither raises its term nor disturbs the leader when it comes back. */
static void test_safety_pre_vote(void)
{
	struct cluster cl;
	uint64_t term;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	term = seq_term(cl.at[1].seq);
	cl_isolate(&cl, 3, true);
	cl_run(&cl, 5000000);
	CU_ASSERT_EQUAL(seq_term(cl.at[3].seq), term);
	CU_ASSERT_EQUAL(seq_stats(cl.at[3].seq).elections, 0);
	cl_heal(&cl);
	cl_run(&cl, 1000000);
	CU_ASSERT_EQUAL(seq_role(cl.at[1].seq), SEQ_LEADER);
	CU_ASSERT_EQUAL(seq_term(cl.at[1].seq), term);
	CU_ASSERT_EQUAL(seq_leader(cl.at[3].seq), 1);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * A voter with a short journal (P23) neither votes nor stands until a leader has brought it up to
 * date.
 */
static void test_safety_short_journal(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 3, 3);
	cl.at[3].short_journal = true;
	cl_start(&cl, 1);
	cl_start(&cl, 3);
	cl_run(&cl, 3000000);
	CU_ASSERT_EQUAL(cl_leader(&cl), 0); /* 1 lacks 3's vote, 3 does not stand */
	CU_ASSERT_EQUAL(seq_term(cl.at[3].seq), 0);
	cl_start(&cl, 2);
	CU_ASSERT_TRUE(cl_run_until(&cl, 3000000, cl_all_agree));
	cl_run(&cl, 100000);
	/* Now it may. */
	uint64_t leader = cl_leader(&cl);
	cl_crash_keep(&cl, leader, 9);
	CU_ASSERT_TRUE(cl_run_until(&cl, 3000000, cl_all_agree));
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

void suite_sequencer_safety(void)
{
	CU_pSuite s = CU_add_suite("sequencer/safety", NULL, NULL);

	CU_add_test(s, "figure 8, replaced", test_safety_figure_8_replaced);
	CU_add_test(s, "figure 8, committed", test_safety_figure_8_committed);
	CU_add_test(s, "starved commit", test_safety_starved_commit);
	CU_add_test(s, "vote after crash", test_safety_vote_after_crash);
	CU_add_test(s, "vote is kept", test_safety_vote_is_kept);
	CU_add_test(s, "vote needs log", test_safety_vote_needs_log);
	CU_add_test(s, "follower caps", test_safety_follower_caps);
	CU_add_test(s, "check quorum", test_safety_check_quorum);
	CU_add_test(s, "stale read", test_safety_stale_read);
	CU_add_test(s, "pre-vote", test_safety_pre_vote);
	CU_add_test(s, "short journal", test_safety_short_journal);
}
