/*
 * originator.h - every engine's view of who originates which atom (sim).
 *
 * One hash per node over (atom, originator, epoch) of all atoms that its catalog lists, kept up to date from the records that
 * the node applies: those name the atoms that can have changed. Membership records, and now and then chance, have it made
 * anew from the catalog itself, so that a change which no record explains is seen as well.
 */
#ifndef VALENCE_SIM_ORIGINATOR_H
#define VALENCE_SIM_ORIGINATOR_H

#include "catalog/replica.h"
#include "sim/world.h"

struct originators;
struct originators *originators_new(struct world *w);
void originators_free(struct originators *o);
/* The node applied it; @all: it may have changed more than its payload names. */
void originators_record(struct originators *o, struct node *n, const struct record *r, bool all);
bool originators_known(const struct originators *o, const struct node *n); /* when last asked for */
void originators_forget(struct originators *o, struct node *n);
/* As of what the node has applied; false: it does not have the catalog. Not while it applies. */
bool originators_hash(struct originators *o, struct node *n, uint64_t *hash_out);
/* An atom on which two nodes, both with a hash just asked for, disagree; 0: none. */
atom_id originators_differ(const struct originators *o, const struct node *a, const struct node *b);

#endif
