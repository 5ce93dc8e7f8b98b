/*
 * originator.c - a hash over the originators of all atoms, per node (sim). See originator.h.
 */
#include "sim/originator.h"

#include <string.h>

#define ANEW 200 /* one in so many hashes is made from the catalog */
#define GENESIS_CATALOGS 6

struct view {
	struct map atoms;        /* atom -> its share of the sum, as a pointer that is not NULL */
	uint64_t sum;
	bool known, all;
	VEC(atom_id) touched;
};
struct originators {
	struct world *w;
	struct view views[NODES_MAX];
	VEC(atom_id) catalogs;   /* catalog leaves that splits made */
	struct slice *fences;
	struct arena arena;
};

struct originators *originators_new(struct world *w)
{
	struct originators *o = MEM_NEW(&w->mem, struct originators);

	o->w = w;
	o->fences = mem_alloc(&w->mem, CREATE_ATOMS_MAX * sizeof *o->fences);
	arena_init(&o->arena, &w->mem);
	for (int i = 0; i < NODES_MAX; i++) {
		map_init(&o->views[i].atoms, &w->mem);
		o->views[i].all = true;
	}
	return o;
}

void originators_free(struct originators *o)
{
	struct mem *mem = &o->w->mem;

	for (int i = 0; i < NODES_MAX; i++) {
		map_fini(&o->views[i].atoms);
		VEC_FINI(mem, &o->views[i].touched);
	}
	VEC_FINI(mem, &o->catalogs);
	arena_fini(&o->arena);
	mem_free(mem, o->fences, CREATE_ATOMS_MAX * sizeof *o->fences);
	MEM_FREE(mem, o);
}

void originators_forget(struct originators *o, struct node *n)
{
	struct view *v = &o->views[n->number];

	v->known = false;
	v->all = true;
	v->touched.count = 0;
}

bool originators_known(const struct originators *o, const struct node *n)
{
	return o->views[n->number].known;
}

/* -- what a record can change -------------------------------------------------------------------------------------- */

static void touch(struct originators *o, struct view *v, atom_id atom)
{
	VEC_PUSH(&o->w->mem, &v->touched, atom);
}

static void catalog_made(struct originators *o, atom_id atom)
{
	for (size_t i = 0; i < o->catalogs.count; i++)
		if (o->catalogs.at[i] == atom)
			return;
	VEC_PUSH(&o->w->mem, &o->catalogs, atom);
}

void originators_record(struct originators *o, struct node *n, const struct record *r, bool all)
{
	struct view *v = &o->views[n->number];
	struct create_payload create;
	struct split_payload split;
	struct atoms_payload atoms;

	switch (r->kind) {
	case REC_CREATE:
		if (create_decode(r, &create, o->fences) == ST_OK)
			for (uint32_t i = 0; i < create.count; i++)
				touch(o, v, atom_id_make(r->index, i));
		break;
	case REC_SPLIT:
		if (split_decode(r, &split) != ST_OK)
			break;
		touch(o, v, split.atom);
		touch(o, v, atom_id_make(r->index, 0));
		if (split.kind >= ATOM_SCHEMA_CAT && split.kind <= ATOM_INDEX_CAT)
			catalog_made(o, atom_id_make(r->index, 0));
		break;
	case REC_MOVE:
	case REC_HOLD:
	case REC_DROP:
		if (atoms_decode(r, &atoms) == ST_OK)
			for (uint32_t i = 0; i < atoms.count; i++)
				touch(o, v, atoms_get(&atoms, i).atom);
		break;
	case REC_JOIN:
	case REC_REMOVE:
		v->all = true;
		break;
	default:
		v->all |= all;
		break;
	}
}

/* -- the hash --------------------------------------------------------------------------------------------------------- */

static void share_set(struct view *v, atom_id atom, uint64_t share)
{
	uint64_t was = (uint64_t)(uintptr_t)map_find(&v->atoms, atom);

	v->sum += share - was;
	if (share)
		map_put(&v->atoms, atom, (void *)(uintptr_t)share);
	else if (was)
		map_remove(&v->atoms, atom);
}

static bool look_at(struct originators *o, struct node *n, struct view *v, atom_id atom)
{
	struct replica *rp = engine_replica(n->engine);
	struct hold h;
	atom_id need;
	engine_id who;
	enum status st = replica_hold(rp, atom, &h, &need);

	if (st == ST_WAIT)
		return false;
	if (st) {
		share_set(v, atom, 0);
		return true;
	}
	who = replica_originator(rp, &h);
	/* none at all: the archives that are no members now are all it has */
	share_set(v, atom, hash_u64(atom ^ hash_u64(who ^ hash_u64(h.epoch))) | 1);
	(void)o;
	return true;
}

static bool look_at_all(struct originators *o, struct node *n, struct view *v)
{
	struct replica *rp = engine_replica(n->engine);
	uint8_t from[8] = {0};
	struct route route;
	struct leaf_entry e[64];
	uint32_t count;
	bool good = true;

	map_clear(&v->atoms);
	v->sum = 0;
	if (replica_route_catalog(rp, ATOM_DATA_CAT, from, 8, &route) != ST_OK || !route.frame ||
	    !replica_usable(rp, route.frame))
		return false;
	for (atom_id id = 2; id <= GENESIS_CATALOGS && good; id++)
		good = look_at(o, n, v, id);
	for (size_t i = 0; i < o->catalogs.count && good; i++)
		good = look_at(o, n, v, o->catalogs.at[i]);
	for (bool exclusive = false; good; exclusive = true) {
		if (leaf_scan(replica_store(rp), route.frame, LEAF_NEWEST, from, 8, exclusive, false, 64, &o->arena, e,
			      &count) != ST_OK)
			good = false;
		for (uint32_t i = 0; i < count && good; i++) {
			uint64_t be;

			memcpy(&be, e[i].key.p, 8);
			good = look_at(o, n, v, __builtin_bswap64(be));
		}
		if (count)
			memcpy(from, e[count - 1].key.p, 8);
		arena_reset(&o->arena);
		if (count < 64)
			break;
	}
	return good;
}

bool originators_hash(struct originators *o, struct node *n, uint64_t *hash_out)
{
	struct view *v = &o->views[n->number];

	if (!v->known || v->all || rng_below(&o->w->rng, ANEW) == 0) {
		v->known = look_at_all(o, n, v);
	} else {
		for (size_t i = 0; i < v->touched.count && v->known; i++)
			v->known = look_at(o, n, v, v->touched.at[i]);
	}
	v->touched.count = 0;
	v->all = false;
	*hash_out = v->sum;
	return v->known;
}

atom_id originators_differ(const struct originators *o, const struct node *a, const struct node *b)
{
	const struct map *maps[] = {&o->views[a->number].atoms, &o->views[b->number].atoms};

	for (int i = 0; i < 2; i++) {
		struct map_slot *s;
		size_t at = 0;

		while ((s = map_next(maps[i], &at)))
			if (map_find(maps[1 - i], s->k1) != s->value)
				return s->k1;
	}
	return 0;
}
