/*
 * rows.c - vectors of a result to DataRow messages, and RowDescription (engine/pgwire).
 *
 * How a column is written is decided once a vector; a row is then one reservation for its fixed parts and one for
 * each long value. Integers and text, in both formats, need nothing of value_out() and value_send().
 */
#include "base/assert.h"
#include "engine/pgwire/pgwire_int.h"

/* Ways to write a value. FIXED_MAX bytes are enough for any but VAR and ANY, its length included. */
enum way { WAY_VAR, WAY_BOOL, WAY_INT_TEXT, WAY_BIN2, WAY_BIN4, WAY_BIN8, WAY_ANY };
#define FIXED_MAX 32

struct row_column {
	const struct vec *v;
	struct sql_type type;
	uint8_t way;
	bool binary;
};

static const char digit_pairs[] =
	"0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
	"5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

static bool is_binary(const struct formats *f, uint32_t i)
{
	if (!f || f->count == 0)
		return false;
	return f->at[f->count == 1 || i >= f->count ? 0 : i] == 1;
}

static uint8_t way_binary(uint32_t oid, uint8_t phys)
{
	switch (oid) {
	case T_INT2:
		return phys == PHYS_I16 ? WAY_BIN2 : WAY_ANY;
	case T_INT4:
	case T_DATE:
		return phys == PHYS_I32 ? WAY_BIN4 : WAY_ANY;
	case T_INT8:
	case T_TIMESTAMP:
	case T_TIMESTAMPTZ:
		return phys == PHYS_I64 ? WAY_BIN8 : WAY_ANY;
	case T_TEXT:
	case T_VARCHAR:
	case T_NAME:
	case T_BYTEA:
		return phys == PHYS_VAR ? WAY_VAR : WAY_ANY;
	default:
		return WAY_ANY;
	}
}

static uint8_t way_text(uint32_t oid, uint8_t phys)
{
	switch (oid) {
	case T_BOOL:
		return phys == PHYS_BOOL ? WAY_BOOL : WAY_ANY;
	case T_INT2:
	case T_INT4:
	case T_INT8:
	case T_OID:
		return phys == PHYS_I16 || phys == PHYS_I32 || phys == PHYS_I64 ? WAY_INT_TEXT : WAY_ANY;
	case T_TEXT:
	case T_VARCHAR:
	case T_NAME:
		return phys == PHYS_VAR ? WAY_VAR : WAY_ANY;
	default:
		return WAY_ANY;
	}
}

static inline uint8_t *put32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, sizeof v);
	return p + sizeof v;
}

static inline uint8_t *put_decimal(uint8_t *p, int64_t v)
{
	uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v;
	char text[20], *at = text + sizeof text;
	size_t n;

	while (u >= 100) {
		at -= 2;
		memcpy(at, digit_pairs + u % 100 * 2, 2);
		u /= 100;
	}
	if (u >= 10) {
		at -= 2;
		memcpy(at, digit_pairs + u * 2, 2);
	} else {
		*--at = (char)('0' + u);
	}
	n = (size_t)(text + sizeof text - at);
	p = put32(p, (uint32_t)n + (v < 0));
	if (v < 0)
		*p++ = '-';
	memcpy(p, at, n);
	return p + n;
}

static inline int64_t int_at(const struct vec *v, uint32_t at)
{
	switch (v->phys) {
	case PHYS_I16:
		return v->i16[at];
	case PHYS_I32:
		return v->i32[at];
	default:
		return v->i64[at];
	}
}

/* A value of the ways that have a bounded size, at p, which has room. */
static inline uint8_t *put_fixed(const struct row_column *col, uint32_t at, uint8_t *p)
{
	uint64_t v64;
	uint16_t v16;

	switch (col->way) {
	case WAY_BOOL:
		p = put32(p, 1);
		*p++ = col->v->b[at] ? 't' : 'f';
		return p;
	case WAY_INT_TEXT:
		return put_decimal(p, int_at(col->v, at));
	case WAY_BIN2:
		p = put32(p, 2);
		v16 = __builtin_bswap16((uint16_t)col->v->i16[at]);
		memcpy(p, &v16, sizeof v16);
		return p + 2;
	case WAY_BIN4:
		return put32(put32(p, 4), (uint32_t)col->v->i32[at]);
	default:
		p = put32(p, 8);
		v64 = __builtin_bswap64((uint64_t)col->v->i64[at]);
		memcpy(p, &v64, sizeof v64);
		return p + 8;
	}
}

static void put_any(const struct row_column *col, uint32_t row, struct buf *out)
{
	size_t at = out->size;
	struct cell v;

	buf_append(out, 4);
	vec_cell(col->v, row, &v);
	if (col->binary)
		value_send(col->type, &v, out);
	else
		value_out(col->type, &v, out);
	put32(out->data + at, (uint32_t)(out->size - at - 4));
}

static void put_row(struct pg_conn *c, const struct row_column *cols, uint32_t count, uint32_t row)
{
	struct buf *out = &c->out;
	size_t start = pgw_begin(out, 'D');

	be_put_u16(out, (uint16_t)count);
	buf_reserve(out, (size_t)count * FIXED_MAX);
	for (uint32_t i = 0; i < count; i++) {
		const struct row_column *col = &cols[i];
		uint32_t at = col->v->constant ? 0 : row;

		if (vec_null(col->v, row)) {
			put32(out->data + out->size, UINT32_MAX);
			out->size += 4;
		} else if (col->way == WAY_VAR) {
			const struct slice *s = &col->v->var[at];

			put32(out->data + out->size, s->bytes);
			out->size += 4;
			buf_put(out, s->p, s->bytes);
			buf_reserve(out, (size_t)(count - i) * FIXED_MAX);
		} else if (col->way == WAY_ANY) {
			put_any(col, row, out);
			buf_reserve(out, (size_t)(count - i) * FIXED_MAX);
		} else {
			uint8_t *p = out->data + out->size;

			out->size += (size_t)(put_fixed(col, at, p) - p);
		}
	}
	if (out->size - start > MESSAGE_LIMIT_BYTES) {
		buf_truncate(out, start - 1);
		c->row_error = ST_PROGRAM_LIMIT;
		return;
	}
	pgw_end(out, start);
}

static void columns_init(struct pg_conn *c, const struct sql_shape *shape, const struct vec *columns)
{
	c->columns = pgw_scratch(c, c->columns, &c->columns_cap, shape->column_count, sizeof *c->columns);
	for (uint32_t i = 0; i < shape->column_count; i++) {
		struct row_column *col = &c->columns[i];

		col->v = &columns[i];
		col->type = shape->columns[i].type;
		col->binary = is_binary(c->formats, i);
		col->way = col->binary ? way_binary(col->type.oid, columns[i].phys)
				       : way_text(col->type.oid, columns[i].phys);
	}
}

void pgw_rows(void *ctx, const struct sql_shape *shape, const struct vec *columns, const uint16_t *sel, uint32_t n)
{
	struct pg_conn *c = ctx;

	columns_init(c, shape, columns);
	for (uint32_t i = 0; i < n && c->row_error == ST_OK; i++) {
		size_t before = c->out.cap;

		put_row(c, c->columns, shape->column_count, sel ? sel[i] : i);
		/* the buffer doubled: asked seldom, so asked every time */
		if (c->out.cap != before && c->out.cap > KEEP_BYTES && !pgw_room(&c->mem, c->out.cap))
			c->row_error = ST_NOMEM;
	}
}

void pgw_row_description(struct pg_conn *c, const struct sql_shape *shape, const struct formats *f)
{
	struct buf *out = &c->out;
	size_t at = pgw_begin(out, 'T');

	be_put_u16(out, (uint16_t)shape->column_count);
	for (uint32_t i = 0; i < shape->column_count; i++) {
		const struct sql_result_column *col = &shape->columns[i];
		const struct type_info *ti = type_find(col->type.oid);

		pgw_cstr(out, col->name);
		be_put_u32(out, (uint32_t)col->table);
		be_put_u16(out, col->attno);
		be_put_u32(out, col->type.oid);
		be_put_u16(out, (uint16_t)(ti ? ti->length : -1));
		be_put_u32(out, (uint32_t)col->type.typmod);
		be_put_u16(out, is_binary(f, i));
	}
	pgw_end(out, at);
}

void pgw_columns_free(struct pg_conn *c)
{
	mem_free(&c->mem, c->columns, c->columns_cap * sizeof *c->columns);
	c->columns = NULL;
	c->columns_cap = 0;
}
