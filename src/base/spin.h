/*
 * spin.h - whether a loop looks for work a little longer before it sleeps (base).
 *
 * Going to sleep and being woken costs 20-40 us of latency on a virtual core, more than a point read. A loop whose
 * events come close together therefore polls for a while first. What decides is the mean gap between the end of
 * one piece of work and the next; a gap that outlasts the polling counts several times, so that a rhythm just slower than the
 * limit does not burn a core for nothing, and one long gap ends a burst. An idle loop does not poll at all.
 */
#ifndef VALENCE_BASE_SPIN_H
#define VALENCE_BASE_SPIN_H

#include <stdbool.h>
#include <stdint.h>

enum poll_mode { POLL_ADAPTIVE, POLL_BUSY, POLL_BLOCK };

#define SPIN_LIMIT_DEFAULT_US 50

struct spin {
	enum poll_mode mode;
	uint32_t limit_us;    /* adaptive: polls this long at most */
	uint32_t gap_us;      /* decaying mean; at most SPIN_GAP_MAX_US */
	uint64_t since_us;    /* end of the last work */
};

#define SPIN_GAP_MAX_US 1000

void spin_init(struct spin *s, enum poll_mode mode, uint32_t limit_us);
/* The loop found work at `found_us` (monotonic clock) and was done with it, and all else that it found, at `done_us`. */
void spin_worked(struct spin *s, uint64_t found_us, uint64_t done_us);
/* Nothing to do at `now_us`: poll on rather than sleep? */
bool spin_on(const struct spin *s, uint64_t now_us);

#endif
