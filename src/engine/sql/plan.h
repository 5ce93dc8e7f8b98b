/*
 * plan.h - plans: what the planner makes of a bound query and the operators run (engine/sql).
 *
 * A plan is immutable and lives in its statement's arena; one plan may be run many times. Every node names its
 * columns by where they come from (relation of the query and column number), so that an expression over
 * the query's columns finds its inputs in whatever order joins put them. Values that cross levels (correlated
 * subqueries, lateral joins, uncorrelated subqueries' results) are parameters numbered after the statement's own.
 */
#ifndef VALENCE_ENGINE_SQL_PLAN_H
#define VALENCE_ENGINE_SQL_PLAN_H

#include "engine/sql/query.h"

enum plan_kind {
	PLAN_RESULT,    /* one row without columns */
	PLAN_SCAN, PLAN_INDEX, PLAN_VIRTUAL, PLAN_VALUES, PLAN_FUNCTION, PLAN_CTE,
	PLAN_FILTER, PLAN_PROJECT, PLAN_APPLY, PLAN_LOCK, PLAN_LIMIT, PLAN_MATERIAL,
	PLAN_NESTLOOP,  /* the right side is run again for every row of the left */
	PLAN_INDEXJOIN, /* index lookups on a table for every row of the left */
	PLAN_HASHJOIN,  /* the right side is the hash table */
	PLAN_AGG, PLAN_SORT, PLAN_UNIQUE, PLAN_SETOP, PLAN_APPEND, PLAN_MODIFY, PLAN_KIND_COUNT
};

/* Relations of plan columns that are none of the query. */
#define REL_GROUP  UINT32_C(0xfffffff0) /* attno: number of the group expression */
#define REL_AGG    UINT32_C(0xfffffff1) /* number of the aggregate */
#define REL_EXTRA  UINT32_C(0xfffffff2) /* what an APPLY computed */
#define REL_TARGET UINT32_C(0xfffffff3) /* number of the target */
struct plan_col { uint32_t rel; uint16_t attno; struct sql_type type; };

/* One bound of an index range: the columns' leading equalities, then at most one range. */
struct index_key {
	uint16_t attno;
	struct sql_type type;
	struct expr *eq;                /* NULL with is_null false: no equality */
	bool is_null;
	struct expr *in;                /* EX_IN or EX_ANY_ARRAY: one range for each value (one key of an index at most) */
	struct expr *lo, *hi;           /* the last key only */
	bool lo_inclusive, hi_inclusive;
};
struct table_access {
	const struct table_def *table;
	uint32_t want_count;
	struct access_want *wants;      /* stored columns; */
	uint32_t *want_slots;           /* and where they go */
	uint32_t rowid_slot;            /* UINT32_MAX: not wanted */
	const struct index_def *index;
	uint32_t key_count;
	struct index_key *keys;
	bool unique_point;              /* whole key of a unique index by equalities */
	bool backward;
	bool ordered;                   /* someone relies on the order */
};

struct sort_key { uint32_t slot; uint32_t oid; bool desc, nulls_first; };
enum apply_kind { APPLY_SUBQUERY, APPLY_NEXTVAL, APPLY_CALL };
struct param_set { uint32_t param; struct expr *value; }; /* value over the input's columns */
struct apply_item {
	uint8_t kind;
	struct expr *expr;              /* with its arguments over the input's columns */
	struct plan *plan;              /* APPLY_SUBQUERY */
	uint32_t set_count;
	struct param_set *sets;
	uint32_t key_count;             /* parameters that the subquery's result depends on (cache) */
	uint32_t *key_params;
	struct expr *test;              /* ANY, ALL: EX_FUNC over (arguments…, columns…) */
	bool hashable;                  /* ANY by plain equality: look up by hash */
	bool is_volatile;
};

struct modify_index { const struct index_def *index; bool changed; };
struct plan_modify {
	uint8_t kind;                   /* Q_INSERT, Q_UPDATE, Q_DELETE */
	const struct table_def *table;
	bool stream;                    /* the source cannot see what is changed: no need to read it first */
	uint32_t rowid_slot;            /* of the input: UPDATE, DELETE */
	uint32_t *old_slots;            /* by attno - 1: where the input has the column; UINT32_MAX nowhere */
	uint32_t insert_count;          /* INSERT: input column i is insert_attnos[i] */
	const uint16_t *insert_attnos;
	uint32_t set_count;
	const uint16_t *set_attnos;
	struct expr **set_exprs;        /* over the input; ON CONFLICT: over old row (columns), then EXCLUDED's */
	uint8_t conflict;
	const struct index_def *conflict_index;
	struct expr *conflict_where;
	uint32_t check_count;
	struct expr **checks;           /* over the new row: slot attno - 1 */
	const char **check_names;
	bool returning;                 /* the output is wanted: input columns with the new values, or the row */
};

struct plan {
	uint8_t kind;
	struct plan *left, *right;
	uint32_t col_count;
	struct plan_col *cols;
	double rows;                    /* estimate; 0 unknown */
	struct expr *filter;            /* what is left to check of its output */
	const char *alias;
	union {
		struct table_access table;                              /* SCAN, INDEX, INDEXJOIN */
		struct { const char *name; const struct range_rel *rel; uint32_t *attnos; } virt;
		struct { uint32_t row_count; struct expr ***rows; } values;
		struct { uint8_t function; struct expr **args; uint32_t arg_count; const struct fn_def *add; } function;
		struct { uint32_t number; } cte;
		struct { struct expr **exprs; } project;
		struct { uint32_t item_count; struct apply_item *items; } apply;
		struct { uint32_t lock_count; uint32_t *slots; const struct table_def **tables; uint8_t mode;
			 bool nowait, skip, limited; } lock;
		struct { struct expr *limit, *offset; } limit;
		struct { bool keep; } material;                         /* keep over resets: nothing in it depends on parameters */
		struct { uint32_t group_count; struct expr **groups; uint32_t agg_count; struct agg_use *aggs; } agg;
		struct { uint32_t key_count; struct sort_key *keys; struct expr *limit, *offset; } sort;
		struct { uint32_t key_count; uint32_t *slots, *oids; } unique;
		struct { uint8_t op; bool all; } setop;
		struct plan_modify *modify;
	};
	/* joins */
	uint8_t join;                   /* enum join_type; the left side is the outer one */
	uint32_t join_left_cols;        /* input of join_cond: the left side's columns, then the right side's */
	struct expr *join_cond;         /* what decides a match beside hash keys */
	uint32_t hash_count;
	struct expr **hash_left, **hash_right;
	uint32_t *hash_oids;
	uint32_t set_count;             /* NESTLOOP: parameters of the right side from the left row */
	struct param_set *sets;
};

struct init_plan { struct plan *plan; uint32_t param; uint8_t sub_kind; struct sql_type type; };
struct rel_use { rel_id id; bool write; };
struct plan_root {
	struct plan *plan;
	uint32_t param_count;           /* of the statement */
	uint32_t param_total;           /* with the planner's own */
	uint32_t init_count;
	struct init_plan *inits;
	uint32_t cte_count;
	struct plan **ctes;
	bool *cte_modifies;             /* run to its end before the tree */
	uint32_t use_count;
	struct rel_use *uses;
	seq_index unseen;               /* built then, an index is too new for the snapshot that this was planned for; 0: none was */
	bool restarts;                  /* may ask for a restart after rows came: none goes out before all are there */
	bool writes;
	bool has_rows;                  /* SELECT or RETURNING */
	uint32_t column_count;          /* visible */
};

struct access;
/* Plans a bound query. Everything is made in arena. Errors: what cannot be planned (ST_UNSUPPORTED), ST_TOO_COMPLEX. */
MUST_CHECK enum status plan_query(struct access *access, const struct query *q, uint32_t param_count,
				  struct arena *arena, struct plan_root **out, struct error *err);

/* -- the planner's own ------------------------------------------------------------------------------- */

struct plan_shared {
	struct access *access;
	struct arena *arena;
	struct error *err;
	enum status status;             /* first failure; everything returns something harmless after it */
	uint32_t param_total;
	struct plan_root *root;
	const struct query **cte_queries; /* those met; number in root->ctes */
	uint32_t cte_cap, init_cap, use_cap, extra, depth;
};
struct outer_ref { uint32_t rel; uint16_t attno, levels_up; uint32_t param; struct sql_type type; };
struct planner {
	struct plan_shared *sh;
	struct planner *outer;
	const struct query *q;
	uint64_t **needed;              /* by relation: bits of attnos (0: row id) */
	uint32_t outer_count, outer_cap;
	struct outer_ref *outers;       /* parameters that this level takes from outside */
	bool post_agg;
	const struct sort_item *order;  /* an order that would be welcome of a lone table */
	uint32_t order_count;
	bool order_limited, order_met;
};

struct plan *plan_new(struct planner *pl, enum plan_kind kind, struct plan *left, struct plan *right);
void plan_cols_copy(struct planner *pl, struct plan *p, const struct plan *from);
void plan_col_add(struct planner *pl, struct plan *p, uint32_t rel, uint16_t attno, struct sql_type type);
uint32_t plan_col_find(const struct plan *p, uint32_t rel, uint16_t attno); /* UINT32_MAX: none */
enum status plan_fail(struct plan_shared *sh, enum status st, const char *what);
struct plan *plan_level(struct planner *outer, const struct query *q, struct planner *self);
struct plan *plan_select(struct planner *pl);
struct plan *plan_from_where(struct planner *pl);
struct plan *plan_modify(struct planner *pl);
/* ex over the query's columns -> over (*in)'s columns; wraps *in with an APPLY for what must be computed before. */
struct expr *plan_expr(struct planner *pl, struct plan **in, const struct expr *ex);
/* The same where there is no input: only constants, parameters, outer columns. NULL *in with failure otherwise. */
struct plan *plan_filter(struct planner *pl, struct plan *in, struct expr **conds, uint32_t count);
uint32_t outer_param(struct planner *pl, uint32_t rel, uint16_t attno, uint16_t levels_up, struct sql_type type);
void plan_use(struct planner *pl, rel_id id, bool write);

typedef void (*column_fn)(void *ctx, const struct expr *column, uint32_t level); /* level: how deep below */
void expr_columns(const struct expr *ex, uint32_t level, column_fn fn, void *ctx);
void query_columns(const struct query *q, uint32_t level, column_fn fn, void *ctx);
uint64_t expr_rels(const struct expr *ex);      /* relations of its own level, those in subqueries too */
bool expr_equal(const struct expr *a, const struct expr *b);
bool expr_has(const struct expr *ex, enum expr_kind kind);
bool expr_volatile(const struct expr *ex);
bool expr_waits(const struct expr *ex);         /* has something that must be computed by an APPLY */
void expr_conjuncts(struct expr *ex, struct expr ***list, uint32_t *count, uint32_t *cap, struct arena *arena);
struct expr *expr_make_and(struct expr **list, uint32_t count, struct arena *arena);
struct expr *expr_input(struct arena *arena, uint32_t slot, struct sql_type type);
const struct expr *expr_bare(const struct expr *ex);    /* without casts that change nothing */
bool query_is_volatile(const struct query *q);
bool query_reads(const struct query *q, rel_id table);

/* Keys of an index that conds can give. allowed: relations whose columns may appear in the values (0: none). Returns the score. */
struct index_choice {
	const struct index_def *index;
	uint32_t key_count;
	struct index_key *keys;         /* values still over the query's columns */
	bool unique_point, ordered, backward;
	double selectivity;
};
bool plan_choose_index(struct planner *pl, uint32_t rel, struct expr **conds, uint32_t cond_count, uint64_t allowed,
		       double rows, struct index_choice *out);

#endif
