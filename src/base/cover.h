/*
 * cover.h - coverage points: proof that a rare path ran (base).
 *
 * COVER(NAME) counts one visit: an increment of one word, so it may stay in production paths that are not the hottest.
 * The simulator prints the counts and fails a long run in which a wanted point (1 in the table) was never visited; the
 * others are rarer than that. A new point is a line in the table below and COVER(NAME) where it happens. The counts are
 * the thread's: engines that share a process do not count together.
 */
#ifndef VALENCE_BASE_COVER_H
#define VALENCE_BASE_COVER_H

#include <stdint.h>

#define COVER_TABLE(X)                                                                  \
	X(PROMOTION, 1, "an atom's originator was promoted by a removal")                      \
	X(STATEMENT_RESTART, 1, "READ COMMITTED ran a statement anew")                         \
	X(FIRST_UPDATER_WINS, 1, "REPEATABLE READ lost against an earlier updater")            \
	X(VOID_GRANTOR, 1, "a commit was void: a grantor was removed")                         \
	X(VOID_SENDER, 1, "a record was void: its sender was removed")                         \
	X(VOID_EPOCH, 1, "a structural record came too late")                                  \
	X(VOID_NAME, 1, "a commit was void: its transaction was committed before")             \
	X(EARLY_ANSWER, 1, "a commit was answered before it was decided")                     \
	X(EARLY_RECEIVED, 1, "a commit was answered when a majority of voters had received it") \
	X(EARLY_LOST, 1, "a commit that was answered early came to nothing")                  \
	X(DUPLICATE, 1, "a record came to the leader twice, and was taken once")               \
	X(RESUBMIT, 1, "submissions were sent again")                                          \
	X(FETCH_REPLAY, 1, "a fetched copy had records replayed on it")                        \
	X(FETCH_FUTURE, 1, "a fetched copy was ahead of its engine")                           \
	X(FETCH_NOT_HERE, 1, "a fetch was answered: not here")                                 \
	X(FETCH_PAUSED, 1, "a fetch waited for the record that apply had paused in")           \
	X(FETCH_STALLED, 0, "a fetch had some pieces, and no more came")                       \
	X(LENT_TAKEN_BACK, 0, "nobody said anything of a lent image, and it was taken back")   \
	X(LEND_SLOW, 0, "pieces of an image came through slowly")                              \
	X(LEND_MEMORY, 0, "an image was lent to be read by its requester")                     \
	X(FETCH_READ, 0, "an image was read from another engine's memory")                     \
	X(FETCH_READ_FAILED, 0, "reading an image failed")                                     \
	X(SPLIT_DATA, 1, "a data atom was split")                                              \
	X(SPLIT_INDEX, 1, "an index leaf was split")                                           \
	X(SPLIT_CATALOG, 1, "a catalog leaf was split")                                        \
	X(MOVE, 1, "an originator moved to its writer")                                        \
	X(PARTS, 1, "a commit had parts")                                                      \
	X(CATCHUP, 1, "the log was read from the journal for one behind every window")        \
	X(PARTS_PULLED, 1, "apply waited for parts that were not there")                       \
	X(PAYLOAD_PRUNED, 1, "a batch was sent without payloads that nobody there wanted")        \
	X(PAYLOADS_PULLED, 1, "apply waited for a payload that was not sent")                  \
	X(REPLAY_PULLED, 1, "a fetched copy waited for payloads that were not sent")           \
	X(PULL_LEADER, 1, "a payload came from whoever leads, asked without a name")              \
	X(PULL_NOT_HERE, 1, "a payload was asked of somebody who had not got it")              \
	X(PULL_LATER, 0, "a payload was asked of an archive that had read enough for now")        \
	X(APPLY_PAUSED, 1, "apply of one record took more than one turn")                      \
	X(LEADER_CHANGE, 1, "an engine began to lead")                                         \
	X(LEADER_EARLY, 1, "records came to a new leader before it could take any")             \
	X(REJOIN, 1, "a removed engine joined again")                                          \
	X(REMOVED, 1, "an engine was removed from the membership")                             \
	X(STATE_SENT, 0, "an archive lent its whole state to another one")                     \
	X(STATE_TAKEN, 0, "an archive took the whole state from another one")                  \
	X(STATE_RESUMED, 0, "an image of a state that was taken was on the disk already")      \
	X(DEADLOCK_VICTIM, 1, "a deadlock was ended")                                          \
	X(GRANT_WAIT, 1, "a grant had to wait")                                                \
	X(GRANT_REMOTE, 1, "a grant came from another engine")                                 \
	X(GRANT_INHERITED, 1, "a row was granted before its last change was decided")              \
	X(SERIAL_CONFLICT, 1, "what a SERIALIZABLE transaction read had changed, or was about to") \
	X(SERIAL_WAIT, 1, "a SERIALIZABLE commit waited for a reader's end")                    \
	X(SERIAL_NEW_ATOMS, 0, "atoms made since a table was read were certified as well")       \
	X(INTENT_DRAIN, 1, "an intent waited for older uses of a relation")                    \
	X(CHECKPOINT, 1, "a checkpoint was completed")                                         \
	X(CHECKPOINT_RESTART, 1, "an archive started from a checkpoint")                       \
	X(JOURNAL_RESTART, 1, "an archive started from its journal alone")                     \
	X(TORN_WRITE, 1, "a crash tore a write")                                               \
	X(SEQUENCE_REMOTE, 1, "a sequence's value came from another engine")                   \
	X(SEQUENCE_RESERVE, 1, "a range of a sequence was reserved")                           \
	X(DOUBT_DECIDED, 1, "a removed engine learnt what became of its commit")               \
	X(UNKNOWN_OUTCOME, 0, "a client was told that an outcome is unknown")                  \
	X(WRITE_REFUSED, 0, "a write was refused: no sign of the voters")                      \
	X(STALE_REFUSED, 1, "a statement was refused: no sign of the voters")                  \
	X(MCAST_TRUSTED, 1, "a parent was asked to stop streaming: the log comes by datagrams") \
	X(MCAST_REPAIRED, 1, "a batch that no datagram brought came over the tree")            \
	X(MCAST_GIVEN_UP, 1, "the stream was taken up again: datagrams lost too much")         \
	X(SAVEPOINT_UNDONE, 1, "a savepoint took back writes")                                 \
	X(SESSION_EARLY, 0, "a message between two engines overtook another")                  \
	X(VOTERS_BOTH, 0, "two voters dialled each other at once")                              \
	X(VOTERS_REPLACED, 1, "a link between voters that one side had lost was replaced")     \
	X(DIRECT_OPEN, 1, "a direct link was opened")                                          \
	X(DIRECT_LOST, 1, "a direct link broke")                                               \
	X(DIRECT_BOTH, 0, "two engines dialled each other for a direct link")                  \
	X(DIRECT_COLDEST, 0, "the coldest direct link made room for another")

enum cover_point {
#define X(name, wanted, text) COVER_##name,
	COVER_TABLE(X)
#undef X
	COVER_COUNT
};

extern _Thread_local uint64_t cover_counts[COVER_COUNT];
const char *cover_name(enum cover_point point); /* "PROMOTION" */
const char *cover_text(enum cover_point point);
int cover_wanted(enum cover_point point);

#define COVER(name) ((void)cover_counts[COVER_##name]++)
#define COVER_IF(condition, name) ((void)((condition) && cover_counts[COVER_##name]++))

#endif
