/*
 * tree.c - the relay topology as pure functions of the membership (net). See tree.h.
 *
 * The tree is drawn by placing the engines that are not voters one after another, in the order of
 * their ids. Each goes under a node that was placed before it and has fewer than fan_out children:
 * one that shares as many components of the location as possible ("region/rack/host"), of these a
 * voter before others, of the voters the one with the fewest children, of others the one with the
 * lowest id. Filling up the lowest id first makes every location a heap of its own, so the depth
 * grows with the logarithm of the count.
 *
 * To place one node in constant time, the nodes of each location prefix form a queue in the order
 * of their ids; a full node at its front is dropped for good, because children are only ever added.
 */
#include "net/tree/tree.h"

#include <string.h>

#include "base/assert.h"
#include "base/map.h"

#define LEVELS 4 /* level k: the same first k components; level 0: everybody */
#define GROUPS_MAX (TREE_NODES_MAX * (LEVELS - 1) + 1)
#define SLOTS_MAX 32768u /* a power of two over twice GROUPS_MAX */
#define NONE 0xffffu

/* The nodes that share a location prefix and may still take children, by id. */
struct group {
	uint16_t head, tail;   /* node indexes; NONE: empty */
	uint16_t sample;       /* a node of it, whose location begins with the prefix */
	uint8_t level, prefix_bytes;
};

struct draw {
	const struct tree_node *nodes;
	uint32_t count, fan_out, group_count, slot_mask, voter_count;
	uint16_t voters[TREE_NODES_MAX]; /* those that may still be free, by id */
	uint16_t children[TREE_NODES_MAX];
	uint16_t parent[TREE_NODES_MAX];
	uint16_t next[LEVELS][TREE_NODES_MAX]; /* in the queue of the node's group of that level */
	struct group groups[GROUPS_MAX];
	uint16_t slots[SLOTS_MAX]; /* hash of groups; 0: free, else group number + 1 */
};

_Static_assert(SLOTS_MAX >= 2 * GROUPS_MAX, "the hash of groups is at most half full");
_Static_assert(TREE_NODES_MAX < NONE && GROUPS_MAX < NONE, "node and group numbers fit 16 bits");

/* Bytes of the first @level components; 0 when the location has fewer. */
static uint32_t prefix_bytes(const char *location, uint32_t level)
{
	const char *p = location;

	if (!location || !*location)
		return 0;
	for (uint32_t i = 0; i < level; i++) {
		if (i) {
			if (*p != '/')
				return 0;
			p++;
		}
		while (*p && *p != '/')
			p++;
	}
	return (uint32_t)(p - location) <= 255 ? (uint32_t)(p - location) : 0;
}

/* The group of node @n at @level; NULL when its location does not go that deep. */
static struct group *draw_group(struct draw *d, uint32_t n, uint32_t level)
{
	uint32_t bytes = level ? prefix_bytes(d->nodes[n].location, level) : 0;

	if (level && !bytes)
		return NULL;
	uint64_t h = level ? hash_bytes(d->nodes[n].location, bytes) + level : 0;

	for (;; h++) {
		uint16_t *slot = &d->slots[h & d->slot_mask];
		struct group *g;

		if (*slot == 0) {
			g = &d->groups[d->group_count++];
			*slot = (uint16_t)d->group_count;
			g->head = g->tail = NONE;
			g->sample = (uint16_t)n;
			g->level = (uint8_t)level;
			g->prefix_bytes = (uint8_t)bytes;
			return g;
		}
		g = &d->groups[*slot - 1];
		if (g->level == level && g->prefix_bytes == bytes &&
		    (!bytes ||
		     memcmp(d->nodes[g->sample].location, d->nodes[n].location, bytes) == 0))
			return g;
	}
}

static void draw_offer(struct draw *d, uint32_t n)
{
	for (uint32_t level = 0; level < LEVELS; level++) {
		struct group *g = draw_group(d, n, level);

		if (!g)
			break;
		d->next[level][n] = NONE;
		if (g->head == NONE)
			g->head = (uint16_t)n;
		else
			d->next[level][g->tail] = (uint16_t)n;
		g->tail = (uint16_t)n;
	}
}

/* The voter with the fewest children that is in node @n's group of @level and not full. */
static uint32_t draw_voter(const struct draw *d, uint32_t n, uint32_t level)
{
	uint32_t bytes = prefix_bytes(d->nodes[n].location, level), best = NONE;

	for (uint32_t i = 0; i < d->voter_count; i++) {
		uint32_t v = d->voters[i];

		if (d->children[v] >= d->fan_out)
			continue;
		if (level && (prefix_bytes(d->nodes[v].location, level) != bytes ||
			      memcmp(d->nodes[v].location, d->nodes[n].location, bytes) != 0))
			continue;
		if (best == NONE || d->children[v] < d->children[best])
			best = v;
	}
	return best;
}

static uint32_t draw_pick(struct draw *d, uint32_t n)
{
	uint32_t levels = LEVELS;

	while (levels > 1 && !prefix_bytes(d->nodes[n].location, levels - 1))
		levels--;
	for (uint32_t level = levels; level-- > 0;) {
		struct group *g = draw_group(d, n, level);

		uint32_t v = draw_voter(d, n, level);

		if (v != NONE)
			return v;
		if (level == 0)
			d->voter_count = 0; /* all full, for ever */
		while (g->head != NONE && d->children[g->head] >= d->fan_out)
			g->head = d->next[level][g->head];
		if (g->head != NONE)
			return g->head;
	}
	return NONE;
}

/* Places the nodes up to and including @last. */
static void draw_tree(struct draw *d, const struct tree_node *nodes, uint32_t count, uint32_t last,
		      uint32_t fan_out)
{
	ASSERT_OP(count, <=, TREE_NODES_MAX);
	d->nodes = nodes;
	d->count = count;
	d->fan_out = fan_out ? fan_out : 1;
	d->group_count = d->voter_count = 0;
	d->slot_mask = 15;
	while (d->slot_mask + 1 < 2 * (count * (LEVELS - 1) + 1))
		d->slot_mask = d->slot_mask * 2 + 1;
	memset(d->slots, 0, (d->slot_mask + 1) * sizeof d->slots[0]);
	memset(d->children, 0, count * sizeof d->children[0]);
	for (uint32_t n = 0; n < count; n++) {
		d->parent[n] = NONE;
		if (nodes[n].voter)
			d->voters[d->voter_count++] = (uint16_t)n;
	}
	for (uint32_t n = 0; n <= last; n++) {
		if (nodes[n].voter)
			continue;
		uint32_t p = draw_pick(d, n);

		if (p != NONE) {
			d->parent[n] = (uint16_t)p;
			d->children[p]++;
		}
		draw_offer(d, n);
	}
}

engine_id tree_parent(const struct tree_node *nodes, uint32_t count, uint32_t self,
		      uint32_t fan_out)
{
	struct draw d;

	ASSERT_OP(self, <, count);
	if (nodes[self].voter)
		return 0;
	draw_tree(&d, nodes, count, self, fan_out);
	return d.parent[self] == NONE ? 0 : nodes[d.parent[self]].id;
}

uint32_t tree_depth(const struct tree_node *nodes, uint32_t count, uint32_t self, uint32_t fan_out)
{
	struct draw d;
	uint32_t depth = 0;

	ASSERT_OP(self, <, count);
	if (nodes[self].voter)
		return 0;
	draw_tree(&d, nodes, count, self, fan_out);
	for (uint32_t n = self; d.parent[n] != NONE; n = d.parent[n])
		depth++;
	return depth;
}

bool tree_legal(const struct tree_node *parent, const struct tree_node *child)
{
	if (parent->id == child->id || child->voter)
		return false;
	return parent->voter || parent->id < child->id;
}

/* How many components of the location two nodes share. */
static uint32_t nearness(const struct tree_node *a, const struct tree_node *b)
{
	uint32_t level = 0;

	while (level + 1 < LEVELS) {
		uint32_t bytes = prefix_bytes(a->location, level + 1);

		if (!bytes || prefix_bytes(b->location, level + 1) != bytes ||
		    memcmp(a->location, b->location, bytes) != 0)
			break;
		level++;
	}
	return level;
}

/*
 * Legal parents of nodes[self] of one kind, nearest first, within one nearness from a start that
 * @spread moves.
 */
static uint32_t append_candidates(const struct tree_node *nodes, uint32_t count, uint32_t self,
				  bool voters, engine_id except, uint64_t spread, engine_id *out,
				  uint32_t at, uint32_t max)
{
	for (uint32_t level = LEVELS; level-- > 0 && at < max;) {
		uint32_t matches = 0, skip, seen = 0;

		for (uint32_t n = 0; n < count; n++)
			matches += nodes[n].voter == voters && nodes[n].id != except &&
				   tree_legal(&nodes[n], &nodes[self]) &&
				   nearness(&nodes[n], &nodes[self]) == level;
		if (!matches)
			continue;
		skip = (uint32_t)(spread % matches);
		for (uint32_t i = 0; i < 2 * count && seen < skip + matches && at < max; i++) {
			const struct tree_node *n = &nodes[i % count];

			if (n->voter != voters || n->id == except || !tree_legal(n, &nodes[self]) ||
			    nearness(n, &nodes[self]) != level)
				continue;
			if (seen++ >= skip)
				out[at++] = n->id;
		}
	}
	return at;
}

uint32_t tree_candidates(const struct tree_node *nodes, uint32_t count, uint32_t self,
			 uint32_t fan_out, uint32_t attempt, engine_id *out, uint32_t max)
{
	engine_id first = tree_parent(nodes, count, self, fan_out);
	uint32_t at = 0, voters = 0, others_max;
	uint64_t spread = hash_u64(nodes[self].id) + attempt;

	if (nodes[self].voter || max == 0)
		return 0;
	if (first)
		out[at++] = first;
	for (uint32_t n = 0; n < count; n++)
		voters += nodes[n].voter && nodes[n].id != first;
	/*
	 * The voters come last, but some always come: they are what is left when all others fail
	 * (P22).
	 */
	others_max = max - at > voters ? max - voters : at + (max - at) / 2;
	at = append_candidates(nodes, count, self, false, first, spread, out, at, others_max);
	return append_candidates(nodes, count, self, true, first, spread, out, at, max);
}
