/*
 * crew.h - the workers of one process: who takes the next SQL connection, and mail between their loops (cli).
 *
 * Each worker is an engine, with a loop and a thread of its own. The first listens for SQL and for signals, and gives the
 * others their share by mail: a connection goes to the worker with the fewest, in turn among equals. (With SO_REUSEPORT the
 * kernel would choose by a hash of addresses: of four connections to two workers one in eight times all go to one; and
 * a second program could take the same port without an error.)
 *
 * Everything here may be called by any thread, but for what says otherwise.
 */
#ifndef VALENCE_CLI_CREW_H
#define VALENCE_CLI_CREW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"

#define CREW_MAIL_MAX 4096   /* of a worker at a time: cancel requests beyond it are dropped, as a busy server may */
#define CREW_PEER_MAX 80

struct crew;

enum mail_kind {
	MAIL_CLIENT,  /* a connection: fd, peer */
	MAIL_CANCEL,  /* a cancel request for one of this worker's sessions: pid, secret */
	MAIL_STOP,    /* signal: which told the process to end; 0: another worker failed */
	MAIL_LEVELS,  /* what is logged from now on */
	MAIL_DONE,    /* to the first worker: another one's loop has ended */
};

struct mail {
	enum mail_kind kind;
	int fd;
	uint32_t pid, secret, signal;
	char peer[CREW_PEER_MAX];
	uint8_t levels[LOG_SUBSYSTEM_COUNT];
};

/* NULL: err. Its memory is accounted by itself. */
struct crew *crew_new(struct mem *parent, uint32_t count, struct error *err);
void crew_free(struct crew *c);       /* when no other thread knows it; closes connections that nobody took */
uint32_t crew_count(const struct crew *c);

/* At the start, by the worker itself. */
void crew_limit(struct crew *c, uint32_t worker, uint32_t clients_max);
/* Whether its engine answers SQL now. */
void crew_ready(struct crew *c, uint32_t worker, bool ready);

/* Which worker is to have one connection more, which is counted; -1: all have as many as they may. By one thread. */
int crew_pick(struct crew *c);
void crew_client_gone(struct crew *c, uint32_t worker);
uint32_t crew_clients(const struct crew *c);

void crew_post(struct crew *c, uint32_t worker, const struct mail *m);
void crew_post_others(struct crew *c, uint32_t worker, const struct mail *m); /* to all but that one */
int crew_fd(const struct crew *c, uint32_t worker);                 /* readable (level) when there is mail */
bool crew_take(struct crew *c, uint32_t worker, struct mail *out); /* false: no more */

/* The worker's loop has ended. */
void crew_done(struct crew *c, uint32_t worker);
uint32_t crew_others(const struct crew *c); /* loops that have not ended, but for the first's */

#endif
