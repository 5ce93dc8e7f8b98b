/*
 * mcast.h - datagrams to all engines of a cluster at once (net).
 *
 * Best effort: a datagram arrives once, twice, late, out of order or not at all, and whoever is on the network may send
 * one. The relay (net/relay/mcast.c) makes the log of it. Back ends: udp (UDP multicast) and sim. Single-threaded, no
 * blocking; the callback comes from progress only.
 */
#ifndef VALENCE_NET_MCAST_H
#define VALENCE_NET_MCAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"

/* With the headers of IPv6, UDP and a tunnel (VXLAN, WireGuard) it fits into an Ethernet frame of 1,500 bytes. */
#define MCAST_DATAGRAM_MAX 1372

struct mcast_config {
	struct mem *mem;
	struct logger *log;
	const char *group; /* "address:port" of a multicast group, IPv4 or "[v6]:port" */
	const char *local; /* "host:port" of this engine on the fabric: the network to use is the one of that host */
	void *backend;     /* sim: the simulated host */
	void (*datagram)(void *ctx, const void *data, size_t bytes); /* data lent until return */
	void *ctx;
};

struct mcast { const struct mcast_ops *ops; };

struct mcast_ops {
	const char *name;
	/* Errors: ST_BAD_PARAMETER group or local is no such address, ST_SYSTEM the system refuses. */
	enum status (*open)(const struct mcast_config *cfg, struct mcast **mcast_out, struct error *err);
	void (*close)(struct mcast *m);
	/* At most MCAST_DATAGRAM_MAX bytes. False: dropped here. */
	bool (*send)(struct mcast *m, const void *data, size_t bytes);
	int (*progress)(struct mcast *m); /* hands over what came, some at a time; how many */
	int (*wait_fd)(struct mcast *m);  /* level, readable; -1: none (sim) */
};

extern const struct mcast_ops mcast_ops_udp; /* src/net/udp */
extern const struct mcast_ops mcast_ops_sim; /* src/net/sim */

#endif
