/*
 * session_prepared.c - prepared statements: bound and planned once for each version of the schema.
 */
#include "engine/sql/session.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "engine/sql/ast.h"

/* -- bound statements ------------------------------------------------------------------------------------------ */

static void source_unref(struct sql_prepared *p, struct mem *mem)
{
	if (--p->refs)
		return;
	arena_fini(&p->arena);
	MEM_FREE(mem, p);
}

static struct bound *bound_new(struct sql_session *s, struct sql_prepared *source)
{
	struct bound *b = MEM_NEW(&s->mem, struct bound);

	b->mem = &s->mem;
	b->refs = 1;
	b->source = source;
	source->refs++;
	arena_init(&b->arena, &s->mem);
	return b;
}

void bound_unref(struct bound *b)
{
	if (!b || --b->refs)
		return;
	arena_fini(&b->arena);
	source_unref(b->source, b->mem);
	MEM_FREE(b->mem, b);
}

const struct query *stmt_query(const struct stmt *st)
{
	switch ((enum stmt_kind)st->kind) {
	case STMT_QUERY:
	case STMT_EXPLAIN:
	case STMT_DECLARE:
		return st->query;
	case STMT_COPY:
		return st->copy->query;
	case STMT_CREATE_TABLE_AS:
		return st->create_table->as;
	default:
		return NULL;
	}
}

enum status bound_plan(struct sql_session *s, struct bound *b, struct error *err)
{
	const struct query *q = b->stmt ? stmt_query(b->stmt) : NULL;
	enum status st;

	/* planned for a snapshot that was too old for an index: this one may not be */
	if (b->root && (!b->root->unseen || !access_snapshot_reaches(s->access, b->root->unseen)))
		return ST_OK;
	if (!q)
		return ST_OK;
	st = plan_query(s->access, q, b->stmt->param_count, &b->arena, &b->root, err);
	if (!st && b->stmt->kind == STMT_QUERY)
		b->fast = fast_detect(q, b->root, &b->arena);
	return st;
}

/* -- shapes ------------------------------------------------------------------------------------------------------ */

static void shape_of_query(struct bound *b, const struct query *q)
{
	struct sql_result_column *c = ARENA_NEW_N(&b->arena, struct sql_result_column, q->target_count + 1);
	uint32_t n = 0;

	b->shape = (struct sql_shape){0};
	if (q->kind != Q_SELECT && q->target_count == 0)
		return;
	for (uint32_t i = 0; i < q->target_count; i++) {
		const struct target *t = &q->targets[i];

		if (!t->junk)
			/* copied: a cursor outlives the text that the name may point into */
			c[n++] = (struct sql_result_column){t->name ? arena_strdup(&b->arena, t->name) : "?column?",
							    t->expr->type, t->table, t->attno};
	}
	b->shape = (struct sql_shape){n, c};
}

static void shape_of_text(struct bound *b, const char *name)
{
	struct sql_result_column *c = ARENA_NEW(&b->arena, struct sql_result_column);

	c->name = name;
	c->type = (struct sql_type){T_TEXT, -1};
	b->shape = (struct sql_shape){1, c};
}

static void shape_of_show(struct sql_session *s, struct bound *b, const char *name)
{
	static const char *const names[] = {"name", "setting", "description"};
	struct sql_result_column *c;
	int id = name ? settings_find(name) : -1;

	(void)s;
	if (name) {
		shape_of_text(b, id >= 0 ? settings_name(id) : arena_strdup(&b->arena, name));
		return;
	}
	c = ARENA_NEW_N(&b->arena, struct sql_result_column, 3);
	for (int i = 0; i < 3; i++) {
		c[i].name = names[i];
		c[i].type = (struct sql_type){T_TEXT, -1};
	}
	b->shape = (struct sql_shape){3, c};
}

enum status bound_shape(struct sql_session *s, struct bound *b, struct sql_shape *out, struct error *err)
{
	struct sql_prepared *other;
	struct sql_portal *portal;

	*out = (struct sql_shape){0};
	if (!b->stmt)
		return ST_OK;
	switch ((enum stmt_kind)b->stmt->kind) {
	case STMT_EXECUTE: /* as what it runs, which may change meanwhile */
		other = sql_prepared_find(s, b->stmt->name);
		if (!other)
			return error_set(err, ST_BAD_PREPARED_NAME, "prepared statement \"%s\" does not exist", b->stmt->name);
		/* another EXECUTE is refused when it runs: it might be this one */
		if (!other->bound->stmt || other->bound->stmt->kind != STMT_QUERY)
			return ST_OK;
		return sql_prepared_shape(s, other, out, err);
	case STMT_FETCH:
		portal = sql_portal_find(s, b->stmt->name);
		if (!portal)
			return error_set(err, ST_BAD_PORTAL, "cursor \"%s\" does not exist", b->stmt->name);
		/* likewise */
		if (!portal->bound->stmt || portal->bound->stmt->kind == STMT_FETCH)
			return ST_OK;
		return bound_shape(s, portal->bound, out, err);
	case STMT_QUERY:
		if (!b->shape_known)
			shape_of_query(b, b->stmt->query);
		break;
	case STMT_DECLARE: /* asked for by FETCH */
		if (!b->shape_known)
			shape_of_query(b, b->stmt->query);
		break;
	case STMT_EXPLAIN:
		if (!b->shape_known)
			shape_of_text(b, "QUERY PLAN");
		break;
	case STMT_SHOW:
		if (!b->shape_known)
			shape_of_show(s, b, b->stmt->name);
		break;
	default:
		break;
	}
	b->shape_known = true;
	*out = b->shape;
	return ST_OK;
}

/*
 * A regclass that is answered is a name: the client would have to look it up. Only where nothing else depends on the
 * target's value.
 */
static void name_regclasses(struct bound *b, struct query *q)
{
	if (q->kind != Q_SELECT || q->set_op || q->distinct)
		return;
	for (uint32_t i = 0; i < q->target_count; i++) {
		struct target *t = &q->targets[i];
		const struct fn_def *fn = NULL;
		bool sorted = false;
		struct expr *cast;

		for (uint32_t k = 0; k < q->sort_count; k++)
			sorted = sorted || q->sorts[k].target == i;
		if (t->junk || sorted || t->expr->type.oid != T_REGCLASS ||
		    cast_find(T_REGCLASS, T_TEXT, CAST_EXPLICIT, &fn) != ST_OK || !fn)
			continue;
		cast = ARENA_NEW(&b->arena, struct expr);
		cast->kind = fn->kernel ? EX_FUNC : EX_SESSION;
		cast->fn = fn;
		cast->type = (struct sql_type){T_TEXT, -1};
		cast->arg_count = 1;
		cast->args = ARENA_NEW_N(&b->arena, struct expr *, 1);
		cast->args[0] = t->expr;
		t->expr = cast;
	}
}

/* -- prepared statements -------------------------------------------------------------------------------------------- */

static enum status bind_into(struct sql_session *s, struct bound *b, struct sql_prepared *p, const uint32_t *types,
			     uint32_t count, struct error *err)
{
	struct bind_context cx = {.access = s->access, .arena = &b->arena, .param_types = types, .param_count = count,
				  .search_path = (const char *const *)s->search_path,
				  .search_path_count = s->search_path_count, .err = err};
	enum stmt_kind kind;
	enum status st;

	if (!p->raw)
		return ST_OK;
	kind = raw_kind(p->raw);
	if (s->block == BLOCK_FAILED) {
		if (!txn_allowed_when_failed(kind))
			return txn_refuse_failed(err);
	} else {
		/* names are resolved within a transaction, even when it is only that */
		txn_ensure(s);
	}
	session_settings_apply(s);
	b->version = access_schema_version(s->access);
	st = sql_bind_stmt(&cx, p->raw, &b->stmt);
	if (st)
		return st;
	if (b->stmt->kind == STMT_QUERY)
		name_regclasses(b, b->stmt->query);
	b->version = b->stmt->schema_version ? b->stmt->schema_version : b->version;
	return ST_OK;
}

static bool same_shape(const struct sql_shape *a, const struct sql_shape *b)
{
	if (a->column_count != b->column_count)
		return false;
	for (uint32_t i = 0; i < a->column_count; i++)
		if (a->columns[i].type.oid != b->columns[i].type.oid || a->columns[i].type.typmod != b->columns[i].type.typmod ||
		    strcmp(a->columns[i].name, b->columns[i].name) != 0)
			return false;
	return true;
}

enum status prepared_bind_as(struct sql_session *s, struct sql_prepared *p, const uint32_t *types, uint32_t count,
			     struct error *err)
{
	struct bound *b;
	enum status st;

	if (p->bound && (!p->bound->stmt || p->bound->version == access_schema_version(s->access)))
		return ST_OK;
	b = bound_new(s, p);
	st = bind_into(s, b, p, types, count, err);
	if (st) {
		bound_unref(b);
		return st;
	}
	/* a client that asked once need not ask again what rows come; an unnamed statement is asked about each time */
	if (p->bound && p->bound->stmt && p->bound->stmt->kind == STMT_QUERY && (*p->name || p->bound->shape_known)) {
		struct sql_shape before, shape;

		st = bound_shape(s, p->bound, &before, err);
		if (!st)
			st = bound_shape(s, b, &shape, err);
		if (!st && !same_shape(&before, &shape))
			st = error_set(err, ST_UNSUPPORTED, "cached plan must not change result type");
		if (st) {
			bound_unref(b);
			return st;
		}
	}
	bound_unref(p->bound);
	p->bound = b;
	return ST_OK;
}

enum status prepared_bind(struct sql_session *s, struct sql_prepared *p, struct error *err)
{
	/* once inferred, the types stay: clients have been told */
	if (p->bound && p->bound->stmt && p->bound->stmt->param_count >= p->type_count) {
		uint32_t n = p->bound->stmt->param_count;

		if (p->bound->version == access_schema_version(s->access))
			return ST_OK;
		p->types = n ? arena_dup(&p->arena, p->bound->stmt->param_types, n * sizeof *p->types) : NULL;
		p->type_count = n;
	}
	return prepared_bind_as(s, p, p->types, p->type_count, err);
}

void prepared_free(struct sql_session *s, struct sql_prepared *p)
{
	struct bmap_slot *slot;
	size_t at = 0;

	/* portals live on with what they are bound to, and that with the tree it lends from */
	while ((slot = bmap_next(&s->portals, &at)))
		if (((struct sql_portal *)slot->value)->prepared == p)
			((struct sql_portal *)slot->value)->prepared = NULL;
	if (s->unnamed_portal && s->unnamed_portal->prepared == p)
		s->unnamed_portal->prepared = NULL;
	bound_unref(p->bound);
	p->bound = NULL;
	source_unref(p, &s->mem);
}

enum status prepared_add(struct sql_session *s, const char *name, const char *text, const struct raw_stmt *raw,
			 const uint32_t *types, uint32_t type_count, bool from_sql, struct sql_prepared **out,
			 struct error *err)
{
	struct sql_prepared *p;
	struct raw_list list = {0};
	enum status st;

	if (*name && bmap_find(&s->prepared, name, strlen(name)))
		return error_set(err, ST_DUPLICATE_PREPARED, "prepared statement \"%s\" already exists", name);
	p = MEM_NEW(&s->mem, struct sql_prepared);
	p->refs = 1;
	arena_init(&p->arena, &s->mem);
	p->name = arena_strdup(&p->arena, name);
	p->text = arena_strdup(&p->arena, text);
	p->types = type_count ? arena_dup(&p->arena, types, type_count * sizeof *types) : NULL;
	p->type_count = type_count;
	p->from_sql = from_sql;
	p->raw = raw;
	st = ST_OK;
	if (!raw)
		st = sql_parse(p->text, &p->arena, &list, err);
	if (!st && list.count > 1)
		st = error_set(err, ST_SYNTAX, "cannot insert multiple commands into a prepared statement");
	if (!st && list.count)
		p->raw = from_sql ? list.at[0]->inner : list.at[0]; /* the text is that of PREPARE itself */
	if (!st)
		st = prepared_bind_as(s, p, p->types, p->type_count, err);
	if (st) {
		prepared_free(s, p);
		return st;
	}
	p->prepared_us = access_wall_us(s->access);
	if (*name) {
		bmap_put(&s->prepared, name, strlen(name), p);
	} else {
		if (s->unnamed_prepared)
			prepared_free(s, s->unnamed_prepared);
		s->unnamed_prepared = p;
	}
	*out = p;
	return ST_OK;
}

/* A statement that binds to nothing failed; in a block that ends it. */
static enum status prepare_failed(struct sql_session *s, enum status st)
{
	if (st && st != ST_WAIT && st != ST_IN_FAILED_TRANSACTION)
		txn_failed(s);
	return st;
}

enum status sql_prepare(struct sql_session *s, const char *name, const char *text, const uint32_t *types,
			uint32_t type_count, struct sql_prepared **out, struct error *err)
{
	enum status st = session_interrupted(s, err);

	if (!st)
		st = prepared_add(s, name, text, NULL, types, type_count, false, out, err);
	return prepare_failed(s, st);
}

enum status sql_prepare_raw(struct sql_session *s, const struct raw_stmt *raw, const char *source,
			    struct sql_prepared **out, struct error *err)
{
	enum status st = session_interrupted(s, err);

	if (!st)
		st = prepared_add(s, "", source, raw, NULL, 0, false, out, err);
	return prepare_failed(s, st);
}

struct sql_prepared *sql_prepared_find(struct sql_session *s, const char *name)
{
	return *name ? bmap_find(&s->prepared, name, strlen(name)) : s->unnamed_prepared;
}

void sql_prepared_close(struct sql_session *s, const char *name)
{
	struct sql_prepared *p = sql_prepared_find(s, name);

	if (!p)
		return;
	if (*name)
		(void)bmap_remove(&s->prepared, name, strlen(name));
	else
		s->unnamed_prepared = NULL;
	prepared_free(s, p);
}

uint32_t sql_prepared_params(const struct sql_prepared *p, const uint32_t **types_out)
{
	if (!p->bound->stmt) {
		*types_out = NULL;
		return 0;
	}
	*types_out = p->bound->stmt->param_types;
	return p->bound->stmt->param_count;
}

enum status sql_prepared_shape(struct sql_session *s, struct sql_prepared *p, struct sql_shape *out, struct error *err)
{
	enum status st = ST_OK;

	if (s->block == BLOCK_FAILED && p->raw && !txn_allowed_when_failed(raw_kind(p->raw)))
		return txn_refuse_failed(err);
	if (s->block != BLOCK_FAILED)
		st = prepared_bind(s, p, err);
	if (!st)
		st = bound_shape(s, p->bound, out, err);
	if (!st && p->bound->stmt && p->bound->stmt->kind == STMT_DECLARE)
		*out = (struct sql_shape){0};
	return st;
}
