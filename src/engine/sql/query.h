/*
 * query.h - bound statements: what the binder gives the planner (engine/sql).
 *
 * Names are resolved to definitions and range-table numbers, every expression is typed, implicit casts are
 * explicit nodes, defaults and column lists are filled in, stars are expanded. All in one arena, immutable.
 */
#ifndef VALENCE_ENGINE_SQL_QUERY_H
#define VALENCE_ENGINE_SQL_QUERY_H

#include "base/ids.h"
#include "catalog/schema.h"
#include "engine/sql/expr.h"

enum rel_source { SRC_TABLE, SRC_SUBQUERY, SRC_VALUES, SRC_FUNCTION, SRC_VIRTUAL, SRC_CTE, SRC_JOIN };
enum set_function { SETFN_GENERATE_SERIES, SETFN_UNNEST, SETFN_CHECK_ATOMS, SETFN_ATOM_HASH, SETFN_SCALAR /* any scalar function: one row */ };

struct rel_column { const char *name; struct sql_type type; };

struct range_rel {
	uint8_t source;                 /* enum rel_source */
	const char *alias;              /* how columns are qualified, and EXPLAIN names it */
	uint32_t column_count;
	struct rel_column *columns;     /* EX_COLUMN attno is 1-based into these; SRC_TABLE: by attno, dropped ones with name NULL */
	const struct table_def *table;  /* SRC_TABLE */
	struct query *subquery;         /* SRC_SUBQUERY, SRC_CTE (each use has its own copy or shares: materialised by the executor) */
	bool lateral;
	uint32_t row_count;             /* SRC_VALUES */
	struct expr ***rows;            /*   rows[r][c] */
	uint8_t set_function;           /* SRC_FUNCTION */
	struct expr **args;
	uint32_t arg_count;
	const char *virtual_name;       /* SRC_VIRTUAL: "pg_catalog.pg_class", "valence.engines", … (virtual.h) */
	uint8_t lock;                   /* SRC_TABLE: 0 none, else enum row_lock + 1: FOR UPDATE OF names some of the tables */
};

enum join_type { JOIN_INNER, JOIN_LEFT, JOIN_RIGHT, JOIN_FULL, JOIN_SEMI, JOIN_ANTI };
struct from_node {
	bool is_join;
	uint32_t rel;                   /* !is_join: number in query.rels */
	uint8_t join;                   /* enum join_type (the binder makes the first four only) */
	struct from_node *left, *right;
	struct expr *on;                /* NULL: cross; USING and NATURAL are expanded */
};

struct target { struct expr *expr; const char *name; bool junk; rel_id table; uint16_t attno; /* origin, for Describe */ };
struct sort_item { uint32_t target; bool desc, nulls_first; };  /* by target number (junk ones added for it) */
struct agg_use {
	const struct agg_def *agg;
	uint32_t arg_count;
	struct expr **args;
	bool distinct;
	struct expr *filter;            /* NULL none */
	struct sql_type type;
	uint32_t order_count;           /* string_agg(x ORDER BY y) */
	struct { struct expr *expr; bool desc, nulls_first; } *order;
};

enum query_kind { Q_SELECT, Q_INSERT, Q_UPDATE, Q_DELETE };
enum set_op { SETOP_NONE, SETOP_UNION, SETOP_INTERSECT, SETOP_EXCEPT };
enum conflict_action { CONFLICT_NONE, CONFLICT_NOTHING, CONFLICT_UPDATE };

struct cte { const char *name; struct query *query; };

struct query {
	uint8_t kind;                   /* enum query_kind */
	uint32_t rel_count;
	struct range_rel *rels;
	struct from_node *from;         /* NULL: no FROM (one row) */
	struct expr *where;
	uint32_t target_count;
	struct target *targets;         /* SELECT list; for DML the RETURNING list */
	bool has_aggs;                  /* aggs, GROUP BY or HAVING: then EX_COLUMNs outside aggregates are grouped */
	uint32_t group_count;
	struct expr **groups;
	uint32_t agg_count;
	struct agg_use *aggs;
	struct expr *having;
	bool distinct;
	uint32_t distinct_on_count;     /* DISTINCT ON: first n sort items; target numbers */
	uint32_t *distinct_on;
	uint32_t sort_count;
	struct sort_item *sorts;
	struct expr *limit, *offset;    /* int8, NULL none */
	uint8_t lock;                   /* 0 none, else enum row_lock + 1 of FOR UPDATE … */
	bool lock_nowait, lock_skip;
	/* set operations: then from is NULL and targets are columns of left */
	uint8_t set_op;
	bool set_all;
	struct query *set_left, *set_right;
	/*
	 * Levels: set_left, set_right, source, ctes[].query and the subqueries of rels and expressions are one query level
	 * below this one. A set operation's targets are EX_COLUMNs of rels[0], which has the result's columns and no
	 * subquery; both sides already have the result's types.
	 * DML: rels[target_rel] is the table. UPDATE and DELETE: it is a leaf of from, alone or joined with the others.
	 */
	uint32_t target_rel;
	const struct table_def *table;
	/* INSERT: source gives insert_count columns for insert_attnos (all columns, defaults filled in) */
	struct query *source;           /* SELECT or VALUES query; its targets are in order of insert_attnos, coerced */
	uint32_t insert_count;
	uint16_t *insert_attnos;
	uint8_t conflict;               /* enum conflict_action; EXCLUDED is rels[excluded_rel] */
	const struct index_def *conflict_index; /* NULL: any (DO NOTHING) */
	uint32_t excluded_rel;
	struct expr *conflict_where;
	/* UPDATE (and ON CONFLICT DO UPDATE): set_attnos[i] = set_exprs[i]. COPY FROM's INSERT: defaults of the columns that
	 * are not in insert_attnos. */
	uint32_t set_count;
	uint16_t *set_attnos;
	struct expr **set_exprs;
	/* checks of the table as bound expressions over rels[target_rel]; names beside */
	uint32_t check_count;
	struct expr **checks;
	const char **check_names;
	uint32_t cte_count;
	struct cte *ctes;
};

/* -- every other statement ------------------------------------------------------------------------------ */

enum stmt_kind {
	STMT_QUERY = 1, STMT_EXPLAIN, STMT_BEGIN, STMT_COMMIT, STMT_ROLLBACK, STMT_SAVEPOINT, STMT_RELEASE,
	STMT_ROLLBACK_TO, STMT_SET_TRANSACTION, STMT_SET, STMT_RESET, STMT_SHOW, STMT_PREPARE, STMT_EXECUTE,
	STMT_DEALLOCATE, STMT_DECLARE, STMT_FETCH, STMT_CLOSE, STMT_COPY, STMT_CREATE_TABLE, STMT_CREATE_TABLE_AS,
	STMT_CREATE_INDEX, STMT_CREATE_SEQUENCE, STMT_ALTER_TABLE, STMT_ALTER_SEQUENCE, STMT_DROP, STMT_TRUNCATE,
	STMT_VACUUM /* and ANALYZE, CHECKPOINT: accepted, nothing to do */, STMT_DISCARD, STMT_LOCK, STMT_CREATE_SCHEMA,
	STMT_COMMENT, STMT_EMPTY
};

enum explain_format { EXPLAIN_TEXT, EXPLAIN_JSON };
struct option { const char *name, *value; };  /* WITH (name = value), SET …, COPY options; value NULL: bare */

struct copy_stmt {
	bool from;                      /* FROM STDIN; else TO STDOUT */
	const struct table_def *table;  /* NULL: COPY (query) TO */
	uint32_t column_count;
	uint16_t *attnos;
	struct query *query;            /* TO: a SELECT of what is copied out. FROM: an INSERT whose source is NULL */
	bool csv, binary, header, header_match, freeze;
	char delimiter, quote, escape;
	const char *null_text;
	bool *force_quote, *force_not_null, *force_null; /* by column of the list, or NULL */
};

struct create_table_stmt {
	bool if_not_exists;
	struct table_def *def;          /* ids 0: the executor gives them; indexes of PRIMARY KEY and UNIQUE are in it.
					 * NULL: it exists already (IF NOT EXISTS): nothing to do */
	uint32_t serial_count;          /* columns that need a sequence of their own: name and attno */
	struct { uint16_t attno; struct sequence_def *seq; } *serials;
	struct query *as;               /* CREATE TABLE AS, SELECT INTO */
	bool with_no_data;
};

enum alter_kind { ALTER_ADD_COLUMN, ALTER_DROP_COLUMN, ALTER_ADD_INDEX /* PRIMARY KEY, UNIQUE */, ALTER_DROP_CONSTRAINT,
		  ALTER_SET_DEFAULT, ALTER_DROP_DEFAULT, ALTER_SET_NOT_NULL, ALTER_DROP_NOT_NULL, ALTER_RENAME,
		  ALTER_RENAME_COLUMN, ALTER_OWNER /* accepted, nothing to do */, ALTER_ADD_CHECK };
struct alter_action {
	uint8_t kind;
	struct column_def column;       /* ADD COLUMN; has_missing and missing filled for a constant default */
	bool if_not_exists, if_exists;
	uint16_t attno;
	struct index_def index;         /* ADD_INDEX */
	const char *name, *new_name, *expr_sql;
	struct sequence_def *seq;       /* ADD COLUMN of a serial: its sequence, to be made too; NULL none */
};

/* One bound statement, whatever it is. */
struct stmt {
	uint8_t kind;                   /* enum stmt_kind */
	const char *text;               /* its own part of the source */
	int location;                   /* character offset of text in the source, 0-based */
	const char *tag;                /* "SELECT", "CREATE TABLE": command tag without counts */
	struct query *query;            /* STMT_QUERY, EXPLAIN of a query, DECLARE */
	uint32_t param_count;           /* all parameters used, with their types */
	uint32_t *param_types;
	uint64_t schema_version;        /* access_schema_version() it was bound under */
	/* utilities */
	bool if_exists, cascade, analyze, local, read_only_set, read_only, isolation_set, deferrable_set, deferrable;
	uint8_t isolation;              /* enum isolation, BEGIN / SET TRANSACTION */
	uint8_t explain_format;
	bool verbose, costs;
	const char *name;               /* savepoint, prepared statement, cursor, variable, schema, … */
	const char *value;              /* SET: NULL = DEFAULT */
	struct raw_stmt *inner;         /* PREPARE, EXPLAIN of what is not a query: unbound */
	uint32_t arg_count;
	struct expr **args;             /* EXECUTE */
	uint32_t *arg_types;            /* PREPARE name(types) */
	struct copy_stmt *copy;
	struct create_table_stmt *create_table;
	/* def NULL: nothing to do (IF [NOT] EXISTS), also of sequences */
	struct { bool if_not_exists, concurrently; struct index_def *def; const struct table_def *table; } create_index;
	struct { bool if_not_exists, restart; struct sequence_def *def; int64_t restart_with; } sequence;
	/* rels[0] and drop_kind say what is altered; table NULL: an index or sequence (ALTER_RENAME), or with rel_count 0 nothing */
	struct { const struct table_def *table; uint32_t action_count; struct alter_action *actions; } alter;
	uint8_t drop_kind;              /* enum rel_kind; 0: schema */
	uint32_t rel_count;             /* DROP, TRUNCATE, LOCK: relations that exist (IF EXISTS: others gave notices) */
	rel_id *rels;
	bool restart_identity;
	uint8_t lock_mode;              /* LOCK: 1 ACCESS SHARE ... 8 ACCESS EXCLUSIVE */
	bool lock_at_once;              /* NOWAIT */
	int64_t fetch_count;            /* FETCH; INT64_MAX all */
	bool fetch_backward, hold;
	uint32_t notice_count;
	const char **notices;           /* 'table "x" does not exist, skipping' */
};

/*
 * front.h part: text to bound statements.
 * parse: one or more raw statements of a query string, in arena. Only syntax (42601 with position). No catalog.
 */
struct raw_stmt;                        /* ast.h */
struct raw_list { uint32_t count; struct raw_stmt **at; };
MUST_CHECK enum status sql_parse(const char *text, struct arena *arena, struct raw_list *out, struct error *err);
enum stmt_kind raw_kind(const struct raw_stmt *raw);  /* STMT_BEGIN … without binding: to allow COMMIT in a failed transaction */
/*
 * bind: resolves against the definitions that access_relation() gives. ST_WAIT: call again, nothing changed (S15).
 * param_types: known types of $1…, T_NONE where to be inferred; grown by inference into stmt->param_types.
 */
struct access;
struct bind_catalog { /* where definitions come from instead of access: tests and tools */
	void *ctx;
	enum status (*relation)(void *ctx, const char *schema, const char *name, struct relation_def *out);
	enum status (*relation_by_id)(void *ctx, rel_id id, struct relation_def *out);
};
struct bind_context {
	struct access *access;           /* may be NULL for expressions without names of relations */
	const struct bind_catalog *catalog; /* NULL: access is asked */
	struct arena *arena;
	const uint32_t *param_types;
	uint32_t param_count;
	const char *const *search_path;  /* "pg_catalog" is implicit */
	uint32_t search_path_count;
	struct error *err;
};
MUST_CHECK enum status sql_bind_stmt(const struct bind_context *cx, const struct raw_stmt *raw, struct stmt **out);
/* A bare expression as text (defaults, checks), over one table's columns as rels[0] or none; coerced to @want unless T_NONE. */
MUST_CHECK enum status sql_bind_expr(const struct bind_context *cx, const char *text, const struct table_def *t,
				     struct sql_type want, struct expr **out);
char *expr_deparse(const struct expr *ex, const struct query *q, struct arena *arena); /* for EXPLAIN and messages; SQL that binds again */
char *query_dump(const struct query *q, struct arena *arena);                          /* the whole tree, for tests and debugging */

/* walk.c: rows of one group have one value of ex: it is the grouped expression, or relabels it (but text as bpchar is coarser). */
bool bind_groups(const struct expr *group, const struct expr *ex);

#endif
