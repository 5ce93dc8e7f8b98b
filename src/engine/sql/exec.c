/*
 * exec.c - running a tree of operators: opening, stepping, restarting; uncorrelated subqueries first.
 */
#include "engine/sql/exec.h"

#include <string.h>

#include "base/assert.h"

static const struct op_class *const classes[PLAN_KIND_COUNT] = {
	[PLAN_RESULT] = &op_result_class,       [PLAN_SCAN] = &op_scan_class,
	[PLAN_INDEX] = &op_index_class,         [PLAN_VIRTUAL] = &op_virtual_class,
	[PLAN_VALUES] = &op_values_class,       [PLAN_FUNCTION] = &op_function_class,
	[PLAN_CTE] = &op_cte_class,             [PLAN_FILTER] = &op_filter_class,
	[PLAN_PROJECT] = &op_project_class,     [PLAN_APPLY] = &op_apply_class,
	[PLAN_LOCK] = &op_lock_class,           [PLAN_LIMIT] = &op_limit_class,
	[PLAN_MATERIAL] = &op_material_class,   [PLAN_NESTLOOP] = &op_nestloop_class,
	[PLAN_INDEXJOIN] = &op_indexjoin_class, [PLAN_HASHJOIN] = &op_hashjoin_class,
	[PLAN_AGG] = &op_agg_class,             [PLAN_SORT] = &op_sort_class,
	[PLAN_UNIQUE] = &op_unique_class,       [PLAN_SETOP] = &op_setop_class,
	[PLAN_APPEND] = &op_append_class,       [PLAN_MODIFY] = &op_modify_class,
};

/* -- operators -------------------------------------------------------------------------------------------- */

struct op *op_new(struct exec *ex, const struct plan *plan)
{
	const struct op_class *class = classes[plan->kind];
	struct op *op = arena_alloc(ex->arena, class->bytes);

	op->class = class;
	op->plan = plan;
	op->ex = ex;
	op->fresh = true;
	arena_init(&op->scratch, ex->mem);
	if (plan->left)
		op->left = op_new(ex, plan->left);
	if (plan->right)
		op->right = op_new(ex, plan->right);
	if (class->open)
		class->open(op);
	return op;
}

enum step op_step(struct op *op, struct vec_batch *out, struct budget *work)
{
	uint64_t t0 = 0;
	enum step st;

	out->rows = out->n = out->col_count = 0;
	out->sel = NULL;
	out->cols = NULL;
	if (op->ex->timing)
		t0 = access_now_us(op->ex->access);
	if (op->fresh) {
		op->fresh = false;
		op->loops++;
	}
	st = op->class->step(op, out, work);
	if (op->ex->timing)
		op->time_us += access_now_us(op->ex->access) - t0;
	if (st == STEP_MORE)
		op->rows_out += out->n;
	return st;
}

void op_reset(struct op *op)
{
	/* a side that does not depend on parameters keeps what it has read */
	if (op->left && !(op->plan->kind == PLAN_MATERIAL && op->plan->material.keep))
		op_reset(op->left);
	if (op->right)
		op_reset(op->right);
	arena_reset(&op->scratch);
	op->fresh = true;
	if (op->class->reset)
		op->class->reset(op);
}

void op_close(struct op *op)
{
	if (op->left)
		op_close(op->left);
	if (op->right)
		op_close(op->right);
	if (op->class->close)
		op->class->close(op);
	arena_fini(&op->scratch);
}

/* -- the execution -------------------------------------------------------------------------------------------- */

void exec_open(struct exec *ex, const struct plan_root *root, const struct cell *params, uint32_t param_count)
{
	ex->root = root;
	ex->param_count = root->param_total;
	ex->params = ARENA_NEW_N(ex->arena, struct cell, root->param_total + 1);
	for (uint32_t i = 0; i < root->param_total; i++) {
		if (i < param_count)
			ex->params[i] = params[i];
		else
			ex->params[i].null = true;
	}
	arena_init(&ex->init_arena, ex->mem);
	ex->ctes = ARENA_NEW_N(ex->arena, struct cte_state, root->cte_count + 1);
	for (uint32_t i = 0; i < root->cte_count; i++) {
		arena_init(&ex->ctes[i].arena, ex->mem);
		ex->ctes[i].op = op_new(ex, root->ctes[i]);
		rowset_init(&ex->ctes[i].rows, &ex->ctes[i].arena, root->ctes[i]->col_count,
			    plan_phys(root->ctes[i], ex->arena));
	}
	ex->inits = ARENA_NEW_N(ex->arena, struct op *, root->init_count + 1);
	for (uint32_t i = 0; i < root->init_count; i++)
		ex->inits[i] = op_new(ex, root->inits[i].plan);
	ex->top = op_new(ex, root->plan);
}

void exec_close(struct exec *ex)
{
	if (!ex->top)
		return;
	op_close(ex->top);
	for (uint32_t i = 0; i < ex->root->init_count; i++)
		op_close(ex->inits[i]);
	for (uint32_t i = 0; i < ex->root->cte_count; i++) {
		op_close(ex->ctes[i].op);
		arena_fini(&ex->ctes[i].arena);
	}
	arena_fini(&ex->init_arena);
	ex->top = NULL;
}

static void reset_all(struct op *op)
{
	if (op->left)
		reset_all(op->left);
	if (op->right)
		reset_all(op->right);
	arena_reset(&op->scratch);
	op->fresh = true;
	if (op->plan->kind == PLAN_MATERIAL && op->class->close) {
		op->class->close(op);
		op->class->open(op);
	} else if (op->class->reset) {
		op->class->reset(op);
	}
}

void exec_restart(struct exec *ex)
{
	for (uint32_t i = 0; i < ex->root->cte_count; i++) {
		struct cte_state *c = &ex->ctes[i];

		reset_all(c->op);
		arena_reset(&c->arena);
		rowset_init(&c->rows, &c->arena, c->rows.col_count, c->rows.phys);
		c->done = false;
	}
	for (uint32_t i = 0; i < ex->root->init_count; i++)
		reset_all(ex->inits[i]);
	arena_reset(&ex->init_arena);
	ex->init_rows.arena = NULL;
	ex->init_at = 0;
	ex->affected = 0;
	ex->status = ST_OK;
	reset_all(ex->top);
}

/* The value of a finished uncorrelated subquery becomes its parameter. */
static enum step init_finish(struct exec *ex, const struct init_plan *ip)
{
	struct cell *p = &ex->params[ip->param - 1];
	struct rowset *rs = &ex->init_rows;

	memset(p, 0, sizeof *p);
	if (ip->sub_kind == SUB_EXISTS) {
		p->phys = PHYS_BOOL;
		p->i = rs->count > 0;
	} else if (ip->sub_kind == SUB_ARRAY) {
		struct expr **args = ARENA_NEW_N(ex->arena, struct expr *, rs->count + 1);
		struct expr array = {.kind = EX_ARRAY, .type = ip->type, .args = args};
		struct eval ev = exec_eval(ex, ex->arena);
		enum status st;

		array.arg_count = (uint32_t)rs->count;
		for (uint64_t i = 0; i < rs->count; i++) {
			args[i] = ARENA_NEW(ex->arena, struct expr);
			args[i]->kind = EX_CONST;
			args[i]->type = ip->plan->cols[0].type;
			rowset_cell(rs, i, 0, &args[i]->value);
		}
		st = expr_eval_one(&ev, &array, p);
		if (st)
			return exec_fail(ex, st);
	} else if (rs->count == 0) {
		p->null = true;
	} else {
		rowset_cell(rs, 0, 0, p);
		if (!p->null && p->phys == PHYS_VAR)
			p->var = arena_dup(ex->arena, p->var, p->bytes);
	}
	return STEP_MORE;
}

static enum step run_inits(struct exec *ex, struct budget *work)
{
	while (ex->init_at < ex->root->init_count) {
		const struct init_plan *ip = &ex->root->inits[ex->init_at];
		struct vec_batch b;
		enum step st;

		if (!ex->init_rows.arena)
			rowset_init(&ex->init_rows, &ex->init_arena, ip->plan->col_count,
				    plan_phys(ip->plan, &ex->init_arena));
		st = op_step(ex->inits[ex->init_at], &b, work);
		if (st == STEP_MORE) {
			rowset_add(&ex->init_rows, &b);
			if (ip->sub_kind == SUB_SCALAR && ex->init_rows.count > 1)
				return exec_fail(ex, error_set(ex->err, ST_CARDINALITY,
							       "more than one row returned by a subquery used as an expression"));
			if (exec_memory(ex) == STEP_ERROR)
				return STEP_ERROR;
			if (work->left <= 0)
				return STEP_MORE;
			continue;
		}
		if (st != STEP_DONE)
			return st;
		if (init_finish(ex, ip) == STEP_ERROR)
			return STEP_ERROR;
		arena_reset(&ex->init_arena);
		ex->init_rows.arena = NULL;
		ex->init_at++;
	}
	return STEP_DONE;
}

enum step exec_step(struct exec *ex, struct vec_batch *out, struct budget *work)
{
	if (ex->init_at < ex->root->init_count) {
		enum step st = run_inits(ex, work);

		out->n = out->rows = 0;
		if (st != STEP_DONE)
			return st;
	}
	return op_step(ex->top, out, work);
}

/* -- helpers ---------------------------------------------------------------------------------------------------- */

struct eval exec_eval(struct exec *ex, struct arena *arena)
{
	struct eval ev = {.arena = arena, .params = ex->params, .param_count = ex->param_count,
			  .hooks = &ex->hooks, .err = ex->err};

	return ev;
}

enum step exec_fail(struct exec *ex, enum status st)
{
	if (st == ST_WAIT)
		return STEP_WAIT;
	ASSERT(st != ST_OK);
	ex->status = st;
	if (st != ST_AGAIN && ex->err && ex->err->code == ST_OK)
		(void)error_set(ex->err, st, "%s", status_text(st));
	return STEP_ERROR;
}

enum step exec_memory(struct exec *ex)
{
	if (ex->limit_bytes == 0 || ex->mem->used_bytes <= ex->limit_bytes)
		return STEP_MORE;
	(void)error_set(ex->err, ST_NOMEM, "out of memory: the statement needs more than %zu MB",
			ex->limit_bytes >> 20);
	error_hint(ex->err, "Raise valence.statement_memory, or ask for less at a time.");
	return exec_fail(ex, ST_NOMEM);
}

enum status exec_expr(struct exec *ex, struct arena *arena, const struct expr *e, const struct vec_batch *b,
		      struct vec *out)
{
	struct eval ev;

	if (e->kind == EX_INPUT) {
		ASSERT_OP(e->slot, <, b->col_count);
		*out = b->cols[e->slot];
		return ST_OK;
	}
	ev = exec_eval(ex, arena);
	return expr_eval(&ev, e, b->cols, b->rows, b->sel, b->n, out);
}

enum status batch_filter(struct exec *ex, struct arena *arena, const struct expr *cond, struct vec_batch *b)
{
	struct eval ev;
	uint16_t *sel;
	enum status st;

	if (!cond || b->n == 0)
		return ST_OK;
	ev = exec_eval(ex, arena);
	sel = ARENA_NEW_N(arena, uint16_t, b->n);
	st = expr_filter(&ev, cond, b->cols, b->rows, b->sel, b->n, sel, &b->n);
	b->sel = sel;
	return st;
}

uint8_t *plan_phys(const struct plan *p, struct arena *arena)
{
	uint8_t *phys = arena_alloc(arena, p->col_count + 1);

	for (uint32_t i = 0; i < p->col_count; i++) {
		const struct type_info *ti = type_find(p->cols[i].type.oid);

		phys[i] = ti ? ti->phys : PHYS_VAR;
	}
	return phys;
}

enum status relation_by_id(struct access *a, rel_id id, struct relation_def *out)
{
	enum status st = access_relation_by_id(a, id, out);
	rel_id after = 0;

	if (st != ST_UNDEFINED_TABLE)
		return st;
	while ((st = access_relation_next(a, after, out, &after)) == ST_OK)
		for (uint32_t i = 0; out->kind == REL_TABLE && i < out->table->index_count; i++)
			if (out->table->indexes[i].id == id) {
				out->kind = REL_INDEX;
				out->index = &out->table->indexes[i];
				return ST_OK;
			}
	return st == ST_END ? ST_UNDEFINED_TABLE : st;
}
