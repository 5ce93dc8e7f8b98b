/*
 * remote.c - memory that peers read by themselves, and reads of theirs (net/relay; S9).
 *
 * Memory is registered in aligned chunks of RELAY_CHUNK_BYTES, because that costs as much as many reads: a chunk that
 * something of was exposed stays registered until another one needs its place and nothing of it is exposed any more, or
 * until its owner gives the memory back. Who may read is who is linked to this engine and was told the key.
 */
#include "base/assert.h"
#include "net/relay/relay_int.h"

bool relay_can_read(const struct relay *r, engine_id from)
{
	return r->net->remote_read && rroute_next_to((struct relay *)r, from) != NULL;
}

bool relay_expect(struct relay *r, engine_id from, size_t bytes)
{
	return rdirect_expect(r, from, bytes) && r->net->remote_read;
}

bool relay_read(struct relay *r, engine_id from, uint64_t address, uint64_t key, uint32_t bytes, uint64_t token)
{
	struct rlink *l = r->net->remote_read ? rroute_next_to(r, from) : NULL;

	if (!l || !r->cfg.net_ops->read(l->net, address, key, bytes, token))
		return false;
	if (l->used_us)
		l->used_us = relay_now(r);
	r->stats.reads++;
	return true;
}

void relay_on_read(void *ctx, struct net_link *net, uint64_t token, const void *data, size_t bytes)
{
	struct relay *r = ctx;
	struct rlink *l = net->user;

	if (!l || l->state != RLINK_READY || !r->cfg.events->read)
		return;
	l->rx_us = relay_now(r); /* its adapter lives, and a dead process has none */
	if (l->used_us)
		l->used_us = l->rx_us;
	r->stats.read_bytes += bytes;
	r->cfg.events->read(r->cfg.ctx, l->engine, token, data, bytes);
}

/* -- chunks ----------------------------------------------------------------------------------- */

static struct chunk *chunk_find(struct relay *r, uintptr_t base)
{
	for (size_t i = 0; i < r->chunks.count; i++)
		if (r->chunks.at[i].base == base)
			return &r->chunks.at[i];
	return NULL;
}

static void chunk_drop(struct relay *r, struct chunk *c)
{
	r->cfg.net_ops->unexpose(r->net, c->region);
	*c = r->chunks.at[--r->chunks.count];
}

/* The longest unused one that nothing is exposed of. */
static bool make_room(struct relay *r)
{
	struct chunk *oldest = NULL;

	if ((r->chunks.count + 1) * RELAY_CHUNK_BYTES <= r->cfg.remote_bytes)
		return true;
	for (size_t i = 0; i < r->chunks.count; i++)
		if (!r->chunks.at[i].uses && (!oldest || r->chunks.at[i].used < oldest->used))
			oldest = &r->chunks.at[i];
	if (oldest)
		chunk_drop(r, oldest);
	return oldest != NULL;
}

static struct chunk *chunk_get(struct relay *r, uintptr_t base)
{
	struct chunk *c = chunk_find(r, base);
	struct net_region *region;

	if (!c && make_room(r)) {
		if (r->cfg.net_ops->expose(r->net, (const void *)base, RELAY_CHUNK_BYTES, &region) != ST_OK) {
			if (!r->chunk_refused)
				log_event(r->cfg.log, LOG_RELAY, LOG_WARN, "memory not registered",
					  "chunks=%zu hint=\"images are sent instead; raise the limit of locked memory (ulimit -l)\"",
					  r->chunks.count);
			r->chunk_refused = true;
			return NULL;
		}
		VEC_PUSH(r->cfg.mem, &r->chunks, ((struct chunk){.base = base, .region = region}));
		c = &r->chunks.at[r->chunks.count - 1];
	}
	if (c) {
		c->uses++;
		c->used = ++r->chunk_uses;
	}
	return c;
}

static uintptr_t chunk_of(uintptr_t at)
{
	return at & ~(uintptr_t)(RELAY_CHUNK_BYTES - 1);
}

void relay_unexpose(struct relay *r, const void *at, size_t bytes)
{
	uintptr_t p = (uintptr_t)at, end = p + bytes;

	for (uintptr_t base = chunk_of(p); base < end; base += RELAY_CHUNK_BYTES) {
		struct chunk *c = chunk_find(r, base);

		ASSERT(c && c->uses > 0);
		c->uses--;
	}
}

uint32_t relay_expose(struct relay *r, const void *at, size_t bytes, struct relay_extent *out, uint32_t max)
{
	uintptr_t p = (uintptr_t)at, end = p + bytes;
	uint32_t n = 0;

	if (!r->net->remote_read || !r->cfg.remote_bytes || !bytes)
		return 0;
	while (p < end) {
		uintptr_t base = chunk_of(p), to = base + RELAY_CHUNK_BYTES < end ? base + RELAY_CHUNK_BYTES : end;
		const struct chunk *c = n < max ? chunk_get(r, base) : NULL;

		if (!c) {
			if (p > (uintptr_t)at)
				relay_unexpose(r, at, p - (uintptr_t)at);
			return 0;
		}
		out[n++] = (struct relay_extent){c->region->address + (p - base), c->region->key, (uint32_t)(to - p)};
		p = to;
	}
	return n;
}

void relay_memory_gone(struct relay *r, const void *at, size_t bytes)
{
	uintptr_t from = (uintptr_t)at;

	for (size_t i = r->chunks.count; i-- > 0;) {
		struct chunk *c = &r->chunks.at[i];

		if (c->base + RELAY_CHUNK_BYTES <= from || c->base >= from + bytes)
			continue;
		ASSERT_OP(c->uses, ==, 0);
		chunk_drop(r, c);
	}
}

void rremote_fini(struct relay *r)
{
	while (r->chunks.count)
		chunk_drop(r, &r->chunks.at[0]);
	VEC_FINI(r->cfg.mem, &r->chunks);
}
