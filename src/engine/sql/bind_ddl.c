/* bind_ddl.c - CREATE TABLE, INDEX, SEQUENCE and DROP (engine/sql). */
#include "engine/sql/bind_int.h"

static const char *options_text(struct bind *b, const struct ast_option *o, uint32_t count)
{
	const char *s = "";
	uint32_t i;

	for (i = 0; i < count; i++)
		s = arena_printf(b->arena, "%s%s%s%s%s", s, i ? ", " : "", o[i].name ? o[i].name : "",
				 o[i].value ? "=" : "", o[i].value ? o[i].value : "");
	return s;
}

/* -1 failed, 1 it is there already and that is all right (IF NOT EXISTS), 0 go on. */
static int already_there(struct bind *b, const char *schema, const char *name, bool if_not_exists, int pos)
{
	bool taken = false;

	if (!bind_has_catalog(b))
		return 0;
	if (!bind_name_taken(b, schema, name, &taken))
		return -1;
	if (!taken)
		return 0;
	if (!if_not_exists) {
		bind_fail(b, ST_DUPLICATE_TABLE, pos, "relation \"%s\" already exists", name);
		return -1;
	}
	bind_notice(b, arena_printf(b->arena, "relation \"%s\" already exists, skipping", name));
	return 1;
}

static bool check_persistence(struct bind *b, const struct ast_rel *r)
{
	if (r->persistence == 't')
		return bind_unsupported(b, r->pos, "a temporary table");
	if (r->persistence == 'u')
		bind_notice(b, arena_printf(b->arena, "UNLOGGED is ignored: \"%s\" is an ordinary table", r->name));
	return true;
}

/* The columns that PRIMARY KEY makes NOT NULL were marked when the index was added. */
static bool make_columns(struct table_maker *m, const struct ast_create_table *a)
{
	struct table_def *t = m->t;
	uint32_t i, k;

	if (a->column_count > SCHEMA_COLUMNS_MAX)
		return bind_fail(m->b, ST_TOO_MANY_COLUMNS, 0, "tables can have at most %d columns", SCHEMA_COLUMNS_MAX);
	t->columns = ARENA_NEW_N(m->b->arena, struct column_def, a->column_count + 1);
	for (i = 0; i < a->column_count; i++) {
		struct column_def *c = &t->columns[i];

		for (k = 0; k < i; k++)
			if (!strcmp(t->columns[k].name, name_cut(m->b, a->columns[i].name)))
				return bind_fail(m->b, ST_DUPLICATE_COLUMN, 0, "column \"%s\" specified more than once",
						 a->columns[i].name);
		c->attno = (uint16_t)(i + 1);
		if (!maker_column(m, &a->columns[i], c) || !maker_column_constraints(m, &a->columns[i], c))
			return false;
		t->column_count++;
	}
	return true;
}

/* Keys first and checks last, as their names are given in that order in PostgreSQL. */
static bool make_constraints(struct table_maker *m, const struct ast_create_table *a)
{
	uint32_t i, k, pass;

	for (pass = 0; pass < 2; pass++) {
		for (i = 0; i < a->column_count; i++)
			for (k = 0; k < a->columns[i].constraint_count; k++) {
				const struct ast_constraint *c = &a->columns[i].constraints[k];

				if ((c->kind == AC_CHECK) == (pass == 0) &&
				    !maker_constraint(m, c, m->t->columns[i].name))
					return false;
			}
		for (i = 0; i < a->constraint_count; i++)
			if ((a->constraints[i].kind == AC_CHECK) == (pass == 0) &&
			    !maker_constraint(m, &a->constraints[i], NULL))
				return false;
	}
	return true;
}

bool bind_create_table(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	const struct ast_create_table *a = raw->create_table;
	struct create_table_stmt *o = ARENA_NEW(b->arena, struct create_table_stmt);
	struct table_def *t = ARENA_NEW(b->arena, struct table_def);
	struct table_maker m;
	int there;

	st->kind = STMT_CREATE_TABLE;
	st->tag = "CREATE TABLE";
	st->create_table = o;
	if (a->unsupported)
		return bind_unsupported(b, a->rel->pos, a->unsupported);
	if (!check_persistence(b, a->rel) || !(t->schema = bind_create_schema(b, a->rel)))
		return false;
	t->name = name_cut(b, a->rel->name);
	o->if_not_exists = a->if_not_exists;
	there = already_there(b, t->schema, t->name, a->if_not_exists, 0);
	if (there)
		return there > 0;
	t->version = 1;
	t->options = options_text(b, a->options, a->option_count);
	maker_init(&m, b, t);
	if (!make_columns(&m, a) || !make_constraints(&m, a))
		return false;
	o->def = t;
	o->serial_count = m.serial_count;
	o->serials = (void *)m.serials;
	return true;
}

/* -- CREATE TABLE AS, SELECT INTO -------------------------------------------------------------------------------- */

static bool as_columns(struct bind *b, const struct query *q, const struct ast_names *names, struct table_def *t)
{
	uint32_t n, i, k;
	const struct rel_column *columns = bind_query_columns(b, q, &n);

	if (names->count > n)
		return bind_fail(b, ST_SYNTAX, 0, "too many column names were specified");
	t->columns = ARENA_NEW_N(b->arena, struct column_def, n + 1);
	for (i = 0; i < n; i++) {
		struct column_def *c = &t->columns[i];

		c->attno = (uint16_t)(i + 1);
		c->name = name_cut(b, i < names->count ? names->at[i] : columns[i].name);
		c->type_oid = columns[i].type.oid;
		c->typmod = columns[i].type.typmod;
		if (c->type_oid == T_VOID || c->type_oid == T_RECORD)
			return bind_fail(b, ST_BAD_TABLE_DEFINITION, 0, "column \"%s\" has pseudo-type %s", c->name,
					 bind_type_name(b, c->type_oid));
		c->phys = type_storage_phys(columns[i].type);
		for (k = 0; k < i; k++)
			if (!strcmp(t->columns[k].name, c->name))
				return bind_fail(b, ST_DUPLICATE_COLUMN, 0, "column \"%s\" specified more than once", c->name);
		t->column_count++;
	}
	return true;
}

bool bind_create_table_as(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	const struct ast_create_table *a = raw->create_table;
	const struct ast_into *into = a ? a->into : raw->select->into;
	struct create_table_stmt *o = ARENA_NEW(b->arena, struct create_table_stmt);
	struct table_def *t = ARENA_NEW(b->arena, struct table_def);
	struct ast_select plain;
	int there;

	st->kind = STMT_CREATE_TABLE_AS;
	st->tag = into->no_data ? "CREATE TABLE AS" : "SELECT";
	st->create_table = o;
	if (!check_persistence(b, into->rel) || !(t->schema = bind_create_schema(b, into->rel)))
		return false;
	t->name = name_cut(b, into->rel->name);
	o->if_not_exists = a && a->if_not_exists;
	o->with_no_data = into->no_data;
	plain = a ? *a->as : *raw->select;
	plain.into = NULL;
	if (!(o->as = bind_select(b, NULL, &plain, false, false)))
		return false;
	st->query = o->as;
	there = already_there(b, t->schema, t->name, o->if_not_exists, 0);
	if (there)
		return there > 0;
	t->version = 1;
	t->options = options_text(b, into->options, into->option_count);
	if (!as_columns(b, o->as, &into->columns, t))
		return false;
	o->def = t;
	return true;
}

/* -- CREATE INDEX --------------------------------------------------------------------------------------------------- */

static bool index_unsupported(struct bind *b, const struct ast_create_index *a)
{
	uint32_t i;

	if (a->method && strcmp(a->method, "btree") != 0) {
		static const char *const known[] = {"hash", "gin", "gist", "brin", "spgist"};

		for (i = 0; i < 5; i++)
			if (!strcmp(known[i], a->method))
				return !bind_fail(b, ST_UNSUPPORTED, a->rel->pos, "index access method \"%s\" is not supported",
						  a->method);
		return !bind_fail(b, ST_UNDEFINED_OBJECT, 0, "access method \"%s\" does not exist", a->method);
	}
	if (a->including || a->partial || a->nulls_not_distinct)
		return !bind_unsupported(b, a->rel->pos, a->including ? "INCLUDE" : a->partial ? "a partial index"
					 : "NULLS NOT DISTINCT");
	for (i = 0; i < a->column_count; i++)
		if (a->columns[i].expr || a->columns[i].collation)
			return !bind_unsupported(b, a->columns[i].expr ? a->columns[i].expr->pos : a->rel->pos,
						 a->columns[i].expr ? "an index on an expression" : "COLLATE in an index");
	return false;
}

static bool index_columns(struct bind *b, const struct ast_create_index *a, const struct table_def *t, struct index_def *ix)
{
	uint32_t i;

	if (a->column_count > SCHEMA_INDEX_COLUMNS_MAX)
		return bind_fail(b, ST_TOO_MANY_COLUMNS, 0, "cannot use more than %d columns in an index",
				 SCHEMA_INDEX_COLUMNS_MAX);
	for (i = 0; i < a->column_count; i++) {
		const struct ast_index_column *c = &a->columns[i];
		const struct column_def *col = table_column(t, c->name);

		if (!col)
			return bind_fail(b, ST_UNDEFINED_COLUMN, 0, "column \"%s\" does not exist", c->name);
		ix->attnos[i] = col->attno;
		ix->desc[i] = c->desc;
		ix->nulls_first[i] = c->nulls == AST_NULLS_DEFAULT ? c->desc : c->nulls == AST_NULLS_FIRST;
		ix->column_count++;
	}
	return true;
}

static const char *index_name(struct bind *b, const struct table_def *t, const struct index_def *ix)
{
	struct table_maker m;
	const char *s = NULL;
	uint32_t i;

	for (i = 0; i < ix->column_count; i++) {
		const char *name = t->columns[ix->attnos[i] - 1].name;

		s = s ? arena_printf(b->arena, "%s_%s", s, name) : name;
	}
	maker_init(&m, b, (struct table_def *)(uintptr_t)t); /* only looked at */
	return maker_name(&m, t->name, s, "idx", true);
}

bool bind_create_index(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	const struct ast_create_index *a = raw->create_index;
	struct index_def *ix = ARENA_NEW(b->arena, struct index_def);
	const struct table_def *t;
	int there;

	st->kind = STMT_CREATE_INDEX;
	st->tag = "CREATE INDEX";
	st->create_index.if_not_exists = a->if_not_exists;
	st->create_index.concurrently = a->concurrently;
	if (!(t = bind_table(b, a->rel, "create index on")))
		return false;
	st->create_index.table = t;
	if (a->name) {
		ix->name = name_cut(b, a->name);
		there = already_there(b, t->schema, ix->name, a->if_not_exists, 0);
		if (there)
			return there > 0;
	}
	if (index_unsupported(b, a) || !index_columns(b, a, t, ix))
		return false;
	ix->table = t->id;
	ix->unique = a->unique;
	if (!ix->name && !(ix->name = index_name(b, t, ix)))
		return false;
	st->create_index.def = ix;
	return true;
}

/* -- sequences --------------------------------------------------------------------------------------------------------- */

/* OWNED BY t.a, or NONE. */
static bool owned_by(struct bind *b, const struct ast_option *o, struct sequence_def *seq)
{
	struct ast_rel r = {.persistence = 'p', .pos = o->pos};
	const struct column_def *c;
	const struct table_def *t;
	uint32_t n = o->names.count;

	if (n == 1 && !strcmp(o->names.at[0], "none")) {
		seq->owned_by_table = 0;
		seq->owned_by_attno = 0;
		return true;
	}
	if (n < 2) {
		bind_fail(b, ST_SYNTAX, o->pos, "invalid OWNED BY option");
		bind_hint(b, "Specify OWNED BY table.column or OWNED BY NONE.");
		return false;
	}
	r.name = o->names.at[n - 2];
	r.schema = n > 2 ? o->names.at[n - 3] : NULL;
	if (!(t = bind_table(b, &r, "own a sequence by")))
		return false;
	c = table_column(t, o->names.at[n - 1]);
	if (!c)
		return bind_fail(b, ST_UNDEFINED_COLUMN, 0, "column \"%s\" of relation \"%s\" does not exist", o->names.at[n - 1],
				 t->name);
	seq->owned_by_table = t->id;
	seq->owned_by_attno = c->attno;
	return true;
}

static bool find_sequence(struct bind *b, const struct raw_stmt *raw, const struct sequence_def **out)
{
	const struct virtual_rel *v;
	struct relation_def rel;

	*out = NULL;
	if (!bind_lookup(b, raw->rel->schema, raw->rel->name, &rel, &v)) {
		if (b->st != ST_OK)
			return false;
		if (!raw->missing_ok)
			return bind_fail(b, ST_UNDEFINED_TABLE, raw->rel->pos, "relation \"%s\" does not exist",
					 bind_rel_text(b, raw->rel));
		bind_notice(b, arena_printf(b->arena, "relation \"%s\" does not exist, skipping", raw->rel->name));
		return true;
	}
	if (v || rel.kind != REL_SEQUENCE)
		return bind_fail(b, ST_WRONG_OBJECT_TYPE, raw->rel->pos, "\"%s\" is not a sequence", raw->rel->name);
	*out = rel.sequence;
	return true;
}

bool bind_sequence(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	struct sequence_def *seq = ARENA_NEW(b->arena, struct sequence_def);
	bool alter = raw->type == RAW_ALTER_SEQUENCE;
	const struct ast_option *owned;
	int there;

	st->kind = alter ? STMT_ALTER_SEQUENCE : STMT_CREATE_SEQUENCE;
	st->tag = alter ? "ALTER SEQUENCE" : "CREATE SEQUENCE";
	st->sequence.if_not_exists = raw->missing_ok;
	if (alter) {
		const struct sequence_def *old;

		if (!find_sequence(b, raw, &old) || !old)
			return b->st == ST_OK;
		*seq = *old;
		seq->schema = arena_strdup(b->arena, old->schema);
		seq->name = arena_strdup(b->arena, old->name);
	} else {
		if (raw->rel->persistence == 't')
			return bind_unsupported(b, raw->rel->pos, "a temporary sequence");
		if (!(seq->schema = bind_create_schema(b, raw->rel)))
			return false;
		seq->name = name_cut(b, raw->rel->name);
		seq->type_oid = T_INT8;
		seq->increment = seq->cache = 1;
		seq->version = 1;
		there = already_there(b, seq->schema, seq->name, raw->missing_ok, 0);
		if (there)
			return there > 0;
	}
	if (!bind_sequence_options(b, raw->options, raw->option_count, seq, alter, &st->sequence.restart,
				   &st->sequence.restart_with, &owned))
		return false;
	if (owned && !owned_by(b, owned, seq))
		return false;
	st->sequence.def = seq;
	return true;
}

/* -- DROP ----------------------------------------------------------------------------------------------------------------- */

static const char *const object_words[] = {
	[AO_TABLE] = "table", [AO_INDEX] = "index", [AO_SEQUENCE] = "sequence", [AO_SCHEMA] = "schema", [AO_VIEW] = "view",
};
static const uint8_t object_kinds[] = {
	[AO_TABLE] = REL_TABLE, [AO_INDEX] = REL_INDEX, [AO_SEQUENCE] = REL_SEQUENCE, [AO_SCHEMA] = 0, [AO_VIEW] = REL_VIEW,
};

static bool wrong_kind(struct bind *b, const struct ast_rel *r, uint8_t object, enum rel_kind is)
{
	static const char *const verbs[] = {
		[REL_TABLE] = "TABLE", [REL_INDEX] = "INDEX", [REL_SEQUENCE] = "SEQUENCE", [REL_VIEW] = "VIEW",
	};
	bool an = object == AO_INDEX, to_an = is == REL_INDEX;

	bind_fail(b, ST_WRONG_OBJECT_TYPE, 0, "\"%s\" is not %s %s", r->name, an ? "an" : "a", object_words[object]);
	error_hint(b->cx->err, "Use DROP %s to remove %s %s.", verbs[is], to_an ? "an" : "a",
		   is == REL_TABLE ? "table" : is == REL_INDEX ? "index" : is == REL_SEQUENCE ? "sequence" : "view");
	return false;
}

static bool drop_missing(struct bind *b, const struct raw_stmt *raw, const struct ast_rel *r)
{
	const char *name = r->name;

	if (raw->missing_ok) {
		bind_notice(b, arena_printf(b->arena, "%s \"%s\" does not exist, skipping", object_words[raw->object], name));
		return true;
	}
	return bind_fail(b, raw->object == AO_INDEX ? ST_UNDEFINED_OBJECT : ST_UNDEFINED_TABLE, 0,
			 "%s \"%s\" does not exist", object_words[raw->object],
			 raw->object == AO_INDEX ? name : bind_rel_text(b, r));
}

/* What others depend on goes only with them. */
static bool drop_allowed(struct bind *b, const struct raw_stmt *raw, const struct relation_def *rel)
{
	struct relation_def owner;
	enum status st;

	if (rel->kind == REL_INDEX && rel->index->constraint) {
		bind_fail(b, ST_DEPENDENT_OBJECTS, 0, "cannot drop index %s because constraint %s on table %s requires it",
			  rel->index->name, rel->index->name, rel->table->name);
		error_hint(b->cx->err, "You can drop constraint %s on table %s instead.", rel->index->name, rel->table->name);
		return false;
	}
	if (rel->kind != REL_SEQUENCE || !rel->sequence->owned_by_table || raw->cascade)
		return true;
	st = bind_relation_by_id(b, rel->sequence->owned_by_table, &owner);
	if (st == ST_WAIT) {
		b->st = st;
		return false;
	}
	if (st != ST_OK || owner.kind != REL_TABLE || rel->sequence->owned_by_attno > owner.table->column_count ||
	    !owner.table->columns[rel->sequence->owned_by_attno - 1].default_sql)
		return true;
	bind_fail(b, ST_DEPENDENT_OBJECTS, 0, "cannot drop sequence %s because other objects depend on it", rel->sequence->name);
	bind_detail(b, "default value for column %s of table %s depends on sequence %s",
		    owner.table->columns[rel->sequence->owned_by_attno - 1].name, owner.table->name, rel->sequence->name);
	bind_hint(b, "Use DROP ... CASCADE to drop the dependent objects too.");
	return false;
}

static rel_id id_of(const struct relation_def *rel)
{
	return rel->kind == REL_INDEX ? rel->index->id : rel->kind == REL_SEQUENCE ? rel->sequence->id : rel->table->id;
}

static bool drop_one(struct bind *b, const struct raw_stmt *raw, const struct ast_rel *r, struct stmt *st)
{
	const struct virtual_rel *v;
	struct relation_def rel;
	uint32_t i;

	if (!bind_lookup(b, r->schema, r->name, &rel, &v))
		return b->st == ST_OK && drop_missing(b, raw, r);
	if (v)
		return bind_fail(b, ST_PRIVILEGE, 0, "permission denied: \"%s\" is a system catalog or view", v->name);
	if (rel.kind != object_kinds[raw->object])
		return wrong_kind(b, r, raw->object, rel.kind);
	if (!drop_allowed(b, raw, &rel))
		return false;
	for (i = 0; i < st->rel_count; i++)
		if (st->rels[i] == id_of(&rel))
			return true;
	st->rels[st->rel_count++] = id_of(&rel);
	return true;
}

static bool drop_schema(struct bind *b, const char *name, struct stmt *st)
{
	rel_id id;
	int there = bind_schema_there(b, name, &id);

	if (there < 0)
		return false;
	if (!there && !st->if_exists)
		return bind_fail(b, ST_NO_SCHEMA, 0, "schema \"%s\" does not exist", name);
	if (!there) {
		bind_notice(b, arena_printf(b->arena, "schema \"%s\" does not exist, skipping", name));
		return true;
	}
	if (!id && strcmp(name, "public") != 0)
		return bind_fail(b, ST_DEPENDENT_OBJECTS, 0, "cannot drop schema %s because it is required by the database system",
				 name);
	st->name = name;
	st->rels = ARENA_NEW(b->arena, rel_id);
	st->rels[0] = id;
	st->rel_count = id != 0;
	return true;
}

bool bind_drop(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	static const char *const tags[] = {
		[AO_TABLE] = "DROP TABLE", [AO_INDEX] = "DROP INDEX", [AO_SEQUENCE] = "DROP SEQUENCE",
		[AO_SCHEMA] = "DROP SCHEMA", [AO_VIEW] = "DROP VIEW",
	};
	uint32_t i;

	st->kind = STMT_DROP;
	st->tag = tags[raw->object];
	st->if_exists = raw->missing_ok;
	st->cascade = raw->cascade;
	st->drop_kind = object_kinds[raw->object];
	if (raw->object == AO_SCHEMA) {
		if (raw->rel_count != 1)
			return bind_unsupported(b, 0, "DROP SCHEMA of several schemas at once");
		return drop_schema(b, raw->rels[0]->name, st);
	}
	st->rels = ARENA_NEW_N(b->arena, rel_id, raw->rel_count + 1);
	for (i = 0; i < raw->rel_count; i++)
		if (!drop_one(b, raw, raw->rels[i], st))
			return false;
	return true;
}

/* TRUNCATE, LOCK, VACUUM: tables, by id. */
bool bind_relation_list(struct bind *b, const struct raw_stmt *raw, struct stmt *st, const char *verb)
{
	uint32_t i, k;

	st->rels = ARENA_NEW_N(b->arena, rel_id, raw->rel_count + 1);
	for (i = 0; i < raw->rel_count; i++) {
		const struct table_def *t = bind_table(b, raw->rels[i], verb);

		if (!t)
			return false;
		for (k = 0; k < st->rel_count && st->rels[k] != t->id; k++)
			;
		if (k == st->rel_count)
			st->rels[st->rel_count++] = t->id;
	}
	return true;
}
