/*
 * replica.c - making, loading and installing; which frames a record may change (catalog). Effects: apply.c.
 */
#include "catalog/replica_int.h"

const char *void_cause_name(enum void_cause cause)
{
	static const char *const names[] = {"none", "sender is not a member", "a grantor is not a member",
					    "a definition changed", "plan below the horizon", "epoch", "state",
					    "its name was committed before", "its name may have been forgotten"};

	return names[cause];
}

seq_index frame_as_of(const struct frame *f)
{
	return f->user ? ((const struct copy *)f->user)->as_of : 0;
}

struct replica *replica_new(const struct replica_config *cfg)
{
	struct replica *rp = MEM_NEW(cfg->mem, struct replica);

	rp->mem = cfg->mem;
	rp->log = cfg->log;
	rp->events = cfg->events;
	rp->ctx = cfg->ctx;
	rp->archive = cfg->archive;
	rp->store = atom_store_new(cfg->mem, cfg->undo_limit_bytes);
	rp->next_engine = 1;
	rp->frames_version = 1;
	map_init(&rp->routes, rp->mem);
	map_init(&rp->held, rp->mem);
	map_init(&rp->parts, rp->mem);
	list_init(&rp->part_sets);
	arena_init(&rp->turn, rp->mem);
	rp->fences = mem_alloc(rp->mem, CREATE_ATOMS_MAX * sizeof *rp->fences);
	op_reader_init(&rp->cur.ops, rp->mem);
	op_reader_init(&rp->replay_ops, rp->mem);
	return rp;
}

void replica_free(struct replica *rp)
{
	struct mem *mem = rp->mem;

	route_invalidate_all(rp);
	map_fini(&rp->routes);
	held_fini(rp);
	replica_forget_parts(rp, UINT64_MAX);
	LIST_FOREACH_SAFE(it, tmp, &rp->part_sets)
		CONTAINER_OF(it, struct part_set, all)->committed = 1;
	replica_forget_parts(rp, UINT64_MAX);
	map_fini(&rp->parts);
	for (size_t i = 0; i < rp->members.count; i++)
		MEM_FREE(mem, rp->members.at[i]);
	VEC_FINI(mem, &rp->members);
	VEC_FINI(mem, &rp->intents);
	VEC_FINI(mem, &rp->barriers);
	VEC_FINI(mem, &rp->names);
	for (int k = 0; k <= ATOM_INDEX_CAT; k++) {
		for (size_t i = 0; i < rp->catalogs[k].count; i++) {
			struct catalog_leaf *c = rp->catalogs[k].at[i];

			mem_free(mem, (void *)c->lo.p, c->lo.bytes);
			MEM_FREE(mem, c);
		}
		VEC_FINI(mem, &rp->catalogs[k]);
	}
	LIST_FOREACH(it, atom_all(rp->store)) {
		struct frame *f = CONTAINER_OF(it, struct frame, all);

		if (f->user)
			MEM_FREE(mem, (struct copy *)f->user);
		f->user = NULL;
	}
	atom_store_free(rp->store);
	op_reader_fini(&rp->cur.ops);
	op_reader_fini(&rp->replay_ops);
	mem_free(mem, rp->fences, CREATE_ATOMS_MAX * sizeof *rp->fences);
	arena_fini(&rp->turn);
	MEM_FREE(mem, rp);
}

void replica_genesis(struct replica *rp)
{
	rp->root = atom_create_leaf(rp->store, ATOM_ROOT, ATOM_ID_ROOT, 0, NULL, 0, NULL, 0, 0);
	for (int kind = ATOM_SCHEMA_CAT; kind <= ATOM_INDEX_CAT; kind++) {
		struct hold h = {.kind = (uint8_t)kind, .owner = (uint64_t)kind};
		atom_id id = (atom_id)kind; /* genesis atoms have the ids 1 to 6 */

		if (rp->archive)
			atom_create_leaf(rp->store, (enum atom_kind)kind, id, (uint64_t)kind, NULL, 0, NULL, 0, 0);
		root_put_catalog(rp, 0, (enum atom_kind)kind, (struct slice){0}, id, &h);
	}
	root_put_u64(rp, 0, 'N', 0, rp->next_engine);
	rp->frames_version++;
}

enum status replica_install_root(struct replica *rp, const void *image, size_t bytes, seq_index as_of)
{
	struct frame *f;
	enum status st = atom_install(rp->store, image, bytes, NULL, 0, as_of, &f);

	if (st)
		return st;
	st = root_load(rp);
	if (st || f->id != ATOM_ID_ROOT) {
		atom_drop(rp->store, f);
		return ST_CORRUPT;
	}
	rp->applied = as_of;
	rp->frames_version++;
	return ST_OK;
}

seq_index replica_mixed_until(const struct replica *rp)
{
	return rp->mixed_until;
}

enum status replica_restart(struct replica *rp, seq_index checkpoint)
{
	enum status st = root_load(rp);

	if (st)
		return st;
	if (frame_last_index(rp->root) > checkpoint)
		return ST_CORRUPT;
	rp->applied = checkpoint;
	LIST_FOREACH(it, atom_all(rp->store)) {
		struct frame *f = CONTAINER_OF(it, struct frame, all);

		if (frame_as_of(f) > rp->mixed_until)
			rp->mixed_until = frame_as_of(f);
		(void)replica_usable(rp, f);
	}
	rp->frames_version++;
	rp->schema_version++;
	return ST_OK;
}

void replica_set_self(struct replica *rp, engine_id self)
{
	rp->self = self;
}

engine_id replica_self(const struct replica *rp)
{
	return rp->self;
}

struct atom_store *replica_store(struct replica *rp)
{
	return rp->store;
}

seq_index replica_applied(const struct replica *rp)
{
	return rp->applied;
}

bool replica_paused(const struct replica *rp)
{
	return rp->cur.active;
}

seq_index replica_horizon(const struct replica *rp)
{
	return rp->horizon;
}

uint64_t replica_wall_us(const struct replica *rp)
{
	return rp->wall_us;
}

uint64_t replica_log_id(const struct replica *rp)
{
	return rp->log_id;
}

uint64_t replica_schema_version(const struct replica *rp)
{
	return rp->schema_version;
}

/* -- members ---------------------------------------------------------------------------------------- */

uint32_t replica_member_count(const struct replica *rp)
{
	return (uint32_t)rp->members.count;
}

const struct member *replica_member_at(const struct replica *rp, uint32_t i)
{
	return rp->members.at[i];
}

const struct member *replica_member(const struct replica *rp, engine_id id)
{
	return root_member(rp, id);
}

const struct member *replica_member_by_nonce(const struct replica *rp, uint64_t nonce)
{
	for (size_t i = 0; i < rp->members.count; i++)
		if (rp->members.at[i]->join.nonce == nonce)
			return rp->members.at[i];
	return NULL;
}

const struct member *replica_member_by_voter(const struct replica *rp, uint64_t voter_id)
{
	for (size_t i = 0; voter_id && i < rp->members.count; i++)
		if (rp->members.at[i]->join.voter_id == voter_id)
			return rp->members.at[i];
	return NULL;
}

uint32_t replica_intent_count(const struct replica *rp)
{
	return (uint32_t)rp->intents.count;
}

const struct intent *replica_intent_at(const struct replica *rp, uint32_t i)
{
	return &rp->intents.at[i];
}

/* -- copies ------------------------------------------------------------------------------------------ */

struct copy *frame_copy(struct frame *f)
{
	return f->user;
}

bool replica_usable(struct replica *rp, struct frame *f)
{
	if (f->state == FRAME_FUTURE && frame_as_of(f) <= rp->applied)
		f->state = FRAME_HELD;
	return f->state == FRAME_HELD;
}

bool replica_current(struct replica *rp, struct frame *f)
{
	return replica_usable(rp, f) && frame_last_index(f) <= rp->applied;
}

uint64_t replica_copies_version(const struct replica *rp)
{
	return rp->frames_version;
}

/* The rule of S10: a copy that contains a record already is not changed by it again. */
struct frame *replica_writable(struct replica *rp, struct frame *f, seq_index index)
{
	if (!f || (rp->only && f != rp->only) || index <= frame_as_of(f))
		return NULL;
	return f;
}

void replica_changed(struct replica *rp, struct frame *f, seq_index index)
{
	if (!f->dirty_since)
		f->dirty_since = index ? index : 1;
	if (f->kind == ATOM_RECORD_CAT || f->kind == ATOM_INDEX_CAT) {
		/* invalidated by storage where the change is made */
	} else if (f->kind == ATOM_SCHEMA_CAT) {
		rp->schema_version++;
	}
	if (!rp->only || f == rp->only)
		rp->events->frame_changed(rp->ctx, f, frame_bytes(f) > ATOM_SPLIT_BYTES && f->kind != ATOM_DATA_CAT);
}

struct frame *catalog_frame(struct replica *rp, enum atom_kind kind, const void *key, uint32_t key_len,
			    seq_index index)
{
	struct catalog_leaf *c;

	if (rp->only) {
		if (rp->only->kind != kind || !leaf_covers(rp->only, key, key_len))
			return NULL;
		return replica_writable(rp, rp->only, index);
	}
	c = root_catalog_leaf(rp, kind, key, key_len);
	ASSERT(c);
	return replica_writable(rp, atom_find(rp->store, c->atom), index);
}

/* Does the catalog list this atom, as of what is applied? What its data catalog leaf cannot say now passes. */
static enum status install_expected(struct replica *rp, const struct frame *f)
{
	struct hold h;
	atom_id need;
	enum status st = replica_hold(rp, f->id, &h, &need);

	if (st == ST_WAIT)
		return ST_OK;
	if (st)
		return st;
	return h.kind == f->kind && h.owner == frame_owner(f) ? ST_OK : ST_CORRUPT;
}

enum status replica_install(struct replica *rp, const void *image, size_t bytes, const void *tail,
			    size_t tail_bytes, seq_index as_of, struct frame **frame_out)
{
	struct frame *f;
	struct copy *c;
	enum status st;

	if (rp->cur.active) /* it would miss the operations of this record that are applied already */
		return ST_AGAIN;
	st = atom_install(rp->store, image, bytes, tail, tail_bytes, as_of, &f);
	if (st)
		return st;
	st = rp->root ? install_expected(rp, f) : ST_OK;
	if (st) {
		atom_drop(rp->store, f);
		return st;
	}
	c = MEM_NEW(rp->mem, struct copy);
	c->as_of = as_of;
	f->user = c;
	f->state = as_of > rp->applied ? FRAME_FUTURE : FRAME_HELD;
	held_add(rp, f);
	rp->frames_version++;
	if (f->kind == ATOM_SCHEMA_CAT)
		rp->schema_version++;
	if (f->kind == ATOM_RECORD_CAT || f->kind == ATOM_INDEX_CAT)
		route_invalidate_all(rp);
	*frame_out = f;
	return ST_OK;
}

void replica_drop_copy(struct replica *rp, struct frame *f)
{
	if (f->kind == ATOM_RECORD_CAT || f->kind == ATOM_INDEX_CAT)
		route_invalidate_all(rp);
	if (f->user)
		MEM_FREE(rp->mem, (struct copy *)f->user);
	f->user = NULL;
	held_remove(rp, f);
	atom_drop(rp->store, f);
	rp->frames_version++;
}

enum status replica_split_key(struct replica *rp, struct frame *f, void *key_out, uint32_t *key_len_out)
{
	struct leaf_entry e;
	uint32_t count;

	if (f->kind == ATOM_ROOT || f->kind == ATOM_SEQUENCE || f->kind == ATOM_DATA_CAT)
		return ST_END;
	if (leaf_split_point(f, key_out, key_len_out) != ST_OK)
		return ST_END;
	if (f->kind == ATOM_RECORD_CAT || f->kind == ATOM_INDEX_CAT) { /* the shortest key between two entries is none of them */
		struct arena_mark mark = arena_mark(&rp->turn);

		ASSERT(leaf_scan(rp->store, f, LEAF_NEWEST, key_out, *key_len_out, false, false, 1, &rp->turn, &e,
				 &count) == ST_OK && count);
		memcpy(key_out, e.key.p, e.key.bytes);
		*key_len_out = e.key.bytes;
		arena_rewind(&rp->turn, mark);
	}
	return *key_len_out <= (f->kind == ATOM_INDEX ? INDEX_FENCE_MAX : CATALOG_FENCE_MAX) ? ST_OK : ST_END;
}

bool sequence_state_get(struct replica *rp, struct frame *f, struct sequence_state *out)
{
	struct slice v;

	if (leaf_get(rp->store, f, LEAF_NEWEST, "s", 1, &v) != ST_OK || v.bytes != sizeof *out)
		return false;
	memcpy(out, v.p, sizeof *out);
	return true;
}

/* -- keys of the schema catalog ------------------------------------------------------------------------ */

void schema_key_table(struct buf *out, rel_id id, uint16_t chunk)
{
	put_u8(out, 'T');
	be_put_u64(out, id);
	be_put_u16(out, chunk);
}

void schema_key_sequence(struct buf *out, rel_id id)
{
	put_u8(out, 'Q');
	be_put_u64(out, id);
}

void schema_key_name(struct buf *out, const char *schema, const char *name)
{
	put_u8(out, 'N');
	buf_put(out, schema, strlen(schema) + 1);
	buf_put(out, name, strlen(name));
}
