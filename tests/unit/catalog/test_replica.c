/*
 * test_replica.c - the state machine over random logs: copies of one atom at one index have equal bodies, however they
 * came about (rules 1 and 2), and all that replicas say agrees with a plain model.
 *
 * Per seed: archive A applies each record at once and is compared with the model; archive B applies the same with other
 * pauses; caches join, fetch images from A at random indexes, early and late (S10), replay or wait, create, hold and
 * drop; archives restart from images of different indexes (P21).
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit.h"
#include "base/assert.h"
#include "catalog/replica_int.h"
#include "world.h"

#define CACHES 4
#define FETCHES 6
#define POINTS 3

struct version { seq_index index; uint32_t crc; };
struct history { atom_id atom; VEC(struct version) all; };

struct fetch { atom_id atom; seq_index as_of; uint8_t *image; size_t bytes; struct buf tail; };
struct cache {
	struct replica *rp;
	struct run *run;
	engine_id id;
	bool full;              /* fetches all catalogs first, so it may create */
	struct fetch fetches[FETCHES];
	VEC(uint8_t) verdicts;  /* at[index - 1] */
	seq_index first;
};
struct image { atom_id id; uint8_t *bytes; size_t size; };
struct point { seq_index at; VEC(struct image) images; };
struct run {
	struct mem mem;
	struct world w;
	struct replica *a, *b;
	struct map histories;
	struct map touched;     /* atoms that the record changed, on whichever replica */
	uint64_t pruned, pulled; /* payloads that a cache was not given; of which it needed */
	struct cache caches[CACHES];
	struct point points[POINTS];
	uint32_t point_count;
	uint64_t seed, compared, fetched, replayed, future, restarts, refused, gone, reads;
	bool failed;
	uint64_t joined_events, left_events, audits;
};

static struct rng rnd; /* of the harness; the generator has its own */

static uint64_t below(uint64_t n)
{
	return rng_below(&rnd, n);
}

#define CHECK(run, e)                                                                                         \
	do {                                                                                                  \
		if (!(e) && !(run)->failed) {                                                                 \
			(run)->failed = true;                                                                 \
			fprintf(stderr, "%s:%d: seed %llu index %llu: %s\n", __FILE__, __LINE__,              \
				(unsigned long long)(run)->seed, (unsigned long long)(run)->w.last, #e);      \
		}                                                                                             \
	} while (0)

/* -- events --------------------------------------------------------------------------------------------------- */

static void on_applied(void *ctx, const struct record *r, enum verdict v, enum void_cause cause)
{
	struct run *run = ctx;

	(void)r;
	CHECK(run, (v == VERDICT_VOID) == (cause != VOID_NONE));
}

static void on_joined(void *ctx, const struct member *m)
{
	(void)m;
	((struct run *)ctx)->joined_events++;
}

static void on_left(void *ctx, const struct member *m, uint8_t cause)
{
	(void)m;
	(void)cause;
	((struct run *)ctx)->left_events++;
}

static void on_intent(void *ctx, const struct intent *in)
{
	(void)ctx;
	(void)in;
}

static void on_schema(void *ctx)
{
	(void)ctx;
}

static void on_frame(void *ctx, struct frame *f, bool oversize)
{
	struct run *run = ctx;

	(void)oversize;
	map_put(&run->touched, f->id, run);
}

static void on_frame_new(void *ctx, struct frame *f, atom_id split_from)
{
	(void)split_from;
	on_frame(ctx, f, false);
}

static void on_frame_gone(void *ctx, struct frame *f)
{
	(void)ctx;
	(void)f;
}

static void on_hold(void *ctx, atom_id atom)
{
	(void)ctx;
	(void)atom;
}

static void on_audit(void *ctx, const struct record *r)
{
	(void)r;
	((struct run *)ctx)->audits++;
}

static const struct replica_events events = {on_applied, on_joined, on_left, on_intent, on_intent, on_schema,
					     on_frame, on_frame_new, on_frame_gone, on_hold, on_audit};

static struct replica *replica_make(struct run *run, bool archive)
{
	struct replica_config cfg = {.mem = &run->mem, .events = &events, .ctx = run,
				     .undo_limit_bytes = 64u << 20, .archive = archive};

	return replica_new(&cfg);
}

/* -- applying and comparing ------------------------------------------------------------------------------------ */

#define TOTALS 10 /* of all seeds: what was done; then records by kind and verdict */

static struct record scratch;

static const struct record *entry_get(struct run *run, seq_index index, struct batch *b)
{
	const struct w_entry *e = &run->w.log.at[index - 1];
	struct batch_iter it = {0};

	ASSERT(batch_decode(e->batch, e->bytes, b) == ST_OK);
	ASSERT(batch_next(b, &it, &scratch) == ST_OK);
	ASSERT_OP(scratch.index, ==, index);
	return &scratch;
}

static void give_part(void *ctx, const struct record *part)
{
	replica_add_part(ctx, part);
}

/*
 * As it would come to a cache: what it does not need may have been left out, and what it needs, too, until it says so (P7). To be
 * given back before it is applied or replayed.
 */
static const struct record *pruned(struct run *run, struct replica *rp, const struct record *r, struct frame *only)
{
	const uint8_t *payload = scratch.payload;

	if (rp == run->a || rp == run->b || !record_is_local(r) || !scratch.payload_bytes || below(4) == 0)
		return r;
	scratch.payload = NULL;
	run->pruned++;
	if (!replica_missing_payload(rp, r, only))
		return r;
	scratch.payload = payload;
	run->pulled++;
	return r;
}

static enum verdict apply_next(struct run *run, struct replica *rp, uint64_t budget_max)
{
	struct batch b;
	const struct record *r = entry_get(run, replica_applied(rp) + 1, &b);
	const struct w_entry *e = &run->w.log.at[r->index - 1];
	enum verdict v = VERDICT_OK;
	int64_t budget;

	replica_batch(rp, &b);
	r = pruned(run, rp, r, NULL);
	if (replica_missing_parts(rp, r, NULL)) {
		CHECK(run, rp != run->a && e->verdict == VERDICT_OK);
		replica_each_part(run->a, r->engine, r->txn, r->attempt, rp, give_part);
		CHECK(run, !replica_missing_parts(rp, r, NULL));
	}
	do {
		budget = 1 + (int64_t)below(budget_max);
		CHECK(run, !replica_missing_parts(rp, r, NULL));
	} while (!replica_apply(rp, r, &budget, &v));
	CHECK(run, !replica_paused(rp));
	/* by the header alone every engine comes to the same; by a leaf that is not here it is not judged */
	if (e->by_header || r->kind == REC_COMMIT || record_kind_leaders(r->kind))
		CHECK(run, v == e->verdict);
	else
		CHECK(run, v == e->verdict || (v == VERDICT_OK && rp != run->a && rp != run->b));
	if (run->failed)
		fprintf(stderr, "record %llu %s: verdict %d, not %d\n", (unsigned long long)r->index,
			record_kind_name(r->kind), (int)v, (int)e->verdict);
	return v;
}

static void history_note(struct run *run, atom_id atom)
{
	struct history *h = map_find(&run->histories, atom);
	struct frame *f = atom_find(replica_store(run->a), atom);
	struct version v = {.index = replica_applied(run->a)};

	if (!f)
		return;
	v.crc = frame_body_crc(f);
	if (!h) {
		h = MEM_NEW(&run->mem, struct history);
		h->atom = atom;
		map_put(&run->histories, atom, h);
	}
	if (!h->all.count || h->all.at[h->all.count - 1].crc != v.crc)
		VEC_PUSH(&run->mem, &h->all, v);
}

/* Is this copy's body what A's was at the same index? */
static void history_compare(struct run *run, struct replica *rp, struct frame *f)
{
	const struct history *h = map_find(&run->histories, f->id);
	seq_index at = replica_applied(rp) > frame_as_of(f) ? replica_applied(rp) : frame_as_of(f);
	size_t i;

	CHECK(run, h != NULL);
	if (!h)
		return;
	for (i = h->all.count; i && h->all.at[i - 1].index > at;)
		i--;
	CHECK(run, i && h->all.at[i - 1].crc == frame_body_crc(f));
	run->compared++;
}

static void touched_compare(struct run *run, struct replica *rp)
{
	struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&run->touched, &at))) {
		struct frame *f = atom_find(replica_store(rp), s->k1);

		if (f)
			history_compare(run, rp, f);
	}
}

static void bodies_equal(struct run *run, struct replica *x, struct replica *y, bool all)
{
	uint32_t nx = 0, ny = 0;

	LIST_FOREACH(it, atom_all(replica_store(x))) {
		struct frame *f = CONTAINER_OF(it, struct frame, all);
		struct frame *g = atom_find(replica_store(y), f->id);
		const struct atom_head *p, *q;
		size_t np, nq;

		nx++;
		if (!g) {
			CHECK(run, !all);
			continue;
		}
		p = frame_image_ref(f, &np);
		q = frame_image_ref(g, &nq);
		CHECK(run, np == nq && memcmp(p, q, np) == 0);
		CHECK(run, atom_image_check(p, np) == ST_OK);
		atom_image_unref(replica_store(x), p);
		atom_image_unref(replica_store(y), q);
		run->compared++;
	}
	LIST_FOREACH(it2, atom_all(replica_store(y)))
		ny++;
	CHECK(run, !all || nx == ny);
}

/* -- the model ------------------------------------------------------------------------------------------------- */

static void check_root(struct run *run, struct replica *rp)
{
	const struct world *w = &run->w;
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->engine_count; i++) {
		const struct w_engine *e = &w->engines[i];
		const struct member *m = replica_member(rp, e->id);

		CHECK(run, !m == e->gone);
		if (!m || e->gone)
			continue;
		CHECK(run, m->kind == e->kind && m->joined == e->joined && m->last_seq == e->last_seq &&
				   m->join.nonce == e->nonce && m->join.voter_id == e->voter);
		CHECK(run, replica_member_at(rp, n) == m && replica_member_by_nonce(rp, e->nonce) == m);
		CHECK(run, !e->voter || replica_member_by_voter(rp, e->voter) == m);
		n++;
	}
	CHECK(run, replica_member_count(rp) == n);
	CHECK(run, replica_intent_count(rp) == w->intent_count);
	for (uint32_t i = 0; i < w->intent_count && !run->failed; i++) {
		const struct intent *in = replica_intent_at(rp, i);

		CHECK(run, in->index == w->intents[i].index && in->relation == w->intents[i].relation &&
				   in->mode == w->intents[i].mode && in->engine == w->intents[i].engine &&
				   in->txn == w->intents[i].txn);
	}
	for (uint32_t i = 0; i < w->barrier_count; i++) {
		seq_index d = root_barrier(rp, w->barriers[i].relation);

		/* those at or below the horizon may be forgotten */
		CHECK(run, d == w->barriers[i].index || (!d && w->barriers[i].index <= w->horizon));
	}
}

/* The mirror is what a fresh replica makes of the root's image. */
static void check_mirror(struct run *run, struct replica *rp)
{
	struct replica *x = replica_make(run, false);
	size_t bytes;
	const struct atom_head *image = frame_image_ref(rp->root, &bytes);

	CHECK(run, replica_install_root(x, image, bytes, replica_applied(rp)) == ST_OK);
	atom_image_unref(replica_store(rp), image);
	check_root(run, x);
	CHECK(run, x->barriers.count == rp->barriers.count && x->next_engine == rp->next_engine &&
			   x->log_id == rp->log_id);
	for (size_t i = 0; i < x->barriers.count && !run->failed; i++)
		CHECK(run, memcmp(&x->barriers.at[i], &rp->barriers.at[i], sizeof x->barriers.at[i]) == 0);
	for (int k = 0; k <= ATOM_INDEX_CAT; k++) {
		CHECK(run, x->catalogs[k].count == rp->catalogs[k].count);
		for (size_t i = 0; i < x->catalogs[k].count && !run->failed; i++) {
			const struct catalog_leaf *p = x->catalogs[k].at[i], *q = rp->catalogs[k].at[i];

			CHECK(run, p->atom == q->atom && p->lo.bytes == q->lo.bytes &&
					   (!p->lo.bytes || !memcmp(p->lo.p, q->lo.p, p->lo.bytes)) && p->hold.epoch == q->hold.epoch &&
					   p->hold.originator == q->hold.originator && p->hold.count == q->hold.count);
		}
	}
	replica_free(x);
}

/* One originator for each atom, as the model has it; the list too. */
static void check_holds(struct run *run, struct replica *rp)
{
	struct world *w = &run->w;

	for (uint32_t i = 0; i < w->atom_count; i++) {
		const struct w_atom *a = &w->atoms[i];
		struct hold h;
		atom_id need = 0;
		enum status st = replica_hold(rp, a->id, &h, &need);

		if (st == ST_WAIT) {
			CHECK(run, rp != run->a && need == ATOM_DATA_CAT);
			continue;
		}
		CHECK(run, a->dead ? st == ST_NO_ATOM : st == ST_OK);
		if (st || a->dead)
			continue;
		CHECK(run, h.kind == a->kind && h.owner == a->owner && h.originator == a->field &&
				   h.epoch == a->epoch && h.count == a->count &&
				   !memcmp(h.holders, a->holders, a->count * sizeof a->holders[0]));
		CHECK(run, replica_originator(rp, &h) == world_originator(w, a));
	}
}

static int atom_compare(const struct w_atom *a, const struct w_atom *b)
{
	int c = memcmp(a->lo_key, b->lo_key, a->lo_len < b->lo_len ? a->lo_len : b->lo_len);

	if (a->kind == ATOM_DATA)
		return (a->lo > b->lo) - (a->lo < b->lo);
	return c ? c : (a->lo_len > b->lo_len) - (a->lo_len < b->lo_len);
}

/* The atom that follows in a storage, by row or key; NULL: the last. */
static const struct w_atom *follows(const struct world *w, const struct w_atom *a)
{
	const struct w_atom *next = NULL;

	for (uint32_t i = 0; i < w->atom_count; i++) {
		const struct w_atom *b = &w->atoms[i];

		if (!b->dead && b->owner == a->owner && b->kind == a->kind && atom_compare(b, a) > 0 &&
		    (!next || atom_compare(b, next) < 0))
			next = b;
	}
	return next;
}

static void check_route_data(struct run *run, struct replica *rp, const struct w_atom *a)
{
	const struct w_atom *next = follows(&run->w, a);
	struct route r;
	atom_id need = 0;
	enum status st = replica_route_row(rp, a->owner, a->lo, &r, &need);

	if (st == ST_WAIT) {
		CHECK(run, rp != run->a && need);
		return;
	}
	CHECK(run, st == ST_OK && r.atom == a->id && r.lo == a->lo && r.hi == a->hi && r.epoch == a->epoch &&
			   r.frame == atom_find(replica_store(rp), a->id));
	CHECK(run, replica_route_row(rp, a->owner, a->hi - 1, &r, &need) == ST_OK && r.atom == a->id);
	st = replica_route_row(rp, a->owner, a->hi, &r, &need);
	CHECK(run, next ? st == ST_OK && r.atom == next->id : st == ST_END);
}

static void check_route_index(struct run *run, struct replica *rp, const struct w_atom *a)
{
	const struct w_atom *next = follows(&run->w, a);
	struct route r;
	atom_id need = 0;
	enum status st = replica_route_key(rp, a->owner, a->lo_key, a->lo_len, &r, &need);

	if (st == ST_WAIT) {
		CHECK(run, rp != run->a && need);
		return;
	}
	CHECK(run, st == ST_OK && r.atom == a->id && r.epoch == a->epoch && r.lo_key.bytes == a->lo_len &&
			   !memcmp(r.lo_key.p, a->lo_key, a->lo_len));
	CHECK(run, !next ? !r.hi_key.bytes
			 : r.hi_key.bytes == next->lo_len && !memcmp(r.hi_key.p, next->lo_key, next->lo_len));
	if (next) {
		CHECK(run, replica_route_key_before(rp, a->owner, next->lo_key, next->lo_len, &r, &need) == ST_OK &&
				   r.atom == a->id);
	} else {
		CHECK(run, replica_route_last_key(rp, a->owner, &r, &need) == ST_OK && r.atom == a->id);
	}
	if (!a->lo_len)
		CHECK(run, replica_route_key_before(rp, a->owner, "", 0, &r, &need) == ST_END);
}

static void check_routes(struct run *run, struct replica *rp)
{
	struct world *w = &run->w;
	struct route r;
	atom_id need;

	for (uint32_t i = 0; i < w->atom_count && !run->failed; i++) {
		const struct w_atom *a = &w->atoms[i];

		if (a->dead)
			continue;
		if (a->kind == ATOM_DATA)
			check_route_data(run, rp, a);
		else if (a->kind == ATOM_INDEX)
			check_route_index(run, rp, a);
		else if (a->kind >= ATOM_SCHEMA_CAT && a->kind <= ATOM_INDEX_CAT)
			CHECK(run, replica_route_catalog(rp, a->kind, a->lo_key, a->lo_len, &r) == ST_OK &&
					   r.atom == a->id && r.epoch == a->epoch);
	}
	for (int i = 0; i < W_SEQUENCES; i++)
		if (w->sequences[i].id) {
			enum status st = replica_route_sequence(rp, w->sequences[i].id, &r, &need);
			struct sequence_state now;

			CHECK(run, st == ST_WAIT ? rp != run->a : st == ST_OK && r.atom == w->sequences[i].atom);
			if (st == ST_OK && r.frame && replica_usable(rp, r.frame)) {
				CHECK(run, sequence_state_get(rp, r.frame, &now));
				CHECK(run, !memcmp(&now, &w->sequences[i].state, sizeof now));
			}
		}
}

static const struct col_want want[3] = {{1, PHYS_I32, NULL}, {2, PHYS_VAR, NULL}, {3, PHYS_I64, NULL}};

static void check_row(struct run *run, struct replica *rp, struct frame *f, row_id row, const struct w_row *m)
{
	static uint8_t text[W_TEXT_MAX];
	struct cell got[3], expect[3];
	uint32_t n = world_cells(m, expect, text);
	bool live;

	CHECK(run, columns_get(replica_store(rp), f, replica_applied(rp), row, want, 3, got, &live) == ST_OK);
	CHECK(run, live == (m->state == 1));
	run->reads++;
	if (!live || m->state != 1)
		return;
	for (int i = 0; i < 3; i++) {
		const struct cell *e = NULL;

		for (uint32_t k = 0; k < n; k++)
			if (expect[k].attno == i + 1)
				e = &expect[k];
		CHECK(run, got[i].null == (!e || e->null));
		if (!e || e->null || got[i].null)
			continue;
		CHECK(run, i == 1 ? got[i].bytes == e->bytes && !memcmp(got[i].var, e->var, e->bytes) : got[i].i == e->i);
	}
}

static void check_contents(struct run *run, struct replica *rp)
{
	struct world *w = &run->w;

	for (uint32_t i = 0; i < w->atom_count && !run->failed; i++) {
		const struct w_atom *a = &w->atoms[i];
		struct frame *f = a->dead ? NULL : atom_find(replica_store(rp), a->id);

		if (!f || !replica_usable(rp, f)) {
			CHECK(run, a->dead || rp != run->a);
			continue;
		}
		for (int t = 0; t < W_TABLES && a->kind == ATOM_DATA; t++)
			for (row_id row = a->lo; row < a->hi && w->tables[t].storage == a->owner; row++)
				check_row(run, rp, f, row, &w->tables[t].rows[row]);
		for (int x = 0; x < W_INDEXES && a->kind == ATOM_INDEX; x++) {
			uint32_t mine = 0;

			if (w->indexes[x].storage != a->owner)
				continue;
			for (uint32_t k = 0; k < w->indexes[x].count; k++) {
				const struct w_key *key = &w->indexes[x].keys[k];
				struct slice v;

				if (!leaf_covers(f, key->key, key->len))
					continue;
				mine++;
				CHECK(run, leaf_get(replica_store(rp), f, LEAF_NEWEST, key->key, key->len, &v) == ST_OK &&
						   v.bytes == 8 && !memcmp(v.p, &key->row, 8));
			}
			CHECK(run, leaf_entry_count(f) == mine);
		}
	}
}

/* -- caches ------------------------------------------------------------------------------------------------------ */

static struct cache *cache_of(struct run *run, engine_id id)
{
	for (int i = 0; i < CACHES; i++)
		if (run->caches[i].rp && run->caches[i].id == id)
			return &run->caches[i];
	return NULL;
}

static void fetch_clear(struct run *run, struct fetch *f)
{
	if (!f->atom)
		return;
	mem_free(&run->mem, f->image, f->bytes);
	buf_fini(&f->tail);
	f->atom = 0;
}

static void cache_close(struct cache *c)
{
	for (int i = 0; i < FETCHES; i++)
		fetch_clear(c->run, &c->fetches[i]);
	replica_free(c->rp);
	VEC_FINI(&c->run->mem, &c->verdicts);
	c->rp = NULL;
}

static void cache_open(struct run *run, struct cache *c, const struct w_engine *e)
{
	size_t bytes;
	const struct atom_head *image = frame_image_ref(run->a->root, &bytes);

	memset(c, 0, sizeof *c);
	c->run = run;
	c->rp = replica_make(run, false);
	c->id = e->id;
	c->full = below(3) > 0;
	c->first = replica_applied(run->a) + 1;
	CHECK(run, replica_install_root(c->rp, image, bytes, replica_applied(run->a)) == ST_OK);
	replica_set_self(c->rp, e->id);
	atom_image_unref(replica_store(run->a), image);
}

static bool leaf_usable(struct cache *c, atom_id id)
{
	struct frame *f = atom_find(replica_store(c->rp), id);

	return f && replica_usable(c->rp, f);
}

/* P15: the leaves that lead to an atom come before it. By what this cache knows at its own index. */
static bool may_fetch(struct cache *c, const struct w_atom *a)
{
	uint8_t key[8 + W_FENCE];
	struct route r;
	struct hold h;
	atom_id need;

	if (a->kind >= ATOM_SCHEMA_CAT && a->kind <= ATOM_INDEX_CAT)
		return replica_hold(c->rp, a->id, &h, &need) == ST_OK;
	if (!leaf_usable(c, ATOM_DATA_CAT) || replica_hold(c->rp, a->id, &h, &need) != ST_OK)
		return false;
	be64(key, a->owner);
	if (a->kind == ATOM_DATA) {
		be64(key + 8, a->lo);
		ASSERT(replica_route_catalog(c->rp, ATOM_RECORD_CAT, key, 16, &r) == ST_OK);
	} else if (a->kind == ATOM_INDEX) {
		memcpy(key + 8, a->lo_key, a->lo_len);
		ASSERT(replica_route_catalog(c->rp, ATOM_INDEX_CAT, key, 8 + a->lo_len, &r) == ST_OK);
	} else {
		ASSERT(replica_route_catalog(c->rp, ATOM_SEQUENCE_CAT, key, 8, &r) == ST_OK);
	}
	return leaf_usable(c, r.atom);
}

static void cache_ask(struct run *run, struct cache *c)
{
	struct fetch *f = &c->fetches[below(FETCHES)];
	uint32_t recent = below(2) && run->w.atom_count > 20 ? 20 : run->w.atom_count; /* the new ones are split most */
	const struct w_atom *a = &run->w.atoms[run->w.atom_count - 1 - below(recent)];
	const struct atom_head *image;
	struct frame *from;

	if (c->full && below(2))
		for (uint32_t i = 0; i < run->w.atom_count; i++) /* catalogs first */
			if (run->w.atoms[i].kind <= ATOM_INDEX_CAT && !atom_find(replica_store(c->rp), run->w.atoms[i].id))
				a = &run->w.atoms[i];
	if (f->atom || a->dead || atom_find(replica_store(c->rp), a->id) || !may_fetch(c, a))
		return;
	from = atom_find(replica_store(run->a), a->id);
	CHECK(run, from != NULL);
	if (!from)
		return;
	image = frame_image_ref(from, &f->bytes);
	f->image = mem_alloc(&run->mem, f->bytes);
	memcpy(f->image, image, f->bytes);
	atom_image_unref(replica_store(run->a), image);
	buf_init(&f->tail, &run->mem);
	if (below(4))
		frame_tail_encode(replica_store(run->a), from, replica_horizon(run->a), &f->tail);
	f->atom = a->id;
	f->as_of = replica_applied(run->a);
}

/* All records in (as_of, applied] on one frame; false: not possible, fetch it again. */
static bool cache_replay(struct run *run, struct cache *c, struct frame *f, seq_index as_of)
{
	struct batch b;

	for (seq_index i = as_of + 1; i <= replica_applied(c->rp); i++) { /* before any is replayed */
		const struct record *r = entry_get(run, i, &b);

		if (f->kind == ATOM_DATA_CAT && record_kind_leaders(r->kind))
			return false;
		if (c->verdicts.at[i - c->first] == VERDICT_OK && replica_missing_parts(c->rp, r, f))
			return false; /* not needed when they could be had */
	}
	for (seq_index i = as_of + 1; i <= replica_applied(c->rp); i++) {
		enum verdict v = c->verdicts.at[i - c->first];
		const struct record *r = pruned(run, c->rp, entry_get(run, i, &b), f);

		replica_replay(c->rp, r, v, f);
		run->replayed++;
	}
	return true;
}

static void cache_deliver(struct run *run, struct cache *c, struct fetch *f)
{
	struct frame *frame = NULL;
	struct hold h;
	atom_id need;
	enum status gone = replica_hold(c->rp, f->atom, &h, &need);
	enum status st = replica_install(c->rp, f->image, f->bytes, f->tail.data, f->tail.size, f->as_of, &frame);

	if (st == ST_NO_ATOM) {
		CHECK(run, gone == ST_NO_ATOM);
		run->gone++;
	} else if (st == ST_DUPLICATE) {
		CHECK(run, atom_find(replica_store(c->rp), f->atom) != NULL); /* a split made it */
	} else {
		CHECK(run, st == ST_OK && gone != ST_NO_ATOM && frame->id == f->atom);
	}
	if (st == ST_OK && f->as_of > replica_applied(c->rp)) {
		CHECK(run, !replica_usable(c->rp, frame));
		run->future++;
	}
	map_clear(&run->touched);
	if (st == ST_OK && !cache_replay(run, c, frame, f->as_of)) {
		replica_drop_copy(c->rp, frame);
		run->refused++;
	} else if (st == ST_OK) {
		run->fetched++;
		history_compare(run, c->rp, frame);
		touched_compare(run, c->rp);
	}
	fetch_clear(run, f);
}

static void cache_apply(struct run *run, struct cache *c)
{
	seq_index index = replica_applied(c->rp) + 1;
	struct batch b;
	const struct record *r;

	map_clear(&run->touched);
	VEC_PUSH(&run->mem, &c->verdicts, (uint8_t)apply_next(run, c->rp, 1 + below(6)));
	touched_compare(run, c->rp);
	r = entry_get(run, index, &b);
	if (r->kind == REC_DROP && r->engine == c->id && c->verdicts.at[index - c->first] == VERDICT_OK) {
		struct atoms_payload list;

		ASSERT(atoms_decode(r, &list) == ST_OK);
		for (uint32_t i = 0; i < list.count; i++) {
			struct frame *f = atom_find(replica_store(c->rp), atoms_get(&list, i).atom);
			struct hold h;
			atom_id need;

			if (f && replica_hold(c->rp, f->id, &h, &need) == ST_OK && !hold_has(&h, c->id))
				replica_drop_copy(c->rp, f);
		}
	}
}

static void cache_turn(struct run *run, struct cache *c)
{
	if (!world_engine(&run->w, c->id)) { /* removed: it would join anew */
		cache_close(c);
		return;
	}
	for (uint64_t n = below(6) ? 0 : below(20); n && replica_applied(c->rp) < run->w.last; n--)
		cache_apply(run, c); /* in bursts: it falls behind, then fetches are late */
	for (uint64_t n = below(4); n; n--)
		cache_ask(run, c);
	for (int i = 0; i < FETCHES; i++)
		if (c->fetches[i].atom && !below(12))
			cache_deliver(run, c, &c->fetches[i]);
}

/* Asked by the generator: what this engine could honestly send. */
static bool may_create(void *ctx, engine_id id)
{
	struct cache *c = cache_of(ctx, id);

	for (int k = ATOM_SEQUENCE_CAT; c && k <= ATOM_INDEX_CAT; k++)
		for (size_t i = 0; i < c->rp->catalogs[k].count; i++)
			if (!leaf_usable(c, c->rp->catalogs[k].at[i]->atom))
				return false;
	return true;
}

static uint32_t holds(void *ctx, engine_id id, struct atom_epoch *out, uint32_t max, bool *any_out)
{
	struct run *run = ctx;
	struct cache *c = cache_of(run, id);
	uint32_t n = 0;

	*any_out = c != NULL;
	if (!c)
		return 0;
	LIST_FOREACH(it, atom_all(replica_store(c->rp))) {
		struct frame *f = CONTAINER_OF(it, struct frame, all);
		const struct w_atom *a = world_atom(&run->w, f->id);

		if (a && n < max && below(2) && a->count < 16)
			out[n++] = (struct atom_epoch){f->id, 0};
	}
	return n;
}

/* Catalog leaves stay: atoms hang on them. */
static bool may_drop(void *ctx, engine_id id, const struct w_atom *a)
{
	return !cache_of(ctx, id) || a->kind > ATOM_INDEX_CAT;
}

/* -- restarts ------------------------------------------------------------------------------------------------------ */

static void point_clear(struct run *run, struct point *p)
{
	for (size_t i = 0; i < p->images.count; i++)
		mem_free(&run->mem, p->images.at[i].bytes, p->images.at[i].size);
	VEC_FINI(&run->mem, &p->images);
}

static void point_take(struct run *run)
{
	struct point *p = &run->points[run->point_count];

	p->at = replica_applied(run->a);
	LIST_FOREACH(it, atom_all(replica_store(run->a))) {
		struct frame *f = CONTAINER_OF(it, struct frame, all);
		struct image im = {.id = f->id};
		const struct atom_head *h = frame_image_ref(f, &im.size);

		im.bytes = mem_alloc(&run->mem, im.size);
		memcpy(im.bytes, h, im.size);
		atom_image_unref(replica_store(run->a), h);
		VEC_PUSH(&run->mem, &p->images, im);
	}
	run->point_count++;
}

static const struct image *point_find(const struct point *p, atom_id id)
{
	for (size_t i = 0; i < p->images.count; i++)
		if (p->images.at[i].id == id)
			return &p->images.at[i];
	return NULL;
}

/*
 * A mixture of images that P21 allows: the root as of the first point, every other atom as of any point from which it has
 * one; an atom split off no later than its parent's. chosen[i]: the point of the model's atom i, -1 none.
 */
static void mixture(struct run *run, int *chosen)
{
	struct world *w = &run->w;
	bool again = true;

	for (uint32_t i = 0; i < w->atom_count; i++) {
		chosen[i] = (int)below(POINTS);
		while (chosen[i] >= 0 && !point_find(&run->points[chosen[i]], w->atoms[i].id))
			chosen[i]--;
		if (chosen[i] < 0 && point_find(&run->points[0], w->atoms[i].id))
			chosen[i] = 0;
	}
	while (again) {
		again = false;
		for (uint32_t i = 0; i < w->atom_count; i++) {
			const struct w_atom *child = &w->atoms[i];

			for (uint32_t k = 0; k < w->atom_count && child->parent; k++)
				if (w->atoms[k].id == child->parent && chosen[k] >= 0 && chosen[i] < 0 &&
				    run->points[chosen[k]].at >= child->born) {
					/* the parent's image is without it: the child is durable from then on */
					for (int p = 0; p <= chosen[k] && chosen[i] < 0; p++)
						if (point_find(&run->points[p], child->id))
							chosen[i] = p;
					again = again || chosen[i] >= 0;
				}
		}
	}
}

static void restart(struct run *run)
{
	struct replica *rp = replica_make(run, true);
	struct world *w = &run->w;
	int *chosen = mem_alloc(&run->mem, W_ATOMS * sizeof *chosen);
	const struct image *root = point_find(&run->points[0], ATOM_ID_ROOT);
	struct frame *f;

	mixture(run, chosen);
	for (uint32_t i = 0; i < w->atom_count; i++) {
		const struct point *p = chosen[i] < 0 ? NULL : &run->points[chosen[i]];
		const struct image *im = p ? point_find(p, w->atoms[i].id) : NULL;

		if (im)
			CHECK(run, replica_install(rp, im->bytes, im->size, NULL, 0, p->at, &f) == ST_OK);
	}
	CHECK(run, replica_install(rp, root->bytes, root->size, NULL, 0, run->points[0].at, &f) == ST_OK);
	CHECK(run, replica_restart(rp, run->points[0].at) == ST_OK);
	while (replica_applied(rp) < w->last && !run->failed) {
		struct batch b;
		const struct record *r = entry_get(run, replica_applied(rp) + 1, &b);
		const struct w_entry *e = &w->log.at[r->index - 1];
		int64_t budget = 1000000;
		enum verdict v;

		replica_batch(rp, &b);
		CHECK(run, !replica_missing_parts(rp, r, NULL));
		CHECK(run, replica_apply(rp, r, &budget, &v));
		CHECK(run, !e->by_header || v == e->verdict);
	}
	bodies_equal(run, run->a, rp, true);
	check_root(run, rp);
	check_holds(run, rp);
	check_routes(run, rp);
	check_contents(run, rp);
	run->restarts++;
	mem_free(&run->mem, chosen, W_ATOMS * sizeof *chosen);
	replica_free(rp);
}

static void points_turn(struct run *run)
{
	uint32_t n = run->point_count;

	if (n == 0 ? run->w.last > 5 && !world_parts_open(&run->w) && !below(20) : n < POINTS && !below(30)) {
		point_take(run);
	} else if (n == POINTS && !below(40)) {
		restart(run);
		if (below(2)) {
			for (uint32_t i = 0; i < POINTS; i++)
				point_clear(run, &run->points[i]);
			run->point_count = 0;
		}
	}
}

/* -- a run ------------------------------------------------------------------------------------------------------------ */

static void run_check(struct run *run)
{
	check_root(run, run->a);
	check_mirror(run, run->a);
	check_holds(run, run->a);
	check_routes(run, run->a);
	check_contents(run, run->a);
	bodies_equal(run, run->a, run->b, true);
	for (int i = 0; i < CACHES && !run->failed; i++) {
		struct cache *c = &run->caches[i];

		if (!c->rp || !world_engine(&run->w, c->id))
			continue;
		while (replica_applied(c->rp) < run->w.last && !run->failed)
			cache_apply(run, c);
		for (int k = 0; k < FETCHES; k++)
			if (c->fetches[k].atom)
				cache_deliver(run, c, &c->fetches[k]);
		check_root(run, c->rp);
		bodies_equal(run, c->rp, run->a, false);
		check_holds(run, c->rp);
		check_routes(run, c->rp);
		check_contents(run, c->rp);
	}
}

static void run_step(struct run *run)
{
	seq_index low = run->w.last;
	struct map_slot *s;
	size_t at = 0;

	for (int i = 0; i < CACHES; i++)
		if (run->caches[i].rp && replica_applied(run->caches[i].rp) < low)
			low = replica_applied(run->caches[i].rp);
	run->w.horizon_max = low;
	world_step(&run->w);
	while (replica_applied(run->a) < run->w.last && !run->failed) {
		map_clear(&run->touched);
		(void)apply_next(run, run->a, 1000);
		(void)apply_next(run, run->b, 5);
		for (at = 0; (s = map_next(&run->touched, &at));) {
			struct frame *f = atom_find(replica_store(run->b), s->k1);

			history_note(run, s->k1);
			CHECK(run, !f == !atom_find(replica_store(run->a), s->k1));
			if (f)
				history_compare(run, run->b, f);
		}
	}
	for (uint32_t i = 0; i < run->w.engine_count; i++) {
		const struct w_engine *e = &run->w.engines[i];

		for (int k = 0; k < CACHES; k++)
			if (!e->gone && e->kind == ENGINE_CACHE && e->joined == run->w.last && !run->caches[k].rp &&
			    !cache_of(run, e->id))
				cache_open(run, &run->caches[k], e);
	}
	for (int k = 0; k < CACHES && !run->failed; k++)
		if (run->caches[k].rp)
			cache_turn(run, &run->caches[k]);
	if (!run->failed)
		points_turn(run);
}

static void run_seed(uint64_t seed, uint32_t steps, uint64_t *totals)
{
	struct run *run = calloc(1, sizeof *run);
	struct map_slot *s;
	size_t at = 0;

	ASSERT(run);
	run->seed = seed;
	rng_init(&rnd, seed ^ 0x5eed);
	mem_init(&run->mem, NULL, "test", 0);
	world_init(&run->w, &run->mem, seed);
	run->w.ctx = run;
	run->w.may_create = may_create;
	run->w.holds = holds;
	run->w.may_drop = may_drop;
	map_init(&run->histories, &run->mem);
	map_init(&run->touched, &run->mem);
	run->a = replica_make(run, true);
	run->b = replica_make(run, true);
	replica_genesis(run->a);
	replica_genesis(run->b);
	for (atom_id id = ATOM_ID_ROOT; id <= ATOM_INDEX_CAT; id++)
		history_note(run, id);
	for (uint32_t i = 0; i < steps && !run->failed && !world_full(&run->w); i++) {
		run_step(run);
		if (i % 50 == 49 && !run->failed)
			run_check(run);
	}
	if (!run->failed)
		run_check(run);
	CU_ASSERT_FALSE(run->failed);
	totals[0] += run->w.last;
	totals[1] += run->compared;
	totals[2] += run->fetched;
	totals[3] += run->replayed;
	totals[4] += run->future;
	totals[5] += run->restarts;
	totals[6] += run->gone;
	totals[7] += run->reads;
	totals[8] += run->pruned;
	totals[9] += run->pulled;
	for (int k = 1; k <= REC_KIND_MAX; k++)
		for (int v = 1; v <= 3; v++)
			totals[TOTALS + k * 4 + v] += run->w.kinds[k][v];
	for (int k = 0; k < CACHES; k++)
		if (run->caches[k].rp)
			cache_close(&run->caches[k]);
	for (uint32_t i = 0; i < POINTS; i++)
		point_clear(run, &run->points[i]);
	replica_free(run->a);
	replica_free(run->b);
	while ((s = map_next(&run->histories, &at))) {
		struct history *h = s->value;

		VEC_FINI(&run->mem, &h->all);
		MEM_FREE(&run->mem, h);
	}
	map_fini(&run->histories);
	map_fini(&run->touched);
	world_fini(&run->w);
	CU_ASSERT_EQUAL(run->mem.used_bytes, 0);
	free(run);
}

/* Whatever is in the log, and however a copy came about, bodies are equal, and all answers are the model's. */
static void test_replica_random(void)
{
	static const uint8_t seen[] = {REC_PART, REC_COMMIT, REC_ABORT, REC_CREATE, REC_SPLIT, REC_MOVE, REC_HOLD,
				       REC_DROP, REC_RESERVE, REC_INTENT, REC_FINISH, REC_JOIN, REC_REMOVE, REC_AUDIT};
	uint64_t totals[TOTALS + (REC_KIND_MAX + 1) * 4] = {0};
	const char *only = getenv("REPLICA_SEED"), *more = getenv("REPLICA_SEEDS");
	uint64_t seeds = more ? strtoull(more, NULL, 10) : getenv("VALENCE_LONG") ? 60 : 12;

	if (only) {
		run_seed(strtoull(only, NULL, 10), 1500, totals);
		return;
	}
	for (uint64_t seed = 1; seed <= seeds; seed++)
		run_seed(seed, 700, totals);
	if (more) {
		static const char *const names[TOTALS] = {"records", "compared", "fetched", "replayed", "future", "restarts",
						     "gone", "reads", "pruned", "pulled"};

		for (int i = 0; i < TOTALS; i++)
			fprintf(stderr, "%s %llu ", names[i], (unsigned long long)totals[i]);
		for (size_t i = 0; i < sizeof seen; i++)
			fprintf(stderr, "%s %llu/%llu/%llu ", record_kind_name(seen[i]),
				(unsigned long long)totals[TOTALS + seen[i] * 4 + 1], (unsigned long long)totals[TOTALS + seen[i] * 4 + 2],
				(unsigned long long)totals[TOTALS + seen[i] * 4 + 3]);
		fprintf(stderr, "\n");
	}
	for (int i = 0; i < TOTALS; i++)
		CU_ASSERT(totals[i] > 0); /* a test that compared nothing has failed */
	for (size_t i = 0; i < sizeof seen; i++)
		CU_ASSERT(totals[TOTALS + seen[i] * 4 + VERDICT_OK] > 0);
	CU_ASSERT(totals[TOTALS + REC_SPLIT * 4 + VERDICT_VOID] > 0 && totals[TOTALS + REC_COMMIT * 4 + VERDICT_VOID] > 0 &&
		  totals[TOTALS + REC_COMMIT * 4 + VERDICT_DUP] > 0 && totals[TOTALS + REC_REMOVE * 4 + VERDICT_VOID] > 0);
}

void suite_catalog_replica(void)
{
	CU_pSuite s = CU_add_suite("catalog_replica", NULL, NULL);

	CU_add_test(s, "random logs", test_replica_random);
}
