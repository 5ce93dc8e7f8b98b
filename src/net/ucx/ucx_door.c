/*
 * ucx_door.c - the TCP connection beside each link of the UCX back end (net/ucx).
 *
 * HOST:PORT is a plain listener of ours, the *door*; UCX's own listener has a port that the door tells. So a
 * refused dial is refused by the system and no guess; bytes that are not ours never reach UCX, whose
 * connection manager aborts on some of them; and the connection stays open as the link's *lifeline*: the
 * kernel of a peer that dies ends it at once, whatever the fabric makes of it. Nothing but one question
 * and one answer goes over it.
 */
#define _GNU_SOURCE /* accept4 */

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "net/ucx/ucx_int.h"

#define EVENTS 64
#define DOOR_BACKLOG 255
#define DOOR_VERSION 1u

/* Each way, little-endian. From the dialler: no token, no port. */
struct door_word {
	uint32_t magic, version, token, port;
};

_Static_assert(sizeof(struct door_word) == UCX_DOOR_BYTES, "on the wire");

static bool watch(struct ucx_net *n, int fd, void *who, uint32_t events, int how)
{
	struct epoll_event ev = {.events = events, .data.ptr = who};

	return epoll_ctl(n->door_epoll_fd, how, fd, &ev) == 0;
}

static int socket_new(const struct sockaddr *a)
{
	int fd = socket(a->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

	if (fd >= 0 && a->sa_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
	return fd;
}

int ucx_door_open(struct ucx_net *n, const struct sockaddr *at, socklen_t bytes)
{
	int fd = socket_new(at), one = 1, saved;

	/* A restarted engine has its port back at once. */
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
	    bind(fd, at, bytes) == 0 && listen(fd, DOOR_BACKLOG) == 0 &&
	    watch(n, fd, NULL, EPOLLIN, EPOLL_CTL_ADD)) {
		n->door_fd = fd;
		return 0;
	}
	saved = errno;
	if (fd >= 0)
		close(fd);
	return saved;
}

void ucx_door_leave(struct ucx_link *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

enum status ucx_door_dial(struct ucx_link *l, const struct sockaddr *to, socklen_t bytes)
{
	l->fd = socket_new(to);
	if (l->fd < 0)
		return ST_CONNECTION;
	if (connect(l->fd, to, bytes) != 0 && errno != EINPROGRESS)
		return errno == ECONNREFUSED ? ST_CONNECTION_REFUSED : ST_CONNECTION;
	memcpy(&l->to, to, bytes);
	l->to_bytes = bytes;
	return watch(l->net, l->fd, l, EPOLLOUT, EPOLL_CTL_ADD) ? ST_OK : ST_CONNECTION;
}

static bool say(struct ucx_link *l, uint32_t token, uint32_t port)
{
	struct door_word w = {UCX_MAGIC, DOOR_VERSION, token, port};

	/* so few bytes go in one, or the connection is no good */
	return send(l->fd, &w, sizeof w, MSG_NOSIGNAL) == sizeof w;
}

static void broken(struct ucx_link *l, int error)
{
	bool refused = l->state == UCX_DIALLING && !l->ep && error == ECONNREFUSED;

	ucx_link_break(l, refused ? ST_CONNECTION_REFUSED : ST_CONNECTION);
}

static void dialled(struct ucx_link *l)
{
	int error = 0;
	socklen_t bytes = sizeof error;

	if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &bytes) != 0)
		error = errno;
	if (!error && (!say(l, 0, 0) || !watch(l->net, l->fd, l, EPOLLIN, EPOLL_CTL_MOD)))
		error = EIO;
	l->asked = true;
	if (error)
		broken(l, error);
}

/* The whole word of the other side has come. */
static void heard(struct ucx_link *l)
{
	struct door_word w;

	memcpy(&w, l->word, sizeof w);
	if (w.magic != UCX_MAGIC || w.version != DOOR_VERSION || w.port > UINT16_MAX) {
		log_event(l->net->cfg.log, LOG_NET, LOG_WARN,
			  "not an engine over UCX of this version", "peer=%s", l->link.peer);
		ucx_link_break(l, ST_PROTOCOL);
		return;
	}
	if (l->state == UCX_ACCEPTING) {
		if (!say(l, l->token, l->net->ucx_port))
			ucx_link_break(l, ST_CONNECTION);
		return;
	}
	l->token = w.token;
	ucx_link_dial(l, (uint16_t)w.port);
}

static void readable(struct ucx_link *l)
{
	ssize_t got = recv(l->fd, l->word + l->word_bytes, sizeof l->word - l->word_bytes, 0);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		broken(l, got < 0 ? errno : 0);
		return;
	}
	l->word_bytes += (uint32_t)got;
	if (l->word_bytes == sizeof l->word)
		heard(l);
}

static int accept_guests(struct ucx_net *n)
{
	int done = 0;

	for (;; done++) {
		struct sockaddr_storage from;
		socklen_t bytes = sizeof from;
		int fd = accept4(n->door_fd, (struct sockaddr *)&from, &bytes,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);
		char peer[NET_ADDRESS_MAX];
		struct ucx_link *l;

		if (fd < 0)
			return done;
		if (n->waiting >= UCX_GUESTS_MAX) { /* it dials again */
			close(fd);
			continue;
		}
		net_address_format(&from, peer);
		l = ucx_link_new(n, peer, UCX_ACCEPTING);
		l->fd = fd;
		l->token = ++n->token;
		if (!watch(n, fd, l, EPOLLIN, EPOLL_CTL_ADD))
			ucx_link_close(l);
	}
}

/* Who was let in with that token. The lifeline is the caller's then. */
bool ucx_door_admit(struct ucx_link *caller, uint32_t token)
{
	struct ucx_net *n = caller->net;

	LIST_FOREACH(it, &n->links) {
		struct ucx_link *guest = CONTAINER_OF(it, struct ucx_link, all);

		if (guest->state != UCX_ACCEPTING || guest->fd < 0 || guest->ep ||
		    guest->token != token || guest->word_bytes != sizeof guest->word)
			continue;
		caller->fd = guest->fd;
		caller->word_bytes = guest->word_bytes;
		memcpy(caller->link.peer, guest->link.peer, sizeof caller->link.peer);
		guest->fd = -1;
		ucx_link_close(guest);
		return watch(n, caller->fd, caller, EPOLLIN, EPOLL_CTL_MOD);
	}
	return false;
}

/* Not, if its answer came only while this turn was looking at others. */
static bool hung_up(const struct ucx_link *l)
{
	char byte;

	return recv(l->fd, &byte, 1, MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EINTR);
}

static bool is_over(const struct ucx_link *l)
{
	return l->fd < 0 || l->state == UCX_CLOSED || l->state == UCX_BROKEN;
}

/* A lifeline says that it ends, and nothing else. */
static bool is_lifeline(const struct ucx_link *l)
{
	return l->word_bytes == sizeof l->word;
}

int ucx_door_progress(struct ucx_net *n)
{
	struct epoll_event events[EVENTS];
	int count = epoll_wait(n->door_epoll_fd, events, EVENTS, 0), done = 0, ended = 0;

	for (int i = 0; i < count; i++) {
		struct ucx_link *l = events[i].data.ptr;

		if (!l) {
			done += accept_guests(n);
			continue;
		}
		if (is_over(l) || is_lifeline(l)) {
			ended++;
			continue;
		}
		if (l->state == UCX_DIALLING && !l->asked)
			dialled(l);
		else
			readable(l);
		done++;
	}
	if (!ended)
		return done;
	/* What was sent before the end is here by now. */
	done += ucx_worker_progress(n);
	for (int i = 0; i < count; i++) {
		struct ucx_link *l = events[i].data.ptr;

		if (l && !is_over(l) && is_lifeline(l) &&
		    ((events[i].events & (EPOLLHUP | EPOLLERR)) || hung_up(l)))
			broken(l, 0);
	}
	return done + ended;
}
