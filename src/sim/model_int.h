/* model_int.h - shared by the files of the model (sim). */
#ifndef VALENCE_SIM_MODEL_INT_H
#define VALENCE_SIM_MODEL_INT_H

#include "sim/model.h"

/*
 * atoms: a commit that makes or destroys some. judged: the verdict is that of an engine with the catalog leaf in question; without
 * it a structural record passes unless its header makes it void, as it is nobody's concern there (P5).
 */
struct mlog { uint32_t crc; uint8_t kind, verdict; bool atoms, judged; };
struct mpart {
	engine_id engine;
	txn_id txn;
	uint32_t attempt, bytes;
	uint8_t *payload;
};
struct mchunks { rel_id rel; struct buf bytes; };

struct model {
	struct world *w;
	VEC(struct mlog) log;         /* [index - 1] */
	VEC(struct mtxn *) txns;      /* [number - 1] */
	VEC(struct mtable *) tables;
	struct map by_storage;        /* storage -> struct mtable */
	struct map indexes;           /* storage -> struct mindex */
	VEC(struct mindex *) all_indexes;
	VEC(struct mtable *) touched;
	VEC(struct mpart) parts;
	VEC(struct mchunks) chunks;   /* definitions in the record under way */
	struct op_reader ops;
	seq_index acked;
	struct record rec;
	bool atoms;                   /* the record under way makes or destroys atoms */
};
struct mindex { rel_id storage; struct bmap keys; bool gone; }; /* key -> row id as a pointer */

void model_apply(struct model *m, const struct record *r); /* a committed one */
static inline uint64_t model_k_bytes(const void *p, size_t bytes) { return hash_bytes(p, bytes) | 1; }
struct mtxn *model_txn_of(struct model *m, int64_t tag);

#endif
