/*
 * peer.c - the reliable, ordered sessions between two engines (engine/txn; P8).
 *
 * Grants, releases, sequence values and drain reports must arrive once and in order, while the relay promises
 * at most once. Each direction of a pair numbers its messages; the receiver takes them in the order of their numbers and
 * acknowledges; the sender repeats what stays unacknowledged. What overtook others (the path may change, as when
 * a direct link opens) is kept until they are there, within bounds. A session lives as long as both are members: ids are
 * incarnations, so a restarted process is another peer. When either is removed, everything of it is dropped.
 */
#include "base/cover.h"
#include "engine/txn/txn_int.h"

#define PEER_MESSAGE_MAX (8u << 20) /* of one; what can be longer is cut by its sender */
#define PEER_RETRY_US 100000
#define PEER_ACK_US 20000
#define PEER_EARLY_MAX 256                /* messages kept ahead of one that is missing */
#define PEER_EARLY_BYTES_MAX (1u << 20)

struct out_message { struct list all; uint64_t number; uint32_t bytes; bool sent; uint8_t data[]; };
struct peer {
	engine_id id;
	struct list out;       /* struct out_message */
	uint64_t next_out, next_in;
	bool ack_due;
	struct list early;     /* struct out_message, by number, all over next_in */
	uint32_t early_count, early_bytes;
	uint64_t waits_us;     /* since when the oldest one waits for its acknowledgement, or was repeated */
};
struct peers { struct map by_id; struct timer timer; bool dirty; struct list local; };

static struct peer *peer_get(struct txns *t, engine_id id)
{
	struct peer *p = map_find(&t->peers->by_id, id);

	if (p)
		return p;
	p = MEM_NEW(t->mem, struct peer);
	p->id = id;
	p->next_out = p->next_in = 1;
	list_init(&p->out);
	list_init(&p->early);
	map_put(&t->peers->by_id, id, p);
	return p;
}

static void messages_free(struct txns *t, struct list *messages)
{
	LIST_FOREACH_SAFE(it, tmp, messages) {
		struct out_message *m = CONTAINER_OF(it, struct out_message, all);

		mem_free(t->mem, m, sizeof *m + m->bytes);
	}
}

static void peer_free(struct txns *t, struct peer *p)
{
	messages_free(t, &p->out);
	messages_free(t, &p->early);
	MEM_FREE(t->mem, p);
}

/* One message for all that is to be said: own and peer's id against mix-ups, ack, then numbered messages. */
static void peer_transmit(struct txns *t, struct peer *p)
{
	struct buf b;

	buf_init(&b, t->mem);
	put_u8(&b, MSG_SESSION);
	put_u64(&b, t->self);
	put_u64(&b, p->id);
	put_u64(&b, p->next_in - 1);
	LIST_FOREACH(it, &p->out) {
		struct out_message *m = CONTAINER_OF(it, struct out_message, all);

		if (m->sent)
			continue;
		if (b.size > 1u << 20)
			break;
		m->sent = true;
		put_u64(&b, m->number);
		put_bytes(&b, m->data, m->bytes);
	}
	p->ack_due = false;
	t->host->send(t->ctx, p->id, b.data, b.size);
	buf_fini(&b);
}

static bool has_unsent(const struct peer *p)
{
	LIST_FOREACH(it, (struct list *)&p->out)
		if (!CONTAINER_OF(it, struct out_message, all)->sent)
			return true;
	return false;
}

static void timer_fire(struct timer *tm, void *ctx)
{
	struct txns *t = ctx;
	struct map_slot *s;
	size_t at = 0;
	uint64_t now = txns_now(t);
	bool more = false;

	while ((s = map_next(&t->peers->by_id, &at))) {
		struct peer *p = s->value;

		/* counted from the oldest one: new ones behind a lost one must not put its repetition off for ever */
		if (!list_empty(&p->out) && now - p->waits_us >= PEER_RETRY_US) {
			p->waits_us = now;
			LIST_FOREACH(it, &p->out)
				CONTAINER_OF(it, struct out_message, all)->sent = false;
		}
		if (t->self && (p->ack_due || has_unsent(p)))
			peer_transmit(t, p);
		more = more || !list_empty(&p->out);
	}
	if (more)
		timer_arm(t->timers, tm, now + PEER_RETRY_US);
}

void peers_init(struct txns *t)
{
	t->peers = MEM_NEW(t->mem, struct peers);
	map_init(&t->peers->by_id, t->mem);
	list_init(&t->peers->local);
	timer_init(&t->peers->timer, timer_fire, t);
}

void peers_reset(struct txns *t)
{
	struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&t->peers->by_id, &at)))
		peer_free(t, s->value);
	map_clear(&t->peers->by_id);
	LIST_FOREACH_SAFE(it, tmp, &t->peers->local) {
		struct out_message *m = CONTAINER_OF(it, struct out_message, all);

		list_remove(&m->all);
		mem_free(t->mem, m, sizeof *m + m->bytes);
	}
	timer_cancel(t->timers, &t->peers->timer);
}

void peers_fini(struct txns *t)
{
	peers_reset(t);
	map_fini(&t->peers->by_id);
	MEM_FREE(t->mem, t->peers);
}

void peer_send(struct txns *t, engine_id to, const struct buf *msg)
{
	struct peer *p;
	struct out_message *m;

	if (!t->self || !replica_member(t->rp, to))
		return; /* its removal, or ours, settles what this was about */
	ASSERT_OP(msg->size, <=, PEER_MESSAGE_MAX);
	m = mem_alloc(t->mem, sizeof *m + msg->size);
	m->bytes = (uint32_t)msg->size;
	memcpy(m->data, msg->data, msg->size);
	if (to == t->self) {
		list_push_back(&t->peers->local, &m->all);
		t->host->kick(t->ctx);
		return;
	}
	p = peer_get(t, to);
	m->number = p->next_out++;
	if (list_empty(&p->out))
		p->waits_us = txns_now(t);
	list_push_back(&p->out, &m->all);
	t->peers->dirty = true;
	if (!timer_armed(&t->peers->timer))
		timer_arm(t->timers, &t->peers->timer, txns_now(t) + PEER_RETRY_US);
	t->host->kick(t->ctx);
}

/* End of a turn: one message per peer. A mere acknowledgement waits a little for company. */
void peers_flush(struct txns *t)
{
	struct map_slot *s;
	size_t at = 0;

	if (!t->peers->dirty || !t->self)
		return;
	t->peers->dirty = false;
	while ((s = map_next(&t->peers->by_id, &at))) {
		struct peer *p = s->value;

		if (has_unsent(p))
			peer_transmit(t, p);
		else if (p->ack_due && (!timer_armed(&t->peers->timer) ||
					t->peers->timer.due_us > txns_now(t) + PEER_ACK_US))
			timer_arm(t->timers, &t->peers->timer, txns_now(t) + PEER_ACK_US);
	}
}

static void deliver(struct txns *t, engine_id from, const uint8_t *p, size_t bytes)
{
	struct reader r = reader_init(p, bytes);
	uint8_t type = get_u8(&r);

	switch (type) {
	case MSG_GRANT:
	case MSG_GRANTED:
	case MSG_RELEASE:
	case MSG_PROBE:
	case MSG_VICTIM:
		grants_message(t, from, type, &r);
		break;
	case MSG_CERTIFY:
	case MSG_CERTIFIED:
		serial_message(t, from, type, &r);
		break;
	case MSG_SEQUENCE:
	case MSG_SEQUENCE_VALUES:
		sequences_message(t, from, type, &r);
		break;
	case MSG_DRAINED:
		ddl_message(t, from, type, &r);
		break;
	case MSG_AUDIT:
		audits_message(t, from, &r);
		break;
	default:
		r.bad = true;
	}
	if (r.bad)
		log_event(t->log, LOG_TXN, LOG_WARN, "bad message", "from=%llu type=%u", (unsigned long long)from,
			  type);
}

void peers_deliver_local(struct txns *t)
{
	struct list *it;

	while ((it = list_first(&t->peers->local))) {
		struct out_message *m = CONTAINER_OF(it, struct out_message, all);

		list_remove(it);
		deliver(t, t->self, m->data, m->bytes);
		mem_free(t->mem, m, sizeof *m + m->bytes);
	}
}

static void early_keep(struct txns *t, struct peer *p, uint64_t number, const uint8_t *data, size_t bytes)
{
	struct list *at = p->early.prev;
	struct out_message *m;

	if (number - p->next_in > PEER_EARLY_MAX || p->early_count >= PEER_EARLY_MAX || bytes > PEER_EARLY_BYTES_MAX ||
	    p->early_bytes + bytes > PEER_EARLY_BYTES_MAX)
		return; /* it comes again */
	while (at != &p->early && CONTAINER_OF(at, struct out_message, all)->number > number)
		at = at->prev;
	if (at != &p->early && CONTAINER_OF(at, struct out_message, all)->number == number)
		return;
	COVER(SESSION_EARLY);
	m = mem_alloc(t->mem, sizeof *m + bytes);
	m->number = number;
	m->bytes = (uint32_t)bytes;
	memcpy(m->data, data, bytes);
	list_push_front(at, &m->all); /* behind it */
	p->early_count++;
	p->early_bytes += m->bytes;
}

/* The next number is here: delivers it, and what waited for it. NULL: the session ended meanwhile. */
static struct peer *take_in(struct txns *t, engine_id from, struct peer *p, const uint8_t *data, size_t bytes)
{
	struct list *it;

	p->next_in++;
	deliver(t, from, data, bytes);
	while ((p = map_find(&t->peers->by_id, from)) && (it = list_first(&p->early))) {
		struct out_message *m = CONTAINER_OF(it, struct out_message, all);

		if (m->number > p->next_in)
			break;
		list_remove(it);
		p->early_count--;
		p->early_bytes -= m->bytes;
		if (m->number == p->next_in) {
			p->next_in++;
			deliver(t, from, m->data, m->bytes);
		}
		mem_free(t->mem, m, sizeof *m + m->bytes);
	}
	return p;
}

void peers_message(struct txns *t, engine_id from, struct reader *r)
{
	uint64_t theirs = get_u64(r), ours = get_u64(r), ack = get_u64(r);
	struct peer *p;

	if (r->bad || !t->self || ours != t->self || theirs != from)
		return;
	/* from may have joined at an index that is not applied here yet: it will repeat */
	if (!replica_member(t->rp, from))
		return;
	p = peer_get(t, from);
	LIST_FOREACH_SAFE(it, tmp, &p->out) {
		struct out_message *m = CONTAINER_OF(it, struct out_message, all);

		if (m->number > ack)
			break;
		p->waits_us = txns_now(t);
		list_remove(&m->all);
		mem_free(t->mem, m, sizeof *m + m->bytes);
	}
	while (reader_left(r)) {
		uint64_t number = get_u64(r);
		size_t bytes;
		const uint8_t *data = get_bytes(r, &bytes);

		if (r->bad)
			return;
		p->ack_due = true;
		t->peers->dirty = true;
		if (number > p->next_in)
			early_keep(t, p, number, data, bytes);
		if (number != p->next_in)
			continue; /* repeated, or after a gap */
		p = take_in(t, from, p, data, bytes);
		if (!p)
			return;
	}
}

void peers_removed(struct txns *t, engine_id who)
{
	struct peer *p = map_remove(&t->peers->by_id, who);

	if (p)
		peer_free(t, p);
}
