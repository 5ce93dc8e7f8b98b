/* test_datetime.c - dates, times, intervals and zones: PostgreSQL's answers, calendar laws, texts that come back. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sql/datetime.h"
#include "tests/unit/sql/golden.h"

void suite_sql_datetime(void);

#define GOLDEN(k, n, a, e) {k, n, a, e},
static const struct golden goldens[] = {
#include "tests/unit/sql/golden_datetime.def"
};

static struct mem mem;

static int setup(void)
{
	mem_init(&mem, NULL, "test_datetime", 0);
	return 0;
}

static int teardown(void)
{
	mem_fini(&mem);
	return 0;
}

static void use_zone(const char *zone)
{
	struct value_settings s = {.time_zone = zone, .extra_float_digits = 1, .now_us = INT64_C(700000000000000)};

	value_settings_use(&s);
}

/* Every recorded answer of PostgreSQL in Europe/Berlin is ours too. */
static void test_datetime_as_postgresql(void)
{
	CU_ASSERT_EQUAL(golden_run(goldens, sizeof goldens / sizeof *goldens), 0);
}

/* Every day from 4713 BC to 9999 has one date and the next day follows it; a year in the far future too. */
static void test_datetime_calendar(void)
{
	int y, m, d, last_y, last_m, last_d;

	dt_from_julian(0, &last_y, &last_m, &last_d);
	CU_ASSERT(last_y == -4713 && last_m == 11 && last_d == 24);
	for (int jd = 1; jd < 5373484; jd++) {
		bool next;

		dt_from_julian(jd, &y, &m, &d);
		next = (y == last_y && m == last_m && d == last_d + 1) ||
		       (d == 1 && last_d == dt_days_in_month(last_y, last_m) &&
			((y == last_y && m == last_m + 1) || (y == last_y + 1 && m == 1 && last_m == 12)));
		if (!next || dt_julian(y, m, d) != jd) {
			CU_FAIL_FATAL("a day without its date");
		}
		last_y = y;
		last_m = m;
		last_d = d;
	}
	CU_ASSERT_EQUAL(dt_julian(5874897, 12, 31), DATE_END_DAYS - 1 + JDATE_2000);
}

static void text_round_trip(int64_t ts, bool with_zone)
{
	struct buf b;
	struct error err;
	int64_t back = 0;

	buf_init(&b, &mem);
	dt_timestamp_out(ts, with_zone, &b);
	if (dt_timestamp_in((const char *)b.data, b.size, with_zone, &back, &err) != ST_OK || back != ts) {
		put_u8(&b, 0);
		CU_FAIL("a timestamp's text is read differently");
		printf("  %s\n", (const char *)b.data);
	}
	buf_fini(&b);
}

/* A timestamp's text is read as the same instant, in zones with gaps and folds, before the first and after the last transition. */
static void test_datetime_text_round_trip(void)
{
	static const char *const zones[] = {"Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia",
					    "Australia/Lord_Howe", "Africa/Casablanca", "UTC", "UTC+3", "-7.5"};
	uint64_t seed = 5;

	for (size_t z = 0; z < sizeof zones / sizeof *zones; z++) {
		use_zone(zones[z]);
		CU_ASSERT(value_time_zone_ok(zones[z]));
		for (int i = 0; i < 3000; i++) {
			seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
			text_round_trip((int64_t)(seed % ((uint64_t)TS_END - (uint64_t)TS_MIN) + (uint64_t)TS_MIN), false);
			/* 1800 to 2500, where zones change */
			text_round_trip((int64_t)(seed >> 20) % (700 * 365 * DT_DAY) - 200 * 365 * DT_DAY, true);
		}
	}
	use_zone(NULL);
}

/* In every zone the wall clock of an instant leads back to the instant or, in a fold, to its twin an hour away. */
static void test_datetime_zone_local(void)
{
	static const char *const names[] = {"Europe/London", "America/Sao_Paulo", "Antarctica/Troll", "Asia/Gaza"};

	for (size_t z = 0; z < sizeof names / sizeof *names; z++) {
		const struct dt_zone *zone = dt_zone_find(names[z], strlen(names[z]));

		CU_ASSERT_PTR_NOT_NULL_FATAL(zone);
		for (int64_t ts = -50 * 365 * DT_DAY; ts < 60 * 365 * DT_DAY; ts += 5 * DT_HOUR + 7 * DT_MINUTE) {
			int64_t local = ts + dt_zone_offset_utc(zone, ts, NULL) * DT_SEC;
			int64_t back = local - dt_zone_offset_local(zone, local) * DT_SEC;

			if (back != ts && (llabs(back - ts) > 3 * DT_HOUR ||
					   back + dt_zone_offset_utc(zone, back, NULL) * DT_SEC != local))
				CU_FAIL("a wall clock names neither of its instants");
		}
	}
}

/* Spring forward takes the old offset in the gap, autumn the new one in the fold, as PostgreSQL does. */
static void test_datetime_gap_and_fold(void)
{
	const struct dt_zone *z = dt_zone_find("Europe/Berlin", 13);
	struct error err;
	int64_t gap, fold;

	CU_ASSERT_EQUAL(dt_timestamp_in("2023-03-26 02:30:00", 19, false, &gap, &err), ST_OK);
	CU_ASSERT_EQUAL(dt_timestamp_in("2023-10-29 02:30:00", 19, false, &fold, &err), ST_OK);
	CU_ASSERT_EQUAL(dt_zone_offset_local(z, gap), 3600);
	CU_ASSERT_EQUAL(dt_zone_offset_local(z, fold), 3600);
	CU_ASSERT_EQUAL(dt_zone_offset_local(z, gap + DT_HOUR), 7200);
	CU_ASSERT_EQUAL(dt_zone_offset_local(z, fold - DT_HOUR), 7200);
}

/* Names that lead out of the directory, or to no zone, are not found. */
static void test_datetime_zone_names(void)
{
	static const char *const bad[] = {"../../etc/passwd", "/etc/localtime", "Europe", "Nowhere/City", "", "Europe/../UTC",
					  "zone.tab", "posixrules/x", "+", "12:99", "a b"};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CU_ASSERT_PTR_NULL(dt_zone_find(bad[i], strlen(bad[i])));
	CU_ASSERT_PTR_NOT_NULL(dt_zone_find("europe/berlin", 13));
	CU_ASSERT_PTR_EQUAL(dt_zone_find("Asia/Tokyo", 10), dt_zone_find("Asia/Tokyo", 10));
	CU_ASSERT_EQUAL(dt_zone_offset_utc(dt_zone_find("-7", 2), 0, NULL), -7 * 3600);
	CU_ASSERT_EQUAL(dt_zone_offset_utc(dt_zone_find_posix("-7", 2), 0, NULL), 7 * 3600);
	CU_ASSERT_EQUAL(dt_zone_offset_utc(dt_zone_find("EST5EDT", 7), 0, NULL), -5 * 3600);
}

/* The special words take the transaction's start in the session's zone, and are refused when there is none. */
static void test_datetime_special_words(void)
{
	struct error err;
	int64_t now, ts;
	int32_t today, d;

	use_zone("Pacific/Kiritimati"); /* 14 hours ahead */
	CU_ASSERT_EQUAL(dt_timestamp_in("now", 3, true, &now, &err), ST_OK);
	CU_ASSERT_EQUAL(now, INT64_C(700000000000000));
	CU_ASSERT_EQUAL(dt_date_in("today", 5, &today, &err), ST_OK);
	CU_ASSERT_EQUAL(today, (int32_t)((now + 14 * DT_HOUR) / DT_DAY));
	CU_ASSERT_EQUAL(dt_date_in("yesterday", 9, &d, &err), ST_OK);
	CU_ASSERT_EQUAL(d, today - 1);
	CU_ASSERT_EQUAL(dt_timestamp_in("tomorrow 10:30", 14, false, &ts, &err), ST_OK);
	CU_ASSERT_EQUAL(ts, (today + 1) * DT_DAY + 10 * DT_HOUR + 30 * DT_MINUTE);
	value_settings_use(&(struct value_settings){.extra_float_digits = 1});
	CU_ASSERT_EQUAL(dt_date_in("today", 5, &d, &err), ST_UNSUPPORTED);
}

/* Whatever is given as text is read or refused; nothing is read beyond the end. */
static void test_datetime_garbage(void)
{
	static const char alphabet[] = "0123456789-/.: +TtJanPMbcdaygoZ";
	uint64_t seed = 3;
	unsigned accepted = 0;

	for (int i = 0; i < 60000; i++) {
		struct interval iv;
		struct error err;
		int64_t t;
		int32_t d;
		size_t n;
		char *s;

		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		n = (seed >> 33) % 14;
		s = malloc(n ? n : 1);
		for (size_t k = 0; k < n; k++) {
			seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
			s[k] = alphabet[(seed >> 33) % (sizeof alphabet - 1)];
		}
		accepted += dt_date_in(s, n, &d, &err) == ST_OK;
		accepted += dt_time_in(s, n, &t, &err) == ST_OK;
		accepted += dt_timestamp_in(s, n, i % 2, &t, &err) == ST_OK;
		accepted += dt_interval_in(s, n, &iv, &err) == ST_OK;
		free(s);
	}
	CU_ASSERT(accepted > 100);
}

void suite_sql_datetime(void)
{
	CU_pSuite s = CU_add_suite("sql_datetime", setup, teardown);

	CU_add_test(s, "as_postgresql", test_datetime_as_postgresql);
	CU_add_test(s, "calendar", test_datetime_calendar);
	CU_add_test(s, "text_round_trip", test_datetime_text_round_trip);
	CU_add_test(s, "zone_local", test_datetime_zone_local);
	CU_add_test(s, "gap_and_fold", test_datetime_gap_and_fold);
	CU_add_test(s, "zone_names", test_datetime_zone_names);
	CU_add_test(s, "special_words", test_datetime_special_words);
	CU_add_test(s, "garbage", test_datetime_garbage);
}
