/*
 * slots.c - row ids for inserts (engine/txn; P16).
 *
 * An engine inserts into data atoms that it made itself: nobody else gives out their slots, so no permission is
 * needed but the create record for a new atom, which is asked for ahead. A range here is what is left of such an atom.
 * Ids are never reused: what a void attempt or a lost range leaves stays unused.
 */
#include "engine/txn/txn_int.h"

#define FILL_BYTES (160u << 10)   /* of estimated rows per atom: under ATOM_SPLIT_BYTES with what columns add */
#define CREATE_MAX 64             /* atoms asked for in one record */

struct range { struct list all; row_id next, end; atom_id atom; uint32_t bytes; };
struct storage_slots {
	rel_id storage;
	struct list ranges;
	bool creating;
	row_id made_end, known_end; /* of own atoms; known_end: see serial.c */
};
struct slots { struct map by_storage; };

void slots_init(struct txns *t)
{
	t->slots = MEM_NEW(t->mem, struct slots);
	map_init(&t->slots->by_storage, t->mem);
}

static void storage_free(struct txns *t, struct storage_slots *s)
{
	LIST_FOREACH_SAFE(it, tmp, &s->ranges) {
		struct range *r = CONTAINER_OF(it, struct range, all);

		list_remove(&r->all);
		MEM_FREE(t->mem, r);
	}
	MEM_FREE(t->mem, s);
}

void slots_reset(struct txns *t)
{
	struct map_slot *m;
	size_t at = 0;

	while ((m = map_next(&t->slots->by_storage, &at)))
		storage_free(t, m->value);
	map_clear(&t->slots->by_storage);
}

void slots_fini(struct txns *t)
{
	slots_reset(t);
	map_fini(&t->slots->by_storage);
	MEM_FREE(t->mem, t->slots);
}

static struct storage_slots *storage_get(struct txns *t, rel_id storage)
{
	struct storage_slots *s = map_find(&t->slots->by_storage, storage);

	if (s)
		return s;
	s = MEM_NEW(t->mem, struct storage_slots);
	s->storage = storage;
	list_init(&s->ranges);
	map_put(&t->slots->by_storage, storage, s);
	return s;
}

static uint32_t rows_left(const struct range *r, uint32_t row_bytes)
{
	uint64_t ids = r->end - r->next;
	uint64_t fit = r->bytes < FILL_BYTES ? (FILL_BYTES - r->bytes + row_bytes - 1) / row_bytes : 0;

	return (uint32_t)(ids < fit ? ids : fit);
}

static void created(struct txns *t, struct submission *sub, enum verdict v, enum void_cause cause, seq_index index)
{
	struct storage_slots *s = map_find(&t->slots->by_storage, sub->arg);

	(void)v;
	(void)cause;
	(void)index;
	if (s)
		s->creating = false;
	txns_wake(t, WAIT_SLOTS, sub->arg);
}

static void create(struct txns *t, struct storage_slots *s, uint64_t rows, uint32_t row_bytes)
{
	struct record r = {.kind = REC_CREATE};
	uint64_t fit = FILL_BYTES / row_bytes ? FILL_BYTES / row_bytes : 1;
	uint64_t per_atom = fit < ATOM_ROWS_MAX ? fit : ATOM_ROWS_MAX;
	struct create_payload c = {.storage = s->storage, .kind = ATOM_DATA, .rows = ATOM_ROWS_MAX};
	struct submission *sub;
	struct buf b;
	uint64_t count = (rows + per_atom - 1) / per_atom;

	c.count = (uint32_t)(count < 1 ? 1 : count > CREATE_MAX ? CREATE_MAX : count);
	buf_init(&b, t->mem);
	create_encode(&b, &c);
	s->creating = true;
	sub = txns_submit(t, &r, &b);
	sub->done = created;
	sub->arg = s->storage;
	buf_fini(&b);
}

enum status slots_reserve(struct txns *t, rel_id storage, uint64_t count, uint32_t row_bytes)
{
	struct storage_slots *s = storage_get(t, storage);
	uint64_t have = 0;
	atom_id need = 0;
	uint8_t key[8];
	struct route route;

	row_bytes = row_bytes < 16 ? 16 : row_bytes;
	LIST_FOREACH(it, &s->ranges) {
		have += rows_left(CONTAINER_OF(it, struct range, all), row_bytes);
		if (have >= count)
			return ST_OK;
	}
	if (s->creating)
		return ST_WAIT;
	/* P15: the leaves that will list the new atom are held first */
	if (replica_route_row(t->rp, storage, 0, &route, &need) == ST_WAIT) {
		fetch_start(t, need);
		return ST_WAIT;
	}
	memset(key, 0xff, sizeof key);
	if (replica_route_catalog(t->rp, ATOM_DATA_CAT, key, sizeof key, &route) != ST_OK || !route.frame || !replica_usable(t->rp, route.frame)) {
		fetch_start(t, route.atom);
		return ST_WAIT;
	}
	create(t, s, count - have, row_bytes);
	return ST_WAIT;
}

row_id slots_take(struct txns *t, rel_id storage, uint32_t row_bytes)
{
	struct storage_slots *s = map_find(&t->slots->by_storage, storage);

	row_bytes = row_bytes < 16 ? 16 : row_bytes;
	ASSERT(s);
	for (;;) {
		struct range *r;
		row_id row;

		ASSERT(!list_empty(&s->ranges));
		r = CONTAINER_OF(s->ranges.next, struct range, all);
		if (!rows_left(r, row_bytes)) {
			list_remove(&r->all);
			MEM_FREE(t->mem, r);
			continue;
		}
		row = r->next++;
		r->bytes += row_bytes;
		return row;
	}
}

/* A data atom of our own create is here. */
void slots_created(struct txns *t, struct frame *f)
{
	struct storage_slots *s = map_find(&t->slots->by_storage, frame_owner(f));
	struct hold h;
	atom_id need;
	struct range *r;

	if (!s || !s->creating || replica_hold(t->rp, f->id, &h, &need) != ST_OK || h.originator != t->self)
		return; /* somebody else's: an archive has copies of all */
	r = MEM_NEW(t->mem, struct range);
	r->next = columns_lo(f);
	r->end = columns_hi(f);
	r->atom = f->id;
	s->made_end = r->end > s->made_end ? r->end : s->made_end;
	list_push_back(&s->ranges, &r->all);
}

void slots_drop_rows(struct txns *t, rel_id storage, row_id lo, row_id hi)
{
	struct storage_slots *s = map_find(&t->slots->by_storage, storage);

	if (!s)
		return;
	LIST_FOREACH_SAFE(it, tmp, &s->ranges) {
		struct range *r = CONTAINER_OF(it, struct range, all);

		if (r->next < hi && r->end > lo) {
			list_remove(&r->all);
			MEM_FREE(t->mem, r);
		}
	}
}

bool slots_asked(const struct txns *t, rel_id storage)
{
	return map_find(&t->slots->by_storage, storage) != NULL;
}

row_id slots_made_end(const struct txns *t, rel_id storage)
{
	const struct storage_slots *s = map_find(&t->slots->by_storage, storage);

	return s ? s->made_end : 0;
}

bool slots_known(const struct txns *t, rel_id storage)
{
	const struct storage_slots *s = map_find(&t->slots->by_storage, storage);

	return s && s->made_end <= s->known_end;
}

void slots_set_known(struct txns *t, rel_id storage, row_id end)
{
	struct storage_slots *s = map_find(&t->slots->by_storage, storage);

	if (s && end > s->known_end)
		s->known_end = end;
}

void slots_destroyed(struct txns *t, rel_id storage)
{
	struct storage_slots *s = map_remove(&t->slots->by_storage, storage);

	if (s)
		storage_free(t, s);
}
