/*
 * ofi_gate.c - the secret is proved before an endpoint exists (net/ofi).
 *
 * libfabric trusts a connected peer: with provider tcp of 1.17.0 one header of 16 bytes, an
 * acknowledgement of nothing or a tagged message, ends the process. So no stranger gets that far. The
 * proof travels in the private data of the connection requests, which the library hands over before
 * anything is connected (at most 56 bytes, for verbs):
 *
 *   dialler   request { KNOCK, nonce }            ->
 *                                                 <-  reject { COOKIE, cookie }       acceptor
 *             request { ENTER, nonce, proof }     ->
 *                                                 <-  accept { proof }
 *
 * The acceptor keeps nothing between the two requests: the cookie is a code, under a key of this
 * process, of the nonce and the time, and is good for COOKIE_US to twice that. A proof is a code under
 * the cluster's secret of a label, the nonce and the cookie. Whose engine it is, version and cluster
 * are the relay's to ask, on the link; so a proof that is repeated while its cookie is good, and is not
 * among the last USED, gets in here and is refused there.
 */
#include <string.h>

#include "net/ofi/ofi_int.h"

#define COOKIE_US 4000000u
#define LABEL_BYTES 16

enum { KNOCK = 1, COOKIE, ENTER, REFUSED, BUSY };
enum { NO_ENGINE, WRONG, WANTED, UNWANTED, REASONS };

static const char *const reasons[REASONS] = {
	[NO_ENGINE] = "not a Valence engine",
	[WRONG] = "wrong secret",
	[WANTED] = "a secret is wanted here, and the dialler has none",
	[UNWANTED] = "no secret is used here, and the dialler has one",
};

/* code of label | nonce | more, under the key */
static bool code(const void *key, size_t key_bytes, const char *label, const uint8_t *nonce, const void *more,
		 size_t bytes, uint8_t out[MAC_BYTES])
{
	uint8_t text[LABEL_BYTES + OFI_NONCE_BYTES + OFI_NONCE_BYTES] = {0};

	memcpy(text, label, strlen(label));
	memcpy(text + LABEL_BYTES, nonce, OFI_NONCE_BYTES);
	memcpy(text + LABEL_BYTES + OFI_NONCE_BYTES, more, bytes);
	return mac_make(key, key_bytes, text, sizeof text, out) == ST_OK;
}

static bool cookie_of(const struct ofi_net *n, const uint8_t *nonce, uint64_t epoch, uint8_t out[MAC_BYTES])
{
	return code(n->gate.key, sizeof n->gate.key, "valence cookie", nonce, &epoch, sizeof epoch, out);
}

static bool proof_of(const struct ofi_net *n, const char *label, const uint8_t *nonce, const uint8_t *cookie,
		     uint8_t out[MAC_BYTES])
{
	return code(n->cfg.secret, n->cfg.secret_bytes, label, nonce, cookie, OFI_NONCE_BYTES, out);
}

/* -- the dialler ------------------------------------------------------------------------------ */

size_t ofi_gate_knock(struct ofi_link *l, uint8_t out[OFI_GATE_MAX])
{
	const struct ofi_net *n = l->net;

	if (!n->cfg.secret)
		return 0;
	l->gated = true;
	entropy_fill(&n->cfg.entropy, l->nonce, sizeof l->nonce);
	out[0] = KNOCK;
	memcpy(out + 1, l->nonce, sizeof l->nonce);
	return 1 + sizeof l->nonce;
}

size_t ofi_gate_answer(struct ofi_link *l, const uint8_t *data, size_t bytes, uint8_t out[OFI_GATE_MAX],
		       enum status *why_out)
{
	*why_out = ST_CONNECTION;
	/* verbs hands over all the room there is, here and below, whatever was sent */
	if (bytes >= 2 && data[0] == REFUSED && data[1] < REASONS) {
		l->link.refused = reasons[data[1]];
		*why_out = ST_AUTH;
	}
	if (bytes < 1 + OFI_NONCE_BYTES || data[0] != COOKIE || !l->gated || l->entered)
		return 0;
	l->entered = true;
	out[0] = ENTER;
	memcpy(out + 1, l->nonce, sizeof l->nonce);
	if (!proof_of(l->net, "valence enter", l->nonce, data + 1, out + 1 + sizeof l->nonce) ||
	    !proof_of(l->net, "valence opened", l->nonce, data + 1, l->opened))
		return 0;
	return 1 + sizeof l->nonce + MAC_BYTES;
}

bool ofi_gate_passed(struct ofi_link *l, const uint8_t *data, size_t bytes)
{
	if (!l->gated)
		return true;
	if (l->entered && bytes >= MAC_BYTES && mac_equal(data, l->opened)) {
		l->gated = false;
		return true;
	}
	l->link.refused = "whoever answers there does not know the cluster's secret";
	return false;
}

/* -- the acceptor ----------------------------------------------------------------------------- */

static bool used_before(struct ofi_net *n, const uint8_t *nonce)
{
	uint64_t begin;

	memcpy(&begin, nonce, sizeof begin);
	for (uint32_t i = 0; i < OFI_GATE_USED; i++)
		if (n->gate.used[i] == begin)
			return true;
	n->gate.used[n->gate.used_at++ % OFI_GATE_USED] = begin;
	return false;
}

static bool enter_ok(struct ofi_net *n, const uint8_t *nonce, const uint8_t *proof, uint8_t opened[MAC_BYTES])
{
	uint64_t epoch = clock_now_us(&n->cfg.clock) / COOKIE_US;
	uint8_t cookie[MAC_BYTES], want[MAC_BYTES];

	for (uint64_t back = 0; back < 2; back++)
		if (cookie_of(n, nonce, epoch - back, cookie) && proof_of(n, "valence enter", nonce, cookie, want) &&
		    mac_equal(proof, want))
			return !used_before(n, nonce) && proof_of(n, "valence opened", nonce, cookie, opened);
	return false;
}

size_t ofi_gate_busy(uint8_t out[OFI_GATE_MAX])
{
	out[0] = BUSY;
	return 1;
}

static enum ofi_gate turn_away(struct ofi_net *n, const char *peer, uint8_t reason, uint8_t out[OFI_GATE_MAX],
			       size_t *out_bytes)
{
	out[0] = REFUSED;
	out[1] = reason;
	*out_bytes = 2;
	if (n->cfg.events->turned_away)
		n->cfg.events->turned_away(n->cfg.ctx, peer, reason == NO_ENGINE ? ST_PROTOCOL : ST_AUTH,
					   reasons[reason]);
	return OFI_GATE_SHUT;
}

enum ofi_gate ofi_gate_judge(struct ofi_net *n, const char *peer, const uint8_t *data, size_t bytes,
			     uint8_t out[OFI_GATE_MAX], size_t *out_bytes)
{
	uint8_t full[MAC_BYTES];
	bool knock = bytes >= 1 + OFI_NONCE_BYTES && data[0] == KNOCK;
	bool enter = bytes >= 1 + OFI_NONCE_BYTES + MAC_BYTES && data[0] == ENTER;

	*out_bytes = 0;
	if (!n->cfg.secret)
		return knock || enter ? turn_away(n, peer, UNWANTED, out, out_bytes) : OFI_GATE_OPEN;
	if (knock) {
		if (!cookie_of(n, data + 1, clock_now_us(&n->cfg.clock) / COOKIE_US, full)) {
			*out_bytes = ofi_gate_busy(out);
			return OFI_GATE_SHUT;
		}
		out[0] = COOKIE;
		memcpy(out + 1, full, OFI_NONCE_BYTES);
		*out_bytes = 1 + OFI_NONCE_BYTES;
		return OFI_GATE_SHUT;
	}
	if (!enter)
		return turn_away(n, peer, bytes == 0 || data[0] == 0 ? WANTED : NO_ENGINE, out, out_bytes);
	if (!enter_ok(n, data + 1, data + 1 + OFI_NONCE_BYTES, full))
		return turn_away(n, peer, WRONG, out, out_bytes);
	memcpy(out, full, MAC_BYTES);
	*out_bytes = MAC_BYTES;
	return OFI_GATE_OPEN;
}
