/*
 * txn_int.h - shared by the files of the transaction manager (engine/txn).
 */
#ifndef VALENCE_ENGINE_TXN_TXN_INT_H
#define VALENCE_ENGINE_TXN_TXN_INT_H

#include "base/assert.h"
#include "base/list.h"
#include "base/map.h"
#include "engine/txn/lock.h"
#include "engine/txn/msg.h"
#include "engine/txn/overlay.h"
#include "engine/txn/ranges.h"
#include "engine/txn/txns.h"

/* What a session waits for: a hint for waking it; waking too often is harmless. */
enum wait_kind {
	WAIT_NONE, WAIT_APPLIED, WAIT_SUBMISSION, WAIT_ATOM, WAIT_LOCK, WAIT_SEQUENCE, WAIT_INTENT, WAIT_SLOTS,
	WAIT_MEMBER, WAIT_LATEST, WAIT_AUDIT, WAIT_FLOW, WAIT_KINDS
};
#define WAIT_BUCKETS 64 /* of those who wait, per kind, by what they wait for */

/* A record on its way (P4). Kept until it is seen in the log. */
struct submission {
	struct list all;          /* txns.submissions, by seq */
	uint64_t seq;
	uint8_t kind;
	txn_id txn;
	seq_index plan;
	uint8_t *bytes;
	uint32_t size;
	bool sent, left;          /* left: it was sent once, and may be on its way */
	bool tell;                /* its session waits for a majority of voters to have received it (P3) */
	void (*done)(struct txns *t, struct submission *s, enum verdict v, enum void_cause cause, seq_index index);
	void *ctx;
	uint64_t arg;
	/* Removed, and not by the log's word: what became of it is found out. NULL: it is over, with the verdict void. */
	void (*in_doubt)(struct txns *t, engine_id was, struct submission *s);
};

enum txn_state { TXN_ACTIVE, TXN_ENCODING, TXN_SUBMITTED, TXN_DONE };

struct ddl_change {               /* own definitions, newest last */
	rel_id id;
	enum rel_kind kind;
	uint32_t savepoint_mark;
	bool dropped, is_new;
	const struct table_def *table;
	const struct sequence_def *sequence;
	struct sequence_state *state; /* of a new sequence: counted here until it is committed */
	/* what the catalog had before this transaction; NULL: new */
	const struct table_def *old_table;
	const struct sequence_def *old_sequence;
};

struct inheritance { txn_id of; bool decided; const struct record *header; }; /* a row came from it before it was decided */
struct inherited_row { rel_id table, storage; row_id row; struct cell *cells; uint32_t cell_count; }; /* with what it set */

struct txn {
	struct list all;          /* txns.txns */
	txn_id id;
	struct access *a;
	engine_id self;           /* the id under which it runs: an incarnation */
	enum isolation iso;
	bool read_only, has_snapshot, wrote;
	enum txn_state state;
	seq_index snapshot;
	seq_index grant_need;     /* applied index when it got its first grant; 0 none (P19) */
	uint64_t begun_us, begun_wall_us;
	uint32_t attempt, stmt, parts_sent;
	bool victim;              /* a deadlock ends here */
	bool stale;               /* its snapshot was given up for room (S7) */
	bool doomed;              /* an engine that granted to it is gone (P11) */
	bool received;            /* its commit record, by a majority of voters */
	bool answered_early;
	struct access *early;     /* its client was answered already; NULL: not, or its session is gone */
	bool named;               /* by the application: name, name_since as in struct record */
	uint8_t name[RECORD_NAME_BYTES];
	seq_index name_since;
	bool abandoned;           /* a request to a peer was given up before its answer came */
	struct arena arena;       /* its own */
	struct overlay overlay;
	struct bmap held;         /* lock key -> struct held_lock: what it was granted */
	VEC(engine_id) grantors;  /* others than self, sorted, no duplicates */
	VEC(engine_id) asked;     /* engines that may have locks or queued requests of it */
	VEC(rel_id) used;         /* relations it read or wrote (P13) */
	VEC(rel_id) intents;      /* relations it locked */
	VEC(struct ddl_change) ddl;
	VEC(rel_id) pre_created;  /* storages whose atoms it made ahead */
	uint32_t ddl_version;
	bool pre_creating;
	uint64_t use_wait_us;     /* since when it waits for a relation; 0 not */
	const struct record *sent; /* it passes its locks on: the header of its record */
	bool passed_on;           /* somebody has one */
	bool inherited_fresh;     /* it inherited a row, and its statement has not run anew since */
	VEC(struct inheritance) inherits;
	VEC(struct inherited_row) inherited_rows;
	struct grant_call *call;  /* under way; one at a time */
	struct commit_work *commit;
	struct intent_call *intent;
	struct range_set *reads;  /* SERIALIZABLE: what it read, whatever was rolled back since; NULL: nothing yet */
	struct validation *validation;
};

struct savepoint { uint32_t overlay_mark; uint32_t ddl_count; };

struct access {
	struct list all;          /* txns.accesses */
	struct txns *t;
	void (*wake)(void *ctx);
	void *ctx;
	const void *session;      /* access_publish() */
	enum wait_kind wait;
	uint64_t wait_id;
	struct list waiting;      /* in one of txns.waiting while it waits */
	struct list advisory;     /* struct advisory.all */
	struct list later;        /* in txns.later: to be woken in the next turn */
	bool canceled, latest, row_too_large; /* row_too_large: this statement put one that no record could take */
	bool may_inherit;         /* its statement may have rows of transactions that are not decided yet */
	struct txn *txn;
	uint32_t stmt_mark;       /* overlay mark at the statement's beginning */
	uint32_t stmt_ddl;
	VEC(struct savepoint) savepoints;
	seq_index last_commit;    /* own latest: later snapshots are not older */
	seq_index need_applied;   /* restart: wait for it */
	seq_index free_as_of;     /* keys that it was granted are free as of here: the next snapshot shows who left them gone (P9) */
	struct schema_cache *schema; /* generation lent to the open transaction */
	VEC(struct schema_cache *) lent; /* older ones, lent before */
	struct arena turn;        /* scratch */
	uint64_t removing_voter; /* access_remove_voter() */
	uint64_t latest_request;
	seq_index latest_index;
	enum commit_level level;
	struct txn *early;        /* answered before it was decided: the next statement waits for it (P3) */
	bool early_lost;          /* one was not committed, and the session has not been told */
	struct error early_error;
	txn_id confirmed_txn;     /* in this statement of it a name was looked up as of an index that the leader confirmed */
	uint32_t confirmed_stmt;
	struct audit *audit;
	struct view_rows *view;
	struct sequence_call *sequence;
};

struct schema_cache {
	uint64_t version;
	uint32_t refs;
	struct arena arena;
	struct map by_id;         /* rel -> struct cached_relation */
	struct bmap by_name;      /* "schema\0name" -> struct cached_relation */
	struct mem *mem;
};

struct drained { seq_index intent; engine_id engine; seq_index applied; };

struct parts_wanted {
	seq_index commit;              /* its index; 0: nothing was ever wanted */
	engine_id engine;
	txn_id txn;
	uint32_t attempt, parts, asks;
	engine_id from;                /* who was asked last */
	seq_index have;                /* newest part that came */
	uint64_t asked_us, since_us;   /* since when none came */
	uint32_t answer_bytes;         /* that came since the last question */
};

struct txns {
	struct mem *mem;
	struct logger *log;
	struct clock clock;
	struct timers *timers;
	struct rng rng;
	const struct txn_host *host;
	const struct replica_events *host_events;
	void *ctx;
	struct replica *rp;
	uint64_t replica_resets, probe_at_us, probe_from;
	struct parts_wanted parts;     /* pulled for the commit that apply stands still before */
	uint32_t probe_round;
	struct bmap probes_seen;
	seq_index removed_at;          /* own removal, applied: what is not seen in the log before it is void */
	size_t undo_limit_bytes;
	engine_id self;
	bool archive, closing;
	uint64_t deadlock_timeout_us, stale_read_limit_us, write_limit_us, resubmit_us;
	uint64_t silence_us;           /* as of the last tick: without a sign of the voters */
	struct list accesses, txns, later;
	struct list waiting[WAIT_KINDS][WAIT_BUCKETS]; /* struct access.waiting */
	txn_id next_txn;
	uint64_t next_rel, next_request;
	struct txns_stats stats;
	/* submissions */
	struct list submissions, doubts; /* doubts: doubt.c */
	uint64_t next_seq;
	uint64_t submit_waits_us;      /* since when the oldest one waits to be seen in the log, or was sent again */
	struct timer resubmit_timer, tick_timer;
	/* modules */
	struct lock_table *locks;
	struct peers *peers;
	struct fetches *fetches;
	struct lends *lends;
	struct slots *slots;
	struct serials *serials;
	struct sequences *sequences;
	struct structures *structures; /* splits and moves */
	struct schema_cache *schema;
	struct map calls;              /* request id -> struct grant_call */
	struct list intent_calls, audits;
	struct list served;            /* grant requests of peers that are being worked off */
	VEC(struct drained) drained;   /* reports about intents, own ones' or not known yet */
	struct list drains;            /* intents whose drain this engine has still to report */
};

#define ENGINE_LEADER_ID (~UINT64_C(0)) /* net/relay: whoever leads */

static inline uint64_t txns_now(const struct txns *t) { return clock_now_us(&t->clock); }
static inline seq_index txns_applied(const struct txns *t) { return replica_applied(t->rp); }

/* access.c */
struct txn *txns_find(struct txns *t, txn_id id); /* of this incarnation, NULL */
void txns_latest_is(struct txns *t, uint64_t request, seq_index index);
void txn_orphan_done(struct txns *t, struct txn *x);
enum status access_wait(struct access *a, enum wait_kind kind, uint64_t id); /* returns ST_WAIT */
void txns_wake(struct txns *t, enum wait_kind kind, uint64_t id); /* id 0: all of the kind */
void txns_wake_all(struct txns *t);
void txns_later(struct txns *t, struct access *a); /* wakes it in the next turn */
void txns_wake_later(struct txns *t);
struct txn *txn_leave(struct access *a); /* the session has none any more; it goes on by itself */
void txn_end(struct access *a); /* frees; locks are gone or going by themselves */
enum status access_check(struct access *a, struct error *err); /* canceled, victim, removed, cut off */
enum status access_check_write(struct access *a, struct error *err); /* the same of what others must agree to */
enum status access_voters_check(struct access *a, struct error *err); /* ST_NO_VOTERS (P26) */
/* ST_OK: applied is an index that the leader confirmed since latest_request was 0. Then set it to 0. */
enum status access_latest_wait(struct access *a);

struct txn *txn_hidden_new(struct access *a); /* an owner of locks that is no transaction */
void txn_hidden_free(struct txns *t, struct txn *x);

/* advisory.c */
void advisory_statement_over(struct access *a);
void advisory_transaction_over(struct access *a);
void advisory_free(struct access *a);
enum status advisory_check(struct access *a, struct error *err); /* ST_SERIALIZATION: some were lost, and are forgotten */
void advisory_grantors(struct access *a, struct txn *x); /* are x's, too */
struct txn *advisory_waiting(const struct access *a); /* the owner for which the session waits; NULL */

/* submit.c */
struct submission *txns_submit(struct txns *t, struct record *r, const struct buf *payload);
void submit_init(struct txns *t);
void submit_fini(struct txns *t);
void submit_applied(struct txns *t, const struct record *r, enum verdict v, enum void_cause cause);
void submit_fail_all(struct txns *t, engine_id was); /* removed, as @was: none of them will be applied, or it is not known */

/* doubt.c */
void doubt_add(struct txns *t, engine_id was, const struct submission *s);
void doubts_tick(struct txns *t);
void doubts_message(struct txns *t, engine_id from, uint8_t type, struct reader *r);
void doubts_fini(struct txns *t);
void commit_doubt_over(struct txns *t, struct txn *x, enum verdict v, seq_index index); /* commit.c; index 0: unknown */
void submit_flush(struct txns *t);
void submit_received(struct txns *t, struct reader *r); /* MSG_RECEIVED */

/* peer.c: reliable ordered sessions */
void peers_init(struct txns *t);
void peers_fini(struct txns *t);
void peer_send(struct txns *t, engine_id to, const struct buf *msg);
void peers_message(struct txns *t, engine_id from, struct reader *r);
void peers_removed(struct txns *t, engine_id who);
void peers_reset(struct txns *t);
void peers_flush(struct txns *t);
void peers_deliver_local(struct txns *t); /* messages to itself */

/* fetch.c */
void fetches_init(struct txns *t);
void fetches_fini(struct txns *t);
void fetch_start(struct txns *t, atom_id atom); /* harmless when here or under way */
void fetches_read(struct txns *t, engine_id from, uint64_t token, const void *data, size_t bytes);
void fetches_message(struct txns *t, engine_id from, uint8_t type, struct reader *r);
void fetches_turn(struct txns *t);
void fetches_removed(struct txns *t, engine_id who);
void fetches_reset(struct txns *t);
void fetches_hold(struct txns *t, atom_id atom); /* ask to be listed */
void fetches_each_storage(const struct txns *t, void *ctx, void (*fn)(void *ctx, rel_id storage));
uint64_t fetches_version(const struct txns *t);  /* of what that gives */
void fetches_payloads_came(struct txns *t);
seq_index fetches_oldest(const struct txns *t);  /* index from which a fetch may have to replay; UINT64_MAX */

/* lend.c: the holder's side */
#define LEND_PIECE_BYTES (64u << 10) /* of the image and its tail, as one row of bytes; the last piece may be shorter */
#define LEND_ENOUGH UINT32_MAX       /* instead of how much is here: it is not wanted any more */
/* How much may be on its way at a time: as much as comes through without waiting. */
struct flow { uint32_t bytes; uint64_t least_us; /* that a piece needed; 0: not known */ };
void flow_init(struct flow *w);
void flow_took(struct flow *w, uint64_t took_us); /* of one piece; one is timed at a time */
void lends_init(struct txns *t);
void lends_fini(struct txns *t);
void lends_message(struct txns *t, engine_id from, uint8_t type, struct reader *r);
void lends_turn(struct txns *t);
void lends_removed(struct txns *t, engine_id who);
void lends_reset(struct txns *t);

/* grant.c */
struct held_lock {               /* what a grant said, in the coordinator */
	engine_id grantor;
	uint8_t mode;
	bool key;
	uint64_t value;           /* row: its newest version; key: the row that has it, 0 none */
	seq_index floor;          /* key: the originator's applied index */
};
struct grant_item { uint8_t key[LOCK_KEY_MAX]; uint32_t key_len; uint8_t mode; };
/* Grants on all items, whoever their originators are; ST_OK when all are in x->held. ST_WAIT, ST_DEADLOCK, … */
enum status grants_acquire(struct access *a, const uint8_t *const *keys, const uint32_t *key_lens, uint32_t count,
			   enum row_lock mode, bool nowait, struct error *err);
void grants_message(struct txns *t, engine_id from, uint8_t type, struct reader *r);
void grants_init(struct txns *t);
void grants_fini(struct txns *t);
void grants_removed(struct txns *t, engine_id who);
void grants_reset(struct txns *t);
void grants_turn(struct txns *t);
void grants_probe(struct txns *t); /* now and then: deadlocks */
void grants_commit_applied(struct txns *t, engine_id engine, txn_id txn);
void grants_release(struct txns *t, struct txn *x); /* the transaction rolled back, or never wrote */
void grants_over(struct txns *t, struct txn *x, seq_index index); /* its commit record was applied here, or void */
void grants_call_free(struct txns *t, struct txn *x);

/* inherit.c: rows of submitted transactions go on to others of this engine */
void inherit_submitted(struct txns *t, struct txn *x, const struct record *r);
void inherit_decided(struct txns *t, const struct txn *x, bool committed);
bool inherit_may_take(const struct txn *y);
void inherit_granted(struct txns *t, struct txn *y, const uint8_t *key, uint32_t key_len); /* of a row, here */
void inherit_push(struct access *a);
bool inherit_open(const struct txn *y); /* who gave it a row may yet turn out to be void */
bool inherit_merge(const struct txn *y, struct record *r); /* false: no room, wait until those are decided */
void grants_grantor(struct txns *t, struct txn *x, engine_id engine); /* its commit record names it */
void grants_asked(struct txns *t, struct txn *x, engine_id engine);   /* it is told of a rollback */

/* serial.c: SERIALIZABLE */
bool serial_notes(const struct access *a); /* is what it reads noted? */
void serial_read_rows(struct access *a, rel_id storage, row_id lo, row_id hi); /* hi 0: and all that may come */
void serial_read_key(struct access *a, rel_id storage, const void *key, uint32_t key_len);
void serial_read_keys(struct access *a, rel_id storage, struct slice lo, struct slice hi); /* hi.bytes 0: to the end */
/* Before a commit is encoded, when rows have their ids: what was read is as it was, and stays so. ST_WAIT, ST_SERIALIZATION. */
enum status serial_step(struct access *a, struct error *err);
void serial_txn_free(struct txns *t, struct txn *x);
void serial_message(struct txns *t, engine_id from, uint8_t type, struct reader *r);
void serial_turn(struct txns *t);
void serial_over(struct txns *t, engine_id engine, txn_id txn); /* decided here, or rolled back */
void serial_removed(struct txns *t, engine_id who);
bool serial_any(const struct txns *t, const struct frame *f); /* is anything of the atom certified for somebody? */
void serials_init(struct txns *t);
void serials_reset(struct txns *t);
void serials_fini(struct txns *t);

/* parts.c: parts of a commit that are not here (P7) */
void parts_message(struct txns *t, engine_id from, uint8_t type, struct reader *r);

/* slots.c: row ids for inserts */
void slots_init(struct txns *t);
void slots_fini(struct txns *t);
void slots_reset(struct txns *t);
void slots_created(struct txns *t, struct frame *f);
void slots_drop_rows(struct txns *t, rel_id storage, row_id lo, row_id hi); /* before the atom moves away */
void slots_destroyed(struct txns *t, rel_id storage);
bool slots_asked(const struct txns *t, rel_id storage); /* may this engine have made atoms for it? */
/* count row ids in one go, as up to a few runs; ST_WAIT: a create is under way. bytes: of an average row. */
enum status slots_reserve(struct txns *t, rel_id storage, uint64_t count, uint32_t row_bytes);
row_id slots_take(struct txns *t, rel_id storage, uint32_t row_bytes); /* after slots_reserve */
/* Row ids below are of atoms that this engine made; which of them every reader of the whole table knows (serial.c). */
row_id slots_made_end(const struct txns *t, rel_id storage);
bool slots_known(const struct txns *t, rel_id storage);
void slots_set_known(struct txns *t, rel_id storage, row_id end);

/* commit.c */
enum status commit_step(struct access *a, seq_index *index_out, struct error *err);
/* At least what the operation of a row with these cells takes in a record. Over ROW_OP_MAX it cannot be written (S3). */
uint64_t commit_row_bytes(const struct cell *cells, uint32_t cell_count);
#define ROW_OP_MAX RECORD_PAYLOAD_SOFT
void commit_free(struct txns *t, struct txn *x);

/* level.c: answers before the outcome (P3) */
bool level_early(const struct access *a, const struct txn *x); /* may its client be answered by now? */
bool level_tell(const struct access *a, const struct txn *x);  /* is the leader to say when a majority has received it? */
void level_received(struct txns *t, struct submission *s);
void level_detach(struct access *a);            /* the session goes on without waiting for its commit */
void level_decided(struct txns *t, struct txn *x, enum verdict v, enum void_cause cause, seq_index index);
void level_access_free(struct access *a);

/* sequence.c */
void sequences_init(struct txns *t);
void sequences_fini(struct txns *t);
void sequences_message(struct txns *t, engine_id from, uint8_t type, struct reader *r);
void sequences_reset(struct txns *t);
void sequences_removed(struct txns *t, engine_id who);
void sequences_hold_changed(struct txns *t, atom_id atom);
void sequences_turn(struct txns *t);
void sequences_access_free(struct access *a);

/* ddl.c */
void ddl_init(struct txns *t);
void ddl_message(struct txns *t, engine_id from, uint8_t type, struct reader *r);
void ddl_intent_opened(struct txns *t, const struct intent *in);
void ddl_intent_closed(struct txns *t, const struct intent *in);
void ddl_txn_ended(struct txns *t);
void ddl_member_removed(struct txns *t, engine_id who);
void ddl_reset(struct txns *t);
void ddl_txn_free(struct txns *t, struct txn *x);
void ddl_rolled_back(struct txns *t, struct txn *x); /* ends its intents, destroys what it made ahead */
void ddl_tick(struct txns *t);
void ddl_turn(struct txns *t);
void intents_finish(struct txns *t, struct txn *x);
void intent_give_up(struct txns *t, struct txn *x); /* the lock that its statement waits for; harmless without */
void ddl_encode_first(struct access *a, struct buf *out); /* new atoms: before rows and keys */
void ddl_encode(struct access *a, struct buf *out);       /* definitions, destroyed storages: at the end */
enum status ddl_prepare(struct access *a, struct error *err); /* before a commit: leaves that new atoms need; ST_WAIT */
bool ddl_used(const struct txn *x, rel_id id);
enum status ddl_sequence(struct txns *t, rel_id id, struct sequence_def **out); /* committed definition; ST_WAIT */
enum status sequence_limit(const struct sequence_def *def, struct error *err); /* ST_SEQUENCE_LIMIT in PostgreSQL's words */
/* A sequence that this transaction makes: nobody else knows it, its values are counted here. ST_END: not one of those. */
enum status ddl_own_sequence_next(struct access *a, rel_id seq, uint32_t n, int64_t *values_out, struct error *err);
enum status ddl_own_sequence_set(struct access *a, rel_id seq, int64_t value, bool is_called);
/* schema_read.c */
enum status schema_get(struct txns *t, const void *key, uint32_t key_len, struct slice *out, atom_id *need_out);
const struct ddl_change *ddl_find(const struct txn *x, rel_id id); /* newest; NULL */
const struct ddl_change *ddl_find_name(const struct txn *x, const char *schema, const char *name,
				       const struct index_def **index_out);
struct schema_cache *schema_cache_get(struct txns *t);
enum status schema_cached(struct txns *t, struct schema_cache *c, rel_id id, struct relation_def *out, atom_id *need_out);
void schema_lent_end(struct access *a);
void schema_cache_unref(struct txns *t, struct schema_cache *c);

/* structure.c: splits and moves */
void structures_init(struct txns *t);
void structures_fini(struct txns *t);
void structures_oversize(struct txns *t, struct frame *f);
void structures_turn(struct txns *t);
void structures_reset(struct txns *t);
bool structures_stopped(struct txns *t, atom_id atom); /* no grants on it now: moving, or far too large */
void structures_granted(struct txns *t, atom_id atom, engine_id to); /* counts for moves */
uint64_t structures_count(const struct txns *t); /* atoms that something is kept for */

/* audit.c and views.c */
void audits_message(struct txns *t, engine_id from, struct reader *r);
void audits_record(struct txns *t, const struct record *r);
void audits_removed(struct txns *t, engine_id who);
void audits_access_free(struct access *a);
void views_free(struct access *a);
void structures_gone(struct txns *t, atom_id atom);

#endif
