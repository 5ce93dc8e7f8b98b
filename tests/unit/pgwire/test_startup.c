/*
 * test_startup.c - the first packets of a connection, and its end.
 */
#include "rig.h"

#include <CUnit/CUnit.h>
#include <string.h>

#include "../unit.h"

#define START_ANSWER "auth param(server_version=15.0) key ready(I)"

/* Runs a case for every way in which bytes may arrive and leave. */
#define EACH_FEED(r) for ((r).feed = FEED_WHOLE; (r).feed < FEED_COUNT; (r).feed++)

static void put_words(struct rig *r, const char *words, size_t bytes)
{
	put_startup(r, 3u << 16, words, bytes);
}

/* The bytes of a start are exactly these. */
static void test_startup_bytes(void)
{
	static const uint8_t want[] = "R\0\0\0\x08\0\0\0\0"
				      "S\0\0\0\x18server_version\0" "15.0\0"
				      "K\0\0\0\x0c\0\0\x03\xe8\xab\xcd\x12\x34"
				      "Z\0\0\0\x05I";
	struct rig r = {.feed = FEED_WHOLE};
	size_t bytes;
	const void *p;

	rig_open(&r, NULL);
	r.mute = true;
	put_start(&r);
	(void)rig_say(&r);
	p = pg_conn_output(r.conn, &bytes);
	CU_ASSERT_EQUAL(bytes, sizeof want - 1);
	CU_ASSERT(bytes == sizeof want - 1 && memcmp(p, want, bytes) == 0);
	CU_ASSERT(pg_conn_started(r.conn));
	rig_close(&r);
}

/* SSLRequest and GSSENCRequest are declined once each, in any order, and the start goes on. */
static void test_startup_declines_encryption(void)
{
	struct rig r;

	EACH_FEED(r) {
		rig_open(&r, NULL);
		put_startup(&r, 80877104, "", 0);
		CU_ASSERT_STRING_EQUAL(rig_say(&r), "N");
		put_startup(&r, 80877103, "", 0);
		CU_ASSERT_STRING_EQUAL(rig_say(&r), "N");
		put_start(&r);
		CU_ASSERT_STRING_EQUAL(rig_say(&r), START_ANSWER);
		rig_close(&r);
		rig_open(&r, NULL);
		put_startup(&r, 80877103, "", 0);
		put_startup(&r, 80877103, "", 0);
		CU_ASSERT_STRING_EQUAL(rig_say(&r), "N error(FATAL:0A000:unsupported frontend protocol 1234.5679: server "
						    "supports 3.0 to 3.0)");
		CU_ASSERT(r.closed);
		rig_close(&r);
	}
}

/* A newer minor version and unknown protocol options are negotiated, a newer major one is refused. */
static void test_startup_negotiates(void)
{
	static const char words[] = "user\0me\0_pq_.new\0x\0";
	struct rig r;

	EACH_FEED(r) {
		rig_open(&r, NULL);
		put_startup(&r, 3u << 16 | 2, words, sizeof words);
		CU_ASSERT_STRING_EQUAL(rig_say(&r), "negotiate(1 _pq_.new) " START_ANSWER);
		rig_close(&r);
		rig_open(&r, NULL);
		put_startup(&r, 4u << 16, words, sizeof words);
		CU_ASSERT_PTR_NOT_NULL(strstr(rig_say(&r), "error(FATAL:0A000:"));
		CU_ASSERT(r.closed);
		rig_close(&r);
	}
}

/* Settings and options reach the session; one that it does not know ends the start. */
static void test_startup_settings(void)
{
	static const char good[] = "user\0me\0options\0-c a=1 --b-c=2\\ 3 -cd=4\0application_name\0x\0";
	static const char bad[] = "user\0me\0options\0-c nonsense=1\0";
	static const char worse[] = "user\0me\0options\0-z\0";
	static const char replication[] = "user\0me\0replication\0database\0";
	static const char no_replication[] = "user\0me\0replication\0false\0";
	struct rig r = {.feed = FEED_WHOLE};

	rig_open(&r, NULL);
	put_words(&r, good, sizeof good);
	CU_ASSERT_STRING_EQUAL(rig_say(&r), START_ANSWER);
	rig_close(&r);
	rig_open(&r, NULL);
	put_words(&r, bad, sizeof bad);
	CU_ASSERT_STRING_EQUAL(rig_say(&r),
			       "error(FATAL:42704:unrecognized configuration parameter \"nonsense\")");
	CU_ASSERT(r.closed);
	CU_ASSERT_EQUAL(fake.sessions, 0);
	rig_close(&r);
	rig_open(&r, NULL);
	put_words(&r, worse, sizeof worse);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig_say(&r), "error(FATAL:42601:invalid command-line argument"));
	rig_close(&r);
	rig_open(&r, NULL);
	put_words(&r, replication, sizeof replication);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig_say(&r), "error(FATAL:0A000:replication"));
	rig_close(&r);
	rig_open(&r, NULL);
	put_words(&r, no_replication, sizeof no_replication);
	CU_ASSERT_STRING_EQUAL(rig_say(&r), START_ANSWER);
	rig_close(&r);
}

static void refused(const void *bytes, size_t n, const char *want)
{
	struct rig r;
	const char *got;

	EACH_FEED(r) {
		rig_open(&r, NULL);
		buf_put(&r.send, bytes, n);
		got = rig_say(&r);
		CU_ASSERT(r.closed);
		CU_ASSERT_PTR_NOT_NULL(strstr(got, want));
		CU_ASSERT_EQUAL(fake.sessions, 0);
		rig_close(&r);
	}
}

/* A start-up packet that is none is answered FATAL and the connection closed. */
static void test_startup_malformed(void)
{
	refused("GET / HTTP/1.1\r\n\r\n", 18, "error(FATAL:08P01:invalid length of startup packet)");
	refused("\0\0\0\7\0\3\0\0", 8, "error(FATAL:08P01:invalid length of startup packet)");
	refused("\0\0\x27\x11\0\3\0\0", 8, "error(FATAL:08P01:invalid length of startup packet)");
	refused("\xff\xff\xff\xff\0\3\0\0", 8, "error(FATAL:08P01:");
	refused("\0\0\0\x0f\0\3\0\0user\0me", 15, "error(FATAL:08P01:invalid startup packet layout");
	refused("\0\0\0\x12\0\3\0\0user\0me\0\0x", 18, "error(FATAL:08P01:invalid startup packet layout");
	refused("\0\0\0\x09\0\3\0\0\0", 9, "error(FATAL:28000:no user name specified in startup packet)");
	refused("\0\0\0\x10\0\3\0\0user\0\xff\0\0", 16, "error(FATAL:22021:");
	refused("\0\0\0\x08\0\2\0\0", 8, "error(FATAL:0A000:unsupported frontend protocol 2.0");
}

/* An engine that is not ready says so and why; one that is full says that. */
static void test_startup_gate(void)
{
	const struct rig_limits one = {.connection_max = 1};
	struct rig r = {.feed = FEED_WHOLE};
	struct pg_conn *first;

	rig_open(&r, NULL);
	r.gate = ST_CANNOT_CONNECT_NOW;
	put_start(&r);
	CU_ASSERT_STRING_EQUAL(rig_say(&r), "error(FATAL:57P03:the database system is starting up:D=why)");
	CU_ASSERT(r.closed);
	rig_close(&r);
	rig_start(&r, &one);
	first = r.conn;
	CU_ASSERT_EQUAL(pg_server_sessions(r.server), 1);
	r.conn = rig_connect(&r);
	put_start(&r);
	CU_ASSERT_STRING_EQUAL(rig_say(&r), "error(FATAL:53300:sorry, too many clients already:D=this engine takes 1 "
					    "connections)");
	pg_conn_free(first);
	pg_conn_free(r.conn);
	r.conn = rig_connect(&r);
	put_start(&r);
	CU_ASSERT_STRING_EQUAL(rig_say(&r), START_ANSWER);
	rig_close(&r);
}

static void cancel_with(struct rig *r, uint32_t pid, uint32_t key)
{
	uint8_t packet[16];
	struct pg_conn *c = rig_connect(r);
	size_t bytes;
	uint32_t words[4] = {16, 80877102, pid, key};

	for (int i = 0; i < 4; i++) {
		words[i] = __builtin_bswap32(words[i]);
		memcpy(packet + (size_t)i * 4, &words[i], 4);
	}
	pg_conn_input(c, packet, sizeof packet);
	CU_ASSERT_EQUAL(pg_conn_step(c), PG_CLOSE);
	(void)pg_conn_output(c, &bytes);
	CU_ASSERT_EQUAL(bytes, 0);
	pg_conn_free(c);
}

/* A cancel request with the right key ends the statement that runs, and no later one; others do nothing. */
static void test_startup_cancel(void)
{
	struct rig r = {.feed = FEED_WHOLE};

	rig_start(&r, NULL);
	cancel_with(&r, 1000, 0xabcd1234); /* nothing runs */
	put_query(&r, "rows 1");
	CU_ASSERT_STRING_EQUAL(rig_say(&r), "columns(id:23:0 name:25:0) row(0|name0) tag(SELECT 1) ready(I)");
	put_query(&r, "wait");
	CU_ASSERT_STRING_EQUAL(rig_say(&r), "");
	cancel_with(&r, 1000, 0xabcd1235);
	cancel_with(&r, 1001, 0xabcd1234);
	CU_ASSERT_STRING_EQUAL(rig_read(&r), "");
	cancel_with(&r, 1000, 0xabcd1234);
	CU_ASSERT(r.wakes > 0);
	CU_ASSERT_STRING_EQUAL(rig_read(&r),
			       "error(ERROR:57014:canceling statement due to user request) ready(I)");
	rig_close(&r);
}

/* Of several workers behind one port each knows whose session a cancel request is for, and passes on what is another's. */
static void test_startup_cancel_elsewhere(void)
{
	const struct rig_limits third = {.worker = 2, .workers = 3};
	struct rig r = {.feed = FEED_WHOLE};
	struct pg_conn *first;

	rig_start(&r, &third);
	first = r.conn; /* its pid is 1004; that of the next one is 1007 */
	r.conn = rig_connect(&r);
	put_start(&r);
	CU_ASSERT_STRING_EQUAL(rig_say(&r), START_ANSWER);
	put_query(&r, "wait");
	CU_ASSERT_STRING_EQUAL(rig_say(&r), "");
	cancel_with(&r, 1003, 0xabcd1234); /* 1002 = 3 * 334: of the first; so this is of the second */
	CU_ASSERT_EQUAL(r.passed_on, 1);
	CU_ASSERT_EQUAL(r.passed_to, 1);
	CU_ASSERT_EQUAL(r.passed_pid, 1003);
	CU_ASSERT_EQUAL(r.passed_key, 0xabcd1234);
	CU_ASSERT_STRING_EQUAL(rig_read(&r), "");
	cancel_with(&r, 1010, 0xabcd1234); /* of this one, but there is no such session */
	cancel_with(&r, 1004, 0xabcd1234); /* the first, which runs nothing */
	CU_ASSERT_EQUAL(r.passed_on, 1);
	CU_ASSERT_STRING_EQUAL(rig_read(&r), "");
	pg_server_cancel(r.server, 1007, 0xabcd1234); /* as another worker passes it on */
	CU_ASSERT_STRING_EQUAL(rig_read(&r),
			       "error(ERROR:57014:canceling statement due to user request) ready(I)");
	CU_ASSERT_EQUAL(r.passed_on, 1);
	pg_conn_free(first);
	rig_close(&r);
}

/* Shutting down ends idle sessions, running ones, half-started ones and those that wait for COPY data. */
static void test_startup_shutdown(void)
{
	static const char *const busy[] = {"", "wait", "copy in", "begin"};
	struct rig r = {.feed = FEED_WHOLE};
	const char *got;

	for (int i = 0; i < 4; i++) {
		rig_start(&r, NULL);
		if (busy[i][0])
			put_query(&r, busy[i]);
		(void)rig_say(&r);
		pg_server_shutdown(r.server, ST_ADMIN_SHUTDOWN);
		CU_ASSERT(r.wakes > 0);
		got = rig_read(&r);
		CU_ASSERT_PTR_NOT_NULL(strstr(got, "error(FATAL:57P01:terminating connection"));
		CU_ASSERT(r.closed);
		rig_close(&r);
	}
	rig_open(&r, NULL);
	pg_server_shutdown(r.server, ST_ADMIN_SHUTDOWN);
	CU_ASSERT_STRING_EQUAL(rig_read(&r), "");
	CU_ASSERT(r.closed);
	rig_close(&r);
	rig_open(&r, NULL);
	pg_server_shutdown(r.server, ST_ADMIN_SHUTDOWN);
	put_start(&r);
	CU_ASSERT_STRING_EQUAL(rig_say(&r), "error(FATAL:57P01:engine is shutting down)");
	rig_close(&r);
}

/* A client that says Terminate, or just goes, is done with; what it asked before it went is still done. */
static void test_startup_ends(void)
{
	struct rig r = {.feed = FEED_WHOLE};

	rig_start(&r, NULL);
	put_message(&r, 'X', "");
	CU_ASSERT_STRING_EQUAL(rig_say(&r), "");
	CU_ASSERT(r.closed);
	rig_close(&r);
	rig_start(&r, NULL);
	put_query(&r, "set");
	buf_put(&r.send, "Q\0\0", 3); /* it died here */
	pg_conn_input(r.conn, r.send.data, r.send.size);
	buf_reset(&r.send);
	pg_conn_eof(r.conn);
	CU_ASSERT(!pg_conn_wants_input(r.conn));
	CU_ASSERT_STRING_EQUAL(rig_read(&r), "tag(SET) ready(I)");
	CU_ASSERT(r.closed);
	rig_close(&r);
}

void suite_pgwire_startup(void)
{
	CU_pSuite s = CU_add_suite("pgwire_startup", NULL, NULL);

	CU_add_test(s, "bytes", test_startup_bytes);
	CU_add_test(s, "declines_encryption", test_startup_declines_encryption);
	CU_add_test(s, "negotiates", test_startup_negotiates);
	CU_add_test(s, "settings", test_startup_settings);
	CU_add_test(s, "malformed", test_startup_malformed);
	CU_add_test(s, "gate", test_startup_gate);
	CU_add_test(s, "cancel", test_startup_cancel);
	CU_add_test(s, "cancel elsewhere", test_startup_cancel_elsewhere);
	CU_add_test(s, "shutdown", test_startup_shutdown);
	CU_add_test(s, "ends", test_startup_ends);
}
