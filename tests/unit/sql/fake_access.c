/*
 * fake_access.c - a store behind access.h for tests of the SQL layer.
 */
#include "sql/fake_access.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/env.h"
#include "base/list.h"
#include "base/map.h"

#define CHUNK 256
#define TURN_BYTES (4u << 20)

struct row { row_id id; bool live; struct cell *cells; uint16_t count; };
struct table { VEC(struct row) rows; };
struct entry { uint8_t *key; uint32_t bytes; row_id row; };
struct chunk { uint32_t n; struct entry at[CHUNK]; };
struct index { VEC(struct chunk *) chunks; };
struct def { rel_id id; struct table_def *table; struct sequence_def *seq; };
struct seq_state { rel_id id; int64_t next; bool done; };

enum undo_kind { U_INSERT, U_UPDATE, U_DELETE, U_KEY_ADD, U_KEY_REMOVE, U_DEF };
struct undo { uint8_t kind; rel_id storage; row_id row; struct cell *cells; uint16_t count; struct entry key; struct def def; bool had; };

struct fake_name { char name[80]; seq_index index; };
struct engine {
	struct mem *mem;
	VEC(struct fake_name) names;
	struct arena arena;
	struct map tables, indexes;
	VEC(struct def) defs;
	VEC(struct seq_state) seqs;
	VEC(struct undo) undo;
	uint64_t version, next_rel, commits, index, now_us, wall_offset_us;
	struct rng rng;
	uint32_t wait_of, again_of, again_run;
	uint8_t *turn;
	size_t turn_used;
};
struct access {
	struct engine *e;
	bool in_txn, in_stmt, read_only, cancel;
	size_t stmt_undo;
	VEC(size_t) savepoints;
	uint64_t begun_us;
	seq_index last_commit;
	char name[80];
	const void *session;
	uint32_t advisory[2][2]; /* of the session; shared */
};

static bool trouble(struct access *a)
{
	return a->e->wait_of && rng_below(&a->e->rng, a->e->wait_of) == 0;
}
#define MAYBE_WAIT(a)                              \
	do {                                       \
		if ((a)->cancel)                   \
			return ST_CANCELED;        \
		if (trouble(a))                    \
			return ST_WAIT;            \
	} while (0)

struct engine *fake_engine_new(struct mem *mem)
{
	struct engine *e = MEM_NEW(mem, struct engine);

	e->mem = mem;
	arena_init(&e->arena, mem);
	map_init(&e->tables, mem);
	map_init(&e->indexes, mem);
	e->version = 1;
	e->next_rel = 20000;
	e->now_us = UINT64_C(1700000000000000);
	rng_init(&e->rng, 7);
	e->turn = mem_alloc(mem, TURN_BYTES);
	return e;
}

void fake_engine_free(struct engine *e)
{
	struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&e->tables, &at))) {
		struct table *t = s->value;

		VEC_FINI(e->mem, &t->rows);
		MEM_FREE(e->mem, t);
	}
	at = 0;
	while ((s = map_next(&e->indexes, &at))) {
		struct index *ix = s->value;

		for (size_t i = 0; i < ix->chunks.count; i++)
			MEM_FREE(e->mem, ix->chunks.at[i]);
		VEC_FINI(e->mem, &ix->chunks);
		MEM_FREE(e->mem, ix);
	}
	VEC_FINI(e->mem, &e->names);
	map_fini(&e->tables);
	map_fini(&e->indexes);
	VEC_FINI(e->mem, &e->defs);
	VEC_FINI(e->mem, &e->seqs);
	VEC_FINI(e->mem, &e->undo);
	mem_free(e->mem, e->turn, TURN_BYTES);
	arena_fini(&e->arena);
	MEM_FREE(e->mem, e);
}

void fake_trouble(struct engine *e, uint32_t wait_one_of, uint32_t again_one_of)
{
	e->wait_of = wait_one_of;
	e->again_of = again_one_of;
}

void fake_turn(struct engine *e)
{
	memset(e->turn, 0xdd, e->turn_used);
	e->turn_used = 0;
	e->now_us += 7;
}

void fake_advance_us(struct engine *e, uint64_t us) { e->now_us += us; }
void fake_set_clock(struct engine *e, int64_t by_us) { e->wall_offset_us += (uint64_t)by_us; }
uint64_t fake_commits(const struct engine *e) { return e->commits; }

static const uint8_t *turn_copy(struct engine *e, const uint8_t *p, uint32_t bytes)
{
	uint8_t *out;

	if (e->turn_used + bytes > TURN_BYTES)
		return p;
	out = e->turn + e->turn_used;
	memcpy(out, p, bytes);
	e->turn_used += bytes;
	return out;
}

/* -- structures ---------------------------------------------------------------------------------------------- */

static struct table *table_of(struct engine *e, rel_id storage)
{
	struct table *t = map_find(&e->tables, storage);

	if (!t) {
		t = MEM_NEW(e->mem, struct table);
		map_put(&e->tables, storage, t);
	}
	return t;
}

static struct row *row_find(struct table *t, row_id id)
{
	return id && id <= t->rows.count ? &t->rows.at[id - 1] : NULL;
}

static struct index *index_of(struct engine *e, rel_id storage)
{
	struct index *ix = map_find(&e->indexes, storage);

	if (!ix) {
		ix = MEM_NEW(e->mem, struct index);
		map_put(&e->indexes, storage, ix);
	}
	return ix;
}

static int key_cmp(const void *a, uint32_t an, const void *b, uint32_t bn)
{
	int c = memcmp(a, b, an < bn ? an : bn);

	return c ? c : (an > bn) - (an < bn);
}

/* Position of the first entry >= key. */
static void seek(const struct index *ix, const void *key, uint32_t bytes, size_t *chunk, uint32_t *at)
{
	size_t lo = 0, hi = ix->chunks.count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct chunk *c = ix->chunks.at[mid];

		if (key_cmp(c->at[c->n - 1].key, c->at[c->n - 1].bytes, key, bytes) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*chunk = lo;
	*at = 0;
	if (lo == ix->chunks.count)
		return;
	while (key_cmp(ix->chunks.at[lo]->at[*at].key, ix->chunks.at[lo]->at[*at].bytes, key, bytes) < 0)
		(*at)++;
}

static void entry_add(struct engine *e, rel_id storage, struct entry en)
{
	struct index *ix = index_of(e, storage);
	struct chunk *c;
	size_t ci;
	uint32_t at;

	seek(ix, en.key, en.bytes, &ci, &at);
	if (ci == ix->chunks.count) {
		if (ci && ix->chunks.at[ci - 1]->n < CHUNK) {
			c = ix->chunks.at[ci - 1];
			c->at[c->n++] = en;
			return;
		}
		c = MEM_NEW(e->mem, struct chunk);
		VEC_PUSH(e->mem, &ix->chunks, c);
		c->at[c->n++] = en;
		return;
	}
	c = ix->chunks.at[ci];
	if (c->n == CHUNK) {
		struct chunk *half = MEM_NEW(e->mem, struct chunk);

		VEC_PUSH(e->mem, &ix->chunks, half);
		memmove(&ix->chunks.at[ci + 2], &ix->chunks.at[ci + 1], (ix->chunks.count - ci - 2) * sizeof c);
		ix->chunks.at[ci + 1] = half;
		half->n = CHUNK / 2;
		memcpy(half->at, &c->at[CHUNK / 2], sizeof *c->at * (CHUNK / 2));
		c->n = CHUNK / 2;
		entry_add(e, storage, en);
		return;
	}
	memmove(&c->at[at + 1], &c->at[at], (c->n - at) * sizeof *c->at);
	c->at[at] = en;
	c->n++;
}

static bool entry_remove(struct engine *e, rel_id storage, const void *key, uint32_t bytes, struct entry *out)
{
	struct index *ix = index_of(e, storage);
	struct chunk *c;
	size_t ci;
	uint32_t at;

	seek(ix, key, bytes, &ci, &at);
	if (ci == ix->chunks.count)
		return false;
	c = ix->chunks.at[ci];
	if (key_cmp(c->at[at].key, c->at[at].bytes, key, bytes))
		return false;
	*out = c->at[at];
	memmove(&c->at[at], &c->at[at + 1], (c->n - at - 1) * sizeof *c->at);
	if (--c->n == 0) {
		MEM_FREE(e->mem, c);
		memmove(&ix->chunks.at[ci], &ix->chunks.at[ci + 1], (ix->chunks.count - ci - 1) * sizeof c);
		ix->chunks.count--;
	}
	return true;
}

static struct entry *entry_find(struct engine *e, rel_id storage, const void *key, uint32_t bytes)
{
	struct index *ix = index_of(e, storage);
	size_t ci;
	uint32_t at;

	seek(ix, key, bytes, &ci, &at);
	if (ci == ix->chunks.count || key_cmp(ix->chunks.at[ci]->at[at].key, ix->chunks.at[ci]->at[at].bytes, key, bytes))
		return NULL;
	return &ix->chunks.at[ci]->at[at];
}

static void note(struct engine *e, struct undo u)
{
	VEC_PUSH(e->mem, &e->undo, u);
}

static struct def *def_find(struct engine *e, rel_id id)
{
	for (size_t i = 0; i < e->defs.count; i++)
		if (e->defs.at[i].id == id)
			return &e->defs.at[i];
	return NULL;
}

static void undo_to(struct engine *e, size_t mark)
{
	while (e->undo.count > mark) {
		struct undo u = e->undo.at[--e->undo.count];
		struct row *r = u.kind <= U_DELETE ? row_find(table_of(e, u.storage), u.row) : NULL;
		struct entry en;
		struct def *d;

		switch ((enum undo_kind)u.kind) {
		case U_INSERT: r->live = false; break;
		case U_UPDATE: r->cells = u.cells; r->count = u.count; break;
		case U_DELETE: r->live = true; break;
		case U_KEY_ADD: ASSERT(entry_remove(e, u.storage, u.key.key, u.key.bytes, &en)); break;
		case U_KEY_REMOVE: entry_add(e, u.storage, u.key); break;
		case U_DEF:
			d = def_find(e, u.def.id);
			*d = u.def;
			e->version++;
			break;
		}
	}
}

/* -- transactions ------------------------------------------------------------------------------------------------ */

struct access *access_new(struct engine *e, void (*wake)(void *ctx), void *ctx)
{
	struct access *a = MEM_NEW(e->mem, struct access);

	(void)wake;
	(void)ctx;
	a->e = e;
	return a;
}

void access_free(struct access *a)
{
	if (a->in_txn)
		access_rollback(a);
	VEC_FINI(a->e->mem, &a->savepoints);
	MEM_FREE(a->e->mem, a);
}

void access_begin(struct access *a, enum isolation iso, bool read_only)
{
	(void)iso;
	ASSERT(!a->in_txn);
	a->in_txn = true;
	a->read_only = read_only;
	a->begun_us = a->e->now_us;
}

bool access_in_transaction(const struct access *a) { return a->in_txn; }
void access_set_isolation(struct access *a, enum isolation iso) { (void)iso; ASSERT(a->in_txn); }
void access_set_read_only(struct access *a, bool read_only) { a->read_only = read_only; }

enum status access_statement_begin(struct access *a, struct error *err)
{
	(void)err;
	ASSERT(a->in_txn && !a->in_stmt);
	MAYBE_WAIT(a);
	a->in_stmt = true;
	a->stmt_undo = a->e->undo.count;
	return ST_OK;
}

void access_statement_inherits(struct access *a, bool may)
{
	(void)a;
	(void)may;
}

void access_statement_see_own(struct access *a)
{
	ASSERT(a->in_stmt);
}

void access_statement_end(struct access *a)
{
	ASSERT(a->in_stmt);
	a->in_stmt = a->cancel = false;
}

void access_statement_abort(struct access *a)
{
	ASSERT(a->in_stmt);
	undo_to(a->e, a->stmt_undo);
	a->in_stmt = a->cancel = false;
}

enum status access_statement_restart(struct access *a, struct error *err)
{
	(void)err;
	ASSERT(a->in_stmt);
	MAYBE_WAIT(a);
	undo_to(a->e, a->stmt_undo);
	return ST_OK;
}

static void txn_end(struct access *a)
{
	a->in_txn = a->in_stmt = a->cancel = false;
	a->savepoints.count = 0;
	a->e->undo.count = 0;
}

static seq_index name_index(const struct engine *e, const char *name)
{
	for (size_t i = 0; i < e->names.count; i++)
		if (strcmp(e->names.at[i].name, name) == 0)
			return e->names.at[i].index;
	return 0;
}

enum status access_commit(struct access *a, seq_index *index_out, struct error *err)
{
	(void)err;
	ASSERT(a->in_txn && !a->in_stmt);
	MAYBE_WAIT(a);
	if (*a->name && name_index(a->e, a->name)) { /* another session was faster */
		*index_out = name_index(a->e, a->name);
		a->name[0] = 0;
		undo_to(a->e, 0);
		txn_end(a);
		return ST_ALREADY_COMMITTED;
	}
	*index_out = a->e->undo.count || *a->name ? ++a->e->index : 0;
	a->e->commits += a->e->undo.count > 0;
	if (*index_out)
		a->last_commit = *index_out;
	if (*a->name) {
		struct fake_name n = {.index = *index_out};

		memcpy(n.name, a->name, sizeof n.name);
		VEC_PUSH(a->e->mem, &a->e->names, n);
		a->name[0] = 0;
	}
	txn_end(a);
	return ST_OK;
}

enum status access_name(struct access *a, const char *name, seq_index since)
{
	(void)since;
	ASSERT(a->in_txn && strlen(name) < sizeof a->name);
	memcpy(a->name, name, strlen(name) + 1);
	return ST_OK;
}

enum status access_named(struct access *a, const char *name, bool within_statement, seq_index *index_out, struct error *err)
{
	(void)err, (void)within_statement;
	MAYBE_WAIT(a);
	*index_out = name_index(a->e, name);
	return ST_OK;
}

void fake_named(struct engine *e, const char *name)
{
	struct fake_name n = {.index = ++e->index};

	ASSERT(strlen(name) < sizeof n.name);
	memcpy(n.name, name, strlen(name) + 1);
	VEC_PUSH(e->mem, &e->names, n);
}

bool access_early_lost(struct access *a, struct error *err_out) { (void)a; (void)err_out; return false; }
seq_index access_last_commit(const struct access *a) { return a->last_commit; }

void access_rollback(struct access *a)
{
	a->name[0] = 0;
	ASSERT(a->in_txn);
	undo_to(a->e, 0);
	txn_end(a);
}

uint32_t access_savepoint(struct access *a)
{
	VEC_PUSH(a->e->mem, &a->savepoints, a->e->undo.count);
	return (uint32_t)a->savepoints.count;
}

void access_rollback_to(struct access *a, uint32_t n)
{
	undo_to(a->e, a->savepoints.at[n - 1]);
	a->savepoints.count = n;
}

void access_release(struct access *a, uint32_t n) { a->savepoints.count = n - 1; }
seq_index access_snapshot(const struct access *a) { return a->e->index; }
bool access_snapshot_reaches(const struct access *a, seq_index index) { return index <= a->e->index; }
void access_set_commit_level(struct access *a, enum commit_level level) { (void)a; (void)level; }
void access_set_read_latest(struct access *a, bool latest) { (void)a; (void)latest; }
uint64_t access_transaction_time_us(const struct access *a) { return a->begun_us; }
bool access_waits_for_lock(const struct access *a) { (void)a; return false; }
uint64_t access_wall_us(const struct access *a) { return a->e->now_us + a->e->wall_offset_us; }
uint64_t access_now_us(const struct access *a) { return a->e->now_us; }
void access_cancel(struct access *a) { a->cancel = true; }
void access_publish(struct access *a, const void *session) { a->session = session; }
const void *access_session_at(const struct access *a, uint64_t n) { return n ? NULL : a->session; }
uint64_t access_session_count(const struct access *a) { return a != NULL; }
const char *access_wait_event(const struct access *a, const char **type_out)
{
	(void)a;
	*type_out = NULL;
	return NULL;
}

const struct access_lock *access_locks(struct access *a, struct arena *arena, uint64_t *count_out)
{
	(void)a;
	*count_out = 0;
	return ARENA_NEW(arena, struct access_lock);
}

uint32_t access_blockers(struct access *a, const void *session, const void **out, uint32_t max)
{
	(void)a;
	(void)session;
	(void)out;
	(void)max;
	return 0;
}

/* One session alone: never in anybody's way. */
enum status access_advisory_lock(struct access *a, const struct advisory_name *name, bool session, bool shared, bool nowait,
				 struct error *err)
{
	(void)name;
	(void)nowait;
	(void)err;
	a->advisory[session][shared]++;
	return ST_OK;
}

bool access_advisory_unlock(struct access *a, const struct advisory_name *name, bool shared)
{
	(void)name;
	if (!a->advisory[1][shared])
		return false;
	a->advisory[1][shared]--;
	return true;
}

void access_advisory_unlock_all(struct access *a)
{
	a->advisory[1][0] = a->advisory[1][1] = 0;
}

/* -- definitions -------------------------------------------------------------------------------------------------- */

static void rel_out(const struct def *d, const struct index_def *ix, struct relation_def *out)
{
	*out = (struct relation_def){.kind = d->seq ? REL_SEQUENCE : ix ? REL_INDEX : REL_TABLE, .table = d->table,
				     .index = ix, .sequence = d->seq};
}

enum status access_relation(struct access *a, const char *schema, const char *name, struct relation_def *out)
{
	MAYBE_WAIT(a);
	for (size_t i = 0; i < a->e->defs.count; i++) {
		const struct def *d = &a->e->defs.at[i];

		if (d->seq && !strcmp(d->seq->schema, schema) && !strcmp(d->seq->name, name)) {
			rel_out(d, NULL, out);
			return ST_OK;
		}
		if (!d->table || strcmp(d->table->schema, schema))
			continue;
		if (!strcmp(d->table->name, name)) {
			rel_out(d, NULL, out);
			return ST_OK;
		}
		for (uint32_t k = 0; k < d->table->index_count; k++)
			if (!strcmp(d->table->indexes[k].name, name)) {
				rel_out(d, &d->table->indexes[k], out);
				return ST_OK;
			}
	}
	return ST_UNDEFINED_TABLE;
}

enum status access_relation_by_id(struct access *a, rel_id id, struct relation_def *out)
{
	const struct def *d = def_find(a->e, id);

	MAYBE_WAIT(a);
	if (!d || (!d->table && !d->seq))
		return ST_UNDEFINED_TABLE;
	rel_out(d, NULL, out);
	return ST_OK;
}

enum status access_use(struct access *a, rel_id id, bool write, struct error *err)
{
	(void)id;
	(void)err;
	ASSERT(a->in_txn);
	ASSERT(!write || !a->read_only);
	MAYBE_WAIT(a);
	return ST_OK;
}

enum status access_relation_next(struct access *a, rel_id after, struct relation_def *out, rel_id *id_out)
{
	const struct def *best = NULL;

	MAYBE_WAIT(a);
	for (size_t i = 0; i < a->e->defs.count; i++) {
		const struct def *d = &a->e->defs.at[i];

		if ((d->table || d->seq) && d->id > after && (!best || d->id < best->id))
			best = d;
	}
	if (!best)
		return ST_END;
	rel_out(best, NULL, out);
	*id_out = best->id;
	return ST_OK;
}

uint64_t access_schema_version(const struct access *a) { return a->e->version; }
rel_id access_new_rel_id(struct access *a) { return ++a->e->next_rel; }

enum status access_lock_relation(struct access *a, rel_id id, struct error *err)
{
	(void)id;
	(void)err;
	ASSERT(a->in_txn);
	MAYBE_WAIT(a);
	return ST_OK;
}

static void def_put(struct access *a, struct def d)
{
	struct def *old = def_find(a->e, d.id);
	struct undo u = {.kind = U_DEF, .def = {.id = d.id}};

	if (!old) {
		struct def none = {.id = d.id};

		VEC_PUSH(a->e->mem, &a->e->defs, none);
		old = def_find(a->e, d.id);
	}
	u.def = *old;
	note(a->e, u);
	*old = d;
	a->e->version++;
}

enum status access_put_table(struct access *a, const struct table_def *t, struct error *err)
{
	uint32_t wait = a->e->wait_of;
	struct relation_def r;
	enum status st;

	MAYBE_WAIT(a);
	a->e->wait_of = 0;
	st = access_relation(a, t->schema, t->name, &r);
	a->e->wait_of = wait;
	if (st == ST_OK && !(r.kind == REL_TABLE && r.table->id == t->id))
		return error_set(err, ST_DUPLICATE_TABLE, "relation \"%s\" already exists", t->name);
	def_put(a, (struct def){.id = t->id, .table = schema_table_copy(t, &a->e->arena)});
	return ST_OK;
}

enum status access_put_sequence(struct access *a, const struct sequence_def *s, struct error *err)
{
	struct sequence_def *copy;
	bool known = false;

	(void)err;
	MAYBE_WAIT(a);
	copy = arena_dup(&a->e->arena, s, sizeof *s);
	copy->schema = arena_strdup(&a->e->arena, s->schema);
	copy->name = arena_strdup(&a->e->arena, s->name);
	for (size_t i = 0; i < a->e->seqs.count; i++)
		known = known || a->e->seqs.at[i].id == s->id;
	if (!known) {
		struct seq_state state = {s->id, s->start, false};

		VEC_PUSH(a->e->mem, &a->e->seqs, state);
	}
	def_put(a, (struct def){.id = s->id, .seq = copy});
	return ST_OK;
}

enum status access_drop_relation(struct access *a, rel_id id, struct error *err)
{
	(void)err;
	MAYBE_WAIT(a);
	ASSERT(def_find(a->e, id));
	def_put(a, (struct def){.id = id});
	return ST_OK;
}

/* -- reading ---------------------------------------------------------------------------------------------------------- */

static void cell_of(struct access *a, const struct row *r, const struct access_want *w, struct cell *out)
{
	*out = (struct cell){.phys = w->phys, .null = true};
	if (w->attno <= r->count && r->cells[w->attno - 1].attno)
		*out = r->cells[w->attno - 1];
	else if (w->missing)
		*out = *w->missing;
	ASSERT(out->null || out->phys == w->phys);
	out->phys = w->phys;
	if (!out->null && out->phys == PHYS_VAR)
		out->var = turn_copy(a->e, out->var, out->bytes);
}

static void fill(struct access *a, struct vec *v, uint32_t i, const struct row *r, const struct access_want *w,
		 struct arena *arena)
{
	struct cell c;

	cell_of(a, r, w, &c);
	if (c.null) {
		if (!v->nulls)
			v->nulls = ARENA_NEW_N(arena, uint64_t, VEC_WORDS);
		bit_set(v->nulls, i);
		return;
	}
	switch (v->phys) {
	case PHYS_BOOL: v->b[i] = (uint8_t)c.i; break;
	case PHYS_I16: v->i16[i] = (int16_t)c.i; break;
	case PHYS_I32: v->i32[i] = (int32_t)c.i; break;
	case PHYS_I64: v->i64[i] = c.i; break;
	case PHYS_F64: v->f64[i] = c.f; break;
	case PHYS_I128: v->i128[i] = c.x; break;
	default: v->var[i] = (struct slice){c.var, c.bytes, 0};
	}
}

enum status access_scan_next(struct access *a, const struct table_def *t, struct access_scan *scan,
			     const struct access_want *want, uint32_t want_count, struct arena *arena, struct vec *out,
			     row_id *row_ids_out, uint16_t *sel_out, uint32_t *sel_count_out, uint32_t *slots_out,
			     struct error *err)
{
	struct table *tb = table_of(a->e, t->storage);
	uint32_t slots, n = 0;

	(void)err;
	ASSERT(a->in_stmt);
	MAYBE_WAIT(a);
	if (scan->next >= tb->rows.count)
		return ST_END;
	slots = tb->rows.count - scan->next > VEC_ROWS ? VEC_ROWS : (uint32_t)(tb->rows.count - scan->next);
	for (uint32_t w = 0; w < want_count; w++)
		out[w] = (struct vec){.phys = want[w].phys, .data = arena_alloc(arena, (size_t)slots * phys_bytes(want[w].phys))};
	for (uint32_t i = 0; i < slots; i++) {
		const struct row *r = &tb->rows.at[scan->next + i];

		row_ids_out[i] = r->id;
		if (!r->live)
			continue;
		sel_out[n++] = (uint16_t)i;
		for (uint32_t w = 0; w < want_count; w++)
			fill(a, &out[w], i, r, &want[w], arena);
	}
	scan->next += slots;
	*sel_count_out = n;
	*slots_out = slots;
	return ST_OK;
}

enum status access_rows_get(struct access *a, const struct table_def *t, const row_id *rows, uint32_t count,
			    const struct access_want *want, uint32_t want_count, struct arena *arena, struct vec *out,
			    bool *live_out, struct error *err)
{
	(void)err;
	MAYBE_WAIT(a);
	for (uint32_t w = 0; w < want_count; w++)
		out[w] = (struct vec){.phys = want[w].phys, .data = arena_alloc(arena, (size_t)count * phys_bytes(want[w].phys) + 16)};
	for (uint32_t i = 0; i < count; i++) {
		const struct row *r = row_find(table_of(a->e, t->storage), rows[i]);

		live_out[i] = r && r->live;
		for (uint32_t w = 0; w < want_count && live_out[i]; w++)
			fill(a, &out[w], i, r, &want[w], arena);
	}
	return ST_OK;
}

enum status access_row_get(struct access *a, const struct table_def *t, row_id row, const struct access_want *want,
			   uint32_t want_count, struct cell *cells_out, bool *live_out, struct error *err)
{
	const struct row *r = row_find(table_of(a->e, t->storage), row);

	(void)err;
	MAYBE_WAIT(a);
	*live_out = r && r->live;
	for (uint32_t w = 0; w < want_count && *live_out; w++)
		cell_of(a, r, &want[w], &cells_out[w]);
	return ST_OK;
}

enum status access_index_next(struct access *a, const struct table_def *t, const struct index_def *ix,
			      struct access_index_scan *s, uint32_t max, struct arena *arena, row_id *row_ids_out,
			      struct slice *keys_out, uint32_t *count_out, struct error *err)
{
	struct index *in = index_of(a->e, ix->storage);
	size_t ci;
	uint32_t at, n = 0;

	(void)t;
	(void)err;
	*count_out = 0;
	MAYBE_WAIT(a);
	if (max > 3 && a->e->wait_of)
		max = 3; /* short answers find what counts on full ones */
	while (n < max) {
		const struct entry *e;

		if (!s->backward) {
			if (!s->started) {
				seek(in, s->lo, s->lo_len, &ci, &at);
			} else {
				seek(in, s->last, s->last_len, &ci, &at);
				if (ci < in->chunks.count && !key_cmp(in->chunks.at[ci]->at[at].key, in->chunks.at[ci]->at[at].bytes,
								       s->last, s->last_len))
					at++;
			}
			if (ci < in->chunks.count && at == in->chunks.at[ci]->n) {
				ci++;
				at = 0;
			}
			if (ci == in->chunks.count)
				break;
			e = &in->chunks.at[ci]->at[at];
			if (s->hi_len && key_cmp(e->key, e->bytes, s->hi, s->hi_len) >= 0)
				break;
		} else {
			if (s->started)
				seek(in, s->last, s->last_len, &ci, &at);
			else if (s->hi_len)
				seek(in, s->hi, s->hi_len, &ci, &at);
			else
				ci = in->chunks.count, at = 0;
			if (at == 0) {
				if (ci == 0)
					break;
				ci--;
				at = in->chunks.at[ci]->n;
			}
			e = &in->chunks.at[ci]->at[at - 1];
			if (key_cmp(e->key, e->bytes, s->lo, s->lo_len) < 0)
				break;
		}
		s->started = true;
		memcpy(s->last, e->key, e->bytes);
		s->last_len = e->bytes;
		if (keys_out)
			keys_out[n] = (struct slice){arena_dup(arena, e->key, e->bytes), e->bytes, 0};
		row_ids_out[n++] = e->row;
	}
	*count_out = n;
	return n ? ST_OK : ST_END;
}

enum status access_index_get(struct access *a, const struct table_def *t, const struct index_def *ix, const void *key,
			     uint32_t key_len, row_id *row_out, struct error *err)
{
	const struct entry *e;

	(void)t;
	(void)err;
	MAYBE_WAIT(a);
	ASSERT(ix->unique);
	e = entry_find(a->e, ix->storage, key, key_len);
	*row_out = e ? e->row : 0;
	return ST_OK;
}

void access_estimate(struct access *a, const struct table_def *t, uint64_t *rows_out, uint64_t *atoms_out)
{
	*rows_out = table_of(a->e, t->storage)->rows.count;
	*atoms_out = *rows_out / 4096 + 1;
}

/* -- writing ------------------------------------------------------------------------------------------------------------ */

enum status access_lock_rows(struct access *a, const struct table_def *t, const row_id *rows, uint32_t count,
			     enum row_lock mode, bool nowait, struct error *err)
{
	(void)t;
	(void)rows;
	(void)count;
	(void)mode;
	(void)nowait;
	(void)err;
	ASSERT(a->in_stmt);
	MAYBE_WAIT(a);
	if (a->e->again_of && rng_below(&a->e->rng, a->e->again_of) == 0 && ++a->e->again_run < 4)
		return ST_AGAIN;
	a->e->again_run = 0;
	return ST_OK;
}

enum status access_lock_keys(struct access *a, const struct table_def *t, const struct index_def *ix,
			     const struct slice *keys, uint32_t count, row_id *taken_out, struct error *err)
{
	(void)t;
	(void)err;
	ASSERT(a->in_stmt && ix->unique);
	MAYBE_WAIT(a);
	for (uint32_t i = 0; i < count; i++) {
		const struct entry *e = entry_find(a->e, ix->storage, keys[i].p, keys[i].bytes);

		taken_out[i] = e ? e->row : 0;
	}
	return ST_OK;
}

static struct entry full_key(struct access *a, const struct index_def *ix, struct slice key, bool null, row_id row)
{
	struct entry e = {.bytes = key.bytes, .row = row};
	bool suffix = !ix->unique || null;
	uint64_t be = __builtin_bswap64(row);

	e.key = arena_alloc(&a->e->arena, key.bytes + 8);
	memcpy(e.key, key.p, key.bytes);
	if (suffix) {
		memcpy(e.key + key.bytes, &be, 8);
		e.bytes += 8;
	}
	return e;
}

static void key_add(struct access *a, const struct index_def *ix, struct slice key, bool null, row_id row)
{
	struct undo u = {.kind = U_KEY_ADD, .storage = ix->storage, .key = full_key(a, ix, key, null, row)};

	ASSERT(!entry_find(a->e, ix->storage, u.key.key, u.key.bytes));
	entry_add(a->e, ix->storage, u.key);
	note(a->e, u);
}

static void key_remove(struct access *a, const struct index_def *ix, struct slice key, bool null, row_id row)
{
	struct entry k = full_key(a, ix, key, null, row), old;
	struct undo u = {.kind = U_KEY_REMOVE, .storage = ix->storage};

	ASSERT(entry_remove(a->e, ix->storage, k.key, k.bytes, &old));
	ASSERT_OP(old.row, ==, row);
	u.key = old;
	note(a->e, u);
}

static struct cell *cells_keep(struct access *a, const struct row *old, const struct cell *cells, uint32_t count, uint16_t width)
{
	struct cell *out = ARENA_NEW_N(&a->e->arena, struct cell, width + 1u);

	if (old)
		memcpy(out, old->cells, old->count * sizeof *out);
	for (uint32_t i = 0; i < count; i++) {
		struct cell c = cells[i];

		ASSERT(c.attno > 0 && c.attno <= width);
		if (!c.null && c.phys == PHYS_VAR)
			c.var = arena_dup(&a->e->arena, c.var, c.bytes + !c.bytes);
		out[c.attno - 1] = c;
	}
	return out;
}

void access_put_insert(struct access *a, const struct table_def *t, const struct cell *cells, uint32_t cell_count,
		       const struct access_key *keys, uint32_t key_count, uint64_t null_keys, row_id *row_out)
{
	struct table *tb = table_of(a->e, t->storage);
	struct row r = {.id = tb->rows.count + 1, .live = true, .count = t->column_count};
	struct undo u = {.kind = U_INSERT, .storage = t->storage, .row = r.id};

	ASSERT(a->in_stmt && !a->read_only);
	r.cells = cells_keep(a, NULL, cells, cell_count, t->column_count);
	VEC_PUSH(a->e->mem, &tb->rows, r);
	note(a->e, u);
	for (uint32_t i = 0; i < key_count; i++)
		key_add(a, keys[i].index, keys[i].key, null_keys >> i & 1, r.id);
	*row_out = r.id;
}

void access_put_update(struct access *a, const struct table_def *t, row_id row, const struct cell *cells,
		       uint32_t cell_count, const struct access_key *removed, uint64_t removed_null_keys,
		       const struct access_key *added, uint64_t added_null_keys, uint32_t removed_count,
		       uint32_t added_count)
{
	struct row *r = row_find(table_of(a->e, t->storage), row);
	struct undo u = {.kind = U_UPDATE, .storage = t->storage, .row = row};

	ASSERT(a->in_stmt && r && r->live);
	u.cells = r->cells;
	u.count = r->count;
	r->cells = cells_keep(a, r, cells, cell_count, t->column_count);
	r->count = t->column_count;
	note(a->e, u);
	for (uint32_t i = 0; i < removed_count; i++)
		key_remove(a, removed[i].index, removed[i].key, removed_null_keys >> i & 1, row);
	for (uint32_t i = 0; i < added_count; i++)
		key_add(a, added[i].index, added[i].key, added_null_keys >> i & 1, row);
}

void access_put_delete(struct access *a, const struct table_def *t, row_id row, const struct access_key *removed,
		       uint32_t removed_count, uint64_t removed_null_keys)
{
	struct row *r = row_find(table_of(a->e, t->storage), row);
	struct undo u = {.kind = U_DELETE, .storage = t->storage, .row = row};

	ASSERT(a->in_stmt && r && r->live);
	r->live = false;
	note(a->e, u);
	for (uint32_t i = 0; i < removed_count; i++)
		key_remove(a, removed[i].index, removed[i].key, removed_null_keys >> i & 1, row);
}

void access_put_index_entries(struct access *a, const struct table_def *t, const struct index_def *ix,
			      const struct slice *keys, const row_id *rows, const bool *has_null, uint32_t count, bool sorted)
{
	(void)t;
	for (uint32_t i = 0; i < count; i++) {
		ASSERT(!sorted || i == 0 || key_cmp(keys[i - 1].p, keys[i - 1].bytes, keys[i].p, keys[i].bytes) <= 0);
		key_add(a, ix, keys[i], has_null[i], rows[i]);
	}
}

enum status access_flow(struct access *a, struct error *err)
{
	(void)err;
	MAYBE_WAIT(a);
	return ST_OK;
}

/* -- sequences, the cluster --------------------------------------------------------------------------------------------- */

static struct seq_state *seq_of(struct access *a, rel_id id)
{
	for (size_t i = 0; i < a->e->seqs.count; i++)
		if (a->e->seqs.at[i].id == id)
			return &a->e->seqs.at[i];
	UNREACHABLE();
}

enum status access_sequence_next(struct access *a, rel_id seq, uint32_t n, int64_t *values_out, struct error *err)
{
	struct seq_state *s = seq_of(a, seq);
	const struct def *d = def_find(a->e, seq);

	MAYBE_WAIT(a);
	if (d->seq->increment > 0 && s->next + (int64_t)(n - 1) * d->seq->increment > d->seq->max)
		return error_set(err, ST_SEQUENCE_LIMIT, "nextval: reached maximum value of sequence \"%s\" (%lld)", d->seq->name,
				 (long long)d->seq->max);
	for (uint32_t i = 0; i < n; i++, s->next += d->seq->increment)
		values_out[i] = s->next;
	return ST_OK;
}

enum status access_sequence_set(struct access *a, rel_id seq, int64_t value, bool is_called, struct error *err)
{
	(void)err;
	MAYBE_WAIT(a);
	seq_of(a, seq)->next = value + (is_called ? def_find(a->e, seq)->seq->increment : 0);
	return ST_OK;
}

seq_index access_applied_index(const struct access *a) { return a->e->index; }

enum status access_wait_applied(struct access *a, seq_index index)
{
	return a->e->index >= index ? ST_OK : ST_WAIT;
}

enum status access_remove_voter(struct access *a, uint64_t voter, struct error *err)
{
	(void)a;
	return error_set(err, ST_BAD_PARAMETER, "there is no voter %llu", (unsigned long long)voter);
}

enum status access_view_row(struct access *a, const char *view, uint64_t at, struct arena *arena, struct cell *cells_out,
			    uint32_t cell_count)
{
	(void)a;
	if (strcmp(view, "engines") || at)
		return ST_END;
	for (uint32_t i = 0; i < cell_count; i++)
		cells_out[i] = (struct cell){.phys = PHYS_I64, .i = 1};
	for (uint32_t i = 1; i < 4; i++)
		cells_out[i] = (struct cell){.phys = PHYS_VAR, .bytes = 2, .var = arena_dup(arena, "a1", 2)};
	cells_out[7] = cells_out[1];
	return ST_OK;
}

enum status access_atom_hash(struct access *a, atom_id atom, seq_index *applied_out, uint64_t *crc_out, struct error *err)
{
	(void)err;
	*applied_out = a->e->index;
	*crc_out = atom;
	return ST_OK;
}

enum status access_check_atoms(struct access *a, seq_index at_least, struct access_audit *audit, atom_id *atom_out,
			       engine_id *engine_out, uint64_t *crc_out, uint64_t *expected_out, struct error *err)
{
	(void)a;
	(void)at_least;
	(void)audit;
	(void)atom_out;
	(void)engine_out;
	(void)crc_out;
	(void)expected_out;
	(void)err;
	return ST_END;
}
