/*
 * dml.c - changing rows, a vector at a time.
 */
#include "engine/sql/dml.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "engine/sql/exec_key.h"

enum phase { DML_CHECK, DML_ROWS, DML_KEYS, DML_PUT, DML_FLOW, DML_CONFLICT_READ, DML_CONFLICT_RUN, DML_DONE };

void dml_init(struct dml *d, struct exec *ex, const struct plan_modify *plan)
{
	memset(d, 0, sizeof *d);
	d->ex = ex;
	d->plan = plan;
	d->table = plan->table;
	d->phase = DML_DONE;
	arena_init(&d->arena, ex->mem);
	buf_init(&d->key_buf, ex->mem);
	map_init(&d->touched, ex->mem);
}

void dml_fini(struct dml *d)
{
	if (d->update) {
		dml_fini(d->update);
		MEM_FREE(d->ex->mem, d->update);
	}
	map_fini(&d->touched);
	buf_fini(&d->key_buf);
	arena_fini(&d->arena);
}

void dml_reset(struct dml *d)
{
	d->phase = DML_DONE;
	d->n = 0;
	d->affected = 0;
	map_clear(&d->touched);
	if (d->update)
		dml_reset(d->update);
}

void dml_batch(struct dml *d, uint8_t kind, uint32_t n)
{
	uint32_t cols = d->table->column_count;
	struct arena *a = &d->arena;

	ASSERT(d->phase == DML_DONE);
	arena_reset(a);
	d->kind = kind;
	d->phase = DML_CHECK;
	d->n = n;
	d->ids = ARENA_NEW_N(a, row_id, n + 1);
	d->skip = ARENA_NEW_N(a, bool, n + 1);
	d->old_cells = kind == Q_INSERT ? NULL : ARENA_NEW_N(a, struct cell, (size_t)n * cols + 1);
	d->new_cells = kind == Q_DELETE ? NULL : ARENA_NEW_N(a, struct cell, (size_t)n * cols + 1);
	d->conflicts = d->plan->conflict == CONFLICT_UPDATE && kind == Q_INSERT ? ARENA_NEW_N(a, row_id, n + 1) : NULL;
	d->keys = ARENA_NEW_N(a, struct dml_keys, d->table->index_count + 1);
	d->index_at = 0;
	d->update_count = 0;
}

/* -- errors ----------------------------------------------------------------------------------------------- */

static void row_detail(struct error *err, const struct table_def *t, const struct cell *cells, struct mem *mem)
{
	struct buf b;
	bool first = true;

	buf_init(&b, mem);
	for (uint32_t i = 0; i < t->column_count; i++) {
		size_t start;

		if (t->columns[i].dropped)
			continue;
		if (!first)
			buf_put(&b, ", ", 2);
		first = false;
		start = b.size;
		if (cells[i].null)
			buf_put(&b, "null", 4);
		else
			value_out((struct sql_type){t->columns[i].type_oid, t->columns[i].typmod}, &cells[i], &b);
		if (b.size - start > 64) {
			size_t cut = start + 64;

			while (cut > start && (b.data[cut] & 0xc0) == 0x80)
				cut--;
			buf_truncate(&b, cut);
			buf_put(&b, "...", 3);
		}
	}
	error_detail(err, "Failing row contains (%.*s).", (int)b.size, (const char *)b.data);
	buf_fini(&b);
}

static void error_names(struct error *err, const struct table_def *t, const char *constraint, const char *column)
{
	if (!err)
		return;
	snprintf(err->schema, sizeof err->schema, "%s", t->schema);
	snprintf(err->relation, sizeof err->relation, "%s", t->name);
	if (constraint)
		snprintf(err->constraint, sizeof err->constraint, "%s", constraint);
	if (column)
		snprintf(err->column, sizeof err->column, "%s", column);
}

enum status dml_contains_null(struct error *err, const struct table_def *t, uint16_t attno)
{
	(void)error_set(err, ST_NOT_NULL, "column \"%s\" of relation \"%s\" contains null values", t->columns[attno - 1].name,
			t->name);
	error_names(err, t, NULL, t->columns[attno - 1].name);
	return ST_NOT_NULL;
}

enum status dml_null_error(struct error *err, const struct table_def *t, uint16_t attno, const struct cell *cells)
{
	(void)error_set(err, ST_NOT_NULL, "null value in column \"%s\" of relation \"%s\" violates not-null constraint",
			t->columns[attno - 1].name, t->name);
	(void)cells;
	error_names(err, t, NULL, t->columns[attno - 1].name);
	return ST_NOT_NULL;
}

enum status dml_unique_error(struct exec *ex, const struct table_def *t, const struct index_def *ix,
			     const struct cell *cells)
{
	struct buf b;

	(void)error_set(ex->err, ST_UNIQUE, "duplicate key value violates unique constraint \"%s\"", ix->name);
	buf_init(&b, ex->mem);
	key_text(t, ix, cells, &b);
	error_detail(ex->err, "Key %.*s already exists.", (int)b.size, (const char *)b.data);
	buf_fini(&b);
	error_names(ex->err, t, ix->name, NULL);
	return ST_UNIQUE;
}

/* -- check ---------------------------------------------------------------------------------------------------- */

static bool is_set(const struct plan_modify *m, uint16_t attno)
{
	for (uint32_t i = 0; i < m->set_count; i++)
		if (m->set_attnos[i] == attno)
			return true;
	return false;
}

static enum status check_nulls(struct dml *d)
{
	const struct table_def *t = d->table;

	for (uint32_t c = 0; c < t->column_count; c++) {
		if (!t->columns[c].not_null || t->columns[c].dropped ||
		    (d->kind == Q_UPDATE && !is_set(d->plan, (uint16_t)(c + 1))))
			continue;
		for (uint32_t i = 0; i < d->n; i++)
			if (dml_new(d, i)[c].null && !d->skip[i]) {
				enum status st = dml_null_error(d->ex->err, t, (uint16_t)(c + 1), NULL);

				row_detail(d->ex->err, t, dml_new(d, i), d->ex->mem);
				return st;
			}
	}
	return ST_OK;
}

/* The new rows as vectors, slot attno - 1. */
static void new_rows(struct dml *d, struct vec_batch *b)
{
	const struct table_def *t = d->table;

	*b = (struct vec_batch){.rows = d->n, .n = d->n, .col_count = t->column_count};
	b->cols = ARENA_NEW_N(&d->arena, struct vec, t->column_count + 1);
	for (uint32_t c = 0; c < t->column_count; c++) {
		const struct type_info *ti = type_find(t->columns[c].type_oid);

		vec_alloc(&b->cols[c], ti ? ti->phys : PHYS_VAR, d->n, &d->arena);
		for (uint32_t i = 0; i < d->n; i++) {
			struct cell v = dml_new(d, i)[c];

			if (v.phys == PHYS_NONE)
				v.null = true;
			vec_set(&b->cols[c], i, &v);
		}
	}
}

static enum status check_checks(struct dml *d)
{
	struct vec_batch b;

	if (d->plan->check_count == 0 || d->kind == Q_DELETE)
		return ST_OK;
	new_rows(d, &b);
	for (uint32_t k = 0; k < d->plan->check_count; k++) {
		struct vec v;
		enum status st = exec_expr(d->ex, &d->arena, d->plan->checks[k], &b, &v);

		if (st)
			return st;
		for (uint32_t i = 0; i < d->n; i++) {
			uint32_t r = v.constant ? 0 : i;

			if (d->skip[i] || vec_null(&v, r) || v.b[r])
				continue;
			(void)error_set(d->ex->err, ST_CHECK, "new row for relation \"%s\" violates check constraint \"%s\"",
					d->table->name, d->plan->check_names[k]);
			row_detail(d->ex->err, d->table, dml_new(d, i), d->ex->mem);
			error_names(d->ex->err, d->table, d->plan->check_names[k], NULL);
			return ST_CHECK;
		}
	}
	return ST_OK;
}

static bool index_touched(const struct dml *d, const struct index_def *ix)
{
	if (d->kind != Q_UPDATE)
		return true;
	for (uint32_t i = 0; i < ix->column_count; i++)
		if (is_set(d->plan, ix->attnos[i]))
			return true;
	return false;
}

/* Keys of all rows for one index. */
static enum status make_keys(struct dml *d, const struct index_def *ix, struct cell *cells, struct slice **keys_out,
			     bool **nulls_out)
{
	uint32_t cols = d->table->column_count;
	struct slice *keys = ARENA_NEW_N(&d->arena, struct slice, d->n + 1);
	bool *nulls = ARENA_NEW_N(&d->arena, bool, d->n + 1);

	for (uint32_t i = 0; i < d->n; i++) {
		enum status st;

		buf_reset(&d->key_buf);
		st = key_of_row(d->table, ix, cells + (size_t)i * cols, &d->key_buf, &nulls[i], d->ex->err);
		if (st)
			return st;
		keys[i] = (struct slice){arena_dup(&d->arena, d->key_buf.data, d->key_buf.size),
					 (uint32_t)d->key_buf.size, 0};
	}
	*keys_out = keys;
	*nulls_out = nulls;
	return ST_OK;
}

static enum status all_keys(struct dml *d)
{
	for (uint32_t x = 0; x < d->table->index_count; x++) {
		const struct index_def *ix = &d->table->indexes[x];
		struct dml_keys *k = &d->keys[x];
		enum status st = ST_OK;

		if (!index_touched(d, ix))
			continue;
		if (d->old_cells)
			st = make_keys(d, ix, d->old_cells, &k->removed, &k->removed_null);
		if (!st && d->new_cells)
			st = make_keys(d, ix, d->new_cells, &k->added, &k->added_null);
		if (st)
			return st;
	}
	return ST_OK;
}

static enum status check_all(struct dml *d)
{
	enum status st = d->new_cells ? check_nulls(d) : ST_OK;

	if (!st)
		st = check_checks(d);
	if (!st)
		st = all_keys(d);
	return st;
}

/* -- locks ---------------------------------------------------------------------------------------------------- */

static enum status lock_rows(struct dml *d)
{
	enum row_lock mode = ROW_LOCK_UPDATE;

	if (d->kind == Q_INSERT || d->n == 0)
		return ST_OK;
	if (d->kind == Q_UPDATE) {
		mode = ROW_LOCK_NO_KEY_UPDATE; /* as PostgreSQL: unless a unique key changes */
		for (uint32_t x = 0; x < d->table->index_count; x++)
			if (d->table->indexes[x].unique && d->keys[x].added)
				mode = ROW_LOCK_UPDATE;
	}
	return access_lock_rows(d->ex->access, d->table, d->ids, d->n, mode, false, d->ex->err);
}

static bool key_same(const struct dml_keys *k, uint32_t i)
{
	return k->removed && k->added && k->removed[i].bytes == k->added[i].bytes &&
	       !memcmp(k->removed[i].p, k->added[i].p, k->added[i].bytes);
}

static bool arbiter(const struct dml *d, const struct index_def *ix)
{
	return d->kind == Q_INSERT && d->plan->conflict != CONFLICT_NONE &&
	       (!d->plan->conflict_index || d->plan->conflict_index->id == ix->id);
}

/* A row with the key is in the way of row i. */
static enum status key_taken(struct dml *d, const struct index_def *ix, uint32_t i, row_id taken)
{
	if (!arbiter(d, ix))
		return dml_unique_error(d->ex, d->table, ix, dml_new(d, i));
	d->skip[i] = true;
	if (d->plan->conflict == CONFLICT_NOTHING)
		return ST_OK;
	if (taken == 0 || map_find(&d->touched, taken)) {
		(void)error_set(d->ex->err, ST_CARDINALITY,
				"ON CONFLICT DO UPDATE command cannot affect row a second time");
		error_hint(d->ex->err, "Ensure that no rows proposed for insertion within the same command have duplicate "
				       "constrained values.");
		return ST_CARDINALITY;
	}
	map_put(&d->touched, taken, d);
	d->conflicts[i] = taken;
	return ST_OK;
}

/* Two rows of the batch with one key: open addressing over the rows added. */
static enum status batch_duplicates(struct dml *d, const struct index_def *ix, const struct dml_keys *k)
{
	uint32_t cap = 16, *slots;

	while (cap < d->n * 2)
		cap *= 2;
	slots = ARENA_NEW_N(&d->arena, uint32_t, cap);
	for (uint32_t i = 0; i < d->n; i++) {
		uint32_t at;

		if (d->skip[i] || k->added_null[i] || key_same(k, i))
			continue;
		at = (uint32_t)hash_bytes(k->added[i].p, k->added[i].bytes) & (cap - 1);
		while (slots[at]) {
			const struct slice *o = &k->added[slots[at] - 1];

			if (o->bytes == k->added[i].bytes && !memcmp(o->p, k->added[i].p, o->bytes))
				break;
			at = (at + 1) & (cap - 1);
		}
		if (slots[at]) {
			enum status st = key_taken(d, ix, i, 0);

			if (st)
				return st;
		} else {
			slots[at] = i + 1;
		}
	}
	return ST_OK;
}

/* Is the key in the way one that an earlier row of the batch gives up? */
static bool given_up(const struct dml *d, const struct dml_keys *k, uint32_t i, row_id taken)
{
	if (!k->removed)
		return false;
	for (uint32_t j = 0; j < i; j++)
		if (d->ids[j] == taken)
			return !key_same(k, j);
	return false;
}

static enum status lock_keys(struct dml *d, uint32_t x)
{
	const struct index_def *ix = &d->table->indexes[x];
	struct dml_keys *k = &d->keys[x];
	struct slice *keys;
	row_id *taken;
	uint32_t *rows, n = 0;
	enum status st;

	if (!ix->unique || (!k->added && !k->removed))
		return ST_OK;
	keys = ARENA_NEW_N(&d->arena, struct slice, 2 * d->n + 1);
	taken = ARENA_NEW_N(&d->arena, row_id, 2 * d->n + 1);
	rows = ARENA_NEW_N(&d->arena, uint32_t, 2 * d->n + 1);
	for (uint32_t i = 0; i < d->n; i++) {
		if (d->skip[i] || key_same(k, i))
			continue;
		if (k->added && !k->added_null[i]) {
			rows[n] = i;
			keys[n++] = k->added[i];
		}
		if (k->removed && !k->removed_null[i]) {
			rows[n] = UINT32_MAX;
			keys[n++] = k->removed[i];
		}
	}
	if (n == 0)
		return ST_OK;
	st = access_lock_keys(d->ex->access, d->table, ix, keys, n, taken, d->ex->err);
	if (st)
		return st;
	for (uint32_t j = 0; j < n; j++) {
		uint32_t i = rows[j];

		if (i == UINT32_MAX || taken[j] == 0 || (d->kind == Q_UPDATE && taken[j] == d->ids[i]) ||
		    given_up(d, k, i, taken[j]))
			continue;
		st = key_taken(d, ix, i, taken[j]);
		if (st)
			return st;
	}
	return k->added ? batch_duplicates(d, ix, k) : ST_OK;
}

/* The arbiter first: a row that it turns away is not held against other constraints. */
static uint32_t index_order(const struct dml *d, uint32_t i)
{
	uint32_t first = 0;

	if (!d->plan->conflict_index || d->kind != Q_INSERT)
		return i;
	while (first < d->table->index_count && d->table->indexes[first].id != d->plan->conflict_index->id)
		first++;
	if (first == d->table->index_count)
		return i;
	return i == 0 ? first : i <= first ? i - 1 : i;
}

/* -- put ---------------------------------------------------------------------------------------------------------- */

static enum status to_storage(struct dml *d, uint16_t attno, const struct cell *v, struct cell *out)
{
	const struct column_def *c = &d->table->columns[attno - 1];
	const struct type_info *ti = type_find(c->type_oid);
	enum status st = ST_OK;

	if (v->null || v->phys == PHYS_NONE)
		*out = (struct cell){.null = true};
	else if (ti && ti->phys == c->phys)
		*out = *v;
	else
		st = value_to_storage((struct sql_type){c->type_oid, c->typmod}, v, &d->arena, out, d->ex->err);
	out->attno = attno;
	out->phys = c->phys;
	return st;
}

static enum status put_insert(struct dml *d)
{
	const struct table_def *t = d->table;
	struct cell *stored = ARENA_NEW_N(&d->arena, struct cell, (size_t)t->column_count * d->n + 1);
	struct access_key *keys = ARENA_NEW_N(&d->arena, struct access_key, t->index_count + 1);
	uint32_t cols = 0;

	/* what can fail goes before the first put */
	for (uint32_t c = 0; c < t->column_count; c++) {
		if (t->columns[c].dropped)
			continue;
		for (uint32_t i = 0; i < d->n; i++) {
			enum status st = to_storage(d, (uint16_t)(c + 1), &dml_new(d, i)[c],
						    &stored[(size_t)i * t->column_count + cols]);

			if (st)
				return st;
		}
		cols++;
	}
	for (uint32_t i = 0; i < d->n; i++) {
		uint64_t nulls = 0;

		if (d->skip[i])
			continue;
		for (uint32_t x = 0; x < t->index_count; x++) {
			keys[x] = (struct access_key){&t->indexes[x], d->keys[x].added[i]};
			nulls |= (uint64_t)d->keys[x].added_null[i] << x;
		}
		access_put_insert(d->ex->access, t, stored + (size_t)i * t->column_count, cols, keys, t->index_count,
				  nulls, &d->ids[i]);
		if (d->conflicts)
			map_put(&d->touched, d->ids[i], d);
		d->affected++;
	}
	return ST_OK;
}

static enum status put_update(struct dml *d)
{
	const struct table_def *t = d->table;
	const struct plan_modify *m = d->plan;
	struct cell *stored = ARENA_NEW_N(&d->arena, struct cell, (size_t)m->set_count * d->n + 1);
	struct access_key *removed = ARENA_NEW_N(&d->arena, struct access_key, t->index_count + 1);
	struct access_key *added = ARENA_NEW_N(&d->arena, struct access_key, t->index_count + 1);

	for (uint32_t c = 0; c < m->set_count; c++)
		for (uint32_t i = 0; i < d->n; i++) {
			enum status st = to_storage(d, m->set_attnos[c], &dml_new(d, i)[m->set_attnos[c] - 1],
						    &stored[(size_t)i * m->set_count + c]);

			if (st)
				return st;
		}
	for (uint32_t i = 0; i < d->n; i++) {
		uint64_t removed_nulls = 0, added_nulls = 0;
		uint32_t n = 0;

		for (uint32_t x = 0; x < t->index_count; x++) {
			const struct dml_keys *k = &d->keys[x];

			if (!k->added || key_same(k, i))
				continue;
			removed[n] = (struct access_key){&t->indexes[x], k->removed[i]};
			added[n] = (struct access_key){&t->indexes[x], k->added[i]};
			removed_nulls |= (uint64_t)k->removed_null[i] << n;
			added_nulls |= (uint64_t)k->added_null[i] << n;
			n++;
		}
		access_put_update(d->ex->access, t, d->ids[i], stored + (size_t)i * m->set_count, m->set_count, removed,
				  removed_nulls, added, added_nulls, n, n);
		d->affected++;
	}
	return ST_OK;
}

static void put_delete(struct dml *d)
{
	const struct table_def *t = d->table;
	struct access_key *removed = ARENA_NEW_N(&d->arena, struct access_key, t->index_count + 1);

	for (uint32_t i = 0; i < d->n; i++) {
		uint64_t nulls = 0;

		for (uint32_t x = 0; x < t->index_count; x++) {
			removed[x] = (struct access_key){&t->indexes[x], d->keys[x].removed[i]};
			nulls |= (uint64_t)d->keys[x].removed_null[i] << x;
		}
		access_put_delete(d->ex->access, t, d->ids[i], removed, t->index_count, nulls);
		d->affected++;
	}
}

/* -- ON CONFLICT DO UPDATE ------------------------------------------------------------------------------------------ */

static enum status conflict_old_rows(struct dml *d, const row_id *ids, uint32_t n, struct vec *out, bool *live)
{
	const struct table_def *t = d->table;
	struct access_want *wants = ARENA_NEW_N(&d->arena, struct access_want, t->column_count + 1);
	struct vec *stored = ARENA_NEW_N(&d->arena, struct vec, t->column_count + 1);
	uint32_t w = 0;
	enum status st;

	for (uint32_t c = 0; c < t->column_count; c++) {
		const struct column_def *def = &t->columns[c];

		if (!def->dropped)
			wants[w++] = (struct access_want){def->attno, def->phys, def->has_missing ? &def->missing : NULL};
	}
	st = access_rows_get(d->ex->access, t, ids, n, wants, w, &d->arena, stored, live, d->ex->err);
	if (st)
		return st;
	for (uint32_t i = 0; i < w; i++) {
		const struct column_def *def = &t->columns[wants[i].attno - 1];
		const struct type_info *ti = type_find(def->type_oid);
		struct vec v = stored[i];
		struct vec_batch b = {.rows = n, .n = n, .col_count = 1, .cols = &v}, copy;

		if (ti && ti->phys != v.phys)
			vec_from_storage((struct sql_type){def->type_oid, def->typmod}, &stored[i], NULL, n, n,
					 &d->arena, &v);
		batch_copy(&b, &d->arena, &copy); /* locks may wait: nothing may point into an image */
		out[wants[i].attno - 1] = copy.cols[0];
	}
	return ST_OK;
}

static enum status conflict_read(struct dml *d)
{
	const struct table_def *t = d->table;
	const struct plan_modify *m = d->plan;
	struct vec_batch b = {.col_count = 2u * t->column_count};
	uint32_t n = 0, cols = t->column_count;
	row_id *ids = ARENA_NEW_N(&d->arena, row_id, d->n + 1);
	uint32_t *from = ARENA_NEW_N(&d->arena, uint32_t, d->n + 1);
	bool *live = ARENA_NEW_N(&d->arena, bool, d->n + 1);
	struct vec *sets = ARENA_NEW_N(&d->arena, struct vec, m->set_count + 1);
	enum status st;

	for (uint32_t i = 0; i < d->n; i++)
		if (d->conflicts[i]) {
			from[n] = i;
			ids[n++] = d->conflicts[i];
		}
	if (n == 0)
		return ST_OK;
	st = access_lock_rows(d->ex->access, t, ids, n, ROW_LOCK_UPDATE, false, d->ex->err);
	if (st)
		return st;
	b.rows = b.n = n;
	b.cols = ARENA_NEW_N(&d->arena, struct vec, 2u * cols + 1);
	for (uint32_t c = 0; c < cols; c++) {
		const struct type_info *ti = type_find(t->columns[c].type_oid);

		vec_alloc(&b.cols[c], ti ? ti->phys : PHYS_VAR, n, &d->arena);
		vec_alloc(&b.cols[cols + c], ti ? ti->phys : PHYS_VAR, n, &d->arena);
		for (uint32_t i = 0; i < n; i++)
			if (!t->columns[c].dropped)
				vec_set(&b.cols[cols + c], i, &dml_new(d, from[i])[c]);
	}
	st = conflict_old_rows(d, ids, n, b.cols, live);
	if (st)
		return st;
	for (uint32_t i = 0; i < n; i++)
		if (!live[i])
			return ST_AGAIN; /* not in this snapshot: seen by the next one */
	st = batch_filter(d->ex, &d->arena, m->conflict_where, &b);
	for (uint32_t c = 0; c < m->set_count && !st && b.n; c++)
		st = exec_expr(d->ex, &d->arena, m->set_exprs[c], &b, &sets[c]);
	if (st || b.n == 0)
		return st;
	if (!d->update) {
		d->update = MEM_NEW(d->ex->mem, struct dml);
		dml_init(d->update, d->ex, m);
	}
	dml_batch(d->update, Q_UPDATE, b.n);
	for (uint32_t i = 0; i < b.n; i++) {
		uint32_t r = batch_row(&b, i);
		struct cell *old = dml_old(d->update, i), *new = dml_new(d->update, i);

		d->update->ids[i] = ids[r];
		for (uint32_t c = 0; c < cols; c++) {
			vec_cell(&b.cols[c], r, &old[c]);
			new[c] = old[c];
		}
		for (uint32_t c = 0; c < m->set_count; c++)
			vec_cell(&sets[c], r, &new[m->set_attnos[c] - 1]);
	}
	d->update_count = b.n;
	return ST_OK;
}

/* -- run ------------------------------------------------------------------------------------------------------------- */

static enum status put_all(struct dml *d)
{
	if (d->kind == Q_INSERT)
		return put_insert(d);
	if (d->kind == Q_UPDATE)
		return put_update(d);
	put_delete(d);
	return ST_OK;
}

enum status dml_run(struct dml *d)
{
	enum status st = ST_OK;

	while (!st && d->phase != DML_DONE) {
		switch ((enum phase)d->phase) {
		case DML_CHECK:
			st = check_all(d);
			break;
		case DML_ROWS:
			st = lock_rows(d);
			break;
		case DML_KEYS:
			for (; d->index_at < d->table->index_count && !st; d->index_at += !st)
				st = lock_keys(d, index_order(d, d->index_at));
			break;
		case DML_PUT:
			st = put_all(d);
			break;
		case DML_FLOW:
			st = access_flow(d->ex->access, d->ex->err);
			break;
		case DML_CONFLICT_READ:
			st = d->conflicts ? conflict_read(d) : ST_OK;
			break;
		case DML_CONFLICT_RUN:
			if (d->update_count) {
				st = dml_run(d->update);
				if (!st)
					d->affected += d->update_count;
			}
			break;
		default:
			UNREACHABLE();
		}
		if (!st)
			d->phase++;
	}
	return st;
}
