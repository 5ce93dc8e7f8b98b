/*
 * leaf.c - apply to keyed leaves (atoms).
 *
 * A key goes to the last block whose first key is not above it. A block without room is rewritten without its dead
 * bytes and under the longest prefix, or, when that would leave little, split in two. A block
 * that gets empty is taken out and the last one moved into its place, so blocks in use are always the
 * first ones; one that gets small joins a neighbour.
 */
#include "atoms/atoms_int.h"

#define BLOCK_SLACK 768u   /* a rewrite must free this much, else the block is split */
#define BLOCK_SMALL 2048u  /* below, a block joins a neighbour, */
#define BLOCK_JOINED 6144u /* if both together take no more */

struct frame *atom_create_leaf(struct atom_store *st, enum atom_kind kind, atom_id id, uint64_t owner,
			       const void *lo, uint32_t lo_len, const void *hi, uint32_t hi_len,
			       seq_index index)
{
	struct atom_head like = {.kind = (uint16_t)kind, .atom_id = id, .owner_id = owner, .last_index = index};
	struct atom_head *image;
	struct frame *f;

	ASSERT(kind > ATOM_NONE && kind < ATOM_KIND_COUNT && kind_is_leaf(kind));
	ASSERT_OP(lo_len, <=, LEAF_KEY_MAX);
	ASSERT_OP(hi_len, <=, LEAF_KEY_MAX);
	ASSERT(!hi_len || key_compare(lo, lo_len, hi, hi_len) < 0);
	image = leaf_image_new(st, &like, 1, (struct slice){lo_len ? lo : "", lo_len, 0},
			       (struct slice){hi_len ? hi : "", hi_len, 0});
	leaf_recount((struct leaf_head *)image);
	f = frame_new(st, image, index ? index - 1 : 0);
	f->dirty_since = index;
	return f;
}

/* -- undo ------------------------------------------------------------------------------------------ */

static void undo_key_put(struct atom_store *st, struct frame *f, seq_index index, enum undo_kind kind,
			 const uint8_t *key, uint32_t key_len, const uint8_t *value, uint32_t value_len)
{
	struct undo *u = frame_undo(st, f, index, kind, hash_bytes(key, key_len), 0,
				    (uint32_t)sizeof(struct undo_key) + key_len + value_len);
	struct undo_key *k;

	if (!u)
		return;
	k = (struct undo_key *)(u + 1);
	*k = (struct undo_key){f->in->gone_head, (uint16_t)key_len, (uint16_t)value_len, 0};
	memcpy(k + 1, key, key_len);
	memcpy((uint8_t *)(k + 1) + key_len, value, value_len);
	if (kind == UNDO_KEY_GONE)
		f->in->gone_head = f->undo_head;
}

/* -- blocks ---------------------------------------------------------------------------------------- */

static uint32_t block_free_bytes(const struct leaf_block *b)
{
	return b->heap_top - (uint32_t)sizeof *b - b->n * (uint32_t)sizeof(struct leaf_slot);
}

static void dir_refresh(struct leaf_head *h, uint32_t skip, uint32_t di)
{
	const struct leaf_block *b = leaf_dir_block(h, di);
	struct leaf_dir *dir = &leaf_dirs(h)[di];
	uint8_t key[LEAF_KEY_MAX];
	uint32_t len = key_load(b, 0, key);

	dir->sep8 = key_number(key, len, skip);
	dir->entries = b->n;
}

/* A new, empty block in front of directory entry @di; the leaf may move. */
static struct leaf_head *dir_insert(struct atom_store *st, struct frame *f, uint32_t di)
{
	struct leaf_head *h = leaf_of(f);
	struct leaf_dir *dir;

	if (h->block_count == h->block_cap)
		h = leaf_grow(st, f);
	dir = leaf_dirs(h);
	memmove(dir + di + 1, dir + di, (h->block_count - di) * sizeof *dir);
	dir[di] = (struct leaf_dir){.block = h->block_count};
	leaf_block_at(h, h->block_count)->heap_top = LEAF_BLOCK_BYTES;
	h->block_count++;
	return h;
}

/* Takes out a block; the last one moves into its place. */
static void dir_remove(struct leaf_head *h, uint32_t di)
{
	struct leaf_dir *dir = leaf_dirs(h);
	uint16_t hole = dir[di].block, last = (uint16_t)(h->block_count - 1);

	memmove(dir + di, dir + di + 1, (last - di) * sizeof *dir);
	dir[last] = (struct leaf_dir){0};
	h->block_count = last;
	for (uint32_t i = 0; hole != last && i < last; i++)
		if (dir[i].block == last) {
			memcpy(leaf_block_at(h, hole), leaf_block_at(h, last), LEAF_BLOCK_BYTES);
			dir[i].block = hole;
			break;
		}
	memset(leaf_block_at(h, last), 0, LEAF_BLOCK_BYTES);
}

/* The longest prefix of slots [first, end), in @buf. */
static uint32_t range_prefix(const struct leaf_block *b, uint32_t first, uint32_t end, uint8_t *buf)
{
	uint8_t last[LEAF_KEY_MAX];
	uint32_t len, last_len;

	if (end - first < 2)
		return 0; /* a lone key's prefix would only be in the way */
	len = key_load(b, first, buf);
	last_len = key_load(b, end - 1, last);
	return common_prefix(buf, len, last, last_len);
}

static void block_rewrite(struct leaf_block *b, const struct leaf_block *from, uint32_t first, uint32_t end,
			  const uint8_t *prefix, uint32_t prefix_len)
{
	memset(b, 0, LEAF_BLOCK_BYTES);
	block_start(b, prefix, prefix_len);
	block_take(b, from, first, end);
}

static uint32_t split_slot(const struct leaf_block *b)
{
	uint32_t half = block_live_bytes(b) / 2, sum = 0, at = 0;

	while (at + 1u < b->n && sum < half)
		sum += (uint32_t)sizeof(struct leaf_slot) + entry_bytes(b, &block_slots(b)[at++]);
	return at ? at : 1;
}

static void block_split(struct atom_store *st, struct frame *f, uint32_t di)
{
	struct leaf_head *h = dir_insert(st, f, di + 1);
	struct leaf_block *left = leaf_dir_block(h, di), *right = leaf_dir_block(h, di + 1);
	union { uint8_t bytes[LEAF_BLOCK_BYTES]; struct leaf_block b; } old;
	uint8_t prefix[LEAF_KEY_MAX];
	uint32_t at, len;

	memcpy(&old, left, sizeof old);
	ASSERT_OP(old.b.n, >=, 2);
	at = split_slot(&old.b);
	len = range_prefix(&old.b, at, old.b.n, prefix);
	block_rewrite(right, &old.b, at, old.b.n, prefix, len);
	len = range_prefix(&old.b, 0, at, prefix);
	block_rewrite(left, &old.b, 0, at, prefix, len);
	dir_refresh(h, f->in->skip, di);
	dir_refresh(h, f->in->skip, di + 1);
}

/*
 * Rewrites block @di so that @need bytes and @key fit. False, nothing changed: that would leave too little
 * for the rewrite to be worth it.
 */
static bool block_squeeze(struct leaf_block *b, const uint8_t *key, uint32_t key_len, uint32_t need)
{
	union { uint8_t bytes[LEAF_BLOCK_BYTES]; struct leaf_block b; } old;
	uint8_t prefix[LEAF_KEY_MAX];
	uint32_t len = range_prefix(b, 0, b->n, prefix);

	len = common_prefix(prefix, len, key, key_len);
	if (b->n >= 2 && block_bytes_under(b, len) + need + BLOCK_SLACK > LEAF_BLOCK_BYTES)
		return false;
	memcpy(&old, b, sizeof old);
	block_rewrite(b, &old.b, 0, old.b.n, prefix, len);
	return true;
}

/* Joins blocks @di and @di + 1 when both fit one loosely. */
static bool block_join(struct leaf_head *h, uint32_t skip, uint32_t di)
{
	struct leaf_block *a = leaf_dir_block(h, di), *b = leaf_dir_block(h, di + 1);
	union { uint8_t bytes[LEAF_BLOCK_BYTES]; struct leaf_block b; } old;
	uint8_t first[LEAF_KEY_MAX], last[LEAF_KEY_MAX];
	uint32_t len = key_load(a, 0, first), last_len = key_load(b, b->n - 1u, last);

	len = common_prefix(first, len, last, last_len);
	if (block_bytes_under(a, len) + block_bytes_under(b, len) > BLOCK_JOINED)
		return false;
	memcpy(&old, a, sizeof old);
	block_rewrite(a, &old.b, 0, old.b.n, first, len);
	block_take(a, b, 0, b->n);
	dir_refresh(h, skip, di);
	dir_remove(h, di + 1);
	return true;
}

/* -- entries --------------------------------------------------------------------------------------- */

/* Writes the entry's bytes at the block's heap top; returns its offset. */
static uint16_t entry_write(struct leaf_block *b, const uint8_t *key, uint32_t key_len, const uint8_t *value,
			    uint32_t value_len)
{
	uint16_t len = (uint16_t)value_len;
	uint8_t *p;

	b->heap_top = (uint16_t)(b->heap_top - (LEAF_ENTRY_HEAD + key_len + value_len));
	p = image_at(b, b->heap_top);
	memcpy(p, &len, sizeof len);
	memcpy(p + LEAF_ENTRY_HEAD, key, key_len);
	memcpy(p + LEAF_ENTRY_HEAD + key_len, value, value_len);
	return b->heap_top;
}

static void entry_kill(struct leaf_head *h, struct leaf_block *b, const struct leaf_slot *s)
{
	uint32_t bytes = entry_bytes(b, s);

	memset(image_at(b, s->off), 0, bytes);
	b->dead = (uint16_t)(b->dead + bytes);
	h->dead_bytes += bytes;
	h->h.used_bytes -= bytes;
}

static void entry_replace(struct leaf_head *h, struct leaf_block *b, struct leaf_slot *s, const uint8_t *rest,
			  const uint8_t *value, uint32_t value_len)
{
	if (entry_value_len(b, s) == value_len) {
		memcpy(entry_value(b, s), value, value_len);
		return;
	}
	entry_kill(h, b, s);
	s->off = entry_write(b, rest, s->key_len, value, value_len);
	h->h.used_bytes += entry_bytes(b, s);
}

static void entry_insert(struct leaf_head *h, struct leaf_block *b, uint32_t at, const uint8_t *rest,
			 uint32_t rest_len, const uint8_t *value, uint32_t value_len)
{
	struct leaf_slot *slots = block_slots(b);

	memmove(slots + at + 1, slots + at, (b->n - at) * sizeof *slots);
	slots[at].hint = key_hint(rest, rest_len);
	slots[at].key_len = (uint16_t)rest_len;
	slots[at].off = entry_write(b, rest, rest_len, value, value_len);
	b->n++;
	h->h.used_bytes += (uint32_t)sizeof *slots + entry_bytes(b, &slots[at]);
	h->entry_count++;
}

/* -- apply ----------------------------------------------------------------------------------------- */

static void put_undo(struct atom_store *st, struct frame *f, seq_index index, struct leaf_pos pos,
		     const uint8_t *key, uint32_t key_len)
{
	const struct leaf_block *b;
	const struct leaf_slot *s;

	if (!pos.found) {
		undo_key_put(st, f, index, UNDO_KEY_ABSENT, key, key_len, key, 0);
		return;
	}
	b = leaf_dir_block(leaf_of(f), pos.di);
	s = &block_slots(b)[pos.slot];
	undo_key_put(st, f, index, UNDO_KEY_OLD, key, key_len, entry_value(b, s), entry_value_len(b, s));
}

/* Whether the key can go into block @di as it is; what is missing otherwise is @need bytes or a shorter prefix. */
static bool block_fits(const struct leaf_block *b, struct leaf_pos pos, const uint8_t *key, uint32_t key_len,
		       uint32_t value_len, uint32_t *need_out)
{
	bool under = key_len >= b->prefix_len && !memcmp(key, block_prefix(b), b->prefix_len);
	uint32_t slot = pos.found ? 0 : (uint32_t)sizeof(struct leaf_slot);

	*need_out = slot + LEAF_ENTRY_HEAD + key_len + value_len;
	if (pos.found && entry_value_len(b, &block_slots(b)[pos.slot]) == value_len)
		return true;
	return under && *need_out - b->prefix_len <= block_free_bytes(b);
}

/* Finds or makes the place where the entry fits. */
static struct leaf_pos put_room(struct atom_store *st, struct frame *f, struct leaf_pos pos, const uint8_t *key,
				uint32_t key_len, uint32_t value_len)
{
	struct leaf_head *h = leaf_of(f);
	uint32_t need;
	bool moved = false;

	if (!h->block_count) {
		dir_insert(st, f, 0);
		moved = true;
	}
	for (;;) {
		struct leaf_block *b;

		h = leaf_of(f);
		b = leaf_dir_block(h, pos.di);
		if (block_fits(b, pos, key, key_len, value_len, &need))
			break;
		moved = true;
		if (!block_squeeze(b, key, key_len, need)) {
			/* Keys that rise: a full last block stays full, the new key starts the next one */
			if (!pos.found && pos.di + 1u == h->block_count && pos.slot == b->n) {
				dir_insert(st, f, h->block_count);
				pos = (struct leaf_pos){pos.di + 1, 0, false};
				continue;
			}
			block_split(st, f, pos.di);
		}
		pos = leaf_find(leaf_of(f), f->in->skip, key, key_len);
	}
	if (moved)
		leaf_recount(leaf_of(f));
	return pos;
}

void leaf_put(struct atom_store *st, struct frame *f, seq_index index, const void *key, uint32_t key_len,
	      const void *value, uint32_t value_len)
{
	struct leaf_head *h = leaf_of(f);
	struct leaf_block *b;
	struct leaf_pos pos;
	const uint8_t *rest;

	ASSERT(kind_is_leaf(f->kind));
	ASSERT_OP(index, >=, h->h.last_index);
	ASSERT_OP(key_len, <=, LEAF_KEY_MAX);
	ASSERT_OP(value_len, <=, LEAF_VALUE_MAX);
	ASSERT(leaf_covers(f, key, key_len));
	if (!value_len)
		value = key; /* may be NULL; any pointer will do */
	pos = leaf_find(h, f->in->skip, key, key_len);
	put_undo(st, f, index, pos, key, key_len);
	image_writable(st, f);
	pos = put_room(st, f, pos, key, key_len, value_len);
	h = leaf_of(f);
	b = leaf_dir_block(h, pos.di);
	rest = (const uint8_t *)key + b->prefix_len;
	if (pos.found)
		entry_replace(h, b, &block_slots(b)[pos.slot], rest, value, value_len);
	else
		entry_insert(h, b, pos.slot, rest, key_len - b->prefix_len, value, value_len);
	if (!pos.found && !pos.slot)
		dir_refresh(h, f->in->skip, pos.di);
	leaf_dirs(h)[pos.di].entries = b->n;
	frame_changed(f, index);
}

static void block_shrunk(struct leaf_head *h, uint32_t skip, uint32_t di)
{
	const struct leaf_block *b = leaf_dir_block(h, di);

	if (!b->n) {
		dir_remove(h, di);
		leaf_recount(h);
		return;
	}
	if (block_live_bytes(b) >= BLOCK_SMALL)
		return;
	if ((di + 1u < h->block_count && block_join(h, skip, di)) || (di && block_join(h, skip, di - 1)))
		leaf_recount(h);
}

void leaf_remove(struct atom_store *st, struct frame *f, seq_index index, const void *key, uint32_t key_len)
{
	struct leaf_head *h = leaf_of(f);
	struct leaf_slot *slots;
	struct leaf_block *b;
	struct leaf_pos pos;

	ASSERT(kind_is_leaf(f->kind));
	ASSERT_OP(index, >=, h->h.last_index);
	ASSERT(leaf_covers(f, key, key_len));
	pos = leaf_find(h, f->in->skip, key, key_len);
	if (pos.found) {
		b = leaf_dir_block(h, pos.di);
		slots = block_slots(b);
		undo_key_put(st, f, index, UNDO_KEY_GONE, key, key_len, entry_value(b, &slots[pos.slot]),
			     entry_value_len(b, &slots[pos.slot]));
	}
	image_writable(st, f);
	if (pos.found) {
		h = leaf_of(f);
		b = leaf_dir_block(h, pos.di);
		slots = block_slots(b);
		entry_kill(h, b, &slots[pos.slot]);
		memmove(slots + pos.slot, slots + pos.slot + 1, (b->n - pos.slot - 1u) * sizeof *slots);
		b->n--;
		slots[b->n] = (struct leaf_slot){0};
		h->entry_count--;
		h->h.used_bytes -= (uint32_t)sizeof *slots;
		if (b->n && !pos.slot)
			dir_refresh(h, f->in->skip, pos.di);
		leaf_dirs(h)[pos.di].entries = b->n;
		block_shrunk(h, f->in->skip, pos.di);
	}
	frame_changed(f, index);
}
