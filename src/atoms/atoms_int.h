/*
 * atoms_int.h - what the files of atoms share (atoms; private).
 */
#ifndef VALENCE_ATOMS_ATOMS_INT_H
#define VALENCE_ATOMS_ATOMS_INT_H

#include <string.h>

#include "atoms/atoms.h"
#include "atoms/atoms_disk.h"
#include "atoms/slab.h"
#include "atoms/undo.h"
#include "base/assert.h"

/*
 * Whose entries an undo entry belongs to, by struct undo.frame. A split's new frame shares entries of
 * the old one, so a forced drop of an entry concerns the owner and all that inherited from it.
 */
struct chain_owner {
	seq_index dropped;        /* newest index that was dropped by force; 0 none */
	uint64_t born;            /* ring's head at birth: older entries are of an earlier user of the number */
	uint32_t refs;            /* its frame, and owners that inherited from it */
	uint32_t heir_of;         /* owner number; OWNER_NONE */
	seq_index heir_index;     /* entries up to here are shared with heir_of */
	uint32_t next_free;
};
#define OWNER_NONE UINT32_MAX

struct frame_int {
	struct vindex versions;  /* newest undo entry by row id or hash of the key */
	uint64_t gone_head;      /* leaves: newest UNDO_KEY_GONE */
	uint32_t owner;          /* in atom_store.owners */
	uint32_t row_bytes;      /* columns: of a slot in all vectors, without bitmaps */
	uint32_t fixed_bytes;    /* columns: end of what is placed before the heap */
	uint32_t used_base;      /* columns: used_bytes without rows and heap */
	uint32_t skip;           /* leaves: prefix that the two fences share */
};

struct atom_store {
	struct mem *mem;
	struct slab_pool slabs;
	struct undo_ring ring;
	size_t undo_limit_bytes;
	seq_index horizon;
	struct map frames;  /* atom_id -> struct frame */
	struct map orphans; /* address of a lent image that its frame no longer has -> struct orphan */
	struct list all;
	VEC(struct chain_owner) owners;
	uint32_t owner_free;
};

struct orphan { uint32_t refs; uint32_t bytes; };

/* -- frames (store.c) ---------------------------------------------------------------------------- */

struct atom_head *image_new(struct atom_store *st, size_t bytes); /* zeroed; magic, format, size set */
struct frame *frame_new(struct atom_store *st, struct atom_head *image, seq_index reach);
/* Makes the image changeable in place: a lent one is copied first (S9). */
void image_writable(struct atom_store *st, struct frame *f);
/* The frame takes @image; the old one is freed, or kept for its borrowers. */
void image_replace(struct atom_store *st, struct frame *f, struct atom_head *image);
/* Derives what frame_int keeps of the image. */
void frame_derive(struct frame *f);
/* Newest change of the atom: every apply ends with it. */
static inline void frame_changed(struct frame *f, seq_index index)
{
	f->image->last_index = index;
	if (!f->dirty_since)
		f->dirty_since = index;
}
/* ST_OK, or ST_SNAPSHOT_TOO_OLD; *newest_out: the body answers. */
MUST_CHECK enum status frame_readable(const struct atom_store *st, const struct frame *f, seq_index snapshot,
				      bool *newest_out);
/*
 * A new undo entry of @f with room for @bytes of old values; row: row id or hash of the key. NULL when no snapshot
 * can need it. Its memory is the ring's: fill it at once, no byte left out.
 */
struct undo *frame_undo(struct atom_store *st, struct frame *f, seq_index index, enum undo_kind kind,
			uint64_t row, uint32_t cols, uint32_t bytes);
/* The new frame @to of a split takes over @from's chain. */
void frame_inherit(struct atom_store *st, struct frame *to, const struct frame *from);
static inline const struct undo *chain_first(const struct atom_store *st, const struct frame *f)
{
	return undo_live(&st->ring, f->undo_head) && f->undo_head ? undo_at(&st->ring, f->undo_head) : NULL;
}
static inline const struct undo *chain_next(const struct atom_store *st, const struct undo *u)
{
	return undo_live(&st->ring, u->prev_atom) ? undo_at(&st->ring, u->prev_atom) : NULL;
}
/* The newest entry of a row or hash, and the one before. */
static inline const struct undo *row_first(const struct atom_store *st, const struct frame *f, uint64_t row)
{
	uint64_t pos = vindex_find(&f->in->versions, &st->ring, row);

	return pos ? undo_at(&st->ring, pos) : NULL;
}
static inline const struct undo *row_next(const struct atom_store *st, const struct undo *u)
{
	return undo_live(&st->ring, u->prev_row) ? undo_at(&st->ring, u->prev_row) : NULL;
}
static inline bool kind_is_leaf(uint32_t kind) { return kind != ATOM_DATA; }
static inline size_t step_up(size_t bytes)
{
	return (bytes + ATOM_STEP_BYTES - 1) / ATOM_STEP_BYTES * ATOM_STEP_BYTES;
}
static inline uint32_t align_up(uint32_t v, uint32_t to) { return (v + to - 1) / to * to; }

/* -- columns --------------------------------------------------------------------------------------- */

static inline struct data_head *data_of(const struct frame *f) { return (struct data_head *)f->image; }
static inline struct col_desc *data_cols(const struct data_head *d)
{
	return (struct col_desc *)((uintptr_t)d + sizeof *d);
}
static inline uint8_t *image_at(const void *image, uint32_t off) { return (uint8_t *)(uintptr_t)image + off; }
static inline uint64_t *data_live(const struct data_head *d) { return (uint64_t *)image_at(d, d->live_off); }
static inline uint64_t *col_nulls(const struct data_head *d, const struct col_desc *c)
{
	return (uint64_t *)image_at(d, c->null_off);
}
static inline uint64_t *col_present(const struct data_head *d, const struct col_desc *c)
{
	return (uint64_t *)image_at(d, c->null_off) + d->slot_cap / 64;
}
static inline uint32_t col_width(uint8_t phys) /* of one value in an image */
{
	static const uint8_t widths[PHYS_COUNT] = {0, 1, 2, 4, 8, 8, 16, 8};

	return widths[phys];
}
#define COL_NONE UINT32_MAX
/* Number of the column in data_cols; @guess is tried first. */
static inline uint32_t col_find(const struct data_head *d, uint16_t attno, uint32_t guess)
{
	const struct col_desc *cols = data_cols(d);
	uint32_t lo = 0, hi = d->col_count;

	if (guess < hi && cols[guess].attno == attno)
		return guess;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (cols[mid].attno < attno)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < d->col_count && cols[lo].attno == attno ? lo : COL_NONE;
}
static inline uint32_t undo_col_room(const struct undo_col *c) /* bytes of the value after it */
{
	return c->state != UNDO_VALUE ? 0 : (c->bytes + 7) & ~7u;
}

/* relayout.c: the only code that moves bytes of columns (S1) */
struct relayout {
	atom_id id;
	row_id lo, hi;                 /* of the new image; inside the old one's */
	const struct col_desc *cols;   /* attno and phys; those of the old image, and perhaps more */
	uint32_t col_count;
	uint32_t slot_need;            /* it must take slots below this */
	uint32_t heap_need;            /* bytes that will be added to the heap next */
};
/* A new image with @d's rows in [lo, hi), without dead bytes. */
struct atom_head *columns_relayout(struct atom_store *st, const struct data_head *d, const struct relayout *how);
void columns_compact(struct atom_store *st, struct frame *f, seq_index index);
/* Places the columns and bitmaps of an image; sets offsets in cols. Returns the end; over 4 GiB: UINT64_MAX. */
uint64_t columns_place(struct col_desc *cols, uint32_t col_count, uint32_t slot_cap, uint32_t *live_off_out);
static inline uint32_t slot_range_cap(row_id lo, row_id hi) { return align_up((uint32_t)(hi - lo), 64); }
/* Bits [from, from + n) of src to the start of dst; the rest of dst's last word is cleared. */
void bits_copy(uint64_t *dst, const uint64_t *src, uint32_t from, uint32_t n);

/* -- leaves ---------------------------------------------------------------------------------------- */

static inline struct leaf_head *leaf_of(const struct frame *f) { return (struct leaf_head *)f->image; }
static inline struct leaf_dir *leaf_dirs(const struct leaf_head *h)
{
	return (struct leaf_dir *)((uintptr_t)h + sizeof *h);
}
static inline uint32_t leaf_blocks_off(uint32_t block_cap)
{
	return align_up((uint32_t)(sizeof(struct leaf_head) + block_cap * sizeof(struct leaf_dir)), 64);
}
static inline struct leaf_block *leaf_block_at(const struct leaf_head *h, uint32_t number)
{
	return (struct leaf_block *)image_at(h, leaf_blocks_off(h->block_cap) + number * LEAF_BLOCK_BYTES);
}
static inline struct leaf_block *leaf_dir_block(const struct leaf_head *h, uint32_t di)
{
	return leaf_block_at(h, leaf_dirs(h)[di].block);
}
static inline struct leaf_slot *block_slots(const struct leaf_block *b)
{
	return (struct leaf_slot *)((uintptr_t)b + sizeof *b);
}
static inline const uint8_t *block_prefix(const struct leaf_block *b)
{
	return image_at(b, LEAF_BLOCK_BYTES - b->prefix_len);
}
static inline uint32_t entry_value_len(const struct leaf_block *b, const struct leaf_slot *s)
{
	uint16_t len;

	memcpy(&len, image_at(b, s->off), sizeof len);
	return len;
}
static inline uint8_t *entry_key(const struct leaf_block *b, const struct leaf_slot *s)
{
	return image_at(b, s->off + LEAF_ENTRY_HEAD);
}
static inline uint8_t *entry_value(const struct leaf_block *b, const struct leaf_slot *s)
{
	return image_at(b, s->off + LEAF_ENTRY_HEAD + s->key_len);
}
static inline uint32_t entry_bytes(const struct leaf_block *b, const struct leaf_slot *s)
{
	return LEAF_ENTRY_HEAD + s->key_len + entry_value_len(b, s);
}
/* What lives in a block: what it would take without dead and free bytes. */
static inline uint32_t block_live_bytes(const struct leaf_block *b)
{
	return LEAF_BLOCK_BYTES - b->heap_top - b->dead + (uint32_t)sizeof *b +
	       b->n * (uint32_t)sizeof(struct leaf_slot);
}
static inline int key_compare(const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len)
{
	int c = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return c ? c : a_len < b_len ? -1 : a_len > b_len;
}
static inline uint32_t common_prefix(const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len)
{
	uint32_t n = a_len < b_len ? a_len : b_len, i = 0;

	while (i < n && a[i] == b[i])
		i++;
	return i;
}
uint64_t key_number(const uint8_t *key, uint32_t len, uint32_t skip); /* leaf_dir.sep8 */
uint32_t key_hint(const uint8_t *key, uint32_t len);                  /* leaf_slot.hint, of the key after the prefix */
uint32_t leaf_fences_skip(const struct leaf_head *h);                 /* frame_int.skip */
/* A whole key into @buf of LEAF_KEY_MAX bytes; returns its length. */
uint32_t key_load(const struct leaf_block *b, uint32_t slot, uint8_t *buf);

struct leaf_pos { uint32_t di, slot; bool found; };
/* Where key is, or would go: the slot in front of which it is inserted. No block: di 0, slot 0. leaf_read.c */
struct leaf_pos leaf_find(const struct leaf_head *h, uint32_t skip, const uint8_t *key, uint32_t len);

/* leaf_build.c */
void block_start(struct leaf_block *b, const uint8_t *prefix, uint32_t prefix_len); /* b is zero */
void block_take(struct leaf_block *b, const struct leaf_block *from, uint32_t first, uint32_t end);
/* The bytes that @b's live entries take under the prefix length @prefix_len. */
static inline uint32_t block_bytes_under(const struct leaf_block *b, uint32_t prefix_len)
{
	return block_live_bytes(b) - b->prefix_len + prefix_len + b->n * b->prefix_len - b->n * prefix_len;
}
void leaf_recount(struct leaf_head *h); /* used_bytes, dead_bytes from the blocks */
uint32_t leaf_cap_of(size_t size_bytes, uint32_t fence_bytes); /* block_cap that fits */
struct atom_head *leaf_image_new(struct atom_store *st, const struct atom_head *like, uint32_t block_need,
				 struct slice lo, struct slice hi);
struct leaf_head *leaf_grow(struct atom_store *st, struct frame *f); /* room for one more block at least */

void leaf_compact(struct atom_store *st, struct frame *f, seq_index index);

struct leaf_key { const uint8_t *key; uint32_t len; uint32_t value_len; const uint8_t *value; };
static inline struct leaf_key undo_leaf_key(const struct undo *u)
{
	const struct undo_key *k = (const struct undo_key *)undo_values(u);
	const uint8_t *p = (const uint8_t *)(k + 1);

	return (struct leaf_key){p, k->key_len, k->value_len, p + k->key_len};
}
static inline uint64_t undo_leaf_prev_gone(const struct undo *u)
{
	return ((const struct undo_key *)undo_values(u))->prev_gone;
}
/* The newest entry of this key (hashes may collide), and the one before; NULL none. leaf_read.c */
const struct undo *key_first(const struct atom_store *st, const struct frame *f, const uint8_t *key, uint32_t len);
const struct undo *key_next(const struct atom_store *st, const struct undo *u, const uint8_t *key, uint32_t len);
#endif
