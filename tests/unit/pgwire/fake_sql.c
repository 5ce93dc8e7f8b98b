/*
 * fake_sql.c - a stand-in for engine/sql (tests).
 */
#include "fake_sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAKE_MAX 8
#define FAKE_VECTOR 100

struct sql_prepared { char name[32], text[64]; bool used; uint32_t types[1], type_count; };
struct sql_portal {
	char name[32], text[64], tag[64];
	bool used, copying, copy_blocked, copy_done, copy_began, copy_failed;
	uint64_t at, count;
	uint32_t spins;
	int32_t param;
	bool param_null;
};
struct sql_session {
	struct sql_session_config cfg;
	struct sql_prepared prepared[FAKE_MAX];
	struct sql_portal portals[FAKE_MAX];
	char block;
	bool woken, canceled, unsure, implicit;
	enum status terminated;
	uint64_t deadline_us;
	bool idle;
};

struct fake_world fake;

static const struct sql_result_column rows_columns[] = {{"id", {T_INT4, -1}, 77, 1}, {"name", {T_TEXT, -1}, 77, 2}};
static const struct sql_result_column types_columns[] = {
	{"b", {T_BOOL, -1}, 0, 0},	{"s", {T_INT2, -1}, 0, 0},    {"i", {T_INT4, -1}, 0, 0},
	{"l", {T_INT8, -1}, 0, 0},	{"v", {T_VARCHAR, 14}, 0, 0}, {"d", {T_DATE, -1}, 0, 0},
	{"x", {T_BYTEA, -1}, 0, 0},
};
static const struct sql_result_column none_column[1] = {{"", {0, 0}, 0, 0}};

void fake_reset(void)
{
	memset(&fake, 0, sizeof fake);
}

static bool is(const char *text, const char *word)
{
	size_t n = strlen(word);

	return strncmp(text, word, n) == 0 && (text[n] == '\0' || text[n] == ' ');
}

static uint64_t number(const char *text)
{
	const char *at = strpbrk(text, "0123456789");

	return at ? strtoull(at, NULL, 10) : 0;
}

static struct sql_shape shape_of(const char *text)
{
	if (is(text, "rows"))
		return (struct sql_shape){2, rows_columns};
	if (is(text, "types"))
		return (struct sql_shape){7, types_columns};
	if (is(text, "big"))
		return (struct sql_shape){1, rows_columns + 1};
	if (is(text, "param"))
		return (struct sql_shape){1, rows_columns};
	if (is(text, "none"))
		return (struct sql_shape){0, none_column};
	return (struct sql_shape){0, NULL};
}

/* -- sessions ---------------------------------------------------------------------------------------------- */

struct sql_session *sql_session_new(const struct sql_session_config *cfg)
{
	struct sql_session *s = MEM_NEW(cfg->mem, struct sql_session);

	s->cfg = *cfg;
	s->block = 'I';
	fake.sessions++;
	fake.last = s;
	return s;
}

void sql_session_free(struct sql_session *s)
{
	fake.sessions--;
	MEM_FREE(s->cfg.mem, s);
}

enum status sql_session_set(struct sql_session *s, const char *name, const char *value, struct error *err)
{
	(void)s;
	if (strcmp(name, "nonsense") == 0)
		return error_set(err, ST_UNDEFINED_OBJECT, "unrecognized configuration parameter \"%s\"", name);
	s->cfg.parameter(s->cfg.ctx, name, value);
	return ST_OK;
}

void sql_session_report(struct sql_session *s, void *ctx, void (*fn)(void *ctx, const char *name, const char *value))
{
	(void)s;
	fn(ctx, "server_version", "15.0");
}

char sql_session_status(const struct sql_session *s)
{
	return s->block;
}

void sql_session_cancel(struct sql_session *s)
{
	s->canceled = true;
}

void sql_session_terminate(struct sql_session *s, enum status why)
{
	s->terminated = why;
}

uint64_t sql_session_deadline_us(const struct sql_session *s)
{
	return s->deadline_us;
}

void sql_session_idle(struct sql_session *s, bool idle)
{
	s->idle = idle;
}

enum status sql_session_idle_expired(const struct sql_session *s)
{
	return s->idle ? fake.idle_expired : ST_OK;
}

void sql_session_error(struct sql_session *s)
{
	if (s->block == 'T')
		s->block = 'E';
}

void fake_wake(struct sql_session *s)
{
	s->woken = true;
	s->cfg.wake(s->cfg.ctx);
}

void fake_deadline(struct sql_session *s, uint64_t us)
{
	s->deadline_us = us;
}

static enum status interrupted(struct sql_session *s, struct error *err)
{
	if (s->terminated != ST_OK)
		return error_set(err, s->terminated, "terminating connection due to administrator command");
	if (s->canceled) {
		s->canceled = false;
		return error_set(err, ST_CANCELED, "canceling statement due to user request");
	}
	return ST_OK;
}

/* -- prepared statements ------------------------------------------------------------------------------------ */

enum status sql_parse(const char *text, struct arena *arena, struct raw_list *out, struct error *err)
{
	char *copy = arena_strdup(arena, text), *next;

	out->count = 0;
	out->at = ARENA_NEW_N(arena, struct raw_stmt *, strlen(text) + 1);
	for (char *at = copy; at; at = next) {
		next = strchr(at, ';');
		if (next)
			*next++ = '\0';
		while (*at == ' ')
			at++;
		if (is(at, "bad")) {
			error_set(err, ST_SYNTAX, "syntax error at or near \"bad\"");
			err->position = (int)(at - copy) + 1;
			return ST_SYNTAX;
		}
		if (*at) {
			struct raw_stmt *raw = ARENA_NEW(arena, struct raw_stmt);

			raw->text = at;
			out->at[out->count++] = raw;
		}
	}
	return ST_OK;
}

struct sql_prepared *sql_prepared_find(struct sql_session *s, const char *name)
{
	for (int i = 0; i < FAKE_MAX; i++)
		if (s->prepared[i].used && strcmp(s->prepared[i].name, name) == 0)
			return &s->prepared[i];
	return NULL;
}

void sql_prepared_close(struct sql_session *s, const char *name)
{
	struct sql_prepared *p = sql_prepared_find(s, name);

	if (p)
		p->used = false;
}

enum status sql_prepare(struct sql_session *s, const char *name, const char *text, const uint32_t *types,
			uint32_t type_count, struct sql_prepared **out, struct error *err)
{
	struct sql_prepared *p;

	if (s->block == 'E' && !is(text, "rollback") && !is(text, "commit"))
		return error_set(err, ST_IN_FAILED_TRANSACTION, "current transaction is aborted");
	if (is(text, "bad"))
		return error_set(err, ST_SYNTAX, "syntax error at or near \"bad\"");
	if (is(text, "slow") && !s->woken)
		return ST_WAIT;
	if (*name && sql_prepared_find(s, name))
		return error_set(err, ST_DUPLICATE_PREPARED, "prepared statement \"%s\" already exists", name);
	sql_prepared_close(s, "");
	for (p = s->prepared; p < s->prepared + FAKE_MAX && p->used; p++)
		;
	if (p == s->prepared + FAKE_MAX)
		return error_set(err, ST_NOMEM, "the fake is full");
	memset(p, 0, sizeof *p);
	p->used = true;
	snprintf(p->name, sizeof p->name, "%s", name);
	snprintf(p->text, sizeof p->text, "%s", text);
	if (is(text, "param")) {
		p->type_count = 1;
		p->types[0] = type_count && types[0] ? types[0] : T_INT4;
	}
	*out = p;
	return ST_OK;
}

enum status sql_prepare_raw(struct sql_session *s, const struct raw_stmt *raw, const char *source,
			    struct sql_prepared **out, struct error *err)
{
	(void)source;
	return sql_prepare(s, "", raw->text, NULL, 0, out, err);
}

uint32_t sql_prepared_params(const struct sql_prepared *p, const uint32_t **types_out)
{
	*types_out = p->types;
	return p->type_count;
}

enum status sql_prepared_shape(struct sql_session *s, struct sql_prepared *p, struct sql_shape *out, struct error *err)
{
	(void)s;
	(void)err;
	*out = shape_of(p->text);
	return ST_OK;
}

/* -- portals ------------------------------------------------------------------------------------------------ */

struct sql_portal *sql_portal_find(struct sql_session *s, const char *name)
{
	for (int i = 0; i < FAKE_MAX; i++)
		if (s->portals[i].used && strcmp(s->portals[i].name, name) == 0)
			return &s->portals[i];
	return NULL;
}

void sql_portal_close(struct sql_session *s, const char *name)
{
	struct sql_portal *p = sql_portal_find(s, name);

	if (p)
		memset(p, 0, sizeof *p);
}

enum status sql_bind(struct sql_session *s, const char *portal, struct sql_prepared *prepared,
		     const struct sql_param *params, uint32_t param_count, struct sql_portal **out, struct error *err)
{
	struct sql_portal *p;

	if (*portal && sql_portal_find(s, portal))
		return error_set(err, ST_DUPLICATE_CURSOR, "portal \"%s\" already exists", portal);
	sql_portal_close(s, "");
	for (p = s->portals; p < s->portals + FAKE_MAX && p->used; p++)
		;
	if (p == s->portals + FAKE_MAX)
		return error_set(err, ST_NOMEM, "the fake is full");
	memset(p, 0, sizeof *p);
	snprintf(p->name, sizeof p->name, "%s", portal);
	snprintf(p->text, sizeof p->text, "%s", prepared->text);
	p->used = true;
	p->count = is(p->text, "rows") || is(p->text, "copy out") ? number(p->text) : 1;
	p->spins = is(p->text, "spin") ? (uint32_t)number(p->text) : 0;
	if (param_count) {
		struct reader r = reader_init(params[0].data, params[0].bytes > 0 ? (size_t)params[0].bytes : 0);
		char text[16];

		p->param_null = params[0].bytes < 0;
		snprintf(text, sizeof text, "%.*s", params[0].bytes < 0 ? 0 : params[0].bytes,
			 params[0].data ? (const char *)params[0].data : "");
		p->param = params[0].binary ? (int32_t)be_get_u32(&r) : atoi(text);
	}
	*out = p;
	return ST_OK;
}

enum status sql_portal_shape(struct sql_session *s, struct sql_portal *p, struct sql_shape *out, struct error *err)
{
	(void)s;
	(void)err;
	*out = shape_of(p->text);
	return ST_OK;
}

static uint32_t emit_rows(struct sql_portal *p, uint64_t max, const struct sql_sink *sink)
{
	static int32_t ids[FAKE_VECTOR];
	static struct slice names[FAKE_VECTOR];
	static char texts[FAKE_VECTOR][16];
	uint64_t nulls[VEC_WORDS] = {0};
	uint16_t sel[FAKE_VECTOR];
	struct vec v[2] = {{.phys = PHYS_I32}, {.phys = PHYS_VAR}};
	struct sql_shape shape = shape_of("rows");
	uint32_t n = 0;

	for (; n < FAKE_VECTOR && n < max && p->at < p->count; n++, p->at++) {
		ids[n] = (int32_t)p->at;
		snprintf(texts[n], sizeof texts[n], "name%d", ids[n]);
		names[n] = (struct slice){(const uint8_t *)texts[n], (uint32_t)strlen(texts[n]), 0};
		if (p->at % 5 == 4)
			bit_set(nulls, n);
		sel[n] = (uint16_t)n;
	}
	v[0].i32 = ids;
	v[1].var = names;
	v[1].nulls = nulls;
	sink->rows(sink->ctx, &shape, v, sel, n);
	return n;
}

static void emit_types(const struct sql_sink *sink)
{
	uint8_t b = 1;
	int16_t s = -32768;
	int32_t i = INT32_MIN, d = 366;
	int64_t l = INT64_MIN;
	struct slice v = {(const uint8_t *)"h\xc3\xa9", 3, 0}, x = {(const uint8_t *)"\x00\xff", 2, 0};
	struct vec c[7] = {{.phys = PHYS_BOOL, .b = &b},  {.phys = PHYS_I16, .i16 = &s}, {.phys = PHYS_I32, .i32 = &i},
			   {.phys = PHYS_I64, .i64 = &l}, {.phys = PHYS_VAR, .var = &v}, {.phys = PHYS_I32, .i32 = &d},
			   {.phys = PHYS_VAR, .var = &x}};
	struct sql_shape shape = shape_of("types");
	uint16_t sel = 0;

	sink->rows(sink->ctx, &shape, c, &sel, 1);
}

static void emit_one(struct sql_portal *p, const struct sql_sink *sink)
{
	struct sql_shape shape = shape_of(p->text);
	struct slice big = {NULL, (uint32_t)number(p->text), 0};
	struct vec v = {.phys = PHYS_VAR, .constant = true, .var = &big};
	uint64_t nulls[VEC_WORDS] = {1};
	uint16_t sel = 0;
	uint8_t *bytes = NULL;

	if (is(p->text, "big")) {
		bytes = malloc(big.bytes + 1);
		memset(bytes, 'x', big.bytes + 1);
		big.p = bytes;
	} else {
		v = (struct vec){.phys = PHYS_I32, .i32 = &p->param, .nulls = p->param_null ? nulls : NULL};
	}
	sink->rows(sink->ctx, &shape, &v, &sel, 1);
	free(bytes);
}

static enum status rows_step(struct sql_portal *p, uint64_t max, const struct sql_sink *sink, const char **tag_out)
{
	uint64_t before = p->at;

	while (p->at < p->count && (max == 0 || p->at - before < max)) {
		if (sink->full(sink->ctx))
			return ST_WAIT;
		emit_rows(p, max ? max - (p->at - before) : UINT64_MAX, sink);
	}
	if (max && p->at - before == max)
		return ST_END;
	snprintf(p->tag, sizeof p->tag, "SELECT %llu", (unsigned long long)p->at);
	*tag_out = p->tag;
	return ST_OK;
}

static enum status fail(struct error *err)
{
	error_set(err, ST_UNIQUE, "it failed");
	error_detail(err, "the detail");
	error_hint(err, "the hint");
	err->position = 7;
	snprintf(err->relation, sizeof err->relation, "t");
	snprintf(err->column, sizeof err->column, "c");
	snprintf(err->constraint, sizeof err->constraint, "n");
	return ST_UNIQUE;
}

static enum status copy_in_step(struct sql_portal *p, const struct sql_sink *sink, const char **tag_out, struct error *err)
{
	if (!p->copy_began) {
		p->copy_began = p->copying = true;
		sink->copy_in_begin(sink->ctx, 2, false);
	}
	if (p->copy_failed)
		return error_set(err, ST_CANCELED, "COPY from stdin failed: %s", fake.copied);
	if (!p->copy_done)
		return ST_WAIT;
	*tag_out = "COPY 1";
	return ST_OK;
}

static enum status copy_out_step(struct sql_portal *p, const struct sql_sink *sink, const char **tag_out)
{
	if (!p->copy_began)
		sink->copy_out_begin(sink->ctx, 1, false);
	p->copy_began = true;
	for (; p->at < p->count; p->at++) {
		if (sink->full(sink->ctx))
			return ST_WAIT;
		sink->copy_out(sink->ctx, "row\n", 4);
	}
	*tag_out = "COPY 2";
	return ST_OK;
}

static void block_step(struct sql_session *s, struct sql_portal *p)
{
	snprintf(p->tag, sizeof p->tag, "%s", is(p->text, "begin") ? "BEGIN" : s->block == 'E' ? "ROLLBACK" : "COMMIT");
	s->block = is(p->text, "begin") ? 'T' : 'I';
}

static enum status run(struct sql_session *s, struct sql_portal *p, uint64_t max, const struct sql_sink *sink,
		       const char **tag_out, struct error *err)
{
	struct error what;

	if (is(p->text, "rows"))
		return rows_step(p, max, sink, tag_out);
	if (is(p->text, "copy in") || is(p->text, "copy fail"))
		return copy_in_step(p, sink, tag_out, err);
	if (is(p->text, "copy out"))
		return copy_out_step(p, sink, tag_out);
	if (is(p->text, "fail"))
		return fail(err);
	if (is(p->text, "wait") && !s->woken)
		return ST_WAIT;
	if (p->spins) {
		p->spins--;
		return ST_AGAIN;
	}
	if (is(p->text, "types"))
		emit_types(sink);
	if (is(p->text, "big") || is(p->text, "param"))
		emit_one(p, sink);
	if (is(p->text, "begin") || is(p->text, "commit") || is(p->text, "rollback"))
		block_step(s, p);
	else
		snprintf(p->tag, sizeof p->tag, "%s", is(p->text, "set") ? "SET" : "DONE");
	if (is(p->text, "notice")) {
		error_set(&what, ST_ACTIVE_TRANSACTION, "take note");
		s->cfg.notice(s->cfg.ctx, "NOTICE", &what);
		s->cfg.parameter(s->cfg.ctx, "TimeZone", "UTC");
	}
	s->unsure = s->unsure || is(p->text, "unsure");
	*tag_out = p->tag;
	return ST_OK;
}

enum status sql_portal_step(struct sql_session *s, struct sql_portal *p, uint64_t max_rows, const struct sql_sink *sink,
			    const char **tag_out, struct error *err)
{
	enum status st = interrupted(s, err);

	fake.steps++;
	*tag_out = NULL;
	if (st == ST_OK && p->text[0] == '\0')
		return ST_OK;
	if (st == ST_OK)
		st = run(s, p, max_rows, sink, tag_out, err);
	if (st != ST_OK && st != ST_WAIT && st != ST_AGAIN && st != ST_END)
		sql_session_error(s);
	return st;
}

enum status sql_copy_data(struct sql_session *s, struct sql_portal *p, const void *data, size_t bytes, size_t *taken_out,
			  struct error *err)
{
	size_t n = fake.copy_step && bytes > fake.copy_step ? fake.copy_step : bytes;

	*taken_out = 0;
	if (p->copy_blocked && !s->woken)
		return ST_WAIT;
	s->woken = p->copy_blocked = false;
	if (is(p->text, "copy fail"))
		return error_set(err, ST_BAD_COPY, "extra data after last expected column");
	if (n > sizeof fake.copied - 1 - fake.copied_bytes)
		n = sizeof fake.copied - 1 - fake.copied_bytes;
	memcpy(fake.copied + fake.copied_bytes, data, n);
	fake.copied_bytes += n;
	if (fake.copied_bytes == sizeof fake.copied - 1)
		n = bytes; /* the rest is forgotten */
	*taken_out = n;
	p->copy_blocked = n < bytes;
	return n < bytes ? ST_WAIT : ST_OK;
}

void sql_copy_done(struct sql_session *s, struct sql_portal *p)
{
	(void)s;
	p->copy_done = true;
	p->copying = false;
}

void sql_copy_fail(struct sql_session *s, struct sql_portal *p, const char *why)
{
	(void)s;
	p->copy_failed = true;
	p->copying = false;
	snprintf(fake.copied, sizeof fake.copied, "%s", why);
}

enum status sql_sync(struct sql_session *s, bool failed, struct error *err)
{
	bool unsure = s->unsure && !failed && s->block == 'I';

	s->unsure = false;
	s->woken = false;
	if (s->block == 'I') /* the transaction's portals go with it */
		memset(s->portals, 0, sizeof s->portals);
	return unsure ? error_set(err, ST_SERIALIZATION, "could not serialize access") : ST_OK;
}
