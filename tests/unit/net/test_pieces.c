/*
 * test_pieces.c - a link's stream of pieces and slices, between both its ends (tests).
 *
 * The way between them is a model of what a library does: each operation that is sent takes the receive that was
 * posted first, which has to be large enough for it, and completions are looked at some time later.
 */
#include "net/pieces.h"

#include <CUnit/CUnit.h>
#include <stdlib.h>
#include <string.h>

#include "base/env.h"
#include "base/list.h"

void suite_net_pieces(void);

#define OPS_MAX 64
#define POSTED_MAX 16

static struct mem mem;
static struct rng rng;

/* An operation under way, or a receive that is posted or complete. */
struct op { uint8_t *data; uint32_t bytes, cap; bool slice, full; };

static struct way {
	struct net_link from, to;
	struct net_out out;
	struct net_spare spare;
	struct net_in in;
	struct net_cut cut;
	struct op sent[OPS_MAX], posted[POSTED_MAX]; /* oldest first */
	uint32_t sent_count, posted_count, full_count, receives_max;
	uint64_t messages, expect, errors, slices, pieces;
	size_t backlog;
} w;

/* Every byte follows from number and length. */
static uint8_t byte_of(uint64_t number, uint32_t bytes, uint32_t at)
{
	return (uint8_t)((number * 31 + bytes) ^ (at * 2654435761u >> 24));
}

static void way_open(struct net_cut cut, bool lend, uint32_t receives_max)
{
	memset(&w, 0, sizeof w);
	mem_init(&mem, NULL, "pieces", 0);
	w.cut = cut;
	w.receives_max = receives_max;
	net_out_init(&w.out, &w.from, &mem, cut, lend);
	net_spare_init(&w.spare, &mem);
	net_in_init(&w.in, &w.to, &w.spare, cut);
}

static void op_drop(struct op *list, uint32_t *count, bool owned)
{
	if (owned)
		free(list[0].data);
	memmove(list, list + 1, --*count * sizeof *list);
}

static void way_close(void)
{
	while (w.sent_count)
		op_drop(w.sent, &w.sent_count, true);
	while (w.posted_count)
		op_drop(w.posted, &w.posted_count, !w.posted[0].slice);
	net_out_drop(&w.out);
	net_in_fini(&w.in);
	net_spare_fini(&w.spare);
	CU_ASSERT_EQUAL(mem.used_bytes, 0);
	mem_fini(&mem);
}

static void push(uint32_t bytes, uint64_t number)
{
	struct net_msg *m = net_msg_new(&mem, bytes);

	for (uint32_t i = 0; i < bytes; i++)
		m->data[i] = byte_of(number, bytes, i);
	net_out_push(&w.out, m);
}

static bool on_message(void *ctx, const void *data, uint32_t bytes)
{
	const uint8_t *p = data;

	(void)ctx;
	w.errors += ((uintptr_t)data & 7) != 0;
	for (uint32_t i = 0; i < bytes; i++)
		w.errors += p[i] != byte_of(w.expect, bytes, i);
	w.expect++;
	w.messages++;
	return true;
}

/* The operation that is next, into the way. */
static void send_one(void)
{
	uint8_t *room = malloc(w.cut.piece_bytes);
	struct net_piece p;
	struct op op = {.data = NULL};

	net_out_next(&w.out, room, &p);
	CU_ASSERT_EQUAL(net_out_lends(&w.out), p.lent && !p.copied_bytes);
	op.bytes = p.copied_bytes + p.lent_bytes;
	op.data = malloc(op.bytes ? op.bytes : 1);
	memcpy(op.data, room, p.copied_bytes);
	if (p.lent)
		memcpy(op.data + p.copied_bytes, p.lent, p.lent_bytes);
	w.sent[w.sent_count++] = op;
	net_out_take(&w.out, &p);
	free(room);
}

/* As the back end over libfabric does it: as far ahead as it may. */
static void post(void)
{
	uint32_t pieces = 0;

	for (uint32_t i = 0; i < w.posted_count; i++)
		pieces += !w.posted[i].slice;
	while (w.posted_count < POSTED_MAX) {
		struct op op = {.cap = w.cut.piece_bytes};
		enum net_next next = net_in_next(&w.in, w.posted_count, &op.data, &op.cap);

		if (next == NET_NEXT_UNKNOWN || (next == NET_NEXT_PIECE && pieces == w.receives_max))
			break;
		op.slice = next == NET_NEXT_SLICE;
		pieces += !op.slice;
		if (!op.slice)
			op.data = malloc(op.cap);
		w.posted[w.posted_count++] = op;
	}
	CU_ASSERT(w.posted_count > 0);
}

/* The oldest operation arrives in the oldest receive that is free. */
static void arrive(void)
{
	struct op *to = &w.posted[w.full_count], *from = &w.sent[0];

	if (!w.sent_count || w.full_count == w.posted_count)
		return;
	if (to->slice ? from->bytes != to->cap : from->bytes > to->cap) {
		w.errors++;
		from->bytes = from->bytes < to->cap ? from->bytes : to->cap;
	}
	memcpy(to->data, from->data, from->bytes);
	to->bytes = from->bytes;
	w.full_count++;
	op_drop(w.sent, &w.sent_count, true);
}

static void look(void)
{
	struct op op = w.posted[0];

	if (!w.full_count)
		return;
	w.full_count--;
	op_drop(w.posted, &w.posted_count, false);
	w.slices += op.slice;
	w.pieces += !op.slice;
	if (op.slice) {
		w.errors += !net_in_took(&w.in, op.data, op.bytes, on_message, NULL);
	} else {
		w.errors += net_in_take(&w.in, op.data, op.bytes, on_message, NULL) != ST_OK;
		free(op.data);
	}
	post();
}

/* All of it, in any order of the two ends' turns. */
static void settle(void)
{
	while (!net_out_empty(&w.out) || w.sent_count || w.full_count) {
		uint64_t what = rng_below(&rng, 4);

		if (what < 2 && !net_out_empty(&w.out) && w.sent_count < OPS_MAX)
			send_one();
		else if (what == 2)
			arrive();
		else
			look();
	}
}

static void any_sizes(struct net_cut cut, bool lend, uint32_t receives_max, uint32_t large)
{
	uint64_t number = 0;

	way_open(cut, lend, receives_max);
	post();
	for (int round = 0; round < 300; round++) {
		uint32_t burst = (uint32_t)rng_below(&rng, 12);

		for (uint32_t i = 0; i < burst; i++) {
			uint64_t kind = rng_below(&rng, 6);
			uint32_t bytes = kind < 2   ? (uint32_t)rng_below(&rng, 40)
					 : kind < 4 ? (uint32_t)rng_below(&rng, 2 * cut.piece_bytes)
						    : (uint32_t)rng_below(&rng, large);

			push(kind == 3 ? cut.piece_bytes - 16 + bytes % 32 : bytes, number++);
		}
		if (rng_below(&rng, 3))
			settle();
	}
	settle();
	CU_ASSERT_EQUAL(w.messages, number);
	CU_ASSERT_EQUAL(w.errors, 0);
	CU_ASSERT_EQUAL(w.from.backlog_bytes, 0);
	CU_ASSERT_EQUAL(w.slices > 0, cut.slice_bytes > 0);
	way_close();
}

/* Whatever the sizes, messages arrive whole and in order, and every operation finds a receive that has room for it. */
static void test_pieces_any_sizes(void)
{
	for (uint64_t seed = 1; seed <= 6; seed++) {
		rng_init(&rng, seed);
		for (uint32_t receives = 1; receives <= NET_AHEAD_MAX + 1; receives++)
			any_sizes((struct net_cut){64, 96}, true, receives, 700);
		any_sizes((struct net_cut){64, 0}, true, POSTED_MAX, 700);
		any_sizes((struct net_cut){64, 0}, false, 3, 700);
	}
	rng_init(&rng, 7);
	any_sizes((struct net_cut){40u << 10, 64u << 10}, true, 3, 300u << 10);
	any_sizes((struct net_cut){40u << 10, 0}, true, 3, 300u << 10);
}

/* Long messages one after the other have no gaps between them: two operations are enough for each. */
static void test_pieces_stream_of_long(void)
{
	way_open((struct net_cut){4096, 64u << 10}, true, NET_AHEAD_MAX + 1);
	rng_init(&rng, 1);
	post();
	for (uint64_t i = 0; i < 50; i++)
		push(60000, i);
	settle();
	CU_ASSERT_EQUAL(w.messages, 50);
	CU_ASSERT_EQUAL(w.errors, 0);
	CU_ASSERT_EQUAL(w.slices, 50);
	CU_ASSERT_EQUAL(w.pieces, 50 + NET_AHEAD_MAX); /* a gap before the first */
	way_close();
}

/* The memory that a long message was put together in is the next one's, of another link, too; there is a bound to it. */
static void test_pieces_spare(void)
{
	static const struct net_cut cut = {68u << 10, 256u << 10};
	static const uint32_t sizes[] = {100000, 1u << 20, (1u << 20) + 200, 3u << 20, 16u << 20, 70000};
	struct net_in more[NET_SPARE_MAX + 4];
	uint8_t head[8];

	way_open(cut, true, NET_AHEAD_MAX + 1);
	rng_init(&rng, 2);
	post();
	push((1u << 20) + 100, 0);
	settle();
	CU_ASSERT_EQUAL(w.spare.count, 1);
	for (uint64_t i = 1; i < 4; i++) {
		push((1u << 20) + 200 - (uint32_t)i, i);
		mem_fail_after(1); /* of what is received none is allocated; to send, it must be */
		settle();
		mem_fail_after(0);
	}
	CU_ASSERT_EQUAL(w.messages, 4);
	CU_ASSERT_EQUAL(w.errors, 0);
	CU_ASSERT_EQUAL(w.spare.count, 1);
	for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
		uint32_t bytes[2] = {sizes[s], 1};

		memcpy(head, bytes, sizeof head);
		for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
			net_in_init(&more[i], &w.to, &w.spare, cut);
			CU_ASSERT_EQUAL(net_in_take(&more[i], head, sizeof head, on_message, NULL), ST_OK);
		}
		for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
			net_in_fini(&more[i]);
		CU_ASSERT(w.spare.count > 0 && w.spare.count <= NET_SPARE_MAX);
		CU_ASSERT(w.spare.bytes <= NET_SPARE_BYTES);
		CU_ASSERT_EQUAL(mem.used_bytes, w.spare.bytes);
	}
	way_close();
}

/* What no engine would send ends the link, and takes no memory that is over the link's limit. */
static void test_pieces_bad(void)
{
	static const struct net_cut cut = {1024, 4096};
	uint32_t words[4] = {5000, 1, 0, 0};
	uint8_t bytes[32], *place = NULL;
	uint32_t n = 0;

	memcpy(bytes, words, sizeof words);
	way_open(cut, true, NET_AHEAD_MAX + 1);
	/* data behind a long message's head */
	CU_ASSERT_EQUAL(net_in_take(&w.in, bytes, 16, on_message, NULL), ST_PROTOCOL);
	/* slices that this side would not expect, and the other way round */
	bytes[4] = 0;
	CU_ASSERT_EQUAL(net_in_take(&w.in, bytes, 8, on_message, NULL), ST_PROTOCOL);
	bytes[0] = bytes[1] = 1;
	bytes[4] = 1;
	CU_ASSERT_EQUAL(net_in_take(&w.in, bytes, 8, on_message, NULL), ST_PROTOCOL);
	memcpy(bytes, words, sizeof words);
	/* something in the gap, and a piece too many */
	net_in_init(&w.in, &w.to, &w.spare, cut);
	CU_ASSERT_EQUAL(net_in_take(&w.in, bytes, 8, on_message, NULL), ST_OK);
	CU_ASSERT_EQUAL(net_in_take(&w.in, bytes, 8, on_message, NULL), ST_PROTOCOL);
	net_in_fini(&w.in);
	net_in_init(&w.in, &w.to, &w.spare, cut);
	CU_ASSERT_EQUAL(net_in_take(&w.in, bytes, 8, on_message, NULL), ST_OK);
	CU_ASSERT_EQUAL(net_in_next(&w.in, NET_AHEAD_MAX, &place, &n), NET_NEXT_SLICE);
	CU_ASSERT_EQUAL(n, 4096);
	CU_ASSERT_FALSE(net_in_took(&w.in, place, n, on_message, NULL)); /* in the gap */
	for (uint32_t i = 0; i < NET_AHEAD_MAX; i++)
		CU_ASSERT_EQUAL(net_in_take(&w.in, bytes, 0, on_message, NULL), ST_OK);
	CU_ASSERT_FALSE(net_in_took(&w.in, place, n - 1, on_message, NULL)); /* shorter than it is */
	CU_ASSERT(net_in_took(&w.in, place, n, on_message, NULL));
	CU_ASSERT_EQUAL(net_in_take(&w.in, bytes, 0, on_message, NULL), ST_PROTOCOL);
	net_in_fini(&w.in);
	/* over the limit for a stranger, and over all */
	net_spare_fini(&w.spare);
	net_in_init(&w.in, &w.to, &w.spare, cut);
	w.to.rx_message_max = 4999;
	CU_ASSERT_EQUAL(net_in_take(&w.in, bytes, 8, on_message, NULL), ST_PROTOCOL);
	w.to.rx_message_max = 0;
	words[0] = NET_MESSAGE_MAX + 1;
	memcpy(bytes, words, sizeof words);
	CU_ASSERT_EQUAL(net_in_take(&w.in, bytes, 8, on_message, NULL), ST_PROTOCOL);
	CU_ASSERT_EQUAL(mem.used_bytes, 0);
	/* no memory */
	words[0] = 5000;
	memcpy(bytes, words, sizeof words);
	mem_fail_after(1);
	CU_ASSERT_EQUAL(net_in_take(&w.in, bytes, 8, on_message, NULL), ST_NOMEM);
	CU_ASSERT_EQUAL(w.messages, 0);
	way_close();
}

void suite_net_pieces(void)
{
	CU_pSuite s = CU_add_suite("net_pieces", NULL, NULL);

	CU_add_test(s, "any sizes", test_pieces_any_sizes);
	CU_add_test(s, "stream of long messages", test_pieces_stream_of_long);
	CU_add_test(s, "spare memory", test_pieces_spare);
	CU_add_test(s, "bad streams", test_pieces_bad);
}
