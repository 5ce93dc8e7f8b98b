/*
 * test_record.c - records, batches and payloads come back as they were; what is cut, damaged or out of bounds is refused.
 */
#include <CUnit/CUnit.h>
#include <stddef.h>
#include <string.h>

#include "../unit.h"
#include "base/env.h"
#include "catalog/record.h"
#include "catalog/record_wire.h"

static struct mem account;
static struct rng rnd;
static struct record one, two;

static int setup(void)
{
	mem_init(&account, NULL, "test", 0);
	rng_init(&rnd, 11);
	return 0;
}

static int teardown(void)
{
	return account.used_bytes != 0;
}

static uint64_t below(uint64_t n)
{
	return rng_below(&rnd, n);
}

static uint64_t number(void) /* of any magnitude */
{
	return rng_next(&rnd) >> below(64);
}

static void fill(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)below(256);
}

/* A payload as a record has it, in memory of exactly its size. */
static void payload_take(struct buf *b)
{
	two = (struct record){.payload_bytes = (uint32_t)b->size};
	two.payload = mem_alloc(&account, b->size + 1);
	memcpy((uint8_t *)two.payload, b->data, b->size);
}

static void payload_drop(void)
{
	mem_free(&account, (void *)two.payload, two.payload_bytes + 1u);
}

static void record_make(struct record *r, uint8_t *payload, uint32_t bytes)
{
	memset(r, 0, sizeof *r);
	r->kind = (uint8_t)(1 + below(REC_KIND_MAX));
	r->engine = number();
	r->seq = number();
	r->txn = number();
	r->attempt = (uint32_t)number();
	r->plan = number();
	r->parts = (uint32_t)number();
	r->grantor_count = (uint32_t)below(below(9) ? 4 : RECORD_GRANTORS_MAX + 1);
	for (uint32_t i = 0; i < r->grantor_count; i++)
		r->grantors[i] = number();
	r->touch_count = (uint32_t)below(below(9) ? 4 : RECORD_TOUCHES_MAX + 1);
	for (uint32_t i = 0; i < r->touch_count; i++)
		r->touches[i] = (struct touch){number(), number()};
	r->named = r->kind == REC_COMMIT && below(3) == 0;
	if (r->named) {
		fill(r->name, sizeof r->name);
		r->name_since = below(2) ? number() : 0;
	}
	fill(payload, bytes);
	r->payload = payload;
	r->payload_bytes = bytes;
}

static bool records_equal(const struct record *a, const struct record *b)
{
	return a->kind == b->kind && a->engine == b->engine && a->seq == b->seq && a->txn == b->txn &&
	       a->attempt == b->attempt && a->plan == b->plan && a->parts == b->parts &&
	       a->grantor_count == b->grantor_count && a->touch_count == b->touch_count &&
	       !memcmp(a->grantors, b->grantors, a->grantor_count * sizeof a->grantors[0]) &&
	       !memcmp(a->touches, b->touches, a->touch_count * sizeof a->touches[0]) &&
	       a->named == b->named && a->name_since == b->name_since &&
	       (!a->named || !memcmp(a->name, b->name, sizeof a->name)) && a->payload_bytes == b->payload_bytes && !memcmp(a->payload, b->payload, a->payload_bytes);
}

/* Batches of random records come back, each with its index; empty ones too. */
static void test_record_batch(void)
{
	for (int n = 0; n < 200; n++) {
		static struct record made[8];
		static uint8_t payloads[8][600];
		uint32_t count = (uint32_t)below(9), got = 0;
		seq_index first = 1 + number() / 2;
		struct batch_iter it = {0};
		struct batch b;
		struct buf out, r;

		buf_init(&out, &account);
		buf_init(&r, &account);
		put_u32(&out, 77); /* a batch may stand behind something else */
		batch_begin(&out, first, 5, 6, 7);
		for (uint32_t i = 0; i < count; i++) {
			record_make(&made[i], payloads[i], (uint32_t)below(600));
			buf_reset(&r);
			record_encode(&made[i], &r);
			batch_add(&out, r.data, r.size);
		}
		batch_end(&out, 4);
		CU_ASSERT_EQUAL_FATAL(batch_decode(out.data + 4, out.size - 4, &b), ST_OK);
		CU_ASSERT(b.first == first && b.count == count && b.wall_us == 5 && b.horizon == 6 && b.leader == 7);
		while (batch_next(&b, &it, &one) == ST_OK) {
			CU_ASSERT(got < count && one.index == first + got && records_equal(&one, &made[got]));
			got++;
		}
		CU_ASSERT(got == count && batch_next(&b, &it, &one) == ST_END);
		buf_fini(&out);
		buf_fini(&r);
	}
}

/* A journal of before names has batches of version 1, which are read; what a later version has is not known. */
static void test_record_batch_versions(void)
{
	static const struct { uint8_t version; enum status st; } cases[] = {
		{0, ST_CORRUPT}, {1, ST_OK}, {BATCH_VERSION, ST_OK}, {BATCH_VERSION + 1, ST_CORRUPT}};
	uint8_t payload[40];
	struct buf out, r;

	record_make(&two, payload, sizeof payload);
	two.kind = REC_COMMIT;
	two.named = false;
	buf_init(&out, &account);
	buf_init(&r, &account);
	record_encode(&two, &r);
	batch_begin(&out, 10, 5, 6, 7);
	batch_add(&out, r.data, r.size);
	batch_end(&out, 0);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct batch_iter it = {0};
		struct batch b;

		out.data[offsetof(struct batch_head, version)] = cases[i].version;
		CU_ASSERT_EQUAL_FATAL(batch_decode(out.data, out.size, &b), cases[i].st);
		if (cases[i].st == ST_OK)
			CU_ASSERT(batch_next(&b, &it, &one) == ST_OK && records_equal(&one, &two) && !one.named);
	}
	buf_fini(&out);
	buf_fini(&r);
}

/* Left out payloads leave a batch of its own checksum, with the same headers; put back, they make the bytes that were. */
static void test_record_batch_pruned(void)
{
	for (int n = 0; n < 200; n++) {
		static struct record made[8];
		static uint8_t payloads[8][600];
		uint32_t count = 1 + (uint32_t)below(8), without = (uint32_t)below(256), prunable = 0;
		struct batch_iter it = {0}, before = it;
		struct batch b, bare;
		struct buf out, pruned, again, r;

		buf_init(&out, &account);
		buf_init(&pruned, &account);
		buf_init(&again, &account);
		buf_init(&r, &account);
		batch_begin(&out, 10, 5, 6, 7);
		for (uint32_t i = 0; i < count; i++) {
			record_make(&made[i], payloads[i], (uint32_t)below(600));
			prunable += (made[i].kind == REC_COMMIT || made[i].kind == REC_PART) &&
				    made[i].payload_bytes > RECORD_PRUNE_BYTES;
			buf_reset(&r);
			record_encode(&made[i], &r);
			batch_add(&out, r.data, r.size);
		}
		batch_end(&out, 0);
		CU_ASSERT_EQUAL_FATAL(batch_decode(out.data, out.size, &b), ST_OK);
		CU_ASSERT_EQUAL(batch_prunable(&b), prunable);
		batch_begin(&pruned, b.first, b.wall_us, b.horizon, b.leader);
		for (uint32_t i = 0; batch_next_header(&b, &it, &one) == ST_OK; before = it, i++)
			batch_add_as(&pruned, &b, &before, &one, without >> i & 1 ? NULL : one.payload);
		batch_end(&pruned, 0);
		CU_ASSERT_EQUAL_FATAL(batch_decode(pruned.data, pruned.size, &bare), ST_OK);
		CU_ASSERT(bare.first == 10 && bare.count == count && bare.wall_us == 5 && bare.horizon == 6 && bare.leader == 7);
		batch_begin(&again, bare.first, bare.wall_us, bare.horizon, bare.leader);
		it = before = (struct batch_iter){0};
		for (uint32_t i = 0; batch_next(&bare, &it, &one) == ST_OK; before = it, i++) {
			CU_ASSERT((one.payload == NULL) == (without >> i & 1));
			one.payload = payloads[i];
			CU_ASSERT(one.index == 10 + i && records_equal(&one, &made[i]));
			CU_ASSERT_EQUAL(one.payload_crc, crc32c(0, payloads[i], one.payload_bytes));
			batch_add_as(&again, &bare, &before, &one, payloads[i]);
		}
		batch_end(&again, 0);
		CU_ASSERT(again.size == out.size && memcmp(again.data, out.data, out.size) == 0);
		buf_fini(&out);
		buf_fini(&pruned);
		buf_fini(&again);
		buf_fini(&r);
	}
}

/* Of a record that names storages, each operation is on one of them: it would be applied here and not there else. */
static void test_record_touches(void)
{
	struct record r = {.kind = REC_COMMIT, .engine = 1, .seq = 1};
	struct buf b;

	buf_init(&b, &account);
	op_encode_row(&b, OP_ROW_DELETE, 7, 1, NULL, 0);
	op_encode_row(&b, OP_ROW_DELETE, 9, 1, NULL, 0);
	op_encode_key(&b, OP_KEY_ADD, 8, 1, "k", 1);
	op_encode_row(&b, OP_ROW_DELETE, 7, 2, NULL, 0);
	r.payload = b.data;
	r.payload_bytes = (uint32_t)b.size;
	CU_ASSERT(!record_is_local(&r) && record_ops_ok(&r, &account));
	r.touches[r.touch_count++] = (struct touch){1, 7};
	r.touches[r.touch_count++] = (struct touch){1, 8};
	CU_ASSERT(record_is_local(&r) && !record_ops_ok(&r, &account)); /* 9 */
	r.touches[r.touch_count++] = (struct touch){2, 9};
	CU_ASSERT(record_is_local(&r) && record_ops_ok(&r, &account) && !record_prunable(&r)); /* small */
	op_encode_catalog(&b, OP_CATALOG_REMOVE, ATOM_SCHEMA_CAT, "k", 1, NULL, 0);
	r.payload = b.data;
	r.payload_bytes = (uint32_t)b.size;
	CU_ASSERT(!record_ops_ok(&r, &account)); /* everybody's */
	r.touches[1].storage = 0;
	CU_ASSERT(!record_is_local(&r) && record_ops_ok(&r, &account));
	r.payload_bytes = RECORD_PRUNE_BYTES + 1;
	CU_ASSERT(!record_prunable(&r));
	r.touches[1].storage = 8;
	CU_ASSERT(record_prunable(&r));
	r.kind = REC_CREATE;
	CU_ASSERT(!record_is_local(&r) && !record_prunable(&r));
	buf_fini(&b);
}

/* A batch that is cut, longer, or has any bit changed is refused: its checksum covers all. */
static void test_record_batch_damage(void)
{
	uint8_t payload[100];
	struct batch b;
	struct buf out, r;

	buf_init(&out, &account);
	buf_init(&r, &account);
	batch_begin(&out, 9, 5, 6, 7);
	for (int i = 0; i < 3; i++) {
		record_make(&one, payload, 100);
		buf_reset(&r);
		record_encode(&one, &r);
		batch_add(&out, r.data, r.size);
	}
	batch_end(&out, 0);
	for (size_t cut = 0; cut < out.size; cut++) {
		uint8_t *exact = mem_alloc(&account, cut + 1);

		memcpy(exact, out.data, cut);
		CU_ASSERT_EQUAL(batch_decode(exact, cut, &b), ST_CORRUPT);
		mem_free(&account, exact, cut + 1);
	}
	for (size_t at = 0; at < out.size; at++) {
		uint8_t bit = (uint8_t)(1u << below(8));

		out.data[at] ^= bit;
		CU_ASSERT_EQUAL(batch_decode(out.data, out.size, &b), ST_CORRUPT);
		out.data[at] ^= bit;
	}
	buf_fini(&out);
	buf_fini(&r);
}

/* A record of its own, as it is submitted: truncations are refused, a changed payload too; a changed header is refused or is one. */
static void test_record_damage(void)
{
	for (int n = 0; n < 60; n++) {
		uint8_t payload[80];
		struct reader r;
		struct buf out;

		buf_init(&out, &account);
		record_make(&one, payload, (uint32_t)below(80));
		record_encode(&one, &out);
		for (size_t cut = 0; cut < out.size; cut++) {
			uint8_t *exact = mem_alloc(&account, cut + 1);

			memcpy(exact, out.data, cut);
			r = reader_init(exact, cut);
			CU_ASSERT_EQUAL(record_decode(&r, &two), ST_CORRUPT);
			mem_free(&account, exact, cut + 1);
		}
		for (int k = 0; k < 300; k++) {
			size_t at = (size_t)below(out.size);
			uint8_t was = out.data[at], to = (uint8_t)below(256);
			enum status st;

			out.data[at] = to;
			r = reader_init(out.data, out.size);
			st = record_decode(&r, &two);
			if (at >= out.size - one.payload_bytes && to != was)
				CU_ASSERT_EQUAL(st, ST_CORRUPT);
			if (st == ST_OK)
				CU_ASSERT(two.grantor_count <= RECORD_GRANTORS_MAX &&
					  two.touch_count <= RECORD_TOUCHES_MAX && two.kind && two.kind <= REC_KIND_MAX);
			out.data[at] = was;
		}
		buf_fini(&out);
	}
}

/* At the limits: the longest payload and header are taken, one more of anything is refused. */
static void test_record_limits(void)
{
	uint8_t *payload = mem_alloc(&account, RECORD_PAYLOAD_MAX);
	struct record_head h;
	struct reader r;
	struct buf out;

	buf_init(&out, &account);
	record_make(&one, payload, RECORD_PAYLOAD_MAX);
	one.grantor_count = RECORD_GRANTORS_MAX;
	one.touch_count = RECORD_TOUCHES_MAX;
	memset(one.grantors, 0xff, sizeof one.grantors);
	memset(one.touches, 0xff, sizeof one.touches);
	record_encode(&one, &out);
	r = reader_init(out.data, out.size);
	CU_ASSERT(record_decode(&r, &two) == ST_OK && records_equal(&one, &two) && reader_left(&r) == 0);
	memcpy(&h, out.data, sizeof h);
	h.payload_bytes++;
	memcpy(out.data, &h, sizeof h);
	put_u8(&out, 0);
	r = reader_init(out.data, out.size);
	CU_ASSERT_EQUAL(record_decode(&r, &two), ST_CORRUPT);
	for (int what = 0; what < 4; what++) { /* a header by hand, with one number too large */
		buf_reset(&out);
		buf_append(&out, sizeof h);
		for (int i = 0; i < 6; i++)
			put_varint(&out, (what == 0 && i == 3) || (what == 1 && i == 5) ? UINT64_C(1) << 32 : 1);
		put_varint(&out, what == 2 ? RECORD_GRANTORS_MAX + 1 : 0);
		put_varint(&out, what == 3 ? RECORD_TOUCHES_MAX + 1 : 0);
		for (int i = 0; i < 2 * RECORD_GRANTORS_MAX; i++)
			put_u8(&out, 1);
		h = (struct record_head){.header_bytes = (uint32_t)(out.size - sizeof h), .kind = REC_COMMIT};
		memcpy(out.data, &h, sizeof h);
		r = reader_init(out.data, out.size);
		CU_ASSERT_EQUAL(record_decode(&r, &two), ST_CORRUPT);
	}
	buf_fini(&out);
	mem_free(&account, payload, RECORD_PAYLOAD_MAX);
}

/* -- operations ------------------------------------------------------------------------------------------------ */

#define OPS 12
#define CELLS 7

struct made { struct op op; struct cell cells[CELLS]; uint8_t key[LEAF_KEY_MAX], value[LEAF_VALUE_MAX]; };
static struct made made[OPS];

static void cell_make(struct cell *c, uint16_t attno, uint8_t *text)
{
	memset(c, 0, sizeof *c);
	c->attno = attno;
	c->phys = (uint8_t)(1 + below(PHYS_COUNT - 1));
	c->null = below(5) == 0;
	if (c->null)
		return;
	switch (c->phys) {
	case PHYS_BOOL:
		c->i = (int64_t)below(2);
		break;
	case PHYS_I16:
		c->i = (int16_t)number();
		break;
	case PHYS_I32:
		c->i = (int32_t)number();
		break;
	case PHYS_I64:
		c->i = (int64_t)rng_next(&rnd);
		break;
	case PHYS_F64:
		c->f = rng_unit(&rnd);
		break;
	case PHYS_I128:
		c->x = (i128)((unsigned __int128)rng_next(&rnd) << 64 | rng_next(&rnd));
		break;
	default:
		c->bytes = (uint32_t)below(40);
		c->var = text;
	}
}

static void op_make(struct buf *out, struct made *m)
{
	struct op *op = &m->op;

	memset(m, 0, sizeof *m);
	fill(m->key, 64);
	fill(m->value, 64);
	op->kind = (uint8_t)(1 + below(9));
	op->relation = number();
	op->row = number();
	op->key = (struct slice){m->key, (uint32_t)below(below(20) ? 60 : LEAF_KEY_MAX + 1), 0};
	op->value = (struct slice){m->value, (uint32_t)below(below(20) ? 60 : LEAF_VALUE_MAX + 1), 0};
	op->cell_count = (uint32_t)below(CELLS + 1);
	for (uint32_t i = 0; i < op->cell_count; i++)
		cell_make(&m->cells[i], (uint16_t)(1 + below(UINT16_MAX)), m->key);
	switch (op->kind) {
	case OP_ROW_INSERT:
	case OP_ROW_UPDATE:
	case OP_ROW_DELETE:
		op_encode_row(out, op->kind, op->relation, op->row, m->cells, op->cell_count);
		break;
	case OP_KEY_ADD:
	case OP_KEY_REMOVE:
		op_encode_key(out, op->kind, op->relation, op->row, op->key.p, op->key.bytes);
		break;
	case OP_CATALOG_PUT:
	case OP_CATALOG_REMOVE:
		op->relation = ATOM_SCHEMA_CAT;
		op_encode_catalog(out, op->kind, ATOM_SCHEMA_CAT, op->key.p, op->key.bytes, op->value.p, op->value.bytes);
		break;
	case OP_NEW_ATOM:
		op->atom_kind = below(2) ? ATOM_INDEX : ATOM_SEQUENCE;
		op_encode_new_atom(out, op->relation, op->atom_kind, op->value.p, op->value.bytes);
		break;
	default:
		op_encode_destroy(out, op->relation);
	}
}

static bool slices_equal(struct slice a, struct slice b)
{
	return a.bytes == b.bytes && !memcmp(a.p, b.p, a.bytes);
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

static bool ops_equal(const struct made *m, const struct op *got)
{
	const struct op *op = &m->op;
	bool eq = op->kind == got->kind && op->relation == got->relation;

	if (op->kind <= OP_KEY_REMOVE)
		eq = eq && op->row == got->row;
	if (op->kind <= OP_ROW_UPDATE) {
		eq = eq && op->cell_count == got->cell_count;
		for (uint32_t i = 0; eq && i < op->cell_count; i++)
			eq = cells_equal(&m->cells[i], &got->cells[i]);
	}
	if (op->kind >= OP_KEY_ADD && op->kind <= OP_CATALOG_REMOVE)
		eq = eq && slices_equal(op->key, got->key);
	if (op->kind == OP_CATALOG_PUT || op->kind == OP_NEW_ATOM)
		eq = eq && slices_equal(op->value, got->value);
	return eq && (op->kind != OP_NEW_ATOM || op->atom_kind == got->atom_kind);
}

/* Operations come back in order; a payload that is cut gives what is whole and is refused or ends there; damage never crashes. */
static void test_record_ops(void)
{
	struct op_reader reader;
	struct op op;

	op_reader_init(&reader, &account);
	for (int n = 0; n < 300; n++) {
		uint32_t count = (uint32_t)below(OPS + 1), got = 0;
		size_t ends[OPS + 1] = {0};
		enum status st;
		struct buf out;

		buf_init(&out, &account);
		for (uint32_t i = 0; i < count; i++) {
			op_make(&out, &made[i]);
			ends[i + 1] = out.size;
		}
		op_reader_start(&reader, out.data, out.size);
		while ((st = op_next(&reader, &op)) == ST_OK) {
			CU_ASSERT(got < count && ops_equal(&made[got], &op));
			got++;
		}
		CU_ASSERT(st == ST_END && got == count);
		for (size_t cut = 0; cut < out.size; cut += 1 + (size_t)below(9)) {
			uint8_t *exact = mem_alloc(&account, cut + 1);
			bool whole = false;

			for (uint32_t i = 0; i <= count; i++)
				whole = whole || ends[i] == cut;
			memcpy(exact, out.data, cut);
			op_reader_start(&reader, exact, cut);
			while ((st = op_next(&reader, &op)) == ST_OK)
				;
			CU_ASSERT_EQUAL(st, whole ? ST_END : ST_CORRUPT);
			mem_free(&account, exact, cut + 1);
		}
		for (int k = 0; k < 50 && out.size; k++) {
			out.data[below(out.size)] = (uint8_t)below(256);
			op_reader_start(&reader, out.data, out.size);
			while ((st = op_next(&reader, &op)) == ST_OK)
				CU_ASSERT(op.key.bytes <= LEAF_KEY_MAX && op.value.bytes <= LEAF_VALUE_MAX);
			CU_ASSERT(st == ST_END || st == ST_CORRUPT);
		}
		buf_fini(&out);
	}
	op_reader_fini(&reader);
}

static enum status one_cell(uint8_t phys, int64_t value)
{
	struct op_reader reader;
	struct op op;
	enum status st;
	struct buf out;

	buf_init(&out, &account);
	put_u8(&out, OP_ROW_INSERT);
	put_varint(&out, 5);
	put_varint(&out, 6);
	put_varint(&out, 1);
	put_varint(&out, 1);
	put_u8(&out, phys);
	if (phys == PHYS_BOOL)
		put_u8(&out, (uint8_t)value);
	else
		put_varint(&out, (uint64_t)value << 1 ^ (uint64_t)(value >> 63));
	op_reader_init(&reader, &account);
	op_reader_start(&reader, out.data, out.size);
	st = op_next(&reader, &op);
	op_reader_fini(&reader);
	buf_fini(&out);
	return st;
}

/* A value that its class cannot hold is refused: apply would cut it. */
static void test_record_ranges(void)
{
	CU_ASSERT_EQUAL(one_cell(PHYS_BOOL, 1), ST_OK);
	CU_ASSERT_EQUAL(one_cell(PHYS_BOOL, 2), ST_CORRUPT);
	CU_ASSERT_EQUAL(one_cell(PHYS_I16, INT16_MIN), ST_OK);
	CU_ASSERT_EQUAL(one_cell(PHYS_I16, INT16_MIN - 1), ST_CORRUPT);
	CU_ASSERT_EQUAL(one_cell(PHYS_I32, INT32_MAX), ST_OK);
	CU_ASSERT_EQUAL(one_cell(PHYS_I32, INT64_C(1) + INT32_MAX), ST_CORRUPT);
	CU_ASSERT_EQUAL(one_cell(PHYS_I64, INT64_MIN), ST_OK);
	CU_ASSERT_EQUAL(one_cell(PHYS_NONE, 0), ST_CORRUPT);
	CU_ASSERT_EQUAL(one_cell(PHYS_COUNT, 0), ST_CORRUPT);
}

/* -- other payloads ---------------------------------------------------------------------------------------------- */

/* Runs decode on every truncation and on damaged copies; only for the exact bytes must it say ST_OK with certainty. */
static void damage(struct buf *b, enum status (*decode)(void))
{
	for (size_t cut = 0; cut < b->size; cut++) {
		size_t size = b->size;

		b->size = cut;
		payload_take(b);
		CU_ASSERT_EQUAL(decode(), ST_CORRUPT);
		payload_drop();
		b->size = size;
	}
	put_u8(b, 1);
	payload_take(b);
	CU_ASSERT_EQUAL(decode(), ST_CORRUPT);
	payload_drop();
	for (int i = 0; i < 100; i++) {
		b->data[below(b->size)] = (uint8_t)below(256);
		payload_take(b);
		(void)decode();
		payload_drop();
	}
}

static struct slice fences[CREATE_ATOMS_MAX];
static struct create_payload create_got;
static struct split_payload split_got;
static struct atoms_payload atoms_got;
static struct reserve_payload reserve_got;
static struct intent_payload intent_got;
static struct join_payload join_got;
static struct remove_payload remove_got;

static enum status decode_create(void) { return create_decode(&two, &create_got, fences); }
static enum status decode_split(void) { return split_decode(&two, &split_got); }
static enum status decode_atoms(void) { return atoms_decode(&two, &atoms_got); }
static enum status decode_reserve(void) { return reserve_decode(&two, &reserve_got); }
static enum status decode_intent(void) { return intent_decode(&two, &intent_got); }
static enum status decode_join(void) { return join_decode(two.payload, two.payload_bytes, &join_got); }
static enum status decode_remove(void) { return remove_decode(&two, &remove_got); }

static enum status create_try(struct create_payload *c)
{
	enum status st;
	struct buf b;

	buf_init(&b, &account);
	create_encode(&b, c);
	payload_take(&b);
	st = decode_create();
	payload_drop();
	buf_fini(&b);
	return st;
}

/* Creates come back; fences that do not rise from the start on, or are longer than a catalog could keep, are refused. */
static void test_record_create(void)
{
	static uint8_t key[LEAF_KEY_MAX];
	struct slice f[3] = {{NULL, 0, 0}, {(const uint8_t *)"b", 1, 0}, {(const uint8_t *)"ba", 2, 0}};
	struct create_payload c = {.storage = 9, .kind = ATOM_INDEX, .count = 3, .fences = f};
	struct buf b;

	CU_ASSERT_EQUAL(create_try(&c), ST_OK);
	buf_init(&b, &account);
	create_encode(&b, &c);
	payload_take(&b);
	CU_ASSERT(decode_create() == ST_OK && create_got.storage == 9 && create_got.count == 3 &&
		  slices_equal(fences[2], f[2]) && fences[0].bytes == 0);
	payload_drop();
	damage(&b, decode_create);
	buf_fini(&b);
	f[2] = f[1];
	CU_ASSERT_EQUAL(create_try(&c), ST_CORRUPT);
	f[2] = (struct slice){key, INDEX_FENCE_MAX, 0};
	memset(key, 'z', sizeof key);
	CU_ASSERT_EQUAL(create_try(&c), ST_OK);
	f[2].bytes++;
	CU_ASSERT_EQUAL(create_try(&c), ST_CORRUPT);
	c.count = 1;
	CU_ASSERT_EQUAL(create_try(&c), ST_OK);
	c.fences = f + 1;
	CU_ASSERT_EQUAL(create_try(&c), ST_CORRUPT); /* the first is from the start on */
	c = (struct create_payload){.storage = 9, .kind = ATOM_DATA, .count = CREATE_ATOMS_MAX, .rows = ATOM_ROWS_MAX};
	CU_ASSERT_EQUAL(create_try(&c), ST_OK);
	c.rows = 0;
	CU_ASSERT_EQUAL(create_try(&c), ST_CORRUPT);
	c.rows = ATOM_ROWS_MAX + 1;
	CU_ASSERT_EQUAL(create_try(&c), ST_CORRUPT);
	c.rows = 1;
	c.count = CREATE_ATOMS_MAX + 1;
	CU_ASSERT_EQUAL(create_try(&c), ST_CORRUPT);
	c.count = 0;
	CU_ASSERT_EQUAL(create_try(&c), ST_CORRUPT);
	c.count = 1;
	c.kind = ATOM_SEQUENCE;
	CU_ASSERT_EQUAL(create_try(&c), ST_CORRUPT);
}

static enum status split_try(uint8_t kind, uint32_t key_len)
{
	static uint8_t key[LEAF_KEY_MAX + 1];
	struct split_payload s = {.atom = 1, .epoch = 2, .kind = kind, .owner = 3, .at_row = 4, .at_key = {key, key_len, 0}};
	enum status st;
	struct buf b;

	buf_init(&b, &account);
	split_encode(&b, &s);
	payload_take(&b);
	st = decode_split();
	CU_ASSERT(st || (split_got.atom == 1 && split_got.epoch == 2 && split_got.kind == kind && split_got.owner == 3 &&
			 split_got.at_row == 4 && slices_equal(split_got.at_key, s.at_key)));
	payload_drop();
	if (!st)
		damage(&b, decode_split);
	buf_fini(&b);
	return st;
}

/* Splits come back; kinds that are not split and keys that do not fit into the catalog are refused. */
static void test_record_split(void)
{
	for (uint8_t kind = 0; kind < ATOM_KIND_COUNT + 2; kind++) {
		bool leaf = kind == ATOM_INDEX || (kind >= ATOM_SCHEMA_CAT && kind <= ATOM_INDEX_CAT && kind != ATOM_DATA_CAT);
		uint32_t max = kind == ATOM_INDEX ? INDEX_FENCE_MAX : CATALOG_FENCE_MAX;

		CU_ASSERT_EQUAL(split_try(kind, 0), kind == ATOM_DATA ? ST_OK : ST_CORRUPT);
		CU_ASSERT_EQUAL(split_try(kind, 5), leaf ? ST_OK : ST_CORRUPT);
		CU_ASSERT_EQUAL(split_try(kind, max), leaf ? ST_OK : ST_CORRUPT);
		CU_ASSERT_EQUAL(split_try(kind, max + 1), ST_CORRUPT);
	}
}

/* Lists of atoms, reservations, intents, joins and removals come back, and are refused when cut. */
static void test_record_payloads(void)
{
	static struct atom_epoch list[RECORD_ATOMS_MAX];
	struct reserve_payload reserve = {.sequence = 5, .atom = 6, .set = true, .from = {.next = -7, .version = 8}, .to = {.next = 9}};
	struct intent_payload intent = {.relation = 5, .mode = 3};
	struct remove_payload removal = {.engine = 8, .cause = REMOVE_SILENT};
	struct join_payload join = {.nonce = 1, .voter_id = 2, .log_id = 3, .kind = ENGINE_ARCHIVE};
	struct buf b;

	for (uint32_t count = 0; count <= RECORD_ATOMS_MAX; count = count ? count * 8 : 1) {
		for (uint32_t i = 0; i < count; i++)
			list[i] = (struct atom_epoch){number(), number()};
		buf_init(&b, &account);
		atoms_encode(&b, list, count, 99);
		payload_take(&b);
		CU_ASSERT(decode_atoms() == ST_OK && atoms_got.count == count && atoms_got.target == 99);
		for (uint32_t i = 0; i < count; i++) {
			struct atom_epoch e = atoms_get(&atoms_got, i);

			CU_ASSERT(e.atom == list[i].atom && e.epoch == list[i].epoch);
		}
		payload_drop();
		if (count < 10)
			damage(&b, decode_atoms);
		buf_fini(&b);
	}
	memset(join.name, 'n', sizeof join.name - 1); /* as long as it may be */
	strcpy(join.address, "10.0.0.1:7000");
	strcpy(join.location, "rack 1");
#define TRY(name, value, same)                                                                          \
	do {                                                                                        \
		buf_init(&b, &account);                                                             \
		name##_encode(&b, &(value));                                                        \
		payload_take(&b);                                                                   \
		CU_ASSERT(decode_##name() == ST_OK && (same));                                        \
		payload_drop();                                                                     \
		damage(&b, decode_##name);                                                          \
		buf_fini(&b);                                                                       \
	} while (0)
	TRY(join, join, join_got.nonce == 1 && join_got.voter_id == 2 && join_got.log_id == 3 &&
				join_got.kind == ENGINE_ARCHIVE && !strcmp(join_got.name, join.name) &&
				!strcmp(join_got.address, join.address) && !join_got.sql_address[0] &&
				!strcmp(join_got.location, join.location));
	TRY(reserve, reserve, reserve_got.sequence == 5 && reserve_got.atom == 6 && reserve_got.set &&
				      !memcmp(&reserve_got.from, &reserve.from, sizeof reserve.from) &&
				      !memcmp(&reserve_got.to, &reserve.to, sizeof reserve.to));
	TRY(intent, intent, intent_got.relation == 5 && intent_got.mode == 3);
	TRY(remove, removal, remove_got.engine == 8 && remove_got.cause == REMOVE_SILENT);
}

/* Every kind and cause has a name; what is none has one too. */
static void test_record_names(void)
{
	for (uint8_t i = 1; i <= REC_KIND_MAX; i++) {
		CU_ASSERT(strcmp(record_kind_name(i), "unknown") != 0);
		for (uint8_t k = 1; k < i; k++)
			CU_ASSERT(strcmp(record_kind_name(i), record_kind_name(k)) != 0);
	}
	CU_ASSERT_STRING_EQUAL(record_kind_name(0), "unknown");
	CU_ASSERT_STRING_EQUAL(record_kind_name(200), "unknown");
	CU_ASSERT_STRING_EQUAL(remove_cause_name(REMOVE_LAGGING), "lagging");
	CU_ASSERT_STRING_EQUAL(remove_cause_name(200), "unknown");
}

void suite_catalog_record(void)
{
	CU_pSuite s = CU_add_suite("catalog_record", setup, teardown);

	CU_add_test(s, "batch versions", test_record_batch_versions);
	CU_add_test(s, "batch", test_record_batch);
	CU_add_test(s, "batch without payloads", test_record_batch_pruned);
	CU_add_test(s, "touches", test_record_touches);
	CU_add_test(s, "batch damage", test_record_batch_damage);
	CU_add_test(s, "damage", test_record_damage);
	CU_add_test(s, "limits", test_record_limits);
	CU_add_test(s, "operations", test_record_ops);
	CU_add_test(s, "ranges", test_record_ranges);
	CU_add_test(s, "create", test_record_create);
	CU_add_test(s, "split", test_record_split);
	CU_add_test(s, "payloads", test_record_payloads);
	CU_add_test(s, "names", test_record_names);
}
