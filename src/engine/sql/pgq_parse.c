/*
 * pgq_parse.c - calls libpg_query and copies its raw tree (engine/sql).
 *
 * Why the raw tree: the protobuf of the public interface costs 20 times as much as parsing. The functions below are
 * exported and declared by pg_query_internal.h, which needs headers that the package does not install.
 * The library's memory contexts are thread-local variables in it that the headers' macros cannot reach: enter
 * and exit by its own functions only, and copy everything out in between.
 */
#include "engine/sql/pgq_int.h"

#include <stdlib.h>

#include <pg_query.h>

struct pgq_raw { List *tree; char *stderr_buffer; PgQueryError *error; };
struct pgq_raw pg_query_raw_parse(const char *input);
void *pg_query_enter_memory_context(void);
void pg_query_exit_memory_context(void *cx);
void pg_query_free_error(PgQueryError *error);

static void mark_characters(struct pgq *p)
{
	size_t i, chars = 0;
	bool ascii = true;

	for (i = 0; i < p->bytes && ascii; i++)
		ascii = !((unsigned char)p->text[i] & 0x80);
	if (ascii)
		return;
	p->marks = ARENA_NEW_N(p->arena, uint32_t, p->bytes / PGQ_MARK_BYTES + 1);
	for (i = 0; i <= p->bytes; i++) {
		if (i % PGQ_MARK_BYTES == 0)
			p->marks[i / PGQ_MARK_BYTES] = (uint32_t)chars;
		chars += ((unsigned char)p->text[i] & 0xc0) != 0x80;
	}
}

int pgq_position(const struct pgq *p, int byte_offset)
{
	size_t at = (size_t)byte_offset, i;
	uint32_t chars;

	if (byte_offset < 0 || at > p->bytes)
		return 0;
	if (!p->marks)
		return byte_offset + 1;
	chars = p->marks[at / PGQ_MARK_BYTES];
	for (i = at / PGQ_MARK_BYTES * PGQ_MARK_BYTES; i < at; i++)
		chars += ((unsigned char)p->text[i] & 0xc0) != 0x80;
	return (int)chars + 1;
}

bool pgq_enter(struct pgq *p)
{
	if (p->depth >= AST_DEPTH_MAX) {
		if (p->st == ST_OK) {
			p->st = error_set(p->err, ST_TOO_COMPLEX, "statement is nested too deeply");
			error_hint(p->err, "At most %d levels are allowed.", AST_DEPTH_MAX);
		}
		return false;
	}
	p->depth++;
	return p->st == ST_OK;
}

void pgq_leave(struct pgq *p)
{
	if (p->depth)
		p->depth--;
}

char *pgq_str(struct pgq *p, const char *s)
{
	return s ? arena_strdup(p->arena, s) : NULL;
}

void pgq_names(struct pgq *p, const List *list, struct ast_names *out)
{
	ListCell *cell;

	out->count = 0;
	out->at = list ? ARENA_NEW_N(p->arena, const char *, list_length(list)) : NULL;
	foreach(cell, list) {
		const Node *n = lfirst(cell);

		if (n && IsA(n, String))
			out->at[out->count++] = pgq_str(p, strVal(n));
	}
}

const char *pgq_last_name(const List *list)
{
	const Node *n = list ? llast(list) : NULL;

	return n && IsA(n, String) ? strVal(n) : NULL;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Past white space and comments, which the scanner counts to the statement that follows. */
static size_t skip_blank(const char *text, size_t at, size_t end)
{
	for (;;) {
		while (at < end && is_space(text[at]))
			at++;
		if (at + 1 < end && text[at] == '-' && text[at + 1] == '-') {
			while (at < end && text[at] != '\n' && text[at] != '\r')
				at++;
		} else if (at + 1 < end && text[at] == '/' && text[at + 1] == '*') {
			uint32_t depth = 1;

			for (at += 2; at < end && depth; at++) {
				if (at + 1 < end && text[at] == '/' && text[at + 1] == '*')
					depth++, at++;
				else if (at + 1 < end && text[at] == '*' && text[at + 1] == '/')
					depth--, at++;
			}
		} else {
			return at;
		}
	}
}

static void locate(struct pgq *p, const RawStmt *raw, const char *source, struct raw_stmt *s)
{
	size_t at = raw->stmt_location > 0 ? (size_t)raw->stmt_location : 0;
	size_t end = raw->stmt_len > 0 ? at + (size_t)raw->stmt_len : p->bytes;

	if (end > p->bytes)
		end = p->bytes;
	at = skip_blank(p->text, at, end);
	while (end > at && is_space(p->text[end - 1]))
		end--;
	s->source = source;
	s->text = arena_strndup(p->arena, p->text + at, end - at);
	s->location = pgq_position(p, (int)at) - 1;
	if (s->inner) { /* what PREPARE, EXPLAIN and DECLARE hold speaks of the same text */
		s->inner->source = source;
		s->inner->text = s->text;
		s->inner->location = s->location;
	}
}

static enum status copy_error(const PgQueryError *e, struct error *err)
{
	enum status st = ST_SYNTAX;
	const char *m = e->message ? e->message : "syntax error";

	if (strstr(m, "memory exhausted"))
		st = ST_TOO_COMPLEX;
	else if (strstr(m, "is not supported") || strstr(m, "not yet supported") || strstr(m, "not implemented"))
		st = ST_UNSUPPORTED;
	else if (strstr(m, "invalid Unicode") || strstr(m, "invalid byte sequence"))
		st = ST_BAD_ENCODING;
	st = error_set(err, st, "%s", m);
	if (err)
		err->position = e->cursorpos > 0 ? e->cursorpos : 0;
	return st;
}

enum status pgq_parse(const char *text, struct arena *arena, uint32_t *count_out, struct raw_stmt ***out,
		      struct error *err)
{
	struct pgq p = {.arena = arena, .err = err, .text = text, .bytes = strlen(text)};
	void *cx = pg_query_enter_memory_context();
	struct pgq_raw raw = pg_query_raw_parse(text);
	const char *source;
	ListCell *cell;
	uint32_t n = 0;

	if (raw.error) {
		p.st = copy_error(raw.error, err);
		pg_query_free_error(raw.error);
		goto done;
	}
	mark_characters(&p);
	source = arena_strndup(arena, text, p.bytes);
	*out = ARENA_NEW_N(arena, struct raw_stmt *, list_length(raw.tree) + 1);
	foreach(cell, raw.tree) {
		const RawStmt *rs = lfirst(cell);
		struct raw_stmt *s = pgq_stmt(&p, rs->stmt);

		if (p.st != ST_OK)
			goto done;
		locate(&p, rs, source, s);
		(*out)[n++] = s;
	}
	*count_out = n;
done:
	free(raw.stderr_buffer);
	pg_query_exit_memory_context(cx);
	return p.st;
}
