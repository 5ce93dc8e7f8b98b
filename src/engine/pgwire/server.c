/*
 * server.c - what the connections of one engine share (engine/pgwire).
 */
#include <stdio.h>

#include "base/assert.h"
#include "engine/pgwire/pgwire_int.h"

#define CONNECTION_MAX_DEFAULT 1000
#define MESSAGE_MAX_DEFAULT (64u << 20)
#define OUTPUT_BOUND_DEFAULT (256u << 10)
#define PID_FIRST 1000

/* A session's process id says which of the workers has it: the remainder by their number. */
static uint32_t pid_first(const struct pg_server *sv)
{
	uint32_t n = sv->cfg.workers;

	return (PID_FIRST + n - 1) / n * n + sv->cfg.worker;
}

struct pg_server *pg_server_new(const struct pg_server_config *cfg)
{
	struct pg_server *sv = MEM_NEW(cfg->mem, struct pg_server);

	sv->cfg = *cfg;
	if (sv->cfg.connection_max == 0)
		sv->cfg.connection_max = CONNECTION_MAX_DEFAULT;
	if (sv->cfg.message_max_bytes == 0)
		sv->cfg.message_max_bytes = MESSAGE_MAX_DEFAULT;
	if (sv->cfg.message_max_bytes > MESSAGE_LIMIT_BYTES)
		sv->cfg.message_max_bytes = MESSAGE_LIMIT_BYTES;
	if (sv->cfg.output_bound_bytes == 0)
		sv->cfg.output_bound_bytes = OUTPUT_BOUND_DEFAULT;
	if (sv->cfg.workers == 0)
		sv->cfg.workers = 1;
	ASSERT_OP(sv->cfg.worker, <, sv->cfg.workers);
	sv->next_pid = pid_first(sv);
	list_init(&sv->conns);
	map_init(&sv->by_pid, cfg->mem);
	return sv;
}

void pg_server_free(struct pg_server *sv)
{
	struct mem *mem = sv->cfg.mem;

	ASSERT(list_empty(&sv->conns));
	ASSERT_OP(sv->sessions, ==, 0);
	map_fini(&sv->by_pid);
	MEM_FREE(mem, sv);
}

uint32_t pg_server_sessions(const struct pg_server *sv)
{
	return sv->sessions;
}

void pg_server_shutdown(struct pg_server *sv, enum status why)
{
	sv->closing = why;
	LIST_FOREACH(it, &sv->conns) {
		struct pg_conn *c = CONTAINER_OF(it, struct pg_conn, node);

		c->terminate = why;
		pgw_interrupt(c);
		if (c->session)
			sql_session_terminate(c->session, why);
		c->cfg.wake(c->cfg.ctx);
	}
}

static void session_wake(void *ctx)
{
	struct pg_conn *c = ctx;

	c->woken = true;
	c->waiting = false;
	c->cfg.wake(c->cfg.ctx);
}

static uint32_t pid_take(struct pg_server *sv)
{
	uint32_t pid;

	do {
		pid = sv->next_pid;
		sv->next_pid += sv->cfg.workers;
		if (sv->next_pid > INT32_MAX)
			sv->next_pid = pid_first(sv);
	} while (map_find(&sv->by_pid, pid));
	return pid;
}

enum status pgw_session_open(struct pg_conn *c, const char *user, const char *database, struct error *err)
{
	struct pg_server *sv = c->server;
	struct sql_session_config cfg = {
		.engine = sv->cfg.engine,
		.mem = &c->mem,
		.log = c->log,
		.user = user,
		.database = database,
		.client = c->peer,
		.ctx = c,
		.wake = session_wake,
		.notice = pgw_notice,
		.parameter = pgw_parameter,
	};

	if (sv->sessions >= sv->cfg.connection_max) {
		error_set(err, ST_TOO_MANY_CONNECTIONS, "sorry, too many clients already");
		error_detail(err, "this engine takes %u connections", sv->cfg.connection_max);
		return ST_TOO_MANY_CONNECTIONS;
	}
	c->pid = cfg.backend_pid = pid_take(sv);
	c->secret = sv->cfg.secret(sv->cfg.ctx);
	c->session = sql_session_new(&cfg);
	map_put(&sv->by_pid, c->pid, c);
	sv->sessions++;
	return ST_OK;
}

void pgw_session_close(struct pg_conn *c)
{
	if (!c->session)
		return;
	sql_session_free(c->session);
	c->session = NULL;
	map_remove(&c->server->by_pid, c->pid);
	c->server->sessions--;
}

/* Nothing is answered, whether it was right or not: a guesser learns nothing. */
void pg_server_cancel(struct pg_server *sv, uint32_t pid, uint32_t secret)
{
	struct pg_conn *c = map_find(&sv->by_pid, pid);
	uint32_t worker = pid % sv->cfg.workers;

	if (worker != sv->cfg.worker) {
		sv->cfg.cancel(sv->cfg.ctx, worker, pid, secret);
		return;
	}
	if (!c || c->secret != secret) {
		log_event(sv->cfg.log, LOG_PGWIRE, LOG_INFO, "cancel request with a wrong key", "pid=%u", pid);
		return;
	}
	if (c->phase == PH_READY && !c->waiting)
		return; /* nothing runs: a late request must not hit the next statement */
	sql_session_cancel(c->session);
	pgw_interrupt(c);
	c->cfg.wake(c->cfg.ctx);
}
