/*
 * history_int.h - one history, parsed, and the graph over it (history).
 */
#ifndef VALENCE_HISTORY_HISTORY_INT_H
#define VALENCE_HISTORY_HISTORY_INT_H

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "history/history.h"

#define NONE UINT32_MAX

enum op_kind { OP_APPEND, OP_WRITE, OP_READ_LIST, OP_READ };
struct op {
	enum op_kind kind;
	uint32_t txn, key;
	uint16_t statement;
	bool predicate, known;  /* known: the answer of a read is */
	bool nil;               /* a register that is not there */
	int64_t value;          /* written, or read of a register */
	uint32_t list, count;   /* read of a list: in history.values */
	uint32_t own;           /* of count, so many at the end are the transaction's own */
};
enum txn_type { TXN_INFO, TXN_OK, TXN_FAIL };
struct txn {
	uint32_t line, done_line, process, engine;
	enum txn_type type;
	enum history_level level; /* that it is checked at */
	bool latest, final, committed, ended, writes;
	uint64_t invoke_us, done_us, index; /* index 0: not known */
	uint32_t op, op_count;
	uint16_t statements;
	uint32_t before;        /* the session's transaction before it, or NONE */
	uint32_t snapshot, snapshots, commit; /* nodes: first snapshot's, how many, the commit's */
};
/* One value of one key. */
struct version {
	int64_t value;
	uint32_t key, txn, op;  /* who wrote it */
	uint32_t place;         /* in its list, or NONE */
	uint32_t next_own;      /* with which its own transaction overwrote it, or NONE */
	uint32_t seen;          /* operation + 1 whose list was looked through last */
	bool told;              /* a finding about it */
};
struct key {
	const char *name;
	bool list, typed;
	uint32_t longest;       /* list: the read that shows most, or NONE */
	bool compatible;        /* list: all reads are beginnings of it */
	VEC(uint32_t) versions; /* in the order of the history's lines */
	VEC(uint32_t) reads;    /* ops of committed transactions with a known answer */
};

struct history {
	struct mem *mem;
	struct arena arena;
	const struct history_options *options;
	struct history_result *result;
	VEC(struct txn) txns;
	VEC(struct op) ops;
	VEC(int64_t) values;
	VEC(struct version) versions;
	VEC(struct key) keys;
	VEC(const char *) engines;
	struct bmap key_names, engine_names; /* -> number + 1 */
	struct map by_value;                 /* (key, value) -> version + 1 */
};

/* parse.c */
enum status history_parse(struct history *h, const char *text, size_t bytes, struct error *err) MUST_CHECK;
uint32_t history_version(const struct history *h, uint32_t key, int64_t value); /* NONE: nobody wrote it */

/* reads.c: who committed, what order lists show, and what contradicts without a cycle */
void history_reads(struct history *h);
/* The last element of a list read that is not the reader's own, as a version; NONE: the empty list, or not known. */
uint32_t history_read_version(const struct history *h, const struct op *o);
/* The last version that @txn wrote of @key before its operation @op; NONE: none. */
uint32_t history_own_before(const struct history *h, const struct txn *t, uint32_t op);

/* -- the graph -------------------------------------------------------------------------------------------------- */

enum edge_kind {
	EDGE_OWN,      /* a snapshot, and the commit of the same transaction */
	EDGE_AUX,      /* between nodes that stand for no event */
	EDGE_WW, EDGE_WR, EDGE_RW,
	EDGE_SESSION,
	EDGE_TIME,
	EDGE_RW_TIME   /* an anti-dependency whose order of versions is real time's */
};
/* @a, @b: the versions of a ww; the read and the version of wr and rw; else nothing. */
struct edge { uint32_t from, to, a, b; enum edge_kind kind; };
struct graph {
	struct mem *mem;
	VEC(uint32_t) txn_of;   /* of a node; NONE: an auxiliary one */
	VEC(struct edge) edges;
	uint32_t *first;        /* after graph_index: edges of node n are edges[first[n]] to edges[first[n + 1] - 1] */
	uint32_t *component;    /* after graph_components: of a node; NONE: alone in its own */
	uint32_t indexed;       /* nodes that first and component have */
};
void graph_init(struct graph *g, struct mem *mem);
void graph_fini(struct graph *g);
uint32_t graph_node(struct graph *g, uint32_t txn);
void graph_edge(struct graph *g, uint32_t from, uint32_t to, enum edge_kind kind, uint32_t a, uint32_t b);
void graph_index(struct graph *g); /* sorts the edges by where they come from */
/* Makes one node of each and the one that stands for it, @rep[node] (not NONE); edges between them go. Index again. */
void graph_merge(struct graph *g, const uint32_t *rep);
/* Strongly connected components over the edges whose kinds are in @kinds (bits); returns how many have several nodes. */
uint32_t graph_components(struct graph *g, uint32_t kinds);
/*
 * A cycle within @component with the fewest anti-dependencies, of these the fewest edges that say something; found from up to
 * a limit of its nodes. Edges' numbers, in order, into @out (an array of graph's nodes at least); returns how many.
 */
uint32_t graph_cycle(struct graph *g, uint32_t kinds, const uint32_t *members, uint32_t count, uint32_t *out);

void history_edges(struct history *h, struct graph *g); /* edges.c */
void history_cycles(struct history *h, struct graph *g); /* cycle.c: finds, names and explains */

/* finding.c. @text is taken from result's arena. */
void history_found(struct history *h, enum history_anomaly a, bool session, bool realtime, const char *text);
void history_tell_txn(const struct history *h, struct buf *b, uint32_t txn);
void history_tell_read(const struct history *h, struct buf *b, const struct op *o); /* "x as [1,2]" */
/* One with a text like printf, and the transactions concerned, each on a line of its own; NONE: fewer. */
void history_tell(struct history *h, enum history_anomaly a, uint32_t t1, uint32_t t2, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
bool history_wanted(const struct history *h); /* another finding is told in words */

#endif
