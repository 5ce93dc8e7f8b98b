/*
 * record.h - log records: headers, payloads, batches (catalog). Layout in record_wire.h.
 *
 * A record is a header, which every engine gets, and a payload, addressed by index (P1, P2). Records travel and are
 * journalled in batches: what one consensus entry holds. Decoding checks every bound and the payload's checksum;
 * what it gives lends into the batch's bytes.
 */
#ifndef VALENCE_CATALOG_RECORD_H
#define VALENCE_CATALOG_RECORD_H

#include "atoms/atoms.h"
#include "base/buf.h"
#include "base/ids.h"
#include "base/status.h"

#define RECORD_PAYLOAD_MAX (1u << 20)  /* P1 */
#define RECORD_PAYLOAD_SOFT (960u << 10) /* what a coordinator fills */
#define RECORD_GRANTORS_MAX 256
#define RECORD_TOUCHES_MAX 64
#define RECORD_PRUNE_BYTES 64          /* smaller payloads go to everybody */
#define RECORD_NAME_BYTES 16           /* of a transaction's name, as record_name() makes them */
#define RECORD_ATOMS_MAX 4096          /* in one hold, drop, move */
#define INDEX_FENCE_MAX (LEAF_KEY_MAX - 8)   /* of an index leaf: stands behind its storage in the index catalog */
#define CATALOG_FENCE_MAX (LEAF_KEY_MAX - 2) /* of a catalog leaf: stands behind two bytes in the root */

#define RECORD_KINDS(X)                                                                                  \
	X(PART, 1, "part") X(COMMIT, 2, "commit") X(ABORT, 3, "abort") X(CREATE, 4, "create")            \
	X(SPLIT, 5, "split") X(MERGE, 6, "merge") X(MOVE, 7, "move") X(HOLD, 8, "hold") X(DROP, 9, "drop")     \
	X(COMPACT, 10, "compact") X(DESTROY, 11, "destroy") X(RESERVE, 12, "reserve") X(INTENT, 13, "intent") \
	X(FINISH, 14, "finish") X(JOIN, 15, "join") X(REMOVE, 16, "remove") X(VOTER, 17, "voter")              \
	X(CHECKPOINT, 18, "checkpoint") X(AUDIT, 19, "audit")
enum record_kind {
#define X(name, number, text) REC_##name = number,
	RECORD_KINDS(X)
#undef X
	REC_KIND_MAX = 19
};
const char *record_kind_name(uint8_t kind);
/* Sent by the leader on its own account, without seq (P5)? */
static inline bool record_kind_leaders(uint8_t kind)
{
	return kind == REC_JOIN || kind == REC_REMOVE || kind == REC_VOTER;
}

/* What a record depends on: the table, by its barrier (P13), and the storage that is changed (ADR 10); 0: any, everybody needs it. */
struct touch { rel_id relation; rel_id storage; };

struct record {
	seq_index index;       /* given by the sequencer: first index of the batch + place in it */
	uint8_t kind;
	engine_id engine;      /* who sent it; 0: the leader */
	uint64_t seq;          /* the sender's submissions, from 1; 0: leader's records */
	txn_id txn;
	uint32_t attempt;      /* from 1 */
	seq_index plan;        /* sender's applied index when it encoded the record */
	uint32_t parts;        /* COMMIT: how many parts belong to it */
	uint32_t grantor_count, touch_count;
	engine_id grantors[RECORD_GRANTORS_MAX];
	struct touch touches[RECORD_TOUCHES_MAX];
	bool named;            /* COMMIT: by the application (ADR 13) */
	uint8_t name[RECORD_NAME_BYTES];
	seq_index name_since;  /* nothing was committed under this name up to here; 0: the application does not say */
	const uint8_t *payload; /* NULL: not here, to be pulled (P7) */
	uint32_t payload_bytes, payload_crc;
};

struct batch {
	seq_index first;       /* index of the first record; of the next one when count is 0 */
	uint32_t count;
	uint64_t wall_us;      /* leader's clock, never decreasing */
	seq_index horizon;     /* never decreasing */
	engine_id leader;
	const uint8_t *records; /* encoded */
	size_t records_bytes;
};

/* What stands for a transaction's name in the log, and for good: 16 bytes of an HMAC-SHA-256, so two names never meet. */
MUST_CHECK enum status record_name(const char *text, uint8_t name_out[RECORD_NAME_BYTES]); /* ST_INTERNAL: mac.h */

/* -- encode ------------------------------------------------------------------------------------ */

/* Header and payload of one record, without index (r->index is ignored): what an engine submits. */
void record_encode(const struct record *r, struct buf *out);
/* A batch: begin, then the records as record_encode() made them, end. */
void batch_begin(struct buf *out, seq_index first, uint64_t wall_us, seq_index horizon, engine_id leader);
void batch_add(struct buf *out, const void *record, size_t bytes);
void batch_end(struct buf *out, size_t begun_at);

/* -- decode ------------------------------------------------------------------------------------ */

MUST_CHECK enum status record_decode(struct reader *r, struct record *out); /* ST_CORRUPT */
MUST_CHECK enum status batch_decode(const void *data, size_t bytes, struct batch *out);
/* for (at = 0; batch_next(b, &at, &n, &rec) == ST_OK;) — ST_END after the last, ST_CORRUPT */
struct batch_iter { size_t offset; uint32_t n; };
MUST_CHECK enum status batch_next(const struct batch *b, struct batch_iter *it, struct record *out);

/* As batch_next(), for who looks at headers only: the payload's checksum is not verified. */
MUST_CHECK enum status batch_next_header(const struct batch *b, struct batch_iter *it, struct record *out);

/* -- leaving out payloads (P7, ADR 10) ------------------------------------------------------------- */

/* Its effects are on row and key atoms of the storages in its touches, and on nothing else. */
bool record_is_local(const struct record *r);
/* May its payload be left out for who has no copy of those? */
bool record_prunable(const struct record *r);
/* Records of the batch whose payload is here and may perhaps be left out: an upper bound, cheap. */
uint32_t batch_prunable(const struct batch *b);
/* Append the record that batch_next_header() gave with *it as @before, with another payload or none (NULL), to a batch begun. */
void batch_add_as(struct buf *out, const struct batch *b, const struct batch_iter *before, const struct record *r,
		  const uint8_t *payload);

/* -- payloads ----------------------------------------------------------------------------------- */

/*
 * PART and COMMIT payload: operations in order. One shape for rows, keys and catalog entries:
 */
enum op_kind {
	OP_ROW_INSERT = 1,  /* relation (storage), row, cells */
	OP_ROW_UPDATE = 2,
	OP_ROW_DELETE = 3,
	OP_KEY_ADD = 4,     /* relation (index storage), row, key (whole: with the row id suffix where it has one) */
	OP_KEY_REMOVE = 5,
	OP_CATALOG_PUT = 6, /* relation: catalog (enum atom_kind); key, value */
	OP_CATALOG_REMOVE = 7,
	OP_NEW_ATOM = 8,    /* relation: storage; atom: enum atom_kind, ordinal by order in the whole commit's last payload; value: initial entry of a sequence */
	OP_DESTROY = 9,     /* relation: storage, with all its atoms */
	OP_END = 0
};
struct op {
	uint8_t kind;
	rel_id relation;
	row_id row;
	uint32_t cell_count;
	struct cell *cells;     /* in the decoder's own storage, overwritten by the next op */
	struct slice key, value;
	uint8_t atom_kind;
};

void op_encode_row(struct buf *out, enum op_kind kind, rel_id storage, row_id row, const struct cell *cells,
		   uint32_t cell_count);
void op_encode_key(struct buf *out, enum op_kind kind, rel_id storage, row_id row, const void *key,
		   uint32_t key_len);
void op_encode_catalog(struct buf *out, enum op_kind kind, enum atom_kind catalog, const void *key,
		       uint32_t key_len, const void *value, uint32_t value_len);
void op_encode_new_atom(struct buf *out, rel_id storage, enum atom_kind kind, const void *value,
			uint32_t value_len);
void op_encode_destroy(struct buf *out, rel_id storage);

struct op_reader { struct reader r; struct cell *cells; uint32_t cell_cap; struct mem *mem; };
void op_reader_init(struct op_reader *o, struct mem *mem);
void op_reader_fini(struct op_reader *o);
void op_reader_start(struct op_reader *o, const void *payload, size_t bytes);
MUST_CHECK enum status op_next(struct op_reader *o, struct op *out); /* ST_END, ST_CORRUPT */
/*
 * Of a PART or COMMIT: the payload is here, each of its operations can be decoded, and none is outside of the storages it
 * names, if it names some. Apply never refuses (P6).
 */
bool record_ops_ok(const struct record *r, struct mem *mem);

/* CREATE: @count data atoms of @rows row ids each for a storage (ranges are given at apply, ADR 1), or index leaves with fences. */
struct create_payload {
	rel_id storage;
	uint8_t kind;          /* ATOM_DATA or ATOM_INDEX */
	uint32_t count, rows;  /* ATOM_DATA */
	const struct slice *fences; /* ATOM_INDEX: count lower fences, the first empty; decode: in caller's array */
};
#define CREATE_ATOMS_MAX 1024
void create_encode(struct buf *out, const struct create_payload *c);
MUST_CHECK enum status create_decode(const struct record *r, struct create_payload *out,
				     struct slice fences[CREATE_ATOMS_MAX]);

/*
 * kind, owner and the place lead to the parent's entry, so each leaf judges alone (P5). at_row for ATOM_DATA, else at_key.
 * Not for ATOM_DATA_CAT (replica.h). What is not so is refused, as are fences that no catalog could keep.
 */
struct split_payload { atom_id atom; seq_index epoch; uint8_t kind; uint64_t owner; row_id at_row; struct slice at_key; };
void split_encode(struct buf *out, const struct split_payload *s);
MUST_CHECK enum status split_decode(const struct record *r, struct split_payload *out);

/* HOLD, DROP, MOVE, COMPACT, DESTROY (of atoms), AUDIT: a list of atoms with epochs, and a target. */
struct atoms_payload { uint32_t count; engine_id target; const uint8_t *list; };
struct atom_epoch { atom_id atom; seq_index epoch; };
void atoms_encode(struct buf *out, const struct atom_epoch *atoms, uint32_t count, engine_id target);
MUST_CHECK enum status atoms_decode(const struct record *r, struct atoms_payload *out);
static inline struct atom_epoch atoms_get(const struct atoms_payload *a, uint32_t i)
{
	struct atom_epoch e;

	memcpy(&e, a->list + (size_t)i * sizeof e, sizeof e);
	return e;
}

/* RESERVE: moves a sequence's state from @from to @to; without effect when it is not at @from (P14). */
struct sequence_state { int64_t next; uint8_t exhausted, pad[7]; uint64_t version; }; /* version: times it was set */
struct reserve_payload { rel_id sequence; atom_id atom; bool set; struct sequence_state from, to; };
void reserve_encode(struct buf *out, const struct reserve_payload *p);
MUST_CHECK enum status reserve_decode(const struct record *r, struct reserve_payload *out);

/* INTENT. FINISH: the same, of the one intent that ends; no payload: all of the transaction. */
struct intent_payload { rel_id relation; uint8_t mode; };
void intent_encode(struct buf *out, const struct intent_payload *p);
MUST_CHECK enum status intent_decode(const struct record *r, struct intent_payload *out);

enum engine_kind { ENGINE_CACHE = 1, ENGINE_ARCHIVE = 2 };
struct join_payload {
	uint64_t nonce, voter_id, log_id; /* log_id: of the cluster, set by the founder */
	uint8_t kind;
	char name[64], address[128], sql_address[128], location[64];
};
void join_encode(struct buf *out, const struct join_payload *p);
MUST_CHECK enum status join_decode(const void *payload, size_t bytes, struct join_payload *out);

struct remove_payload { engine_id engine; uint8_t cause; }; /* enum remove_cause */
enum remove_cause { REMOVE_LEFT = 1, REMOVE_LINK = 2, REMOVE_SILENT = 3, REMOVE_REPLACED = 4, REMOVE_LAGGING = 5 };
const char *remove_cause_name(uint8_t cause);
void remove_encode(struct buf *out, const struct remove_payload *p);
MUST_CHECK enum status remove_decode(const struct record *r, struct remove_payload *out);

#endif
