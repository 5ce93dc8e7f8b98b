/*
 * fake_sql.h - a stand-in for engine/sql that does what the statement's text says (tests).
 *
 *   rows N      N rows (id integer, name text); every fifth name is null. In vectors of 100
 *   types       one row of the types with ways of their own
 *   big N       one row with a text of N bytes
 *   param       takes one integer, returns it
 *   begin, commit, rollback, set
 *   fail        an error with every field, in its step
 *   bad         does not parse
 *   wait        gives up until woken; slow: the same, when prepared
 *   spin N      out of budget N times
 *   notice      a notice, and a changed setting
 *   unsure      its transaction cannot commit
 *   copy in, copy out N, copy fail (refuses its first data)
 *   none        no columns, but rows
 */
#ifndef VALENCE_TESTS_FAKE_SQL_H
#define VALENCE_TESTS_FAKE_SQL_H

#include "names.h"

#include "engine/sql/sql.h"

struct raw_stmt { const char *text; };

struct fake_world {
	uint32_t sessions;           /* open now */
	struct sql_session *last;
	char copied[4096];           /* what COPY took */
	size_t copied_bytes;
	size_t copy_step;            /* sql_copy_data takes at most this much, then waits; 0: all */
	enum status idle_expired;    /* what an idle session is told when it asks */
	uint32_t steps;              /* calls of sql_portal_step */
};
extern struct fake_world fake;

void fake_reset(void);
void fake_wake(struct sql_session *s); /* what it waited for is there */
void fake_deadline(struct sql_session *s, uint64_t us);

#endif
