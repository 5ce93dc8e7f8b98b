/*
 * fault.c - the schedule of faults (sim). See fault.h.
 */
#include "sim/fault.h"

#include <stdio.h>

enum fault {
	FAULT_CRASH, FAULT_POWER, FAULT_PAUSE, FAULT_PARTITION, FAULT_ONE_WAY, FAULT_BREAK, FAULT_DISK,
	FAULT_FULL, FAULT_CLOCK, FAULT_COUNT
};

/* One timer per node brings it back; one for the network, one for the schedule. */
struct faults {
	struct world *w;
	struct timer next, heal_net, back[NODES_MAX], disk[NODES_MAX];
	uint32_t weight[FAULT_COUNT], weights;
	uint64_t mean_us;
	bool on;
};

static void next_fire(struct timer *t, void *ctx);

static void heal_net_fire(struct timer *t, void *ctx)
{
	struct faults *f = ctx;

	(void)t;
	sim_net_heal(f->w->net);
	world_note(f->w, "the network is whole again");
}

static void back_fire(struct timer *t, void *ctx)
{
	struct node *n = ctx;

	(void)t;
	if (n->full)
		sim_disk_set_refuse(n->disk, ST_OK); /* somebody made room */
	if (!n->up)
		node_start(n);
	else
		node_resume(n);
}

static void disk_fire(struct timer *t, void *ctx)
{
	struct node *n = ctx;

	(void)t;
	sim_disk_set_slow(n->disk, 1);
}

struct faults *faults_new(struct world *w)
{
	struct faults *f = MEM_NEW(&w->mem, struct faults);

	f->w = w;
	timer_init(&f->next, next_fire, f);
	timer_init(&f->heal_net, heal_net_fire, f);
	for (uint32_t i = 0; i < NODES_MAX; i++) {
		timer_init(&f->back[i], back_fire, &w->nodes[i]);
		timer_init(&f->disk[i], disk_fire, &w->nodes[i]);
	}
	return f;
}

void faults_free(struct faults *f)
{
	faults_heal(f);
	MEM_FREE(&f->w->mem, f);
}

/* -- one fault -------------------------------------------------------------------------------------------------- */

void fault_crash(struct world *w, struct node *n, bool power, uint64_t down_us)
{
	if (!n->up)
		return;
	node_crash(n, power);
	if (power)
		sim_stats.power_losses++;
	else
		sim_stats.crashes++;
	if (down_us)
		timer_arm(&w->timers, &w->faults->back[n->number], w->now_us + down_us);
}

void fault_pause(struct world *w, struct node *n, uint64_t us)
{
	if (!n->up || n->paused)
		return;
	node_pause(n);
	sim_stats.pauses++;
	timer_arm(&w->timers, &w->faults->back[n->number], w->now_us + us);
}

void fault_partition(struct world *w, uint64_t side_mask, uint64_t us)
{
	world_note(w, "partition %llx for %.3f s", (unsigned long long)side_mask, (double)us / 1e6);
	for (uint32_t i = 0; i < w->node_count; i++)
		for (uint32_t k = i + 1; k < w->node_count; k++)
			if ((side_mask >> i & 1) != (side_mask >> k & 1))
				sim_net_block_both(w->net, w->nodes[i].host, w->nodes[k].host, true);
	sim_stats.partitions++;
	timer_arm(&w->timers, &w->faults->heal_net, w->now_us + us);
}

/* In how many ways the nodes can be on two sides, or nearly. */
static uint64_t sides(const struct world *w)
{
	return w->node_count < 64 ? UINT64_C(1) << w->node_count : UINT64_MAX;
}

/* Short ones mostly; some longer than all limits. */
static uint64_t length_us(struct world *w)
{
	static const uint64_t most[] = {MILLIS(80), MILLIS(600), SECONDS(2), SECONDS(6)};

	return MILLIS(1) + rng_below(&w->rng, most[rng_below(&w->rng, 4)]);
}

static struct node *victim(struct world *w)
{
	/* the leader more often than its share: the most is lost there */
	struct node *leader = rng_below(&w->rng, 4) ? NULL : node_leader(w);

	return leader ? leader : &w->nodes[rng_below(&w->rng, w->node_count)];
}

static void one_way(struct world *w, struct node *a)
{
	struct node *b = &w->nodes[rng_below(&w->rng, w->node_count)];

	if (a == b)
		return;
	world_note(w, "nothing gets from %s to %s", a->name, b->name);
	sim_net_block(w->net, a->host, b->host, true);
	sim_stats.one_way++;
	timer_arm(&w->timers, &w->faults->heal_net, w->now_us + length_us(w));
}

static void break_links(struct world *w, struct node *a)
{
	struct node *b = &w->nodes[rng_below(&w->rng, w->node_count)];
	bool half = rng_below(&w->rng, 3) == 0;

	if (a == b)
		return;
	world_note(w, "links between %s and %s break%s", a->name, b->name, half ? ", unnoticed" : "");
	sim_net_break(w->net, a->host, b->host, half);
	sim_stats.breaks++;
}

static void slow_disk(struct world *w)
{
	struct node *n = &w->nodes[rng_below(&w->rng, w->archive_count)];

	world_note(w, "the disk of %s is slow", n->name);
	sim_disk_set_slow(n->disk, 10 + (uint32_t)rng_below(&w->rng, 90));
	sim_stats.slow_disks++;
	timer_arm(&w->timers, &w->faults->disk[n->number], w->now_us + length_us(w));
}

/* From now on no write gets to this disk; who relies on it must end when it notices, see fault_full_noticed(). */
static void full_disk(struct world *w)
{
	struct node *n = &w->nodes[rng_below(&w->rng, w->archive_count)];

	if (!n->up || n->full)
		return;
	world_note(w, "the disk of %s is full", n->name);
	n->full = true;
	sim_disk_set_refuse(n->disk, ST_DISK_FULL);
	sim_stats.full_disks++;
}

void fault_full_noticed(struct node *n)
{
	world_note(n->w, "%s ends: %s", n->name, engine_error(n->engine)->message);
	if (engine_error(n->engine)->code != ST_DISK_FULL)
		world_violation(n->w, "%s says \"%s\" of a full disk", n->name, engine_error(n->engine)->message);
	fault_crash(n->w, n, false, MILLIS(100) + length_us(n->w));
}

/* Somebody, or something, set it: by seconds, hours or days. */
static void clock_jump(struct world *w, struct node *n)
{
	static const uint64_t most[] = {SECONDS(3), SECONDS(3600 * 2), SECONDS(86400 * 3)};
	uint64_t by = rng_below(&w->rng, most[rng_below(&w->rng, 3)]);
	bool back = rng_below(&w->rng, 2);

	n->wall_offset_us += back ? -(int64_t)by : (int64_t)by;
	world_note(w, "the clock of %s jumps by %s%.3f s", n->name, back ? "-" : "", (double)by / 1e6);
	sim_stats.clock_jumps++;
}

static void all_down(struct world *w, bool power)
{
	for (uint32_t i = 0; i < w->node_count; i++)
		fault_crash(w, &w->nodes[i], power, MILLIS(100) + rng_below(&w->rng, SECONDS(1)));
}

static void inflict(struct faults *f)
{
	struct world *w = f->w;
	uint64_t pick = rng_below(&w->rng, f->weights);
	struct node *n = victim(w);
	enum fault kind = FAULT_CRASH;

	while (pick >= f->weight[kind])
		pick -= f->weight[kind++];
	switch (kind) {
	case FAULT_CRASH:
		if (rng_below(&w->rng, 25) == 0)
			all_down(w, false);
		else
			fault_crash(w, n, false, MILLIS(50) + length_us(w));
		break;
	case FAULT_POWER:
		if (rng_below(&w->rng, 15) == 0)
			all_down(w, true);
		else
			fault_crash(w, n, true, MILLIS(50) + length_us(w));
		break;
	case FAULT_PAUSE:
		fault_pause(w, n, length_us(w));
		break;
	case FAULT_PARTITION:
		fault_partition(w, rng_below(&w->rng, sides(w)), length_us(w));
		break;
	case FAULT_ONE_WAY:
		one_way(w, n);
		break;
	case FAULT_BREAK:
		break_links(w, n);
		break;
	case FAULT_DISK:
		slow_disk(w);
		break;
	case FAULT_FULL:
		full_disk(w);
		break;
	case FAULT_CLOCK:
		clock_jump(w, n);
		break;
	case FAULT_COUNT:
		UNREACHABLE();
	}
}

static void next_fire(struct timer *t, void *ctx)
{
	struct faults *f = ctx;

	if (!f->on)
		return;
	inflict(f);
	timer_arm(&f->w->timers, t, f->w->now_us + 1 + rng_below(&f->w->rng, 2 * f->mean_us));
}

/* -- the schedule ---------------------------------------------------------------------------------------------- */

static void net_faults(struct world *w)
{
	static const uint32_t loss[] = {0, 0, 1000, 20000}, odd[] = {0, 2000, 50000};
	static const uint32_t datagrams[] = {0, 50000, 300000, 1000000};
	struct sim_faults nf = {
		.delay_min_us = 30,
		.delay_max_us = rng_below(&w->rng, 3) ? 200 : 5000,
		.loss_ppm = loss[rng_below(&w->rng, 4)],
		.duplicate_ppm = odd[rng_below(&w->rng, 3)],
		.reorder_ppm = odd[rng_below(&w->rng, 3)],
		.spike_ppm = rng_below(&w->rng, 3) ? 0 : 500,
		.spike_us = MILLIS(300),
		.break_ppm = rng_below(&w->rng, 4) ? 0 : 50,
		.half_open_ppm = 300000,
		.notice_us = MILLIS(20),
		.bytes_per_ms = rng_below(&w->rng, 3) ? 0 : 20000,
	};

	if (w->multicast)
		nf.datagram_loss_ppm = datagrams[rng_below(&w->rng, 4)];
	sim_net_set_faults(w->net, &nf);
}

void faults_start(struct faults *f)
{
	static const uint64_t mean_us[] = {MILLIS(400), MILLIS(1500), SECONDS(5)};
	struct world *w = f->w;

	f->on = true;
	f->mean_us = mean_us[rng_below(&w->rng, 3)];
	while (!f->weights)
		for (uint32_t i = 0; i < FAULT_COUNT; i++) {
			f->weight[i] = rng_below(&w->rng, 2) ? 1 + (uint32_t)rng_below(&w->rng, 4) : 0;
			if (i >= FAULT_FULL && f->weight[i])
				f->weight[i] = 1; /* what they lead to is soon met, and not at the cost of the others */
			f->weights += f->weight[i];
		}
	if (w->mood == MOOD_DDL || w->mood == MOOD_BULK) { /* engines that go without a word, and come again */
		f->weight[FAULT_POWER] += 3;
		f->weights += 3;
	}
	net_faults(w);
	timer_arm(&w->timers, &f->next, w->now_us + rng_below(&w->rng, 2 * f->mean_us));
}

void faults_heal(struct faults *f)
{
	struct world *w = f->w;
	struct sim_faults calm = {.delay_min_us = 50, .delay_max_us = 150};

	f->on = false;
	timer_cancel(&w->timers, &f->next);
	timer_cancel(&w->timers, &f->heal_net);
	for (uint32_t i = 0; i < NODES_MAX; i++) {
		timer_cancel(&w->timers, &f->back[i]);
		timer_cancel(&w->timers, &f->disk[i]);
	}
	sim_net_set_faults(w->net, &calm);
	sim_net_heal(w->net);
	if (w->failed || w->phase == PHASE_DONE)
		return;
	for (uint32_t i = 0; i < w->node_count; i++) {
		struct node *n = &w->nodes[i];

		if (n->disk)
			sim_disk_set_slow(n->disk, 1);
		if (n->full)
			sim_disk_set_refuse(n->disk, ST_OK);
		node_resume(n);
		if (!n->up)
			node_start(n);
	}
}
