/*
 * bench_stats.h - what is told of many measurements (cli).
 */
#ifndef VALENCE_CLI_BENCH_STATS_H
#define VALENCE_CLI_BENCH_STATS_H

#include <stdint.h>
#include <stdlib.h>

struct spread { double min, median, p90, p99, max; };

static inline int spread_order(const void *x, const void *y)
{
	const double *a = x, *b = y;

	return (*a > *b) - (*a < *b);
}

/* Of @n > 0 values; sorts them. */
static inline struct spread spread_of(double *v, size_t n)
{
	qsort(v, n, sizeof *v, spread_order);
	return (struct spread){v[0], v[n / 2], v[n * 9 / 10], v[n * 99 / 100], v[n - 1]};
}

#endif
