/*
 * parts.c - parts of a large commit that are not here (engine/txn; P7).
 *
 * A cache whose first root lies between a transaction's parts and its commit has only the later parts from the log, and one
 * that needs the commit for a copy that it got since was not sent some (ADR 10). It
 * asks the archives for the others, one archive at a time, an answer of some parts at a time, when it comes to the
 * commit: most transactions that were open when it joined are over by then. Engines keep the parts of a commit for as long
 * as their window of the log reaches back to it. Who comes later than that asks in vain, and joins anew (log.c).
 */
#include "engine/txn/txn_int.h"

#define PARTS_ANSWER_BYTES (4u << 20) /* per question: far below what a link may have in its backlog */
#define PARTS_PATIENCE_US 5000000

/* The @n-th other archive. 0: there is none. */
static engine_id archive_at(struct txns *t, uint32_t n)
{
	engine_id ids[16];
	uint32_t count = 0;

	for (uint32_t i = 0; i < replica_member_count(t->rp) && count < 16; i++) {
		const struct member *m = replica_member_at(t->rp, i);

		if (m->kind == ENGINE_ARCHIVE && m->id != t->self)
			ids[count++] = m->id;
	}
	return count ? ids[n % count] : 0;
}

static void parts_ask(struct txns *t)
{
	struct parts_wanted *w = &t->parts;
	struct buf b;

	w->asked_us = txns_now(t);
	w->answer_bytes = 0;
	w->from = archive_at(t, w->asks);
	if (!w->from)
		return;
	buf_init(&b, t->mem);
	put_u8(&b, MSG_PARTS);
	put_u64(&b, w->engine);
	put_u64(&b, w->txn);
	put_u32(&b, w->attempt);
	put_u64(&b, w->have);
	t->host->send(t->ctx, w->from, b.data, b.size);
	buf_fini(&b);
}

bool txns_want_parts(struct txns *t, const struct record *commit)
{
	struct parts_wanted *w = &t->parts;
	uint64_t now = txns_now(t);

	if (w->commit != commit->index) {
		*w = (struct parts_wanted){.commit = commit->index, .engine = commit->engine, .txn = commit->txn,
					   .attempt = commit->attempt, .parts = commit->parts,
					   .since_us = now};
		parts_ask(t);
		return true;
	}
	if (now - w->since_us > PARTS_PATIENCE_US) {
		log_event(t->log, LOG_TXN, LOG_WARN, "nobody has the parts of a commit", "index=%llu engine=%llu txn=%llu",
			  (unsigned long long)w->commit, (unsigned long long)w->engine, (unsigned long long)w->txn);
		w->since_us = now; /* who cannot join anew goes on asking */
		return false;
	}
	if (now - w->asked_us >= t->resubmit_us) { /* nothing more came: another one may have them */
		w->asks++;
		w->have = 0;
		parts_ask(t);
	} else if (w->answer_bytes >= PARTS_ANSWER_BYTES) {
		parts_ask(t);
	}
	return true;
}

struct answer { struct txns *t; engine_id to; seq_index after; uint32_t bytes; };

static void send_one(void *ctx, const struct record *part)
{
	struct answer *a = ctx;
	struct buf b;

	if (part->index <= a->after || !part->payload || a->bytes >= PARTS_ANSWER_BYTES)
		return;
	a->bytes += part->payload_bytes;
	buf_init(&b, a->t->mem);
	put_u8(&b, MSG_PART);
	put_u64(&b, part->index);
	record_encode(part, &b);
	a->t->host->send(a->t->ctx, a->to, b.data, b.size);
	buf_fini(&b);
}

static void on_parts(struct txns *t, engine_id from, struct reader *r)
{
	struct answer a = {.t = t, .to = from};
	engine_id engine = get_u64(r);
	txn_id txn = get_u64(r);
	uint32_t attempt = get_u32(r);

	a.after = get_u64(r);
	if (!r->bad)
		replica_each_part(t->rp, engine, txn, attempt, &a, send_one);
}

/* Only what was asked for, of whom it was asked, and nothing that apply could not take. */
static void on_part(struct txns *t, engine_id from, struct reader *r)
{
	struct parts_wanted *w = &t->parts;
	seq_index index = get_u64(r);
	uint32_t attempt;
	struct record *rec;
	enum status st;

	if (r->bad || !w->commit || w->commit <= txns_applied(t) || from != w->from || index >= w->commit || !index)
		return;
	rec = mem_alloc(t->mem, sizeof *rec);
	st = record_decode(r, rec);
	rec->index = index;
	if (st != ST_OK || rec->kind != REC_PART || reader_left(r) || !rec->payload ||
	    !record_ops_ok(rec, t->mem)) {
		r->bad = true;
	} else if (rec->engine == w->engine && rec->txn == w->txn && rec->attempt == w->attempt &&
		   (replica_open_parts(t->rp, w->engine, w->txn, &attempt) < w->parts || replica_part_bare(t->rp, rec))) {
		replica_add_part(t->rp, rec);
		w->have = index > w->have ? index : w->have;
		w->answer_bytes += rec->payload_bytes;
		w->asked_us = w->since_us = txns_now(t);
		t->host->kick(t->ctx);
	}
	mem_free(t->mem, rec, sizeof *rec);
}

void parts_message(struct txns *t, engine_id from, uint8_t type, struct reader *r)
{
	if (type == MSG_PARTS)
		on_parts(t, from, r);
	else
		on_part(t, from, r);
}
