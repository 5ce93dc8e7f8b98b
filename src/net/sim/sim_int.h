/*
 * sim_int.h - the parts of the simulated network (net/sim, private).
 *
 * A *conn* is one link with its two ends and two directions. Messages of a direction wait in its
 * backlog, then are in flight, then in the receiving host's ready list, until that host's progress
 * hands them over. A conn is counted: one reference per end that somebody still may name, per event
 * and per ready item.
 */
#ifndef VALENCE_NET_SIM_SIM_INT_H
#define VALENCE_NET_SIM_SIM_INT_H

#include "base/list.h"
#include "base/map.h"
#include "net/sim/sim_net.h"

#define SIM_DIAL_US 2000000u
#define SIM_SYN_RETRY_US 500000u
#define SIM_WINDOW_BYTES (1u << 20)
#define SIM_RETRANSMIT_US 200000u
#define SIM_RETRANSMIT_MAX_US 1600000u

enum end_state {
	END_NONE,     /* the acceptor's, before it accepted */
	END_DIALLING,
	END_UP,
	END_DEAD,     /* broken; its down callback is on the way */
	END_GONE,     /* nobody names it any more */
};

struct sim_end {
	struct net_link link;
	struct sim_conn *conn;
	struct sim_transport *transport; /* NULL unless DIALLING, UP, DEAD */
	struct sim_host *host;           /* NULL: an address where no host is */
	enum end_state state;
	bool was_over;                   /* backlog was over NET_BACKLOG_LOW */
	uint32_t reads;                  /* under way */
	struct list all;                 /* in the transport */
};

enum item_kind { ITEM_ACCEPT, ITEM_UP, ITEM_MESSAGE, ITEM_DOWN, ITEM_DRAINED, ITEM_READ, ITEM_READ_DONE };

/* Something on its way to an end. */
struct sim_item {
	struct list l;
	enum item_kind kind;
	struct sim_conn *conn; /* referenced while in a ready list */
	uint8_t to;            /* end */
	struct net_msg *msg;
	enum status why;
	uint64_t due_us;
	uint64_t address, key, token; /* of a read; msg is what it brings */
	uint32_t bytes;
};

struct sim_region { struct net_region region; struct list all; size_t bytes; };

/* dirs[i] leads from ends[i] to the other end. */
struct sim_dir {
	struct list backlog, flight;
	uint64_t flight_bytes; /* until the receiver's progress took them */
	uint64_t last_due_us, busy_until_us, backoff_us;
	bool scheduled;
};

struct sim_conn {
	struct sim_net *sn;
	struct list all;
	uint32_t refs;
	struct sim_end ends[2]; /* 0 dialled, 1 accepts */
	struct sim_dir dirs[2];
	bool broken;            /* nothing moves any more */
};

enum event_kind { EVENT_DIR, EVENT_SYN, EVENT_REFUSED, EVENT_DIAL_TIMEOUT, EVENT_NOTICE, EVENT_DATAGRAM };

/* On its way to one host of its group, or in that host's inbox. */
struct sim_datagram { struct list l; struct sim_host *from, *to; uint32_t bytes; uint8_t data[]; };

struct sim_event {
	uint64_t when_us, order;
	enum event_kind kind;
	uint8_t arg; /* direction or end */
	struct sim_conn *conn;         /* NULL: it is a datagram */
	struct sim_datagram *datagram;
};

struct sim_pair { bool blocked, own_faults; struct sim_faults faults; };

struct sim_host {
	struct sim_net *sn;
	uint32_t number; /* from 1 */
	char address[NET_ADDRESS_MAX];
	struct sim_transport *transport;
	bool listening, paused, crashed, powerless;
	struct list ready;
	struct sim_mcast *mcast; /* NULL: hears no datagrams */
	struct list inbox;       /* datagrams that its progress has not taken yet */
	uint32_t inbox_count;
	struct list in_ready; /* sim_net.ready, when there may be something ready */
};

struct sim_transport {
	struct net net;
	struct net_config cfg;
	struct sim_host *host;
	struct list links; /* sim_end.all */
	struct list regions;
	bool dead;         /* its host crashed */
	bool in_progress;
};

struct sim_net {
	struct mem *mem;
	struct clock clock;
	struct rng rng;
	struct sim_faults faults;
	VEC(struct sim_event) heap;
	VEC(struct sim_host *) hosts;
	struct map pairs; /* (from, to) -> struct sim_pair */
	struct list conns, ready;
	uint64_t orders, keys;
	bool remote_read;
	sim_filter_fn filter;
	void *filter_ctx;
	struct sim_net_counters counters;
};

/* sim_net.c: links and time */
void sim_schedule(struct sim_conn *c, enum event_kind kind, uint8_t arg, uint64_t when_us);
void sim_conn_unref(struct sim_conn *c);
void sim_conn_break(struct sim_conn *c, bool half_open);
void sim_dir_pump(struct sim_conn *c, uint8_t d);
/* An item into the flight of dirs[d], behind all that is there. */
void sim_dir_push(struct sim_conn *c, uint8_t d, struct sim_item *it);
void sim_dir_drop(struct sim_conn *c, uint8_t d, bool flight_too);
/* ends[e] is closed by its owner or its host's end; the other one hears of it. */
void sim_end_close(struct sim_conn *c, uint8_t e);
/* A read that arrived at its memory: what is there now is on its way back. False: it may not be read. */
bool sim_read_serve(struct sim_conn *c, const struct sim_item *it);
struct sim_item *sim_item_new(struct sim_net *sn, enum item_kind kind, uint8_t to);
void sim_item_free(struct sim_net *sn, struct sim_item *it);
void sim_ready_push(struct sim_conn *c, struct sim_item *it); /* to its end's host */
void sim_host_is_ready(struct sim_host *h);                   /* its transport has something to do now */
const struct sim_faults *sim_faults_of(const struct sim_net *sn, const struct sim_host *from,
				       const struct sim_host *to);
bool sim_chance(struct sim_net *sn, uint32_t ppm);
uint64_t sim_draw_delay(struct sim_net *sn, const struct sim_faults *f);
struct sim_host *sim_host_find(const struct sim_net *sn, const char *address);
void sim_schedule_datagram(struct sim_net *sn, struct sim_datagram *d, uint64_t when_us); /* takes it */
bool sim_blocked(const struct sim_net *sn, const struct sim_host *from, const struct sim_host *to);
/* One way of a datagram, which nobody sends again. */
uint64_t sim_draw_way(struct sim_net *sn, const struct sim_faults *f);

/* sim_mcast.c */
void sim_datagram_arrives(struct sim_net *sn, struct sim_datagram *d); /* takes it */
void sim_datagram_free(struct sim_net *sn, struct sim_datagram *d);
void sim_inbox_drop(struct sim_host *h);

#endif
