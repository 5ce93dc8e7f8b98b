/*
 * ofi_door.c - the listening socket of provider tcp, and who knocks on it without a word (net/ofi).
 *
 * What libfabric 1.17.0 does with a connection before its request has come (prov/tcp, measured):
 *   - it keeps it for ever, without a bound: each silent one costs a descriptor;
 *   - it reads the request by recv() on a socket that blocks, so that a head that announces more than
 *     comes stops the whole process;
 *   - it takes a short read for "try again" when errno happens to be EAGAIN from long before: the
 *     socket then stays, readable for ever, and the loop spins.
 * The library gives no way to these sockets, but they are this process's descriptors:
 *   - the listener gets a receive time limit below zero, which accepted sockets inherit: Linux takes
 *     that as "never wait". The library makes a socket non-blocking when its request has come, so a
 *     socket of our port that blocks is a stranger's;
 *   - TCP_DEFER_ACCEPT leaves silent ones to the kernel for a while;
 *   - strangers are looked for, and shut down when they are too old or too many: the library then
 *     closes them;
 *   - errno is cleared before the library looks at its events (ofi_net.c).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/ofi/ofi_int.h"

#define DEFER_S 1
#define ROUND_US 500000u     /* between looks at all descriptors */
#define PART_US 20000u       /* between the parts of one */
#define PART_SOCKETS 512u    /* so that many SQL sessions cost nobody a pause */
#define KNOCK_US 1000u
#define STRANGER_US 2000000u
#define STRANGERS_MAX 256

static uint16_t port_of(int fd)
{
	struct sockaddr_storage ss;
	socklen_t bytes = sizeof ss;

	if (getsockname(fd, (struct sockaddr *)&ss, &bytes) != 0)
		return 0;
	if (ss.ss_family == AF_INET)
		return ((const struct sockaddr_in *)&ss)->sin_port;
	return ss.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)&ss)->sin6_port : 0;
}

static bool is_listener(int fd)
{
	int on = 0;
	socklen_t bytes = sizeof on;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &bytes) == 0 && on;
}

static bool take_listener(struct ofi_net *n, int fd, uint16_t port)
{
	struct timeval never_wait = {-1, 0};
	struct epoll_event ev = {.events = EPOLLIN};
	int defer = DEFER_S;

	if (port_of(fd) != port || !is_listener(fd))
		return false;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &never_wait, sizeof never_wait);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer, sizeof defer);
	return epoll_ctl(n->door.epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0;
}

/* The next descriptor of this process; -1: that was all. */
static int next_fd(struct ofi_net *n)
{
	struct dirent *e;

	while ((e = readdir(n->door.fds)) != NULL)
		if (e->d_name[0] != '.')
			return (int)strtol(e->d_name, NULL, 10);
	rewinddir(n->door.fds);
	return -1;
}

void ofi_door_open(struct ofi_net *n)
{
	struct sockaddr_storage ss;
	size_t bytes = sizeof ss;
	uint16_t port;
	int fd;

	if (strcmp(n->what->provider, "tcp") != 0 || fi_getname(&n->pep->fid, &ss, &bytes) != 0)
		return;
	port = ss.ss_family == AF_INET ? ((const struct sockaddr_in *)&ss)->sin_port
				       : ((const struct sockaddr_in6 *)&ss)->sin6_port;
	n->door.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	n->door.fds = opendir("/proc/self/fd");
	if (n->door.epoll_fd >= 0 && n->door.fds)
		while ((fd = next_fd(n)) >= 0)
			if (take_listener(n, fd, port))
				n->door.port = port;
	if (!n->door.port)
		log_event(n->cfg.log, LOG_NET, LOG_WARN, "listener not found",
			  "effect=\"silent connections to the fabric port are not bounded\"");
}

void ofi_door_close(struct ofi_net *n)
{
	if (n->door.epoll_fd > 0)
		close(n->door.epoll_fd);
	if (n->door.fds)
		closedir(n->door.fds);
	VEC_FINI(n->cfg.mem, &n->door.seen);
}

/* Before the library takes those who wait: is there anybody? A busy engine asks now and then only. */
void ofi_door_knock(struct ofi_net *n)
{
	struct epoll_event ev;
	uint64_t now;

	if (!n->door.port || n->door.knock)
		return;
	now = clock_now_us(&n->cfg.clock);
	if (now < n->door.next_knock_us)
		return;
	n->door.next_knock_us = now + KNOCK_US;
	n->door.knock = epoll_wait(n->door.epoll_fd, &ev, 1, 0) > 0;
}

/* One that blocks is a stranger's. It is known by the kernel's number for it, for descriptors are used again. */
static void look_at(struct ofi_net *n, int fd, uint64_t now)
{
	struct ofi_seen s = {.since_us = now, .fd = fd, .round = n->door.round};
	socklen_t bytes = sizeof s.cookie;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || (flags & O_NONBLOCK) || port_of(fd) != n->door.port || is_listener(fd) ||
	    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &s.cookie, &bytes) != 0)
		return;
	for (size_t i = 0; i < n->door.seen.count; i++)
		if (n->door.seen.at[i].cookie == s.cookie) {
			n->door.seen.at[i].round = s.round;
			return;
		}
	VEC_PUSH(n->cfg.mem, &n->door.seen, s);
}

/*
 * Is the descriptor still that socket's? The library alone closes it, in this very thread, but then another thread of the process
 * may have been given its number.
 */
static bool is_same(const struct ofi_seen *s)
{
	uint64_t cookie;
	socklen_t bytes = sizeof cookie;

	return getsockopt(s->fd, SOL_SOCKET, SO_COOKIE, &cookie, &bytes) == 0 && cookie == s->cookie;
}

/* Those that are in the list longest come first. */
static void close_some(struct ofi_net *n, uint64_t now)
{
	size_t kept = 0, count;

	for (size_t i = 0; i < n->door.seen.count; i++)
		if (n->door.seen.at[i].round == n->door.round)
			n->door.seen.at[kept++] = n->door.seen.at[i];
	count = n->door.seen.count = kept;
	for (size_t i = 0; i < count; i++) {
		const struct ofi_seen *s = &n->door.seen.at[i];

		if (now - s->since_us < STRANGER_US && count - i <= STRANGERS_MAX)
			break;
		if (!is_same(s))
			continue;
		shutdown(s->fd, SHUT_RDWR);
		n->door.closed++;
	}
}

static void tell(struct ofi_net *n, uint64_t now)
{
	/* A request of an engine in the same round hides it; there is no way to know more of what the library drops. */
	if (n->door.knock && !n->door.requests && !n->door.seen.count && n->cfg.events->turned_away)
		n->cfg.events->turned_away(n->cfg.ctx, "unknown", ST_PROTOCOL,
					   "what came to the fabric port is not an engine's request");
	n->door.knock = false;
	n->door.requests = 0;
	if (!n->door.closed || now < n->door.next_line_us)
		return;
	n->door.next_line_us = now + 10000000;
	log_event(n->cfg.log, LOG_NET, LOG_WARN, "silent connections closed",
		  "count=%llu reason=\"they asked for nothing within %u s, or were too many\"",
		  (unsigned long long)n->door.closed, STRANGER_US / 1000000);
	n->door.closed = 0;
}

void ofi_door_turn(struct ofi_net *n)
{
	uint64_t now;
	int fd = -1;

	if (!n->door.port)
		return;
	now = clock_now_us(&n->cfg.clock);
	/* each turn the library accepts one or few */
	if (now < n->door.next_look_us && ++n->door.turns < STRANGERS_MAX)
		return;
	n->door.turns = 0;
	for (uint32_t i = 0; i < PART_SOCKETS && (fd = next_fd(n)) >= 0; i++)
		look_at(n, fd, now);
	n->door.next_look_us = now + (fd >= 0 ? PART_US : ROUND_US);
	if (fd >= 0)
		return;
	close_some(n, now);
	n->door.round++;
	tell(n, now);
}
