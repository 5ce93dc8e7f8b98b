/*
 * bench_tree.c - `valence bench tree`: the relay tree of many engines, measured in one process (cli).
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/cli.h"
#include "cli/tree_world.h"

#define SIZES_MAX 16

static const char usage[] =
	"usage: valence bench tree [--engines N,N,...] [--voters N] [--fan-out N] [--payload BYTES] [--records N]\n"
	"                          [--json]\n\n"
	"Builds the relay tree of N engines in this process, streams records down, and tells how many links an engine\n"
	"has, how deep the tree is, how many bytes go out of an engine for each byte that its children want, how long a\n"
	"record takes to all engines, and how long when a relay has stopped. The relays are the engines' own code; time\n"
	"and links are simulated: each link has a delay of 100 us one way and 1,250 MB/s of its own (so an engine's links\n"
	"do not share a cable), and what an engine does with a record takes no time. Processor time is this machine's,\n"
	"per record and engine: of the relays with the simulated network; of a bare loop that forwards by the same tree\n"
	"over that network; of one copy of the record.\n\n"
	"  --engines N,N,...  how many engines, voters included, 2 to 4096 (default 9,64,1000)\n"
	"  --voters N         of them, 1 to 5 (default 3)\n"
	"  --fan-out N        children of an engine, 1 to 64 (default 8)\n"
	"  --payload BYTES    of a record, 64 to 1M (default 1024)\n"
	"  --records N        how many, 1 to 100000, one in a millisecond (default 500)\n"
	"  --json             one JSON object instead of text\n";

struct request {
	uint64_t engines[SIZES_MAX];
	uint32_t count;
	uint64_t voters, fan_out, payload, records;
	bool json;
};

static void print_text(const struct tree_config *c, const struct tree_result *r)
{
	printf("%u engines, %u of them voters, fan-out %u\n", c->engines, c->voters, c->fan_out);
	printf("  links            %10u   at most, of an engine; fan-out + 1 is %u\n", r->links_max, c->fan_out + 1);
	printf("                   %10u   at most, of a voter; fan-out and one for each other is %u\n", r->voter_links_max,
	       c->fan_out + c->voters - 1);
	printf("  hops             %10u   at most, %.2f on average; a full tree: %u\n", r->depth_max, r->depth_mean,
	       r->depth_full);
	printf("  bytes out        %10.3f   at most, %.3f on average, times children x payload\n", r->bytes_ratio_max,
	       r->bytes_ratio_mean);
	printf("  to all engines   %10.0f   us at most, %.0f on average; one hop is %.0f us (simulated)\n",
	       r->reach_max_us, r->reach_mean_us, r->hop_us);
	printf("  a relay stopped  %10.0f   ms to all others, %u children found another parent (simulated)\n",
	       r->stopped_ms, r->stopped_children);
	printf("  processor time   %10.2f   us for each record and engine; bare loop %.2f, a copy %.2f\n\n", r->cpu_us,
	       r->bare_cpu_us, r->copy_us);
}

static void print_json(const struct tree_config *c, const struct tree_result *r)
{
	printf("{\"engines\": %u, \"links_max\": %u, \"voter_links_max\": %u, \"children_max\": %u, \"hops_max\": %u, "
	       "\"hops_mean\": %.3f, \"hops_full_tree\": %u, ",
	       c->engines, r->links_max, r->voter_links_max, r->children_max, r->depth_max, r->depth_mean, r->depth_full);
	printf("\"bytes_ratio_max\": %.4f, \"bytes_ratio_mean\": %.4f, \"reach_max_us\": %.1f, \"reach_mean_us\": %.1f, "
	       "\"hop_us\": %.1f, ",
	       r->bytes_ratio_max, r->bytes_ratio_mean, r->reach_max_us, r->reach_mean_us, r->hop_us);
	printf("\"stopped_relay_ms\": %.1f, \"stopped_relay_children\": %u, \"suspects\": %llu, \"cpu_us\": %.3f, "
	       "\"bare_cpu_us\": %.3f, \"copy_us\": %.4f}",
	       r->stopped_ms, r->stopped_children, (unsigned long long)r->suspects, r->cpu_us, r->bare_cpu_us, r->copy_us);
}

static int measure_all(const struct request *rq)
{
	if (rq->json)
		printf("{\"voters\": %llu, \"fan_out\": %llu, \"payload_bytes\": %llu, \"records\": %llu, \"trees\": [",
		       (unsigned long long)rq->voters, (unsigned long long)rq->fan_out, (unsigned long long)rq->payload,
		       (unsigned long long)rq->records);
	for (uint32_t i = 0; i < rq->count; i++) {
		struct tree_config c = {
			.engines = (uint32_t)rq->engines[i],
			.voters = (uint32_t)rq->voters,
			.fan_out = (uint32_t)rq->fan_out,
			.payload_bytes = (uint32_t)rq->payload,
			.records = (uint32_t)rq->records,
			.every_us = 1000,
			.delay_us = 100,
			.bytes_per_ms = 1250000,
		};
		struct tree_result r;
		struct error err;

		if (tree_measure(&c, &r, &err) != ST_OK)
			return cli_fail_error("cannot measure the tree", &err);
		if (rq->json && i)
			fputs(", ", stdout);
		if (rq->json)
			print_json(&c, &r);
		else
			print_text(&c, &r);
		fflush(stdout);
	}
	if (rq->json)
		puts("]}");
	return CLI_DONE;
}

static bool read_sizes(struct request *rq, const char *text)
{
	char one[16];

	rq->count = 0;
	for (const char *p = text;; p++) {
		size_t n = strcspn(p, ",");

		if (n == 0 || n >= sizeof one || rq->count == SIZES_MAX)
			return false;
		memcpy(one, p, n);
		one[n] = '\0';
		if (!cli_u64(one, 2, 4096, &rq->engines[rq->count++]))
			return false;
		p += n;
		if (!*p)
			return true;
	}
}

static int read_flags(struct request *rq, int argc, char **argv)
{
	enum { F_ENGINES = 256, F_VOTERS, F_FAN_OUT, F_PAYLOAD, F_RECORDS, F_JSON, F_HELP };
	static const struct option longs[] = {{"engines", 1, NULL, F_ENGINES}, {"voters", 1, NULL, F_VOTERS},
					      {"fan-out", 1, NULL, F_FAN_OUT}, {"payload", 1, NULL, F_PAYLOAD},
					      {"records", 1, NULL, F_RECORDS}, {"json", 0, NULL, F_JSON},
					      {"help", 0, NULL, F_HELP},       {NULL, 0, NULL, 0}};
	int got;

	opterr = 0;
	optind = 1;
	while ((got = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
		bool good = true;

		switch (got) {
		case F_ENGINES:
			good = read_sizes(rq, optarg);
			break;
		case F_VOTERS:
			good = cli_u64(optarg, 1, RELAY_VOTERS_MAX, &rq->voters);
			break;
		case F_FAN_OUT:
			good = cli_u64(optarg, 1, 64, &rq->fan_out);
			break;
		case F_PAYLOAD:
			good = cli_bytes(optarg, &rq->payload) && rq->payload >= 64 && rq->payload <= 1u << 20;
			break;
		case F_RECORDS:
			good = cli_u64(optarg, 1, 100000, &rq->records);
			break;
		case F_JSON:
			rq->json = true;
			break;
		case F_HELP:
			fputs(usage, stdout);
			return CLI_DONE;
		default:
			return cli_usage("bench tree", "%s: no such flag, or it needs a value", argv[optind - 1]);
		}
		if (!good)
			return cli_usage("bench tree", "%s: not a value for that flag", optarg);
	}
	if (optind < argc)
		return cli_usage("bench tree", "\"%s\" is one word too many", argv[optind]);
	for (uint32_t i = 0; i < rq->count; i++)
		if (rq->engines[i] <= rq->voters)
			return cli_usage("bench tree", "--engines %llu: more engines than the %llu voters are needed",
					 (unsigned long long)rq->engines[i], (unsigned long long)rq->voters);
	return -1;
}

int bench_tree(int argc, char **argv)
{
	struct request rq = {.engines = {9, 64, 1000}, .count = 3, .voters = 3, .fan_out = 8, .payload = 1024, .records = 500};
	int rc = read_flags(&rq, argc, argv);

	return rc >= 0 ? rc : measure_all(&rq);
}
