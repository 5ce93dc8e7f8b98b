/*
 * lend.c - giving other engines copies of atoms (engine/txn; P17, S8, S9, S10).
 *
 * A request names the atom, the index R and a number of the requester's own. It is answered as of I >= R, when this engine has
 * applied R and is not within a record: from then on the image is lent (S9: whoever changes the atom copies it first), and it and
 * its version tail go to the requester in pieces of LEND_PIECE_BYTES. The requester says what it has; only so much is on
 * its way to one requester, over all it asked for, as its *lane* allows.
 *
 * The lane's window follows what the way bears: it opens while pieces come through in about the least time
 * that any needed, and halves when they take SLOW_US longer: they wait behind others somewhere then, and so
 * do grants and heartbeats behind them. It never is less than one piece.
 *
 * Where the requester can read this engine's memory it reads the image itself, while it is lent (S9, lend_wire.h,
 * doc/adr/0009): it is told where the image lies and is sent the tail. That the image does not change meanwhile is what lending is; what the
 * requester reads after it was taken back it can tell from the preface. An image whose memory cannot be registered, a small
 * one, and one with a long tail are sent.
 *
 * Bounds: LENT_MAX images at a time, ASKED_MAX requests that wait for an index or for room; more are not heard, and
 * repeated by who asked. What nobody says anything about for LENT_IDLE_US is taken back.
 */
#include "atoms/slab.h"
#include "base/cover.h"
#include "engine/txn/lend_wire.h"
#include "engine/txn/txn_int.h"

#define LENT_MAX 64
#define ASKED_MAX 4096
#define LENT_IDLE_US 3000000
#define WINDOW_FIRST_BYTES (4 * LEND_PIECE_BYTES)
#define WINDOW_MAX_BYTES (16 * LEND_PIECE_BYTES)
#define SLOW_US 20000
#define QUICK_US 2000
#define READ_IMAGE_MIN (32u << 10)
#define READ_TAIL_MAX (256u << 10)

struct lent {
	struct list all;         /* in its lane, first asked first */
	engine_id to;
	atom_id atom;
	uint32_t number;
	seq_index as_of;
	const struct atom_head *image;
	uint32_t image_bytes, sent, have;
	struct buf tail;
	uint64_t heard_us;
	struct lend_preface *preface; /* the requester reads the image; NULL: it is sent */
};
struct lane {
	engine_id to;
	struct list lents;
	struct flow flow;
	uint32_t flying_bytes;   /* sent, and not known to be there */
	/* one piece at a time is timed */
	uint32_t timed_number, timed_end;
	uint64_t timed_us;       /* 0: none */
};
struct asked {                   /* a request that waits for our applied index, or for room */
	struct list all;
	engine_id from;
	atom_id atom;
	seq_index index;
	uint32_t number;
	bool reads;              /* it can read this engine's memory */
};
struct lends {
	struct map lanes;        /* engine -> struct lane */
	struct list asked;
	uint32_t asked_count, lent_count;
	struct buf message;
	struct timer timer;
	struct slab_pool pool;   /* memory of the prefaces */
	struct lend_preface *prefaces; /* LENT_MAX of them; NULL: none yet */
};

/* -- life --------------------------------------------------------------------------------------------------- */

static void lent_free(struct txns *t, struct lane *lane, struct lent *l)
{
	lane->flying_bytes -= l->sent - l->have;
	t->lends->lent_count--;
	list_remove(&l->all);
	if (l->preface) {
		l->preface->seq++;
		t->host->unexpose(t->ctx, l->preface, sizeof *l->preface);
		t->host->unexpose(t->ctx, l->image, l->image_bytes);
	}
	atom_image_unref(replica_store(t->rp), l->image);
	buf_fini(&l->tail);
	MEM_FREE(t->mem, l);
}

static void asked_free(struct txns *t, struct asked *a)
{
	t->lends->asked_count--;
	list_remove(&a->all);
	MEM_FREE(t->mem, a);
}

static void lane_free(struct txns *t, struct lane *lane)
{
	LIST_FOREACH_SAFE(it, tmp, &lane->lents)
		lent_free(t, lane, CONTAINER_OF(it, struct lent, all));
	ASSERT_OP(lane->flying_bytes, ==, 0);
	MEM_FREE(t->mem, lane);
}

static void timer_fire(struct timer *tm, void *ctx)
{
	struct txns *t = ctx;
	uint64_t now = txns_now(t);
	struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&t->lends->lanes, &at))) {
		struct lane *lane = s->value;

		LIST_FOREACH_SAFE(it, tmp, &lane->lents) {
			struct lent *l = CONTAINER_OF(it, struct lent, all);

			if (now - l->heard_us >= LENT_IDLE_US) {
				COVER(LENT_TAKEN_BACK);
				lent_free(t, lane, l);
			}
		}
	}
	if (t->lends->lent_count)
		timer_arm(t->timers, tm, now + LENT_IDLE_US / 4);
	t->host->kick(t->ctx);
}

void lends_init(struct txns *t)
{
	t->lends = MEM_NEW(t->mem, struct lends);
	map_init(&t->lends->lanes, t->mem);
	list_init(&t->lends->asked);
	buf_init(&t->lends->message, t->mem);
	timer_init(&t->lends->timer, timer_fire, t);
	slab_pool_init(&t->lends->pool, t->mem);
}

/* Memory that may be registered is given back. */
static void unmapped(void *ctx, const void *base, size_t bytes)
{
	struct txns *t = ctx;

	t->host->memory_gone(t->ctx, base, bytes);
}

void lends_reset(struct txns *t)
{
	struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&t->lends->lanes, &at)))
		lane_free(t, s->value);
	map_clear(&t->lends->lanes);
	LIST_FOREACH_SAFE(it, tmp, &t->lends->asked)
		asked_free(t, CONTAINER_OF(it, struct asked, all));
	ASSERT_OP(t->lends->lent_count, ==, 0);
	timer_cancel(t->timers, &t->lends->timer);
}

void lends_fini(struct txns *t)
{
	lends_reset(t);
	map_fini(&t->lends->lanes);
	buf_fini(&t->lends->message);
	if (t->lends->prefaces)
		slab_free(&t->lends->pool, t->lends->prefaces, LENT_MAX * sizeof *t->lends->prefaces);
	slab_pool_fini(&t->lends->pool);
	MEM_FREE(t->mem, t->lends);
}

/* -- pieces ------------------------------------------------------------------------------------------------- */

static uint32_t total_bytes(const struct lent *l)
{
	return l->image_bytes + (uint32_t)l->tail.size;
}

static void piece_send(struct txns *t, struct lane *lane, struct lent *l)
{
	struct buf *b = &t->lends->message;
	uint32_t total = total_bytes(l), n = total - l->sent < LEND_PIECE_BYTES ? total - l->sent : LEND_PIECE_BYTES;
	uint32_t of_image = l->sent >= l->image_bytes ? 0 : l->image_bytes - l->sent < n ? l->image_bytes - l->sent : n;

	buf_reset(b);
	put_u8(b, MSG_PIECE);
	put_u64(b, l->atom);
	put_u64(b, l->as_of);
	put_u32(b, l->number);
	put_u32(b, l->image_bytes);
	put_u32(b, (uint32_t)l->tail.size);
	put_u32(b, l->sent);
	if (of_image)
		buf_put(b, (const uint8_t *)l->image + l->sent, of_image);
	if (n > of_image)
		buf_put(b, l->tail.data + (l->sent + of_image - l->image_bytes), n - of_image);
	l->sent += n;
	lane->flying_bytes += n;
	t->stats.lend_bytes += n;
	if (!lane->timed_us) {
		lane->timed_us = txns_now(t);
		lane->timed_number = l->number;
		lane->timed_end = l->sent;
	}
	t->host->send(t->ctx, l->to, b->data, b->size);
}

/* What the lane's window allows, first asked first. */
static void lane_pump(struct txns *t, struct lane *lane)
{
	LIST_FOREACH(it, &lane->lents) {
		struct lent *l = CONTAINER_OF(it, struct lent, all);

		while (!l->preface && l->sent < total_bytes(l)) {
			if (lane->flying_bytes && lane->flying_bytes + LEND_PIECE_BYTES > lane->flow.bytes)
				return;
			piece_send(t, lane, l);
		}
	}
}

void flow_init(struct flow *w)
{
	w->bytes = WINDOW_FIRST_BYTES;
	w->least_us = 0;
}

void flow_took(struct flow *w, uint64_t took_us)
{
	if (!w->least_us || took_us < w->least_us)
		w->least_us = took_us + 1;
	else /* the way may have become longer */
		w->least_us += (took_us - w->least_us) / 64;
	if (took_us > w->least_us + SLOW_US) {
		COVER(LEND_SLOW);
		w->bytes /= 2;
		if (w->bytes < LEND_PIECE_BYTES)
			w->bytes = LEND_PIECE_BYTES;
	} else if (took_us <= w->least_us + QUICK_US && w->bytes < WINDOW_MAX_BYTES) {
		w->bytes += LEND_PIECE_BYTES;
	}
}

static void lane_timed(struct txns *t, struct lane *lane)
{
	flow_took(&lane->flow, txns_now(t) - lane->timed_us);
	lane->timed_us = 0;
}

static struct lent *lent_find(struct lane *lane, atom_id atom)
{
	LIST_FOREACH(it, &lane->lents)
		if (CONTAINER_OF(it, struct lent, all)->atom == atom)
			return CONTAINER_OF(it, struct lent, all);
	return NULL;
}

static void on_have(struct txns *t, engine_id from, struct reader *r)
{
	atom_id atom = get_u64(r);
	uint32_t number = get_u32(r), have = get_u32(r);
	struct lane *lane = map_find(&t->lends->lanes, from);
	struct lent *l = lane ? lent_find(lane, atom) : NULL;

	if (r->bad || !l || l->number != number)
		return;
	if (l->preface && have < total_bytes(l)) {
		l->heard_us = txns_now(t);
		return;
	}
	if (!l->preface && have != LEND_ENOUGH && (have > l->sent || have < l->have))
		return;
	if (l->preface || have == LEND_ENOUGH) {
		if (lane->timed_number == number)
			lane->timed_us = 0;
		lent_free(t, lane, l);
	} else {
		lane->flying_bytes -= have - l->have;
		l->have = have;
		l->heard_us = txns_now(t);
		if (lane->timed_us && lane->timed_number == number && have >= lane->timed_end)
			lane_timed(t, lane);
		if (have == total_bytes(l))
			lent_free(t, lane, l);
	}
	lane_pump(t, lane);
}

/* -- read by the requester (S9) -------------------------------------------------------------------------------- */

static struct lend_preface *preface_get(struct txns *t)
{
	struct lends *ls = t->lends;

	if (!ls->prefaces) {
		ls->pool.unmapped = unmapped;
		ls->pool.ctx = t;
		ls->prefaces = slab_alloc(&ls->pool, LENT_MAX * sizeof *ls->prefaces);
		memset(ls->prefaces, 0, LENT_MAX * sizeof *ls->prefaces);
		for (uint32_t i = 0; i < LENT_MAX; i++)
			ls->prefaces[i].seq = 1;
	}
	for (uint32_t i = 0; i < LENT_MAX; i++)
		if (ls->prefaces[i].seq & 1)
			return &ls->prefaces[i];
	return NULL;
}

/* False: it has to be sent. */
static bool lend_memory(struct txns *t, struct lent *l)
{
	struct lend_extent of_image[LEND_EXTENTS_MAX], of_preface;
	struct lend_preface *p;
	struct buf *b = &t->lends->message;
	uint32_t n;

	if (l->image_bytes < READ_IMAGE_MIN || l->tail.size > READ_TAIL_MAX)
		return false;
	p = preface_get(t);
	atom_store_set_unmapped(replica_store(t->rp), unmapped, t);
	if (!p || !t->host->expose(t->ctx, p, sizeof *p, &of_preface, 1))
		return false;
	n = t->host->expose(t->ctx, l->image, l->image_bytes, of_image, LEND_EXTENTS_MAX);
	if (!n) {
		t->host->unexpose(t->ctx, p, sizeof *p);
		return false;
	}
	COVER(LEND_MEMORY);
	l->preface = p;
	p->atom = l->atom;
	p->engine = t->self;
	p->as_of = l->as_of;
	p->generation++;
	p->seq++; /* even: nobody was told of it before */
	buf_reset(b);
	put_u8(b, MSG_LENT);
	put_u64(b, l->atom);
	put_u64(b, l->as_of);
	put_u32(b, l->number);
	put_u32(b, l->image_bytes);
	put_u64(b, p->generation);
	put_u64(b, of_preface.address);
	put_u64(b, of_preface.key);
	put_u8(b, (uint8_t)n);
	for (uint32_t i = 0; i < n; i++) {
		put_u64(b, of_image[i].address);
		put_u64(b, of_image[i].key);
		put_u32(b, of_image[i].bytes);
	}
	buf_put(b, l->tail.data, l->tail.size);
	t->host->send(t->ctx, l->to, b->data, b->size);
	return true;
}

/* -- requests ----------------------------------------------------------------------------------------------- */

static void lend(struct txns *t, engine_id to, struct frame *f, uint32_t number, bool reads)
{
	struct lane *lane = map_find(&t->lends->lanes, to);
	struct lent *l = lane ? lent_find(lane, f->id) : NULL;
	size_t bytes;

	if (l) /* asked again: what it had is void */
		lent_free(t, lane, l);
	if (!lane) {
		lane = MEM_NEW(t->mem, struct lane);
		lane->to = to;
		flow_init(&lane->flow);
		list_init(&lane->lents);
		map_put(&t->lends->lanes, to, lane);
	}
	if (list_empty(&lane->lents))
		lane->timed_us = 0; /* what was timed then was lost */
	l = MEM_NEW(t->mem, struct lent);
	l->to = to;
	l->atom = f->id;
	l->number = number;
	l->as_of = txns_applied(t);
	l->image = frame_image_ref(f, &bytes);
	l->image_bytes = (uint32_t)bytes;
	buf_init(&l->tail, t->mem);
	frame_tail_encode(replica_store(t->rp), f, replica_horizon(t->rp), &l->tail);
	l->heard_us = txns_now(t);
	list_push_back(&lane->lents, &l->all);
	t->lends->lent_count++;
	t->stats.lends++;
	if (!timer_armed(&t->lends->timer))
		timer_arm(t->timers, &t->lends->timer, txns_now(t) + LENT_IDLE_US / 4);
	if (!reads || !lend_memory(t, l))
		lane_pump(t, lane);
}

static void asked_add(struct txns *t, engine_id from, atom_id atom, seq_index index, uint32_t number, bool reads)
{
	struct asked *a;

	LIST_FOREACH(it, &t->lends->asked) { /* it repeats while we are behind: one image is enough */
		a = CONTAINER_OF(it, struct asked, all);
		if (a->from == from && a->atom == atom) {
			a->index = index;
			a->number = number;
			a->reads = reads;
			return;
		}
	}
	if (t->lends->asked_count >= ASKED_MAX)
		return;
	a = MEM_NEW(t->mem, struct asked);
	a->from = from;
	a->atom = atom;
	a->index = index;
	a->number = number;
	a->reads = reads;
	list_push_back(&t->lends->asked, &a->all);
	t->lends->asked_count++;
}

static void answer(struct txns *t, engine_id to, atom_id atom, uint32_t number, bool reads)
{
	struct frame *f = atom_find(replica_store(t->rp), atom);
	struct buf b;

	if (f && replica_usable(t->rp, f) && !replica_current(t->rp, f)) {
		/* within a record that apply has paused in: as of no index until that is whole */
		COVER(FETCH_PAUSED);
		asked_add(t, to, atom, txns_applied(t) + 1, number, reads);
		return;
	}
	if (f && replica_usable(t->rp, f)) {
		lend(t, to, f, number, reads);
		return;
	}
	buf_init(&b, t->mem);
	put_u8(&b, MSG_NOT_HERE);
	put_u64(&b, atom);
	put_u64(&b, txns_applied(t));
	t->host->send(t->ctx, to, b.data, b.size);
	buf_fini(&b);
}

static void on_fetch(struct txns *t, engine_id from, struct reader *r)
{
	atom_id atom = get_u64(r);
	seq_index index = get_u64(r);
	uint32_t number = get_u32(r);
	bool reads = get_u8(r);

	if (r->bad)
		return;
	if (index <= txns_applied(t) && t->lends->lent_count < LENT_MAX)
		answer(t, from, atom, number, reads);
	else
		asked_add(t, from, atom, index, number, reads);
}

void lends_message(struct txns *t, engine_id from, uint8_t type, struct reader *r)
{
	if (type == MSG_FETCH)
		on_fetch(t, from, r);
	else
		on_have(t, from, r);
}

void lends_turn(struct txns *t)
{
	LIST_FOREACH_SAFE(it, tmp, &t->lends->asked) {
		struct asked a = *CONTAINER_OF(it, struct asked, all);

		if (t->lends->lent_count >= LENT_MAX)
			return;
		if (a.index > txns_applied(t))
			continue;
		asked_free(t, CONTAINER_OF(it, struct asked, all));
		answer(t, a.from, a.atom, a.number, a.reads); /* may put it at the end again */
	}
}

void lends_removed(struct txns *t, engine_id who)
{
	struct lane *lane = map_remove(&t->lends->lanes, who);

	if (lane)
		lane_free(t, lane);
	LIST_FOREACH_SAFE(it, tmp, &t->lends->asked)
		if (CONTAINER_OF(it, struct asked, all)->from == who)
			asked_free(t, CONTAINER_OF(it, struct asked, all));
}
