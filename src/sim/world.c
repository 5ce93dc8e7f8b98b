/*
 * world.c - time and the main loop of one simulated cluster (sim).
 */
#include "sim/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sim/check.h"
#include "sim/client.h"
#include "sim/fault.h"
#include "sim/load_history.h"
#include "sim/model.h"
#include "sim/raft.h"

#define WALL_START_US UINT64_C(1790000000000000) /* some day */

struct world_stats sim_stats;

static uint64_t now_of(void *ctx)
{
	return ((struct world *)ctx)->now_us;
}

static uint64_t wall_of(void *ctx)
{
	return WALL_START_US + ((struct world *)ctx)->now_us;
}

struct clock world_clock(struct world *w)
{
	return (struct clock){.ctx = w, .now_us = now_of, .wall_us = wall_of};
}

void world_mix(struct world *w, uint64_t v)
{
	w->trace = hash_u64(w->trace ^ v) + v;
}

/* -- what is printed when a seed fails ---------------------------------------------------------------------- */

static char *ring_next(struct world *w)
{
	return w->ring[w->ring_lines++ % RING_LINES];
}

void world_note(struct world *w, const char *fmt, ...)
{
	char *line = ring_next(w);
	va_list ap;
	int n = snprintf(line, RING_LINE_BYTES, "%11.6f ", (double)w->now_us / 1e6);

	va_start(ap, fmt);
	vsnprintf(line + n, RING_LINE_BYTES - (size_t)n, fmt, ap);
	va_end(ap);
	if (w->cfg.verbose)
		fprintf(stderr, "%s\n", line);
}

void world_print_ring(struct world *w)
{
	uint64_t from = w->ring_lines > RING_LINES ? w->ring_lines - RING_LINES : 0;

	if (w->cfg.verbose)
		return; /* all of it is out */
	for (uint64_t i = from; i < w->ring_lines; i++)
		fprintf(stderr, "%s\n", w->ring[i % RING_LINES]);
}

void world_violation(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->failed)
		return;
	w->failed = true;
	va_start(ap, fmt);
	vsnprintf(w->violation, sizeof w->violation, fmt, ap);
	va_end(ap);
	world_note(w, "VIOLATION %s", w->violation);
}

/* -- making one ------------------------------------------------------------------------------------------------ */

static void choose_mood(struct world *w)
{
	uint64_t pick = rng_below(&w->rng, 100);

	w->mood = pick < 47 ? MOOD_MIXED : pick < 77 ? MOOD_HOT : pick < 89 ? MOOD_DDL : MOOD_BULK;
	if (w->cfg.mood != MOOD_ANY)
		w->mood = w->cfg.mood;
	w->pace = rng_below(&w->rng, 6) ? 5 : 1;
	w->hot_percent = 25;
	w->hot_keys = 3;
	w->impatient_permille = rng_below(&w->rng, 3) ? 0 : 3;
	if (w->mood == MOOD_HOT) { /* much happens in little time */
		w->pace = 1;
		w->hot_percent = 60 + (uint32_t)rng_below(&w->rng, 40);
		w->hot_keys = 2 + (uint32_t)rng_below(&w->rng, 4);
		w->run_us = w->run_us / 6 + SECONDS(1);
	} else if (w->mood == MOOD_HISTORY) {
		w->pace = 1;
		w->hot_percent = 50;
		w->run_us = w->run_us / 4 + SECONDS(1);
	} else if (w->mood == MOOD_DDL) {
		w->pace = 1;
		w->impatient_permille = 50;
		w->run_us = w->run_us / 5 + SECONDS(1);
	} else if (w->mood == MOOD_BULK) {
		w->pace = 1;
		w->run_us = w->run_us / 5 + SECONDS(1);
	}
}

static void choose(struct world *w)
{
	static const uint64_t checkpoint_bytes[] = {64u << 10, 256u << 10, 1u << 20, 8u << 20};
	uint64_t engines = w->cfg.engines;

	w->archive_count = rng_below(&w->rng, 100) < 45 ? 1 : 3;
	if (w->cfg.archives)
		w->archive_count = w->cfg.archives;
	if (engines && engines <= w->archive_count)
		w->archive_count = 1;
	if (!engines)
		engines = w->archive_count + rng_below(&w->rng, w->archive_count == 1 ? 5 : 4);
	w->node_count = (uint32_t)engines;
	w->run_us = SECONDS(5) + rng_below(&w->rng, SECONDS(20));
	choose_mood(w);
	w->window_bytes = hash_u64(w->cfg.seed ^ 0x7762) % 4 == 0 ? 16u << 10 : 0; /* engines fall behind it */
	w->multicast = hash_u64(w->cfg.seed ^ 0x6d63) % 4 == 0; /* not drawn: seeds that were kept stay what they were */
	w->fan_out = hash_u64(w->cfg.seed ^ 0x666f) % 3 == 0 ? 2 : 0;
	w->checkpoint_bytes = checkpoint_bytes[w->archive_count == 1 ? rng_below(&w->rng, 3) : 2 + rng_below(&w->rng, 2)];
	if (w->archive_count > 1 && hash_u64(w->cfg.seed ^ 0x6a62) % 4 == 0) { /* who is away for long finds its place in it gone */
		w->journal_bytes = 192u << 10;
		w->checkpoint_bytes = 64u << 10;
	}
	w->direct_links = 2; /* few, so that the bound is met */
}

struct world *world_new(const struct world_config *cfg)
{
	struct mem root;
	struct world *w;

	mem_init(&root, NULL, "world", 0);
	w = mem_alloc(&root, sizeof *w);
	w->cfg = *cfg;
	mem_init(&w->mem, NULL, "world", 0);
	rng_init(&w->rng, hash_u64(cfg->seed) ^ 0x5eed);
	w->now_us = SECONDS(1);
	w->phase_us = w->now_us;
	w->ring = mem_alloc(&w->mem, RING_LINES * sizeof *w->ring);
	timers_init(&w->timers, &w->mem);
	choose(w);
	w->net = sim_net_new(&w->mem, world_clock(w), rng_next(&w->rng));
	sim_net_set_remote_read(w->net, cfg->seed % 2); /* images are read by who fetches them, or sent */
	w->model = model_new(w);
	w->checks = checks_new(w);
	w->rafts = rafts_new(w);
	w->clients = clients_new(w);
	w->histories = histories_new(w);
	w->faults = faults_new(w); /* a scenario may change how many there are of what */
	for (uint32_t i = 0; i < w->node_count; i++)
		node_init(w, &w->nodes[i], i, i < w->archive_count);
	return w;
}

void world_free(struct world *w)
{
	struct mem root;

	sim_stats.simulated_us += w->now_us - SECONDS(1);
	sim_stats.worlds++;
	w->phase = PHASE_DONE;
	for (uint32_t i = 0; i < w->node_count; i++)
		if (w->nodes[i].up)
			node_crash(&w->nodes[i], false);
	clients_free(w->clients);
	histories_free(w->histories);
	for (uint32_t i = 0; i < w->node_count; i++)
		node_fini(&w->nodes[i]);
	faults_free(w->faults);
	checks_free(w->checks);
	rafts_free(w->rafts);
	model_free(w->model);
	sim_net_free(w->net);
	timers_fini(&w->timers);
	mem_free(&w->mem, w->ring, RING_LINES * sizeof *w->ring);
	mem_fini(&w->mem); /* nobody kept anything */
	mem_init(&root, NULL, "world", 0);
	root.used_bytes = sizeof *w;
	mem_free(&root, w, sizeof *w);
}

/* -- the loop --------------------------------------------------------------------------------------------------- */

static uint64_t next_us(struct world *w)
{
	uint64_t next = sim_net_next_us(w->net), t = timers_next_us(&w->timers);

	if (t < next)
		next = t;
	for (uint32_t i = 0; i < w->node_count; i++) {
		struct node *n = &w->nodes[i];

		t = node_next_us(n);
		if (t < next)
			next = t;
		t = n->disk ? sim_disk_next_us(n->disk) : UINT64_MAX;
		if (t < next)
			next = t;
	}
	return next;
}

static void step(struct world *w)
{
	(void)sim_net_run(w->net, w->now_us);
	(void)timers_run(&w->timers, w->now_us);
	for (uint32_t i = 0; i < w->node_count && !w->failed; i++) {
		struct node *n = &w->nodes[i];

		if (n->disk && sim_disk_next_us(n->disk) <= w->now_us && sim_disk_run(n->disk, w->now_us))
			n->kicked = true;
		if (node_next_us(n) <= w->now_us)
			node_turn(n);
	}
}

bool world_run_until(struct world *w, uint64_t limit_us, world_until_fn until, void *ctx)
{
	uint64_t end = w->now_us + limit_us;

	while (!w->failed) {
		uint64_t next;

		if (until && until(w, ctx))
			return true;
		next = next_us(w);
		if (next > end) {
			w->now_us = end;
			return !until;
		}
		if (next > w->now_us)
			w->now_us = next;
		step(w);
	}
	return false;
}

void world_run_for(struct world *w, uint64_t us)
{
	(void)world_run_until(w, us, NULL, NULL);
}

void world_phase(struct world *w, enum phase phase)
{
	static const char *const names[] = {"boot", "setup", "run", "healed", "quiet", "verify", "done"};

	w->phase = phase;
	w->phase_us = w->now_us;
	if (phase == PHASE_HEALED)
		w->healed_us = w->now_us;
	world_note(w, "phase %s", names[phase]);
	world_mix(w, phase);
}
