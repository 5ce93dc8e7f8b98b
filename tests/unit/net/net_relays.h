/*
 * net_relays.h - relays over the simulated network, for tests (tests/unit/net).
 *
 * struct relays is some nodes, each a relay with its timers on one simulated clock, and one log
 * that the voters are given by magic: consensus is not under test here. A batch may carry a new
 * member list. With auto_remove the leader removes who is reported suspect, a removed node that
 * lives joins again, and a voter that suspects the leader leads.
 */
#ifndef VALENCE_TESTS_NET_RELAYS_H
#define VALENCE_TESTS_NET_RELAYS_H

#include "base/list.h"
#include "net/relay/relay.h"
#include "net/sim/sim_net.h"

#define RELAYS_NODES_MAX 80
#define RELAYS_LOG_ID 0x1234567890abcdefull

struct relays;

struct node {
	struct relays *c;
	uint32_t number;
	struct sim_host *host;
	struct relay *relay; /* NULL: crashed */
	struct timers timers;
	struct logger logger;
	struct rng entropy;
	engine_id id;
	uint64_t voter;
	char location[64];
	seq_index first, last;      /* its window of the log */
	seq_index installed;        /* a joiner's: what the reply brought */
	uint32_t members_version;
	bool joining;
	bool stuck;                 /* does not apply what comes of the log, see relays_stick() */
	seq_index held;             /* what has come while it was stuck */
	engine_id join_id;          /* given by the join record that is on its way */
	uint64_t not_members, gone, waiting, replies, refusals, suspects, refused_for_good;
	uint64_t gaps;              /* batches that did not continue the log: must stay 0 */
	VEC(uint64_t) got;          /* unicast: from << 32 | payload */
	VEC(uint64_t) voter_got;
	uint64_t got_bytes;         /* of all unicast */
	VEC(struct relay_interest) encoded; /* what its log_get was asked for */
	engine_id last_suspect;
	uint64_t last_suspect_us;
	char last_cause[96], last_waiting[400];
};

struct log_batch { seq_index first, last; uint32_t members_version, bytes; uint8_t *data; };
struct member_list { struct relay_member *at; uint32_t count; seq_index index; };

struct relays {
	struct mem mem;
	struct logger logger;
	struct rng rng;
	uint64_t now_us;
	struct sim_net *sn;
	struct node nodes[RELAYS_NODES_MAX];
	uint32_t node_count, voter_count;
	VEC(struct log_batch) log;
	VEC(struct member_list) lists;
	seq_index log_last;
	engine_id next_id;
	uint32_t leader; /* node number */
	bool auto_remove;
	uint64_t removals, heartbeat_limit_us;
	const char *secret;      /* of nodes that are opened from now on; NULL: none */
	void (*tap)(struct relays *c, const char *line); /* sees each line of the log; may be NULL */
	const char *multicast;   /* the group of nodes that are opened from now on; NULL: none */
	uint32_t fan_out, batch_bytes;
	uint32_t direct_links;   /* of nodes that are opened from now on; 3 at first */
};

/* @voters nodes are voters, all are members from the start; node i has id i + 1. */
void relays_init(struct relays *c, uint64_t seed, uint32_t nodes, uint32_t voters,
		 uint32_t fan_out);
void relays_init_secret(struct relays *c, const char *secret, uint64_t seed, uint32_t nodes, uint32_t voters,
			uint32_t fan_out); /* relays_init() has one of its own; NULL: none */
void relays_init_multicast(struct relays *c, uint64_t seed, uint32_t nodes, uint32_t voters, uint32_t fan_out);
void relays_fini(struct relays *c);
struct node *
relays_add(struct relays *c); /* a node that is not a member; starts joining at the voters */
void relays_run(struct relays *c, uint64_t us);
void relays_append(struct relays *c, uint32_t batches); /* without a new member list */
void relays_remove(struct relays *c, engine_id id);
void relays_crash(struct relays *c, struct node *n, bool power);
void relays_restart(
	struct relays *c,
	struct node *n); /* voters keep their voter id; all come back without an engine id */
/*
 * All voters were started again: the first one is elected and joins by itself, in place of its
 * stale id (P23).
 */
void relays_found(struct relays *c);
bool relays_alive(const struct node *n); /* not crashed, not paused */
bool relays_is_member(const struct relays *c, engine_id id);
/* All living nodes are members, have the whole log, and the others a parent that lives. */
bool relays_settled(const struct relays *c);
bool relays_settle(struct relays *c, uint64_t limit_us); /* runs until it is */
/*
 * Every living node has fan_out children at most, one link to each other living voter if it is one, to a parent if it is not,
 * what links it has to single nodes beside, and no more.
 */
bool relays_links_bounded(const struct relays *c);
bool relays_bounded(struct relays *c, uint64_t limit_us); /* runs until it is so */
/* An engine that takes the log, but gets no further in applying it; and does so again. */
void relays_stick(struct relays *c, struct node *n, bool stuck);
/* One message from every living node to every other and to the leader; how many did not arrive. */
uint32_t relays_all_pairs(struct relays *c);
uint64_t relays_gaps(const struct relays *c);
void relays_dump(const struct relays *c);

#endif
