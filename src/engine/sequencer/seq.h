/*
 * seq.h - the sequencer's consensus log among the archives' voters (engine/sequencer).
 *
 * Raft's rules (Ongaro & Ousterhout 2014, thesis 2014) as a pure step machine of our own: events go in by
 * the functions below, effects come out through struct seq_host. It never blocks, has no clock but the times it
 * is given, and no randomness but its seed. Why not libraft: facts.md; its two defects are tests here.
 *
 * The log holds *entries*, addressed by position from 1. An entry's data is opaque here (one batch of records,
 * possibly with none), but for kind SEQ_CONFIG, whose data starts with an encoded struct seq_voters.
 *
 * Rules: only entries of the current term are committed by counting; a new leader appends an empty entry of its
 * term first (SEQ_NOOP; data made by the host through noop()); the committed position is the k-th largest
 * *persisted* match of the voters, the leader's own disk counted like any other; followers cap it at what they
 * were sent; votes and terms are persisted before they are answered, in the same batch as entries;
 * completions of an older term are dropped; message bytes and entries in flight per follower are bounded; pre-vote;
 * check-quorum (a leader that hears no majority for an election time-out steps down); leadership transfer;
 * one voter added or removed at a time, a new one caught up as a non-voter before.
 */
#ifndef VALENCE_ENGINE_SEQUENCER_SEQ_H
#define VALENCE_ENGINE_SEQUENCER_SEQ_H

#include "base/buf.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/status.h"

#define SEQ_VOTERS_MAX 5
#define SEQ_ENTRY_MAX (8u << 20) /* bytes of data of one entry */
#define SEQ_ADDRESS_MAX 128

enum seq_kind { SEQ_BATCH = 1, SEQ_NOOP = 2, SEQ_CONFIG = 3 };
enum seq_role { SEQ_FOLLOWER, SEQ_PRE_CANDIDATE, SEQ_CANDIDATE, SEQ_LEADER };

struct seq_voter {
	uint64_t id;                    /* lives on disk, is not an engine id (P23) */
	bool votes;                     /* false: catching up */
	char address[SEQ_ADDRESS_MAX];  /* fabric host:port */
};
struct seq_voters { uint32_t count; struct seq_voter at[SEQ_VOTERS_MAX + 1]; };
void seq_voters_encode(const struct seq_voters *v, struct buf *out);
bool seq_voters_decode(struct reader *r, struct seq_voters *out);
bool seq_voters_find(const struct seq_voters *v, uint64_t id, struct seq_voter *out); /* out may be NULL */
uint32_t seq_voting(const struct seq_voters *v); /* how many of them vote */

/*
 * Data of a SEQ_CONFIG entry: u32 bytes of what comes before the batch, the encoded voters, the encoded voters
 * before the change (to roll back), the batch. seq_voters_decode() at byte 4 therefore gives the voters.
 */

/* Entries to journal, in order, with the term and vote of this moment: one atomic, durable write. */
struct seq_entry {
	uint64_t pos, term;
	uint8_t kind;
	uint32_t bytes;
	const void *data; /* lent until the persist call returns */
};
struct seq_persist {
	uint64_t token;         /* given back to seq_persisted(); rises by one each time */
	uint64_t term, vote;    /* hard state; vote 0: none */
	uint64_t first_pos;     /* of entries; what the journal has at or after it is replaced. 0: no entries */
	uint32_t entry_count;
	const struct seq_entry *entries;
};

/* The batch within an entry's data: all of it, but for SEQ_CONFIG. Lends; NULL and 0: the data is damaged. */
const void *seq_entry_batch(const struct seq_entry *e, size_t *bytes_out);
/* The voters that a SEQ_CONFIG entry brings; false: another kind, or damaged. For start-up: voters as of last_pos. */
bool seq_entry_voters(const struct seq_entry *e, struct seq_voters *out);

/*
 * Called from inside the events below. From a callback the host may call seq_propose, seq_persisted,
 * seq_read_index, seq_truncate_window and the views; nothing else.
 */
struct seq_host {
	/* Start a durable write; completions come in order by seq_persisted(). */
	void (*persist)(void *ctx, const struct seq_persist *p);
	void (*send)(void *ctx, uint64_t voter_id, const void *data, size_t bytes);
	/*
	 * In order of position, each once while this object lives, from committed_pos of seq_open on. Data lent until
	 * return. An entry may be committed before it is durable here, while the journal still has
	 * another at its position: a checkpoint must not pass seq_persisted_pos().
	 */
	void (*committed)(void *ctx, const struct seq_entry *e);
	void (*role)(void *ctx, enum seq_role role, uint64_t term, uint64_t leader_voter_id);
	void (*config)(void *ctx, const struct seq_voters *v); /* the newest in the log, committed or not */
	/* An entry that is older than what is kept in memory, from the journal, synchronously; false: gone. */
	bool (*read)(void *ctx, uint64_t pos, struct seq_entry *out); /* data lent until the next call */
	/*
	 * A voter needs entries that are gone here: it must start again as a new voter. Told once per term. With
	 * this voter's own id: the leader says so of us, or a committed entry cannot be read from our journal.
	 */
	void (*too_old)(void *ctx, uint64_t voter_id);
	/* Data for the leader's first entry of a term. */
	void (*noop)(void *ctx, struct buf *out);
};

struct seq_config {
	struct mem *mem;
	struct logger *log;
	uint64_t self;                  /* voter id */
	uint64_t seed;
	uint64_t election_us;           /* 0: 300 ms; randomised to 1..2 times */
	uint64_t heartbeat_us;          /* 0: 50 ms */
	uint64_t window_bytes;          /* entries kept in memory; 0: 64 MiB */
	const struct seq_host *host;
	void *ctx;
	/* What the journal had at start: */
	uint64_t term, vote, first_pos, last_pos, last_term;
	uint64_t before_term;           /* term of the entry just before first_pos; 0 when first_pos is 1 */
	uint64_t committed_pos;         /* known to be committed and already applied; committed() starts after it */
	struct seq_voters voters;       /* as of last_pos */
	bool may_vote;                  /* false: short journal (P23): no vote and no candidacy until caught up by a leader */
};

struct seq;
/*
 * Calls nothing of the host but read(). The first tick is due at once for a single voter, which then elects itself.
 * voters.count may be 0: a joiner that does not know them yet. ST_BAD_PARAMETER: positions or terms that cannot be.
 */
MUST_CHECK enum status seq_open(const struct seq_config *cfg, uint64_t now_us, struct seq **seq_out);
void seq_close(struct seq *s);

/* Events. */
void seq_tick(struct seq *s, uint64_t now_us);           /* at seq_next_us() or a little later */
uint64_t seq_next_us(const struct seq *s);               /* when the next seq_tick is due */
void seq_message(struct seq *s, uint64_t now_us, uint64_t from_voter, const void *data, size_t bytes);
void seq_persisted(struct seq *s, uint64_t now_us, uint64_t token);
/*
 * The host lost its link to a voter and its port refuses: known dead, not only silent. If it led, this voter
 * stands after 0-20 ms instead of a whole time-out (pre-vote still decides); if it follows, it is probed again.
 */
void seq_peer_down(struct seq *s, uint64_t now_us, uint64_t voter_id);
/*
 * Leader only: ST_NOT_LEADER, ST_AGAIN (too much in flight, or a transfer is under way), ST_NOMEM,
 * ST_PROGRAM_LIMIT (more than SEQ_ENTRY_MAX), ST_BAD_PARAMETER (kind is not SEQ_BATCH or SEQ_NOOP). data is
 * copied. Single voters need no message at all.
 */
MUST_CHECK enum status seq_propose(struct seq *s, uint64_t now_us, enum seq_kind kind, const void *data,
				   size_t bytes, uint64_t *pos_out);
/*
 * Leader: followers are to say that they have received the next entry proposed at once, not only when it is durable. An answer that is
 * lost is not repeated: then it is known with the next one.
 */
void seq_want_receipt(struct seq *s);
/*
 * Leader: a majority of the voters has received the entries up to here, this one included; what is not durable is gone again if
 * such voters stop. 0: none of this term, or another leads.
 */
uint64_t seq_received(const struct seq *s);
/*
 * Add (as non-voter first, then by itself promoted when caught up) or remove one voter, or change one address. votes in
 * @next is not looked at. ST_STATE: a change is under way, or no entry of this term is committed yet.
 * ST_BAD_PARAMETER: not exactly one difference, too many voters, none left. Else as seq_propose.
 */
MUST_CHECK enum status seq_change_voters(struct seq *s, uint64_t now_us, const struct seq_voters *next,
					 const void *batch, size_t batch_bytes);
/*
 * Step down in favour of a voter: proposals get ST_AGAIN until it has taken over or an election time-out has passed.
 * ST_NOT_LEADER; ST_STATE: one is under way; ST_BAD_PARAMETER: not a voter that votes, or this one.
 */
MUST_CHECK enum status seq_transfer(struct seq *s, uint64_t now_us, uint64_t to_voter);
/* The journal was, or will be, dropped below; call it before the drop when you can (the term just below is needed). */
void seq_truncate_window(struct seq *s, uint64_t below_pos);
/*
 * P26: a read index: completes when a quorum confirmed this leader after the call (for a single voter before it
 * returns), or with ok false when it ceased to lead. ST_NOT_LEADER, ST_AGAIN (4,096 wait).
 */
MUST_CHECK enum status seq_read_index(struct seq *s, uint64_t now_us, uint64_t request_id);
/* host hook for it, may be NULL in tests: set before use */
void seq_set_read_fn(struct seq *s, void (*done)(void *ctx, uint64_t request_id, bool ok, uint64_t committed_pos));

/* Views. */
enum seq_role seq_role(const struct seq *s);
uint64_t seq_term(const struct seq *s);
uint64_t seq_leader(const struct seq *s);         /* voter id; 0 unknown */
uint64_t seq_committed(const struct seq *s);
uint64_t seq_last(const struct seq *s);           /* newest position in the log here */
uint32_t seq_in_flight(const struct seq *s);      /* leader: entries proposed and not committed */
uint64_t seq_match(const struct seq *s, uint64_t voter);  /* leader: durable at that voter up to there; 0: not known */
bool seq_voters_settled(const struct seq *s);     /* the newest list of voters is committed */
bool seq_stuck(const struct seq *s);              /* a committed entry cannot be read from the journal here */
bool seq_own_term_committed(const struct seq *s); /* leader: an entry of its own term is committed (P4) */
uint64_t seq_persisted_pos(const struct seq *s);  /* durable here up to this position */
const struct seq_voters *seq_current_voters(const struct seq *s); /* newest in the log */
struct seq_stats {
	uint64_t messages_in, messages_out, bytes_in, bytes_out;
	uint64_t bad_messages;   /* dropped: malformed, or claiming what cannot be */
	uint64_t elections;      /* times this voter stood (pre-vote not counted) */
	uint64_t rejects;        /* appends that followers refused: gaps and diverged logs */
	uint64_t journal_reads;
	uint64_t truncations;    /* times that entries at the log's end gave way to others (or to none) */
};
struct seq_stats seq_stats(const struct seq *s);
/* One entry of the log here, maybe from the journal. Data lent until the next call of anything. False: not there, or gone. */
bool seq_entry_at(struct seq *s, uint64_t pos, struct seq_entry *out);
void seq_trace(const struct seq *s, struct buf *out); /* one line of text, for tests that compare traces */

#endif
