/*
 * ddl_int.h - between ddl.c, ddl_alter.c and ddl_build.c only.
 */
#ifndef VALENCE_ENGINE_SQL_DDL_INT_H
#define VALENCE_ENGINE_SQL_DDL_INT_H

#include "engine/sql/dml_defaults.h"
#include "engine/sql/session.h"

struct build; /* ddl_build.c */

struct ddl {
	struct sql_session *session;
	struct sql_portal *portal;
	struct access *access;
	const struct stmt *stmt;
	struct arena *arena;
	struct exec ex;
	uint32_t at, sub;       /* what is done */
	bool locked;
	rel_id new_id, after, schema_after;
	struct table_def *table; /* the new definition */
	struct dml dml;
	struct plan_modify modify;
	bool dml_open;
	struct build *build;
	/* ALTER TABLE */
	uint32_t action;
	uint64_t nulls_forbidden[SCHEMA_COLUMNS_MAX / 64 + 1]; /* columns that became NOT NULL */
	uint32_t first_check, first_index;
	struct expr **checks;
	const char **check_names;
	uint32_t check_count;
	struct default_value *fills;
	uint32_t fill_count;
	struct access_scan scan;
	uint16_t *fill_attnos;
};

/* Scans the table, sorts the keys, puts the entries. ST_WAIT, ST_AGAIN (budget), ST_UNIQUE. */
MUST_CHECK enum status build_index(struct ddl *d, const struct table_def *t, const struct index_def *ix,
				   struct budget *work, struct error *err);
void build_fini(struct ddl *d);
/* One vector of all columns of the table, copied: rows by attno - 1. ST_END. */
struct ddl_rows { uint32_t n; row_id *ids; struct vec *cols; };
MUST_CHECK enum status build_scan(struct ddl *d, const struct table_def *t, struct access_scan *at, struct arena *arena,
				  struct ddl_rows *out, struct error *err);
MUST_CHECK enum status alter_step(struct ddl *d, struct budget *work, struct error *err);
MUST_CHECK enum status ddl_lock_fresh(struct ddl *d, rel_id id, struct table_def **out, struct error *err);
struct index_def *ddl_add_index(struct ddl *d, struct table_def *t, const struct index_def *from);
void ddl_remove_index(struct table_def *t, uint16_t at);
MUST_CHECK enum status ddl_drop_owned(struct ddl *d, rel_id table, uint16_t attno, struct error *err);

#endif
