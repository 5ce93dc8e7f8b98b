/*
 * copy_out.c - COPY TO STDOUT: rows of a table or a query as text, csv or binary, one piece a row.
 */
#include "engine/sql/session.h"

#include <string.h>

#include "base/assert.h"

struct copy_out {
	struct sql_portal *portal;
	const struct copy_stmt *stmt;
	const struct sql_sink *sink;
	struct buf row, value;
	uint64_t rows;
	bool begun;
};

void copy_out_free(struct copy_out *c)
{
	buf_fini(&c->row);
	buf_fini(&c->value);
	c->portal->copy_out = NULL;
}

static void put_text(struct copy_out *c, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		static const char from[] = "\b\f\n\r\t\v\\", to[] = "bfnrtv\\";
		const char *at = p[i] ? strchr(from, p[i]) : NULL;

		if (at) {
			put_u8(&c->row, '\\');
			put_u8(&c->row, (uint8_t)to[at - from]);
		} else {
			if (p[i] == c->stmt->delimiter)
				put_u8(&c->row, '\\');
			put_u8(&c->row, (uint8_t)p[i]);
		}
	}
}

static void put_csv(struct copy_out *c, const char *p, size_t n, bool force, bool alone)
{
	const struct copy_stmt *s = c->stmt;
	bool quote = force || (n == strlen(s->null_text) && !memcmp(p, s->null_text, n)) ||
		     (alone && n == 2 && p[0] == '\\' && p[1] == '.');

	for (size_t i = 0; i < n && !quote; i++)
		quote = p[i] == s->delimiter || p[i] == s->quote || p[i] == '\n' || p[i] == '\r';
	if (!quote) {
		buf_put(&c->row, p, n);
		return;
	}
	put_u8(&c->row, (uint8_t)s->quote);
	for (size_t i = 0; i < n; i++) {
		if (p[i] == s->quote || p[i] == s->escape)
			put_u8(&c->row, (uint8_t)s->escape);
		put_u8(&c->row, (uint8_t)p[i]);
	}
	put_u8(&c->row, (uint8_t)s->quote);
}

static void send_row(struct copy_out *c)
{
	c->sink->copy_out(c->sink->ctx, c->row.data, c->row.size);
	buf_reset(&c->row);
}

static void binary_value(struct copy_out *c, struct sql_type t, const struct cell *v)
{
	if (v->null) {
		be_put_u32(&c->row, UINT32_MAX);
		return;
	}
	buf_reset(&c->value);
	value_send(t, v, &c->value);
	be_put_u32(&c->row, (uint32_t)c->value.size);
	buf_put(&c->row, c->value.data, c->value.size);
}

static void one_row(struct copy_out *c, const struct plan *p, const struct vec *columns, uint32_t row)
{
	const struct copy_stmt *s = c->stmt;

	if (s->binary)
		be_put_u16(&c->row, (uint16_t)p->col_count);
	for (uint32_t i = 0; i < p->col_count; i++) {
		struct cell v;

		vec_cell(&columns[i], row, &v);
		if (s->binary) {
			binary_value(c, p->cols[i].type, &v);
			continue;
		}
		if (i)
			put_u8(&c->row, (uint8_t)s->delimiter);
		if (v.null) {
			buf_put(&c->row, s->null_text, strlen(s->null_text));
			continue;
		}
		buf_reset(&c->value);
		value_out(p->cols[i].type, &v, &c->value);
		if (s->csv)
			put_csv(c, (const char *)c->value.data, c->value.size, s->force_quote && s->force_quote[i], p->col_count == 1);
		else
			put_text(c, (const char *)c->value.data, c->value.size);
	}
	if (!s->binary)
		put_u8(&c->row, '\n');
	send_row(c);
	c->rows++;
}

static void rows(void *ctx, const struct sql_shape *shape, const struct vec *columns, const uint16_t *sel, uint32_t n)
{
	struct copy_out *c = ctx;

	(void)shape;
	for (uint32_t i = 0; i < n; i++)
		one_row(c, c->portal->bound->root->plan, columns, sel ? sel[i] : i);
}

static bool full(void *ctx)
{
	struct copy_out *c = ctx;

	return c->sink->full && c->sink->full(c->sink->ctx);
}

static void header(struct copy_out *c)
{
	static const uint8_t signature[19] = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xff, '\r', '\n', 0};
	const struct query *q = c->stmt->query;
	bool first = true;

	if (c->stmt->binary) {
		buf_put(&c->row, signature, sizeof signature);
		send_row(c);
		return;
	}
	if (!c->stmt->header)
		return;
	for (uint32_t i = 0; i < q->target_count; i++) {
		const char *name = q->targets[i].name;

		if (q->targets[i].junk)
			continue;
		if (!first)
			put_u8(&c->row, (uint8_t)c->stmt->delimiter);
		first = false;
		if (c->stmt->csv)
			put_csv(c, name, strlen(name), false, false);
		else
			put_text(c, name, strlen(name));
	}
	put_u8(&c->row, '\n');
	send_row(c);
}

enum status copy_out_step(struct sql_session *s, struct sql_portal *p, const struct sql_sink *sink, struct budget *work,
			  struct error *err)
{
	struct copy_out *c = p->copy_out;
	struct sql_sink own = {.rows = rows, .full = full};
	bool keep;
	enum status st;

	if (!c) {
		c = p->copy_out = ARENA_NEW(&p->arena, struct copy_out);
		c->portal = p;
		c->stmt = p->bound->stmt->copy;
		buf_init(&c->row, &p->mem);
		buf_init(&c->value, &p->mem);
	}
	c->sink = sink;
	own.ctx = c;
	if (p->phase < PORTAL_RUN) {
		st = portal_begin(s, p, err);
		if (st)
			return st;
		c->stmt = p->bound->stmt->copy;
	}
	if (!c->begun) {
		c->begun = true;
		sink->copy_out_begin(sink->ctx, p->bound->root->column_count, c->stmt->binary);
		header(c);
	}
	keep = p->bound->root->restarts;
	if (p->phase == PORTAL_RUN || p->phase == PORTAL_RESTART) {
		st = portal_run(s, p, keep ? NULL : &own, work, err);
		if (st)
			return st;
		p->phase = PORTAL_END;
	}
	if (keep) {
		emit_rowset(p, &p->bound->shape, &own, UINT64_MAX);
		if (p->result_at < p->result.count)
			return ST_WAIT;
	}
	if (c->stmt->binary) {
		be_put_u16(&c->row, 0xffff);
		send_row(c);
	}
	access_statement_end(s->access);
	p->in_statement = false;
	exec_close(&p->exec);
	p->tag = arena_printf(&p->arena, "COPY %llu", (unsigned long long)c->rows);
	p->phase = PORTAL_DONE;
	return ST_OK;
}
