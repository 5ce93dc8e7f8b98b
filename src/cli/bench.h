/*
 * bench.h - the benches of `valence bench` (cli). argv[0] is the bench's name; they return the exit status.
 */
#ifndef VALENCE_CLI_BENCH_H
#define VALENCE_CLI_BENCH_H

#include "cli/cluster.h"

/* What stands behind "--": flags for the engines of a bench's own cluster. Lent from argv. */
struct bench_rest { char **at; uint32_t count; };
/* After the flags. -1, or the exit status of wrong usage. */
int bench_rest(int argc, char **argv, struct bench_rest *out);
void bench_give(const struct bench_rest *rest, struct cluster *cl);

int bench_fabric(int argc, char **argv);
int bench_tree(int argc, char **argv);
int bench_fetch(int argc, char **argv);
int bench_commit(int argc, char **argv);
int bench_failover(int argc, char **argv);

#endif
