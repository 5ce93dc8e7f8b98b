/*
 * mcast.c - the log by datagrams to everybody at once, with the tree as repair (net/relay).
 *
 * Sending. The leader sends each batch that it gives to its children to the group, too, in pieces, and behind it a few
 * beacons, which name the last index only: so a batch that is lost as the last one is missed as soon as one in between.
 *
 * Receiving. Pieces are put together and a batch is handed to the engine when it is the one that is wanted next; those
 * ahead of a gap wait for it, in bounded memory. An engine that has had MC_TRUST batches in a row by datagrams
 * alone asks its parent to stop streaming. From then on it asks for what is missing: for [wanted, last heard of] after
 * MC_GAP_US. When too much is missing, or no datagram comes at all, the stream is taken up again.
 *
 * Nothing is believed that does not bear the code of who knows the cluster's secret. What is repeated does no harm:
 * what a log has at an index never changes, and log_id, index and all else are under the code.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/cover.h"
#include "net/relay/relay_int.h"

#define MC_MAGIC 0x636d6c76u /* "vlmc" */
#define MC_VERSION 1
#define MC_LABEL "valence multicast"
#define MC_CODE_BYTES 16
#define MC_BODY (MCAST_DATAGRAM_MAX - sizeof(struct mc_head))
#define MC_PIECES_MAX 192      /* a longer batch goes over the tree only, a quarter of a MiB */
#define MC_BATCHES 128         /* incomplete, or ahead of a gap */
#define MC_BYTES_MAX (4u << 20)
#define MC_GAP_US 1000u        /* datagrams overtake each other; then it is missing */
#define MC_ASK_AGAIN_US 50000u
#define MC_TRUST 16
#define MC_PENALTY 8           /* of one repair, in batches that came by datagrams */
#define MC_PENALTY_MAX 64
#define MC_DISTRUST_US 5000000u
#define MC_BEACON_FIRST_US 500u

enum mc_kind { MC_PIECE = 1, MC_BEACON = 2 };

struct mc_head {
	uint32_t magic;
	uint8_t version, kind;
	uint16_t piece, pieces, zero;
	uint32_t bytes;       /* of the whole batch */
	uint64_t log_id, first, last;
	uint8_t code[MC_CODE_BYTES]; /* of everything, with zeros in this place */
};
_Static_assert(sizeof(struct mc_head) == 56, "on the wire");
_Static_assert(offsetof(struct mc_head, log_id) == 16, "on the wire");

struct mc_batch {
	seq_index first, last;
	uint32_t bytes;
	uint16_t pieces, got;
	uint64_t have[(MC_PIECES_MAX + 63) / 64];
	uint8_t *data;
};

struct rmcast {
	struct relay *r;
	struct mcast *net;
	uint8_t key[MAC_BYTES];
	/* sending */
	bool leading;
	seq_index sent;
	struct timer beacon;
	uint64_t beacon_us;
	/* receiving */
	struct mc_batch batches[MC_BATCHES];
	uint32_t batch_count;
	size_t batch_bytes;
	seq_index heard;        /* the last index heard of */
	seq_index in_row;       /* what would be the next batch by datagrams alone */
	uint32_t row;           /* how many came so */
	bool repairing;         /* the parent does not stream: we ask for what is missing */
	uint32_t penalty;
	uint64_t distrust_until_us, asked_us, log_at_us, datagram_us; /* datagram_us: when the last one came */
	seq_index asked;        /* asked the parent up to here */
	struct timer gap;
};

/* -- codes -------------------------------------------------------------------------------------- */

static bool code_of(const struct rmcast *mc, const uint8_t *datagram, size_t bytes, uint8_t out[MAC_BYTES])
{
	uint8_t copy[MCAST_DATAGRAM_MAX];

	memcpy(copy, datagram, bytes);
	memset(copy + offsetof(struct mc_head, code), 0, MC_CODE_BYTES);
	if (!mc->r->secret) {
		memset(out, 0, MAC_BYTES);
		return true;
	}
	return mac_make(mc->key, sizeof mc->key, copy, bytes, out) == ST_OK;
}

static void send(struct rmcast *mc, struct mc_head *h, const uint8_t *body, size_t body_bytes)
{
	uint8_t datagram[MCAST_DATAGRAM_MAX], code[MAC_BYTES];
	size_t bytes = sizeof *h + body_bytes;

	ASSERT_OP(bytes, <=, sizeof datagram);
	h->magic = MC_MAGIC;
	h->version = MC_VERSION;
	h->log_id = mc->r->log_id;
	memcpy(datagram, h, sizeof *h);
	if (body_bytes)
		memcpy(datagram + sizeof *h, body, body_bytes);
	if (!code_of(mc, datagram, bytes, code))
		return;
	memcpy(datagram + offsetof(struct mc_head, code), code, MC_CODE_BYTES);
	if (mc->net->ops->send(mc->net, datagram, bytes))
		mc->r->stats.mcast_out++;
}

/* The code in @a, of which only the beginning is sent, is that of @b. */
static bool code_equal(const uint8_t *a, const uint8_t b[MAC_BYTES])
{
	uint8_t whole[MAC_BYTES];

	memcpy(whole, b, sizeof whole);
	memcpy(whole, a, MC_CODE_BYTES);
	return mac_equal(whole, b);
}

/* -- sending -------------------------------------------------------------------------------------- */

static bool leads(const struct relay *r)
{
	return r->self && r->log_id && relay_is_voter(r) && r->leader == r->self;
}

static void send_batch(struct rmcast *mc, const uint8_t *data, size_t bytes, seq_index first, seq_index last)
{
	uint32_t pieces = (uint32_t)((bytes + MC_BODY - 1) / MC_BODY);

	if (pieces > MC_PIECES_MAX)
		return;
	for (uint32_t i = 0; i < pieces; i++) {
		struct mc_head h = {.kind = MC_PIECE, .piece = (uint16_t)i, .pieces = (uint16_t)pieces,
				    .bytes = (uint32_t)bytes, .first = first, .last = last};
		size_t at = i * MC_BODY;

		send(mc, &h, data + at, bytes - at < MC_BODY ? bytes - at : MC_BODY);
	}
}

static void beacon_fire(struct timer *t, void *ctx)
{
	struct rmcast *mc = ctx;
	struct relay *r = mc->r;
	struct mc_head h = {.kind = MC_BEACON, .last = mc->sent};

	if (!leads(r)) {
		mc->leading = false;
		return;
	}
	send(mc, &h, NULL, 0);
	mc->beacon_us *= 2;
	if (mc->beacon_us > r->cfg.heartbeat_us)
		mc->beacon_us = r->cfg.heartbeat_us;
	timer_arm(r->cfg.timers, t, relay_now(r) + mc->beacon_us);
}

void rmcast_advanced(struct relay *r, seq_index last)
{
	struct rmcast *mc = r->mcast;
	struct relay_interest everything;

	if (!mc || !leads(r))
		return;
	memset(&everything, 0xff, sizeof everything); /* one for all */
	if (!mc->leading) {
		mc->leading = true;
		mc->sent = last; /* who leads now does not repeat what the last one sent, or did not */
	}
	if (mc->sent >= last && timer_armed(&mc->beacon))
		return;
	while (mc->sent < last) {
		seq_index first, to;
		size_t bytes;
		const void *data = r->cfg.events->log_get(r->cfg.ctx, mc->sent + 1, &everything, &bytes, &first, &to);

		if (!data)
			break;
		send_batch(mc, data, bytes, first, to);
		mc->sent = to;
	}
	mc->beacon_us = MC_BEACON_FIRST_US;
	timer_arm(r->cfg.timers, &mc->beacon, relay_now(r) + mc->beacon_us);
}

/* -- gaps ----------------------------------------------------------------------------------------- */

static void ask(struct rmcast *mc, seq_index until)
{
	struct relay *r = mc->r;

	mc->asked = until;
	mc->asked_us = relay_now(r);
	relay_log_ask(r->parent, until);
}

static void stream_again(struct rmcast *mc)
{
	struct relay *r = mc->r;

	COVER(MCAST_GIVEN_UP);
	log_event(r->cfg.log, LOG_RELAY, LOG_INFO, "multicast loses too much", "effect=\"log over the tree for %u s\"",
		  MC_DISTRUST_US / 1000000);
	mc->repairing = false;
	mc->row = 0;
	mc->penalty = 0;
	mc->distrust_until_us = relay_now(r) + MC_DISTRUST_US;
	ask(mc, UINT64_MAX);
}

static void gap_look(struct rmcast *mc)
{
	struct relay *r = mc->r;
	seq_index want = r->cfg.events->log_want(r->cfg.ctx);
	uint64_t due = relay_now(r) + MC_GAP_US;

	if (!mc->repairing || want > mc->heard)
		return;
	/* the timer may wait for the answer to an earlier question */
	if (!timer_armed(&mc->gap) || (want > mc->asked && mc->gap.due_us > due))
		timer_arm(r->cfg.timers, &mc->gap, due);
}

static void gap_fire(struct timer *t, void *ctx)
{
	struct rmcast *mc = ctx;
	struct relay *r = mc->r;
	seq_index want = r->cfg.events->log_want(r->cfg.ctx);
	uint64_t now = relay_now(r);

	if (!mc->repairing || !r->parent || want > mc->heard)
		return;
	/* asked already, or it came after all since the timer was set: another moment for what is missing now */
	if ((want <= mc->asked && now - mc->asked_us < MC_ASK_AGAIN_US) || now - mc->log_at_us < MC_GAP_US) {
		timer_arm(r->cfg.timers, t, now + MC_GAP_US);
		return;
	}
	COVER(MCAST_REPAIRED);
	r->stats.mcast_repairs++;
	mc->penalty += MC_PENALTY;
	if (mc->penalty > MC_PENALTY_MAX) {
		stream_again(mc);
		return;
	}
	ask(mc, mc->heard);
	timer_arm(r->cfg.timers, t, now + MC_ASK_AGAIN_US);
}

/* -- receiving ------------------------------------------------------------------------------------ */

static void batch_free(struct rmcast *mc, struct mc_batch *b)
{
	mc->batch_bytes -= b->bytes;
	mem_free(mc->r->cfg.mem, b->data, b->bytes);
	*b = mc->batches[--mc->batch_count];
}

static struct mc_batch *batch_find(struct rmcast *mc, seq_index first)
{
	for (uint32_t i = 0; i < mc->batch_count; i++)
		if (mc->batches[i].first == first)
			return &mc->batches[i];
	return NULL;
}

/* What the tree brought since its first piece came. */
static void drop_stale(struct rmcast *mc)
{
	seq_index want = mc->r->cfg.events->log_want(mc->r->cfg.ctx);

	for (uint32_t i = 0; i < mc->batch_count;) {
		if (mc->batches[i].last < want)
			batch_free(mc, &mc->batches[i]);
		else
			i++;
	}
}

/* Room for one more, if need be by giving up what is farthest ahead. NULL: that is this one itself. */
static struct mc_batch *batch_new(struct rmcast *mc, const struct mc_head *h)
{
	struct mc_batch *b;

	if (mc->batch_count == MC_BATCHES || mc->batch_bytes + h->bytes > MC_BYTES_MAX)
		drop_stale(mc);
	while (mc->batch_count == MC_BATCHES || mc->batch_bytes + h->bytes > MC_BYTES_MAX) {
		struct mc_batch *far = &mc->batches[0];

		for (uint32_t i = 1; i < mc->batch_count; i++)
			if (mc->batches[i].first > far->first)
				far = &mc->batches[i];
		if (far->first <= h->first)
			return NULL;
		batch_free(mc, far);
	}
	b = &mc->batches[mc->batch_count++];
	*b = (struct mc_batch){.first = h->first, .last = h->last, .bytes = h->bytes, .pieces = h->pieces};
	b->data = mem_alloc(mc->r->cfg.mem, h->bytes);
	mc->batch_bytes += h->bytes;
	return b;
}

/* Those that are not wanted any more go, those that are wanted now are handed over. */
static void deliver(struct rmcast *mc)
{
	struct relay *r = mc->r;

	for (uint32_t i = 0; i < mc->batch_count;) {
		struct mc_batch *b = &mc->batches[i];
		seq_index want = r->cfg.events->log_want(r->cfg.ctx);

		if (b->got == b->pieces && b->first <= want && want <= b->last) {
			struct mc_batch one = *b;

			/* out of the list first: the engine may come back here */
			*b = mc->batches[--mc->batch_count];
			mc->batch_bytes -= one.bytes;
			mc->log_at_us = relay_now(r);
			r->stats.mcast_batches++;
			r->cfg.events->log_batch(r->cfg.ctx, one.data, one.bytes);
			mem_free(r->cfg.mem, one.data, one.bytes);
			i = 0;
		} else if (b->last < want && (b->got == b->pieces || mc->repairing)) {
			batch_free(mc, b);
		} else {
			i++;
		}
	}
}

/* A batch came whole by datagrams alone. */
static void count_row(struct rmcast *mc, const struct mc_batch *b)
{
	struct relay *r = mc->r;

	mc->row = b->first == mc->in_row ? mc->row + 1 : 0;
	mc->in_row = b->last + 1;
	if (mc->penalty)
		mc->penalty--;
	if (!mc->repairing && mc->row >= MC_TRUST && r->parent && relay_now(r) >= mc->distrust_until_us) {
		COVER(MCAST_TRUSTED);
		mc->repairing = true;
		mc->penalty = 0;
		ask(mc, 0);
	}
}

static void on_piece(struct rmcast *mc, const struct mc_head *h, const uint8_t *body, size_t bytes)
{
	struct relay *r = mc->r;
	struct mc_batch *b = batch_find(mc, h->first);
	/* While the tree streams too, what it brought first is counted all the same. */
	seq_index from = mc->repairing ? r->cfg.events->log_want(r->cfg.ctx) : mc->in_row;

	if (h->last < from)
		return;
	if (b && (b->last != h->last || b->bytes != h->bytes)) { /* half of a batch that a lost leader had not committed */
		batch_free(mc, b);
		b = NULL;
	}
	if (!b)
		b = batch_new(mc, h);
	if (!b || b->have[h->piece / 64] & UINT64_C(1) << h->piece % 64)
		return;
	b->have[h->piece / 64] |= UINT64_C(1) << h->piece % 64;
	b->got++;
	memcpy(b->data + h->piece * MC_BODY, body, bytes);
	if (b->got < b->pieces)
		return;
	count_row(mc, b);
	deliver(mc);
}

static bool piece_ok(const struct mc_head *h, size_t body_bytes)
{
	size_t at = h->piece * MC_BODY, left;

	if (!h->first || h->last < h->first || h->last == UINT64_MAX || h->bytes == 0 || h->pieces == 0 ||
	    h->pieces > MC_PIECES_MAX || h->pieces != (h->bytes + MC_BODY - 1) / MC_BODY || h->piece >= h->pieces)
		return false;
	left = h->bytes - at;
	return body_bytes == (left < MC_BODY ? left : MC_BODY);
}

static void on_datagram(void *ctx, const void *data, size_t bytes)
{
	struct rmcast *mc = ctx;
	struct relay *r = mc->r;
	struct mc_head h;
	uint8_t code[MAC_BYTES];

	if (relay_is_voter(r) || !r->self || !r->log_id)
		return; /* has the log from consensus, or is no member yet */
	r->stats.mcast_in++;
	memset(&h, 0, sizeof h);
	if (bytes >= sizeof h)
		memcpy(&h, data, sizeof h);
	if (h.magic != MC_MAGIC || h.version != MC_VERSION || !code_of(mc, data, bytes, code) || !code_equal(h.code, code) ||
	    (h.kind != MC_BEACON && (h.kind != MC_PIECE || !piece_ok(&h, bytes - sizeof h)))) {
		r->stats.mcast_bad++;
		rguard_log(r, GUARD_MULTICAST, "multicast refused", r->cfg.multicast, 0, "", "not of this cluster");
		return;
	}
	if (h.log_id != r->log_id)
		return; /* of this cluster before an accepted loss */
	mc->datagram_us = relay_now(r);
	if (h.last > mc->heard)
		mc->heard = h.last;
	if (h.kind == MC_PIECE)
		on_piece(mc, &h, (const uint8_t *)data + sizeof h, bytes - sizeof h);
	gap_look(mc);
}

/* -- what the rest of the relay tells ------------------------------------------------------------- */

void rmcast_heard(struct relay *r, seq_index last)
{
	struct rmcast *mc = r->mcast;

	if (!mc)
		return;
	if (last > mc->heard)
		mc->heard = last;
	/* the leader sends a beacon at least as often as heartbeats */
	if (mc->repairing && r->parent && relay_now(r) - mc->datagram_us > r->cfg.heartbeat_us * 5 / 2)
		stream_again(mc);
	else
		gap_look(mc);
}

void rmcast_tree_brought(struct relay *r)
{
	struct rmcast *mc = r->mcast;

	if (!mc)
		return;
	mc->log_at_us = relay_now(r);
	deliver(mc);
	gap_look(mc);
}

void rmcast_streaming(struct relay *r)
{
	struct rmcast *mc = r->mcast;

	if (!mc)
		return;
	mc->repairing = false;
	mc->row = 0;
	mc->in_row = 0;
}

/* -- life ------------------------------------------------------------------------------------------ */

int rmcast_progress(struct relay *r)
{
	return r->mcast ? r->mcast->net->ops->progress(r->mcast->net) : 0;
}

int relay_mcast_fd(struct relay *r)
{
	return r->mcast ? r->mcast->net->ops->wait_fd(r->mcast->net) : -1;
}

enum status rmcast_open(struct relay *r, struct error *err)
{
	const struct mcast_config cfg = {
		.mem = r->cfg.mem,
		.log = r->cfg.log,
		.group = r->cfg.multicast,
		.local = r->address,
		.backend = r->cfg.net_backend,
		.datagram = on_datagram,
	};
	struct mcast_config own = cfg;
	struct rmcast *mc;
	enum status st;

	if (!r->cfg.multicast)
		return ST_OK;
	mc = MEM_NEW(r->cfg.mem, struct rmcast);
	mc->r = r;
	own.ctx = mc;
	timer_init(&mc->beacon, beacon_fire, mc);
	timer_init(&mc->gap, gap_fire, mc);
	if (r->secret)
		st = mac_make(r->secret, r->secret_bytes, MC_LABEL, sizeof MC_LABEL - 1, mc->key);
	else
		st = ST_OK;
	if (st != ST_OK)
		error_set(err, st, "the secret is of no use for multicast");
	else
		st = r->cfg.mcast_ops->open(&own, &mc->net, err);
	if (st != ST_OK) {
		MEM_FREE(r->cfg.mem, mc);
		return st;
	}
	r->mcast = mc;
	return ST_OK;
}

void rmcast_close(struct relay *r)
{
	struct rmcast *mc = r->mcast;

	if (!mc)
		return;
	timer_cancel(r->cfg.timers, &mc->beacon);
	timer_cancel(r->cfg.timers, &mc->gap);
	while (mc->batch_count)
		batch_free(mc, &mc->batches[0]);
	mc->net->ops->close(mc->net);
	mac_forget(mc->key, sizeof mc->key);
	MEM_FREE(r->cfg.mem, mc);
	r->mcast = NULL;
}
