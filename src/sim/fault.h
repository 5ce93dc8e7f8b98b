/*
 * fault.h - what goes wrong in a simulated cluster, and when (sim).
 *
 * The seed draws for each cluster which kinds of faults it gets and how often. Faults begin and end in PHASE_RUN only;
 * faults_heal() ends all of them: then the cluster must make progress again.
 */
#ifndef VALENCE_SIM_FAULT_H
#define VALENCE_SIM_FAULT_H

#include "sim/world.h"

struct faults *faults_new(struct world *w);
void faults_free(struct faults *f);
void faults_start(struct faults *f);
void faults_heal(struct faults *f);
/* For scenarios: crash now, start again after @down_us (0: never by itself). */
void fault_crash(struct world *w, struct node *n, bool power, uint64_t down_us);
/* The engine failed, as it must when its disk is full: it ends, and starts again later. */
void fault_full_noticed(struct node *n);
void fault_pause(struct world *w, struct node *n, uint64_t us);
void fault_partition(struct world *w, uint64_t side_mask, uint64_t us); /* nodes of the mask against the others */

#endif
