/*
 * raft.h - the five properties of Raft (Ongaro & Ousterhout 2014, figure 3), looked at after every turn of every archive (sim).
 *
 * Each entry stands for all before it by a running hash: over term, kind and data, from position 1. So it is enough to look at
 * what is new since the last turn of that voter.
 *
 *   election safety        at most one voter leads in a term
 *   leader append-only     a leader neither shortens nor replaces its log in its term
 *   log matching           two logs that have an entry of one term at one position are equal up to there
 *   leader completeness    what was committed in a term is in the log of every leader of a later one
 *   state machine safety   what is committed at a position anywhere is committed there everywhere
 */
#ifndef VALENCE_SIM_RAFT_H
#define VALENCE_SIM_RAFT_H

#include "sim/world.h"

struct rafts;
struct rafts *rafts_new(struct world *w);
void rafts_free(struct rafts *r);
void rafts_turn(struct rafts *r, struct node *n);      /* an archive that is up */
void rafts_node_down(struct rafts *r, struct node *n); /* what it had in memory only is gone */

#endif
