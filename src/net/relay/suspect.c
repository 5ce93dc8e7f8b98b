/*
 * suspect.c - who may be dead (net/relay).
 *
 * A suspicion begins with a link that broke or went silent, and is the engine's to judge (P24).
 * Here each one is looked at once a second: its member's address is dialled, and only an answer
 * under the same engine id ends it, for a process that was started again there is another engine.
 */
#include <stdio.h>
#include <string.h>

#include "net/relay/relay_int.h"

#define PROBE_AT_ONCE 3
#define PROBE_SOON 10
#define NAMELESS_US 30000000u

struct member *relay_member_find(const struct relay *r, engine_id id)
{
	uint32_t lo = 0, hi = r->member_count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (r->members[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < r->member_count && r->members[lo].id == id ? &r->members[lo] : NULL;
}

void relay_member_seen(struct relay *r, engine_id id, uint64_t nonce)
{
	struct member *m = id ? relay_member_find(r, id) : NULL;

	if (m)
		m->nonce = nonce;
}

static struct suspect *find(const struct relay *r, engine_id id)
{
	LIST_FOREACH(it, &r->suspects) {
		struct suspect *s = CONTAINER_OF(it, struct suspect, all);

		if (s->id == id)
			return s;
	}
	return NULL;
}

static struct suspect *get(struct relay *r, engine_id id)
{
	struct suspect *s = find(r, id);

	if (!s) {
		s = MEM_NEW(r->cfg.mem, struct suspect);
		s->id = id;
		list_push_back(&r->suspects, &s->all);
	}
	return s;
}

static void forget(struct relay *r, struct suspect *s)
{
	if (s->probe)
		rlink_close(s->probe);
	list_remove(&s->all);
	MEM_FREE(r->cfg.mem, s);
}

static void probe(struct relay *r, struct suspect *s)
{
	const struct member *m = relay_member_find(r, s->id);

	if (s->probe || !m)
		return;
	r->stats.redials++;
	s->next_probe_us = relay_now(r) + RELAY_SUSPECT_REPEAT_US;
	s->probe = rlink_dial(r, RELAY_ROLE_PROBE, m->address, s->id, r->cfg.heartbeat_limit_us);
}

void rsuspect_check(struct relay *r, engine_id id)
{
	if (id && id != r->self && relay_member_find(r, id))
		probe(r, get(r, id));
}

void rsuspect_report(struct relay *r, engine_id id, const char *cause)
{
	uint64_t now = relay_now(r);

	if (!id || id == r->self || !relay_member_find(r, id))
		return;
	struct suspect *s = get(r, id);

	snprintf(s->cause, sizeof s->cause, "%s", cause);
	if (s->reported && now - s->reported_us < RELAY_SUSPECT_REPEAT_US)
		return;
	if (!s->reported)
		log_event(r->cfg.log, LOG_RELAY, LOG_WARN, "suspect", "engine=%llu cause=%s",
			  (unsigned long long)id, cause);
	s->reported = true;
	s->reported_us = now;
	if (!s->next_probe_us)
		s->next_probe_us = now; /* only silent so far: ask, at the next tick */
	s->unheard = !relay_is_voter(r) && !r->parent;
	r->stats.suspects++;
	r->cfg.events->suspect(r->cfg.ctx, id, s->cause);
}

void rsuspect_clear(struct relay *r, engine_id id)
{
	struct suspect *s = id ? find(r, id) : NULL;

	if (!s)
		return;
	if (s->reported)
		log_event(r->cfg.log, LOG_RELAY, LOG_INFO, "suspect answers", "engine=%llu",
			  (unsigned long long)id);
	forget(r, s);
}

bool rsuspect_is(const struct relay *r, engine_id id)
{
	const struct suspect *s = find(r, id);

	return s && s->reported;
}

void rsuspect_members_changed(struct relay *r)
{
	LIST_FOREACH_SAFE(it, tmp, &r->suspects) {
		struct suspect *s = CONTAINER_OF(it, struct suspect, all);

		if (!relay_member_find(r, s->id))
			forget(r, s);
	}
}

/* Callbacks may change the list of suspects: find the next one that is due by its id, each time. */
static struct suspect *next_due(struct relay *r, engine_id after,
				bool (*due)(const struct suspect *, uint64_t), uint64_t now)
{
	struct suspect *best = NULL;

	LIST_FOREACH(it, &r->suspects) {
		struct suspect *s = CONTAINER_OF(it, struct suspect, all);

		if (s->id > after && due(s, now) && (!best || s->id < best->id))
			best = s;
	}
	return best;
}

static bool is_unheard(const struct suspect *s, uint64_t now)
{
	(void)now;
	return s->reported && s->unheard;
}

static bool is_due(const struct suspect *s, uint64_t now)
{
	return !s->probe && now >= s->next_probe_us;
}

void rsuspect_path_found(struct relay *r)
{
	engine_id at = 0;
	struct suspect *s;

	while ((s = next_due(r, at, is_unheard, 0))) {
		at = s->id;
		s->unheard = false;
		s->reported_us = relay_now(r);
		r->stats.suspects++;
		r->cfg.events->suspect(r->cfg.ctx, s->id, s->cause);
	}
}

void rsuspect_tick(struct relay *r, uint64_t now)
{
	engine_id at = 0;
	struct suspect *s;

	while ((s = next_due(r, at, is_due, now))) {
		at = s->id;
		probe(r, s);
	}
}

/* A dying process may still accept, so a probe that breaks is repeated soon. */
static void probe_broke(struct relay *r, engine_id id)
{
	struct suspect *s = find(r, id);

	if (!s)
		return;
	s->broken++;
	if (s->broken <= PROBE_AT_ONCE)
		probe(r, s);
	else if (s->broken <= PROBE_SOON)
		s->next_probe_us = 0; /* at the next tick */
}

void rsuspect_probe_done(struct relay *r, struct rlink *l, enum rloss why, const char *cause)
{
	engine_id id = l->expect;
	struct suspect *s = find(r, id);

	rlink_close(l);
	if (why == RLOSS_CLOSED) { /* refused to talk to us: alive */
		rsuspect_clear(r, id);
	} else if (why == RLOSS_BROKEN) {
		probe_broke(r, id);
	} else {
		if (s)
			s->broken = 0;
		rsuspect_report(r, id, cause);
	}
}

/*
 * Another engine answers. One without an id may be a joiner whose join record it has not applied
 * itself yet; it is a new process for sure when another nonce was seen under the id, or when it
 * stays nameless.
 */
static bool is_replaced(struct relay *r, struct suspect *s, const struct rlink *l)
{
	const struct member *m = relay_member_find(r, s->id);
	uint64_t now = relay_now(r);

	if (l->engine || (m && m->nonce && m->nonce != l->nonce))
		return true;
	if (!s->nameless_us)
		s->nameless_us = now;
	return now - s->nameless_us >= NAMELESS_US;
}

void rsuspect_probe_answered(struct relay *r, struct rlink *l)
{
	engine_id id = l->expect, now = l->engine;
	struct suspect *s = find(r, id);
	char cause[64];
	bool replaced;

	if (!s || now == id) {
		rlink_bye(l, RELAY_BYE_MOVED);
		rsuspect_clear(r, id);
		return;
	}
	s->broken = 0;
	replaced = is_replaced(r, s, l);
	rlink_bye(l, RELAY_BYE_MOVED);
	if (!replaced)
		return;
	if (now)
		snprintf(cause, sizeof cause, "started again as engine %llu",
			 (unsigned long long)now);
	else
		snprintf(cause, sizeof cause, "started again");
	rsuspect_report(r, id, cause);
}

void rsuspect_fini(struct relay *r)
{
	while (!list_empty(&r->suspects)) {
		struct suspect *s = CONTAINER_OF(r->suspects.next, struct suspect, all);

		s->probe = NULL; /* closed with all links */
		forget(r, s);
	}
}
