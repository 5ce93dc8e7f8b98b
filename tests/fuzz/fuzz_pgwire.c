/*
 * fuzz_pgwire.c - libFuzzer target: what SQL clients may send, in what pieces, and when (tests).
 *
 * One connection over the fake of tests/unit/pgwire. The first byte: bit 0 begins with a good start-up, bit 1 starts a COPY
 * in, bit 2 COPY data is taken three bytes at a time, bit 3 little memory. Then a list of events, each a byte:
 *   0 to 199   so many bytes of the client's, which follow       200 the session is woken       201 canceled
 *   202 the output is read whole     203 read if there is much    204 statement_timeout          205 the client is gone
 *   206 shutdown                     else a good message: (byte - 207) mod 12
 * Nothing may hit an assertion, leak, or keep the loop from coming to an end.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../unit/pgwire/fake_sql.c"
#include "../unit/pgwire/pgwire_copy.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 100000

struct world {
	struct mem mem;
	struct pg_server *server;
	struct pg_conn *conn;
	uint32_t steps;
};

static void on_wake(void *ctx)
{
	(void)ctx;
}

static enum status on_gate(void *ctx, struct error *err)
{
	(void)ctx;
	(void)err;
	return ST_OK;
}

static uint32_t on_secret(void *ctx)
{
	(void)ctx;
	return 1;
}

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_pgwire: %s\n", what);
	abort();
}

/* The output is whole messages, but for the single letters that answer requests for encryption. */
static void output_check(struct world *w)
{
	size_t bytes;
	const uint8_t *p = pg_conn_output(w->conn, &bytes), *end = bytes ? p + bytes : p;
	uint32_t n;

	while (p < end) {
		if (*p == 'N' && (end - p < 2 || p[1] != 0)) {
			p++;
			continue;
		}
		must(end - p >= 5, "the output ends within a message");
		memcpy(&n, p + 1, sizeof n);
		n = __builtin_bswap32(n);
		must(n >= 4 && n < (size_t)(end - p), "a message is longer than the output");
		p += n + 1;
	}
}

static void read_all(struct world *w)
{
	size_t bytes;

	output_check(w);
	(void)pg_conn_output(w->conn, &bytes);
	pg_conn_consumed(w->conn, bytes);
}

static void run_all(struct world *w)
{
	while (pg_conn_step(w->conn) == PG_AGAIN)
		must(++w->steps < STEPS_MAX, "no end of steps");
}

static void send_bytes(struct world *w, const void *p, size_t bytes)
{
	if (pg_conn_wants_input(w->conn))
		pg_conn_input(w->conn, p, bytes);
	run_all(w);
}

#define MESSAGE(text) {text, sizeof text - 1}
static const struct { const char *p; size_t bytes; } good[12] = {
	MESSAGE("Q\0\0\0\x0b" "rows 9\0"), MESSAGE("Q\0\0\0\x0c" "copy in\0"), MESSAGE("d\0\0\0\x08" "a\tb\n"),
	MESSAGE("c\0\0\0\4"), MESSAGE("P\0\0\0\x0e" "p\0param\0\0\0"), MESSAGE("B\0\0\0\x15" "\0p\0\0\1\0\1\0\1\0\0\0\1x\0\0"),
	MESSAGE("E\0\0\0\x09" "\0\0\0\0\2"), MESSAGE("S\0\0\0\4"), MESSAGE("D\0\0\0\7Sp\0"), MESSAGE("C\0\0\0\6P\0"),
	MESSAGE("P\0\0\0\x10" "\0rows 400\0\0\0"), MESSAGE("B\0\0\0\x0c" "\0\0\0\0\0\0\0\0"),
};

static void event(struct world *w, uint8_t kind)
{
	struct sql_session *s = fake.sessions ? fake.last : NULL;
	size_t bytes;

	switch (kind) {
	case 200:
		if (s)
			fake_wake(s);
		break;
	case 201:
		pgw_cancel(w->server, w->conn->pid, w->conn->secret);
		break;
	case 202:
		read_all(w);
		break;
	case 203:
		(void)pg_conn_output(w->conn, &bytes);
		if (bytes == 1 || bytes > 64)
			read_all(w);
		break;
	case 204:
		if (s)
			pg_conn_timeout(w->conn);
		break;
	case 205:
		pg_conn_eof(w->conn);
		break;
	case 206:
		pg_server_shutdown(w->server, ST_ADMIN_SHUTDOWN);
		break;
	default:
		send_bytes(w, good[(kind - 207) % 12].p, good[(kind - 207) % 12].bytes);
	}
	run_all(w);
}

static void world_open(struct world *w, uint8_t flags)
{
	static const char start[] = "\0\0\0\x11\0\3\0\0user\0me\0";
	struct pg_server_config sc = {.mem = &w->mem, .gate = on_gate, .secret = on_secret, .message_max_bytes = 4000,
				      .output_bound_bytes = 3000};
	struct pg_conn_config cc = {.peer = "fuzz", .wake = on_wake};

	memset(w, 0, sizeof *w);
	fake_reset();
	mem_init(&w->mem, NULL, "fuzz", flags & 8 ? 20000 : 0);
	fake.copy_step = flags & 4 ? 3 : 0;
	w->server = cc.server = pg_server_new(&sc);
	w->conn = pg_conn_new(&cc);
	if (flags & 1)
		send_bytes(w, start, sizeof start);
	if (flags & 2)
		send_bytes(w, good[1].p, good[1].bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_init(data, size);
	struct world w;

	world_open(&w, get_u8(&r));
	while (reader_left(&r)) {
		uint8_t kind = get_u8(&r);
		size_t bytes = kind < reader_left(&r) ? kind : reader_left(&r);

		if (kind < 200)
			send_bytes(&w, get_raw(&r, bytes), bytes);
		else
			event(&w, kind);
	}
	read_all(&w);
	run_all(&w);
	pg_conn_free(w.conn);
	must(fake.sessions == 0, "a session is left");
	pg_server_free(w.server);
	mem_fini(&w.mem);
	return 0;
}
