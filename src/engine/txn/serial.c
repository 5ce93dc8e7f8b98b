/*
 * serial.c - SERIALIZABLE: what a transaction read is confirmed before its commit (engine/txn; P12, doc/adr/0011).
 *
 * While it runs, reads are noted as ranges (read.c). At COMMIT, when its rows have their ids and nothing of it has been sent,
 * the coordinator asks the originators of all that was read and all that is written to certify it: read and unchanged
 * since the snapshot, with no other that is committing a write in it; written, with no other that is committing a read in it.
 * What was certified is kept until the commit record is applied there, and the record names who did it (rule 4). So at
 * the record's index everything that it read is as it was read, as far as SERIALIZABLE transactions write it: the order of
 * the log is the serial order.
 *
 * All writes are asked for before the first read, or both in one question when there is one originator only: then nobody
 * waits in a circle (certify.h).
 *
 * Rows that are not there: a range of rows without an end is certified up to the last atom by those atoms' originators, and
 * beyond it by that of the record leaf which will list the next one (RANGE_ATOMS). Who inserts into atoms that it made claims
 * that as a write, once for all atoms that it has made so far: from when it is granted, every later reader knows them.
 */
#include "base/cover.h"
#include "engine/txn/certify.h"
#include "engine/txn/txn_int.h"

struct serials {
	struct certify_table *claims;
	struct list served;
	struct map calls;         /* request -> struct validation */
	bool released;            /* something that a question may wait for */
};

/* -- what is read ------------------------------------------------------------------------------------------- */

static struct range_set *noted(struct access *a)
{
	struct txn *x = a->txn;

	if (x->iso != ISOLATION_SERIALIZABLE || x->read_only)
		return NULL;
	if (!x->reads) {
		x->reads = MEM_NEW(a->t->mem, struct range_set);
		ranges_init(x->reads, a->t->mem, RANGES_MAX);
	}
	return x->reads;
}

bool serial_notes(const struct access *a)
{
	return a->txn->iso == ISOLATION_SERIALIZABLE && !a->txn->read_only;
}

void serial_read_rows(struct access *a, rel_id storage, row_id lo, row_id hi)
{
	struct range_set *s = noted(a);

	if (s)
		ranges_add_rows(s, storage, lo, hi);
}

void serial_read_key(struct access *a, rel_id storage, const void *key, uint32_t key_len)
{
	struct range_set *s = noted(a);

	if (s)
		ranges_add_key(s, storage, key, key_len);
}

void serial_read_keys(struct access *a, rel_id storage, struct slice lo, struct slice hi)
{
	struct range_set *s = noted(a);

	if (s)
		ranges_add(s, RANGE_KEYS, storage, lo.p, lo.bytes, hi.p, hi.bytes);
}

/* -- coordinator's side ---------------------------------------------------------------------------------------- */

enum stage { ASK_WRITES, ASK_READS, ASK_NEW_ATOMS, ASK_NOTHING };
struct part {                     /* what one originator is asked */
	engine_id engine;
	uint64_t request;
	bool answered;
	struct range_set reads, writes;
};
struct made { rel_id storage; row_id end; };
struct validation {
	struct txn *x;
	enum stage stage;
	bool both;                /* reads were asked for with the writes */
	VEC(struct part) parts;
	uint32_t open;
	enum status failed;       /* ST_AGAIN: an originator moved or is gone */
	seq_index again_at, newest; /* newest: applied index of the latest one that answered */
	struct range_set reads, writes;
	struct range_set tails;   /* rows beyond the last atom, as of when they were asked for */
	VEC(struct made) made;    /* atoms up to which this engine may insert, once the writes are granted */
};

static void parts_free(struct txns *t, struct validation *v)
{
	for (size_t i = 0; i < v->parts.count; i++) {
		struct part *p = &v->parts.at[i];

		if (p->request)
			map_remove(&t->serials->calls, p->request);
		ranges_fini(&p->reads);
		ranges_fini(&p->writes);
	}
	v->parts.count = 0;
	v->open = 0;
}

void serial_txn_free(struct txns *t, struct txn *x)
{
	struct validation *v = x->validation;

	if (v) {
		parts_free(t, v);
		VEC_FINI(t->mem, &v->parts);
		VEC_FINI(t->mem, &v->made);
		ranges_fini(&v->reads);
		ranges_fini(&v->writes);
		ranges_fini(&v->tails);
		MEM_FREE(t->mem, v);
		x->validation = NULL;
	}
	if (x->reads) {
		ranges_fini(x->reads);
		MEM_FREE(t->mem, x->reads);
		x->reads = NULL;
	}
}

/* A key of an index where equal ones may be many is claimed for all rows. */
static void write_key(struct validation *v, rel_id storage, const struct overlay_key *k)
{
	uint8_t hi[LEAF_KEY_MAX + 16];
	uint32_t n = k->key_len - 8;

	if (!k->suffixed) {
		ranges_add_key(&v->writes, storage, k->key, k->key_len);
		return;
	}
	memcpy(hi, k->key, n);
	memset(hi + n, 0xff, 8);
	hi[n + 8] = 0;
	ranges_add(&v->writes, RANGE_KEYS, storage, k->key, n, hi, n + 9);
}

static void write_table(struct txns *t, struct validation *v, const struct overlay_table *tab)
{
	bool inserts = false;

	for (const struct overlay_row *r = tab->first; r; r = r->next) {
		bool own = r->row & ROW_ID_PROVISIONAL;
		row_id row = own ? r->final : r->row;

		if (!r->newest || !row || (own && r->newest->change != OVERLAY_INSERTED))
			continue;
		ranges_add_rows(&v->writes, tab->storage, row, row + 1);
		inserts = inserts || own;
	}
	if (inserts && !slots_known(t, tab->storage)) {
		struct made m = {tab->storage, slots_made_end(t, tab->storage)};

		ranges_add(&v->writes, RANGE_ATOMS, tab->storage, NULL, 0, NULL, 0);
		VEC_PUSH(t->mem, &v->made, m);
	}
}

static struct validation *validation_new(struct access *a)
{
	struct txns *t = a->t;
	struct txn *x = a->txn;
	struct validation *v = MEM_NEW(t->mem, struct validation);
	struct map_slot *m;
	size_t at = 0;

	v->x = x;
	ranges_init(&v->reads, t->mem, RANGES_MAX);
	ranges_init(&v->writes, t->mem, RANGES_MAX);
	ranges_init(&v->tails, t->mem, RANGES_MAX);
	if (x->reads)
		ranges_add_all(&v->reads, x->reads);
	while ((m = map_next(&x->overlay.tables, &at)))
		write_table(t, v, m->value);
	at = 0;
	while ((m = map_next(&x->overlay.indexes, &at))) {
		const struct overlay_index *ix = m->value;

		for (const struct overlay_key *k = ix->heads[0]; k; k = k->next[0])
			if (k->newest)
				write_key(v, ix->storage, k);
	}
	ranges_settle(&v->reads);
	ranges_settle(&v->writes);
	return v;
}

static struct part *part_for(struct txns *t, struct validation *v, engine_id engine)
{
	struct part p = {.engine = engine};

	for (size_t i = 0; i < v->parts.count; i++)
		if (v->parts.at[i].engine == engine)
			return &v->parts.at[i];
	VEC_PUSH(t->mem, &v->parts, p);
	ranges_init(&v->parts.at[v->parts.count - 1].reads, t->mem, RANGES_MAX);
	ranges_init(&v->parts.at[v->parts.count - 1].writes, t->mem, RANGES_MAX);
	return &v->parts.at[v->parts.count - 1];
}

/* Who is to be asked about an atom. ST_END: nobody, it is gone. ST_WAIT: *need_out, or a member (0). */
static enum status atom_originator(struct txns *t, atom_id atom, engine_id *out, atom_id *need_out)
{
	struct hold h;
	enum status st = replica_hold(t->rp, atom, &h, need_out);

	if (st)
		return st == ST_NO_ATOM ? ST_END : st;
	*out = replica_originator(t->rp, &h);
	*need_out = 0;
	return *out ? ST_OK : ST_WAIT;
}

static enum status record_leaf(struct txns *t, rel_id storage, struct route *out)
{
	uint8_t key[16];
	uint64_t be = __builtin_bswap64(storage);

	memcpy(key, &be, 8);
	memset(key + 8, 0xff, 8);
	return replica_route_catalog(t->rp, ATOM_RECORD_CAT, key, sizeof key, out);
}

/*
 * One piece of a range: the part of it that one atom has. Shared by who asks and who answers. ST_END: no atom has anything
 * of what is left. *frame_out: NULL for RANGE_ATOMS. *rest_out: where the next piece begins; lo_len 0: there is none.
 */
struct piece { struct key_range range; struct key_range rest; bool last; atom_id atom; struct frame *frame; uint8_t bounds[2][8]; };

static enum status piece_rows(struct txns *t, const struct key_range *r, struct piece *out, atom_id *need_out)
{
	row_id lo = range_row_lo(r), hi = range_row_hi(r);
	struct route route;
	uint64_t be;
	enum status st = replica_route_row(t->rp, r->storage, lo, &route, need_out);

	if (st)
		return st;
	if (hi && route.lo >= hi)
		return ST_END;
	out->atom = route.atom;
	out->frame = route.frame;
	if (hi && hi <= route.hi) {
		out->last = true;
		return ST_OK;
	}
	be = __builtin_bswap64(route.hi);
	memcpy(out->bounds[0], &be, 8);
	memcpy(out->bounds[1], &be, 8);
	out->range.hi = out->bounds[0];
	out->rest.lo = out->bounds[1];
	out->range.hi_len = out->rest.lo_len = 8;
	return ST_OK;
}

static int bytes_compare(struct slice a, struct slice b)
{
	uint32_t n = a.bytes < b.bytes ? a.bytes : b.bytes;
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c ? c : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static enum status piece_next(struct txns *t, const struct key_range *r, struct piece *out, atom_id *need_out)
{
	struct slice hi = {r->hi, r->hi_len, 0};
	struct route route;
	enum status st;

	out->range = out->rest = *r;
	out->last = false;
	if (r->space == RANGE_ROWS)
		return piece_rows(t, r, out, need_out);
	if (r->space == RANGE_ATOMS) {
		st = record_leaf(t, r->storage, &route);
		route.hi_key.bytes = 0;
	} else {
		st = replica_route_key(t->rp, r->storage, r->lo, r->lo_len, &route, need_out);
	}
	if (st)
		return st;
	out->atom = route.atom;
	out->frame = r->space == RANGE_ATOMS ? NULL : route.frame;
	out->last = !route.hi_key.bytes || (hi.bytes && bytes_compare(hi, route.hi_key) <= 0);
	if (!out->last) { /* lent until the turn's end */
		out->range.hi = out->rest.lo = (uint8_t *)(uintptr_t)route.hi_key.p;
		out->range.hi_len = out->rest.lo_len = route.hi_key.bytes;
	}
	return ST_OK;
}

static enum status cut_range(struct access *a, struct validation *v, const struct key_range *whole, bool write)
{
	struct txns *t = a->t;
	struct key_range left = *whole;
	struct piece piece;
	uint8_t lo[8];

	for (;;) {
		atom_id need = 0;
		engine_id who = 0;
		struct part *p;
		enum status st = piece_next(t, &left, &piece, &need);

		if (!st)
			st = atom_originator(t, piece.atom, &who, &need);
		if (st == ST_WAIT && need) {
			fetch_start(t, need);
			return access_wait(a, WAIT_ATOM, need);
		}
		if (st && st != ST_END)
			return access_wait(a, WAIT_MEMBER, 0);
		if (st == ST_END) {
			/* an index that this transaction makes; or behind the last atom of a table */
			if (write || left.space != RANGE_ROWS || left.hi_len || v->stage == ASK_NEW_ATOMS)
				return ST_OK;
			ranges_add(&v->tails, RANGE_ROWS, left.storage, left.lo, left.lo_len, NULL, 0);
			left = (struct key_range){.space = RANGE_ATOMS, .storage = left.storage};
			continue;
		}
		p = part_for(t, v, who);
		ranges_add(write ? &p->writes : &p->reads, (enum range_space)left.space, left.storage, piece.range.lo,
			   piece.range.lo_len, piece.range.hi, piece.range.hi_len);
		if (piece.last)
			return ST_OK;
		left = piece.rest;
		if (left.space == RANGE_ROWS) { /* the next piece's bounds take the place of these */
			memcpy(lo, left.lo, 8);
			left.lo = lo;
		}
	}
}

static enum status cut(struct access *a, struct validation *v, const struct range_set *set, bool write)
{
	for (size_t i = 0; i < set->all.count; i++) {
		enum status st = cut_range(a, v, &set->all.at[i], write);

		if (st) {
			parts_free(a->t, v);
			return st;
		}
	}
	return ST_OK;
}

static void serve(struct txns *t, engine_id from, struct reader *r);

static void part_send(struct txns *t, struct validation *v, size_t at)
{
	struct part *p = &v->parts.at[at];
	struct buf b;

	buf_init(&b, t->mem);
	put_u8(&b, MSG_CERTIFY);
	put_u64(&b, v->x->id);
	put_u64(&b, p->request);
	put_u64(&b, txns_applied(t));
	put_u64(&b, v->x->snapshot);
	ranges_encode(&p->reads, &b);
	ranges_encode(&p->writes, &b);
	if (p->engine == t->self) {
		struct reader r = reader_init(b.data + 1, b.size - 1);

		serve(t, t->self, &r);
	} else {
		grants_asked(t, v->x, p->engine);
		peer_send(t, p->engine, &b);
	}
	buf_fini(&b);
}

/* One originator for all is asked for both at once; else for the writes first. */
static void keep_writes(struct txns *t, struct validation *v)
{
	size_t kept = 0;

	v->both = v->parts.count <= 1;
	if (v->both)
		return;
	for (size_t i = 0; i < v->parts.count; i++) {
		struct part p = v->parts.at[i];

		ranges_fini(&p.reads);
		if (ranges_empty(&p.writes)) {
			ranges_fini(&p.writes);
			continue;
		}
		ranges_init(&p.reads, t->mem, RANGES_MAX);
		v->parts.at[kept++] = p;
	}
	v->parts.count = kept;
}

static enum status ask(struct access *a, struct validation *v)
{
	struct txns *t = a->t;
	enum status st = ST_OK;

	if (v->stage == ASK_NEW_ATOMS) {
		/* whoever made atoms before the record leaf's originator answered is known from then on */
		if (!ranges_empty(&v->tails) && v->newest > txns_applied(t))
			return access_wait(a, WAIT_APPLIED, v->newest);
		st = cut(a, v, &v->tails, false);
	} else {
		ranges_fini(&v->tails);
		ranges_init(&v->tails, t->mem, RANGES_MAX);
		if (v->stage == ASK_WRITES)
			st = cut(a, v, &v->writes, true);
		if (!st)
			st = cut(a, v, &v->reads, false);
		if (!st && v->stage == ASK_WRITES)
			keep_writes(t, v);
	}
	if (st)
		return st;
	v->open = (uint32_t)v->parts.count;
	COVER_IF(v->stage == ASK_NEW_ATOMS && v->open, SERIAL_NEW_ATOMS);
	for (size_t i = 0; i < v->parts.count; i++) {
		struct part *p = &v->parts.at[i];

		ranges_settle(&p->reads);
		ranges_settle(&p->writes);
		p->request = t->next_request++;
		map_put(&t->serials->calls, p->request, v);
	}
	for (size_t i = 0; i < v->parts.count; i++)
		part_send(t, v, i);
	return ST_OK;
}

static void stage_next(struct txns *t, struct validation *v)
{
	if (v->stage == ASK_WRITES)
		for (size_t i = 0; i < v->made.count; i++)
			slots_set_known(t, v->made.at[i].storage, v->made.at[i].end);
	v->stage = v->stage == ASK_WRITES && v->both ? ASK_NEW_ATOMS : (enum stage)(v->stage + 1);
}

enum status serial_step(struct access *a, struct error *err)
{
	struct txns *t = a->t;
	struct txn *x = a->txn;
	struct validation *v = x->validation;

	if (x->iso != ISOLATION_SERIALIZABLE)
		return ST_OK;
	if (!v)
		v = x->validation = validation_new(a);
	while (v->stage != ASK_NOTHING) {
		enum status st;

		if (v->open)
			return access_wait(a, WAIT_SUBMISSION, x->id);
		if (v->again_at > txns_applied(t))
			return access_wait(a, WAIT_APPLIED, v->again_at);
		if (!v->parts.count) {
			st = ask(a, v);
			if (st)
				return st;
			if (!v->parts.count)
				stage_next(t, v);
			continue;
		}
		st = v->failed;
		v->failed = ST_OK;
		parts_free(t, v);
		if (!st) {
			stage_next(t, v);
		} else if (st != ST_AGAIN) {
			t->stats.serial_conflicts++;
			error_set(err, ST_SERIALIZATION, "could not serialize access due to read/write dependencies "
							 "among transactions");
			error_hint(err, "The transaction might succeed if retried.");
			return ST_SERIALIZATION;
		}
	}
	return ST_OK;
}

static void on_certified(struct txns *t, engine_id from, struct reader *r)
{
	uint64_t request = get_u64(r);
	enum status st = get_u8(r);
	seq_index applied = get_u64(r);
	struct validation *v = map_find(&t->serials->calls, request);
	struct part *p = NULL;

	if (r->bad || !v)
		return;
	for (size_t i = 0; i < v->parts.count; i++)
		if (v->parts.at[i].request == request)
			p = &v->parts.at[i];
	ASSERT(p);
	if (p->answered || p->engine != from) {
		r->bad = true;
		return;
	}
	p->answered = true;
	v->open--;
	map_remove(&t->serials->calls, request);
	if (st == ST_OK) {
		grants_grantor(t, v->x, from);
		v->newest = applied > v->newest ? applied : v->newest;
	} else if (!v->failed || v->failed == ST_AGAIN) {
		v->failed = st == ST_STATE ? ST_AGAIN : ST_SERIALIZATION;
		if (st == ST_STATE && applied > v->again_at)
			v->again_at = applied; /* not the originator as of that index */
	}
	if (!v->open)
		txns_wake(t, WAIT_SUBMISSION, v->x->id);
}

/* -- originator's side ----------------------------------------------------------------------------------------- */

struct certifying {
	struct list all;
	engine_id from;
	txn_id txn;
	uint64_t request;
	seq_index need, snapshot;
	bool waits;               /* for readers to end */
	struct range_set reads, writes;
};

static void certifying_free(struct txns *t, struct certifying *c)
{
	ranges_fini(&c->reads);
	ranges_fini(&c->writes);
	list_remove(&c->all);
	MEM_FREE(t->mem, c);
}

static void answer(struct txns *t, const struct certifying *c, enum status st)
{
	struct buf b;

	buf_init(&b, t->mem);
	put_u8(&b, MSG_CERTIFIED);
	put_u64(&b, c->request);
	put_u8(&b, (uint8_t)st);
	put_u64(&b, txns_applied(t));
	if (c->from == t->self) {
		struct reader r = reader_init(b.data + 1, b.size - 1);

		on_certified(t, t->self, &r);
	} else {
		peer_send(t, c->from, &b);
	}
	buf_fini(&b);
}

/*
 * This engine is the originator of all atoms that have a part of the range, and what it reads is unchanged? ST_OK; ST_STATE:
 * not the originator; ST_WAIT; ST_SERIALIZATION: changed since the snapshot.
 */
static enum status range_ready(struct txns *t, const struct key_range *whole, seq_index snapshot, bool read)
{
	struct atom_store *store = replica_store(t->rp);
	struct key_range left = *whole;
	struct piece piece;
	uint8_t lo[8];

	for (;;) {
		atom_id need = 0;
		engine_id who = 0;
		const struct key_range *r = &piece.range;
		enum status st = piece_next(t, &left, &piece, &need);

		if (!st)
			st = atom_originator(t, piece.atom, &who, &need);
		if (st == ST_WAIT && need)
			fetch_start(t, need);
		if (st)
			return st == ST_END ? ST_OK : st == ST_WAIT ? ST_WAIT : ST_STATE;
		if (who != t->self)
			return ST_STATE;
		if (left.space == RANGE_ATOMS)
			return ST_OK;
		if (!piece.frame || !replica_usable(t->rp, piece.frame)) {
			fetch_start(t, piece.atom);
			return ST_WAIT;
		}
		if (structures_stopped(t, piece.atom))
			return ST_WAIT;
		if (read && (left.space == RANGE_ROWS
				     ? columns_changed_since(store, piece.frame, range_row_lo(r), range_row_hi(r), snapshot)
				     : leaf_changed_since(store, piece.frame, r->lo, r->lo_len, r->hi, r->hi_len, snapshot)))
			return ST_SERIALIZATION;
		if (piece.last)
			return ST_OK;
		left = piece.rest;
		if (left.space == RANGE_ROWS) {
			memcpy(lo, left.lo, 8);
			left.lo = lo;
		}
	}
}

static enum status set_ready(struct txns *t, const struct range_set *set, seq_index snapshot, bool read)
{
	enum status out = ST_OK;

	for (size_t i = 0; i < set->all.count; i++) {
		enum status st = range_ready(t, &set->all.at[i], snapshot, read);

		if (st && st != ST_WAIT)
			return st;
		if (st)
			out = st; /* the others are fetched meanwhile */
	}
	return out;
}

/* True: answered. */
static bool certifying_step(struct txns *t, struct certifying *c)
{
	enum status st, other;

	if (c->need > txns_applied(t))
		return false;
	st = set_ready(t, &c->reads, c->snapshot, true);
	if (!st || st == ST_WAIT) {
		other = set_ready(t, &c->writes, c->snapshot, false);
		st = other && other != ST_WAIT ? other : st ? st : other;
	}
	if (st == ST_WAIT)
		return false;
	if (!st) {
		switch (certify_try(t->serials->claims, c->from, c->txn, &c->reads, &c->writes)) {
		case CERTIFY_OK:
			break;
		case CERTIFY_WAIT:
			COVER_IF(!c->waits, SERIAL_WAIT);
			c->waits = true;
			return false;
		case CERTIFY_CONFLICT:
			st = ST_SERIALIZATION;
			break;
		}
	}
	COVER_IF(st == ST_SERIALIZATION, SERIAL_CONFLICT);
	answer(t, c, st);
	return true;
}

static void serve(struct txns *t, engine_id from, struct reader *r)
{
	struct certifying *c = MEM_NEW(t->mem, struct certifying);
	enum status st;

	list_init(&c->all);
	c->from = from;
	c->txn = get_u64(r);
	c->request = get_u64(r);
	c->need = get_u64(r);
	c->snapshot = get_u64(r);
	st = ranges_decode(r, t->mem, &c->reads);
	ranges_init(&c->writes, t->mem, RANGES_MAX);
	if (!st) {
		ranges_fini(&c->writes);
		st = ranges_decode(r, t->mem, &c->writes);
	}
	if (st || r->bad || reader_left(r)) {
		r->bad = true;
		certifying_free(t, c);
		return;
	}
	list_push_back(&t->serials->served, &c->all);
	if (certifying_step(t, c))
		certifying_free(t, c);
}

void serial_turn(struct txns *t)
{
	bool released = t->serials->released;

	t->serials->released = false;
	LIST_FOREACH_SAFE(it, tmp, &t->serials->served) {
		struct certifying *c = CONTAINER_OF(it, struct certifying, all);

		if ((!c->waits || released) && certifying_step(t, c))
			certifying_free(t, c);
	}
}

void serial_message(struct txns *t, engine_id from, uint8_t type, struct reader *r)
{
	if (type == MSG_CERTIFY)
		serve(t, from, r);
	else
		on_certified(t, from, r);
}

/* -- ends ------------------------------------------------------------------------------------------------------ */

static void served_end(struct txns *t, engine_id engine, txn_id txn)
{
	LIST_FOREACH_SAFE(it, tmp, &t->serials->served) {
		struct certifying *c = CONTAINER_OF(it, struct certifying, all);

		if (c->from == engine && (!txn || c->txn == txn))
			certifying_free(t, c);
	}
}

void serial_over(struct txns *t, engine_id engine, txn_id txn)
{
	served_end(t, engine, txn);
	if (!certify_release(t->serials->claims, engine, txn) || list_empty(&t->serials->served))
		return;
	t->serials->released = true;
	t->host->kick(t->ctx);
}

void serial_removed(struct txns *t, engine_id who)
{
	served_end(t, who, 0);
	certify_release_engine(t->serials->claims, who);
	LIST_FOREACH(it, &t->txns) {
		struct txn *x = CONTAINER_OF(it, struct txn, all);
		struct validation *v = x->validation;

		for (size_t i = 0; v && i < v->parts.count; i++) {
			struct part *p = &v->parts.at[i];

			if (p->engine != who || p->answered || !p->request)
				continue;
			p->answered = true;
			v->open--;
			map_remove(&t->serials->calls, p->request);
			if (!v->failed)
				v->failed = ST_AGAIN; /* the successor is asked */
		}
		if (v && !v->open)
			txns_wake(t, WAIT_SUBMISSION, x->id);
	}
	t->serials->released = true;
	t->host->kick(t->ctx);
}

bool serial_any(const struct txns *t, const struct frame *f)
{
	struct slice lo, hi;
	uint8_t rows[2][8];
	uint64_t be;
	struct key_range r = {.storage = frame_owner(f)};

	if (f->kind == ATOM_DATA) {
		r.space = RANGE_ROWS;
		be = __builtin_bswap64(columns_lo(f));
		memcpy(rows[0], &be, 8);
		be = __builtin_bswap64(columns_hi(f));
		memcpy(rows[1], &be, 8);
		r.lo = rows[0];
		r.hi = rows[1];
		r.lo_len = r.hi_len = 8;
	} else {
		r.space = RANGE_KEYS;
		lo = leaf_lo(f);
		hi = leaf_hi(f);
		r.lo = (uint8_t *)(uintptr_t)lo.p;
		r.lo_len = lo.bytes;
		r.hi = (uint8_t *)(uintptr_t)hi.p;
		r.hi_len = hi.bytes;
	}
	return certify_any(t->serials->claims, &r);
}

void serials_init(struct txns *t)
{
	t->serials = MEM_NEW(t->mem, struct serials);
	t->serials->claims = certify_new(t->mem);
	list_init(&t->serials->served);
	map_init(&t->serials->calls, t->mem);
}

/* What was asked, promised and answered under an id is nothing under the next. */
void serials_reset(struct txns *t)
{
	LIST_FOREACH_SAFE(it, tmp, &t->serials->served)
		certifying_free(t, CONTAINER_OF(it, struct certifying, all));
	LIST_FOREACH(it2, &t->txns) {
		struct validation *v = CONTAINER_OF(it2, struct txn, all)->validation;

		if (v)
			parts_free(t, v);
	}
	certify_free(t->serials->claims);
	t->serials->claims = certify_new(t->mem);
}

void serials_fini(struct txns *t)
{
	LIST_FOREACH_SAFE(it, tmp, &t->serials->served)
		certifying_free(t, CONTAINER_OF(it, struct certifying, all));
	certify_free(t->serials->claims);
	map_fini(&t->serials->calls);
	MEM_FREE(t->mem, t->serials);
}
