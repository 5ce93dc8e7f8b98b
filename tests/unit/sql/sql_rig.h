/*
 * sql_rig.h - SQL text in, results as text out, over the fake store (tests).
 */
#ifndef VALENCE_TESTS_SQL_RIG_H
#define VALENCE_TESTS_SQL_RIG_H

#include "base/buf.h"
#include "engine/sql/sql.h"
#include "sql/fake_access.h"

struct sql_rig {
	struct mem mem;
	struct engine *engine;
	struct sql_session *session;
	struct buf out;         /* of the last call, NUL-terminated */
	struct buf notices;
	uint32_t full_one_of;   /* the client is full at random: one of n questions */
	struct rng *rng;
	uint64_t waits, agains;
};

void rig_init(struct sql_rig *r);
void rig_fini(struct sql_rig *r);
/*
 * A simple query as the protocol runs it: every statement, then Sync. Each statement gives its rows ("a|b\n", null: \N) and
 * its tag ("SELECT 2\n"), or "SQLSTATE: message (detail) (context)\n" and the rest is left out.
 */
const char *rig_query(struct sql_rig *r, const char *text);
/* Extended: prepare, bind with text parameters (NULL: null), run in pieces of max_rows (0: all). */
const char *rig_prepared(struct sql_rig *r, const char *text, uint32_t count, const char *const *params, uint64_t max_rows);
/* COPY FROM STDIN with data in pieces of piece bytes. */
const char *rig_copy(struct sql_rig *r, const char *text, const char *data, size_t bytes, size_t piece);

#endif
