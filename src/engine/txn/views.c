/*
 * views.c - the atoms and holders as rows of views (engine/txn). The other views are the engine's: txn_host.view_row.
 *
 * valence.atoms: atom_id, kind, catalog_id, relation, originator, holders, bytes, applied_index, resident.
 * valence.holders: atom_id, position, engine_id, is_originator. A list of engines is a VAR of little-endian u64.
 */
#include "engine/txn/txn_int.h"

struct view_rows {
	VEC(atom_id) atoms;
	VEC(uint64_t) first_row; /* holders: number of the atom's first row */
	uint64_t rows;
};

static struct cell number(uint64_t v)
{
	return (struct cell){.phys = PHYS_I64, .i = (int64_t)v};
}

static struct cell null(uint8_t phys)
{
	return (struct cell){.phys = phys, .null = true};
}

static struct cell text(struct arena *arena, const char *s)
{
	return (struct cell){.phys = PHYS_VAR, .bytes = (uint32_t)strlen(s), .var = arena_dup(arena, s, strlen(s) + 1)};
}

static void add_listed(struct txns *t, struct view_rows *v, struct frame *f)
{
	struct arena arena;
	uint8_t from[8] = {0};
	uint32_t count = 64;
	bool exclusive = false;

	arena_init(&arena, t->mem);
	while (count == 64) {
		struct leaf_entry e[64];

		if (leaf_scan(replica_store(t->rp), f, LEAF_NEWEST, from, 8, exclusive, false, 64, &arena, e, &count))
			break;
		for (uint32_t i = 0; i < count; i++) {
			uint64_t be;

			memcpy(&be, e[i].key.p, 8);
			VEC_PUSH(t->mem, &v->atoms, __builtin_bswap64(be));
			memcpy(from, e[i].key.p, 8);
		}
		exclusive = true;
		arena_reset(&arena);
	}
	arena_fini(&arena);
}

/* All atoms that the catalog lists: root, catalog leaves, then the data catalog's. ST_WAIT. */
static enum status list_atoms(struct access *a, struct view_rows *v)
{
	struct txns *t = a->t;
	uint8_t key[8] = {0};
	uint32_t key_len = 8;

	VEC_PUSH(t->mem, &v->atoms, ATOM_ID_ROOT);
	for (atom_id id = 2; id <= ATOM_INDEX_CAT; id++)
		VEC_PUSH(t->mem, &v->atoms, id);
	for (;;) {
		struct route route;
		struct slice hi;
		enum status st = replica_route_catalog(t->rp, ATOM_DATA_CAT, key, key_len, &route);

		if (st) {
			v->atoms.count = 0;
			return st;
		}
		if (!route.frame || !replica_usable(t->rp, route.frame)) {
			v->atoms.count = 0;
			fetch_start(t, route.atom);
			return access_wait(a, WAIT_ATOM, route.atom);
		}
		if (route.atom > ATOM_INDEX_CAT)
			VEC_PUSH(t->mem, &v->atoms, route.atom); /* a leaf that a split made */
		add_listed(t, v, route.frame);
		hi = leaf_hi(route.frame);
		if (!hi.bytes)
			return ST_OK;
		memset(key, 0, sizeof key);
		memcpy(key, hi.p, hi.bytes < 8 ? hi.bytes : 8);
	}
}

void views_free(struct access *a)
{
	if (!a->view)
		return;
	VEC_FINI(a->t->mem, &a->view->atoms);
	VEC_FINI(a->t->mem, &a->view->first_row);
	MEM_FREE(a->t->mem, a->view);
	a->view = NULL;
}

static enum status hold_of(struct access *a, atom_id atom, struct hold *h)
{
	atom_id need = 0;

	if (atom == ATOM_ID_ROOT) { /* every engine has it; nobody is asked about it */
		memset(h, 0, sizeof *h);
		h->kind = ATOM_ROOT;
		for (uint32_t i = 0; i < replica_member_count(a->t->rp) && h->count < HOLDERS_MAX; i++)
			if (replica_member_at(a->t->rp, i)->kind != ENGINE_ARCHIVE)
				h->holders[h->count++] = replica_member_at(a->t->rp, i)->id;
		return ST_OK;
	}
	return replica_hold(a->t->rp, atom, h, &need);
}

static void relation_name(struct access *a, const struct hold *h, struct arena *arena, struct cell *out)
{
	struct schema_cache *c = schema_cache_get(a->t);
	struct relation_def def;
	rel_id after = 0, id;

	*out = null(PHYS_VAR);
	if (h->kind < ATOM_SEQUENCE)
		return;
	while (access_relation_next(a, after, &def, &id) == ST_OK) {
		if (def.kind == REL_SEQUENCE && def.sequence->id == h->owner)
			*out = text(arena, def.sequence->name);
		if (def.kind == REL_TABLE && def.table->storage == h->owner)
			*out = text(arena, def.table->name);
		for (uint16_t i = 0; def.kind == REL_TABLE && i < def.table->index_count; i++)
			if (def.table->indexes[i].storage == h->owner)
				*out = text(arena, def.table->indexes[i].name);
		if (!out->null)
			return;
		after = id;
	}
	(void)c;
}

static atom_id catalog_of(struct access *a, const struct hold *h)
{
	static const uint8_t parent[ATOM_KIND_COUNT] = {
		[ATOM_SEQUENCE] = ATOM_SEQUENCE_CAT, [ATOM_DATA] = ATOM_RECORD_CAT, [ATOM_INDEX] = ATOM_INDEX_CAT};
	struct route route;
	uint64_t be = __builtin_bswap64(h->owner);

	if (h->kind < ATOM_SEQUENCE)
		return h->kind == ATOM_ROOT ? 0 : ATOM_ID_ROOT;
	return replica_route_catalog(a->t->rp, parent[h->kind], &be, 8, &route) == ST_OK ? route.atom : 0;
}

static void atom_row(struct access *a, atom_id atom, const struct hold *h, struct arena *arena, struct cell *c)
{
	struct frame *f = atom_find(replica_store(a->t->rp), atom);
	engine_id *list = arena_alloc(arena, (HOLDERS_MAX + 8) * sizeof *list);
	engine_id originator = h->kind == ATOM_ROOT ? 0 : replica_originator(a->t->rp, h);
	uint32_t n = 0;

	for (uint32_t i = 0; i < h->count; i++)
		if (replica_member(a->t->rp, h->holders[i]))
			list[n++] = h->holders[i];
	c[0] = number(atom);
	c[1] = text(arena, atom_kind_name(h->kind));
	c[2] = number(catalog_of(a, h));
	if (!c[2].i)
		c[2] = null(PHYS_I64);
	relation_name(a, h, arena, &c[3]);
	c[4] = originator ? number(originator) : null(PHYS_I64);
	c[5] = (struct cell){.phys = PHYS_VAR, .bytes = n * 8, .var = (const uint8_t *)list};
	c[6] = f ? number(frame_bytes(f)) : null(PHYS_I64);
	c[7] = f ? number(txns_applied(a->t)) : null(PHYS_I64);
	c[8] = (struct cell){.phys = PHYS_BOOL, .i = f != NULL};
}

/* holders: rows of one atom, listed ones in order of succession, archives last */
static uint32_t holders_of(struct access *a, const struct hold *h, engine_id *out, uint32_t max)
{
	return replica_holders(a->t->rp, h, out, max);
}

static enum status holder_row(struct access *a, uint64_t at, struct cell *c)
{
	struct view_rows *v = a->view;
	size_t lo = 0, hi = v->first_row.count;
	engine_id list[HOLDERS_MAX + 8];
	struct hold h;
	uint32_t n;

	while (lo + 1 < hi) { /* last atom whose first row is <= at */
		size_t mid = (lo + hi) / 2;

		if (v->first_row.at[mid] <= at)
			lo = mid;
		else
			hi = mid;
	}
	if (hold_of(a, v->atoms.at[lo], &h) != ST_OK)
		return ST_END;
	n = holders_of(a, &h, list, HOLDERS_MAX + 8);
	if (at - v->first_row.at[lo] >= n)
		return ST_END;
	c[0] = number(v->atoms.at[lo]);
	c[1] = number(at - v->first_row.at[lo] + 1);
	c[2] = number(list[at - v->first_row.at[lo]]);
	c[3] = (struct cell){.phys = PHYS_BOOL, .i = at == v->first_row.at[lo] && h.kind != ATOM_ROOT};
	return ST_OK;
}

/* Gets every relation's definition here first, so that no row lacks a name which the catalog knows. ST_WAIT. */
static enum status get_names(struct access *a)
{
	struct relation_def def;
	rel_id id = 0;
	enum status st;

	do
		st = access_relation_next(a, id, &def, &id);
	while (st == ST_OK);
	return st == ST_END ? ST_OK : st;
}

static enum status begin(struct access *a, bool holders)
{
	struct view_rows *v;
	enum status st;
	uint64_t rows = 0;
	size_t kept = 0;

	views_free(a);
	st = holders ? ST_OK : get_names(a);
	if (st)
		return st;
	v = a->view = MEM_NEW(a->t->mem, struct view_rows);
	st = list_atoms(a, v);
	if (st) {
		views_free(a);
		return st;
	}
	for (size_t i = 0; i < v->atoms.count; i++) {
		engine_id list[HOLDERS_MAX + 8];
		struct hold h;
		uint32_t n;

		if (hold_of(a, v->atoms.at[i], &h) != ST_OK)
			continue;
		n = holders ? holders_of(a, &h, list, HOLDERS_MAX + 8) : 1;
		if (!n)
			continue;
		VEC_PUSH(a->t->mem, &v->first_row, rows);
		v->atoms.at[kept++] = v->atoms.at[i];
		rows += n;
	}
	v->atoms.count = kept;
	v->rows = rows;
	return ST_OK;
}

enum status access_view_row(struct access *a, const char *view, uint64_t at, struct arena *arena,
			    struct cell *cells_out, uint32_t cell_count)
{
	bool atoms = !strcmp(view, "atoms"), holders = !strcmp(view, "holders");
	struct hold h;
	enum status st;

	if (!atoms && !holders)
		return a->t->host->view_row(a->t->ctx, view, at, arena, cells_out, cell_count);
	if (at == 0 || !a->view) {
		st = begin(a, holders);
		if (st)
			return st;
	}
	if (at >= a->view->rows) {
		views_free(a);
		return ST_END;
	}
	if (holders)
		return holder_row(a, at, cells_out);
	if (hold_of(a, a->view->atoms.at[at], &h) != ST_OK)
		return ST_END;
	atom_row(a, a->view->atoms.at[at], &h, arena, cells_out);
	return ST_OK;
}
