/*
 * ddl.c - changes of definitions.
 *
 * All of it is part of the transaction: definitions are put, rows and entries go to the overlay. A statement is a list of
 * phases; a phase that waited is entered again, and what it did before it waited was noted in *at, so that
 * nothing is put twice. Tables that exist are locked first, then the statement takes a newer snapshot: what others
 * committed before the lock is seen by what is built here.
 */
#include "engine/sql/ddl_int.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

struct ddl *ddl_new(struct sql_session *s, struct sql_portal *p)
{
	struct ddl *d = ARENA_NEW(&p->arena, struct ddl);

	d->session = s;
	d->portal = p;
	d->access = s->access;
	d->stmt = p->bound->stmt;
	d->arena = &p->arena;
	d->ex = p->exec; /* CREATE TABLE AS: the query's; else only what expressions need */
	d->ex.access = s->access;
	d->ex.session = s;
	d->ex.mem = &p->mem;
	d->ex.arena = &p->arena;
	d->ex.limit_bytes = 0;
	session_hooks(s, &d->ex.hooks);
	return d;
}

void ddl_free(struct ddl *d)
{
	build_fini(d);
	if (d->dml_open)
		dml_fini(&d->dml);
	d->dml_open = false;
}

uint64_t ddl_rows(const struct ddl *d) { return d->dml.affected; }

/* -- steps that several statements share ------------------------------------------------------------------------- */

/* Exclusive use, then a snapshot that is not older than it. */
static enum status lock_fresh(struct ddl *d, rel_id id, struct error *err)
{
	enum status st;

	if (!d->locked) {
		st = access_lock_relation(d->access, id, err);
		if (st)
			return st;
		d->locked = true;
	}
	st = access_statement_restart(d->access, err);
	if (!st)
		d->locked = false;
	return st;
}

static enum status fresh_table(struct ddl *d, rel_id id, struct table_def **out, struct error *err)
{
	struct relation_def r;
	enum status st = relation_by_id(d->access, id, &r);

	if (st == ST_UNDEFINED_TABLE || (!st && r.kind == REL_SEQUENCE))
		return error_set(err, ST_UNDEFINED_TABLE, "relation does not exist any more");
	if (st)
		return st;
	*out = schema_table_copy(r.table, d->arena);
	(*out)->version++;
	return ST_OK;
}

static void index_ids(struct ddl *d, struct table_def *t, struct index_def *ix)
{
	ix->table = t->id;
	ix->id = access_new_rel_id(d->access);
	ix->storage = access_new_rel_id(d->access);
}

/* Calls fn for every sequence that a table (attno 0: all of it) owns, with its place in order: *at. */
static enum status owned_sequences(struct ddl *d, rel_id table, uint16_t attno,
				   enum status (*fn)(struct ddl *d, const struct sequence_def *s, struct error *err),
				   struct error *err)
{
	struct relation_def r;
	rel_id id;
	enum status st;

	while ((st = access_relation_next(d->access, d->after, &r, &id)) == ST_OK) {
		if (r.kind == REL_SEQUENCE && r.sequence->owned_by_table == table &&
		    (!attno || r.sequence->owned_by_attno == attno)) {
			st = fn(d, r.sequence, err);
			if (st)
				return st;
		}
		d->after = id;
	}
	if (st == ST_END) {
		d->after = 0;
		return ST_OK;
	}
	return st;
}

static enum status drop_sequence(struct ddl *d, const struct sequence_def *s, struct error *err)
{
	return access_drop_relation(d->access, s->id, err);
}

static enum status restart_sequence(struct ddl *d, const struct sequence_def *s, struct error *err)
{
	return access_sequence_set(d->access, s->id, s->start, false, err);
}

/* -- CREATE TABLE ------------------------------------------------------------------------------------------------------ */

static void new_table_ids(struct ddl *d)
{
	const struct create_table_stmt *c = d->stmt->create_table;

	d->table = schema_table_copy(c->def, d->arena);
	d->table->id = access_new_rel_id(d->access);
	d->table->storage = access_new_rel_id(d->access);
	for (uint16_t i = 0; i < d->table->index_count; i++)
		index_ids(d, d->table, &d->table->indexes[i]);
}

static enum status create_table(struct ddl *d, struct error *err)
{
	const struct create_table_stmt *c = d->stmt->create_table;
	enum status st;

	if (!c->def)
		return ST_OK; /* it is there already, as was said */
	if (!d->table)
		new_table_ids(d);
	for (; d->at < c->serial_count; d->at++) {
		struct sequence_def seq = *c->serials[d->at].seq;

		if (!d->new_id)
			d->new_id = access_new_rel_id(d->access);
		seq.id = d->new_id;
		seq.owned_by_table = d->table->id;
		seq.owned_by_attno = c->serials[d->at].attno;
		st = access_put_sequence(d->access, &seq, err);
		if (st)
			return st;
		d->new_id = 0;
	}
	if (d->at == c->serial_count) {
		st = access_put_table(d->access, d->table, err);
		if (st)
			return st;
		d->at++;
	}
	return ST_OK;
}

static void rows_of_query(struct ddl *d, const struct vec_batch *b)
{
	struct vec_batch copy;

	dml_batch(&d->dml, Q_INSERT, b->n);
	batch_copy(b, &d->dml.arena, &copy);
	for (uint32_t c = 0; c < d->table->column_count; c++)
		for (uint32_t i = 0; i < b->n; i++)
			vec_cell(&copy.cols[c], i, &dml_new(&d->dml, i)[c]);
}

static enum status create_table_as(struct ddl *d, struct budget *work, struct error *err)
{
	enum status st = create_table(d, err);

	if (st || !d->stmt->create_table->def || d->stmt->create_table->with_no_data)
		return st;
	if (!d->dml_open) {
		d->modify.kind = Q_INSERT;
		d->modify.table = d->table;
		dml_init(&d->dml, &d->ex, &d->modify);
		d->dml_open = true;
	}
	for (;;) {
		struct vec_batch b;
		enum step s;

		st = dml_run(&d->dml);
		if (st)
			return st;
		if (work->left <= 0)
			return ST_AGAIN;
		s = exec_step(&d->portal->exec, &b, work);
		if (s == STEP_DONE)
			return ST_OK;
		if (s == STEP_WAIT)
			return ST_WAIT;
		if (s == STEP_ERROR) {
			*err = d->portal->err;
			/* a lock in the query: it cannot be run again beside what is put already */
			return d->portal->exec.status == ST_AGAIN ?
				       error_set(err, ST_SERIALIZATION, "could not serialize access due to concurrent update") :
				       d->portal->exec.status;
		}
		if (b.n)
			rows_of_query(d, &b);
	}
}

/* -- CREATE INDEX --------------------------------------------------------------------------------------------------------- */

static struct index_def *add_index(struct ddl *d, struct table_def *t, const struct index_def *from)
{
	struct index_def *all = ARENA_NEW_N(d->arena, struct index_def, t->index_count + 1u);

	if (t->index_count)
		memcpy(all, t->indexes, t->index_count * sizeof *all);
	all[t->index_count] = *from;
	t->indexes = all;
	index_ids(d, t, &all[t->index_count]);
	all[t->index_count].built = access_snapshot(d->access);
	return &all[t->index_count++];
}

enum { INDEX_LOCK, INDEX_PUT, INDEX_BUILD, INDEX_DONE };

static enum status create_index(struct ddl *d, struct budget *work, struct error *err)
{
	enum status st = ST_OK;

	if (!d->stmt->create_index.def)
		return ST_OK;
	if (d->at == INDEX_LOCK) {
		st = lock_fresh(d, d->stmt->create_index.table->id, err);
		if (!st)
			st = fresh_table(d, d->stmt->create_index.table->id, &d->table, err);
		if (st)
			return st;
		if (d->table->index_count >= 64)
			return error_set(err, ST_PROGRAM_LIMIT, "a table can have at most 64 indexes");
		(void)add_index(d, d->table, d->stmt->create_index.def);
		d->at = INDEX_PUT;
	}
	if (d->at == INDEX_PUT) {
		st = access_put_table(d->access, d->table, err);
		if (st)
			return st;
		d->at = INDEX_BUILD;
	}
	if (d->at == INDEX_BUILD) {
		st = build_index(d, d->table, &d->table->indexes[d->table->index_count - 1], work, err);
		if (!st)
			d->at = INDEX_DONE;
	}
	return st;
}

/* -- sequences --------------------------------------------------------------------------------------------------------------- */

static enum status sequence(struct ddl *d, struct error *err)
{
	struct sequence_def seq;
	enum status st;

	if (!d->stmt->sequence.def)
		return ST_OK;
	seq = *d->stmt->sequence.def;
	if (d->at == 0 && d->stmt->kind == STMT_ALTER_SEQUENCE) {
		st = access_lock_relation(d->access, seq.id, err);
		if (st)
			return st;
	}
	if (!d->new_id)
		d->new_id = seq.id ? seq.id : access_new_rel_id(d->access);
	seq.id = d->new_id;
	seq.version++;
	if (d->at == 0) {
		st = access_put_sequence(d->access, &seq, err);
		if (st)
			return st;
		d->at = 1;
	}
	if (d->stmt->kind == STMT_ALTER_SEQUENCE && d->stmt->sequence.restart)
		return access_sequence_set(d->access, seq.id, d->stmt->sequence.restart_with, false, err);
	return ST_OK;
}

/* -- TRUNCATE, DROP -------------------------------------------------------------------------------------------------------------- */

static enum status truncate(struct ddl *d, struct error *err)
{
	enum status st;

	for (; d->at < d->stmt->rel_count; d->at++, d->sub = 0) {
		rel_id id = d->stmt->rels[d->at];

		if (d->sub == 0) {
			st = lock_fresh(d, id, err);
			if (!st)
				st = fresh_table(d, id, &d->table, err);
			if (st)
				return st;
			d->table->storage = access_new_rel_id(d->access);
			for (uint16_t i = 0; i < d->table->index_count; i++)
				d->table->indexes[i].storage = access_new_rel_id(d->access);
			d->sub = 1;
		}
		if (d->sub == 1) {
			st = access_put_table(d->access, d->table, err);
			if (st)
				return st;
			d->sub = 2;
		}
		st = d->stmt->restart_identity ? owned_sequences(d, id, 0, restart_sequence, err) : ST_OK;
		if (st)
			return st;
	}
	return ST_OK;
}

static enum status drop_table(struct ddl *d, rel_id id, struct error *err)
{
	enum status st;

	if (d->sub == 0) {
		st = access_lock_relation(d->access, id, err);
		if (st)
			return st;
		d->sub = 1;
	}
	if (d->sub == 1) {
		st = owned_sequences(d, id, 0, drop_sequence, err);
		if (st)
			return st;
		d->sub = 2;
	}
	return access_drop_relation(d->access, id, err);
}

static void remove_index(struct table_def *t, uint16_t at)
{
	memmove(&t->indexes[at], &t->indexes[at + 1], (t->index_count - at - 1u) * sizeof *t->indexes);
	t->index_count--;
}

static enum status drop_index(struct ddl *d, rel_id id, struct error *err)
{
	struct relation_def r;
	enum status st = relation_by_id(d->access, id, &r);

	if (st)
		return st == ST_UNDEFINED_TABLE ? error_set(err, st, "index does not exist any more") : st;
	st = access_lock_relation(d->access, r.table->id, err);
	if (!st)
		st = fresh_table(d, r.table->id, &d->table, err);
	if (st)
		return st;
	for (uint16_t i = 0; i < d->table->index_count; i++)
		if (d->table->indexes[i].id == id)
			remove_index(d->table, i--);
	return access_put_table(d->access, d->table, err);
}

/* The default of the column that a dropped sequence fed goes with it (CASCADE; else the binder refused). */
static enum status drop_sequence_relation(struct ddl *d, rel_id id, struct error *err)
{
	struct relation_def r;
	rel_id owner;
	uint16_t attno;
	enum status st = ST_OK;

	if (d->sub == 0) {
		st = relation_by_id(d->access, id, &r);
		if (st)
			return st == ST_UNDEFINED_TABLE ? error_set(err, st, "sequence does not exist any more") : st;
		owner = r.kind == REL_SEQUENCE ? r.sequence->owned_by_table : 0;
		attno = r.kind == REL_SEQUENCE ? r.sequence->owned_by_attno : 0;
		if (owner) {
			st = access_lock_relation(d->access, owner, err);
			if (!st)
				st = fresh_table(d, owner, &d->table, err);
			if (st == ST_UNDEFINED_TABLE) {
				error_clear(err);
				st = ST_OK;
			} else if (!st && attno && attno <= d->table->column_count && d->table->columns[attno - 1].default_sql) {
				d->table->columns[attno - 1].default_sql = NULL;
				d->table->columns[attno - 1].identity = IDENTITY_NONE;
				st = access_put_table(d->access, d->table, err);
			}
			if (st)
				return st;
		}
		d->sub = 1;
	}
	if (d->sub == 1) {
		st = access_lock_relation(d->access, id, err);
		if (st)
			return st;
		d->sub = 2;
	}
	return access_drop_relation(d->access, id, err);
}

/* What is in the way, one line each, as much as there is room for. */
static enum status schema_in_use(struct ddl *d, struct error *err)
{
	const char *name = d->stmt->name;
	struct relation_def r;
	rel_id id, after = 0;
	char text[sizeof err->detail];
	size_t at = 0;
	enum status st;

	while ((st = access_relation_next(d->access, after, &r, &id)) == ST_OK) {
		const char *schema = r.kind == REL_SEQUENCE ? r.sequence->schema : r.table->schema;
		int n;

		after = id;
		if (r.kind == REL_INDEX || strcmp(schema, name) != 0 || (r.kind == REL_SEQUENCE && r.sequence->owned_by_table))
			continue;
		n = snprintf(text + at, sizeof text - at, "%s%s %s.%s depends on schema %s", at ? "\n" : "",
			     r.kind == REL_SEQUENCE ? "sequence" : "table", name,
			     r.kind == REL_SEQUENCE ? r.sequence->name : r.table->name, name);
		if (n < 0 || (size_t)n >= sizeof text - at)
			break;
		at += (size_t)n;
	}
	if (st != ST_OK && st != ST_END)
		return st;
	(void)error_set(err, ST_DEPENDENT_OBJECTS, "cannot drop schema %s because other objects depend on it", name);
	error_detail(err, "%.*s", (int)at, text);
	error_hint(err, "Use DROP ... CASCADE to drop the dependent objects too.");
	return ST_DEPENDENT_OBJECTS;
}

static enum status drop_schema(struct ddl *d, struct error *err)
{
	struct relation_def r;
	rel_id id;
	enum status st;

	if (!d->stmt->name)
		return ST_OK; /* IF EXISTS, and it does not */
	while ((st = access_relation_next(d->access, d->schema_after, &r, &id)) == ST_OK) {
		const char *schema = r.kind == REL_SEQUENCE ? r.sequence->schema : r.table->schema;

		if (r.kind != REL_INDEX && !strcmp(schema, d->stmt->name)) {
			if (!d->stmt->cascade)
				return schema_in_use(d, err);
			st = r.kind == REL_TABLE ? drop_table(d, id, err) : drop_sequence_relation(d, id, err);
			if (st && st != ST_UNDEFINED_TABLE)
				return st;
			error_clear(err);
			d->sub = 0;
			d->after = 0;
		}
		d->schema_after = id;
	}
	if (st != ST_END)
		return st;
	return d->stmt->rel_count ? drop_sequence_relation(d, d->stmt->rels[0], err) : ST_OK;
}

static enum status drop(struct ddl *d, struct error *err)
{
	enum status st;

	if (d->stmt->drop_kind == 0)
		return drop_schema(d, err);
	for (; d->at < d->stmt->rel_count; d->at++, d->sub = 0) {
		rel_id id = d->stmt->rels[d->at];

		switch (d->stmt->drop_kind) {
		case REL_TABLE: st = drop_table(d, id, err); break;
		case REL_INDEX: st = drop_index(d, id, err); break;
		default: st = drop_sequence_relation(d, id, err); break;
		}
		if (st)
			return st;
	}
	return ST_OK;
}

/* -- all ------------------------------------------------------------------------------------------------------------------------ */

enum status ddl_step(struct ddl *d, struct budget *work, struct error *err)
{
	enum status st;

	d->ex.err = err;
	switch ((enum stmt_kind)d->stmt->kind) {
	case STMT_CREATE_TABLE:
		return create_table(d, err);
	case STMT_CREATE_TABLE_AS:
		st = create_table_as(d, work, err);
		return st;
	case STMT_CREATE_INDEX:
		return create_index(d, work, err);
	case STMT_CREATE_SCHEMA: /* bind_schema_there() says why */
	case STMT_CREATE_SEQUENCE:
	case STMT_ALTER_SEQUENCE:
		return sequence(d, err);
	case STMT_TRUNCATE:
		return truncate(d, err);
	case STMT_DROP:
		return drop(d, err);
	case STMT_ALTER_TABLE:
		return alter_step(d, work, err);
	default:
		return error_set(err, ST_UNSUPPORTED, "%s is not supported", d->stmt->tag ? d->stmt->tag : "this statement");
	}
}

enum status ddl_lock_fresh(struct ddl *d, rel_id id, struct table_def **out, struct error *err)
{
	enum status st = lock_fresh(d, id, err);

	return st ? st : fresh_table(d, id, out, err);
}

struct index_def *ddl_add_index(struct ddl *d, struct table_def *t, const struct index_def *from)
{
	return add_index(d, t, from);
}

void ddl_remove_index(struct table_def *t, uint16_t at) { remove_index(t, at); }

enum status ddl_drop_owned(struct ddl *d, rel_id table, uint16_t attno, struct error *err)
{
	return owned_sequences(d, table, attno, drop_sequence, err);
}
