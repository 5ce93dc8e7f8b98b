/*
 * record_wire.h - the layout of batches and records, in the journal and on the wire (catalog).
 *
 * Version 2. Integers are little-endian; "v" is LEB128.
 *   batch:  u32 magic "VBAT", u8 version, u8[3] zero, u32 bytes of the whole batch, u32 crc32c of what follows,
 *           u64 first index, u64 wall_us, u64 horizon, u64 leader, u32 record count, u32 zero; then the records
 *   record: u32 header bytes (H), u32 payload bytes (P), u32 payload crc32c, u8 kind, u8 flags, u16 zero;
 *           H bytes: v engine, v seq, v txn, v attempt, v plan, v parts, v grantors, v each, v touches, (v relation, v storage) each;
 *                   of a commit that the application named also 16 bytes of the name, v the index since which it is in use;
 *           P bytes of payload when flags has RECORD_HAS_PAYLOAD
 *
 * History: 1, the first; 2, names of commits. A batch of version 1 is one of version 2 without names, and is read as such.
 */
#ifndef VALENCE_CATALOG_RECORD_WIRE_H
#define VALENCE_CATALOG_RECORD_WIRE_H

#include <stdint.h>

#define BATCH_MAGIC 0x54414256u
#define BATCH_VERSION 2
#define BATCH_VERSION_OLDEST 1
#define BATCH_HEAD_BYTES 56
#define RECORD_HEAD_BYTES 16
#define RECORD_HAS_PAYLOAD 1
#define RECORD_HEADER_MAX (16u << 10)

struct batch_head {
	uint32_t magic;
	uint8_t version, zero[3];
	uint32_t bytes, crc;
	uint64_t first, wall_us, horizon, leader;
	uint32_t count, zero2;
};
_Static_assert(sizeof(struct batch_head) == BATCH_HEAD_BYTES, "batch head");

struct record_head {
	uint32_t header_bytes, payload_bytes, payload_crc;
	uint8_t kind, flags;
	uint16_t zero;
};
_Static_assert(sizeof(struct record_head) == RECORD_HEAD_BYTES, "record head");

#endif
