/*
 * bdb_disk.h - what the Berkeley DB back end writes (engine/archive). Format version 2 (STORE_FORMAT_VERSION).
 *
 *   VALENCE           identity, text (store_int.h); replaced atomically
 *   LOCK              held by flock while an engine runs; the text is its process id
 *   MARK              three slots of struct disk_mark, one in each 4 KiB
 *   journal/<n>.db    segments: B-trees of records, named by their first operation number in hexadecimal
 *   journal/log.<n>   Berkeley DB's log of that environment
 *   images/bodies.db  atom id, 8 bytes big-endian -> image as it was given
 *   images/index.db   atom id -> struct disk_image; key 0 -> struct disk_checkpoint
 *
 * An *operation* is one persist call. Operations are numbered from 1 without holes; the journal is their sequence,
 * and nothing written is ever changed: a replaced suffix is an operation whose first_pos is at or below the
 * newest position, and one that begins beyond the newest position begins the journal anew (an archive took the state from
 * another one). So the newest operation has the term and vote, and replay in order gives the log. A *record*
 * is the value of one key (its first operation's number, 8 bytes big-endian) and packs what one group commit had:
 *
 *   disk_record, disk_op[op_count], then for each operation its region: disk_entry[entry_count], data,
 * zeros up to a multiple of 8
 *
 * Integers are little-endian. Checksums are CRC-32C of our own, over all of the thing with the field itself 0
 * (facts.md: DB_CHKSUM would make one bad page a panic of the whole environment).
 */
#ifndef VALENCE_ENGINE_ARCHIVE_BDB_DISK_H
#define VALENCE_ENGINE_ARCHIVE_BDB_DISK_H

#include <stdint.h>

#define DISK_RECORD_MAGIC 0x314a5256u /* "VRJ1" */
#define DISK_MARK_MAGIC UINT64_C(0x314b52414d4c4156) /* "VALMARK1" */
#define DISK_MARK_SLOTS 3
#define DISK_MARK_STRIDE 4096
#define DISK_PAGE_BYTES 16384

struct disk_record {
	uint32_t magic;
	uint32_t crc;          /* of this and the disk_op that follow */
	uint64_t first_op;     /* equals the key */
	uint32_t op_count;
	uint32_t bytes;        /* of the whole value */
	uint64_t reserved;
};
_Static_assert(sizeof(struct disk_record) == 32, "disk_record");

struct disk_op {
	uint64_t term, vote;             /* hard state as of this operation */
	uint64_t first_pos;              /* 0: no entries */
	uint64_t prev_term;              /* of the entry before first_pos; 0: there was none */
	uint64_t first_term, last_term;  /* of its entries: equal when all are */
	uint32_t entry_count;
	uint32_t off, bytes;             /* region, from the start of the record */
	uint32_t crc;                    /* of the region */
};
_Static_assert(sizeof(struct disk_op) == 64, "disk_op");

struct disk_entry {
	uint64_t term;
	uint32_t off, bytes;   /* data, from the start of the region */
	uint8_t kind;
	uint8_t pad[7];
};
_Static_assert(sizeof(struct disk_entry) == 24, "disk_entry");

/* The newest good slot counts: it has the highest number. */
struct disk_mark {
	uint64_t magic, number;
	uint64_t log_id, voter_id;   /* whose promises: another identity's mark says nothing */
	uint64_t base_op;            /* newest operation when this voter id began */
	uint64_t op, pos;            /* newest operation acknowledged; the last position as of it */
	uint32_t is_short;           /* 1: promises of this voter id are known to be lost */
	uint32_t crc;
};
_Static_assert(sizeof(struct disk_mark) == 64, "disk_mark");

struct disk_image {
	uint64_t as_of, bytes;
	uint32_t image_crc;
	uint32_t crc;          /* of the key and this */
};
_Static_assert(sizeof(struct disk_image) == 24, "disk_image");

struct disk_checkpoint {
	uint64_t checkpoint, checkpoint_pos;
	uint32_t reserved;
	uint32_t crc;          /* of the key and this */
};
_Static_assert(sizeof(struct disk_checkpoint) == 24, "disk_checkpoint");

#endif
