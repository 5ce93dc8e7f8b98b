/*
 * copy_in.c - COPY FROM STDIN: text, csv and binary.
 *
 * Bytes arrive in pieces that need not end with a row. Complete rows are taken from the front of a buffer into a
 * batch of the change engine (dml.h); a full batch is put before more is parsed, so memory is one batch and one
 * row. A batch that waits leaves the rest to be fed again.
 */
#include "engine/sql/session.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "engine/sql/dml_defaults.h"

#define ROW_BYTES_MAX (64u << 20)
#define TAKE_BYTES_MAX (1u << 20) /* held beyond a row that is not complete */

enum copy_state { COPY_NEW, COPY_BEGUN, COPY_ENDED, COPY_OVER };
enum { ROW_OK, ROW_PART, ROW_END, ROW_BAD };

struct field { const char *p; uint32_t bytes; bool null, quoted; };
struct copy_in {
	struct sql_portal *portal;
	const struct copy_stmt *stmt;
	const struct table_def *table;
	struct exec ex;
	struct dml dml;
	struct plan_modify modify;
	struct default_value *defaults;
	uint32_t default_count, default_at;
	struct sql_type *types;
	uint8_t state;
	bool open, flushing, header_left, marker, binary_header;
	struct buf in;
	size_t in_at;           /* bytes of in that are parsed */
	uint32_t rows;          /* of the batch */
	uint64_t line;
	struct field *fields;
	uint32_t field_cap;
	const char *fail;
	char column[SCHEMA_NAME_MAX + 1];
};

void copy_in_free(struct copy_in *c)
{
	if (c->open)
		dml_fini(&c->dml);
	c->open = false;
	buf_fini(&c->in);
	c->portal->copy_in = NULL;
}

static void begin(struct sql_session *s, struct sql_portal *p)
{
	struct copy_in *c = ARENA_NEW(&p->arena, struct copy_in);
	const struct query *q = p->bound->stmt->copy->query;

	c->portal = p;
	c->stmt = p->bound->stmt->copy;
	c->table = q->table;
	c->ex = p->exec;
	c->ex.limit_bytes = 0;
	c->modify = *p->bound->root->plan->modify;
	dml_init(&c->dml, &c->ex, &c->modify);
	c->open = true;
	buf_init(&c->in, &p->mem);
	c->header_left = c->stmt->header;
	c->types = ARENA_NEW_N(&p->arena, struct sql_type, c->stmt->column_count + 1);
	for (uint32_t i = 0; i < c->stmt->column_count; i++) {
		const struct column_def *col = &c->table->columns[c->stmt->attnos[i] - 1];

		c->types[i] = (struct sql_type){col->type_oid, col->typmod};
	}
	c->defaults = ARENA_NEW_N(&p->arena, struct default_value, q->set_count + 1);
	for (uint32_t i = 0; i < q->set_count; i++) {
		const struct expr *e = q->set_exprs[i];

		if (e->kind == EX_CONST && e->value.null)
			continue; /* as it is */
		default_prepare(&c->defaults[c->default_count++], q->set_attnos[i], e, &p->arena);
	}
	c->field_cap = c->stmt->column_count + 1;
	c->fields = ARENA_NEW_N(&p->arena, struct field, c->field_cap);
	c->portal->copy_in = c;
	(void)s;
}

/* -- batches --------------------------------------------------------------------------------------------------------- */

static void batch_open(struct copy_in *c)
{
	dml_batch(&c->dml, Q_INSERT, VEC_ROWS);
	c->rows = 0;
	c->default_at = 0;
	for (uint32_t i = 0; i < VEC_ROWS; i++)
		for (uint32_t k = 0; k < c->table->column_count; k++)
			dml_new(&c->dml, i)[k].null = true;
}

/* Puts the batch. ST_WAIT: called again. */
static enum status flush(struct copy_in *c, struct error *err)
{
	enum status st = ST_OK;

	if (!c->flushing && c->rows == 0)
		return ST_OK;
	c->flushing = true;
	c->ex.err = err;
	c->dml.n = c->rows;
	for (; c->default_at < c->default_count && !st; c->default_at += !st)
		st = default_fill(&c->defaults[c->default_at], &c->dml, c->rows);
	if (!st)
		st = dml_run(&c->dml);
	if (st == ST_AGAIN) /* what was read is gone: it cannot be run again */
		st = error_set(err, ST_SERIALIZATION, "could not serialize access due to concurrent update");
	if (!st) {
		c->flushing = false;
		c->rows = 0;
	}
	return st;
}

/* -- bytes ----------------------------------------------------------------------------------------------------------- */

static bool utf8_ok(const uint8_t *p, size_t n, size_t *bad)
{
	size_t i = 0;

	while (i < n) {
		uint64_t w;
		uint32_t len, v;

		while (i + 8 <= n) {
			memcpy(&w, p + i, 8);
			/* ASCII and no zero byte */
			if ((w & UINT64_C(0x8080808080808080)) || ((w - UINT64_C(0x0101010101010101)) & ~w & UINT64_C(0x8080808080808080)))
				break;
			i += 8;
		}
		if (i >= n)
			break;
		*bad = i;
		if (p[i] == 0)
			return false;
		if (p[i] < 0x80) {
			i++;
			continue;
		}
		len = p[i] >= 0xf0 ? 4 : p[i] >= 0xe0 ? 3 : 2;
		if (p[i] < 0xc2 || p[i] > 0xf4 || i + len > n)
			return false;
		v = p[i] & (0xffu >> (len + 1));
		for (uint32_t k = 1; k < len; k++) {
			if ((p[i + k] & 0xc0) != 0x80)
				return false;
			v = v << 6 | (p[i + k] & 0x3f);
		}
		if ((len == 3 && (v < 0x800 || (v >= 0xd800 && v < 0xe000))) || (len == 4 && (v < 0x10000 || v > 0x10ffff)))
			return false;
		i += len;
	}
	return true;
}

static enum status place(struct copy_in *c, enum status st, struct error *err, const struct field *f)
{
	if (err->context[0] == 0) {
		if (c->column[0] && f && !f->null)
			error_context(err, "COPY %s, line %llu, column %s: \"%.*s\"", c->table->name, (unsigned long long)c->line,
				     c->column, f->bytes > 100 ? 100 : (int)f->bytes, f->p);
		else if (c->column[0])
			error_context(err, "COPY %s, line %llu, column %s", c->table->name, (unsigned long long)c->line, c->column);
		else
			error_context(err, "COPY %s, line %llu", c->table->name, (unsigned long long)c->line);
	}
	return st;
}

static int bad(struct copy_in *c, struct error *err, const char *what)
{
	(void)error_set(err, ST_BAD_COPY, "%s", what);
	c->column[0] = 0;
	(void)place(c, ST_BAD_COPY, err, NULL);
	return ROW_BAD;
}

static bool add_field(struct copy_in *c, uint32_t *n, const char *p, size_t bytes, bool null, bool quoted)
{
	if (*n >= c->field_cap)
		return false;
	c->fields[(*n)++] = (struct field){p, (uint32_t)bytes, null, quoted};
	return true;
}

/* -- text -------------------------------------------------------------------------------------------------------------- */

static int hex(char ch)
{
	return ch >= '0' && ch <= '9' ? ch - '0' : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10 : -1;
}

/* Escapes of one field, in place. */
static size_t unescape(char *p, size_t n)
{
	size_t w = 0;

	for (size_t i = 0; i < n; i++) {
		char ch = p[i];

		if (ch != '\\' || i + 1 >= n) {
			p[w++] = ch;
			continue;
		}
		ch = p[++i];
		switch (ch) {
		case 'b': p[w++] = '\b'; break;
		case 'f': p[w++] = '\f'; break;
		case 'n': p[w++] = '\n'; break;
		case 'r': p[w++] = '\r'; break;
		case 't': p[w++] = '\t'; break;
		case 'v': p[w++] = '\v'; break;
		case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': {
			int v = ch - '0';

			for (int k = 0; k < 2 && i + 1 < n && p[i + 1] >= '0' && p[i + 1] <= '7'; k++)
				v = v * 8 + (p[++i] - '0');
			p[w++] = (char)v;
			break;
		}
		case 'x':
			if (i + 1 < n && hex(p[i + 1]) >= 0) {
				int v = hex(p[++i]);

				if (i + 1 < n && hex(p[i + 1]) >= 0)
					v = v * 16 + hex(p[++i]);
				p[w++] = (char)v;
				break;
			}
			p[w++] = ch;
			break;
		default:
			p[w++] = ch;
		}
	}
	return w;
}

/* One line of text format from the front of [p, end). */
static int text_row(struct copy_in *c, const char *p, const char *end, bool last, size_t *used, uint32_t *fields_out,
		    struct error *err)
{
	const char delim = c->stmt->delimiter, *null = c->stmt->null_text;
	size_t null_bytes = strlen(null), bytes;
	const char *eol = p;
	char *line, *start, *q;
	uint32_t n = 0;
	bool escaped = false, any = false;

	while (eol < end && *eol != '\n' && *eol != '\r') {
		if (*eol == '\\') {
			any = true;
			eol++;
			if (eol == end)
				break;
		}
		eol++;
	}
	if (eol >= end && !last)
		return ROW_PART;
	if (eol > end)
		eol = end;
	if (eol < end && *eol == '\r' && eol + 1 == end && !last)
		return ROW_PART; /* \r\n may be cut in two */
	bytes = (size_t)(eol - p);
	*used = bytes + (eol < end) + (eol + 1 < end && *eol == '\r' && eol[1] == '\n');
	if (bytes == 2 && p[0] == '\\' && p[1] == '.')
		return ROW_END;
	line = arena_alloc(&c->dml.arena, bytes + 1);
	memcpy(line, p, bytes);
	for (start = q = line;; q++) {
		if (q < line + bytes && *q != delim) {
			if (*q == '\\' && any) {
				escaped = true;
				q++;
			}
			continue;
		}
		if (q > line + bytes)
			q = line + bytes;
		{
			size_t len = (size_t)(q - start);
			bool is_null = len == null_bytes && !memcmp(start, null, len);

			if (escaped && !is_null)
				len = unescape(start, len);
			if (!add_field(c, &n, start, len, is_null, false))
				return bad(c, err, "extra data after last expected column");
		}
		escaped = false;
		start = q + 1;
		if (q >= line + bytes)
			break;
	}
	*fields_out = n;
	return ROW_OK;
}

/* -- csv ---------------------------------------------------------------------------------------------------------------- */

static int csv_row(struct copy_in *c, const char *p, const char *end, bool last, size_t *used, uint32_t *fields_out,
		   struct error *err)
{
	const struct copy_stmt *s = c->stmt;
	size_t null_bytes = strlen(s->null_text);
	struct arena_mark mark = arena_mark(&c->dml.arena);
	const char *at = p;
	uint32_t n = 0;
	char *w = NULL;
	const char *line_end = p;
	bool in = false;

	/* the end of the row: a newline outside of quotes */
	for (; line_end < end && (in || (*line_end != '\n' && *line_end != '\r')); line_end++) {
		if (in && *line_end == s->escape && s->escape != s->quote && line_end + 1 < end)
			line_end++;
		else if (*line_end == s->quote)
			in = !in;
	}
	if (line_end >= end && !last)
		return ROW_PART;
	if (line_end >= end && in)
		return bad(c, err, "unterminated CSV quoted field");
	if (line_end < end && *line_end == '\r' && line_end + 1 == end && !last)
		return ROW_PART;
	*used = (size_t)(line_end - p) + (line_end < end) + (line_end + 1 < end && *line_end == '\r' && line_end[1] == '\n');
	if (line_end - p == 2 && p[0] == '\\' && p[1] == '.')
		return ROW_END;
	w = arena_alloc(&c->dml.arena, (size_t)(line_end - p) + 1);
	(void)mark;
	for (;;) {
		char *start = w;
		bool quoted = false;
		bool is_null;

		in = false;
		for (; at < line_end && (in || *at != s->delimiter); at++) {
			if (in && *at == s->escape && at + 1 < line_end && (at[1] == s->quote || at[1] == s->escape)) {
				*w++ = *++at;
			} else if (*at == s->quote) {
				in = !in;
				quoted = true;
			} else {
				*w++ = *at;
			}
		}
		is_null = (size_t)(w - start) == null_bytes && !memcmp(start, s->null_text, null_bytes) &&
			  (quoted ? n < s->column_count && s->force_null && s->force_null[n] :
				    !(n < s->column_count && s->force_not_null && s->force_not_null[n]));
		if (!add_field(c, &n, start, (size_t)(w - start), is_null, quoted))
			return bad(c, err, "extra data after last expected column");
		if (at >= line_end)
			break;
		at++;
	}
	*fields_out = n;
	return ROW_OK;
}

/* -- rows ---------------------------------------------------------------------------------------------------------------- */

static bool quick_int(const struct field *f, uint32_t oid, struct cell *out)
{
	uint64_t v = 0;
	bool neg = f->bytes && f->p[0] == '-';

	if (f->bytes - neg == 0 || f->bytes - neg > 9)
		return false;
	for (uint32_t i = neg; i < f->bytes; i++) {
		if (f->p[i] < '0' || f->p[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(f->p[i] - '0');
	}
	*out = (struct cell){.phys = oid == T_INT4 ? PHYS_I32 : PHYS_I64, .i = neg ? -(int64_t)v : (int64_t)v};
	return true;
}

/* HEADER MATCH: the first line names the columns, in the list's order. */
static enum status match_header(struct copy_in *c, uint32_t n, struct error *err)
{
	const struct copy_stmt *s = c->stmt;

	c->column[0] = 0;
	if (n != s->column_count) {
		(void)error_set(err, ST_BAD_COPY, "wrong number of fields in header line: got %u, expected %u", n, s->column_count);
		return place(c, ST_BAD_COPY, err, NULL);
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct field *f = &c->fields[i];
		const char *name = c->table->columns[s->attnos[i] - 1].name;

		if (f->null)
			(void)error_set(err, ST_BAD_COPY, "column name mismatch in header line field %u: got null value (\"%s\"), "
					"expected \"%s\"", i + 1, s->null_text ? s->null_text : s->csv ? "" : "\\N", name);
		else if (f->bytes != strlen(name) || memcmp(f->p, name, f->bytes))
			(void)error_set(err, ST_BAD_COPY, "column name mismatch in header line field %u: got \"%.*s\", expected \"%s\"",
					i + 1, f->bytes > 100 ? 100 : (int)f->bytes, f->p, name);
		else
			continue;
		return place(c, ST_BAD_COPY, err, NULL);
	}
	return ST_OK;
}

static enum status store_row(struct copy_in *c, uint32_t n, struct error *err)
{
	const struct copy_stmt *s = c->stmt;
	struct cell *row;

	c->column[0] = 0;
	if (n < s->column_count && !(n == 1 && s->column_count == 0)) {
		snprintf(c->column, sizeof c->column, "%s", c->table->columns[s->attnos[n] - 1].name);
		(void)error_set(err, ST_BAD_COPY, "missing data for column \"%s\"", c->column);
		c->column[0] = 0;
		return place(c, ST_BAD_COPY, err, NULL);
	}
	if (n > s->column_count && !(n == 1 && s->column_count == 0 && c->fields[0].bytes == 0)) {
		(void)error_set(err, ST_BAD_COPY, "extra data after last expected column");
		return place(c, ST_BAD_COPY, err, NULL);
	}
	if (c->dml.phase != 0)
		batch_open(c);
	row = dml_new(&c->dml, c->rows);
	for (uint32_t i = 0; i < s->column_count; i++) {
		const struct field *f = &c->fields[i];
		struct cell *to = &row[s->attnos[i] - 1];
		uint32_t oid = c->types[i].oid;
		size_t where;
		enum status st;

		if (f->null)
			continue;
		if ((oid == T_INT4 || oid == T_INT8) && quick_int(f, oid, to))
			continue;
		snprintf(c->column, sizeof c->column, "%s", c->table->columns[s->attnos[i] - 1].name);
		if (!utf8_ok((const uint8_t *)f->p, f->bytes, &where)) {
			(void)error_set(err, ST_BAD_ENCODING, "invalid byte sequence for encoding \"UTF8\": 0x%02x", (unsigned char)f->p[where]);
			c->column[0] = 0;
			return place(c, ST_BAD_ENCODING, err, NULL);
		}
		st = value_in(c->types[i], f->p, f->bytes, &c->dml.arena, to, err);
		if (st)
			return place(c, st, err, f);
		c->column[0] = 0;
	}
	c->rows++;
	return ST_OK;
}

/* Binary: a header, then tuples. */
static int binary_row(struct copy_in *c, const uint8_t *p, const uint8_t *end, size_t *used, struct error *err)
{
	static const uint8_t signature[11] = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xff, '\r', '\n', 0};
	const struct copy_stmt *s = c->stmt;
	struct reader r = reader_init(p, (size_t)(end - p));
	struct cell *row;
	uint16_t n;

	*used = 0;
	if (!c->binary_header) {
		uint32_t flags, extra;

		if (reader_left(&r) < 19)
			return ROW_PART;
		if (memcmp(p, signature, sizeof signature))
			return bad(c, err, "COPY file signature not recognized");
		(void)get_raw(&r, 11);
		flags = be_get_u32(&r);
		extra = be_get_u32(&r);
		if (flags & 0xffff0000u || extra > 65536)
			return bad(c, err, "unrecognized critical flags in COPY file header");
		if (!get_raw(&r, extra))
			return ROW_PART;
		c->binary_header = true;
		*used = (size_t)(r.p - p);
		return ROW_OK;
	}
	n = be_get_u16(&r);
	if (!reader_ok(&r))
		return ROW_PART;
	*used = 2;
	if (n == 0xffff)
		return ROW_END;
	c->line++;
	if (n != s->column_count)
		return bad(c, err, "row field count does not match the number of columns");
	if (c->dml.phase != 0)
		batch_open(c);
	row = dml_new(&c->dml, c->rows);
	for (uint32_t i = 0; i < n; i++) {
		int32_t bytes = (int32_t)be_get_u32(&r);
		const uint8_t *v = bytes > 0 ? get_raw(&r, (size_t)bytes) : r.p;
		struct cell *to = &row[s->attnos[i] - 1];
		enum status st;

		if (!reader_ok(&r)) {
			c->line--;
			return ROW_PART;
		}
		if (bytes < 0) {
			*to = (struct cell){.null = true};
			continue;
		}
		st = value_recv(c->types[i], v, (size_t)bytes, &c->dml.arena, to, err);
		if (st) {
			snprintf(c->column, sizeof c->column, "%s", c->table->columns[s->attnos[i] - 1].name);
			(void)place(c, st, err, NULL);
			return ROW_BAD;
		}
		if (to->phys == PHYS_VAR)
			to->var = arena_dup(&c->dml.arena, to->var, to->bytes);
	}
	*used = (size_t)(r.p - p);
	c->rows++;
	return ROW_OK;
}

/* Parses what is complete; ST_WAIT: a batch waits. last: no more bytes come. */
static enum status parse(struct copy_in *c, bool last, struct error *err)
{
	while (!c->marker) {
		const char *p = (const char *)c->in.data + c->in_at, *end = (const char *)c->in.data + c->in.size;
		size_t used = 0;
		uint32_t n = 0;
		enum status st;
		int got;

		if (c->flushing || c->rows == VEC_ROWS) {
			st = flush(c, err);
			if (st)
				return st;
		}
		if (p == end)
			break;
		if (c->dml.phase != 0)
			batch_open(c); /* fields are kept in its arena */
		if (c->stmt->binary) {
			got = binary_row(c, (const uint8_t *)p, (const uint8_t *)end, &used, err);
		} else {
			c->line++;
			got = c->stmt->csv ? csv_row(c, p, end, last, &used, &n, err) : text_row(c, p, end, last, &used, &n, err);
		}
		if (got == ROW_BAD)
			return err->code;
		if (got == ROW_PART) {
			if (!c->stmt->binary)
				c->line--;
			if (last)
				return bad(c, err, "unexpected EOF in COPY data") ? err->code : ST_OK;
			break;
		}
		c->in_at += used;
		if (got == ROW_END) {
			c->marker = true;
			break;
		}
		if (c->stmt->binary)
			continue;
		if (c->header_left) {
			c->header_left = false;
			if (c->stmt->header_match) {
				st = match_header(c, n, err);
				if (st)
					return st;
			}
			continue;
		}
		st = store_row(c, n, err);
		if (st)
			return st;
	}
	if (c->marker)
		c->in_at = c->in.size; /* what follows the end mark is nobody's */
	buf_consume(&c->in, c->in_at);
	c->in_at = 0;
	return ST_OK;
}

/* -- what the protocol calls ------------------------------------------------------------------------------------------------ */

bool sql_portal_copying_in(const struct sql_portal *p)
{
	return p->copy_in && p->copy_in->state == COPY_BEGUN;
}

enum status sql_copy_data(struct sql_session *s, struct sql_portal *p, const void *data, size_t bytes, size_t *taken_out,
			  struct error *err)
{
	struct copy_in *c = p->copy_in;
	enum status st;

	*taken_out = 0;
	error_clear(err);
	if (!sql_portal_copying_in(p))
		return ST_OK;
	value_settings_use(&s->values);
	st = session_interrupted(s, err);
	/* what waited first; then the new bytes, unless much is left */
	if (!st && c->in.size)
		st = parse(c, false, err);
	if (!st && c->in.size > ROW_BYTES_MAX)
		st = error_set(err, ST_PROGRAM_LIMIT, "a row of more than %u MB", ROW_BYTES_MAX >> 20);
	if (!st) {
		size_t n = bytes < TAKE_BYTES_MAX ? bytes : TAKE_BYTES_MAX;

		buf_put(&c->in, data, n);
		*taken_out = n;
		st = parse(c, false, err);
		if (!st && n < bytes)
			st = ST_WAIT;
		if (st == ST_WAIT && n == bytes)
			st = ST_OK; /* all is taken: what waits is done with the next piece */
	}
	return st && st != ST_WAIT ? portal_failed(s, p, st, err) : st;
}

void sql_copy_done(struct sql_session *s, struct sql_portal *p)
{
	(void)s;
	if (sql_portal_copying_in(p))
		p->copy_in->state = COPY_ENDED;
}

void sql_copy_fail(struct sql_session *s, struct sql_portal *p, const char *why)
{
	(void)s;
	if (!sql_portal_copying_in(p))
		return;
	p->copy_in->state = COPY_ENDED;
	p->copy_in->fail = arena_strdup(&p->arena, why);
}

enum status copy_in_step(struct sql_session *s, struct sql_portal *p, const struct sql_sink *sink, struct error *err)
{
	struct copy_in *c;
	enum status st;

	if (p->phase < PORTAL_RUN) {
		if (s->txn_read_only && s->block != BLOCK_NONE)
			return error_set(err, ST_READ_ONLY, "cannot execute COPY FROM in a read-only transaction");
		st = portal_begin(s, p, err);
		if (st)
			return st;
	}
	if (!p->copy_in) {
		begin(s, p);
		p->copy_in->state = COPY_BEGUN;
		if (sink->copy_in_begin)
			sink->copy_in_begin(sink->ctx, p->copy_in->stmt->column_count, p->copy_in->stmt->binary);
	}
	c = p->copy_in;
	if (c->state == COPY_BEGUN)
		return ST_WAIT;
	if (c->fail)
		return error_set(err, ST_CANCELED, "COPY from stdin failed: %s", c->fail);
	st = parse(c, true, err);
	if (!st && c->stmt->binary && c->in.size)
		st = error_set(err, ST_BAD_COPY, "unexpected EOF in COPY data");
	if (!st)
		st = flush(c, err);
	if (st)
		return st;
	p->tag = arena_printf(&p->arena, "COPY %llu", (unsigned long long)c->dml.affected);
	c->state = COPY_OVER;
	access_statement_end(s->access);
	p->in_statement = false;
	exec_close(&p->exec);
	p->phase = PORTAL_DONE;
	return ST_OK;
}
