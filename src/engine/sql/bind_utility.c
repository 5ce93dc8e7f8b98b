/* bind_utility.c - transactions, settings, cursors, prepared statements, EXPLAIN and the rest (engine/sql). */
#include "engine/sql/bind_int.h"

#include <ctype.h>
#include <strings.h>

#include "engine/sql/settings.h"

/* "CREATE VIEW" of "create or replace view v …": how a statement that we do not have is called. */
static const char *statement_words(struct bind *b, const char *text)
{
	static const char *const skip[] = {"OR", "REPLACE", "TEMP", "TEMPORARY", "GLOBAL", "LOCAL", "UNLOGGED", "TRUSTED",
					   "PROCEDURAL", "CONSTRAINT"};
	static const char *const pairs[] = {"CREATE", "ALTER", "DROP", "REFRESH", "REASSIGN", "IMPORT", "SECURITY", "SET"};
	static const char *const thirds[] = {"MATERIALIZED", "FOREIGN", "EVENT", "ACCESS", "TEXT", "USER", "DEFAULT", "OPERATOR"};
	char *out = arena_alloc(b->arena, 128);
	size_t at = 0, i, n;
	uint32_t words = 0, want = 1;

	while (words < want && *text) {
		char word[40];
		bool skipped = false;

		while (*text && !isalpha((unsigned char)*text))
			text++;
		for (n = 0; isalpha((unsigned char)*text) && n + 1 < sizeof word; text++)
			word[n++] = (char)toupper((unsigned char)*text);
		word[n] = 0;
		while (isalpha((unsigned char)*text))
			text++;
		if (!n)
			break;
		for (i = 0; words && i < sizeof skip / sizeof *skip; i++)
			skipped |= !strcmp(skip[i], word);
		if (skipped)
			continue;
		for (i = 0; !words && i < sizeof pairs / sizeof *pairs; i++)
			if (!strcmp(pairs[i], word))
				want = 2;
		for (i = 0; words == 1 && i < sizeof thirds / sizeof *thirds; i++)
			if (!strcmp(thirds[i], word))
				want = 3;
		if (at + n + 2 > 128)
			break;
		if (words++)
			out[at++] = ' ';
		memcpy(out + at, word, n);
		at += n;
	}
	return at ? out : "this statement";
}

static bool option_bool(struct bind *b, const struct ast_option *o, bool *out)
{
	const char *v = o->value;

	if (!v && !o->number_ok)
		*out = true;
	else if (o->number_ok && (o->number == 0 || o->number == 1))
		*out = o->number == 1;
	else if (v && (!strcasecmp(v, "true") || !strcasecmp(v, "on")))
		*out = true;
	else if (v && (!strcasecmp(v, "false") || !strcasecmp(v, "off")))
		*out = false;
	else
		return bind_fail(b, ST_SYNTAX, o->pos, "%s requires a Boolean value", o->name);
	return true;
}

/* -- transactions --------------------------------------------------------------------------------------------- */

static bool transaction_options(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	uint32_t i;

	for (i = 0; i < raw->option_count; i++) {
		const struct ast_option *o = &raw->options[i];
		const char *v = o->value ? o->value : "";

		if (!strcmp(o->name, "transaction_isolation")) {
			st->isolation_set = true;
			st->isolation = (uint8_t)isolation_named(v);
		} else if (!strcmp(o->name, "transaction_read_only")) {
			st->read_only_set = true;
			if (!option_bool(b, o, &st->read_only))
				return false;
		} else if (!strcmp(o->name, "transaction_deferrable")) {
			st->deferrable_set = true;
			if (!option_bool(b, o, &st->deferrable))
				return false;
		}
	}
	return true;
}

static bool bind_transaction(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	st->name = raw->name;
	if (raw->chain)
		return bind_unsupported(b, 0, "AND CHAIN");
	switch ((enum raw_type)raw->type) {
	case RAW_BEGIN:
		st->tag = raw->start ? "START TRANSACTION" : "BEGIN";
		return transaction_options(b, raw, st);
	case RAW_SET_TRANSACTION:
		st->tag = "SET";
		if (raw->name && !strcmp(raw->name, "TRANSACTION"))
			st->name = NULL;
		return transaction_options(b, raw, st);
	case RAW_COMMIT: st->tag = "COMMIT"; return true;
	case RAW_ROLLBACK:
	case RAW_ROLLBACK_TO: st->tag = "ROLLBACK"; return true;
	case RAW_SAVEPOINT: st->tag = "SAVEPOINT"; return true;
	default: st->tag = "RELEASE"; return true;
	}
}

/* -- prepared statements and cursors --------------------------------------------------------------------------- */

static bool bind_prepare(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	uint32_t i;

	st->tag = "PREPARE";
	st->name = raw->name;
	st->inner = raw->inner;
	st->arg_count = raw->type_count;
	st->arg_types = ARENA_NEW_N(b->arena, uint32_t, raw->type_count + 1);
	for (i = 0; i < raw->type_count; i++) {
		struct sql_type t;

		if (!bind_type(b, raw->types[i], &t))
			return false;
		st->arg_types[i] = t.oid;
	}
	return true;
}

static bool bind_execute(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	struct scope s;
	uint32_t i;

	st->tag = "EXECUTE";
	st->name = raw->name;
	scope_init(&s, b, NULL, Q_SELECT);
	st->arg_count = raw->args.count;
	st->args = ARENA_NEW_N(b->arena, struct expr *, raw->args.count + 1);
	for (i = 0; i < raw->args.count; i++)
		if (!(st->args[i] = bind_expr_place(&s, raw->args.at[i], AT_EXECUTE)))
			return false;
	return true;
}

static bool bind_declare(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	st->tag = "DECLARE CURSOR";
	st->name = raw->name;
	st->hold = raw->hold;
	if (raw->binary)
		return bind_unsupported(b, 0, "a binary cursor");
	if (raw->inner->type != RAW_SELECT)
		return bind_unsupported(b, 0, "a cursor for anything but a SELECT");
	if (raw->inner->select->into)
		return bind_fail(b, ST_SYNTAX, raw->inner->select->into->rel->pos, "DECLARE CURSOR must not contain SELECT ... INTO");
	st->query = bind_query_stmt(b, raw->inner);
	return st->query != NULL;
}

static bool bind_fetch(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	int64_t n = raw->fetch_count;

	st->tag = raw->is_move ? "MOVE" : "FETCH";
	st->name = raw->name;
	if (raw->direction > 1)
		return bind_unsupported(b, 0, raw->direction == 2 ? "FETCH ABSOLUTE" : "FETCH RELATIVE");
	st->fetch_backward = (raw->direction == 1) != (n < 0);
	st->fetch_count = n == INT64_MIN ? INT64_MAX : n < 0 ? -n : n;
	return true;
}

/* -- EXPLAIN ------------------------------------------------------------------------------------------------------- */

static bool explain_format(struct bind *b, const struct ast_option *o, struct stmt *st)
{
	const char *v = o->value ? o->value : "";

	if (!strcmp(v, "text"))
		st->explain_format = EXPLAIN_TEXT;
	else if (!strcmp(v, "json"))
		st->explain_format = EXPLAIN_JSON;
	else if (!strcmp(v, "xml") || !strcmp(v, "yaml"))
		return bind_unsupported(b, o->pos, "EXPLAIN in this format");
	else
		return bind_fail(b, ST_BAD_PARAMETER, o->pos, "unrecognized value for EXPLAIN option \"format\": \"%s\"", v);
	return true;
}

static bool explain_option(struct bind *b, const struct ast_option *o, struct stmt *st)
{
	static const char *const accepted[] = {"buffers", "settings", "wal", "timing", "summary"};
	bool ignored;
	size_t i;

	if (!strcmp(o->name, "analyze"))
		return option_bool(b, o, &st->analyze);
	if (!strcmp(o->name, "verbose"))
		return option_bool(b, o, &st->verbose);
	if (!strcmp(o->name, "costs"))
		return option_bool(b, o, &st->costs);
	if (!strcmp(o->name, "format"))
		return explain_format(b, o, st);
	for (i = 0; i < sizeof accepted / sizeof *accepted; i++)
		if (!strcmp(o->name, accepted[i]))
			return option_bool(b, o, &ignored);
	return bind_fail(b, ST_SYNTAX, o->pos, "unrecognized EXPLAIN option \"%s\"", o->name);
}

static bool bind_explain(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	const struct raw_stmt *inner = raw->inner;
	uint32_t i;

	st->tag = "EXPLAIN";
	st->costs = true;
	for (i = 0; i < raw->option_count; i++)
		if (!explain_option(b, &raw->options[i], st))
			return false;
	if (inner->type == RAW_UNSUPPORTED)
		return bind_unsupported(b, 0, "EXPLAIN of this statement");
	st->inner = raw->inner;
	if (inner->type > RAW_DELETE || (inner->type == RAW_SELECT && inner->select->into))
		return true; /* EXECUTE, CREATE TABLE AS, …: unbound */
	st->query = bind_query_stmt(b, inner);
	return st->query != NULL;
}

/* -- the rest -------------------------------------------------------------------------------------------------------- */

static bool bind_setting(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	(void)b;
	st->name = raw->all ? NULL : raw->name;
	st->value = raw->is_default ? NULL : raw->value;
	st->local = raw->local;
	st->tag = raw->type == RAW_SET ? "SET" : raw->type == RAW_RESET ? "RESET" : "SHOW";
	return true;
}

static bool bind_vacuum(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	st->tag = raw->name ? raw->name : raw->is_analyze ? "ANALYZE" : "VACUUM";
	st->analyze = raw->is_analyze;
	return bind_relation_list(b, raw, st, raw->is_analyze ? "analyze" : "vacuum");
}

static bool bind_comment(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	const struct virtual_rel *v;
	struct relation_def rel;

	st->tag = "COMMENT";
	st->value = raw->value;
	if (raw->object == AO_TABLE || raw->object == AO_INDEX || raw->object == AO_SEQUENCE)
		return bind_relation(b, raw->rel, &rel, &v);
	return true;
}

static bool bind_new_schema(struct bind *b, struct stmt *st)
{
	struct sequence_def *def;
	rel_id id;
	int there = bind_schema_there(b, st->name, &id);

	if (there < 0)
		return false;
	if (there && !strcmp(st->name, "public"))
		return true; /* it cannot be dropped, only emptied: programs that do both find it empty */
	if (there && st->if_exists) {
		bind_notice(b, arena_printf(b->arena, "schema \"%s\" already exists, skipping", st->name));
		return true;
	}
	if (there)
		return bind_fail(b, ST_DUPLICATE_SCHEMA, 0, "schema \"%s\" already exists", st->name);
	def = ARENA_NEW(b->arena, struct sequence_def);
	*def = (struct sequence_def){.schema = SCHEMA_OF_SCHEMAS, .name = st->name, .type_oid = T_INT8, .start = 1,
				     .increment = 1, .min = 1, .max = 1, .cache = 1};
	st->sequence.def = def;
	return true;
}

bool bind_utility(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	static const char *const discards[][2] = {
		{"ALL", "DISCARD ALL"}, {"PLANS", "DISCARD PLANS"}, {"SEQUENCES", "DISCARD SEQUENCES"}, {"TEMP", "DISCARD TEMP"},
	};
	size_t i;

	if (raw->type != RAW_UNSUPPORTED)
		st->kind = (uint8_t)raw_kind(raw);
	switch ((enum raw_type)raw->type) {
	case RAW_BEGIN: case RAW_COMMIT: case RAW_ROLLBACK: case RAW_SAVEPOINT: case RAW_RELEASE: case RAW_ROLLBACK_TO:
	case RAW_SET_TRANSACTION:
		return bind_transaction(b, raw, st);
	case RAW_SET: case RAW_RESET: case RAW_SHOW:
		return bind_setting(b, raw, st);
	case RAW_PREPARE: return bind_prepare(b, raw, st);
	case RAW_EXECUTE: return bind_execute(b, raw, st);
	case RAW_DEALLOCATE:
		st->name = raw->name;
		st->tag = raw->all ? "DEALLOCATE ALL" : "DEALLOCATE";
		return true;
	case RAW_DECLARE: return bind_declare(b, raw, st);
	case RAW_FETCH: return bind_fetch(b, raw, st);
	case RAW_CLOSE:
		st->name = raw->name;
		st->tag = raw->all ? "CLOSE CURSOR ALL" : "CLOSE CURSOR";
		return true;
	case RAW_EXPLAIN: return bind_explain(b, raw, st);
	case RAW_TRUNCATE:
		st->tag = "TRUNCATE TABLE";
		st->restart_identity = raw->restart_identity;
		st->cascade = raw->cascade;
		return bind_relation_list(b, raw, st, "truncate");
	case RAW_VACUUM: return bind_vacuum(b, raw, st);
	case RAW_DISCARD:
		st->name = raw->name;
		for (i = 0; i < sizeof discards / sizeof *discards; i++)
			if (!strcmp(discards[i][0], raw->name))
				st->tag = discards[i][1];
		return true;
	case RAW_LOCK:
		st->tag = "LOCK TABLE";
		st->lock_mode = (uint8_t)raw->lock_mode;
		st->lock_at_once = raw->nowait;
		return bind_relation_list(b, raw, st, "lock");
	case RAW_CREATE_SCHEMA:
		st->tag = "CREATE SCHEMA";
		st->name = raw->name ? name_cut(b, raw->name) : NULL;
		st->if_exists = raw->missing_ok;
		if (!st->name)
			return bind_unsupported(b, 0, "CREATE SCHEMA AUTHORIZATION");
		if (!strncmp(st->name, "pg_", 3)) {
			bind_fail(b, ST_RESERVED_NAME, 0, "unacceptable schema name \"%s\"", st->name);
			bind_detail(b, "The prefix \"pg_\" is reserved for system schemas.");
			return false;
		}
		return bind_new_schema(b, st);
	case RAW_COMMENT: return bind_comment(b, raw, st);
	default:
		return bind_unsupported(b, 0, raw->object_name && *raw->object_name ? raw->object_name
					: statement_words(b, raw->text));
	}
}
