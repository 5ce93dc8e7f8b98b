/*
 * parent.c - finding and keeping a parent (net/relay).
 *
 * Without a parent, the candidates of net/tree are dialled one after another, at once; a round that
 * found none is followed by a pause and another order. The first that welcomes us and is legal
 * (P22) is adopted: we tell it who is below us and ask for the log from our own index on.
 *
 * With a parent, another one is looked for beside it: at once when it is quiet, stuck or slow
 * (score.c) or has lost the voters itself; soon, when it has too many children; slowly, when it is too deep and is
 * not our default. The old link is given up only for one that is better in what was wrong, and the log
 * goes on at our own index, so a move costs no more than what was under way on the old link.
 *
 * How many children: fan_out by the tree's function, and whoever is somebody's child by that function is always let in. Others
 * come only while their default parent is away: they look for room at FULL_MAX parents, then take the one with fewest children, for
 * the log matters more than a number; nobody has to be turned away. So a parent may have more than fan_out while a relay
 * that has children itself is silent and still a member; the guests leave when they can. In a tree whose every place is
 * taken there is no legal parent with room for them (a parent has a lower id), so a stricter bound would cost them the log.
 */
#include <stdio.h>
#include <string.h>

#include "net/relay/relay_int.h"

#define TRY_US 250000u /* for dial and welcome in a first round; doubles each round to 8 times */
#define PAUSE_US 20000u    /* after a round; doubles each round to 32 times */
/* The same, when there is a parent: without a majority of voters everybody looks for another. */
#define SWITCH_PAUSE_US 500000u
#define CROWDED_US 500000u /* a guest that is one too many looks for another place within that */
#define CROWDED_AGAIN_US 2000000u
#define FULL_MAX 3           /* that have enough children: in a round without a parent, then the best of them is taken */
#define LEAVE_PAUSE_US 50000u /* but a parent that serves badly is waited for by all that is below */

static bool needs_parent(const struct relay *r)
{
	return r->self && !relay_is_voter(r) && relay_member_find(r, r->self);
}

static uint64_t cut_off_us(const struct relay *r)
{
	return 2 * r->cfg.heartbeat_limit_us;
}

static void add_candidate(struct relay *r, engine_id id, const char *address)
{
	struct candidate *c = &r->candidates[r->candidate_count];

	if (r->candidate_count >= sizeof r->candidates / sizeof r->candidates[0])
		return;
	for (uint32_t i = 0; i < r->candidate_count; i++)
		if (strcmp(r->candidates[i].address, address) == 0)
			return;
	c->id = id;
	snprintf(c->address, sizeof c->address, "%s", address);
	r->candidate_count++;
}

static void dial_candidate(struct relay *r, const struct candidate *c, uint64_t limit_us)
{
	r->stats.redials++;
	r->trying = rlink_dial(r, RELAY_ROLE_CHILD, c->address, c->id, limit_us);
}

/* Dials the next candidate; at their end, or that of patience, the one that has most room; then a pause. */
static void try_next(struct relay *r)
{
	uint32_t shift = r->attempt < 5 ? r->attempt : 5;
	uint64_t pause = PAUSE_US;

	if (r->move == MOVE_QUIET || r->move == MOVE_STUCK)
		pause = LEAVE_PAUSE_US;
	else if (r->move)
		pause = SWITCH_PAUSE_US;
	pause <<= shift;

	while (!r->trying && r->candidate_at < r->candidate_count && r->full < FULL_MAX)
		dial_candidate(r, &r->candidates[r->candidate_at++], TRY_US << (shift < 3 ? shift : 3));
	if (!r->trying && r->full && !r->settle) {
		r->settle = true;
		dial_candidate(r, &r->roomiest, TRY_US << (shift < 3 ? shift : 3));
	}
	if (r->trying)
		return;
	if (r->full) { /* none of the full ones answers any more: on with the others */
		r->full = 0;
		r->settle = false;
		try_next(r);
		return;
	}
	if (r->move == MOVE_CROWDED) { /* it serves: to leave it for a better reason must not have to wait */
		r->guest_us = relay_now(r) + CROWDED_AGAIN_US + rng_below(&r->rng, CROWDED_AGAIN_US);
		r->move = MOVE_NONE;
		return;
	}
	r->move = MOVE_NONE;
	r->attempt++;
	r->next_try_us = relay_now(r) + pause + rng_below(&r->rng, pause);
}

/* @all: those too that are suspect, or were left for serving badly. */
static void collect(struct relay *r, bool all)
{
	const struct member *self = relay_member_find(r, r->self);
	engine_id ids[RELAY_CANDIDATES];
	uint32_t n = tree_candidates(r->nodes, r->member_count, (uint32_t)(self - r->members),
				     r->cfg.fan_out, r->attempt, ids, RELAY_CANDIDATES);

	for (uint32_t i = 0; i < n; i++) {
		const struct member *m = relay_member_find(r, ids[i]);

		if ((r->want_voter && !m->voter) || (r->parent && r->parent->engine == m->id))
			continue;
		if (all || (!rsuspect_is(r, m->id) && !rscore_avoids(r, m->id)))
			add_candidate(r, m->id, m->address);
	}
	/*
	 * Voters that were removed while they joined again, all of them perhaps: the list with
	 * their new ids comes from nobody else.
	 */
	for (uint32_t i = 0; i < r->voter_count; i++)
		if (!r->parent || strcmp(r->parent->address, r->voters[i].address) != 0)
			add_candidate(r, 0, r->voters[i].address);
}

static void begin_round(struct relay *r)
{
	r->candidate_at = r->full = 0;
	r->settle = false;
	collect(r, false);
	if (!r->candidate_count)
		collect(r, true);
	try_next(r);
}

void rparent_lost(struct relay *r, struct rlink *l, bool retry_first)
{
	if (r->parent || !needs_parent(r))
		return;
	r->attempt = 0;
	r->move = MOVE_NONE;
	if (r->trying)
		return;
	r->candidate_count = 0;
	/* Perhaps only the link broke. l is dead, but not freed yet. */
	if (retry_first && !r->want_voter)
		add_candidate(r, l->engine ? l->engine : l->expect, l->address);
	begin_round(r);
}

void rparent_try_failed(struct relay *r)
{
	if (needs_parent(r))
		try_next(r);
}

void rparent_drop(struct relay *r)
{
	if (r->trying)
		rlink_close(r->trying);
	if (r->parent)
		rlink_bye(r->parent, RELAY_BYE_MOVED);
	r->want_voter = false;
	r->move = MOVE_NONE;
	r->candidate_count = r->candidate_at = r->attempt = r->full = 0;
	r->next_try_us = 0;
}

void rparent_adopt(struct relay *r, struct rlink *l)
{
	struct rlink *old = r->parent;
	uint64_t now = relay_now(r), sign;
	enum move why = old ? r->move : MOVE_NONE;

	r->parent = l;
	if (r->trying == l)
		r->trying = NULL;
	r->want_voter = r->log_gone_told = r->settle = false;
	r->move = MOVE_NONE;
	r->attempt = r->full = 0;
	r->guest_us = 0;
	r->next_switch_us = now + RELAY_REBALANCE_US + rng_below(&r->rng, RELAY_REBALANCE_US);
	r->stats.parent_changes++;
	sign = l->state_us > l->silence_us ? l->state_us - l->silence_us : 0;
	if (sign > r->sign_us)
		r->sign_us = sign;
	rscore_leader(r, l->leader);
	log_event(r->cfg.log, LOG_RELAY, LOG_INFO, "parent found", "engine=%llu address=%s depth=%u left=%llu why=%s",
		  (unsigned long long)l->engine, l->address, relay_depth(r), (unsigned long long)(old ? old->engine : 0),
		  rscore_move_name(why));
	rscore_adopted(r, old, l, why);
	if (old && old != l)
		rlink_bye(old, RELAY_BYE_MOVED);
	if (!l->log_in) /* a joiner's contact is streaming already */
		relay_log_ask(l, UINT64_MAX);
	rmcast_streaming(r);
	rroute_tell_all(l);
	if (r->cfg.events->moved)
		r->cfg.events->moved(r->cfg.ctx);
	rsuspect_path_found(r);
}

/* Enough children without us, and not the one that has a place for us. */
static bool is_full(const struct relay *r, const struct rlink *l)
{
	return l->children > r->cfg.fan_out && (!l->engine || l->engine != r->default_parent);
}

/* This one is better than none, but others may have room. */
static void note_full(struct relay *r, const struct rlink *l)
{
	if (!r->full++ || l->children < r->roomiest_children) {
		r->roomiest.id = l->engine;
		snprintf(r->roomiest.address, sizeof r->roomiest.address, "%s", l->address);
		r->roomiest_children = l->children;
	}
}

void rparent_welcomed(struct relay *r, struct rlink *l)
{
	bool legal = l->voter || (l->engine && l->engine < r->self);
	bool cut_off = l->silence_us > cut_off_us(r), urgent = !r->parent || r->move == MOVE_QUIET || r->move == MOVE_STUCK;
	char cause[64];

	if (r->trying != l || !needs_parent(r)) {
		rlink_bye(l, RELAY_BYE_MOVED);
		return;
	}
	if (l->expect && l->engine && l->engine != l->expect) {
		snprintf(cause, sizeof cause, "started again as engine %llu",
			 (unsigned long long)l->engine);
		rsuspect_report(r, l->expect, cause);
	} else if (l->engine) {
		rsuspect_clear(r, l->engine);
	}
	if (r->trying != l)
		return; /* the engine did something in the callback */
	/* One that has lost the voters itself is for want of others only. */
	if (!legal || (r->want_voter && !l->voter) ||
	    (cut_off && (r->move || r->candidate_at < r->candidate_count)) ||
	    (r->parent && !rscore_better(r, l, r->move))) {
		rlink_bye(l, RELAY_BYE_MOVED);
		try_next(r);
		return;
	}
	if (urgent && !r->settle && is_full(r, l)) {
		note_full(r, l);
		rlink_bye(l, RELAY_BYE_MOVED);
		try_next(r);
		return;
	}
	rparent_adopt(r, l);
}

void rparent_log_gone(struct relay *r, struct rlink *l)
{
	if (l->voter) {
		if (!r->log_gone_told)
			r->cfg.events->log_gone(r->cfg.ctx);
		r->log_gone_told = true;
		return;
	}
	log_event(r->cfg.log, LOG_RELAY, LOG_INFO, "log gone at parent", "engine=%llu",
		  (unsigned long long)l->engine);
	rlink_bye(l, RELAY_BYE_MOVED);
	if (r->trying)
		rlink_close(r->trying);
	r->want_voter = true;
	rparent_lost(r, l, false);
}

void rparent_members_changed(struct relay *r)
{
	const struct member *self = relay_member_find(r, r->self);
	struct rlink *p = r->parent;

	r->default_parent = 0;
	r->default_depth = 0;
	if (!needs_parent(r))
		return;
	uint32_t at = (uint32_t)(self - r->members);

	r->default_parent = tree_parent(r->nodes, r->member_count, at, r->cfg.fan_out);
	r->default_depth = tree_depth(r->nodes, r->member_count, at, r->cfg.fan_out);
	r->next_try_us = 0;
	if (p && p->engine > r->self) {
		const struct member *m = relay_member_find(r, p->engine);

		if (m && !m->voter) { /* it was a voter */
			rlink_bye(p, RELAY_BYE_MOVED);
			rparent_lost(r, p, false);
		}
	}
}

/* A guest of a parent with too many children. Not while it catches up with the log: others may not have that part. */
static bool is_one_too_many(struct relay *r, uint64_t now)
{
	const struct rlink *p = r->parent;

	if (!is_full(r, p) || r->cfg.events->log_want(r->cfg.ctx) <= p->log_last) {
		r->guest_us = 0;
		return false;
	}
	if (!r->guest_us)
		r->guest_us = now + rng_below(&r->rng, CROWDED_US); /* not all at once */
	return now >= r->guest_us;
}

void rparent_tick(struct relay *r, uint64_t now)
{
	const struct rlink *p = r->parent;
	enum move why;

	if (!needs_parent(r) || r->trying)
		return;
	r->candidate_count = 0;
	if (!p) {
		if (now >= r->next_try_us)
			begin_round(r);
		return;
	}
	why = now - p->state_us + p->silence_us > cut_off_us(r) ? MOVE_CUT_OFF : rscore_parent(r, now);
	if (why) {
		if (now < r->next_try_us)
			return;
		r->move = why;
		begin_round(r);
		return;
	}
	r->attempt = 0;
	if (is_one_too_many(r, now)) {
		r->move = MOVE_CROWDED;
		begin_round(r);
		return;
	}
	if (now < r->next_switch_us || !r->default_parent || p->engine == r->default_parent)
		return;
	r->next_switch_us = now + RELAY_REBALANCE_US + rng_below(&r->rng, RELAY_REBALANCE_US);
	if ((p->children <= r->cfg.fan_out && p->depth < r->default_depth) ||
	    rsuspect_is(r, r->default_parent) || rscore_avoids(r, r->default_parent))
		return;
	r->move = MOVE_DEFAULT;
	r->candidate_at = 0;
	add_candidate(r, r->default_parent, relay_member_find(r, r->default_parent)->address);
	try_next(r);
}
