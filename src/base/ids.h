/*
 * ids.h - the numbers that name things (base).
 *
 * All are 64-bit, little-endian on the wire and on disk, and 0 means "none". None is ever reused.
 */
#ifndef VALENCE_BASE_IDS_H
#define VALENCE_BASE_IDS_H

#include <stdint.h>

typedef uint64_t engine_id; /* one incarnation of one member; given by its join record (root's next_engine_id) */
typedef uint64_t atom_id;   /* birth index << 16 | ordinal in that record (P16); ids below 1 << 16 are genesis atoms */
typedef uint64_t seq_index; /* position of a record in the log; the first is 1 */
typedef uint64_t rel_id;    /* a relation: table, index or sequence; see catalog/schema.h */
typedef uint64_t row_id;    /* a row of a table; top bit set: provisional, in one transaction's overlay only */
typedef uint64_t txn_id;    /* a transaction, counted by its coordinator; unique with (engine_id, txn_id) */

#define ROW_ID_PROVISIONAL (UINT64_C(1) << 63)

static inline atom_id atom_id_make(seq_index birth, uint32_t ordinal)
{
	return birth << 16 | (ordinal & 0xffffu);
}

#endif
