/*
 * schema_read.c - definitions as statements see them: the newest committed ones, with the transaction's own changes
 * over them (engine/txn). Decoded definitions are kept by generation: a generation lives while a transaction that
 * was lent some of it does.
 */
#include "engine/txn/txn_int.h"

static void cache_free(struct schema_cache *c)
{
	struct mem *mem = c->mem;

	map_fini(&c->by_id);
	bmap_fini(&c->by_name);
	arena_fini(&c->arena);
	MEM_FREE(mem, c);
}

void schema_cache_unref(struct txns *t, struct schema_cache *c)
{
	(void)t;
	if (--c->refs == 0)
		cache_free(c);
}

/* The current generation; lent, not counted. */
struct schema_cache *schema_cache_get(struct txns *t)
{
	uint64_t version = replica_schema_version(t->rp);

	if (t->schema && t->schema->version == version)
		return t->schema;
	if (t->schema)
		schema_cache_unref(t, t->schema);
	t->schema = MEM_NEW(t->mem, struct schema_cache);
	t->schema->version = version;
	t->schema->refs = 1;
	t->schema->mem = t->mem;
	arena_init(&t->schema->arena, t->mem);
	map_init(&t->schema->by_id, t->mem);
	bmap_init(&t->schema->by_name, t->mem);
	return t->schema;
}

/* One entry of the schema catalog. ST_END: none; ST_WAIT: *need_out, not here or within a record. Lends. */
enum status schema_get(struct txns *t, const void *key, uint32_t key_len, struct slice *out, atom_id *need_out)
{
	struct route route;
	enum status st = replica_route_catalog(t->rp, ATOM_SCHEMA_CAT, key, key_len, &route);

	if (st)
		return st;
	if (!route.frame || !replica_current(t->rp, route.frame)) {
		*need_out = route.atom;
		return ST_WAIT;
	}
	return leaf_get(replica_store(t->rp), route.frame, LEAF_NEWEST, key, key_len, out);
}

static enum status read_table(struct txns *t, rel_id id, struct buf *out, atom_id *need_out)
{
	struct buf key;
	enum status st = ST_OK;

	buf_init(&key, t->mem);
	for (uint16_t chunk = 0; st == ST_OK; chunk++) {
		struct slice v;

		buf_reset(&key);
		schema_key_table(&key, id, chunk);
		st = schema_get(t, key.data, (uint32_t)key.size, &v, need_out);
		if (st == ST_OK)
			buf_put(out, v.p, v.bytes);
		if (st == ST_OK && v.bytes < SCHEMA_CHUNK)
			break;
	}
	buf_fini(&key);
	return st == ST_END && out->size ? ST_OK : st;
}

enum status schema_cached(struct txns *t, struct schema_cache *c, rel_id id, struct relation_def *out,
			  atom_id *need_out)
{
	struct relation_def *known = map_find(&c->by_id, id);
	struct table_def *table;
	struct sequence_def *seq;
	struct buf b;
	enum status st;

	if (known) {
		*out = *known;
		return ST_OK;
	}
	buf_init(&b, t->mem);
	known = ARENA_NEW(&c->arena, struct relation_def);
	st = read_table(t, id, &b, need_out);
	if (st == ST_OK) {
		st = schema_table_decode(b.data, b.size, &c->arena, &table);
		known->kind = REL_TABLE;
		known->table = st ? NULL : table;
	} else if (st == ST_END) {
		struct slice v;

		buf_reset(&b);
		schema_key_sequence(&b, id);
		st = schema_get(t, b.data, (uint32_t)b.size, &v, need_out);
		if (st == ST_OK) {
			st = schema_sequence_decode(v.p, v.bytes, &c->arena, &seq);
			known->kind = REL_SEQUENCE;
			known->sequence = st ? NULL : seq;
		}
	}
	buf_fini(&b);
	if (st)
		return st == ST_END ? ST_UNDEFINED_TABLE : st;
	map_put(&c->by_id, id, known);
	*out = *known;
	return ST_OK;
}

/* The generation that this transaction's definitions are lent from. */
static struct schema_cache *lend(struct access *a)
{
	struct schema_cache *c = schema_cache_get(a->t);

	if (a->schema == c)
		return c;
	/* definitions already lent stay valid until the transaction ends: keep the first generation as well */
	if (a->schema && a->txn)
		VEC_PUSH(a->t->mem, &a->lent, a->schema);
	else if (a->schema)
		schema_cache_unref(a->t, a->schema);
	c->refs++;
	a->schema = c;
	return c;
}

void schema_lent_end(struct access *a)
{
	for (size_t i = 0; i < a->lent.count; i++)
		schema_cache_unref(a->t, a->lent.at[i]);
	a->lent.count = 0;
	if (a->schema)
		schema_cache_unref(a->t, a->schema);
	a->schema = NULL;
}

const struct ddl_change *ddl_find(const struct txn *x, rel_id id)
{
	for (size_t i = x ? x->ddl.count : 0; i-- > 0;)
		if (x->ddl.at[i].id == id)
			return &x->ddl.at[i];
	return NULL;
}

static const struct index_def *index_named(const struct table_def *t, const char *schema, const char *name)
{
	for (uint16_t i = 0; i < t->index_count; i++)
		if (!strcmp(t->schema, schema) && !strcmp(t->indexes[i].name, name))
			return &t->indexes[i];
	return NULL;
}

static const struct index_def *index_of(const struct table_def *t, rel_id id)
{
	for (uint16_t i = 0; i < t->index_count; i++)
		if (t->indexes[i].id == id)
			return &t->indexes[i];
	return NULL;
}

/* What own DDL says a name is: found, or *gone (dropped or renamed), or nothing. */
const struct ddl_change *ddl_find_name(const struct txn *x, const char *schema, const char *name,
				       const struct index_def **index_out)
{
	*index_out = NULL;
	for (size_t i = x ? x->ddl.count : 0; i-- > 0;) {
		const struct ddl_change *c = &x->ddl.at[i];

		if (c != ddl_find(x, c->id) || c->dropped)
			continue;
		if (c->kind == REL_TABLE) {
			if (!strcmp(c->table->schema, schema) && !strcmp(c->table->name, name))
				return c;
			*index_out = index_named(c->table, schema, name);
			if (*index_out)
				return c;
		} else if (!strcmp(c->sequence->schema, schema) && !strcmp(c->sequence->name, name)) {
			return c;
		}
	}
	return NULL;
}

static void change_out(const struct ddl_change *c, const struct index_def *ix, struct relation_def *out)
{
	memset(out, 0, sizeof *out);
	out->kind = ix ? REL_INDEX : c->kind;
	out->table = c->table;
	out->index = ix;
	out->sequence = c->sequence;
}

static enum status need(struct access *a, atom_id atom)
{
	fetch_start(a->t, atom);
	return access_wait(a, WAIT_ATOM, atom);
}

enum status access_relation(struct access *a, const char *schema, const char *name, struct relation_def *out)
{
	struct schema_cache *c;
	const struct index_def *ix;
	const struct ddl_change *own = ddl_find_name(a->txn, schema, name, &ix);
	struct relation_def *named;
	struct slice v;
	struct buf key;
	atom_id missing = 0;
	rel_id id, table = 0;
	enum status st;

	if (own) {
		change_out(own, ix, out);
		return ST_OK;
	}
	c = lend(a);
	buf_init(&key, a->t->mem);
	schema_key_name(&key, schema, name);
	named = bmap_find(&c->by_name, key.data, key.size);
	if (named) {
		*out = *named;
		st = ST_OK;
	} else {
		st = key.size > LEAF_KEY_MAX ? ST_END
					     : schema_get(a->t, key.data, (uint32_t)key.size, &v, &missing);
		if (st == ST_OK && v.bytes != 17)
			st = ST_CORRUPT;
		if (st == ST_OK) {
			memcpy(&id, v.p, 8);
			memcpy(&table, v.p + 9, 8);
			st = schema_cached(a->t, c, table ? table : id, out, &missing);
		}
		if (st == ST_OK && table) {
			out->kind = REL_INDEX;
			out->index = index_of(out->table, id);
			ASSERT(out->index);
		}
		if (st == ST_OK) {
			named = ARENA_NEW(&c->arena, struct relation_def);
			*named = *out;
			bmap_put(&c->by_name, key.data, key.size, named);
		}
	}
	buf_fini(&key);
	if (st == ST_WAIT)
		return need(a, missing);
	if (st)
		return st == ST_END ? ST_UNDEFINED_TABLE : st;
	/* dropped or renamed here, whatever the catalog still says */
	id = out->kind == REL_SEQUENCE ? out->sequence->id : out->table->id;
	return ddl_find(a->txn, id) ? ST_UNDEFINED_TABLE : ST_OK;
}

enum status access_relation_by_id(struct access *a, rel_id id, struct relation_def *out)
{
	const struct ddl_change *own = ddl_find(a->txn, id);
	atom_id missing = 0;
	enum status st;

	if (own) {
		change_out(own, NULL, out);
		return own->dropped ? ST_UNDEFINED_TABLE : ST_OK;
	}
	st = schema_cached(a->t, lend(a), id, out, &missing);
	return st == ST_WAIT ? need(a, missing) : st;
}

/* The first id after @after whose definition is under @tag. ST_END. */
static enum status next_tagged(struct txns *t, char tag, rel_id after, rel_id *id_out, atom_id *need_out)
{
	struct buf key;
	enum status st = ST_END;
	uint64_t be = 0;

	buf_init(&key, t->mem);
	put_u8(&key, (uint8_t)tag);
	be_put_u64(&key, after + 1);
	for (;;) {
		struct arena arena;
		struct leaf_entry e;
		struct route route;
		uint32_t count = 0;

		st = replica_route_catalog(t->rp, ATOM_SCHEMA_CAT, key.data, (uint32_t)key.size, &route);
		if (st)
			break;
		if (!route.frame || !replica_current(t->rp, route.frame)) {
			*need_out = route.atom;
			st = ST_WAIT;
			break;
		}
		arena_init(&arena, t->mem);
		st = leaf_scan(replica_store(t->rp), route.frame, LEAF_NEWEST, key.data, (uint32_t)key.size, false,
			       false, 1, &arena, &e, &count);
		if (st == ST_OK && count) {
			st = e.key.bytes >= 9 && e.key.p[0] == (uint8_t)tag ? ST_OK : ST_END;
			if (st == ST_OK)
				memcpy(&be, e.key.p + 1, 8);
		}
		arena_fini(&arena);
		if (st || count)
			break;
		if (!leaf_hi(route.frame).bytes) {
			st = ST_END;
			break;
		}
		buf_reset(&key);
		buf_put(&key, leaf_hi(route.frame).p, leaf_hi(route.frame).bytes);
	}
	buf_fini(&key);
	if (st == ST_OK)
		*id_out = __builtin_bswap64(be);
	return st;
}

enum status access_relation_next(struct access *a, rel_id after, struct relation_def *out, rel_id *id_out)
{
	for (;;) {
		rel_id best = UINT64_MAX, id;
		atom_id missing = 0;
		enum status st;
		static const char tags[] = {'T', 'Q'};

		for (int i = 0; i < 2; i++) {
			st = next_tagged(a->t, tags[i], after, &id, &missing);
			if (st == ST_WAIT)
				return need(a, missing);
			if (st && st != ST_END)
				return st;
			if (st == ST_OK && id < best)
				best = id;
		}
		for (size_t i = 0; a->txn && i < a->txn->ddl.count; i++)
			if (a->txn->ddl.at[i].id > after && a->txn->ddl.at[i].id < best)
				best = a->txn->ddl.at[i].id;
		if (best == UINT64_MAX)
			return ST_END;
		*id_out = best;
		st = access_relation_by_id(a, best, out);
		if (st != ST_UNDEFINED_TABLE)
			return st;
		after = best; /* dropped here */
	}
}

uint64_t access_schema_version(const struct access *a)
{
	/* own changes count, and never look like a committed version */
	return (replica_schema_version(a->t->rp) + (a->t->replica_resets << 30)) << 20 ^ (a->txn && a->txn->ddl_version ? a->txn->id << 40 | a->txn->ddl_version : 0);
}

enum status ddl_sequence(struct txns *t, rel_id id, struct sequence_def **out)
{
	struct relation_def def;
	atom_id missing = 0;
	enum status st = schema_cached(t, schema_cache_get(t), id, &def, &missing);

	if (st == ST_WAIT) {
		fetch_start(t, missing);
		return ST_WAIT;
	}
	if (st || def.kind != REL_SEQUENCE)
		return ST_UNDEFINED_TABLE;
	*out = (struct sequence_def *)def.sequence;
	return ST_OK;
}
