/*
 * bdb_thread.c - the threads of the Berkeley DB back end (engine/archive) and what passes between them.
 */
#include "engine/archive/bdb_int.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void bdb_list_move(struct list *from, struct list *to)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

/* -------- queues -------- */

void bdb_queue_init(struct bdb_queue *q, int *event_fd)
{
	memset(q, 0, sizeof *q);
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->more, NULL);
	pthread_cond_init(&q->idle, NULL);
	list_init(&q->todo);
	list_init(&q->done);
	list_init(&q->dead);
	q->event_fd = event_fd;
}

void bdb_queue_fini(struct bdb_queue *q)
{
	pthread_cond_destroy(&q->idle);
	pthread_cond_destroy(&q->more);
	pthread_mutex_destroy(&q->lock);
}

bool bdb_queue_add(struct bdb_queue *q, struct list *item)
{
	bool ok, wake;

	pthread_mutex_lock(&q->lock);
	ok = q->failed.code == ST_OK && !q->stop;
	wake = ok && !q->busy && list_empty(&q->todo);
	if (ok)
		list_push_back(&q->todo, item);
	pthread_mutex_unlock(&q->lock);
	if (wake)
		pthread_cond_signal(&q->more);
	return ok;
}

bool bdb_queue_take(struct bdb_queue *q, struct list *out)
{
	bool got;

	pthread_mutex_lock(&q->lock);
	q->busy = false;
	while (list_empty(&q->todo) && !q->stop) {
		pthread_cond_broadcast(&q->idle);
		pthread_cond_wait(&q->more, &q->lock);
	}
	got = !list_empty(&q->todo);
	bdb_list_move(&q->todo, out);
	q->busy = got;
	if (!got)
		pthread_cond_broadcast(&q->idle);
	pthread_mutex_unlock(&q->lock);
	return got;
}

void bdb_queue_done(struct bdb_queue *q, struct list *items, const struct error *err)
{
	uint64_t one = 1;
	bool wake;

	pthread_mutex_lock(&q->lock);
	wake = list_empty(&q->done) && list_empty(&q->dead);
	if (err->code == ST_OK) {
		bdb_list_move(items, &q->done);
	} else {
		if (q->failed.code == ST_OK)
			q->failed = *err;
		bdb_list_move(items, &q->dead);
		bdb_list_move(&q->todo, &q->dead);
	}
	pthread_mutex_unlock(&q->lock);
	if (wake && write(*q->event_fd, &one, sizeof one) < 0)
		return; /* the counter is full: it is readable all the same */
}

void bdb_queue_collect(struct bdb_queue *q, struct list *done, struct list *dead)
{
	pthread_mutex_lock(&q->lock);
	bdb_list_move(&q->done, done);
	bdb_list_move(&q->dead, dead);
	pthread_mutex_unlock(&q->lock);
}

void bdb_queue_wait_idle(struct bdb_queue *q)
{
	pthread_mutex_lock(&q->lock);
	while (q->busy || !list_empty(&q->todo))
		pthread_cond_wait(&q->idle, &q->lock);
	pthread_mutex_unlock(&q->lock);
}

bool bdb_queue_failed(struct bdb_queue *q, struct error *err_out)
{
	bool failed;

	pthread_mutex_lock(&q->lock);
	failed = q->failed.code != ST_OK;
	if (failed && err_out)
		*err_out = q->failed;
	pthread_mutex_unlock(&q->lock);
	return failed;
}

/* -------- the keeper -------- */

static void keeper_warn(struct bdb_store *s, int ret, const char *what)
{
	struct error err;

	bdb_error(&err, ret, "%s", what);
	pthread_mutex_lock(&s->keeper.lock);
	s->keeper.warning = err;
	pthread_mutex_unlock(&s->keeper.lock);
}

static void keeper_checkpoint(struct bdb_store *s, struct bdb_env *e)
{
	int ret;

	if (__atomic_load_n(&e->written_bytes, __ATOMIC_RELAXED) < bdb_tuning.checkpoint_bytes)
		return;
	__atomic_store_n(&e->written_bytes, 0, __ATOMIC_RELAXED);
	ret = e->env->txn_checkpoint(e->env, 0, 0, 0);
	if (ret != 0) /* a broken environment fails the next commit, which tells the engine */
		keeper_warn(s, ret, "checkpoint failed");
}

/* A file left behind by a failure is dropped after the next start. */
static void keeper_remove(struct bdb_store *s, struct bdb_segment *seg)
{
	char name[32];
	int ret;

	snprintf(name, sizeof name, "%016" PRIx64 ".db", seg->first_op);
	(void)seg->db->close(seg->db, DB_NOSYNC);
	ret = s->jenv.env->dbremove(s->jenv.env, NULL, name, NULL, DB_AUTO_COMMIT);
	if (ret != 0)
		keeper_warn(s, ret, "cannot remove a journal file");
	free(seg);
}

static void keeper_work(struct bdb_store *s, struct list *drops, bool mark)
{
	int ret = mark ? bdb_mark_sync(&s->mark) : 0;

	if (ret != 0)
		keeper_warn(s, ret, "cannot sync the end mark");
	keeper_checkpoint(s, &s->jenv);
	keeper_checkpoint(s, &s->ienv);
	while (!list_empty(drops)) {
		struct list *it = list_first(drops);

		list_remove(it);
		keeper_remove(s, CONTAINER_OF(it, struct bdb_segment, link));
	}
}

static bool keeper_has_work(const struct bdb_keeper *k)
{
	return k->mark_dirty || k->checkpoint_due || k->drops.next != &k->drops;
}

static void *keeper_main(void *store)
{
	struct bdb_store *s = store;
	struct bdb_keeper *k = &s->keeper;
	struct list drops;

	list_init(&drops);
	pthread_mutex_lock(&k->lock);
	for (;;) {
		struct timespec until;
		bool mark;

		k->busy = false;
		while (!keeper_has_work(k) && !k->stop) {
			pthread_cond_broadcast(&k->idle);
			pthread_cond_wait(&k->more, &k->lock);
		}
		if (!keeper_has_work(k))
			break; /* stop */
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += (long)bdb_tuning.mark_sync_ms * 1000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		while (!k->stop && !k->checkpoint_due && list_empty(&k->drops) &&
		       pthread_cond_timedwait(&k->more, &k->lock, &until) != ETIMEDOUT)
			;
		mark = k->mark_dirty;
		k->mark_dirty = k->checkpoint_due = false;
		k->busy = true;
		bdb_list_move(&k->drops, &drops);
		pthread_mutex_unlock(&k->lock);
		keeper_work(s, &drops, mark);
		pthread_mutex_lock(&k->lock);
	}
	pthread_cond_broadcast(&k->idle);
	pthread_mutex_unlock(&k->lock);
	return NULL;
}

void bdb_keeper_wake(struct bdb_store *s, bool mark_dirty)
{
	struct bdb_keeper *k = &s->keeper;
	bool due = __atomic_load_n(&s->jenv.written_bytes, __ATOMIC_RELAXED) >= bdb_tuning.checkpoint_bytes ||
		   __atomic_load_n(&s->ienv.written_bytes, __ATOMIC_RELAXED) >= bdb_tuning.checkpoint_bytes;
	bool wake;

	pthread_mutex_lock(&k->lock);
	wake = (mark_dirty && !k->mark_dirty) || (due && !k->checkpoint_due);
	k->mark_dirty |= mark_dirty;
	k->checkpoint_due |= due;
	pthread_mutex_unlock(&k->lock);
	if (wake)
		pthread_cond_signal(&k->more);
}

void bdb_keeper_drop(struct bdb_store *s, struct list *segments)
{
	pthread_mutex_lock(&s->keeper.lock);
	bdb_list_move(segments, &s->keeper.drops);
	pthread_mutex_unlock(&s->keeper.lock);
	pthread_cond_signal(&s->keeper.more);
}

void bdb_keeper_wait_idle(struct bdb_store *s)
{
	struct bdb_keeper *k = &s->keeper;

	pthread_mutex_lock(&k->lock);
	while (k->busy || !list_empty(&k->drops))
		pthread_cond_wait(&k->idle, &k->lock);
	pthread_mutex_unlock(&k->lock);
}

/* -------- threads -------- */

static enum status thread_start(pthread_t *thread, bool *running, void *(*fn)(void *), struct bdb_store *s,
				struct error *err)
{
	int ret = pthread_create(thread, NULL, fn, s);

	if (ret != 0)
		return error_set(err, ST_SYSTEM, "cannot start a thread: %s", strerror(ret));
	*running = true;
	return ST_OK;
}

enum status bdb_threads_start(struct bdb_store *s, struct error *err)
{
	pthread_condattr_t attr;
	sigset_t all, old;
	enum status st;

	pthread_mutex_init(&s->keeper.lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->keeper.more, &attr);
	pthread_cond_init(&s->keeper.idle, NULL);
	pthread_condattr_destroy(&attr);
	list_init(&s->keeper.drops);
	sigfillset(&all); /* signals are the loop's: threads inherit a mask without any */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if ((st = thread_start(&s->keeper.thread, &s->keeper.running, keeper_main, s, err)) == ST_OK &&
	    (st = thread_start(&s->journal.thread, &s->journal.running, bdb_journal_main, s, err)) == ST_OK)
		st = thread_start(&s->image.thread, &s->image.running, bdb_images_main, s, err);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return st;
}

static void queue_stop(struct bdb_queue *q)
{
	if (!q->running)
		return;
	pthread_mutex_lock(&q->lock);
	q->stop = true;
	pthread_mutex_unlock(&q->lock);
	pthread_cond_signal(&q->more);
	pthread_join(q->thread, NULL);
	q->running = false;
}

void bdb_threads_stop(struct bdb_store *s)
{
	queue_stop(&s->journal);
	queue_stop(&s->image);
	if (!s->keeper.running)
		return;
	pthread_mutex_lock(&s->keeper.lock);
	s->keeper.stop = true;
	pthread_mutex_unlock(&s->keeper.lock);
	pthread_cond_signal(&s->keeper.more);
	pthread_join(s->keeper.thread, NULL);
	s->keeper.running = false;
	pthread_cond_destroy(&s->keeper.idle);
	pthread_cond_destroy(&s->keeper.more);
	pthread_mutex_destroy(&s->keeper.lock);
}
