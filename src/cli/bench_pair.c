/*
 * bench_pair.c - two processes that talk over one kind of connection (cli). See bench_fabric.h.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/bench_fabric.h"
#include "net/local/local_net.h"

#define START_MS 20000
#define ORDER_MS 60000
#define ANSWER_BYTES 64
#define SPINS 1000
#define SETTLE_S 0.1

/* From a side to the one who gives orders. */
struct word {
	char address[NET_ADDRESS_MAX];
	double seconds;
	struct error err;
};

/* -- a side ----------------------------------------------------------------------------------- */

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void tell(int fd, const struct word *w)
{
	if (write(fd, w, sizeof *w) != sizeof *w || w->err.code != ST_OK)
		_exit(1);
}

/* On a machine without two free processors the other side has its turn. */
static void spin(struct net_bare *b, uint32_t *empty)
{
	uint64_t before = b->received;

	b->ops->progress(b);
	*empty = b->received == before ? *empty + 1 : 0;
	if (*empty >= SPINS) {
		sched_yield();
		*empty = 0;
	}
}

static void until(struct net_bare *b, uint64_t received)
{
	uint32_t empty = 0;

	while (b->received < received && !b->failed)
		spin(b, &empty);
}

static void send_one(struct net_bare *b, uint32_t bytes)
{
	uint32_t empty = 0;

	while (!b->ops->send(b, bytes) && !b->failed)
		spin(b, &empty);
}

static void there_and_back(struct net_bare *b, const struct bench_order *o, int side)
{
	uint64_t before = b->received;

	b->echo_bytes = o->bytes;
	b->echoes = side == 0 ? o->count - 1 : o->count;
	if (side == 0)
		send_one(b, o->bytes);
	until(b, before + o->count);
}

static void one_way(struct net_bare *b, const struct bench_order *o, int side)
{
	uint64_t before = b->received;

	if (side == 0) {
		for (uint64_t i = 0; i < o->count && !b->failed; i++)
			send_one(b, o->bytes);
		until(b, before + 1);
		return;
	}
	until(b, before + o->count);
	send_one(b, ANSWER_BYTES);
}

struct side {
	const struct net_bare_ops *ops;
	struct net_bare_config cfg;
	int number, in, out;
	pthread_mutex_t *opening; /* where the other one is in the same process: libraries set the environment */
};

static void side_run(const struct side *s)
{
	const struct net_bare_ops *ops = s->ops;
	struct net_bare_config cfg = s->cfg;
	int side = s->number, in = s->in, out = s->out;
	struct bench_order o;
	struct net_bare *b;
	struct mem mem;
	struct word w;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(&w, 0, sizeof w);
	mem_init(&mem, NULL, "bench", 0);
	cfg.mem = &mem;
	if (s->opening)
		pthread_mutex_lock(s->opening);
	(void)ops->open(&cfg, w.address, &b, &w.err);
	if (s->opening)
		pthread_mutex_unlock(s->opening);
	tell(out, &w);
	if (side == 0 && read(in, w.address, sizeof w.address) == sizeof w.address)
		(void)ops->connect(b, w.address, &w.err);
	while (w.err.code == ST_OK && !b->up && !b->failed)
		ops->progress(b);
	/* the other side may need us for the rest of its way */
	for (double end = now_s() + SETTLE_S; w.err.code == ST_OK && now_s() < end;)
		ops->progress(b);
	if (w.err.code == ST_OK && b->failed)
		error_set(&w.err, ST_CONNECTION, "the connection failed");
	tell(out, &w);
	while (read(in, &o, sizeof o) == sizeof o) {
		double start = now_s();

		if (o.there_and_back)
			there_and_back(b, &o, side);
		else
			one_way(b, &o, side);
		/* what is still on its way out is only moved by progress */
		for (int i = 0; i < 1000; i++)
			ops->progress(b);
		w.seconds = b->failed ? -1 : now_s() - start;
		tell(out, &w);
	}
	_exit(0);
}

/* -- who gives orders ------------------------------------------------------------------------- */

static enum status hear(const struct bench_pair *p, int side, int limit_ms, struct word *out,
			struct error *err)
{
	struct pollfd fd = {p->from[side], POLLIN, 0};

	if (poll(&fd, 1, limit_ms) != 1)
		return error_set(err, ST_WAIT, "no answer within %d s", limit_ms / 1000);
	if (read(p->from[side], out, sizeof *out) != sizeof *out)
		return error_set(err, ST_CONNECTION, "a process ended");
	*err = out->err;
	return err->code;
}

static void *side_thread(void *arg)
{
	side_run(arg);
	return NULL;
}

/* Both sides as two engines of one process, with a link from thread to thread. */
static void both_run(struct side sides[2])
{
	pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
	struct local_port port;
	pthread_t thread;
	struct mem mem;

	mem_init(&mem, NULL, "bench", 0);
	port = (struct local_port){local_hub_new(&mem), sides[0].cfg.links};
	for (int i = 0; i < 2; i++) {
		sides[i].cfg.links = &net_ops_local;
		sides[i].cfg.backend = &port;
		sides[i].opening = &opening;
	}
	if (pthread_create(&thread, NULL, side_thread, &sides[1]) != 0)
		_exit(1);
	side_run(&sides[0]);
}

/* Side @first, or both in one process. */
static enum status sides_start(struct bench_pair *p, int first, bool both, const struct net_bare_ops *ops,
			       const struct net_bare_config *cfg, struct error *err)
{
	int last = both ? 1 : first;
	struct side sides[2];

	for (int i = first; i <= last; i++) {
		int to[2], from[2];

		if (pipe(to) != 0 || pipe(from) != 0)
			return error_set(err, ST_SYSTEM, "cannot make a pipe");
		sides[i] = (struct side){ops, *cfg, i, to[0], from[1], NULL};
		p->to[i] = to[1];
		p->from[i] = from[0];
	}
	fflush(NULL);
	p->pids[first] = fork();
	if (p->pids[first] == 0) {
		for (int i = first; i <= last; i++) {
			close(p->to[i]);
			close(p->from[i]);
		}
		if (both)
			both_run(sides);
		else
			side_run(&sides[first]);
	}
	for (int i = first; i <= last; i++) {
		close(sides[i].in);
		close(sides[i].out);
	}
	return p->pids[first] < 0 ? error_set(err, ST_SYSTEM, "cannot start a process") : ST_OK;
}

enum status bench_pair_open(struct bench_pair *p, const struct net_bare_ops *ops,
			    const struct net_bare_config *cfg, bool one_process, struct error *err)
{
	struct word w, first;
	enum status st = ST_OK;

	*p = (struct bench_pair){{-1, -1}, {-1, -1}, {-1, -1}};
	error_clear(err);
	if (one_process)
		st = sides_start(p, 0, true, ops, cfg, err);
	for (int side = 0; side < 2 && st == ST_OK; side++) {
		if (!one_process)
			st = sides_start(p, side, false, ops, cfg, err);
		if (st == ST_OK)
			st = hear(p, side, START_MS, side == 1 ? &w : &first, err);
	}
	if (st == ST_OK && write(p->to[0], w.address, sizeof w.address) != sizeof w.address)
		st = error_set(err, ST_SYSTEM, "a process ended");
	for (int side = 0; side < 2 && st == ST_OK; side++)
		st = hear(p, side, START_MS, &w, err);
	if (st != ST_OK)
		bench_pair_close(p);
	return st;
}

double bench_pair_run(struct bench_pair *p, const struct bench_order *o)
{
	struct word w[2];
	struct error err;

	for (int side = 1; side >= 0; side--)
		if (write(p->to[side], o, sizeof *o) != sizeof *o)
			return -1;
	for (int side = 0; side < 2; side++)
		if (hear(p, side, ORDER_MS, &w[side], &err) != ST_OK || w[side].seconds < 0)
			return -1;
	return w[0].seconds;
}

void bench_pair_close(struct bench_pair *p)
{
	for (int side = 0; side < 2; side++) {
		if (p->to[side] >= 0)
			close(p->to[side]);
		if (p->from[side] >= 0)
			close(p->from[side]);
		if (p->pids[side] <= 0)
			continue;
		kill(p->pids[side], SIGKILL);
		waitpid(p->pids[side], NULL, 0);
	}
	*p = (struct bench_pair){{-1, -1}, {-1, -1}, {-1, -1}};
}
