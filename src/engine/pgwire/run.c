/*
 * run.c - running statements: those of a Query one after the other, and a portal of Execute (engine/pgwire).
 *
 * A Query's statements share one implicit transaction, which sql_sync() ends. The last one's tag goes out after
 * that, because a client takes the tag for the commit.
 */
#include <stdio.h>

#include "base/assert.h"
#include "engine/pgwire/pgwire_int.h"

static enum progress statement_outcome(struct pg_conn *c, enum status st, const struct error *err)
{
	if (pgw_is_wait(st))
		return pgw_waits(c, st);
	sql_session_error(c->session);
	return pgw_fail(c, st, err);
}

enum progress pgw_query(struct pg_conn *c, struct reader *r)
{
	const char *text = get_cstr(r);
	size_t bytes = (size_t)(r->end - pgw_front(c));
	struct error err = {.code = ST_OK};
	enum status st;

	if (!text || reader_left(r) != 0)
		return pgw_fatal(c, ST_PROTOCOL, "invalid message format");
	c->simple = true;
	c->formats = NULL;
	arena_reset(&c->arena);
	c->source = arena_strdup(&c->arena, text);
	c->raw_at = 0;
	c->raws.count = 0;
	pgw_consume(c, bytes);
	st = sql_parse(c->source, &c->arena, &c->raws, &err);
	if (st != ST_OK)
		return statement_outcome(c, st, &err);
	if (c->raws.count == 0) {
		pgw_empty(c, 'I');
		pgw_move(c, PH_SYNC);
	} else {
		pgw_move(c, PH_PREPARE);
	}
	return GO_ON;
}

enum progress pgw_run_prepare(struct pg_conn *c)
{
	struct error err = {.code = ST_OK};
	enum status st;

	ASSERT_OP(c->raw_at, <, c->raws.count);
	st = sql_prepare_raw(c->session, c->raws.at[c->raw_at], c->source, &c->prepared, &err);
	if (st != ST_OK)
		return statement_outcome(c, st, &err);
	c->stage_done = false;
	pgw_move(c, PH_BIND);
	return GO_ON;
}

enum progress pgw_run_bind(struct pg_conn *c)
{
	struct error err = {.code = ST_OK};
	struct sql_shape shape;
	enum status st = ST_OK;

	if (!c->stage_done)
		st = sql_bind(c->session, "", c->prepared, NULL, 0, &c->portal, &err);
	if (st == ST_OK) {
		c->stage_done = true;
		st = sql_portal_shape(c->session, c->portal, &shape, &err);
	}
	if (st != ST_OK)
		return statement_outcome(c, st, &err);
	c->stage_done = false;
	c->raw_at++;
	c->max_rows = 0;
	if (shape.columns)
		pgw_row_description(c, &shape, NULL);
	pgw_move(c, PH_RUN);
	return GO_ON;
}

static bool sink_full(void *ctx)
{
	struct pg_conn *c = ctx;

	return c->out.size - c->out_at > c->server->cfg.output_bound_bytes;
}

/* The statement is done. @tag lives in the portal, which the end of the transaction may free. */
static void complete(struct pg_conn *c, const char *tag)
{
	if (c->copy_out)
		pgw_empty(c, 'c');
	c->copy_out = false;
	if (!c->simple) {
		if (tag)
			pgw_tag(c, tag);
		else
			pgw_empty(c, 'I');
		pgw_move(c, PH_READY);
		return;
	}
	snprintf(c->tag, sizeof c->tag, "%s", tag ? tag : "");
	c->portal = NULL;
	if (c->raw_at == c->raws.count) {
		c->tag_held = true;
		pgw_move(c, PH_SYNC);
		return;
	}
	pgw_tag(c, c->tag);
	pgw_move(c, PH_PREPARE);
}

/* The protocol cannot carry what the statement returned, or there is no memory for it. */
static enum progress row_failed(struct pg_conn *c)
{
	enum status st = c->row_error;

	c->row_error = ST_OK;
	sql_session_error(c->session);
	if (st == ST_NOMEM)
		return pgw_failf(c, st, "out of memory for the rows of a result");
	return pgw_failf(c, st, "a row of the result is too large");
}

enum progress pgw_run(struct pg_conn *c)
{
	const struct sql_sink sink = {c,	     pgw_rows,		pgw_copy_out_begin,
				      pgw_copy_out,  pgw_copy_in_begin, sink_full};
	struct error err = {.code = ST_OK};
	const char *tag = NULL;
	enum status st;

	st = sql_portal_step(c->session, c->portal, c->max_rows, &sink, &tag, &err);
	if (c->row_error != ST_OK)
		return row_failed(c);
	switch (st) {
	case ST_OK:
		pgw_spend(c, STATEMENT_UNITS);
		complete(c, tag);
		return GO_ON;
	case ST_END:
		ASSERT(!c->simple);
		pgw_empty(c, 's');
		pgw_move(c, PH_READY);
		return GO_ON;
	case ST_WAIT:
		if (c->copy_in) {
			pgw_move(c, PH_COPY_IN);
			return GO_ON;
		}
		return pgw_waits(c, st);
	default:
		return statement_outcome(c, st, &err);
	}
}

/* A Query replaces the unnamed statement and portal; theirs lend from its text, which goes now. */
static void forget_unnamed(struct pg_conn *c)
{
	sql_portal_close(c->session, "");
	sql_prepared_close(c->session, "");
	arena_reset(&c->arena);
}

/* Sync, and the end of a Query. */
enum progress pgw_sync(struct pg_conn *c)
{
	struct error err = {.code = ST_OK};
	enum status st = sql_sync(c->session, c->failed, &err);

	if (pgw_is_wait(st))
		return pgw_waits(c, st);
	if (st == ST_ADMIN_SHUTDOWN || st == ST_CRASH_SHUTDOWN)
		return pgw_fail(c, st, &err);
	if (st != ST_OK)
		pgw_error(c, "ERROR", st, &err);
	else if (c->tag_held)
		pgw_tag(c, c->tag);
	c->tag_held = c->failed = c->skipping = false;
	if (sql_session_status(c->session) == 'I')
		pgw_formats_clear(c);
	if (c->simple)
		forget_unnamed(c);
	pgw_move(c, PH_READY);
	pgw_ready(c);
	return GO_ON;
}
