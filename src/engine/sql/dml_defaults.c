/*
 * dml_defaults.c - default values of columns that a source does not give.
 */
#include "engine/sql/dml_defaults.h"

#include <string.h>

static struct expr *replace(struct default_value *d, const struct expr *ex, struct arena *arena)
{
	struct expr *copy;

	if (ex->kind == EX_NEXTVAL) {
		rel_id *bigger = ARENA_NEW_N(arena, rel_id, d->sequence_count + 1);

		if (d->sequence_count)
			memcpy(bigger, d->sequences, d->sequence_count * sizeof *bigger);
		d->sequences = bigger;
		d->sequences[d->sequence_count] = ex->rel_oid;
		copy = ARENA_NEW(arena, struct expr);
		copy->kind = EX_INPUT;
		copy->slot = d->sequence_count++;
		copy->type = ex->type;
		return copy;
	}
	if (ex->arg_count == 0)
		return (struct expr *)ex;
	copy = arena_dup(arena, ex, sizeof *ex);
	copy->args = ARENA_NEW_N(arena, struct expr *, ex->arg_count);
	for (uint32_t i = 0; i < ex->arg_count; i++)
		copy->args[i] = replace(d, ex->args[i], arena);
	return copy;
}

void default_prepare(struct default_value *d, uint16_t attno, const struct expr *expr, struct arena *arena)
{
	memset(d, 0, sizeof *d);
	d->attno = attno;
	d->expr = replace(d, expr, arena);
}

enum status default_fill(const struct default_value *d, struct dml *dml, uint32_t n)
{
	struct exec *ex = dml->ex;
	struct vec_batch b = {.rows = n, .n = n, .col_count = d->sequence_count};
	struct vec v;
	enum status st;

	if (d->expr->kind == EX_CONST) {
		for (uint32_t i = 0; i < n; i++)
			dml_new(dml, i)[d->attno - 1] = d->expr->value;
		return ST_OK;
	}
	b.cols = ARENA_NEW_N(&dml->arena, struct vec, d->sequence_count + 1);
	for (uint32_t k = 0; k < d->sequence_count; k++) {
		int64_t *values = ARENA_NEW_N(&dml->arena, int64_t, n + 1);

		st = access_sequence_next(ex->access, d->sequences[k], n, values, ex->err);
		if (st)
			return st;
		if (ex->session)
			session_note_nextval(ex->session, d->sequences[k], values[n - 1]);
		b.cols[k] = (struct vec){.phys = PHYS_I64, .i64 = values};
	}
	st = exec_expr(ex, &dml->arena, d->expr, &b, &v);
	if (st)
		return st;
	for (uint32_t i = 0; i < n; i++)
		vec_cell(&v, i, &dml_new(dml, i)[d->attno - 1]);
	return ST_OK;
}
