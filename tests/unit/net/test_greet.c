/*
 * test_greet.c - the handshake of a new link, against strangers of every kind (tests).
 *
 * A *stranger* is a bare transport on the simulated network that says what the case wants, byte by
 * byte; it has its own reckoning of the proofs, from relay_wire.h's words alone.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mac.h"
#include "net/relay/relay_wire.h"
#include "net_relays.h"

void suite_net_greet(void);

#define SECRET "all of them know this"

static struct relays c;

static struct line_count { uint64_t lines, hidden; char last[1024]; } logged;

/* Counts the lines about refusals, and keeps the last. */
static void on_line(struct relays *cluster, const char *line)
{
	const char *hidden = strstr(line, "refusals not shown");

	(void)cluster;
	if (hidden)
		logged.hidden += strtoull(strstr(line, "count=") + 6, NULL, 10);
	else if (!strstr(line, "link refused") && !strstr(line, "refused by peer") &&
		 !strstr(line, "peer without the secret") && !strstr(line, "another log"))
		return;
	if (!hidden)
		logged.lines++;
	snprintf(logged.last, sizeof logged.last, "%s", line);
}

/* -- a stranger ------------------------------------------------------------------------------- */

struct said { uint8_t data[1024]; uint32_t bytes; };

struct stranger {
	struct sim_host *host;
	struct net *net;
	struct net_link *link;
	bool up, down, accepted;
	struct said got[16];
	uint32_t got_count;
	struct said hello, challenge;
	uint8_t attach;
};

static void on_accepted(void *ctx, struct net_link *link)
{
	struct stranger *s = ctx;

	s->link = link;
	s->accepted = true;
}

static void on_up(void *ctx, struct net_link *link)
{
	struct stranger *s = ctx;

	(void)link;
	s->up = true;
}

static void on_message(void *ctx, struct net_link *link, const void *data, size_t bytes)
{
	struct stranger *s = ctx;
	struct said *g = &s->got[s->got_count];

	if (link != s->link || s->got_count == 16)
		return;
	g->bytes = (uint32_t)(bytes < sizeof g->data ? bytes : sizeof g->data);
	memcpy(g->data, data, g->bytes);
	s->got_count++;
}

static void on_down(void *ctx, struct net_link *link, enum status why)
{
	struct stranger *s = ctx;

	(void)why;
	if (link == s->link) {
		s->down = true;
		s->link = NULL;
	}
}

static void on_drained(void *ctx, struct net_link *link)
{
	(void)ctx, (void)link;
}

static const struct net_events stranger_events = {on_accepted, on_up, on_message, on_down, on_drained, NULL, NULL};

static uint64_t now_of(void *ctx)
{
	return ((struct relays *)ctx)->now_us;
}

static void stranger_open(struct stranger *s, const char *address)
{
	struct clock k = {&c, now_of, now_of};
	struct net_config nc = {.mem = &c.mem, .clock = k, .events = &stranger_events, .ctx = s};
	char bound[NET_ADDRESS_MAX];
	struct error err;

	memset(s, 0, sizeof *s);
	nc.backend = s->host = sim_host_new(c.sn, address);
	CU_ASSERT_EQUAL_FATAL(net_ops_sim.open(&nc, &s->net, &err), ST_OK);
	CU_ASSERT_EQUAL_FATAL(net_ops_sim.listen(s->net, address, bound, &err), ST_OK);
}

static void run(struct stranger *s, uint64_t us)
{
	for (uint64_t end = c.now_us + us; c.now_us < end;) {
		relays_run(&c, end - c.now_us < 200 ? end - c.now_us : 200);
		net_ops_sim.progress(s->net);
	}
}

static void hang_up(struct stranger *s)
{
	if (s->link)
		net_ops_sim.close_link(s->link);
	s->link = NULL;
	s->up = s->down = s->accepted = false;
	s->got_count = 0;
}

static void dial(struct stranger *s)
{
	struct error err;

	hang_up(s);
	CU_ASSERT_EQUAL_FATAL(net_ops_sim.connect(s->net, sim_host_address(c.nodes[0].host), &s->link, &err), ST_OK);
	run(s, 2000);
}

static void say(struct stranger *s, const void *data, size_t bytes)
{
	struct net_msg *m = net_msg_new(&c.mem, (uint32_t)bytes);

	memcpy(m->data, data, bytes);
	if (s->link)
		net_send(s->link, m);
	else
		net_msg_unref(m);
	run(s, 2000);
}

/* -- what it says ----------------------------------------------------------------------------- */

static struct relay_hello hello_of(struct stranger *s)
{
	struct relay_hello m = {
		.magic = RELAY_MAGIC,
		.version = RELAY_VERSION,
		.role = RELAY_ROLE_PROBE,
		.log_id = RELAYS_LOG_ID,
		.nonce = 77,
		.attach = ++s->attach,
		.proves = 1,
	};
	uint64_t fresh[4];

	for (int i = 0; i < 4; i++)
		fresh[i] = rng_next(&c.rng);
	memcpy(m.challenge, fresh, sizeof m.challenge);
	snprintf(m.address, sizeof m.address, "%s", sim_host_address(s->host));
	snprintf(m.name, sizeof m.name, "stranger");
	return m;
}

static void say_hello(struct stranger *s, const struct relay_hello *m)
{
	struct buf b;

	buf_init(&b, &c.mem);
	relay_hello_encode(&b, m);
	memcpy(s->hello.data, b.data, b.size);
	s->hello.bytes = (uint32_t)b.size;
	buf_fini(&b);
	say(s, s->hello.data, s->hello.bytes);
}

static void proof_make(const char *secret, const char *label, const struct said *hello, const struct said *challenge,
		       uint8_t out[MAC_BYTES])
{
	uint8_t text[4096] = {0};
	size_t n = 16;

	memcpy(text, label, strlen(label));
	memcpy(text + n, &hello->bytes, 4);
	memcpy(text + n + 4, hello->data, hello->bytes);
	n += 4 + hello->bytes;
	memcpy(text + n, &challenge->bytes, 4);
	memcpy(text + n + 4, challenge->data, challenge->bytes);
	n += 4 + challenge->bytes;
	CU_ASSERT_EQUAL(mac_make(secret, strlen(secret), text, n, out), ST_OK);
}

static void say_proof(struct stranger *s, const uint8_t mac[MAC_BYTES])
{
	uint8_t m[1 + MAC_BYTES] = {RELAY_PROOF};

	memcpy(m + 1, mac, MAC_BYTES);
	say(s, m, sizeof m);
}

/* The n-th message that came has this type. */
static bool got(const struct stranger *s, uint32_t n, uint8_t type)
{
	return n < s->got_count && s->got[n].bytes && s->got[n].data[0] == type;
}

static bool heard(const struct stranger *s, uint8_t type)
{
	for (uint32_t i = 0; i < s->got_count; i++)
		if (got(s, i, type))
			return true;
	return false;
}

/* Dials and says hello; true: it was challenged. */
static bool begin_greeting(struct stranger *s, const struct relay_hello *m)
{
	dial(s);
	say_hello(s, m);
	if (!got(s, 0, RELAY_CHALLENGE))
		return false;
	s->challenge = s->got[0];
	return true;
}

static bool refused(const struct stranger *s, uint8_t reason, const char *text)
{
	for (uint32_t i = 0; i < s->got_count; i++) {
		struct reader rd = reader_init(s->got[i].data + 1, s->got[i].bytes - 1);
		struct relay_refuse m;

		if (got(s, i, RELAY_REFUSE) && relay_refuse_decode(&rd, &m) && m.reason == reason &&
		    strstr(m.text, text))
			return true;
	}
	return false;
}

static void begin(const char *secret, struct stranger *s)
{
	memset(&logged, 0, sizeof logged);
	relays_init_secret(&c, secret, 5, 2, 1, 4);
	c.tap = on_line;
	CU_ASSERT_FATAL(relays_settle(&c, 3000000));
	stranger_open(s, "stranger:1");
}

static void end(struct stranger *s)
{
	hang_up(s);
	run(s, 10000);
	net_ops_sim.close(s->net);
	for (uint32_t i = 0; i < c.node_count; i++) {
		CU_ASSERT_EQUAL(c.nodes[i].suspects, 0);
		CU_ASSERT_EQUAL(c.nodes[i].not_members, 0);
	}
	CU_ASSERT_EQUAL(relays_gaps(&c), 0);
	relays_fini(&c);
}

/* -- the acceptor ----------------------------------------------------------------------------- */

/* Who knows the secret is welcome, and is shown that the acceptor knows it too. */
static void test_greet_good(void)
{
	struct stranger s;
	struct relay_hello m;
	uint8_t mac[MAC_BYTES];

	begin(SECRET, &s);
	m = hello_of(&s);
	CU_ASSERT_FATAL(begin_greeting(&s, &m));
	CU_ASSERT_EQUAL(s.got_count, 1);
	proof_make(SECRET, RELAY_LABEL_DIALLER, &s.hello, &s.challenge, mac);
	say_proof(&s, mac);
	CU_ASSERT_FATAL(got(&s, 1, RELAY_PROOF));
	proof_make(SECRET, RELAY_LABEL_ACCEPTOR, &s.hello, &s.challenge, mac);
	CU_ASSERT(mac_equal(s.got[1].data + 1, mac));
	CU_ASSERT(got(&s, 2, RELAY_WELCOME));
	CU_ASSERT_EQUAL(logged.lines, 0);
	end(&s);
}

/* Another secret, or none on one side only: one reason for the dialler, one line for the operator, no proof shown. */
static void test_greet_secret(void)
{
	struct stranger s;
	struct relay_hello m;
	uint8_t mac[MAC_BYTES];

	begin(SECRET, &s);
	m = hello_of(&s);
	CU_ASSERT_FATAL(begin_greeting(&s, &m));
	proof_make("some of them know this", RELAY_LABEL_DIALLER, &s.hello, &s.challenge, mac);
	say_proof(&s, mac);
	CU_ASSERT(refused(&s, RELAY_REFUSE_SECRET, "wrong secret"));
	CU_ASSERT_FALSE(heard(&s, RELAY_PROOF) || heard(&s, RELAY_WELCOME));
	CU_ASSERT_EQUAL(logged.lines, 1);
	CU_ASSERT(strstr(logged.last, "peer=stranger:1") && strstr(logged.last, "wrong secret") &&
		  strstr(logged.last, "name=stranger"));
	m = hello_of(&s);
	m.proves = 0;
	dial(&s);
	say_hello(&s, &m);
	CU_ASSERT(refused(&s, RELAY_REFUSE_SECRET, "a secret is wanted here"));
	CU_ASSERT_EQUAL(s.got_count, 1);
	CU_ASSERT_EQUAL(logged.lines, 2);
	end(&s);

	begin(NULL, &s);
	m = hello_of(&s);
	dial(&s);
	say_hello(&s, &m);
	CU_ASSERT(refused(&s, RELAY_REFUSE_SECRET, "no secret is used here"));
	CU_ASSERT_EQUAL(s.got_count, 1);
	CU_ASSERT_EQUAL(logged.lines, 1);
	m = hello_of(&s);
	m.proves = 0;
	dial(&s);
	say_hello(&s, &m);
	CU_ASSERT(got(&s, 0, RELAY_WELCOME));
	end(&s);
}

/* Another version or cluster is refused before any challenge, and says so on both sides. */
static void test_greet_version_and_cluster(void)
{
	struct stranger s;
	struct relay_hello m;

	begin(SECRET, &s);
	m = hello_of(&s);
	m.version = RELAY_VERSION + 1;
	dial(&s);
	say_hello(&s, &m);
	CU_ASSERT(refused(&s, RELAY_REFUSE_VERSION, "protocol version 4 here, 5 there"));
	CU_ASSERT_EQUAL(s.got_count, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(logged.last, "protocol version 4 here, 5 there"));
	m = hello_of(&s);
	m.log_id ^= 1;
	dial(&s);
	say_hello(&s, &m);
	CU_ASSERT(refused(&s, RELAY_REFUSE_LOG_ID, "another cluster"));
	CU_ASSERT_EQUAL(s.got_count, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(logged.last, "another cluster"));
	CU_ASSERT_EQUAL(logged.lines, 2);
	end(&s);
}

/* What is no greeting closes the link at once, without an answer: bytes, too many bytes, other messages. */
static void test_greet_garbage(void)
{
	static const uint8_t types[] = {0,
					RELAY_HEARTBEAT,
					RELAY_JOIN_REQUEST,
					RELAY_WELCOME,
					RELAY_CHALLENGE,
					RELAY_NOT_MEMBER,
					RELAY_PROOF,
					255};
	uint8_t bytes[4000] = {0};
	struct stranger s;
	struct relay_hello m;

	begin(SECRET, &s);
	for (size_t i = 0; i < sizeof types; i++) {
		dial(&s);
		bytes[0] = types[i];
		say(&s, bytes, 41);
		CU_ASSERT(s.down && s.got_count == 0);
		/* … and the same when a challenge is open */
		m = hello_of(&s);
		CU_ASSERT(begin_greeting(&s, &m));
		if (types[i] == RELAY_PROOF)
			continue;
		say(&s, bytes, 41);
		CU_ASSERT(s.down && s.got_count == 1);
	}
	dial(&s);
	bytes[0] = RELAY_HELLO;
	say(&s, bytes, sizeof bytes);
	CU_ASSERT(s.down && s.got_count == 0);
	dial(&s);
	say(&s, "", 0);
	CU_ASSERT(s.down && s.got_count == 0);
	dial(&s);
	say(&s, "\001GET / HTTP/1.1", 15);
	CU_ASSERT(s.down && s.got_count == 0);
	m = hello_of(&s);
	CU_ASSERT(begin_greeting(&s, &m)); /* a second hello */
	say(&s, s.hello.data, s.hello.bytes);
	CU_ASSERT(s.down && s.got_count == 1);
	end(&s);
}

/* The bytes of a good handshake open no second one: neither all of them, nor the proof alone under a new challenge. */
static void test_greet_replay(void)
{
	struct stranger s;
	struct relay_hello m;
	struct said hello;
	uint8_t mac[MAC_BYTES];

	begin(SECRET, &s);
	m = hello_of(&s);
	CU_ASSERT_FATAL(begin_greeting(&s, &m));
	hello = s.hello;
	proof_make(SECRET, RELAY_LABEL_DIALLER, &s.hello, &s.challenge, mac);
	say_proof(&s, mac);
	CU_ASSERT_FATAL(heard(&s, RELAY_WELCOME));
	dial(&s);
	say(&s, hello.data, hello.bytes);
	CU_ASSERT(refused(&s, RELAY_REFUSE_REPLAY, "repeats an earlier greeting"));
	say_proof(&s, mac);
	CU_ASSERT_FALSE(heard(&s, RELAY_WELCOME) || heard(&s, RELAY_PROOF) || heard(&s, RELAY_CHALLENGE));
	CU_ASSERT_PTR_NOT_NULL(strstr(logged.last, "repeats an earlier greeting"));

	/* A hello that was never proved, so that nobody remembers it; the proof is of its first challenge. */
	m = hello_of(&s);
	CU_ASSERT_FATAL(begin_greeting(&s, &m));
	hello = s.hello;
	proof_make(SECRET, RELAY_LABEL_DIALLER, &s.hello, &s.challenge, mac);
	dial(&s);
	say(&s, hello.data, hello.bytes);
	CU_ASSERT(got(&s, 0, RELAY_CHALLENGE));
	CU_ASSERT_NOT_EQUAL(memcmp(s.got[0].data, s.challenge.data, s.challenge.bytes), 0);
	say_proof(&s, mac);
	CU_ASSERT(refused(&s, RELAY_REFUSE_SECRET, "wrong secret"));
	CU_ASSERT_FALSE(heard(&s, RELAY_WELCOME) || heard(&s, RELAY_PROOF));
	end(&s);
}

/* A proof covers every byte of the hello and of the challenge: with any bit changed on the way it is worth nothing. */
static void test_greet_transcript(void)
{
	struct stranger s;
	struct relay_hello m;
	struct said changed;
	uint8_t mac[MAC_BYTES];
	uint32_t tried = 0, bytes;

	begin(SECRET, &s);
	m = hello_of(&s);
	CU_ASSERT_FATAL(begin_greeting(&s, &m));
	bytes = s.hello.bytes;
	for (uint32_t at = 1; at < bytes; at++) {
		m = hello_of(&s);
		dial(&s);
		say_hello(&s, &m);
		changed = s.hello; /* what the prover thinks it said */
		changed.data[at] ^= 1;
		s.challenge = s.got[0];
		proof_make(SECRET, RELAY_LABEL_DIALLER, &changed, &s.challenge, mac);
		say_proof(&s, mac);
		tried += refused(&s, RELAY_REFUSE_SECRET, "wrong secret");
		CU_ASSERT_FALSE(heard(&s, RELAY_WELCOME) || heard(&s, RELAY_PROOF));
		run(&s, 30000); /* within what a host may fail */
	}
	CU_ASSERT_EQUAL(tried, bytes - 1);
	for (uint32_t at = 0; at < s.challenge.bytes; at++) {
		m = hello_of(&s);
		CU_ASSERT_FATAL(begin_greeting(&s, &m));
		changed = s.challenge;
		changed.data[at] ^= 0x80;
		proof_make(SECRET, RELAY_LABEL_DIALLER, &s.hello, &changed, mac);
		say_proof(&s, mac);
		CU_ASSERT(refused(&s, RELAY_REFUSE_SECRET, "wrong secret"));
		run(&s, 30000);
	}
	end(&s);
}

/* The acceptor's proof, sent back to it, is known for what it is. */
static void test_greet_reflect(void)
{
	struct stranger s;
	struct relay_hello m;
	uint8_t mac[MAC_BYTES];

	begin(SECRET, &s);
	m = hello_of(&s);
	CU_ASSERT_FATAL(begin_greeting(&s, &m));
	proof_make(SECRET, RELAY_LABEL_ACCEPTOR, &s.hello, &s.challenge, mac);
	say_proof(&s, mac);
	CU_ASSERT(refused(&s, RELAY_REFUSE_SECRET, "our own, sent back"));
	CU_ASSERT_FALSE(heard(&s, RELAY_WELCOME) || heard(&s, RELAY_PROOF));
	end(&s);
}

/* Who does not greet, or does not go on, is closed after twice the heartbeat limit. */
static void test_greet_slow(void)
{
	struct stranger s;
	struct relay_hello m;

	begin(SECRET, &s);
	dial(&s);
	run(&s, 2 * RELAY_HEARTBEAT_LIMIT_US - 100000);
	CU_ASSERT(!s.down);
	run(&s, 300000);
	CU_ASSERT(s.down);
	CU_ASSERT_PTR_NOT_NULL(strstr(logged.last, "did not greet in time"));
	m = hello_of(&s);
	CU_ASSERT_FATAL(begin_greeting(&s, &m));
	run(&s, 2200000);
	CU_ASSERT(s.down);
	CU_ASSERT_EQUAL(logged.lines, 2);
	end(&s);
}

static void crowd(struct stranger *s, struct stranger *many, uint64_t *most)
{
	static struct net_link *links[3000];
	struct relay_stats stats;
	struct error err;

	for (int i = 0; i < 3000; i++) {
		CU_ASSERT_EQUAL_FATAL(
			net_ops_sim.connect(many->net, sim_host_address(c.nodes[0].host), &links[i], &err), ST_OK);
		if (i % 100)
			continue;
		run(s, 1000);
		net_ops_sim.progress(many->net);
		relay_stats(c.nodes[0].relay, &stats);
		if (stats.strangers > *most)
			*most = stats.strangers;
	}
}

/*
 * However many come and say nothing: places and memory are bounded, who greets gets in, established links live, and
 * the log has few lines that account for all.
 */
static void test_greet_crowd(void)
{
	struct stranger s, many;
	struct relay_stats stats;
	struct relay_hello m;
	uint8_t mac[MAC_BYTES];
	uint64_t most = 0;
	size_t after[3];

	begin(SECRET, &s);
	for (int round = 0; round < 3; round++) {
		char address[32];

		memset(&logged, 0, sizeof logged);
		snprintf(address, sizeof address, "crowd-%d:1", round);
		stranger_open(&many, address);
		crowd(&s, &many, &most);
		CU_ASSERT(most <= 256 && most > 100);
		m = hello_of(&s);
		CU_ASSERT_FATAL(begin_greeting(&s, &m));
		proof_make(SECRET, RELAY_LABEL_DIALLER, &s.hello, &s.challenge, mac);
		say_proof(&s, mac);
		CU_ASSERT(heard(&s, RELAY_WELCOME));
		run(&s, 15000000);
		relay_stats(c.nodes[0].relay, &stats);
		CU_ASSERT_EQUAL(stats.strangers, 0);
		CU_ASSERT(logged.lines <= 20);
		CU_ASSERT(logged.lines + logged.hidden >= 2500);
		net_ops_sim.close(many.net);
		run(&s, 3000000);
		after[round] = c.mem.used_bytes;
	}
	CU_ASSERT(after[2] < after[0] + 4096);
	end(&s);
}

/* A host whose greetings keep failing is not listened to for a while, unless it is a member's; others are. */
static void test_greet_rate(void)
{
	struct stranger s, other;
	struct relay_hello m;

	begin(SECRET, &s);
	stranger_open(&other, "other:1");
	for (int i = 0; i < 400; i++) {
		dial(&s);
		say(&s, "nonsense", 8);
	}
	m = hello_of(&s);
	CU_ASSERT_FALSE(begin_greeting(&s, &m));
	CU_ASSERT(s.down && s.got_count == 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(logged.last, "not listened to"));
	m = hello_of(&other);
	CU_ASSERT(begin_greeting(&other, &m));
	net_ops_sim.close(other.net);
	run(&s, 10000000);
	m = hello_of(&s);
	CU_ASSERT(begin_greeting(&s, &m));
	end(&s);
}

/* -- the dialler ------------------------------------------------------------------------------ */

/* The node's dial of the stranger, as a joiner's; its hello is s->hello. */
static void be_dialled(struct stranger *s)
{
	const char *contact = sim_host_address(s->host);

	hang_up(s);
	relay_join(c.nodes[1].relay, &contact, 1, "please", 6);
	for (int i = 0; i < 3000 && !got(s, 0, RELAY_HELLO); i++)
		run(s, 1000);
	CU_ASSERT_FATAL(got(s, 0, RELAY_HELLO));
	s->hello = s->got[0];
}

static void say_challenge(struct stranger *s, const uint8_t *bytes)
{
	struct relay_challenge m = {.version = RELAY_VERSION, .log_id = RELAYS_LOG_ID, .engine = 9, .nonce = 78};
	struct buf b;

	memcpy(m.challenge, bytes, sizeof m.challenge);
	snprintf(m.address, sizeof m.address, "stranger:1");
	buf_init(&b, &c.mem);
	relay_challenge_encode(&b, &m);
	memcpy(s->challenge.data, b.data, b.size);
	s->challenge.bytes = (uint32_t)b.size;
	buf_fini(&b);
	say(s, s->challenge.data, s->challenge.bytes);
}

static void say_welcome(struct stranger *s)
{
	struct relay_welcome m = {.log_id = RELAYS_LOG_ID, .engine = 9, .nonce = 78};
	struct buf b;

	buf_init(&b, &c.mem);
	relay_welcome_encode(&b, &m);
	say(s, b.data, b.size);
	buf_fini(&b);
}

/* A dialler believes nobody who does not prove to know the secret; with the proof it goes on. */
static void test_greet_false_acceptor(void)
{
	static const uint8_t bytes[32] = {1, 2, 3};
	uint8_t mac[MAC_BYTES], not_member[9] = {RELAY_NOT_MEMBER, 2};
	struct stranger s;
	struct relay_hello m;
	struct reader rd;

	begin(SECRET, &s);
	be_dialled(&s); /* a welcome at once */
	say_welcome(&s);
	CU_ASSERT(s.down && !heard(&s, RELAY_JOIN_REQUEST));
	be_dialled(&s); /* "you are not a member" */
	say(&s, not_member, sizeof not_member);
	CU_ASSERT(s.down);
	be_dialled(&s); /* its own challenge */
	rd = reader_init(s.hello.data + 1, s.hello.bytes - 1);
	CU_ASSERT_FATAL(relay_hello_decode(&rd, &m));
	say_challenge(&s, m.challenge);
	CU_ASSERT(s.down && !heard(&s, RELAY_PROOF));
	be_dialled(&s); /* a welcome after the challenge */
	say_challenge(&s, bytes);
	CU_ASSERT(got(&s, 1, RELAY_PROOF));
	proof_make(SECRET, RELAY_LABEL_DIALLER, &s.hello, &s.challenge, mac);
	CU_ASSERT(mac_equal(s.got[1].data + 1, mac));
	say_welcome(&s);
	CU_ASSERT(s.down && !heard(&s, RELAY_JOIN_REQUEST));
	be_dialled(&s); /* its own proof sent back */
	say_challenge(&s, bytes);
	say(&s, s.got[1].data, s.got[1].bytes);
	CU_ASSERT(s.down);
	CU_ASSERT_PTR_NOT_NULL(strstr(logged.last, "does not know the cluster's secret"));
	be_dialled(&s); /* another secret's */
	say_challenge(&s, bytes);
	proof_make("some of them know this", RELAY_LABEL_ACCEPTOR, &s.hello, &s.challenge, mac);
	say_proof(&s, mac);
	say_welcome(&s);
	CU_ASSERT(s.down && !heard(&s, RELAY_JOIN_REQUEST));
	be_dialled(&s);
	say_challenge(&s, bytes);
	proof_make(SECRET, RELAY_LABEL_ACCEPTOR, &s.hello, &s.challenge, mac);
	say_proof(&s, mac);
	say_welcome(&s);
	CU_ASSERT(heard(&s, RELAY_JOIN_REQUEST));
	relay_join(c.nodes[1].relay, NULL, 0, NULL, 0);
	end(&s);
}

/* A joiner that every contact refuses for good is told once a round why, and what to do. */
static void test_greet_joiner_refused(void)
{
	static const struct { const char *secret, *says; } cases[] = {
		{"some of them know this", "wrong secret"}, {NULL, "a secret is wanted here"}};
	struct stranger s;
	struct node *n;

	for (int i = 0; i < 2; i++) {
		begin(SECRET, &s);
		c.secret = cases[i].secret;
		n = relays_add(&c);
		run(&s, 3000000);
		CU_ASSERT(n->refused_for_good >= 1);
		CU_ASSERT(strstr(n->last_waiting, cases[i].says) && strstr(n->last_waiting, "same --secret-file"));
		CU_ASSERT_EQUAL(n->replies, 0);
		/* three of each side in ten seconds */
		CU_ASSERT(logged.lines >= 2 && logged.lines <= 6);
		end(&s);
	}
}

void suite_net_greet(void)
{
	CU_pSuite s = CU_add_suite("net_greet", NULL, NULL);

	CU_add_test(s, "good", test_greet_good);
	CU_add_test(s, "secret", test_greet_secret);
	CU_add_test(s, "version and cluster", test_greet_version_and_cluster);
	CU_add_test(s, "garbage", test_greet_garbage);
	CU_add_test(s, "replay", test_greet_replay);
	CU_add_test(s, "transcript", test_greet_transcript);
	CU_add_test(s, "reflect", test_greet_reflect);
	CU_add_test(s, "slow", test_greet_slow);
	CU_add_test(s, "crowd", test_greet_crowd);
	CU_add_test(s, "rate", test_greet_rate);
	CU_add_test(s, "false acceptor", test_greet_false_acceptor);
	CU_add_test(s, "joiner refused", test_greet_joiner_refused);
}
