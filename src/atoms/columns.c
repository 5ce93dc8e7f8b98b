/*
 * columns.c - apply to data atoms (atoms).
 *
 * Every function leaves undo first, then makes room (relayout or copy on write), then changes the body.
 * From there on nothing can fail. Room is asked for exactly, by the lengths of the values in the row
 * and in the operation, so whether a relayout happens is decided by the body alone.
 */
#include "atoms/atoms_int.h"

#define CELL_VALUES_MAX INT32_MAX /* bytes of old values in one undo entry */

struct frame *atom_create_columns(struct atom_store *st, atom_id id, uint64_t owner, row_id lo, row_id hi,
				  seq_index index)
{
	struct data_head *d;
	struct frame *f;
	uint32_t live_off, slot_cap, bytes;

	ASSERT_OP(lo, <, hi);
	ASSERT_OP(hi - lo, <=, ATOM_ROWS_MAX);
	slot_cap = slot_range_cap(lo, hi);
	slot_cap = slot_cap < SLOT_CAP_MIN ? slot_cap : SLOT_CAP_MIN;
	bytes = (uint32_t)columns_place(NULL, 0, slot_cap, &live_off);
	d = (struct data_head *)image_new(st, step_up(bytes));
	d->h.kind = ATOM_DATA;
	d->h.atom_id = id;
	d->h.owner_id = owner;
	d->h.last_index = index;
	d->h.lo = lo;
	d->h.hi = hi;
	d->slot_cap = slot_cap;
	d->heap_top = d->h.size_bytes;
	d->live_off = live_off;
	d->h.used_bytes = (uint32_t)sizeof *d + slot_cap / 8;
	f = frame_new(st, &d->h, index ? index - 1 : 0);
	f->dirty_since = index;
	return f;
}

row_id columns_lo(const struct frame *f)
{
	return data_of(f)->h.lo;
}

row_id columns_hi(const struct frame *f)
{
	return data_of(f)->h.hi;
}

uint32_t columns_slot_count(const struct frame *f)
{
	return data_of(f)->slot_count;
}

uint32_t columns_live_count(const struct frame *f)
{
	return data_of(f)->live_count;
}

static uint32_t row_slot(const struct frame *f, row_id row)
{
	const struct data_head *d = data_of(f);

	ASSERT_OP(f->kind, ==, ATOM_DATA);
	ASSERT_OP(row, >=, d->h.lo);
	ASSERT_OP(row, <, d->h.hi);
	return (uint32_t)(row - d->h.lo);
}

static bool slot_live(const struct data_head *d, uint32_t slot)
{
	return slot < d->slot_count && bit_get(data_live(d), slot);
}

static struct var_ref *var_at(const struct data_head *d, const struct col_desc *c, uint32_t slot)
{
	return (struct var_ref *)image_at(d, c->data_off) + slot;
}

/* -- room ------------------------------------------------------------------------------------------ */

/* The columns of the image and those of @cells that it does not have yet, by attno, in @out; returns the count. */
static uint32_t cols_merge(const struct data_head *d, const struct cell *cells, uint32_t cell_count,
			   struct col_desc *out)
{
	uint32_t n = d->col_count;

	memcpy(out, data_cols(d), n * sizeof *out);
	for (uint32_t i = 0; i < cell_count; i++) {
		uint32_t at = n;

		while (at && out[at - 1].attno > cells[i].attno)
			at--;
		if (at && out[at - 1].attno == cells[i].attno)
			continue;
		ASSERT(cells[i].attno && cells[i].phys > PHYS_NONE && cells[i].phys < PHYS_COUNT);
		memmove(out + at + 1, out + at, (n - at) * sizeof *out);
		out[at] = (struct col_desc){.attno = cells[i].attno, .phys = cells[i].phys};
		n++;
	}
	return n;
}

/* Makes the image writable, with a vector for each cell, the slot, and heap for the values. */
static struct data_head *row_room(struct atom_store *st, struct frame *f, uint32_t slot,
				  const struct cell *cells, uint32_t cell_count)
{
	const struct data_head *d = data_of(f);
	struct relayout how = {.id = f->id, .lo = d->h.lo, .hi = d->h.hi, .slot_need = slot + 1};
	uint64_t heap = 0;
	uint32_t missing = 0, cols_max;
	struct col_desc *cols;

	for (uint32_t i = 0; i < cell_count; i++) {
		const struct cell *v = &cells[i];
		uint32_t c = col_find(d, v->attno, i), old = 0;

		missing += c == COL_NONE;
		if (v->phys != PHYS_VAR || v->null)
			continue;
		if (c != COL_NONE && slot < d->slot_cap)
			old = var_at(d, &data_cols(d)[c], slot)->len;
		if (v->bytes > old)
			heap += v->bytes;
	}
	if (!missing && slot < d->slot_cap && heap <= d->heap_top - f->in->fixed_bytes) {
		image_writable(st, f);
		return data_of(f);
	}
	cols_max = d->col_count + missing + 1;
	cols = mem_alloc(st->mem, cols_max * sizeof *cols);
	ASSERT_OP(heap, <=, UINT32_MAX / 4);
	how.cols = cols;
	how.col_count = cols_merge(d, cells, cell_count, cols);
	how.heap_need = (uint32_t)heap;
	image_replace(st, f, columns_relayout(st, d, &how));
	mem_free(st->mem, cols, cols_max * sizeof *cols);
	return data_of(f);
}

/* -- cells ----------------------------------------------------------------------------------------- */

static void var_release(struct data_head *d, struct var_ref *ref)
{
	memset(image_at(d, ref->off), 0, ref->len);
	d->heap_dead += ref->len;
	*ref = (struct var_ref){0, 0};
}

static void var_store(struct data_head *d, struct var_ref *ref, const uint8_t *p, uint32_t bytes)
{
	if (bytes && bytes <= ref->len) { /* in place: a value that keeps its length leaves nothing dead */
		memcpy(image_at(d, ref->off), p, bytes);
		memset(image_at(d, ref->off + bytes), 0, ref->len - bytes);
		d->heap_dead += ref->len - bytes;
		ref->len = bytes;
		return;
	}
	var_release(d, ref);
	if (!bytes)
		return;
	d->heap_top -= bytes;
	*ref = (struct var_ref){d->heap_top, bytes};
	memcpy(image_at(d, d->heap_top), p, bytes);
}

/* No value: the cell's bytes are zero. */
static void cell_clear(struct data_head *d, const struct col_desc *c, uint32_t slot)
{
	uint32_t width = col_width(c->phys);

	if (c->phys == PHYS_VAR)
		var_release(d, var_at(d, c, slot));
	else
		memset(image_at(d, c->data_off + slot * width), 0, width);
}

static void cell_store(struct data_head *d, const struct col_desc *c, uint32_t slot, const struct cell *v)
{
	uint8_t *p = image_at(d, c->data_off) + (size_t)slot * col_width(c->phys);

	ASSERT_OP(c->phys, ==, v->phys);
	bit_set(col_present(d, c), slot);
	if (v->null) {
		cell_clear(d, c, slot);
		bit_set(col_nulls(d, c), slot);
		return;
	}
	bit_clear(col_nulls(d, c), slot);
	switch ((enum phys)c->phys) {
	case PHYS_BOOL:
		*p = v->i != 0;
		break;
	case PHYS_I16:
		*(int16_t *)p = (int16_t)v->i;
		break;
	case PHYS_I32:
		*(int32_t *)p = (int32_t)v->i;
		break;
	case PHYS_I64:
		*(int64_t *)p = v->i;
		break;
	case PHYS_F64:
		*(double *)p = v->f;
		break;
	case PHYS_I128:
		*(i128 *)p = v->x;
		break;
	case PHYS_VAR:
		var_store(d, (struct var_ref *)p, v->var, v->bytes);
		break;
	case PHYS_NONE:
	case PHYS_COUNT:
		UNREACHABLE();
	}
}

static void cells_store(struct frame *f, uint32_t slot, const struct cell *cells, uint32_t cell_count)
{
	struct data_head *d = data_of(f);
	const struct col_desc *cols = data_cols(d);

	for (uint32_t i = 0; i < cell_count; i++)
		cell_store(d, &cols[col_find(d, cells[i].attno, i)], slot, &cells[i]);
}

static void row_changed(struct frame *f, seq_index index)
{
	struct data_head *d = data_of(f);

	d->h.used_bytes = f->in->used_base + d->slot_count * f->in->row_bytes +
			  (d->h.size_bytes - d->heap_top - d->heap_dead);
	frame_changed(f, index);
}

/* -- undo ------------------------------------------------------------------------------------------ */

static enum undo_state cell_state(const struct data_head *d, const struct col_desc *c, uint32_t slot)
{
	if (!bit_get(col_present(d, c), slot))
		return UNDO_ABSENT;
	return bit_get(col_nulls(d, c), slot) ? UNDO_NULL : UNDO_VALUE;
}

static uint32_t cell_bytes(const struct data_head *d, const struct col_desc *c, uint32_t slot)
{
	return c->phys == PHYS_VAR ? var_at(d, c, slot)->len : col_width(c->phys);
}

/* Bytes of a cell's old value in undo. */
static uint32_t old_bytes(const struct data_head *d, const struct col_desc *c, uint32_t slot)
{
	struct undo_col u = {.state = (uint8_t)cell_state(d, c, slot), .bytes = cell_bytes(d, c, slot)};

	return (uint32_t)sizeof u + undo_col_room(&u);
}

static uint8_t *old_put(uint8_t *p, const struct data_head *d, const struct col_desc *c, uint32_t slot)
{
	enum undo_state state = cell_state(d, c, slot);
	struct undo_col u = {c->attno, c->phys, (uint8_t)state, cell_bytes(d, c, slot)};
	uint32_t room = undo_col_room(&u);
	const uint8_t *from;

	if (state != UNDO_VALUE)
		u.bytes = 0;
	memcpy(p, &u, sizeof u);
	p += sizeof u;
	if (!room)
		return p;
	from = c->phys == PHYS_VAR ? image_at(d, var_at(d, c, slot)->off)
				   : image_at(d, c->data_off) + (size_t)slot * u.bytes;
	memset(p + room - 8, 0, 8);
	memcpy(p, from, u.bytes);
	return p + room;
}

static void undo_update(struct atom_store *st, struct frame *f, seq_index index, row_id row,
			const struct cell *cells, uint32_t cell_count)
{
	const struct data_head *d = data_of(f);
	const struct col_desc *cols = data_cols(d);
	const struct undo_col absent = {.state = UNDO_ABSENT};
	uint32_t slot = row_slot(f, row);
	uint64_t bytes = 0;
	struct undo *u;
	uint8_t *p;

	for (uint32_t i = 0; i < cell_count; i++) {
		uint32_t c = col_find(d, cells[i].attno, i);

		bytes += c == COL_NONE ? sizeof absent : old_bytes(d, &cols[c], slot);
	}
	ASSERT_OP(bytes, <=, CELL_VALUES_MAX);
	u = frame_undo(st, f, index, UNDO_ROW_COLS, row, cell_count, (uint32_t)bytes);
	if (!u)
		return;
	p = (uint8_t *)(u + 1);
	for (uint32_t i = 0; i < cell_count; i++) {
		uint32_t c = col_find(d, cells[i].attno, i);

		if (c != COL_NONE) {
			p = old_put(p, d, &cols[c], slot);
			continue;
		}
		memcpy(p, &absent, sizeof absent);
		memcpy(p, &cells[i].attno, sizeof cells[i].attno);
		p[offsetof(struct undo_col, phys)] = cells[i].phys;
		p += sizeof absent;
	}
}

static void undo_delete(struct atom_store *st, struct frame *f, seq_index index, row_id row)
{
	const struct data_head *d = data_of(f);
	const struct col_desc *cols = data_cols(d);
	uint32_t slot = row_slot(f, row), count = 0;
	uint64_t bytes = 0;
	struct undo *u;
	uint8_t *p;

	for (uint32_t i = 0; i < d->col_count; i++)
		if (cell_state(d, &cols[i], slot) != UNDO_ABSENT) {
			bytes += old_bytes(d, &cols[i], slot);
			count++;
		}
	ASSERT_OP(bytes, <=, CELL_VALUES_MAX);
	u = frame_undo(st, f, index, UNDO_ROW_GONE, row, count, (uint32_t)bytes);
	if (!u)
		return;
	p = (uint8_t *)(u + 1);
	for (uint32_t i = 0; i < d->col_count; i++)
		if (cell_state(d, &cols[i], slot) != UNDO_ABSENT)
			p = old_put(p, d, &cols[i], slot);
}

/* -- apply ----------------------------------------------------------------------------------------- */

void columns_insert(struct atom_store *st, struct frame *f, seq_index index, row_id row,
		    const struct cell *cells, uint32_t cell_count)
{
	uint32_t slot = row_slot(f, row);
	struct data_head *d;

	ASSERT(!slot_live(data_of(f), slot));
	ASSERT_OP(index, >=, frame_last_index(f));
	frame_undo(st, f, index, UNDO_ROW_ABSENT, row, 0, 0);
	d = row_room(st, f, slot, cells, cell_count);
	bit_set(data_live(d), slot);
	d->live_count++;
	if (slot >= d->slot_count)
		d->slot_count = slot + 1;
	cells_store(f, slot, cells, cell_count);
	row_changed(f, index);
}

void columns_update(struct atom_store *st, struct frame *f, seq_index index, row_id row,
		    const struct cell *cells, uint32_t cell_count)
{
	uint32_t slot = row_slot(f, row);

	ASSERT(slot_live(data_of(f), slot));
	ASSERT_OP(index, >=, frame_last_index(f));
	undo_update(st, f, index, row, cells, cell_count);
	row_room(st, f, slot, cells, cell_count);
	cells_store(f, slot, cells, cell_count);
	row_changed(f, index);
}

void columns_delete(struct atom_store *st, struct frame *f, seq_index index, row_id row)
{
	uint32_t slot = row_slot(f, row);
	const struct col_desc *cols;
	struct data_head *d;

	ASSERT(slot_live(data_of(f), slot));
	ASSERT_OP(index, >=, frame_last_index(f));
	undo_delete(st, f, index, row);
	image_writable(st, f);
	d = data_of(f);
	cols = data_cols(d);
	for (uint32_t i = 0; i < d->col_count; i++) {
		cell_clear(d, &cols[i], slot);
		bit_clear(col_nulls(d, &cols[i]), slot);
		bit_clear(col_present(d, &cols[i]), slot);
	}
	bit_clear(data_live(d), slot);
	d->live_count--;
	row_changed(f, index);
}
