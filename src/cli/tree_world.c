/*
 * tree_world.c - see tree_world.h (cli).
 */
#include "cli/tree_world.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "net/tree/tree.h"

#define SECOND_US UINT64_C(1000000)
#define SETTLE_US (60 * SECOND_US)

struct tree_world;

struct tree_node_state {
	struct tree_world *w;
	struct sim_host *host;
	struct relay *relay;
	struct timers timers; /* its own, so that it can stop */
	struct timer wake;    /* in the world's: when the first of its own is due */
	struct logger log;
	engine_id id;
	uint64_t voter;
	seq_index last;
	uint64_t suspects, bytes_before;
	/* of the bare loop */
	struct net *net;
	struct net_link *children[64];
	uint32_t child_count;
};

struct tree_world {
	struct tree_config cfg;
	struct mem mem;
	uint64_t now_us;
	struct timers timers;
	struct sim_net *sn;
	struct tree_node_state *nodes;
	struct tree_node *draw;
	struct relay_member *members;
	seq_index log_last;
	uint8_t *payload;
	struct record_way { uint64_t made_us, there_us; uint32_t arrived; } *ways; /* of index i at i - 1 */
};

/* -- what a relay asks of its engine ---------------------------------------------------------------------------------------- */

static uint64_t now_of(void *ctx)
{
	return ((struct tree_world *)ctx)->now_us;
}

static void arrived(struct tree_world *w, seq_index index)
{
	struct record_way *way = &w->ways[index - 1];

	way->arrived++;
	way->there_us = w->now_us;
}

static void on_log_batch(void *ctx, const void *data, size_t bytes)
{
	struct tree_node_state *n = ctx;
	seq_index index;

	memcpy(&index, data, sizeof index);
	ASSERT_OP(bytes, ==, n->w->cfg.payload_bytes);
	ASSERT_OP(index, ==, n->last + 1);
	n->last = index;
	arrived(n->w, index);
	relay_log_advanced(n->relay);
}

static const void *on_log_get(void *ctx, seq_index from, const struct relay_interest *interest, size_t *bytes_out,
			      seq_index *first_out, seq_index *last_out)
{
	struct tree_node_state *n = ctx;

	(void)interest;
	if (from > n->last)
		return NULL;
	memcpy(n->w->payload, &from, sizeof from);
	*bytes_out = n->w->cfg.payload_bytes;
	*first_out = *last_out = from;
	return n->w->payload;
}

static seq_index on_log_last(void *ctx)
{
	return ((struct tree_node_state *)ctx)->last;
}

static seq_index on_log_first(void *ctx)
{
	(void)ctx;
	return 1;
}

static seq_index on_log_want(void *ctx)
{
	return ((struct tree_node_state *)ctx)->last + 1;
}

static void on_suspect(void *ctx, engine_id who, const char *cause)
{
	(void)who, (void)cause;
	((struct tree_node_state *)ctx)->suspects++;
}

/* Nobody sends messages, joins or is removed here. */
static void on_message(void *ctx, engine_id from, const void *data, size_t bytes)
{
	(void)ctx, (void)from, (void)data, (void)bytes;
}

static void on_nothing(void *ctx)
{
	(void)ctx;
}

static const struct relay_events node_events = {
	.message = on_message,
	.log_batch = on_log_batch,
	.log_gone = on_nothing,
	.voter_message = on_message,
	.suspect = on_suspect,
	.not_member = on_nothing,
	.log_get = on_log_get,
	.log_last = on_log_last,
	.log_first = on_log_first,
	.log_want = on_log_want,
};

/* -- time ------------------------------------------------------------------------------------------------------------------- */

static void arm(struct tree_node_state *n)
{
	uint64_t due = timers_next_us(&n->timers);

	if (due != UINT64_MAX && due != n->wake.due_us)
		timer_arm(&n->w->timers, &n->wake, due);
}

static void on_wake(struct timer *t, void *ctx)
{
	struct tree_node_state *n = ctx;

	(void)t;
	if (sim_host_paused(n->host))
		return;
	timers_run(&n->timers, n->w->now_us);
	arm(n);
}

static void run_for(struct tree_world *w, uint64_t us)
{
	uint64_t until = w->now_us + us;

	for (;;) {
		uint64_t t = sim_net_next_us(w->sn), due = timers_next_us(&w->timers);
		struct sim_host *h;

		if (due < t)
			t = due;
		if (t > until)
			break;
		if (t > w->now_us)
			w->now_us = t;
		sim_net_run(w->sn, w->now_us);
		timers_run(&w->timers, w->now_us);
		while ((h = sim_net_next_ready(w->sn))) {
			struct tree_node_state *n = &w->nodes[sim_host_number(h) - 1];

			if (n->relay)
				relay_progress(n->relay);
			else
				net_ops_sim.progress(n->net);
			arm(n);
		}
	}
	w->now_us = until;
}

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* -- life ------------------------------------------------------------------------------------------------------------------- */

static void world_open(struct tree_world *w, const struct tree_config *cfg)
{
	struct clock clock = {w, now_of, now_of};
	struct sim_faults links = {
		.delay_min_us = cfg->delay_us, .delay_max_us = cfg->delay_us, .bytes_per_ms = cfg->bytes_per_ms};

	memset(w, 0, sizeof *w);
	w->cfg = *cfg;
	mem_init(&w->mem, NULL, "tree", 0);
	w->now_us = SECOND_US;
	timers_init(&w->timers, &w->mem);
	w->sn = sim_net_new(&w->mem, clock, 1);
	sim_net_set_faults(w->sn, &links);
	w->nodes = mem_alloc(&w->mem, cfg->engines * sizeof *w->nodes);
	w->draw = mem_alloc(&w->mem, cfg->engines * sizeof *w->draw);
	w->members = mem_alloc(&w->mem, cfg->engines * sizeof *w->members);
	w->payload = mem_alloc(&w->mem, cfg->payload_bytes);
	w->ways = mem_alloc(&w->mem, (cfg->records + 1) * sizeof *w->ways);
	for (uint32_t i = 0; i < cfg->engines; i++) {
		struct tree_node_state *n = &w->nodes[i];
		struct relay_member *m = &w->members[i];

		n->w = w;
		n->id = m->id = i + 1;
		n->voter = m->voter_id = i < cfg->voters ? 1000 + i : 0;
		snprintf(m->address, sizeof m->address, "engine-%u:1", i + 1);
		n->host = sim_host_new(w->sn, m->address);
		w->draw[i] = (struct tree_node){m->id, n->voter != 0, ""};
		timers_init(&n->timers, &w->mem);
		timer_init(&n->wake, on_wake, n);
	}
}

static void world_close(struct tree_world *w)
{
	uint32_t count = w->cfg.engines;

	for (uint32_t i = 0; i < count; i++) {
		struct tree_node_state *n = &w->nodes[i];

		if (n->relay)
			relay_close(n->relay);
		if (n->net)
			net_ops_sim.close(n->net);
		timer_cancel(&w->timers, &n->wake);
		timers_fini(&n->timers);
	}
	mem_free(&w->mem, w->ways, (w->cfg.records + 1) * sizeof *w->ways);
	mem_free(&w->mem, w->payload, w->cfg.payload_bytes);
	mem_free(&w->mem, w->members, count * sizeof *w->members);
	mem_free(&w->mem, w->draw, count * sizeof *w->draw);
	mem_free(&w->mem, w->nodes, count * sizeof *w->nodes);
	sim_net_free(w->sn);
	timers_fini(&w->timers);
	mem_fini(&w->mem);
}

static enum status relays_open(struct tree_world *w, struct error *err)
{
	char addresses[RELAY_VOTERS_MAX][NET_ADDRESS_MAX];
	uint64_t voters[RELAY_VOTERS_MAX];

	for (uint32_t i = 0; i < w->cfg.voters; i++) {
		voters[i] = w->nodes[i].voter;
		memcpy(addresses[i], w->members[i].address, NET_ADDRESS_MAX);
	}
	for (uint32_t i = 0; i < w->cfg.engines; i++) {
		struct tree_node_state *n = &w->nodes[i];
		struct relay_config rc = {
			.mem = &w->mem,
			.log = &n->log,
			.clock = {w, now_of, now_of},
			.timers = &n->timers,
			.seed = n->id,
			.net_ops = &net_ops_sim,
			.net_backend = n->host,
			.listen = w->members[i].address,
			.events = &node_events,
			.ctx = n,
			.fan_out = w->cfg.fan_out,
		};
		enum status st;

		logger_init_stderr(&n->log, w->members[i].address);
		logger_set_levels(&n->log, LOG_ERROR);
		st = relay_open(&rc, &n->relay, err);
		if (st)
			return st;
		relay_set_log_id(n->relay, 1);
		relay_set_members(n->relay, w->members, w->cfg.engines, 1);
		relay_set_self(n->relay, n->id, n->voter);
		if (n->voter)
			relay_set_voters(n->relay, n->voter, voters, (const char(*)[NET_ADDRESS_MAX])addresses,
					 w->cfg.voters);
		relay_set_leader(n->relay, 1);
		arm(n);
	}
	return ST_OK;
}

/* Everybody has the parent that the tree gives it, and nothing is left of links on the way there. */
static bool settled(const struct tree_world *w)
{
	for (uint32_t i = 0; i < w->cfg.engines; i++) {
		const struct tree_node_state *n = &w->nodes[i];
		struct relay_stats s;

		relay_stats(n->relay, &s);
		if (n->voter)
			continue;
		if (!relay_parent(n->relay) || s.links != 1 + relay_children(n->relay, NULL, 0) ||
		    relay_children(n->relay, NULL, 0) > w->cfg.fan_out)
			return false;
	}
	for (uint32_t i = 0; i < w->cfg.voters; i++) {
		uint32_t children = relay_children(w->nodes[i].relay, NULL, 0);
		struct relay_stats s;

		relay_stats(w->nodes[i].relay, &s);
		if (children > w->cfg.fan_out || s.voter_links != w->cfg.voters - 1 || s.links != children + s.voter_links)
			return false;
	}
	return true;
}

static void make_record(struct tree_world *w)
{
	w->ways[w->log_last++].made_us = w->now_us;
	for (uint32_t i = 0; i < w->cfg.voters; i++) {
		w->nodes[i].last = w->log_last;
		arrived(w, w->log_last);
	}
	for (uint32_t i = 0; i < w->cfg.voters; i++)
		relay_log_advanced(w->nodes[i].relay);
}

/* -- what is measured ------------------------------------------------------------------------------------------------------- */

static void measure_shape(const struct tree_world *w, struct tree_result *out)
{
	uint64_t depths = 0, level = w->cfg.voters, room = 0;

	for (uint32_t i = 0; i < w->cfg.engines; i++) {
		const struct tree_node_state *n = &w->nodes[i];
		uint32_t children = relay_children(n->relay, NULL, 0), depth = relay_depth(n->relay);
		uint32_t *links = n->voter ? &out->voter_links_max : &out->links_max;
		struct relay_stats s;

		relay_stats(n->relay, &s);
		if (s.links > *links)
			*links = (uint32_t)s.links;
		if (children > out->children_max)
			out->children_max = children;
		if (depth > out->depth_max)
			out->depth_max = depth;
		depths += depth;
	}
	if (w->cfg.engines > w->cfg.voters)
		out->depth_mean = (double)depths / (w->cfg.engines - w->cfg.voters);
	while (room < w->cfg.engines - w->cfg.voters) {
		level *= w->cfg.fan_out;
		room += level;
		out->depth_full++;
	}
}

static void measure_stream(struct tree_world *w, struct tree_result *out)
{
	double began, ratios = 0;
	uint32_t relays = 0;
	struct relay_stats s;

	for (uint32_t i = 0; i < w->cfg.engines; i++) {
		relay_stats(w->nodes[i].relay, &s);
		w->nodes[i].bytes_before = s.bytes_out;
	}
	began = cpu_us();
	for (uint32_t k = 0; k < w->cfg.records; k++) {
		make_record(w);
		run_for(w, w->cfg.every_us);
	}
	while (w->ways[w->log_last - 1].arrived < w->cfg.engines)
		run_for(w, w->cfg.every_us);
	out->cpu_us = (cpu_us() - began) / w->cfg.records / w->cfg.engines;
	for (uint32_t i = 0; i < w->cfg.engines; i++) {
		uint32_t children = relay_children(w->nodes[i].relay, NULL, 0);
		double ratio;

		if (!children)
			continue;
		relay_stats(w->nodes[i].relay, &s);
		ratio = (double)(s.bytes_out - w->nodes[i].bytes_before) /
			((double)children * w->cfg.records * w->cfg.payload_bytes);
		ratios += ratio;
		relays++;
		if (ratio > out->bytes_ratio_max)
			out->bytes_ratio_max = ratio;
	}
	out->bytes_ratio_mean = relays ? ratios / relays : 0;
	for (uint32_t k = 0; k < w->cfg.records; k++) {
		double us = (double)(w->ways[k].there_us - w->ways[k].made_us);

		ASSERT_OP(w->ways[k].arrived, ==, w->cfg.engines);
		out->reach_mean_us += us / w->cfg.records;
		if (us > out->reach_max_us)
			out->reach_max_us = us;
	}
}

/* The engine with the lowest id that relays and is no voter: as many are below it as below anybody. */
static void measure_stop(struct tree_world *w, struct tree_result *out)
{
	struct tree_node_state *n = &w->nodes[w->cfg.voters];
	uint64_t began;

	if (w->cfg.voters == w->cfg.engines || !relay_children(n->relay, NULL, 0))
		return;
	out->stopped_children = relay_children(n->relay, NULL, 0);
	run_for(w, SECOND_US);
	sim_host_pause(n->host);
	began = w->now_us;
	make_record(w);
	while (w->ways[w->log_last - 1].arrived < w->cfg.engines - 1 && w->now_us < began + 10 * SECOND_US)
		run_for(w, 1000);
	out->stopped_ms = (double)(w->ways[w->log_last - 1].there_us - began) / 1000;
	for (uint32_t i = 0; i < w->cfg.engines; i++)
		out->suspects += w->nodes[i].suspects;
	sim_host_resume(n->host);
}

static enum status measure_relays(const struct tree_config *cfg, struct tree_result *out, struct error *err)
{
	struct tree_world w;
	enum status st;

	world_open(&w, cfg);
	st = relays_open(&w, err);
	for (uint64_t end = w.now_us + SETTLE_US; !st && !settled(&w); run_for(&w, SECOND_US / 10))
		if (w.now_us > end)
			st = error_set(err, ST_STATE, "the tree of %u engines did not settle within %d simulated seconds",
				       cfg->engines, (int)(SETTLE_US / SECOND_US));
	if (!st) {
		run_for(&w, SECOND_US);
		measure_shape(&w, out);
		measure_stream(&w, out);
		measure_stop(&w, out);
	}
	world_close(&w);
	return st;
}

/* -- the bare loop ---------------------------------------------------------------------------------------------------------- */

static void bare_accepted(void *ctx, struct net_link *link)
{
	struct tree_node_state *n = ctx;

	ASSERT_OP(n->child_count, <, sizeof n->children / sizeof n->children[0]);
	n->children[n->child_count++] = link;
}

static void bare_send(struct tree_node_state *n, const void *data, size_t bytes)
{
	struct net_msg *m;

	if (!n->child_count)
		return;
	m = net_msg_new(&n->w->mem, (uint32_t)bytes);
	memcpy(m->data, data, bytes);
	for (uint32_t i = 0; i < n->child_count; i++)
		net_send(n->children[i], net_msg_ref(m));
	net_msg_unref(m);
}

static void bare_message(void *ctx, struct net_link *link, const void *data, size_t bytes)
{
	struct tree_node_state *n = ctx;

	(void)link;
	n->last++;
	arrived(n->w, n->last);
	bare_send(n, data, bytes);
}

static void bare_link(void *ctx, struct net_link *link)
{
	(void)ctx, (void)link;
}

static void bare_down(void *ctx, struct net_link *link, enum status why)
{
	(void)ctx, (void)link, (void)why;
}

static enum status bare_open(struct tree_world *w, struct error *err)
{
	static const struct net_events events = {bare_accepted, bare_link, bare_message, bare_down, bare_link, NULL, NULL};
	char bound[NET_ADDRESS_MAX];

	for (uint32_t i = 0; i < w->cfg.engines; i++) {
		struct tree_node_state *n = &w->nodes[i];
		struct net_config nc = {.mem = &w->mem, .log = NULL, .clock = {w, now_of, now_of}, .events = &events,
					.ctx = n, .backend = n->host};
		engine_id parent = tree_parent(w->draw, w->cfg.engines, i, w->cfg.fan_out);
		struct net_link *link;
		enum status st = net_ops_sim.open(&nc, &n->net, err);

		if (!st)
			st = net_ops_sim.listen(n->net, w->members[i].address, bound, err);
		if (!st && parent)
			st = net_ops_sim.connect(n->net, w->members[parent - 1].address, &link, err);
		if (st)
			return st;
	}
	run_for(w, SECOND_US);
	return ST_OK;
}

static enum status measure_bare(const struct tree_config *cfg, struct tree_result *out, struct error *err)
{
	struct tree_world w;
	enum status st;
	double began;

	world_open(&w, cfg);
	st = bare_open(&w, err);
	began = cpu_us();
	for (uint32_t k = 0; !st && k < cfg->records; k++) {
		w.log_last++;
		for (uint32_t i = 0; i < cfg->voters; i++) {
			arrived(&w, w.log_last);
			bare_send(&w.nodes[i], w.payload, cfg->payload_bytes);
		}
		run_for(&w, cfg->every_us);
	}
	while (!st && w.ways[w.log_last - 1].arrived < cfg->engines)
		run_for(&w, cfg->every_us);
	out->bare_cpu_us = (cpu_us() - began) / cfg->records / cfg->engines;
	world_close(&w);
	return st;
}

static void measure_copies(const struct tree_config *cfg, struct tree_result *out)
{
	uint64_t count = (uint64_t)cfg->records * cfg->engines;
	struct mem mem;
	struct net_msg *from, *to;
	double began;

	mem_init(&mem, NULL, "copies", 0);
	from = net_msg_new(&mem, cfg->payload_bytes);
	memset(from->data, 1, from->bytes);
	began = cpu_us();
	for (uint64_t i = 0; i < count; i++) {
		to = net_msg_new(&mem, from->bytes);
		memcpy(to->data, from->data, from->bytes);
		*(volatile uint8_t *)to->data = 2; /* so that the copy is made */
		net_msg_unref(to);
	}
	out->copy_us = (cpu_us() - began) / (double)count;
	net_msg_unref(from);
	mem_fini(&mem);
}

enum status tree_measure(const struct tree_config *cfg, struct tree_result *out, struct error *err)
{
	enum status st;

	memset(out, 0, sizeof *out);
	st = measure_relays(cfg, out, err);
	if (!st)
		st = measure_bare(cfg, out, err);
	if (st)
		return st;
	measure_copies(cfg, out);
	out->hop_us = (double)cfg->delay_us +
		      (cfg->bytes_per_ms ? (double)cfg->payload_bytes * 1000 / (double)cfg->bytes_per_ms : 0);
	return ST_OK;
}
