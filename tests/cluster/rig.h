/*
 * rig.h - a small cluster in one process: whole engines over the simulated network and disks, with SQL sessions (tests).
 *
 * For what a property of several engines needs to be met step by step, where the simulator meets it by chance. Nothing
 * fails here but what a test makes fail. Engines are numbered from 0, archives first.
 */
#ifndef VALENCE_TESTS_CLUSTER_RIG_H
#define VALENCE_TESTS_CLUSTER_RIG_H

#include "base/env.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timer.h"
#include "engine/archive/sim_store.h"
#include "engine/engine.h"
#include "engine/pgwire/pgwire.h"
#include "net/sim/sim_net.h"

#define RIG_ENGINES 6
#define RIG_SESSIONS 8
#define RIG_TEXT (256u << 10)

struct rig;
struct rig_engine {
	struct rig *r;
	bool archive, up;
	char name[8], address[32];
	struct sim_host *host;
	struct sim_disk *disk;
	struct mem mem;
	struct timers timers;
	struct logger log;
	struct engine *engine;
	struct pg_server *server;
};
struct rig_session {
	struct rig *r;
	struct rig_engine *e;
	struct pg_conn *conn;
	bool ready;              /* the last statement is answered */
	char text[RIG_TEXT];     /* its rows, "a|b\n" each; or "SQLSTATE message\n" of its error */
	size_t text_bytes;
	char warning[6];         /* SQLSTATE of a WARNING that came with it */
	uint8_t *rx;
	size_t rx_bytes;
};
struct rig {
	struct mem mem;
	uint64_t now_us, seed;
	uint64_t checkpoint_bytes;   /* before rig_start() */
	bool remote_read;            /* before rig_init(): engines can read each other's memory */
	struct sim_net *net;
	struct rig_engine at[RIG_ENGINES];
	uint32_t count;
	struct rig_session *sessions[RIG_SESSIONS];
	bool verbose;
	int steps_per_turn;          /* of an engine before sessions have theirs */
};

/* Makes the machines and starts them all, until each is a member. False: they did not become members. */
bool rig_init(struct rig *r, uint32_t archives, uint32_t caches);
/* Ends everything; false: memory was not given back. */
bool rig_fini(struct rig *r);
void rig_kill(struct rig *r, uint32_t n);
bool rig_start(struct rig *r, uint32_t n); /* waits until it is a member */
/* Asks engines to leave, all at once, and ends them when they have; the bits of @which. False: one had to be killed. */
bool rig_stop(struct rig *r, uint32_t which);
void rig_open(struct rig *r, uint32_t n);  /* does not wait */

typedef bool (*rig_until_fn)(struct rig *r, void *ctx);
/* Time goes on until the condition holds; false: not within the limit. NULL: just so long, true. */
bool rig_until(struct rig *r, uint64_t limit_us, rig_until_fn until, void *ctx);
bool rig_ready(struct rig *r, uint32_t n);
seq_index rig_applied(struct rig *r, uint32_t n);
/* All engines that are up have applied the same, and no more comes. */
bool rig_quiet(struct rig *r);

struct rig_session *rig_session(struct rig *r, uint32_t n);
void rig_session_free(struct rig_session *s);
void rig_send(struct rig_session *s, const char *sql);
bool rig_answered(struct rig_session *s, uint64_t limit_us);
/* Sends and waits, for at most ten simulated seconds: the session's text. "(no answer)" when none came. */
const char *rig_sql(struct rig_session *s, const char *sql);

#endif
