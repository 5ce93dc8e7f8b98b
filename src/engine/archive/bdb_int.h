/*
 * bdb_int.h - inside of the Berkeley DB back end (engine/archive). Only bdb_*.c include it.
 *
 * Threads: the *loop* (whoever calls store_ops), the *journal* thread, the *image* thread and the *keeper*
 * (mark, checkpoints, removal of segments). The loop owns everything that has no other word beside it. An
 * operation or batch belongs to the thread in whose queue it is; struct bdb_queue's mutex hands it over. Threads
 * allocate with malloc, never from struct mem, and never log: they hand a struct error to the loop.
 */
#ifndef VALENCE_ENGINE_ARCHIVE_BDB_INT_H
#define VALENCE_ENGINE_ARCHIVE_BDB_INT_H

#include "base/list.h"
#include "engine/archive/bdb_disk.h"
#include "engine/archive/bdb_tuning.h"
#include "engine/archive/store_int.h"

#include <db.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>

struct bdb_env {
	DB_ENV *env;
	char path[PATH_MAX + 16];
	const char *name;        /* "journal", for messages */
	uint64_t written_bytes;  /* atomic: since the last checkpoint */
};
struct bdb_env_config { uint64_t cache_bytes, log_buffer_bytes, log_file_bytes; };

/* A file of the journal. The loop owns the list; db is used by loop (reads) and journal thread (puts) at once. */
struct bdb_segment {
	struct list link;
	uint64_t first_op;
	uint64_t bytes;          /* atomic: of values; the journal thread adds */
	uint64_t max_pos;        /* loop: highest position ever written there, replaced or not */
	DB *db;
};

struct bdb_op {
	struct list link;
	uint64_t number, token;
	struct disk_op head;     /* off and crc: journal thread */
	uint8_t *region;         /* head.bytes */
	uint64_t last_pos;       /* of the journal as of this operation */
	/* Where it went, set by the journal thread: */
	struct bdb_segment *segment;
	uint64_t record_op;
	uint32_t record_bytes;
};

/* Where an operation's entries are: those still valid. Sorted by number and by position. */
struct bdb_ref {
	uint64_t number, first_pos;
	struct bdb_op *pending;       /* not yet written; then segment is NULL */
	struct bdb_segment *segment;
	uint32_t count;               /* entries still valid */
	uint32_t before_record;       /* number - key of the record */
	uint32_t record_bytes;
};
struct bdb_run { uint64_t first_pos, term; }; /* of entries from there to the next run */

struct bdb_index {
	VEC(struct bdb_ref) refs;
	VEC(struct bdb_run) runs;
	uint64_t first_pos, last_pos; /* 1 and 0: empty */
	uint64_t before_term;
	uint64_t last_op, term, vote;
	struct list segments;         /* struct bdb_segment, oldest first */
};

struct bdb_batch {
	struct list link, pending_link;
	struct store_image_batch b;   /* images copied */
};

/* A queue to one thread and back. */
struct bdb_queue {
	pthread_mutex_t lock;
	pthread_cond_t more, idle;
	struct list todo, done;
	struct list dead;             /* refused: the loop frees them */
	bool stop, busy;
	struct error failed;          /* code ST_OK: none */
	int *event_fd;
	pthread_t thread;
	bool running;
};

/* The end mark: bdb_mark.c says what it is worth. */
struct bdb_mark {
	pthread_mutex_t lock;
	int fd;
	struct disk_mark at;          /* newest, also in the file's slot */
	uint32_t slot;                /* where the next one goes */
	bool dirty;
};

struct bdb_keeper {
	pthread_mutex_t lock;
	pthread_cond_t more, idle;
	struct list drops;            /* struct bdb_segment */
	bool stop, mark_dirty, checkpoint_due, busy;
	struct error warning;         /* last failure of a checkpoint or removal, for the loop to log */
	pthread_t thread;
	bool running;
};

struct bdb_store {
	struct store base;
	struct store_config cfg;
	char dir[PATH_MAX];
	int lock_fd, dir_fd, event_fd;
	struct store_identity identity;
	struct bdb_mark mark;
	struct bdb_env jenv, ienv;
	struct bdb_index index;
	uint64_t segment_bytes;       /* a segment is full then */
	struct bdb_segment *writing;  /* journal thread's: the segment that takes records; NULL none yet */
	struct bdb_queue journal, image;
	struct bdb_keeper keeper;
	struct list journaled, written; /* finished and not yet told; ops, batches */
	struct list batches;          /* all that are not yet told, by pending_link */
	bool failed_told;
	DB *bodies, *image_index;
	seq_index checkpoint;
	uint64_t checkpoint_pos, image_count;
	/* Loop: the record and the image read last. */
	uint8_t *read_buf;
	size_t read_cap;
	const struct bdb_segment *read_segment;
	uint64_t read_record, read_checked_op;
	uint8_t *image_buf;
	size_t image_cap;
	/* Journal thread: the record being packed. */
	uint8_t *pack;
	size_t pack_cap;
};

static inline struct bdb_store *bdb_of(struct store *s) { return CONTAINER_OF(s, struct bdb_store, base); }

/* bdb_env.c: environments, and the one place that translates Berkeley DB's and the system's errors. */
enum status bdb_status(int ret);
/* Message "@what: <text of ret>", detail what Berkeley DB said last in this thread, hint by kind. Returns the code. */
enum status bdb_error(struct error *err, int ret, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
MUST_CHECK enum status bdb_env_open(struct bdb_env *e, const char *path, const char *name,
				    const struct bdb_env_config *cfg, struct logger *log, struct error *err);
void bdb_env_close(struct bdb_env *e, bool checkpoint);
void bdb_env_wrote(struct bdb_env *e, uint64_t bytes);
/* env may be NULL: read-only, outside any environment (salvage). */
MUST_CHECK int bdb_open_file(DB_ENV *env, const char *name, bool create, DB **db_out);
MUST_CHECK enum status bdb_space_check(const struct bdb_store *s, struct error *err);
void bdb_key(uint64_t number, uint8_t key[8]);
uint64_t bdb_key_number(const uint8_t key[8]);

/* bdb_dir.c: the directory, its lock and its identity. */
MUST_CHECK enum status bdb_dir_open(struct bdb_store *s, struct error *err); /* makes a new one */
void bdb_dir_close(struct bdb_store *s);
MUST_CHECK enum status bdb_identity_write(struct bdb_store *s, const struct store_identity *id, struct error *err);
MUST_CHECK enum status bdb_dir_sync(struct bdb_store *s, struct error *err);

/* bdb_mark.c */
MUST_CHECK enum status bdb_mark_open(struct bdb_store *s, struct error *err);
void bdb_mark_close(struct bdb_store *s);
/* Journal thread, after a commit; cheap. Returns errno. */
int bdb_mark_note(struct bdb_mark *m, uint64_t op, uint64_t pos);
int bdb_mark_sync(struct bdb_mark *m); /* keeper, and bdb_mark_set; returns errno */
/* Durable before it returns. Writer threads are idle. */
MUST_CHECK enum status bdb_mark_set(struct bdb_store *s, const struct disk_mark *m, struct error *err);

/* bdb_index.c: the loop's map of the journal. */
void bdb_index_init(struct bdb_index *x);
void bdb_index_clear(struct bdb_index *x, struct mem *m); /* not the segments */
void bdb_index_fini(struct bdb_index *x, struct mem *m);
void bdb_index_add(struct bdb_index *x, struct mem *m, const struct disk_op *op, struct bdb_ref ref,
		   const struct disk_entry *entries);
uint64_t bdb_index_term(const struct bdb_index *x, uint64_t pos); /* 0: not there */
struct bdb_ref *bdb_index_find(const struct bdb_index *x, uint64_t pos);
struct bdb_ref *bdb_index_find_op(const struct bdb_index *x, uint64_t number);
/* Takes segments out of the index that have nothing at or above below_pos; they are moved to @out. */
void bdb_index_drop(struct bdb_index *x, uint64_t below_pos, struct list *out);

/* bdb_recover.c: opening the journal, scanning it, and rebuilding a damaged one. */
MUST_CHECK enum status bdb_journal_open(struct bdb_store *s, struct error *err);
void bdb_journal_close(struct bdb_store *s, bool checkpoint);
MUST_CHECK enum status bdb_journal_reset(struct bdb_store *s, struct error *err); /* threads idle */
bool bdb_record_check(const uint8_t *p, size_t bytes, uint64_t key, size_t have);
bool bdb_region_check(const struct disk_op *op, const uint8_t *region);

/* bdb_journal.c: writing and reading it. */
void *bdb_journal_main(void *store);
void bdb_journal_write(struct store *store, const struct seq_persist *p);
enum status bdb_journal_read(struct store *store, uint64_t pos, struct seq_entry *out);
void bdb_journal_drop(struct store *store, uint64_t below_pos);
uint64_t bdb_journal_bytes(const struct store *store);
void bdb_journal_absorb(struct bdb_store *s, struct list *done, struct list *dead);
void bdb_op_free(struct bdb_store *s, struct bdb_op *op);
void bdb_read_reserve(struct bdb_store *s, size_t bytes);

/* bdb_images.c */
MUST_CHECK enum status bdb_images_open(struct bdb_store *s, struct error *err);
void bdb_images_close(struct bdb_store *s, bool checkpoint);
MUST_CHECK enum status bdb_images_reset(struct bdb_store *s, struct error *err); /* threads idle */
void *bdb_images_main(void *store);
void bdb_images_write(struct store *store, const struct store_image_batch *b);
enum status bdb_image_each(struct store *store, void *ctx,
			   void (*fn)(void *ctx, atom_id id, seq_index as_of, size_t image_bytes));
enum status bdb_image_read(struct store *store, atom_id id, const void **image_out, size_t *bytes_out,
			   seq_index *as_of_out);
void bdb_images_absorb(struct bdb_store *s, struct list *done, struct list *dead);
void bdb_batch_free(struct bdb_store *s, struct bdb_batch *b);

/* bdb_thread.c: queues, threads and the keeper. */
void bdb_queue_init(struct bdb_queue *q, int *event_fd);
void bdb_queue_fini(struct bdb_queue *q);
/* False: the queue has failed, the item stays the caller's. */
MUST_CHECK bool bdb_queue_add(struct bdb_queue *q, struct list *item);
/* Thread: waits for work and takes all of it; false: stop. */
MUST_CHECK bool bdb_queue_take(struct bdb_queue *q, struct list *out);
/* Thread: hands back what it took, done or (@err has a code) refused for good, and wakes the loop. */
void bdb_queue_done(struct bdb_queue *q, struct list *items, const struct error *err);
void bdb_queue_collect(struct bdb_queue *q, struct list *done, struct list *dead); /* loop */
void bdb_queue_wait_idle(struct bdb_queue *q); /* all that was given is handed back */
bool bdb_queue_failed(struct bdb_queue *q, struct error *err_out);
void bdb_list_move(struct list *from, struct list *to); /* to the end of it */
MUST_CHECK enum status bdb_threads_start(struct bdb_store *s, struct error *err);
void bdb_threads_stop(struct bdb_store *s); /* after all that was queued */
void bdb_keeper_drop(struct bdb_store *s, struct list *segments);
void bdb_keeper_wake(struct bdb_store *s, bool mark_dirty); /* any thread: after a commit */
void bdb_keeper_wait_idle(struct bdb_store *s);

#endif
