/*
 * hold.c - who holds an atom, and who originates it (catalog; P15).
 *
 * The originator is a field; the sorted holder list is the succession. A membership record rewrites nothing:
 * the originator is computed from the field, the list and the members as of the applied index.
 */
#include "catalog/replica_int.h"

void hold_encode(const struct hold *h, struct buf *out)
{
	put_u8(out, h->kind);
	put_varint(out, h->owner);
	put_varint(out, h->originator);
	put_varint(out, h->epoch);
	put_varint(out, h->count);
	for (uint32_t i = 0; i < h->count; i++)
		put_varint(out, h->holders[i]);
}

bool hold_decode(const void *p, size_t bytes, struct hold *out)
{
	struct reader r = reader_init(p, bytes);
	uint64_t count;

	out->kind = get_u8(&r);
	out->owner = get_varint(&r);
	out->originator = get_varint(&r);
	out->epoch = get_varint(&r);
	count = get_varint(&r);
	if (r.bad || count > HOLDERS_MAX)
		return false;
	out->count = (uint32_t)count;
	for (uint32_t i = 0; i < count; i++)
		out->holders[i] = get_varint(&r);
	return reader_ok(&r) && reader_left(&r) == 0;
}

bool hold_has(const struct hold *h, engine_id id)
{
	for (uint32_t i = 0; i < h->count; i++)
		if (h->holders[i] == id)
			return true;
	return false;
}

static bool live(const struct replica *rp, engine_id id)
{
	return id && root_member(rp, id);
}

static bool is_archive(const struct replica *rp, engine_id id)
{
	const struct member *m = root_member(rp, id);

	return m && m->kind == ENGINE_ARCHIVE;
}

uint32_t replica_holders(const struct replica *rp, const struct hold *h, engine_id *out, uint32_t max)
{
	uint32_t n = 0, start = 0;

	/* an archive in the field is a holder without being listed */
	if (max && is_archive(rp, h->originator))
		out[n++] = h->originator;
	while (start < h->count && h->holders[start] < h->originator)
		start++;
	for (uint32_t i = 0; i < h->count && n < max; i++) {
		engine_id id = h->holders[(start + i) % h->count];

		if (live(rp, id) && !is_archive(rp, id))
			out[n++] = id;
	}
	for (size_t i = 0; i < rp->members.count && n < max; i++) {
		const struct member *m = rp->members.at[i];

		if (m->kind == ENGINE_ARCHIVE && m->id != h->originator)
			out[n++] = m->id;
	}
	return n;
}

engine_id replica_originator(const struct replica *rp, const struct hold *h)
{
	engine_id first = 0;

	return replica_holders(rp, h, &first, 1) ? first : 0;
}

/* The data catalog leaf that lists @atom, when it is held. */
static struct frame *data_leaf(struct replica *rp, atom_id atom, uint8_t key[8], atom_id *need_out)
{
	struct catalog_leaf *c;
	struct frame *f;

	be64(key, atom);
	c = root_catalog_leaf(rp, ATOM_DATA_CAT, key, 8);
	if (!c) {
		*need_out = ATOM_ID_ROOT;
		return NULL;
	}
	f = atom_find(rp->store, c->atom);
	if (!f)
		*need_out = c->atom;
	return f;
}

enum status hold_read(struct replica *rp, seq_index index, atom_id atom, struct hold *out)
{
	struct catalog_leaf *c = root_catalog_atom(rp, atom);
	uint8_t key[8];
	struct slice v;
	struct frame *f;

	if (c && rp->only)
		return ST_WAIT; /* the root is never replayed by itself */
	if (c) {
		*out = c->hold;
		return ST_OK;
	}
	be64(key, atom);
	f = catalog_frame(rp, ATOM_DATA_CAT, key, 8, index);
	if (!f)
		return ST_WAIT; /* not here, or it contains the record already */
	if (leaf_get(rp->store, f, LEAF_NEWEST, key, 8, &v) != ST_OK)
		return ST_END;
	ASSERT(hold_decode(v.p, v.bytes, out));
	return ST_OK;
}

void hold_put(struct replica *rp, seq_index index, atom_id atom, const struct hold *h)
{
	struct catalog_leaf *c = root_catalog_atom(rp, atom);
	uint8_t key[8];
	struct frame *f;
	struct buf b;

	if (c) {
		if (!rp->only) /* the root is never replayed by itself */
			root_put_catalog(rp, index, h->kind, c->lo, atom, h);
		return;
	}
	be64(key, atom);
	f = catalog_frame(rp, ATOM_DATA_CAT, key, 8, index);
	if (!f)
		return;
	buf_init(&b, rp->mem);
	hold_encode(h, &b);
	leaf_put(rp->store, f, index, key, 8, b.data, (uint32_t)b.size);
	buf_fini(&b);
	replica_changed(rp, f, index);
}

enum status replica_hold(struct replica *rp, atom_id atom, struct hold *out, atom_id *need_out)
{
	struct catalog_leaf *c = atom == ATOM_ID_ROOT ? NULL : root_catalog_atom(rp, atom);
	uint8_t key[8];
	struct slice v;
	struct frame *f;

	if (c) {
		*out = c->hold;
		return ST_OK;
	}
	f = data_leaf(rp, atom, key, need_out);
	if (!f)
		return ST_WAIT;
	if (!replica_usable(rp, f)) {
		*need_out = f->id;
		return ST_WAIT;
	}
	if (leaf_get(rp->store, f, LEAF_NEWEST, key, 8, &v) != ST_OK)
		return ST_NO_ATOM;
	ASSERT(hold_decode(v.p, v.bytes, out));
	return ST_OK;
}
