/*
 * relayout.c - the only code that moves bytes of columns: growth, new columns, split, compact (atoms).
 *
 * Sizes are decided from the body and the arguments only (S1), so that every holder takes the same step at
 * the same record: slots grow 64, 256, 512, then by 512; the heap gets what lives, what is about to be
 * added and an eighth of the image, so that relayouts of a hot atom are rare; the image is the next 16 KiB.
 */
#include "atoms/atoms_int.h"

void bits_copy(uint64_t *dst, const uint64_t *src, uint32_t from, uint32_t n)
{
	uint32_t words = (n + 63) / 64, shift = from % 64;

	src += from / 64;
	for (uint32_t w = 0; w < words; w++) {
		dst[w] = src[w] >> shift;
		/* the next word only if it has bits that are asked for: it may be outside the bitmap */
		if (shift && n - w * 64 > 64 - shift)
			dst[w] |= src[w + 1] << (64 - shift);
	}
	if (n % 64)
		dst[words - 1] &= ~(~UINT64_C(0) << n % 64);
}

uint64_t columns_place(struct col_desc *cols, uint32_t col_count, uint32_t slot_cap, uint32_t *live_off_out)
{
	uint64_t off = sizeof(struct data_head) + (uint64_t)col_count * sizeof(struct col_desc);
	uint32_t bitmap = slot_cap / 8;

	off = (off + 63) & ~UINT64_C(63);
	*live_off_out = (uint32_t)off;
	off += bitmap;
	for (uint32_t i = 0; i < col_count; i++) {
		off = (off + 63) & ~UINT64_C(63);
		cols[i].data_off = (uint32_t)off;
		off += (uint64_t)slot_cap * col_width(cols[i].phys);
		off = (off + 7) & ~UINT64_C(7);
		cols[i].null_off = (uint32_t)off;
		off += 2 * bitmap;
		if (off > UINT32_MAX)
			return UINT64_MAX;
	}
	return off;
}

static uint32_t slot_cap_for(uint32_t slot_need, row_id lo, row_id hi)
{
	uint32_t cap = slot_need <= 64 ? SLOT_CAP_MIN : slot_need <= 256 ? 256 : align_up(slot_need, 512);
	uint32_t most = slot_range_cap(lo, hi);

	return cap < most ? cap : most;
}

/* Bytes of the living values of one variable column in slots [from, from + n). */
static uint64_t var_bytes(const struct data_head *d, const struct col_desc *c, uint32_t from, uint32_t n)
{
	const struct var_ref *refs = (const struct var_ref *)image_at(d, c->data_off);
	uint64_t bytes = 0;

	for (uint32_t i = from; i < from + n; i++)
		bytes += refs[i].len; /* zero where there is no value */
	return bytes;
}

static uint64_t heap_bytes(const struct data_head *d, uint32_t from, uint32_t n)
{
	const struct col_desc *cols = data_cols(d);
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < d->col_count; i++)
		if (cols[i].phys == PHYS_VAR)
			bytes += var_bytes(d, &cols[i], from, n);
	return bytes;
}

static void var_move(struct data_head *to, const struct col_desc *tc, const struct data_head *d,
		     const struct col_desc *c, uint32_t from, uint32_t n)
{
	const struct var_ref *src = (const struct var_ref *)image_at(d, c->data_off) + from;
	struct var_ref *dst = (struct var_ref *)image_at(to, tc->data_off);

	for (uint32_t i = 0; i < n; i++) {
		if (!src[i].len)
			continue;
		to->heap_top -= src[i].len;
		dst[i] = (struct var_ref){to->heap_top, src[i].len};
		memcpy(image_at(to, to->heap_top), image_at(d, src[i].off), src[i].len);
	}
}

static void columns_move(struct data_head *to, const struct data_head *d, uint32_t from, uint32_t n)
{
	struct col_desc *tcs = data_cols(to);
	const struct col_desc *cols = data_cols(d);

	if (!n)
		return;
	bits_copy(data_live(to), data_live(d), from, n);
	for (uint32_t i = 0, t = 0; i < d->col_count; i++, t++) {
		uint32_t width = col_width(cols[i].phys);

		while (tcs[t].attno != cols[i].attno)
			t++;
		bits_copy(col_nulls(to, &tcs[t]), col_nulls(d, &cols[i]), from, n);
		bits_copy(col_present(to, &tcs[t]), col_present(d, &cols[i]), from, n);
		if (cols[i].phys == PHYS_VAR)
			var_move(to, &tcs[t], d, &cols[i], from, n);
		else
			memcpy(image_at(to, tcs[t].data_off), image_at(d, cols[i].data_off + from * width),
			       (size_t)n * width);
	}
}

static uint32_t bits_count(const uint64_t *bits, uint32_t n) /* of whole words */
{
	uint32_t count = 0;

	for (uint32_t w = 0; w < (n + 63) / 64; w++)
		count += (uint32_t)__builtin_popcountll(bits[w]);
	return count;
}

struct atom_head *columns_relayout(struct atom_store *st, const struct data_head *d, const struct relayout *how)
{
	uint32_t from = (uint32_t)(how->lo - d->h.lo), end = d->slot_count, slot_need = how->slot_need, n;
	uint64_t fixed, heap, size;
	struct data_head *to;
	uint32_t live_off, slot_cap, row_bytes = 0;
	struct col_desc *cols = mem_alloc(st->mem, (how->col_count + 1) * sizeof *cols);

	if (end > how->hi - d->h.lo)
		end = (uint32_t)(how->hi - d->h.lo);
	n = end > from ? end - from : 0;
	slot_cap = slot_cap_for(slot_need > n ? slot_need : n, how->lo, how->hi);
	for (uint32_t i = 0; i < how->col_count; i++) {
		cols[i] = (struct col_desc){.attno = how->cols[i].attno, .phys = how->cols[i].phys};
		row_bytes += col_width(cols[i].phys);
	}
	fixed = columns_place(cols, how->col_count, slot_cap, &live_off);
	heap = heap_bytes(d, from, n);
	size = fixed + heap + how->heap_need;
	if (heap + how->heap_need)
		size += size / 8;
	size = step_up(size);
	ASSERT_OP(size, <=, UINT32_MAX); /* S3: grants stop at 512 KiB, an operation is under 1 MiB */
	to = (struct data_head *)image_new(st, size);
	to->h.kind = d->h.kind;
	to->h.atom_id = how->id;
	to->h.owner_id = d->h.owner_id;
	to->h.last_index = d->h.last_index;
	to->h.schema_version = d->h.schema_version;
	to->h.flags = d->h.flags;
	to->h.lo = how->lo;
	to->h.hi = how->hi;
	to->slot_count = n;
	to->slot_cap = slot_cap;
	to->heap_top = to->h.size_bytes;
	to->live_off = live_off;
	to->col_count = (uint16_t)how->col_count;
	memcpy(data_cols(to), cols, how->col_count * sizeof *cols);
	columns_move(to, d, from, n);
	to->live_count = bits_count(data_live(to), n);
	to->h.used_bytes = (uint32_t)(sizeof *to + how->col_count * sizeof *cols +
				      (1 + 2 * how->col_count) * (slot_cap / 8) + (uint64_t)n * row_bytes + heap);
	mem_free(st->mem, cols, (how->col_count + 1) * sizeof *cols);
	return &to->h;
}

/* -- split and compact ------------------------------------------------------------------------- */

struct frame *columns_split(struct atom_store *st, struct frame *f, row_id at, atom_id id, seq_index index)
{
	const struct data_head *d = data_of(f);
	struct relayout how = {.cols = data_cols(d), .col_count = d->col_count};
	struct atom_head *left, *right;
	struct frame *to;

	ASSERT_OP(f->kind, ==, ATOM_DATA);
	ASSERT_OP(at, >, d->h.lo);
	ASSERT_OP(at, <, d->h.hi);
	ASSERT_OP(index, >=, d->h.last_index);
	how.id = id;
	how.lo = at;
	how.hi = d->h.hi;
	right = columns_relayout(st, d, &how);
	how.id = f->id;
	how.lo = d->h.lo;
	how.hi = at;
	left = columns_relayout(st, d, &how);
	to = frame_new(st, right, f->reach);
	frame_inherit(st, to, f);
	image_replace(st, f, left);
	frame_changed(f, index);
	frame_changed(to, index);
	return to;
}

void columns_compact(struct atom_store *st, struct frame *f, seq_index index)
{
	const struct data_head *d = data_of(f);
	struct relayout how = {.id = f->id, .lo = d->h.lo, .hi = d->h.hi, .cols = data_cols(d),
			       .col_count = d->col_count};

	ASSERT_OP(index, >=, d->h.last_index);
	image_replace(st, f, columns_relayout(st, d, &how));
	frame_changed(f, index);
}

/* Adds the heap bytes of each slot to @cost. */
static void heap_cost(const struct data_head *d, uint32_t *cost)
{
	const struct col_desc *cols = data_cols(d);

	for (uint32_t i = 0; i < d->col_count; i++) {
		const struct var_ref *refs = (const struct var_ref *)image_at(d, cols[i].data_off);

		if (cols[i].phys != PHYS_VAR)
			continue;
		for (uint32_t s = 0; s < d->slot_count; s++)
			cost[s] += refs[s].len;
	}
}

enum status columns_split_point(const struct frame *f, row_id *at_out)
{
	const struct data_head *d = data_of(f);
	const uint64_t *live = data_live(d);
	uint32_t cost[ATOM_ROWS_MAX] = {0}, last = d->slot_count, first = 0, at = 0;
	uint64_t all = 0, sum = 0;

	if (d->live_count < 2)
		return ST_END;
	while (!bit_get(live, last - 1))
		last--;
	while (!bit_get(live, first))
		first++;
	heap_cost(d, cost);
	for (uint32_t s = 0; s < d->slot_count; s++)
		all += cost[s] += f->in->row_bytes + 1;
	while (at < last && sum < all / 2)
		sum += cost[at++];
	/* a live row on each side: the first on the left, the last (last - 1) on the right */
	if (at > last - 1)
		at = last - 1;
	if (at < first + 1)
		at = first + 1;
	*at_out = d->h.lo + at;
	return ST_OK;
}
