/*
 * virtual.h - relations that are computed, not stored: system catalogs and the cluster's views (engine/sql).
 *
 * One table of names, oids and columns (virtual.c). Their rows are virtual_rows.c's; both go by the order of columns
 * here. The oids of pg_catalog relations are PostgreSQL's, for clients that have them built in.
 */
#ifndef VALENCE_ENGINE_SQL_VIRTUAL_H
#define VALENCE_ENGINE_SQL_VIRTUAL_H

#include "engine/sql/query.h"

struct virtual_rel {
	const char *schema, *name;
	const char *full_name;       /* "pg_catalog.pg_class": range_rel.virtual_name */
	uint32_t oid;                /* regclass, pg_class.oid */
	bool view;                   /* pg_class.relkind 'v', else 'r' */
	uint32_t column_count;
	const struct rel_column *columns;
};

const struct virtual_rel *virtual_find(const char *schema, const char *name); /* NULL: none such */
const struct virtual_rel *virtual_find_oid(uint32_t oid);
const struct virtual_rel *virtual_at(uint32_t i);                             /* NULL: past the end */
int virtual_column(const struct virtual_rel *v, const char *name);           /* 0-based, -1 none */

#endif
