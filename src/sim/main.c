/*
 * main.c - `valence sim`: which seeds, and what is said in the end (sim).
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cover.h"
#include "sim/load_history.h"
#include "sim/scenario.h"
#include "sim/sim.h"
#include "sim/world.h"

#define COVER_SEEDS 200 /* from so many random seeds on, every coverage point must have been visited */

struct options { uint64_t seed, seeds; uint32_t engines; const char *scenario, *history; bool verbose, twice; };

static struct world *current;
static const struct options *options;

static void repeat_command(FILE *to, uint64_t seed)
{
	fprintf(to, "repeat with: valence sim --seed %" PRIu64, seed);
	if (strcmp(options->scenario, scenarios[0].name) != 0)
		fprintf(to, " --scenario %s", options->scenario);
	if (options->engines)
		fprintf(to, " --engines %u", options->engines);
	fputs(" --verbose\n", to);
}

static void failed(struct world *w, const char *what)
{
	fflush(stdout);
	world_print_ring(w);
	fprintf(stderr, "\nvalence: seed %" PRIu64 " failed after %.6f simulated seconds: %s\n", w->cfg.seed,
		(double)w->now_us / 1e6, what);
	repeat_command(stderr, w->cfg.seed);
}

/* A broken invariant inside an engine: assert.h has said which. */
static void assertion_hook(void *ctx)
{
	(void)ctx;
	if (current)
		failed(current, "a broken invariant inside an engine (see above the events)");
	fflush(stderr);
	_exit(1);
}

static void crash_handler(int sig)
{
	/* not safe after a crash, but all that is left */
	if (current)
		failed(current, strsignal(sig));
	fflush(stderr);
	_exit(1);
}

/* -- one seed ------------------------------------------------------------------------------------------------------- */

/* Of random seeds every eighth takes the next of the named courses, so that a run of many has been through all of them. */
static const struct scenario *course_of(uint64_t seed)
{
	uint32_t count = 1;

	if (strcmp(options->scenario, scenarios[0].name) != 0 || options->engines || seed % 8)
		return scenario_find(options->scenario);
	while (scenario_at(count))
		count++;
	return scenario_at(1 + (uint32_t)(seed / 8 % (count - 1)));
}

static bool run_once(uint64_t seed, uint64_t *trace_out)
{
	const struct scenario *sc = course_of(seed);
	struct world_config cfg = {.seed = seed, .engines = options->engines ? options->engines : sc->engines,
				   .archives = sc->archives, .mood = sc->mood, .verbose = options->verbose,
				   .may_miss = sc != scenario_find(options->scenario)};
	struct world *w = world_new(&cfg);
	bool good;

	current = w;
	sc->run(w);
	good = !w->failed;
	if (options->history && !histories_write(w->histories, options->history))
		fprintf(stderr, "valence: cannot write %s: %s\n", options->history, strerror(errno));
	*trace_out = w->trace;
	if (!good) {
		failed(w, w->violation);
		_exit(1);
	}
	world_phase(w, PHASE_DONE);
	world_free(w);
	current = NULL;
	return good;
}

static bool run_seed(uint64_t seed, bool twice)
{
	uint64_t first, second;

	(void)run_once(seed, &first);
	if (!twice)
		return true;
	(void)run_once(seed, &second);
	if (first == second)
		return true;
	fprintf(stderr, "valence: seed %" PRIu64 " is not deterministic: trace %016" PRIx64 ", then %016" PRIx64 "\n", seed,
		first, second);
	repeat_command(stderr, seed);
	return false;
}

/* -- the end -------------------------------------------------------------------------------------------------------- */

static void print_statistics(void)
{
	const struct world_stats *s = &sim_stats;

	printf("clusters %" PRIu64 ", simulated %.2f h, turns %" PRIu64 ", records applied %" PRIu64 "\n", s->worlds,
	       (double)s->simulated_us / 3.6e9, s->turns, s->records);
	printf("transactions: %" PRIu64 " committed, %" PRIu64 " rolled back, %" PRIu64 " unknown; %" PRIu64
	       " reads checked, %" PRIu64 " sequence values, %" PRIu64 " definitions, %" PRIu64 " connections lost, %" PRIu64
	       " checksums, %" PRIu64 " originators\n",
	       s->commits, s->rollbacks, s->unknown, s->reads, s->sequence_values, s->ddl, s->lost, s->checks, s->originators);
	printf("histories: %" PRIu64 " transactions checked, %" PRIu64 " edges\n", s->history_transactions, s->history_edges);
	printf("faults: %" PRIu64 " crashes, %" PRIu64 " power losses, %" PRIu64 " restarts, %" PRIu64 " pauses, %" PRIu64
	       " partitions, %" PRIu64 " one-way, %" PRIu64 " broken links, %" PRIu64 " slow disks, %" PRIu64
	       " full disks, %" PRIu64 " clocks set\n",
	       s->crashes, s->power_losses, s->restarts, s->pauses, s->partitions, s->one_way, s->breaks, s->slow_disks,
	       s->full_disks, s->clock_jumps);
}

static bool print_coverage(bool all_wanted)
{
	bool good = true;

	puts("coverage points:");
	for (enum cover_point p = 0; p < COVER_COUNT; p++) {
		printf("  %-20s %12" PRIu64 "  %s\n", cover_name(p), cover_counts[p], cover_text(p));
		if (!cover_counts[p] && all_wanted && cover_wanted(p)) {
			fflush(stdout);
			fprintf(stderr, "valence: coverage point %s was never visited\n", cover_name(p));
			good = false;
		}
	}
	return good;
}

/* -- arguments ------------------------------------------------------------------------------------------------------ */

static void help(FILE *to)
{
	const struct scenario *s;

	fputs("usage: valence sim [--seed S] [--seeds N] [--engines N] [--scenario NAME] [--twice] [--verbose]\n\n"
	      "Runs simulated clusters, each a function of its seed, and checks them at every step.\n\n"
	      "  --seed S         the first seed (default 1)\n"
	      "  --seeds N        how many (default 1)\n"
	      "  --engines N      engines in a cluster, 1 to 64 (default: chosen by the seed)\n"
	      "  --scenario NAME  what happens:\n", to);
	for (uint32_t i = 0; (s = scenario_at(i)); i++)
		fprintf(to, "                     %-22s %s\n", s->name, s->help);
	fputs("  --twice          run every seed twice and compare (otherwise the first one only)\n"
	      "  --history FILE   write what the clients of lists and registers saw, for valence history (of the last seed)\n"
	      "  --list           print the scenarios' names\n"
	      "  --verbose        print all that happens\n", to);
}

static int wrong(const char *what, const char *arg)
{
	fprintf(stderr, "valence: sim: %s%s\nhint: see valence sim --help\n", what, arg);
	return 2;
}

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;

	if (!text || text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 0);
	return !errno && !*end && *out >= min && *out <= max;
}

static int parse(int argc, char **argv, struct options *o)
{
	const struct scenario *sc;
	uint64_t n;

	for (int i = 1; i < argc; i++) {
		const char *a = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (!strcmp(a, "--help") || !strcmp(a, "-h")) {
			help(stdout);
			return -1;
		}
		if (!strcmp(a, "--list")) {
			for (uint32_t k = 0; (sc = scenario_at(k)); k++)
				puts(sc->name);
			return -1;
		}
		if (!strcmp(a, "--verbose")) {
			o->verbose = true;
			continue;
		}
		if (!strcmp(a, "--twice")) {
			o->twice = true;
			continue;
		}
		i++;
		if (!strcmp(a, "--seed")) {
			if (!number(value, 0, UINT64_MAX, &o->seed))
				return wrong("--seed wants a number, not ", value ? value : "nothing");
		} else if (!strcmp(a, "--seeds")) {
			if (!number(value, 1, 1000000000, &o->seeds))
				return wrong("--seeds wants a number from 1, not ", value ? value : "nothing");
		} else if (!strcmp(a, "--engines")) {
			if (!number(value, 1, NODES_MAX, &n))
				return wrong("--engines wants 1 to 64, not ", value ? value : "nothing");
			o->engines = (uint32_t)n;
		} else if (!strcmp(a, "--scenario")) {
			if (!value || !scenario_find(value))
				return wrong("no scenario ", value ? value : "given");
			o->scenario = value;
		} else if (!strcmp(a, "--history")) {
			if (!value)
				return wrong("--history wants a file", "");
			o->history = value;
		} else {
			return wrong("no flag ", a);
		}
	}
	return 0;
}

int sim_main(int argc, char **argv)
{
	struct options o = {.seed = 1, .seeds = 1, .scenario = scenarios[0].name};
	int rc = parse(argc, argv, &o);
	bool good = true;

	if (rc)
		return rc < 0 ? 0 : rc;
	options = &o;
	assert_set_hook(assertion_hook, NULL);
	signal(SIGSEGV, crash_handler);
	signal(SIGBUS, crash_handler);
	signal(SIGFPE, crash_handler);
	signal(SIGTERM, crash_handler); /* the time is over: say where it was */
	for (uint64_t i = 0; i < o.seeds && good; i++)
		good = run_seed(o.seed + i, o.twice || (i == 0 && o.seeds > 1));
	print_statistics();
	if (o.seeds > 1)
		good = print_coverage(o.seeds >= COVER_SEEDS && strcmp(o.scenario, scenarios[0].name) == 0) && good;
	return good ? 0 : 1;
}
