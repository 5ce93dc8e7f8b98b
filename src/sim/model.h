/*
 * model.h - what the log says the database is: a second, plain implementation to compare with (sim).
 *
 * Every engine's applied records are looked at, in order of index. The first engine to apply an index says what it is;
 * all others must have applied the same record with the same verdict ("one log"). Committed records are then
 * worked off on plain rows and keys, with definitions from the schema catalog.
 *
 * Tables with a column "tag" have history. A *tag* names one write of one client transaction: number of the transaction
 * times 64 plus the number of the write. From the log the model knows when each tag became visible and when it was
 * replaced, so what clients read can be checked without knowing their snapshots: some index must exist at which all
 * that one snapshot showed was the newest. A client says how its transactions ended; the log must agree:
 * acknowledged ones are there, whole and in one record; refused ones are not there.
 */
#ifndef VALENCE_SIM_MODEL_H
#define VALENCE_SIM_MODEL_H

#include "catalog/replica.h"
#include "sim/world.h"

#define TAG_WRITES 64 /* per transaction */

/* EARLY: acknowledged at a commit level below archive, so it may still come to nothing; model_txn_settle() says more. */
enum txn_end { TXN_OPEN, TXN_ACKED, TXN_REFUSED, TXN_UNKNOWN, TXN_EARLY };

/* One statement of a transaction, as its client was told: how many rows with ids in [lo, hi) it wrote, or removed. */
struct mwrite { const char *table; int64_t lo, hi; uint32_t rows; int64_t tag; }; /* tag 0: removed, or all of it at once */
struct mgone { const char *table; int64_t id, tag; };
struct mtxn {
	uint64_t number;
	enum txn_end end;
	seq_index index;          /* of its commit record; 0: not in the log (yet) */
	uint64_t expected, seen;  /* bit per write; expected: those that were not taken back */
	bool partial;             /* it may have overwritten its own writes, but for the first one */
	uint32_t rows[TAG_WRITES]; /* that the log has with this tag */
	VEC(struct mwrite) writes; /* those whose client was told */
	VEC(struct mgone) gone;   /* single rows that it removed */
	int64_t delta[TAG_WRITES]; /* how much write k adds to "balance" */
	bool has_delta[TAG_WRITES];
	seq_index read_lo, read_hi; /* REPEATABLE READ: what its snapshot must lie between, [lo, hi) */
	bool one_snapshot;
};

struct mvalue { bool null, text; int64_t i; uint32_t bytes; uint8_t *p; };
struct mversion {             /* of a row of a table with history; newest last */
	seq_index from, to;       /* visible in [from, to); to UINT64_MAX: now */
	int64_t tag, balance;
	uint64_t k;               /* hash of the text column "k"; 0: none */
	bool live;
};
struct mrow {
	row_id row;
	bool live;
	int64_t id;               /* column "id" */
	uint32_t count;           /* values[attno - 1] */
	struct mvalue *values;
	VEC(struct mversion) versions;
};
struct mtable {
	rel_id storage;
	struct table_def *def;    /* newest; NULL: not seen yet */
	struct arena arena;       /* of def */
	bool gone, touched;       /* touched: by the record under way */
	VEC(struct mrow *) rows;  /* in order of appearing */
	struct map by_row, by_id;
	uint64_t live;
};

struct model *model_new(struct world *w);
void model_free(struct model *m);
/* Looks at what the node applied since the last time. */
void model_feed(struct model *m, struct node *n);
seq_index model_last(const struct model *m); /* newest index that anybody has applied */

struct mtxn *model_txn_begin(struct model *m);
int64_t model_txn_write(struct mtxn *x, int64_t delta, bool has_delta); /* a tag */
void model_txn_undo(struct mtxn *x, uint64_t writes);                    /* a savepoint took them back */
uint64_t model_txn_writes(const struct mtxn *x);                         /* for model_txn_undo: those so far */
/*
 * What a statement's reply said. If nothing after it in its transaction can have touched the same rows, the log must have exactly
 * so many with its tag. A table's name is lent for good. INT64_MIN, INT64_MAX: all rows.
 */
void model_txn_wrote(struct model *m, struct mtxn *x, int64_t tag, const char *table, int64_t lo, int64_t hi,
		     uint32_t rows);
void model_txn_removed(struct model *m, struct mtxn *x, const char *table, int64_t id, int64_t tag); /* the version it removed */
seq_index model_acked(const struct model *m); /* newest index that a client was told of */
/* Checks what the log has of it so far. @applied: of the engine that answered. */
void model_txn_end(struct model *m, struct mtxn *x, enum txn_end end);

/* Of one that ended EARLY: its session has gone on (ACKED), or was warned that it came to nothing (REFUSED) or may have (UNKNOWN). */
void model_txn_settle(struct model *m, struct mtxn *x, enum txn_end end);

struct mtable *model_table(struct model *m, const char *name); /* by newest definition; NULL */
struct mtable *model_table_at(struct model *m, uint32_t i);    /* NULL: no more; those that are gone too */
uint64_t model_index_entries(struct model *m, rel_id storage);

/* One statement's reads of tags: which snapshots could have shown them. */
struct mreads { seq_index lo, hi; uint32_t rows; };
void model_reads_init(struct mreads *r);
/* x: the reader's transaction (its own writes show nothing); may be NULL. */
void model_read(struct model *m, struct mreads *r, struct mtable *t, int64_t id, int64_t tag, int64_t balance,
		const struct mtxn *x);
/*
 * The read showed all rows of the table (@k 0), or all with this value of k: what it did not show must not have been there.
 * ids: those shown. @k is as model_k() gives it.
 */
void model_reads_whole(struct model *m, struct mreads *r, struct mtable *t, uint64_t k, const int64_t *ids, uint32_t count,
		       const struct mtxn *x, seq_index applied, const char *what);
uint64_t model_k(const char *text);
/* After all rows: session_lo is the least snapshot that this session may see, and is moved on. */
void model_reads_check(struct model *m, const struct mreads *r, struct mtxn *x, seq_index *session_lo,
		       seq_index applied, const char *what);
/* At quiescence: nothing acknowledged is missing, unknown outcomes are whole. */
void model_final(struct model *m);

#endif
