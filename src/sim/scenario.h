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
const struct scenario *scenario_find(const char *name);

#endif
