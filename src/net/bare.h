/*
 * bare.h - a library alone, in the plainest loop that it allows (net): what `valence bench fabric` holds our links against.
 *
 * One connection, messages of one process to one other, none of them looked at. Each back end has one of
 * these in its folder, since only that includes its library. Not for engines: a peer that dies may hang it.
 */
#ifndef VALENCE_NET_BARE_H
#define VALENCE_NET_BARE_H

#include "net/net.h"

struct net_bare_config {
	struct mem *mem;
	const char *provider;
	const char *host;       /* to be reached at */
	uint32_t message_bytes; /* the largest */
	bool plain_settings;    /* the library's own, where ours differ (ucx) */
	const struct net_ops *links; /* for our links behind the same operations */
	void *backend;               /* and their net_config.backend */
};

struct net_bare {
	const struct net_bare_ops *ops;
	uint64_t received;   /* messages so far */
	uint64_t echoes;     /* so many of those to come are answered at once */
	uint32_t echo_bytes;
	bool up, failed;
};

struct net_bare_ops {
	const char *name; /* "libfabric" */
	/* Listens on any port of the host; who does not want that connects instead. */
	enum status (*open)(const struct net_bare_config *cfg, char address_out[NET_ADDRESS_MAX], struct net_bare **out,
			    struct error *err);
	enum status (*connect)(struct net_bare *b, const char *address, struct error *err);
	bool (*send)(struct net_bare *b, uint32_t bytes); /* false: not now */
	void (*progress)(struct net_bare *b);             /* counts what came; up when the connection is */
	void (*close)(struct net_bare *b);
};

/* For each message that came. */
static inline void net_bare_count(struct net_bare *b)
{
	b->received++;
	if (!b->echoes)
		return;
	b->echoes--;
	if (!b->ops->send(b, b->echo_bytes))
		b->failed = true; /* one at a time always finds room */
}

/*
 * What is sent is written once: memory that never was is one page of zeros, however long, and reading it costs nothing that
 * data costs.
 */
#define NET_BARE_FILL 0x5a

extern const struct net_bare_ops net_bare_ofi; /* src/net/ofi */
extern const struct net_bare_ops net_bare_ucx; /* src/net/ucx */

#endif
