/*
 * test_status.c - the table of outcomes and the error record.
 */
#include "base/status.h"

#include <CUnit/CUnit.h>
#include <string.h>

#include "../unit.h"

/* Every outcome has its own name and a SQLSTATE of five upper-case letters and digits. */
static void test_status_table_is_whole(void)
{
	for (int i = 0; i < ST_COUNT; i++) {
		const char *state = status_sqlstate((enum status)i);

		CU_ASSERT_EQUAL(strlen(state), 5);
		CU_ASSERT_EQUAL(strspn(state, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"), 5);
		CU_ASSERT(status_text((enum status)i)[0] != '\0');
		for (int k = 0; k < i; k++)
			CU_ASSERT(strcmp(status_name((enum status)i), status_name((enum status)k)) != 0);
	}
	CU_ASSERT_STRING_EQUAL(status_name(ST_WAIT), "ST_WAIT");
	CU_ASSERT_STRING_EQUAL(status_sqlstate(ST_UNIQUE), "23505");
	CU_ASSERT_EQUAL(ST_OK, 0);
}

/* A number that is no status, as a damaged message may hold, reads as an internal error. */
static void test_status_unknown_number(void)
{
	CU_ASSERT_STRING_EQUAL(status_name((enum status)ST_COUNT), "ST_?");
	CU_ASSERT_STRING_EQUAL(status_sqlstate((enum status)9999), "XX000");
	CU_ASSERT_STRING_EQUAL(status_text((enum status)9999), "unknown status");
}

/* error_set replaces all that was there, and a NULL error still gives the code. */
static void test_status_error_set_replaces(void)
{
	struct error e;

	error_clear(&e);
	CU_ASSERT_EQUAL(e.code, ST_OK);
	CU_ASSERT_EQUAL(error_set(&e, ST_SYNTAX, "bad %s at %d", "word", 7), ST_SYNTAX);
	error_detail(&e, "detail %d", 1);
	error_hint(&e, "hint %d", 2);
	e.position = 7;
	CU_ASSERT_STRING_EQUAL(e.message, "bad word at 7");
	CU_ASSERT_STRING_EQUAL(e.detail, "detail 1");
	CU_ASSERT_STRING_EQUAL(e.hint, "hint 2");
	error_set(&e, ST_DATA, "in line 3: %s", e.message);
	CU_ASSERT_STRING_EQUAL(e.message, "in line 3: bad word at 7");
	CU_ASSERT_STRING_EQUAL(e.detail, "");
	CU_ASSERT_STRING_EQUAL(e.hint, "");
	CU_ASSERT_EQUAL(e.position, 0);
	CU_ASSERT_EQUAL(error_set(NULL, ST_IO, "x"), ST_IO);
	error_detail(NULL, "x");
	error_hint(NULL, "x");
	error_clear(NULL);
}

/* A message too long is cut between characters, whichever byte the limit falls on. */
static void test_status_error_cut_at_character(void)
{
	static const char *const chars[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
	struct error e;

	for (size_t c = 0; c < 4; c++) {
		size_t len = strlen(chars[c]);

		for (size_t shift = 0; shift < 4; shift++) {
			char text[1200];
			size_t n = shift, want;

			memset(text, 'x', shift);
			while (n + len < sizeof text) {
				memcpy(text + n, chars[c], len);
				n += len;
			}
			text[n] = '\0';
			error_set(&e, ST_DATA, "%s", text);
			want = shift + (sizeof e.message - 1 - shift) / len * len;
			CU_ASSERT_EQUAL(strlen(e.message), want);
			CU_ASSERT(memcmp(e.message, text, want) == 0);
		}
	}
}

void suite_base_status(void)
{
	CU_pSuite s = CU_add_suite("base_status", NULL, NULL);

	CU_add_test(s, "table_is_whole", test_status_table_is_whole);
	CU_add_test(s, "unknown_number", test_status_unknown_number);
	CU_add_test(s, "error_set_replaces", test_status_error_set_replaces);
	CU_add_test(s, "error_cut_at_character", test_status_error_cut_at_character);
}
