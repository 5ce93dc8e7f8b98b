/*
 * relay.c - the relay's life, membership and turns (net/relay). See relay.h and relay_int.h.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "net/relay/relay_int.h"

#define TICKS_PER_HEARTBEAT 4

/* -- turns ------------------------------------------------------------------------------------ */

/*
 * Nobody was silent while this engine itself was away (stopped, starved, suspended): what they sent
 * waits to be read. Time away does not count for anybody.
 */
static void forgive_absence(struct relay *r, uint64_t now)
{
	uint64_t away = now - r->tick_us;

	r->tick_us = now;
	if (away > r->cfg.heartbeat_us)
		r->awake_us = now;
	if (away <= r->cfg.heartbeat_limit_us / 2)
		return;
	log_event(r->cfg.log, LOG_RELAY, LOG_INFO, "was away", "ms=%llu",
		  (unsigned long long)away / 1000);
	LIST_FOREACH(it, &r->links) {
		struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		l->rx_us = l->rx_us + away < now ? l->rx_us + away : now;
		l->deadline_us += away;
	}
}

static void on_tick(struct timer *t, void *ctx)
{
	struct relay *r = ctx;
	uint64_t now = relay_now(r);

	timer_arm(r->cfg.timers, t, now + r->cfg.heartbeat_us / TICKS_PER_HEARTBEAT);
	forgive_absence(r, now);
	relay_links_tick(r, now);
	rguard_tick(r, now);
	rvoters_tick(r, now);
	rsuspect_tick(r, now);
	rscore_tick(r, now);
	rparent_tick(r, now);
	rdirect_tick(r, now);
	rjoin_tick(r, now);
	relay_log_pump_all(r); /* normally there is nothing to do */
	rroute_tell(r);
	rinterest_tell(r);
	relay_reap(r);
}

int relay_progress(struct relay *r)
{
	int done = r->cfg.net_ops->progress(r->net);

	done += rmcast_progress(r);
	done += relay_deliver_local(r);
	rroute_tell(r);
	rinterest_tell(r);
	relay_reap(r);
	return done;
}

int relay_wait_fd(struct relay *r)
{
	return r->cfg.net_ops->wait_fd(r->net);
}

bool relay_try_wait(struct relay *r)
{
	return list_empty(&r->local) && r->cfg.net_ops->try_wait(r->net);
}

/* -- life ------------------------------------------------------------------------------------- */

static void secret_free(struct relay *r)
{
	if (!r->secret)
		return;
	mac_forget(r->secret, r->secret_bytes);
	mem_free(r->cfg.mem, r->secret, r->secret_bytes);
}

enum status relay_open(const struct relay_config *cfg, struct relay **relay_out, struct error *err)
{
	struct relay *r = MEM_NEW(cfg->mem, struct relay);
	struct net_config nc = {
		.mem = cfg->mem,
		.log = cfg->log,
		.clock = cfg->clock,
		.events = &relay_net_events,
		.ctx = r,
		.provider = cfg->provider,
		.backend = cfg->net_backend,
		.secret = cfg->secret,
		.secret_bytes = cfg->secret_bytes,
		.entropy = cfg->entropy,
	};
	enum status st;

	r->cfg = *cfg;
	r->cfg.fan_out = cfg->fan_out ? cfg->fan_out : 8;
	r->cfg.heartbeat_us = cfg->heartbeat_us ? cfg->heartbeat_us : 100000;
	r->cfg.heartbeat_limit_us = cfg->heartbeat_limit_us ? cfg->heartbeat_limit_us : RELAY_HEARTBEAT_LIMIT_US;
	r->cfg.name = cfg->name ? cfg->name : "";
	rng_init(&r->rng, cfg->seed);
	do
		r->nonce = rng_next(&r->rng);
	while (!r->nonce);
	memset(&r->own_interest, 0xff, sizeof r->own_interest);
	r->started_us = r->tick_us = r->sign_us = r->awake_us = relay_now(r);
	list_init(&r->links);
	list_init(&r->dead);
	list_init(&r->suspects);
	list_init(&r->local);
	map_init(&r->routes, cfg->mem);
	map_init(&r->exported, cfg->mem);
	map_init(&r->changed, cfg->mem);
	map_init(&r->traffic, cfg->mem);
	buf_init(&r->scratch, cfg->mem);
	timer_init(&r->tick, on_tick, r);
	if (cfg->secret) {
		ASSERT(cfg->entropy.fill && cfg->secret_bytes > 0);
		r->secret = mem_alloc(cfg->mem, cfg->secret_bytes);
		r->secret_bytes = cfg->secret_bytes;
		memcpy(r->secret, cfg->secret, cfg->secret_bytes);
	}
	nc.secret = r->secret;
	r->cfg.secret = NULL;

	st = cfg->net_ops->open(&nc, &r->net, err);
	if (st != ST_OK)
		goto free_relay;
	st = cfg->net_ops->listen(r->net, cfg->listen, r->address, err);
	if (st == ST_OK)
		st = rmcast_open(r, err);
	if (st != ST_OK)
		goto close_net;
	timer_arm(cfg->timers, &r->tick, r->started_us + r->cfg.heartbeat_us / TICKS_PER_HEARTBEAT);
	*relay_out = r;
	return ST_OK;

close_net:
	cfg->net_ops->close(r->net);
free_relay:
	buf_fini(&r->scratch);
	secret_free(r);
	MEM_FREE(cfg->mem, r);
	return st;
}

void relay_close(struct relay *r)
{
	struct mem *mem = r->cfg.mem;
	struct map_slot *s;
	size_t at = 0;

	timer_cancel(r->cfg.timers, &r->tick);
	rmcast_close(r);
	rjoin_fini(r);
	while (!list_empty(&r->links))
		rlink_close(CONTAINER_OF(r->links.next, struct rlink, all));
	relay_reap(r);
	rremote_fini(r);
	rsuspect_fini(r);
	r->cfg.net_ops->close(r->net);
	while (!list_empty(&r->local)) {
		struct local_item *it = CONTAINER_OF(r->local.next, struct local_item, l);

		list_remove(&it->l);
		net_msg_unref(it->msg);
		MEM_FREE(mem, it);
	}
	while ((s = map_next(&r->routes, &at)))
		MEM_FREE(mem, (struct route *)s->value);
	map_fini(&r->routes);
	map_fini(&r->exported);
	map_fini(&r->changed);
	rdirect_fini(r);
	buf_fini(&r->scratch);
	secret_free(r);
	VEC_FINI(mem, &r->turn);
	mem_free(mem, r->members, r->member_count * sizeof *r->members);
	mem_free(mem, r->nodes, r->member_count * sizeof *r->nodes);
	MEM_FREE(mem, r);
}

const char *relay_address(const struct relay *r)
{
	return r->address;
}

/* -- membership ------------------------------------------------------------------------------- */

void relay_set_log_id(struct relay *r, uint64_t log_id)
{
	r->log_id = log_id;
}

static void drop_children(struct relay *r)
{
	LIST_FOREACH_SAFE(it, tmp, &r->links) {
		struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		if (rlink_is_child(l))
			rlink_bye(l, RELAY_BYE_LEAVING);
	}
}

void relay_set_self(struct relay *r, engine_id self, uint64_t voter_id)
{
	bool was_voter = relay_is_voter(r);
	engine_id before = r->self;

	if (self == before && voter_id == r->self_voter)
		return;
	r->self = self;
	r->self_voter = voter_id;
	if (self > r->max_seen)
		r->max_seen = self;
	if (before && self != before)
		rdirect_drop(r); /* they were the old id's */
	if (before && !relay_is_voter(r) && self != before) {
		rparent_drop(r);
		drop_children(r); /* they were below the old id */
	}
	if (relay_is_voter(r))
		rparent_drop(r);
	else if (was_voter)
		drop_children(r); /* only those with higher ids may be below; they come again */
	LIST_FOREACH(it, &r->links) {
		struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		if (l->role == RELAY_ROLE_VOTER || rlink_is_child(l) ||
		    (l->accepted && l->role == RELAY_ROLE_JOIN))
			rlink_ident(l);
	}
	if (self)
		rjoin_became_member(r);
	rparent_members_changed(r);
	rparent_tick(r, relay_now(r));
}

/* Links of engines that are not members any more are told so and closed. */
static void close_removed(struct relay *r)
{
	LIST_FOREACH_SAFE(it, tmp, &r->links) {
		struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		if (l->state != RLINK_READY || !l->engine || l->engine > r->max_seen ||
		    relay_member_find(r, l->engine))
			continue;
		if (l->role == RELAY_ROLE_PROBE || l->role == RELAY_ROLE_JOIN)
			continue;
		rlink_tell_not_member(l);
		if (l->role == RELAY_ROLE_VOTER)
			continue; /* to consensus it is its voter id; it joins again */
		if (l == r->parent && l->voter)
			continue; /* the same, while it joins again */
		rlink_bye(l, RELAY_BYE_REMOVED);
		if (l->accepted || l->role == RELAY_ROLE_DIRECT)
			continue;
		rparent_lost(r, l, false);
	}
}

void relay_remember_voter(struct relay *r, uint64_t voter, const char *address)
{
	struct candidate *c = NULL;

	for (uint32_t i = 0; i < r->voter_count && !c; i++)
		if (r->voters[i].id == voter)
			c = &r->voters[i];
	if (!c && r->voter_count < RELAY_SLOTS)
		c = &r->voters[r->voter_count++];
	if (!c)
		c = &r->voters[r->voter_at++ % RELAY_SLOTS];
	c->id = voter;
	snprintf(c->address, sizeof c->address, "%s", address);
}

void relay_set_members(struct relay *r, const struct relay_member *members, uint32_t count,
		       seq_index index)
{
	struct member *at;

	ASSERT_OP(count, <=, RELAY_MEMBERS_MAX);
	log_event(r->cfg.log, LOG_RELAY, LOG_DEBUG, "members", "count=%u index=%llu", count,
		  (unsigned long long)index);
	at = mem_alloc(r->cfg.mem, count * sizeof *at);
	for (uint32_t i = 0; i < count; i++) {
		const struct member *old = relay_member_find(r, members[i].id);

		ASSERT(i == 0 || members[i - 1].id < members[i].id);
		at[i].id = members[i].id;
		at[i].voter = members[i].voter_id;
		at[i].nonce = old ? old->nonce : 0;
		at[i].lost_us = old ? old->lost_us : 0;
		memcpy(at[i].address, members[i].address, sizeof at[i].address);
		memcpy(at[i].location, members[i].location, sizeof at[i].location);
		at[i].address[sizeof at[i].address - 1] =
			at[i].location[sizeof at[i].location - 1] = '\0';
		if (at[i].id > r->max_seen)
			r->max_seen = at[i].id;
		if (members[i].voter_id)
			relay_remember_voter(r, members[i].voter_id, at[i].address);
	}
	mem_free(r->cfg.mem, r->members, r->member_count * sizeof *r->members);
	mem_free(r->cfg.mem, r->nodes, r->member_count * sizeof *r->nodes);
	r->members = at;
	r->member_count = count;
	r->nodes = mem_alloc(r->cfg.mem, count * sizeof *r->nodes);
	for (uint32_t i = 0; i < count; i++) {
		r->nodes[i].id = at[i].id;
		r->nodes[i].voter = at[i].voter != 0;
		r->nodes[i].location = at[i].location;
	}
	rsuspect_members_changed(r);
	rparent_members_changed(r);
	close_removed(r);
	rdirect_members_changed(r);
	rparent_tick(r, relay_now(r));
}

void relay_set_leader(struct relay *r, engine_id leader)
{
	rscore_leader(r, leader);
}

/* -- questions -------------------------------------------------------------------------------- */

engine_id relay_parent(const struct relay *r)
{
	return r->parent ? r->parent->engine : 0;
}

engine_id relay_leader(const struct relay *r)
{
	return r->leader;
}

uint32_t relay_depth(const struct relay *r)
{
	if (relay_is_voter(r))
		return 0;
	return r->parent && r->parent->depth < UINT32_MAX ? r->parent->depth + 1 : UINT32_MAX;
}

uint64_t relay_silence_us(const struct relay *r)
{
	uint64_t now = relay_now(r);

	if (relay_is_voter(r))
		return rvoters_silence_us(r);
	return now > r->sign_us ? now - r->sign_us : 0;
}

uint64_t relay_parent_silence_us(const struct relay *r)
{
	return relay_silence_us(r);
}

uint32_t relay_children(const struct relay *r, engine_id *ids_out, uint32_t max)
{
	uint32_t n = 0;

	LIST_FOREACH(it, &r->links) {
		const struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		if (!rlink_is_child(l))
			continue;
		if (n < max)
			ids_out[n] = l->engine;
		n++;
	}
	return n;
}

void relay_stats(const struct relay *r, struct relay_stats *out)
{
	*out = r->stats;
	out->links = r->link_count;
	out->sends_out = r->net->sends;
	out->parent_rtt_us = r->parent ? r->parent->rtt_us : 0;
	out->direct_links = rdirect_count(r);
	out->voter_links = rvoters_count(r);
	out->chunks = r->chunks.count;
	out->strangers = r->guard.strangers;
}
