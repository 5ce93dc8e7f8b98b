/*
 * test_assert.c - broken invariants end the process, with what was compared.
 */
#include "base/assert.h"

#include <CUnit/CUnit.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "../unit.h"

static void fail_plain(void *ctx)
{
	int *zero = ctx;

	ASSERT(*zero == 1);
}

static void fail_op(void *ctx)
{
	int *zero = ctx;

	ASSERT_OP(*zero + 41, ==, 42);
}

static void hook_say(void *ctx)
{
	const char *text = ctx;

	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		return;
}

static void fail_hooked(void *ctx)
{
	static char text[] = "seed 77";

	assert_set_hook(hook_say, text);
	fail_plain(ctx);
}

static void hook_fails_too(void *ctx)
{
	fail_plain(ctx);
}

static void fail_in_hook(void *ctx)
{
	assert_set_hook(hook_fails_too, ctx);
	fail_plain(ctx);
}

/* The expression, the place and, for a comparison, both values are printed, and the process aborts. */
static void test_assert_prints_and_aborts(void)
{
	char text[1024];
	int zero = 0;

	CU_ASSERT_EQUAL(unit_death(fail_plain, &zero, text, sizeof text), SIGABRT);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "*zero == 1"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "test_assert.c:"));
	CU_ASSERT_EQUAL(unit_death(fail_op, &zero, text, sizeof text), SIGABRT);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "*zero + 41 == 42"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "41 (0x29) against 42 (0x2a)"));
}

/* The hook runs before the end, and one that fails itself does not loop. */
static void test_assert_hook(void)
{
	char text[1024];
	int zero = 0;

	CU_ASSERT_EQUAL(unit_death(fail_hooked, &zero, text, sizeof text), SIGABRT);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "seed 77"));
	CU_ASSERT_EQUAL(unit_death(fail_in_hook, &zero, text, sizeof text), SIGABRT);
}

/* Operands are evaluated once, and a condition that holds does nothing. */
static void test_assert_evaluates_once(void)
{
	int n = 0;

	ASSERT_OP(++n, ==, 1);
	CU_ASSERT_EQUAL(n, 1);
	ASSERT(++n == 2);
	CU_ASSERT_EQUAL(n, 2);
}

void suite_base_assert(void)
{
	CU_pSuite s = CU_add_suite("base_assert", NULL, NULL);

	CU_add_test(s, "prints_and_aborts", test_assert_prints_and_aborts);
	CU_add_test(s, "hook", test_assert_hook);
	CU_add_test(s, "evaluates_once", test_assert_evaluates_once);
}
