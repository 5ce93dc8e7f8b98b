/*
 * engine_cmd.c - `valence archive-engine` and `valence cache-engine` (cli).
 */
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/engine_opts.h"
#include "cli/loop.h"

#define LISTEN_BACKLOG 511

struct process {
	struct engine_opts opts;
	struct mem mem;
	struct arena arena;
	struct logger log;
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
	struct error err;
	const char *levels = engine_opts_log_again(&p->opts, &p->arena, &err);

	if (err.code != ST_OK)
		log_event(&p->log, LOG_CLI, LOG_ERROR, "cannot reload", "cause=%s", err.message);
	else if (levels && !logger_parse_levels(&p->log, levels))
		log_event(&p->log, LOG_CLI, LOG_ERROR, "cannot reload", "log=%s", levels);
	else
		log_event(&p->log, LOG_CLI, LOG_INFO, "reloaded", "log=%s", levels ? levels : "unchanged");
}

static void engine_config_fill(struct process *p, struct loop *l, struct engine_config *cfg)
{
	const struct engine_opts *o = &p->opts;

	*cfg = (struct engine_config){
		.mem = &p->mem,
		.log = &p->log,
		.clock = clock_system(),
		.timers = loop_timers(l),
		.seed = rng_seed_system(),
		.secret = o->secret,
		.secret_bytes = o->secret_bytes,
		.entropy = entropy_system(),
		.name = o->name,
		.kind = o->archive ? ENGINE_ARCHIVE : ENGINE_CACHE,
		.listen = o->listen,
		.sql_address = o->sql,
		.location = o->location ? o->location : "",
		.contacts = o->contacts,
		.contact_count = o->contact_count,
		.net_ops = o->net->ops,
		.provider = o->net->provider,
		.multicast = o->multicast,
		.mcast_ops = &mcast_ops_udp,
		.store_ops = o->archive ? &store_ops_bdb : NULL,
		.dir = o->data,
		.memory_bytes = o->memory_bytes,
		.fan_out = (uint32_t)o->fan_out,
		.direct_links = (uint32_t)o->direct_links,
		.remote_bytes = o->remote_bytes,
		.heartbeat_us = o->heartbeat_ms * 1000,
		.heartbeat_limit_us = o->heartbeat_limit_ms * 1000,
		.stale_read_limit_us = o->stale_read_limit_ms * 1000,
		.deadlock_timeout_us = o->deadlock_timeout_ms * 1000,
		.checkpoint_bytes = o->checkpoint_bytes,
		.window_bytes = o->window_bytes,
		.kick = loop_kick,
		.ctx = l,
	};
}

static int engine_run(struct process *p, struct loop *l)
{
	struct engine_config cfg;
	struct engine *e;
	struct error err;
	enum status st;

	engine_config_fill(p, l, &cfg);
	error_clear(&err);
	if (engine_open(&cfg, &e, &err) != ST_OK)
		return cli_fail_error("cannot start the engine", &err);
	log_event(&p->log, LOG_CLI, LOG_INFO, "started", "kind=%s sql=%s fabric=%s listen=%s pid=%d memory=%llu",
		  p->opts.archive ? "archive" : "cache", p->opts.sql, p->opts.net->name, engine_address(e), (int)getpid(),
		  (unsigned long long)p->opts.memory_bytes);
	error_clear(&err);
	st = loop_run(l, e, &err);
	engine_close(e);
	if (st == ST_OK)
		return CLI_DONE;
	log_event(&p->log, LOG_CLI, LOG_ERROR, "stopped", "cause=%s", err.message);
	return cli_fail_error("the engine stopped", &err);
}

static int process_run(struct process *p)
{
	struct loop_config cfg = {
		.mem = &p->mem,
		.log = &p->log,
		.connection_max = (uint32_t)p->opts.connections,
		.poll = p->opts.poll_mode,
		.spin_us = (uint32_t)p->opts.spin_us,
		.reload = reload,
		.ctx = p,
	};
	struct error err;
	struct loop *l;
	char what[CLI_HOST_MAX + 48];
	int rc;

	error_clear(&err);
	snprintf(what, sizeof what, "cannot listen for SQL on %s", p->opts.sql);
	cfg.sql_fd = sql_listen(&p->opts.sql_address, &err);
	if (cfg.sql_fd < 0)
		return cli_fail_error(what, &err);
	l = loop_new(&cfg, &err);
	if (!l)
		return cli_fail_error("cannot start", &err);
	rc = engine_run(p, l);
	loop_free(l);
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
		p.mem.limit_bytes = p.opts.memory_bytes;
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
