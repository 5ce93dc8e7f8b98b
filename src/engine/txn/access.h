/*
 * access.h - how statements reach data: transactions, snapshots, reads, writes, locks, definitions
 * (engine/txn). SQL is one client of this interface; it knows values and row ids, not SQL.
 *
 * One struct access per session. Every call that needs what is not here yet (an atom, a grant, a reserved
 * range, the log) starts getting it and returns ST_WAIT, having changed nothing visible; the session gives up
 * the loop and calls again with the same arguments after its wake function was called. Waking is a hint:
 * called again too early, a call answers ST_WAIT again. No call blocks. Nothing returned points into an
 * image beyond the end of the event-loop turn (S15).
 *
 * A transaction's own writes are an overlay on its snapshot until it commits (design section 4); reads
 * through this interface see them. Statement restart: when a lock shows that a row changed after the
 * snapshot, READ COMMITTED gets ST_AGAIN: the caller abandons what the statement did
 * (access_statement_restart), and runs it anew on the newer snapshot that call takes, keeping its locks; nothing
 * was sent to the client before that. REPEATABLE READ gets ST_SERIALIZATION instead (first updater wins, P9), and so does
 * SERIALIZABLE, which notes what it reads besides: access_commit() confirms it when there is something to commit (P12).
 */
#ifndef VALENCE_ENGINE_TXN_ACCESS_H
#define VALENCE_ENGINE_TXN_ACCESS_H

#include "atoms/vec.h"
#include "base/ids.h"
#include "base/mem.h"
#include "base/status.h"
#include "catalog/schema.h"

struct engine;
struct access;

enum isolation { ISOLATION_READ_COMMITTED, ISOLATION_REPEATABLE_READ, ISOLATION_SERIALIZABLE };
enum commit_level { COMMIT_ARCHIVE, COMMIT_MEMORY, COMMIT_LOCAL };
enum row_lock { ROW_LOCK_KEY_SHARE, ROW_LOCK_SHARE, ROW_LOCK_NO_KEY_UPDATE, ROW_LOCK_UPDATE };

/* wake: the session may run again. Called from the loop, never from inside an access call. */
struct access *access_new(struct engine *e, void (*wake)(void *ctx), void *ctx);
void access_free(struct access *a); /* rolls back what is open */

/* -- transactions ------------------------------------------------------------------------------ */

/* Starts one; ASSERTs that none is open. */
void access_begin(struct access *a, enum isolation iso, bool read_only);
bool access_in_transaction(const struct access *a);
void access_set_isolation(struct access *a, enum isolation iso); /* before the first statement only */
void access_set_read_only(struct access *a, bool read_only);
/*
 * Before each statement: takes the snapshot (READ COMMITTED: anew; REPEATABLE READ: the first time), with the
 * session's own earlier commits in it, and marks where a failed statement is undone to. ST_WAIT; ST_NO_VOTERS (P26),
 * ST_SERIALIZATION (this engine was removed from the cluster since the transaction began, P24).
 */
MUST_CHECK enum status access_statement_begin(struct access *a, struct error *err);
/*
 * Before it begins: nothing is told of this statement before the commit of its transaction is decided (it answers no rows,
 * and commits by itself), so it may build on changes of transactions of this engine that are submitted and not decided.
 */
void access_statement_inherits(struct access *a, bool may);
void access_statement_see_own(struct access *a); /* what it wrote so far is seen by its reads from here on */
void access_statement_end(struct access *a);     /* it succeeded: its writes stay */
void access_statement_abort(struct access *a);   /* its writes go; locks stay until the end */
MUST_CHECK enum status access_statement_restart(struct access *a, struct error *err); /* ST_WAIT */
/*
 * ST_WAIT until the own commit record is applied here and the commit level is met; then ST_OK (index_out: its
 * place, 0 nothing to commit) or an error: nothing of the transaction happened, but ST_OUTCOME_UNKNOWN. The
 * transaction is over after anything but ST_WAIT. ST_ALREADY_COMMITTED: nothing of it happened either, as another one under its
 * name was committed before, at index_out.
 */
MUST_CHECK enum status access_commit(struct access *a, seq_index *index_out, struct error *err);
void access_rollback(struct access *a);
seq_index access_last_commit(const struct access *a); /* of this session's commits, the newest that is known; 0: none */
/*
 * What the application calls the open transaction (ADR 13). It then leaves a record when it commits, also when it wrote nothing,
 * so that the name is taken. @since: see struct record. ST_INTERNAL.
 */
MUST_CHECK enum status access_name(struct access *a, const char *name, seq_index since);
/*
 * Index of the commit under this name; 0: there is none, as of an index that has all that anybody was told of before the call
 * (@within_statement: before the statement) at commit level archive. ST_WAIT, ST_NO_VOTERS, ST_NOT_MEMBER, ST_INTERNAL.
 */
MUST_CHECK enum status access_named(struct access *a, const char *name, bool within_statement, seq_index *index_out,
				    struct error *err);
/* Savepoints by number, 1 the first; rollback_to keeps n, release and rollback_to forget those above. */
uint32_t access_savepoint(struct access *a);
void access_rollback_to(struct access *a, uint32_t n);
void access_release(struct access *a, uint32_t n);
seq_index access_snapshot(const struct access *a);
/* Is the next statement's snapshot @index or later? What was built as of then has nothing for an older one. */
bool access_snapshot_reaches(const struct access *a, seq_index index);
/*
 * When a commit is answered (P3): of the transactions that end from now on. What is answered early is not durable yet, and may even
 * come to nothing: access_early_lost() tells, once, with the reason. Each later statement of the session waits until it is
 * decided. Definitions and named transactions are always answered as at COMMIT_ARCHIVE.
 */
void access_set_commit_level(struct access *a, enum commit_level level);
bool access_early_lost(struct access *a, struct error *err_out);
void access_set_read_latest(struct access *a, bool latest); /* valence.read_consistency */
uint64_t access_transaction_time_us(const struct access *a); /* wall clock at begin, for now() */
uint64_t access_wall_us(const struct access *a);            /* may jump: for what is shown, never for limits */
uint64_t access_now_us(const struct access *a);             /* monotonic, since an arbitrary start */
bool access_waits_for_lock(const struct access *a); /* the last ST_WAIT was for another transaction's lock */
void access_cancel(struct access *a); /* pending and later calls of this statement answer ST_CANCELED until statement_end/abort */

/* -- definitions -------------------------------------------------------------------------------- */

/* By name as of the newest state plus own DDL. Lends until the transaction ends. ST_UNDEFINED_TABLE, ST_WAIT. */
MUST_CHECK enum status access_relation(struct access *a, const char *schema, const char *name,
				       struct relation_def *out);
MUST_CHECK enum status access_relation_by_id(struct access *a, rel_id id, struct relation_def *out);
/* Names the use of a relation by this transaction, before reading or writing it: waits while an intent of
 * someone else's DDL conflicts (P13). write: it will be written. */
MUST_CHECK enum status access_use(struct access *a, rel_id id, bool write, struct error *err);
/* All relations in order of id, after @after; for the system catalogs. ST_END. */
MUST_CHECK enum status access_relation_next(struct access *a, rel_id after, struct relation_def *out, rel_id *id_out);
/* Rises whenever any definition changes: cached plans compare it (own DDL counts). */
uint64_t access_schema_version(const struct access *a);

/* -- DDL: part of the transaction ------------------------------------------------------------------ */

rel_id access_new_rel_id(struct access *a); /* for relations and storages; never used before */
/* Exclusive use of a relation by this transaction until it ends (intent and drain, P13). ST_WAIT, ST_DEADLOCK. */
MUST_CHECK enum status access_lock_relation(struct access *a, rel_id id, struct error *err);
/*
 * Put a definition (new or changed). New names are unique keys of the schema catalog: ST_WAIT, ST_DUPLICATE_TABLE.
 * New storages get their first record leaf entry or index leaf with the commit; storages no longer referenced
 * are destroyed with it. The definition is copied. The caller has the relation locked unless it is new.
 */
MUST_CHECK enum status access_put_table(struct access *a, const struct table_def *t, struct error *err);
MUST_CHECK enum status access_put_sequence(struct access *a, const struct sequence_def *s, struct error *err);
MUST_CHECK enum status access_drop_relation(struct access *a, rel_id id, struct error *err);

/* -- reading --------------------------------------------------------------------------------------- */

struct access_want { uint16_t attno; uint8_t phys; const struct cell *missing; }; /* as struct col_want */

/* A position in a scan of a table in order of row id; zero-initialise. Survives waits. */
struct access_scan { row_id next; uint32_t overlay_at; uint8_t stage; uint32_t ahead; atom_id missed; };
/*
 * The next vector: up to VEC_ROWS slots; out[i] and row_ids_out have an element per slot, sel_out lists the
 * *sel_count_out slots that are live (own writes included). ST_OK (maybe with no live slot), ST_END, ST_WAIT,
 * ST_SNAPSHOT_TOO_OLD.
 */
MUST_CHECK enum status access_scan_next(struct access *a, const struct table_def *t, struct access_scan *scan,
					const struct access_want *want, uint32_t want_count, struct arena *arena,
					struct vec *out, row_id *row_ids_out, uint16_t *sel_out,
					uint32_t *sel_count_out, uint32_t *slots_out, struct error *err);
/* Rows by id: fills out as vectors with count elements, live_out[i] whether the row is there. */
MUST_CHECK enum status access_rows_get(struct access *a, const struct table_def *t, const row_id *rows, uint32_t count,
				       const struct access_want *want, uint32_t want_count, struct arena *arena,
				       struct vec *out, bool *live_out, struct error *err);
/* One row, the fast path. cells_out lend until the turn's end. */
MUST_CHECK enum status access_row_get(struct access *a, const struct table_def *t, row_id row,
				      const struct access_want *want, uint32_t want_count, struct cell *cells_out,
				      bool *live_out, struct error *err);

/*
 * A range of an index in key order. Keys are memcmp-ordered encodings of the index's columns (sql/key.h); entries of
 * non-unique indexes, and of unique ones with a null in them, end in the row id (8 bytes big-endian), which key
 * prefixes simply do not name. lo inclusive, hi exclusive; hi_len 0: to the end. Zero the rest; survives waits.
 */
struct access_index_scan {
	const uint8_t *lo, *hi;
	uint32_t lo_len, hi_len;
	bool backward;
	bool started, done;
	bool at_bound;        /* last is where the next leaf begins, not returned yet */
	uint8_t last[2016];   /* the last key returned */
	uint32_t last_len;
};
/* Up to max entries: row ids, and keys (in arena) where keys_out is not NULL. Own writes included. Rows may since
 * be gone: read them with access_rows_get and check. *count_out 0 with ST_END. */
MUST_CHECK enum status access_index_next(struct access *a, const struct table_def *t, const struct index_def *ix,
					 struct access_index_scan *scan, uint32_t max, struct arena *arena,
					 row_id *row_ids_out, struct slice *keys_out, uint32_t *count_out,
					 struct error *err);
/* Unique index, whole key: at most one row. *row_out 0: none. The fast path of point reads. */
MUST_CHECK enum status access_index_get(struct access *a, const struct table_def *t, const struct index_def *ix,
					const void *key, uint32_t key_len, row_id *row_out, struct error *err);
/* A rough count of rows and of atoms of a table, for planning; never waits (0 when unknown). */
void access_estimate(struct access *a, const struct table_def *t, uint64_t *rows_out, uint64_t *atoms_out);

/* -- writing: resolve (may wait), then put (never waits) ----------------------------------------------- */

/*
 * Grants on rows to change. ST_OK: all are ours and unchanged since the snapshot (or changed by us). ST_AGAIN,
 * ST_SERIALIZATION: see above. ST_WAIT, ST_DEADLOCK, ST_CANCELED, ST_LOCK_NOT_AVAILABLE (nowait).
 */
MUST_CHECK enum status access_lock_rows(struct access *a, const struct table_def *t, const row_id *rows,
					uint32_t count, enum row_lock mode, bool nowait, struct error *err);
/*
 * Grants on keys of a unique index that will be added (or removed). taken_out[i]: the row that has the key, own writes
 * and everything committed considered; 0 none. @adds tells whether the row's own current holder matters.
 */
MUST_CHECK enum status access_lock_keys(struct access *a, const struct table_def *t, const struct index_def *ix,
					const struct slice *keys, uint32_t count, row_id *taken_out,
					struct error *err);
struct access_key { const struct index_def *index; struct slice key; }; /* without the row id suffix */
/* Adds a row and its index entries to the overlay. cells: every column of the definition. Copies. Keys of unique
 * indexes without nulls were locked; a key with a null is marked by @nullable bit i of null_keys. */
void access_put_insert(struct access *a, const struct table_def *t, const struct cell *cells,
		       uint32_t cell_count, const struct access_key *keys, uint32_t key_count,
		       uint64_t null_keys, row_id *row_out);
/* Changes columns of a locked row; keys that differ are removed and added. */
void access_put_update(struct access *a, const struct table_def *t, row_id row, const struct cell *cells,
		       uint32_t cell_count, const struct access_key *removed, uint64_t removed_null_keys,
		       const struct access_key *added, uint64_t added_null_keys, uint32_t removed_count,
		       uint32_t added_count);
void access_put_delete(struct access *a, const struct table_def *t, row_id row,
		       const struct access_key *removed, uint32_t removed_count, uint64_t removed_null_keys);
/* Entries of an index that is being built from a scan: keys without the row id suffix; has_null[i]: the key has a null
 * in it. sorted: in key order. The relation is locked. */
void access_put_index_entries(struct access *a, const struct table_def *t, const struct index_def *ix,
			      const struct slice *keys, const row_id *rows, const bool *has_null, uint32_t count,
			      bool sorted);
/* After some puts: sends parts ahead when the overlay is large, asks for row ranges. ST_WAIT: do not put more yet. */
MUST_CHECK enum status access_flow(struct access *a, struct error *err);

/* -- advisory locks -------------------------------------------------------------------------------------- */

/* A name as programs agree on it. space: 1 one number, 2 two of half the size; zeroes where nothing is. */
#define ADVISORY_MARK 'A'
struct advisory_name { char mark; uint8_t space, pad[6]; int64_t number; };
/*
 * session: until it is unlocked as often, or the session ends; else until the transaction does, whatever is rolled back to
 * a savepoint. ST_WAIT, ST_DEADLOCK, ST_LOCK_NOT_AVAILABLE (nowait).
 */
MUST_CHECK enum status access_advisory_lock(struct access *a, const struct advisory_name *name, bool session, bool shared,
					    bool nowait, struct error *err);
bool access_advisory_unlock(struct access *a, const struct advisory_name *name, bool shared); /* false: not locked so */
void access_advisory_unlock_all(struct access *a); /* the session's, not the transaction's */

/* -- sequences --------------------------------------------------------------------------------------- */

/* n values, all or none. ST_WAIT, ST_SEQUENCE_LIMIT. */
MUST_CHECK enum status access_sequence_next(struct access *a, rel_id seq, uint32_t n, int64_t *values_out,
					    struct error *err);
MUST_CHECK enum status access_sequence_set(struct access *a, rel_id seq, int64_t value, bool is_called,
					   struct error *err);

/* -- this engine's sessions, for pg_stat_activity -------------------------------------------------------- */

/* What its user calls the session: lent until access_free(). */
void access_publish(struct access *a, const void *session);
/* The n-th session of this engine, from 0, in order of creation; NULL: no more, or one that is not published. */
const void *access_session_at(const struct access *a, uint64_t n);
uint64_t access_session_count(const struct access *a);
enum access_lock_kind { ACCESS_LOCK_RELATION, ACCESS_LOCK_ROW, ACCESS_LOCK_KEY, ACCESS_LOCK_ADVISORY };
enum { ACCESS_RELATION_SHARE, ACCESS_RELATION_EXCLUSIVE }; /* mode of a relation; else enum row_lock */
struct access_lock {
	uint8_t kind, mode;
	bool granted;
	rel_id storage;           /* of the table or index; a relation itself */
	row_id row;
	uint64_t key_hash;
	struct advisory_name name;
	engine_id engine;         /* whose transaction has it or waits for it */
	txn_id txn;
	const void *session;      /* as published, of this engine's; NULL: another's, or none */
};
/* What is held and waited for, as this engine knows it: what it grants, and relations its own transactions use. In arena. */
const struct access_lock *access_locks(struct access *a, struct arena *arena, uint64_t *count_out);
/* Those that the session waits for here; NULL among them: sessions of other engines. At most max. */
uint32_t access_blockers(struct access *a, const void *session, const void **out, uint32_t max);
/* What it waits for, in PostgreSQL's words where it has them; NULL: for nothing. */
const char *access_wait_event(const struct access *a, const char **type_out);

/* -- the cluster, for valence.* functions and views ----------------------------------------------------- */

seq_index access_applied_index(const struct access *a);
MUST_CHECK enum status access_wait_applied(struct access *a, seq_index index); /* ST_WAIT until applied */
/*
 * Rows of a view of the contract, as text-free cells; the SQL layer names and types the columns. view: "engines",
 * "atoms", "holders", "log", "failovers", "metrics", "tree", "voters". Row @at (from 0); ST_END. cells live in arena. See views.h.
 */
MUST_CHECK enum status access_view_row(struct access *a, const char *view, uint64_t at, struct arena *arena,
				       struct cell *cells_out, uint32_t cell_count);
MUST_CHECK enum status access_atom_hash(struct access *a, atom_id atom, seq_index *applied_out, uint64_t *crc_out,
					struct error *err);
/*
 * valence.remove_voter(): ends the vote of an archive that failed for good, and returns when that is committed. ST_WAIT; ST_STATE: not
 * on this engine, or its archive is there, or no majority would be left; ST_BAD_PARAMETER: no such voter.
 */
MUST_CHECK enum status access_remove_voter(struct access *a, uint64_t voter, struct error *err);
/* valence.check_atoms(): orders an audit, then one disagreement per call until ST_END. ST_WAIT. */
struct access_audit { uint64_t state[4]; };
MUST_CHECK enum status access_check_atoms(struct access *a, seq_index at_least, struct access_audit *audit,
					  atom_id *atom_out, engine_id *engine_out, uint64_t *crc_out,
					  uint64_t *expected_out, struct error *err);

#endif
