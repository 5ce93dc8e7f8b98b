/*
 * bench_commit.c - `valence bench commit`: how long a commit takes, and how many there are a second (cli).
 *
 * A cluster of its own, with one archive and then with three, and one cache, at which clients update a row each and
 * wait for the answer: at commit level archive it comes when a majority of the archives has the record on disk. In turn
 * with it, on the same file system, the limit: as many bytes as a record has, appended to a file and synced, one
 * after another. A commit of one client is that, a client's round trip and one or two on the fabric.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/env.h"
#include "cli/bench.h"
#include "cli/bench_stats.h"
#include "cli/cluster.h"
#include "cli/pgclient.h"
#include "net/fabric.h"

#define CLIENTS_MAX 64
#define SAMPLES_MAX 200000 /* of one client */
#define RECORD_BYTES 256
#define SYNC_S 0.5
#define ASK_MS 30000

static const char usage[] =
	"usage: valence bench commit [--fabric F] [--archives 1|3] [--clients N] [--seconds S] [--rounds N]\n"
	"                            [--base-port P] [--json] [-- engine flags]\n\n"
	"Starts a cluster of one archive (and one of three) and a cache, at which clients update a row of their own and wait\n"
	"until it is committed. In turn with it appends 256 bytes to a file beside the archives' and syncs it, which is the\n"
	"least that a commit costs. Told are medians over the rounds; per sync is commits a second beside syncs a second.\n\n"
	"  --fabric F      ofi:tcp (default), ofi:verbs, ucx:tcp, ucx:verbs\n"
	"  --archives N    this number only (default: 1, then 3)\n"
	"  --clients N     this number only (default: 1, 4, 16)\n"
	"  --seconds S     of each measurement (default 1)\n"
	"  --rounds N      (default 3)\n"
	"  --base-port P   as of valence cluster (default 24600)\n"
	"  --json          one JSON object instead of text\n";

struct request {
	const char *fabric;
	uint64_t archives, clients, seconds, rounds, base_port; /* archives, clients: 0: all */
	bool json;
	struct bench_rest engine_flags;
};

struct client {
	pthread_t thread;
	struct bench *b;
	uint32_t number;
	double *ms;
	size_t count;
	struct error err;
};

struct bench {
	struct mem mem;
	struct arena arena;
	struct clock clock;
	struct cluster cl;
	struct member cache;
	uint64_t end_us;
	char dir[CLUSTER_DIR_MAX];
};

/* One number of clients: medians of the rounds. */
struct row { uint64_t archives, clients; double commits, median_ms, p99_ms, syncs, sync_ms, sync_p99_ms; };

/* -- the limit ------------------------------------------------------------------------------------------------------- */

static enum status sync_run(struct bench *b, struct row *out, struct error *err)
{
	char record[RECORD_BYTES] = {1};
	const char *path = arena_printf(&b->arena, "%s/limit", b->dir);
	int fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
	uint64_t start = clock_now_us(&b->clock), at = start, end = start + (uint64_t)(SYNC_S * 1e6);
	double *ms = malloc(SAMPLES_MAX * sizeof *ms);
	enum status st = ST_OK;
	size_t n = 0;

	if (fd < 0 || !ms)
		st = error_set(err, ST_IO, "%s: %s", path, strerror(errno));
	while (st == ST_OK && at < end && n < SAMPLES_MAX) {
		uint64_t now;

		if (write(fd, record, sizeof record) != sizeof record || fdatasync(fd) != 0)
			st = error_set(err, ST_IO, "%s: %s", path, strerror(errno));
		now = clock_now_us(&b->clock);
		ms[n++] = (double)(now - at) / 1000;
		at = now;
	}
	if (st == ST_OK) {
		struct spread s = spread_of(ms, n);

		out->syncs = (double)n * 1e6 / (double)(at - start);
		out->sync_ms = s.median;
		out->sync_p99_ms = s.p99;
	}
	if (fd >= 0)
		close(fd);
	(void)unlink(path);
	free(ms);
	return st;
}

/* -- the load -------------------------------------------------------------------------------------------------------- */

static void *client_run(void *ctx)
{
	struct client *c = ctx;
	struct bench *b = c->b;
	struct cli_address to = {.host = "127.0.0.1", .port = b->cache.sql_port};
	struct mem mem;
	struct arena arena;
	struct pgc *pg;
	char words[96];

	mem_init(&mem, NULL, "client", 0);
	arena_init(&arena, &mem);
	snprintf(words, sizeof words, "update bench_commit set v = v + 1 where id = %u", c->number);
	pg = pgc_open(&mem, &to, ASK_MS, &c->err);
	for (uint64_t at = clock_now_us(&b->clock); pg && at < b->end_us && c->count < SAMPLES_MAX && !bench_told_to_end;) {
		struct arena_mark mark = arena_mark(&arena);
		struct pgc_result r;
		uint64_t now;

		if (pgc_query(pg, words, &arena, &r, &c->err) != ST_OK)
			break;
		arena_rewind(&arena, mark);
		now = clock_now_us(&b->clock);
		c->ms[c->count++] = (double)(now - at) / 1000;
		at = now;
	}
	if (pg)
		pgc_close(pg);
	arena_fini(&arena);
	mem_fini(&mem);
	return NULL;
}

static enum status load_run(struct bench *b, const struct request *rq, struct row *out, struct error *err)
{
	struct client *clients = calloc(CLIENTS_MAX, sizeof *clients);
	double *all = malloc(CLIENTS_MAX * SAMPLES_MAX * sizeof *all); /* touched as far as it is used */
	uint64_t start = clock_now_us(&b->clock);
	enum status st = clients && all ? ST_OK : error_set(err, ST_SYSTEM, "no memory");
	uint32_t started = 0;
	size_t n = 0;

	b->end_us = start + rq->seconds * 1000000;
	for (; st == ST_OK && started < out->clients; started++) {
		struct client *c = &clients[started];

		*c = (struct client){.b = b, .number = started + 1, .ms = all + (size_t)started * SAMPLES_MAX};
		if (pthread_create(&c->thread, NULL, client_run, c) != 0) {
			st = error_set(err, ST_SYSTEM, "a thread: %s", strerror(errno));
			break;
		}
	}
	for (uint32_t i = 0; i < started; i++) {
		pthread_join(clients[i].thread, NULL);
		if (st == ST_OK && clients[i].err.code != ST_OK) {
			*err = clients[i].err;
			st = err->code;
		}
		memmove(all + n, clients[i].ms, clients[i].count * sizeof *all);
		n += clients[i].count;
	}
	if (st == ST_OK && n == 0)
		st = error_set(err, ST_SYSTEM, "nothing was committed");
	if (st == ST_OK) {
		struct spread s;

		out->commits = (double)n * 1e6 / (double)(clock_now_us(&b->clock) - start);
		s = spread_of(all, n);
		out->median_ms = s.median;
		out->p99_ms = s.p99;
	}
	free(all);
	free(clients);
	return st;
}

/* In turn, some rounds; of each number the median. */
static enum status row_run(struct bench *b, const struct request *rq, struct row *out, struct error *err)
{
	enum { COLUMNS = 6, ROUNDS = 99 };
	static const size_t columns[COLUMNS] = {offsetof(struct row, commits), offsetof(struct row, median_ms),
						offsetof(struct row, p99_ms),  offsetof(struct row, syncs),
						offsetof(struct row, sync_ms), offsetof(struct row, sync_p99_ms)};
	double seen[COLUMNS][ROUNDS];
	enum status st = ST_OK;

	for (uint64_t i = 0; st == ST_OK && i < rq->rounds; i++) {
		st = bench_told_to_end ? error_set(err, ST_SYSTEM, "told to end") : sync_run(b, out, err);
		if (st == ST_OK)
			st = load_run(b, rq, out, err);
		for (int c = 0; c < COLUMNS; c++)
			seen[c][i] = *(double *)((char *)out + columns[c]);
	}
	for (int c = 0; st == ST_OK && c < COLUMNS; c++)
		*(double *)((char *)out + columns[c]) = spread_of(seen[c], rq->rounds).median;
	return st;
}

/* -- the cluster ------------------------------------------------------------------------------------------------------ */

static enum status table_make(struct bench *b, struct error *err)
{
	struct cli_address to = {.host = "127.0.0.1", .port = b->cache.sql_port};
	struct pgc *pg = pgc_open(&b->mem, &to, ASK_MS, err);
	struct pgc_result r;
	enum status st;

	if (!pg)
		return err->code;
	st = pgc_query(pg, "create table bench_commit (id int primary key, v bigint not null)", &b->arena, &r, err);
	for (int i = 1; st == ST_OK && i <= CLIENTS_MAX; i++)
		st = pgc_query(pg, arena_printf(&b->arena, "insert into bench_commit values (%d, 0)", i), &b->arena, &r, err);
	pgc_close(pg);
	return st;
}

static enum status bench_open(struct bench *b, const struct request *rq, uint64_t archives, struct error *err)
{
	enum status st = cluster_dir_make("commit", b->dir, err);

	b->cl = (struct cluster){.mem = &b->mem, .arena = &b->arena, .dir = b->dir, .archives = archives, .caches = 1,
				 .base_port = rq->base_port, .timeout_s = 60, .fabric = rq->fabric, .tied = true};
	bench_give(&rq->engine_flags, &b->cl);
	if (st == ST_OK)
		st = cluster_start(&b->cl, err);
	if (st != ST_OK)
		return st;
	cluster_member(&b->cl, (uint32_t)archives, &b->cache);
	return table_make(b, err);
}

/* All numbers of clients, on one cluster. */
static enum status measure(const struct request *rq, uint64_t archives, void (*tell)(const struct row *, void *), void *ctx,
			   struct error *err)
{
	static const uint64_t counts[] = {1, 4, 16};
	struct bench b = {.clock = clock_system()};
	enum status st;

	mem_init(&b.mem, NULL, "bench", 0);
	arena_init(&b.arena, &b.mem);
	st = bench_open(&b, rq, archives, err);
	for (size_t i = 0; st == ST_OK && i < sizeof counts / sizeof *counts; i++) {
		struct row row = {.archives = archives, .clients = rq->clients ? rq->clients : counts[i]};

		if (rq->clients && i > 0)
			break;
		st = row_run(&b, rq, &row, err);
		if (st == ST_OK)
			tell(&row, ctx);
	}
	if (b.dir[0]) {
		(void)cluster_stop(&b.cl);
		cluster_forget(&b.cl);
	}
	arena_fini(&b.arena);
	mem_fini(&b.mem);
	return st;
}

/* -- telling ---------------------------------------------------------------------------------------------------------- */

static void tell_text(const struct row *r, void *ctx)
{
	(void)ctx;
	printf("%8llu%9llu%12.0f%11.3f%11.3f%12.0f%11.3f%11.3f%11.2f%13.3f\n", (unsigned long long)r->archives,
	       (unsigned long long)r->clients, r->commits, r->median_ms, r->p99_ms, r->syncs, r->sync_ms, r->sync_p99_ms,
	       r->commits / r->syncs, r->median_ms - r->sync_ms);
	fflush(stdout);
}

static void tell_json(const struct row *r, void *ctx)
{
	bool *first = ctx;

	printf("%s{\"archives\": %llu, \"clients\": %llu, \"commits_per_s\": %.1f, \"median_ms\": %.4f, \"p99_ms\": %.4f, "
	       "\"syncs_per_s\": %.1f, \"sync_median_ms\": %.4f, \"sync_p99_ms\": %.4f, \"commits_per_sync\": %.3f}",
	       *first ? "" : ", ", (unsigned long long)r->archives, (unsigned long long)r->clients, r->commits, r->median_ms,
	       r->p99_ms, r->syncs, r->sync_ms, r->sync_p99_ms, r->commits / r->syncs);
	*first = false;
}

static int run(const struct request *rq)
{
	bool first = true;
	int rc = CLI_DONE;

	if (rq->json)
		printf("{\"fabric\": \"%s\", \"measurements\": [", rq->fabric);
	else
		printf("%s\n%8s%9s%12s%11s%11s%12s%11s%11s%11s%13s\n", rq->fabric, "archives", "clients", "commits/s", "median ms",
		       "99 % ms", "syncs/s", "median ms", "99 % ms", "per sync", "beside it ms");
	for (uint64_t archives = 1; rc == CLI_DONE && archives <= 3; archives += 2) {
		struct error err = {.code = ST_OK};

		if (rq->archives && rq->archives != archives)
			continue;
		if (measure(rq, archives, rq->json ? tell_json : tell_text, &first, &err) != ST_OK)
			rc = cli_fail_error("cannot measure", &err);
	}
	if (rq->json)
		puts("]}");
	return rc;
}

/* -- the command ------------------------------------------------------------------------------------------------------ */

static int read_flags(struct request *rq, int argc, char **argv)
{
	enum { F_FABRIC = 256, F_ARCHIVES, F_CLIENTS, F_SECONDS, F_ROUNDS, F_PORT, F_JSON, F_HELP };
	static const struct option longs[] = {
		{"fabric", 1, NULL, F_FABRIC},	 {"archives", 1, NULL, F_ARCHIVES}, {"clients", 1, NULL, F_CLIENTS},
		{"seconds", 1, NULL, F_SECONDS}, {"rounds", 1, NULL, F_ROUNDS},	    {"base-port", 1, NULL, F_PORT},
		{"json", 0, NULL, F_JSON},	 {"help", 0, NULL, F_HELP},	    {NULL, 0, NULL, 0}};
	int got, rc = -1;

	opterr = 0;
	optind = 1;
	while (rc < 0 && (got = getopt_long(argc, argv, "+:", longs, NULL)) != -1) {
		switch (got) {
		case F_FABRIC:
			rq->fabric = optarg;
			break;
		case F_ARCHIVES:
			rc = strcmp(optarg, "1") && strcmp(optarg, "3") ? cli_usage("bench", "--archives %s: 1 or 3", optarg) : -1;
			rq->archives = optarg[0] == '1' ? 1 : 3;
			break;
		case F_CLIENTS:
			rc = bench_number("--clients", 1, CLIENTS_MAX, &rq->clients);
			break;
		case F_SECONDS:
			rc = bench_number("--seconds", 1, 60, &rq->seconds);
			break;
		case F_ROUNDS:
			rc = bench_number("--rounds", 1, 99, &rq->rounds);
			break;
		case F_PORT:
			rc = bench_number("--base-port", 1024, 65535 - 200, &rq->base_port);
			break;
		case F_JSON:
			rq->json = true;
			break;
		case F_HELP:
			fputs(usage, stdout);
			return CLI_DONE;
		default:
			return cli_usage("bench", "%s: no such flag, or it needs a value", argv[optind - 1]);
		}
	}
	return rc >= 0 ? rc : bench_rest(argc, argv, &rq->engine_flags);
}

int bench_commit(int argc, char **argv)
{
	struct request rq = {.seconds = 1, .rounds = 3, .base_port = 24600, .fabric = net_fabric_default()->name};
	const struct net_fabric *f;
	int rc = read_flags(&rq, argc, argv);

	if (rc >= 0)
		return rc;
	f = net_fabric_find(rq.fabric);
	if (!f || !f->ops)
		return cli_usage("bench", "--fabric %s: not in this build; see valence bench fabric --list", rq.fabric);
	bench_end_when_told();
	return run(&rq);
}
