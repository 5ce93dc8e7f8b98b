/*
 * overlay.h - a transaction's own writes until it commits (engine/txn).
 *
 * Rows by (storage, row id): inserted ones have provisional ids (top bit set, counted per transaction) until the commit is
 * encoded. Each change adds a version in front of the row's older ones, stamped with its statement, and an entry in
 * the undo list, so that savepoints and failed statements go back by truncation. Keys by (index storage, key): an
 * ordered set per index. A statement sees versions of earlier statements only; unique checks see all.
 */
#ifndef VALENCE_ENGINE_TXN_OVERLAY_H
#define VALENCE_ENGINE_TXN_OVERLAY_H

#include "atoms/vec.h"
#include "base/ids.h"
#include "base/map.h"
#include "base/mem.h"
#include "catalog/schema.h"

enum overlay_change { OVERLAY_INSERTED = 1, OVERLAY_UPDATED, OVERLAY_DELETED };

struct overlay_version {
	struct overlay_version *older;
	uint32_t stmt;
	uint8_t change;          /* enum overlay_change: state of the row after it */
	uint32_t cell_count;
	struct cell *cells;      /* INSERTED: all columns; UPDATED: all columns changed so far by this transaction */
};
struct overlay_row {
	row_id row;              /* provisional or real */
	row_id final;            /* of inserted ones, once given; 0 */
	struct overlay_version *newest; /* NULL: undone */
	struct overlay_row *next;       /* in its table, in order of first change */
};
struct overlay_table {
	rel_id storage, table;
	struct map rows;         /* row id -> struct overlay_row */
	struct overlay_row *first, *last;
	struct overlay_row **inserted; /* by provisional number of this table */
	uint32_t inserted_count, inserted_cap;
	uint32_t changed_count;  /* rows that exist in atoms and were changed */
};

struct overlay_key {             /* node of a skip list */
	uint8_t *key;
	uint32_t key_len;
	uint8_t level;
	bool suffixed;           /* the key ends in the row id (8 bytes, big-endian) */
	struct overlay_key_version { struct overlay_key_version *older; uint32_t stmt; bool present; row_id row; } *newest;
	struct overlay_key *next[]; /* level */
};
#define OVERLAY_LEVELS 20
struct overlay_index {
	rel_id storage, table;
	struct overlay_key *heads[OVERLAY_LEVELS];
	uint32_t count;
};

struct overlay_undo { uint8_t kind; void *what; };
struct overlay {
	struct mem *mem;
	struct arena *arena;
	struct map tables, indexes; /* by storage */
	struct overlay_undo *undo;
	uint32_t undo_count, undo_cap;
	uint64_t provisional;       /* last number given */
	uint64_t bytes;             /* about what its records will take */
	uint64_t rng;
};

void overlay_init(struct overlay *o, struct mem *mem, struct arena *arena);
void overlay_fini(struct overlay *o);
uint32_t overlay_mark(const struct overlay *o);
void overlay_rollback(struct overlay *o, uint32_t mark);
static inline bool overlay_empty(const struct overlay *o) { return o->undo_count == 0; }

struct overlay_table *overlay_table(struct overlay *o, rel_id storage); /* NULL: nothing of it */
struct overlay_index *overlay_index(struct overlay *o, rel_id storage);
row_id overlay_insert(struct overlay *o, rel_id table, rel_id storage, uint32_t stmt, const struct cell *cells,
		      uint32_t cell_count);
void overlay_update(struct overlay *o, rel_id table, rel_id storage, uint32_t stmt, row_id row,
		    const struct cell *cells, uint32_t cell_count);
void overlay_delete(struct overlay *o, rel_id table, rel_id storage, uint32_t stmt, row_id row);
/* present false: the key is removed (it was in the index before). */
void overlay_put_key(struct overlay *o, rel_id table, rel_id storage, bool suffixed, uint32_t stmt, const void *key,
		     uint32_t key_len, bool present, row_id row);

/* The version that statement @stmt sees (stamped below it); UINT32_MAX: the newest. NULL: none. */
const struct overlay_version *overlay_see(const struct overlay_row *r, uint32_t stmt);
const struct overlay_key_version *overlay_key_see(const struct overlay_key *k, uint32_t stmt);
struct overlay_row *overlay_row(const struct overlay_table *t, row_id row); /* NULL */
struct overlay_key *overlay_key_find(const struct overlay_index *x, const void *key, uint32_t key_len); /* exact; NULL */
/* First key >= key (or > when exclusive); NULL key: the first of all. */
struct overlay_key *overlay_key_seek(const struct overlay_index *x, const void *key, uint32_t key_len, bool exclusive);
/* Last key <= key (or <); NULL key: the last of all. */
struct overlay_key *overlay_key_seek_back(const struct overlay_index *x, const void *key, uint32_t key_len,
					  bool exclusive);
const struct cell *overlay_cell(const struct overlay_version *v, uint16_t attno); /* NULL: not changed */

#endif
