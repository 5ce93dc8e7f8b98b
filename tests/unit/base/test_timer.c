/*
 * test_timer.c - timers, against a sorted model.
 */
#include "base/timer.h"

#include <CUnit/CUnit.h>
#include <stdlib.h>

#include "../unit.h"
#include "base/env.h"

static struct mem account;
static struct timers ts;
static struct timer *fired[4096];
static size_t fired_count;

static void note(struct timer *t, void *ctx)
{
	(void)ctx;
	CU_ASSERT(!timer_armed(t));
	if (fired_count < sizeof fired / sizeof fired[0])
		fired[fired_count] = t;
	fired_count++;
}

static void start(void)
{
	mem_init(&account, NULL, "test_timer", 0);
	timers_init(&ts, &account);
	fired_count = 0;
}

static void stop(void)
{
	timers_fini(&ts);
	mem_fini(&account);
}

/* Nothing fires early; what is due fires by due time, and in the order of arming within one. */
static void test_timer_order(void)
{
	struct timer t[4];

	start();
	for (int i = 0; i < 4; i++)
		timer_init(&t[i], note, NULL);
	CU_ASSERT_EQUAL(timers_next_us(&ts), UINT64_MAX);
	timer_arm(&ts, &t[0], 20);
	timer_arm(&ts, &t[1], 10);
	timer_arm(&ts, &t[2], 20);
	timer_arm(&ts, &t[3], 10);
	timer_arm(&ts, &t[1], 10); /* armed again: now after t[3] */
	CU_ASSERT_EQUAL(timers_next_us(&ts), 10);
	CU_ASSERT_EQUAL(timers_run(&ts, 9), 0);
	CU_ASSERT_EQUAL(timers_run(&ts, 10), 2);
	CU_ASSERT_EQUAL(timers_next_us(&ts), 20);
	CU_ASSERT_EQUAL(timers_run(&ts, 1000), 2);
	CU_ASSERT_EQUAL(fired_count, 4);
	CU_ASSERT(fired[0] == &t[3] && fired[1] == &t[1] && fired[2] == &t[0] && fired[3] == &t[2]);
	CU_ASSERT_EQUAL(timers_run(&ts, 2000), 0);
	stop();
}

/* Random arming, re-arming and cancelling: each run fires what a scan of the model says, in its order. */
static void test_timer_random_against_model(void)
{
	enum { COUNT = 200 };
	struct timer t[COUNT];
	struct {
		bool armed;
		uint64_t due_us, order;
	} model[COUNT] = {0};
	uint64_t now_us = 0, orders = 0;
	struct rng rng;

	start();
	rng_init(&rng, 4);
	for (int i = 0; i < COUNT; i++)
		timer_init(&t[i], note, NULL);
	for (int n = 0; n < 4000; n++) {
		size_t i = rng_below(&rng, COUNT), done = 0;

		if (rng_below(&rng, 3)) {
			model[i].armed = true;
			model[i].due_us = now_us + rng_below(&rng, 50);
			model[i].order = ++orders;
			timer_arm(&ts, &t[i], model[i].due_us);
		} else {
			model[i].armed = false;
			timer_cancel(&ts, &t[i]);
		}
		CU_ASSERT_EQUAL(timer_armed(&t[i]), model[i].armed);
		if (n % 8)
			continue;
		now_us += rng_below(&rng, 10);
		fired_count = 0;
		timers_run(&ts, now_us);
		for (;; done++) {
			int first = -1;

			for (int k = 0; k < COUNT; k++)
				if (model[k].armed && model[k].due_us <= now_us &&
				    (first < 0 || model[k].due_us < model[first].due_us ||
				     (model[k].due_us == model[first].due_us &&
				      model[k].order < model[first].order)))
					first = k;
			if (first < 0)
				break;
			CU_ASSERT(done < fired_count && fired[done] == &t[first]);
			model[first].armed = false;
		}
		CU_ASSERT_EQUAL(fired_count, done);
	}
	stop();
}

static void again(struct timer *t, void *ctx)
{
	note(t, ctx);
	timer_arm(&ts, t, *(uint64_t *)ctx);
}

/* A timer that arms itself for a time already past does not keep a run from ending, nor starve others. */
static void test_timer_rearm_in_the_past(void)
{
	uint64_t due_us = 1;
	struct timer a, b;

	start();
	timer_init(&a, again, &due_us);
	timer_init(&b, note, NULL);
	timer_arm(&ts, &a, 5);
	timer_arm(&ts, &b, 10);
	CU_ASSERT_EQUAL(timers_run(&ts, 10), 2);
	CU_ASSERT(fired_count == 2 && fired[0] == &a && fired[1] == &b);
	CU_ASSERT(timer_armed(&a) && !timer_armed(&b));
	CU_ASSERT(timers_next_us(&ts) <= 10);
	CU_ASSERT_EQUAL(timers_run(&ts, 10), 1);
	stop();
}

static struct timer *victim;

static void cancel_victim(struct timer *t, void *ctx)
{
	note(t, ctx);
	timer_cancel(&ts, victim);
}

static void free_owner(struct timer *t, void *ctx)
{
	note(t, ctx);
	free(ctx);
}

/* A fire function may cancel another timer that is due, and may free its own. */
static void test_timer_fire_may_cancel_and_free(void)
{
	struct timer a, b, *owned = calloc(1, sizeof *owned);

	CU_ASSERT_PTR_NOT_NULL_FATAL(owned);
	start();
	timer_init(&a, cancel_victim, NULL);
	timer_init(&b, note, NULL);
	timer_init(owned, free_owner, owned);
	victim = &b;
	timer_arm(&ts, &a, 1);
	timer_arm(&ts, &b, 1);
	timer_arm(&ts, owned, 1);
	CU_ASSERT_EQUAL(timers_run(&ts, 1), 2);
	CU_ASSERT(!timer_armed(&b));
	CU_ASSERT_EQUAL(ts.count, 0);
	stop();
}

/* Timers still armed at the end are disarmed, so their owners may cancel them later. */
static void test_timer_fini_disarms(void)
{
	struct timer a;

	start();
	timer_init(&a, note, NULL);
	timer_arm(&ts, &a, 1);
	timers_fini(&ts);
	CU_ASSERT(!timer_armed(&a));
	timer_cancel(&ts, &a);
	mem_fini(&account);
}

void suite_base_timer(void)
{
	CU_pSuite s = CU_add_suite("base_timer", NULL, NULL);

	CU_add_test(s, "order", test_timer_order);
	CU_add_test(s, "random_against_model", test_timer_random_against_model);
	CU_add_test(s, "rearm_in_the_past", test_timer_rearm_in_the_past);
	CU_add_test(s, "fire_may_cancel_and_free", test_timer_fire_may_cancel_and_free);
	CU_add_test(s, "fini_disarms", test_timer_fini_disarms);
}
