/*
 * exercise.h - uses everything of a frame whose image came from outside (tests; unit and fuzz).
 *
 * What atom_install accepts must bear any read and any legal operation, and stay a valid image.
 */
#ifndef VALENCE_TESTS_ATOMS_EXERCISE_H
#define VALENCE_TESTS_ATOMS_EXERCISE_H

#include <stdlib.h>
#include <string.h>

#include "atoms/atoms.h"
#include "atoms/atoms_disk.h"
#include "base/env.h"

#define EXERCISE_COLS 64

static volatile uint64_t exercise_sink; /* so that reads are made */

static inline void exercise_touch(const uint8_t *p, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		exercise_sink += p[i];
}

static inline uint32_t exercise_wants(const struct frame *f, struct col_want *want)
{
	const struct data_head *d = (const struct data_head *)f->image;
	const struct col_desc *cols = (const struct col_desc *)(d + 1);
	uint32_t n = 0;

	for (; n < d->col_count && n < EXERCISE_COLS; n++)
		want[n] = (struct col_want){cols[n].attno, cols[n].phys, NULL};
	return n;
}

static inline void exercise_columns_read(struct atom_store *st, struct frame *f, seq_index s, struct arena *a)
{
	struct col_want want[EXERCISE_COLS];
	struct cell cells[EXERCISE_COLS];
	struct vec vecs[EXERCISE_COLS];
	uint32_t count = exercise_wants(f, want), n = 0;
	uint64_t live[VEC_WORDS];
	bool there;

	for (uint32_t slot = 0;; slot += n) {
		arena_reset(a);
		if (columns_scan(st, f, s, slot, want, count, a, vecs, live, &n) != ST_OK || !n)
			break;
		for (uint32_t c = 0; c < count; c++)
			for (uint32_t i = 0; i < n && vecs[c].phys == PHYS_VAR && !vecs[c].constant; i++)
				if (!vec_null(&vecs[c], i))
					exercise_touch(vecs[c].var[i].p, vecs[c].var[i].bytes);
	}
	for (uint32_t slot = 0; slot < columns_slot_count(f) + 2; slot += 3) {
		there = false;
		if (columns_get(st, f, s, columns_lo(f) + slot, want, count, cells, &there) != ST_OK || !there)
			continue;
		for (uint32_t c = 0; c < count; c++)
			if (cells[c].phys == PHYS_VAR && !cells[c].null)
				exercise_touch(cells[c].var, cells[c].bytes);
	}
}

static inline void exercise_columns_change(struct atom_store *st, struct frame *f, seq_index at, struct rng *rng)
{
	uint64_t range = columns_hi(f) - columns_lo(f);
	struct col_want want[EXERCISE_COLS];
	struct cell cells[EXERCISE_COLS], none;
	uint32_t count = exercise_wants(f, want);
	uint8_t bytes[40] = {9};

	for (int n = 0; n < 30; n++) {
		row_id row = columns_lo(f) + rng_below(rng, n % 2 ? range : columns_slot_count(f) + 1u);
		bool live = false;

		if (row >= columns_hi(f) || columns_get(st, f, UINT64_MAX, row, NULL, 0, &none, &live) != ST_OK)
			continue;
		for (uint32_t c = 0; c < count; c++) {
			cells[c] = (struct cell){.attno = want[c].attno, .phys = want[c].phys, .null = !rng_below(rng, 4)};
			if (want[c].phys == PHYS_VAR && !cells[c].null) {
				cells[c].bytes = (uint32_t)rng_below(rng, sizeof bytes);
				cells[c].var = bytes;
			}
		}
		if (!live)
			columns_insert(st, f, at, row, cells, count);
		else if (rng_below(rng, 3))
			columns_update(st, f, at, row, cells, count);
		else
			columns_delete(st, f, at, row);
	}
}

static inline void exercise_leaf_read(struct atom_store *st, struct frame *f, seq_index s, struct arena *a)
{
	struct leaf_entry out[64];
	struct slice value;
	uint32_t n = 0;

	for (int backward = 0; backward < 2; backward++) {
		uint8_t from[LEAF_KEY_MAX];
		uint32_t len = 0;
		bool first = true;

		do {
			arena_reset(a);
			if (leaf_scan(st, f, s, first ? NULL : from, len, !first, backward, 64, a, out, &n) != ST_OK)
				return;
			first = false;
			for (uint32_t i = 0; i < n; i++) {
				exercise_touch(out[i].value.p, out[i].value.bytes);
				(void)!leaf_get(st, f, s, out[i].key.p, out[i].key.bytes, &value);
				if (i % 16 == 0)
					exercise_sink += leaf_prefix_version(st, f, out[i].key.p, out[i].key.bytes / 2);
			}
			if (n) {
				len = out[n - 1].key.bytes;
				memcpy(from, out[n - 1].key.p, len);
			}
		} while (n == 64);
	}
}

static inline void exercise_leaf_change(struct atom_store *st, struct frame *f, seq_index at, struct rng *rng,
					struct arena *a)
{
	static const uint8_t zeros[LEAF_VALUE_MAX];
	struct leaf_entry out[256];
	uint32_t n = 0;

	arena_reset(a);
	if (leaf_scan(st, f, UINT64_MAX, NULL, 0, false, false, 256, a, out, &n) != ST_OK)
		return;
	for (uint32_t i = 0; i < n; i++) /* the image moves under them */
		out[i].key.p = arena_dup(a, out[i].key.p, out[i].key.bytes);
	for (uint32_t i = 0; i < 60 && n; i++) {
		const struct leaf_entry *e = &out[rng_below(rng, n)];
		uint8_t key[LEAF_KEY_MAX];
		uint32_t len = e->key.bytes;

		memcpy(key, e->key.p, len);
		if (len && rng_below(rng, 2))
			key[rng_below(rng, len)] ^= (uint8_t)rng_next(rng);
		if (!leaf_covers(f, key, len))
			continue;
		if (rng_below(rng, 3))
			leaf_put(st, f, at, key, len, zeros, rng_below(rng, 2) ? 20 : (uint32_t)rng_below(rng, 2000));
		else
			leaf_remove(st, f, at, key, len);
	}
}

/* Aborts when the frame does not hold. */
static inline void exercise_frame(struct atom_store *st, struct frame *f, struct mem *mem, uint64_t seed)
{
	seq_index last = frame_last_index(f), next = last < UINT64_MAX - 10 ? last + 1 : last;
	bool leaf = f->kind != ATOM_DATA;
	uint8_t at[LEAF_KEY_MAX];
	struct arena a;
	struct rng rng;
	uint32_t len;
	row_id row;
	struct buf tail;

	rng_init(&rng, seed);
	arena_init(&a, mem);
	buf_init(&tail, mem);
	for (int round = 0; round < 2; round++) {
		const seq_index snapshots[] = {frame_reach(st, f), (frame_reach(st, f) + last) / 2, last, UINT64_MAX};

		for (uint32_t i = 0; i < 4; i++) {
			if (leaf)
				exercise_leaf_read(st, f, snapshots[i], &a);
			else
				exercise_columns_read(st, f, snapshots[i], &a);
		}
		buf_reset(&tail);
		frame_tail_encode(st, f, 0, &tail);
		if (round)
			break;
		if (leaf)
			exercise_leaf_change(st, f, next, &rng, &a);
		else
			exercise_columns_change(st, f, next, &rng);
		if (leaf && leaf_split_point(f, at, &len) == ST_OK)
			leaf_split(st, f, at, len, f->id ^ 1, next);
		else if (!leaf && columns_split_point(f, &row) == ST_OK)
			columns_split(st, f, row, f->id ^ 1, next);
		if (atom_image_check(f->image, f->image->size_bytes) != ST_OK)
			abort();
		atom_compact(st, f, next);
		if (atom_image_check(f->image, f->image->size_bytes) != ST_OK)
			abort();
	}
	buf_fini(&tail);
	arena_fini(&a);
}

#endif
