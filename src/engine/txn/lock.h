/*
 * lock.h - grants as an originator keeps them: row and key locks in its memory (engine/txn; P8).
 *
 * Keys name rows (relation's storage, row) and index keys (storage, bytes), so splits keep them. An owner is (engine, txn).
 * Waiters queue fairly; one owner's further request on what it holds in a weaker mode goes before those who wait for
 * that owner anyway. Locks end when their owner does. This module sends nothing: a request tells its user when all its
 * items are granted.
 */
#ifndef VALENCE_ENGINE_TXN_LOCK_H
#define VALENCE_ENGINE_TXN_LOCK_H

#include "base/ids.h"
#include "base/list.h"
#include "base/mem.h"
#include "engine/txn/access.h"

struct lock_table;
struct lock_request;
struct lock_owner_id { engine_id engine; txn_id txn; };
#define LOCK_KEY_MAX (LEAF_KEY_BYTES + 16)
#define LEAF_KEY_BYTES 2000

/* Encoded names: equal bytes, equal lock. */
uint32_t lock_key_row(uint8_t out[17], rel_id storage, row_id row);
uint32_t lock_key_key(uint8_t *out, rel_id storage, const void *key, uint32_t key_len); /* LOCK_KEY_MAX bytes of room */

struct lock_table *lock_table_new(struct mem *mem);
void lock_table_free(struct lock_table *lt);
/*
 * done: all items that waited are granted. Called at the end of lock_release_*() and lock_request_free(), never from
 * lock_request_add(), at most once each time the request had to wait; it may free the request and call anything here.
 */
struct lock_request *lock_request_new(struct lock_table *lt, engine_id engine, txn_id txn, uint64_t start_us, uint64_t now_us,
				      void (*done)(void *ctx, struct lock_request *rq), void *ctx);
/* true: granted at once (or held already) */
bool lock_request_add(struct lock_request *rq, const void *key, uint32_t key_len, enum row_lock mode);
bool lock_request_granted(const struct lock_request *rq); /* all items */
/* Before its items are added: it may have them beside holders that pass (lock_pass_owner), if it is next in their queues. */
void lock_request_early(struct lock_request *rq);
void lock_request_free(struct lock_request *rq); /* waiting items leave their queues; granted ones stay the owner's */
/* All locks of the owner end; waiting requests of it stay, and may be granted later (their user frees them first). */
void lock_release_owner(struct lock_table *lt, engine_id engine, txn_id txn);
void lock_release_engine(struct lock_table *lt, engine_id engine);
/* What the owner holds is in the way of early requests no longer; of all others it is until released. */
void lock_pass_owner(struct lock_table *lt, engine_id engine, txn_id txn);
/* Holders before this one that pass and would have been in its way: the newest is nth 0. Engine 0: no more. */
struct lock_owner_id lock_passed_by(const struct lock_table *lt, const void *key, uint32_t key_len, engine_id engine, txn_id txn,
				    uint32_t nth);
/* Does anybody hold or wait for a lock on this storage within rows [lo, hi), or on any key of it? */
bool lock_any_rows(const struct lock_table *lt, rel_id storage, row_id lo, row_id hi);
bool lock_any_keys(const struct lock_table *lt, rel_id storage);

/*
 * Whom this request waits for, right now: at most max. Of those before it in a queue only the nearest, who waits for the
 * others.
 */
uint32_t lock_blockers(const struct lock_request *rq, struct lock_owner_id *out, uint32_t max);
struct lock_owner_id lock_request_owner(const struct lock_request *rq);
/* Requests that wait here since before @since_us, for deadlock probes; NULL at the end. Start with NULL. */
struct lock_request *lock_waiting_next(struct lock_table *lt, struct lock_request *after, uint64_t since_us);
/* Waiting requests of one owner. */
struct lock_request *lock_waiting_of(struct lock_table *lt, engine_id engine, txn_id txn, struct lock_request *after);
uint64_t lock_request_start_us(const struct lock_request *rq);
/* Every lock held (granted) or waited for, in no order. */
void lock_each(const struct lock_table *lt, void *ctx,
	       void (*fn)(void *ctx, const uint8_t *key, uint32_t key_len, struct lock_owner_id owner, enum row_lock mode, bool granted));
uint64_t lock_count(const struct lock_table *lt);

#endif
