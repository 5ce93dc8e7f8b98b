/*
 * ast.h - statements as written: the parser's tree in our own structs (engine/sql).
 *
 * The pgq_*.c files copy libpg_query's raw tree into these; nothing else sees PostgreSQL's headers, and this
 * header includes none of ours that would clash with them. Names are unresolved, nothing is typed. All in one
 * arena, never changed after parsing: binding may run again (S15).
 * Positions are 1-based characters of the whole query string, 0 unknown. Depth is at most AST_DEPTH_MAX.
 * What the grammar accepts and we do not is AX_UNSUPPORTED or RAW_UNSUPPORTED with its name: an error of binding.
 */
#ifndef VALENCE_ENGINE_SQL_AST_H
#define VALENCE_ENGINE_SQL_AST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/status.h"

#define AST_DEPTH_MAX 1000
#define AST_TEXT_MAX (64u << 20) /* bytes of one query string */

struct ast_select;
struct ast_expr;

struct ast_names { uint32_t count; const char **at; };          /* a.b.c */
struct ast_exprs { uint32_t count; struct ast_expr **at; };

struct ast_type {
	struct ast_names names;
	struct ast_exprs mods;
	uint32_t array_dims;
	bool setof, pct_type;
	int pos;
};

enum ast_expr_kind {
	AX_COLUMN,       /* names; star: ends in .* (or is *) */
	AX_PARAM,        /* number */
	AX_NULL, AX_INTEGER /* number */, AX_FLOAT /* text */, AX_STRING /* text */, AX_BOOL /* number */, AX_BITS /* text */,
	AX_OP,           /* names, args: 1 prefix or 2 */
	AX_OP_ANY, AX_OP_ALL, /* args[0] op ANY (args[1]) */
	AX_DISTINCT,     /* negate: IS NOT DISTINCT FROM */
	AX_NULLIF,
	AX_IN,           /* args[0] IN (args[1..]); negate */
	AX_BETWEEN,      /* args[0..2]; negate, symmetric */
	AX_AND, AX_OR, AX_NOT,
	AX_CALL,         /* names, args, call (NULL plain) */
	AX_CAST,         /* args[0], type */
	AX_COLLATE,      /* args[0], names */
	AX_CASE,         /* left: the operand or NULL; args: when, then, …; right: ELSE or NULL */
	AX_COALESCE, AX_GREATEST, AX_LEAST,
	AX_ROW, AX_ARRAY,
	AX_SUBLINK,      /* op: enum ast_sublink; left; names: operator (none: IN); select */
	AX_IS_NULL,      /* negate */
	AX_IS_BOOL,      /* op: enum ast_bool_test; negate */
	AX_SQL_VALUE,    /* op: enum ast_sql_value; number: precision or -1 */
	AX_DEFAULT,
	AX_FIELD,        /* args[0], text: (x).name; star: (x).* */
	AX_SUBSCRIPT,    /* args[0][args[1]] */
	AX_NAMED_ARG,    /* text => args[0] */
	AX_MULTI,        /* SET (a, b) = …: args[0] the row or subselect; number: 1-based column of op columns */
	AX_UNSUPPORTED   /* text: what */
};
enum ast_sublink { AST_SUB_EXISTS, AST_SUB_ALL, AST_SUB_ANY, AST_SUB_SCALAR, AST_SUB_ARRAY };
enum ast_bool_test { AST_IS_TRUE, AST_IS_FALSE, AST_IS_UNKNOWN };
enum ast_sql_value {
	AST_CURRENT_DATE, AST_CURRENT_TIME, AST_CURRENT_TIMESTAMP, AST_LOCALTIME, AST_LOCALTIMESTAMP,
	AST_CURRENT_USER, AST_CURRENT_ROLE, AST_USER, AST_SESSION_USER, AST_CURRENT_CATALOG, AST_CURRENT_SCHEMA
};
enum ast_nulls { AST_NULLS_DEFAULT, AST_NULLS_FIRST, AST_NULLS_LAST };

struct ast_sort {
	struct ast_expr *expr;
	bool desc;
	uint8_t nulls;           /* enum ast_nulls */
	struct ast_names using_op;
	int pos;
};
struct ast_sorts { uint32_t count; struct ast_sort *at; };

struct ast_call {            /* what a call may have beyond its arguments */
	bool star, distinct, variadic, within_group, over;
	struct ast_sorts order;
	struct ast_expr *filter;
};

struct ast_expr {
	uint8_t kind;            /* enum ast_expr_kind */
	uint8_t op;
	bool negate, star, symmetric;
	int pos;
	int64_t number;
	const char *text;
	struct ast_names names;
	uint32_t count;
	struct ast_expr **args;
	struct ast_expr *left, *right;
	struct ast_type *type;
	struct ast_call *call;
	struct ast_select *select;
};

/* -- queries -------------------------------------------------------------------------------------------- */

struct ast_alias { const char *name; struct ast_names columns; };  /* name NULL: none */
struct ast_rel {             /* a relation by name */
	const char *database, *schema, *name;
	char persistence;        /* 'p', 'u' unlogged, 't' temporary */
	bool only;
	struct ast_alias alias;
	int pos;
};
enum ast_from_kind { AF_REL, AF_SELECT, AF_CALLS, AF_JOIN, AF_UNSUPPORTED };
enum ast_join { AJ_INNER, AJ_LEFT, AJ_RIGHT, AJ_FULL };
struct ast_column;
struct ast_from {
	uint8_t kind;            /* enum ast_from_kind */
	uint8_t join;            /* enum ast_join */
	bool lateral, natural, ordinality;
	struct ast_alias alias;
	struct ast_rel *rel;
	struct ast_select *select;
	struct ast_exprs calls;  /* AX_CALL mostly; several: ROWS FROM */
	bool typed_columns;      /* AS t(a int, …) */
	struct ast_from *left, *right;
	struct ast_names using_columns;
	const char *using_alias;
	struct ast_expr *on;
	const char *text;        /* AF_UNSUPPORTED: what */
	int pos;
};
struct ast_target { const char *name; struct ast_expr *expr; bool indirection; /* a[1], a.f */ int pos; };
struct ast_targets { uint32_t count; struct ast_target *at; };

enum ast_cte_materialize { AST_CTE_DEFAULT, AST_CTE_ALWAYS, AST_CTE_NEVER };
struct raw_stmt;
struct ast_cte { const char *name; struct ast_names columns; struct raw_stmt *query; uint8_t materialize; int pos; };
struct ast_with { uint32_t count; struct ast_cte *at; bool recursive; int pos; };
struct ast_lock { uint8_t strength; /* 1 KEY SHARE … 4 UPDATE */ bool nowait, skip; uint32_t rel_count; struct ast_rel **rels; };
struct ast_into { struct ast_rel *rel; struct ast_names columns; bool no_data; uint32_t option_count; struct ast_option *options; };

enum ast_set_op { AST_SET_NONE, AST_SET_UNION, AST_SET_INTERSECT, AST_SET_EXCEPT };
struct ast_select {
	uint8_t set_op;          /* enum ast_set_op: then only left, right, sort, limit, locks, with count */
	bool set_all;
	struct ast_select *left, *right;
	uint32_t row_count;      /* VALUES */
	struct ast_exprs *rows;
	bool distinct;
	struct ast_exprs distinct_on;
	struct ast_targets targets;
	uint32_t from_count;
	struct ast_from **from;
	struct ast_expr *where, *having;
	struct ast_exprs groups;
	bool group_distinct, windows;
	struct ast_sorts sorts;
	struct ast_expr *limit, *offset;
	bool with_ties;
	uint32_t lock_count;
	struct ast_lock *locks;
	struct ast_with *with;
	struct ast_into *into;
	int pos;
};

struct ast_infer { struct ast_exprs columns; bool predicate, other; const char *constraint; int pos; };
struct ast_conflict { bool update; struct ast_infer *infer; struct ast_targets set; struct ast_expr *where; int pos; };
struct ast_dml {             /* INSERT, UPDATE, DELETE */
	struct ast_rel *rel;
	struct ast_targets columns;  /* INSERT (…): names; UPDATE: SET */
	struct ast_select *source;   /* INSERT; NULL: DEFAULT VALUES */
	uint32_t from_count;
	struct ast_from **from;      /* FROM, USING */
	struct ast_expr *where;
	struct ast_targets returning;
	struct ast_conflict *conflict;
	struct ast_with *with;
	uint8_t overriding;          /* 1 user, 2 system */
};

/* -- everything else ------------------------------------------------------------------------------------ */

/* name = value of WITH, COPY, EXPLAIN, sequences, BEGIN, …; value as text, or NULL; number_ok: it was an integer */
struct ast_option {
	const char *name, *value;
	struct ast_names names;      /* value was a list of names: (a, b) or OWNED BY t.a */
	struct ast_type *type;
	bool number_ok, star;
	int64_t number;
	int pos;
};

enum ast_constraint_kind {
	AC_NULL, AC_NOT_NULL, AC_DEFAULT, AC_IDENTITY, AC_CHECK, AC_PRIMARY, AC_UNIQUE, AC_UNSUPPORTED
};
struct ast_constraint {
	uint8_t kind;                /* enum ast_constraint_kind */
	bool deferrable;
	const char *name, *text;     /* text: AC_UNSUPPORTED: what */
	struct ast_expr *expr;
	struct ast_names columns;
	bool including, nulls_not_distinct, always; /* always: AC_IDENTITY */
	const char *using_index;
	uint32_t option_count;
	struct ast_option *options;
	int pos;
};
struct ast_column {
	const char *name;
	struct ast_type *type;       /* NULL: CREATE TABLE AS column names */
	uint32_t constraint_count;
	struct ast_constraint *constraints;
	bool collation;              /* COLLATE other than "default", "C", "POSIX" */
	int pos;
};
struct ast_create_table {
	struct ast_rel *rel;
	bool if_not_exists;
	uint32_t column_count, constraint_count, option_count;
	struct ast_column *columns;
	struct ast_constraint *constraints;
	struct ast_option *options;
	const char *unsupported;     /* INHERITS, PARTITION BY, …: what */
	struct ast_select *as;
	struct ast_into *into;
	const char *execute;         /* AS EXECUTE: unsupported */
};
struct ast_index_column { const char *name; bool desc, opclass, collation; uint8_t nulls; struct ast_expr *expr; };
struct ast_create_index {
	const char *name;
	struct ast_rel *rel;
	bool unique, concurrently, if_not_exists, including, partial, nulls_not_distinct;
	const char *method;
	uint32_t column_count;
	struct ast_index_column *columns;
};
enum ast_alter_kind {
	AA_ADD_COLUMN, AA_DROP_COLUMN, AA_ADD_CONSTRAINT, AA_DROP_CONSTRAINT, AA_DEFAULT /* expr NULL: drop */,
	AA_SET_NOT_NULL, AA_DROP_NOT_NULL, AA_OWNER, AA_IGNORED, AA_RENAME, AA_RENAME_COLUMN, AA_RENAME_CONSTRAINT, AA_UNSUPPORTED
};
struct ast_alter {
	uint8_t kind;                /* enum ast_alter_kind */
	const char *name, *new_name, *text;
	bool missing_ok, cascade;    /* missing_ok: IF [NOT] EXISTS */
	struct ast_column *column;
	struct ast_constraint *constraint;
	struct ast_expr *expr;
};
struct ast_copy {
	struct ast_rel *rel;
	struct raw_stmt *query;
	struct ast_names columns;
	bool from, file, where;
	uint32_t option_count;
	struct ast_option *options;
};

enum raw_type {
	RAW_SELECT, RAW_INSERT, RAW_UPDATE, RAW_DELETE, RAW_EXPLAIN, RAW_BEGIN, RAW_COMMIT, RAW_ROLLBACK, RAW_SAVEPOINT,
	RAW_RELEASE, RAW_ROLLBACK_TO, RAW_SET_TRANSACTION, RAW_SET, RAW_RESET, RAW_SHOW, RAW_PREPARE, RAW_EXECUTE,
	RAW_DEALLOCATE, RAW_DECLARE, RAW_FETCH, RAW_CLOSE, RAW_COPY, RAW_CREATE_TABLE, RAW_CREATE_TABLE_AS,
	RAW_CREATE_INDEX, RAW_CREATE_SEQUENCE, RAW_ALTER_TABLE, RAW_ALTER_SEQUENCE, RAW_DROP, RAW_TRUNCATE, RAW_VACUUM,
	RAW_DISCARD, RAW_LOCK, RAW_CREATE_SCHEMA, RAW_COMMENT, RAW_UNSUPPORTED
};
enum ast_object { AO_TABLE, AO_INDEX, AO_SEQUENCE, AO_SCHEMA, AO_VIEW, AO_OTHER };

struct raw_stmt {
	uint8_t type;                /* enum raw_type */
	const char *source;          /* the whole query string it is part of */
	const char *text;            /* its own part, without surrounding space */
	int location;                /* of text in source: characters, 0-based */
	struct ast_select *select;
	struct ast_dml *dml;
	struct raw_stmt *inner;      /* EXPLAIN, PREPARE, DECLARE */
	struct ast_create_table *create_table;
	struct ast_create_index *create_index;
	struct ast_copy *copy;
	uint32_t alter_count;
	struct ast_alter *alters;
	/* the small ones */
	struct ast_rel *rel;         /* ALTER, CREATE SEQUENCE */
	uint32_t rel_count;          /* DROP, TRUNCATE, LOCK, VACUUM */
	struct ast_rel **rels;
	uint8_t object;              /* enum ast_object of DROP, ALTER, COMMENT, RENAME */
	bool missing_ok;             /* IF EXISTS, IF NOT EXISTS */
	bool cascade, concurrently, local, nowait, restart_identity, chain, is_move, is_analyze, scroll_no;
	bool hold, binary, insensitive, start;
	const char *name, *value;    /* value: SET's list as one text; COMMENT; NULL default */
	bool is_default, all;
	const char *object_name;     /* AO_OTHER: "VIEW", …; RAW_UNSUPPORTED: the statement, "CREATE VIEW" */
	uint32_t option_count;
	struct ast_option *options;  /* EXPLAIN, BEGIN, SET TRANSACTION, sequences */
	struct ast_exprs args;       /* EXECUTE */
	uint32_t type_count;
	struct ast_type **types;     /* PREPARE */
	uint8_t direction;           /* FETCH: 0 forward, 1 backward, 2 absolute, 3 relative */
	int64_t fetch_count;         /* INT64_MAX: all */
	int lock_mode;               /* LOCK: 1 ACCESS SHARE … 8 ACCESS EXCLUSIVE */
	int pos;
};

/*
 * The one door to libpg_query (pgq_parse.c). text: valid UTF-8. Copies everything into arena.
 * ST_SYNTAX with position, ST_TOO_COMPLEX.
 */
MUST_CHECK enum status pgq_parse(const char *text, struct arena *arena, uint32_t *count_out, struct raw_stmt ***out,
				 struct error *err);

#endif
