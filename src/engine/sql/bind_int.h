/*
 * bind_int.h - shared by the binder's files (engine/sql).
 *
 * A struct bind is one binding of one statement; a struct scope is one query level in it. Functions that make
 * something return NULL (or false) when they failed; the reason, ST_WAIT included, is then in bind.st and the
 * caller just returns. The statement as written is never changed and nothing outside the arena is: a binding that
 * waited is thrown away and made again (S15).
 */
#ifndef VALENCE_ENGINE_SQL_BIND_INT_H
#define VALENCE_ENGINE_SQL_BIND_INT_H

#include <string.h>

#include "base/assert.h"
#include "engine/sql/ast.h"
#include "engine/sql/query.h"
#include "engine/sql/virtual.h"
#include "engine/txn/access.h"

#define BIND_NODES_MAX 4000000u  /* BETWEEN, CASE and rows bind a part more than once: nested, that multiplies */
#define BIND_PARAMS_MAX 65535u

struct bind_table { rel_id id; const struct table_def *table; struct bind_table *next; };
struct bind {
	const struct bind_context *cx;
	struct arena *arena;
	enum status st;
	uint32_t depth, nodes;
	uint32_t *params;            /* types by number - 1; T_UNKNOWN: not yet known */
	uint32_t param_count, param_cap;
	bool params_allowed;
	struct bind_table *tables;   /* copies of definitions: they outlive the transaction that lent them */
	uint32_t notice_count, notice_cap;
	const char **notices;
};

enum bind_place {
	AT_TARGETS, AT_FROM_CALL, AT_ON, AT_WHERE, AT_GROUP_BY, AT_HAVING, AT_ORDER_BY, AT_DISTINCT_ON, AT_LIMIT, AT_OFFSET,
	AT_VALUES, AT_UPDATE_SET, AT_RETURNING, AT_FILTER, AT_DEFAULT, AT_CHECK, AT_EXECUTE, AT_INDEX
};
#define NO_REL UINT32_MAX
struct scope_column { const char *name; struct expr *expr; }; /* name NULL: dropped */
struct scope_item {
	const char *alias, *schema;  /* schema: of a table without an alias; alias NULL: a join without one */
	uint32_t rel;                /* NO_REL: a join */
	uint32_t column_count;
	struct scope_column *columns;
	bool rel_visible, columns_visible, lateral_only, lateral_ok;
};
struct scope_items { uint32_t count, cap; struct scope_item *at; };
struct scope_cte { const char *name; struct query *query; const char *const *names; bool correlated; struct scope_cte *next; };

struct scope {
	struct bind *b;
	struct scope *parent;
	struct query *q;
	struct scope_items items;
	uint32_t rel_cap, target_cap, sort_cap, agg_cap;
	struct scope_cte *ctes;
	uint8_t place;               /* enum bind_place */
	bool lateral, in_agg, keep_unknown;
	uint32_t srf_rel;            /* 1 + the rel of a set-returning function of the select list */
};

/* bind.c */
void *bind_fail(struct bind *b, enum status st, int pos, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void *bind_unsupported(struct bind *b, int pos, const char *what);
void *bind_fail_at(struct bind *b, enum status st, int pos); /* err is filled; adds the position */
void bind_hint(struct bind *b, const char *hint);
void bind_detail(struct bind *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void bind_notice(struct bind *b, const char *text);
bool bind_enter(struct bind *b);
void bind_leave(struct bind *b);
struct expr *bind_node(struct bind *b, enum expr_kind kind, uint32_t arg_count, uint32_t type, int pos);
const char *bind_type_name(struct bind *b, uint32_t oid);
const char *place_name(enum bind_place place);

/* bind_coerce.c */
struct expr *bind_const_i(struct bind *b, uint32_t type, int64_t v);
struct expr *bind_const_text(struct bind *b, uint32_t type, const char *s, int pos);
struct expr *bind_const_null(struct bind *b, struct sql_type t, int pos);
struct expr *bind_call(struct bind *b, const struct fn_def *fn, uint32_t count, struct expr **args, int pos);
struct expr *bind_relabel(struct bind *b, const struct expr *x, struct sql_type t);
bool bind_can_coerce(const struct expr *x, uint32_t to, enum cast_context cx);
struct expr *bind_coerce(struct bind *b, struct expr *x, uint32_t to, enum cast_context cx, int pos);
struct expr *bind_cast(struct bind *b, struct expr *x, struct sql_type to, enum cast_context cx, int pos);
struct expr *bind_to_bool(struct bind *b, struct expr *x, const char *what);
struct expr *bind_to_type(struct bind *b, struct expr *x, uint32_t to, const char *what);
struct expr *bind_assign(struct bind *b, struct expr *x, const struct column_def *c, int pos);
bool bind_common(struct bind *b, struct expr *const *x, uint32_t count, const char *what, uint32_t *out);
struct expr *bind_operator(struct bind *b, const char *name, struct expr *l, struct expr *r, int pos);
const struct fn_def *bind_operator_fn(struct bind *b, const char *name, uint32_t l, uint32_t r, uint32_t coerce[2], int pos);
bool bind_settle(struct bind *b, struct expr **x); /* unknown → text */

/* bind_type.c */
bool bind_type(struct bind *b, const struct ast_type *t, struct sql_type *out);
bool bind_cast_type(struct bind *b, const struct ast_type *t, struct sql_type *out);
bool bind_typmod(struct bind *b, const struct ast_type *t, uint32_t oid, int32_t *out);
struct expr *bind_interval_literal(struct bind *b, const struct ast_expr *lit, const struct ast_type *t, int pos);
bool bind_interval_fields(const struct ast_type *t, int32_t *fields_out);

/* bind_name.c */
bool bind_has_catalog(const struct bind *b);
enum status bind_relation_named(struct bind *b, const char *schema, const char *name, struct relation_def *out);
enum status bind_relation_by_id(struct bind *b, rel_id id, struct relation_def *out);
bool bind_lookup(struct bind *b, const char *schema, const char *name, struct relation_def *rel, const struct virtual_rel **v);
bool bind_relation(struct bind *b, const struct ast_rel *r, struct relation_def *rel, const struct virtual_rel **v);
const struct table_def *bind_keep_table(struct bind *b, const struct table_def *t);
const struct table_def *bind_table(struct bind *b, const struct ast_rel *r, const char *verb); /* one that can be changed */
const char *bind_rel_text(struct bind *b, const struct ast_rel *r);
int bind_schema_there(struct bind *b, const char *name, rel_id *id_out); /* 1 yes, 0 no, -1 failed or waiting */
bool bind_schema_fixed(const char *name);
const char *bind_create_schema(struct bind *b, const struct ast_rel *r);
bool bind_name_taken(struct bind *b, const char *schema, const char *name, bool *taken_out);
struct expr *bind_regclass(struct bind *b, const char *text, int pos);
struct expr *bind_nextval(struct bind *b, const struct expr *arg, int pos);
bool bind_split_name(struct bind *b, const char *text, const char **schema, const char **name);
struct scope_item *scope_add_item(struct scope *s, struct scope_items *to, const struct scope_item *item);
struct expr *bind_column_ref(struct scope *s, const struct ast_expr *e);
struct scope_item *scope_find_item(struct scope *s, const char *schema, const char *alias, uint32_t *levels_out, int pos);
struct expr *bind_item_column(struct scope *s, const struct scope_item *it, uint32_t column, uint32_t levels, int pos);
struct expr *expr_copy_up(struct bind *b, const struct expr *ex, uint32_t levels);
const struct column_def *table_column(const struct table_def *t, const char *name); /* NULL none; not dropped */

/* bind_expr.c, bind_expr2.c, bind_func.c */
struct expr *bind_expr(struct scope *s, const struct ast_expr *e);
struct expr *bind_expr_place(struct scope *s, const struct ast_expr *e, enum bind_place place);
struct expr *bind_bool_expr(struct scope *s, const struct ast_expr *e, enum bind_place place, const char *what);
struct expr *bind_row_op(struct scope *s, const struct ast_expr *e, const char *op, const struct ast_expr *l,
			 const struct ast_expr *r);
struct expr *bind_sublink(struct scope *s, const struct ast_expr *e);
struct expr *bind_function(struct scope *s, const struct ast_expr *e);
struct expr *bind_named_call(struct bind *b, const char *name, struct expr **args, uint32_t count, int pos);
struct expr *bind_sql_value(struct scope *s, const struct ast_expr *e);
const char *bind_function_name(struct bind *b, const struct ast_expr *e); /* "upper", "valence.applied_index" */
bool set_function_find(const char *name, enum set_function *out);
struct expr *bind_set_function_target(struct scope *s, const struct ast_expr *e, enum set_function fn);

/* bind_from.c */
bool bind_from(struct scope *s, struct ast_from *const *list, uint32_t count);
uint32_t scope_add_rel(struct scope *s, const struct range_rel *r);
struct scope_item *scope_add_table(struct scope *s, const struct table_def *t, const char *alias, const char *schema);
bool bind_range_function(struct scope *s, const char *name, const struct ast_expr *e, struct range_rel *r, int pos);
const struct rel_column *bind_query_columns(struct bind *b, const struct query *q, uint32_t *count_out);

/* bind_select.c, bind_group.c, bind_setop.c */
void scope_init(struct scope *s, struct bind *b, struct scope *parent, enum query_kind kind);
struct query *bind_select(struct bind *b, struct scope *parent, const struct ast_select *a, bool lateral, bool keep_unknown);
bool bind_with(struct scope *s, const struct ast_with *w);
bool bind_targets(struct scope *s, const struct ast_targets *list, enum bind_place place);
uint32_t scope_add_target(struct scope *s, struct expr *x, const char *name, bool junk);
bool scope_finish(struct scope *s);
bool bind_sort_clause(struct scope *s, const struct ast_select *a);
bool bind_distinct(struct scope *s, const struct ast_select *a);
bool bind_limits(struct scope *s, const struct ast_select *a);
bool bind_group_by(struct scope *s, const struct ast_select *a);
bool bind_check_grouping(struct scope *s);
bool bind_set_operation(struct scope *s, const struct ast_select *a);
bool bind_values(struct scope *s, const struct ast_select *a);
const char *figure_name(struct bind *b, const struct ast_expr *e);
struct query *bind_wrap(struct bind *b, struct query *inner, const uint32_t *types);
struct query *bind_pick_column(struct bind *b, struct query *inner, uint32_t column);

/* bind_dml.c */
struct query *bind_dml(struct bind *b, const struct raw_stmt *raw);
struct query *bind_query_stmt(struct bind *b, const struct raw_stmt *raw); /* the four query statements */
struct expr *bind_column_default(struct bind *b, const struct table_def *t, const struct column_def *c); /* a null when none */
bool bind_checks(struct bind *b, struct query *q, const struct table_def *t);
struct expr *bind_sql_text(struct bind *b, const char *text, const struct table_def *t, uint32_t rel, enum bind_place place);
void expr_clear_positions(struct expr *ex);

/* bind_ddl.c, bind_alter.c, bind_utility.c, bind_copy.c: fill stmt; false: failed */
bool bind_create_table(struct bind *b, const struct raw_stmt *raw, struct stmt *st);
bool bind_create_table_as(struct bind *b, const struct raw_stmt *raw, struct stmt *st);
bool bind_create_index(struct bind *b, const struct raw_stmt *raw, struct stmt *st);
bool bind_sequence(struct bind *b, const struct raw_stmt *raw, struct stmt *st);
bool bind_alter_table(struct bind *b, const struct raw_stmt *raw, struct stmt *st);
bool bind_drop(struct bind *b, const struct raw_stmt *raw, struct stmt *st);
bool bind_utility(struct bind *b, const struct raw_stmt *raw, struct stmt *st);
bool bind_copy(struct bind *b, const struct raw_stmt *raw, struct stmt *st);
bool bind_relation_list(struct bind *b, const struct raw_stmt *raw, struct stmt *st, const char *verb);

/* bind_column.c: column and constraint definitions, for CREATE and ALTER TABLE */
struct table_maker {             /* a table definition while it is made */
	struct bind *b;
	struct table_def *t;
	uint32_t column_cap, index_cap, check_cap;
	uint32_t serial_count, serial_cap;
	struct { uint16_t attno; struct sequence_def *seq; } *serials;
	const char **made_names;     /* names given in this statement: the next one must differ */
	uint32_t made_count, made_cap;
};
void maker_init(struct table_maker *m, struct bind *b, struct table_def *t);
bool maker_column(struct table_maker *m, const struct ast_column *c, struct column_def *out);
bool maker_column_constraints(struct table_maker *m, const struct ast_column *c, struct column_def *col);
bool maker_constraint(struct table_maker *m, const struct ast_constraint *c, const char *column);
bool maker_index(struct table_maker *m, const struct ast_constraint *c, const char *column, struct index_def *out);
bool maker_check(struct table_maker *m, const struct ast_constraint *c, const char *column, struct check_def *out);
const char *maker_name(struct table_maker *m, const char *name1, const char *name2, const char *label, bool relation);
const char *bind_default_text(struct bind *b, const struct table_def *t, const struct column_def *c,
			      const struct ast_expr *e, struct expr **bound_out);
bool bind_sequence_options(struct bind *b, const struct ast_option *o, uint32_t count, struct sequence_def *seq, bool alter,
			   bool *restart_out, int64_t *restart_with_out, const struct ast_option **owned_out);
const char *name_cut(struct bind *b, const char *name); /* to SCHEMA_NAME_MAX bytes */
const char *bind_quote_identifier(struct arena *arena, const char *s); /* deparse.c */
const char *bind_quote_literal(struct arena *arena, const char *s);
/* As expr_deparse(), with the names of sequences and tables: for definitions. */
const char *bind_deparse(struct bind *b, const struct expr *ex, const struct query *q);

/* walk.c: over expressions and the queries in them. depth counts the query levels between ex and where the walk began;
 * fn answers true: stop, all over. enter (may be NULL) false: not into the children of ex. */
struct query_walk {
	bool (*fn)(const struct expr *ex, uint32_t depth, void *ctx);
	bool (*enter)(const struct expr *ex, uint32_t depth, void *ctx);
	void *ctx;
};
bool walk_expr(const struct query_walk *w, const struct expr *ex, uint32_t depth);
bool walk_query(const struct query_walk *w, const struct query *q, uint32_t depth);
bool expr_has_columns(const struct expr *ex);  /* of its own level */
bool bind_same(const struct expr *a, const struct expr *b);
bool query_is_correlated(const struct query *q);
void query_shift_levels(struct bind *b, const struct query *q);

#endif
