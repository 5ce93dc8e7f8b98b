/*
 * leaf_read.c - search in keyed leaves, reads as of a snapshot, versions of keys (atoms).
 */
#include "atoms/atoms_int.h"

#include <stdlib.h>

/* -- search ---------------------------------------------------------------------------------------- */

/* Key against the whole key of an entry. */
static int entry_compare(const uint8_t *key, uint32_t len, const struct leaf_block *b, const struct leaf_slot *s)
{
	uint32_t n = len < b->prefix_len ? len : b->prefix_len;
	int c = memcmp(key, block_prefix(b), n);

	if (c)
		return c;
	if (len < b->prefix_len)
		return -1;
	return key_compare(key + n, len - n, entry_key(b, s), s->key_len);
}

/* The block whose range has the key: the last one whose first key is not above it, or the first. */
static uint32_t dir_find(const struct leaf_head *h, uint32_t skip, const uint8_t *key, uint32_t len)
{
	const struct leaf_dir *dir = leaf_dirs(h);
	uint64_t number = key_number(key, len, skip);
	uint32_t lo = 0, hi = h->block_count; /* blocks below lo are not above the key; from hi on they are */

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;
		bool above = dir[mid].sep8 > number;

		if (dir[mid].sep8 == number) {
			const struct leaf_block *b = leaf_block_at(h, dir[mid].block);

			above = entry_compare(key, len, b, block_slots(b)) < 0;
		}
		if (above)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo ? lo - 1 : 0;
}

static uint32_t block_find(const struct leaf_block *b, const uint8_t *key, uint32_t len, bool *found_out)
{
	const struct leaf_slot *slots = block_slots(b);
	uint32_t lo = 0, hi = b->n, n = len < b->prefix_len ? len : b->prefix_len, hint;
	int c = memcmp(key, block_prefix(b), n);

	*found_out = false;
	if (c < 0 || (!c && len < b->prefix_len))
		return 0;
	if (c > 0)
		return b->n;
	key += n;
	len -= n;
	hint = key_hint(key, len);
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		c = slots[mid].hint < hint ? -1 : slots[mid].hint > hint;
		if (!c)
			c = key_compare(entry_key(b, &slots[mid]), slots[mid].key_len, key, len);
		if (!c) {
			*found_out = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct leaf_pos leaf_find(const struct leaf_head *h, uint32_t skip, const uint8_t *key, uint32_t len)
{
	struct leaf_pos pos = {0, 0, false};

	if (!h->block_count)
		return pos;
	pos.di = dir_find(h, skip, key, len);
	pos.slot = block_find(leaf_dir_block(h, pos.di), key, len, &pos.found);
	return pos;
}

struct slice leaf_lo(const struct frame *f)
{
	const struct leaf_head *h = leaf_of(f);

	return (struct slice){image_at(h, h->lo_fence_off), h->lo_len, 0};
}

struct slice leaf_hi(const struct frame *f)
{
	const struct leaf_head *h = leaf_of(f);

	return (struct slice){image_at(h, h->hi_fence_off), h->hi_len, 0};
}

uint32_t leaf_entry_count(const struct frame *f)
{
	return leaf_of(f)->entry_count;
}

bool leaf_covers(const struct frame *f, const void *key, uint32_t key_len)
{
	struct slice lo = leaf_lo(f), hi = leaf_hi(f);

	return key_compare(key, key_len, lo.p, lo.bytes) >= 0 &&
	       (!hi.bytes || key_compare(key, key_len, hi.p, hi.bytes) < 0);
}

/* -- versions -------------------------------------------------------------------------------------- */

static const struct undo *key_match(const struct atom_store *st, const struct undo *u, const uint8_t *key,
				    uint32_t len)
{
	for (; u; u = row_next(st, u)) {
		struct leaf_key k = undo_leaf_key(u);

		if (k.len == len && !memcmp(k.key, key, len))
			return u;
	}
	return NULL;
}

const struct undo *key_first(const struct atom_store *st, const struct frame *f, const uint8_t *key, uint32_t len)
{
	return key_match(st, row_first(st, f, hash_bytes(key, len)), key, len);
}

const struct undo *key_next(const struct atom_store *st, const struct undo *u, const uint8_t *key, uint32_t len)
{
	return key_match(st, row_next(st, u), key, len);
}

enum status leaf_get(struct atom_store *st, const struct frame *f, seq_index snapshot, const void *key,
		     uint32_t key_len, struct slice *value_out)
{
	const struct leaf_head *h = leaf_of(f);
	const struct undo *oldest = NULL;
	bool newest;
	enum status s = frame_readable(st, f, snapshot, &newest);
	struct leaf_pos pos;

	if (s != ST_OK)
		return s;
	for (const struct undo *u = newest ? NULL : key_first(st, f, key, key_len); u && u->index > snapshot;
	     u = key_next(st, u, key, key_len))
		oldest = u;
	if (oldest) {
		struct leaf_key old = undo_leaf_key(oldest);

		if (oldest->kind == UNDO_KEY_ABSENT)
			return ST_END;
		*value_out = (struct slice){old.value, old.value_len, 0};
		return ST_OK;
	}
	pos = leaf_find(h, f->in->skip, key, key_len);
	if (!pos.found)
		return ST_END;
	{
		const struct leaf_block *b = leaf_dir_block(h, pos.di);
		const struct leaf_slot *slot = &block_slots(b)[pos.slot];

		*value_out = (struct slice){entry_value(b, slot), entry_value_len(b, slot), 0};
	}
	return ST_OK;
}

static bool has_prefix(const uint8_t *key, uint32_t len, const uint8_t *prefix, uint32_t prefix_len)
{
	return len >= prefix_len && !memcmp(key, prefix, prefix_len);
}

/*
 * A key that undo knows is in the body now, or was removed. So: the index for each key of the body with the
 * prefix, then the entries of removals, which are linked by themselves, newest first. An exact key
 * (prefix-free, as indexes encode them) is one look-up and a walk of removals since its own version.
 */
seq_index leaf_prefix_version(struct atom_store *st, const struct frame *f, const void *prefix,
			      uint32_t prefix_len)
{
	const struct leaf_head *h = leaf_of(f);
	uint8_t key[LEAF_KEY_MAX];
	seq_index newest = 0;
	struct leaf_pos pos;

	if (!chain_first(st, f))
		return 0;
	pos = leaf_find(h, f->in->skip, prefix, prefix_len);
	for (; pos.di < h->block_count; pos.di++, pos.slot = 0) {
		const struct leaf_block *b = leaf_dir_block(h, pos.di);

		for (; pos.slot < b->n; pos.slot++) {
			uint32_t len = key_load(b, pos.slot, key);
			const struct undo *u;

			if (!has_prefix(key, len, prefix, prefix_len))
				goto gone;
			u = key_first(st, f, key, len);
			if (u && u->index > newest)
				newest = u->index;
		}
	}
gone:
	for (uint64_t at = f->in->gone_head; undo_live(&st->ring, at);) {
		const struct undo *u = undo_at(&st->ring, at);
		struct leaf_key k = undo_leaf_key(u);

		if (u->index <= newest)
			break;
		/* a split leaves the other side's entries in the chain */
		if (has_prefix(k.key, k.len, prefix, prefix_len) && leaf_covers(f, k.key, k.len))
			return u->index;
		at = undo_leaf_prev_gone(u);
	}
	return newest;
}

bool leaf_changed_since(struct atom_store *st, const struct frame *f, const void *lo, uint32_t lo_len, const void *hi,
			uint32_t hi_len, seq_index snapshot)
{
	if (frame_last_index(f) <= snapshot)
		return false;
	if (frame_reach(st, f) > snapshot)
		return true;
	if (hi_len == lo_len + 1 && lo_len && !memcmp(lo, hi, lo_len) && !((const uint8_t *)hi)[lo_len]) { /* one key */
		const struct undo *u = key_first(st, f, lo, lo_len);

		return u && u->index > snapshot;
	}
	for (const struct undo *u = chain_first(st, f); u && u->index > snapshot; u = chain_next(st, u)) {
		struct leaf_key k = undo_leaf_key(u);

		if (key_compare(k.key, k.len, lo, lo_len) >= 0 && (!hi_len || key_compare(k.key, k.len, hi, hi_len) < 0) &&
		    leaf_covers(f, k.key, k.len))
			return true;
	}
	return false;
}

/* -- scans ----------------------------------------------------------------------------------------- */

/* A key whose state as of the snapshot is in undo. */
struct patch { struct leaf_key old; bool absent; };

struct scan {
	const struct leaf_head *h;
	struct arena *arena;
	bool backward;
	int32_t di, slot;         /* next entry of the body; di outside [0, block_count): none */
	struct patch *patches;    /* in direction of the scan */
	uint32_t patch, patch_count;
};

static int patch_compare(const void *a, const void *b)
{
	const struct patch *x = a, *y = b;

	return key_compare(x->old.key, x->old.len, y->old.key, y->old.len); /* no two are equal */
}

static bool in_range(const uint8_t *key, uint32_t len, const uint8_t *from, uint32_t from_len, bool exclusive,
		     bool backward)
{
	int c = from ? key_compare(key, len, from, from_len) : 0;

	if (!from)
		return true;
	return c ? (c > 0) != backward : !exclusive;
}

/* The oldest entry above the snapshot of each key in range, by key; S6: one walk of the chain. */
static void patches_collect(struct atom_store *st, const struct frame *f, seq_index snapshot, const void *from,
			    uint32_t from_len, bool exclusive, struct scan *sc)
{
	uint32_t count = 0;

	for (const struct undo *u = chain_first(st, f); u && u->index > snapshot; u = chain_next(st, u))
		count++;
	if (!count)
		return;
	sc->patches = ARENA_NEW_N(sc->arena, struct patch, count);
	for (const struct undo *u = chain_first(st, f); u && u->index > snapshot; u = chain_next(st, u)) {
		struct leaf_key k = undo_leaf_key(u);
		const struct undo *older;

		if (!in_range(k.key, k.len, from, from_len, exclusive, sc->backward) ||
		    !leaf_covers(f, k.key, k.len))
			continue;
		older = key_next(st, u, k.key, k.len);
		if (older && older->index > snapshot)
			continue; /* it decides */
		sc->patches[sc->patch_count++] = (struct patch){k, u->kind == UNDO_KEY_ABSENT};
	}
	qsort(sc->patches, sc->patch_count, sizeof *sc->patches, patch_compare);
	for (uint32_t i = 0; sc->backward && i < sc->patch_count / 2; i++) {
		struct patch p = sc->patches[i];

		sc->patches[i] = sc->patches[sc->patch_count - 1 - i];
		sc->patches[sc->patch_count - 1 - i] = p;
	}
}

/* Steps over the ends of blocks. */
static void body_settle(struct scan *sc)
{
	int32_t count = sc->h->block_count;

	if (sc->backward) {
		while (sc->di >= 0 && sc->di < count && sc->slot < 0)
			sc->slot = --sc->di >= 0 ? (int32_t)leaf_dir_block(sc->h, (uint32_t)sc->di)->n - 1 : 0;
	} else if (sc->di < count && sc->slot >= (int32_t)leaf_dir_block(sc->h, (uint32_t)sc->di)->n) {
		sc->di++;
		sc->slot = 0;
	}
}

static void body_seek(const struct frame *f, const void *from, uint32_t from_len, bool exclusive,
		      struct scan *sc)
{
	const struct leaf_head *h = sc->h;
	struct slice lo = leaf_lo(f), hi = leaf_hi(f);
	bool below = !sc->backward && !from, above = sc->backward && !from;
	struct leaf_pos pos;

	/* the search leaves out what the fences share, so it needs a key between them */
	if (from && key_compare(from, from_len, lo.p, lo.bytes) < 0)
		below = true;
	if (from && hi.bytes && key_compare(from, from_len, hi.p, hi.bytes) >= 0)
		above = true;
	if (below || above) {
		sc->di = below ? 0 : (int32_t)h->block_count - 1;
		sc->slot = below || !h->block_count ? 0 : (int32_t)leaf_dir_block(h, (uint32_t)sc->di)->n - 1;
		/* before the first, going back, or behind the last, going on: nothing */
		if (below && sc->backward)
			sc->di = -1;
		if (above && !sc->backward)
			sc->di = h->block_count;
		return;
	}
	pos = leaf_find(h, f->in->skip, from, from_len);
	sc->di = (int32_t)pos.di;
	sc->slot = (int32_t)pos.slot;
	if (!sc->backward)
		sc->slot += pos.found && exclusive;
	else
		sc->slot -= !pos.found || exclusive;
	if (h->block_count)
		body_settle(sc);
}

static bool body_has(const struct scan *sc)
{
	return sc->di >= 0 && sc->di < (int32_t)sc->h->block_count;
}

static void body_step(struct scan *sc)
{
	sc->slot += sc->backward ? -1 : 1;
	body_settle(sc);
}

/* Order of the body's next entry and the next patch in the scan's direction: < 0 body first, 0 same key. */
static int scan_order(const struct scan *sc)
{
	const struct leaf_key *old;
	const struct leaf_block *b;
	int c;

	if (sc->patch == sc->patch_count)
		return -1;
	if (!body_has(sc))
		return 1;
	old = &sc->patches[sc->patch].old;
	b = leaf_dir_block(sc->h, (uint32_t)sc->di);
	c = -entry_compare(old->key, old->len, b, &block_slots(b)[sc->slot]);
	return sc->backward ? -c : c;
}

static void body_entry(const struct scan *sc, struct leaf_entry *out)
{
	const struct leaf_block *b = leaf_dir_block(sc->h, (uint32_t)sc->di);
	const struct leaf_slot *s = &block_slots(b)[sc->slot];
	uint32_t len = (uint32_t)b->prefix_len + s->key_len;

	out->value = (struct slice){entry_value(b, s), entry_value_len(b, s), 0};
	if (!b->prefix_len) {
		out->key = (struct slice){entry_key(b, s), len, 0};
		return;
	}
	out->key = (struct slice){arena_alloc(sc->arena, len), len, 0};
	memcpy((void *)(uintptr_t)out->key.p, block_prefix(b), b->prefix_len);
	memcpy((uint8_t *)(uintptr_t)out->key.p + b->prefix_len, entry_key(b, s), s->key_len);
}

enum status leaf_scan(struct atom_store *st, const struct frame *f, seq_index snapshot, const void *from,
		      uint32_t from_len, bool exclusive, bool backward, uint32_t max, struct arena *arena,
		      struct leaf_entry *out, uint32_t *count_out)
{
	struct scan sc = {.h = leaf_of(f), .arena = arena, .backward = backward};
	uint32_t count = 0;
	bool newest;
	enum status s = frame_readable(st, f, snapshot, &newest);

	if (s != ST_OK)
		return s;
	if (!newest)
		patches_collect(st, f, snapshot, from, from_len, exclusive, &sc);
	body_seek(f, from, from_len, exclusive, &sc);
	while (count < max && (body_has(&sc) || sc.patch < sc.patch_count)) {
		int c = scan_order(&sc);

		if (c < 0) {
			body_entry(&sc, &out[count++]);
			body_step(&sc);
			continue;
		}
		if (!c)
			body_step(&sc);
		if (!sc.patches[sc.patch].absent) {
			const struct leaf_key *old = &sc.patches[sc.patch].old;

			out[count++] = (struct leaf_entry){{old->key, old->len, 0}, {old->value, old->value_len, 0}};
		}
		sc.patch++;
	}
	*count_out = count;
	return ST_OK;
}
