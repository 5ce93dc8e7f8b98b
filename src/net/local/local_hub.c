/*
 * local_hub.c - what the engines of a process share: bells, channels, who listens where (net/local). See local_int.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "net/local/local_int.h"

struct local_hub *local_hub_new(struct mem *parent)
{
	struct local_hub *hub = MEM_NEW(parent, struct local_hub);

	hub->parent = parent;
	mem_init(&hub->mem, NULL, "links", 0); /* not below parent, which has another thread */
	list_init(&hub->nets);
	ASSERT(pthread_mutex_init(&hub->lock, NULL) == 0);
	return hub;
}

void local_hub_free(struct local_hub *hub)
{
	ASSERT(list_empty(&hub->nets));
	mem_fini(&hub->mem);
	pthread_mutex_destroy(&hub->lock);
	MEM_FREE(hub->parent, hub);
}

/* -- bells ---------------------------------------------------------------------------------------------------- */

struct bell *bell_new(struct local_hub *hub, struct error *err)
{
	struct bell *b;
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0) {
		error_set(err, ST_SYSTEM, "cannot create an event descriptor: %s", strerror(errno));
		return NULL;
	}
	pthread_mutex_lock(&hub->lock);
	b = MEM_NEW(&hub->mem, struct bell);
	pthread_mutex_unlock(&hub->lock);
	b->hub = hub;
	b->fd = fd;
	atomic_init(&b->refs, 1);
	atomic_init(&b->state, BELL_AWAKE);
	return b;
}

void bell_unref(struct bell *b)
{
	struct local_hub *hub = b->hub;

	if (atomic_fetch_sub(&b->refs, 1) != 1)
		return;
	close(b->fd);
	pthread_mutex_lock(&hub->lock);
	MEM_FREE(&hub->mem, b);
	pthread_mutex_unlock(&hub->lock);
}

/* What was written before is seen by whoever finds it rung. */
void bell_ring(struct bell *b)
{
	uint64_t one = 1;

	if (atomic_exchange(&b->state, BELL_RUNG) == BELL_ASLEEP)
		ASSERT(write(b->fd, &one, sizeof one) == sizeof one);
}

/* -- channels --------------------------------------------------------------------------------------------------- */

void channel_unref(struct channel *c)
{
	struct local_hub *hub = c->hub;
	struct bell *bells[2] = {c->sides[0].bell, c->sides[1].bell};

	if (atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	pthread_mutex_lock(&hub->lock);
	MEM_FREE(&hub->mem, c);
	pthread_mutex_unlock(&hub->lock);
	for (int i = 0; i < 2; i++)
		bell_unref(bells[i]);
}
