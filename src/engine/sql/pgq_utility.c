/* pgq_utility.c - copies every other statement of libpg_query's raw tree (engine/sql). */
#include "engine/sql/pgq_int.h"

#include <ctype.h>
#include <limits.h>

/*
 * What the statement is called in "… is not supported": @what, or the first words of its text (set by the binder,
 * which knows the text).
 */
void pgq_unsupported(struct pgq *p, struct raw_stmt *s, const char *what)
{
	(void)p;
	s->type = RAW_UNSUPPORTED;
	s->object_name = what;
}

static void value_of(struct pgq *p, const Node *n, struct ast_option *o)
{
	if (!n)
		return;
	switch (nodeTag(n)) {
	case T_String:
		o->value = pgq_str(p, strVal(n));
		break;
	case T_Integer:
		o->number = intVal(n);
		o->number_ok = true;
		o->value = arena_printf(p->arena, "%d", intVal(n));
		break;
	case T_Float:
		o->value = pgq_str(p, ((const Float *)n)->fval);
		break;
	case T_Boolean:
		o->value = boolVal(n) ? "true" : "false";
		o->number = boolVal(n);
		o->number_ok = true;
		break;
	case T_TypeName:
		o->type = pgq_type(p, (const TypeName *)n);
		o->value = pgq_str(p, pgq_last_name(((const TypeName *)n)->names));
		break;
	case T_List:
		pgq_names(p, (const List *)n, &o->names);
		break;
	case T_A_Star:
		o->star = true;
		break;
	case T_A_Const:
		if (((const A_Const *)n)->isnull)
			break;
		value_of(p, &((const A_Const *)n)->val.node, o);
		break;
	case T_TypeCast: /* SET TIME ZONE INTERVAL '…' HOUR TO MINUTE; booleans */
		value_of(p, ((const TypeCast *)n)->arg, o);
		break;
	default:
		break;
	}
}

void pgq_options(struct pgq *p, const List *list, uint32_t *count_out, struct ast_option **out)
{
	ListCell *cell;

	*count_out = 0;
	*out = list ? ARENA_NEW_N(p->arena, struct ast_option, list_length(list)) : NULL;
	foreach(cell, list) {
		const DefElem *d = lfirst(cell);
		struct ast_option *o = &(*out)[(*count_out)++];

		if (!IsA(d, DefElem))
			continue;
		o->name = pgq_str(p, d->defname);
		o->pos = pgq_position(p, d->location);
		value_of(p, d->arg, o);
	}
}

static void copy_rels(struct pgq *p, const List *list, struct raw_stmt *s)
{
	ListCell *cell;

	s->rels = list ? ARENA_NEW_N(p->arena, struct ast_rel *, list_length(list)) : NULL;
	foreach(cell, list) {
		const Node *n = lfirst(cell);

		if (IsA(n, VacuumRelation))
			s->rels[s->rel_count++] = pgq_rel(p, ((const VacuumRelation *)n)->relation);
		else if (IsA(n, RangeVar))
			s->rels[s->rel_count++] = pgq_rel(p, (const RangeVar *)n);
	}
}

static void copy_transaction(struct pgq *p, const TransactionStmt *t, struct raw_stmt *s)
{
	static const uint8_t types[] = {
		[TRANS_STMT_BEGIN] = RAW_BEGIN, [TRANS_STMT_START] = RAW_BEGIN, [TRANS_STMT_COMMIT] = RAW_COMMIT,
		[TRANS_STMT_ROLLBACK] = RAW_ROLLBACK, [TRANS_STMT_SAVEPOINT] = RAW_SAVEPOINT,
		[TRANS_STMT_RELEASE] = RAW_RELEASE, [TRANS_STMT_ROLLBACK_TO] = RAW_ROLLBACK_TO,
		[TRANS_STMT_PREPARE] = RAW_UNSUPPORTED, [TRANS_STMT_COMMIT_PREPARED] = RAW_UNSUPPORTED,
		[TRANS_STMT_ROLLBACK_PREPARED] = RAW_UNSUPPORTED,
	};

	s->type = types[t->kind];
	s->start = t->kind == TRANS_STMT_START;
	s->name = pgq_str(p, t->savepoint_name);
	s->chain = t->chain;
	pgq_options(p, t->options, &s->option_count, &s->options);
	if (s->type == RAW_UNSUPPORTED)
		s->object_name = t->kind == TRANS_STMT_PREPARE ? "PREPARE TRANSACTION"
				 : t->kind == TRANS_STMT_COMMIT_PREPARED ? "COMMIT PREPARED" : "ROLLBACK PREPARED";
}

static bool bare_identifier(const char *s)
{
	if (!*s || isdigit((unsigned char)*s))
		return false;
	for (; *s; s++)
		if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s) && *s != '_')
			return false;
	return true;
}

static char *quote_identifier_text(struct pgq *p, const char *s)
{
	char *out = arena_alloc(p->arena, 2 * strlen(s) + 3), *o = out;

	*o++ = '"';
	for (; *s; s++) {
		if (*s == '"')
			*o++ = '"';
		*o++ = *s;
	}
	*o = '"';
	return out;
}

/* SET's list as one text; names of search_path stay apart by quoting, as PostgreSQL keeps them. */
static const char *join_values(struct pgq *p, const char *name, const List *args)
{
	bool quote = name && (!strcmp(name, "search_path") || !strcmp(name, "temp_tablespaces"));
	const char *text = NULL;
	ListCell *cell;

	foreach(cell, args) {
		struct ast_option o = {0};
		const char *v;

		value_of(p, lfirst(cell), &o);
		v = o.value ? o.value : "";
		if (quote && !bare_identifier(v))
			v = quote_identifier_text(p, v);
		text = text ? arena_printf(p->arena, "%s, %s", text, v) : v;
	}
	return text;
}

static void copy_set(struct pgq *p, const VariableSetStmt *v, struct raw_stmt *s)
{
	s->type = RAW_SET;
	s->name = pgq_str(p, v->name);
	s->local = v->is_local;
	switch (v->kind) {
	case VAR_SET_VALUE:
		s->value = join_values(p, v->name, v->args);
		break;
	case VAR_SET_DEFAULT:
		s->is_default = true;
		break;
	case VAR_SET_MULTI:
		s->type = RAW_SET_TRANSACTION;
		if (!strcmp(v->name, "TRANSACTION SNAPSHOT"))
			pgq_unsupported(p, s, "SET TRANSACTION SNAPSHOT");
		else
			pgq_options(p, v->args, &s->option_count, &s->options);
		break;
	case VAR_RESET:
	case VAR_RESET_ALL:
		s->type = RAW_RESET;
		s->all = v->kind == VAR_RESET_ALL;
		break;
	default:
		pgq_unsupported(p, s, "SET … FROM CURRENT");
	}
}

static void copy_fetch(struct pgq *p, const FetchStmt *f, struct raw_stmt *s)
{
	static const uint8_t directions[] = {
		[FETCH_FORWARD] = 0, [FETCH_BACKWARD] = 1, [FETCH_ABSOLUTE] = 2, [FETCH_RELATIVE] = 3,
	};

	s->type = RAW_FETCH;
	s->direction = directions[f->direction];
	s->fetch_count = f->howMany >= LONG_MAX ? INT64_MAX : f->howMany <= -LONG_MAX ? INT64_MIN : f->howMany;
	s->is_move = f->ismove;
	s->name = pgq_str(p, f->portalname);
}

static void copy_copy(struct pgq *p, const CopyStmt *c, struct raw_stmt *s)
{
	struct ast_copy *o = ARENA_NEW(p->arena, struct ast_copy);

	s->type = RAW_COPY;
	s->copy = o;
	if (c->relation)
		o->rel = pgq_rel(p, c->relation);
	if (c->query)
		o->query = pgq_stmt(p, c->query);
	pgq_names(p, c->attlist, &o->columns);
	o->from = c->is_from;
	o->file = c->filename != NULL || c->is_program;
	o->where = c->whereClause != NULL;
	pgq_options(p, c->options, &o->option_count, &o->options);
}

static void copy_prepare(struct pgq *p, const PrepareStmt *q, struct raw_stmt *s)
{
	ListCell *cell;

	s->type = RAW_PREPARE;
	s->name = pgq_str(p, q->name);
	s->types = ARENA_NEW_N(p->arena, struct ast_type *, list_length(q->argtypes));
	foreach(cell, q->argtypes)
		s->types[s->type_count++] = pgq_type(p, lfirst(cell));
	s->inner = pgq_stmt(p, q->query);
}

static void copy_declare(struct pgq *p, const DeclareCursorStmt *d, struct raw_stmt *s)
{
	s->type = RAW_DECLARE;
	s->name = pgq_str(p, d->portalname);
	s->hold = d->options & CURSOR_OPT_HOLD;
	s->binary = d->options & CURSOR_OPT_BINARY;
	s->insensitive = d->options & CURSOR_OPT_INSENSITIVE;
	s->scroll_no = !(d->options & CURSOR_OPT_SCROLL);
	s->inner = pgq_stmt(p, d->query);
}

static bool copy_query(struct pgq *p, const Node *n, struct raw_stmt *s)
{
	switch (nodeTag(n)) {
	case T_SelectStmt:
		s->type = RAW_SELECT;
		s->select = pgq_select(p, n);
		return true;
	case T_InsertStmt:
		s->type = RAW_INSERT;
		s->dml = pgq_insert(p, (const InsertStmt *)n);
		return true;
	case T_UpdateStmt:
		s->type = RAW_UPDATE;
		s->dml = pgq_update(p, (const UpdateStmt *)n);
		return true;
	case T_DeleteStmt:
		s->type = RAW_DELETE;
		s->dml = pgq_delete(p, (const DeleteStmt *)n);
		return true;
	default:
		return false;
	}
}

static bool copy_cursor(struct pgq *p, const Node *n, struct raw_stmt *s)
{
	switch (nodeTag(n)) {
	case T_PrepareStmt:
		copy_prepare(p, (const PrepareStmt *)n, s);
		return true;
	case T_ExecuteStmt:
		s->type = RAW_EXECUTE;
		s->name = pgq_str(p, ((const ExecuteStmt *)n)->name);
		pgq_exprs(p, ((const ExecuteStmt *)n)->params, &s->args);
		return true;
	case T_DeallocateStmt:
		s->type = RAW_DEALLOCATE;
		s->name = pgq_str(p, ((const DeallocateStmt *)n)->name);
		s->all = !s->name;
		return true;
	case T_DeclareCursorStmt:
		copy_declare(p, (const DeclareCursorStmt *)n, s);
		return true;
	case T_FetchStmt:
		copy_fetch(p, (const FetchStmt *)n, s);
		return true;
	case T_ClosePortalStmt:
		s->type = RAW_CLOSE;
		s->name = pgq_str(p, ((const ClosePortalStmt *)n)->portalname);
		s->all = !s->name;
		return true;
	default:
		return false;
	}
}

static void copy_utility(struct pgq *p, const Node *n, struct raw_stmt *s)
{
	static const char *const discards[] = {
		[DISCARD_ALL] = "ALL", [DISCARD_PLANS] = "PLANS", [DISCARD_SEQUENCES] = "SEQUENCES",
		[DISCARD_TEMP] = "TEMP",
	};

	switch (nodeTag(n)) {
	case T_TransactionStmt:
		copy_transaction(p, (const TransactionStmt *)n, s);
		break;
	case T_ExplainStmt:
		s->type = RAW_EXPLAIN;
		pgq_options(p, ((const ExplainStmt *)n)->options, &s->option_count, &s->options);
		s->inner = pgq_stmt(p, ((const ExplainStmt *)n)->query);
		break;
	case T_VariableSetStmt:
		copy_set(p, (const VariableSetStmt *)n, s);
		break;
	case T_VariableShowStmt:
		s->type = RAW_SHOW;
		s->name = pgq_str(p, ((const VariableShowStmt *)n)->name);
		s->all = !strcmp(s->name, "all");
		break;
	case T_CopyStmt:
		copy_copy(p, (const CopyStmt *)n, s);
		break;
	case T_TruncateStmt:
		s->type = RAW_TRUNCATE;
		s->restart_identity = ((const TruncateStmt *)n)->restart_seqs;
		s->cascade = ((const TruncateStmt *)n)->behavior == DROP_CASCADE;
		copy_rels(p, ((const TruncateStmt *)n)->relations, s);
		break;
	case T_VacuumStmt:
		s->type = RAW_VACUUM;
		s->is_analyze = !((const VacuumStmt *)n)->is_vacuumcmd;
		copy_rels(p, ((const VacuumStmt *)n)->rels, s);
		break;
	case T_CheckPointStmt:
		s->type = RAW_VACUUM;
		s->name = "CHECKPOINT";
		break;
	case T_DiscardStmt:
		s->type = RAW_DISCARD;
		s->name = discards[((const DiscardStmt *)n)->target];
		break;
	case T_LockStmt:
		s->type = RAW_LOCK;
		s->lock_mode = ((const LockStmt *)n)->mode;
		s->nowait = ((const LockStmt *)n)->nowait;
		copy_rels(p, ((const LockStmt *)n)->relations, s);
		break;
	case T_AlterOwnerStmt:
		pgq_unsupported(p, s, NULL);
		break;
	default:
		pgq_unsupported(p, s, NULL);
	}
}

struct raw_stmt *pgq_stmt(struct pgq *p, const Node *n)
{
	struct raw_stmt *s = ARENA_NEW(p->arena, struct raw_stmt);

	if (!n || !pgq_enter(p))
		return s;
	if (!copy_query(p, n, s) && !copy_cursor(p, n, s) && !pgq_ddl(p, n, s))
		copy_utility(p, n, s);
	pgq_leave(p);
	return s;
}
