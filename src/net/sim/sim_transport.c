/*
 * sim_transport.c - the transport's operations over the simulated network (net/sim). See sim_net.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "net/net.h"
#include "net/sim/sim_int.h"

static struct sim_transport *transport_of(struct net *net)
{
	return CONTAINER_OF(net, struct sim_transport, net);
}

static struct sim_end *end_of(struct net_link *link)
{
	return CONTAINER_OF(link, struct sim_end, link);
}

static uint8_t end_number(const struct sim_end *end)
{
	return end == &end->conn->ends[1];
}

/* "name:port" with a port that is a number up to 65535. */
static bool address_ok(const char *address)
{
	const char *colon = address ? strrchr(address, ':') : NULL;
	char *end;

	if (!colon || colon == address || !colon[1] || strlen(address) >= NET_ADDRESS_MAX)
		return false;
	unsigned long port = strtoul(colon + 1, &end, 10);

	return *end == '\0' && port <= 65535 && colon[1] >= '0' && colon[1] <= '9';
}

static enum status sim_open(const struct net_config *cfg, struct net **net_out, struct error *err)
{
	struct sim_host *h = cfg->backend;

	if (!h)
		return error_set(err, ST_BAD_PARAMETER,
				 "the simulated transport needs a simulated host");
	if (h->transport || h->crashed)
		return error_set(err, ST_STATE, "simulated host %s %s", h->address,
				 h->crashed ? "is down" : "already has a transport");
	struct sim_transport *t = MEM_NEW(cfg->mem, struct sim_transport);

	t->net.ops = &net_ops_sim;
	t->net.remote_read = h->sn->remote_read;
	t->cfg = *cfg;
	t->host = h;
	list_init(&t->links);
	list_init(&t->regions);
	h->transport = t;
	*net_out = &t->net;
	return ST_OK;
}

static void sim_close_link(struct net_link *link)
{
	struct sim_end *end = end_of(link);

	sim_end_close(end->conn, end_number(end));
}

/* -- remote memory ---------------------------------------------------------------------------- */

static enum status sim_expose(struct net *net, const void *base, size_t bytes, struct net_region **out)
{
	struct sim_transport *t = transport_of(net);
	struct sim_region *g = MEM_NEW(t->cfg.mem, struct sim_region);

	g->region.address = (uint64_t)(uintptr_t)base;
	g->region.key = ++t->host->sn->keys;
	g->bytes = bytes;
	list_push_back(&t->regions, &g->all);
	*out = &g->region;
	return ST_OK;
}

static void sim_unexpose(struct net *net, struct net_region *region)
{
	struct sim_region *g = CONTAINER_OF(region, struct sim_region, region);

	list_remove(&g->all);
	MEM_FREE(transport_of(net)->cfg.mem, g);
}

static bool sim_read(struct net_link *link, uint64_t address, uint64_t key, uint32_t bytes, uint64_t token)
{
	struct sim_end *end = end_of(link);
	struct sim_conn *c = end->conn;
	struct sim_item *it;

	ASSERT_OP(bytes, <=, NET_READ_MAX);
	if (end->state != END_UP || end->reads >= NET_READS_MAX)
		return false;
	end->reads++;
	if (c->broken)
		return true;
	it = sim_item_new(c->sn, ITEM_READ, !end_number(end));
	it->address = address;
	it->key = key;
	it->bytes = bytes;
	it->token = token;
	c->sn->counters.reads++;
	sim_dir_push(c, end_number(end), it);
	return true;
}

bool sim_read_serve(struct sim_conn *c, const struct sim_item *it)
{
	const struct sim_transport *t = c->ends[it->to].transport;
	struct sim_item *back;

	if (!t)
		return true; /* nobody is there to say no */
	LIST_FOREACH(l, (struct list *)&t->regions) {
		const struct sim_region *g = CONTAINER_OF(l, struct sim_region, all);

		if (g->region.key != it->key)
			continue;
		if (it->address < g->region.address || it->bytes > g->bytes ||
		    it->address - g->region.address > g->bytes - it->bytes)
			break;
		back = sim_item_new(c->sn, ITEM_READ_DONE, !it->to);
		back->token = it->token;
		back->msg = net_msg_new(c->sn->mem, it->bytes);
		memcpy(back->msg->data, (const void *)(uintptr_t)it->address, it->bytes);
		sim_dir_push(c, it->to, back);
		return true;
	}
	c->sn->counters.reads_denied++;
	return false;
}

static void sim_close(struct net *net)
{
	struct sim_transport *t = transport_of(net);
	struct sim_host *h = t->host;

	ASSERT(!t->in_progress);
	h->listening = false;
	while (!list_empty(&t->links))
		sim_close_link(&CONTAINER_OF(t->links.next, struct sim_end, all)->link);
	LIST_FOREACH_SAFE(l, tmp, &h->ready) {
		struct sim_item *it = CONTAINER_OF(l, struct sim_item, l);

		if (it->kind == ITEM_ACCEPT)
			sim_schedule(it->conn, EVENT_REFUSED, 0, clock_now_us(&h->sn->clock));
		sim_item_free(h->sn, it);
	}
	while (!list_empty(&t->regions))
		sim_unexpose(net, &CONTAINER_OF(t->regions.next, struct sim_region, all)->region);
	h->transport = NULL;
	MEM_FREE(t->cfg.mem, t);
}

static enum status sim_listen(struct net *net, const char *address, char bound_out[NET_ADDRESS_MAX],
			      struct error *err)
{
	struct sim_transport *t = transport_of(net);
	struct sim_host *h = t->host;
	const struct sim_host *other;
	char want[NET_ADDRESS_MAX];

	if (!address_ok(address))
		return error_set(err, ST_BAD_PARAMETER, "listen address \"%s\" is not host:port",
				 address ? address : "");
	snprintf(want, sizeof want, "%s", address);
	if (strcmp(strrchr(want, ':'), ":0") == 0)
		snprintf(want, sizeof want, "%s", h->address);
	other = sim_host_find(h->sn, want);
	if (h->listening || (other && other != h && other->listening))
		return error_set(err, ST_STATE, "cannot listen on %s: the address is in use", want);
	if (strcmp(want, h->address) != 0)
		return error_set(err, ST_BAD_PARAMETER,
				 "cannot listen on %s: the address of this host is %s", want,
				 h->address);
	h->listening = true;
	snprintf(bound_out, NET_ADDRESS_MAX, "%s", want);
	return ST_OK;
}

static void end_init(struct sim_conn *c, uint8_t e, struct sim_transport *t, const char *peer)
{
	struct sim_end *end = &c->ends[e];

	end->link.ops = &net_ops_sim;
	end->link.net = &t->net;
	end->link.accepted = e == 1;
	snprintf(end->link.peer, sizeof end->link.peer, "%s", peer);
	end->transport = t;
	list_push_back(&t->links, &end->all);
	c->refs++;
}

static enum status sim_connect(struct net *net, const char *address, struct net_link **link_out,
			       struct error *err)
{
	struct sim_transport *t = transport_of(net);
	struct sim_net *sn = t->host->sn;
	uint64_t now = clock_now_us(&sn->clock);

	if (!address_ok(address))
		return error_set(err, ST_BAD_PARAMETER, "address \"%s\" is not host:port",
				 address ? address : "");
	struct sim_conn *c = MEM_NEW(sn->mem, struct sim_conn);

	c->sn = sn;
	list_push_back(&sn->conns, &c->all);
	for (int i = 0; i < 2; i++) {
		list_init(&c->dirs[i].backlog);
		list_init(&c->dirs[i].flight);
		list_init(&c->ends[i].all);
		c->ends[i].conn = c;
	}
	c->ends[0].host = t->host;
	c->ends[1].host = sim_host_find(sn, address);
	end_init(c, 0, t, address);
	c->ends[0].state = END_DIALLING;
	sn->counters.dials++;
	if (!t->dead) {
		const struct sim_faults *f = sim_faults_of(sn, t->host, c->ends[1].host);

		sim_schedule(c, EVENT_SYN, 0, now + sim_draw_delay(sn, f));
		sim_schedule(c, EVENT_DIAL_TIMEOUT, 0, now + SIM_DIAL_US);
	}
	*link_out = &c->ends[0].link;
	return ST_OK;
}

/* What the filter leaves of it, as a message of its own: others may share the one given. NULL: nothing. */
static struct net_msg *filtered(struct sim_conn *c, uint8_t e, struct net_msg *msg)
{
	struct net_msg *copy = net_msg_new(c->sn->mem, msg->bytes), *out = NULL;
	uint32_t bytes = msg->bytes;

	memcpy(copy->data, msg->data, bytes);
	if (c->sn->filter(c->sn->filter_ctx, c->ends[e].host, c->ends[!e].host, copy->data, &bytes)) {
		ASSERT_OP(bytes, <=, msg->bytes);
		out = net_msg_new(c->sn->mem, bytes);
		memcpy(out->data, copy->data, bytes);
	}
	net_msg_unref(copy);
	net_msg_unref(msg);
	return out;
}

static void sim_send(struct net_link *link, struct net_msg *msg)
{
	struct sim_end *end = end_of(link);
	struct sim_conn *c = end->conn;
	uint8_t e = end_number(end);

	ASSERT_OP(msg->bytes, <=, NET_MESSAGE_MAX);
	c->sn->counters.sent++;
	link->net->sends++;
	if (end->state != END_UP && end->state != END_DIALLING) {
		c->sn->counters.dropped++;
		net_msg_unref(msg);
		return;
	}
	if (c->sn->filter && !(msg = filtered(c, e, msg))) {
		c->sn->counters.dropped++;
		return;
	}
	struct sim_item *it = sim_item_new(c->sn, ITEM_MESSAGE, !e);

	it->msg = msg;
	list_push_back(&c->dirs[e].backlog, &it->l);
	link->backlog_bytes += msg->bytes;
	sim_dir_pump(c, e);
}

static void deliver_accept(struct sim_transport *t, struct sim_conn *c)
{
	if (c->ends[0].state != END_DIALLING || !t->host->listening)
		return; /* the dialler gave up */
	end_init(c, 1, t, c->ends[0].host->address);
	c->ends[1].state = END_UP;
	c->sn->counters.accepted++;
	sim_dir_push(c, 1, sim_item_new(c->sn, ITEM_UP, 0));
	t->cfg.events->accepted(t->cfg.ctx, &c->ends[1].link);
}

static void deliver_message(struct sim_transport *t, struct sim_conn *c, uint8_t to,
			    struct net_msg *msg)
{
	struct sim_end *end = &c->ends[to];
	struct sim_dir *dir = &c->dirs[!to];

	dir->flight_bytes -= msg->bytes < dir->flight_bytes ? msg->bytes : dir->flight_bytes;
	sim_dir_pump(c, !to);
	if (end->state != END_UP && end->state != END_DEAD) {
		c->sn->counters.dropped++;
		return;
	}
	if (end->link.rx_message_max && msg->bytes > end->link.rx_message_max) {
		sim_conn_break(c, false);
		return;
	}
	c->sn->counters.delivered++;
	end->link.rx_bytes += msg->bytes;
	t->cfg.events->message(t->cfg.ctx, &end->link, msg->data, msg->bytes);
}

static void deliver(struct sim_transport *t, struct sim_item *it)
{
	struct sim_conn *c = it->conn;
	struct sim_end *end = &c->ends[it->to];

	switch (it->kind) {
	case ITEM_ACCEPT:
		deliver_accept(t, c);
		break;
	case ITEM_UP:
		if (end->state != END_DIALLING)
			break;
		end->state = END_UP;
		t->cfg.events->up(t->cfg.ctx, &end->link);
		if (end->state == END_UP)
			sim_dir_pump(c, it->to);
		break;
	case ITEM_MESSAGE:
		deliver_message(t, c, it->to, it->msg);
		break;
	case ITEM_DOWN:
		if (end->state != END_DEAD)
			break;
		list_remove(&end->all);
		end->state = END_GONE;
		end->transport = NULL;
		t->cfg.events->down(t->cfg.ctx, &end->link, it->why);
		sim_conn_unref(c);
		break;
	case ITEM_READ: /* served where it arrives */
		break;
	case ITEM_READ_DONE:
		if (end->state != END_UP)
			break;
		end->reads--;
		end->link.rx_bytes += it->msg->bytes;
		if (t->cfg.events->read)
			t->cfg.events->read(t->cfg.ctx, &end->link, it->token, it->msg->data, it->msg->bytes);
		break;
	case ITEM_DRAINED:
		/* What was sent since then will be told when it has drained, too. */
		if (end->state == END_UP && end->link.backlog_bytes <= NET_BACKLOG_LOW)
			t->cfg.events->drained(t->cfg.ctx, &end->link);
		break;
	}
}

static int sim_progress(struct net *net)
{
	struct sim_transport *t = transport_of(net);
	struct sim_host *h = t->host;
	struct list turn;
	int done = 0;

	if (h->paused || t->dead || list_empty(&h->ready))
		return 0;
	ASSERT(!t->in_progress);
	t->in_progress = true;
	/* What is ready now; what callbacks cause comes in the next turn. */
	list_insert_before(&h->ready, &turn);
	list_remove(&h->ready);
	while (!list_empty(&turn)) {
		struct sim_item *it = CONTAINER_OF(turn.next, struct sim_item, l);

		list_remove(&it->l);
		deliver(t, it);
		sim_item_free(h->sn, it);
		done++;
	}
	t->in_progress = false;
	return done;
}

static int sim_wait_fd(struct net *net)
{
	(void)net;
	return -1;
}

static bool sim_try_wait(struct net *net)
{
	return !sim_host_ready(transport_of(net)->host);
}

const struct net_ops net_ops_sim = {
	.name = "sim",
	.open = sim_open,
	.close = sim_close,
	.listen = sim_listen,
	.connect = sim_connect,
	.send = sim_send,
	.close_link = sim_close_link,
	.progress = sim_progress,
	.wait_fd = sim_wait_fd,
	.try_wait = sim_try_wait,
	.expose = sim_expose,
	.unexpose = sim_unexpose,
	.read = sim_read,
};
