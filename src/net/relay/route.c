/*
 * route.c - who is below which link, and unicast (net/relay).
 *
 * Each child claims itself and, by `below` messages, everybody below it; a voter tells the other
 * voters what is below its own children, and takes their word. Claims carry the attach count of the
 * engine they name, which that engine counted when it said hello to its parent: of two claims the
 * higher count is newer, in whatever order they came.
 */
#include <string.h>

#include "base/assert.h"
#include "net/relay/relay_int.h"

static uint32_t claim_of(const struct rlink *l, engine_id id)
{
	return (uint32_t)(uintptr_t)map_find(&l->below, id);
}

/* The best claim over all links, or over those of children only. */
static struct rlink *best_claim(const struct relay *r, engine_id id, bool children_only,
				uint32_t *attach_out)
{
	struct rlink *best = NULL;

	*attach_out = 0;
	LIST_FOREACH(it, &r->links) {
		struct rlink *l = CONTAINER_OF(it, struct rlink, all);
		uint32_t attach;

		if (l->state != RLINK_READY || (children_only && l->role != RELAY_ROLE_CHILD))
			continue;
		attach = claim_of(l, id);
		if (attach > *attach_out) {
			*attach_out = attach;
			best = l;
		}
	}
	return best;
}

static void changed(struct relay *r, const struct rlink *l, engine_id id)
{
	if (l->role == RELAY_ROLE_CHILD)
		map_put(&r->changed, id, r);
}

static void recompute(struct relay *r, engine_id id)
{
	uint32_t attach;
	struct rlink *via = best_claim(r, id, false, &attach);
	struct route *rt = map_find(&r->routes, id);

	if (!via) {
		if (rt)
			MEM_FREE(r->cfg.mem, (struct route *)map_remove(&r->routes, id));
		return;
	}
	if (!rt) {
		rt = MEM_NEW(r->cfg.mem, struct route);
		map_put(&r->routes, id, rt);
	}
	rt->via = via;
	rt->attach = attach;
}

void rroute_claim(struct rlink *l, engine_id id, uint32_t attach)
{
	struct relay *r = l->r;
	struct route *rt = map_find(&r->routes, id);
	uint32_t before = claim_of(l, id);

	if (!id || id == ENGINE_LEADER || !attach || attach == before)
		return;
	map_put(&l->below, id, (void *)(uintptr_t)attach);
	changed(r, l, id);
	if (!rt || attach < before)
		recompute(r, id);
	else if (attach >= rt->attach) {
		rt->via = l;
		rt->attach = attach;
	}
}

void rroute_withdraw(struct rlink *l, engine_id id)
{
	struct relay *r = l->r;
	struct route *rt = map_find(&r->routes, id);

	if (!map_remove(&l->below, id))
		return;
	changed(r, l, id);
	if (rt && rt->via == l)
		recompute(r, id);
}

void rroute_link_gone(struct rlink *l)
{
	struct relay *r = l->r;
	struct map_slot *s;
	size_t at = 0;

	ASSERT(l->state != RLINK_READY); /* so that no claim of it is found any more */
	while ((s = map_next(&l->below, &at))) {
		struct route *rt = map_find(&r->routes, s->k1);

		changed(r, l, s->k1);
		if (rt && rt->via == l)
			recompute(r, s->k1);
	}
	map_clear(&l->below);
}

bool rroute_known(const struct relay *r, engine_id id)
{
	return map_find(&r->routes, id) != NULL;
}

/* -- telling ---------------------------------------------------------------------------------- */

struct news { VEC(uint64_t) gone; VEC(struct relay_claim) claims; };

static void encode_below(struct buf *b, bool full, const struct news *n)
{
	buf_reset(b);
	put_u8(b, RELAY_BELOW);
	put_u8(b, full);
	put_varint(b, n->gone.count);
	for (size_t i = 0; i < n->gone.count; i++)
		put_u64(b, n->gone.at[i]);
	put_varint(b, n->claims.count);
	for (size_t i = 0; i < n->claims.count; i++) {
		put_u64(b, n->claims.at[i].engine);
		put_u32(b, n->claims.at[i].attach);
	}
}

static void news_fini(struct relay *r, struct news *n)
{
	VEC_FINI(r->cfg.mem, &n->gone);
	VEC_FINI(r->cfg.mem, &n->claims);
}

static void update_exported(struct relay *r, struct news *n)
{
	struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&r->changed, &at))) {
		engine_id id = s->k1;
		struct relay_claim c = {.engine = id};
		uint32_t told = (uint32_t)(uintptr_t)map_find(&r->exported, id);

		best_claim(r, id, true, &c.attach);
		if (c.attach == told)
			continue;
		if (c.attach) {
			map_put(&r->exported, id, (void *)(uintptr_t)c.attach);
			VEC_PUSH(r->cfg.mem, &n->claims, c);
		} else {
			map_remove(&r->exported, id);
			VEC_PUSH(r->cfg.mem, &n->gone, id);
		}
	}
	map_clear(&r->changed);
}

void rroute_tell(struct relay *r)
{
	struct news n = {{NULL, 0, 0}, {NULL, 0, 0}};
	struct net_msg *m;

	if (!r->changed.count)
		return;
	update_exported(r, &n);
	if (n.gone.count || n.claims.count) {
		encode_below(&r->scratch, false, &n);
		m = relay_msg_scratch(r);
		if (r->parent && r->parent->state == RLINK_READY)
			rlink_send(r->parent, net_msg_ref(m));
		for (uint32_t i = 0; i < r->slot_count; i++)
			if (r->slots[i].link)
				rlink_send(r->slots[i].link, net_msg_ref(m));
		net_msg_unref(m);
	}
	news_fini(r, &n);
}

void rroute_tell_all(struct rlink *l)
{
	struct relay *r = l->r;
	struct news n = {{NULL, 0, 0}, {NULL, 0, 0}};
	struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&r->exported, &at))) {
		struct relay_claim c = {s->k1, (uint32_t)(uintptr_t)s->value};

		VEC_PUSH(r->cfg.mem, &n.claims, c);
	}
	encode_below(&r->scratch, true, &n);
	rlink_send_scratch(l);
	news_fini(r, &n);
}

static void withdraw_all(struct rlink *l)
{
	struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&l->below, &at)))
		if (s->k1 != l->engine || l->role != RELAY_ROLE_CHILD)
			rroute_withdraw(l, s->k1);
}

void relay_on_below(struct rlink *l, struct reader *rd)
{
	struct relay *r = l->r;
	bool child = l->role == RELAY_ROLE_CHILD;
	uint8_t full = get_u8(rd);
	uint64_t n = get_varint(rd);

	if ((child ? !l->accepted : l->role != RELAY_ROLE_VOTER) || n > reader_left(rd) / 8) {
		rlink_bad(l, "below");
		return;
	}
	if (full)
		withdraw_all(l);
	for (; n && reader_ok(rd); n--) {
		engine_id id = get_u64(rd);

		if (id != l->engine || !child)
			rroute_withdraw(l, id);
	}
	n = get_varint(rd);
	if (n > reader_left(rd) / 12 || n + l->below.count > RELAY_CLAIMS_MAX) {
		rlink_bad(l, "below: claims");
		return;
	}
	for (; n; n--) {
		engine_id id = get_u64(rd);
		uint32_t attach = get_u32(rd);

		if (id != r->self && (id != l->engine || !child))
			rroute_claim(l, id, attach);
	}
	if (!reader_ok(rd) || reader_left(rd))
		rlink_bad(l, "below: length");
}

/* -- unicast ---------------------------------------------------------------------------------- */

/* Rewrites the leader's name to its id where that is known; NULL: no way (or here: *here_out). */
static struct rlink *next_hop(struct relay *r, engine_id *to, const struct rlink *from,
			      bool *here_out)
{
	const struct route *rt;
	const struct voter_slot *s;
	struct rlink *l = NULL;

	*here_out = false;
	if (*to == ENGINE_LEADER && relay_is_voter(r)) {
		if (!r->leader)
			return NULL;
		*to = r->leader;
	}
	if (*to == r->self && r->self) {
		*here_out = true;
		return NULL;
	}
	rt = *to == ENGINE_LEADER ? NULL : map_find(&r->routes, *to);
	if (rt && rt->via->role == RELAY_ROLE_VOTER) {
		s = rvoters_find(r, rt->via->voter);
		l = s && s->link ? s->link : rt->via;
	} else if (rt) {
		l = rt->via;
	} else if (relay_is_voter(r)) {
		s = *to ? rvoters_find_engine(r, *to) : NULL;
		l = s ? s->link : NULL;
	} else {
		l = r->parent;
	}
	/* Back where it came from: the sender's idea of who is below us is stale. */
	if (l == from || (l && from && l->role == RELAY_ROLE_VOTER &&
			  from->role == RELAY_ROLE_VOTER && l->voter == from->voter))
		return NULL;
	return l;
}

struct rlink *rroute_next_to(struct relay *r, engine_id to)
{
	struct rlink *l = rdirect_link(r, to);
	bool here;

	if (!l && to != ENGINE_LEADER)
		l = next_hop(r, &to, NULL, &here);
	return l && l->state == RLINK_READY && l->engine == to ? l : NULL;
}

static void forward(struct relay *r, const struct relay_unicast_head *head,
		    const struct rlink *from, const void *data, size_t bytes)
{
	struct relay_unicast_head h = *head;
	struct net_msg *m;
	struct rlink *l;
	bool here;

	h.type = RELAY_UNICAST;
	h.zero = 0;
	h.zero2 = 0;
	l = from ? NULL : rdirect_link(r, h.to);
	if (l) {
		l->used_us = relay_now(r);
		r->stats.unicast_direct++;
		here = false;
	} else {
		l = next_hop(r, &h.to, from, &here);
	}
	if (here && from) {
		r->cfg.events->message(r->cfg.ctx, h.from, data, bytes);
		return;
	}
	if (here) {
		m = net_msg_new(r->cfg.mem, (uint32_t)bytes);
		if (bytes)
			memcpy(m->data, data, bytes);
		relay_local_push(r, false, h.from, m);
		return;
	}
	if (!l || l->state != RLINK_READY || h.hops >= RELAY_HOPS_MAX ||
	    l->net->backlog_bytes + bytes > RELAY_UNICAST_BACKLOG_MAX) {
		r->stats.unicast_dropped++;
		return;
	}
	h.hops++;
	m = net_msg_new(r->cfg.mem, (uint32_t)(sizeof h + bytes));
	memcpy(m->data, &h, sizeof h);
	if (bytes)
		memcpy(m->data + sizeof h, data, bytes);
	rlink_send(l, m);
	if (!from && head->to != ENGINE_LEADER)
		rdirect_sent(r, h.to, l, bytes);
}

/* Over a direct link comes what the peer itself says to this engine, and nothing to be passed on. */
static void on_direct(struct rlink *l, const struct relay_unicast_head *h, const uint8_t *data, size_t bytes)
{
	struct relay *r = l->r;

	if (h->from != l->engine) {
		rlink_bad(l, "unicast: of somebody else");
		return;
	}
	l->used_us = relay_now(r);
	if (h->to && h->to == r->self)
		r->cfg.events->message(r->cfg.ctx, h->from, data, bytes);
	else
		r->stats.unicast_dropped++; /* this engine was another when it was sent */
}

void relay_send(struct relay *r, engine_id to, const void *data, size_t bytes)
{
	struct relay_unicast_head h = {.from = r->self, .to = to};

	/* dropped it would be sent again for ever, and hold up what is numbered behind it */
	ASSERT_OP(bytes, <=, RELAY_PAYLOAD_MAX);
	if (!to) {
		r->stats.unicast_dropped++;
		return;
	}
	forward(r, &h, NULL, data, bytes);
}

void relay_on_unicast(struct rlink *l, const uint8_t *data, size_t bytes)
{
	struct relay_unicast_head h;

	if ((l->role != RELAY_ROLE_CHILD && l->role != RELAY_ROLE_VOTER && l->role != RELAY_ROLE_DIRECT) || bytes < sizeof h) {
		rlink_bad(l, "unicast");
		return;
	}
	memcpy(&h, data, sizeof h);
	if (l->role == RELAY_ROLE_DIRECT) {
		on_direct(l, &h, data + sizeof h, bytes - sizeof h);
		return;
	}
	forward(l->r, &h, l, data + sizeof h, bytes - sizeof h);
}

/* -- to self ---------------------------------------------------------------------------------- */

void relay_local_push(struct relay *r, bool voter, uint64_t from, struct net_msg *m)
{
	struct local_item *it;

	if (r->local_bytes + m->bytes > RELAY_LOCAL_MAX) {
		r->stats.unicast_dropped++;
		net_msg_unref(m);
		return;
	}
	it = MEM_NEW(r->cfg.mem, struct local_item);
	it->voter = voter;
	it->from = from;
	it->msg = m;
	r->local_bytes += m->bytes;
	list_push_back(&r->local, &it->l);
}

int relay_deliver_local(struct relay *r)
{
	struct list turn;
	int done = 0;

	if (list_empty(&r->local))
		return 0;
	list_insert_before(&r->local, &turn);
	list_remove(&r->local);
	while (!list_empty(&turn)) {
		struct local_item *it = CONTAINER_OF(turn.next, struct local_item, l);

		list_remove(&it->l);
		r->local_bytes -= it->msg->bytes;
		if (it->voter)
			r->cfg.events->voter_message(r->cfg.ctx, it->from, it->msg->data,
						     it->msg->bytes);
		else
			r->cfg.events->message(r->cfg.ctx, it->from, it->msg->data, it->msg->bytes);
		net_msg_unref(it->msg);
		MEM_FREE(r->cfg.mem, it);
		done++;
	}
	return done;
}
