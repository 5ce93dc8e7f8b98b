/*
 * bench_tcp.c - a plain TCP connection, for `valence bench fabric` (cli). See net/bare.h.
 *
 * Each message is its length in 4 bytes and the data.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/list.h"
#include "cli/bench_fabric.h"
#include "net/address.h"

#define READ_BYTES (256u << 10)

struct tcp {
	struct net_bare bare;
	struct net_bare_config cfg;
	int listener, fd;
	uint8_t *out, *in;
	uint32_t out_bytes, out_sent; /* of the message that is not all gone */
	uint32_t in_have;             /* of a head, in in[] */
	uint64_t in_left;             /* of a message's data */
};

static struct tcp *tcp_of(struct net_bare *b)
{
	return CONTAINER_OF(b, struct tcp, bare);
}

static void tcp_close(struct net_bare *b)
{
	struct tcp *t = tcp_of(b);

	if (t->listener >= 0)
		close(t->listener);
	if (t->fd >= 0)
		close(t->fd);
	mem_free(t->cfg.mem, t->out, t->cfg.message_bytes + 4);
	mem_free(t->cfg.mem, t->in, READ_BYTES);
	MEM_FREE(t->cfg.mem, t);
}

static enum status lookup(const char *host, const char *port, struct addrinfo **out,
			  struct error *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	int rc = getaddrinfo(host, port, &hints, out);

	return rc == 0 ? ST_OK : error_set(err, ST_BAD_PARAMETER, "%s: %s", host, gai_strerror(rc));
}

static enum status tcp_open(const struct net_bare_config *cfg, char address_out[NET_ADDRESS_MAX],
			    struct net_bare **out, struct error *err)
{
	struct tcp *t = MEM_NEW(cfg->mem, struct tcp);
	struct sockaddr_storage ss;
	socklen_t bytes = sizeof ss;
	struct addrinfo *list = NULL;
	enum status st = lookup(cfg->host, "0", &list, err);

	t->bare.ops = &bench_tcp;
	t->cfg = *cfg;
	t->fd = t->listener = -1;
	t->out = mem_alloc(cfg->mem, cfg->message_bytes + 4);
	t->in = mem_alloc(cfg->mem, READ_BYTES);
	memset(t->out, NET_BARE_FILL, cfg->message_bytes + 4);
	if (st == ST_OK) {
		t->listener =
			socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (t->listener < 0 || bind(t->listener, list->ai_addr, list->ai_addrlen) != 0 ||
		    listen(t->listener, 1) != 0 ||
		    getsockname(t->listener, (struct sockaddr *)&ss, &bytes) != 0)
			st = error_set(err, ST_SYSTEM, "cannot listen on %s: %s", cfg->host,
				       strerror(errno));
	}
	if (list)
		freeaddrinfo(list);
	if (st != ST_OK) {
		tcp_close(&t->bare);
		return st;
	}
	net_address_format(&ss, address_out);
	*out = &t->bare;
	return ST_OK;
}

static void connected(struct tcp *t, int fd)
{
	int one = 1;

	t->fd = fd;
	t->bare.up = setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0;
	t->bare.failed = !t->bare.up;
}

static enum status tcp_connect(struct net_bare *b, const char *address, struct error *err)
{
	char host[NET_ADDRESS_MAX], port[8];
	struct addrinfo *list = NULL;
	enum status st;
	int fd;

	if (!net_address_split(address, host, port))
		return error_set(err, ST_BAD_PARAMETER, "address \"%s\" is not host:port", address);
	st = lookup(host, port, &list, err);
	if (st != ST_OK)
		return st;
	fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, list->ai_addr, list->ai_addrlen) != 0)
		st = error_set(err, ST_CONNECTION, "cannot connect to %s: %s", address,
			       strerror(errno));
	else
		connected(tcp_of(b), fd);
	freeaddrinfo(list);
	return st;
}

/* True: nothing is left of the last message. */
static bool push(struct tcp *t)
{
	while (t->out_sent < t->out_bytes) {
		ssize_t n = send(t->fd, t->out + t->out_sent, t->out_bytes - t->out_sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			t->bare.failed = true;
		if (n < 0)
			return false;
		t->out_sent += (uint32_t)n;
	}
	return true;
}

static bool tcp_send(struct net_bare *b, uint32_t bytes)
{
	struct tcp *t = tcp_of(b);

	if (!push(t))
		return false;
	memcpy(t->out, &bytes, sizeof bytes);
	t->out_bytes = bytes + 4;
	t->out_sent = 0;
	(void)push(t);
	return true;
}

static void take(struct tcp *t, uint32_t bytes)
{
	uint32_t at = 0;

	while (at < bytes) {
		uint32_t head;

		if (t->in_left) {
			uint64_t n = t->in_left < bytes - at ? t->in_left : bytes - at;

			t->in_left -= n;
			at += (uint32_t)n;
			if (t->in_left == 0)
				net_bare_count(&t->bare);
			continue;
		}
		if (bytes - at < sizeof head)
			break;
		memcpy(&head, t->in + at, sizeof head);
		at += (uint32_t)sizeof head;
		t->in_left = head;
	}
	memmove(t->in, t->in + at, bytes - at);
	t->in_have = bytes - at;
}

static void tcp_progress(struct net_bare *b)
{
	struct tcp *t = tcp_of(b);
	ssize_t n;

	if (!b->up) {
		int fd = accept(t->listener, NULL, NULL);

		if (fd >= 0)
			connected(t, fd);
		return;
	}
	(void)push(t);
	n = recv(t->fd, t->in + t->in_have, READ_BYTES - t->in_have, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		b->failed = true;
	if (n > 0)
		take(t, t->in_have + (uint32_t)n);
}

const struct net_bare_ops bench_tcp = {
	.name = "TCP",
	.open = tcp_open,
	.connect = tcp_connect,
	.send = tcp_send,
	.progress = tcp_progress,
	.close = tcp_close,
};
