/*
 * loop.h - the event loop of one engine in a process: sockets, timers, signals around engine.h and pgwire.h (cli).
 *
 * A turn (S17): take what is ready, step the engine, step the sessions that can go on, step the engine again so that
 * what they asked for leaves, one send per client. Only sleeps when nothing is left to do.
 */
#ifndef VALENCE_CLI_LOOP_H
#define VALENCE_CLI_LOOP_H

#include "base/env.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/spin.h"
#include "base/timer.h"
#include "cli/crew.h"
#include "engine/engine.h"

struct loop;

struct loop_config {
	struct mem *mem;
	struct logger *log;
	struct crew *crew;            /* of the process; this is its worker @worker, the first of which listens for SQL and signals */
	uint32_t worker;
	int sql_fd;                   /* listening; taken; -1: of another worker */
	uint32_t connection_max;      /* 0: default of pgwire.h */
	enum poll_mode poll;
	uint32_t spin_us;             /* adaptive: look for work this long before sleeping */
	void (*reload)(void *ctx);    /* SIGHUP, which the first worker takes: the others have its levels of logging afterwards */
	void *ctx;
};

struct loop *loop_new(const struct loop_config *cfg, struct error *err); /* NULL: err. Blocks the signals it handles */
void loop_free(struct loop *l);
struct timers *loop_timers(struct loop *l);
void loop_kick(void *loop);              /* engine_config.kick with the loop as ctx */
/*
 * Runs until a signal or the engine ends it. ST_OK: left cleanly; else why not. The
 * engine is lent, and no session of it is left when this returns.
 */
enum status loop_run(struct loop *l, struct engine *e, struct error *err);

#endif
