/*
 * cluster.c - `valence cluster`: whole clusters on this machine, for development, tests and benchmarks (cli).
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/env.h"
#include "cli/cluster.h"
#include "cli/commands.h"
#include "cli/pgclient.h"

#define START_LIMIT_S 60
#define STOP_LIMIT_MS 15000
#define STOP_POLL_MS 20
#define STOP_ALONE_MS 500
#define KILL_LIMIT_MS 5000
#define ASK_MS 2000
#define POLL_MS 50
#define CONF_LINE 4096

static const char usage_text[] =
	"usage: valence cluster start --dir D [--archives N] [--caches N] [--base-port P] [--fabric F]\n"
	"                             [--hosts ADDRESS,...] [--workers N] [--timeout S] [-- engine flags]\n"
	"       valence cluster stop | status --dir D\n"
	"       valence cluster start | kill | pause | resume NAME --dir D\n\n"
	"Runs a cluster on this machine, for development, tests and benchmarks. Engine k (archives a1, a2, ..., then\n"
	"caches c1, c2, ...) has SQL on P + k and the fabric on P + 100 + k. The directory gets NAME.pid, NAME.log\n"
	"and NAME/ with an archive's data, and cluster.secret, which the engines prove to each other.\n\n"
	"  start         start all, anew as it was started last unless flags say otherwise; returns when every\n"
	"                engine is a member and answers SQL\n"
	"  start NAME    start one again\n"
	"  stop          stop all cleanly\n"
	"  status        one line for each engine\n"
	"  kill NAME     end it at once (SIGKILL)\n"
	"  pause NAME    stop it in its tracks (SIGSTOP); resume NAME: let it go on (SIGCONT)\n\n"
	"  --dir D          where the cluster lives\n"
	"  --archives N     (default 1)\n"
	"  --caches N       (default 2)\n"
	"  --base-port P    (default 7400)\n"
	"  --fabric F       as of valence cache-engine\n"
	"  --hosts A,...    IPv4 addresses of this machine for the fabric, one for each engine, from the first on again when\n"
	"                   there are more engines (default 127.0.0.1); RDMA devices have addresses of their own\n"
	"  --workers N      engines in each process, as of valence cache-engine; NAME is the process then\n"
	"  --timeout S      how long start waits (default 60)\n";

struct request {
	struct cluster cl;
	const char *verb, *name, *dir;
	bool sized; /* how the cluster looks was given */
};

/* -- how it was started -------------------------------------------------------------------------------------- */

static const char *conf_path(const struct cluster *cl)
{
	return arena_printf(cl->arena, "%s/cluster.conf", cl->dir);
}

static enum status conf_write(const struct cluster *cl, struct error *err)
{
	const char *path = conf_path(cl);
	FILE *f = fopen(path, "we");
	bool ok;

	if (!f)
		return error_set(err, ST_IO, "%s: %s", path, strerror(errno));
	fprintf(f, "# how `valence cluster start` started this cluster\narchives = %llu\ncaches = %llu\nbase-port = %llu\n",
		(unsigned long long)cl->archives, (unsigned long long)cl->caches, (unsigned long long)cl->base_port);
	if (cl->fabric)
		fprintf(f, "fabric = %s\n", cl->fabric);
	if (cl->hosts)
		fprintf(f, "hosts = %s\n", cl->hosts);
	if (cl->workers)
		fprintf(f, "workers = %s\n", cl->workers);
	for (uint32_t i = 0; i < cl->extra_count; i++)
		fprintf(f, "extra = %s\n", cl->extra[i]);
	ok = !ferror(f);
	ok = fclose(f) == 0 && ok;
	return ok ? ST_OK : error_set(err, ST_IO, "%s: %s", path, strerror(errno));
}

static bool conf_take(struct cluster *cl, const char *key, const char *value)
{
	if (strcmp(key, "archives") == 0)
		return cli_u64(value, 1, CLUSTER_ENGINES_MAX, &cl->archives);
	if (strcmp(key, "caches") == 0)
		return cli_u64(value, 0, CLUSTER_ENGINES_MAX, &cl->caches);
	if (strcmp(key, "base-port") == 0)
		return cli_u64(value, 1, 65535 - 200, &cl->base_port);
	if (strcmp(key, "fabric") == 0)
		cl->fabric = arena_strdup(cl->arena, value);
	else if (strcmp(key, "hosts") == 0)
		cl->hosts = arena_strdup(cl->arena, value);
	else if (strcmp(key, "workers") == 0)
		cl->workers = arena_strdup(cl->arena, value);
	else if (strcmp(key, "extra") == 0 && cl->extra_count < CLUSTER_EXTRA_MAX)
		cl->extra[cl->extra_count++] = arena_strdup(cl->arena, value);
	else
		return false;
	return true;
}

static enum status conf_read(struct cluster *cl, struct error *err)
{
	const char *path = conf_path(cl);
	FILE *f = fopen(path, "re");
	char line[CONF_LINE], *value;
	bool ok = true;

	if (!f) {
		error_set(err, ST_BAD_FILE, "%s: %s", path, strerror(errno));
		error_hint(err, "valence cluster start --dir %s makes one", cl->dir);
		return ST_BAD_FILE;
	}
	cl->extra_count = 0;
	while (ok && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '#' || line[0] == '\0')
			continue;
		value = strstr(line, " = ");
		ok = value != NULL;
		if (ok) {
			*value = '\0';
			ok = conf_take(cl, line, value + 3);
		}
	}
	fclose(f);
	return ok ? ST_OK : error_set(err, ST_CONFIG_FILE, "%s: line \"%s\" is not understood", path, line);
}

/* -- waiting until they serve --------------------------------------------------------------------------------- */

struct start {
	struct member m;
	pid_t pid;
	off_t log_from;
	bool ready;
	uint8_t answered[CLUSTER_WORKERS_MAX / 8]; /* a bit for each worker */
	struct error why;
};

static bool names(const struct pgc_result *r, const char *name)
{
	for (uint32_t i = 0; i < r->row_count; i++) {
		const char *v = pgc_value(r, i, 0);

		if (v && strcmp(v, name) == 0)
			return true;
	}
	return false;
}

/* Does it see that engine and all workers beside it as members? */
static bool sees(const struct cluster *cl, const struct pgc_result *r, const struct member *m, struct error *why)
{
	for (uint32_t i = 0; i < cluster_workers(cl); i++) {
		const char *name = cluster_worker_name(cl, m, i);

		if (!names(r, name)) {
			error_set(why, ST_NOT_MEMBER, "does not see %s as a member", name);
			return false;
		}
	}
	return true;
}

/*
 * A process answers when one of its workers does, and gives connections to those that do, in turn: so all do when so many
 * connections at once have met all of them. More than that when one has more clients than others.
 */
static bool all_answer(const struct cluster *cl, struct start *s, const struct cli_address *to)
{
	uint32_t workers = cluster_workers(cl), missing = 0, count = 0, max = workers > 64 ? workers : 64;
	struct pgc **all = ARENA_NEW_N(cl->arena, struct pgc *, max);
	struct pgc_result r;

	for (uint32_t i = 0; i < workers; i++)
		missing += !(s->answered[i / 8] >> i % 8 & 1);
	while (missing && count < max && (all[count] = pgc_open(cl->mem, to, ASK_MS, &s->why))) {
		const char *pid = NULL;
		uint64_t at;

		if (pgc_query(all[count++], "select pg_backend_pid()", cl->arena, &r, &s->why) == ST_OK && r.row_count == 1)
			pid = pgc_value(&r, 0, 0);
		if (!pid || !cli_u64(pid, 0, INT32_MAX, &at))
			break;
		at %= workers;
		missing -= !(s->answered[at / 8] >> at % 8 & 1);
		s->answered[at / 8] |= (uint8_t)(1u << at % 8);
	}
	while (count > 0)
		pgc_close(all[--count]);
	if (missing && s->why.code == ST_OK)
		error_set(&s->why, ST_CANNOT_CONNECT_NOW, "%u of its workers do not answer yet", missing);
	return missing == 0;
}

/* Does it answer SQL, and does it see all that were started as members? */
static bool serves(const struct cluster *cl, struct start *s, const struct start *all, uint32_t count)
{
	struct cli_address to = {.host = "127.0.0.1", .port = s->m.sql_port};
	struct arena_mark mark = arena_mark(cl->arena);
	struct pgc_result r;
	int home = member_enter(&s->m);
	struct pgc *c;
	bool ok = false;

	error_clear(&s->why);
	c = pgc_open(cl->mem, &to, ASK_MS, &s->why);
	member_leave(home);
	if (!c)
		return false;
	if (pgc_query(c, "select name from valence.engines", cl->arena, &r, &s->why) == ST_OK) {
		ok = true;
		for (uint32_t i = 0; ok && i < count; i++)
			ok = sees(cl, &r, &all[i].m, &s->why);
	}
	pgc_close(c);
	if (ok && cluster_workers(cl) > 1) {
		home = member_enter(&s->m);
		ok = all_answer(cl, s, &to);
		member_leave(home);
	}
	arena_rewind(cl->arena, mark);
	return ok;
}

static enum status died(const struct cluster *cl, const struct start *s, int how, struct error *err)
{
	const char *said = member_complaint(cl, &s->m, s->log_from);

	if (said)
		error_set(err, ST_SYSTEM, "%s: %s", s->m.name, said);
	else if (WIFSIGNALED(how))
		error_set(err, ST_SYSTEM, "%s was ended by signal %d", s->m.name, WTERMSIG(how));
	else
		error_set(err, ST_SYSTEM, "%s exited with status %d", s->m.name, WEXITSTATUS(how));
	error_hint(err, "its log is %s/%s.log", cl->dir, s->m.name);
	return ST_SYSTEM;
}

static enum status timed_out(const struct cluster *cl, const struct start *s, struct error *err)
{
	const char *said = member_complaint(cl, &s->m, s->log_from);

	error_set(err, ST_SYSTEM, "%s was not ready within %llu s: %s", s->m.name, (unsigned long long)cl->timeout_s,
		  said ? said : s->why.message);
	if (s->why.detail[0])
		error_detail(err, "%s", s->why.detail);
	error_hint(err, "its log is %s/%s.log", cl->dir, s->m.name);
	return ST_SYSTEM;
}

static enum status wait_ready(const struct cluster *cl, struct start *starts, uint32_t count, struct error *err)
{
	struct clock clock = clock_system();
	uint64_t due = clock_now_us(&clock) + cl->timeout_s * 1000000;

	for (;;) {
		struct start *slow = NULL;

		for (uint32_t i = 0; i < count; i++) {
			struct start *s = &starts[i];
			int how;

			if (waitpid(s->pid, &how, WNOHANG) == s->pid)
				return died(cl, s, how, err);
			if (!s->ready)
				s->ready = serves(cl, s, starts, count);
			if (!s->ready && !slow)
				slow = s;
		}
		if (!slow)
			return ST_OK;
		if (clock_now_us(&clock) >= due)
			return timed_out(cl, slow, err);
		cluster_sleep_ms(POLL_MS);
	}
}

/* -- the verbs ------------------------------------------------------------------------------------------------ */

static bool member_named(const struct cluster *cl, const char *name, struct member *out)
{
	for (uint32_t k = 0; k < cluster_size(cl); k++) {
		cluster_member(cl, k, out);
		if (strcmp(out->name, name) == 0)
			return true;
	}
	return false;
}

static uint32_t alive(const struct cluster *cl, bool archives)
{
	uint32_t n = 0;

	for (uint32_t k = 0; k < cluster_size(cl); k++) {
		struct member m;

		cluster_member(cl, k, &m);
		n += m.archive == archives && !member_end(cl, &m, 0, 0);
	}
	return n;
}

static void signal_all(const struct cluster *cl, bool archives, int signal_number, uint32_t wait_ms)
{
	for (uint32_t k = 0; k < cluster_size(cl); k++) {
		struct member m;

		cluster_member(cl, k, &m);
		if (m.archive == archives)
			(void)member_end(cl, &m, signal_number, wait_ms);
	}
}

/*
 * All of a kind get the signal, then are waited for. Archives that are left without a majority have nobody to leave to:
 * a second signal tells them not to wait for it. False: some had to be killed.
 */
static bool end_all(const struct cluster *cl, bool archives)
{
	uint32_t left, alone_ms = 0;

	signal_all(cl, archives, SIGTERM, 0);
	for (uint32_t waited = 0; (left = alive(cl, archives)) > 0; waited += STOP_POLL_MS) {
		if (waited >= STOP_LIMIT_MS) {
			fprintf(stderr, "valence: %u %s did not stop within %d s and %s killed\n", left,
				archives ? "archives" : "caches", STOP_LIMIT_MS / 1000, left == 1 ? "is" : "are");
			signal_all(cl, archives, SIGKILL, KILL_LIMIT_MS);
			return false;
		}
		if (archives && left * 2 <= cl->archives) {
			alone_ms += STOP_POLL_MS;
			if (alone_ms == STOP_ALONE_MS)
				signal_all(cl, archives, SIGTERM, 0);
		}
		cluster_sleep_ms(STOP_POLL_MS);
	}
	return true;
}

bool cluster_stop(const struct cluster *cl)
{
	/* caches first: they need the archives to leave cleanly */
	bool caches = end_all(cl, false), archives = end_all(cl, true);

	return caches && archives;
}

/* The directory's cluster as it was started last: is any of it still there? */
static bool runs_already(const struct cluster *cl, struct cluster *before, struct member *who_out)
{
	for (uint32_t k = 0; k < cluster_size(before); k++) {
		cluster_member(before, k, who_out);
		if (member_pid(cl, who_out) != 0)
			return true;
	}
	return false;
}

static void start_undo(const struct cluster *cl, const struct start *starts, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		(void)member_end(cl, &starts[i].m, SIGKILL, KILL_LIMIT_MS);
}

enum status cluster_start(const struct cluster *cl, struct error *err)
{
	struct start *starts = ARENA_NEW_N(cl->arena, struct start, cluster_size(cl));
	enum status st = ST_OK;
	uint32_t count = 0;
	bool fresh = true;

	for (uint32_t k = 0; st == ST_OK && k < cluster_size(cl); k++) {
		cluster_member(cl, k, &starts[k].m);
		st = member_ports_free(&starts[k].m, err);
		fresh = fresh && !(starts[k].m.archive && member_has_data(cl, &starts[k].m));
	}
	if (st == ST_OK)
		st = conf_write(cl, err);
	if (st == ST_OK)
		st = cluster_secret_make(cl, err);
	for (; st == ST_OK && count < cluster_size(cl); count += st == ST_OK)
		st = member_spawn(cl, &starts[count].m, fresh, &starts[count].pid, &starts[count].log_from, err);
	if (st == ST_OK)
		st = wait_ready(cl, starts, count, err);
	if (st != ST_OK)
		start_undo(cl, starts, count);
	return st;
}

static int start_all(const struct cluster *cl)
{
	struct error err = {.code = ST_OK};

	if (cluster_start(cl, &err) != ST_OK)
		return cli_fail_error("cannot start the cluster", &err);
	for (uint32_t k = 0; k < cluster_size(cl); k++) {
		struct member m;

		cluster_member(cl, k, &m);
		printf("%s\tpid %d\tsql 127.0.0.1:%u\n", m.name, (int)member_pid(cl, &m), m.sql_port);
	}
	return CLI_DONE;
}

enum status cluster_start_one(const struct cluster *cl, const struct member *m, struct error *err)
{
	struct start s = {.m = *m};
	enum status st;

	if (member_pid(cl, m) != 0)
		return error_set(err, ST_OBJECT_IN_USE, "%s runs already", m->name);
	st = member_ports_free(m, err);
	if (st == ST_OK)
		st = member_spawn(cl, m, false, &s.pid, &s.log_from, err);
	if (st != ST_OK)
		return st;
	st = wait_ready(cl, &s, 1, err);
	if (st != ST_OK)
		start_undo(cl, &s, 1);
	return st;
}

static int start_one(const struct cluster *cl, const struct member *m)
{
	struct error err = {.code = ST_OK};

	return cluster_start_one(cl, m, &err) == ST_OK ? CLI_DONE : cli_fail_error("cannot start the engine", &err);
}

/* The workers of the process beside the first: members of their own, behind the same port. */
static void status_workers(const struct cluster *cl, const struct member *m, struct pgc *c)
{
	for (uint32_t i = 1; i < cluster_workers(cl); i++) {
		const char *name = cluster_worker_name(cl, m, i);
		struct error err = {.code = ST_OK};
		struct pgc_result r;

		printf("%-4s %-7s worker of %s ", name, "cache", m->name);
		if (pgc_query(c, arena_printf(cl->arena, "select engine_id, state from valence.engines where name = '%s'", name),
			      cl->arena, &r, &err) == ST_OK && r.row_count > 0) {
			const char *id = pgc_named(&r, 0, "engine_id"), *state = pgc_named(&r, 0, "state");

			printf("engine_id=%s state=%s\n", id ? id : "?", state ? state : "?");
		} else {
			printf("not ready: %s\n", err.message[0] ? err.message : "not a member");
		}
	}
}

static void status_line(const struct cluster *cl, const struct member *m)
{
	struct cli_address to = {.host = "127.0.0.1", .port = m->sql_port};
	pid_t pid = member_pid(cl, m);
	struct error err = {.code = ST_OK};
	struct pgc_result r;
	struct pgc *c;

	printf("%-4s %-7s sql=127.0.0.1:%u fabric=%s:%u ", m->name, m->archive ? "archive" : "cache", m->sql_port,
	       m->fabric_host, m->fabric_port);
	if (pid == 0) {
		puts("stopped");
		return;
	}
	if (member_paused(pid)) {
		printf("paused pid=%d\n", (int)pid);
		return;
	}
	printf("running pid=%d ", (int)pid);
	c = pgc_open(cl->mem, &to, ASK_MS, &err);
	if (c && pgc_query(c, arena_printf(cl->arena, "select engine_id, state, valence.applied_index() as applied "
						      "from valence.engines where name = '%s'", m->name),
			   cl->arena, &r, &err) == ST_OK && r.row_count > 0) {
		const char *id = pgc_named(&r, 0, "engine_id"), *state = pgc_named(&r, 0, "state"),
			   *applied = pgc_named(&r, 0, "applied");

		printf("engine_id=%s state=%s applied=%s\n", id ? id : "?", state ? state : "?", applied ? applied : "?");
	} else {
		printf("not ready: %s%s%s\n", err.message[0] ? err.message : "not a member", err.detail[0] ? ": " : "",
		       err.detail);
	}
	if (c) {
		status_workers(cl, m, c);
		pgc_close(c);
	}
}

static int status(const struct cluster *cl)
{
	for (uint32_t k = 0; k < cluster_size(cl); k++) {
		struct member m;

		cluster_member(cl, k, &m);
		status_line(cl, &m);
	}
	return CLI_DONE;
}

static int signal_one(const struct cluster *cl, const struct member *m, const char *verb)
{
	pid_t pid = member_pid(cl, m);

	if (pid == 0)
		return cli_fail(arena_printf(cl->arena, "cannot %s %s", verb, m->name), "it does not run");
	if (strcmp(verb, "kill") == 0) {
		if (!member_end(cl, m, SIGKILL, KILL_LIMIT_MS))
			return cli_fail(arena_printf(cl->arena, "cannot kill %s", m->name), "it is still there");
		return CLI_DONE;
	}
	if (kill(pid, strcmp(verb, "pause") == 0 ? SIGSTOP : SIGCONT) != 0)
		return cli_fail(arena_printf(cl->arena, "cannot %s %s", verb, m->name), strerror(errno));
	return CLI_DONE;
}

/* -- the command line ------------------------------------------------------------------------------------------ */

enum { F_DIR = 256, F_ARCHIVES, F_CACHES, F_BASE_PORT, F_FABRIC, F_HOSTS, F_WORKERS, F_TIMEOUT };

static int take_flag(struct request *rq, int got, const char *word)
{
	struct cluster *cl = &rq->cl;
	bool ok = true;

	switch (got) {
	case F_DIR:
		rq->dir = optarg;
		return -1;
	case F_TIMEOUT:
		ok = cli_u64(optarg, 1, 86400, &cl->timeout_s);
		break;
	case F_ARCHIVES:
		ok = cli_u64(optarg, 1, 5, &cl->archives);
		break;
	case F_CACHES:
		ok = cli_u64(optarg, 0, CLUSTER_ENGINES_MAX - 5, &cl->caches);
		break;
	case F_BASE_PORT:
		ok = cli_u64(optarg, 1024, 65535 - 200, &cl->base_port);
		break;
	case F_FABRIC:
		cl->fabric = optarg;
		break;
	case F_HOSTS:
		if (!cluster_hosts_ok(optarg))
			return cli_usage("cluster", "--hosts %s: not IPv4 addresses with commas between", optarg);
		cl->hosts = optarg;
		break;
	case F_WORKERS:
		cl->workers = optarg;
		break;
	case ':':
		return cli_usage("cluster", "flag %s needs a value", word);
	default:
		return cli_usage("cluster", "no flag %s", word);
	}
	rq->sized = rq->sized || got != F_TIMEOUT;
	return ok ? -1 : cli_usage("cluster", "%s: not a number in range", word);
}

static int read_flags(struct request *rq, int argc, char **argv)
{
	static const struct option longs[] = {
		{"dir", 1, NULL, F_DIR},	 {"archives", 1, NULL, F_ARCHIVES}, {"caches", 1, NULL, F_CACHES},
		{"base-port", 1, NULL, F_BASE_PORT}, {"fabric", 1, NULL, F_FABRIC}, {"workers", 1, NULL, F_WORKERS},
		{"hosts", 1, NULL, F_HOSTS},
		{"timeout", 1, NULL, F_TIMEOUT}, {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0},
	};
	int end = argc, got, rc;

	/* what follows -- is for the engines */
	for (int i = 1; i < argc && end == argc; i++)
		if (strcmp(argv[i], "--") == 0)
			end = i;
	for (int i = end + 1; i < argc; i++) {
		if (rq->cl.extra_count == CLUSTER_EXTRA_MAX)
			return cli_usage("cluster", "at most %d engine flags", CLUSTER_EXTRA_MAX);
		rq->cl.extra[rq->cl.extra_count++] = argv[i];
		rq->sized = true;
	}
	optind = 1;
	opterr = 0;
	while ((got = getopt_long(end, argv, "-:h", longs, NULL)) != -1) {
		if (got == 'h') {
			fputs(usage_text, stdout);
			return CLI_DONE;
		}
		if (got == 1 && !rq->verb) {
			rq->verb = optarg;
		} else if (got == 1 && !rq->name) {
			rq->name = optarg;
		} else if (got == 1) {
			return cli_usage("cluster", "unexpected argument \"%s\"", optarg);
		} else {
			rc = take_flag(rq, got, argv[optind - 1]);
			if (rc >= 0)
				return rc;
		}
	}
	return -1;
}

static bool is_one_of(const char *verb, const char *const *verbs)
{
	for (; *verbs; verbs++)
		if (strcmp(verb, *verbs) == 0)
			return true;
	return false;
}

static int check(const struct request *rq)
{
	static const char *const for_all[] = {"start", "stop", "status", NULL};
	static const char *const for_one[] = {"start", "kill", "pause", "resume", NULL};

	if (!rq->verb)
		return cli_usage("cluster", "what to do is missing");
	if (!is_one_of(rq->verb, for_all) && !is_one_of(rq->verb, for_one))
		return cli_usage("cluster", "no such thing to do: \"%s\"", rq->verb);
	if (!rq->dir)
		return cli_usage("cluster", "--dir D is needed");
	if (!rq->name && !is_one_of(rq->verb, for_all))
		return cli_usage("cluster", "%s: the engine's name is missing", rq->verb);
	if (rq->name && !is_one_of(rq->verb, for_one))
		return cli_usage("cluster", "%s is for the whole cluster: \"%s\" is too much", rq->verb, rq->name);
	if (rq->sized && (rq->name || strcmp(rq->verb, "start") != 0))
		return cli_usage("cluster", "flags about the cluster's make are for start of the whole");
	return -1;
}

/* mkdir -p */
static enum status make_dir(const char *dir, struct error *err)
{
	char part[PATH_MAX];

	if (strlen(dir) >= sizeof part)
		return error_set(err, ST_BAD_FILE, "%s: name too long", dir);
	snprintf(part, sizeof part, "%s", dir);
	for (char *p = part + 1;; p++) {
		bool last = *p == '\0';

		if (*p != '/' && !last)
			continue;
		*p = '\0';
		if (mkdir(part, 0755) != 0 && errno != EEXIST)
			return error_set(err, ST_BAD_FILE, "%s: %s", part, strerror(errno));
		if (last)
			return ST_OK;
		*p = '/';
	}
}

static void cluster_defaults(struct cluster *cl)
{
	cl->archives = 1;
	cl->caches = 2;
	cl->base_port = 7400;
}

/* Starting again without a word about its make starts it as it was. */
static int start_whole(struct request *rq)
{
	struct cluster *cl = &rq->cl, before = *cl;
	struct error err = {.code = ST_OK};
	struct member m;

	if (access(conf_path(cl), F_OK) != 0)
		return start_all(cl);
	cluster_defaults(&before);
	before.fabric = before.workers = before.hosts = NULL;
	if (conf_read(&before, &err) != ST_OK)
		return cli_fail_error("cannot start the cluster", &err);
	if (runs_already(cl, &before, &m)) {
		cli_fail("cannot start the cluster", arena_printf(cl->arena, "%s runs already", m.name));
		cli_hint("valence cluster stop --dir %s", cl->dir);
		return CLI_FAILED;
	}
	return start_all(rq->sized ? cl : &before);
}

static int run(struct request *rq)
{
	struct cluster *cl = &rq->cl;
	bool founding = strcmp(rq->verb, "start") == 0 && !rq->name;
	char dir[PATH_MAX], what[64];
	struct error err = {.code = ST_OK};
	struct member m;

	snprintf(what, sizeof what, "cannot %s %s", rq->verb, rq->name ? "the engine" : "the cluster");
	if (founding && make_dir(rq->dir, &err) != ST_OK)
		return cli_fail_error(what, &err);
	if (!realpath(rq->dir, dir))
		return cli_fail(what, arena_printf(cl->arena, "%s: %s", rq->dir, strerror(errno)));
	cl->dir = dir;
	if (!founding && conf_read(cl, &err) != ST_OK)
		return cli_fail_error(what, &err);
	if (founding)
		return start_whole(rq);
	if (strcmp(rq->verb, "stop") == 0)
		return cluster_stop(cl) ? CLI_DONE : CLI_FAILED;
	if (strcmp(rq->verb, "status") == 0)
		return status(cl);
	if (!member_named(cl, rq->name, &m))
		return cli_usage("cluster", "no engine %s in this cluster", rq->name);
	return strcmp(rq->verb, "start") == 0 ? start_one(cl, &m) : signal_one(cl, &m, rq->verb);
}

int cli_cluster(int argc, char **argv)
{
	struct request rq;
	struct arena arena;
	struct mem mem;
	int rc;

	memset(&rq, 0, sizeof rq);
	mem_init(&mem, NULL, "cluster", 0);
	arena_init(&arena, &mem);
	rq.cl.mem = &mem;
	rq.cl.arena = &arena;
	cluster_defaults(&rq.cl);
	rq.cl.timeout_s = START_LIMIT_S;
	rc = read_flags(&rq, argc, argv);
	if (rc < 0)
		rc = check(&rq);
	if (rc < 0)
		rc = run(&rq);
	arena_fini(&arena);
	mem_fini(&mem);
	return rc;
}
