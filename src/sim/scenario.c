/*
 * scenario.c - the courses of a simulated cluster (sim).
 *
 * All have one shape: boot, set up, run with faults, heal, run on (everybody must get something done), stop the clients,
 * compare everything.
 */
#include "sim/scenario.h"

#include <string.h>

#include "sim/check.h"
#include "sim/fault.h"
#include "sim/load.h"
#include "sim/model.h"

#define BOOT_LIMIT SECONDS(20)
#define READY_LIMIT SECONDS(25)    /* after the last fault: every engine is a member */
#define PROGRESS_LIMIT SECONDS(40) /* and every client has done something */
#define QUIET_LIMIT SECONDS(30)

static bool all_ready(struct world *w, void *ctx)
{
	(void)ctx;
	for (uint32_t i = 0; i < w->node_count; i++)
		if (!node_ready(&w->nodes[i]))
			return false;
	return true;
}

static void not_ready(struct world *w, const char *when)
{
	for (uint32_t i = 0; i < w->node_count && !w->failed; i++) {
		struct node *n = &w->nodes[i];

		if (!node_ready(n))
			world_violation(w, "%s: %s is no member (state %d, %s)", when, n->name,
					n->up ? (int)engine_state(n->engine) : -1,
					n->up ? engine_error(n->engine)->message : "down");
	}
}

static bool boot(struct world *w)
{
	world_phase(w, PHASE_BOOT);
	for (uint32_t i = 0; i < w->node_count && !w->failed; i++) {
		node_start(&w->nodes[i]);
		if (rng_below(&w->rng, 2))
			world_run_for(w, rng_below(&w->rng, MILLIS(300)));
	}
	if (!world_run_until(w, BOOT_LIMIT, all_ready, NULL))
		not_ready(w, "at the beginning");
	return !w->failed;
}

/* -- healing ---------------------------------------------------------------------------------------------------- */

struct progress { uint64_t before[64]; };

static bool all_progress(struct world *w, void *ctx)
{
	const struct progress *p = ctx;

	for (size_t i = 0; i < w->clients->at.count && i < 64; i++) {
		const struct client *c = w->clients->at.at[i];

		if (c->load->weight && c->done < p->before[i] + 2)
			return false;
	}
	return true;
}

static void no_progress(struct world *w, const struct progress *p)
{
	for (size_t i = 0; i < w->clients->at.count && i < 64; i++) {
		const struct client *c = w->clients->at.at[i];

		if (c->load->weight && c->done < p->before[i] + 2)
			world_violation(w, "no progress: client %u (%s) on %s did %llu transactions since the last fault: %s",
					c->number, c->load->name, c->node ? c->node->name : "no node",
					(unsigned long long)(c->done - p->before[i]), c->sql);
	}
}

static bool heal(struct world *w)
{
	struct progress p;

	world_phase(w, PHASE_HEALED);
	faults_heal(w->faults);
	if (!world_run_until(w, READY_LIMIT, all_ready, NULL)) {
		not_ready(w, "after the last fault");
		return false;
	}
	for (size_t i = 0; i < w->clients->at.count && i < 64; i++)
		p.before[i] = w->clients->at.at[i]->done;
	if (!world_run_until(w, PROGRESS_LIMIT, all_progress, &p))
		no_progress(w, &p);
	if (!w->failed)
		world_run_for(w, MILLIS(300));
	return !w->failed;
}

/* -- comparing ----------------------------------------------------------------------------------------------------- */

static bool clients_done(struct world *w, void *ctx)
{
	(void)ctx;
	return clients_stopped(w->clients);
}

static bool all_equal(struct world *w, void *ctx)
{
	seq_index applied = node_applied(&w->nodes[0]);

	(void)ctx;
	for (uint32_t i = 0; i < w->node_count; i++)
		if (!node_ready(&w->nodes[i]) || node_applied(&w->nodes[i]) != applied ||
		    engine_applying(w->nodes[i].engine))
			return false;
	return applied == model_last(w->model);
}

static bool quiet(struct world *w)
{
	world_phase(w, PHASE_QUIET);
	clients_stop(w->clients);
	if (!world_run_until(w, QUIET_LIMIT, clients_done, NULL))
		world_violation(w, "clients do not come to an end");
	world_run_for(w, MILLIS(700));
	if (!w->failed && !world_run_until(w, QUIET_LIMIT, all_equal, NULL))
		world_violation(w, "engines do not come to one index: %s at %llu, the newest is %llu", w->nodes[0].name,
				(unsigned long long)node_applied(&w->nodes[0]),
				(unsigned long long)model_last(w->model));
	return !w->failed;
}

static void verify(struct world *w, struct client *admin)
{
	if (!quiet(w))
		return;
	world_phase(w, PHASE_VERIFY);
	checks_quiet(w->checks);
	model_final(w->model);
	if (!w->failed && load_verify(w, admin) && world_run_until(w, QUIET_LIMIT, all_equal, NULL)) {
		checks_quiet(w->checks);
		model_final(w->model);
	}
}

static struct client *prepare(struct world *w)
{
	struct client *admin = clients_add(w->clients, &load_idle);

	if (!boot(w))
		return NULL;
	world_phase(w, PHASE_SETUP);
	return load_setup(w, admin) ? admin : NULL;
}

static void finish(struct world *w, struct client *admin)
{
	if (!w->failed && heal(w))
		verify(w, admin);
}

/* -- loads ----------------------------------------------------------------------------------------------------------- */

static void add_clients(struct world *w, uint32_t count)
{
	static const struct load *const all[] = {&load_bank, &load_reader};
	uint32_t sum = 0;

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		sum += all[i]->weight;
	for (uint32_t k = 0; k < count; k++) {
		uint64_t pick = rng_below(&w->rng, sum);
		size_t i = 0;

		while (pick >= all[i]->weight)
			pick -= all[i++]->weight;
		client_sleep(clients_add(w->clients, all[i]), rng_below(&w->rng, MILLIS(100)));
	}
}

/* -- courses ----------------------------------------------------------------------------------------------------------- */

static void run_random(struct world *w)
{
	struct client *admin = prepare(w);

	if (!admin)
		return;
	add_clients(w, 4 + (uint32_t)rng_below(&w->rng, 10));
	world_phase(w, PHASE_RUN);
	world_run_for(w, MILLIS(500));
	faults_start(w->faults);
	world_run_for(w, w->run_us);
	finish(w, admin);
}

static void run_calm(struct world *w)
{
	struct client *admin = prepare(w);

	if (!admin)
		return;
	add_clients(w, 4 + (uint32_t)rng_below(&w->rng, 10));
	world_phase(w, PHASE_RUN);
	world_run_for(w, w->run_us / 2);
	finish(w, admin);
}

const struct scenario scenarios[] = {
	{"random", "everything is chosen by the seed", run_random},
	{"calm", "no faults", run_calm},
	{NULL, NULL, NULL},
};

const struct scenario *scenario_find(const char *name)
{
	for (const struct scenario *s = scenarios; s->name; s++)
		if (strcmp(s->name, name) == 0)
			return s;
	return NULL;
}
