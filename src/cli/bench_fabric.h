/*
 * bench_fabric.h - two processes that talk over one kind of connection, and are told what to send (cli).
 */
#ifndef VALENCE_CLI_BENCH_FABRIC_H
#define VALENCE_CLI_BENCH_FABRIC_H

#include <sys/types.h>

#include "net/bare.h"

extern const struct net_bare_ops bench_links; /* ours, behind the same operations: bench_link.c */
extern const struct net_bare_ops bench_tcp;   /* plain sockets: bench_tcp.c */

struct bench_order {
	bool there_and_back; /* or one way, and one small answer to the last */
	uint32_t bytes;
	uint64_t count;
};

struct bench_pair { pid_t pids[2]; int to[2], from[2]; };

/* Starts both and waits until they are connected. one_process: our links between two threads. */
enum status bench_pair_open(struct bench_pair *p, const struct net_bare_ops *ops, const struct net_bare_config *cfg,
			    bool one_process, struct error *err);
/* Seconds that the order took; < 0: it failed. */
double bench_pair_run(struct bench_pair *p, const struct bench_order *o);
void bench_pair_close(struct bench_pair *p);


#endif
