/*
 * atoms_disk.h - layouts of atom images and version tails (atoms).
 *
 * An image is the same bytes in memory, on the wire and on disk (rule 5): flat, relocatable, little-endian,
 * every offset from the image's start, a multiple of ATOM_STEP_BYTES long. Padding and unused bytes are
 * zero (S1), so equal content means equal bytes.
 *
 * Version history
 *   format 1: first.
 */
#ifndef VALENCE_ATOMS_ATOMS_DISK_H
#define VALENCE_ATOMS_ATOMS_DISK_H

#include <stddef.h>
#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "images are little-endian memory"
#endif

#define ATOM_MAGIC 0x314d5441u /* "ATM1" */
#define ATOM_FORMAT 1
#define ATOM_STEP_BYTES (16u << 10) /* images grow in these steps (S3) */

struct atom_head { /* 64 bytes */
	uint32_t magic;
	uint16_t format, kind;  /* enum atom_kind */
	uint64_t atom_id, owner_id; /* owner: table or index */
	uint64_t last_index;    /* last record that changed THIS atom, not what is applied */
	uint32_t size_bytes, used_bytes, schema_version, flags;
	uint64_t lo, hi;        /* row ids [lo, hi); 0 in leaves: they keep fences instead */
};

/* -- columns ------------------------------------------------------------------------------------ */

/*
 * data_head; col_desc[col_count] by rising attno; live bitmap; per column its values, then a null and a
 * present bitmap; free bytes; the heap of variable values, which fills from the image's end. A row's
 * state per column: present 0: absent; present 1, null 1: null; present 1, null 0: a value. What has no
 * value is zero, as is every cell of a row that is not live. Everything in front of the heap is placed by
 * col_desc's list and slot_cap alone: vectors on 64 bytes, bitmaps on 8.
 *
 * used_bytes: head, descriptors and bitmaps, slot_count rows, living heap bytes.
 */
struct data_head { /* 96 bytes */
	struct atom_head h;
	uint32_t slot_count, slot_cap, live_count, heap_top, heap_dead, live_off;
	uint16_t col_count, pad;
	uint32_t reserved;
};

struct col_desc { /* 16 bytes */
	uint16_t attno;
	uint8_t phys, enc; /* enum phys; enc 0: plain */
	uint32_t data_off, null_off, param;
};

struct var_ref { uint32_t off, len; }; /* 8 bytes; an empty value is {0, 0} */
#define VAR_REF_BLOB 0x80000000u       /* of len: the heap holds a reference to a blob atom; none yet */

#define SLOT_CAP_MIN 64u

/* -- keyed leaf --------------------------------------------------------------------------------- */

/*
 * leaf_head; leaf_dir[block_cap], block_count of them used, in key order; blocks of 8 KiB from the next
 * multiple of 64 on, numbers 0 to block_count - 1 used; lo fence; hi fence. block_cap is what fits size_bytes.
 *
 * A block: leaf_block; leaf_slot[n] in key order; free bytes; entries, which fill downwards; the
 * prefix that all its keys share, at its end. An entry: uint16 bytes of the value, the key after the
 * prefix, the value. No block is empty.
 *
 * used_bytes: head, fences, used directory entries and what lives in blocks.
 */
struct leaf_head { /* 96 bytes */
	struct atom_head h;
	uint32_t entry_count;
	uint16_t block_count, block_cap;
	uint32_t lo_fence_off, hi_fence_off;
	uint16_t lo_len, hi_len; /* hi_len 0: no upper bound */
	uint32_t dead_bytes;     /* of all blocks */
	uint64_t reserved;
};

/* sep8: 8 bytes of the block's first key, big-endian, after the prefix that the two fences share */
struct leaf_dir { uint64_t sep8; uint16_t block, entries; uint32_t pad; }; /* 16 bytes */
struct leaf_block { uint16_t n, heap_top, dead, prefix_len; };             /* 8 bytes */
/* hint: 4 key bytes after the prefix, as a big-endian number; key_len: bytes of the key after the prefix */
struct leaf_slot { uint32_t hint; uint16_t off, key_len; };                /* 8 bytes */

#define LEAF_BLOCK_BYTES 8192u
#define LEAF_ENTRY_HEAD 2u /* the value's length */

/* -- undo and version tails --------------------------------------------------------------------- */

enum undo_kind { /* what was before; numbers are in tails */
	UNDO_ROW_ABSENT = 1, /* an insert */
	UNDO_ROW_COLS = 2,   /* an update: the old columns */
	UNDO_ROW_GONE = 3,   /* a delete: the whole old row; columns not named were absent */
	UNDO_KEY_ABSENT = 4, /* a new key */
	UNDO_KEY_OLD = 5,    /* replaced: key and old value */
	UNDO_KEY_GONE = 6,   /* removed: key and old value */
};

/* An entry of the undo ring: engine-local, never shipped. prev_*: ring positions; below the ring's tail is the end. */
struct undo { /* 48 bytes; then the old values */
	uint64_t index, prev_row, prev_atom;
	uint64_t row_id; /* leaves: hash of the key */
	uint32_t frame;  /* the chain's owner in the store, for reach */
	uint16_t kind, cols;
	uint32_t bytes, pad; /* of the old values */
};

enum undo_state { UNDO_VALUE = 0, UNDO_NULL = 1, UNDO_ABSENT = 2 };

/* Old values of rows: cols times this and the value, zero-padded to 8 (a fixed one takes 8, I128 16, null and absent 0). */
struct undo_col { uint16_t attno; uint8_t phys, state; uint32_t bytes; };
/* Old values of leaves: this, the key, the value. */
struct undo_key {
	uint64_t prev_gone; /* ring position of the leaf's entry UNDO_KEY_GONE before this one; 0 in tails */
	uint16_t key_len, value_len;
	uint32_t pad;
};

/* A version tail (S8): tail_head, count times tail_entry with its old values, in order of (row or key, newest first). */
#define TAIL_MAGIC 0x314c4154u /* "TAL1" */
struct tail_head { /* 40 bytes */
	uint32_t magic, crc;    /* crc32c of all that follows crc */
	uint64_t bytes;         /* of the whole tail */
	uint64_t atom_id, reach;
	uint32_t count, pad;
};
struct tail_entry { /* 32 bytes, then bytes rounded up to 8 */
	uint64_t index, row_id; /* row_id 0 in leaves */
	uint16_t kind, cols;
	uint32_t bytes;
	uint64_t reserved;
};

_Static_assert(sizeof(struct atom_head) == 64 && offsetof(struct atom_head, last_index) == 24 &&
		       offsetof(struct atom_head, size_bytes) == 32 && offsetof(struct atom_head, lo) == 48,
	       "atom_head");
_Static_assert(sizeof(struct data_head) == 96 && offsetof(struct data_head, slot_count) == 64 &&
		       offsetof(struct data_head, col_count) == 88,
	       "data_head");
_Static_assert(sizeof(struct col_desc) == 16 && offsetof(struct col_desc, data_off) == 4, "col_desc");
_Static_assert(sizeof(struct var_ref) == 8, "var_ref");
_Static_assert(sizeof(struct leaf_head) == 96 && offsetof(struct leaf_head, lo_fence_off) == 72 &&
		       offsetof(struct leaf_head, dead_bytes) == 84,
	       "leaf_head");
_Static_assert(sizeof(struct leaf_dir) == 16, "leaf_dir");
_Static_assert(sizeof(struct leaf_block) == 8, "leaf_block");
_Static_assert(sizeof(struct leaf_slot) == 8, "leaf_slot");
_Static_assert(sizeof(struct undo) == 48, "undo");
_Static_assert(sizeof(struct undo_col) == 8, "undo_col");
_Static_assert(sizeof(struct undo_key) == 16, "undo_key");
_Static_assert(sizeof(struct tail_head) == 40, "tail_head");
_Static_assert(sizeof(struct tail_entry) == 32, "tail_entry");

#endif
