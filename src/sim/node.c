/*
 * node.c - one machine of the simulated cluster: starting and killing its engine, its clocks, its turns (sim).
 */
#include "sim/world.h"

#include <stdio.h>
#include <string.h>

#include "base/cover.h"
#include "sim/check.h"
#include "sim/client.h"
#include "sim/fault.h"
#include "sim/model.h"
#include "sim/raft.h"

#define STEPS_PER_TURN 32
#define TURN_US 4        /* what a turn costs at least */
#define STEP_US 2
#define RECORD_US 3
#define SESSION_US 8
#define PAUSED_US 4000    /* one that ends within a record: its whole budget of operations is used up */
#define SPIN_TURNS 100000 /* in a simulated second: an engine that never sleeps */

/* -- clocks ----------------------------------------------------------------------------------------------------- */

static uint64_t local_us(const struct node *n, uint64_t world_us)
{
	int64_t drift = (int64_t)(world_us / 1000000) * n->drift_ppm;

	return (uint64_t)((int64_t)world_us + n->clock_offset_us + drift);
}

/* When the node's clock shows @local, or has shown it. */
static uint64_t world_us_of(const struct node *n, uint64_t local)
{
	uint64_t t = (uint64_t)((int64_t)local - n->clock_offset_us), at;

	for (int i = 0; i < 3; i++) {
		at = local_us(n, t);
		t = (uint64_t)((int64_t)t + (int64_t)local - (int64_t)at);
	}
	while (local_us(n, t) < local)
		t++;
	return t;
}

static uint64_t node_now(void *ctx)
{
	const struct node *n = ctx;

	return local_us(n, n->w->now_us);
}

static uint64_t node_wall(void *ctx)
{
	struct node *n = ctx;
	struct clock c = world_clock(n->w);

	return (uint64_t)((int64_t)clock_wall_us(&c) + n->wall_offset_us);
}

/* -- what an engine is given -------------------------------------------------------------------------------------- */

static void node_kick(void *ctx)
{
	((struct node *)ctx)->kicked = true;
}

/* Nothing damages what is on its way here: a copy that its receiver refuses should not have been sent. */
static void refused_copy(struct node *n, const char *text, uint32_t bytes)
{
	char cause[40], copy[RING_LINE_BYTES];

	snprintf(cause, sizeof cause, "cause=%s", status_name(ST_CORRUPT));
	snprintf(copy, sizeof copy, "%.*s", (int)bytes, text);
	if (strstr(copy, "fetch repeated") && strstr(copy, cause))
		world_violation(n->w, "%s was sent a copy that is damaged", n->name);
}

static void node_log(void *ctx, const char *line, uint32_t bytes)
{
	struct node *n = ctx;
	const char *text = memchr(line, ' ', bytes); /* the time is ours */

	if (!text)
		text = line;
	world_note(n->w, "%s%.*s", n->name, (int)(bytes - (uint32_t)(text - line)) - 1, text);
	refused_copy(n, text, (uint32_t)(line + bytes - text));
}

static enum status node_gate(void *ctx, struct error *err)
{
	struct node *n = ctx;

	if (engine_state(n->engine) == ENGINE_READY)
		return ST_OK;
	return error_set(err, ST_CANNOT_CONNECT_NOW, "the database system is starting up");
}

static uint32_t node_secret(void *ctx)
{
	(void)ctx;
	return 1;
}

void node_init(struct world *w, struct node *n, uint32_t number, bool archive)
{
	struct sim_disk_config dc = {.mem = &w->mem, .clock = world_clock(w)};

	memset(n, 0, sizeof *n);
	n->w = w;
	n->number = number;
	n->archive = archive;
	snprintf(n->name, sizeof n->name, "%c%u", archive ? 'a' : 'c', number + 1);
	snprintf(n->address, sizeof n->address, "10.0.0.%u:7500", number + 1);
	n->host = sim_host_new(w->net, n->address);
	n->clock_offset_us = (int64_t)rng_below(&w->rng, SECONDS(1000));
	n->wall_offset_us = (int64_t)rng_below(&w->rng, SECONDS(4)) - (int64_t)SECONDS(2);
	n->drift_ppm = (int32_t)rng_below(&w->rng, 400) - 200;
	list_init(&n->ready);
	if (archive) {
		dc.seed = rng_next(&w->rng);
		dc.hiccup_permille = rng_below(&w->rng, 3) ? 0 : 5;
		n->disk = sim_disk_new(&dc);
	}
}

void node_new_disk(struct node *n)
{
	struct sim_disk_config dc = {.mem = &n->w->mem, .clock = world_clock(n->w), .seed = rng_next(&n->w->rng)};

	ASSERT(!n->up && n->disk);
	sim_disk_free(n->disk);
	n->disk = sim_disk_new(&dc);
}

void node_fini(struct node *n)
{
	if (n->up)
		node_crash(n, false);
	if (n->disk)
		sim_disk_free(n->disk);
}

/* Other machines, from a different one each time, so that a dead contact is met too. Archives found or go on. */
static uint32_t contacts(struct node *n, const char *out[NODES_MAX])
{
	struct world *w = n->w;
	uint32_t count = 0, from = (uint32_t)rng_below(&w->rng, w->node_count);

	if (n->number == 0)
		return 0;
	for (uint32_t i = 0; i < w->node_count; i++) {
		struct node *o = &w->nodes[(from + i) % w->node_count];

		if (o != n && (o->archive || n->incarnation > 1))
			out[count++] = o->address;
	}
	return count;
}

void node_start(struct node *n)
{
	struct world *w = n->w;
	const char *list[NODES_MAX];
	struct error err = {0};
	struct engine_config cfg = {
		.mem = &n->mem,
		.log = &n->log,
		.clock = {.ctx = n, .now_us = node_now, .wall_us = node_wall},
		.timers = &n->timers,
		.name = n->name,
		.secret = WORLD_SECRET,
		.secret_bytes = sizeof WORLD_SECRET - 1,
		.entropy = entropy_rng(&n->nonces),
		.kind = n->archive ? ENGINE_ARCHIVE : ENGINE_CACHE,
		.listen = n->address,
		.sql_address = "",
		.location = "",
		.net_ops = &net_ops_sim,
		.net_backend = n->host,
		.multicast = w->multicast ? "239.1.2.3:7600" : NULL,
		.mcast_ops = &mcast_ops_sim,
		.store_ops = &store_ops_sim,
		.dir = "",
		.disk = n->disk,
		.memory_bytes = 256u << 20,
		.direct_links = w->direct_links,
		.remote_bytes = 4u << 20, /* two chunks: their places are given to others */
		.checkpoint_bytes = w->checkpoint_bytes,
		.window_bytes = w->window_bytes,
		.journal_bytes = w->journal_bytes,
		.fan_out = w->fan_out,
		.deadlock_timeout_us = MILLIS(200),
		.stale_read_limit_us = MILLIS(1500), /* so that it is met: over the heartbeat limit, under most faults */
		.kick = node_kick,
		.ctx = n,
	};
	struct pg_server_config pc = {.mem = &n->mem, .log = &n->log, .ctx = n, .gate = node_gate,
				      .secret = node_secret};
	enum status st;

	ASSERT(!n->up);
	n->full = false;
	n->incarnation++;
	if (n->incarnation > 1) {
		sim_host_restart(n->host);
		sim_stats.restarts++;
		n->clock_offset_us = (int64_t)rng_below(&w->rng, SECONDS(1000)); /* since its own boot */
	}
	mem_init(&n->mem, NULL, n->name, 0);
	timers_init(&n->timers, &n->mem);
	memset(&n->log, 0, sizeof n->log);
	n->log.ctx = n;
	n->log.write = node_log;
	n->log.wall_us = node_now;
	n->log.ctx_clock = n;
	snprintf(n->log.name, sizeof n->log.name, "%s", n->name);
	logger_set_levels(&n->log, w->cfg.verbose ? LOG_DEBUG : LOG_INFO);
	cfg.contacts = list;
	cfg.contact_count = contacts(n, list);
	cfg.seed = hash_u64(w->cfg.seed * 1000 + n->number * 100 + n->incarnation);
	rng_init(&n->nonces, cfg.seed ^ 0x6e0);
	world_note(w, "%s starts (%u)", n->name, n->incarnation);
	st = engine_open(&cfg, &n->engine, &err);
	if (st) {
		world_violation(w, "%s cannot start: %s: %s", n->name, status_name(st), err.message);
		timers_fini(&n->timers);
		mem_fini(&n->mem);
		return;
	}
	pc.engine = n->engine;
	n->server = pg_server_new(&pc);
	n->up = n->kicked = true;
	n->paused = false;
	n->ready_us = 0;
	n->fed = replica_applied(engine_replica(n->engine));
	if (n->archive && n->incarnation > 1) {
		if (n->fed)
			COVER(CHECKPOINT_RESTART);
		else
			COVER(JOURNAL_RESTART);
	}
	n->busy_until_us = w->now_us + MILLIS(5);
}

void node_crash(struct node *n, bool power)
{
	struct world *w = n->w;

	if (!n->up)
		return;
	world_note(w, "%s %s at index %llu", n->name, power ? "loses power" : "crashes",
		   (unsigned long long)node_applied(n));
	if (n->disk) {
		const struct sim_disk_counters *c = sim_disk_counters(n->disk);
		uint64_t torn = c->torn_persists + c->torn_batches;

		sim_disk_crash(n->disk);
		COVER_IF(c->torn_persists + c->torn_batches > torn, TORN_WRITE);
	}
	sim_host_crash(n->host, power);
	clients_node_down(w->clients, n, power);
	pg_server_free(n->server);
	n->server = NULL;
	engine_close(n->engine);
	n->engine = NULL;
	timers_fini(&n->timers);
	mem_fini(&n->mem); /* nothing was forgotten */
	checks_node_down(w->checks, n);
	rafts_node_down(w->rafts, n);
	n->up = n->paused = n->kicked = false;
	n->ready_us = 0;
}

void node_pause(struct node *n)
{
	if (!n->up || n->paused)
		return;
	world_note(n->w, "%s is paused", n->name);
	n->paused = true;
	sim_host_pause(n->host);
}

void node_resume(struct node *n)
{
	if (!n->up || !n->paused)
		return;
	world_note(n->w, "%s goes on", n->name);
	n->paused = false;
	n->kicked = true;
	sim_host_resume(n->host);
}

/* -- turns --------------------------------------------------------------------------------------------------------- */

uint64_t node_next_us(const struct node *n)
{
	uint64_t due;

	if (!n->up || n->paused)
		return UINT64_MAX;
	if (n->kicked || !list_empty(&n->ready) || sim_host_ready(n->host)) {
		due = n->w->now_us;
	} else {
		due = timers_next_us(&n->timers);
		if (due == UINT64_MAX)
			return due;
		due = world_us_of(n, due);
	}
	return due > n->busy_until_us ? due : n->busy_until_us;
}

seq_index node_applied(const struct node *n)
{
	return n->up ? replica_applied(engine_replica(n->engine)) : 0;
}

static uint32_t engine_turn(struct node *n)
{
	uint32_t steps = 0;

	while (engine_step(n->engine) > 0)
		if (++steps == STEPS_PER_TURN || replica_paused(engine_replica(n->engine))) {
			n->kicked = true;
			break;
		}
	if (engine_state(n->engine) != ENGINE_FAILED)
		model_feed(n->w->model, n);
	else if (!n->full)
		world_violation(n->w, "%s failed: %s", n->name, engine_error(n->engine)->message);
	return steps;
}

/* A failed engine is a process that ends. */
static bool ended(struct node *n)
{
	if (engine_state(n->engine) != ENGINE_FAILED)
		return n->w->failed;
	if (!n->w->failed)
		fault_full_noticed(n);
	return true;
}

static void spin_check(struct node *n)
{
	if (n->w->now_us - n->spin_from_us > SECONDS(1)) {
		n->spin_from_us = n->w->now_us;
		n->spin_turns = 0;
	}
	if (++n->spin_turns > SPIN_TURNS)
		world_violation(n->w, "%s spins: %u turns within a second", n->name, SPIN_TURNS);
}

void node_turn(struct node *n)
{
	struct world *w = n->w;
	seq_index before = node_applied(n), after;
	uint32_t steps, sessions;

	n->kicked = false;
	n->turns++;
	sim_stats.turns++;
	spin_check(n);
	(void)timers_run(&n->timers, node_now(n));
	steps = engine_turn(n);
	if (ended(n))
		return;
	sessions = clients_node_turn(w->clients, n);
	steps += engine_turn(n);
	if (ended(n))
		return;
	after = node_applied(n);
	if (after > before)
		sim_stats.records += after - before;
	n->busy_until_us = w->now_us + TURN_US + (uint64_t)steps * STEP_US + (uint64_t)sessions * SESSION_US +
			   (after > before ? (after - before) * RECORD_US : 0) +
			   (replica_paused(engine_replica(n->engine)) ? PAUSED_US : 0);
	if (!n->ready_us && engine_state(n->engine) == ENGINE_READY)
		n->ready_us = w->now_us;
	else if (n->ready_us && engine_state(n->engine) != ENGINE_READY)
		n->ready_us = 0;
	if (after != before)
		checks_turn(w->checks, n);
	if (n->archive)
		rafts_turn(w->rafts, n);
	world_mix(w, w->now_us ^ (uint64_t)n->number << 56 ^ after << 24 ^ steps);
}

bool node_ready(const struct node *n)
{
	return n->up && !n->paused && engine_state(n->engine) == ENGINE_READY;
}

struct node *node_leader(struct world *w)
{
	for (uint32_t i = 0; i < w->node_count; i++)
		if (w->nodes[i].up && w->nodes[i].archive && engine_is_leader(w->nodes[i].engine))
			return &w->nodes[i];
	return NULL;
}

struct node *node_by_engine(struct world *w, engine_id id)
{
	for (uint32_t i = 0; i < w->node_count; i++) {
		struct engine_info info;

		if (!w->nodes[i].up)
			continue;
		engine_info(w->nodes[i].engine, &info);
		if (info.id == id)
			return &w->nodes[i];
	}
	return NULL;
}
