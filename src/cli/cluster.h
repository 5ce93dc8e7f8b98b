/*
 * cluster.h - a cluster of processes on this machine, under one directory (cli, private).
 *
 * The directory: cluster.conf (how it was started), cluster.secret, NAME.pid, NAME.log, NAME/ (data). Engine k, archives first, has SQL on
 * base_port + k and the fabric on base_port + 100 + k.
 */
#ifndef VALENCE_CLI_CLUSTER_H
#define VALENCE_CLI_CLUSTER_H

#include <netinet/in.h>
#include <sys/types.h>

#include "base/mem.h"
#include "cli/cli.h"

#define CLUSTER_ENGINES_MAX 99
#define CLUSTER_WORKERS_MAX 1024 /* or more than an engine takes */
#define CLUSTER_EXTRA_MAX 64

struct cluster {
	struct mem *mem;
	struct arena *arena;
	const char *dir;         /* absolute */
	uint64_t archives, caches, base_port, timeout_s;
	const char *fabric;      /* NULL: the default */
	const char *workers;     /* NULL: not given */
	const char *hosts;       /* IPv4 addresses for the fabric, with commas between; NULL: 127.0.0.1 */
	const int *networks;     /* a descriptor of a network namespace for each engine; NULL: all are in this one */
	bool tied;               /* the engines end with this process, however it ends */
	const char *extra[CLUSTER_EXTRA_MAX];
	uint32_t extra_count;
};

struct member {
	char name[16];
	bool archive;
	uint32_t k;
	uint16_t sql_port, fabric_port;
	char fabric_host[INET_ADDRSTRLEN];
	int network; /* < 0: this one */
};

uint32_t cluster_workers(const struct cluster *cl); /* of each process; from 1 */
/* In arena: the engine's own name, then NAME.1, ... */
const char *cluster_worker_name(const struct cluster *cl, const struct member *m, uint32_t worker);
void cluster_member(const struct cluster *cl, uint32_t k, struct member *out);
bool cluster_hosts_ok(const char *hosts);
static inline uint32_t cluster_size(const struct cluster *cl) { return (uint32_t)(cl->archives + cl->caches); }

/* Starts all, or one again, and waits up to timeout_s until they are members and answer SQL; else none of these is left. */
MUST_CHECK enum status cluster_start(const struct cluster *cl, struct error *err);
MUST_CHECK enum status cluster_start_one(const struct cluster *cl, const struct member *m, struct error *err);
bool cluster_stop(const struct cluster *cl); /* false: some had to be killed */

/* cluster_proc.c */
/* This thread's sockets are made in the engine's network, until member_leave() gets what was returned. */
int member_enter(const struct member *m);
void member_leave(int home);
pid_t member_pid(const struct cluster *cl, const struct member *m); /* 0: does not run */
bool member_paused(pid_t pid);
/* Else whoever has the port would be taken for the engine. */
enum status member_ports_free(const struct member *m, struct error *err);
/* Starts the process; @fresh: nobody of this cluster ran before, so a1 founds. log_from_out: where its own log begins. */
enum status member_spawn(const struct cluster *cl, const struct member *m, bool fresh, pid_t *pid_out,
			 off_t *log_from_out, struct error *err);
/* Signals it, and waits up to timeout_ms until it is gone. False: it is still there. */
bool member_end(const struct cluster *cl, const struct member *m, int signal_number, uint32_t timeout_ms);
/* What its log says last about an error since @from; in arena; NULL: nothing. */
const char *member_complaint(const struct cluster *cl, const struct member *m, off_t from);
/* cluster.secret, for its owner only, unless there is one. */
enum status cluster_secret_make(const struct cluster *cl, struct error *err);
/* A new directory of this name and some letters under TMPDIR; "" when there is none. */
#define CLUSTER_DIR_MAX 256
enum status cluster_dir_make(const char *name, char out[CLUSTER_DIR_MAX], struct error *err);
void cluster_forget(const struct cluster *cl); /* removes the directory and all in it */
bool member_has_data(const struct cluster *cl, const struct member *m);
void cluster_sleep_ms(uint32_t ms);

#endif
