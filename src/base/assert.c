/*
 * assert.c - what happens when an invariant is broken (base).
 */
#include "base/assert.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static void (*fail_hook)(void *ctx);
static void *fail_ctx;

void assert_set_hook(void (*hook)(void *ctx), void *ctx)
{
	fail_hook = hook;
	fail_ctx = ctx;
}

static void fail_end(void) __attribute__((noreturn));

static void fail_end(void)
{
	void (*hook)(void *) = fail_hook;

	/* taken out first: a hook that fails an assertion itself must not come round again */
	fail_hook = NULL;
	fflush(stderr);
	if (hook)
		hook(fail_ctx);
	fflush(NULL);
	abort();
}

void assert_fail(const char *file, int line, const char *expr)
{
	fprintf(stderr, "valence: %s:%d: broken invariant: %s\n", file, line, expr);
	fail_end();
}

void assert_fail_u64(const char *file, int line, const char *expr, uint64_t a, uint64_t b)
{
	fprintf(stderr,
		"valence: %s:%d: broken invariant: %s: %" PRIu64 " (0x%" PRIx64 ") against %" PRIu64
		" (0x%" PRIx64 ")\n",
		file, line, expr, a, a, b, b);
	fail_end();
}
