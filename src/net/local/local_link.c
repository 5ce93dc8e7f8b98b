/*
 * local_link.c - an end of an in-process link, and what passes over it (net/local). See local_int.h.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "net/local/local_int.h"

/* What did not fit into the ring. */
struct waiting { struct list l; struct slot slot; };

static struct side *mine(const struct local_link *l)
{
	return &l->channel->sides[l->side];
}

static struct side *theirs(const struct local_link *l)
{
	return &l->channel->sides[!l->side];
}

struct local_link *local_link_new(struct local_net *n, struct channel *c, uint8_t side, const char *peer)
{
	struct local_link *l = MEM_NEW(n->cfg.mem, struct local_link);

	l->link.ops = &net_ops_local;
	l->link.net = &n->net;
	l->link.accepted = side == 1;
	snprintf(l->link.peer, sizeof l->link.peer, "%s", peer);
	l->net = n;
	l->channel = c;
	l->side = side;
	list_init(&l->waiting);
	list_push_back(&n->links, &l->all);
	return l;
}

/* -- out ---------------------------------------------------------------------------------------------------------- */

static void put(struct local_link *l, struct net_msg *msg, enum slot_kind kind)
{
	struct slot s = {msg, kind};

	if (list_empty(&l->waiting) && l->next - l->done < LOCAL_RING) {
		mine(l)->out[l->next++ % LOCAL_RING] = s;
	} else {
		struct waiting *w = MEM_NEW(l->net->cfg.mem, struct waiting);

		w->slot = s;
		list_push_back(&l->waiting, &w->l);
	}
}

void local_link_send(struct net_link *link, struct net_msg *msg)
{
	struct local_link *l = local_link_of(link);

	ASSERT_OP(msg->bytes, <=, NET_MESSAGE_MAX);
	if (l->state != LOCAL_UP && l->state != LOCAL_DIALLING) {
		net_msg_unref(msg);
		return;
	}
	link->backlog_bytes += msg->bytes;
	if (link->backlog_bytes > NET_BACKLOG_LOW)
		l->was_over = true;
	put(l, msg, SLOT_MESSAGE);
}

bool local_link_read(struct local_link *l, uint64_t address, uint64_t key, uint32_t bytes, uint64_t token)
{
	struct slot_read ask = {address, key, token, bytes};
	struct net_msg *m;

	ASSERT_OP(bytes, <=, NET_READ_MAX);
	if (l->state != LOCAL_UP || l->reads == NET_READS_MAX)
		return false;
	l->reads++;
	m = net_msg_new(l->net->cfg.mem, sizeof ask);
	memcpy(m->data, &ask, sizeof ask);
	put(l, m, SLOT_READ);
	return true;
}

static void drop(struct local_link *l, const struct slot *s)
{
	if (s->kind == SLOT_MESSAGE)
		l->link.backlog_bytes -= s->msg->bytes;
	net_msg_unref(s->msg);
}

/* From the list into what became free of the ring. */
static void refill(struct local_link *l)
{
	while (!list_empty(&l->waiting) && l->next - l->done < LOCAL_RING) {
		struct waiting *w = CONTAINER_OF(l->waiting.next, struct waiting, l);

		mine(l)->out[l->next++ % LOCAL_RING] = w->slot;
		list_remove(&w->l);
		MEM_FREE(l->net->cfg.mem, w);
	}
}

bool local_link_settle(struct local_link *l)
{
	uint32_t taken;

	if (l->done == l->head)
		return false;
	taken = atomic_load(&theirs(l)->tail);
	if (taken == l->done)
		return false;
	ASSERT_OP(taken - l->done, <=, l->head - l->done);
	while (l->done != taken)
		drop(l, &mine(l)->out[l->done++ % LOCAL_RING]);
	refill(l);
	if (l->was_over && l->link.backlog_bytes <= NET_BACKLOG_LOW) {
		l->was_over = false;
		l->tell_drained = true;
	}
	return true;
}

int local_link_publish(struct local_link *l)
{
	if (l->head == l->next || (l->state != LOCAL_UP && l->state != LOCAL_DIALLING))
		return 0;
	l->head = l->next;
	atomic_store_explicit(&mine(l)->head, l->head, memory_order_release);
	l->net->own_sends++;
	bell_ring(theirs(l)->bell);
	return 1;
}

/*
 * Whoever sleeps is rung only when it asked to be. The other side moves its tail, then looks whether this one is hungry;
 * this one says so, then looks at the tail: one of them sees the other.
 */
bool local_link_hungry(struct local_link *l)
{
	if (l->state != LOCAL_UP || (!l->was_over && list_empty(&l->waiting)))
		return true;
	atomic_store(&mine(l)->hungry, 1);
	return !local_link_settle(l);
}

/* -- in ----------------------------------------------------------------------------------------------------------- */

static void fail(struct local_link *l, enum status why)
{
	if (l->state != LOCAL_UP && l->state != LOCAL_DIALLING)
		return;
	if (l->state == LOCAL_DIALLING)
		l->net->dialling--;
	l->state = LOCAL_BROKEN;
	l->why = why;
	l->net->broken++;
}

static const struct local_region *region_of(const struct local_net *n, const struct slot_read *ask)
{
	LIST_FOREACH(it, (struct list *)&n->regions) {
		const struct local_region *g = CONTAINER_OF(it, struct local_region, all);

		if (g->region.key == ask->key && ask->address >= g->region.address && ask->bytes <= g->bytes &&
		    ask->address - g->region.address <= g->bytes - ask->bytes)
			return g;
	}
	return NULL;
}

static void serve_read(struct local_link *l, const struct net_msg *msg)
{
	const struct local_region *g;
	struct slot_read ask;
	struct net_msg *m;

	ASSERT_OP(msg->bytes, ==, sizeof ask);
	memcpy(&ask, msg->data, sizeof ask);
	g = region_of(l->net, &ask);
	if (!g) {
		fail(l, ST_CONNECTION);
		return;
	}
	m = net_msg_new(l->net->cfg.mem, (uint32_t)(sizeof ask.token + ask.bytes));
	memcpy(m->data, &ask.token, sizeof ask.token);
	memcpy(m->data + sizeof ask.token, g->base + (ask.address - g->region.address), ask.bytes);
	put(l, m, SLOT_READ_DONE);
}

static void read_done(struct local_link *l, const struct net_msg *msg)
{
	const struct net_config *cfg = &l->net->cfg;
	uint64_t token;

	memcpy(&token, msg->data, sizeof token);
	l->reads--;
	l->link.rx_bytes += msg->bytes;
	if (cfg->events->read)
		cfg->events->read(cfg->ctx, &l->link, token, msg->data + sizeof token, msg->bytes - sizeof token);
}

static void deliver(struct local_link *l, const struct slot *s)
{
	const struct net_config *cfg = &l->net->cfg;

	if (s->kind == SLOT_READ) {
		serve_read(l, s->msg);
	} else if (s->kind == SLOT_READ_DONE) {
		read_done(l, s->msg);
	} else if (l->link.rx_message_max && s->msg->bytes > l->link.rx_message_max) {
		fail(l, ST_CONNECTION);
	} else {
		l->link.rx_bytes += s->msg->bytes;
		cfg->events->message(cfg->ctx, &l->link, s->msg->data, s->msg->bytes);
	}
}

static bool gone(const struct local_link *l)
{
	return atomic_load(&theirs(l)->state) == SIDE_GONE;
}

/* What was there at first: who sends without end does not keep this engine from the rest of its turn. */
static int take_messages(struct local_link *l)
{
	struct side *m = mine(l), *t = theirs(l);
	uint32_t head = atomic_load_explicit(&t->head, memory_order_acquire);
	int done = 0;

	if (l->tail == head)
		return 0;
	atomic_store(&m->reading, 1);
	/* The callbacks may close the link. The channel stays: it is reaped after this. */
	while (l->tail != head && l->state == LOCAL_UP && !gone(l)) {
		const struct slot s = t->out[l->tail % LOCAL_RING];

		deliver(l, &s);
		l->tail++;
		atomic_store_explicit(&m->tail, l->tail, memory_order_release);
		done++;
	}
	atomic_store(&m->reading, 0);
	atomic_store(&m->tail, l->tail);
	if (atomic_load(&t->hungry) && atomic_exchange(&t->hungry, 0))
		bell_ring(t->bell);
	return done;
}

int local_link_take(struct local_link *l)
{
	const struct net_config *cfg = &l->net->cfg;
	uint32_t state;
	int done = 0;

	if (l->state == LOCAL_DIALLING) {
		state = atomic_load(&theirs(l)->state);
		if (state == SIDE_GONE)
			fail(l, ST_CONNECTION_REFUSED);
		if (state != SIDE_UP)
			return 0;
		l->state = LOCAL_UP;
		l->net->dialling--;
		cfg->events->up(cfg->ctx, &l->link);
		done++;
	}
	if (l->state != LOCAL_UP)
		return done;
	done += take_messages(l);
	if (l->state == LOCAL_UP && gone(l))
		fail(l, ST_CONNECTION);
	return done;
}

/* -- the end ------------------------------------------------------------------------------------------------------ */

void local_link_close(struct local_link *l)
{
	if (l->state == LOCAL_CLOSED)
		return;
	if (l->state == LOCAL_DIALLING)
		l->net->dialling--;
	else if (l->state == LOCAL_BROKEN)
		l->net->broken--;
	l->state = LOCAL_CLOSED;
	list_remove(&l->all);
	list_push_back(&l->net->closed, &l->all);
	atomic_store(&mine(l)->state, SIDE_GONE);
	bell_ring(theirs(l)->bell);
}

/*
 * Gone was said before reading is looked at, and the other side says that it reads before it looks whether this one is gone:
 * when it does not read now it never will again.
 */
bool local_link_reap(struct local_link *l)
{
	struct mem *mem = l->net->cfg.mem;

	ASSERT(l->state == LOCAL_CLOSED);
	if (atomic_load(&theirs(l)->reading))
		return false;
	while (l->done != l->next)
		drop(l, &mine(l)->out[l->done++ % LOCAL_RING]);
	while (!list_empty(&l->waiting)) {
		struct waiting *w = CONTAINER_OF(l->waiting.next, struct waiting, l);

		drop(l, &w->slot);
		list_remove(&w->l);
		MEM_FREE(mem, w);
	}
	list_remove(&l->all);
	channel_unref(l->channel);
	MEM_FREE(mem, l);
	return true;
}
