/*
 * cluster.h - a small simulated cluster of sequencers, for these tests only.
 *
 * One seed decides everything: delays, losses, repeats and reordering of messages, cut links,
 * crashes that lose what was not yet durable, slow disks. After every step the cluster checks, and
 * stops at the first breach of:
 *   election safety       one leader per term
 *   leader append-only    a leader's log only grows
 *   log matching          one (position, term) means one entry and one entry before it, in every log ever written
 *   leader completeness   who leads has all that was ever reported committed
 *   state machine safety  every voter reports the same entry at a position, in order, each once
 *   durability (P3)       what is first reported committed is on the disks of a majority of the voters
 *   read index (P26)      a confirmed read covers all that was reported committed when it was asked for
 */
#ifndef VALENCE_TESTS_UNIT_SEQUENCER_CLUSTER_H
#define VALENCE_TESTS_UNIT_SEQUENCER_CLUSTER_H

#include "base/env.h"
#include "base/list.h"
#include "engine/sequencer/seq.h"

#define CL_NODES 6
#define CL_WRITES 256

struct cl_entry {
	uint64_t term;
	uint8_t kind;
	uint32_t bytes;
	uint8_t *data;
};
struct cl_log {
	uint64_t first_pos, before_term;
	VEC(struct cl_entry) e;
}; /* e.at[0] is at first_pos */

struct cl_write {
	uint64_t due_us, token, term, vote, first_pos;
	VEC(struct cl_entry) e;
};

struct cl_message {
	uint64_t due_us, order, from, to;
	size_t bytes;
	uint8_t *data;
};

struct cl_node {
	struct cluster *cl;
	uint64_t id;
	struct seq *seq; /* NULL: down */
	struct mem mem;
	/* disk */
	uint64_t term, vote;
	struct cl_log disk;
	struct cl_log view; /* what it has written or is writing: its log */
	VEC(struct cl_write) writes;
	uint64_t disk_us, disk_jitter_us;
	bool disk_stopped;  /* completes nothing */
	bool short_journal; /* opened without a vote */
	/* seen through callbacks */
	enum seq_role role;
	uint64_t role_term, leader;
	struct seq_voters voters;
	uint64_t delivered;       /* position reported last */
	uint64_t applied_at_open; /* committed_pos given at the next open */
	uint64_t too_old;         /* voter id told last */
	uint64_t noops, reads_ok, reads_failed;
};

struct cl_fact {
	uint64_t term, prev_term;
	uint32_t sum;
	bool known;
};
struct cl_seen {
	uint64_t pos, term, prev_term;
	uint32_t sum;
};

struct cluster {
	struct mem mem;
	struct rng rng;
	uint64_t seed, now_us, orders;
	struct cl_node at[CL_NODES + 1]; /* by id */
	struct seq_voters initial;
	uint32_t nodes;
	VEC(struct cl_message) wire; /* a heap by (due, order) */
	bool cut[CL_NODES + 1][CL_NODES + 1];
	uint64_t delay_us, jitter_us;
	uint32_t loss_pm, dup_pm; /* per mille */
	uint64_t window_bytes;
	uint32_t noop_bytes;
	bool (*drop)(struct cluster *cl, uint64_t from, uint64_t to, const void *data,
		     size_t bytes);
	/* what must hold */
	VEC(uint64_t) term_leader;     /* index: term */
	VEC(struct cl_fact) committed; /* index: position */
	VEC(struct cl_seen) seen;      /* a hash table, see cluster.c */
	uint64_t max_committed;
	uint64_t reads_at[4096]; /* by request: what was committed when it was asked */
	uint64_t read_next;
	uint64_t steps, proposed;
	bool failed;
	char why[256];
	struct buf trace;
	bool tracing;
	/* what the random runs met, summed over nodes that were closed too */
	struct {
		uint64_t elections, rejects, journal_reads, truncations, promotions, transfers,
			too_old;
	} met;
};

void cl_init(struct cluster *cl, uint64_t seed, uint32_t nodes, uint32_t voters);
void cl_fini(struct cluster *cl);
void cl_start(struct cluster *cl, uint64_t id); /* from its disk */
void cl_crash(struct cluster *cl,
	      uint64_t id); /* writes under way: a random number of the oldest survive */
void cl_crash_keep(struct cluster *cl, uint64_t id, uint32_t writes); /* exactly so many */
void cl_cut(struct cluster *cl, uint64_t a, uint64_t b, bool cut);
void cl_isolate(struct cluster *cl, uint64_t id, bool cut);
void cl_heal(struct cluster *cl);
bool cl_step(struct cluster *cl,
	     uint64_t until_us); /* the next event; false: none up to then, now is until_us */
void cl_run(struct cluster *cl, uint64_t us); /* for so long */
/* Until cond() or limit; true: cond */
bool cl_run_until(struct cluster *cl, uint64_t limit_us, bool (*cond)(struct cluster *cl));
void cl_deliver_all(struct cluster *cl); /* messages and writes, no ticks; time moves with them */
uint64_t cl_leader(const struct cluster *cl); /* of the highest term among those up; 0 none */
bool cl_stand(struct cluster *cl,
	      uint64_t id); /* makes it stand now, its peers not content; does it lead? */
uint64_t cl_elect(struct cluster *cl, uint64_t id); /* the same, some times; its term or 0 */
void cl_three(struct cluster *cl);                  /* 1, 2, 3 with 1 leading, all quiet */
enum status cl_propose(struct cluster *cl, uint64_t id, const char *text, uint64_t *pos_out);
void cl_read(struct cluster *cl, uint64_t id);
void cl_check(struct cluster *cl);
void cl_fail(struct cluster *cl, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const struct cl_entry *cl_log_at(const struct cl_log *log, uint64_t pos); /* NULL: none */
uint64_t cl_log_last(const struct cl_log *log);
uint64_t
cl_applied(const struct cl_node *n); /* what a checkpoint of this running node may contain */
void cl_disk_drop(struct cluster *cl, uint64_t id, uint64_t below_pos);
bool cl_all_agree(
	struct cluster
		*cl); /* a condition: all up members have delivered all that the leader has */

#endif
