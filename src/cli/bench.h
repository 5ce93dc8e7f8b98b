/*
 * bench.h - the benches of `valence bench` (cli). argv[0] is the bench's name; they return the exit status.
 */
#ifndef VALENCE_CLI_BENCH_H
#define VALENCE_CLI_BENCH_H

int bench_fabric(int argc, char **argv);
int bench_tree(int argc, char **argv);
int bench_commit(int argc, char **argv);
int bench_failover(int argc, char **argv);

#endif
