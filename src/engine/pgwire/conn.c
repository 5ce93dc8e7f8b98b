/*
 * conn.c - a connection: bytes to messages, and which part handles them (engine/pgwire).
 */
#include <stdio.h>

#include "base/assert.h"
#include "engine/pgwire/pgwire_int.h"

#define BIT(ph) (1u << (ph))

/* Who may follow. */
static const uint16_t phase_next[PH_COUNT] = {
	[PH_STARTUP] = BIT(PH_READY) | BIT(PH_CLOSED),
	[PH_READY] = BIT(PH_PREPARE) | BIT(PH_RUN) | BIT(PH_SYNC) | BIT(PH_CLOSED),
	[PH_PREPARE] = BIT(PH_BIND) | BIT(PH_SYNC) | BIT(PH_CLOSED),
	[PH_BIND] = BIT(PH_RUN) | BIT(PH_SYNC) | BIT(PH_CLOSED),
	[PH_RUN] = BIT(PH_COPY_IN) | BIT(PH_PREPARE) | BIT(PH_SYNC) | BIT(PH_READY) | BIT(PH_CLOSED),
	[PH_COPY_IN] = BIT(PH_RUN) | BIT(PH_SYNC) | BIT(PH_READY) | BIT(PH_CLOSED),
	[PH_SYNC] = BIT(PH_READY) | BIT(PH_CLOSED),
	[PH_CLOSED] = 0,
};

void pgw_move(struct pg_conn *c, enum phase to)
{
	if (c->phase == to && (to == PH_SYNC || to == PH_CLOSED))
		return;
	ASSERT_OP(phase_next[c->phase] & BIT(to), !=, 0);
	c->phase = (uint8_t)to;
	switch (to) {
	case PH_PREPARE:
	case PH_BIND:
		ASSERT(c->simple);
		break;
	case PH_RUN:
		ASSERT(c->portal != NULL);
		break;
	case PH_COPY_IN:
		ASSERT(c->portal != NULL && c->copy_in);
		break;
	case PH_READY:
		ASSERT(c->session != NULL && !c->copy_in && !c->tag_held);
		c->portal = NULL;
		break;
	default:
		break;
	}
}

size_t pgw_available(const struct pg_conn *c)
{
	return c->in.size - c->in_at;
}

const uint8_t *pgw_front(const struct pg_conn *c)
{
	return c->in.data ? c->in.data + c->in_at : NULL;
}

/* Takes a message or part of one off the input. */
void pgw_consume(struct pg_conn *c, size_t bytes)
{
	ASSERT_OP(bytes, <=, pgw_available(c));
	c->in_at += bytes;
	c->stage_done = false;
}

/* Would @bytes more keep within the limits of the account and those above it? */
bool pgw_room(const struct mem *m, size_t bytes)
{
	for (; m; m = m->parent)
		if (m->limit_bytes && (m->used_bytes > m->limit_bytes || bytes > m->limit_bytes - m->used_bytes))
			return false;
	return true;
}

void pgw_spend(struct pg_conn *c, uint64_t units)
{
	c->budget -= (int64_t)(units < TURN_UNITS ? units : TURN_UNITS);
}

enum progress pgw_waits(struct pg_conn *c, enum status st)
{
	ASSERT(pgw_is_wait(st));
	if (st == ST_AGAIN || c->woken)
		return NEED_TURN;
	c->waiting = true;
	return NEED_WAKE;
}

void *pgw_scratch(struct pg_conn *c, void *p, uint32_t *cap, uint32_t n, size_t size)
{
	uint32_t want = *cap ? *cap : 8;

	if (n <= *cap)
		return p;
	while (want < n)
		want *= 2;
	p = mem_realloc(&c->mem, p, *cap * size, want * size);
	*cap = want;
	return p;
}

struct pg_conn *pg_conn_new(const struct pg_conn_config *cfg)
{
	struct pg_server *sv = cfg->server;
	struct pg_conn *c = MEM_NEW(sv->cfg.mem, struct pg_conn);

	c->server = sv;
	c->cfg = *cfg;
	c->cfg.peer = NULL;
	c->log = sv->cfg.log;
	snprintf(c->peer, sizeof c->peer, "%s", cfg->peer ? cfg->peer : "");
	mem_init(&c->mem, sv->cfg.mem, "connection", 0);
	buf_init(&c->in, &c->mem);
	buf_init(&c->out, &c->mem);
	arena_init(&c->arena, &c->mem);
	bmap_init(&c->named, &c->mem);
	c->terminate = sv->closing;
	list_push_back(&sv->conns, &c->node);
	return c;
}

void pg_conn_free(struct pg_conn *c)
{
	struct mem *mem = c->server->cfg.mem;

	if (c->session)
		log_event(c->log, LOG_PGWIRE, LOG_DEBUG, "session ended", "peer=%s pid=%u", c->peer, c->pid);
	pgw_session_close(c);
	pgw_formats_clear(c);
	bmap_fini(&c->named);
	mem_free(&c->mem, c->unnamed.at, c->unnamed_cap);
	mem_free(&c->mem, c->params, c->params_cap * sizeof *c->params);
	mem_free(&c->mem, c->types, c->types_cap * sizeof *c->types);
	pgw_columns_free(c);
	arena_fini(&c->arena);
	buf_fini(&c->in);
	buf_fini(&c->out);
	mem_fini(&c->mem);
	list_remove(&c->node);
	MEM_FREE(mem, c);
}

static void drop_handled_input(struct pg_conn *c)
{
	if (c->in_at == c->in.size) {
		c->in_at = 0;
		buf_reset(&c->in);
		if (c->in.cap > KEEP_BYTES)
			buf_fini(&c->in);
	} else if (c->in_at >= c->in.size / 2) {
		buf_consume(&c->in, c->in_at);
		c->in_at = 0;
	}
}

void pg_conn_input(struct pg_conn *c, const void *data, size_t bytes)
{
	if (c->phase == PH_CLOSED)
		return;
	if (c->discard_bytes && pgw_available(c) == 0) {
		size_t n = bytes < c->discard_bytes ? bytes : (size_t)c->discard_bytes;

		c->discard_bytes -= n;
		data = (const uint8_t *)data + n;
		bytes -= n;
	}
	if (bytes == 0)
		return;
	drop_handled_input(c);
	if (c->in.cap - c->in.size < bytes && !pgw_room(&c->mem, c->in.cap + bytes)) {
		pgw_fatal(c, ST_NOMEM, "out of memory");
		return;
	}
	buf_put(&c->in, data, bytes);
}

void pg_conn_eof(struct pg_conn *c)
{
	c->eof = true;
}

/* The length field of the message at the front, type byte included; 0 when it is not here yet. */
static size_t front_bytes(const struct pg_conn *c)
{
	uint32_t bytes;

	if (c->phase == PH_STARTUP || pgw_available(c) < 5)
		return 0;
	memcpy(&bytes, pgw_front(c) + 1, sizeof bytes);
	return (size_t)__builtin_bswap32(bytes) + 1;
}

bool pg_conn_wants_input(const struct pg_conn *c)
{
	if (c->phase == PH_CLOSED || c->eof)
		return false;
	if (c->phase == PH_STARTUP)
		return pgw_available(c) < STARTUP_MAX_BYTES + INPUT_BOUND_BYTES;
	/* an unfinished message must get through; a finished one and those behind it wait within the bound */
	if (c->phase == PH_READY && !c->waiting && pgw_available(c) < front_bytes(c))
		return true;
	return pgw_available(c) < INPUT_BOUND_BYTES;
}

const void *pg_conn_output(const struct pg_conn *c, size_t *bytes_out)
{
	*bytes_out = c->out.size - c->out_at;
	return *bytes_out ? c->out.data + c->out_at : NULL;
}

void pg_conn_consumed(struct pg_conn *c, size_t bytes)
{
	ASSERT_OP(bytes, <=, c->out.size - c->out_at);
	c->out_at += bytes;
	if (c->out_at == c->out.size) {
		c->out_at = 0;
		buf_reset(&c->out);
		if (c->out.cap > 4 * KEEP_BYTES)
			buf_fini(&c->out);
	} else if (c->out_at > c->out.size / 2) {
		buf_consume(&c->out, c->out_at);
		c->out_at = 0;
	}
}

static size_t output_bytes(const struct pg_conn *c)
{
	return c->out.size - c->out_at;
}

bool pg_conn_unblocked(const struct pg_conn *c)
{
	return c->blocked && output_bytes(c) <= c->server->cfg.output_bound_bytes / 2;
}

bool pg_conn_started(const struct pg_conn *c)
{
	return c->session != NULL;
}

uint64_t pg_conn_deadline_us(const struct pg_conn *c)
{
	return c->session && c->phase != PH_CLOSED ? sql_session_deadline_us(c->session) : 0;
}

void pg_conn_timeout(struct pg_conn *c)
{
	pgw_interrupt(c);
}

/*
 * Something happened that the running statement finds out when it is stepped. One that waits for COPY data is not,
 * so it is asked here; it comes back to waiting if it has nothing to say.
 */
void pgw_interrupt(struct pg_conn *c)
{
	c->waiting = false;
	c->woken = true;
	if (c->phase == PH_COPY_IN)
		pgw_move(c, PH_RUN);
}

/* -- messages ------------------------------------------------------------------------------------------- */

static bool is_large_kind(uint8_t type)
{
	return type == 'Q' || type == 'P' || type == 'B' || type == 'd' || type == 'F';
}

static bool is_known_kind(uint8_t type)
{
	return type != 0 && strchr("QPBDECHSXFdcf", type) != NULL;
}

/*
 * A message that is too long for us but within the protocol: as it arrives it is dropped, so that the connection
 * stays in step; the statement fails.
 */
static enum progress refuse_long(struct pg_conn *c, uint8_t type, size_t bytes)
{
	pgw_consume(c, 5);
	c->discard_bytes = bytes - 5;
	if (c->skipping || type == 'd')
		return GO_ON;
	c->simple = type == 'Q' || type == 'F';
	sql_session_error(c->session);
	return pgw_failf(c, ST_PROGRAM_LIMIT, "a message of %zu bytes is over the limit of %zu", bytes,
			 c->server->cfg.message_max_bytes);
}

/* A FunctionCall: old, and rare even where it is known. */
static enum progress function_call(struct pg_conn *c, size_t bytes)
{
	pgw_consume(c, bytes);
	c->simple = true;
	sql_session_error(c->session);
	return pgw_failf(c, ST_UNSUPPORTED, "the function call message is not supported");
}

/* Extended messages leave their last half to here: consumed once they are done. */
static enum progress extended(struct pg_conn *c, uint8_t type, struct reader *r, size_t bytes)
{
	enum progress got;

	c->simple = false;
	switch (type) {
	case 'P':
		got = pgw_parse(c, r);
		break;
	case 'B':
		got = pgw_bind(c, r);
		break;
	case 'D':
		got = pgw_describe(c, r);
		break;
	default:
		got = pgw_close(c, r);
	}
	if (got == GO_ON && c->phase != PH_CLOSED)
		pgw_consume(c, bytes);
	return got;
}

static enum progress dispatch(struct pg_conn *c, uint8_t type, size_t bytes)
{
	struct reader r = reader_init(pgw_front(c) + 5, bytes - 5);

	switch (type) {
	case 'X':
		pgw_move(c, PH_CLOSED);
		return GO_ON;
	case 'S':
		if (reader_left(&r) != 0)
			return pgw_fatal(c, ST_PROTOCOL, "invalid message format");
		pgw_consume(c, bytes);
		c->skipping = false;
		c->simple = false;
		pgw_move(c, PH_SYNC);
		return GO_ON;
	case 'd':
	case 'c':
	case 'f': /* left over of a COPY that failed */
	case 'H': /* output is sent in every turn anyway */
		pgw_consume(c, bytes);
		return GO_ON;
	default:
		break;
	}
	if (c->skipping) {
		pgw_consume(c, bytes);
		return GO_ON;
	}
	switch (type) {
	case 'Q':
		return pgw_query(c, &r);
	case 'E':
		return pgw_execute(c, &r);
	case 'F':
		return function_call(c, bytes);
	default:
		return extended(c, type, &r, bytes);
	}
}

static enum progress discard(struct pg_conn *c)
{
	size_t n = pgw_available(c);

	if (n == 0)
		return NEED_INPUT;
	if (n > c->discard_bytes)
		n = (size_t)c->discard_bytes;
	pgw_consume(c, n);
	c->discard_bytes -= n;
	return GO_ON;
}

static enum progress next_message(struct pg_conn *c)
{
	size_t bytes;
	uint8_t type;

	if (c->discard_bytes)
		return discard(c);
	if (c->terminate != ST_OK)
		return pgw_fatal(c, c->terminate, "terminating connection: %s", status_text(c->terminate));
	if (pgw_available(c) == 0) {
		enum status idle = sql_session_idle_expired(c->session);

		return idle ? pgw_fatal(c, idle, "terminating connection due to %s", status_text(idle)) : NEED_INPUT;
	}
	type = *pgw_front(c);
	if (!is_known_kind(type))
		return pgw_fatal(c, ST_PROTOCOL, "invalid frontend message type %u", type);
	bytes = front_bytes(c);
	if (bytes == 0)
		return NEED_INPUT;
	if (bytes < 5 || bytes - 1 > MESSAGE_LIMIT_BYTES ||
	    (!is_large_kind(type) && bytes > SMALL_MESSAGE_MAX_BYTES))
		return pgw_fatal(c, ST_PROTOCOL, "invalid message length");
	if (bytes > c->server->cfg.message_max_bytes)
		return refuse_long(c, type, bytes);
	if (pgw_available(c) < bytes)
		return NEED_INPUT;
	sql_session_idle(c->session, false);
	pgw_spend(c, MESSAGE_UNITS + bytes / 64);
	return dispatch(c, type, bytes);
}

static enum progress advance(struct pg_conn *c)
{
	switch ((enum phase)c->phase) {
	case PH_STARTUP:
		return pgw_startup(c);
	case PH_READY:
		return next_message(c);
	case PH_PREPARE:
		return pgw_run_prepare(c);
	case PH_BIND:
		return pgw_run_bind(c);
	case PH_RUN:
		return pgw_run(c);
	case PH_COPY_IN:
		return pgw_copy_in(c);
	case PH_SYNC:
		return pgw_sync(c);
	default:
		UNREACHABLE();
	}
}

static bool output_full(struct pg_conn *c)
{
	return output_bytes(c) > c->server->cfg.output_bound_bytes;
}

enum pg_step pg_conn_step(struct pg_conn *c)
{
	c->budget = TURN_UNITS;
	while (c->phase != PH_CLOSED) {
		if (c->waiting && !(c->blocked && pg_conn_unblocked(c)))
			return PG_IDLE;
		c->waiting = c->woken = false;
		c->blocked = output_full(c);
		if (c->blocked)
			return PG_IDLE;
		if (c->budget <= 0)
			return PG_AGAIN;
		switch (advance(c)) {
		case GO_ON:
			break;
		case NEED_INPUT:
			if (!c->eof)
				return PG_IDLE;
			pgw_move(c, PH_CLOSED);
			break;
		case NEED_WAKE:
			c->blocked = output_full(c);
			return PG_IDLE;
		case NEED_TURN:
			return PG_AGAIN;
		}
	}
	return PG_CLOSE;
}
