/*
 * seq_wire.h - the messages between voters (engine/sequencer).
 *
 * Version 1: u8 version, u8 type, then the fields of the type in the order of its table, little-endian, without
 * padding. SEQ_MSG_APPEND is followed by its entries: u64 term, u8 kind, u32 bytes, data, count times. Nothing
 * may follow. A decoder checks form only; what a message may claim is for its handler to judge.
 *
 * The tables generate struct, encode and decode, so the three cannot differ.
 *
 * History: 1, the first.
 */
#ifndef VALENCE_ENGINE_SEQUENCER_SEQ_WIRE_H
#define VALENCE_ENGINE_SEQUENCER_SEQ_WIRE_H

#include "base/buf.h"

#define SEQ_WIRE_VERSION 1
#define SEQ_WIRE_ENTRY_HEAD 13          /* bytes before an entry's data */
#define SEQ_WIRE_POS_MAX (UINT64_C(1) << 62) /* of a term, position or round: sums of two never wrap */

/* A vote wanted. PRE: would you? term is the one that would be stood for, nothing is recorded (thesis 9.6). */
#define SEQ_MSG_VOTE_FIELDS(F) F(u64, term) F(u64, last_pos) F(u64, last_term) F(u8, flags)
/* term: of the request when granted to a PRE, else the sender's. */
#define SEQ_MSG_VOTE_REPLY_FIELDS(F) F(u64, term) F(u8, flags)
/* Entries prev_pos+1.. ; committed as known to the leader; round is echoed by the reply (read index). */
#define SEQ_MSG_APPEND_FIELDS(F) \
	F(u64, term) F(u64, prev_pos) F(u64, prev_term) F(u64, committed) F(u64, round) F(u8, flags) F(u32, count)
/*
 * match: durable here and known to be in the leader's log. agreed: received and so known. REJECT: prev_pos is
 * the one refused, agreed the newest position that may fit and agreed_term its term (0: unknown).
 */
#define SEQ_MSG_APPEND_REPLY_FIELDS(F)                                                             \
	F(u64, term) F(u64, match) F(u64, agreed) F(u64, agreed_term) F(u64, prev_pos) F(u64, round) \
	F(u8, flags)
/* The leader asks its follower to stand at once (thesis 3.10). */
#define SEQ_MSG_TRANSFER_FIELDS(F) F(u64, term)

#define SEQ_MSG_TABLE(X)               \
	X(1, VOTE, vote)               \
	X(2, VOTE_REPLY, vote_reply)   \
	X(3, APPEND, append)           \
	X(4, APPEND_REPLY, append_reply) \
	X(5, TRANSFER, transfer)

enum seq_msg_flag {
	SEQ_F_PRE = 1,       /* vote, vote_reply */
	SEQ_F_TRANSFER = 2,  /* vote: the old leader asked for it; followers need not wait for its silence */
	SEQ_F_GRANTED = 1 << 2, /* vote_reply */
	SEQ_F_ANSWER = 1 << 3,  /* append: answer at once, even when nothing became durable */
	SEQ_F_GONE = 1 << 4,    /* append: the entries you need are gone; no entries follow */
	SEQ_F_REJECT = 1 << 5,  /* append_reply */
};

enum seq_msg_type {
#define X(number, upper, lower) SEQ_MSG_##upper = number,
	SEQ_MSG_TABLE(X)
#undef X
};

typedef uint8_t seq_wire_u8;
typedef uint32_t seq_wire_u32;
typedef uint64_t seq_wire_u64;

#define SEQ_WIRE_MEMBER(type, name) seq_wire_##type name;
#define SEQ_WIRE_PUT(type, name) put_##type(out, m->name);
#define SEQ_WIRE_GET(type, name) m->name = get_##type(r);
#define X(number, upper, lower)                                                                      \
	struct seq_msg_##lower { SEQ_MSG_##upper##_FIELDS(SEQ_WIRE_MEMBER) };                        \
	static inline void seq_msg_##lower##_encode(const struct seq_msg_##lower *m, struct buf *out) \
	{                                                                                            \
		put_u8(out, SEQ_WIRE_VERSION);                                                       \
		put_u8(out, number);                                                                 \
		SEQ_MSG_##upper##_FIELDS(SEQ_WIRE_PUT)                                               \
	}                                                                                            \
	/* After the two bytes of version and type. */                                               \
	static inline bool seq_msg_##lower##_decode(struct reader *r, struct seq_msg_##lower *m)     \
	{                                                                                            \
		SEQ_MSG_##upper##_FIELDS(SEQ_WIRE_GET)                                               \
		return reader_ok(r);                                                                 \
	}
SEQ_MSG_TABLE(X)
#undef X

#endif
