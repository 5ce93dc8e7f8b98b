/*
 * test_wire.c - what other voters send is not believed: bad messages are counted and change
 * nothing.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>

#include "base/env.h"
#include "cluster.h"
#include "engine/sequencer/seq_wire.h"
#include "../unit.h"

#define LLVMFuzzerTestOneInput fuzz_seq_message
#include "../../fuzz/fuzz_seq_message.c"
#undef LLVMFuzzerTestOneInput

static char before[1024], after[1024];

static void snapshot(struct cluster *cl, uint64_t id, char out[1024])
{
	struct buf b;

	buf_init(&b, &cl->mem);
	seq_trace(cl->at[id].seq, &b);
	snprintf(out, 1024, "%.*s", (int)b.size, (const char *)b.data);
	buf_fini(&b);
}

/* The message is counted as bad and leaves the voter as it was. */
static void refuse(struct cluster *cl, uint64_t from, uint64_t to, const struct buf *b, int line)
{
	uint64_t bad = seq_stats(cl->at[to].seq).bad_messages;

	snapshot(cl, to, before);
	seq_message(cl->at[to].seq, cl->now_us, from, b->data, b->size);
	snapshot(cl, to, after);
	if (strcmp(before, after) != 0 || seq_stats(cl->at[to].seq).bad_messages != bad + 1) {
		printf("    line %d: %s -> %s\n", line, before, after);
		CU_FAIL("a bad message was taken");
	}
}

#define REFUSE(type, from, to, ...)                                                                \
	do {                                                                                       \
		struct seq_msg_##type m_ = {__VA_ARGS__};                                          \
		buf_reset(&b);                                                                     \
		seq_msg_##type##_encode(&m_, &b);                                                  \
		refuse(&cl, from, to, &b, __LINE__);                                               \
	} while (0)

static void put_entry(struct buf *b, uint64_t term, uint8_t kind, uint32_t bytes, const char *data)
{
	put_u64(b, term);
	put_u8(b, kind);
	put_u32(b, bytes);
	buf_put(b, data, strlen(data));
}

/* Every type comes back as it went, and no proper part of it is taken. */
static void test_wire_round_trip(void)
{
	struct seq_msg_append a = {1, 2, 3, 4, 5, 8, 7}, a2;
	struct seq_msg_append_reply p = {1, 2, 3, 4, 5, 6, 32}, p2;
	struct seq_msg_vote v = {1, 2, 3, 1}, v2;
	struct mem mem;
	struct buf b;
	struct reader r;

	mem_init(&mem, NULL, "test", 0);
	buf_init(&b, &mem);
	memset(&a2, 0, sizeof a2), memset(&p2, 0, sizeof p2), memset(&v2, 0, sizeof v2);
	seq_msg_append_encode(&a, &b);
	CU_ASSERT_EQUAL(b.size, 2 + 5 * 8 + 1 + 4);
	for (size_t cut = 2; cut < b.size; cut++) {
		r = reader_init(b.data + 2, cut - 2);
		CU_ASSERT_FALSE(seq_msg_append_decode(&r, &a2));
	}
	r = reader_init(b.data + 2, b.size - 2);
	CU_ASSERT_TRUE(seq_msg_append_decode(&r, &a2));
	CU_ASSERT_TRUE(a2.term == 1 && a2.prev_pos == 2 && a2.prev_term == 3 && a2.committed == 4 &&
		       a2.round == 5 && a2.flags == 8 && a2.count == 7);
	buf_reset(&b);
	seq_msg_append_reply_encode(&p, &b);
	r = reader_init(b.data + 2, b.size - 2);
	CU_ASSERT_TRUE(seq_msg_append_reply_decode(&r, &p2));
	CU_ASSERT_TRUE(p2.term == 1 && p2.match == 2 && p2.agreed == 3 && p2.agreed_term == 4 &&
		       p2.prev_pos == 5 && p2.round == 6 && p2.flags == 32);
	buf_reset(&b);
	seq_msg_vote_encode(&v, &b);
	r = reader_init(b.data + 2, b.size - 2);
	CU_ASSERT_TRUE(seq_msg_vote_decode(&r, &v2));
	CU_ASSERT_TRUE(v2.term == 1 && v2.last_pos == 2 && v2.last_term == 3 && v2.flags == 1);
	buf_fini(&b);
	mem_fini(&mem);
}

/* Cut, lengthened, of another version or an unknown type, from nobody or from oneself. */
static void test_wire_bad_form(void)
{
	struct seq_msg_vote v = {.term = 9};
	struct cluster cl;
	struct buf b, cut;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	buf_init(&b, &cl.mem);
	seq_msg_vote_encode(&v, &b);
	cut = b;
	for (cut.size = 0; cut.size < b.size; cut.size++)
		refuse(&cl, 3, 2, &cut, __LINE__);
	refuse(&cl, 0, 2, &b, __LINE__);
	refuse(&cl, 2, 2, &b, __LINE__);
	put_u8(&b, 0);
	refuse(&cl, 3, 2, &b, __LINE__);
	b.size--;
	b.data[0] = SEQ_WIRE_VERSION + 1;
	refuse(&cl, 3, 2, &b, __LINE__);
	b.data[0] = SEQ_WIRE_VERSION;
	b.data[1] = 77;
	refuse(&cl, 3, 2, &b, __LINE__);
	buf_fini(&b);
	cl_fini(&cl);
}

/*
 * Well formed, but claiming what cannot be. Node 1 leads term 1; 2 follows; all have the entry at
 * 1, committed.
 */
static void test_wire_bad_claims(void)
{
	const uint64_t huge = UINT64_MAX;
	struct cluster cl;
	struct buf b;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	buf_init(&b, &cl.mem);
	REFUSE(vote, 3, 2, .term = 0);
	REFUSE(vote, 3, 2, .term = huge);
	REFUSE(vote, 3, 2, .term = 5, .last_term = 5,
	       .last_pos = 1); /* an entry of the term it stands for */
	REFUSE(vote, 3, 2, .term = 5, .last_pos = huge);
	REFUSE(vote, 3, 2, .term = 5, .flags = 64);
	REFUSE(vote_reply, 2, 1, .term = huge);
	REFUSE(vote_reply, 2, 1, .term = 1, .flags = 128);
	REFUSE(transfer, 1, 2, .term = 0);
	REFUSE(transfer, 1, 2, .term = huge);
	REFUSE(append, 2, 1, .term = 1, .prev_pos = 1,
	       .prev_term = 1); /* a second leader, to the first */
	REFUSE(append, 3, 2, .term = 1, .prev_pos = 1, .prev_term = 1); /* and to its follower */
	REFUSE(append, 1, 2, .term = 0);
	REFUSE(append, 1, 2, .term = huge);
	REFUSE(append, 1, 2, .term = 1, .prev_pos = huge, .prev_term = 1);
	REFUSE(append, 1, 2, .term = 1, .prev_pos = 1, .prev_term = 2);
	REFUSE(append, 1, 2, .term = 1, .prev_pos = 1, .prev_term = 0);
	REFUSE(append, 1, 2, .term = 1, .prev_pos = 0, .prev_term = 1);
	REFUSE(append, 1, 2, .term = 1, .prev_pos = 1, .prev_term = 1, .committed = huge);
	REFUSE(append, 1, 2, .term = 1, .prev_pos = 1, .prev_term = 1, .round = huge);
	REFUSE(append, 1, 2, .term = 1, .prev_pos = 1, .prev_term = 1, .flags = 1);
	REFUSE(append, 1, 2, .term = 1, .prev_pos = 1, .prev_term = 1, .count = 1);
	REFUSE(append, 1, 2, .term = 1, .prev_pos = 1, .prev_term = 1, .count = UINT32_MAX);
	REFUSE(append_reply, 2, 1, .term = 0);
	REFUSE(append_reply, 2, 1, .term = huge);
	REFUSE(append_reply, 2, 1, .term = 1, .match = 2, .agreed = 2); /* more than there is */
	REFUSE(append_reply, 2, 1, .term = 1, .match = huge, .agreed = huge);
	REFUSE(append_reply, 2, 1, .term = 1, .match = 1, .agreed = 0);
	REFUSE(append_reply, 2, 1, .term = 1, .match = 1, .agreed = 1,
	       .round = 99); /* a round that was not begun */
	REFUSE(append_reply, 2, 1, .term = 1, .flags = SEQ_F_REJECT, .prev_pos = 1, .agreed = 1);
	REFUSE(append_reply, 2, 1, .term = 1, .flags = SEQ_F_REJECT, .prev_pos = 9, .agreed = 1);
	REFUSE(append_reply, 2, 1, .term = 1, .flags = 1);
	buf_fini(&b);
	cl_fini(&cl);
}

/*
 * Entries of no term, of a later or a falling one, of an unknown kind, longer than the message, or
 * bad voters.
 */
static void test_wire_bad_entries(void)
{
	static const struct {
		uint64_t t1, t2;
		uint8_t kind;
		uint32_t bytes;
		const char *data;
	} bad[] = {
		{0, 1, 1, 1, "a"},
		{1, 0, 1, 1, "a"},
		{2, 2, 1, 1, "a"},
		{1, 1, 0, 1, "a"},
		{1, 1, 4, 1, "a"},
		{1, 1, 1, 2, "a"},
		{1, 1, 1, 0, "a"},
		{1, 1, 1, UINT32_MAX, "a"},
		{1, 1, SEQ_CONFIG, 0, ""},
		{1, 1, SEQ_CONFIG, 4, "\xff\xff\xff\xff"},
		{1, 1, SEQ_CONFIG, 6, "\2\0\0\0\0"},
	};
	struct seq_msg_append m = {.term = 1, .prev_pos = 1, .prev_term = 1, .count = 2};
	struct cluster cl;
	struct buf b;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	buf_init(&b, &cl.mem);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		buf_reset(&b);
		seq_msg_append_encode(&m, &b);
		put_entry(&b, bad[i].t1, SEQ_BATCH, 1, "x");
		put_entry(&b, bad[i].t2, bad[i].kind, bad[i].bytes, bad[i].data);
		refuse(&cl, 1, 2, &b, (int)i);
	}
	buf_fini(&b);
	cl_fini(&cl);
}

/*
 * What is committed, and what this leader sent before, is never replaced, whatever a leader's
 * message says.
 */
static void test_wire_contradictions(void)
{
	struct seq_msg_append m = {
		.term = 7, .prev_pos = 1, .prev_term = 1, .count = 1, .committed = 2};
	struct cluster cl;
	struct buf b;

	cl_init(&cl, 1, 3, 3);
	cl_three(&cl);
	CU_ASSERT_EQUAL(cl_propose(&cl, 1, "kept", NULL), ST_OK);
	cl_run(&cl, 100000);
	cl_crash(&cl, 1);
	buf_init(&b, &cl.mem);
	/*
	 * Another entry at the committed position 2: passed over. Then one that fits after it:
	 * taken.
	 */
	seq_msg_append_encode(&m, &b);
	put_entry(&b, 5, SEQ_BATCH, 1, "x");
	seq_message(cl.at[2].seq, cl.now_us, 3, b.data, b.size);
	CU_ASSERT_EQUAL(seq_last(cl.at[2].seq), 2);
	CU_ASSERT_EQUAL(cl_log_at(&cl.at[2].view, 2)->term, 1);
	m = (struct seq_msg_append){.term = 7, .prev_pos = 2, .prev_term = 1, .count = 1};
	buf_reset(&b);
	seq_msg_append_encode(&m, &b);
	put_entry(&b, 6, SEQ_BATCH, 1, "y");
	seq_message(cl.at[2].seq, cl.now_us, 3, b.data, b.size);
	CU_ASSERT_EQUAL(seq_last(cl.at[2].seq), 3);
	/* The same leader says otherwise about 3, and about 2. */
	buf_reset(&b);
	seq_msg_append_encode(&m, &b);
	put_entry(&b, 7, SEQ_BATCH, 1, "z");
	refuse(&cl, 3, 2, &b, __LINE__);
	m = (struct seq_msg_append){.term = 7, .prev_pos = 2, .prev_term = 3};
	buf_reset(&b);
	seq_msg_append_encode(&m, &b);
	refuse(&cl, 3, 2, &b, __LINE__);
	buf_fini(&b);
	cl_fini(&cl);
}

/*
 * The fuzz target on random input: no assertion, no leak, nothing committed replaced (make fuzz
 * goes deeper).
 */
static void test_wire_noise(void)
{
	uint8_t data[600];
	struct rng rng;

	rng_init(&rng, 7);
	for (int run = 0; run < 5000; run++) {
		size_t bytes = rng_below(&rng, sizeof data);

		for (size_t i = 0; i < bytes; i++)
			data[i] = (uint8_t)rng_next(&rng);
		CU_ASSERT_EQUAL(fuzz_seq_message(data, bytes), 0);
	}
}

void suite_sequencer_wire(void)
{
	CU_pSuite s = CU_add_suite("sequencer/wire", NULL, NULL);

	CU_add_test(s, "round trip", test_wire_round_trip);
	CU_add_test(s, "bad form", test_wire_bad_form);
	CU_add_test(s, "bad claims", test_wire_bad_claims);
	CU_add_test(s, "bad entries", test_wire_bad_entries);
	CU_add_test(s, "contradictions", test_wire_contradictions);
	CU_add_test(s, "noise", test_wire_noise);
}
