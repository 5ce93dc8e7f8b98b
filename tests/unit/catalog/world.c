/*
 * world.c - the model and the generator of records (tests).
 */
#include "world.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

static uint64_t below(struct world *w, uint64_t n)
{
	return rng_below(&w->rng, n);
}

static bool chance(struct world *w, uint32_t percent)
{
	return below(w, 100) < percent;
}

/* -- what there is ---------------------------------------------------------------------------------------- */

static struct w_atom *atom_add(struct world *w, atom_id id, uint8_t kind, uint64_t owner)
{
	struct w_atom *a = &w->atoms[w->atom_count++];

	ASSERT_OP(w->atom_count, <=, W_ATOMS);
	memset(a, 0, sizeof *a);
	a->id = id;
	a->kind = kind;
	a->owner = owner;
	return a;
}

void world_init(struct world *w, struct mem *mem, uint64_t seed)
{
	memset(w, 0, sizeof *w);
	w->mem = mem;
	rng_init(&w->rng, seed);
	w->next_relation = 100;
	w->tables = mem_alloc(mem, W_TABLES * sizeof *w->tables);
	w->indexes = mem_alloc(mem, W_INDEXES * sizeof *w->indexes);
	w->atoms = mem_alloc(mem, W_ATOMS * sizeof *w->atoms);
	for (uint8_t kind = ATOM_SCHEMA_CAT; kind <= ATOM_INDEX_CAT; kind++)
		atom_add(w, kind, kind, kind);
}

void world_fini(struct world *w)
{
	for (size_t i = 0; i < w->log.count; i++)
		mem_free(w->mem, w->log.at[i].batch, w->log.at[i].bytes);
	VEC_FINI(w->mem, &w->log);
	for (int i = 0; i < W_TXNS; i++)
		VEC_FINI(w->mem, &w->txns[i].ops);
	mem_free(w->mem, w->tables, W_TABLES * sizeof *w->tables);
	mem_free(w->mem, w->indexes, W_INDEXES * sizeof *w->indexes);
	mem_free(w->mem, w->atoms, W_ATOMS * sizeof *w->atoms);
}

bool world_full(const struct world *w)
{
	return w->atom_count > W_ATOMS - 64 || w->engine_count > W_ENGINES - 4;
}

struct w_atom *world_atom(struct world *w, atom_id id)
{
	for (uint32_t i = 0; i < w->atom_count; i++)
		if (w->atoms[i].id == id && !w->atoms[i].dead)
			return &w->atoms[i];
	return NULL;
}

const struct w_engine *world_engine(const struct world *w, engine_id id)
{
	for (uint32_t i = 0; i < w->engine_count; i++)
		if (w->engines[i].id == id)
			return w->engines[i].gone ? NULL : &w->engines[i];
	return NULL;
}

static struct w_engine *engine_any(struct world *w, uint8_t kind) /* 0: any kind; NULL: none */
{
	uint32_t start = (uint32_t)below(w, w->engine_count + 1);

	for (uint32_t i = 0; i < w->engine_count; i++) {
		struct w_engine *e = &w->engines[(start + i) % w->engine_count];

		if (!e->gone && (!kind || e->kind == kind))
			return e;
	}
	return NULL;
}

static uint32_t engine_number(const struct world *w, uint8_t kind)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->engine_count; i++)
		n += !w->engines[i].gone && w->engines[i].kind == kind;
	return n;
}

/* P15: the field, else the next live one of the list cyclically, else the lowest live archive. */
engine_id world_originator(const struct world *w, const struct w_atom *a)
{
	const struct w_engine *e = world_engine(w, a->field);
	engine_id after = UINT64_MAX, lowest = UINT64_MAX, archive = UINT64_MAX;

	if (e && e->kind == ENGINE_ARCHIVE)
		return e->id;
	for (uint32_t i = 0; i < a->count; i++) {
		if (!world_engine(w, a->holders[i]))
			continue;
		if (a->holders[i] >= a->field && a->holders[i] < after)
			after = a->holders[i];
		if (a->holders[i] < lowest)
			lowest = a->holders[i];
	}
	if (after != UINT64_MAX)
		return after;
	if (lowest != UINT64_MAX)
		return lowest;
	for (uint32_t i = 0; i < w->engine_count; i++)
		if (!w->engines[i].gone && w->engines[i].kind == ENGINE_ARCHIVE && w->engines[i].id < archive)
			archive = w->engines[i].id;
	return archive == UINT64_MAX ? 0 : archive;
}

static bool listed(const struct w_atom *a, engine_id id)
{
	for (uint32_t i = 0; i < a->count; i++)
		if (a->holders[i] == id)
			return true;
	return false;
}

static struct w_atom *atom_any(struct world *w, uint8_t kind) /* 0: any */
{
	uint32_t start = (uint32_t)below(w, w->atom_count);

	for (uint32_t i = 0; i < w->atom_count; i++) {
		struct w_atom *a = &w->atoms[(start + i) % w->atom_count];

		if (!a->dead && (!kind || a->kind == kind))
			return a;
	}
	return NULL;
}

bool world_parts_open(const struct world *w)
{
	for (int i = 0; i < W_TXNS; i++)
		if (w->txns[i].engine)
			return true;
	return false;
}

/* -- values ---------------------------------------------------------------------------------------------- */

uint32_t world_cells(const struct w_row *r, struct cell out[3], uint8_t *text)
{
	static const uint8_t phys[3] = {PHYS_I32, PHYS_VAR, PHYS_I64};
	uint32_t n = 0;

	for (uint16_t i = 0; i < 3; i++) {
		if (!r->has[i])
			continue;
		memset(&out[n], 0, sizeof out[n]);
		out[n].attno = (uint16_t)(i + 1);
		out[n].phys = phys[i];
		out[n].null = r->null[i];
		if (!r->null[i] && i != 1)
			out[n].i = r->v[i];
		if (!r->null[i] && i == 1) {
			for (uint32_t k = 0; k < r->bytes; k++)
				text[k] = (uint8_t)(r->v[1] + k * 7);
			out[n].var = text;
			out[n].bytes = r->bytes;
		}
		n++;
	}
	return n;
}

static void value_random(struct world *w, struct w_row *r, int column)
{
	r->has[column] = true;
	r->null[column] = chance(w, 15);
	r->v[column] = r->null[column] ? 0 : (int64_t)below(w, 1u << 31);
	if (column == 1)
		r->bytes = r->null[1] ? 0 : (uint32_t)(chance(w, 4) ? below(w, W_TEXT_MAX) : below(w, 60));
}

static void key_random(struct world *w, uint8_t *key, uint32_t *len)
{
	*len = 1 + (uint32_t)below(w, chance(w, 10) ? W_FENCE - 1 : 4);
	for (uint32_t i = 0; i < *len; i++)
		key[i] = (uint8_t)(below(w, 6) * 40);
}

static int key_compare(const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len)
{
	int c = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return c ? c : (a_len > b_len) - (a_len < b_len);
}

/* -- the log ------------------------------------------------------------------------------------------------ */

struct draft { struct record r; struct buf payload; bool header_void; enum verdict v; };

static void draft_open(struct world *w, struct draft *d, enum record_kind kind, engine_id engine)
{
	const struct w_engine *e = world_engine(w, engine);

	memset(&d->r, 0, sizeof d->r);
	buf_init(&d->payload, w->mem);
	d->r.kind = (uint8_t)kind;
	d->r.engine = engine;
	d->r.seq = e ? e->last_seq + 1 : 1 + below(w, 5);
	d->r.plan = w->last - below(w, w->last < 4 ? w->last + 1 : 4);
	if (d->r.plan < w->horizon)
		d->r.plan = w->horizon;
	if (record_kind_leaders((uint8_t)kind)) {
		d->r.engine = d->r.seq = 0;
		return;
	}
	if (chance(w, 2))
		d->r.seq += chance(w, 50) ? 1 : UINT64_MAX;
	if (w->horizon && chance(w, 1))
		d->r.plan = below(w, w->horizon);
	if (kind != REC_COMMIT && kind != REC_CREATE)
		return;
	for (uint64_t n = below(w, 3); n; n--) {
		const struct w_engine *g = engine_any(w, 0);

		d->r.grantors[d->r.grantor_count++] = g->id;
	}
	if (chance(w, 2)) /* perhaps one that is gone, perhaps one that never was */
		d->r.grantors[d->r.grantor_count++] = 1 + below(w, w->engine_count + 1);
}

/* P5, from the header and what the root says. */
static enum verdict header_verdict(struct world *w, const struct record *r)
{
	struct w_engine *e = NULL;

	if (record_kind_leaders(r->kind))
		return VERDICT_OK;
	for (uint32_t i = 0; i < w->engine_count; i++)
		if (w->engines[i].id == r->engine && !w->engines[i].gone)
			e = &w->engines[i];
	if (!e)
		return VERDICT_VOID;
	if (r->seq != e->last_seq + 1)
		return VERDICT_DUP;
	e->last_seq++;
	for (uint32_t i = 0; i < r->grantor_count; i++)
		if (!world_engine(w, r->grantors[i]))
			return VERDICT_VOID;
	for (uint32_t i = 0; r->kind != REC_PART && i < r->touch_count; i++)
		for (uint32_t k = 0; k < w->barrier_count; k++)
			if (w->barriers[k].relation == r->touches[i].relation && r->plan < w->barriers[k].index)
				return VERDICT_VOID;
	return r->plan < w->horizon ? VERDICT_VOID : VERDICT_OK;
}

static void txn_end(struct w_txn *t)
{
	t->engine = 0;
	t->parts = 0;
	t->ops.count = 0;
	if (t->table)
		t->table->locked = 0;
	t->table = NULL;
}

/* The record gets the next index and its verdict by the header; what it does is up to the caller. */
static seq_index draft_judge(struct world *w, struct draft *d)
{
	if (w->horizon_max > w->horizon && chance(w, 20))
		w->horizon += below(w, w->horizon_max - w->horizon + 1);
	d->r.payload = d->payload.data;
	d->r.payload_bytes = (uint32_t)d->payload.size;
	if (d->r.plan < w->horizon && !chance(w, 20))
		d->r.plan = w->horizon;
	d->v = header_verdict(w, &d->r);
	d->header_void = d->v != VERDICT_OK;
	return ++w->last;
}

static void draft_append(struct world *w, struct draft *d)
{
	struct w_entry e = {.verdict = d->v, .by_header = d->header_void, .kind = d->r.kind};
	struct buf record, batch;

	buf_init(&record, w->mem);
	buf_init(&batch, w->mem);
	record_encode(&d->r, &record);
	batch_begin(&batch, w->last, 1000 * w->last, w->horizon, 1);
	batch_add(&batch, record.data, record.size);
	batch_end(&batch, 0);
	e.batch = mem_alloc(w->mem, batch.size);
	e.bytes = batch.size;
	memcpy(e.batch, batch.data, batch.size);
	VEC_PUSH(w->mem, &w->log, e);
	w->kinds[d->r.kind][d->v]++;
	buf_fini(&record);
	buf_fini(&batch);
	buf_fini(&d->payload);
}

/* -- members -------------------------------------------------------------------------------------------------- */

static void intents_close(struct world *w, engine_id engine, bool all, txn_id txn, rel_id relation, bool committed)
{
	for (uint32_t i = 0; i < w->intent_count;) {
		struct w_intent in = w->intents[i];
		uint32_t k = 0;

		if (in.engine != engine || (!all && in.txn != txn) || (relation && in.relation != relation)) {
			i++;
			continue;
		}
		memmove(&w->intents[i], &w->intents[i + 1], (--w->intent_count - i) * sizeof in);
		if (!committed)
			continue;
		while (k < w->barrier_count && w->barriers[k].relation != in.relation)
			k++;
		if (k == w->barrier_count)
			w->barrier_count++;
		ASSERT_OP(w->barrier_count, <=, 64);
		w->barriers[k] = (struct w_barrier){in.relation, in.index};
	}
}

static void engine_end(struct world *w, struct w_engine *e)
{
	e->gone = true;
	intents_close(w, e->id, true, 0, 0, false);
	for (int i = 0; i < W_TXNS; i++)
		if (w->txns[i].engine == e->id)
			txn_end(&w->txns[i]);
}

static void gen_join(struct world *w)
{
	struct draft d;
	struct join_payload j = {.nonce = ++w->nonce, .kind = ENGINE_CACHE, .log_id = 77};
	struct w_engine *old = NULL;
	seq_index at;

	if (engine_number(w, ENGINE_CACHE) + engine_number(w, ENGINE_ARCHIVE) > 8 && !chance(w, 5))
		return;
	if (!engine_number(w, ENGINE_ARCHIVE) || (engine_number(w, ENGINE_ARCHIVE) < 3 && chance(w, 30))) {
		j.kind = ENGINE_ARCHIVE;
		j.voter_id = chance(w, 20) ? 1 + below(w, 4) : 100 + w->nonce;
	}
	snprintf(j.name, sizeof j.name, "engine %llu", (unsigned long long)j.nonce);
	draft_open(w, &d, REC_JOIN, 0);
	if (chance(w, 5) && w->engine_count && (old = engine_any(w, 0)))
		j.nonce = old->nonce;
	join_encode(&d.payload, &j);
	at = draft_judge(w, &d);
	for (uint32_t i = 0; i < w->engine_count; i++)
		if (!w->engines[i].gone && w->engines[i].nonce == j.nonce)
			d.v = VERDICT_VOID;
	for (uint32_t i = 0; i < w->engine_count && d.v == VERDICT_OK; i++)
		if (!w->engines[i].gone && j.voter_id && w->engines[i].voter == j.voter_id)
			engine_end(w, &w->engines[i]);
	if (d.v == VERDICT_OK) {
		w->engines[w->engine_count] = (struct w_engine){.id = w->engine_count + 1, .kind = j.kind,
								.nonce = j.nonce, .voter = j.voter_id, .joined = at};
		w->engine_count++;
	}
	draft_append(w, &d);
}

static void gen_remove(struct world *w)
{
	struct draft d;
	struct remove_payload p = {.cause = REMOVE_LINK};
	struct w_engine *e = engine_any(w, 0);

	if (e->kind == ENGINE_ARCHIVE && engine_number(w, ENGINE_ARCHIVE) == 1)
		return;
	p.engine = chance(w, 10) ? 1 + below(w, w->engine_count + 3) : e->id;
	e = (struct w_engine *)world_engine(w, p.engine);
	if (e && e->kind == ENGINE_ARCHIVE && engine_number(w, ENGINE_ARCHIVE) == 1)
		return;
	draft_open(w, &d, REC_REMOVE, 0);
	remove_encode(&d.payload, &p);
	draft_judge(w, &d);
	if (e)
		engine_end(w, e);
	else
		d.v = VERDICT_VOID;
	draft_append(w, &d);
}

/* -- atoms ------------------------------------------------------------------------------------------------------ */

static struct w_atom *atom_new(struct world *w, atom_id id, uint8_t kind, uint64_t owner, engine_id by, seq_index at)
{
	struct w_atom *a = atom_add(w, id, kind, owner);
	const struct w_engine *e = world_engine(w, by);

	a->field = by;
	a->epoch = a->born = at;
	if (e->kind != ENGINE_ARCHIVE)
		a->holders[a->count++] = by;
	return a;
}

static struct w_engine *creator(struct world *w)
{
	struct w_engine *e = engine_any(w, 0);

	return w->may_create && !w->may_create(w->ctx, e->id) ? NULL : e;
}

static void gen_create_data(struct world *w)
{
	struct w_table *t = &w->tables[below(w, W_TABLES)];
	struct create_payload c = {.kind = ATOM_DATA, .count = 1 + (uint32_t)below(w, 3), .rows = 2 + (uint32_t)below(w, 120)};
	struct w_engine *e = creator(w);
	struct draft d;
	seq_index at;

	if (!e)
		return;
	if (!t->storage) {
		t->relation = w->next_relation++;
		t->storage = w->next_relation++;
		t->end = 1;
		memset(t->rows, 0, sizeof t->rows);
	}
	if (t->end + c.count * c.rows >= W_ROWS || t->locked)
		return;
	c.storage = t->storage;
	draft_open(w, &d, REC_CREATE, e->id);
	create_encode(&d.payload, &c);
	at = draft_judge(w, &d);
	for (uint32_t i = 0; i < c.count && d.v == VERDICT_OK; i++) {
		struct w_atom *a = atom_new(w, atom_id_make(at, i), ATOM_DATA, t->storage, d.r.engine, at);

		a->lo = t->end;
		a->hi = t->end += c.rows;
	}
	draft_append(w, &d);
}

static struct w_index *index_free(struct world *w)
{
	for (int i = 0; i < W_INDEXES; i++)
		if (!w->indexes[i].storage)
			return &w->indexes[i];
	return NULL;
}

static void gen_create_index(struct world *w)
{
	struct w_index *x = index_free(w);
	struct slice fences[5] = {{0}};
	uint8_t keys[5][W_FENCE];
	struct create_payload c = {.kind = ATOM_INDEX, .fences = fences};
	struct w_engine *e = creator(w);
	struct draft d;
	seq_index at;

	if (!e || !x)
		return;
	for (c.count = 1; c.count < 4 && chance(w, 70); c.count++) {
		uint32_t len;

		key_random(w, keys[c.count], &len);
		if (key_compare(keys[c.count], len, fences[c.count - 1].p ? fences[c.count - 1].p : keys[0],
				fences[c.count - 1].bytes) <= 0)
			break;
		fences[c.count] = (struct slice){keys[c.count], len, 0};
	}
	c.storage = w->next_relation++;
	draft_open(w, &d, REC_CREATE, e->id);
	create_encode(&d.payload, &c);
	at = draft_judge(w, &d);
	if (d.v == VERDICT_OK) {
		memset(x, 0, sizeof *x);
		x->storage = c.storage;
		x->relation = w->next_relation++;
	}
	for (uint32_t i = 0; i < c.count && d.v == VERDICT_OK; i++) {
		struct w_atom *a = atom_new(w, atom_id_make(at, i), ATOM_INDEX, c.storage, d.r.engine, at);

		a->lo_len = fences[i].bytes;
		if (a->lo_len)
			memcpy(a->lo_key, fences[i].p, a->lo_len);
	}
	draft_append(w, &d);
}

/* The lower bound of the atom after this one; false: none. Both in one order of bytes. */
static bool atom_next_lo(const struct world *w, const struct w_atom *a, uint8_t *key, uint32_t *len)
{
	bool found = false;

	for (uint32_t i = 0; i < w->atom_count; i++) {
		const struct w_atom *b = &w->atoms[i];

		if (b->dead || b->kind != a->kind || b->owner != a->owner ||
		    key_compare(b->lo_key, b->lo_len, a->lo_key, a->lo_len) <= 0)
			continue;
		if (found && key_compare(b->lo_key, b->lo_len, key, *len) >= 0)
			continue;
		found = true;
		memcpy(key, b->lo_key, b->lo_len);
		*len = b->lo_len;
	}
	return found;
}

static void be64(uint8_t *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, 8);
}

/* A key to split a leaf at: of an entry where the catalog needs one (replica.h). */
static bool split_key(struct world *w, const struct w_atom *a, uint8_t *key, uint32_t *len)
{
	const struct w_atom *b;
	const struct w_sequence *s;

	switch (a->kind) {
	case ATOM_INDEX:
		key_random(w, key, len);
		return true;
	case ATOM_SCHEMA_CAT:
		key[0] = "TNQ"[below(w, 3)];
		be64(key + 1, below(w, 200));
		*len = 9 - (uint32_t)below(w, 5);
		return true;
	case ATOM_SEQUENCE_CAT:
		s = &w->sequences[below(w, W_SEQUENCES)];
		be64(key, s->id);
		*len = 8;
		return s->id != 0;
	case ATOM_RECORD_CAT:
		b = atom_any(w, ATOM_DATA);
		if (!b)
			return false;
		be64(key, b->owner);
		be64(key + 8, b->lo);
		*len = 16;
		return true;
	case ATOM_INDEX_CAT:
		b = atom_any(w, ATOM_INDEX);
		if (!b || b->lo_len > W_FENCE - 8)
			return false;
		be64(key, b->owner);
		memcpy(key + 8, b->lo_key, b->lo_len);
		*len = 8 + b->lo_len;
		return true;
	default:
		return false;
	}
}

static void split_effect(struct world *w, struct w_atom *a, const struct split_payload *p, seq_index at)
{
	struct w_atom *n = atom_add(w, atom_id_make(at, 0), a->kind, a->owner);

	n->parent = a->id;
	n->born = n->epoch = a->epoch = at;
	n->field = a->field;
	n->count = a->count;
	memcpy(n->holders, a->holders, sizeof n->holders);
	if (a->kind == ATOM_DATA) {
		n->lo = p->at_row;
		n->hi = a->hi;
		a->hi = p->at_row;
	} else {
		n->lo_len = p->at_key.bytes;
		memcpy(n->lo_key, p->at_key.p, n->lo_len);
	}
}

static void gen_split(struct world *w, uint8_t kind)
{
	struct w_atom *a = atom_any(w, kind);
	struct split_payload p = {.kind = kind};
	uint8_t key[W_FENCE], next[W_FENCE];
	uint32_t len = 0, next_len = 0;
	struct draft d;
	seq_index at;

	if (!a || a->kind == ATOM_SEQUENCE || a->kind == ATOM_DATA_CAT || !world_originator(w, a))
		return;
	p.atom = a->id;
	p.owner = a->owner;
	p.epoch = a->epoch;
	if (kind == ATOM_DATA) {
		if (a->hi - a->lo < 4)
			return;
		p.at_row = a->lo + 1 + below(w, a->hi - a->lo - 1);
	} else {
		if (!split_key(w, a, key, &len) || key_compare(key, len, a->lo_key, a->lo_len) <= 0 ||
		    (atom_next_lo(w, a, next, &next_len) && key_compare(key, len, next, next_len) >= 0))
			return;
		p.at_key = (struct slice){key, len, 0};
	}
	if (chance(w, 8))
		p.epoch -= 1;
	draft_open(w, &d, REC_SPLIT, world_originator(w, a));
	split_encode(&d.payload, &p);
	at = draft_judge(w, &d);
	if (d.v == VERDICT_OK && p.epoch != a->epoch)
		d.v = VERDICT_VOID;
	if (d.v == VERDICT_OK)
		split_effect(w, a, &p, at);
	draft_append(w, &d);
}

static bool hold_effect(struct world *w, struct w_atom *a, uint8_t kind, engine_id by, engine_id target)
{
	engine_id now = world_originator(w, a);
	const struct w_engine *e = world_engine(w, by), *to = world_engine(w, target);
	uint32_t i = 0, others = 0;

	if (kind == REC_MOVE) {
		if (now != by || !to || (to->kind != ENGINE_ARCHIVE && !listed(a, target)))
			return false;
		a->field = target;
		return true;
	}
	if (kind == REC_HOLD) {
		if (e->kind == ENGINE_ARCHIVE || listed(a, by))
			return false;
		a->field = now;
		for (i = 0; i < a->count; i++) /* an edit leaves out who is gone */
			if (world_engine(w, a->holders[i]))
				a->holders[others++] = a->holders[i];
		a->count = others;
		for (i = 0; i < a->count && a->holders[i] < by;)
			i++;
		memmove(&a->holders[i + 1], &a->holders[i], (a->count++ - i) * sizeof by);
		ASSERT_OP(a->count, <=, W_HOLDERS);
		a->holders[i] = by;
		return true;
	}
	for (i = 0; i < a->count; i++)
		others += world_engine(w, a->holders[i]) && a->holders[i] != by;
	if (!listed(a, by) || now == by || !(others + engine_number(w, ENGINE_ARCHIVE)))
		return false;
	a->field = now;
	for (i = 0; a->holders[i] != by; i++)
		;
	memmove(&a->holders[i], &a->holders[i + 1], (--a->count - i) * sizeof by);
	return true;
}

static void gen_hold(struct world *w, enum record_kind kind)
{
	struct atom_epoch list[8];
	uint32_t n = 1 + (uint32_t)below(w, 5), kept = 0;
	struct w_engine *e = engine_any(w, 0), *to = engine_any(w, 0);
	bool any = false, mine = false;
	struct draft d;

	if (kind == REC_HOLD && w->holds) {
		n = w->holds(w->ctx, e->id, list, 8, &mine);
		if (mine && !n)
			return;
	}
	if (!mine) {
		for (uint32_t i = 0; i < n; i++) {
			struct w_atom *a = atom_any(w, 0);

			if (kind == REC_MOVE && i == 0 && world_originator(w, a)) {
				e = (struct w_engine *)world_engine(w, world_originator(w, a));
				if (a->count && world_engine(w, a->holders[0]))
					to = (struct w_engine *)world_engine(w, a->holders[below(w, a->count)]);
			}
			if (kind == REC_HOLD && a->count >= 16)
				continue;
			if (kind == REC_DROP && w->may_drop && !w->may_drop(w->ctx, e->id, a))
				continue;
			list[kept++] = (struct atom_epoch){chance(w, 3) ? 12345678 : a->id, 0};
		}
		n = kept;
	}
	if (!n || !to)
		return;
	draft_open(w, &d, kind, e->id);
	atoms_encode(&d.payload, list, n, kind == REC_MOVE ? to->id : 0);
	draft_judge(w, &d);
	for (uint32_t i = 0; i < n && d.v == VERDICT_OK; i++) {
		struct w_atom *a = world_atom(w, list[i].atom);

		if (a && hold_effect(w, a, (uint8_t)kind, d.r.engine, to->id))
			any = true;
	}
	if (d.v == VERDICT_OK && !any)
		d.v = VERDICT_VOID;
	draft_append(w, &d);
}

/* -- commits ------------------------------------------------------------------------------------------------------ */

static row_id row_pick(struct world *w, const struct w_table *t, uint8_t state)
{
	for (int i = 0; i < 30; i++) {
		row_id row = 1 + below(w, t->end > 1 ? t->end - 1 : 1);

		if (row < t->end && t->rows[row].state == state && t->rows[row].stamp != w->stamp)
			return row;
	}
	return 0;
}

static void op_row(struct world *w, struct w_txn *x, struct buf *out, struct w_table *t)
{
	static uint8_t text[W_TEXT_MAX];
	uint64_t what = below(w, 10);
	struct w_op op = {.table = t};
	struct w_row cells = {0};
	struct cell c[3];

	if (what < 5) {
		op.row = row_pick(w, t, 0);
		value_random(w, &op.to, 0);
		value_random(w, &op.to, 1);
		if (chance(w, 30))
			value_random(w, &op.to, 2);
		op.to.state = 1;
		cells = op.to;
	} else {
		op.row = row_pick(w, t, 1);
		op.to = t->rows[op.row];
		if (what < 8) {
			value_random(w, &cells, (int)below(w, 3));
			for (int i = 0; i < 3; i++)
				if (cells.has[i]) {
					op.to.has[i] = true;
					op.to.null[i] = cells.null[i];
					op.to.v[i] = cells.v[i];
					if (i == 1)
						op.to.bytes = cells.bytes;
				}
		} else {
			op.to = (struct w_row){.state = 2};
		}
	}
	if (!op.row)
		return;
	t->rows[op.row].stamp = w->stamp; /* once in a transaction */
	op.to.stamp = w->stamp;
	op_encode_row(out, what < 5 ? OP_ROW_INSERT : what < 8 ? OP_ROW_UPDATE : OP_ROW_DELETE, t->storage, op.row, c,
		      world_cells(&cells, c, text));
	VEC_PUSH(w->mem, &x->ops, op);
}

static void op_key(struct world *w, struct w_txn *x, struct buf *out)
{
	struct w_index *ix = &w->indexes[below(w, W_INDEXES)];
	struct w_op op = {.index = ix, .add = chance(w, 60), .row = 1 + below(w, 1000)};

	if (!ix->storage || ix->count > W_KEYS - 64)
		return;
	key_random(w, op.key.key, &op.key.len);
	if (!op.add && ix->count && chance(w, 80))
		op.key = ix->keys[below(w, ix->count)];
	op.key.row = op.row;
	op_encode_key(out, op.add ? OP_KEY_ADD : OP_KEY_REMOVE, ix->storage, op.row, op.key.key, op.key.len);
	VEC_PUSH(w->mem, &x->ops, op);
}

static void op_catalog(struct world *w, struct buf *out)
{
	uint8_t key[W_FENCE], value[1000];
	uint32_t len, bytes = (uint32_t)below(w, chance(w, 10) ? sizeof value : 50);

	key[0] = "TNQ"[below(w, 3)];
	be64(key + 1, below(w, 200));
	len = 9;
	memset(value, (int)below(w, 256), bytes);
	op_encode_catalog(out, chance(w, 70) ? OP_CATALOG_PUT : OP_CATALOG_REMOVE, ATOM_SCHEMA_CAT, key, len, value, bytes);
}

static void ops_apply(struct w_txn *x)
{
	for (size_t i = 0; i < x->ops.count; i++) {
		struct w_op *op = &x->ops.at[i];
		uint32_t k = 0;

		if (op->table) {
			op->table->rows[op->row] = op->to;
			continue;
		}
		while (k < op->index->count && key_compare(op->index->keys[k].key, op->index->keys[k].len, op->key.key,
							   op->key.len))
			k++;
		if (op->add) {
			op->index->count += k == op->index->count;
			op->index->keys[k] = op->key;
		} else if (k < op->index->count) {
			op->index->keys[k] = op->index->keys[--op->index->count];
		}
	}
}

static void touch(struct draft *d, rel_id relation)
{
	d->r.touches[d->r.touch_count++].relation = relation;
}

/* Instead of the table alone, if there is nothing but rows and keys: what is changed (P7). */
static void touch_storages(struct world *w, struct draft *d)
{
	struct touch found[RECORD_TOUCHES_MAX];
	uint32_t count = 0, i;
	struct op_reader ops;
	struct op op;

	op_reader_init(&ops, w->mem);
	op_reader_start(&ops, d->payload.data, d->payload.size);
	while (op_next(&ops, &op) == ST_OK) {
		for (i = 0; i < count && found[i].storage != op.relation; i++)
			;
		if (op.kind > OP_KEY_REMOVE || (i == RECORD_TOUCHES_MAX))
			break;
		if (i == count)
			found[count++] = (struct touch){d->r.touch_count ? d->r.touches[0].relation : 0, op.relation};
	}
	if (!reader_left(&ops.r) && count && op.kind <= OP_KEY_REMOVE) {
		memcpy(d->r.touches, found, sizeof found);
		d->r.touch_count = count;
	}
	op_reader_fini(&ops);
}

static void destroy_effect(struct world *w, uint64_t owner)
{
	for (uint32_t i = 0; i < w->atom_count; i++)
		if (w->atoms[i].owner == owner && w->atoms[i].kind >= ATOM_SEQUENCE)
			w->atoms[i].dead = true;
}

/* What goes into a commit beside rows and keys: new atoms and the end of storages. Applied with ops after a good verdict. */
struct extra { struct w_index *new_index; struct w_sequence *new_sequence; void *destroy; uint64_t destroy_owner; rel_id made[2]; };

static void extra_encode(struct world *w, struct draft *d, struct extra *x)
{
	struct w_table *t = &w->tables[below(w, W_TABLES)];
	struct w_index *ix = &w->indexes[below(w, W_INDEXES)];
	struct w_sequence *s = &w->sequences[below(w, W_SEQUENCES)];
	bool create = w->may_create ? w->may_create(w->ctx, d->r.engine) : true;

	memset(x, 0, sizeof *x);
	if (create && chance(w, 6) && (x->new_index = index_free(w)))
		op_encode_new_atom(&d->payload, x->made[0] = w->next_relation++, ATOM_INDEX, NULL, 0);
	if (create && chance(w, 6) && !s->id) {
		struct sequence_state st = {.next = 1, .version = 1};

		x->new_sequence = s;
		op_encode_new_atom(&d->payload, x->made[1] = w->next_relation++, ATOM_SEQUENCE, &st, sizeof st);
		return;
	}
	if (!chance(w, 2))
		return;
	if (chance(w, 40) && t->storage && !t->locked) {
		x->destroy = &t->storage;
		x->destroy_owner = t->storage;
	} else if (chance(w, 50) && ix->storage) {
		x->destroy = &ix->storage;
		x->destroy_owner = ix->storage;
	} else if (s->id && !x->new_sequence) {
		x->destroy = &s->id;
		x->destroy_owner = s->id;
	}
	if (x->destroy)
		op_encode_destroy(&d->payload, x->destroy_owner);
}

static void extra_apply(struct world *w, const struct draft *d, const struct extra *x, seq_index at)
{
	uint32_t ordinal = 0;

	if (x->new_index) {
		memset(x->new_index, 0, sizeof *x->new_index);
		x->new_index->storage = x->made[0];
		x->new_index->relation = w->next_relation++;
		atom_new(w, atom_id_make(at, ordinal++), ATOM_INDEX, x->made[0], d->r.engine, at);
	}
	if (x->new_sequence) {
		*x->new_sequence = (struct w_sequence){.id = x->made[1], .atom = atom_id_make(at, ordinal++),
						       .state = {.next = 1, .version = 1}};
		atom_new(w, x->new_sequence->atom, ATOM_SEQUENCE, x->made[1], d->r.engine, at);
	}
	if (x->destroy) {
		destroy_effect(w, x->destroy_owner);
		*(uint64_t *)x->destroy = 0;
	}
}

static void txn_start(struct world *w, struct w_txn *x, engine_id engine)
{
	x->engine = engine;
	x->txn = ++w->txn;
	x->parts = 0;
	x->ops.count = 0;
	x->table = NULL;
	w->stamp++;
}

static void gen_commit(struct world *w)
{
	struct w_engine *e = engine_any(w, 0);
	struct w_table *t = &w->tables[below(w, W_TABLES)];
	struct w_txn x = {0};
	struct extra extra;
	struct draft d;
	seq_index at;

	txn_start(w, &x, e->id);
	draft_open(w, &d, REC_COMMIT, e->id);
	d.r.txn = x.txn;
	d.r.attempt = 1;
	for (uint32_t i = 0; i < w->intent_count; i++) /* a definition's change that comes to its end */
		if (w->intents[i].engine == e->id && chance(w, 50))
			d.r.txn = w->intents[i].txn;
	if (t->storage && !t->locked) {
		touch(&d, t->relation);
		for (uint64_t n = below(w, 12); n; n--)
			op_row(w, &x, &d.payload, t);
	}
	for (uint64_t n = below(w, 6); n; n--)
		op_key(w, &x, &d.payload);
	if (chance(w, 20))
		op_catalog(w, &d.payload);
	extra_encode(w, &d, &extra);
	touch_storages(w, &d);
	at = draft_judge(w, &d);
	if (d.v == VERDICT_OK) {
		ops_apply(&x);
		extra_apply(w, &d, &extra, at);
		intents_close(w, d.r.engine, false, d.r.txn, 0, true);
	}
	draft_append(w, &d);
	VEC_FINI(w->mem, &x.ops);
}

/* A transaction that sends parts ahead: begins, goes on, or ends. */
static void gen_parts(struct world *w)
{
	struct w_txn *x = &w->txns[below(w, W_TXNS)];
	struct w_table *t = &w->tables[below(w, W_TABLES)];
	bool end = x->engine && chance(w, 40), abort = end && chance(w, 20);
	struct draft d;

	if (!x->engine) {
		if (!t->storage || t->locked || t->end < 3)
			return;
		txn_start(w, x, engine_any(w, 0)->id);
		x->table = t;
		t->locked = w->stamp;
	}
	t = x->table;
	draft_open(w, &d, abort ? REC_ABORT : end ? REC_COMMIT : REC_PART, x->engine);
	d.r.txn = x->txn;
	d.r.attempt = 1;
	if (!abort) {
		uint32_t stamp = w->stamp;

		w->stamp = t->locked;
		for (uint64_t n = 1 + below(w, 8); n; n--)
			op_row(w, x, &d.payload, t);
		w->stamp = stamp;
	}
	if (end && !abort) {
		d.r.parts = x->parts;
		touch(&d, t->relation);
	}
	if (!abort && t->storage)
		d.r.touches[0] = (struct touch){t->relation, t->storage};
	d.r.touch_count = !abort && t->storage;
	draft_judge(w, &d);
	if (d.v == VERDICT_DUP || (d.v == VERDICT_VOID && !end)) {
		/* the coordinator sees it and rolls back; its parts are open until its abort */
		draft_append(w, &d);
		draft_open(w, &d, REC_ABORT, x->engine);
		d.r.seq = world_engine(w, x->engine)->last_seq + 1;
		d.r.plan = w->last;
		d.r.txn = x->txn;
		d.r.attempt = 1;
		draft_judge(w, &d);
		ASSERT_OP(d.v, ==, VERDICT_OK);
		txn_end(x);
	} else if (d.r.kind == REC_PART) {
		x->parts++;
	} else if (d.r.kind == REC_COMMIT && d.v == VERDICT_OK) {
		ops_apply(x);
		txn_end(x);
	} else if (!(d.r.kind == REC_ABORT && d.v == VERDICT_VOID)) {
		txn_end(x);
	}
	draft_append(w, &d);
}

static void gen_reserve(struct world *w)
{
	struct w_sequence *s = &w->sequences[below(w, W_SEQUENCES)];
	struct reserve_payload p = {0};
	struct draft d;

	if (!s->id)
		return;
	p.sequence = s->id;
	p.atom = s->atom;
	p.from = p.to = s->state;
	p.to.next += 32;
	if (chance(w, 10))
		p.from.next++;
	draft_open(w, &d, REC_RESERVE, world_originator(w, world_atom(w, s->atom)));
	reserve_encode(&d.payload, &p);
	draft_judge(w, &d);
	if (d.v == VERDICT_OK && p.from.next != s->state.next)
		d.v = VERDICT_VOID;
	if (d.v == VERDICT_OK)
		s->state = p.to;
	draft_append(w, &d);
}

static void gen_intent(struct world *w)
{
	const struct w_table *t = &w->tables[below(w, W_TABLES)];
	struct intent_payload p = {.relation = t->relation, .mode = (uint8_t)below(w, 8)};
	struct w_engine *e = engine_any(w, 0);
	bool finish = w->intent_count > 4 || (w->intent_count && chance(w, 30));
	txn_id txn = ++w->txn;
	bool one = false;
	struct draft d;
	seq_index at;

	if (finish) {
		const struct w_intent *in = &w->intents[below(w, w->intent_count)];

		e = (struct w_engine *)world_engine(w, in->engine);
		txn = in->txn;
		if (chance(w, 50)) /* only one of the transaction's */
			p.relation = in->relation;
		one = p.relation == in->relation;
	} else if (w->intent_count && chance(w, 30) && w->intents[0].engine == e->id) {
		txn = w->intents[0].txn; /* of a transaction that has one already */
	}
	draft_open(w, &d, finish ? REC_FINISH : REC_INTENT, e->id);
	d.r.txn = txn;
	if (!finish || one)
		intent_encode(&d.payload, &p);
	at = draft_judge(w, &d);
	if (d.v == VERDICT_OK && finish)
		intents_close(w, d.r.engine, false, txn, d.payload.size ? p.relation : 0, false);
	else if (d.v == VERDICT_OK)
		w->intents[w->intent_count++] = (struct w_intent){at, p.relation, p.mode, d.r.engine, txn};
	draft_append(w, &d);
}

static void gen_audit(struct world *w)
{
	struct atom_epoch e = {atom_any(w, 0)->id, 0};
	struct draft d;

	draft_open(w, &d, REC_AUDIT, engine_any(w, 0)->id);
	atoms_encode(&d.payload, &e, 1, 0);
	draft_judge(w, &d);
	draft_append(w, &d);
}

/* Repeats an old record as it was, as a coordinator does that does not know whether it arrived. */
static void gen_repeat(struct world *w)
{
	const struct w_entry *e = &w->log.at[below(w, w->log.count)];
	static struct record r;
	struct batch_iter it = {0};
	struct batch b;
	struct draft d;

	ASSERT(batch_decode(e->batch, e->bytes, &b) == ST_OK && batch_next(&b, &it, &r) == ST_OK);
	if (record_kind_leaders(r.kind))
		return;
	draft_open(w, &d, r.kind, r.engine);
	d.r = r;
	buf_put(&d.payload, r.payload, r.payload_bytes);
	if (world_engine(w, r.engine) && world_engine(w, r.engine)->last_seq + 1 == r.seq) {
		buf_fini(&d.payload);
		return; /* came after a gap: it would count now, and it is not this function's to say what it does */
	}
	draft_judge(w, &d);
	ASSERT(d.v != VERDICT_OK);
	draft_append(w, &d);
}

void world_step(struct world *w)
{
	size_t before = w->log.count;

	while (w->log.count == before) {
		uint64_t n = below(w, 1000);

		if (!engine_number(w, ENGINE_ARCHIVE) || n < 12)
			gen_join(w);
		else if (n < 18)
			gen_remove(w);
		else if (n < 70)
			gen_create_data(w);
		else if (n < 85)
			gen_create_index(w);
		else if (n < 140)
			gen_split(w, ATOM_DATA);
		else if (n < 180)
			gen_split(w, ATOM_INDEX);
		else if (n < 200)
			gen_split(w, (uint8_t)(ATOM_SCHEMA_CAT + below(w, 5)));
		else if (n < 300)
			gen_hold(w, REC_HOLD);
		else if (n < 350)
			gen_hold(w, REC_DROP);
		else if (n < 400)
			gen_hold(w, REC_MOVE);
		else if (n < 520)
			gen_parts(w);
		else if (n < 560)
			gen_reserve(w);
		else if (n < 600)
			gen_intent(w);
		else if (n < 605)
			gen_audit(w);
		else if (n < 620)
			gen_repeat(w);
		else
			gen_commit(w);
	}
}
