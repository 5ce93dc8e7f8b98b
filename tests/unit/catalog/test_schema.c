/*
 * test_schema.c - definitions come back from their bytes as they were, and bytes that are none are refused.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "../unit.h"
#include "base/env.h"
#include "catalog/schema.h"

static struct mem account;
static struct arena arena;
static struct rng rnd;

static int setup(void)
{
	mem_init(&account, NULL, "test", 0);
	arena_init(&arena, &account);
	rng_init(&rnd, 7);
	return 0;
}

static int teardown(void)
{
	arena_fini(&arena);
	return account.used_bytes != 0;
}

static uint64_t below(uint64_t n)
{
	return rng_below(&rnd, n);
}

static char *text(uint32_t max)
{
	uint32_t n = (uint32_t)below(max + 1);
	char *s = arena_alloc(&arena, n + 1);

	for (uint32_t i = 0; i < n; i++)
		s[i] = (char)(1 + below(255));
	return s;
}

static void cell_make(struct cell *c, uint16_t attno)
{
	c->attno = attno;
	c->phys = (uint8_t)(1 + below(PHYS_COUNT - 1));
	c->null = below(4) == 0;
	if (c->null)
		return;
	if (c->phys == PHYS_VAR) {
		c->bytes = (uint32_t)below(200);
		c->var = (const uint8_t *)text(200);
		c->bytes = (uint32_t)strlen((const char *)c->var);
	} else if (c->phys == PHYS_F64) {
		c->f = rng_unit(&rnd) * 1e9;
	} else if (c->phys == PHYS_I128) {
		c->x = (i128)(int64_t)rng_next(&rnd) * (int64_t)rng_next(&rnd);
	} else {
		static const int64_t limits[] = {INT16_MIN, INT16_MAX, INT32_MIN, INT32_MAX, INT64_MIN, INT64_MAX};
		int at = c->phys == PHYS_I16 ? 0 : c->phys == PHYS_I32 ? 2 : 4;

		c->i = c->phys == PHYS_BOOL ? (int64_t)below(2) : limits[at + (int)below(2)];
	}
}

static struct table_def *table_make(uint16_t columns)
{
	struct table_def *t = ARENA_NEW(&arena, struct table_def);

	t->id = rng_next(&rnd) >> below(63);
	t->storage = rng_next(&rnd);
	t->version = below(100);
	t->schema = text(SCHEMA_NAME_MAX);
	t->name = text(SCHEMA_NAME_MAX);
	t->options = text(300);
	t->column_count = columns;
	t->columns = ARENA_NEW_N(&arena, struct column_def, columns);
	for (uint16_t i = 0; i < columns; i++) {
		struct column_def *c = &t->columns[i];

		c->attno = (uint16_t)(i + 1);
		c->phys = (uint8_t)below(PHYS_COUNT);
		c->not_null = below(2);
		c->dropped = below(2);
		c->type_oid = (uint32_t)rng_next(&rnd);
		c->typmod = (int32_t)rng_next(&rnd);
		c->name = text(SCHEMA_NAME_MAX);
		c->default_sql = below(2) ? text(100) : NULL;
		c->has_missing = below(2);
		if (c->has_missing)
			cell_make(&c->missing, c->attno);
	}
	t->index_count = columns ? (uint16_t)below(4) : 0;
	t->indexes = ARENA_NEW_N(&arena, struct index_def, t->index_count);
	for (uint16_t i = 0; i < t->index_count; i++) {
		struct index_def *x = &t->indexes[i];

		x->id = rng_next(&rnd);
		x->table = t->id;
		x->storage = rng_next(&rnd);
		x->name = text(SCHEMA_NAME_MAX);
		x->unique = below(2);
		x->primary = below(2);
		x->constraint = below(2);
		x->column_count = (uint16_t)below(SCHEMA_INDEX_COLUMNS_MAX + 1);
		for (uint16_t k = 0; k < x->column_count; k++) {
			x->attnos[k] = (uint16_t)(1 + below(columns));
			x->desc[k] = below(2);
			x->nulls_first[k] = below(2);
		}
	}
	t->check_count = (uint16_t)below(4);
	t->checks = ARENA_NEW_N(&arena, struct check_def, t->check_count);
	for (uint16_t i = 0; i < t->check_count; i++)
		t->checks[i] = (struct check_def){text(SCHEMA_NAME_MAX), text(200)};
	return t;
}

static bool same(const char *a, const char *b)
{
	return !a == !b && (!a || strcmp(a, b) == 0);
}

static bool cells_equal(const struct cell *a, const struct cell *b)
{
	if (a->attno != b->attno || a->phys != b->phys || a->null != b->null)
		return false;
	if (a->null)
		return true;
	if (a->phys == PHYS_VAR)
		return a->bytes == b->bytes && !memcmp(a->var, b->var, a->bytes);
	return a->phys == PHYS_F64 ? a->f == b->f : a->phys == PHYS_I128 ? a->x == b->x : a->i == b->i;
}

static bool tables_equal(const struct table_def *a, const struct table_def *b)
{
	bool eq = a->id == b->id && a->storage == b->storage && a->version == b->version && same(a->schema, b->schema) &&
		  same(a->name, b->name) && same(a->options, b->options) && a->column_count == b->column_count &&
		  a->index_count == b->index_count && a->check_count == b->check_count;

	for (uint16_t i = 0; eq && i < a->column_count; i++) {
		const struct column_def *c = &a->columns[i], *d = &b->columns[i];

		eq = c->attno == d->attno && c->phys == d->phys && c->not_null == d->not_null &&
		     c->dropped == d->dropped && c->type_oid == d->type_oid && c->typmod == d->typmod &&
		     same(c->name, d->name) && same(c->default_sql, d->default_sql) &&
		     c->has_missing == d->has_missing && (!c->has_missing || cells_equal(&c->missing, &d->missing));
	}
	for (uint16_t i = 0; eq && i < a->index_count; i++) {
		const struct index_def *x = &a->indexes[i], *y = &b->indexes[i];

		eq = x->id == y->id && x->table == y->table && x->storage == y->storage && same(x->name, y->name) &&
		     x->unique == y->unique && x->primary == y->primary && x->constraint == y->constraint &&
		     x->column_count == y->column_count && !memcmp(x->attnos, y->attnos, sizeof x->attnos) &&
		     !memcmp(x->desc, y->desc, sizeof x->desc) &&
		     !memcmp(x->nulls_first, y->nulls_first, sizeof x->nulls_first);
	}
	for (uint16_t i = 0; eq && i < a->check_count; i++)
		eq = same(a->checks[i].name, b->checks[i].name) && same(a->checks[i].expr_sql, b->checks[i].expr_sql);
	return eq;
}

/* A table comes back as it was, in other memory; encoding what came back, or a copy, gives the same bytes. */
static void test_schema_table(void)
{
	for (int n = 0; n < 300; n++) {
		struct table_def *t = table_make((uint16_t)(n == 0 ? SCHEMA_COLUMNS_MAX : below(12))), *back = NULL, *copy;
		struct buf a, b;

		buf_init(&a, &account);
		buf_init(&b, &account);
		schema_table_encode(t, &a);
		copy = schema_table_copy(t, &arena);
		CU_ASSERT(tables_equal(t, copy) && copy->name != t->name && copy->columns != t->columns);
		CU_ASSERT_EQUAL_FATAL(schema_table_decode(a.data, a.size, &arena, &back), ST_OK);
		CU_ASSERT(tables_equal(t, back));
		schema_table_encode(back, &b);
		CU_ASSERT(a.size == b.size && !memcmp(a.data, b.data, a.size));
		buf_reset(&b);
		schema_table_encode(copy, &b);
		CU_ASSERT(a.size == b.size && !memcmp(a.data, b.data, a.size));
		buf_fini(&a);
		buf_fini(&b);
		arena_reset(&arena);
	}
}

/* What is decoded lives in the arena alone: the bytes may go. */
static void test_schema_copies(void)
{
	struct table_def *t = table_make(9), *back = NULL;
	struct buf a;

	buf_init(&a, &account);
	schema_table_encode(t, &a);
	CU_ASSERT_EQUAL_FATAL(schema_table_decode(a.data, a.size, &arena, &back), ST_OK);
	memset(a.data, 0xee, a.size);
	buf_fini(&a);
	CU_ASSERT(tables_equal(t, back));
	arena_reset(&arena);
}

/* Every truncation and every added byte is refused; with random bytes flipped it is refused or some definition. */
static void test_schema_damage(void)
{
	for (int n = 0; n < 40; n++) {
		struct table_def *t = table_make((uint16_t)below(6)), *back;
		struct buf a;

		buf_init(&a, &account);
		schema_table_encode(t, &a);
		for (size_t cut = 0; cut < a.size; cut++) {
			uint8_t *exact = mem_alloc(&account, cut ? cut : 1); /* so that a sanitizer sees its end */

			memcpy(exact, a.data, cut);
			CU_ASSERT_EQUAL(schema_table_decode(exact, cut, &arena, &back), ST_CORRUPT);
			mem_free(&account, exact, cut ? cut : 1);
		}
		for (int k = 0; k < 200; k++) {
			size_t at = (size_t)below(a.size);
			uint8_t was = a.data[at];

			a.data[at] = (uint8_t)below(256);
			if (schema_table_decode(a.data, a.size, &arena, &back) == ST_OK) {
				struct buf again;

				buf_init(&again, &account);
				schema_table_encode(back, &again); /* one encoding of each definition */
				CU_ASSERT(again.size == a.size && !memcmp(again.data, a.data, a.size));
				buf_fini(&again);
			}
			a.data[at] = was;
		}
		put_u8(&a, 0);
		CU_ASSERT_EQUAL(schema_table_decode(a.data, a.size, &arena, &back), ST_CORRUPT);
		buf_fini(&a);
		arena_reset(&arena);
	}
}

/* Counts and names beyond their limits are refused, before memory is taken for them. */
static void test_schema_limits(void)
{
	struct table_def t = {.id = 1, .schema = "s", .name = "t", .options = ""}, *back;
	char longer[SCHEMA_NAME_MAX + 2];
	size_t used = arena.used_bytes;
	struct buf a;

	buf_init(&a, &account);
	schema_table_encode(&t, &a); /* ..., columns 0, indexes 0, checks 0 */
	CU_ASSERT_EQUAL(schema_table_decode(a.data, a.size, &arena, &back), ST_OK);
	buf_truncate(&a, a.size - 3);
	put_varint(&a, SCHEMA_COLUMNS_MAX + 1);
	CU_ASSERT_EQUAL(schema_table_decode(a.data, a.size, &arena, &back), ST_CORRUPT);
	buf_truncate(&a, a.size - 2);
	put_varint(&a, 0);
	put_varint(&a, 65535);
	CU_ASSERT_EQUAL(schema_table_decode(a.data, a.size, &arena, &back), ST_CORRUPT);
	CU_ASSERT(arena.used_bytes - used < 4096);
	memset(longer, 'x', sizeof longer);
	longer[sizeof longer - 1] = '\0';
	t.name = longer;
	buf_reset(&a);
	schema_table_encode(&t, &a);
	CU_ASSERT_EQUAL(schema_table_decode(a.data, a.size, &arena, &back), ST_CORRUPT);
	buf_fini(&a);
	arena_reset(&arena);
}

/* A sequence comes back as it was; its truncations are refused. */
static void test_schema_sequence(void)
{
	for (int n = 0; n < 200; n++) {
		struct sequence_def s = {.id = rng_next(&rnd), .version = below(9), .schema = text(SCHEMA_NAME_MAX),
					 .name = text(SCHEMA_NAME_MAX), .type_oid = (uint32_t)rng_next(&rnd),
					 .start = (int64_t)rng_next(&rnd), .increment = -(int64_t)below(99),
					 .min = INT64_MIN, .max = INT64_MAX, .cache = 1, .cycle = below(2),
					 .owned_by_table = below(9), .owned_by_attno = (uint16_t)below(1601)}, *back;
		struct buf a;

		buf_init(&a, &account);
		schema_sequence_encode(&s, &a);
		CU_ASSERT_EQUAL_FATAL(schema_sequence_decode(a.data, a.size, &arena, &back), ST_OK);
		CU_ASSERT(back->id == s.id && back->version == s.version && same(back->schema, s.schema) &&
			  same(back->name, s.name) && back->type_oid == s.type_oid && back->start == s.start &&
			  back->increment == s.increment && back->min == s.min && back->max == s.max &&
			  back->cache == s.cache && back->cycle == s.cycle &&
			  back->owned_by_table == s.owned_by_table && back->owned_by_attno == s.owned_by_attno);
		for (size_t cut = 0; cut < a.size; cut++)
			CU_ASSERT_EQUAL(schema_sequence_decode(a.data, cut, &arena, &back), ST_CORRUPT);
		buf_fini(&a);
		arena_reset(&arena);
	}
}

void suite_catalog_schema(void)
{
	CU_pSuite s = CU_add_suite("catalog_schema", setup, teardown);

	CU_add_test(s, "table", test_schema_table);
	CU_add_test(s, "copies", test_schema_copies);
	CU_add_test(s, "damage", test_schema_damage);
	CU_add_test(s, "limits", test_schema_limits);
	CU_add_test(s, "sequence", test_schema_sequence);
}
