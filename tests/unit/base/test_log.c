/*
 * test_log.c - log lines.
 */
#include "base/log.h"

#include <CUnit/CUnit.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../unit.h"

static char last[4096];
static unsigned lines;

static void keep(void *ctx, const char *line, uint32_t bytes)
{
	(void)ctx;
	snprintf(last, sizeof last, "%.*s", (int)bytes, line);
	lines++;
}

static uint64_t fixed_wall_us(void *ctx)
{
	(void)ctx;
	return UINT64_C(1700000000123456); /* 2023-11-14 22:13:20 UTC */
}

static struct logger start(void)
{
	struct logger lg;

	logger_init_stderr(&lg, "c1");
	lg.write = keep;
	lg.wall_us = fixed_wall_us;
	last[0] = '\0';
	lines = 0;
	return lg;
}

/* A line has time, level, subsystem, engine, event and pairs, in this order. */
static void test_log_line(void)
{
	struct logger lg = start();

	log_event(&lg, LOG_CATALOG, LOG_WARN, "member removed", "engine=%" PRIu64 " cause=%s",
		  UINT64_C(18446744073709551615), "heartbeat");
	CU_ASSERT_STRING_EQUAL(last, "2023-11-14T22:13:20.123456Z warn catalog c1 member removed "
				     "engine=18446744073709551615 cause=heartbeat\n");
	log_event(&lg, LOG_NET, LOG_ERROR, "stopped", "");
	CU_ASSERT_STRING_EQUAL(last, "2023-11-14T22:13:20.123456Z error net c1 stopped\n");
}

/* A text value is quoted when it could be taken for something else, and never breaks the line. */
static void test_log_quotes_text(void)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"plain", "v=plain\n"},
		{"127.0.0.1:7400", "v=127.0.0.1:7400\n"},
		{"caf\xc3\xa9", "v=caf\xc3\xa9\n"},
		{"", "v=\"\"\n"},
		{"two words", "v=\"two words\"\n"},
		{"a=b", "v=\"a=b\"\n"},
		{"say \"x\"", "v=\"say \\\"x\\\"\"\n"},
		{"back\\slash", "v=\"back\\\\slash\"\n"},
		{"line\nfake level=error", "v=\"line\\nfake level=error\"\n"},
		{"\x1b[31m", "v=\"\\x1b[31m\"\n"},
		{NULL, "v=(null)\n"},
	};
	struct logger lg = start();

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *v;

		log_event(&lg, LOG_SQL, LOG_INFO, "e", "v=%s", cases[i].text);
		v = strstr(last, "v=");
		CU_ASSERT(v && strcmp(v, cases[i].want) == 0);
	}
}

/* The conversions that the project uses print as printf prints them. */
static void test_log_conversions(void)
{
	struct logger lg = start();
	char want[512];
	const char *got;

#define CONVERSIONS                                                                                 \
	"a=%d b=%u c=%ld d=%lu e=%lld f=%llx g=%zu h=%hhu i=%c j=%5.2f k=%% l=%-6dx m=%.*s n=%08x " \
	"o=%*d p=%hd q=%jd r=%e",                                                                   \
		-5, 5u, -6L, 6ul, -7LL, 0xabcULL, sizeof last, (unsigned char)255, 'z', 2.5, 12, 3,  \
		"abcdef", 0xbeefu, 4, 7, (short)-3, (intmax_t)-9, 1e10
	log_event(&lg, LOG_SQL, LOG_INFO, "e", CONVERSIONS);
	snprintf(want, sizeof want, CONVERSIONS);
	got = strstr(last, "a=");
	CU_ASSERT_PTR_NOT_NULL_FATAL(got);
	CU_ASSERT_EQUAL(strlen(got), strlen(want) + 1);
	CU_ASSERT(strncmp(got, want, strlen(want)) == 0);
#undef CONVERSIONS
}

/* A line too long is cut and still ends with its newline. */
static void test_log_long_line_is_cut(void)
{
	struct logger lg = start();
	char text[5000];
	size_t len;

	memset(text, 'w', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	log_event(&lg, LOG_SQL, LOG_INFO, "e", "a=%s b=%s", text, text);
	len = strlen(last);
	CU_ASSERT(len > 1000 && len <= 2048);
	CU_ASSERT_EQUAL(last[len - 1], '\n');
	CU_ASSERT_PTR_EQUAL(strchr(last, '\n'), last + len - 1);
}

/* What is below the level of its subsystem is not written; no logger at all writes nothing. */
static void test_log_levels(void)
{
	struct logger lg = start();

	log_event(&lg, LOG_SQL, LOG_DEBUG, "e", "");
	CU_ASSERT_EQUAL(lines, 0);
	log_event(&lg, LOG_SQL, LOG_INFO, "e", "");
	CU_ASSERT_EQUAL(lines, 1);
	log_event(NULL, LOG_SQL, LOG_ERROR, "e", "");
	CU_ASSERT(logger_parse_levels(&lg, "warn,net=debug,sql=error"));
	CU_ASSERT(log_on(&lg, LOG_NET, LOG_DEBUG) && !log_on(&lg, LOG_NET, LOG_TRACE));
	CU_ASSERT(log_on(&lg, LOG_TXN, LOG_WARN) && !log_on(&lg, LOG_TXN, LOG_INFO));
	CU_ASSERT(log_on(&lg, LOG_SQL, LOG_ERROR) && !log_on(&lg, LOG_SQL, LOG_WARN));
}

/* A specification that does not parse changes nothing. */
static void test_log_bad_levels_change_nothing(void)
{
	static const char *const bad[] = {"",      "loud",  "warn,",     "net=",    "=warn", "nets=warn",
					  ",warn", "net=loud", "warn,net", "warn=net", "debug,,net=warn"};
	struct logger lg = start(), before = lg;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		CU_ASSERT(!logger_parse_levels(&lg, bad[i]));
		CU_ASSERT(memcmp(lg.levels, before.levels, sizeof lg.levels) == 0);
	}
	for (int i = 0; i < LOG_SUBSYSTEM_COUNT; i++)
		CU_ASSERT_EQUAL(lg.levels[i], LOG_INFO);
}

void suite_base_log(void)
{
	CU_pSuite s = CU_add_suite("base_log", NULL, NULL);

	CU_add_test(s, "line", test_log_line);
	CU_add_test(s, "quotes_text", test_log_quotes_text);
	CU_add_test(s, "conversions", test_log_conversions);
	CU_add_test(s, "long_line_is_cut", test_log_long_line_is_cut);
	CU_add_test(s, "levels", test_log_levels);
	CU_add_test(s, "bad_levels_change_nothing", test_log_bad_levels_change_nothing);
}
