/*
 * local_net.c - one engine's transport: links in the process, and a fabric for all others (net/local). See local_int.h.
 */
#include "net/local/local_net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "net/local/local_int.h"

#define REAP_PAUSE_NS 20000

/* -- open and close ------------------------------------------------------------------------------------------------ */

static bool watch(const struct local_net *n, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	return fd < 0 || epoll_ctl(n->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0;
}

static enum status local_open(const struct net_config *cfg, struct net **net_out, struct error *err)
{
	const struct local_port *port = cfg->backend;
	struct net_config under = *cfg;
	struct local_net *n;
	enum status st;

	if (!port)
		return error_set(err, ST_BAD_PARAMETER, "links within a process need its hub");
	n = MEM_NEW(cfg->mem, struct local_net);
	n->net.ops = &net_ops_local;
	n->cfg = *cfg;
	n->hub = port->hub;
	n->fabric = port->fabric;
	list_init(&n->links);
	list_init(&n->closed);
	list_init(&n->regions);
	list_init(&n->node);
	list_init(&n->inbox);
	under.backend = NULL;
	n->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	n->bell = bell_new(n->hub, err);
	st = n->bell ? n->fabric->open(&under, &n->under, err) : err->code;
	if (st == ST_OK && (n->epoll_fd < 0 || !watch(n, n->bell->fd) || !watch(n, n->fabric->wait_fd(n->under)))) {
		st = error_set(err, ST_SYSTEM, "cannot watch the process's links: %s", strerror(errno));
		n->fabric->close(n->under);
	}
	if (st != ST_OK) {
		if (n->bell)
			bell_unref(n->bell);
		if (n->epoll_fd >= 0)
			close(n->epoll_fd);
		MEM_FREE(cfg->mem, n);
		return st;
	}
	n->net.remote_read = n->under->remote_read;
	*net_out = &n->net;
	return ST_OK;
}

static void refuse(struct channel *c)
{
	atomic_store(&c->sides[1].state, SIDE_GONE);
	bell_ring(c->sides[0].bell);
	channel_unref(c);
}

/* The first that came, of the inbox; NULL: there is none. */
static struct channel *knock_take(struct local_net *n)
{
	struct list *l;

	pthread_mutex_lock(&n->hub->lock);
	l = list_first(&n->inbox);
	if (l)
		list_remove(l);
	else
		atomic_store(&n->knocked, false);
	pthread_mutex_unlock(&n->hub->lock);
	return l ? CONTAINER_OF(l, struct channel, l) : NULL;
}

static void reap(struct local_net *n)
{
	LIST_FOREACH_SAFE(it, tmp, &n->closed)
		(void)local_link_reap(CONTAINER_OF(it, struct local_link, all));
}

static void local_unexpose(struct net *net, struct net_region *region);

static void local_close(struct net *net)
{
	const struct timespec pause = {0, REAP_PAUSE_NS};
	struct local_net *n = local_net_of(net);
	struct channel *c;

	ASSERT(!n->in_progress);
	pthread_mutex_lock(&n->hub->lock);
	list_remove(&n->node); /* nobody dials us from here on */
	pthread_mutex_unlock(&n->hub->lock);
	while ((c = knock_take(n)))
		refuse(c);
	while (!list_empty(&n->links))
		local_link_close(CONTAINER_OF(n->links.next, struct local_link, all));
	/* another engine may be within one of our messages: a callback of it at most */
	for (reap(n); !list_empty(&n->closed); reap(n))
		nanosleep(&pause, NULL);
	while (!list_empty(&n->regions))
		local_unexpose(net, &CONTAINER_OF(n->regions.next, struct local_region, all)->region);
	n->fabric->close(n->under);
	bell_unref(n->bell);
	close(n->epoll_fd);
	MEM_FREE(n->cfg.mem, n);
}

/* -- addresses ----------------------------------------------------------------------------------------------------- */

static enum status local_listen(struct net *net, const char *address, char bound_out[NET_ADDRESS_MAX], struct error *err)
{
	struct local_net *n = local_net_of(net);
	enum status st = n->fabric->listen(n->under, address, bound_out, err);

	if (st != ST_OK)
		return st;
	pthread_mutex_lock(&n->hub->lock);
	memcpy(n->address, bound_out, sizeof n->address);
	list_push_back(&n->hub->nets, &n->node);
	pthread_mutex_unlock(&n->hub->lock);
	return ST_OK;
}

/* A channel to the engine that listens there, in its inbox; NULL: that is nobody of this process. */
static struct channel *knock(struct local_net *n, const char *address)
{
	struct local_hub *hub = n->hub;
	struct channel *c = NULL;

	pthread_mutex_lock(&hub->lock);
	LIST_FOREACH(it, &hub->nets) {
		struct local_net *to = CONTAINER_OF(it, struct local_net, node);

		if (strcmp(to->address, address) != 0)
			continue;
		c = MEM_NEW(&hub->mem, struct channel);
		c->hub = hub;
		atomic_init(&c->refs, 2);
		c->sides[0].bell = n->bell;
		c->sides[1].bell = to->bell;
		for (int i = 0; i < 2; i++)
			atomic_fetch_add(&c->sides[i].bell->refs, 1);
		atomic_store(&c->sides[0].state, SIDE_UP);
		memcpy(c->from, n->address, sizeof c->from);
		list_push_back(&to->inbox, &c->l);
		atomic_store(&to->knocked, true);
		break;
	}
	pthread_mutex_unlock(&hub->lock);
	if (c)
		bell_ring(c->sides[1].bell);
	return c;
}

static enum status local_connect(struct net *net, const char *address, struct net_link **link_out, struct error *err)
{
	struct local_net *n = local_net_of(net);
	struct channel *c = knock(n, address);
	struct local_link *l;

	if (!c)
		return n->fabric->connect(n->under, address, link_out, err);
	log_event(n->cfg.log, LOG_NET, LOG_INFO, "link within the process", "peer=%s", address);
	l = local_link_new(n, c, 0, address);
	l->deadline_us = clock_now_us(&n->cfg.clock) + LOCAL_DIAL_US;
	n->dialling++;
	*link_out = &l->link;
	return ST_OK;
}

static int accept_knocks(struct local_net *n)
{
	struct channel *c;
	int done = 0;

	if (!atomic_load(&n->knocked))
		return 0;
	while ((c = knock_take(n))) {
		struct local_link *l;

		if (atomic_load(&c->sides[0].state) == SIDE_GONE) { /* it gave up */
			refuse(c);
			continue;
		}
		l = local_link_new(n, c, 1, c->from[0] ? c->from : "unknown");
		l->state = LOCAL_UP;
		atomic_store(&c->sides[1].state, SIDE_UP);
		bell_ring(c->sides[0].bell);
		n->cfg.events->accepted(n->cfg.ctx, &l->link);
		done++;
	}
	return done;
}

static void local_close_link(struct net_link *link)
{
	local_link_close(local_link_of(link));
}

/* -- turns ----------------------------------------------------------------------------------------------------------- */

static int publish_all(struct local_net *n)
{
	int done = 0;

	LIST_FOREACH(it, &n->links)
		done += local_link_publish(CONTAINER_OF(it, struct local_link, all));
	return done;
}

/* Was the bell rung? Its descriptor is read as often as it was written to, but not always as soon. */
static bool heard(struct local_net *n)
{
	uint32_t was = atomic_load(&n->bell->state) == BELL_AWAKE ? BELL_AWAKE : atomic_exchange(&n->bell->state, BELL_AWAKE);
	uint64_t rings;

	if (was == BELL_RUNG && n->slept)
		n->owed++;
	n->slept = false;
	if (n->owed && read(n->bell->fd, &rings, sizeof rings) == sizeof rings) {
		ASSERT_OP(rings, <=, n->owed);
		n->owed -= rings;
	}
	return was == BELL_RUNG;
}

/* Callbacks close any link, and cause new ones: those wait for the next turn. */
static int take_all(struct local_net *n)
{
	struct list turn;
	int done = 0;

	if (list_empty(&n->links))
		return 0;
	list_insert_before(&n->links, &turn);
	list_remove(&n->links);
	while (!list_empty(&turn)) {
		struct local_link *l = CONTAINER_OF(turn.next, struct local_link, all);

		list_remove(&l->all);
		list_push_back(&n->links, &l->all);
		done += local_link_take(l);
	}
	return done;
}

static void check_dials(struct local_net *n)
{
	uint64_t now = n->dialling ? clock_now_us(&n->cfg.clock) : 0;

	LIST_FOREACH(it, &n->links) {
		struct local_link *l = CONTAINER_OF(it, struct local_link, all);

		if (n->dialling && l->state == LOCAL_DIALLING && now >= l->deadline_us) {
			l->state = LOCAL_BROKEN;
			l->why = ST_WAIT;
			n->dialling--;
			n->broken++;
		}
	}
}

/* One link of which there is something to tell; NULL: none. */
static struct local_link *find(struct local_net *n, bool (*what)(const struct local_link *l))
{
	LIST_FOREACH(it, &n->links) {
		struct local_link *l = CONTAINER_OF(it, struct local_link, all);

		if (what(l))
			return l;
	}
	return NULL;
}

static bool is_broken(const struct local_link *l)
{
	return l->state == LOCAL_BROKEN;
}

static bool is_drained(const struct local_link *l)
{
	return l->tell_drained;
}

static int tell(struct local_net *n)
{
	struct local_link *l;
	int done = 0;

	while ((l = find(n, is_drained))) {
		l->tell_drained = false;
		/* What was sent since then will be told when it has drained, too. */
		if (l->state == LOCAL_UP && l->link.backlog_bytes <= NET_BACKLOG_LOW) {
			n->cfg.events->drained(n->cfg.ctx, &l->link);
			done++;
		}
	}
	while (n->broken && (l = find(n, is_broken))) {
		enum status why = l->why;

		local_link_close(l);
		n->cfg.events->down(n->cfg.ctx, &l->link, why);
		done++;
	}
	return done;
}

static int local_turn(struct local_net *n)
{
	int done = publish_all(n);

	if (heard(n)) {
		done += accept_knocks(n);
		done += take_all(n);
	}
	check_dials(n);
	LIST_FOREACH(it, &n->links)
		(void)local_link_settle(CONTAINER_OF(it, struct local_link, all));
	done += publish_all(n); /* what callbacks sent, and what had no room */
	done += tell(n);
	reap(n);
	return done;
}

static int local_progress(struct net *net)
{
	struct local_net *n = local_net_of(net);
	int done;

	ASSERT(!n->in_progress);
	n->in_progress = true;
	done = local_turn(n);
	done += n->fabric->progress(n->under);
	publish_all(n); /* what the fabric's messages caused */
	n->net.sends = n->under->sends + n->own_sends;
	n->in_progress = false;
	return done;
}

static int local_wait_fd(struct net *net)
{
	return local_net_of(net)->epoll_fd;
}

static bool local_try_wait(struct net *net)
{
	struct local_net *n = local_net_of(net);
	uint32_t awake = BELL_AWAKE;

	if (!n->fabric->try_wait(n->under))
		return false;
	publish_all(n);
	n->net.sends = n->under->sends + n->own_sends;
	LIST_FOREACH(it, &n->links) {
		struct local_link *l = CONTAINER_OF(it, struct local_link, all);

		if (!local_link_hungry(l) || l->tell_drained)
			return false;
	}
	if (n->broken)
		return false;
	if (!atomic_compare_exchange_strong(&n->bell->state, &awake, BELL_ASLEEP))
		return awake == BELL_ASLEEP;
	n->slept = true;
	return true;
}

/* -- remote memory ----------------------------------------------------------------------------------------------------- */

/* Where the fabric has none, other engines of the process may still read. */
static enum status local_expose(struct net *net, const void *base, size_t bytes, struct net_region **out)
{
	struct local_net *n = local_net_of(net);
	struct net_region *fabric = NULL;
	struct local_region *g;
	enum status st = n->fabric->expose ? n->fabric->expose(n->under, base, bytes, &fabric) : ST_OK;

	if (st != ST_OK)
		return st;
	g = MEM_NEW(n->cfg.mem, struct local_region);
	g->fabric = fabric;
	g->region = fabric ? *fabric : (struct net_region){(uint64_t)(uintptr_t)base, ++n->keys};
	g->base = base;
	g->bytes = bytes;
	list_push_back(&n->regions, &g->all);
	*out = &g->region;
	return ST_OK;
}

static void local_unexpose(struct net *net, struct net_region *region)
{
	struct local_net *n = local_net_of(net);
	struct local_region *g = CONTAINER_OF(region, struct local_region, region);

	if (g->fabric)
		n->fabric->unexpose(n->under, g->fabric);
	list_remove(&g->all);
	MEM_FREE(n->cfg.mem, g);
}

static bool local_read(struct net_link *link, uint64_t address, uint64_t key, uint32_t bytes, uint64_t token)
{
	if (link->ops == &net_ops_local)
		return local_link_read(local_link_of(link), address, key, bytes, token);
	return link->ops->read && link->ops->read(link, address, key, bytes, token);
}

const struct net_ops net_ops_local = {
	.name = "local",
	.open = local_open,
	.close = local_close,
	.listen = local_listen,
	.connect = local_connect,
	.send = local_link_send,
	.close_link = local_close_link,
	.progress = local_progress,
	.wait_fd = local_wait_fd,
	.try_wait = local_try_wait,
	.expose = local_expose,
	.unexpose = local_unexpose,
	.read = local_read,
};
