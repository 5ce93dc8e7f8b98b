/*
 * value_wire.c - values in PostgreSQL's binary formats (types.h: value_recv, value_send).
 */
#include <math.h>

#include "engine/sql/datetime.h"
#include "engine/sql/num.h"
#include "engine/sql/num_int.h"
#include "engine/sql/values.h"

enum { WIRE_POS = 0x0000, WIRE_NEG = 0x4000, WIRE_NAN = 0xc000, WIRE_PINF = 0xd000, WIRE_NINF = 0xf000 };
static const uint16_t wire_sign[] = {WIRE_POS, WIRE_NEG, WIRE_NAN, WIRE_PINF, WIRE_NINF}; /* by enum num_kind */

static enum status bad_size(struct error *err)
{
	return error_set(err, ST_BAD_BINARY, "incorrect binary data format");
}

static enum status num_recv(struct reader *r, struct arena *arena, struct cell *out, struct error *err)
{
	uint16_t count = be_get_u16(r), sign, dscale;
	int16_t weight = (int16_t)be_get_u16(r);
	struct num n;
	num_digit *d;

	sign = be_get_u16(r);
	dscale = be_get_u16(r);
	if (!reader_ok(r) || reader_left(r) != 2 * (size_t)count)
		return bad_size(err);
	num_zero(&n);
	for (n.kind = NUM_POS; n.kind <= NUM_NINF; n.kind++)
		if (wire_sign[n.kind] == sign)
			break;
	if (n.kind > NUM_NINF)
		return error_set(err, ST_BAD_BINARY, "invalid sign in external \"numeric\" value");
	if (dscale > NUM_DSCALE_MAX)
		return error_set(err, ST_BAD_BINARY, "invalid scale in external \"numeric\" value");
	if (num_special(&n)) {
		num_store(&n, arena, out);
		return ST_OK;
	}
	d = num_room(&n, count, arena);
	for (int i = 0; i < count; i++) {
		d[i] = (num_digit)be_get_u16(r);
		if (d[i] < 0 || d[i] >= NUM_BASE)
			return error_set(err, ST_BAD_BINARY, "invalid digit in external \"numeric\" value");
	}
	n.weight = weight;
	num_strip(&n);
	num_trunc(&n, dscale, arena); /* digits that the scale hides must not stay */
	num_store(&n, arena, out);
	return ST_OK;
}

static void num_send(const struct cell *v, struct buf *out)
{
	struct num n;

	num_load(&n, v->var, v->bytes);
	be_put_u16(out, (uint16_t)n.digit_count);
	be_put_u16(out, (uint16_t)n.weight);
	be_put_u16(out, wire_sign[n.kind]);
	be_put_u16(out, (uint16_t)n.dscale);
	for (int i = 0; i < n.digit_count; i++)
		be_put_u16(out, (uint16_t)n.digits[i]);
}

static enum status array_recv(uint32_t element_oid, struct reader *r, struct arena *arena, struct cell *out,
			      struct error *err)
{
	int32_t dims = (int32_t)be_get_u32(r), count, lower;
	struct cell *cells;

	be_get_u32(r); /* has nulls: the elements say so themselves */
	if (be_get_u32(r) != element_oid && reader_ok(r))
		return error_set(err, ST_DATATYPE_MISMATCH, "wrong element type");
	if (!reader_ok(r))
		return bad_size(err);
	if (dims == 0) {
		array_build(element_oid, NULL, 0, 1, arena, out);
		return ST_OK;
	}
	if (dims != 1)
		return error_set(err, ST_UNSUPPORTED, "arrays of more than one dimension are not supported");
	count = (int32_t)be_get_u32(r);
	lower = (int32_t)be_get_u32(r);
	if (!reader_ok(r) || count < 0 || (size_t)count > reader_left(r) / 4)
		return bad_size(err);
	cells = ARENA_NEW_N(arena, struct cell, count + 1);
	for (int32_t i = 0; i < count; i++) {
		int32_t bytes = (int32_t)be_get_u32(r);
		const uint8_t *p;
		enum status st;

		if (bytes == -1) {
			cells[i].null = true;
			continue;
		}
		p = bytes < 0 ? NULL : get_raw(r, (size_t)bytes);
		if (!p)
			return bad_size(err);
		st = value_recv((struct sql_type){element_oid, -1}, p, (size_t)bytes, arena, &cells[i], err);
		if (st != ST_OK)
			return st;
	}
	array_build(element_oid, cells, (uint32_t)count, lower, arena, out);
	return ST_OK;
}

static void array_send(uint32_t element_oid, const struct cell *v, struct buf *out)
{
	struct array_view view;
	struct cell c;

	if (!array_open(&view, v->var, v->bytes))
		return;
	be_put_u32(out, view.head.count ? 1 : 0);
	be_put_u32(out, view.head.has_nulls ? 1 : 0);
	be_put_u32(out, element_oid);
	if (view.head.count == 0)
		return;
	be_put_u32(out, (uint32_t)view.head.count);
	be_put_u32(out, (uint32_t)view.head.lower);
	while (array_next(&view, &c)) {
		size_t at = out->size;
		uint32_t bytes;

		be_put_u32(out, UINT32_MAX);
		if (c.null)
			continue;
		value_send((struct sql_type){element_oid, -1}, &c, out);
		bytes = __builtin_bswap32((uint32_t)(out->size - at - 4));
		memcpy(out->data + at, &bytes, 4);
	}
}

static double get_float4(struct reader *r)
{
	uint32_t bits = be_get_u32(r);
	float f;

	memcpy(&f, &bits, sizeof f);
	return (double)f;
}

static double get_float8(struct reader *r)
{
	uint64_t bits = be_get_u64(r);
	double d;

	memcpy(&d, &bits, sizeof d);
	return d;
}

static enum status text_recv(struct sql_type t, const void *p, size_t bytes, struct arena *arena, struct cell *out,
			     struct error *err)
{
	struct cell v;

	if (!utf8_valid(p, bytes))
		return error_set(err, ST_BAD_ENCODING, "invalid byte sequence for encoding \"UTF8\"");
	if (t.oid == T_NAME && bytes > 63)
		return error_set(err, ST_NAME_TOO_LONG, "identifier too long");
	if (!value_room(arena, bytes))
		return error_set(err, ST_NOMEM, "out of memory");
	v = cell_var(arena_dup(arena, p, bytes), bytes);
	return value_fit(t, &v, false, arena, out, err);
}

static enum status timestamp_recv(struct sql_type t, struct reader *r, struct arena *arena, struct cell *out,
				  struct error *err)
{
	struct cell v = cell_int(PHYS_I64, (int64_t)be_get_u64(r));

	if (reader_ok(r) && ts_finite(v.i) && !ts_in_range(v.i))
		return error_set(err, ST_DATETIME_RANGE, "timestamp out of range");
	return value_fit(t, &v, false, arena, out, err);
}

static enum status fixed_recv(struct sql_type t, struct reader *r, struct arena *arena, struct cell *out,
			      struct error *err)
{
	struct interval iv;

	switch (t.oid) {
	case T_BOOL:
		*out = cell_int(PHYS_BOOL, get_u8(r) != 0);
		return ST_OK;
	case T_INT2:
		*out = cell_int(PHYS_I16, (int16_t)be_get_u16(r));
		return ST_OK;
	case T_INT4:
		*out = cell_int(PHYS_I32, (int32_t)be_get_u32(r));
		return ST_OK;
	case T_INT8:
		*out = cell_int(PHYS_I64, (int64_t)be_get_u64(r));
		return ST_OK;
	case T_OID:
	case T_REGCLASS:
	case T_REGTYPE:
	case T_REGPROC:
		*out = cell_int(PHYS_I64, be_get_u32(r));
		return ST_OK;
	case T_FLOAT4:
		*out = cell_f64(get_float4(r));
		return ST_OK;
	case T_FLOAT8:
		*out = cell_f64(get_float8(r));
		return ST_OK;
	case T_DATE:
		*out = cell_int(PHYS_I32, (int32_t)be_get_u32(r));
		if (reader_ok(r) && out->i != DATE_PINF && out->i != DATE_NINF &&
		    (out->i < DATE_MIN_DAYS || out->i >= DATE_END_DAYS))
			return error_set(err, ST_DATETIME_RANGE, "date out of range");
		return ST_OK;
	case T_TIME:
		*out = cell_int(PHYS_I64, (int64_t)be_get_u64(r));
		if (out->i < 0 || out->i > DT_DAY)
			return error_set(err, ST_DATETIME_RANGE, "time out of range");
		return ST_OK;
	case T_TIMESTAMP:
	case T_TIMESTAMPTZ:
		return timestamp_recv(t, r, arena, out, err);
	default: /* interval */
		iv.us = (int64_t)be_get_u64(r);
		iv.days = (int32_t)be_get_u32(r);
		iv.months = (int32_t)be_get_u32(r);
		interval_cell(iv, arena, out);
		return ST_OK;
	}
}

enum status value_recv(struct sql_type t, const void *p, size_t bytes, struct arena *arena, struct cell *out,
		       struct error *err)
{
	const struct type_info *ti = type_find(t.oid);
	struct reader r = reader_init(p, bytes);
	struct cell v;
	enum status st;

	if (!ti)
		return error_set(err, ST_UNDEFINED_OBJECT, "type with OID %u does not exist", t.oid);
	if (ti->element_oid)
		return array_recv(ti->element_oid, &r, arena, out, err);
	switch (t.oid) {
	case T_NUMERIC:
		st = num_recv(&r, arena, &v, err);
		return st == ST_OK ? value_fit(t, &v, false, arena, out, err) : st;
	case T_BYTEA:
		if (!value_room(arena, bytes))
			return error_set(err, ST_NOMEM, "out of memory");
		*out = cell_var(arena_dup(arena, p, bytes), bytes);
		return ST_OK;
	case T_CHAR1:
		if (bytes != 1)
			return bad_size(err);
		*out = cell_var(arena_dup(arena, p, *(const uint8_t *)p ? 1 : 0), *(const uint8_t *)p ? 1 : 0);
		return ST_OK;
	case T_TEXT:
	case T_VARCHAR:
	case T_BPCHAR:
	case T_NAME:
	case T_UNKNOWN:
		return text_recv(t, p, bytes, arena, out, err);
	case T_VOID:
		*out = cell_var("", 0);
		return ST_OK;
	case T_RECORD:
		return error_set(err, ST_UNSUPPORTED, "cannot accept a value of type %s", ti->name);
	default:
		st = fixed_recv(t, &r, arena, out, err);
		if (!reader_ok(&r))
			return error_set(err, ST_PROTOCOL, "insufficient data left in message");
		if (st == ST_OK && reader_left(&r))
			return bad_size(err);
		return st;
	}
}

static void float4_send(double d, struct buf *out)
{
	float f = (float)d;
	uint32_t bits;

	memcpy(&bits, &f, sizeof bits);
	be_put_u32(out, bits);
}

static void float8_send(double d, struct buf *out)
{
	uint64_t bits;

	memcpy(&bits, &d, sizeof bits);
	be_put_u64(out, bits);
}

void value_send(struct sql_type t, const struct cell *v, struct buf *out)
{
	const struct type_info *ti;
	struct interval iv;

	switch (t.oid) {
	case T_BOOL:
		put_u8(out, (uint8_t)v->i);
		break;
	case T_INT2:
		be_put_u16(out, (uint16_t)v->i);
		break;
	case T_INT4:
	case T_DATE:
	case T_OID:
	case T_REGCLASS:
	case T_REGTYPE:
	case T_REGPROC:
		be_put_u32(out, (uint32_t)v->i);
		break;
	case T_INT8:
	case T_TIME:
	case T_TIMESTAMP:
	case T_TIMESTAMPTZ:
		be_put_u64(out, (uint64_t)v->i);
		break;
	case T_FLOAT4:
		float4_send(v->f, out);
		break;
	case T_FLOAT8:
		float8_send(v->f, out);
		break;
	case T_NUMERIC:
		num_send(v, out);
		break;
	case T_INTERVAL:
		iv = interval_get(v->var);
		be_put_u64(out, (uint64_t)iv.us);
		be_put_u32(out, (uint32_t)iv.days);
		be_put_u32(out, (uint32_t)iv.months);
		break;
	case T_CHAR1:
		put_u8(out, v->bytes ? *v->var : 0);
		break;
	case T_BPCHAR:
		value_out(t, v, out);
		break;
	default:
		ti = type_find(t.oid);
		if (ti && ti->element_oid)
			array_send(ti->element_oid, v, out);
		else
			buf_put(out, v->var, v->bytes);
	}
}
