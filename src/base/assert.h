/*
 * assert.h - broken invariants (base). Stays on in production; prints what was compared, then aborts.
 * Never for bad input: that is an error the caller gets.
 */
#ifndef VALENCE_BASE_ASSERT_H
#define VALENCE_BASE_ASSERT_H

#include <stdint.h>

void assert_fail(const char *file, int line, const char *expr) __attribute__((noreturn, cold));
void assert_fail_u64(const char *file, int line, const char *expr, uint64_t a, uint64_t b)
	__attribute__((noreturn, cold));
/* A hook run before abort (the simulator prints its seed); NULL: none. */
void assert_set_hook(void (*hook)(void *ctx), void *ctx);

#define ASSERT(e) ((e) ? (void)0 : assert_fail(__FILE__, __LINE__, #e))
#define ASSERT_OP(a, op, b)                                                                \
	do {                                                                               \
		uint64_t aa_ = (uint64_t)(a), bb_ = (uint64_t)(b);                         \
		if (!(aa_ op bb_))                                                         \
			assert_fail_u64(__FILE__, __LINE__, #a " " #op " " #b, aa_, bb_);  \
	} while (0)
#define UNREACHABLE() assert_fail(__FILE__, __LINE__, "unreachable")
#ifdef VALENCE_DEBUG
#define DEBUG_ASSERT(e) ASSERT(e)
#else
#define DEBUG_ASSERT(e) ((void)0)
#endif

#endif
