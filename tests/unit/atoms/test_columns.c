/*
 * test_columns.c - data atoms against a plain model: every row as a list of its versions.
 *
 * Two stores apply the same operations. What is local to them (borrowed images, horizons, dropped undo,
 * copies fetched from each other, reads) happens in each by its own dice; bodies must not differ.
 */
#include <CUnit/CUnit.h>
#include <stdlib.h>
#include <string.h>

#include "../unit.h"
#include "atoms/atoms.h"
#include "atoms/atoms_disk.h"
#include "base/env.h"

#define COLS 9
#define LO 100000
#define RANGE 2500
#define FRAMES_MAX 32
#define REFS 4

static const struct { uint16_t attno; uint8_t phys; } defs[COLS] = { /* in the order in which they come up */
	{3, PHYS_I32}, {1, PHYS_I64}, {2, PHYS_VAR}, {8, PHYS_BOOL}, {5, PHYS_I128},
	{6, PHYS_F64}, {4, PHYS_VAR}, {12, PHYS_I16}, {10, PHYS_VAR},
};

enum state { VALUE, IS_NULL, MISSING };
struct value { enum state state; struct cell cell; };
struct version { seq_index index; bool live; struct value v[COLS]; struct version *older; };

struct world {
	struct mem mem;
	struct arena arena; /* the model's, for ever */
	struct arena scratch;
	struct rng rng;
	struct atom_store *st[2];
	atom_id ids[FRAMES_MAX];
	uint32_t id_count, def_count, next_row;
	seq_index now;
	struct version *rows[RANGE];
	struct { const struct atom_head *image; uint32_t crc; } refs[2][REFS];
	int max_var;
};

static uint64_t dice(struct world *w, uint64_t n) { return rng_below(&w->rng, n); }

static void world_init(struct world *w, uint64_t seed)
{
	memset(w, 0, sizeof *w);
	mem_init(&w->mem, NULL, "test", 0);
	arena_init(&w->arena, &w->mem);
	arena_init(&w->scratch, &w->mem);
	rng_init(&w->rng, seed);
	w->now = 10;
	w->def_count = 1;
	w->max_var = 60;
	w->ids[w->id_count++] = 7;
	for (int i = 0; i < 2; i++) {
		w->st[i] = atom_store_new(&w->mem, 1 << 20);
		atom_create_columns(w->st[i], 7, 42, LO, LO + RANGE, w->now);
	}
}

static void world_fini(struct world *w)
{
	for (int i = 0; i < 2; i++) {
		for (int r = 0; r < REFS; r++)
			if (w->refs[i][r].image)
				atom_image_unref(w->st[i], w->refs[i][r].image);
		CU_ASSERT_EQUAL(atom_store_image_bytes(w->st[i]) % (16 << 10), 0);
		atom_store_free(w->st[i]);
	}
	arena_fini(&w->arena);
	arena_fini(&w->scratch);
	mem_fini(&w->mem);
}

/* -- model ----------------------------------------------------------------------------------------- */

static const struct version *model_at(const struct world *w, uint32_t r, seq_index s)
{
	const struct version *v = w->rows[r];

	while (v && v->index > s)
		v = v->older;
	return v && v->live ? v : NULL;
}

static struct version *model_change(struct world *w, uint32_t r)
{
	struct version *v = ARENA_NEW(&w->arena, struct version);

	if (w->rows[r])
		*v = *w->rows[r];
	v->older = w->rows[r];
	v->index = w->now;
	w->rows[r] = v;
	return v;
}

static void value_random(struct world *w, int c, struct value *out)
{
	struct cell *cell = &out->cell;

	*cell = (struct cell){.attno = defs[c].attno, .phys = defs[c].phys};
	out->state = dice(w, 5) ? VALUE : IS_NULL;
	cell->null = out->state == IS_NULL;
	if (cell->null)
		return;
	switch (cell->phys) {
	case PHYS_BOOL: cell->i = (int64_t)dice(w, 2); break;
	case PHYS_I16: cell->i = (int16_t)rng_next(&w->rng); break;
	case PHYS_I32: cell->i = (int32_t)rng_next(&w->rng); break;
	case PHYS_I64: cell->i = (int64_t)rng_next(&w->rng); break;
	case PHYS_F64: cell->f = rng_unit(&w->rng) * 1e9; break;
	case PHYS_I128: cell->x = (i128)((unsigned __int128)rng_next(&w->rng) << 64 | rng_next(&w->rng)); break;
	default: {
		uint32_t bytes = (uint32_t)dice(w, dice(w, 40) ? (uint64_t)w->max_var : 3000);
		uint8_t *p = arena_alloc(&w->arena, bytes + 1);

		for (uint32_t i = 0; i < bytes; i++)
			p[i] = (uint8_t)rng_next(&w->rng);
		cell->bytes = bytes;
		cell->var = p;
	}
	}
}

static bool cells_equal(const struct cell *a, const struct cell *b)
{
	if (a->null || b->null)
		return a->null == b->null;
	switch (a->phys) {
	case PHYS_F64: return !memcmp(&a->f, &b->f, 8);
	case PHYS_I128: return a->x == b->x;
	case PHYS_VAR: return a->bytes == b->bytes && !memcmp(a->var, b->var, a->bytes);
	default: return a->i == b->i;
	}
}

/* -- operations ------------------------------------------------------------------------------------ */

static struct frame *frame_for(struct world *w, int store, uint32_t r)
{
	for (uint32_t i = 0; i < w->id_count; i++) {
		struct frame *f = atom_find(w->st[store], w->ids[i]);

		if (LO + r >= columns_lo(f) && LO + r < columns_hi(f))
			return f;
	}
	abort();
}

static int def_compare(const void *a, const void *b)
{
	return ((const struct cell *)a)->attno - ((const struct cell *)b)->attno;
}

static void op_insert(struct world *w, uint32_t r)
{
	struct version *v = model_change(w, r);
	struct cell cells[COLS];
	uint32_t n = 0;

	v->live = true;
	for (int c = 0; c < COLS; c++) {
		v->v[c] = (struct value){.state = MISSING};
		if ((uint32_t)c >= w->def_count)
			continue;
		value_random(w, c, &v->v[c]);
		cells[n++] = v->v[c].cell;
	}
	if (dice(w, 2))
		qsort(cells, n, sizeof *cells, def_compare);
	for (int i = 0; i < 2; i++)
		columns_insert(w->st[i], frame_for(w, i, r), w->now, LO + r, cells, n);
}

static void op_update(struct world *w, uint32_t r)
{
	struct version *v = model_change(w, r);
	struct cell cells[COLS];
	uint32_t n = 0;

	for (uint32_t c = 0; c < w->def_count; c++) {
		if (dice(w, 3))
			continue;
		value_random(w, (int)c, &v->v[c]);
		cells[n++] = v->v[c].cell;
	}
	for (int i = 0; i < 2; i++)
		columns_update(w->st[i], frame_for(w, i, r), w->now, LO + r, cells, n);
}

static void op_delete(struct world *w, uint32_t r)
{
	model_change(w, r)->live = false;
	for (int i = 0; i < 2; i++)
		columns_delete(w->st[i], frame_for(w, i, r), w->now, LO + r);
}

static void op_split(struct world *w)
{
	atom_id id = w->ids[dice(w, w->id_count)];
	row_id at[2] = {0};
	enum status s[2];

	if (w->id_count == FRAMES_MAX)
		return;
	for (int i = 0; i < 2; i++)
		s[i] = columns_split_point(atom_find(w->st[i], id), &at[i]);
	CU_ASSERT_EQUAL(s[0], s[1]);
	CU_ASSERT_EQUAL(at[0], at[1]);
	if (s[0] != ST_OK)
		return;
	for (int i = 0; i < 2; i++) {
		struct frame *f = atom_find(w->st[i], id);
		struct frame *to = columns_split(w->st[i], f, at[0], 100 + w->id_count, w->now);

		CU_ASSERT(columns_live_count(f) > 0 && columns_live_count(to) > 0);
	}
	w->ids[w->id_count] = 100 + w->id_count;
	w->id_count++;
}

static void step(struct world *w)
{
	uint32_t r = (uint32_t)dice(w, w->next_row + 1);
	const struct version *v = r < w->next_row ? w->rows[r] : NULL;

	w->now += dice(w, 3);
	if (w->def_count < COLS && !dice(w, 300))
		w->def_count++;
	if (!dice(w, 900)) {
		op_split(w);
	} else if (!dice(w, 700)) {
		atom_id id = w->ids[dice(w, w->id_count)];

		for (int i = 0; i < 2; i++)
			atom_compact(w->st[i], atom_find(w->st[i], id), w->now);
	} else if (dice(w, 3) == 0 && w->next_row < RANGE) {
		w->next_row += dice(w, 20) ? 0 : (uint32_t)dice(w, 4); /* slots that stay unused */
		if (w->next_row < RANGE)
			op_insert(w, w->next_row++);
	} else if (v && v->live) {
		if (!dice(w, 6))
			op_delete(w, r);
		else
			op_update(w, r);
	} else if (v && !dice(w, 2)) {
		op_insert(w, r);
	}
}

/* -- local events ---------------------------------------------------------------------------------- */

static void event_ref(struct world *w, int i)
{
	int r = (int)dice(w, REFS);
	struct frame *f = atom_find(w->st[i], w->ids[dice(w, w->id_count)]);
	size_t bytes;

	if (w->refs[i][r].image) {
		/* what was lent did not change, whatever happened to the frame */
		CU_ASSERT_EQUAL(w->refs[i][r].crc,
				crc32c(0, w->refs[i][r].image, w->refs[i][r].image->size_bytes));
		atom_image_unref(w->st[i], w->refs[i][r].image);
		w->refs[i][r].image = NULL;
		return;
	}
	w->refs[i][r].image = frame_image_ref(f, &bytes);
	w->refs[i][r].crc = crc32c(0, w->refs[i][r].image, bytes);
}

/* The frame is dropped here and comes back from the other store, as a fetched copy with its tail. */
static void event_fetch(struct world *w, int i)
{
	atom_id id = w->ids[dice(w, w->id_count)];
	struct frame *from = atom_find(w->st[1 - i], id), *to = NULL;
	seq_index reach = frame_reach(w->st[1 - i], from);
	const struct atom_head *image;
	struct buf tail;
	size_t bytes;

	buf_init(&tail, &w->mem);
	image = frame_image_ref(from, &bytes);
	if (dice(w, 3)) {
		reach += dice(w, 2) ? 0 : dice(w, w->now - reach + 1);
		frame_tail_encode(w->st[1 - i], from, reach, &tail);
	} else {
		reach = w->now;
	}
	atom_drop(w->st[i], atom_find(w->st[i], id));
	CU_ASSERT_EQUAL(atom_install(w->st[i], image, bytes, tail.data, tail.size, w->now, &to), ST_OK);
	CU_ASSERT_EQUAL(to->reach, reach);
	atom_image_unref(w->st[1 - i], image);
	buf_fini(&tail);
}

static void local_event(struct world *w, int i)
{
	switch (dice(w, 30)) {
	case 0:
		event_fetch(w, i);
		break;
	case 1:
		atom_store_set_horizon(w->st[i], w->now - dice(w, w->now < 400 ? w->now : 400));
		break;
	case 2:
		if (!dice(w, 6))
			atom_store_undo_drop_oldest(w->st[i], dice(w, atom_store_undo_bytes(w->st[i]) + 1));
		break;
	case 3:
	case 4:
	case 5:
	case 6:
	case 7:
	case 8:
		event_ref(w, i);
		break;
	default:
		break;
	}
}

/* -- checks ---------------------------------------------------------------------------------------- */

/* A value for absent ones in half of the columns. */
static const struct cell defaults[COLS] = {
	{.i = 77}, {.null = true}, {.bytes = 3, .var = (const uint8_t *)"abc"}, {.i = 1}, {.x = 5}, {.f = 0.5},
};

static void wants_make(struct world *w, struct col_want *want, uint32_t *defs_out, uint32_t *count_out)
{
	uint32_t n = 0;

	for (uint32_t c = 0; c < COLS; c++) {
		if (!dice(w, 4))
			continue;
		defs_out[n] = c;
		want[n] = (struct col_want){defs[c].attno, defs[c].phys, c < 6 && dice(w, 2) ? &defaults[c] : NULL};
		n++;
	}
	*count_out = n;
}

static struct cell expected(const struct version *v, uint32_t c, const struct col_want *want)
{
	struct cell cell = {.null = true};

	if (v->v[c].state != MISSING)
		return v->v[c].cell;
	if (want->missing)
		cell = *want->missing;
	cell.phys = want->phys;
	return cell;
}

static struct cell vec_cell(const struct vec *v, uint32_t i)
{
	struct cell cell = {.phys = v->phys, .null = vec_null(v, i)};

	if (v->constant)
		i = 0;
	switch (v->phys) {
	case PHYS_BOOL: cell.i = v->b[i]; break;
	case PHYS_I16: cell.i = v->i16[i]; break;
	case PHYS_I32: cell.i = v->i32[i]; break;
	case PHYS_I64: cell.i = v->i64[i]; break;
	case PHYS_F64: cell.f = v->f64[i]; break;
	case PHYS_I128: cell.x = v->i128[i]; break;
	default:
		cell.bytes = v->var[i].bytes;
		cell.var = v->var[i].p;
	}
	return cell;
}

static uint32_t check_scan(struct world *w, int i, struct frame *f, seq_index s, uint32_t slot)
{
	struct col_want want[COLS];
	uint32_t which[COLS], count, n, bad = 0;
	uint64_t live[VEC_WORDS];
	struct vec vecs[COLS];

	wants_make(w, want, which, &count);
	arena_reset(&w->scratch);
	CU_ASSERT_EQUAL(columns_scan(w->st[i], f, s, slot, want, count, &w->scratch, vecs, live, &n), ST_OK);
	for (uint32_t k = 0; k < n; k++) {
		const struct version *v = model_at(w, (uint32_t)(columns_lo(f) - LO) + slot + k, s);

		bad += bit_get(live, k) != (v != NULL);
		for (uint32_t c = 0; v && c < count; c++) {
			struct cell got = vec_cell(&vecs[c], k), e = expected(v, which[c], &want[c]);

			bad += !cells_equal(&e, &got);
		}
	}
	for (uint32_t k = n; k < VEC_ROWS && n; k++)
		bad += bit_get(live, k);
	CU_ASSERT_EQUAL(bad, 0);
	return n;
}

static void check_get(struct world *w, int i, struct frame *f, seq_index s, uint32_t r)
{
	const struct version *v = model_at(w, r, s);
	struct col_want want[COLS];
	struct cell cells[COLS];
	uint32_t which[COLS], count;
	bool live = false;

	wants_make(w, want, which, &count);
	CU_ASSERT_EQUAL(columns_get(w->st[i], f, s, LO + r, want, count, cells, &live), ST_OK);
	CU_ASSERT_EQUAL(live, v != NULL);
	for (uint32_t c = 0; v && live && c < count; c++) {
		struct cell e = expected(v, which[c], &want[c]);

		CU_ASSERT(cells[c].attno == want[c].attno && cells[c].phys == want[c].phys);
		CU_ASSERT(cells_equal(&e, &cells[c]));
	}
}

static void check_version(struct world *w, int i, struct frame *f, uint32_t r)
{
	seq_index got = columns_row_version(w->st[i], f, LO + r);
	seq_index is = w->rows[r] ? w->rows[r]->index : 0;

	if (is > frame_reach(w->st[i], f))
		CU_ASSERT_EQUAL(got, is);
	CU_ASSERT(got <= is);
}

static void check_frame(struct world *w, int i, struct frame *f)
{
	seq_index reach = frame_reach(w->st[i], f);
	uint32_t first = (uint32_t)(columns_lo(f) - LO), range = (uint32_t)(columns_hi(f) - columns_lo(f));
	struct arena *a = &w->scratch;
	uint64_t live[VEC_WORDS];
	uint32_t n;

	for (int k = 0; k < 3; k++) {
		seq_index s = dice(w, 3) ? reach + dice(w, w->now - reach + 1) : k ? w->now : reach;

		if (dice(w, 2)) {
			uint32_t slot = 0;

			while ((n = check_scan(w, i, f, s, slot)))
				slot += n;
			CU_ASSERT_EQUAL(slot, columns_slot_count(f));
		} else {
			check_scan(w, i, f, s, (uint32_t)dice(w, columns_slot_count(f) + 1));
		}
		for (int g = 0; g < 20; g++)
			check_get(w, i, f, s, first + (uint32_t)dice(w, range));
		check_version(w, i, f, first + (uint32_t)dice(w, range));
	}
	if (f->reach)
		CU_ASSERT_EQUAL(columns_scan(w->st[i], f, f->reach - 1, 0, NULL, 0, a, NULL, live, &n),
				ST_SNAPSHOT_TOO_OLD);
}

static void check_all(struct world *w)
{
	for (uint32_t k = 0; k < w->id_count; k++) {
		struct frame *a = atom_find(w->st[0], w->ids[k]), *b = atom_find(w->st[1], w->ids[k]);

		CU_ASSERT_EQUAL(a->image->size_bytes, b->image->size_bytes);
		CU_ASSERT(!memcmp(a->image, b->image, a->image->size_bytes));
		CU_ASSERT_EQUAL(frame_body_crc(a), frame_body_crc(b));
		CU_ASSERT_EQUAL(atom_image_check(a->image, a->image->size_bytes), ST_OK);
	}
	for (int i = 0; i < 2; i++)
		check_frame(w, i, atom_find(w->st[i], w->ids[dice(w, w->id_count)]));
}

static void run(uint64_t seed, int steps, int max_var)
{
	struct world w;

	world_init(&w, seed);
	w.max_var = max_var;
	for (int n = 0; n < steps; n++) {
		step(&w);
		for (int i = 0; i < 2; i++)
			local_event(&w, i);
		if (n % 25 == 0)
			check_all(&w);
	}
	check_all(&w);
	CU_ASSERT(w.id_count > 1);
	CU_ASSERT_EQUAL(w.def_count, COLS);
	world_fini(&w);
}

/* After any operations every snapshot reads what the model has, and both stores have the same bytes. */
static void test_columns_random_against_model(void)
{
	for (uint64_t seed = 1; seed <= 6; seed++)
		run(seed, 6000, seed % 2 ? 60 : 600);
}

/* -- single properties ----------------------------------------------------------------------------- */

static struct cell cell_int(uint16_t attno, int64_t i)
{
	return (struct cell){.attno = attno, .phys = PHYS_I64, .i = i};
}

static struct cell cell_text(uint16_t attno, const char *s)
{
	return (struct cell){.attno = attno, .phys = PHYS_VAR, .bytes = (uint32_t)strlen(s),
			     .var = (const uint8_t *)s};
}

/* Reads at a recent snapshot of a row with thousands of changes do not walk them. */
static void test_columns_hot_row(void)
{
	struct col_want want = {1, PHYS_I64, NULL};
	struct atom_store *st;
	struct mem mem;
	struct frame *f;
	struct cell c;
	bool live;

	mem_init(&mem, NULL, "test", 0);
	st = atom_store_new(&mem, 1 << 20);
	f = atom_create_columns(st, 1, 1, 1, 4097, 1);
	for (row_id r = 1; r <= 100; r++) {
		c = cell_int(1, 0);
		columns_insert(st, f, 2, r, &c, 1);
	}
	for (seq_index i = 3; i < 20000; i++) {
		c = cell_int(1, (int64_t)i);
		columns_update(st, f, i, 50, &c, 1);
		CU_ASSERT_EQUAL(columns_get(st, f, i - 1, 50, &want, 1, &c, &live), ST_OK);
		CU_ASSERT_EQUAL(c.i, i == 3 ? 0 : (int64_t)i - 1);
		CU_ASSERT_EQUAL(columns_get(st, f, 2, 51, &want, 1, &c, &live), ST_OK);
		CU_ASSERT_EQUAL(columns_row_version(st, f, 50), i);
	}
	for (seq_index i = 3; i < 20000; i += 997) {
		CU_ASSERT_EQUAL(columns_get(st, f, i, 50, &want, 1, &c, &live), ST_OK);
		CU_ASSERT_EQUAL(c.i, (int64_t)i);
	}
	CU_ASSERT(atom_store_undo_over(st));
	atom_store_set_horizon(st, 30000);
	CU_ASSERT_EQUAL(atom_store_undo_bytes(st), 0);
	CU_ASSERT_EQUAL(columns_row_version(st, f, 50), 0);
	atom_store_free(st);
	mem_fini(&mem);
}

/* A new atom is absent before its index, and empty then. */
static void test_columns_create(void)
{
	uint64_t live[VEC_WORDS];
	struct atom_store *st;
	struct arena a;
	struct mem mem;
	struct frame *f;
	row_id at;
	uint32_t n;

	mem_init(&mem, NULL, "test", 0);
	arena_init(&a, &mem);
	st = atom_store_new(&mem, 1 << 20);
	f = atom_create_columns(st, 5, 9, 4096, 4099, 20);
	CU_ASSERT_EQUAL(f->reach, 19);
	CU_ASSERT_EQUAL(f->state, FRAME_HELD);
	CU_ASSERT_EQUAL(frame_owner(f), 9);
	CU_ASSERT_EQUAL(columns_scan(st, f, 18, 0, NULL, 0, &a, NULL, live, &n), ST_SNAPSHOT_TOO_OLD);
	CU_ASSERT_EQUAL(columns_scan(st, f, 19, 0, NULL, 0, &a, NULL, live, &n), ST_OK);
	CU_ASSERT_EQUAL(n, 0);
	CU_ASSERT_EQUAL(columns_split_point(f, &at), ST_END);
	CU_ASSERT_EQUAL(f->image->size_bytes, 16 << 10);
	CU_ASSERT_EQUAL(atom_image_check(f->image, f->image->size_bytes), ST_OK);
	atom_store_free(st);
	arena_fini(&a);
	mem_fini(&mem);
}

/* After a split each side has its own rows only, in every snapshot, though both have the old chain. */
static void test_columns_split_sides(void)
{
	struct col_want want = {1, PHYS_I64, NULL};
	struct atom_store *st;
	struct frame *f, *to;
	struct mem mem;
	struct cell c;
	bool live;

	mem_init(&mem, NULL, "test", 0);
	st = atom_store_new(&mem, 1 << 20);
	f = atom_create_columns(st, 1, 1, 1, 101, 1);
	for (row_id r = 1; r <= 10; r++) {
		c = cell_int(1, 5);
		columns_insert(st, f, 2, r, &c, 1);
	}
	for (row_id r = 1; r <= 10; r++) {
		c = cell_int(1, 6);
		columns_update(st, f, 3, r, &c, 1);
	}
	to = columns_split(st, f, 6, 2, 4);
	CU_ASSERT(columns_lo(to) == 6 && columns_hi(to) == 101 && columns_hi(f) == 6);
	for (row_id r = 1; r <= 10; r++)
		for (seq_index s = 2; s <= 4; s++) {
			CU_ASSERT_EQUAL(columns_get(st, f, s, r, &want, 1, &c, &live), ST_OK);
			CU_ASSERT_EQUAL(live, r < 6);
			CU_ASSERT_EQUAL(columns_get(st, to, s, r, &want, 1, &c, &live), ST_OK);
			CU_ASSERT_EQUAL(live, r >= 6);
			CU_ASSERT(!live || c.i == (s == 2 ? 5 : 6));
		}
	atom_store_free(st);
	mem_fini(&mem);
}

/* A value that keeps changing its length does not grow the image: dead bytes are taken back. */
static void test_columns_dead_bytes(void)
{
	static char text[2][900];
	uint32_t heap, zeros = 0;
	struct atom_store *st;
	struct mem mem;
	struct frame *f;
	struct cell c;

	memset(text[0], 'a', 500);
	memset(text[1], 'b', 800);
	mem_init(&mem, NULL, "test", 0);
	st = atom_store_new(&mem, 1 << 20);
	f = atom_create_columns(st, 1, 1, 1, 4097, 1);
	for (row_id r = 1; r <= 40; r++) {
		c = cell_text(1, text[0]);
		columns_insert(st, f, 2, r, &c, 1);
	}
	for (seq_index i = 3; i < 4000; i++) {
		c = cell_text(1, text[i % 2]);
		columns_update(st, f, i, 1 + i / 2 % 40, &c, 1);
		atom_store_set_horizon(st, i);
	}
	CU_ASSERT(f->image->size_bytes <= 64 << 10);
	/* what is dead is also gone: only living bytes are not zero */
	heap = ((const struct data_head *)f->image)->heap_top;
	for (uint32_t i = heap; i < f->image->size_bytes; i++)
		zeros += !((const uint8_t *)f->image)[i];
	CU_ASSERT_EQUAL(zeros, ((const struct data_head *)f->image)->heap_dead);
	CU_ASSERT(zeros > 0);
	CU_ASSERT(frame_bytes(f) < f->image->size_bytes);
	CU_ASSERT_EQUAL(((const struct data_head *)f->image)->live_count, 40);
	CU_ASSERT_EQUAL(atom_image_check(f->image, f->image->size_bytes), ST_OK);
	atom_store_free(st);
	mem_fini(&mem);
}

/* Old values larger than a chunk of the ring are kept and given back. */
static void test_columns_large_undo(void)
{
	static uint8_t big[900 << 10];
	struct col_want want = {1, PHYS_VAR, NULL};
	struct atom_store *st;
	struct mem mem;
	struct frame *f;
	struct cell c = {.attno = 1, .phys = PHYS_VAR, .var = big};
	bool live;

	mem_init(&mem, NULL, "test", 0);
	st = atom_store_new(&mem, 1 << 20);
	f = atom_create_columns(st, 1, 1, 1, 4097, 1);
	c.bytes = sizeof big;
	columns_insert(st, f, 2, 1, &c, 1);
	for (seq_index i = 3; i < 60; i++) {
		memset(big, (int)i, sizeof big);
		c = (struct cell){.attno = 1, .phys = PHYS_VAR, .var = big, .bytes = (uint32_t)(sizeof big / (1 + i % 5))};
		columns_update(st, f, i, 1, &c, 1);
		for (seq_index s = i > 8 ? i - 4 : 3; s <= i; s++) {
			CU_ASSERT_EQUAL(columns_get(st, f, s, 1, &want, 1, &c, &live), ST_OK);
			CU_ASSERT(live && c.bytes == sizeof big / (1 + s % 5) && c.var[c.bytes - 1] == s);
		}
		if (i > 6)
			atom_store_set_horizon(st, i - 5);
	}
	CU_ASSERT(atom_store_undo_bytes(st) < 6 * sizeof big);
	atom_store_free(st);
	mem_fini(&mem);
}

static void insert_live(void *ctx)
{
	struct atom_store **st = ctx;
	struct frame *f = atom_find(*st, 1);
	struct cell c = cell_int(1, 1);

	columns_insert(*st, f, 2, 1, &c, 1);
	columns_insert(*st, f, 3, 1, &c, 1);
}

static void insert_outside(void *ctx)
{
	struct atom_store **st = ctx;
	struct cell c = cell_int(1, 1);

	columns_insert(*st, atom_find(*st, 1), 2, 65, &c, 1);
}

static void update_gone(void *ctx)
{
	struct atom_store **st = ctx;
	struct cell c = cell_int(1, 1);

	columns_update(*st, atom_find(*st, 1), 2, 1, &c, 1);
}

/* Applying what cannot be in the log ends the engine, whatever it is. */
static void test_columns_broken_invariants(void)
{
	struct atom_store *st;
	struct mem mem;

	mem_init(&mem, NULL, "test", 0);
	st = atom_store_new(&mem, 1 << 20);
	atom_create_columns(st, 1, 1, 1, 65, 1);
	CU_ASSERT(unit_death_signal(insert_live, &st) > 0);
	CU_ASSERT(unit_death_signal(insert_outside, &st) > 0);
	CU_ASSERT(unit_death_signal(update_gone, &st) > 0);
	atom_store_free(st);
	mem_fini(&mem);
}

void suite_atoms_columns(void)
{
	CU_pSuite s = CU_add_suite("atoms_columns", NULL, NULL);

	CU_add_test(s, "test_columns_create", test_columns_create);
	CU_add_test(s, "test_columns_hot_row", test_columns_hot_row);
	CU_add_test(s, "test_columns_split_sides", test_columns_split_sides);
	CU_add_test(s, "test_columns_dead_bytes", test_columns_dead_bytes);
	CU_add_test(s, "test_columns_large_undo", test_columns_large_undo);
	CU_add_test(s, "test_columns_broken_invariants", test_columns_broken_invariants);
	CU_add_test(s, "test_columns_random_against_model", test_columns_random_against_model);
}
