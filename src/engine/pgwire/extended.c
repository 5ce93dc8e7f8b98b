/*
 * extended.c - Parse, Bind, Describe, Close; Execute starts what run.c runs (engine/pgwire).
 *
 * Each is decoded whole before anything is done, and again when it had to wait: see pgwire_int.h.
 */
#include "base/assert.h"
#include "engine/pgwire/pgwire_int.h"

static enum progress malformed(struct pg_conn *c)
{
	return pgw_fatal(c, ST_PROTOCOL, "invalid message format");
}

/* What a call of sql.h outside of a running statement said. */
static enum progress outcome(struct pg_conn *c, enum status st, const struct error *err)
{
	if (st == ST_OK)
		return GO_ON;
	if (pgw_is_wait(st))
		return pgw_waits(c, st);
	sql_session_error(c->session);
	return pgw_fail(c, st, err);
}

static enum progress misuse(struct pg_conn *c, enum status st, const char *what, const char *name)
{
	sql_session_error(c->session);
	if (name[0] == '\0')
		return pgw_failf(c, st, "unnamed %s does not exist", what);
	return pgw_failf(c, st, "%s \"%s\" does not exist", what, name);
}

/* -- formats of results ----------------------------------------------------------------------------------- */

static void formats_free(struct pg_conn *c, struct formats *f)
{
	mem_free(&c->mem, f->at, f->count);
	MEM_FREE(&c->mem, f);
}

static void formats_forget(struct pg_conn *c, const char *portal)
{
	struct formats *f = bmap_remove(&c->named, portal, strlen(portal));

	if (f)
		formats_free(c, f);
}

void pgw_formats_clear(struct pg_conn *c)
{
	struct bmap_slot *slot;
	size_t at = 0;

	if (c->named.count == 0)
		return;
	while ((slot = bmap_next(&c->named, &at)) != NULL)
		formats_free(c, slot->value);
	bmap_fini(&c->named);
	bmap_init(&c->named, &c->mem);
}

/* A portal that Bind did not make (DECLARE CURSOR) has none: text. */
const struct formats *pgw_formats_find(struct pg_conn *c, const char *portal)
{
	if (portal[0] == '\0')
		return &c->unnamed;
	return bmap_find(&c->named, portal, strlen(portal));
}

/* @r stands at the codes, which were checked. */
static void formats_keep(struct pg_conn *c, const char *portal, struct reader r, uint32_t count)
{
	struct formats *f = &c->unnamed;

	if (portal[0] != '\0') {
		formats_forget(c, portal);
		if (count == 0)
			return;
		f = MEM_NEW(&c->mem, struct formats);
		f->at = mem_alloc(&c->mem, count);
		bmap_put(&c->named, portal, strlen(portal), f);
	} else {
		f->at = pgw_scratch(c, f->at, &c->unnamed_cap, count, 1);
	}
	f->count = count;
	for (uint32_t i = 0; i < count; i++)
		f->at[i] = (uint8_t)be_get_u16(&r);
}

static bool formats_known(struct reader r, uint32_t count, uint32_t *bad_out)
{
	for (uint32_t i = 0; i < count; i++) {
		*bad_out = be_get_u16(&r);
		if (*bad_out > 1)
			return false;
	}
	return true;
}

/* -- Parse ----------------------------------------------------------------------------------------------- */

enum progress pgw_parse(struct pg_conn *c, struct reader *r)
{
	const char *name = get_cstr(r), *text = get_cstr(r);
	uint32_t count = be_get_u16(r);
	struct sql_prepared *prepared;
	struct error err = {.code = ST_OK};
	enum progress got;

	if (!reader_ok(r) || reader_left(r) != 4 * (size_t)count)
		return malformed(c);
	c->types = pgw_scratch(c, c->types, &c->types_cap, count, sizeof *c->types);
	for (uint32_t i = 0; i < count; i++)
		c->types[i] = be_get_u32(r);
	got = outcome(c, sql_prepare(c->session, name, text, c->types, count, &prepared, &err), &err);
	if (got == GO_ON && !c->skipping && c->phase == PH_READY)
		pgw_empty(c, '1');
	return got;
}

/* -- Bind ------------------------------------------------------------------------------------------------ */

struct bind {
	const char *portal, *statement;
	uint32_t param_formats, params, result_formats;
	struct reader param_codes, result_codes;
};

/* Fills c->params. False: malformed. */
static bool bind_decode(struct pg_conn *c, struct reader *r, struct bind *b)
{
	b->portal = get_cstr(r);
	b->statement = get_cstr(r);
	b->param_formats = be_get_u16(r);
	b->param_codes = *r;
	(void)get_raw(r, 2 * (size_t)b->param_formats);
	b->params = be_get_u16(r);
	if (!reader_ok(r) || reader_left(r) / 4 < b->params)
		return false;
	c->params = pgw_scratch(c, c->params, &c->params_cap, b->params, sizeof *c->params);
	for (uint32_t i = 0; i < b->params; i++) {
		int32_t bytes = (int32_t)be_get_u32(r);

		if (bytes < -1)
			return false;
		c->params[i].bytes = bytes;
		c->params[i].data = bytes < 0 ? NULL : get_raw(r, (size_t)bytes);
		c->params[i].binary = false;
	}
	b->result_formats = be_get_u16(r);
	b->result_codes = *r;
	(void)get_raw(r, 2 * (size_t)b->result_formats);
	return reader_ok(r) && reader_left(r) == 0;
}

static void bind_param_formats(struct pg_conn *c, const struct bind *b)
{
	struct reader r = b->param_codes;
	bool binary = false;

	for (uint32_t i = 0; i < b->params; i++) {
		if (i < b->param_formats)
			binary = be_get_u16(&r) == 1;
		c->params[i].binary = b->param_formats > 0 && binary;
	}
}

/* What can be wrong about a well-formed Bind. ST_OK: nothing. */
static enum status bind_check(const struct bind *b, const struct sql_prepared *p, struct error *err)
{
	const uint32_t *types;
	uint32_t want = sql_prepared_params(p, &types), bad;

	if (b->param_formats > 1 && b->param_formats != b->params)
		return error_set(err, ST_PROTOCOL, "bind message has %u parameter formats but %u parameters",
				 b->param_formats, b->params);
	if (b->params != want)
		return error_set(err, ST_PROTOCOL,
				 "bind message supplies %u parameters, but prepared statement \"%s\" requires %u",
				 b->params, b->statement, want);
	if (!formats_known(b->param_codes, b->param_formats, &bad) ||
	    !formats_known(b->result_codes, b->result_formats, &bad))
		return error_set(err, ST_BAD_PARAMETER, "unsupported format code: %u", bad);
	return ST_OK;
}

enum progress pgw_bind(struct pg_conn *c, struct reader *r)
{
	struct error err = {.code = ST_OK};
	struct sql_prepared *p;
	struct sql_portal *portal;
	struct sql_shape shape;
	struct bind b;
	enum status st;

	if (!bind_decode(c, r, &b))
		return malformed(c);
	p = sql_prepared_find(c->session, b.statement);
	if (!p)
		return misuse(c, ST_BAD_PREPARED_NAME, "prepared statement", b.statement);
	if (!c->stage_done) {
		st = bind_check(&b, p, &err);
		if (st != ST_OK)
			return outcome(c, st, &err);
		bind_param_formats(c, &b);
		st = sql_bind(c->session, b.portal, p, c->params, b.params, &portal, &err);
		if (st != ST_OK)
			return outcome(c, st, &err);
		c->stage_done = true;
	}
	portal = sql_portal_find(c->session, b.portal);
	ASSERT(portal != NULL);
	if (b.result_formats > 1) {
		st = sql_portal_shape(c->session, portal, &shape, &err);
		if (st == ST_OK && shape.column_count != b.result_formats)
			st = error_set(&err, ST_PROTOCOL, "bind message has %u result formats but query has %u columns",
				       b.result_formats, shape.column_count);
		if (st != ST_OK)
			return outcome(c, st, &err);
	}
	formats_keep(c, b.portal, b.result_codes, b.result_formats);
	pgw_empty(c, '2');
	return GO_ON;
}

/* -- Describe, Close, Execute ------------------------------------------------------------------------------ */

static void rows_or_none(struct pg_conn *c, const struct sql_shape *shape, const struct formats *f)
{
	if (shape->columns)
		pgw_row_description(c, shape, f);
	else
		pgw_empty(c, 'n');
}

static enum progress describe_statement(struct pg_conn *c, const char *name)
{
	struct sql_prepared *p = sql_prepared_find(c->session, name);
	struct error err = {.code = ST_OK};
	struct sql_shape shape;
	const uint32_t *types;
	enum status st;
	uint32_t count;
	size_t at;

	if (!p)
		return misuse(c, ST_BAD_PREPARED_NAME, "prepared statement", name);
	st = sql_prepared_shape(c->session, p, &shape, &err);
	if (st != ST_OK)
		return outcome(c, st, &err);
	count = sql_prepared_params(p, &types);
	at = pgw_begin(&c->out, 't');
	be_put_u16(&c->out, (uint16_t)count);
	for (uint32_t i = 0; i < count; i++)
		be_put_u32(&c->out, types[i]);
	pgw_end(&c->out, at);
	rows_or_none(c, &shape, NULL);
	return GO_ON;
}

static enum progress describe_portal(struct pg_conn *c, const char *name)
{
	struct sql_portal *portal = sql_portal_find(c->session, name);
	struct error err = {.code = ST_OK};
	struct sql_shape shape;
	enum status st;

	if (!portal)
		return misuse(c, ST_BAD_PORTAL, "portal", name);
	st = sql_portal_shape(c->session, portal, &shape, &err);
	if (st != ST_OK)
		return outcome(c, st, &err);
	rows_or_none(c, &shape, pgw_formats_find(c, name));
	return GO_ON;
}

/* 'S' or 'P' and a name; NULL: malformed */
static const char *object_name(struct reader *r, uint8_t *kind_out)
{
	const char *name;

	*kind_out = get_u8(r);
	name = get_cstr(r);
	return name && reader_left(r) == 0 ? name : NULL;
}

static enum progress bad_kind(struct pg_conn *c, const char *message, uint8_t kind)
{
	sql_session_error(c->session);
	return pgw_failf(c, ST_PROTOCOL, "invalid %s message subtype %u", message, kind);
}

enum progress pgw_describe(struct pg_conn *c, struct reader *r)
{
	uint8_t kind;
	const char *name = object_name(r, &kind);

	if (!name)
		return malformed(c);
	if (kind != 'S' && kind != 'P')
		return bad_kind(c, "DESCRIBE", kind);
	return kind == 'S' ? describe_statement(c, name) : describe_portal(c, name);
}

enum progress pgw_close(struct pg_conn *c, struct reader *r)
{
	uint8_t kind;
	const char *name = object_name(r, &kind);

	if (!name)
		return malformed(c);
	if (kind != 'S' && kind != 'P')
		return bad_kind(c, "CLOSE", kind);
	if (kind == 'S') {
		sql_prepared_close(c->session, name);
	} else {
		sql_portal_close(c->session, name);
		if (name[0] != '\0')
			formats_forget(c, name);
	}
	pgw_empty(c, '3');
	return GO_ON;
}

enum progress pgw_execute(struct pg_conn *c, struct reader *r)
{
	const char *name = get_cstr(r);
	uint32_t max_rows = be_get_u32(r);
	struct sql_portal *portal;
	enum progress got;

	c->simple = false;
	if (!reader_ok(r) || reader_left(r) != 0)
		return malformed(c);
	portal = sql_portal_find(c->session, name);
	if (!portal) {
		got = misuse(c, ST_BAD_PORTAL, "portal", name);
	} else {
		c->formats = pgw_formats_find(c, name);
		c->portal = portal;
		c->max_rows = (int32_t)max_rows > 0 ? max_rows : 0;
		pgw_move(c, PH_RUN);
		got = GO_ON;
	}
	pgw_consume(c, (size_t)(r->end - pgw_front(c)));
	return got;
}
