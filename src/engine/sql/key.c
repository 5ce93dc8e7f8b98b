/*
 * key.c - index keys whose bytes sort as their values (types.h, S5).
 *
 * Never change an encoding: keys are in images and records, and S4 makes every holder compare them as bytes.
 *
 *   null marker   00 null first, 01 value, 02 null last
 *   integers      big-endian, sign bit flipped; bool one byte; date, time, timestamps likewise
 *   float         big-endian IEEE bits: negative ones inverted, else the sign bit set; NaN ff×8, -0 as 0
 *   text, bytea   the bytes, 00 as 00 ff, then 00 00; char(n) without trailing spaces
 *   numeric       class (0 -inf, 1 negative, 2 zero, 3 positive, 4 inf, 5 NaN), weight, digits + 1, then 0;
 *                 for negative ones all after the class inverted. The display scale is not kept.
 *   interval      its length in microseconds (a month is 30 days) as 128 bits
 *   arrays        each element 01 and its key or 02 for null, then 00
 *
 * desc inverts every byte after the marker. Every encoding says where it ends, so columns follow each other.
 */
#include <math.h>

#include "atoms/atoms.h"
#include "engine/sql/num.h"
#include "engine/sql/values.h"

#define KEY_BYTES_MAX (LEAF_KEY_MAX - 16) /* a row id may follow, and a storage id stand before it in the catalog */

static void put_u64_key(struct buf *out, uint64_t v, unsigned bytes)
{
	uint8_t *p = buf_append(out, bytes);

	while (bytes-- > 0) {
		p[bytes] = (uint8_t)v;
		v >>= 8;
	}
}

static void put_int(struct buf *out, int64_t v, unsigned bytes)
{
	put_u64_key(out, (uint64_t)v ^ UINT64_C(1) << (bytes * 8 - 1), bytes);
}

static void put_f64(struct buf *out, double d)
{
	uint64_t bits;

	if (isnan(d)) {
		put_u64_key(out, UINT64_MAX, 8);
		return;
	}
	d += 0.0;
	memcpy(&bits, &d, sizeof bits);
	put_u64_key(out, bits >> 63 ? ~bits : bits | UINT64_C(1) << 63, 8);
}

static void put_text(struct buf *out, const uint8_t *p, uint32_t n)
{
	const uint8_t *end = p + n;

	while (p < end) {
		const uint8_t *zero = memchr(p, 0, (size_t)(end - p));

		if (!zero) {
			buf_put(out, p, (size_t)(end - p));
			break;
		}
		buf_put(out, p, (size_t)(zero - p));
		buf_put(out, "\0\377", 2);
		p = zero + 1;
	}
	buf_put(out, "\0\0", 2);
}

static void invert(struct buf *out, size_t from)
{
	for (size_t i = from; i < out->size; i++)
		out->data[i] = (uint8_t)~out->data[i];
}

static void put_num(struct buf *out, const struct cell *v)
{
	static const uint8_t special[] = {0, 0, 5, 4, 0}; /* by enum num_kind */
	struct num n;
	size_t at;

	num_load(&n, v->var, v->bytes);
	if (num_special(&n) || n.digit_count == 0) {
		put_u8(out, num_special(&n) ? special[n.kind] : 2);
		return;
	}
	put_u8(out, n.kind == NUM_NEG ? 1 : 3);
	at = out->size;
	put_int(out, n.weight, 4);
	for (int i = 0; i < n.digit_count && out->size - at <= LEAF_KEY_MAX; i++)
		put_u64_key(out, (uint64_t)n.digits[i] + 1, 2);
	put_u64_key(out, 0, 2);
	if (n.kind == NUM_NEG)
		invert(out, at);
}

static void put_span(struct buf *out, i128 span)
{
	put_u64_key(out, (uint64_t)(span >> 64) ^ UINT64_C(1) << 63, 8);
	put_u64_key(out, (uint64_t)span, 8);
}

static void put_value(uint32_t oid, const struct cell *v, struct buf *out);

static void put_array(const struct cell *v, struct buf *out)
{
	struct array_view view;
	struct cell c;

	if (array_open(&view, v->var, v->bytes)) {
		while (array_next(&view, &c) && out->size <= 2 * LEAF_KEY_MAX) {
			put_u8(out, c.null ? 2 : 1);
			if (!c.null)
				put_value(view.head.element_oid, &c, out);
		}
	}
	put_u8(out, 0);
}

static void put_var(uint32_t oid, const struct cell *v, struct buf *out)
{
	const struct type_info *ti = type_find(oid);

	if (oid == T_NUMERIC)
		put_num(out, v);
	else if (oid == T_INTERVAL)
		put_span(out, interval_span(interval_get(v->var)));
	else if (oid == T_BPCHAR)
		put_text(out, v->var, bpchar_bytes(v->var, v->bytes));
	else if (ti && ti->element_oid)
		put_array(v, out);
	else
		put_text(out, v->var, v->bytes);
}

static void put_value(uint32_t oid, const struct cell *v, struct buf *out)
{
	switch ((enum phys)v->phys) {
	case PHYS_BOOL:
		put_u8(out, (uint8_t)v->i);
		break;
	case PHYS_I16:
		put_int(out, v->i, 2);
		break;
	case PHYS_I32:
		put_int(out, v->i, 4);
		break;
	case PHYS_I64:
		put_int(out, v->i, 8);
		break;
	case PHYS_F64:
		put_f64(out, v->f);
		break;
	case PHYS_I128:
		put_span(out, v->x);
		break;
	case PHYS_VAR:
		put_var(oid, v, out);
		break;
	case PHYS_NONE:
	case PHYS_COUNT:
		break;
	}
}

enum status key_append(struct sql_type t, const struct cell *v, bool desc, bool nulls_first, struct buf *out,
		       struct error *err)
{
	size_t at;

	put_u8(out, !v->null ? 1 : nulls_first ? 0 : 2);
	at = out->size;
	if (!v->null) {
		/* a value that is itself too long need not be copied first */
		if (v->phys == PHYS_VAR && v->bytes > 4 * LEAF_KEY_MAX && t.oid != T_BPCHAR)
			return error_set(err, ST_PROGRAM_LIMIT, "index row size %u exceeds maximum %d", v->bytes,
					 KEY_BYTES_MAX);
		put_value(t.oid, v, out);
	}
	if (desc)
		invert(out, at);
	if (out->size > KEY_BYTES_MAX)
		return error_set(err, ST_PROGRAM_LIMIT, "index row size %zu exceeds maximum %d", out->size,
				 KEY_BYTES_MAX);
	return ST_OK;
}

bool key_successor(struct buf *key)
{
	while (key->size && key->data[key->size - 1] == 0xff)
		key->size--;
	if (key->size == 0)
		return false;
	key->data[key->size - 1]++;
	return true;
}
