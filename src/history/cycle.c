/*
 * cycle.c - cycles in a history's graph: found, named by their edges, and told in words (history).
 *
 * Kinds of edges are added one after another, so that a cycle is found among the fewest that make one: by writes alone,
 * with reads, with anti-dependencies, with the one moment of serializable ones, with sessions, with time. In a part of
 * the graph in which a cycle was told others of later kinds are not: they are its consequences more often than not.
 */
#include "history/history_int.h"

#define BIT(kind) (UINT32_C(1) << (kind))
#define TOLD_MAX 40 /* transactions of one cycle that are told in words */

#define KINDS_WW (BIT(EDGE_OWN) | BIT(EDGE_AUX) | BIT(EDGE_WW))
#define KINDS_RW (KINDS_WW | BIT(EDGE_WR) | BIT(EDGE_RW))
#define KINDS_SESSION (KINDS_RW | BIT(EDGE_SESSION))
#define KINDS_TIME (KINDS_SESSION | BIT(EDGE_TIME) | BIT(EDGE_RW_TIME))

/* First what holds at every level, then what serializable transactions promise among themselves. */
static const struct { uint32_t kinds; bool serializable; } layers[] = {
	{KINDS_WW, false}, {KINDS_WW | BIT(EDGE_WR), false}, {KINDS_RW, false}, {KINDS_SESSION, false}, {KINDS_TIME, false},
	{KINDS_RW, true},  {KINDS_SESSION, true},            {KINDS_TIME, true}};

/* From one transaction to the next. */
struct link { uint32_t from, to, a, b; enum edge_kind kind; };
struct cycle {
	VEC(struct link) links;
	bool statements;        /* it needs the order of one transaction's statements */
};

/* Edges over auxiliary nodes become one, edges within a transaction none. */
static void links_make(struct history *h, const struct graph *g, const uint32_t *edges, uint32_t count, struct cycle *c)
{
	uint32_t start = 0;
	struct link l = {NONE, NONE, NONE, NONE, EDGE_AUX};

	while (g->txn_of.at[g->edges.at[edges[start]].from] == NONE)
		start++;
	for (uint32_t i = 0; i < count; i++) {
		const struct edge *e = &g->edges.at[edges[(start + i) % count]];

		if (g->txn_of.at[e->from] != NONE)
			l = (struct link){g->txn_of.at[e->from], NONE, e->a, e->b, e->kind};
		if (e->a != NONE)
			l.a = e->a;
		if (e->b != NONE)
			l.b = e->b;
		l.to = g->txn_of.at[e->to];
		c->statements |= e->kind == EDGE_SESSION && l.to == l.from;
		if (l.to != NONE && l.to != l.from)
			VEC_PUSH(h->mem, &c->links, l);
	}
}

/* -- its name ------------------------------------------------------------------------------------------------------- */

struct shape { uint32_t ww, wr, rw, adjacent, predicates; bool session, realtime; };

static bool is_rw(const struct link *l)
{
	return l->kind == EDGE_RW || l->kind == EDGE_RW_TIME;
}

static struct shape shape_of(const struct history *h, const struct cycle *c)
{
	struct shape s = {.session = c->statements};

	for (size_t i = 0; i < c->links.count; i++) {
		const struct link *l = &c->links.at[i], *next = &c->links.at[(i + 1) % c->links.count];

		s.ww += l->kind == EDGE_WW;
		s.wr += l->kind == EDGE_WR;
		s.rw += is_rw(l);
		s.adjacent += is_rw(l) && is_rw(next) && l != next;
		s.predicates += is_rw(l) && h->ops.at[l->a].predicate;
		s.session |= l->kind == EDGE_SESSION;
		s.realtime |= l->kind == EDGE_TIME || l->kind == EDGE_RW_TIME;
	}
	return s;
}

static uint32_t key_of(const struct history *h, const struct link *l)
{
	return l->b != NONE && (is_rw(l) || l->kind == EDGE_WW) ? h->versions.at[l->b].key : NONE;
}

static enum history_anomaly name_of(const struct history *h, const struct cycle *c, const struct shape *s)
{
	size_t n = c->links.count;
	bool same_key = n == 2 && key_of(h, &c->links.at[0]) == key_of(h, &c->links.at[1]);

	if (!s->rw)
		return s->wr ? HISTORY_G1C : s->ww ? HISTORY_G0 : HISTORY_CYCLE;
	if (s->rw == 1)
		return n == 2 && s->ww == 1 && same_key ? HISTORY_LOST_UPDATE : HISTORY_G_SINGLE;
	if (!s->adjacent)
		return n == 4 && s->rw == 2 && s->wr == 2 ? HISTORY_LONG_FORK : HISTORY_G_NONADJACENT;
	if (s->predicates)
		return HISTORY_G2;
	return n == 2 && s->rw == 2 && !same_key ? HISTORY_WRITE_SKEW : HISTORY_G2_ITEM;
}

/* -- in words ------------------------------------------------------------------------------------------------------- */

static void tell_link(const struct history *h, struct buf *b, const struct link *l)
{
	const struct version *v = l->b != NONE ? &h->versions.at[l->b] : NULL;
	const char *name = v ? h->keys.at[v->key].name : "";
	const struct txn *t = &h->txns.at[l->from], *u = &h->txns.at[l->to];

	buf_printf(b, "\n  T%u before T%u: ", l->from + 1, l->to + 1);
	switch (l->kind) {
	case EDGE_WW:
		buf_printf(b, "ww: %lld of %s was there before %lld", (long long)h->versions.at[l->a].value, name,
			   (long long)v->value);
		if (h->keys.at[v->key].list && v->place == NONE)
			buf_printf(b, ", which no read shows");
		if (u->level != HISTORY_READ_COMMITTED)
			buf_printf(b, "; at its level T%u has seen it", l->to + 1);
		return;
	case EDGE_WR:
		buf_printf(b, "wr: T%u read ", l->to + 1);
		history_tell_read(h, b, &h->ops.at[l->a]);
		buf_printf(b, ", and T%u wrote %lld", l->from + 1, (long long)v->value);
		return;
	case EDGE_RW:
	case EDGE_RW_TIME:
		buf_printf(b, "rw: T%u read ", l->from + 1);
		history_tell_read(h, b, &h->ops.at[l->a]);
		buf_printf(b, ", without T%u's %lld", l->to + 1, (long long)v->value);
		if (l->kind == EDGE_RW_TIME)
			buf_printf(b, ", which was begun after what it read had been acknowledged");
		return;
	case EDGE_SESSION:
		buf_printf(b, "session: T%u came first in process %u", l->from + 1, t->process);
		return;
	case EDGE_TIME:
		buf_printf(b, "time: T%u had ended at %llu, T%u began at %llu", l->from + 1, (unsigned long long)t->done_us,
			   l->to + 1, (unsigned long long)u->invoke_us);
		return;
	case EDGE_OWN:
	case EDGE_AUX:
		return;
	}
}

static void tell(struct history *h, const struct cycle *c)
{
	struct shape s = shape_of(h, c);
	struct history_finding f = {name_of(h, c, &s), s.session, s.realtime, ""};
	char name[64];
	struct buf b;

	buf_init(&b, h->mem);
	buf_printf(&b, "%s: each of %zu transactions comes before the next, and the last before the first",
		   history_finding_name(&f, name, sizeof name), c->links.count);
	for (size_t i = 0; i < c->links.count && i < TOLD_MAX; i++)
		history_tell_txn(h, &b, c->links.at[i].from);
	for (size_t i = 0; i < c->links.count && i < TOLD_MAX; i++)
		tell_link(h, &b, &c->links.at[i]);
	if (c->statements)
		buf_printf(&b, "\n  and a statement's snapshot is not older than that of the one before it");
	if (c->links.count > TOLD_MAX)
		buf_printf(&b, "\n  … and %zu more", c->links.count - TOLD_MAX);
	put_u8(&b, 0);
	history_found(h, f.anomaly, s.session, s.realtime, (char *)b.data);
	buf_fini(&b);
}

/* -- finding --------------------------------------------------------------------------------------------------------- */

/* One cycle of the component, unless one was told of its transactions. */
static void component(struct history *h, struct graph *g, uint32_t kinds, const uint32_t *members, uint32_t count, bool *told,
		      uint32_t *room)
{
	struct cycle c = {.statements = false};
	uint32_t edges;

	for (uint32_t i = 0; i < count; i++)
		if (g->txn_of.at[members[i]] != NONE && told[g->txn_of.at[members[i]]])
			return;
	edges = graph_cycle(g, kinds, members, count, room);
	links_make(h, g, room, edges, &c);
	tell(h, &c);
	for (uint32_t i = 0; i < count; i++)
		if (g->txn_of.at[members[i]] != NONE)
			told[g->txn_of.at[members[i]]] = true;
	VEC_FINI(h->mem, &c.links);
}

/* Components one after another, each with its nodes together. */
static void components(struct history *h, struct graph *g, uint32_t kinds, uint32_t count, bool *told, uint32_t *room)
{
	uint32_t *first = mem_alloc(h->mem, ((size_t)count + 2) * sizeof *first);
	uint32_t *members = mem_alloc(h->mem, ((size_t)g->indexed + 1) * sizeof *members);

	for (uint32_t n = 0; n < g->indexed; n++)
		if (g->component[n] != NONE)
			first[g->component[n] + 2]++;
	for (uint32_t i = 2; i < count + 2; i++)
		first[i] += first[i - 1];
	for (uint32_t n = 0; n < g->indexed; n++)
		if (g->component[n] != NONE)
			members[first[g->component[n] + 1]++] = n;
	for (uint32_t i = 0; i < count; i++)
		component(h, g, kinds, members + first[i], first[i + 1] - first[i], told, room);
	mem_free(h->mem, first, ((size_t)count + 2) * sizeof *first);
	mem_free(h->mem, members, ((size_t)g->indexed + 1) * sizeof *members);
}

/* Serializable transactions are at one moment. Beside others they have no more than a snapshot: those are left out. */
static void merge(struct history *h, struct graph *g)
{
	uint32_t *rep = mem_alloc(h->mem, ((size_t)g->indexed + 1) * sizeof *rep);
	size_t kept = 0;

	for (size_t i = 0; i < g->edges.count; i++) {
		uint32_t from = g->txn_of.at[g->edges.at[i].from], to = g->txn_of.at[g->edges.at[i].to];

		if ((from == NONE || h->txns.at[from].level == HISTORY_SERIALIZABLE) &&
		    (to == NONE || h->txns.at[to].level == HISTORY_SERIALIZABLE))
			g->edges.at[kept++] = g->edges.at[i];
	}
	g->edges.count = kept;
	for (uint32_t i = 0; i < g->indexed; i++)
		rep[i] = NONE;
	for (size_t i = 0; i < h->txns.count; i++) {
		const struct txn *t = &h->txns.at[i];

		if (t->committed && t->commit != NONE && t->level == HISTORY_SERIALIZABLE)
			rep[t->commit] = t->snapshot;
	}
	graph_merge(g, rep);
	graph_index(g);
	mem_free(h->mem, rep, ((size_t)g->indexed + 1) * sizeof *rep);
}

void history_cycles(struct history *h, struct graph *g)
{
	bool *told = mem_alloc(h->mem, h->txns.count + 1);
	bool merged = false;
	uint32_t *room;

	graph_index(g);
	room = mem_alloc(h->mem, ((size_t)g->indexed + 1) * sizeof *room);
	for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
		uint32_t count;

		if (layers[i].serializable && !merged)
			merge(h, g);
		merged = layers[i].serializable;
		count = graph_components(g, layers[i].kinds);
		if (count)
			components(h, g, layers[i].kinds, count, told, room);
	}
	mem_free(h->mem, told, h->txns.count + 1);
	mem_free(h->mem, room, ((size_t)g->indexed + 1) * sizeof *room);
}
