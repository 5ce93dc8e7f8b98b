/*
 * tree.h - the relay topology as pure functions of the membership (net).
 *
 * The voters are together at the top; every other engine has a default parent computed from the sorted
 * member list, its location and the fan-out, so all engines that have the same list draw the same tree.
 * A parent is a voter or has a lower engine id, so no cycle can form (P22).
 */
#ifndef VALENCE_NET_TREE_TREE_H
#define VALENCE_NET_TREE_TREE_H

#include <stdbool.h>

#include "base/ids.h"

#define TREE_NODES_MAX 4096

struct tree_node { engine_id id; bool voter; const char *location; };

/* Default parent of nodes[self] (sorted by id); 0: it is a voter, or there is none. O(count). */
engine_id tree_parent(const struct tree_node *nodes, uint32_t count, uint32_t self, uint32_t fan_out);
/* Default links between nodes[self] and a voter; 0: it is a voter, or there is none. O(count). */
uint32_t tree_depth(const struct tree_node *nodes, uint32_t count, uint32_t self, uint32_t fan_out);
/* May @parent relay for @child? */
bool tree_legal(const struct tree_node *parent, const struct tree_node *child);
/*
 * Legal parents of nodes[self] in the order in which to try them, default first, voters last; at most max.
 * @attempt spreads orphans of one parent over the candidates.
 */
uint32_t tree_candidates(const struct tree_node *nodes, uint32_t count, uint32_t self, uint32_t fan_out,
			 uint32_t attempt, engine_id *out, uint32_t max);

#endif
