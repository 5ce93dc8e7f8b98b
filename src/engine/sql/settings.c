/*
 * settings.c - the table of settings and what happens to their values.
 */
#include "engine/sql/settings.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "engine/sql/types.h"

enum kind { S_BOOL, S_INT, S_MS, S_BYTES, S_TEXT, S_NAME, S_ENUM, S_ZONE, S_UTF8, S_DATESTYLE, S_FIXED };
static const struct def {
	const char *name, *initial, *values; /* values: of an enum, separated by | */
	uint8_t kind;
	bool reported;
	long min, max;
	const char *help;
} defs[] = {
	{"application_name", "", NULL, S_TEXT, true, 0, 0, "Sets the application name to be reported in statistics and logs."},
	{"bytea_output", "hex", "hex|escape", S_ENUM, false, 0, 0, "Sets the output format for bytea."},
	{"check_function_bodies", "on", NULL, S_BOOL, false, 0, 0, "Accepted, without effect."},
	{"client_encoding", "UTF8", NULL, S_UTF8, true, 0, 0, "Sets the client's character set encoding: UTF8 only."},
	{"client_min_messages", "notice", "debug5|debug4|debug3|debug2|debug1|debug|log|notice|warning|error", S_ENUM, false,
	 0, 0, "Sets the message levels that are sent to the client."},
	{"DateStyle", "ISO, MDY", NULL, S_DATESTYLE, true, 0, 0, "Sets the display format for date and time values: ISO only."},
	{"default_table_access_method", "heap", NULL, S_TEXT, false, 0, 0, "Accepted, without effect."},
	{"default_tablespace", "", NULL, S_TEXT, false, 0, 0, "Accepted, without effect."},
	{"default_transaction_deferrable", "off", NULL, S_BOOL, false, 0, 0,
	 "Sets the default deferrable status of new transactions: none has to wait for that here."},
	{"default_transaction_isolation", "read committed",
	 "serializable|repeatable read|read committed|read uncommitted", S_ENUM, false, 0, 0,
	 "Sets the transaction isolation level of each new transaction."},
	{"default_transaction_read_only", "off", NULL, S_BOOL, true, 0, 0, "Sets the default read-only status of new transactions."},
	{"extra_float_digits", "1", NULL, S_INT, false, -15, 3, "Sets the number of digits displayed for floating-point values."},
	{"idle_in_transaction_session_timeout", "0", NULL, S_MS, false, 0, 0,
	 "Sets the maximum allowed idle time between queries, when in a transaction."},
	{"idle_session_timeout", "0", NULL, S_MS, false, 0, 0,
	 "Sets the maximum allowed idle time between queries, when not in a transaction."},
	{"in_hot_standby", "off", NULL, S_FIXED, true, 0, 0, "Always off."},
	{"integer_datetimes", "on", NULL, S_FIXED, true, 0, 0, "Shows whether datetimes are integer based."},
	{"IntervalStyle", "postgres", "postgres|iso_8601", S_ENUM, true, 0, 0, "Sets the display format for interval values."},
	{"is_superuser", "on", NULL, S_FIXED, true, 0, 0, "Shows whether the current user is a superuser."},
	{"lc_collate", "C.UTF-8", NULL, S_FIXED, false, 0, 0, "Shows the collation order locale."},
	{"lc_ctype", "C.UTF-8", NULL, S_FIXED, false, 0, 0, "Shows the character classification locale."},
	{"lc_messages", "C", NULL, S_TEXT, false, 0, 0, "Accepted, without effect."},
	{"lc_monetary", "C", NULL, S_TEXT, false, 0, 0, "Accepted, without effect."},
	{"lc_numeric", "C", NULL, S_TEXT, false, 0, 0, "Accepted, without effect."},
	{"lc_time", "C", NULL, S_TEXT, false, 0, 0, "Accepted, without effect."},
	{"lock_timeout", "0", NULL, S_MS, false, 0, 0, "Sets the maximum allowed duration of any wait for a lock."},
	{"log_statement", "none", "none|ddl|mod|all", S_ENUM, false, 0, 0, "Accepted, without effect."},
	{"max_identifier_length", "63", NULL, S_FIXED, false, 0, 0, "Shows the maximum identifier length."},
	{"max_index_keys", "32", NULL, S_FIXED, false, 0, 0, "Shows the maximum number of index keys."},
	{"row_security", "on", NULL, S_BOOL, false, 0, 0, "Accepted, without effect."},
	{"search_path", "\"$user\", public", NULL, S_TEXT, false, 0, 0,
	 "Sets the schema search order for names that are not schema-qualified."},
	{"server_encoding", "UTF8", NULL, S_FIXED, true, 0, 0, "Shows the server (database) character set encoding."},
	{"server_version", "15.0", NULL, S_FIXED, true, 0, 0, "Shows the server version."},
	{"server_version_num", "150000", NULL, S_FIXED, false, 0, 0, "Shows the server version as an integer."},
	{"session_authorization", "valence", NULL, S_FIXED, true, 0, 0, "Shows the session user name."},
	{"standard_conforming_strings", "on", "on", S_ENUM, true, 0, 0, "Causes '...' strings to treat backslashes literally."},
	{"statement_timeout", "0", NULL, S_MS, false, 0, 0, "Sets the maximum allowed duration of any statement."},
	{"synchronous_commit", "on", "local|remote_write|remote_apply|on|off", S_ENUM, false, 0, 0,
	 "Accepted, without effect: see valence.commit_level."},
	{"synchronize_seqscans", "on", NULL, S_BOOL, false, 0, 0, "Accepted, without effect."},
	{"TimeZone", "UTC", NULL, S_ZONE, true, 0, 0, "Sets the time zone for displaying and interpreting time stamps."},
	{"transaction_deferrable", "off", NULL, S_BOOL, false, 0, 0, "Sets the current transaction's deferrable status."},
	{"transaction_isolation", "read committed", "serializable|repeatable read|read committed|read uncommitted", S_ENUM,
	 false, 0, 0, "Sets the current transaction's isolation level."},
	{"transaction_read_only", "off", NULL, S_BOOL, false, 0, 0, "Sets the current transaction's read-only status."},
	{"transaction_timeout", "0", NULL, S_MS, false, 0, 0, "Accepted, without effect."},
	{"valence.commit_level", "archive", "archive|memory|local", S_ENUM, false, 0, 0,
	 "Sets when a commit is answered: journalled by a majority of voters, received by one, or submitted here."},
	{"valence.last_commit", "", NULL, S_FIXED, false, 0, 0,
	 "Shows the log index of this session's newest commit; see valence.report_last_commit."},
	{"valence.read_consistency", "local", "local|latest", S_ENUM, false, 0, 0,
	 "Sets where snapshots come from: what this engine has applied, or the sequencer."},
	{"valence.report_last_commit", "off", NULL, S_BOOL, false, 0, 0,
	 "Reports valence.last_commit to the client after each commit, as the protocol reports parameters."},
	{"valence.statement_memory", "512MB", NULL, S_BYTES, false, 0, 0, "Sets the most memory that one statement may use."},
	{"valence.txn_id", "", NULL, S_NAME, false, 1, 64,
	 "Sets the name of the current transaction (SET LOCAL): what was committed under it is not done twice."},
	{"valence.txn_since", "0", NULL, S_INT, false, 0, LONG_MAX,
	 "Sets a log index before the first attempt of a named transaction: repeated too late, it is refused, not done twice."},
	{"valence.trace", "off", NULL, S_BOOL, false, 0, 0, "Sends a notice for each step of a statement."},
	{"work_mem", "4MB", NULL, S_BYTES, false, 0, 0, "Accepted, without effect: see valence.statement_memory."},
	{"xmloption", "content", "content|document", S_ENUM, false, 0, 0, "Accepted, without effect."},
};
#define DEF_COUNT ((int)(sizeof defs / sizeof defs[0]))
_Static_assert(sizeof defs / sizeof defs[0] <= SETTINGS_MAX, "more settings than there is room for");

void settings_init(struct settings *s, struct mem *mem)
{
	memset(s, 0, sizeof *s);
	s->mem = mem;
}

static char *keep(struct settings *s, const char *v)
{
	char *copy;

	if (!v)
		return NULL;
	copy = mem_alloc(s->mem, strlen(v) + 1);
	memcpy(copy, v, strlen(v) + 1);
	return copy;
}

static void drop(struct settings *s, char *v)
{
	if (v)
		mem_free(s->mem, v, strlen(v) + 1);
}

void settings_fini(struct settings *s)
{
	settings_rollback(s, 0);
	for (int i = 0; i < SETTINGS_MAX; i++) {
		drop(s, s->values[i]);
		drop(s, s->startup[i]);
	}
	VEC_FINI(s->mem, &s->undo);
}

int settings_find(const char *name)
{
	for (int i = 0; i < DEF_COUNT; i++)
		if (!strcasecmp(defs[i].name, name))
			return i;
	return -1;
}

const char *settings_name(int id) { return id < DEF_COUNT ? defs[id].name : NULL; }
const char *settings_help(int id) { return defs[id].help; }
bool settings_reported(int id) { return defs[id].reported; }

const char *settings_get(const struct settings *s, int id)
{
	return s->values[id] ? s->values[id] : s->startup[id] ? s->startup[id] : defs[id].initial;
}

/* -- values ------------------------------------------------------------------------------------------------ */

static bool parse_bool(const char *v, bool *out)
{
	static const char *const words[2][5] = {{"off", "false", "no", "0", NULL}, {"on", "true", "yes", "1", NULL}};
	size_t n = strlen(v);

	for (int b = 0; b < 2; b++)
		for (int i = 0; words[b][i]; i++)
			if (!strcasecmp(v, words[b][i]) || (n && i > 0 && i < 3 && !strncasecmp(v, words[b][i], n))) {
				*out = b;
				return true;
			}
	return false;
}

/* A number and a unit, in the unit's base; false: neither. */
static bool parse_unit(const char *v, bool time, double *out)
{
	static const struct { const char *unit; double ms; } times[] = {
		{"us", 0.001}, {"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}};
	static const struct { const char *unit; double bytes; } sizes[] = {
		{"B", 1}, {"kB", 1024}, {"MB", 1048576}, {"GB", 1073741824}, {"TB", 1099511627776}};
	char *end;
	double n = strtod(v, &end);

	if (end == v || !(n >= 0)) /* nor "nan" */
		return false;
	while (*end == ' ')
		end++;
	*out = time ? n : n * 1024; /* without a unit: milliseconds, kilobytes */
	if (!*end)
		return true;
	for (size_t i = 0; time && i < sizeof times / sizeof times[0]; i++)
		if (!strcmp(end, times[i].unit)) {
			*out = n * times[i].ms;
			return true;
		}
	for (size_t i = 0; !time && i < sizeof sizes / sizeof sizes[0]; i++)
		if (!strcmp(end, sizes[i].unit)) {
			*out = n * sizes[i].bytes;
			return true;
		}
	return false;
}

static const char *const isolation_names[] = {
	[ISOLATION_READ_COMMITTED] = "read committed",
	[ISOLATION_REPEATABLE_READ] = "repeatable read",
	[ISOLATION_SERIALIZABLE] = "serializable",
};

enum isolation isolation_named(const char *name)
{
	for (int i = ISOLATION_REPEATABLE_READ; i <= ISOLATION_SERIALIZABLE; i++)
		if (!strcasecmp(name, isolation_names[i]))
			return (enum isolation)i;
	return ISOLATION_READ_COMMITTED;
}

const char *isolation_name(enum isolation iso)
{
	return isolation_names[iso];
}

uint64_t settings_ms(const char *value)
{
	double ms;

	return parse_unit(value, true, &ms) ? (uint64_t)ms : 0;
}

static bool in_words(const char *words, const char *v, char *out, size_t room)
{
	size_t n = strlen(v);

	for (const char *w = words; w; w = strchr(w, '|') ? strchr(w, '|') + 1 : NULL) {
		size_t len = strcspn(w, "|");

		if (len == n && !strncasecmp(w, v, n) && n < room) {
			memcpy(out, w, n);
			out[n] = 0;
			return true;
		}
	}
	return false;
}

static void format_unit(double v, bool time, char *out, size_t room)
{
	static const struct { const char *unit; double of; } times[] = {
		{"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}};
	static const struct { const char *unit; double of; } sizes[] = {
		{"TB", 1099511627776}, {"GB", 1073741824}, {"MB", 1048576}, {"kB", 1024}, {"B", 1}};

	if (v < 1) {
		snprintf(out, room, "0");
		return;
	}
	for (int i = 0; i < 5; i++) {
		double of = time ? times[i].of : sizes[i].of;
		double n = v / of;

		if (v >= of && n == (double)(uint64_t)n) {
			snprintf(out, room, "%llu%s", (unsigned long long)n, time ? times[i].unit : sizes[i].unit);
			return;
		}
	}
	snprintf(out, room, "%llu%s", (unsigned long long)v, time ? "ms" : "B");
}

static enum status bad(struct error *err, const struct def *d, const char *v)
{
	(void)error_set(err, ST_BAD_PARAMETER, "invalid value for parameter \"%s\": \"%s\"", d->name, v);
	if (d->values) {
		char list[200];
		size_t n = 0;

		for (const char *p = d->values; *p && n + 3 < sizeof list; p++) {
			if (*p == '|') {
				list[n++] = ',';
				list[n++] = ' ';
			} else {
				list[n++] = *p;
			}
		}
		list[n] = 0;
		error_hint(err, "Available values: %s.", list);
	}
	return ST_BAD_PARAMETER;
}

/* The canonical form of v for a setting. */
static enum status canonical(const struct def *d, const char *v, char *out, size_t room, struct error *err)
{
	bool b;
	char *end;
	long n;
	double u;

	switch ((enum kind)d->kind) {
	case S_BOOL:
		if (!parse_bool(v, &b)) {
			return error_set(err, ST_BAD_PARAMETER, "parameter \"%s\" requires a Boolean value", d->name);
		}
		snprintf(out, room, "%s", b ? "on" : "off");
		return ST_OK;
	case S_INT:
		n = strtol(v, &end, 10);
		if (end == v || *end)
			return bad(err, d, v);
		if (n < d->min || n > d->max)
			return error_set(err, ST_BAD_PARAMETER, "%ld is outside the valid range for parameter \"%s\" (%ld .. %ld)", n,
					 d->name, d->min, d->max);
		snprintf(out, room, "%ld", n);
		return ST_OK;
	case S_MS:
	case S_BYTES:
		if (!parse_unit(v, d->kind == S_MS, &u) || u > (d->kind == S_MS ? 2147483647.0 : 1e15))
			return bad(err, d, v);
		format_unit(u, d->kind == S_MS, out, room);
		return ST_OK;
	case S_ENUM:
		if (d->values[0] == 'o' && !d->values[2] && parse_bool(v, &b)) { /* on only */
			if (!b)
				return error_set(err, ST_UNSUPPORTED, "%s = off is not supported", d->name);
			v = "on";
		}
		if (!in_words(d->values, v, out, room))
			return bad(err, d, v);
		return ST_OK;
	case S_ZONE:
		if (!value_time_zone_ok(v))
			return bad(err, d, v);
		break;
	case S_UTF8:
		if (strcasecmp(v, "UTF8") && strcasecmp(v, "UTF-8") && strcasecmp(v, "UNICODE") &&
		    strcasecmp(v, "SQL_ASCII"))
			return error_set(err, ST_UNSUPPORTED, "client_encoding \"%s\" is not supported: only UTF8 is", v);
		snprintf(out, room, "UTF8");
		return ST_OK;
	case S_DATESTYLE:
		if (strncasecmp(v, "ISO", 3) && strcasecmp(v, "MDY") && strcasecmp(v, "DEFAULT"))
			return error_set(err, ST_UNSUPPORTED, "DateStyle \"%s\" is not supported: only ISO is", v);
		snprintf(out, room, "ISO, MDY");
		return ST_OK;
	case S_FIXED:
		if (!strcasecmp(v, d->initial))
			break;
		return error_set(err, ST_BAD_PARAMETER, "parameter \"%s\" cannot be changed", d->name);
	case S_NAME:
		if (strlen(v) > (size_t)d->max)
			return error_set(err, ST_BAD_PARAMETER, "value of parameter \"%s\" is longer than %ld bytes", d->name, d->max);
		break;
	case S_TEXT:
		break;
	}
	if (strlen(v) >= room)
		return error_set(err, ST_BAD_PARAMETER, "value of parameter \"%s\" is too long", d->name);
	snprintf(out, room, "%s", v);
	return ST_OK;
}

/* -- setting ---------------------------------------------------------------------------------------------------- */

enum status settings_set(struct settings *s, const char *name, const char *value, bool local, bool in_txn,
			 uint32_t level, struct error *err)
{
	int id = settings_find(name);
	char text[1024];
	enum status st;

	if (id < 0)
		return error_set(err, ST_UNDEFINED_OBJECT, "unrecognized configuration parameter \"%s\"", name);
	if (value) {
		st = canonical(&defs[id], value, text, sizeof text, err);
		if (st)
			return st;
	} else if (defs[id].kind == S_FIXED) {
		return error_set(err, ST_BAD_PARAMETER, "parameter \"%s\" cannot be changed", defs[id].name);
	}
	if (in_txn) {
		struct settings_undo u = {(uint16_t)id, local, level, s->values[id]};

		VEC_PUSH(s->mem, &s->undo, u);
	} else {
		drop(s, s->values[id]);
	}
	s->values[id] = value ? keep(s, text) : NULL;
	s->generation++;
	return ST_OK;
}

void settings_startup_done(struct settings *s)
{
	for (int i = 0; i < DEF_COUNT; i++)
		if (s->values[i]) {
			drop(s, s->startup[i]);
			s->startup[i] = s->values[i];
			s->values[i] = NULL;
		}
}

void settings_commit(struct settings *s)
{
	bool final[SETTINGS_MAX] = {false};

	/* backwards: a LOCAL goes, unless something later was set to stay */
	while (s->undo.count) {
		struct settings_undo u = s->undo.at[--s->undo.count];

		if (u.local && !final[u.id]) {
			drop(s, s->values[u.id]);
			s->values[u.id] = u.value;
			s->generation++;
			continue;
		}
		final[u.id] = true;
		drop(s, u.value);
	}
}

void settings_rollback(struct settings *s, uint32_t level)
{
	while (s->undo.count && s->undo.at[s->undo.count - 1].level >= level) {
		struct settings_undo u = s->undo.at[--s->undo.count];

		drop(s, s->values[u.id]);
		s->values[u.id] = u.value;
		s->generation++;
	}
}

void settings_release(struct settings *s, uint32_t level)
{
	for (size_t i = 0; i < s->undo.count; i++)
		if (s->undo.at[i].level >= level)
			s->undo.at[i].level = level - 1;
}
