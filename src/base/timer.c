/*
 * timer.c - the timers of one event loop (base): a binary heap over (due time, order of arming).
 */
#include "base/timer.h"

#include <string.h>

#include "base/assert.h"

void timers_init(struct timers *ts, struct mem *mem)
{
	memset(ts, 0, sizeof *ts);
	ts->mem = mem;
}

void timers_fini(struct timers *ts)
{
	/* owners may cancel theirs after this one is gone */
	for (size_t i = 0; i < ts->count; i++)
		ts->heap[i]->at = 0;
	mem_free(ts->mem, ts->heap, ts->cap * sizeof *ts->heap);
	timers_init(ts, ts->mem);
}

void timer_init(struct timer *t, void (*fire)(struct timer *, void *), void *ctx)
{
	memset(t, 0, sizeof *t);
	t->fire = fire;
	t->ctx = ctx;
}

static bool before(const struct timer *a, const struct timer *b)
{
	return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void place(struct timers *ts, size_t i, struct timer *t)
{
	ts->heap[i] = t;
	t->at = i + 1;
}

static void sift_up(struct timers *ts, size_t i, struct timer *t)
{
	while (i > 0 && before(t, ts->heap[(i - 1) / 2])) {
		place(ts, i, ts->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	place(ts, i, t);
}

static void sift_down(struct timers *ts, size_t i, struct timer *t)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= ts->count)
			break;
		if (child + 1 < ts->count && before(ts->heap[child + 1], ts->heap[child]))
			child++;
		if (!before(ts->heap[child], t))
			break;
		place(ts, i, ts->heap[child]);
		i = child;
	}
	place(ts, i, t);
}

void timer_cancel(struct timers *ts, struct timer *t)
{
	size_t i = t->at;
	struct timer *last;

	if (i == 0)
		return;
	i--;
	ASSERT_OP(i, <, ts->count);
	ASSERT(ts->heap[i] == t); /* else it is armed in another loop's timers */
	t->at = 0;
	last = ts->heap[--ts->count];
	if (last == t)
		return;
	if (i > 0 && before(last, ts->heap[(i - 1) / 2]))
		sift_up(ts, i, last);
	else
		sift_down(ts, i, last);
}

void timer_arm(struct timers *ts, struct timer *t, uint64_t due_us)
{
	ASSERT(t->fire != NULL);
	timer_cancel(ts, t);
	if (ts->count == ts->cap) {
		size_t cap = ts->cap ? ts->cap * 2 : 16;

		ts->heap = mem_realloc(ts->mem, ts->heap, ts->cap * sizeof *ts->heap,
				       cap * sizeof *ts->heap);
		ts->cap = cap;
	}
	t->due_us = due_us > ts->floor_us ? due_us : ts->floor_us;
	t->order = ts->orders++;
	sift_up(ts, ts->count++, t);
}

uint64_t timers_next_us(const struct timers *ts)
{
	return ts->count ? ts->heap[0]->due_us : UINT64_MAX;
}

int timers_run(struct timers *ts, uint64_t now_us)
{
	uint64_t orders = ts->orders;
	int fired = 0;

	ASSERT_OP(ts->floor_us, ==, 0); /* not from inside a fire function */
	ts->floor_us = now_us;
	/*
	 * One armed by a fire function for now or earlier waits for the next run, so that a run ends. The
	 * floor puts it behind all that were due before, so the first such one ends the loop.
	 */
	while (ts->count && ts->heap[0]->due_us <= now_us && ts->heap[0]->order < orders) {
		struct timer *t = ts->heap[0];

		timer_cancel(ts, t);
		fired++;
		t->fire(t, t->ctx); /* may free it */
	}
	ts->floor_us = 0;
	return fired;
}
