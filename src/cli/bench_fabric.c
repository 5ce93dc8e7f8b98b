/*
 * bench_fabric.c - `valence bench fabric`: our links beside their library alone and beside plain TCP, in one run (cli).
 *
 * All kinds of connection are open at once, each between two processes of its own, and are told in turn what
 * to send; of several rounds the best of each kind counts, since what else runs on a machine only adds.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/bench_fabric.h"
#include "cli/cli.h"
#include "net/fabric.h"

#define FABRICS_MAX 8
#define MESSAGE_MAX (1u << 20)
#define RUN_S 0.2

static const char usage[] =
	"usage: valence bench fabric [--fabric F] [--host H] [--rounds N] [--json]\n"
	"       valence bench fabric --list\n\n"
	"Measures our links over each fabric of this build beside the same library in a bare loop "
	"and a plain TCP\n"
	"connection, all in one run and each between two processes that spin: give it two free "
	"processors.\n"
	"Ratios are ours to theirs: of a time less is better, of a rate more. \"defaults\" is UCX "
	"as it is when nobody sets\n"
	"anything, which ends the survivor when a peer dies during large sends. \"workers\" are two "
	"engines of one\n"
	"process, whose messages do not go over the fabric.\n\n"
	"  --fabric F   this one only: ofi:tcp, ofi:verbs, ucx:tcp, ucx:verbs (verbs are measured "
	"only when named)\n"
	"  --host H     address to talk through (default 127.0.0.1)\n"
	"  --rounds N   of which the best counts (default 5)\n"
	"  --json       one JSON object instead of text\n"
	"  --list       the fabrics of this build, and what each can do\n";

enum measure { ROUND_TRIP, RATE, BULK_64K, BULK_1M, MEASURE_COUNT };

static const struct {
	const char *name, *key, *unit;
	struct bench_order order;
	double scale; /* of count / seconds; 0: it is seconds / count */
} measures[MEASURE_COUNT] = {
	{"round trip, 64 B", "round_trip_64_us", "us", {true, 64, 20000}, 0},
	{"messages of 64 B", "messages_64_per_s", "/s", {false, 64, 300000}, 1},
	{"bulk, 64 KiB", "bulk_64k_mb_per_s", "MB/s", {false, 64u << 10, 8192}, 65536e-6},
	{"bulk, 1 MiB", "bulk_1m_mb_per_s", "MB/s", {false, 1u << 20, 512}, 1048576e-6},
};

enum kind { OURS, LIBRARY, DEFAULTS, TCP, WORKERS, KIND_COUNT };
static const char *const kinds[KIND_COUNT] = {"valence", "library", "defaults", "tcp", "workers"};

struct result {
	double best[KIND_COUNT][MEASURE_COUNT];
}; /* < 0: not measured */

struct request {
	const char *fabric, *host;
	uint64_t rounds;
	bool json, list;
};

static bool better(enum measure m, double a, double b)
{
	return b < 0 || (measures[m].scale > 0 ? a > b : a < b);
}

static double ratio(const struct result *r, enum kind to, enum measure m)
{
	return r->best[to][m] > 0 ? r->best[OURS][m] / r->best[to][m] : -1;
}

/* -- measuring -------------------------------------------------------------------------------- */

static int pairs_open(struct bench_pair pairs[KIND_COUNT], const struct net_fabric *f,
		      const char *host)
{
	/* the library's own settings are others than ours with UCX only */
	bool has_defaults = strcmp(f->without, "UCX") == 0;

	for (int k = 0; k < KIND_COUNT; k++)
		pairs[k] = (struct bench_pair){{-1, -1}, {-1, -1}, {-1, -1}};
	for (int k = 0; k < KIND_COUNT; k++) {
		struct net_bare_config cfg = {.provider = f->provider,
					      .host = host,
					      .message_bytes = MESSAGE_MAX,
					      .plain_settings = k == DEFAULTS,
					      .links = f->ops};
		const struct net_bare_ops *ops = k == OURS || k == WORKERS ? &bench_links
						 : k == TCP ? &bench_tcp
							    : f->bare;
		struct error err;
		char what[96];

		if ((k == DEFAULTS && !has_defaults) || (k == WORKERS && f->caps.alone))
			continue;
		if (bench_pair_open(&pairs[k], ops, &cfg, k == WORKERS, &err) == ST_OK)
			continue;
		snprintf(what, sizeof what, "cannot measure %s (%s)", f->name, kinds[k]);
		return cli_fail_error(what, &err);
	}
	return CLI_DONE;
}

/* A short run says how many make about a fifth of a second. */
static double measure_one(struct bench_pair *p, enum measure m)
{
	struct bench_order o = measures[m].order;
	double s;

	o.count = (o.count + 63) / 64;
	s = bench_pair_run(p, &o);
	if (s <= 0)
		return -1;
	o.count = (uint64_t)((double)o.count * RUN_S / s) + 1;
	if (o.count > measures[m].order.count)
		o.count = measures[m].order.count;
	s = bench_pair_run(p, &o);
	if (s <= 0)
		return -1;
	return measures[m].scale > 0 ? measures[m].scale * (double)o.count / s : s / (double)o.count * 1e6;
}

static int measure(struct bench_pair pairs[KIND_COUNT], const struct request *rq, struct result *out)
{
	for (uint64_t round = 0; round < rq->rounds; round++)
		for (int m = 0; m < MEASURE_COUNT; m++)
			for (int k = 0; k < KIND_COUNT; k++) {
				double value;

				if (pairs[k].pids[0] < 0)
					continue;
				value = measure_one(&pairs[k], (enum measure)m);
				if (value <= 0)
					return cli_fail(measures[m].name, kinds[k]);
				if (better((enum measure)m, value, out->best[k][m]))
					out->best[k][m] = value;
			}
	return CLI_DONE;
}

static int measure_fabric(const struct net_fabric *f, const struct request *rq, struct result *out)
{
	struct bench_pair pairs[KIND_COUNT];
	int rc;

	for (int k = 0; k < KIND_COUNT; k++)
		for (int m = 0; m < MEASURE_COUNT; m++)
			out->best[k][m] = -1;
	rc = pairs_open(pairs, f, rq->host);
	if (rc == CLI_DONE)
		rc = measure(pairs, rq, out);
	for (int k = 0; k < KIND_COUNT; k++)
		bench_pair_close(&pairs[k]);
	return rc;
}

/* -- telling ---------------------------------------------------------------------------------- */

static void print_text(const struct net_fabric *f, const struct result *r)
{
	printf("%s\n%-22s%12s%12s%12s%12s%12s   ratio to library, tcp\n", f->name, "", kinds[OURS],
	       kinds[LIBRARY], kinds[DEFAULTS], kinds[TCP], kinds[WORKERS]);
	for (int m = 0; m < MEASURE_COUNT; m++) {
		printf("  %-16s%-4s", measures[m].name, measures[m].unit);
		for (int k = 0; k < KIND_COUNT; k++) {
			if (r->best[k][m] < 0)
				printf("%12s", "-");
			else
				printf("%12.*f", measures[m].scale > 0 ? 0 : 2, r->best[k][m]);
		}
		printf("   %.2f  %.2f\n", ratio(r, LIBRARY, (enum measure)m),
		       ratio(r, TCP, (enum measure)m));
	}
}

static void print_caps(const struct net_fabric *f)
{
	printf("\"message_max\": %u, \"slice_max\": %u, \"in_flight_max\": %u, \"death_us\": %u, \"silence_s\": %u, "
	       "\"done\": \"%s\", "
	       "\"remote_read\": %s",
	       f->caps.message_max, f->caps.slice_max, f->caps.in_flight_max, f->caps.death_us, f->caps.silence_s,
	       f->caps.done == NET_DONE_TAKEN ? "taken" : "arrived",
	       f->caps.remote_read ? "true" : "false");
}

static void print_json(const struct net_fabric *f, const struct result *r)
{
	printf("{\"fabric\": \"%s\", \"can\": {", f->name);
	print_caps(f);
	printf("}");
	for (int m = 0; m < MEASURE_COUNT; m++) {
		printf(", \"%s\": {", measures[m].key);
		for (int k = 0; k < KIND_COUNT; k++)
			if (r->best[k][m] >= 0)
				printf("\"%s\": %.3f, ", kinds[k], r->best[k][m]);
		printf("\"ratio_to_library\": %.3f, \"ratio_to_tcp\": %.3f}",
		       ratio(r, LIBRARY, (enum measure)m), ratio(r, TCP, (enum measure)m));
	}
	printf("}");
}

static int list(bool json)
{
	const struct net_fabric *f;
	bool first = true;

	if (json)
		printf("{\"fabrics\": [");
	for (uint32_t i = 0; (f = net_fabric_at(i)); i++) {
		if (!f->ops)
			continue;
		if (json) {
			printf("%s{\"fabric\": \"%s\", ", first ? "" : ", ", f->name);
			print_caps(f);
			printf("}");
		} else {
			printf("%-10s a peer's death is told within %u ms, silence %s; a send is "
			       "done when it %s\n",
			       f->name, f->caps.death_us / 1000,
			       f->caps.silence_s ? "late" : "never",
			       f->caps.done == NET_DONE_TAKEN ? "left this process" : "arrived");
		}
		first = false;
	}
	if (json)
		puts("]}");
	return CLI_DONE;
}

static int bench_fabrics(const struct request *rq)
{
	const struct net_fabric *f;
	bool first = true;

	for (uint32_t i = 0; (f = net_fabric_at(i)); i++) {
		struct result r;
		int rc;

		if (!f->ops ||
		    (rq->fabric ? strcmp(f->name, rq->fabric) != 0 : f->caps.device))
			continue;
		rc = measure_fabric(f, rq, &r);
		if (rc != CLI_DONE)
			return rc;
		if (rq->json) {
			printf(first ? "{\"rounds\": %llu, \"fabrics\": [" : ", ",
			       (unsigned long long)rq->rounds);
			print_json(f, &r);
		} else {
			print_text(f, &r);
		}
		first = false;
	}
	if (rq->json)
		puts("]}");
	return CLI_DONE;
}

/* -- the command ------------------------------------------------------------------------------ */

static int read_flags(struct request *rq, int argc, char **argv)
{
	enum { F_FABRIC = 256, F_HOST, F_ROUNDS, F_JSON, F_LIST, F_HELP };
	static const struct option longs[] = {{"fabric", 1, NULL, F_FABRIC},
					      {"host", 1, NULL, F_HOST},
					      {"rounds", 1, NULL, F_ROUNDS},
					      {"json", 0, NULL, F_JSON},
					      {"list", 0, NULL, F_LIST},
					      {"help", 0, NULL, F_HELP},
					      {NULL, 0, NULL, 0}};
	int got;

	opterr = 0;
	optind = 1;
	while ((got = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
		switch (got) {
		case F_FABRIC:
			rq->fabric = optarg;
			break;
		case F_HOST:
			rq->host = optarg;
			break;
		case F_ROUNDS:
			if (!cli_u64(optarg, 1, 1000, &rq->rounds))
				return cli_usage("bench",
						 "--rounds %s: not a number from 1 to 1000",
						 optarg);
			break;
		case F_JSON:
			rq->json = true;
			break;
		case F_LIST:
			rq->list = true;
			break;
		case F_HELP:
			fputs(usage, stdout);
			return CLI_DONE;
		default:
			return cli_usage("bench", "%s: no such flag, or it needs a value",
					 argv[optind - 1]);
		}
	}
	return optind < argc ? cli_usage("bench", "\"%s\" is one word too many", argv[optind]) : -1;
}

int bench_fabric(int argc, char **argv)
{
	struct request rq = {.host = "127.0.0.1", .rounds = 5};
	const struct net_fabric *f;
	int rc = read_flags(&rq, argc, argv);

	if (rc >= 0)
		return rc;
	if (rq.list)
		return list(rq.json);
	f = rq.fabric ? net_fabric_find(rq.fabric) : net_fabric_default();
	if (!f || !f->ops)
		return cli_usage("bench", "--fabric %s: not in this build; see --list", rq.fabric);
	return bench_fabrics(&rq);
}
