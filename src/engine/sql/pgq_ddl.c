/* pgq_ddl.c - copies definitions (CREATE, ALTER, DROP) of libpg_query's raw tree (engine/sql). */
#include "engine/sql/pgq_int.h"

#include <catalog/pg_class.h>

static bool collation_plain(const CollateClause *c)
{
	const char *name = c ? pgq_last_name(c->collname) : NULL;

	return !c || (name && (!strcmp(name, "default") || !strcmp(name, "C") || !strcmp(name, "POSIX")));
}

static void copy_constraint(struct pgq *p, const Constraint *c, struct ast_constraint *o)
{
	o->name = pgq_str(p, c->conname);
	o->pos = pgq_position(p, c->location);
	o->deferrable = c->deferrable || c->initdeferred;
	switch (c->contype) {
	case CONSTR_NULL: o->kind = AC_NULL; break;
	case CONSTR_NOTNULL: o->kind = AC_NOT_NULL; break;
	case CONSTR_DEFAULT: o->kind = AC_DEFAULT; break;
	case CONSTR_IDENTITY:
		o->kind = AC_IDENTITY;
		o->always = c->generated_when == 'a'; /* ATTRIBUTE_IDENTITY_ALWAYS */
		pgq_options(p, c->options, &o->option_count, &o->options);
		break;
	case CONSTR_CHECK: o->kind = AC_CHECK; break;
	case CONSTR_PRIMARY: o->kind = AC_PRIMARY; break;
	case CONSTR_UNIQUE: o->kind = AC_UNIQUE; break;
	case CONSTR_ATTR_NOT_DEFERRABLE:
	case CONSTR_ATTR_IMMEDIATE:
		o->kind = AC_NULL; /* the default: nothing to do, and it must not undo NOT NULL: see the binder */
		o->text = "attribute";
		break;
	case CONSTR_GENERATED: o->kind = AC_UNSUPPORTED; o->text = "GENERATED ALWAYS AS (expression)"; break;
	case CONSTR_EXCLUSION: o->kind = AC_UNSUPPORTED; o->text = "EXCLUDE constraints"; break;
	case CONSTR_FOREIGN: o->kind = AC_UNSUPPORTED; o->text = "FOREIGN KEY constraints"; break;
	default: o->kind = AC_UNSUPPORTED; o->text = "DEFERRABLE constraints";
	}
	o->expr = pgq_expr(p, c->raw_expr);
	if (o->kind == AC_PRIMARY || o->kind == AC_UNIQUE) {
		pgq_names(p, c->keys, &o->columns);
		o->including = c->including != NULL;
		o->nulls_not_distinct = c->nulls_not_distinct;
		o->using_index = pgq_str(p, c->indexname);
	}
}

static void copy_column(struct pgq *p, const ColumnDef *c, struct ast_column *o)
{
	ListCell *cell;

	o->name = pgq_str(p, c->colname);
	if (c->typeName)
		o->type = pgq_type(p, c->typeName);
	o->collation = !collation_plain(c->collClause);
	o->pos = pgq_position(p, c->location);
	o->constraints = ARENA_NEW_N(p->arena, struct ast_constraint, list_length(c->constraints));
	foreach(cell, c->constraints)
		copy_constraint(p, lfirst(cell), &o->constraints[o->constraint_count++]);
}

static struct ast_create_table *copy_create_table(struct pgq *p, const CreateStmt *c)
{
	struct ast_create_table *o = ARENA_NEW(p->arena, struct ast_create_table);
	ListCell *cell;

	o->rel = pgq_rel(p, c->relation);
	o->if_not_exists = c->if_not_exists;
	o->columns = ARENA_NEW_N(p->arena, struct ast_column, list_length(c->tableElts));
	o->constraints = ARENA_NEW_N(p->arena, struct ast_constraint,
				     list_length(c->tableElts) + list_length(c->constraints));
	foreach(cell, c->tableElts) {
		const Node *n = lfirst(cell);

		if (IsA(n, ColumnDef))
			copy_column(p, (const ColumnDef *)n, &o->columns[o->column_count++]);
		else if (IsA(n, Constraint))
			copy_constraint(p, (const Constraint *)n, &o->constraints[o->constraint_count++]);
		else
			o->unsupported = "CREATE TABLE (LIKE …)";
	}
	foreach(cell, c->constraints)
		copy_constraint(p, lfirst(cell), &o->constraints[o->constraint_count++]);
	if (c->partbound)
		o->unsupported = "PARTITION OF";
	else if (c->partspec)
		o->unsupported = "PARTITION BY";
	else if (c->inhRelations)
		o->unsupported = "INHERITS";
	else if (c->ofTypename)
		o->unsupported = "CREATE TABLE OF a type";
	else if (c->oncommit != ONCOMMIT_NOOP)
		o->unsupported = "ON COMMIT";
	else if (c->accessMethod && strcmp(c->accessMethod, "heap"))
		o->unsupported = "USING an access method";
	pgq_options(p, c->options, &o->option_count, &o->options);
	return o;
}

static struct ast_create_index *copy_create_index(struct pgq *p, const IndexStmt *x)
{
	struct ast_create_index *o = ARENA_NEW(p->arena, struct ast_create_index);
	ListCell *cell;

	o->name = pgq_str(p, x->idxname);
	o->rel = pgq_rel(p, x->relation);
	o->unique = x->unique;
	o->concurrently = x->concurrent;
	o->if_not_exists = x->if_not_exists;
	o->including = x->indexIncludingParams != NULL;
	o->partial = x->whereClause != NULL;
	o->nulls_not_distinct = x->nulls_not_distinct;
	o->method = pgq_str(p, x->accessMethod);
	o->columns = ARENA_NEW_N(p->arena, struct ast_index_column, list_length(x->indexParams));
	foreach(cell, x->indexParams) {
		const IndexElem *e = lfirst(cell);
		struct ast_index_column *c = &o->columns[o->column_count++];

		c->name = pgq_str(p, e->name);
		c->expr = pgq_expr(p, e->expr);
		c->desc = e->ordering == SORTBY_DESC;
		c->nulls = e->nulls_ordering == SORTBY_NULLS_FIRST ? AST_NULLS_FIRST
			   : e->nulls_ordering == SORTBY_NULLS_LAST ? AST_NULLS_LAST : AST_NULLS_DEFAULT;
		c->opclass = e->opclass != NULL;
		if (e->collation) {
			const char *name = pgq_last_name(e->collation);

			c->collation = !name || (strcmp(name, "default") && strcmp(name, "C") && strcmp(name, "POSIX"));
		}
	}
	return o;
}

static void copy_alter_cmd(struct pgq *p, const AlterTableCmd *c, struct ast_alter *o)
{
	o->name = pgq_str(p, c->name);
	o->missing_ok = c->missing_ok;
	o->cascade = c->behavior == DROP_CASCADE;
	switch (c->subtype) {
	case AT_AddColumn:
		o->kind = AA_ADD_COLUMN;
		o->column = ARENA_NEW(p->arena, struct ast_column);
		copy_column(p, (const ColumnDef *)c->def, o->column);
		break;
	case AT_DropColumn: o->kind = AA_DROP_COLUMN; break;
	case AT_AddConstraint:
		o->kind = AA_ADD_CONSTRAINT;
		o->constraint = ARENA_NEW(p->arena, struct ast_constraint);
		copy_constraint(p, (const Constraint *)c->def, o->constraint);
		break;
	case AT_DropConstraint: o->kind = AA_DROP_CONSTRAINT; break;
	case AT_ColumnDefault:
		o->kind = AA_DEFAULT;
		o->expr = pgq_expr(p, c->def);
		break;
	case AT_SetNotNull: o->kind = AA_SET_NOT_NULL; break;
	case AT_DropNotNull: o->kind = AA_DROP_NOT_NULL; break;
	case AT_ChangeOwner: o->kind = AA_OWNER; break;
	case AT_SetRelOptions:
	case AT_ResetRelOptions:
	case AT_SetTableSpace:
	case AT_SetStatistics:
	case AT_SetStorage:
	case AT_SetLogged:
	case AT_SetUnLogged:
	case AT_ReplicaIdentity:
	case AT_ClusterOn:
	case AT_DropCluster:
	case AT_ValidateConstraint:
		o->kind = AA_IGNORED;
		break;
	case AT_AlterColumnType: o->kind = AA_UNSUPPORTED; o->text = "ALTER COLUMN TYPE"; break;
	case AT_AttachPartition:
	case AT_DetachPartition: o->kind = AA_UNSUPPORTED; o->text = "ATTACH and DETACH PARTITION"; break;
	case AT_AddInherit:
	case AT_DropInherit: o->kind = AA_UNSUPPORTED; o->text = "INHERIT"; break;
	case AT_EnableRowSecurity:
	case AT_ForceRowSecurity: o->kind = AA_UNSUPPORTED; o->text = "ROW LEVEL SECURITY"; break;
	case AT_AddIdentity:
	case AT_SetIdentity:
	case AT_DropIdentity: o->kind = AA_UNSUPPORTED; o->text = "altering an identity column"; break;
	case AT_AddIndexConstraint: o->kind = AA_UNSUPPORTED; o->text = "ADD CONSTRAINT USING INDEX"; break;
	default: o->kind = AA_UNSUPPORTED; o->text = "this form of ALTER TABLE";
	}
}

static enum ast_object object_of(ObjectType t, const char **name_out)
{
	switch (t) {
	case OBJECT_TABLE: return AO_TABLE;
	case OBJECT_INDEX: return AO_INDEX;
	case OBJECT_SEQUENCE: return AO_SEQUENCE;
	case OBJECT_SCHEMA: return AO_SCHEMA;
	case OBJECT_VIEW: return AO_VIEW;
	case OBJECT_COLUMN: *name_out = "COLUMN"; return AO_OTHER;
	case OBJECT_DATABASE: *name_out = "DATABASE"; return AO_OTHER;
	default: *name_out = ""; return AO_OTHER;
	}
}

static void copy_rename(struct pgq *p, const RenameStmt *r, struct raw_stmt *s)
{
	struct ast_alter *a = ARENA_NEW(p->arena, struct ast_alter);

	s->type = RAW_ALTER_TABLE;
	s->object = (uint8_t)object_of(r->renameType == OBJECT_COLUMN || r->renameType == OBJECT_TABCONSTRAINT
				       ? r->relationType : r->renameType, &s->object_name);
	if (!r->relation || r->renameType == OBJECT_ATTRIBUTE) {
		pgq_unsupported(p, s, NULL);
		return;
	}
	s->rel = pgq_rel(p, r->relation);
	s->missing_ok = r->missing_ok;
	s->alter_count = 1;
	s->alters = a;
	a->kind = r->renameType == OBJECT_COLUMN ? AA_RENAME_COLUMN
		  : r->renameType == OBJECT_TABCONSTRAINT ? AA_RENAME_CONSTRAINT : AA_RENAME;
	a->name = pgq_str(p, r->subname);
	a->new_name = pgq_str(p, r->newname);
}

static void copy_drop(struct pgq *p, const DropStmt *d, struct raw_stmt *s)
{
	ListCell *cell;

	s->type = RAW_DROP;
	s->object = (uint8_t)object_of(d->removeType, &s->object_name);
	s->missing_ok = d->missing_ok;
	s->cascade = d->behavior == DROP_CASCADE;
	s->concurrently = d->concurrent;
	if (s->object == AO_OTHER) {
		pgq_unsupported(p, s, NULL);
		return;
	}
	s->rels = ARENA_NEW_N(p->arena, struct ast_rel *, list_length(d->objects));
	foreach(cell, d->objects) {
		const Node *n = lfirst(cell);
		struct ast_rel *r;

		if (IsA(n, String)) {
			r = ARENA_NEW(p->arena, struct ast_rel);
			r->name = pgq_str(p, strVal(n));
		} else {
			r = pgq_rel_of_names(p, (const List *)n);
		}
		s->rels[s->rel_count++] = r;
	}
}

static void copy_alter(struct pgq *p, const AlterTableStmt *a, struct raw_stmt *s)
{
	ListCell *cell;

	s->type = RAW_ALTER_TABLE;
	s->object = (uint8_t)object_of(a->objtype, &s->object_name);
	s->rel = pgq_rel(p, a->relation);
	s->missing_ok = a->missing_ok;
	s->alters = ARENA_NEW_N(p->arena, struct ast_alter, list_length(a->cmds));
	foreach(cell, a->cmds)
		copy_alter_cmd(p, lfirst(cell), &s->alters[s->alter_count++]);
}

static void copy_as(struct pgq *p, const CreateTableAsStmt *a, struct raw_stmt *s)
{
	struct ast_create_table *o = ARENA_NEW(p->arena, struct ast_create_table);

	if (a->objtype != OBJECT_TABLE) {
		pgq_unsupported(p, s, "CREATE MATERIALIZED VIEW");
		return;
	}
	s->type = RAW_CREATE_TABLE_AS;
	s->create_table = o;
	o->into = pgq_into(p, a->into);
	o->rel = o->into->rel;
	o->if_not_exists = a->if_not_exists;
	o->option_count = o->into->option_count;
	o->options = o->into->options;
	if (a->query && IsA(a->query, SelectStmt))
		o->as = pgq_select(p, a->query);
	else
		pgq_unsupported(p, s, "CREATE TABLE AS EXECUTE");
}

static void copy_comment(struct pgq *p, const CommentStmt *c, struct raw_stmt *s)
{
	s->type = RAW_COMMENT;
	s->object = (uint8_t)object_of(c->objtype, &s->object_name);
	s->value = pgq_str(p, c->comment);
	if (s->object == AO_OTHER && strcmp(s->object_name, "COLUMN") != 0 && strcmp(s->object_name, "DATABASE") != 0)
		pgq_unsupported(p, s, NULL);
	else if (c->object && IsA(c->object, List)) {
		s->rel = pgq_rel_of_names(p, (const List *)c->object);
	} else if (c->object && IsA(c->object, String)) {
		s->rel = ARENA_NEW(p->arena, struct ast_rel);
		s->rel->name = pgq_str(p, strVal(c->object));
	}
}

bool pgq_ddl(struct pgq *p, const Node *n, struct raw_stmt *s)
{
	switch (nodeTag(n)) {
	case T_CreateStmt:
		s->type = RAW_CREATE_TABLE;
		s->create_table = copy_create_table(p, (const CreateStmt *)n);
		return true;
	case T_CreateTableAsStmt:
		copy_as(p, (const CreateTableAsStmt *)n, s);
		return true;
	case T_IndexStmt:
		s->type = RAW_CREATE_INDEX;
		s->create_index = copy_create_index(p, (const IndexStmt *)n);
		return true;
	case T_CreateSeqStmt:
		s->type = RAW_CREATE_SEQUENCE;
		s->rel = pgq_rel(p, ((const CreateSeqStmt *)n)->sequence);
		s->missing_ok = ((const CreateSeqStmt *)n)->if_not_exists;
		pgq_options(p, ((const CreateSeqStmt *)n)->options, &s->option_count, &s->options);
		return true;
	case T_AlterSeqStmt:
		s->type = RAW_ALTER_SEQUENCE;
		s->rel = pgq_rel(p, ((const AlterSeqStmt *)n)->sequence);
		s->missing_ok = ((const AlterSeqStmt *)n)->missing_ok;
		pgq_options(p, ((const AlterSeqStmt *)n)->options, &s->option_count, &s->options);
		return true;
	case T_AlterTableStmt:
		copy_alter(p, (const AlterTableStmt *)n, s);
		return true;
	case T_RenameStmt:
		copy_rename(p, (const RenameStmt *)n, s);
		return true;
	case T_DropStmt:
		copy_drop(p, (const DropStmt *)n, s);
		return true;
	case T_CreateSchemaStmt:
		s->type = RAW_CREATE_SCHEMA;
		s->name = pgq_str(p, ((const CreateSchemaStmt *)n)->schemaname);
		s->missing_ok = ((const CreateSchemaStmt *)n)->if_not_exists;
		if (((const CreateSchemaStmt *)n)->schemaElts)
			pgq_unsupported(p, s, "CREATE SCHEMA with elements");
		return true;
	case T_CommentStmt:
		copy_comment(p, (const CommentStmt *)n, s);
		return true;
	default:
		return false;
	}
}
