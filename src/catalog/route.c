/*
 * route.c - from rows and keys to atoms (catalog).
 *
 * The record and index catalog leaves are the truth. For speed each storage in use has a *route table*: its entries in
 * order, built from the leaves when first asked for and thrown away when an entry of the storage changes.
 */
#include "catalog/replica_int.h"

static void table_free(struct replica *rp, struct route_table *t)
{
	mem_free(rp->mem, t->at, t->count * sizeof *t->at);
	arena_fini(&t->arena);
	MEM_FREE(rp->mem, t);
}

void route_invalidate(struct replica *rp, rel_id storage)
{
	struct route_table *t = map_remove(&rp->routes, storage);

	if (t)
		table_free(rp, t);
}

void route_invalidate_all(struct replica *rp)
{
	struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&rp->routes, &at)))
		table_free(rp, s->value);
	map_clear(&rp->routes);
}

/* A catalog leaf that is here and current; else *need_out. */
static struct frame *leaf_here(struct replica *rp, struct catalog_leaf *c, atom_id *need_out)
{
	struct frame *f = c ? atom_find(rp->store, c->atom) : NULL;

	if (f && replica_usable(rp, f))
		return f;
	*need_out = c ? c->atom : ATOM_ID_ROOT;
	return NULL;
}

struct build {
	struct replica *rp;
	struct arena *arena;
	VEC(struct route_entry) entries;
};

static void build_add(struct build *b, bool rows, const struct leaf_entry *e)
{
	struct route_entry r = {0};
	struct reader v = reader_init(e->value.p, e->value.bytes);

	r.atom = get_u64(&v);
	if (rows) {
		r.lo = from_be64(e->key.p + 8);
		r.hi = get_u64(&v);
	} else {
		r.lo_key.bytes = e->key.bytes - 8;
		r.lo_key.p = arena_dup(b->arena, e->key.p + 8, r.lo_key.bytes);
	}
	r.epoch = get_u64(&v);
	ASSERT(reader_ok(&v));
	VEC_PUSH(b->rp->mem, &b->entries, r);
}

/* All entries of a storage in one catalog leaf, appended. */
static void build_leaf(struct build *b, struct frame *f, rel_id storage, bool rows)
{
	struct leaf_entry entries[128];
	uint8_t from[8 + LEAF_KEY_MAX];
	uint32_t from_len = 8, count;
	bool exclusive = false, more = true;

	be64(from, storage);
	while (more) {
		struct arena_mark mark = arena_mark(&b->rp->turn);

		ASSERT(leaf_scan(b->rp->store, f, LEAF_NEWEST, from, from_len, exclusive, false, 128,
				 &b->rp->turn, entries, &count) == ST_OK);
		more = count == 128;
		for (uint32_t i = 0; i < count; i++) {
			if (from_be64(entries[i].key.p) != storage) {
				more = false;
				break;
			}
			build_add(b, rows, &entries[i]);
		}
		if (more) {
			from_len = entries[count - 1].key.bytes;
			memcpy(from, entries[count - 1].key.p, from_len);
			exclusive = true;
		}
		arena_rewind(&b->rp->turn, mark);
	}
}

/*
 * The route table of a storage. A storage may span several catalog leaves: all of them must be here.
 * NULL: *need_out must be fetched.
 */
static struct route_table *table_get(struct replica *rp, rel_id storage, enum atom_kind catalog, atom_id *need_out)
{
	struct route_table *t = map_find(&rp->routes, storage);
	uint8_t key[8 + 1], end[8];
	struct build b = {.rp = rp};

	if (t)
		return t;
	if (!rp->root) { /* it joins anew: "nothing there" would be a lie */
		*need_out = ATOM_ID_ROOT;
		return NULL;
	}
	t = MEM_NEW(rp->mem, struct route_table);
	t->storage = storage;
	arena_init(&t->arena, rp->mem);
	b.arena = &t->arena;
	be64(key, storage);
	be64(end, storage + 1);
	for (size_t i = 0; i < rp->catalogs[catalog].count; i++) {
		struct catalog_leaf *c = rp->catalogs[catalog].at[i];
		struct catalog_leaf *next = i + 1 < rp->catalogs[catalog].count ? rp->catalogs[catalog].at[i + 1] : NULL;
		struct frame *f;

		if (next && memcmp(next->lo.p, key, next->lo.bytes < 8 ? next->lo.bytes : 8) <= 0 &&
		    !(next->lo.bytes > 8 && memcmp(next->lo.p, key, 8) == 0))
			continue; /* wholly before the storage */
		if (c->lo.bytes && memcmp(c->lo.p, end, c->lo.bytes < 8 ? c->lo.bytes : 8) >= 0)
			break;
		f = leaf_here(rp, c, need_out);
		if (!f) {
			VEC_FINI(rp->mem, &b.entries);
			arena_fini(&t->arena);
			MEM_FREE(rp->mem, t);
			return NULL;
		}
		build_leaf(&b, f, storage, catalog == ATOM_RECORD_CAT);
	}
	t->count = (uint32_t)b.entries.count;
	t->at = mem_realloc(rp->mem, b.entries.at, b.entries.cap * sizeof *t->at, t->count * sizeof *t->at);
	map_put(&rp->routes, storage, t);
	return t;
}

static struct frame *entry_frame(struct replica *rp, struct route_entry *e)
{
	if (e->frames_version != rp->frames_version) {
		e->frame = atom_find(rp->store, e->atom);
		e->frames_version = rp->frames_version;
	}
	return e->frame;
}

/* First entry with hi > row. */
static uint32_t row_place(const struct route_table *t, row_id row)
{
	uint32_t lo = 0, hi = t->count;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (t->at[mid].hi <= row)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int key_compare(struct slice a, const void *b, uint32_t b_len)
{
	uint32_t n = a.bytes < b_len ? a.bytes : b_len;
	int c = n ? memcmp(a.p, b, n) : 0;

	return c ? c : (a.bytes > b_len) - (a.bytes < b_len);
}

/* Number of entries with lo_key <= key. */
static uint32_t key_place(const struct route_table *t, const void *key, uint32_t key_len)
{
	uint32_t lo = 0, hi = t->count;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (key_compare(t->at[mid].lo_key, key, key_len) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static enum status route_out(struct replica *rp, struct route_table *t, uint32_t i, struct route *out)
{
	struct route_entry *e = &t->at[i];

	out->atom = e->atom;
	out->frame = entry_frame(rp, e);
	out->epoch = e->epoch;
	out->lo = e->lo;
	out->hi = e->hi;
	out->lo_key = e->lo_key;
	out->hi_key = i + 1 < t->count ? t->at[i + 1].lo_key : (struct slice){0};
	return ST_OK;
}

/* -- for apply: copies by their own bounds ------------------------------------------------------------------ */

static int held_compare(const struct held_copy *c, row_id lo, const void *key, uint32_t key_len)
{
	return key ? key_compare(c->lo_key, key, key_len) : (c->lo > lo) - (c->lo < lo);
}

/* Number of copies whose lower bound is at or below. */
static uint32_t held_place(const struct held_copies *h, row_id lo, const void *key, uint32_t key_len)
{
	uint32_t a = 0, b = (uint32_t)h->all.count;

	while (a < b) {
		uint32_t mid = (a + b) / 2;

		if (held_compare(&h->all.at[mid], lo, key, key_len) <= 0)
			a = mid + 1;
		else
			b = mid;
	}
	return a;
}

bool held_before(const struct replica *rp, rel_id storage, seq_index index)
{
	static const enum atom_kind kinds[] = {ATOM_DATA, ATOM_INDEX};

	for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
		const struct held_copies *h = map_find2(&rp->held, storage, kinds[k]);

		for (size_t i = 0; h && i < h->all.count; i++)
			if (frame_as_of(h->all.at[i].frame) < index)
				return true;
	}
	return false;
}

rel_id replica_held_next(const struct replica *rp, size_t *at)
{
	const struct map_slot *s = map_next(&rp->held, at);

	return s ? s->k1 : 0;
}

struct frame *held_row(struct replica *rp, rel_id storage, row_id row, uint32_t *at)
{
	struct held_copies *h = map_find2(&rp->held, storage, ATOM_DATA);
	uint32_t i = !h || *at != HELD_START ? *at : held_place(h, row, NULL, 0);

	while (h && i) {
		struct frame *f = h->all.at[--i].frame;

		*at = replica_mixed(rp) ? i : 0;
		if (row >= columns_lo(f) && row < columns_hi(f))
			return f;
		i = *at;
	}
	return NULL;
}

struct frame *held_key(struct replica *rp, rel_id storage, const void *key, uint32_t key_len, uint32_t *at)
{
	struct held_copies *h = map_find2(&rp->held, storage, ATOM_INDEX);
	uint32_t i = !h || *at != HELD_START ? *at : held_place(h, 0, key, key_len);

	while (h && i) {
		struct frame *f = h->all.at[--i].frame;

		*at = replica_mixed(rp) ? i : 0;
		if (leaf_covers(f, key, key_len))
			return f;
		i = *at;
	}
	return NULL;
}

void held_add(struct replica *rp, struct frame *f)
{
	struct held_copies *h;
	struct held_copy c = {.frame = f};
	uint32_t i;

	if (f->kind != ATOM_DATA && f->kind != ATOM_INDEX)
		return;
	h = map_find2(&rp->held, frame_owner(f), f->kind);
	if (!h) {
		h = MEM_NEW(rp->mem, struct held_copies);
		map_put2(&rp->held, frame_owner(f), f->kind, h);
	}
	if (f->kind == ATOM_DATA) {
		c.lo = columns_lo(f);
		i = held_place(h, c.lo, NULL, 0);
	} else {
		struct slice lo = leaf_lo(f);
		uint8_t *p = mem_alloc(rp->mem, lo.bytes + 1u); /* never NULL: NULL stands for rows */

		memcpy(p, lo.p, lo.bytes);
		c.lo_key = (struct slice){p, lo.bytes, 0};
		i = held_place(h, 0, p, lo.bytes);
	}
	VEC_PUSH(rp->mem, &h->all, c);
	memmove(&h->all.at[i + 1], &h->all.at[i], (h->all.count - 1 - i) * sizeof c);
	h->all.at[i] = c;
}

static void held_free(struct replica *rp, struct held_copies *h)
{
	for (size_t i = 0; i < h->all.count; i++)
		if (h->all.at[i].lo_key.p)
			mem_free(rp->mem, (void *)h->all.at[i].lo_key.p, h->all.at[i].lo_key.bytes + 1u);
	VEC_FINI(rp->mem, &h->all);
	MEM_FREE(rp->mem, h);
}

void held_remove(struct replica *rp, struct frame *f)
{
	struct held_copies *h;
	struct held_copy c;
	uint32_t i;

	if (f->kind != ATOM_DATA && f->kind != ATOM_INDEX)
		return;
	h = map_find2(&rp->held, frame_owner(f), f->kind);
	ASSERT(h);
	if (f->kind == ATOM_DATA)
		i = held_place(h, columns_lo(f), NULL, 0);
	else
		i = held_place(h, 0, leaf_lo(f).bytes ? leaf_lo(f).p : (const uint8_t *)"", leaf_lo(f).bytes);
	do
		ASSERT(i);
	while (h->all.at[--i].frame != f);
	c = h->all.at[i];
	if (c.lo_key.p)
		mem_free(rp->mem, (void *)c.lo_key.p, c.lo_key.bytes + 1u);
	memmove(&h->all.at[i], &h->all.at[i + 1], (--h->all.count - i) * sizeof c);
	if (h->all.count == 0) {
		map_remove2(&rp->held, frame_owner(f), f->kind);
		held_free(rp, h);
	}
}

void held_fini(struct replica *rp)
{
	struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&rp->held, &at)))
		held_free(rp, s->value);
	map_fini(&rp->held);
}

/* -- for readers ------------------------------------------------------------------------------------------- */

enum status replica_route_row(struct replica *rp, rel_id storage, row_id row, struct route *out, atom_id *need_out)
{
	struct route_table *t = table_get(rp, storage, ATOM_RECORD_CAT, need_out);
	uint32_t i;

	if (!t)
		return ST_WAIT;
	i = row_place(t, row);
	return i < t->count ? route_out(rp, t, i, out) : ST_END;
}

enum status replica_route_key(struct replica *rp, rel_id storage, const void *key, uint32_t key_len,
			      struct route *out, atom_id *need_out)
{
	struct route_table *t = table_get(rp, storage, ATOM_INDEX_CAT, need_out);
	uint32_t i;

	if (!t)
		return ST_WAIT;
	i = key_place(t, key, key_len);
	return i ? route_out(rp, t, i - 1, out) : ST_END;
}

enum status replica_route_key_before(struct replica *rp, rel_id storage, const void *key, uint32_t key_len,
				     struct route *out, atom_id *need_out)
{
	struct route_table *t = table_get(rp, storage, ATOM_INDEX_CAT, need_out);
	uint32_t i;

	if (!t)
		return ST_WAIT;
	i = key_place(t, key, key_len);
	while (i && key_compare(t->at[i - 1].lo_key, key, key_len) >= 0)
		i--;
	return i ? route_out(rp, t, i - 1, out) : ST_END;
}

enum status replica_route_last_key(struct replica *rp, rel_id storage, struct route *out, atom_id *need_out)
{
	struct route_table *t = table_get(rp, storage, ATOM_INDEX_CAT, need_out);

	if (!t)
		return ST_WAIT;
	return t->count ? route_out(rp, t, t->count - 1, out) : ST_END;
}

uint32_t replica_storage_atoms(struct replica *rp, rel_id storage, bool index, atom_id *need_out)
{
	struct route_table *t = table_get(rp, storage, index ? ATOM_INDEX_CAT : ATOM_RECORD_CAT, need_out);

	return t ? t->count : 0;
}

enum status replica_route_catalog(struct replica *rp, enum atom_kind catalog, const void *key, uint32_t key_len,
				  struct route *out)
{
	struct catalog_leaf *c = root_catalog_leaf(rp, catalog, key, key_len);

	if (!c)
		return ST_NOT_MEMBER; /* it joins anew: there is no root until it is answered */
	memset(out, 0, sizeof *out);
	out->atom = c->atom;
	out->frame = atom_find(rp->store, c->atom);
	out->epoch = c->hold.epoch;
	out->lo_key = c->lo;
	return ST_OK;
}

enum status replica_route_sequence(struct replica *rp, rel_id seq, struct route *out, atom_id *need_out)
{
	uint8_t key[8];
	struct slice v;
	struct frame *f;

	be64(key, seq);
	f = leaf_here(rp, root_catalog_leaf(rp, ATOM_SEQUENCE_CAT, key, 8), need_out);
	if (!f)
		return ST_WAIT;
	if (leaf_get(rp->store, f, LEAF_NEWEST, key, 8, &v) != ST_OK || v.bytes != 8)
		return ST_END;
	memset(out, 0, sizeof *out);
	memcpy(&out->atom, v.p, 8);
	out->frame = atom_find(rp->store, out->atom);
	return ST_OK;
}
