/*
 * ddl_build.c - indexes built from a scan.
 *
 * Keys of all rows are collected, sorted, checked for duplicates and put in order, together with the definition in one
 * transaction under the relation's lock.
 */
#include "engine/sql/ddl_int.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "engine/sql/exec_key.h"

#define PUT_KEYS 4096

struct built { struct slice key; row_id row; bool null; };
struct build {
	struct arena arena, batch;
	struct access_scan scan;
	struct buf key;
	struct built *keys, *temp;
	uint64_t count, cap, width, put; /* width: of the sorted runs so far; 0: still scanning */
	uint64_t merge_at;
	bool checked;
};

void build_fini(struct ddl *d)
{
	struct build *b = d->build;

	if (!b)
		return;
	mem_free(d->ex.mem, b->keys, b->cap * sizeof *b->keys);
	mem_free(d->ex.mem, b->temp, b->temp ? b->count * sizeof *b->temp : 0);
	buf_fini(&b->key);
	arena_fini(&b->batch);
	arena_fini(&b->arena);
	MEM_FREE(d->ex.mem, b);
	d->build = NULL;
}

enum status build_scan(struct ddl *d, const struct table_def *t, struct access_scan *at, struct arena *arena,
		       struct ddl_rows *out, struct error *err)
{
	struct access_want *wants = ARENA_NEW_N(arena, struct access_want, t->column_count + 1);
	struct vec *stored = ARENA_NEW_N(arena, struct vec, t->column_count + 1);
	row_id *ids = ARENA_NEW_N(arena, row_id, VEC_ROWS);
	uint16_t *sel = ARENA_NEW_N(arena, uint16_t, VEC_ROWS);
	uint32_t w = 0, slots = 0;
	enum status st;

	for (uint32_t c = 0; c < t->column_count; c++) {
		const struct column_def *def = &t->columns[c];

		if (!def->dropped)
			wants[w++] = (struct access_want){def->attno, def->phys, def->has_missing ? &def->missing : NULL};
	}
	st = access_scan_next(d->access, t, at, wants, w, arena, stored, ids, sel, &out->n, &slots, err);
	if (st)
		return st;
	out->cols = ARENA_NEW_N(arena, struct vec, t->column_count + 1);
	out->ids = ARENA_NEW_N(arena, row_id, out->n + 1);
	for (uint32_t i = 0; i < out->n; i++)
		out->ids[i] = ids[sel[i]];
	for (uint32_t i = 0; i < w && out->n; i++) {
		const struct column_def *def = &t->columns[wants[i].attno - 1];
		const struct type_info *ti = type_find(def->type_oid);
		struct vec v = stored[i];
		struct vec_batch b = {.rows = slots, .n = out->n, .sel = sel, .col_count = 1, .cols = &v}, copy;

		if (ti && ti->phys != v.phys)
			vec_from_storage((struct sql_type){def->type_oid, def->typmod}, &stored[i], sel, out->n, slots, arena, &v);
		batch_copy(&b, arena, &copy);
		out->cols[def->attno - 1] = copy.cols[0];
	}
	return ST_OK;
}

static enum status collect(struct ddl *d, struct build *b, const struct table_def *t, const struct index_def *ix,
			   struct budget *work, struct error *err)
{
	struct cell *cells = ARENA_NEW_N(d->arena, struct cell, t->column_count);

	for (;;) {
		struct ddl_rows rows = {0};
		enum status st;

		arena_reset(&b->batch);
		st = build_scan(d, t, &b->scan, &b->batch, &rows, err);
		if (st == ST_END)
			return ST_OK;
		if (st)
			return st;
		if (b->count + rows.n > b->cap) {
			uint64_t cap = b->cap ? b->cap * 2 : VEC_ROWS;

			b->keys = mem_realloc(d->ex.mem, b->keys, b->cap * sizeof *b->keys, cap * sizeof *b->keys);
			b->cap = cap;
		}
		for (uint32_t i = 0; i < rows.n; i++) {
			struct built *k = &b->keys[b->count];

			for (uint32_t c = 0; c < ix->column_count; c++)
				vec_cell(&rows.cols[ix->attnos[c] - 1], i, &cells[ix->attnos[c] - 1]);
			buf_reset(&b->key);
			st = key_of_row(t, ix, cells, &b->key, &k->null, err);
			if (st)
				return st;
			if (k->null && ix->primary) {
				for (uint32_t c = 0; c < ix->column_count; c++)
					if (cells[ix->attnos[c] - 1].null)
						return dml_contains_null(err, t, ix->attnos[c]);
			}
			k->key = (struct slice){arena_dup(&b->arena, b->key.data, b->key.size), (uint32_t)b->key.size, 0};
			k->row = rows.ids[i];
			b->count++;
		}
		if (!budget_spend(work, 64 + rows.n * 8))
			return ST_AGAIN;
	}
}

static int built_compare(const struct built *x, const struct built *y)
{
	uint32_t n = x->key.bytes < y->key.bytes ? x->key.bytes : y->key.bytes;
	int c = n ? memcmp(x->key.p, y->key.p, n) : 0;

	if (c)
		return c;
	if (x->key.bytes != y->key.bytes)
		return x->key.bytes < y->key.bytes ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

/* Bottom-up merge sort; gives up between merges. */
static enum status sort_keys(struct ddl *d, struct build *b, struct budget *work)
{
	if (!b->temp && b->count)
		b->temp = mem_alloc(d->ex.mem, b->count * sizeof *b->temp);
	for (; b->width < b->count; b->width *= 2, b->merge_at = 0) {
		while (b->merge_at < b->count) {
			uint64_t lo = b->merge_at, mid = lo + b->width, hi = mid + b->width, i, j, k = 0;

			mid = mid > b->count ? b->count : mid;
			hi = hi > b->count ? b->count : hi;
			for (i = lo, j = mid; i < mid && j < hi;)
				b->temp[k++] = built_compare(&b->keys[i], &b->keys[j]) <= 0 ? b->keys[i++] : b->keys[j++];
			while (i < mid)
				b->temp[k++] = b->keys[i++];
			memcpy(&b->keys[lo], b->temp, k * sizeof *b->keys);
			b->merge_at = hi;
			if (!budget_spend(work, hi - lo))
				return ST_AGAIN;
		}
	}
	return ST_OK;
}

static enum status duplicate(struct ddl *d, const struct table_def *t, const struct index_def *ix, row_id row,
			     struct error *err)
{
	struct access_want wants[SCHEMA_INDEX_COLUMNS_MAX];
	struct vec stored[SCHEMA_INDEX_COLUMNS_MAX];
	struct cell *cells = ARENA_NEW_N(d->arena, struct cell, t->column_count);
	struct buf text;
	bool live = false;
	enum status st;

	for (uint32_t i = 0; i < ix->column_count; i++) {
		const struct column_def *c = &t->columns[ix->attnos[i] - 1];

		wants[i] = (struct access_want){c->attno, c->phys, c->has_missing ? &c->missing : NULL};
	}
	st = access_rows_get(d->access, t, &row, 1, wants, ix->column_count, d->arena, stored, &live, err);
	if (st)
		return st;
	(void)error_set(err, ST_UNIQUE, "could not create unique index \"%s\"", ix->name);
	buf_init(&text, d->ex.mem);
	for (uint32_t i = 0; i < ix->column_count && live; i++) {
		const struct column_def *c = &t->columns[ix->attnos[i] - 1];
		const struct type_info *ti = type_find(c->type_oid);
		struct vec v = stored[i];

		if (ti && ti->phys != v.phys)
			vec_from_storage((struct sql_type){c->type_oid, c->typmod}, &stored[i], NULL, 1, 1, d->arena, &v);
		vec_cell(&v, 0, &cells[c->attno - 1]);
	}
	if (live) {
		key_text(t, ix, cells, &text);
		error_detail(err, "Key %.*s is duplicated.", (int)text.size, (const char *)text.data);
	}
	buf_fini(&text);
	snprintf(err->schema, sizeof err->schema, "%s", t->schema);
	snprintf(err->relation, sizeof err->relation, "%s", t->name);
	snprintf(err->constraint, sizeof err->constraint, "%s", ix->name);
	return ST_UNIQUE;
}

static enum status put_keys(struct ddl *d, struct build *b, const struct table_def *t, const struct index_def *ix,
			    struct budget *work, struct error *err)
{
	while (b->put < b->count) {
		uint32_t n = b->count - b->put < PUT_KEYS ? (uint32_t)(b->count - b->put) : PUT_KEYS;
		struct slice *keys;
		row_id *rows;
		bool *nulls;
		enum status st = access_flow(d->access, err);

		if (st)
			return st;
		arena_reset(&b->batch);
		keys = ARENA_NEW_N(&b->batch, struct slice, n);
		rows = ARENA_NEW_N(&b->batch, row_id, n);
		nulls = ARENA_NEW_N(&b->batch, bool, n);
		for (uint32_t i = 0; i < n; i++) {
			keys[i] = b->keys[b->put + i].key;
			rows[i] = b->keys[b->put + i].row;
			nulls[i] = b->keys[b->put + i].null;
		}
		access_put_index_entries(d->access, t, ix, keys, rows, nulls, n, true);
		b->put += n;
		if (!budget_spend(work, n * 4) && b->put < b->count)
			return ST_AGAIN;
	}
	return access_flow(d->access, err);
}

enum status build_index(struct ddl *d, const struct table_def *t, const struct index_def *ix, struct budget *work,
			struct error *err)
{
	struct build *b = d->build;
	enum status st;

	if (!b) {
		b = d->build = MEM_NEW(d->ex.mem, struct build);
		arena_init(&b->arena, d->ex.mem);
		arena_init(&b->batch, d->ex.mem);
		buf_init(&b->key, d->ex.mem);
	}
	if (b->width == 0) {
		st = collect(d, b, t, ix, work, err);
		if (st)
			return st;
		b->width = 1;
	}
	st = sort_keys(d, b, work);
	if (st)
		return st;
	for (uint64_t i = 1; ix->unique && !b->checked && i < b->count; i++) {
		const struct built *x = &b->keys[i - 1], *y = &b->keys[i];

		if (!x->null && !y->null && x->key.bytes == y->key.bytes && !memcmp(x->key.p, y->key.p, x->key.bytes))
			return duplicate(d, t, ix, y->row, err);
	}
	b->checked = true;
	st = put_keys(d, b, t, ix, work, err);
	if (!st)
		build_fini(d);
	return st;
}
