/*
 * cover.h - coverage points: proof that a rare path ran (base).
 *
 * COVER(NAME) counts one visit: an increment of one word, so it may stay in production paths that are not the hottest.
 * The simulator prints the counts and fails a long run in which a point was never visited. A new point is a line
 * in the table below and COVER(NAME) where it happens. The counts are the process's, for one thread at a time.
 */
#ifndef VALENCE_BASE_COVER_H
#define VALENCE_BASE_COVER_H

#include <stdint.h>

#define COVER_TABLE(X)                                                              \
	X(PROMOTION, "an atom's originator was promoted by a removal")              \
	X(STATEMENT_RESTART, "READ COMMITTED ran a statement anew")                 \
	X(FIRST_UPDATER_WINS, "REPEATABLE READ lost against an earlier updater")    \
	X(VOID_GRANTOR, "a commit was void: a grantor was removed")                 \
	X(VOID_SENDER, "a record was void: its sender was removed")                 \
	X(VOID_EPOCH, "a structural record came too late")                          \
	X(DUPLICATE, "a record came twice and had no effect the second time")       \
	X(RESUBMIT, "submissions were sent again")                                  \
	X(FETCH_REPLAY, "a fetched copy had records replayed on it")                \
	X(FETCH_FUTURE, "a fetched copy was ahead of its engine")                   \
	X(FETCH_NOT_HERE, "a fetch was answered: not here")                         \
	X(SPLIT_DATA, "a data atom was split")                                      \
	X(SPLIT_INDEX, "an index leaf was split")                                   \
	X(SPLIT_CATALOG, "a catalog leaf was split")                                \
	X(MOVE, "an originator moved to its writer")                                \
	X(PARTS, "a commit had parts")                                              \
	X(PARTS_PULLED, "apply waited for parts that were not there")               \
	X(APPLY_PAUSED, "apply of one record took more than one turn")              \
	X(LEADER_CHANGE, "an engine began to lead")                                 \
	X(REJOIN, "a removed engine joined again")                                  \
	X(REMOVED, "an engine was removed from the membership")                     \
	X(DEADLOCK_VICTIM, "a deadlock was ended")                                  \
	X(GRANT_WAIT, "a grant had to wait")                                        \
	X(GRANT_REMOTE, "a grant came from another engine")                         \
	X(INTENT_DRAIN, "an intent waited for older uses of a relation")            \
	X(CHECKPOINT, "a checkpoint was completed")                                 \
	X(CHECKPOINT_RESTART, "an archive started from a checkpoint")               \
	X(JOURNAL_RESTART, "an archive started from its journal alone")             \
	X(TORN_WRITE, "a crash tore a write")                                       \
	X(SEQUENCE_REMOTE, "a sequence's value came from another engine")           \
	X(SEQUENCE_RESERVE, "a range of a sequence was reserved")                   \
	X(UNKNOWN_OUTCOME, "a client was told that an outcome is unknown")          \
	X(STALE_REFUSED, "a statement was refused: no sign of the voters")          \
	X(SAVEPOINT_UNDONE, "a savepoint took back writes")

enum cover_point {
#define X(name, text) COVER_##name,
	COVER_TABLE(X)
#undef X
	COVER_COUNT
};

extern uint64_t cover_counts[COVER_COUNT];
const char *cover_name(enum cover_point point); /* "PROMOTION" */
const char *cover_text(enum cover_point point);

#define COVER(name) ((void)cover_counts[COVER_##name]++)
#define COVER_IF(condition, name) ((void)((condition) && cover_counts[COVER_##name]++))

#endif
