/*
 * tail.c - version tails, and frames from images that come from elsewhere (atoms, S8).
 *
 * A tail is made from a frame's chain; an installed one is put into the ring in the order of its indexes, so that a
 * copy reads old snapshots exactly as the frame that it came from.
 */
#include "atoms/atoms_int.h"

#include <stdlib.h>

#include "base/env.h"

/* -- encode ---------------------------------------------------------------------------------------- */

struct ranked { /* by row, or key, then newest first */
	const struct undo *u;
	struct leaf_key key;
	uint64_t order;
};

static int ranked_compare(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	int c = 0;

	if (x->key.key)
		c = key_compare(x->key.key, x->key.len, y->key.key, y->key.len);
	else if (x->u->row_id != y->u->row_id)
		c = x->u->row_id < y->u->row_id ? -1 : 1;
	return c ? c : x->order < y->order ? -1 : x->order > y->order;
}

/* Whether an entry of a chain concerns this frame: a split leaves entries of both sides in it. */
static bool undo_covers(const struct frame *f, const struct undo *u)
{
	struct leaf_key k;

	if (!kind_is_leaf(f->kind))
		return u->row_id >= columns_lo(f) && u->row_id < columns_hi(f);
	k = undo_leaf_key(u);
	return leaf_covers(f, k.key, k.len);
}

static void entry_encode(struct buf *out, const struct ranked *r)
{
	struct tail_entry e = {r->u->index, r->key.key ? 0 : r->u->row_id, r->u->kind, r->u->cols, r->u->bytes, 0};
	size_t room = (e.bytes + (size_t)7) & ~(size_t)7;
	uint8_t *p = buf_append(out, sizeof e + room);

	memset(p, 0, sizeof e + room);
	memcpy(p, &e, sizeof e);
	memcpy(p + sizeof e, undo_values(r->u), e.bytes);
	if (r->key.key) /* a place in this engine's ring */
		memset(p + sizeof e + offsetof(struct undo_key, prev_gone), 0, sizeof(uint64_t));
}

void frame_tail_encode(struct atom_store *st, struct frame *f, seq_index horizon, struct buf *out)
{
	struct tail_head head = {.magic = TAIL_MAGIC, .atom_id = f->id, .reach = frame_reach(st, f)};
	size_t start = out->size, most = 0;
	struct ranked *all;

	if (horizon > head.reach)
		head.reach = horizon;
	for (const struct undo *u = chain_first(st, f); u && u->index > head.reach; u = chain_next(st, u))
		most++;
	all = mem_alloc(st->mem, (most + 1) * sizeof *all);
	for (const struct undo *u = chain_first(st, f); u && u->index > head.reach; u = chain_next(st, u)) {
		if (!undo_covers(f, u))
			continue;
		all[head.count] = (struct ranked){.u = u, .order = head.count};
		if (kind_is_leaf(f->kind))
			all[head.count].key = undo_leaf_key(u);
		head.count++;
	}
	qsort(all, head.count, sizeof *all, ranked_compare);
	buf_put(out, &head, sizeof head);
	for (uint32_t i = 0; i < head.count; i++)
		entry_encode(out, &all[i]);
	mem_free(st->mem, all, (most + 1) * sizeof *all);
	head.bytes = out->size - start;
	memcpy(out->data + start, &head, sizeof head);
	head.crc = crc32c(0, out->data + start + 8, head.bytes - 8);
	memcpy(out->data + start, &head, sizeof head);
}

/* -- decode ---------------------------------------------------------------------------------------- */

struct arrival { /* an entry in a tail */
	const uint8_t *values;
	struct tail_entry e;
	uint32_t order;
};

/* Oldest first; of one index, as they were made: within a row that is the tail's order backwards. */
static int arrival_compare(const void *a, const void *b)
{
	const struct arrival *x = a, *y = b;

	if (x->e.index != y->e.index)
		return x->e.index < y->e.index ? -1 : 1;
	return x->order > y->order ? -1 : x->order < y->order;
}

static bool cols_check(const struct data_head *d, const struct arrival *a)
{
	struct reader r = reader_init(a->values, a->e.bytes);

	for (uint32_t i = 0; i < a->e.cols; i++) {
		const uint8_t *p = get_raw(&r, sizeof(struct undo_col)), *value;
		struct undo_col u;
		uint32_t c;

		if (!p)
			return false;
		memcpy(&u, p, sizeof u);
		c = col_find(d, u.attno, i);
		if (c == COL_NONE || data_cols(d)[c].phys != u.phys || u.state > UNDO_ABSENT ||
		    u.bytes > INT32_MAX || (u.state != UNDO_VALUE && u.bytes))
			return false;
		value = get_raw(&r, undo_col_room(&u));
		if (!value)
			return false;
		if (u.state != UNDO_VALUE || u.phys == PHYS_VAR)
			continue;
		if (u.bytes != col_width(u.phys) || (u.phys == PHYS_BOOL && *value > 1))
			return false;
	}
	return !reader_left(&r);
}

static bool row_check(const struct data_head *d, const struct arrival *a, const struct arrival *before)
{
	if (a->e.row_id < d->h.lo || a->e.row_id >= d->h.hi)
		return false;
	if (before && (a->e.row_id < before->e.row_id ||
		       (a->e.row_id == before->e.row_id && a->e.index > before->e.index)))
		return false;
	if (a->e.kind == UNDO_ROW_ABSENT)
		return !a->e.cols && !a->e.bytes;
	return (a->e.kind == UNDO_ROW_COLS || a->e.kind == UNDO_ROW_GONE) && cols_check(d, a);
}

static struct leaf_key arrival_key(const struct arrival *a)
{
	struct undo_key k;
	const uint8_t *p = a->values + sizeof k;

	memcpy(&k, a->values, sizeof k);
	return (struct leaf_key){p, k.key_len, k.value_len, p + k.key_len};
}

static bool key_check(const struct leaf_head *h, const struct arrival *a, const struct arrival *before)
{
	const uint8_t *lo = image_at(h, h->lo_fence_off), *hi = image_at(h, h->hi_fence_off);
	struct undo_key k;
	struct leaf_key key;

	if (a->e.kind < UNDO_KEY_ABSENT || a->e.kind > UNDO_KEY_GONE || a->e.cols || a->e.row_id ||
	    a->e.bytes < sizeof k)
		return false;
	memcpy(&k, a->values, sizeof k);
	if (k.prev_gone || k.pad || k.key_len > LEAF_KEY_MAX || k.value_len > LEAF_VALUE_MAX ||
	    a->e.bytes != sizeof k + k.key_len + k.value_len)
		return false;
	key = arrival_key(a);
	if (key_compare(key.key, key.len, lo, h->lo_len) < 0 ||
	    (h->hi_len && key_compare(key.key, key.len, hi, h->hi_len) >= 0))
		return false;
	if (before) {
		struct leaf_key b = arrival_key(before);
		int c = key_compare(b.key, b.len, key.key, key.len);

		if (c > 0 || (!c && a->e.index > before->e.index))
			return false;
	}
	return a->e.kind != UNDO_KEY_ABSENT || !k.value_len;
}

/* Fills all, of head->count; false: the tail is damaged or not this image's. */
static bool tail_check(const struct atom_head *image, const uint8_t *tail, size_t bytes,
		       const struct tail_head *head, seq_index as_of, struct arrival *all)
{
	struct reader r = reader_init(tail + sizeof *head, bytes - sizeof *head);

	if (head->crc != crc32c(0, tail + 8, bytes - 8) || head->atom_id != image->atom_id || head->pad ||
	    head->reach > as_of)
		return false;
	for (uint32_t i = 0; i < head->count; i++) {
		const uint8_t *p = get_raw(&r, sizeof all[i].e);
		struct arrival *a = &all[i];

		if (!p)
			return false;
		memcpy(&a->e, p, sizeof a->e);
		a->order = i;
		a->values = get_raw(&r, (a->e.bytes + (size_t)7) & ~(size_t)7);
		if (!a->values || a->e.reserved || a->e.index <= head->reach || a->e.index > image->last_index)
			return false;
		if (kind_is_leaf(image->kind) ? !key_check((const struct leaf_head *)image, a, i ? a - 1 : NULL)
					      : !row_check((const struct data_head *)image, a, i ? a - 1 : NULL))
			return false;
	}
	return !reader_left(&r);
}

static bool tail_head_read(const uint8_t *tail, size_t bytes, struct tail_head *head)
{
	if (bytes < sizeof *head)
		return false;
	memcpy(head, tail, sizeof *head);
	return head->magic == TAIL_MAGIC && head->bytes == bytes &&
	       head->count <= (bytes - sizeof *head) / sizeof(struct tail_entry);
}

static void arrivals_push(struct atom_store *st, struct frame *f, const struct arrival *all, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct tail_entry *e = &all[i].e;
		struct leaf_key k = {0};
		struct undo *u;

		if (kind_is_leaf(f->kind))
			k = arrival_key(&all[i]);
		u = frame_undo(st, f, e->index, (enum undo_kind)e->kind,
			       kind_is_leaf(f->kind) ? hash_bytes(k.key, k.len) : e->row_id, e->cols, e->bytes);
		if (!u)
			continue;
		memcpy(u + 1, all[i].values, e->bytes);
		if (e->kind != UNDO_KEY_GONE)
			continue;
		memcpy(u + 1, &f->in->gone_head, sizeof f->in->gone_head);
		f->in->gone_head = f->undo_head;
	}
}

enum status atom_install(struct atom_store *st, const void *image, size_t image_bytes, const void *tail,
			 size_t tail_bytes, seq_index as_of, struct frame **frame_out)
{
	struct tail_head head = {.reach = as_of};
	struct arrival *all;
	struct atom_head *copy;
	struct frame *f;
	enum status s = ST_OK;

	if (image_bytes < ATOM_STEP_BYTES || image_bytes % ATOM_STEP_BYTES || image_bytes > UINT32_MAX / 2)
		return ST_CORRUPT;
	if (tail_bytes && !tail_head_read(tail, tail_bytes, &head))
		return ST_CORRUPT;
	all = mem_alloc(st->mem, (head.count + (size_t)1) * sizeof *all);
	copy = slab_alloc(&st->slabs, image_bytes); /* checked where nobody else writes, aligned */
	memcpy(copy, image, image_bytes);
	if (atom_image_check(copy, image_bytes) != ST_OK || as_of < copy->last_index)
		s = ST_CORRUPT;
	else if (tail_bytes && !tail_check(copy, tail, tail_bytes, &head, as_of, all))
		s = ST_CORRUPT;
	else if (atom_find(st, copy->atom_id))
		s = ST_DUPLICATE;
	if (s != ST_OK) {
		slab_free(&st->slabs, copy, image_bytes);
		goto free_all;
	}
	f = frame_new(st, copy, head.reach);
	qsort(all, head.count, sizeof *all, arrival_compare);
	arrivals_push(st, f, all, head.count);
	*frame_out = f;
free_all:
	mem_free(st->mem, all, (head.count + (size_t)1) * sizeof *all);
	return s;
}
