/*
 * explain.c - plans as text in PostgreSQL's shape, and as JSON.
 */
#include "engine/sql/session.h"

#include <string.h>

#include "base/assert.h"
#include "engine/sql/exec_key.h"

struct out {
	struct arena *arena;
	struct rowset *rows;
	const struct stmt *stmt;
	const struct query *query;
	bool analyze, costs, json;
	struct buf buf;         /* json */
};

static void line(struct out *o, uint32_t indent, const char *text)
{
	struct cell c = {.phys = PHYS_VAR};
	const char *full = arena_printf(o->arena, "%*s%s", (int)indent, "", text);

	c.var = (const uint8_t *)full;
	c.bytes = (uint32_t)strlen(full);
	rowset_add_row(o->rows, &c);
}

static const char *join_word(uint8_t join)
{
	static const char *const words[] = {"", " Left", " Right", " Full", " Semi", " Anti"};

	return words[join];
}

static const char *table_words(struct out *o, const struct plan *p, const char *what)
{
	const char *name = p->table.table->name;

	return p->alias && strcmp(p->alias, name) ? arena_printf(o->arena, "%s on %s %s", what, name, p->alias) :
						    arena_printf(o->arena, "%s on %s", what, name);
}

static const char *node_name(struct out *o, const struct plan *p)
{
	static const char *const modify[] = {"", "Insert", "Update", "Delete"};
	struct arena *a = o->arena;

	switch ((enum plan_kind)p->kind) {
	case PLAN_RESULT: return "Result";
	case PLAN_SCAN: return table_words(o, p, "Seq Scan");
	case PLAN_INDEX:
		return table_words(o, p, arena_printf(a, "Index Scan%s using %s", p->table.backward ? " Backward" : "",
						      p->table.index->name));
	case PLAN_VIRTUAL: return arena_printf(a, "Virtual Scan on %s", p->virt.name);
	case PLAN_VALUES: return arena_printf(a, "Values Scan on \"%s\"", p->alias ? p->alias : "*VALUES*");
	case PLAN_FUNCTION: return arena_printf(a, "Function Scan on %s", p->alias ? p->alias : "function");
	case PLAN_CTE: return arena_printf(a, "CTE Scan on %s", p->alias ? p->alias : "cte");
	case PLAN_FILTER: return "Filter";
	case PLAN_PROJECT: return "Project";
	case PLAN_APPLY: return "Apply";
	case PLAN_LOCK: return "LockRows";
	case PLAN_LIMIT: return "Limit";
	case PLAN_MATERIAL: return "Materialize";
	case PLAN_NESTLOOP: return arena_printf(a, "Nested Loop%s%s", join_word(p->join), p->join ? " Join" : "");
	case PLAN_INDEXJOIN:
		return arena_printf(a, "Nested Loop%s%s", join_word(p->join), p->join ? " Join" : "");
	case PLAN_HASHJOIN: return arena_printf(a, "Hash%s Join", join_word(p->join));
	case PLAN_AGG: return p->agg.group_count ? "HashAggregate" : "Aggregate";
	case PLAN_SORT: return p->sort.limit ? "Sort (top-N)" : "Sort";
	case PLAN_UNIQUE: return "Unique";
	case PLAN_SETOP: return arena_printf(a, "HashSetOp %s%s", p->setop.op == SETOP_INTERSECT ? "Intersect" : "Except",
					     p->setop.all ? " All" : "");
	case PLAN_APPEND: return "Append";
	case PLAN_MODIFY: return arena_printf(a, "%s on %s", modify[p->modify->kind], p->modify->table->name);
	case PLAN_KIND_COUNT: break;
	}
	UNREACHABLE();
}

static const char *column_name(const struct plan *p, uint32_t slot)
{
	if (slot >= p->col_count)
		return "?";
	(void)p;
	return NULL;
}

/* What a slot of p is called: by the table it comes from, through the nodes that hand it on. */
static const char *slot_text(struct out *o, const struct plan *p, uint32_t slot)
{
	const struct plan_col *c;

	if (column_name(p, slot))
		return "?";
	c = &p->cols[slot];
	if ((p->kind == PLAN_SCAN || p->kind == PLAN_INDEX) && c->attno)
		return p->table.table->columns[c->attno - 1].name;
	if (p->kind == PLAN_INDEXJOIN && slot >= p->join_left_cols && c->attno)
		return p->table.table->columns[c->attno - 1].name;
	if (p->kind == PLAN_HASHJOIN || p->kind == PLAN_NESTLOOP || p->kind == PLAN_INDEXJOIN) {
		if (slot < p->join_left_cols)
			return slot_text(o, p->left, slot);
		return p->right ? slot_text(o, p->right, slot - p->join_left_cols) : "?";
	}
	if (p->kind == PLAN_PROJECT && p->project.exprs[slot]->kind == EX_INPUT)
		return slot_text(o, p->left, p->project.exprs[slot]->slot);
	if (p->kind == PLAN_AGG && slot < p->agg.group_count && p->agg.groups[slot]->kind == EX_INPUT)
		return slot_text(o, p->left, p->agg.groups[slot]->slot);
	if (p->kind == PLAN_AGG && slot >= p->agg.group_count)
		return arena_printf(o->arena, "%s(…)", p->agg.aggs[slot - p->agg.group_count].agg->sql_name);
	if (p->left && p->left->col_count > slot && p->kind != PLAN_PROJECT && p->kind != PLAN_AGG)
		return slot_text(o, p->left, slot);
	return arena_printf(o->arena, "column%u", slot + 1);
}

/* Expressions over inputs are shown over names: a copy with columns of a query that never was. */
static char *expr_text(struct out *o, const struct expr *ex, const struct plan *in, const struct plan *in2)
{
	struct buf b;
	char *out;

	switch ((enum expr_kind)ex->kind) {
	case EX_INPUT:
		return arena_strdup(o->arena, in2 && ex->slot >= in->col_count ? slot_text(o, in2, ex->slot - in->col_count) :
									      slot_text(o, in, ex->slot));
	case EX_PARAM:
		return arena_printf(o->arena, "$%u", ex->param);
	case EX_CONST:
		if (ex->value.null)
			return arena_strdup(o->arena, "NULL");
		buf_init(&b, o->arena->mem);
		value_out(ex->type, &ex->value, &b);
		out = ex->value.phys == PHYS_VAR && ex->type.oid != T_NUMERIC ?
			      arena_printf(o->arena, "'%.*s'", (int)b.size, (const char *)b.data) :
			      arena_printf(o->arena, "%.*s", (int)b.size, (const char *)b.data);
		buf_fini(&b);
		return out;
	case EX_AND:
	case EX_OR:
		out = arena_strdup(o->arena, "");
		for (uint32_t i = 0; i < ex->arg_count; i++)
			out = arena_printf(o->arena, "%s%s%s", out, i ? (ex->kind == EX_AND ? " AND " : " OR ") : "",
					   expr_text(o, ex->args[i], in, in2));
		return arena_printf(o->arena, "(%s)", out);
	case EX_NOT:
		return arena_printf(o->arena, "(NOT %s)", expr_text(o, ex->args[0], in, in2));
	case EX_IS_NULL:
		return arena_printf(o->arena, "(%s IS %sNULL)", expr_text(o, ex->args[0], in, in2), ex->negate ? "NOT " : "");
	case EX_FUNC:
		if (ex->fn && ex->arg_count == 2 && !(ex->fn->sql_name[0] >= 'a' && ex->fn->sql_name[0] <= 'z'))
			return arena_printf(o->arena, "(%s %s %s)", expr_text(o, ex->args[0], in, in2), ex->fn->sql_name,
					    expr_text(o, ex->args[1], in, in2));
		if (ex->fn && !strcmp(ex->fn->sql_name, "::"))
			return arena_printf(o->arena, "(%s)::%s", expr_text(o, ex->args[0], in, in2),
					    type_format(ex->type, o->arena));
		break;
	default:
		break;
	}
	out = arena_strdup(o->arena, "");
	for (uint32_t i = 0; i < ex->arg_count; i++)
		out = arena_printf(o->arena, "%s%s%s", out, i ? ", " : "", expr_text(o, ex->args[i], in, in2));
	return arena_printf(o->arena, "%s(%s)", ex->fn ? ex->fn->sql_name : ex->kind == EX_IN ? "in" : "expr", out);
}

static char *key_conditions(struct out *o, const struct plan *p, const struct plan *values)
{
	char *text = arena_strdup(o->arena, "");
	const struct table_access *ta = &p->table;

	for (uint32_t i = 0; i < ta->key_count; i++) {
		const struct index_key *k = &ta->keys[i];
		const char *name = ta->table->columns[k->attno - 1].name, *sep = i ? " AND " : "";

		if (k->eq)
			text = arena_printf(o->arena, "%s%s(%s = %s)", text, sep, name, expr_text(o, k->eq, values, NULL));
		else if (k->is_null)
			text = arena_printf(o->arena, "%s%s(%s IS NULL)", text, sep, name);
		else if (k->in)
			text = arena_printf(o->arena, "%s%s(%s = ANY (…))", text, sep, name);
		if (k->lo)
			text = arena_printf(o->arena, "%s%s(%s %s %s)", text, sep, name, k->lo_inclusive ? ">=" : ">",
					    expr_text(o, k->lo, values, NULL));
		if (k->hi)
			text = arena_printf(o->arena, "%s%s(%s %s %s)", text, k->lo ? " AND " : sep, name,
					    k->hi_inclusive ? "<=" : "<", expr_text(o, k->hi, values, NULL));
	}
	return text;
}

static uint32_t conjuncts(const struct expr *ex)
{
	uint32_t n = 0;

	if (ex->kind != EX_AND)
		return 1;
	for (uint32_t i = 0; i < ex->arg_count; i++)
		n += conjuncts(ex->args[i]);
	return n;
}

static void details(struct out *o, const struct plan *p, uint32_t indent)
{
	struct arena *a = o->arena;
	char *text;

	if (p->kind == PLAN_INDEX && p->table.key_count)
		line(o, indent, arena_printf(a, "Index Cond: (%s)", key_conditions(o, p, p)));
	if (p->kind == PLAN_HASHJOIN) {
		text = arena_strdup(a, "");
		for (uint32_t i = 0; i < p->hash_count; i++)
			text = arena_printf(a, "%s%s(%s = %s)", text, i ? " AND " : "", expr_text(o, p->hash_left[i], p->left, NULL),
					    expr_text(o, p->hash_right[i], p->right, NULL));
		if (p->hash_count)
			line(o, indent, arena_printf(a, "Hash Cond: %s", text));
	}
	if (p->join_cond && p->kind != PLAN_INDEXJOIN)
		line(o, indent, arena_printf(a, "Join Filter: %s", expr_text(o, p->join_cond, p->left, p->right)));
	if (p->kind == PLAN_SORT) {
		text = arena_strdup(a, "");
		for (uint32_t i = 0; i < p->sort.key_count; i++)
			text = arena_printf(a, "%s%s%s%s", text, i ? ", " : "", slot_text(o, p->left, p->sort.keys[i].slot),
					    p->sort.keys[i].desc ? " DESC" : "");
		line(o, indent, arena_printf(a, "Sort Key: %s", text));
	}
	if (p->kind == PLAN_AGG && p->agg.group_count) {
		text = arena_strdup(a, "");
		for (uint32_t i = 0; i < p->agg.group_count; i++)
			text = arena_printf(a, "%s%s%s", text, i ? ", " : "", expr_text(o, p->agg.groups[i], p->left, NULL));
		line(o, indent, arena_printf(a, "Group Key: %s", text));
	}
	/* conditions that are all in the key are only checked again */
	if (p->filter && !(p->kind == PLAN_INDEX && conjuncts(p->filter) <= p->table.key_count))
		line(o, indent, arena_printf(a, "Filter: %s", expr_text(o, p->filter, p, NULL)));
}

/* Projections and such hand rows on: PostgreSQL does not show them. */
static bool silent(const struct plan *p)
{
	return p->kind == PLAN_PROJECT && p->left && p->left->kind != PLAN_RESULT;
}

static const char *figures(struct out *o, const struct plan *p, const struct op *op)
{
	const char *est = "", *act = "";

	if (o->costs && p->rows > 0)
		est = arena_printf(o->arena, "  (rows=%.0f)", p->rows);
	if (o->analyze && op)
		act = op->loops ? arena_printf(o->arena, " (actual time=%.3f rows=%llu loops=%llu)", (double)op->time_us / 1000,
					       (unsigned long long)op->rows_out, (unsigned long long)op->loops) :
				  " (never executed)";
	return arena_printf(o->arena, "%s%s", est, act);
}

static void node(struct out *o, const struct plan *p, const struct op *op, uint32_t depth, const char *title)
{
	uint32_t indent = depth ? depth * 6 - 4 : 0, inside = depth ? indent + 6 : 2;

	if (silent(p)) {
		node(o, p->left, op ? op->left : NULL, depth, title);
		return;
	}
	if (title)
		line(o, depth ? indent : 0, title);
	line(o, indent, arena_printf(o->arena, "%s%s%s", depth ? "->  " : "", node_name(o, p), figures(o, p, op)));
	details(o, p, inside);
	if (p->left)
		node(o, p->left, op ? op->left : NULL, depth + 1, NULL);
	if (p->right)
		node(o, p->right, op ? op->right : NULL, depth + 1, NULL);
	if (p->kind == PLAN_INDEXJOIN) {
		line(o, inside, arena_printf(o->arena, "->  %s", table_words(o, p, arena_printf(o->arena, "Index Scan using %s",
												 p->table.index->name))));
		line(o, inside + 6, arena_printf(o->arena, "Index Cond: (%s)", key_conditions(o, p, p->left)));
	}
	for (uint32_t i = 0; p->kind == PLAN_APPLY && i < p->apply.item_count; i++)
		if (p->apply.items[i].plan)
			node(o, p->apply.items[i].plan, NULL, depth + 1, arena_printf(o->arena, "  SubPlan %u", i + 1));
}

/* -- JSON -------------------------------------------------------------------------------------------------------------- */

static void json_string(struct buf *b, const char *s)
{
	buf_put(b, "\"", 1);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			buf_printf(b, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			buf_printf(b, "\\u%04x", *s);
		else
			buf_put(b, s, 1);
	}
	buf_put(b, "\"", 1);
}

static void json_node(struct out *o, const struct plan *p, const struct op *op, uint32_t indent)
{
	struct buf *b = &o->buf;
	bool first = true;

	buf_printf(b, "{\n%*s\"Node Type\": ", indent + 2, "");
	json_string(b, node_name(o, p));
	buf_printf(b, ",\n%*s\"Plan Rows\": %.0f", indent + 2, "", p->rows);
	if (o->analyze && op)
		buf_printf(b, ",\n%*s\"Actual Total Time\": %.3f,\n%*s\"Actual Rows\": %llu,\n%*s\"Actual Loops\": %llu",
			   indent + 2, "", (double)op->time_us / 1000, indent + 2, "", (unsigned long long)op->rows_out, indent + 2,
			   "", (unsigned long long)op->loops);
	if (p->filter) {
		buf_printf(b, ",\n%*s\"Filter\": ", indent + 2, "");
		json_string(b, expr_text(o, p->filter, p, NULL));
	}
	if (p->left || p->right) {
		buf_printf(b, ",\n%*s\"Plans\": [", indent + 2, "");
		for (int side = 0; side < 2; side++) {
			const struct plan *c = side ? p->right : p->left;

			if (!c)
				continue;
			buf_printf(b, "%s\n%*s", first ? "" : ",", indent + 4, "");
			json_node(o, c, op ? (side ? op->right : op->left) : NULL, indent + 4);
			first = false;
		}
		buf_printf(b, "\n%*s]", indent + 2, "");
	}
	buf_printf(b, "\n%*s}", indent, "");
}

void explain_text(const struct stmt *st, const struct plan_root *root, const struct exec *ex, uint64_t us,
		  struct arena *arena, struct rowset *out)
{
	struct out o = {.arena = arena, .rows = out, .stmt = st, .query = st->query, .analyze = st->analyze, .costs = st->costs};
	struct cell c = {.phys = PHYS_VAR};

	if (st->explain_format == EXPLAIN_JSON) {
		buf_init(&o.buf, arena->mem);
		buf_printf(&o.buf, "[\n  {\n    \"Plan\": ");
		json_node(&o, root->plan, ex->top, 4);
		if (st->analyze)
			buf_printf(&o.buf, ",\n    \"Execution Time\": %.3f", (double)us / 1000);
		buf_printf(&o.buf, "\n  }\n]");
		c.var = o.buf.data;
		c.bytes = (uint32_t)o.buf.size;
		rowset_add_row(out, &c);
		buf_fini(&o.buf);
		return;
	}
	node(&o, root->plan, ex->top, 0, NULL);
	for (uint32_t i = 0; i < root->init_count; i++)
		node(&o, root->inits[i].plan, ex->inits[i], 1,
		     arena_printf(arena, "InitPlan %u (returns $%u)", i + 1, root->inits[i].param));
	for (uint32_t i = 0; i < root->cte_count; i++)
		node(&o, root->ctes[i], ex->ctes[i].op, 1, arena_printf(arena, "CTE %u", i + 1));
	if (st->analyze)
		line(&o, 0, arena_printf(arena, "Execution Time: %.3f ms", (double)us / 1000));
}
