/*
 * runner.c - runs the unit tests (tests).
 *
 * unit [--list] [NAME...]: all suites, or those whose name contains one of the NAMEs. Prints a line for
 * each suite and each failed assertion; the last line is `N passed, N failed[, N skipped]`, counted in tests. CUnit
 * itself returns success when nothing ran or a suite was not set up: here both are failures.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <CUnit/TestRun.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "unit.h"

static const struct {
	const char *name;
	void (*add)(void);
} suites[] = {
#define SUITE(name) {#name, suite_##name},
#include UNIT_SUITES
#undef SUITE
};

#define SUITE_COUNT (sizeof suites / sizeof suites[0])

static unsigned tests_passed, tests_failed, suite_tests, suite_failed;
static bool suite_broken;
static struct timespec suite_start;

static void on_suite_start(const CU_pSuite suite)
{
	(void)suite;
	suite_tests = suite_failed = 0;
	suite_broken = false;
	clock_gettime(CLOCK_MONOTONIC, &suite_start);
}

static void print_failures(const CU_pSuite suite, const CU_pTest test, CU_pFailureRecord f)
{
	for (; f; f = f->pNext)
		printf("  %s/%s: %s:%u: %s\n", suite->pName, test->pName,
		       f->strFileName ? f->strFileName : "?", f->uiLineNumber,
		       f->strCondition ? f->strCondition : "failed");
}

static void on_test_done(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord failures)
{
	suite_tests++;
	if (!failures) {
		tests_passed++;
		return;
	}
	tests_failed++;
	suite_failed++;
	print_failures(suite, test, failures);
	fflush(stdout);
}

static void on_suite_done(const CU_pSuite suite, const CU_pFailureRecord failures)
{
	struct timespec now;
	double ms;

	(void)failures;
	if (suite_broken)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	ms = (double)(now.tv_sec - suite_start.tv_sec) * 1e3 +
	     (double)(now.tv_nsec - suite_start.tv_nsec) / 1e6;
	if (suite_tests == 0) {
		printf("%-32s no tests\n", suite->pName);
		tests_failed++;
	} else {
		printf("%-32s %u passed, %u failed (%.0f ms)\n", suite->pName, suite_tests - suite_failed,
		       suite_failed, ms);
	}
	fflush(stdout);
}

static void on_suite_init_failure(const CU_pSuite suite)
{
	printf("%-32s could not be set up: %u tests not run\n", suite->pName, suite->uiNumberOfTests);
	suite_broken = true;
	tests_failed++;
}

static void on_suite_cleanup_failure(const CU_pSuite suite)
{
	printf("%-32s could not be cleaned up\n", suite->pName);
	tests_failed++;
}

static bool wanted(const char *name, int argc, char **argv)
{
	if (argc <= 1)
		return true;
	for (int i = 1; i < argc; i++)
		if (strstr(name, argv[i]))
			return true;
	return false;
}

/* Registers one suite; false when it added nothing, which CUnit would pass over in silence. */
static bool suite_register(size_t i)
{
	unsigned before = CU_get_registry()->uiNumberOfSuites;

	suites[i].add();
	if (CU_get_error() == CUE_SUCCESS && CU_get_registry()->uiNumberOfSuites == before + 1)
		return true;
	printf("%-32s could not be registered: %s\n", suites[i].name, CU_get_error_msg());
	return false;
}

int main(int argc, char **argv)
{
	size_t chosen = 0;

	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (size_t i = 0; i < SUITE_COUNT; i++)
			puts(suites[i].name);
		return 0;
	}
	if (CU_initialize_registry() != CUE_SUCCESS) {
		fprintf(stderr, "unit: cannot start CUnit: %s\n", CU_get_error_msg());
		return 1;
	}
	for (size_t i = 0; i < SUITE_COUNT; i++) {
		if (!wanted(suites[i].name, argc, argv))
			continue;
		chosen++;
		if (!suite_register(i))
			tests_failed++;
	}
	CU_set_suite_start_handler(on_suite_start);
	CU_set_test_complete_handler(on_test_done);
	CU_set_suite_complete_handler(on_suite_done);
	CU_set_suite_init_failure_handler(on_suite_init_failure);
	CU_set_suite_cleanup_failure_handler(on_suite_cleanup_failure);
	CU_set_error_action(CUEA_IGNORE);
	if (CU_get_registry()->uiNumberOfTests > 0)
		CU_run_all_tests();
	CU_cleanup_registry();
	if (chosen == 0)
		fprintf(stderr, "unit: no suite has such a name; --list names them\n");
	printf("%u passed, %u failed", tests_passed, tests_failed);
	printf(unit_skipped ? ", %u skipped\n" : "\n", unit_skipped);
	return tests_failed > 0 || tests_passed == 0;
}
