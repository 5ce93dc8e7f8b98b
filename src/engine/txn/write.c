/*
 * write.c - locks of statements, and what they put into the overlay (engine/txn).
 */
#include "base/cover.h"
#include "engine/txn/txn_int.h"

#define FLOW_BYTES (256u << 20) /* an overlay over this is refused: a transaction this large needs another way */

/* -- locks ---------------------------------------------------------------------------------------------- */

static enum status changed_since(struct access *a, struct error *err)
{
	if (a->txn->iso == ISOLATION_READ_COMMITTED)
		return ST_AGAIN;
	COVER(FIRST_UPDATER_WINS);
	return error_set(err, ST_SERIALIZATION, "could not serialize access due to concurrent update");
}

static enum status may_write(struct access *a, struct error *err)
{
	if (a->txn->read_only)
		return error_set(err, ST_READ_ONLY, "cannot execute a writing statement in a read-only transaction");
	return ST_OK;
}

enum status access_lock_rows(struct access *a, const struct table_def *t, const row_id *rows, uint32_t count,
			     enum row_lock mode, bool nowait, struct error *err)
{
	struct txn *x = a->txn;
	const uint8_t **keys;
	uint32_t *lens, n = 0;
	seq_index newest = 0;
	struct arena_mark mark = arena_mark(&a->turn);
	enum status st = access_check(a, err);

	if (st)
		return st;
	keys = ARENA_NEW_N(&a->turn, const uint8_t *, count + 1);
	lens = ARENA_NEW_N(&a->turn, uint32_t, count + 1);
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *key;

		if (rows[i] & ROW_ID_PROVISIONAL)
			continue; /* nobody else knows it */
		key = arena_alloc(&a->turn, 17);
		lens[n] = lock_key_row(key, t->storage, rows[i]);
		keys[n++] = key;
	}
	st = grants_acquire(a, keys, lens, n, mode, nowait, err);
	for (uint32_t i = 0; !st && i < n; i++) {
		const struct held_lock *h = bmap_find(&x->held, keys[i], lens[i]);

		if (h->value > newest)
			newest = h->value;
	}
	arena_rewind(&a->turn, mark);
	if (st == ST_AGAIN)
		return changed_since(a, err);
	if (st)
		return st;
	if (x->inherited_fresh) {
		x->inherited_fresh = false;
		return changed_since(a, err);
	}
	if (newest > x->snapshot) {
		if (newest != UINT64_MAX && newest > a->need_applied)
			a->need_applied = newest; /* the floor that the next snapshot must cover */
		return changed_since(a, err);
	}
	return ST_OK;
}

enum status access_lock_keys(struct access *a, const struct table_def *t, const struct index_def *ix,
			     const struct slice *keys, uint32_t count, row_id *taken_out, struct error *err)
{
	struct txn *x = a->txn;
	struct overlay_index *own = overlay_index(&x->overlay, ix->storage);
	const uint8_t **names;
	uint32_t *lens;
	struct arena_mark mark = arena_mark(&a->turn);
	struct route route;
	atom_id need = 0;
	enum status st = access_check(a, err);
	bool fresh;

	(void)t;
	if (st)
		return st;
	/* an index that only this transaction knows has no originator to ask */
	st = replica_route_key(a->t->rp, ix->storage, "", 0, &route, &need);
	if (st == ST_WAIT) {
		fetch_start(a->t, need);
		return access_wait(a, WAIT_ATOM, need);
	}
	fresh = st == ST_END;
	names = ARENA_NEW_N(&a->turn, const uint8_t *, count + 1);
	lens = ARENA_NEW_N(&a->turn, uint32_t, count + 1);
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *name = arena_alloc(&a->turn, keys[i].bytes + 9);

		lens[i] = lock_key_key(name, ix->storage, keys[i].p, keys[i].bytes);
		names[i] = name;
	}
	st = fresh ? ST_OK : grants_acquire(a, names, lens, count, ROW_LOCK_UPDATE, false, err);
	for (uint32_t i = 0; !st && i < count; i++) {
		const struct held_lock *h = fresh ? NULL : bmap_find(&x->held, names[i], lens[i]);
		struct overlay_key *k = own ? overlay_key_find(own, keys[i].p, keys[i].bytes) : NULL;

		taken_out[i] = h ? h->value : 0;
		if (h && h->value && h->floor > a->need_applied)
			a->need_applied = h->floor; /* P9: the next snapshot sees the row that has the key */
		if (h && !h->value && h->floor > a->free_as_of)
			a->free_as_of = h->floor;
		if (k && k->newest)
			taken_out[i] = k->newest->present ? k->newest->row : 0;
	}
	arena_rewind(&a->turn, mark);
	return st == ST_AGAIN ? changed_since(a, err) : st;
}

/* -- puts -------------------------------------------------------------------------------------------------- */

/* A key as it stands in the index: with the row id behind it where equal keys may be many. */
static void put_key(struct access *a, const struct index_def *ix, struct slice key, bool has_null, row_id row,
		    bool present)
{
	struct txn *x = a->txn;
	uint8_t whole[LEAF_KEY_MAX + 8];
	bool suffixed = !ix->unique || has_null;
	uint32_t len = key.bytes;

	ASSERT_OP(len, <=, LEAF_KEY_MAX - 8);
	memcpy(whole, key.p, len);
	if (suffixed) {
		uint64_t be = __builtin_bswap64(row);

		memcpy(whole + len, &be, 8);
		len += 8;
	}
	overlay_put_key(&x->overlay, ix->table, ix->storage, suffixed, x->stmt, whole, len, present, row);
}

void access_put_insert(struct access *a, const struct table_def *t, const struct cell *cells, uint32_t cell_count,
		       const struct access_key *keys, uint32_t key_count, uint64_t null_keys, row_id *row_out)
{
	struct txn *x = a->txn;

	x->wrote = true;
	a->row_too_large = a->row_too_large || commit_row_bytes(cells, cell_count) > ROW_OP_MAX;
	*row_out = overlay_insert(&x->overlay, t->id, t->storage, x->stmt, cells, cell_count);
	for (uint32_t i = 0; i < key_count; i++)
		put_key(a, keys[i].index, keys[i].key, null_keys >> i & 1, *row_out, true);
}

void access_put_update(struct access *a, const struct table_def *t, row_id row, const struct cell *cells,
		       uint32_t cell_count, const struct access_key *removed, uint64_t removed_null_keys,
		       const struct access_key *added, uint64_t added_null_keys, uint32_t removed_count,
		       uint32_t added_count)
{
	struct txn *x = a->txn;
	const struct overlay_version *whole;

	x->wrote = true;
	overlay_update(&x->overlay, t->id, t->storage, x->stmt, row, cells, cell_count);
	/* with what this transaction changed of it before */
	whole = overlay_row(overlay_table(&x->overlay, t->storage), row)->newest;
	a->row_too_large = a->row_too_large || commit_row_bytes(whole->cells, whole->cell_count) > ROW_OP_MAX;
	for (uint32_t i = 0; i < removed_count; i++)
		put_key(a, removed[i].index, removed[i].key, removed_null_keys >> i & 1, row, false);
	for (uint32_t i = 0; i < added_count; i++)
		put_key(a, added[i].index, added[i].key, added_null_keys >> i & 1, row, true);
}

void access_put_delete(struct access *a, const struct table_def *t, row_id row, const struct access_key *removed,
		       uint32_t removed_count, uint64_t removed_null_keys)
{
	struct txn *x = a->txn;

	x->wrote = true;
	overlay_delete(&x->overlay, t->id, t->storage, x->stmt, row);
	for (uint32_t i = 0; i < removed_count; i++)
		put_key(a, removed[i].index, removed[i].key, removed_null_keys >> i & 1, row, false);
}

void access_put_index_entries(struct access *a, const struct table_def *t, const struct index_def *ix,
			      const struct slice *keys, const row_id *rows, const bool *has_null, uint32_t count,
			      bool sorted)
{
	(void)t;
	(void)sorted;
	a->txn->wrote = true;
	for (uint32_t i = 0; i < count; i++)
		put_key(a, ix, keys[i], has_null[i], rows[i], true);
}

enum status access_flow(struct access *a, struct error *err)
{
	enum status st = access_check(a, err);

	if (st)
		return st;
	st = may_write(a, err);
	if (st)
		return st;
	if (a->row_too_large)
		return error_set(err, ST_PROGRAM_LIMIT, "row is too large: the values that a statement writes may take "
				 "%u KiB", ROW_OP_MAX >> 10);
	if (a->txn->overlay.bytes > (uint64_t)FLOW_BYTES * 8)
		return error_set(err, ST_PROGRAM_LIMIT, "transaction writes more than %u MiB",
				 (FLOW_BYTES >> 20) * 8);
	return ST_OK;
}
