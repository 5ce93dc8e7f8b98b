/*
 * sim_mcast.c - datagrams to a group over the simulated network (net/sim). See mcast.h and sim_net.h.
 *
 * Every host that opened the same group hears every other. A datagram may be lost, come twice or late; one to a
 * stopped process waits in its inbox, as far as there is room.
 */
#include <string.h>

#include "base/assert.h"
#include "net/mcast.h"
#include "net/sim/sim_int.h"

#define INBOX_MAX 512

struct sim_mcast { struct mcast mcast; struct mcast_config cfg; struct sim_host *host; char group[NET_ADDRESS_MAX]; };

static struct sim_mcast *sim_of(struct mcast *m)
{
	return CONTAINER_OF(m, struct sim_mcast, mcast);
}

void sim_datagram_free(struct sim_net *sn, struct sim_datagram *d)
{
	list_remove(&d->l);
	mem_free(sn->mem, d, sizeof *d + d->bytes);
}

void sim_inbox_drop(struct sim_host *h)
{
	while (!list_empty(&h->inbox))
		sim_datagram_free(h->sn, CONTAINER_OF(list_first(&h->inbox), struct sim_datagram, l));
	h->inbox_count = 0;
}

void sim_datagram_arrives(struct sim_net *sn, struct sim_datagram *d)
{
	struct sim_host *h = d->to;

	if (!h->mcast || h->crashed || h->inbox_count >= INBOX_MAX || sim_blocked(sn, d->from, h)) {
		sn->counters.datagrams_lost++;
		sim_datagram_free(sn, d);
		return;
	}
	h->inbox_count++;
	list_push_back(&h->inbox, &d->l);
	sim_host_is_ready(h);
}

static enum status sim_mcast_open(const struct mcast_config *cfg, struct mcast **mcast_out, struct error *err)
{
	struct sim_host *h = cfg->backend;
	struct sim_mcast *m;

	if (!h || h->mcast || strlen(cfg->group) >= sizeof m->group)
		return error_set(err, ST_BAD_PARAMETER, "the simulated group needs a simulated host without one");
	m = MEM_NEW(cfg->mem, struct sim_mcast);
	m->mcast.ops = &mcast_ops_sim;
	m->cfg = *cfg;
	m->host = h;
	memcpy(m->group, cfg->group, strlen(cfg->group) + 1);
	h->mcast = m;
	*mcast_out = &m->mcast;
	return ST_OK;
}

static void sim_mcast_close(struct mcast *mcast)
{
	struct sim_mcast *m = sim_of(mcast);

	m->host->mcast = NULL;
	sim_inbox_drop(m->host);
	MEM_FREE(m->cfg.mem, m);
}

static void send_one(struct sim_net *sn, struct sim_host *from, struct sim_host *to, const void *data, size_t bytes)
{
	const struct sim_faults *f = sim_faults_of(sn, from, to);
	int copies = sim_chance(sn, f->duplicate_ppm) ? 2 : 1;

	for (int i = 0; i < copies; i++) {
		struct sim_datagram *d;
		uint64_t way;

		if (sim_chance(sn, f->loss_ppm) || sim_chance(sn, f->datagram_loss_ppm)) {
			sn->counters.datagrams_lost++;
			continue;
		}
		way = sim_draw_way(sn, f);
		if (sim_chance(sn, f->spike_ppm))
			way += f->spike_us;
		if (sim_chance(sn, f->reorder_ppm))
			way += rng_below(&sn->rng, f->delay_max_us + 1);
		d = mem_alloc(sn->mem, sizeof *d + bytes);
		list_init(&d->l);
		d->from = from;
		d->to = to;
		d->bytes = (uint32_t)bytes;
		memcpy(d->data, data, bytes);
		sn->counters.datagrams++;
		sim_schedule_datagram(sn, d, clock_now_us(&sn->clock) + way);
	}
}

static bool sim_mcast_send(struct mcast *mcast, const void *data, size_t bytes)
{
	const struct sim_mcast *m = sim_of(mcast);
	struct sim_net *sn = m->host->sn;

	ASSERT_OP(bytes, <=, MCAST_DATAGRAM_MAX);
	if (m->host->crashed)
		return false;
	for (size_t i = 0; i < sn->hosts.count; i++) {
		struct sim_host *to = sn->hosts.at[i];

		if (to != m->host && to->mcast && strcmp(to->mcast->group, m->group) == 0)
			send_one(sn, m->host, to, data, bytes);
	}
	return true;
}

static int sim_mcast_progress(struct mcast *mcast)
{
	struct sim_mcast *m = sim_of(mcast);
	struct sim_host *h = m->host;
	int done = 0;

	while (!h->paused && !h->crashed && !list_empty(&h->inbox)) {
		struct sim_datagram *d = CONTAINER_OF(list_first(&h->inbox), struct sim_datagram, l);

		list_remove(&d->l);
		h->inbox_count--;
		m->cfg.datagram(m->cfg.ctx, d->data, d->bytes);
		sim_datagram_free(h->sn, d);
		done++;
	}
	return done;
}

static int sim_mcast_wait_fd(struct mcast *mcast)
{
	(void)mcast;
	return -1;
}

const struct mcast_ops mcast_ops_sim = {
	.name = "sim",
	.open = sim_mcast_open,
	.close = sim_mcast_close,
	.send = sim_mcast_send,
	.progress = sim_mcast_progress,
	.wait_fd = sim_mcast_wait_fd,
};
