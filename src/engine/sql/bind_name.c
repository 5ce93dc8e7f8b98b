/* bind_name.c - names to relations, and to columns of the query levels in sight (engine/sql). */
#include "engine/sql/bind_int.h"

#include <ctype.h>
#include <stdlib.h>

const char *name_cut(struct bind *b, const char *name)
{
	size_t n = strlen(name);

	if (n <= SCHEMA_NAME_MAX)
		return name;
	n = SCHEMA_NAME_MAX;
	while (n && ((unsigned char)name[n] & 0xc0) == 0x80)
		n--; /* not through a character */
	return arena_strndup(b->arena, name, n);
}

const char *bind_rel_text(struct bind *b, const struct ast_rel *r)
{
	return r->schema ? arena_printf(b->arena, "%s.%s", r->schema, r->name) : r->name;
}

/* -- relations ------------------------------------------------------------------------------------------ */

bool bind_has_catalog(const struct bind *b)
{
	return b->cx->catalog || b->cx->access;
}

enum status bind_relation_named(struct bind *b, const char *schema, const char *name, struct relation_def *out)
{
	const struct bind_catalog *c = b->cx->catalog;

	return c ? c->relation(c->ctx, schema, name, out) : access_relation(b->cx->access, schema, name, out);
}

enum status bind_relation_by_id(struct bind *b, rel_id id, struct relation_def *out)
{
	const struct bind_catalog *c = b->cx->catalog;

	return c ? c->relation_by_id(c->ctx, id, out) : access_relation_by_id(b->cx->access, id, out);
}

/* One schema: 1 found, 0 not there, -1 failed or waiting. */
static int lookup_in(struct bind *b, const char *schema, const char *name, struct relation_def *rel,
		     const struct virtual_rel **v)
{
	enum status st;

	*v = virtual_find(schema, name);
	if (*v)
		return 1;
	if (!strcmp(schema, "pg_catalog") || !strcmp(schema, "information_schema"))
		return 0;
	st = bind_relation_named(b, schema, name, rel);
	if (st == ST_OK)
		return 1;
	if (st == ST_UNDEFINED_TABLE)
		return 0;
	if (st != ST_WAIT)
		bind_fail(b, st, 0, "relation \"%s\" could not be looked up: %s", name, status_text(st));
	b->st = st;
	return -1;
}

/* false: failed (b->st), or not there (b->st is ST_OK). Exactly one of rel and *v is set on true. */
bool bind_lookup(struct bind *b, const char *schema, const char *name, struct relation_def *rel,
		 const struct virtual_rel **v)
{
	const struct bind_context *cx = b->cx;
	bool catalog_named = false;
	uint32_t i;
	int found;

	memset(rel, 0, sizeof *rel);
	*v = NULL;
	if (!bind_has_catalog(b))
		return false;
	if (schema)
		return lookup_in(b, schema, name, rel, v) > 0;
	for (i = 0; i < cx->search_path_count; i++)
		catalog_named |= !strcmp(cx->search_path[i], "pg_catalog");
	if (!catalog_named && lookup_in(b, "pg_catalog", name, rel, v) > 0)
		return true;
	for (i = 0; i < cx->search_path_count; i++) {
		found = lookup_in(b, cx->search_path[i], name, rel, v);
		if (found)
			return found > 0;
	}
	return false;
}

static bool check_database(struct bind *b, const struct ast_rel *r)
{
	if (!r->database)
		return true;
	bind_fail(b, ST_UNSUPPORTED, r->pos, "cross-database references are not implemented: \"%s.%s.%s\"", r->database,
		  r->schema, r->name);
	return false;
}

bool bind_relation(struct bind *b, const struct ast_rel *r, struct relation_def *rel, const struct virtual_rel **v)
{
	if (!check_database(b, r))
		return false;
	if (bind_lookup(b, r->schema, r->name, rel, v))
		return true;
	if (b->st == ST_OK)
		bind_fail(b, ST_UNDEFINED_TABLE, r->pos, "relation \"%s\" does not exist", bind_rel_text(b, r));
	return false;
}

const struct table_def *bind_keep_table(struct bind *b, const struct table_def *t)
{
	struct bind_table *k;

	for (k = b->tables; k; k = k->next)
		if (k->id == t->id)
			return k->table;
	k = ARENA_NEW(b->arena, struct bind_table);
	k->id = t->id;
	k->table = schema_table_copy(t, b->arena);
	k->next = b->tables;
	b->tables = k;
	return k->table;
}

/* A table that rows can be changed in; verb: "insert into", for the message. */
const struct table_def *bind_table(struct bind *b, const struct ast_rel *r, const char *verb)
{
	const struct virtual_rel *v;
	struct relation_def rel;

	if (!bind_relation(b, r, &rel, &v))
		return NULL;
	if (v)
		return bind_fail(b, ST_PRIVILEGE, r->pos, "cannot %s \"%s\": it is a system catalog or view", verb, v->name);
	if (rel.kind == REL_INDEX)
		return bind_fail(b, ST_WRONG_OBJECT_TYPE, r->pos, "\"%s\" is an index", r->name);
	if (rel.kind != REL_TABLE)
		return bind_fail(b, ST_WRONG_OBJECT_TYPE, r->pos, "cannot %s %s \"%s\"", verb,
				 rel.kind == REL_SEQUENCE ? "sequence" : "view", r->name);
	return bind_keep_table(b, rel.table);
}

bool bind_schema_fixed(const char *name)
{
	return !strcmp(name, "public") || !strcmp(name, "pg_catalog") || !strcmp(name, "information_schema") ||
	       !strcmp(name, "valence");
}

/*
 * A schema that was created is a relation without a schema: a sequence that nobody can name. So it is part of the
 * transaction that makes it, its name is one in the cluster, and every engine has it. 1 there, 0 not, -1 failed or waiting.
 */
int bind_schema_there(struct bind *b, const char *name, rel_id *id_out)
{
	struct relation_def rel;
	enum status st = bind_schema_fixed(name) ? ST_OK : bind_relation_named(b, SCHEMA_OF_SCHEMAS, name, &rel);

	*id_out = st == ST_OK && !bind_schema_fixed(name) ? rel.sequence->id : 0;
	if (st == ST_OK || st == ST_UNDEFINED_TABLE)
		return st == ST_OK;
	if (st != ST_WAIT)
		bind_fail(b, st, 0, "schema \"%s\" could not be looked up: %s", name, status_text(st));
	b->st = st;
	return -1;
}

/* Where a new relation goes: the first schema of the search path that there is. */
const char *bind_create_schema(struct bind *b, const struct ast_rel *r)
{
	rel_id id;
	uint32_t i;

	if (!check_database(b, r))
		return NULL;
	if (r->schema && (!strcmp(r->schema, "pg_catalog") || !strcmp(r->schema, "information_schema") ||
			  !strcmp(r->schema, "valence")))
		return bind_fail(b, ST_PRIVILEGE, r->pos, "permission denied to create \"%s.%s\"", r->schema, r->name);
	if (r->schema) {
		int there = bind_schema_there(b, r->schema, &id);

		if (!there)
			bind_fail(b, ST_NO_SCHEMA, r->pos, "schema \"%s\" does not exist", r->schema);
		return there > 0 ? r->schema : NULL;
	}
	for (i = 0; i < b->cx->search_path_count; i++) {
		const char *schema = b->cx->search_path[i];
		int there = !strcmp(schema, "pg_catalog") ? 0 : bind_schema_there(b, schema, &id);

		if (there)
			return there > 0 ? schema : NULL;
	}
	return bind_fail(b, ST_NO_SCHEMA, r->pos, "no schema has been selected to create in");
}

bool bind_name_taken(struct bind *b, const char *schema, const char *name, bool *taken_out)
{
	const struct virtual_rel *v;
	struct relation_def rel;
	int found = lookup_in(b, schema, name, &rel, &v);

	*taken_out = found > 0;
	return found >= 0;
}

const struct column_def *table_column(const struct table_def *t, const char *name)
{
	uint32_t i;

	for (i = 0; i < t->column_count; i++)
		if (!t->columns[i].dropped && !strcmp(t->columns[i].name, name))
			return &t->columns[i];
	return NULL;
}

/* "schema.name" as text, with SQL's quoting and folding. */
bool bind_split_name(struct bind *b, const char *text, const char **schema, const char **name)
{
	const char *part[3] = {NULL, NULL, NULL};
	uint32_t n = 0;
	const char *p = text;

	for (;;) {
		char *word = arena_alloc(b->arena, strlen(p) + 1), *w = word;

		if (n == 3)
			return false;
		if (*p == '"') {
			for (p++; *p && !(*p == '"' && p[1] != '"'); p++) {
				if (*p == '"')
					p++;
				*w++ = *p;
			}
			if (*p != '"')
				return false;
			p++;
		} else {
			while (*p && *p != '.' && *p != '"' && !isspace((unsigned char)*p))
				*w++ = (char)tolower((unsigned char)*p++);
		}
		if (w == word)
			return false;
		part[n++] = name_cut(b, word);
		if (!*p)
			break;
		if (*p++ != '.')
			return false;
	}
	*schema = n > 1 ? part[n - 2] : NULL;
	*name = part[n - 1];
	return true;
}

static bool find_named(struct bind *b, const char *text, int pos, struct relation_def *rel, const struct virtual_rel **v)
{
	const char *schema, *name;

	if (!bind_split_name(b, text, &schema, &name)) {
		bind_fail(b, ST_BAD_NAME, pos, "invalid name syntax");
		return false;
	}
	if (bind_lookup(b, schema, name, rel, v))
		return true;
	if (b->st == ST_OK)
		bind_fail(b, ST_UNDEFINED_TABLE, pos, "relation \"%s%s%s\" does not exist", schema ? schema : "",
			  schema ? "." : "", name);
	return false;
}

static uint64_t relation_id(const struct relation_def *rel, const struct virtual_rel *v)
{
	return v ? v->oid : rel->kind == REL_INDEX ? rel->index->id : rel->kind == REL_SEQUENCE ? rel->sequence->id
	       : rel->table->id;
}

static bool all_digits(const char *s)
{
	if (!*s)
		return false;
	while (isdigit((unsigned char)*s))
		s++;
	return !*s;
}

struct expr *bind_regclass(struct bind *b, const char *text, int pos)
{
	const struct virtual_rel *v;
	struct relation_def rel;
	struct expr *ex;

	if (all_digits(text))
		return bind_const_i(b, T_REGCLASS, (int64_t)strtoull(text, NULL, 10));
	if (!find_named(b, text, pos, &rel, &v))
		return NULL;
	ex = bind_const_i(b, T_REGCLASS, (int64_t)relation_id(&rel, v));
	ex->position = pos;
	return ex;
}

/* nextval('name'): the planner must know which sequence, so the name is a constant. */
struct expr *bind_nextval(struct bind *b, const struct expr *arg, int pos)
{
	struct relation_def rel = {0};
	const struct virtual_rel *v = NULL;
	struct expr *ex;
	enum status st;

	if (arg->kind != EX_CONST || arg->value.null)
		return bind_unsupported(b, pos, "nextval() of anything but a constant");
	if (arg->type.oid == T_UNKNOWN || arg->type.oid == T_TEXT) {
		const char *text = arena_strndup(b->arena, (const char *)arg->value.var, arg->value.bytes);

		if (!find_named(b, text, arg->position, &rel, &v))
			return NULL;
	} else {
		st = bind_has_catalog(b) ? bind_relation_by_id(b, (rel_id)arg->value.i, &rel) : ST_UNDEFINED_TABLE;
		if (st != ST_OK && st != ST_UNDEFINED_TABLE) {
			b->st = st;
			return NULL;
		}
		if (st != ST_OK)
			return bind_fail(b, ST_UNDEFINED_TABLE, pos, "could not open relation with OID %lld",
					 (long long)arg->value.i);
	}
	if (v || rel.kind != REL_SEQUENCE)
		return bind_fail(b, ST_WRONG_OBJECT_TYPE, pos, "\"%s\" is not a sequence",
				 v ? v->name : rel.kind == REL_INDEX ? rel.index->name
				 : rel.table ? rel.table->name : "?");
	ex = bind_node(b, EX_NEXTVAL, 0, T_INT8, pos);
	ex->rel_oid = rel.sequence->id;
	return ex;
}

/* -- columns -------------------------------------------------------------------------------------------- */

struct scope_item *scope_add_item(struct scope *s, struct scope_items *to, const struct scope_item *item)
{
	if (to->count == to->cap) {
		uint32_t cap = to->cap ? to->cap * 2 : 4;
		struct scope_item *at = ARENA_NEW_N(s->b->arena, struct scope_item, cap);

		if (to->count)
			memcpy(at, to->at, to->count * sizeof *at);
		to->at = at;
		to->cap = cap;
	}
	to->at[to->count] = *item;
	return &to->at[to->count++];
}

/* A copy of ex as seen from @levels query levels further down. */
struct expr *expr_copy_up(struct bind *b, const struct expr *ex, uint32_t levels)
{
	struct expr *c = ARENA_NEW(b->arena, struct expr);
	uint32_t i;

	b->nodes++;
	*c = *ex;
	if (c->kind == EX_COLUMN)
		c->levels_up = (uint16_t)(c->levels_up + levels);
	if (c->arg_count) {
		c->args = ARENA_NEW_N(b->arena, struct expr *, c->arg_count);
		for (i = 0; i < c->arg_count; i++)
			c->args[i] = expr_copy_up(b, ex->args[i], levels);
	}
	return c;
}

struct expr *bind_item_column(struct scope *s, const struct scope_item *it, uint32_t column, uint32_t levels, int pos)
{
	struct expr *ex;

	if (it->lateral_only && !it->lateral_ok) {
		bind_fail(s->b, ST_BAD_COLUMN_REFERENCE, pos, "invalid reference to FROM-clause entry for table \"%s\"",
			  it->alias ? it->alias : "?");
		bind_detail(s->b, "The combining JOIN type must be INNER or LEFT for a LATERAL reference.");
		return NULL;
	}
	ex = expr_copy_up(s->b, it->columns[column].expr, levels);
	ex->position = pos;
	return ex;
}

static bool item_in_sight(const struct scope *s, const struct scope_item *it)
{
	return !it->lateral_only || s->lateral;
}

/* The column of that name at this level: 1 found, 0 none, -1 failed. */
static int find_unqualified(struct scope *s, const char *name, int pos, struct scope_item **item_out, uint32_t *col_out)
{
	uint32_t i, c, found = 0;

	for (i = 0; i < s->items.count; i++) {
		struct scope_item *it = &s->items.at[i];

		if (!it->columns_visible || !item_in_sight(s, it))
			continue;
		for (c = 0; c < it->column_count; c++) {
			if (!it->columns[c].name || strcmp(it->columns[c].name, name) != 0)
				continue;
			if (found++) {
				bind_fail(s->b, ST_AMBIGUOUS_COLUMN, pos, "column reference \"%s\" is ambiguous", name);
				return -1;
			}
			*item_out = it;
			*col_out = c;
		}
	}
	return found ? 1 : 0;
}

static bool is_system_column(const char *name)
{
	return !strcmp(name, "ctid") || !strcmp(name, "tableoid");
}

static int64_t virtual_oid(const struct range_rel *r)
{
	const struct virtual_rel *v;
	uint32_t i;

	for (i = 0; (v = virtual_at(i)); i++)
		if (!strcmp(v->full_name, r->virtual_name))
			return v->oid;
	return 0;
}

static struct expr *system_column(struct scope *s, const struct scope_item *it, const char *name, uint32_t levels, int pos)
{
	const struct range_rel *r = it->rel == NO_REL ? NULL : &s->q->rels[it->rel];
	struct expr *ex;

	if (!r || (r->source != SRC_TABLE && r->source != SRC_VIRTUAL))
		return NULL;
	if (!strcmp(name, "tableoid")) {
		ex = bind_const_i(s->b, T_OID, r->source == SRC_TABLE ? (int64_t)r->table->id : virtual_oid(r));
		ex->position = pos;
		return ex;
	}
	if (r->source == SRC_VIRTUAL)
		return NULL;
	ex = bind_node(s->b, EX_COLUMN, 0, T_INT8, pos);
	ex->rel = it->rel;
	ex->attno = 0;
	ex->levels_up = (uint16_t)levels;
	return ex;
}

static struct expr *find_system(struct scope *s, const char *name, uint32_t levels, int pos)
{
	struct scope_item *found = NULL;
	uint32_t i;

	for (i = 0; i < s->items.count; i++) {
		struct scope_item *it = &s->items.at[i];

		if (!it->rel_visible || !item_in_sight(s, it) || it->rel == NO_REL ||
		    (s->q->rels[it->rel].source != SRC_TABLE && s->q->rels[it->rel].source != SRC_VIRTUAL))
			continue;
		if (found)
			return bind_fail(s->b, ST_AMBIGUOUS_COLUMN, pos, "column reference \"%s\" is ambiguous", name);
		found = it;
	}
	return found ? system_column(s, found, name, levels, pos) : NULL;
}

static struct expr *unqualified(struct scope *s, const char *name, int pos)
{
	struct scope *at;
	uint32_t levels = 0, col = 0;
	struct scope_item *it = NULL;
	struct expr *ex;

	for (at = s; at; at = at->parent, levels++) {
		int found = find_unqualified(at, name, pos, &it, &col);

		if (found < 0)
			return NULL;
		if (found)
			return bind_item_column(at, it, col, levels, pos);
		if (is_system_column(name)) {
			ex = find_system(at, name, levels, pos);
			if (ex || s->b->st != ST_OK)
				return ex;
		}
	}
	for (at = s; at; at = at->parent) {
		uint32_t i;

		for (i = 0; i < at->items.count; i++)
			if (at->items.at[i].rel_visible && at->items.at[i].alias && !strcmp(at->items.at[i].alias, name))
				return bind_unsupported(s->b, pos, "using a whole row as a value");
	}
	return bind_fail(s->b, ST_UNDEFINED_COLUMN, pos, "column \"%s\" does not exist", name);
}

/* The table of that name, this level first. NULL: none, with the error set. */
struct scope_item *scope_find_item(struct scope *s, const char *schema, const char *alias, uint32_t *levels_out, int pos)
{
	struct scope *at;
	uint32_t levels = 0, i;
	bool hidden = false;

	for (at = s; at; at = at->parent, levels++) {
		struct scope_item *found = NULL;

		for (i = 0; i < at->items.count; i++) {
			struct scope_item *it = &at->items.at[i];

			if (!it->alias || strcmp(it->alias, alias) != 0)
				continue;
			if (schema && (!it->schema || strcmp(it->schema, schema) != 0))
				continue;
			if (!it->rel_visible || !item_in_sight(at, it)) {
				hidden = true;
				continue;
			}
			if (found)
				return bind_fail(s->b, ST_DUPLICATE_ALIAS, pos, "table reference \"%s\" is ambiguous",
						 alias);
			found = it;
		}
		if (found) {
			*levels_out = levels;
			return found;
		}
	}
	if (hidden) {
		bind_fail(s->b, ST_UNDEFINED_TABLE, pos, "invalid reference to FROM-clause entry for table \"%s\"", alias);
		bind_detail(s->b, "There is an entry for table \"%s\", but it cannot be referenced from this part of the "
				  "query.", alias);
		return NULL;
	}
	for (at = s; at && !schema; at = at->parent)
		for (i = 0; i < at->items.count; i++) {
			struct scope_item *it = &at->items.at[i];
			const struct range_rel *r = it->rel == NO_REL ? NULL : &at->q->rels[it->rel];

			if (!r || r->source != SRC_TABLE || strcmp(r->table->name, alias) != 0)
				continue;
			bind_fail(s->b, ST_UNDEFINED_TABLE, pos, "invalid reference to FROM-clause entry for table \"%s\"",
				  alias);
			error_hint(s->b->cx->err, "Perhaps you meant to reference the table alias \"%s\".", it->alias);
			return NULL;
		}
	return bind_fail(s->b, ST_UNDEFINED_TABLE, pos, "missing FROM-clause entry for table \"%s\"", alias);
}

static struct expr *qualified(struct scope *s, const char *schema, const char *alias, const char *name, int pos)
{
	uint32_t levels = 0, c, found = 0, col = 0, up;
	struct scope_item *it = scope_find_item(s, schema, alias, &levels, pos);
	struct scope *at = s;
	struct expr *ex;

	if (!it)
		return NULL;
	for (up = 0; up < levels; up++)
		at = at->parent;
	for (c = 0; c < it->column_count; c++)
		if (it->columns[c].name && !strcmp(it->columns[c].name, name)) {
			col = c;
			found++;
		}
	if (found > 1)
		return bind_fail(s->b, ST_AMBIGUOUS_COLUMN, pos, "column reference \"%s\" is ambiguous", name);
	if (found)
		return bind_item_column(at, it, col, levels, pos);
	if (is_system_column(name)) {
		ex = system_column(at, it, name, levels, pos);
		if (ex)
			return ex;
	}
	return bind_fail(s->b, ST_UNDEFINED_COLUMN, pos, "column %s.%s does not exist", alias, name);
}

struct expr *bind_column_ref(struct scope *s, const struct ast_expr *e)
{
	const char *const *n = e->names.at;
	struct expr *ex;

	if (s->place == AT_DEFAULT)
		return bind_fail(s->b, ST_UNSUPPORTED, e->pos, "cannot use column reference in DEFAULT expression");
	if (e->star)
		return bind_fail(s->b, ST_SYNTAX, e->pos, "row expansion via \"*\" is not supported here");
	switch (e->names.count) {
	case 1: ex = unqualified(s, n[0], e->pos); break;
	case 2: ex = qualified(s, NULL, n[0], n[1], e->pos); break;
	case 3: ex = qualified(s, n[0], n[1], n[2], e->pos); break;
	case 4: ex = qualified(s, n[1], n[2], n[3], e->pos); break;
	default:
		return bind_fail(s->b, ST_SYNTAX, e->pos, "improper qualified name (too many dotted names)");
	}
	if (ex && ex->kind == EX_COLUMN && ex->levels_up == 0 && (s->place == AT_LIMIT || s->place == AT_OFFSET))
		return bind_fail(s->b, ST_BAD_COLUMN_REFERENCE, e->pos, "argument of %s must not contain variables",
				 place_name((enum bind_place)s->place));
	return ex;
}
