/*
 * link.c - the links of a relay, from dial or accept to their end (net/relay).
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "net/relay/relay_int.h"

/* -- life ------------------------------------------------------------------------------------- */

static struct rlink *rlink_new(struct relay *r, struct net_link *net)
{
	struct rlink *l = MEM_NEW(r->cfg.mem, struct rlink);

	l->r = r;
	l->net = net;
	net->user = l;
	l->accepted = net->accepted;
	l->serial = ++r->serials;
	l->opened_us = l->rx_us = l->tx_us = relay_now(r);
	snprintf(l->address, sizeof l->address, "%s", net->peer);
	memset(&l->interest, 0xff, sizeof l->interest);
	map_init(&l->below, r->cfg.mem);
	list_push_back(&r->links, &l->all);
	r->link_count++;
	return l;
}

struct rlink *rlink_dial(struct relay *r, enum relay_role role, const char *address,
			 engine_id expect, uint64_t limit_us)
{
	struct net_link *net;
	struct error err;

	if (r->cfg.net_ops->connect(r->net, address, &net, &err) != ST_OK) {
		log_event(r->cfg.log, LOG_RELAY, LOG_WARN, "bad address",
			  "engine=%llu address=%s error=%s", (unsigned long long)expect, address,
			  err.message);
		return NULL;
	}
	struct rlink *l = rlink_new(r, net);

	net->rx_message_max = RELAY_GREETING_MAX;
	l->role = role;
	l->state = RLINK_DIALLING;
	l->expect = expect;
	l->deadline_us = l->opened_us + limit_us;
	return l;
}

/* Takes the link out of everything that points to it. */
static void unlink_all(struct rlink *l)
{
	struct relay *r = l->r;

	rguard_release(l);
	rgreeting_free(l);
	l->state = RLINK_DEAD;
	rroute_link_gone(l);
	rdirect_unlink(l);
	r->interest_changed = true;
	if (r->parent == l)
		r->parent = NULL;
	if (r->trying == l)
		r->trying = NULL;
	if (r->join.link == l)
		r->join.link = NULL;
	for (uint32_t i = 0; i < r->slot_count; i++) {
		if (r->slots[i].link == l)
			r->slots[i].link = NULL;
		if (r->slots[i].dial == l)
			r->slots[i].dial = NULL;
	}
	LIST_FOREACH(it, &r->suspects) {
		struct suspect *s = CONTAINER_OF(it, struct suspect, all);

		if (s->probe == l)
			s->probe = NULL;
	}
	list_remove(&l->all);
	list_push_back(&r->dead, &l->all);
	r->link_count--;
}

void rlink_close(struct rlink *l)
{
	struct net_link *net = l->net;

	if (l->state == RLINK_DEAD)
		return;
	unlink_all(l);
	l->net = NULL;
	if (net)
		net->ops->close_link(net);
}

void relay_reap(struct relay *r)
{
	while (!list_empty(&r->dead)) {
		struct rlink *l = CONTAINER_OF(r->dead.next, struct rlink, all);

		list_remove(&l->all);
		map_fini(&l->below);
		MEM_FREE(r->cfg.mem, l);
	}
}

/* -- sending ---------------------------------------------------------------------------------- */

void rlink_send(struct rlink *l, struct net_msg *m)
{
	struct relay *r = l->r;

	if (!l->net) {
		net_msg_unref(m);
		return;
	}
	r->stats.messages_out++;
	r->stats.bytes_out += m->bytes;
	l->tx_us = relay_now(r);
	net_send(l->net, m);
}

struct net_msg *relay_msg_scratch(struct relay *r)
{
	struct net_msg *m = net_msg_new(r->cfg.mem, (uint32_t)r->scratch.size);

	memcpy(m->data, r->scratch.data, r->scratch.size);
	return m;
}

void rlink_send_scratch(struct rlink *l)
{
	rlink_send(l, relay_msg_scratch(l->r));
}

void rlink_send_plain(struct rlink *l, enum relay_type type, bool accepted, const void *data,
		      size_t bytes)
{
	struct relay_plain_head head = {.type = (uint8_t)type, .accepted = accepted};
	struct net_msg *m;

	if (bytes > RELAY_PAYLOAD_MAX) {
		log_event(l->r->cfg.log, LOG_RELAY, LOG_ERROR, "message too large",
			  "type=%d bytes=%zu", type, bytes);
		return;
	}
	m = net_msg_new(l->r->cfg.mem, (uint32_t)(sizeof head + bytes));
	memcpy(m->data, &head, sizeof head);
	if (bytes)
		memcpy(m->data + sizeof head, data, bytes);
	rlink_send(l, m);
}

/*
 * A closing link lives until the peer closed it, so that the last message gets there, or for a
 * second.
 */
static void begin_closing(struct rlink *l)
{
	struct relay *r = l->r;
	struct net_link *net = l->net;
	bool stranger = l->stranger;

	/* Out of all pointers, then back into the list of links as nobody's. */
	unlink_all(l);
	l->net = net;
	l->state = RLINK_CLOSING;
	list_remove(&l->all);
	list_push_back(&r->links, &l->all);
	r->link_count++;
	if (stranger)
		rguard_add(l); /* until it is gone: one that is refused costs as much as one that is not yet */
	l->deadline_us = relay_now(r) + RELAY_SUSPECT_REPEAT_US;
}

void rlink_bye(struct rlink *l, enum relay_farewell reason)
{
	struct relay_bye bye = {.reason = (uint8_t)reason};

	if (l->state == RLINK_DEAD || l->state == RLINK_CLOSING)
		return;
	if (l->state != RLINK_READY) {
		rlink_close(l);
		return;
	}
	buf_reset(&l->r->scratch);
	relay_bye_encode(&l->r->scratch, &bye);
	rlink_send_scratch(l);
	begin_closing(l);
}

void rlink_refuse(struct rlink *l, enum relay_refusal reason, const char *text)
{
	struct relay *r = l->r;
	struct relay_refuse m = {.reason = (uint8_t)reason};

	snprintf(m.text, sizeof m.text, "%s", text ? text : relay_refusal_text((uint8_t)reason));
	r->stats.refused++;
	if (reason == RELAY_REFUSE_VERSION)
		rguard_failed(l, GUARD_VERSION, m.text);
	else if (reason == RELAY_REFUSE_LOG_ID)
		rguard_failed(l, GUARD_LOG_ID, m.text);
	else if (reason == RELAY_REFUSE_SECRET)
		rguard_failed(l, GUARD_SECRET, m.text);
	else if (reason == RELAY_REFUSE_REPLAY)
		rguard_failed(l, GUARD_REPLAY, m.text);
	else
		log_event(r->cfg.log, LOG_RELAY, reason == RELAY_REFUSE_NOT_MEMBER ? LOG_WARN : LOG_DEBUG,
			  "link refused", "peer=%s engine=%llu reason=%s", l->address,
			  (unsigned long long)l->engine, m.text);
	buf_reset(&r->scratch);
	relay_refuse_encode(&r->scratch, &m);
	rlink_send_scratch(l);
	begin_closing(l);
}

void rlink_tell_not_member(struct rlink *l)
{
	struct relay_not_member m = {.engine = l->engine};

	buf_reset(&l->r->scratch);
	relay_not_member_encode(&l->r->scratch, &m);
	rlink_send_scratch(l);
}

void rlink_ident(struct rlink *l)
{
	struct relay *r = l->r;
	struct relay_ident m = {r->self, relay_voter_id(r), ++r->attaches};

	if (l->state != RLINK_READY)
		return;
	buf_reset(&r->scratch);
	relay_ident_encode(&r->scratch, &m);
	rlink_send_scratch(l);
}

void rlink_bad(struct rlink *l, const char *what)
{
	struct relay *r = l->r;

	if (l->state == RLINK_DEAD)
		return;
	r->stats.protocol_errors++;
	if (l->stranger) {
		rguard_failed(l, GUARD_GARBAGE, what);
		rlink_close(l);
		return;
	}
	log_event(r->cfg.log, LOG_RELAY, LOG_WARN, "bad message", "peer=%s engine=%llu what=%s",
		  l->address, (unsigned long long)l->engine, what);
	if (l->state == RLINK_READY || !l->accepted) {
		/*
		 * To the owner it is a link that broke; but the peer that sent it lives, so nobody
		 * is suspect.
		 */
		relay_link_lost(r, l, RLOSS_CLOSED, what);
		return;
	}
	rlink_close(l);
}

/* -- losing ----------------------------------------------------------------------------------- */

/* A child went without a word: alive elsewhere, or dead? */
static void child_lost(struct relay *r, engine_id id, enum rloss why, const char *cause)
{
	if (!id || why == RLOSS_CLOSED)
		return;
	LIST_FOREACH(it, &r->links) {
		const struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		if (rlink_is_child(l) && l->engine == id)
			return; /* it has a newer link */
	}
	if (why == RLOSS_SILENT)
		rsuspect_report(r, id, cause);
	else
		rsuspect_check(r, id);
}

void relay_link_lost(struct relay *r, struct rlink *l, enum rloss why, const char *cause)
{
	bool was_parent = r->parent == l, was_trying = r->trying == l, was_join = r->join.link == l;
	bool was_ready = l->state == RLINK_READY;
	enum rlink_state was = l->state;
	engine_id id = l->engine ? l->engine : l->expect;

	if (was == RLINK_DEAD)
		return;
	if (was_ready)
		log_event(r->cfg.log, LOG_RELAY, LOG_INFO, "link lost",
			  "peer=%s engine=%llu role=%d cause=%s", l->address,
			  (unsigned long long)id, l->role, cause);
	if (was == RLINK_CLOSING || (l->accepted && !was_ready)) {
		rlink_close(l);
		return;
	}
	if (l->role == RELAY_ROLE_VOTER) {
		rvoters_lost(r, l, why, cause);
		return;
	}
	if (!l->accepted && l->role == RELAY_ROLE_PROBE) {
		rsuspect_probe_done(r, l, why, cause);
		return;
	}
	if (l->role == RELAY_ROLE_DIRECT) {
		rdirect_lost(l, why);
		return;
	}
	rlink_close(l);
	if (was_parent) {
		/*
		 * Broken: ask who is there, and try it first ourselves. Silent: that is the answer.
		 */
		if (why == RLOSS_SILENT)
			rsuspect_report(r, id, cause);
		else if (why != RLOSS_CLOSED)
			rsuspect_check(r, id);
		rparent_lost(r, l, why == RLOSS_BROKEN);
	} else if (was_trying) {
		if (why == RLOSS_REFUSED)
			rsuspect_report(r, id, cause);
		rparent_try_failed(r);
	} else if (was_join) {
		rjoin_failed(r, cause);
	} else if (l->accepted && l->role == RELAY_ROLE_CHILD) {
		child_lost(r, id, why, cause);
	}
}

/* -- the transport's events ------------------------------------------------------------------- */

static void on_accepted(void *ctx, struct net_link *net)
{
	struct relay *r = ctx;

	if (!rguard_admit(r, net)) {
		net->ops->close_link(net);
		return;
	}
	struct rlink *l = rlink_new(r, net);

	net->rx_message_max = RELAY_GREETING_MAX;
	l->state = RLINK_GREETING;
	l->deadline_us = l->opened_us + 2 * r->cfg.heartbeat_limit_us;
	rguard_add(l);
}

static void on_up(void *ctx, struct net_link *net)
{
	struct rlink *l = net->user;

	(void)ctx;
	if (l->state == RLINK_DIALLING)
		relay_greet(l);
}

static void on_down(void *ctx, struct net_link *net, enum status why)
{
	struct relay *r = ctx;
	struct rlink *l = net->user;

	if (!l)
		return;
	l->net = NULL;
	if (why == ST_CONNECTION_REFUSED)
		relay_link_lost(r, l, RLOSS_REFUSED, "connection refused");
	else if (why == ST_AUTH)
		relay_on_turned_away(l, net->refused);
	else if (why == ST_WAIT)
		relay_link_lost(r, l, RLOSS_TIMEOUT, "dial timed out");
	else
		relay_link_lost(r, l, RLOSS_BROKEN, "connection lost");
}

static void on_drained(void *ctx, struct net_link *net)
{
	struct rlink *l = net->user;

	(void)ctx;
	if (l && rlink_takes_log(l))
		relay_log_pump(l);
}

static void on_bye(struct rlink *l, struct reader *rd)
{
	struct relay *r = l->r;
	struct relay_bye m;
	bool was_parent = r->parent == l;

	if (!relay_bye_decode(rd, &m)) {
		rlink_bad(l, "bye");
		return;
	}
	if (l->role == RELAY_ROLE_VOTER) {
		rvoters_lost(r, l, RLOSS_CLOSED, "closed by the peer");
		return;
	}
	if (r->join.link == l) {
		rlink_close(l);
		rjoin_failed(r, "closed by the contact");
		return;
	}
	rlink_close(l);
	if (was_parent)
		rparent_lost(r, l, false);
}

static void on_not_member(struct rlink *l, struct reader *rd)
{
	struct relay *r = l->r;
	struct relay_not_member m;

	if (!rlink_trusted(l) || !relay_not_member_decode(rd, &m)) {
		rlink_bad(l, "not member");
		return;
	}
	if (m.engine && m.engine == r->self && r->cfg.events->not_member)
		r->cfg.events->not_member(r->cfg.ctx);
}

static void dispatch_ready(struct rlink *l, uint8_t type, struct reader *rd, const uint8_t *data,
			   size_t bytes)
{
	switch (type) {
	case RELAY_BYE:
		on_bye(l, rd);
		break;
	case RELAY_HEARTBEAT:
		rscore_on_heartbeat(l, rd);
		break;
	case RELAY_BELOW:
		relay_on_below(l, rd);
		break;
	case RELAY_LOG_FROM:
		relay_on_log_from(l, rd);
		break;
	case RELAY_WANTS:
		relay_on_wants(l, rd);
		break;
	case RELAY_LOG:
		relay_on_log(l, data, bytes);
		break;
	case RELAY_LOG_GONE:
		relay_on_log_gone(l, rd);
		break;
	case RELAY_UNICAST:
		relay_on_unicast(l, data, bytes);
		break;
	case RELAY_VOTER:
		relay_on_voter(l, data, bytes);
		break;
	case RELAY_JOIN_REQUEST:
		relay_on_join_request(l, data, bytes);
		break;
	case RELAY_JOIN_REPLY:
		relay_on_join_reply(l, data, bytes);
		break;
	case RELAY_IDENT:
		relay_on_ident(l, rd);
		break;
	case RELAY_NOT_MEMBER:
		on_not_member(l, rd);
		break;
	default:
		rlink_bad(l, "unknown type of message");
	}
}

static void dispatch_greeting(struct rlink *l, uint8_t type, struct reader *rd, const uint8_t *data, size_t bytes)
{
	if (bytes > RELAY_GREETING_MAX)
		rlink_bad(l, "too long before the greeting");
	else if (type == RELAY_PROOF)
		relay_on_proof(l, rd);
	else if (l->accepted && type == RELAY_HELLO)
		relay_on_hello(l, data, bytes);
	else if (!l->accepted && type == RELAY_CHALLENGE)
		relay_on_challenge(l, data, bytes);
	else if (!l->accepted && type == RELAY_WELCOME)
		relay_on_welcome(l, rd);
	else if (!l->accepted && type == RELAY_REFUSE)
		relay_on_refuse(l, rd);
	else if (!l->accepted && type == RELAY_NOT_MEMBER)
		on_not_member(l, rd);
	else
		rlink_bad(l, "message before the greeting");
}

static void on_message(void *ctx, struct net_link *net, const void *data, size_t bytes)
{
	struct relay *r = ctx;
	struct rlink *l = net->user;
	struct reader rd = reader_init(data, bytes);
	uint8_t type = get_u8(&rd);

	/* What was on its way when a direct link was given up is as good as before. */
	if (l && l->state == RLINK_CLOSING && l->used_us && type == RELAY_UNICAST && relay_member_find(r, l->engine)) {
		relay_on_unicast(l, data, bytes);
		return;
	}
	if (!l || l->state == RLINK_DEAD || l->state == RLINK_CLOSING) {
		/* A closing link only waits for its end; the peer's farewell is as good. */
		if (l && l->state == RLINK_CLOSING && (type == RELAY_BYE || type == RELAY_REFUSE))
			rlink_close(l);
		return;
	}
	r->stats.messages_in++;
	r->stats.bytes_in += bytes;
	l->rx_us = relay_now(r);
	if (bytes == 0)
		rlink_bad(l, "empty message");
	else if (l->state == RLINK_READY)
		dispatch_ready(l, type, &rd, data, bytes);
	else
		dispatch_greeting(l, type, &rd, data, bytes);
}

const struct net_events relay_net_events = {
	.accepted = on_accepted,
	.up = on_up,
	.message = on_message,
	.down = on_down,
	.drained = on_drained,
	.turned_away = rguard_turned_away,
	.read = relay_on_read,
};

/* -- heartbeats and limits -------------------------------------------------------------------- */

/* One link's limits; it may be gone afterwards. */
static void link_limits(struct relay *r, struct rlink *l, uint64_t now)
{
	char cause[64];

	if (l->state != RLINK_READY) {
		if (now < l->deadline_us)
			return;
		if (l->stranger && l->state == RLINK_GREETING)
			rguard_failed(l, GUARD_SLOW, "did not greet in time");
		relay_link_lost(r, l, RLOSS_TIMEOUT,
				l->state == RLINK_DIALLING ? "dial timed out"
							   : "no answer to the greeting");
		return;
	}
	if (l->net->rx_bytes != l->rx_bytes_seen) { /* pieces of a long message */
		l->rx_bytes_seen = l->net->rx_bytes;
		l->rx_us = now;
	}
	if (now - l->rx_us > r->stats.silence_max_us)
		r->stats.silence_max_us = now - l->rx_us;
	if (now - l->rx_us <= r->cfg.heartbeat_limit_us)
		return;
	snprintf(cause, sizeof cause, "no heartbeat for %llu ms",
		 (unsigned long long)(now - l->rx_us) / 1000);
	relay_link_lost(r, l, RLOSS_SILENT, cause);
}

void relay_links_tick(struct relay *r, uint64_t now)
{
	/* Callbacks may close any link, but none is freed before the turn ends. */
	r->turn.count = 0;
	LIST_FOREACH(it, &r->links)
		VEC_PUSH(r->cfg.mem, &r->turn, CONTAINER_OF(it, struct rlink, all));
	for (size_t i = 0; i < r->turn.count; i++) {
		struct rlink *l = r->turn.at[i];

		if (l->state == RLINK_READY)
			rscore_beat(l, now);
		if (l->state != RLINK_DEAD)
			link_limits(r, l, now);
	}
}
