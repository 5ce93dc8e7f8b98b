/*
 * voters.c - the links between voters (net/relay): one for each pair.
 *
 * Whoever has no link to another voter dials it, so either side finds out by itself that the other is dead, or comes back
 * where the other cannot dial it. Two rules leave one link of two that were dialled:
 *
 *   - Both have said hello and neither has an answer: the lower voter id's goes on, the other is refused. A dial that has
 *     not said hello yet gives way to the other's hello: nobody knows of it.
 *   - There is a link already: a hello that the other counted before that link began is old, and refused; a later one, or
 *     one of another process (nonce), says that the other has lost the link, whatever we see of it, and replaces it. That is
 *     why welcomes carry the count of hellos, too.
 *
 * What is refused or replaced accuses nobody. A side that was refused dials again after a pause, unless the link came.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/cover.h"
#include "net/relay/relay_int.h"

#define BACKOFF_US 50000u
#define BACKOFF_MAX_US 500000u
#define BROKEN_AT_ONCE 3

struct voter_slot *rvoters_find(struct relay *r, uint64_t voter)
{
	for (uint32_t i = 0; i < r->slot_count; i++)
		if (r->slots[i].voter == voter)
			return &r->slots[i];
	return NULL;
}

struct voter_slot *rvoters_find_engine(struct relay *r, engine_id id)
{
	const struct member *m;

	for (uint32_t i = 0; i < r->slot_count; i++)
		if (r->slots[i].engine == id)
			return &r->slots[i];
	m = relay_member_find(r, id);
	return m && m->voter ? rvoters_find(r, m->voter) : NULL;
}

/* The engine that the voter is, or was. */
static engine_id slot_engine(const struct relay *r, const struct voter_slot *s)
{
	engine_id id = s->engine;

	for (uint32_t i = 0; i < r->member_count && !s->engine; i++)
		if (r->members[i].voter == s->voter)
			id = r->members[i].id;
	return id;
}

/* One that was lost for good and the one that came in its place may have one address: who is there is not to be dialled twice. */
static bool address_taken(const struct relay *r, const struct voter_slot *s)
{
	for (uint32_t i = 0; i < r->slot_count; i++) {
		const struct voter_slot *o = &r->slots[i];

		if (o != s && (o->link || o->dial) && !strcmp(o->address, s->address))
			return true;
	}
	return false;
}

static void dial(struct relay *r, struct voter_slot *s)
{
	if (address_taken(r, s)) {
		s->next_dial_us = relay_now(r) + BACKOFF_MAX_US;
		return;
	}
	r->stats.redials++;
	s->dial = rlink_dial(r, RELAY_ROLE_VOTER, s->address, s->engine, r->cfg.heartbeat_limit_us);
	if (!s->dial)
		s->next_dial_us = relay_now(r) + BACKOFF_MAX_US;
}

static void back_off(struct relay *r, struct voter_slot *s)
{
	s->backoff_us = s->backoff_us ? s->backoff_us * 2 : BACKOFF_US;
	if (s->backoff_us > BACKOFF_MAX_US)
		s->backoff_us = BACKOFF_MAX_US;
	s->next_dial_us = relay_now(r) + s->backoff_us / 2 + rng_below(&r->rng, s->backoff_us);
}

static struct voter_slot *slot_of(struct relay *r, const struct rlink *l)
{
	for (uint32_t i = 0; i < r->slot_count; i++)
		if (r->slots[i].link == l || r->slots[i].dial == l)
			return &r->slots[i];
	return NULL;
}

void rvoters_lost(struct relay *r, struct rlink *l, enum rloss why, const char *cause)
{
	struct voter_slot *s = slot_of(r, l);
	bool was_ready = l->state == RLINK_READY;
	engine_id id;

	rlink_close(l);
	if (!s)
		return;
	if (was_ready && why != RLOSS_CLOSED)
		s->backoff_us = s->broken = 0;
	if (why == RLOSS_BROKEN && s->broken++ < BROKEN_AT_ONCE) {
		dial(r, s);
		return;
	}
	if (was_ready && why == RLOSS_SILENT)
		dial(r, s);
	else
		back_off(r, s);
	id = slot_engine(r, s);
	if (why == RLOSS_REFUSED || why == RLOSS_TIMEOUT || why == RLOSS_SILENT)
		rsuspect_report(r, id, cause); /* s may be gone afterwards */
}

/*
 * The engine ids that the voter had before are void: it was started again, or joined again (P23).
 */
void rvoters_identified(struct relay *r, struct rlink *l)
{
	struct voter_slot *s = rvoters_find(r, l->voter);
	uint64_t voter = l->voter, nonce = l->nonce;
	engine_id now = l->engine, at = 0;
	char cause[64];

	if (!s)
		return;
	s->engine = now;
	rsuspect_clear(r, now);
	snprintf(cause, sizeof cause, now ? "started again as engine %llu" : "started again",
		 (unsigned long long)now);
	for (;;) { /* the callback may change the members */
		const struct member *stale = NULL;

		for (uint32_t i = 0; i < r->member_count && !stale; i++) {
			const struct member *m = &r->members[i];

			if (m->id > at && m->voter == voter && m->id != now &&
			    ((now && m->id < now) || (m->nonce && m->nonce != nonce)))
				stale = m;
		}
		if (!stale)
			return;
		at = stale->id;
		rsuspect_report(r, at, cause);
	}
}

/* Another link with the voter of @l, that is up; it may be one that is in no slot. */
static struct rlink *other_link(const struct relay *r, const struct rlink *l)
{
	LIST_FOREACH(it, &r->links) {
		struct rlink *o = CONTAINER_OF(it, struct rlink, all);

		if (o != l && o->role == RELAY_ROLE_VOTER && o->state == RLINK_READY && o->voter == l->voter)
			return o;
	}
	return NULL;
}

uint32_t rvoters_count(const struct relay *r)
{
	uint32_t n = 0;

	LIST_FOREACH(it, &r->links) {
		const struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		n += l->role == RELAY_ROLE_VOTER && l->state == RLINK_READY;
	}
	return n;
}

enum relay_refusal rvoters_judge(struct relay *r, const struct rlink *l)
{
	const struct rlink *have = other_link(r, l);
	const struct voter_slot *s = rvoters_find(r, l->voter);

	if (have && have->nonce == l->nonce && l->attach <= have->attach)
		return RELAY_REFUSE_DUPLICATE;
	if (!s || !s->dial || s->dial->state != RLINK_GREETING)
		return 0;
	COVER(VOTERS_BOTH);
	return relay_voter_id(r) < l->voter ? RELAY_REFUSE_DUPLICATE : 0;
}

void rvoters_make_room(struct relay *r, struct rlink *l)
{
	struct rlink *have = other_link(r, l);
	struct voter_slot *s = rvoters_find(r, l->voter);

	COVER_IF(have, VOTERS_REPLACED);
	if (have)
		rlink_bye(have, RELAY_BYE_DUPLICATE);
	if (s && s->dial)
		rlink_close(s->dial);
}

/* The link is up: this is how the two reach each other from now on. */
static void link_up(struct relay *r, struct voter_slot *s, struct rlink *l)
{
	ASSERT(!other_link(r, l)); /* one for each pair */
	s->link = l;
	s->dial = NULL;
	s->backoff_us = s->broken = 0;
	rroute_tell_all(l);
	rvoters_identified(r, l);
}

void rvoters_accepted(struct relay *r, struct rlink *l)
{
	struct voter_slot *s = rvoters_find(r, l->voter);

	if (s) /* else its configuration may be ahead of ours */
		link_up(r, s, l);
}

void rvoters_welcomed(struct relay *r, struct rlink *l)
{
	struct voter_slot *s = slot_of(r, l);

	if (!s) {
		rlink_bye(l, RELAY_BYE_MOVED);
		return;
	}
	if (l->voter != s->voter) {
		engine_id id = slot_engine(r, s);
		bool other = id && l->engine != id;

		log_event(r->cfg.log, LOG_RELAY, LOG_WARN, "wrong voter",
			  "address=%s wanted=%llu found=%llu", s->address,
			  (unsigned long long)s->voter, (unsigned long long)l->voter);
		rlink_bye(l, RELAY_BYE_MOVED);
		back_off(r, s);
		if (other)
			rsuspect_check(r, id);
		return;
	}
	link_up(r, s, l);
}

static uint64_t slot_rx_us(const struct voter_slot *s)
{
	return s->link && s->link->rx_us > s->rx_us ? s->link->rx_us : s->rx_us;
}

uint64_t rvoters_silence_us(const struct relay *r)
{
	uint64_t rx[RELAY_SLOTS], now = relay_now(r);
	uint32_t others = r->slot_count, needed = (others + 1) / 2; /* with this one a majority */

	if (!needed)
		return 0;
	for (uint32_t i = 0; i < others; i++) {
		uint32_t at = i;

		for (; at && rx[at - 1] < slot_rx_us(&r->slots[i]); at--)
			rx[at] = rx[at - 1];
		rx[at] = slot_rx_us(&r->slots[i]);
	}
	return now > rx[needed - 1] ? now - rx[needed - 1] : 0;
}

/*
 * Members whose link nobody has any more: their parent died with them, say. The voters together
 * know everyone who has a parent; they ask for the others.
 */
static void look_for_lost(struct relay *r, uint64_t now)
{
	if (now < r->next_look_us)
		return;
	r->next_look_us = now + r->cfg.heartbeat_limit_us / 4;
	for (uint32_t i = 0; i < r->member_count; i++) {
		struct member *m = &r->members[i];

		if (m->voter || m->id == r->self || rroute_known(r, m->id)) {
			m->lost_us = 0;
		} else if (!m->lost_us) {
			m->lost_us = now;
		} else if (now - m->lost_us > 2 * r->cfg.heartbeat_limit_us) {
			m->lost_us = now;
			rsuspect_check(r, m->id);
		}
	}
}

void rvoters_tick(struct relay *r, uint64_t now)
{
	for (uint32_t i = 0; i < r->slot_count; i++) {
		struct voter_slot *s = &r->slots[i];

		s->rx_us = slot_rx_us(s);
		if (!s->link && !s->dial && now >= s->next_dial_us)
			dial(r, s);
	}
	if (relay_is_voter(r))
		look_for_lost(r, now);
}

void relay_on_voter(struct rlink *l, const uint8_t *data, size_t bytes)
{
	struct relay *r = l->r;

	if (l->role != RELAY_ROLE_VOTER || bytes < sizeof(struct relay_plain_head)) {
		rlink_bad(l, "voter message");
		return;
	}
	r->cfg.events->voter_message(r->cfg.ctx, l->voter, data + sizeof(struct relay_plain_head),
				     bytes - sizeof(struct relay_plain_head));
}

void relay_voter_send(struct relay *r, uint64_t voter_id, const void *data, size_t bytes)
{
	const struct voter_slot *s = rvoters_find(r, voter_id);
	struct rlink *to = s ? s->link : NULL;

	if (voter_id && voter_id == relay_voter_id(r)) {
		struct net_msg *m = net_msg_new(r->cfg.mem, (uint32_t)bytes);

		memcpy(m->data, data, bytes);
		relay_local_push(r, true, voter_id, m);
		return;
	}
	/* One that is not in our configuration, but has us in its own. */
	for (struct list *it = r->links.next; !to && it != &r->links; it = it->next) {
		struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		if (l->role == RELAY_ROLE_VOTER && l->state == RLINK_READY && l->voter == voter_id)
			to = l;
	}
	if (to && to->net->backlog_bytes <= RELAY_VOTER_BACKLOG_MAX)
		rlink_send_plain(to, RELAY_VOTER, false, data, bytes);
}

/* It may have dialled before we knew of it. */
static void take_stray(struct relay *r, struct voter_slot *s)
{
	LIST_FOREACH(it, &r->links) {
		struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		if (l->role != RELAY_ROLE_VOTER || l->state != RLINK_READY || l->voter != s->voter)
			continue;
		if (s->dial)
			rlink_close(s->dial);
		s->link = l;
		s->engine = l->engine;
		rroute_tell_all(l);
		return;
	}
}

void relay_set_voters(struct relay *r, uint64_t self_voter_id, const uint64_t *voter_ids,
		      const char (*addresses)[NET_ADDRESS_MAX], uint32_t count)
{
	struct voter_slot old[RELAY_SLOTS];
	uint32_t old_count = r->slot_count;
	bool was_voter = relay_is_voter(r);
	uint64_t now = relay_now(r);

	memcpy(old, r->slots, sizeof old);
	memset(r->slots, 0, sizeof r->slots);
	r->slot_count = 0;
	r->config_voter = self_voter_id;
	for (uint32_t i = 0; i < count && self_voter_id; i++) {
		struct voter_slot *s = &r->slots[r->slot_count];

		if (voter_ids[i] == self_voter_id || r->slot_count == RELAY_SLOTS ||
		    rvoters_find(r, voter_ids[i]))
			continue;
		s->voter = voter_ids[i];
		s->rx_us = now; /* until the limit, as if it had been heard */
		for (uint32_t o = 0; o < old_count; o++) {
			if (old[o].voter != s->voter)
				continue;
			*s = old[o];
			old[o].link = NULL;
			if (strcmp(s->address, addresses[i]) == 0)
				old[o].dial = NULL;
			else
				s->dial = NULL, s->next_dial_us = 0; /* the new address, at once; a link is as good as before */
		}
		snprintf(s->address, sizeof s->address, "%s", addresses[i]);
		r->slot_count++;
		if (!s->link)
			take_stray(r, s);
	}
	for (uint32_t o = 0; o < old_count; o++) {
		if (old[o].link)
			rlink_bye(old[o].link, RELAY_BYE_MOVED);
		if (old[o].dial)
			rlink_close(old[o].dial);
	}
	rvoters_tick(r, now);
	if (was_voter != relay_is_voter(r))
		rparent_members_changed(r);
	if (relay_is_voter(r))
		rparent_drop(r);
}
