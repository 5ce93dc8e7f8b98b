/*
 * bench.h - the benches of `valence bench` (cli). argv[0] is the bench's name; they return the exit status.
 */
#ifndef VALENCE_CLI_BENCH_H
#define VALENCE_CLI_BENCH_H

#include <signal.h>

#include "cli/cluster.h"

/* What stands behind "--": flags for the engines of a bench's own cluster. Lent from argv. */
struct bench_rest { char **at; uint32_t count; };
/* After the flags. -1, or the exit status of wrong usage. */
int bench_rest(int argc, char **argv, struct bench_rest *out);
void bench_give(const struct bench_rest *rest, struct cluster *cl);
/* The value of the flag that getopt() is at. -1, or the exit status of wrong usage. */
int bench_number(const char *flag, uint64_t min, uint64_t max, uint64_t *out);
/* From the call on, SIGTERM and SIGINT only set it: who has a cluster of his own ends it himself. */
extern volatile sig_atomic_t bench_told_to_end;
void bench_end_when_told(void);

int bench_fabric(int argc, char **argv);
int bench_tree(int argc, char **argv);
int bench_fetch(int argc, char **argv);
int bench_commit(int argc, char **argv);
int bench_failover(int argc, char **argv);

#endif
