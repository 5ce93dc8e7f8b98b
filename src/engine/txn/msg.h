/*
 * msg.h - unicast messages between engines (engine/txn): first byte of each, after the relay's own framing.
 *
 * Those marked R go through the reliable, ordered session of a pair of engines (peer.h); the others are best effort and
 * repeated by their senders.
 */
#ifndef VALENCE_ENGINE_TXN_MSG_H
#define VALENCE_ENGINE_TXN_MSG_H

enum msg_type {
	MSG_SESSION = 1,     /* peer.c: u64 incarnation pair, seq, ack; an R message inside */
	MSG_SUBMIT = 2,      /* to the leader: records as record_encode() made them */
	MSG_JOIN = 3,        /* to the leader: a join payload */
	MSG_SUSPECT = 4,     /* to the leader: u64 engine, text cause */
	MSG_REPORT = 5,      /* to the leader: u64 applied, u64 need (P19) */
	MSG_FETCH = 6,       /* to a holder: u64 atom, u64 index (P17), u32 number, u8 1: I can read your memory */
	MSG_PIECE = 7,       /* of an image: u64 atom, u64 as_of, u32 number, u32 image bytes, u32 tail bytes, u32 offset, bytes */
	MSG_NOT_HERE = 8,    /* u64 atom, u64 as of index */
	MSG_PARTS = 9,       /* asks for parts: u64 engine, u64 txn, u32 attempt, u64 index after which */
	MSG_PART = 10,       /* one: u64 index, the record */
	MSG_LEAVE = 11,      /* to the leader: I go */
	MSG_GRANT = 12,      /* R: asks for grants */
	MSG_GRANTED = 13,    /* R: the reply */
	MSG_RELEASE = 14,    /* R: u64 txn, u64 index: its locks here end, if that is applied; u64 request: only it, when not 0 */
	MSG_SEQUENCE = 15,   /* R: u64 request, u64 sequence, u32 count, or set */
	MSG_SEQUENCE_VALUES = 16, /* R */
	MSG_DRAINED = 17,    /* R: u64 intent, u64 applied (P13) */
	MSG_PROBE = 18,      /* R: deadlock probe (P12) */
	MSG_VICTIM = 19,     /* R: u64 txn must end with 40P01 */
	MSG_AUDIT = 20,      /* R: u64 index of the audit record, u8 the last piece?; (u64 atom, u32 checksum) each */
	MSG_LATEST = 21,     /* to the leader: u64 request: applied index that covers what was acknowledged (P26) */
	MSG_LATEST_IS = 22,
	MSG_LENT = 24,       /* from a holder: it lies where you can read it (lend_wire.h) */
	MSG_HAVE = 23,       /* to a holder: u64 atom, u32 number, u32 bytes that are here, or LEND_ENOUGH */
	MSG_PAYLOADS = 25,   /* asks for payloads: u64 index each, ascending */
	MSG_SUBMIT_TELL = 27, /* to the leader: u32 count, u64 seq each: of these it wants MSG_RECEIVED; then as MSG_SUBMIT */
	MSG_RECEIVED = 28,   /* from the leader: u64 engine, u64 seq: a majority of voters has received it, it will be ok (P3) */
	MSG_CERTIFY = 29,    /* R: u64 txn, request, index to be applied, snapshot; ranges read, ranges written (P12) */
	MSG_CERTIFIED = 30,  /* R: u64 request, u8 status, u64 applied */
	MSG_OUTCOME = 31,    /* what became of a record: u64 engine, u64 number, u64 plan, u64 applied here (P25) */
	MSG_OUTCOME_IS = 32, /* u64 engine, u64 number, u8 what (doubt.c), u64 index */
	MSG_PAYLOAD = 26     /* u8 the last of an answer?; each: u64 index, u8 is it here?, then bytes */
};

#endif
