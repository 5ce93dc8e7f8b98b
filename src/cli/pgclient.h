/*
 * pgclient.h - a small client of the PostgreSQL protocol, for the commands that ask engines by SQL (cli).
 *
 * Blocks, up to a time limit for each call. Simple queries, text rows; enough for views, not for applications.
 */
#ifndef VALENCE_CLI_PGCLIENT_H
#define VALENCE_CLI_PGCLIENT_H

#include "base/mem.h"
#include "base/status.h"
#include "cli/cli.h"

struct pgc;
struct pgc_result {
	uint32_t column_count, row_count;
	const char **names;   /* of columns */
	uint32_t *types;      /* their oids */
	const char **values;  /* row by row; NULL: null */
};

/* NULL and err: refused, no answer within timeout_ms, or the engine said no. */
struct pgc *pgc_open(struct mem *mem, const struct cli_address *to, uint32_t timeout_ms, struct error *err);
void pgc_close(struct pgc *c);
/* The last result of the string, in arena. After any error but one of the statement the connection is of no more use. */
MUST_CHECK enum status pgc_query(struct pgc *c, const char *sql, struct arena *arena, struct pgc_result *out,
				 struct error *err);
static inline const char *pgc_value(const struct pgc_result *r, uint32_t row, uint32_t column)
{
	return r->values[(size_t)row * r->column_count + column];
}
const char *pgc_named(const struct pgc_result *r, uint32_t row, const char *column); /* NULL: null, or no such column */

#endif
