/*
 * interest.c - what this engine wants of the log, and what others are sent of it (engine; P7, ADR 10).
 *
 * An interest is a set of storages in bits: two for each, so that a storage that is not in it is taken for one now and then, which
 * costs bytes, and never the other way round. An archive wants everything, and gets it by consensus.
 */
#include "base/cover.h"
#include "engine/engine_int.h"

#define INTEREST_BITS (RELAY_INTEREST_BYTES * 8)

static void interest_add(struct relay_interest *i, rel_id storage)
{
	uint64_t h = hash_u64(storage);

	i->bits[h % INTEREST_BITS / 8] |= (uint8_t)(1u << h % 8);
	h >>= 32;
	i->bits[h % INTEREST_BITS / 8] |= (uint8_t)(1u << h % 8);
}

static bool interest_has(const struct relay_interest *i, rel_id storage)
{
	uint64_t h = hash_u64(storage), g = h >> 32;

	return (i->bits[h % INTEREST_BITS / 8] >> h % 8 & 1) && (i->bits[g % INTEREST_BITS / 8] >> g % 8 & 1);
}

static void add_fetched(void *ctx, rel_id storage)
{
	interest_add(ctx, storage);
}

/* What is here, and what will be soon. */
void interest_turn(struct engine *e)
{
	struct relay_interest own = {{0}};
	uint64_t version = replica_copies_version(e->rp) + txns_fetches_version(e->txns);
	rel_id storage;
	size_t at = 0;

	if (e->archive || version == e->interest_version)
		return;
	e->interest_version = version;
	while ((storage = replica_held_next(e->rp, &at)))
		interest_add(&own, storage);
	txns_each_fetched(e->txns, &own, add_fetched);
	relay_set_interest(e->relay, &own);
}

/* -- for the children ------------------------------------------------------------------------------------------- */

static bool wanted(const struct record *r, const struct relay_interest *interest)
{
	if (!record_prunable(r))
		return true;
	for (uint32_t i = 0; i < r->touch_count; i++)
		if (interest_has(interest, r->touches[i].storage))
			return true;
	return false;
}

/* What is sent of a record's payload: all that is here, if it is wanted. */
static const uint8_t *payload_for(const struct engine *e, const struct logged *l, const struct record *r,
				  const struct relay_interest *interest)
{
	const uint8_t *p = r->payload ? r->payload : window_payload(&e->window, l, r->index);

	return p && wanted(r, interest) ? p : NULL;
}

uint64_t interest_variant(struct engine *e, seq_index from, const struct relay_interest *interest)
{
	struct logged *l = window_find(&e->window, from);
	struct record r;
	struct batch_iter it = {0};
	uint64_t name = 0;

	if (!l || (!l->prunable && !l->pulled))
		return 0;
	while (batch_next_header(&l->batch, &it, &r) == ST_OK)
		if (!payload_for(e, l, &r, interest) != !r.payload)
			name = hash_u64(name + r.index) | 1;
	return name;
}

const void *interest_encode(struct engine *e, struct logged *l, const struct relay_interest *interest, size_t *bytes_out)
{
	const struct batch *b = &l->batch;
	struct record r;
	struct batch_iter it = {0}, before = it;

	*bytes_out = l->bytes;
	if (!interest_variant(e, l->first, interest))
		return l->data;
	COVER(PAYLOAD_PRUNED);
	buf_reset(&e->pruned);
	batch_begin(&e->pruned, b->first, b->wall_us, b->horizon, b->leader);
	for (; batch_next_header(b, &it, &r) == ST_OK; before = it)
		batch_add_as(&e->pruned, b, &before, &r, payload_for(e, l, &r, interest));
	batch_end(&e->pruned, 0);
	*bytes_out = e->pruned.size;
	return e->pruned.data;
}
