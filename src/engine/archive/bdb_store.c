/*
 * bdb_store.c - an archive's disk by Berkeley DB (engine/archive): open, close, identity, completions.
 *
 * bdb_disk.h has what is on disk, bdb_int.h the threads, bdb_mark.c what a vanished tail means.
 */
#include "engine/archive/bdb_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* What the threads handed back; nobody is told yet. */
static void store_collect(struct bdb_store *s)
{
	struct list done, dead;

	list_init(&done);
	list_init(&dead);
	bdb_queue_collect(&s->journal, &done, &dead);
	bdb_journal_absorb(s, &done, &dead);
	bdb_queue_collect(&s->image, &done, &dead);
	bdb_images_absorb(s, &done, &dead);
}

static void store_free(struct bdb_store *s)
{
	bool good = !bdb_queue_failed(&s->journal, NULL) && !bdb_queue_failed(&s->image, NULL);

	bdb_threads_stop(s);
	store_collect(s);
	LIST_FOREACH_SAFE(it, tmp, &s->journaled)
		bdb_op_free(s, CONTAINER_OF(it, struct bdb_op, link));
	LIST_FOREACH_SAFE(it, tmp, &s->written)
		bdb_batch_free(s, CONTAINER_OF(it, struct bdb_batch, link));
	bdb_images_close(s, good);
	bdb_journal_close(s, good);
	bdb_mark_close(s);
	bdb_index_fini(&s->index, s->cfg.mem);
	bdb_dir_close(s);
	if (s->event_fd >= 0)
		close(s->event_fd);
	mem_free(s->cfg.mem, s->read_buf, s->read_cap);
	mem_free(s->cfg.mem, s->image_buf, s->image_cap);
	free(s->pack);
	bdb_queue_fini(&s->journal);
	bdb_queue_fini(&s->image);
	pthread_mutex_destroy(&s->mark.lock);
	MEM_FREE(s->cfg.mem, s);
}

static void recovered_fill(const struct bdb_store *s, struct store_recovered *r)
{
	const struct bdb_index *x = &s->index;

	memset(r, 0, sizeof *r);
	r->identity = s->identity;
	r->term = x->term;
	r->vote = x->vote;
	r->first_pos = x->last_pos ? x->first_pos : 1;
	r->last_pos = x->last_pos;
	r->last_term = bdb_index_term(x, x->last_pos);
	r->before_term = x->last_pos ? x->before_term : 0;
	r->end_mark_pos = s->mark.at.pos;
	r->short_journal = s->mark.at.is_short;
	r->checkpoint = s->checkpoint;
	r->checkpoint_pos = s->checkpoint_pos;
	r->image_count = s->image_count;
}

static enum status bdb_open(const struct store_config *cfg, struct store **store_out,
			    struct store_recovered *recovered_out, struct error *err)
{
	struct bdb_store *s = MEM_NEW(cfg->mem, struct bdb_store);
	struct error local;
	enum status st;

	if (!err)
		err = &local;
	error_clear(err);
	s->base.ops = &store_ops_bdb;
	s->cfg = *cfg;
	s->segment_bytes = bdb_tuning.segment_bytes;
	if (cfg->journal_bytes && cfg->journal_bytes / 4 < s->segment_bytes) /* files go whole: they must not be most of it */
		s->segment_bytes = cfg->journal_bytes / 4;
	s->mark.fd = s->lock_fd = s->dir_fd = -1;
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	bdb_index_init(&s->index);
	list_init(&s->journaled);
	list_init(&s->written);
	list_init(&s->batches);
	bdb_queue_init(&s->journal, &s->event_fd);
	bdb_queue_init(&s->image, &s->event_fd);
	pthread_mutex_init(&s->mark.lock, NULL);
	if (s->event_fd < 0)
		st = bdb_error(err, errno, "cannot make an event descriptor");
	else if ((st = bdb_dir_open(s, err)) == ST_OK && (st = bdb_mark_open(s, err)) == ST_OK &&
		 (st = bdb_journal_open(s, err)) == ST_OK && (st = bdb_images_open(s, err)) == ST_OK)
		st = bdb_threads_start(s, err);
	if (st != ST_OK) {
		store_free(s);
		return st;
	}
	recovered_fill(s, recovered_out);
	log_event(s->cfg.log, LOG_ARCHIVE, LOG_INFO, "archive opened",
		  "directory=%s first_pos=%" PRIu64 " last_pos=%" PRIu64 " term=%" PRIu64 " checkpoint=%" PRIu64
		  " images=%" PRIu64 " short=%d",
		  s->dir, recovered_out->first_pos, recovered_out->last_pos, recovered_out->term,
		  recovered_out->checkpoint, recovered_out->image_count, recovered_out->short_journal);
	*store_out = &s->base;
	return ST_OK;
}

static void bdb_close(struct store *store)
{
	store_free(bdb_of(store));
}

/* Nothing under way, nothing failed: what changes of the whole store need. */
static enum status store_quiesce(struct bdb_store *s, struct error *err)
{
	struct error failed;

	bdb_queue_wait_idle(&s->journal);
	bdb_queue_wait_idle(&s->image);
	bdb_keeper_wait_idle(s);
	store_collect(s);
	if (!bdb_queue_failed(&s->journal, &failed) && !bdb_queue_failed(&s->image, &failed))
		return ST_OK;
	if (err)
		*err = failed;
	return failed.code;
}

static enum status store_reset(struct bdb_store *s, struct error *err)
{
	enum status st = bdb_journal_reset(s, err);

	return st == ST_OK ? bdb_images_reset(s, err) : st;
}

/*
 * The order makes each step safe to stop after: an emptied journal is short by the old mark until the identity
 * changes; the new identity has no mark, hence no promises, until it has.
 */
static enum status bdb_set_identity(struct store *store, const struct store_identity *id, struct error *err)
{
	struct bdb_store *s = bdb_of(store);
	struct store_identity next = *id;
	bool other_log = id->log_id != s->identity.log_id;
	struct disk_mark m;
	enum status st = store_quiesce(s, err);

	if (st == ST_OK && other_log)
		st = store_reset(s, err);
	next.format = STORE_FORMAT_VERSION;
	if (st == ST_OK)
		st = bdb_identity_write(s, &next, err);
	if (st != ST_OK || (!other_log && id->voter_id == s->identity.voter_id))
		return st;
	s->identity = next;
	memset(&m, 0, sizeof m);
	m.log_id = next.log_id;
	m.voter_id = next.voter_id;
	m.base_op = m.op = other_log ? 0 : s->index.last_op; /* an empty journal has no operations at the next open */
	m.pos = s->index.last_pos;
	return bdb_mark_set(s, &m, err);
}

static enum status bdb_wipe(struct store *store, struct error *err)
{
	struct bdb_store *s = bdb_of(store);
	struct disk_mark m;
	enum status st = store_quiesce(s, err);

	if (st != ST_OK)
		return st;
	m = s->mark.at;
	if (m.op > m.base_op) {
		m.is_short = 1; /* this voter id's promises are forgotten: it must not vote again */
	} else {
		m.base_op = m.op = 0;
		m.pos = 0;
	}
	st = bdb_mark_set(s, &m, err);
	return st == ST_OK ? store_reset(s, err) : st;
}

/* A callback may start more work; it may not close the store. */
static int bdb_progress(struct store *store)
{
	struct bdb_store *s = bdb_of(store);
	struct error failed;
	uint64_t count;
	int n = 0;

	if (read(s->event_fd, &count, sizeof count) < 0 && errno != EAGAIN)
		return 0;
	store_collect(s);
	while (!list_empty(&s->journaled)) {
		struct bdb_op *op = CONTAINER_OF(list_first(&s->journaled), struct bdb_op, link);
		uint64_t token = op->token;

		list_remove(&op->link);
		bdb_op_free(s, op);
		s->cfg.events->journaled(s->cfg.ctx, token);
		n++;
	}
	while (!list_empty(&s->written)) {
		struct bdb_batch *b = CONTAINER_OF(list_first(&s->written), struct bdb_batch, link);
		uint64_t token = b->b.token;

		list_remove(&b->link);
		bdb_batch_free(s, b);
		s->cfg.events->images_written(s->cfg.ctx, token);
		n++;
	}
	pthread_mutex_lock(&s->keeper.lock);
	failed = s->keeper.warning;
	s->keeper.warning.code = ST_OK;
	pthread_mutex_unlock(&s->keeper.lock);
	if (failed.code != ST_OK)
		log_event(s->cfg.log, LOG_ARCHIVE, LOG_WARN, "keeper", "error=\"%s\"", failed.message);
	if (!s->failed_told &&
	    (bdb_queue_failed(&s->journal, &failed) || bdb_queue_failed(&s->image, &failed))) {
		s->failed_told = true;
		log_event(s->cfg.log, LOG_ARCHIVE, LOG_ERROR, "disk refuses", "error=\"%s\" detail=\"%s\"",
			  failed.message, failed.detail);
		s->cfg.events->failed(s->cfg.ctx, &failed);
		n++;
	}
	return n;
}

static int bdb_wait_fd(struct store *store)
{
	return bdb_of(store)->event_fd;
}

const struct store_ops store_ops_bdb = {
	.name = "bdb",
	.open = bdb_open,
	.close = bdb_close,
	.set_identity = bdb_set_identity,
	.wipe = bdb_wipe,
	.journal = bdb_journal_write,
	.journal_read = bdb_journal_read,
	.journal_drop = bdb_journal_drop,
	.write_images = bdb_images_write,
	.image_each = bdb_image_each,
	.image_read = bdb_image_read,
	.journal_bytes = bdb_journal_bytes,
	.progress = bdb_progress,
	.wait_fd = bdb_wait_fd,
};
