/*
 * virtual_rows_int.h - a scan of a view, shared by the files that fill them (engine/sql).
 */
#ifndef VALENCE_ENGINE_SQL_VIRTUAL_ROWS_INT_H
#define VALENCE_ENGINE_SQL_VIRTUAL_ROWS_INT_H

#include "engine/sql/virtual_rows.h"

#include <string.h>

#include "base/assert.h"
#include "engine/sql/session.h"
#include "engine/sql/virtual.h"

#define OID_PG_CATALOG 11
#define OID_PUBLIC 2200
#define OID_INFORMATION 13000
#define OID_VALENCE 13001
#define OID_USER 10
#define OID_DATABASE 5
#define OID_BTREE 403

struct virtual_rows {
	struct exec *ex;
	struct sql_session *s;
	const struct virtual_rel *def;
	const struct filler *fill;
	struct cell *row;
	struct arena *arena;    /* of the current row */
	struct relation_def rel;
	rel_id after;
	uint64_t at;            /* number, or number within the relation */
	bool have_rel;
	struct arena *store;    /* of the whole scan */
	const struct access_lock *locks; /* pg_locks: as of its first row */
	uint64_t lock_count;
};
/* Columns by name; what is not set is false, zero or null by its type. */
static inline struct cell *column(struct virtual_rows *v, const char *name)
{
	int c = virtual_column(v->def, name);

	ASSERT(c >= 0);
	return &v->row[c];
}

static inline void set_text(struct virtual_rows *v, const char *name, const char *text)
{
	*column(v, name) = (struct cell){.phys = PHYS_VAR, .null = !text, .bytes = text ? (uint32_t)strlen(text) : 0,
					 .var = (const uint8_t *)text};
}

static inline void set_int(struct virtual_rows *v, const char *name, int64_t i)
{
	struct cell *c = column(v, name);

	if (c->phys == PHYS_F64)
		*c = (struct cell){.phys = PHYS_F64, .f = (double)i};
	else
		*c = (struct cell){.phys = c->phys, .i = i};
}

/* virtual_activity.c */
enum status virtual_activity(struct virtual_rows *v); /* pg_stat_activity */
enum status virtual_locks(struct virtual_rows *v);    /* pg_locks */

#endif
