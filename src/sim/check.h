/*
 * check.h - what must hold inside the engines at every step (sim).
 *
 * Copies: the body of an atom is a function of the log, so it is one of (atom, index of the last record that changed it).
 * For each such pair the first checksum seen is kept, and every other engine's copy is compared with it, also long
 * after. A copy that was changed last at L, on an engine that has applied A, says that nothing between L and A
 * changes the atom; a copy elsewhere that says otherwise has missed a record, or applied one that it should not.
 * Originators, epochs and memberships are compared at equal indexes: whatever two engines were seen at with the same applied
 * index, at any two times.
 */
#ifndef VALENCE_SIM_CHECK_H
#define VALENCE_SIM_CHECK_H

#include "sim/world.h"

struct checks *checks_new(struct world *w);
void checks_free(struct checks *c);
void checks_record(struct checks *c, struct node *n, const struct record *r, bool all); /* applied; see originator.h */
void checks_turn(struct checks *c, struct node *n); /* the node applied something; looks at all its copies now and then */
void checks_copies(struct checks *c, struct node *n); /* all of them, now */
bool checks_knows(const struct checks *c, const struct node *n); /* it had the data catalog when last looked at */
void checks_unseen(struct checks *c, struct node *n); /* it has applied what nobody could look at */
void checks_node_down(struct checks *c, struct node *n);
/* All engines have applied the same: every copy, originator and member equal, every atom held by all archives. */
void checks_quiet(struct checks *c);

#endif
