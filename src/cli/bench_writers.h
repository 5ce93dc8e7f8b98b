/*
 * bench_writers.h - clients that commit one after the other and remember when they were told so, for benches (cli).
 *
 * Each has a thread, a connection and a table of its own, so that none waits for a lock of another one's: what holds them up
 * is the cluster. A statement that fails is tried again, on a new connection if that one is lost.
 */
#ifndef VALENCE_CLI_BENCH_WRITERS_H
#define VALENCE_CLI_BENCH_WRITERS_H

#include <pthread.h>

#include "base/env.h"
#include "cli/cluster.h"

#define BENCH_WRITERS_MAX 16

struct bench_writer;
struct bench_writers {
	struct bench_writer *at[BENCH_WRITERS_MAX];
	uint32_t count;
	pthread_mutex_t lock;
	struct clock clock;
	bool stop;
	uint64_t last_us;            /* the newest acknowledgement of any */
	uint64_t since_us, gap_us;   /* the longest time between two of them, that ended since then */
};

/* @count of them, in turn at the members named; returns when each has committed. After an error none is left. */
MUST_CHECK enum status bench_writers_start(struct bench_writers *w, const struct member *members, uint32_t member_count,
					   uint32_t count, struct error *err);
void bench_writers_stop(struct bench_writers *w);
void bench_writers_mark(struct bench_writers *w); /* from now on */
/* Waits until each has committed @commits times since the mark, which are then those that each gap is of. */
MUST_CHECK enum status bench_writers_wait(struct bench_writers *w, uint32_t commits, uint32_t timeout_ms, struct error *err);
/* The longest time between two commits that ended since the mark: of any two, and of two of the same client. */
void bench_writers_gaps(struct bench_writers *w, uint64_t *any_us_out, uint64_t *client_us_out);

#endif
