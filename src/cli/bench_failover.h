/*
 * bench_failover.h - `valence bench failover` (cli).
 */
#ifndef VALENCE_CLI_BENCH_FAILOVER_H
#define VALENCE_CLI_BENCH_FAILOVER_H

int bench_failover(int argc, char **argv); /* argv[0] is "failover"; returns the exit status */

#endif
