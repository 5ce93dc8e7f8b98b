/*
 * columns_read.c - reads of data atoms as of a snapshot (atoms).
 *
 * One check per call: nothing changed after the snapshot, the body answers (S6). Else a scan walks the atom's
 * chain once, from the newest entry down to the snapshot, and puts old values over copies of the vectors; a
 * point read walks its own row's entries only. Later (older) entries overwrite earlier ones, so what
 * remains is the state just before the oldest change after the snapshot.
 */
#include "atoms/atoms_int.h"

/* Sets cell from a column's value bytes as they are in an image, or in undo. */
static void cell_load(struct cell *out, uint8_t phys, const uint8_t *p)
{
	out->null = false;
	switch ((enum phys)phys) {
	case PHYS_BOOL:
		out->i = *p;
		break;
	case PHYS_I16: {
		int16_t v;

		memcpy(&v, p, sizeof v);
		out->i = v;
		break;
	}
	case PHYS_I32: {
		int32_t v;

		memcpy(&v, p, sizeof v);
		out->i = v;
		break;
	}
	case PHYS_I64:
		memcpy(&out->i, p, sizeof out->i);
		break;
	case PHYS_F64:
		memcpy(&out->f, p, sizeof out->f);
		break;
	case PHYS_I128:
		memcpy(&out->x, p, sizeof out->x);
		break;
	case PHYS_VAR: /* the caller's: images and undo differ */
	case PHYS_NONE:
	case PHYS_COUNT:
		UNREACHABLE();
	}
}

static void cell_missing(struct cell *out, const struct col_want *want)
{
	if (want->missing)
		*out = *want->missing;
	else
		*out = (struct cell){.null = true};
	out->attno = want->attno;
	out->phys = want->phys;
}

/* -- point reads ----------------------------------------------------------------------------------- */

static enum status body_get(const struct data_head *d, uint32_t slot, const struct col_want *want,
			    uint32_t want_count, struct cell *out)
{
	const struct col_desc *cols = data_cols(d);

	for (uint32_t i = 0; i < want_count; i++) {
		uint32_t c = col_find(d, want[i].attno, want[i].attno - 1u);
		const struct col_desc *cd = &cols[c];
		const uint8_t *p;

		if (c == COL_NONE || !bit_get(col_present(d, cd), slot)) {
			cell_missing(&out[i], &want[i]);
			continue;
		}
		if (cd->phys != want[i].phys)
			return ST_CORRUPT;
		p = image_at(d, cd->data_off) + (size_t)slot * col_width(cd->phys);
		out[i].attno = want[i].attno;
		out[i].phys = cd->phys;
		out[i].bytes = 0;
		if (bit_get(col_nulls(d, cd), slot)) {
			out[i].null = true;
			out[i].i = 0;
		} else if (cd->phys == PHYS_VAR) {
			const struct var_ref *ref = (const struct var_ref *)p;

			out[i].null = false;
			out[i].bytes = ref->len;
			out[i].var = image_at(d, ref->off);
		} else {
			cell_load(&out[i], cd->phys, p);
		}
	}
	return ST_OK;
}

static enum status undo_get(const struct undo_col *u, const struct col_want *want, struct cell *out)
{
	if (u->state == UNDO_ABSENT) {
		cell_missing(out, want);
		return ST_OK;
	}
	if (u->phys != want->phys)
		return ST_CORRUPT;
	*out = (struct cell){.attno = u->attno, .phys = u->phys, .null = u->state == UNDO_NULL};
	if (out->null)
		return ST_OK;
	if (u->phys == PHYS_VAR) {
		out->bytes = u->bytes;
		out->var = (const uint8_t *)(u + 1);
	} else {
		cell_load(out, u->phys, (const uint8_t *)(u + 1));
	}
	return ST_OK;
}

static uint32_t want_find(const struct col_want *want, uint32_t want_count, uint16_t attno)
{
	uint32_t i = 0;

	while (i < want_count && want[i].attno != attno)
		i++;
	return i;
}

/* Puts one entry's old values over @out. */
static enum status undo_row_get(const struct undo *u, const struct col_want *want, uint32_t want_count,
				struct cell *out)
{
	const uint8_t *p = undo_values(u);

	if (u->kind == UNDO_ROW_GONE)
		for (uint32_t i = 0; i < want_count; i++)
			cell_missing(&out[i], &want[i]);
	for (uint32_t n = 0; n < u->cols; n++) {
		const struct undo_col *uc = (const struct undo_col *)p;
		uint32_t i = want_find(want, want_count, uc->attno);

		/* the same column may be wanted more than once */
		for (; i < want_count; i++) {
			enum status s = want[i].attno == uc->attno ? undo_get(uc, &want[i], &out[i]) : ST_OK;

			if (s != ST_OK)
				return s;
		}
		p += sizeof *uc + undo_col_room(uc);
	}
	return ST_OK;
}

enum status columns_get(struct atom_store *st, struct frame *f, seq_index snapshot, row_id row,
			const struct col_want *want, uint32_t want_count, struct cell *cells_out,
			bool *live_out)
{
	const struct data_head *d = data_of(f);
	const struct undo *first = NULL, *oldest = NULL;
	uint32_t slot = (uint32_t)(row - d->h.lo);
	bool newest, live;
	enum status s = frame_readable(st, f, snapshot, &newest);

	if (s != ST_OK)
		return s;
	*live_out = false;
	if (row < d->h.lo || row >= d->h.hi)
		return ST_OK;
	live = slot < d->slot_count && bit_get(data_live(d), slot);
	if (!newest)
		first = row_first(st, f, row);
	for (const struct undo *u = first; u && u->index > snapshot; u = row_next(st, u))
		oldest = u;
	if (oldest ? oldest->kind == UNDO_ROW_ABSENT : !live)
		return ST_OK;
	if (live)
		s = body_get(d, slot, want, want_count, cells_out);
	else /* removed since: that entry gives every column that was there */
		for (uint32_t i = 0; i < want_count; i++)
			cell_missing(&cells_out[i], &want[i]);
	for (const struct undo *u = first; oldest && s == ST_OK; u = row_next(st, u)) {
		s = undo_row_get(u, want, want_count, cells_out);
		if (u == oldest)
			break;
	}
	*live_out = s == ST_OK;
	return s;
}

seq_index columns_row_version(struct atom_store *st, const struct frame *f, row_id row)
{
	const struct undo *u = row_first(st, f, row);

	return u ? u->index : 0;
}

#define ROWS_BY_INDEX 8 /* up to so many are looked up one by one */

bool columns_changed_since(struct atom_store *st, const struct frame *f, row_id lo, row_id hi, seq_index snapshot)
{
	row_id end = hi && hi < columns_hi(f) ? hi : columns_hi(f);

	lo = lo > columns_lo(f) ? lo : columns_lo(f);
	if (lo >= end || frame_last_index(f) <= snapshot)
		return false;
	if (frame_reach(st, f) > snapshot)
		return true;
	if (end - lo <= ROWS_BY_INDEX) {
		for (row_id row = lo; row < end; row++)
			if (columns_row_version(st, f, row) > snapshot)
				return true;
		return false;
	}
	for (const struct undo *u = chain_first(st, f); u && u->index > snapshot; u = chain_next(st, u))
		if (u->row_id >= lo && u->row_id < end)
			return true;
	return false;
}

/* -- scans ----------------------------------------------------------------------------------------- */

struct scan_col {
	const struct col_desc *col;  /* NULL: the atom has no such column */
	const struct cell *fill;     /* value of absent ones; NULL: null */
	uint8_t *data;
	bool own;                    /* data is a copy of ours */
	uint64_t nulls[VEC_WORDS], absent[VEC_WORDS];
};

struct scan {
	struct arena *arena;
	const struct col_want *want;
	struct scan_col *cols;
	uint32_t want_count, slot, n;
	uint64_t *live;
};

static void value_put(uint8_t *data, uint32_t row, uint8_t phys, const struct cell *v)
{
	switch ((enum phys)phys) {
	case PHYS_BOOL:
		data[row] = v->i != 0;
		break;
	case PHYS_I16:
		((int16_t *)data)[row] = (int16_t)v->i;
		break;
	case PHYS_I32:
		((int32_t *)data)[row] = (int32_t)v->i;
		break;
	case PHYS_I64:
		((int64_t *)data)[row] = v->i;
		break;
	case PHYS_F64:
		((double *)data)[row] = v->f;
		break;
	case PHYS_I128:
		((i128 *)data)[row] = v->x;
		break;
	case PHYS_VAR:
		((struct slice *)data)[row] = (struct slice){v->var, v->bytes, 0};
		break;
	case PHYS_NONE:
	case PHYS_COUNT:
		UNREACHABLE();
	}
}

/* Slices of a variable column, in the arena. */
static uint8_t *slices_make(const struct scan *sc, const struct data_head *d, const struct col_desc *c)
{
	const struct var_ref *refs = (const struct var_ref *)image_at(d, c->data_off) + sc->slot;
	struct slice *out = ARENA_NEW_N(sc->arena, struct slice, VEC_ROWS);

	for (uint32_t i = 0; i < sc->n; i++)
		out[i] = (struct slice){image_at(d, refs[i].off), refs[i].len, 0};
	return (uint8_t *)out;
}

static void col_own(const struct scan *sc, struct scan_col *col, uint8_t phys)
{
	uint32_t width = phys_bytes(phys);
	uint8_t *copy;

	if (col->own)
		return;
	copy = arena_alloc(sc->arena, (size_t)width * VEC_ROWS);
	memcpy(copy, col->data, (size_t)width * sc->n);
	col->data = copy;
	col->own = true;
}

static enum status scan_open(const struct scan *sc, const struct data_head *d)
{
	bits_copy(sc->live, data_live(d), sc->slot, sc->n);
	for (uint32_t i = 0; i < sc->want_count; i++) {
		struct scan_col *col = &sc->cols[i];
		const struct col_want *want = &sc->want[i];
		uint32_t c = col_find(d, want->attno, want->attno - 1u);
		const struct col_desc *cd = &data_cols(d)[c];

		col->fill = want->missing && !want->missing->null ? want->missing : NULL;
		if (c == COL_NONE)
			continue;
		if (cd->phys != want->phys)
			return ST_CORRUPT;
		col->col = cd;
		col->own = cd->phys == PHYS_VAR;
		col->data = col->own ? slices_make(sc, d, cd)
				     : image_at(d, cd->data_off) + (size_t)sc->slot * col_width(cd->phys);
		bits_copy(col->nulls, col_nulls(d, cd), sc->slot, sc->n);
		bits_copy(col->absent, col_present(d, cd), sc->slot, sc->n);
		for (uint32_t w = 0; w < VEC_WORDS; w++)
			col->absent[w] = ~col->absent[w];
	}
	return ST_OK;
}

static void patch_value(const struct scan *sc, struct scan_col *col, uint32_t row, const struct undo_col *uc)
{
	struct cell v = {.phys = uc->phys};

	bit_clear(col->nulls, row);
	bit_clear(col->absent, row);
	if (uc->state == UNDO_ABSENT) {
		bit_set(col->absent, row);
	} else if (uc->state == UNDO_NULL) {
		bit_set(col->nulls, row);
	} else {
		if (uc->phys == PHYS_VAR) {
			v.var = (const uint8_t *)(uc + 1);
			v.bytes = uc->bytes;
		} else {
			cell_load(&v, uc->phys, (const uint8_t *)(uc + 1));
		}
		col_own(sc, col, uc->phys);
		value_put(col->data, row, uc->phys, &v);
	}
}

static void patch_row(const struct scan *sc, const struct undo *u, uint32_t row)
{
	const uint8_t *p = undo_values(u);

	if (u->kind == UNDO_ROW_ABSENT) {
		bit_clear(sc->live, row);
		return;
	}
	if (u->kind == UNDO_ROW_GONE) {
		bit_set(sc->live, row);
		for (uint32_t i = 0; i < sc->want_count; i++)
			bit_set(sc->cols[i].absent, row);
	}
	for (uint32_t n = 0; n < u->cols; n++) {
		const struct undo_col *uc = (const struct undo_col *)p;

		for (uint32_t i = 0; i < sc->want_count; i++)
			if (sc->want[i].attno == uc->attno && sc->cols[i].col)
				patch_value(sc, &sc->cols[i], row, uc);
		p += sizeof *uc + undo_col_room(uc);
	}
}

/* One value, or null, that stands for all rows. */
static void vec_constant(const struct scan *sc, const struct col_want *want, const struct cell *fill,
			 struct vec *out)
{
	*out = (struct vec){.phys = want->phys, .constant = true};
	out->data = arena_alloc(sc->arena, phys_bytes(want->phys));
	if (fill) {
		value_put(out->data, 0, want->phys, fill);
		return;
	}
	out->nulls = ARENA_NEW_N(sc->arena, uint64_t, VEC_WORDS);
	memset(out->nulls, 0xff, VEC_WORDS * sizeof *out->nulls);
	if (want->phys == PHYS_VAR)
		out->var->p = (const uint8_t *)"";
}

static void vec_finish(const struct scan *sc, uint32_t i, struct vec *out)
{
	struct scan_col *col = &sc->cols[i];
	uint64_t any = 0;

	if (!col->col) {
		vec_constant(sc, &sc->want[i], col->fill, out);
		return;
	}
	*out = (struct vec){.phys = col->col->phys};
	for (uint32_t w = 0; w < VEC_WORDS; w++) {
		col->absent[w] &= sc->live[w];
		col->nulls[w] &= sc->live[w] & ~col->absent[w];
		for (uint64_t left = col->fill ? col->absent[w] : 0; left; left &= left - 1) {
			col_own(sc, col, col->col->phys);
			value_put(col->data, w * 64 + (uint32_t)__builtin_ctzll(left), col->col->phys, col->fill);
		}
		if (!col->fill)
			col->nulls[w] |= col->absent[w];
		any |= col->nulls[w];
	}
	out->data = col->data;
	if (any)
		out->nulls = col->nulls;
}

enum status columns_scan(struct atom_store *st, struct frame *f, seq_index snapshot, uint32_t slot,
			 const struct col_want *want, uint32_t want_count, struct arena *arena,
			 struct vec *out, uint64_t *live_out, uint32_t *slots_out)
{
	const struct data_head *d = data_of(f);
	struct scan sc = {.arena = arena, .want = want, .want_count = want_count, .slot = slot, .live = live_out};
	bool newest;
	enum status s = frame_readable(st, f, snapshot, &newest);

	if (s != ST_OK)
		return s;
	if (slot >= d->slot_count) {
		*slots_out = 0;
		return ST_OK;
	}
	sc.n = d->slot_count - slot < VEC_ROWS ? d->slot_count - slot : VEC_ROWS;
	sc.cols = ARENA_NEW_N(arena, struct scan_col, want_count + 1);
	memset(live_out, 0, VEC_WORDS * sizeof *live_out);
	s = scan_open(&sc, d);
	if (s != ST_OK)
		return s;
	for (const struct undo *u = newest ? NULL : chain_first(st, f); u && u->index > snapshot;
	     u = chain_next(st, u)) {
		uint64_t row = u->row_id - (d->h.lo + slot);

		if (row < sc.n)
			patch_row(&sc, u, (uint32_t)row);
	}
	for (uint32_t i = 0; i < want_count; i++)
		vec_finish(&sc, i, &out[i]);
	*slots_out = sc.n;
	return ST_OK;
}
