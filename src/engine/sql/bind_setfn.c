/* bind_setfn.c - functions that return rows: in FROM, and in the select list (engine/sql). */
#include "engine/sql/bind_int.h"

static const struct { const char *name; enum set_function fn; } set_functions[] = {
	{"generate_series", SETFN_GENERATE_SERIES},
	{"unnest", SETFN_UNNEST},
	{"valence.check_atoms", SETFN_CHECK_ATOMS},
	{"valence.atom_hash", SETFN_ATOM_HASH},
};

bool set_function_find(const char *name, enum set_function *out)
{
	size_t i;

	for (i = 0; i < sizeof set_functions / sizeof *set_functions; i++)
		if (!strcmp(set_functions[i].name, name)) {
			*out = set_functions[i].fn;
			return true;
		}
	return false;
}

static bool no_such(struct bind *b, const char *name, struct expr *const *args, uint32_t count, int pos)
{
	const char *list = "";
	uint32_t i;

	for (i = 0; i < count; i++)
		list = arena_printf(b->arena, "%s%s%s", list, i ? ", " : "", bind_type_name(b, args[i]->type.oid));
	bind_fail(b, ST_UNDEFINED_FUNCTION, pos, "function %s(%s) does not exist", name, list);
	bind_hint(b, "No function matches the given name and argument types. You might need to add explicit type casts.");
	return false;
}

static bool coerce_args(struct bind *b, struct expr **args, uint32_t count, uint32_t type)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		if (!(args[i] = bind_coerce(b, args[i], type, CAST_IMPLICIT, args[i]->position)))
			return false;
	return true;
}

static bool one_column(struct bind *b, struct range_rel *r, const char *name, struct sql_type type)
{
	r->column_count = 1;
	r->columns = ARENA_NEW(b->arena, struct rel_column);
	r->columns[0] = (struct rel_column){name, type};
	return true;
}

/* (int4 | int8 | numeric) twice or three times, or (timestamp | timestamptz) twice and an interval. */
static bool bind_series(struct bind *b, struct range_rel *r, const char *name, int pos)
{
	uint32_t n = r->arg_count, type = T_UNKNOWN, i;
	struct expr **a = r->args;

	if (n != 2 && n != 3)
		return no_such(b, "generate_series", a, n, pos);
	for (i = 0; i < 2; i++) {
		uint32_t t = a[i]->type.oid;

		if (t == T_TIMESTAMPTZ || t == T_TIMESTAMP || t == T_DATE)
			type = t == T_TIMESTAMP && type != T_TIMESTAMPTZ ? T_TIMESTAMP : T_TIMESTAMPTZ;
	}
	if (type != T_UNKNOWN) {
		if (n != 3 || !bind_can_coerce(a[0], type, CAST_IMPLICIT) || !bind_can_coerce(a[1], type, CAST_IMPLICIT) ||
		    !bind_can_coerce(a[2], T_INTERVAL, CAST_IMPLICIT))
			return no_such(b, "generate_series", a, n, pos);
		if (!coerce_args(b, a, 2, type) || !coerce_args(b, a + 2, 1, T_INTERVAL))
			return false;
		return one_column(b, r, name, (struct sql_type){type, -1});
	}
	if (!bind_common(b, a, n, NULL, &type))
		return no_such(b, "generate_series", a, n, pos);
	if (type == T_TEXT || type == T_INT2) /* nothing but unknown ones, or smallint */
		type = T_INT4;
	if (type != T_INT4 && type != T_INT8 && type != T_NUMERIC)
		return no_such(b, "generate_series", a, n, pos);
	for (i = 0; i < n; i++)
		if (!bind_can_coerce(a[i], type, CAST_IMPLICIT))
			return no_such(b, "generate_series", a, n, pos);
	return coerce_args(b, a, n, type) && one_column(b, r, name, (struct sql_type){type, -1});
}

static bool bind_unnest(struct bind *b, struct range_rel *r, const char *name, int pos)
{
	const struct type_info *ti;

	if (r->arg_count != 1) {
		bind_unsupported(b, pos, "unnest() of several arrays");
		return false;
	}
	if (r->args[0]->type.oid == T_UNKNOWN) {
		bind_fail(b, ST_INDETERMINATE_TYPE, pos, "could not determine polymorphic type because input has type unknown");
		return false;
	}
	ti = type_find(r->args[0]->type.oid);
	if (!ti || !ti->element_oid)
		return no_such(b, "unnest", r->args, 1, pos);
	return one_column(b, r, name, (struct sql_type){ti->element_oid, -1});
}

static bool bind_cluster(struct bind *b, struct range_rel *r, const char *name, int pos)
{
	static const struct rel_column hash[] = {{"applied_index", {T_INT8, -1}}, {"checksum", {T_INT8, -1}}};
	static const struct rel_column check[] = {
		{"atom_id", {T_INT8, -1}}, {"engine_id", {T_INT8, -1}}, {"checksum", {T_INT8, -1}}, {"expected", {T_INT8, -1}},
	};
	bool is_hash = r->set_function == SETFN_ATOM_HASH;
	uint32_t i;

	if (is_hash ? r->arg_count != 1 : r->arg_count > 1)
		return no_such(b, name, r->args, r->arg_count, pos);
	for (i = 0; i < r->arg_count; i++)
		if (!bind_can_coerce(r->args[i], T_INT8, CAST_IMPLICIT))
			return no_such(b, name, r->args, r->arg_count, pos);
	if (!coerce_args(b, r->args, r->arg_count, T_INT8))
		return false;
	r->column_count = is_hash ? 2 : 4;
	r->columns = arena_dup(b->arena, is_hash ? hash : check, is_hash ? sizeof hash : sizeof check);
	return true;
}

/* name: of the one column. Anything that is no set-returning function is a row of one value. */
bool bind_range_function(struct scope *s, const char *name, const struct ast_expr *e, struct range_rel *r, int pos)
{
	struct bind *b = s->b;
	enum set_function fn = SETFN_SCALAR;
	const char *called = e->kind == AX_CALL ? bind_function_name(b, e) : "";
	uint32_t i;

	if (!set_function_find(called, &fn) || e->call) {
		r->set_function = SETFN_SCALAR;
		r->arg_count = 1;
		r->args = ARENA_NEW(b->arena, struct expr *);
		r->args[0] = bind_expr_place(s, e, AT_FROM_CALL);
		return r->args[0] && bind_settle(b, &r->args[0]) && one_column(b, r, name, r->args[0]->type);
	}
	r->set_function = (uint8_t)fn;
	r->arg_count = e->count;
	r->args = ARENA_NEW_N(b->arena, struct expr *, e->count + 1);
	for (i = 0; i < e->count; i++)
		if (!(r->args[i] = bind_expr_place(s, e->args[i], AT_FROM_CALL)))
			return false;
	if (fn == SETFN_GENERATE_SERIES)
		return bind_series(b, r, name, pos);
	return fn == SETFN_UNNEST ? bind_unnest(b, r, name, pos) : bind_cluster(b, r, called, pos);
}

/*
 * SELECT generate_series(1, 3): the same as joining it laterally, for one such function in a query that does not
 * aggregate (bind_check_grouping refuses the others).
 */
struct expr *bind_set_function_target(struct scope *s, const struct ast_expr *e, enum set_function fn)
{
	struct bind *b = s->b;
	struct range_rel r = {.source = SRC_FUNCTION, .lateral = true};
	struct from_node *leaf, *j;
	struct expr *ex;
	uint32_t rel;

	(void)fn;
	if (s->place != AT_TARGETS)
		return bind_fail(b, ST_UNSUPPORTED, e->pos, "set-returning functions are not allowed in %s",
				 place_name((enum bind_place)s->place));
	if (s->in_agg)
		return bind_fail(b, ST_UNSUPPORTED, e->pos, "aggregate function calls cannot contain set-returning function calls");
	if (s->srf_rel)
		return bind_unsupported(b, e->pos, "more than one set-returning function in a select list");
	r.alias = e->names.at[e->names.count - 1];
	if (!bind_range_function(s, r.alias, e, &r, e->pos))
		return NULL;
	if (r.column_count != 1)
		return bind_unsupported(b, e->pos, "a function with several columns in a select list (use it in FROM)");
	rel = scope_add_rel(s, &r);
	s->srf_rel = rel + 1;
	leaf = ARENA_NEW(b->arena, struct from_node);
	leaf->rel = rel;
	if (s->q->from) {
		j = ARENA_NEW(b->arena, struct from_node);
		j->is_join = true;
		j->left = s->q->from;
		j->right = leaf;
		leaf = j;
	}
	s->q->from = leaf;
	ex = bind_node(b, EX_COLUMN, 0, r.columns[0].type.oid, e->pos);
	ex->rel = rel;
	ex->attno = 1;
	return ex;
}
