/*
 * bind_column.c - columns and constraints of a table that is being made or changed (engine/sql).
 *
 * Expressions are bound once here, for their errors, and kept as text that binds again: expr_deparse(). Names that
 * the user does not give are PostgreSQL's.
 */
#include "engine/sql/bind_int.h"

void maker_init(struct table_maker *m, struct bind *b, struct table_def *t)
{
	*m = (struct table_maker){.b = b, .t = t};
}

/* -- names ------------------------------------------------------------------------------------------------------ */

static size_t clip(const char *s, size_t n)
{
	while (n && ((unsigned char)s[n] & 0xc0) == 0x80)
		n--;
	return n;
}

/* name1_name2_label, the longer of the two cut first so that it fits. */
static const char *object_name(struct bind *b, const char *name1, const char *name2, const char *label)
{
	size_t n1 = strlen(name1), n2 = name2 ? strlen(name2) : 0, over = strlen(label) + 1 + (name2 ? 1 : 0);

	while (n1 + n2 + over > SCHEMA_NAME_MAX) {
		if (n1 > n2)
			n1--;
		else
			n2--;
	}
	n1 = clip(name1, n1);
	n2 = name2 ? clip(name2, n2) : 0;
	return arena_printf(b->arena, "%.*s%s%.*s_%s", (int)n1, name1, name2 ? "_" : "", (int)n2, name2 ? name2 : "", label);
}

static bool made_here(const struct table_maker *m, const char *name)
{
	uint32_t i;

	for (i = 0; i < m->made_count; i++)
		if (!strcmp(m->made_names[i], name))
			return true;
	return false;
}

static void remember_name(struct table_maker *m, const char *name)
{
	if (m->made_count == m->made_cap) {
		uint32_t cap = m->made_cap ? m->made_cap * 2 : 8;
		const char **at = ARENA_NEW_N(m->b->arena, const char *, cap);

		if (m->made_count)
			memcpy(at, m->made_names, m->made_count * sizeof *at);
		m->made_names = at;
		m->made_cap = cap;
	}
	m->made_names[m->made_count++] = name;
}

static bool constraint_exists(const struct table_def *t, const char *name)
{
	uint32_t i;

	for (i = 0; i < t->check_count; i++)
		if (!strcmp(t->checks[i].name, name))
			return true;
	for (i = 0; i < t->index_count; i++)
		if (t->indexes[i].constraint && !strcmp(t->indexes[i].name, name))
			return true;
	return false;
}

/* The first of label, label1, label2, … that is free. relation: among relations of the schema, else constraints of t. */
const char *maker_name(struct table_maker *m, const char *name1, const char *name2, const char *label, bool relation)
{
	const char *with = label, *name;
	uint32_t pass = 0;
	bool taken;

	for (;;) {
		name = object_name(m->b, name1, name2, with);
		taken = made_here(m, name) || (relation && !strcmp(name, m->t->name)) || constraint_exists(m->t, name);
		if (!taken && relation && bind_has_catalog(m->b) && !bind_name_taken(m->b, m->t->schema, name, &taken))
			return NULL;
		if (!taken)
			break;
		with = arena_printf(m->b->arena, "%s%u", label, ++pass);
	}
	remember_name(m, name);
	return name;
}

static bool claim_name(struct table_maker *m, const char *name, bool relation, int pos)
{
	bool taken = relation && (made_here(m, name) || !strcmp(name, m->t->name));

	if (!relation && !m->t->id && constraint_exists(m->t, name))
		return bind_fail(m->b, ST_DUPLICATE_OBJECT, pos, "check constraint \"%s\" already exists", name);
	if (!taken && constraint_exists(m->t, name) && m->t->id)
		return bind_fail(m->b, ST_DUPLICATE_OBJECT, pos, "constraint \"%s\" for relation \"%s\" already exists", name,
				 m->t->name);
	if (relation && !taken && !bind_name_taken(m->b, m->t->schema, name, &taken))
		return false;
	if (taken)
		return bind_fail(m->b, ST_DUPLICATE_TABLE, pos, "relation \"%s\" already exists", name);
	remember_name(m, name);
	return true;
}

/* -- sequences ---------------------------------------------------------------------------------------------------- */

static bool sequence_number(struct bind *b, const struct ast_option *o, int64_t *out)
{
	const char *s = o->value ? o->value : "";
	bool negative = *s == '-';
	uint64_t v = 0;

	if (o->number_ok) {
		*out = o->number;
		return true;
	}
	for (s += negative || *s == '+'; *s >= '0' && *s <= '9'; s++) {
		if (v > (UINT64_MAX - 9) / 10)
			break;
		v = v * 10 + (uint64_t)(*s - '0');
	}
	if (*s || !o->value || v > (uint64_t)INT64_MAX + negative)
		return bind_fail(b, ST_BAD_TEXT, o->pos, "value \"%s\" is out of range for type bigint", o->value ? o->value : "");
	*out = negative ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

static bool sequence_type(struct bind *b, const struct ast_option *o, struct sequence_def *seq)
{
	struct sql_type t;

	if (!o->type || !bind_type(b, o->type, &t))
		return o->type ? false : bind_fail(b, ST_SYNTAX, o->pos, "AS requires a type");
	if (t.oid != T_INT2 && t.oid != T_INT4 && t.oid != T_INT8)
		return bind_fail(b, ST_BAD_PARAMETER, o->pos, "sequence type must be smallint, integer, or bigint");
	seq->type_oid = t.oid;
	return true;
}

static void type_range(uint32_t oid, int64_t *min, int64_t *max)
{
	*min = oid == T_INT2 ? INT16_MIN : oid == T_INT4 ? INT32_MIN : INT64_MIN;
	*max = oid == T_INT2 ? INT16_MAX : oid == T_INT4 ? INT32_MAX : INT64_MAX;
}

static const struct ast_option *find_option(const struct ast_option *o, uint32_t count, const char *name, bool *twice)
{
	const struct ast_option *found = NULL;
	uint32_t i;

	for (i = 0; i < count; i++)
		if (!strcmp(o[i].name, name)) {
			*twice |= found != NULL;
			found = &o[i];
		}
	return found;
}

static bool check_range(struct bind *b, const struct sequence_def *s)
{
	int64_t lo, hi;

	type_range(s->type_oid, &lo, &hi);
	if (s->max > hi)
		return bind_fail(b, ST_BAD_PARAMETER, 0, "MAXVALUE (%lld) is out of range for sequence data type %s",
				 (long long)s->max, bind_type_name(b, s->type_oid));
	if (s->min < lo)
		return bind_fail(b, ST_BAD_PARAMETER, 0, "MINVALUE (%lld) is out of range for sequence data type %s",
				 (long long)s->min, bind_type_name(b, s->type_oid));
	if (s->min >= s->max)
		return bind_fail(b, ST_BAD_PARAMETER, 0, "MINVALUE (%lld) must be less than MAXVALUE (%lld)",
				 (long long)s->min, (long long)s->max);
	if (s->start < s->min)
		return bind_fail(b, ST_BAD_PARAMETER, 0, "START value (%lld) cannot be less than MINVALUE (%lld)",
				 (long long)s->start, (long long)s->min);
	if (s->start > s->max)
		return bind_fail(b, ST_BAD_PARAMETER, 0, "START value (%lld) cannot be greater than MAXVALUE (%lld)",
				 (long long)s->start, (long long)s->max);
	if (s->cache < 1)
		return bind_fail(b, ST_BAD_PARAMETER, 0, "CACHE (%lld) must be greater than zero", (long long)s->cache);
	return true;
}

/* seq has the defaults or, for ALTER, the present values. */
bool bind_sequence_options(struct bind *b, const struct ast_option *o, uint32_t count, struct sequence_def *seq, bool alter,
			   bool *restart_out, int64_t *restart_with_out, const struct ast_option **owned_out)
{
	const struct ast_option *as, *inc, *min, *max, *start, *restart, *cache, *cycle;
	bool twice = false, type_changed = false;
	int64_t lo, hi;

	as = find_option(o, count, "as", &twice);
	inc = find_option(o, count, "increment", &twice);
	min = find_option(o, count, "minvalue", &twice);
	max = find_option(o, count, "maxvalue", &twice);
	start = find_option(o, count, "start", &twice);
	restart = find_option(o, count, "restart", &twice);
	cache = find_option(o, count, "cache", &twice);
	cycle = find_option(o, count, "cycle", &twice);
	*owned_out = find_option(o, count, "owned_by", &twice);
	if (twice)
		return bind_fail(b, ST_SYNTAX, 0, "conflicting or redundant options");
	if (as) {
		type_changed = true;
		if (!sequence_type(b, as, seq))
			return false;
	}
	if (inc && !sequence_number(b, inc, &seq->increment))
		return false;
	if (inc && !seq->increment)
		return bind_fail(b, ST_BAD_PARAMETER, inc->pos, "INCREMENT must not be zero");
	type_range(seq->type_oid, &lo, &hi);
	if (max && (max->value || max->number_ok)) {
		if (!sequence_number(b, max, &seq->max))
			return false;
	} else if (!alter || max || type_changed) {
		seq->max = seq->increment > 0 ? hi : -1;
	}
	if (min && (min->value || min->number_ok)) {
		if (!sequence_number(b, min, &seq->min))
			return false;
	} else if (!alter || min || type_changed) {
		seq->min = seq->increment > 0 ? 1 : lo;
	}
	if (start) {
		if (!sequence_number(b, start, &seq->start))
			return false;
	} else if (!alter) {
		seq->start = seq->increment > 0 ? seq->min : seq->max;
	}
	if (cache && !sequence_number(b, cache, &seq->cache))
		return false;
	if (cycle)
		seq->cycle = cycle->number != 0;
	*restart_out = restart != NULL;
	*restart_with_out = seq->start;
	if (restart && (restart->value || restart->number_ok) && !sequence_number(b, restart, restart_with_out))
		return false;
	if (restart && (*restart_with_out < seq->min || *restart_with_out > seq->max))
		return bind_fail(b, ST_BAD_PARAMETER, restart->pos, "RESTART value (%lld) cannot be %s (%lld)",
				 (long long)*restart_with_out, *restart_with_out < seq->min ? "less than MINVALUE"
				 : "greater than MAXVALUE", (long long)(*restart_with_out < seq->min ? seq->min : seq->max));
	return check_range(b, seq);
}

static bool serial_type(const struct ast_type *t, uint32_t *oid)
{
	static const struct { const char *name; uint32_t oid; } names[] = {
		{"serial", T_INT4}, {"serial4", T_INT4}, {"bigserial", T_INT8}, {"serial8", T_INT8},
		{"smallserial", T_INT2}, {"serial2", T_INT2},
	};
	size_t i;

	if (t->names.count != 1)
		return false;
	for (i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(names[i].name, t->names.at[0])) {
			*oid = names[i].oid;
			return true;
		}
	return false;
}

static const char *quoted(struct bind *b, const char *s)
{
	return bind_quote_identifier(b->arena, s);
}

/* Gives the column a sequence of its own, and its default. */
static bool add_serial(struct table_maker *m, struct column_def *col, const struct ast_option *o, uint32_t option_count)
{
	struct bind *b = m->b;
	struct sequence_def *seq = ARENA_NEW(b->arena, struct sequence_def);
	const struct ast_option *owned;
	bool restart;
	int64_t with;

	*seq = (struct sequence_def){.schema = m->t->schema, .type_oid = col->type_oid, .increment = 1, .cache = 1};
	seq->owned_by_attno = col->attno;
	seq->name = maker_name(m, m->t->name, col->name, "seq", true);
	if (!seq->name || !bind_sequence_options(b, o, option_count, seq, false, &restart, &with, &owned))
		return false;
	if (m->serial_count == m->serial_cap) {
		uint32_t cap = m->serial_cap ? m->serial_cap * 2 : 4;
		void *at = arena_alloc(b->arena, cap * sizeof *m->serials);

		if (m->serial_count)
			memcpy(at, m->serials, m->serial_count * sizeof *m->serials);
		m->serials = at;
		m->serial_cap = cap;
	}
	m->serials[m->serial_count].attno = col->attno;
	m->serials[m->serial_count++].seq = seq;
	col->not_null = true;
	col->default_sql = arena_printf(b->arena, "nextval(%s::regclass)",
		bind_quote_literal(b->arena, arena_printf(b->arena, "%s.%s", quoted(b, seq->schema), quoted(b, seq->name))));
	return true;
}

/* -- columns ------------------------------------------------------------------------------------------------------ */

/* The default as text; also bound and coerced to the column, for those who evaluate it. */
const char *bind_default_text(struct bind *b, const struct table_def *t, const struct column_def *c,
			      const struct ast_expr *e, struct expr **bound_out)
{
	struct sql_type to = {c->type_oid, c->typmod};
	struct scope s;
	struct expr *ex, *bound;

	(void)t;
	scope_init(&s, b, NULL, Q_SELECT);
	s.place = AT_DEFAULT;
	b->params_allowed = false;
	ex = bind_expr(&s, e);
	if (ex && ex->type.oid == T_UNKNOWN)
		ex = bind_coerce(b, ex, to.oid, CAST_ASSIGNMENT, e->pos);
	if (!ex)
		return NULL;
	if (!bind_can_coerce(ex, to.oid, CAST_ASSIGNMENT)) {
		bind_fail(b, ST_DATATYPE_MISMATCH, 0, "column \"%s\" is of type %s but default expression is of type %s",
			  c->name, bind_type_name(b, to.oid), bind_type_name(b, ex->type.oid));
		bind_hint(b, "You will need to rewrite or cast the expression.");
		return NULL;
	}
	bound = bind_cast(b, ex, to, CAST_ASSIGNMENT, e->pos);
	if (!bound)
		return NULL;
	if (bound_out)
		*bound_out = bound;
	return bind_deparse(b, ex, NULL);
}

static bool column_type(struct table_maker *m, const struct ast_column *c, struct column_def *out, bool *serial)
{
	struct bind *b = m->b;
	struct sql_type t = {T_NONE, -1};

	*serial = serial_type(c->type, &t.oid);
	if (*serial && c->type->array_dims)
		return bind_fail(b, ST_UNSUPPORTED, c->type->pos, "array of serial is not implemented");
	if (!*serial && !bind_type(b, c->type, &t))
		return false;
	if (t.oid == T_UNKNOWN || t.oid == T_VOID || t.oid == T_RECORD)
		return bind_fail(b, ST_BAD_TABLE_DEFINITION, 0, "column \"%s\" has pseudo-type %s", c->name,
				 bind_type_name(b, t.oid));
	if (c->collation)
		return bind_unsupported(b, c->pos, "a collation other than \"C\"");
	out->type_oid = t.oid;
	out->typmod = t.typmod;
	out->phys = type_storage_phys(t);
	return true;
}

/* Name, type, serial; out->attno is set. */
bool maker_column(struct table_maker *m, const struct ast_column *c, struct column_def *out)
{
	bool serial;

	out->name = name_cut(m->b, c->name);
	if (!strcmp(c->name, "ctid") || !strcmp(c->name, "tableoid") || !strcmp(c->name, "xmin") ||
	    !strcmp(c->name, "xmax") || !strcmp(c->name, "cmin") || !strcmp(c->name, "cmax"))
		return bind_fail(m->b, ST_DUPLICATE_COLUMN, 0, "column name \"%s\" conflicts with a system column name", c->name);
	if (!column_type(m, c, out, &serial))
		return false;
	return !serial || add_serial(m, out, NULL, 0);
}

/* NOT NULL, DEFAULT, IDENTITY: what is part of the column itself. */
bool maker_column_constraints(struct table_maker *m, const struct ast_column *c, struct column_def *col)
{
	struct bind *b = m->b;
	bool saw_null = false, saw_not_null = col->default_sql != NULL, saw_default = col->default_sql != NULL;
	uint32_t i;

	for (i = 0; i < c->constraint_count; i++) {
		const struct ast_constraint *k = &c->constraints[i];

		switch ((enum ast_constraint_kind)k->kind) {
		case AC_NULL:
		case AC_NOT_NULL:
			if (k->text) /* NOT DEFERRABLE and the like */
				break;
			if (k->kind == AC_NULL ? saw_not_null : saw_null)
				return bind_fail(b, ST_SYNTAX, k->pos, "conflicting NULL/NOT NULL declarations for column \"%s\" of "
						 "table \"%s\"", col->name, m->t->name);
			saw_null |= k->kind == AC_NULL;
			saw_not_null |= k->kind == AC_NOT_NULL;
			col->not_null |= k->kind == AC_NOT_NULL;
			break;
		case AC_DEFAULT:
		case AC_IDENTITY:
			if (saw_default)
				return bind_fail(b, ST_SYNTAX, k->pos, k->kind == AC_DEFAULT
						 ? "multiple default values specified for column \"%s\" of table \"%s\""
						 : "both default and identity specified for column \"%s\" of table \"%s\"",
						 col->name, m->t->name);
			saw_default = true;
			if (k->kind == AC_DEFAULT) {
				if (!(col->default_sql = bind_default_text(b, m->t, col, k->expr, NULL)))
					return false;
				break;
			}
			if (col->type_oid != T_INT2 && col->type_oid != T_INT4 && col->type_oid != T_INT8)
				return bind_fail(b, ST_BAD_PARAMETER, 0, "identity column type must be smallint, integer, or bigint");
			if (!add_serial(m, col, k->options, k->option_count))
				return false;
			col->identity = k->always ? IDENTITY_ALWAYS : IDENTITY_BY_DEFAULT;
			saw_not_null = true;
			break;
		case AC_UNSUPPORTED:
			return bind_unsupported(b, k->pos, k->text);
		case AC_PRIMARY:
		case AC_UNIQUE:
		case AC_CHECK:
			break; /* of the table: maker_constraint */
		}
		if (k->deferrable)
			return bind_unsupported(b, k->pos, "DEFERRABLE constraints");
	}
	return true;
}

/* -- constraints ----------------------------------------------------------------------------------------------------- */

static bool key_column(struct table_maker *m, const char *name, const char *kind, struct index_def *ix, int pos)
{
	const struct column_def *c = table_column(m->t, name);
	uint32_t i;

	if (!c)
		return bind_fail(m->b, ST_UNDEFINED_COLUMN, pos, "column \"%s\" named in key does not exist", name);
	for (i = 0; i < ix->column_count; i++)
		if (ix->attnos[i] == c->attno)
			return bind_fail(m->b, ST_DUPLICATE_COLUMN, pos, "column \"%s\" appears twice in %s constraint", name, kind);
	if (ix->column_count == SCHEMA_INDEX_COLUMNS_MAX)
		return bind_fail(m->b, ST_TOO_MANY_COLUMNS, pos, "cannot use more than %d columns in an index",
				 SCHEMA_INDEX_COLUMNS_MAX);
	ix->attnos[ix->column_count++] = c->attno;
	return true;
}

static const char *joined_columns(struct table_maker *m, const struct index_def *ix)
{
	const char *s = NULL;
	uint32_t i;

	for (i = 0; i < ix->column_count; i++) {
		const char *name = m->t->columns[ix->attnos[i] - 1].name;

		s = s ? arena_printf(m->b->arena, "%s_%s", s, name) : name;
	}
	return s;
}

bool maker_index(struct table_maker *m, const struct ast_constraint *c, const char *column, struct index_def *out)
{
	struct bind *b = m->b;
	const char *kind = c->kind == AC_PRIMARY ? "primary key" : "unique";
	uint32_t i;

	*out = (struct index_def){.unique = true, .constraint = true, .primary = c->kind == AC_PRIMARY};
	if (c->deferrable || c->including || c->nulls_not_distinct || c->using_index)
		return bind_unsupported(b, c->pos, c->deferrable ? "DEFERRABLE constraints" : c->including ? "INCLUDE"
					: c->using_index ? "USING INDEX" : "NULLS NOT DISTINCT");
	for (i = 0; out->primary && i < m->t->index_count; i++)
		if (m->t->indexes[i].primary)
			return bind_fail(b, ST_BAD_TABLE_DEFINITION, m->t->id ? 0 : c->pos, "multiple primary keys for table \"%s\" are not allowed",
					 m->t->name);
	if (column && !key_column(m, column, kind, out, c->pos))
		return false;
	for (i = 0; !column && i < c->columns.count; i++)
		if (!key_column(m, c->columns.at[i], kind, out, c->pos))
			return false;
	if (c->name) {
		out->name = name_cut(b, c->name);
		return claim_name(m, out->name, true, c->pos);
	}
	out->name = maker_name(m, m->t->name, out->primary ? NULL : joined_columns(m, out), out->primary ? "pkey" : "key", true);
	return out->name != NULL;
}

struct one_column { uint16_t attno; bool several; };

static bool note_column(const struct expr *ex, uint32_t depth, void *ctx)
{
	struct one_column *one = ctx;

	(void)depth;
	if (ex->kind == EX_COLUMN) {
		one->several |= one->attno && one->attno != ex->attno;
		one->attno = ex->attno;
	}
	return false;
}

bool maker_check(struct table_maker *m, const struct ast_constraint *c, const char *column, struct check_def *out)
{
	struct bind *b = m->b;
	struct one_column one = {0};
	const struct query_walk w = {.fn = note_column, .ctx = &one};
	struct scope s;
	struct expr *ex;

	scope_init(&s, b, NULL, Q_SELECT);
	b->params_allowed = false;
	if (!scope_add_table(&s, m->t, NULL, NULL) || !(ex = bind_bool_expr(&s, c->expr, AT_CHECK, "CHECK")))
		return false;
	walk_expr(&w, ex, 0);
	if (!column && one.attno && !one.several)
		column = m->t->columns[one.attno - 1].name;
	if (c->name) {
		out->name = name_cut(b, c->name);
		if (!claim_name(m, out->name, false, c->pos))
			return false;
	} else if (!(out->name = maker_name(m, m->t->name, column, "check", false))) {
		return false;
	}
	out->expr_sql = bind_deparse(b, ex, s.q);
	return true;
}

static void add_index(struct table_maker *m, const struct index_def *ix)
{
	struct table_def *t = m->t;
	uint32_t i;

	if (t->index_count == m->index_cap || !m->index_cap) {
		uint32_t cap = t->index_count ? (uint32_t)t->index_count * 2 : 4;
		struct index_def *at = ARENA_NEW_N(m->b->arena, struct index_def, cap);

		if (t->index_count)
			memcpy(at, t->indexes, t->index_count * sizeof *at);
		t->indexes = at;
		m->index_cap = cap;
	}
	t->indexes[t->index_count++] = *ix;
	for (i = 0; ix->primary && i < ix->column_count; i++)
		t->columns[ix->attnos[i] - 1].not_null = true;
}

static void add_check(struct table_maker *m, const struct check_def *c)
{
	struct table_def *t = m->t;

	if (t->check_count == m->check_cap || !m->check_cap) {
		uint32_t cap = t->check_count ? (uint32_t)t->check_count * 2 : 4;
		struct check_def *at = ARENA_NEW_N(m->b->arena, struct check_def, cap);

		if (t->check_count)
			memcpy(at, t->checks, t->check_count * sizeof *at);
		t->checks = at;
		m->check_cap = cap;
	}
	t->checks[t->check_count++] = *c;
}

/* PRIMARY KEY, UNIQUE and CHECK, of the table or of @column, into the definition. */
bool maker_constraint(struct table_maker *m, const struct ast_constraint *c, const char *column)
{
	struct index_def ix;
	struct check_def check;

	switch ((enum ast_constraint_kind)c->kind) {
	case AC_PRIMARY:
	case AC_UNIQUE:
		if (!maker_index(m, c, column, &ix))
			return false;
		add_index(m, &ix);
		return true;
	case AC_CHECK:
		if (!maker_check(m, c, column, &check))
			return false;
		add_check(m, &check);
		return true;
	case AC_UNSUPPORTED:
		return bind_unsupported(m->b, c->pos, c->text);
	default:
		return true;
	}
}
