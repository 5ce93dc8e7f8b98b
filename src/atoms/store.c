/*
 * store.c - stores and frames, lent images and copy on write (atoms).
 */
#include "atoms/atoms.h"

#include <string.h>

#include "atoms/atoms_int.h"
#include "base/env.h"

const char *atom_kind_name(enum atom_kind kind)
{
	static const char *const names[ATOM_KIND_COUNT] = {
		"none", "root", "schema-catalog", "sequence-catalog", "record-catalog", "data-catalog",
		"index-catalog", "sequence", "data", "index",
	};

	return (unsigned)kind < ATOM_KIND_COUNT ? names[kind] : "unknown";
}

/* -- store ---------------------------------------------------------------------------------------- */

struct atom_store *atom_store_new(struct mem *mem, size_t undo_limit_bytes)
{
	struct atom_store *st = MEM_NEW(mem, struct atom_store);

	st->mem = mem;
	st->undo_limit_bytes = undo_limit_bytes;
	slab_pool_init(&st->slabs, mem);
	undo_ring_init(&st->ring, mem);
	map_init(&st->frames, mem);
	map_init(&st->orphans, mem);
	list_init(&st->all);
	st->owner_free = OWNER_NONE;
	return st;
}

void atom_store_free(struct atom_store *st)
{
	struct map_slot *slot;
	size_t at = 0;

	if (!st)
		return;
	LIST_FOREACH_SAFE(it, next, &st->all)
		atom_drop(st, CONTAINER_OF(it, struct frame, all));
	while ((slot = map_next(&st->orphans, &at)))
		MEM_FREE(st->mem, (struct orphan *)slot->value);
	map_fini(&st->orphans);
	map_fini(&st->frames);
	undo_ring_fini(&st->ring);
	slab_pool_fini(&st->slabs);
	VEC_FINI(st->mem, &st->owners);
	MEM_FREE(st->mem, st);
}

struct frame *atom_find(const struct atom_store *st, atom_id id)
{
	return map_find(&st->frames, id);
}

struct list *atom_all(struct atom_store *st)
{
	return &st->all;
}

void atom_store_set_unmapped(struct atom_store *st, void (*unmapped)(void *ctx, const void *base, size_t bytes), void *ctx)
{
	st->slabs.unmapped = unmapped;
	st->slabs.ctx = ctx;
}

size_t atom_store_image_bytes(const struct atom_store *st)
{
	return st->slabs.used_bytes;
}

size_t atom_store_undo_bytes(const struct atom_store *st)
{
	return (size_t)(st->ring.head - st->ring.tail);
}

bool atom_store_undo_over(const struct atom_store *st)
{
	return atom_store_undo_bytes(st) > st->undo_limit_bytes;
}

void atom_store_set_horizon(struct atom_store *st, seq_index horizon)
{
	if (horizon <= st->horizon)
		return;
	st->horizon = horizon;
	undo_ring_trim(&st->ring, horizon);
}

/* -- owners of chains -------------------------------------------------------------------------- */

static uint32_t owner_new(struct atom_store *st)
{
	struct chain_owner fresh = {.born = st->ring.head, .refs = 1, .heir_of = OWNER_NONE};
	uint32_t number = st->owner_free;

	if (number == OWNER_NONE) {
		VEC_PUSH(st->mem, &st->owners, fresh);
		return (uint32_t)(st->owners.count - 1);
	}
	st->owner_free = st->owners.at[number].next_free;
	st->owners.at[number] = fresh;
	return number;
}

static void owner_unref(struct atom_store *st, uint32_t number)
{
	while (number != OWNER_NONE && !--st->owners.at[number].refs) {
		struct chain_owner *o = &st->owners.at[number];
		uint32_t of = o->heir_of;

		o->next_free = st->owner_free;
		st->owner_free = number;
		number = of;
	}
}

/* Newest index that was dropped by force from the chain of @number, its inheritance included. */
static seq_index owner_dropped(const struct atom_store *st, uint32_t number)
{
	seq_index newest = 0, cap = UINT64_MAX;

	while (number != OWNER_NONE) {
		const struct chain_owner *o = &st->owners.at[number];
		seq_index d = o->dropped < cap ? o->dropped : cap;

		if (d > newest)
			newest = d;
		if (o->heir_index < cap)
			cap = o->heir_index;
		number = o->heir_of;
	}
	return newest;
}

/* Rare (S7), so it may visit all frames. */
void atom_store_undo_drop_oldest(struct atom_store *st, size_t bytes)
{
	uint64_t from = st->ring.tail;
	const struct undo *u;

	while (st->ring.tail - from < bytes && (u = undo_ring_oldest(&st->ring))) {
		struct chain_owner *o = &st->owners.at[u->frame];

		if (o->refs && st->ring.tail >= o->born && u->index > o->dropped)
			o->dropped = u->index;
		undo_ring_pop(&st->ring);
	}
	LIST_FOREACH(it, &st->all) {
		struct frame *f = CONTAINER_OF(it, struct frame, all);
		seq_index dropped = owner_dropped(st, f->in->owner);

		if (dropped > f->reach)
			f->reach = dropped;
	}
}

void frame_inherit(struct atom_store *st, struct frame *to, const struct frame *from)
{
	struct chain_owner *o = &st->owners.at[to->in->owner];

	to->undo_head = from->undo_head;
	to->in->gone_head = from->in->gone_head;
	to->reach = from->reach;
	o->heir_of = from->in->owner;
	o->heir_index = from->image->last_index;
	st->owners.at[from->in->owner].refs++;
	/* from the newest on: the first entry of a row or key stays */
	for (const struct undo *u = chain_first(st, to); u; u = chain_next(st, u)) {
		const struct undo *newest = row_first(st, from, u->row_id);

		if (newest == u)
			vindex_set(&to->in->versions, st->mem, &st->ring, u->row_id,
				   vindex_find(&from->in->versions, &st->ring, u->row_id));
	}
}

/* -- frames ---------------------------------------------------------------------------------------- */

struct atom_head *image_new(struct atom_store *st, size_t bytes)
{
	struct atom_head *h;

	ASSERT_OP(bytes % ATOM_STEP_BYTES, ==, 0);
	ASSERT_OP(bytes, <=, UINT32_MAX);
	h = slab_alloc(&st->slabs, bytes);
	memset(h, 0, bytes);
	h->magic = ATOM_MAGIC;
	h->format = ATOM_FORMAT;
	h->size_bytes = (uint32_t)bytes;
	return h;
}

static void derive_columns(struct frame *f)
{
	const struct data_head *d = data_of(f);
	const struct col_desc *cols = data_cols(d), *last = cols + d->col_count - 1;
	uint32_t bitmap = d->slot_cap / 8;

	f->in->row_bytes = 0;
	for (uint32_t i = 0; i < d->col_count; i++)
		f->in->row_bytes += col_width(cols[i].phys);
	f->in->fixed_bytes = d->col_count ? last->null_off + 2 * bitmap : d->live_off + bitmap;
	f->in->used_base = (uint32_t)sizeof *d + d->col_count * (uint32_t)sizeof *cols +
			   (1 + 2 * (uint32_t)d->col_count) * bitmap;
}

void frame_derive(struct frame *f)
{
	if (kind_is_leaf(f->kind))
		f->in->skip = leaf_fences_skip(leaf_of(f));
	else
		derive_columns(f);
}

struct frame *frame_new(struct atom_store *st, struct atom_head *image, seq_index reach)
{
	struct frame *f = MEM_NEW(st->mem, struct frame);

	ASSERT(!atom_find(st, image->atom_id));
	f->in = MEM_NEW(st->mem, struct frame_int);
	f->in->owner = owner_new(st);
	f->id = image->atom_id;
	f->kind = (uint8_t)image->kind;
	f->state = FRAME_HELD;
	f->image = image;
	f->reach = reach;
	list_push_back(&st->all, &f->all);
	map_put(&st->frames, f->id, f);
	frame_derive(f);
	return f;
}

/* Lets go of the frame's image: freed, or kept for its borrowers. */
static void image_release(struct atom_store *st, struct frame *f)
{
	struct orphan *o;

	if (!f->image_refs) {
		slab_free(&st->slabs, f->image, f->image->size_bytes);
		return;
	}
	o = MEM_NEW(st->mem, struct orphan);
	o->refs = f->image_refs;
	o->bytes = f->image->size_bytes;
	map_put(&st->orphans, (uintptr_t)f->image, o);
	f->image_refs = 0;
}

void image_replace(struct atom_store *st, struct frame *f, struct atom_head *image)
{
	image_release(st, f);
	f->image = image;
	frame_derive(f);
}

void image_writable(struct atom_store *st, struct frame *f)
{
	struct atom_head *copy;

	if (!f->image_refs)
		return;
	copy = slab_alloc(&st->slabs, f->image->size_bytes);
	memcpy(copy, f->image, f->image->size_bytes);
	image_replace(st, f, copy);
}

void atom_drop(struct atom_store *st, struct frame *f)
{
	ASSERT(atom_find(st, f->id) == f);
	map_remove(&st->frames, f->id);
	list_remove(&f->all);
	image_release(st, f);
	owner_unref(st, f->in->owner);
	vindex_fini(&f->in->versions, st->mem);
	MEM_FREE(st->mem, f->in);
	MEM_FREE(st->mem, f);
}

const struct atom_head *frame_image_ref(struct frame *f, size_t *bytes_out)
{
	f->image_refs++;
	if (bytes_out)
		*bytes_out = f->image->size_bytes;
	return f->image;
}

void atom_image_unref(struct atom_store *st, const struct atom_head *image)
{
	struct orphan *o = map_find(&st->orphans, (uintptr_t)image);
	struct frame *f;

	if (!o) {
		f = atom_find(st, image->atom_id);
		ASSERT(f && f->image == image);
		ASSERT_OP(f->image_refs, >, 0);
		f->image_refs--;
		return;
	}
	if (--o->refs)
		return;
	map_remove(&st->orphans, (uintptr_t)image);
	slab_free(&st->slabs, (void *)(uintptr_t)image, o->bytes);
	MEM_FREE(st->mem, o);
}

seq_index frame_last_index(const struct frame *f)
{
	return f->image->last_index;
}

seq_index frame_reach(const struct atom_store *st, const struct frame *f)
{
	return f->reach > st->horizon ? f->reach : st->horizon;
}

uint32_t frame_bytes(const struct frame *f)
{
	return f->image->used_bytes;
}

uint64_t frame_owner(const struct frame *f)
{
	return f->image->owner_id;
}

uint32_t frame_body_crc(const struct frame *f)
{
	return crc32c(0, f->image, f->image->size_bytes);
}

/*
 * Below the horizon undo is gone, but an atom that has not changed since answers from its body all the
 * same; below the frame's own reach nothing is promised.
 */
enum status frame_readable(const struct atom_store *st, const struct frame *f, seq_index snapshot,
			   bool *newest_out)
{
	bool newest = f->image->last_index <= snapshot;

	if (snapshot < f->reach || (!newest && snapshot < st->horizon))
		return ST_SNAPSHOT_TOO_OLD;
	*newest_out = newest;
	return ST_OK;
}

struct undo *frame_undo(struct atom_store *st, struct frame *f, seq_index index, enum undo_kind kind,
			uint64_t row, uint32_t cols, uint32_t bytes)
{
	struct undo *u;
	uint64_t pos;

	if (index <= st->horizon)
		return NULL;
	u = undo_ring_push(&st->ring, index, bytes, &pos);
	u->prev_row = vindex_set(&f->in->versions, st->mem, &st->ring, row, pos);
	u->prev_atom = f->undo_head;
	u->row_id = row;
	u->frame = f->in->owner;
	u->kind = (uint16_t)kind;
	u->cols = (uint16_t)cols;
	f->undo_head = pos;
	return u;
}

void atom_compact(struct atom_store *st, struct frame *f, seq_index index)
{
	if (kind_is_leaf(f->kind))
		leaf_compact(st, f, index);
	else
		columns_compact(st, f, index);
}
