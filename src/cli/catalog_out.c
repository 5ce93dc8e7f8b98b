/*
 * catalog_out.c - results of SQL as text or JSON (cli).
 */
#include "cli/catalog_out.h"

#include <string.h>

enum { OID_BOOL = 16, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_FLOAT8 = 701, OID_INT8_ARRAY = 1016,
       OID_NUMERIC = 1700 };

static void json_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < ' ')
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void json_array(const char *v)
{
	putchar('[');
	for (; *v; v++) {
		if (strncmp(v, "NULL", 4) == 0) {
			fputs("null", stdout);
			v += 3;
		} else if (*v != '{' && *v != '}') {
			putchar(*v);
		}
	}
	putchar(']');
}

static void json_value(const char *v, uint32_t type)
{
	bool number = type == OID_INT8 || type == OID_INT2 || type == OID_INT4 || type == OID_FLOAT8 || type == OID_NUMERIC;

	if (!v)
		fputs("null", stdout);
	else if (type == OID_BOOL)
		fputs(*v == 't' ? "true" : "false", stdout);
	else if (type == OID_INT8_ARRAY)
		json_array(v);
	else if (number && strspn(v, "0123456789+-.eE") == strlen(v)) /* not NaN, not Infinity */
		fputs(v, stdout);
	else
		json_string(v);
}

static void json_row(const struct pgc_result *r, uint32_t row)
{
	putchar('{');
	for (uint32_t i = 0; i < r->column_count; i++) {
		if (i)
			putchar(',');
		json_string(r->names[i]);
		putchar(':');
		json_value(pgc_value(r, row, i), r->types[i]);
	}
	putchar('}');
}

static size_t width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static const char *text_of(const char *v)
{
	return v ? v : "-";
}

static bool is_right(uint32_t type)
{
	return type == OID_INT8 || type == OID_INT2 || type == OID_INT4 || type == OID_FLOAT8 || type == OID_NUMERIC;
}

static void text_cell(const char *s, size_t wide, bool right, bool last)
{
	size_t pad = wide - width(s);

	if (right)
		printf("%*s%s", (int)pad, "", s);
	else
		printf("%s%*s", s, last ? 0 : (int)pad, "");
	fputs(last ? "\n" : "  ", stdout);
}

static size_t column_width(const struct pgc_result *r, uint32_t column)
{
	size_t wide = width(r->names[column]);

	for (uint32_t row = 0; row < r->row_count; row++) {
		size_t w = width(text_of(pgc_value(r, row, column)));

		if (w > wide)
			wide = w;
	}
	return wide;
}

#define ALIGNED_MAX 32 /* columns; those beyond are not lined up */

static void text_row(const struct pgc_result *r, uint32_t row, const size_t *wide)
{
	for (uint32_t i = 0; i < r->column_count; i++) {
		const char *s = row == UINT32_MAX ? r->names[i] : text_of(pgc_value(r, row, i));
		size_t w = i < ALIGNED_MAX ? wide[i] : width(s);

		text_cell(s, w, is_right(r->types[i]), i + 1 == r->column_count);
	}
}

static void table_text(const struct pgc_result *r)
{
	size_t wide[ALIGNED_MAX];

	for (uint32_t i = 0; i < r->column_count && i < ALIGNED_MAX; i++)
		wide[i] = column_width(r, i);
	text_row(r, UINT32_MAX, wide);
	for (uint32_t row = 0; row < r->row_count; row++)
		text_row(r, row, wide);
}

void catalog_table(const struct pgc_result *r, bool json)
{
	if (!json) {
		table_text(r);
		return;
	}
	putchar('[');
	for (uint32_t row = 0; row < r->row_count; row++) {
		if (row)
			putchar(',');
		json_row(r, row);
	}
	puts("]");
}

void catalog_record(const struct pgc_result *r, bool json)
{
	size_t wide = 0;

	if (json) {
		json_row(r, 0);
		putchar('\n');
		return;
	}
	for (uint32_t i = 0; i < r->column_count; i++)
		wide = width(r->names[i]) > wide ? width(r->names[i]) : wide;
	for (uint32_t i = 0; i < r->column_count; i++)
		printf("%-*s  %s\n", (int)wide, r->names[i], text_of(pgc_value(r, 0, i)));
}

static bool same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static bool has_parent(const struct pgc_result *r, uint32_t row)
{
	const char *parent = pgc_named(r, row, "parent_id");

	for (uint32_t i = 0; i < r->row_count; i++)
		if (i != row && same(pgc_named(r, i, "engine_id"), parent))
			return true;
	return false;
}

/* Depth is bounded by the number of rows: each is printed once, even if parents formed a ring. */
static void subtree(const struct pgc_result *r, uint32_t row, uint32_t depth, bool *seen)
{
	if (seen[row])
		return;
	seen[row] = true;
	printf("%*s%s  engine %s  %s  applied %s  %s\n", (int)(2 * depth), "", text_of(pgc_named(r, row, "name")),
	       text_of(pgc_named(r, row, "engine_id")), text_of(pgc_named(r, row, "kind")),
	       text_of(pgc_named(r, row, "applied_index")), text_of(pgc_named(r, row, "state")));
	for (uint32_t i = 0; i < r->row_count; i++)
		if (same(pgc_named(r, i, "parent_id"), pgc_named(r, row, "engine_id")))
			subtree(r, i, depth + 1, seen);
}

void catalog_tree(const struct pgc_result *r, struct arena *arena)
{
	bool *seen = ARENA_NEW_N(arena, bool, r->row_count + 1);

	for (uint32_t i = 0; i < r->row_count; i++)
		if (!has_parent(r, i))
			subtree(r, i, 0, seen);
	for (uint32_t i = 0; i < r->row_count; i++)
		subtree(r, i, 0, seen);
}

void catalog_route(const struct pgc_result *hops, uint32_t count, bool json)
{
	if (json)
		putchar('[');
	for (uint32_t i = count; i-- > 0;) {
		if (json) {
			json_row(&hops[i], 0);
			fputs(i ? "," : "]\n", stdout);
			continue;
		}
		printf("%*satom %s  %s %s  originator %s  holders %s\n", (int)(2 * (count - 1 - i)), "",
		       text_of(pgc_named(&hops[i], 0, "atom_id")), text_of(pgc_named(&hops[i], 0, "kind")),
		       text_of(pgc_named(&hops[i], 0, "relation")), text_of(pgc_named(&hops[i], 0, "originator")),
		       text_of(pgc_named(&hops[i], 0, "holders")));
	}
}
