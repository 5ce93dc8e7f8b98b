/*
 * structure.c - splitting atoms that grew, and moving originators to who writes (engine/txn; S3, P5, P10).
 *
 * Both are records that the atom's originator sends, one in flight per atom. A split waits for nothing: operations are
 * routed at the index that applies them. A move waits until no grant on the atom is open and none is given; it gives
 * up after a while. Locks live at the originator, so a move while they are open would lose them (P10: 2,786 of
 * 4,000 seeds of a model had a lost update without this rule).
 */
#include "base/cover.h"
#include "engine/txn/txn_int.h"

#define MOVE_AFTER 64          /* grants in a row to one other engine: hysteresis */
#define MOVE_PATIENCE_US 50000
#define SWEEP_US 5000000

struct work {                  /* per atom of interest */
	atom_id atom;
	struct list moves;     /* in structures.moves while moving */
	bool splitting, moving, move_sent, check, used;
	engine_id to;
	uint32_t in_a_row;
	uint64_t since_us;
};
struct structures {
	struct map works;
	struct list moves;
	VEC(atom_id) oversize;
	uint64_t swept_us;
};

void structures_init(struct txns *t)
{
	t->structures = MEM_NEW(t->mem, struct structures);
	map_init(&t->structures->works, t->mem);
	list_init(&t->structures->moves);
}

void structures_reset(struct txns *t)
{
	struct map_slot *m;
	size_t at = 0;

	while ((m = map_next(&t->structures->works, &at)))
		MEM_FREE(t->mem, (struct work *)m->value);
	map_clear(&t->structures->works);
	t->structures->oversize.count = 0;
	list_init(&t->structures->moves);
}

void structures_fini(struct txns *t)
{
	structures_reset(t);
	VEC_FINI(t->mem, &t->structures->oversize);
	map_fini(&t->structures->works);
	MEM_FREE(t->mem, t->structures);
}

static struct work *work_get(struct txns *t, atom_id atom)
{
	struct work *w = map_find(&t->structures->works, atom);

	if (!w) {
		w = MEM_NEW(t->mem, struct work);
		w->atom = atom;
		list_init(&w->moves);
		map_put(&t->structures->works, atom, w);
	}
	return w;
}

void structures_oversize(struct txns *t, struct frame *f)
{
	struct work *w;

	if (f->kind == ATOM_ROOT || f->kind == ATOM_SEQUENCE)
		return;
	w = work_get(t, f->id);
	if (w->splitting || w->check)
		return;
	w->check = true;
	VEC_PUSH(t->mem, &t->structures->oversize, f->id);
	t->host->kick(t->ctx);
}

/* -- splits ------------------------------------------------------------------------------------------------ */

static void split_done(struct txns *t, struct submission *s, enum verdict v, enum void_cause cause, seq_index index)
{
	struct work *w = map_find(&t->structures->works, s->arg);
	atom_id ids[2] = {s->arg, atom_id_make(index, 0)};

	if (w)
		w->splitting = false;
	(void)cause;
	if (v == VERDICT_OK)
		t->stats.splits++;
	for (int i = 0; v == VERDICT_OK && i < 2; i++) { /* a large one is cut again */
		struct frame *f = atom_find(replica_store(t->rp), ids[i]);

		if (f && frame_bytes(f) > ATOM_SPLIT_BYTES)
			structures_oversize(t, f);
	}
	t->host->kick(t->ctx);
}

static void split(struct txns *t, struct frame *f, struct work *w)
{
	uint8_t key[LEAF_KEY_MAX];
	uint32_t key_len = 0;
	struct split_payload p = {.atom = f->id, .kind = f->kind, .owner = frame_owner(f)};
	struct record r = {.kind = REC_SPLIT};
	struct submission *s;
	struct hold h;
	atom_id need;
	struct buf b;

	if (replica_hold(t->rp, f->id, &h, &need) != ST_OK || replica_originator(t->rp, &h) != t->self || w->moving)
		return;
	if (f->kind == ATOM_DATA) {
		if (columns_split_point(f, &p.at_row) != ST_OK)
			return;
	} else {
		if (replica_split_key(t->rp, f, key, &key_len) != ST_OK)
			return; /* it stays as it is: one entry, or the data catalog's only leaf */
		p.at_key = (struct slice){key, key_len, 0};
	}
	p.epoch = h.epoch;
	buf_init(&b, t->mem);
	split_encode(&b, &p);
	w->splitting = true;
	s = txns_submit(t, &r, &b);
	s->done = split_done;
	s->arg = f->id;
	buf_fini(&b);
}

/* -- moves --------------------------------------------------------------------------------------------------- */

void structures_granted(struct txns *t, atom_id atom, engine_id to)
{
	struct work *w = map_find(&t->structures->works, atom);

	if (!w && to == t->self)
		return; /* the usual case: nothing to count */
	if (!w)
		w = work_get(t, atom);
	w->used = true;
	if (w->to != to) {
		w->to = to;
		w->in_a_row = 0;
	}
	if (to != t->self && ++w->in_a_row == MOVE_AFTER && !w->moving) {
		w->moving = true;
		w->move_sent = false;
		w->since_us = txns_now(t);
		list_push_back(&t->structures->moves, &w->moves);
		t->host->kick(t->ctx);
	}
}

bool structures_stopped(struct txns *t, atom_id atom)
{
	struct work *w = map_find(&t->structures->works, atom);
	struct frame *f;

	if (!w)
		return false;
	if (w->moving)
		return true;
	f = w->splitting ? atom_find(replica_store(t->rp), atom) : NULL;
	return f && frame_bytes(f) > ATOM_STOP_BYTES;
}

static void move_end(struct txns *t, struct work *w)
{
	w->moving = w->move_sent = false;
	w->in_a_row = 0;
	list_remove(&w->moves);
	t->host->kick(t->ctx);
}

static void move_done(struct txns *t, struct submission *s, enum verdict v, enum void_cause cause, seq_index index)
{
	struct work *w = map_find(&t->structures->works, s->arg);

	(void)cause;
	(void)index;
	COVER_IF(v == VERDICT_OK, MOVE);
	if (v == VERDICT_OK)
		t->stats.moves++;
	if (w && w->moving)
		move_end(t, w);
}

static bool open_grants(struct txns *t, const struct frame *f)
{
	if (serial_any(t, f))
		return true;
	if (f->kind == ATOM_DATA)
		return lock_any_rows(t->locks, frame_owner(f), columns_lo(f), columns_hi(f));
	return lock_any_keys(t->locks, frame_owner(f));
}

static void move_step(struct txns *t, struct work *w)
{
	struct frame *f = atom_find(replica_store(t->rp), w->atom);
	struct record r = {.kind = REC_MOVE};
	struct atom_epoch e = {.atom = w->atom};
	struct submission *s;
	struct hold h;
	atom_id need;
	struct buf b;

	if (w->move_sent)
		return;
	if (!f || w->splitting || txns_now(t) - w->since_us > MOVE_PATIENCE_US ||
	    (f->kind != ATOM_DATA && f->kind != ATOM_INDEX) || replica_hold(t->rp, w->atom, &h, &need) != ST_OK ||
	    replica_originator(t->rp, &h) != t->self || !hold_has(&h, w->to)) {
		move_end(t, w);
		return;
	}
	if (open_grants(t, f))
		return;
	if (f->kind == ATOM_DATA)
		slots_drop_rows(t, frame_owner(f), columns_lo(f), columns_hi(f));
	buf_init(&b, t->mem);
	atoms_encode(&b, &e, 1, w->to);
	w->move_sent = true;
	s = txns_submit(t, &r, &b);
	s->done = move_done;
	s->arg = w->atom;
	buf_fini(&b);
}

/* What nothing is under way for, and nobody asked for lately, is forgotten: else each atom ever granted on is kept. */
static void sweep(struct txns *t)
{
	struct structures *st = t->structures;
	struct map_slot *m;
	size_t at = 0;

	st->swept_us = txns_now(t);
	while ((m = map_next(&st->works, &at))) {
		struct work *w = m->value;

		if (!w->used && !w->splitting && !w->moving && !w->check) {
			map_remove(&st->works, w->atom);
			MEM_FREE(t->mem, w);
			continue;
		}
		w->used = false;
	}
}

uint64_t structures_count(const struct txns *t)
{
	return t->structures->works.count;
}

void structures_turn(struct txns *t)
{
	struct structures *st = t->structures;

	for (size_t i = 0; i < st->oversize.count; i++) {
		struct frame *f = atom_find(replica_store(t->rp), st->oversize.at[i]);
		struct work *w = map_find(&st->works, st->oversize.at[i]);

		if (w)
			w->check = false;
		if (f && w && !w->splitting && replica_usable(t->rp, f) && frame_bytes(f) > ATOM_SPLIT_BYTES)
			split(t, f, w);
	}
	st->oversize.count = 0;
	LIST_FOREACH_SAFE(it, tmp, &st->moves)
		move_step(t, CONTAINER_OF(it, struct work, moves));
	if (txns_now(t) - st->swept_us >= SWEEP_US)
		sweep(t);
}

/* An atom is gone: so is what was planned for it. */
void structures_gone(struct txns *t, atom_id atom)
{
	struct work *w = map_remove(&t->structures->works, atom);

	if (!w)
		return;
	list_remove(&w->moves);
	MEM_FREE(t->mem, w);
}
