/*
 * fetch.c - getting a copy of an atom from a holder (engine/txn; P17, S8, S10). lend.c is the holder's side.
 *
 * The requester names the atom and R, its applied index; the nearest holder answers as of I >= R with the image and its
 * version tail in pieces, which may come in any order; it is told what has come, and sends on. When nothing more comes, or the
 * holder is removed, the next holder is asked for all of it, under a new number: pieces of different answers never
 * mix. FETCHES_MAX atoms are asked for at a time, the others wait. If I is behind what the requester has applied by then, it replays the records after I from its
 * log window on that one copy; if it is ahead, the copy is FUTURE until then. Afterwards it asks to be
 * listed (hold), many atoms in one record. P15: the catalog leaves that lead to an atom are fetched before it, by
 * whoever looks for it, so a data atom is never here without them.
 */
#include "base/cover.h"
#include "engine/txn/lend_wire.h"
#include "engine/txn/txn_int.h"

#define FETCH_RETRY_US 500000
#define FETCHES_MAX 64
#define EXPECT_BYTES (32u << 10)  /* before a holder said how much it is */
#define READ_BYTES (64u << 10)    /* of one read of a holder's memory */
#define READS_IN_FLIGHT 8         /* of one image */
#define READ_WAIT_US 100000       /* for a link over which it can be read */
#define READ_FAILURES_MAX 2       /* S9: then it is to be sent */
#define FETCH_IMAGE_MAX (256u << 20)
#define HOLD_DELAY_US 5000   /* collects atoms for one record; P15 allows 100 ms */
#define HOLDERS_TRIED 16

struct part_read { uint32_t index, at, bytes; }; /* under way; index 0: none */
struct remote {                  /* an image in a holder's memory (lend_wire.h) */
	uint64_t preface, preface_key, generation;
	struct lend_extent extents[LEND_EXTENTS_MAX];
	uint32_t extent_count, extent_at, extent_used; /* what is asked for up to */
	uint32_t asked, here;    /* of the image, in bytes */
	uint32_t flying_bytes;   /* between the two */
	uint32_t index;          /* of the newest read */
	struct part_read parts[READS_IN_FLIGHT];
	struct lend_preface first;
	bool began, ending;      /* the preface was read once; is read again */
	uint64_t told_us;        /* the holder, that it is still read */
};
struct fetch {
	struct list all;
	atom_id atom;
	engine_id from;
	uint32_t attempt;
	uint64_t began_us, asked_us;
	seq_index asked_index;   /* R: the window must reach back to it */
	seq_index as_of;
	uint32_t number;         /* of the request that is under way; 0: none is */
	uint32_t image_bytes, tail_bytes, received;
	uint8_t *bytes;          /* image, then tail */
	uint8_t *have;           /* a byte per piece: it is here */
	struct remote *remote;   /* where it can be read; NULL: it is sent */
	uint32_t read_failures;
	bool again;              /* ask anew in the next turn */
	bool blocked;            /* the catalog leaf that says who has it is being fetched itself */
	seq_index not_before;    /* "not here as of": route again once applied */
	rel_id storage;          /* of a data or index atom, once known: its records are wanted */
	bool complete, came;     /* it waits for payloads to be replayed on it; some came */
};
struct future { atom_id atom; seq_index as_of; }; /* installed, of use when as_of is applied */
struct fetches {
	struct list all;
	struct map by_atom;
	uint32_t number, under_way; /* the last request's; how many have an answer to come */
	struct flow flow;       /* of what is read, over all images */
	uint32_t reading_bytes;
	uint64_t timed, timed_us;   /* one read at a time: its token, when it was asked for; 0: none */
	struct timer timer, hold_timer;
	VEC(atom_id) to_hold;
	VEC(struct future) futures;
	bool holding;            /* a hold record is under way */
	uint64_t version;        /* of the storages that are fetched */
};

static void fetch_ask(struct txns *t, struct fetch *f);

static void timer_fire(struct timer *tm, void *ctx)
{
	struct txns *t = ctx;
	uint64_t now = txns_now(t);

	LIST_FOREACH_SAFE(it, tmp, &t->fetches->all) {
		struct fetch *f = CONTAINER_OF(it, struct fetch, all);

		if (now - f->asked_us < FETCH_RETRY_US)
			continue;
		if (f->complete) {
			f->came = true; /* to look how the pull fares */
		} else {
			COVER_IF(f->received, FETCH_STALLED);
			fetch_ask(t, f);
		}
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
	map_init(&t->fetches->by_atom, t->mem);
	flow_init(&t->fetches->flow);
	timer_init(&t->fetches->timer, timer_fire, t);
	timer_init(&t->fetches->hold_timer, hold_fire, t);
}

static uint32_t piece_count(const struct fetch *f)
{
	return (uint32_t)(((uint64_t)f->image_bytes + f->tail_bytes + LEND_PIECE_BYTES - 1) / LEND_PIECE_BYTES);
}

/* What came of an answer is given up. */
static void answer_drop(struct txns *t, struct fetch *f)
{
	if (f->number)
		t->fetches->under_way--;
	if (f->remote) {
		t->fetches->reading_bytes -= f->remote->flying_bytes;
		if (t->fetches->timed >> 32 == f->number)
			t->fetches->timed = 0;
		MEM_FREE(t->mem, f->remote);
	}
	f->remote = NULL;
	mem_free(t->mem, f->have, piece_count(f));
	mem_free(t->mem, f->bytes, (size_t)f->image_bytes + f->tail_bytes);
	f->bytes = f->have = NULL;
	f->complete = false;
	f->number = f->image_bytes = f->tail_bytes = f->received = 0;
}

static void fetch_free(struct txns *t, struct fetch *f)
{
	answer_drop(t, f);
	if (f->storage)
		t->fetches->version++;
	list_remove(&f->all);
	map_remove(&t->fetches->by_atom, f->atom);
	MEM_FREE(t->mem, f);
}

void fetches_reset(struct txns *t)
{
	LIST_FOREACH_SAFE(it, tmp, &t->fetches->all)
		fetch_free(t, CONTAINER_OF(it, struct fetch, all));
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

void fetches_each_storage(const struct txns *t, void *ctx, void (*fn)(void *ctx, rel_id storage))
{
	LIST_FOREACH(it, &t->fetches->all) {
		const struct fetch *f = CONTAINER_OF(it, struct fetch, all);

		if (f->storage)
			fn(ctx, f->storage);
	}
}

uint64_t fetches_version(const struct txns *t)
{
	return t->fetches->version;
}

void fetches_payloads_came(struct txns *t)
{
	LIST_FOREACH(it, &t->fetches->all)
		CONTAINER_OF(it, struct fetch, all)->came = true;
}

/* -- requester --------------------------------------------------------------------------------------- */

/* The holder sends on for what it knows to be here; LEND_ENOUGH: nothing more of it is wanted. */
static void say_have(struct txns *t, engine_id to, atom_id atom, uint32_t number, uint32_t have)
{
	struct buf b;

	buf_init(&b, t->mem);
	put_u8(&b, MSG_HAVE);
	put_u64(&b, atom);
	put_u32(&b, number);
	put_u32(&b, have);
	t->host->send(t->ctx, to, b.data, b.size);
	buf_fini(&b);
}

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
	if (f->number)
		say_have(t, f->from, f->atom, f->number, LEND_ENOUGH);
	answer_drop(t, f);
	if (f->not_before > txns_applied(t))
		return;
	if (t->fetches->under_way >= FETCHES_MAX) {
		f->again = true;
		return;
	}
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
	if (!f->storage && (h.kind == ATOM_DATA || h.kind == ATOM_INDEX)) {
		f->storage = h.owner;
		t->fetches->version++;
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
	f->from = holders[f->attempt % n];
	if (t->host->expect(t->ctx, f->from, EXPECT_BYTES) && txns_now(t) - f->began_us < READ_WAIT_US) {
		f->again = true;
		return;
	}
	f->attempt++;
	f->asked_index = txns_applied(t);
	if (++t->fetches->number == 0)
		t->fetches->number = 1;
	f->number = t->fetches->number;
	t->fetches->under_way++;
	buf_init(&b, t->mem);
	put_u8(&b, MSG_FETCH);
	put_u64(&b, f->atom);
	put_u64(&b, f->asked_index);
	put_u32(&b, f->number);
	put_u8(&b, f->read_failures < READ_FAILURES_MAX && t->host->may_read(t->ctx, f->from));
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
	f->began_us = txns_now(t);
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
	f->complete = st == ST_WAIT;
	if (f->complete) { /* nothing more of it is to come */
		t->fetches->under_way -= f->number != 0;
		f->number = 0;
		f->asked_us = txns_now(t);
		return;
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
	answer_drop(t, f);
	f->again = f->attempt % HOLDERS_TRIED != 0; /* else the timer repeats it: not a loop as fast as the network */
	t->host->kick(t->ctx);
}

/* The first piece that comes says how much it is. */
static bool answer_begin(struct txns *t, struct fetch *f, seq_index as_of, uint32_t image_bytes, uint32_t tail_bytes)
{
	if ((uint64_t)image_bytes + tail_bytes > FETCH_IMAGE_MAX || !image_bytes)
		return false;
	f->image_bytes = image_bytes;
	f->tail_bytes = tail_bytes;
	f->as_of = as_of;
	f->bytes = mem_alloc(t->mem, (size_t)image_bytes + tail_bytes);
	f->have = mem_alloc(t->mem, piece_count(f));
	memset(f->have, 0, piece_count(f));
	return true;
}

static void on_piece(struct txns *t, engine_id from, struct reader *r)
{
	atom_id atom = get_u64(r);
	seq_index as_of = get_u64(r);
	uint32_t number = get_u32(r), image_bytes = get_u32(r), tail_bytes = get_u32(r), offset = get_u32(r);
	uint32_t bytes = (uint32_t)reader_left(r), at = offset / LEND_PIECE_BYTES;
	uint64_t total = (uint64_t)image_bytes + tail_bytes;
	struct fetch *f = map_find(&t->fetches->by_atom, atom);

	if (r->bad)
		return;
	if (!f || f->from != from || f->number != number) {
		if (replica_member(t->rp, from)) /* a late answer: it is not wanted any more */
			say_have(t, from, atom, number, LEND_ENOUGH);
		return;
	}
	if (f->remote || (!f->bytes && !answer_begin(t, f, as_of, image_bytes, tail_bytes))) {
		r->bad = true;
		return;
	}
	if (as_of != f->as_of || image_bytes != f->image_bytes || tail_bytes != f->tail_bytes || offset % LEND_PIECE_BYTES ||
	    offset >= total || bytes != (total - offset < LEND_PIECE_BYTES ? total - offset : LEND_PIECE_BYTES)) {
		r->bad = true;
		return;
	}
	if (f->have[at])
		return;
	f->have[at] = 1;
	memcpy(f->bytes + offset, get_raw(r, bytes), bytes);
	f->received += bytes;
	f->asked_us = txns_now(t);
	say_have(t, from, atom, number, f->received);
	if (f->received == total)
		fetch_done(t, f);
}

/* -- reading a holder's memory (S9) ------------------------------------------------------------------------------ */

/* Once more, from the next holder; after some failures it is to be sent. */
static void read_failed(struct txns *t, struct fetch *f, const char *cause)
{
	COVER(FETCH_READ_FAILED);
	log_event(t->log, LOG_TXN, LOG_INFO, "read repeated", "atom=%llu from=%llu cause=%s", (unsigned long long)f->atom,
		  (unsigned long long)f->from, cause);
	t->stats.fetch_read_failures++;
	f->read_failures++;
	say_have(t, f->from, f->atom, f->number, LEND_ENOUGH);
	answer_drop(t, f);
	f->again = true;
	t->host->kick(t->ctx);
}

static uint64_t token_of(const struct fetch *f)
{
	return (uint64_t)f->number << 32 | f->remote->index;
}

static bool preface_read(struct txns *t, struct fetch *f)
{
	struct remote *m = f->remote;

	m->index++;
	return t->host->read(t->ctx, f->from, m->preface, m->preface_key, sizeof m->first, token_of(f));
}

static bool part_read(struct txns *t, struct fetch *f, struct part_read *p)
{
	struct remote *m = f->remote;
	const struct lend_extent *x = &m->extents[m->extent_at];
	uint32_t left = x->bytes - m->extent_used;

	m->index++;
	*p = (struct part_read){m->index, m->asked, left < READ_BYTES ? left : READ_BYTES};
	if (!t->host->read(t->ctx, f->from, x->address + m->extent_used, x->key, p->bytes, token_of(f)))
		return false;
	m->asked += p->bytes;
	m->flying_bytes += p->bytes;
	t->fetches->reading_bytes += p->bytes;
	if (!t->fetches->timed) {
		t->fetches->timed = token_of(f);
		t->fetches->timed_us = txns_now(t);
	}
	m->extent_used += p->bytes;
	if (m->extent_used == x->bytes) {
		m->extent_at++;
		m->extent_used = 0;
	}
	return true;
}

/* Asks for what there is room for: parts of the image, then the preface once more. */
static void read_on(struct txns *t, struct fetch *f)
{
	struct remote *m = f->remote;
	bool ok = true;

	for (uint32_t i = 0; i < READS_IN_FLIGHT && ok && m->asked < f->image_bytes; i++)
		if (!m->parts[i].index && (!t->fetches->reading_bytes ||
					   t->fetches->reading_bytes + READ_BYTES <= t->fetches->flow.bytes))
			ok = part_read(t, f, &m->parts[i]);
	if (ok && m->here == f->image_bytes && !m->ending) {
		m->ending = true;
		ok = preface_read(t, f);
	}
	if (!ok)
		read_failed(t, f, "no link");
}

static bool preface_ok(const struct fetch *f, const struct lend_preface *p)
{
	return !(p->seq & 1) && p->atom == f->atom && p->engine == f->from && p->as_of == f->as_of &&
	       p->generation == f->remote->generation;
}

static void on_lent(struct txns *t, engine_id from, struct reader *r)
{
	atom_id atom = get_u64(r);
	seq_index as_of = get_u64(r);
	uint32_t number = get_u32(r), image_bytes = get_u32(r);
	struct remote m = {.generation = get_u64(r), .told_us = txns_now(t)};
	uint64_t sum = 0;
	struct fetch *f = map_find(&t->fetches->by_atom, atom);

	m.preface = get_u64(r);
	m.preface_key = get_u64(r);
	m.extent_count = get_u8(r);
	for (uint32_t i = 0; i < m.extent_count && i < LEND_EXTENTS_MAX; i++) {
		m.extents[i].address = get_u64(r);
		m.extents[i].key = get_u64(r);
		m.extents[i].bytes = get_u32(r);
		r->bad |= m.extents[i].bytes == 0;
		sum += m.extents[i].bytes;
	}
	if (r->bad || m.extent_count > LEND_EXTENTS_MAX || sum != image_bytes) {
		r->bad = true;
		return;
	}
	if (!f || f->from != from || f->number != number || f->bytes) {
		if (replica_member(t->rp, from))
			say_have(t, from, atom, number, LEND_ENOUGH);
		return;
	}
	if (!answer_begin(t, f, as_of, image_bytes, (uint32_t)reader_left(r))) {
		r->bad = true;
		return;
	}
	if (f->tail_bytes)
		memcpy(f->bytes + image_bytes, get_raw(r, f->tail_bytes), f->tail_bytes);
	f->asked_us = txns_now(t);
	f->remote = MEM_NEW(t->mem, struct remote);
	*f->remote = m;
	if (!preface_read(t, f))
		read_failed(t, f, "no link");
}

static void image_read(struct txns *t, struct fetch *f, const struct lend_preface *last)
{
	if (!preface_ok(f, last) || last->seq != f->remote->first.seq) {
		read_failed(t, f, "taken back");
		return;
	}
	COVER(FETCH_READ);
	t->stats.fetch_reads++;
	t->stats.fetch_read_bytes += f->image_bytes;
	say_have(t, f->from, f->atom, f->number, LEND_ENOUGH);
	fetch_done(t, f);
}

static void part_here(struct txns *t, struct fetch *f, uint32_t index, const void *data, size_t bytes)
{
	struct remote *m = f->remote;
	uint64_t now = txns_now(t);

	for (uint32_t i = 0; i < READS_IN_FLIGHT; i++) {
		struct part_read *p = &m->parts[i];

		if (p->index != index || p->bytes != bytes)
			continue;
		memcpy(f->bytes + p->at, data, bytes);
		m->here += p->bytes;
		m->flying_bytes -= p->bytes;
		t->fetches->reading_bytes -= p->bytes;
		p->index = 0;
		break;
	}
	if (t->fetches->timed == ((uint64_t)f->number << 32 | index)) {
		flow_took(&t->fetches->flow, now - t->fetches->timed_us);
		t->fetches->timed = 0;
	}
	if (now - m->told_us >= FETCH_RETRY_US) { /* it takes long: it shall stay lent */
		m->told_us = now;
		say_have(t, f->from, f->atom, f->number, m->here);
	}
	LIST_FOREACH(it, &t->fetches->all) { /* what waits for room, first begun first */
		struct fetch *other = CONTAINER_OF(it, struct fetch, all);

		if (other->remote && other->remote->began)
			read_on(t, other);
	}
}

void fetches_read(struct txns *t, engine_id from, uint64_t token, const void *data, size_t bytes)
{
	uint32_t number = (uint32_t)(token >> 32), index = (uint32_t)token;
	struct lend_preface p;
	struct fetch *f = NULL;

	LIST_FOREACH(it, &t->fetches->all)
		if (CONTAINER_OF(it, struct fetch, all)->number == number)
			f = CONTAINER_OF(it, struct fetch, all);
	if (!number || !f || !f->remote || f->from != from)
		return; /* given up meanwhile */
	f->asked_us = txns_now(t);
	if (f->remote->began && !(f->remote->ending && index == f->remote->index)) {
		part_here(t, f, index, data, bytes);
		return;
	}
	if (bytes != sizeof p)
		return;
	memcpy(&p, data, sizeof p);
	if (f->remote->ending) {
		image_read(t, f, &p);
	} else if (preface_ok(f, &p)) {
		f->remote->first = p;
		f->remote->began = true;
		read_on(t, f);
	} else {
		read_failed(t, f, "not lent");
	}
}

static void on_not_here(struct txns *t, engine_id from, struct reader *r)
{
	atom_id atom = get_u64(r);
	seq_index as_of = get_u64(r);
	struct fetch *f = map_find(&t->fetches->by_atom, atom);

	if (r->bad || !f || f->from != from || f->complete)
		return;
	COVER(FETCH_NOT_HERE);
	f->not_before = as_of;
	answer_drop(t, f);
	f->again = as_of > txns_applied(t) || f->attempt % HOLDERS_TRIED != 0;
	t->host->kick(t->ctx);
}

void fetches_message(struct txns *t, engine_id from, uint8_t type, struct reader *r)
{
	if (type == MSG_PIECE)
		on_piece(t, from, r);
	else if (type == MSG_LENT)
		on_lent(t, from, r);
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

		if (f->complete && f->came) {
			f->came = false;
			fetch_done(t, f);
		} else if (f->again && f->not_before <= txns_applied(t)) {
			fetch_ask(t, f);
		}
	}
}

void fetches_removed(struct txns *t, engine_id who)
{
	LIST_FOREACH(it, &t->fetches->all) {
		struct fetch *f = CONTAINER_OF(it, struct fetch, all);

		if (f->from == who && f->number)
			f->again = true;
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
