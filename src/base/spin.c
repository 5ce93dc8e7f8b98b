/*
 * spin.c - whether a loop looks for work a little longer before it sleeps (base).
 */
#include "base/spin.h"

#define WEIGHT 8         /* of the past against one new gap */
#define FAILED_COSTS 8   /* a gap that polling did not bridge counts this often */

void spin_init(struct spin *s, enum poll_mode mode, uint32_t limit_us)
{
	*s = (struct spin){.mode = mode, .limit_us = limit_us, .gap_us = SPIN_GAP_MAX_US};
}

/* A gap seen asleep includes the time to wake, so that the bound for polling is wider than the polling. */
static bool promising(const struct spin *s)
{
	return s->gap_us <= 2 * s->limit_us;
}

void spin_worked(struct spin *s, uint64_t found_us, uint64_t done_us)
{
	uint64_t gap = found_us > s->since_us ? found_us - s->since_us : 0;

	if (gap > s->limit_us && promising(s))
		gap *= FAILED_COSTS;
	if (gap > SPIN_GAP_MAX_US)
		gap = SPIN_GAP_MAX_US;
	s->gap_us = (uint32_t)((s->gap_us * (WEIGHT - 1) + gap) / WEIGHT);
	s->since_us = done_us;
}

bool spin_on(const struct spin *s, uint64_t now_us)
{
	if (s->mode != POLL_ADAPTIVE)
		return s->mode == POLL_BUSY;
	return promising(s) && now_us - s->since_us < s->limit_us;
}
