/*
 * exec.h - operators: vectors of rows pulled through a tree (engine/sql, S13 to S16).
 *
 * A step is *resolve* (may answer STEP_WAIT having changed nothing that a repeat would do twice), then *compute*.
 * STEP_MORE may come with no rows: the budget is used up, or a vector had no match. A batch belongs to the
 * operator that made it and is good until that operator's next step, and within the event-loop turn only (its
 * vectors may point into images, S15): whoever keeps rows across steps copies them (struct rowset).
 *
 * Why pull and not push: every consumer decides when it has enough (LIMIT, EXISTS, a full client), and a
 * tree that returns to its caller after each vector needs no other suspension than the return itself.
 */
#ifndef VALENCE_ENGINE_SQL_EXEC_H
#define VALENCE_ENGINE_SQL_EXEC_H

#include "engine/sql/plan.h"
#include "engine/txn/access.h"

enum step { STEP_MORE, STEP_DONE, STEP_WAIT, STEP_ERROR };

#define WORK_UNITS (64 * 1024)          /* a turn: rows and 64-byte lines (S16) */
struct budget { int64_t left; };
static inline bool budget_spend(struct budget *work, uint64_t units)
{
	work->left -= (int64_t)units;
	return work->left > 0;
}

struct vec_batch {
	uint32_t rows;          /* elements of each vector */
	uint32_t n;             /* selected ones */
	const uint16_t *sel;    /* NULL: 0 .. n - 1 */
	uint32_t col_count;
	struct vec *cols;
};
static inline uint32_t batch_row(const struct vec_batch *b, uint32_t i) { return b->sel ? b->sel[i] : i; }

/* Rows kept across steps: columns in chunks of VEC_ROWS, all of it copied into an arena. */
struct rowset {
	struct arena *arena;
	uint32_t col_count;
	const uint8_t *phys;
	uint64_t count;
	uint32_t chunk_count, chunk_cap, last_cap; /* last_cap: rows that the newest chunk has room for */
	struct vec **chunks;
};
void rowset_init(struct rowset *rs, struct arena *arena, uint32_t col_count, const uint8_t *phys);
void rowset_add(struct rowset *rs, const struct vec_batch *b);
/* One row; cells[i] of column i. Copies. */
void rowset_add_row(struct rowset *rs, const struct cell *cells);
/* The chunk that starts at row @at (a multiple of VEC_ROWS); rows 0 past the end. Lends. */
void rowset_batch(const struct rowset *rs, uint64_t at, struct vec_batch *out);
void rowset_cell(const struct rowset *rs, uint64_t row, uint32_t col, struct cell *out);
static inline const struct vec *rowset_vec(const struct rowset *rs, uint64_t row, uint32_t col)
{
	return &rs->chunks[row / VEC_ROWS][col];
}
/* Rows by number as vectors: values of var columns lend from the set. UINT64_MAX gives a null row. */
void rowset_gather(const struct rowset *rs, uint32_t first_col, uint32_t col_count, const uint64_t *rows, uint32_t n,
		   struct arena *arena, struct vec *out);

/* Copies the selected rows densely: out has rows = n, no selection; var values too. */
void batch_copy(const struct vec_batch *b, struct arena *arena, struct vec_batch *out);
/* Element i of out = element rows[i] of v; lends var values. */
void vec_gather(const struct vec *v, const uint16_t *rows, uint32_t n, struct arena *arena, struct vec *out);
void vec_constant(struct vec *v, const struct cell *c, struct arena *arena); /* lends var */

/* hashes[i] of the selected row i over some columns; equal by value_compare means equal hashes. */
void batch_hash(const struct vec_batch *b, const uint32_t *cols, const uint32_t *oids, uint32_t col_count,
		uint64_t *hashes);
/* -1, 0, 1; nulls equal each other and sort last. */
int vec_compare(uint32_t oid, const struct vec *a, uint32_t a_row, const struct vec *b, uint32_t b_row);

struct sql_session;
struct op;

/* One execution of a planned statement. */
struct cte_state { struct op *op; struct arena arena; struct rowset rows; bool ready, done; };
struct exec {
	struct access *access;
	struct sql_session *session;    /* NULL: no session functions */
	const struct plan_root *root;
	struct mem *mem;                /* what this execution uses */
	size_t limit_bytes;             /* of mem; over it: ST_NOMEM between vectors. 0 none */
	struct arena *arena;            /* as long as the execution */
	struct cell *params;            /* the statement's, then the planner's own */
	uint32_t param_count;
	bool *param_ready;              /* of the planner's own: by number - 1 - first */
	struct eval_hooks hooks;
	struct error *err;
	enum status status;             /* why a step answered STEP_ERROR; ST_AGAIN: restart the statement */
	struct cte_state *ctes;
	struct op **inits;              /* uncorrelated subqueries, run before the tree */
	uint32_t init_at;
	struct rowset init_rows;
	struct arena init_arena;
	struct op *top;
	uint64_t affected;              /* rows changed by the outermost MODIFY */
	bool timing;                    /* EXPLAIN ANALYZE */
};

struct op_class {
	const char *name;
	size_t bytes;                   /* of the struct that starts with struct op */
	enum step (*step)(struct op *op, struct vec_batch *out, struct budget *work);
	void (*open)(struct op *op);    /* once */
	void (*reset)(struct op *op);   /* back to the start; children are reset before */
	void (*close)(struct op *op);   /* frees its arenas */
};
struct op {
	const struct op_class *class;
	const struct plan *plan;
	struct exec *ex;
	struct op *left, *right;
	struct arena scratch;           /* the last batch */
	uint64_t rows_out, loops, time_us;
	bool fresh;
};

/* Builds the operators of root. params: the statement's (param_count of them), copied by pointer values only. */
void exec_open(struct exec *ex, const struct plan_root *root, const struct cell *params, uint32_t param_count);
enum step exec_step(struct exec *ex, struct vec_batch *out, struct budget *work);
void exec_restart(struct exec *ex);     /* everything from the start, after access_statement_restart */
void exec_close(struct exec *ex);

struct op *op_new(struct exec *ex, const struct plan *plan);
enum step op_step(struct op *op, struct vec_batch *out, struct budget *work);
void op_reset(struct op *op);
void op_close(struct op *op);

/* For operators. */
struct eval exec_eval(struct exec *ex, struct arena *arena);
enum step exec_fail(struct exec *ex, enum status st);   /* ST_WAIT: STEP_WAIT, else STEP_ERROR with the reason kept */
enum step exec_memory(struct exec *ex);                 /* STEP_ERROR when over the limit, else STEP_MORE */
/* out = b with only the rows for which all of cond is true; the selection is in arena. */
enum status batch_filter(struct exec *ex, struct arena *arena, const struct expr *cond, struct vec_batch *b);
enum status exec_expr(struct exec *ex, struct arena *arena, const struct expr *e, const struct vec_batch *b,
		      struct vec *out);
uint8_t *plan_phys(const struct plan *p, struct arena *arena);  /* physical classes of its columns */

/* Stored vectors of a table to their places of a batch, converted (S14), and the row ids. */
void table_batch_place(const struct table_access *ta, const struct vec *stored, const row_id *ids, struct vec_batch *b,
		       struct arena *arena);

/* A table, an index (with its table) or a sequence by id: access_relation_by_id does not know indexes by their own. */
MUST_CHECK enum status relation_by_id(struct access *a, rel_id id, struct relation_def *out);

/* Of the session: nextval for currval and lastval. */
void session_note_nextval(struct sql_session *s, rel_id seq, int64_t value);

extern const struct op_class op_result_class, op_scan_class, op_index_class, op_virtual_class, op_values_class,
	op_function_class, op_filter_class, op_project_class, op_apply_class, op_nestloop_class, op_indexjoin_class,
	op_hashjoin_class, op_agg_class, op_sort_class, op_unique_class, op_limit_class, op_setop_class,
	op_append_class, op_material_class, op_cte_class, op_lock_class, op_modify_class;

#endif
