/*
 * plan_dml.c - INSERT, UPDATE and DELETE: the source, the change, RETURNING above it.
 */
#include "engine/sql/plan.h"

#include <string.h>

#include "base/assert.h"

static void need_column(struct planner *pl, uint32_t rel, uint16_t attno)
{
	pl->needed[rel][attno / 64] |= UINT64_C(1) << (attno % 64);
}

static bool sets(const struct query *q, uint16_t attno)
{
	for (uint32_t i = 0; i < q->set_count; i++)
		if (q->set_attnos[i] == attno)
			return true;
	return false;
}

/* Columns of the old row that the change itself reads: the row id, keys that go, everything that checks may ask. */
static void need_old(struct planner *pl)
{
	const struct query *q = pl->q;
	const struct table_def *t = q->table;

	need_column(pl, q->target_rel, 0);
	for (uint32_t x = 0; x < t->index_count; x++) {
		const struct index_def *ix = &t->indexes[x];
		bool changes = q->kind == Q_DELETE;

		for (uint32_t i = 0; i < ix->column_count; i++)
			changes = changes || sets(q, ix->attnos[i]);
		for (uint32_t i = 0; changes && i < ix->column_count; i++)
			need_column(pl, q->target_rel, ix->attnos[i]);
	}
	for (uint32_t c = 0; q->kind == Q_UPDATE && q->check_count && c < t->column_count; c++)
		if (!t->columns[c].dropped)
			need_column(pl, q->target_rel, (uint16_t)(c + 1));
}

static struct plan *whole_row(struct planner *pl, uint32_t rel, const struct table_def *t, struct plan *after)
{
	struct plan *p = plan_new(pl, PLAN_RESULT, NULL, NULL);

	if (after)
		plan_cols_copy(pl, p, after);
	for (uint32_t c = 0; c < t->column_count; c++)
		plan_col_add(pl, p, rel, (uint16_t)(c + 1),
			     (struct sql_type){t->columns[c].type_oid, t->columns[c].typmod});
	return p;
}

/* An expression over rows that no APPLY can stand before. */
static struct expr *bare_expr(struct planner *pl, struct plan *over, const struct expr *ex)
{
	struct plan *in = over;
	struct expr *out = plan_expr(pl, &in, ex);

	if (in != over)
		(void)plan_fail(pl->sh, ST_UNSUPPORTED, "a correlated subquery or sequence in CHECK or ON CONFLICT");
	return out;
}

static void plan_checks(struct planner *pl, struct plan_modify *m)
{
	const struct query *q = pl->q;
	struct plan *row;

	if (q->check_count == 0 || q->kind == Q_DELETE)
		return;
	row = whole_row(pl, q->target_rel, q->table, NULL);
	m->check_count = q->check_count;
	m->check_names = q->check_names;
	m->checks = ARENA_NEW_N(pl->sh->arena, struct expr *, q->check_count);
	for (uint32_t i = 0; i < q->check_count; i++)
		m->checks[i] = bare_expr(pl, row, q->checks[i]);
}

static void plan_conflict(struct planner *pl, struct plan_modify *m)
{
	const struct query *q = pl->q;
	struct plan *both;

	m->conflict = q->conflict;
	m->conflict_index = q->conflict_index;
	if (q->conflict != CONFLICT_UPDATE)
		return;
	both = whole_row(pl, q->excluded_rel, q->table, whole_row(pl, q->target_rel, q->table, NULL));
	m->set_count = q->set_count;
	m->set_attnos = q->set_attnos;
	m->set_exprs = ARENA_NEW_N(pl->sh->arena, struct expr *, q->set_count);
	for (uint32_t i = 0; i < q->set_count; i++)
		m->set_exprs[i] = bare_expr(pl, both, q->set_exprs[i]);
	m->conflict_where = bare_expr(pl, both, q->conflict_where);
}

static struct plan *insert_source(struct planner *pl, struct plan_modify *m)
{
	const struct query *q = pl->q;
	struct planner inner = {0};
	struct plan *src;

	m->insert_count = q->insert_count;
	m->insert_attnos = q->insert_attnos;
	if (!q->source) { /* COPY FROM: rows come from outside */
		src = plan_new(pl, PLAN_RESULT, NULL, NULL);
		for (uint32_t i = 0; i < q->insert_count; i++) {
			const struct column_def *c = &q->table->columns[q->insert_attnos[i] - 1];

			plan_col_add(pl, src, q->target_rel, c->attno, (struct sql_type){c->type_oid, c->typmod});
		}
		return src;
	}
	src = plan_level(pl, q->source, &inner);
	m->stream = !query_reads(q->source, q->table->id);
	return src;
}

static struct plan *returning(struct planner *pl, struct plan *in)
{
	const struct query *q = pl->q;
	struct plan *p;
	struct expr **exprs;
	uint32_t n = 0;

	if (q->target_count == 0)
		return in;
	exprs = ARENA_NEW_N(pl->sh->arena, struct expr *, q->target_count);
	for (uint32_t i = 0; i < q->target_count; i++)
		exprs[n++] = plan_expr(pl, &in, q->targets[i].expr);
	p = plan_new(pl, PLAN_PROJECT, in, NULL);
	p->project.exprs = exprs;
	for (uint32_t i = 0; i < q->target_count; i++)
		plan_col_add(pl, p, REL_TARGET, (uint16_t)i, q->targets[i].expr->type);
	return p;
}

/* Nothing of the statement but the scan of the table itself reads the table, in order of row id or by keys that stay. */
static bool can_stream(struct planner *pl, const struct plan *src)
{
	const struct query *q = pl->q;
	const struct plan *scan = src;
	struct query rest = *q;

	if (!q->from || q->from->is_join)
		return false;
	while (scan->kind == PLAN_FILTER || scan->kind == PLAN_APPLY)
		scan = scan->left;
	rest.rels = NULL;
	rest.rel_count = 0;
	if (query_reads(&rest, q->table->id))
		return false;
	if (scan->kind == PLAN_SCAN || (scan->kind == PLAN_INDEX && scan->table.unique_point))
		return true;
	if (scan->kind != PLAN_INDEX)
		return false;
	for (uint32_t i = 0; q->kind == Q_UPDATE && i < scan->table.index->column_count; i++)
		if (sets(q, scan->table.index->attnos[i]))
			return false;
	return true;
}

static struct plan *change_source(struct planner *pl, struct plan_modify *m)
{
	const struct query *q = pl->q;
	struct plan *src;

	need_old(pl);
	src = plan_from_where(pl);
	if (pl->sh->status)
		return src;
	m->set_count = q->set_count;
	m->set_attnos = q->set_attnos;
	m->set_exprs = ARENA_NEW_N(pl->sh->arena, struct expr *, q->set_count + 1);
	for (uint32_t i = 0; i < q->set_count; i++)
		m->set_exprs[i] = plan_expr(pl, &src, q->set_exprs[i]);
	if (pl->sh->status)
		return src;
	m->rowid_slot = plan_col_find(src, q->target_rel, 0);
	ASSERT(m->rowid_slot != UINT32_MAX);
	m->old_slots = ARENA_NEW_N(pl->sh->arena, uint32_t, q->table->column_count + 1);
	for (uint32_t c = 0; c < q->table->column_count; c++)
		m->old_slots[c] = plan_col_find(src, q->target_rel, (uint16_t)(c + 1));
	m->stream = can_stream(pl, src);
	return src;
}

struct plan *plan_modify(struct planner *pl)
{
	const struct query *q = pl->q;
	struct plan_modify *m = ARENA_NEW(pl->sh->arena, struct plan_modify);
	struct plan *src, *p;

	m->kind = q->kind;
	m->table = q->table;
	m->returning = q->target_count > 0;
	src = q->kind == Q_INSERT ? insert_source(pl, m) : change_source(pl, m);
	if (pl->sh->status)
		return src;
	plan_use(pl, q->table->id, true);
	plan_checks(pl, m);
	if (q->kind == Q_INSERT)
		plan_conflict(pl, m);
	p = plan_new(pl, PLAN_MODIFY, src, NULL);
	p->modify = m;
	p->alias = q->rel_count > q->target_rel ? q->rels[q->target_rel].alias : q->table->name;
	if (q->kind == Q_INSERT) {
		plan_cols_copy(pl, p, whole_row(pl, q->target_rel, q->table, NULL));
		plan_col_add(pl, p, q->target_rel, 0, (struct sql_type){T_INT8, -1});
	} else {
		plan_cols_copy(pl, p, src);
	}
	pl->sh->root->writes = true;
	return returning(pl, p);
}
