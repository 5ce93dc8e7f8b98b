/*
 * bench_failover.c - `valence bench failover`: how long until the next holder goes on (cli).
 *
 * A cluster of its own: an archive, c1, which writes, c2, which originates what is written and is killed, stopped or cut off,
 * and c3. One statement follows the fault at c1: it needs c2's permission, so its answer is the promotion of the
 * next holder. Times are from just before the fault, all on this process's clock; what valence.failovers says was written
 * down by the engines themselves. The limit: a bare TCP connection to c2's process, watched by a thread.
 *
 * Fault leader: three archives, c1 and c2, at which clients commit on and on; the archive that leads is killed, and comes back.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/env.h"
#include "cli/bench.h"
#include "cli/bench_hosts.h"
#include "cli/bench_stats.h"
#include "cli/bench_writers.h"
#include "cli/cluster.h"
#include "cli/pgclient.h"
#include "net/fabric.h"

#define ROUNDS_MAX 1000
#define CACHES 3
#define ENGINES (1 + CACHES)
#define LEADERS 3     /* archives of fault leader, and two caches */
#define WRITERS 4
#define WRITES_AFTER 20
#define ASK_MS 30000
#define WAIT_US 30000000
#define POLL_MS 5
#define CAUSES_MAX 8
#define WORDS_BYTES 2048

static const char usage[] =
	"usage: valence bench failover [--fabric F] [--fault kill|pause|cut|leader] [--rounds N] [--base-port P] [--json]\n"
	"                              [-- engine flags]\n\n"
	"Starts a cluster of one archive and three caches. In each round a cache that originates a table is killed (SIGKILL),\n"
	"stopped (SIGSTOP) or cut off from the others, and comes back; another one waits for its answer to an UPDATE of\n"
	"that table, for which it needs the originator's permission. Told are milliseconds after the fault:\n\n"
	"  tcp        a bare TCP connection to that process ends: the limit; it never does after pause and cut\n"
	"  noticed    an engine suspects it\n"
	"  removed    the record of its removal is applied by the engine that waits\n"
	"  promoted   the UPDATE is answered: the next holder has given permission\n\n"
	"Fault leader: of three archives the one that leads is killed while clients commit at two caches, and comes back.\n\n"
	"  gap        longest time in which no client was told of a commit\n"
	"  client     the same of one client, the one that waited longest\n\n"
	"  --fabric F      this one only (default: all of this build but verbs)\n"
	"  --fault F       this one only (default: all; cut needs root, for network namespaces)\n"
	"  --rounds N      of each fault (default 10)\n"
	"  --base-port P   as of valence cluster (default 24800)\n"
	"  --json          one JSON object instead of text\n";

enum fault { FAULT_KILL, FAULT_PAUSE, FAULT_CUT, FAULT_LEADER, FAULT_COUNT };
static const struct { const char *name, *text; } faults[FAULT_COUNT] = {
	{"kill", "kill -9 of the originator"}, {"pause", "SIGSTOP of the originator"}, {"cut", "the originator is cut off"},
	{"leader", "kill -9 of the leader"}};

enum step { STEP_TCP, STEP_NOTICED, STEP_REMOVED, STEP_PROMOTED, STEP_GAP, STEP_CLIENT, STEP_COUNT };
static const char *const steps[STEP_COUNT] = {"tcp", "noticed", "removed", "promoted", "gap", "client"};
static bool step_is_of(enum step s, enum fault f)
{
	return s <= STEP_REMOVED || (s == STEP_PROMOTED) == (f != FAULT_LEADER);
}

struct cause { char name[32]; uint32_t count; };
struct result {
	double ms[STEP_COUNT][ROUNDS_MAX];
	uint32_t count[STEP_COUNT], rounds, cause_count;
	double own_ms[ROUNDS_MAX], atoms[ROUNDS_MAX]; /* what valence.failovers says: milliseconds, atoms_promoted */
	uint32_t own_count, atoms_count;
	struct cause causes[CAUSES_MAX];
	char skipped[512];
};

struct request {
	const char *fabric;
	int fault; /* < 0: all */
	uint64_t rounds, base_port;
	bool json;
	struct bench_rest engine_flags;
};

struct bench {
	struct mem mem;
	struct arena arena;
	struct clock clock;
	struct cluster cl;
	struct bench_hosts hosts;
	struct member archive, witness, victim;
	struct pgc *at_archive, *at_witness;
	struct bench_writers writers;
	enum fault fault;
	uint32_t number;
	char dir[CLUSTER_DIR_MAX];
};

/* -- asking ------------------------------------------------------------------------------------------------------- */

static struct pgc *open_at(struct bench *b, const struct member *m, struct error *err)
{
	struct cli_address to = {.host = "127.0.0.1", .port = m->sql_port};
	int home = member_enter(m);
	struct pgc *c = pgc_open(&b->mem, &to, ASK_MS, err);

	member_leave(home);
	return c;
}

/* The first value of the answer, in the arena; NULL: null, or no row. */
static enum status ask(struct bench *b, struct pgc *c, const char **value_out, struct error *err, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
static enum status ask(struct bench *b, struct pgc *c, const char **value_out, struct error *err, const char *fmt, ...)
{
	char words[WORDS_BYTES];
	struct pgc_result r;
	enum status st;
	va_list args;

	va_start(args, fmt);
	vsnprintf(words, sizeof words, fmt, args);
	va_end(args);
	st = pgc_query(c, words, &b->arena, &r, err);
	if (st == ST_OK)
		*value_out = r.row_count > 0 && r.column_count > 0 ? pgc_value(&r, 0, 0) : NULL;
	return st;
}

/* Asks until the answer is true. */
static enum status wait_for(struct bench *b, struct pgc *c, const char *what, const char *words, struct error *err)
{
	uint64_t due = clock_now_us(&b->clock) + WAIT_US;
	const char *value = NULL;

	for (;;) {
		struct arena_mark mark = arena_mark(&b->arena);
		enum status st = ask(b, c, &value, err, "%s", words);
		bool yes = st == ST_OK && value && strcmp(value, "t") == 0;

		arena_rewind(&b->arena, mark);
		if (yes)
			return ST_OK;
		if (bench_told_to_end || clock_now_us(&b->clock) > due)
			return error_set(err, ST_SYSTEM, "waited in vain until %s", what);
		cluster_sleep_ms(POLL_MS);
	}
}

static enum status id_of(struct bench *b, const struct member *m, uint64_t *id_out, struct error *err)
{
	const char *value = NULL;
	enum status st = ask(b, b->at_archive, &value, err, "select max(engine_id) from valence.engines where name = '%s'",
			     m->name);

	if (st != ST_OK)
		return st;
	if (!value || !cli_u64(value, 1, UINT64_MAX, id_out))
		return error_set(err, ST_NOT_MEMBER, "%s is not a member", m->name);
	return ST_OK;
}

/* -- a bare TCP connection ----------------------------------------------------------------------------------------- */

struct plain { int fd; pthread_t thread; struct clock clock; uint64_t ended_us; bool given_up; };

static void *plain_watch(void *ctx)
{
	struct plain *p = ctx;
	char byte;

	while (recv(p->fd, &byte, 1, 0) > 0)
		;
	p->ended_us = clock_now_us(&p->clock);
	return NULL;
}

static enum status plain_open(struct bench *b, struct plain *p, struct error *err)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(b->victim.sql_port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int home = member_enter(&b->victim);
	enum status st = ST_OK;

	*p = (struct plain){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .clock = b->clock};
	if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&sa, sizeof sa) != 0 ||
	    pthread_create(&p->thread, NULL, plain_watch, p) != 0)
		st = error_set(err, ST_SYSTEM, "a TCP connection to %s: %s", b->victim.name, strerror(errno));
	member_leave(home);
	if (st != ST_OK && p->fd >= 0)
		close(p->fd);
	return st;
}

/* When it ended by itself; 0: it did not. */
static uint64_t plain_close(struct bench *b, struct plain *p)
{
	uint64_t asked = clock_now_us(&b->clock);

	(void)shutdown(p->fd, SHUT_RDWR);
	pthread_join(p->thread, NULL);
	close(p->fd);
	return p->ended_us < asked ? p->ended_us : 0;
}

/* -- a round ------------------------------------------------------------------------------------------------------- */

static enum status fault_do(struct bench *b, struct error *err)
{
	if (b->fault == FAULT_CUT)
		return bench_hosts_wire(&b->hosts, b->victim.k, false, err);
	if (kill(member_pid(&b->cl, &b->victim), b->fault == FAULT_PAUSE ? SIGSTOP : SIGKILL) != 0)
		return error_set(err, ST_SYSTEM, "%s: %s", b->victim.name, strerror(errno));
	return ST_OK;
}

static enum status fault_undo(struct bench *b, uint64_t old, struct error *err)
{
	enum status st = ST_OK;

	if (b->fault == FAULT_KILL || b->fault == FAULT_LEADER) {
		(void)member_end(&b->cl, &b->victim, 0, ASK_MS);
		st = cluster_start_one(&b->cl, &b->victim, err);
	} else if (b->fault == FAULT_PAUSE) {
		(void)kill(member_pid(&b->cl, &b->victim), SIGCONT);
	} else {
		st = bench_hosts_wire(&b->hosts, b->victim.k, true, err);
	}
	if (st != ST_OK)
		return st;
	return wait_for(b, b->at_archive, "it is a member again",
			arena_printf(&b->arena, "select max(engine_id) > %llu from valence.engines where name = '%s'",
				     (unsigned long long)old, b->victim.name), err);
}

/* A table that the victim originates, and of which the witness has a copy that it keeps current. */
static enum status table_make(struct bench *b, uint64_t victim, struct error *err)
{
	uint64_t witness;
	enum status st = id_of(b, &b->witness, &witness, err);
	const char *none, *relation = arena_printf(&b->arena, "failover_%u", b->number);
	struct pgc *c = NULL;

	if (st == ST_OK)
		st = wait_for(b, b->at_archive, "all are members",
			      arena_printf(&b->arena, "select count(*) = %d from valence.engines", ENGINES), err);
	if (st == ST_OK && !(c = open_at(b, &b->victim, err)))
		st = err->code;
	if (st == ST_OK)
		st = wait_for(b, c, "it answers", "select true", err);
	if (st == ST_OK)
		st = ask(b, c, &none, err, "create table %s (id int primary key, v bigint not null);"
					   "insert into %s values (1, 0)", relation, relation);
	if (c)
		pgc_close(c);
	if (st == ST_OK)
		st = wait_for(b, b->at_witness, "the table is there",
			      arena_printf(&b->arena, "select count(*) = 1 from pg_class where relname = '%s'", relation), err);
	if (st == ST_OK)
		st = wait_for(b, b->at_witness, "its row is there",
			      arena_printf(&b->arena, "select sum(v) = 0 from %s where id = 1", relation), err);
	if (st == ST_OK)
		st = ask(b, b->at_witness, &none, err, "update %s set v = v + 1 where id = 1", relation);
	if (st != ST_OK)
		return st;
	return wait_for(b, b->at_witness, "the copies are listed",
			arena_printf(&b->arena, "select bool_and(originator = %llu and %llu = any(holders)) from valence.atoms "
						"where relation in ('%s', '%s_pkey')",
				     (unsigned long long)victim, (unsigned long long)witness, relation, relation), err);
}

static void add_ms(struct result *r, enum step s, double ms) { r->ms[s][r->count[s]++] = ms; }

static void add_cause(struct result *r, const char *name)
{
	uint32_t i = 0;

	while (i < r->cause_count && strcmp(r->causes[i].name, name) != 0)
		i++;
	if (i == CAUSES_MAX)
		return;
	if (i == r->cause_count)
		snprintf(r->causes[r->cause_count++].name, sizeof r->causes[0].name, "%s", name);
	r->causes[i].count++;
}

/* What the engines wrote down of it: at c1, and who noticed first of c1 and the archive. */
static enum status failover_read(struct bench *b, uint64_t victim, uint64_t wall_us, struct result *r, struct error *err)
{
	static const char words[] = "select cause, atoms_promoted, milliseconds, extract(epoch from noticed_at), removed_index "
				    "from valence.failovers where engine_id = %llu";
	double noticed = -1, removed = -1;

	for (int i = 0; i < 2; i++) {
		struct pgc_result got;
		const char *atoms, *own, *at;
		enum status st = pgc_query(i ? b->at_archive : b->at_witness,
					   arena_printf(&b->arena, words, (unsigned long long)victim), &b->arena, &got, err);
		double ms, own_ms;

		if (st != ST_OK)
			return st;
		if (got.row_count != 1)
			return error_set(err, ST_SYSTEM, "valence.failovers has %u rows about one removal", got.row_count);
		atoms = pgc_value(&got, 0, 1);
		own = pgc_value(&got, 0, 2);
		at = pgc_value(&got, 0, 3);
		own_ms = own ? strtod(own, NULL) : 0;
		ms = (strtod(at, NULL) * 1e6 - (double)wall_us) / 1000;
		if (own && (noticed < 0 || ms < noticed)) {
			noticed = ms;
			r->own_ms[r->own_count] = own_ms;
		}
		if (i)
			continue;
		removed = ms + own_ms;
		add_cause(r, pgc_value(&got, 0, 0));
		r->atoms[r->atoms_count++] = strtod(atoms, NULL);
	}
	if (noticed >= 0) {
		add_ms(r, STEP_NOTICED, noticed);
		r->own_count++;
	}
	add_ms(r, STEP_REMOVED, removed);
	return ST_OK;
}

/* The one that follows the fault; again when it is told to try again (40001). */
static enum status write_until_answered(struct bench *b, struct error *err)
{
	uint64_t due = clock_now_us(&b->clock) + WAIT_US;
	const char *none;
	enum status st;

	do {
		st = ask(b, b->at_witness, &none, err, "update failover_%u set v = v + 1 where id = 1", b->number);
	} while (st != ST_OK && st != ST_CONNECTION && !bench_told_to_end && clock_now_us(&b->clock) < due);
	return st;
}

static enum status round_run(struct bench *b, struct result *r, struct error *err)
{
	struct arena_mark mark = arena_mark(&b->arena);
	uint64_t victim = 0, at, wall, ended;
	struct plain plain;
	const char *value;
	enum status st = id_of(b, &b->victim, &victim, err);

	b->number++;
	if (st == ST_OK)
		st = table_make(b, victim, err);
	if (st == ST_OK)
		st = plain_open(b, &plain, err);
	if (st != ST_OK)
		return st;
	at = clock_now_us(&b->clock);
	wall = clock_wall_us(&b->clock);
	st = fault_do(b, err);
	if (st == ST_OK)
		st = write_until_answered(b, err);
	if (st == ST_OK)
		add_ms(r, STEP_PROMOTED, (double)(clock_now_us(&b->clock) - at) / 1000);
	ended = plain_close(b, &plain);
	if (ended)
		add_ms(r, STEP_TCP, (double)(ended - at) / 1000);
	if (st == ST_OK) /* the removal is applied here, or nobody else could have given permission */
		st = wait_for(b, b->at_archive, "the archive has applied the removal",
			      arena_printf(&b->arena, "select count(*) = 1 from valence.failovers where engine_id = %llu",
					   (unsigned long long)victim), err);
	if (st == ST_OK)
		st = failover_read(b, victim, wall, r, err);
	if (st == ST_OK)
		st = ask(b, b->at_witness, &value, err, "select v from failover_%u where id = 1", b->number);
	if (st == ST_OK && (!value || strcmp(value, "2") != 0))
		st = error_set(err, ST_SYSTEM, "the row was written %s times, not twice", value ? value : "no");
	if (st == ST_OK)
		st = fault_undo(b, victim, err);
	if (st == ST_OK)
		st = ask(b, b->at_witness, &value, err, "drop table failover_%u", b->number);
	arena_rewind(&b->arena, mark);
	r->rounds += st == ST_OK;
	return st;
}

/* The archive that leads becomes the victim, another one is asked what it saw. */
static enum status leader_find(struct bench *b, struct error *err)
{
	const char *name = NULL;
	struct member m;
	enum status st = ask(b, b->at_witness, &name, err, "select name from valence.engines where state = 'leader'");

	if (b->at_archive)
		pgc_close(b->at_archive);
	b->at_archive = NULL;
	b->victim.name[0] = '\0';
	for (uint32_t k = 0; st == ST_OK && name && k < LEADERS; k++) {
		cluster_member(&b->cl, k, &m);
		if (strcmp(m.name, name) == 0)
			b->victim = m;
		else
			b->archive = m;
	}
	if (st != ST_OK || !b->victim.name[0])
		return st != ST_OK ? st : error_set(err, ST_SYSTEM, "nobody of the archives leads");
	b->at_archive = open_at(b, &b->archive, err);
	return b->at_archive ? ST_OK : err->code;
}

/* The one that was killed is back and has applied what the others have: two of three are a majority again. */
static enum status leader_back(struct bench *b, uint64_t old, struct error *err)
{
	const char *index = NULL, *none;
	struct pgc *c = NULL;
	enum status st = fault_undo(b, old, err);

	if (st == ST_OK)
		st = ask(b, b->at_archive, &index, err, "select valence.applied_index()");
	if (st == ST_OK && !(c = open_at(b, &b->victim, err)))
		st = err->code;
	if (st == ST_OK)
		st = wait_for(b, c, "it answers", "select true", err);
	if (st == ST_OK)
		st = ask(b, c, &none, err, "select valence.wait_for(%s, %d)", index, ASK_MS / 2);
	if (c)
		pgc_close(c);
	return st;
}

static enum status round_leader(struct bench *b, struct result *r, struct error *err)
{
	struct arena_mark mark = arena_mark(&b->arena);
	uint64_t victim = 0, at, wall, ended, gap, client;
	struct plain plain;
	enum status st = leader_find(b, err);

	if (st == ST_OK)
		st = id_of(b, &b->victim, &victim, err);
	if (st == ST_OK)
		st = plain_open(b, &plain, err);
	if (st != ST_OK)
		return st;
	bench_writers_mark(&b->writers);
	at = clock_now_us(&b->clock);
	wall = clock_wall_us(&b->clock);
	st = fault_do(b, err);
	if (st == ST_OK)
		st = bench_writers_wait(&b->writers, WRITES_AFTER, ASK_MS, err);
	ended = plain_close(b, &plain);
	if (st != ST_OK)
		return st;
	bench_writers_gaps(&b->writers, &gap, &client);
	add_ms(r, STEP_GAP, (double)gap / 1000);
	add_ms(r, STEP_CLIENT, (double)client / 1000);
	if (ended)
		add_ms(r, STEP_TCP, (double)(ended - at) / 1000);
	for (int i = 0; st == ST_OK && i < 2; i++)
		st = wait_for(b, i ? b->at_archive : b->at_witness, "its removal is applied",
			      arena_printf(&b->arena, "select count(*) = 1 from valence.failovers where engine_id = %llu",
					   (unsigned long long)victim), err);
	if (st == ST_OK)
		st = failover_read(b, victim, wall, r, err);
	if (st == ST_OK)
		st = leader_back(b, victim, err);
	arena_rewind(&b->arena, mark);
	r->rounds += st == ST_OK;
	return st;
}

/* -- the cluster ---------------------------------------------------------------------------------------------------- */

static enum status bench_open(struct bench *b, const struct net_fabric *f, const struct request *rq, struct error *err)
{
	enum status st = cluster_dir_make("failover", b->dir, err);

	b->cl = (struct cluster){.mem = &b->mem, .arena = &b->arena, .dir = b->dir,
				 .archives = b->fault == FAULT_LEADER ? LEADERS : 1,
				 .caches = b->fault == FAULT_LEADER ? 2 : CACHES, .base_port = rq->base_port, .timeout_s = 60, .fabric = f->name, .tied = true};
	bench_give(&rq->engine_flags, &b->cl);
	if (st == ST_OK && b->fault == FAULT_CUT) {
		st = bench_hosts_make(&b->hosts, ENGINES, err);
		b->cl.networks = b->hosts.networks;
		b->cl.hosts = b->hosts.addresses;
	}
	if (st == ST_OK)
		st = cluster_start(&b->cl, err);
	if (st != ST_OK)
		return st;
	cluster_member(&b->cl, 0, &b->archive);
	if (b->fault == FAULT_LEADER) {
		struct member caches[2];

		cluster_member(&b->cl, LEADERS, &caches[0]);
		cluster_member(&b->cl, LEADERS + 1, &caches[1]);
		b->witness = caches[0];
		b->at_witness = open_at(b, &b->witness, err);
		return b->at_witness ? bench_writers_start(&b->writers, caches, 2, WRITERS, err) : err->code;
	}
	cluster_member(&b->cl, 1, &b->witness);
	cluster_member(&b->cl, 2, &b->victim);
	b->at_archive = open_at(b, &b->archive, err);
	b->at_witness = b->at_archive ? open_at(b, &b->witness, err) : NULL;
	return b->at_witness ? ST_OK : err->code;
}

static void bench_close(struct bench *b)
{
	bench_writers_stop(&b->writers);
	if (b->at_archive)
		pgc_close(b->at_archive);
	if (b->at_witness)
		pgc_close(b->at_witness);
	b->at_archive = b->at_witness = NULL;
	if (b->dir[0]) {
		(void)cluster_stop(&b->cl);
		cluster_forget(&b->cl);
	}
	bench_hosts_free(&b->hosts);
}

static enum status measure(const struct net_fabric *f, enum fault fault, const struct request *rq, struct result *r,
			   struct error *err)
{
	struct bench *b = calloc(1, sizeof *b);
	struct error why = {.code = ST_OK};
	enum status st = ST_OK;

	memset(r, 0, sizeof *r);
	if (!b)
		return error_set(err, ST_SYSTEM, "no memory");
	mem_init(&b->mem, NULL, "bench", 0);
	arena_init(&b->arena, &b->mem);
	b->clock = clock_system();
	b->fault = fault;
	b->hosts.middle = -1;
	if (fault == FAULT_CUT && bench_hosts_make(&b->hosts, 1, &why) != ST_OK)
		snprintf(r->skipped, sizeof r->skipped, "%s", why.message);
	bench_hosts_free(&b->hosts);
	if (!r->skipped[0])
		st = bench_open(b, f, rq, err);
	for (uint64_t i = 0; st == ST_OK && !r->skipped[0] && i < rq->rounds; i++)
		st = bench_told_to_end ? error_set(err, ST_SYSTEM, "told to end")
		     : fault == FAULT_LEADER ? round_leader(b, r, err) : round_run(b, r, err);
	bench_close(b);
	arena_fini(&b->arena);
	mem_fini(&b->mem);
	free(b);
	return st;
}

/* -- telling ---------------------------------------------------------------------------------------------------------- */

static void print_text(const struct net_fabric *f, enum fault fault, struct result *r)
{
	if (r->skipped[0]) {
		printf("%s, %s: skipped: %s\n", f->name, faults[fault].text, r->skipped);
		return;
	}
	printf("%s, %s, %u rounds\n  %-12s%12s%12s%12s%12s%12s\n", f->name, faults[fault].text, r->rounds, "ms after it", "min",
	       "median", "90 %", "99 %", "max");
	for (int s = 0; s < STEP_COUNT; s++) {
		struct spread d;

		if (!step_is_of((enum step)s, fault))
			continue;
		if (!r->count[s]) {
			printf("  %-12s%12s\n", steps[s], s == STEP_TCP ? "never" : "-");
			continue;
		}
		d = spread_of(r->ms[s], r->count[s]);
		printf("  %-12s%12.2f%12.2f%12.2f%12.2f%12.2f\n", steps[s], d.min, d.median, d.p90, d.p99, d.max);
	}
	printf("  valence.failovers:");
	for (uint32_t i = 0; i < r->cause_count; i++)
		printf(" %s (%u)", r->causes[i].name, r->causes[i].count);
	printf("; atoms promoted %.0f", spread_of(r->atoms, r->atoms_count).median);
	if (r->own_count)
		printf("; from suspicion to removal %.2f ms (median)", spread_of(r->own_ms, r->own_count).median);
	puts("");
	fflush(stdout);
}

static void print_json(enum fault fault, struct result *r, bool first)
{
	printf("%s\"%s\": {", first ? "" : ", ", faults[fault].name);
	if (r->skipped[0]) {
		printf("\"skipped\": \"%s\"}", r->skipped);
		return;
	}
	printf("\"rounds\": %u", r->rounds);
	for (int s = 0; s < STEP_COUNT; s++) {
		struct spread d;

		if (!step_is_of((enum step)s, fault))
			continue;
		if (!r->count[s]) {
			printf(", \"%s_ms\": null", steps[s]);
			continue;
		}
		d = spread_of(r->ms[s], r->count[s]);
		printf(", \"%s_ms\": {\"min\": %.3f, \"median\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"max\": %.3f}", steps[s],
		       d.min, d.median, d.p90, d.p99, d.max);
	}
	printf(", \"causes\": {");
	for (uint32_t i = 0; i < r->cause_count; i++)
		printf("%s\"%s\": %u", i ? ", " : "", r->causes[i].name, r->causes[i].count);
	printf("}, \"atoms_promoted\": %.0f}", spread_of(r->atoms, r->atoms_count).median);
}

static int run(const struct request *rq)
{
	struct result *r = malloc(sizeof *r);
	const struct net_fabric *f;
	int rc = r ? CLI_DONE : cli_fail("cannot measure", "no memory");
	bool first = true;

	if (rq->json)
		printf("{\"fabrics\": [");
	for (uint32_t i = 0; rc == CLI_DONE && (f = net_fabric_at(i)); i++) {
		if (!f->ops || (rq->fabric ? strcmp(f->name, rq->fabric) != 0 : f->caps.device))
			continue;
		if (rq->json)
			printf("%s{\"fabric\": \"%s\", ", first ? "" : ", ", f->name);
		first = false;
		for (int fault = 0; rc == CLI_DONE && fault < FAULT_COUNT; fault++) {
			struct error err = {.code = ST_OK};

			if (rq->fault >= 0 && fault != rq->fault)
				continue;
			if (measure(f, (enum fault)fault, rq, r, &err) != ST_OK)
				rc = cli_fail_error(faults[fault].text, &err);
			else if (rq->json)
				print_json((enum fault)fault, r, rq->fault >= 0 || fault == 0);
			else
				print_text(f, (enum fault)fault, r);
		}
		if (rq->json)
			printf("}");
	}
	if (rq->json)
		puts("]}");
	free(r);
	return rc;
}

/* -- the command ------------------------------------------------------------------------------------------------------ */

static int take_fault(struct request *rq, const char *name)
{
	for (rq->fault = 0; rq->fault < FAULT_COUNT; rq->fault++)
		if (strcmp(faults[rq->fault].name, name) == 0)
			return -1;
	return cli_usage("bench", "--fault %s: there are kill, pause, cut, leader", name);
}

static int read_flags(struct request *rq, int argc, char **argv)
{
	enum { F_FABRIC = 256, F_FAULT, F_ROUNDS, F_PORT, F_JSON, F_HELP };
	static const struct option longs[] = {{"fabric", 1, NULL, F_FABRIC}, {"fault", 1, NULL, F_FAULT},
					      {"rounds", 1, NULL, F_ROUNDS}, {"base-port", 1, NULL, F_PORT},
					      {"json", 0, NULL, F_JSON},     {"help", 0, NULL, F_HELP},
					      {NULL, 0, NULL, 0}};
	int got, rc = -1;

	opterr = 0;
	optind = 1;
	while (rc < 0 && (got = getopt_long(argc, argv, "+:", longs, NULL)) != -1) {
		switch (got) {
		case F_FABRIC:
			rq->fabric = optarg;
			break;
		case F_FAULT:
			rc = take_fault(rq, optarg);
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

int bench_failover(int argc, char **argv)
{
	struct request rq = {.fault = -1, .rounds = 10, .base_port = 24800};
	const struct net_fabric *f;
	int rc = read_flags(&rq, argc, argv);

	if (rc >= 0)
		return rc;
	f = rq.fabric ? net_fabric_find(rq.fabric) : net_fabric_default();
	if (!f || !f->ops)
		return cli_usage("bench", "--fabric %s: not in this build; see valence bench fabric --list", rq.fabric);
	bench_end_when_told();
	return run(&rq);
}
