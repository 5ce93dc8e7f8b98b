/*
 * lend_wire.h - what a requester reads of a holder's memory (engine/txn; S9).
 *
 * MSG_LENT: u64 atom, u64 as_of, u32 number, u32 image bytes, u64 generation, u64 address and u64 key of the
 * preface, u8 extents, then for each u64 address, u64 key, u32 bytes; then the version tail, to the message's end.
 *
 * The image does not change while it is lent. The preface says for how long that is: who reads it before and after
 * the image, and finds the same seq, even, and what MSG_LENT said, has read the image.
 *
 * History: version 1, the first.
 */
#ifndef VALENCE_ENGINE_TXN_LEND_WIRE_H
#define VALENCE_ENGINE_TXN_LEND_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define LEND_EXTENTS_MAX 8

struct lend_preface {        /* little-endian */
	uint64_t seq;        /* odd while the others are written, or nothing is lent under it */
	uint64_t atom, engine;
	uint64_t as_of;
	uint64_t generation; /* of this place: counts what was lent under it */
	uint64_t zero[3];
};
_Static_assert(sizeof(struct lend_preface) == 64, "one cache line, read at once");
_Static_assert(offsetof(struct lend_preface, generation) == 32, "read by peers");

#endif
