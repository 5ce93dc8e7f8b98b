/*
 * bdb_index.c - where each position of the journal is (engine/archive): the loop's map.
 *
 * One reference for each operation that still has valid entries, sorted by operation number and by position at
 * once: an operation that replaces a suffix first takes the replaced ones out. Terms are kept as runs, of which
 * there are few.
 */
#include "engine/archive/bdb_int.h"

#include "base/assert.h"

#include <string.h>

void bdb_index_init(struct bdb_index *x)
{
	memset(x, 0, sizeof *x);
	x->first_pos = 1;
	list_init(&x->segments);
}

void bdb_index_clear(struct bdb_index *x, struct mem *m)
{
	VEC_FINI(m, &x->refs);
	VEC_FINI(m, &x->runs);
	x->first_pos = 1;
	x->last_pos = x->before_term = x->last_op = x->term = x->vote = 0;
}

void bdb_index_fini(struct bdb_index *x, struct mem *m)
{
	bdb_index_clear(x, m);
}

static void index_cut(struct bdb_index *x, uint64_t first_pos)
{
	while (x->refs.count && x->refs.at[x->refs.count - 1].first_pos >= first_pos)
		x->refs.count--;
	if (x->refs.count) {
		struct bdb_ref *r = &x->refs.at[x->refs.count - 1];

		if (r->first_pos + r->count > first_pos)
			r->count = (uint32_t)(first_pos - r->first_pos);
	}
	while (x->runs.count && x->runs.at[x->runs.count - 1].first_pos >= first_pos)
		x->runs.count--;
}

static void run_add(struct bdb_index *x, struct mem *m, uint64_t pos, uint64_t term)
{
	struct bdb_run run = {pos, term};

	if (!x->runs.count || x->runs.at[x->runs.count - 1].term != term)
		VEC_PUSH(m, &x->runs, run);
}

void bdb_index_add(struct bdb_index *x, struct mem *m, const struct disk_op *op, struct bdb_ref ref,
		   const struct disk_entry *entries)
{
	if (op->entry_count && x->last_pos && op->first_pos > x->last_pos + 1) {
		/* a state was taken: the journal begins anew behind it. Lost operations show in their numbers, not here */
		x->refs.count = x->runs.count = 0;
		x->last_pos = 0;
	}
	x->last_op = ref.number;
	x->term = op->term;
	x->vote = op->vote;
	if (!op->entry_count)
		return;
	if (!x->last_pos || op->first_pos <= x->first_pos) {
		x->first_pos = op->first_pos;
		x->before_term = op->prev_term;
	}
	index_cut(x, op->first_pos);
	ref.first_pos = op->first_pos;
	ref.count = op->entry_count;
	VEC_PUSH(m, &x->refs, ref);
	x->last_pos = op->first_pos + op->entry_count - 1;
	if (op->first_term == op->last_term) {
		run_add(x, m, op->first_pos, op->first_term);
		return;
	}
	for (uint32_t i = 0; i < op->entry_count; i++)
		run_add(x, m, op->first_pos + i, entries[i].term);
}

uint64_t bdb_index_term(const struct bdb_index *x, uint64_t pos)
{
	size_t lo = 0, hi = x->runs.count;

	if (!x->last_pos || pos > x->last_pos)
		return 0;
	if (pos < x->first_pos)
		return pos + 1 == x->first_pos ? x->before_term : 0;
	while (lo < hi) { /* the last run that starts at or below pos */
		size_t mid = lo + (hi - lo) / 2;

		if (x->runs.at[mid].first_pos <= pos)
			lo = mid + 1;
		else
			hi = mid;
	}
	ASSERT(lo > 0);
	return x->runs.at[lo - 1].term;
}

struct bdb_ref *bdb_index_find(const struct bdb_index *x, uint64_t pos)
{
	size_t lo = 0, hi = x->refs.count;

	if (!x->last_pos || pos < x->first_pos || pos > x->last_pos)
		return NULL;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (x->refs.at[mid].first_pos <= pos)
			lo = mid + 1;
		else
			hi = mid;
	}
	ASSERT(lo > 0);
	return &x->refs.at[lo - 1];
}

struct bdb_ref *bdb_index_find_op(const struct bdb_index *x, uint64_t number)
{
	size_t lo = 0, hi = x->refs.count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (x->refs.at[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < x->refs.count && x->refs.at[lo].number == number ? &x->refs.at[lo] : NULL;
}

/* References into @seg, all at the front, go; the journal begins with the next one. */
static void index_forget(struct bdb_index *x, const struct bdb_segment *seg)
{
	uint64_t first_pos, before;
	size_t n = 0, k = 0;

	while (n < x->refs.count && x->refs.at[n].segment == seg)
		n++;
	if (!n)
		return;
	ASSERT_OP(n, <, x->refs.count);
	first_pos = x->refs.at[n].first_pos;
	before = bdb_index_term(x, first_pos - 1);
	memmove(x->refs.at, x->refs.at + n, (x->refs.count - n) * sizeof *x->refs.at);
	x->refs.count -= n;
	while (k + 1 < x->runs.count && x->runs.at[k + 1].first_pos <= first_pos)
		k++;
	memmove(x->runs.at, x->runs.at + k, (x->runs.count - k) * sizeof *x->runs.at);
	x->runs.count -= k;
	x->first_pos = first_pos;
	x->before_term = before;
}

/*
 * A segment goes whole, oldest first, when nothing ever written there is at or above @below_pos (so a replacement
 * under way cannot matter), and never the newest one (it has the term and vote) nor that of the newest durable
 * entry (a journal that was not empty is never empty again).
 */
void bdb_index_drop(struct bdb_index *x, uint64_t below_pos, struct list *out)
{
	const struct bdb_segment *keep = NULL;

	for (size_t i = x->refs.count; i-- > 0 && !keep;)
		keep = x->refs.at[i].segment;
	for (;;) {
		struct list *it = list_first(&x->segments);
		struct bdb_segment *seg;

		if (!it || it->next == &x->segments)
			return;
		seg = CONTAINER_OF(it, struct bdb_segment, link);
		if (seg == keep || !keep || seg->max_pos >= below_pos)
			return;
		index_forget(x, seg);
		list_remove(&seg->link);
		list_push_back(out, &seg->link);
	}
}
