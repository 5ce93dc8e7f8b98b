/*
 * unit.h - what the unit tests share (tests).
 */
#ifndef VALENCE_TESTS_UNIT_H
#define VALENCE_TESTS_UNIT_H

#include <stddef.h>
#include <stdint.h>

/*
 * Runs f(ctx) in a child process and returns the signal that ended it, 0 if it returned, or -1 if the
 * child could not be run. Its standard error is put into @text, NUL-terminated and cut; text may be NULL.
 */
int unit_death(void (*f)(void *ctx), void *ctx, char *text, size_t text_bytes);
int unit_death_signal(void (*f)(void *ctx), void *ctx);

/* Limits of time in tests with real processes are so many times as long: VALENCE_SLOW, else 1 (build-aux/run-suites). */
uint64_t unit_slow(void);

/* A part that cannot be run on this machine: prints "SKIP what: why", and counts. */
void unit_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
extern unsigned unit_skipped;

/* The program's list of suites, given by Makefile.am. One function for each line: it registers its suite. */
#define SUITE(name) void suite_##name(void);
#include UNIT_SUITES
#undef SUITE

#endif
