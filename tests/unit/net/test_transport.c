/*
 * test_transport.c - the same cases over every back end of net/net.h (tests).
 *
 * A *peer* is a transport with what happened to it. Where a case needs a peer that dies for real,
 * it is a child process (ofi) or a simulated host (sim).
 */
#include <CUnit/CUnit.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../unit.h"
#include "base/list.h"
#include "net/net.h"
#include "net/sim/sim_net.h"

#define LINKS_MAX 8
#ifdef __SANITIZE_ADDRESS__
#define KILL_US 60000 /* the end of such a process takes longer than the news of it */
#else
#define KILL_US 10000
#endif

struct backend {
	const char *name;
	const struct net_ops *ops;
	bool simulated;
};

static const struct backend backends[] = {
	{"sim", &net_ops_sim, true},
	{"ofi:tcp", &net_ops_ofi, false},
};

/* What both sides of a test share: the memory, the time and, simulated, the network. */
static struct {
	const struct backend *b;
	struct mem mem;
	struct logger log;
	uint64_t sim_us;
	struct sim_net *sn;
} w;

struct peer {
	struct net *net;
	struct sim_host *host;
	char address[NET_ADDRESS_MAX];
	struct net_link *links[LINKS_MAX];
	uint32_t link_count, ups, accepts, downs, drains;
	enum status why;
	uint64_t down_us;
	bool echo;               /* sends back what it gets */
	uint64_t messages, bytes, expect, errors; /* errors: out of order or damaged */
};

static uint64_t now_us(void *ctx)
{
	struct timespec t;

	(void)ctx;
	if (w.b->simulated)
		return w.sim_us;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* -- messages that can be checked: number, length, and bytes that follow from both ------------ */

static void body_fill(uint8_t *p, uint32_t bytes, uint64_t number)
{
	for (uint32_t i = 8; i < bytes; i++)
		p[i] = (uint8_t)(number * 31 + i * 7 + (i >> 11));
	if (bytes >= 8)
		memcpy(p, &number, 8);
}

static bool body_ok(const uint8_t *p, size_t bytes, uint64_t number)
{
	uint64_t n = number;

	if (bytes >= 8)
		memcpy(&n, p, 8);
	if (n != number)
		return false;
	for (size_t i = 8; i < bytes; i++)
		if (p[i] != (uint8_t)(number * 31 + i * 7 + (i >> 11)))
			return false;
	return true;
}

static struct net_msg *body_new(uint32_t bytes, uint64_t number)
{
	struct net_msg *m = net_msg_new(&w.mem, bytes);

	body_fill(m->data, bytes, number);
	return m;
}

/* -- peers ------------------------------------------------------------------------------------ */

/* CUnit's assertions abort outside a case, and a victim is none. */
static bool in_victim;
#define CHECK(e)                                                                                  \
	do {                                                                                      \
		bool ok_ = (e);                                                                   \
		if (in_victim && !ok_)                                                            \
			_exit(1);                                                                 \
		if (!in_victim)                                                                   \
			CU_ASSERT(ok_);                                                           \
	} while (0)

static void on_accepted(void *ctx, struct net_link *link)
{
	struct peer *p = ctx;

	p->accepts++;
	if (p->link_count < LINKS_MAX)
		p->links[p->link_count++] = link;
	CHECK(link->accepted);
}

static void on_up(void *ctx, struct net_link *link)
{
	struct peer *p = ctx;

	(void)link;
	p->ups++;
}

static void on_message(void *ctx, struct net_link *link, const void *data, size_t bytes)
{
	struct peer *p = ctx;

	if (p->echo) {
		struct net_msg *m = net_msg_new(&w.mem, (uint32_t)bytes);

		memcpy(m->data, data, bytes);
		net_send(link, m);
	}
	if (!body_ok(data, bytes, p->expect))
		p->errors++;
	p->expect++;
	p->messages++;
	p->bytes += bytes;
}

static void on_down(void *ctx, struct net_link *link, enum status why)
{
	struct peer *p = ctx;

	p->downs++;
	p->why = why;
	p->down_us = now_us(NULL);
	for (uint32_t i = 0; i < p->link_count; i++)
		if (p->links[i] == link)
			p->links[i] = p->links[--p->link_count];
}

static void on_drained(void *ctx, struct net_link *link)
{
	struct peer *p = ctx;

	CHECK(link->backlog_bytes <= NET_BACKLOG_LOW);
	p->drains++;
}

static const struct net_events peer_events = {on_accepted, on_up, on_message, on_down, on_drained, NULL};

static void peer_open(struct peer *p, const char *address)
{
	struct error err;
	char name[32];
	struct net_config cfg = {
		.mem = &w.mem,
		.log = &w.log,
		.clock = {NULL, now_us, now_us},
		.events = &peer_events,
		.ctx = p,
		.provider = "tcp",
	};

	memset(p, 0, sizeof *p);
	error_clear(&err);
	if (w.b->simulated) {
		static uint32_t number;

		snprintf(name, sizeof name, "peer-%u:7", ++number);
		cfg.backend = p->host = sim_host_new(w.sn, name);
		address = "x:0";
	}
	CHECK(w.b->ops->open(&cfg, &p->net, &err) == ST_OK);
	if (!address)
		return;
	if (w.b->ops->listen(p->net, address, p->address, &err) != ST_OK) {
		fprintf(stderr, "listen: %s\n", err.message);
		CHECK(!"listens");
	}
	CHECK(!strstr(p->address, ":0"));
}

static void peer_close(struct peer *p)
{
	w.b->ops->close(p->net);
	p->net = NULL;
}

static void world_open(const struct backend *b)
{
	struct clock k = {NULL, now_us, now_us};

	memset(&w, 0, sizeof w);
	w.b = b;
	w.sim_us = 1000;
	mem_init(&w.mem, NULL, "transport", 0);
	logger_init_stderr(&w.log, "test");
	logger_set_levels(&w.log, LOG_ERROR);
	if (b->simulated)
		w.sn = sim_net_new(&w.mem, k, 11);
}

static void world_close(void)
{
	if (w.sn)
		sim_net_free(w.sn);
	CU_ASSERT_EQUAL(w.mem.used_bytes, 0); /* every message's reference was dropped, once */
	mem_fini(&w.mem);
}

/* One turn of all; sleeps when nothing is to be done. */
static void turn(struct peer *const *peers, uint32_t count)
{
	struct pollfd fds[LINKS_MAX];
	int done = 0;

	for (uint32_t i = 0; i < count; i++)
		done += w.b->ops->progress(peers[i]->net);
	if (done)
		return;
	if (w.b->simulated) {
		uint64_t next = sim_net_next_us(w.sn);

		w.sim_us = next == UINT64_MAX || next > w.sim_us + 10000 ? w.sim_us + 10000 : next;
		sim_net_run(w.sn, w.sim_us);
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (!w.b->ops->try_wait(peers[i]->net))
			return;
		fds[i].fd = w.b->ops->wait_fd(peers[i]->net);
		fds[i].events = POLLIN;
	}
	poll(fds, count, 10);
}

#define UNTIL(condition, limit_us, ...)                                                           \
	do {                                                                                      \
		struct peer *const peers_[] = {__VA_ARGS__};                                      \
		uint64_t end_ = now_us(NULL) + (limit_us) * (w.b->simulated ? 1 : unit_slow());   \
		while (!(condition) && now_us(NULL) < end_)                                       \
			turn(peers_, sizeof peers_ / sizeof peers_[0]);                           \
	} while (0)

/* a dials b. */
static struct net_link *peers_connect(struct peer *a, struct peer *b)
{
	struct net_link *link = NULL;
	uint32_t ups = a->ups, accepts = b->accepts;
	struct error err;

	CU_ASSERT_EQUAL_FATAL(w.b->ops->connect(a->net, b->address, &link, &err), ST_OK);
	UNTIL(a->ups > ups && b->accepts > accepts, 5000000, a, b);
	CU_ASSERT_EQUAL_FATAL(a->ups, ups + 1);
	CU_ASSERT_EQUAL_FATAL(b->accepts, accepts + 1);
	a->links[a->link_count++] = link;
	return link;
}

static void for_each_backend(void (*f)(void))
{
	for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
		world_open(&backends[i]);
		f();
		world_close();
	}
}

/* -- cases ------------------------------------------------------------------------------------ */

static void order_and_sizes(void)
{
	static const uint32_t sizes[] = {
		0,        1,      7,      8,        9,
		63,       64,     120,    121,      128,
		1000,     65519,  65520,  65527,    65528,
		65529,    65535,  65536,  65537,    131064,
		131072,   131073, 200000, 1u << 20, (4u << 20) - 1,
		4u << 20,
	};
	const uint32_t count = sizeof sizes / sizeof sizes[0];
	struct peer a, b;
	uint64_t bytes = 0;

	peer_open(&a, "127.0.0.1:0");
	peer_open(&b, "127.0.0.1:0");
	struct net_link *link = peers_connect(&a, &b), *back = b.links[0];

	for (uint32_t i = 0; i < count; i++) {
		net_send(link, body_new(sizes[i], i));
		net_send(back, body_new(sizes[count - 1 - i], i));
		bytes += sizes[i];
	}
	UNTIL(a.messages == count && b.messages == count, 20000000, &a, &b);
	CU_ASSERT_EQUAL(a.messages, count);
	CU_ASSERT_EQUAL(b.messages, count);
	CU_ASSERT_EQUAL(a.bytes, bytes);
	CU_ASSERT_EQUAL(b.bytes, bytes);
	/* and many of random size, small ones above all, in bursts */
	for (uint32_t burst = 0; burst < 200; burst++) {
		for (uint32_t i = 0; i < 20; i++) {
			uint32_t size = burst % 50 == 49 ? (i * 7919) % 100000
							 : (burst * 131 + i * 17) % 400;

			net_send(link, body_new(size, count + burst * 20 + i));
			net_send(back, body_new(size, count + burst * 20 + i));
		}
		if (burst % 3)
			turn((struct peer *const[]){&a, &b}, 2);
	}
	UNTIL(a.messages == count + 4000 && b.messages == count + 4000, 20000000, &a, &b);
	CU_ASSERT_EQUAL(a.messages, count + 4000);
	CU_ASSERT_EQUAL(b.messages, count + 4000);
	CU_ASSERT_EQUAL(a.errors + b.errors, 0);
	CU_ASSERT_EQUAL(link->backlog_bytes, 0);
	CU_ASSERT(a.drains > 0 && b.drains > 0); /* the large ones went over the mark */
	CU_ASSERT_EQUAL(a.downs + b.downs, 0);
	peer_close(&a);
	peer_close(&b);
}

/*
 * Messages of all sizes arrive whole, in order, in both directions at once; the backlog is told
 * when it drained.
 */
static void test_transport_order_and_sizes(void)
{
	for_each_backend(order_and_sizes);
}

static void closing(void)
{
	struct peer a, b;
	struct net_msg *m;

	peer_open(&a, "127.0.0.1:0");
	peer_open(&b, "127.0.0.1:0");
	for (int i = 0; i < 10; i++) {
		struct net_link *link = peers_connect(&a, &b);
		uint32_t downs = b.downs;

		m = body_new(3u << 20, 0);
		net_msg_ref(m);
		net_send(link, m);
		for (int k = 0; k < i; k++)
			turn((struct peer *const[]){&a, &b}, 2);
		w.b->ops->close_link(link);
		a.link_count--;
		UNTIL(b.downs > downs, 3000000, &a, &b);
		CU_ASSERT_EQUAL(b.downs, downs + 1);
		CU_ASSERT_EQUAL(b.why, ST_CONNECTION);
		turn((struct peer *const[]){&a, &b}, 2);
		UNTIL(m->refs == 1, 1000000, &a, &b);
		CU_ASSERT_EQUAL(m->refs, 1); /* the transport's is dropped */
		net_msg_unref(m);
	}
	CU_ASSERT_EQUAL(a.downs, 0); /* not for what was closed here */
	/* Closing a transport closes its links; a dial under way, too. */
	peers_connect(&a, &b);
	peers_connect(&b, &a);
	peer_close(&b);
	UNTIL(a.downs == 2, 3000000, &a);
	CU_ASSERT_EQUAL(a.downs, 2);
	peer_close(&a);
}

/* A link that is closed here goes down there, once, and what was queued is dropped. */
static void test_transport_close(void)
{
	for_each_backend(closing);
}

static void bad_addresses(void)
{
	static const char *const bad[] = {"",
					  ":",
					  "nowhere",
					  "127.0.0.1",
					  "127.0.0.1:",
					  "127.0.0.1:x",
					  ":80",
					  "127.0.0.1:99999",
					  "127.0.0.1:-1",
					  "127.0.0.1:80x"};
	struct peer a, b;
	struct net_link *link = NULL;
	struct error err;
	char bound[NET_ADDRESS_MAX];
	uint64_t then;

	peer_open(&a, "127.0.0.1:0");
	peer_open(&b, "127.0.0.1:0");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		error_clear(&err);
		CU_ASSERT_NOT_EQUAL(w.b->ops->connect(a.net, bad[i], &link, &err), ST_OK);
		CU_ASSERT_PTR_NULL(link);
		CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "host:port"));
	}
	/* Nobody listens: refused, at once. */
	snprintf(bound, sizeof bound, "%s", b.address);
	peer_close(&b);
	then = now_us(NULL);
	CU_ASSERT_EQUAL_FATAL(w.b->ops->connect(a.net, bound, &link, &err), ST_OK);
	UNTIL(a.downs, 3000000, &a);
	CU_ASSERT_EQUAL(a.downs, 1);
	CU_ASSERT_EQUAL(a.why, ST_CONNECTION_REFUSED);
	CU_ASSERT(now_us(NULL) - then < 20000);
	peer_close(&a);
}

/*
 * Bad addresses fail at once and say why; a port where nobody listens is refused within
 * milliseconds.
 */
static void test_transport_addresses(void)
{
	for_each_backend(bad_addresses);
}

static void port_in_use(void)
{
	struct peer a, b;
	struct net_config cfg = {
		.mem = &w.mem,
		.log = &w.log,
		.clock = {NULL, now_us, now_us},
		.events = &peer_events,
		.ctx = &b,
	};
	struct error err;
	char bound[NET_ADDRESS_MAX] = "unchanged";

	peer_open(&a, "127.0.0.1:0");
	memset(&b, 0, sizeof b);
	error_clear(&err);
	if (w.b->simulated)
		cfg.backend = sim_host_new(w.sn, "another:7");
	CU_ASSERT_EQUAL_FATAL(w.b->ops->open(&cfg, &b.net, &err), ST_OK);
	CU_ASSERT_NOT_EQUAL(w.b->ops->listen(b.net, a.address, bound, &err), ST_OK);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "in use"));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.message, a.address));
	CU_ASSERT_STRING_EQUAL(bound, "unchanged");
	peer_close(&b);
	peer_close(&a);
}

/* A port that somebody has is a clear error. */
static void test_transport_port_in_use(void)
{
	for_each_backend(port_in_use);
}

static void sent_before_up(void)
{
	struct peer a, b;
	struct net_link *link;
	struct error err;

	peer_open(&a, "127.0.0.1:0");
	peer_open(&b, "127.0.0.1:0");
	CU_ASSERT_EQUAL_FATAL(w.b->ops->connect(a.net, b.address, &link, &err), ST_OK);
	for (uint32_t i = 0; i < 100; i++)
		net_send(link, body_new(i * 50, i));
	UNTIL(b.messages == 100, 5000000, &a, &b);
	CU_ASSERT_EQUAL(b.messages, 100);
	CU_ASSERT_EQUAL(b.errors, 0);
	peer_close(&a);
	peer_close(&b);
}

/* What is sent on a link that is still dialling arrives when it is up. */
static void test_transport_send_before_up(void)
{
	for_each_backend(sent_before_up);
}

/* -- peers that die --------------------------------------------------------------------------- */

/*
 * A process of its own that echoes, until it is killed. It is started before this process has used
 * the library, and starts the ones to be killed itself.
 */
struct nursery { pid_t pid; int to, from; };

static void victim(int out)
{
	struct peer p;

	peer_open(&p, "127.0.0.1:0");
	p.echo = true;
	if (write(out, p.address, sizeof p.address) != sizeof p.address)
		_exit(1);
	for (;;) {
		turn((struct peer *const[]){&p}, 1);
		p.expect = 0; /* not checked there */
	}
}

static void nursery_run(int in, int out)
{
	struct peer warm;
	char command;

	/* The library's start takes a tenth of a second; those to be killed inherit it. */
	in_victim = true;
	world_open(&backends[1]);
	peer_open(&warm, "127.0.0.1:0");
	peer_close(&warm);
	while (read(in, &command, 1) == 1) {
		pid_t pid = fork();

		if (pid == 0)
			victim(out);
		if (write(out, &pid, sizeof pid) != sizeof pid)
			_exit(1);
		if (read(in, &command, 1) != 1) /* it was killed */
			_exit(1);
		waitpid(pid, NULL, 0);
	}
	_exit(0);
}

static struct nursery nursery;

static int nursery_start(void)
{
	int to[2], from[2];

	fflush(NULL);
	if (pipe(to) < 0 || pipe(from) < 0)
		return -1;
	nursery.pid = fork();
	if (nursery.pid == 0) {
		close(to[1]);
		close(from[0]);
		nursery_run(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	nursery.to = to[1];
	nursery.from = from[0];
	return nursery.pid < 0 ? -1 : 0;
}

static int nursery_stop(void)
{
	close(nursery.to);
	close(nursery.from);
	waitpid(nursery.pid, NULL, 0);
	return 0;
}

/* pid and address, in whatever order they come. */
static pid_t nursery_victim(char address[NET_ADDRESS_MAX])
{
	char data[NET_ADDRESS_MAX + sizeof(pid_t)];
	size_t have = 0;
	pid_t pid;

	if (write(nursery.to, "n", 1) != 1)
		return -1;
	while (have < sizeof data) {
		struct pollfd fd = {nursery.from, POLLIN, 0};
		ssize_t n = poll(&fd, 1, 10000) == 1
				    ? read(nursery.from, data + have, sizeof data - have)
				    : 0;

		if (n <= 0)
			return -1;
		have += (size_t)n;
	}
	/* the address begins with a digit and is text, a pid below 2^24 ends in a zero byte */
	if (strncmp(data, "127.", 4) == 0) {
		memcpy(address, data, NET_ADDRESS_MAX);
		memcpy(&pid, data + NET_ADDRESS_MAX, sizeof pid);
	} else {
		memcpy(&pid, data, sizeof pid);
		memcpy(address, data + sizeof pid, NET_ADDRESS_MAX);
	}
	return pid;
}

static uint64_t kill_one(struct peer *a, int round)
{
	char address[NET_ADDRESS_MAX];
	pid_t pid = nursery_victim(address);
	struct net_link *link = NULL;
	struct net_msg *m[40];
	uint32_t sent = 0, ups = a->ups, downs = a->downs;
	uint64_t then, noticed, mode = (uint64_t)round % 4;
	struct error err;

	CU_ASSERT_FATAL(pid > 0);
	CU_ASSERT_EQUAL_FATAL(w.b->ops->connect(a->net, address, &link, &err), ST_OK);
	UNTIL(a->ups > ups, 3000000, a);
	CU_ASSERT_EQUAL_FATAL(a->ups, ups + 1);
	/*
	 * Idle; small messages there and back; large ones; the same without looking at what comes
	 * back.
	 */
	for (uint32_t i = 0; mode && i < 40; i++) {
		m[sent] = body_new(mode == 1 ? 64 : 400000, 0);
		net_msg_ref(m[sent]);
		net_send(link, m[sent++]);
	}
	for (int i = 0; mode && mode < 3 && i < round % 7; i++)
		turn((struct peer *const[]){a}, 1);
	if (mode == 3)
		w.b->ops->progress(a->net);
	kill(pid, SIGKILL);
	then = now_us(NULL);
	UNTIL(a->downs > downs, 3000000, a);
	CU_ASSERT_EQUAL(a->downs, downs + 1);
	CU_ASSERT_EQUAL(a->why, ST_CONNECTION);
	noticed = a->down_us;
	for (uint32_t i = 0; i < sent; i++) {
		CU_ASSERT_EQUAL(m[i]->refs, 1);
		net_msg_unref(m[i]);
	}
	if (write(nursery.to, "k", 1) != 1)
		CU_FAIL("nursery");
	/* Nobody is there any more; a dying process may still reset a dial or two. */
	a->why = ST_OK;
	for (int try = 0; try < 20 && a->why != ST_CONNECTION_REFUSED; try++) {
		CU_ASSERT_EQUAL(w.b->ops->connect(a->net, address, &link, &err), ST_OK);
		downs = a->downs;
		UNTIL(a->downs > downs, 3000000, a);
		CU_ASSERT(a->why == ST_CONNECTION_REFUSED || a->why == ST_CONNECTION);
	}
	CU_ASSERT_EQUAL(a->why, ST_CONNECTION_REFUSED);
	return noticed > then ? noticed - then : 0;
}

/*
 * 100 kills of a peer process, idle and busy: down is called once, within 10 ms, and every
 * message's reference is dropped once. This runs beside other tests: for less than half of them it may
 * take longer, but never as long as a heartbeat would.
 */
static void test_transport_kill_process(void)
{
	struct peer a;
	uint64_t worst = 0, sum = 0;
	uint32_t late = 0;

	world_open(&backends[1]);
	peer_open(&a, "127.0.0.1:0");
	for (int round = 0; round < 100; round++) {
		uint64_t us = kill_one(&a, round);

		late += us > KILL_US * unit_slow();
		worst = us > worst ? us : worst;
		sum += us;
	}
	if (getenv("NET_TEST_TIMES"))
		printf("(down after %llu us on average, %llu at worst) ",
		       (unsigned long long)sum / 100, (unsigned long long)worst);
	CU_ASSERT(late < 50);
	CU_ASSERT(worst < 50 * KILL_US * unit_slow());
	peer_close(&a);
	world_close();
}

/* The same with simulated hosts, and that a lost machine is not noticed. */
static void test_transport_crash_host(void)
{
	world_open(&backends[0]);
	for (int round = 0; round < 100; round++) {
		struct peer a, b;
		struct net_link *link;
		struct net_msg *m = body_new(100000, 0);

		peer_open(&a, NULL);
		peer_open(&b, NULL);
		b.echo = true;
		link = peers_connect(&a, &b);
		net_msg_ref(m);
		for (int i = 0; i < 20; i++)
			net_send(link, net_msg_ref(m));
		net_send(link, m);
		UNTIL(false, (uint64_t)round * 50, &a, &b);
		sim_host_crash(b.host, round % 4 == 3);
		UNTIL(a.downs, 10000, &a);
		CU_ASSERT_EQUAL(a.downs, round % 4 != 3);
		peer_close(&b);
		peer_close(&a);
		CU_ASSERT_EQUAL(m->refs, 1);
		net_msg_unref(m);
	}
	world_close();
}

static void churn(void)
{
	struct peer a, b;
	struct net_link *good, *links[6];
	struct error err;

	peer_open(&a, "127.0.0.1:0");
	peer_open(&b, "127.0.0.1:0");
	good = peers_connect(&a, &b);
	for (int round = 0; round < 30; round++) {
		for (int i = 0; i < 6; i++) {
			CU_ASSERT_EQUAL_FATAL(w.b->ops->connect(i % 2 ? a.net : b.net,
								i % 2 ? b.address : a.address,
								&links[i], &err),
					      ST_OK);
			net_send(links[i], net_msg_new(&w.mem, 100));
		}
		net_send(good, body_new(1000, 0));
		for (int i = 0; i < round % 5; i++)
			turn((struct peer *const[]){&a, &b}, 2);
		for (int i = 0; i < 6; i++)
			w.b->ops->close_link(links[i]);
		turn((struct peer *const[]){&a, &b}, 2);
	}
	a.link_count = b.link_count = 0;
	UNTIL(false, 300000, &a, &b);
	b.messages = b.errors = 0;
	b.expect = 5;
	net_send(good, body_new(100000, 5));
	UNTIL(b.messages, 3000000, &a, &b);
	CU_ASSERT_EQUAL(b.messages, 1);
	CU_ASSERT_EQUAL(b.errors, 0);
	peer_close(&a);
	peer_close(&b);
}

/* Links that are closed in every stage of their life leave nothing behind. */
static void test_transport_churn(void)
{
	for_each_backend(churn);
}

/* Bytes that are not libfabric's, on the port where engines are expected, hurt nobody. */
static void test_transport_garbage(void)
{
	struct peer a, b;
	struct net_link *good;
	struct rng r;

	world_open(&backends[1]);
	rng_init(&r, 5);
	peer_open(&a, "127.0.0.1:0");
	peer_open(&b, "127.0.0.1:0");
	good = peers_connect(&a, &b);
	for (int round = 0; round < 40; round++) {
		struct sockaddr_in in = {.sin_family = AF_INET,
					 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		uint64_t noise[64];

		in.sin_port = htons((uint16_t)atoi(strrchr(b.address, ':') + 1));
		CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
		for (size_t i = 0; i < 64; i++)
			noise[i] = rng_next(&r);
		if (round % 4 && write(fd, noise, 1 + rng_below(&r, sizeof noise)) < 0)
			CU_FAIL("write");
		for (int i = 0; i < 3; i++)
			turn((struct peer *const[]){&a, &b}, 2);
		close(fd);
		net_send(good, body_new(500, (uint64_t)round));
	}
	UNTIL(b.messages == 40, 3000000, &a, &b);
	CU_ASSERT_EQUAL(b.messages, 40);
	CU_ASSERT_EQUAL(b.errors, 0);
	CU_ASSERT_EQUAL(b.accepts, 1);
	CU_ASSERT_EQUAL(b.downs, 0);
	peer_close(&a);
	peer_close(&b);
	world_close();
}

void suite_net_transport(void)
{
	CU_pSuite s = CU_add_suite("net_transport", nursery_start, nursery_stop);

	CU_add_test(s, "order and sizes", test_transport_order_and_sizes);
	CU_add_test(s, "close", test_transport_close);
	CU_add_test(s, "addresses", test_transport_addresses);
	CU_add_test(s, "port in use", test_transport_port_in_use);
	CU_add_test(s, "send before up", test_transport_send_before_up);
	CU_add_test(s, "churn", test_transport_churn);
	CU_add_test(s, "garbage", test_transport_garbage);
	CU_add_test(s, "crashed hosts", test_transport_crash_host);
	CU_add_test(s, "killed processes", test_transport_kill_process);
}
