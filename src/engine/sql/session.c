/*
 * session.c - sessions: life, settings, interrupts.
 */
#include "engine/sql/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "engine/sql/datetime.h"
#include "engine/sql/functions_int.h"

/* -- messages ------------------------------------------------------------------------------------------------ */

void session_notice(struct sql_session *s, const char *severity, enum status code, const char *fmt, ...)
{
	struct error e;
	char text[400];
	va_list ap;

	if (!s->cfg.notice)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	(void)error_set(&e, code, "%s", text);
	s->cfg.notice(s->cfg.ctx, severity, &e);
}

void session_trace(struct sql_session *s, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	if (!s->trace)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	session_notice(s, "INFO", ST_OK, "%s", text);
}

/* -- settings ------------------------------------------------------------------------------------------------- */

static void make_search_path(struct sql_session *s, const char *text)
{
	uint32_t cap = 1;

	for (uint32_t i = 0; i < s->search_path_count; i++)
		mem_free(&s->mem, s->search_path[i], strlen(s->search_path[i]) + 1);
	mem_free(&s->mem, s->search_path, s->search_path_count * sizeof *s->search_path);
	for (const char *p = text; *p; p++)
		cap += *p == ',';
	s->search_path = mem_alloc(&s->mem, cap * sizeof *s->search_path);
	s->search_path_count = 0;
	while (*text) {
		char name[SCHEMA_NAME_MAX * 2 + 2];
		size_t n = 0;
		bool quoted = false;

		while (*text == ' ' || *text == ',')
			text++;
		for (; *text && (quoted || *text != ','); text++) {
			if (*text == '"') {
				quoted = !quoted;
				continue;
			}
			if (n < sizeof name - 1)
				name[n++] = quoted || *text < 'A' || *text > 'Z' ? *text : (char)(*text + 32);
		}
		while (n && name[n - 1] == ' ')
			n--;
		name[n] = 0;
		/* no schema is called as a user unless someone made it: then it is written out */
		if (!n || !strcmp(name, "$user"))
			continue;
		s->search_path[s->search_path_count] = mem_alloc(&s->mem, strlen(name) + 1);
		memcpy(s->search_path[s->search_path_count++], name, strlen(name) + 1);
	}
	/* exactly as many as there are, so that the sizes passed back on free are right */
	s->search_path = mem_realloc(&s->mem, s->search_path, cap * sizeof *s->search_path,
				     s->search_path_count * sizeof *s->search_path);
}

static const char *setting(const struct sql_session *s, const char *name)
{
	return settings_get(&s->settings, settings_find(name));
}

void session_settings_apply(struct sql_session *s)
{
	const char *level;

	if (s->settings_seen == s->settings.generation) {
		value_settings_use(&s->values);
		return;
	}
	s->settings_seen = s->settings.generation;
	s->values.time_zone = setting(s, "TimeZone");
	s->values.extra_float_digits = 1;
	(void)sscanf(setting(s, "extra_float_digits"), "%d", &s->values.extra_float_digits);
	s->values.interval_iso = !strcmp(setting(s, "IntervalStyle"), "iso_8601");
	s->values.bytea_escape = !strcmp(setting(s, "bytea_output"), "escape");
	s->timeout_us = settings_ms(setting(s, "statement_timeout")) * 1000;
	s->lock_timeout_us = settings_ms(setting(s, "lock_timeout")) * 1000;
	s->idle_timeout_us = settings_ms(setting(s, "idle_session_timeout")) * 1000;
	s->idle_in_transaction_us = settings_ms(setting(s, "idle_in_transaction_session_timeout")) * 1000;
	s->statement_bytes = 0;
	{
		double n = 0;
		char unit[4] = "";
		static const struct { const char *name; double of; } units[] = {
			{"B", 1}, {"kB", 1024}, {"MB", 1048576}, {"GB", 1073741824}, {"TB", 1099511627776}};

		(void)sscanf(setting(s, "valence.statement_memory"), "%lf%3s", &n, unit);
		for (int i = 0; i < 5; i++)
			if (!strcmp(units[i].name, unit))
				s->statement_bytes = (size_t)(n * units[i].of);
	}
	s->trace = !strcmp(setting(s, "valence.trace"), "on");
	s->report_commits = !strcmp(setting(s, "valence.report_last_commit"), "on");
	s->txn_name = setting(s, "valence.txn_id");
	s->txn_since = strtoull(setting(s, "valence.txn_since"), NULL, 10);
	level = setting(s, "valence.commit_level");
	access_set_commit_level(s->access, !strcmp(level, "local")  ? COMMIT_LOCAL :
					   !strcmp(level, "memory") ? COMMIT_MEMORY :
								      COMMIT_ARCHIVE);
	access_set_read_latest(s->access, !strcmp(setting(s, "valence.read_consistency"), "latest"));
	make_search_path(s, setting(s, "search_path"));
	value_settings_use(&s->values);
}

static void report(struct sql_session *s, int id)
{
	if (s->cfg.parameter && settings_reported(id))
		s->cfg.parameter(s->cfg.ctx, settings_name(id), sql_session_get(s, settings_name(id)));
}

static enum status set_transaction_isolation(struct sql_session *s, const char *value, struct error *err)
{
	enum isolation iso = isolation_named(value);

	if (strcasecmp(value, isolation_name(iso)) && strcasecmp(value, "read uncommitted")) {
		error_set(err, ST_BAD_PARAMETER, "invalid value for parameter \"transaction_isolation\": \"%s\"", value);
		error_hint(err, "Available values: serializable, repeatable read, read committed, read uncommitted.");
		return ST_BAD_PARAMETER;
	}
	return txn_set_isolation(s, iso, err);
}

enum status session_set(struct sql_session *s, const char *name, const char *value, bool local, struct error *err)
{
	int id = settings_find(name);
	bool in_txn = s->block == BLOCK_OPEN || s->block == BLOCK_IMPLICIT;
	char before[128];
	enum status st;

	if (id >= 0 && value && !strcasecmp(name, "transaction_isolation"))
		return set_transaction_isolation(s, value, err);
	if (id >= 0 && value && !strcasecmp(name, "transaction_read_only")) {
		return txn_set_read_only(s, !strcasecmp(value, "on") || !strcasecmp(value, "true"), err);
	}
	if (id >= 0 && value && !strcasecmp(name, "transaction_deferrable"))
		return txn_set_deferrable(s, !strcasecmp(value, "on") || !strcasecmp(value, "true"), err);
	if (id >= 0)
		snprintf(before, sizeof before, "%s", settings_get(&s->settings, id));
	st = settings_set(&s->settings, name, value, local, in_txn, (uint32_t)s->savepoints.count, err);
	if (st)
		return st;
	session_settings_apply(s);
	if (strcmp(before, settings_get(&s->settings, id)))
		report(s, id);
	return ST_OK;
}

/*
 * A transaction's name: of this one only, so that no other one is taken for its repetition. If it is known that it was
 * committed, nothing needs to be done again; an error says so and ends the block at once.
 */
static enum status name_check(struct sql_session *s, const char *name, bool local, bool within_statement, struct error *err)
{
	seq_index index;
	enum status st;

	if (!local || s->block != BLOCK_OPEN) {
		(void)error_set(err, ST_NO_TRANSACTION, "valence.txn_id can only be set for the current transaction");
		error_hint(err, "use SET LOCAL valence.txn_id in a transaction block");
		return ST_NO_TRANSACTION;
	}
	st = access_named(s->access, name, within_statement, &index, err);
	if (st || !index)
		return st;
	(void)error_set(err, ST_ALREADY_COMMITTED, "transaction \"%s\" was already committed", name);
	error_detail(err, "It was committed at index %llu.", (unsigned long long)index);
	error_hint(err, "do not repeat it; valence.txn_outcome() tells the index again");
	return ST_ALREADY_COMMITTED;
}

enum status session_set_asked(struct sql_session *s, const char *name, const char *value, bool local, bool within_statement,
			      struct error *err)
{
	if (value && *value && !strcasecmp(name, "valence.txn_id") && strlen(value) <= 64) {
		enum status st = name_check(s, value, local, within_statement, err);

		if (st)
			return st;
	}
	return session_set(s, name, value, local, err);
}

void session_report_commit(struct sql_session *s)
{
	seq_index last = access_last_commit(s->access);

	if (!s->report_commits || last == s->reported_commit || !s->cfg.parameter)
		return;
	s->reported_commit = last;
	s->cfg.parameter(s->cfg.ctx, "valence.last_commit", sql_session_get(s, "valence.last_commit"));
}

void session_late_news(struct sql_session *s)
{
	struct error why;

	if (access_early_lost(s->access, &why) && s->cfg.notice)
		s->cfg.notice(s->cfg.ctx, "WARNING", &why);
	session_report_commit(s);
}

enum status sql_session_set(struct sql_session *s, const char *name, const char *value, struct error *err)
{
	enum status st = session_set_asked(s, name, value, false, false, err);

	if (!st && s->block == BLOCK_NONE)
		settings_startup_done(&s->settings);
	return st;
}

const char *sql_session_get(struct sql_session *s, const char *name)
{
	int id = settings_find(name);

	if (id < 0)
		return NULL;
	if (!strcasecmp(name, "transaction_isolation") && s->block != BLOCK_NONE)
		return isolation_name((enum isolation)s->isolation);
	if (!strcasecmp(name, "transaction_isolation"))
		return setting(s, "default_transaction_isolation");
	if (!strcasecmp(name, "transaction_read_only"))
		return s->block != BLOCK_NONE && s->txn_read_only ? "on" : setting(s, "default_transaction_read_only");
	if (!strcasecmp(name, "transaction_deferrable"))
		return s->block != BLOCK_NONE && s->txn_deferrable ? "on" : setting(s, "default_transaction_deferrable");
	if (!strcasecmp(name, "session_authorization"))
		return s->user;
	if (!strcasecmp(name, "valence.last_commit")) {
		seq_index last = access_last_commit(s->access);

		snprintf(s->last_commit_text, sizeof s->last_commit_text, last ? "%llu" : "", (unsigned long long)last);
		return s->last_commit_text;
	}
	return settings_get(&s->settings, id);
}

void sql_session_report(struct sql_session *s, void *ctx, void (*fn)(void *ctx, const char *name, const char *value))
{
	for (int id = 0; settings_name(id); id++)
		if (settings_reported(id))
			fn(ctx, settings_name(id), sql_session_get(s, settings_name(id)));
}

/* -- life -------------------------------------------------------------------------------------------------------- */

struct sql_session *sql_session_new(const struct sql_session_config *cfg)
{
	struct sql_session *s = MEM_NEW(cfg->mem, struct sql_session);

	s->cfg = *cfg;
	mem_init(&s->mem, cfg->mem, "session", 0);
	arena_init(&s->arena, &s->mem);
	arena_init(&s->txn_arena, &s->mem);
	snprintf(s->user, sizeof s->user, "%s", cfg->user ? cfg->user : "valence");
	snprintf(s->database, sizeof s->database, "%s", cfg->database ? cfg->database : "valence");
	bmap_init(&s->prepared, &s->mem);
	bmap_init(&s->portals, &s->mem);
	map_init(&s->sequences, &s->mem);
	buf_init(&s->fast_key, &s->mem);
	settings_init(&s->settings, &s->mem);
	s->settings_seen = UINT64_MAX;
	s->access = access_new(cfg->engine, cfg->wake, cfg->ctx);
	access_publish(s->access, s);
	s->started_us = s->state_us = access_wall_us(s->access);
	snprintf(s->client, sizeof s->client, "%s", cfg->client ? cfg->client : "");
	rng_init(&s->rng, access_wall_us(s->access) ^ (uint64_t)cfg->backend_pid << 40);
	session_settings_apply(s);
	return s;
}

void sql_session_free(struct sql_session *s)
{
	struct bmap_slot *slot;
	struct map_slot *seq;
	size_t at = 0;

	s->active = NULL; /* the one whose statement waits goes too */
	portals_drop(s, false);
	if (s->spare_portal) {
		struct sql_portal *p = s->spare_portal;

		s->spare_portal = NULL;
		s->terminate = s->terminate ? s->terminate : ST_ADMIN_SHUTDOWN; /* no spare is kept now */
		portal_free(s, p);
	}
	while ((slot = bmap_next(&s->prepared, &at)))
		prepared_free(s, slot->value);
	if (s->unnamed_prepared)
		prepared_free(s, s->unnamed_prepared);
	access_free(s->access);
	at = 0;
	while ((seq = map_next(&s->sequences, &at)))
		MEM_FREE(&s->mem, (struct sequence_value *)seq->value);
	make_search_path(s, "");
	mem_free(&s->mem, s->search_path, 0);
	map_fini(&s->sequences);
	buf_fini(&s->fast_key);
	bmap_fini(&s->prepared);
	bmap_fini(&s->portals);
	settings_fini(&s->settings);
	VEC_FINI(&s->mem, &s->savepoints);
	arena_fini(&s->arena);
	arena_fini(&s->txn_arena);
	mem_fini(&s->mem);
	MEM_FREE(s->cfg.mem, s);
}

char sql_session_status(const struct sql_session *s)
{
	return s->block == BLOCK_OPEN ? 'T' : s->block == BLOCK_FAILED ? 'E' : 'I';
}

struct access *sql_session_access(struct sql_session *s) { return s->access; }

/* -- interrupts --------------------------------------------------------------------------------------------------- */

void sql_session_cancel(struct sql_session *s)
{
	if (!s->active)
		return; /* nothing runs: too late, as with PostgreSQL */
	s->cancel = true;
	if (s->active->in_statement || utility_in_statement(s->active))
		access_cancel(s->access);
}

void sql_session_terminate(struct sql_session *s, enum status why)
{
	s->terminate = why;
	if (s->active && (s->active->in_statement || utility_in_statement(s->active)))
		access_cancel(s->access);
}

void sql_session_idle(struct sql_session *s, bool idle)
{
	if (!idle) {
		s->idle_since_us = 0;
		return;
	}
	s->state_us = access_wall_us(s->access);
	s->idle_since_us = access_now_us(s->access);
}

static uint64_t idle_limit_us(const struct sql_session *s)
{
	return s->block == BLOCK_OPEN || s->block == BLOCK_FAILED ? s->idle_in_transaction_us : s->idle_timeout_us;
}

enum status sql_session_idle_expired(const struct sql_session *s)
{
	uint64_t limit = idle_limit_us(s);

	if (!s->idle_since_us || !limit || access_now_us(s->access) < s->idle_since_us + limit)
		return ST_OK;
	return s->block == BLOCK_OPEN || s->block == BLOCK_FAILED ? ST_IDLE_IN_TRANSACTION : ST_IDLE_SESSION;
}

uint64_t sql_session_deadline_us(const struct sql_session *s)
{
	uint64_t at;

	if (!s->active)
		return s->idle_since_us && idle_limit_us(s) ? s->idle_since_us + idle_limit_us(s) : 0;
	at = s->deadline_us;
	if (s->sleep_until_us && (!at || s->sleep_until_us < at))
		at = s->sleep_until_us;
	if (s->lock_deadline_us && (!at || s->lock_deadline_us < at))
		at = s->lock_deadline_us;
	return at;
}

enum status session_interrupted(struct sql_session *s, struct error *err)
{
	if (s->terminate)
		return error_set(err, s->terminate, "terminating connection: %s", status_text(s->terminate));
	if (s->cancel)
		return error_set(err, ST_CANCELED, "canceling statement due to user request");
	if (s->deadline_us && s->active && access_now_us(s->access) >= s->deadline_us)
		return error_set(err, ST_CANCELED, "canceling statement due to statement timeout");
	if (s->lock_deadline_us && s->active && access_now_us(s->access) >= s->lock_deadline_us)
		return s->lock_nowait ? error_set(err, ST_LOCK_NOT_AVAILABLE, "could not obtain lock on relation") :
					error_set(err, ST_LOCK_NOT_AVAILABLE, "canceling statement due to lock timeout");
	return ST_OK;
}

void session_note_nextval(struct sql_session *s, rel_id seq, int64_t value)
{
	struct sequence_value *v = map_find(&s->sequences, seq);

	if (!v) {
		v = MEM_NEW(&s->mem, struct sequence_value);
		v->id = seq;
		map_put(&s->sequences, seq, v);
	}
	v->value = value;
	s->last_sequence = v;
}

void sql_thread_fini(void)
{
	regex_forget();
	dt_zones_forget();
}
