/*
 * fastpath.c - point statements: SELECT … WHERE key = …, UPDATE … WHERE key = …, INSERT of one row.
 *
 * What is known when planning is kept in struct fast, what one run needs is one allocation in the portal's arena. No
 * operators, no batches but of one row, nothing planned again. Phases wait as everywhere; a change of the
 * definitions, or a client that wants rows in pieces, goes the general way.
 */
#include "engine/sql/session.h"

#include <string.h>

#include "base/assert.h"
#include "engine/sql/dml.h"
#include "engine/sql/exec_key.h"

enum fast_kind { FAST_SELECT, FAST_UPDATE, FAST_INSERT };

struct fast {
	uint8_t kind;
	const struct table_def *table;
	const struct table_access *ta;  /* SELECT, UPDATE */
	const struct plan *scan;
	const struct plan_modify *modify;
	uint32_t key_count;
	const struct expr **keys;       /* EX_CONST or EX_PARAM */
	uint32_t out_count;             /* answered columns: slot of the scan; INSERT, RETURNING none */
	uint32_t *out_slots;
	struct expr **values;           /* INSERT: by column of the insert list */
	uint32_t param_count;
	uint32_t scratch_bytes;
};

#define RESTARTS_PER_TURN 8

enum fast_phase { FAST_NEW, FAST_USE, FAST_BEGIN, FAST_FIND, FAST_LOCK, FAST_READ, FAST_PUT, FAST_FLOW, FAST_END, FAST_RESTART,
		  FAST_OVER };
struct fast_run {
	uint8_t phase;
	row_id row;
	uint32_t found;
	struct cell *cells;             /* stored, by want */
	struct vec *slots;              /* executor's values, by slot of the scan: one row each */
	uint64_t (*data)[2];            /* what they point to */
	uint64_t (*nulls)[VEC_WORDS];
	struct vec *out;
	struct exec ex;
	struct dml dml;                 /* INSERT */
	bool dml_open;
};

/* -- detection --------------------------------------------------------------------------------------------------- */

static uint32_t conjunct_count(const struct expr *ex)
{
	uint32_t n = 0;

	if (!ex)
		return 0;
	if (ex->kind != EX_AND)
		return 1;
	for (uint32_t i = 0; i < ex->arg_count; i++)
		n += conjunct_count(ex->args[i]);
	return n;
}

static bool fast_scan(struct fast *f, const struct plan *p, struct arena *arena)
{
	if (p->kind != PLAN_INDEX || !p->table.unique_point || conjunct_count(p->filter) != p->table.key_count ||
	    p->table.rowid_slot != UINT32_MAX)
		return false;
	f->scan = p;
	f->ta = &p->table;
	f->table = p->table.table;
	f->key_count = p->table.key_count;
	f->keys = ARENA_NEW_N(arena, const struct expr *, f->key_count);
	for (uint32_t i = 0; i < f->key_count; i++) {
		f->keys[i] = p->table.keys[i].eq;
		if (!f->keys[i] || (f->keys[i]->kind != EX_CONST && f->keys[i]->kind != EX_PARAM))
			return false;
	}
	return true;
}

static bool fast_select(struct fast *f, const struct query *q, const struct plan *top, struct arena *arena)
{
	if (q->kind != Q_SELECT || q->lock || top->kind != PLAN_PROJECT || !fast_scan(f, top->left, arena))
		return false;
	f->kind = FAST_SELECT;
	f->out_count = top->col_count;
	f->out_slots = ARENA_NEW_N(arena, uint32_t, top->col_count + 1);
	for (uint32_t i = 0; i < top->col_count; i++) {
		if (top->project.exprs[i]->kind != EX_INPUT)
			return false;
		f->out_slots[i] = top->project.exprs[i]->slot;
	}
	return true;
}

static bool fast_update(struct fast *f, const struct query *q, const struct plan *top, struct arena *arena)
{
	const struct plan_modify *m;
	struct plan *scan;

	if (q->kind != Q_UPDATE || top->kind != PLAN_MODIFY || q->check_count || top->left->kind != PLAN_INDEX)
		return false;
	/* the row id comes from the index, not from the row: a scan without that column */
	scan = arena_dup(arena, top->left, sizeof *scan);
	if (scan->table.rowid_slot == UINT32_MAX)
		return false;
	scan->table.rowid_slot = UINT32_MAX;
	m = top->modify;
	if (!fast_scan(f, scan, arena))
		return false;
	f->kind = FAST_UPDATE;
	f->modify = m;
	for (uint32_t x = 0; x < m->table->index_count; x++)
		for (uint32_t c = 0; c < m->table->indexes[x].column_count; c++)
			for (uint32_t i = 0; i < m->set_count; i++)
				if (m->table->indexes[x].attnos[c] == m->set_attnos[i])
					return false;
	return !m->returning;
}

static bool fast_insert(struct fast *f, const struct query *q, const struct plan *top)
{
	const struct plan *src;

	if (q->kind != Q_INSERT || top->kind != PLAN_MODIFY || q->conflict || top->modify->returning)
		return false;
	src = top->left;
	/* VALUES of one row, maybe under a projection that only hands its columns on */
	if (src->kind == PLAN_PROJECT && src->left->kind == PLAN_PROJECT && src->left->left->kind == PLAN_RESULT) {
		for (uint32_t i = 0; i < src->col_count; i++)
			if (src->project.exprs[i]->kind != EX_INPUT || src->project.exprs[i]->slot != i)
				return false;
		src = src->left;
	}
	if (src->kind != PLAN_PROJECT || src->left->kind != PLAN_RESULT || src->col_count < top->modify->insert_count)
		return false;
	f->kind = FAST_INSERT;
	f->modify = top->modify;
	f->table = top->modify->table;
	f->values = src->project.exprs;
	return true;
}

struct fast *fast_detect(const struct query *q, const struct plan_root *root, struct arena *arena)
{
	struct fast *f = ARENA_NEW(arena, struct fast);

	if (root->init_count || root->cte_count || root->use_count != 1)
		return NULL;
	f->param_count = root->param_count;
	if (root->param_total != root->param_count)
		return NULL;
	if (fast_select(f, q, root->plan, arena))
		return f;
	memset(f, 0, sizeof *f);
	f->param_count = root->param_count;
	if (fast_update(f, q, root->plan, arena))
		return f;
	memset(f, 0, sizeof *f);
	f->param_count = root->param_count;
	return fast_insert(f, q, root->plan) ? f : NULL;
}

/* -- parameters --------------------------------------------------------------------------------------------------- */

static bool int_text(const char *p, int32_t n, int64_t *out)
{
	uint64_t v = 0;
	bool neg = n > 0 && *p == '-';

	p += neg;
	n -= neg;
	if (n <= 0 || n > 18)
		return false;
	for (; n > 0; n--, p++) {
		if (*p < '0' || *p > '9')
			return false;
		v = v * 10 + (uint64_t)(*p - '0');
	}
	*out = neg ? -(int64_t)v : (int64_t)v;
	return true;
}

/* Integers straight into a cell; false: the general way, with its messages. */
static bool int_param(uint32_t oid, const struct sql_param *p, struct cell *out)
{
	int64_t v = 0;

	if (p->bytes < 0)
		return false;
	if (p->binary && oid == T_INT4 && p->bytes == 4) {
		uint32_t b;

		memcpy(&b, p->data, 4);
		v = (int32_t)__builtin_bswap32(b);
	} else if (p->binary && oid == T_INT8 && p->bytes == 8) {
		uint64_t b;

		memcpy(&b, p->data, 8);
		v = (int64_t)__builtin_bswap64(b);
	} else if (p->binary || !int_text(p->data, p->bytes, &v)) {
		return false;
	}
	if (oid == T_INT4 && (v < INT32_MIN || v > INT32_MAX))
		return false;
	*out = (struct cell){.phys = oid == T_INT4 ? PHYS_I32 : PHYS_I64, .i = v};
	return true;
}

/* true: all of them are cells now. */
bool fast_bind_params(struct sql_session *s, struct sql_portal *p, const struct sql_param *params, uint32_t count)
{
	const uint32_t *types = p->bound->stmt->param_types;
	struct cell *cells = ARENA_NEW_N(&p->arena, struct cell, count + 1);

	(void)s;
	for (uint32_t i = 0; i < count; i++)
		if ((types[i] != T_INT4 && types[i] != T_INT8) || !int_param(types[i], &params[i], &cells[i]))
			return false;
	p->params = cells;
	p->param_count = count;
	return true;
}

void fast_start(struct sql_portal *p)
{
	const struct fast *f = p->bound->fast;
	uint32_t wants = f->ta ? f->ta->want_count : 0, slots = f->scan ? f->scan->col_count : 0;
	struct fast_run *r = ARENA_NEW(&p->arena, struct fast_run);
	uint8_t *room = arena_alloc(&p->arena, wants * sizeof *r->cells + slots * (sizeof *r->slots + 16) +
							f->out_count * sizeof *r->out + 64);

	r->cells = (struct cell *)(void *)room;
	room += wants * sizeof *r->cells;
	r->data = (uint64_t(*)[2])(void *)room;
	room += slots * 16;
	r->slots = (struct vec *)(void *)room;
	r->out = (struct vec *)(void *)(room + slots * sizeof *r->slots);
	p->fast = r;
}

void fast_free(struct sql_portal *p)
{
	if (p->fast->dml_open)
		dml_fini(&p->fast->dml);
	p->fast->dml_open = false;
}

/* -- run ------------------------------------------------------------------------------------------------------------ */

static const uint64_t is_null[VEC_WORDS] = {1};

/* The index key of the statement; false: a null or out of range: matches nothing. */
static bool fast_key(struct sql_session *s, struct sql_portal *p, const struct fast *f, enum status *st, struct error *err)
{
	*st = ST_OK;
	buf_reset(&s->fast_key);
	for (uint32_t i = 0; i < f->key_count; i++) {
		const struct expr *e = f->keys[i];
		const struct cell *v = e->kind == EX_PARAM ? &p->params[e->param - 1] : &e->value;
		const struct index_key *k = &f->ta->keys[i];
		struct cell fit;

		if (v->null || key_value_fit(k->type, v, &fit))
			return false;
		*st = key_append(k->type, &fit, f->ta->index->desc[i], f->ta->index->nulls_first[i], &s->fast_key, err);
		if (*st) {
			if (*st == ST_PROGRAM_LIMIT)
				*st = ST_OK; /* longer than any stored key */
			error_clear(err);
			return false;
		}
	}
	return true;
}

/* A stored cell as a vector of one row. */
static void cell_vec(const struct cell *c, uint64_t *data, struct vec *v)
{
	*v = (struct vec){.phys = c->phys, .data = data, .nulls = c->null ? (uint64_t *)is_null : NULL};
	if (c->null) {
		data[0] = data[1] = 0;
		return;
	}
	switch (c->phys) {
	case PHYS_BOOL: v->b[0] = (uint8_t)c->i; break;
	case PHYS_I16: v->i16[0] = (int16_t)c->i; break;
	case PHYS_I32: v->i32[0] = (int32_t)c->i; break;
	case PHYS_I64: v->i64[0] = c->i; break;
	case PHYS_F64: v->f64[0] = c->f; break;
	case PHYS_I128: v->i128[0] = c->x; break;
	default: v->var[0] = (struct slice){c->var, c->bytes, 0}; break;
	}
}

static void fast_slots(struct fast_run *r, const struct fast *f, struct arena *arena)
{
	for (uint32_t i = 0; i < f->ta->want_count; i++) {
		const struct column_def *c = &f->table->columns[f->ta->wants[i].attno - 1];
		const struct type_info *ti = type_find(c->type_oid);
		uint32_t slot = f->ta->want_slots[i];

		r->cells[i].phys = c->phys;
		cell_vec(&r->cells[i], r->data[slot], &r->slots[slot]);
		if (ti->phys != c->phys) {
			struct vec stored = r->slots[slot];

			vec_from_storage((struct sql_type){c->type_oid, c->typmod}, &stored, NULL, 1, 1, arena, &r->slots[slot]);
		}
	}
}

static enum status fast_read(struct sql_session *s, struct sql_portal *p, const struct fast *f, struct fast_run *r,
			     bool *live, struct error *err)
{
	enum status st = access_row_get(s->access, f->table, r->row, f->ta->wants, f->ta->want_count, r->cells, live, err);

	if (!st && *live)
		fast_slots(r, f, &p->arena);
	return st;
}

static void fast_exec(struct sql_session *s, struct sql_portal *p, struct fast_run *r)
{
	struct exec *ex = &r->ex;

	ex->access = s->access;
	ex->session = s;
	ex->mem = &p->mem;
	ex->arena = &p->arena;
	ex->params = p->params;
	ex->param_count = p->param_count;
	ex->err = &p->err;
	session_hooks(s, &ex->hooks);
}

static enum status fast_put_update(struct sql_session *s, struct sql_portal *p, const struct fast *f, struct fast_run *r,
				   struct error *err)
{
	const struct plan_modify *m = f->modify;
	struct vec_batch b = {.rows = 1, .n = 1, .col_count = f->scan->col_count, .cols = r->slots};
	struct cell *stored = ARENA_NEW_N(&p->arena, struct cell, m->set_count + 1);

	fast_exec(s, p, r);
	r->ex.err = err;
	for (uint32_t i = 0; i < m->set_count; i++) {
		const struct column_def *c = &m->table->columns[m->set_attnos[i] - 1];
		const struct type_info *ti = type_find(c->type_oid);
		struct vec v;
		struct cell value;
		enum status st = exec_expr(&r->ex, &p->arena, m->set_exprs[i], &b, &v);

		if (st)
			return st;
		vec_cell(&v, 0, &value);
		if (value.null && c->not_null)
			return dml_null_error(err, m->table, c->attno, NULL);
		stored[i] = value;
		if (!value.null && ti->phys != c->phys) {
			st = value_to_storage((struct sql_type){c->type_oid, c->typmod}, &value, &p->arena, &stored[i], err);
			if (st)
				return st;
		}
		stored[i].attno = c->attno;
		stored[i].phys = c->phys;
	}
	access_put_update(s->access, f->table, r->row, stored, m->set_count, NULL, 0, NULL, 0, 0, 0);
	r->found = 1;
	return ST_OK;
}

static enum status fast_put_insert(struct sql_session *s, struct sql_portal *p, const struct fast *f, struct fast_run *r,
				   struct error *err)
{
	const struct plan_modify *m = f->modify;
	enum status st = ST_OK;

	if (!r->dml_open) {
		struct eval ev;

		fast_exec(s, p, r);
		r->ex.err = err;
		dml_init(&r->dml, &r->ex, m);
		r->dml_open = true;
		dml_batch(&r->dml, Q_INSERT, 1);
		for (uint32_t c = 0; c < f->table->column_count; c++)
			r->dml.new_cells[c].null = true;
		ev = exec_eval(&r->ex, &r->dml.arena);
		for (uint32_t i = 0; i < m->insert_count && !st; i++) {
			struct cell *to = &r->dml.new_cells[m->insert_attnos[i] - 1];
			const struct expr *e = f->values[i];

			if (e->kind == EX_PARAM)
				*to = p->params[e->param - 1];
			else if (e->kind == EX_CONST)
				*to = e->value;
			else
				st = expr_eval_one(&ev, e, to);
		}
		if (st)
			return st;
	}
	r->ex.err = err; /* another one in each turn */
	st = dml_run(&r->dml);
	if (!st)
		r->found = 1;
	return st;
}

static enum status fast_flow(struct sql_session *s, const struct fast *f, struct error *err)
{
	/* an insert's batch has done it */
	return f->kind == FAST_UPDATE ? access_flow(s->access, err) : ST_OK;
}

static const char *fast_tag(const struct fast *f, uint32_t found)
{
	static const char *const tags[3][2] = {{"SELECT 0", "SELECT 1"}, {"UPDATE 0", "UPDATE 1"},
					       {"INSERT 0 0", "INSERT 0 1"}};

	return tags[f->kind][found];
}

static enum status fast_find(struct sql_session *s, struct sql_portal *p, const struct fast *f, struct fast_run *r,
			     struct error *err)
{
	enum status st;

	r->row = 0;
	if (f->kind == FAST_INSERT || !fast_key(s, p, f, &st, err))
		return f->kind == FAST_INSERT ? ST_OK : st;
	return access_index_get(s->access, f->table, f->ta->index, s->fast_key.data, (uint32_t)s->fast_key.size, &r->row,
				err);
}

static enum status fast_emit(struct sql_portal *p, const struct fast *f, struct fast_run *r, const struct sql_sink *sink)
{
	for (uint32_t i = 0; i < f->out_count; i++)
		r->out[i] = r->slots[f->out_slots[i]];
	sink->rows(sink->ctx, &p->bound->shape, r->out, NULL, 1);
	r->found = 1;
	return ST_OK;
}

/* One phase; ST_OK moves on. */
static enum status fast_phase(struct sql_session *s, struct sql_portal *p, const struct sql_sink *sink, struct error *err)
{
	const struct fast *f = p->bound->fast;
	struct fast_run *r = p->fast;
	struct sql_shape shape;
	enum status st;
	bool live = false;

	switch ((enum fast_phase)r->phase) {
	case FAST_NEW:
		txn_ensure(s);
		if (!p->bound->shape_known && (st = bound_shape(s, p->bound, &shape, err)))
			return st;
		if (s->txn_read_only && f->kind != FAST_SELECT)
			return error_set(err, ST_READ_ONLY, "cannot execute %s in a read-only transaction",
					 p->bound->stmt->tag);
		return ST_OK;
	case FAST_USE:
		return access_use(s->access, f->table->id, f->kind != FAST_SELECT, err);
	case FAST_BEGIN:
		access_statement_inherits(s->access, f->kind == FAST_UPDATE && s->block == BLOCK_IMPLICIT);
		st = access_statement_begin(s->access, err);
		if (!st) {
			s->txn_ran = true;
			p->in_statement = true;
		}
		return st;
	case FAST_FIND:
		st = fast_find(s, p, f, r, err);
		if (!st && f->kind != FAST_INSERT && r->row == 0)
			r->phase = FAST_FLOW;
		return st;
	case FAST_LOCK:
		if (f->kind != FAST_UPDATE)
			return ST_OK;
		return access_lock_rows(s->access, f->table, &r->row, 1, ROW_LOCK_NO_KEY_UPDATE, false, err);
	case FAST_READ:
		if (f->kind == FAST_INSERT)
			return ST_OK;
		if (f->kind == FAST_SELECT && sink->full && sink->full(sink->ctx))
			return ST_WAIT;
		st = fast_read(s, p, f, r, &live, err);
		if (!st && !live)
			r->phase = FAST_FLOW;
		else if (!st && f->kind == FAST_SELECT)
			st = fast_emit(p, f, r, sink);
		else if (!st)
			st = fast_put_update(s, p, f, r, err); /* at once: the cells are lent */
		return st;
	case FAST_PUT:
		return f->kind == FAST_INSERT ? fast_put_insert(s, p, f, r, err) : ST_OK;
	case FAST_FLOW:
		return fast_flow(s, f, err);
	case FAST_END:
		access_statement_end(s->access);
		p->in_statement = false;
		p->tag = fast_tag(f, r->found);
		p->phase = PORTAL_DONE;
		return ST_OK;
	case FAST_RESTART:
		st = access_statement_restart(s->access, err);
		if (!st) {
			if (r->dml_open) {
				dml_fini(&r->dml);
				r->dml_open = false;
			}
			r->found = 0;
			r->phase = FAST_FIND - 1;
		}
		return st;
	case FAST_OVER:
		break;
	}
	UNREACHABLE();
}

enum status fast_step(struct sql_session *s, struct sql_portal *p, const struct sql_sink *sink, struct error *err)
{
	struct fast_run *r = p->fast;
	uint32_t restarts = 0;

	if (r->phase <= FAST_BEGIN && p->bound->version != access_schema_version(s->access)) {
		/* the general way binds anew */
		fast_free(p);
		p->fast = NULL;
		return portal_query_step(s, p, 0, sink, err);
	}
	while (r->phase < FAST_RESTART || (r->phase == FAST_RESTART && p->phase != PORTAL_DONE)) {
		enum status st = fast_phase(s, p, sink, err);

		if (st == ST_AGAIN) {
			r->phase = FAST_RESTART;
			if (++restarts == RESTARTS_PER_TURN)
				return ST_AGAIN; /* it may be for the log to change, which has a turn first (S16) */
			continue;
		}
		if (st)
			return st;
		r->phase++;
		if (p->phase == PORTAL_DONE)
			break;
	}
	return ST_OK;
}
