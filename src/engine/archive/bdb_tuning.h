/*
 * bdb_tuning.h - limits of the Berkeley DB back end (engine/archive). Tests make them smaller, before open.
 */
#ifndef VALENCE_ENGINE_ARCHIVE_BDB_TUNING_H
#define VALENCE_ENGINE_ARCHIVE_BDB_TUNING_H

#include <stdint.h>

struct bdb_tuning {
	uint64_t segment_bytes;     /* a segment is full then */
	uint64_t group_bytes;       /* at most so much in one transaction (or one operation) */
	uint64_t record_bytes;      /* and so much in one record (or one operation) */
	uint64_t checkpoint_bytes;  /* of log between checkpoints of an environment */
	uint64_t reserve_bytes;     /* free space below which nothing is written any more (facts.md: no space) */
	uint32_t mark_sync_ms;      /* the end mark's file is synced so often */
};
extern struct bdb_tuning bdb_tuning;

#endif
