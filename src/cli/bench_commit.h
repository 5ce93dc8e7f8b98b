/*
 * bench_commit.h - `valence bench commit` (cli).
 */
#ifndef VALENCE_CLI_BENCH_COMMIT_H
#define VALENCE_CLI_BENCH_COMMIT_H

int bench_commit(int argc, char **argv); /* argv[0] is "commit"; returns the exit status */

#endif
