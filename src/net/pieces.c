/*
 * pieces.c - a link's messages as one stream of bytes, cut in pieces (net). See pieces.h.
 */
#include "net/pieces.h"

#include <string.h>

#include "base/assert.h"
#include "base/poison.h"

#define SPARE_STEP (64u << 10) /* so that one of about the size fits again */

/* Before each message in the stream; the data is padded to 8. */
struct piece_head {
	uint32_t bytes;
	uint32_t sliced; /* 1: the data follows in slices. Both sides know that, so it is a check; 0 before there were any */
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

static bool is_long(const struct net_cut *c, uint32_t bytes)
{
	return c->slice_bytes && bytes > c->piece_bytes - (uint32_t)sizeof(struct piece_head);
}

/* -- out -------------------------------------------------------------------------------------- */

void net_out_init(struct net_out *o, struct net_link *link, struct mem *mem, struct net_cut cut, bool lend)
{
	ASSERT(cut.piece_bytes > 0 && cut.piece_bytes % 8 == 0);
	ASSERT(lend || !cut.slice_bytes);
	memset(o, 0, sizeof *o);
	o->link = link;
	o->mem = mem;
	o->cut = cut;
	o->lend_bytes = lend ? NET_LEND_BYTES : UINT32_MAX;
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

/* Of the first message, if its head went already and it is long: slices are next, or the gap before them. */
static bool slicing(const struct net_out *o, const struct queued *q)
{
	return q->head_sent && is_long(&o->cut, q->msg->bytes);
}

static void lend(struct net_piece *out, const struct queued *q, uint32_t bytes)
{
	out->msg = q->msg;
	out->lent = q->msg->data + q->sent;
	out->lent_bytes = bytes;
}

bool net_out_lends(const struct net_out *o)
{
	const struct queued *q = first(o);
	uint32_t left;

	if (list_empty(&o->queue) || !q->head_sent)
		return false;
	left = q->msg->bytes - q->sent;
	return slicing(o, q) ? !o->gap : (left < o->cut.piece_bytes ? left : o->cut.piece_bytes) >= o->lend_bytes;
}

/* Up to where something is lent, or a head of a long message is, which ends the piece. */
static void fill(const struct net_out *o, uint8_t *data, struct net_piece *out)
{
	uint32_t at = 0;

	LIST_FOREACH(it, &o->queue) {
		const struct queued *q = CONTAINER_OF(it, struct queued, l);
		uint32_t left = q->msg->bytes - q->sent, take;

		if (!q->head_sent) {
			struct piece_head h = {q->msg->bytes, is_long(&o->cut, q->msg->bytes)};

			if (o->cut.piece_bytes - at < sizeof h)
				break;
			memcpy(data + at, &h, sizeof h);
			at += (uint32_t)sizeof h;
			if (is_long(&o->cut, q->msg->bytes))
				break;
		}
		take = left < o->cut.piece_bytes - at ? left : o->cut.piece_bytes - at;
		if (take >= o->lend_bytes) {
			lend(out, q, take);
			break;
		}
		memcpy(data + at, q->msg->data + q->sent, take);
		at += take;
		if (take < left)
			break;
		memset(data + at, 0, padded(at) - at);
		at = padded(at);
	}
	out->copied_bytes = at;
}

void net_out_next(const struct net_out *o, uint8_t *data, struct net_piece *out)
{
	const struct queued *q = first(o);
	uint32_t left;

	ASSERT(!list_empty(&o->queue));
	memset(out, 0, sizeof *out);
	if (!slicing(o, q)) {
		fill(o, data, out);
		return;
	}
	left = q->msg->bytes - q->sent;
	if (!o->gap)
		lend(out, q, left < o->cut.slice_bytes ? left : o->cut.slice_bytes);
}

static void advance(struct net_out *o, struct queued *q, uint32_t bytes)
{
	q->sent += bytes;
	o->link->backlog_bytes -= bytes;
	if (q->sent == q->msg->bytes)
		drop(o, q);
}

static void take(struct net_out *o, uint32_t bytes)
{
	bool behind = o->behind_slice;
	uint32_t at = 0;

	o->behind_slice = false;
	while (at < bytes) {
		struct queued *q = first(o);
		uint32_t left = q->msg->bytes - q->sent, n;

		if (!q->head_sent) {
			q->head_sent = true;
			at += (uint32_t)sizeof(struct piece_head);
			if (slicing(o, q)) {
				o->gap = behind ? 0 : NET_AHEAD_MAX;
				return;
			}
		}
		n = left < bytes - at ? left : bytes - at;
		at = padded(at + n);
		advance(o, q, n);
	}
}

void net_out_take(struct net_out *o, const struct net_piece *p)
{
	struct queued *q = first(o);

	if (!slicing(o, q)) {
		take(o, p->copied_bytes + p->lent_bytes);
	} else if (o->gap) {
		o->gap--;
	} else {
		o->behind_slice = true;
		advance(o, q, p->lent_bytes);
	}
}

bool net_out_drained(struct net_out *o)
{
	if (!o->was_over || o->link->backlog_bytes > NET_BACKLOG_LOW)
		return false;
	o->was_over = false;
	return true;
}

/* -- spare memory ----------------------------------------------------------------------------- */

void net_spare_init(struct net_spare *s, struct mem *mem)
{
	memset(s, 0, sizeof *s);
	s->mem = mem;
}

static uint8_t *spare_remove(struct net_spare *s, uint32_t at, uint32_t *cap_out)
{
	uint8_t *data = s->at[at].data;

	*cap_out = s->at[at].cap;
	s->bytes -= s->at[at].cap;
	s->at[at] = s->at[--s->count];
	UNPOISON(data, *cap_out);
	return data;
}

/* The smallest of at least that; s->count: there is none. */
static uint32_t spare_find(const struct net_spare *s, uint32_t bytes)
{
	uint32_t best = s->count;

	for (uint32_t i = 0; i < s->count; i++)
		if (s->at[i].cap >= bytes && (best == s->count || s->at[i].cap < s->at[best].cap))
			best = i;
	return best;
}

static uint8_t *spare_get(struct net_spare *s, uint32_t bytes, uint32_t *cap_out)
{
	uint32_t at = spare_find(s, bytes);

	if (at < s->count)
		return spare_remove(s, at, cap_out);
	*cap_out = (bytes + SPARE_STEP - 1) / SPARE_STEP * SPARE_STEP;
	return mem_try_alloc_raw(s->mem, *cap_out);
}

static void spare_free(struct net_spare *s, uint32_t at)
{
	uint32_t cap;
	uint8_t *data = spare_remove(s, at, &cap);

	mem_free(s->mem, data, cap);
}

/* Small ones make room for it; it does not for larger ones. */
static void spare_put(struct net_spare *s, uint8_t *data, uint32_t cap)
{
	while (s->count == NET_SPARE_MAX || s->bytes + cap > NET_SPARE_BYTES) {
		uint32_t smallest = spare_find(s, 0);

		if (cap > NET_SPARE_BYTES || s->at[smallest].cap >= cap) {
			mem_free(s->mem, data, cap);
			return;
		}
		spare_free(s, smallest);
	}
	POISON(data, cap);
	s->at[s->count].data = data;
	s->at[s->count++].cap = cap;
	s->bytes += cap;
}

void net_spare_fini(struct net_spare *s)
{
	while (s->count)
		spare_free(s, 0);
}

/* -- in --------------------------------------------------------------------------------------- */

void net_in_init(struct net_in *in, const struct net_link *link, struct net_spare *spare, struct net_cut cut)
{
	memset(in, 0, sizeof *in);
	in->link = link;
	in->spare = spare;
	in->cut = cut;
}

static bool assembly_begin(struct net_in *in, uint32_t bytes)
{
	in->assembly = spare_get(in->spare, bytes, &in->cap);
	if (!in->assembly)
		return false;
	in->bytes = bytes;
	in->have = 0;
	return true;
}

static void assembly_end(struct net_in *in)
{
	if (in->assembly)
		spare_put(in->spare, in->assembly, in->cap);
	in->assembly = NULL;
	in->cap = in->bytes = in->have = 0;
}

void net_in_fini(struct net_in *in)
{
	assembly_end(in);
}

/* The callback may close the link. */
static bool assembly_give(struct net_in *in, net_in_fn message, void *ctx)
{
	bool on = message(ctx, in->assembly, in->bytes);

	assembly_end(in);
	return on;
}

/* More of the message in assembly; how many bytes that were, with the padding. */
static size_t assembly_add(struct net_in *in, const uint8_t *data, size_t bytes)
{
	size_t left = in->bytes - in->have;
	size_t n = left < bytes ? left : bytes;

	memcpy(in->assembly + in->have, data, n);
	in->have += (uint32_t)n;
	return n == left ? (n + 7) & ~(size_t)7 : n;
}

/* Behind its head; @at is where it ends. */
static enum status message_begin(struct net_in *in, uint32_t bytes, bool ends, bool behind_slice)
{
	bool slices = is_long(&in->cut, bytes);

	if (slices && !ends)
		return ST_PROTOCOL;
	if (!assembly_begin(in, bytes))
		return ST_NOMEM;
	in->slicing = slices;
	in->gap = slices && !behind_slice ? NET_AHEAD_MAX : 0;
	return ST_OK;
}

enum status net_in_take(struct net_in *in, const uint8_t *p, size_t bytes, net_in_fn message, void *ctx)
{
	uint32_t max = in->link->rx_message_max ? in->link->rx_message_max : NET_MESSAGE_MAX;
	bool behind = in->behind_slice;

	if (in->slicing)
		return bytes || !in->gap-- ? ST_PROTOCOL : ST_OK;
	in->behind_slice = false;
	for (size_t at = 0; at < bytes;) {
		struct piece_head h;

		if (in->bytes) {
			at += assembly_add(in, p + at, bytes - at);
			if (in->have == in->bytes && !assembly_give(in, message, ctx))
				return ST_OK;
			continue;
		}
		if (bytes - at < sizeof h)
			return ST_PROTOCOL;
		memcpy(&h, p + at, sizeof h);
		at += sizeof h;
		if (h.sliced != is_long(&in->cut, h.bytes) || h.bytes > max)
			return ST_PROTOCOL;
		if (h.bytes <= bytes - at) {
			if (!message(ctx, p + at, h.bytes))
				return ST_OK;
			at += padded(h.bytes);
		} else {
			enum status st = message_begin(in, h.bytes, at == bytes, behind);

			if (st != ST_OK)
				return st;
		}
	}
	return ST_OK;
}

enum net_next net_in_next(const struct net_in *in, uint32_t ahead, uint8_t **place_out, uint32_t *bytes_out)
{
	uint32_t slice = in->cut.slice_bytes, left = in->bytes - in->have, at;

	if (!in->slicing)
		return in->behind_slice && ahead ? NET_NEXT_UNKNOWN : NET_NEXT_PIECE;
	if (ahead < in->gap)
		return NET_NEXT_PIECE;
	ahead -= in->gap;
	if (ahead >= (left + slice - 1) / slice) /* one piece behind the slices */
		return ahead == (left + slice - 1) / slice ? NET_NEXT_PIECE : NET_NEXT_UNKNOWN;
	at = in->have + ahead * slice;
	*place_out = in->assembly + at;
	*bytes_out = in->bytes - at < slice ? in->bytes - at : slice;
	return NET_NEXT_SLICE;
}

bool net_in_took(struct net_in *in, const uint8_t *place, size_t bytes, net_in_fn message, void *ctx)
{
	uint32_t left = in->bytes - in->have;

	if (!in->slicing || in->gap || place != in->assembly + in->have ||
	    bytes != (left < in->cut.slice_bytes ? left : in->cut.slice_bytes))
		return false;
	in->have += (uint32_t)bytes;
	if (in->have < in->bytes)
		return true;
	in->slicing = false;
	in->behind_slice = true;
	return assembly_give(in, message, ctx);
}
