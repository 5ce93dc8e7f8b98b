/*
 * fetch.c - getting a copy of an atom from a holder, and giving one (engine/txn; P17, S8, S10).
 *
 * The requester names the atom and R, its applied index; the nearest holder answers as of I >= R with the image and its
 * version tail in pieces. If I is behind what the requester has applied by then, it replays the records after I from its
 * log window on that one copy; if it is ahead, the copy is FUTURE until then. Afterwards it asks to be
 * listed (hold), many atoms in one record. P15: the catalog leaves that lead to an atom are fetched before it, by
 * whoever looks for it, so a data atom is never here without them.
 */
#include "base/cover.h"
#include "engine/txn/txn_int.h"

#define FETCH_RETRY_US 500000
#define FETCH_PIECE_BYTES (256u << 10)
#define FETCH_IMAGE_MAX (256u << 20)
#define HOLD_DELAY_US 5000   /* collects atoms for one record; P15 allows 100 ms */
#define HOLDERS_TRIED 16

struct fetch {
	struct list all;
	atom_id atom;
	engine_id from;
	uint32_t attempt;
	uint64_t asked_us;
	seq_index asked_index;   /* R: the window must reach back to it */
	seq_index as_of;
	uint32_t image_bytes, tail_bytes, received;
	uint8_t *bytes;          /* image, then tail */
	bool again;              /* ask anew in the next turn */
	bool blocked;            /* the catalog leaf that says who has it is being fetched itself */
	seq_index not_before;    /* "not here as of": route again once applied */
};
struct asked {                   /* a peer's request that waits for our applied index */
	struct list all;
	engine_id from;
	atom_id atom;
	seq_index index;
};
struct future { atom_id atom; seq_index as_of; }; /* installed, of use when as_of is applied */
struct fetches {
	struct list all;
	struct map by_atom;
	struct list asked;
	struct timer timer, hold_timer;
	VEC(atom_id) to_hold;
	VEC(struct future) futures;
	bool holding;            /* a hold record is under way */
};

static void fetch_ask(struct txns *t, struct fetch *f);

static void timer_fire(struct timer *tm, void *ctx)
{
	struct txns *t = ctx;
	uint64_t now = txns_now(t);

	LIST_FOREACH_SAFE(it, tmp, &t->fetches->all) {
		struct fetch *f = CONTAINER_OF(it, struct fetch, all);

		if (now - f->asked_us >= FETCH_RETRY_US)
			fetch_ask(t, f);
	}
	if (!list_empty(&t->fetches->all))
		timer_arm(t->timers, tm, now + FETCH_RETRY_US);
}

static void hold_submit(struct txns *t);

static void hold_fire(struct timer *tm, void *ctx)
{
	(void)tm;
	hold_submit(ctx);
}

void fetches_init(struct txns *t)
{
	t->fetches = MEM_NEW(t->mem, struct fetches);
	list_init(&t->fetches->all);
	list_init(&t->fetches->asked);
	map_init(&t->fetches->by_atom, t->mem);
	timer_init(&t->fetches->timer, timer_fire, t);
	timer_init(&t->fetches->hold_timer, hold_fire, t);
}

static void fetch_free(struct txns *t, struct fetch *f)
{
	list_remove(&f->all);
	map_remove(&t->fetches->by_atom, f->atom);
	mem_free(t->mem, f->bytes, (size_t)f->image_bytes + f->tail_bytes);
	MEM_FREE(t->mem, f);
}

void fetches_reset(struct txns *t)
{
	LIST_FOREACH_SAFE(it, tmp, &t->fetches->all)
		fetch_free(t, CONTAINER_OF(it, struct fetch, all));
	LIST_FOREACH_SAFE(it2, tmp2, &t->fetches->asked) {
		struct asked *a = CONTAINER_OF(it2, struct asked, all);

		list_remove(&a->all);
		MEM_FREE(t->mem, a);
	}
	t->fetches->to_hold.count = 0;
	t->fetches->futures.count = 0;
	t->fetches->holding = false;
	timer_cancel(t->timers, &t->fetches->timer);
	timer_cancel(t->timers, &t->fetches->hold_timer);
}

void fetches_fini(struct txns *t)
{
	fetches_reset(t);
	VEC_FINI(t->mem, &t->fetches->to_hold);
	VEC_FINI(t->mem, &t->fetches->futures);
	map_fini(&t->fetches->by_atom);
	MEM_FREE(t->mem, t->fetches);
}

seq_index fetches_oldest(const struct txns *t)
{
	seq_index oldest = UINT64_MAX;

	LIST_FOREACH(it, &t->fetches->all) {
		const struct fetch *f = CONTAINER_OF(it, struct fetch, all);

		if (f->asked_index && f->asked_index < oldest) /* 0: nobody is asked yet, nothing will be replayed */
			oldest = f->asked_index;
	}
	return oldest;
}

/* -- requester --------------------------------------------------------------------------------------- */

static void fetch_ask(struct txns *t, struct fetch *f)
{
	struct hold h;
	engine_id holders[HOLDERS_TRIED];
	atom_id need = 0;
	uint32_t n;
	enum status st;
	struct buf b;

	f->again = false;
	f->asked_us = txns_now(t);
	if (f->not_before > txns_applied(t))
		return;
	st = replica_hold(t->rp, f->atom, &h, &need);
	f->blocked = st == ST_WAIT;
	if (f->blocked) {
		fetch_start(t, need);
		return;
	}
	if (st != ST_OK) { /* destroyed meanwhile */
		atom_id atom = f->atom;

		fetch_free(t, f);
		txns_wake(t, WAIT_ATOM, atom);
		return;
	}
	n = replica_holders(t->rp, &h, holders, HOLDERS_TRIED);
	for (uint32_t i = 0; i < n; i++)
		if (holders[i] == t->self) { /* listed under this id, and lost: not a source */
			memmove(&holders[i], &holders[i + 1], (n - i - 1) * sizeof holders[0]);
			n--;
			break;
		}
	if (!n)
		return; /* nobody has it now: an archive may come back */
	f->from = holders[f->attempt++ % n];
	f->received = 0;
	f->asked_index = txns_applied(t);
	buf_init(&b, t->mem);
	put_u8(&b, MSG_FETCH);
	put_u64(&b, f->atom);
	put_u64(&b, f->asked_index);
	t->host->send(t->ctx, f->from, b.data, b.size);
	buf_fini(&b);
}

void fetch_start(struct txns *t, atom_id atom)
{
	struct fetch *f;

	if (!t->self || map_find(&t->fetches->by_atom, atom) || atom_find(replica_store(t->rp), atom))
		return;
	f = MEM_NEW(t->mem, struct fetch);
	f->atom = atom;
	list_push_back(&t->fetches->all, &f->all);
	map_put(&t->fetches->by_atom, atom, f);
	f->again = true;
	if (!timer_armed(&t->fetches->timer))
		timer_arm(t->timers, &t->fetches->timer, txns_now(t) + FETCH_RETRY_US);
	t->stats.fetches++;
	t->host->kick(t->ctx);
}

/* The atom can be read now. */
static void of_use(struct txns *t, atom_id atom)
{
	LIST_FOREACH(it, &t->fetches->all)
		if (CONTAINER_OF(it, struct fetch, all)->blocked)
			CONTAINER_OF(it, struct fetch, all)->again = true;
	txns_wake(t, WAIT_ATOM, atom);
	txns_wake(t, WAIT_SLOTS, 0); /* row ids may have waited for a catalog leaf */
	t->host->kick(t->ctx);
}

static void fetch_done(struct txns *t, struct fetch *f)
{
	struct frame *frame;
	atom_id atom = f->atom;
	enum status st = replica_install(t->rp, f->bytes, f->image_bytes, f->bytes + f->image_bytes, f->tail_bytes,
					 f->as_of, &frame);

	if (st == ST_OK && frame->id != atom) {
		replica_drop_copy(t->rp, frame);
		st = ST_CORRUPT;
	}
	COVER_IF(st == ST_OK && f->as_of > txns_applied(t), FETCH_FUTURE);
	if (st == ST_OK && f->as_of < txns_applied(t)) {
		COVER(FETCH_REPLAY);
		st = t->host->replay(t->ctx, f->as_of, frame);
		if (st)
			replica_drop_copy(t->rp, frame);
	}
	if (st == ST_OK || st == ST_DUPLICATE) {
		struct future later = {atom, f->as_of};

		t->stats.fetch_bytes += f->image_bytes + f->tail_bytes;
		fetch_free(t, f);
		if (st == ST_OK)
			fetches_hold(t, atom);
		if (st == ST_OK && later.as_of > txns_applied(t))
			VEC_PUSH(t->mem, &t->fetches->futures, later); /* who waits for it is woken then */
		else
			of_use(t, atom);
		return;
	}
	log_event(t->log, LOG_TXN, LOG_INFO, "fetch repeated", "atom=%llu from=%llu cause=%s",
		  (unsigned long long)atom, (unsigned long long)f->from, status_name(st));
	mem_free(t->mem, f->bytes, (size_t)f->image_bytes + f->tail_bytes);
	f->bytes = NULL;
	f->image_bytes = f->tail_bytes = f->received = 0;
	f->again = f->attempt % HOLDERS_TRIED != 0; /* else the timer repeats it: not a loop as fast as the network */
	t->host->kick(t->ctx);
}

static void on_piece(struct txns *t, engine_id from, struct reader *r)
{
	atom_id atom = get_u64(r);
	seq_index as_of = get_u64(r);
	uint32_t image_bytes = get_u32(r), tail_bytes = get_u32(r), offset = get_u32(r);
	uint32_t bytes = (uint32_t)reader_left(r);
	struct fetch *f = map_find(&t->fetches->by_atom, atom);

	if (r->bad || !f || f->from != from)
		return;
	if ((uint64_t)image_bytes + tail_bytes > FETCH_IMAGE_MAX || !image_bytes) {
		r->bad = true;
		return;
	}
	if (offset == 0) {
		mem_free(t->mem, f->bytes, (size_t)f->image_bytes + f->tail_bytes);
		f->image_bytes = image_bytes;
		f->tail_bytes = tail_bytes;
		f->bytes = mem_alloc(t->mem, (size_t)image_bytes + tail_bytes);
		f->as_of = as_of;
		f->received = 0;
	}
	if (!f->bytes || as_of != f->as_of || image_bytes != f->image_bytes || tail_bytes != f->tail_bytes ||
	    offset != f->received || (uint64_t)offset + bytes > (uint64_t)image_bytes + tail_bytes)
		return; /* a piece was lost: the retry asks for all of it */
	memcpy(f->bytes + offset, get_raw(r, bytes), bytes);
	f->received += bytes;
	f->asked_us = txns_now(t);
	if (f->received == image_bytes + tail_bytes)
		fetch_done(t, f);
}

static void on_not_here(struct txns *t, engine_id from, struct reader *r)
{
	atom_id atom = get_u64(r);
	seq_index as_of = get_u64(r);
	struct fetch *f = map_find(&t->fetches->by_atom, atom);

	if (r->bad || !f || f->from != from)
		return;
	COVER(FETCH_NOT_HERE);
	f->not_before = as_of;
	f->again = as_of > txns_applied(t) || f->attempt % HOLDERS_TRIED != 0;
	t->host->kick(t->ctx);
}

/* -- holder ------------------------------------------------------------------------------------------- */

static void send_image(struct txns *t, engine_id to, struct frame *f)
{
	size_t image_bytes;
	const struct atom_head *image = frame_image_ref(f, &image_bytes);
	struct buf all, b;
	size_t offset = 0;

	buf_init(&all, t->mem);
	buf_init(&b, t->mem);
	buf_put(&all, image, image_bytes);
	frame_tail_encode(replica_store(t->rp), f, replica_horizon(t->rp), &all);
	do {
		size_t n = all.size - offset < FETCH_PIECE_BYTES ? all.size - offset : FETCH_PIECE_BYTES;

		buf_reset(&b);
		put_u8(&b, MSG_PIECE);
		put_u64(&b, f->id);
		put_u64(&b, txns_applied(t));
		put_u32(&b, (uint32_t)image_bytes);
		put_u32(&b, (uint32_t)(all.size - image_bytes));
		put_u32(&b, (uint32_t)offset);
		buf_put(&b, all.data + offset, n);
		t->host->send(t->ctx, to, b.data, b.size);
		offset += n;
	} while (offset < all.size);
	atom_image_unref(replica_store(t->rp), image);
	buf_fini(&b);
	buf_fini(&all);
}

static void asked_add(struct txns *t, engine_id from, atom_id atom, seq_index index)
{
	struct asked *a;

	LIST_FOREACH(it, &t->fetches->asked) { /* it repeats while we are behind: one image is enough */
		a = CONTAINER_OF(it, struct asked, all);
		if (a->from == from && a->atom == atom) {
			a->index = index;
			return;
		}
	}
	a = MEM_NEW(t->mem, struct asked);
	a->from = from;
	a->atom = atom;
	a->index = index;
	list_push_back(&t->fetches->asked, &a->all);
}

static void answer(struct txns *t, engine_id to, atom_id atom)
{
	struct frame *f = atom_find(replica_store(t->rp), atom);
	struct buf b;

	if (f && replica_usable(t->rp, f) && !replica_current(t->rp, f)) {
		/* within a record that apply has paused in: as of no index until that is whole */
		COVER(FETCH_PAUSED);
		asked_add(t, to, atom, txns_applied(t) + 1);
		return;
	}
	if (f && replica_usable(t->rp, f)) {
		send_image(t, to, f);
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

	if (r->bad)
		return;
	if (index <= txns_applied(t))
		answer(t, from, atom);
	else
		asked_add(t, from, atom, index);
}

void fetches_message(struct txns *t, engine_id from, uint8_t type, struct reader *r)
{
	if (type == MSG_FETCH)
		on_fetch(t, from, r);
	else if (type == MSG_PIECE)
		on_piece(t, from, r);
	else
		on_not_here(t, from, r);
}

void fetches_turn(struct txns *t)
{
	size_t kept = 0, futures = t->fetches->futures.count;

	for (size_t i = 0; i < futures; i++) {
		struct future later = t->fetches->futures.at[i];

		if (later.as_of > txns_applied(t))
			t->fetches->futures.at[kept++] = later;
		else
			of_use(t, later.atom);
	}
	t->fetches->futures.count = kept;
	LIST_FOREACH_SAFE(it, tmp, &t->fetches->all) {
		struct fetch *f = CONTAINER_OF(it, struct fetch, all);

		if (f->again && f->not_before <= txns_applied(t))
			fetch_ask(t, f);
	}
	LIST_FOREACH_SAFE(it2, tmp2, &t->fetches->asked) {
		struct asked *a = CONTAINER_OF(it2, struct asked, all);

		if (a->index <= txns_applied(t)) {
			list_remove(&a->all);
			answer(t, a->from, a->atom);
			MEM_FREE(t->mem, a);
		}
	}
}

void fetches_removed(struct txns *t, engine_id who)
{
	LIST_FOREACH(it, &t->fetches->all) {
		struct fetch *f = CONTAINER_OF(it, struct fetch, all);

		if (f->from == who)
			f->again = true;
	}
	LIST_FOREACH_SAFE(it2, tmp2, &t->fetches->asked) {
		struct asked *a = CONTAINER_OF(it2, struct asked, all);

		if (a->from == who) {
			list_remove(&a->all);
			MEM_FREE(t->mem, a);
		}
	}
}

/* -- being listed (P15) --------------------------------------------------------------------------------- */

static void hold_done(struct txns *t, struct submission *s, enum verdict v, enum void_cause cause, seq_index index)
{
	(void)s;
	(void)v;
	(void)cause;
	(void)index;
	t->fetches->holding = false;
	if (t->fetches->to_hold.count)
		hold_submit(t);
}

static void hold_submit(struct txns *t)
{
	struct atom_epoch list[RECORD_ATOMS_MAX];
	struct record r = {.kind = REC_HOLD};
	uint32_t n = 0;
	struct buf b;

	if (t->fetches->holding || !t->self || t->archive)
		return;
	while (t->fetches->to_hold.count && n < RECORD_ATOMS_MAX) {
		atom_id atom = t->fetches->to_hold.at[--t->fetches->to_hold.count];

		if (atom_find(replica_store(t->rp), atom))
			list[n++] = (struct atom_epoch){atom, 0};
	}
	if (!n)
		return;
	buf_init(&b, t->mem);
	atoms_encode(&b, list, n, 0);
	t->fetches->holding = true;
	txns_submit(t, &r, &b)->done = hold_done;
	buf_fini(&b);
}

void fetches_hold(struct txns *t, atom_id atom)
{
	if (t->archive)
		return; /* archives follow implicitly */
	VEC_PUSH(t->mem, &t->fetches->to_hold, atom);
	if (!t->fetches->holding && !timer_armed(&t->fetches->hold_timer))
		timer_arm(t->timers, &t->fetches->hold_timer, txns_now(t) + HOLD_DELAY_US);
}
