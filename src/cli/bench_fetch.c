/*
 * bench_fetch.c - `valence bench fetch`: copies of atoms from one cache to another, beside bare transfers (cli).
 *
 * A cluster of its own, of an archive and two caches. In each round c1 makes a table and originates its atoms, and a query at c2
 * fetches them all; in turn with it go as many bytes over the same library in a bare loop, in messages of 64 KiB, and over
 * plain TCP. A fetch is more than a transfer: requests, checks of what came, copies that are kept current, and the query. Where
 * the fabric has remote memory a second cluster has it turned off.
 *
 * The holder's processor time is what the scheduler gave c1's process meanwhile, less what it uses when nothing is asked of it.
 * A bare sender spins: its time is how long it took.
 */
#include <dirent.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/env.h"
#include "cli/bench.h"
#include "cli/bench_fabric.h"
#include "cli/bench_stats.h"
#include "cli/cluster.h"
#include "cli/pgclient.h"
#include "net/fabric.h"

#define ASK_MS 120000
#define ROUNDS_MAX 99
#define IDLE_MS 500
#define MESSAGE_BYTES (64u << 10)
#define ROW_BYTES 500 /* about, in an atom */

static const char usage[] =
	"usage: valence bench fetch [--fabric F] [--mib N] [--rounds N] [--base-port P] [--json] [-- engine flags]\n\n"
	"Starts a cluster of an archive and two caches. In each round one cache makes a table of some MiB and a query at the\n"
	"other fetches its atoms; in turn with it as many bytes go over the same library in a bare loop and over plain TCP.\n"
	"Told are medians over the rounds, ours as ratios to theirs, and the processor time that a fetched MiB costs the cache\n"
	"that has it. Where the fabric has remote memory (verbs) images are read, and in a second cluster sent.\n\n"
	"  --fabric F      ofi:tcp (default), ofi:verbs, ucx:tcp, ucx:verbs\n"
	"  --mib N         of a table (default 16)\n"
	"  --rounds N      (default 5)\n"
	"  --base-port P   as of valence cluster (default 24800)\n"
	"  --json          one JSON object instead of text\n";

struct request {
	const char *fabric;
	uint64_t mib, rounds, base_port;
	bool json;
	struct bench_rest engine_flags;
};

enum column { FETCH_MB_S, LIBRARY_MB_S, TCP_MB_S, HOLDER_US, REQUESTER_US, READ_PART, COLUMNS };
static const char *const keys[COLUMNS] = {"fetch_mb_per_s",	"library_mb_per_s",	     "tcp_mb_per_s",
					  "holder_us_per_mib", "requester_us_per_mib", "read_part"};
struct row { double v[COLUMNS]; };

struct bench {
	struct mem mem;
	struct arena arena;
	struct clock clock;
	struct cluster cl;
	struct member holder, requester;
	struct pgc *at_holder, *at_requester;
	struct bench_pair library, tcp;
	char dir[CLUSTER_DIR_MAX];
};

/* -- processor time ---------------------------------------------------------------------------------------------------- */

/* What the scheduler gave the process, all its threads; microseconds. */
static double cpu_us(pid_t pid)
{
	char path[300];
	struct dirent *d;
	double sum = 0;
	DIR *tasks;

	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	while (tasks && (d = readdir(tasks))) {
		unsigned long long ns = 0;
		FILE *f;

		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "/proc/%d/task/%.64s/schedstat", (int)pid, d->d_name);
		f = fopen(path, "re");
		if (f && fscanf(f, "%llu", &ns) == 1) /* NOLINT(cert-err34-c): the kernel's own number */
			sum += (double)ns / 1000;
		if (f)
			fclose(f);
	}
	if (tasks)
		closedir(tasks);
	return sum;
}

/* -- a round ----------------------------------------------------------------------------------------------------------- */

static enum status ask(struct bench *b, struct pgc *c, const char *sql, double *value_out, struct error *err)
{
	struct pgc_result r;
	enum status st = pgc_query(c, sql, &b->arena, &r, err);

	if (st == ST_OK && value_out) {
		if (r.row_count != 1 || !pgc_value(&r, 0, 0))
			return error_set(err, ST_SYSTEM, "no answer to %s", sql);
		*value_out = strtod(pgc_value(&r, 0, 0), NULL);
	}
	return st;
}

static enum status fetched(struct bench *b, double *bytes_out, double *read_out, struct error *err)
{
	enum status st = ask(b, b->at_requester, "select value from valence.metrics where name = 'fetch_bytes_total'", bytes_out,
			     err);

	return st == ST_OK ? ask(b, b->at_requester, "select value from valence.metrics where name = 'fetch_read_bytes_total'",
				 read_out, err)
			   : st;
}

/* The table, and until c2 has applied that it is there. */
static enum status table_make(struct bench *b, const struct request *rq, uint64_t round, struct error *err)
{
	enum status st = ask(b, b->at_holder,
			     arena_printf(&b->arena, "create table bench_fetch_%llu (id int primary key, pad text)",
					  (unsigned long long)round),
			     NULL, err);
	uint64_t rows = rq->mib * (1u << 20) / ROW_BYTES, step = 4000;
	double seen = 0, made = 0;

	for (uint64_t at = 1; st == ST_OK && at <= rows; at += step)
		st = ask(b, b->at_holder,
			 arena_printf(&b->arena,
				      "insert into bench_fetch_%llu select g, repeat('p', 480) from generate_series(%llu, %llu) g",
				      (unsigned long long)round, (unsigned long long)at,
				      (unsigned long long)(at + step <= rows ? at + step - 1 : rows)),
			 NULL, err);
	if (st == ST_OK)
		st = ask(b, b->at_holder, "select value from valence.metrics where name = 'applied_index'", &made, err);
	while (st == ST_OK && seen < made) {
		st = ask(b, b->at_requester, "select value from valence.metrics where name = 'applied_index'", &seen, err);
		cluster_sleep_ms(10);
	}
	return st;
}

static double idle_us_per_s(struct bench *b, pid_t pid)
{
	double cpu = cpu_us(pid);
	uint64_t at = clock_now_us(&b->clock);

	cluster_sleep_ms(IDLE_MS);
	return (cpu_us(pid) - cpu) * 1e6 / (double)(clock_now_us(&b->clock) - at);
}

static enum status fetch_run(struct bench *b, uint64_t round, struct row *out, struct error *err)
{
	pid_t holder = member_pid(&b->cl, &b->holder), requester = member_pid(&b->cl, &b->requester);
	double idle = idle_us_per_s(b, holder), bytes[2], reads[2], cpu[2][2], rows, seconds, mib;
	enum status st = fetched(b, &bytes[0], &reads[0], err);
	uint64_t at;

	if (st != ST_OK)
		return st;
	cpu[0][0] = cpu_us(holder);
	cpu[1][0] = cpu_us(requester);
	at = clock_now_us(&b->clock);
	st = ask(b, b->at_requester,
		 arena_printf(&b->arena, "select count(pad) from bench_fetch_%llu", (unsigned long long)round), &rows, err);
	seconds = (double)(clock_now_us(&b->clock) - at) / 1e6;
	cpu[0][1] = cpu_us(holder);
	cpu[1][1] = cpu_us(requester);
	if (st == ST_OK)
		st = fetched(b, &bytes[1], &reads[1], err);
	if (st != ST_OK)
		return st;
	mib = (bytes[1] - bytes[0]) / (1u << 20);
	if (mib < 1)
		return error_set(err, ST_SYSTEM, "nothing was fetched");
	out->v[FETCH_MB_S] = (bytes[1] - bytes[0]) / 1e6 / seconds;
	out->v[HOLDER_US] = (cpu[0][1] - cpu[0][0] - idle * seconds) / mib;
	out->v[REQUESTER_US] = (cpu[1][1] - cpu[1][0]) / mib;
	out->v[READ_PART] = (reads[1] - reads[0]) / (bytes[1] - bytes[0]);
	return ST_OK;
}

static enum status bare_run(struct bench_pair *p, uint64_t mib, double *mb_s_out, struct error *err)
{
	struct bench_order o = {.bytes = MESSAGE_BYTES, .count = mib * (1u << 20) / MESSAGE_BYTES};
	double s = bench_pair_run(p, &o);

	if (s <= 0)
		return error_set(err, ST_CONNECTION, "a bare transfer failed");
	*mb_s_out = (double)o.count * MESSAGE_BYTES / 1e6 / s;
	return ST_OK;
}

/* The first round opens what is opened on demand, and does not count. */
static enum status rounds_run(struct bench *b, const struct request *rq, struct row *out, struct error *err)
{
	double seen[COLUMNS][ROUNDS_MAX];
	enum status st = ST_OK;

	for (uint64_t i = 0; st == ST_OK && i <= rq->rounds; i++) {
		struct arena_mark mark = arena_mark(&b->arena);

		st = bench_told_to_end ? error_set(err, ST_SYSTEM, "told to end") : table_make(b, rq, i, err);
		if (st == ST_OK)
			st = fetch_run(b, i, out, err);
		if (st == ST_OK)
			st = bare_run(&b->library, rq->mib, &out->v[LIBRARY_MB_S], err);
		if (st == ST_OK)
			st = bare_run(&b->tcp, rq->mib, &out->v[TCP_MB_S], err);
		for (int c = 0; i > 0 && c < COLUMNS; c++)
			seen[c][i - 1] = out->v[c];
		arena_rewind(&b->arena, mark);
	}
	for (int c = 0; st == ST_OK && c < COLUMNS; c++)
		out->v[c] = spread_of(seen[c], rq->rounds).median;
	return st;
}

/* -- the cluster -------------------------------------------------------------------------------------------------------- */

static struct pgc *client(struct bench *b, const struct member *m, struct error *err)
{
	struct cli_address to = {.host = "127.0.0.1", .port = m->sql_port};

	return pgc_open(&b->mem, &to, ASK_MS, err);
}

static enum status bench_open(struct bench *b, const struct request *rq, bool sent, struct error *err)
{
	const struct net_fabric *f = net_fabric_find(rq->fabric);
	struct net_bare_config cfg = {.provider = f->provider, .host = "127.0.0.1", .message_bytes = MESSAGE_BYTES, .links = f->ops};
	enum status st = cluster_dir_make("fetch", b->dir, err);

	b->cl = (struct cluster){.mem = &b->mem, .arena = &b->arena, .dir = b->dir, .archives = 1, .caches = 2,
				 .base_port = rq->base_port, .timeout_s = 60, .fabric = rq->fabric, .tied = true};
	if (sent) {
		b->cl.extra[b->cl.extra_count++] = "--remote-memory";
		b->cl.extra[b->cl.extra_count++] = "0";
	}
	bench_give(&rq->engine_flags, &b->cl);
	if (st == ST_OK)
		st = bench_pair_open(&b->library, f->bare, &cfg, false, err);
	if (st == ST_OK)
		st = bench_pair_open(&b->tcp, &bench_tcp, &cfg, false, err);
	if (st == ST_OK)
		st = cluster_start(&b->cl, err);
	if (st != ST_OK)
		return st;
	cluster_member(&b->cl, 1, &b->holder);
	cluster_member(&b->cl, 2, &b->requester);
	b->at_holder = client(b, &b->holder, err);
	b->at_requester = b->at_holder ? client(b, &b->requester, err) : NULL;
	return b->at_requester ? ST_OK : err->code;
}

static enum status measure(const struct request *rq, bool sent, struct row *out, struct error *err)
{
	struct bench b = {.clock = clock_system(),
			  .library = {{-1, -1}, {-1, -1}, {-1, -1}},
			  .tcp = {{-1, -1}, {-1, -1}, {-1, -1}}};
	enum status st;

	mem_init(&b.mem, NULL, "bench", 0);
	arena_init(&b.arena, &b.mem);
	st = bench_open(&b, rq, sent, err);
	if (st == ST_OK)
		st = rounds_run(&b, rq, out, err);
	if (b.at_holder)
		pgc_close(b.at_holder);
	if (b.at_requester)
		pgc_close(b.at_requester);
	bench_pair_close(&b.library);
	bench_pair_close(&b.tcp);
	if (b.dir[0]) {
		(void)cluster_stop(&b.cl);
		cluster_forget(&b.cl);
	}
	arena_fini(&b.arena);
	mem_fini(&b.mem);
	return st;
}

/* -- telling ---------------------------------------------------------------------------------------------------------- */

static void tell(const struct request *rq, const struct row *r, bool first)
{
	const double *v = r->v;

	if (rq->json) {
		printf("%s{", first ? "" : ", ");
		for (int c = 0; c < COLUMNS; c++)
			printf("\"%s\": %.3f, ", keys[c], v[c]);
		printf("\"ratio_to_library\": %.3f, \"ratio_to_tcp\": %.3f}", v[FETCH_MB_S] / v[LIBRARY_MB_S],
		       v[FETCH_MB_S] / v[TCP_MB_S]);
		return;
	}
	if (first)
		printf("%s\n%10s%10s%10s%12s%8s%16s%18s\n", rq->fabric, "fetch", "library", "tcp", "to library", "to tcp",
		       "holder us/MiB", "requester us/MiB");
	printf("%10.0f%10.0f%10.0f%12.2f%8.2f%16.0f%18.0f   MB/s, %s\n", v[FETCH_MB_S], v[LIBRARY_MB_S], v[TCP_MB_S],
	       v[FETCH_MB_S] / v[LIBRARY_MB_S], v[FETCH_MB_S] / v[TCP_MB_S], v[HOLDER_US], v[REQUESTER_US],
	       v[READ_PART] > 0.5 ? "read" : "sent");
	fflush(stdout);
}

static int run(const struct request *rq, const struct net_fabric *f)
{
	bool reads = f->caps.remote_read;
	int rc = CLI_DONE;

	if (rq->json)
		printf("{\"fabric\": \"%s\", \"mib\": %llu, \"rounds\": %llu, \"measurements\": [", rq->fabric,
		       (unsigned long long)rq->mib, (unsigned long long)rq->rounds);
	for (int sent = !reads; rc == CLI_DONE && sent < 2; sent++) {
		struct error err = {.code = ST_OK};
		struct row row;

		if (measure(rq, sent, &row, &err) != ST_OK)
			rc = cli_fail_error("cannot measure", &err);
		else
			tell(rq, &row, sent == !reads);
	}
	if (rq->json)
		puts("]}");
	return rc;
}

/* -- the command ------------------------------------------------------------------------------------------------------ */

static int read_flags(struct request *rq, int argc, char **argv)
{
	enum { F_FABRIC = 256, F_MIB, F_ROUNDS, F_PORT, F_JSON, F_HELP };
	static const struct option longs[] = {
		{"fabric", 1, NULL, F_FABRIC}, {"mib", 1, NULL, F_MIB},	  {"rounds", 1, NULL, F_ROUNDS}, {"base-port", 1, NULL, F_PORT},
		{"json", 0, NULL, F_JSON},     {"help", 0, NULL, F_HELP}, {NULL, 0, NULL, 0}};
	int got, rc = -1;

	opterr = 0;
	optind = 1;
	while (rc < 0 && (got = getopt_long(argc, argv, "+:", longs, NULL)) != -1) {
		switch (got) {
		case F_FABRIC:
			rq->fabric = optarg;
			break;
		case F_MIB:
			rc = bench_number("--mib", 1, 1024, &rq->mib);
			break;
		case F_ROUNDS:
			rc = bench_number("--rounds", 1, ROUNDS_MAX, &rq->rounds);
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

int bench_fetch(int argc, char **argv)
{
	struct request rq = {.mib = 16, .rounds = 5, .base_port = 24800, .fabric = net_fabric_default()->name};
	const struct net_fabric *f;
	int rc = read_flags(&rq, argc, argv);

	if (rc >= 0)
		return rc;
	f = net_fabric_find(rq.fabric);
	if (!f || !f->ops)
		return cli_usage("bench", "--fabric %s: not in this build; see valence bench fabric --list", rq.fabric);
	bench_end_when_told();
	return run(&rq, f);
}
