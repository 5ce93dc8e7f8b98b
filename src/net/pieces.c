/*
 * pieces.c - a link's messages as one stream of bytes, cut in pieces (net). See pieces.h.
 */
#include "net/pieces.h"

#include <string.h>

#include "base/assert.h"

#define ASSEMBLY_KEEP (1u << 20) /* a larger buffer is given back after its message */

/* Before each message in the stream; the data is padded to 8. */
struct piece_head {
	uint32_t bytes, zero;
};

_Static_assert(sizeof(struct piece_head) == 8, "on the wire");

struct queued {
	struct list l;
	struct net_msg *msg;
	uint32_t sent;
	bool head_sent;
};

static uint32_t padded(uint32_t bytes)
{
	return (bytes + 7) & ~7u;
}

/* -- out -------------------------------------------------------------------------------------- */

void net_out_init(struct net_out *o, struct net_link *link, struct mem *mem, uint32_t piece_bytes)
{
	ASSERT(piece_bytes > 0 && piece_bytes % 8 == 0);
	memset(o, 0, sizeof *o);
	o->link = link;
	o->mem = mem;
	o->piece_bytes = piece_bytes;
	list_init(&o->queue);
}

static struct queued *first(const struct net_out *o)
{
	return CONTAINER_OF(o->queue.next, struct queued, l);
}

static void drop(struct net_out *o, struct queued *q)
{
	list_remove(&q->l);
	net_msg_unref(q->msg);
	MEM_FREE(o->mem, q);
}

void net_out_push(struct net_out *o, struct net_msg *msg)
{
	struct queued *q = MEM_NEW(o->mem, struct queued);

	q->msg = msg;
	list_push_back(&o->queue, &q->l);
	o->link->backlog_bytes += msg->bytes;
	if (o->link->backlog_bytes > NET_BACKLOG_LOW)
		o->was_over = true;
}

void net_out_drop(struct net_out *o)
{
	while (!list_empty(&o->queue))
		drop(o, first(o));
	o->link->backlog_bytes = 0;
}

uint32_t net_out_fill(const struct net_out *o, uint8_t *data)
{
	uint32_t at = 0;

	LIST_FOREACH(it, &o->queue) {
		const struct queued *q = CONTAINER_OF(it, struct queued, l);
		uint32_t left = q->msg->bytes - q->sent, take;

		if (!q->head_sent) {
			struct piece_head h = {q->msg->bytes, 0};

			if (o->piece_bytes - at < sizeof h)
				break;
			memcpy(data + at, &h, sizeof h);
			at += (uint32_t)sizeof h;
		}
		take = left < o->piece_bytes - at ? left : o->piece_bytes - at;
		memcpy(data + at, q->msg->data + q->sent, take);
		at += take;
		if (take < left)
			break;
		memset(data + at, 0, padded(at) - at);
		at = padded(at);
	}
	return at;
}

static void advance(struct net_out *o, struct queued *q, uint32_t bytes)
{
	q->sent += bytes;
	o->link->backlog_bytes -= bytes;
	if (q->sent == q->msg->bytes)
		drop(o, q);
}

void net_out_take(struct net_out *o, uint32_t bytes)
{
	uint32_t at = 0;

	while (at < bytes) {
		struct queued *q = first(o);
		uint32_t left = q->msg->bytes - q->sent, take;

		if (!q->head_sent) {
			q->head_sent = true;
			at += (uint32_t)sizeof(struct piece_head);
		}
		take = left < bytes - at ? left : bytes - at;
		at = padded(at + take);
		advance(o, q, take);
	}
}

const uint8_t *net_out_middle(const struct net_out *o, struct net_msg **msg_out)
{
	const struct queued *q = first(o);

	if (list_empty(&o->queue) || !q->head_sent || q->msg->bytes - q->sent <= o->piece_bytes)
		return NULL;
	*msg_out = q->msg;
	return q->msg->data + q->sent;
}

void net_out_take_middle(struct net_out *o)
{
	advance(o, first(o), o->piece_bytes);
}

bool net_out_drained(struct net_out *o)
{
	if (!o->was_over || o->link->backlog_bytes > NET_BACKLOG_LOW)
		return false;
	o->was_over = false;
	return true;
}

/* -- in --------------------------------------------------------------------------------------- */

static bool assembly_begin(struct net_in *in, struct mem *mem, uint32_t bytes)
{
	if (bytes > in->cap) {
		mem_free(mem, in->assembly, in->cap);
		in->cap = 0;
		in->assembly = mem_try_alloc(mem, bytes);
		if (!in->assembly)
			return false;
		in->cap = bytes;
	}
	in->bytes = bytes;
	in->have = 0;
	return true;
}

static void assembly_end(struct net_in *in, struct mem *mem)
{
	in->bytes = in->have = 0;
	if (in->cap > ASSEMBLY_KEEP)
		net_in_fini(in, mem);
}

void net_in_fini(struct net_in *in, struct mem *mem)
{
	if (in->assembly)
		mem_free(mem, in->assembly, in->cap);
	memset(in, 0, sizeof *in);
}

/* The callbacks may close the link. */
enum status net_in_take(struct net_in *in, const struct net_link *link, struct mem *mem, const uint8_t *p, size_t bytes,
			net_in_fn message, void *ctx)
{
	size_t at = 0;

	while (at < bytes) {
		struct piece_head h;

		if (in->bytes) {
			size_t left = in->bytes - in->have;
			size_t take = left < bytes - at ? left : bytes - at;
			bool on;

			memcpy(in->assembly + in->have, p + at, take);
			in->have += (uint32_t)take;
			at += take;
			if (in->have < in->bytes)
				return ST_OK;
			at = (at + 7) & ~(size_t)7;
			on = message(ctx, in->assembly, in->bytes);
			assembly_end(in, mem);
			if (!on)
				return ST_OK;
			continue;
		}
		if (bytes - at < sizeof h)
			return ST_PROTOCOL;
		memcpy(&h, p + at, sizeof h);
		at += sizeof h;
		if (h.zero || h.bytes > (link->rx_message_max ? link->rx_message_max : NET_MESSAGE_MAX))
			return ST_PROTOCOL;
		if (h.bytes <= bytes - at) {
			if (!message(ctx, p + at, h.bytes))
				return ST_OK;
			at += padded(h.bytes);
		} else if (!assembly_begin(in, mem, h.bytes)) {
			return ST_NOMEM;
		}
	}
	return ST_OK;
}

uint8_t *net_in_place(const struct net_in *in, uint32_t ahead, uint32_t piece_bytes)
{
	uint64_t at = in->have + (uint64_t)ahead * piece_bytes;

	return in->bytes && at + piece_bytes <= in->bytes ? in->assembly + at : NULL;
}

bool net_in_took(struct net_in *in, struct mem *mem, const uint8_t *place, uint32_t piece_bytes, net_in_fn message,
		 void *ctx)
{
	bool on = true;

	if (!in->bytes || place != in->assembly + in->have || in->bytes - in->have < piece_bytes)
		return false;
	in->have += piece_bytes;
	if (in->have == in->bytes) {
		on = message(ctx, in->assembly, in->bytes);
		assembly_end(in, mem);
	}
	return on;
}
