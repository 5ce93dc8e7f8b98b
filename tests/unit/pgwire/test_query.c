/*
 * test_query.c - simple and extended queries and COPY: which messages answer which.
 *
 * Every conversation is held three times: whole, byte by byte, and in random pieces with the output taken in random
 * pieces too. The answer must be the same.
 */
#include "rig.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "../unit.h"

#define EACH_FEED(r) for ((r).feed = FEED_WHOLE; (r).feed < FEED_COUNT; (r).feed++)
#define ROWS_COLUMNS "columns(id:23:0 name:25:0)"
#define FAILED "23505:it failed:D=the detail:H=the hint:P=7:t=t:c=c:n=n)"

static void answer(struct rig *r, const char *want)
{
	const char *got = rig_say(r);

	CU_ASSERT_STRING_EQUAL(got, want);
	if (strcmp(got, want) != 0)
		fprintf(stderr, "feed %d\n  got  %s\n  want %s\n", (int)r->feed, got, want);
}

static void simple(const char *text, const char *want)
{
	struct rig r;

	EACH_FEED(r) {
		rig_start(&r, NULL);
		put_query(&r, text);
		answer(&r, want);
		rig_close(&r);
	}
}

/* Rows, tags, several statements, none at all. */
static void test_query_simple(void)
{
	simple("rows 2", ROWS_COLUMNS " row(0|name0) row(1|name1) tag(SELECT 2) ready(I)");
	simple("set; rows 1; set", "tag(SET) " ROWS_COLUMNS " row(0|name0) tag(SELECT 1) tag(SET) ready(I)");
	simple("", "empty ready(I)");
	simple(" ; ;", "empty ready(I)");
	simple("begin", "tag(BEGIN) ready(T)");
	simple("none", "columns() tag(DONE) ready(I)");
	simple("notice", "notice(NOTICE:25001:take note) param(TimeZone=UTC) tag(DONE) ready(I)");
	simple("spin 5", "tag(DONE) ready(I)");
}

/* An error ends the string, and a block is failed; one that does not parse runs nothing of it. */
static void test_query_simple_errors(void)
{
	simple("set; fail; set", "tag(SET) error(ERROR:" FAILED " ready(I)");
	simple("begin; fail; set", "tag(BEGIN) error(ERROR:" FAILED " ready(E)");
	simple("set; bad", "error(ERROR:42601:syntax error at or near \"bad\":P=6) ready(I)");
	simple("begin; fail", "tag(BEGIN) error(ERROR:" FAILED " ready(E)");
}

/* When the commit fails there is no tag of the last statement, as a client would take it for done. */
static void test_query_commit_fails(void)
{
	struct rig r;

	simple("set; unsure", "tag(SET) error(ERROR:40001:could not serialize access) ready(I)");
	EACH_FEED(r) {
		rig_start(&r, NULL);
		put_parse(&r, "", "unsure");
		put_bind(&r, "", "");
		put_execute(&r, "", 0);
		put_sync(&r);
		answer(&r, "parsed bound tag(DONE) error(ERROR:40001:could not serialize access) ready(I)");
		put_query(&r, "set");
		answer(&r, "tag(SET) ready(I)");
		rig_close(&r);
	}
}

/* Every way of writing a value, as text and as binary; nulls; a bigger result than one vector. */
static void test_query_values(void)
{
	struct rig r;

	simple("types", "columns(b:16:0 s:21:0 i:23:0 l:20:0 v:1043:0 d:1082:0 x:17:0) "
			"row(t|-32768|-2147483648|-9223372036854775808|h\\c3\\a9|2001-01-01|\\x00ff) tag(DONE) ready(I)");
	simple("rows 5", ROWS_COLUMNS " row(0|name0) row(1|name1) row(2|name2) row(3|name3) row(4|~) tag(SELECT 5) ready(I)");
	EACH_FEED(r) {
		rig_start(&r, NULL);
		put_parse(&r, "", "types");
		put_message(&r, 'B', "sshhhh", "", "", 0, 0, 1, 1);
		put_message(&r, 'D', "bs", 'P', "");
		put_execute(&r, "", 0);
		put_sync(&r);
		answer(&r, "parsed bound columns(b:16:1 s:21:1 i:23:1 l:20:1 v:1043:1 d:1082:1 x:17:1) "
			   "row(\\01|\\80\\00|\\80\\00\\00\\00|\\80\\00\\00\\00\\00\\00\\00\\00|h\\c3\\a9|\\00\\00\\01n|"
			   "\\00\\ff) tag(DONE) ready(I)");
		rig_close(&r);
	}
}

/* The bytes of a row are exactly these. */
static void test_query_row_bytes(void)
{
	static const uint8_t want[] = "T\0\0\0\x32\0\2id\0\0\0\0\x4d\0\1\0\0\0\x17\0\4\xff\xff\xff\xff\0\0"
				      "name\0\0\0\0\x4d\0\2\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
				      "D\0\0\0\x14\0\2\0\0\0\1" "0\0\0\0\5name0"
				      "C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I";
	struct rig r = {.feed = FEED_WHOLE};
	size_t bytes;
	const void *p;

	rig_start(&r, NULL);
	r.mute = true;
	put_query(&r, "rows 1");
	(void)rig_say(&r);
	p = pg_conn_output(r.conn, &bytes);
	CU_ASSERT_EQUAL(bytes, sizeof want - 1);
	CU_ASSERT(bytes == sizeof want - 1 && memcmp(p, want, bytes) == 0);
	rig_close(&r);
}

/* A statement is prepared, described, bound with parameters of both formats, run and closed. */
static void test_query_extended(void)
{
	struct rig r;

	EACH_FEED(r) {
		rig_start(&r, NULL);
		put_parse(&r, "p", "param");
		put_message(&r, 'D', "bs", 'S', "p");
		put_message(&r, 'B', "sshhhiih", "", "p", 1, 1, 1, 4, 42, 0);
		put_execute(&r, "", 0);
		put_message(&r, 'B', "sshhixhh", "x", "p", 0, 1, 3, 3, "-17", 1, 1);
		put_message(&r, 'D', "bs", 'P', "x");
		put_execute(&r, "x", 0);
		put_message(&r, 'B', "sshhih", "", "p", 0, 1, -1, 0);
		put_execute(&r, "", 0);
		put_message(&r, 'C', "bs", 'S', "p");
		put_message(&r, 'C', "bs", 'P', "nosuch");
		put_message(&r, 'H', "");
		put_sync(&r);
		answer(&r, "parsed params(23) columns(id:23:0) bound row(42) tag(DONE) bound columns(id:23:1) "
			   "row(\\ff\\ff\\ff\\ef) tag(DONE) bound row(~) tag(DONE) closed closed ready(I)");
		put_parse(&r, "", "");
		put_bind(&r, "", "");
		put_message(&r, 'D', "bs", 'P', "");
		put_execute(&r, "", 0);
		put_sync(&r);
		answer(&r, "parsed bound none empty ready(I)");
		rig_close(&r);
	}
}

/* Row limits suspend a portal, which goes on where it was. */
static void test_query_row_limit(void)
{
	struct rig r;

	EACH_FEED(r) {
		rig_start(&r, NULL);
		put_query(&r, "begin");
		(void)rig_say(&r);
		put_parse(&r, "", "rows 3");
		put_bind(&r, "c", "");
		put_execute(&r, "c", 2);
		put_sync(&r);
		answer(&r, "parsed bound row(0|name0) row(1|name1) suspended ready(T)");
		put_execute(&r, "c", 2);
		put_sync(&r);
		answer(&r, "row(2|name2) tag(SELECT 3) ready(T)");
		rig_close(&r);
	}
}

/* An error in a pipeline skips everything up to Sync, Queries too; the next one is served. */
static void test_query_pipeline_error(void)
{
	struct rig r;

	EACH_FEED(r) {
		rig_start(&r, NULL);
		put_parse(&r, "", "set");
		put_bind(&r, "", "");
		put_execute(&r, "", 0);
		put_parse(&r, "", "fail");
		put_bind(&r, "", "");
		put_execute(&r, "", 0);
		put_parse(&r, "", "set");
		put_query(&r, "set");
		put_execute(&r, "", 0);
		put_sync(&r);
		put_parse(&r, "", "set");
		put_sync(&r);
		answer(&r, "parsed bound tag(SET) parsed bound error(ERROR:" FAILED " ready(I) parsed ready(I)");
		rig_close(&r);
	}
}

static void pipeline_fails(const char *want, void (*build)(struct rig *r))
{
	struct rig r;

	EACH_FEED(r) {
		rig_start(&r, NULL);
		put_parse(&r, "p", "param");
		build(&r);
		put_execute(&r, "", 0);
		put_sync(&r);
		answer(&r, want);
		put_query(&r, "set");
		answer(&r, "tag(SET) ready(I)");
		rig_close(&r);
	}
}

static void no_statement(struct rig *r) { put_bind(r, "", "nosuch"); }
static void no_unnamed(struct rig *r) { put_message(r, 'D', "bs", 'S', ""); }
static void no_portal(struct rig *r) { put_execute(r, "nosuch", 0); }
static void twice(struct rig *r) { put_parse(r, "p", "set"); }
static void too_few(struct rig *r) { put_bind(r, "", "p"); }
static void too_many_formats(struct rig *r) { put_message(r, 'B', "sshhhhih", "", "p", 2, 0, 0, 1, -1, 0); }
static void odd_format(struct rig *r) { put_message(r, 'B', "sshhhih", "", "p", 1, 2, 1, -1, 0); }
static void too_many_results(struct rig *r) { put_message(r, 'B', "sshhihhh", "", "p", 0, 1, -1, 2, 0, 0); }

/* What is well-formed but asks for what is not there is an error of the statement, not of the connection. */
static void test_query_misuse(void)
{
	pipeline_fails("parsed error(ERROR:26000:prepared statement \"nosuch\" does not exist) ready(I)", no_statement);
	pipeline_fails("parsed error(ERROR:26000:unnamed prepared statement does not exist) ready(I)", no_unnamed);
	pipeline_fails("parsed error(ERROR:34000:portal \"nosuch\" does not exist) ready(I)", no_portal);
	pipeline_fails("parsed error(ERROR:42P05:prepared statement \"p\" already exists) ready(I)", twice);
	pipeline_fails("parsed error(ERROR:08P01:bind message supplies 0 parameters, but prepared statement \"p\" requires "
		       "1) ready(I)", too_few);
	pipeline_fails("parsed error(ERROR:08P01:bind message has 2 parameter formats but 1 parameters) ready(I)",
		       too_many_formats);
	pipeline_fails("parsed error(ERROR:22023:unsupported format code: 2) ready(I)", odd_format);
	pipeline_fails("parsed error(ERROR:08P01:bind message has 2 result formats but query has 1 columns) ready(I)",
		       too_many_results);
}

/* What must wait gives up the turn and goes on after the wake, in every kind of message. */
static void test_query_waits(void)
{
	struct rig r;

	EACH_FEED(r) {
		rig_start(&r, NULL);
		put_query(&r, "wait; slow");
		put_query(&r, "set");
		answer(&r, "");
		CU_ASSERT_STRING_EQUAL(rig_read(&r), "");
		fake_wake(fake.last);
		CU_ASSERT(r.wakes > 0);
		CU_ASSERT_STRING_EQUAL(rig_read(&r), "tag(DONE) tag(DONE) ready(I) tag(SET) ready(I)");
		put_parse(&r, "", "slow");
		put_bind(&r, "", "");
		put_execute(&r, "", 0);
		put_sync(&r);
		answer(&r, "");
		fake_wake(fake.last);
		CU_ASSERT_STRING_EQUAL(rig_read(&r), "parsed bound tag(DONE) ready(I)");
		rig_close(&r);
	}
}

/* statement_timeout reaches a statement that waits, and one that waits for COPY data. */
static void test_query_deadline(void)
{
	struct rig r = {.feed = FEED_WHOLE};

	rig_start(&r, NULL);
	put_query(&r, "copy in");
	answer(&r, "copyin(2)");
	fake_deadline(fake.last, 5);
	CU_ASSERT_EQUAL(pg_conn_deadline_us(r.conn), 5);
	pg_conn_timeout(r.conn); /* too early: it waits on */
	CU_ASSERT_STRING_EQUAL(rig_read(&r), "");
	put_message(&r, 'd', "x", 1, "a");
	answer(&r, "");
	sql_session_cancel(fake.last);
	pg_conn_timeout(r.conn);
	CU_ASSERT_STRING_EQUAL(rig_read(&r),
			       "error(ERROR:57014:canceling statement due to user request) ready(I)");
	put_message(&r, 'd', "x", 1, "b"); /* on its way when it ended */
	put_message(&r, 'c', "");
	put_query(&r, "set");
	answer(&r, "tag(SET) ready(I)");
	rig_close(&r);
}

/* A session that was idle for too long ends, and not in the middle of anything. */
static void test_query_idle(void)
{
	struct rig r = {.feed = FEED_WHOLE};

	rig_start(&r, NULL);
	pg_conn_timeout(r.conn); /* too early */
	CU_ASSERT_STRING_EQUAL(rig_read(&r), "");
	fake.idle_expired = ST_IDLE_IN_TRANSACTION;
	put_query(&r, "copy in");
	answer(&r, "copyin(2)");
	pg_conn_timeout(r.conn); /* it does something */
	CU_ASSERT_STRING_EQUAL(rig_read(&r), "");
	rig_close(&r);
	rig_start(&r, NULL);
	fake.idle_expired = ST_IDLE_IN_TRANSACTION;
	pg_conn_timeout(r.conn);
	CU_ASSERT_STRING_EQUAL(rig_read(&r),
			       "error(FATAL:25P03:terminating connection due to idle-in-transaction timeout)");
	CU_ASSERT(r.closed);
	rig_close(&r);
	fake.idle_expired = ST_OK;
}

/* COPY in: data in any pieces, its end, its failure on either side, and what follows. */
static void test_query_copy_in(void)
{
	struct rig r;

	EACH_FEED(r) {
		rig_start(&r, NULL);
		fake.copy_step = r.feed == FEED_RANDOM ? 3 : 0;
		put_query(&r, "copy in; set");
		put_message(&r, 'd', "x", 4, "a\tb\n");
		put_message(&r, 'H', "");
		put_message(&r, 'd', "x", 0, "");
		put_message(&r, 'd', "x", 5, "c\td\ne");
		put_message(&r, 'c', "");
		put_query(&r, "set");
		if (r.feed == FEED_RANDOM) {
			/* it takes three bytes at a time and waits between them */
			pg_conn_input(r.conn, r.send.data, r.send.size);
			buf_reset(&r.send);
			for (int i = 0; i < 20; i++) {
				rig_run(&r);
				fake_wake(fake.last);
			}
		}
		answer(&r, "copyin(2) tag(COPY 1) tag(SET) ready(I) tag(SET) ready(I)");
		CU_ASSERT_STRING_EQUAL(fake.copied, "a\tb\nc\td\ne");
		rig_close(&r);
		rig_start(&r, NULL);
		put_query(&r, "copy in");
		put_message(&r, 'f', "s", "no more");
		answer(&r, "copyin(2) error(ERROR:57014:COPY from stdin failed: no more) ready(I)");
		put_query(&r, "copy fail");
		put_message(&r, 'd', "x", 3, "abc");
		put_message(&r, 'd', "x", 3, "def");
		put_message(&r, 'c', "");
		put_query(&r, "set");
		answer(&r, "copyin(2) error(ERROR:22P04:extra data after last expected column) ready(I) tag(SET) ready(I)");
		put_query(&r, "copy in");
		put_message(&r, 'X', "");
		answer(&r, "copyin(2)");
		CU_ASSERT(r.closed);
		rig_close(&r);
	}
}

/* COPY in the extended protocol: Sync before the data is let pass, and an error skips to the next one. */
static void test_query_copy_extended(void)
{
	struct rig r;

	EACH_FEED(r) {
		rig_start(&r, NULL);
		put_parse(&r, "", "copy in");
		put_bind(&r, "", "");
		put_execute(&r, "", 0);
		put_sync(&r);
		put_message(&r, 'd', "x", 2, "x\n");
		put_message(&r, 'c', "");
		put_sync(&r);
		answer(&r, "parsed bound copyin(2) tag(COPY 1) ready(I)");
		put_parse(&r, "", "copy fail");
		put_bind(&r, "", "");
		put_execute(&r, "", 0);
		put_message(&r, 'd', "x", 2, "x\n");
		put_message(&r, 'c', "");
		put_parse(&r, "", "set");
		put_sync(&r);
		answer(&r, "parsed bound copyin(2) error(ERROR:22P04:extra data after last expected column) ready(I)");
		rig_close(&r);
	}
}

static void test_query_copy_out(void)
{
	simple("copy out 2; set", "copyout(1) data(row\\0a) data(row\\0a) copydone tag(COPY 2) tag(SET) ready(I)");
}

void suite_pgwire_query(void)
{
	CU_pSuite s = CU_add_suite("pgwire_query", NULL, NULL);

	CU_add_test(s, "simple", test_query_simple);
	CU_add_test(s, "simple_errors", test_query_simple_errors);
	CU_add_test(s, "commit_fails", test_query_commit_fails);
	CU_add_test(s, "values", test_query_values);
	CU_add_test(s, "row_bytes", test_query_row_bytes);
	CU_add_test(s, "extended", test_query_extended);
	CU_add_test(s, "row_limit", test_query_row_limit);
	CU_add_test(s, "pipeline_error", test_query_pipeline_error);
	CU_add_test(s, "misuse", test_query_misuse);
	CU_add_test(s, "waits", test_query_waits);
	CU_add_test(s, "deadline", test_query_deadline);
	CU_add_test(s, "idle", test_query_idle);
	CU_add_test(s, "copy_in", test_query_copy_in);
	CU_add_test(s, "copy_extended", test_query_copy_extended);
	CU_add_test(s, "copy_out", test_query_copy_out);
}
