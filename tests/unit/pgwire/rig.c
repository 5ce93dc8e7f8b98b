/*
 * rig.c - one connection, what is sent to it and what it answers (tests).
 */
#include "rig.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/env.h"

static void wake(void *ctx)
{
	((struct rig *)ctx)->wakes++;
}

static enum status gate(void *ctx, struct error *err)
{
	struct rig *r = ctx;

	if (r->gate == ST_OK)
		return ST_OK;
	error_set(err, r->gate, "the database system is starting up");
	error_detail(err, "why");
	return r->gate;
}

static uint32_t secret(void *ctx)
{
	(void)ctx;
	return 0xabcd1234;
}

static void cancel(void *ctx, uint32_t worker, uint32_t pid, uint32_t key)
{
	struct rig *r = ctx;

	r->passed_on++;
	r->passed_to = worker;
	r->passed_pid = pid;
	r->passed_key = key;
}

struct pg_conn *rig_connect(struct rig *r)
{
	struct pg_conn_config cfg = {.server = r->server, .peer = "test", .ctx = r, .wake = wake};

	return pg_conn_new(&cfg);
}

void rig_open(struct rig *r, const struct rig_limits *limits)
{
	struct pg_server_config cfg = {.gate = gate, .secret = secret, .cancel = cancel, .ctx = r};
	enum rig_feed feed = r->feed;

	memset(r, 0, sizeof *r);
	r->feed = feed;
	r->seed = 1;
	fake_reset();
	mem_init(&r->mem, NULL, "server", limits ? limits->memory : 0);
	mem_init(&r->own, NULL, "rig", 0);
	cfg.mem = &r->mem;
	if (limits) {
		cfg.connection_max = limits->connection_max;
		cfg.message_max_bytes = limits->message_max;
		cfg.output_bound_bytes = limits->output_bound;
		cfg.worker = limits->worker;
		cfg.workers = limits->workers;
	}
	buf_init(&r->send, &r->own);
	buf_init(&r->got, &r->own);
	buf_init(&r->text, &r->own);
	r->server = pg_server_new(&cfg);
	r->conn = rig_connect(r);
}

void rig_close(struct rig *r)
{
	if (r->conn)
		pg_conn_free(r->conn);
	pg_server_free(r->server);
	ASSERT_OP(fake.sessions, ==, 0);
	buf_fini(&r->send);
	buf_fini(&r->got);
	buf_fini(&r->text);
	mem_fini(&r->own);
	mem_fini(&r->mem);
}

static size_t random_below(struct rig *r, size_t n)
{
	r->seed = r->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (size_t)((r->seed >> 33) % n);
}

static void take_output(struct rig *r)
{
	size_t bytes;
	const void *p = pg_conn_output(r->conn, &bytes);

	if (r->mute || bytes == 0)
		return;
	if (r->feed == FEED_RANDOM)
		bytes = 1 + random_below(r, bytes);
	buf_put(&r->got, p, bytes);
	pg_conn_consumed(r->conn, bytes);
}

static bool output_left(const struct rig *r)
{
	size_t bytes;

	(void)pg_conn_output(r->conn, &bytes);
	return bytes > 0;
}

void rig_run(struct rig *r)
{
	enum pg_step st;

	do {
		st = pg_conn_step(r->conn);
		r->agains += st == PG_AGAIN;
		r->closed = st == PG_CLOSE;
		take_output(r);
	} while (st == PG_AGAIN || pg_conn_unblocked(r->conn) || (!r->mute && output_left(r)));
}

static void feed(struct rig *r)
{
	size_t at = 0, n;

	while (at < r->send.size) {
		n = r->send.size - at;
		if (r->feed == FEED_BYTES)
			n = 1;
		else if (r->feed == FEED_RANDOM)
			n = 1 + random_below(r, n < 40 ? n : 40);
		pg_conn_input(r->conn, r->send.data + at, n);
		at += n;
		rig_run(r);
	}
	buf_reset(&r->send);
}

/* -- answers as text ------------------------------------------------------------------------------------------ */

static void words_columns(struct rig *r, struct reader *m)
{
	uint32_t n = be_get_u16(m);

	buf_printf(&r->text, "columns(");
	for (uint32_t i = 0; i < n; i++) {
		const char *name = get_cstr(m);
		uint32_t type;

		(void)get_raw(m, 6);
		type = be_get_u32(m);
		(void)get_raw(m, 6);
		buf_printf(&r->text, "%s%s:%u:%u", i ? " " : "", name, type, be_get_u16(m));
	}
	buf_printf(&r->text, ")");
}

static void put_printable(struct rig *r, const uint8_t *p, size_t bytes)
{
	if (bytes > 40) {
		buf_printf(&r->text, "<%zu bytes>", bytes);
		return;
	}
	for (size_t i = 0; i < bytes; i++) {
		if (p[i] < ' ' || p[i] >= 0x7f)
			buf_printf(&r->text, "\\%02x", p[i]);
		else
			put_u8(&r->text, p[i]);
	}
}

static void words_row(struct rig *r, struct reader *m)
{
	uint32_t n = be_get_u16(m);

	buf_printf(&r->text, "row(");
	for (uint32_t i = 0; i < n; i++) {
		int32_t bytes = (int32_t)be_get_u32(m);
		const uint8_t *p = bytes < 0 ? NULL : get_raw(m, (size_t)bytes);

		if (i)
			put_u8(&r->text, '|');
		if (p)
			put_printable(r, p, (size_t)bytes);
		else
			put_u8(&r->text, '~');
	}
	put_u8(&r->text, ')');
}

static void words_error(struct rig *r, struct reader *m, const char *name)
{
	const char *field[128] = {NULL};
	uint8_t code;

	while ((code = get_u8(m)) != 0 && reader_ok(m))
		field[code & 127] = get_cstr(m);
	buf_printf(&r->text, "%s(%s:%s:%s", name, field['S'], field['C'], field['M']);
	ASSERT(field['V'] && strcmp(field['S'], field['V']) == 0);
	for (const char *f = "DHPtcn"; *f; f++)
		if (field[(int)*f])
			buf_printf(&r->text, ":%c=%s", *f, field[(int)*f]);
	put_u8(&r->text, ')');
}

static void words_params(struct rig *r, struct reader *m)
{
	uint32_t n = be_get_u16(m);

	buf_printf(&r->text, "params(");
	for (uint32_t i = 0; i < n; i++)
		buf_printf(&r->text, "%s%u", i ? " " : "", be_get_u32(m));
	put_u8(&r->text, ')');
}

static void words_copy(struct rig *r, struct reader *m, const char *name)
{
	uint32_t format = get_u8(m), n = be_get_u16(m);

	buf_printf(&r->text, "%s(%u", name, n);
	for (uint32_t i = 0; i < n; i++)
		ASSERT_OP(be_get_u16(m), ==, format);
	put_u8(&r->text, ')');
}

static void words_other(struct rig *r, char type, struct reader *m)
{
	const char *a, *b;

	switch (type) {
	case 'R':
		ASSERT_OP(be_get_u32(m), ==, 0);
		buf_printf(&r->text, "auth");
		break;
	case 'S':
		a = get_cstr(m);
		b = get_cstr(m);
		buf_printf(&r->text, "param(%s=%s)", a, b);
		break;
	case 'K':
		(void)get_raw(m, 8);
		buf_printf(&r->text, "key");
		break;
	case 'Z':
		buf_printf(&r->text, "ready(%c)", get_u8(m));
		break;
	case 'C':
		buf_printf(&r->text, "tag(%s)", get_cstr(m));
		break;
	case 'd':
		buf_printf(&r->text, "data(");
		put_printable(r, m->p, reader_left(m));
		(void)get_raw(m, reader_left(m));
		put_u8(&r->text, ')');
		break;
	case 'v':
		ASSERT_OP(be_get_u32(m), ==, 3u << 16);
		buf_printf(&r->text, "negotiate(%u", be_get_u32(m));
		while (reader_left(m))
			buf_printf(&r->text, " %s", get_cstr(m));
		put_u8(&r->text, ')');
		break;
	default:
		UNREACHABLE();
	}
}

static void words_of(struct rig *r, char type, struct reader *m)
{
	static const struct { char type; const char *word; } bare[] = {
		{'I', "empty"}, {'n', "none"}, {'1', "parsed"}, {'2', "bound"}, {'3', "closed"}, {'s', "suspended"},
		{'c', "copydone"},
	};

	if (r->text.size)
		put_u8(&r->text, ' ');
	for (size_t i = 0; i < sizeof bare / sizeof bare[0]; i++)
		if (bare[i].type == type) {
			buf_printf(&r->text, "%s", bare[i].word);
			ASSERT_OP(reader_left(m), ==, 0);
			return;
		}
	switch (type) {
	case 'T':
		words_columns(r, m);
		break;
	case 'D':
		words_row(r, m);
		break;
	case 'E':
		words_error(r, m, "error");
		break;
	case 'N':
		words_error(r, m, "notice");
		break;
	case 't':
		words_params(r, m);
		break;
	case 'G':
		words_copy(r, m, "copyin");
		break;
	case 'H':
		words_copy(r, m, "copyout");
		break;
	default:
		words_other(r, type, m);
	}
	ASSERT(reader_ok(m));
	ASSERT_OP(reader_left(m), ==, 0);
}

static const char *words(struct rig *r)
{
	struct reader in = reader_init(r->got.data, r->got.size), m;
	const uint8_t *body;
	uint32_t bytes;
	char type;

	buf_reset(&r->text);
	while (reader_left(&in)) {
		type = (char)get_u8(&in);
		/* the one answer that is not a message: a notice has a length whose first byte is 0 */
		if (type == 'N' && (reader_left(&in) == 0 || *in.p != 0)) {
			buf_printf(&r->text, "%sN", r->text.size ? " " : "");
			continue;
		}
		bytes = be_get_u32(&in);
		body = bytes >= 4 ? get_raw(&in, bytes - 4) : NULL;
		ASSERT(body != NULL);
		m = reader_init(body, bytes - 4);
		words_of(r, type, &m);
	}
	put_u8(&r->text, 0);
	buf_reset(&r->got);
	return (const char *)r->text.data;
}

const char *rig_say(struct rig *r)
{
	feed(r);
	return words(r);
}

const char *rig_read(struct rig *r)
{
	rig_run(r);
	return words(r);
}

/* -- messages ------------------------------------------------------------------------------------------------- */

void put_message(struct rig *r, char type, const char *pattern, ...)
{
	size_t at;
	uint32_t bytes;
	va_list ap;

	put_u8(&r->send, (uint8_t)type);
	at = r->send.size;
	be_put_u32(&r->send, 0);
	va_start(ap, pattern);
	for (; *pattern; pattern++) {
		const char *s;
		int n;

		switch (*pattern) {
		case 's':
			s = va_arg(ap, const char *);
			buf_put(&r->send, s, strlen(s) + 1);
			break;
		case 'i':
			be_put_u32(&r->send, (uint32_t)va_arg(ap, int));
			break;
		case 'h':
			be_put_u16(&r->send, (uint16_t)va_arg(ap, int));
			break;
		case 'b':
			put_u8(&r->send, (uint8_t)va_arg(ap, int));
			break;
		case 'x':
			n = va_arg(ap, int);
			s = va_arg(ap, const char *);
			buf_put(&r->send, s, (size_t)n);
			break;
		default:
			UNREACHABLE();
		}
	}
	va_end(ap);
	bytes = __builtin_bswap32((uint32_t)(r->send.size - at));
	memcpy(r->send.data + at, &bytes, sizeof bytes);
}

void put_startup(struct rig *r, uint32_t version, const char *more, size_t bytes)
{
	be_put_u32(&r->send, (uint32_t)(8 + bytes));
	be_put_u32(&r->send, version);
	buf_put(&r->send, more, bytes);
}

void put_start(struct rig *r)
{
	static const char start[] = "user\0me\0database\0db\0";

	put_startup(r, 3u << 16, start, sizeof start);
}

void put_query(struct rig *r, const char *text)
{
	put_message(r, 'Q', "s", text);
}

void put_sync(struct rig *r)
{
	put_message(r, 'S', "");
}

void put_parse(struct rig *r, const char *name, const char *text)
{
	put_message(r, 'P', "ssh", name, text, 0);
}

void put_bind(struct rig *r, const char *portal, const char *statement)
{
	put_message(r, 'B', "sshhh", portal, statement, 0, 0, 0);
}

void put_execute(struct rig *r, const char *portal, int32_t max_rows)
{
	put_message(r, 'E', "si", portal, max_rows);
}

void rig_start(struct rig *r, const struct rig_limits *limits)
{
	rig_open(r, limits);
	put_start(r);
	ASSERT(strcmp(rig_say(r), "auth param(server_version=15.0) key ready(I)") == 0);
}
