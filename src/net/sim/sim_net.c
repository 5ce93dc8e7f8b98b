/*
 * sim_net.c - the simulated network's links, time and faults (net/sim). See sim_net.h.
 */
#include "net/sim/sim_net.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "net/sim/sim_int.h"

/* -- time ------------------------------------------------------------------------------------- */

static bool event_before(const struct sim_event *a, const struct sim_event *b)
{
	return a->when_us != b->when_us ? a->when_us < b->when_us : a->order < b->order;
}

static void heap_push(struct sim_net *sn, struct sim_event ev)
{
	size_t at = sn->heap.count;

	ev.order = ++sn->orders;
	VEC_PUSH(sn->mem, &sn->heap, ev);
	while (at && event_before(&ev, &sn->heap.at[(at - 1) / 2])) {
		sn->heap.at[at] = sn->heap.at[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	sn->heap.at[at] = ev;
}

void sim_schedule(struct sim_conn *c, enum event_kind kind, uint8_t arg, uint64_t when_us)
{
	c->refs++;
	heap_push(c->sn, (struct sim_event){.when_us = when_us, .kind = kind, .arg = arg, .conn = c});
}

void sim_schedule_datagram(struct sim_net *sn, struct sim_datagram *d, uint64_t when_us)
{
	heap_push(sn, (struct sim_event){.when_us = when_us, .kind = EVENT_DATAGRAM, .datagram = d});
}

static struct sim_event heap_pop(struct sim_net *sn)
{
	struct sim_event first = sn->heap.at[0], last = sn->heap.at[--sn->heap.count];
	size_t at = 0, n = sn->heap.count;

	while (2 * at + 1 < n) {
		size_t kid = 2 * at + 1;

		if (kid + 1 < n && event_before(&sn->heap.at[kid + 1], &sn->heap.at[kid]))
			kid++;
		if (!event_before(&sn->heap.at[kid], &last))
			break;
		sn->heap.at[at] = sn->heap.at[kid];
		at = kid;
	}
	if (n)
		sn->heap.at[at] = last;
	return first;
}

uint64_t sim_net_next_us(const struct sim_net *sn)
{
	return sn->heap.count ? sn->heap.at[0].when_us : UINT64_MAX;
}

void sim_net_set_filter(struct sim_net *sn, sim_filter_fn fn, void *ctx)
{
	sn->filter = fn;
	sn->filter_ctx = ctx;
}

/* -- faults ----------------------------------------------------------------------------------- */

static const struct sim_pair *pair_find(const struct sim_net *sn, const struct sim_host *from,
					const struct sim_host *to)
{
	return from && to ? map_find2(&sn->pairs, from->number, to->number) : NULL;
}

static struct sim_pair *pair_get(struct sim_net *sn, const struct sim_host *from,
				 const struct sim_host *to)
{
	struct sim_pair *p = map_find2(&sn->pairs, from->number, to->number);

	if (!p) {
		p = MEM_NEW(sn->mem, struct sim_pair);
		map_put2(&sn->pairs, from->number, to->number, p);
	}
	return p;
}

bool sim_blocked(const struct sim_net *sn, const struct sim_host *from, const struct sim_host *to)
{
	const struct sim_pair *p = pair_find(sn, from, to);

	return p && p->blocked;
}

const struct sim_faults *sim_faults_of(const struct sim_net *sn, const struct sim_host *from,
				       const struct sim_host *to)
{
	const struct sim_pair *p = pair_find(sn, from, to);

	return p && p->own_faults ? &p->faults : &sn->faults;
}

bool sim_chance(struct sim_net *sn, uint32_t ppm)
{
	return ppm && rng_below(&sn->rng, 1000000) < ppm;
}

static uint64_t retransmit_us(const struct sim_faults *f)
{
	return f->retransmit_us ? f->retransmit_us : SIM_RETRANSMIT_US;
}

uint64_t sim_draw_way(struct sim_net *sn, const struct sim_faults *f)
{
	uint64_t spread = f->delay_max_us > f->delay_min_us ? f->delay_max_us - f->delay_min_us : 0;

	return f->delay_min_us + rng_below(&sn->rng, spread + 1);
}

/* One packet's way, with what its loss, repetition or being overtaken adds. */
uint64_t sim_draw_delay(struct sim_net *sn, const struct sim_faults *f)
{
	uint64_t delay = sim_draw_way(sn, f);
	uint64_t again = retransmit_us(f);

	for (; sim_chance(sn, f->loss_ppm) && again <= SIM_RETRANSMIT_MAX_US * 4; again *= 2) {
		sn->counters.losses++;
		delay += again;
	}
	if (sim_chance(sn, f->spike_ppm)) {
		sn->counters.spikes++;
		delay += f->spike_us;
	}
	if (sim_chance(sn, f->reorder_ppm)) {
		sn->counters.reorders++;
		delay += rng_below(&sn->rng, f->delay_max_us + 1);
	}
	if (sim_chance(sn, f->duplicate_ppm))
		sn->counters.duplicates++;
	return delay;
}

void sim_net_set_faults(struct sim_net *sn, const struct sim_faults *f)
{
	sn->faults = *f;
}

void sim_net_set_pair_faults(struct sim_net *sn, const struct sim_host *from,
			     const struct sim_host *to, const struct sim_faults *f)
{
	struct sim_pair *p = pair_get(sn, from, to);

	p->own_faults = f != NULL;
	if (f)
		p->faults = *f;
}

void sim_net_block(struct sim_net *sn, const struct sim_host *from, const struct sim_host *to,
		   bool on)
{
	pair_get(sn, from, to)->blocked = on;
}

void sim_net_set_remote_read(struct sim_net *sn, bool on)
{
	sn->remote_read = on;
}

void sim_net_block_both(struct sim_net *sn, const struct sim_host *a, const struct sim_host *b,
			bool on)
{
	sim_net_block(sn, a, b, on);
	sim_net_block(sn, b, a, on);
}

void sim_net_heal(struct sim_net *sn)
{
	struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&sn->pairs, &at)))
		((struct sim_pair *)s->value)->blocked = false;
}

void sim_net_break(struct sim_net *sn, const struct sim_host *a, const struct sim_host *b,
		   bool half_open)
{
	LIST_FOREACH_SAFE(l, tmp, &sn->conns) {
		struct sim_conn *c = CONTAINER_OF(l, struct sim_conn, all);

		if ((c->ends[0].host == a && c->ends[1].host == b) ||
		    (c->ends[0].host == b && c->ends[1].host == a))
			sim_conn_break(c, half_open);
	}
}

/* -- items ------------------------------------------------------------------------------------ */

struct sim_item *sim_item_new(struct sim_net *sn, enum item_kind kind, uint8_t to)
{
	struct sim_item *it = MEM_NEW(sn->mem, struct sim_item);

	list_init(&it->l);
	it->kind = kind;
	it->to = to;
	return it;
}

void sim_item_free(struct sim_net *sn, struct sim_item *it)
{
	struct sim_conn *c = it->conn;

	list_remove(&it->l);
	if (it->msg)
		net_msg_unref(it->msg);
	MEM_FREE(sn->mem, it);
	if (c)
		sim_conn_unref(c);
}

void sim_host_is_ready(struct sim_host *h)
{
	if (list_empty(&h->in_ready))
		list_push_back(&h->sn->ready, &h->in_ready);
}

void sim_ready_push(struct sim_conn *c, struct sim_item *it)
{
	struct sim_host *h = c->ends[it->to].host;

	it->conn = c;
	c->refs++;
	list_push_back(&h->ready, &it->l);
	sim_host_is_ready(h);
}

static void list_drop(struct sim_net *sn, struct list *head)
{
	LIST_FOREACH_SAFE(l, tmp, head) {
		struct sim_item *it = CONTAINER_OF(l, struct sim_item, l);

		if (it->msg)
			sn->counters.dropped++;
		sim_item_free(sn, it);
	}
}

void sim_conn_unref(struct sim_conn *c)
{
	struct mem *mem = c->sn->mem;

	ASSERT_OP(c->refs, >, 0);
	if (--c->refs)
		return;
	for (uint8_t d = 0; d < 2; d++)
		sim_dir_drop(c, d, true);
	list_remove(&c->all);
	MEM_FREE(mem, c);
}

/* -- directions ------------------------------------------------------------------------------- */

void sim_dir_drop(struct sim_conn *c, uint8_t d, bool flight_too)
{
	struct sim_dir *dir = &c->dirs[d];

	list_drop(c->sn, &dir->backlog);
	c->ends[d].link.backlog_bytes = 0;
	if (flight_too) {
		list_drop(c->sn, &dir->flight);
		dir->flight_bytes = 0;
	}
}

static void dir_schedule(struct sim_conn *c, uint8_t d, uint64_t not_before_us)
{
	struct sim_dir *dir = &c->dirs[d];

	if (dir->scheduled || list_empty(&dir->flight))
		return;
	struct sim_item *it = CONTAINER_OF(dir->flight.next, struct sim_item, l);

	dir->scheduled = true;
	sim_schedule(c, EVENT_DIR, d, it->due_us > not_before_us ? it->due_us : not_before_us);
}

void sim_dir_push(struct sim_conn *c, uint8_t d, struct sim_item *it)
{
	struct sim_net *sn = c->sn;
	struct sim_dir *dir = &c->dirs[d];
	const struct sim_faults *f = sim_faults_of(sn, c->ends[d].host, c->ends[!d].host);
	uint64_t now = clock_now_us(&sn->clock), out = now;

	if (f->bytes_per_ms && it->msg) {
		if (dir->busy_until_us < now)
			dir->busy_until_us = now;
		dir->busy_until_us += (uint64_t)it->msg->bytes * 1000 / f->bytes_per_ms;
		out = dir->busy_until_us;
	}
	it->due_us = out + sim_draw_delay(sn, f);
	if (it->due_us < dir->last_due_us)
		it->due_us =
			dir->last_due_us; /* ordered: what is behind a late packet waits for it */
	dir->last_due_us = it->due_us;
	list_push_back(&dir->flight, &it->l);
	dir_schedule(c, d, 0);
}

/* From the backlog into flight, as far as the window goes. */
void sim_dir_pump(struct sim_conn *c, uint8_t d)
{
	struct sim_net *sn = c->sn;
	struct sim_dir *dir = &c->dirs[d];
	struct sim_end *end = &c->ends[d];

	while (end->state == END_UP && !list_empty(&dir->backlog)) {
		const struct sim_faults *f = sim_faults_of(sn, end->host, c->ends[!d].host);
		struct sim_item *it = CONTAINER_OF(dir->backlog.next, struct sim_item, l);

		if (dir->flight_bytes >= (f->window_bytes ? f->window_bytes : SIM_WINDOW_BYTES))
			break;
		list_remove(&it->l);
		end->link.backlog_bytes -= it->msg->bytes;
		if (c->broken) {
			sn->counters.dropped++;
			sim_item_free(sn, it);
			continue;
		}
		dir->flight_bytes += it->msg->bytes;
		/* from here on it is the network's: its sender may be gone, with its memory, before it arrives */
		struct net_msg *copy = net_msg_new(sn->mem, it->msg->bytes);

		memcpy(copy->data, it->msg->data, it->msg->bytes);
		net_msg_unref(it->msg);
		it->msg = copy;
		sim_dir_push(c, d, it);
		if (sim_chance(sn, f->break_ppm))
			sim_conn_break(c, sim_chance(sn, f->half_open_ppm));
	}
	if (end->link.backlog_bytes > NET_BACKLOG_LOW) {
		end->was_over = true;
	} else if (end->was_over) {
		end->was_over = false;
		if (end->state == END_UP)
			sim_ready_push(c, sim_item_new(sn, ITEM_DRAINED, d));
	}
}

/* The end learns that its link is dead. */
static void end_kill(struct sim_conn *c, uint8_t e, enum status why)
{
	struct sim_end *end = &c->ends[e];

	if (end->state != END_UP && end->state != END_DIALLING)
		return;
	end->state = END_DEAD;
	sim_dir_drop(c, e, true);

	struct sim_item *it = sim_item_new(c->sn, ITEM_DOWN, e);

	it->why = why;
	sim_ready_push(c, it);
}

/* The first item in flight arrives, or meets a black hole. */
static void dir_event(struct sim_conn *c, uint8_t d, uint64_t now_us)
{
	struct sim_net *sn = c->sn;
	struct sim_dir *dir = &c->dirs[d];
	struct sim_end *to = &c->ends[!d];

	dir->scheduled = false;
	if (list_empty(&dir->flight) || c->broken)
		return;
	if (sim_blocked(sn, c->ends[d].host, to->host)) {
		uint64_t first = retransmit_us(sim_faults_of(sn, c->ends[d].host, to->host));

		sn->counters.blocked++;
		dir->backoff_us = dir->backoff_us ? dir->backoff_us * 2 : first;
		if (dir->backoff_us > SIM_RETRANSMIT_MAX_US)
			dir->backoff_us = SIM_RETRANSMIT_MAX_US;
		dir_schedule(c, d, now_us + dir->backoff_us);
		return;
	}
	struct sim_item *it = CONTAINER_OF(dir->flight.next, struct sim_item, l);

	dir->backoff_us = 0;
	if (to->state == END_GONE || to->state == END_DEAD) {
		list_drop(sn, &dir->flight);
		dir->flight_bytes = 0;
		return;
	}
	list_remove(&it->l);
	if (it->kind == ITEM_DOWN) {
		sim_item_free(sn, it);
		end_kill(c, !d, ST_CONNECTION);
	} else if (it->kind == ITEM_READ) {
		bool served = sim_read_serve(c, it);

		sim_item_free(sn, it);
		if (!served) { /* as a queue pair that was denied: it is of no use any more */
			sim_conn_break(c, false);
			return;
		}
	} else {
		sim_ready_push(c, it);
	}
	dir_schedule(c, d, 0);
}

/* -- conns ------------------------------------------------------------------------------------ */

void sim_conn_break(struct sim_conn *c, bool half_open)
{
	struct sim_net *sn = c->sn;

	if (c->broken)
		return;
	c->broken = true;
	if (half_open)
		sn->counters.half_opens++;
	else
		sn->counters.breaks++;
	for (uint8_t d = 0; d < 2; d++)
		sim_dir_drop(c, d, true);
	for (uint8_t e = 0; e < 2 && !half_open; e++) {
		const struct sim_faults *f = sim_faults_of(sn, c->ends[!e].host, c->ends[e].host);

		sim_schedule(c, EVENT_NOTICE, e,
			     clock_now_us(&sn->clock) + rng_below(&sn->rng, f->notice_us + 1));
	}
}

/* What the other side sees of a close; the end's place in its transport and its reference stay. */
static void end_sever(struct sim_conn *c, uint8_t e)
{
	struct sim_net *sn = c->sn;
	struct sim_end *end = &c->ends[e];
	enum end_state was = end->state;

	ASSERT(was != END_NONE && was != END_GONE);
	end->state = END_GONE;
	end->transport = NULL;
	/* TCP's close may or may not lose what the peer had not read. */
	sim_dir_drop(c, e, rng_below(&sn->rng, 2) == 0);
	if ((was == END_UP || was == END_DIALLING) && !c->broken && c->ends[!e].state != END_GONE)
		sim_dir_push(c, e, sim_item_new(sn, ITEM_DOWN, !e));
}

void sim_end_close(struct sim_conn *c, uint8_t e)
{
	if (c->ends[e].state !=
	    END_GONE) /* else its host crashed, and only the reference is left */
		end_sever(c, e);
	list_remove(&c->ends[e].all);
	sim_conn_unref(c);
}

static void syn_event(struct sim_conn *c, uint64_t now_us)
{
	struct sim_net *sn = c->sn;
	struct sim_end *a = &c->ends[0], *b = &c->ends[1];

	if (a->state != END_DIALLING)
		return;
	if (b->host && (b->host->powerless || sim_blocked(sn, a->host, b->host))) {
		sn->counters.blocked++;
		sim_schedule(c, EVENT_SYN, 0, now_us + SIM_SYN_RETRY_US);
		return;
	}
	if (!b->host || !b->host->listening) {
		if (!sim_blocked(sn, b->host, a->host))
			sim_schedule(
				c, EVENT_REFUSED, 0,
				now_us + sim_draw_delay(sn, sim_faults_of(sn, b->host, a->host)));
		return;
	}
	sim_ready_push(c, sim_item_new(sn, ITEM_ACCEPT, 1));
}

static void dial_timeout(struct sim_conn *c)
{
	if (c->ends[0].state != END_DIALLING)
		return;
	c->sn->counters.dial_timeouts++;
	end_kill(c, 0, ST_WAIT);
	if (c->ends[1].state != END_NONE && !c->broken)
		sim_dir_push(c, 0, sim_item_new(c->sn, ITEM_DOWN, 1)); /* it had accepted */
}

int sim_net_run(struct sim_net *sn, uint64_t now_us)
{
	int done = 0;

	while (sn->heap.count && sn->heap.at[0].when_us <= now_us) {
		struct sim_event ev = heap_pop(sn);

		switch (ev.kind) {
		case EVENT_DIR:
			dir_event(ev.conn, ev.arg, now_us);
			break;
		case EVENT_SYN:
			syn_event(ev.conn, now_us);
			break;
		case EVENT_REFUSED:
			if (ev.conn->ends[0].state == END_DIALLING)
				sn->counters.refused++;
			end_kill(ev.conn, 0, ST_CONNECTION_REFUSED);
			break;
		case EVENT_DIAL_TIMEOUT:
			dial_timeout(ev.conn);
			break;
		case EVENT_NOTICE:
			end_kill(ev.conn, ev.arg, ST_CONNECTION);
			break;
		case EVENT_DATAGRAM:
			sim_datagram_arrives(sn, ev.datagram);
			break;
		}
		if (ev.conn)
			sim_conn_unref(ev.conn);
		done++;
	}
	return done;
}

/* -- network ---------------------------------------------------------------------------------- */

struct sim_net *sim_net_new(struct mem *mem, struct clock clock, uint64_t seed)
{
	struct sim_net *sn = MEM_NEW(mem, struct sim_net);

	sn->mem = mem;
	sn->clock = clock;
	rng_init(&sn->rng, seed);
	sn->faults.delay_min_us = 50;
	sn->faults.delay_max_us = 150;
	map_init(&sn->pairs, mem);
	list_init(&sn->conns);
	list_init(&sn->ready);
	return sn;
}

void sim_net_free(struct sim_net *sn)
{
	struct mem *mem = sn->mem;
	struct map_slot *s;
	size_t at = 0;

	for (size_t i = 0; i < sn->hosts.count; i++)
		ASSERT(!sn->hosts.at[i]->transport);
	while (sn->heap.count) {
		struct sim_event ev = heap_pop(sn);

		if (ev.conn)
			sim_conn_unref(ev.conn);
		else
			sim_datagram_free(sn, ev.datagram);
	}
	for (size_t i = 0; i < sn->hosts.count; i++) {
		sim_inbox_drop(sn->hosts.at[i]);
		list_drop(sn, &sn->hosts.at[i]->ready);
		MEM_FREE(mem, sn->hosts.at[i]);
	}
	ASSERT(list_empty(&sn->conns));
	while ((s = map_next(&sn->pairs, &at)))
		MEM_FREE(mem, (struct sim_pair *)s->value);
	map_fini(&sn->pairs);
	VEC_FINI(mem, &sn->hosts);
	VEC_FINI(mem, &sn->heap);
	MEM_FREE(mem, sn);
}

const struct sim_net_counters *sim_net_counters(const struct sim_net *sn)
{
	return &sn->counters;
}

/* -- hosts ------------------------------------------------------------------------------------ */

struct sim_host *sim_host_find(const struct sim_net *sn, const char *address)
{
	for (size_t i = 0; i < sn->hosts.count; i++)
		if (strcmp(sn->hosts.at[i]->address, address) == 0)
			return sn->hosts.at[i];
	return NULL;
}

struct sim_host *sim_host_new(struct sim_net *sn, const char *address)
{
	struct sim_host *h = MEM_NEW(sn->mem, struct sim_host);

	ASSERT(!sim_host_find(sn, address));
	h->sn = sn;
	h->number = (uint32_t)sn->hosts.count + 1;
	snprintf(h->address, sizeof h->address, "%s", address);
	list_init(&h->ready);
	list_init(&h->inbox);
	list_init(&h->in_ready);
	VEC_PUSH(sn->mem, &sn->hosts, h);
	return h;
}

const char *sim_host_address(const struct sim_host *h)
{
	return h->address;
}

uint32_t sim_host_number(const struct sim_host *h)
{
	return h->number;
}

bool sim_host_ready(const struct sim_host *h)
{
	return h->transport && !h->paused && !h->crashed && (!list_empty(&h->ready) || !list_empty(&h->inbox));
}

struct sim_host *sim_net_next_ready(struct sim_net *sn)
{
	while (!list_empty(&sn->ready)) {
		struct sim_host *h = CONTAINER_OF(sn->ready.next, struct sim_host, in_ready);

		list_remove(&h->in_ready);
		if (sim_host_ready(h))
			return h;
	}
	return NULL;
}

void sim_host_crash(struct sim_host *h, bool power)
{
	struct sim_net *sn = h->sn;

	if (h->crashed)
		return;
	h->crashed = true;
	h->powerless = power;
	h->paused = h->listening = false;
	if (power)
		sn->counters.power_losses++;
	else
		sn->counters.crashes++;
	LIST_FOREACH_SAFE(l, tmp, &h->ready) {
		struct sim_item *it = CONTAINER_OF(l, struct sim_item, l);

		if (it->kind == ITEM_ACCEPT && !power)
			sim_schedule(it->conn, EVENT_REFUSED, 0, clock_now_us(&sn->clock));
		if (it->msg)
			sn->counters.dropped++;
		sim_item_free(sn, it);
	}
	sim_inbox_drop(h);
	if (!h->transport)
		return;
	h->transport->dead = true;
	/* The owner may still name the ends: they go when it closes the transport. */
	LIST_FOREACH(l, &h->transport->links) {
		struct sim_conn *c = CONTAINER_OF(l, struct sim_end, all)->conn;

		if (power)
			sim_conn_break(c, true);
		else
			end_sever(c, l == &c->ends[1].all);
	}
}

void sim_host_restart(struct sim_host *h)
{
	struct sim_net *sn = h->sn;

	ASSERT(!h->transport);
	if (!h->crashed)
		return;
	sn->counters.restarts++;
	h->crashed = h->powerless = false;
	/* The machine is back and resets what links it does not know. */
	LIST_FOREACH(l, &sn->conns) {
		struct sim_conn *c = CONTAINER_OF(l, struct sim_conn, all);

		for (uint8_t e = 0; e < 2; e++)
			if (c->broken && c->ends[!e].host == h && c->ends[e].state == END_UP)
				sim_schedule(c, EVENT_NOTICE, e,
					     clock_now_us(&sn->clock) + SIM_RETRANSMIT_US);
	}
}

void sim_host_pause(struct sim_host *h)
{
	if (!h->paused && !h->crashed) {
		h->paused = true;
		h->sn->counters.pauses++;
	}
}

void sim_host_resume(struct sim_host *h)
{
	if (h->paused) {
		h->paused = false;
		h->sn->counters.resumes++;
		if (!list_empty(&h->ready) || !list_empty(&h->inbox))
			sim_host_is_ready(h);
	}
}

bool sim_host_paused(const struct sim_host *h)
{
	return h->paused;
}

bool sim_host_crashed(const struct sim_host *h)
{
	return h->crashed;
}
