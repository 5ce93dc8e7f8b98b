/*
 * test_voters.c - changing the voters: one at a time, new ones learn first, what is not committed
 * is rolled back.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>

#include "cluster.h"
#include "engine/sequencer/seq_int.h"
#include "../unit.h"

static struct seq_voters with(const struct seq_voters *v, uint64_t id)
{
	struct seq_voters out = *v;

	out.at[out.count].id = id;
	out.at[out.count].votes = true; /* not looked at */
	snprintf(out.at[out.count].address, SEQ_ADDRESS_MAX, "host%llu:1", (unsigned long long)id);
	out.count++;
	return out;
}

static struct seq_voters without(const struct seq_voters *v, uint64_t id)
{
	struct seq_voters out = {0};

	for (uint32_t i = 0; i < v->count; i++)
		if (v->at[i].id != id)
			out.at[out.count++] = v->at[i];
	return out;
}

static enum status change(struct cluster *cl, uint64_t leader, struct seq_voters v)
{
	return seq_change_voters(cl->at[leader].seq, cl->now_us, &v, "batch", 5);
}

static const struct seq_voters *voters(struct cluster *cl, uint64_t id)
{
	return seq_current_voters(cl->at[id].seq);
}

static bool votes(struct cluster *cl, uint64_t at, uint64_t id)
{
	struct seq_voter v;

	return seq_voters_find(voters(cl, at), id, &v) && v.votes;
}

/* A new voter is listed without a vote, and promoted by the leader itself once it has the log. */
static void test_voters_add(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 4, 3);
	cl_three(&cl);
	for (int i = 0; i < 200; i++)
		CU_ASSERT_EQUAL(cl_propose(&cl, 1, "abc", NULL), ST_OK);
	CU_ASSERT_EQUAL(change(&cl, 1, with(voters(&cl, 1), 4)), ST_OK);
	CU_ASSERT_FALSE(votes(&cl, 1, 4));
	cl_run(&cl, 500000);
	CU_ASSERT_FALSE(votes(&cl, 1, 4)); /* not there yet */
	cl_start(&cl, 4);
	CU_ASSERT_TRUE(cl_run_until(&cl, 1000000, cl_all_agree));
	cl_run(&cl, 100000);
	for (uint64_t id = 1; id <= 4; id++) {
		CU_ASSERT_TRUE(votes(&cl, id, 4));
		CU_ASSERT_EQUAL(voters(&cl, id)->count, 4);
		CU_ASSERT_EQUAL(cl.at[id].delivered, cl.max_committed);
		CU_ASSERT_STRING_EQUAL(voters(&cl, id)->at[3].address, "host4:1");
	}
	/* Now three of four are needed. */
	cl_crash(&cl, 2);
	CU_ASSERT_EQUAL(cl_propose(&cl, 1, "three are enough", NULL), ST_OK);
	CU_ASSERT_TRUE(cl_run_until(&cl, 100000, cl_all_agree));
	cl_crash(&cl, 3);
	CU_ASSERT_EQUAL(cl_propose(&cl, 1, "two are not", NULL), ST_OK);
	cl_run(&cl, 100000);
	CU_ASSERT_EQUAL(seq_in_flight(cl.at[1].seq), 1);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/* One that votes not yet counts for nothing: not for commits, not for elections. */
static void test_voters_learner(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 4, 3);
	cl_three(&cl);
	CU_ASSERT_EQUAL(change(&cl, 1, with(voters(&cl, 1), 4)), ST_OK);
	cl_run(&cl, 100000);
	cl_crash(&cl, 2);
	CU_ASSERT_EQUAL(cl_propose(&cl, 1, "a", NULL), ST_OK); /* 1 and 3 are two of three */
	CU_ASSERT_TRUE(cl_run_until(&cl, 100000, cl_all_agree));
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/* A single voter becomes two, then three. */
static void test_voters_grow_from_one(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 3, 1);
	for (uint64_t id = 1; id <= 3; id++)
		cl_start(&cl, id);
	CU_ASSERT_EQUAL_FATAL(cl_elect(&cl, 1), 1);
	CU_ASSERT_EQUAL(change(&cl, 1, with(voters(&cl, 1), 2)), ST_OK);
	cl_run(&cl, 200000);
	CU_ASSERT_EQUAL(change(&cl, 1, with(voters(&cl, 1), 3)), ST_OK);
	cl_run(&cl, 200000);
	CU_ASSERT_EQUAL(seq_voting(voters(&cl, 3)), 3);
	cl_crash(&cl, 1);
	CU_ASSERT_TRUE(cl_run_until(&cl, 3000000, cl_all_agree));
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/* A removed follower no longer counts, learns of its removal, and does not disturb the others. */
static void test_voters_remove_follower(void)
{
	struct cluster cl;
	uint64_t term;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	CU_ASSERT_EQUAL(change(&cl, 1, without(voters(&cl, 1), 3)), ST_OK);
	cl_run(&cl, 100000);
	CU_ASSERT_EQUAL(voters(&cl, 1)->count, 2);
	CU_ASSERT_FALSE(seq_voters_find(voters(&cl, 3), 3, NULL));
	CU_ASSERT_EQUAL(cl.at[3].delivered, cl.max_committed);
	term = seq_term(cl.at[1].seq);
	cl_run(&cl, 5000000);
	CU_ASSERT_EQUAL(seq_term(cl.at[1].seq), term);
	CU_ASSERT_EQUAL(seq_stats(cl.at[3].seq).elections, 0);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/* A leader that is removed commits that without its own disk, hands over and steps down. */
static void test_voters_remove_leader(void)
{
	struct cluster cl;
	uint64_t start;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	start = cl.now_us;
	CU_ASSERT_EQUAL(change(&cl, 1, without(voters(&cl, 1), 1)), ST_OK);
	while ((cl_leader(&cl) == 0 || cl_leader(&cl) == 1) && cl_step(&cl, start + 3000000))
		;
	CU_ASSERT_TRUE(cl_leader(&cl) > 1);
	CU_ASSERT_TRUE(cl.now_us - start < 20000);
	CU_ASSERT_EQUAL(seq_role(cl.at[1].seq), SEQ_FOLLOWER);
	CU_ASSERT_EQUAL(cl_propose(&cl, cl_leader(&cl), "a", NULL), ST_OK);
	CU_ASSERT_TRUE(cl_run_until(&cl, 1000000, cl_all_agree));
	cl_run(&cl, 3000000);
	CU_ASSERT_EQUAL(seq_stats(cl.at[1].seq).elections, 1);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * While a change is not committed, or no entry of this term is, there is no other; bad lists change
 * nothing.
 */
static void test_voters_refused(void)
{
	struct cluster cl;
	struct seq_voters v;

	cl_init(&cl, 1, 5, 3);
	cl_three(&cl);
	v = *voters(&cl, 1);
	CU_ASSERT_EQUAL(change(&cl, 2, with(&v, 4)), ST_NOT_LEADER);
	CU_ASSERT_EQUAL(change(&cl, 1, v), ST_BAD_PARAMETER); /* no difference */
	struct seq_voters two = with(&v, 4);
	CU_ASSERT_EQUAL(change(&cl, 1, with(&two, 5)), ST_BAD_PARAMETER);
	two = with(&v, 4);
	CU_ASSERT_EQUAL(change(&cl, 1, without(&two, 2)), ST_BAD_PARAMETER);
	CU_ASSERT_EQUAL(change(&cl, 1, with(&v, 0)), ST_BAD_PARAMETER);
	two = with(&v, 4);
	CU_ASSERT_EQUAL(change(&cl, 1, with(&two, 4)), ST_BAD_PARAMETER); /* twice */
	two = with(&v, 4);
	two.count = 99;
	CU_ASSERT_EQUAL(change(&cl, 1, two), ST_BAD_PARAMETER);
	two = with(&v, 4);
	memset(two.at[3].address, 'a', SEQ_ADDRESS_MAX);
	CU_ASSERT_EQUAL(change(&cl, 1, two), ST_BAD_PARAMETER);
	CU_ASSERT_EQUAL(seq_last(cl.at[1].seq), 1);
	CU_ASSERT_EQUAL(change(&cl, 1, with(&v, 4)), ST_OK);
	CU_ASSERT_EQUAL(change(&cl, 1, with(voters(&cl, 1), 5)), ST_STATE);
	cl_run(&cl, 100000);
	v = *voters(&cl, 1);
	snprintf(v.at[1].address, SEQ_ADDRESS_MAX, "elsewhere:2"); /* one address */
	CU_ASSERT_EQUAL(change(&cl, 1, v), ST_OK);
	cl_run(&cl, 100000);
	CU_ASSERT_STRING_EQUAL(voters(&cl, 3)->at[1].address, "elsewhere:2");
	/*
	 * A new leader waits for its own term's first entry: until then it cannot know what is
	 * committed (2015).
	 */
	cl_crash(&cl, 1);
	cl.at[2].disk_us = cl.at[3].disk_us = 50000;
	while (cl_leader(&cl) == 0 && cl_step(&cl, cl.now_us + 3000000))
		;
	CU_ASSERT_TRUE_FATAL(cl_leader(&cl) != 0);
	CU_ASSERT_FALSE(seq_own_term_committed(cl.at[cl_leader(&cl)].seq));
	CU_ASSERT_EQUAL(change(&cl, cl_leader(&cl), with(voters(&cl, 3), 5)), ST_STATE);
	cl_run(&cl, 200000);
	CU_ASSERT_EQUAL(change(&cl, cl_leader(&cl), with(voters(&cl, 3), 5)), ST_OK);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);

	cl_init(&cl, 1, 1, 1);
	cl_start(&cl, 1);
	CU_ASSERT_TRUE_FATAL(cl_elect(&cl, 1) > 0);
	CU_ASSERT_EQUAL(change(&cl, 1, without(voters(&cl, 1), 1)),
			ST_BAD_PARAMETER); /* none left */
	cl_fini(&cl);
}

/*
 * With five that vote a sixth may be listed, and takes the place of the one that is removed:
 * replacing never dips.
 */
static void test_voters_replace_of_five(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 6, 5);
	for (uint64_t id = 1; id <= 6; id++)
		cl_start(&cl, id);
	CU_ASSERT_TRUE_FATAL(cl_elect(&cl, 1) > 0);
	cl_run(&cl, 60000);
	CU_ASSERT_EQUAL(change(&cl, 1, with(voters(&cl, 1), 6)), ST_OK);
	cl_run(&cl, 300000);
	CU_ASSERT_FALSE(votes(&cl, 1, 6));
	CU_ASSERT_EQUAL(cl.at[6].delivered, cl.max_committed);
	CU_ASSERT_EQUAL(change(&cl, 1, without(voters(&cl, 1), 5)), ST_OK);
	cl_run(&cl, 300000);
	CU_ASSERT_TRUE(votes(&cl, 1, 6));
	CU_ASSERT_EQUAL(seq_voting(voters(&cl, 1)), 5);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * A change that did not reach a majority is taken back with its entry, by a voter that went on and
 * by one that restarted.
 */
static void test_voters_rolled_back(void)
{
	for (int restart = 0; restart < 2; restart++) {
		struct cluster cl;

		cl_init(&cl, 1, 4, 3);
		cl_three(&cl);
		cl_isolate(&cl, 1, true);
		CU_ASSERT_EQUAL(change(&cl, 1, with(voters(&cl, 1), 4)), ST_OK);
		CU_ASSERT_EQUAL(cl_propose(&cl, 1, "after it", NULL), ST_OK);
		cl_deliver_all(&cl);
		CU_ASSERT_EQUAL(voters(&cl, 1)->count, 4);
		if (restart) {
			cl_crash_keep(&cl, 1, 9);
			cl_start(&cl, 1);
			CU_ASSERT_EQUAL(voters(&cl, 1)->count, 4);
		}
		CU_ASSERT_TRUE_FATAL(cl_elect(&cl, 2) > 0);
		CU_ASSERT_EQUAL(cl_propose(&cl, 2, "instead", NULL), ST_OK);
		cl_heal(&cl);
		CU_ASSERT_TRUE(cl_run_until(&cl, 2000000, cl_all_agree));
		CU_ASSERT_EQUAL(voters(&cl, 1)->count, 3);
		CU_ASSERT_EQUAL(cl.at[1].voters.count, 3); /* the host was told */
		CU_ASSERT_FALSE(cl.failed);
		cl_fini(&cl);
	}
}

/*
 * Of two voters, the leader removed itself and did not get that committed; then it alone has the
 * longer log. It stands, although its log says that it is no voter, wins by the other's vote,
 * commits its removal and hands over.
 */
static void test_voters_removal_pending(void)
{
	struct cluster cl;

	cl_init(&cl, 1, 2, 2);
	cl_start(&cl, 1);
	cl_start(&cl, 2);
	CU_ASSERT_TRUE_FATAL(cl_elect(&cl, 1) > 0);
	cl_run(&cl, 60000);
	cl_isolate(&cl, 1, true);
	CU_ASSERT_EQUAL(change(&cl, 1, without(voters(&cl, 1), 1)), ST_OK);
	cl_run(&cl, 1000000);
	CU_ASSERT_EQUAL(cl_leader(&cl), 0);
	cl_heal(&cl);
	CU_ASSERT_TRUE(cl_run_until(&cl, 5000000, cl_all_agree));
	cl_run(&cl, 1000000);
	CU_ASSERT_EQUAL(cl_leader(&cl), 2);
	CU_ASSERT_EQUAL(voters(&cl, 2)->count, 1);
	CU_ASSERT_FALSE(cl.failed);
	cl_fini(&cl);
}

/*
 * The encoding gives back what it was given; every cut of it, and lists that cannot be, are
 * refused.
 */
static void test_voters_encoding(void)
{
	struct seq_voters v = {0}, back;
	struct mem mem;
	struct buf b;
	struct reader r;

	mem_init(&mem, NULL, "test", 0);
	buf_init(&b, &mem);
	v = with(&v, 7);
	v = with(&v, 9);
	v.at[1].votes = false;
	memset(v.at[0].address, 'a', SEQ_ADDRESS_MAX - 1);
	seq_voters_encode(&v, &b);
	r = reader_init(b.data, b.size);
	CU_ASSERT_TRUE(seq_voters_decode(&r, &back));
	CU_ASSERT_EQUAL(reader_left(&r), 0);
	CU_ASSERT_EQUAL(memcmp(&v, &back, sizeof v), 0);
	for (size_t cut = 0; cut < b.size; cut++) {
		r = reader_init(b.data, cut);
		CU_ASSERT_FALSE(seq_voters_decode(&r, &back));
	}
	b.data[0] = SEQ_VOTERS_MAX + 2;
	r = reader_init(b.data, b.size);
	CU_ASSERT_FALSE(seq_voters_decode(&r, &back));
	buf_reset(&b);
	v.at[1].id = 7; /* twice */
	seq_voters_encode(&v, &b);
	r = reader_init(b.data, b.size);
	CU_ASSERT_FALSE(seq_voters_decode(&r, &back));
	buf_reset(&b);
	v = (struct seq_voters){0};
	for (uint64_t id = 1; id <= 6; id++) /* six that vote */
		v = with(&v, id);
	seq_voters_encode(&v, &b);
	r = reader_init(b.data, b.size);
	CU_ASSERT_FALSE(seq_voters_decode(&r, &back));
	buf_fini(&b);
	mem_fini(&mem);
}

/* A SEQ_CONFIG entry's batch and voters are found in its data; damaged data gives neither. */
static void test_voters_entry(void)
{
	struct cluster cl;
	struct seq_voters v;
	size_t bytes;

	cl_init(&cl, 1, 4, 3);
	cl_three(&cl);
	CU_ASSERT_EQUAL(change(&cl, 1, with(voters(&cl, 1), 4)), ST_OK);
	const struct cl_entry *c = cl_log_at(&cl.at[1].view, 2);
	struct seq_entry e = {.pos = 2, .kind = c->kind, .bytes = c->bytes, .data = c->data};
	CU_ASSERT_TRUE(seq_entry_voters(&e, &v));
	CU_ASSERT_EQUAL(v.count, 4);
	const void *batch = seq_entry_batch(&e, &bytes);
	CU_ASSERT_EQUAL_FATAL(bytes, 5);
	CU_ASSERT_EQUAL(memcmp(batch, "batch", 5), 0);
	struct reader r =
		reader_init((const uint8_t *)e.data + 4, e.bytes - 4); /* as the header promises */
	CU_ASSERT_TRUE(seq_voters_decode(&r, &v));
	CU_ASSERT_EQUAL(v.count, 4);
	e.bytes = 20;
	CU_ASSERT_FALSE(seq_entry_voters(&e, &v));
	CU_ASSERT_PTR_NULL(seq_entry_batch(&e, &bytes));
	CU_ASSERT_EQUAL(bytes, 0);
	e = (struct seq_entry){.kind = SEQ_BATCH, .bytes = 3, .data = "abc"};
	CU_ASSERT_FALSE(seq_entry_voters(&e, &v));
	CU_ASSERT_PTR_EQUAL(seq_entry_batch(&e, &bytes), e.data);
	CU_ASSERT_EQUAL(bytes, 3);
	cl_fini(&cl);
}

void suite_sequencer_voters(void)
{
	CU_pSuite s = CU_add_suite("sequencer/voters", NULL, NULL);

	CU_add_test(s, "add", test_voters_add);
	CU_add_test(s, "learner", test_voters_learner);
	CU_add_test(s, "grow from one", test_voters_grow_from_one);
	CU_add_test(s, "remove follower", test_voters_remove_follower);
	CU_add_test(s, "remove leader", test_voters_remove_leader);
	CU_add_test(s, "refused", test_voters_refused);
	CU_add_test(s, "replace of five", test_voters_replace_of_five);
	CU_add_test(s, "rolled back", test_voters_rolled_back);
	CU_add_test(s, "removal pending", test_voters_removal_pending);
	CU_add_test(s, "encoding", test_voters_encoding);
	CU_add_test(s, "entry", test_voters_entry);
}
