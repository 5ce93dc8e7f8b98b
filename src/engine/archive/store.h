/*
 * store.h - what an archive keeps on disk (engine/archive): the journal of the consensus log, atom images,
 * and a small table of metadata. Two back ends: bdb (Berkeley DB, a journal thread and an image thread) and
 * sim (the simulator's disks, with torn unsynced tails).
 *
 * Everything but open and the start-up reads is asynchronous: a call starts work, completions are delivered by
 * store_progress() in the order of the calls of one kind. Nothing given is kept beyond its completion; images
 * are lent until then (they are refs, S9).
 */
#ifndef VALENCE_ENGINE_ARCHIVE_STORE_H
#define VALENCE_ENGINE_ARCHIVE_STORE_H

#include "base/env.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"
#include "engine/sequencer/seq.h"

#define STORE_FORMAT_VERSION 2

struct store_identity {
	uint64_t log_id;   /* which cluster's log this is; 0: the directory is new */
	uint64_t voter_id;
	uint32_t format;   /* STORE_FORMAT_VERSION */
};

/* What open found. */
struct store_recovered {
	struct store_identity identity;
	uint64_t term, vote;            /* newest hard state */
	uint64_t first_pos, last_pos, last_term, before_term; /* journal; first_pos 1 and last_pos 0 when empty */
	uint64_t end_mark_pos;          /* highest position ever acknowledged as durable */
	/*
	 * P23 applies: something acknowledged is gone (entries, then last_pos < end_mark_pos unless they were replaced; or
	 * only a vote). Stays true, over reopens, until set_identity brings another voter id.
	 */
	bool short_journal;
	seq_index checkpoint;           /* images are complete as of this index; 0: none */
	uint64_t checkpoint_pos;        /* the journal position that the checkpoint's index belongs to */
	uint64_t image_count;
};

struct store_image {
	atom_id id;
	seq_index as_of;       /* index of the image (P21); records up to it are contained */
	const void *image;     /* lent until completion */
	size_t image_bytes;
	bool remove;           /* delete the stored image instead */
};
/*
 * One step of a checkpoint: written as one transaction. The last step sets the checkpoint with what it brings.
 */
struct store_image_batch {
	uint64_t token;
	uint32_t count;
	const struct store_image *images; /* array copied; the image bytes are lent */
	bool completes;                /* true: afterwards checkpoint, checkpoint_pos hold */
	seq_index checkpoint;
	uint64_t checkpoint_pos;
};

struct store_events {
	void (*journaled)(void *ctx, uint64_t token);     /* durable; in order */
	void (*images_written)(void *ctx, uint64_t token); /* durable; in order */
	/*
	 * The disk refuses (full, damaged): nothing after this is durable; the engine stops taking part, with this error.
	 * Told once. Images lent to batches that were not completed stay lent until close returns.
	 */
	void (*failed)(void *ctx, const struct error *err);
};

struct store_config {
	struct mem *mem;
	struct logger *log;
	const char *dir;         /* bdb */
	void *disk;              /* sim: struct sim_disk * */
	uint64_t journal_bytes;  /* how much the engine keeps of it: files are a quarter of that, if it is little; 0: much */
	uint64_t log_id;         /* when the directory must be of one cluster: its log id; 0: any */
	const struct store_events *events;
	void *ctx;
};

struct store { const struct store_ops *ops; };
struct store_ops {
	const char *name;
	/*
	 * Opens or makes the directory. Clear errors: cannot be written; is in use by a running engine (a lock that
	 * dies with its process); is of another cluster (log_id) or format version; is not a Valence directory but
	 * not empty.
	 */
	enum status (*open)(const struct store_config *cfg, struct store **store_out,
			    struct store_recovered *recovered_out, struct error *err);
	void (*close)(struct store *s); /* waits for what is under way */
	/* Durable before it returns (once in a life, at founding, joining or a new voter id). Resets journal and images when the log id changes. */
	enum status (*set_identity)(struct store *s, const struct store_identity *id, struct error *err);
	/*
	 * P23: as a new voter: forget journal and images. Durable before it returns. Keeps the identity: if this voter id has
	 * ever persisted anything the journal is short from then on, until set_identity brings a new one (before or after).
	 */
	enum status (*wipe)(struct store *s, struct error *err);
	/*
	 * Asynchronous, durable at completion; entries, term and vote in one transaction. Data copied before return.
	 * Entries that begin beyond last_pos + 1 begin the journal anew: what was before them is not of it any more.
	 */
	void (*journal)(struct store *s, const struct seq_persist *p);
	/* Synchronous, for start-up and followers far behind. Data lent until the next call. ST_END: not there. ST_CORRUPT. */
	enum status (*journal_read)(struct store *s, uint64_t pos, struct seq_entry *out);
	/* Positions below may go (whole files of them are removed when they can). Asynchronous, no completion. */
	void (*journal_drop)(struct store *s, uint64_t below_pos);
	void (*write_images)(struct store *s, const struct store_image_batch *b);
	/* Start-up: ids and as_of of all images in order of id, without reading them whole. */
	enum status (*image_each)(struct store *s, void *ctx, void (*fn)(void *ctx, atom_id id, seq_index as_of,
									 size_t image_bytes));
	/* Synchronous. Bytes lent until the next call. ST_END none, ST_CORRUPT (checksum). */
	enum status (*image_read)(struct store *s, atom_id id, const void **image_out, size_t *bytes_out,
				  seq_index *as_of_out);
	uint64_t (*journal_bytes)(const struct store *s); /* what the journal takes on disk */
	int (*progress)(struct store *s);  /* delivers completions; how many */
	int (*wait_fd)(struct store *s);   /* readable when progress has something; -1: sim */
};

extern const struct store_ops store_ops_bdb;
extern const struct store_ops store_ops_sim; /* src/engine/archive/sim_store.h has struct sim_disk */

#endif
