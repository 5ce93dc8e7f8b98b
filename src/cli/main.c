/*
 * main.c - the `valence` command: which command, and what it returns (cli).
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

struct command {
	const char *name, *help;
	int (*run)(int argc, char **argv); /* NULL: not in this version */
};

static const struct command commands[] = {
	{"archive-engine", "run an engine that keeps the database on disk", cli_archive_engine},
	{"cache-engine", "run an engine that holds data in memory", cli_cache_engine},
	{"cluster", "start, stop and look after a whole cluster on this machine", cli_cluster},
	{"catalog", "look around in a running cluster", cli_catalog},
	{"sim", "run simulated clusters from a seed", sim_main},
	{"bench", "measure on this machine", cli_bench},
	{"history", "check what clients saw against an isolation level", cli_history},
	{"backup", "online backup of an archive", NULL},
	{"restore", "restore a backup into an empty directory", NULL},
	{"verify", "check every image and record of an archive", NULL},
};

static void usage(FILE *to)
{
	fputs("usage: valence COMMAND [flags]\n"
	      "       valence COMMAND --help | --help | --version\n\n", to);
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (commands[i].run)
			fprintf(to, "  %-16s %s\n", commands[i].name, commands[i].help);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return CLI_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		usage(stdout);
		return CLI_DONE;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("valence " PACKAGE_VERSION);
		return CLI_DONE;
	}
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		if (!commands[i].run)
			return cli_usage(NULL, "%s: not supported in this version", argv[1]);
		return commands[i].run(argc - 1, argv + 1);
	}
	return cli_usage(NULL, "no command \"%s\"", argv[1]);
}
