/*
 * functions_int.h - what kernels share (functions*.c, eval*.c, resolve.c, aggregates.c only).
 */
#ifndef VALENCE_ENGINE_SQL_FUNCTIONS_INT_H
#define VALENCE_ENGINE_SQL_FUNCTIONS_INT_H

#include "base/buf.h"
#include "engine/sql/expr.h"
#include "engine/sql/values.h"

/* FNID_<name> for every line of functions.def; fn_table[FNID_x].id == FNID_x */
enum fn_id {
#define FN_ID(name) FNID_##name,
#define F(name, ...) FN_ID(name)
#define FS(name, ...) FN_ID(name)
#define FN(name, ...) FN_ID(name)
#define FV(name, ...) FN_ID(name)
#define FX(name, ...) FN_ID(name)
#define FXN(name, ...) FN_ID(name)
#define FL(name, ...) FN_ID(name)
#include "engine/sql/functions.def"
	FNID_COUNT,
	FNID_same = FNID_COUNT /* casts.def: nothing to run */
};
extern const struct fn_def fn_table[FNID_COUNT];

#define UNUSED_ARG __attribute__((unused))
#define KERNEL_ARGS                                                                                          \
	UNUSED_ARG struct eval *ev, UNUSED_ARG const struct fn_def *fn, UNUSED_ARG const struct vec *args,   \
		UNUSED_ARG uint32_t arg_count, UNUSED_ARG const uint16_t *sel, UNUSED_ARG uint32_t n,        \
		UNUSED_ARG struct vec *out
#define KERNEL(name) enum status fnk_##name(KERNEL_ARGS)
#define KERNEL_PASS ev, fn, args, arg_count, sel, n, out

/* Several functions share a kernel: it is then declared as often as it is listed. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wredundant-decls"
#define F(name, sql, result, kernel, ...) KERNEL(kernel);
#define FS(name, sql, result, kernel, ...) KERNEL(kernel);
#define FN(name, sql, volatility, result, kernel, ...) KERNEL(kernel);
#define FV(name, sql, result, kernel, ...) KERNEL(kernel);
#define FX(...)
#define FXN(...)
#define FL(...)
#include "engine/sql/functions.def"
#pragma GCC diagnostic pop
KERNEL(length_cast);

/* Runs its statement for every selected row r whose result is not already null. */
#define EACH_ROW(r)                                                                                          \
	for (uint32_t i_##r = 0, r = 0; i_##r < n && ((r = sel ? sel[i_##r] : i_##r), true); i_##r++)        \
		if (!vec_null(out, r))
/* All selected rows: for kernels that are not strict. */
#define EVERY_ROW(r) \
	for (uint32_t i_##r = 0, r = 0; i_##r < n && ((r = sel ? sel[i_##r] : i_##r), true); i_##r++)

/* Value of argument a in row r; f is the member of the vector's union. */
#define ARG(a, f, r) (args[a].f[args[a].constant ? 0 : (r)])

static inline void out_null(struct eval *ev, struct vec *out, uint32_t r)
{
	if (!out->nulls)
		out->nulls = ARENA_NEW_N(ev->arena, uint64_t, VEC_WORDS);
	bit_set(out->nulls, r);
}
static inline void out_cell(struct eval *ev, struct vec *out, uint32_t r, const struct cell *c)
{
	if (c->null)
		out_null(ev, out, r);
	else
		vec_set(out, r, c);
}
/* The argument as a cell of its own. */
static inline struct cell arg_cell(const struct vec *args, uint32_t a, uint32_t r)
{
	struct cell c;

	vec_cell(&args[a], r, &c);
	return c;
}

/* Room for a result of bytes, or NULL with 54000 / 53200 set. */
uint8_t *fn_room(struct eval *ev, size_t bytes);
static inline enum status fn_failed(const struct eval *ev) /* what fn_room has set */
{
	return ev->err ? ev->err->code : ST_NOMEM;
}
/* A temporary buffer on the arena's account; fn_buf_take copies it into the arena and frees it. */
void fn_buf_init(struct eval *ev, struct buf *b);
enum status fn_buf_take(struct eval *ev, struct buf *b, struct slice *out);
/* Any value as its text (bool as t, f). */
void fn_value_text(uint32_t oid, const struct cell *c, struct buf *out);
/* Type of argument i of the running call. */
uint32_t fn_arg_type(const struct eval *ev, const struct fn_def *fn, uint32_t i);

/* One call of fn over vectors: merges nulls, allocates out (class phys), folds constants. rows: size of the vectors. */
enum status fn_apply(struct eval *ev, const struct fn_def *fn, uint8_t phys, const struct vec *args, uint32_t arg_count,
		     const uint16_t *sel, uint32_t n, struct vec *out);

/* LIKE (like.c): pattern with \ as escape. fold: ILIKE. bytes: bytea. False in *ok: pattern ends with the escape. */
bool like_match(const uint8_t *s, size_t n, const uint8_t *pat, size_t pat_n, bool fold, bool bytes, bool *ok);
/* Lower or upper case of a character, by Unicode's simple mapping. */
uint32_t case_lower(uint32_t code);
uint32_t case_upper(uint32_t code);
bool case_alnum(uint32_t code);

/* Choosing among the callables of one name, as a call does: used for aggregates too. */
/* polymorphic: an element type of it is no exact match, its array's is */
struct fn_candidate { const uint32_t *args; uint32_t id, arg_count; bool polymorphic; };
enum status fn_choose(const char *name, const uint32_t *types, uint32_t count, const struct fn_candidate *list,
		      uint32_t list_count, uint32_t *chosen_out, struct error *err);

void regex_forget(void); /* the compiled patterns of this thread (functions_regex.c) */

int type_ordinal(uint32_t oid); /* dense number below TYPE_ORDINALS; -1 none such */
#define TYPE_ORDINALS 64

#endif
