/*
 * loop_int.h - the loop and its clients (cli, private).
 */
#ifndef VALENCE_CLI_LOOP_INT_H
#define VALENCE_CLI_LOOP_INT_H

#include "base/list.h"
#include "cli/loop.h"
#include "engine/pgwire/pgwire.h"

#define RECV_BYTES (64u << 10)

enum source_kind { SOURCE_SIGNAL, SOURCE_MAIL, SOURCE_LISTENER, SOURCE_ENGINE, SOURCE_CLIENT };
struct source { enum source_kind kind; }; /* first member of what epoll points to */

struct loop {
	struct loop_config cfg;
	struct clock clock;
	struct timers timers;
	struct engine *engine;
	struct pg_server *server;
	int epoll_fd, signal_fd;
	struct source signal_source, mail_source, listener_source, engine_source;
	int engine_fds[4];
	uint64_t engine_fds_version;
	uint32_t engine_fd_count;
	bool kicked, accepting, no_pwait2;
	struct timer accept_again;
	enum engine_state seen;      /* last state that was logged */
	uint32_t seen_failure;       /* crc of the last reason that was logged */
	struct spin spin;
	uint64_t turn_us;            /* when this turn began to work */
	bool busy;                   /* it found something to do */
	/* SIGTERM */
	bool stopping, left_asked, interrupted, told_twice;
	struct timer leave_by, stop_by;
	/* clients.c */
	struct list clients, ready;  /* ready: to be stepped in this turn */
	uint32_t client_max;
	uint8_t *recv_bytes;
};

/* clients.c */
void clients_accept(struct loop *l);   /* each is given to one worker of the process */
void client_new(struct loop *l, int fd, const char *peer); /* to this one; takes fd */
void client_event(struct loop *l, struct source *s, uint32_t events);
void clients_turn(struct loop *l);   /* those that are ready, each once */
void clients_close(struct loop *l);  /* all, at once */

#endif
