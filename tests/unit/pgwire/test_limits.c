/*
 * test_limits.c - what a client may not do: bytes that are no messages, messages too long, output it does not read.
 */
#include "rig.h"

#include <CUnit/CUnit.h>
#include <string.h>

#include "base/env.h"
#include "../unit.h"

#define EACH_FEED(r) for ((r).feed = FEED_WHOLE; (r).feed < FEED_COUNT; (r).feed++)

static void fatal(const void *bytes, size_t n, const char *want)
{
	struct rig r;
	const char *got;

	EACH_FEED(r) {
		rig_start(&r, NULL);
		buf_put(&r.send, bytes, n);
		got = rig_say(&r);
		CU_ASSERT(r.closed);
		CU_ASSERT_PTR_NOT_NULL(strstr(got, want));
		rig_close(&r);
	}
}

/* Bytes that are no message, and messages that are not laid out as theirs are, end the connection. */
static void test_limits_malformed(void)
{
	fatal("z\0\0\0\4", 5, "error(FATAL:08P01:invalid frontend message type 122)");
	fatal("\0\0\0\0\4", 5, "error(FATAL:08P01:invalid frontend message type 0)");
	fatal("p\0\0\0\4", 5, "error(FATAL:08P01:invalid frontend message type 112)");
	fatal("Q\0\0\0\3", 5, "error(FATAL:08P01:invalid message length)");
	fatal("Q\0\0\0\0", 5, "error(FATAL:08P01:invalid message length)");
	fatal("Q\xff\xff\xff\xff", 5, "error(FATAL:08P01:invalid message length)");
	fatal("Q\x40\0\0\1", 5, "error(FATAL:08P01:invalid message length)");
	fatal("S\0\1\0\0", 5, "error(FATAL:08P01:invalid message length)");
	fatal("S\0\0\0\5x", 6, "error(FATAL:08P01:invalid message format)");
	fatal("Q\0\0\0\5x", 6, "error(FATAL:08P01:invalid message format)");
	fatal("Q\0\0\0\7x\0y", 8, "error(FATAL:08P01:invalid message format)");
	fatal("P\0\0\0\6\0\0", 7, "error(FATAL:08P01:invalid message format)");
	fatal("P\0\0\0\x08\0\0\0\1", 9, "error(FATAL:08P01:invalid message format)");
	fatal("B\0\0\0\x0c\0\0\0\0\xff\xff\0\0", 13, "error(FATAL:08P01:invalid message format)");
	fatal("B\0\0\0\x10\0\0\0\0\0\1\xff\xff\xff\xfe\0\0", 17, "error(FATAL:08P01:invalid message format)");
	fatal("D\0\0\0\6Qx", 7, "error(FATAL:08P01:invalid message format)");
	fatal("C\0\0\0\5S", 6, "error(FATAL:08P01:invalid message format)");
	fatal("E\0\0\0\5\0", 6, "error(FATAL:08P01:invalid message format)");
}

/* A Describe or Close of neither a statement nor a portal is an error like others: the connection goes on after Sync. */
static void test_limits_subtype(void)
{
	struct rig r;

	EACH_FEED(r) {
		rig_start(&r, NULL);
		buf_put(&r.send, "D\0\0\0\6Q\0S\0\0\0\4C\0\0\0\6Q\0S\0\0\0\4", 24);
		CU_ASSERT_PTR_NOT_NULL(strstr(rig_say(&r), "08P01:invalid DESCRIBE message subtype 81"));
		CU_ASSERT(!r.closed);
		rig_close(&r);
	}
}

/* Within COPY only its own messages may come. */
static void test_limits_malformed_copy(void)
{
	static const char *const bad[] = {"Q\0\0\0\5\0", "d\0\0\0\3", "d\x7f\xff\xff\xff", "c\0\0\0\5x", "f\0\0\0\5x"};
	static const size_t bytes[] = {6, 5, 5, 6, 6};
	struct rig r;

	for (int i = 0; i < 5; i++)
		EACH_FEED(r) {
			rig_start(&r, NULL);
			put_query(&r, "copy in");
			buf_put(&r.send, bad[i], bytes[i]);
			CU_ASSERT_PTR_NOT_NULL(strstr(rig_say(&r), "copyin(2) error(FATAL:08P01:"));
			CU_ASSERT(r.closed);
			rig_close(&r);
		}
}

/* The function call message is refused and the connection goes on. */
static void test_limits_function_call(void)
{
	struct rig r;

	EACH_FEED(r) {
		rig_start(&r, NULL);
		put_message(&r, 'F', "ihhh", 1, 0, 0, 0);
		put_query(&r, "set");
		CU_ASSERT_STRING_EQUAL(rig_say(&r), "error(ERROR:0A000:the function call message is not supported) ready(I) "
						    "tag(SET) ready(I)");
		rig_close(&r);
	}
}

/* A message over the bound is refused before it is here, dropped without room as it comes, and the next is served. */
static void test_limits_long_message(void)
{
	const struct rig_limits limits = {.message_max = 1000};
	static char piece[50000];
	struct rig r = {.feed = FEED_WHOLE};
	size_t before;

	memset(piece, 'x', sizeof piece);
	rig_start(&r, &limits);
	put_query(&r, "begin");
	(void)rig_say(&r);
	buf_put(&r.send, "Q\x3f\0\0\0", 5); /* about 1 GB */
	CU_ASSERT_STRING_EQUAL(rig_say(&r),
			       "error(ERROR:54000:a message of 1056964609 bytes is over the limit of 1000) ready(E)");
	before = r.mem.used_bytes;
	for (uint32_t left = 0x3f000000 - 4; left > 0;) {
		uint32_t n = left < sizeof piece ? left : (uint32_t)sizeof piece;

		CU_ASSERT(pg_conn_wants_input(r.conn));
		pg_conn_input(r.conn, piece, n);
		left -= n;
		if (left % 64 == 0)
			CU_ASSERT_EQUAL(pg_conn_step(r.conn), PG_IDLE);
	}
	CU_ASSERT(r.mem.used_bytes <= before);
	put_query(&r, "rollback");
	CU_ASSERT_STRING_EQUAL(rig_say(&r), "tag(ROLLBACK) ready(I)");
	put_message(&r, 'P', "x", 2000, piece);
	put_bind(&r, "", "");
	put_sync(&r);
	put_query(&r, "set");
	CU_ASSERT_STRING_EQUAL(rig_say(&r), "error(ERROR:54000:a message of 2005 bytes is over the limit of 1000) ready(I) "
					    "tag(SET) ready(I)");
	rig_close(&r);
}

/* CopyData of any length passes through, whatever the bound. */
static void test_limits_long_copy(void)
{
	const struct rig_limits limits = {.message_max = 1000};
	static char piece[50000];
	struct rig r = {.feed = FEED_WHOLE};

	rig_start(&r, &limits);
	put_query(&r, "copy in");
	(void)rig_say(&r);
	buf_put(&r.send, "d\0\xf4\x24\4", 5); /* 16,000,000 and 4 */
	(void)rig_say(&r);
	for (int i = 0; i < 320; i++) {
		CU_ASSERT(pg_conn_wants_input(r.conn));
		pg_conn_input(r.conn, piece, sizeof piece);
		rig_run(&r);
	}
	CU_ASSERT(r.mem.peak_bytes < (1u << 20));
	put_message(&r, 'c', "");
	CU_ASSERT_STRING_EQUAL(rig_say(&r), "tag(COPY 1) ready(I)");
	rig_close(&r);
}

/* A client that does not read stops its statement within the bound, and its input too; reading lets it go on. */
static void test_limits_output_bound(void)
{
	const struct rig_limits limits = {.output_bound = 10000};
	struct rig r = {.feed = FEED_WHOLE};
	uint32_t rows = 0;
	size_t bytes, fed = 0;
	const char *got;

	rig_start(&r, &limits);
	r.mute = true;
	put_query(&r, "rows 5000");
	(void)rig_say(&r);
	(void)pg_conn_output(r.conn, &bytes);
	CU_ASSERT(bytes > 10000 && bytes < 15000);
	CU_ASSERT_EQUAL(pg_conn_step(r.conn), PG_IDLE);
	for (; pg_conn_wants_input(r.conn) && fed < 100000000; fed += r.send.size) {
		buf_reset(&r.send);
		put_query(&r, "set");
		pg_conn_input(r.conn, r.send.data, r.send.size);
	}
	CU_ASSERT(fed < 1000000);
	buf_reset(&r.send);
	r.mute = false;
	got = rig_read(&r);
	for (const char *p = strstr(got, " row("); p; p = strstr(p + 1, " row("))
		rows++;
	CU_ASSERT_EQUAL(rows, 5000);
	CU_ASSERT(pg_conn_wants_input(r.conn));
	rig_close(&r);
}

/* Many small messages in one piece are handled over several turns, none of which is long (S16). */
static void test_limits_turns(void)
{
	struct rig r = {.feed = FEED_WHOLE};
	uint32_t before, most = 0;
	enum pg_step st;

	rig_start(&r, NULL);
	for (int i = 0; i < 1000; i++)
		put_query(&r, "set");
	pg_conn_input(r.conn, r.send.data, r.send.size);
	do {
		before = fake.steps;
		st = pg_conn_step(r.conn);
		most = fake.steps - before > most ? fake.steps - before : most;
	} while (st == PG_AGAIN);
	CU_ASSERT_EQUAL(fake.steps, 1000);
	CU_ASSERT(most > 1 && most <= 64);
	rig_close(&r);
}

/* A result that there is no memory for fails its statement, and nothing else. */
static void test_limits_memory(void)
{
	const struct rig_limits limits = {.memory = 4u << 20};
	struct rig r = {.feed = FEED_WHOLE};

	rig_start(&r, &limits);
	put_query(&r, "big 1000000");
	CU_ASSERT_STRING_EQUAL(rig_say(&r), "columns(name:25:0) row(<1000000 bytes>) tag(DONE) ready(I)");
	put_query(&r, "big 5000000");
	CU_ASSERT_PTR_NOT_NULL(strstr(rig_say(&r), "error(ERROR:53200:out of memory for the rows of a result) ready(I)"));
	put_query(&r, "set");
	CU_ASSERT_STRING_EQUAL(rig_say(&r), "tag(SET) ready(I)");
	rig_close(&r);
}

/* Random bytes, and good conversations with bytes changed, never break it, whatever the pieces. */
static void test_limits_random(void)
{
	struct rig r = {.feed = FEED_RANDOM};
	struct rng rng;

	rng_init(&rng, 9);
	for (int round = 0; round < 3000; round++) {
		const struct rig_limits limits = {.message_max = 5000, .output_bound = 2000};

		rig_start(&r, &limits);
		r.seed = rng_next(&rng);
		put_query(&r, "rows 3; copy in; types");
		put_message(&r, 'd', "x", 4, "a\tb\n");
		put_message(&r, 'c', "");
		put_parse(&r, "p", "param");
		put_message(&r, 'D', "bs", 'S', "p");
		put_message(&r, 'B', "sshhhiih", "c", "p", 1, 1, 1, 4, 42, 0);
		put_execute(&r, "c", 0);
		put_sync(&r);
		put_query(&r, "copy out 3; notice; big 3000");
		for (uint64_t n = rng_below(&rng, 4); n-- > 0;)
			r.send.data[rng_below(&rng, r.send.size)] = (uint8_t)rng_next(&rng);
		if (round % 3 == 0)
			buf_truncate(&r.send, rng_below(&rng, r.send.size));
		r.mute = true; /* what is said may be anything */
		(void)rig_say(&r);
		pg_conn_eof(r.conn);
		r.mute = false;
		(void)rig_read(&r);
		CU_ASSERT(r.closed || fake.sessions == 1);
		rig_close(&r);
	}
}

void suite_pgwire_limits(void)
{
	CU_pSuite s = CU_add_suite("pgwire_limits", NULL, NULL);

	CU_add_test(s, "malformed", test_limits_malformed);
	CU_add_test(s, "subtype", test_limits_subtype);
	CU_add_test(s, "malformed_copy", test_limits_malformed_copy);
	CU_add_test(s, "function_call", test_limits_function_call);
	CU_add_test(s, "long_message", test_limits_long_message);
	CU_add_test(s, "long_copy", test_limits_long_copy);
	CU_add_test(s, "output_bound", test_limits_output_bound);
	CU_add_test(s, "turns", test_limits_turns);
	CU_add_test(s, "memory", test_limits_memory);
	CU_add_test(s, "random", test_limits_random);
}
