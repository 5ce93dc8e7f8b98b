/*
 * crew.c - the workers of one process (cli). See crew.h.
 */
#include "cli/crew.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/list.h"

struct crew_worker {
	_Atomic uint32_t clients;
	_Atomic bool ready;
	uint32_t clients_max;
	int fd;                       /* readable when there is mail */
	/* under the lock */
	VEC(struct mail) mail;
	size_t at;
};

struct crew {
	pthread_mutex_t lock;
	struct mem *parent, mem;      /* mem: under the lock */
	uint32_t count, last;         /* last: who was picked last */
	_Atomic uint32_t running;
	struct crew_worker workers[];
};

static size_t crew_bytes(uint32_t count)
{
	return sizeof(struct crew) + count * sizeof(struct crew_worker);
}

struct crew *crew_new(struct mem *parent, uint32_t count, struct error *err)
{
	struct crew *c = mem_alloc(parent, crew_bytes(count));
	bool ok = true;

	ASSERT_OP(count, >, 0);
	c->parent = parent;
	c->count = count;
	c->last = count - 1;
	mem_init(&c->mem, NULL, "mail", 0);
	atomic_init(&c->running, count);
	ASSERT(pthread_mutex_init(&c->lock, NULL) == 0);
	for (uint32_t i = 0; i < count; i++) {
		c->workers[i].fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		ok = ok && c->workers[i].fd >= 0;
	}
	if (ok)
		return c;
	error_set(err, ST_SYSTEM, "cannot create an event descriptor: %s", strerror(errno));
	crew_free(c);
	return NULL;
}

void crew_free(struct crew *c)
{
	struct mail m;

	for (uint32_t i = 0; i < c->count; i++) {
		while (crew_take(c, i, &m))
			if (m.kind == MAIL_CLIENT)
				close(m.fd);
		VEC_FINI(&c->mem, &c->workers[i].mail);
		if (c->workers[i].fd >= 0)
			close(c->workers[i].fd);
	}
	mem_fini(&c->mem);
	pthread_mutex_destroy(&c->lock);
	mem_free(c->parent, c, crew_bytes(c->count));
}

uint32_t crew_count(const struct crew *c)
{
	return c->count;
}

void crew_limit(struct crew *c, uint32_t worker, uint32_t clients_max)
{
	c->workers[worker].clients_max = clients_max;
}

void crew_ready(struct crew *c, uint32_t worker, bool ready)
{
	atomic_store(&c->workers[worker].ready, ready);
}

/* -- connections ------------------------------------------------------------------------------------------------ */

/*
 * Those whose engines answer come first: the others would only say that the database starts up. Among equals it is the next
 * one's turn, so that connections which come and go one at a time are spread, too.
 */
int crew_pick(struct crew *c)
{
	bool best_ready = false;
	uint32_t best_clients = 0;
	int best = -1;

	for (uint32_t i = 1; i <= c->count; i++) {
		uint32_t at = (c->last + i) % c->count;
		struct crew_worker *w = &c->workers[at];
		uint32_t clients = atomic_load(&w->clients);
		bool ready = atomic_load(&w->ready);

		if (clients >= w->clients_max || (best >= 0 && best_ready && !ready))
			continue;
		if (best < 0 || ready != best_ready || clients < best_clients) {
			best = (int)at;
			best_clients = clients;
			best_ready = ready;
		}
	}
	if (best < 0)
		return best;
	c->last = (uint32_t)best;
	atomic_fetch_add(&c->workers[best].clients, 1);
	return best;
}

void crew_client_gone(struct crew *c, uint32_t worker)
{
	ASSERT(atomic_fetch_sub(&c->workers[worker].clients, 1) > 0);
}

uint32_t crew_clients(const struct crew *c)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->count; i++)
		n += atomic_load(&c->workers[i].clients);
	return n;
}

/* -- mail --------------------------------------------------------------------------------------------------------- */

void crew_post(struct crew *c, uint32_t worker, const struct mail *m)
{
	struct crew_worker *w = &c->workers[worker];
	uint64_t one = 1;

	pthread_mutex_lock(&c->lock);
	if (m->kind != MAIL_CANCEL || w->mail.count - w->at < CREW_MAIL_MAX)
		VEC_PUSH(&c->mem, &w->mail, *m);
	pthread_mutex_unlock(&c->lock);
	ASSERT(write(w->fd, &one, sizeof one) == sizeof one);
}

void crew_post_others(struct crew *c, uint32_t worker, const struct mail *m)
{
	for (uint32_t i = 0; i < c->count; i++)
		if (i != worker)
			crew_post(c, i, m);
}

int crew_fd(const struct crew *c, uint32_t worker)
{
	return c->workers[worker].fd;
}

bool crew_take(struct crew *c, uint32_t worker, struct mail *out)
{
	struct crew_worker *w = &c->workers[worker];
	uint64_t posts;
	bool any;

	/* what is posted after this makes it readable again */
	if (read(w->fd, &posts, sizeof posts) < 0)
		posts = 0;
	pthread_mutex_lock(&c->lock);
	any = w->at < w->mail.count;
	if (any)
		*out = w->mail.at[w->at++];
	if (w->at == w->mail.count)
		w->at = w->mail.count = 0;
	pthread_mutex_unlock(&c->lock);
	return any;
}

/* -- the end -------------------------------------------------------------------------------------------------------- */

void crew_done(struct crew *c, uint32_t worker)
{
	const struct mail done = {.kind = MAIL_DONE};

	crew_ready(c, worker, false);
	atomic_fetch_sub(&c->running, 1);
	if (worker != 0)
		crew_post(c, 0, &done);
}

uint32_t crew_others(const struct crew *c)
{
	return atomic_load(&c->running) - 1;
}
