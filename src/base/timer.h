/*
 * timer.h - timers of one event loop (base): a binary heap over (due time, order of arming).
 *
 * Deterministic: timers due at one time fire in the order in which they were armed.
 */
#ifndef VALENCE_BASE_TIMER_H
#define VALENCE_BASE_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct timer {
	void (*fire)(struct timer *t, void *ctx); /* called once per arming; may arm again or free its owner */
	void *ctx;
	uint64_t due_us, order;
	size_t at; /* 1-based place in the heap; 0: not armed */
};
struct timers { struct mem *mem; struct timer **heap; size_t count, cap; uint64_t orders, floor_us; };

void timers_init(struct timers *ts, struct mem *mem);
void timers_fini(struct timers *ts);
void timer_init(struct timer *t, void (*fire)(struct timer *, void *), void *ctx);
void timer_arm(struct timers *ts, struct timer *t, uint64_t due_us); /* re-arms when armed */
void timer_cancel(struct timers *ts, struct timer *t);               /* harmless when not armed */
static inline bool timer_armed(const struct timer *t) { return t->at != 0; }
uint64_t timers_next_us(const struct timers *ts); /* due time of the first; UINT64_MAX none */
/*
 * Fires all due at now_us or before; how many. A timer that a fire function arms for now_us or earlier
 * counts as due at now_us and fires in the next run, so a run always ends. Not to be called from a fire function.
 */
int timers_run(struct timers *ts, uint64_t now_us);

#endif
