/*
 * log.c - the log streams, down to the children and from the parent (net/relay).
 *
 * A stream has one number on each side: the next index to send, the next index that must come. They
 * never skip one: a batch that does not continue the stream is an error of the peer. One encoding
 * of a batch serves all children that want the same of it.
 */
#include <string.h>

#include "base/assert.h"
#include "net/relay/relay_int.h"

static void cache_drop(struct relay *r)
{
	for (uint32_t i = 0; i < RELAY_LOG_CACHE; i++) {
		if (r->log_cache[i].msg)
			net_msg_unref(r->log_cache[i].msg);
		r->log_cache[i].msg = NULL;
	}
}

/* The message with the batch that contains @from, for this child; NULL: not here. Lends until cache_drop(). */
static struct net_msg *batch_get(struct rlink *l, seq_index from, seq_index *last_out)
{
	struct relay *r = l->r;
	struct relay_log_head h = {.type = RELAY_LOG};
	const void *data;
	size_t bytes;
	uint32_t at;
	uint64_t variant = r->cfg.events->log_variant ? r->cfg.events->log_variant(r->cfg.ctx, from, &l->interest) : 0;

	for (uint32_t i = 0; i < RELAY_LOG_CACHE; i++) {
		if (r->log_cache[i].msg && r->log_cache[i].first <= from &&
		    from <= r->log_cache[i].last && r->log_cache[i].variant == variant) {
			*last_out = r->log_cache[i].last;
			return r->log_cache[i].msg;
		}
	}
	data = r->cfg.events->log_get(r->cfg.ctx, from, &l->interest, &bytes, &h.first, &h.last);
	if (!data)
		return NULL;
	ASSERT_OP(h.first, <=, from);
	ASSERT_OP(from, <=, h.last);
	ASSERT_OP(bytes, <=, RELAY_PAYLOAD_MAX);
	at = r->log_cache_at++ % RELAY_LOG_CACHE;
	if (r->log_cache[at].msg)
		net_msg_unref(r->log_cache[at].msg);
	r->log_cache[at].msg = net_msg_new(r->cfg.mem, (uint32_t)(sizeof h + bytes));
	memcpy(r->log_cache[at].msg->data, &h, sizeof h);
	memcpy(r->log_cache[at].msg->data + sizeof h, data, bytes);
	r->log_cache[at].variant = variant;
	r->log_cache[at].first = h.first;
	r->log_cache[at].last = *last_out = h.last;
	return r->log_cache[at].msg;
}

static void say_gone(struct rlink *l)
{
	struct relay *r = l->r;
	struct relay_log_gone m = {l->log_out, r->cfg.events->log_first(r->cfg.ctx)};

	log_event(r->cfg.log, LOG_RELAY, LOG_INFO, "log gone for child",
		  "engine=%llu index=%llu first=%llu", (unsigned long long)l->engine,
		  (unsigned long long)m.index, (unsigned long long)m.first);
	l->log_out = 0;
	buf_reset(&r->scratch);
	relay_log_gone_encode(&r->scratch, &m);
	rlink_send_scratch(l);
}

static void pump(struct rlink *l, seq_index last)
{
	struct relay *r = l->r;

	while (rlink_takes_log(l) && l->log_out <= last && l->log_out <= l->log_until &&
	       l->net->backlog_bytes <= RELAY_LOG_BACKLOG_MAX) {
		seq_index to = 0;
		struct net_msg *m = batch_get(l, l->log_out, &to);

		if (!m) {
			if (l->log_out < r->cfg.events->log_first(r->cfg.ctx))
				say_gone(l);
			return;
		}
		rlink_send(l, net_msg_ref(m));
		r->stats.log_batches_out++;
		l->log_out = to + 1;
	}
	if (l->log_out > l->log_until)
		l->log_out = 0;
}

void relay_log_pump(struct rlink *l)
{
	pump(l, l->r->cfg.events->log_last(l->r->cfg.ctx));
	cache_drop(l->r);
}

void relay_log_pump_all(struct relay *r)
{
	seq_index last = r->cfg.events->log_last(r->cfg.ctx);

	LIST_FOREACH(it, &r->links) {
		struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		if (rlink_takes_log(l) && l->log_out <= last)
			pump(l, last);
	}
	cache_drop(r);
}

void relay_log_advanced(struct relay *r)
{
	rmcast_advanced(r, r->cfg.events->log_last(r->cfg.ctx));
	relay_log_pump_all(r);
}

void relay_log_ask(struct rlink *l, seq_index until)
{
	struct relay *r = l->r;
	struct relay_log_from m = {r->cfg.events->log_want(r->cfg.ctx), until};

	if (!m.index)
		return;
	l->log_in = m.index;
	rinterest_tell_first(l);
	buf_reset(&r->scratch);
	relay_log_from_encode(&r->scratch, &m);
	rlink_send_scratch(l);
}

void relay_on_log_from(struct rlink *l, struct reader *rd)
{
	struct relay_log_from m;

	if (!relay_log_from_decode(rd, &m) || !m.index || !l->accepted ||
	    !(l->role == RELAY_ROLE_CHILD || (l->role == RELAY_ROLE_JOIN && l->join_accepted))) {
		rlink_bad(l, "log from");
		return;
	}
	l->log_out = m.index;
	l->log_until = m.until;
	l->log_asked = l->r->interest_changed = true;
	rinterest_tell(l->r);
	relay_log_pump(l);
}

void relay_on_log(struct rlink *l, const uint8_t *data, size_t bytes)
{
	struct relay *r = l->r;
	struct relay_log_head h;

	if (l->accepted || bytes < sizeof h) {
		rlink_bad(l, "log");
		return;
	}
	if (l != r->parent && l != r->join.link)
		return;
	memcpy(&h, data, sizeof h);
	if (l->log_in && h.last < l->log_in && h.first <= h.last)
		return; /* was under way when we asked anew, further on */
	if (!l->log_in || h.first > l->log_in || h.last < l->log_in || h.last == UINT64_MAX) {
		rlink_bad(l, "log: the batch does not continue the stream");
		return;
	}
	l->log_in = h.last + 1;
	r->stats.log_batches_in++;
	if (r->mcast && h.last < r->cfg.events->log_want(r->cfg.ctx))
		return; /* a datagram was faster */
	r->cfg.events->log_batch(r->cfg.ctx, data + sizeof h, bytes - sizeof h);
	rmcast_tree_brought(r);
}

void relay_on_log_gone(struct rlink *l, struct reader *rd)
{
	struct relay *r = l->r;
	struct relay_log_gone m;

	if (!relay_log_gone_decode(rd, &m) || l->accepted) {
		rlink_bad(l, "log gone");
		return;
	}
	if (m.index != l->log_in)
		return; /* of an earlier question */
	l->log_in = 0;
	if (l == r->parent)
		rparent_log_gone(r, l);
	else if (l == r->join.link)
		r->cfg.events->log_gone(r->cfg.ctx);
}
