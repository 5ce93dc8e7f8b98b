/*
 * sim_store.h - the simulator's disks (engine/archive): what store_ops_sim writes to.
 *
 * A disk belongs to the simulator and survives its engine's crash. It is a pure function of its seed, the clock
 * it is given and the calls: no threads, no files. One lane for the journal and one for the images, each with one
 * group of operations under way (all that had queued when the last one ended: group commit), which becomes
 * durable as a whole when its time has come. What is under way at a crash is torn: a random prefix of it is
 * durable, each persist and each image batch whole or not at all; the rest never was.
 *
 * The simulator calls sim_disk_run(now) when sim_disk_next_us() is due, then progress of the engine's store.
 * A crash: sim_disk_crash(), then free the engine (close of its store does nothing more to the disk), then open
 * again. Without a crash, close waits for what is under way, as a real store does.
 */
#ifndef VALENCE_ENGINE_ARCHIVE_SIM_STORE_H
#define VALENCE_ENGINE_ARCHIVE_SIM_STORE_H

#include "base/env.h"
#include "base/ids.h"
#include "base/mem.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct sim_disk_config {
	struct mem *mem;
	struct clock clock;        /* copied; only now_us is used */
	uint64_t seed;
	uint64_t sync_us;          /* least time of one group; 0: 200 */
	uint64_t jitter_us;        /* up to this much more, uniformly; 0: 300 */
	uint32_t hiccup_permille;  /* of groups that take 20 times as long; 0: none */
	uint64_t bytes_per_ms;     /* throughput; 0: 400,000 */
	uint64_t capacity_bytes;   /* of entries and images; 0: no limit */
	uint32_t segment_entries;  /* journal_drop removes whole runs of this many positions; 0: 64 */
};

struct sim_disk_counters {
	uint64_t groups, persists, entries, entry_bytes, image_batches, images, image_bytes;
	uint64_t dropped_entries, crashes, torn_persists, torn_batches, refused;
};

struct sim_disk;
struct sim_disk *sim_disk_new(const struct sim_disk_config *cfg);
void sim_disk_free(struct sim_disk *d); /* its store must be closed */

uint64_t sim_disk_next_us(const struct sim_disk *d);        /* when sim_disk_run has something; UINT64_MAX none */
int sim_disk_run(struct sim_disk *d, uint64_t now_us);      /* operations that ended; deliver them by progress */
void sim_disk_crash(struct sim_disk *d); /* before the engine's memory goes: lent images end here */

/* Faults. */
void sim_disk_set_slow(struct sim_disk *d, uint32_t factor);         /* groups from now on; 1: as configured */
void sim_disk_set_refuse(struct sim_disk *d, enum status code);      /* ST_DISK_FULL, ST_IO ...; ST_OK: works again */
void sim_disk_set_capacity(struct sim_disk *d, uint64_t bytes);      /* of entries and images; 0: no limit */
bool sim_disk_corrupt_image(struct sim_disk *d, atom_id id);         /* false: no such image, or empty */
bool sim_disk_corrupt_entry(struct sim_disk *d, uint64_t pos);       /* false: no such entry, or no data */
/* Closed disks only: the newest entries vanish with the votes since then, unnoticed but by the end mark (P23). */
void sim_disk_lose_tail(struct sim_disk *d, uint64_t entries);

const struct sim_disk_counters *sim_disk_counters(const struct sim_disk *d);
uint64_t sim_disk_durable_pos(const struct sim_disk *d);  /* newest durable position; for checkers */

#endif
