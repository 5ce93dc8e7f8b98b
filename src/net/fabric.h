/*
 * fabric.h - the fabrics that --fabric names, and what each can do (net).
 *
 * The one table of what differs between libraries and their providers, by meaning. A back end reads its
 * own line; nothing above asks which fabric it is on.
 */
#ifndef VALENCE_NET_FABRIC_H
#define VALENCE_NET_FABRIC_H

#include "net/bare.h"
#include "net/net.h"

/* When a send is done, as the library tells it. No more may be concluded: what has arrived says who got it. */
enum net_done {
	NET_DONE_TAKEN,   /* the system of this machine has taken it over */
	NET_DONE_ARRIVED, /* the peer's adapter has it */
};

struct net_caps {
	uint32_t message_max;   /* bytes of one operation: a link's stream is cut in pieces of at most that */
	uint32_t slice_max;     /* bytes of one that has nothing but data of a long message (pieces.h); 0: there are none */
	uint32_t in_flight_max; /* operations of a link that the library has at a time: the rest waits with us */
	uint32_t death_us;      /* the end of a peer's process is told within this (a free machine); 0: is not told */
	uint32_t silence_s;     /* a peer that fell silent (power, cable) is told after about this; 0: never */
	enum net_done done;
	bool source_address;    /* a dial must name the local address */
	bool device;            /* it wants an RDMA device; else any address of the machine will do */
	bool remote_read;       /* net_ops.read() is there, and the hardware's */
	bool alone;             /* a second transport in the same process may end it */
};

struct net_fabric {
	const char *name;          /* "ofi:tcp" */
	const struct net_ops *ops; /* NULL: not in this build */
	const struct net_bare_ops *bare; /* its library alone, to measure against */
	const char *provider;      /* what net_config.provider is to be */
	const char *without;       /* the library that the build lacks then */
	const char *package;       /* the Debian package that has it */
	struct net_caps caps;
};

/* The first one of this build is the default. */
const struct net_fabric *net_fabric_default(void);
const struct net_fabric *net_fabric_find(const char *name); /* NULL: no such fabric */
/* The line of a back end's provider; "" or NULL: its first. NULL: no such provider. */
const struct net_fabric *net_fabric_of(const char *backend, const char *provider);
/* All of them: at = 0, 1, ... until NULL. */
const struct net_fabric *net_fabric_at(uint32_t at);

#endif
