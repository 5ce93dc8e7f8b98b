/*
 * pgwire_int.h - a connection and its parts (engine/pgwire, private).
 *
 * Phases, with who may follow whom in phase_next[] of conn.c:
 *
 *   STARTUP ──▶ READY ──Query──▶ PREPARE ──▶ BIND ──▶ RUN ◀──▶ COPY_IN
 *                 ▲ │                 ▲                │
 *                 │ │Execute          └─next statement─┤
 *                 │ └─────────────────────────────▶ RUN│
 *                 └────────────── SYNC ◀───────────────┘      any ──▶ CLOSED
 *
 * A message stays at the front of the input until its work is done, so work that must wait is simply asked for again:
 * decoding is cheap, sql.h keeps what was already done. Query and Execute are the exceptions: their run needs the input
 * for COPY, so they are taken off when the run starts. Nothing points into the input across steps.
 */
#ifndef VALENCE_ENGINE_PGWIRE_PGWIRE_INT_H
#define VALENCE_ENGINE_PGWIRE_PGWIRE_INT_H

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "engine/pgwire/pgwire.h"
#include "engine/sql/sql.h"

#define STARTUP_MAX_BYTES 10000u
#define SMALL_MESSAGE_MAX_BYTES 10000u
#define MESSAGE_LIMIT_BYTES (1u << 30)
#define INPUT_BOUND_BYTES (256u << 10) /* of input not yet handled, beyond the message at the front */
#define KEEP_BYTES (256u << 10)        /* buffers that grew beyond are given back when empty */
#define TURN_UNITS (64 * 1024)         /* S16: work units of one step */
#define MESSAGE_UNITS 256
#define STATEMENT_UNITS 1024
#define TAG_BYTES 128
#define COLUMN_MAX 1664

enum phase { PH_STARTUP, PH_READY, PH_PREPARE, PH_BIND, PH_RUN, PH_COPY_IN, PH_SYNC, PH_CLOSED, PH_COUNT };

/* How far a piece of work got. */
enum progress {
	GO_ON,      /* something was done */
	NEED_INPUT, /* the rest of the message is not here */
	NEED_WAKE,  /* sql.h said ST_WAIT */
	NEED_TURN   /* sql.h said ST_AGAIN */
};

struct pg_server {
	struct pg_server_config cfg;
	struct list conns;
	struct map by_pid;       /* sessions */
	uint32_t sessions, next_pid;
	enum status closing;     /* ST_OK: open */
};

/* Formats of a portal's result: none: text; one: of all columns; else one each. */
struct formats { uint32_t count; uint8_t *at; };

struct pg_conn {
	struct list node;        /* pg_server.conns */
	struct pg_server *server;
	struct pg_conn_config cfg;
	struct mem mem;
	struct logger *log;
	char peer[64];
	struct sql_session *session;
	uint32_t pid, secret;
	uint8_t phase;           /* enum phase */
	bool ssl_done, gss_done; /* these were asked and answered once */
	bool reporting;          /* changed settings are told */
	bool eof;
	enum status terminate;   /* FATAL at the next boundary; ST_OK: none */

	struct buf in;
	size_t in_at;
	uint64_t discard_bytes;  /* of input, to be dropped as they come */
	struct buf out;
	size_t out_at;
	bool blocked;            /* gave up because of output */
	bool waiting, woken;     /* for sql.h's wake */
	int64_t budget;          /* units left in this step */

	bool skipping;           /* after an error of the extended protocol: until Sync */
	bool failed;             /* since the last Sync */
	bool stage_done;         /* the first half of the message at the front is done */

	/* the statement that runs */
	bool simple;
	struct arena arena;      /* text and raw statements of a Query */
	const char *source;
	struct raw_list raws;
	uint32_t raw_at;
	struct sql_prepared *prepared;
	struct sql_portal *portal;
	const struct formats *formats; /* of the run; NULL: text */
	uint64_t max_rows;
	enum status row_error;   /* a row that could not be encoded */
	bool copy_out, copy_in;
	uint32_t copy_left;      /* bytes of the CopyData message under way */
	bool tag_held;           /* tag goes out after the commit */
	char tag[TAG_BYTES];

	struct formats unnamed;
	uint32_t unnamed_cap;
	struct bmap named;       /* portal name to struct formats */
	struct sql_param *params;
	uint32_t *types;
	uint32_t params_cap, types_cap;
	struct row_column *columns; /* scratch of the row encoder */
	uint32_t columns_cap;
};

/* conn.c */
void pgw_move(struct pg_conn *c, enum phase to);
void pgw_consume(struct pg_conn *c, size_t bytes);
size_t pgw_available(const struct pg_conn *c);
const uint8_t *pgw_front(const struct pg_conn *c);
bool pgw_room(const struct mem *m, size_t bytes);
void pgw_spend(struct pg_conn *c, uint64_t units);
void pgw_interrupt(struct pg_conn *c);
/* What a call of sql.h said, where it is neither done nor an error. */
enum progress pgw_waits(struct pg_conn *c, enum status st);
static inline bool pgw_is_wait(enum status st) { return st == ST_WAIT || st == ST_AGAIN; }
/* Grows a scratch array to n elements of size bytes. */
void *pgw_scratch(struct pg_conn *c, void *p, uint32_t *cap, uint32_t n, size_t size);

/* server.c */
enum status pgw_session_open(struct pg_conn *c, const char *user, const char *database, struct error *err);
void pgw_session_close(struct pg_conn *c);

/* startup.c */
enum progress pgw_startup(struct pg_conn *c);

/* extended.c */
enum progress pgw_parse(struct pg_conn *c, struct reader *r);
enum progress pgw_bind(struct pg_conn *c, struct reader *r);
enum progress pgw_describe(struct pg_conn *c, struct reader *r);
enum progress pgw_execute(struct pg_conn *c, struct reader *r);
enum progress pgw_close(struct pg_conn *c, struct reader *r);
void pgw_formats_clear(struct pg_conn *c); /* of named portals */
const struct formats *pgw_formats_find(struct pg_conn *c, const char *portal);

/* run.c */
enum progress pgw_query(struct pg_conn *c, struct reader *r);
enum progress pgw_run_prepare(struct pg_conn *c);
enum progress pgw_run_bind(struct pg_conn *c);
enum progress pgw_run(struct pg_conn *c);
enum progress pgw_sync(struct pg_conn *c);

/* copy.c */
void pgw_copy_in_begin(void *ctx, uint32_t column_count, bool binary);
void pgw_copy_out_begin(void *ctx, uint32_t column_count, bool binary);
void pgw_copy_out(void *ctx, const void *data, size_t bytes);
enum progress pgw_copy_in(struct pg_conn *c);

/* rows.c */
void pgw_rows(void *ctx, const struct sql_shape *shape, const struct vec *columns, const uint16_t *sel, uint32_t n);
void pgw_row_description(struct pg_conn *c, const struct sql_shape *shape, const struct formats *f);
void pgw_columns_free(struct pg_conn *c);

/* write.c */
size_t pgw_begin(struct buf *out, char type);
void pgw_end(struct buf *out, size_t at);
void pgw_cstr(struct buf *out, const char *s);
void pgw_empty(struct pg_conn *c, char type); /* a message without a body */
void pgw_parameter(void *ctx, const char *name, const char *value);
void pgw_notice(void *ctx, const char *severity, const struct error *what);
void pgw_error(struct pg_conn *c, const char *severity, enum status st, const struct error *what);
void pgw_ready(struct pg_conn *c);
void pgw_tag(struct pg_conn *c, const char *tag);
/* An error of the statement or message under way: tells the client, and how it goes on. ADMIN_SHUTDOWN and the like close. */
enum progress pgw_fail(struct pg_conn *c, enum status st, const struct error *what);
/* ERROR, FATAL: with text made here. FATAL closes. */
enum progress pgw_failf(struct pg_conn *c, enum status st, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
enum progress pgw_fatal(struct pg_conn *c, enum status st, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
