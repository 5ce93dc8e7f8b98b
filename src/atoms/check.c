/*
 * check.c - whether bytes from a peer or a disk are an atom image (atoms).
 *
 * Everything that apply and reads rely on is checked, and that what must be zero is: an accepted image goes
 * on exactly like the one that it is a copy of. Not checked: dead heap bytes, and whether values of
 * different rows overlap in a data atom's heap (no length is stored there, so it is harmless to memory).
 */
#include "atoms/atoms_int.h"

static bool is_zero(const uint8_t *p, size_t bytes)
{
	return !bytes || (!p[0] && !memcmp(p, p + 1, bytes - 1));
}

static bool head_ok(const struct atom_head *h, size_t bytes)
{
	return h->magic == ATOM_MAGIC && h->format == ATOM_FORMAT && h->kind > ATOM_NONE &&
	       h->kind < ATOM_KIND_COUNT && h->atom_id && h->size_bytes == bytes && !h->flags;
}

/* -- columns --------------------------------------------------------------------------------------- */

static uint64_t bits_below(uint32_t w, uint32_t n) /* the bits of word w that are below n */
{
	return n >= w * 64 + 64 ? ~UINT64_C(0) : n <= w * 64 ? 0 : ~(~UINT64_C(0) << n % 64);
}

static bool var_ok(const struct data_head *d, struct var_ref ref, uint64_t *living)
{
	if (!ref.len)
		return !ref.off;
	*living += ref.len;
	return !(ref.len & VAR_REF_BLOB) && ref.off >= d->heap_top && ref.off <= d->h.size_bytes &&
	       ref.len <= d->h.size_bytes - ref.off;
}

static bool column_ok(const struct data_head *d, const struct col_desc *c, uint64_t *living)
{
	const uint64_t *live = data_live(d), *nulls = col_nulls(d, c), *present = col_present(d, c);
	const uint8_t *data = image_at(d, c->data_off);
	uint32_t width = col_width(c->phys);

	for (uint32_t w = 0; w < d->slot_cap / 64; w++) {
		uint64_t values = present[w] & ~nulls[w];

		if (nulls[w] & ~present[w] || present[w] & ~live[w])
			return false;
		for (uint32_t i = w * 64; i < w * 64 + 64; i++) {
			const uint8_t *p = data + (size_t)i * width;

			if (!(values >> i % 64 & 1)) {
				if (!is_zero(p, width))
					return false;
			} else if (c->phys == PHYS_BOOL ? *p > 1
				   : c->phys == PHYS_VAR && !var_ok(d, *(const struct var_ref *)p, living)) {
				return false;
			}
		}
	}
	return true;
}

/* Descriptors and their places, which follow from their list. *fixed_out, *row_bytes_out: for the rest. */
static bool cols_ok(const struct data_head *d, uint32_t *fixed_out, uint32_t *row_bytes_out)
{
	const struct col_desc *cols = data_cols(d);
	uint64_t off = sizeof *d + (uint64_t)d->col_count * sizeof *cols;
	uint32_t attno = 0, bitmap = d->slot_cap / 8;

	if (off > d->h.size_bytes)
		return false;
	off = (off + 63) & ~UINT64_C(63);
	if (d->live_off != off)
		return false;
	off += bitmap;
	*row_bytes_out = 0;
	for (uint32_t i = 0; i < d->col_count; i++) {
		if (cols[i].attno <= attno || cols[i].phys == PHYS_NONE || cols[i].phys >= PHYS_COUNT ||
		    cols[i].enc || cols[i].param)
			return false;
		attno = cols[i].attno;
		off = (off + 63) & ~UINT64_C(63);
		if (cols[i].data_off != off)
			return false;
		off += (uint64_t)d->slot_cap * col_width(cols[i].phys);
		off = (off + 7) & ~UINT64_C(7);
		if (cols[i].null_off != off)
			return false;
		off += 2 * bitmap;
		*row_bytes_out += col_width(cols[i].phys);
		if (off > d->h.size_bytes)
			return false;
	}
	*fixed_out = (uint32_t)off;
	return off <= d->h.size_bytes;
}

/* Bytes between things that are placed on 64 are zero. */
static bool gaps_ok(const struct data_head *d)
{
	const struct col_desc *cols = data_cols(d);
	uint32_t end = (uint32_t)sizeof *d + d->col_count * (uint32_t)sizeof *cols, bitmap = d->slot_cap / 8;

	if (!is_zero(image_at(d, end), d->live_off - end))
		return false;
	end = d->live_off + bitmap;
	for (uint32_t i = 0; i < d->col_count; i++) {
		uint32_t data_end = cols[i].data_off + d->slot_cap * col_width(cols[i].phys);

		if (!is_zero(image_at(d, end), cols[i].data_off - end) ||
		    !is_zero(image_at(d, data_end), cols[i].null_off - data_end))
			return false;
		end = cols[i].null_off + 2 * bitmap;
	}
	return true;
}

static enum status columns_check(const struct data_head *d)
{
	uint32_t fixed, row_bytes, live_count = 0;
	uint64_t range = d->h.hi - d->h.lo, living = 0;

	if (d->h.lo >= d->h.hi || range > ATOM_ROWS_MAX || d->pad || d->reserved)
		return ST_CORRUPT;
	if (!d->slot_cap || d->slot_cap % 64 || d->slot_cap > slot_range_cap(d->h.lo, d->h.hi) ||
	    d->slot_count > d->slot_cap || d->slot_count > range)
		return ST_CORRUPT;
	if (!cols_ok(d, &fixed, &row_bytes) || d->heap_top < fixed || d->heap_top > d->h.size_bytes)
		return ST_CORRUPT;
	for (uint32_t w = 0; w < d->slot_cap / 64; w++) {
		uint64_t live = data_live(d)[w];

		if (live & ~bits_below(w, d->slot_count))
			return ST_CORRUPT;
		live_count += (uint32_t)__builtin_popcountll(live);
	}
	if (live_count != d->live_count || !gaps_ok(d))
		return ST_CORRUPT;
	for (uint32_t i = 0; i < d->col_count; i++)
		if (!column_ok(d, &data_cols(d)[i], &living))
			return ST_CORRUPT;
	if (living + d->heap_dead != d->h.size_bytes - d->heap_top)
		return ST_CORRUPT;
	if (!is_zero(image_at(d, fixed), d->heap_top - fixed))
		return ST_CORRUPT;
	if (d->h.used_bytes != sizeof *d + d->col_count * sizeof(struct col_desc) +
				       (1 + 2 * (uint64_t)d->col_count) * (d->slot_cap / 8) +
				       (uint64_t)d->slot_count * row_bytes + living)
		return ST_CORRUPT;
	return ST_OK;
}

/* -- leaves ---------------------------------------------------------------------------------------- */

/* Takes bytes [off, off + bytes) of a block; false: one is taken already. */
static bool take(uint64_t *taken, uint32_t off, uint32_t bytes)
{
	uint64_t any = 0;

	for (uint32_t w = off / 64; w <= (off + bytes - 1) / 64; w++) {
		uint64_t bits = bits_below(w, off + bytes) & ~bits_below(w, off);

		any |= taken[w] & bits;
		taken[w] |= bits;
	}
	return !any;
}

/* Bytes of the heap that no entry takes are zero. */
static bool dead_ok(const struct leaf_block *b, const uint64_t *taken, uint32_t end)
{
	for (uint32_t i = b->heap_top; i < end; i++)
		if (!(taken[i / 64] >> i % 64 & 1) && *image_at(b, i))
			return false;
	return true;
}

static bool entries_ok(const struct leaf_block *b)
{
	const struct leaf_slot *slots = block_slots(b);
	uint64_t taken[LEAF_BLOCK_BYTES / 64] = {0};
	uint32_t end = LEAF_BLOCK_BYTES - b->prefix_len, sum = 0;

	for (uint32_t i = 0; i < b->n; i++) {
		uint32_t off = slots[i].off, bytes, value_len;

		if (off < b->heap_top || off + LEAF_ENTRY_HEAD + slots[i].key_len > end ||
		    (uint32_t)b->prefix_len + slots[i].key_len > LEAF_KEY_MAX)
			return false;
		value_len = entry_value_len(b, &slots[i]);
		bytes = entry_bytes(b, &slots[i]);
		/* an overlap would let a replaced value change another entry's length */
		if (value_len > LEAF_VALUE_MAX || off + bytes > end || !take(taken, off, bytes))
			return false;
		if (slots[i].hint != key_hint(entry_key(b, &slots[i]), slots[i].key_len))
			return false;
		if (i && key_compare(entry_key(b, &slots[i - 1]), slots[i - 1].key_len,
				     entry_key(b, &slots[i]), slots[i].key_len) >= 0)
			return false;
		sum += bytes;
	}
	return sum + b->dead == end - b->heap_top && (!b->dead || dead_ok(b, taken, end));
}

static bool block_ok(const struct leaf_block *b)
{
	uint32_t slots_end = (uint32_t)sizeof *b + b->n * (uint32_t)sizeof(struct leaf_slot);

	return b->n && b->prefix_len <= LEAF_KEY_MAX && b->heap_top <= LEAF_BLOCK_BYTES - b->prefix_len &&
	       slots_end <= b->heap_top && is_zero(image_at(b, slots_end), b->heap_top - slots_end) && entries_ok(b);
}

static bool fences_ok(const struct leaf_head *h, size_t bytes)
{
	uint32_t fences = (uint32_t)h->lo_len + h->hi_len, end;

	if (h->lo_len > LEAF_KEY_MAX || h->hi_len > LEAF_KEY_MAX || h->reserved || h->h.lo || h->h.hi)
		return false;
	if (h->block_cap != leaf_cap_of(bytes, fences) || h->block_count > h->block_cap)
		return false;
	end = leaf_blocks_off(h->block_cap) + h->block_cap * LEAF_BLOCK_BYTES;
	if (h->lo_fence_off != end || h->hi_fence_off != end + h->lo_len)
		return false;
	end += fences;
	if (!is_zero(image_at(h, end), bytes - end))
		return false;
	return !h->hi_len || key_compare(image_at(h, h->lo_fence_off), h->lo_len, image_at(h, h->hi_fence_off),
					 h->hi_len) < 0;
}

/* Keys are between the fences and rise from block to block; the directory says the same as the blocks. */
static bool order_ok(const struct leaf_head *h)
{
	const struct leaf_dir *dir = leaf_dirs(h);
	uint8_t keys[2][LEAF_KEY_MAX];
	const uint8_t *before = image_at(h, h->lo_fence_off), *hi = image_at(h, h->hi_fence_off);
	uint32_t before_len = h->lo_len, skip = leaf_fences_skip(h), len;

	for (uint32_t i = 0; i < h->block_count; i++) {
		const struct leaf_block *b = leaf_block_at(h, dir[i].block);
		int c;

		len = key_load(b, 0, keys[0]);
		c = key_compare(before, before_len, keys[0], len);
		if (i ? c >= 0 : c > 0)
			return false;
		if (dir[i].sep8 != key_number(keys[0], len, skip))
			return false;
		before_len = key_load(b, b->n - 1u, keys[1]);
		before = keys[1];
	}
	return !h->block_count || !h->hi_len || key_compare(before, before_len, hi, h->hi_len) < 0;
}

static enum status leaf_check(const struct leaf_head *h, size_t bytes)
{
	const struct leaf_dir *dir = leaf_dirs(h);
	uint32_t used = (uint32_t)sizeof *h + h->lo_len + h->hi_len, dead = 0, entries = 0, unused;
	uint8_t seen[UINT16_MAX / 8 + 1] = {0};

	if (!fences_ok(h, bytes))
		return ST_CORRUPT;
	for (uint32_t i = 0; i < h->block_count; i++) {
		const struct leaf_block *b;

		if (dir[i].block >= h->block_count || dir[i].pad || seen[dir[i].block / 8] >> dir[i].block % 8 & 1)
			return ST_CORRUPT;
		seen[dir[i].block / 8] |= (uint8_t)(1 << dir[i].block % 8);
		b = leaf_block_at(h, dir[i].block);
		if (!block_ok(b) || dir[i].entries != b->n)
			return ST_CORRUPT;
		used += (uint32_t)sizeof *dir + block_live_bytes(b);
		dead += b->dead;
		entries += b->n;
	}
	if (used != h->h.used_bytes || dead != h->dead_bytes || entries != h->entry_count || !order_ok(h))
		return ST_CORRUPT;
	unused = leaf_blocks_off(h->block_cap);
	if (!is_zero((const uint8_t *)(dir + h->block_count),
		     unused - sizeof *h - h->block_count * sizeof *dir))
		return ST_CORRUPT;
	unused += h->block_count * LEAF_BLOCK_BYTES;
	return is_zero(image_at(h, unused), h->lo_fence_off - unused) ? ST_OK : ST_CORRUPT;
}

enum status atom_image_check(const void *image, size_t bytes)
{
	const struct atom_head *h = image;

	ASSERT_OP((uintptr_t)image % sizeof(i128), ==, 0);
	if (bytes < ATOM_STEP_BYTES || bytes % ATOM_STEP_BYTES || bytes > UINT32_MAX / 2 || !head_ok(h, bytes))
		return ST_CORRUPT;
	return kind_is_leaf(h->kind) ? leaf_check((const struct leaf_head *)h, bytes)
				     : columns_check((const struct data_head *)h);
}
