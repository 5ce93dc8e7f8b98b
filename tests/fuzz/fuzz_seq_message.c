/*
 * fuzz_seq_message.c - libFuzzer target: what other voters may send, and when (tests).
 *
 * One voter of three, a disk that keeps what it was given, and a list of events from the input,
 * each a byte of kind, then:
 *   0 a message as it is: u8 from, u8 bytes, the message
 *   1 a message of a known type: u8 from, u8 type, its fields (small numbers mostly, so that they make sense), entries
 *   2 time passes: u8 in units of 10 ms
 *   3 a write completes        4 a proposal of u8 bytes      5 news that u8 is dead
 *   6 a read index             7 a transfer to u8            8 the journal is dropped below what is delivered
 *   9 all writes are lost and it restarts
 * Nothing may hit an assertion, leak, or make it replace what it reported committed (on_persist
 * checks).
 */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/list.h"
#include "engine/sequencer/seq.h"
#include "engine/sequencer/seq_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct entry {
	uint64_t term;
	uint8_t kind, *data;
	uint32_t bytes;
};
struct write {
	uint64_t token, term, vote, first_pos;
	VEC(struct entry) e;
};
struct node {
	struct mem mem;
	struct seq *seq;
	uint64_t now_us, term, vote, first_pos, before_term;
	VEC(struct entry) disk; /* from first_pos */
	VEC(struct write) writes;
	uint64_t delivered, reads;
};

static struct entry entry_copy(struct node *n, const struct seq_entry *e)
{
	struct entry c = {e->term, e->kind, e->bytes ? mem_alloc(&n->mem, e->bytes) : NULL,
			  e->bytes};

	if (e->bytes)
		memcpy(c.data, e->data, e->bytes);
	return c;
}

static void entry_free(struct node *n, struct entry *e)
{
	mem_free(&n->mem, e->data, e->bytes);
}

static void on_persist(void *ctx, const struct seq_persist *p)
{
	struct node *n = ctx;
	struct write w = {
		.token = p->token, .term = p->term, .vote = p->vote, .first_pos = p->first_pos};

	for (uint32_t i = 0; i < p->entry_count; i++) {
		ASSERT_OP(p->entries[i].pos, ==, p->first_pos + i);
		VEC_PUSH(&n->mem, &w.e, entry_copy(n, &p->entries[i]));
	}
	ASSERT(p->entry_count == 0 || p->first_pos > n->delivered);
	VEC_PUSH(&n->mem, &n->writes, w);
}

static void on_send(void *ctx, uint64_t to, const void *data, size_t bytes)
{
	(void)ctx;
	ASSERT(to != 0 && to != 1 && data && bytes > 2);
}

static void on_committed(void *ctx, const struct seq_entry *e)
{
	struct node *n = ctx;

	ASSERT_OP(e->pos, ==, n->delivered + 1);
	n->delivered = e->pos;
}

static bool on_read(void *ctx, uint64_t pos, struct seq_entry *out)
{
	struct node *n = ctx;

	if (pos < n->first_pos || pos >= n->first_pos + n->disk.count)
		return false;
	const struct entry *e = &n->disk.at[pos - n->first_pos];
	*out = (struct seq_entry){
		.pos = pos, .term = e->term, .kind = e->kind, .bytes = e->bytes, .data = e->data};
	return true;
}

static void on_noop(void *ctx, struct buf *out)
{
	(void)ctx;
	put_u8(out, 7);
}

static void on_read_done(void *ctx, uint64_t request, bool ok, uint64_t pos)
{
	struct node *n = ctx;

	ASSERT_OP(request, <=, n->reads);
	ASSERT(!ok || pos <= seq_committed(n->seq));
}

static const struct seq_host host = {.persist = on_persist,
				     .send = on_send,
				     .committed = on_committed,
				     .read = on_read,
				     .noop = on_noop};

static void start(struct node *n)
{
	struct seq_config cfg = {.mem = &n->mem,
				 .self = 1,
				 .seed = 1,
				 .host = &host,
				 .ctx = n,
				 .window_bytes = 512,
				 .term = n->term,
				 .vote = n->vote,
				 .first_pos = n->first_pos,
				 .may_vote = true,
				 .last_pos = n->first_pos + n->disk.count - 1,
				 .before_term = n->before_term};

	cfg.last_term = n->disk.count ? n->disk.at[n->disk.count - 1].term : n->before_term;
	cfg.committed_pos = n->delivered < cfg.last_pos ? n->delivered : cfg.last_pos;
	n->delivered = cfg.committed_pos;
	for (uint32_t i = 0; i < 3; i++)
		cfg.voters.at[cfg.voters.count++] = (struct seq_voter){.id = i + 1, .votes = true};
	ASSERT_OP(seq_open(&cfg, n->now_us, &n->seq), ==, ST_OK);
	seq_set_read_fn(n->seq, on_read_done);
}

static void write_forget(struct node *n, struct write *w)
{
	VEC_FINI(&n->mem, &w->e);
}

static void write_done(struct node *n)
{
	if (n->writes.count == 0)
		return;
	struct write w = n->writes.at[0];
	n->writes.count--;
	memmove(&n->writes.at[0], &n->writes.at[1], n->writes.count * sizeof w);
	n->term = w.term;
	n->vote = w.vote;
	if (w.first_pos) {
		ASSERT(w.first_pos >= n->first_pos && w.first_pos <= n->first_pos + n->disk.count);
		while (n->first_pos + n->disk.count > w.first_pos)
			entry_free(n, &n->disk.at[--n->disk.count]);
	}
	for (size_t i = 0; i < w.e.count; i++)
		VEC_PUSH(&n->mem, &n->disk, w.e.at[i]);
	write_forget(n, &w);
	seq_persisted(n->seq, n->now_us, w.token);
}

static void crash(struct node *n)
{
	while (n->writes.count > 0) {
		struct write *w = &n->writes.at[--n->writes.count];

		for (size_t i = 0; i < w->e.count; i++)
			entry_free(n, &w->e.at[i]);
		write_forget(n, w);
	}
	seq_close(n->seq);
}

static void drop_journal(struct node *n)
{
	uint64_t last = n->first_pos + n->disk.count - 1,
		 below = n->delivered < last ? n->delivered : last;

	seq_truncate_window(n->seq, below);
	while (n->first_pos < below) {
		n->before_term = n->disk.at[0].term;
		entry_free(n, &n->disk.at[0]);
		n->disk.count--;
		memmove(&n->disk.at[0], &n->disk.at[1], n->disk.count * sizeof n->disk.at[0]);
		n->first_pos++;
	}
}

/* A number that is often near what the voter has, sometimes anything. */
static uint64_t number(struct node *n, struct reader *r)
{
	uint8_t b = get_u8(r);

	if (b < 64)
		return b;
	if (b < 128)
		return seq_term(n->seq) + b - 96;
	if (b < 250)
		return seq_last(n->seq) + b - 189;
	return get_u64(r);
}

static void put_entries(struct node *n, struct buf *b, struct reader *r, uint32_t count)
{
	uint64_t term = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint8_t kind = get_u8(r), bytes = get_u8(r);

		term = kind & 16 || term == 0 ? number(n, r) : term;
		kind &= 3;
		put_u64(b, term);
		put_u8(b, kind);
		if (kind == SEQ_CONFIG && bytes < 200) { /* well formed: voters bytes & 7, or so */
			struct seq_voters v = {0},
					  before = {.count = 1, .at = {{.id = 1, .votes = true}}};
			struct buf c;
			uint32_t head;

			for (uint32_t j = 0; j < (bytes & 7u); j++)
				v.at[j < 6 ? v.count++ : 0] = (struct seq_voter){
					.id = j + 1 + (bytes >> 6), .votes = j < 5};
			buf_init(&c, &n->mem);
			put_u32(&c, 0);
			seq_voters_encode(&v, &c);
			seq_voters_encode(&before, &c);
			head = (uint32_t)c.size - 4;
			memcpy(c.data, &head, 4);
			put_u32(b, (uint32_t)c.size);
			buf_put(b, c.data, c.size);
			buf_fini(&c);
		} else {
			put_u32(b, bytes);
			for (uint8_t j = 0; j < bytes; j++)
				put_u8(b, j);
		}
	}
}

#define FUZZ_FIELD_u8(name) m.name = get_u8(r);
#define FUZZ_FIELD_u32(name) m.name = get_u8(r);
#define FUZZ_FIELD_u64(name) m.name = number(n, r);
#define FUZZ_FIELD(type, name) FUZZ_FIELD_##type(name)

static void message_made(struct node *n, struct reader *r)
{
	uint8_t from = get_u8(r) % 8, type = get_u8(r) % 6;
	struct buf b;

	buf_init(&b, &n->mem);
	switch (type) {
#define X(num, upper, lower)                                                                       \
	case num: {                                                                                \
		struct seq_msg_##lower m;                                                          \
		SEQ_MSG_##upper##_FIELDS(FUZZ_FIELD) seq_msg_##lower##_encode(&m, &b);             \
		if (num == SEQ_MSG_APPEND) {                                                       \
			uint32_t count;                                                            \
			memcpy(&count, b.data + b.size - 4, 4);                                    \
			put_entries(n, &b, r, count);                                              \
		}                                                                                  \
		break;                                                                             \
	}
		SEQ_MSG_TABLE(X)
#undef X
	default:
		put_u8(&b, SEQ_WIRE_VERSION);
		put_u8(&b, type);
		break;
	}
	seq_message(n->seq, n->now_us, from, b.data, b.size);
	buf_fini(&b);
}

static void event(struct node *n, struct reader *r)
{
	static const uint8_t text[256];
	uint64_t pos;

	switch (get_u8(r) % 10) {
	case 0: {
		uint8_t from = get_u8(r), bytes = get_u8(r);
		const uint8_t *p = get_raw(r, bytes);

		if (p)
			seq_message(n->seq, n->now_us, from, p, bytes);
		break;
	}
	case 1:
		message_made(n, r);
		break;
	case 2:
		n->now_us += get_u8(r) * 10000u;
		seq_tick(n->seq, n->now_us);
		break;
	case 3:
		write_done(n);
		break;
	case 4:
		(void)!seq_propose(n->seq, n->now_us, SEQ_BATCH, text, get_u8(r), &pos);
		break;
	case 5:
		seq_peer_down(n->seq, n->now_us, get_u8(r));
		break;
	case 6:
		(void)!seq_read_index(n->seq, n->now_us, ++n->reads);
		break;
	case 7:
		(void)!seq_transfer(n->seq, n->now_us, get_u8(r));
		break;
	case 8:
		drop_journal(n);
		break;
	case 9:
		crash(n);
		start(n);
		break;
	default:
		break;
	}
	ASSERT_OP(seq_committed(n->seq), <=, seq_last(n->seq));
	ASSERT_OP(n->delivered, <=, seq_committed(n->seq));
	ASSERT(seq_next_us(n->seq) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_init(data, size);
	struct node n = {.now_us = 1000000, .first_pos = 1};

	mem_init(&n.mem, NULL, "fuzz", 0);
	start(&n);
	while (reader_ok(&r) && reader_left(&r) > 0)
		event(&n, &r);
	struct buf b;
	buf_init(&b, &n.mem);
	seq_trace(n.seq, &b);
	buf_fini(&b);
	crash(&n);
	while (n.disk.count > 0)
		entry_free(&n, &n.disk.at[--n.disk.count]);
	VEC_FINI(&n.mem, &n.disk);
	VEC_FINI(&n.mem, &n.writes);
	mem_fini(&n.mem);
	return 0;
}
