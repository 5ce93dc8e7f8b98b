/*
 * score.c - how well a link serves, and whether the parent does (net/relay).
 *
 * Both sides of a link send a heartbeat every heartbeat_us, whatever else they send, behind everything
 * that waits on the link. It brings back the sender's time of the peer's newest heartbeat, and how long
 * that one was held; so each side knows the round trip without a common clock, and a backlog in either
 * direction, or a peer that gets round to little, shows as a long one. Heartbeats also bring down the
 * newest index that a voter has: a child knows what it should have had by now.
 *
 * From that each engine judges its parent at every tick, and looks for another beside it (parent.c):
 *
 *   quiet   nothing came for 3/10 of the heartbeat limit, or nothing that we said was echoed for 6/10;
 *           left for one that has heard of the voters lately
 *   stuck   an index that a voter had half a limit ago is not here, and nothing came since; left for one
 *           that has that index
 *   slow    as stuck, but the log moves; or the round trip is over a fifth of the limit. Left only for
 *           one that has room and that index, or half the round trip; and more rarely each time in a row,
 *           for it may be this engine that is slow, or all of them
 *
 * Slowness makes nobody suspect: what the parent is to the cluster is for the limit to say (suspect.c).
 * A parent that was left is not gone back to for a while, not even as the default. Nothing is held
 * against it from before this engine itself was away (awake_us).
 */
#include <stdio.h>

#include "net/relay/relay_int.h"

#define ROUND_TRIP_WEIGHT 4 /* a measurement counts for so much of the average: 1/4 */

/* -- heartbeats ------------------------------------------------------------------------------- */

/* The newest index that a voter has: a voter's own or another's, others' as the parent says. */
static seq_index newest(const struct relay *r)
{
	seq_index n = r->cfg.events->log_last(r->cfg.ctx);

	if (!relay_is_voter(r))
		return r->parent && r->parent->newest > n ? r->parent->newest : n;
	LIST_FOREACH(it, &r->links) {
		const struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		if (l->role == RELAY_ROLE_VOTER && l->state == RLINK_READY && l->log_last > n)
			n = l->log_last; /* not what it heard itself: nothing goes round in circles */
	}
	return n;
}

static void beat(struct rlink *l, uint64_t now)
{
	struct relay *r = l->r;
	struct relay_heartbeat m = {
		.depth = relay_depth(r),
		.children = relay_children(r, NULL, 0),
		.silence_us = relay_silence_us(r),
		.leader = r->leader,
		.log_last = r->cfg.events->log_last(r->cfg.ctx),
		.newest = newest(r),
		.sent_us = now,
		.echo_us = l->peer_sent_us,
		.held_us = l->peer_sent_us ? now - l->peer_at_us : 0,
	};

	l->beat_us = now;
	buf_reset(&r->scratch);
	relay_heartbeat_encode(&r->scratch, &m);
	rlink_send_scratch(l);
}

void rscore_beat(struct rlink *l, uint64_t now)
{
	if (now - l->beat_us >= l->r->cfg.heartbeat_us)
		beat(l, now);
}

void rscore_leader(struct relay *r, engine_id leader)
{
	bool is_new = leader && leader != r->leader;

	r->leader = leader;
	for (struct list *it = r->links.next; is_new && it != &r->links; it = it->next) {
		struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		if (rlink_is_child(l))
			beat(l, relay_now(r));
	}
}

static void take_echo(struct rlink *l, const struct relay_heartbeat *m, uint64_t now)
{
	uint64_t took;

	if (m->echo_us <= l->echoed_us || m->echo_us > now)
		return; /* known, or nonsense */
	took = now - m->echo_us;
	took -= m->held_us < took ? m->held_us : took;
	l->echoed_us = m->echo_us;
	l->rtt_us = l->rtt_us ? l->rtt_us - l->rtt_us / ROUND_TRIP_WEIGHT + took / ROUND_TRIP_WEIGHT : took;
}

void rscore_on_heartbeat(struct rlink *l, struct reader *rd)
{
	struct relay *r = l->r;
	uint64_t now = relay_now(r);
	struct relay_heartbeat m;

	if (!relay_heartbeat_decode(rd, &m)) {
		rlink_bad(l, "heartbeat");
		return;
	}
	l->depth = m.depth;
	l->children = m.children;
	l->silence_us = m.silence_us;
	l->state_us = now;
	l->leader = m.leader;
	l->log_last = m.log_last;
	l->newest = m.newest;
	l->peer_sent_us = m.sent_us;
	l->peer_at_us = now;
	take_echo(l, &m, now);
	if (l == r->parent || l == r->join.link) {
		uint64_t sign = now > m.silence_us ? now - m.silence_us : 0;

		if (sign > r->sign_us)
			r->sign_us = sign;
		if (!relay_is_voter(r))
			rscore_leader(r, m.leader);
		if (l == r->parent)
			rmcast_heard(r, m.log_last);
	}
}

/* -- the parent ------------------------------------------------------------------------------- */

static uint64_t limit_part(const struct relay *r, uint32_t tenths)
{
	uint64_t us = r->cfg.heartbeat_limit_us / 10 * tenths, least = r->cfg.heartbeat_us * tenths;

	return us > least ? us : least;
}

/* Of the time since @since, what this engine itself was there for. */
static uint64_t attended_us(const struct relay *r, uint64_t since, uint64_t now)
{
	if (since < r->awake_us)
		since = r->awake_us;
	return now > since ? now - since : 0;
}

static bool is_quiet(const struct relay *r, const struct rlink *p, uint64_t now)
{
	return attended_us(r, p->rx_us, now) > limit_part(r, 3) || attended_us(r, p->echoed_us, now) > limit_part(r, 6);
}

static bool is_behind(const struct relay *r, uint64_t now)
{
	return r->cfg.events->log_want(r->cfg.ctx) <= r->mark && attended_us(r, r->mark_us, now) > limit_part(r, 5);
}

static bool answers_late(const struct relay *r, const struct rlink *p)
{
	return p->rtt_us > limit_part(r, 2);
}

void rscore_tick(struct relay *r, uint64_t now)
{
	seq_index want = r->cfg.events->log_want(r->cfg.ctx);

	if (want != r->want) {
		r->want = want;
		r->want_us = now;
	}
	if (!r->parent || want > r->mark) {
		r->mark = newest(r);
		r->mark_us = now;
	}
}

enum move rscore_parent(const struct relay *r, uint64_t now)
{
	const struct rlink *p = r->parent;
	bool behind = !r->log_gone_told && is_behind(r, now); /* what is gone comes from nobody */

	if (is_quiet(r, p, now))
		return MOVE_QUIET;
	if (behind && attended_us(r, r->want_us, now) > limit_part(r, 5))
		return MOVE_STUCK;
	if (now >= r->next_slow_us && (behind || answers_late(r, p)))
		return MOVE_SLOW;
	return MOVE_NONE;
}

bool rscore_better(const struct relay *r, const struct rlink *l, enum move why)
{
	const struct rlink *p = r->parent;
	uint64_t now = relay_now(r);

	switch (why) {
	case MOVE_QUIET:
		/* not a sibling, which waits for the same parent and does not know it yet */
		return is_quiet(r, p, now) && l->silence_us + 2 * r->cfg.heartbeat_us <= relay_silence_us(r);
	case MOVE_STUCK:
		return is_behind(r, now) && l->log_last >= r->mark;
	case MOVE_CROWDED:
		return l->children <= r->cfg.fan_out || l->engine == r->default_parent;
	case MOVE_SLOW:
		if (l->children > r->cfg.fan_out)
			return false;
		return is_behind(r, now) ? l->log_last >= r->mark : l->rtt_us < p->rtt_us / 2;
	default:
		return true;
	}
}

/* -- parents that were left ------------------------------------------------------------------- */

static void avoid(struct relay *r, engine_id id, uint64_t now)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < RELAY_AVOIDED; i++) {
		if (r->avoided[i].id == id) {
			at = i;
			break;
		}
		if (r->avoided[i].until_us < r->avoided[at].until_us)
			at = i;
	}
	/* long enough ago, it is forgiven */
	if (r->avoided[at].id != id || now > r->avoided[at].until_us + 6 * RELAY_AVOID_US)
		r->avoided[at].times = 0;
	r->avoided[at].id = id;
	r->avoided[at].until_us = now + ((uint64_t)RELAY_AVOID_US << r->avoided[at].times);
	if (r->avoided[at].times < 5)
		r->avoided[at].times++;
}

bool rscore_avoids(const struct relay *r, engine_id id)
{
	for (uint32_t i = 0; i < RELAY_AVOIDED; i++)
		if (r->avoided[i].id == id && id)
			return relay_now(r) < r->avoided[i].until_us;
	return false;
}

void rscore_adopted(struct relay *r, const struct rlink *old, const struct rlink *l, enum move why)
{
	uint64_t now = relay_now(r);

	r->mark_us = r->want_us = now; /* the new one gets its time */
	if (l->newest > r->mark && r->cfg.events->log_want(r->cfg.ctx) > r->mark)
		r->mark = l->newest;
	if (!old || old == l || (why != MOVE_QUIET && why != MOVE_STUCK && why != MOVE_SLOW))
		return;
	r->stats.parents_left++;
	avoid(r, old->engine, now);
	if (why != MOVE_SLOW)
		return;
	if (now > r->next_slow_us + 6 * RELAY_SLOW_US)
		r->slow_moves = 0;
	r->next_slow_us = now + ((uint64_t)RELAY_SLOW_US << r->slow_moves);
	if (r->slow_moves < 5)
		r->slow_moves++;
}

const char *rscore_move_name(enum move why)
{
	static const char *const names[] = {
		[MOVE_NONE] = "none",	[MOVE_QUIET] = "the last one is quiet", [MOVE_STUCK] = "no log came from the last one",
		[MOVE_SLOW] = "the last one is slow", [MOVE_CUT_OFF] = "the last one is cut off",
		[MOVE_CROWDED] = "the last one has too many", [MOVE_DEFAULT] = "default",
	};

	return names[why];
}
