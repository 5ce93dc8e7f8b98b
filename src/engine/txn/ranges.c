#include "engine/txn/ranges.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define RANGE_KEY_MAX 2032       /* a key as an index leaf has it, and what makes it the bound of a range */
#define RANGES_GARBAGE (1u << 20) /* bytes of bounds that are no longer any range's */

void ranges_init(struct range_set *s, struct mem *mem, uint32_t limit)
{
	memset(s, 0, sizeof *s);
	s->mem = mem;
	s->limit = limit;
	s->settled = true;
	arena_init(&s->arena, mem);
}

void ranges_fini(struct range_set *s)
{
	VEC_FINI(s->mem, &s->all);
	arena_fini(&s->arena);
}

static int bytes_compare(const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len)
{
	uint32_t n = a_len < b_len ? a_len : b_len;
	int c = n ? memcmp(a, b, n) : 0;

	return c ? c : (a_len > b_len) - (a_len < b_len);
}

/* Does what is below a's end reach @lo? So that, were they of one storage, the two could be one range. */
static bool reaches(const struct key_range *a, const uint8_t *lo, uint32_t lo_len)
{
	return !a->hi_len || bytes_compare(lo, lo_len, a->hi, a->hi_len) <= 0;
}

static bool end_above(const struct key_range *a, const uint8_t *hi, uint32_t hi_len)
{
	return a->hi_len && (!hi_len || bytes_compare(hi, hi_len, a->hi, a->hi_len) > 0);
}

static void end_set(struct range_set *s, struct key_range *r, const uint8_t *hi, uint32_t hi_len)
{
	if (hi_len && hi_len == r->hi_len)
		memcpy(r->hi, hi, hi_len);
	else
		r->hi = hi_len ? arena_dup(&s->arena, hi, hi_len) : NULL;
	r->hi_len = hi_len;
}

void ranges_add(struct range_set *s, enum range_space space, rel_id storage, const void *lo, uint32_t lo_len,
		const void *hi, uint32_t hi_len)
{
	struct key_range *last = s->all.count ? &s->all.at[s->all.count - 1] : NULL;
	struct key_range r = {.space = (uint8_t)space, .storage = storage};

	if (hi_len && bytes_compare(lo, lo_len, hi, hi_len) >= 0)
		return;
	/* scans go on where they stopped */
	if (last && last->space == space && last->storage == storage && reaches(last, lo, lo_len) &&
	    bytes_compare(lo, lo_len, last->lo, last->lo_len) >= 0) {
		if (end_above(last, hi, hi_len))
			end_set(s, last, hi, hi_len);
	} else {
		r.lo = arena_dup(&s->arena, lo, lo_len);
		r.lo_len = lo_len;
		end_set(s, &r, hi, hi_len);
		VEC_PUSH(s->mem, &s->all, r);
		s->settled = false;
	}
	if (s->all.count > 2 * (size_t)s->limit || s->arena.used_bytes > 2 * s->settled_bytes + RANGES_GARBAGE) {
		s->settled = false;
		ranges_settle(s);
	}
}

static void row_bytes(uint8_t out[8], row_id row)
{
	uint64_t be = __builtin_bswap64(row);

	memcpy(out, &be, 8);
}

void ranges_add_rows(struct range_set *s, rel_id storage, row_id lo, row_id hi)
{
	uint8_t l[8], h[8];

	row_bytes(l, lo);
	row_bytes(h, hi);
	ranges_add(s, RANGE_ROWS, storage, l, 8, h, hi ? 8 : 0);
}

void ranges_add_key(struct range_set *s, rel_id storage, const void *key, uint32_t key_len)
{
	uint8_t hi[RANGE_KEY_MAX];

	ASSERT_OP(key_len, <, RANGE_KEY_MAX);
	memcpy(hi, key, key_len);
	hi[key_len] = 0;
	ranges_add(s, RANGE_KEYS, storage, key, key_len, hi, key_len + 1);
}

void ranges_add_all(struct range_set *s, const struct range_set *more)
{
	for (size_t i = 0; i < more->all.count; i++) {
		const struct key_range *r = &more->all.at[i];

		ranges_add(s, (enum range_space)r->space, r->storage, r->lo, r->lo_len, r->hi, r->hi_len);
	}
}

static int group_compare(const struct key_range *a, const struct key_range *b)
{
	if (a->space != b->space)
		return a->space < b->space ? -1 : 1;
	return (a->storage > b->storage) - (a->storage < b->storage);
}

static int range_compare(const void *x, const void *y)
{
	const struct key_range *a = x, *b = y;
	int c = group_compare(a, b);

	return c ? c : bytes_compare(a->lo, a->lo_len, b->lo, b->lo_len); /* of equal ones the order is without effect */
}

/* Joins what meets or touches; with @every: each second range with the one before it as well. */
static void join(struct range_set *s, bool every)
{
	size_t kept = 0;
	bool odd = false;

	for (size_t i = 0; i < s->all.count; i++) {
		struct key_range r = s->all.at[i], *last = kept ? &s->all.at[kept - 1] : NULL;

		if (last && !group_compare(last, &r) && (reaches(last, r.lo, r.lo_len) || (every && odd))) {
			if (end_above(last, r.hi, r.hi_len)) {
				last->hi = r.hi;
				last->hi_len = r.hi_len;
			}
			odd = false;
		} else {
			s->all.at[kept++] = r;
			odd = true;
		}
	}
	s->all.count = kept;
}

void ranges_settle(struct range_set *s)
{
	struct arena old;

	if (s->settled)
		return;
	if (s->all.count > 1)
		qsort(s->all.at, s->all.count, sizeof s->all.at[0], range_compare);
	join(s, false);
	for (size_t before = 0; s->all.count > s->limit && s->all.count != before;) {
		before = s->all.count;
		join(s, true);
	}
	old = s->arena;
	arena_init(&s->arena, s->mem);
	for (size_t i = 0; i < s->all.count; i++) {
		struct key_range *r = &s->all.at[i];

		r->lo = arena_dup(&s->arena, r->lo, r->lo_len);
		r->hi = r->hi_len ? arena_dup(&s->arena, r->hi, r->hi_len) : NULL;
	}
	arena_fini(&old);
	s->settled_bytes = s->arena.used_bytes;
	s->settled = true;
}

/* Is all of a below b? */
static bool below(const struct key_range *a, const struct key_range *b)
{
	return a->hi_len && bytes_compare(a->hi, a->hi_len, b->lo, b->lo_len) <= 0;
}

bool range_meets(const struct key_range *a, const struct key_range *b)
{
	return !group_compare(a, b) && !below(a, b) && !below(b, a);
}

bool ranges_meet(const struct range_set *a, const struct range_set *b)
{
	size_t i = 0, k = 0;

	ASSERT(a->settled && b->settled);
	while (i < a->all.count && k < b->all.count) {
		const struct key_range *x = &a->all.at[i], *y = &b->all.at[k];
		int c = group_compare(x, y);

		if (c < 0 || (!c && below(x, y)))
			i++;
		else if (c > 0 || below(y, x))
			k++;
		else
			return true;
	}
	return false;
}

static row_id row_number(const uint8_t *p, uint32_t len)
{
	uint64_t be = 0;

	memcpy(&be, p, len < 8 ? len : 8);
	return __builtin_bswap64(be);
}

row_id range_row_lo(const struct key_range *r)
{
	return r->lo_len ? row_number(r->lo, r->lo_len) : 0;
}

row_id range_row_hi(const struct key_range *r)
{
	return r->hi_len ? row_number(r->hi, r->hi_len) : 0;
}

bool range_is_key(const struct key_range *r)
{
	return r->hi_len == r->lo_len + 1 && !r->hi[r->lo_len] && !memcmp(r->lo, r->hi, r->lo_len);
}

/* -- on the wire ------------------------------------------------------------------------------------------- */

void ranges_encode(const struct range_set *s, struct buf *out)
{
	put_u32(out, (uint32_t)s->all.count);
	for (size_t i = 0; i < s->all.count; i++) {
		const struct key_range *r = &s->all.at[i];

		put_u8(out, r->space);
		put_u64(out, r->storage);
		put_bytes(out, r->lo, r->lo_len);
		put_bytes(out, r->hi, r->hi_len);
	}
}

static bool bounds_ok(uint8_t space, const uint8_t *lo, size_t lo_len, const uint8_t *hi, size_t hi_len)
{
	if (hi_len && bytes_compare(lo, (uint32_t)lo_len, hi, (uint32_t)hi_len) >= 0)
		return false;
	switch (space) {
	case RANGE_ROWS:
		return lo_len == 8 && (!hi_len || hi_len == 8);
	case RANGE_KEYS:
		return true;
	case RANGE_ATOMS:
		return !lo_len && !hi_len;
	default:
		return false;
	}
}

enum status ranges_decode(struct reader *r, struct mem *mem, struct range_set *out)
{
	uint32_t count = get_u32(r);

	ranges_init(out, mem, RANGES_MAX);
	if (r->bad || count > RANGES_MAX)
		return ST_CORRUPT;
	for (uint32_t i = 0; i < count; i++) {
		uint8_t space = get_u8(r);
		rel_id storage = get_u64(r);
		size_t lo_len, hi_len;
		const uint8_t *lo = get_bytes(r, &lo_len);
		const uint8_t *hi = get_bytes(r, &hi_len);

		if (r->bad || lo_len > RANGE_KEY_MAX || hi_len > RANGE_KEY_MAX || !bounds_ok(space, lo, lo_len, hi, hi_len))
			return ST_CORRUPT;
		ranges_add(out, (enum range_space)space, storage, lo, (uint32_t)lo_len, hi, (uint32_t)hi_len);
	}
	ranges_settle(out);
	return ST_OK;
}
