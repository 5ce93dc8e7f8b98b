/*
 * relay_int.h - the parts of a relay (net/relay, private).
 *
 * A *link* (struct rlink) has a role that its dialler chose and keeps, but for a joiner's, which
 * becomes a child's:
 *
 *   role    dialler                    acceptor
 *   child   r->parent or r->trying     counts as a child from its hello on
 *   voter   voter slot's link          the same: one link for two voters, whoever dialled it
 *   join    r->join.link               answers the request, then streams the log
 *   probe   a suspect's                says who it is
 *   direct  traffic's dialled          accepted: unicast between the two goes over it, both ways
 *
 * A link that is lost is unlinked at once and freed at the end of the turn (r->dead), because
 * callbacks of the engine in the middle of a message may close any link.
 */
#ifndef VALENCE_NET_RELAY_RELAY_INT_H
#define VALENCE_NET_RELAY_RELAY_INT_H

#include "base/list.h"
#include "base/mac.h"
#include "base/map.h"
#include "net/relay/relay.h"
#include "net/relay/relay_wire.h"
#include "net/tree/tree.h"

#define RELAY_SUSPECT_REPEAT_US 1000000u
#define RELAY_LOG_BACKLOG_MAX RELAY_LINK_LOG_MAX /* over: no more log until the link drained */
#define RELAY_UNICAST_BACKLOG_MAX (32u << 20) /* over: unicast is dropped */
#define RELAY_VOTER_BACKLOG_MAX (64u << 20)   /* over: consensus messages are dropped; they are repeated */
#define RELAY_LOCAL_MAX (64u << 20)           /* bytes waiting for delivery to self; over: dropped */
#define RELAY_STRANGERS_MAX 256               /* accepted links that have not proved themselves; over: the oldest goes */
#define RELAY_JOINERS_MAX 64
#define RELAY_HOPS_MAX 64
#define RELAY_CANDIDATES 12
#define RELAY_SLOTS (RELAY_VOTERS_MAX + 3)    /* a change of voters may name more for a while */
#define RELAY_LOG_CACHE 16
#define RELAY_INTEREST_MORE_US 5000u    /* what is wanted in addition is told so soon after the last telling */
#define RELAY_INTEREST_LESS_US 1000000u /* what is wanted no more */
#define RELAY_REBALANCE_US 5000000u
#define RELAY_AVOIDED 8
#define RELAY_AVOID_US 10000000u              /* a parent that was left is not gone back to for so long; doubles, to 32 times */
#define RELAY_SLOW_US 10000000u               /* the same between two moves away from slow parents */

enum rlink_state {
	RLINK_DIALLING, /* dialled, not up */
	RLINK_GREETING, /* dialled: hello sent; accepted: waits for one */
	RLINK_READY,
	RLINK_CLOSING,  /* bye or refusal sent; nothing is heard any more */
	RLINK_DEAD,
};

/* What a handshake keeps until its end. */
struct rgreeting {
	struct relay_hello hello;   /* at the acceptor: what the dialler claims, not believed before its proof */
	uint8_t said[RELAY_GREETING_MAX]; /* the hello as it went over the link */
	uint32_t said_bytes;
	uint8_t own[MAC_BYTES], theirs[MAC_BYTES]; /* the proof that we send; that we expect */
};

/* Why a link is no more. */
enum rloss {
	RLOSS_BROKEN,   /* an error of the link: is the peer still there? */
	RLOSS_REFUSED,  /* nobody listens at its address */
	RLOSS_TIMEOUT,  /* the dial or the greeting was not answered */
	RLOSS_SILENT,   /* no heartbeat for the limit */
	RLOSS_CLOSED,   /* the peer lives, but does not want it or talks nonsense */
};

/* Why another parent is looked for while there is one; see score.c. */
enum move {
	MOVE_NONE,
	MOVE_QUIET,   /* nothing comes from it, or it does not answer */
	MOVE_STUCK,   /* it talks, but the log that others have does not come */
	MOVE_SLOW,    /* the log comes late, or its answers do */
	MOVE_CUT_OFF, /* it has lost the voters itself */
	MOVE_CROWDED, /* it has more children than it should, and is not our default */
	MOVE_DEFAULT, /* another one is the default */
};

struct rlink {
	struct list all;      /* r->links or r->dead */
	struct relay *r;
	struct net_link *net; /* NULL: dead */
	enum rlink_state state;
	enum relay_role role; /* 0: an accepted link before its hello */
	bool accepted;
	bool stranger;        /* accepted, and counted among those that have not proved themselves */
	bool challenged, proved; /* a challenge was sent or answered; the peer knows the secret */
	struct rgreeting *greeting;
	uint64_t serial;
	engine_id engine;     /* the peer; 0: not a member, or not known */
	uint64_t voter, nonce;
	uint32_t attach;      /* the peer's count of its hellos: its own's, or as of its welcome */
	engine_id expect;     /* dialled: who should be there; 0: anyone */
	char address[NET_ADDRESS_MAX];
	uint64_t opened_us, rx_us, tx_us, rx_bytes_seen;
	uint64_t beat_us;     /* when the last heartbeat was sent */
	/*
	 * the round trip, smoothed, 0: not measured; of the heartbeats that were echoed, when the newest was sent; the
	 * peer's newest, by its clock, and when that came
	 */
	uint64_t rtt_us, echoed_us, peer_sent_us, peer_at_us;
	uint64_t used_us;     /* direct, from its welcome on: the last unicast, either way; else 0 */
	uint64_t deadline_us; /* of dial and greeting, or of closing */
	/* what its heartbeats say */
	uint32_t depth, children;
	uint64_t silence_us, state_us;
	engine_id leader;
	seq_index log_last, newest;
	/*
	 * the log, out to a child: the next index to send, 0: not asked for; in from a parent: the
	 * next one that must come
	 */
	seq_index log_out, log_in, log_until; /* log_until: the last index that the child wants */
	struct relay_interest interest; /* of who takes the log from us: what it wants, all until it says so */
	bool log_asked;       /* it does, or did: by multicast it may need it again */
	bool interest_told;   /* to a parent */
	struct map below;     /* engine -> attach count as a pointer; what the peer claims */
	bool join_asked, join_accepted;
};

struct route { struct rlink *via; uint32_t attach; };

struct member {
	engine_id id;
	uint64_t voter;
	uint64_t lost_us; /* a voter knows no way to it since; 0: it does */
	uint64_t nonce;   /* of the process that said it has this id; 0: none did */
	char address[NET_ADDRESS_MAX];
	char location[64];
};

struct suspect {
	struct list all;
	engine_id id;
	bool reported, unheard; /* unheard: there was no parent to report it to */
	uint64_t reported_us, next_probe_us;
	uint64_t nameless_us; /* since then the answer is from an engine without an id; 0: it is not */
	uint32_t broken;      /* probes in a row that broke before an answer */
	struct rlink *probe;
	char cause[96];
};

struct voter_slot {
	uint64_t voter;
	char address[NET_ADDRESS_MAX];
	struct rlink *link; /* ready; whoever dialled it. NULL: none */
	struct rlink *dial; /* ours, on its way; NULL when there is a link */
	uint64_t next_dial_us, rx_us, backoff_us;
	engine_id engine; /* as it said last */
	uint32_t broken;  /* dials in a row that broke before the welcome */
};

struct local_item { struct list l; bool voter; uint64_t from; struct net_msg *msg; };

struct candidate { engine_id id; char address[NET_ADDRESS_MAX]; };

struct chunk { uintptr_t base; struct net_region *region; uint32_t uses; uint64_t used; };

struct join_state {
	bool active, accepted;
	char (*contacts)[NET_ADDRESS_MAX];
	uint32_t contact_count, at, tried, refused; /* refused: of the tried, for a reason that stays */
	uint8_t *request;
	size_t request_bytes;
	struct rlink *link;
	uint64_t next_us, calls; /* calls: of relay_join(), to notice one inside a callback */
	char cause[300];
	const char *advice; /* to the last such refusal */
};

/* What is refused, in kinds whose lines in the log are limited each by itself. */
enum guard_kind {
	GUARD_GARBAGE, GUARD_VERSION, GUARD_LOG_ID, GUARD_SECRET, GUARD_REPLAY, GUARD_SLOW, GUARD_CROWD, GUARD_RATE,
	GUARD_MULTICAST,
	GUARD_BY_PEER, /* we are the one refused */
	GUARD_KINDS
};

#define GUARD_HOSTS 128
#define GUARD_SEEN 256

/* See guard.c. */
struct guard {
	uint32_t strangers;
	struct { uint64_t since_us, shown, hidden; char peer[NET_ADDRESS_MAX]; } lines[GUARD_KINDS];
	struct { uint64_t host, until_us; } hosts[GUARD_HOSTS]; /* where failures came from: hash; their allowance is used up to */
	uint64_t seen[GUARD_SEEN]; /* beginnings of the challenges of hellos that were proved */
	uint32_t seen_at;
};

struct relay {
	struct relay_config cfg;
	struct rng rng;
	struct net *net;
	struct timer tick;
	char address[NET_ADDRESS_MAX];
	uint64_t nonce, log_id, serials, started_us, tick_us;
	uint32_t attaches;
	struct list links, dead;
	VEC(struct rlink *) turn; /* of relay_links_tick() */
	uint32_t link_count;
	struct guard guard;
	struct rmcast *mcast; /* NULL: none */
	struct buf scratch;
	uint8_t *secret; /* NULL: none */
	size_t secret_bytes;

	engine_id self;
	uint64_t self_voter, config_voter; /* by relay_set_self() and relay_set_voters() */
	engine_id leader;
	struct member *members;
	struct tree_node *nodes; /* the members as the tree sees them */
	uint32_t member_count;
	struct candidate voters[RELAY_SLOTS]; /* id: voter id; where voters are, or were: they come back there */
	uint32_t voter_count, voter_at;
	engine_id max_seen; /* the highest id that ever was a member, as far as known */

	/* the parent */
	struct rlink *parent, *trying;
	struct candidate candidates[RELAY_CANDIDATES + RELAY_SLOTS + 1];
	uint32_t candidate_count, candidate_at, attempt;
	enum move move;          /* there is a parent, and another is tried beside it: why */
	struct candidate roomiest; /* nobody serves us: of the full ones of this round the one with fewest children; id 0: none */
	uint32_t roomiest_children, full; /* full: so many of this round were */
	uint64_t guest_us;       /* the parent is crowded, and not our default: another place is looked for from then on */
	bool settle;             /* the roomiest is tried again, and taken as it is */
	bool want_voter;         /* the last parent could not serve our index: only voters will do */
	bool log_gone_told;
	uint64_t next_try_us, next_switch_us;
	/* score.c: how the parent serves */
	uint64_t awake_us;       /* since then this engine itself was never away for long */
	seq_index mark, want;    /* an index that a voter had at mark_us, awaited here; the next one that we need */
	uint64_t mark_us, want_us; /* want_us: when the log last moved */
	uint64_t next_slow_us;   /* when a parent that is only slow may be left again */
	uint32_t slow_moves;     /* in a row: each doubles the time to the next */
	struct { engine_id id; uint64_t until_us; uint32_t times; } avoided[RELAY_AVOIDED]; /* parents that were left */
	engine_id default_parent; /* of the members as they are */
	uint32_t default_depth;
	uint64_t sign_us;        /* the last sign of the voters, as far as known */

	struct voter_slot slots[RELAY_SLOTS];
	uint32_t slot_count;
	uint64_t next_look_us;   /* for members that nobody has a link to */

	struct map routes;       /* engine -> struct route */
	struct map exported;     /* engine -> attach count as a pointer: what was told upward */
	struct map changed;      /* engines to look at again before the next telling; value unused */

	VEC(struct chunk) chunks; /* remote.c */
	uint64_t chunk_uses;
	bool chunk_refused;      /* said once */
	struct map traffic;      /* engine -> struct traffic: direct.c */

	struct list suspects;
	struct join_state join;
	struct list local;
	size_t local_bytes;
	struct { seq_index first, last; uint64_t variant; struct net_msg *msg; } log_cache[RELAY_LOG_CACHE];
	uint32_t log_cache_at;
	struct relay_interest own_interest, told_interest; /* told: to the parent, or the joiner's contact */
	bool interest_changed;
	uint64_t interest_us;    /* when it was told last */
	struct relay_stats stats;
};

static inline uint64_t relay_now(const struct relay *r) { return clock_now_us(&r->cfg.clock); }
static inline uint64_t relay_voter_id(const struct relay *r)
{
	return r->config_voter ? r->config_voter : r->self_voter;
}
static inline bool relay_is_voter(const struct relay *r) { return relay_voter_id(r) != 0; }
/* Children are engines and accepted joiners that get the log. */
static inline bool rlink_is_child(const struct rlink *l)
{
	return l->accepted && l->role == RELAY_ROLE_CHILD && l->state == RLINK_READY;
}
static inline bool rlink_takes_log(const struct rlink *l)
{
	return l->accepted && l->state == RLINK_READY && l->log_out &&
	       (l->role == RELAY_ROLE_CHILD || l->role == RELAY_ROLE_JOIN);
}

/* link.c: links, from dial or accept to their end */
extern const struct net_events relay_net_events;
/* NULL: the address is bad. */
struct rlink *rlink_dial(struct relay *r, enum relay_role role, const char *address, engine_id expect,
			 uint64_t limit_us);
void rlink_send(struct rlink *l, struct net_msg *m); /* takes m */
void rlink_send_scratch(struct rlink *l);            /* what r->scratch holds */
void rlink_send_plain(struct rlink *l, enum relay_type type, bool accepted, const void *data, size_t bytes);
void rlink_close(struct rlink *l);                   /* at once; the owner's pointers to it are cleared */
void rlink_bye(struct rlink *l, enum relay_farewell reason); /* tells, then closes */
void rlink_refuse(struct rlink *l, enum relay_refusal reason, const char *text);
void rlink_tell_not_member(struct rlink *l);
void rlink_bad(struct rlink *l, const char *what);   /* the peer broke the protocol */
void rlink_ident(struct rlink *l);
void relay_reap(struct relay *r);
void relay_remember_voter(struct relay *r, uint64_t voter, const char *address);
void relay_links_tick(struct relay *r, uint64_t now);
/* The link was ready, or on its way to be, and is no more. Not called for those we close. */
void relay_link_lost(struct relay *r, struct rlink *l, enum rloss why, const char *cause);
struct net_msg *relay_msg_scratch(struct relay *r);
uint64_t relay_silence_us(const struct relay *r);

/* greet.c: hello, welcome, refuse, ident */
void relay_greet(struct rlink *l);
void relay_on_hello(struct rlink *l, const uint8_t *data, size_t bytes);
void relay_greet_proved(struct rlink *l); /* accepted, and its proof was right: judge its hello */
bool relay_log_differs(const struct relay *r, uint64_t log_id);
void relay_on_welcome(struct rlink *l, struct reader *rd);
void relay_on_refuse(struct rlink *l, struct reader *rd);
void relay_on_turned_away(struct rlink *l, const char *reason); /* by the other side's transport: the secret */
void relay_on_ident(struct rlink *l, struct reader *rd);

/* prove.c: that both sides know the secret */
void rprove_begin(struct rlink *l, struct relay_hello *m); /* dialled: before the hello is encoded into r->scratch */
void rprove_said(struct rlink *l, const uint8_t *data, size_t bytes); /* this hello, sent or received */
void rprove_challenge(struct rlink *l);
void relay_on_challenge(struct rlink *l, const uint8_t *data, size_t bytes);
void relay_on_proof(struct rlink *l, struct reader *rd);
/* What the peer says now may be believed: there is no secret, or it proved that it knows it. */
static inline bool rlink_trusted(const struct rlink *l) { return !l->r->secret || l->proved; }
void rgreeting_free(struct rlink *l);

/* guard.c: strangers, and the log lines about them */
bool rguard_admit(struct relay *r, const struct net_link *net); /* false: this one is to be closed */
void rguard_add(struct rlink *l);
void rguard_release(struct rlink *l);
/* One line in the log, or one more in the count of those that are not shown. */
void rguard_log(struct relay *r, enum guard_kind kind, const char *event, const char *peer, uint64_t engine,
		const char *name, const char *reason);
void rguard_failed(struct rlink *l, enum guard_kind kind, const char *reason); /* of a stranger: also counted for its address */
void rguard_turned_away(void *ctx, const char *peer, enum status why, const char *reason);
bool rguard_seen(struct relay *r, const uint8_t *challenge, bool add);
void rguard_tick(struct relay *r, uint64_t now);

/* parent.c: finding and keeping a parent */
void rparent_members_changed(struct relay *r);
void rparent_tick(struct relay *r, uint64_t now);
void rparent_lost(struct relay *r, struct rlink *l, bool retry_first);
void rparent_drop(struct relay *r);             /* and do not look for another */
void rparent_try_failed(struct relay *r);
void rparent_welcomed(struct relay *r, struct rlink *l);
void rparent_adopt(struct relay *r, struct rlink *l);
void rparent_log_gone(struct relay *r, struct rlink *l);

/* score.c: how well a link serves */
void rscore_beat(struct rlink *l, uint64_t now);
void rscore_leader(struct relay *r, engine_id leader); /* who leads; a new one is told to the children at once */
void rscore_on_heartbeat(struct rlink *l, struct reader *rd);
void rscore_tick(struct relay *r, uint64_t now);
void rscore_adopted(struct relay *r, const struct rlink *old, const struct rlink *l, enum move why);
enum move rscore_parent(const struct relay *r, uint64_t now); /* why it should be left; MOVE_NONE: it serves */
bool rscore_better(const struct relay *r, const struct rlink *l, enum move why); /* than the parent, in what it is left for */
bool rscore_avoids(const struct relay *r, engine_id id);
const char *rscore_move_name(enum move why);

/* voters.c */
void rvoters_tick(struct relay *r, uint64_t now);
struct voter_slot *rvoters_find(struct relay *r, uint64_t voter);
struct voter_slot *rvoters_find_engine(struct relay *r, engine_id id);
enum relay_refusal rvoters_judge(struct relay *r, const struct rlink *l); /* a hello; 0: it may come in */
void rvoters_make_room(struct relay *r, struct rlink *l); /* its hello is accepted: other links with this voter end */
void rvoters_accepted(struct relay *r, struct rlink *l);
void rvoters_welcomed(struct relay *r, struct rlink *l);
void rvoters_identified(struct relay *r, struct rlink *l);
void rvoters_lost(struct relay *r, struct rlink *l, enum rloss why, const char *cause); /* dialled, or ready */
uint64_t rvoters_silence_us(const struct relay *r);
uint32_t rvoters_count(const struct relay *r); /* links that are up */
void relay_on_voter(struct rlink *l, const uint8_t *data, size_t bytes);

/* route.c: who is below which link, and unicast */
void rroute_claim(struct rlink *l, engine_id id, uint32_t attach);
void rroute_withdraw(struct rlink *l, engine_id id);
void rroute_link_gone(struct rlink *l);
void rroute_tell(struct relay *r);           /* upward, what changed */
void rroute_tell_all(struct rlink *l);       /* on a new link */
bool rroute_known(const struct relay *r, engine_id id);
void relay_on_below(struct rlink *l, struct reader *rd);
void relay_on_unicast(struct rlink *l, const uint8_t *data, size_t bytes);
int relay_deliver_local(struct relay *r);
void relay_local_push(struct relay *r, bool voter, uint64_t from, struct net_msg *m);

/* direct.c: direct links */
struct rlink *rdirect_link(const struct relay *r, engine_id to); /* ready; NULL: none */
/* This engine sent @to a message over @via: is it worth a link of its own? */
void rdirect_sent(struct relay *r, engine_id to, const struct rlink *via, size_t bytes);
enum relay_refusal rdirect_judge(struct relay *r, struct rlink *l); /* a hello; 0: it may come in */
void rdirect_accepted(struct rlink *l);
void rdirect_welcomed(struct rlink *l);
void rdirect_lost(struct rlink *l, enum rloss why);
void rdirect_unlink(struct rlink *l);        /* any link that is no more */
void rdirect_tick(struct relay *r, uint64_t now);
void rdirect_drop(struct relay *r);          /* all: this engine is another now */
void rdirect_members_changed(struct relay *r);
uint32_t rdirect_count(const struct relay *r); /* that are up */
void rdirect_fini(struct relay *r);

bool rdirect_expect(struct relay *r, engine_id from, size_t bytes); /* true: one is being dialled */

/* route.c */
struct rlink *rroute_next_to(struct relay *r, engine_id to); /* a link straight to it, ready; NULL: there is none */

/* remote.c: memory that peers read, and reads of theirs */
void relay_on_read(void *ctx, struct net_link *net, uint64_t token, const void *data, size_t bytes);
void rremote_fini(struct relay *r);

/* log.c: the log streams */
void relay_log_pump(struct rlink *l);
void relay_log_pump_all(struct relay *r);
void relay_on_log_from(struct rlink *l, struct reader *rd);
void relay_on_log(struct rlink *l, const uint8_t *data, size_t bytes);
void relay_on_log_gone(struct rlink *l, struct reader *rd);
/* The parent or contact, for log_want() up to @until (UINT64_MAX: for ever, 0: no more). */
void relay_log_ask(struct rlink *l, seq_index until);

/* mcast.c: the log by datagrams */
enum status rmcast_open(struct relay *r, struct error *err); /* nothing when there is no group */
void rmcast_close(struct relay *r);
int rmcast_progress(struct relay *r);
void rmcast_advanced(struct relay *r, seq_index last); /* the leader's log */
void rmcast_heard(struct relay *r, seq_index last);    /* the parent has this index */
void rmcast_tree_brought(struct relay *r);             /* a batch came over the tree */
void rmcast_streaming(struct relay *r);                /* a new parent streams */

/* interest.c: what the subtree wants */
void relay_on_wants(struct rlink *l, struct reader *rd);
void rinterest_tell(struct relay *r);     /* upward, if it changed */
void rinterest_tell_first(struct rlink *l); /* on a link on which the log is about to be asked for */

/* suspect.c */
void relay_member_seen(struct relay *r, engine_id id, uint64_t nonce);
struct member *relay_member_find(const struct relay *r, engine_id id);
void rsuspect_check(struct relay *r, engine_id id);  /* dial it; report it when that fails */
void rsuspect_report(struct relay *r, engine_id id, const char *cause);
void rsuspect_clear(struct relay *r, engine_id id);
bool rsuspect_is(const struct relay *r, engine_id id);
void rsuspect_members_changed(struct relay *r);
void rsuspect_path_found(struct relay *r);
void rsuspect_tick(struct relay *r, uint64_t now);
void rsuspect_probe_done(struct relay *r, struct rlink *l, enum rloss why, const char *cause);
void rsuspect_probe_answered(struct relay *r, struct rlink *l);
void rsuspect_fini(struct relay *r);

/* join.c */
void rjoin_tick(struct relay *r, uint64_t now);
void rjoin_welcomed(struct relay *r, struct rlink *l);
void rjoin_failed(struct relay *r, const char *cause);
/* This link is refused for a reason that stays; its loss follows. */
void rjoin_refused(struct relay *r, const struct rlink *l, const char *cause, const char *advice);
void rjoin_fini(struct relay *r);
void rjoin_became_member(struct relay *r);
void relay_on_join_request(struct rlink *l, const uint8_t *data, size_t bytes);
void relay_on_join_reply(struct rlink *l, const uint8_t *data, size_t bytes);

#endif
