/*
 * golden.h - answers of PostgreSQL 15 as tests (tests): a call described by text, resolved and evaluated, its answer as text.
 *
 * kind: I the value itself (text in, text out); C cast to the type `name`; L cast with length, name "type typmod"; F function; O
 * operator; A aggregate over the values as rows. args: type, value, type, value … between tabs; "<null>"; \\ \t \n
 * escaped. Answer: "OK type\tvalue" or "ERR SQLSTATE message". SQLSTATEs of class 22 that status.h folds together are
 * the folded ones. Time zone Europe/Berlin.
 */
#ifndef VALENCE_TESTS_GOLDEN_H
#define VALENCE_TESTS_GOLDEN_H

#include "engine/sql/expr.h"

struct golden { const char *kind, *name, *args, *expected; };
struct golden_rig { struct mem mem; struct arena arena; char answer[2048]; };

void golden_init(struct golden_rig *r);
void golden_fini(struct golden_rig *r);
const char *golden_answer(struct golden_rig *r, const struct golden *g);
/* All of them; prints each that differs and returns how many did. */
unsigned golden_run(const struct golden *list, size_t count);

/* Small builders of expressions for the other tests. */
struct expr *ex_const(struct arena *a, uint32_t oid, const char *text); /* NULL: null */
struct expr *ex_input(struct arena *a, uint32_t oid, uint32_t slot);
struct expr *ex_op(struct arena *a, const char *name, struct expr *l, struct expr *r); /* aborts when there is none */
struct expr *ex_fn(struct arena *a, const char *name, uint32_t count, struct expr **args);
struct expr *ex_nary(struct arena *a, enum expr_kind kind, uint32_t oid, uint32_t count, struct expr **args);

#endif
