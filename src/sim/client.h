/*
 * client.h - SQL clients of the simulated cluster: the wire protocol's other side, and what runs on it (sim).
 *
 * A client has at most one connection, to one node; bytes travel with a delay both ways. It runs one *load*, a
 * state machine that is told what happened and says what comes next. A client that waits too long for an answer hangs up and
 * goes to another node, as applications do; after all faults have stopped that is a violation instead.
 */
#ifndef VALENCE_SIM_CLIENT_H
#define VALENCE_SIM_CLIENT_H

#include "sim/model.h"
#include "sim/world.h"

struct client;

enum client_event {
	CLIENT_CONNECTED, /* and idle */
	CLIENT_REPLY,     /* ready for the next query: client.reply */
	CLIENT_LOST,      /* the connection is gone; what was under way may have happened */
	CLIENT_WOKEN      /* after client_sleep() */
};
/* Each call must start exactly one of: query, sleep, connect, or set client.stopped. */
struct load {
	const char *name;
	size_t state_bytes;
	void (*event)(struct client *c, enum client_event ev);
	bool works;             /* its clients must make progress when nothing fails */
};
extern const struct load load_bank, load_reader, load_keys, load_bulk, load_sequence, load_ddl, load_grow,
	load_history, load_named, load_skew;

struct reply {
	bool error;             /* the first one of the query */
	char warning[6];        /* SQLSTATE of the last WARNING */
	char sqlstate[6], message[200], tag[40], status;
	uint32_t rows, columns;
	struct arena arena;     /* of the cells */
	VEC(char *) cells;      /* rows times columns; NULL: null */
};

struct packet { struct list l; uint64_t due_us; uint32_t bytes; uint8_t data[]; };
enum client_state { CLIENT_CLOSED, CLIENT_STARTING, CLIENT_IDLE, CLIENT_BUSY };

struct client {
	struct clients *all;
	struct world *w;
	uint32_t number;
	struct rng rng;
	const struct load *load;
	void *state;
	enum client_state phase;
	struct node *node;      /* NULL: no connection */
	struct pg_conn *conn;   /* the engine's side; NULL: gone, or not yet there */
	struct list ready;      /* in node.ready */
	struct list to_server, to_client; /* struct packet */
	struct timer in, out, wake, limit;
	struct buf rx;          /* the client's side */
	struct reply reply;
	bool stopping, stopped, extended, lost_pending;
	uint32_t prepared, preparing; /* bit per statement of the load, on this connection */
	seq_index applied;      /* the engine's, when it answered */
	seq_index session_lo;   /* least snapshot of the next statement */
	uint64_t done, query_us; /* transactions that ended well; since when the query runs */
	char sql[200];          /* the beginning of the running query */
};

struct clients {
	struct world *w;
	VEC(struct client *) at;
	uint64_t values;        /* sequence values are unique: map of value + 1 per sequence */
	struct map sequences[2];
	uint64_t limit_us;      /* how long a client waits for an answer */
};

struct clients *clients_new(struct world *w);
void clients_free(struct clients *cs);
struct client *clients_add(struct clients *cs, const struct load *load);
void clients_node_down(struct clients *cs, struct node *n, bool power);
uint32_t clients_node_turn(struct clients *cs, struct node *n); /* sessions stepped */
void clients_stop(struct clients *cs);          /* each ends after what it is doing */
bool clients_stopped(const struct clients *cs);

/* For loads. */
void client_connect(struct client *c, struct node *n); /* NULL: any that is up */
void client_hang_up(struct client *c);                  /* no event follows */
void client_query(struct client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Extended protocol with text parameters; prepared under a name at the first use on a connection. */
void client_execute(struct client *c, uint32_t number, const char *sql, uint32_t count, const char *const *params);
void client_sleep(struct client *c, uint64_t us);
const char *client_cell(const struct client *c, uint32_t row, uint32_t column); /* "" for null */
int64_t client_int(const struct client *c, uint32_t row, uint32_t column);
bool client_sqlstate(const struct client *c, const char *sqlstate);
seq_index client_applied(const struct client *c); /* of its node, when it answered */
/* An error that the load did not expect is a violation, but for those that faults, conflicts and DDL of others explain. */
bool client_error_expected(struct client *c);
bool client_outcome_unknown(const struct client *c); /* of the error of a COMMIT */
/* Between transactions: stops when told to, else thinks, sometimes goes to another node. */
void client_next(struct client *c, uint64_t think_us);
void client_count(struct client *c, enum txn_end how); /* a transaction of its ended so: for the statistics */

/* setup and the final comparison, run on one connection from outside of the event loop */
bool client_run(struct client *c, uint64_t limit_us, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool client_wait(struct client *c, uint64_t limit_us); /* for the reply to client_query() */
bool client_run_on(struct client *c, uint64_t limit_us, struct node *n); /* connects */
extern const struct load load_idle;

#endif
