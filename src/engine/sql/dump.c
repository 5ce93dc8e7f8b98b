/* dump.c - a bound query as text, one thing a line, for golden tests and debugging (engine/sql). */
#include "engine/sql/bind_int.h"

#include <stdarg.h>
#include <stdio.h>

struct dump { struct buf out; struct arena *arena; uint32_t indent; };

static void line(struct dump *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void line(struct dump *d, const char *fmt, ...)
{
	char text[4096];
	va_list ap;
	uint32_t i;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	for (i = 0; i < d->indent; i++)
		buf_put(&d->out, "  ", 2);
	buf_put(&d->out, text, strlen(text));
	buf_put(&d->out, "\n", 1);
}

static void dump_query(struct dump *d, const struct query *q);

struct sub_dump { struct dump *d; };

static bool dump_sub(const struct expr *ex, uint32_t depth, void *ctx)
{
	struct sub_dump *s = ctx;

	if (depth == 0 && ex->kind == EX_SUBQUERY)
		dump_query(s->d, ex->sub);
	return false;
}

static bool at_top(const struct expr *ex, uint32_t depth, void *ctx)
{
	(void)ctx;
	(void)depth;
	return ex->kind != EX_SUBQUERY;
}

/* One line of SQL and its type; the subqueries in it are below. */
static void expr_line(struct dump *d, const struct query *q, const char *what, const struct expr *ex)
{
	struct sub_dump s = {d};
	const struct query_walk w = {.fn = dump_sub, .enter = at_top, .ctx = &s};

	line(d, "%s %s :%s", what, expr_deparse(ex, q, d->arena), type_format(ex->type, d->arena));
	d->indent++;
	walk_expr(&w, ex, 0);
	d->indent--;
}

static void dump_rel(struct dump *d, const struct query *q, uint32_t at)
{
	static const char *const sources[] = {"table", "subquery", "values", "function", "virtual", "cte", "join"};
	static const char *const functions[] = {"generate_series", "unnest", "check_atoms", "atom_hash", "scalar"};
	const struct range_rel *r = &q->rels[at];
	uint32_t i, c;

	line(d, "rel %u %s %s%s%s%s", at, sources[r->source], r->alias ? r->alias : "-",
	     r->source == SRC_TABLE && r->table ? arena_printf(d->arena, " %s.%s", r->table->schema, r->table->name)
	     : r->source == SRC_VIRTUAL ? arena_printf(d->arena, " %s", r->virtual_name)
	     : r->source == SRC_FUNCTION ? arena_printf(d->arena, " %s", functions[r->set_function]) : "",
	     r->lateral ? " lateral" : "", r->lock ? arena_printf(d->arena, " lock=%u", r->lock) : "");
	d->indent++;
	for (c = 0; r->source != SRC_TABLE && r->source != SRC_VIRTUAL && c < r->column_count; c++)
		line(d, "column %s :%s", r->columns[c].name, type_format(r->columns[c].type, d->arena));
	for (i = 0; i < r->row_count; i++)
		for (c = 0; c < r->column_count; c++)
			expr_line(d, q, c ? "value" : "row", r->rows[i][c]);
	for (i = 0; i < r->arg_count; i++)
		expr_line(d, q, "arg", r->args[i]);
	if (r->source == SRC_SUBQUERY && r->subquery)
		dump_query(d, r->subquery);
	d->indent--;
}

static void dump_from(struct dump *d, const struct query *q, const struct from_node *f)
{
	static const char *const joins[] = {"inner", "left", "right", "full", "semi", "anti"};

	if (!f->is_join) {
		line(d, "scan %u", f->rel);
		return;
	}
	line(d, "join %s", joins[f->join]);
	d->indent++;
	dump_from(d, q, f->left);
	dump_from(d, q, f->right);
	if (f->on)
		expr_line(d, q, "on", f->on);
	d->indent--;
}

static void dump_lists(struct dump *d, const struct query *q)
{
	uint32_t i;

	for (i = 0; i < q->target_count; i++)
		expr_line(d, q, arena_printf(d->arena, "%s %s =", q->targets[i].junk ? "junk" : "target", q->targets[i].name),
			  q->targets[i].expr);
	for (i = 0; i < q->group_count; i++)
		expr_line(d, q, "group", q->groups[i]);
	if (q->having)
		expr_line(d, q, "having", q->having);
	if (q->distinct)
		line(d, "distinct");
	for (i = 0; i < q->distinct_on_count; i++)
		line(d, "distinct on %u", q->distinct_on[i]);
	for (i = 0; i < q->sort_count; i++)
		line(d, "sort %u%s%s", q->sorts[i].target, q->sorts[i].desc ? " desc" : "",
		     q->sorts[i].nulls_first ? " nulls first" : "");
	if (q->limit)
		expr_line(d, q, "limit", q->limit);
	if (q->offset)
		expr_line(d, q, "offset", q->offset);
	if (q->lock)
		line(d, "lock %u%s%s", q->lock, q->lock_nowait ? " nowait" : "", q->lock_skip ? " skip" : "");
}

static void dump_changes(struct dump *d, const struct query *q)
{
	uint32_t i;

	if (q->insert_count) {
		const char *s = "columns";

		for (i = 0; i < q->insert_count; i++)
			s = arena_printf(d->arena, "%s %u", s, q->insert_attnos[i]);
		line(d, "%s", s);
	}
	if (q->source) {
		line(d, "source");
		d->indent++;
		dump_query(d, q->source);
		d->indent--;
	}
	if (q->conflict)
		line(d, "conflict %s %s", q->conflict == CONFLICT_UPDATE ? "update" : "nothing",
		     q->conflict_index ? q->conflict_index->name : "any");
	for (i = 0; i < q->set_count; i++)
		expr_line(d, q, arena_printf(d->arena, "set %u =", q->set_attnos[i]), q->set_exprs[i]);
	if (q->conflict_where)
		expr_line(d, q, "conflict where", q->conflict_where);
	for (i = 0; i < q->check_count; i++)
		expr_line(d, q, arena_printf(d->arena, "check %s", q->check_names[i]), q->checks[i]);
}

static void dump_query(struct dump *d, const struct query *q)
{
	static const char *const kinds[] = {"select", "insert", "update", "delete"};
	static const char *const ops[] = {"", " union", " intersect", " except"};
	uint32_t i;

	line(d, "%s%s%s", kinds[q->kind], ops[q->set_op], q->set_all ? " all" : "");
	d->indent++;
	for (i = 0; i < q->cte_count; i++) {
		line(d, "with %s", q->ctes[i].name);
		d->indent++;
		dump_query(d, q->ctes[i].query);
		d->indent--;
	}
	for (i = 0; !q->set_op && i < q->rel_count; i++)
		dump_rel(d, q, i);
	if (q->set_op) {
		dump_query(d, q->set_left);
		dump_query(d, q->set_right);
	}
	if (q->from)
		dump_from(d, q, q->from);
	if (q->where)
		expr_line(d, q, "where", q->where);
	dump_changes(d, q);
	dump_lists(d, q);
	d->indent--;
}

char *query_dump(const struct query *q, struct arena *arena)
{
	struct dump d = {.arena = arena};
	char *s;

	buf_init(&d.out, arena->mem);
	dump_query(&d, q);
	s = arena_strndup(arena, (const char *)d.out.data, d.out.size);
	buf_fini(&d.out);
	return s;
}
