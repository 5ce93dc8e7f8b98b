/*
 * disk.h - what the archive's tests share: a store of either back end, and a model of what it must have (tests).
 *
 * The model's operations are a pure function of their number, so that another process can tell what a killed one
 * had written: operation n has vote n, and the recovered vote says how many there are.
 */
#ifndef VALENCE_TESTS_UNIT_ARCHIVE_DISK_H
#define VALENCE_TESTS_UNIT_ARCHIVE_DISK_H

#include "engine/archive/sim_store.h"
#include "engine/archive/store.h"

#include <limits.h>

struct disk {
	const struct store_ops *ops;
	struct mem mem;
	struct logger log;
	char dir[256];            /* bdb: removed by disk_fini */
	struct sim_disk *sim;
	uint64_t now_us;          /* sim */
	uint64_t log_id;          /* asked for at open */
	struct store *store;      /* NULL: closed */
	struct store_recovered found;
	struct error err, failed;
	uint64_t token;           /* given last, journal */
	uint64_t journaled;       /* told last */
	uint64_t image_token, images_written;
	bool out_of_order;
	void *lent[4];            /* images of a batch that was refused: lent until close */
};

void disk_init(struct disk *d, const struct store_ops *ops, uint64_t seed);
void disk_init_at(struct disk *d, const char *dir);  /* bdb, in a directory that stays */
void disk_fini(struct disk *d);
enum status disk_open(struct disk *d);
void disk_close(struct disk *d);
void disk_wait(struct disk *d);                      /* until all that was given is told, or it failed */
bool disk_poll(struct disk *d);                      /* delivers what there is; false after 30 s without anything */
enum status disk_identity(struct disk *d, uint64_t log_id, uint64_t voter_id);
/* Flips a bit of @what wherever a file has it (pages keep old copies); false: not there. */
bool disk_damage(const char *path, const void *what, size_t bytes);
void disk_path(const struct disk *d, const char *name, char path[PATH_MAX]);
/* The newest file of the directory whose name begins so. */
bool disk_newest(const struct disk *d, const char *sub, const char *prefix, char path[PATH_MAX]);

#define MODEL_MAX 60000
struct model_entry { uint64_t term, op; uint32_t bytes; uint8_t kind; };
struct model {
	uint64_t op, term, last_pos;
	uint64_t below;           /* positions below may be gone */
	struct model_entry at[MODEL_MAX]; /* by position */
};
struct model *model_new(void);
void model_free(struct model *m);
/* The next operation: changes the model, and writes it to the disk unless that is NULL. */
void model_step(struct model *m, struct disk *d);
void model_data(const struct model *m, uint64_t pos, uint8_t *out);
/* Compares what the disk has found at open, and all entries, with the model. False: it says where on stdout. */
bool model_check(const struct model *m, struct disk *d);
/* What batch @n of images writes, and what there is after it: see disk.c. */
void images_step(struct disk *d, uint64_t n);
bool images_check(struct disk *d, uint64_t n);

#endif
