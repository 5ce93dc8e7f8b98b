/*
 * load.h - the tables that the loads use, and their beginning (sim).
 */
#ifndef VALENCE_SIM_LOAD_H
#define VALENCE_SIM_LOAD_H

#include <string.h>

#include "sim/client.h"

#define ACCOUNTS 24
#define BALANCE 1000
#define TOTAL (ACCOUNTS * BALANCE)
#define PAIRS 6 /* of rows of duty */

/* Makes the tables over one connection; false: a violation was noted. */
bool load_setup(struct world *w, struct client *c);
/* At quiescence: every table read through every engine, by scan and by index, against the model. */
bool load_verify(struct world *w, struct client *c);

#endif
