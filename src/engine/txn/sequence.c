/*
 * sequence.c - values of sequences (engine/txn; P14).
 *
 * The originator of a sequence's atom hands out values from ranges that it reserved by a record; what it reserved and
 * did not hand out is lost with it, so values never repeat. Others ask it. Whoever uses a sequence fetches its atom
 * first, so that it is on the holder list: it may be the next originator.
 */
#include "base/cover.h"
#include "engine/txn/txn_int.h"

#define RESERVE_AHEAD 32    /* values reserved in one record, at least (PostgreSQL logs 32 ahead as well) */
#define SEQUENCE_MANY 4096  /* values asked for in one message, at most */

/* Originator's side: what is left of the last reservation. */
struct range {
	rel_id sequence;
	engine_id self;          /* reserved under this id */
	int64_t next;
	uint64_t left;
	bool reserving;
	struct sequence_state wanted; /* of the reservation under way */
	uint64_t wanted_left;
	int64_t wanted_next;
};
/* A request, own or a peer's, that waits for a reservation or for our applied index. */
struct ask {
	struct list all;
	engine_id from;
	uint64_t request;
	rel_id sequence;
	uint32_t count;
	seq_index need;
	bool set, is_called;
	int64_t value;
	bool set_sent;
};
/* A session's call. */
struct sequence_call {
	uint64_t request;
	rel_id sequence;
	engine_id asked;
	uint32_t count, got;
	enum status st;
	bool done;
	seq_index again_at;
	int64_t values[];
};
struct sequences { struct map ranges; struct list asks; };

void sequences_init(struct txns *t)
{
	t->sequences = MEM_NEW(t->mem, struct sequences);
	map_init(&t->sequences->ranges, t->mem);
	list_init(&t->sequences->asks);
}

void sequences_reset(struct txns *t)
{
	struct map_slot *m;
	size_t at = 0;

	while ((m = map_next(&t->sequences->ranges, &at)))
		MEM_FREE(t->mem, (struct range *)m->value);
	map_clear(&t->sequences->ranges);
	LIST_FOREACH_SAFE(it, tmp, &t->sequences->asks) {
		struct ask *k = CONTAINER_OF(it, struct ask, all);

		list_remove(&k->all);
		MEM_FREE(t->mem, k);
	}
}

void sequences_fini(struct txns *t)
{
	sequences_reset(t);
	map_fini(&t->sequences->ranges);
	MEM_FREE(t->mem, t->sequences);
}

/* -- originator ---------------------------------------------------------------------------------------------- */

static enum status sequence_frame(struct txns *t, rel_id seq, struct frame **frame_out, engine_id *originator_out,
				  atom_id *need_out)
{
	struct route route;
	struct hold h;
	enum status st = replica_route_sequence(t->rp, seq, &route, need_out);

	if (st)
		return st;
	st = replica_hold(t->rp, route.atom, &h, need_out);
	if (st)
		return st;
	*originator_out = replica_originator(t->rp, &h);
	*frame_out = route.frame;
	if (!route.frame || !replica_usable(t->rp, route.frame)) {
		*need_out = route.atom;
		return ST_WAIT;
	}
	return ST_OK;
}

static struct range *range_get(struct txns *t, rel_id seq)
{
	struct range *r = map_find(&t->sequences->ranges, seq);

	if (!r) {
		r = MEM_NEW(t->mem, struct range);
		r->sequence = seq;
		map_put(&t->sequences->ranges, seq, r);
	}
	if (r->self != t->self) {
		r->self = t->self;
		r->left = 0;
	}
	return r;
}

static void reserved(struct txns *t, struct submission *s, enum verdict v, enum void_cause cause, seq_index index)
{
	struct range *r = map_find(&t->sequences->ranges, s->arg);

	(void)cause;
	if (!r)
		return;
	r->reserving = false;
	if (v == VERDICT_OK && index) {
		r->next = r->wanted_next;
		r->left = r->wanted_left;
		t->stats.reserves++;
		COVER(SEQUENCE_RESERVE);
	} else { /* what it was to set is not set: once more */
		LIST_FOREACH(it, &t->sequences->asks)
			if (CONTAINER_OF(it, struct ask, all)->sequence == s->arg)
				CONTAINER_OF(it, struct ask, all)->set_sent = false;
	}
	t->host->kick(t->ctx);
}

static void submit_reserve(struct txns *t, struct range *r, struct frame *f, const struct sequence_state *from,
			   const struct sequence_state *to, bool set)
{
	struct reserve_payload p = {.sequence = r->sequence, .atom = f->id, .set = set, .from = *from, .to = *to};
	struct record rec = {.kind = REC_RESERVE};
	struct submission *s;
	struct buf b;

	buf_init(&b, t->mem);
	reserve_encode(&b, &p);
	r->reserving = true;
	s = txns_submit(t, &rec, &b);
	s->done = reserved;
	s->arg = r->sequence;
	buf_fini(&b);
}

/* How many values from @next on (count at most) stay within the bounds. */
static uint64_t values_within(const struct sequence_def *d, int64_t next, uint64_t count)
{
	i128 room;

	if (next < d->min || next > d->max)
		return 0;
	room = d->increment > 0 ? ((i128)d->max - next) / d->increment : ((i128)next - d->min) / -(i128)d->increment;
	room += 1;
	return room < (i128)count ? (uint64_t)room : count;
}

/* Starts a reservation for @count values. ST_SEQUENCE_LIMIT: there are not as many. */
static enum status reserve(struct txns *t, struct range *r, struct frame *f, const struct sequence_def *d,
			   uint32_t count)
{
	struct sequence_state from, to;
	uint64_t want = count > RESERVE_AHEAD ? count : RESERVE_AHEAD, n;
	i128 after;

	if ((uint64_t)d->cache > want)
		want = (uint64_t)d->cache;
	if (!sequence_state_get(t->rp, f, &from))
		return ST_CORRUPT;
	to = from;
	if (from.exhausted) {
		if (!d->cycle)
			return ST_SEQUENCE_LIMIT;
		to.next = d->increment > 0 ? d->min : d->max;
		to.exhausted = 0;
	}
	n = values_within(d, to.next, want);
	if (n < count && (!d->cycle || n == 0))
		return ST_SEQUENCE_LIMIT;
	r->wanted_next = to.next;
	r->wanted_left = n;
	after = (i128)to.next + (i128)n * d->increment;
	to.exhausted = after > d->max || after < d->min;
	if (!to.exhausted)
		to.next = (int64_t)after;
	submit_reserve(t, r, f, &from, &to, false);
	return ST_OK;
}

static void ask_answer(struct txns *t, struct ask *k, enum status st, int64_t first, int64_t increment,
		       uint32_t count);

/* One request as far as it goes; true: answered. */
static bool ask_step(struct txns *t, struct ask *k)
{
	struct frame *f = NULL;
	engine_id originator = 0;
	atom_id need = 0;
	struct sequence_def *d = NULL;
	struct range *r;
	enum status st;
	uint32_t n;

	if (k->need > txns_applied(t))
		return false;
	st = sequence_frame(t, k->sequence, &f, &originator, &need);
	if (st == ST_WAIT && originator && originator != t->self)
		st = ST_STATE;
	if (st == ST_WAIT) {
		fetch_start(t, need);
		return false;
	}
	if (st == ST_OK && originator != t->self)
		st = ST_STATE;
	if (st == ST_OK)
		st = ddl_sequence(t, k->sequence, &d);
	if (st == ST_WAIT)
		return false;
	if (st) {
		ask_answer(t, k, st == ST_STATE ? st : ST_UNDEFINED_TABLE, 0, 0, 0);
		return true;
	}
	r = range_get(t, k->sequence);
	if (r->reserving)
		return false;
	if (k->set) {
		struct sequence_state from, to;

		if (k->set_sent) {
			ask_answer(t, k, ST_OK, k->value, 0, 1);
			return true;
		}
		if (!sequence_state_get(t->rp, f, &from))
			return false;
		to = from;
		to.version++;
		to.next = k->value;
		to.exhausted = 0;
		if (k->is_called) {
			i128 after = (i128)k->value + d->increment;

			to.exhausted = after > d->max || after < d->min;
			if (!to.exhausted)
				to.next = (int64_t)after;
		}
		r->wanted_next = to.next;
		r->wanted_left = 0;
		k->set_sent = true;
		submit_reserve(t, r, f, &from, &to, true);
		return false;
	}
	if (r->left == 0) {
		st = reserve(t, r, f, d, k->count);
		if (st) {
			ask_answer(t, k, st, 0, 0, 0);
			return true;
		}
		return false;
	}
	n = r->left < k->count ? (uint32_t)r->left : k->count;
	ask_answer(t, k, ST_OK, r->next, d->increment, n);
	r->left -= n;
	r->next = (int64_t)((uint64_t)r->next + (uint64_t)n * (uint64_t)d->increment);
	return true;
}

static void on_values(struct txns *t, engine_id from, struct reader *r);

static void ask_answer(struct txns *t, struct ask *k, enum status st, int64_t first, int64_t increment,
		       uint32_t count)
{
	struct buf b;

	buf_init(&b, t->mem);
	put_u8(&b, MSG_SEQUENCE_VALUES);
	put_u64(&b, k->request);
	put_u8(&b, (uint8_t)st);
	put_u64(&b, txns_applied(t));
	put_u64(&b, (uint64_t)first);
	put_u64(&b, (uint64_t)increment);
	put_u32(&b, count);
	if (k->from == t->self) {
		struct reader r = reader_init(b.data + 1, b.size - 1);

		on_values(t, t->self, &r);
	} else {
		peer_send(t, k->from, &b);
	}
	buf_fini(&b);
}

static void ask_add(struct txns *t, const struct ask *model)
{
	struct ask *k = MEM_NEW(t->mem, struct ask);

	*k = *model;
	list_push_back(&t->sequences->asks, &k->all);
	t->host->kick(t->ctx);
}

void sequences_turn(struct txns *t)
{
	LIST_FOREACH_SAFE(it, tmp, &t->sequences->asks) {
		struct ask *k = CONTAINER_OF(it, struct ask, all);

		if (ask_step(t, k)) {
			list_remove(&k->all);
			MEM_FREE(t->mem, k);
		}
	}
}

void sequences_removed(struct txns *t, engine_id who)
{
	LIST_FOREACH_SAFE(it, tmp, &t->sequences->asks) {
		struct ask *k = CONTAINER_OF(it, struct ask, all);

		if (k->from == who) {
			list_remove(&k->all);
			MEM_FREE(t->mem, k);
		}
	}
	LIST_FOREACH(it2, &t->accesses) {
		struct access *a = CONTAINER_OF(it2, struct access, all);
		struct sequence_call *c = a->sequence;

		if (c && !c->done && c->asked == who) {
			c->done = true;
			c->st = ST_AGAIN; /* the next originator is asked */
			txns_wake(t, WAIT_SEQUENCE, c->request);
		}
	}
}

void sequences_hold_changed(struct txns *t, atom_id atom)
{
	struct frame *f = atom_find(replica_store(t->rp), atom);
	struct range *r = f && f->kind == ATOM_SEQUENCE ? map_find(&t->sequences->ranges, frame_owner(f)) : NULL;
	struct hold h;
	atom_id need;

	if (r && replica_hold(t->rp, atom, &h, &need) == ST_OK && replica_originator(t->rp, &h) != t->self)
		r->left = 0;
	t->host->kick(t->ctx);
}

void sequences_message(struct txns *t, engine_id from, uint8_t type, struct reader *r)
{
	struct ask k = {.from = from};

	if (type == MSG_SEQUENCE_VALUES) {
		COVER(SEQUENCE_REMOTE);
		on_values(t, from, r);
		return;
	}
	k.request = get_u64(r);
	k.sequence = get_u64(r);
	k.need = get_u64(r);
	k.count = get_u32(r);
	k.set = get_u8(r) != 0;
	k.is_called = get_u8(r) != 0;
	k.value = (int64_t)get_u64(r);
	if (r->bad || !k.count || k.count > SEQUENCE_MANY) {
		r->bad = true;
		return;
	}
	ask_add(t, &k);
}

/* -- sessions -------------------------------------------------------------------------------------------------- */

void sequences_access_free(struct access *a)
{
	if (a->sequence)
		mem_free(a->t->mem, a->sequence,
			 sizeof *a->sequence + a->sequence->count * sizeof a->sequence->values[0]);
	a->sequence = NULL;
}

static void on_values(struct txns *t, engine_id from, struct reader *r)
{
	uint64_t request = get_u64(r);
	enum status st = get_u8(r);
	seq_index applied = get_u64(r);
	int64_t first = (int64_t)get_u64(r), increment = (int64_t)get_u64(r);
	uint32_t count = get_u32(r);

	if (r->bad)
		return;
	LIST_FOREACH(it, &t->accesses) {
		struct access *a = CONTAINER_OF(it, struct access, all);
		struct sequence_call *c = a->sequence;

		if (!c || c->request != request || c->done || c->asked != from)
			continue;
		c->done = true;
		c->st = st == ST_STATE ? ST_AGAIN : st;
		c->again_at = st == ST_STATE ? applied : 0;
		for (uint32_t i = 0; st == ST_OK && i < count && c->got < c->count; i++)
			c->values[c->got++] = (int64_t)((uint64_t)first + (uint64_t)i * (uint64_t)increment);
		txns_wake(t, WAIT_SEQUENCE, request);
		return;
	}
}

/* Asks the originator for what the call still lacks. ST_WAIT, or an error. */
static enum status call_ask(struct access *a, struct sequence_call *c, const struct ask *model, struct error *err)
{
	struct txns *t = a->t;
	struct ask k = *model;
	struct frame *f;
	engine_id originator = 0;
	atom_id need = 0;
	enum status st = sequence_frame(t, c->sequence, &f, &originator, &need);
	struct buf b;

	if (st == ST_WAIT) {
		fetch_start(t, need);
		return access_wait(a, WAIT_ATOM, need);
	}
	if (st)
		return error_set(err, ST_UNDEFINED_TABLE, "sequence does not exist");
	if (!originator)
		return access_wait(a, WAIT_MEMBER, 0);
	c->request = t->next_request++;
	c->asked = originator;
	c->done = false;
	k.from = t->self;
	k.request = c->request;
	k.sequence = c->sequence;
	k.count = c->count - c->got > SEQUENCE_MANY ? SEQUENCE_MANY : c->count - c->got;
	if (originator == t->self) {
		k.need = 0;
		if (ask_step(t, &k))
			return c->done ? ST_OK : access_wait(a, WAIT_SEQUENCE, c->request);
		ask_add(t, &k);
		return access_wait(a, WAIT_SEQUENCE, c->request);
	}
	buf_init(&b, t->mem);
	put_u8(&b, MSG_SEQUENCE);
	put_u64(&b, k.request);
	put_u64(&b, k.sequence);
	put_u64(&b, txns_applied(t));
	put_u32(&b, k.count);
	put_u8(&b, k.set);
	put_u8(&b, k.is_called);
	put_u64(&b, (uint64_t)k.value);
	peer_send(t, originator, &b);
	buf_fini(&b);
	return access_wait(a, WAIT_SEQUENCE, c->request);
}

enum status sequence_limit(const struct sequence_def *def, struct error *err)
{
	return error_set(err, ST_SEQUENCE_LIMIT, "nextval: reached %s value of sequence \"%s\" (%lld)",
			 def->increment > 0 ? "maximum" : "minimum", def->name,
			 (long long)(def->increment > 0 ? def->max : def->min));
}

/* Drives the session's call until it is whole. ST_OK: c->values are there. */
static enum status call_drive(struct access *a, rel_id seq, uint32_t n, const struct ask *model, struct error *err)
{
	struct sequence_call *c = a->sequence;
	enum status st = access_check_write(a, err);

	if (st)
		return st;
	if (c && (c->sequence != seq || c->count != n))
		sequences_access_free(a);
	c = a->sequence;
	if (!c) {
		c = mem_alloc(a->t->mem, sizeof *c + n * sizeof c->values[0]);
		c->sequence = seq;
		c->count = n;
		c->done = true;
		a->sequence = c;
	}
	while (c->got < c->count) {
		if (!c->done)
			return access_wait(a, WAIT_SEQUENCE, c->request);
		if (c->st == ST_AGAIN && c->again_at > txns_applied(a->t))
			return access_wait(a, WAIT_APPLIED, c->again_at);
		if (c->st && c->st != ST_AGAIN) {
			st = c->st;
			sequences_access_free(a);
			if (st == ST_SEQUENCE_LIMIT) {
				struct sequence_def *def;

				st = ddl_sequence(a->t, seq, &def);
				return st ? error_set(err, ST_SEQUENCE_LIMIT, "nextval: reached the limit of the sequence") :
					    sequence_limit(def, err);
			}
			return error_set(err, st, "sequence: %s", status_text(st));
		}
		c->st = ST_OK;
		st = call_ask(a, c, model, err);
		if (st)
			return st;
	}
	return ST_OK;
}

enum status access_sequence_next(struct access *a, rel_id seq, uint32_t n, int64_t *values_out, struct error *err)
{
	struct ask model = {.set = false};
	enum status st;

	if (!n)
		return ST_OK;
	st = ddl_own_sequence_next(a, seq, n, values_out, err);
	if (st != ST_END)
		return st;
	st = call_drive(a, seq, n, &model, err);
	if (st)
		return st;
	memcpy(values_out, a->sequence->values, n * sizeof *values_out);
	sequences_access_free(a);
	return ST_OK;
}

enum status access_sequence_set(struct access *a, rel_id seq, int64_t value, bool is_called, struct error *err)
{
	struct ask model = {.set = true, .is_called = is_called, .value = value};
	enum status st = ddl_own_sequence_set(a, seq, value, is_called);

	if (st != ST_END)
		return st;
	st = call_drive(a, seq, 1, &model, err);
	if (!st)
		sequences_access_free(a);
	return st;
}
