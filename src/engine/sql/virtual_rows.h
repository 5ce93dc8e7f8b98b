/*
 * virtual_rows.h - rows of the system catalogs and of valence.* (engine/sql).
 */
#ifndef VALENCE_ENGINE_SQL_VIRTUAL_ROWS_H
#define VALENCE_ENGINE_SQL_VIRTUAL_ROWS_H

#include "engine/sql/exec.h"

struct virtual_rows;
/* NULL with ex->err set: no such view. Lives in arena. */
struct virtual_rows *virtual_rows_open(struct exec *ex, const char *name, const struct range_rel *rel,
				       struct arena *arena);
/* The next row, a cell for each column of rel, lent until the next call (values live in arena). ST_END, ST_WAIT. */
MUST_CHECK enum status virtual_rows_next(struct virtual_rows *v, struct arena *arena, const struct cell **row_out);

#endif
