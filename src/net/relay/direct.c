/*
 * direct.c - direct links, for bulk and for hot peers (net/relay).
 *
 * Unicast goes along the tree. To a member that is more than one link away, and that is sent BULK_BYTES or
 * HOT_MESSAGES within WINDOW_US, the sender dials a link of its own, of role direct; from its welcome on
 * what the two send each other goes over it, and over the tree again from its end on. What is addressed to the
 * leader stays on the tree: relays combine it.
 *
 * At most cfg.direct_links of them are here, whoever dialled them, opened on demand only: when they are all there
 * the coldest goes, unless that was in use within COLD_US; then there is no new one. One that carried
 * nothing for IDLE_US is closed, by its dialler as a rule.
 *
 * A path that changes may let messages overtake each other, once: users of unicast number what must be in order.
 * A direct link that is lost is nobody's parent or child: the tree does at once what it did, and a probe
 * asks whether the peer lives (suspect.c). That it cannot be dialled says nothing about the peer, unless its port
 * refuses: which the probe has to find as well.
 */
#include <stdio.h>
#include <string.h>

#include "base/cover.h"
#include "net/relay/relay_int.h"

#define WINDOW_US 250000u
#define BULK_BYTES (64u << 10)
#define HOT_MESSAGES 64
#define COLD_US 1000000u
#define IDLE_US 10000000u
#define IDLE_ACCEPTED_US 12000000u /* the dialler knows best that it needs it no more */
#define DIAL_US 1000000u
#define BACKOFF_US 1000000u        /* after a dial that failed; doubles each time to 32 times */
#define BACKOFF_SHIFT_MAX 5

/* What this engine itself sent to one member lately. */
struct traffic {
	uint64_t since_us, bytes, messages, next_dial_us;
	uint32_t failed; /* dials in a row */
	struct rlink *dialled, *accepted;
};

static struct traffic *traffic_get(struct relay *r, engine_id id)
{
	struct traffic *t = map_find(&r->traffic, id);

	if (!t) {
		t = MEM_NEW(r->cfg.mem, struct traffic);
		map_put(&r->traffic, id, t);
	}
	return t;
}

static bool is_ready(const struct rlink *l)
{
	return l && l->state == RLINK_READY;
}

static struct rlink *link_of(const struct traffic *t)
{
	return is_ready(t->dialled) ? t->dialled : is_ready(t->accepted) ? t->accepted : NULL;
}

static uint32_t count(const struct relay *r)
{
	uint32_t n = 0;

	LIST_FOREACH(it, &r->links) {
		const struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		n += l->role == RELAY_ROLE_DIRECT && l->state != RLINK_CLOSING;
	}
	return n;
}

uint32_t rdirect_count(const struct relay *r)
{
	uint32_t n = 0;

	LIST_FOREACH(it, &r->links) {
		const struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		n += l->role == RELAY_ROLE_DIRECT && l->state == RLINK_READY;
	}
	return n;
}

/* There is room for one more than @here links, or a cold one makes it. */
static bool make_room(struct relay *r, uint32_t here)
{
	struct rlink *coldest = NULL;

	if (here < r->cfg.direct_links)
		return true;
	LIST_FOREACH(it, &r->links) {
		struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		if (l->role == RELAY_ROLE_DIRECT && l->state == RLINK_READY && (!coldest || l->used_us < coldest->used_us))
			coldest = l;
	}
	if (!r->cfg.direct_links || !coldest || relay_now(r) - coldest->used_us < COLD_US)
		return false;
	COVER(DIRECT_COLDEST);
	rlink_bye(coldest, RELAY_BYE_MOVED);
	return true;
}

static void back_off(struct relay *r, struct traffic *t)
{
	uint64_t wait = (uint64_t)BACKOFF_US << t->failed;

	if (t->failed < BACKOFF_SHIFT_MAX)
		t->failed++;
	t->next_dial_us = relay_now(r) + wait / 2 + rng_below(&r->rng, wait);
}

static void dial(struct relay *r, engine_id id, struct traffic *t)
{
	const struct member *m = relay_member_find(r, id);

	if (!m || !relay_member_find(r, r->self) || rsuspect_is(r, id))
		return;
	if (!make_room(r, count(r))) {
		t->next_dial_us = relay_now(r) + COLD_US;
		return;
	}
	t->dialled = rlink_dial(r, RELAY_ROLE_DIRECT, m->address, id, DIAL_US);
	if (!t->dialled)
		back_off(r, t);
}

struct rlink *rdirect_link(const struct relay *r, engine_id to)
{
	const struct traffic *t = map_find(&r->traffic, to);

	return t ? link_of(t) : NULL;
}

static void count_in(struct relay *r, engine_id to, size_t bytes)
{
	uint64_t now = relay_now(r);
	struct traffic *t;

	t = traffic_get(r, to);
	if (now - t->since_us > WINDOW_US) {
		t->since_us = now;
		t->bytes = t->messages = 0;
	}
	t->bytes += bytes;
	t->messages++;
	if ((t->bytes >= BULK_BYTES || t->messages >= HOT_MESSAGES) && !t->dialled && !t->accepted && now >= t->next_dial_us)
		dial(r, to, t);
}

void rdirect_sent(struct relay *r, engine_id to, const struct rlink *via, size_t bytes)
{
	if (r->cfg.direct_links && via->engine != to) /* else next to us in the tree, or already on a link of its own */
		count_in(r, to, bytes);
}

bool rdirect_expect(struct relay *r, engine_id from, size_t bytes)
{
	const struct traffic *t;

	if (!r->cfg.direct_links || from == r->self || rroute_next_to(r, from))
		return false;
	count_in(r, from, bytes);
	t = map_find(&r->traffic, from);
	return t->dialled && !is_ready(t->dialled);
}

enum relay_refusal rdirect_judge(struct relay *r, struct rlink *l)
{
	const struct traffic *t = map_find(&r->traffic, l->engine);
	struct rlink *own = t ? t->dialled : NULL;

	if (l->engine > r->max_seen || !r->self)
		return RELAY_REFUSE_UNKNOWN;
	/*
	 * Both dialled: the lower id's dial goes on. One of ours that is up is enough; if it is not any more, this side has
	 * only not noticed yet.
	 */
	if (own && (own->state == RLINK_READY || r->self < l->engine))
		return RELAY_REFUSE_DUPLICATE;
	if (own) {
		COVER(DIRECT_BOTH);
		rlink_close(own);
	}
	if (t && t->accepted)
		return 0; /* the newest takes its place */
	return make_room(r, count(r) - 1) ? 0 : RELAY_REFUSE_FULL; /* it counts itself */
}

void rdirect_accepted(struct rlink *l)
{
	struct relay *r = l->r;
	struct traffic *t = traffic_get(r, l->engine);

	if (t->accepted)
		rlink_bye(t->accepted, RELAY_BYE_DUPLICATE);
	t->accepted = l;
	l->used_us = relay_now(r);
	rsuspect_clear(r, l->engine);
}

void rdirect_welcomed(struct rlink *l)
{
	struct relay *r = l->r;
	engine_id id = l->expect;
	struct traffic *t = map_find(&r->traffic, id);

	if (!t || t->dialled != l || l->engine != id) {
		bool other = t && t->dialled == l;

		if (other)
			back_off(r, t);
		rlink_bye(l, RELAY_BYE_MOVED);
		if (other)
			rsuspect_check(r, id); /* its address is somebody else's now, or it joins again */
		return;
	}
	COVER(DIRECT_OPEN);
	t->failed = 0;
	l->used_us = relay_now(r);
	r->stats.direct_opened++;
	log_event(r->cfg.log, LOG_RELAY, LOG_DEBUG, "direct link", "engine=%llu address=%s",
		  (unsigned long long)id, l->address);
	rsuspect_clear(r, id);
}

void rdirect_unlink(struct rlink *l)
{
	struct map_slot *s;
	size_t at = 0;

	if (l->role != RELAY_ROLE_DIRECT)
		return;
	while ((s = map_next(&l->r->traffic, &at))) {
		struct traffic *t = s->value;

		if (t->dialled == l)
			t->dialled = NULL;
		if (t->accepted == l)
			t->accepted = NULL;
	}
}

void rdirect_lost(struct rlink *l, enum rloss why)
{
	struct relay *r = l->r;
	engine_id id = l->engine ? l->engine : l->expect;
	bool was_ready = l->state == RLINK_READY;
	struct traffic *t = map_find(&r->traffic, id);

	if (was_ready)
		COVER(DIRECT_LOST);
	rlink_close(l);
	if (t)
		back_off(r, t);
	if (why == RLOSS_REFUSED || (was_ready && why != RLOSS_CLOSED))
		rsuspect_check(r, id);
}

static void drop_all(struct relay *r, bool (*drop)(const struct rlink *l, uint64_t now), uint64_t now)
{
	LIST_FOREACH_SAFE(it, tmp, &r->links) {
		struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		if (l->role == RELAY_ROLE_DIRECT && l->state != RLINK_CLOSING && drop(l, now))
			rlink_bye(l, RELAY_BYE_MOVED); /* goes to the end of the list: it is closing then */
	}
}

static bool is_idle(const struct rlink *l, uint64_t now)
{
	return l->state == RLINK_READY && now - l->used_us > (l->accepted ? IDLE_ACCEPTED_US : IDLE_US);
}

static bool any(const struct rlink *l, uint64_t now)
{
	(void)l;
	(void)now;
	return true;
}

void rdirect_tick(struct relay *r, uint64_t now)
{
	drop_all(r, is_idle, now);
}

void rdirect_drop(struct relay *r)
{
	drop_all(r, any, 0);
}

void rdirect_members_changed(struct relay *r)
{
	VEC(uint64_t) gone = {NULL, 0, 0};
	struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&r->traffic, &at)))
		if (!relay_member_find(r, s->k1))
			VEC_PUSH(r->cfg.mem, &gone, s->k1);
	for (size_t i = 0; i < gone.count; i++) {
		struct traffic *t = map_find(&r->traffic, gone.at[i]);

		/* one that waits for its welcome knows nobody yet; what is ready is closed with what belongs to a removed one */
		if (t->dialled && t->dialled->state != RLINK_READY)
			rlink_close(t->dialled);
		if (!t->dialled && !t->accepted)
			MEM_FREE(r->cfg.mem, (struct traffic *)map_remove(&r->traffic, gone.at[i]));
	}
	VEC_FINI(r->cfg.mem, &gone);
}

void rdirect_fini(struct relay *r)
{
	struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&r->traffic, &at)))
		MEM_FREE(r->cfg.mem, (struct traffic *)s->value);
	map_fini(&r->traffic);
}
