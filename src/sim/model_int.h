/* model_int.h - shared by the files of the model (sim). */
#ifndef VALENCE_SIM_MODEL_INT_H
#define VALENCE_SIM_MODEL_INT_H

#include "sim/model.h"

struct mlog { uint32_t crc; uint8_t kind, verdict; };
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
	struct record rec;
};
struct mindex { rel_id storage; struct bmap keys; bool gone; }; /* key -> row id as a pointer */

void model_apply(struct model *m, const struct record *r); /* a committed one */
struct mtxn *model_txn_of(struct model *m, int64_t tag);

#endif
