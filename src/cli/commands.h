/*
 * commands.h - the commands of `valence` (cli). Each gets its own arguments, argv[0] being the command's name, and
 * returns the exit status.
 */
#ifndef VALENCE_CLI_COMMANDS_H
#define VALENCE_CLI_COMMANDS_H

int cli_archive_engine(int argc, char **argv);
int cli_cache_engine(int argc, char **argv);
int cli_cluster(int argc, char **argv);
int cli_catalog(int argc, char **argv);
int cli_bench(int argc, char **argv);
int cli_history(int argc, char **argv);
int sim_main(int argc, char **argv); /* src/sim */

#endif
