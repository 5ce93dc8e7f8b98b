/*
 * join.c - becoming a member: contacts, the request and its answer (net/relay).
 */
#include <stdio.h>
#include <string.h>

#include "net/relay/relay_int.h"

#define PAUSE_US 500000u   /* after a round without success */
#define REFUSED_US 1000000u /* after a contact that said no */

static void clear(struct relay *r)
{
	struct join_state *j = &r->join;

	mem_free(r->cfg.mem, j->contacts, j->contact_count * sizeof j->contacts[0]);
	mem_free(r->cfg.mem, j->request, j->request_bytes);
	j->contacts = NULL;
	j->request = NULL;
	j->contact_count = j->at = j->tried = j->refused = 0;
	j->request_bytes = 0;
	j->active = j->accepted = false;
}

void rjoin_fini(struct relay *r)
{
	clear(r);
}

void relay_join(struct relay *r, const char *const *contacts, uint32_t contact_count,
		const void *request, size_t bytes)
{
	struct join_state *j = &r->join;

	j->calls++;
	if (j->link)
		rlink_bye(j->link, RELAY_BYE_MOVED);
	clear(r);
	if (!contact_count)
		return;
	j->contacts = mem_alloc(r->cfg.mem, contact_count * sizeof j->contacts[0]);
	j->contact_count = contact_count;
	for (uint32_t i = 0; i < contact_count; i++)
		snprintf(j->contacts[i], sizeof j->contacts[i], "%s", contacts[i]);
	j->request = mem_alloc(r->cfg.mem, bytes ? bytes : 1);
	j->request_bytes = bytes ? bytes : 1;
	if (bytes)
		memcpy(j->request, request, bytes);
	j->request_bytes = bytes;
	j->next_us = 0;
	j->active = true;
	rjoin_tick(r, relay_now(r));
}

/* On to the next contact; after a whole round in vain, tell and pause. */
static void next_contact(struct relay *r, const char *cause)
{
	struct join_state *j = &r->join;
	bool all_refuse;

	snprintf(j->cause, sizeof j->cause, "%s: %s", j->contacts[j->at], cause);
	j->at = (j->at + 1) % j->contact_count;
	j->accepted = false;
	if (++j->tried < j->contact_count) {
		rjoin_tick(r, relay_now(r));
		return;
	}
	all_refuse = j->refused == j->contact_count;
	j->tried = j->refused = 0;
	j->next_us = relay_now(r) + PAUSE_US / 2 + rng_below(&r->rng, PAUSE_US);
	if (all_refuse && r->cfg.events->join_refused)
		r->cfg.events->join_refused(r->cfg.ctx, j->cause, j->advice);
	else
		r->cfg.events->join_waiting(r->cfg.ctx, j->cause);
}

void rjoin_refused(struct relay *r, const struct rlink *l, const char *cause, const char *advice)
{
	char text[NET_ADDRESS_MAX + RELAY_TEXT_MAX + 2];

	if (r->join.link == l) {
		r->join.refused++;
		r->join.advice = advice;
	} else if (l->role == RELAY_ROLE_VOTER && !r->self) {
		/* A restarted archive has its voters instead of contacts. */
		snprintf(text, sizeof text, "%s: %s", l->address, cause);
		r->cfg.events->join_waiting(r->cfg.ctx, text);
	}
}

void rjoin_failed(struct relay *r, const char *cause)
{
	if (r->join.active && !r->join.link)
		next_contact(r, cause);
}

void rjoin_tick(struct relay *r, uint64_t now)
{
	struct join_state *j = &r->join;

	while (j->active && !j->link && now >= j->next_us) {
		r->stats.redials++;
		j->link = rlink_dial(r, RELAY_ROLE_JOIN, j->contacts[j->at], 0,
				     r->cfg.heartbeat_limit_us);
		if (!j->link)
			next_contact(r, "bad address");
	}
}

void rjoin_welcomed(struct relay *r, struct rlink *l)
{
	if (r->join.link != l || !r->join.active) {
		rlink_bye(l, RELAY_BYE_MOVED);
		return;
	}
	l->join_asked = true;
	rlink_send_plain(l, RELAY_JOIN_REQUEST, false, r->join.request, r->join.request_bytes);
}

void relay_on_join_request(struct rlink *l, const uint8_t *data, size_t bytes)
{
	struct relay *r = l->r;
	struct relay_peer_ref from = {l->serial};

	if (!l->accepted || l->role != RELAY_ROLE_JOIN || l->join_asked ||
	    bytes < sizeof(struct relay_plain_head)) {
		rlink_bad(l, "join request");
		return;
	}
	l->join_asked = true;
	r->cfg.events->join_request(r->cfg.ctx, from, data + sizeof(struct relay_plain_head),
				    bytes - sizeof(struct relay_plain_head));
}

void relay_join_reply(struct relay *r, struct relay_peer_ref to, bool accepted, const void *data,
		      size_t bytes)
{
	LIST_FOREACH(it, &r->links) {
		struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		if (l->serial != to.id)
			continue;
		if (!l->accepted || l->role != RELAY_ROLE_JOIN || l->state != RLINK_READY ||
		    !l->join_asked || l->join_accepted)
			return;
		l->join_accepted = accepted;
		rlink_send_plain(l, RELAY_JOIN_REPLY, accepted, data, bytes);
		return; /* one that was not accepted closes the link itself, when it has read why */
	}
}

void relay_on_join_reply(struct rlink *l, const uint8_t *data, size_t bytes)
{
	struct relay *r = l->r;
	struct join_state *j = &r->join;
	struct relay_plain_head h;
	uint64_t calls = j->calls;

	if (j->link != l || !l->join_asked || l->join_accepted || bytes < sizeof h) {
		rlink_bad(l, "join reply");
		return;
	}
	memcpy(&h, data, sizeof h);
	if (h.accepted) {
		l->join_accepted = j->accepted = true;
		j->tried = 0;
		r->cfg.events->join_reply(r->cfg.ctx, true, data + sizeof h, bytes - sizeof h);
		return;
	}
	rlink_bye(l, RELAY_BYE_MOVED);
	r->cfg.events->join_reply(r->cfg.ctx, false, data + sizeof h, bytes - sizeof h);
	if (j->calls != calls || !j->active)
		return;
	j->next_us = relay_now(r) + REFUSED_US;
	next_contact(r, "not accepted");
}

void relay_join_stream(struct relay *r)
{
	if (r->join.link && r->join.accepted && r->join.link->state == RLINK_READY)
		relay_log_ask(r->join.link, UINT64_MAX);
}

/* The contact has a lower id than the newest member, or is a voter: it is a parent for now. */
void rjoin_became_member(struct relay *r)
{
	struct rlink *l = r->join.link;
	bool legal = l && l->state == RLINK_READY && r->join.accepted &&
		     (l->voter || l->engine < r->self);

	r->join.link = NULL;
	r->join.calls++;
	clear(r);
	if (!l)
		return;
	if (relay_is_voter(r) || !legal || !l->log_in || r->parent) {
		r->join.link = NULL;
		rlink_bye(l, RELAY_BYE_MOVED);
		return;
	}
	l->role = RELAY_ROLE_CHILD;
	rlink_ident(l);
	rparent_adopt(r, l);
	r->next_switch_us = 0; /* the contact may be anybody's: look at the default soon */
}
