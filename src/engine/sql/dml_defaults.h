/*
 * dml_defaults.h - default values of columns that a source does not give: COPY FROM, ADD COLUMN (engine/sql).
 */
#ifndef VALENCE_ENGINE_SQL_DML_DEFAULTS_H
#define VALENCE_ENGINE_SQL_DML_DEFAULTS_H

#include "engine/sql/dml.h"

struct default_value {
	uint16_t attno;
	struct expr *expr;      /* sequences replaced by inputs */
	uint32_t sequence_count;
	rel_id *sequences;      /* input i is the next value of sequences[i] */
};
void default_prepare(struct default_value *d, uint16_t attno, const struct expr *expr, struct arena *arena);
/* Values of the n new rows of dml's batch; ST_WAIT for a sequence: nothing was taken, call again. */
MUST_CHECK enum status default_fill(const struct default_value *d, struct dml *dml, uint32_t n);

#endif
