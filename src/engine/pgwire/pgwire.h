/*
 * pgwire.h - the PostgreSQL wire protocol, version 3, as a state machine without sockets (engine/pgwire).
 *
 * Bytes go in, bytes come out, statements run in between through sql.h. The owner (the event loop, a test, the
 * simulator) gives what arrived with pg_conn_input(), calls pg_conn_step() while it answers PG_AGAIN or when the
 * connection was woken, and sends what pg_conn_output() shows. Nothing blocks, and nothing here asks a clock.
 *
 * Limits and what happens at them: a start-up packet over 10,000 bytes, a message over 1 GiB, or one of a small kind
 * over 10,000 bytes is FATAL 08P01; a message over message_max_bytes is dropped as it arrives and answered 54000;
 * output over output_bound_bytes stops the statement and the reading of input until it drained; sessions over
 * connection_max are refused with 53300.
 */
#ifndef VALENCE_ENGINE_PGWIRE_PGWIRE_H
#define VALENCE_ENGINE_PGWIRE_PGWIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"

struct engine;
struct pg_server;
struct pg_conn;

/* What the connections of one engine share: limits, the count of sessions, who can be cancelled by which secret. */
struct pg_server_config {
	struct engine *engine;       /* handed on to sql_session_new() */
	struct mem *mem;
	struct logger *log;
	uint32_t connection_max;     /* sessions; 0: 1,000 */
	size_t message_max_bytes;    /* 0: 64 MiB; at most 1 GiB */
	size_t output_bound_bytes;   /* 0: 256 KiB */
	void *ctx;
	/* May a session start? Otherwise ST_CANNOT_CONNECT_NOW or ST_ADMIN_SHUTDOWN and why. */
	enum status (*gate)(void *ctx, struct error *err);
	uint32_t (*secret)(void *ctx); /* of one session, for CancelRequest; not to be guessed */
	/*
	 * Several servers behind one port: of @workers this is number @worker, from 0, which shows in the process ids that it
	 * gives out. cancel: a request for a session of another one, for its pg_server_cancel(). workers 0: there is one.
	 */
	uint32_t worker, workers;
	void (*cancel)(void *ctx, uint32_t worker, uint32_t pid, uint32_t secret);
};
struct pg_server *pg_server_new(const struct pg_server_config *cfg);
void pg_server_free(struct pg_server *sv); /* after its connections */
uint32_t pg_server_sessions(const struct pg_server *sv);
/*
 * Ends every connection with FATAL @why (ST_ADMIN_SHUTDOWN): idle ones at their next step, running statements as
 * soon as sql.h gives up. Wakes all; new ones are refused.
 */
void pg_server_shutdown(struct pg_server *sv, enum status why);

/* A CancelRequest with these came in. Whether they are right nobody is told. */
void pg_server_cancel(struct pg_server *sv, uint32_t pid, uint32_t secret);

struct pg_conn_config {
	struct pg_server *server;
	const char *peer;            /* for the log; copied */
	void *ctx;
	void (*wake)(void *ctx);     /* the connection has something to do: step it. Never from inside its own calls */
};

enum pg_step {
	PG_IDLE,  /* waits for input, for a wake, or for its output to drain */
	PG_AGAIN, /* used up its turn (S16): step it again in the next */
	PG_CLOSE  /* over: send what is left of the output, then free it */
};

struct pg_conn *pg_conn_new(const struct pg_conn_config *cfg);
void pg_conn_free(struct pg_conn *c); /* at any time; what is open is rolled back */
void pg_conn_input(struct pg_conn *c, const void *data, size_t bytes);
bool pg_conn_wants_input(const struct pg_conn *c); /* false: too much is queued, leave it in the socket */
void pg_conn_eof(struct pg_conn *c);               /* the client sends no more: finish what is here, then close */
enum pg_step pg_conn_step(struct pg_conn *c);
/* What is to be sent; lent until the next call for this connection. */
const void *pg_conn_output(const struct pg_conn *c, size_t *bytes_out);
void pg_conn_consumed(struct pg_conn *c, size_t bytes);
/* The output drained enough that a stopped statement can go on: step it. Ask after pg_conn_consumed(). */
bool pg_conn_unblocked(const struct pg_conn *c);
bool pg_conn_started(const struct pg_conn *c);     /* a session, past the start-up packet */
/* Monotonic time at which the running statement times out: call pg_conn_timeout() then and step it. 0: none. */
uint64_t pg_conn_deadline_us(const struct pg_conn *c);
void pg_conn_timeout(struct pg_conn *c);

#endif
