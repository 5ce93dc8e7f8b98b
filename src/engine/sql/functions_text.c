/*
 * functions_text.c - kernels of text functions: lengths, parts, search, padding, case (functions.def).
 *
 * Results that are a part of their argument lend from it; all others are written to the arena.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* memmem */
#endif
#include "engine/sql/functions_int.h"

static inline struct slice part(const struct slice *s, size_t from, size_t bytes)
{
	return (struct slice){s->p + from, (uint32_t)bytes, 0};
}

static bool is_ascii(const struct slice *s)
{
	uint8_t all = 0;

	for (uint32_t i = 0; i < s->bytes; i++)
		all |= s->p[i];
	return all < 0x80;
}

/* -- lengths ------------------------------------------------------------------------------------------------------------ */

KERNEL(text_length)
{
	EACH_ROW(r)
		out->i32[r] = (int32_t)utf8_count(ARG(0, var, r).p, ARG(0, var, r).bytes);
	return ST_OK;
}

KERNEL(bpchar_length)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r);

		out->i32[r] = (int32_t)utf8_count(s->p, bpchar_bytes(s->p, s->bytes));
	}
	return ST_OK;
}

KERNEL(octet_length)
{
	EACH_ROW(r)
		out->i32[r] = (int32_t)ARG(0, var, r).bytes;
	return ST_OK;
}

KERNEL(bit_length)
{
	EACH_ROW(r)
		out->i32[r] = (int32_t)ARG(0, var, r).bytes * 8;
	return ST_OK;
}

/* -- joining -------------------------------------------------------------------------------------------------------------- */

KERNEL(text_cat)
{
	EACH_ROW(r) {
		const struct slice *a = &ARG(0, var, r), *b = &ARG(1, var, r);
		uint8_t *p = fn_room(ev, (size_t)a->bytes + b->bytes);

		if (!p)
			return fn_failed(ev);
		if (a->bytes)
			memcpy(p, a->p, a->bytes);
		if (b->bytes)
			memcpy(p + a->bytes, b->p, b->bytes);
		out->var[r] = (struct slice){p, a->bytes + b->bytes, 0};
	}
	return ST_OK;
}

/* text || any, any || text */
KERNEL(text_any_cat)
{
	EACH_ROW(r) {
		struct buf b;
		enum status st;

		fn_buf_init(ev, &b);
		for (uint32_t a = 0; a < 2; a++) {
			struct cell c = arg_cell(args, a, r);

			/* as the cast to text has it, which for a boolean is not its output form */
			if (fn_arg_type(ev, fn, a) == T_BOOL)
				buf_put(&b, c.i ? "true" : "false", c.i ? 4 : 5);
			else
				fn_value_text(fn_arg_type(ev, fn, a), &c, &b);
		}
		st = fn_buf_take(ev, &b, &out->var[r]);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

KERNEL(concat)
{
	EVERY_ROW(r) {
		struct buf b;
		enum status st;

		fn_buf_init(ev, &b);
		for (uint32_t a = 0; a < arg_count; a++) {
			struct cell c = arg_cell(args, a, r);

			if (!c.null)
				fn_value_text(fn_arg_type(ev, fn, a), &c, &b);
		}
		st = fn_buf_take(ev, &b, &out->var[r]);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

KERNEL(concat_ws)
{
	EVERY_ROW(r) {
		struct cell sep = arg_cell(args, 0, r);
		bool first = true;
		struct buf b;
		enum status st;

		if (sep.null) {
			out_null(ev, out, r);
			continue;
		}
		fn_buf_init(ev, &b);
		for (uint32_t a = 1; a < arg_count; a++) {
			struct cell c = arg_cell(args, a, r);

			if (c.null)
				continue;
			if (!first)
				buf_put(&b, sep.var, sep.bytes);
			first = false;
			fn_value_text(fn_arg_type(ev, fn, a), &c, &b);
		}
		st = fn_buf_take(ev, &b, &out->var[r]);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

KERNEL(repeat)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r);
		int32_t times = ARG(1, i32, r);
		size_t bytes = times > 0 ? (size_t)times * s->bytes : 0;
		uint8_t *p = fn_room(ev, bytes);

		if (!p)
			return fn_failed(ev);
		for (size_t at = 0; at < bytes; at += s->bytes)
			memcpy(p + at, s->p, s->bytes);
		out->var[r] = (struct slice){p, (uint32_t)bytes, 0};
	}
	return ST_OK;
}

/* -- parts --------------------------------------------------------------------------------------------------------------------- */

/* substring(s, from[, count]) counts from 1; what lies before the start is cut off the count */
static enum status substring(struct eval *ev, const struct vec *args, uint32_t arg_count, uint32_t r, bool bytes,
			     struct slice *res)
{
	const struct slice *s = &ARG(0, var, r);
	int64_t from = ARG(1, i32, r), to = INT64_MAX;
	size_t start, len;

	if (arg_count == 3) {
		int64_t count = ARG(2, i32, r);

		if (count < 0)
			return error_set(ev->err, ST_SUBSTRING, "negative substring length not allowed");
		to = from + count;
	}
	if (from < 1)
		from = 1;
	if (to <= from) {
		*res = part(s, 0, 0);
		return ST_OK;
	}
	if (bytes || is_ascii(s)) {
		start = (uint64_t)(from - 1) < s->bytes ? (size_t)(from - 1) : s->bytes;
		len = s->bytes - start;
		if ((uint64_t)(to - from) < len)
			len = (size_t)(to - from);
	} else {
		start = utf8_offset(s->p, s->bytes, (size_t)(from - 1));
		len = utf8_offset(s->p + start, s->bytes - start, (size_t)(to - from));
	}
	*res = part(s, start, len);
	return ST_OK;
}

KERNEL(substring)
{
	EACH_ROW(r) {
		enum status st = substring(ev, args, arg_count, r, false, &out->var[r]);

		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

KERNEL(bytea_substring)
{
	EACH_ROW(r) {
		enum status st = substring(ev, args, arg_count, r, true, &out->var[r]);

		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

/* left(s, n): a negative n means all but the last |n| characters; right likewise from the other end */
KERNEL(left)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r);
		int64_t count = ARG(1, i32, r);

		if (count < 0) {
			count += (int64_t)utf8_count(s->p, s->bytes);
			if (count < 0)
				count = 0;
		}
		out->var[r] = part(s, 0, utf8_offset(s->p, s->bytes, (size_t)count));
	}
	return ST_OK;
}

KERNEL(right)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r);
		int64_t count = ARG(1, i32, r), skip;
		size_t from;

		skip = count < 0 ? -count : (int64_t)utf8_count(s->p, s->bytes) - count;
		from = utf8_offset(s->p, s->bytes, skip < 0 ? 0 : (size_t)skip);
		out->var[r] = part(s, from, s->bytes - from);
	}
	return ST_OK;
}

static size_t place(const struct slice *s, int64_t units, bool bytes)
{
	if (units <= 0)
		return 0;
	return !bytes ? utf8_offset(s->p, s->bytes, (size_t)units) : units < s->bytes ? (size_t)units : s->bytes;
}

static enum status overlay(KERNEL_ARGS, bool bytes)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r), *by = &ARG(1, var, r);
		int64_t from = ARG(2, i32, r);
		int64_t count = arg_count == 4 ? ARG(3, i32, r) :
				bytes	       ? (int64_t)by->bytes :
						 (int64_t)utf8_count(by->p, by->bytes);
		size_t head, tail;
		uint8_t *p;

		if (from <= 0)
			return error_set(ev->err, ST_SUBSTRING, "negative substring length not allowed");
		if (from + count > INT32_MAX || from + count < INT32_MIN)
			return error_set(ev->err, ST_NUMERIC_RANGE, "integer out of range");
		head = place(s, from - 1, bytes);
		tail = place(s, from - 1 + count, bytes);
		p = fn_room(ev, head + by->bytes + s->bytes - tail);
		if (!p)
			return fn_failed(ev);
		memcpy(p, s->p, head);
		memcpy(p + head, by->p, by->bytes);
		memcpy(p + head + by->bytes, s->p + tail, s->bytes - tail);
		out->var[r] = (struct slice){p, (uint32_t)(head + by->bytes + s->bytes - tail), 0};
	}
	return ST_OK;
}

KERNEL(overlay)
{
	return overlay(KERNEL_PASS, false);
}

KERNEL(bytea_overlay)
{
	return overlay(KERNEL_PASS, true);
}

static const uint8_t *find(const uint8_t *p, size_t n, const struct slice *what)
{
	return what->bytes ? memmem(p, n, what->p, what->bytes) : p;
}

KERNEL(split_part)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r), *sep = &ARG(1, var, r);
		int64_t want = ARG(2, i32, r), count = 1;
		const uint8_t *p = s->p, *end = s->p + s->bytes, *hit;

		if (want == 0)
			return error_set(ev->err, ST_BAD_PARAMETER, "field position must not be zero");
		if (want < 0) { /* from the end: the fields are counted first */
			for (p = s->p; sep->bytes && (hit = find(p, (size_t)(end - p), sep)); p = hit + sep->bytes)
				count++;
			want += count + 1;
			p = s->p;
		}
		for (count = 1;; count++) {
			hit = sep->bytes ? find(p, (size_t)(end - p), sep) : NULL;
			if (count == want || !hit)
				break;
			p = hit + sep->bytes;
		}
		out->var[r] = (struct slice){p, 0, 0};
		if (count == want)
			out->var[r].bytes = (uint32_t)((hit ? hit : end) - p);
	}
	return ST_OK;
}

/* -- trimming -------------------------------------------------------------------------------------------------------------------- */

static bool has_char(const struct slice *set, const uint8_t *c, uint32_t len)
{
	for (const uint8_t *p = set->p, *end = p + set->bytes; p < end;) {
		uint32_t n = utf8_len_at(p, end);

		if (n == len && memcmp(p, c, n) == 0)
			return true;
		p += n;
	}
	return false;
}

static struct slice bytes_trim(const struct slice *s, const struct slice *set, bool front, bool back)
{
	const uint8_t *p = s->p, *end = s->p + s->bytes;

	while (front && p < end && set->bytes && memchr(set->p, *p, set->bytes))
		p++;
	while (back && p < end && set->bytes && memchr(set->p, end[-1], set->bytes))
		end--;
	return (struct slice){p, (uint32_t)(end - p), 0};
}

static struct slice trim(const struct slice *s, const struct slice *set, bool front, bool back)
{
	const uint8_t *p = s->p, *end = s->p + s->bytes;

	while (front && p < end) {
		uint32_t n = utf8_len_at(p, end);

		if (!has_char(set, p, n))
			break;
		p += n;
	}
	while (back && p < end) {
		const uint8_t *last = end - 1;

		while (last > p && (*last & 0xc0) == 0x80)
			last--;
		if (!has_char(set, last, (uint32_t)(end - last)))
			break;
		end = last;
	}
	return (struct slice){p, (uint32_t)(end - p), 0};
}

#define TRIM_KERNEL(name, front, back)                                                                        \
	KERNEL(name)                                                                                          \
	{                                                                                                     \
		static const struct slice space = {(const uint8_t *)" ", 1, 0};                               \
                                                                                                              \
		EACH_ROW(r)                                                                                   \
			out->var[r] = trim(&ARG(0, var, r), arg_count == 2 ? &ARG(1, var, r) : &space, front, \
					   back);                                                             \
		return ST_OK;                                                                                 \
	}
TRIM_KERNEL(btrim, true, true)
TRIM_KERNEL(ltrim, true, false)
TRIM_KERNEL(rtrim, false, true)
#define BYTES_TRIM_KERNEL(name, front, back)                                                                  \
	KERNEL(name)                                                                                          \
	{                                                                                                     \
		EACH_ROW(r)                                                                                   \
			out->var[r] = bytes_trim(&ARG(0, var, r), &ARG(1, var, r), front, back);              \
		return ST_OK;                                                                                 \
	}
BYTES_TRIM_KERNEL(bytea_btrim, true, true)
BYTES_TRIM_KERNEL(bytea_ltrim, true, false)
BYTES_TRIM_KERNEL(bytea_rtrim, false, true)

/* -- padding ----------------------------------------------------------------------------------------------------------------------- */

static enum status pad(struct eval *ev, const struct slice *s, int32_t want, const struct slice *fill, bool left,
		       struct slice *res)
{
	size_t have = utf8_count(s->p, s->bytes), missing, whole, bytes;
	size_t fill_chars = utf8_count(fill->p, fill->bytes);
	uint8_t *p, *o;

	if (want < 0)
		want = 0;
	if (have >= (size_t)want || fill_chars == 0) {
		*res = part(s, 0, utf8_offset(s->p, s->bytes, (size_t)want));
		return ST_OK;
	}
	missing = (size_t)want - have;
	whole = missing / fill_chars;
	bytes = whole * fill->bytes + utf8_offset(fill->p, fill->bytes, missing % fill_chars);
	p = fn_room(ev, bytes + s->bytes);
	if (!p)
		return fn_failed(ev);
	o = left ? p : p + s->bytes;
	for (size_t at = 0; at < bytes; at += fill->bytes)
		memcpy(o + at, fill->p, bytes - at < fill->bytes ? bytes - at : fill->bytes);
	if (s->bytes)
		memcpy(left ? p + bytes : p, s->p, s->bytes);
	*res = (struct slice){p, (uint32_t)(bytes + s->bytes), 0};
	return ST_OK;
}

#define PAD_KERNEL(name, left)                                                                                \
	KERNEL(name)                                                                                          \
	{                                                                                                     \
		static const struct slice space = {(const uint8_t *)" ", 1, 0};                               \
                                                                                                              \
		EACH_ROW(r) {                                                                                 \
			enum status st = pad(ev, &ARG(0, var, r), ARG(1, i32, r),                             \
					     arg_count == 3 ? &ARG(2, var, r) : &space, left, &out->var[r]);  \
                                                                                                              \
			if (st != ST_OK)                                                                      \
				return st;                                                                    \
		}                                                                                             \
		return ST_OK;                                                                                 \
	}
PAD_KERNEL(lpad, true)
PAD_KERNEL(rpad, false)

/* -- search and replace ---------------------------------------------------------------------------------------------------------------- */

KERNEL(strpos)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r);
		const uint8_t *hit = find(s->p, s->bytes, &ARG(1, var, r));

		out->i32[r] = hit || ARG(1, var, r).bytes == 0 ? (int32_t)utf8_count(s->p, (size_t)(hit - s->p)) + 1 : 0;
	}
	return ST_OK;
}

KERNEL(bytea_pos)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r);
		const uint8_t *hit = find(s->p, s->bytes, &ARG(1, var, r));

		out->i32[r] = hit || ARG(1, var, r).bytes == 0 ? (int32_t)(hit - s->p) + 1 : 0;
	}
	return ST_OK;
}

KERNEL(starts_with)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r), *p = &ARG(1, var, r);

		out->b[r] = p->bytes <= s->bytes && (p->bytes == 0 || memcmp(s->p, p->p, p->bytes) == 0);
	}
	return ST_OK;
}

KERNEL(replace)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r), *what = &ARG(1, var, r), *by = &ARG(2, var, r);
		const uint8_t *p = s->p, *end = s->p + s->bytes, *hit;
		struct buf b;
		enum status st;

		if (what->bytes == 0 || !find(p, s->bytes, what)) {
			out->var[r] = *s;
			continue;
		}
		fn_buf_init(ev, &b);
		while ((hit = find(p, (size_t)(end - p), what))) {
			buf_put(&b, p, (size_t)(hit - p));
			buf_put(&b, by->p, by->bytes);
			p = hit + what->bytes;
			if (b.size > VALUE_BYTES_MAX)
				break;
		}
		buf_put(&b, p, (size_t)(end - p));
		st = fn_buf_take(ev, &b, &out->var[r]);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

KERNEL(translate)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r), *from = &ARG(1, var, r), *to = &ARG(2, var, r);
		const uint8_t *p = s->p, *end = p + s->bytes;
		uint8_t *start = fn_room(ev, (size_t)s->bytes * 4), *o = start;

		if (!o)
			return fn_failed(ev);
		while (p < end) {
			uint32_t len = utf8_len_at(p, end);
			const uint8_t *f = from->p, *f_end = f + from->bytes;
			size_t at = 0;

			for (; f < f_end; at++) {
				uint32_t fn_len = utf8_len_at(f, f_end);

				if (fn_len == len && memcmp(f, p, len) == 0)
					break;
				f += fn_len;
			}
			if (f >= f_end) {
				memcpy(o, p, len);
				o += len;
			} else {
				size_t off = utf8_offset(to->p, to->bytes, at);

				if (off < to->bytes) {
					uint32_t t = utf8_len_at(to->p + off, to->p + to->bytes);

					memcpy(o, to->p + off, t);
					o += t;
				}
			}
			p += len;
		}
		out->var[r] = (struct slice){start, (uint32_t)(o - start), 0};
	}
	return ST_OK;
}

KERNEL(reverse)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r);
		uint8_t *start = fn_room(ev, s->bytes), *o;

		if (!start)
			return fn_failed(ev);
		o = start + s->bytes;
		for (const uint8_t *p = s->p, *end = p + s->bytes; p < end;) {
			uint32_t len = utf8_len_at(p, end);

			o -= len;
			memcpy(o, p, len);
			p += len;
		}
		out->var[r] = (struct slice){start, s->bytes, 0};
	}
	return ST_OK;
}

/* -- case ------------------------------------------------------------------------------------------------------------------------------- */

enum letter_case { UPPER, LOWER, INITIAL };

static enum status change_case(struct eval *ev, const struct slice *s, enum letter_case to, struct slice *res)
{
	uint8_t *start = fn_room(ev, (size_t)s->bytes * 2 + 4), *o = start; /* ı (2 bytes) may become I, ɐ 3 bytes */
	bool in_word = false;

	if (!start)
		return fn_failed(ev);
	for (const uint8_t *p = s->p, *end = p + s->bytes; p < end;) {
		uint32_t n = utf8_len_at(p, end), code = utf8_decode(p, n), changed, len;
		bool up = to == UPPER || (to == INITIAL && !in_word);

		changed = up ? case_upper(code) : case_lower(code);
		if (to == INITIAL)
			in_word = case_alnum(code);
		len = changed == code ? 0 : utf8_encode(changed, o);
		if (len == 0) {
			memcpy(o, p, n);
			len = n;
		}
		o += len;
		p += n;
	}
	*res = (struct slice){start, (uint32_t)(o - start), 0};
	return ST_OK;
}

#define CASE_KERNEL(name, to)                                                                            \
	KERNEL(name)                                                                                     \
	{                                                                                                \
		EACH_ROW(r) {                                                                            \
			enum status st = change_case(ev, &ARG(0, var, r), to, &out->var[r]);             \
                                                                                                         \
			if (st != ST_OK)                                                                 \
				return st;                                                               \
		}                                                                                        \
		return ST_OK;                                                                            \
	}
CASE_KERNEL(upper, UPPER)
CASE_KERNEL(lower, LOWER)
CASE_KERNEL(initcap, INITIAL)

/* -- characters ---------------------------------------------------------------------------------------------------------------------------- */

KERNEL(ascii)
{
	EACH_ROW(r) {
		const struct slice *s = &ARG(0, var, r);

		out->i32[r] = s->bytes ? (int32_t)utf8_decode(s->p, utf8_len_at(s->p, s->p + s->bytes)) : 0;
	}
	return ST_OK;
}

KERNEL(chr)
{
	EACH_ROW(r) {
		int32_t code = ARG(0, i32, r);
		uint8_t *p = fn_room(ev, 4);
		uint32_t len;

		if (!p)
			return fn_failed(ev);
		if (code < 0)
			return error_set(ev->err, ST_BAD_PARAMETER, "character number must be positive");
		if (code == 0)
			return error_set(ev->err, ST_PROGRAM_LIMIT, "null character not permitted");
		len = utf8_encode((uint32_t)code, p);
		if (len == 0)
			return error_set(ev->err, ST_PROGRAM_LIMIT,
					 code > 0x10ffff ? "requested character too large for encoding: %u"
							 : "requested character not valid for encoding: %u",
					 (unsigned)code);
		out->var[r] = (struct slice){p, len, 0};
	}
	return ST_OK;
}
