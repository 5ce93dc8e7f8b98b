/*
 * engine_cmd.c - `valence archive-engine` and `valence cache-engine` (cli).
 *
 * A process has one or several workers. Each is an engine with a loop and a thread of its own, and nothing of one is
 * touched by another's thread: they talk by links (net/local), and by mail (crew.h).
 */
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "cli/commands.h"
#include "cli/crew.h"
#include "cli/engine_opts.h"
#include "cli/loop.h"
#include "engine/sql/sql.h"
#include "net/local/local_net.h"

#define LISTEN_BACKLOG 511
#define STACK_BYTES (8u << 20)
#define LOCATION_BYTES 64 /* of a member's, with its end */
#define PLACE_BYTES 128

enum phase { PHASE_OPENING, PHASE_FAILED, PHASE_RUNNING };

struct worker {
	struct process *p;
	uint32_t number;        /* 0: in the process's first thread, the archive of an archive-engine */
	char name[48];
	struct mem mem;         /* all of the engine and its sessions */
	struct logger log;
	struct local_port port;
	struct loop *loop;
	struct engine *engine;
	pthread_t thread;
	bool started;
	enum phase phase;       /* under the process's lock */
	enum status st;         /* how it ended; with err, for who has joined the thread */
	struct error err;
};

struct process {
	struct engine_opts opts;
	struct mem mem;
	struct arena arena;
	struct logger log;      /* only its levels, as they were given */
	struct crew *crew;
	struct local_hub *hub;
	struct worker *workers;
	char first_address[NET_ADDRESS_MAX];
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum phase phase;       /* of all: under the lock */
};

static void raise_descriptor_limit(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &rl);
	}
}

/*
 * A library that libfabric brings along catches these as it is loaded, before main(), to write a *.btr file into the
 * working directory instead of a core. Not where the environment said so in time: the handlers may be a sanitizer's then.
 */
static void drop_foreign_handlers(void)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGABRT};

	if (getenv("IPATH_NO_BACKTRACE"))
		return;
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		(void)signal(signals[i], SIG_DFL);
	setenv("IPATH_NO_BACKTRACE", "1", 1);
}

/* -1 and err: it cannot be had. */
static int sql_listen(const struct cli_address *a, struct error *err)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *list;
	char port[8];
	int rc, fd, one = 1, saved;

	snprintf(port, sizeof port, "%u", a->port);
	rc = getaddrinfo(a->host, port, &hints, &list);
	if (rc != 0) {
		error_set(err, ST_CONFIG_FILE, "%s: %s", a->host, gai_strerror(rc));
		return -1;
	}
	fd = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
	    bind(fd, list->ai_addr, list->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0) {
		freeaddrinfo(list);
		return fd;
	}
	saved = errno;
	freeaddrinfo(list);
	if (fd >= 0)
		close(fd);
	if (saved == EADDRINUSE) {
		error_set(err, ST_OBJECT_IN_USE, "port %u is in use", a->port);
		error_hint(err, "another program listens there: give --sql another port");
	} else {
		error_set(err, ST_SYSTEM, "%s", strerror(saved));
	}
	return -1;
}

static void reload(void *ctx)
{
	struct process *p = ctx;
	struct logger *log = &p->workers[0].log;
	struct error err;
	const char *levels = engine_opts_log_again(&p->opts, &p->arena, &err);

	if (err.code != ST_OK)
		log_event(log, LOG_CLI, LOG_ERROR, "cannot reload", "cause=%s", err.message);
	else if (levels && !logger_parse_levels(log, levels))
		log_event(log, LOG_CLI, LOG_ERROR, "cannot reload", "log=%s", levels);
	else
		log_event(log, LOG_CLI, LOG_INFO, "reloaded", "log=%s", levels ? levels : "unchanged");
}

/* -- one worker: an engine, its loop and its thread ---------------------------------------------------------------- */

/* The first has what was asked for, the others the ports that were, or any. */
static const char *listen_address(struct worker *w, char out[CLI_HOST_MAX + 16])
{
	const struct engine_opts *o = &w->p->opts;
	uint64_t port = o->worker_ports ? o->worker_ports + w->number - 1 : 0;

	if (w->number == 0)
		return o->listen;
	snprintf(out, CLI_HOST_MAX + 16, strchr(o->fabric_address.host, ':') ? "[%s]:%llu" : "%s:%llu", o->fabric_address.host,
		 (unsigned long long)port);
	return out;
}

/* The first worker of the process is a contact of the others, and founds the cluster where it has none itself. */
static uint32_t contacts(const struct worker *w, const char *out[ENGINE_JOIN_MAX + 1])
{
	const struct engine_opts *o = &w->p->opts;
	uint32_t n = 0;

	if (w->number != 0)
		out[n++] = w->p->first_address;
	for (uint32_t i = 0; i < o->contact_count; i++)
		out[n++] = o->contacts[i];
	return n;
}

/* Workers of one process are nearest to each other: the tree then crosses over to another process as seldom as it can. */
static const char *location(const struct worker *w, char out[PLACE_BYTES])
{
	const struct engine_opts *o = &w->p->opts;
	const char *given = o->location ? o->location : "";

	if (o->workers == 1 || strlen(given) + 1 + strlen(o->name) >= LOCATION_BYTES)
		return given;
	snprintf(out, PLACE_BYTES, "%s%s%s", given, *given ? "/" : "", o->name);
	return out;
}

static enum status engine_start(struct worker *w, struct error *err)
{
	const struct engine_opts *o = &w->p->opts;
	char listen[CLI_HOST_MAX + 16], place[PLACE_BYTES];
	const char *list[ENGINE_JOIN_MAX + 1];
	bool archive = o->archive && w->number == 0, several = o->workers > 1;
	struct engine_config cfg = {
		.mem = &w->mem,
		.log = &w->log,
		.clock = clock_system(),
		.timers = loop_timers(w->loop),
		.seed = rng_seed_system(),
		.secret = o->secret,
		.secret_bytes = o->secret_bytes,
		.entropy = entropy_system(),
		.name = w->name,
		.kind = archive ? ENGINE_ARCHIVE : ENGINE_CACHE,
		.listen = listen_address(w, listen),
		.sql_address = o->sql,
		.location = location(w, place),
		.contacts = list,
		.contact_count = contacts(w, list),
		.net_ops = several ? &net_ops_local : o->net->ops,
		.provider = o->net->provider,
		.net_backend = several ? &w->port : NULL,
		.multicast = o->multicast,
		.mcast_ops = &mcast_ops_udp,
		.store_ops = archive ? &store_ops_bdb : NULL,
		.dir = archive ? o->data : NULL,
		.memory_bytes = o->memory_bytes / o->workers,
		.fan_out = (uint32_t)o->fan_out,
		.direct_links = (uint32_t)o->direct_links,
		.remote_bytes = o->remote_bytes / o->workers,
		.heartbeat_us = o->heartbeat_ms * 1000,
		.heartbeat_limit_us = o->heartbeat_limit_ms * 1000,
		.stale_read_limit_us = o->stale_read_limit_ms * 1000,
		.deadlock_timeout_us = o->deadlock_timeout_ms * 1000,
		.checkpoint_bytes = o->checkpoint_bytes,
		.journal_bytes = o->journal_bytes,
		.window_bytes = o->window_bytes,
		.kick = loop_kick,
		.ctx = w->loop,
	};

	return engine_open(&cfg, &w->engine, err);
}

static bool worker_open(struct worker *w, int sql_fd)
{
	const struct engine_opts *o = &w->p->opts;
	struct loop_config cfg = {
		.mem = &w->mem,
		.log = &w->log,
		.crew = w->p->crew,
		.worker = w->number,
		.sql_fd = sql_fd,
		.connection_max = (uint32_t)(o->connections / o->workers + (w->number < o->connections % o->workers)),
		.poll = o->poll_mode,
		.spin_us = (uint32_t)o->spin_us,
		.reload = w->number == 0 ? reload : NULL,
		.ctx = w->p,
	};

	error_clear(&w->err);
	w->loop = loop_new(&cfg, &w->err);
	if (!w->loop)
		return false;
	if (engine_start(w, &w->err) != ST_OK) {
		loop_free(w->loop);
		return false;
	}
	log_event(&w->log, LOG_CLI, LOG_INFO, "started",
		  "kind=%s sql=%s fabric=%s listen=%s pid=%d memory=%llu worker=%u workers=%llu",
		  o->archive && w->number == 0 ? "archive" : "cache", o->sql, o->net->name, engine_address(w->engine), (int)getpid(),
		  (unsigned long long)(o->memory_bytes / o->workers), w->number, (unsigned long long)o->workers);
	return true;
}

static void worker_close(struct worker *w)
{
	engine_close(w->engine);
	loop_free(w->loop);
	sql_thread_fini();
}

/* To its end; then, if it did not end as it was told to, all others are ended, too. */
static void worker_run(struct worker *w)
{
	const struct mail failed = {.kind = MAIL_STOP};

	error_clear(&w->err);
	w->st = loop_run(w->loop, w->engine, &w->err);
	if (w->st != ST_OK) {
		log_event(&w->log, LOG_CLI, LOG_ERROR, "stopped", "cause=%s", w->err.message);
		if (w->number == 0)
			crew_post_others(w->p->crew, 0, &failed);
		else
			crew_post(w->p->crew, 0, &failed);
	}
	crew_done(w->p->crew, w->number);
	worker_close(w);
}

/* -- the process ------------------------------------------------------------------------------------------------------ */

/*
 * Engines are opened one after the other, each in its own thread, and none runs before all are open: libraries read and set the
 * environment when they are opened, which is not for several threads at once.
 */
static void phase_set(struct process *p, enum phase *which, enum phase to)
{
	pthread_mutex_lock(&p->lock);
	*which = to;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

static enum phase phase_wait(struct process *p, const enum phase *which)
{
	enum phase now;

	pthread_mutex_lock(&p->lock);
	while (*which == PHASE_OPENING)
		pthread_cond_wait(&p->changed, &p->lock);
	now = *which;
	pthread_mutex_unlock(&p->lock);
	return now;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct process *p = w->p;

	if (!worker_open(w, -1)) {
		phase_set(p, &w->phase, PHASE_FAILED);
		return NULL;
	}
	phase_set(p, &w->phase, PHASE_RUNNING);
	if (phase_wait(p, &p->phase) == PHASE_RUNNING)
		worker_run(w);
	else
		worker_close(w);
	return NULL;
}

static int cannot_start(const struct worker *w)
{
	char what[96];

	if (w->number == 0)
		return cli_fail_error("cannot start the engine", &w->err);
	snprintf(what, sizeof what, "cannot start the engine %s", w->name);
	return cli_fail_error(what, &w->err);
}

/* Parsing and binding recurse as deep as in a process's first thread, whatever the limit for that is. */
static enum status thread_start(struct worker *w)
{
	pthread_attr_t attr;
	int rc;

	ASSERT(pthread_attr_init(&attr) == 0);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	rc = pthread_create(&w->thread, &attr, worker_main, w);
	pthread_attr_destroy(&attr);
	w->started = rc == 0;
	return rc == 0 ? ST_OK : error_set(&w->err, ST_SYSTEM, "cannot start a thread: %s", strerror(rc));
}

/* The others, when the first is open. A status of the process if they cannot be. */
static int others_open(struct process *p)
{
	for (uint32_t i = 1; i < p->opts.workers; i++) {
		struct worker *w = &p->workers[i];

		if (thread_start(w) != ST_OK || phase_wait(p, &w->phase) != PHASE_RUNNING)
			return cannot_start(w);
	}
	return CLI_DONE;
}

static int workers_run(struct process *p, int sql_fd)
{
	struct worker *first = &p->workers[0];
	int rc;

	if (!worker_open(first, sql_fd))
		return cannot_start(first);
	snprintf(p->first_address, sizeof p->first_address, "%s", engine_address(first->engine));
	rc = others_open(p);
	phase_set(p, &p->phase, rc == CLI_DONE ? PHASE_RUNNING : PHASE_FAILED);
	if (rc == CLI_DONE)
		worker_run(first);
	else
		worker_close(first);
	for (uint32_t i = 1; i < p->opts.workers; i++)
		if (p->workers[i].started)
			pthread_join(p->workers[i].thread, NULL);
	for (uint32_t i = 0; i < p->opts.workers && rc == CLI_DONE; i++)
		if (p->workers[i].st != ST_OK)
			rc = cli_fail_error("the engine stopped", &p->workers[i].err);
	return rc;
}

/* NAME, NAME.1, ...: each with memory and log lines of its own. */
static void workers_init(struct process *p)
{
	p->workers = ARENA_NEW_N(&p->arena, struct worker, p->opts.workers);
	for (uint32_t i = 0; i < p->opts.workers; i++) {
		struct worker *w = &p->workers[i];

		w->p = p;
		w->number = i;
		snprintf(w->name, sizeof w->name, i ? "%s.%u" : "%s", p->opts.name, i);
		mem_init(&w->mem, NULL, "worker", p->opts.memory_bytes / p->opts.workers);
		logger_init_stderr(&w->log, w->name);
		memcpy(w->log.levels, p->log.levels, sizeof w->log.levels);
		w->port = (struct local_port){p->hub, p->opts.net->ops};
	}
}

static int process_run(struct process *p)
{
	struct error err;
	char what[CLI_HOST_MAX + 48];
	int rc, sql_fd;

	error_clear(&err);
	snprintf(what, sizeof what, "cannot listen for SQL on %s", p->opts.sql);
	sql_fd = sql_listen(&p->opts.sql_address, &err);
	if (sql_fd < 0)
		return cli_fail_error(what, &err);
	p->crew = crew_new(&p->mem, (uint32_t)p->opts.workers, &err);
	if (!p->crew) {
		close(sql_fd);
		return cli_fail_error("cannot start", &err);
	}
	p->hub = local_hub_new(&p->mem);
	ASSERT(pthread_mutex_init(&p->lock, NULL) == 0 && pthread_cond_init(&p->changed, NULL) == 0);
	workers_init(p);
	rc = workers_run(p, sql_fd);
	for (uint32_t i = 0; i < p->opts.workers; i++)
		mem_fini(&p->workers[i].mem);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	local_hub_free(p->hub);
	crew_free(p->crew);
	return rc;
}

static int engine_main(bool archive, int argc, char **argv)
{
	struct process p;
	int rc;

	memset(&p, 0, sizeof p);
	p.opts.archive = archive;
	mem_init(&p.mem, NULL, "process", 0);
	arena_init(&p.arena, &p.mem);
	drop_foreign_handlers();
	raise_descriptor_limit();
	rc = engine_opts_read(&p.opts, argv[0], argc, argv, &p.arena);
	if (rc < 0) {
		logger_init_stderr(&p.log, p.opts.name);
		if (p.opts.log && !logger_parse_levels(&p.log, p.opts.log))
			rc = cli_usage(argv[0], "--log %s: not of the form info or warn,net=debug", p.opts.log);
		else
			rc = process_run(&p);
	}
	arena_fini(&p.arena);
	mem_fini(&p.mem);
	return rc;
}

int cli_archive_engine(int argc, char **argv)
{
	return engine_main(true, argc, argv);
}

int cli_cache_engine(int argc, char **argv)
{
	return engine_main(false, argc, argv);
}
