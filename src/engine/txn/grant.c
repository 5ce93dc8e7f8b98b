/*
 * grant.c - asking for grants and giving them (engine/txn; P8 to P11, deadlock probes of P12).
 *
 * A call of a statement names rows or keys. Those that the transaction does not hold yet are sorted by originator: one
 * request each (contract: one batched message per originator and statement; a local call when it is this
 * engine). An originator serves a request when it has applied what the coordinator had, is still the
 * originator of all that is named, and has current copies; then it queues for the locks, and answers when it has all.
 * A grant ends when the originator applies the commit (or void) of its transaction, hears of the rollback, or the
 * coordinator leaves the membership.
 */
#include "base/cover.h"
#include "engine/txn/txn_int.h"

#define GRANT_HEAD_BYTES 39 /* of MSG_GRANT before its items */
#define PROBE_HOPS_MAX 250
#define PROBE_BLOCKERS_MAX 64
#define PROBES_MAX 16       /* waits from which probes start at a time: each may visit all that wait */

/* -- coordinator's side -------------------------------------------------------------------------------- */

struct call_part {               /* what one originator was asked */
	engine_id engine;
	uint64_t request;
	bool answered;
	uint32_t count;
	uint32_t *items;          /* numbers into the call's items */
};
struct grant_call {
	struct txn *x;
	enum row_lock mode;
	uint32_t item_count, part_count, open_parts;
	struct call_part *parts;
	const uint8_t **keys;     /* in the arena of the call */
	uint32_t *key_lens;
	enum status failed;       /* ST_AGAIN: ask again (an originator moved or is gone) */
	seq_index again_at;       /* after this index is applied */
	uint64_t since_us;
	struct arena arena;
};

void grants_init(struct txns *t)
{
	t->locks = lock_table_new(t->mem);
	map_init(&t->calls, t->mem);
	bmap_init(&t->probes_seen, t->mem);
	list_init(&t->served);
}

static void release_one(struct txns *t, engine_id to, txn_id txn, seq_index over, uint64_t request);
static void request_drop(struct txns *t, engine_id from, uint64_t request);

void grants_call_free(struct txns *t, struct txn *x)
{
	struct grant_call *c = x->call;

	if (!c)
		return;
	for (uint32_t i = 0; i < c->part_count; i++) {
		const struct call_part *p = &c->parts[i];

		map_remove(&t->calls, p->request);
		if (p->answered || !p->request || x->self != t->self) /* no number: not asked yet */
			continue;
		/* given up: it leaves the queues, or others would wait behind it, and for what it gets in the end */
		if (p->engine == t->self) {
			request_drop(t, t->self, p->request);
		} else {
			x->abandoned = true;
			release_one(t, p->engine, x->id, 0, p->request);
		}
	}
	arena_fini(&c->arena);
	MEM_FREE(t->mem, c);
	x->call = NULL;
}

/* Which atom a lock key belongs to, and its originator. */
static enum status key_originator(struct txns *t, const uint8_t *key, uint32_t key_len, atom_id *atom_out,
				  engine_id *originator_out, struct frame **frame_out, atom_id *need_out)
{
	struct route route;
	struct hold h;
	rel_id storage;
	row_id row;
	enum status st;

	memcpy(&storage, key + 1, 8);
	if (key[0] == 'r') {
		memcpy(&row, key + 9, 8);
		st = replica_route_row(t->rp, storage, row, &route, need_out);
		if (st == ST_OK && row < route.lo)
			st = ST_END;
	} else if (storage == ATOM_SCHEMA_CAT) {
		st = replica_route_catalog(t->rp, ATOM_SCHEMA_CAT, key + 9, key_len - 9, &route);
	} else {
		st = replica_route_key(t->rp, storage, key + 9, key_len - 9, &route, need_out);
	}
	if (st)
		return st;
	st = replica_hold(t->rp, route.atom, &h, need_out);
	if (st == ST_NO_ATOM)
		return ST_END;
	if (st)
		return st;
	*atom_out = route.atom;
	*frame_out = route.frame;
	*originator_out = replica_originator(t->rp, &h);
	return ST_OK;
}

void grants_grantor(struct txns *t, struct txn *x, engine_id engine)
{
	size_t i = 0;

	if (engine == t->self)
		return;
	while (i < x->grantors.count && x->grantors.at[i] < engine)
		i++;
	if (i < x->grantors.count && x->grantors.at[i] == engine)
		return;
	VEC_PUSH(t->mem, &x->grantors, engine);
	memmove(&x->grantors.at[i + 1], &x->grantors.at[i],
		(x->grantors.count - 1 - i) * sizeof *x->grantors.at);
	x->grantors.at[i] = engine;
}

void grants_asked(struct txns *t, struct txn *x, engine_id engine)
{
	for (size_t i = 0; i < x->asked.count; i++)
		if (x->asked.at[i] == engine)
			return;
	VEC_PUSH(t->mem, &x->asked, engine);
}

static void hold_lock(struct txns *t, struct txn *x, const uint8_t *key, uint32_t key_len, engine_id grantor,
		      enum row_lock mode, uint64_t value, seq_index floor)
{
	struct held_lock *h = bmap_find(&x->held, key, key_len);

	if (!h) {
		h = ARENA_NEW(&x->arena, struct held_lock);
		bmap_put(&x->held, key, key_len, h);
	}
	h->grantor = grantor;
	h->mode = (uint8_t)mode > h->mode ? (uint8_t)mode : h->mode;
	h->key = key[0] == 'k';
	h->value = value;
	h->floor = floor;
	if (!x->grant_need)
		x->grant_need = txns_applied(t);
	grants_grantor(t, x, grantor);
}

static void serve(struct txns *t, engine_id from, txn_id txn, uint64_t request, uint64_t start_us, seq_index need,
		  bool nowait, enum row_lock mode, uint32_t count, struct reader *items);

/* Sends (or serves here) what one originator is asked for. */
static void part_send(struct txns *t, struct grant_call *c, struct call_part *p, bool nowait)
{
	struct buf b;

	buf_init(&b, t->mem);
	put_u8(&b, MSG_GRANT);
	put_u64(&b, c->x->id);
	put_u64(&b, p->request);
	put_u64(&b, c->x->begun_wall_us);
	put_u64(&b, txns_applied(t));
	put_u8(&b, nowait);
	put_u8(&b, (uint8_t)c->mode);
	put_u32(&b, p->count);
	for (uint32_t i = 0; i < p->count; i++)
		put_bytes(&b, c->keys[p->items[i]], c->key_lens[p->items[i]]);
	if (p->engine == t->self) {
		struct reader r = reader_init(b.data + GRANT_HEAD_BYTES, b.size - GRANT_HEAD_BYTES);

		t->stats.grants_local += p->count;
		serve(t, t->self, c->x->id, p->request, c->x->begun_wall_us, 0, nowait, c->mode, p->count, &r);
	} else {
		grants_asked(t, c->x, p->engine);
		t->stats.grants_remote += p->count;
		COVER(GRANT_REMOTE);
		peer_send(t, p->engine, &b);
	}
	buf_fini(&b);
}

static struct call_part *part_for(struct grant_call *c, engine_id engine, uint32_t max)
{
	struct call_part *p;

	for (uint32_t i = 0; i < c->part_count; i++)
		if (c->parts[i].engine == engine)
			return &c->parts[i];
	p = &c->parts[c->part_count++];
	p->engine = engine;
	p->items = ARENA_NEW_N(&c->arena, uint32_t, max);
	return p;
}

static enum status call_start(struct access *a, const uint8_t *const *keys, const uint32_t *key_lens,
			      const uint32_t *missing, uint32_t count, enum row_lock mode, bool nowait)
{
	struct txns *t = a->t;
	struct txn *x = a->txn;
	struct grant_call *c = MEM_NEW(t->mem, struct grant_call);

	arena_init(&c->arena, t->mem);
	c->x = x;
	c->mode = mode;
	c->since_us = txns_now(t);
	c->keys = ARENA_NEW_N(&c->arena, const uint8_t *, count);
	c->key_lens = ARENA_NEW_N(&c->arena, uint32_t, count);
	c->parts = ARENA_NEW_N(&c->arena, struct call_part, replica_member_count(t->rp) + 1);
	x->call = c;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *key = keys[missing[i]];
		uint32_t key_len = key_lens[missing[i]];
		atom_id atom, need = 0;
		engine_id originator = 0;
		struct frame *frame;
		struct call_part *p;
		enum status st = key_originator(t, key, key_len, &atom, &originator, &frame, &need);

		if (st == ST_OK && originator) {
			c->keys[i] = arena_dup(&c->arena, key, key_len);
			c->key_lens[i] = key_len;
			p = part_for(c, originator, count);
			p->items[p->count++] = i;
			continue;
		}
		grants_call_free(t, x);
		if (st == ST_WAIT) {
			fetch_start(t, need);
			return access_wait(a, WAIT_ATOM, need);
		}
		if (st == ST_OK)
			return access_wait(a, WAIT_MEMBER, 0); /* nobody who holds it lives now */
		return ST_AGAIN; /* gone: a new snapshot will not see it */
	}
	c->item_count = count;
	c->open_parts = c->part_count;
	for (uint32_t i = 0; i < c->part_count; i++) {
		c->parts[i].request = t->next_request++;
		map_put(&t->calls, c->parts[i].request, c);
	}
	for (uint32_t i = 0; i < c->part_count; i++)
		part_send(t, c, &c->parts[i], nowait);
	return ST_OK;
}

/* What came of the call that is under way. ST_OK: it is over, all granted. */
static enum status call_result(struct access *a, struct error *err)
{
	struct txns *t = a->t;
	struct grant_call *c = a->txn->call;
	enum status failed;
	seq_index again_at;

	if (c->open_parts) {
		t->stats.grant_waits++;
		return access_wait(a, WAIT_LOCK, a->txn->id);
	}
	failed = c->failed;
	again_at = c->again_at;
	grants_call_free(t, a->txn);
	if (failed == ST_AGAIN && again_at > txns_applied(t))
		a->need_applied = again_at > a->need_applied ? again_at : a->need_applied;
	if (failed == ST_LOCK_NOT_AVAILABLE)
		return error_set(err, failed, "could not obtain lock on row");
	return failed;
}

enum status grants_acquire(struct access *a, const uint8_t *const *keys, const uint32_t *key_lens, uint32_t count,
			   enum row_lock mode, bool nowait, struct error *err)
{
	struct txn *x = a->txn;
	struct txns *t = a->t;
	enum status st = access_check_write(a, err);
	uint32_t *missing, missing_count;
	struct arena_mark mark;
	bool retried = false;

	if (st)
		return st;
	if (a->need_applied > txns_applied(t))
		return access_wait(a, WAIT_APPLIED, a->need_applied);
	if (x->call) {
		st = call_result(a, err);
		if (st && st != ST_AGAIN)
			return st;
		if (a->need_applied > txns_applied(t))
			return access_wait(a, WAIT_APPLIED, a->need_applied);
	}
again:
	mark = arena_mark(&a->turn);
	missing = ARENA_NEW_N(&a->turn, uint32_t, count + 1);
	missing_count = 0;
	for (uint32_t i = 0; i < count; i++) {
		const struct held_lock *h = bmap_find(&x->held, keys[i], key_lens[i]);

		if (!h || h->mode < (uint8_t)mode)
			missing[missing_count++] = i;
	}
	if (!missing_count) {
		arena_rewind(&a->turn, mark);
		return ST_OK;
	}
	if (x->iso == ISOLATION_READ_COMMITTED && retried) {
		arena_rewind(&a->turn, mark);
		return access_wait(a, WAIT_LOCK, x->id);
	}
	st = call_start(a, keys, key_lens, missing, missing_count, mode, nowait);
	arena_rewind(&a->turn, mark);
	if (st)
		return st;
	st = call_result(a, err); /* local originators have answered already */
	if (st == ST_OK) {
		retried = true;
		goto again;
	}
	return st == ST_AGAIN ? access_wait(a, WAIT_APPLIED, a->need_applied) : st;
}

static void on_granted(struct txns *t, engine_id from, struct reader *r)
{
	uint64_t request = get_u64(r);
	enum status st = get_u8(r);
	seq_index applied = get_u64(r);
	uint32_t count = get_u32(r);
	struct grant_call *c = map_find(&t->calls, request);
	struct call_part *p = NULL;

	if (r->bad || !c)
		return;
	for (uint32_t i = 0; i < c->part_count; i++)
		if (c->parts[i].request == request)
			p = &c->parts[i];
	ASSERT(p);
	if (p->answered || p->engine != from || (st == ST_OK && count != p->count)) {
		r->bad = true;
		return;
	}
	p->answered = true;
	c->open_parts--;
	map_remove(&t->calls, request);
	if (st == ST_OK) {
		for (uint32_t i = 0; i < count; i++) {
			uint64_t value = get_u64(r);
			uint32_t item = p->items[i];

			hold_lock(t, c->x, c->keys[item], c->key_lens[item], from, c->mode, value, applied);
		}
	} else if (!c->failed || c->failed == ST_AGAIN) {
		c->failed = st == ST_STATE ? ST_AGAIN : st;
		if (st == ST_STATE && applied > c->again_at)
			c->again_at = applied; /* not the originator as of that index */
	}
	if (!c->open_parts)
		txns_wake(t, WAIT_LOCK, c->x->id);
}

static void release_one(struct txns *t, engine_id to, txn_id txn, seq_index over, uint64_t request)
{
	struct buf b;

	buf_init(&b, t->mem);
	put_u8(&b, MSG_RELEASE);
	put_u64(&b, txn);
	put_u64(&b, over);
	put_u64(&b, request);
	peer_send(t, to, &b);
	buf_fini(&b);
}

/* To every engine that was ever asked: a request may still be queued there. */
static void release_send(struct txns *t, struct txn *x, seq_index over)
{
	for (size_t i = 0; i < x->asked.count; i++)
		if (x->asked.at[i] != t->self)
			release_one(t, x->asked.at[i], x->id, over, 0);
}

void grants_release(struct txns *t, struct txn *x)
{
	grants_call_free(t, x);
	if (x->self != t->self)
		return;
	release_send(t, x, 0);
	grants_commit_applied(t, t->self, x->id);
}

/*
 * Its record is in the log, which ends its locks (P8). But a request of a statement that was given up may reach its
 * originator after the record did, and would hold its locks for ever: the release comes behind it in the same session.
 */
void grants_over(struct txns *t, struct txn *x, seq_index index)
{
	if (x->abandoned && index && x->self == t->self)
		release_send(t, x, index);
}

/* -- originator's side ----------------------------------------------------------------------------------- */

enum served_stage { SERVED_APPLY, SERVED_COPIES, SERVED_LOCKS, SERVED_DONE };
struct served {
	struct list all;
	engine_id from;
	txn_id txn;
	uint64_t request, start_us;
	seq_index need;
	bool nowait, granted;
	bool early;              /* own, all rows: it goes on beside those who are only to be decided (inherit.c) */
	enum row_lock mode;
	uint8_t stage;
	uint32_t count;
	uint32_t items_bytes;
	struct lock_request *rq;
	uint8_t items[];
};

static void served_free(struct txns *t, struct served *s)
{
	if (s->rq)
		lock_request_free(s->rq);
	list_remove(&s->all);
	mem_free(t->mem, s, sizeof *s + s->items_bytes);
}

/* A request that its coordinator gave up; what of it is granted already stays its transaction's. */
static void request_drop(struct txns *t, engine_id from, uint64_t request)
{
	LIST_FOREACH_SAFE(it, tmp, &t->served) {
		struct served *s = CONTAINER_OF(it, struct served, all);

		if (s->from == from && s->request == request)
			served_free(t, s);
	}
	t->host->kick(t->ctx); /* who waited behind it may have got its locks */
}

static void answer(struct txns *t, struct served *s, enum status st, const struct buf *values)
{
	struct buf b;

	buf_init(&b, t->mem);
	put_u8(&b, MSG_GRANTED);
	put_u64(&b, s->request);
	put_u8(&b, (uint8_t)st);
	put_u64(&b, txns_applied(t));
	put_u32(&b, st == ST_OK ? s->count : 0);
	if (values)
		buf_put(&b, values->data, values->size);
	if (s->from == t->self) {
		struct reader r = reader_init(b.data + 1, b.size - 1);

		on_granted(t, t->self, &r);
	} else {
		peer_send(t, s->from, &b);
	}
	buf_fini(&b);
	s->stage = SERVED_DONE;
}

static const uint8_t *next_item(struct reader *r, uint32_t *len_out)
{
	size_t n;
	const uint8_t *p = get_bytes(r, &n);

	*len_out = (uint32_t)n;
	return p;
}

/* Still the originator of everything, with current copies? ST_STATE: no. ST_WAIT. */
static enum status served_ready(struct txns *t, struct served *s)
{
	struct reader r = reader_init(s->items, s->items_bytes);
	enum status out = ST_OK;

	for (uint32_t i = 0; i < s->count; i++) {
		uint32_t len;
		const uint8_t *key = next_item(&r, &len);
		atom_id atom, need = 0;
		engine_id originator = 0;
		struct frame *f = NULL;
		enum status st = key_originator(t, key, len, &atom, &originator, &f, &need);

		if (st == ST_WAIT) {
			fetch_start(t, need);
			out = ST_WAIT;
			continue;
		}
		if (st || originator != t->self)
			return ST_STATE;
		if (!f || !replica_usable(t->rp, f)) {
			fetch_start(t, atom);
			out = ST_WAIT;
		} else if (structures_stopped(t, atom)) {
			out = ST_WAIT;
		}
	}
	return out;
}

/* P9: a row's newest version, or the row that has a key. */
static uint64_t item_value(struct txns *t, const uint8_t *key, uint32_t len, engine_id to)
{
	struct atom_store *store = replica_store(t->rp);
	atom_id atom, need;
	engine_id originator;
	struct frame *f;
	struct slice v;
	uint64_t value = 0;
	row_id row;

	if (key_originator(t, key, len, &atom, &originator, &f, &need) != ST_OK || !f)
		return UINT64_MAX;
	structures_granted(t, atom, to);
	if (key[0] == 'r') {
		memcpy(&row, key + 9, 8);
		value = columns_row_version(store, f, row);
		return value ? value : frame_reach(store, f);
	}
	if (leaf_get(store, f, LEAF_NEWEST, key + 9, len - 9, &v) == ST_OK && v.bytes >= 8)
		memcpy(&value, v.p, 8);
	return value;
}

static void served_granted(struct txns *t, struct served *s)
{
	struct reader r = reader_init(s->items, s->items_bytes);
	struct buf values;
	struct txn *x;
	enum status st = served_ready(t, s); /* it may have waited long: the atom may have moved */

	if (st == ST_WAIT)
		return;
	if (st) {
		answer(t, s, st, NULL);
		return;
	}
	buf_init(&values, t->mem);
	for (uint32_t i = 0; i < s->count; i++) {
		uint32_t len;
		const uint8_t *key = next_item(&r, &len);

		put_u64(&values, item_value(t, key, len, s->from));
		if (s->early && (x = txns_find(t, s->txn)))
			inherit_granted(t, x, key, len);
	}
	answer(t, s, ST_OK, &values);
	buf_fini(&values);
}

static void locks_done(void *ctx, struct lock_request *rq)
{
	struct served *s = ctx;

	(void)rq;
	COVER(GRANT_WAIT);
	s->granted = true; /* answered in grants_turn() */
}

static void served_lock(struct txns *t, struct served *s)
{
	struct reader r = reader_init(s->items, s->items_bytes);
	bool all = true;

	s->stage = SERVED_LOCKS;
	s->rq = lock_request_new(t->locks, s->from, s->txn, s->start_us, txns_now(t), locks_done, s);
	if (s->early)
		lock_request_early(s->rq);
	for (uint32_t i = 0; i < s->count; i++) {
		uint32_t len;
		const uint8_t *key = next_item(&r, &len);

		all = lock_request_add(s->rq, key, len, s->mode) && all;
		if (!all && s->nowait) {
			answer(t, s, ST_LOCK_NOT_AVAILABLE, NULL);
			return;
		}
	}
	s->granted = all;
}

/* Of a transaction here that may have rows early, and of rows only. */
static bool served_early(struct txns *t, const struct served *s)
{
	struct reader r = reader_init(s->items, s->items_bytes);
	const struct txn *x = s->from == t->self ? txns_find(t, s->txn) : NULL;

	if (!x || !inherit_may_take(x))
		return false;
	for (uint32_t i = 0; i < s->count; i++) {
		uint32_t len;

		if (next_item(&r, &len)[0] != 'r')
			return false;
	}
	return true;
}

/* One served request as far as it goes. */
static void served_step(struct txns *t, struct served *s)
{
	enum status st;

	if (s->stage == SERVED_APPLY && s->need <= txns_applied(t))
		s->stage = SERVED_COPIES;
	if (s->stage == SERVED_COPIES) {
		st = served_ready(t, s);
		if (st == ST_WAIT)
			return;
		if (st)
			answer(t, s, st, NULL);
		else
			served_lock(t, s);
	}
	if (s->stage == SERVED_LOCKS && s->granted)
		served_granted(t, s);
}

static void serve(struct txns *t, engine_id from, txn_id txn, uint64_t request, uint64_t start_us, seq_index need,
		  bool nowait, enum row_lock mode, uint32_t count, struct reader *items)
{
	uint32_t bytes = (uint32_t)reader_left(items);
	struct served *s = mem_alloc(t->mem, sizeof *s + bytes);

	s->from = from;
	s->txn = txn;
	s->request = request;
	s->start_us = start_us;
	s->need = need;
	s->nowait = nowait;
	s->mode = mode;
	s->count = count;
	s->items_bytes = bytes;
	memcpy(s->items, items->p, bytes);
	s->early = served_early(t, s);
	list_push_back(&t->served, &s->all);
	served_step(t, s);
	if (s->stage == SERVED_DONE)
		served_free(t, s);
}

static bool items_ok(struct reader r, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t len;
		const uint8_t *key = next_item(&r, &len);

		if (!key || (key[0] != 'r' && key[0] != 'k') || len < 9 || len > LOCK_KEY_MAX ||
		    (key[0] == 'r' && len != 17))
			return false;
	}
	return reader_left(&r) == 0;
}

static void on_grant(struct txns *t, engine_id from, struct reader *r)
{
	txn_id txn = get_u64(r);
	uint64_t request = get_u64(r), start_us = get_u64(r);
	seq_index need = get_u64(r);
	bool nowait = get_u8(r) != 0;
	uint8_t mode = get_u8(r);
	uint32_t count = get_u32(r);

	if (r->bad || mode > ROW_LOCK_UPDATE || !count || !items_ok(*r, count)) {
		r->bad = true;
		return;
	}
	serve(t, from, txn, request, start_us, need, nowait, (enum row_lock)mode, count, r);
}

void grants_turn(struct txns *t)
{
	LIST_FOREACH_SAFE(it, tmp, &t->served) {
		struct served *s = CONTAINER_OF(it, struct served, all);

		if (s->stage != SERVED_LOCKS || s->granted)
			served_step(t, s);
		if (s->stage == SERVED_DONE)
			served_free(t, s);
	}
}

/* The transaction is decided here, or rolled back: its locks end, and what it still queues for. */
void grants_commit_applied(struct txns *t, engine_id engine, txn_id txn)
{
	LIST_FOREACH_SAFE(it, tmp, &t->served) {
		struct served *s = CONTAINER_OF(it, struct served, all);

		if (s->from == engine && s->txn == txn)
			served_free(t, s);
	}
	lock_release_owner(t->locks, engine, txn);
	serial_over(t, engine, txn);
	if (!list_empty(&t->served)) /* it may have got its locks now, and a session's rollback is outside of a turn */
		t->host->kick(t->ctx);
}

void grants_removed(struct txns *t, engine_id who)
{
	LIST_FOREACH_SAFE(it, tmp, &t->served) {
		struct served *s = CONTAINER_OF(it, struct served, all);

		if (s->from == who)
			served_free(t, s);
	}
	lock_release_engine(t->locks, who);
	LIST_FOREACH(it2, &t->txns) {
		struct txn *x = CONTAINER_OF(it2, struct txn, all);
		struct grant_call *c = x->call;

		for (size_t i = 0; i < x->grantors.count; i++)
			if (x->grantors.at[i] == who && x->state != TXN_SUBMITTED)
				x->doomed = true;
		for (uint32_t i = 0; c && i < c->part_count; i++) {
			struct call_part *p = &c->parts[i];

			if (p->engine != who || p->answered)
				continue;
			p->answered = true;
			c->open_parts--;
			map_remove(&t->calls, p->request);
			if (!c->failed)
				c->failed = ST_AGAIN; /* the successor is asked */
		}
		if (c && !c->open_parts)
			txns_wake(t, WAIT_LOCK, x->id);
	}
}

void grants_reset(struct txns *t)
{
	LIST_FOREACH_SAFE(it, tmp, &t->served)
		served_free(t, CONTAINER_OF(it, struct served, all));
	LIST_FOREACH(it2, &t->txns)
		grants_call_free(t, CONTAINER_OF(it2, struct txn, all));
	lock_table_free(t->locks);
	t->locks = lock_table_new(t->mem);
}

void grants_fini(struct txns *t)
{
	LIST_FOREACH_SAFE(it, tmp, &t->served)
		served_free(t, CONTAINER_OF(it, struct served, all));
	lock_table_free(t->locks);
	map_fini(&t->calls);
	bmap_fini(&t->probes_seen);
}

/* -- deadlocks (P12): edge chasing (Chandy, Misra, Haas 1983) ----------------------------------------------- */

/*
 * A probe follows the waits of its initiator. At a coordinator it asks "does this transaction wait?", at an originator "for
 * whom?". Back at its initiator it has closed a cycle, and the youngest it met is ended.
 *
 * A coordinator forwards one probe once only: paths through a queue of n waiters are many (2^n, were each told of all before
 * it), and 24 sessions that waited for one row kept an engine busy for longer than the heartbeat limit.
 */
struct probe {
	struct lock_owner_id initiator, target, youngest;
	uint64_t youngest_start, round; /* round: of who started it, so that the next one goes all the way again */
	uint8_t hops, at_originator;
};

static void probe_send(struct txns *t, engine_id to, const struct probe *p)
{
	struct buf b;

	buf_init(&b, t->mem);
	put_u8(&b, MSG_PROBE);
	buf_put(&b, p, sizeof *p);
	peer_send(t, to, &b);
	buf_fini(&b);
}

static void probe_victim(struct txns *t, const struct probe *p)
{
	struct buf b;

	t->stats.deadlocks++;
	buf_init(&b, t->mem);
	put_u8(&b, MSG_VICTIM);
	put_u64(&b, p->youngest.txn);
	peer_send(t, p->youngest.engine, &b);
	buf_fini(&b);
}

static void probe_meet(struct probe *p, struct lock_owner_id who, uint64_t start)
{
	bool younger = start > p->youngest_start ||
		       (start == p->youngest_start &&
			(who.engine > p->youngest.engine ||
			 (who.engine == p->youngest.engine && who.txn > p->youngest.txn)));

	if (younger || !p->youngest.engine) {
		p->youngest = who;
		p->youngest_start = start;
	}
}

/* The waits of one request here: a probe to each blocker's coordinator. */
static void probe_blockers(struct txns *t, const struct lock_request *rq, struct probe p)
{
	struct lock_owner_id blockers[PROBE_BLOCKERS_MAX];
	uint32_t n = lock_blockers(rq, blockers, PROBE_BLOCKERS_MAX);

	probe_meet(&p, lock_request_owner(rq), lock_request_start_us(rq));
	for (uint32_t i = 0; i < n; i++) {
		if (blockers[i].engine == p.initiator.engine && blockers[i].txn == p.initiator.txn) {
			probe_victim(t, &p);
			return;
		}
		p.target = blockers[i];
		p.at_originator = 0;
		probe_send(t, blockers[i].engine, &p);
	}
}

/* Has this probe been forwarded for its target already? Forgotten when this engine starts its own next round. */
static bool probe_seen(struct txns *t, const struct probe *p)
{
	const uint64_t key[4] = {p->initiator.engine, p->initiator.txn, p->target.txn, p->round};

	if (bmap_find(&t->probes_seen, key, sizeof key))
		return true;
	bmap_put(&t->probes_seen, key, sizeof key, t);
	return false;
}

/* For what the session of this owner waits now: it may have several (advisory.c). NULL: for nothing. */
static struct txn *waiting_owner(struct txn *x)
{
	if (x->call || !x->a)
		return x->call ? x : NULL;
	return x->a->txn && x->a->txn->call ? x->a->txn : advisory_waiting(x->a);
}

static void on_probe(struct txns *t, struct reader *r)
{
	struct probe p;
	const uint8_t *raw = get_raw(r, sizeof p);
	struct txn *x, *waits;

	if (!raw)
		return;
	memcpy(&p, raw, sizeof p);
	if (++p.hops > PROBE_HOPS_MAX)
		return;
	if (p.at_originator) {
		struct lock_request *rq = NULL;

		while ((rq = lock_waiting_of(t->locks, p.target.engine, p.target.txn, rq)))
			probe_blockers(t, rq, p);
		return;
	}
	x = txns_find(t, p.target.txn);
	waits = x ? waiting_owner(x) : NULL;
	if (!waits || probe_seen(t, &p))
		return;
	if (waits != x && p.initiator.engine == t->self && p.initiator.txn == waits->id) { /* by another lock of its session */
		probe_victim(t, &p);
		return;
	}
	p.at_originator = 1;
	p.target.txn = waits->id;
	for (uint32_t i = 0; i < waits->call->part_count; i++)
		if (!waits->call->parts[i].answered)
			probe_send(t, waits->call->parts[i].engine, &p);
}

void grants_probe(struct txns *t)
{
	uint64_t now = txns_now(t), waiting = 0, round;
	struct lock_request *rq = NULL;

	if (now < t->deadlock_timeout_us || now < t->probe_at_us)
		return;
	t->probe_at_us = now + t->deadlock_timeout_us / 2;
	bmap_fini(&t->probes_seen);
	bmap_init(&t->probes_seen, t->mem);
	round = t->self << 32 | ++t->probe_round; /* a call's parts at several originators are probed by each */
	while ((rq = lock_waiting_next(t->locks, rq, now - t->deadlock_timeout_us)))
		waiting++;
	/* some at a time, all in turn */
	for (uint64_t n = 0; (rq = lock_waiting_next(t->locks, rq, now - t->deadlock_timeout_us)); n++) {
		struct probe p = {.initiator = lock_request_owner(rq), .round = round};

		if ((n + waiting - t->probe_from % waiting) % waiting < PROBES_MAX)
			probe_blockers(t, rq, p);
	}
	t->probe_from = waiting > PROBES_MAX ? (t->probe_from + PROBES_MAX) % waiting : 0;
}

static void on_victim(struct txns *t, struct reader *r)
{
	struct txn *x = txns_find(t, get_u64(r));

	if (r->bad || !x || !x->call)
		return; /* it got what it waited for */
	x->victim = true;
	COVER(DEADLOCK_VICTIM);
	txns_wake(t, WAIT_LOCK, x->id);
}

void grants_message(struct txns *t, engine_id from, uint8_t type, struct reader *r)
{
	txn_id txn;
	seq_index over;
	uint64_t request;

	switch (type) {
	case MSG_GRANT:
		on_grant(t, from, r);
		break;
	case MSG_GRANTED:
		on_granted(t, from, r);
		break;
	case MSG_PROBE:
		on_probe(t, r);
		break;
	case MSG_VICTIM:
		on_victim(t, r);
		break;
	default:
		txn = get_u64(r);
		over = get_u64(r);
		request = get_u64(r);
		if (!r->bad && request) {
			request_drop(t, from, request);
			break;
		}
		/* not applied here yet: then the record, when it is, ends what was asked before this message */
		if (!r->bad && over <= txns_applied(t))
			grants_commit_applied(t, from, txn);
	}
}
