/*
 * sql_rig.c - SQL text in, results as text out, over the fake store.
 */
#include "sql/sql_rig.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/env.h"

static void no_wake(void *ctx) { (void)ctx; }

static void notice(void *ctx, const char *severity, const struct error *what)
{
	struct sql_rig *r = ctx;

	buf_printf(&r->notices, "%s: %s\n", severity, what->message);
}

static void rows(void *ctx, const struct sql_shape *shape, const struct vec *columns, const uint16_t *sel, uint32_t n)
{
	struct sql_rig *r = ctx;

	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t c = 0; c < shape->column_count; c++) {
			struct cell v;

			vec_cell(&columns[c], sel ? sel[i] : i, &v);
			if (c)
				put_u8(&r->out, '|');
			if (v.null)
				buf_put(&r->out, "\\N", 2);
			else
				value_out(shape->columns[c].type, &v, &r->out);
		}
		put_u8(&r->out, '\n');
	}
}

static void copy_out(void *ctx, const void *data, size_t bytes)
{
	buf_put(&((struct sql_rig *)ctx)->out, data, bytes);
}

static void copy_begin(void *ctx, uint32_t column_count, bool binary)
{
	(void)ctx;
	(void)column_count;
	(void)binary;
}

static bool full(void *ctx)
{
	struct sql_rig *r = ctx;

	return r->full_one_of && rng_below(r->rng, r->full_one_of) == 0;
}

void rig_init(struct sql_rig *r)
{
	struct sql_session_config cfg = {0};

	memset(r, 0, sizeof *r);
	mem_init(&r->mem, NULL, "test", 0);
	r->engine = fake_engine_new(&r->mem);
	buf_init(&r->out, &r->mem);
	buf_init(&r->notices, &r->mem);
	r->rng = MEM_NEW(&r->mem, struct rng);
	rng_init(r->rng, 1);
	cfg.engine = r->engine;
	cfg.mem = &r->mem;
	cfg.user = "tester";
	cfg.database = "valence";
	cfg.backend_pid = 42;
	cfg.ctx = r;
	cfg.wake = no_wake;
	cfg.notice = notice;
	r->session = sql_session_new(&cfg);
}

void rig_fini(struct sql_rig *r)
{
	sql_session_free(r->session);
	fake_engine_free(r->engine);
	buf_fini(&r->out);
	buf_fini(&r->notices);
	MEM_FREE(&r->mem, r->rng);
	mem_fini(&r->mem);
}

static void put_error(struct sql_rig *r, const struct error *e)
{
	buf_printf(&r->out, "%s: %s", status_sqlstate(e->code), e->message);
	if (e->detail[0])
		buf_printf(&r->out, " (%s)", e->detail);
	if (e->context[0])
		buf_printf(&r->out, " (%s)", e->context);
	put_u8(&r->out, '\n');
}

static void between(struct sql_rig *r, enum status st)
{
	fake_turn(r->engine);
	r->waits += st == ST_WAIT;
	r->agains += st == ST_AGAIN;
	ASSERT_OP(r->waits, <, 100000000);
}

static enum status run_portal(struct sql_rig *r, struct sql_portal *p, uint64_t max_rows, struct error *err)
{
	const struct sql_sink sink = {.ctx = r, .rows = rows, .copy_out_begin = copy_begin, .copy_out = copy_out,
				      .copy_in_begin = copy_begin, .full = full};
	const char *tag;
	enum status st;

	for (;;) {
		st = sql_portal_step(r->session, p, max_rows, &sink, &tag, err);
		if (st == ST_END) {
			buf_put(&r->out, "--\n", 3);
			between(r, st);
			continue;
		}
		if (st == ST_WAIT && sql_portal_copying_in(p))
			return ST_WAIT;
		if (st != ST_WAIT && st != ST_AGAIN)
			break;
		between(r, st);
	}
	if (!st && tag)
		buf_printf(&r->out, "%s\n", tag);
	return st;
}

static enum status sync_all(struct sql_rig *r, bool failed, struct error *err)
{
	enum status st;

	while ((st = sql_sync(r->session, failed, err)) == ST_WAIT)
		between(r, st);
	return st;
}

static enum status bind_run(struct sql_rig *r, struct sql_prepared *p, const struct sql_param *params, uint32_t count,
			    uint64_t max_rows, struct sql_portal **portal, struct error *err)
{
	enum status st;

	while ((st = sql_bind(r->session, "", p, params, count, portal, err)) == ST_WAIT)
		between(r, st);
	return st ? st : run_portal(r, *portal, max_rows, err);
}

static const char *result(struct sql_rig *r)
{
	put_u8(&r->out, 0);
	return (const char *)r->out.data;
}

static enum status one_raw(struct sql_rig *r, const struct raw_stmt *raw, const char *text, struct sql_portal **portal,
			   struct error *err)
{
	struct sql_prepared *p;
	enum status st;

	while ((st = sql_prepare_raw(r->session, raw, text, &p, err)) == ST_WAIT)
		between(r, st);
	return st ? st : bind_run(r, p, NULL, 0, 0, portal, err);
}

static void end_query(struct sql_rig *r, enum status st, struct error *err)
{
	bool failed = st != ST_OK;

	if (failed)
		put_error(r, err);
	sql_portal_close(r->session, "");
	fake_turn(r->engine);
	st = sync_all(r, failed, err);
	if (st)
		put_error(r, err);
}

const char *rig_query(struct sql_rig *r, const char *text)
{
	struct arena arena;
	struct raw_list list;
	struct error err = {0};
	struct sql_portal *portal;
	enum status st;

	buf_reset(&r->out);
	buf_reset(&r->notices);
	arena_init(&arena, &r->mem);
	st = sql_parse(text, &arena, &list, &err);
	if (st)
		sql_session_error(r->session);
	for (uint32_t i = 0; !st && i < list.count; i++)
		st = one_raw(r, list.at[i], text, &portal, &err);
	end_query(r, st, &err);
	arena_fini(&arena);
	return result(r);
}

const char *rig_prepared(struct sql_rig *r, const char *text, uint32_t count, const char *const *params, uint64_t max_rows)
{
	struct sql_param in[32];
	struct error err = {0};
	struct sql_prepared *p;
	struct sql_portal *portal;
	enum status st;

	buf_reset(&r->out);
	buf_reset(&r->notices);
	ASSERT_OP(count, <=, 32);
	for (uint32_t i = 0; i < count; i++)
		in[i] = (struct sql_param){params[i], params[i] ? (int32_t)strlen(params[i]) : -1, false};
	while ((st = sql_prepare(r->session, "", text, NULL, 0, &p, &err)) == ST_WAIT)
		between(r, st);
	if (!st)
		st = bind_run(r, p, in, count, max_rows, &portal, &err);
	end_query(r, st, &err);
	return result(r);
}

static enum status feed(struct sql_rig *r, struct sql_portal *portal, const char *data, size_t bytes, size_t piece,
			struct error *err)
{
	while (bytes) {
		size_t n = bytes < piece ? bytes : piece, taken;
		enum status st = sql_copy_data(r->session, portal, data, n, &taken, err);

		data += taken;
		bytes -= taken;
		if (st && st != ST_WAIT)
			return st;
		between(r, st);
	}
	sql_copy_done(r->session, portal);
	return run_portal(r, portal, 0, err);
}

const char *rig_copy(struct sql_rig *r, const char *text, const char *data, size_t bytes, size_t piece)
{
	struct arena arena;
	struct raw_list list;
	struct error err = {0};
	struct sql_portal *portal = NULL;
	enum status st;

	buf_reset(&r->out);
	buf_reset(&r->notices);
	arena_init(&arena, &r->mem);
	st = sql_parse(text, &arena, &list, &err);
	if (!st)
		st = one_raw(r, list.at[0], text, &portal, &err);
	if (st == ST_WAIT)
		st = feed(r, portal, data, bytes, piece, &err);
	end_query(r, st, &err);
	arena_fini(&arena);
	return result(r);
}
