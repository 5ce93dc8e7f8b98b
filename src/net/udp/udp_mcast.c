/*
 * udp_mcast.c - datagrams to a group by UDP multicast (net/udp). See mcast.h.
 */
#include <errno.h>
#include <net/if.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/list.h"
#include "net/address.h"
#include "net/mcast.h"

#define BATCH 64                    /* datagrams of one progress */
#define BUFFER_BYTES (4 << 20)      /* asked for; the system gives what net.core.rmem_max allows */

struct udp_mcast {
	struct mcast mcast;
	struct mcast_config cfg;
	int in, out;
	struct sockaddr_storage group;
	socklen_t group_bytes;
	uint8_t data[MCAST_DATAGRAM_MAX + 1]; /* one more, to see what is too long */
};

static struct udp_mcast *udp_of(struct mcast *m)
{
	return CONTAINER_OF(m, struct udp_mcast, mcast);
}

static enum status resolve(const char *address, bool group, struct sockaddr_storage *out, socklen_t *bytes_out,
			   struct error *err)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = group ? AI_NUMERICHOST : 0};
	char host[NET_ADDRESS_MAX], port[8];
	struct addrinfo *list;

	if (!net_address_split(address, host, port))
		return error_set(err, ST_BAD_PARAMETER, "\"%s\" is not ADDRESS:PORT", address);
	int rc = getaddrinfo(host, port, &hints, &list);

	if (rc != 0)
		return error_set(err, ST_BAD_PARAMETER, "%s: %s", address, gai_strerror(rc));
	memcpy(out, list->ai_addr, list->ai_addrlen);
	*bytes_out = list->ai_addrlen;
	freeaddrinfo(list);
	return ST_OK;
}

static bool is_multicast(const struct sockaddr_storage *sa)
{
	if (sa->ss_family == AF_INET)
		return IN_MULTICAST(ntohl(((const struct sockaddr_in *)sa)->sin_addr.s_addr));
	return sa->ss_family == AF_INET6 && IN6_IS_ADDR_MULTICAST(&((const struct sockaddr_in6 *)sa)->sin6_addr);
}

/* The number of the interface that has this IPv6 address; 0: none. */
static unsigned interface_of(const struct sockaddr_in6 *local)
{
	struct ifaddrs *list;
	unsigned found = 0;

	if (getifaddrs(&list) != 0)
		return 0;
	for (const struct ifaddrs *i = list; i && !found; i = i->ifa_next)
		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET6 &&
		    memcmp(&((const struct sockaddr_in6 *)i->ifa_addr)->sin6_addr, &local->sin6_addr,
			   sizeof local->sin6_addr) == 0)
			found = if_nametoindex(i->ifa_name);
	freeifaddrs(list);
	return found;
}

#define SET(fd, level, name, value) (setsockopt(fd, level, name, &(value), sizeof(value)) == 0)

static bool join4(struct udp_mcast *u, const struct sockaddr_in *local)
{
	const struct ip_mreqn m = {.imr_multiaddr = ((const struct sockaddr_in *)&u->group)->sin_addr,
				   .imr_address = local->sin_addr};
	const int one = 1, zero = 0;

	return SET(u->in, IPPROTO_IP, IP_MULTICAST_ALL, zero) && SET(u->in, IPPROTO_IP, IP_ADD_MEMBERSHIP, m) &&
	       SET(u->out, IPPROTO_IP, IP_MULTICAST_IF, m) && SET(u->out, IPPROTO_IP, IP_MULTICAST_LOOP, one) &&
	       SET(u->out, IPPROTO_IP, IP_MULTICAST_TTL, one);
}

static bool join6(struct udp_mcast *u, const struct sockaddr_in6 *local)
{
	const int one = 1, number = (int)interface_of(local);
	const struct ipv6_mreq m = {.ipv6mr_multiaddr = ((const struct sockaddr_in6 *)&u->group)->sin6_addr,
				    .ipv6mr_interface = (unsigned)number};

	return SET(u->in, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, m) && SET(u->out, IPPROTO_IPV6, IPV6_MULTICAST_IF, number) &&
	       SET(u->out, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, one) && SET(u->out, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, one);
}

static bool sockets_open(struct udp_mcast *u, const struct sockaddr_storage *local, socklen_t local_bytes)
{
	const int one = 1, buffer = BUFFER_BYTES, type = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
	struct sockaddr_storage from = *local;

	u->in = socket(u->group.ss_family, type, 0);
	u->out = socket(u->group.ss_family, type, 0);
	if (u->in < 0 || u->out < 0)
		return false;
	/* several engines of one machine hear the group; a smaller buffer than asked for only loses more */
	(void)SET(u->in, SOL_SOCKET, SO_RCVBUF, buffer);
	(void)SET(u->out, SOL_SOCKET, SO_SNDBUF, buffer);
	net_address_set_port(&from, 0);
	return SET(u->in, SOL_SOCKET, SO_REUSEADDR, one) &&
	       bind(u->in, (const struct sockaddr *)&u->group, u->group_bytes) == 0 &&
	       bind(u->out, (const struct sockaddr *)&from, local_bytes) == 0 &&
	       (u->group.ss_family == AF_INET ? join4(u, (const struct sockaddr_in *)local)
					      : join6(u, (const struct sockaddr_in6 *)local));
}

static void udp_close(struct mcast *m)
{
	struct udp_mcast *u = udp_of(m);

	if (u->in >= 0)
		close(u->in);
	if (u->out >= 0)
		close(u->out);
	MEM_FREE(u->cfg.mem, u);
}

static enum status udp_open(const struct mcast_config *cfg, struct mcast **mcast_out, struct error *err)
{
	struct sockaddr_storage local;
	socklen_t local_bytes;
	struct udp_mcast *u = MEM_NEW(cfg->mem, struct udp_mcast);
	enum status st;

	u->mcast.ops = &mcast_ops_udp;
	u->cfg = *cfg;
	u->in = u->out = -1;
	st = resolve(cfg->group, true, &u->group, &u->group_bytes, err);
	if (st == ST_OK && (!is_multicast(&u->group) || !net_address_port(&u->group))) {
		st = error_set(err, ST_BAD_PARAMETER, "%s is not a multicast group and port", cfg->group);
		error_hint(err, "an address of your site's own is 239.0.0.0 to 239.255.255.255, as 239.1.2.3:7600");
	}
	if (st == ST_OK)
		st = resolve(cfg->local, false, &local, &local_bytes, err);
	if (st == ST_OK && local.ss_family != u->group.ss_family)
		st = error_set(err, ST_BAD_PARAMETER, "the group %s and the engine's address %s are not of one family",
			       cfg->group, cfg->local);
	if (st == ST_OK && !sockets_open(u, &local, local_bytes))
		st = error_set(err, ST_SYSTEM, "cannot use the multicast group %s from %s: %s", cfg->group, cfg->local,
			       strerror(errno));
	if (st != ST_OK) {
		udp_close(&u->mcast);
		return st;
	}
	*mcast_out = &u->mcast;
	return ST_OK;
}

static bool udp_send(struct mcast *m, const void *data, size_t bytes)
{
	const struct udp_mcast *u = udp_of(m);

	ASSERT_OP(bytes, <=, MCAST_DATAGRAM_MAX);
	return sendto(u->out, data, bytes, MSG_NOSIGNAL, (const struct sockaddr *)&u->group, u->group_bytes) ==
	       (ssize_t)bytes;
}

static int udp_progress(struct mcast *m)
{
	struct udp_mcast *u = udp_of(m);

	for (int i = 0; i < BATCH; i++) {
		ssize_t n = recv(u->in, u->data, sizeof u->data, 0);

		if (n < 0)
			return i;
		if (n > 0 && n <= MCAST_DATAGRAM_MAX)
			u->cfg.datagram(u->cfg.ctx, u->data, (size_t)n);
	}
	return BATCH;
}

static int udp_wait_fd(struct mcast *m)
{
	return udp_of(m)->in;
}

const struct mcast_ops mcast_ops_udp = {
	.name = "udp",
	.open = udp_open,
	.close = udp_close,
	.send = udp_send,
	.progress = udp_progress,
	.wait_fd = udp_wait_fd,
};
