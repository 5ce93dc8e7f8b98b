/*
 * model_apply.c - committed records on plain rows and keys (sim). See model.h.
 */
#include "sim/model_int.h"

#include <string.h>

static struct mtable *touch(struct model *m, struct mtable *t)
{
	if (!t->touched) {
		t->touched = true;
		VEC_PUSH(&m->w->mem, &m->touched, t);
	}
	return t;
}

static struct mtable *table_of(struct model *m, rel_id storage)
{
	struct mtable *t = map_find(&m->by_storage, storage);

	if (t)
		return touch(m, t);
	t = MEM_NEW(&m->w->mem, struct mtable);
	t->storage = storage;
	map_init(&t->by_row, &m->w->mem);
	map_init(&t->by_id, &m->w->mem);
	arena_init(&t->arena, &m->w->mem);
	map_put(&m->by_storage, storage, t);
	VEC_PUSH(&m->w->mem, &m->tables, t);
	return touch(m, t);
}

static struct mindex *index_of(struct model *m, rel_id storage)
{
	struct mindex *ix = map_find(&m->indexes, storage);

	if (ix)
		return ix;
	ix = MEM_NEW(&m->w->mem, struct mindex);
	ix->storage = storage;
	bmap_init(&ix->keys, &m->w->mem);
	map_put(&m->indexes, storage, ix);
	VEC_PUSH(&m->w->mem, &m->all_indexes, ix);
	return ix;
}

struct mtable *model_table_at(struct model *m, uint32_t i)
{
	return i < m->tables.count ? m->tables.at[i] : NULL;
}

struct mtable *model_table(struct model *m, const char *name)
{
	for (size_t i = m->tables.count; i-- > 0;) {
		struct mtable *t = m->tables.at[i];

		if (!t->gone && t->def && strcmp(t->def->name, name) == 0)
			return t;
	}
	return NULL;
}

uint64_t model_index_entries(struct model *m, rel_id storage)
{
	struct mindex *ix = map_find(&m->indexes, storage);

	return ix ? ix->keys.count : 0;
}

/* -- rows --------------------------------------------------------------------------------------------------------- */

static uint16_t column_of(const struct mtable *t, const char *name)
{
	for (uint16_t i = 0; t->def && i < t->def->column_count; i++)
		if (!t->def->columns[i].dropped && strcmp(t->def->columns[i].name, name) == 0)
			return t->def->columns[i].attno;
	return 0;
}

static const struct mvalue *value_of(const struct mtable *t, const struct mrow *r, const char *name)
{
	uint16_t attno = column_of(t, name);

	return attno && attno <= r->count && !r->values[attno - 1].null ? &r->values[attno - 1] : NULL;
}

static void cells_put(struct model *m, struct mrow *r, const struct cell *cells, uint32_t count)
{
	struct mem *mem = &m->w->mem;

	for (uint32_t i = 0; i < count; i++) {
		const struct cell *c = &cells[i];
		struct mvalue *v;

		if (c->attno > r->count) {
			r->values = mem_realloc(mem, r->values, r->count * sizeof *r->values,
						c->attno * sizeof *r->values);
			for (uint32_t k = r->count; k < c->attno; k++)
				r->values[k].null = true;
			r->count = c->attno;
		}
		v = &r->values[c->attno - 1];
		mem_free(mem, v->p, v->bytes);
		memset(v, 0, sizeof *v);
		v->null = c->null;
		v->text = c->phys == PHYS_VAR;
		if (c->null)
			continue;
		if (v->text && c->bytes) {
			v->bytes = c->bytes;
			v->p = mem_alloc(mem, c->bytes);
			memcpy(v->p, c->var, c->bytes);
		} else if (!v->text) {
			v->i = c->i;
		}
	}
}

static void tag_seen(struct model *m, const struct record *r, int64_t tag)
{
	struct mtxn *x = model_txn_of(m, tag);

	if (!x) {
		world_violation(m->w, "index %llu has tag %lld, which no client gave", (unsigned long long)r->index,
				(long long)tag);
		return;
	}
	if (x->index && x->index != r->index)
		world_violation(m->w, "transaction %llu is in the log twice: at %llu and at %llu",
				(unsigned long long)x->number, (unsigned long long)x->index,
				(unsigned long long)r->index);
	if (x->end == TXN_REFUSED)
		world_violation(m->w, "transaction %llu came into the log at %llu after its client was told that it failed",
				(unsigned long long)x->number, (unsigned long long)r->index);
	x->index = r->index;
	x->seen |= UINT64_C(1) << (uint64_t)tag % TAG_WRITES;
	x->rows[(uint64_t)tag % TAG_WRITES]++;
}

/* First updater wins: what it replaces must have been in its snapshot. */
static void wrote_over(struct model *m, struct mtxn *x, const struct mversion *over)
{
	(void)m;
	if (x && x->one_snapshot && over->from > x->read_lo)
		x->read_lo = over->from;
}

static void version_add(struct model *m, const struct record *r, struct mtable *t, struct mrow *row)
{
	const struct mvalue *tag = value_of(t, row, "tag"), *balance = value_of(t, row, "balance");
	const struct mvalue *key = value_of(t, row, "k");
	struct mversion v = {.from = r->index, .to = UINT64_MAX, .live = row->live};
	struct mversion *last = row->versions.count ? &row->versions.at[row->versions.count - 1] : NULL;
	struct mtxn *x;
	uint64_t k;

	if (!tag)
		return;
	v.tag = tag->i;
	v.balance = balance ? balance->i : 0;
	v.k = key && key->text ? model_k_bytes(key->p, key->bytes) : 0;
	x = model_txn_of(m, v.tag);
	k = (uint64_t)v.tag % TAG_WRITES;
	if (row->live)
		tag_seen(m, r, v.tag);
	if (last && last->live) {
		if (row->live && x && x->has_delta[k] && v.balance != last->balance + x->delta[k])
			world_violation(m->w, "lost update: row %lld at %llu: %lld and %+lld gave %lld",
					(long long)row->id, (unsigned long long)r->index, (long long)last->balance,
					(long long)x->delta[k], (long long)v.balance);
		if (row->live)
			wrote_over(m, x, last);
	}
	if (last)
		last->to = r->index;
	VEC_PUSH(&m->w->mem, &row->versions, v);
}

static void row_insert(struct model *m, const struct record *r, struct mtable *t, const struct op *op)
{
	struct mrow *row = MEM_NEW(&m->w->mem, struct mrow);
	const struct mvalue *id;

	if (map_find(&t->by_row, op->row)) {
		world_violation(m->w, "row %llu of storage %llu was given twice, again at index %llu",
				(unsigned long long)op->row, (unsigned long long)t->storage,
				(unsigned long long)r->index);
		MEM_FREE(&m->w->mem, row);
		return;
	}
	row->row = op->row;
	row->live = true;
	map_put(&t->by_row, op->row, row);
	VEC_PUSH(&m->w->mem, &t->rows, row);
	t->live++;
	cells_put(m, row, op->cells, op->cell_count);
	id = value_of(t, row, "id");
	if (id) {
		row->id = id->i;
		map_put(&t->by_id, (uint64_t)id->i, row);
	}
	version_add(m, r, t, row);
}

static void row_change(struct model *m, const struct record *r, struct mtable *t, const struct op *op)
{
	struct mrow *row = map_find(&t->by_row, op->row);

	if (!row || !row->live) {
		world_violation(m->w, "index %llu changes row %llu of storage %llu, which is not there",
				(unsigned long long)r->index, (unsigned long long)op->row,
				(unsigned long long)t->storage);
		return;
	}
	if (op->kind == OP_ROW_DELETE) {
		row->live = false;
		t->live--;
	} else {
		cells_put(m, row, op->cells, op->cell_count);
	}
	version_add(m, r, t, row);
}

/* -- keys --------------------------------------------------------------------------------------------------------- */

/* An entry may pass from a row to another in one record; what must fit in the end is their number. */
static void key_change(struct model *m, const struct record *r, const struct op *op)
{
	struct mindex *ix = index_of(m, op->relation);
	uint64_t has = (uint64_t)(uintptr_t)bmap_find(&ix->keys, op->key.p, op->key.bytes);

	if (op->kind == OP_KEY_ADD) {
		bmap_put(&ix->keys, op->key.p, op->key.bytes, (void *)(uintptr_t)op->row);
		return;
	}
	if (has && has != op->row)
		world_violation(m->w, "index %llu removes a key of row %llu from index storage %llu that row %llu has",
				(unsigned long long)r->index, (unsigned long long)op->row,
				(unsigned long long)op->relation, (unsigned long long)has);
	(void)bmap_remove(&ix->keys, op->key.p, op->key.bytes);
}

static void touched_check(struct model *m, const struct record *r)
{
	for (size_t i = 0; i < m->touched.count; i++) {
		struct mtable *t = m->touched.at[i];

		t->touched = false;
		for (uint16_t k = 0; t->def && !t->gone && k < t->def->index_count; k++) {
			uint64_t entries = model_index_entries(m, t->def->indexes[k].storage);

			if (entries != t->live)
				world_violation(m->w, "as of %llu %s has %llu rows and index %s has %llu entries%s",
						(unsigned long long)r->index, t->def->name, (unsigned long long)t->live,
						t->def->indexes[k].name, (unsigned long long)entries,
						t->def->indexes[k].unique ? " (a key twice?)" : "");
		}
	}
	m->touched.count = 0;
}

/* -- definitions ---------------------------------------------------------------------------------------------------- */

static void chunk_put(struct model *m, const struct op *op)
{
	struct mchunks *c;
	rel_id rel;

	if (op->relation != ATOM_SCHEMA_CAT || op->key.bytes != 11 || op->key.p[0] != 'T')
		return;
	memcpy(&rel, op->key.p + 1, 8);
	rel = __builtin_bswap64(rel);
	if (!m->chunks.count || m->chunks.at[m->chunks.count - 1].rel != rel) {
		struct mchunks fresh = {.rel = rel};

		buf_init(&fresh.bytes, &m->w->mem);
		VEC_PUSH(&m->w->mem, &m->chunks, fresh);
	}
	c = &m->chunks.at[m->chunks.count - 1];
	buf_put(&c->bytes, op->value.p, op->value.bytes);
}

static void table_defined(struct model *m, const struct record *r, const struct mchunks *c)
{
	struct arena arena;
	struct table_def *def;
	struct mtable *t;

	arena_init(&arena, &m->w->mem);
	if (schema_table_decode(c->bytes.data, c->bytes.size, &arena, &def) != ST_OK) {
		world_violation(m->w, "definition of relation %llu is damaged", (unsigned long long)c->rel);
		arena_fini(&arena);
		return;
	}
	t = table_of(m, def->storage);
	arena_fini(&t->arena);
	t->arena = arena;
	t->def = def;
	/* rows of the same record came before the definition */
	for (size_t i = 0; i < t->rows.count; i++) {
		struct mrow *row = t->rows.at[i];
		const struct mvalue *id = value_of(t, row, "id");

		if (id && !row->versions.count) {
			row->id = id->i;
			map_put(&t->by_id, (uint64_t)id->i, row);
		}
		if (!row->versions.count)
			version_add(m, r, t, row);
	}
}

static void destroyed(struct model *m, rel_id storage)
{
	struct mtable *t = map_find(&m->by_storage, storage);
	struct mindex *ix = map_find(&m->indexes, storage);

	if (t)
		t->gone = true;
	if (ix)
		ix->gone = true;
}

/* -- records ------------------------------------------------------------------------------------------------------------ */

static void payload(struct model *m, const struct record *r, const void *bytes, size_t size)
{
	struct op op;

	op_reader_start(&m->ops, bytes, size);
	while (!m->w->failed && op_next(&m->ops, &op) == ST_OK) {
		switch (op.kind) {
		case OP_ROW_INSERT:
			row_insert(m, r, table_of(m, op.relation), &op);
			break;
		case OP_ROW_UPDATE:
		case OP_ROW_DELETE:
			row_change(m, r, table_of(m, op.relation), &op);
			break;
		case OP_KEY_ADD:
		case OP_KEY_REMOVE:
			key_change(m, r, &op);
			break;
		case OP_CATALOG_PUT:
			chunk_put(m, &op);
			break;
		case OP_NEW_ATOM:
			m->atoms = true;
			break;
		case OP_DESTROY:
			m->atoms = true;
			destroyed(m, op.relation);
			break;
		default:
			break;
		}
	}
}

static bool part_is_of(const struct mpart *p, const struct record *r)
{
	return p->engine == r->engine && p->txn == r->txn && p->attempt == r->attempt;
}

static void parts_drop(struct model *m, const struct record *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->parts.count; i++) {
		if (part_is_of(&m->parts.at[i], r))
			mem_free(&m->w->mem, m->parts.at[i].payload, m->parts.at[i].bytes);
		else
			m->parts.at[kept++] = m->parts.at[i];
	}
	m->parts.count = kept;
}

static void commit(struct model *m, const struct record *r)
{
	uint32_t parts = 0;

	for (size_t i = 0; i < m->parts.count; i++)
		if (r->parts && part_is_of(&m->parts.at[i], r)) {
			payload(m, r, m->parts.at[i].payload, m->parts.at[i].bytes);
			parts++;
		}
	if (parts != r->parts)
		world_violation(m->w, "commit at %llu has %u parts in the log, and names %u",
				(unsigned long long)r->index, parts, r->parts);
	payload(m, r, r->payload, r->payload_bytes);
	parts_drop(m, r);
	for (size_t i = 0; i < m->chunks.count; i++) {
		table_defined(m, r, &m->chunks.at[i]);
		buf_fini(&m->chunks.at[i].bytes);
	}
	m->chunks.count = 0;
	touched_check(m, r);
}

void model_apply(struct model *m, const struct record *r)
{
	struct mpart p = {.engine = r->engine, .txn = r->txn, .attempt = r->attempt, .bytes = r->payload_bytes};

	switch (r->kind) {
	case REC_COMMIT:
		commit(m, r);
		break;
	case REC_PART:
		p.payload = mem_alloc(&m->w->mem, p.bytes ? p.bytes : 1);
		memcpy(p.payload, r->payload, p.bytes);
		if (!p.bytes)
			mem_free(&m->w->mem, p.payload, 1);
		if (!p.bytes)
			p.payload = NULL;
		VEC_PUSH(&m->w->mem, &m->parts, p);
		break;
	case REC_ABORT:
		parts_drop(m, r);
		break;
	default:
		break;
	}
}
