/*
 * bind_alter.c - ALTER TABLE, INDEX and SEQUENCE … (engine/sql).
 *
 * Actions are bound one after the other against a working copy of the definition, so that one may speak of what
 * another has just added. The executor applies them in the same order.
 */
#include "engine/sql/bind_int.h"

struct alter {
	struct bind *b;
	struct table_maker m;
	struct stmt *st;
	uint32_t cap;
};

static struct alter_action *add_action(struct alter *a, enum alter_kind kind)
{
	struct stmt *st = a->st;

	if (st->alter.action_count == a->cap) {
		uint32_t cap = a->cap ? a->cap * 2 : 4;
		struct alter_action *at = ARENA_NEW_N(a->b->arena, struct alter_action, cap);

		if (st->alter.action_count)
			memcpy(at, st->alter.actions, st->alter.action_count * sizeof *at);
		st->alter.actions = at;
		a->cap = cap;
	}
	st->alter.actions[st->alter.action_count].kind = (uint8_t)kind;
	return &st->alter.actions[st->alter.action_count++];
}

static struct column_def *find_column(struct alter *a, const char *name, bool missing_ok)
{
	struct table_def *t = a->m.t;
	const struct column_def *c = table_column(t, name);

	if (c)
		return &t->columns[c->attno - 1];
	if (!missing_ok)
		return bind_fail(a->b, ST_UNDEFINED_COLUMN, 0, "column \"%s\" of relation \"%s\" does not exist", name, t->name);
	bind_notice(a->b, arena_printf(a->b->arena, "column \"%s\" of relation \"%s\" does not exist, skipping", name, t->name));
	return NULL;
}

/* The value that rows older than the column have, where the default is a constant. */
static bool missing_value(struct alter *a, struct column_def *c)
{
	struct bind *b = a->b;
	struct eval ev = {.arena = b->arena, .err = b->cx->err};
	struct expr *ex;
	struct cell v, stored;
	enum status st;

	if (!c->default_sql)
		return true;
	if (!(ex = bind_sql_text(b, c->default_sql, NULL, 0, AT_DEFAULT)) || !(ex = bind_assign(b, ex, c, 0)))
		return false;
	if (!expr_is_constant(ex))
		return true;
	error_clear(b->cx->err);
	st = expr_eval_one(&ev, ex, &v);
	if (st == ST_OK && !v.null)
		st = value_to_storage((struct sql_type){c->type_oid, c->typmod}, &v, b->arena, &stored, b->cx->err);
	else
		stored = v;
	if (st != ST_OK)
		return bind_fail_at(b, st, 0);
	c->has_missing = !stored.null;
	c->missing = stored;
	c->missing.attno = c->attno;
	return true;
}

static struct column_def *append_column(struct table_maker *m)
{
	struct table_def *t = m->t;
	struct column_def *at = ARENA_NEW_N(m->b->arena, struct column_def, t->column_count + 1u);

	if (t->column_count)
		memcpy(at, t->columns, t->column_count * sizeof *at);
	t->columns = at;
	at[t->column_count].attno = (uint16_t)(t->column_count + 1);
	return &at[t->column_count];
}

static bool add_constraint(struct alter *a, const struct ast_constraint *c, const char *column)
{
	struct table_def *t = a->m.t;
	uint32_t indexes = t->index_count, checks = t->check_count;
	struct alter_action *act;

	if (!maker_constraint(&a->m, c, column))
		return false;
	if (t->index_count > indexes) {
		act = add_action(a, ALTER_ADD_INDEX);
		act->index = t->indexes[indexes];
		act->index.table = t->id;
	}
	if (t->check_count > checks) {
		act = add_action(a, ALTER_ADD_CHECK);
		act->name = t->checks[checks].name;
		act->expr_sql = t->checks[checks].expr_sql;
	}
	return true;
}

static bool add_column(struct alter *a, const struct ast_alter *x)
{
	struct table_def *t = a->m.t;
	const struct ast_column *c = x->column;
	struct alter_action *act;
	struct column_def *col;
	uint32_t serials = a->m.serial_count, i;

	if (table_column(t, name_cut(a->b, c->name))) {
		if (!x->missing_ok)
			return bind_fail(a->b, ST_DUPLICATE_COLUMN, 0, "column \"%s\" of relation \"%s\" already exists", c->name,
					 t->name);
		bind_notice(a->b, arena_printf(a->b->arena, "column \"%s\" of relation \"%s\" already exists, skipping", c->name,
					       t->name));
		return true;
	}
	if (t->column_count >= SCHEMA_COLUMNS_MAX)
		return bind_fail(a->b, ST_TOO_MANY_COLUMNS, 0, "tables can have at most %d columns", SCHEMA_COLUMNS_MAX);
	col = append_column(&a->m);
	if (!maker_column(&a->m, c, col) || !maker_column_constraints(&a->m, c, col))
		return false;
	t->column_count++;
	if (a->m.serial_count == serials && !missing_value(a, col))
		return false;
	act = add_action(a, ALTER_ADD_COLUMN);
	act->column = *col;
	act->attno = col->attno;
	act->if_not_exists = x->missing_ok;
	if (a->m.serial_count > serials)
		act->seq = a->m.serials[serials].seq;
	for (i = 0; i < c->constraint_count; i++)
		if (!add_constraint(a, &c->constraints[i], col->name))
			return false;
	return true;
}

static bool drop_column(struct alter *a, const struct ast_alter *x)
{
	struct column_def *c = find_column(a, x->name, x->missing_ok);
	struct alter_action *act;

	if (!c)
		return a->b->st == ST_OK;
	act = add_action(a, ALTER_DROP_COLUMN);
	act->attno = c->attno;
	act->name = c->name;
	act->if_exists = x->missing_ok;
	c->dropped = true;
	return true;
}

static bool drop_constraint(struct alter *a, const struct ast_alter *x)
{
	struct table_def *t = a->m.t;
	bool found = false;
	uint32_t i;

	for (i = 0; i < t->index_count; i++)
		found |= t->indexes[i].constraint && !strcmp(t->indexes[i].name, x->name);
	for (i = 0; i < t->check_count; i++)
		found |= !strcmp(t->checks[i].name, x->name);
	if (!found && x->missing_ok) {
		bind_notice(a->b, arena_printf(a->b->arena, "constraint \"%s\" of relation \"%s\" does not exist, skipping",
					       x->name, t->name));
		return true;
	}
	if (!found)
		return bind_fail(a->b, ST_UNDEFINED_OBJECT, 0, "constraint \"%s\" of relation \"%s\" does not exist", x->name,
				 t->name);
	/* out of the working copy, so that the name and a second primary key are free for a later action */
	for (i = 0; i < t->index_count; i++)
		if (t->indexes[i].constraint && !strcmp(t->indexes[i].name, x->name)) {
			memmove(&t->indexes[i], &t->indexes[i + 1], (t->index_count - i - 1u) * sizeof *t->indexes);
			t->index_count--;
			break;
		}
	add_action(a, ALTER_DROP_CONSTRAINT)->name = x->name;
	return true;
}

static bool set_column(struct alter *a, const struct ast_alter *x, enum alter_kind kind)
{
	struct column_def *c = find_column(a, x->name, false);
	struct alter_action *act;
	const char *text = NULL;
	uint32_t i, k;

	if (!c)
		return false;
	if (c->identity && kind != ALTER_SET_NOT_NULL) {
		bind_fail(a->b, ST_SYNTAX, 0, "column \"%s\" of relation \"%s\" is an identity column", c->name, a->m.t->name);
		if (kind == ALTER_DROP_DEFAULT)
			bind_hint(a->b, "Use ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY instead.");
		return false;
	}
	if (kind == ALTER_SET_DEFAULT && !(text = bind_default_text(a->b, a->m.t, c, x->expr, NULL)))
		return false;
	for (i = 0; kind == ALTER_DROP_NOT_NULL && i < a->m.t->index_count; i++)
		for (k = 0; a->m.t->indexes[i].primary && k < a->m.t->indexes[i].column_count; k++)
			if (a->m.t->indexes[i].attnos[k] == c->attno)
				return bind_fail(a->b, ST_BAD_TABLE_DEFINITION, 0, "column \"%s\" is in a primary key", c->name);
	act = add_action(a, kind);
	act->attno = c->attno;
	act->name = c->name;
	act->expr_sql = text;
	return true;
}

static bool rename_column(struct alter *a, const struct ast_alter *x)
{
	const struct column_def *c = table_column(a->m.t, x->name);
	struct alter_action *act;

	if (!c)
		return bind_fail(a->b, ST_UNDEFINED_COLUMN, 0, "column \"%s\" does not exist", x->name);
	if (table_column(a->m.t, name_cut(a->b, x->new_name)))
		return bind_fail(a->b, ST_DUPLICATE_COLUMN, 0, "column \"%s\" of relation \"%s\" already exists", x->new_name,
				 a->m.t->name);
	act = add_action(a, ALTER_RENAME_COLUMN);
	act->attno = c->attno;
	act->name = c->name;
	act->new_name = name_cut(a->b, x->new_name);
	return true;
}

static bool rename_relation(struct alter *a, const char *schema, const char *old, const struct ast_alter *x)
{
	const char *name = name_cut(a->b, x->new_name);
	struct alter_action *act;
	bool taken;

	if (!bind_name_taken(a->b, schema, name, &taken))
		return false;
	if (taken)
		return bind_fail(a->b, ST_DUPLICATE_TABLE, 0, "relation \"%s\" already exists", name);
	act = add_action(a, ALTER_RENAME);
	act->name = arena_strdup(a->b->arena, old);
	act->new_name = name;
	return true;
}

static bool table_action(struct alter *a, const struct ast_alter *x)
{
	switch ((enum ast_alter_kind)x->kind) {
	case AA_ADD_COLUMN: return add_column(a, x);
	case AA_DROP_COLUMN: return drop_column(a, x);
	case AA_ADD_CONSTRAINT: return add_constraint(a, x->constraint, NULL);
	case AA_DROP_CONSTRAINT: return drop_constraint(a, x);
	case AA_DEFAULT: return set_column(a, x, x->expr ? ALTER_SET_DEFAULT : ALTER_DROP_DEFAULT);
	case AA_SET_NOT_NULL: return set_column(a, x, ALTER_SET_NOT_NULL);
	case AA_DROP_NOT_NULL: return set_column(a, x, ALTER_DROP_NOT_NULL);
	case AA_OWNER: return add_action(a, ALTER_OWNER) != NULL;
	case AA_IGNORED: return true;
	case AA_RENAME: return rename_relation(a, a->m.t->schema, a->m.t->name, x);
	case AA_RENAME_COLUMN: return rename_column(a, x);
	case AA_RENAME_CONSTRAINT: return bind_unsupported(a->b, 0, "renaming a constraint");
	case AA_UNSUPPORTED: return bind_unsupported(a->b, 0, x->text);
	}
	UNREACHABLE();
}

static const char *alter_tag(uint8_t object)
{
	return object == AO_INDEX ? "ALTER INDEX" : object == AO_SEQUENCE ? "ALTER SEQUENCE"
	       : object == AO_VIEW ? "ALTER VIEW" : "ALTER TABLE";
}

/* ALTER INDEX and SEQUENCE know a new name and owners only. */
static bool other_actions(struct alter *a, const struct raw_stmt *raw, const struct relation_def *rel)
{
	const char *schema = rel->kind == REL_INDEX ? rel->table->schema : rel->sequence->schema;
	const char *name = rel->kind == REL_INDEX ? rel->index->name : rel->sequence->name;
	uint32_t i;

	for (i = 0; i < raw->alter_count; i++) {
		const struct ast_alter *x = &raw->alters[i];

		if (x->kind == AA_RENAME) {
			if (!rename_relation(a, schema, name, x))
				return false;
		} else if (x->kind == AA_OWNER) {
			add_action(a, ALTER_OWNER);
		} else if (x->kind != AA_IGNORED) {
			return bind_unsupported(a->b, 0, rel->kind == REL_INDEX ? "this form of ALTER INDEX"
						: "this form of ALTER SEQUENCE");
		}
	}
	return true;
}

bool bind_alter_table(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	struct alter a = {.b = b, .st = st};
	const struct virtual_rel *v;
	struct relation_def rel;
	uint32_t i;

	st->kind = STMT_ALTER_TABLE;
	st->tag = alter_tag(raw->object);
	st->if_exists = raw->missing_ok;
	if (!bind_lookup(b, raw->rel->schema, raw->rel->name, &rel, &v)) {
		if (b->st != ST_OK)
			return false;
		if (!raw->missing_ok)
			return bind_fail(b, ST_UNDEFINED_TABLE, 0, "relation \"%s\" does not exist", bind_rel_text(b, raw->rel));
		bind_notice(b, arena_printf(b->arena, "relation \"%s\" does not exist, skipping", raw->rel->name));
		return true;
	}
	if (v)
		return bind_fail(b, ST_PRIVILEGE, 0, "permission denied: \"%s\" is a system catalog or view", v->name);
	if ((raw->object == AO_INDEX && rel.kind != REL_INDEX) || (raw->object == AO_SEQUENCE && rel.kind != REL_SEQUENCE) ||
	    raw->object == AO_VIEW)
		return bind_fail(b, ST_WRONG_OBJECT_TYPE, 0, "\"%s\" is not %s", raw->rel->name,
				 raw->object == AO_INDEX ? "an index" : raw->object == AO_VIEW ? "a view" : "a sequence");
	st->rels = ARENA_NEW(b->arena, rel_id);
	st->rel_count = 1;
	st->drop_kind = (uint8_t)rel.kind;
	if (rel.kind != REL_TABLE) {
		st->rels[0] = rel.kind == REL_INDEX ? rel.index->id : rel.sequence->id;
		return other_actions(&a, raw, &rel);
	}
	st->rels[0] = rel.table->id;
	st->alter.table = bind_keep_table(b, rel.table);
	maker_init(&a.m, b, schema_table_copy(rel.table, b->arena));
	for (i = 0; i < raw->alter_count; i++)
		if (!table_action(&a, &raw->alters[i]))
			return false;
	return true;
}
