/*
 * local_int.h - the parts of the in-process links (net/local, private).
 *
 * Two engines, each in its thread, share a *channel*: for each side a ring of messages that this side fills and the
 * other one empties. The filled slots are those from the other side's tail to this side's head; both only grow. A slot
 * is the sender's again, with its message, when the tail has passed it.
 *
 *      sender's done   receiver's tail   sender's head (published)   sender's next
 *          |-- drop these --|------- to be read -------|-- not published yet --|
 *
 * A *bell* wakes an engine: one word says whether it is awake, asleep, or has something to look for. Only who finds it
 * asleep writes to its descriptor, and that is exactly once for each time that it sleeps.
 */
#ifndef VALENCE_NET_LOCAL_LOCAL_INT_H
#define VALENCE_NET_LOCAL_LOCAL_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "net/local/local_net.h"

#define LOCAL_RING 1024u       /* messages that a side may have published; a power of two */
#define LOCAL_DIAL_US 2000000u
#define LOCAL_LINE 64u         /* of the processor's cache: what two threads write is not on the same one */

_Static_assert((LOCAL_RING & (LOCAL_RING - 1)) == 0, "positions wrap");

/* -- bells ---------------------------------------------------------------------------------------------------- */

enum bell_state { BELL_AWAKE, BELL_RUNG, BELL_ASLEEP };

struct bell {
	struct local_hub *hub;
	_Atomic uint32_t refs;
	int fd;                 /* readable when it was rung asleep */
	uint8_t pad[LOCAL_LINE];
	_Atomic uint32_t state; /* enum bell_state */
	uint8_t pad_end[LOCAL_LINE];
};

void bell_ring(struct bell *b);

/* -- channels --------------------------------------------------------------------------------------------------- */

enum slot_kind { SLOT_MESSAGE, SLOT_READ, SLOT_READ_DONE };
struct slot { struct net_msg *msg; uint64_t kind; };

/* SLOT_READ; SLOT_READ_DONE is the token and what was read. */
struct slot_read { uint64_t address, key, token, bytes; };

enum side_state { SIDE_NONE, SIDE_UP, SIDE_GONE };

struct side {
	/* written by its own thread */
	_Atomic uint32_t head;     /* published slots of out */
	_Atomic uint32_t state;    /* enum side_state */
	uint8_t pad_head[LOCAL_LINE];
	_Atomic uint32_t tail;     /* slots of the other side's out that it is done with */
	_Atomic uint32_t reading;  /* it looks at the other side's messages */
	uint8_t pad_tail[LOCAL_LINE];
	_Atomic uint32_t hungry;   /* it wants to know when its slots are taken; the other one takes that back */
	struct bell *bell;
	uint8_t pad_end[LOCAL_LINE];
	struct slot out[LOCAL_RING];
};

/* sides[0] dialled. */
struct channel {
	struct side sides[2];
	struct local_hub *hub;
	_Atomic uint32_t refs;          /* of the ends, and of the inbox */
	struct list l;                  /* in the inbox of who is dialled; under the hub's lock */
	char from[NET_ADDRESS_MAX];     /* the dialler's address */
};

/* -- the hub ---------------------------------------------------------------------------------------------------- */

struct local_hub {
	pthread_mutex_t lock;   /* of everything here, and of every inbox */
	struct mem *parent, mem;
	struct list nets;       /* that listen */
};

struct bell *bell_new(struct local_hub *hub, struct error *err);
void bell_unref(struct bell *b);
void channel_unref(struct channel *c);

/* -- one engine's transport --------------------------------------------------------------------------------------- */

struct local_region {
	struct net_region region;
	struct net_region *fabric;  /* the same of the fabric's; NULL: it has none */
	const uint8_t *base;
	size_t bytes;
	struct list all;
};

struct local_net {
	struct net net;
	struct net_config cfg;
	struct local_hub *hub;
	const struct net_ops *fabric;
	struct net *under;          /* the fabric's */
	int epoll_fd;               /* of both */
	struct bell *bell;
	bool in_progress, slept;    /* slept: told the bell so since the last progress */
	uint64_t owed;              /* writes to the bell's descriptor that were seen coming, and not read yet */
	struct list links, closed, regions;
	uint32_t dialling, broken;
	uint64_t own_sends, keys;
	/* under the hub's lock */
	struct list node;           /* in hub->nets, while it listens */
	char address[NET_ADDRESS_MAX];
	struct list inbox;          /* channels that were dialled to here */
	_Atomic bool knocked;       /* there is one */
};

/* Read: a link that is dialled may have messages in its ring already. */
enum local_state { LOCAL_DIALLING, LOCAL_UP, LOCAL_BROKEN, LOCAL_CLOSED };

struct local_link {
	struct net_link link;
	struct local_net *net;
	struct channel *channel;
	uint8_t side;
	enum local_state state;
	enum status why;
	struct list all;            /* net->links or net->closed */
	uint64_t deadline_us;       /* of the dial */
	uint32_t next, head, done, tail; /* next slot to fill; published; dropped; the other side's that were read */
	struct list waiting;        /* struct waiting: what did not fit */
	bool was_over, tell_drained;
	uint32_t reads;             /* under way */
};

/* local_link.c */
struct local_link *local_link_new(struct local_net *n, struct channel *c, uint8_t side, const char *peer); /* takes a reference of c */
void local_link_send(struct net_link *link, struct net_msg *msg);
bool local_link_read(struct local_link *l, uint64_t address, uint64_t key, uint32_t bytes, uint64_t token);
int local_link_take(struct local_link *l);      /* what the other side did */
bool local_link_settle(struct local_link *l);   /* what the other side took; true: any of it */
int local_link_publish(struct local_link *l);
bool local_link_hungry(struct local_link *l);   /* before sleeping. False: not now */
void local_link_close(struct local_link *l);    /* to be reaped */
bool local_link_reap(struct local_link *l);     /* false: the other thread still reads */

static inline struct local_net *local_net_of(struct net *net) { return CONTAINER_OF(net, struct local_net, net); }
static inline struct local_link *local_link_of(struct net_link *link) { return CONTAINER_OF(link, struct local_link, link); }

#endif
