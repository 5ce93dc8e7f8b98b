/*
 * test_store.c - frames: lent images, horizon, reach, undo by force, and what a drop leaves.
 */
#include <CUnit/CUnit.h>
#include <string.h>

#include "../unit.h"
#include "atoms/atoms.h"
#include "atoms/atoms_disk.h"
#include "base/env.h"

static struct mem account;
static struct atom_store *st;

static void put(struct frame *f, seq_index index, const char *key, uint64_t value)
{
	leaf_put(st, f, index, key, (uint32_t)strlen(key), &value, 8);
}

/* The value as of a snapshot; 0: no such key; UINT64_MAX: too old. */
static uint64_t get(struct frame *f, seq_index snapshot, const char *key)
{
	struct slice s;
	uint64_t v;

	switch (leaf_get(st, f, snapshot, key, (uint32_t)strlen(key), &s)) {
	case ST_OK:
		memcpy(&v, s.p, 8);
		return v;
	case ST_END:
		return 0;
	default:
		return UINT64_MAX;
	}
}

static struct frame *leaf_new(atom_id id, seq_index index)
{
	return atom_create_leaf(st, ATOM_INDEX, id, 1, "", 0, "", 0, index);
}

static int setup(void)
{
	mem_init(&account, NULL, "test", 0);
	return 0;
}

static int teardown(void)
{
	return account.used_bytes != 0;
}

static void open_store(void)
{
	st = atom_store_new(&account, 1 << 20);
}

static void close_store(void)
{
	atom_store_free(st);
	CU_ASSERT_EQUAL(account.used_bytes, 0);
}

/* A lent image keeps its bytes through changes, and outlives its frame until the last unref. */
static void test_store_lent_image(void)
{
	const struct atom_head *a, *b, *c;
	struct frame *f;
	uint32_t crc;
	size_t bytes;

	open_store();
	f = leaf_new(1, 1);
	put(f, 2, "k", 1);
	a = frame_image_ref(f, &bytes);
	crc = crc32c(0, a, bytes);
	b = frame_image_ref(f, NULL);
	CU_ASSERT(a == b && f->image_refs == 2);
	put(f, 3, "k", 2);
	CU_ASSERT(f->image != a && f->image_refs == 0);
	CU_ASSERT_EQUAL(crc32c(0, a, bytes), crc);
	CU_ASSERT_EQUAL(atom_store_image_bytes(st), 2 * bytes);
	c = frame_image_ref(f, NULL);
	atom_image_unref(st, a);
	CU_ASSERT_EQUAL(atom_store_image_bytes(st), 2 * bytes);
	atom_image_unref(st, b);
	CU_ASSERT_EQUAL(atom_store_image_bytes(st), bytes);
	atom_drop(st, f);
	CU_ASSERT_PTR_NULL(atom_find(st, 1));
	CU_ASSERT_EQUAL(c->last_index, 3);
	f = leaf_new(1, 9); /* the same atom again, beside the old image */
	CU_ASSERT(f->image != c);
	atom_image_unref(st, c);
	CU_ASSERT_EQUAL(atom_store_image_bytes(st), bytes);
	put(f, 10, "k", 3);
	close_store();
}

/* Unborrowed again, the image is changed in place. */
static void test_store_unref_in_place(void)
{
	const struct atom_head *a;
	struct frame *f;

	open_store();
	f = leaf_new(1, 1);
	a = frame_image_ref(f, NULL);
	atom_image_unref(st, a);
	put(f, 2, "k", 1);
	CU_ASSERT_PTR_EQUAL(f->image, a);
	close_store();
}

/* The horizon frees undo; at or above it every snapshot is answered, below it only what has not changed. */
static void test_store_horizon(void)
{
	struct frame *f, *g;
	size_t before;

	open_store();
	f = leaf_new(1, 1);
	g = leaf_new(2, 1);
	put(g, 5, "k", 5);
	for (seq_index i = 2; i <= 100; i++)
		put(f, i, "k", i);
	before = atom_store_undo_bytes(st);
	atom_store_set_horizon(st, 60);
	CU_ASSERT(atom_store_undo_bytes(st) < before / 2);
	CU_ASSERT_EQUAL(frame_reach(st, f), 60);
	for (seq_index i = 60; i <= 100; i++)
		CU_ASSERT_EQUAL(get(f, i, "k"), i);
	CU_ASSERT_EQUAL(get(f, 59, "k"), UINT64_MAX);
	CU_ASSERT_EQUAL(get(g, 59, "k"), 5); /* its body is older */
	atom_store_set_horizon(st, 50);      /* never back */
	CU_ASSERT_EQUAL(frame_reach(st, f), 60);
	atom_store_set_horizon(st, 100);
	CU_ASSERT_EQUAL(atom_store_undo_bytes(st), 0);
	put(f, 101, "k", 101);
	CU_ASSERT_EQUAL(get(f, 100, "k"), 100);
	close_store();
}

/* A change at or below the horizon, replayed on a fetched copy, needs no undo. */
static void test_store_below_horizon(void)
{
	struct frame *f;

	open_store();
	atom_store_set_horizon(st, 50);
	f = leaf_new(1, 10);
	put(f, 20, "k", 1);
	CU_ASSERT_EQUAL(atom_store_undo_bytes(st), 0);
	put(f, 51, "k", 2);
	CU_ASSERT(atom_store_undo_bytes(st) > 0);
	CU_ASSERT_EQUAL(get(f, 50, "k"), 1);
	close_store();
}

/* Undo dropped by force moves the reach of those frames only whose entries went; also of a split's new frame. */
static void test_store_drop_oldest(void)
{
	struct frame *f, *g, *right;

	open_store();
	f = leaf_new(1, 1);
	g = leaf_new(2, 1);
	for (seq_index i = 2; i <= 50; i++) {
		put(f, i, "a", i);
		put(f, i, "z", i);
	}
	right = leaf_split(st, f, "m", 1, 3, 51);
	for (seq_index i = 52; i <= 80; i++)
		put(f, i, "a", i);
	put(g, 80, "k", 80);
	CU_ASSERT_EQUAL(get(right, 20, "z"), 20);
	CU_ASSERT_EQUAL(get(f, 20, "a"), 20);
	atom_store_undo_drop_oldest(st, atom_store_undo_bytes(st) / 2);
	CU_ASSERT(f->reach > 20 && f->reach < 50);
	CU_ASSERT_EQUAL(right->reach, f->reach);
	CU_ASSERT_EQUAL(g->reach, 0);
	CU_ASSERT_EQUAL(get(right, 20, "z"), UINT64_MAX);
	for (seq_index i = right->reach; i <= 50; i++)
		CU_ASSERT_EQUAL(get(right, i, "z"), i);
	for (seq_index i = f->reach; i <= 80; i++)
		CU_ASSERT_EQUAL(get(f, i, "a"), i == 51 ? 50 : i);
	atom_drop(st, f); /* the heir does not need it */
	atom_store_undo_drop_oldest(st, atom_store_undo_bytes(st) - 1);
	CU_ASSERT(right->reach >= 50 && right->reach <= 51);
	CU_ASSERT_EQUAL(get(right, 51, "z"), 50);
	CU_ASSERT_EQUAL(g->reach, 80);
	CU_ASSERT_EQUAL(atom_store_undo_bytes(st), 0);
	close_store();
}

/* Frames are listed in the order of creation; a number of an owner that is used again is not mixed up. */
static void test_store_frames(void)
{
	struct frame *f, *g;
	atom_id id = 1;

	open_store();
	for (atom_id i = 1; i <= 40; i++)
		leaf_new(i, i);
	LIST_FOREACH(it, atom_all(st))
		CU_ASSERT_EQUAL(CONTAINER_OF(it, struct frame, all)->id, id++);
	CU_ASSERT_EQUAL(id, 41);
	f = atom_find(st, 20);
	put(f, 100, "k", 1);
	atom_drop(st, f);
	g = leaf_new(50, 90);
	atom_store_undo_drop_oldest(st, SIZE_MAX);
	CU_ASSERT_EQUAL(g->reach, 89);
	CU_ASSERT_EQUAL(atom_store_undo_bytes(st), 0);
	CU_ASSERT_STRING_EQUAL(atom_kind_name(ATOM_DATA), "data");
	CU_ASSERT_STRING_EQUAL(atom_kind_name(ATOM_SCHEMA_CAT), "schema-catalog");
	close_store();
}

/* Images come and go in any order without being mixed up: each keeps its own bytes. */
static void test_store_slabs(void)
{
	struct rng rng;

	open_store();
	rng_init(&rng, 5);
	for (uint32_t n = 0; n < 3000; n++) {
		atom_id id = 1 + rng_below(&rng, 60);
		struct frame *f = atom_find(st, id);
		static uint8_t big[300 << 10];
		struct cell c = {.attno = 1, .phys = PHYS_VAR, .var = big};

		if (f) {
			const struct data_head *d = (const struct data_head *)f->image;

			CU_ASSERT_EQUAL(d->h.atom_id, id);
			CU_ASSERT_EQUAL(d->h.used_bytes, frame_bytes(f));
			if (n % 100 == 0)
				CU_ASSERT_EQUAL(atom_image_check(d, d->h.size_bytes), ST_OK);
			atom_drop(st, f);
			continue;
		}
		f = atom_create_columns(st, id, 1, 1, 100, 1);
		c.bytes = (uint32_t)rng_below(&rng, n % 50 ? 40000 : sizeof big);
		memset(big, (int)id, c.bytes);
		columns_insert(st, f, 2, 1, &c, 1);
	}
	close_store();
}

void suite_atoms_store(void)
{
	CU_pSuite s = CU_add_suite("atoms_store", setup, teardown);

	CU_add_test(s, "test_store_lent_image", test_store_lent_image);
	CU_add_test(s, "test_store_unref_in_place", test_store_unref_in_place);
	CU_add_test(s, "test_store_horizon", test_store_horizon);
	CU_add_test(s, "test_store_below_horizon", test_store_below_horizon);
	CU_add_test(s, "test_store_drop_oldest", test_store_drop_oldest);
	CU_add_test(s, "test_store_frames", test_store_frames);
	CU_add_test(s, "test_store_slabs", test_store_slabs);
}
