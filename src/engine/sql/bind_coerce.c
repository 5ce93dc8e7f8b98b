/*
 * bind_coerce.c - makes an expression have a type (engine/sql).
 *
 * What is not yet typed, a quoted literal or a parameter, takes the type that is asked for: the literal is read by the
 * type's own input here, the parameter is remembered. Everything else goes through cast_find().
 */
#include "engine/sql/bind_int.h"

struct expr *bind_const_i(struct bind *b, uint32_t type, int64_t v)
{
	struct expr *ex = bind_node(b, EX_CONST, 0, type, 0);
	const struct type_info *ti = type_find(type);

	ex->value.phys = ti ? ti->phys : PHYS_I64;
	ex->value.i = v;
	return ex;
}

struct expr *bind_const_text(struct bind *b, uint32_t type, const char *s, int pos)
{
	struct expr *ex = bind_node(b, EX_CONST, 0, type, pos);

	ex->value.phys = PHYS_VAR;
	ex->value.bytes = (uint32_t)strlen(s);
	ex->value.var = (const uint8_t *)s;
	return ex;
}

struct expr *bind_const_null(struct bind *b, struct sql_type t, int pos)
{
	struct expr *ex = bind_node(b, EX_CONST, 0, t.oid, pos);
	const struct type_info *ti = type_find(t.oid);

	ex->type.typmod = t.typmod;
	ex->value.phys = ti ? ti->phys : PHYS_VAR;
	ex->value.null = true;
	return ex;
}

struct expr *bind_call(struct bind *b, const struct fn_def *fn, uint32_t count, struct expr **args, int pos)
{
	struct expr *ex = bind_node(b, fn->sfn != SFN_NONE ? EX_SESSION : EX_FUNC, count, fn->result, pos);
	uint32_t i;

	ex->fn = fn;
	if (count)
		memcpy(ex->args, args, count * sizeof *args);
	if (fn->result == T_NONE) {
		/* the type of the first argument of any type */
		for (i = 0; i < count; i++)
			if (i >= fn->arg_count || fn->args[i] == T_NONE) {
				ex->type.oid = args[i]->type.oid;
				break;
			}
	}
	if (fn->typmod)
		ex->type.typmod = fn->typmod((const struct expr *const *)ex->args, count);
	return ex;
}

/* The same value under another type with the same representation. */
struct expr *bind_relabel(struct bind *b, const struct expr *x, struct sql_type t)
{
	struct expr *ex = ARENA_NEW(b->arena, struct expr);

	b->nodes++;
	*ex = *x;
	ex->type = t;
	return ex;
}

static bool is_unknown_const(const struct expr *x)
{
	return x->type.oid == T_UNKNOWN && x->kind == EX_CONST;
}

bool bind_can_coerce(const struct expr *x, uint32_t to, enum cast_context cx)
{
	const struct fn_def *fn;
	const struct type_info *ti;
	uint32_t i;

	if (x->type.oid == to || to == T_NONE || x->type.oid == T_UNKNOWN)
		return true;
	if (cast_find(x->type.oid, to, cx, &fn) == ST_OK)
		return true;
	ti = type_find(to);
	if (x->kind != EX_ARRAY || !ti || !ti->element_oid)
		return false;
	for (i = 0; i < x->arg_count; i++)
		if (!bind_can_coerce(x->args[i], ti->element_oid, cx))
			return false;
	return true;
}

static struct expr *coerce_literal(struct bind *b, const struct expr *x, uint32_t to, int pos)
{
	struct expr *ex;
	enum status st;

	if (x->value.null)
		return bind_const_null(b, (struct sql_type){to, -1}, x->position);
	if (to == T_REGCLASS)
		return bind_regclass(b, arena_strndup(b->arena, (const char *)x->value.var, x->value.bytes), x->position);
	ex = bind_node(b, EX_CONST, 0, to, x->position);
	error_clear(b->cx->err);
	st = value_in((struct sql_type){to, -1}, (const char *)x->value.var, x->value.bytes, b->arena, &ex->value,
		      b->cx->err);
	if (st != ST_OK)
		return bind_fail_at(b, st, x->position ? x->position : pos);
	return ex;
}

static struct expr *coerce_param(struct bind *b, struct expr *x, uint32_t to)
{
	uint32_t *type = &b->params[x->param - 1];

	if (to == T_UNKNOWN)
		return x;
	if (*type == T_UNKNOWN)
		*type = to;
	else if (*type != to) {
		bind_fail(b, ST_INDETERMINATE_TYPE, x->position, "inconsistent types deduced for parameter $%u", x->param);
		bind_detail(b, "%s versus %s", bind_type_name(b, *type), bind_type_name(b, to));
		return NULL;
	}
	x->type = (struct sql_type){to, -1};
	return x;
}

static void no_cast(struct bind *b, const struct expr *x, uint32_t to, int pos)
{
	bind_fail(b, ST_CANNOT_COERCE, pos, "cannot cast type %s to %s", bind_type_name(b, x->type.oid),
		  bind_type_name(b, to));
}

/* ARRAY[…]::bigint[] casts the elements, as the type is known. */
static struct expr *coerce_array(struct bind *b, const struct expr *x, uint32_t to, enum cast_context cx, int pos)
{
	const struct type_info *ti = type_find(to);
	struct expr *ex = bind_relabel(b, x, (struct sql_type){to, -1});
	uint32_t i;

	ex->args = ARENA_NEW_N(b->arena, struct expr *, x->arg_count + 1);
	for (i = 0; i < x->arg_count; i++)
		if (!(ex->args[i] = bind_coerce(b, x->args[i], ti->element_oid, cx, pos)))
			return NULL;
	return ex;
}

struct expr *bind_coerce(struct bind *b, struct expr *x, uint32_t to, enum cast_context cx, int pos)
{
	const struct type_info *ti;
	const struct fn_def *fn;
	struct expr *ex;

	if (x->type.oid == to)
		return x;
	if (to == T_NONE) /* any type: only what has none must get one */
		return bind_settle(b, &x) ? x : NULL;
	if (x->kind == EX_PARAM && x->type.oid == T_UNKNOWN)
		return coerce_param(b, x, to);
	if (is_unknown_const(x))
		return coerce_literal(b, x, to, pos);
	ti = type_find(to);
	if (x->kind == EX_ARRAY && ti && ti->element_oid && bind_can_coerce(x, to, cx))
		return coerce_array(b, x, to, cx, pos);
	if (cast_find(x->type.oid, to, cx, &fn) != ST_OK) {
		no_cast(b, x, to, pos);
		return NULL;
	}
	if (!fn)
		return bind_relabel(b, x, (struct sql_type){to, -1});
	ex = bind_call(b, fn, 1, &x, x->position);
	ex->type.oid = to;
	return ex;
}

static struct expr *coerce_length(struct bind *b, struct expr *x, int32_t typmod, bool is_explicit)
{
	const struct fn_def *fn;
	struct expr *args[3];

	if (typmod < 0 || x->type.typmod == typmod)
		return x;
	fn = cast_length_fn(x->type.oid);
	if (!fn || (x->kind == EX_CONST && x->value.null))
		return bind_relabel(b, x, (struct sql_type){x->type.oid, typmod});
	args[0] = x;
	args[1] = bind_const_i(b, T_INT4, typmod);
	args[2] = bind_const_i(b, T_BOOL, is_explicit);
	x = bind_call(b, fn, fn->arg_count < 3 ? fn->arg_count : 3, args, x->position);
	x->type = (struct sql_type){args[0]->type.oid, typmod};
	return x;
}

struct expr *bind_cast(struct bind *b, struct expr *x, struct sql_type to, enum cast_context cx, int pos)
{
	x = bind_coerce(b, x, to.oid, cx, pos);
	if (!x)
		return NULL;
	if (x->kind == EX_ARRAY || x->type.typmod == to.typmod)
		return x;
	if (to.typmod < 0 && cx == CAST_EXPLICIT)
		return bind_relabel(b, x, (struct sql_type){x->type.oid, -1}); /* forgets its declared length */
	return coerce_length(b, x, to.typmod, cx == CAST_EXPLICIT);
}

struct expr *bind_to_type(struct bind *b, struct expr *x, uint32_t to, const char *what)
{
	if (!bind_can_coerce(x, to, CAST_ASSIGNMENT))
		return bind_fail(b, ST_DATATYPE_MISMATCH, x->position, "argument of %s must be type %s, not type %s", what,
				 bind_type_name(b, to), bind_type_name(b, x->type.oid));
	return bind_coerce(b, x, to, CAST_ASSIGNMENT, x->position);
}

struct expr *bind_to_bool(struct bind *b, struct expr *x, const char *what)
{
	return bind_to_type(b, x, T_BOOL, what);
}

/* For INSERT and UPDATE: PostgreSQL's assignment casts and lengths. */
struct expr *bind_assign(struct bind *b, struct expr *x, const struct column_def *c, int pos)
{
	struct sql_type to = {c->type_oid, c->typmod};

	if (!bind_can_coerce(x, to.oid, CAST_ASSIGNMENT)) {
		bind_fail(b, ST_DATATYPE_MISMATCH, pos, "column \"%s\" is of type %s but expression is of type %s", c->name,
			  bind_type_name(b, to.oid), bind_type_name(b, x->type.oid));
		bind_hint(b, "You will need to rewrite or cast the expression.");
		return NULL;
	}
	return bind_cast(b, x, to, CAST_ASSIGNMENT, pos);
}

bool bind_common(struct bind *b, struct expr *const *x, uint32_t count, const char *what, uint32_t *out)
{
	uint32_t *types = ARENA_NEW_N(b->arena, uint32_t, count + 1), i, have = T_UNKNOWN, n;
	struct error ignored;

	for (i = 0; i < count; i++)
		types[i] = x[i]->type.oid;
	if (type_common(types, count, out, &ignored) == ST_OK) {
		if (*out == T_UNKNOWN || *out == T_NONE)
			*out = T_TEXT;
		return true;
	}
	if (!what)
		return false;
	/* the words name the first that does not fit those before it */
	for (n = 1; n <= count; n++) {
		uint32_t now;

		if (type_common(types, n, &now, &ignored) != ST_OK)
			break;
		have = now;
	}
	n = n > count ? count : n;
	bind_fail(b, ST_DATATYPE_MISMATCH, x[n - 1]->position, "%s types %s and %s cannot be matched", what,
		  bind_type_name(b, have), bind_type_name(b, types[n - 1]));
	return false;
}

const struct fn_def *bind_operator_fn(struct bind *b, const char *name, uint32_t l, uint32_t r, uint32_t coerce[2], int pos)
{
	const struct fn_def *fn;
	enum status st;

	error_clear(b->cx->err);
	st = op_resolve(name, l, r, &fn, coerce, b->cx->err);
	if (st == ST_OK)
		return fn;
	return bind_fail_at(b, st, pos);
}

static bool is_array(uint32_t oid)
{
	const struct type_info *ti = type_find(oid);

	return ti && ti->element_oid;
}

/* x || 'y' of anything but an array is about text: arrays are not to be preferred for having x's type in them. */
static void settle_concatenation(const char *name, uint32_t *l, uint32_t *r)
{
	if (strcmp(name, "||") != 0)
		return;
	if (*r == T_UNKNOWN && *l != T_NONE && *l != T_BYTEA && !is_array(*l))
		*r = T_TEXT;
	else if (*l == T_UNKNOWN && *r != T_BYTEA && !is_array(*r))
		*l = T_TEXT;
}

struct expr *bind_operator(struct bind *b, const char *name, struct expr *l, struct expr *r, int pos)
{
	uint32_t to[2] = {T_NONE, T_NONE}, lt = l ? l->type.oid : T_NONE, rt = r->type.oid;
	const struct fn_def *fn;
	struct expr *args[2];

	settle_concatenation(name, &lt, &rt);
	fn = bind_operator_fn(b, name, lt, rt, to, pos);

	if (!fn)
		return NULL;
	if (!l) {
		/* a prefix operator has its one argument on the right */
		args[0] = bind_coerce(b, r, to[1] ? to[1] : to[0], CAST_IMPLICIT, pos);
		return args[0] ? bind_call(b, fn, 1, args, pos) : NULL;
	}
	args[0] = bind_coerce(b, l, to[0], CAST_IMPLICIT, pos);
	if (!args[0])
		return NULL;
	args[1] = bind_coerce(b, r, to[1], CAST_IMPLICIT, pos);
	return args[1] ? bind_call(b, fn, 2, args, pos) : NULL;
}

bool bind_settle(struct bind *b, struct expr **x)
{
	if ((*x)->type.oid == T_UNKNOWN)
		*x = bind_coerce(b, *x, T_TEXT, CAST_IMPLICIT, (*x)->position);
	return *x != NULL;
}
