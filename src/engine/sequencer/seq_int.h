/*
 * seq_int.h - the sequencer's insides (engine/sequencer only, and its tests).
 *
 * Every public function is one event: it changes the state, and then the outermost one runs
 * flush(), which emits what follows from the state: report role and voters, start a write, answer
 * what has become durable, send, commit, deliver. Handlers send by themselves only
 * what promises nothing durable (refusals, pre-votes). A host may propose, complete writes and ask
 * for read indexes from inside its callbacks: that changes state, and the flush goes round again.
 *
 * Positions, in order: log.first_pos - 1 <= delivered <= committed <= last; persisted <= submitted
 * <= last.
 */
#ifndef VALENCE_ENGINE_SEQUENCER_SEQ_INT_H
#define VALENCE_ENGINE_SEQUENCER_SEQ_INT_H

#include "base/assert.h"
#include "base/env.h"
#include "base/list.h"
#include "engine/sequencer/seq.h"
#include "engine/sequencer/seq_wire.h"

#define SEQ_APPEND_BYTES (1u << 20) /* entries in one message, but at least one entry */
#define SEQ_APPEND_ENTRIES 1024u
#define SEQ_FLIGHT_MESSAGES 64u /* appends to one follower that are not durable there yet */
#define SEQ_FLIGHT_BYTES (8u << 20)
#define SEQ_PROPOSED_MAX 8192u /* entries not committed */
#define SEQ_READS_MAX 4096u
#define SEQ_DELIVER_ENTRIES                                                                        \
	256u /* committed() calls in one event; the rest at the next tick, due at once */
#define SEQ_DELIVER_BYTES (4u << 20)
#define SEQ_HINT_STEPS 1024u /* entries looked at to find a common one */
#define SEQ_PROMOTE_DISTANCE 64u
#define SEQ_PEER_DOWN_US 20000u
#define SEQ_FAST_RETRIES 8u
#define SEQ_PEERS_MAX (SEQ_VOTERS_MAX + 2) /* all others, and one that is leaving */

struct seq_item {
	uint64_t term;
	void *data;
	uint32_t bytes;
	uint8_t kind;
};

/* The log's newest part in memory, in a ring; what is older is read from the journal. */
struct seq_log {
	uint64_t first_pos, before_term;         /* the journal's oldest; the term just before it */
	uint64_t window_pos, window_before_term; /* the ring's oldest, maybe last + 1 */
	struct seq_item *ring;
	size_t head, count, cap; /* cap: a power of two or 0 */
	size_t bytes;
};

/* A write under way; last_pos falls when entries it carried are replaced. */
struct seq_write {
	uint64_t token, term, vote, last_pos;
};

struct seq_read {
	uint64_t request_id, round, pos;
}; /* round 0: no entry of this term is committed yet */

enum seq_flow {
	SEQ_PROBE,    /* where its log and ours part is not known: one append at a time */
	SEQ_PIPELINE, /* appends go out without waiting */
	SEQ_GONE      /* it needs what the journal here no longer has */
};

struct seq_flight {
	uint64_t last_pos;
	size_t bytes;
};

struct seq_peer {
	uint64_t id;
	bool votes,
		leaving; /* leaving: no longer in the configuration, which is not committed yet */
	bool granted, refused; /* in the election under way */
	enum seq_flow flow;
	bool paused;   /* probe: one is on its way */
	bool beat_due; /* an empty append that wants an answer */
	bool told_gone;
	uint64_t next, match; /* next to send; durable there */
	uint64_t received;    /* there in this term, durable or not, as far as it was told */
	uint64_t sent_committed, acked_round;
	uint64_t heard_us;
	struct seq_flight flight[SEQ_FLIGHT_MESSAGES];
	uint32_t flight_head, flight_count;
	size_t flight_bytes;
};

struct seq {
	struct seq_config cfg;
	struct rng rng;
	struct seq_stats stats;
	uint64_t now_us;
	uint32_t depth;          /* of calls; > 1 inside a callback */
	bool again;              /* flush: state changed, go round once more */
	struct buf out, scratch; /* a message; an entry's data */

	/* Persistent state, and what of it is durable. */
	uint64_t term, vote;
	bool hard_dirty; /* term or vote not given to a write yet */
	struct seq_log log;
	uint64_t submitted_pos, persisted_pos;
	uint64_t durable_term, durable_vote;
	uint64_t token;
	VEC(struct seq_write) writes;
	size_t writes_head;
	VEC(struct seq_entry) batch; /* scratch of one persist call */

	uint64_t committed_pos, delivered_pos;
	bool stuck; /* a committed entry cannot be read: told to the host, nothing more is delivered */

	struct seq_voters voters; /* newest in the log */
	uint64_t voters_pos;      /* their entry is there, or before */
	bool voters_dirty;
	struct seq_peer peers[SEQ_PEERS_MAX];
	uint32_t peer_count;

	enum seq_role role;
	uint64_t leader;
	enum seq_role told_role; /* by host->role */
	uint64_t told_term, told_leader;
	bool may_vote;
	uint64_t deadline_us;  /* of anyone but a leader */
	uint32_t fast_retries; /* the leader is known dead: short rounds of pre-vote */
	bool self_granted;     /* candidate: own vote is durable, requests are out */
	bool transferring;     /* candidate: by the old leader's wish */
	bool vote_due;         /* a granted vote to be answered once it is durable */

	/* Follower, for the leader of this term. */
	uint64_t heard_us;
	uint64_t agreed_pos; /* the log up to here is the leader's */
	uint64_t acked_pos, round_seen;
	bool reply_due, told_gone;

	/* Leader. */
	uint64_t term_pos; /* of the first entry of its term */
	uint64_t receipt_pos; /* entries up to here are to be answered when received */
	uint64_t beat_us, round;
	uint64_t transfer_to, transfer_us;
	bool transfer_told;
	VEC(struct seq_read) reads;
	void (*read_done)(void *ctx, uint64_t request_id, bool ok, uint64_t committed_pos);
};

/* seq_log.c */
void seq_log_open(struct seq *s);
void seq_log_close(struct seq *s);
static inline uint64_t seq_log_last(const struct seq_log *log)
{
	return log->window_pos + log->count - 1;
}
struct seq_item *seq_log_item(struct seq *s,
			      uint64_t pos); /* in memory; the caller knows that it is */
/* False: gone, or not there. May read the journal. */
bool seq_log_term(struct seq *s, uint64_t pos, uint64_t *term_out);
/* Data lent until the next call of these or a change of the log. */
bool seq_log_get(struct seq *s, uint64_t pos, struct seq_entry *out);
/* Copies data. False: no memory (nothing changed). */
bool seq_log_append(struct seq *s, uint64_t term, enum seq_kind kind, const void *data,
		    size_t bytes);
/*
 * Removes pos and all after it; before_term is the term of pos - 1. False: the journal is
 * unreadable, nothing done.
 */
bool seq_log_truncate(struct seq *s, uint64_t pos, uint64_t before_term);
void seq_log_evict(struct seq *s);
void seq_log_write(struct seq *s); /* start a write when there is something to write */
void seq_log_deliver(struct seq *s);

/* election.c */
void seq_become_follower(struct seq *s, uint64_t term, uint64_t leader);
void seq_step_down(struct seq *s,
		   const char *cause); /* a leader that ceases to be one in its own term */
void seq_deadline_reset(struct seq *s);
void seq_election_timeout(struct seq *s);
void seq_election_start(struct seq *s, bool by_transfer);
void seq_election_durable(struct seq *s); /* own vote, or one given, may have become durable */
bool seq_handle_vote(struct seq *s, uint64_t from, const struct seq_msg_vote *m);
bool seq_handle_vote_reply(struct seq *s, uint64_t from, const struct seq_msg_vote_reply *m);
bool seq_handle_transfer(struct seq *s, uint64_t from, const struct seq_msg_transfer *m);

/* replicate.c: the leader's side */
void seq_leader_start(struct seq *s);
void seq_leader_tick(struct seq *s);
void seq_leader_flush(struct seq *s); /* commit, send */
bool seq_leader_commit(struct seq *s);
void seq_peer_reset(struct seq_peer *p); /* to probing */
bool seq_handle_append_reply(struct seq *s, uint64_t from, const struct seq_msg_append_reply *m);
void seq_reads_flush(struct seq *s);

/* follow.c: the follower's side */
bool seq_handle_append(struct seq *s, uint64_t from, const struct seq_msg_append *m,
		       struct reader *r);
void seq_follower_durable(struct seq *s);

/* config.c */
static inline uint32_t seq_quorum(const struct seq *s)
{
	return seq_voting(&s->voters) / 2 + 1;
}
bool seq_self_votes(const struct seq *s);
struct seq_peer *seq_peer_find(struct seq *s, uint64_t id);
void seq_peers_sync(struct seq *s);
/* A SEQ_CONFIG entry's data; previous_out may be NULL. Checks all of it. */
bool seq_config_decode(const void *data, size_t bytes, struct seq_voters *out,
		       struct seq_voters *previous_out);
void seq_config_appended(struct seq *s, uint64_t pos, const struct seq_voters *v);
void seq_config_rolled_back(struct seq *s, const struct seq_voters *v);
void seq_config_promote(struct seq *s);
void seq_config_leave(
	struct seq *s); /* peers, and this leader itself, whose removal is committed */

/* seq.c */
void seq_enter(struct seq *s, uint64_t now_us);
void seq_leave(struct seq *s); /* the outermost flushes */
bool seq_may_propose(const struct seq *s);
void seq_report_role(struct seq *s);
void seq_send(struct seq *s, uint64_t to);                              /* s->out */
uint64_t seq_between(struct seq *s, uint64_t low_us, uint64_t high_us); /* random */

#endif
