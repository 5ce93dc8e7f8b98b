/*
 * session_utility.c - statements that are no queries: settings, prepared statements, cursors, EXPLAIN, DDL's frame.
 */
#include "engine/sql/session.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

struct utility {
	uint32_t at;            /* how far it is */
	struct sql_portal *inner; /* EXECUTE: what it runs; DECLARE: the cursor while it is filled */
	struct ddl *ddl;
	uint64_t row, end;      /* FETCH */
	int direction;
	uint64_t started_us;
	bool listed;
};

void utility_free(struct sql_portal *p)
{
	if (p->utility->inner)
		portal_free(p->session, p->utility->inner);
	if (p->utility->ddl)
		ddl_free(p->utility->ddl);
	p->utility = NULL;
}

bool utility_in_statement(const struct sql_portal *p)
{
	return p->utility && p->utility->inner && p->utility->inner->in_statement;
}

/* -- settings ----------------------------------------------------------------------------------------------------- */

static void text_row(struct sql_portal *p, const char *const *texts, uint32_t n)
{
	struct cell cells[3];

	for (uint32_t i = 0; i < n; i++)
		cells[i] = (struct cell){.phys = PHYS_VAR, .bytes = (uint32_t)strlen(texts[i]), .var = (const uint8_t *)texts[i]};
	rowset_add_row(&p->result, cells);
}

static void text_result(struct sql_portal *p, uint32_t columns)
{
	static const uint8_t phys[3] = {PHYS_VAR, PHYS_VAR, PHYS_VAR};

	rowset_init(&p->result, &p->result_arena, columns, phys);
}

/* Sends what is in the result; ST_WAIT while the client is full. */
static enum status send_result(struct sql_session *s, struct sql_portal *p, const struct sql_sink *sink, struct error *err)
{
	struct sql_shape shape;
	enum status st = bound_shape(s, p->bound, &shape, err);

	if (st)
		return st;
	emit_rowset(p, &shape, sink, UINT64_MAX);
	return p->result_at < p->result.count ? ST_WAIT : ST_OK;
}

static enum status show(struct sql_session *s, struct sql_portal *p, const struct sql_sink *sink, struct error *err)
{
	const char *name = p->bound->stmt->name, *v;

	if (!p->utility->listed && !name) {
		text_result(p, 3);
		for (int i = 0; settings_name(i); i++)
			text_row(p, (const char *[]){settings_name(i), sql_session_get(s, settings_name(i)), settings_help(i)}, 3);
	} else if (!p->utility->listed) {
		v = sql_session_get(s, name);
		if (!v)
			return error_set(err, ST_UNDEFINED_OBJECT, "unrecognized configuration parameter \"%s\"", name);
		text_result(p, 1);
		text_row(p, &v, 1);
	}
	p->utility->listed = true;
	return send_result(s, p, sink, err);
}

static enum status reset_all(struct sql_session *s, struct error *err)
{
	enum status st = ST_OK;

	for (int i = 0; settings_name(i) && !st; i++)
		if (s->settings.values[i])
			st = session_set(s, settings_name(i), NULL, false, err);
	return st;
}

static enum status set(struct sql_session *s, const struct stmt *st, struct error *err)
{
	if (st->kind == STMT_RESET)
		return st->name ? session_set(s, st->name, NULL, false, err) : reset_all(s, err);
	if (st->local && s->block != BLOCK_OPEN)
		session_notice(s, "WARNING", ST_NO_TRANSACTION, "SET LOCAL can only be used in transaction blocks");
	txn_ensure(s);
	return session_set_asked(s, st->name, st->value, st->local, false, err);
}

/* -- prepared statements --------------------------------------------------------------------------------------------- */

static enum status prepare(struct sql_session *s, struct sql_portal *p, struct error *err)
{
	const struct stmt *st = p->bound->stmt;
	struct sql_prepared *out;

	(void)p;
	/* by text: the tree that came with PREPARE lives with this statement only */
	return prepared_add(s, st->name, st->text, NULL, st->arg_types, st->arg_count, true, &out, err);
}

static enum status deallocate(struct sql_session *s, const struct stmt *st, struct error *err)
{
	struct bmap_slot *slot;
	size_t at = 0;

	if (st->name) {
		if (!bmap_find(&s->prepared, st->name, strlen(st->name)))
			return error_set(err, ST_BAD_PREPARED_NAME, "prepared statement \"%s\" does not exist", st->name);
		sql_prepared_close(s, st->name);
		return ST_OK;
	}
	while ((slot = bmap_next(&s->prepared, &at))) {
		struct sql_prepared *p = slot->value;

		(void)bmap_remove(&s->prepared, p->name, strlen(p->name));
		prepared_free(s, p);
	}
	return ST_OK;
}

/* An argument of EXECUTE as the type of the parameter: an assignment, by text where the types differ. */
static enum status execute_arg(struct sql_session *s, struct sql_portal *p, const struct expr *ex, uint32_t want,
			       struct cell *out, struct error *err)
{
	struct eval_hooks hooks;
	struct eval ev = {.arena = &p->arena, .hooks = &hooks, .err = err};
	struct buf text;
	enum status st;

	session_hooks(s, &hooks);
	st = expr_eval_one(&ev, ex, out);
	if (st || out->null || ex->type.oid == want)
		return st;
	buf_init(&text, &p->mem);
	value_out(ex->type, out, &text);
	st = value_in((struct sql_type){want, -1}, (const char *)text.data, text.size, &p->arena, out, err);
	if (!st && out->phys == PHYS_VAR)
		out->var = arena_dup(&p->arena, out->var, out->bytes);
	buf_fini(&text);
	return st;
}

static enum status execute_start(struct sql_session *s, struct sql_portal *p, struct error *err)
{
	const struct stmt *st = p->bound->stmt;
	struct sql_prepared *prep = bmap_find(&s->prepared, st->name, strlen(st->name));
	struct sql_portal *in;
	enum status e;

	if (!prep)
		return error_set(err, ST_BAD_PREPARED_NAME, "prepared statement \"%s\" does not exist", st->name);
	e = prepared_bind(s, prep, err);
	if (e)
		return e;
	if (!prep->bound->stmt || prep->bound->stmt->kind != STMT_QUERY)
		return error_set(err, ST_UNSUPPORTED, "EXECUTE of this statement is not supported");
	if (st->arg_count != prep->bound->stmt->param_count) {
		(void)error_set(err, ST_SYNTAX, "wrong number of parameters for prepared statement \"%s\"", st->name);
		error_detail(err, "Expected %u parameters but got %u.", prep->bound->stmt->param_count, st->arg_count);
		return ST_SYNTAX;
	}
	in = portal_new(s, "execute");
	in->bound = prep->bound;
	in->bound->refs++;
	in->prepared = prep;
	in->param_count = st->arg_count;
	in->params = ARENA_NEW_N(&in->arena, struct cell, st->arg_count + 1);
	p->utility->inner = in;
	for (uint32_t i = 0; i < st->arg_count; i++) {
		e = execute_arg(s, in, st->args[i], prep->bound->stmt->param_types[i], &in->params[i], err);
		if (e)
			return e;
	}
	return ST_OK;
}

static enum status execute(struct sql_session *s, struct sql_portal *p, uint64_t max_rows, const struct sql_sink *sink,
			   struct error *err)
{
	struct sql_portal *in;
	enum status st = ST_OK;

	if (!p->utility->inner)
		st = execute_start(s, p, err);
	if (st)
		return st;
	in = p->utility->inner;
	st = portal_query_step(s, in, max_rows, sink, err);
	p->tag = in->tag;
	return st;
}

/* -- cursors ------------------------------------------------------------------------------------------------------------ */

static enum status declare(struct sql_session *s, struct sql_portal *p, struct error *err)
{
	const struct stmt *st = p->bound->stmt;
	struct sql_portal *cur = p->utility->inner;
	enum status e;

	if (s->block != BLOCK_OPEN && !st->hold)
		return error_set(err, ST_NO_TRANSACTION, "DECLARE CURSOR can only be used in transaction blocks");
	if (!cur) {
		if (bmap_find(&s->portals, st->name, strlen(st->name)))
			return error_set(err, ST_DUPLICATE_CURSOR, "cursor \"%s\" already exists", st->name);
		cur = p->utility->inner = portal_new(s, st->name);
		cur->bound = p->bound;
		cur->bound->refs++;
		cur->cursor = cur->keep_result = true;
		cur->hold = st->hold;
		cur->param_count = p->param_count;
		cur->params = ARENA_NEW_N(&cur->arena, struct cell, p->param_count + 1);
		for (uint32_t i = 0; i < p->param_count; i++) {
			cur->params[i] = p->params[i];
			if (!cur->params[i].null && cur->params[i].phys == PHYS_VAR)
				cur->params[i].var = arena_dup(&cur->arena, cur->params[i].var, cur->params[i].bytes);
		}
	}
	e = portal_query_step(s, cur, 1, NULL, err);
	if (e)
		return e;
	bmap_put(&s->portals, cur->name, strlen(cur->name), cur);
	p->utility->inner = NULL;
	return ST_OK;
}

/* Where FETCH goes. A cursor stands on a row (1 …), before the first (0) or after the last (count + 1). */
static void fetch_range(struct utility *u, const struct stmt *st, struct sql_portal *cur)
{
	uint64_t count = cur->result.count, pos = cur->result_at, n = (uint64_t)st->fetch_count;

	u->direction = st->fetch_backward ? -1 : 1;
	if (n == 0) { /* the same row again */
		u->row = pos;
		u->end = pos >= 1 && pos <= count ? pos + 1 : pos;
	} else if (!st->fetch_backward) {
		u->row = pos + 1;
		u->end = n > count || pos + n > count ? count + 1 : pos + n + 1;
		if (u->row > u->end)
			u->row = u->end;
		cur->result_at = n > count || pos + n > count ? count + 1 : pos + n;
	} else {
		u->row = pos ? pos - 1 : 0;
		u->end = n >= pos ? 0 : pos - n - 1;
		cur->result_at = n >= pos ? 0 : pos - n;
	}
}

static enum status fetch(struct sql_session *s, struct sql_portal *p, const struct sql_sink *sink, struct error *err)
{
	const struct stmt *st = p->bound->stmt;
	struct sql_portal *cur = sql_portal_find(s, st->name);
	struct utility *u = p->utility;
	bool move = !strcmp(st->tag, "MOVE");
	uint64_t rows[VEC_ROWS];

	if (!cur || !*st->name)
		return error_set(err, ST_BAD_PORTAL, "cursor \"%s\" does not exist", st->name);
	if (cur == s->active || cur->phase == PORTAL_FAILED)
		return error_set(err, ST_STATE, "portal \"%s\" cannot be run", st->name);
	if (cur->phase < PORTAL_DRAIN)
		return error_set(err, ST_UNSUPPORTED, "FETCH from a portal that has not been executed is not supported");
	if (!u->listed) {
		fetch_range(u, st, cur);
		u->listed = true;
	}
	while (u->row != u->end) {
		uint32_t n = 0;
		struct vec *cols;

		if (!move && sink->full && sink->full(sink->ctx))
			return ST_WAIT;
		for (; n < VEC_ROWS && u->row != u->end; u->row += (uint64_t)u->direction)
			rows[n++] = u->row - 1;
		p->row_count += n;
		if (move)
			continue;
		arena_reset(&p->result_arena);
		cols = ARENA_NEW_N(&p->result_arena, struct vec, cur->result.col_count + 1);
		rowset_gather(&cur->result, 0, cur->result.col_count, rows, n, &p->result_arena, cols);
		sink->rows(sink->ctx, &cur->bound->shape, cols, NULL, n);
	}
	p->tag = arena_printf(&p->arena, "%s %llu", st->tag, (unsigned long long)p->row_count);
	return ST_OK;
}

static enum status close_cursor(struct sql_session *s, const struct stmt *st, struct error *err)
{
	struct bmap_slot *slot;
	size_t at = 0;

	if (st->name) {
		if (!sql_portal_find(s, st->name) || !*st->name)
			return error_set(err, ST_BAD_PORTAL, "cursor \"%s\" does not exist", st->name);
		if (sql_portal_find(s, st->name) == s->active)
			return error_set(err, ST_STATE, "cannot drop active portal \"%s\"", st->name);
		sql_portal_close(s, st->name);
		return ST_OK;
	}
	while ((slot = bmap_next(&s->portals, &at))) {
		struct sql_portal *p = slot->value;

		if (!p->cursor || p == s->active)
			continue;
		(void)bmap_remove(&s->portals, p->name, strlen(p->name));
		portal_free(s, p);
	}
	return ST_OK;
}

/* -- EXPLAIN ------------------------------------------------------------------------------------------------------------- */

static enum status explain(struct sql_session *s, struct sql_portal *p, const struct sql_sink *sink, struct budget *work,
			   struct error *err)
{
	struct utility *u = p->utility;
	enum status st;

	if (!p->bound->stmt->query)
		return error_set(err, ST_UNSUPPORTED, "EXPLAIN of this statement is not supported");
	if (u->at == 0) {
		st = portal_begin(s, p, err);
		if (st)
			return st;
		u->started_us = access_now_us(s->access);
		u->at = 1;
	}
	if (u->at == 1 && p->bound->stmt->analyze) {
		st = portal_run(s, p, NULL, work, err);
		if (st)
			return st;
	}
	if (u->at == 1) {
		uint64_t us = access_now_us(s->access) - u->started_us;

		arena_reset(&p->result_arena);
		text_result(p, 1);
		explain_text(p->bound->stmt, p->bound->root, &p->exec, us, &p->result_arena, &p->result);
		access_statement_end(s->access);
		p->in_statement = false;
		exec_close(&p->exec);
		p->phase = PORTAL_DRAIN;
		u->at = 2;
	}
	return send_result(s, p, sink, err);
}

/* -- the rest ------------------------------------------------------------------------------------------------------------- */

static enum status discard(struct sql_session *s, const struct stmt *st, struct error *err)
{
	static const struct stmt all = {.kind = STMT_DEALLOCATE};
	enum status e;

	if (strcmp(st->name, "ALL"))
		return ST_OK;
	if (s->block == BLOCK_OPEN)
		return error_set(err, ST_ACTIVE_TRANSACTION, "DISCARD ALL cannot run inside a transaction block");
	e = deallocate(s, &all, err);
	if (!e)
		e = close_cursor(s, &all, err);
	if (!e)
		e = reset_all(s, err);
	s->last_sequence = NULL;
	access_advisory_unlock_all(s->access);
	return e;
}

static enum status lock_tables(struct sql_session *s, struct sql_portal *p, struct error *err)
{
	const struct stmt *st = p->bound->stmt;
	struct utility *u = p->utility;

	if (s->block != BLOCK_OPEN)
		return error_set(err, ST_NO_TRANSACTION, "LOCK TABLE can only be used in transaction blocks");
	for (; u->at < st->rel_count; u->at++) {
		/* SHARE UPDATE EXCLUSIVE and stronger keep everyone else out; the weaker ones are uses */
		enum status e = st->lock_mode >= 4 ? access_lock_relation(s->access, st->rels[u->at], err) :
						     access_use(s->access, st->rels[u->at], st->lock_mode >= 3, err);

		s->lock_nowait = e == ST_WAIT && st->lock_at_once;
		if (e)
			return e;
	}
	return ST_OK;
}

static enum status ddl(struct sql_session *s, struct sql_portal *p, struct budget *work, struct error *err)
{
	struct utility *u = p->utility;
	enum status st;

	if (u->at == 0) {
		if (s->txn_read_only && s->block != BLOCK_NONE)
			return error_set(err, ST_READ_ONLY, "cannot execute %s in a read-only transaction", p->bound->stmt->tag);
		st = portal_begin(s, p, err);
		if (st)
			return st;
		u->ddl = ddl_new(s, p);
		u->at = 1;
	}
	st = ddl_step(u->ddl, work, err);
	if (st)
		return st;
	if (p->bound->stmt->kind == STMT_CREATE_TABLE_AS && !p->bound->stmt->create_table->with_no_data)
		p->tag = arena_printf(&p->arena, "SELECT %llu", (unsigned long long)ddl_rows(u->ddl));
	access_statement_end(s->access);
	p->in_statement = false;
	return ST_OK;
}

static void notices(struct sql_session *s, const struct stmt *st)
{
	for (uint32_t i = 0; i < st->notice_count; i++)
		session_notice(s, "NOTICE", strstr(st->notices[i], "already exists") ? ST_DUPLICATE_TABLE : ST_OK, "%s",
			       st->notices[i]);
}

enum status utility_step(struct sql_session *s, struct sql_portal *p, uint64_t max_rows, const struct sql_sink *sink,
			 struct budget *work, struct error *err)
{
	const struct stmt *st = p->bound->stmt;

	if (!p->utility) {
		p->utility = ARENA_NEW(&p->arena, struct utility);
		notices(s, st);
	}
	switch ((enum stmt_kind)st->kind) {
	case STMT_SET:
	case STMT_RESET:
		return set(s, st, err);
	case STMT_SHOW:
		return show(s, p, sink, err);
	case STMT_PREPARE:
		return prepare(s, p, err);
	case STMT_EXECUTE:
		return execute(s, p, max_rows, sink, err);
	case STMT_DEALLOCATE:
		return deallocate(s, st, err);
	case STMT_DECLARE:
		return declare(s, p, err);
	case STMT_FETCH:
		return fetch(s, p, sink, err);
	case STMT_CLOSE:
		return close_cursor(s, st, err);
	case STMT_EXPLAIN:
		return explain(s, p, sink, work, err);
	case STMT_DISCARD:
		return discard(s, st, err);
	case STMT_LOCK:
		return lock_tables(s, p, err);
	case STMT_VACUUM:
	case STMT_COMMENT:
	case STMT_EMPTY:
		return ST_OK;
	default:
		return ddl(s, p, work, err);
	}
}
