/*
 * prove.c - both sides of a new link prove that they know the cluster's secret (net/relay).
 *
 * See relay_wire.h for the messages and what a proof covers. Why so: the dialler proves first, so an
 * acceptor shows nothing that depends on the secret to who does not know it; the label says whose
 * proof it is, so one that is sent back is not the one that is expected; both challenges are fresh,
 * so one that was recorded fits no other handshake. A proof says who is there when a link begins; it
 * protects nothing that follows (doc/operations.md).
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "net/relay/relay_int.h"

_Static_assert(sizeof RELAY_LABEL_DIALLER == RELAY_LABEL_BYTES, "with its NUL");
_Static_assert(sizeof RELAY_LABEL_ACCEPTOR - 1 == RELAY_LABEL_BYTES, "without it");

void rgreeting_free(struct rlink *l)
{
	if (!l->greeting)
		return;
	mac_forget(l->greeting->theirs, sizeof l->greeting->theirs);
	MEM_FREE(l->r->cfg.mem, l->greeting);
	l->greeting = NULL;
}

void rprove_begin(struct rlink *l, struct relay_hello *m)
{
	struct relay *r = l->r;

	if (!r->secret)
		return;
	m->proves = 1;
	entropy_fill(&r->cfg.entropy, m->challenge, sizeof m->challenge);
	l->greeting = MEM_NEW(r->cfg.mem, struct rgreeting);
	l->greeting->hello = *m;
}

void rprove_said(struct rlink *l, const uint8_t *data, size_t bytes)
{
	if (!l->greeting)
		return;
	ASSERT_OP(bytes, <=, sizeof l->greeting->said);
	memcpy(l->greeting->said, data, bytes);
	l->greeting->said_bytes = (uint32_t)bytes;
}

static enum status proof_of(struct relay *r, const char *label, const struct rgreeting *g, const uint8_t *challenge,
			    size_t bytes, uint8_t out[MAC_BYTES])
{
	struct buf b;
	enum status st;

	buf_init(&b, r->cfg.mem);
	buf_put(&b, label, RELAY_LABEL_BYTES);
	put_u32(&b, g->said_bytes);
	buf_put(&b, g->said, g->said_bytes);
	put_u32(&b, (uint32_t)bytes);
	buf_put(&b, challenge, bytes);
	st = mac_make(r->secret, r->secret_bytes, b.data, b.size, out);
	buf_fini(&b);
	return st;
}

/* What both sides will say. False: the library failed; the link is closed. */
static bool make_proofs(struct rlink *l, const uint8_t *challenge, size_t bytes)
{
	struct rgreeting *g = l->greeting;
	bool dialler = !l->accepted;

	if (proof_of(l->r, RELAY_LABEL_DIALLER, g, challenge, bytes, dialler ? g->own : g->theirs) == ST_OK &&
	    proof_of(l->r, RELAY_LABEL_ACCEPTOR, g, challenge, bytes, dialler ? g->theirs : g->own) == ST_OK)
		return true;
	rlink_bad(l, "the proof cannot be computed here");
	return false;
}

static void send_proof(struct rlink *l)
{
	struct relay *r = l->r;
	struct relay_proof m;

	memcpy(m.mac, l->greeting->own, sizeof m.mac);
	buf_reset(&r->scratch);
	relay_proof_encode(&r->scratch, &m);
	rlink_send_scratch(l);
}

/* Accepted: the hello is kept in l->greeting. */
void rprove_challenge(struct rlink *l)
{
	struct relay *r = l->r;
	struct relay_challenge m = {
		.version = RELAY_VERSION,
		.log_id = r->log_id,
		.engine = r->self,
		.voter = relay_voter_id(r),
		.nonce = r->nonce,
	};

	entropy_fill(&r->cfg.entropy, m.challenge, sizeof m.challenge);
	snprintf(m.address, sizeof m.address, "%s", r->address);
	snprintf(m.name, sizeof m.name, "%s", r->cfg.name);
	buf_reset(&r->scratch);
	relay_challenge_encode(&r->scratch, &m);
	if (!make_proofs(l, r->scratch.data, r->scratch.size))
		return;
	l->challenged = true;
	rlink_send_scratch(l);
}

/* Dialled: the peer names itself, and wants to see that we know the secret. */
void relay_on_challenge(struct rlink *l, const uint8_t *data, size_t bytes)
{
	struct relay *r = l->r;
	struct reader rd = reader_init(data + 1, bytes - 1);
	struct relay_challenge m;

	if (!l->greeting || l->challenged || !relay_challenge_decode(&rd, &m) || m.version != RELAY_VERSION) {
		rlink_bad(l, "challenge");
		return;
	}
	if (m.nonce == r->nonce || memcmp(m.challenge, l->greeting->hello.challenge, sizeof m.challenge) == 0) {
		rlink_bad(l, "challenge: our own, sent back");
		return;
	}
	/* A probe asks who is there now, whatever its cluster: the welcome tells. */
	if (l->role != RELAY_ROLE_PROBE && relay_log_differs(r, m.log_id)) {
		rguard_log(r, GUARD_BY_PEER, "another log", l->address, l->expect, m.name,
			   "the peer is of another cluster: look at --join and --data");
		relay_link_lost(r, l, RLOSS_CLOSED, "another cluster's log");
		return;
	}
	if (!make_proofs(l, data, bytes))
		return;
	l->challenged = true;
	send_proof(l);
}

/* Accepted: the dialler's. */
static void on_dialler_proof(struct rlink *l, const struct relay_proof *m)
{
	struct rgreeting *g = l->greeting;

	if (!mac_equal(m->mac, g->theirs)) {
		rlink_refuse(l, RELAY_REFUSE_SECRET,
			     mac_equal(m->mac, g->own) ? "the proof is our own, sent back"
						       : "wrong secret (the proof does not fit this greeting)");
		return;
	}
	l->proved = true;
	rguard_seen(l->r, g->hello.challenge, true);
	send_proof(l);
	relay_greet_proved(l);
}

void relay_on_proof(struct rlink *l, struct reader *rd)
{
	struct relay *r = l->r;
	struct relay_proof m;

	if (!relay_proof_decode(rd, &m) || !l->greeting || !l->challenged || l->proved) {
		rlink_bad(l, "proof");
		return;
	}
	if (l->accepted) {
		on_dialler_proof(l, &m);
		return;
	}
	if (!mac_equal(m.mac, l->greeting->theirs)) {
		rguard_log(r, GUARD_SECRET, "peer without the secret", l->address, l->expect, "",
			   "its proof is wrong: it does not know the cluster's secret");
		relay_link_lost(r, l, RLOSS_CLOSED, "the peer does not know the cluster's secret");
		return;
	}
	l->proved = true;
}
