/*
 * ddl.c - definitions as part of a transaction (engine/txn): own changes until the commit, and what the commit says.
 *
 * A change is put whole; the newest per relation counts. At the commit each is compared with what the catalog
 * had: names and chunks of definitions are put and removed, new storages of indexes and sequences get their first atom,
 * storages that are no longer referenced are destroyed. Data atoms of a table need nothing: they are made by
 * creates when rows need room (slots.c). An index that is built from many rows gets its leaves ahead, by a create
 * with fences, so that no single leaf has to take them all.
 */
#include <stdio.h>

#include "engine/txn/txn_int.h"

#define AHEAD_KEYS 3000            /* more than this, and leaves are made ahead */
#define AHEAD_LEAF_BYTES (96u << 10)
#define REL_ID_SHIFT 20            /* relation ids: engine << 20 | number */

rel_id access_new_rel_id(struct access *a)
{
	return a->t->self << REL_ID_SHIFT | ++a->t->next_rel;
}

static struct sequence_def *sequence_copy(struct arena *arena, const struct sequence_def *s)
{
	struct sequence_def *c = arena_dup(arena, s, sizeof *s);

	c->schema = arena_strdup(arena, s->schema);
	c->name = arena_strdup(arena, s->name);
	return c;
}

/* -- names: unique keys of the schema catalog --------------------------------------------------------------- */

struct names { VEC(struct buf) at; struct mem *mem; };

static void name_add(struct names *n, const char *schema, const char *name)
{
	struct buf key, b;

	buf_init(&key, n->mem);
	buf_init(&b, n->mem);
	schema_key_name(&key, schema, name);
	put_u8(&b, 'k');
	put_u64(&b, ATOM_SCHEMA_CAT);
	buf_put(&b, key.data, key.size);
	buf_fini(&key);
	VEC_PUSH(n->mem, &n->at, b);
}

static void names_fini(struct names *n)
{
	for (size_t i = 0; i < n->at.count; i++)
		buf_fini(&n->at.at[i]);
	VEC_FINI(n->mem, &n->at);
}

static bool table_has_name(const struct table_def *t, const char *schema, const char *name)
{
	if (!t || strcmp(t->schema, schema))
		return false;
	if (!strcmp(t->name, name))
		return true;
	for (uint16_t i = 0; i < t->index_count; i++)
		if (!strcmp(t->indexes[i].name, name))
			return true;
	return false;
}

/* Is the name free, or only taken by what this transaction dropped or changed? */
static enum status name_free(struct access *a, const struct buf *lock_name, struct error *err)
{
	struct txn *x = a->txn;
	const struct held_lock *h = bmap_find(&x->held, lock_name->data, lock_name->size);
	const char *schema = (const char *)lock_name->data + 10, *name = schema + strlen(schema) + 1;
	int name_len = (int)(lock_name->size - (size_t)(name - (const char *)lock_name->data));
	char text[SCHEMA_NAME_MAX + 1];
	const struct index_def *ix;
	const struct ddl_change *own;
	atom_id missing = 0;
	enum status st;

	snprintf(text, sizeof text, "%.*s", name_len, name);
	own = ddl_find_name(x, schema, text, &ix);
	if (!own) {
		struct slice v;
		rel_id id, table;

		if (!h || !h->value)
			return ST_OK;
		/*
		 * It is in the catalog: free only if its owner was changed here and no longer has it. The originator
		 * has said so as of its own index: a copy that is behind would not know the name yet (P9).
		 */
		if (h->floor > txns_applied(a->t))
			return access_wait(a, WAIT_APPLIED, h->floor);
		st = schema_get(a->t, lock_name->data + 9, (uint32_t)lock_name->size - 9, &v, &missing);
		if (st == ST_WAIT) {
			fetch_start(a->t, missing);
			return access_wait(a, WAIT_ATOM, missing);
		}
		if (st)
			return ST_OK;
		memcpy(&id, v.p, 8);
		memcpy(&table, v.p + 9, 8);
		own = ddl_find(x, table ? table : id);
		if (own)
			return ST_OK;
	}
	error_set(err, ST_DUPLICATE_TABLE, "relation \"%s\" already exists", text);
	snprintf(err->relation, sizeof err->relation, "%s", text);
	return ST_DUPLICATE_TABLE;
}

static enum status names_lock(struct access *a, struct names *n, struct error *err)
{
	const uint8_t *keys[SCHEMA_INDEX_COLUMNS_MAX * 8];
	uint32_t lens[SCHEMA_INDEX_COLUMNS_MAX * 8];
	enum status st;

	if (n->at.count > SCHEMA_INDEX_COLUMNS_MAX * 8)
		return error_set(err, ST_PROGRAM_LIMIT, "too many new names in one definition");
	for (size_t i = 0; i < n->at.count; i++) {
		keys[i] = n->at.at[i].data;
		lens[i] = (uint32_t)n->at.at[i].size;
	}
	st = grants_acquire(a, keys, lens, (uint32_t)n->at.count, ROW_LOCK_UPDATE, false, err);
	if (st == ST_AGAIN)
		return access_wait(a, WAIT_APPLIED, txns_applied(a->t) + 1);
	for (size_t i = 0; !st && i < n->at.count; i++)
		st = name_free(a, &n->at.at[i], err);
	return st;
}

/* -- putting ---------------------------------------------------------------------------------------------------- */

/* What the catalog has of a relation now, for a first change of it. */
static enum status old_definition(struct access *a, rel_id id, struct ddl_change *c)
{
	const struct ddl_change *before = ddl_find(a->txn, id);
	struct relation_def def;
	atom_id missing = 0;
	enum status st;

	if (before) {
		c->old_table = before->old_table;
		c->old_sequence = before->old_sequence;
		c->state = before->state;
		c->is_new = before->is_new;
		return ST_OK;
	}
	st = schema_cached(a->t, schema_cache_get(a->t), id, &def, &missing);
	if (st == ST_WAIT) {
		fetch_start(a->t, missing);
		return access_wait(a, WAIT_ATOM, missing);
	}
	if (st == ST_UNDEFINED_TABLE) {
		c->is_new = true;
		return ST_OK;
	}
	if (st)
		return st;
	if (def.kind == REL_SEQUENCE)
		c->old_sequence = sequence_copy(&a->txn->arena, def.sequence);
	else
		c->old_table = schema_table_copy(def.table, &a->txn->arena);
	return ST_OK;
}

static void change_push(struct access *a, const struct ddl_change *c)
{
	VEC_PUSH(a->t->mem, &a->txn->ddl, *c);
	a->txn->ddl_version++;
	a->txn->wrote = true;
}

static const struct table_def *current_table(const struct txn *x, const struct ddl_change *c)
{
	const struct ddl_change *before = ddl_find(x, c->id);

	return before ? before->dropped ? NULL : before->table : c->old_table;
}

enum status access_put_table(struct access *a, const struct table_def *t, struct error *err)
{
	struct ddl_change c = {.id = t->id, .kind = REL_TABLE};
	struct names names = {.mem = a->t->mem};
	const struct table_def *now;
	enum status st = old_definition(a, t->id, &c);

	if (st)
		return st;
	now = current_table(a->txn, &c);
	if (!table_has_name(now, t->schema, t->name))
		name_add(&names, t->schema, t->name);
	for (uint16_t i = 0; i < t->index_count; i++)
		if (!table_has_name(now, t->schema, t->indexes[i].name))
			name_add(&names, t->schema, t->indexes[i].name);
	st = names_lock(a, &names, err);
	names_fini(&names);
	if (st)
		return st;
	c.table = schema_table_copy(t, &a->txn->arena);
	change_push(a, &c);
	return ST_OK;
}

enum status access_put_sequence(struct access *a, const struct sequence_def *s, struct error *err)
{
	struct ddl_change c = {.id = s->id, .kind = REL_SEQUENCE};
	struct names names = {.mem = a->t->mem};
	const struct ddl_change *before = ddl_find(a->txn, s->id);
	const struct sequence_def *now;
	enum status st = old_definition(a, s->id, &c);

	if (st)
		return st;
	now = before ? before->sequence : c.old_sequence;
	if (!now || strcmp(now->schema, s->schema) || strcmp(now->name, s->name))
		name_add(&names, s->schema, s->name);
	st = names_lock(a, &names, err);
	names_fini(&names);
	if (st)
		return st;
	c.sequence = sequence_copy(&a->txn->arena, s);
	if (!c.state) {
		c.state = ARENA_NEW(&a->txn->arena, struct sequence_state);
		c.state->next = s->start;
	}
	change_push(a, &c);
	return ST_OK;
}

enum status access_drop_relation(struct access *a, rel_id id, struct error *err)
{
	struct ddl_change c = {.id = id, .dropped = true, .kind = REL_TABLE};
	const struct ddl_change *before = ddl_find(a->txn, id);
	enum status st = old_definition(a, id, &c);

	if (st)
		return st;
	if ((before && before->dropped) || (!before && c.is_new))
		return error_set(err, ST_UNDEFINED_TABLE, "relation does not exist");
	if ((before && before->kind == REL_SEQUENCE) || c.old_sequence)
		c.kind = REL_SEQUENCE;
	c.table = before ? before->table : c.old_table;
	c.sequence = before ? before->sequence : c.old_sequence;
	change_push(a, &c);
	return ST_OK;
}

/* -- sequences of this transaction ----------------------------------------------------------------------------- */

static const struct ddl_change *own_sequence(struct access *a, rel_id seq)
{
	const struct ddl_change *c = ddl_find(a->txn, seq);

	return c && c->is_new && !c->dropped && c->kind == REL_SEQUENCE ? c : NULL;
}

enum status ddl_own_sequence_next(struct access *a, rel_id seq, uint32_t n, int64_t *values_out, struct error *err)
{
	const struct ddl_change *c = own_sequence(a, seq);
	const struct sequence_def *d = c ? c->sequence : NULL;

	if (!c)
		return ST_END;
	for (uint32_t i = 0; i < n; i++) {
		i128 after;

		if (c->state->exhausted && !d->cycle)
			return sequence_limit(d, err);
		if (c->state->exhausted) {
			c->state->next = d->increment > 0 ? d->min : d->max;
			c->state->exhausted = 0;
		}
		values_out[i] = c->state->next;
		after = (i128)c->state->next + d->increment;
		c->state->exhausted = after > d->max || after < d->min;
		if (!c->state->exhausted)
			c->state->next = (int64_t)after;
	}
	return ST_OK;
}

enum status ddl_own_sequence_set(struct access *a, rel_id seq, int64_t value, bool is_called)
{
	const struct ddl_change *c = own_sequence(a, seq);
	int64_t skip;

	if (!c)
		return ST_END;
	c->state->next = value;
	c->state->exhausted = 0;
	return is_called ? ddl_own_sequence_next(a, seq, 1, &skip, NULL) : ST_OK;
}

/* -- leaves ahead for an index that is built -------------------------------------------------------------------- */

static bool made_ahead(const struct txn *x, rel_id storage)
{
	for (size_t i = 0; i < x->pre_created.count; i++)
		if (x->pre_created.at[i] == storage)
			return true;
	return false;
}

static void ahead_done(struct txns *t, struct submission *s, enum verdict v, enum void_cause cause, seq_index index)
{
	struct txn *x = NULL;

	(void)cause;
	(void)index;
	LIST_FOREACH(it, &t->txns)
		if (CONTAINER_OF(it, struct txn, all)->id == s->txn)
			x = CONTAINER_OF(it, struct txn, all);
	if (!x)
		return;
	x->pre_creating = false;
	if (v != VERDICT_OK)
		x->doomed = true;
	txns_wake(t, WAIT_SUBMISSION, x->id);
}

static void create_ahead(struct txns *t, struct txn *x, const struct overlay_index *own)
{
	struct slice *fences = mem_alloc(t->mem, CREATE_ATOMS_MAX * sizeof *fences);
	struct create_payload c = {.storage = own->storage, .kind = ATOM_INDEX, .count = 1, .fences = fences};
	struct record r = {.kind = REC_CREATE, .txn = x->id};
	uint64_t total = 0, per_leaf, filled = 0;
	struct submission *s;
	struct buf b;

	for (const struct overlay_key *k = own->heads[0]; k; k = k->next[0])
		total += k->key_len + 32;
	per_leaf = total / (CREATE_ATOMS_MAX / 2);
	if (per_leaf < AHEAD_LEAF_BYTES)
		per_leaf = AHEAD_LEAF_BYTES;
	for (const struct overlay_key *k = own->heads[0]; k; k = k->next[0]) {
		filled += k->key_len + 32;
		if (filled > per_leaf && c.count < CREATE_ATOMS_MAX) {
			fences[c.count++] = (struct slice){k->key, k->key_len, 0};
			filled = 0;
		}
	}
	buf_init(&b, t->mem);
	create_encode(&b, &c);
	s = txns_submit(t, &r, &b);
	s->done = ahead_done;
	s->txn = x->id;
	x->pre_creating = true;
	VEC_PUSH(t->mem, &x->pre_created, own->storage);
	buf_fini(&b);
	mem_free(t->mem, fences, CREATE_ATOMS_MAX * sizeof *fences);
}

static bool has_storage(const struct table_def *t, rel_id storage)
{
	for (uint16_t i = 0; t && i < t->index_count; i++)
		if (t->indexes[i].storage == storage)
			return true;
	return false;
}

static enum status leaf_needed(struct access *a, enum atom_kind catalog, const void *key, uint32_t key_len)
{
	struct route route;
	enum status st = replica_route_catalog(a->t->rp, catalog, key, key_len, &route);

	if (st)
		return st;
	if (route.frame && replica_usable(a->t->rp, route.frame))
		return ST_OK;
	fetch_start(a->t, route.atom);
	return access_wait(a, WAIT_ATOM, route.atom);
}

/* P15: the leaves that will route to and list the atoms of this commit are here before it is sent. */
enum status ddl_prepare(struct access *a, struct error *err)
{
	struct txn *x = a->txn;
	uint8_t high[8];
	enum status st;

	(void)err;
	if (!x->ddl.count)
		return ST_OK;
	memset(high, 0xff, sizeof high);
	if ((st = leaf_needed(a, ATOM_DATA_CAT, high, 8)) || (st = leaf_needed(a, ATOM_SCHEMA_CAT, "T", 1)))
		return st;
	if (x->pre_creating)
		return access_wait(a, WAIT_SUBMISSION, x->id);
	for (size_t i = 0; i < x->ddl.count; i++) {
		const struct ddl_change *c = &x->ddl.at[i];

		if (c != ddl_find(x, c->id) || c->dropped)
			continue;
		if (c->kind == REL_SEQUENCE) {
			uint64_t be = __builtin_bswap64(c->id);

			st = leaf_needed(a, ATOM_SEQUENCE_CAT, &be, 8);
			if (st)
				return st;
			continue;
		}
		for (uint16_t k = 0; k < c->table->index_count; k++) {
			const struct index_def *ix = &c->table->indexes[k];
			struct overlay_index *own = overlay_index(&x->overlay, ix->storage);
			uint64_t be = __builtin_bswap64(ix->storage);

			if (has_storage(c->old_table, ix->storage))
				continue;
			st = leaf_needed(a, ATOM_INDEX_CAT, &be, 8);
			if (st)
				return st;
			if (own && own->count > AHEAD_KEYS && !made_ahead(x, ix->storage)) {
				create_ahead(a->t, x, own);
				return access_wait(a, WAIT_SUBMISSION, x->id);
			}
		}
	}
	return ST_OK;
}

/* -- the commit's operations --------------------------------------------------------------------------------------- */

void ddl_encode_first(struct access *a, struct buf *out)
{
	struct txn *x = a->txn;

	for (size_t i = 0; i < x->ddl.count; i++) {
		const struct ddl_change *c = &x->ddl.at[i];

		if (c != ddl_find(x, c->id) || c->dropped)
			continue;
		if (c->kind == REL_SEQUENCE) {
			if (c->is_new)
				op_encode_new_atom(out, c->id, ATOM_SEQUENCE, c->state, sizeof *c->state);
			continue;
		}
		for (uint16_t k = 0; k < c->table->index_count; k++) {
			rel_id storage = c->table->indexes[k].storage;

			if (!has_storage(c->old_table, storage) && !made_ahead(x, storage))
				op_encode_new_atom(out, storage, ATOM_INDEX, NULL, 0);
		}
	}
}

static void put_name(struct txns *t, struct buf *out, const char *schema, const char *name, rel_id id,
		     enum rel_kind kind, rel_id table)
{
	struct buf key;
	uint8_t value[17];

	buf_init(&key, t->mem);
	schema_key_name(&key, schema, name);
	memcpy(value, &id, 8);
	value[8] = (uint8_t)kind;
	memcpy(value + 9, &table, 8);
	op_encode_catalog(out, OP_CATALOG_PUT, ATOM_SCHEMA_CAT, key.data, (uint32_t)key.size, value, sizeof value);
	buf_fini(&key);
}

static void remove_name(struct txns *t, struct buf *out, const char *schema, const char *name)
{
	struct buf key;

	buf_init(&key, t->mem);
	schema_key_name(&key, schema, name);
	op_encode_catalog(out, OP_CATALOG_REMOVE, ATOM_SCHEMA_CAT, key.data, (uint32_t)key.size, NULL, 0);
	buf_fini(&key);
}

static uint16_t table_chunks(struct txns *t, const struct table_def *def, struct buf *out)
{
	struct buf b, key;
	uint16_t chunk = 0;

	buf_init(&b, t->mem);
	buf_init(&key, t->mem);
	schema_table_encode(def, &b);
	for (size_t at = 0; at < b.size; at += SCHEMA_CHUNK, chunk++) {
		size_t n = b.size - at < SCHEMA_CHUNK ? b.size - at : SCHEMA_CHUNK;

		if (!out)
			continue;
		buf_reset(&key);
		schema_key_table(&key, def->id, chunk);
		op_encode_catalog(out, OP_CATALOG_PUT, ATOM_SCHEMA_CAT, key.data, (uint32_t)key.size, b.data + at,
				  (uint32_t)n);
	}
	buf_fini(&key);
	buf_fini(&b);
	return chunk;
}

static void encode_table(struct txns *t, const struct ddl_change *c, struct buf *out)
{
	const struct table_def *old = c->old_table, *def = c->dropped ? NULL : c->table;
	uint16_t had = old ? table_chunks(t, old, NULL) : 0, has = def ? table_chunks(t, def, out) : 0;
	struct buf key;

	buf_init(&key, t->mem);
	for (uint16_t chunk = has; chunk < had; chunk++) {
		buf_reset(&key);
		schema_key_table(&key, c->id, chunk);
		op_encode_catalog(out, OP_CATALOG_REMOVE, ATOM_SCHEMA_CAT, key.data, (uint32_t)key.size, NULL, 0);
	}
	buf_fini(&key);
	if (old && !table_has_name(def, old->schema, old->name))
		remove_name(t, out, old->schema, old->name);
	for (uint16_t i = 0; old && i < old->index_count; i++) {
		if (!table_has_name(def, old->schema, old->indexes[i].name))
			remove_name(t, out, old->schema, old->indexes[i].name);
		if (!has_storage(def, old->indexes[i].storage))
			op_encode_destroy(out, old->indexes[i].storage);
	}
	if (old && (!def || def->storage != old->storage))
		op_encode_destroy(out, old->storage);
	if (!def)
		return;
	put_name(t, out, def->schema, def->name, def->id, REL_TABLE, 0);
	for (uint16_t i = 0; i < def->index_count; i++)
		put_name(t, out, def->schema, def->indexes[i].name, def->indexes[i].id, REL_INDEX, def->id);
}

static void encode_sequence(struct txns *t, const struct ddl_change *c, struct buf *out)
{
	const struct sequence_def *old = c->old_sequence;
	struct buf key, value;

	buf_init(&key, t->mem);
	buf_init(&value, t->mem);
	schema_key_sequence(&key, c->id);
	if (c->dropped) {
		if (old) {
			op_encode_catalog(out, OP_CATALOG_REMOVE, ATOM_SCHEMA_CAT, key.data, (uint32_t)key.size, NULL,
					  0);
			remove_name(t, out, old->schema, old->name);
			op_encode_destroy(out, c->id);
		}
	} else {
		schema_sequence_encode(c->sequence, &value);
		op_encode_catalog(out, OP_CATALOG_PUT, ATOM_SCHEMA_CAT, key.data, (uint32_t)key.size, value.data,
				  (uint32_t)value.size);
		if (old && (strcmp(old->schema, c->sequence->schema) || strcmp(old->name, c->sequence->name)))
			remove_name(t, out, old->schema, old->name);
		put_name(t, out, c->sequence->schema, c->sequence->name, c->id, REL_SEQUENCE, 0);
	}
	buf_fini(&value);
	buf_fini(&key);
}

/* Removals of names come before puts: a name may go from one relation to another in one commit. */
void ddl_encode(struct access *a, struct buf *out)
{
	struct txn *x = a->txn;

	for (int dropped = 1; dropped >= 0; dropped--)
		for (size_t i = 0; i < x->ddl.count; i++) {
			const struct ddl_change *c = &x->ddl.at[i];

			if (c != ddl_find(x, c->id) || c->dropped != (bool)dropped)
				continue;
			if (c->kind == REL_SEQUENCE)
				encode_sequence(a->t, c, out);
			else
				encode_table(a->t, c, out);
		}
}

/*
 * The transaction rolled back: leaves of indexes made ahead are of no use, nor are atoms for the rows of its new tables.
 * Creates survive a rollback (P12), so a record destroys them; it comes behind those that are still on their way.
 */
static void destroy_ahead(struct txns *t, struct txn *x)
{
	struct record r = {.kind = REC_COMMIT, .attempt = 1};
	struct buf b;

	if (!t->self || x->self != t->self)
		return;
	buf_init(&b, t->mem);
	for (size_t i = 0; i < x->pre_created.count; i++)
		op_encode_destroy(&b, x->pre_created.at[i]);
	for (size_t i = 0; i < x->ddl.count; i++) {
		const struct ddl_change *c = &x->ddl.at[i];

		if (c == ddl_find(x, c->id) && c->kind == REL_TABLE && !c->dropped &&
		    (!c->old_table || c->old_table->storage != c->table->storage) &&
		    slots_asked(t, c->table->storage))
			op_encode_destroy(&b, c->table->storage);
	}
	if (b.size && b.size <= RECORD_PAYLOAD_MAX) {
		r.txn = t->next_txn++;
		txns_submit(t, &r, &b);
	}
	buf_fini(&b);
}

void ddl_rolled_back(struct txns *t, struct txn *x)
{
	destroy_ahead(t, x);
	intents_finish(t, x);
}
