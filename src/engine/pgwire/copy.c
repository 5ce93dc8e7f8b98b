/*
 * copy.c - COPY over the wire (engine/pgwire).
 *
 * CopyData is handed on as it arrives: messages of any length take no room here. Its boundaries mean nothing.
 */
#include "base/assert.h"
#include "engine/pgwire/pgwire_int.h"

static void copy_begin(struct pg_conn *c, char type, uint32_t column_count, bool binary)
{
	size_t at = pgw_begin(&c->out, type);

	put_u8(&c->out, binary);
	be_put_u16(&c->out, (uint16_t)column_count);
	for (uint32_t i = 0; i < column_count; i++)
		be_put_u16(&c->out, binary);
	pgw_end(&c->out, at);
}

void pgw_copy_in_begin(void *ctx, uint32_t column_count, bool binary)
{
	struct pg_conn *c = ctx;

	ASSERT(!c->copy_in);
	c->copy_in = true;
	c->copy_left = 0;
	copy_begin(c, 'G', column_count, binary);
}

void pgw_copy_out_begin(void *ctx, uint32_t column_count, bool binary)
{
	struct pg_conn *c = ctx;

	c->copy_out = true;
	copy_begin(c, 'H', column_count, binary);
}

void pgw_copy_out(void *ctx, const void *data, size_t bytes)
{
	struct pg_conn *c = ctx;
	size_t at;

	if (c->row_error != ST_OK)
		return;
	if (bytes > MESSAGE_LIMIT_BYTES - 5 || !pgw_room(&c->mem, bytes)) {
		c->row_error = bytes > MESSAGE_LIMIT_BYTES - 5 ? ST_PROGRAM_LIMIT : ST_NOMEM;
		return;
	}
	at = pgw_begin(&c->out, 'd');
	buf_put(&c->out, data, bytes);
	pgw_end(&c->out, at);
}

static enum progress copy_failed(struct pg_conn *c, enum status st, const struct error *err)
{
	sql_session_error(c->session);
	return pgw_fail(c, st, err);
}

static enum progress copy_bytes(struct pg_conn *c)
{
	struct error err = {.code = ST_OK};
	size_t bytes = pgw_available(c), taken = 0;
	enum status st;

	if (bytes == 0)
		return NEED_INPUT;
	if (bytes > c->copy_left)
		bytes = c->copy_left;
	st = sql_copy_data(c->session, c->portal, pgw_front(c), bytes, &taken, &err);
	if (st != ST_OK && !pgw_is_wait(st))
		return copy_failed(c, st, &err);
	ASSERT_OP(taken, <=, bytes);
	if (st == ST_OK)
		taken = bytes;
	pgw_consume(c, taken);
	c->copy_left -= (uint32_t)taken;
	pgw_spend(c, taken);
	/* short is not yet waiting: asked for the rest, it says so */
	return st == ST_OK || taken > 0 ? GO_ON : pgw_waits(c, st);
}

/* The client ended the data; the portal's next step says how it went. */
static void copy_ends(struct pg_conn *c, size_t bytes)
{
	pgw_consume(c, bytes);
	c->copy_in = false;
	pgw_move(c, PH_RUN);
}

static enum progress copy_message(struct pg_conn *c, uint8_t type, size_t bytes)
{
	struct reader r = reader_init(pgw_front(c) + 5, bytes - 5);
	const char *why;

	switch (type) {
	case 'c':
		if (reader_left(&r) != 0)
			break;
		sql_copy_done(c->session, c->portal);
		copy_ends(c, bytes);
		return GO_ON;
	case 'f':
		why = get_cstr(&r);
		if (!why || reader_left(&r) != 0)
			break;
		sql_copy_fail(c->session, c->portal, why);
		copy_ends(c, bytes);
		return GO_ON;
	case 'H':
	case 'S': /* the protocol lets a client send these without knowing that a COPY began */
		pgw_consume(c, bytes);
		return GO_ON;
	case 'X':
		pgw_move(c, PH_CLOSED);
		return GO_ON;
	default:
		return pgw_fatal(c, ST_PROTOCOL, "unexpected message type 0x%02X during COPY from stdin", type);
	}
	return pgw_fatal(c, ST_PROTOCOL, "invalid message format");
}

enum progress pgw_copy_in(struct pg_conn *c)
{
	uint8_t type;
	uint32_t bytes;

	if (c->terminate != ST_OK)
		return pgw_fatal(c, c->terminate, "terminating connection: %s", status_text(c->terminate));
	if (c->copy_left > 0)
		return copy_bytes(c);
	if (pgw_available(c) < 5)
		return NEED_INPUT;
	type = *pgw_front(c);
	memcpy(&bytes, pgw_front(c) + 1, sizeof bytes);
	bytes = __builtin_bswap32(bytes);
	if (bytes < 4 || bytes > MESSAGE_LIMIT_BYTES || (type != 'd' && bytes > SMALL_MESSAGE_MAX_BYTES))
		return pgw_fatal(c, ST_PROTOCOL, "invalid message length");
	if (type == 'd') {
		pgw_consume(c, 5);
		c->copy_left = bytes - 4;
		return GO_ON;
	}
	if (pgw_available(c) < (size_t)bytes + 1)
		return NEED_INPUT;
	pgw_spend(c, MESSAGE_UNITS);
	return copy_message(c, type, (size_t)bytes + 1);
}
