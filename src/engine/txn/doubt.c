/*
 * doubt.c - commits whose engine was removed with their record on its way, and did not read the log to that (engine/txn; P25).
 *
 * The engine joins again under a new id and has a root from after its removal: what became of the record is in a part of the log
 * that it will not be sent. Others have it in their window still: it asks them, archives first, one after the other. A removal
 * decides what is not in the log before it, so who has applied the join that followed it can always tell, if its window reaches
 * back to where the record was planned. The session waits meanwhile, and gets a definite answer: only when everybody's window has
 * moved on, or nobody answers for as long as reads may go on without the voters, is the outcome unknown (08007).
 */
#include "base/cover.h"
#include "engine/txn/txn_int.h"

#define ASK_US 200000
#define ASKED_MAX 64 /* members that are asked */

enum found { FOUND_GONE, FOUND_NEVER, FOUND_OK, FOUND_VOID, FOUND_COUNT };

struct doubt {
	struct list all;
	engine_id engine;        /* of the id under which it was sent */
	uint64_t seq;
	seq_index plan;          /* the record comes behind it */
	struct txn *txn;
	uint64_t since_us, asked_us; /* since_us: since this engine is a member again; 0: it is not */
	uint32_t asks;
	engine_id gone[ASKED_MAX];   /* whose window does not reach back */
	uint32_t gone_count;
};

void doubt_add(struct txns *t, engine_id was, const struct submission *s)
{
	struct doubt *d = MEM_NEW(t->mem, struct doubt);

	d->engine = was;
	d->seq = s->seq;
	d->plan = s->plan;
	d->txn = s->ctx;
	list_push_back(&t->doubts, &d->all);
}

static void doubt_end(struct txns *t, struct doubt *d, enum verdict v, seq_index index)
{
	struct txn *x = d->txn;

	list_remove(&d->all);
	MEM_FREE(t->mem, d);
	commit_doubt_over(t, x, v, index);
}

void doubts_fini(struct txns *t)
{
	LIST_FOREACH_SAFE(it, tmp, &t->doubts)
		doubt_end(t, CONTAINER_OF(it, struct doubt, all), VERDICT_VOID, 0);
}

/* -- asking -------------------------------------------------------------------------------------------------------- */

/* Archives first: their windows are the largest. At most max. */
static uint32_t others(struct txns *t, engine_id ids[ASKED_MAX])
{
	uint32_t n = 0;

	for (int archives = 1; archives >= 0; archives--)
		for (uint32_t i = 0; i < replica_member_count(t->rp) && n < ASKED_MAX; i++) {
			const struct member *m = replica_member_at(t->rp, i);

			if ((m->kind == ENGINE_ARCHIVE) == archives && m->id != t->self)
				ids[n++] = m->id;
		}
	return n;
}

static void doubt_ask(struct txns *t, struct doubt *d)
{
	engine_id ids[ASKED_MAX];
	uint32_t n = others(t, ids), left = 0;
	struct buf b;

	for (uint32_t i = 0; i < n; i++) {
		bool gone = false;

		for (uint32_t k = 0; k < d->gone_count; k++)
			gone = gone || d->gone[k] == ids[i];
		if (!gone)
			ids[left++] = ids[i];
	}
	if (n && !left) {
		doubt_end(t, d, VERDICT_VOID, 0);
		return;
	}
	d->asked_us = txns_now(t);
	if (!left)
		return;
	buf_init(&b, t->mem);
	put_u8(&b, MSG_OUTCOME);
	put_u64(&b, d->engine);
	put_u64(&b, d->seq);
	put_u64(&b, d->plan);
	put_u64(&b, txns_applied(t));
	t->host->send(t->ctx, ids[d->asks++ % left], b.data, b.size);
	buf_fini(&b);
}

void doubts_tick(struct txns *t)
{
	uint64_t now = txns_now(t);

	LIST_FOREACH_SAFE(it, tmp, &t->doubts) {
		struct doubt *d = CONTAINER_OF(it, struct doubt, all);

		if (!t->self)
			continue;
		if (!d->since_us)
			d->since_us = now;
		if (now - d->since_us > t->stale_read_limit_us)
			doubt_end(t, d, VERDICT_VOID, 0);
		else if (now - d->asked_us >= ASK_US)
			doubt_ask(t, d);
	}
}

/* -- answering ------------------------------------------------------------------------------------------------------ */

static void asked(struct txns *t, engine_id from, struct reader *r)
{
	engine_id engine = get_u64(r);
	uint64_t seq = get_u64(r);
	seq_index plan = get_u64(r), as_of = get_u64(r), index = 0;
	enum found found;
	enum verdict v;
	enum status st;
	struct buf b;

	if (r->bad || as_of > txns_applied(t))
		return; /* asked again */
	st = t->host->record_find(t->ctx, engine, seq, plan, &index, &v);
	if (st == ST_END && replica_member(t->rp, engine))
		return; /* it may still come */
	found = st == ST_LOG_GONE ? FOUND_GONE : st == ST_END ? FOUND_NEVER : v == VERDICT_OK ? FOUND_OK : FOUND_VOID;
	buf_init(&b, t->mem);
	put_u8(&b, MSG_OUTCOME_IS);
	put_u64(&b, engine);
	put_u64(&b, seq);
	put_u8(&b, (uint8_t)found);
	put_u64(&b, found == FOUND_NEVER ? txns_applied(t) : index);
	t->host->send(t->ctx, from, b.data, b.size);
	buf_fini(&b);
}

static void answered(struct txns *t, engine_id from, struct reader *r)
{
	engine_id engine = get_u64(r);
	uint64_t seq = get_u64(r);
	uint8_t found = get_u8(r);
	seq_index index = get_u64(r);

	if (r->bad || found >= FOUND_COUNT || (found != FOUND_GONE && !index)) {
		r->bad = true;
		return;
	}
	LIST_FOREACH_SAFE(it, tmp, &t->doubts) {
		struct doubt *d = CONTAINER_OF(it, struct doubt, all);

		if (d->engine != engine || d->seq != seq)
			continue;
		if (found == FOUND_GONE) {
			if (d->gone_count < ASKED_MAX)
				d->gone[d->gone_count++] = from;
			doubt_ask(t, d);
			return;
		}
		COVER(DOUBT_DECIDED);
		doubt_end(t, d, found == FOUND_OK ? VERDICT_OK : VERDICT_VOID, index);
		return;
	}
}

void doubts_message(struct txns *t, engine_id from, uint8_t type, struct reader *r)
{
	if (type == MSG_OUTCOME)
		asked(t, from, r);
	else
		answered(t, from, r);
}
