/*
 * test_install.c - images and tails from outside: what is damaged is refused, what is accepted holds.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "../unit.h"
#include "exercise.h"

struct sample { struct buf image, tail; seq_index as_of; };

static struct mem account;

static void sample_take(struct atom_store *st, struct frame *f, seq_index as_of, struct sample *out)
{
	size_t bytes;
	const struct atom_head *image = frame_image_ref(f, &bytes);

	buf_init(&out->image, &account);
	buf_init(&out->tail, &account);
	buf_put(&out->image, image, bytes);
	frame_tail_encode(st, f, 0, &out->tail);
	atom_image_unref(st, image);
	out->as_of = as_of;
}

static void sample_fini(struct sample *s)
{
	buf_fini(&s->image);
	buf_fini(&s->tail);
}

static void sample_columns(struct sample *out)
{
	struct atom_store *st = atom_store_new(&account, 1 << 20);
	struct frame *f = atom_create_columns(st, 77, 3, 1, 301, 5);
	uint8_t text[40];

	for (uint32_t i = 0; i < 150; i++) {
		struct cell cells[7] = {
			{.attno = 1, .phys = PHYS_I64, .i = i}, {.attno = 2, .phys = PHYS_BOOL, .i = i % 2},
			{.attno = 3, .phys = PHYS_VAR, .bytes = i % 37, .var = text}, {.attno = 4, .phys = PHYS_I128, .x = i},
			{.attno = 5, .phys = PHYS_F64, .f = i}, {.attno = 6, .phys = PHYS_I16, .i = 3, .null = i % 3 == 0},
			{.attno = 7, .phys = PHYS_I32, .i = -5},
		};

		memset(text, (int)i, sizeof text);
		columns_insert(st, f, 6 + i, 1 + i, cells, i < 50 ? 5 : 7);
		if (i % 5 == 4)
			columns_delete(st, f, 6 + i, i - 1);
		else if (i % 2)
			columns_update(st, f, 6 + i, i, cells + 2, 2);
	}
	sample_take(st, f, 200, out);
	atom_store_free(st);
}

static void sample_leaf(struct sample *out)
{
	struct atom_store *st = atom_store_new(&account, 1 << 20);
	struct frame *f = atom_create_leaf(st, ATOM_INDEX, 78, 3, "key a", 5, "key z", 5, 5);
	uint8_t value[400];
	char key[40];

	for (uint32_t i = 0; i < 300; i++) {
		int n = snprintf(key, sizeof key, "key %c%04u", 'a' + (int)(i * 7 % 24), i * 31 % 997);

		memset(value, (int)i, sizeof value);
		leaf_put(st, f, 6 + i, key, (uint32_t)n, value, i * 3 % 120);
		if (i % 4 == 3)
			leaf_remove(st, f, 6 + i, key, (uint32_t)n - (i % 8 == 3));
		if (i % 10 == 0)
			leaf_put(st, f, 6 + i, key, (uint32_t)n, value, 350);
	}
	sample_take(st, f, 400, out);
	atom_store_free(st);
}

static enum status install(struct atom_store *st, const struct sample *s, struct frame **f)
{
	return atom_install(st, s->image.data, s->image.size, s->tail.data, s->tail.size, s->as_of, f);
}

static void tail_sign(uint8_t *tail, size_t bytes)
{
	uint32_t crc = bytes >= 8 ? crc32c(0, tail + 8, bytes - 8) : 0;

	if (bytes >= 8)
		memcpy(tail + 4, &crc, 4);
}

/* Flips @count bytes, mostly where structure is. */
static void damage(struct rng *rng, uint8_t *p, size_t bytes, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		static const size_t spans[] = {96, 300, 2000, SIZE_MAX};
		size_t span = spans[rng_below(rng, 4)], at;

		at = rng_below(rng, span < bytes ? span : bytes);
		if (rng_below(rng, 2))
			p[at] ^= (uint8_t)(1u << rng_below(rng, 8));
		else
			p[at] = (uint8_t)rng_next(rng);
	}
}

static void damage_run(void (*make)(struct sample *), uint64_t seed, int rounds)
{
	uint32_t accepted = 0, refused = 0;
	struct sample good, bad;
	struct rng rng;

	make(&good);
	rng_init(&rng, seed);
	for (int n = 0; n < rounds; n++) {
		struct atom_store *st = atom_store_new(&account, 1 << 20);
		bool in_tail = rng_below(&rng, 3) == 0;
		struct frame *f = NULL;

		buf_init(&bad.image, &account);
		buf_init(&bad.tail, &account);
		buf_put(&bad.image, good.image.data, good.image.size);
		buf_put(&bad.tail, good.tail.data, good.tail.size);
		bad.as_of = good.as_of;
		if (in_tail) {
			damage(&rng, bad.tail.data, bad.tail.size, 1 + (uint32_t)rng_below(&rng, 3));
			tail_sign(bad.tail.data, bad.tail.size);
		} else {
			damage(&rng, bad.image.data, bad.image.size, 1 + (uint32_t)rng_below(&rng, 3));
		}
		if (install(st, &bad, &f) == ST_OK) {
			accepted++;
			exercise_frame(st, f, &account, seed + (uint64_t)n);
		} else {
			refused++;
			CU_ASSERT_PTR_NULL(f);
			CU_ASSERT_EQUAL(atom_store_image_bytes(st), 0);
			CU_ASSERT(list_empty(atom_all(st)));
		}
		sample_fini(&bad);
		atom_store_free(st);
	}
	/* values may change unseen here, structure not: both must have been met */
	CU_ASSERT(accepted > (uint32_t)rounds / 50);
	CU_ASSERT(refused > (uint32_t)rounds / 4);
	sample_fini(&good);
}

/* However a data atom is damaged: refused without effect, or as good as any other. */
static void test_install_damaged_columns(void)
{
	damage_run(sample_columns, 1, 1000);
}

/* The same for a keyed leaf. */
static void test_install_damaged_leaf(void)
{
	damage_run(sample_leaf, 2, 1000);
}

/* Random bytes, and every length of a good image and tail but the right one, are refused. */
static void test_install_cut(void)
{
	struct atom_store *st = atom_store_new(&account, 1 << 20);
	struct frame *f = NULL;
	struct sample s;

	sample_leaf(&s);
	for (size_t n = 0; n < s.image.size; n += n < 200 ? 1 : 4096)
		CU_ASSERT_EQUAL(atom_install(st, s.image.data, n, NULL, 0, s.as_of, &f), ST_CORRUPT);
	for (size_t n = 1; n < s.tail.size; n += n < 200 ? 1 : 97) {
		uint8_t *tail = mem_alloc(&account, n);
		uint64_t bytes = n;

		memcpy(tail, s.tail.data, n);
		if (n >= sizeof(struct tail_head))
			memcpy(tail + offsetof(struct tail_head, bytes), &bytes, sizeof bytes);
		tail_sign(tail, n);
		CU_ASSERT_EQUAL(atom_install(st, s.image.data, s.image.size, tail, n, s.as_of, &f), ST_CORRUPT);
		mem_free(&account, tail, n);
	}
	sample_fini(&s);
	atom_store_free(st);
}

/* A good copy: reach, last index and bytes as where it came from; a second one, or one "from before", is refused. */
static void test_install_good(void)
{
	void (*const makes[])(struct sample *) = {sample_columns, sample_leaf};

	for (int i = 0; i < 2; i++) {
		struct atom_store *st = atom_store_new(&account, 1 << 20);
		struct frame *f = NULL;
		struct sample s;

		makes[i](&s);
		s.tail.data[s.tail.size - 1] ^= 1;
		CU_ASSERT_EQUAL(install(st, &s, &f), ST_CORRUPT); /* its CRC */
		s.tail.data[s.tail.size - 1] ^= 1;
		s.as_of = 10;
		CU_ASSERT_EQUAL(install(st, &s, &f), ST_CORRUPT);
		s.as_of = 500;
		CU_ASSERT_EQUAL(install(st, &s, &f), ST_OK);
		CU_ASSERT_EQUAL(f->reach, 4);
		CU_ASSERT_EQUAL(f->state, FRAME_HELD);
		CU_ASSERT(!memcmp(f->image, s.image.data, s.image.size));
		CU_ASSERT_EQUAL(install(st, &s, &f), ST_DUPLICATE);
		exercise_frame(st, f, &account, 1);
		sample_fini(&s);
		atom_store_free(st);
	}
}

/* Two entries of a block, one inside the value of the other: all sums are right. */
static void edit_overlap(struct atom_store *st, struct buf *out)
{
	struct frame *f = atom_create_leaf(st, ATOM_INDEX, 5, 1, NULL, 0, NULL, 0, 1);
	struct leaf_block *b;
	struct leaf_slot *slots;

	leaf_put(st, f, 2, "a", 1, "\0\0b", 3);
	leaf_put(st, f, 2, "b", 1, NULL, 0);
	buf_put(out, f->image, f->image->size_bytes);
	CU_ASSERT_EQUAL(atom_image_check(out->data, out->size), ST_OK);
	b = (struct leaf_block *)(out->data + 128);
	slots = (struct leaf_slot *)(b + 1);
	CU_ASSERT_EQUAL(b->n, 2);
	memset((uint8_t *)b + slots[1].off, 0, 3);
	slots[1].off = slots[0].off + 3;
}

static void edit_dead_byte(struct atom_store *st, struct buf *out)
{
	struct frame *f = atom_create_leaf(st, ATOM_INDEX, 5, 1, NULL, 0, NULL, 0, 1);

	leaf_put(st, f, 2, "a", 1, "123", 3);
	leaf_put(st, f, 2, "b", 1, "123", 3);
	leaf_remove(st, f, 2, "a", 1);
	buf_put(out, f->image, f->image->size_bytes);
	CU_ASSERT_EQUAL(atom_image_check(out->data, out->size), ST_OK);
	out->data[128 + LEAF_BLOCK_BYTES - 1] = 1;
}

static struct data_head *columns_two(struct atom_store *st, struct buf *out)
{
	struct cell c = {.attno = 1, .phys = PHYS_VAR, .bytes = 100, .var = (const uint8_t *)
		"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"};
	struct frame *f = atom_create_columns(st, 5, 1, 1, 65, 1);

	columns_insert(st, f, 2, 1, &c, 1);
	columns_insert(st, f, 2, 2, &c, 1);
	c.bytes = 50;
	columns_update(st, f, 2, 2, &c, 1);
	buf_put(out, f->image, f->image->size_bytes);
	CU_ASSERT_EQUAL(atom_image_check(out->data, out->size), ST_OK);
	return (struct data_head *)out->data;
}

static const struct col_desc *first_col(const struct data_head *d)
{
	return (const struct col_desc *)(d + 1);
}

/* A value over the image's end, with the dead bytes adjusted. */
static void edit_var_end(struct atom_store *st, struct buf *out)
{
	struct data_head *d = columns_two(st, out);
	struct var_ref *refs = (struct var_ref *)(out->data + first_col(d)->data_off);

	CU_ASSERT_EQUAL(refs[0].off + refs[0].len, out->size);
	refs[0].len += 16;
	d->heap_dead -= 16;
	d->h.used_bytes += 16;
}

static void edit_heap_dead(struct atom_store *st, struct buf *out)
{
	columns_two(st, out)->heap_dead++;
}

static void edit_free_byte(struct atom_store *st, struct buf *out)
{
	struct data_head *d = columns_two(st, out);

	out->data[d->heap_top - 1] = 1;
}

static void edit_null_absent(struct atom_store *st, struct buf *out)
{
	struct data_head *d = columns_two(st, out);

	bit_set((uint64_t *)(out->data + first_col(d)->null_off), 5);
}

static void edit_present_dead(struct atom_store *st, struct buf *out)
{
	struct data_head *d = columns_two(st, out);

	bit_set((uint64_t *)(out->data + first_col(d)->null_off), 1 + 64 + 5);
	bit_set((uint64_t *)(out->data + first_col(d)->null_off), 64 + 5);
}

/* What random damage hardly meets: wrong in one way only, and refused for it. */
static void test_install_refused(void)
{
	static void (*const edits[])(struct atom_store *, struct buf *) = {
		edit_overlap, edit_dead_byte, edit_var_end, edit_heap_dead,
		edit_free_byte, edit_null_absent, edit_present_dead,
	};

	for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
		struct atom_store *st = atom_store_new(&account, 1 << 20);
		struct buf image;

		buf_init(&image, &account);
		edits[i](st, &image);
		CU_ASSERT_EQUAL(atom_image_check(image.data, image.size), ST_CORRUPT);
		buf_fini(&image);
		atom_store_free(st);
	}
}

/* A tail of another atom's does not fit, and entries of columns that the image lacks neither. */
static void test_install_wrong_tail(void)
{
	struct atom_store *st = atom_store_new(&account, 1 << 20);
	struct sample a, b;
	struct frame *f = NULL;

	sample_columns(&a);
	sample_leaf(&b);
	CU_ASSERT_EQUAL(atom_install(st, a.image.data, a.image.size, b.tail.data, b.tail.size, 500, &f), ST_CORRUPT);
	memcpy(b.tail.data + offsetof(struct tail_head, atom_id), &(uint64_t){77}, 8);
	tail_sign(b.tail.data, b.tail.size);
	CU_ASSERT_EQUAL(atom_install(st, a.image.data, a.image.size, b.tail.data, b.tail.size, 500, &f), ST_CORRUPT);
	CU_ASSERT_PTR_NULL(f);
	sample_fini(&a);
	sample_fini(&b);
	atom_store_free(st);
}

static int account_init(void)
{
	mem_init(&account, NULL, "test", 0);
	return 0;
}

static int account_fini(void)
{
	return account.used_bytes != 0; /* a leak fails the suite */
}

void suite_atoms_install(void)
{
	CU_pSuite s = CU_add_suite("atoms_install", account_init, account_fini);

	CU_add_test(s, "test_install_good", test_install_good);
	CU_add_test(s, "test_install_cut", test_install_cut);
	CU_add_test(s, "test_install_wrong_tail", test_install_wrong_tail);
	CU_add_test(s, "test_install_refused", test_install_refused);
	CU_add_test(s, "test_install_damaged_columns", test_install_damaged_columns);
	CU_add_test(s, "test_install_damaged_leaf", test_install_damaged_leaf);
}
