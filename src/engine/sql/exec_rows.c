/*
 * exec_rows.c - rows kept across steps, and small things one does with vectors.
 */
#include "engine/sql/exec.h"

#include <string.h>

#include "base/assert.h"
#include "base/map.h"

/* -- vectors ------------------------------------------------------------------------------------------------ */

#define GATHER(type, field)                                                            \
	do {                                                                           \
		type *to = out->field;                                                 \
		const type *from = v->field;                                           \
		for (uint32_t i = 0; i < n; i++)                                       \
			to[i] = from[rows[i]];                                         \
	} while (0)

void vec_gather(const struct vec *v, const uint16_t *rows, uint32_t n, struct arena *arena, struct vec *out)
{
	if (v->constant) {
		*out = *v;
		return;
	}
	*out = (struct vec){.phys = v->phys};
	out->data = arena_alloc(arena, (size_t)n * phys_bytes(v->phys));
	switch (v->phys) {
	case PHYS_BOOL: GATHER(uint8_t, b); break;
	case PHYS_I16: GATHER(int16_t, i16); break;
	case PHYS_I32: GATHER(int32_t, i32); break;
	case PHYS_I64: GATHER(int64_t, i64); break;
	case PHYS_F64: GATHER(double, f64); break;
	case PHYS_I128: GATHER(i128, i128); break;
	case PHYS_VAR: GATHER(struct slice, var); break;
	default: break;
	}
	if (v->nulls) {
		out->nulls = ARENA_NEW_N(arena, uint64_t, VEC_WORDS);
		for (uint32_t i = 0; i < n; i++)
			if (bit_get(v->nulls, rows[i]))
				bit_set(out->nulls, i);
	}
}

void vec_constant(struct vec *v, const struct cell *c, struct arena *arena)
{
	*v = (struct vec){.phys = c->phys ? c->phys : PHYS_BOOL, .constant = true};
	v->data = arena_alloc(arena, 16);
	if (c->null) {
		v->nulls = ARENA_NEW_N(arena, uint64_t, VEC_WORDS);
		v->nulls[0] = 1;
		return;
	}
	vec_set(v, 0, c);
}

/* Copies n values (by rows, NULL: the first n) to elements at.. of a vector with its own memory. */
static void vec_append(struct vec *to, uint32_t at, const struct vec *from, const struct vec_batch *b, uint32_t skip,
		       uint32_t n, struct arena *arena)
{
	uint32_t width = phys_bytes(to->phys);
	uint8_t *dst = (uint8_t *)to->data + (size_t)at * width;
	const uint8_t *src = from->data;

	if (from->constant && vec_null(from, 0)) { /* whatever class an untyped null came with */
		if (!to->nulls)
			to->nulls = ARENA_NEW_N(arena, uint64_t, VEC_WORDS);
		for (uint32_t i = 0; i < n; i++)
			bit_set(to->nulls, at + i);
		return;
	}
	ASSERT_OP(to->phys, ==, from->phys);
	if (to->phys == PHYS_VAR) {
		size_t bytes = 0;
		uint8_t *heap;

		for (uint32_t i = 0; i < n; i++) {
			uint32_t r = from->constant ? 0 : batch_row(b, skip + i);

			bytes += vec_null(from, r) ? 0 : from->var[r].bytes;
		}
		heap = arena_alloc(arena, bytes + 1);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t r = from->constant ? 0 : batch_row(b, skip + i);

			if (vec_null(from, r)) {
				to->var[at + i] = (struct slice){heap, 0, 0};
				continue;
			}
			to->var[at + i] = (struct slice){heap, from->var[r].bytes, 0};
			if (from->var[r].bytes)
				memcpy(heap, from->var[r].p, from->var[r].bytes);
			heap += from->var[r].bytes;
		}
	} else if (!from->constant && !b->sel) {
		memcpy(dst, src + (size_t)skip * width, (size_t)n * width);
	} else {
		for (uint32_t i = 0; i < n; i++)
			memcpy(dst + (size_t)i * width,
			       src + (size_t)(from->constant ? 0 : batch_row(b, skip + i)) * width, width);
	}
	if (!from->nulls)
		return;
	for (uint32_t i = 0; i < n; i++)
		if (vec_null(from, from->constant ? 0 : batch_row(b, skip + i))) {
			if (!to->nulls)
				to->nulls = ARENA_NEW_N(arena, uint64_t, VEC_WORDS);
			bit_set(to->nulls, at + i);
		}
}

void batch_copy(const struct vec_batch *b, struct arena *arena, struct vec_batch *out)
{
	*out = (struct vec_batch){.rows = b->n, .n = b->n, .col_count = b->col_count};
	out->cols = ARENA_NEW_N(arena, struct vec, b->col_count + 1);
	for (uint32_t c = 0; c < b->col_count; c++) {
		struct vec *v = &out->cols[c];

		v->phys = b->cols[c].phys;
		if (b->cols[c].constant) {
			struct cell cell;

			vec_cell(&b->cols[c], 0, &cell);
			if (!cell.null && cell.phys == PHYS_VAR)
				cell.var = arena_dup(arena, cell.var, cell.bytes);
			cell.phys = v->phys;
			vec_constant(v, &cell, arena);
			continue;
		}
		v->data = arena_alloc(arena, (size_t)b->n * phys_bytes(v->phys) + 16);
		vec_append(v, 0, &b->cols[c], b, 0, b->n, arena);
	}
}

/* -- row sets ------------------------------------------------------------------------------------------------- */

void rowset_init(struct rowset *rs, struct arena *arena, uint32_t col_count, const uint8_t *phys)
{
	memset(rs, 0, sizeof *rs);
	rs->arena = arena;
	rs->col_count = col_count;
	rs->phys = phys;
}

/* Room for at least one more row in the last chunk: a first small one grows in place, later ones are whole. */
static void rowset_room(struct rowset *rs, uint32_t want)
{
	uint32_t used = (uint32_t)(rs->count - (uint64_t)(rs->chunk_count ? rs->chunk_count - 1 : 0) * VEC_ROWS);
	uint32_t cap = rs->chunk_count > 1 || want + used > 128 ? VEC_ROWS : want + used > 16 ? 128 : 16;
	struct vec *chunk;

	if (rs->chunk_count && used < VEC_ROWS && rs->last_cap >= (want + used > VEC_ROWS ? VEC_ROWS : want + used))
		return;
	if (rs->chunk_count && used < VEC_ROWS) {
		chunk = rs->chunks[rs->chunk_count - 1];
		for (uint32_t c = 0; c < rs->col_count; c++) {
			size_t width = phys_bytes(rs->phys[c]);
			void *data = arena_alloc(rs->arena, cap * width);

			memcpy(data, chunk[c].data, used * width);
			chunk[c].data = data;
		}
		rs->last_cap = cap;
		return;
	}
	if (rs->chunk_count) /* one was full: from here on whole ones */
		cap = VEC_ROWS;
	if (rs->chunk_count == rs->chunk_cap) {
		uint32_t more = rs->chunk_cap ? rs->chunk_cap * 2 : 4;
		struct vec **chunks = ARENA_NEW_N(rs->arena, struct vec *, more);

		if (rs->chunk_count)
			memcpy(chunks, rs->chunks, rs->chunk_count * sizeof *chunks);
		rs->chunks = chunks;
		rs->chunk_cap = more;
	}
	chunk = ARENA_NEW_N(rs->arena, struct vec, rs->col_count + 1);
	for (uint32_t c = 0; c < rs->col_count; c++) {
		chunk[c].phys = rs->phys[c];
		chunk[c].data = arena_alloc(rs->arena, cap * (size_t)phys_bytes(rs->phys[c]));
	}
	rs->chunks[rs->chunk_count++] = chunk;
	rs->last_cap = cap;
}

void rowset_add(struct rowset *rs, const struct vec_batch *b)
{
	ASSERT(b->n == 0 || b->col_count == rs->col_count);
	for (uint32_t done = 0; done < b->n;) {
		uint32_t at, n;

		rowset_room(rs, b->n - done);
		at = (uint32_t)(rs->count % VEC_ROWS);
		n = b->n - done < rs->last_cap - at ? b->n - done : rs->last_cap - at;
		for (uint32_t c = 0; c < rs->col_count; c++)
			vec_append(&rs->chunks[rs->chunk_count - 1][c], at, &b->cols[c], b, done, n, rs->arena);
		rs->count += n;
		done += n;
	}
}

void rowset_add_row(struct rowset *rs, const struct cell *cells)
{
	uint32_t at;

	rowset_room(rs, 1);
	at = (uint32_t)(rs->count % VEC_ROWS);
	for (uint32_t c = 0; c < rs->col_count; c++) {
		struct vec *v = &rs->chunks[rs->chunk_count - 1][c];
		struct cell copy = cells[c];

		if (copy.null) {
			if (!v->nulls)
				v->nulls = ARENA_NEW_N(rs->arena, uint64_t, VEC_WORDS);
			bit_set(v->nulls, at);
			continue;
		}
		if (v->phys == PHYS_VAR)
			copy.var = arena_dup(rs->arena, copy.var, copy.bytes);
		vec_set(v, at, &copy);
	}
	rs->count++;
}

void rowset_batch(const struct rowset *rs, uint64_t at, struct vec_batch *out)
{
	uint64_t left = at < rs->count ? rs->count - at : 0;

	*out = (struct vec_batch){.col_count = rs->col_count};
	if (!left)
		return;
	ASSERT_OP(at % VEC_ROWS, ==, 0);
	out->rows = out->n = left > VEC_ROWS ? VEC_ROWS : (uint32_t)left;
	out->cols = rs->chunks[at / VEC_ROWS];
}

void rowset_cell(const struct rowset *rs, uint64_t row, uint32_t col, struct cell *out)
{
	vec_cell(rowset_vec(rs, row, col), (uint32_t)(row % VEC_ROWS), out);
}

void rowset_gather(const struct rowset *rs, uint32_t first_col, uint32_t col_count, const uint64_t *rows, uint32_t n,
		   struct arena *arena, struct vec *out)
{
	for (uint32_t c = 0; c < col_count; c++) {
		uint32_t width = phys_bytes(rs->phys[first_col + c]);
		uint8_t *to = arena_alloc(arena, (size_t)n * width + 16);

		out[c] = (struct vec){.phys = rs->phys[first_col + c], .data = to};
		for (uint32_t i = 0; i < n; i++) {
			const struct vec *v;
			uint32_t r = (uint32_t)(rows[i] % VEC_ROWS);

			if (rows[i] == UINT64_MAX) {
				if (!out[c].nulls)
					out[c].nulls = ARENA_NEW_N(arena, uint64_t, VEC_WORDS);
				bit_set(out[c].nulls, i);
				continue;
			}
			v = rowset_vec(rs, rows[i], first_col + c);
			memcpy(to + (size_t)i * width, (const uint8_t *)v->data + (size_t)r * width, width);
			if (v->nulls && bit_get(v->nulls, r)) {
				if (!out[c].nulls)
					out[c].nulls = ARENA_NEW_N(arena, uint64_t, VEC_WORDS);
				bit_set(out[c].nulls, i);
			}
		}
	}
}

/* -- hashing and comparing --------------------------------------------------------------------------------------- */

static bool int_phys(uint8_t phys)
{
	return phys == PHYS_I16 || phys == PHYS_I32 || phys == PHYS_I64 || phys == PHYS_BOOL;
}

static int64_t int_at(const struct vec *v, uint32_t row)
{
	if (v->constant)
		row = 0;
	switch (v->phys) {
	case PHYS_BOOL: return v->b[row];
	case PHYS_I16: return v->i16[row];
	case PHYS_I32: return v->i32[row];
	default: return v->i64[row];
	}
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h ^= v + UINT64_C(0x9e3779b97f4a7c15) + (h << 6) + (h >> 2);
	return h;
}

void batch_hash(const struct vec_batch *b, const uint32_t *cols, const uint32_t *oids, uint32_t col_count,
		uint64_t *hashes)
{
	memset(hashes, 0, b->n * sizeof *hashes);
	for (uint32_t c = 0; c < col_count; c++) {
		const struct vec *v = &b->cols[cols ? cols[c] : c];

		for (uint32_t i = 0; i < b->n; i++) {
			uint32_t r = batch_row(b, i);
			struct cell cell;

			if (vec_null(v, r)) {
				hashes[i] = mix(hashes[i], 0x6e756c6c);
			} else if (int_phys(v->phys)) {
				hashes[i] = mix(hashes[i], hash_u64((uint64_t)int_at(v, r)));
			} else {
				vec_cell(v, r, &cell);
				hashes[i] = mix(hashes[i], value_hash(oids[c], &cell));
			}
		}
	}
}

int vec_compare(uint32_t oid, const struct vec *a, uint32_t a_row, const struct vec *b, uint32_t b_row)
{
	bool an = vec_null(a, a_row), bn = vec_null(b, b_row);
	struct cell x, y;

	if (an || bn)
		return an - bn;
	if (int_phys(a->phys) && int_phys(b->phys)) {
		int64_t p = int_at(a, a_row), q = int_at(b, b_row);

		return (p > q) - (p < q);
	}
	vec_cell(a, a_row, &x);
	vec_cell(b, b_row, &y);
	return value_compare(oid, &x, &y);
}
