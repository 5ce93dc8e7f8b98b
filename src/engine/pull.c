/*
 * pull.c - payloads that were not sent, and are needed after all (engine; P7, ADR 10).
 *
 * Who is next below an archive asks that first; others ask their parent, which may have been sent what is wanted, then the
 * archives, one at a time, and at last whoever leads: an archive that started again has an id that stands in the log behind what
 * waits here, and under its old one it is never found. An answer gives what the one asked has in its window, or an archive in its
 * journal, up to a bound, and says of others that they are not there. An archive that has read from its journal as much as it may
 * between two ticks answers after the next one: it has them. What comes is held against the header's checksum. While a
 * record that is next to apply lacks its payload, apply stands still and everything else goes on.
 */
#include "base/cover.h"
#include "engine/engine_int.h"

#define PULL_LATER_MAX 16             /* questions that wait for a tick; more are not answered, and asked again */
#define PULL_ANSWER_BYTES (4u << 20)  /* to a question: below what a link may have in its backlog */
#define PULL_MESSAGE_BYTES (256u << 10)
#define PULL_RETRY_US 300000
#define PULL_PATIENCE_US 5000000
#define PULL_TARGETS 16

/* -- asking ------------------------------------------------------------------------------------------------------ */

static uint32_t targets(struct engine *e, engine_id out[PULL_TARGETS])
{
	uint32_t n = 0;
	engine_id parent = relay_parent(e->relay);

	if (parent)
		out[n++] = parent;
	for (uint32_t i = 0; i < replica_member_count(e->rp) && n < PULL_TARGETS; i++) {
		const struct member *m = replica_member_at(e->rp, i);

		if (m->kind == ENGINE_ARCHIVE && m->id != e->self && m->id != parent)
			out[n++] = m->id;
	}
	if (n < PULL_TARGETS)
		out[n++] = ENGINE_LEADER;
	return n;
}

void pull_reset(struct engine *e)
{
	struct pull *p = &e->pull;

	p->want.count = 0;
	p->from = 0;
	p->at = p->in_vain = 0;
	p->gone = false;
}

void pull_add(struct engine *e, seq_index index)
{
	struct pull *p = &e->pull;
	size_t at = p->want.count;

	while (at && p->want.at[at - 1] >= index)
		if (p->want.at[--at] == index)
			return;
	if (p->want.count == PULL_MAX)
		return; /* in the next question */
	if (!p->want.count) {
		pull_reset(e);
		p->since_us = engine_now(e);
	}
	VEC_PUSH(e->mem, &p->want, index);
	memmove(&p->want.at[at + 1], &p->want.at[at], (p->want.count - 1 - at) * sizeof p->want.at[0]);
	p->want.at[at] = index;
}

/* The record itself, without a look at its payload. */
static bool header_of(const struct logged *l, seq_index index, struct batch_iter *it, struct record *out)
{
	while (batch_next_header(&l->batch, it, out) == ST_OK)
		if (out->index == index)
			return true;
	return false;
}

/* Those that are in the window no more will never be applied or replayed here. */
static void forget_passed(struct engine *e)
{
	struct pull *p = &e->pull;
	size_t kept = 0;

	for (size_t i = 0; i < p->want.count; i++)
		if (window_find(&e->window, p->want.at[i]))
			p->want.at[kept++] = p->want.at[i];
	p->want.count = kept;
}

static void ask(struct engine *e)
{
	struct pull *p = &e->pull;
	engine_id to[PULL_TARGETS];
	uint32_t n = targets(e, to);
	struct buf b;

	p->asked_us = engine_now(e);
	if (!n || !e->self)
		return;
	p->from = to[p->at % n];
	buf_init(&b, e->mem);
	put_u8(&b, MSG_PAYLOADS);
	for (size_t i = 0; i < p->want.count; i++)
		put_u64(&b, p->want.at[i]);
	relay_send(e->relay, p->from, b.data, b.size);
	buf_fini(&b);
}

bool pull_wait(struct engine *e)
{
	struct pull *p = &e->pull;
	uint64_t now = engine_now(e);
	engine_id to[PULL_TARGETS];

	forget_passed(e);
	if (!p->want.count)
		return true;
	if (p->gone && now - p->since_us > PULL_PATIENCE_US) {
		log_event(e->log, LOG_ENGINE, LOG_WARN, "nobody has a payload", "index=%llu wanted=%zu",
			  (unsigned long long)p->want.at[0], p->want.count);
		pull_reset(e);
		return false;
	}
	if (p->from && now - p->asked_us >= PULL_RETRY_US) { /* lost, or it is gone */
		p->at++;
		p->from = 0;
	} else if (!p->from && p->in_vain && p->in_vain >= targets(e, to) && now - p->asked_us < PULL_RETRY_US) {
		return true; /* nobody has it; one of them may be behind */
	}
	if (!p->from)
		ask(e);
	return true;
}

/* -- answering ----------------------------------------------------------------------------------------------------- */

struct answer {
	struct engine *e;
	engine_id to;
	struct buf b;
	size_t sent;
	/* the batch that is being looked through: of the window, or of the journal (l NULL) */
	const struct logged *l;
	struct batch batch;
	struct batch_iter it;
};

static bool in_batch(const struct answer *a, seq_index index)
{
	return index >= a->batch.first && index - a->batch.first < a->batch.count;
}

static bool batch_find(struct answer *a, seq_index index)
{
	const void *data;
	size_t bytes;
	seq_index first, last;

	if (in_batch(a, index))
		return true;
	a->it = (struct batch_iter){0};
	a->batch.count = 0;
	a->l = window_find(&a->e->window, index);
	if (a->l) {
		a->batch = a->l->batch;
		return true;
	}
	data = a->e->archive ? catchup_get(a->e, index, &bytes, &first, &last) : NULL;
	return data && batch_decode(data, bytes, &a->batch) == ST_OK;
}

static const uint8_t *payload_find(struct answer *a, seq_index index, struct record *rec)
{
	if (!batch_find(a, index))
		return NULL;
	if (a->it.n > index - a->batch.first)
		a->it = (struct batch_iter){0};
	while (batch_next_header(&a->batch, &a->it, rec) == ST_OK)
		if (rec->index == index)
			return rec->payload || !a->l ? rec->payload : window_payload(&a->e->window, a->l, index);
	return NULL;
}

static void answer_flush(struct answer *a, bool last)
{
	a->b.data[1] = last;
	relay_send(a->e->relay, a->to, a->b.data, a->b.size);
	a->sent += a->b.size;
	buf_truncate(&a->b, 2);
}

static void answer_one(struct answer *a, seq_index index, const uint8_t *payload, uint32_t bytes)
{
	if (a->b.size > 2 && a->b.size + bytes > PULL_MESSAGE_BYTES)
		answer_flush(a, false);
	put_u64(&a->b, index);
	put_u8(&a->b, payload != NULL);
	if (payload)
		put_bytes(&a->b, payload, bytes);
	a->e->payloads_given += payload != NULL;
}

/* False: not now. */
static bool answer(struct engine *e, engine_id to, const seq_index *want, uint32_t count)
{
	struct answer a = {.e = e, .to = to};
	struct record *rec = mem_alloc(e->mem, sizeof *rec);
	uint32_t n = 0;

	buf_init(&a.b, e->mem);
	put_u8(&a.b, MSG_PAYLOAD);
	put_u8(&a.b, 0);
	for (; n < count && a.sent + a.b.size < PULL_ANSWER_BYTES; n++) {
		const uint8_t *payload;

		if (!in_batch(&a, want[n]) && catchup_spent(e, want[n]))
			break;
		payload = payload_find(&a, want[n], rec);
		COVER_IF(!payload, PULL_NOT_HERE);
		answer_one(&a, want[n], payload, payload ? rec->payload_bytes : 0);
	}
	if (n || !count)
		answer_flush(&a, true);
	buf_fini(&a.b);
	mem_free(e->mem, rec, sizeof *rec);
	return n || !count;
}

static void answer_later(struct engine *e, const struct pull_question *q)
{
	size_t i = 0;

	COVER(PULL_LATER);
	while (i < e->pull_later.count && e->pull_later.at[i].from != q->from)
		i++;
	if (i < e->pull_later.count)
		e->pull_later.at[i] = *q; /* it asks for this now */
	else if (i < PULL_LATER_MAX)
		VEC_PUSH(e->mem, &e->pull_later, *q);
}

void pull_tick(struct engine *e)
{
	size_t i = 0;

	while (i < e->pull_later.count && answer(e, e->pull_later.at[i].from, e->pull_later.at[i].want, e->pull_later.at[i].count))
		i++;
	e->pull_later.count -= i;
	if (i)
		memmove(e->pull_later.at, e->pull_later.at + i, e->pull_later.count * sizeof e->pull_later.at[0]);
}

void pull_asked(struct engine *e, engine_id from, struct reader *r)
{
	struct pull_question *q = MEM_NEW(e->mem, struct pull_question);

	q->from = from;
	while (reader_left(r) >= 8 && q->count < PULL_MAX)
		q->want[q->count++] = get_u64(r);
	if (!answer(e, q->from, q->want, q->count))
		answer_later(e, q);
	MEM_FREE(e->mem, q);
}

/* -- what comes ------------------------------------------------------------------------------------------------------ */

static bool unwant(struct pull *p, seq_index index)
{
	for (size_t i = 0; i < p->want.count; i++)
		if (p->want.at[i] == index) {
			memmove(&p->want.at[i], &p->want.at[i + 1], (--p->want.count - i) * sizeof p->want.at[0]);
			return true;
		}
	return false;
}

/* False: it is not the payload of that record. */
static bool take(struct engine *e, seq_index index, const uint8_t *payload, size_t bytes)
{
	struct logged *l = window_find(&e->window, index);
	struct record *rec;
	struct batch_iter it = {0};
	bool good = true;

	if (!l || window_payload(&e->window, l, index))
		return true; /* passed, or twice */
	rec = mem_alloc(e->mem, sizeof *rec);
	if (header_of(l, index, &it, rec) && !rec->payload) {
		good = bytes == rec->payload_bytes && crc32c(0, payload, bytes) == rec->payload_crc;
		if (good && unwant(&e->pull, index)) {
			window_put_payload(&e->window, l, index, payload, (uint32_t)bytes);
			e->payloads_pulled++;
			e->payload_bytes_pulled += bytes;
		}
	}
	mem_free(e->mem, rec, sizeof *rec);
	return good;
}

void pull_answered(struct engine *e, engine_id from, struct reader *r)
{
	struct pull *p = &e->pull;
	const struct member *m = replica_member(e->rp, from);
	bool last = get_u8(r) != 0, came = false, absent = false;

	while (reader_left(r) && !r->bad) {
		seq_index index = get_u64(r);
		bool here = get_u8(r) != 0;
		size_t bytes = 0;
		const uint8_t *payload = here ? get_bytes(r, &bytes) : NULL;

		if (here && payload && !take(e, index, payload, bytes))
			r->bad = true;
		came = came || (here && !r->bad);
		absent = absent || !here;
	}
	if (r->bad)
		log_event(e->log, LOG_ENGINE, LOG_WARN, "bad payloads", "from=%llu", (unsigned long long)from);
	if (came) {
		COVER_IF(p->from == ENGINE_LEADER && !m, PULL_LEADER);
		p->in_vain = 0;
		p->gone = false;
		p->asked_us = p->since_us = engine_now(e);
		txns_payloads_came(e->txns);
	}
	if (from != p->from && (p->from != ENGINE_LEADER || relay_parent(e->relay) == from))
		return; /* late: somebody else is asked by now */
	p->gone = p->gone || (absent && (m ? m->kind == ENGINE_ARCHIVE : p->from == ENGINE_LEADER));
	if (absent || r->bad) {
		p->at++;
		p->in_vain++;
	}
	if (last)
		p->from = 0;
}
