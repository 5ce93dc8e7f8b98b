/*
 * bench.c - `valence bench`: which bench (cli).
 */
#include "cli/bench.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

static const struct {
	const char *name, *help;
	int (*run)(int argc, char **argv);
} benches[] = {
	{"fabric", "links, beside their library alone and beside plain TCP", bench_fabric},
	{"fetch", "copies of atoms, beside bare transfers and what they cost the holder", bench_fetch},
	{"tree", "the relay tree of many engines, over simulated links", bench_tree},
	{"commit", "how long a commit takes, beside the disk's sync", bench_commit},
	{"failover", "how long until another engine goes on for one that died, hangs or is cut off", bench_failover},
};
#define BENCHES (sizeof benches / sizeof *benches)

int bench_rest(int argc, char **argv, struct bench_rest *out)
{
	if (optind < argc && strcmp(argv[optind - 1], "--") != 0)
		return cli_usage("bench", "\"%s\" is one word too many", argv[optind]);
	out->at = argv + optind;
	out->count = (uint32_t)(argc - optind);
	return -1;
}

void bench_give(const struct bench_rest *rest, struct cluster *cl)
{
	for (uint32_t i = 0; i < rest->count && cl->extra_count < CLUSTER_EXTRA_MAX; i++)
		cl->extra[cl->extra_count++] = rest->at[i];
}

int bench_number(const char *flag, uint64_t min, uint64_t max, uint64_t *out)
{
	return cli_u64(optarg, min, max, out) ? -1
					      : cli_usage("bench", "%s %s: not a number from %llu to %llu", flag, optarg,
							  (unsigned long long)min, (unsigned long long)max);
}

volatile sig_atomic_t bench_told_to_end;

static void on_signal(int number)
{
	(void)number;
	bench_told_to_end = 1;
}

void bench_end_when_told(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
}

int cli_bench(int argc, char **argv)
{
	if (argc < 2)
		return cli_usage("bench", "what to measure? See valence bench --help");
	if (strcmp(argv[1], "--help") == 0) {
		puts("usage: valence bench WHAT [flags]\n");
		for (size_t i = 0; i < BENCHES; i++)
			printf("  %-10s%s\n", benches[i].name, benches[i].help);
		puts("\nEach has --help.");
		return CLI_DONE;
	}
	for (size_t i = 0; i < BENCHES; i++)
		if (strcmp(argv[1], benches[i].name) == 0)
			return benches[i].run(argc - 1, argv + 1);
	return cli_usage("bench", "%s: no such bench. See valence bench --help", argv[1]);
}
