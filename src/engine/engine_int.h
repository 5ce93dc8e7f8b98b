/* engine_int.h - shared by the files of the engine core (engine). */
#ifndef VALENCE_ENGINE_ENGINE_INT_H
#define VALENCE_ENGINE_ENGINE_INT_H

#include "base/assert.h"
#include "base/list.h"
#include "base/map.h"
#include "catalog/replica.h"
#include "engine/engine.h"
#include "engine/sequencer/seq.h"
#include "engine/txn/msg.h"
#include "engine/txn/txns.h"
#include "net/relay/relay.h"

#define ENGINE_JOURNAL_BYTES (UINT64_C(1) << 30) /* default of the journal kept for archives that are behind, or new */
#define ENGINE_WINDOW_BYTES (64u << 20) /* default of the log kept in memory for children, pulls and replay */

/* One batch of the log as it is kept. */
struct logged {
	seq_index first, last;
	uint64_t pos;           /* consensus position; archives; 0 elsewhere */
	uint32_t bytes, count;
	uint32_t prunable;      /* records whose payload may be left out for some; at most so many */
	uint32_t pulled;        /* payloads that came later */
	uint8_t *data;
	struct batch batch;     /* decoded; lends from data */
	uint8_t *verdicts;      /* enum verdict per record, once applied */
};
struct window {
	struct mem *mem;
	struct logged **at;     /* in order; a ring would save a memmove now and then */
	size_t head, count, cap;
	uint64_t bytes;
	seq_index next;         /* index after the last */
	struct map pulled;      /* index -> struct pulled, of records in it */
};
void window_init(struct window *w, struct mem *mem, seq_index next);
void window_fini(struct window *w);
void window_reset(struct window *w, seq_index next);
/* data is a whole batch that starts at w->next and has records; copied. */
struct logged *window_add(struct window *w, const struct batch *b, const void *data, size_t bytes, uint64_t pos);
/* The payload of a record of @l that was sent without it, if it came since. NULL: not here. */
const uint8_t *window_payload(const struct window *w, const struct logged *l, seq_index index);
void window_put_payload(struct window *w, struct logged *l, seq_index index, const void *payload, uint32_t bytes); /* copied */
struct logged *window_find(const struct window *w, seq_index index); /* the batch that has it; NULL */
seq_index window_first(const struct window *w); /* next when empty */
void window_trim(struct window *w, uint64_t limit_bytes, seq_index keep_from);

struct failover {
	char cause[32];
	engine_id engine;
	uint64_t noticed_wall_us, noticed_us;
	seq_index index;
	uint64_t atoms, took_us;
	bool noticed;           /* by this engine; else it cannot tell how long it took */
};
#define FAILOVERS_KEPT 64

struct leader {                 /* what the engine whose voter leads keeps */
	bool active;            /* the own term's first entry is applied: records are taken */
	uint64_t since_us;
	seq_index next_index;
	seq_index horizon;      /* last given out */
	uint64_t wall_us;
	struct buf pending;     /* records taken and not yet in a batch */
	uint32_t pending_count;
	struct buf ahead;       /* submissions that came before it was active: (u64 engine, u32 bytes, records) each */
	struct map accepted;    /* engine -> struct accepted: last number taken */
	VEC(struct accepted *) accepted_all;
	struct map reports;     /* engine -> struct report */
	VEC(struct report *) reports_all;
	VEC(engine_id) removing;
	VEC(uint64_t) joining;  /* nonces proposed */
	struct map parts;       /* (engine, txn) -> struct sent_parts: of transactions that have sent some */
	struct list parts_all;
	VEC(struct early_commit) early; /* see receipt.c; in order of index */
	VEC(struct taken_intent) intents; /* not applied yet */
	seq_index unsure;       /* until this is applied, the verdicts of later commits are not known */
};
struct early_commit { engine_id engine; uint64_t seq; seq_index plan, index; uint64_t pos; }; /* pos 0: in no batch yet */
struct taken_intent { seq_index index; engine_id engine; txn_id txn; };
struct accepted { engine_id engine; uint64_t seq; };
struct sent_parts { struct list all; engine_id engine; txn_id txn; uint32_t attempt, count; bool decided; };
struct report { engine_id engine; seq_index applied, need; uint64_t at_us; };

/* See catchup.c. next: the index that a reader needs next, at that position of the journal or behind it. */
#define CATCHUP_READERS 8
struct catchup_reader { seq_index next; uint64_t pos; };
struct catchup {
	seq_index first;        /* the oldest that the journal has; 0: to be found out */
	struct catchup_reader readers[CATCHUP_READERS];
	uint32_t reader_at;
	uint64_t spent_bytes;   /* since the last tick */
};

/* Payloads that are wanted and not here; see pull.c. */
#define PULL_MAX 256 /* indexes in a question */
struct pull_question { engine_id from; uint32_t count; seq_index want[PULL_MAX]; };
struct pull {
	VEC(seq_index) want;           /* sorted */
	engine_id from;                /* who is asked now; 0: nobody */
	uint32_t at;                   /* its place in the order of those who may be asked */
	uint32_t in_vain;              /* asked one after the other without a payload */
	uint64_t asked_us, since_us;   /* since_us: since when nothing came */
	bool gone;                     /* an archive said so since */
};

struct checkpoint_work;
/* An image that is lent to the disk or to another archive; lent_sort(): newest atoms first, the root last. */
struct lent { atom_id id; const struct atom_head *image; size_t bytes; };
void lent_sort(struct lent *at, uint32_t n);

/* The whole state on its way to another archive (state_send.c): what it may still ask for. */
#define STATES_OUT 2
struct state_out {
	uint64_t voter, id;     /* 0: unused */
	seq_index index;
	uint64_t pos, used_us, bytes;
	struct lent *lent;
	uint32_t count;         /* 0: it has all; the journal behind pos is kept a while */
	struct buf list;
};
struct state_ask { uint64_t voter, last, at_us; }; /* who wants it next */
struct state_in;
struct latest_ask { uint64_t id; engine_id engine; uint64_t request; };

struct engine {
	struct mem mem_account, *mem;
	struct logger *log;
	struct clock clock;
	struct timers *timers;
	struct engine_config cfg;       /* strings copied */
	char **contacts;
	uint32_t contact_count;
	enum engine_state state;
	struct error error;
	struct rng rng;
	bool archive, kicked, leaving, resubmit;
	bool members_changed, self_removed;
	uint8_t self_removed_cause;
	bool was_member;                /* since this process began */
	engine_id self_pending;         /* joined, by a record being applied */
	struct txns *txns;
	struct replica *rp;
	struct relay *relay;
	struct window window;
	struct pull pull;
	VEC(struct pull_question) pull_later; /* of others, that wait for the next tick */
	struct buf pruned;              /* lent to the relay by log_get */
	uint64_t interest_version;      /* of the copies and fetches that the interest told last is of */
	engine_id self;
	uint64_t nonce;
	struct join_payload me;         /* what it says when it joins */
	uint64_t joined_at_us, join_sent_us;
	/* apply */
	struct logged *applying;
	struct batch batch;
	struct batch_iter iter;
	struct record record;
	bool have_record, paused;       /* paused: apply is within it */
	uint64_t applied_pos, committed_pos; /* archive: consensus positions applied, and handed out by it */
	/* archive */
	struct store *store;
	struct store_recovered recovered;
	struct seq *seq;
	struct seq_voters voters;       /* newest in the log */
	uint64_t voters_pos;
	struct seq_voter gone_voter;    /* out of the list lately: keeps its link until it can have heard so */
	uint64_t gone_voter_until_us;   /* 0: none */
	VEC(uint64_t) left_voters;      /* voters whose engines left cleanly and are not back, in that order */
	bool vote_gone;                 /* the committed list of voters is without this one */
	uint64_t leave_since_us;        /* when engine_leave() was first acted on */
	uint64_t left_at_us;            /* own removal applied; only the vote is to be settled */
	struct leader leader;
	struct checkpoint_work *checkpoint;
	uint64_t checkpoint_journal_bytes; /* journal size at the last one */
	seq_index checkpoint_index;
	uint64_t checkpoint_pos;
	struct catchup catchup;
	uint64_t base_pos, base_term;   /* of a state that was taken: the journal goes on behind it; 0: none was */
	bool need_state;                /* the log from where this archive is is gone everywhere */
	struct state_in *state_in;      /* it is being taken: no consensus meanwhile */
	struct state_out states_out[STATES_OUT];
	struct state_ask state_ask;
	uint64_t state_ids, stores_opened;
	uint64_t catchup_bytes;         /* of the log read from the journal for others, since start */
	VEC(atom_id) gone;              /* destroyed since the last checkpoint */
	engine_id leader_id;            /* as far as known */
	struct timer seq_timer, tick_timer;
	uint64_t report_at_us, next_latest;
	VEC(struct latest_ask) latest;
	/* failovers */
	struct failover failovers[FAILOVERS_KEPT];
	uint64_t failover_count;
	VEC(engine_id) refused;         /* members whose port refused after a link broke: a new leader removes them at once */
	engine_id leader_heard;         /* who leads, as the relay last said */
	struct map noticed;             /* engine -> when first suspected here (us + 1 as pointer) */
	uint64_t committed_index, records_applied, batches_made;
	uint64_t receipts_told;         /* commits of which this leader said that a majority of voters had received them */
	uint64_t payload_bytes_spared;  /* of records applied without their payload */
	uint64_t payloads_pulled, payload_bytes_pulled, payloads_given;
};

static inline uint64_t engine_now(const struct engine *e) { return clock_now_us(&e->clock); }

/* log.c: window and apply */
int log_apply_some(struct engine *e);
void log_receive(struct engine *e, const void *data, size_t bytes, uint64_t pos); /* a batch, from parent or consensus */
enum status log_record_find(void *ctx, engine_id engine, uint64_t seq, seq_index plan, seq_index *index_out,
			    enum verdict *verdict_out); /* txn_host */
enum status log_replay(struct engine *e, seq_index as_of, struct frame *f);

/* pull.c: payloads that were not sent */
void pull_add(struct engine *e, seq_index index);  /* wanted */
bool pull_wait(struct engine *e);                  /* ask, again and again; false: they seem to be gone everywhere */
void pull_asked(struct engine *e, engine_id from, struct reader *r);    /* MSG_PAYLOADS */
void pull_answered(struct engine *e, engine_id from, struct reader *r); /* MSG_PAYLOAD */
void pull_reset(struct engine *e);
void pull_tick(struct engine *e);

/* receipt.c: who is told before a commit is journalled (P3) */
void receipts_taken(struct engine *e, const struct record *r, bool tell); /* just now, as the last of those pending */
bool receipts_wanted(const struct engine *e, seq_index last);             /* of a batch of what is pending up to there */
void receipts_proposed(struct engine *e, seq_index last, seq_index horizon, uint64_t pos);
void receipts_turn(struct engine *e);
void receipts_clear(struct engine *e);
void receipts_fini(struct engine *e);

/* interest.c: what this engine wants, and what it sends to whom */
void interest_turn(struct engine *e);
uint64_t interest_variant(struct engine *e, seq_index from, const struct relay_interest *interest);
/* The batch as @interest wants it; lent until the next call. */
const void *interest_encode(struct engine *e, struct logged *l, const struct relay_interest *interest, size_t *bytes_out);

/* leader.c */
void leader_init(struct engine *e);
void leader_fini(struct engine *e);
void leader_role(struct engine *e, enum seq_role role);
void leader_submit(struct engine *e, engine_id from, struct reader *r, bool tells);
void member_tell_refused(struct engine *e); /* to the leader, which is a new one */
void member_note_refused(struct engine *e, engine_id who);
void leader_turn(struct engine *e);
void leader_join(struct engine *e, const void *payload, size_t bytes);
void leader_suspect(struct engine *e, engine_id reporter, engine_id who, const char *cause);
void leader_remove(struct engine *e, engine_id who, enum remove_cause cause);
void leader_report(struct engine *e, engine_id from, seq_index applied, seq_index need);
void leader_tick(struct engine *e);
void leader_applied(struct engine *e, const struct record *r, enum verdict v);
enum status leader_remove_voter(void *ctx, uint64_t voter, uint64_t *under_way, struct error *err); /* txn_host */
bool leader_hand_over(struct engine *e); /* before it leaves: true when there is somebody who can lead */

/* archive.c: store, consensus, checkpoints */
enum status archive_open(struct engine *e, struct error *err);
void archive_close(struct engine *e);
void archive_turn(struct engine *e);
void archive_joined(struct engine *e, uint64_t log_id, const struct seq_voters *voters);
void archive_frame_gone(struct engine *e, struct frame *f);
void archive_voters_to_relay(struct engine *e);
void archive_tick(struct engine *e);
bool archive_votes(const struct engine *e); /* is it in the newest list of voters? */
enum vote_end { VOTE_WAITS, VOTE_REMOVED, VOTE_KEPT, VOTE_LAST };
enum vote_end archive_vote_end(struct engine *e); /* after its engine left: what became of its vote */
extern const struct seq_host archive_seq_host;

/* state_send.c: the whole state for another archive */
void state_send_message(struct engine *e, uint64_t voter, uint8_t type, struct reader *r);
void state_send_turn(struct engine *e);
void state_send_tick(struct engine *e);
void state_send_reset(struct engine *e);
uint64_t state_send_floor(const struct engine *e); /* the journal is kept from here on; UINT64_MAX: for nobody */

/* state_take.c: from another archive */
void state_take_begin(struct engine *e, uint64_t own_last, uint64_t leader); /* voter who is asked first; 0 */
void state_take_message(struct engine *e, uint64_t voter, uint8_t type, struct reader *r);
bool state_take_turn(struct engine *e);            /* true: all of it is on the disk */
void state_take_written(struct engine *e);         /* the store's word */
bool state_take_asks(const struct engine *e);      /* nobody has answered yet */
void state_take_fini(struct engine *e);

/* catchup.c: the log from the journal */
void catchup_tick(struct engine *e);
bool catchup_spent(struct engine *e, seq_index from); /* the journal has it, but no more is read until the next tick */
void catchup_journal_changed(struct engine *e); /* some of it was dropped, or all */
seq_index catchup_first(struct engine *e);      /* the oldest index that this engine can give, from window or journal */
/* The first index in the window that the own disk does not have yet, and must stay in it; UINT64_MAX: none. */
seq_index catchup_durable(const struct engine *e);
/* The batch that contains @from, which is before the window; lent. NULL: gone, or not now (then @from >= catchup_first()). */
const void *catchup_get(struct engine *e, seq_index from, size_t *bytes_out, seq_index *first_out, seq_index *last_out);

/* member.c: joining, leaving, membership changes */
extern const struct relay_events member_relay_events;
void member_start(struct engine *e);
void member_joined(struct engine *e, const struct member *m);
void member_removed(struct engine *e, const struct member *m, uint8_t cause);
void member_turn(struct engine *e);
void member_tick(struct engine *e);
void member_rejoin(struct engine *e);
void member_forget(struct engine *e);
void member_update_relay(struct engine *e);
void member_voters_encode(struct engine *e, struct buf *b);
#define VOTER_RAFT 1
#define VOTER_JOIN 2
#define VOTER_STATE_ASK 3  /* state_wire.h */
#define VOTER_STATE_HEAD 4
#define VOTER_STATE_GET 5
#define VOTER_STATE_PART 6
#define VOTER_STATE_GONE 7
#define VOTER_STATE_END 8
/* Images on an archive's disk that are no atoms. */
#define IMAGE_ID_VOTERS (~UINT64_C(0)) /* the voters as of the checkpoint */
#define IMAGE_ID_BASE (~UINT64_C(1))   /* u64 position, u64 term: the state was taken as of there, and the journal begins behind it */

/* engine_views.c */
enum status engine_view_row(void *ctx, const char *view, uint64_t at, struct arena *arena, struct cell *cells,
			    uint32_t count);

void engine_fail(struct engine *e, const struct error *err);

#endif
