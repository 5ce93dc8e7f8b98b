/*
 * replica.h - the deterministic state machine: one engine's share of the database as a function of the log (catalog).
 *
 * A replica keeps the root, the catalog leaves and the atoms that this engine has copies of, and applies
 * records to them in order of index (rules 1, 2; P5, P6). It also answers where things are: members, holders,
 * originators, routes. It sends nothing and waits for nothing; what its engine must know of, it tells through
 * struct replica_events, during apply, after the effect.
 *
 * Catalog tree: the root atom (id 1, keyed leaf, on every engine) holds the membership, barriers, intents and, for
 * each of the five catalogs, its leaves with their originator and holders. Catalog leaves are keyed leaves:
 *   schema    'T' rel (be64) chunk (be16) -> table definition;  'Q' rel -> sequence definition;
 *             'N' schema 0 name -> u64 rel, u8 rel_kind, u64 table (of an index)
 *   sequence  rel (be64) -> atom
 *   record    storage (be64) first row id (be64) -> u64 atom, u64 end of its row ids, u64 epoch
 *   data      atom (be64) -> struct hold (hold_encode)
 *   index     storage (be64) lower fence -> u64 atom, u64 epoch
 * Catalog atoms themselves have their struct hold in the root. Genesis makes the root and one leaf of each.
 *
 * The data catalog stays one leaf: a split takes the hold of one atom over to another, with a far higher id, and a leaf
 * that has only the other could not judge it. (An entry takes 20 to 40 bytes.) Leaves of the record and the index catalog
 * are split at the key of an entry only (replica_split_key()): else a later split of the atom before that entry could
 * need both leaves.
 *
 * Invariants: an engine that has a copy of an atom has the record, index or sequence catalog leaf and the data
 * catalog leaf that lead to it (P15). A frame's copy contains exactly the records <= max(applied, its as_of).
 * Why row-id ranges are given at apply and not by a grant: doc/adr/0001.
 */
#ifndef VALENCE_CATALOG_REPLICA_H
#define VALENCE_CATALOG_REPLICA_H

#include "atoms/atoms.h"
#include "base/log.h"
#include "catalog/record.h"
#include "catalog/schema.h"

#define ATOM_ID_ROOT UINT64_C(1)
#define HOLDERS_MAX 200 /* listed holders of one atom; a further hold is without effect */

struct member {
	engine_id id;
	uint8_t kind;           /* enum engine_kind */
	seq_index joined;
	uint64_t last_seq;      /* of its submissions in the log (P4) */
	struct join_payload join;
};
struct intent { seq_index index; rel_id relation; uint8_t mode; engine_id engine; txn_id txn; };

struct hold {
	uint8_t kind;           /* enum atom_kind */
	uint64_t owner;         /* storage, or catalog kind */
	engine_id originator;   /* the field; the originator is the first live engine from it on (P15) */
	seq_index epoch;
	uint32_t count;
	engine_id holders[HOLDERS_MAX]; /* sorted; archives follow implicitly */
};

/* What a record came to (P5). */
enum verdict { VERDICT_OK = 1, VERDICT_VOID = 2, VERDICT_DUP = 3 };
enum void_cause {
	VOID_NONE, VOID_SENDER, VOID_GRANTOR, VOID_BARRIER, VOID_HORIZON, VOID_EPOCH, VOID_STATE,
	VOID_NAME,      /* its transaction was committed before, by another attempt (ADR 13) */
	VOID_FORGOTTEN  /* it may have been: names of as long ago are not kept */
};
const char *void_cause_name(enum void_cause cause);

struct replica;
struct replica_events {
	/* After the record's effects; applied is already its index. */
	void (*applied)(void *ctx, const struct record *r, enum verdict v, enum void_cause cause);
	void (*member_joined)(void *ctx, const struct member *m);
	void (*member_removed)(void *ctx, const struct member *m, uint8_t cause); /* m is already off the list; lent */
	void (*intent_opened)(void *ctx, const struct intent *in);
	void (*intent_closed)(void *ctx, const struct intent *in);
	void (*schema_changed)(void *ctx);
	void (*frame_changed)(void *ctx, struct frame *f, bool oversize); /* oversize: over ATOM_SPLIT_BYTES now */
	void (*frame_new)(void *ctx, struct frame *f, atom_id split_from); /* made by apply; 0: by create */
	void (*frame_gone)(void *ctx, struct frame *f);                  /* before it is dropped (destroyed) */
	void (*hold_changed)(void *ctx, atom_id atom);                   /* move, hold, drop */
	void (*audit)(void *ctx, const struct record *r);
};

struct replica_config {
	struct mem *mem;
	struct logger *log;
	const struct replica_events *events;
	void *ctx;
	size_t undo_limit_bytes;
	bool archive;      /* has a copy of every atom: makes one at create and new atom */
};

struct replica *replica_new(const struct replica_config *cfg);
void replica_free(struct replica *rp);
/* The state at index 0: the same on every founder and archive. */
void replica_genesis(struct replica *rp);
/* A joiner's state as of @as_of: the root image. ST_CORRUPT. */
MUST_CHECK enum status replica_install_root(struct replica *rp, const void *image, size_t bytes, seq_index as_of);
/*
 * Archive restart: after all images were installed with replica_install(), take the root's mirror and start after
 * @checkpoint. The root's image is as of the checkpoint exactly; others may be newer (a later checkpoint that was not
 * completed), in any mixture that P21 allows. ST_CORRUPT: no root, or not as of then.
 */
MUST_CHECK enum status replica_restart(struct replica *rp, seq_index checkpoint);
void replica_set_self(struct replica *rp, engine_id self); /* 0: not a member */
engine_id replica_self(const struct replica *rp);
/*
 * After a restart: up to here some images may contain records that others do not yet. Each leaf still judges structural records
 * alone, but where a newer one has forgotten (its storage is gone since) the verdict may be void here and ok elsewhere.
 */
seq_index replica_mixed_until(const struct replica *rp);

struct atom_store *replica_store(struct replica *rp);
seq_index replica_applied(const struct replica *rp);
/*
 * A record is applied in part (replica_apply() paused). Readers with a snapshot <= applied do not see it, but images do:
 * no image is lent as a copy as of applied, and none installed, until it is whole.
 */
bool replica_paused(const struct replica *rp);
seq_index replica_horizon(const struct replica *rp);
uint64_t replica_wall_us(const struct replica *rp); /* of the last batch */
uint64_t replica_log_id(const struct replica *rp);

/* -- apply ---------------------------------------------------------------------------------------- */

/* Once per batch, before its records. */
void replica_batch(struct replica *rp, const struct batch *b);
/*
 * Apply the next record (index applied + 1). Works off at most *budget operations (updated); false: paused, call again
 * with the same record before anything else; applied has not moved. *verdict_out is set when done.
 */
bool replica_apply(struct replica *rp, const struct record *r, int64_t *budget, enum verdict *verdict_out);
/* The verdict of a member's next record if it came now, as of what is applied: ok? Records before it may change that. */
bool replica_would_commit(const struct replica *rp, const struct record *r);
/*
 * Would applying this record, or replaying it on the one copy @only, read its payload (P7, ADR 10)? Of a PART: its commit's
 * index is @index. Judged by the copies that are here now: to be asked for the next record, or for a replay.
 */
bool replica_needs(struct replica *rp, const struct record *r, seq_index index, const struct frame *only);
/* It needs the payload, which is not here. Never for the next record when that is going to be void. */
bool replica_missing_payload(struct replica *rp, const struct record *r, const struct frame *only);
/*
 * Does this engine need the payloads of parts that it does not have, to apply this commit, or to replay one that it
 * applied on @only (P7)? Never for the next record when that is going to be void: its parts may be gone everywhere.
 */
bool replica_missing_parts(struct replica *rp, const struct record *r, const struct frame *only);
/*
 * A part that came by itself: a joiner's, pulled, and checked as a record of the log is. Copied; a known one is ignored, but for
 * its payload if that was not here.
 */
void replica_add_part(struct replica *rp, const struct record *r);
/* It is known, without its payload. */
bool replica_part_bare(const struct replica *rp, const struct record *part);
/* Parts of a transaction that are here: how many, and of which attempt; 0: none. UINT32_MAX: of one that committed. */
uint32_t replica_open_parts(const struct replica *rp, engine_id engine, txn_id txn, uint32_t *attempt_out);
/* Parts of commits applied up to @below are no longer wanted for replay. */
void replica_forget_parts(struct replica *rp, seq_index below);
seq_index replica_oldest_part(const struct replica *rp); /* index of the oldest open part, UINT64_MAX none */
/* All parts of one transaction that are known here, open or kept; fn gets each as a record. */
void replica_each_part(struct replica *rp, engine_id engine, txn_id txn, uint32_t attempt, void *ctx,
		       void (*fn)(void *ctx, const struct record *part));

/*
 * Install a fetched copy (S10): image as of @as_of. If as_of < applied, the caller replays the records after it, in
 * order, with replica_replay() for this frame; if as_of > applied the frame is FUTURE until then, and apply skips it.
 * ST_DUPLICATE: there is a copy already. ST_NO_ATOM: no catalog entry (destroyed meanwhile). ST_CORRUPT. ST_AGAIN: paused.
 * What a replayed split moves to its other half goes: that is another atom's copy, to be fetched by itself.
 */
MUST_CHECK enum status replica_install(struct replica *rp, const void *image, size_t bytes, const void *tail,
				       size_t tail_bytes, seq_index as_of, struct frame **frame_out);
void replica_replay(struct replica *rp, const struct record *r, enum verdict v, struct frame *only);
/* May this copy be read and granted on now? */
bool replica_usable(struct replica *rp, struct frame *f);
/*
 * And is its newest state that of applied? Not while apply has paused within a record that has changed it already. For
 * who reads without a snapshot: definitions, checksums. Rows, keys and grants need it not: a snapshot does not see
 * the record, and what the record changes is locked by its transaction until it is whole.
 */
bool replica_current(struct replica *rp, struct frame *f);
void replica_drop_copy(struct replica *rp, struct frame *f); /* after its drop record, or a copy nobody listed */

/* -- members ---------------------------------------------------------------------------------------- */

uint32_t replica_member_count(const struct replica *rp);
const struct member *replica_member_at(const struct replica *rp, uint32_t i); /* sorted by id */
const struct member *replica_member(const struct replica *rp, engine_id id);    /* NULL: not a member */
const struct member *replica_member_by_nonce(const struct replica *rp, uint64_t nonce);
const struct member *replica_member_by_voter(const struct replica *rp, uint64_t voter_id);
/*
 * Names of transactions (ADR 13): the newest REPLICA_NAMES commits that had one are in the root. Index of the commit under this name;
 * 0: none that is known. Of those forgotten, the newest was at replica_names_forgotten().
 */
#define REPLICA_NAMES 16384
seq_index replica_named(const struct replica *rp, const uint8_t name[RECORD_NAME_BYTES]);
uint32_t replica_names_count(const struct replica *rp);
seq_index replica_names_forgotten(const struct replica *rp);
uint32_t replica_intent_count(const struct replica *rp);
const struct intent *replica_intent_at(const struct replica *rp, uint32_t i);

/* -- holders ---------------------------------------------------------------------------------------- */

/* ST_WAIT: the data catalog leaf is not here (*need_out: fetch it first). ST_NO_ATOM. */
MUST_CHECK enum status replica_hold(struct replica *rp, atom_id atom, struct hold *out, atom_id *need_out);
/* First live engine from the field on, cyclically, then archives, lowest id first (P15). 0: none lives. */
engine_id replica_originator(const struct replica *rp, const struct hold *h);
/* Live holders in order of succession from the originator on, archives last; at most max. */
uint32_t replica_holders(const struct replica *rp, const struct hold *h, engine_id *out, uint32_t max);
bool hold_has(const struct hold *h, engine_id id);

/* -- routes: ST_OK with the atom; ST_WAIT with the catalog leaf that must be fetched first; ST_END nothing there -- */

struct route {
	atom_id atom;
	struct frame *frame;   /* NULL: no copy here */
	seq_index epoch;
	row_id lo, hi;         /* rows */
	struct slice lo_key, hi_key; /* keys; hi_key.bytes 0: no bound. Lent until the turn's end */
};
/* The data atom that covers @row, or the first one after it. */
MUST_CHECK enum status replica_route_row(struct replica *rp, rel_id storage, row_id row, struct route *out,
					 atom_id *need_out);
/* The index leaf that covers @key; backward_before: the leaf just before the one that starts at key. */
MUST_CHECK enum status replica_route_key(struct replica *rp, rel_id storage, const void *key, uint32_t key_len,
					 struct route *out, atom_id *need_out);
MUST_CHECK enum status replica_route_key_before(struct replica *rp, rel_id storage, const void *key,
						uint32_t key_len, struct route *out, atom_id *need_out);
MUST_CHECK enum status replica_route_last_key(struct replica *rp, rel_id storage, struct route *out,
					      atom_id *need_out);
MUST_CHECK enum status replica_route_sequence(struct replica *rp, rel_id seq, struct route *out, atom_id *need_out);
/* The catalog leaf for a key of a catalog. ST_NOT_MEMBER: no root here yet. */
MUST_CHECK enum status replica_route_catalog(struct replica *rp, enum atom_kind catalog, const void *key,
					     uint32_t key_len, struct route *out);
/* Storages of which a copy is here, each once or twice: *at from 0; 0: no more. Changes with replica_copies_version(). */
rel_id replica_held_next(const struct replica *rp, size_t *at);
uint64_t replica_copies_version(const struct replica *rp);
uint32_t replica_storage_atoms(struct replica *rp, rel_id storage, bool index, atom_id *need_out); /* how many */
uint64_t replica_schema_version(const struct replica *rp); /* changes with every definition; local */

/* Where to split a catalog's or index's leaf, as leaf_split_point(); a key that apply takes. ST_END: it cannot be split. */
MUST_CHECK enum status replica_split_key(struct replica *rp, struct frame *f, void *key_out, uint32_t *key_len_out);

bool sequence_state_get(struct replica *rp, struct frame *f, struct sequence_state *out);

/* Key makers of the schema catalog, for those who write OP_CATALOG_*. */
#define SCHEMA_CHUNK 1900 /* bytes of a definition per entry */
void schema_key_table(struct buf *out, rel_id id, uint16_t chunk);
void schema_key_sequence(struct buf *out, rel_id id);
void schema_key_name(struct buf *out, const char *schema, const char *name);

#endif
