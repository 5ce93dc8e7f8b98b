/*
 * world.h - a plain model of a cluster's shared state, and a generator of records that are checked against it (tests).
 *
 * world_step() makes one record as some engine would send it, now and then a void or repeated one, judges it by the
 * rules of the protocol (P5), applies it to the model and appends it to the log as a batch of its own. It looks at
 * no replica: what replicas make of the log is compared with the model by whoever runs them.
 */
#ifndef VALENCE_TESTS_CATALOG_WORLD_H
#define VALENCE_TESTS_CATALOG_WORLD_H

#include "base/env.h"
#include "catalog/replica.h"

#define W_ENGINES 64
#define W_TABLES 12
#define W_INDEXES 12
#define W_SEQUENCES 8
#define W_ATOMS 2000
#define W_ROWS 2048       /* row ids of one storage */
#define W_KEYS 400
#define W_HOLDERS 24
#define W_TXNS 4
#define W_FENCE 64

struct w_row { uint8_t state; uint32_t stamp; bool has[3], null[3]; int64_t v[3]; uint32_t bytes; }; /* state: 0 never, 1 live, 2 gone */
struct w_table { rel_id relation, storage; row_id end; uint32_t locked; struct w_row rows[W_ROWS]; };
struct w_key { uint8_t key[W_FENCE]; uint32_t len; row_id row; };
struct w_index { rel_id relation, storage; uint32_t count; struct w_key keys[W_KEYS]; };
struct w_sequence { rel_id id; atom_id atom; struct sequence_state state; }; /* id 0: none */
struct w_atom {
	atom_id id;
	uint8_t kind;
	bool dead;
	uint64_t owner;
	row_id lo, hi;
	uint8_t lo_key[W_FENCE];
	uint32_t lo_len;
	engine_id field;
	seq_index epoch, born;
	atom_id parent;          /* split from */
	uint32_t count;
	engine_id holders[W_HOLDERS];
};
struct w_engine { engine_id id; uint8_t kind; bool gone; uint64_t last_seq, nonce, voter; seq_index joined; };
struct w_intent { seq_index index; rel_id relation; uint8_t mode; engine_id engine; txn_id txn; };
struct w_barrier { rel_id relation; seq_index index; };
struct w_op { struct w_table *table; struct w_index *index; row_id row; struct w_row to; struct w_key key; bool add; };
struct w_txn {                   /* has sent parts */
	engine_id engine;
	txn_id txn;
	uint32_t parts;
	struct w_table *table;
	VEC(struct w_op) ops;
};
struct w_entry { uint8_t *batch; size_t bytes; enum verdict verdict; bool by_header; uint8_t kind; };

struct world {
	struct mem *mem;
	struct rng rng;
	seq_index last, horizon, horizon_max; /* horizon_max: who runs the replicas allows it */
	uint64_t nonce;
	txn_id txn;
	rel_id next_relation;
	uint32_t stamp, engine_count, atom_count, intent_count, barrier_count;
	struct w_engine engines[W_ENGINES];
	struct w_table *tables;  /* W_TABLES */
	struct w_index *indexes; /* W_INDEXES */
	struct w_sequence sequences[W_SEQUENCES];
	struct w_atom *atoms;    /* W_ATOMS; the five catalogs' first leaves first */
	struct w_intent intents[64];
	struct w_barrier barriers[64];
	struct w_txn txns[W_TXNS];
	VEC(struct w_entry) log; /* at[index - 1] */
	uint64_t kinds[REC_KIND_MAX + 1][4]; /* made, by kind and verdict */
	/* given by who runs replicas; may be NULL */
	void *ctx;
	bool (*may_create)(void *ctx, engine_id engine);
	uint32_t (*holds)(void *ctx, engine_id engine, struct atom_epoch *out, uint32_t max, bool *any_out);
	bool (*may_drop)(void *ctx, engine_id engine, const struct w_atom *a);
};

void world_init(struct world *w, struct mem *mem, uint64_t seed);
void world_fini(struct world *w);
void world_step(struct world *w);
bool world_full(const struct world *w); /* no room for more */

struct w_atom *world_atom(struct world *w, atom_id id); /* NULL */
engine_id world_originator(const struct world *w, const struct w_atom *a);
const struct w_engine *world_engine(const struct world *w, engine_id id);
bool world_parts_open(const struct world *w);
uint32_t world_cells(const struct w_row *r, struct cell out[3], uint8_t *text);
#define W_TEXT_MAX 4000

#endif
