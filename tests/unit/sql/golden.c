/*
 * golden.c - runs one described call as the binder and the executor would (golden.h).
 */
#include "tests/unit/sql/golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define ARGS_MAX 32

void golden_init(struct golden_rig *r)
{
	struct value_settings s = {.time_zone = "Europe/Berlin", .extra_float_digits = 1};

	mem_init(&r->mem, NULL, "golden", 256 << 20);
	arena_init(&r->arena, &r->mem);
	value_settings_use(&s);
}

void golden_fini(struct golden_rig *r)
{
	struct value_settings s = {.extra_float_digits = 1};

	arena_fini(&r->arena);
	mem_fini(&r->mem);
	value_settings_use(&s);
}

static struct expr *new_expr(struct arena *a, uint8_t kind, uint32_t oid)
{
	struct expr *ex = ARENA_NEW(a, struct expr);

	ex->kind = kind;
	ex->type = (struct sql_type){oid, -1};
	return ex;
}

static struct expr *cell_expr(struct arena *a, uint32_t oid, const struct cell *c)
{
	struct expr *ex = new_expr(a, EX_CONST, oid);

	ex->value = *c;
	return ex;
}

struct expr *ex_const(struct arena *a, uint32_t oid, const char *text)
{
	struct cell c = {.null = true};
	struct error err;

	if (text && value_in((struct sql_type){oid, -1}, text, strlen(text), a, &c, &err) != ST_OK) {
		fprintf(stderr, "ex_const: %s\n", err.message);
		abort();
	}
	return cell_expr(a, oid, &c);
}

struct expr *ex_input(struct arena *a, uint32_t oid, uint32_t slot)
{
	struct expr *ex = new_expr(a, EX_INPUT, oid);

	ex->slot = slot;
	return ex;
}

struct expr *ex_nary(struct arena *a, enum expr_kind kind, uint32_t oid, uint32_t count, struct expr **args)
{
	struct expr *ex = new_expr(a, (uint8_t)kind, oid);

	ex->arg_count = count;
	ex->args = ARENA_NEW_N(a, struct expr *, count + 1);
	if (count)
		memcpy(ex->args, args, sizeof *args * count);
	return ex;
}

/* What the binder does with an argument: a literal is read as the type, all else is cast. */
static enum status coerce(struct arena *a, struct expr **ex, uint32_t to, enum cast_context ctx, struct error *err)
{
	struct expr *x = *ex, *y;
	const struct fn_def *fn;
	struct cell c = {.null = true};
	enum status st = ST_OK;

	if (x->type.oid == to)
		return ST_OK;
	if (x->type.oid == T_UNKNOWN) {
		if (!x->value.null)
			st = value_in((struct sql_type){to, -1}, (const char *)x->value.var, x->value.bytes, a, &c, err);
		*ex = cell_expr(a, to, &c);
		return st;
	}
	st = cast_find(x->type.oid, to, ctx, &fn);
	if (st != ST_OK)
		return error_set(err, st, "cannot cast type %s to %s", type_find(x->type.oid)->name,
				 type_find(to)->name);
	if (fn) {
		y = ex_nary(a, EX_FUNC, to, 1, &x);
		y->fn = fn;
	} else {
		y = ARENA_NEW(a, struct expr);
		*y = *x;
		y->type.oid = to;
	}
	*ex = y;
	return ST_OK;
}

static enum status call(struct arena *a, const char *name, bool op, uint32_t count, struct expr **args, struct expr **out,
			struct error *err)
{
	uint32_t types[ARGS_MAX], to[ARGS_MAX];
	const struct fn_def *fn;
	enum status st;

	for (uint32_t i = 0; i < count; i++)
		types[i] = args[i]->type.oid;
	if (op)
		st = op_resolve(name, count == 1 ? T_NONE : types[0], types[count - 1], &fn, to, err);
	else
		st = fn_resolve(name, types, count, &fn, to, err);
	for (uint32_t i = 0; st == ST_OK && i < count; i++)
		st = coerce(a, &args[i], to[i], CAST_IMPLICIT, err);
	if (st != ST_OK)
		return st;
	*out = ex_nary(a, EX_FUNC, fn->result ? fn->result : types[0], count, args);
	(*out)->fn = fn;
	return ST_OK;
}

struct expr *ex_op(struct arena *a, const char *name, struct expr *l, struct expr *r)
{
	struct expr *args[2] = {l ? l : r, r}, *ex = NULL;
	struct error err;

	if (call(a, name, true, l ? 2 : 1, args, &ex, &err) != ST_OK) {
		fprintf(stderr, "ex_op: %s\n", err.message);
		abort();
	}
	return ex;
}

struct expr *ex_fn(struct arena *a, const char *name, uint32_t count, struct expr **args)
{
	struct expr *copy[ARGS_MAX], *ex = NULL;
	struct error err;

	if (count)
		memcpy(copy, args, sizeof *args * count);
	if (call(a, name, false, count, copy, &ex, &err) != ST_OK) {
		fprintf(stderr, "ex_fn: %s\n", err.message);
		abort();
	}
	return ex;
}

/* -- described calls ---------------------------------------------------------------------------------------------------- */

static void unescape(char *s)
{
	char *o = s;

	for (; *s; s++) {
		if (*s == '\\' && s[1]) {
			s++;
			*o++ = *s == 'n' ? '\n' : *s == 't' ? '\t' : *s;
		} else {
			*o++ = *s;
		}
	}
	*o = '\0';
}

static enum status parse_args(struct golden_rig *r, const char *text, struct expr **args, uint32_t *count,
			      struct error *err)
{
	char *copy = arena_strdup(&r->arena, text);

	*count = 0;
	for (char *p = copy; *p && *count < ARGS_MAX;) {
		char *value = strchr(p, '\t'), *end;
		const struct type_info *ti;
		struct cell c = {.null = true};
		enum status st = ST_OK;

		ASSERT(value != NULL);
		*value++ = '\0';
		end = strchr(value, '\t');
		if (end)
			*end++ = '\0';
		ti = type_by_name(p);
		ASSERT(ti != NULL);
		unescape(value);
		if (strcmp(value, "<null>"))
			st = value_in((struct sql_type){ti->oid, -1}, value, strlen(value), &r->arena, &c, err);
		if (st != ST_OK)
			return st;
		args[(*count)++] = cell_expr(&r->arena, ti->oid, &c);
		p = end ? end : value + strlen(value);
	}
	return ST_OK;
}

static enum status aggregate(struct golden_rig *r, const char *name, uint32_t count, struct expr **args,
			     struct sql_type *type, struct cell *out, struct error *err)
{
	struct eval ev = {.arena = &r->arena, .err = err};
	uint32_t from = args[0]->type.oid, to;
	const struct agg_def *agg;
	void *state;
	enum status st = agg_resolve(name, &from, 1, false, &agg, &to, err);

	if (st != ST_OK)
		return st;
	state = arena_alloc(&r->arena, agg->state_bytes);
	for (uint32_t i = 0; i < count; i++) {
		struct vec v;

		st = coerce(&r->arena, &args[i], to, CAST_IMPLICIT, err);
		if (st == ST_OK)
			st = expr_eval(&ev, args[i], NULL, 1, NULL, 1, &v);
		if (st == ST_OK)
			st = agg->add(&ev, agg, &state, &v, NULL, 1, &r->arena);
		if (st != ST_OK)
			return st;
	}
	*type = (struct sql_type){agg->result ? agg->result : from, -1};
	return agg->final(&ev, agg, state, &r->arena, out);
}

static enum status with_length(struct arena *a, const char *name, struct expr *arg, struct expr **out, struct error *err)
{
	char type[64];
	const struct type_info *ti;
	struct expr *args[3];
	int typmod;
	enum status st;

	if (sscanf(name, "%63s %d", type, &typmod) != 2)
		UNREACHABLE();
	ti = type_by_name(type);
	st = coerce(a, &arg, ti->oid, CAST_EXPLICIT, err);
	if (st != ST_OK)
		return st;
	args[0] = arg;
	args[1] = cell_expr(a, T_INT4, &(struct cell){.phys = PHYS_I32, .i = typmod});
	args[2] = ex_const(a, T_BOOL, "t");
	*out = ex_nary(a, EX_FUNC, ti->oid, 3, args);
	(*out)->fn = cast_length_fn(ti->oid);
	/* the text of char(n) as PostgreSQL's cast to text shows it: without the padding that typmod would add */
	(*out)->type.typmod = ti->oid == T_BPCHAR ? -1 : typmod;
	return ST_OK;
}

static enum status run(struct golden_rig *r, const struct golden *g, struct sql_type *type, struct cell *out,
		       struct error *err)
{
	struct eval ev = {.arena = &r->arena, .err = err};
	struct expr *args[ARGS_MAX], *ex;
	uint32_t count;
	enum status st = parse_args(r, g->args, args, &count, err);

	if (st != ST_OK)
		return st;
	ex = args[0];
	switch (*g->kind) {
	case 'I': break;
	case 'C': st = coerce(&r->arena, &ex, type_by_name(g->name)->oid, CAST_EXPLICIT, err); break;
	case 'L': st = with_length(&r->arena, g->name, ex, &ex, err); break;
	case 'A': return aggregate(r, g->name, count, args, type, out, err);
	default: st = call(&r->arena, g->name, *g->kind == 'O', count, args, &ex, err); break;
	}
	if (st != ST_OK)
		return st;
	*type = ex->type;
	return expr_eval_one(&ev, ex, out);
}

const char *golden_answer(struct golden_rig *r, const struct golden *g)
{
	struct error err = {0};
	struct sql_type type = {0, -1};
	struct cell c = {0};
	struct buf text;
	enum status st;

	arena_reset(&r->arena);
	st = run(r, g, &type, &c, &err);
	if (st != ST_OK) {
		snprintf(r->answer, sizeof r->answer, "ERR %s %s", status_sqlstate(st),
			 st == err.code ? err.message : "(error and status differ)");
		return r->answer;
	}
	buf_init(&text, &r->mem);
	if (c.null)
		buf_put(&text, "<null>", 6);
	else if (type.oid == T_BOOL) /* the text cast's words */
		buf_put(&text, c.i ? "true" : "false", c.i ? 4 : 5);
	else
		value_out(type, &c, &text);
	snprintf(r->answer, sizeof r->answer, "OK %s\t%.*s", type_find(type.oid)->name, (int)text.size,
		 text.size ? (const char *)text.data : "");
	buf_fini(&text);
	return r->answer;
}

unsigned golden_run(const struct golden *list, size_t count)
{
	struct golden_rig r;
	unsigned differ = 0;

	golden_init(&r);
	for (size_t i = 0; i < count; i++) {
		const char *answer = golden_answer(&r, &list[i]);

		if (strcmp(answer, list[i].expected)) {
			differ++;
			printf("  %s %s (%s)\n    want %s\n    have %s\n", list[i].kind, list[i].name, list[i].args,
			       list[i].expected, answer);
		}
	}
	golden_fini(&r);
	return differ;
}
