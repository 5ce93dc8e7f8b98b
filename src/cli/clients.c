/*
 * clients.c - the SQL clients of the loop: sockets to pgwire.h and back (cli).
 *
 * A connection that is over lingers: what was said is sent, our side shut, and what the client still sends is thrown
 * away until it closes or a second passed. Closed at once with bytes unread, the kernel would reset the connection
 * and the client might never see why.
 */
#define _GNU_SOURCE /* accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "cli/loop_int.h"

#define ACCEPTS_PER_TURN 64
#define STARTUP_LIMIT_US (60 * UINT64_C(1000000))
#define LINGER_US UINT64_C(1000000)
#define ACCEPT_PAUSE_US UINT64_C(200000)

enum client_state { CLIENT_OPEN, CLIENT_DRAINING, CLIENT_LINGERING };

struct client {
	struct source source; /* first */
	struct list node, ready;
	struct loop *loop;
	struct pg_conn *conn;
	struct timer limit;   /* of the start-up, then of lingering */
	struct timer deadline; /* statement_timeout and its kin */
	uint64_t deadline_due_us; /* monotonic, while it is armed */
	uint32_t events;      /* that epoll watches for */
	int fd;
	uint8_t state;
	bool starting;
};

static void client_ready(struct client *cl)
{
	if (list_empty(&cl->ready))
		list_push_back(&cl->loop->ready, &cl->ready);
}

static void client_wake(void *ctx)
{
	client_ready(ctx);
}

static void client_free(struct client *cl)
{
	struct loop *l = cl->loop;

	timer_cancel(&l->timers, &cl->limit);
	timer_cancel(&l->timers, &cl->deadline);
	list_remove(&cl->ready);
	list_remove(&cl->node);
	pg_conn_free(cl->conn);
	close(cl->fd);
	crew_client_gone(l->cfg.crew, l->cfg.worker);
	MEM_FREE(l->cfg.mem, cl);
}

static void client_limit(struct timer *t, void *ctx)
{
	struct client *cl = ctx;

	(void)t;
	log_event(cl->loop->cfg.log, LOG_PGWIRE, LOG_DEBUG, "connection timed out", "state=%d", cl->state);
	client_free(cl);
}

static void client_deadline(struct timer *t, void *ctx)
{
	struct client *cl = ctx;

	(void)t;
	pg_conn_timeout(cl->conn);
	client_ready(cl);
}

static void deadline_arm(struct client *cl)
{
	struct loop *l = cl->loop;
	uint64_t due = pg_conn_deadline_us(cl->conn);

	if (due == 0) {
		timer_cancel(&l->timers, &cl->deadline);
	} else if (!timer_armed(&cl->deadline) || due != cl->deadline_due_us) {
		uint64_t least = clock_now_us(&l->clock) + 1000;

		cl->deadline_due_us = due;
		timer_arm(&l->timers, &cl->deadline, due > least ? due : least);
	}
}

static void watch(struct client *cl, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = &cl->source};

	if (events == cl->events)
		return;
	cl->events = events;
	ASSERT(epoll_ctl(cl->loop->epoll_fd, EPOLL_CTL_MOD, cl->fd, &ev) == 0);
}

void client_new(struct loop *l, int fd, const char *peer)
{
	struct client *cl = MEM_NEW(l->cfg.mem, struct client);
	struct pg_conn_config cfg = {.server = l->server, .peer = peer, .ctx = cl, .wake = client_wake};
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &cl->source};
	int one = 1;

	cl->source.kind = SOURCE_CLIENT;
	cl->loop = l;
	cl->fd = fd;
	cl->starting = true;
	cl->events = EPOLLIN;
	list_init(&cl->ready);
	list_push_back(&l->clients, &cl->node);
	cl->conn = pg_conn_new(&cfg);
	timer_init(&cl->limit, client_limit, cl);
	timer_init(&cl->deadline, client_deadline, cl);
	timer_arm(&l->timers, &cl->limit, clock_now_us(&l->clock) + STARTUP_LIMIT_US);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
		log_event(l->cfg.log, LOG_CLI, LOG_WARN, "cannot watch a connection", "error=%s", strerror(errno));
		client_free(cl);
	}
}

static void peer_name(const struct sockaddr_storage *sa, socklen_t bytes, char *out, size_t out_bytes)
{
	char host[64], port[8];

	if (getnameinfo((const struct sockaddr *)sa, bytes, host, sizeof host, port, sizeof port,
			NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		snprintf(out, out_bytes, "%s:%s", host, port);
	else
		snprintf(out, out_bytes, "?");
}

static void accept_again(struct timer *t, void *ctx)
{
	struct loop *l = ctx;
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &l->listener_source};

	(void)t;
	if (l->cfg.sql_fd >= 0)
		ASSERT(epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, l->cfg.sql_fd, &ev) == 0);
}

/* Out of descriptors or memory: the listener would stay readable and the loop spin. */
static void accept_pause(struct loop *l, int error)
{
	struct epoll_event ev = {.events = 0, .data.ptr = &l->listener_source};

	log_event(l->cfg.log, LOG_CLI, LOG_WARN, "cannot accept a connection", "error=%s clients=%u", strerror(error),
		  crew_clients(l->cfg.crew));
	ASSERT(epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, l->cfg.sql_fd, &ev) == 0);
	timer_init(&l->accept_again, accept_again, l);
	timer_arm(&l->timers, &l->accept_again, clock_now_us(&l->clock) + ACCEPT_PAUSE_US);
}

static void give(struct loop *l, int fd, const char *peer)
{
	struct mail m = {.kind = MAIL_CLIENT, .fd = fd};
	int worker = crew_pick(l->cfg.crew);

	if (worker < 0) {
		log_event(l->cfg.log, LOG_CLI, LOG_WARN, "too many connections", "peer=%s connections=%u", peer,
			  crew_clients(l->cfg.crew));
		close(fd);
	} else if ((uint32_t)worker == l->cfg.worker) {
		client_new(l, fd, peer);
	} else {
		snprintf(m.peer, sizeof m.peer, "%s", peer);
		crew_post(l->cfg.crew, (uint32_t)worker, &m);
	}
}

void clients_accept(struct loop *l)
{
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_storage sa;
		socklen_t bytes = sizeof sa;
		char peer[CREW_PEER_MAX];
		int fd = accept4(l->cfg.sql_fd, (struct sockaddr *)&sa, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				accept_pause(l, errno);
			return;
		}
		peer_name(&sa, bytes, peer, sizeof peer);
		give(l, fd, peer);
	}
}

/* False: the connection is gone, and so is the client. */
static bool receive(struct client *cl)
{
	struct loop *l = cl->loop;
	ssize_t n = recv(cl->fd, l->recv_bytes, RECV_BYTES, 0);

	if (n > 0) {
		if (cl->state == CLIENT_OPEN)
			pg_conn_input(cl->conn, l->recv_bytes, (size_t)n);
		return true;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n == 0 && cl->state == CLIENT_OPEN) {
		pg_conn_eof(cl->conn);
		return true;
	}
	client_free(cl);
	return false;
}

void client_event(struct loop *l, struct source *s, uint32_t events)
{
	struct client *cl = CONTAINER_OF(s, struct client, source);

	(void)l;
	if (events & EPOLLERR || (events & EPOLLHUP && !(events & EPOLLIN))) {
		client_free(cl);
		return;
	}
	if (events & (EPOLLIN | EPOLLHUP) && !receive(cl))
		return;
	client_ready(cl);
}

/* One send a turn. False: the connection is gone. */
static bool flush(struct client *cl)
{
	size_t bytes;
	const void *p = pg_conn_output(cl->conn, &bytes);
	ssize_t n;

	if (bytes == 0)
		return true;
	n = send(cl->fd, p, bytes, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	pg_conn_consumed(cl->conn, (size_t)n);
	return true;
}

static size_t unsent(const struct client *cl)
{
	size_t bytes;

	(void)pg_conn_output(cl->conn, &bytes);
	return bytes;
}

static void linger(struct client *cl)
{
	struct loop *l = cl->loop;

	cl->state = CLIENT_LINGERING;
	if (shutdown(cl->fd, SHUT_WR) != 0 || l->stopping) {
		client_free(cl);
		return;
	}
	timer_arm(&l->timers, &cl->limit, clock_now_us(&l->clock) + LINGER_US);
	watch(cl, EPOLLIN);
}

static void client_turn(struct client *cl)
{
	enum pg_step step = PG_CLOSE;

	if (cl->state == CLIENT_LINGERING)
		return;
	if (cl->state == CLIENT_OPEN)
		step = pg_conn_step(cl->conn);
	if (step == PG_CLOSE && cl->state == CLIENT_OPEN) {
		cl->state = CLIENT_DRAINING;
		timer_arm(&cl->loop->timers, &cl->limit, clock_now_us(&cl->loop->clock) + STARTUP_LIMIT_US);
	}
	if (cl->starting && pg_conn_started(cl->conn) && cl->state == CLIENT_OPEN) {
		cl->starting = false;
		timer_cancel(&cl->loop->timers, &cl->limit);
	}
	if (!flush(cl)) {
		client_free(cl);
		return;
	}
	if (cl->state == CLIENT_DRAINING && unsent(cl) == 0) {
		linger(cl);
		return;
	}
	deadline_arm(cl);
	if (step == PG_AGAIN || pg_conn_unblocked(cl->conn))
		client_ready(cl);
	watch(cl, (unsent(cl) ? (uint32_t)EPOLLOUT : 0) |
		  (cl->state == CLIENT_OPEN && pg_conn_wants_input(cl->conn) ? (uint32_t)EPOLLIN : 0));
}

void clients_turn(struct loop *l)
{
	struct list now;

	if (list_empty(&l->ready))
		return;
	/* whoever becomes ready meanwhile is of the next turn */
	list_init(&now);
	list_insert_before(&l->ready, &now);
	list_remove(&l->ready);
	while (!list_empty(&now)) {
		struct client *cl = CONTAINER_OF(list_first(&now), struct client, ready);

		list_remove(&cl->ready);
		client_turn(cl);
	}
}

void clients_close(struct loop *l)
{
	while (!list_empty(&l->clients))
		client_free(CONTAINER_OF(list_first(&l->clients), struct client, node));
}
