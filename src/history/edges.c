/*
 * edges.c - the graph of a history: moments of transactions, and which must be before which (history).
 *
 * S is a snapshot's moment, C a commit's. What level a transaction is at shows in its nodes and in where edges end:
 *
 *   wr  C(writer) -> S(the statement that read it)
 *   rw  S(reader) -> C(who wrote the next version)
 *   ww  C(writer of a version) -> C(writer of the next); at snapshot isolation -> its S: first updater wins (P9)
 *   own S -> C, of one transaction; serializable: they become one (graph_merge(), P12)
 *   session: the end of one -> the first S of the next; the statements' S in their order
 *   time: the end of one -> what the options say of whoever began afterwards
 *
 * The end is C, or of a transaction that wrote nothing its last S: nothing ties that to its commit. Where one node would be
 * joined to many others by the same reason an auxiliary one stands between them, so edges stay linear in number. A way over
 * auxiliary nodes never leads from a transaction to itself: where S and C are one that would be a cycle.
 */
#include <stdio.h>
#include <stdlib.h>

#include "history/history_int.h"

/* Somebody wrote @version later than another; the next one who did. */
struct later { uint32_t version, next; };
struct build {
	struct history *h;
	struct graph *g;
	VEC(struct later) later;
	uint32_t *first_later; /* of a version of a register: in later, or NONE */
	uint32_t *after;   /* of a version of a register: the auxiliary node before those who wrote later ones, or NONE */
	uint32_t *updated; /* of a version of a register: the one written first by a transaction that had read it, or NONE */
};

static uint32_t end_node(const struct txn *t)
{
	return t->commit != NONE ? t->commit : t->snapshot + t->snapshots - 1;
}

/* Where the moment of a statement's snapshot is. */
static uint32_t read_node(const struct history *h, const struct op *o)
{
	const struct txn *t = &h->txns.at[o->txn];

	return t->snapshot + (t->snapshots > 1 ? o->statement : 0);
}

static void nodes(struct build *b)
{
	struct history *h = b->h;

	for (uint32_t i = 0; i < h->txns.count; i++) {
		struct txn *t = &h->txns.at[i];

		t->snapshot = t->commit = NONE;
		if (!t->committed)
			continue;
		t->snapshots = t->level == HISTORY_READ_COMMITTED ? t->statements : 1;
		t->snapshot = graph_node(b->g, i);
		for (uint32_t k = 1; k < t->snapshots; k++)
			(void)graph_node(b->g, i);
		if (t->writes)
			t->commit = graph_node(b->g, i);
		for (uint32_t k = 0; k < t->snapshots; k++) {
			if (t->writes)
				graph_edge(b->g, t->snapshot + k, t->commit, EDGE_OWN, NONE, NONE);
			if (k && h->options->session)
				graph_edge(b->g, t->snapshot + k - 1, t->snapshot + k, EDGE_SESSION, NONE, NONE);
		}
	}
}

static struct txn *writer(const struct history *h, uint32_t version)
{
	return &h->txns.at[h->versions.at[version].txn];
}

/* Where a ww edge to the version's writer ends. */
static uint32_t overwriter(const struct history *h, uint32_t version)
{
	const struct txn *t = writer(h, version);

	return t->level == HISTORY_READ_COMMITTED ? t->commit : t->snapshot;
}

/* What the database says of its commits' order must agree with what was read. */
static void indexes_compare(struct history *h, uint32_t a, uint32_t b)
{
	const struct txn *x = writer(h, a), *y = writer(h, b);

	if (x == y || !h->options->commit_index || !x->index || !y->index || x->index < y->index)
		return;
	history_tell(h, HISTORY_COMMIT_ORDER, h->versions.at[a].txn, h->versions.at[b].txn,
		     "%s had %lld before %lld, but their indexes are %llu and %llu",
		     h->keys.at[h->versions.at[a].key].name, (long long)h->versions.at[a].value,
		     (long long)h->versions.at[b].value, (unsigned long long)x->index, (unsigned long long)y->index);
}

static void overwritten(struct build *b, uint32_t v, uint32_t next)
{
	if (writer(b->h, v) == writer(b->h, next))
		return;
	indexes_compare(b->h, v, next);
	graph_edge(b->g, writer(b->h, v)->commit, overwriter(b->h, next), EDGE_WW, v, next);
}

static void read_from(struct build *b, uint32_t op)
{
	const struct op *o = &b->h->ops.at[op];
	uint32_t v = history_read_version(b->h, o);

	if (v != NONE && writer(b->h, v)->committed && b->h->versions.at[v].txn != o->txn)
		graph_edge(b->g, writer(b->h, v)->commit, read_node(b->h, o), EDGE_WR, op, v);
}

/* -- lists ---------------------------------------------------------------------------------------------------------- */

/* The version at this place of the longest list, or at the next one whose writer committed. */
static uint32_t version_from(const struct history *h, const struct key *k, uint32_t place)
{
	const struct op *most = &h->ops.at[k->longest];

	for (; place < most->count; place++) {
		uint32_t v = history_version(h, most->key, h->values.at[most->list + place]);

		if (v != NONE && h->versions.at[v].place == place && writer(h, v)->committed)
			return v;
	}
	return NONE;
}

/* Whether the transaction wrote the key at all. */
static bool wrote(const struct history *h, const struct txn *t, uint32_t key)
{
	for (uint32_t i = t->op; i < t->op + t->op_count; i++)
		if (h->ops.at[i].key == key && h->ops.at[i].kind <= OP_WRITE)
			return true;
	return false;
}

/*
 * The read was before all versions of the key that no list shows; of a register: before all. @all_node is before these, for those
 * who read and wrote nothing.
 */
static void before_versions(struct build *b, const struct key *k, uint32_t op, uint32_t all_node)
{
	const struct history *h = b->h;
	const struct op *o = &h->ops.at[op];

	if (!wrote(h, &h->txns.at[o->txn], o->key)) {
		graph_edge(b->g, read_node(h, o), all_node, EDGE_RW, op, NONE);
		return;
	}
	for (size_t i = 0; i < k->versions.count; i++) {
		uint32_t v = k->versions.at[i];

		if (writer(h, v)->committed && h->versions.at[v].place == NONE && h->versions.at[v].txn != o->txn)
			graph_edge(b->g, read_node(h, o), writer(h, v)->commit, EDGE_RW, op, v);
	}
}

/* Committed appends that no read shows come after all that is shown. */
static void unseen(struct build *b, const struct key *k, uint32_t last)
{
	const struct history *h = b->h;
	uint32_t ww = NONE, rw = NONE, shown = h->ops.at[k->longest].count;

	for (size_t i = 0; i < k->versions.count; i++) {
		uint32_t v = k->versions.at[i];

		if (h->versions.at[v].place != NONE || !writer(h, v)->committed)
			continue;
		if (ww == NONE) {
			ww = graph_node(b->g, NONE);
			rw = graph_node(b->g, NONE);
		}
		if (last == NONE || writer(h, last) != writer(h, v))
			graph_edge(b->g, ww, overwriter(h, v), EDGE_AUX, NONE, v);
		graph_edge(b->g, rw, writer(h, v)->commit, EDGE_AUX, NONE, v);
	}
	if (ww == NONE)
		return;
	if (last != NONE)
		graph_edge(b->g, writer(h, last)->commit, ww, EDGE_WW, last, NONE);
	for (size_t i = 0; i < k->reads.count; i++) {
		const struct op *o = &h->ops.at[k->reads.at[i]];

		if (o->count - o->own == shown)
			before_versions(b, k, k->reads.at[i], rw);
	}
}

static void list_edges(struct build *b, const struct key *k)
{
	struct history *h = b->h;
	uint32_t last = NONE;

	for (size_t i = 0; i < k->reads.count; i++)
		read_from(b, k->reads.at[i]);
	if (k->longest == NONE)
		return;
	for (uint32_t v = version_from(h, k, 0); v != NONE; v = version_from(h, k, h->versions.at[v].place + 1)) {
		if (last != NONE)
			overwritten(b, last, v);
		last = v;
	}
	if (!k->compatible)
		return; /* which of the lists is wrong is not known */
	for (size_t i = 0; i < k->reads.count; i++) {
		const struct op *o = &h->ops.at[k->reads.at[i]];
		uint32_t next = version_from(h, k, o->count - o->own);

		if (next != NONE && h->versions.at[next].txn != o->txn)
			graph_edge(b->g, read_node(h, o), writer(h, next)->commit, EDGE_RW, k->reads.at[i], next);
	}
	unseen(b, k, last);
}

/* -- registers ------------------------------------------------------------------------------------------------------ */

static void follows(struct build *b, uint32_t v, uint32_t next)
{
	if (writer(b->h, v) == writer(b->h, next))
		return;
	overwritten(b, v, next);
	VEC_PUSH(b->h->mem, &b->later, ((struct later){next, b->first_later[v]}));
	b->first_later[v] = (uint32_t)b->later.count - 1;
}

/* Who read the version came before all who wrote a later one. */
static void before_later(struct build *b, uint32_t op, uint32_t v)
{
	const struct history *h = b->h;
	const struct op *o = &h->ops.at[op];
	bool own = wrote(h, &h->txns.at[o->txn], o->key), fresh = !own && b->after[v] == NONE;

	if (b->first_later[v] == NONE || h->versions.at[v].txn == o->txn)
		return;
	if (fresh)
		b->after[v] = graph_node(b->g, NONE);
	if (!own)
		graph_edge(b->g, read_node(h, o), b->after[v], EDGE_RW, op, NONE);
	for (uint32_t i = b->first_later[v]; (own || fresh) && i != NONE; i = b->later.at[i].next) {
		uint32_t next = b->later.at[i].version;

		if (fresh)
			graph_edge(b->g, b->after[v], writer(h, next)->commit, EDGE_AUX, NONE, next);
		else if (h->versions.at[next].txn != o->txn)
			graph_edge(b->g, read_node(h, o), writer(h, next)->commit, EDGE_RW, op, next);
	}
}

/*
 * Two transactions have read the same version and written the key: whichever was second has not seen the first, which its level
 * forbids, whatever their order was.
 */
static void updated(struct build *b, uint32_t *first, uint32_t version, const char *what)
{
	struct history *h = b->h;

	if (writer(h, version)->level == HISTORY_READ_COMMITTED)
		return;
	if (*first != NONE && writer(h, *first) != writer(h, version))
		history_tell(h, HISTORY_LOST_UPDATE, h->versions.at[*first].txn, h->versions.at[version].txn,
			     "both read %s as %s and wrote it", h->keys.at[h->versions.at[version].key].name, what);
	*first = version;
}

/* A transaction that read a version and wrote the key then wrote a later one. */
static void read_then_written(struct build *b, uint32_t version, uint32_t *nil_updated)
{
	const struct history *h = b->h;
	const struct version *next = &h->versions.at[version];
	const struct txn *t = writer(h, version);
	char what[24];

	if (history_own_before(h, t, next->op) != NONE)
		return;
	for (uint32_t i = t->op; i < next->op; i++) {
		const struct op *o = &h->ops.at[i];
		uint32_t v;

		if (o->key != next->key || o->kind != OP_READ || !o->known)
			continue;
		v = history_read_version(h, o);
		if (o->nil) {
			updated(b, nil_updated, version, "nil");
		} else if (v != NONE && writer(h, v)->committed) {
			snprintf(what, sizeof what, "%lld", (long long)o->value);
			updated(b, &b->updated[v], version, what);
			follows(b, v, version);
		}
	}
}

struct by_index { uint64_t index; uint32_t version; };

static int by_index_compare(const void *x, const void *y)
{
	const struct by_index *a = x, *c = y;

	if (a->index != c->index)
		return a->index < c->index ? -1 : 1;
	return a->version < c->version ? -1 : a->version > c->version;
}

/* The versions of a key in the order of @index_of, in memory of the caller's. */
typedef uint64_t (*index_fn)(const struct txn *t);
static uint64_t commit_index_of(const struct txn *t) { return t->index; }
static uint64_t ended_us_of(const struct txn *t) { return t->type == TXN_OK ? t->done_us + 1 : 0; }

static uint32_t sorted_versions(const struct history *h, const struct key *k, index_fn index_of, struct by_index *out)
{
	uint32_t count = 0;

	for (size_t i = 0; i < k->versions.count; i++) {
		const struct txn *t = writer(h, k->versions.at[i]);

		if (t->committed && index_of(t))
			out[count++] = (struct by_index){index_of(t), k->versions.at[i]};
	}
	qsort(out, count, sizeof *out, by_index_compare);
	return count;
}

static void index_order(struct build *b, const struct key *k, struct by_index *room)
{
	uint32_t count = sorted_versions(b->h, k, commit_index_of, room);

	for (uint32_t i = 1; i < count; i++)
		follows(b, room[i - 1].version, room[i].version);
}

/* The last of what had ended before this time; NONE: nothing. Times in the array are one more than they were. */
static uint32_t ended_before(const struct by_index *sorted, uint32_t count, uint64_t us)
{
	uint32_t lo = 0, hi = count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (sorted[mid].index - 1 < us)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo ? lo - 1 : NONE;
}

/* Commits are in the order of time, so who began after a version's writer had ended wrote a later version. */
static void time_order(struct build *b, const struct key *k, struct by_index *room)
{
	const struct history *h = b->h;
	uint32_t count = sorted_versions(h, k, ended_us_of, room), first = (uint32_t)b->g->txn_of.count;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t node = graph_node(b->g, NONE);

		if (i)
			graph_edge(b->g, node - 1, node, EDGE_AUX, NONE, NONE);
	}
	for (size_t i = 0; i < k->versions.count; i++) {
		const struct txn *t = writer(h, k->versions.at[i]);
		uint32_t before = t->committed ? ended_before(room, count, t->invoke_us) : NONE;

		if (before != NONE)
			graph_edge(b->g, first + before, t->commit, EDGE_AUX, NONE, k->versions.at[i]);
	}
	for (size_t i = 0; i < k->reads.count; i++) {
		const struct op *o = &h->ops.at[k->reads.at[i]];
		uint32_t v = history_read_version(h, o), at;

		if (v == NONE || writer(h, v)->type != TXN_OK || wrote(h, &h->txns.at[o->txn], o->key))
			continue; /* its own write has its place by what it read */
		at = ended_before(room, count, writer(h, v)->done_us + 1);
		graph_edge(b->g, read_node(h, o), first + at, EDGE_RW_TIME, k->reads.at[i], NONE);
	}
}

/* Nothing was there before all versions. */
static void nil_reads(struct build *b, const struct key *k)
{
	const struct history *h = b->h;
	uint32_t before = NONE;

	for (size_t i = 0; i < k->reads.count; i++) {
		const struct op *o = &h->ops.at[k->reads.at[i]];

		if (!o->nil)
			continue;
		if (before == NONE)
			before = graph_node(b->g, NONE);
		before_versions(b, k, k->reads.at[i], before);
	}
	for (size_t i = 0; before != NONE && i < k->versions.count; i++)
		if (writer(h, k->versions.at[i])->committed)
			graph_edge(b->g, before, writer(h, k->versions.at[i])->commit, EDGE_AUX, NONE, k->versions.at[i]);
}

static void register_edges(struct build *b, const struct key *k)
{
	struct history *h = b->h;
	struct by_index *room = mem_alloc(h->mem, (k->versions.count + 1) * sizeof *room);
	uint32_t nil_updated = NONE;

	for (size_t i = 0; i < k->versions.count; i++)
		if (writer(h, k->versions.at[i])->committed)
			read_then_written(b, k->versions.at[i], &nil_updated);
	if (h->options->commit_index)
		index_order(b, k, room);
	for (size_t i = 0; i < k->reads.count; i++) {
		uint32_t v = history_read_version(h, &h->ops.at[k->reads.at[i]]);

		read_from(b, k->reads.at[i]);
		if (v != NONE)
			before_later(b, k->reads.at[i], v);
	}
	nil_reads(b, k);
	if (h->options->realtime != HISTORY_NO_TIME)
		time_order(b, k, room);
	mem_free(h->mem, room, (k->versions.count + 1) * sizeof *room);
}

/* -- sessions and time ---------------------------------------------------------------------------------------------- */

static void sessions(struct build *b)
{
	const struct history *h = b->h;

	for (uint32_t i = 0; i < h->txns.count; i++) {
		const struct txn *t = &h->txns.at[i];
		uint32_t before = t->before;

		while (before != NONE && h->txns.at[before].type != TXN_OK)
			before = h->txns.at[before].before;
		if (t->committed && before != NONE)
			graph_edge(b->g, end_node(&h->txns.at[before]), t->snapshot, EDGE_SESSION, NONE, NONE);
	}
}

static void time_edge(struct build *b, const struct txn *t, uint32_t from)
{
	if (b->h->options->realtime == HISTORY_STRICT || t->latest)
		for (uint32_t i = 0; i < t->snapshots; i++)
			graph_edge(b->g, from, t->snapshot + i, EDGE_AUX, NONE, NONE);
	else if (t->writes)
		graph_edge(b->g, from, t->commit, EDGE_AUX, NONE, NONE);
}

static void times(struct build *b)
{
	const struct history *h = b->h;
	struct by_index *sorted = mem_alloc(h->mem, (h->txns.count + 1) * sizeof *sorted);
	uint32_t count = 0, first = (uint32_t)b->g->txn_of.count;

	for (uint32_t i = 0; i < h->txns.count; i++)
		if (h->txns.at[i].type == TXN_OK)
			sorted[count++] = (struct by_index){h->txns.at[i].done_us + 1, i};
	qsort(sorted, count, sizeof *sorted, by_index_compare);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t node = graph_node(b->g, NONE);

		graph_edge(b->g, end_node(&h->txns.at[sorted[i].version]), node, EDGE_TIME, NONE, NONE);
		if (i)
			graph_edge(b->g, node - 1, node, EDGE_AUX, NONE, NONE);
	}
	for (uint32_t i = 0; i < h->txns.count; i++) {
		const struct txn *t = &h->txns.at[i];
		uint32_t before = t->committed ? ended_before(sorted, count, t->invoke_us) : NONE;

		if (before != NONE)
			time_edge(b, t, first + before);
	}
	mem_free(h->mem, sorted, (h->txns.count + 1) * sizeof *sorted);
}

void history_edges(struct history *h, struct graph *g)
{
	struct build b = {.h = h, .g = g};
	size_t bytes = (h->versions.count + 1) * sizeof *b.after;

	b.after = mem_alloc(h->mem, bytes);
	b.updated = mem_alloc(h->mem, bytes);
	b.first_later = mem_alloc(h->mem, bytes);
	for (size_t i = 0; i < h->versions.count; i++)
		b.after[i] = b.updated[i] = b.first_later[i] = NONE;
	nodes(&b);
	for (size_t i = 0; i < h->keys.count; i++) {
		if (h->keys.at[i].list)
			list_edges(&b, &h->keys.at[i]);
		else
			register_edges(&b, &h->keys.at[i]);
	}
	if (h->options->session)
		sessions(&b);
	if (h->options->realtime != HISTORY_NO_TIME)
		times(&b);
	mem_free(h->mem, b.after, bytes);
	mem_free(h->mem, b.updated, bytes);
	mem_free(h->mem, b.first_later, bytes);
	VEC_FINI(h->mem, &b.later);
}
