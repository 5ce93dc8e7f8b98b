/*
 * engine.h - one engine: the core that wires replica, transactions, sequencer, archive and relay together (engine).
 *
 * Stepped with events, it does no I/O of its own (rule 3): clock, timers, transport and store are given to it. A process
 * gives it libfabric and Berkeley DB and steps it from its event loop; the simulator gives it simulated ones. The same
 * object code runs in both.
 */
#ifndef VALENCE_ENGINE_ENGINE_H
#define VALENCE_ENGINE_ENGINE_H

#include "base/env.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timer.h"
#include "catalog/record.h"
#include "engine/archive/store.h"
#include "engine/txn/access.h"
#include "net/mcast.h"
#include "net/net.h"

struct engine;

struct engine_config {
	struct mem *mem;
	struct logger *log;
	struct clock clock;
	struct timers *timers;         /* the owner runs them */
	uint64_t seed;
	const void *secret;            /* the cluster's, which engines prove to know when they connect; NULL: none */
	size_t secret_bytes;
	struct entropy entropy;        /* for nonces; needed with a secret */
	const char *name;              /* unique in the cluster while it is a member */
	enum engine_kind kind;
	const char *listen;            /* fabric host:port */
	const char *sql_address;       /* told to others in valence.engines; "" none */
	const char *location;          /* "" none */
	const char *const *contacts;   /* --join; none: found a cluster, or go on with what the data directory has */
	uint32_t contact_count;
	const struct net_ops *net_ops;
	const char *provider;
	void *net_backend;             /* net_config.backend: the simulator, links within a process */
	const char *multicast;         /* group "ADDRESS:PORT" by which the log goes, too; NULL: none */
	const struct mcast_ops *mcast_ops; /* needed with it */
	const struct store_ops *store_ops; /* archives */
	const char *dir;
	void *disk;                    /* simulator */
	uint64_t memory_bytes;         /* 0: 4 GiB */
	uint32_t fan_out;
	uint32_t direct_links;         /* at most; 0: none */
	uint64_t remote_bytes;         /* of memory that others may read, at most; 0: none */
	uint64_t heartbeat_us, heartbeat_limit_us, stale_read_limit_us, deadlock_timeout_us; /* 0: defaults */
	uint64_t checkpoint_bytes;     /* journal bytes between checkpoints; 0: 64 MiB */
	uint64_t journal_bytes;        /* of journal kept for archives that are behind, or new; 0: 1 GiB */
	uint64_t window_bytes;         /* of the log kept in memory for others; 0: 64 MiB */
	void (*kick)(void *ctx);       /* something became runnable outside of engine_step(); may be NULL */
	void *ctx;
};

/* Errors are for the operator: port in use, data directory not usable, of another cluster, … Nothing stays behind. */
MUST_CHECK enum status engine_open(const struct engine_config *cfg, struct engine **engine_out, struct error *err);
void engine_close(struct engine *e); /* at once, as a crash would, but frees everything */

/* Moves everything that is ready: net, store, log, sessions' wakes. > 0: something was done, call again before sleeping. */
int engine_step(struct engine *e);
/* Descriptors to sleep on (level, readable); at most 4; how many. Sleep only when engine_try_wait() was true just before. */
uint32_t engine_wait_fds(struct engine *e, int fds[4]);
uint64_t engine_fds_version(const struct engine *e); /* another one: a descriptor may be a new one of the same number */
bool engine_try_wait(struct engine *e);

enum engine_state {
	ENGINE_JOINING,   /* looking for the cluster, or for a majority of the voters */
	ENGINE_READY,     /* a member; answers SQL */
	ENGINE_LEAVING,   /* engine_leave(): no new work */
	ENGINE_LEFT,      /* its removal is in the log: may be closed */
	ENGINE_FAILED     /* cannot go on: engine_error() */
};
enum engine_state engine_state(const struct engine *e);
const struct error *engine_error(const struct engine *e); /* of ENGINE_FAILED; of ENGINE_JOINING: why it still waits */
void engine_leave(struct engine *e);
const char *engine_address(const struct engine *e);     /* fabric, bound */
const char *engine_name(const struct engine *e);

struct engine_info {
	engine_id id, parent, leader;
	uint64_t log_id, voter_id;
	seq_index applied, committed;
	uint32_t members;
	uint64_t failovers;
	uint32_t links, children, voter_links, direct_links; /* links: all, also those that are on their way or closing */
};
void engine_info(const struct engine *e, struct engine_info *out);

/* For the simulator's checks and tests: the parts inside. */
struct replica *engine_replica(struct engine *e);
struct txns *engine_txns(struct engine *e);
bool engine_is_leader(const struct engine *e);
struct seq *engine_consensus(struct engine *e); /* NULL: not an archive, or not begun */
/* A batch of the log that has @index: bytes, and a verdict (enum verdict) per record, 0 where not applied yet. Lent until
 * the next step. False: not kept here. */
struct engine_batch { const void *data; size_t bytes; const uint8_t *verdicts; };
bool engine_log_batch(const struct engine *e, seq_index index, struct engine_batch *out);
bool engine_applying(const struct engine *e); /* within a record: the copies are not as of one index */

#endif
