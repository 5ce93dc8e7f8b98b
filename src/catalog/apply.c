/*
 * apply.c - the effects of records (catalog; rules 1 and 2, P5, P6).
 *
 * Apply never fails, asks or evaluates. Every effect is a primitive on one frame that is here and does not contain
 * the record yet; what is not here is skipped. replica_replay() runs the same code for one frame alone (S10): effects on
 * the root and events are then left out. Membership as of an older index is not known, so a data catalog leaf is never
 * replayed over a membership record: its caller fetches it again.
 *
 * Rows and keys find their frame by the frames' own bounds, not through the catalog: after a restart the catalog leaf
 * may be newer than the record, and of a storage with several only some may be here.
 */
#include "base/cover.h"
#include "catalog/replica_int.h"

void replica_batch(struct replica *rp, const struct batch *b)
{
	if (b->horizon > rp->horizon) {
		rp->horizon = b->horizon;
		atom_store_set_horizon(rp->store, b->horizon);
	}
	if (b->wall_us > rp->wall_us)
		rp->wall_us = b->wall_us;
}

/* -- verdict (P5) ---------------------------------------------------------------------------------- */

static enum verdict judge_leaders(struct replica *rp, const struct record *r, enum void_cause *cause)
{
	struct join_payload join;
	struct remove_payload rem;

	*cause = VOID_STATE;
	switch (r->kind) {
	case REC_JOIN:
		if (join_decode(r->payload, r->payload_bytes, &join) != ST_OK ||
		    replica_member_by_nonce(rp, join.nonce))
			return VERDICT_VOID;
		return VERDICT_OK;
	case REC_REMOVE:
		if (remove_decode(r, &rem) != ST_OK || !root_member(rp, rem.engine))
			return VERDICT_VOID;
		return VERDICT_OK;
	default:
		return VERDICT_OK;
	}
}

/* Of a member's next record. */
static enum verdict judge_next(const struct replica *rp, const struct record *r, enum void_cause *cause)
{
	*cause = VOID_NONE;
	if (r->named && replica_named(rp, r->name)) { /* first: it is the only verdict that says what became of the transaction */
		*cause = VOID_NAME;
		return VERDICT_VOID;
	}
	if (r->named && r->name_since && r->name_since < rp->names_forgotten) {
		*cause = VOID_FORGOTTEN;
		return VERDICT_VOID;
	}
	for (uint32_t i = 0; i < r->grantor_count; i++)
		if (!root_member(rp, r->grantors[i])) {
			*cause = VOID_GRANTOR;
			return VERDICT_VOID;
		}
	for (uint32_t i = 0; r->kind != REC_PART && i < r->touch_count; i++) /* a part is judged with its commit */
		if (r->plan < root_barrier(rp, r->touches[i].relation)) {
			*cause = VOID_BARRIER;
			return VERDICT_VOID;
		}
	if (r->plan < rp->horizon) {
		*cause = VOID_HORIZON;
		return VERDICT_VOID;
	}
	return VERDICT_OK;
}

/*
 * From the header and the root alone, and changing nothing. No leader of ours lets a repeated record into the log: it takes
 * the next number only, counted from the root as of all that was in the log when its term began (leader.c,
 * accepted_of(), maybe_activate()), and Raft lets nothing of an older term in behind that. A log that has one all the same has
 * the verdict of P5, and the simulator a violation.
 */
static enum verdict judge(struct replica *rp, const struct record *r, enum void_cause *cause)
{
	const struct member *m;

	*cause = VOID_NONE;
	if (record_kind_leaders(r->kind))
		return judge_leaders(rp, r, cause);
	m = root_member(rp, r->engine);
	if (!m) {
		*cause = VOID_SENDER;
		return VERDICT_VOID;
	}
	if (r->seq != m->last_seq + 1)
		return VERDICT_DUP;
	return judge_next(rp, r, cause);
}

bool replica_would_commit(const struct replica *rp, const struct record *r)
{
	enum void_cause cause;

	return root_member(rp, r->engine) && judge_next(rp, r, &cause) == VERDICT_OK;
}

/* -- frames made and unmade by records ------------------------------------------------------------------ */

static void frame_made(struct replica *rp, struct frame *f, seq_index index, atom_id split_from)
{
	rp->frames_version++;
	held_add(rp, f);
	f->dirty_since = index;
	rp->events->frame_new(rp->ctx, f, split_from);
}

static bool makes_copies(const struct replica *rp, engine_id sender)
{
	return rp->archive || (sender && sender == rp->self);
}

static void hold_init(struct replica *rp, struct hold *h, enum atom_kind kind, uint64_t owner,
		      const struct record *r)
{
	const struct member *m = root_member(rp, r->engine);

	memset(h, 0, sizeof *h);
	h->kind = (uint8_t)kind;
	h->owner = owner;
	h->originator = r->engine;
	h->epoch = r->index;
	if (!m || m->kind != ENGINE_ARCHIVE)
		h->holders[h->count++] = r->engine;
}

static void drop_frame(struct replica *rp, struct frame *f)
{
	rp->events->frame_gone(rp->ctx, f);
	replica_drop_copy(rp, f);
}

/* -- row, key and catalog operations ------------------------------------------------------------------- */

static void apply_row(struct replica *rp, const struct op *op, seq_index index)
{
	uint32_t at = HELD_START;
	struct frame *f;

	while ((f = held_row(rp, op->relation, op->row, &at))) {
		if (!replica_writable(rp, f, index))
			continue;
		if (op->kind == OP_ROW_INSERT)
			columns_insert(rp->store, f, index, op->row, op->cells, op->cell_count);
		else if (op->kind == OP_ROW_UPDATE)
			columns_update(rp->store, f, index, op->row, op->cells, op->cell_count);
		else
			columns_delete(rp->store, f, index, op->row);
		replica_changed(rp, f, index);
	}
}

static void apply_key(struct replica *rp, const struct op *op, seq_index index)
{
	uint32_t at = HELD_START;
	struct frame *f;

	while ((f = held_key(rp, op->relation, op->key.p, op->key.bytes, &at))) {
		if (!replica_writable(rp, f, index))
			continue;
		if (op->kind == OP_KEY_ADD)
			leaf_put(rp->store, f, index, op->key.p, op->key.bytes, &op->row, sizeof op->row);
		else
			leaf_remove(rp->store, f, index, op->key.p, op->key.bytes);
		replica_changed(rp, f, index);
	}
}

static void apply_catalog(struct replica *rp, const struct op *op, seq_index index)
{
	struct frame *f;

	if (op->relation != ATOM_SCHEMA_CAT)
		return;
	f = catalog_frame(rp, ATOM_SCHEMA_CAT, op->key.p, op->key.bytes, index);
	if (!rp->only) {
		rp->schema_version++;
		rp->events->schema_changed(rp->ctx);
	}
	if (!f)
		return;
	if (op->kind == OP_CATALOG_PUT)
		leaf_put(rp->store, f, index, op->key.p, op->key.bytes, op->value.p, op->value.bytes);
	else
		leaf_remove(rp->store, f, index, op->key.p, op->key.bytes);
	replica_changed(rp, f, index);
}

static void put_index_entry(struct replica *rp, seq_index index, rel_id storage, struct slice lo, atom_id atom,
			    seq_index epoch)
{
	uint8_t key[8 + LEAF_KEY_MAX];
	uint64_t value[2] = {atom, epoch};
	struct frame *f;

	ASSERT_OP(lo.bytes, <=, INDEX_FENCE_MAX);
	be64(key, storage);
	if (lo.bytes)
		memcpy(key + 8, lo.p, lo.bytes);
	f = catalog_frame(rp, ATOM_INDEX_CAT, key, 8 + lo.bytes, index);
	if (!rp->only)
		route_invalidate(rp, storage);
	if (!f)
		return;
	leaf_put(rp->store, f, index, key, 8 + lo.bytes, value, sizeof value);
	replica_changed(rp, f, index);
	route_invalidate(rp, storage);
}

static void put_record_entry(struct replica *rp, seq_index index, rel_id storage, row_id lo, row_id hi,
			     atom_id atom, seq_index epoch)
{
	uint8_t key[16];
	uint64_t value[3] = {atom, hi, epoch};
	struct frame *f;

	be64(key, storage);
	be64(key + 8, lo);
	f = catalog_frame(rp, ATOM_RECORD_CAT, key, 16, index);
	if (!rp->only)
		route_invalidate(rp, storage);
	if (!f)
		return;
	leaf_put(rp->store, f, index, key, 16, value, sizeof value);
	replica_changed(rp, f, index);
	route_invalidate(rp, storage);
}

static void put_sequence_entry(struct replica *rp, seq_index index, rel_id seq, atom_id atom)
{
	uint8_t key[8];
	struct frame *f;

	be64(key, seq);
	f = catalog_frame(rp, ATOM_SEQUENCE_CAT, key, 8, index);
	if (!f)
		return;
	leaf_put(rp->store, f, index, key, 8, &atom, sizeof atom);
	replica_changed(rp, f, index);
}

/* The first atom of a new index, or a sequence: part of the commit that defines it. */
static void apply_new_atom(struct replica *rp, const struct op *op, const struct record *r, uint32_t ordinal)
{
	atom_id id = atom_id_make(r->index, ordinal);
	struct hold h;
	struct frame *f;

	if (op->atom_kind == ATOM_INDEX)
		put_index_entry(rp, r->index, op->relation, (struct slice){0}, id, r->index);
	else
		put_sequence_entry(rp, r->index, op->relation, id);
	hold_init(rp, &h, op->atom_kind, op->relation, r);
	hold_put(rp, r->index, id, &h);
	if (rp->only || !makes_copies(rp, r->engine) || atom_find(rp->store, id))
		return;
	f = atom_create_leaf(rp->store, op->atom_kind, id, op->relation, NULL, 0, NULL, 0, r->index);
	if (op->value.bytes)
		leaf_put(rp->store, f, r->index, "s", 1, op->value.p, op->value.bytes);
	frame_made(rp, f, r->index, 0);
}

/* Remove the entries of a storage from one catalog's leaves that are here; by key prefix. */
static void destroy_entries(struct replica *rp, enum atom_kind catalog, rel_id storage, seq_index index)
{
	uint8_t prefix[8];

	be64(prefix, storage);
	for (size_t i = 0; i < rp->catalogs[catalog].count; i++) {
		struct frame *f = atom_find(rp->store, rp->catalogs[catalog].at[i]->atom);

		f = replica_writable(rp, f, index);
		while (f) {
			struct arena_mark mark = arena_mark(&rp->turn);
			struct leaf_entry e;
			uint32_t count;

			ASSERT(leaf_scan(rp->store, f, LEAF_NEWEST, prefix, 8, false, false, 1, &rp->turn, &e,
					 &count) == ST_OK);
			if (!count || e.key.bytes < 8 || memcmp(e.key.p, prefix, 8)) {
				arena_rewind(&rp->turn, mark);
				break;
			}
			leaf_remove(rp->store, f, index, arena_dup(&rp->turn, e.key.p, e.key.bytes), e.key.bytes);
			replica_changed(rp, f, index);
			arena_rewind(&rp->turn, mark);
		}
	}
}

/* Remove all atoms of a storage from the data catalog leaves that are here. */
static void destroy_holds(struct replica *rp, rel_id storage, seq_index index)
{
	for (size_t i = 0; i < rp->catalogs[ATOM_DATA_CAT].count; i++) {
		struct frame *f = atom_find(rp->store, rp->catalogs[ATOM_DATA_CAT].at[i]->atom);
		uint8_t from[8] = {0};
		uint32_t count;
		bool exclusive = false;

		f = replica_writable(rp, f, index);
		while (f) {
			struct arena_mark mark = arena_mark(&rp->turn);
			struct leaf_entry e[64];
			uint8_t gone[64][8];
			uint32_t gone_count = 0;

			ASSERT(leaf_scan(rp->store, f, LEAF_NEWEST, from, 8, exclusive, false, 64, &rp->turn, e,
					 &count) == ST_OK);
			for (uint32_t k = 0; k < count; k++) {
				struct hold h;

				ASSERT(hold_decode(e[k].value.p, e[k].value.bytes, &h));
				if (h.owner == storage)
					memcpy(gone[gone_count++], e[k].key.p, 8);
			}
			if (count) {
				memcpy(from, e[count - 1].key.p, 8);
				exclusive = true;
			}
			arena_rewind(&rp->turn, mark);
			for (uint32_t k = 0; k < gone_count; k++)
				leaf_remove(rp->store, f, index, gone[k], 8);
			if (gone_count)
				replica_changed(rp, f, index);
			if (count < 64)
				break;
		}
	}
}

static void apply_destroy(struct replica *rp, rel_id storage, seq_index index)
{
	if (rp->only) {
		enum atom_kind kind = rp->only->kind;

		if (kind == ATOM_RECORD_CAT || kind == ATOM_INDEX_CAT || kind == ATOM_SEQUENCE_CAT)
			destroy_entries(rp, kind, storage, index);
		else if (kind == ATOM_DATA_CAT)
			destroy_holds(rp, storage, index);
		route_invalidate(rp, storage);
		return;
	}
	destroy_entries(rp, ATOM_RECORD_CAT, storage, index);
	destroy_entries(rp, ATOM_INDEX_CAT, storage, index);
	destroy_entries(rp, ATOM_SEQUENCE_CAT, storage, index);
	destroy_holds(rp, storage, index);
	route_invalidate(rp, storage);
	LIST_FOREACH_SAFE(it, tmp, atom_all(rp->store)) {
		struct frame *f = CONTAINER_OF(it, struct frame, all);

		if (f->kind >= ATOM_SEQUENCE && frame_owner(f) == storage)
			drop_frame(rp, f);
	}
}

static void apply_op(struct replica *rp, const struct op *op, const struct record *r, uint32_t *ordinal)
{
	switch (op->kind) {
	case OP_ROW_INSERT:
	case OP_ROW_UPDATE:
	case OP_ROW_DELETE:
		apply_row(rp, op, r->index);
		break;
	case OP_KEY_ADD:
	case OP_KEY_REMOVE:
		apply_key(rp, op, r->index);
		break;
	case OP_CATALOG_PUT:
	case OP_CATALOG_REMOVE:
		apply_catalog(rp, op, r->index);
		break;
	case OP_NEW_ATOM:
		apply_new_atom(rp, op, r, (*ordinal)++);
		break;
	case OP_DESTROY:
		apply_destroy(rp, op->relation, r->index);
		break;
	default:
		UNREACHABLE();
	}
}

/* -- parts ------------------------------------------------------------------------------------------------ */

static struct part_set *part_set_find(const struct replica *rp, const struct record *r)
{
	struct part_set *s = map_find2(&rp->parts, r->engine, r->txn);

	return s && s->attempt == r->attempt ? s : NULL;
}

static size_t part_size(const struct record *r)
{
	return sizeof *r + (r->payload ? r->payload_bytes : 0);
}

static struct record *part_copy(struct replica *rp, const struct record *r)
{
	struct record *copy = mem_alloc(rp->mem, part_size(r));

	*copy = *r;
	if (r->payload) {
		copy->payload = (uint8_t *)(copy + 1);
		memcpy(copy + 1, r->payload, r->payload_bytes);
	}
	return copy;
}

static void part_set_free(struct replica *rp, struct part_set *s)
{
	for (size_t i = 0; i < s->parts.count; i++)
		mem_free(rp->mem, s->parts.at[i], part_size(s->parts.at[i]));
	VEC_FINI(rp->mem, &s->parts);
	if (map_find2(&rp->parts, s->engine, s->txn) == s)
		map_remove2(&rp->parts, s->engine, s->txn);
	list_remove(&s->all);
	MEM_FREE(rp->mem, s);
}

void replica_add_part(struct replica *rp, const struct record *r)
{
	struct part_set *s = map_find2(&rp->parts, r->engine, r->txn);
	struct record *copy;
	size_t at = 0;

	if (s && s->committed)
		return;
	if (s && s->attempt != r->attempt) {
		if (s->attempt > r->attempt || s == rp->cur.set)
			return;
		part_set_free(rp, s);
		s = NULL;
	}
	if (!s) {
		s = MEM_NEW(rp->mem, struct part_set);
		s->engine = r->engine;
		s->txn = r->txn;
		s->attempt = r->attempt;
		list_push_back(&rp->part_sets, &s->all);
		map_put2(&rp->parts, r->engine, r->txn, s);
	}
	while (at < s->parts.count && s->parts.at[at]->index < r->index)
		at++;
	if (at < s->parts.count && s->parts.at[at]->index == r->index) {
		if (r->payload && !s->parts.at[at]->payload) {
			mem_free(rp->mem, s->parts.at[at], sizeof *copy);
			s->parts.at[at] = part_copy(rp, r);
		}
		return;
	}
	copy = part_copy(rp, r);
	VEC_PUSH(rp->mem, &s->parts, copy);
	memmove(&s->parts.at[at + 1], &s->parts.at[at], (s->parts.count - 1 - at) * sizeof *s->parts.at);
	s->parts.at[at] = copy;
}

bool replica_part_bare(const struct replica *rp, const struct record *part)
{
	const struct part_set *s = part_set_find(rp, part);

	for (size_t i = 0; s && i < s->parts.count; i++)
		if (s->parts.at[i]->index == part->index)
			return !s->parts.at[i]->payload;
	return false;
}

/* -- who needs a payload (P7) ------------------------------------------------------------------------------- */

bool replica_needs(struct replica *rp, const struct record *r, seq_index index, const struct frame *only)
{
	if (!record_is_local(r) || (rp->archive && !only))
		return true;
	for (uint32_t i = 0; i < r->touch_count; i++)
		if (only ? (only->kind == ATOM_DATA || only->kind == ATOM_INDEX) &&
				   frame_owner(only) == r->touches[i].storage
			 : held_before(rp, r->touches[i].storage, index))
			return true;
	return false;
}

/* The next record will be void: what it lacks may have been dropped with its engine's removal, and be gone everywhere. */
static bool void_ahead(struct replica *rp, const struct record *r)
{
	enum void_cause cause;

	return r->index == rp->applied + 1 && !rp->cur.active && judge(rp, r, &cause) != VERDICT_OK;
}

bool replica_missing_payload(struct replica *rp, const struct record *r, const struct frame *only)
{
	return !r->payload && r->payload_bytes && r->kind != REC_PART && replica_needs(rp, r, r->index, only) &&
	       !void_ahead(rp, r);
}

bool replica_missing_parts(struct replica *rp, const struct record *r, const struct frame *only)
{
	struct part_set *s;

	if (r->kind != REC_COMMIT || !r->parts || !replica_needs(rp, r, r->index, only) || void_ahead(rp, r))
		return false;
	s = part_set_find(rp, r);
	if (!s || s->parts.count < r->parts)
		return true;
	for (size_t i = 0; i < s->parts.count; i++) {
		const struct record *p = s->parts.at[i];

		if (!p->payload && replica_needs(rp, p, r->index, only))
			return true;
	}
	return false;
}

uint32_t replica_open_parts(const struct replica *rp, engine_id engine, txn_id txn, uint32_t *attempt_out)
{
	const struct part_set *s = map_find2(&rp->parts, engine, txn);

	if (!s)
		return 0;
	*attempt_out = s->attempt;
	return s->committed ? UINT32_MAX : (uint32_t)s->parts.count;
}

void replica_forget_parts(struct replica *rp, seq_index below)
{
	LIST_FOREACH_SAFE(it, tmp, &rp->part_sets) {
		struct part_set *s = CONTAINER_OF(it, struct part_set, all);

		if (s->committed && s->committed <= below)
			part_set_free(rp, s);
	}
}

seq_index replica_oldest_part(const struct replica *rp)
{
	seq_index oldest = UINT64_MAX;

	LIST_FOREACH(it, (struct list *)&rp->part_sets) {
		const struct part_set *s = CONTAINER_OF(it, struct part_set, all);

		if (!s->committed && s->parts.count && s->parts.at[0]->index < oldest)
			oldest = s->parts.at[0]->index;
	}
	return oldest;
}

void replica_each_part(struct replica *rp, engine_id engine, txn_id txn, uint32_t attempt, void *ctx,
		       void (*fn)(void *ctx, const struct record *part))
{
	struct part_set *s = map_find2(&rp->parts, engine, txn);

	if (!s || s->attempt != attempt)
		return;
	for (size_t i = 0; i < s->parts.count; i++)
		fn(ctx, s->parts.at[i]);
}

/* A transaction's parts are of no use any more; those of a commit are kept for replay until the window passes it. */
static void parts_end(struct replica *rp, const struct record *r, bool committed)
{
	struct part_set *s = map_find2(&rp->parts, r->engine, r->txn);

	if (!s || s->committed) /* a record of a decided transaction that came again, from a sender who is gone by now */
		return;
	if (!committed) {
		part_set_free(rp, s);
		return;
	}
	s->committed = r->index;
}

static void parts_end_engine(struct replica *rp, engine_id engine)
{
	LIST_FOREACH_SAFE(it, tmp, &rp->part_sets) {
		struct part_set *s = CONTAINER_OF(it, struct part_set, all);

		if (s->engine == engine && !s->committed)
			part_set_free(rp, s);
	}
}

/* -- commit: may pause ----------------------------------------------------------------------------------- */

static bool commit_continue(struct replica *rp, const struct record *r, int64_t *budget)
{
	struct op op;
	enum status st;

	for (;;) {
		while ((st = op_next(&rp->cur.ops, &op)) == ST_OK) {
			apply_op(rp, &op, r, &rp->cur.ordinal);
			if (--*budget < 0)
				return false;
		}
		ASSERT(st == ST_END); /* checked by the leader when it took the record */
		if (rp->cur.part_at > r->parts || !rp->cur.set)
			return true;
		if (rp->cur.part_at < r->parts) {
			const struct record *p = rp->cur.set->parts.at[rp->cur.part_at];

			op_reader_start(&rp->cur.ops, p->payload, p->payload ? p->payload_bytes : 0);
		} else {
			op_reader_start(&rp->cur.ops, r->payload, r->payload ? r->payload_bytes : 0);
		}
		rp->cur.part_at++;
	}
}

static void commit_begin(struct replica *rp, const struct record *r)
{
	ASSERT(r->payload || !r->payload_bytes); /* replica_missing_payload() was asked before */
	rp->cur.active = true;
	rp->cur.ordinal = 0;
	rp->cur.part_at = 0;
	rp->cur.set = NULL;
	if (r->parts) {
		rp->cur.set = part_set_find(rp, r);
		ASSERT(rp->cur.set);
		ASSERT_OP(rp->cur.set->parts.count, ==, r->parts);
		op_reader_start(&rp->cur.ops, NULL, 0);
	} else {
		op_reader_start(&rp->cur.ops, r->payload, r->payload_bytes);
	}
}

/* The commit's own effects are there, or of no copy that is here. */
static void commit_end(struct replica *rp, const struct record *r)
{
	parts_end(rp, r, true);
	root_close_intents(rp, r->index, r->engine, r->txn, 0, true);
	if (r->named)
		root_put_name(rp, r->index, r->name);
}

/* -- structural records ------------------------------------------------------------------------------------ */

/* Where a record leaf that contains the create already has put the atom; false: gone again, or not here. */
static bool entry_find(struct replica *rp, rel_id storage, atom_id id, row_id *lo_out)
{
	uint8_t from[16];

	LIST_FOREACH(it, atom_all(rp->store)) {
		struct frame *f = CONTAINER_OF(it, struct frame, all);
		uint32_t count = 1;

		be64(from, storage);
		be64(from + 8, 0);
		for (bool exclusive = false; f->kind == ATOM_RECORD_CAT && count; exclusive = true) {
			struct leaf_entry e;

			ASSERT(leaf_scan(rp->store, f, LEAF_NEWEST, from, 16, exclusive, false, 1, &rp->turn, &e,
					 &count) == ST_OK);
			if (!count || e.key.bytes != 16 || from_be64(e.key.p) != storage)
				break;
			memcpy(from, e.key.p, 16);
			if (memcmp(e.value.p, &id, sizeof id) == 0) {
				*lo_out = from_be64(from + 8);
				return true;
			}
		}
	}
	return false;
}

static void create_data(struct replica *rp, const struct record *r, const struct create_payload *c, atom_id id)
{
	uint8_t key[16];
	struct leaf_entry e;
	uint32_t count = 0;
	struct frame *f, *leaf;
	row_id lo = 1;

	be64(key, c->storage);
	be64(key + 8, UINT64_MAX);
	leaf = catalog_frame(rp, ATOM_RECORD_CAT, key, 16, r->index);
	if (leaf) {
		/* the range begins where the storage's last one ends (ADR 1) */
		ASSERT(leaf_scan(rp->store, leaf, LEAF_NEWEST, key, 16, false, true, 1, &rp->turn, &e, &count) ==
		       ST_OK);
		if (count && e.key.bytes == 16 && from_be64(e.key.p) == c->storage)
			memcpy(&lo, e.value.p + 8, 8);
		put_record_entry(rp, r->index, c->storage, lo, lo + c->rows, id, r->index);
	}
	if (rp->only || !makes_copies(rp, r->engine) || atom_find(rp->store, id) ||
	    (!leaf && !entry_find(rp, c->storage, id, &lo)))
		return;
	f = atom_create_columns(rp->store, id, c->storage, lo, lo + c->rows, r->index);
	frame_made(rp, f, r->index, 0);
}

static void create_index(struct replica *rp, const struct record *r, const struct create_payload *c, uint32_t i,
			 atom_id id)
{
	struct slice hi = i + 1 < c->count ? c->fences[i + 1] : (struct slice){0};
	struct frame *f;

	put_index_entry(rp, r->index, c->storage, c->fences[i], id, r->index);
	if (rp->only || !makes_copies(rp, r->engine) || atom_find(rp->store, id))
		return;
	f = atom_create_leaf(rp->store, ATOM_INDEX, id, c->storage, c->fences[i].p, c->fences[i].bytes, hi.p,
			     hi.bytes, r->index);
	frame_made(rp, f, r->index, 0);
}

static enum void_cause apply_create(struct replica *rp, const struct record *r)
{
	struct create_payload c;

	if (create_decode(r, &c, rp->fences) != ST_OK)
		return VOID_STATE;
	for (uint32_t i = 0; i < c.count; i++) {
		atom_id id = atom_id_make(r->index, i);
		struct hold h;

		hold_init(rp, &h, c.kind, c.storage, r);
		hold_put(rp, r->index, id, &h);
		if (c.kind == ATOM_DATA)
			create_data(rp, r, &c, id);
		else
			create_index(rp, r, &c, i, id);
		arena_reset(&rp->turn);
	}
	return VOID_NONE;
}

/* The parent's entry of a data or index atom: judged by its epoch alone (P5). */
static bool split_parent(struct replica *rp, const struct record *r, const struct split_payload *s, atom_id id)
{
	uint8_t key[8 + LEAF_KEY_MAX];
	uint32_t key_len = 16, count = 0;
	enum atom_kind catalog = s->kind == ATOM_DATA ? ATOM_RECORD_CAT : ATOM_INDEX_CAT;
	struct leaf_entry e;
	struct frame *f;
	uint64_t v[3];
	row_id lo;

	be64(key, s->owner);
	if (s->kind == ATOM_DATA) {
		be64(key + 8, s->at_row);
	} else {
		memcpy(key + 8, s->at_key.p, s->at_key.bytes);
		key_len = 8 + s->at_key.bytes;
	}
	f = catalog_frame(rp, catalog, key, key_len, r->index);
	if (!f)
		return true; /* not ours to judge */
	ASSERT(leaf_scan(rp->store, f, LEAF_NEWEST, key, key_len, false, true, 1, &rp->turn, &e, &count) == ST_OK);
	if (!count || e.key.bytes < 8 || from_be64(e.key.p) != s->owner)
		return false;
	memcpy(v, e.value.p, s->kind == ATOM_DATA ? 24 : 16);
	if (s->kind == ATOM_DATA) {
		lo = from_be64(e.key.p + 8);
		if (v[0] != s->atom || v[2] != s->epoch || s->at_row <= lo || s->at_row >= v[1])
			return false;
		put_record_entry(rp, r->index, s->owner, s->at_row, v[1], id, r->index);
		put_record_entry(rp, r->index, s->owner, lo, s->at_row, s->atom, r->index);
	} else {
		struct slice lo_key = {arena_dup(&rp->turn, e.key.p + 8, e.key.bytes - 8), e.key.bytes - 8, 0};

		if (v[0] != s->atom || v[1] != s->epoch || (key_len == e.key.bytes && !memcmp(key, e.key.p, key_len)))
			return false; /* the key is that entry's own: nothing would stay on its left */
		put_index_entry(rp, r->index, s->owner, s->at_key, id, r->index);
		put_index_entry(rp, r->index, s->owner, lo_key, s->atom, r->index);
	}
	return true;
}

/*
 * Restart: a data leaf that contains the split lists its other half, or else has judged it void. (Or the storage was
 * destroyed since: then it does not matter.)
 */
static bool split_listed(struct replica *rp, seq_index index, atom_id id)
{
	uint8_t key[8];
	struct frame *f = atom_find(rp->store, rp->catalogs[ATOM_DATA_CAT].at[0]->atom);
	struct slice v;

	be64(key, id);
	return !f || frame_as_of(f) < index || leaf_get(rp->store, f, LEAF_NEWEST, key, 8, &v) == ST_OK;
}

static bool split_holds(struct replica *rp, const struct record *r, const struct split_payload *s, atom_id id)
{
	struct hold h;
	enum status st = hold_read(rp, r->index, s->atom, &h);

	if (st == ST_WAIT)
		return !replica_mixed(rp) || split_listed(rp, r->index, id);
	if (st || h.epoch != s->epoch || h.kind != s->kind)
		return false;
	h.epoch = r->index;
	hold_put(rp, r->index, s->atom, &h);
	hold_put(rp, r->index, id, &h);
	return true;
}

static bool split_catalog(struct replica *rp, const struct record *r, const struct split_payload *s, atom_id id)
{
	struct catalog_leaf *c = root_catalog_atom(rp, s->atom);
	struct hold h;

	if (rp->only)
		return rp->only->id == s->atom;
	if (!c || c->hold.epoch != s->epoch || c->hold.kind != s->kind ||
	    root_catalog_leaf(rp, s->kind, s->at_key.p, s->at_key.bytes) != c || s->at_key.bytes <= 0 ||
	    (s->at_key.bytes == c->lo.bytes && !memcmp(s->at_key.p, c->lo.p, c->lo.bytes)))
		return false;
	h = c->hold;
	h.epoch = r->index;
	root_put_catalog(rp, r->index, s->kind, c->lo, s->atom, &h);
	root_put_catalog(rp, r->index, s->kind, s->at_key, id, &h);
	route_invalidate_all(rp);
	return true;
}

static enum void_cause apply_split(struct replica *rp, const struct record *r)
{
	struct split_payload s;
	atom_id id = atom_id_make(r->index, 0);
	struct frame *f, *made;
	bool ok;

	if (split_decode(r, &s) != ST_OK)
		return VOID_STATE;
	if (s.kind >= ATOM_SCHEMA_CAT && s.kind <= ATOM_INDEX_CAT) {
		ok = split_catalog(rp, r, &s, id);
	} else {
		/*
		 * Each leaf judges alone, by the epoch that both have (P5). One that is not here, or contains the
		 * record already, says nothing. In replay the verdict was OK where both were here: an atom's copy is
		 * fetched after its leaves (P15).
		 */
		ok = split_parent(rp, r, &s, id);
		if (!split_holds(rp, r, &s, id))
			ok = false;
	}
	if (!ok)
		return VOID_EPOCH;
	f = replica_writable(rp, atom_find(rp->store, s.atom), r->index);
	if (!f)
		return VOID_NONE;
	/*
	 * Only shrink it: in a restart when the other half's image is here, newer than this one; in replay always, as
	 * the rest of the replay is for this copy and would not reach the other.
	 */
	id = rp->only || atom_find(rp->store, id) ? ATOM_ID_SCRATCH : id;
	if (s.kind == ATOM_DATA)
		made = columns_split(rp->store, f, s.at_row, id, r->index);
	else
		made = leaf_split(rp->store, f, s.at_key.p, s.at_key.bytes, id, r->index);
	if (id == ATOM_ID_SCRATCH) {
		atom_drop(rp->store, made);
		replica_changed(rp, f, r->index);
		return VOID_NONE;
	}
	if (f->user) { /* the copy of the other half contains the same records */
		struct copy *c = MEM_NEW(rp->mem, struct copy);

		*c = *frame_copy(f);
		made->user = c;
	}
	replica_changed(rp, f, r->index);
	frame_made(rp, made, r->index, f->id);
	return VOID_NONE;
}

/*
 * Ids are never reused: those of removed engines would fill the list for good. An edit of the list may leave them out, as it
 * sets the field to the originator of this index.
 */
static void drop_dead(struct replica *rp, struct hold *h)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < h->count; i++)
		if (root_member(rp, h->holders[i]))
			h->holders[kept++] = h->holders[i];
	h->count = kept;
}

/* MOVE, HOLD, DROP: atom by atom; each data catalog leaf, or the root, judges its own (P5, P15). */
static bool change_hold(struct replica *rp, const struct record *r, struct hold *h, engine_id target)
{
	const struct member *m;
	engine_id now = replica_originator(rp, h);

	switch (r->kind) {
	case REC_MOVE:
		m = root_member(rp, target);
		if (!m || (m->kind != ENGINE_ARCHIVE && !hold_has(h, target)) || now != r->engine)
			return false;
		h->originator = target;
		return true;
	case REC_HOLD:
		m = root_member(rp, r->engine);
		if (m->kind == ENGINE_ARCHIVE || hold_has(h, r->engine))
			return false;
		drop_dead(rp, h);
		if (h->count == HOLDERS_MAX)
			return false;
		h->originator = now;
		h->holders[h->count++] = r->engine;
		for (uint32_t i = h->count - 1; i && h->holders[i - 1] > h->holders[i]; i--) {
			engine_id t = h->holders[i];

			h->holders[i] = h->holders[i - 1];
			h->holders[i - 1] = t;
		}
		return true;
	default: { /* REC_DROP */
		engine_id others[2];
		uint32_t kept = 0;

		if (!hold_has(h, r->engine) || now == r->engine)
			return false;
		if (replica_holders(rp, h, others, 2) < 2)
			return false;
		h->originator = now;
		for (uint32_t i = 0; i < h->count; i++)
			if (h->holders[i] != r->engine)
				h->holders[kept++] = h->holders[i];
		h->count = kept;
		return true;
	}
	}
}

static enum void_cause apply_atoms(struct replica *rp, const struct record *r)
{
	struct atoms_payload a;
	bool any = false;

	if (atoms_decode(r, &a) != ST_OK)
		return VOID_STATE;
	for (uint32_t i = 0; i < a.count; i++) {
		struct atom_epoch e = atoms_get(&a, i);
		struct hold h;
		enum status st = hold_read(rp, r->index, e.atom, &h);

		if (st == ST_WAIT)
			any = true; /* for all that is known here: it may be replayed on that leaf later */
		if (st || !change_hold(rp, r, &h, a.target))
			continue;
		any = true;
		hold_put(rp, r->index, e.atom, &h);
		if (!rp->only)
			rp->events->hold_changed(rp->ctx, e.atom);
	}
	return any ? VOID_NONE : VOID_STATE;
}

static enum void_cause apply_reserve(struct replica *rp, const struct record *r)
{
	struct reserve_payload p;
	struct sequence_state now;
	struct frame *f;

	if (reserve_decode(r, &p) != ST_OK)
		return VOID_STATE;
	f = rp->only ? (rp->only->id == p.atom ? rp->only : NULL) : atom_find(rp->store, p.atom);
	f = replica_writable(rp, f, r->index);
	if (!f)
		return VOID_NONE;
	if (f->kind != ATOM_SEQUENCE || !sequence_state_get(rp, f, &now) ||
	    memcmp(&now, &p.from, sizeof now))
		return VOID_STATE;
	leaf_put(rp->store, f, r->index, "s", 1, &p.to, sizeof p.to);
	replica_changed(rp, f, r->index);
	return VOID_NONE;
}

/* -- membership and the rest ---------------------------------------------------------------------------------- */

static void apply_join(struct replica *rp, const struct record *r)
{
	struct join_payload join;
	const struct member *stale;

	ASSERT(join_decode(r->payload, r->payload_bytes, &join) == ST_OK);
	stale = replica_member_by_voter(rp, join.voter_id);
	if (stale) { /* an archive that came back: its old id ends here (P23) */
		engine_id id = stale->id;

		parts_end_engine(rp, id);
		root_remove_member(rp, r->index, id, REMOVE_REPLACED);
	}
	root_join(rp, r->index, &join);
}

static enum void_cause apply_intent(struct replica *rp, const struct record *r)
{
	struct intent_payload p;
	struct intent in = {.index = r->index, .engine = r->engine, .txn = r->txn};

	if (intent_decode(r, &p) != ST_OK)
		return VOID_STATE;
	in.relation = p.relation;
	in.mode = p.mode;
	root_open_intent(rp, &in);
	return VOID_NONE;
}

/* All intents of a transaction, or the one that it gave up. */
static enum void_cause apply_finish(struct replica *rp, const struct record *r)
{
	struct intent_payload p = {0};

	if (r->payload_bytes && intent_decode(r, &p) != ST_OK)
		return VOID_STATE;
	root_close_intents(rp, r->index, r->engine, r->txn, p.relation, false);
	return VOID_NONE;
}

static enum void_cause apply_other(struct replica *rp, const struct record *r)
{
	struct remove_payload rem;

	ASSERT(r->payload || !r->payload_bytes || r->kind == REC_PART);
	switch (r->kind) {
	case REC_PART:
		replica_add_part(rp, r);
		break;
	case REC_ABORT:
		parts_end(rp, r, false);
		break;
	case REC_CREATE:
		return apply_create(rp, r);
	case REC_SPLIT:
		return apply_split(rp, r);
	case REC_MOVE:
	case REC_HOLD:
	case REC_DROP:
		return apply_atoms(rp, r);
	case REC_RESERVE:
		return apply_reserve(rp, r);
	case REC_INTENT:
		return apply_intent(rp, r);
	case REC_FINISH:
		return apply_finish(rp, r);
	case REC_JOIN:
		apply_join(rp, r);
		break;
	case REC_REMOVE:
		ASSERT(remove_decode(r, &rem) == ST_OK);
		parts_end_engine(rp, rem.engine);
		root_remove_member(rp, r->index, rem.engine, rem.cause);
		break;
	case REC_AUDIT:
		break;
	default:
		return VOID_STATE;
	}
	return VOID_NONE;
}

static void done(struct replica *rp, const struct record *r, enum verdict v, enum void_cause cause)
{
	COVER_IF(cause == VOID_SENDER, VOID_SENDER);
	COVER_IF(cause == VOID_GRANTOR, VOID_GRANTOR);
	COVER_IF(cause == VOID_EPOCH, VOID_EPOCH);
	COVER_IF(cause == VOID_NAME, VOID_NAME);
	rp->applied = r->index;
	arena_reset(&rp->turn);
	rp->events->applied(rp->ctx, r, v, cause);
	if (r->kind == REC_AUDIT && v == VERDICT_OK)
		rp->events->audit(rp->ctx, r);
}

bool replica_apply(struct replica *rp, const struct record *r, int64_t *budget, enum verdict *verdict_out)
{
	enum void_cause cause = VOID_NONE;
	enum verdict v = VERDICT_OK;

	ASSERT_OP(r->index, ==, rp->applied + 1);
	if (!rp->cur.active) {
		v = judge(rp, r, &cause);
		if (!record_kind_leaders(r->kind) && v != VERDICT_DUP && root_member(rp, r->engine)) /* a void uses it up */
			root_set_last_seq(rp, r->index, root_member(rp, r->engine), r->seq);
		--*budget;
		if (v == VERDICT_OK && r->kind == REC_COMMIT && !replica_needs(rp, r, r->index, NULL)) {
			commit_end(rp, r);
		} else if (v == VERDICT_OK && r->kind == REC_COMMIT) {
			commit_begin(rp, r);
		} else if (v == VERDICT_OK) {
			cause = apply_other(rp, r);
			if (cause)
				v = VERDICT_VOID;
		} else if (r->kind == REC_COMMIT && v == VERDICT_VOID) {
			parts_end(rp, r, false);
		}
	}
	if (rp->cur.active) {
		if (!commit_continue(rp, r, budget))
			return false;
		rp->cur.active = false;
		commit_end(rp, r);
	}
	*verdict_out = v;
	done(rp, r, v, cause);
	return true;
}

/* -- replay for one fetched copy (S10) ----------------------------------------------------------------------- */

static void replay_payload(struct replica *rp, const struct record *r, const void *payload, size_t bytes,
			   uint32_t *ordinal)
{
	struct op op;

	op_reader_start(&rp->replay_ops, payload, bytes);
	while (op_next(&rp->replay_ops, &op) == ST_OK)
		apply_op(rp, &op, r, ordinal);
}

static void replay_commit(struct replica *rp, const struct record *r)
{
	uint32_t ordinal = 0;

	if (!replica_needs(rp, r, r->index, rp->only))
		return;
	ASSERT(r->payload || !r->payload_bytes);
	if (r->parts) {
		struct part_set *s = part_set_find(rp, r);

		ASSERT(s && s->parts.count == r->parts);
		for (size_t i = 0; i < s->parts.count; i++)
			if (s->parts.at[i]->payload)
				replay_payload(rp, r, s->parts.at[i]->payload, s->parts.at[i]->payload_bytes, &ordinal);
	}
	replay_payload(rp, r, r->payload, r->payload_bytes, &ordinal);
}

void replica_replay(struct replica *rp, const struct record *r, enum verdict v, struct frame *only)
{
	if (v != VERDICT_OK)
		return;
	rp->only = only;
	if (r->kind == REC_COMMIT)
		replay_commit(rp, r);
	else if (r->kind == REC_CREATE)
		(void)apply_create(rp, r);
	else if (r->kind == REC_SPLIT)
		(void)apply_split(rp, r);
	else if (r->kind == REC_MOVE || r->kind == REC_HOLD || r->kind == REC_DROP)
		(void)apply_atoms(rp, r);
	else if (r->kind == REC_RESERVE)
		(void)apply_reserve(rp, r);
	rp->only = NULL;
	arena_reset(&rp->turn);
}
