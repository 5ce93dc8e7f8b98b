/*
 * functions.c - the table of functions, and what all kernels use.
 */
#include "base/assert.h"
#include "engine/sql/functions_int.h"

#define ARG_COUNT(...) (sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))
#define DEF(fname, sql, is_variadic, is_strict, vol, res, kern, session, ...)                          \
	[FNID_##fname] = {.name = #fname,                                                              \
			  .sql_name = sql,                                                             \
			  .id = FNID_##fname,                                                          \
			  .arg_count = ARG_COUNT(__VA_ARGS__),                                         \
			  .variadic_any = is_variadic,                                                 \
			  .strict = is_strict,                                                         \
			  .volatility = vol,                                                           \
			  .args = {__VA_ARGS__},                                                       \
			  .result = res,                                                               \
			  .kernel = kern,                                                              \
			  .sfn = session},
#define DEF_LENGTH(fname, T)                                                                           \
	[FNID_##fname] = {.name = #fname,                                                              \
			  .sql_name = "::",                                                            \
			  .id = FNID_##fname,                                                          \
			  .arg_count = 3,                                                              \
			  .strict = true,                                                              \
			  .args = {T, T_INT4, T_BOOL},                                                 \
			  .result = T,                                                                 \
			  .kernel = fnk_length_cast,                                                   \
			  .typmod = length_typmod},

static int32_t length_typmod(const struct expr *const *args, uint32_t arg_count)
{
	if (arg_count < 2 || args[1]->kind != EX_CONST || args[1]->value.null)
		return -1;
	return (int32_t)args[1]->value.i;
}

const struct fn_def fn_table[FNID_COUNT] = {
#define F(name, sql, result, kernel, ...) \
	DEF(name, sql, false, true, FN_IMMUTABLE, result, fnk_##kernel, SFN_NONE, __VA_ARGS__)
#define FS(name, sql, result, kernel, ...) \
	DEF(name, sql, false, true, FN_STABLE, result, fnk_##kernel, SFN_NONE, __VA_ARGS__)
#define FN(name, sql, volatility, result, kernel, ...) \
	DEF(name, sql, false, false, volatility, result, fnk_##kernel, SFN_NONE, __VA_ARGS__)
#define FV(name, sql, result, kernel, ...) \
	DEF(name, sql, true, false, FN_STABLE, result, fnk_##kernel, SFN_NONE, __VA_ARGS__)
#define FX(name, sql, volatility, result, sfn, ...) \
	DEF(name, sql, false, true, volatility, result, NULL, sfn, __VA_ARGS__)
#define FXN(name, sql, volatility, result, sfn, ...) \
	DEF(name, sql, false, false, volatility, result, NULL, sfn, __VA_ARGS__)
#define FL(name, T) DEF_LENGTH(name, T)
#include "engine/sql/functions.def"
};

/* -- shared by kernels ---------------------------------------------------------------------------------------------- */

uint8_t *fn_room(struct eval *ev, size_t bytes)
{
	if (bytes > VALUE_BYTES_MAX) {
		error_set(ev->err, ST_PROGRAM_LIMIT, "requested length too large");
		return NULL;
	}
	if (!value_room(ev->arena, bytes)) {
		error_set(ev->err, ST_NOMEM, "out of memory");
		return NULL;
	}
	return arena_alloc(ev->arena, bytes);
}

void fn_buf_init(struct eval *ev, struct buf *b)
{
	buf_init(b, ev->arena->mem);
}

enum status fn_buf_take(struct eval *ev, struct buf *b, struct slice *out)
{
	uint8_t *p = fn_room(ev, b->size);

	if (p) {
		if (b->size)
			memcpy(p, b->data, b->size);
		*out = (struct slice){p, (uint32_t)b->size, 0};
	}
	buf_fini(b);
	return p ? ST_OK : fn_failed(ev);
}

void fn_value_text(uint32_t oid, const struct cell *c, struct buf *out)
{
	value_out((struct sql_type){oid == T_UNKNOWN || oid == T_NONE ? T_TEXT : oid, -1}, c, out);
}

uint32_t fn_arg_type(const struct eval *ev, const struct fn_def *fn, uint32_t i)
{
	if (i < fn->arg_count && fn->args[i] != T_NONE)
		return fn->args[i];
	if (ev->call && ev->call->fn == fn && i < ev->call->arg_count)
		return ev->call->args[i]->type.oid;
	return T_TEXT;
}

/* varchar(n), numeric(p,s) …: the typmod is a constant in practice */
enum status fnk_length_cast(KERNEL_ARGS)
{
	EACH_ROW(r) {
		struct cell in = arg_cell(args, 0, r), fit;
		struct sql_type t = {fn->result, ARG(1, i32, r)};
		enum status st = value_fit(t, &in, ARG(2, b, r) != 0, ev->arena, &fit, ev->err);

		if (st != ST_OK)
			return st;
		vec_set(out, r, &fit);
	}
	return ST_OK;
}

enum status fnk_same(KERNEL_ARGS)
{
	uint8_t phys = out->phys;
	uint64_t *nulls = out->nulls;

	*out = args[0];
	out->nulls = nulls;
	ASSERT_OP(out->phys, ==, phys);
	return ST_OK;
}

enum status fnk_num_nonnulls(KERNEL_ARGS)
{
	EVERY_ROW(r) {
		int32_t count = 0;

		for (uint32_t a = 0; a < arg_count; a++)
			count += !vec_null(&args[a], r);
		out->i32[r] = count;
	}
	return ST_OK;
}

enum status fnk_num_nulls(KERNEL_ARGS)
{
	EVERY_ROW(r) {
		int32_t count = 0;

		for (uint32_t a = 0; a < arg_count; a++)
			count += vec_null(&args[a], r);
		out->i32[r] = count;
	}
	return ST_OK;
}

enum status fnk_pg_typeof(KERNEL_ARGS)
{
	EVERY_ROW(r)
		out->i64[r] = fn_arg_type(ev, fn, 0);
	return ST_OK;
}
