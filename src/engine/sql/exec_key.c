/*
 * exec_key.c - index keys from values.
 */
#include "engine/sql/exec_key.h"

#include <string.h>

int key_value_fit(struct sql_type column, const struct cell *v, struct cell *out)
{
	*out = *v;
	if (v->null)
		return 0;
	switch (column.oid) {
	case T_INT2:
		out->phys = PHYS_I16;
		return v->i < INT16_MIN ? -1 : v->i > INT16_MAX;
	case T_INT4:
		out->phys = PHYS_I32;
		return v->i < INT32_MIN ? -1 : v->i > INT32_MAX;
	case T_INT8:
		out->phys = PHYS_I64;
		return 0;
	default:
		return 0;
	}
}

static struct slice key_keep(const struct buf *buf, struct arena *arena)
{
	return (struct slice){arena_dup(arena, buf->data, buf->size), (uint32_t)buf->size, 0};
}

static struct slice key_after(struct buf *buf, struct arena *arena)
{
	return key_successor(buf) ? key_keep(buf, arena) : (struct slice){0};
}

bool key_range_make(const struct index_def *ix, const struct index_key *keys, uint32_t count, const struct cell *eq,
		    const struct cell *lo, const struct cell *hi, struct buf *buf, struct arena *arena,
		    struct key_range *out, struct error *err, enum status *st_out)
{
	size_t prefix;
	const struct index_key *last = NULL;
	struct cell v;
	int fit;
	/* bounds in key order: a descending column turns them round */
	const struct cell *low = NULL, *high = NULL;
	bool low_in = false, high_in = false, desc;

	*st_out = ST_OK;
	buf_reset(buf);
	for (uint32_t i = 0; i < count; i++) {
		if (!keys[i].eq && !keys[i].is_null && !keys[i].in) {
			last = &keys[i];
			count = i;
			break;
		}
		if (keys[i].is_null)
			v = (struct cell){.null = true};
		else if (eq[i].null || key_value_fit(keys[i].type, &eq[i], &v) != 0)
			return false;
		*st_out = key_append(keys[i].type, &v, ix->desc[i], ix->nulls_first[i], buf, err);
		if (*st_out)
			return false;
	}
	prefix = buf->size;
	if (!last) {
		out->lo = key_keep(buf, arena);
		out->hi = key_after(buf, arena);
		return true;
	}
	desc = ix->desc[count];
	if ((last->lo && lo->null) || (last->hi && hi->null))
		return false;
	low = last->lo ? lo : NULL;
	high = last->hi ? hi : NULL;
	low_in = last->lo_inclusive;
	high_in = last->hi_inclusive;
	if (desc) {
		const struct cell *c = low;
		bool in = low_in;

		low = high;
		low_in = high_in;
		high = c;
		high_in = in;
	}
	out->lo = key_keep(buf, arena);
	if (low && (fit = key_value_fit(last->type, low, &v)) == 0) {
		*st_out = key_append(last->type, &v, desc, ix->nulls_first[count], buf, err);
		if (*st_out)
			return false;
		out->lo = low_in ? key_keep(buf, arena) : key_after(buf, arena);
		if (!low_in && out->lo.bytes == 0)
			return false;
	} else if (low && (fit > 0) != desc) {
		return false; /* beyond every value */
	}
	buf_truncate(buf, prefix);
	if (high && (fit = key_value_fit(last->type, high, &v)) == 0) {
		*st_out = key_append(last->type, &v, desc, ix->nulls_first[count], buf, err);
		if (*st_out)
			return false;
		out->hi = high_in ? key_after(buf, arena) : key_keep(buf, arena);
	} else if (high && (fit < 0) != desc) {
		return false;
	} else {
		out->hi = key_after(buf, arena);
	}
	return true;
}

enum status key_of_row(const struct table_def *t, const struct index_def *ix, const struct cell *cells,
		       struct buf *buf, bool *null_out, struct error *err)
{
	*null_out = false;
	for (uint32_t i = 0; i < ix->column_count; i++) {
		const struct column_def *c = &t->columns[ix->attnos[i] - 1];
		const struct cell *v = &cells[ix->attnos[i] - 1];
		enum status st = key_append((struct sql_type){c->type_oid, c->typmod}, v, ix->desc[i],
					    ix->nulls_first[i], buf, err);

		if (st)
			return st;
		*null_out = *null_out || v->null;
	}
	return ST_OK;
}

void key_text(const struct table_def *t, const struct index_def *ix, const struct cell *cells, struct buf *out)
{
	buf_put(out, "(", 1);
	for (uint32_t i = 0; i < ix->column_count; i++)
		buf_printf(out, "%s%s", i ? ", " : "", t->columns[ix->attnos[i] - 1].name);
	buf_put(out, ")=(", 3);
	for (uint32_t i = 0; i < ix->column_count; i++) {
		const struct column_def *c = &t->columns[ix->attnos[i] - 1];
		const struct cell *v = &cells[ix->attnos[i] - 1];

		if (i)
			buf_put(out, ", ", 2);
		if (v->null)
			buf_put(out, "null", 4);
		else
			value_out((struct sql_type){c->type_oid, c->typmod}, v, out);
	}
	buf_put(out, ")", 1);
}
