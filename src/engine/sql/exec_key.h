/*
 * exec_key.h - index keys from values: of rows (dml.c) and of conditions (op_scan.c, op_join.c).
 */
#ifndef VALENCE_ENGINE_SQL_EXEC_KEY_H
#define VALENCE_ENGINE_SQL_EXEC_KEY_H

#include "engine/sql/exec.h"

/* A value as the column's own class; -1 / 1: below / above all values of the column; 0 it fits (*out). */
int key_value_fit(struct sql_type column, const struct cell *v, struct cell *out);

struct key_range { struct slice lo, hi; }; /* hi.bytes 0: to the end */
/*
 * The ranges that keys (without IN lists) give for values: value[i] of keys[i].eq, lo, hi of the last one. false: nothing can
 * match. The whole key of equalities alone is range->lo.
 */
bool key_range_make(const struct index_def *ix, const struct index_key *keys, uint32_t count, const struct cell *eq,
		    const struct cell *lo, const struct cell *hi, struct buf *buf, struct arena *arena,
		    struct key_range *out, struct error *err, enum status *st_out);
/* Key of a row for an index: cell(attno) gives values. Sets *null_out when a column is null. */
MUST_CHECK enum status key_of_row(const struct table_def *t, const struct index_def *ix, const struct cell *cells,
				  struct buf *buf, bool *null_out, struct error *err);
/* "(a, b)=(1, x)" for messages; cells by attno - 1. */
void key_text(const struct table_def *t, const struct index_def *ix, const struct cell *cells, struct buf *out);

#endif
