/*
 * session_fn.c - functions whose answer is the session's or the cluster's (enum session_fn).
 */
#include "engine/sql/session.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "engine/sql/values.h"
#include "engine/sql/virtual.h"

#define PG_EPOCH_US INT64_C(946684800000000) /* 2000-01-01 */

static struct cell text_cell(struct arena *arena, const char *t)
{
	struct cell c = {.phys = PHYS_VAR, .bytes = (uint32_t)strlen(t)};

	c.var = arena_dup(arena, t, c.bytes + 1);
	return c;
}

static struct cell int_cell(uint8_t phys, int64_t v)
{
	return (struct cell){.phys = phys, .i = v};
}

static const char *cell_text(const struct cell *c, struct arena *arena)
{
	return arena_strndup(arena, (const char *)c->var, c->bytes);
}

static struct cell name_array(struct arena *arena, const char *const *names, uint32_t count)
{
	struct cell *cells = ARENA_NEW_N(arena, struct cell, count + 1), out;

	for (uint32_t i = 0; i < count; i++)
		cells[i] = text_cell(arena, names[i]);
	array_build(T_NAME, cells, count, 1, arena, &out);
	return out;
}

/* -- definitions ------------------------------------------------------------------------------------------------ */

static const char *quoted(const char *name, struct arena *arena)
{
	bool plain = (name[0] >= 'a' && name[0] <= 'z') || name[0] == '_';
	char *out, *to;

	for (const char *p = name; *p && plain; p++)
		plain = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '_';
	if (plain)
		return name;
	out = to = arena_alloc(arena, 2 * strlen(name) + 3);
	*to++ = '"';
	for (const char *p = name; *p; p++) {
		if (*p == '"')
			*to++ = '"';
		*to++ = *p;
	}
	*to++ = '"';
	return out;
}

static bool on_path(struct sql_session *s, const char *schema)
{
	if (!strcmp(schema, "pg_catalog"))
		return true;
	for (uint32_t i = 0; i < s->search_path_count; i++)
		if (!strcmp(s->search_path[i], schema))
			return true;
	return false;
}

static enum status relation(struct sql_session *s, int64_t oid, struct relation_def *out, bool *found)
{
	enum status st = relation_by_id(s->access, (rel_id)oid, out);

	*found = st == ST_OK;
	return st == ST_UNDEFINED_TABLE ? ST_OK : st;
}

static const char *relation_name(const struct relation_def *r, const char **schema)
{
	if (r->kind == REL_SEQUENCE) {
		*schema = r->sequence->schema;
		return r->sequence->name;
	}
	*schema = r->table->schema;
	return r->kind == REL_INDEX ? r->index->name : r->table->name;
}

static char *index_columns(const struct table_def *t, const struct index_def *ix, struct arena *arena)
{
	char *out = arena_strdup(arena, "");

	for (uint32_t i = 0; i < ix->column_count; i++) {
		bool nulls_default = ix->desc[i] == ix->nulls_first[i];

		out = arena_printf(arena, "%s%s%s%s%s", out, i ? ", " : "", quoted(t->columns[ix->attnos[i] - 1].name, arena),
				   ix->desc[i] ? " DESC" : "",
				   nulls_default ? "" : ix->nulls_first[i] ? " NULLS FIRST" : " NULLS LAST");
	}
	return out;
}

static enum status index_text(struct sql_session *s, const struct cell *args, uint32_t count, struct arena *arena,
			      struct cell *out)
{
	struct relation_def r;
	bool found;
	enum status st = relation(s, args[0].i, &r, &found);

	if (st)
		return st;
	out->null = true;
	if (!found || r.kind != REL_INDEX)
		return ST_OK;
	if (count > 1 && args[1].i > 0) {
		if (args[1].i <= r.index->column_count)
			*out = text_cell(arena, quoted(r.table->columns[r.index->attnos[args[1].i - 1] - 1].name, arena));
		return ST_OK;
	}
	*out = text_cell(arena, arena_printf(arena, "CREATE %sINDEX %s ON %s.%s USING btree (%s)", r.index->unique ? "UNIQUE " : "",
					     quoted(r.index->name, arena), quoted(r.table->schema, arena),
					     quoted(r.table->name, arena), index_columns(r.table, r.index, arena)));
	return ST_OK;
}

/* The expression is kept with parentheses of its own, if it needs them; the pretty form does without. */
static char *check_text(const char *expr, bool pretty, struct arena *arena)
{
	size_t n = strlen(expr), i = 0;
	int depth = 0;
	char quote = 0;

	for (; pretty && expr[0] == '(' && i < n; i++) {
		if (quote)
			quote = expr[i] == quote ? 0 : quote;
		else if (expr[i] == '\'' || expr[i] == '"')
			quote = expr[i];
		else if (expr[i] == '(')
			depth++;
		else if (expr[i] == ')' && --depth == 0)
			break;
	}
	return arena_printf(arena, pretty && n && i == n - 1 ? "CHECK %s" : "CHECK (%s)", expr);
}

/* Constraints have the oid of their index; checks: table's id * 2048 + number, above all of those (virtual_rows.c). */
static enum status constraint_text(struct sql_session *s, int64_t oid, bool pretty, struct arena *arena, struct cell *out)
{
	struct relation_def r;
	bool found;
	enum status st;

	out->null = true;
	if (oid >= INT64_C(1) << 32) {
		st = relation(s, (oid >> 32), &r, &found);
		if (!st && found && r.kind == REL_TABLE && (uint32_t)oid < r.table->check_count)
			*out = text_cell(arena, check_text(r.table->checks[(uint32_t)oid].expr_sql, pretty, arena));
		return st;
	}
	st = relation(s, oid, &r, &found);
	if (!st && found && r.kind == REL_INDEX)
		*out = text_cell(arena, arena_printf(arena, "%s (%s)", r.index->primary ? "PRIMARY KEY" : "UNIQUE",
						     index_columns(r.table, r.index, arena)));
	return st;
}

static enum status regclass_text(struct sql_session *s, int64_t oid, struct arena *arena, struct cell *out)
{
	struct relation_def r;
	bool found;
	const struct virtual_rel *v = oid > 0 && oid <= UINT32_MAX ? virtual_find_oid((uint32_t)oid) : NULL;
	const char *schema, *name;
	enum status st;

	if (v) {
		*out = text_cell(arena, on_path(s, v->schema) ? v->name : v->full_name);
		return ST_OK;
	}
	st = relation(s, oid, &r, &found);
	if (st)
		return st;
	if (!found) {
		*out = text_cell(arena, arena_printf(arena, "%lld", (long long)oid));
		return ST_OK;
	}
	name = relation_name(&r, &schema);
	*out = text_cell(arena, on_path(s, schema) ? quoted(name, arena) :
						     arena_printf(arena, "%s.%s", quoted(schema, arena), quoted(name, arena)));
	return ST_OK;
}

/* "schema.name" or "name" along the search path; *out 0: none. */
static enum status find_name(struct sql_session *s, const char *text, struct arena *arena, rel_id *out)
{
	char *copy = arena_alloc(arena, strlen(text) + 2), *parts[3] = {copy, NULL, NULL}, *to = copy;
	uint32_t n = 1;
	bool in = false;

	*out = 0;
	for (const char *p = text; *p; p++) {
		if (*p == '"') {
			in = !in;
		} else if (*p == '.' && !in && n < 3) {
			*to++ = 0;
			parts[n++] = to;
		} else {
			*to++ = in || *p < 'A' || *p > 'Z' ? *p : (char)(*p + 32);
		}
	}
	*to = 0;
	for (uint32_t i = 0; i <= s->search_path_count; i++) {
		const char *schema = n > 1 ? parts[n - 2] : i ? s->search_path[i - 1] : "pg_catalog";
		const char *name = parts[n - 1];
		const struct virtual_rel *v = virtual_find(schema, name);
		struct relation_def r;
		enum status st;

		if (v) {
			*out = v->oid;
			return ST_OK;
		}
		st = access_relation(s->access, schema, name, &r);
		if (!st) {
			*out = r.kind == REL_INDEX ? r.index->id : r.kind == REL_SEQUENCE ? r.sequence->id : r.table->id;
			return ST_OK;
		}
		if (st != ST_UNDEFINED_TABLE)
			return st;
		if (n > 1)
			break;
	}
	return ST_OK;
}

/* -- sequences ------------------------------------------------------------------------------------------------------ */

static enum status currval(struct sql_session *s, int64_t oid, struct cell *out, struct error *err)
{
	struct sequence_value *v = map_find(&s->sequences, (uint64_t)oid);
	struct relation_def r;
	const char *schema;
	bool found;
	enum status st;

	if (v) {
		*out = int_cell(PHYS_I64, v->value);
		return ST_OK;
	}
	st = relation(s, oid, &r, &found);
	if (st)
		return st;
	return error_set(err, ST_STATE, "currval of sequence \"%s\" is not yet defined in this session",
			 found ? relation_name(&r, &schema) : "?");
}

static enum status setval(struct sql_session *s, const struct cell *args, uint32_t count, struct cell *out,
			  struct error *err)
{
	struct relation_def r;
	bool called = count < 3 || args[2].i;
	enum status st = access_relation_by_id(s->access, (rel_id)args[0].i, &r);

	if (st == ST_WAIT)
		return st;
	if (st || r.kind != REL_SEQUENCE)
		return error_set(err, ST_WRONG_OBJECT_TYPE, "not a sequence");
	if (args[1].i < r.sequence->min || args[1].i > r.sequence->max)
		return error_set(err, ST_NUMERIC_RANGE, "setval: value %lld is out of bounds for sequence \"%s\" (%lld..%lld)",
				 (long long)args[1].i, r.sequence->name, (long long)r.sequence->min,
				 (long long)r.sequence->max);
	st = access_sequence_set(s->access, (rel_id)args[0].i, args[1].i, called, err);
	if (st)
		return st;
	if (called)
		session_note_nextval(s, (rel_id)args[0].i, args[1].i);
	*out = int_cell(PHYS_I64, args[1].i);
	return ST_OK;
}

static enum status wait_for(struct sql_session *s, const struct cell *args, uint32_t count, struct cell *out,
			    struct error *err)
{
	enum status st = access_wait_applied(s->access, (seq_index)args[0].i);

	*out = (struct cell){.phys = PHYS_VAR, .var = (const uint8_t *)""};
	if (st != ST_WAIT || count < 2)
		return st;
	/* a deadline of its own: the loop steps us then */
	if (s->active && !s->active->started_us) {
		s->active->started_us = access_now_us(s->access);
		if (!s->deadline_us || s->deadline_us > s->active->started_us + (uint64_t)args[1].i * 1000)
			s->deadline_us = s->active->started_us + (uint64_t)args[1].i * 1000;
	}
	if (s->active && access_now_us(s->access) >= s->active->started_us + (uint64_t)args[1].i * 1000)
		return error_set(err, ST_CANCELED, "index %lld was not applied within %lld ms", (long long)args[0].i,
				 (long long)args[1].i);
	return ST_WAIT;
}

static enum status txn_outcome(struct sql_session *s, const char *name, struct cell *out, struct error *err)
{
	seq_index index = 0;
	enum status st = access_named(s->access, name, true, &index, err);

	*out = int_cell(PHYS_I64, (int64_t)index);
	out->null = !index;
	return st;
}

static enum status sleep_for(struct sql_session *s, double seconds, struct cell *out)
{
	uint64_t now = access_now_us(s->access), due;

	*out = (struct cell){.phys = PHYS_VAR, .var = (const uint8_t *)""};
	if (!s->active)
		return ST_OK;
	if (!s->active->started_us)
		s->active->started_us = now;
	due = s->active->started_us + (uint64_t)(seconds > 0 ? seconds * 1e6 : 0);
	if (now >= due) {
		s->active->started_us = 0;
		s->sleep_until_us = 0;
		return ST_OK;
	}
	s->sleep_until_us = due;
	return ST_WAIT;
}

/* Which of them, its name says. */
static enum status advisory(struct sql_session *s, const char *fn, const struct cell *args, uint32_t count, struct cell *out,
			    struct error *err)
{
	struct advisory_name name = {.mark = ADVISORY_MARK, .space = (uint8_t)count};
	bool shared = strstr(fn, "_shared"), try = strstr(fn, "_try_");
	enum status st;

	*out = int_cell(PHYS_BOOL, 1);
	if (strstr(fn, "_unlock")) {
		if (!count)
			access_advisory_unlock_all(s->access);
	}
	name.number = count > 1 ? (int64_t)((uint64_t)args[0].i << 32 | (uint32_t)args[1].i) : count ? args[0].i : 0;
	if (strstr(fn, "_unlock") && count) {
		out->i = access_advisory_unlock(s->access, &name, shared);
		if (!out->i)
			session_notice(s, "WARNING", ST_OK, "you don't own a lock of type %s", shared ? "ShareLock" : "ExclusiveLock");
	} else if (count) {
		st = access_advisory_lock(s->access, &name, !strstr(fn, "_xact_"), shared, try, err);
		if (st == ST_LOCK_NOT_AVAILABLE && try) {
			error_clear(err);
			out->i = 0;
		} else if (st) {
			return st;
		}
	}
	if (count && (try || strstr(fn, "_unlock")))
		return ST_OK;
	*out = (struct cell){.phys = PHYS_VAR, .var = (const uint8_t *)""}; /* void */
	return ST_OK;
}

/* 0: a session of another engine. */
static void blocking_pids(struct sql_session *s, int64_t pid, struct arena *arena, struct cell *out)
{
	const void *found[64];
	struct cell pids[64];
	const struct sql_session *of = NULL;
	uint32_t n = 0, kept = 0;

	for (uint64_t i = 0; i < access_session_count(s->access) && !of; i++) {
		const struct sql_session *at = access_session_at(s->access, i);

		of = at && at->cfg.backend_pid == (uint64_t)pid ? at : NULL;
	}
	if (of)
		n = access_blockers(s->access, of, found, 64);
	for (uint32_t i = 0; i < n; i++) {
		const struct sql_session *by = found[i];
		struct cell c = int_cell(PHYS_I32, by ? (int64_t)by->cfg.backend_pid : 0);
		bool known = false;

		for (uint32_t k = 0; k < kept; k++)
			known = known || pids[k].i == c.i;
		if (!known)
			pids[kept++] = c;
	}
	array_build(T_INT4, pids, kept, 1, arena, out);
}

/* -- one call --------------------------------------------------------------------------------------------------------- */

static enum status format_type(const struct cell *args, struct arena *arena, struct cell *out)
{
	out->null = true;
	if (args[0].null)
		return ST_OK;
	*out = text_cell(arena, type_find((uint32_t)args[0].i) ?
					type_format((struct sql_type){(uint32_t)args[0].i, args[1].null ? -1 : (int32_t)args[1].i}, arena) :
					"???");
	return ST_OK;
}

static enum status setting_fn(struct sql_session *s, uint16_t fn, const struct cell *args, uint32_t count,
			      struct arena *arena, struct cell *out, struct error *err)
{
	const char *name = cell_text(&args[0], arena), *v;
	enum status st = ST_OK;

	if (fn == SFN_SET_CONFIG)
		st = session_set_asked(s, name, cell_text(&args[1], arena), args[2].i, true, err);
	if (st == ST_WAIT)
		return st;
	v = sql_session_get(s, name);
	if (st)
		return st;
	if (!v && count > 1 && args[1].i) {
		out->null = true;
		return ST_OK;
	}
	if (!v)
		return error_set(err, ST_UNDEFINED_OBJECT, "unrecognized configuration parameter \"%s\"", name);
	*out = text_cell(arena, v);
	return ST_OK;
}

static enum status visible(struct sql_session *s, int64_t oid, struct cell *out)
{
	struct relation_def r;
	const char *schema;
	bool found;
	const struct virtual_rel *v = oid > 0 && oid <= UINT32_MAX ? virtual_find_oid((uint32_t)oid) : NULL;
	enum status st;

	*out = int_cell(PHYS_BOOL, 1);
	if (v) {
		out->i = on_path(s, v->schema);
		return ST_OK;
	}
	st = relation(s, oid, &r, &found);
	if (st || !found)
		return st; /* types, functions: all of ours are in pg_catalog */
	(void)relation_name(&r, &schema);
	out->i = on_path(s, schema);
	return ST_OK;
}

static enum status relation_size(struct sql_session *s, int64_t oid, struct cell *out)
{
	struct relation_def r;
	bool found;
	uint64_t rows = 0, atoms = 0;
	enum status st = relation(s, oid, &r, &found);

	if (!st && found && r.kind == REL_TABLE)
		access_estimate(s->access, r.table, &rows, &atoms);
	*out = int_cell(PHYS_I64, (int64_t)(atoms * 128 * 1024));
	return st;
}

static enum status to_regclass(struct sql_session *s, const struct expr *ex, const struct cell *args,
			       struct arena *arena, struct cell *out, struct error *err)
{
	const char *name = cell_text(&args[0], arena);
	rel_id id;
	enum status st = find_name(s, name, arena, &id);

	if (st)
		return st;
	if (!id && !strcmp(ex->fn->sql_name, "::"))
		return error_set(err, ST_UNDEFINED_TABLE, "relation \"%s\" does not exist", name);
	*out = int_cell(PHYS_I64, (int64_t)id);
	out->null = id == 0;
	return ST_OK;
}

static enum status one_call(struct sql_session *s, const struct expr *ex, const struct cell *args, uint32_t count,
			    struct arena *arena, struct cell *out, struct error *err)
{
	static const char version[] = "PostgreSQL 15.0 (Valence 0.1.0, in-memory, distributed)";

	*out = (struct cell){0};
	switch ((enum session_fn)ex->fn->sfn) {
	case SFN_NOW:
		*out = int_cell(PHYS_I64, (int64_t)access_transaction_time_us(s->access) - PG_EPOCH_US);
		break;
	case SFN_CLOCK:
		*out = int_cell(PHYS_I64, (int64_t)access_wall_us(s->access) - PG_EPOCH_US);
		break;
	case SFN_CURRENT_USER:
	case SFN_SESSION_USER:
	case SFN_GET_USERBYID:
		*out = text_cell(arena, s->user);
		break;
	case SFN_CURRENT_DATABASE:
		*out = text_cell(arena, s->database);
		break;
	case SFN_CURRENT_SCHEMA:
		*out = text_cell(arena, "public");
		for (uint32_t i = s->search_path_count; i-- > 0;)
			if (strcmp(s->search_path[i], s->user))
				*out = text_cell(arena, s->search_path[i]);
		break;
	case SFN_CURRENT_SCHEMAS: {
		const char *names[64] = {"pg_catalog"};
		uint32_t n = args[0].i != 0;

		for (uint32_t i = 0; i < s->search_path_count && n < 64; i++)
			if (strcmp(s->search_path[i], s->user))
				names[n++] = s->search_path[i];
		*out = name_array(arena, names, n);
		break;
	}
	case SFN_VERSION:
		*out = text_cell(arena, version);
		break;
	case SFN_BACKEND_PID:
		*out = int_cell(PHYS_I32, (int32_t)s->cfg.backend_pid);
		break;
	case SFN_CURRENT_SETTING:
	case SFN_SET_CONFIG:
		return setting_fn(s, ex->fn->sfn, args, count, arena, out, err);
	case SFN_CURRVAL:
		return currval(s, args[0].i, out, err);
	case SFN_LASTVAL:
		if (!s->last_sequence)
			return error_set(err, ST_STATE, "lastval is not yet defined in this session");
		*out = int_cell(PHYS_I64, s->last_sequence->value);
		break;
	case SFN_SETVAL:
		return setval(s, args, count, out, err);
	case SFN_APPLIED_INDEX:
		*out = int_cell(PHYS_I64, (int64_t)access_applied_index(s->access));
		break;
	case SFN_WAIT_FOR:
		return wait_for(s, args, count, out, err);
	case SFN_LAST_COMMIT:
		*out = int_cell(PHYS_I64, (int64_t)access_last_commit(s->access));
		out->null = !out->i;
		break;
	case SFN_TXN_OUTCOME:
		return txn_outcome(s, cell_text(&args[0], arena), out, err);
	case SFN_REMOVE_VOTER:
		*out = (struct cell){.phys = PHYS_VAR, .var = (const uint8_t *)""};
		return access_remove_voter(s->access, (uint64_t)args[0].i, err);
	case SFN_TXID_CURRENT: /* the snapshot: rises, and equal for all statements of a REPEATABLE READ transaction */
		*out = int_cell(PHYS_I64, (int64_t)access_snapshot(s->access));
		break;
	case SFN_RANDOM:
		*out = (struct cell){.phys = PHYS_F64, .f = rng_unit(&s->rng)};
		break;
	case SFN_TABLE_IS_VISIBLE:
		return visible(s, args[0].i, out);
	case SFN_FORMAT_TYPE:
		return format_type(args, arena, out);
	case SFN_GET_EXPR:
		*out = args[0]; /* kept as text, sequences with their schema, which is shown where it is not the usual one */
		if (!out->null && out->bytes > 16 && !memcmp(out->var, "nextval('public.", 16))
			*out = text_cell(arena, arena_printf(arena, "nextval('%.*s", (int)out->bytes - 16,
							     (const char *)out->var + 16));
		break;
	case SFN_GET_INDEXDEF:
		return index_text(s, args, count, arena, out);
	case SFN_GET_CONSTRAINTDEF:
		return constraint_text(s, args[0].i, count > 1 && args[1].i, arena, out);
	case SFN_RELATION_SIZE:
		return relation_size(s, args[0].i, out);
	case SFN_ENCODING_NAME:
		*out = text_cell(arena, args[0].i == 6 ? "UTF8" : "");
		break;
	case SFN_OBJ_DESCRIPTION:
		out->null = true;
		break;
	case SFN_HAS_PRIVILEGE:
		*out = int_cell(PHYS_BOOL, 1);
		break;
	case SFN_TO_REGCLASS:
		return to_regclass(s, ex, args, arena, out, err);
	case SFN_REGCLASS_OUT:
		return regclass_text(s, args[0].i, arena, out);
	case SFN_SLEEP:
		return sleep_for(s, args[0].f, out);
	case SFN_BLOCKING_PIDS:
		blocking_pids(s, args[0].i, arena, out);
		break;
	case SFN_ADVISORY:
		return advisory(s, ex->fn->sql_name, args, count, out, err);
	case SFN_NONE:
	case SFN_COUNT:
		return error_set(err, ST_UNSUPPORTED, "function %s is not supported", ex->fn->name);
	}
	return ST_OK;
}

static enum status session_call(void *ctx, const struct expr *ex, const struct vec *args, uint32_t arg_count,
				const uint16_t *sel, uint32_t n, struct arena *arena, struct vec *out, struct error *err)
{
	struct sql_session *s = ctx;
	const struct type_info *ti = type_find(ex->type.oid);
	uint8_t phys = ti ? ti->phys : PHYS_VAR;
	bool constant = ex->fn->volatility != FN_VOLATILE;

	for (uint32_t a = 0; a < arg_count; a++)
		constant = constant && args[a].constant;
	vec_alloc(out, phys, VEC_ROWS, arena);
	for (uint32_t i = 0; i < n && (!constant || i == 0); i++) {
		uint32_t row = constant ? 0 : sel ? sel[i] : i;
		struct cell in[8], res;
		bool null = false;
		enum status st;

		for (uint32_t a = 0; a < arg_count && a < 8; a++) {
			vec_cell(&args[a], sel ? sel[i] : i, &in[a]);
			null = null || in[a].null;
		}
		if (null && ex->fn->strict) {
			res = (struct cell){.phys = phys, .null = true};
		} else {
			st = one_call(s, ex, in, arg_count, arena, &res, err);
			if (st)
				return st;
		}
		res.phys = phys;
		vec_set(out, row, &res);
	}
	out->constant = constant;
	return ST_OK;
}

void session_hooks(struct sql_session *s, struct eval_hooks *out)
{
	out->session_fn = session_call;
	out->ctx = s;
}
