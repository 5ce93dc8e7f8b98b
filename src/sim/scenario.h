/*
 * scenario.h - what happens in one simulated cluster from its beginning to its last comparison (sim).
 */
#ifndef VALENCE_SIM_SCENARIO_H
#define VALENCE_SIM_SCENARIO_H

#include "sim/world.h"

struct scenario {
	const char *name, *help;
	uint32_t archives, engines;  /* 0: chosen by the seed */
	enum mood mood;
	void (*run)(struct world *w);
};
extern const struct scenario scenarios[]; /* ends with a NULL name; the first is the default */
extern const struct scenario scenarios_rare[]; /* likewise; each meets one rare path */
extern const struct scenario scenarios_raft[]; /* likewise; of the voters' log */
const struct scenario *scenario_find(const char *name); /* in all of them */
/* The one with this number, over all; NULL: no more. */
const struct scenario *scenario_at(uint32_t i);

/* For courses: boot and tables; heal, run on and compare. */
struct client *scenario_prepare(struct world *w);
void scenario_finish(struct world *w, struct client *admin);
bool scenario_all_ready(struct world *w, void *ctx);

#endif
