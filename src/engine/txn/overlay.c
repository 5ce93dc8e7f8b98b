#include "engine/txn/overlay.h"

#include <string.h>

#include "base/assert.h"
#include "base/list.h"

enum undo_kind { UNDO_ROW = 1, UNDO_KEY, UNDO_ROW_CHANGED };

void overlay_init(struct overlay *o, struct mem *mem, struct arena *arena)
{
	memset(o, 0, sizeof *o);
	o->mem = mem;
	o->arena = arena;
	o->rng = 0x9e3779b97f4a7c15u;
	map_init(&o->tables, mem);
	map_init(&o->indexes, mem);
}

void overlay_fini(struct overlay *o)
{
	struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&o->tables, &at))) {
		struct overlay_table *t = s->value;

		map_fini(&t->rows);
		mem_free(o->mem, t->inserted, t->inserted_cap * sizeof *t->inserted);
	}
	map_fini(&o->tables);
	map_fini(&o->indexes);
	mem_free(o->mem, o->undo, o->undo_cap * sizeof *o->undo);
	o->undo = NULL;
	o->undo_count = o->undo_cap = 0;
}

uint32_t overlay_mark(const struct overlay *o)
{
	return o->undo_count;
}

static void undo_push(struct overlay *o, enum undo_kind kind, void *what)
{
	if (o->undo_count == o->undo_cap) {
		uint32_t cap = o->undo_cap ? o->undo_cap * 2 : 32;

		o->undo = mem_realloc(o->mem, o->undo, o->undo_cap * sizeof *o->undo, cap * sizeof *o->undo);
		o->undo_cap = cap;
	}
	o->undo[o->undo_count++] = (struct overlay_undo){(uint8_t)kind, what};
}

/* Rows and keys stay in their tables with no version: they read as not changed. */
void overlay_rollback(struct overlay *o, uint32_t mark)
{
	while (o->undo_count > mark) {
		struct overlay_undo u = o->undo[--o->undo_count];

		if (u.kind == UNDO_KEY) {
			struct overlay_key *k = u.what;

			k->newest = k->newest->older;
		} else {
			struct overlay_row *r = u.what;

			r->newest = r->newest->older;
		}
	}
}

struct overlay_table *overlay_table(struct overlay *o, rel_id storage)
{
	return map_find(&o->tables, storage);
}

struct overlay_index *overlay_index(struct overlay *o, rel_id storage)
{
	return map_find(&o->indexes, storage);
}

static struct overlay_table *table_make(struct overlay *o, rel_id table, rel_id storage)
{
	struct overlay_table *t = map_find(&o->tables, storage);

	if (t)
		return t;
	t = ARENA_NEW(o->arena, struct overlay_table);
	t->storage = storage;
	t->table = table;
	map_init(&t->rows, o->mem);
	map_put(&o->tables, storage, t);
	return t;
}

static struct overlay_row *row_make(struct overlay *o, struct overlay_table *t, row_id row)
{
	struct overlay_row *r = ARENA_NEW(o->arena, struct overlay_row);

	r->row = row;
	map_put(&t->rows, row, r);
	if (t->last)
		t->last->next = r;
	else
		t->first = r;
	t->last = r;
	return r;
}

static void cell_copy(struct overlay *o, struct cell *out, const struct cell *c)
{
	*out = *c;
	o->bytes += 12;
	if (c->phys == PHYS_VAR && !c->null) {
		out->var = arena_dup(o->arena, c->var, c->bytes);
		o->bytes += c->bytes;
	}
}

static struct overlay_version *version_push(struct overlay *o, struct overlay_row *r, uint32_t stmt,
					    enum overlay_change change)
{
	struct overlay_version *v = ARENA_NEW(o->arena, struct overlay_version);

	v->older = r->newest;
	v->stmt = stmt;
	v->change = (uint8_t)change;
	r->newest = v;
	undo_push(o, UNDO_ROW, r);
	return v;
}

row_id overlay_insert(struct overlay *o, rel_id table, rel_id storage, uint32_t stmt, const struct cell *cells,
		      uint32_t cell_count)
{
	struct overlay_table *t = table_make(o, table, storage);
	row_id row = ROW_ID_PROVISIONAL | ++o->provisional;
	struct overlay_row *r = row_make(o, t, row);
	struct overlay_version *v = version_push(o, r, stmt, OVERLAY_INSERTED);

	v->cell_count = cell_count;
	v->cells = ARENA_NEW_N(o->arena, struct cell, cell_count);
	for (uint32_t i = 0; i < cell_count; i++)
		cell_copy(o, &v->cells[i], &cells[i]);
	o->bytes += 16;
	if (t->inserted_count == t->inserted_cap) {
		uint32_t cap = t->inserted_cap ? t->inserted_cap * 2 : 16;

		t->inserted = mem_realloc(o->mem, t->inserted, t->inserted_cap * sizeof *t->inserted,
					  cap * sizeof *t->inserted);
		t->inserted_cap = cap;
	}
	t->inserted[t->inserted_count++] = r;
	return row;
}

const struct cell *overlay_cell(const struct overlay_version *v, uint16_t attno)
{
	/* inserted rows name every column, in order; updated ones a few */
	if (attno && attno <= v->cell_count && v->cells[attno - 1].attno == attno)
		return &v->cells[attno - 1];
	for (uint32_t i = 0; i < v->cell_count; i++)
		if (v->cells[i].attno == attno)
			return &v->cells[i];
	return NULL;
}

void overlay_update(struct overlay *o, rel_id table, rel_id storage, uint32_t stmt, row_id row,
		    const struct cell *cells, uint32_t cell_count)
{
	struct overlay_table *t = table_make(o, table, storage);
	struct overlay_row *r = map_find(&t->rows, row);
	const struct overlay_version *old;
	struct overlay_version *v;
	uint32_t n = 0;

	if (!r) {
		r = row_make(o, t, row);
		t->changed_count++;
	}
	old = r->newest;
	v = version_push(o, r, stmt, old && old->change == OVERLAY_INSERTED ? OVERLAY_INSERTED : OVERLAY_UPDATED);
	v->cells = ARENA_NEW_N(o->arena, struct cell, cell_count + (old ? old->cell_count : 0));
	for (uint32_t i = 0; old && i < old->cell_count; i++)
		v->cells[n++] = old->cells[i];
	for (uint32_t i = 0; i < cell_count; i++) {
		uint32_t k = 0;

		while (k < n && v->cells[k].attno != cells[i].attno)
			k++;
		cell_copy(o, &v->cells[k], &cells[i]);
		if (k == n)
			n++;
	}
	v->cell_count = n;
	o->bytes += 16;
}

void overlay_delete(struct overlay *o, rel_id table, rel_id storage, uint32_t stmt, row_id row)
{
	struct overlay_table *t = table_make(o, table, storage);
	struct overlay_row *r = map_find(&t->rows, row);

	if (!r) {
		r = row_make(o, t, row);
		t->changed_count++;
	}
	version_push(o, r, stmt, OVERLAY_DELETED);
	o->bytes += 16;
}

const struct overlay_version *overlay_see(const struct overlay_row *r, uint32_t stmt)
{
	const struct overlay_version *v = r->newest;

	while (v && v->stmt >= stmt && stmt != UINT32_MAX)
		v = v->older;
	return v;
}

struct overlay_row *overlay_row(const struct overlay_table *t, row_id row)
{
	return map_find(&t->rows, row);
}

/* -- keys: a skip list per index ----------------------------------------------------------------------- */

static int key_compare(const struct overlay_key *k, const void *key, uint32_t key_len)
{
	uint32_t n = k->key_len < key_len ? k->key_len : key_len;
	int c = n ? memcmp(k->key, key, n) : 0;

	return c ? c : (k->key_len > key_len) - (k->key_len < key_len);
}

/* Last node before key (strictly, or up to it when inclusive) at each level, as the place of its next pointers. */
static void key_path(struct overlay_index *x, const void *key, uint32_t key_len, bool inclusive,
		     struct overlay_key **path[OVERLAY_LEVELS])
{
	struct overlay_key **at = x->heads;

	for (int level = OVERLAY_LEVELS - 1; level >= 0; level--) {
		while (at[level]) {
			int c = key ? key_compare(at[level], key, key_len) : -1;

			if (c > 0 || (c == 0 && !inclusive))
				break;
			at = at[level]->next;
		}
		path[level] = &at[level];
	}
}

static struct overlay_key *path_node(struct overlay_index *x, struct overlay_key **slot)
{
	if (slot == &x->heads[0])
		return NULL;
	return CONTAINER_OF(slot, struct overlay_key, next);
}

struct overlay_key *overlay_key_seek(const struct overlay_index *x, const void *key, uint32_t key_len, bool exclusive)
{
	struct overlay_key **path[OVERLAY_LEVELS];

	if (!key)
		return x->heads[0];
	key_path((struct overlay_index *)x, key, key_len, exclusive, path);
	return *path[0];
}

struct overlay_key *overlay_key_seek_back(const struct overlay_index *x, const void *key, uint32_t key_len,
					  bool exclusive)
{
	struct overlay_key **path[OVERLAY_LEVELS];

	key_path((struct overlay_index *)x, key, key_len, !exclusive, path);
	return path_node((struct overlay_index *)x, path[0]);
}

struct overlay_key *overlay_key_find(const struct overlay_index *x, const void *key, uint32_t key_len)
{
	struct overlay_key *k = overlay_key_seek(x, key, key_len, false);

	return k && key_compare(k, key, key_len) == 0 ? k : NULL;
}

const struct overlay_key_version *overlay_key_see(const struct overlay_key *k, uint32_t stmt)
{
	const struct overlay_key_version *v = k->newest;

	while (v && v->stmt >= stmt && stmt != UINT32_MAX)
		v = v->older;
	return v;
}

void overlay_put_key(struct overlay *o, rel_id table, rel_id storage, bool suffixed, uint32_t stmt, const void *key,
		     uint32_t key_len, bool present, row_id row)
{
	struct overlay_index *x = map_find(&o->indexes, storage);
	struct overlay_key **path[OVERLAY_LEVELS], *k;
	struct overlay_key_version *v;

	if (!x) {
		x = ARENA_NEW(o->arena, struct overlay_index);
		x->storage = storage;
		x->table = table;
		map_put(&o->indexes, storage, x);
	}
	key_path(x, key, key_len, false, path);
	k = *path[0];
	if (!k || key_compare(k, key, key_len) != 0) {
		uint32_t level = 1;

		o->rng = o->rng * 6364136223846793005u + 1442695040888963407u;
		level += (uint32_t)__builtin_ctzll((o->rng >> 20) | UINT64_C(1) << 36) / 2;
		if (level > OVERLAY_LEVELS)
			level = OVERLAY_LEVELS;
		k = arena_alloc(o->arena, sizeof *k + level * sizeof k->next[0]);
		k->key = arena_dup(o->arena, key, key_len);
		k->key_len = key_len;
		k->level = (uint8_t)level;
		k->suffixed = suffixed;
		for (uint32_t i = 0; i < level; i++) {
			k->next[i] = *path[i];
			*path[i] = k;
		}
		x->count++;
	}
	v = ARENA_NEW(o->arena, struct overlay_key_version);
	v->older = k->newest;
	v->stmt = stmt;
	v->present = present;
	v->row = row;
	k->newest = v;
	o->bytes += key_len + 16;
	undo_push(o, UNDO_KEY, k);
}
