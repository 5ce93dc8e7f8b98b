/*
 * sql.h - sessions, prepared statements and portals: what the wire protocol drives (engine/sql).
 *
 * No call blocks. ST_WAIT: give up the loop, call again after the session's wake function. A portal's step gives up
 * between vectors with ST_AGAIN when its work budget is used up (S16): call again in a later turn.
 */
#ifndef VALENCE_ENGINE_SQL_SQL_H
#define VALENCE_ENGINE_SQL_SQL_H

#include "engine/sql/query.h"
#include "engine/txn/access.h"

struct engine;
struct sql_session;
struct sql_prepared;
struct sql_portal;

struct sql_result_column { const char *name; struct sql_type type; rel_id table; uint16_t attno; };
struct sql_shape { uint32_t column_count; const struct sql_result_column *columns; }; /* count 0 and columns NULL: no rows are returned */

/* Where results go. rows: vectors of column_count columns, the n selected rows sel; lent until return. */
struct sql_sink {
	void *ctx;
	void (*rows)(void *ctx, const struct sql_shape *shape, const struct vec *columns, const uint16_t *sel, uint32_t n);
	void (*copy_out_begin)(void *ctx, uint32_t column_count, bool binary);
	void (*copy_out)(void *ctx, const void *data, size_t bytes);   /* one row */
	void (*copy_in_begin)(void *ctx, uint32_t column_count, bool binary);
	bool (*full)(void *ctx);   /* the client's output is over its bound: step answers ST_WAIT until it drained */
};

struct sql_session_config {
	struct engine *engine;
	struct mem *mem;
	struct logger *log;
	const char *user, *database;
	const char *client; /* host:port; NULL: not known. Copied */
	uint32_t backend_pid;
	void *ctx;
	void (*wake)(void *ctx);
	/* severity "NOTICE", "WARNING", "INFO"; goes out before the reply */
	void (*notice)(void *ctx, const char *severity, const struct error *what);
	/* a setting that the protocol reports changed (TimeZone, client_encoding, application_name, …) */
	void (*parameter)(void *ctx, const char *name, const char *value);
};

/* The last of a thread that had sessions, before it ends: what it kept of compiled patterns and time zones. */
void sql_thread_fini(void);

struct sql_session *sql_session_new(const struct sql_session_config *cfg);
void sql_session_free(struct sql_session *s);
/* From the start-up packet; unknown names are errors. Also what SET does. */
MUST_CHECK enum status sql_session_set(struct sql_session *s, const char *name, const char *value, struct error *err);
const char *sql_session_get(struct sql_session *s, const char *name); /* NULL: no such setting */
/* Calls fn for every setting that the protocol reports at start-up. */
void sql_session_report(struct sql_session *s, void *ctx, void (*fn)(void *ctx, const char *name, const char *value));
char sql_session_status(const struct sql_session *s); /* 'I' idle, 'T' in a transaction, 'E' in a failed one */
void sql_session_cancel(struct sql_session *s);       /* the running statement ends with ST_CANCELED */
void sql_session_terminate(struct sql_session *s, enum status why); /* next step fails with why (shutdown, removal) */
/* It waits for its client from now on (ReadyForQuery was sent), or does no more. */
void sql_session_idle(struct sql_session *s, bool idle);
/* ST_IDLE_IN_TRANSACTION, ST_IDLE_SESSION: it waited for longer than its settings allow, and is to be ended. */
enum status sql_session_idle_expired(const struct sql_session *s);
struct access *sql_session_access(struct sql_session *s);
/* Monotonic time at which the session wants a step even if nobody woke it: statement_timeout, pg_sleep, idle for too long. 0: none. */
uint64_t sql_session_deadline_us(const struct sql_session *s);

/*
 * Prepare one statement. name "": the unnamed one. types: oids of known parameters. raw comes from sql_parse and is copied
 * or kept by text. Inside a failed transaction only COMMIT/ROLLBACK pass (ST_IN_FAILED_TRANSACTION). ST_WAIT.
 */
MUST_CHECK enum status sql_prepare(struct sql_session *s, const char *name, const char *text, const uint32_t *types,
				   uint32_t type_count, struct sql_prepared **out, struct error *err);
struct sql_prepared *sql_prepared_find(struct sql_session *s, const char *name);
void sql_prepared_close(struct sql_session *s, const char *name); /* no such one: nothing */
uint32_t sql_prepared_params(const struct sql_prepared *p, const uint32_t **types_out);
/* Rebinds when definitions changed since: ST_WAIT, errors. */
MUST_CHECK enum status sql_prepared_shape(struct sql_session *s, struct sql_prepared *p, struct sql_shape *out,
					  struct error *err);

struct sql_param { const void *data; int32_t bytes; bool binary; }; /* bytes -1: null; data lent during the call */
/* Makes a portal of a prepared statement; formats of results are the sink's affair. Replaces the unnamed portal. ST_WAIT. */
MUST_CHECK enum status sql_bind(struct sql_session *s, const char *portal, struct sql_prepared *p,
				const struct sql_param *params, uint32_t param_count, struct sql_portal **out,
				struct error *err);
struct sql_portal *sql_portal_find(struct sql_session *s, const char *name);
void sql_portal_close(struct sql_session *s, const char *name);
MUST_CHECK enum status sql_portal_shape(struct sql_session *s, struct sql_portal *p, struct sql_shape *out, struct error *err);

/*
 * Run it. max_rows 0: all. ST_OK: done, tag_out is the command tag ("INSERT 0 3"; arena of the portal; NULL: empty
 * query). ST_END: suspended after max_rows rows. ST_AGAIN: out of budget. ST_WAIT. Otherwise an error: the statement is undone, in a
 * transaction block the session is now 'E'. Outside a block the statement commits by itself (implicit transaction): simple queries and
 * pipelines until Sync share one: see sql_sync.
 */
MUST_CHECK enum status sql_portal_step(struct sql_session *s, struct sql_portal *p, uint64_t max_rows,
				       const struct sql_sink *sink, const char **tag_out, struct error *err);
/* COPY FROM STDIN: while the portal waits for data its step answers ST_WAIT after copy_in_begin. */
bool sql_portal_copying_in(const struct sql_portal *p);
MUST_CHECK enum status sql_copy_data(struct sql_session *s, struct sql_portal *p, const void *data, size_t bytes,
				     size_t *taken_out, struct error *err); /* ST_WAIT: taken_out may be short; feed the rest later */
void sql_copy_done(struct sql_session *s, struct sql_portal *p);                    /* then step again */
void sql_copy_fail(struct sql_session *s, struct sql_portal *p, const char *why);
/*
 * The protocol's Sync, and the end of a simple query string: commits the implicit transaction if the work succeeded, or
 * rolls it back after an error. ST_WAIT; an error of the commit.
 */
MUST_CHECK enum status sql_sync(struct sql_session *s, bool failed, struct error *err);
/*
 * Simple query with several statements: one implicit transaction (PostgreSQL's rule), each statement prepared as unnamed by
 * sql_prepare_raw from the list that sql_parse gave.
 */
MUST_CHECK enum status sql_prepare_raw(struct sql_session *s, const struct raw_stmt *raw, const char *source,
				       struct sql_prepared **out, struct error *err);
/* An error outside of a statement's step (parse, bind): fails an open transaction block as PostgreSQL does. */
void sql_session_error(struct sql_session *s);

#endif
