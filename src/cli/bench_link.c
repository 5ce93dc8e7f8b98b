/*
 * bench_link.c - our links, for `valence bench fabric` (cli). See net/bare.h.
 *
 * As an engine uses them: a message is allocated for each send of a small one, and a large one is
 * shared, as atoms' images are.
 */
#include <stdio.h>
#include <string.h>

#include "base/env.h"
#include "base/list.h"
#include "cli/bench_fabric.h"

#define SMALL 4096u
#define SMALL_BACKLOG_MAX (64u << 10) /* about what a turn of an engine has */
#define LARGE_BACKLOG_MAX (4u << 20)

struct ours {
	struct net_bare bare;
	struct net_bare_config cfg;
	struct logger log;
	struct net *net;
	struct net_link *link;
	struct net_msg *large;
};

static struct ours *ours_of(struct net_bare *b)
{
	return CONTAINER_OF(b, struct ours, bare);
}

static void on_up(void *ctx, struct net_link *link)
{
	struct ours *o = ctx;

	o->link = link;
	o->bare.up = true;
}

static void on_message(void *ctx, struct net_link *link, const void *data, size_t bytes)
{
	(void)link, (void)data, (void)bytes;
	net_bare_count(&((struct ours *)ctx)->bare);
}

static void on_down(void *ctx, struct net_link *link, enum status why)
{
	struct ours *o = ctx;

	(void)link, (void)why;
	o->link = NULL;
	o->bare.failed = true;
}

static void on_drained(void *ctx, struct net_link *link)
{
	(void)ctx, (void)link;
}

static const struct net_events events = {
	.up = on_up,
	.accepted = on_up,
	.message = on_message,
	.down = on_down,
	.drained = on_drained,
};

static void ours_close(struct net_bare *b)
{
	struct ours *o = ours_of(b);

	if (o->net)
		o->cfg.links->close(o->net);
	if (o->large)
		net_msg_unref(o->large);
	MEM_FREE(o->cfg.mem, o);
}

static enum status ours_open(const struct net_bare_config *cfg, char address_out[NET_ADDRESS_MAX],
			     struct net_bare **out, struct error *err)
{
	struct ours *o = MEM_NEW(cfg->mem, struct ours);
	struct net_config nc = {.mem = cfg->mem,
				.log = &o->log,
				.clock = clock_system(),
				.events = &events,
				.ctx = o,
				.provider = cfg->provider,
				.backend = cfg->backend};
	char address[NET_ADDRESS_MAX];
	enum status st;

	o->bare.ops = &bench_links;
	o->cfg = *cfg;
	logger_init_stderr(&o->log, "bench");
	logger_set_levels(&o->log, LOG_ERROR);
	snprintf(address, sizeof address, strchr(cfg->host, ':') ? "[%.100s]:0" : "%.100s:0",
		 cfg->host);
	st = cfg->links->open(&nc, &o->net, err);
	if (st == ST_OK)
		st = cfg->links->listen(o->net, address, address_out, err);
	if (st != ST_OK) {
		ours_close(&o->bare);
		return st;
	}
	*out = &o->bare;
	return ST_OK;
}

static enum status ours_connect(struct net_bare *b, const char *address, struct error *err)
{
	struct ours *o = ours_of(b);
	struct net_link *link;

	return o->cfg.links->connect(o->net, address, &link, err);
}

static struct net_msg *filled(struct mem *mem, uint32_t bytes)
{
	struct net_msg *m = net_msg_new(mem, bytes);

	memset(m->data, NET_BARE_FILL, bytes);
	return m;
}

static bool ours_send(struct net_bare *b, uint32_t bytes)
{
	struct ours *o = ours_of(b);

	if (!o->link ||
	    o->link->backlog_bytes > (bytes <= SMALL ? SMALL_BACKLOG_MAX : LARGE_BACKLOG_MAX))
		return false;
	if (bytes <= SMALL) {
		net_send(o->link, filled(o->cfg.mem, bytes));
		return true;
	}
	if (!o->large || o->large->bytes != bytes) {
		if (o->large)
			net_msg_unref(o->large);
		o->large = filled(o->cfg.mem, bytes);
	}
	net_send(o->link, net_msg_ref(o->large));
	return true;
}

static void ours_progress(struct net_bare *b)
{
	struct ours *o = ours_of(b);

	(void)o->cfg.links->progress(o->net);
}

const struct net_bare_ops bench_links = {
	.name = "Valence",
	.open = ours_open,
	.connect = ours_connect,
	.send = ours_send,
	.progress = ours_progress,
	.close = ours_close,
};
