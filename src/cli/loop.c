/*
 * loop.c - the event loop of one engine in a process (cli).
 */
#include "cli/loop_int.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

#define EVENTS_PER_TURN 256
#define ENGINE_STEPS_PER_TURN 16
#define CLIENT_DEFAULT 1000
#define CLIENT_SPARE 100             /* for cancel requests and refusals beside the sessions */
#define SESSIONS_LIMIT_US (2 * UINT64_C(1000000))
#define STOP_LIMIT_US (10 * UINT64_C(1000000))
#define OTHERS_LIMIT_US (3 * UINT64_C(1000000)) /* so much longer the first worker waits: the others leave before it */

struct timers *loop_timers(struct loop *l)
{
	return &l->timers;
}

void loop_kick(void *loop)
{
	((struct loop *)loop)->kicked = true;
}

static void signals_block(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	ASSERT(pthread_sigmask(SIG_BLOCK, set, NULL) == 0);
	signal(SIGPIPE, SIG_IGN);
}

static bool add(struct loop *l, int fd, struct source *s, enum source_kind kind)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = s};

	s->kind = kind;
	return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0;
}

struct loop *loop_new(const struct loop_config *cfg, struct error *err)
{
	struct loop *l = MEM_NEW(cfg->mem, struct loop);
	sigset_t set;
	bool ok;

	l->cfg = *cfg;
	l->clock = clock_system();
	spin_init(&l->spin, cfg->poll, cfg->spin_us);
	timers_init(&l->timers, cfg->mem);
	list_init(&l->clients);
	list_init(&l->ready);
	l->client_max = (cfg->connection_max ? cfg->connection_max : CLIENT_DEFAULT) + CLIENT_SPARE;
	l->recv_bytes = mem_alloc(cfg->mem, RECV_BYTES);
	l->seen = ENGINE_JOINING;
	crew_limit(cfg->crew, cfg->worker, l->client_max);
	l->signal_fd = -1;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	ok = l->epoll_fd >= 0 && add(l, crew_fd(cfg->crew, cfg->worker), &l->mail_source, SOURCE_MAIL);
	if (cfg->worker == 0) { /* the others hear of both by mail */
		signals_block(&set); /* before there is another thread, which would take them otherwise */
		l->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
		ok = ok && l->signal_fd >= 0 && add(l, l->signal_fd, &l->signal_source, SOURCE_SIGNAL) &&
		     add(l, cfg->sql_fd, &l->listener_source, SOURCE_LISTENER);
	}
	if (!ok) {
		error_set(err, ST_SYSTEM, "cannot make an event loop: %s", strerror(errno));
		loop_free(l);
		return NULL;
	}
	return l;
}

void loop_free(struct loop *l)
{
	struct mem *mem = l->cfg.mem;

	if (l->cfg.sql_fd >= 0)
		close(l->cfg.sql_fd);
	if (l->signal_fd >= 0)
		close(l->signal_fd);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	timer_cancel(&l->timers, &l->accept_again);
	timer_cancel(&l->timers, &l->leave_by);
	timer_cancel(&l->timers, &l->stop_by);
	timers_fini(&l->timers);
	mem_free(mem, l->recv_bytes, RECV_BYTES);
	MEM_FREE(mem, l);
}

/* -- what pgwire.h asks -------------------------------------------------------------------------------------- */

static enum status gate(void *ctx, struct error *err)
{
	struct loop *l = ctx;
	const struct error *why = engine_error(l->engine);

	switch (engine_state(l->engine)) {
	case ENGINE_READY:
		return ST_OK;
	case ENGINE_JOINING:
		error_set(err, ST_CANNOT_CONNECT_NOW, "the database system is starting up");
		break;
	case ENGINE_FAILED:
		error_set(err, ST_CANNOT_CONNECT_NOW, "the engine stopped");
		break;
	default:
		return error_set(err, ST_ADMIN_SHUTDOWN, "the database system is shutting down");
	}
	if (why && why->message[0])
		error_detail(err, "%s", why->message);
	return err->code;
}

static uint32_t secret(void *ctx)
{
	(void)ctx;
	return (uint32_t)rng_seed_system();
}

static void cancel(void *ctx, uint32_t worker, uint32_t pid, uint32_t key)
{
	struct loop *l = ctx;
	const struct mail m = {.kind = MAIL_CANCEL, .pid = pid, .secret = key};

	crew_post(l->cfg.crew, worker, &m);
}

/* -- signals and the end ------------------------------------------------------------------------------------- */

static void leave(struct loop *l)
{
	if (l->left_asked)
		return;
	l->left_asked = true;
	timer_cancel(&l->timers, &l->leave_by);
	engine_leave(l->engine);
	l->kicked = true;
}

static void leave_late(struct timer *t, void *ctx)
{
	(void)t;
	leave(ctx);
}

static void stop_late(struct timer *t, void *ctx)
{
	(void)t;
	((struct loop *)ctx)->interrupted = true;
}

static const char *stop_name(uint32_t signal_number)
{
	return signal_number == SIGINT ? "SIGINT" : signal_number == SIGTERM ? "SIGTERM" : "another worker failed";
}

/* Sessions first, so that what was submitted is answered; then the cluster, for the first worker when all others have left. */
static void stop(struct loop *l, uint32_t signal_number)
{
	const struct mail m = {.kind = MAIL_STOP, .signal = signal_number};
	uint64_t now = clock_now_us(&l->clock), others = l->cfg.worker == 0 && crew_others(l->cfg.crew) ? OTHERS_LIMIT_US : 0;

	if (l->cfg.worker == 0)
		crew_post_others(l->cfg.crew, 0, &m);
	if (l->stopping) {
		l->told_twice = true;
		return;
	}
	log_event(l->cfg.log, LOG_CLI, LOG_INFO, "stopping", "signal=%s sessions=%u", stop_name(signal_number),
		  pg_server_sessions(l->server));
	l->stopping = true;
	if (l->cfg.sql_fd >= 0)
		close(l->cfg.sql_fd);
	l->cfg.sql_fd = -1;
	timer_init(&l->leave_by, leave_late, l);
	timer_arm(&l->timers, &l->leave_by, now + SESSIONS_LIMIT_US + others);
	timer_init(&l->stop_by, stop_late, l);
	timer_arm(&l->timers, &l->stop_by, now + STOP_LIMIT_US + others);
	pg_server_shutdown(l->server, ST_ADMIN_SHUTDOWN);
}

static void reload(struct loop *l)
{
	struct mail m = {.kind = MAIL_LEVELS};

	if (l->cfg.reload)
		l->cfg.reload(l->cfg.ctx);
	memcpy(m.levels, l->cfg.log->levels, sizeof m.levels);
	crew_post_others(l->cfg.crew, l->cfg.worker, &m);
}

static void signals_take(struct loop *l)
{
	struct signalfd_siginfo info;

	while (read(l->signal_fd, &info, sizeof info) == sizeof info) {
		if (info.ssi_signo != SIGHUP)
			stop(l, info.ssi_signo);
		else
			reload(l);
	}
}

static void mail_take(struct loop *l)
{
	struct mail m;

	while (crew_take(l->cfg.crew, l->cfg.worker, &m)) {
		switch (m.kind) {
		case MAIL_CLIENT:
			client_new(l, m.fd, m.peer);
			break;
		case MAIL_CANCEL:
			pg_server_cancel(l->server, m.pid, m.secret);
			break;
		case MAIL_STOP:
			/* of two that fail the second one is no order to make haste */
			if (m.signal != 0 || !l->stopping)
				stop(l, m.signal);
			break;
		case MAIL_LEVELS:
			memcpy(l->cfg.log->levels, m.levels, sizeof m.levels);
			break;
		case MAIL_DONE: /* run() looks */
			break;
		}
	}
}

/* What the operator wants to read: each change of state, and why it takes long. */
static void state_log(struct loop *l)
{
	enum engine_state now = engine_state(l->engine);
	const struct error *why = engine_error(l->engine);
	struct engine_info info;

	if (now == ENGINE_JOINING && why && why->message[0]) {
		uint32_t crc = crc32c(0, why->message, strlen(why->message));

		if (crc != l->seen_failure)
			log_event(l->cfg.log, LOG_CLI, LOG_WARN, "still joining", "cause=%s", why->message);
		l->seen_failure = crc;
	}
	if (now == l->seen)
		return;
	l->seen = now;
	crew_ready(l->cfg.crew, l->cfg.worker, now == ENGINE_READY);
	engine_info(l->engine, &info);
	if (now == ENGINE_READY)
		log_event(l->cfg.log, LOG_CLI, LOG_INFO, "ready", "engine_id=%llu applied=%llu members=%u",
			  (unsigned long long)info.id, (unsigned long long)info.applied, info.members);
	else if (now == ENGINE_LEFT)
		log_event(l->cfg.log, LOG_CLI, LOG_INFO, "left the cluster", "engine_id=%llu",
			  (unsigned long long)info.id);
}

/* -- the turn ------------------------------------------------------------------------------------------------ */

/* The engine's descriptors may change while it runs. */
static void engine_fds_watch(struct loop *l)
{
	int fds[4];
	uint32_t n = engine_wait_fds(l->engine, fds);

	if (n == l->engine_fd_count && memcmp(fds, l->engine_fds, n * sizeof fds[0]) == 0 &&
	    l->engine_fds_version == engine_fds_version(l->engine))
		return;
	l->engine_fds_version = engine_fds_version(l->engine);
	for (uint32_t i = 0; i < l->engine_fd_count; i++)
		(void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, l->engine_fds[i], NULL);
	for (uint32_t i = 0; i < n; i++) {
		/* EEXIST: a descriptor may be named twice */
		if (!add(l, fds[i], &l->engine_source, SOURCE_ENGINE) && errno != EEXIST)
			log_event(l->cfg.log, LOG_CLI, LOG_ERROR, "cannot watch the engine's descriptor",
				  "fd=%d error=%s", fds[i], strerror(errno));
		l->engine_fds[i] = fds[i];
	}
	l->engine_fd_count = n;
}

/* How long there is nothing to do; 0: do not sleep, UINT64_MAX: until something comes. */
static uint64_t idle_us(struct loop *l)
{
	uint64_t now, due;

	if (l->kicked || !list_empty(&l->ready))
		return 0;
	now = clock_now_us(&l->clock);
	if (l->busy)
		spin_worked(&l->spin, l->turn_us, now);
	l->busy = false;
	if (spin_on(&l->spin, now))
		return 0;
	due = timers_next_us(&l->timers);
	if (due <= now || !engine_try_wait(l->engine))
		return 0;
	return due == UINT64_MAX ? due : due - now;
}

static int sleep_until(struct loop *l, struct epoll_event *events, uint64_t us)
{
	struct timespec ts = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000 * 1000)};
	int n;

	if (us == 0)
		return epoll_wait(l->epoll_fd, events, EVENTS_PER_TURN, 0);
	if (!l->no_pwait2) {
		n = epoll_pwait2(l->epoll_fd, events, EVENTS_PER_TURN, us == UINT64_MAX ? NULL : &ts, NULL);
		if (n >= 0 || errno != ENOSYS)
			return n;
		l->no_pwait2 = true;
	}
	if (us == UINT64_MAX)
		return epoll_wait(l->epoll_fd, events, EVENTS_PER_TURN, -1);
	return epoll_wait(l->epoll_fd, events, EVENTS_PER_TURN, us > 3600000000u ? 3600000 : (int)((us + 999) / 1000));
}

static void event(struct loop *l, struct epoll_event *ev)
{
	struct source *s = ev->data.ptr;

	switch (s->kind) {
	case SOURCE_SIGNAL:
		signals_take(l);
		break;
	case SOURCE_MAIL:
		mail_take(l);
		break;
	case SOURCE_LISTENER:
		if (l->cfg.sql_fd >= 0)
			clients_accept(l);
		break;
	case SOURCE_CLIENT:
		client_event(l, s, ev->events);
		break;
	case SOURCE_ENGINE: /* every turn steps it */
		break;
	}
}

/* Whether there was anything to do. */
static bool engine_turn(struct loop *l)
{
	for (int i = 0; i < ENGINE_STEPS_PER_TURN; i++)
		if (engine_step(l->engine) == 0)
			return i > 0;
	l->kicked = true; /* has more, but others have a turn first */
	return true;
}

static void turn(struct loop *l)
{
	struct epoll_event events[EVENTS_PER_TURN];
	int n;

	engine_fds_watch(l);
	n = sleep_until(l, events, idle_us(l));
	if (n < 0 && errno != EINTR) {
		log_event(l->cfg.log, LOG_CLI, LOG_ERROR, "epoll_wait failed", "error=%s", strerror(errno));
		ASSERT(errno != EBADF && errno != EINVAL && errno != EFAULT);
	}
	l->kicked = false;
	for (int i = 0; i < n; i++)
		event(l, &events[i]);
	l->turn_us = clock_now_us(&l->clock);
	timers_run(&l->timers, l->turn_us);
	l->busy = engine_turn(l);
	if (n > 0 || !list_empty(&l->ready))
		l->busy = true;
	clients_turn(l);
	if (engine_turn(l))
		l->busy = true;
	state_log(l);
}

static enum status run(struct loop *l, struct error *err)
{
	struct engine *e = l->engine;

	for (;;) {
		turn(l);
		if (engine_state(e) == ENGINE_FAILED) {
			*err = *engine_error(e);
			return err->code == ST_OK ? ST_INTERNAL : err->code;
		}
		if (engine_state(e) == ENGINE_LEFT)
			return ST_OK;
		if (!l->stopping)
			continue;
		if (l->told_twice)
			return error_set(err, ST_ADMIN_SHUTDOWN, "told twice to stop before the cluster confirmed that it left");
		if (l->interrupted)
			return error_set(err, ST_WAIT, "the cluster did not confirm within %u s that this engine left",
					 (unsigned)(STOP_LIMIT_US / 1000000));
		if (list_empty(&l->clients) && (l->cfg.worker != 0 || crew_others(l->cfg.crew) == 0)) {
			/* nothing to leave where nothing was joined */
			if (!l->left_asked && engine_state(e) == ENGINE_JOINING)
				return ST_OK;
			leave(l);
		}
	}
}

enum status loop_run(struct loop *l, struct engine *e, struct error *err)
{
	struct pg_server_config cfg = {
		.engine = e,
		.mem = l->cfg.mem,
		.log = l->cfg.log,
		.connection_max = l->cfg.connection_max,
		.ctx = l,
		.gate = gate,
		.secret = secret,
		.worker = l->cfg.worker,
		.workers = crew_count(l->cfg.crew),
		.cancel = cancel,
	};
	enum status st;

	l->engine = e;
	l->kicked = true; /* nothing was stepped yet */
	l->server = pg_server_new(&cfg);
	st = run(l, err);
	clients_close(l);
	pg_server_free(l->server);
	l->server = NULL;
	return st;
}
