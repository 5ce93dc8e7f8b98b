/*
 * greet.c - hello and its answers: who is at the other end of a link, and may it be there
 * (net/relay)?
 *
 * With a secret, what a hello claims is only looked at for version, cluster and secret until it is
 * proved (prove.c); nothing that the other side says, but that it refuses, is taken before that.
 */
#include <stdio.h>
#include <string.h>

#include "net/relay/relay_int.h"

void relay_greet(struct rlink *l)
{
	struct relay *r = l->r;
	struct relay_hello m = {
		.magic = RELAY_MAGIC,
		.version = RELAY_VERSION,
		.role = (uint8_t)l->role,
		.log_id = r->log_id,
		.engine = l->role == RELAY_ROLE_JOIN ? 0 : r->self,
		.voter = relay_voter_id(r),
		.nonce = r->nonce,
		.attach = ++r->attaches,
	};

	snprintf(m.address, sizeof m.address, "%s", r->address);
	snprintf(m.name, sizeof m.name, "%s", r->cfg.name);
	rprove_begin(l, &m);
	l->state = RLINK_GREETING;
	buf_reset(&r->scratch);
	relay_hello_encode(&r->scratch, &m);
	rprove_said(l, r->scratch.data, r->scratch.size);
	rlink_send_scratch(l);
}

static void ready(struct rlink *l)
{
	l->state = RLINK_READY;
	l->state_us = l->echoed_us = relay_now(l->r);
	l->net->rx_message_max = 0;
	rguard_release(l);
	rgreeting_free(l);
}

static void welcome(struct rlink *l)
{
	struct relay *r = l->r;
	struct relay_welcome m = {
		.log_id = r->log_id,
		.engine = r->self,
		.voter = relay_voter_id(r),
		.nonce = r->nonce,
		.attach = r->attaches,
		.depth = relay_depth(r),
		.children = relay_children(r, NULL, 0),
		.silence_us = relay_silence_us(r),
		.leader = r->leader,
		.log_last = r->cfg.events->log_last(r->cfg.ctx),
	};

	ready(l);
	buf_reset(&r->scratch);
	relay_welcome_encode(&r->scratch, &m);
	rlink_send_scratch(l);
}

/*
 * Ids are given in the order of joining, so an id that is not above all that were seen has been
 * removed.
 */
static bool removed(const struct relay *r, engine_id id)
{
	return id && id <= r->max_seen && !relay_member_find(r, id);
}

static struct rlink *child_of(struct relay *r, const struct rlink *l)
{
	LIST_FOREACH(it, &r->links) {
		struct rlink *o = CONTAINER_OF(it, struct rlink, all);

		if (o != l && rlink_is_child(o) && o->engine == l->engine)
			return o;
	}
	return NULL;
}

static uint32_t joiners(const struct relay *r)
{
	uint32_t n = 0;

	LIST_FOREACH(it, &r->links) {
		const struct rlink *o = CONTAINER_OF(it, struct rlink, all);

		n += o->accepted && o->state == RLINK_READY && o->role == RELAY_ROLE_JOIN;
	}
	return n;
}

/* 0: it may come in. */
static enum relay_refusal judge(struct relay *r, struct rlink *l)
{
	const struct rlink *old;

	switch (l->role) {
	case RELAY_ROLE_CHILD:
		if (removed(r, l->engine)) {
			rlink_tell_not_member(l);
			return RELAY_REFUSE_NOT_MEMBER;
		}
		if (l->engine > r->max_seen)
			return RELAY_REFUSE_UNKNOWN;
		if (l->voter || (!relay_is_voter(r) && (r->self == 0 || r->self >= l->engine)))
			return RELAY_REFUSE_ILLEGAL;
		old = child_of(r, l);
		if (old && old->nonce == l->nonce && old->attach > l->attach)
			return RELAY_REFUSE_DUPLICATE;
		if (!old && !relay_is_voter(r) && relay_children(r, NULL, 0) >= 4 * r->cfg.fan_out)
			return RELAY_REFUSE_FULL;
		return 0;
	case RELAY_ROLE_VOTER:
		return relay_is_voter(r) ? rvoters_judge(r, l) : RELAY_REFUSE_UNKNOWN;
	case RELAY_ROLE_JOIN:
		if (!r->self && !relay_is_voter(r))
			return RELAY_REFUSE_UNKNOWN;
		return joiners(r) >= RELAY_JOINERS_MAX ? RELAY_REFUSE_FULL : 0;
	case RELAY_ROLE_PROBE:
		return 0;
	case RELAY_ROLE_DIRECT:
		if (removed(r, l->engine)) {
			rlink_tell_not_member(l);
			return RELAY_REFUSE_NOT_MEMBER;
		}
		return rdirect_judge(r, l);
	}
	return RELAY_REFUSE_VERSION;
}

static void admit(struct relay *r, struct rlink *l)
{
	struct rlink *old = l->role == RELAY_ROLE_CHILD ? child_of(r, l) : NULL;

	if (old) /* keep the newest; this loss makes nobody suspect */
		rlink_bye(old, RELAY_BYE_DUPLICATE);
	if (l->role == RELAY_ROLE_VOTER)
		rvoters_make_room(r, l);
	welcome(l);
	relay_member_seen(r, l->engine, l->nonce);
	log_event(r->cfg.log, LOG_RELAY, LOG_DEBUG, "link accepted",
		  "peer=%s engine=%llu voter=%llu role=%d", l->address,
		  (unsigned long long)l->engine, (unsigned long long)l->voter, l->role);
	if (l->role == RELAY_ROLE_CHILD) {
		rroute_claim(l, l->engine, l->attach);
		rsuspect_clear(r, l->engine);
	} else if (l->role == RELAY_ROLE_VOTER) {
		rvoters_accepted(r, l);
	} else if (l->role == RELAY_ROLE_DIRECT) {
		rdirect_accepted(l);
	}
	if (l->role != RELAY_ROLE_CHILD && l->state == RLINK_READY && removed(r, l->engine))
		rlink_tell_not_member(l);
}

bool relay_log_differs(const struct relay *r, uint64_t log_id)
{
	return r->log_id && log_id && r->log_id != log_id;
}

/* What a hello claims is taken as what is so. */
static void take_hello(struct rlink *l, const struct relay_hello *m)
{
	struct relay *r = l->r;
	enum relay_refusal no;

	l->role = m->role;
	l->engine = m->engine;
	l->voter = m->voter;
	l->nonce = m->nonce;
	l->attach = m->attach;
	if (m->address[0])
		snprintf(l->address, sizeof l->address, "%s", m->address);
	no = judge(r, l);
	if (no)
		rlink_refuse(l, no, NULL);
	else
		admit(r, l);
}

void relay_greet_proved(struct rlink *l)
{
	struct relay_hello m = l->greeting->hello;

	take_hello(l, &m);
}

/* Why not even a proof is asked for; 0: nothing speaks against it. */
static enum relay_refusal look_at(struct relay *r, const struct relay_hello *m, char text[RELAY_TEXT_MAX])
{
	text[0] = '\0';
	if (m->nonce == r->nonce)
		return RELAY_REFUSE_SELF;
	if (relay_log_differs(r, m->log_id)) {
		snprintf(text, RELAY_TEXT_MAX, "another cluster: the log here is %016llx, not %016llx",
			 (unsigned long long)r->log_id, (unsigned long long)m->log_id);
		return RELAY_REFUSE_LOG_ID;
	}
	if (m->proves == 1 && !r->secret) {
		snprintf(text, RELAY_TEXT_MAX, "no secret is used here, and the dialler has one");
		return RELAY_REFUSE_SECRET;
	}
	if (!m->proves && r->secret) {
		snprintf(text, RELAY_TEXT_MAX, "a secret is wanted here, and the dialler has none");
		return RELAY_REFUSE_SECRET;
	}
	return m->proves && rguard_seen(r, m->challenge, false) ? RELAY_REFUSE_REPLAY : 0;
}

void relay_on_hello(struct rlink *l, const uint8_t *data, size_t bytes)
{
	struct relay *r = l->r;
	struct reader rd = reader_init(data + 1, bytes - 1), front = rd;
	struct relay_hello m;
	enum relay_refusal no;
	char text[RELAY_TEXT_MAX];

	/* Magic and version have their place in every version; the rest may be another's. */
	uint32_t magic = get_u32(&front);
	uint16_t version = get_u16(&front);

	if (!reader_ok(&front) || magic != RELAY_MAGIC) {
		rlink_bad(l, "hello: not a Valence engine");
		return;
	}
	if (version != RELAY_VERSION) {
		snprintf(text, sizeof text, "protocol version %d here, %d there", RELAY_VERSION,
			 version);
		rlink_refuse(l, RELAY_REFUSE_VERSION, text);
		return;
	}
	if (l->challenged || !relay_hello_decode(&rd, &m) || m.role < RELAY_ROLE_CHILD || m.role > RELAY_ROLE_DIRECT ||
	    ((m.role == RELAY_ROLE_CHILD || m.role == RELAY_ROLE_DIRECT) && !m.engine) || (m.role == RELAY_ROLE_VOTER && !m.voter) ||
	    (m.role == RELAY_ROLE_JOIN && m.engine) || m.engine == ENGINE_LEADER || !m.attach || m.proves > 1) {
		rlink_bad(l, "hello");
		return;
	}
	l->greeting = MEM_NEW(r->cfg.mem, struct rgreeting);
	l->greeting->hello = m;
	rprove_said(l, data, bytes);
	no = look_at(r, &m, text);
	if (no)
		rlink_refuse(l, no, text[0] ? text : NULL);
	else if (r->secret)
		rprove_challenge(l);
	else
		take_hello(l, &m);
}

void relay_on_welcome(struct rlink *l, struct reader *rd)
{
	struct relay *r = l->r;
	struct relay_welcome m;

	if (!rlink_trusted(l)) {
		rlink_bad(l, "welcome without a proof: the peer has no secret");
		return;
	}
	if (!relay_welcome_decode(rd, &m) || m.engine == ENGINE_LEADER) {
		rlink_bad(l, "welcome");
		return;
	}
	if (relay_log_differs(r, m.log_id)) {
		if (l->role == RELAY_ROLE_PROBE)
			m.engine = 0; /* whoever was asked for is gone from there */
		else {
			rguard_log(r, GUARD_BY_PEER, "another log", l->address, l->expect, "",
				   "the peer is of another cluster: look at --join and --data");
			relay_link_lost(r, l, RLOSS_CLOSED, "another cluster's log");
			return;
		}
	}
	ready(l);
	l->rtt_us = l->state_us - l->tx_us; /* what we said last is what this answers */
	l->engine = m.engine;
	l->voter = m.voter;
	l->nonce = m.nonce;
	l->attach = m.attach;
	l->depth = m.depth;
	l->children = m.children;
	l->silence_us = m.silence_us;
	l->leader = m.leader;
	l->log_last = l->newest = m.log_last;
	relay_member_seen(r, l->engine, l->nonce);
	if (m.voter)
		relay_remember_voter(r, m.voter, l->address);
	switch (l->role) {
	case RELAY_ROLE_CHILD:
		rparent_welcomed(r, l);
		break;
	case RELAY_ROLE_VOTER:
		rvoters_welcomed(r, l);
		if (l->state == RLINK_READY && removed(r, l->engine))
			rlink_tell_not_member(l);
		break;
	case RELAY_ROLE_JOIN:
		rjoin_welcomed(r, l);
		break;
	case RELAY_ROLE_PROBE:
		rsuspect_probe_answered(r, l);
		break;
	case RELAY_ROLE_DIRECT:
		rdirect_welcomed(l);
		break;
	}
}

/* Reasons that waiting does not change; an engine of this cluster and version has none of them. */
static bool refuses_for_good(uint8_t reason)
{
	return relay_refusal_advice(reason)[0] != '\0';
}

static void tell_refused(struct rlink *l, const struct relay_refuse *m)
{
	struct relay *r = l->r;
	char text[2 * RELAY_TEXT_MAX];

	if (!refuses_for_good(m->reason)) {
		log_event(r->cfg.log, LOG_RELAY,
			  m->reason <= RELAY_REFUSE_NOT_MEMBER ? LOG_WARN : LOG_DEBUG, "refused by peer",
			  "peer=%s engine=%llu reason=%s", l->address, (unsigned long long)l->expect, m->text);
		return;
	}
	snprintf(text, sizeof text, "%.127s: %s", m->text, relay_refusal_advice(m->reason));
	rguard_log(r, GUARD_BY_PEER, "refused by peer", l->address, l->expect, "", text);
}

static void refused(struct rlink *l, const struct relay_refuse *m)
{
	struct relay *r = l->r;
	char cause[RELAY_TEXT_MAX];

	tell_refused(l, m);
	if (l->role == RELAY_ROLE_PROBE && (m->reason == RELAY_REFUSE_SELF || refuses_for_good(m->reason))) {
		l->engine = 0;
		rsuspect_probe_answered(r, l); /* somebody else is there now */
		return;
	}
	if (l->role == RELAY_ROLE_PROBE)
		l->engine = l->expect;
	snprintf(cause, sizeof cause, "%s", m->text[0] ? m->text : relay_refusal_text(m->reason));
	if (refuses_for_good(m->reason) && l->role != RELAY_ROLE_PROBE)
		rjoin_refused(r, l, cause, relay_refusal_advice(m->reason));
	relay_link_lost(r, l, RLOSS_CLOSED, cause);
}

void relay_on_refuse(struct rlink *l, struct reader *rd)
{
	struct relay_refuse m;

	if (relay_refuse_decode(rd, &m))
		refused(l, &m);
	else
		rlink_bad(l, "refuse");
}

void relay_on_turned_away(struct rlink *l, const char *reason)
{
	struct relay_refuse m = {.reason = RELAY_REFUSE_SECRET};

	snprintf(m.text, sizeof m.text, "%s", reason ? reason : relay_refusal_text(m.reason));
	refused(l, &m);
}

/* An accepted joiner became a member: it is our child under its id from now on. */
static void joiner_identified(struct relay *r, struct rlink *l, const struct relay_ident *m)
{
	if (!l->join_accepted || m->voter ||
	    (!relay_is_voter(r) && (!r->self || r->self >= m->engine))) {
		rlink_bad(l, "ident of a joiner");
		return;
	}
	l->engine = m->engine;
	l->attach = m->attach;
	l->role = RELAY_ROLE_JOIN;
	if (removed(r, m->engine)) {
		rlink_tell_not_member(l);
		rlink_bye(l, RELAY_BYE_REMOVED);
		return;
	}
	l->role = RELAY_ROLE_CHILD;

	struct rlink *old = child_of(r, l);

	if (old)
		rlink_bye(old, RELAY_BYE_DUPLICATE);
	rroute_claim(l, l->engine, l->attach);
	rsuspect_clear(r, l->engine);
}

void relay_on_ident(struct rlink *l, struct reader *rd)
{
	struct relay *r = l->r;
	struct relay_ident m;

	if (!relay_ident_decode(rd, &m) || !m.attach || m.engine == ENGINE_LEADER) {
		rlink_bad(l, "ident");
		return;
	}
	if (l->role == RELAY_ROLE_DIRECT) {
		rlink_bad(l, "ident on a direct link"); /* who is another now closes it */
		return;
	}
	relay_member_seen(r, m.engine, l->nonce);
	if (l->role == RELAY_ROLE_VOTER) {
		l->engine = m.engine;
		rvoters_identified(r, l);
	} else if (l->accepted && l->role == RELAY_ROLE_JOIN && m.engine) {
		joiner_identified(r, l, &m);
	} else if (!l->accepted && l->role != RELAY_ROLE_PROBE) {
		l->engine = m.engine; /* the parent or contact, a voter, joined again */
		l->voter = m.voter;
	} else if (l->role == RELAY_ROLE_CHILD && m.engine != l->engine) {
		rlink_bad(l, "ident of a child");
	}
}
