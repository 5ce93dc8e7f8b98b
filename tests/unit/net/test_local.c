/*
 * test_local.c - links between two threads of this process (tests). What any transport does is in test_transport.c.
 */
#include <CUnit/CUnit.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/env.h"
#include "net/fabric.h"
#include "net/local/local_net.h"
#include "unit.h"

#define WAIT_MS 20000     /* longer than anything takes: a wake-up that is missing shows as a test that fails */
#define LINKS 4

/* An engine's thread. */
struct engine {
	pthread_t thread;
	struct local_port port;
	struct mem mem;
	struct logger log;
	struct net *net;
	char address[NET_ADDRESS_MAX];
	const char *peer;          /* to be dialled */
	struct net_link *links[LINKS];
	uint32_t link_count;
	uint64_t received, bytes, expect, bad, ups, downs, accepts, drains;
	enum status why;
	bool echo;
	uint64_t rounds;
	struct rng rng;
	/* between the threads of a test */
	atomic_bool reading, closing, closed;
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct net_msg *numbered(struct engine *e, uint32_t bytes, uint64_t number)
{
	struct net_msg *m = net_msg_new(&e->mem, bytes < 8 ? 8 : bytes);

	memset(m->data, (int)(number & 0xff), m->bytes);
	memcpy(m->data, &number, 8);
	return m;
}

static bool is_number(const uint8_t *p, size_t bytes, uint64_t number)
{
	uint64_t n;

	memcpy(&n, p, 8);
	for (size_t i = 8; i < bytes; i++)
		if (p[i] != (uint8_t)number)
			return false;
	return n == number;
}

static void on_accepted(void *ctx, struct net_link *link)
{
	struct engine *e = ctx;

	e->accepts++;
	if (e->link_count < LINKS)
		e->links[e->link_count++] = link;
}

static void on_up(void *ctx, struct net_link *link)
{
	(void)link;
	((struct engine *)ctx)->ups++;
}

static void on_message(void *ctx, struct net_link *link, const void *data, size_t bytes)
{
	struct engine *e = ctx;

	e->bad += !is_number(data, bytes, e->expect);
	e->expect++;
	e->received++;
	e->bytes += bytes;
	if (e->echo)
		net_send(link, numbered(e, (uint32_t)bytes, e->expect - 1));
	/* The other one closes meanwhile: what lies here stays as it is until this returns. */
	if (atomic_load(&e->closing)) {
		const struct timespec pause = {0, 30000000};

		atomic_store(&e->reading, true);
		nanosleep(&pause, NULL);
		e->bad += !is_number(data, bytes, e->expect - 1);
		CU_ASSERT(!atomic_load(&e->closed));
		atomic_store(&e->closing, false);
	}
}

static void forget(struct engine *e, const struct net_link *link)
{
	for (uint32_t i = 0; i < e->link_count; i++)
		if (e->links[i] == link)
			e->links[i--] = e->links[--e->link_count];
}

static void on_down(void *ctx, struct net_link *link, enum status why)
{
	struct engine *e = ctx;

	e->downs++;
	e->why = why;
	forget(e, link);
}

static void on_drained(void *ctx, struct net_link *link)
{
	struct engine *e = ctx;

	e->drains++;
	e->bad += link->backlog_bytes > NET_BACKLOG_LOW;
}

static const struct net_events events = {
	.accepted = on_accepted, .up = on_up, .message = on_message, .down = on_down, .drained = on_drained,
};

static void engine_open(struct engine *e, struct local_hub *hub, const char *name, uint64_t seed)
{
	struct net_config cfg = {
		.mem = &e->mem, .log = &e->log, .clock = clock_system(), .events = &events, .ctx = e,
		.provider = net_fabric_default()->provider, .backend = &e->port,
	};
	struct error err;

	memset(e, 0, sizeof *e);
	mem_init(&e->mem, NULL, name, 0);
	logger_init_stderr(&e->log, name);
	logger_set_levels(&e->log, LOG_ERROR);
	rng_init(&e->rng, seed);
	e->port = (struct local_port){hub, net_fabric_default()->ops};
	CU_ASSERT_EQUAL_FATAL(net_ops_local.open(&cfg, &e->net, &err), ST_OK);
	CU_ASSERT_EQUAL_FATAL(net_ops_local.listen(e->net, "127.0.0.1:0", e->address, &err), ST_OK);
}

static void engine_close(struct engine *e)
{
	net_ops_local.close(e->net);
	CU_ASSERT_EQUAL(e->mem.used_bytes, 0);
	mem_fini(&e->mem);
}

static struct net_link *dial(struct engine *e)
{
	struct net_link *link = NULL;
	struct error err;

	if (net_ops_local.connect(e->net, e->peer, &link, &err) != ST_OK)
		return NULL;
	e->links[e->link_count++] = link;
	return link;
}

/* As a loop does: sleeps when there is nothing to do. False: nobody woke it. */
static bool engine_turn(struct engine *e, int wait_ms)
{
	struct pollfd fd = {net_ops_local.wait_fd(e->net), POLLIN, 0};

	if (net_ops_local.progress(e->net) > 0 || !net_ops_local.try_wait(e->net))
		return true;
	return poll(&fd, 1, wait_ms) > 0;
}

/* -- there and back, each asleep most of the time ------------------------------------------------------------------ */

static void *echoes(void *arg)
{
	struct engine *e = arg;

	while (!e->downs && engine_turn(e, WAIT_MS))
		;
	return NULL;
}

static void test_local_wakes(void)
{
	struct mem mem;
	struct local_hub *hub;
	struct engine a, b;
	struct net_link *link;
	bool woken = true;

	mem_init(&mem, NULL, "test", 0);
	hub = local_hub_new(&mem);
	engine_open(&a, hub, "a", 1);
	engine_open(&b, hub, "b", 2);
	a.peer = b.address;
	b.echo = true;
	link = dial(&a);
	CU_ASSERT_PTR_NOT_NULL_FATAL(link);
	pthread_create(&b.thread, NULL, echoes, &b);
	for (uint64_t i = 0; i < 20000 && woken; i++) {
		net_send(link, numbered(&a, 64, i));
		while (a.received <= i && woken)
			woken = engine_turn(&a, WAIT_MS);
	}
	CU_ASSERT(woken);
	CU_ASSERT_EQUAL(a.received, 20000);
	net_ops_local.close_link(link);
	pthread_join(b.thread, NULL);
	CU_ASSERT_EQUAL(a.bad + b.bad, 0);
	CU_ASSERT_EQUAL(b.received, 20000);
	CU_ASSERT_EQUAL(b.downs, 1);
	CU_ASSERT_EQUAL(b.why, ST_CONNECTION);
	CU_ASSERT_EQUAL(a.downs, 0);
	engine_close(&a);
	engine_close(&b);
	local_hub_free(hub);
	mem_fini(&mem);
}

/* -- as fast as they can ------------------------------------------------------------------------------------------------ */

#define FLOOD 60000

static bool flooding(const struct engine *e, uint64_t sent)
{
	return sent < FLOOD || e->received < FLOOD || e->links[0]->backlog_bytes > 0;
}

/* The sender keeps a reference of its own for a while, which the receiver's thread must not touch. */
static void *floods(void *arg)
{
	struct engine *e = arg;
	uint64_t sent = 0, end = now_ms() + WAIT_MS * unit_slow();

	while (e->link_count < 1 && now_ms() < end)
		(void)engine_turn(e, WAIT_MS);
	while (!e->downs && flooding(e, sent) && now_ms() < end) {
		struct net_link *link = e->links[0];

		while (sent < FLOOD && link->backlog_bytes < 1u << 20) {
			uint32_t bytes = sent % 100 == 0 ? 60000 : 8 + (uint32_t)rng_below(&e->rng, 200);
			struct net_msg *m = numbered(e, bytes, sent++);

			net_send(link, net_msg_ref(m));
			net_msg_unref(m);
		}
		if (sent < FLOOD)
			(void)net_ops_local.progress(e->net);
		else
			(void)engine_turn(e, 1); /* that the last is taken nobody tells it */
	}
	return NULL;
}

static void test_local_flood(void)
{
	struct mem mem;
	struct local_hub *hub;
	struct engine a, b;

	mem_init(&mem, NULL, "test", 0);
	hub = local_hub_new(&mem);
	engine_open(&a, hub, "a", 1);
	engine_open(&b, hub, "b", 2);
	a.peer = b.address;
	CU_ASSERT_PTR_NOT_NULL_FATAL(dial(&a));
	pthread_create(&a.thread, NULL, floods, &a);
	pthread_create(&b.thread, NULL, floods, &b);
	pthread_join(a.thread, NULL);
	pthread_join(b.thread, NULL);
	CU_ASSERT_EQUAL(a.received, FLOOD);
	CU_ASSERT_EQUAL(b.received, FLOOD);
	CU_ASSERT_EQUAL(a.bad + b.bad + a.downs + b.downs, 0);
	engine_close(&a);
	engine_close(&b);
	local_hub_free(hub);
	mem_fini(&mem);
}

/* -- links that come and go ------------------------------------------------------------------------------------------------ */

static void *churns(void *arg)
{
	struct engine *e = arg;
	uint64_t end = now_ms() + WAIT_MS * unit_slow();

	while (e->rounds < 3000 && now_ms() < end) {
		uint64_t what = rng_below(&e->rng, 10);

		if (what < 3 && e->link_count < LINKS) {
			(void)dial(e);
			e->rounds++;
		} else if (what < 5 && e->link_count) {
			struct net_link *link = e->links[rng_below(&e->rng, e->link_count)];

			forget(e, link);
			net_ops_local.close_link(link);
		} else if (what < 9 && e->link_count) {
			struct net_link *link = e->links[rng_below(&e->rng, e->link_count)];
			struct net_msg *m = numbered(e, (uint32_t)rng_below(&e->rng, 3000), e->rounds);

			for (uint64_t i = rng_below(&e->rng, 20); i > 0; i--)
				net_send(link, net_msg_ref(m));
			net_msg_unref(m);
		}
		(void)net_ops_local.progress(e->net);
	}
	net_ops_local.close(e->net); /* while the other one may be anywhere */
	return NULL;
}

static void test_local_churn(void)
{
	struct mem mem;
	struct local_hub *hub;
	struct engine a, b;

	mem_init(&mem, NULL, "test", 0);
	hub = local_hub_new(&mem);
	engine_open(&a, hub, "a", 3);
	engine_open(&b, hub, "b", 4);
	a.peer = b.address;
	b.peer = a.address;
	pthread_create(&a.thread, NULL, churns, &a);
	pthread_create(&b.thread, NULL, churns, &b);
	pthread_join(a.thread, NULL);
	pthread_join(b.thread, NULL);
	CU_ASSERT_EQUAL(a.rounds, 3000);
	CU_ASSERT_EQUAL(b.rounds, 3000);
	CU_ASSERT(a.accepts > 0 && b.accepts > 0 && a.downs > 0 && b.downs > 0 && a.received > 0 && b.received > 0);
	CU_ASSERT_EQUAL(a.mem.used_bytes, 0);
	CU_ASSERT_EQUAL(b.mem.used_bytes, 0);
	local_hub_free(hub);
	mem_fini(&mem);
}

/* -- an end that is closed while the other one reads ---------------------------------------------------------------------- */

static void *reads_slowly(void *arg)
{
	struct engine *e = arg;

	while (!e->downs && engine_turn(e, WAIT_MS))
		;
	return NULL;
}

static void test_local_close_while_read(void)
{
	struct mem mem;
	struct local_hub *hub;
	struct engine a, b;
	struct net_link *link;

	mem_init(&mem, NULL, "test", 0);
	hub = local_hub_new(&mem);
	engine_open(&b, hub, "b", 2);
	for (int how = 0; how < 2; how++) {
		uint64_t end = now_ms() + WAIT_MS;

		engine_open(&a, hub, "a", 1);
		a.peer = b.address;
		b.downs = b.expect = 0;
		atomic_store(&b.closing, true);
		atomic_store(&b.reading, false);
		atomic_store(&b.closed, false);
		link = dial(&a);
		for (uint64_t i = 0; i < 10; i++)
			net_send(link, numbered(&a, 100000, i));
		pthread_create(&b.thread, NULL, reads_slowly, &b);
		while (!atomic_load(&b.reading) && now_ms() < end)
			(void)net_ops_local.progress(a.net);
		if (how == 1) { /* the link first: its messages are dropped when nobody reads them any more */
			net_ops_local.close_link(link);
			(void)net_ops_local.progress(a.net);
			CU_ASSERT(a.mem.used_bytes > 10 * 100000);
		}
		net_ops_local.close(a.net);
		atomic_store(&b.closed, true);
		CU_ASSERT_EQUAL(a.mem.used_bytes, 0);
		mem_fini(&a.mem);
		pthread_join(b.thread, NULL);
		CU_ASSERT_EQUAL(b.bad, 0);
		CU_ASSERT(b.expect < 10); /* what was not read then never was */
		CU_ASSERT_EQUAL(b.downs, 1);
	}
	engine_close(&b);
	local_hub_free(hub);
	mem_fini(&mem);
}

/* -- one that does not read ------------------------------------------------------------------------------------------------- */

static void test_local_slow_reader(void)
{
	struct mem mem;
	struct local_hub *hub;
	struct engine a, b;
	struct net_link *link;

	mem_init(&mem, NULL, "test", 0);
	hub = local_hub_new(&mem);
	engine_open(&a, hub, "a", 1);
	engine_open(&b, hub, "b", 2);
	a.peer = b.address;
	link = dial(&a);
	for (int i = 0; i < 4; i++) {
		(void)net_ops_local.progress(b.net);
		(void)net_ops_local.progress(a.net);
	}
	CU_ASSERT_EQUAL_FATAL(a.ups, 1);
	for (uint64_t i = 0; i < 5000; i++) /* more than are in a ring */
		net_send(link, numbered(&a, 100, i));
	for (int i = 0; i < 10; i++)
		(void)net_ops_local.progress(a.net);
	CU_ASSERT(net_ops_local.try_wait(a.net)); /* there is nothing to do for it */
	CU_ASSERT_EQUAL(link->backlog_bytes, 500000);
	CU_ASSERT_EQUAL(a.drains, 0);
	for (int i = 0; i < 20; i++) {
		struct pollfd fd = {net_ops_local.wait_fd(a.net), POLLIN, 0};

		(void)net_ops_local.progress(b.net);
		if (b.received < 4000)
			CU_ASSERT_EQUAL(poll(&fd, 1, 0), 1); /* it is told that there is room again */
		(void)net_ops_local.progress(a.net);
		(void)net_ops_local.try_wait(a.net);
	}
	CU_ASSERT_EQUAL(b.received, 5000);
	CU_ASSERT_EQUAL(b.bad, 0);
	CU_ASSERT_EQUAL(a.drains, 1);
	CU_ASSERT_EQUAL(link->backlog_bytes, 0);
	/* A message that is longer than allowed breaks the link on both sides. */
	b.links[0]->rx_message_max = 100;
	net_send(link, numbered(&a, 101, 5000));
	for (int i = 0; i < 4; i++) {
		(void)net_ops_local.progress(a.net);
		(void)net_ops_local.progress(b.net);
	}
	CU_ASSERT_EQUAL(a.downs, 1);
	CU_ASSERT_EQUAL(b.downs, 1);
	CU_ASSERT_EQUAL(b.received, 5000);
	engine_close(&a);
	engine_close(&b);
	local_hub_free(hub);
	mem_fini(&mem);
}

/* -- dials -------------------------------------------------------------------------------------------------------------------- */

static void test_local_dials(void)
{
	struct mem mem;
	struct local_hub *hub;
	struct engine a, b;
	uint64_t end;

	mem_init(&mem, NULL, "test", 0);
	hub = local_hub_new(&mem);
	engine_open(&a, hub, "a", 1);
	engine_open(&b, hub, "b", 2);
	a.peer = b.address;
	/* one that does not come to it: told after about two seconds */
	CU_ASSERT_PTR_NOT_NULL(dial(&a));
	end = now_ms() + 4000 * unit_slow();
	while (!a.downs && now_ms() < end)
		(void)net_ops_local.progress(a.net);
	CU_ASSERT_EQUAL(a.downs, 1);
	CU_ASSERT_EQUAL(a.why, ST_WAIT);
	/* and it does not take what nobody waits for any more */
	(void)net_ops_local.progress(b.net);
	CU_ASSERT_EQUAL(b.accepts, 0);
	/* one that goes before it has answered */
	CU_ASSERT_PTR_NOT_NULL(dial(&a));
	engine_close(&b);
	for (int i = 0; i < 4; i++)
		(void)net_ops_local.progress(a.net);
	CU_ASSERT_EQUAL(a.downs, 2);
	CU_ASSERT_EQUAL(a.why, ST_CONNECTION_REFUSED);
	/* and then the address is nobody's of this process: the fabric refuses */
	CU_ASSERT_PTR_NOT_NULL(dial(&a));
	end = now_ms() + 4000 * unit_slow();
	while (a.downs < 3 && now_ms() < end)
		(void)net_ops_local.progress(a.net);
	CU_ASSERT_EQUAL(a.downs, 3);
	CU_ASSERT_EQUAL(a.why, ST_CONNECTION_REFUSED);
	engine_close(&a);
	local_hub_free(hub);
	mem_fini(&mem);
}

void suite_net_local(void)
{
	CU_pSuite s = CU_add_suite("net_local", NULL, NULL);

	CU_add_test(s, "wakes", test_local_wakes);
	CU_add_test(s, "flood", test_local_flood);
	CU_add_test(s, "churn", test_local_churn);
	CU_add_test(s, "close while the other reads", test_local_close_while_read);
	CU_add_test(s, "slow reader", test_local_slow_reader);
	CU_add_test(s, "dials", test_local_dials);
}
