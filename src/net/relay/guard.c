/*
 * guard.c - strangers: who has dialled this engine and has not proved to belong here (net/relay).
 *
 * A stranger costs a descriptor, receive buffers and a greeting, so there are at most
 * RELAY_STRANGERS_MAX, each for a limited time. When one more comes the oldest goes, of the same host
 * if that has a quarter of the places: a flood shortens the time that a greeting may take, but an
 * engine that greets at once gets in. A host whose greetings fail too often (more than a burst of
 * FAILURES_BURST and FAILURES_PER_S) is not even listened to until its allowance is there again; a
 * host that a member, a voter or this engine itself is at is never treated so.
 *
 * Whoever is refused gets one line in the log, but at most LINES_SHOWN of a kind in a window; what is
 * left out is counted, and told when the window ends.
 */
#include <stdio.h>
#include <string.h>

#include "net/relay/relay_int.h"

#define WINDOW_US 10000000u
#define LINES_SHOWN 3
#define FAILURES_PER_S 50
#define FAILURES_BURST 200

static const char *const kind_names[GUARD_KINDS] = {
	[GUARD_GARBAGE] = "not an engine", [GUARD_VERSION] = "another version", [GUARD_LOG_ID] = "another cluster",
	[GUARD_SECRET] = "secret",	   [GUARD_REPLAY] = "replay",		[GUARD_SLOW] = "too slow",
	[GUARD_CROWD] = "too many",	   [GUARD_RATE] = "too often",		[GUARD_MULTICAST] = "multicast",
	[GUARD_BY_PEER] = "by a peer",
};

/* -- the log ---------------------------------------------------------------------------------- */

static void window_end(struct relay *r, enum guard_kind kind)
{
	uint64_t hidden = r->guard.lines[kind].hidden;

	r->guard.lines[kind].hidden = 0;
	r->guard.lines[kind].since_us = 0;
	r->guard.lines[kind].shown = 0;
	if (hidden)
		log_event(r->cfg.log, LOG_RELAY, LOG_WARN, "refusals not shown",
			  "kind=%s count=%llu seconds=%u last_peer=%s", kind_names[kind], (unsigned long long)hidden,
			  WINDOW_US / 1000000, r->guard.lines[kind].peer);
}

void rguard_log(struct relay *r, enum guard_kind kind, const char *event, const char *peer, uint64_t engine,
		const char *name, const char *reason)
{
	uint64_t now = relay_now(r);

	if (r->guard.lines[kind].since_us && now - r->guard.lines[kind].since_us >= WINDOW_US)
		window_end(r, kind);
	if (!r->guard.lines[kind].since_us)
		r->guard.lines[kind].since_us = now;
	if (r->guard.lines[kind].shown < LINES_SHOWN) {
		r->guard.lines[kind].shown++;
		log_event(r->cfg.log, LOG_RELAY, LOG_WARN, event, "peer=%s engine=%llu name=%s reason=%s", peer,
			  (unsigned long long)engine, name, reason);
		return;
	}
	r->guard.lines[kind].hidden++;
	snprintf(r->guard.lines[kind].peer, sizeof r->guard.lines[kind].peer, "%s", peer);
}

void rguard_tick(struct relay *r, uint64_t now)
{
	for (int k = 0; k < GUARD_KINDS; k++)
		if (r->guard.lines[k].since_us && now - r->guard.lines[k].since_us >= WINDOW_US)
			window_end(r, k);
}

/* -- hosts ------------------------------------------------------------------------------------ */

static size_t host_bytes(const char *address)
{
	const char *colon = strrchr(address, ':');

	return colon ? (size_t)(colon - address) : strlen(address);
}

static uint64_t host_of(const char *address)
{
	return hash_bytes(address, host_bytes(address)) | 1;
}

static bool same_host(const char *a, const char *b)
{
	return host_bytes(a) == host_bytes(b) && memcmp(a, b, host_bytes(a)) == 0;
}

static bool is_ours(const struct relay *r, const char *address)
{
	if (same_host(address, r->address))
		return true;
	for (uint32_t i = 0; i < r->voter_count; i++)
		if (same_host(address, r->voters[i].address))
			return true;
	for (uint32_t i = 0; i < r->slot_count; i++)
		if (same_host(address, r->slots[i].address))
			return true;
	for (uint32_t i = 0; i < r->member_count; i++)
		if (same_host(address, r->members[i].address))
			return true;
	return false;
}

static void host_failed(struct relay *r, const char *address)
{
	uint64_t host = host_of(address), now = relay_now(r), until = now;
	uint32_t at = 0;

	for (uint32_t i = 0; i < GUARD_HOSTS; i++) {
		if (r->guard.hosts[i].host == host) {
			at = i;
			break;
		}
		if (r->guard.hosts[i].until_us < r->guard.hosts[at].until_us)
			at = i;
	}
	if (r->guard.hosts[at].host == host && r->guard.hosts[at].until_us > now)
		until = r->guard.hosts[at].until_us;
	r->guard.hosts[at].host = host;
	r->guard.hosts[at].until_us = until + 1000000 / FAILURES_PER_S;
}

static bool host_is_held_off(const struct relay *r, const char *address)
{
	uint64_t host = host_of(address), limit = relay_now(r) + UINT64_C(1000000) * FAILURES_BURST / FAILURES_PER_S;

	for (uint32_t i = 0; i < GUARD_HOSTS; i++)
		if (r->guard.hosts[i].host == host)
			return r->guard.hosts[i].until_us > limit && !is_ours(r, address);
	return false;
}

/* -- strangers -------------------------------------------------------------------------------- */

void rguard_add(struct rlink *l)
{
	l->stranger = true;
	l->r->guard.strangers++;
}

void rguard_release(struct rlink *l)
{
	if (l->stranger)
		l->r->guard.strangers--;
	l->stranger = false;
}

void rguard_failed(struct rlink *l, enum guard_kind kind, const char *reason)
{
	const struct relay_hello *m = l->greeting ? &l->greeting->hello : NULL;

	host_failed(l->r, l->net ? l->net->peer : l->address);
	rguard_log(l->r, kind, "link refused", l->net ? l->net->peer : l->address, m ? m->engine : l->engine,
		   m ? m->name : "", reason);
}

/* The transport did not let it in. */
void rguard_turned_away(void *ctx, const char *peer, enum status why, const char *reason)
{
	struct relay *r = ctx;

	r->stats.refused++;
	host_failed(r, peer);
	rguard_log(r, why == ST_AUTH ? GUARD_SECRET : GUARD_GARBAGE, "link refused", peer, 0, "", reason);
}

static void make_room(struct relay *r, const char *newcomer)
{
	struct rlink *oldest = NULL, *of_host = NULL;
	uint32_t count = 0;

	LIST_FOREACH(it, &r->links) {
		struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		if (!l->stranger)
			continue;
		if (!oldest || l->opened_us < oldest->opened_us)
			oldest = l;
		if (!l->net || !same_host(l->net->peer, newcomer))
			continue;
		count++;
		if (!of_host || l->opened_us < of_host->opened_us)
			of_host = l;
	}
	if (count >= RELAY_STRANGERS_MAX / 4)
		oldest = of_host;
	if (!oldest)
		return;
	r->stats.strangers_closed++;
	if (oldest->state == RLINK_GREETING)
		rguard_failed(oldest, GUARD_CROWD, "too many that have not greeted: the oldest is closed");
	rlink_close(oldest);
}

bool rguard_admit(struct relay *r, const struct net_link *net)
{
	if (host_is_held_off(r, net->peer)) {
		r->stats.strangers_closed++;
		rguard_log(r, GUARD_RATE, "link refused", net->peer, 0, "",
			   "greetings from this host fail too often: it is not listened to for a while");
		return false;
	}
	if (r->guard.strangers >= RELAY_STRANGERS_MAX)
		make_room(r, net->peer);
	return true;
}

/* A greeting that was proved is not taken again; what only looks like one is refused by its proof anyway. */
bool rguard_seen(struct relay *r, const uint8_t *challenge, bool add)
{
	uint64_t begin;

	memcpy(&begin, challenge, sizeof begin);
	for (uint32_t i = 0; i < GUARD_SEEN; i++)
		if (r->guard.seen[i] == begin)
			return true;
	if (add)
		r->guard.seen[r->guard.seen_at++ % GUARD_SEEN] = begin;
	return false;
}
