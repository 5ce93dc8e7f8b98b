/*
 * graph.c - a directed graph with several kinds of edges: strongly connected components and short cycles (history).
 *
 * Components: Tarjan 1972, with a stack of its own instead of recursion. A graph has millions of nodes.
 */
#include <string.h>

#include "base/assert.h"
#include "history/history_int.h"

#define STARTS_MAX 64 /* nodes of a component from which a shortest cycle is looked for */

void graph_init(struct graph *g, struct mem *mem)
{
	memset(g, 0, sizeof *g);
	g->mem = mem;
}

static void index_free(struct graph *g)
{
	if (!g->first)
		return;
	mem_free(g->mem, g->first, (g->indexed + 1) * sizeof *g->first);
	mem_free(g->mem, g->component, (g->indexed + 1) * sizeof *g->component);
	g->first = g->component = NULL;
}

void graph_fini(struct graph *g)
{
	index_free(g);
	VEC_FINI(g->mem, &g->txn_of);
	VEC_FINI(g->mem, &g->edges);
}

uint32_t graph_node(struct graph *g, uint32_t txn)
{
	ASSERT_OP(g->txn_of.count, <, NONE);
	VEC_PUSH(g->mem, &g->txn_of, txn);
	return (uint32_t)g->txn_of.count - 1;
}

void graph_edge(struct graph *g, uint32_t from, uint32_t to, enum edge_kind kind, uint32_t a, uint32_t b)
{
	struct edge e = {from, to, a, b, kind};

	ASSERT(from < g->txn_of.count && to < g->txn_of.count);
	if (from != to)
		VEC_PUSH(g->mem, &g->edges, e);
}

/* By counting; edges of one node stay in the order in which they came. */
void graph_index(struct graph *g)
{
	uint32_t nodes = (uint32_t)g->txn_of.count, at = 0;
	struct edge *sorted;

	index_free(g);
	g->indexed = nodes;
	g->first = mem_alloc(g->mem, (nodes + 1) * sizeof *g->first);
	g->component = mem_alloc(g->mem, (nodes + 1) * sizeof *g->component);
	for (size_t i = 0; i < g->edges.count; i++)
		g->first[g->edges.at[i].from]++;
	for (uint32_t n = 0; n <= nodes; n++) {
		uint32_t count = n < nodes ? g->first[n] : 0;

		g->first[n] = at;
		at += count;
	}
	if (!g->edges.count)
		return;
	sorted = mem_alloc(g->mem, g->edges.cap * sizeof *sorted);
	for (size_t i = 0; i < g->edges.count; i++)
		sorted[g->first[g->edges.at[i].from]++] = g->edges.at[i];
	for (uint32_t n = nodes; n-- > 0;)
		g->first[n + 1] = g->first[n];
	g->first[0] = 0;
	mem_free(g->mem, g->edges.at, g->edges.cap * sizeof *sorted);
	g->edges.at = sorted;
}

void graph_merge(struct graph *g, const uint32_t *rep)
{
	size_t kept = 0;

	for (size_t i = 0; i < g->edges.count; i++) {
		struct edge e = g->edges.at[i];

		e.from = rep[e.from] != NONE ? rep[e.from] : e.from;
		e.to = rep[e.to] != NONE ? rep[e.to] : e.to;
		if (e.from != e.to)
			g->edges.at[kept++] = e;
	}
	g->edges.count = kept;
}

/* -- components ---------------------------------------------------------------------------------------------------- */

struct tarjan {
	struct graph *g;
	uint32_t kinds, clock, components;
	uint32_t *order, *low, *edge; /* of a node: when it was met (0: not yet); how far back it gets; its next edge */
	uint32_t *path, path_count;   /* from the root to here */
	uint32_t *open, open_count;   /* not yet in a component */
};

static void enter(struct tarjan *t, uint32_t node)
{
	t->order[node] = t->low[node] = ++t->clock;
	t->edge[node] = t->g->first[node];
	t->path[t->path_count++] = node;
	t->open[t->open_count++] = node;
}

/* All that is open from the node on is one component. */
static void leave(struct tarjan *t, uint32_t node)
{
	bool alone = t->open[t->open_count - 1] == node;
	uint32_t member;

	do {
		member = t->open[--t->open_count];
		t->g->component[member] = alone ? NONE : t->components;
		t->low[member] = NONE; /* no longer open */
	} while (member != node);
	t->components += !alone;
}

static void visit(struct tarjan *t, uint32_t root)
{
	enter(t, root);
	while (t->path_count) {
		uint32_t node = t->path[t->path_count - 1];
		const struct edge *e;

		if (t->edge[node] == t->g->first[node + 1]) {
			uint32_t low = t->low[node];

			t->path_count--;
			if (low == t->order[node])
				leave(t, node);
			else if (low < t->low[t->path[t->path_count - 1]])
				t->low[t->path[t->path_count - 1]] = low;
			continue;
		}
		e = &t->g->edges.at[t->edge[node]++];
		if (!(t->kinds >> e->kind & 1))
			continue;
		if (!t->order[e->to])
			enter(t, e->to);
		else if (t->low[e->to] != NONE && t->order[e->to] < t->low[node])
			t->low[node] = t->order[e->to];
	}
}

uint32_t graph_components(struct graph *g, uint32_t kinds)
{
	uint32_t n = g->indexed, *all = mem_alloc(g->mem, ((size_t)n * 5 + 1) * sizeof *all);
	struct tarjan t = {.g = g, .kinds = kinds, .order = all, .low = all + n, .edge = all + 2 * (size_t)n,
			   .path = all + 3 * (size_t)n, .open = all + 4 * (size_t)n};

	for (uint32_t i = 0; i < n; i++)
		if (!t.order[i])
			visit(&t, i);
	mem_free(g->mem, all, ((size_t)n * 5 + 1) * sizeof *all);
	return t.components;
}

/* -- a cycle ------------------------------------------------------------------------------------------------------- */

/* Anti-dependencies count most, edges that say nothing least. */
static uint64_t weight(enum edge_kind kind)
{
	switch (kind) {
	case EDGE_RW:
	case EDGE_RW_TIME:
		return UINT64_C(1) << 40;
	case EDGE_OWN:
	case EDGE_AUX:
		return 1;
	default:
		return UINT64_C(1) << 20;
	}
}

struct reached { uint64_t cost; uint32_t edge; bool settled; };
struct near { uint64_t cost; uint32_t node; };
struct search {
	struct graph *g;
	uint32_t kinds, component;
	struct reached *at;      /* of all nodes of the graph */
	VEC(struct near) heap;   /* the least first */
};

static void heap_push(struct search *s, struct near n)
{
	size_t i;

	VEC_PUSH(s->g->mem, &s->heap, n);
	for (i = s->heap.count - 1; i && s->heap.at[(i - 1) / 2].cost > n.cost; i = (i - 1) / 2)
		s->heap.at[i] = s->heap.at[(i - 1) / 2];
	s->heap.at[i] = n;
}

static struct near heap_pop(struct search *s)
{
	struct near top = s->heap.at[0], last = s->heap.at[--s->heap.count];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < s->heap.count) {
		child += child + 1 < s->heap.count && s->heap.at[child + 1].cost < s->heap.at[child].cost;
		if (s->heap.at[child].cost >= last.cost)
			break;
		s->heap.at[i] = s->heap.at[child];
		i = child;
	}
	if (s->heap.count)
		s->heap.at[i] = last;
	return top;
}

/* The cheapest way from the node back to it (Dijkstra); false: none below @limit. Its last edge is in at[start]. */
static bool way_back(struct search *s, uint32_t start, uint64_t limit, uint64_t *cost_out)
{
	struct graph *g = s->g;

	s->heap.count = 0;
	heap_push(s, (struct near){0, start});
	for (bool first = true; s->heap.count; first = false) {
		struct near n = heap_pop(s);

		if (n.cost >= limit)
			return false;
		if (n.node == start && !first) {
			*cost_out = n.cost;
			return true;
		}
		if (s->at[n.node].settled)
			continue;
		s->at[n.node].settled = n.node != start;
		for (uint32_t i = g->first[n.node]; i < g->first[n.node + 1]; i++) {
			const struct edge *e = &g->edges.at[i];
			uint64_t cost = n.cost + weight(e->kind);

			if (!(s->kinds >> e->kind & 1) || g->component[e->to] != s->component ||
			    (s->at[e->to].edge != NONE && s->at[e->to].cost <= cost))
				continue;
			s->at[e->to].cost = cost;
			s->at[e->to].edge = i;
			heap_push(s, (struct near){cost, e->to});
		}
	}
	return false;
}

static uint32_t way_take(const struct search *s, uint32_t start, uint32_t *out)
{
	uint32_t count = 0, node = start;

	do {
		out[count++] = s->at[node].edge;
		node = s->g->edges.at[s->at[node].edge].from;
	} while (node != start);
	for (uint32_t i = 0; i < count / 2; i++) {
		uint32_t edge = out[i];

		out[i] = out[count - 1 - i];
		out[count - 1 - i] = edge;
	}
	return count;
}

uint32_t graph_cycle(struct graph *g, uint32_t kinds, const uint32_t *members, uint32_t count, uint32_t *out)
{
	struct search s = {.g = g, .kinds = kinds, .component = g->component[members[0]]};
	uint64_t best = UINT64_MAX;
	uint32_t found = 0, step = count / STARTS_MAX + 1;

	s.at = mem_alloc(g->mem, ((size_t)g->indexed + 1) * sizeof *s.at);
	for (uint32_t i = 0; i < count; i += step) {
		for (uint32_t k = 0; k < count; k++)
			s.at[members[k]] = (struct reached){0, NONE, false};
		if (way_back(&s, members[i], best, &best))
			found = way_take(&s, members[i], out);
	}
	VEC_FINI(g->mem, &s.heap);
	mem_free(g->mem, s.at, ((size_t)g->indexed + 1) * sizeof *s.at);
	return found;
}
