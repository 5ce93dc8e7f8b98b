/* replica_int.h - shared by the files of the replica (catalog). */
#ifndef VALENCE_CATALOG_REPLICA_INT_H
#define VALENCE_CATALOG_REPLICA_INT_H

#include "base/assert.h"
#include "catalog/replica.h"

#define ATOM_ID_SCRATCH (~UINT64_C(0) - 1) /* of a half that is thrown away at once */

struct barrier { rel_id relation; seq_index index; };
struct named { seq_index index; uint8_t name[RECORD_NAME_BYTES]; };

struct part_set {
	engine_id engine;
	txn_id txn;
	uint32_t attempt;
	seq_index committed; /* 0: open */
	struct list all;
	VEC(struct record *) parts; /* each with its payload behind it, in order of index */
};

struct catalog_leaf { struct slice lo; atom_id atom; struct hold hold; };

struct route_entry {
	row_id lo, hi;
	struct slice lo_key;
	atom_id atom;
	seq_index epoch;
	struct frame *frame;
	uint64_t frames_version; /* frame is right when it equals the replica's */
};
struct route_table {
	rel_id storage;
	uint32_t count;
	struct route_entry *at;
	struct arena arena;
};

/*
 * The copies of data atoms or index leaves of one storage that are here, by their own lower bound, which a frame
 * keeps for life. Apply finds its frame here: what a copy covers is in the copy, while the catalog leaf that leads to
 * it may be newer (after a restart), ahead (FUTURE), or, of another part of the storage, not here at all.
 */
struct held_copy { row_id lo; struct slice lo_key; struct frame *frame; };
struct held_copies { VEC(struct held_copy) all; };

/* Beside a frame that was installed: which records it already contains. */
struct copy { seq_index as_of; };

struct replica {
	struct mem *mem;
	struct logger *log;
	const struct replica_events *events;
	void *ctx;
	bool archive;
	engine_id self;
	struct atom_store *store;
	struct frame *root;
	seq_index applied, horizon;
	uint64_t wall_us, log_id, schema_version, frames_version;
	engine_id next_engine;
	VEC(struct member *) members;
	VEC(struct intent) intents;
	VEC(struct barrier) barriers;
	VEC(struct named) names;        /* from names_head on: by index; which there are is in the image alone */
	size_t names_head;
	seq_index names_forgotten;
	VEC(struct catalog_leaf *) catalogs[ATOM_INDEX_CAT + 1]; /* by kind, sorted by lo */
	seq_index mixed_until;  /* restart: the newest as_of of an image; up to it copies may overlap */
	struct map routes;      /* storage -> struct route_table */
	struct map held;        /* (storage, kind) -> struct held_copies */
	struct map parts;       /* (engine, txn) -> struct part_set */
	struct list part_sets;
	struct arena turn;      /* scratch of one primitive */
	struct slice *fences;   /* CREATE_ATOMS_MAX, for decoding */
	struct frame *only;     /* replay: effects are for this frame alone */
	/* a commit that is being applied */
	struct {
		bool active;
		struct part_set *set;
		uint32_t part_at;
		struct op_reader ops;
		uint32_t ordinal;
	} cur;
	struct op_reader replay_ops;
};

/* While images of different indexes meet, a half that is there already and its parent that is not split yet overlap. */
static inline bool replica_mixed(const struct replica *rp)
{
	return rp->applied < rp->mixed_until;
}

static inline void be64(uint8_t *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, 8);
}
static inline uint64_t from_be64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return __builtin_bswap64(v);
}

/* root.c */
enum status root_load(struct replica *rp);      /* mirrors from the root's image; ST_CORRUPT: nothing was loaded */
void root_put_u64(struct replica *rp, seq_index index, char tag, uint64_t key, uint64_t value);
void root_remove(struct replica *rp, seq_index index, char tag, uint64_t key);
void root_join(struct replica *rp, seq_index index, const struct join_payload *join);
void root_remove_member(struct replica *rp, seq_index index, engine_id id, uint8_t cause);
void root_set_last_seq(struct replica *rp, seq_index index, struct member *m, uint64_t seq);
void root_open_intent(struct replica *rp, const struct intent *in);
void root_close_intents(struct replica *rp, seq_index index, engine_id engine, txn_id txn, rel_id relation,
			bool committed); /* relation 0: all of the transaction */
void root_close_all_intents(struct replica *rp, seq_index index, engine_id engine);
seq_index root_barrier(const struct replica *rp, rel_id relation);
void root_put_name(struct replica *rp, seq_index index, const uint8_t name[RECORD_NAME_BYTES]);
void root_put_catalog(struct replica *rp, seq_index index, enum atom_kind kind, struct slice lo, atom_id atom,
		      const struct hold *h);
struct catalog_leaf *root_catalog_leaf(struct replica *rp, enum atom_kind kind, const void *key, uint32_t key_len);
struct catalog_leaf *root_catalog_atom(struct replica *rp, atom_id atom);
struct member *root_member(const struct replica *rp, engine_id id);

/* hold.c */
void hold_encode(const struct hold *h, struct buf *out);
bool hold_decode(const void *p, size_t bytes, struct hold *out);
void hold_put(struct replica *rp, seq_index index, atom_id atom, const struct hold *h);
/* While applying @index: ST_OK; ST_END its leaf is here and does not list it; ST_WAIT not ours to judge. */
enum status hold_read(struct replica *rp, seq_index index, atom_id atom, struct hold *out);

/* route.c */
void route_invalidate(struct replica *rp, rel_id storage);
void route_invalidate_all(struct replica *rp);
/* Copies that cover a row or key by their own bounds: *at from HELD_START on, until NULL. More than one only while mixed. */
#define HELD_START UINT32_MAX
struct frame *held_row(struct replica *rp, rel_id storage, row_id row, uint32_t *at);
struct frame *held_key(struct replica *rp, rel_id storage, const void *key, uint32_t key_len, uint32_t *at);
bool held_before(const struct replica *rp, rel_id storage, seq_index index); /* a copy without this record is here */
void held_add(struct replica *rp, struct frame *f);
void held_remove(struct replica *rp, struct frame *f);
void held_fini(struct replica *rp);

/* replica.c: for apply */
struct frame *replica_writable(struct replica *rp, struct frame *f, seq_index index); /* NULL: skip it */
struct frame *catalog_frame(struct replica *rp, enum atom_kind kind, const void *key, uint32_t key_len,
			    seq_index index); /* the leaf to change; NULL: not ours to change */
void replica_changed(struct replica *rp, struct frame *f, seq_index index);
struct copy *frame_copy(struct frame *f);
seq_index frame_as_of(const struct frame *f); /* of an installed copy; 0: made here */

#endif
