/*
 * functions_cast.c - kernels of casts through text, between text kinds, and to and from numeric (casts.def).
 */
#include "engine/sql/functions_int.h"
#include "engine/sql/num.h"

/* -- through text ------------------------------------------------------------------------------------------------------------ */

KERNEL(io_out)
{
	struct buf b;
	enum status st = ST_OK;

	fn_buf_init(ev, &b);
	EACH_ROW(r) {
		struct cell c = arg_cell(args, 0, r);
		uint8_t *p;

		buf_reset(&b);
		value_out((struct sql_type){fn->args[0], -1}, &c, &b);
		p = fn_room(ev, b.size);
		if (!p) {
			st = fn_failed(ev);
			break;
		}
		if (b.size)
			memcpy(p, b.data, b.size);
		out->var[r] = (struct slice){p, (uint32_t)b.size, 0};
	}
	buf_fini(&b);
	return st;
}

KERNEL(io_in)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r);
		struct cell c;
		enum status st = value_in((struct sql_type){fn->result, -1}, (const char *)s->p, s->bytes, ev->arena, &c,
					  ev->err);

		if (st != ST_OK)
			return st;
		vec_set(out, r, &c);
	}
	return ST_OK;
}

KERNEL(bool_to_text)
{
	static const struct slice words[] = {{(const uint8_t *)"false", 5, 0}, {(const uint8_t *)"true", 4, 0}};

	EACH_ROW(r)
		out->var[r] = words[ARG(0, b, r) != 0];
	return ST_OK;
}

/* what pads char(n) is no part of its text */
KERNEL(bpchar_to_text)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r);

		out->var[r] = (struct slice){s->p, bpchar_bytes(s->p, s->bytes), 0};
	}
	return ST_OK;
}

static uint32_t name_bytes(const struct slice *s)
{
	uint32_t keep = s->bytes;

	if (keep > 63)
		for (keep = 63; keep && (s->p[keep] & 0xc0) == 0x80; keep--)
			;
	return keep;
}

KERNEL(text_to_name)
{
	EACH_ROW(r)
		out->var[r] = (struct slice){ARG(0, var, r).p, name_bytes(&ARG(0, var, r)), 0};
	return ST_OK;
}

KERNEL(bpchar_to_name)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r);

		out->var[r] = (struct slice){s->p, bpchar_bytes(s->p, name_bytes(s)), 0};
	}
	return ST_OK;
}

KERNEL(text_to_char1)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r);

		out->var[r] = (struct slice){s->p, s->bytes ? 1 : 0, 0};
	}
	return ST_OK;
}

KERNEL(char_to_i32)
{
	EACH_ROW(r)
		out->i32[r] = ARG(0, var, r).bytes ? (int8_t)ARG(0, var, r).p[0] : 0;
	return ST_OK;
}

KERNEL(i32_to_char)
{
	EACH_ROW(r) {
		int32_t v = ARG(0, i32, r);
		int8_t byte = (int8_t)v;

		if (v < -128 || v > 127)
			return error_set(ev->err, ST_NUMERIC_RANGE, "\"char\" out of range");
		out->var[r] = (struct slice){arena_dup(ev->arena, &byte, 1), v ? 1 : 0, 0};
	}
	return ST_OK;
}

/* -- numeric ------------------------------------------------------------------------------------------------------------------- */

static void put_num(struct eval *ev, const struct num *n, struct slice *res)
{
	struct cell c;

	num_store(n, ev->arena, &c);
	*res = (struct slice){c.var, c.bytes, 0};
}

#define INT_TO_NUM(name, f)                                       \
	KERNEL(name)                                              \
	{                                                         \
		EACH_ROW(r) {                                     \
			struct num v;                             \
                                                                  \
			num_from_i64(&v, ARG(0, f, r));           \
			put_num(ev, &v, &out->var[r]);            \
		}                                                 \
		return ST_OK;                                     \
	}
INT_TO_NUM(i16_to_num, i16)
INT_TO_NUM(i32_to_num, i32)
INT_TO_NUM(i64_to_num, i64)

#define FLOAT_TO_NUM(name, digits)                                             \
	KERNEL(name)                                                           \
	{                                                                      \
		EACH_ROW(r) {                                                  \
			struct num v;                                          \
                                                                               \
			num_from_f64(&v, ARG(0, f64, r), digits, ev->arena);   \
			put_num(ev, &v, &out->var[r]);                         \
		}                                                              \
		return ST_OK;                                                  \
	}
FLOAT_TO_NUM(f64_to_num, 15)
FLOAT_TO_NUM(f32_to_num, 6)

#define NUM_TO_INT(name, f, T, MIN, MAX, type_name)                                              \
	KERNEL(name)                                                                             \
	{                                                                                        \
		EACH_ROW(r) {                                                                    \
			struct num v;                                                            \
			int64_t i;                                                               \
			enum status st;                                                          \
                                                                                                 \
			num_load(&v, ARG(0, var, r).p, ARG(0, var, r).bytes);                    \
			st = num_to_int(&v, MIN, MAX, type_name, &i, ev->err);                   \
			if (st != ST_OK)                                                         \
				return st;                                                       \
			out->f[r] = (T)i;                                                        \
		}                                                                                \
		return ST_OK;                                                                    \
	}
NUM_TO_INT(num_to_i16, i16, int16_t, INT16_MIN, INT16_MAX, "smallint")
NUM_TO_INT(num_to_i32, i32, int32_t, INT32_MIN, INT32_MAX, "integer")
NUM_TO_INT(num_to_i64, i64, int64_t, INT64_MIN, INT64_MAX, "bigint")

static enum status num_as_float(struct eval *ev, const struct slice *s, bool single, double *out)
{
	struct num v;
	double d;
	struct buf text;

	num_load(&v, s->p, s->bytes);
	d = num_to_f64(&v);
	if (single)
		d = (double)(float)d;
	if (!num_special(&v) && (__builtin_isinf(d) || (d == 0 && v.digit_count))) {
		enum status st;

		fn_buf_init(ev, &text);
		num_text(&v, &text);
		st = error_set(ev->err, ST_NUMERIC_RANGE, "\"%.*s\" is out of range for type %s", (int)text.size,
			       (const char *)text.data, single ? "real" : "double precision");
		buf_fini(&text);
		return st;
	}
	*out = d;
	return ST_OK;
}

KERNEL(num_to_f64)
{
	EACH_ROW(r) {
		enum status st = num_as_float(ev, &ARG(0, var, r), false, &out->f64[r]);

		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

KERNEL(num_to_f32)
{
	EACH_ROW(r) {
		enum status st = num_as_float(ev, &ARG(0, var, r), true, &out->f64[r]);

		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}
