/*
 * relay_wire.h - the messages between two relays (net/relay).
 *
 * A message is one byte of type, then the fields of its schema, little-endian, without padding; a
 * str is a varint length and at most RELAY_TEXT_MAX - 1 bytes. What carries payload (unicast, log,
 * voter, join) has a fixed head instead, whose size is a multiple of 8, and the payload behind it.
 *
 * History: version 1, the first. Version 2: both sides prove that they know the cluster's secret;
 * a hello has a name and a challenge. Version 3: a child says up to where it wants the log, and what
 * of it; heartbeats carry an echo and the newest index; direct links. Version 4: one link between two
 * voters, both talk on it; a welcome counts its sender's hellos; batches
 * of the log are of version 2; unicast to and from the leader about commits that are answered early; engines
 * certify what SERIALIZABLE transactions read (unicast messages 29 and 30 of engine/txn).
 *
 * The dialler begins with hello. Without a secret the answer is welcome or refuse. With one it is
 * challenge or refuse; then each side proves that it knows the secret, the dialler first:
 *
 *   dialler   hello  --------------------------------------->
 *                    <---------------------------  challenge    acceptor
 *             proof  --------------------------------------->
 *                    <-------------------  proof, welcome or refuse
 *
 * A proof is the HMAC-SHA-256, under the secret, of 16 bytes that say whose it is (RELAY_LABEL_*),
 * then the whole hello and the whole challenge as they were sent, each behind its length (u32). So
 * it holds for this version, cluster, pair of engines and addresses, direction and pair of fresh
 * challenges only.
 *
 * Before the welcome nothing else is sent but "not member", behind the acceptor's proof. A hello
 * and a refuse may be longer than their schema (a later version's), everything else must be exact.
 */
#ifndef VALENCE_NET_RELAY_RELAY_WIRE_H
#define VALENCE_NET_RELAY_RELAY_WIRE_H

#include "base/buf.h"
#include "net/net.h"

#define RELAY_MAGIC 0x6c76766cu /* "lvvl" */
#define RELAY_VERSION 4
#define RELAY_TEXT_MAX 128
#define RELAY_CHALLENGE_BYTES 32
#define RELAY_GREETING_MAX 2048 /* bytes of a message before the welcome */
#define RELAY_LABEL_BYTES 16
#define RELAY_LABEL_DIALLER "valence dialler" /* with its NUL */
#define RELAY_LABEL_ACCEPTOR "valence acceptor"

enum relay_type {
	RELAY_HELLO = 1,
	RELAY_WELCOME = 2,
	RELAY_REFUSE = 3,      /* instead of welcome; the sender closes */
	RELAY_BYE = 4,         /* the last message of a link that is closed on purpose */
	RELAY_HEARTBEAT = 5,
	RELAY_BELOW = 6,       /* which engines are below the sender */
	RELAY_LOG_FROM = 7,    /* child: stream the log to me from this index on, up to that one */
	RELAY_LOG = 8,         /* a batch */
	RELAY_LOG_GONE = 9,    /* the index asked for is no longer kept here */
	RELAY_UNICAST = 10,
	RELAY_VOTER = 11,
	RELAY_JOIN_REQUEST = 12,
	RELAY_JOIN_REPLY = 13,
	RELAY_IDENT = 14,      /* the sender's ids have changed since its hello */
	RELAY_NOT_MEMBER = 15, /* the engine with this id was removed */
	RELAY_CHALLENGE = 16,  /* to a hello: prove that you know the secret */
	RELAY_PROOF = 17,
	RELAY_WANTS = 18,        /* child: what its subtree wants of the log; nothing said: everything */
};

/* What the dialler wants of the link. */
enum relay_role {
	RELAY_ROLE_CHILD = 1, /* be my parent */
	RELAY_ROLE_VOTER = 2, /* both are voters; one link for the two of them, see voters.c */
	RELAY_ROLE_JOIN = 3,  /* not a member yet */
	RELAY_ROLE_PROBE = 4, /* are you alive, and who are you? closed after the welcome */
	RELAY_ROLE_DIRECT = 5, /* both are members; their unicast to each other, beside the tree */
};

enum relay_refusal {
	RELAY_REFUSE_VERSION = 1,
	RELAY_REFUSE_LOG_ID = 2,     /* another cluster, or this one before an accepted loss (P23) */
	RELAY_REFUSE_NOT_MEMBER = 3,
	RELAY_REFUSE_UNKNOWN = 4,    /* not a member here yet; try elsewhere or later */
	RELAY_REFUSE_ILLEGAL = 5,    /* not a legal parent (P22) */
	RELAY_REFUSE_FULL = 6,
	RELAY_REFUSE_SELF = 7,       /* the dialler dialled itself */
	RELAY_REFUSE_DUPLICATE = 8,  /* another link between the two is there, or on its way */
	RELAY_REFUSE_SECRET = 9,     /* another secret, or only one side has one */
	RELAY_REFUSE_REPLAY = 10,    /* this hello came before */
};

enum relay_farewell {
	RELAY_BYE_MOVED = 1,     /* the sender needs the link no more */
	RELAY_BYE_REMOVED = 2,   /* the receiver is not a member */
	RELAY_BYE_LEAVING = 3,   /* the sender is not a member any more: find another parent */
	RELAY_BYE_DUPLICATE = 4, /* a newer link from the receiver replaces this one */
};

#define RELAY_HELLO_FIELDS(X)                                                                     \
	X(u32, magic) X(u16, version) X(u8, role) X(u64, log_id) X(u64, engine) X(u64, voter)     \
	X(u64, nonce)  /* of the sender's process: tells a restart */                             \
	X(u32, attach) /* counts the sender's hellos: the newest says where it is */              \
	X(u8, proves)  /* 1: the sender has a secret, and challenge is fresh; 0: zeros */         \
	X(b32, challenge) X(str, address) X(str, name)
#define RELAY_CHALLENGE_FIELDS(X)                                                                 \
	X(u16, version) X(u64, log_id) X(u64, engine) X(u64, voter) X(u64, nonce)                 \
	X(b32, challenge) X(str, address) X(str, name)
#define RELAY_PROOF_FIELDS(X) X(b32, mac)
#define RELAY_WELCOME_FIELDS(X)                                                                   \
	X(u64, log_id) X(u64, engine) X(u64, voter) X(u64, nonce)                                 \
	X(u32, attach) /* the sender's newest hello so far has this count: a later one is of a later dial */ \
	X(u32, depth) X(u32, children) X(u64, silence_us) X(u64, leader) X(u64, log_last)
#define RELAY_REFUSE_FIELDS(X) X(u8, reason) X(str, text)
#define RELAY_BYE_FIELDS(X) X(u8, reason)
#define RELAY_HEARTBEAT_FIELDS(X)                                                                 \
	X(u32, depth)      /* links between the sender and the voters */                          \
	X(u32, children)                                                                          \
	X(u64, silence_us) /* since the sender knew of a sign of the voters */                    \
	X(u64, leader) X(u64, log_last)                                                           \
	X(u64, newest)  /* index that a voter has, as far as the sender knows */                  \
	X(u64, sent_us) /* by the sender's clock; to be echoed */                                 \
	X(u64, echo_us) /* sent_us of the newest heartbeat from the receiver; 0: none came */     \
	X(u64, held_us) /* how long ago that one came */
#define RELAY_LOG_FROM_FIELDS(X) X(u64, index) X(u64, until) /* UINT64_MAX: for ever; less than index: stop */
#define RELAY_WANTS_FIELDS(X) X(b256, bits)
#define RELAY_LOG_GONE_FIELDS(X) X(u64, index) X(u64, first)
#define RELAY_IDENT_FIELDS(X) X(u64, engine) X(u64, voter) X(u32, attach)
#define RELAY_NOT_MEMBER_FIELDS(X) X(u64, engine)

#define RELAY_SCHEMAS(S)                                                                          \
	S(hello, RELAY_HELLO, RELAY_HELLO_FIELDS, true)                                           \
	S(welcome, RELAY_WELCOME, RELAY_WELCOME_FIELDS, false)                                    \
	S(challenge, RELAY_CHALLENGE, RELAY_CHALLENGE_FIELDS, false)                              \
	S(proof, RELAY_PROOF, RELAY_PROOF_FIELDS, false)                                          \
	S(refuse, RELAY_REFUSE, RELAY_REFUSE_FIELDS, true)                                        \
	S(bye, RELAY_BYE, RELAY_BYE_FIELDS, false)                                                \
	S(heartbeat, RELAY_HEARTBEAT, RELAY_HEARTBEAT_FIELDS, false)                              \
	S(log_from, RELAY_LOG_FROM, RELAY_LOG_FROM_FIELDS, false)                                 \
	S(log_gone, RELAY_LOG_GONE, RELAY_LOG_GONE_FIELDS, false)                                 \
	S(wants, RELAY_WANTS, RELAY_WANTS_FIELDS, false)                                 \
	S(ident, RELAY_IDENT, RELAY_IDENT_FIELDS, false)                                          \
	S(not_member, RELAY_NOT_MEMBER, RELAY_NOT_MEMBER_FIELDS, false)

#define RELAY_C_u8(name) uint8_t name
#define RELAY_C_u16(name) uint16_t name
#define RELAY_C_u32(name) uint32_t name
#define RELAY_C_u64(name) uint64_t name
#define RELAY_C_str(name) char name[RELAY_TEXT_MAX]
#define RELAY_C_b32(name) uint8_t name[32]
#define RELAY_C_b256(name) uint8_t name[256]
#define RELAY_FIELD(type, name) RELAY_C_##type(name);
/*
 * struct relay_<x>; relay_<x>_encode appends type and fields to b; relay_<x>_decode reads the
 * fields that follow the type byte: false when they are too short, too long or out of bounds (out
 * is then not to be used).
 */
#define RELAY_DECLARE(x, type, fields, open)                                                      \
	struct relay_##x { fields(RELAY_FIELD) };                                                 \
	void relay_##x##_encode(struct buf *b, const struct relay_##x *m);                        \
	MUST_CHECK bool relay_##x##_decode(struct reader *r, struct relay_##x *out);
RELAY_SCHEMAS(RELAY_DECLARE)

/* Which engines are below: a full list replaces what was told before. Removals first. */
struct relay_claim { uint64_t engine; uint32_t attach; };
#define RELAY_CLAIMS_MAX 16384 /* per message and per link */
/* RELAY_BELOW: u8 full, varint removals, u64 each, varint claims, (u64 engine, u32 attach) each. */

/* The heads of messages with payload. */
struct relay_unicast_head { uint8_t type, hops; uint16_t zero; uint32_t zero2; uint64_t from, to; };
struct relay_log_head { uint8_t type; uint8_t zero[7]; uint64_t first, last; };
struct relay_plain_head { uint8_t type, accepted; uint8_t zero[6]; }; /* voter, join request and reply */
_Static_assert(sizeof(struct relay_unicast_head) == 24, "on the wire");
_Static_assert(offsetof(struct relay_unicast_head, from) == 8, "on the wire");
_Static_assert(sizeof(struct relay_log_head) == 24, "on the wire");
_Static_assert(offsetof(struct relay_log_head, first) == 8, "on the wire");
_Static_assert(sizeof(struct relay_plain_head) == 8, "on the wire");

#define RELAY_PAYLOAD_MAX (NET_MESSAGE_MAX - 24)

const char *relay_refusal_text(uint8_t reason);
/* What an operator does about it; "": it passes by itself. */
const char *relay_refusal_advice(uint8_t reason);

#endif
