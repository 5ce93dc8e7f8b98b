/*
 * net.h - the transport: connected links that carry whole messages (net).
 *
 * One small operations table; back ends: ofi (libfabric message endpoints), ucx (UCX active messages), sim (the
 * simulator); local (net/local) puts links between engines of one process in front of one of them. fabric.h names those over a library and says what each can do.
 * Only a back end includes its library's headers. One transport per engine; callbacks come from
 * net_progress() only, never from inside another call.
 *
 * A link is ordered and reliable while it is up. Every message given to net_send() completes exactly
 * once: its reference is dropped when it was handed to the fabric or when the link died. After a link's
 * down callback nothing more comes from it and the pointer is dead. Messages up to NET_MESSAGE_MAX;
 * back ends cut them in pieces as their fabric needs.
 */
#ifndef VALENCE_NET_NET_H
#define VALENCE_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"

#define NET_MESSAGE_MAX (16u << 20)
#define NET_ADDRESS_MAX 128 /* bytes of "host:port" with its NUL */

/* A message to send: counted, so that one encoding goes to many links, and not changed once it is sent. One thread's. */
struct net_msg {
	struct mem *mem;
	uint32_t refs, bytes;
	uint8_t data[];
};
struct net_msg *net_msg_new(struct mem *mem, uint32_t bytes); /* one reference, the caller's; data not zeroed */
struct net_msg *net_msg_ref(struct net_msg *m);
void net_msg_unref(struct net_msg *m);

struct net_link {
	const struct net_ops *ops;
	struct net *net;
	void *user;                   /* the user's; NULL at first */
	char peer[NET_ADDRESS_MAX];   /* address dialled, or of the peer as far as known, for logs */
	bool accepted;                /* came in, or was dialled */
	const char *refused;          /* when it goes down with ST_AUTH: why */
	size_t backlog_bytes;         /* given to net_send and not yet handed to the fabric */
	uint64_t rx_bytes;            /* came in so far, pieces of unfinished messages included: a sign of life */
	/*
	 * The user's: a longer message breaks the link before memory is taken for it; 0: NET_MESSAGE_MAX. For peers that
	 * are not known yet.
	 */
	uint32_t rx_message_max;
};

struct net_events {
	void (*accepted)(void *ctx, struct net_link *link);       /* a peer dialled us; up at once */
	void (*up)(void *ctx, struct net_link *link);             /* our dial succeeded */
	/* a whole message; data lent until return */
	void (*message)(void *ctx, struct net_link *link, const void *data, size_t bytes);
	/*
	 * The link is dead: refused (no listener there: ST_CONNECTION_REFUSED), broken or closed by the peer
	 * (ST_CONNECTION), a dial timed out (ST_WAIT), or the secrets do not match (ST_AUTH: a back end that asks for
	 * a proof before it lets in, see net_config). Not called for links we closed ourselves.
	 */
	void (*down)(void *ctx, struct net_link *link, enum status why);
	void (*drained)(void *ctx, struct net_link *link); /* backlog fell under NET_BACKLOG_LOW after being over */
	/* Somebody dialled us and was not let in; no link of it was shown. May be NULL. */
	void (*turned_away)(void *ctx, const char *peer, enum status why, const char *reason);
	/* What net_ops.read() asked for; data lent until return. May be NULL. */
	void (*read)(void *ctx, struct net_link *link, uint64_t token, const void *data, size_t bytes);
};
#define NET_BACKLOG_LOW (256u << 10)

/* Memory that peers may read without this engine's doing anything: a part of it is at address + offset under the same key. */
struct net_region { uint64_t address, key; };
#define NET_READ_MAX (64u << 10)   /* bytes of one read */
#define NET_READS_MAX 64           /* of a link at a time */

struct net_config {
	struct mem *mem;
	struct logger *log;
	struct clock clock;
	const struct net_events *events;
	void *ctx;               /* for events */
	const char *provider;    /* "tcp", "verbs", … as the back end understands it */
	void *backend;           /* sim: the simulated network; local: struct local_port; else NULL */
	/*
	 * What both ends of a link know; lent, NULL: none. A back end whose library cannot bear strangers asks for a
	 * proof of it before a link exists; the others leave it to the relay, which asks in any case.
	 */
	const void *secret;
	size_t secret_bytes;
	struct entropy entropy;
};

struct net {
	const struct net_ops *ops;
	bool remote_read; /* reads of remote memory are the hardware's: worth more than what is pushed */
	uint64_t sends; /* how often something was handed to the fabric: a send takes all that waits on its link (S17) */
};

struct net_ops {
	const char *name; /* "ofi", "sim", "ucx" */
	enum status (*open)(const struct net_config *cfg, struct net **net_out, struct error *err);
	void (*close)(struct net *net); /* closes all links without callbacks */
	/* bound_out: the address with the port that was taken when "host:0" was asked. Port in use: clear error. */
	enum status (*listen)(struct net *net, const char *address, char bound_out[NET_ADDRESS_MAX],
			      struct error *err);
	/* Starts a dial; up or down follows, within about 2 s. Fails at once only for bad input. */
	enum status (*connect)(struct net *net, const char *address, struct net_link **link_out,
			       struct error *err);
	/* Takes one reference of msg. Never blocks; the backlog is the caller's to bound. A dialling link keeps it until up. */
	void (*send)(struct net_link *link, struct net_msg *msg);
	/* Abrupt: what is queued is dropped; no callback follows. Allowed inside callbacks, for any link but in its down. */
	void (*close_link)(struct net_link *link);
	/* Moves everything that is ready; calls events. Returns how many things happened. */
	int (*progress)(struct net *net);
	/* The loop sleeps on this descriptor (epoll, level) only when try_wait() said true just before; -1: none (sim) */
	int (*wait_fd)(struct net *net);
	bool (*try_wait)(struct net *net);
	/*
	 * Remote memory; all three are NULL where the fabric has none. Once something listens: expose() lets the peers of
	 * this transport's links read @bytes from @base on, until unexpose(). A peer that was told the key may do so as
	 * long as that; what it reads while the memory is written is anything. ST_NOMEM: not so much memory may be locked.
	 */
	enum status (*expose)(struct net *net, const void *base, size_t bytes, struct net_region **out);
	void (*unexpose)(struct net *net, struct net_region *region);
	/*
	 * Reads from the memory of the engine at the link's other end; events->read() follows, or the link goes down (which it
	 * also does when the memory may not be read), or somebody closes it: then nothing does. False: the link is not up,
	 * or has NET_READS_MAX under way.
	 */
	bool (*read)(struct net_link *link, uint64_t address, uint64_t key, uint32_t bytes, uint64_t token);
};

extern const struct net_ops net_ops_ofi; /* src/net/ofi; in a build with libfabric: go by fabric.h */
extern const struct net_ops net_ops_ucx; /* src/net/ucx; in a build with UCX: go by fabric.h */
extern const struct net_ops net_ops_sim; /* src/net/sim */
extern const struct net_ops net_ops_local; /* src/net/local */

static inline void net_send(struct net_link *link, struct net_msg *msg) { link->ops->send(link, msg); }

#endif
