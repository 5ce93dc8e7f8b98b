/*
 * tree_world.h - a settled relay tree of many engines over the simulated network, for `valence bench tree` (cli).
 *
 * What is real: the relays of all engines, net/relay as every engine runs it, with its heartbeats and its wire format. What
 * is simulated: time and links (a delay and a bandwidth each, the same for all). What is left out: what an engine does with
 * a record, and how the voters agree on it; each has a record the moment it is made.
 */
#ifndef VALENCE_CLI_TREE_WORLD_H
#define VALENCE_CLI_TREE_WORLD_H

#include "base/ids.h"
#include "base/status.h"
#include "net/relay/relay.h"
#include "net/sim/sim_net.h"

struct tree_config {
	uint32_t engines, voters, fan_out;
	uint32_t payload_bytes, records; /* each record goes down alone */
	uint64_t every_us;               /* a record is made so often */
	uint64_t delay_us, bytes_per_ms; /* of a link, one way; 0 bytes_per_ms: no limit */
};

struct tree_result {
	uint32_t links_max, voter_links_max; /* of an engine that is no voter; of a voter */
	uint32_t children_max, depth_max, depth_full; /* depth_full: of a tree whose every place is taken */
	double depth_mean;
	/* bytes out of an engine, of those with children, over children x records x payload */
	double bytes_ratio_max, bytes_ratio_mean;
	double reach_mean_us, reach_max_us;  /* from a record's making to its arrival at the last engine, simulated */
	double hop_us;                       /* what one hop costs at least: delay, and the payload at that bandwidth */
	double cpu_us, bare_cpu_us, copy_us; /* per record and engine, of this machine: see tree_measure() */
	/* A relay with children stops: until all others have the next record, simulated; its children */
	double stopped_ms;
	uint32_t stopped_children;
	uint64_t suspects;                   /* must be none */
};

/*
 * Builds the tree, lets it settle, streams the records, then stops one relay and streams one more. cpu_us is this process's
 * time for the relays and the simulated network; bare_cpu_us the same for a loop that forwards by the same tree over the same
 * network and does nothing else; copy_us for the copies alone: one message for each engine. Error: the tree did not settle.
 */
MUST_CHECK enum status tree_measure(const struct tree_config *cfg, struct tree_result *out, struct error *err);

#endif
