/*
 * bench_hosts.h - network namespaces with a bridge between them, for engines that are to be cut off (cli).
 *
 * They have no names: they exist while a descriptor or a process of theirs does. Needs root and ip of iproute2.
 */
#ifndef VALENCE_CLI_BENCH_HOSTS_H
#define VALENCE_CLI_BENCH_HOSTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

#define BENCH_HOSTS_MAX 8

struct bench_hosts {
	uint32_t count;
	int networks[BENCH_HOSTS_MAX]; /* of the hosts, as cluster.networks wants them */
	int middle;                    /* where the bridge is */
	char addresses[BENCH_HOSTS_MAX * 16]; /* with commas between */
};

/* ST_SYSTEM and what cannot be done here: then nothing is left. */
MUST_CHECK enum status bench_hosts_make(struct bench_hosts *h, uint32_t count, struct error *err);
/* Takes the wire of a host out of the bridge, which tells nobody, or puts it back. */
MUST_CHECK enum status bench_hosts_wire(struct bench_hosts *h, uint32_t host, bool whole, struct error *err);
void bench_hosts_free(struct bench_hosts *h);

#endif
