/*
 * fuzz_relay.c - libFuzzer target: what other relays may send, and when (tests).
 *
 * One relay over the simulated network, and a stranger's transport that dials it and is dialled by
 * it. The first byte says what the relay is: bit 0 a voter, bit 1 not a member yet (it joins at the
 * stranger), else engine 5, whose candidates are the stranger's address; bit 2 it has a secret, which the
 * stranger knows too: it answers a challenge by its proof unless told otherwise (bit 3). Then a list of events,
 * each a byte of kind (mod 10) and one of arguments:
 *   0 dials the relay          1 closes a link                 2 breaks all links
 *   3 time passes: u8 in units of 4 ms
 *   4 a message as it is: u8 bytes, the message
 *   5 a hello that fits: u8 role, u8 engine
 *   6 a welcome that fits: u8 engine, u8 voter
 *   7 a log batch that continues its stream: u8 bytes
 *   8 a long message: u8 type, u8 bytes / 64, zeros
 *   9 a membership: u8 which of engines 1 to 8 are members
 * Nothing may hit an assertion or leak.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/mac.h"
#include "net/relay/relay.h"
#include "net/relay/relay_wire.h"
#include "net/sim/sim_net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINKS_MAX 16

struct world {
	struct mem mem;
	uint64_t now_us;
	struct sim_net *sn;
	struct sim_host *own, *other;
	struct timers timers;
	struct relay *relay;
	struct net *stranger;
	struct net_link *links[LINKS_MAX];
	uint32_t link_count;
	seq_index last;
	uint64_t asked; /* the index that the relay asked for last */
	struct relay_peer_ref joiner;
	bool has_joiner;
	bool secret, honest;
	struct rng nonces;
	uint8_t hello[512]; /* of the newest greeting, either way */
	size_t hello_bytes;
	uint8_t hellos;
};

#define SECRET "both of them know this"

static uint64_t now_of(void *ctx)
{
	return ((struct world *)ctx)->now_us;
}

/* -- the engine ------------------------------------------------------------------------------- */

static void on_message(void *ctx, engine_id from, const void *data, size_t bytes)
{
	struct world *w = ctx;

	if (bytes < 100)
		relay_send(w->relay, from, data, bytes);
}

static void on_batch(void *ctx, const void *data, size_t bytes)
{
	struct world *w = ctx;

	(void)data;
	ASSERT_OP(bytes, <=, NET_MESSAGE_MAX);
	w->last++;
	relay_log_advanced(w->relay);
}

static void on_nothing(void *ctx)
{
	(void)ctx;
}

static void on_voter_message(void *ctx, uint64_t voter, const void *data, size_t bytes)
{
	struct world *w = ctx;

	if (bytes < 100)
		relay_voter_send(w->relay, voter, data, bytes);
}

static void on_suspect(void *ctx, engine_id who, const char *cause)
{
	struct world *w = ctx;

	relay_send(w->relay, ENGINE_LEADER, &who, sizeof who);
	ASSERT(strlen(cause) < 200);
}

static void on_join_request(void *ctx, struct relay_peer_ref from, const void *data, size_t bytes)
{
	struct world *w = ctx;

	w->joiner = from;
	w->has_joiner = true;
	relay_join_reply(w->relay, from, bytes % 2 == 0, data, bytes);
}

static void on_join_reply(void *ctx, bool accepted, const void *data, size_t bytes)
{
	struct world *w = ctx;

	(void)data;
	if (accepted)
		relay_join_stream(w->relay);
	if (accepted && bytes == 1)
		relay_set_self(w->relay, 5, 0);
}

static void on_join_waiting(void *ctx, const char *cause)
{
	(void)ctx;
	ASSERT(strlen(cause) < 400);
}

static const void *on_log_get(void *ctx, seq_index from, const struct relay_interest *interest, size_t *bytes_out,
			      seq_index *first_out, seq_index *last_out)
{
	struct world *w = ctx;

	(void)interest;
	if (from < 3 || from > w->last)
		return NULL;
	*first_out = *last_out = from;
	*bytes_out = 8;
	return "12345678";
}

static seq_index on_log_last(void *ctx)
{
	return ((struct world *)ctx)->last;
}

static seq_index on_log_first(void *ctx)
{
	(void)ctx;
	return 3;
}

static seq_index on_log_want(void *ctx)
{
	return ((struct world *)ctx)->last + 1;
}

static const struct relay_events engine_events = {
	.message = on_message,
	.log_batch = on_batch,
	.log_gone = on_nothing,
	.voter_message = on_voter_message,
	.suspect = on_suspect,
	.join_request = on_join_request,
	.join_reply = on_join_reply,
	.not_member = on_nothing,
	.join_waiting = on_join_waiting,
	.log_get = on_log_get,
	.log_last = on_log_last,
	.log_first = on_log_first,
	.log_want = on_log_want,
};

/* -- the stranger ----------------------------------------------------------------------------- */

static void add_link(struct world *w, struct net_link *link)
{
	if (w->link_count < LINKS_MAX)
		w->links[w->link_count++] = link;
	else
		link->ops->close_link(link);
}

static void on_accepted(void *ctx, struct net_link *link)
{
	add_link(ctx, link);
}

static void on_up(void *ctx, struct net_link *link)
{
	(void)ctx, (void)link;
}

static void prove(struct world *w, struct net_link *link, const char *label, const void *challenge, size_t bytes)
{
	struct net_msg *m = net_msg_new(&w->mem, 1 + MAC_BYTES);
	struct buf b;

	buf_init(&b, &w->mem);
	buf_put(&b, label, RELAY_LABEL_BYTES);
	put_u32(&b, (uint32_t)w->hello_bytes);
	buf_put(&b, w->hello, w->hello_bytes);
	put_u32(&b, (uint32_t)bytes);
	buf_put(&b, challenge, bytes);
	m->data[0] = RELAY_PROOF;
	ASSERT(mac_make(SECRET, sizeof SECRET - 1, b.data, b.size, m->data + 1) == ST_OK);
	buf_fini(&b);
	net_send(link, m);
}

/* Proves itself before it was proved to: the relay does not mind the order of what it cannot check yet. */
static void challenge(struct world *w, struct net_link *link)
{
	struct relay_challenge m = {.version = RELAY_VERSION, .engine = 3, .nonce = 7, .challenge = {1}};
	struct net_msg *msg;
	struct buf b;

	buf_init(&b, &w->mem);
	relay_challenge_encode(&b, &m);
	msg = net_msg_new(&w->mem, (uint32_t)b.size);
	memcpy(msg->data, b.data, b.size);
	net_send(link, msg);
	prove(w, link, RELAY_LABEL_ACCEPTOR, b.data, b.size);
	buf_fini(&b);
}

static void on_their_message(void *ctx, struct net_link *link, const void *data, size_t bytes)
{
	struct world *w = ctx;
	struct reader rd = reader_init(data, bytes);
	struct relay_log_from m;
	uint8_t type = get_u8(&rd);

	if (type == RELAY_LOG_FROM && relay_log_from_decode(&rd, &m))
		w->asked = m.index;
	if (!w->secret || !w->honest)
		return;
	if (type == RELAY_HELLO && bytes <= sizeof w->hello) {
		memcpy(w->hello, data, bytes);
		w->hello_bytes = bytes;
		challenge(w, link);
	} else if (type == RELAY_CHALLENGE) {
		prove(w, link, RELAY_LABEL_DIALLER, data, bytes);
	}
}

static void on_down(void *ctx, struct net_link *link, enum status why)
{
	struct world *w = ctx;

	(void)why;
	for (uint32_t i = 0; i < w->link_count; i++)
		if (w->links[i] == link)
			w->links[i] = w->links[--w->link_count];
}

static const struct net_events stranger_events = {on_accepted, on_up, on_their_message, on_down,
						  on_up, NULL};

static void send_bytes(struct world *w, uint8_t which, const void *data, size_t bytes)
{
	struct net_msg *m;

	if (!w->link_count)
		return;
	m = net_msg_new(&w->mem, (uint32_t)bytes);
	if (data)
		memcpy(m->data, data, bytes);
	net_send(w->links[which % w->link_count], m);
}

static void send_buf(struct world *w, uint8_t which, struct buf *b)
{
	send_bytes(w, which, b->data, b->size);
	buf_fini(b);
}

static void send_hello(struct world *w, uint8_t which, uint8_t role, uint8_t engine)
{
	struct relay_hello m = {
		.magic = RELAY_MAGIC, .version = RELAY_VERSION, .nonce = 1 + engine, .attach = 1};
	struct buf b;

	m.role = 1 + role % 5;
	m.engine = m.role == RELAY_ROLE_JOIN ? 0 : engine % 9;
	m.voter = m.role == RELAY_ROLE_VOTER ? 100 + engine % 4 : 0;
	snprintf(m.address, sizeof m.address, "stranger:%u", engine);
	m.proves = w->secret;
	m.challenge[0] = ++w->hellos;
	buf_init(&b, &w->mem);
	relay_hello_encode(&b, &m);
	memcpy(w->hello, b.data, b.size);
	w->hello_bytes = b.size;
	send_buf(w, which, &b);
}

static void send_welcome(struct world *w, uint8_t which, uint8_t engine, uint8_t voter)
{
	struct relay_welcome m = {.engine = engine % 9,
				  .voter = voter % 4 ? 100 + voter % 4 : 0,
				  .nonce = 7,
				  .silence_us = (uint64_t)voter << 14};
	struct buf b;

	buf_init(&b, &w->mem);
	relay_welcome_encode(&b, &m);
	send_buf(w, which, &b);
}

/* Echoes and indexes that may be true, or from the future, or of nothing that was sent. */
static void send_heartbeat(struct world *w, uint8_t which, uint8_t a, uint8_t b)
{
	struct relay_heartbeat m = {.depth = a % 5,
				    .children = b,
				    .silence_us = (uint64_t)a << 13,
				    .log_last = w->last + a % 4,
				    .newest = a == 255 ? UINT64_MAX : w->last + b % 8,
				    .sent_us = b,
				    .echo_us = w->now_us + 100000 - (uint64_t)b * 4000,
				    .held_us = a == 254 ? UINT64_MAX : (uint64_t)a * 1000};
	struct buf buf;

	buf_init(&buf, &w->mem);
	relay_heartbeat_encode(&buf, &m);
	send_buf(w, which, &buf);
}

static void send_log(struct world *w, uint8_t which, uint8_t bytes)
{
	uint8_t data[sizeof(struct relay_log_head) + 255] = {0};
	struct relay_log_head h = {.type = RELAY_LOG, .first = w->asked, .last = w->asked};

	memcpy(data, &h, sizeof h);
	w->asked++;
	send_bytes(w, which, data, sizeof h + bytes);
}

/* -- the world -------------------------------------------------------------------------------- */

static void run(struct world *w, uint64_t us)
{
	uint64_t until = w->now_us + us;

	for (;;) {
		uint64_t t = sim_net_next_us(w->sn);

		if (timers_next_us(&w->timers) < t)
			t = timers_next_us(&w->timers);
		if (sim_host_ready(w->own) || sim_host_ready(w->other) || !relay_try_wait(w->relay))
			t = w->now_us;
		if (t > until)
			break;
		w->now_us = t > w->now_us ? t : w->now_us;
		sim_net_run(w->sn, w->now_us);
		timers_run(&w->timers, w->now_us);
		relay_progress(w->relay);
		net_ops_sim.progress(w->stranger);
	}
	w->now_us = until;
}

static void set_members(struct world *w, uint8_t which)
{
	struct relay_member m[8];
	uint32_t count = 0;

	memset(m, 0, sizeof m);
	for (uint32_t i = 0; i < 8; i++) {
		if (!(which >> i & 1) && i != 4)
			continue;
		m[count].id = i + 1;
		m[count].voter_id = i < 2 ? 101 + i : 0;
		snprintf(m[count++].address, sizeof m[0].address, "stranger:1");
	}
	relay_set_members(w->relay, m, count, 1);
}

static void world_open(struct world *w, uint8_t kind)
{
	static const uint64_t voters[] = {100, 101, 102};
	static const char addresses[3][NET_ADDRESS_MAX] = {"own:1", "stranger:1", "stranger:1"};
	static const char *const contacts[] = {"stranger:1", "nowhere:1"};
	struct clock k = {w, now_of, now_of};
	char bound[NET_ADDRESS_MAX];
	struct error err;
	struct net_config nc = {.mem = &w->mem, .clock = k, .events = &stranger_events, .ctx = w};
	struct relay_config rc = {
		.mem = &w->mem,
		.clock = k,
		.timers = &w->timers,
		.seed = 1,
		.net_ops = &net_ops_sim,
		.listen = "own:1",
		.events = &engine_events,
		.ctx = w,
	};

	memset(w, 0, sizeof *w);
	mem_init(&w->mem, NULL, "fuzz", 0);
	w->now_us = 1000;
	w->last = 10;
	w->asked = 11;
	w->secret = kind & 4;
	w->honest = !(kind & 8);
	rng_init(&w->nonces, 2);
	if (w->secret) {
		rc.secret = SECRET;
		rc.secret_bytes = sizeof SECRET - 1;
		rc.entropy = entropy_rng(&w->nonces);
	}
	timers_init(&w->timers, &w->mem);
	w->sn = sim_net_new(&w->mem, k, 1);
	rc.net_backend = w->own = sim_host_new(w->sn, "own:1");
	nc.backend = w->other = sim_host_new(w->sn, "stranger:1");
	if (net_ops_sim.open(&nc, &w->stranger, &err) != ST_OK ||
	    net_ops_sim.listen(w->stranger, "stranger:1", bound, &err) != ST_OK ||
	    relay_open(&rc, &w->relay, &err) != ST_OK)
		abort();
	if (!(kind & 2))
		set_members(w, 0xff);
	if (kind & 1)
		relay_set_voters(w->relay, 100, voters, addresses, 3);
	if (kind & 2)
		relay_join(w->relay, contacts, 2, "please", 6);
	else
		relay_set_self(w->relay, 5, kind & 1 ? 100 : 0);
}

static void world_close(struct world *w)
{
	relay_close(w->relay);
	net_ops_sim.close(w->stranger);
	timers_fini(&w->timers);
	sim_net_free(w->sn);
	mem_fini(&w->mem);
}

static void event(struct world *w, struct reader *rd)
{
	uint8_t kind = get_u8(rd), which = get_u8(rd), a = 0, b = 0;
	struct net_link *link;
	struct error err;
	const uint8_t *p;

	switch (kind % 11) {
	case 0:
		if (w->link_count < LINKS_MAX &&
		    net_ops_sim.connect(w->stranger, "own:1", &link, &err) == ST_OK)
			add_link(w, link);
		break;
	case 1:
		if (!w->link_count)
			break;
		link = w->links[which % w->link_count];
		w->links[which % w->link_count] = w->links[w->link_count - 1];
		w->link_count--;
		net_ops_sim.close_link(link);
		break;
	case 2:
		sim_net_break(w->sn, w->own, w->other, which & 1);
		break;
	case 3:
		run(w, (uint64_t)which * 4000);
		break;
	case 4:
		a = get_u8(rd);
		p = get_raw(rd, a < reader_left(rd) ? a : reader_left(rd));
		if (p)
			send_bytes(w, which, p, (size_t)(rd->p - p));
		break;
	case 5:
		a = get_u8(rd);
		b = get_u8(rd);
		send_hello(w, which, a, b);
		break;
	case 6:
		a = get_u8(rd);
		b = get_u8(rd);
		send_welcome(w, which, a, b);
		break;
	case 7:
		send_log(w, which, get_u8(rd));
		break;
	case 9:
		a = get_u8(rd);
		b = get_u8(rd);
		send_heartbeat(w, which, a, b);
		break;
	case 8: {
		uint8_t zeros[1 + 255 * 64] = {0};

		zeros[0] = get_u8(rd);
		a = get_u8(rd);
		send_bytes(w, which, zeros, 1 + (size_t)a * 64);
		break;
	}
	default:
		set_members(w, get_u8(rd));
	}
	run(w, 300);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader rd = reader_init(data, size);
	struct world w;

	if (size < 2 || size > 4096)
		return 0;
	world_open(&w, get_u8(&rd));
	while (reader_ok(&rd) && reader_left(&rd) > 1)
		event(&w, &rd);
	run(&w, 50000);
	world_close(&w);
	return 0;
}
