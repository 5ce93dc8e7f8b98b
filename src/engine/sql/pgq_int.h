/*
 * pgq_int.h - shared by the pgq_*.c files only, the ones that see PostgreSQL's headers (engine/sql).
 *
 * A failure is remembered in struct pgq; the copying functions then return what they have and the caller of
 * the whole gives up, so that none of them needs to test every child.
 */
#ifndef VALENCE_ENGINE_SQL_PGQ_INT_H
#define VALENCE_ENGINE_SQL_PGQ_INT_H

#include "engine/sql/ast.h"

#include <postgres.h>
#include <nodes/parsenodes.h>
#include <nodes/pg_list.h>
#include <nodes/primnodes.h>

#define PGQ_MARK_BYTES 256

struct pgq {
	struct arena *arena;
	struct error *err;
	enum status st;
	const char *text;
	size_t bytes;
	uint32_t *marks; /* characters before each PGQ_MARK_BYTES-th byte; NULL: all ASCII */
	uint32_t depth;
};

int pgq_position(const struct pgq *p, int byte_offset);
bool pgq_enter(struct pgq *p);  /* one level deeper: false and failed when too deep */
void pgq_leave(struct pgq *p);
char *pgq_str(struct pgq *p, const char *s); /* NULL stays NULL */
void pgq_names(struct pgq *p, const List *list, struct ast_names *out);
const char *pgq_last_name(const List *list);

/* pgq_expr.c */
struct ast_expr *pgq_expr(struct pgq *p, const Node *n);
void pgq_exprs(struct pgq *p, const List *list, struct ast_exprs *out);
struct ast_type *pgq_type(struct pgq *p, const TypeName *t);
void pgq_sorts(struct pgq *p, const List *list, struct ast_sorts *out);

/* pgq_query.c */
struct ast_select *pgq_select(struct pgq *p, const Node *n);
struct ast_rel *pgq_rel(struct pgq *p, const RangeVar *v);
struct ast_rel *pgq_rel_of_names(struct pgq *p, const List *names);
struct ast_into *pgq_into(struct pgq *p, const IntoClause *into);
struct ast_dml *pgq_insert(struct pgq *p, const InsertStmt *s);
struct ast_dml *pgq_update(struct pgq *p, const UpdateStmt *s);
struct ast_dml *pgq_delete(struct pgq *p, const DeleteStmt *s);

/* pgq_utility.c, pgq_ddl.c */
void pgq_options(struct pgq *p, const List *list, uint32_t *count_out, struct ast_option **out);
struct raw_stmt *pgq_stmt(struct pgq *p, const Node *n);
bool pgq_ddl(struct pgq *p, const Node *n, struct raw_stmt *s); /* false: not a statement of pgq_ddl.c */
void pgq_unsupported(struct pgq *p, struct raw_stmt *s, const char *what);

#endif
