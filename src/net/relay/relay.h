/*
 * relay.h - the relay tree of one engine: links, routing, log streams, failure detection (net).
 *
 * The relay knows members by id, address, location and voter id, as the engine tells it; it does not know atoms,
 * records or SQL. It keeps:
 *   - one link up to a parent (P22: a voter, or an engine with a lower id; default from net/tree/tree.h, any
 *     legal one when that fails, a voter when none is left), and links from children;
 *   - for a voter: one link to every other voter, for consensus messages and routing;
 *   - for a joiner without an id: a link to one contact, which streams the log to it.
 * Down a link goes the log: a child says "log from index x" and gets batches from its parent's window from
 * there on, for as long as the link lives; losing a parent loses nothing (design section 6).
 * Unicast is relayed along the tree: each link knows the engines below it (children report them upward); what is
 * not below goes up; voters know what is below each other. Best effort, at most once; two messages between one
 * pair arrive in order unless the path changed between. Users repeat what must not be lost.
 * Two members that send each other much get a direct link beside the tree, on demand and bounded (direct.c).
 * Failure (P24): a link error followed by a refused dial, or no heartbeat for the limit, on every path tried,
 * makes the peer suspect; the engine reports that to the leader. The relay never decides membership.
 *
 * Single-threaded, no blocking; time and randomness come from the config. Same code over ofi and sim.
 */
#ifndef VALENCE_NET_RELAY_RELAY_H
#define VALENCE_NET_RELAY_RELAY_H

#include "base/ids.h"
#include "base/timer.h"
#include "net/mcast.h"
#include "net/net.h"

#define RELAY_MEMBERS_MAX 4096
#define RELAY_VOTERS_MAX 5
#define RELAY_DIRECT_LINKS_DEFAULT 16
#define RELAY_HEARTBEAT_LIMIT_US 900000u /* so that who is silent is removed within a second */
/*
 * Back-pressure: what a child that reads slowly, or not at all, costs its parent. Of the log, at most so many bytes and the
 * batch that goes over it wait on its link; the rest stays where it is, in the engine's window, which is not kept for
 * children. When the window has moved on, the child is told (log_gone) and asks a voter, which an archive answers from its
 * journal. Unicast for it is dropped beyond RELAY_UNICAST_BACKLOG_MAX (32 MiB; senders repeat what matters). Nobody else on
 * other links waits for it.
 */
#define RELAY_LINK_LOG_MAX (8u << 20)
#define ENGINE_LEADER (~UINT64_C(0)) /* as a destination: whoever leads; voters forward it */

/*
 * What an engine, or all of a subtree, wants of the log beside the headers: bits whose meaning is the engines' own; those of
 * several are added up by or. All set: everything. A hint (P7): who is not sent what it needs asks for it.
 */
#define RELAY_INTEREST_BYTES 256
struct relay_interest { uint8_t bits[RELAY_INTEREST_BYTES]; };

struct relay;
struct relay_peer_ref { uint64_t id; }; /* names a link of a joiner or other stranger; stale ones are ignored */

struct relay_member {
	engine_id id;
	uint64_t voter_id;  /* 0: not a voter */
	char address[NET_ADDRESS_MAX];
	char location[64];  /* "region/rack/host" or "" */
};

struct relay_events {
	/* A unicast message for this engine. */
	void (*message)(void *ctx, engine_id from, const void *data, size_t bytes);
	/* A batch of the log from the parent (or the joiner's contact); bytes as given by log_get there. */
	void (*log_batch)(void *ctx, const void *data, size_t bytes);
	/* The parent cannot serve our index any more (and a voter neither): the engine must join anew. */
	void (*log_gone)(void *ctx);
	/* Consensus message from another voter. */
	void (*voter_message)(void *ctx, uint64_t voter_id, const void *data, size_t bytes);
	/*
	 * A peer is suspect; repeated at most once a second while it stays so, and once more when this engine
	 * had no parent to report it to and got one.
	 */
	void (*suspect)(void *ctx, engine_id who, const char *cause);
	/* Someone who is not a member asks to join; answer with relay_join_reply() now or later. */
	void (*join_request)(void *ctx, struct relay_peer_ref from, const void *data, size_t bytes);
	/*
	 * The contact's answer to relay_join(). accepted: the link stays and the log follows after relay_join_stream().
	 * When that link is lost before relay_set_self(), the relay asks the next contact, and another answer comes: what
	 * the last one brought is void. Not accepted: it goes on with the next contact, unless told otherwise.
	 */
	void (*join_reply)(void *ctx, bool accepted, const void *data, size_t bytes);
	/*
	 * This engine has another parent: what it had sent up or was to get by the last one may be lost, and is worth
	 * sending again at once (P4). NULL: it waits for its timeouts.
	 */
	void (*moved)(void *ctx);
	/* A peer says that this engine was removed: its id is void, it may join again. Repeated by every peer asked. */
	void (*not_member)(void *ctx);
	/* No contact of relay_join() answered; it goes on trying. cause for the log and the operator. */
	void (*join_waiting)(void *ctx, const char *cause);
	/*
	 * All contacts of relay_join() answered, and refuse for a reason that waiting does not change (another secret,
	 * cluster or version). It goes on trying, unless it is told otherwise. advice says what to do. NULL: as waiting.
	 */
	void (*join_refused)(void *ctx, const char *cause, const char *advice);
	/*
	 * The engine's log window: the encoded batch that contains index @from, whole but for what @interest does not
	 * want; NULL: it is gone, or not there yet (from > last). *first_out, *last_out: its indexes. Lent until return.
	 * A child always continues at last_out + 1.
	 */
	const void *(*log_get)(void *ctx, seq_index from, const struct relay_interest *interest, size_t *bytes_out,
			       seq_index *first_out, seq_index *last_out);
	/*
	 * Names the encoding that log_get would give: the same for interests that are alike in this batch. NULL: there is
	 * one only.
	 */
	uint64_t (*log_variant)(void *ctx, seq_index from, const struct relay_interest *interest);
	seq_index (*log_last)(void *ctx);  /* newest index that may be given to children */
	seq_index (*log_first)(void *ctx); /* oldest index still here */
	seq_index (*log_want)(void *ctx);  /* the index this engine needs next from its parent */
	/* What relay_read() asked for; data lent until return. May be NULL. */
	void (*read)(void *ctx, engine_id from, uint64_t token, const void *data, size_t bytes);
};

struct relay_config {
	struct mem *mem;
	struct logger *log;
	struct clock clock;
	struct timers *timers;
	uint64_t seed;
	const struct net_ops *net_ops;
	const char *provider;
	void *net_backend;            /* sim: the simulated host */
	const char *listen;           /* host:port */
	const char *name;             /* the engine's, for the other side's log; NULL: none */
	/*
	 * What every engine of the cluster knows and proves to know before a link is of any use; copied. NULL: there is
	 * none, and nobody with one is talked to. entropy is needed with it.
	 */
	const void *secret;
	size_t secret_bytes;
	struct entropy entropy;
	const struct relay_events *events;
	void *ctx;
	const char *multicast;        /* group of mcast.h, by which the log comes, too; lent; NULL: none */
	const struct mcast_ops *mcast_ops;
	uint32_t fan_out;             /* 0: 8 */
	uint32_t direct_links;        /* at most, whoever dialled them; 0: none */
	uint64_t remote_bytes;        /* of memory that peers may read, at most; 0: none */
	uint64_t heartbeat_us;        /* 0: 100 ms */
	uint64_t heartbeat_limit_us;  /* 0: RELAY_HEARTBEAT_LIMIT_US */
};

MUST_CHECK enum status relay_open(const struct relay_config *cfg, struct relay **relay_out, struct error *err);
void relay_close(struct relay *r);
const char *relay_address(const struct relay *r); /* bound */

/* Links to relays of another log id are refused, by either side; 0 (at first): not known yet, any will do. */
void relay_set_log_id(struct relay *r, uint64_t log_id);

/*
 * A first try to be a member: dial the contacts in turn until one accepts. request and contacts are copied. A new
 * call replaces the last one; without contacts it only ends it.
 */
void relay_join(struct relay *r, const char *const *contacts, uint32_t contact_count, const void *request,
		size_t bytes);
/* The joiner has installed what the reply brought: send me the log from events->log_want() on. */
void relay_join_stream(struct relay *r);
void relay_join_reply(struct relay *r, struct relay_peer_ref to, bool accepted, const void *data, size_t bytes);

/* This engine's id (0: not a member yet). Called once the own join record is applied, and with 0 when removed. */
void relay_set_self(struct relay *r, engine_id self, uint64_t voter_id);
/* The members as of @index, sorted by id; called after each membership record. Links of removed ones are closed. */
void relay_set_members(struct relay *r, const struct relay_member *members, uint32_t count, seq_index index);
/*
 * The voters to keep links to, for a voter (from the consensus configuration, which may be ahead of or behind
 * the members; also before this engine has an id: a restarted archive elects first and joins afterwards).
 */
void relay_set_voters(struct relay *r, uint64_t self_voter_id, const uint64_t *voter_ids,
		      const char (*addresses)[NET_ADDRESS_MAX], uint32_t count);
void relay_set_leader(struct relay *r, engine_id leader); /* 0 unknown; voters call it on change */

/* Best effort; to self is delivered on the next progress. At most NET_MESSAGE_MAX - 24 bytes: senders cut. */
void relay_send(struct relay *r, engine_id to, const void *data, size_t bytes);
/*
 * So many bytes will come from that member: is it worth a link of its own? True: its memory can be read as soon as a link
 * that is being dialled is up.
 */
bool relay_expect(struct relay *r, engine_id from, size_t bytes);

/*
 * Remote memory, over a fabric that has it and a link straight to the member: false, or 0, where that is not so, and then
 * the other engine is asked to send. relay_expose() lets peers read memory that is there in whole aligned chunks of
 * RELAY_CHUNK_BYTES (slabs): it says where the bytes are, in at most @max extents; each call is ended by relay_unexpose()
 * with the same bytes. Chunks stay registered in between, as many as config.remote_bytes are, and a peer that knows the key may still read them.
 */
#define RELAY_CHUNK_BYTES ((size_t)2 << 20)
struct relay_extent { uint64_t address, key; uint32_t bytes; };
bool relay_can_read(const struct relay *r, engine_id from);
bool relay_read(struct relay *r, engine_id from, uint64_t address, uint64_t key, uint32_t bytes, uint64_t token);
uint32_t relay_expose(struct relay *r, const void *at, size_t bytes, struct relay_extent *out, uint32_t max);
void relay_unexpose(struct relay *r, const void *at, size_t bytes);
void relay_memory_gone(struct relay *r, const void *at, size_t bytes); /* before it is given back */

void relay_voter_send(struct relay *r, uint64_t voter_id, const void *data, size_t bytes);
/* What this engine wants itself; told to the parent with what its children want. At first: everything. */
void relay_set_interest(struct relay *r, const struct relay_interest *own);
/* New batches are in the window: stream them to the children that wait for them. */
void relay_log_advanced(struct relay *r);

int relay_progress(struct relay *r); /* net progress and what follows from it; > 0 when something happened */
int relay_wait_fd(struct relay *r);
int relay_mcast_fd(struct relay *r); /* level, readable; -1: none */
bool relay_try_wait(struct relay *r);

engine_id relay_parent(const struct relay *r); /* 0: none */
/*
 * Since the last sign of the voters: a voter's own, of a majority of them; others', as the heartbeats bring it down the
 * tree (so a parent that lives but is cut off itself counts as silent, P26). Since relay_open() if there was none.
 */
uint64_t relay_parent_silence_us(const struct relay *r);
engine_id relay_leader(const struct relay *r); /* as told by relay_set_leader() or the parent; a hint; 0: unknown */
uint32_t relay_depth(const struct relay *r);   /* links to the voters; a voter: 0; no parent: UINT32_MAX */
uint32_t relay_children(const struct relay *r, engine_id *ids_out, uint32_t max);
struct relay_stats {
	uint64_t messages_in, messages_out, bytes_in, bytes_out, links, redials, suspects;
	uint64_t sends_out;        /* in so many sends: messages of a turn that go the same way are one (S17) */
	uint64_t unicast_dropped;  /* no way known, or the link's backlog was over its bound */
	uint64_t log_batches_out, log_batches_in;
	uint64_t protocol_errors, refused, parent_changes;
	uint64_t mcast_in, mcast_out;             /* datagrams */
	uint64_t mcast_bad;                       /* refused: not of this cluster */
	uint64_t mcast_batches, mcast_repairs;    /* batches that came by them; times the tree was asked for others */
	uint64_t parents_left;     /* of the changes: from one that was quiet, stuck or slow, and lived */
	uint64_t parent_rtt_us;    /* smoothed; 0: no parent, or not measured yet */
	uint64_t voter_links;      /* that are up, now: one for each other voter */
	uint64_t direct_links;     /* that are up, now */
	uint64_t direct_opened;    /* by this engine */
	uint64_t reads, read_bytes;/* of other engines' memory */
	uint64_t chunks;           /* of own memory that are registered, now */
	uint64_t unicast_direct;   /* messages of this engine that went over one */
	uint64_t strangers;        /* accepted links that have not proved themselves, now */
	uint64_t silence_max_us;   /* the longest time in which nothing came on a link; own absence does not count */
	uint64_t strangers_closed; /* closed for want of room or for their address's rate, without a word */
};
void relay_stats(const struct relay *r, struct relay_stats *out);

#endif
