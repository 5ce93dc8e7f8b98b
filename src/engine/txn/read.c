/*
 * read.c - reading rows and keys: atoms as of the snapshot, with the transaction's own writes over them
 * (engine/txn).
 */
#include "engine/txn/txn_int.h"

#define SCAN_AHEAD_MAX 16 /* atoms that a scan has fetched before it comes to them */

static enum status too_old(struct error *err)
{
	error_set(err, ST_SNAPSHOT_TOO_OLD, "snapshot too old");
	error_hint(err, "old versions were dropped; retry the transaction");
	return ST_SNAPSHOT_TOO_OLD;
}

/* A routed atom, here and current; ST_WAIT: being fetched. */
static enum status route_ready(struct access *a, enum status st, struct route *route, atom_id need)
{
	if (st == ST_WAIT) {
		fetch_start(a->t, need);
		return access_wait(a, WAIT_ATOM, need);
	}
	if (st)
		return st;
	if (!route->frame) {
		fetch_start(a->t, route->atom);
		return access_wait(a, WAIT_ATOM, route->atom);
	}
	if (!replica_usable(a->t->rp, route->frame))
		return access_wait(a, WAIT_APPLIED, txns_applied(a->t) + 1);
	route->frame->last_use = txns_applied(a->t);
	return ST_OK;
}

/* -- values of the overlay in vectors -------------------------------------------------------------------- */

static void cell_to_vec(struct vec *v, uint32_t row, const struct cell *c)
{
	if (!c || c->null) {
		bit_set(v->nulls, row);
		return;
	}
	bit_clear(v->nulls, row);
	switch (v->phys) {
	case PHYS_BOOL:
		v->b[row] = (uint8_t)c->i;
		break;
	case PHYS_I16:
		v->i16[row] = (int16_t)c->i;
		break;
	case PHYS_I32:
		v->i32[row] = (int32_t)c->i;
		break;
	case PHYS_I64:
		v->i64[row] = c->i;
		break;
	case PHYS_F64:
		v->f64[row] = c->f;
		break;
	case PHYS_I128:
		v->i128[row] = c->x;
		break;
	default:
		v->var[row] = (struct slice){c->var, c->bytes, 0};
	}
}

static void vec_make(struct vec *v, uint8_t phys, uint32_t rows, struct arena *arena)
{
	v->phys = phys;
	v->constant = false;
	v->data = arena_alloc(arena, (size_t)phys_bytes(phys) * rows + 16);
	v->nulls = arena_alloc(arena, VEC_WORDS * sizeof *v->nulls);
}

/* A vector that may point into an image becomes our own before it is changed. */
static void vec_own(struct vec *v, uint32_t rows, struct arena *arena)
{
	struct vec copy;

	vec_make(&copy, v->phys, VEC_ROWS, arena);
	if (v->constant) { /* one value, for rows older than their column */
		size_t bytes = phys_bytes(v->phys);

		for (uint32_t i = 0; i < rows; i++)
			memcpy((uint8_t *)copy.data + i * bytes, v->data, bytes);
		if (vec_null(v, 0))
			memset(copy.nulls, 0xff, VEC_WORDS * sizeof *v->nulls);
	} else {
		memcpy(copy.data, v->data, (size_t)phys_bytes(v->phys) * rows);
		if (v->nulls)
			memcpy(copy.nulls, v->nulls, VEC_WORDS * sizeof *v->nulls);
	}
	*v = copy;
}

static const struct cell *version_cell(const struct overlay_version *v, const struct access_want *w)
{
	const struct cell *c = overlay_cell(v, w->attno);

	return c ? c : w->missing;
}

/* -- table scan ---------------------------------------------------------------------------------------------- */

struct scan_out {
	const struct access_want *want;
	uint32_t want_count;
	struct arena *arena;
	struct vec *out;
	row_id *rows;
	uint64_t live[VEC_WORDS];
	uint32_t slots;
	bool owned;
};

static void patch_row(struct access *a, struct scan_out *o, uint32_t slot, const struct overlay_row *r)
{
	const struct overlay_version *v = overlay_see(r, a->txn->stmt);

	if (!v)
		return;
	if (v->change == OVERLAY_DELETED) {
		bit_clear(o->live, slot);
		return;
	}
	for (uint32_t i = 0; i < o->want_count; i++) {
		const struct cell *c = overlay_cell(v, o->want[i].attno);

		if (!c)
			continue;
		if (!o->owned)
			for (uint32_t k = 0; k < o->want_count; k++)
				vec_own(&o->out[k], o->slots, o->arena);
		o->owned = true;
		cell_to_vec(&o->out[i], slot, c);
	}
}

static void patch_vector(struct access *a, struct scan_out *o, rel_id storage)
{
	struct overlay_table *t = overlay_table(&a->txn->overlay, storage);

	if (!t || !t->changed_count)
		return;
	if (t->changed_count < 16) {
		for (const struct overlay_row *r = t->first; r; r = r->next)
			if (!(r->row & ROW_ID_PROVISIONAL) && r->row >= o->rows[0] &&
			    r->row <= o->rows[o->slots - 1] && bit_get(o->live, (uint32_t)(r->row - o->rows[0])))
				patch_row(a, o, (uint32_t)(r->row - o->rows[0]), r);
		return;
	}
	for (uint32_t s = 0; s < o->slots; s++) {
		const struct overlay_row *r = bit_get(o->live, s) ? overlay_row(t, o->rows[s]) : NULL;

		if (r)
			patch_row(a, o, s, r);
	}
}

static uint32_t select_live(const uint64_t *live, uint32_t slots, uint16_t *sel)
{
	uint32_t n = 0;

	for (uint32_t w = 0; w * 64 < slots; w++) {
		uint64_t bits = live[w];

		while (bits) {
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(bits);

			bits &= bits - 1;
			if (i < slots)
				sel[n++] = (uint16_t)i;
		}
	}
	return n;
}

/* Own inserted rows, after the atoms. */
static enum status scan_overlay(struct access *a, const struct table_def *def, struct access_scan *scan,
				struct scan_out *o)
{
	struct overlay_table *t = overlay_table(&a->txn->overlay, def->storage);
	uint32_t n = 0;

	if (!t || scan->overlay_at >= t->inserted_count)
		return ST_END;
	memset(o->live, 0, sizeof o->live);
	for (uint32_t i = 0; i < o->want_count; i++)
		vec_make(&o->out[i], o->want[i].phys, VEC_ROWS, o->arena);
	while (n < VEC_ROWS && scan->overlay_at < t->inserted_count) {
		const struct overlay_row *r = t->inserted[scan->overlay_at++];
		const struct overlay_version *v = overlay_see(r, a->txn->stmt);

		if (!v || v->change == OVERLAY_DELETED)
			continue;
		o->rows[n] = r->row;
		for (uint32_t i = 0; i < o->want_count; i++)
			cell_to_vec(&o->out[i], n, version_cell(v, &o->want[i]));
		bit_set(o->live, n++);
	}
	o->slots = n;
	return ST_OK;
}

/*
 * A scan met an atom that is not here. Those behind it will be wanted next: several are on their way at a time, more
 * each time that it comes to one that is missing, since a scan that ends soon shall not have fetched much in vain.
 */
static void fetch_ahead(struct access *a, const struct table_def *def, struct access_scan *scan, const struct route *route)
{
	struct route r = *route;
	atom_id need = 0;

	fetch_start(a->t, route->atom);
	for (uint32_t i = 0; i < scan->ahead; i++) {
		if (r.hi <= r.lo || replica_route_row(a->t->rp, def->storage, r.hi, &r, &need) != ST_OK)
			break;
		if (!r.frame)
			fetch_start(a->t, r.atom);
	}
	if (route->atom == scan->missed)
		return;
	scan->missed = route->atom;
	scan->ahead = scan->ahead ? scan->ahead * 2 : 2;
	if (scan->ahead > SCAN_AHEAD_MAX)
		scan->ahead = SCAN_AHEAD_MAX;
}

enum status access_scan_next(struct access *a, const struct table_def *def, struct access_scan *scan,
			     const struct access_want *want, uint32_t want_count, struct arena *arena,
			     struct vec *out, row_id *row_ids_out, uint16_t *sel_out, uint32_t *sel_count_out,
			     uint32_t *slots_out, struct error *err)
{
	struct scan_out o = {.want = want, .want_count = want_count, .arena = arena, .out = out,
			     .rows = row_ids_out};
	enum status st = access_check(a, err);

	if (st)
		return st;
	while (scan->stage == 0) {
		struct route route;
		atom_id need = 0;
		row_id first;

		st = replica_route_row(a->t->rp, def->storage, scan->next, &route, &need);
		if (st == ST_END) {
			serial_read_rows(a, def->storage, scan->next, 0);
			scan->stage = 1;
			break;
		}
		if (st == ST_OK && !route.frame)
			fetch_ahead(a, def, scan, &route);
		st = route_ready(a, st, &route, need);
		if (st)
			return st;
		first = scan->next > route.lo ? scan->next : route.lo;
		serial_read_rows(a, def->storage, scan->next, columns_hi(route.frame)); /* what may come there, too */
		st = columns_scan(replica_store(a->t->rp), route.frame, a->txn->snapshot,
				  (uint32_t)(first - columns_lo(route.frame)), (const struct col_want *)want,
				  want_count, arena, out, o.live, &o.slots);
		if (st)
			return too_old(err);
		if (!o.slots) {
			scan->next = columns_hi(route.frame);
			continue;
		}
		for (uint32_t i = 0; i < o.slots; i++)
			row_ids_out[i] = first + i;
		scan->next = first + o.slots;
		patch_vector(a, &o, def->storage);
		*slots_out = o.slots;
		*sel_count_out = select_live(o.live, o.slots, sel_out);
		return ST_OK;
	}
	st = scan_overlay(a, def, scan, &o);
	if (st)
		return st;
	*slots_out = o.slots;
	*sel_count_out = select_live(o.live, o.slots, sel_out);
	return ST_OK;
}

/* -- rows by id ------------------------------------------------------------------------------------------------ */

enum status access_row_get(struct access *a, const struct table_def *def, row_id row, const struct access_want *want,
			   uint32_t want_count, struct cell *cells_out, bool *live_out, struct error *err)
{
	struct overlay_table *t = overlay_table(&a->txn->overlay, def->storage);
	const struct overlay_row *r = t ? overlay_row(t, row) : NULL;
	const struct overlay_version *v = r ? overlay_see(r, a->txn->stmt) : NULL;
	struct route route;
	atom_id need = 0;
	enum status st = access_check(a, err);

	*live_out = false;
	if (st)
		return st;
	if (v && v->change == OVERLAY_DELETED)
		return ST_OK;
	if (row & ROW_ID_PROVISIONAL) {
		static const struct cell null = {.null = true};

		if (!v)
			return ST_OK;
		for (uint32_t i = 0; i < want_count; i++) {
			const struct cell *c = version_cell(v, &want[i]);

			cells_out[i] = c ? *c : null;
		}
		*live_out = true;
		return ST_OK;
	}
	serial_read_rows(a, def->storage, row, row + 1);
	st = replica_route_row(a->t->rp, def->storage, row, &route, &need);
	if (st == ST_END || (st == ST_OK && row < route.lo))
		return ST_OK;
	st = route_ready(a, st, &route, need);
	if (st)
		return st;
	st = columns_get(replica_store(a->t->rp), route.frame, a->txn->snapshot, row, (const struct col_want *)want,
			 want_count, cells_out, live_out);
	if (st)
		return too_old(err);
	for (uint32_t i = 0; v && *live_out && i < want_count; i++) {
		const struct cell *c = overlay_cell(v, want[i].attno);

		if (c)
			cells_out[i] = *c;
	}
	return ST_OK;
}

enum status access_rows_get(struct access *a, const struct table_def *def, const row_id *rows, uint32_t count,
			    const struct access_want *want, uint32_t want_count, struct arena *arena, struct vec *out,
			    bool *live_out, struct error *err)
{
	struct cell *cells;
	enum status st = access_check(a, err);

	if (st)
		return st;
	ASSERT_OP(count, <=, VEC_ROWS);
	/* resolve all first: nothing is handed out before the last one is here */
	for (uint32_t i = 0; i < count; i++) {
		struct route route;
		atom_id need = 0;

		if (rows[i] & ROW_ID_PROVISIONAL)
			continue;
		st = replica_route_row(a->t->rp, def->storage, rows[i], &route, &need);
		if (st == ST_END)
			continue;
		st = route_ready(a, st, &route, need);
		if (st)
			return st;
	}
	cells = ARENA_NEW_N(arena, struct cell, want_count + 1);
	for (uint32_t i = 0; i < want_count; i++)
		vec_make(&out[i], want[i].phys, count ? count : 1, arena);
	for (uint32_t i = 0; i < count; i++) {
		st = access_row_get(a, def, rows[i], want, want_count, cells, &live_out[i], err);
		if (st)
			return st;
		for (uint32_t k = 0; k < want_count && live_out[i]; k++)
			cell_to_vec(&out[k], i, &cells[k]);
	}
	return ST_OK;
}

/* -- index lookups ---------------------------------------------------------------------------------------------- */

enum status access_index_get(struct access *a, const struct table_def *def, const struct index_def *ix,
			     const void *key, uint32_t key_len, row_id *row_out, struct error *err)
{
	struct overlay_index *x = overlay_index(&a->txn->overlay, ix->storage);
	struct overlay_key *k = x ? overlay_key_find(x, key, key_len) : NULL;
	const struct overlay_key_version *v = k ? overlay_key_see(k, a->txn->stmt) : NULL;
	struct route route;
	struct slice value;
	atom_id need = 0;
	enum status st = access_check(a, err);

	(void)def;
	*row_out = 0;
	if (st)
		return st;
	if (v) {
		*row_out = v->present ? v->row : 0;
		return ST_OK;
	}
	st = replica_route_key(a->t->rp, ix->storage, key, key_len, &route, &need);
	if (st == ST_END)
		return ST_OK; /* an index that this transaction makes */
	serial_read_key(a, ix->storage, key, key_len);
	st = route_ready(a, st, &route, need);
	if (st)
		return st;
	st = leaf_get(replica_store(a->t->rp), route.frame, a->txn->snapshot, key, key_len, &value);
	if (st == ST_END)
		return ST_OK;
	if (st)
		return too_old(err);
	memcpy(row_out, value.p, sizeof *row_out);
	return ST_OK;
}

static int compare(const void *a, uint32_t a_len, const void *b, uint32_t b_len)
{
	uint32_t n = a_len < b_len ? a_len : b_len;
	int c = n ? memcmp(a, b, n) : 0;

	return c ? c : (a_len > b_len) - (a_len < b_len);
}

static bool in_range(const struct access_index_scan *s, const void *key, uint32_t key_len)
{
	if (compare(key, key_len, s->lo, s->lo_len) < 0)
		return false;
	return !s->hi_len || compare(key, key_len, s->hi, s->hi_len) < 0;
}

/* Where the scan stands: the bound to go on from, and whether that key itself was returned already. */
static void scan_from(const struct access_index_scan *s, const uint8_t **from, uint32_t *len, bool *exclusive)
{
	if (s->started) {
		*from = s->last;
		*len = s->last_len;
		*exclusive = !s->at_bound;
	} else if (s->backward) {
		*from = s->hi_len ? s->hi : NULL;
		*len = s->hi_len;
		*exclusive = true;
	} else {
		*from = s->lo;
		*len = s->lo_len;
		*exclusive = false;
	}
}

struct index_out { uint32_t max, count; row_id *rows; struct slice *keys; struct arena *arena; };

static void index_emit(struct index_out *o, struct slice key, row_id row)
{
	o->rows[o->count] = row;
	if (o->keys)
		o->keys[o->count] = (struct slice){arena_dup(o->arena, key.p, key.bytes), key.bytes, 0};
	o->count++;
}

static void scan_moved(struct access_index_scan *s, struct slice key)
{
	memmove(s->last, key.p, key.bytes);
	s->last_len = key.bytes;
	s->started = true;
	s->at_bound = false;
}

/* Next own key after from in the scan's direction; NULL none in range. */
static struct overlay_key *own_next(const struct overlay_index *x, const struct access_index_scan *s,
				    const uint8_t *from, uint32_t len, bool exclusive)
{
	struct overlay_key *k;

	if (!x)
		return NULL;
	k = s->backward ? overlay_key_seek_back(x, from, len, exclusive) : overlay_key_seek(x, from, len, exclusive);
	return k && in_range(s, k->key, k->key_len) ? k : NULL;
}

/* Merges the committed entries of one leaf with own keys up to where the leaf's knowledge ends. */
static void merge(struct access *a, const struct overlay_index *x, struct access_index_scan *s,
		  const struct leaf_entry *e, uint32_t count, bool leaf_done, struct slice bound, bool last_leaf,
		  struct index_out *o)
{
	uint32_t i = 0;

	while (o->count < o->max) {
		const uint8_t *from;
		uint32_t len;
		bool exclusive;
		struct overlay_key *k;
		int c;

		scan_from(s, &from, &len, &exclusive);
		k = own_next(x, s, from, len, exclusive);
		/* own keys beyond what this leaf could show wait for the next one */
		if (k && i == count) {
			if (!leaf_done)
				return;
			if (!last_leaf) {
				c = compare(k->key, k->key_len, bound.p, bound.bytes);
				if (s->backward ? c < 0 : c >= 0)
					k = NULL;
			}
		}
		if (i == count && !k)
			return;
		if (i == count)
			c = 1;
		else if (!k)
			c = -1;
		else
			c = compare(e[i].key.p, e[i].key.bytes, k->key, k->key_len) * (s->backward ? -1 : 1);
		if (c < 0) {
			row_id row;

			memcpy(&row, e[i].value.p, sizeof row);
			scan_moved(s, e[i].key);
			index_emit(o, e[i].key, row);
			i++;
		} else {
			const struct overlay_key_version *v = overlay_key_see(k, a->txn->stmt);
			struct slice key = {k->key, k->key_len, 0};

			if (c == 0 && !v) { /* undone or of this statement: the committed one counts */
				row_id row;

				memcpy(&row, e[i].value.p, sizeof row);
				index_emit(o, key, row);
			} else if (v && v->present) {
				index_emit(o, key, v->row);
			}
			if (c == 0)
				i++;
			scan_moved(s, key);
		}
	}
}

static enum status scan_route(struct access *a, const struct index_def *ix, struct access_index_scan *s,
			      struct route *route)
{
	struct replica *rp = a->t->rp;
	const uint8_t *from;
	uint32_t len;
	bool exclusive;
	atom_id need = 0;
	enum status st;

	scan_from(s, &from, &len, &exclusive);
	if (!s->backward)
		st = replica_route_key(rp, ix->storage, from, len, route, &need);
	else if (!from)
		st = replica_route_last_key(rp, ix->storage, route, &need);
	else
		st = replica_route_key_before(rp, ix->storage, from, len, route, &need);
	return route_ready(a, st, route, need);
}

static enum status index_next(struct access *a, const struct table_def *def, const struct index_def *ix,
			      struct access_index_scan *s, uint32_t max, struct arena *arena, row_id *row_ids_out,
			      struct slice *keys_out, uint32_t *count_out, struct error *err)
{
	struct overlay_index *x = overlay_index(&a->txn->overlay, ix->storage);
	struct index_out o = {max, 0, row_ids_out, keys_out, arena};
	enum status st = access_check(a, err);

	(void)def;
	*count_out = 0;
	if (st)
		return st;
	while (!s->done && o.count < max) {
		uint32_t ask = max - o.count > 256 ? 256 : max - o.count, count = 0, kept = 0;
		struct arena_mark mark = arena_mark(&a->turn);
		struct leaf_entry *e = ARENA_NEW_N(&a->turn, struct leaf_entry, ask);
		struct route route;
		struct slice bound;
		const uint8_t *from;
		uint32_t len;
		bool exclusive, last_leaf, leaf_done;

		st = scan_route(a, ix, s, &route);
		if (st == ST_END) { /* an index without atoms yet: own keys only */
			merge(a, x, s, NULL, 0, true, (struct slice){0}, true, &o);
			s->done = o.count < max;
			arena_rewind(&a->turn, mark);
			break;
		}
		if (st) {
			arena_rewind(&a->turn, mark);
			if (o.count) /* hand out what is there; the wait comes with the next call */
				break;
			return st;
		}
		scan_from(s, &from, &len, &exclusive);
		st = leaf_scan(replica_store(a->t->rp), route.frame, a->txn->snapshot, from, len, exclusive,
			       s->backward, ask, &a->turn, e, &count);
		if (st)
			return too_old(err);
		leaf_done = count < ask;
		while (kept < count && in_range(s, e[kept].key.p, e[kept].key.bytes))
			kept++;
		bound = s->backward ? route.lo_key : route.hi_key;
		last_leaf = kept < count || bound.bytes == 0 ||
			    (s->backward ? compare(bound.p, bound.bytes, s->lo, s->lo_len) <= 0
					 : s->hi_len && compare(bound.p, bound.bytes, s->hi, s->hi_len) >= 0);
		leaf_done = leaf_done || kept < count;
		merge(a, x, s, e, kept, leaf_done, bound, last_leaf, &o);
		if (leaf_done && o.count < max) {
			if (last_leaf) {
				s->done = true;
			} else { /* go on at the next leaf */
				scan_moved(s, bound);
				s->at_bound = !s->backward; /* going back, the bound is another leaf's */
			}
		}
		arena_rewind(&a->turn, mark);
	}
	*count_out = o.count;
	return o.count ? ST_OK : ST_END;
}

/* What lies between two positions of a scan was read, whatever there was; of the last key returned it is known that it is. */
static void note_scan(struct access *a, rel_id storage, const struct access_index_scan *before,
		      const struct access_index_scan *after)
{
	const struct access_index_scan *end = after->done ? NULL : after;
	struct slice lo = {after->lo, after->lo_len, 0}, hi = {after->hi, after->hi_len, 0};
	uint8_t last[sizeof after->last + 1];

	if (!after->done && !after->started)
		return; /* it waits for its first leaf */
	if (!after->backward) {
		if (before->started)
			lo = (struct slice){before->last, before->last_len, 0};
		if (end) {
			memcpy(last, end->last, end->last_len);
			last[end->last_len] = 0;
			hi = (struct slice){last, end->last_len + !end->at_bound, 0};
		}
	} else {
		if (before->started) {
			memcpy(last, before->last, before->last_len);
			last[before->last_len] = 0;
			hi = (struct slice){last, before->last_len + 1, 0};
		}
		if (end)
			lo = (struct slice){end->last, end->last_len, 0};
	}
	serial_read_keys(a, storage, lo, hi);
}

enum status access_index_next(struct access *a, const struct table_def *def, const struct index_def *ix,
			      struct access_index_scan *s, uint32_t max, struct arena *arena, row_id *row_ids_out,
			      struct slice *keys_out, uint32_t *count_out, struct error *err)
{
	struct access_index_scan before;
	enum status st;

	if (!serial_notes(a) || s->done)
		return index_next(a, def, ix, s, max, arena, row_ids_out, keys_out, count_out, err);
	before = *s;
	st = index_next(a, def, ix, s, max, arena, row_ids_out, keys_out, count_out, err);
	note_scan(a, ix->storage, &before, s);
	return st;
}

void access_estimate(struct access *a, const struct table_def *t, uint64_t *rows_out, uint64_t *atoms_out)
{
	struct replica *rp = a->t->rp;
	struct route route;
	atom_id need = 0;
	uint64_t rows = 0, seen = 0, atoms = replica_storage_atoms(rp, t->storage, false, &need);
	row_id at = 0;

	while (seen < 8 && replica_route_row(rp, t->storage, at, &route, &need) == ST_OK) {
		if (route.frame) {
			rows += columns_live_count(route.frame);
			seen++;
		}
		at = route.hi;
	}
	*atoms_out = atoms;
	*rows_out = seen ? rows * atoms / seen : 0;
}
