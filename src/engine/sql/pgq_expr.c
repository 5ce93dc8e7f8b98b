/* pgq_expr.c - copies expressions of libpg_query's raw tree (engine/sql). */
#include "engine/sql/pgq_int.h"

static struct ast_expr *make(struct pgq *p, enum ast_expr_kind kind, int location)
{
	struct ast_expr *e = ARENA_NEW(p->arena, struct ast_expr);

	e->kind = (uint8_t)kind;
	e->pos = pgq_position(p, location);
	return e;
}

static struct ast_expr *unsupported(struct pgq *p, const char *what, int location)
{
	struct ast_expr *e = make(p, AX_UNSUPPORTED, location);

	e->text = what;
	return e;
}

static void set_args(struct pgq *p, struct ast_expr *e, uint32_t count)
{
	e->count = count;
	e->args = ARENA_NEW_N(p->arena, struct ast_expr *, count + 1);
}

void pgq_exprs(struct pgq *p, const List *list, struct ast_exprs *out)
{
	ListCell *cell;

	out->count = 0;
	out->at = list ? ARENA_NEW_N(p->arena, struct ast_expr *, list_length(list)) : NULL;
	foreach(cell, list)
		out->at[out->count++] = pgq_expr(p, lfirst(cell));
}

static void list_args(struct pgq *p, struct ast_expr *e, const Node *first, const List *rest)
{
	ListCell *cell;

	set_args(p, e, (first ? 1u : 0u) + (uint32_t)list_length(rest));
	e->count = 0;
	if (first)
		e->args[e->count++] = pgq_expr(p, first);
	foreach(cell, rest)
		e->args[e->count++] = pgq_expr(p, lfirst(cell));
}

struct ast_type *pgq_type(struct pgq *p, const TypeName *t)
{
	struct ast_type *type = ARENA_NEW(p->arena, struct ast_type);

	pgq_names(p, t->names, &type->names);
	pgq_exprs(p, t->typmods, &type->mods);
	type->array_dims = (uint32_t)list_length(t->arrayBounds);
	type->setof = t->setof;
	type->pct_type = t->pct_type;
	type->pos = pgq_position(p, t->location);
	return type;
}

void pgq_sorts(struct pgq *p, const List *list, struct ast_sorts *out)
{
	ListCell *cell;

	out->count = 0;
	out->at = list ? ARENA_NEW_N(p->arena, struct ast_sort, list_length(list)) : NULL;
	foreach(cell, list) {
		const SortBy *s = lfirst(cell);
		struct ast_sort *o = &out->at[out->count++];

		o->expr = pgq_expr(p, s->node);
		o->desc = s->sortby_dir == SORTBY_DESC;
		o->nulls = s->sortby_nulls == SORTBY_NULLS_FIRST ? AST_NULLS_FIRST
			   : s->sortby_nulls == SORTBY_NULLS_LAST ? AST_NULLS_LAST : AST_NULLS_DEFAULT;
		if (s->sortby_dir == SORTBY_USING)
			pgq_names(p, s->useOp, &o->using_op);
		o->pos = pgq_position(p, s->location);
	}
}

static struct ast_expr *copy_column(struct pgq *p, const ColumnRef *c)
{
	struct ast_expr *e = make(p, AX_COLUMN, c->location);

	pgq_names(p, c->fields, &e->names);
	e->star = c->fields && IsA(llast(c->fields), A_Star);
	return e;
}

static struct ast_expr *copy_const(struct pgq *p, const A_Const *c)
{
	struct ast_expr *e = make(p, AX_NULL, c->location);

	if (c->isnull)
		return e;
	switch (nodeTag(&c->val.node)) {
	case T_Integer:
		e->kind = AX_INTEGER;
		e->number = c->val.ival.ival;
		break;
	case T_Float:
		e->kind = AX_FLOAT;
		e->text = pgq_str(p, c->val.fval.fval);
		break;
	case T_Boolean:
		e->kind = AX_BOOL;
		e->number = c->val.boolval.boolval;
		break;
	case T_String:
		e->kind = AX_STRING;
		e->text = pgq_str(p, c->val.sval.sval);
		break;
	default:
		e->kind = AX_BITS;
		e->text = pgq_str(p, c->val.bsval.bsval);
	}
	return e;
}

static struct ast_expr *copy_op(struct pgq *p, const A_Expr *a)
{
	static const uint8_t kinds[] = {
		[AEXPR_OP] = AX_OP, [AEXPR_OP_ANY] = AX_OP_ANY, [AEXPR_OP_ALL] = AX_OP_ALL,
		[AEXPR_DISTINCT] = AX_DISTINCT, [AEXPR_NOT_DISTINCT] = AX_DISTINCT, [AEXPR_NULLIF] = AX_NULLIF,
		[AEXPR_IN] = AX_IN, [AEXPR_LIKE] = AX_OP, [AEXPR_ILIKE] = AX_OP, [AEXPR_SIMILAR] = AX_OP,
		[AEXPR_BETWEEN] = AX_BETWEEN, [AEXPR_NOT_BETWEEN] = AX_BETWEEN,
		[AEXPR_BETWEEN_SYM] = AX_BETWEEN, [AEXPR_NOT_BETWEEN_SYM] = AX_BETWEEN,
	};
	struct ast_expr *e = make(p, (enum ast_expr_kind)kinds[a->kind], a->location);
	const char *name = pgq_last_name(a->name);

	pgq_names(p, a->name, &e->names);
	e->symmetric = a->kind == AEXPR_BETWEEN_SYM || a->kind == AEXPR_NOT_BETWEEN_SYM;
	e->negate = a->kind == AEXPR_NOT_DISTINCT || a->kind == AEXPR_NOT_BETWEEN ||
		    a->kind == AEXPR_NOT_BETWEEN_SYM || (a->kind == AEXPR_IN && name && name[0] == '<');
	if (a->rexpr && IsA(a->rexpr, List)) {
		list_args(p, e, a->lexpr, (const List *)a->rexpr);
	} else {
		set_args(p, e, 2);
		e->count = 0;
		if (a->lexpr)
			e->args[e->count++] = pgq_expr(p, a->lexpr);
		if (a->rexpr)
			e->args[e->count++] = pgq_expr(p, a->rexpr);
	}
	return e;
}

static struct ast_expr *copy_call(struct pgq *p, const FuncCall *f)
{
	struct ast_expr *e = make(p, AX_CALL, f->location);

	pgq_names(p, f->funcname, &e->names);
	list_args(p, e, NULL, f->args);
	if (f->agg_star || f->agg_distinct || f->func_variadic || f->agg_within_group || f->over || f->agg_order ||
	    f->agg_filter) {
		e->call = ARENA_NEW(p->arena, struct ast_call);
		e->call->star = f->agg_star;
		e->call->distinct = f->agg_distinct;
		e->call->variadic = f->func_variadic;
		e->call->within_group = f->agg_within_group;
		e->call->over = f->over != NULL;
		pgq_sorts(p, f->agg_order, &e->call->order);
		if (f->agg_filter)
			e->call->filter = pgq_expr(p, f->agg_filter);
	}
	return e;
}

static struct ast_expr *copy_case(struct pgq *p, const CaseExpr *c)
{
	struct ast_expr *e = make(p, AX_CASE, c->location);
	ListCell *cell;

	if (c->arg)
		e->left = pgq_expr(p, (const Node *)c->arg);
	set_args(p, e, 2 * (uint32_t)list_length(c->args));
	e->count = 0;
	foreach(cell, c->args) {
		const CaseWhen *w = lfirst(cell);

		e->args[e->count++] = pgq_expr(p, (const Node *)w->expr);
		e->args[e->count++] = pgq_expr(p, (const Node *)w->result);
	}
	if (c->defresult)
		e->right = pgq_expr(p, (const Node *)c->defresult);
	return e;
}

static struct ast_expr *copy_sublink(struct pgq *p, const SubLink *s)
{
	struct ast_expr *e;
	enum ast_sublink kind;

	switch (s->subLinkType) {
	case EXISTS_SUBLINK: kind = AST_SUB_EXISTS; break;
	case ALL_SUBLINK: kind = AST_SUB_ALL; break;
	case ANY_SUBLINK: kind = AST_SUB_ANY; break;
	case EXPR_SUBLINK: kind = AST_SUB_SCALAR; break;
	case ARRAY_SUBLINK: kind = AST_SUB_ARRAY; break;
	default: return unsupported(p, "this kind of subquery", s->location);
	}
	e = make(p, AX_SUBLINK, s->location);
	e->op = (uint8_t)kind;
	if (s->testexpr)
		e->left = pgq_expr(p, s->testexpr);
	pgq_names(p, s->operName, &e->names);
	e->select = pgq_select(p, s->subselect);
	return e;
}

static struct ast_expr *copy_indirection(struct pgq *p, const A_Indirection *a)
{
	struct ast_expr *e = pgq_expr(p, a->arg);
	ListCell *cell;

	foreach(cell, a->indirection) {
		const Node *n = lfirst(cell);
		struct ast_expr *outer = make(p, AX_FIELD, -1);

		outer->pos = e ? e->pos : 0;
		set_args(p, outer, 2);
		outer->count = 1;
		outer->args[0] = e;
		if (IsA(n, String)) {
			outer->text = pgq_str(p, strVal(n));
		} else if (IsA(n, A_Star)) {
			outer->star = true;
		} else if (((const A_Indices *)n)->is_slice) {
			return unsupported(p, "array slices", -1);
		} else {
			outer->kind = AX_SUBSCRIPT;
			outer->args[outer->count++] = pgq_expr(p, ((const A_Indices *)n)->uidx);
		}
		e = outer;
	}
	return e;
}

static struct ast_expr *copy_sql_value(struct pgq *p, const SQLValueFunction *f)
{
	static const uint8_t ops[] = {
		[SVFOP_CURRENT_DATE] = AST_CURRENT_DATE, [SVFOP_CURRENT_TIME] = AST_CURRENT_TIME,
		[SVFOP_CURRENT_TIME_N] = AST_CURRENT_TIME, [SVFOP_CURRENT_TIMESTAMP] = AST_CURRENT_TIMESTAMP,
		[SVFOP_CURRENT_TIMESTAMP_N] = AST_CURRENT_TIMESTAMP, [SVFOP_LOCALTIME] = AST_LOCALTIME,
		[SVFOP_LOCALTIME_N] = AST_LOCALTIME, [SVFOP_LOCALTIMESTAMP] = AST_LOCALTIMESTAMP,
		[SVFOP_LOCALTIMESTAMP_N] = AST_LOCALTIMESTAMP, [SVFOP_CURRENT_ROLE] = AST_CURRENT_ROLE,
		[SVFOP_CURRENT_USER] = AST_CURRENT_USER, [SVFOP_USER] = AST_USER,
		[SVFOP_SESSION_USER] = AST_SESSION_USER, [SVFOP_CURRENT_CATALOG] = AST_CURRENT_CATALOG,
		[SVFOP_CURRENT_SCHEMA] = AST_CURRENT_SCHEMA,
	};
	struct ast_expr *e = make(p, AX_SQL_VALUE, f->location);

	e->op = ops[f->op];
	e->number = f->typmod;
	return e;
}

static struct ast_expr *copy_list_kind(struct pgq *p, enum ast_expr_kind kind, const List *args, int location)
{
	struct ast_expr *e = make(p, kind, location);

	list_args(p, e, NULL, args);
	return e;
}

static struct ast_expr *copy_cast(struct pgq *p, const TypeCast *t)
{
	struct ast_expr *e = copy_list_kind(p, AX_CAST, NULL, t->location);

	list_args(p, e, t->arg, NULL);
	e->type = pgq_type(p, t->typeName);
	return e;
}

static struct ast_expr *copy_one_arg(struct pgq *p, enum ast_expr_kind kind, const void *arg, int location)
{
	struct ast_expr *e = make(p, kind, location);

	list_args(p, e, arg, NULL);
	return e;
}

static struct ast_expr *copy_bool(struct pgq *p, const BoolExpr *b)
{
	return copy_list_kind(p, b->boolop == AND_EXPR ? AX_AND : b->boolop == OR_EXPR ? AX_OR : AX_NOT, b->args,
			      b->location);
}

static struct ast_expr *copy_bool_test(struct pgq *p, const BooleanTest *b)
{
	struct ast_expr *e = copy_one_arg(p, AX_IS_BOOL, b->arg, b->location);

	e->op = b->booltesttype <= IS_NOT_TRUE ? AST_IS_TRUE
		: b->booltesttype <= IS_NOT_FALSE ? AST_IS_FALSE : AST_IS_UNKNOWN;
	e->negate = b->booltesttype == IS_NOT_TRUE || b->booltesttype == IS_NOT_FALSE ||
		    b->booltesttype == IS_NOT_UNKNOWN;
	return e;
}

static struct ast_expr *copy_param(struct pgq *p, const ParamRef *r)
{
	struct ast_expr *e = make(p, AX_PARAM, r->location);

	e->number = r->number;
	return e;
}

static struct ast_expr *copy_multi(struct pgq *p, const MultiAssignRef *m)
{
	struct ast_expr *e = copy_one_arg(p, AX_MULTI, m->source, -1);

	e->number = m->colno;
	e->op = (uint8_t)(m->ncolumns > 255 ? 255 : m->ncolumns);
	return e;
}

static struct ast_expr *copy_other(struct pgq *p, const Node *n)
{
	struct ast_expr *e;

	switch (nodeTag(n)) {
	case T_CollateClause:
		e = copy_one_arg(p, AX_COLLATE, ((const CollateClause *)n)->arg, ((const CollateClause *)n)->location);
		pgq_names(p, ((const CollateClause *)n)->collname, &e->names);
		return e;
	case T_NamedArgExpr:
		e = copy_one_arg(p, AX_NAMED_ARG, ((const NamedArgExpr *)n)->arg, ((const NamedArgExpr *)n)->location);
		e->text = pgq_str(p, ((const NamedArgExpr *)n)->name);
		return e;
	case T_NullTest:
		e = copy_one_arg(p, AX_IS_NULL, ((const NullTest *)n)->arg, ((const NullTest *)n)->location);
		e->negate = ((const NullTest *)n)->nulltesttype == IS_NOT_NULL;
		return e;
	case T_MinMaxExpr:
		return copy_list_kind(p, ((const MinMaxExpr *)n)->op == IS_GREATEST ? AX_GREATEST : AX_LEAST,
				      ((const MinMaxExpr *)n)->args, ((const MinMaxExpr *)n)->location);
	case T_CoalesceExpr:
		return copy_list_kind(p, AX_COALESCE, ((const CoalesceExpr *)n)->args,
				      ((const CoalesceExpr *)n)->location);
	case T_RowExpr:
		return copy_list_kind(p, AX_ROW, ((const RowExpr *)n)->args, ((const RowExpr *)n)->location);
	case T_A_ArrayExpr:
		return copy_list_kind(p, AX_ARRAY, ((const A_ArrayExpr *)n)->elements,
				      ((const A_ArrayExpr *)n)->location);
	case T_SetToDefault:
		return make(p, AX_DEFAULT, ((const SetToDefault *)n)->location);
	case T_MultiAssignRef:
		return copy_multi(p, (const MultiAssignRef *)n);
	case T_GroupingFunc:
		return unsupported(p, "GROUPING", ((const GroupingFunc *)n)->location);
	case T_GroupingSet:
		return unsupported(p, "GROUPING SETS, CUBE and ROLLUP", ((const GroupingSet *)n)->location);
	case T_CurrentOfExpr:
		return unsupported(p, "WHERE CURRENT OF", -1);
	case T_XmlExpr:
	case T_XmlSerialize:
		return unsupported(p, "XML", -1);
	default:
		return unsupported(p, "this expression", -1);
	}
}

static struct ast_expr *copy_expr(struct pgq *p, const Node *n)
{
	switch (nodeTag(n)) {
	case T_ColumnRef: return copy_column(p, (const ColumnRef *)n);
	case T_ParamRef: return copy_param(p, (const ParamRef *)n);
	case T_A_Const: return copy_const(p, (const A_Const *)n);
	case T_A_Expr: return copy_op(p, (const A_Expr *)n);
	case T_BoolExpr: return copy_bool(p, (const BoolExpr *)n);
	case T_FuncCall: return copy_call(p, (const FuncCall *)n);
	case T_TypeCast: return copy_cast(p, (const TypeCast *)n);
	case T_CaseExpr: return copy_case(p, (const CaseExpr *)n);
	case T_SubLink: return copy_sublink(p, (const SubLink *)n);
	case T_A_Indirection: return copy_indirection(p, (const A_Indirection *)n);
	case T_SQLValueFunction: return copy_sql_value(p, (const SQLValueFunction *)n);
	case T_BooleanTest: return copy_bool_test(p, (const BooleanTest *)n);
	default: return copy_other(p, n);
	}
}

struct ast_expr *pgq_expr(struct pgq *p, const Node *n)
{
	struct ast_expr *e = NULL;

	if (!n)
		return NULL;
	if (pgq_enter(p)) {
		e = copy_expr(p, n);
		pgq_leave(p);
	}
	return e;
}
