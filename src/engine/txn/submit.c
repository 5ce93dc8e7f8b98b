/*
 * submit.c - this engine's records on their way to the log (engine/txn; P4).
 *
 * Numbered from 1, kept until they are seen in the log, sent again after a change of leader or a time-out. The
 * leader takes the next number only, so sending too often does no harm. Fresh ones of a turn go in one message.
 */
#include "base/cover.h"
#include "engine/txn/txn_int.h"

#define SUBMIT_MESSAGE_BYTES (2u << 20)
#define SUBMIT_WINDOW_BYTES (8u << 20) /* sent and not seen in the log */

static void resubmit_fire(struct timer *tm, void *ctx)
{
	struct txns *t = ctx;

	if (!list_empty(&t->submissions)) {
		if (txns_now(t) - t->submit_waits_us >= t->resubmit_us)
			txns_resubmit(t);
		timer_arm(t->timers, tm, txns_now(t) + t->resubmit_us);
	}
}

void submit_init(struct txns *t)
{
	list_init(&t->submissions);
	list_init(&t->doubts);
	timer_init(&t->resubmit_timer, resubmit_fire, t);
	t->next_seq = 1;
}

static void submission_free(struct txns *t, struct submission *s)
{
	list_remove(&s->all);
	mem_free(t->mem, s->bytes, s->size);
	MEM_FREE(t->mem, s);
}

void submit_fini(struct txns *t)
{
	LIST_FOREACH_SAFE(it, tmp, &t->submissions)
		submission_free(t, CONTAINER_OF(it, struct submission, all));
	timer_cancel(t->timers, &t->resubmit_timer);
}

struct submission *txns_submit(struct txns *t, struct record *r, const struct buf *payload)
{
	struct submission *s = MEM_NEW(t->mem, struct submission);
	struct buf b;

	ASSERT(t->self);
	r->engine = t->self;
	r->seq = t->next_seq++;
	if (!r->plan || r->plan > txns_applied(t))
		r->plan = txns_applied(t);
	r->payload = payload ? payload->data : NULL;
	r->payload_bytes = payload ? (uint32_t)payload->size : 0;
	buf_init(&b, t->mem);
	record_encode(r, &b);
	s->seq = r->seq;
	s->kind = r->kind;
	s->txn = r->txn;
	s->plan = r->plan;
	s->size = (uint32_t)b.size;
	s->bytes = mem_alloc(t->mem, b.size);
	memcpy(s->bytes, b.data, b.size);
	buf_fini(&b);
	if (list_empty(&t->submissions))
		t->submit_waits_us = txns_now(t);
	list_push_back(&t->submissions, &s->all);
	if (!timer_armed(&t->resubmit_timer))
		timer_arm(t->timers, &t->resubmit_timer, txns_now(t) + t->resubmit_us);
	t->host->kick(t->ctx);
	return s;
}

/* @submit: a whole MSG_SUBMIT. @tells: numbers of those of which the leader is to say that they were received. */
static void send_records(struct txns *t, struct buf *tells, struct buf *submit)
{
	struct buf b;

	if (!tells->size) {
		t->host->send(t->ctx, ENGINE_LEADER_ID, submit->data, submit->size);
	} else {
		buf_init(&b, t->mem);
		put_u8(&b, MSG_SUBMIT_TELL);
		put_u32(&b, (uint32_t)(tells->size / sizeof(uint64_t)));
		buf_put(&b, tells->data, tells->size);
		buf_put(&b, submit->data + 1, submit->size - 1);
		t->host->send(t->ctx, ENGINE_LEADER_ID, b.data, b.size);
		buf_fini(&b);
	}
	buf_reset(tells);
	buf_reset(submit);
}

/* Sends what has not been sent, in order, within the window. */
void submit_flush(struct txns *t)
{
	struct buf tells, b;
	size_t window = 0;

	buf_init(&tells, t->mem);
	buf_init(&b, t->mem);
	LIST_FOREACH(it, &t->submissions) {
		struct submission *s = CONTAINER_OF(it, struct submission, all);

		window += s->size;
		if (window > SUBMIT_WINDOW_BYTES && window != s->size)
			break;
		if (s->sent)
			continue;
		if (b.size && b.size + s->size > SUBMIT_MESSAGE_BYTES)
			send_records(t, &tells, &b);
		if (!b.size)
			put_u8(&b, MSG_SUBMIT);
		if (s->tell)
			put_u64(&tells, s->seq);
		buf_put(&b, s->bytes, s->size);
		s->sent = s->left = true;
	}
	if (b.size)
		send_records(t, &tells, &b);
	buf_fini(&tells);
	buf_fini(&b);
}

void submit_received(struct txns *t, struct reader *r)
{
	engine_id self = get_u64(r);
	uint64_t seq = get_u64(r);

	if (r->bad || self != t->self || !self)
		return; /* of an earlier membership */
	LIST_FOREACH(it, &t->submissions) {
		struct submission *s = CONTAINER_OF(it, struct submission, all);

		if (s->seq == seq && s->tell)
			level_received(t, s);
		if (s->seq >= seq)
			return;
	}
}

void txns_resubmit(struct txns *t)
{
	LIST_FOREACH(it, &t->submissions)
		CONTAINER_OF(it, struct submission, all)->sent = false;
	COVER_IF(!list_empty(&t->submissions), RESUBMIT);
	if (!list_empty(&t->submissions))
		t->stats.resubmits++;
	t->submit_waits_us = txns_now(t);
	submit_flush(t);
}

void submit_applied(struct txns *t, const struct record *r, enum verdict v, enum void_cause cause)
{
	struct submission *s;

	if (v == VERDICT_DUP || list_empty(&t->submissions))
		return;
	s = CONTAINER_OF(t->submissions.next, struct submission, all);
	ASSERT_OP(s->seq, ==, r->seq); /* the log has our records in our order, each once */
	list_remove(&s->all);
	t->submit_waits_us = txns_now(t);
	if (s->done)
		s->done(t, s, v, cause, r->index);
	submission_free(t, s);
}

void submit_fail_all(struct txns *t, engine_id was)
{
	while (!list_empty(&t->submissions)) {
		struct submission *s = CONTAINER_OF(t->submissions.next, struct submission, all);

		list_remove(&s->all);
		if (s->in_doubt && s->left && !t->removed_at && !t->closing)
			s->in_doubt(t, was, s);
		else if (s->done) /* never sent: rolled back, as of any index */
			s->done(t, s, VERDICT_VOID, VOID_SENDER, t->removed_at || s->left ? t->removed_at : txns_applied(t));
		submission_free(t, s);
	}
	t->next_seq = 1;
	t->removed_at = 0;
}
