/*
 * test_leaf.c - keyed leaves against a plain model: a sorted list of keys, each with its versions.
 *
 * As in test_columns.c, two stores apply the same operations and differ in what is local.
 */
#include <CUnit/CUnit.h>
#include <stdlib.h>
#include <string.h>

#include "../unit.h"
#include "atoms/atoms.h"
#include "atoms/atoms_disk.h"
#include "base/env.h"

#define KEYS 1500
#define FRAMES_MAX 24
#define REFS 4

struct version { seq_index index; bool present; uint32_t bytes; uint8_t *value; struct version *older; };
struct key { uint32_t len; uint8_t *p; struct version *newest; };

struct world {
	struct mem mem;
	struct arena arena, scratch;
	struct rng rng;
	struct atom_store *st[2];
	atom_id ids[FRAMES_MAX];
	uint32_t id_count, entry_max, grow;
	seq_index now;
	struct key keys[KEYS]; /* sorted, no two equal */
	uint32_t key_count;
	struct { const struct atom_head *image; uint32_t crc; } refs[2][REFS];
};

static uint64_t dice(struct world *w, uint64_t n) { return rng_below(&w->rng, n); }

static int compare(const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len)
{
	int c = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return c ? c : (int)a_len - (int)b_len;
}

static int key_order(const void *a, const void *b)
{
	const struct key *x = a, *y = b;

	return compare(x->p, x->len, y->p, y->len);
}

enum shape { SHAPE_NUMBERS, SHAPE_WORDS, SHAPE_LONG, SHAPE_RANDOM };

static void key_random(struct world *w, enum shape shape, struct key *k)
{
	uint8_t *p = arena_alloc(&w->arena, LEAF_KEY_MAX);
	uint32_t n = 0;

	k->p = p;
	switch (shape) {
	case SHAPE_NUMBERS: /* as an index on an integer: much in common */
		for (uint64_t v = dice(w, 5000) * 1000003, i = 0; i < 8; i++)
			p[n++] = (uint8_t)(v >> (56 - 8 * i));
		break;
	case SHAPE_WORDS: /* few letters: prefixes of one another, zeros at the end */
		for (n = (uint32_t)dice(w, 12); n < 14 && dice(w, 4); n++)
			;
		for (uint32_t i = 0; i < n; i++)
			p[i] = (uint8_t)dice(w, 3);
		break;
	case SHAPE_LONG: /* up to the limit, behind long common beginnings */
		n = (uint32_t)dice(w, dice(w, 4) ? 60 : LEAF_KEY_MAX + 1);
		memset(p, dice(w, 6) ? 'x' : 'y', n);
		for (uint32_t i = 0; i < 4 && n; i++)
			p[dice(w, n)] = (uint8_t)dice(w, 256);
		break;
	case SHAPE_RANDOM:
		for (n = 0; n < 16; n++)
			p[n] = (uint8_t)dice(w, 256);
	}
	k->len = n;
}

static void world_init(struct world *w, uint64_t seed, enum shape shape)
{
	memset(w, 0, sizeof *w);
	mem_init(&w->mem, NULL, "test", 0);
	arena_init(&w->arena, &w->mem);
	arena_init(&w->scratch, &w->mem);
	rng_init(&w->rng, seed);
	w->now = 10;
	w->entry_max = dice(w, 2) ? 40 : LEAF_VALUE_MAX;
	for (uint32_t i = 0; i < KEYS; i++)
		key_random(w, shape, &w->keys[i]);
	qsort(w->keys, KEYS, sizeof *w->keys, key_order);
	for (uint32_t i = 0; i < KEYS; i++)
		if (!w->key_count || key_order(&w->keys[w->key_count - 1], &w->keys[i]))
			w->keys[w->key_count++] = w->keys[i];
	w->ids[w->id_count++] = 7;
	for (int i = 0; i < 2; i++) {
		w->st[i] = atom_store_new(&w->mem, 1 << 20);
		atom_create_leaf(w->st[i], ATOM_INDEX, 7, 42, NULL, 0, NULL, 0, w->now);
	}
}

static void world_fini(struct world *w)
{
	for (int i = 0; i < 2; i++) {
		for (int r = 0; r < REFS; r++)
			if (w->refs[i][r].image)
				atom_image_unref(w->st[i], w->refs[i][r].image);
		atom_store_free(w->st[i]);
	}
	arena_fini(&w->arena);
	arena_fini(&w->scratch);
	mem_fini(&w->mem);
}

static const struct version *model_at(const struct key *k, seq_index s)
{
	const struct version *v = k->newest;

	while (v && v->index > s)
		v = v->older;
	return v && v->present ? v : NULL;
}

static struct frame *frame_for(struct world *w, int store, const struct key *k)
{
	for (uint32_t i = 0; i < w->id_count; i++) {
		struct frame *f = atom_find(w->st[store], w->ids[i]);

		if (leaf_covers(f, k->p, k->len))
			return f;
	}
	abort();
}

/* -- operations ------------------------------------------------------------------------------------ */

static struct version *model_change(struct world *w, struct key *k)
{
	struct version *v = ARENA_NEW(&w->arena, struct version);

	v->older = k->newest;
	v->index = w->now;
	k->newest = v;
	return v;
}

static void op_put(struct world *w, struct key *k)
{
	uint32_t same = k->newest && k->newest->present && dice(w, 2) ? k->newest->bytes : UINT32_MAX;
	struct version *v = model_change(w, k);

	v->present = true;
	v->bytes = same < UINT32_MAX ? same : (uint32_t)dice(w, dice(w, 10) ? 30 : w->entry_max + 1);
	v->value = arena_alloc(&w->arena, v->bytes + 1);
	for (uint32_t i = 0; i < v->bytes; i++)
		v->value[i] = (uint8_t)rng_next(&w->rng);
	for (int i = 0; i < 2; i++)
		leaf_put(w->st[i], frame_for(w, i, k), w->now, k->p, k->len, v->value, v->bytes);
}

static void op_remove(struct world *w, struct key *k)
{
	if (k->newest && k->newest->present)
		model_change(w, k)->present = false;
	for (int i = 0; i < 2; i++) {
		struct frame *f = frame_for(w, i, k);

		leaf_remove(w->st[i], f, w->now, k->p, k->len);
		CU_ASSERT_EQUAL(frame_last_index(f), w->now);
	}
}

static void op_split(struct world *w)
{
	atom_id id = w->ids[dice(w, w->id_count)];
	uint8_t at[2][LEAF_KEY_MAX];
	uint32_t len[2] = {0};
	enum status s[2];

	if (w->id_count == FRAMES_MAX)
		return;
	for (int i = 0; i < 2; i++)
		s[i] = leaf_split_point(atom_find(w->st[i], id), at[i], &len[i]);
	CU_ASSERT_EQUAL(s[0], s[1]);
	if (s[0] != ST_OK)
		return;
	CU_ASSERT(len[0] == len[1] && !memcmp(at[0], at[1], len[0]));
	for (int i = 0; i < 2; i++) {
		struct frame *f = atom_find(w->st[i], id);
		uint32_t before = leaf_entry_count(f);
		struct frame *to = leaf_split(w->st[i], f, at[i], len[i], 100 + w->id_count, w->now);

		CU_ASSERT(leaf_entry_count(f) > 0 && leaf_entry_count(to) > 0);
		CU_ASSERT_EQUAL(leaf_entry_count(f) + leaf_entry_count(to), before);
		CU_ASSERT_EQUAL(leaf_hi(f).bytes, len[i]);
		CU_ASSERT_EQUAL(leaf_lo(to).bytes, len[i]);
	}
	w->ids[w->id_count] = 100 + w->id_count;
	w->id_count++;
}

static void step(struct world *w)
{
	struct key *k = &w->keys[dice(w, w->key_count)];

	w->now += dice(w, 3);
	if (!dice(w, 4000))
		w->grow = (uint32_t)dice(w, 3); /* the leaf fills, empties, or keeps its size */
	if (!dice(w, 600)) {
		op_split(w);
	} else if (!dice(w, 700)) {
		atom_id id = w->ids[dice(w, w->id_count)];

		for (int i = 0; i < 2; i++)
			atom_compact(w->st[i], atom_find(w->st[i], id), w->now);
	} else if (dice(w, 10) < (w->grow == 0 ? 8u : w->grow == 1 ? 2u : 5u)) {
		op_put(w, k);
	} else {
		op_remove(w, k);
	}
}

/* -- local events ---------------------------------------------------------------------------------- */

static void event_ref(struct world *w, int i)
{
	int r = (int)dice(w, REFS);
	struct frame *f = atom_find(w->st[i], w->ids[dice(w, w->id_count)]);
	size_t bytes;

	if (w->refs[i][r].image) {
		CU_ASSERT_EQUAL(w->refs[i][r].crc,
				crc32c(0, w->refs[i][r].image, w->refs[i][r].image->size_bytes));
		atom_image_unref(w->st[i], w->refs[i][r].image);
		w->refs[i][r].image = NULL;
		return;
	}
	w->refs[i][r].image = frame_image_ref(f, &bytes);
	w->refs[i][r].crc = crc32c(0, w->refs[i][r].image, bytes);
}

static void event_fetch(struct world *w, int i)
{
	atom_id id = w->ids[dice(w, w->id_count)];
	struct frame *from = atom_find(w->st[1 - i], id), *to = NULL;
	seq_index reach = frame_reach(w->st[1 - i], from);
	const struct atom_head *image;
	struct buf tail;
	size_t bytes;

	buf_init(&tail, &w->mem);
	image = frame_image_ref(from, &bytes);
	if (dice(w, 3)) {
		reach += dice(w, 2) ? 0 : dice(w, w->now - reach + 1);
		frame_tail_encode(w->st[1 - i], from, reach, &tail);
	} else {
		reach = w->now;
	}
	atom_drop(w->st[i], atom_find(w->st[i], id));
	CU_ASSERT_EQUAL(atom_install(w->st[i], image, bytes, tail.data, tail.size, w->now, &to), ST_OK);
	CU_ASSERT_EQUAL(to->reach, reach);
	atom_image_unref(w->st[1 - i], image);
	buf_fini(&tail);
}

static void local_event(struct world *w, int i)
{
	uint64_t d = dice(w, 30);

	if (d == 0)
		event_fetch(w, i);
	else if (d == 1)
		atom_store_set_horizon(w->st[i], w->now - dice(w, w->now < 400 ? w->now : 400));
	else if (d == 2 && !dice(w, 6))
		atom_store_undo_drop_oldest(w->st[i], dice(w, atom_store_undo_bytes(w->st[i]) + 1));
	else if (d < 9)
		event_ref(w, i);
}

/* -- checks ---------------------------------------------------------------------------------------- */

static bool slice_is(struct slice s, const uint8_t *p, uint32_t bytes)
{
	return s.bytes == bytes && !memcmp(s.p, p, bytes);
}

static void check_get(struct world *w, int i, struct frame *f, seq_index s, const struct key *k)
{
	const struct version *v = model_at(k, s);
	struct slice value;
	enum status is = leaf_get(w->st[i], f, s, k->p, k->len, &value);

	CU_ASSERT_EQUAL(is, v ? ST_OK : ST_END);
	if (v && is == ST_OK)
		CU_ASSERT(slice_is(value, v->value, v->bytes));
}

static void check_scan(struct world *w, int i, struct frame *f, seq_index s)
{
	bool backward = dice(w, 2), exclusive = dice(w, 2);
	const struct key *from = dice(w, 4) ? &w->keys[dice(w, w->key_count)] : NULL;
	uint32_t max = dice(w, 2) ? 1 + (uint32_t)dice(w, 5) : KEYS, count = 0, n = 0, bad = 0;
	struct leaf_entry *out;
	int64_t k;

	arena_reset(&w->scratch);
	out = ARENA_NEW_N(&w->scratch, struct leaf_entry, max);
	/* forward wants the first key >= (or > when exclusive); backward the last <= (or <) */
	k = from ? 0 : backward ? (int64_t)w->key_count - 1 : 0;
	if (from) {
		while (k < (int64_t)w->key_count) {
			int c = compare(w->keys[k].p, w->keys[k].len, from->p, from->len);

			if (c > 0 || (c == 0 && exclusive == backward))
				break;
			k++;
		}
		/* k: forward: exclusive ? first > : first >=; backward: exclusive ? first >= : first > */
		if (backward)
			k--;
	}
	CU_ASSERT_EQUAL(leaf_scan(w->st[i], f, s, from ? from->p : NULL, from ? from->len : 0, exclusive, backward,
				  max, &w->scratch, out, &count),
			ST_OK);
	for (; k >= 0 && k < (int64_t)w->key_count && n < max; k += backward ? -1 : 1) {
		const struct version *v = model_at(&w->keys[k], s);

		if (!v || !leaf_covers(f, w->keys[k].p, w->keys[k].len))
			continue;
		if (n < count)
			bad += !slice_is(out[n].key, w->keys[k].p, w->keys[k].len) ||
			       !slice_is(out[n].value, v->value, v->bytes);
		n++;
	}
	CU_ASSERT_EQUAL(n, count);
	CU_ASSERT_EQUAL(bad, 0);
}

static void check_prefix_version(struct world *w, int i, struct frame *f)
{
	const struct key *p = &w->keys[dice(w, w->key_count)];
	uint32_t len = dice(w, 2) ? p->len : (uint32_t)dice(w, p->len + 1);
	seq_index got = leaf_prefix_version(w->st[i], f, p->p, len), is = 0;

	for (uint32_t k = 0; k < w->key_count; k++) {
		const struct key *key = &w->keys[k];

		if (key->len >= len && !memcmp(key->p, p->p, len) && key->newest && key->newest->index > is &&
		    leaf_covers(f, key->p, key->len))
			is = key->newest->index;
	}
	if (is > frame_reach(w->st[i], f))
		CU_ASSERT_EQUAL(got, is);
	CU_ASSERT(got <= is);
}

static void check_frame(struct world *w, int i, struct frame *f)
{
	seq_index reach = frame_reach(w->st[i], f);
	struct slice value;

	for (int n = 0; n < 4; n++) {
		seq_index s = dice(w, 3) ? reach + dice(w, w->now - reach + 1) : n == 0 ? reach : n == 1 ? w->now : LEAF_NEWEST;

		check_scan(w, i, f, s);
		for (int g = 0; g < 15; g++) {
			const struct key *k = &w->keys[dice(w, w->key_count)];

			if (leaf_covers(f, k->p, k->len))
				check_get(w, i, f, s, k);
		}
		check_prefix_version(w, i, f);
	}
	if (f->reach)
		CU_ASSERT_EQUAL(leaf_get(w->st[i], f, f->reach - 1, "", 0, &value), ST_SNAPSHOT_TOO_OLD);
}

static void check_all(struct world *w)
{
	for (uint32_t k = 0; k < w->id_count; k++) {
		struct frame *a = atom_find(w->st[0], w->ids[k]), *b = atom_find(w->st[1], w->ids[k]);

		CU_ASSERT_EQUAL(a->image->size_bytes, b->image->size_bytes);
		CU_ASSERT(!memcmp(a->image, b->image, a->image->size_bytes));
		CU_ASSERT_EQUAL(frame_body_crc(a), frame_body_crc(b));
		CU_ASSERT_EQUAL(atom_image_check(a->image, a->image->size_bytes), ST_OK);
	}
	for (int i = 0; i < 2; i++)
		check_frame(w, i, atom_find(w->st[i], w->ids[dice(w, w->id_count)]));
}

static void run(uint64_t seed, int steps, enum shape shape)
{
	struct world w;

	world_init(&w, seed, shape);
	for (int n = 0; n < steps; n++) {
		step(&w);
		for (int i = 0; i < 2; i++)
			local_event(&w, i);
		if (n % 30 == 0)
			check_all(&w);
	}
	check_all(&w);
	CU_ASSERT(w.id_count > 1);
	world_fini(&w);
}

/* After any operations every snapshot reads what the model has, and both stores have the same bytes. */
static void test_leaf_random_numbers(void)
{
	run(1, 12000, SHAPE_NUMBERS);
	run(2, 12000, SHAPE_NUMBERS);
}

static void test_leaf_random_words(void)
{
	run(3, 12000, SHAPE_WORDS);
	run(4, 12000, SHAPE_WORDS);
}

static void test_leaf_random_long(void)
{
	run(5, 12000, SHAPE_LONG);
	run(6, 12000, SHAPE_LONG);
}

static void test_leaf_random_keys(void)
{
	run(7, 12000, SHAPE_RANDOM);
	run(8, 12000, SHAPE_RANDOM);
}

/* -- single properties ----------------------------------------------------------------------------- */

static void number(uint8_t *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, 8);
}

/* Keys that rise fill blocks, and share their beginnings: little more than the entries themselves is used. */
static void test_leaf_rising_keys(void)
{
	struct atom_store *st;
	struct slice value;
	struct mem mem;
	struct frame *f;
	uint8_t key[8];

	mem_init(&mem, NULL, "test", 0);
	st = atom_store_new(&mem, 1 << 20);
	f = atom_create_leaf(st, ATOM_INDEX, 1, 1, "", 0, "", 0, 1);
	for (uint64_t i = 0; i < 8000; i++) {
		number(key, i);
		leaf_put(st, f, i + 2, key, 8, &i, 8);
	}
	for (uint64_t i = 0; i < 8000; i++) {
		number(key, i);
		CU_ASSERT_EQUAL(leaf_get(st, f, LEAF_NEWEST, key, 8, &value), ST_OK);
		CU_ASSERT(!memcmp(value.p, &i, 8));
	}
	CU_ASSERT_EQUAL(leaf_entry_count(f), 8000);
	CU_ASSERT(frame_bytes(f) < 8000 * 26);
	CU_ASSERT(f->image->size_bytes < 8000 * 26 * 5 / 4);
	for (uint64_t i = 0; i < 8000; i++) { /* and again in the other direction, until nothing is left */
		number(key, 7999 - i);
		leaf_remove(st, f, i + 9000, key, 8);
	}
	CU_ASSERT_EQUAL(leaf_entry_count(f), 0);
	CU_ASSERT_EQUAL(((const struct leaf_head *)f->image)->block_count, 0);
	atom_compact(st, f, 20000);
	CU_ASSERT_EQUAL(f->image->size_bytes, 16 << 10);
	CU_ASSERT_EQUAL(atom_image_check(f->image, f->image->size_bytes), ST_OK);
	atom_store_free(st);
	mem_fini(&mem);
}

/* Reads and versions of a key with thousands of changes, and of others beside it. */
static void test_leaf_hot_key(void)
{
	struct atom_store *st;
	struct slice value;
	struct mem mem;
	struct frame *f;

	mem_init(&mem, NULL, "test", 0);
	st = atom_store_new(&mem, 1 << 20);
	f = atom_create_leaf(st, ATOM_SEQUENCE, 1, 1, "", 0, "", 0, 1);
	leaf_put(st, f, 2, "cold", 4, "c", 1);
	for (seq_index i = 3; i < 20000; i++) {
		leaf_put(st, f, i, "hot", 3, &i, 8);
		CU_ASSERT_EQUAL(leaf_get(st, f, i - 1, "hot", 3, &value), i == 3 ? ST_END : ST_OK);
		CU_ASSERT(i == 3 || !memcmp(value.p, &(seq_index){i - 1}, 8));
		CU_ASSERT_EQUAL(leaf_prefix_version(st, f, "hot", 3), i);
		CU_ASSERT_EQUAL(leaf_prefix_version(st, f, "cold", 4), 2);
		CU_ASSERT_EQUAL(leaf_prefix_version(st, f, "co", 2), 2);
		CU_ASSERT_EQUAL(leaf_prefix_version(st, f, "none", 4), 0);
	}
	CU_ASSERT_EQUAL(leaf_get(st, f, 5, "cold", 4, &value), ST_OK);
	leaf_remove(st, f, 20000, "hot", 3);
	CU_ASSERT_EQUAL(leaf_prefix_version(st, f, "ho", 2), 20000);
	leaf_remove(st, f, 20001, "hot", 3);
	CU_ASSERT_EQUAL(leaf_prefix_version(st, f, "ho", 2), 20000);
	CU_ASSERT_EQUAL(frame_last_index(f), 20001);
	atom_store_free(st);
	mem_fini(&mem);
}

/* The largest keys and values fit, beside each other and in any order. */
static void test_leaf_largest(void)
{
	uint8_t key[LEAF_KEY_MAX], value[LEAF_VALUE_MAX];
	struct atom_store *st;
	struct slice got;
	struct mem mem;
	struct frame *f;

	mem_init(&mem, NULL, "test", 0);
	st = atom_store_new(&mem, 1 << 20);
	memset(key, 'k', sizeof key);
	f = atom_create_leaf(st, ATOM_INDEX, 1, 1, key, sizeof key - 2, "l", 1, 1);
	for (uint32_t i = 0; i < 200; i++) {
		uint8_t b = (uint8_t)(i * 77 + 'k');

		key[sizeof key - 1] = b;
		key[sizeof key - 2] = 'k';
		memset(value, b, sizeof value);
		leaf_put(st, f, i + 2, key, sizeof key, value, sizeof value);
	}
	CU_ASSERT_EQUAL(leaf_entry_count(f), 200);
	for (uint32_t i = 0; i < 200; i++) {
		key[sizeof key - 1] = (uint8_t)(i * 77 + 'k');
		CU_ASSERT_EQUAL(leaf_get(st, f, LEAF_NEWEST, key, sizeof key, &got), ST_OK);
		CU_ASSERT(got.bytes == sizeof value && got.p[5] == key[sizeof key - 1]);
	}
	CU_ASSERT_EQUAL(atom_image_check(f->image, f->image->size_bytes), ST_OK);
	atom_store_free(st);
	mem_fini(&mem);
}

/* One entry cannot be parted; of two, each side gets one, and fences are short. */
static void test_leaf_split_point(void)
{
	uint8_t at[LEAF_KEY_MAX];
	struct atom_store *st;
	struct frame *f, *to;
	struct mem mem;
	uint32_t len;

	mem_init(&mem, NULL, "test", 0);
	st = atom_store_new(&mem, 1 << 20);
	f = atom_create_leaf(st, ATOM_INDEX, 1, 33, "a", 1, "z", 1, 1);
	CU_ASSERT_EQUAL(leaf_split_point(f, at, &len), ST_END);
	leaf_put(st, f, 2, "hello", 5, "", 0);
	CU_ASSERT_EQUAL(leaf_split_point(f, at, &len), ST_END);
	leaf_put(st, f, 3, "help me", 7, NULL, 0);
	CU_ASSERT_EQUAL(leaf_split_point(f, at, &len), ST_OK);
	CU_ASSERT(len == 4 && !memcmp(at, "help", 4));
	to = leaf_split(st, f, at, len, 2, 4);
	CU_ASSERT(leaf_covers(f, "hello", 5) && !leaf_covers(f, "help", 4));
	CU_ASSERT(leaf_covers(to, "help", 4) && !leaf_covers(to, "z", 1));
	CU_ASSERT(to->reach == f->reach && frame_last_index(to) == 4 && frame_owner(to) == 33);
	CU_ASSERT_EQUAL(leaf_prefix_version(st, to, "help", 4), 3);
	atom_store_free(st);
	mem_fini(&mem);
}

void suite_atoms_leaf(void)
{
	CU_pSuite s = CU_add_suite("atoms_leaf", NULL, NULL);

	CU_add_test(s, "test_leaf_rising_keys", test_leaf_rising_keys);
	CU_add_test(s, "test_leaf_hot_key", test_leaf_hot_key);
	CU_add_test(s, "test_leaf_largest", test_leaf_largest);
	CU_add_test(s, "test_leaf_split_point", test_leaf_split_point);
	CU_add_test(s, "test_leaf_random_numbers", test_leaf_random_numbers);
	CU_add_test(s, "test_leaf_random_words", test_leaf_random_words);
	CU_add_test(s, "test_leaf_random_long", test_leaf_random_long);
	CU_add_test(s, "test_leaf_random_keys", test_leaf_random_keys);
}
