/*
 * test_ofi_gate.c - the fabric port of ofi:tcp against those who do not know the secret (tests).
 *
 * Strangers are plain TCP sockets that say libfabric's connection messages byte by byte: a head of 32
 * bytes (version 3, type, bytes of private data big-endian, … , 1), then private data of ofi_gate.c.
 */
#include <CUnit/CUnit.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mac.h"
#include "net/net.h"

void suite_net_ofi_gate(void);

#define SECRET "both of them know this"
#define HEAD 32
enum { REQUEST, RESPONSE, REJECTION = 6 };
enum { KNOCK = 1, COOKIE, ENTER, REFUSED };

static struct mem mem;
static struct logger logger;

struct side {
	struct net *net;
	char address[NET_ADDRESS_MAX];
	struct net_link *link;
	uint32_t accepts, ups, downs, messages, turned_away;
	enum status why, away;
	char refused[200], reason[200];
};

static uint64_t now_us(void *ctx)
{
	struct timespec t;

	(void)ctx;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void on_accepted(void *ctx, struct net_link *link)
{
	struct side *s = ctx;

	s->accepts++;
	s->link = link;
}

static void on_up(void *ctx, struct net_link *link)
{
	struct side *s = ctx;

	(void)link;
	s->ups++;
}

static void on_message(void *ctx, struct net_link *link, const void *data, size_t bytes)
{
	struct side *s = ctx;

	(void)link, (void)data, (void)bytes;
	s->messages++;
}

static void on_down(void *ctx, struct net_link *link, enum status why)
{
	struct side *s = ctx;

	s->downs++;
	s->why = why;
	snprintf(s->refused, sizeof s->refused, "%s", link->refused ? link->refused : "");
	if (s->link == link)
		s->link = NULL;
}

static void on_drained(void *ctx, struct net_link *link)
{
	(void)ctx, (void)link;
}

static void on_turned_away(void *ctx, const char *peer, enum status why, const char *reason)
{
	struct side *s = ctx;

	(void)peer;
	s->turned_away++;
	s->away = why;
	snprintf(s->reason, sizeof s->reason, "%s", reason);
}

static const struct net_events side_events = {on_accepted, on_up,      on_message,
					      on_down,	   on_drained, on_turned_away, NULL};

static void side_open(struct side *s, const char *secret)
{
	struct net_config cfg = {
		.mem = &mem,
		.log = &logger,
		.clock = {NULL, now_us, now_us},
		.events = &side_events,
		.ctx = s,
		.provider = "tcp",
		.secret = secret,
		.secret_bytes = secret ? strlen(secret) : 0,
		.entropy = entropy_system(),
	};
	struct error err;

	memset(s, 0, sizeof *s);
	CU_ASSERT_EQUAL_FATAL(net_ops_ofi.open(&cfg, &s->net, &err), ST_OK);
	CU_ASSERT_EQUAL_FATAL(net_ops_ofi.listen(s->net, "127.0.0.1:0", s->address, &err), ST_OK);
}

static void turn(struct side *a, struct side *b)
{
	struct side *sides[] = {a, b};
	struct pollfd fds[2];
	int n = 0, done = 0;
	bool idle = true;

	for (int i = 0; i < 2; i++)
		if (sides[i]) {
			done += net_ops_ofi.progress(sides[i]->net);
			idle = net_ops_ofi.try_wait(sides[i]->net) && idle;
			fds[n].fd = net_ops_ofi.wait_fd(sides[i]->net);
			fds[n++].events = POLLIN;
		}
	if (!done && idle)
		poll(fds, (nfds_t)n, 5);
}

static void run(struct side *a, struct side *b, uint64_t us)
{
	for (uint64_t end = now_us(NULL) + us; now_us(NULL) < end;)
		turn(a, b);
}

#define UNTIL(condition, a, b)                                                                    \
	for (uint64_t end_ = now_us(NULL) + 5000000; !(condition) && now_us(NULL) < end_;)        \
		turn(a, b)

static void connect_to(struct side *from, const struct side *to)
{
	struct error err;

	CU_ASSERT_EQUAL_FATAL(net_ops_ofi.connect(from->net, to->address, &from->link, &err), ST_OK);
}

static void say(struct net_link *link)
{
	struct net_msg *m = net_msg_new(&mem, 100);

	memset(m->data, 7, 100);
	net_send(link, m);
}

static void begin(void)
{
	mem_init(&mem, NULL, "gate", 0);
	logger_init_stderr(&logger, "gate");
	logger_set_levels(&logger, LOG_ERROR);
}

static void end(struct side *a, struct side *b)
{
	net_ops_ofi.close(a->net);
	if (b)
		net_ops_ofi.close(b->net);
	CU_ASSERT_EQUAL(mem.used_bytes, 0);
	mem_fini(&mem);
}

/* -- raw sockets ------------------------------------------------------------------------------ */

static int raw_dial(const struct side *to)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval limit = {5, 0};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	in.sin_port = htons((uint16_t)atoi(strrchr(to->address, ':') + 1));
	CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	return fd;
}

static void raw_say(int fd, uint8_t type, const void *data, uint16_t bytes)
{
	uint8_t m[HEAD + 256] = {3, type, (uint8_t)(bytes >> 8), (uint8_t)bytes};

	m[24] = 1;
	if (bytes)
		memcpy(m + HEAD, data, bytes);
	CU_ASSERT_EQUAL(write(fd, m, HEAD + bytes), HEAD + bytes);
}

/* The type of what is answered, its data in @out; -1: nothing within the time. */
static int raw_answer(struct side *at, int fd, uint8_t out[256], size_t *bytes_out)
{
	uint8_t m[HEAD + 256];
	ssize_t n = 0;

	for (uint64_t limit = now_us(NULL) + 3000000; n <= 0 && now_us(NULL) < limit;) {
		turn(at, NULL);
		n = recv(fd, m, sizeof m, MSG_DONTWAIT);
		if (n == 0)
			return -1;
	}
	if (n < HEAD)
		return -1;
	*bytes_out = (size_t)n - HEAD;
	memcpy(out, m + HEAD, *bytes_out);
	return m[1];
}

static void proof_of(const char *label, const uint8_t *nonce, const uint8_t *cookie, uint8_t out[MAC_BYTES])
{
	uint8_t text[48] = {0};

	memcpy(text, label, strlen(label));
	memcpy(text + 16, nonce, 16);
	memcpy(text + 32, cookie, 16);
	CU_ASSERT_EQUAL(mac_make(SECRET, strlen(SECRET), text, sizeof text, out), ST_OK);
}

static uint32_t descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint32_t n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* -- cases ------------------------------------------------------------------------------------ */

/* Both know it, or both have none: messages flow. */
static void test_ofi_gate_same(void)
{
	static const char *const secrets[] = {SECRET, NULL};

	for (int i = 0; i < 2; i++) {
		struct side a, b;

		begin();
		side_open(&a, secrets[i]);
		side_open(&b, secrets[i]);
		connect_to(&a, &b);
		say(a.link); /* before it is up: it is not lost with the first endpoint */
		UNTIL(b.messages == 1, &a, &b);
		CU_ASSERT(b.messages == 1 && a.ups == 1 && b.accepts == 1);
		say(b.link);
		UNTIL(a.messages == 1, &a, &b);
		CU_ASSERT(a.messages == 1 && a.downs == 0 && b.turned_away == 0);
		end(&a, &b);
	}
}

/* The secrets differ, or one has none: no link on either side, and one reason on both. */
static void test_ofi_gate_differs(void)
{
	static const struct { const char *dialler, *acceptor, *reason; } cases[] = {
		{"some of them know this", SECRET, "wrong secret"},
		{NULL, SECRET, "a secret is wanted here"},
		{SECRET, NULL, "no secret is used here"}};

	for (int i = 0; i < 3; i++) {
		struct side a, b;

		begin();
		side_open(&a, cases[i].dialler);
		side_open(&b, cases[i].acceptor);
		connect_to(&a, &b);
		UNTIL(a.downs, &a, &b);
		run(&a, &b, 100000);
		CU_ASSERT(a.downs == 1 && a.ups == 0 && b.accepts == 0);
		CU_ASSERT_EQUAL(a.why, ST_AUTH);
		CU_ASSERT_PTR_NOT_NULL(strstr(a.refused, cases[i].reason));
		CU_ASSERT_EQUAL(b.turned_away, 1);
		CU_ASSERT_EQUAL(b.away, ST_AUTH);
		CU_ASSERT_PTR_NOT_NULL(strstr(b.reason, cases[i].reason));
		end(&a, &b);
	}
}

/* A request that was recorded is worth nothing the second time, nor under another nonce. */
static void test_ofi_gate_replay(void)
{
	uint8_t knock[17] = {KNOCK, 1, 2, 3}, enter[49] = {ENTER}, answer[256], opened[MAC_BYTES];
	struct side b;
	size_t n = 0;
	int fd;

	begin();
	side_open(&b, SECRET);
	fd = raw_dial(&b);
	raw_say(fd, REQUEST, knock, sizeof knock);
	CU_ASSERT_EQUAL_FATAL(raw_answer(&b, fd, answer, &n), REJECTION);
	CU_ASSERT(n == 17 && answer[0] == COOKIE);
	close(fd);
	memcpy(enter + 1, knock + 1, 16);
	proof_of("valence enter", knock + 1, answer + 1, enter + 17);
	proof_of("valence opened", knock + 1, answer + 1, opened);
	fd = raw_dial(&b);
	raw_say(fd, REQUEST, enter, sizeof enter);
	CU_ASSERT_EQUAL_FATAL(raw_answer(&b, fd, answer, &n), RESPONSE);
	CU_ASSERT(n == MAC_BYTES && mac_equal(answer, opened));
	CU_ASSERT_EQUAL(b.accepts, 1);
	close(fd);
	for (int i = 0; i < 2; i++) {
		enter[16] ^= (uint8_t)i;
		fd = raw_dial(&b);
		raw_say(fd, REQUEST, enter, sizeof enter);
		CU_ASSERT_EQUAL(raw_answer(&b, fd, answer, &n), REJECTION);
		CU_ASSERT(n == 2 && answer[0] == REFUSED);
		close(fd);
	}
	CU_ASSERT(b.accepts == 1 && b.turned_away == 2);
	end(&b, NULL);
}

/* A head that announces more than comes, short ones, silent ones, and heads that the library would believe. */
static void test_ofi_gate_hostile(void)
{
	static const uint8_t ack[16] = {3, 0, 0, 0, 2, 0, 16, 0, 16}, tagged[16] = {3, 1, 0, 0, 0, 0, 16, 0, 24};
	uint8_t partial[HEAD] = {3, 0, 0, 100}, answer[256];
	struct side a, b;
	uint32_t before;
	size_t n;
	int fds[40];

	begin();
	side_open(&a, SECRET);
	side_open(&b, SECRET);
	connect_to(&a, &b);
	UNTIL(a.ups == 1, &a, &b);
	run(&a, &b, 50000);
	before = descriptors();
	for (int i = 0; i < 40; i++) {
		fds[i] = raw_dial(&b);
		if (i % 5 == 0)
			CU_ASSERT_EQUAL(write(fds[i], partial, HEAD), HEAD);
		if (i % 5 == 1)
			CU_ASSERT_EQUAL(write(fds[i], partial, 3), 3);
		if (i % 5 == 2) {
			raw_say(fds[i], REQUEST, NULL, 0);
			CU_ASSERT_EQUAL(raw_answer(&b, fds[i], answer, &n), REJECTION);
		}
		if (i % 5 == 3) {
			raw_say(fds[i], REQUEST, NULL, 0);
			(void)!write(fds[i], i % 2 ? ack : tagged, 16);
		}
		turn(&a, &b);
		say(a.link);
	}
	UNTIL(b.messages == 40, &a, &b);
	CU_ASSERT_EQUAL(b.messages, 40);
	/* It closes them, not they: each socket reads its end */
	run(&a, &b, 3500000);
	for (int i = 0; i < 40; i++) {
		ssize_t got = 1;

		while (got > 0)
			got = recv(fds[i], answer, sizeof answer, MSG_DONTWAIT);
		/* a silent one may be the kernel's still; who says more than is read is reset */
		CU_ASSERT(got == 0 || i % 5 >= 3);
		close(fds[i]);
	}
	run(&a, &b, 50000);
	CU_ASSERT(descriptors() <= before + 1);
	CU_ASSERT(a.downs == 0 && b.downs == 0 && b.accepts == 1 && b.turned_away >= 8);
	end(&a, &b);
}

/* An acceptor that does not know the secret gets no link, and what it says behind its answer is not read. */
static void test_ofi_gate_false_acceptor(void)
{
	static const uint8_t ack[16] = {3, 0, 0, 0, 2, 0, 16, 0, 16};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof in;
	uint8_t request[HEAD + 256], wrong[MAC_BYTES] = {1};
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd;
	struct side a, false_one;

	CU_ASSERT_EQUAL_FATAL(bind(listener, (struct sockaddr *)&in, sizeof in), 0);
	CU_ASSERT_EQUAL_FATAL(listen(listener, 5), 0);
	CU_ASSERT_EQUAL_FATAL(getsockname(listener, (struct sockaddr *)&in, &bytes), 0);
	snprintf(false_one.address, sizeof false_one.address, "127.0.0.1:%u", ntohs(in.sin_port));
	begin();
	side_open(&a, SECRET);
	connect_to(&a, &false_one);
	turn(&a, NULL);
	fd = accept(listener, NULL, NULL);
	turn(&a, NULL);
	CU_ASSERT_EQUAL(recv(fd, request, sizeof request, 0), HEAD + 17);
	raw_say(fd, RESPONSE, wrong, sizeof wrong);
	CU_ASSERT_EQUAL(write(fd, ack, sizeof ack), sizeof ack);
	UNTIL(a.downs, &a, NULL);
	CU_ASSERT(a.downs == 1 && a.ups == 0);
	CU_ASSERT_EQUAL(a.why, ST_AUTH);
	CU_ASSERT_PTR_NOT_NULL(strstr(a.refused, "does not know the cluster's secret"));
	close(fd);
	close(listener);
	end(&a, NULL);
}

void suite_net_ofi_gate(void)
{
	CU_pSuite s = CU_add_suite("net_ofi_gate", NULL, NULL);

	CU_add_test(s, "same", test_ofi_gate_same);
	CU_add_test(s, "differs", test_ofi_gate_differs);
	CU_add_test(s, "replay", test_ofi_gate_replay);
	CU_add_test(s, "hostile", test_ofi_gate_hostile);
	CU_add_test(s, "false acceptor", test_ofi_gate_false_acceptor);
}
