/*
 * num_int.h - shared by num.c, num_math.c and num_trans.c only.
 */
#ifndef VALENCE_ENGINE_SQL_NUM_INT_H
#define VALENCE_ENGINE_SQL_NUM_INT_H

#include "engine/sql/num.h"

extern const int num_pow10[5];
num_digit *num_room(struct num *r, int digits, struct arena *arena); /* digits of r: own or in arena; not initialised */
void num_strip(struct num *n);                                       /* drops leading and trailing zeros */
void num_set_special(struct num *n, uint8_t kind);
int num_abs_compare(const struct num *a, const struct num *b);
int num_div_scale_for(const struct num *a, const struct num *b);     /* PostgreSQL's scale of a quotient */
void num_mul_exact(const struct num *a, const struct num *b, struct num *r, struct arena *arena); /* all decimals */

#define NUM_SIG_DIGITS 16     /* a quotient's least number of significant digits */
#define NUM_SCALE_MAX 1000    /* of a computed result */
#define NUM_RESULT_SCALE_MAX 2000

static inline int num_clamp(int v, int lo, int hi) { return v < lo ? lo : v > hi ? hi : v; }

#endif
