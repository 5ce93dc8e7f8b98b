/*
 * world.h - one simulated cluster: engines, machines, network, disks, clients and time (sim).
 *
 * Everything that happens is a function of the seed. Time jumps to whatever is due next: a timer of the world (clients,
 * faults), of an engine, of the network or of a disk. An engine's turn costs simulated time, so that an engine that
 * has much to do answers late, as a real one does.
 */
#ifndef VALENCE_SIM_WORLD_H
#define VALENCE_SIM_WORLD_H

#include "base/assert.h"
#include "base/env.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/timer.h"
#include "engine/archive/sim_store.h"
#include "engine/engine.h"
#include "engine/pgwire/pgwire.h"
#include "net/sim/sim_net.h"

#define NODES_MAX 64
#define ARCHIVES_MAX 5
#define RING_LINES 2000
#define RING_LINE_BYTES 320
#define WORLD_SECRET "all engines of the world know this"
#define SECONDS(n) ((uint64_t)((n) * 1e6))
#define MILLIS(n) ((uint64_t)((n) * 1e3))

struct world;
struct model;
struct checks;
struct rafts;
struct clients;
struct faults;
struct histories;

/* One machine: its address and disk outlive its engines. */
struct node {
	struct world *w;
	uint32_t number;             /* place in world.nodes */
	char name[16], address[32];
	bool archive, up, paused, kicked;
	bool full;                   /* its disk refuses to write: its engine must fail, and nothing else */
	uint32_t incarnation;
	struct sim_host *host;
	struct sim_disk *disk;       /* archives */
	int64_t clock_offset_us, wall_offset_us;
	int32_t drift_ppm;
	uint64_t busy_until_us, turns;
	/* while up: */
	struct mem mem;
	struct timers timers;
	struct logger log;
	struct engine *engine;
	struct pg_server *server;
	struct rng nonces;
	struct list ready;           /* struct client.ready: connections to step */
	seq_index fed;               /* the log was looked at up to here */
	uint64_t ready_us;           /* when it became a member; 0: not yet */
	uint64_t spin_from_us, spin_turns;
};

struct world_stats {
	uint64_t simulated_us, turns, commits, rollbacks, unknown, refused, reads, lost, ddl, sequence_values, checks, records,
		originators, worlds, history_transactions, history_edges;
	uint64_t crashes, power_losses, pauses, partitions, one_way, breaks, slow_disks, restarts, full_disks, clock_jumps;
};
extern struct world_stats sim_stats; /* of all worlds of this process */

/*
 * What the clients of a cluster mostly do. Calm ones are many and short; hot ones have many clients on a few keys, who do not
 * think; in the others definitions come and go under their users, or tables grow, or many write a history.
 */
enum mood { MOOD_MIXED, MOOD_HOT, MOOD_DDL, MOOD_BULK, MOOD_HISTORY, MOOD_COUNT, MOOD_ANY = MOOD_COUNT };
enum phase { PHASE_BOOT, PHASE_SETUP, PHASE_RUN, PHASE_HEALED, PHASE_QUIET, PHASE_VERIFY, PHASE_DONE };

struct world_config {
	uint64_t seed;
	uint32_t engines, archives;  /* 0: chosen by the seed */
	enum mood mood;              /* MOOD_ANY: chosen by the seed */
	bool verbose;
	bool may_miss;               /* one course of many seeds': that it meets its rare path is counted, not wanted */
};

struct world {
	struct world_config cfg;
	struct mem mem;
	struct rng rng;
	uint64_t now_us;
	struct timers timers;
	struct sim_net *net;
	struct node nodes[NODES_MAX];
	uint32_t node_count, archive_count;
	enum phase phase;
	uint64_t phase_us, healed_us; /* since when; since when nothing fails any more */
	uint64_t run_us;             /* how long the phase with faults lasts */
	uint64_t checkpoint_bytes, window_bytes, journal_bytes;
	bool multicast;           /* the log goes by datagrams, too */
	uint32_t direct_links;
	uint32_t fan_out;            /* 0: the default, by which all are below the archives */
	enum mood mood;
	uint32_t pace;               /* clients think so many times longer than their loads say */
	uint32_t hot_percent;        /* accesses that go to one of the hot_keys */
	uint32_t hot_keys;
	uint32_t impatient_permille; /* queries whose client hangs up within milliseconds */
	struct model *model;
	struct checks *checks;
	struct rafts *rafts;
	struct clients *clients;
	struct faults *faults;
	struct histories *histories;
	uint64_t trace;              /* hash of all that happened */
	uint64_t check_at;           /* turn at which atoms are compared next */
	char (*ring)[RING_LINE_BYTES];
	uint64_t ring_lines;
	bool failed;
	char violation[1024];
};

struct world *world_new(const struct world_config *cfg);
void world_free(struct world *w);
/* Runs until the phase's end condition, a violation, or @until_us; false: a violation, or the time was over. */
typedef bool (*world_until_fn)(struct world *w, void *ctx);
bool world_run_until(struct world *w, uint64_t limit_us, world_until_fn until, void *ctx);
void world_run_for(struct world *w, uint64_t us);
void world_phase(struct world *w, enum phase phase);
/* The first one counts. */
void world_violation(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void world_note(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* into the ring */
void world_print_ring(struct world *w);
void world_mix(struct world *w, uint64_t v); /* into the trace hash */
struct clock world_clock(struct world *w);
static inline bool world_chance(struct world *w, uint32_t permille) { return rng_below(&w->rng, 1000) < permille; }

/* node.c */
void node_init(struct world *w, struct node *n, uint32_t number, bool archive);
void node_fini(struct node *n);
void node_start(struct node *n);
void node_new_disk(struct node *n); /* of an archive that is down: nothing is on it */
void node_crash(struct node *n, bool power);
void node_pause(struct node *n);
void node_resume(struct node *n);
uint64_t node_next_us(const struct node *n);
void node_turn(struct node *n);
bool node_ready(const struct node *n);
struct node *node_leader(struct world *w);   /* NULL: nobody leads */
struct node *node_by_engine(struct world *w, engine_id id);
seq_index node_applied(const struct node *n);

#endif
