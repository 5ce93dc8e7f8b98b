/*
 * bind_copy.c - COPY (engine/sql).
 *
 * TO: a SELECT of the columns, or the query given. FROM: an INSERT without a source; its set list has the defaults of the
 * columns that do not come from the client.
 */
#include "engine/sql/bind_int.h"

#include <strings.h>

static bool one_byte(struct bind *b, const struct ast_option *o, const char *what, char *out)
{
	const char *v = o->value ? o->value : "";

	if (strlen(v) != 1)
		return bind_fail(b, ST_UNSUPPORTED, 0, "COPY %s must be a single one-byte character", what);
	*out = v[0];
	return true;
}

static bool copy_flag(struct bind *b, const struct ast_option *o, bool *out)
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

static bool copy_format(struct bind *b, const struct ast_option *o, struct copy_stmt *c)
{
	const char *v = o->value ? o->value : "";

	if (!strcmp(v, "csv"))
		c->csv = true;
	else if (!strcmp(v, "binary"))
		c->binary = true;
	else if (strcmp(v, "text") != 0)
		return bind_fail(b, ST_BAD_PARAMETER, o->pos, "COPY format \"%s\" not recognized", v);
	return true;
}

static bool copy_option(struct bind *b, const struct ast_option *o, struct copy_stmt *c)
{
	if (!strcmp(o->name, "format"))
		return copy_format(b, o, c);
	if (!strcmp(o->name, "freeze"))
		return copy_flag(b, o, &c->freeze);
	if (!strcmp(o->name, "header") && o->value && !strcasecmp(o->value, "match"))
		return c->header = c->header_match = true;
	if (!strcmp(o->name, "header"))
		return copy_flag(b, o, &c->header);
	if (!strcmp(o->name, "delimiter"))
		return one_byte(b, o, "delimiter", &c->delimiter);
	if (!strcmp(o->name, "quote"))
		return one_byte(b, o, "quote", &c->quote);
	if (!strcmp(o->name, "escape"))
		return one_byte(b, o, "escape", &c->escape);
	if (!strcmp(o->name, "null")) {
		c->null_text = o->value ? o->value : "";
		return true;
	}
	if (!strcmp(o->name, "encoding")) {
		const char *v = o->value ? o->value : "";

		if (!strcasecmp(v, "utf8") || !strcasecmp(v, "utf-8") || !strcasecmp(v, "unicode"))
			return true;
		return bind_fail(b, ST_UNSUPPORTED, o->pos, "COPY in encoding \"%s\" is not supported", v);
	}
	if (!strcmp(o->name, "force_quote") || !strcmp(o->name, "force_not_null") || !strcmp(o->name, "force_null"))
		return true; /* names columns: copy_forces */
	return bind_fail(b, ST_SYNTAX, o->pos, "option \"%s\" not recognized", o->name);
}

static bool copy_options(struct bind *b, const struct ast_copy *a, struct copy_stmt *c)
{
	uint32_t i, k;

	for (i = 0; i < a->option_count; i++) {
		for (k = 0; k < i; k++)
			if (!strcmp(a->options[i].name, a->options[k].name))
				return bind_fail(b, ST_SYNTAX, a->options[i].pos, "conflicting or redundant options");
		if (!copy_option(b, &a->options[i], c))
			return false;
	}
	if (c->binary && (c->delimiter || c->null_text || c->header))
		return bind_fail(b, ST_SYNTAX, 0, "cannot specify %s in BINARY mode", c->delimiter ? "DELIMITER"
				 : c->null_text ? "NULL" : "HEADER");
	if (!c->csv && (c->quote || c->escape))
		return bind_fail(b, ST_UNSUPPORTED, 0, "COPY %s available only in CSV mode", c->quote ? "quote" : "escape");
	if (!c->delimiter)
		c->delimiter = c->csv ? ',' : '\t';
	if (!c->null_text)
		c->null_text = c->csv ? "" : "\\N";
	if (c->csv && !c->quote)
		c->quote = '"';
	if (c->csv && !c->escape)
		c->escape = c->quote;
	if (c->delimiter == '\n' || c->delimiter == '\r')
		return bind_fail(b, ST_BAD_PARAMETER, 0, "COPY delimiter cannot be newline or carriage return");
	if (strpbrk(c->null_text, "\r\n"))
		return bind_fail(b, ST_BAD_PARAMETER, 0, "COPY null representation cannot use newline or carriage return");
	if (!c->csv && strchr("\\.abcdefghijklmnopqrstuvwxyz0123456789", c->delimiter))
		return bind_fail(b, ST_BAD_PARAMETER, 0, "COPY delimiter cannot be \"%c\"", c->delimiter);
	if (c->csv && c->delimiter == c->quote)
		return bind_fail(b, ST_BAD_PARAMETER, 0, "COPY delimiter and quote must be different");
	if (!c->binary && strchr(c->null_text, c->delimiter))
		return bind_fail(b, ST_BAD_PARAMETER, 0, "COPY delimiter must not appear in the NULL specification");
	return true;
}

static const char *copied_name(const struct copy_stmt *c, uint32_t i)
{
	return c->table ? c->table->columns[c->attnos[i] - 1].name : c->query->targets[i].name;
}

static bool copy_force(struct bind *b, const struct ast_option *o, struct copy_stmt *c, bool **out, const char *words)
{
	bool from_only = out != &c->force_quote;
	uint32_t i, k;

	if (!c->csv)
		return bind_fail(b, ST_UNSUPPORTED, 0, "COPY %s available only in CSV mode", words);
	if (from_only != c->from)
		return bind_fail(b, ST_UNSUPPORTED, 0, "COPY %s only available using COPY %s", words, from_only ? "FROM" : "TO");
	*out = ARENA_NEW_N(b->arena, bool, c->column_count + 1);
	for (k = 0; o->star && k < c->column_count; k++)
		(*out)[k] = true;
	for (i = 0; i < o->names.count; i++) {
		for (k = 0; k < c->column_count && strcmp(copied_name(c, k), o->names.at[i]) != 0; k++)
			;
		if (k == c->column_count && c->table && !table_column(c->table, o->names.at[i]))
			return bind_fail(b, ST_UNDEFINED_COLUMN, 0, "column \"%s\" of relation \"%s\" does not exist",
					 o->names.at[i], c->table->name);
		if (k == c->column_count)
			return bind_fail(b, ST_BAD_COLUMN_REFERENCE, 0, "%s column \"%s\" not referenced by COPY", words,
					 o->names.at[i]);
		(*out)[k] = true;
	}
	return true;
}

static bool copy_forces(struct bind *b, const struct ast_copy *a, struct copy_stmt *c)
{
	uint32_t i;

	for (i = 0; i < a->option_count; i++) {
		const struct ast_option *o = &a->options[i];

		if ((!strcmp(o->name, "force_quote") && !copy_force(b, o, c, &c->force_quote, "force quote")) ||
		    (!strcmp(o->name, "force_not_null") && !copy_force(b, o, c, &c->force_not_null, "force not null")) ||
		    (!strcmp(o->name, "force_null") && !copy_force(b, o, c, &c->force_null, "force null")))
			return false;
	}
	return true;
}

static bool copy_columns(struct bind *b, const struct ast_copy *a, struct copy_stmt *c)
{
	const struct table_def *t = c->table;
	uint32_t i, k;

	c->attnos = ARENA_NEW_N(b->arena, uint16_t, t->column_count + a->columns.count + 1);
	for (i = 0; !a->columns.count && i < t->column_count; i++)
		if (!t->columns[i].dropped)
			c->attnos[c->column_count++] = t->columns[i].attno;
	for (i = 0; i < a->columns.count; i++) {
		const struct column_def *col = table_column(t, a->columns.at[i]);

		if (!col)
			return bind_fail(b, ST_UNDEFINED_COLUMN, 0, "column \"%s\" of relation \"%s\" does not exist",
					 a->columns.at[i], t->name);
		for (k = 0; k < c->column_count; k++)
			if (c->attnos[k] == col->attno)
				return bind_fail(b, ST_DUPLICATE_COLUMN, 0, "column \"%s\" specified more than once", col->name);
		c->attnos[c->column_count++] = col->attno;
	}
	return true;
}

static bool copy_in_query(struct bind *b, struct copy_stmt *c)
{
	const struct table_def *t = c->table;
	struct query *q;
	struct scope s;
	uint32_t i, k;

	scope_init(&s, b, NULL, Q_INSERT);
	q = s.q;
	q->table = t;
	if (!scope_add_table(&s, t, NULL, t->schema))
		return false;
	q->insert_count = c->column_count;
	q->insert_attnos = c->attnos;
	q->set_attnos = ARENA_NEW_N(b->arena, uint16_t, t->column_count + 1);
	q->set_exprs = ARENA_NEW_N(b->arena, struct expr *, t->column_count + 1);
	for (i = 0; i < t->column_count; i++) {
		for (k = 0; k < c->column_count && c->attnos[k] != t->columns[i].attno; k++)
			;
		if (t->columns[i].dropped || k < c->column_count)
			continue;
		q->set_attnos[q->set_count] = t->columns[i].attno;
		if (!(q->set_exprs[q->set_count++] = bind_column_default(b, t, &t->columns[i])))
			return false;
	}
	c->query = q;
	return bind_checks(b, q, t);
}

static bool copy_out_query(struct bind *b, struct copy_stmt *c)
{
	struct scope s;
	uint32_t i;

	scope_init(&s, b, NULL, Q_SELECT);
	if (!scope_add_table(&s, c->table, NULL, c->table->schema))
		return false;
	s.q->from = ARENA_NEW(b->arena, struct from_node);
	for (i = 0; i < c->column_count; i++) {
		const struct column_def *col = &c->table->columns[c->attnos[i] - 1];
		struct expr *ex = bind_node(b, EX_COLUMN, 0, col->type_oid, 0);

		ex->type.typmod = col->typmod;
		ex->attno = col->attno;
		scope_add_target(&s, ex, col->name, false);
	}
	c->query = s.q;
	return true;
}

static bool copy_given_query(struct bind *b, const struct ast_copy *a, struct copy_stmt *c)
{
	uint32_t i;

	if (a->query->type > RAW_DELETE)
		return bind_unsupported(b, 0, "COPY of this statement");
	if (a->query->type == RAW_SELECT && a->query->select->into)
		return bind_fail(b, ST_UNSUPPORTED, 0, "COPY (SELECT INTO) is not supported");
	if (!(c->query = bind_query_stmt(b, a->query)))
		return false;
	if (a->query->type != RAW_SELECT && !c->query->target_count)
		return bind_fail(b, ST_UNSUPPORTED, 0, "COPY query must have a RETURNING clause");
	for (i = 0; i < c->query->target_count; i++)
		c->column_count += !c->query->targets[i].junk;
	return true;
}

bool bind_copy(struct bind *b, const struct raw_stmt *raw, struct stmt *st)
{
	const struct ast_copy *a = raw->copy;
	struct copy_stmt *c = ARENA_NEW(b->arena, struct copy_stmt);

	st->kind = STMT_COPY;
	st->tag = "COPY";
	st->copy = c;
	c->from = a->from;
	if (a->file)
		return bind_unsupported(b, 0, a->from ? "COPY FROM a file or program (use STDIN)"
					: "COPY TO a file or program (use STDOUT)");
	if (a->where)
		return bind_unsupported(b, 0, "COPY … WHERE");
	if (!copy_options(b, a, c))
		return false;
	if (a->query) {
		if (!copy_given_query(b, a, c))
			return false;
	} else {
		const struct virtual_rel *v = NULL;
		struct relation_def rel;

		if (!a->from && !bind_relation(b, a->rel, &rel, &v))
			return false;
		if (v) {
			bind_fail(b, ST_WRONG_OBJECT_TYPE, 0, "cannot copy from view \"%s\"", v->name);
			bind_hint(b, "Try the COPY (SELECT ...) TO variant.");
			return false;
		}
		if (!(c->table = bind_table(b, a->rel, a->from ? "copy to" : "copy from")) || !copy_columns(b, a, c) ||
		    !(a->from ? copy_in_query(b, c) : copy_out_query(b, c)))
			return false;
	}
	return copy_forces(b, a, c);
}
