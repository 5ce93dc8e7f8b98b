/*
 * txns.h - the transaction manager of one engine (engine/txn): what the engine that wires things together calls.
 *
 * Everything between a session's statement and the log: snapshots, overlays, grants, commit records,
 * fetching, sequences, DDL intents, splits and moves. It sends messages and submits records through struct txn_host,
 * and is told of applied records (struct replica_events are its own) and of messages.
 */
#ifndef VALENCE_ENGINE_TXN_TXNS_H
#define VALENCE_ENGINE_TXN_TXNS_H

#include "base/env.h"
#include "base/timer.h"
#include "catalog/replica.h"
#include "engine/txn/access.h"

struct txns;
struct lend_extent { uint64_t address, key; uint32_t bytes; }; /* of remote memory */
struct txn_host {
	void (*send)(void *ctx, engine_id to, const void *data, size_t bytes); /* best effort */
	/* Replay all records in (as_of, applied] on one frame; ST_LOG_GONE: the window does not reach back that far, or nobody
	 * has their payloads; ST_WAIT: payloads are being pulled, txns_payloads_came() tells;
	 * ST_AGAIN: a membership record lies between and the frame is a data catalog leaf. */
	enum status (*replay)(void *ctx, seq_index as_of, struct frame *f);
	/* Something became runnable, or a timer changed: do not sleep. */
	void (*kick)(void *ctx);
	/* since the last sign of a majority of the voters (P26) */
	uint64_t (*silence_us)(void *ctx);
	/*
	 * Remote memory (S9), as relay.h says it. may_read: @from's memory can be read; expect: so much
	 * will come from there; true: its memory can be read soon.
	 */
	bool (*may_read)(void *ctx, engine_id from);
	bool (*expect)(void *ctx, engine_id from, size_t bytes);
	bool (*read)(void *ctx, engine_id from, uint64_t address, uint64_t key, uint32_t bytes, uint64_t token);
	uint32_t (*expose)(void *ctx, const void *at, size_t bytes, struct lend_extent *out, uint32_t max);
	void (*unexpose)(void *ctx, const void *at, size_t bytes);
	void (*memory_gone)(void *ctx, const void *at, size_t bytes);
	/* rows of views that the transaction manager does not know (engines' states, log, tree, failovers, metrics) */
	enum status (*view_row)(void *ctx, const char *view, uint64_t at, struct arena *arena, struct cell *cells,
				uint32_t count);
	/* The record of @engine with this number, behind @plan: ST_OK; ST_END: not up to what is applied; ST_LOG_GONE. */
	enum status (*record_find)(void *ctx, engine_id engine, uint64_t seq, seq_index plan, seq_index *index_out,
				   enum verdict *verdict_out);
	/* See access_remove_voter(). *under_way: 0 at first, kept between calls. */
	enum status (*remove_voter)(void *ctx, uint64_t voter, uint64_t *under_way, struct error *err);
};
struct txns_config {
	struct mem *mem;
	struct logger *log;
	struct clock clock;
	struct timers *timers;
	uint64_t seed;
	const struct txn_host *host;
	/* Called on after the manager's own: applied, member_joined, member_removed, frame_gone; the others may be NULL. */
	const struct replica_events *host_events;
	void *ctx;
	bool archive;
	size_t undo_limit_bytes;
	uint64_t deadlock_timeout_us;   /* 0: 1 s */
	uint64_t stale_read_limit_us;   /* 0: 10 s */
	uint64_t write_limit_us;        /* the same for writes that are not on their way yet; 0: as reads */
	uint64_t resubmit_us;           /* 0: 300 ms */
};
struct txns *txns_new(const struct txns_config *cfg);
void txns_free(struct txns *t);
struct replica *txns_replica(struct txns *t);
struct access *txns_access_new(struct txns *t, void (*wake)(void *ctx), void *ctx);

/* The engine became a member (its own join record is applied), or noticed that it is one no more (self 0). */
void txns_set_self(struct txns *t, engine_id self);
/* A cache that joins anew: its copies are of no use; sessions stay. Set self to 0 before. */
void txns_replica_reset(struct txns *t);
/* A unicast message. Malformed ones are dropped with a log line. */
void txns_message(struct txns *t, engine_id from, const void *data, size_t bytes);
/* What host->read() asked for. */
void txns_read(struct txns *t, engine_id from, uint64_t token, const void *data, size_t bytes);
/* After a batch was applied, and at the end of each turn: what follows from it (wakes, replies, splits, submissions). */
void txns_turn(struct txns *t);
/* The leader may have changed: send again what is not in the log yet (P4). */
void txns_resubmit(struct txns *t);
/* This engine's report for the horizon (P19). */
seq_index txns_need(struct txns *t);
/* Clean leave: finish what is committing; true when nothing is under way. */
bool txns_idle(const struct txns *t);
/*
 * Apply stands still for parts that are not here: ask for them. Called again and again until they are. False: none came
 * for so long that nobody seems to have them any more.
 */
bool txns_want_parts(struct txns *t, const struct record *commit);

/* The log from this index on may be needed to replay on a copy that is being fetched; UINT64_MAX: none. */
seq_index txns_oldest_fetch(const struct txns *t);

/* Storages of atoms that are being fetched: their records are wanted from now on. The version changes with them. */
void txns_each_fetched(const struct txns *t, void *ctx, void (*fn)(void *ctx, rel_id storage));
uint64_t txns_fetches_version(const struct txns *t);
void txns_payloads_came(struct txns *t);

struct txns_stats {
	uint64_t commits, voids, repeats, early, early_lost, rollbacks, grants_local, grants_remote, grants_inherited, grant_waits,
		fetches, fetch_bytes, fetch_reads, fetch_read_bytes,
		fetch_read_failures, lends, lend_bytes, splits, moves,
		reserves, deadlocks, restarts, resubmits, parts, serial_conflicts;
};
const struct txns_stats *txns_stats(const struct txns *t);

#endif
