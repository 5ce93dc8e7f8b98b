/*
 * lock_list.c - who holds and who waits for what this engine knows of, for pg_locks and pg_blocking_pids() (engine/txn).
 *
 * The row, key and advisory locks that this engine grants, whoever has them, in order of their names; then the relations that its
 * own transactions use or have for themselves. What its sessions wait for at another engine is listed there.
 */
#include <stdlib.h>

#include "engine/txn/txn_int.h"

#define LISTED_MAX 100000

struct listing { struct txns *t; VEC(struct access_lock) at; };

static const struct txn *owner_here(const struct txns *t, engine_id engine, txn_id txn)
{
	LIST_FOREACH(it, (struct list *)&t->txns) {
		const struct txn *x = CONTAINER_OF(it, struct txn, all);

		if (engine == t->self && x->self == t->self && x->id == txn)
			return x;
	}
	return NULL;
}

static void add(struct listing *l, struct access_lock k, engine_id engine, txn_id txn)
{
	const struct txn *x = owner_here(l->t, engine, txn);

	k.engine = engine;
	k.txn = txn;
	k.session = x && x->a ? x->a->session : NULL;
	if (l->at.count < LISTED_MAX)
		VEC_PUSH(l->t->mem, &l->at, k);
}

static void one(void *ctx, const uint8_t *key, uint32_t key_len, struct lock_owner_id owner, enum row_lock mode, bool granted)
{
	struct access_lock k = {.kind = ACCESS_LOCK_ROW, .mode = (uint8_t)mode, .granted = granted};

	memcpy(&k.storage, key + 1, 8);
	if (key[0] == 'r') {
		memcpy(&k.row, key + 9, 8);
	} else if (k.storage == ATOM_SCHEMA_CAT && key_len == 9 + sizeof k.name && key[9] == ADVISORY_MARK) {
		k.kind = ACCESS_LOCK_ADVISORY;
		memcpy(&k.name, key + 9, sizeof k.name);
	} else {
		k.kind = ACCESS_LOCK_KEY;
		k.key_hash = hash_bytes(key + 9, key_len - 9);
	}
	add(ctx, k, owner.engine, owner.txn);
}

static int compare(const void *x, const void *y)
{
	const struct access_lock *a = x, *b = y;

#define BY(field) \
	if (a->field != b->field) \
		return a->field < b->field ? -1 : 1
	BY(kind);
	BY(storage);
	BY(row);
	BY(name.number);
	BY(name.space);
	BY(key_hash);
	BY(engine);
	BY(txn);
	BY(mode);
#undef BY
	return b->granted - a->granted;
}

const struct access_lock *access_locks(struct access *a, struct arena *arena, uint64_t *count_out)
{
	struct txns *t = a->t;
	struct listing l = {.t = t};
	struct access_lock *out;

	lock_each(t->locks, &l, one);
	LIST_FOREACH(it, &t->txns) {
		const struct txn *x = CONTAINER_OF(it, struct txn, all);
		struct access_lock k = {.kind = ACCESS_LOCK_RELATION, .granted = true};

		for (size_t i = 0; i < x->used.count && x->self == t->self; i++) {
			k.storage = x->used.at[i];
			k.mode = ACCESS_RELATION_SHARE;
			for (size_t n = 0; n < x->intents.count; n++)
				if (x->intents.at[n] == k.storage)
					k.mode = ACCESS_RELATION_EXCLUSIVE;
			add(&l, k, x->self, x->id);
		}
	}
	for (uint32_t i = 0; i < replica_intent_count(t->rp); i++) { /* of anybody's that wait */
		const struct intent *in = replica_intent_at(t->rp, i);
		const struct txn *x = owner_here(t, in->engine, in->txn);
		struct access_lock k = {.kind = ACCESS_LOCK_RELATION, .mode = ACCESS_RELATION_EXCLUSIVE, .storage = in->relation};
		bool has = false;

		for (size_t n = 0; x && n < x->intents.count; n++)
			has = has || x->intents.at[n] == in->relation;
		if (!has)
			add(&l, k, in->engine, in->txn);
	}
	if (l.at.count > 1) /* the tables are hashes: their order is nothing to show */
		qsort(l.at.at, l.at.count, sizeof l.at.at[0], compare);
	out = ARENA_NEW_N(arena, struct access_lock, l.at.count + 1);
	if (l.at.count)
		memcpy(out, l.at.at, l.at.count * sizeof *out);
	*count_out = l.at.count;
	VEC_FINI(t->mem, &l.at);
	return out;
}

uint32_t access_blockers(struct access *a, const void *session, const void **out, uint32_t max)
{
	struct txns *t = a->t;
	uint32_t n = 0;

	LIST_FOREACH(it, &t->accesses) {
		const struct access *of = CONTAINER_OF(it, struct access, all);
		const struct txn *waits = of->session != session ? NULL : of->txn && of->txn->call ? of->txn : advisory_waiting(of);
		struct lock_request *rq = NULL;

		while (waits && (rq = lock_waiting_of(t->locks, t->self, waits->id, rq))) {
			struct lock_owner_id ids[64];
			uint32_t k = lock_blockers(rq, ids, 64);

			for (uint32_t i = 0; i < k && n < max; i++) {
				const struct txn *x = owner_here(t, ids[i].engine, ids[i].txn);

				out[n++] = x && x->a ? x->a->session : NULL;
			}
		}
	}
	return n;
}
