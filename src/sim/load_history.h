/*
 * load_history.h - what clients do to lists and registers, and saw of them, as a history to be checked (sim).
 */
#ifndef VALENCE_SIM_LOAD_HISTORY_H
#define VALENCE_SIM_LOAD_HISTORY_H

#include "sim/client.h"

extern const char *const history_definitions[]; /* tables; ends with NULL */

struct histories *histories_new(struct world *w);
void histories_free(struct histories *hs);
/* At quiescence: reads all through every engine, then checks the history at each transaction's level. */
bool histories_verify(struct world *w, struct client *c);
/* As `valence history` reads it; false: it could not be written. */
bool histories_write(const struct histories *hs, const char *path);

#endif
