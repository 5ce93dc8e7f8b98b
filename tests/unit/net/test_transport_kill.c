/*
 * test_transport_kill.c - kill -9 of a peer, over every real back end of this machine (tests).
 *
 * How soon is soon: the process that dies has a plain TCP connection to us as well, and the same process of
 * ours watches both, each by itself. The kernel ends both in one go, so what a link takes longer than the plain socket is
 * the transport's own doing, or the time in which our thread was ready to run and another one ran: that the kernel counts
 * (schedstat), and it is left out where it says so.
 */
#include <CUnit/CUnit.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/net_peers.h"
#include "unit.h"

#define ROUNDS 100
#define MIB (1u << 20)
#ifdef __SANITIZE_ADDRESS__
#define SLOWER 6
#else
#define SLOWER 1
#endif

/* What goes on when it dies. */
enum traffic {
	IDLE,
	SMALL,     /* 64 bytes, there and back */
	BOTH_WAYS, /* 1 MiB, there and back */
	UNREAD,    /* the same, and we do not look at what comes back */
	FROM_IT,   /* 1 MiB each, only from the one that dies */
	TRAFFIC_COUNT
};

struct order {
	uint32_t backend, traffic;
	uint16_t plain_port;
	bool dials; /* it dials us, or we dial it */
	char address[NET_ADDRESS_MAX];
};

struct report {
	pid_t pid;
	char address[NET_ADDRESS_MAX];
};

/* -- the one that dies ------------------------------------------------------------------------ */

static int plain_connect(uint16_t port)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = port};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd >= 0 && connect(fd, (struct sockaddr *)&in, sizeof in) == 0 ? fd : -1;
}

static void victim(const struct order *o, int out)
{
	static struct peer p;
	struct report report;
	struct net_link *link = NULL;
	struct error err;
	uint64_t number = 0;

	world_open(backend_at(o->backend));
	peer_open(&p, true);
	p.echo = o->traffic != FROM_IT;
	memset(&report, 0, sizeof report);
	report.pid = getpid();
	memcpy(report.address, p.address, sizeof report.address);
	if (plain_connect(o->plain_port) < 0 || write(out, &report, sizeof report) != sizeof report)
		_exit(1);
	if (o->dials && world.b->ops->connect(p.net, o->address, &link, &err) != ST_OK)
		_exit(1);
	for (;;) {
		struct net_link *to = link ? link : p.links[0];

		while (o->traffic == FROM_IT && to && to->backlog_bytes < 4 * MIB)
			net_send(to, body_new(MIB, number++));
		TURN(&p);
	}
}

/*
 * Started before this process has used a library, it starts the ones to be killed: each library's start
 * takes a tenth of a second, and they inherit it.
 */
static void nursery_run(int in, int out)
{
	const struct backend *b;
	struct order o;
	char command;

	in_victim = true;
	for (uint32_t i = 1; (b = backend_at(i)); i++) {
		struct peer warm;

		world_open(b);
		peer_open(&warm, true);
		peer_close(&warm);
	}
	while (read(in, &o, sizeof o) == sizeof o) {
		pid_t pid = fork();

		if (pid == 0)
			victim(&o, out);
		if (pid < 0 || read(in, &command, 1) != 1) /* it was killed */
			_exit(1);
		waitpid(pid, NULL, 0);
	}
	_exit(0);
}

static struct {
	pid_t pid;
	int to, from, plain;
	uint16_t plain_port;
} nursery;

static int plain_listen(uint16_t *port_out)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof in;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof in) != 0 || listen(fd, 8) != 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &bytes) != 0)
		return -1;
	*port_out = in.sin_port;
	return fd;
}

static int nursery_start(void)
{
	int to[2], from[2];

	fflush(NULL);
	if (pipe(to) < 0 || pipe(from) < 0)
		return -1;
	nursery.pid = fork();
	if (nursery.pid == 0) {
		close(to[1]);
		close(from[0]);
		nursery_run(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	nursery.to = to[1];
	nursery.from = from[0];
	nursery.plain = plain_listen(&nursery.plain_port);
	return nursery.pid < 0 || nursery.plain < 0 ? -1 : 0;
}

static int nursery_stop(void)
{
	close(nursery.to);
	close(nursery.from);
	close(nursery.plain);
	waitpid(nursery.pid, NULL, 0);
	return 0;
}

static bool nursery_victim(const struct order *o, struct report *report_out)
{
	struct pollfd fd = {nursery.from, POLLIN, 0};

	return write(nursery.to, o, sizeof *o) == sizeof *o && poll(&fd, 1, 10000) == 1 &&
	       read(nursery.from, report_out, sizeof *report_out) == sizeof *report_out;
}

/* -- the one that stays ----------------------------------------------------------------------- */

#define MESSAGES 24

struct round {
	struct peer *a;
	struct report victim;
	struct net_link *link;
	struct net_msg *sent[MESSAGES];
	uint32_t sent_count;
	int plain;
	pthread_t watcher;
	uint64_t plain_us; /* when the plain socket ended */
	uint64_t waited_us; /* how long the thread that stays had waited for a processor until then */
	long tid;           /* that thread */
};

/* How long a thread of this process was ready to run and did not, since it began; 0: the kernel does not count it. */
static uint64_t waited_us(long tid)
{
	char path[64];
	unsigned long long ran, waited = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/self/task/%ld/schedstat", tid);
	f = fopen(path, "r");
	if (f && fscanf(f, "%llu %llu", &ran, &waited) != 2)
		waited = 0;
	if (f)
		fclose(f);
	return waited / 1000;
}

/* A thread of its own, so that the plain socket does not wake who should be woken by the transport. */
static void *plain_watch(void *ctx)
{
	struct round *r = ctx;
	char byte;

	while (recv(r->plain, &byte, 1, 0) > 0)
		;
	r->waited_us = waited_us(r->tid);
	__atomic_store_n(&r->plain_us, now_us(NULL), __ATOMIC_RELEASE);
	return NULL;
}

static uint64_t plain_us(struct round *r)
{
	return __atomic_load_n(&r->plain_us, __ATOMIC_ACQUIRE);
}

static bool traffic_start(struct round *r, uint32_t backend, uint32_t traffic, bool dials)
{
	struct peer *a = r->a;
	uint32_t ups = a->ups + a->accepts;
	struct order o = {.backend = backend,
			  .traffic = traffic,
			  .dials = dials,
			  .plain_port = nursery.plain_port};
	struct error err;
	uint64_t end;

	memcpy(o.address, a->address, sizeof o.address);
	if (!nursery_victim(&o, &r->victim))
		return false;
	r->plain = accept(nursery.plain, NULL, NULL);
	if (pthread_create(&r->watcher, NULL, plain_watch, r) != 0)
		return false;
	if (!dials && world.b->ops->connect(a->net, r->victim.address, &r->link, &err) != ST_OK)
		return false;
	UNTIL(a->ups + a->accepts > ups, 5000000, a);
	if (a->ups + a->accepts != ups + 1)
		return false;
	if (dials)
		r->link = a->links[0];
	for (uint32_t i = 0; i < MESSAGES && traffic != IDLE && traffic != FROM_IT; i++) {
		r->sent[i] = net_msg_ref(body_new(traffic == SMALL ? 64 : MIB, i));
		net_send(r->link, r->sent[i]);
		r->sent_count++;
	}
	/* until it goes both ways */
	end = now_us(NULL) + 5000000;
	while ((traffic == SMALL || traffic == BOTH_WAYS || traffic == FROM_IT) && !a->messages &&
	       now_us(NULL) < end)
		TURN(a);
	return traffic == IDLE || traffic == UNREAD || a->messages > 0;
}

static void refused_now(struct peer *a, const char *address)
{
	struct net_link *link;
	struct error err;

	/* Nobody is there any more; a dying process may still reset a dial or two. */
	a->why = ST_OK;
	for (int try = 0; try < 20 && a->why != ST_CONNECTION_REFUSED; try++) {
		uint32_t downs = a->downs;

		CU_ASSERT_EQUAL(world.b->ops->connect(a->net, address, &link, &err), ST_OK);
		UNTIL(a->downs > downs, 3000000, a);
		CU_ASSERT(a->why == ST_CONNECTION_REFUSED || a->why == ST_CONNECTION);
	}
	CU_ASSERT_EQUAL(a->why, ST_CONNECTION_REFUSED);
}

static bool all_complete(const struct round *r)
{
	for (uint32_t i = 0; i < r->sent_count; i++)
		if (r->sent[i]->refs != 1)
			return false;
	return true;
}

/* How much later than the plain socket the link told, in microseconds; own: without the wait for a processor. */
static uint64_t kill_one(struct peer *a, uint32_t backend, uint32_t number, uint64_t *own_out)
{
	struct round r = {.a = a, .tid = syscall(SYS_gettid)};
	uint32_t downs = a->downs;
	bool dials = number / TRAFFIC_COUNT % 2;
	uint64_t end, down_us, waited, late;

	a->messages = a->expect = a->errors = 0;
	a->link_count = 0;
	CU_ASSERT_FATAL(traffic_start(&r, backend, number % TRAFFIC_COUNT, dials));
	for (uint32_t i = 0; number % TRAFFIC_COUNT != UNREAD && i < number % 7; i++)
		TURN(a);
	CU_ASSERT_EQUAL(a->downs, downs);
	CU_ASSERT_EQUAL(plain_us(&r), 0);
	kill(r.victim.pid, SIGKILL);
	end = now_us(NULL) + 3000000;
	while (a->downs == downs && now_us(NULL) < end)
		TURN(a);
	waited = waited_us(r.tid);
	CU_ASSERT_EQUAL(a->downs, downs + 1);
	CU_ASSERT_EQUAL(a->why, ST_CONNECTION);
	CU_ASSERT_EQUAL(a->errors, 0);
	pthread_join(r.watcher, NULL);
	UNTIL(all_complete(&r), 1000000, a);
	CU_ASSERT(all_complete(&r));
	for (uint32_t i = 0; i < r.sent_count; i++)
		net_msg_unref(r.sent[i]);
	close(r.plain);
	if (write(nursery.to, "k", 1) != 1)
		CU_FAIL("nursery");
	down_us = a->down_us;
	refused_now(a, r.victim.address);
	late = down_us > r.plain_us ? down_us - r.plain_us : 0;
	waited = waited > r.waited_us ? waited - r.waited_us : 0;
	*own_out = late > waited ? late - waited : 0;
	return late;
}

static int by_size(const void *x, const void *y)
{
	const uint64_t *a = x, *b = y;

	return (*a > *b) - (*a < *b);
}

static uint32_t open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint32_t n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

static void kills(const struct backend *b, uint32_t backend)
{
	uint64_t late[ROUNDS], own[ROUNDS], limit = (uint64_t)b->fabric->caps.death_us * SLOWER;
	unsigned failures = CU_get_number_of_failures();
	uint32_t files = 0;
	struct peer a;

	world_open(b);
	peer_open(&a, true);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		late[i] = kill_one(&a, backend, i, &own[i]);
		if (i == TRAFFIC_COUNT)
			files = open_files(); /* what the library keeps, it has by now */
	}
	CU_ASSERT(open_files() <= files + 4);
	peer_close(&a);
	world_close();
	qsort(late, ROUNDS, sizeof late[0], by_size);
	qsort(own, ROUNDS, sizeof own[0], by_size);
	if (getenv("NET_TEST_TIMES") || CU_get_number_of_failures() > failures ||
	    own[ROUNDS - 1] > limit)
		printf("  %s: down later than a plain socket by %llu us (median), %llu us (90 of 100), %llu us (worst); without the "
		       "wait for a processor: %llu, %llu, %llu us\n",
		       b->name, (unsigned long long)late[ROUNDS / 2], (unsigned long long)late[ROUNDS * 9 / 10],
		       (unsigned long long)late[ROUNDS - 1], (unsigned long long)own[ROUNDS / 2],
		       (unsigned long long)own[ROUNDS * 9 / 10], (unsigned long long)own[ROUNDS - 1]);
	CU_ASSERT(own[ROUNDS / 2] <= limit / 5);
	CU_ASSERT(own[ROUNDS * 9 / 10] <= limit);
	CU_ASSERT(own[ROUNDS - 1] <= 5 * limit);
}

/*
 * 100 kills of a peer process per back end, idle and busy, of ones that we dialled and of ones that dialled
 * us: down is called once, as soon as a plain socket of the same process ends and 10 ms at most (for the
 * few that the scheduler takes its time with: well before heartbeats would tell); every message's reference is
 * dropped once, what came was in order, and no descriptor stays behind.
 */
static void test_transport_kill_process(void)
{
	const struct backend *b;

	for (uint32_t i = 1; (b = backend_at(i)); i++)
		kills(b, i);
}

void suite_net_transport_kill(void)
{
	CU_pSuite s = CU_add_suite("net_transport_kill", nursery_start, nursery_stop);

	CU_add_test(s, "killed processes", test_transport_kill_process);
}
