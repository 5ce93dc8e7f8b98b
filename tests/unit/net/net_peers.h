/*
 * net_peers.h - transports that tests talk to, over every fabric of this machine (tests).
 *
 * A *peer* is a transport with what happened to it. What both sides of a test share is in `world`: the
 * memory, the time and, simulated, the network.
 */
#ifndef VALENCE_TESTS_NET_PEERS_H
#define VALENCE_TESTS_NET_PEERS_H

#include <CUnit/CUnit.h>
#include <unistd.h>

#include "net/fabric.h"
#include "net/local/local_net.h"
#include "net/net.h"
#include "net/sim/sim_net.h"

#define LINKS_MAX 8

struct backend {
	const char *name;
	const struct net_ops *ops;
	const struct net_fabric *fabric; /* NULL: simulated */
	bool local;                      /* peers are of one process, to which others come by the fabric */
	char host[64];                   /* to listen on */
};

/* Those of this machine, the simulated one first; NULL after the last. Says once which fabrics it lacks, and why. */
const struct backend *backend_at(uint32_t at);

extern struct world {
	const struct backend *b;
	struct mem mem;
	struct logger log;
	uint64_t sim_us;
	struct sim_net *sn;
	struct local_port port;
} world;

struct peer {
	struct net *net;
	struct sim_host *host;
	char address[NET_ADDRESS_MAX];
	struct net_link *links[LINKS_MAX];
	uint32_t link_count, ups, accepts, downs, drains;
	enum status why;
	uint64_t down_us;
	bool echo;               /* sends back what it gets */
	uint64_t messages, bytes, expect, errors; /* errors: out of order or damaged */
	uint64_t reads, read_bytes;
	const uint8_t *memory;   /* of the peer, that is read: a token is an offset in it */
};

uint64_t now_us(void *ctx);

/* Messages that can be checked: number, length, and bytes that follow from both. */
struct net_msg *body_new(uint32_t bytes, uint64_t number);

/* CUnit's assertions abort outside a case, and a victim is none: it just ends. */
extern bool in_victim;
#define CHECK(e)                                                                                  \
	do {                                                                                      \
		bool ok_ = (e);                                                                   \
		if (in_victim && !ok_)                                                            \
			_exit(1);                                                                 \
		if (!in_victim)                                                                   \
			CU_ASSERT(ok_);                                                           \
	} while (0)

void world_open(const struct backend *b);
void world_close(void); /* asserts that every message's reference was dropped, once */
/* Listens on any port when it is told to. */
void peer_open(struct peer *p, bool listens);
void peer_close(struct peer *p);
/* a dials b. */
struct net_link *peers_connect(struct peer *a, struct peer *b);
/* One turn of all; sleeps when nothing is to be done. */
void peers_turn(struct peer *const *peers, uint32_t count);
void for_each_backend(void (*f)(void));

#define TURN(...)                                                                                 \
	do {                                                                                      \
		struct peer *const peers_[] = {__VA_ARGS__};                                      \
		peers_turn(peers_, sizeof peers_ / sizeof peers_[0]);                             \
	} while (0)
#define UNTIL(condition, limit_us, ...)                                                           \
	do {                                                                                      \
		uint64_t end_ = now_us(NULL) + (limit_us);                                        \
		while (!(condition) && now_us(NULL) < end_)                                       \
			TURN(__VA_ARGS__);                                                        \
	} while (0)

#endif
