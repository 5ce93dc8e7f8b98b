/*
 * sim_net.h - a simulated network: links as TCP gives them, and everything that can go wrong with
 * them (net/sim).
 *
 * One sim_net is the whole network; one sim_host is one machine's address, on which at most one
 * engine at a time opens net_ops_sim (net_config.backend = the host). Time is the caller's: the
 * simulator's main loop asks sim_net_next_us(), moves its clock there, calls sim_net_run() and then
 * net progress of every host that sim_host_ready() names. The same seed and the same calls give the
 * same run.
 *
 * A link is ordered and reliable while it lives, whatever the faults: a lost, repeated or
 * overtaking packet is a message that comes later (retransmission), and everything behind it waits.
 * What a link can do is break: then all that is in flight is gone in both directions, and the two
 * sides notice at different times, or never (half-open link, partition, lost power): only
 * heartbeats tell then.
 *
 * Datagrams to a group (mcast_ops_sim) are the other thing it carries: lost, repeated and overtaken by the same
 * chances, and nobody sends them again.
 */
#ifndef VALENCE_NET_SIM_SIM_NET_H
#define VALENCE_NET_SIM_SIM_NET_H

#include "base/env.h"
#include "net/net.h"

struct sim_net;
struct sim_host;

/* How one direction between two hosts behaves. Chances are in millionths, per message. */
struct sim_faults {
	uint64_t delay_min_us, delay_max_us; /* one way, uniform between the two */
	uint32_t spike_ppm;                  /* chance of spike_us more */
	uint64_t spike_us;
	uint32_t loss_ppm;                   /* chance that a packet is sent again after retransmit_us, then twice that… */
	uint64_t retransmit_us;              /* also how often a blocked direction tries again; 0: 200 ms */
	uint32_t datagram_loss_ppm;          /* of datagrams, besides: those of a group */
	uint32_t duplicate_ppm;              /* chance that a packet comes twice; the receiver's TCP drops the second */
	uint32_t reorder_ppm;                /* chance that a packet is overtaken: up to delay_max_us more */
	uint32_t break_ppm;                  /* chance that sending a message breaks the link */
	uint32_t half_open_ppm;              /* chance that a breaking link is not noticed by either side */
	uint64_t notice_us;                  /* each side notices a break after 0 to this time */
	uint64_t bytes_per_ms;               /* bandwidth of a link; 0: no limit */
	uint32_t window_bytes;               /* in flight at most, the rest is backlog; 0: 1 MiB */
};

#define SIM_NET_COUNTERS(X)                                                                      \
	X(dials) X(refused) X(dial_timeouts) X(accepted) X(sent) X(delivered) X(dropped)         \
	X(spikes) X(losses) X(duplicates) X(reorders) X(breaks) X(half_opens) X(blocked)         \
	X(crashes) X(power_losses) X(restarts) X(pauses) X(resumes) X(datagrams) X(datagrams_lost)     \
	X(reads) X(reads_denied)
struct sim_net_counters {
#define X(name) uint64_t name;
	SIM_NET_COUNTERS(X)
#undef X
};

/* @clock gives the simulated time; the faults begin as none and 50 to 150 us one way. */
struct sim_net *sim_net_new(struct mem *mem, struct clock clock, uint64_t seed);
void sim_net_free(struct sim_net *sn); /* every host's transport is closed before */
uint64_t sim_net_next_us(const struct sim_net *sn); /* time of the next event; UINT64_MAX: none */
int sim_net_run(struct sim_net *sn, uint64_t now_us); /* does what is due; how many events */
const struct sim_net_counters *sim_net_counters(const struct sim_net *sn);

/* Transports that are opened from now on have remote memory, which is read without its engine's doing (paused or not). */
void sim_net_set_remote_read(struct sim_net *sn, bool on);

/* Faults of all pairs that have none of their own; and of one direction (NULL: as all again). */
void sim_net_set_faults(struct sim_net *sn, const struct sim_faults *f);
void sim_net_set_pair_faults(struct sim_net *sn, const struct sim_host *from, const struct sim_host *to,
			     const struct sim_faults *f);
/*
 * A black hole in one direction: nothing arrives, nobody is told. When it is taken away, living
 * links go on where they were (with TCP's delays). A partition is two of these for each pair.
 */
void sim_net_block(struct sim_net *sn, const struct sim_host *from, const struct sim_host *to, bool blocked);
void sim_net_block_both(struct sim_net *sn, const struct sim_host *a, const struct sim_host *b, bool blocked);
void sim_net_heal(struct sim_net *sn); /* takes away all blocks */
/*
 * Looks at each message before it goes into a link, and may take it away, or make it shorter by lowering *bytes: false is
 * "lost without a trace", as what a relay drops when its backlog is full. It may write to @data. NULL: none.
 */
typedef bool (*sim_filter_fn)(void *ctx, const struct sim_host *from, const struct sim_host *to, uint8_t *data,
			      uint32_t *bytes);
void sim_net_set_filter(struct sim_net *sn, sim_filter_fn fn, void *ctx);
/* Breaks all links between two hosts. half_open: neither side notices. */
void sim_net_break(struct sim_net *sn, const struct sim_host *a, const struct sim_host *b, bool half_open);

/*
 * @address: "name:port", unique; at least as long-lived as its transport; freed by sim_net_free().
 */
struct sim_host *sim_host_new(struct sim_net *sn, const char *address);
const char *sim_host_address(const struct sim_host *h);
uint32_t sim_host_number(const struct sim_host *h); /* from 1, in the order of sim_host_new() */
bool sim_host_ready(const struct sim_host *h); /* its transport's progress has something to do */
/*
 * Who is ready next, in the order in which they became so; NULL: nobody. For a loop over so many hosts that asking each is
 * too much: the caller gives it its progress, until nobody is left.
 */
struct sim_host *sim_net_next_ready(struct sim_net *sn);
/*
 * The process dies: its links break, peers get down, dials are refused. With @power the machine
 * dies: peers notice nothing and dials time out. The transport stays open for its owner to close,
 * but is dead.
 */
void sim_host_crash(struct sim_host *h, bool power);
/* The address can be used again, by a new transport; call it after the old one was closed. */
void sim_host_restart(struct sim_host *h);
/*
 * A stopped process: nothing is delivered to it, its progress does nothing, and its peers notice
 * nothing.
 */
void sim_host_pause(struct sim_host *h);
void sim_host_resume(struct sim_host *h);
bool sim_host_paused(const struct sim_host *h);
bool sim_host_crashed(const struct sim_host *h);

#endif
