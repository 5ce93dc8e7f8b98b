/*
 * eval_int.h - between eval.c and eval_cond.c only.
 */
#ifndef VALENCE_ENGINE_SQL_EVAL_INT_H
#define VALENCE_ENGINE_SQL_EVAL_INT_H

#include "engine/sql/functions_int.h"

#define EVAL_ARGS                                                                                  \
	struct eval *ev, const struct expr *ex, const struct vec *inputs, uint32_t rows,           \
		const uint16_t *sel, uint32_t n, struct vec *out

extern const uint64_t eval_all_null[VEC_WORDS];
void eval_out(struct eval *ev, struct vec *out, uint8_t phys, uint32_t rows); /* zeroed, no nulls */
/* A vector of one row that stands for all; c is lent until the vector is done with. */
void eval_constant(struct eval *ev, const struct cell *c, uint8_t phys, struct vec *out);

enum status eval_and_or(EVAL_ARGS);
enum status eval_not(EVAL_ARGS);
enum status eval_is(EVAL_ARGS);
enum status eval_is_distinct(EVAL_ARGS);
enum status eval_case(EVAL_ARGS);
enum status eval_coalesce(EVAL_ARGS);
enum status eval_extreme(EVAL_ARGS);
enum status eval_nullif(EVAL_ARGS);
enum status eval_in(EVAL_ARGS);
enum status eval_any_array(EVAL_ARGS);
enum status eval_array(EVAL_ARGS);

#endif
