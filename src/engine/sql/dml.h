/*
 * dml.h - changing rows, a vector at a time (engine/sql): INSERT, UPDATE, DELETE, ON CONFLICT and COPY FROM.
 *
 * A batch is: compute what is to be stored and check it; lock rows and unique keys (may wait; ST_AGAIN asks for
 * a restart of the statement); put (never waits); let the overlay flow. Where it stands is kept: calling dml_run again
 * after ST_WAIT goes on at the same place, and nothing is put twice.
 */
#ifndef VALENCE_ENGINE_SQL_DML_H
#define VALENCE_ENGINE_SQL_DML_H

#include "base/map.h"
#include "engine/sql/exec.h"

struct dml_keys { struct slice *removed, *added; bool *removed_null, *added_null; };

struct dml {
	struct exec *ex;
	const struct table_def *table;
	const struct plan_modify *plan;
	struct arena arena;             /* of the batch: cells, keys */
	struct buf key_buf;
	struct map touched;             /* ON CONFLICT DO UPDATE: rows that this statement inserted or changed */
	uint8_t kind, phase;
	uint32_t n;                     /* rows of the batch */
	row_id *ids;                    /* of the old rows; INSERT: of the new ones when put */
	struct cell *old_cells, *new_cells; /* [row * column_count + attno - 1], executor's values */
	bool *skip;                     /* not to be put: a conflict that is nothing, or an update */
	struct dml_keys *keys;          /* by index */
	uint32_t index_at;
	row_id *conflicts;              /* ON CONFLICT DO UPDATE: the row in the way */
	struct dml *update;             /* and the batch that changes those */
	uint32_t update_count;
	uint64_t affected;              /* rows put by finished batches */
};

void dml_init(struct dml *d, struct exec *ex, const struct plan_modify *plan);
void dml_fini(struct dml *d);
/* Forgets the current batch and what was touched: for a restart. */
void dml_reset(struct dml *d);
/* A new batch of n rows: cells and ids are zeroed arrays in the batch's arena, for the caller to fill. */
void dml_batch(struct dml *d, uint8_t kind, uint32_t n);
/* ST_OK: the batch is put. ST_WAIT, ST_AGAIN, errors with PostgreSQL's words. */
MUST_CHECK enum status dml_run(struct dml *d);
static inline struct cell *dml_old(struct dml *d, uint32_t row)
{
	return d->old_cells + (size_t)row * d->table->column_count;
}
static inline struct cell *dml_new(struct dml *d, uint32_t row)
{
	return d->new_cells + (size_t)row * d->table->column_count;
}
/* 'null value in column …' and 'duplicate key value …' with their fields; cells by attno - 1, NULL unknown. */
/* A null that a column has already, found when NOT NULL is added; returns ST_NOT_NULL. */
enum status dml_contains_null(struct error *err, const struct table_def *t, uint16_t attno);
enum status dml_null_error(struct error *err, const struct table_def *t, uint16_t attno, const struct cell *cells);
enum status dml_unique_error(struct exec *ex, const struct table_def *t, const struct index_def *ix,
			     const struct cell *cells);

#endif
