/*
 * engine_opts.h - the flags of an engine, from its command line and its configuration file (cli).
 */
#ifndef VALENCE_CLI_ENGINE_OPTS_H
#define VALENCE_CLI_ENGINE_OPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/spin.h"
#include "base/status.h"
#include "cli/cli.h"
#include "net/fabric.h"

#define ENGINE_JOIN_MAX 64

struct engine_opts {
	bool archive;
	/* as given; NULL: not. They live in the arena */
	char *name, *sql, *listen, *join, *fabric, *data, *holds, *secret_file, *config, *location, *log, *sql_auth, *tls, *poll, *multicast;
	uint64_t workers, worker_ports, memory_bytes, connections, fan_out, direct_links, remote_bytes, spin_us;
	uint64_t heartbeat_ms, heartbeat_limit_ms, stale_read_limit_ms, deadlock_timeout_ms, checkpoint_bytes, journal_bytes, window_bytes;
	/* taken apart and checked */
	struct cli_address sql_address, fabric_address;
	uint32_t contact_count;
	const char *contacts[ENGINE_JOIN_MAX];
	const struct net_fabric *net;
	enum poll_mode poll_mode;
	uint8_t *secret; /* NULL: none */
	size_t secret_bytes;
};

/* Reads flags, then the configuration file for what they left open, and checks all. Returns an exit status; -1: go on. */
int engine_opts_read(struct engine_opts *o, const char *command, int argc, char **argv, struct arena *arena);
/* The log levels that the configuration file names now; NULL: none, or err. */
const char *engine_opts_log_again(const struct engine_opts *o, struct arena *arena, struct error *err);

#endif
