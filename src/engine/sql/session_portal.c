/*
 * session_portal.c - portals: one execution of a prepared statement, in phases that may wait.
 */
#include "engine/sql/session.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "engine/sql/values.h"

/* -- life --------------------------------------------------------------------------------------------------------- */

struct sql_portal *portal_new(struct sql_session *s, const char *name)
{
	struct sql_portal *p = *name ? NULL : s->spare_portal;

	if (p) {
		s->spare_portal = NULL;
	} else {
		p = MEM_NEW(&s->mem, struct sql_portal);
		p->session = s;
		mem_init(&p->mem, &s->mem, "statement", 0);
		arena_init(&p->arena, &p->mem);
		arena_init(&p->result_arena, &p->mem);
	}
	p->name = *name ? arena_strdup(&p->arena, name) : "";
	p->complete = false;
	return p;
}

/* Everything that the statement made; the portal itself stays. */
static void portal_clear(struct sql_portal *p)
{
	struct sql_session *s = p->session;

	if (p->exec.top)
		exec_close(&p->exec);
	if (p->utility)
		utility_free(p);
	if (p->fast)
		fast_free(p);
	if (p->copy_in)
		copy_in_free(p->copy_in);
	if (p->copy_out)
		copy_out_free(p->copy_out);
	if (p->in_statement) {
		access_statement_abort(s->access);
		p->in_statement = false;
	}
	if (s->active == p) {
		s->active = NULL;
		s->cancel = false;
	}
	bound_unref(p->bound);
	arena_reset(&p->result_arena);
	arena_reset(&p->arena);
}

void portal_free(struct sql_session *s, struct sql_portal *p)
{
	bool spare = !*p->name && !s->spare_portal && !s->terminate;

	portal_clear(p);
	if (spare) {
		/* the accounts and first blocks of the arenas are kept: most statements need nothing else */
		p->bound = NULL;
		p->prepared = NULL;
		p->params = NULL;
		p->param_count = 0;
		p->phase = PORTAL_NEW;
		p->in_statement = p->keep_result = p->cursor = p->hold = p->running = false;
		p->use_at = 0;
		memset(&p->exec, 0, sizeof p->exec);
		memset(&p->result, 0, sizeof p->result);
		p->result_at = p->row_count = 0;
		p->tag = NULL;
		p->utility = NULL;
		p->copy_in = NULL;
		p->copy_out = NULL;
		p->fast = NULL;
		p->started_us = 0;
		s->spare_portal = p;
		return;
	}
	arena_fini(&p->result_arena);
	arena_fini(&p->arena);
	mem_fini(&p->mem);
	MEM_FREE(&s->mem, p);
}

void portals_drop(struct sql_session *s, bool keep_held)
{
	struct bmap_slot *slot;
	size_t at = 0;

	/* the one that runs COMMIT or ROLLBACK goes when it is done with */
	if (s->unnamed_portal && s->unnamed_portal != s->active) {
		portal_free(s, s->unnamed_portal);
		s->unnamed_portal = NULL;
	}
	while ((slot = bmap_next(&s->portals, &at))) {
		struct sql_portal *p = slot->value;

		if (p == s->active || (keep_held && p->hold && p->phase >= PORTAL_DRAIN))
			continue;
		(void)bmap_remove(&s->portals, p->name, strlen(p->name));
		portal_free(s, p);
	}
}

struct sql_portal *sql_portal_find(struct sql_session *s, const char *name)
{
	return *name ? bmap_find(&s->portals, name, strlen(name)) : s->unnamed_portal;
}

void sql_portal_close(struct sql_session *s, const char *name)
{
	struct sql_portal *p = sql_portal_find(s, name);

	if (!p)
		return;
	if (*name)
		(void)bmap_remove(&s->portals, name, strlen(name));
	else
		s->unnamed_portal = NULL;
	portal_free(s, p);
}

/* -- bind ----------------------------------------------------------------------------------------------------------- */

static enum status decode_params(struct sql_portal *p, const struct sql_param *params, uint32_t count,
				 struct error *err)
{
	const struct stmt *st = p->bound->stmt;

	p->param_count = count;
	p->params = ARENA_NEW_N(&p->arena, struct cell, count + 1);
	for (uint32_t i = 0; i < count; i++) {
		struct sql_type t = {st->param_types[i], -1};
		const struct type_info *ti = type_find(t.oid);
		enum status e;

		if (params[i].bytes < 0) {
			p->params[i] = (struct cell){.phys = ti ? ti->phys : PHYS_VAR, .null = true};
			continue;
		}
		if (params[i].binary) {
			e = value_recv(t, params[i].data, (size_t)params[i].bytes, &p->arena, &p->params[i], err);
		} else {
			e = value_in(t, params[i].data, (size_t)params[i].bytes, &p->arena, &p->params[i], err);
		}
		if (e)
			return e;
		if (!p->params[i].null && p->params[i].phys == PHYS_VAR)
			p->params[i].var = arena_dup(&p->arena, p->params[i].var, p->params[i].bytes);
	}
	return ST_OK;
}

static enum status bind_portal(struct sql_session *s, struct sql_portal *p, const struct sql_param *params,
			       uint32_t count, struct error *err)
{
	uint32_t want = p->bound->stmt ? p->bound->stmt->param_count : 0;
	enum status st = ST_OK;

	if (count != want)
		return error_set(err, ST_PROTOCOL,
				 "bind message supplies %u parameters, but prepared statement \"%s\" requires %u", count,
				 p->prepared->name, want);
	for (uint32_t i = 0; i < count; i++)
		if (params[i].bytes > 0 && !params[i].binary && !utf8_valid(params[i].data, (size_t)params[i].bytes))
			return error_set(err, ST_BAD_ENCODING, "invalid byte sequence for encoding \"UTF8\"");
	if (!p->bound->fast || !fast_bind_params(s, p, params, count))
		st = decode_params(p, params, count, err);
	if (!st && p->bound->fast)
		fast_start(p);
	return st;
}

enum status sql_bind(struct sql_session *s, const char *portal, struct sql_prepared *prepared,
		     const struct sql_param *params, uint32_t param_count, struct sql_portal **out, struct error *err)
{
	struct sql_portal *p;
	enum status st = session_interrupted(s, err);

	if (!st && s->block == BLOCK_FAILED && prepared->raw && !txn_allowed_when_failed(raw_kind(prepared->raw)))
		return txn_refuse_failed(err);
	if (!st && s->block != BLOCK_FAILED)
		st = prepared_bind(s, prepared, err);
	if (st) {
		if (st != ST_WAIT)
			txn_failed(s);
		return st;
	}
	if (*portal && bmap_find(&s->portals, portal, strlen(portal))) {
		txn_failed(s);
		return error_set(err, ST_DUPLICATE_CURSOR, "cursor \"%s\" already exists", portal);
	}
	if (!*portal)
		sql_portal_close(s, "");
	if (s->block != BLOCK_FAILED && prepared->bound->stmt && prepared->bound->stmt->kind == STMT_QUERY &&
	    !prepared->bound->root) {
		st = bound_plan(s, prepared->bound, err);
		if (st) {
			txn_failed(s);
			return st;
		}
	}
	p = portal_new(s, portal);
	p->prepared = prepared;
	p->bound = prepared->bound;
	p->bound->refs++;
	st = bind_portal(s, p, params, param_count, err);
	if (st) {
		portal_free(s, p);
		txn_failed(s);
		return st;
	}
	if (*portal)
		bmap_put(&s->portals, portal, strlen(portal), p);
	else
		s->unnamed_portal = p;
	*out = p;
	return ST_OK;
}

enum status sql_portal_shape(struct sql_session *s, struct sql_portal *p, struct sql_shape *out, struct error *err)
{
	enum status st = bound_shape(s, p->bound, out, err);

	if (!st && p->bound->stmt && p->bound->stmt->kind == STMT_DECLARE && !p->cursor)
		*out = (struct sql_shape){0};
	return st;
}

/* -- running a query -------------------------------------------------------------------------------------------------- */

static enum status check_writable(struct sql_session *s, const struct stmt *st, const struct plan_root *root,
				  struct error *err)
{
	if (!s->txn_read_only || !root || !root->writes)
		return ST_OK;
	return error_set(err, ST_READ_ONLY, "cannot execute %s in a read-only transaction",
			 st->query && st->query->kind == Q_SELECT ? "SELECT FOR UPDATE" : st->tag);
}

/* The definitions may have changed since: binds and plans anew when so. */
static enum status portal_plan(struct sql_session *s, struct sql_portal *p, struct error *err)
{
	struct bound *b = p->bound;
	enum status st;

	if (b->version != access_schema_version(s->access) && p->prepared) {
		const struct stmt *old = b->stmt;

		st = prepared_bind(s, p->prepared, err);
		if (st)
			return st;
		b = p->prepared->bound;
		if (b->stmt->param_count != old->param_count ||
		    (old->param_count && memcmp(b->stmt->param_types, old->param_types, old->param_count * sizeof(uint32_t))))
			return error_set(err, ST_UNSUPPORTED, "cached plan must not change parameter types");
		b->refs++;
		bound_unref(p->bound);
		p->bound = b;
	}
	return bound_plan(s, b, err);
}

static void exec_prepare(struct sql_session *s, struct sql_portal *p)
{
	struct exec *ex = &p->exec;

	memset(ex, 0, sizeof *ex);
	ex->access = s->access;
	ex->session = s;
	ex->mem = &p->mem;
	ex->limit_bytes = s->statement_bytes;
	ex->arena = &p->arena;
	ex->err = &p->err;
	session_hooks(s, &ex->hooks);
	ex->timing = p->bound->stmt->kind == STMT_EXPLAIN && p->bound->stmt->analyze;
	exec_open(ex, p->bound->root, p->params, p->param_count);
	rowset_init(&p->result, &p->result_arena, p->bound->root->plan->col_count,
		    plan_phys(p->bound->root->plan, &p->arena));
}

enum status portal_begin(struct sql_session *s, struct sql_portal *p, struct error *err)
{
	enum status st;

	for (;;) {
		const struct plan_root *root = p->bound->root;

		switch ((enum portal_phase)p->phase) {
		case PORTAL_NEW:
			txn_ensure(s);
			st = portal_plan(s, p, err);
			if (!st)
				st = check_writable(s, p->bound->stmt, p->bound->root, err);
			if (st)
				return st;
			p->use_at = 0;
			p->phase = PORTAL_USE;
			break;
		case PORTAL_USE:
			for (; root && p->use_at < root->use_count; p->use_at++) {
				st = access_use(s->access, root->uses[p->use_at].id, root->uses[p->use_at].write, err);
				if (st)
					return st;
			}
			/* the wait may have been for someone's DDL */
			if (p->prepared && p->bound->version != access_schema_version(s->access)) {
				p->phase = PORTAL_NEW;
				break;
			}
			p->phase = PORTAL_SNAPSHOT;
			break;
		case PORTAL_SNAPSHOT:
			access_statement_inherits(s->access, s->block == BLOCK_IMPLICIT && root && root->writes && !root->has_rows &&
							      p->bound->stmt->kind == STMT_QUERY &&
							      root->plan->kind == PLAN_MODIFY &&
							      root->plan->modify->kind != Q_INSERT);
			st = access_statement_begin(s->access, err);
			if (st)
				return st;
			s->txn_ran = true;
			p->in_statement = true;
			session_trace(s, "snapshot: %llu", (unsigned long long)access_snapshot(s->access));
			if (p->bound->root)
				exec_prepare(s, p);
			p->phase = PORTAL_RUN;
			return ST_OK;
		default:
			return ST_OK;
		}
	}
}

void emit_rowset(struct sql_portal *p, const struct sql_shape *shape, const struct sql_sink *sink, uint64_t max)
{
	while (p->result_at < p->result.count && max) {
		struct vec_batch b;
		uint64_t at = p->result_at / VEC_ROWS * VEC_ROWS;
		uint32_t skip = (uint32_t)(p->result_at - at), n;
		uint16_t sel[VEC_ROWS];

		if (sink->full && sink->full(sink->ctx))
			return;
		rowset_batch(&p->result, at, &b);
		n = b.rows - skip;
		if (n > max)
			n = (uint32_t)max;
		for (uint32_t i = 0; i < n; i++)
			sel[i] = (uint16_t)(skip + i);
		if (sink->rows)
			sink->rows(sink->ctx, shape, b.cols, sel, n);
		p->result_at += n;
		max -= n;
	}
}

#define RESTART_WORK (WORK_UNITS / 8)

enum status portal_run(struct sql_session *s, struct sql_portal *p, const struct sql_sink *sink, struct budget *work,
		       struct error *err)
{
	for (;;) {
		struct vec_batch b;
		enum step st;
		enum status e;

		if (p->phase == PORTAL_RESTART) {
			e = access_statement_restart(s->access, err);
			if (e)
				return e;
			session_trace(s, "restart: snapshot %llu", (unsigned long long)access_snapshot(s->access));
			exec_restart(&p->exec);
			error_clear(&p->err);
			arena_reset(&p->result_arena);
			rowset_init(&p->result, &p->result_arena, p->result.col_count, p->result.phys);
			p->row_count = 0;
			p->phase = PORTAL_RUN;
		}
		if (sink && sink->full && sink->full(sink->ctx))
			return ST_WAIT;
		st = exec_step(&p->exec, &b, work);
		if (st == STEP_DONE)
			return ST_OK;
		if (st == STEP_WAIT)
			return ST_WAIT;
		if (st == STEP_ERROR && p->exec.status == ST_AGAIN) {
			p->phase = PORTAL_RESTART;
			/* what it comes to again may be for the log to change, which has a turn first (S16) */
			work->left -= RESTART_WORK;
			if (work->left <= 0)
				return ST_AGAIN;
			continue;
		}
		if (st == STEP_ERROR) {
			*err = p->err;
			return p->exec.status;
		}
		p->row_count += b.n;
		if (b.n && sink)
			sink->rows(sink->ctx, &p->bound->shape, b.cols, b.sel, b.n);
		else if (b.n)
			rowset_add(&p->result, &b);
		if (exec_memory(&p->exec) == STEP_ERROR) {
			*err = p->err;
			return p->exec.status;
		}
		if (work->left <= 0)
			return ST_AGAIN;
	}
}

static const char *query_tag(struct sql_portal *p, uint64_t rows)
{
	const struct query *q = p->bound->stmt->query;

	switch ((enum query_kind)q->kind) {
	case Q_INSERT:
		return arena_printf(&p->arena, "INSERT 0 %llu", (unsigned long long)p->exec.affected);
	case Q_UPDATE:
		return arena_printf(&p->arena, "UPDATE %llu", (unsigned long long)p->exec.affected);
	case Q_DELETE:
		return arena_printf(&p->arena, "DELETE %llu", (unsigned long long)p->exec.affected);
	default:
		return arena_printf(&p->arena, "SELECT %llu", (unsigned long long)rows);
	}
}

static enum status drain(struct sql_portal *p, uint64_t max_rows, const struct sql_sink *sink)
{
	uint64_t from = p->result_at;

	emit_rowset(p, &p->bound->shape, sink, max_rows ? max_rows : UINT64_MAX);
	if (max_rows && p->result_at - from >= max_rows && p->result_at <= p->result.count) {
		/* even when that was the last one: the client finds out with its next Execute, as with PostgreSQL */
		return ST_END;
	}
	if (p->result_at < p->result.count)
		return ST_WAIT;
	p->tag = query_tag(p, p->result_at - from);
	p->phase = PORTAL_DONE;
	return ST_OK;
}

enum status portal_query_step(struct sql_session *s, struct sql_portal *p, uint64_t max_rows,
			      const struct sql_sink *sink, struct error *err)
{
	struct budget work = {WORK_UNITS};
	struct sql_shape shape;
	enum status st;

	if (p->phase < PORTAL_RUN) {
		p->keep_result = p->keep_result || max_rows;
		st = portal_begin(s, p, err);
		if (!st)
			st = bound_shape(s, p->bound, &shape, err);
		if (st)
			return st;
	}
	if (p->phase == PORTAL_RUN || p->phase == PORTAL_RESTART) {
		bool keep = p->keep_result || p->bound->root->restarts;

		st = portal_run(s, p, keep ? NULL : sink, &work, err);
		if (st)
			return st;
		p->keep_result = keep;
		p->phase = PORTAL_END;
	}
	if (p->phase == PORTAL_END) {
		access_statement_end(s->access);
		p->in_statement = false;
		p->phase = PORTAL_DRAIN;
		if (!p->keep_result) {
			p->tag = query_tag(p, p->row_count);
			p->phase = PORTAL_DONE;
		}
		exec_close(&p->exec);
	}
	if (p->phase == PORTAL_DRAIN && sink)
		return drain(p, max_rows, sink);
	return ST_OK;
}

/* -- the step that the protocol drives ------------------------------------------------------------------------------- */

void portal_undo(struct sql_session *s, struct sql_portal *p)
{
	if (p->utility)
		utility_free(p);
	if (p->exec.top)
		exec_close(&p->exec);
	if (p->in_statement) {
		access_statement_abort(s->access);
		p->in_statement = false;
	}
	p->phase = PORTAL_FAILED;
}

static void finished(struct sql_session *s)
{
	s->active = NULL;
	s->cancel = s->lock_nowait = false;
	s->deadline_us = s->sleep_until_us = s->lock_deadline_us = 0;
}

/* A cancel that came as a timeout is told as one. */
enum status portal_failed(struct sql_session *s, struct sql_portal *p, enum status st, struct error *err)
{
	struct error why = {0};

	if (st == ST_CANCELED && session_interrupted(s, &why))
		*err = why;
	st = err->code == ST_OK ? error_set(err, st, "%s", status_text(st)) : err->code;
	portal_undo(s, p);
	finished(s);
	txn_failed(s);
	return st;
}

static enum status dispatch(struct sql_session *s, struct sql_portal *p, uint64_t max_rows, const struct sql_sink *sink,
			    struct error *err)
{
	const struct stmt *st = p->bound->stmt;
	struct budget work = {WORK_UNITS};

	switch ((enum stmt_kind)st->kind) {
	case STMT_QUERY:
		return portal_query_step(s, p, max_rows, sink, err);
	case STMT_BEGIN:
	case STMT_COMMIT:
	case STMT_ROLLBACK:
	case STMT_SAVEPOINT:
	case STMT_RELEASE:
	case STMT_ROLLBACK_TO:
	case STMT_SET_TRANSACTION:
		return txn_statement(s, p, st, err);
	case STMT_COPY:
		return st->copy->from ? copy_in_step(s, p, sink, err) : copy_out_step(s, p, sink, &work, err);
	default:
		return utility_step(s, p, max_rows, sink, &work, err);
	}
}

/* What gives rows is at their end, and says so as often as it is asked. */
static bool can_run_again(const struct bound *b)
{
	switch ((enum stmt_kind)b->stmt->kind) {
	case STMT_QUERY:
		return !b->root || b->root->has_rows;
	case STMT_SHOW:
	case STMT_FETCH:
	case STMT_EXPLAIN:
	case STMT_EXECUTE:
		return true;
	default:
		return false;
	}
}

#define LOCK_NOWAIT_US 250000 /* LOCK TABLE ... NOWAIT: all engines are asked, and those that use the table do not answer */

/* For pg_stat_activity. */
static void note_statement(struct sql_session *s, const struct sql_portal *p)
{
	const char *text = p->bound->source && p->bound->source->text ? p->bound->source->text : "";
	size_t n = strnlen(text, sizeof s->query - 1);

	memcpy(s->query, text, n);
	s->query[n] = 0;
	s->query_us = s->state_us = access_wall_us(s->access);
}

enum status sql_portal_step(struct sql_session *s, struct sql_portal *p, uint64_t max_rows, const struct sql_sink *sink,
			    const char **tag_out, struct error *err)
{
	enum status st;
	uint64_t limit_us;

	*tag_out = NULL;
	error_clear(err);
	if (!p->bound->stmt) /* empty query */
		return ST_OK;
	if (s->active != p) {
		s->active = p;
		s->cancel = false;
		note_statement(s, p);
		s->deadline_us = s->timeout_us ? access_now_us(s->access) + s->timeout_us : 0;
	}
	value_settings_use(&s->values);
	st = session_interrupted(s, err);
	if (!st && s->block == BLOCK_FAILED && !txn_allowed_when_failed((enum stmt_kind)p->bound->stmt->kind)) {
		finished(s);
		return txn_refuse_failed(err);
	}
	if (!st && p->complete && !p->cursor && !can_run_again(p->bound)) { /* its effects are there, and not to be had twice */
		finished(s);
		txn_failed(s);
		return error_set(err, ST_STATE, "portal \"%s\" cannot be run", p->name);
	}
	if (!st && p->cursor && p->phase == PORTAL_DRAIN) /* DECLARE made it: Execute fetches */
		st = drain(p, max_rows, sink);
	else if (!st && p->cursor)
		p->tag = query_tag(p, 0);
	else if (!st && p->fast && max_rows == 0)
		st = fast_step(s, p, sink, err);
	else if (!st && p->phase == PORTAL_DONE && p->bound->stmt->kind == STMT_QUERY)
		p->tag = query_tag(p, 0); /* run to its end before */
	else if (!st && p->phase == PORTAL_FAILED)
		st = error_set(err, ST_STATE, "portal \"%s\" cannot be run", p->name);
	else if (!st)
		st = dispatch(s, p, max_rows, sink, err);
	/* one wait is counted from its first step on; whatever else a statement waits for ends it */
	limit_us = s->lock_nowait ? LOCK_NOWAIT_US : s->lock_timeout_us;
	if (st != ST_WAIT || !limit_us || !access_waits_for_lock(s->access))
		s->lock_deadline_us = 0;
	else if (!s->lock_deadline_us)
		s->lock_deadline_us = access_now_us(s->access) + limit_us;
	if (st == ST_WAIT || st == ST_AGAIN)
		return st;
	session_late_news(s);
	if (st == ST_END) {
		finished(s);
		return st;
	}
	if (st)
		return portal_failed(s, p, st, err);
	finished(s);
	p->complete = true;
	*tag_out = p->tag ? p->tag : p->bound->stmt->tag;
	return ST_OK;
}
