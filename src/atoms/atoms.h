/*
 * atoms.h - atom images, their versions and frames (atoms): knows bytes, not peers.
 *
 * A *store* belongs to one engine. It keeps a *frame* per atom that the engine has a copy of. A frame
 * owns an image (body: newest state, the same bytes on every holder at one index, rule 2 and 5) and what is
 * local to this engine: the undo chain, the tail and reach, refs, pins, state (S6 to S9).
 *
 * Two body formats carry everything (design section 5): *columns* (data atoms) and *keyed leaf* (index
 * atoms, catalogs, schema, sequences). The layouts are in atoms_disk.h.
 *
 * Apply functions cannot fail and cannot refuse (S3): the image grows by relayout when it must. They take
 * the record's index; several changes of one atom may carry the same index. They leave undo (S6), so that a
 * reader with a snapshot below sees what was before. Given the same sequence of calls (index, arguments),
 * two stores end with equal bodies; the body never depends on undo, horizon, refs or earlier sizes.
 *
 * Readers take a snapshot S: they see changes with index <= S. last_index <= S is the fast path.
 * S below a frame's reach: ST_SNAPSHOT_TOO_OLD.
 *
 * Owned by the engine's loop: no locks; only refs'd images may be read by other threads.
 */
#ifndef VALENCE_ATOMS_ATOMS_H
#define VALENCE_ATOMS_ATOMS_H

#include "atoms/vec.h"
#include "base/buf.h"
#include "base/ids.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/status.h"

enum atom_kind { /* numbers are on disk and on the wire */
	ATOM_NONE = 0,
	ATOM_ROOT = 1,        /* keyed leaf; on every engine */
	ATOM_SCHEMA_CAT = 2,  /* keyed leaves: the five catalogs */
	ATOM_SEQUENCE_CAT = 3,
	ATOM_RECORD_CAT = 4,
	ATOM_DATA_CAT = 5,
	ATOM_INDEX_CAT = 6,
	ATOM_SEQUENCE = 7,    /* keyed leaf: one sequence */
	ATOM_DATA = 8,        /* columns */
	ATOM_INDEX = 9,       /* keyed leaf: one leaf of a B+tree */
	ATOM_KIND_COUNT
};
const char *atom_kind_name(enum atom_kind kind); /* "data", "index", "schema-catalog", … */

#define ATOM_ROWS_MAX 4096          /* row ids per data atom (S2) */
#define ATOM_SPLIT_BYTES (192u << 10)  /* over: the originator proposes a split (S3) */
#define ATOM_STOP_BYTES (512u << 10)   /* over: no grants until it is applied */
#define LEAF_KEY_MAX 2000           /* bytes of a key, and of a value in a keyed leaf (S5) */
#define LEAF_VALUE_MAX 2000

enum frame_state { FRAME_ABSENT, FRAME_FETCHING, FRAME_FUTURE, FRAME_HELD, FRAME_TRANSIENT };

struct atom_head; /* atoms_disk.h */
struct atom_store;

struct frame {
	atom_id id;
	uint8_t kind;  /* enum atom_kind */
	uint8_t state; /* enum frame_state; set by the engine, FRAME_HELD after create and install */
	struct atom_head *image;
	uint32_t image_refs; /* > 0: the image is lent and immutable (S9) */
	uint32_t pins;       /* > 0: may not be evicted; the engine's */
	uint64_t undo_head;  /* ring position of this atom's newest undo entry; 0 none */
	seq_index reach;     /* oldest snapshot this copy can answer */
	seq_index dirty_since; /* index of the oldest change not in a written image; 0 clean; the archive's */
	uint64_t last_use;   /* turn counter; the engine's, for eviction */
	struct list all;     /* in the store, by creation */
	void *user;          /* the engine's own record beside the frame */
	struct frame_int *in; /* the store's own: row heads, tail */
};

/* -- store ------------------------------------------------------------------------------------- */

struct atom_store *atom_store_new(struct mem *mem, size_t undo_limit_bytes);
void atom_store_free(struct atom_store *st);
/* @unmapped is told before memory that images were in is given back, for who registered it with a fabric. */
void atom_store_set_unmapped(struct atom_store *st, void (*unmapped)(void *ctx, const void *base, size_t bytes),
			     void *ctx);
struct frame *atom_find(const struct atom_store *st, atom_id id); /* NULL: no copy here */
struct list *atom_all(struct atom_store *st); /* struct frame.all, oldest frame first */
size_t atom_store_image_bytes(const struct atom_store *st);
size_t atom_store_undo_bytes(const struct atom_store *st);
/* Over its limit the engine cancels its oldest snapshot or lets the ring drop its oldest entries (S7). */
bool atom_store_undo_over(const struct atom_store *st);
void atom_store_undo_drop_oldest(struct atom_store *st, size_t bytes); /* frames note their reach */
/* Snapshots below are gone everywhere: frees undo and tails. Never goes back; cheap to call often. */
void atom_store_set_horizon(struct atom_store *st, seq_index horizon);

/* -- frames ------------------------------------------------------------------------------------ */

/* New, empty atoms as of @index; reach = index - 1 (absent before). */
struct frame *atom_create_columns(struct atom_store *st, atom_id id, uint64_t owner, row_id lo, row_id hi,
				  seq_index index);
/* hi_len 0: no upper bound. Fences are copied. lo is inside, hi outside. */
struct frame *atom_create_leaf(struct atom_store *st, enum atom_kind kind, atom_id id, uint64_t owner,
			       const void *lo, uint32_t lo_len, const void *hi, uint32_t hi_len,
			       seq_index index);
/*
 * A frame from an image that came from a peer or a disk, with its version tail (tail_bytes 0: none; reach
 * is then the image's @as_of). Both are checked (bounds, counts, CRC of the tail): ST_CORRUPT changes
 * nothing. Copies. @as_of: the holder's applied index when it took the image (P17).
 */
MUST_CHECK enum status atom_install(struct atom_store *st, const void *image, size_t image_bytes,
				    const void *tail, size_t tail_bytes, seq_index as_of,
				    struct frame **frame_out);
void atom_drop(struct atom_store *st, struct frame *f); /* frees; a lent image lives until its last unref */

/* Borrow the image: immutable until unref, even if the frame changes (copy on write) or is dropped. */
const struct atom_head *frame_image_ref(struct frame *f, size_t *bytes_out);
void atom_image_unref(struct atom_store *st, const struct atom_head *image);
/* The version tail: every undo entry with index > horizon, sorted by (row or key, index descending), own CRC. */
void frame_tail_encode(struct atom_store *st, struct frame *f, seq_index horizon, struct buf *out);

seq_index frame_last_index(const struct frame *f);
/* The oldest snapshot that the frame answers now: its reach or the horizon. */
seq_index frame_reach(const struct atom_store *st, const struct frame *f);
uint32_t frame_bytes(const struct frame *f);  /* used: what ATOM_SPLIT_BYTES is compared with */
uint64_t frame_owner(const struct frame *f);
uint32_t frame_body_crc(const struct frame *f); /* crc32c of the body: equal on all holders at one index (P20) */
/* Full check of a body's structure, for tests, the audit and damaged peers. @image: aligned to 16. */
MUST_CHECK enum status atom_image_check(const void *image, size_t bytes);

/*
 * Move rows >= @at (columns) or keys >= @at (leaf) into a new atom @id, at record @index. Both bodies are
 * pure functions of the old body and the arguments. The new frame starts with the old chain (S6), the old
 * reach, and FRAME_HELD.
 */
struct frame *columns_split(struct atom_store *st, struct frame *f, row_id at, atom_id id, seq_index index);
struct frame *leaf_split(struct atom_store *st, struct frame *f, const void *at, uint32_t at_len, atom_id id,
			 seq_index index);
/* A good place to split: about half of the bytes on each side, so that both sides get something. ST_END: cannot
 * be split (one row or entry). The key is copied into key_out (LEAF_KEY_MAX bytes). */
MUST_CHECK enum status columns_split_point(const struct frame *f, row_id *at_out);
MUST_CHECK enum status leaf_split_point(const struct frame *f, void *key_out, uint32_t *key_len_out);
/* Rewrite without dead bytes, at record @index (compact). */
void atom_compact(struct atom_store *st, struct frame *f, seq_index index);

/* -- columns: data atoms ------------------------------------------------------------------------- */

row_id columns_lo(const struct frame *f);
row_id columns_hi(const struct frame *f);
uint32_t columns_slot_count(const struct frame *f); /* highest applied slot + 1 */
uint32_t columns_live_count(const struct frame *f);

/*
 * Apply. A row id outside [lo, hi) or a row in the wrong state is a broken invariant (ASSERT). Insert
 * names every column of the definition it was made under, nulls too; update only the changed ones; a column
 * that the atom does not have yet gets its vector (P6). A row has, per column, a value, null or *absent* (it is
 * older than the column): two bits. Widths never change.
 */
void columns_insert(struct atom_store *st, struct frame *f, seq_index index, row_id row,
		    const struct cell *cells, uint32_t cell_count);
void columns_update(struct atom_store *st, struct frame *f, seq_index index, row_id row,
		    const struct cell *cells, uint32_t cell_count);
void columns_delete(struct atom_store *st, struct frame *f, seq_index index, row_id row);

struct col_want {
	uint16_t attno;
	uint8_t phys;
	const struct cell *missing; /* value of absent ones; NULL: null */
};
/*
 * Read up to VEC_ROWS slots from @slot on, as of @snapshot: out[i] has a value per slot (not per live row),
 * live_out has the bit of each slot whose row is there (VEC_WORDS words). Vectors point into the image
 * where nothing in them changed after @snapshot, else into @arena. Returns the number of slots looked at
 * (0: none left) in *slots_out. ST_SNAPSHOT_TOO_OLD.
 */
MUST_CHECK enum status columns_scan(struct atom_store *st, struct frame *f, seq_index snapshot, uint32_t slot,
				    const struct col_want *want, uint32_t want_count, struct arena *arena,
				    struct vec *out, uint64_t *live_out, uint32_t *slots_out);
/* One row. *live_out false: not there as of @snapshot (cells_out untouched). cells lend (image, undo). */
MUST_CHECK enum status columns_get(struct atom_store *st, struct frame *f, seq_index snapshot, row_id row,
				   const struct col_want *want, uint32_t want_count, struct cell *cells_out,
				   bool *live_out);
/* Index of the newest change of the row that undo knows, 0: none since reach (P9). */
seq_index columns_row_version(struct atom_store *st, const struct frame *f, row_id row);
/* Did any row in [lo, hi) change after @snapshot? true also when this copy cannot tell (P12). hi 0: no bound. */
bool columns_changed_since(struct atom_store *st, const struct frame *f, row_id lo, row_id hi, seq_index snapshot);

/* -- keyed leaves ------------------------------------------------------------------------------- */

bool leaf_covers(const struct frame *f, const void *key, uint32_t key_len);
struct slice leaf_lo(const struct frame *f);
struct slice leaf_hi(const struct frame *f); /* bytes 0: no bound */
uint32_t leaf_entry_count(const struct frame *f);

/* Apply: insert or replace; remove (no entry: nothing happens, last_index still moves to index). Keys compare as memcmp, then
 * shorter first. */
void leaf_put(struct atom_store *st, struct frame *f, seq_index index, const void *key, uint32_t key_len,
	      const void *value, uint32_t value_len);
void leaf_remove(struct atom_store *st, struct frame *f, seq_index index, const void *key, uint32_t key_len);

/* *value_out lends. ST_END: no such key as of @snapshot. */
MUST_CHECK enum status leaf_get(struct atom_store *st, const struct frame *f, seq_index snapshot,
				const void *key, uint32_t key_len, struct slice *value_out);
struct leaf_entry { struct slice key, value; };
/*
 * Up to @max entries in order, as of @snapshot. Forward: keys >= from (or > when exclusive); backward:
 * keys <= from (or <); from NULL: from the end of that direction. Entries are built in @arena where the image keeps keys in
 * pieces (prefix); values lend. *count_out < max: the leaf has no more in that direction.
 */
MUST_CHECK enum status leaf_scan(struct atom_store *st, const struct frame *f, seq_index snapshot,
				 const void *from, uint32_t from_len, bool exclusive, bool backward,
				 uint32_t max, struct arena *arena, struct leaf_entry *out, uint32_t *count_out);
/* The newest change of any key with this prefix that undo knows; 0: none since reach (P9). */
seq_index leaf_prefix_version(struct atom_store *st, const struct frame *f, const void *prefix, uint32_t prefix_len);
/* Did any key in [lo, hi) change after @snapshot? true also when this copy cannot tell (P12). hi_len 0: no bound. */
bool leaf_changed_since(struct atom_store *st, const struct frame *f, const void *lo, uint32_t lo_len, const void *hi,
			uint32_t hi_len, seq_index snapshot);
#define LEAF_NEWEST UINT64_MAX /* as a snapshot: the newest state, undo not looked at */

#endif
