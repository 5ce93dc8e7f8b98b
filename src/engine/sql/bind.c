/* bind.c - the binder's door and what all of its files share (engine/sql). */
#include "engine/sql/bind_int.h"

#include <stdarg.h>
#include <stdio.h>

void *bind_fail(struct bind *b, enum status st, int pos, const char *fmt, ...)
{
	char text[sizeof((struct error *)0)->message];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	b->st = error_set(b->cx->err, st, "%s", text);
	if (b->cx->err)
		b->cx->err->position = pos;
	return NULL;
}

void *bind_fail_at(struct bind *b, enum status st, int pos)
{
	b->st = st;
	if (st != ST_WAIT && b->cx->err && b->cx->err->position == 0)
		b->cx->err->position = pos;
	return NULL;
}

void *bind_unsupported(struct bind *b, int pos, const char *what)
{
	return bind_fail(b, ST_UNSUPPORTED, pos, "%s is not supported", what);
}

void bind_hint(struct bind *b, const char *hint)
{
	error_hint(b->cx->err, "%s", hint);
}

void bind_detail(struct bind *b, const char *fmt, ...)
{
	char text[sizeof((struct error *)0)->detail];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	error_detail(b->cx->err, "%s", text);
}

void bind_notice(struct bind *b, const char *text)
{
	if (b->notice_count == b->notice_cap) {
		uint32_t cap = b->notice_cap ? b->notice_cap * 2 : 4;
		const char **at = ARENA_NEW_N(b->arena, const char *, cap);

		if (b->notice_count)
			memcpy(at, b->notices, b->notice_count * sizeof *at);
		b->notices = at;
		b->notice_cap = cap;
	}
	b->notices[b->notice_count++] = text;
}

bool bind_enter(struct bind *b)
{
	if (b->depth >= EXPR_DEPTH_MAX) {
		bind_fail(b, ST_TOO_COMPLEX, 0, "statement is nested too deeply");
		bind_hint(b, "Split the statement, or use IN (…) or VALUES instead of a long chain of operators.");
		return false;
	}
	b->depth++;
	return true;
}

void bind_leave(struct bind *b)
{
	ASSERT(b->depth > 0);
	b->depth--;
}

struct expr *bind_node(struct bind *b, enum expr_kind kind, uint32_t arg_count, uint32_t type, int pos)
{
	struct expr *ex = ARENA_NEW(b->arena, struct expr);

	b->nodes++;
	ex->kind = (uint8_t)kind;
	ex->type = (struct sql_type){type, -1};
	ex->position = pos;
	ex->arg_count = arg_count;
	if (arg_count)
		ex->args = ARENA_NEW_N(b->arena, struct expr *, arg_count);
	return ex;
}

const char *bind_type_name(struct bind *b, uint32_t oid)
{
	return type_format((struct sql_type){oid, -1}, b->arena);
}

const char *place_name(enum bind_place place)
{
	static const char *const names[] = {
		[AT_TARGETS] = "SELECT", [AT_FROM_CALL] = "functions in FROM", [AT_ON] = "JOIN conditions",
		[AT_WHERE] = "WHERE", [AT_GROUP_BY] = "GROUP BY", [AT_HAVING] = "HAVING", [AT_ORDER_BY] = "ORDER BY",
		[AT_DISTINCT_ON] = "DISTINCT ON", [AT_LIMIT] = "LIMIT", [AT_OFFSET] = "OFFSET", [AT_VALUES] = "VALUES",
		[AT_UPDATE_SET] = "UPDATE", [AT_RETURNING] = "RETURNING", [AT_FILTER] = "FILTER",
		[AT_DEFAULT] = "DEFAULT expressions", [AT_CHECK] = "check constraints",
		[AT_EXECUTE] = "EXECUTE parameters", [AT_INDEX] = "index expressions",
	};

	return names[place];
}

/* -- entry points ------------------------------------------------------------------------------------ */

static void bind_init(struct bind *b, const struct bind_context *cx)
{
	uint32_t i;

	*b = (struct bind){.cx = cx, .arena = cx->arena, .params_allowed = true};
	b->param_cap = cx->param_count ? cx->param_count : 8;
	b->params = ARENA_NEW_N(b->arena, uint32_t, b->param_cap);
	b->param_count = cx->param_count;
	for (i = 0; i < cx->param_count; i++)
		b->params[i] = cx->param_types[i] ? cx->param_types[i] : T_UNKNOWN;
}

static const char *query_tag(const struct raw_stmt *raw)
{
	switch (raw->type) {
	case RAW_SELECT: return "SELECT";
	case RAW_INSERT: return "INSERT";
	case RAW_UPDATE: return "UPDATE";
	default: return "DELETE";
	}
}

static bool is_query(const struct raw_stmt *raw)
{
	return raw->type <= RAW_DELETE;
}

/* EXPLAIN and DECLARE bind what they hold as a query of the same statement. */
static bool bind_any(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	if (raw->type == RAW_SELECT && raw->select->into)
		return bind_create_table_as(b, raw, st);
	if (is_query(raw)) {
		st->kind = STMT_QUERY;
		st->tag = query_tag(raw);
		st->query = bind_query_stmt(b, raw);
		return st->query != NULL;
	}
	switch (raw->type) {
	case RAW_CREATE_TABLE: return bind_create_table(b, raw, st);
	case RAW_CREATE_TABLE_AS: return bind_create_table_as(b, raw, st);
	case RAW_CREATE_INDEX: return bind_create_index(b, raw, st);
	case RAW_CREATE_SEQUENCE:
	case RAW_ALTER_SEQUENCE: return bind_sequence(b, raw, st);
	case RAW_ALTER_TABLE: return bind_alter_table(b, raw, st);
	case RAW_DROP: return bind_drop(b, raw, st);
	case RAW_COPY: return bind_copy(b, raw, st);
	default: return bind_utility(b, raw, st);
	}
}

static bool params_known(struct bind *b)
{
	uint32_t i;

	for (i = 0; i < b->param_count; i++)
		if (b->params[i] == T_UNKNOWN) {
			bind_fail(b, ST_INDETERMINATE_TYPE, 0, "could not determine data type of parameter $%u", i + 1);
			return false;
		}
	return true;
}

enum status sql_bind_stmt(const struct bind_context *cx, const struct raw_stmt *raw, struct stmt **out)
{
	struct bind b;
	struct stmt *st = ARENA_NEW(cx->arena, struct stmt);

	bind_init(&b, cx);
	st->text = raw->text;
	st->location = raw->location;
	st->schema_version = cx->access ? access_schema_version(cx->access) : 0;
	if (!bind_any(&b, raw, st) || !params_known(&b)) {
		ASSERT(b.st != ST_OK);
		return b.st;
	}
	st->param_count = b.param_count;
	st->param_types = b.params;
	st->notice_count = b.notice_count;
	st->notices = b.notices;
	*out = st;
	return ST_OK;
}

/* A definition's text was bound when it was made; where it fails now there is no place in the user's text to show. */
enum status sql_bind_expr(const struct bind_context *cx, const char *text, const struct table_def *t,
			  struct sql_type want, struct expr **out)
{
	struct bind b;
	struct expr *ex;

	bind_init(&b, cx);
	b.params_allowed = false;
	ex = bind_sql_text(&b, text, t, 0, t ? AT_CHECK : AT_DEFAULT);
	if (ex && want.oid != T_NONE)
		ex = bind_cast(&b, ex, want, CAST_ASSIGNMENT, 0);
	else if (ex && !bind_settle(&b, &ex))
		ex = NULL;
	if (!ex) {
		if (cx->err)
			cx->err->position = 0;
		return b.st;
	}
	*out = ex;
	return ST_OK;
}
