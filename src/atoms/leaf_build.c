/*
 * leaf_build.c - building blocks and whole images of keyed leaves: growth, split, compact (atoms).
 *
 * Sizes are decided from the entries and fences only (S1): an image gets one block more than asked for, and then
 * as many as fit its 16 KiB steps.
 */
#include "atoms/atoms_int.h"

/* A built block is filled up to here, so that the next inserts need not take it apart again. */
#define FILL_SPLIT 7168u
#define FILL_COMPACT 7936u

uint64_t key_number(const uint8_t *key, uint32_t len, uint32_t skip)
{
	uint64_t v = 0;
	uint32_t n = len > skip ? len - skip : 0;

	if (n >= 8) {
		memcpy(&v, key + skip, 8);
		return __builtin_bswap64(v);
	}
	for (uint32_t i = 0; i < n; i++)
		v |= (uint64_t)key[skip + i] << (56 - 8 * i);
	return v;
}

uint32_t key_hint(const uint8_t *key, uint32_t len)
{
	uint32_t v = 0;

	if (len >= 4) {
		memcpy(&v, key, 4);
		return __builtin_bswap32(v);
	}
	for (uint32_t i = 0; i < len; i++)
		v |= (uint32_t)key[i] << (24 - 8 * i);
	return v;
}

uint32_t leaf_fences_skip(const struct leaf_head *h)
{
	return common_prefix(image_at(h, h->lo_fence_off), h->lo_len, image_at(h, h->hi_fence_off), h->hi_len);
}

uint32_t key_load(const struct leaf_block *b, uint32_t slot, uint8_t *buf)
{
	const struct leaf_slot *s = &block_slots(b)[slot];

	memcpy(buf, block_prefix(b), b->prefix_len);
	memcpy(buf + b->prefix_len, entry_key(b, s), s->key_len);
	return (uint32_t)b->prefix_len + s->key_len;
}

/* -- blocks ---------------------------------------------------------------------------------------- */

void block_start(struct leaf_block *b, const uint8_t *prefix, uint32_t prefix_len)
{
	b->prefix_len = (uint16_t)prefix_len;
	b->heap_top = (uint16_t)(LEAF_BLOCK_BYTES - prefix_len);
	memcpy(image_at(b, b->heap_top), prefix, prefix_len);
}

/* Appends entries [first, end) of @from, whose keys all have @b's prefix. */
void block_take(struct leaf_block *b, const struct leaf_block *from, uint32_t first, uint32_t end)
{
	const struct leaf_slot *src = block_slots(from);
	struct leaf_slot *dst = block_slots(b) + b->n;
	/* the new rest of a key: what b's prefix has less than from's, then from's rest without what b's has more */
	uint32_t head = from->prefix_len > b->prefix_len ? (uint32_t)from->prefix_len - b->prefix_len : 0;
	uint32_t cut = b->prefix_len > from->prefix_len ? (uint32_t)b->prefix_len - from->prefix_len : 0;

	for (uint32_t i = first; i < end; i++, dst++) {
		uint16_t value_len = (uint16_t)entry_value_len(from, &src[i]);
		uint32_t key_len = head + src[i].key_len - cut;
		uint8_t *p;

		b->heap_top = (uint16_t)(b->heap_top - (LEAF_ENTRY_HEAD + key_len + value_len));
		p = image_at(b, b->heap_top);
		memcpy(p, &value_len, sizeof value_len);
		memcpy(p + LEAF_ENTRY_HEAD, block_prefix(from) + b->prefix_len, head);
		memcpy(p + LEAF_ENTRY_HEAD + head, entry_key(from, &src[i]) + cut, src[i].key_len - cut + value_len);
		*dst = (struct leaf_slot){key_hint(p + LEAF_ENTRY_HEAD, key_len), b->heap_top, (uint16_t)key_len};
		b->n++;
	}
}

void leaf_recount(struct leaf_head *h)
{
	uint32_t used = (uint32_t)sizeof *h + h->lo_len + h->hi_len +
			h->block_count * (uint32_t)sizeof(struct leaf_dir);

	h->dead_bytes = 0;
	for (uint32_t i = 0; i < h->block_count; i++) {
		const struct leaf_block *b = leaf_block_at(h, i);

		used += block_live_bytes(b);
		h->dead_bytes += b->dead;
	}
	h->h.used_bytes = used;
}

/* -- images ---------------------------------------------------------------------------------------- */

uint32_t leaf_cap_of(size_t size_bytes, uint32_t fence_bytes)
{
	uint32_t cap = (uint32_t)((size_bytes - sizeof(struct leaf_head) - fence_bytes) /
				  (LEAF_BLOCK_BYTES + sizeof(struct leaf_dir)));

	while (cap && leaf_blocks_off(cap) + (size_t)cap * LEAF_BLOCK_BYTES + fence_bytes > size_bytes)
		cap--;
	return cap;
}

struct atom_head *leaf_image_new(struct atom_store *st, const struct atom_head *like, uint32_t block_need,
				 struct slice lo, struct slice hi)
{
	uint32_t fences = lo.bytes + hi.bytes;
	size_t size = step_up(leaf_blocks_off(block_need) + (size_t)block_need * LEAF_BLOCK_BYTES + fences);
	struct leaf_head *h = (struct leaf_head *)image_new(st, size);

	h->h.kind = like->kind;
	h->h.atom_id = like->atom_id;
	h->h.owner_id = like->owner_id;
	h->h.last_index = like->last_index;
	h->h.schema_version = like->schema_version;
	h->h.flags = like->flags;
	h->block_cap = (uint16_t)leaf_cap_of(size, fences);
	ASSERT_OP(h->block_cap, >=, block_need);
	h->lo_fence_off = leaf_blocks_off(h->block_cap) + h->block_cap * LEAF_BLOCK_BYTES;
	h->hi_fence_off = h->lo_fence_off + lo.bytes;
	h->lo_len = (uint16_t)lo.bytes;
	h->hi_len = (uint16_t)hi.bytes;
	memcpy(image_at(h, h->lo_fence_off), lo.p, lo.bytes);
	memcpy(image_at(h, h->hi_fence_off), hi.p, hi.bytes);
	return &h->h;
}

static struct slice fence_lo(const struct leaf_head *h)
{
	return (struct slice){image_at(h, h->lo_fence_off), h->lo_len, 0};
}

static struct slice fence_hi(const struct leaf_head *h)
{
	return (struct slice){image_at(h, h->hi_fence_off), h->hi_len, 0};
}

/* An eighth more blocks, one at least. */
struct leaf_head *leaf_grow(struct atom_store *st, struct frame *f)
{
	const struct leaf_head *h = leaf_of(f);
	uint32_t more = h->block_cap / 8u ? h->block_cap / 8u : 1;
	struct leaf_head *to = (struct leaf_head *)leaf_image_new(st, &h->h, h->block_cap + more, fence_lo(h),
								  fence_hi(h));

	to->entry_count = h->entry_count;
	to->block_count = h->block_count;
	to->dead_bytes = h->dead_bytes;
	to->h.used_bytes = h->h.used_bytes;
	memcpy(leaf_dirs(to), leaf_dirs(h), h->block_count * sizeof(struct leaf_dir));
	memcpy(leaf_block_at(to, 0), leaf_block_at(h, 0), (size_t)h->block_count * LEAF_BLOCK_BYTES);
	image_replace(st, f, &to->h);
	return to;
}

/* A place between entries, in key order. */
struct place { uint32_t di, slot; };

static bool place_before(struct place a, struct place b)
{
	return a.di < b.di || (a.di == b.di && a.slot < b.slot);
}

static struct place place_next(const struct leaf_head *h, struct place p)
{
	if (++p.slot == leaf_dir_block(h, p.di)->n)
		p = (struct place){p.di + 1, 0};
	return p;
}

/* The end of what goes into one block of @fill bytes, from @at on; and the prefix of it. */
static struct place pack_next(const struct leaf_head *h, struct place at, struct place end, uint32_t fill,
			      uint8_t *prefix, uint32_t *prefix_len_out)
{
	uint8_t key[LEAF_KEY_MAX];
	uint32_t n = 0, all = 0, prefix_len = 0;

	while (place_before(at, end)) {
		const struct leaf_block *b = leaf_dir_block(h, at.di);
		uint32_t len = key_load(b, at.slot, n ? key : prefix);
		uint32_t shared = n ? common_prefix(prefix, prefix_len, key, len) : len;
		uint32_t one = (uint32_t)sizeof(struct leaf_slot) + LEAF_ENTRY_HEAD + len +
			       entry_value_len(b, &block_slots(b)[at.slot]);
		uint32_t bytes = (uint32_t)sizeof *b + shared + all + one - (n + 1) * shared;

		if (n && bytes > fill)
			break;
		prefix_len = shared;
		all += one;
		n++;
		at = place_next(h, at);
	}
	*prefix_len_out = n > 1 ? prefix_len : 0; /* a lone key's prefix would only be in the way */
	return at;
}

/* Fills @to, an empty leaf with room, with the entries [from, end) of @h. */
static void leaf_fill(struct leaf_head *to, const struct leaf_head *h, struct place from, struct place end,
		      uint32_t fill)
{
	uint8_t prefix[LEAF_KEY_MAX], key[LEAF_KEY_MAX];
	uint32_t skip = leaf_fences_skip(to);

	while (place_before(from, end)) {
		struct leaf_block *b = leaf_block_at(to, to->block_count);
		uint32_t prefix_len, len;
		struct place stop = pack_next(h, from, end, fill, prefix, &prefix_len);

		block_start(b, prefix, prefix_len);
		while (place_before(from, stop)) {
			const struct leaf_block *src = leaf_dir_block(h, from.di);
			uint32_t last = from.di == stop.di ? stop.slot : src->n;

			block_take(b, src, from.slot, last);
			from = last == src->n ? (struct place){from.di + 1, 0} : stop;
		}
		len = key_load(b, 0, key);
		leaf_dirs(to)[to->block_count] = (struct leaf_dir){key_number(key, len, skip), to->block_count, b->n, 0};
		to->block_count++;
		to->entry_count += b->n;
	}
	leaf_recount(to);
}

/* A new image with the entries [from, end) of @h between new fences. */
static struct atom_head *leaf_rebuild(struct atom_store *st, const struct leaf_head *h, struct place from,
				      struct place end, struct slice lo, struct slice hi, uint32_t fill)
{
	uint8_t prefix[LEAF_KEY_MAX];
	uint32_t blocks = 0, prefix_len;
	struct atom_head *image;

	for (struct place at = from; place_before(at, end); blocks++)
		at = pack_next(h, at, end, fill, prefix, &prefix_len);
	image = leaf_image_new(st, &h->h, blocks + 1, lo, hi);
	leaf_fill((struct leaf_head *)image, h, from, end, fill);
	return image;
}

struct frame *leaf_split(struct atom_store *st, struct frame *f, const void *at, uint32_t at_len, atom_id id,
			 seq_index index)
{
	const struct leaf_head *h = leaf_of(f);
	struct slice key = {at, at_len, 0}, lo = fence_lo(h), hi = fence_hi(h);
	struct place end = {h->block_count, 0}, mid;
	struct atom_head *left, *right;
	struct leaf_pos pos;
	struct frame *to;

	ASSERT(kind_is_leaf(f->kind) && leaf_covers(f, at, at_len));
	ASSERT(key_compare(at, at_len, lo.p, lo.bytes) > 0);
	ASSERT_OP(index, >=, h->h.last_index);
	pos = leaf_find(h, f->in->skip, at, at_len);
	mid = (struct place){pos.di, pos.slot};
	if (h->block_count && mid.slot == leaf_dir_block(h, mid.di)->n)
		mid = (struct place){mid.di + 1, 0};
	right = leaf_rebuild(st, h, mid, end, key, hi, FILL_SPLIT);
	right->atom_id = id;
	left = leaf_rebuild(st, h, (struct place){0, 0}, mid, lo, key, FILL_SPLIT);
	to = frame_new(st, right, f->reach);
	frame_inherit(st, to, f);
	image_replace(st, f, left);
	frame_changed(f, index);
	frame_changed(to, index);
	return to;
}

void leaf_compact(struct atom_store *st, struct frame *f, seq_index index)
{
	const struct leaf_head *h = leaf_of(f);

	ASSERT_OP(index, >=, h->h.last_index);
	image_replace(st, f, leaf_rebuild(st, h, (struct place){0, 0}, (struct place){h->block_count, 0},
					  fence_lo(h), fence_hi(h), FILL_COMPACT));
	frame_changed(f, index);
}

/*
 * The shortest key that parts the two entries beside the middle: short fences, and short catalog entries.
 */
enum status leaf_split_point(const struct frame *f, void *key_out, uint32_t *key_len_out)
{
	const struct leaf_head *h = leaf_of(f);
	uint64_t all = 0, sum = 0;
	struct place at = {0, 0}, last = {0, 0};
	uint8_t before[LEAF_KEY_MAX], *key = key_out;
	uint32_t before_len, len;

	if (h->entry_count < 2)
		return ST_END;
	for (uint32_t i = 0; i < h->block_count; i++)
		all += block_live_bytes(leaf_block_at(h, i));
	while (at.di + 1u < h->block_count && sum + block_live_bytes(leaf_dir_block(h, at.di)) <= all / 2)
		sum += block_live_bytes(leaf_dir_block(h, at.di++));
	for (const struct leaf_block *b = leaf_dir_block(h, at.di); at.slot + 1u < b->n && sum < all / 2; at.slot++)
		sum += sizeof(struct leaf_slot) + entry_bytes(b, &block_slots(b)[at.slot]);
	if (!at.di && !at.slot)
		at = place_next(h, at);
	last = at.slot ? (struct place){at.di, at.slot - 1}
		       : (struct place){at.di - 1, leaf_dir_block(h, at.di - 1)->n - 1u};
	before_len = key_load(leaf_dir_block(h, last.di), last.slot, before);
	len = key_load(leaf_dir_block(h, at.di), at.slot, key);
	*key_len_out = common_prefix(before, before_len, key, len) + 1;
	return ST_OK;
}
