/*
 * session.h - inside of a session: transactions, prepared statements, portals (engine/sql, private).
 *
 * Blocks. NONE: nothing open. IMPLICIT: a transaction that Sync (or the end of a simple query) commits. OPEN: after
 * BEGIN. FAILED: an error within a block; only its end, or ROLLBACK TO, gets out. The transaction of access.h exists in
 * IMPLICIT and OPEN, and in FAILED while a savepoint could bring it back.
 *
 * A portal's statement is a machine of phases; each phase may answer ST_WAIT and is then entered again. Only one
 * portal has a statement open in access.h at a time: a portal that is left suspended has read its whole result before.
 */
#ifndef VALENCE_ENGINE_SQL_SESSION_H
#define VALENCE_ENGINE_SQL_SESSION_H

#include "base/env.h"
#include "base/log.h"
#include "base/map.h"
#include "engine/sql/exec.h"
#include "engine/sql/settings.h"
#include "engine/sql/sql.h"

enum block { BLOCK_NONE, BLOCK_IMPLICIT, BLOCK_OPEN, BLOCK_FAILED };
struct savepoint { char name[SCHEMA_NAME_MAX + 1]; uint32_t number; };

/* A statement bound and planned under one version of the schema; shared by the prepared statement and its portals. */
struct fast;
struct sql_prepared;
struct bound {
	struct arena arena;
	struct mem *mem;
	uint32_t refs;
	struct sql_prepared *source;    /* shared: the statement lends from its tree */
	uint64_t version;
	struct stmt *stmt;              /* NULL: empty query */
	struct plan_root *root;         /* STMT_QUERY, DECLARE, EXPLAIN, COPY, CREATE TABLE AS: made when first run */
	struct fast *fast;              /* a point statement (fastpath.c); NULL none */
	struct sql_shape shape;
	bool shape_known;
};
struct sql_prepared {
	struct arena arena;             /* the text and its tree */
	uint32_t refs;                  /* the session's, and one of each struct bound */
	char *name, *text;
	const struct raw_stmt *raw;     /* NULL: empty */
	uint32_t *types, type_count;    /* as given */
	bool from_sql;                  /* PREPARE */
	uint64_t prepared_us;
	struct bound *bound;
};

enum portal_phase {
	PORTAL_NEW, PORTAL_USE, PORTAL_SNAPSHOT, PORTAL_RUN, PORTAL_RESTART, PORTAL_END, PORTAL_DRAIN, PORTAL_DONE, PORTAL_FAILED
};
struct utility; /* session_utility.c */
struct copy_in; /* copy_in.c */
struct copy_out; /* copy_out.c */
struct fast_run; /* fastpath.c */

struct sql_portal {
	struct sql_session *session;
	struct bound *bound;
	struct sql_prepared *prepared;  /* to bind anew; NULL when it is gone */
	const char *name;
	struct mem mem;                 /* S18: what the statement uses */
	struct arena arena;             /* parameters, the execution */
	struct arena result_arena;
	struct cell *params;
	uint32_t param_count;
	uint8_t phase;
	bool running;                   /* has access.h's statement open */
	bool in_statement;
	bool keep_result;               /* suspended or a cursor: the whole result is read first */
	bool cursor, hold;
	bool complete;                  /* it ran to its end once */
	uint32_t use_at;
	struct exec exec;
	struct rowset result;
	uint64_t result_at;
	uint64_t row_count;
	const char *tag;
	struct utility *utility;
	struct copy_in *copy_in;
	struct copy_out *copy_out;
	struct fast_run *fast;          /* bound for the fast path */
	uint64_t started_us;
	struct error err;
};

#define SESSION_QUERY_BYTES 1024 /* as track_activity_query_size */
struct sql_session {
	struct sql_session_config cfg;
	struct mem mem;
	struct access *access;
	struct arena arena;             /* names of the session */
	struct arena txn_arena;         /* reset with each transaction */
	uint8_t block;
	bool txn_lost;                  /* FAILED: rolled back already */
	bool txn_read_only, txn_ran;    /* a statement has run in it */
	bool txn_deferrable;            /* shown only: no transaction waits for a snapshot that cannot fail, each is one */
	uint8_t isolation;
	VEC(struct savepoint) savepoints;
	struct bmap prepared, portals;  /* by name */
	struct sql_prepared *unnamed_prepared;
	struct sql_portal *unnamed_portal;
	struct settings settings;
	uint64_t settings_seen;         /* generation that what follows was made of */
	struct value_settings values;
	char **search_path;
	uint32_t search_path_count;
	uint64_t timeout_us, lock_timeout_us;
	uint64_t idle_timeout_us, idle_in_transaction_us;
	uint64_t idle_since_us;         /* monotonic; 0: it does something */
	uint64_t started_us, query_us, state_us; /* wall clock: the session, its latest statement, its latest change of state */
	char query[SESSION_QUERY_BYTES], client[64]; /* text of the latest statement; where the client is */
	uint64_t lock_deadline_us;      /* monotonic; 0: not waiting for a lock, or no lock_timeout */
	bool lock_nowait;               /* what waits for a lock now may do so as long only as asking takes */
	size_t statement_bytes;
	bool trace, report_commits;
	const char *txn_name;           /* valence.txn_id; "": none. The setting's own text */
	seq_index txn_since;
	char last_commit_text[24];      /* valence.last_commit */
	struct sql_portal *active;      /* the one whose statement is open */
	uint64_t deadline_us;           /* monotonic; 0 none */
	uint64_t sleep_until_us;        /* pg_sleep */
	bool cancel;
	enum status terminate;
	struct map sequences;           /* rel_id -> struct sequence_value */
	struct sequence_value *last_sequence;
	struct rng rng;
	struct sql_portal *spare_portal;
	seq_index reported_commit;
	struct buf fast_key;            /* of the fast path: kept, so that it allocates nothing */
	char user[SCHEMA_NAME_MAX + 1], database[SCHEMA_NAME_MAX + 1];
};
struct sequence_value { rel_id id; int64_t value; };

/* session.c */
void session_settings_apply(struct sql_session *s);
MUST_CHECK enum status session_set(struct sql_session *s, const char *name, const char *value, bool local,
				   struct error *err);
MUST_CHECK enum status session_interrupted(struct sql_session *s, struct error *err);
/* What SET does for the client: it may wait where a value concerns the cluster (valence.txn_id). ST_WAIT: call again. */
MUST_CHECK enum status session_set_asked(struct sql_session *s, const char *name, const char *value, bool local,
					 bool within_statement, struct error *err);
void session_report_commit(struct sql_session *s); /* to clients that want to know */
void session_late_news(struct sql_session *s);     /* what became of a commit that was answered early (P3) */
void session_notice(struct sql_session *s, const char *severity, enum status code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void session_trace(struct sql_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* session_txn.c */
void txn_ensure(struct sql_session *s);                 /* begins an implicit transaction when none is open */
/* Of the open transaction, or without effect. ST_ACTIVE_TRANSACTION: too late for that. */
MUST_CHECK enum status txn_set_isolation(struct sql_session *s, enum isolation iso, struct error *err);
MUST_CHECK enum status txn_set_read_only(struct sql_session *s, bool on, struct error *err);
MUST_CHECK enum status txn_set_deferrable(struct sql_session *s, bool on, struct error *err);
void txn_failed(struct sql_session *s);                 /* an error in it */
void txn_over(struct sql_session *s, bool committed);
MUST_CHECK enum status txn_commit(struct sql_session *s, struct error *err);
void txn_rollback(struct sql_session *s);
MUST_CHECK enum status txn_statement(struct sql_session *s, struct sql_portal *p, const struct stmt *st, struct error *err);
enum status txn_refuse_failed(struct error *err);
bool txn_allowed_when_failed(enum stmt_kind kind);

/* session_prepared.c */
MUST_CHECK enum status prepared_bind(struct sql_session *s, struct sql_prepared *p, struct error *err);
MUST_CHECK enum status prepared_bind_as(struct sql_session *s, struct sql_prepared *p, const uint32_t *types,
					uint32_t count, struct error *err);
MUST_CHECK enum status bound_plan(struct sql_session *s, struct bound *b, struct error *err);
MUST_CHECK enum status bound_shape(struct sql_session *s, struct bound *b, struct sql_shape *out, struct error *err);
const struct query *stmt_query(const struct stmt *st); /* the query that it runs; NULL none */
void bound_unref(struct bound *b);
void prepared_free(struct sql_session *s, struct sql_prepared *p);
MUST_CHECK enum status prepared_add(struct sql_session *s, const char *name, const char *text,
				    const struct raw_stmt *raw, const uint32_t *types, uint32_t type_count, bool from_sql,
				    struct sql_prepared **out, struct error *err);

/* session_portal.c */
struct sql_portal *portal_new(struct sql_session *s, const char *name);
void portal_free(struct sql_session *s, struct sql_portal *p);
void portals_drop(struct sql_session *s, bool keep_held);
MUST_CHECK enum status portal_query_step(struct sql_session *s, struct sql_portal *p, uint64_t max_rows,
					 const struct sql_sink *sink, struct error *err);
/* Runs the portal's query to its end; rows go to sink (NULL: kept in p->result). */
MUST_CHECK enum status portal_run(struct sql_session *s, struct sql_portal *p, const struct sql_sink *sink,
				  struct budget *work, struct error *err);
MUST_CHECK enum status portal_begin(struct sql_session *s, struct sql_portal *p, struct error *err);
void portal_undo(struct sql_session *s, struct sql_portal *p); /* the statement failed */
enum status portal_failed(struct sql_session *s, struct sql_portal *p, enum status st, struct error *err);
void emit_rowset(struct sql_portal *p, const struct sql_shape *shape, const struct sql_sink *sink, uint64_t max);

/* session_utility.c */
MUST_CHECK enum status utility_step(struct sql_session *s, struct sql_portal *p, uint64_t max_rows,
				    const struct sql_sink *sink, struct budget *work, struct error *err);
void utility_free(struct sql_portal *p);
bool utility_in_statement(const struct sql_portal *p); /* what it runs has access.h's statement open */

/* session_fn.c */
void session_hooks(struct sql_session *s, struct eval_hooks *out);

/* explain.c: lines of text into the portal's result. */
void explain_text(const struct stmt *st, const struct plan_root *root, const struct exec *ex, uint64_t us,
		  struct arena *arena, struct rowset *out);

/* ddl.c: called again after ST_WAIT until it answers something else. */
struct ddl;
struct ddl *ddl_new(struct sql_session *s, struct sql_portal *p);
MUST_CHECK enum status ddl_step(struct ddl *d, struct budget *work, struct error *err); /* ST_AGAIN: out of budget */
void ddl_free(struct ddl *d);
uint64_t ddl_rows(const struct ddl *d); /* CREATE TABLE AS */

/* copy_in.c, copy_out.c */
MUST_CHECK enum status copy_in_step(struct sql_session *s, struct sql_portal *p, const struct sql_sink *sink,
				    struct error *err);
void copy_in_free(struct copy_in *c);
MUST_CHECK enum status copy_out_step(struct sql_session *s, struct sql_portal *p, const struct sql_sink *sink,
				     struct budget *work, struct error *err);
void copy_out_free(struct copy_out *c);

/* fastpath.c */
struct fast *fast_detect(const struct query *q, const struct plan_root *root, struct arena *arena);
bool fast_bind_params(struct sql_session *s, struct sql_portal *p, const struct sql_param *params, uint32_t count);
void fast_start(struct sql_portal *p);  /* the portal runs by it */
void fast_free(struct sql_portal *p);
MUST_CHECK enum status fast_step(struct sql_session *s, struct sql_portal *p, const struct sql_sink *sink,
				 struct error *err);

#endif
