/* pgq_query.c - copies SELECT, INSERT, UPDATE and DELETE of libpg_query's raw tree (engine/sql). */
#include "engine/sql/pgq_int.h"

/* The library's own order of LimitOption (measured): its value 0 is one that PostgreSQL's headers do not have. */
#define LIBRARY_LIMIT_WITH_TIES 2

static void copy_alias(struct pgq *p, const Alias *a, struct ast_alias *out)
{
	if (!a)
		return;
	out->name = pgq_str(p, a->aliasname);
	pgq_names(p, a->colnames, &out->columns);
}

struct ast_rel *pgq_rel(struct pgq *p, const RangeVar *v)
{
	struct ast_rel *r = ARENA_NEW(p->arena, struct ast_rel);

	r->database = pgq_str(p, v->catalogname);
	r->schema = pgq_str(p, v->schemaname);
	r->name = pgq_str(p, v->relname);
	r->persistence = v->relpersistence ? v->relpersistence : 'p';
	r->only = !v->inh;
	copy_alias(p, v->alias, &r->alias);
	r->pos = pgq_position(p, v->location);
	return r;
}

struct ast_rel *pgq_rel_of_names(struct pgq *p, const List *names)
{
	struct ast_rel *r = ARENA_NEW(p->arena, struct ast_rel);
	struct ast_names n;

	pgq_names(p, names, &n);
	r->persistence = 'p';
	r->name = n.count ? n.at[n.count - 1] : "";
	r->schema = n.count > 1 ? n.at[n.count - 2] : NULL;
	r->database = n.count > 2 ? n.at[n.count - 3] : NULL;
	return r;
}

static void copy_targets(struct pgq *p, const List *list, struct ast_targets *out)
{
	ListCell *cell;

	out->count = 0;
	out->at = list ? ARENA_NEW_N(p->arena, struct ast_target, list_length(list)) : NULL;
	foreach(cell, list) {
		const ResTarget *t = lfirst(cell);
		struct ast_target *o = &out->at[out->count++];

		o->name = pgq_str(p, t->name);
		o->expr = pgq_expr(p, t->val);
		o->pos = pgq_position(p, t->location);
		o->indirection = t->indirection != NULL;
	}
}

static struct ast_from *copy_from(struct pgq *p, const Node *n);

static void copy_join(struct pgq *p, const JoinExpr *j, struct ast_from *f)
{
	f->kind = AF_JOIN;
	f->join = j->jointype == JOIN_LEFT ? AJ_LEFT : j->jointype == JOIN_RIGHT ? AJ_RIGHT
		  : j->jointype == JOIN_FULL ? AJ_FULL : AJ_INNER;
	f->natural = j->isNatural;
	f->left = copy_from(p, j->larg);
	f->right = copy_from(p, j->rarg);
	pgq_names(p, j->usingClause, &f->using_columns);
	if (j->join_using_alias)
		f->using_alias = pgq_str(p, j->join_using_alias->aliasname);
	f->on = pgq_expr(p, j->quals);
	copy_alias(p, j->alias, &f->alias);
}

static void copy_calls(struct pgq *p, const RangeFunction *r, struct ast_from *f)
{
	ListCell *cell;

	f->kind = AF_CALLS;
	f->lateral = r->lateral;
	f->ordinality = r->ordinality;
	f->calls.at = ARENA_NEW_N(p->arena, struct ast_expr *, list_length(r->functions));
	foreach(cell, r->functions) {
		const List *pair = lfirst(cell);

		f->calls.at[f->calls.count++] = pgq_expr(p, linitial(pair));
		f->typed_columns |= lsecond(pair) != NULL;
	}
	f->typed_columns |= r->coldeflist != NULL;
	copy_alias(p, r->alias, &f->alias);
}

static struct ast_from *copy_from(struct pgq *p, const Node *n)
{
	struct ast_from *f = ARENA_NEW(p->arena, struct ast_from);

	if (!pgq_enter(p))
		return f;
	switch (nodeTag(n)) {
	case T_RangeVar:
		f->kind = AF_REL;
		f->rel = pgq_rel(p, (const RangeVar *)n);
		f->alias = f->rel->alias;
		f->pos = f->rel->pos;
		break;
	case T_RangeSubselect:
		f->kind = AF_SELECT;
		f->lateral = ((const RangeSubselect *)n)->lateral;
		f->select = pgq_select(p, ((const RangeSubselect *)n)->subquery);
		copy_alias(p, ((const RangeSubselect *)n)->alias, &f->alias);
		break;
	case T_RangeFunction:
		copy_calls(p, (const RangeFunction *)n, f);
		break;
	case T_JoinExpr:
		copy_join(p, (const JoinExpr *)n, f);
		break;
	case T_RangeTableSample:
		f->kind = AF_UNSUPPORTED;
		f->text = "TABLESAMPLE";
		f->pos = pgq_position(p, ((const RangeTableSample *)n)->location);
		break;
	default:
		f->kind = AF_UNSUPPORTED;
		f->text = "XMLTABLE";
	}
	pgq_leave(p);
	return f;
}

static void copy_from_list(struct pgq *p, const List *list, uint32_t *count_out, struct ast_from ***out)
{
	ListCell *cell;

	*count_out = 0;
	*out = list ? ARENA_NEW_N(p->arena, struct ast_from *, list_length(list)) : NULL;
	foreach(cell, list)
		(*out)[(*count_out)++] = copy_from(p, lfirst(cell));
}

static struct ast_with *copy_with(struct pgq *p, const WithClause *w)
{
	struct ast_with *o;
	ListCell *cell;

	if (!w)
		return NULL;
	o = ARENA_NEW(p->arena, struct ast_with);
	o->recursive = w->recursive;
	o->pos = pgq_position(p, w->location);
	o->at = ARENA_NEW_N(p->arena, struct ast_cte, list_length(w->ctes));
	foreach(cell, w->ctes) {
		const CommonTableExpr *c = lfirst(cell);
		struct ast_cte *t = &o->at[o->count++];

		t->name = pgq_str(p, c->ctename);
		pgq_names(p, c->aliascolnames, &t->columns);
		if (pgq_enter(p)) {
			t->query = pgq_stmt(p, c->ctequery);
			pgq_leave(p);
		}
		t->materialize = c->ctematerialized == CTEMaterializeAlways ? AST_CTE_ALWAYS
				 : c->ctematerialized == CTEMaterializeNever ? AST_CTE_NEVER : AST_CTE_DEFAULT;
		t->pos = pgq_position(p, c->location);
	}
	return o;
}

static void copy_locks(struct pgq *p, const List *list, struct ast_select *s)
{
	ListCell *cell, *c;

	s->locks = list ? ARENA_NEW_N(p->arena, struct ast_lock, list_length(list)) : NULL;
	foreach(cell, list) {
		const LockingClause *l = lfirst(cell);
		struct ast_lock *o = &s->locks[s->lock_count++];

		o->strength = (uint8_t)(l->strength - LCS_FORKEYSHARE + 1);
		o->nowait = l->waitPolicy == LockWaitError;
		o->skip = l->waitPolicy == LockWaitSkip;
		o->rels = ARENA_NEW_N(p->arena, struct ast_rel *, list_length(l->lockedRels));
		foreach(c, l->lockedRels)
			o->rels[o->rel_count++] = pgq_rel(p, lfirst(c));
	}
}

struct ast_into *pgq_into(struct pgq *p, const IntoClause *into)
{
	struct ast_into *o;

	if (!into)
		return NULL;
	o = ARENA_NEW(p->arena, struct ast_into);
	o->rel = pgq_rel(p, into->rel);
	pgq_names(p, into->colNames, &o->columns);
	o->no_data = into->skipData;
	pgq_options(p, into->options, &o->option_count, &o->options);
	return o;
}

static void copy_leaf(struct pgq *p, const SelectStmt *s, struct ast_select *o)
{
	ListCell *cell;

	o->rows = s->valuesLists ? ARENA_NEW_N(p->arena, struct ast_exprs, list_length(s->valuesLists)) : NULL;
	foreach(cell, s->valuesLists)
		pgq_exprs(p, lfirst(cell), &o->rows[o->row_count++]);
	o->distinct = s->distinctClause != NULL;
	if (s->distinctClause && linitial(s->distinctClause))
		pgq_exprs(p, s->distinctClause, &o->distinct_on);
	copy_targets(p, s->targetList, &o->targets);
	copy_from_list(p, s->fromClause, &o->from_count, &o->from);
	o->where = pgq_expr(p, s->whereClause);
	pgq_exprs(p, s->groupClause, &o->groups);
	o->group_distinct = s->groupDistinct;
	o->having = pgq_expr(p, s->havingClause);
	o->windows = s->windowClause != NULL;
	o->into = pgq_into(p, s->intoClause);
}

struct ast_select *pgq_select(struct pgq *p, const Node *n)
{
	const SelectStmt *s = (const SelectStmt *)n;
	struct ast_select *o = ARENA_NEW(p->arena, struct ast_select);

	if (!n || !IsA(n, SelectStmt)) {
		if (p->st == ST_OK)
			p->st = error_set(p->err, ST_SYNTAX, "a query is needed here");
		return o;
	}
	if (!pgq_enter(p))
		return o;
	if (s->op == SETOP_NONE) {
		copy_leaf(p, s, o);
	} else {
		o->set_op = s->op == SETOP_UNION ? AST_SET_UNION : s->op == SETOP_INTERSECT ? AST_SET_INTERSECT
			    : AST_SET_EXCEPT;
		o->set_all = s->all;
		o->left = pgq_select(p, (const Node *)s->larg);
		o->right = pgq_select(p, (const Node *)s->rarg);
		o->into = o->left->into; /* SELECT … INTO t … UNION … is of the whole */
		o->left->into = NULL;
	}
	pgq_sorts(p, s->sortClause, &o->sorts);
	o->limit = pgq_expr(p, s->limitCount);
	o->offset = pgq_expr(p, s->limitOffset);
	o->with_ties = (int)s->limitOption == LIBRARY_LIMIT_WITH_TIES;
	copy_locks(p, s->lockingClause, o);
	o->with = copy_with(p, s->withClause);
	pgq_leave(p);
	return o;
}

static struct ast_infer *copy_infer(struct pgq *p, const InferClause *i)
{
	struct ast_infer *o;
	ListCell *cell;

	if (!i)
		return NULL;
	o = ARENA_NEW(p->arena, struct ast_infer);
	o->constraint = pgq_str(p, i->conname);
	o->predicate = i->whereClause != NULL;
	o->pos = pgq_position(p, i->location);
	o->columns.at = ARENA_NEW_N(p->arena, struct ast_expr *, list_length(i->indexElems));
	foreach(cell, i->indexElems) {
		const IndexElem *ie = lfirst(cell);
		struct ast_expr *e = ARENA_NEW(p->arena, struct ast_expr);

		o->other |= ie->collation || ie->opclass;
		if (ie->name) {
			e->kind = AX_COLUMN;
			e->pos = pgq_position(p, i->location);
			e->names.count = 1;
			e->names.at = ARENA_NEW(p->arena, const char *);
			e->names.at[0] = pgq_str(p, ie->name);
		} else {
			e = pgq_expr(p, ie->expr);
		}
		o->columns.at[o->columns.count++] = e;
	}
	return o;
}

struct ast_dml *pgq_insert(struct pgq *p, const InsertStmt *s)
{
	struct ast_dml *o = ARENA_NEW(p->arena, struct ast_dml);
	const OnConflictClause *c = s->onConflictClause;

	o->rel = pgq_rel(p, s->relation);
	copy_targets(p, s->cols, &o->columns);
	if (s->selectStmt)
		o->source = pgq_select(p, s->selectStmt);
	copy_targets(p, s->returningList, &o->returning);
	o->with = copy_with(p, s->withClause);
	o->overriding = s->override == OVERRIDING_USER_VALUE ? 1 : s->override == OVERRIDING_SYSTEM_VALUE ? 2 : 0;
	if (c) {
		o->conflict = ARENA_NEW(p->arena, struct ast_conflict);
		o->conflict->update = c->action == ONCONFLICT_UPDATE;
		o->conflict->infer = copy_infer(p, c->infer);
		copy_targets(p, c->targetList, &o->conflict->set);
		o->conflict->where = pgq_expr(p, c->whereClause);
		o->conflict->pos = pgq_position(p, c->location);
	}
	return o;
}

struct ast_dml *pgq_update(struct pgq *p, const UpdateStmt *s)
{
	struct ast_dml *o = ARENA_NEW(p->arena, struct ast_dml);

	o->rel = pgq_rel(p, s->relation);
	copy_targets(p, s->targetList, &o->columns);
	copy_from_list(p, s->fromClause, &o->from_count, &o->from);
	o->where = pgq_expr(p, s->whereClause);
	copy_targets(p, s->returningList, &o->returning);
	o->with = copy_with(p, s->withClause);
	return o;
}

struct ast_dml *pgq_delete(struct pgq *p, const DeleteStmt *s)
{
	struct ast_dml *o = ARENA_NEW(p->arena, struct ast_dml);

	o->rel = pgq_rel(p, s->relation);
	copy_from_list(p, s->usingClause, &o->from_count, &o->from);
	o->where = pgq_expr(p, s->whereClause);
	copy_targets(p, s->returningList, &o->returning);
	o->with = copy_with(p, s->withClause);
	return o;
}
