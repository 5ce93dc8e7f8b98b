/*
 * catalog_out.h - results of SQL as text or JSON on standard output (cli).
 *
 * JSON: rows are objects by column name; integers, floats and booleans are JSON's own, bigint arrays are arrays, null is
 * null, everything else is a string. Integers beyond 2^53 are written in full.
 */
#ifndef VALENCE_CLI_CATALOG_OUT_H
#define VALENCE_CLI_CATALOG_OUT_H

#include "cli/pgclient.h"

void catalog_table(const struct pgc_result *r, bool json);                    /* all rows; JSON: an array on one line */
void catalog_record(const struct pgc_result *r, bool json);                   /* the first row, a line for each column */
void catalog_tree(const struct pgc_result *r, struct arena *arena);           /* engine_id, parent_id, name, … indented */
void catalog_route(const struct pgc_result *hops, uint32_t count, bool json); /* atom first, root last; printed root first */

#endif
