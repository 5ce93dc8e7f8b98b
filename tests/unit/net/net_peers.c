/*
 * net_peers.c - transports that tests talk to, over every fabric of this machine (tests). See net_peers.h.
 */
#include "net/net_peers.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/list.h"
#include "unit.h"

#define BACKENDS_MAX 16

struct world world;
bool in_victim;

uint64_t now_us(void *ctx)
{
	struct timespec t;

	(void)ctx;
	if (!world.b->fabric)
		return world.sim_us;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

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

struct net_msg *body_new(uint32_t bytes, uint64_t number)
{
	struct net_msg *m = net_msg_new(&world.mem, bytes);

	body_fill(m->data, bytes, number);
	return m;
}

/* -- peers ------------------------------------------------------------------------------------ */

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
		struct net_msg *m = net_msg_new(&world.mem, (uint32_t)bytes);

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

static void on_read(void *ctx, struct net_link *link, uint64_t token, const void *data, size_t bytes)
{
	struct peer *p = ctx;

	(void)link;
	p->reads++;
	p->read_bytes += bytes;
	if (memcmp(p->memory + token, data, bytes) != 0)
		p->errors++;
}

static const struct net_events peer_events = {
	.read = on_read,
	.accepted = on_accepted,
	.up = on_up,
	.message = on_message,
	.down = on_down,
	.drained = on_drained,
};

static struct net_config config_of(struct peer *p)
{
	return (struct net_config){
		.mem = &world.mem,
		.log = &world.log,
		.clock = {NULL, now_us, now_us},
		.events = &peer_events,
		.ctx = p,
		.provider = world.b->fabric ? world.b->fabric->provider : NULL,
		.backend = world.b->local ? &world.port : NULL,
	};
}

void peer_open(struct peer *p, bool listens)
{
	struct error err;
	char address[NET_ADDRESS_MAX];
	struct net_config cfg = config_of(p);

	memset(p, 0, sizeof *p);
	error_clear(&err);
	snprintf(address, sizeof address, "%s:0", world.b->host);
	if (!world.b->fabric) {
		static uint32_t number;
		char name[32];

		snprintf(name, sizeof name, "peer-%u:7", ++number);
		cfg.backend = p->host = sim_host_new(world.sn, name);
	}
	CHECK(world.b->ops->open(&cfg, &p->net, &err) == ST_OK);
	if (!listens)
		return;
	if (world.b->ops->listen(p->net, address, p->address, &err) != ST_OK) {
		fprintf(stderr, "listen: %s\n", err.message);
		CHECK(!"listens");
	}
	CHECK(!strstr(p->address, ":0"));
}

void peer_close(struct peer *p)
{
	world.b->ops->close(p->net);
	p->net = NULL;
}

void world_open(const struct backend *b)
{
	struct clock k = {NULL, now_us, now_us};

	memset(&world, 0, sizeof world);
	world.b = b;
	world.sim_us = 1000;
	mem_init(&world.mem, NULL, "transport", 0);
	logger_init_stderr(&world.log, "test");
	logger_set_levels(&world.log, LOG_ERROR);
	if (!b->fabric)
		world.sn = sim_net_new(&world.mem, k, 11);
	if (b->local)
		world.port = (struct local_port){local_hub_new(&world.mem), b->fabric->ops};
}

void world_close(void)
{
	if (world.sn)
		sim_net_free(world.sn);
	if (world.port.hub)
		local_hub_free(world.port.hub);
	CU_ASSERT_EQUAL(world.mem.used_bytes, 0);
	mem_fini(&world.mem);
}

void peers_turn(struct peer *const *peers, uint32_t count)
{
	struct pollfd fds[LINKS_MAX];
	uint32_t watched = 0;
	int done = 0;

	for (uint32_t i = 0; i < count; i++)
		done += world.b->ops->progress(peers[i]->net);
	if (done)
		return;
	if (!world.b->fabric) {
		uint64_t next = sim_net_next_us(world.sn);

		world.sim_us = next == UINT64_MAX || next > world.sim_us + 10000
				       ? world.sim_us + 10000
				       : next;
		sim_net_run(world.sn, world.sim_us);
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (!world.b->ops->try_wait(peers[i]->net))
			return;
		fds[watched++] = (struct pollfd){world.b->ops->wait_fd(peers[i]->net), POLLIN, 0};
	}
	poll(fds, watched, 100); /* long enough that a wake-up which is missing shows */
}

struct net_link *peers_connect(struct peer *a, struct peer *b)
{
	struct net_link *link = NULL;
	uint32_t ups = a->ups, accepts = b->accepts;
	struct error err;

	CU_ASSERT_EQUAL_FATAL(world.b->ops->connect(a->net, b->address, &link, &err), ST_OK);
	UNTIL(a->ups > ups && b->accepts > accepts, 5000000, a, b);
	CU_ASSERT_EQUAL_FATAL(a->ups, ups + 1);
	CU_ASSERT_EQUAL_FATAL(b->accepts, accepts + 1);
	a->links[a->link_count++] = link;
	return link;
}

/* -- back ends of this machine ------------------------------------------------------------------ */

static struct backend backends[BACKENDS_MAX];
static uint32_t backend_count;

/* Where to listen for that fabric. False: nowhere, and why. */
static bool host_of(const struct net_fabric *f, char host[64], const char **why_out)
{
	const char *given = getenv("VALENCE_VERBS_HOST");

	if (!f->caps.device) {
		snprintf(host, 64, "127.0.0.1");
		return true;
	}
	*why_out = "VALENCE_VERBS_HOST does not name an address of an RDMA device";
	if (access("/sys/class/infiniband", F_OK) != 0)
		*why_out = "this machine has no RDMA device";
	if (!given)
		return false;
	snprintf(host, 64, "%s", given);
	return true;
}

static void backends_find(void)
{
	const struct net_fabric *f;

	snprintf(backends[0].host, sizeof backends[0].host, "x");
	backends[0].name = "sim";
	backends[0].ops = &net_ops_sim;
	backend_count = 1;
	for (uint32_t i = 0; (f = net_fabric_at(i)); i++) {
		struct backend *b = &backends[backend_count];
		const char *why = "this build lacks the library";

		if (!f->ops || !host_of(f, b->host, &why)) {
			if (!in_victim)
				unit_skip("net_transport over %s: %s", f->name, why);
			continue;
		}
		*b = (struct backend){.name = f->name, .ops = f->ops, .fabric = f, .host = ""};
		(void)host_of(f, b->host, &why);
		backend_count++;
	}
	f = net_fabric_default();
	backends[backend_count++] = (struct backend){
		.name = "local", .ops = &net_ops_local, .fabric = f, .local = true, .host = "127.0.0.1"};
}

const struct backend *backend_at(uint32_t at)
{
	if (!backend_count)
		backends_find();
	return at < backend_count ? &backends[at] : NULL;
}

void for_each_backend(void (*f)(void))
{
	const struct backend *b;

	for (uint32_t i = 0; (b = backend_at(i)); i++) {
		unsigned before = CU_get_number_of_failures();

		world_open(b);
		f();
		world_close();
		if (CU_get_number_of_failures() > before)
			printf("  the failures below are over %s\n", b->name);
	}
}
