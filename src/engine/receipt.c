/*
 * receipt.c - commits at level memory: the leader says so when a majority of voters has received one (engine; P3).
 *
 * Only of a commit whose verdict the leader knows already: judged as of what it has applied, with nothing before it in the log that
 * is not applied yet and could change that: a join or removal, or the end of an intent, which sets a barrier. The number
 * is the next one, as the leader took it; the horizon is that of its batch. Of all others the sender hears nothing, and
 * answers its client when the record is applied. A leader that is none any more forgets whom it would have told.
 */
#include "engine/engine_int.h"

#define EARLY_MAX 65536 /* commits at a time; further ones are answered when applied */

void receipts_clear(struct engine *e)
{
	e->leader.early.count = 0;
	e->leader.intents.count = 0;
	e->leader.unsure = 0;
}

void receipts_fini(struct engine *e)
{
	VEC_FINI(e->mem, &e->leader.early);
	VEC_FINI(e->mem, &e->leader.intents);
}

static bool ends_intents(struct engine *e, const struct record *r)
{
	struct leader *l = &e->leader;
	size_t kept = 0;
	bool ends = false;

	for (uint32_t i = 0; i < replica_intent_count(e->rp); i++) {
		const struct intent *in = replica_intent_at(e->rp, i);

		ends = ends || (in->engine == r->engine && in->txn == r->txn);
	}
	for (size_t i = 0; i < l->intents.count; i++) {
		struct taken_intent in = l->intents.at[i];

		if (in.index <= replica_applied(e->rp))
			continue; /* the root has it */
		ends = ends || (in.engine == r->engine && in.txn == r->txn);
		l->intents.at[kept++] = in;
	}
	l->intents.count = kept;
	return ends;
}

void receipts_taken(struct engine *e, const struct record *r, bool tell)
{
	struct leader *l = &e->leader;
	seq_index index = l->next_index + l->pending_count - 1;

	if (r->kind == REC_JOIN || r->kind == REC_REMOVE) {
		l->unsure = index;
	} else if (r->kind == REC_INTENT) {
		struct taken_intent in = {index, r->engine, r->txn};

		VEC_PUSH(e->mem, &l->intents, in);
	} else if (r->kind == REC_COMMIT && ends_intents(e, r)) {
		l->unsure = index;
	} else if (r->kind == REC_COMMIT && tell && !r->named && l->unsure <= replica_applied(e->rp) &&
		   l->early.count < EARLY_MAX && replica_would_commit(e->rp, r)) {
		struct early_commit c = {.engine = r->engine, .seq = r->seq, .plan = r->plan, .index = index};

		VEC_PUSH(e->mem, &l->early, c);
	}
}

bool receipts_wanted(const struct engine *e, seq_index last)
{
	const struct leader *l = &e->leader;

	/* in order of index, those in a batch already first */
	for (size_t i = l->early.count; i-- > 0 && !l->early.at[i].pos;)
		if (l->early.at[i].index <= last)
			return true;
	return false;
}

void receipts_proposed(struct engine *e, seq_index last, seq_index horizon, uint64_t pos)
{
	struct leader *l = &e->leader;
	size_t kept = 0;

	for (size_t i = 0; i < l->early.count; i++) {
		struct early_commit c = l->early.at[i];

		if (!c.pos && c.index <= last) {
			if (c.plan < horizon)
				continue; /* void (P5) */
			c.pos = pos;
		}
		l->early.at[kept++] = c;
	}
	l->early.count = kept;
}

void receipts_turn(struct engine *e)
{
	struct leader *l = &e->leader;
	uint64_t received = l->early.count ? seq_received(e->seq) : 0;
	size_t done = 0;

	for (; done < l->early.count && l->early.at[done].pos && l->early.at[done].pos <= received; done++) {
		const struct early_commit *c = &l->early.at[done];
		struct buf b;

		if (c->index <= replica_applied(e->rp))
			continue; /* on its way to the sender as part of the log */
		buf_init(&b, e->mem);
		put_u8(&b, MSG_RECEIVED);
		put_u64(&b, c->engine);
		put_u64(&b, c->seq);
		relay_send(e->relay, c->engine, b.data, b.size);
		buf_fini(&b);
		e->receipts_told++;
	}
	if (!done)
		return;
	l->early.count -= done;
	memmove(l->early.at, l->early.at + done, l->early.count * sizeof *l->early.at);
}
