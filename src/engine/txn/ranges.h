/*
 * ranges.h - sets of ranges of rows and keys (engine/txn): what a SERIALIZABLE transaction read, and what it writes (P12,
 * doc/adr/0011).
 *
 * A range is [lo, hi) in one storage: of row ids (8 bytes, big-endian), of an index's keys, or of the storage's atoms to come,
 * which is one range. Bytes compare as memcmp, then shorter first. hi_len 0: no end.
 *
 * A set is added to in any order, and settled before it is compared: sorted, no two ranges of it meet, and no more of them
 * than its limit. Over that neighbours are joined, with what lies between them: a larger set than the truth can cost a
 * conflict that there was not, never hide one.
 */
#ifndef VALENCE_ENGINE_TXN_RANGES_H
#define VALENCE_ENGINE_TXN_RANGES_H

#include "base/buf.h"
#include "base/ids.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/status.h"

#define RANGES_MAX 4096 /* of one set, unless another limit is given */

enum range_space { RANGE_ROWS = 'r', RANGE_KEYS = 'k', RANGE_ATOMS = 'n' }; /* on the wire */
struct key_range {
	uint8_t space;
	rel_id storage;
	uint32_t lo_len, hi_len;
	uint8_t *lo, *hi; /* the set's */
};
struct range_set {
	struct mem *mem;
	struct arena arena;
	VEC(struct key_range) all;
	uint32_t limit;
	size_t settled_bytes; /* of the arena, when it was settled last */
	bool settled;
};

void ranges_init(struct range_set *s, struct mem *mem, uint32_t limit);
void ranges_fini(struct range_set *s);
static inline bool ranges_empty(const struct range_set *s) { return s->all.count == 0; }
/* Copies. hi_len 0: to the end. An empty range is not added. */
void ranges_add(struct range_set *s, enum range_space space, rel_id storage, const void *lo, uint32_t lo_len,
		const void *hi, uint32_t hi_len);
void ranges_add_rows(struct range_set *s, rel_id storage, row_id lo, row_id hi); /* hi 0: to the end */
void ranges_add_key(struct range_set *s, rel_id storage, const void *key, uint32_t key_len); /* this one only */
void ranges_add_all(struct range_set *s, const struct range_set *more);
void ranges_settle(struct range_set *s);
/* Has any range of one something in common with one of the other? Both settled. */
bool ranges_meet(const struct range_set *a, const struct range_set *b);
bool range_meets(const struct key_range *a, const struct key_range *b);
/* Of RANGE_ROWS: the numbers. hi 0: no end. */
row_id range_row_lo(const struct key_range *r);
row_id range_row_hi(const struct key_range *r);
bool range_is_key(const struct key_range *r); /* of one key only */

void ranges_encode(const struct range_set *s, struct buf *out);
/* Into a new, settled set, to be ended by the caller whatever the answer is. ST_CORRUPT. */
MUST_CHECK enum status ranges_decode(struct reader *r, struct mem *mem, struct range_set *out);

#endif
