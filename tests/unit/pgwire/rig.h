/*
 * rig.h - one connection, what is sent to it and what it answers (tests).
 *
 * Answers are read as text, one word a message:
 *   auth, param(name=value), key, ready(I), columns(id:23:0 ...), row(a|b), null fields as ~, tag(SELECT 1), empty, none,
 *   parsed, bound, closed, suspended, params(23), copyin(2), copyout(1), data(...), copydone, negotiate(n),
 *   error(FATAL:08P01:message), notice(...); N is the answer to SSLRequest.
 */
#ifndef VALENCE_TESTS_PGWIRE_RIG_H
#define VALENCE_TESTS_PGWIRE_RIG_H

#include "fake_sql.h"

#include "base/buf.h"
#include "engine/pgwire/pgwire.h"

enum rig_feed { FEED_WHOLE, FEED_BYTES, FEED_RANDOM, FEED_COUNT };

struct rig {
	struct mem mem, own;  /* of the server, within its limit; of what follows */
	struct pg_server *server;
	struct pg_conn *conn;
	struct buf send;      /* built by the functions below */
	struct buf got;       /* output not yet read as text */
	struct buf text;
	uint32_t wakes, agains;
	bool closed;
	enum rig_feed feed;
	uint64_t seed;
	bool mute;            /* output is left where it is: the client does not read */
	enum status gate;
	uint32_t passed_on, passed_to, passed_pid, passed_key; /* cancel requests for other workers; of the last one */
};

struct rig_limits { uint32_t connection_max; size_t message_max, output_bound, memory; uint32_t worker, workers; };

void rig_open(struct rig *r, const struct rig_limits *limits); /* limits NULL: defaults */
void rig_close(struct rig *r);
struct pg_conn *rig_connect(struct rig *r);                    /* one more connection of the server */
void rig_run(struct rig *r);                                   /* steps until it waits or is over */
/* Sends what was built; the answer as text, valid until the next. */
const char *rig_say(struct rig *r);
const char *rig_read(struct rig *r);                           /* runs, without sending */

/* Building: a whole message from a pattern: s string with its NUL, i int32, h int16, b byte, x length and bytes. */
void put_message(struct rig *r, char type, const char *pattern, ...);
void put_startup(struct rig *r, uint32_t version, const char *words, size_t bytes);
void put_start(struct rig *r);                                 /* a good start-up packet */
void put_query(struct rig *r, const char *text);
void put_sync(struct rig *r);
void put_parse(struct rig *r, const char *name, const char *text);
void put_bind(struct rig *r, const char *portal, const char *statement);           /* no parameters, text */
void put_execute(struct rig *r, const char *portal, int32_t max_rows);

/* Opens and starts a session. */
void rig_start(struct rig *r, const struct rig_limits *limits);

#endif
