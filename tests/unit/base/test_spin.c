/*
 * test_spin.c - when a loop polls before it sleeps.
 */
#include "base/spin.h"

#include <CUnit/CUnit.h>

#include "../unit.h"

/* Work for 10 us after each of `gap_us`, n times. Returns how many of the gaps polling bridged. */
static unsigned rhythm(struct spin *s, uint64_t *now, uint64_t gap_us, unsigned n)
{
	unsigned bridged = 0;

	for (unsigned i = 0; i < n; i++) {
		if (spin_on(s, *now) && gap_us < s->limit_us)
			bridged++;
		*now += gap_us;
		spin_worked(s, *now, *now + 10);
		*now += 10;
	}
	return bridged;
}

/* Time that a loop polls for nothing when its events come every `gap_us`, n of them. */
static uint64_t wasted_us(struct spin *s, uint64_t *now, uint64_t gap_us, unsigned n)
{
	uint64_t wasted = 0;

	for (unsigned i = 0; i < n; i++) {
		if (spin_on(s, *now))
			wasted += gap_us < s->limit_us ? gap_us : s->limit_us;
		*now += gap_us;
		spin_worked(s, *now, *now + 10);
		*now += 10;
	}
	return wasted;
}

/* Events that come close together are polled for, nearly all of them, and never longer than the limit. */
static void test_spin_burst(void)
{
	struct spin s;
	uint64_t now = 1000000;

	spin_init(&s, POLL_ADAPTIVE, 50);
	CU_ASSERT_FALSE(spin_on(&s, now));
	rhythm(&s, &now, 30, 40);
	CU_ASSERT_EQUAL(rhythm(&s, &now, 30, 100), 100);
	CU_ASSERT_TRUE(spin_on(&s, now + 49));
	CU_ASSERT_FALSE(spin_on(&s, now + 50));
}

/* An idle engine (its timers every 10 ms) uses no time; after a burst it takes a few events to fall asleep. */
static void test_spin_idle(void)
{
	struct spin s;
	uint64_t now = 1000000;

	spin_init(&s, POLL_ADAPTIVE, 50);
	CU_ASSERT_EQUAL(wasted_us(&s, &now, 10000, 1000), 0);
	rhythm(&s, &now, 20, 100);
	CU_ASSERT_TRUE(spin_on(&s, now));
	CU_ASSERT_TRUE(wasted_us(&s, &now, 10000, 1000) <= 50);
}

/* A rhythm just slower than the limit: at most a fifth of the time is polled away. */
static void test_spin_slow(void)
{
	struct spin s;
	uint64_t now = 1000000, start;

	for (uint64_t gap = 51; gap < 400; gap += 7) {
		spin_init(&s, POLL_ADAPTIVE, 50);
		rhythm(&s, &now, 20, 100);
		start = now;
		CU_ASSERT_TRUE(wasted_us(&s, &now, gap, 10000) * 5 <= now - start);
	}
}

/* The two other ways do as they are called, and a limit of 0 is never polled. */
static void test_spin_modes(void)
{
	struct spin s;
	uint64_t now = 1000000;

	spin_init(&s, POLL_BUSY, 50);
	rhythm(&s, &now, 10000, 100);
	CU_ASSERT_TRUE(spin_on(&s, now + 1000000));
	spin_init(&s, POLL_BLOCK, 50);
	rhythm(&s, &now, 10, 100);
	CU_ASSERT_FALSE(spin_on(&s, now));
	spin_init(&s, POLL_ADAPTIVE, 0);
	rhythm(&s, &now, 0, 100);
	CU_ASSERT_FALSE(spin_on(&s, now));
}

void suite_base_spin(void)
{
	CU_pSuite s = CU_add_suite("base_spin", NULL, NULL);

	CU_add_test(s, "burst", test_spin_burst);
	CU_add_test(s, "idle", test_spin_idle);
	CU_add_test(s, "slow", test_spin_slow);
	CU_add_test(s, "modes", test_spin_modes);
}
