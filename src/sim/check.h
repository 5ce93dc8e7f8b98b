/*
 * check.h - what must hold inside the engines at every step (sim).
 *
 * Copies: the body of an atom is a function of the log, so it is one of (atom, index of the last record that changed it).
 * For each such pair the first checksum seen is kept, and every other engine's copy is compared with it, also long
 * after. A copy that was changed last at L, on an engine that has applied A, says that nothing between L and A
 * changes the atom; a copy elsewhere that says otherwise has missed a record, or applied one that it should not.
 * Originators and memberships are compared at equal indexes.
 */
#ifndef VALENCE_SIM_CHECK_H
#define VALENCE_SIM_CHECK_H

#include "sim/world.h"

struct checks *checks_new(struct world *w);
void checks_free(struct checks *c);
void checks_turn(struct checks *c, struct node *n); /* the node applied something; looks at all its copies now and then */
void checks_copies(struct checks *c, struct node *n); /* all of them, now */
void checks_node_down(struct checks *c, struct node *n);
/* All engines have applied the same: every copy, originator and member equal, every atom held by all archives. */
void checks_quiet(struct checks *c);

#endif
