/*
 * functions_array.c - kernels of one-dimensional arrays (values.h).
 */
#include "base/assert.h"
#include "engine/sql/eval_int.h"

/* All elements as cells of the arena; lent from the array. */
struct elements { struct cell *cells; uint32_t count; struct array_head head; };

static enum status open_array(struct eval *ev, const struct vec *args, uint32_t a, uint32_t r, struct elements *e)
{
	const struct slice *s = &ARG(a, var, r);
	struct array_view view;

	if (!array_open(&view, s->p, s->bytes))
		return error_set(ev->err, ST_CORRUPT, "damaged array value");
	e->head = view.head;
	e->count = 0;
	e->cells = ARENA_NEW_N(ev->arena, struct cell, view.head.count + 1);
	while (array_next(&view, &e->cells[e->count]))
		e->count++;
	return ST_OK;
}

static enum status open_head(struct eval *ev, const struct vec *args, uint32_t r, struct array_head *head)
{
	struct array_view view;

	if (!array_open(&view, ARG(0, var, r).p, ARG(0, var, r).bytes))
		return error_set(ev->err, ST_CORRUPT, "damaged array value");
	*head = view.head;
	return ST_OK;
}

/* HEAD(h) is the result where the array is not empty and the dimension asked for is the first */
#define ARRAY_BOUND(name, EXPR)                                            \
	KERNEL(name)                                                       \
	{                                                                  \
		EACH_ROW(r) {                                              \
			struct array_head h;                               \
			enum status st = open_head(ev, args, r, &h);       \
                                                                           \
			if (st != ST_OK)                                   \
				return st;                                 \
			if (h.count == 0 || (arg_count == 2 && ARG(1, i32, r) != 1)) \
				out_null(ev, out, r);                      \
			else                                               \
				out->i32[r] = EXPR;                        \
		}                                                          \
		return ST_OK;                                              \
	}
ARRAY_BOUND(array_length, h.count)
ARRAY_BOUND(array_upper, h.lower + h.count - 1)
ARRAY_BOUND(array_lower, h.lower)
ARRAY_BOUND(array_ndims, 1)

KERNEL(array_cardinality)
{
	EACH_ROW(r) {
		struct array_head h;
		enum status st = open_head(ev, args, r, &h);

		if (st != ST_OK)
			return st;
		out->i32[r] = h.count;
	}
	return ST_OK;
}

KERNEL(array_subscript)
{
	EACH_ROW(r) {
		struct array_view view;
		struct cell c = {.null = true};
		int64_t want;

		if (!array_open(&view, ARG(0, var, r).p, ARG(0, var, r).bytes))
			return error_set(ev->err, ST_CORRUPT, "damaged array value");
		want = (int64_t)ARG(1, i32, r) - view.head.lower;
		if (want >= 0 && want < view.head.count)
			for (int64_t i = 0; i <= want && array_next(&view, &c); i++)
				;
		else
			c.null = true;
		out_cell(ev, out, r, &c);
	}
	return ST_OK;
}

static bool same_value(uint32_t oid, const struct cell *a, const struct cell *b) /* nulls are alike */
{
	return a->null || b->null ? a->null == b->null : value_compare(oid, a, b) == 0;
}

KERNEL(array_position)
{
	EVERY_ROW(r) {
		struct cell want = arg_cell(args, 1, r);
		struct elements e;
		enum status st;
		uint32_t i = 0;

		if (vec_null(&args[0], r)) {
			out_null(ev, out, r);
			continue;
		}
		st = open_array(ev, args, 0, r, &e);
		if (st != ST_OK)
			return st;
		while (i < e.count && !same_value(e.head.element_oid, &e.cells[i], &want))
			i++;
		if (i == e.count)
			out_null(ev, out, r);
		else
			out->i32[r] = e.head.lower + (int32_t)i;
	}
	return ST_OK;
}

static enum status build(struct eval *ev, uint32_t oid, const struct cell *cells, uint32_t count, int32_t lower,
			 struct slice *res)
{
	size_t bytes = 0;
	struct cell c;

	for (uint32_t i = 0; i < count; i++)
		bytes += 16 + cells[i].bytes;
	if (bytes > VALUE_BYTES_MAX || !value_room(ev->arena, bytes))
		return error_set(ev->err, ST_PROGRAM_LIMIT, "array size exceeds the maximum allowed");
	array_build(oid, cells, count, lower, ev->arena, &c);
	*res = (struct slice){c.var, c.bytes, 0};
	return ST_OK;
}

static uint32_t element_of(const struct fn_def *fn)
{
	return type_find(fn->result)->element_oid;
}

/* append: array first; prepend: element first. A null array counts as empty. */
static enum status extend(KERNEL_ARGS, bool append)
{
	uint32_t at = append ? 0 : 1;

	EVERY_ROW(r) {
		struct elements e = {NULL, 0, {0, 0, 1, 0}};
		struct cell *cells;
		enum status st;

		if (!vec_null(&args[at], r)) {
			st = open_array(ev, args, at, r, &e);
			if (st != ST_OK)
				return st;
		}
		cells = ARENA_NEW_N(ev->arena, struct cell, e.count + 1);
		if (e.count)
			memcpy(cells + !append, e.cells, sizeof *cells * e.count);
		cells[append ? e.count : 0] = arg_cell(args, 1 - at, r);
		st = build(ev, element_of(fn), cells, e.count + 1, e.head.lower, &out->var[r]);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

KERNEL(array_append)
{
	return extend(KERNEL_PASS, true);
}

KERNEL(array_prepend)
{
	return extend(KERNEL_PASS, false);
}

KERNEL(array_cat)
{
	EVERY_ROW(r) {
		bool na = vec_null(&args[0], r), nb = vec_null(&args[1], r);
		struct elements a, b;
		struct cell *cells;
		enum status st;

		if (na && nb) {
			out_null(ev, out, r);
			continue;
		}
		if (na || nb) {
			out->var[r] = na ? ARG(1, var, r) : ARG(0, var, r);
			continue;
		}
		st = open_array(ev, args, 0, r, &a);
		if (st == ST_OK)
			st = open_array(ev, args, 1, r, &b);
		if (st != ST_OK)
			return st;
		cells = ARENA_NEW_N(ev->arena, struct cell, a.count + b.count + 1);
		memcpy(cells, a.cells, sizeof *cells * a.count);
		memcpy(cells + a.count, b.cells, sizeof *cells * b.count);
		st = build(ev, element_of(fn), cells, a.count + b.count, a.count ? a.head.lower : b.head.lower,
			   &out->var[r]);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

KERNEL(array_remove)
{
	EVERY_ROW(r) {
		struct cell what = arg_cell(args, 1, r);
		struct elements e;
		uint32_t kept = 0;
		enum status st;

		if (vec_null(&args[0], r)) {
			out_null(ev, out, r);
			continue;
		}
		st = open_array(ev, args, 0, r, &e);
		if (st != ST_OK)
			return st;
		for (uint32_t i = 0; i < e.count; i++)
			if (!same_value(e.head.element_oid, &e.cells[i], &what))
				e.cells[kept++] = e.cells[i];
		st = build(ev, element_of(fn), e.cells, kept, e.head.lower, &out->var[r]);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

static bool has_element(const struct elements *e, const struct cell *c) /* null is in no array */
{
	for (uint32_t i = 0; i < e->count && !c->null; i++)
		if (!e->cells[i].null && value_compare(e->head.element_oid, &e->cells[i], c) == 0)
			return true;
	return false;
}

static uint32_t count_common(const struct elements *in, const struct elements *of)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < of->count; i++)
		count += has_element(in, &of->cells[i]);
	return count;
}

#define ARRAY_SETS(name, EXPR)                                             \
	KERNEL(name)                                                       \
	{                                                                  \
		EACH_ROW(r) {                                              \
			struct elements a, b;                              \
			enum status st = open_array(ev, args, 0, r, &a);   \
                                                                           \
			if (st == ST_OK)                                   \
				st = open_array(ev, args, 1, r, &b);       \
			if (st != ST_OK)                                   \
				return st;                                 \
			out->b[r] = EXPR;                                  \
		}                                                          \
		return ST_OK;                                              \
	}
ARRAY_SETS(array_contains, count_common(&a, &b) == b.count)
ARRAY_SETS(array_contained, count_common(&b, &a) == a.count)
ARRAY_SETS(array_overlap, count_common(&a, &b) > 0)

/* null_text NULL: nulls are left out */
static enum status join_elements(struct eval *ev, const struct vec *args, uint32_t r, const struct slice *null_text,
				 struct slice *res)
{
	struct elements e;
	struct slice sep = ARG(1, var, r);
	bool first = true;
	struct buf b;
	enum status st = open_array(ev, args, 0, r, &e);

	if (st != ST_OK)
		return st;
	fn_buf_init(ev, &b);
	for (uint32_t i = 0; i < e.count; i++) {
		if (e.cells[i].null && !null_text)
			continue;
		if (!first)
			buf_put(&b, sep.p, sep.bytes);
		first = false;
		if (e.cells[i].null)
			buf_put(&b, null_text->p, null_text->bytes);
		else
			fn_value_text(e.head.element_oid, &e.cells[i], &b);
	}
	return fn_buf_take(ev, &b, res);
}

KERNEL(array_to_string)
{
	EACH_ROW(r) {
		enum status st = join_elements(ev, args, r, NULL, &out->var[r]);

		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

KERNEL(array_to_string_null)
{
	EVERY_ROW(r) {
		enum status st;

		if (vec_null(&args[0], r) || vec_null(&args[1], r)) {
			out_null(ev, out, r);
			continue;
		}
		st = join_elements(ev, args, r, vec_null(&args[2], r) ? NULL : &ARG(2, var, r), &out->var[r]);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

/* Separator null: every character for itself; empty: the whole text. */
static enum status split_text(struct eval *ev, const struct slice *s, const struct slice *sep, struct slice *res)
{
	const uint8_t *p = s->p, *end = p + s->bytes, *start = p;
	struct cell *cells;
	uint32_t count = 0;

	if (!value_room(ev->arena, ((size_t)s->bytes + 1) * sizeof *cells)) /* a part for every byte, at most */
		return error_set(ev->err, ST_NOMEM, "out of memory");
	cells = ARENA_NEW_N(ev->arena, struct cell, (size_t)s->bytes + 1);
	while (p < end) {
		uint32_t skip = 0, n = utf8_len_at(p, end);

		if (!sep) {
			cells[count++] = cell_var(p, n);
			start = p += n;
			continue;
		}
		if (sep->bytes && (size_t)(end - p) >= sep->bytes && memcmp(p, sep->p, sep->bytes) == 0)
			skip = sep->bytes;
		if (skip) {
			cells[count++] = cell_var(start, (size_t)(p - start));
			start = p += skip;
		} else {
			p += n;
		}
	}
	if (s->bytes && sep)
		cells[count++] = cell_var(start, (size_t)(end - start));
	return build(ev, T_TEXT, cells, count, 1, res);
}

KERNEL(string_to_array)
{
	EVERY_ROW(r) {
		struct slice sep;
		bool no_sep = vec_null(&args[1], r);
		enum status st;

		if (vec_null(&args[0], r)) {
			out_null(ev, out, r);
			continue;
		}
		if (!no_sep)
			sep = ARG(1, var, r);
		st = split_text(ev, &ARG(0, var, r), no_sep ? NULL : &sep, &out->var[r]);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

/* -- casts of arrays: the cast of the elements, one by one ------------------------------------------------------------------ */

static enum status cast_element(struct eval *ev, const struct fn_def *cast, uint8_t phys, struct cell *c)
{
	struct vec in, res;
	struct cell copy = *c;
	enum status st;

	if (c->null || !cast)
		return ST_OK;
	eval_constant(ev, &copy, copy.phys, &in);
	st = fn_apply(ev, cast, phys, &in, 1, NULL, 1, &res);
	if (st == ST_OK)
		vec_cell(&res, 0, c);
	return st;
}

KERNEL(array_cast)
{
	uint32_t from = type_find(fn->args[0])->element_oid, to = element_of(fn);
	const struct fn_def *cast;

	if (cast_find(from, to, CAST_EXPLICIT, &cast) != ST_OK)
		UNREACHABLE();
	EACH_ROW(r) {
		struct elements e;
		enum status st = open_array(ev, args, 0, r, &e);

		for (uint32_t i = 0; st == ST_OK && i < e.count; i++)
			st = cast_element(ev, cast, type_find(to)->phys, &e.cells[i]);
		if (st == ST_OK)
			st = build(ev, to, e.cells, e.count, e.head.lower, &out->var[r]);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}
