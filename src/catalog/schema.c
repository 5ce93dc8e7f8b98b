/*
 * schema.c - definitions of relations to and from the bytes in the schema catalog's leaves (catalog).
 *
 * One definition is a version byte and its fields in order: varints, strings with their length, flags in
 * one byte. What follows from another field is not written (a column's number is its place, an index's
 * table is the table around it), so equal definitions have one encoding (rule 2). Decoding trusts
 * nothing: a leaf may come from another engine or from a disk.
 */
#include "catalog/schema.h"

#include <string.h>

#include "base/assert.h"

#define TABLE_FORMAT 2
#define SEQUENCE_FORMAT 1

/* The least bytes that one of them takes: what bounds a count before anything is allocated for it. */
#define INDEX_MIN_BYTES 6
#define CHECK_MIN_BYTES 2

enum { COLUMN_NOT_NULL = 1, COLUMN_DROPPED = 2, COLUMN_DEFAULT = 4, COLUMN_MISSING = 8,
       COLUMN_IDENTITY = 16, COLUMN_ALWAYS = 32, COLUMN_FLAGS = 63 };
enum { INDEX_UNIQUE = 1, INDEX_PRIMARY = 2, INDEX_CONSTRAINT = 4, INDEX_FLAGS = 7 };
enum { KEY_DESC = 1, KEY_NULLS_FIRST = 2, KEY_FLAGS = 3 };
enum { CELL_NULL = 0x80 }; /* beside the physical class */

static void text_encode(struct buf *out, const char *s)
{
	put_str(out, s ? s : "");
}

/* A string of at most max bytes without a NUL inside, copied; NULL and r->bad otherwise. */
static const char *text_decode(struct reader *r, size_t max, struct arena *arena)
{
	size_t bytes;
	const uint8_t *p = get_bytes(r, &bytes);

	if (!reader_ok(r) || bytes > max || (bytes > 0 && memchr(p, 0, bytes))) {
		r->bad = true;
		return NULL;
	}
	return arena_strndup(arena, (const char *)p, bytes);
}

static const char *name_decode(struct reader *r, struct arena *arena)
{
	return text_decode(r, SCHEMA_NAME_MAX, arena);
}

/* A varint that is at most max. */
static uint64_t bounded(struct reader *r, uint64_t max)
{
	uint64_t v = get_varint(r);

	if (v > max)
		r->bad = true;
	return r->bad ? 0 : v;
}

/* Flags of which no other bit than those of known may be set. */
static uint8_t flags_decode(struct reader *r, uint8_t known)
{
	uint8_t v = get_u8(r);

	if (v & ~known)
		r->bad = true;
	return r->bad ? 0 : v;
}

/* How many of something that takes at least min_bytes each; never more than the rest can hold. */
static uint16_t count_decode(struct reader *r, size_t min_bytes)
{
	uint64_t n = bounded(r, UINT16_MAX);

	if (n > reader_left(r) / min_bytes)
		r->bad = true;
	return r->bad ? 0 : (uint16_t)n;
}

static void cell_encode(const struct cell *c, struct buf *out)
{
	ASSERT_OP(c->phys, <, PHYS_COUNT);
	put_u8(out, (uint8_t)(c->phys | (c->null ? CELL_NULL : 0)));
	if (c->null)
		return;
	switch ((enum phys)c->phys) {
	case PHYS_BOOL:
		put_u8(out, c->i != 0);
		break;
	case PHYS_I16:
	case PHYS_I32:
	case PHYS_I64:
		put_u64(out, (uint64_t)c->i);
		break;
	case PHYS_F64:
		buf_put(out, &c->f, sizeof c->f);
		break;
	case PHYS_I128:
		buf_put(out, &c->x, sizeof c->x);
		break;
	case PHYS_VAR:
		put_bytes(out, c->var, c->bytes);
		break;
	case PHYS_NONE:
	case PHYS_COUNT:
		ASSERT(!"a value has a class");
	}
}

static int64_t int_decode(struct reader *r, int64_t min, int64_t max)
{
	int64_t v = (int64_t)get_u64(r);

	if (v < min || v > max)
		r->bad = true;
	return v;
}

static void var_decode(struct reader *r, struct cell *c, struct arena *arena)
{
	size_t bytes;
	const uint8_t *p = get_bytes(r, &bytes);

	if (bytes > UINT32_MAX)
		r->bad = true;
	if (!reader_ok(r))
		return;
	c->bytes = (uint32_t)bytes;
	c->var = arena_dup(arena, p, bytes);
}

static void cell_decode(struct reader *r, struct cell *c, struct arena *arena)
{
	uint8_t tag = get_u8(r);
	const uint8_t *p;

	c->phys = tag & 0x7f;
	c->null = tag & CELL_NULL;
	if (c->phys >= PHYS_COUNT)
		r->bad = true;
	if (!reader_ok(r) || c->null)
		return;
	switch ((enum phys)c->phys) {
	case PHYS_BOOL:
		c->i = flags_decode(r, 1);
		break;
	case PHYS_I16:
		c->i = int_decode(r, INT16_MIN, INT16_MAX);
		break;
	case PHYS_I32:
		c->i = int_decode(r, INT32_MIN, INT32_MAX);
		break;
	case PHYS_I64:
		c->i = (int64_t)get_u64(r);
		break;
	case PHYS_F64:
		if ((p = get_raw(r, sizeof c->f)))
			memcpy(&c->f, p, sizeof c->f);
		break;
	case PHYS_I128:
		if ((p = get_raw(r, sizeof c->x)))
			memcpy(&c->x, p, sizeof c->x);
		break;
	case PHYS_VAR:
		var_decode(r, c, arena);
		break;
	case PHYS_NONE:
	case PHYS_COUNT:
		r->bad = true;
	}
}

static void column_encode(const struct column_def *c, struct buf *out)
{
	put_u8(out, (uint8_t)((c->not_null ? COLUMN_NOT_NULL : 0) | (c->dropped ? COLUMN_DROPPED : 0) |
			      (c->default_sql ? COLUMN_DEFAULT : 0) | (c->has_missing ? COLUMN_MISSING : 0) |
			      (c->identity ? COLUMN_IDENTITY : 0) | (c->identity == IDENTITY_ALWAYS ? COLUMN_ALWAYS : 0)));
	put_u8(out, c->phys);
	put_varint(out, c->type_oid);
	put_u32(out, (uint32_t)c->typmod);
	text_encode(out, c->name);
	if (c->default_sql)
		text_encode(out, c->default_sql);
	if (c->has_missing)
		cell_encode(&c->missing, out);
}

static void column_decode(struct reader *r, uint16_t attno, struct column_def *c, struct arena *arena)
{
	uint8_t flags = flags_decode(r, COLUMN_FLAGS);

	c->attno = attno;
	c->not_null = flags & COLUMN_NOT_NULL;
	c->dropped = flags & COLUMN_DROPPED;
	c->has_missing = flags & COLUMN_MISSING;
	c->identity = !(flags & COLUMN_IDENTITY) ? IDENTITY_NONE : flags & COLUMN_ALWAYS ? IDENTITY_ALWAYS : IDENTITY_BY_DEFAULT;
	if ((flags & COLUMN_ALWAYS) && !(flags & COLUMN_IDENTITY))
		r->bad = true; /* one encoding for one definition */
	c->phys = get_u8(r);
	if (c->phys >= PHYS_COUNT)
		r->bad = true;
	c->type_oid = (uint32_t)bounded(r, UINT32_MAX);
	c->typmod = (int32_t)get_u32(r);
	c->name = name_decode(r, arena);
	if (flags & COLUMN_DEFAULT)
		c->default_sql = text_decode(r, SIZE_MAX, arena);
	if (flags & COLUMN_MISSING) {
		cell_decode(r, &c->missing, arena);
		c->missing.attno = attno;
	}
}

static void index_encode(const struct index_def *ix, struct buf *out)
{
	ASSERT_OP(ix->column_count, <=, SCHEMA_INDEX_COLUMNS_MAX);
	put_varint(out, ix->id);
	put_varint(out, ix->storage);
	put_varint(out, ix->built);
	text_encode(out, ix->name);
	put_u8(out, (uint8_t)((ix->unique ? INDEX_UNIQUE : 0) | (ix->primary ? INDEX_PRIMARY : 0) |
			      (ix->constraint ? INDEX_CONSTRAINT : 0)));
	put_varint(out, ix->column_count);
	for (uint16_t i = 0; i < ix->column_count; i++) {
		put_varint(out, ix->attnos[i]);
		put_u8(out, (uint8_t)((ix->desc[i] ? KEY_DESC : 0) | (ix->nulls_first[i] ? KEY_NULLS_FIRST : 0)));
	}
}

static void index_decode(struct reader *r, const struct table_def *t, struct index_def *ix, struct arena *arena)
{
	uint8_t flags;

	ix->table = t->id;
	ix->id = get_varint(r);
	ix->storage = get_varint(r);
	ix->built = get_varint(r);
	ix->name = name_decode(r, arena);
	flags = flags_decode(r, INDEX_FLAGS);
	ix->unique = flags & INDEX_UNIQUE;
	ix->primary = flags & INDEX_PRIMARY;
	ix->constraint = flags & INDEX_CONSTRAINT;
	ix->column_count = (uint16_t)bounded(r, SCHEMA_INDEX_COLUMNS_MAX);
	for (uint16_t i = 0; i < ix->column_count && reader_ok(r); i++) {
		ix->attnos[i] = (uint16_t)bounded(r, t->column_count);
		if (ix->attnos[i] == 0)
			r->bad = true;
		flags = flags_decode(r, KEY_FLAGS);
		ix->desc[i] = flags & KEY_DESC;
		ix->nulls_first[i] = flags & KEY_NULLS_FIRST;
	}
}

void schema_table_encode(const struct table_def *t, struct buf *out)
{
	ASSERT_OP(t->column_count, <=, SCHEMA_COLUMNS_MAX);
	put_u8(out, TABLE_FORMAT);
	put_varint(out, t->id);
	put_varint(out, t->storage);
	put_varint(out, t->version);
	text_encode(out, t->schema);
	text_encode(out, t->name);
	text_encode(out, t->options);
	put_varint(out, t->column_count);
	for (uint16_t i = 0; i < t->column_count; i++) {
		ASSERT_OP(t->columns[i].attno, ==, i + 1);
		column_encode(&t->columns[i], out);
	}
	put_varint(out, t->index_count);
	for (uint16_t i = 0; i < t->index_count; i++)
		index_encode(&t->indexes[i], out);
	put_varint(out, t->check_count);
	for (uint16_t i = 0; i < t->check_count; i++) {
		text_encode(out, t->checks[i].name);
		text_encode(out, t->checks[i].expr_sql);
	}
}

static void table_parts_decode(struct reader *r, struct table_def *t, struct arena *arena)
{
	t->column_count = (uint16_t)bounded(r, SCHEMA_COLUMNS_MAX);
	t->columns = ARENA_NEW_N(arena, struct column_def, t->column_count);
	for (uint16_t i = 0; i < t->column_count && reader_ok(r); i++)
		column_decode(r, (uint16_t)(i + 1), &t->columns[i], arena);
	t->index_count = count_decode(r, INDEX_MIN_BYTES);
	t->indexes = ARENA_NEW_N(arena, struct index_def, t->index_count);
	for (uint16_t i = 0; i < t->index_count && reader_ok(r); i++)
		index_decode(r, t, &t->indexes[i], arena);
	t->check_count = count_decode(r, CHECK_MIN_BYTES);
	t->checks = ARENA_NEW_N(arena, struct check_def, t->check_count);
	for (uint16_t i = 0; i < t->check_count && reader_ok(r); i++) {
		t->checks[i].name = name_decode(r, arena);
		t->checks[i].expr_sql = text_decode(r, SIZE_MAX, arena);
	}
}

enum status schema_table_decode(const void *data, size_t bytes, struct arena *arena, struct table_def **out)
{
	struct reader r = reader_init(data, bytes);
	struct table_def *t;

	if (get_u8(&r) != TABLE_FORMAT)
		return ST_CORRUPT;
	t = ARENA_NEW(arena, struct table_def);
	t->id = get_varint(&r);
	t->storage = get_varint(&r);
	t->version = get_varint(&r);
	t->schema = name_decode(&r, arena);
	t->name = name_decode(&r, arena);
	t->options = text_decode(&r, SIZE_MAX, arena);
	if (reader_ok(&r))
		table_parts_decode(&r, t, arena);
	if (!reader_ok(&r) || reader_left(&r) > 0)
		return ST_CORRUPT;
	*out = t;
	return ST_OK;
}

void schema_sequence_encode(const struct sequence_def *s, struct buf *out)
{
	put_u8(out, SEQUENCE_FORMAT);
	put_varint(out, s->id);
	put_varint(out, s->version);
	text_encode(out, s->schema);
	text_encode(out, s->name);
	put_varint(out, s->type_oid);
	put_u64(out, (uint64_t)s->start);
	put_u64(out, (uint64_t)s->increment);
	put_u64(out, (uint64_t)s->min);
	put_u64(out, (uint64_t)s->max);
	put_u64(out, (uint64_t)s->cache);
	put_u8(out, s->cycle);
	put_varint(out, s->owned_by_table);
	put_varint(out, s->owned_by_attno);
}

enum status schema_sequence_decode(const void *data, size_t bytes, struct arena *arena, struct sequence_def **out)
{
	struct reader r = reader_init(data, bytes);
	struct sequence_def *s;

	if (get_u8(&r) != SEQUENCE_FORMAT)
		return ST_CORRUPT;
	s = ARENA_NEW(arena, struct sequence_def);
	s->id = get_varint(&r);
	s->version = get_varint(&r);
	s->schema = name_decode(&r, arena);
	s->name = name_decode(&r, arena);
	s->type_oid = (uint32_t)bounded(&r, UINT32_MAX);
	s->start = (int64_t)get_u64(&r);
	s->increment = (int64_t)get_u64(&r);
	s->min = (int64_t)get_u64(&r);
	s->max = (int64_t)get_u64(&r);
	s->cache = (int64_t)get_u64(&r);
	s->cycle = flags_decode(&r, 1);
	s->owned_by_table = get_varint(&r);
	s->owned_by_attno = (uint16_t)bounded(&r, SCHEMA_COLUMNS_MAX);
	if (!reader_ok(&r) || reader_left(&r) > 0)
		return ST_CORRUPT;
	*out = s;
	return ST_OK;
}

static const char *text_copy(const char *s, struct arena *arena)
{
	return s ? arena_strdup(arena, s) : NULL;
}

struct table_def *schema_table_copy(const struct table_def *t, struct arena *arena)
{
	struct table_def *c = ARENA_NEW(arena, struct table_def);

	*c = *t;
	c->schema = text_copy(t->schema, arena);
	c->name = text_copy(t->name, arena);
	c->options = text_copy(t->options, arena);
	c->columns = ARENA_NEW_N(arena, struct column_def, t->column_count);
	for (uint16_t i = 0; i < t->column_count; i++) {
		const struct column_def *from = &t->columns[i];
		struct column_def *to = &c->columns[i];

		*to = *from;
		to->name = text_copy(from->name, arena);
		to->default_sql = text_copy(from->default_sql, arena);
		if (from->has_missing && !from->missing.null && from->missing.phys == PHYS_VAR)
			to->missing.var = arena_dup(arena, from->missing.var, from->missing.bytes);
	}
	c->indexes = ARENA_NEW_N(arena, struct index_def, t->index_count);
	for (uint16_t i = 0; i < t->index_count; i++) {
		c->indexes[i] = t->indexes[i];
		c->indexes[i].name = text_copy(t->indexes[i].name, arena);
	}
	c->checks = ARENA_NEW_N(arena, struct check_def, t->check_count);
	for (uint16_t i = 0; i < t->check_count; i++) {
		c->checks[i].name = text_copy(t->checks[i].name, arena);
		c->checks[i].expr_sql = text_copy(t->checks[i].expr_sql, arena);
	}
	return c;
}
