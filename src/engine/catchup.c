/*
 * catchup.c - the log from an archive's journal, for engines behind every window (engine).
 *
 * A child that is slow, or was away, costs its parent no more than the backlog of its link: the window on the log is not kept
 * for it. When what it needs next has left its parent's window it is told to ask a voter, and a voter reads from its journal
 * what its own window no longer has. Only what that has dropped too is gone (P21), and the engine joins anew.
 *
 * The journal is keyed by consensus position, the log by index: of the two only the order is the same. The position is
 * found by bisection, once; then a cursor for each reader knows what comes next. Reads are synchronous, so there is a budget
 * for them between two ticks, and who asks is served again at the next one.
 */
#include "base/cover.h"
#include "engine/engine_int.h"

#define BUDGET_BYTES (1u << 20)

/* The batch at @pos, lent until the next read; ST_END: it is not in the journal. b.count 0: it has no records. */
static enum status read_at(struct engine *e, uint64_t pos, struct batch *b, const void **data_out, size_t *bytes_out)
{
	struct seq_entry entry;
	enum status st = e->store->ops->journal_read(e->store, pos, &entry);
	struct reader r;

	if (st)
		return st;
	r = reader_init(entry.data, entry.bytes);
	if (entry.kind == SEQ_CONFIG && !get_raw(&r, get_u32(&r)))
		return ST_CORRUPT;
	*data_out = r.p;
	*bytes_out = reader_left(&r);
	return batch_decode(r.p, *bytes_out, b);
}

/* The first position from @pos on, and below @end, whose batch has records; ST_END: none. */
static enum status read_from(struct engine *e, uint64_t *pos, uint64_t end, struct batch *b, const void **data_out,
			     size_t *bytes_out)
{
	while (*pos < end) {
		enum status st = read_at(e, *pos, b, data_out, bytes_out);

		if (st || b->count)
			return st;
		++*pos;
	}
	return ST_END;
}

/* What the window begins with is at this position; what is below it is for the journal. */
static uint64_t window_pos(const struct engine *e)
{
	return e->window.count ? e->window.at[e->window.head]->pos : e->committed_pos + 1;
}

/*
 * The lowest position whose batch ends at or behind @index; end: none. Dropped positions count as before it: they are the
 * lowest ones.
 */
static uint64_t position_of(struct engine *e, seq_index index, uint64_t end)
{
	uint64_t lo = e->base_pos + 1, hi = end; /* what is before a state that was taken is not of the log any more */

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2, at = mid;
		struct batch b;
		const void *data;
		size_t bytes;
		enum status st = read_from(e, &at, hi, &b, &data, &bytes);

		if (st == ST_OK && b.first + b.count - 1 >= index)
			hi = mid;
		else if (st == ST_END && at >= hi)
			hi = mid; /* nothing but empty ones from there on */
		else
			lo = (st == ST_OK ? at : mid) + 1;
	}
	return lo;
}

void catchup_tick(struct engine *e)
{
	e->catchup.spent_bytes = 0;
}

static bool has(struct engine *e, seq_index from)
{
	return from < window_first(&e->window) && from >= catchup_first(e);
}

bool catchup_spent(struct engine *e, seq_index from)
{
	return e->archive && e->catchup.spent_bytes >= BUDGET_BYTES && has(e, from);
}

void catchup_journal_changed(struct engine *e)
{
	uint64_t spent = e->catchup.spent_bytes;

	memset(&e->catchup, 0, sizeof e->catchup);
	e->catchup.spent_bytes = spent;
}

seq_index catchup_durable(const struct engine *e)
{
	uint64_t durable = e->seq ? seq_persisted_pos(e->seq) : 0;
	size_t i = e->window.count;

	while (i && e->window.at[e->window.head + i - 1]->pos > durable)
		i--;
	return e->archive && i < e->window.count ? e->window.at[e->window.head + i]->first : UINT64_MAX;
}

seq_index catchup_first(struct engine *e)
{
	seq_index first = window_first(&e->window);
	uint64_t end = window_pos(e), pos;
	struct batch b;
	const void *data;
	size_t bytes;

	if (!e->archive || !e->seq || e->state == ENGINE_FAILED)
		return first;
	if (!e->catchup.first) {
		pos = position_of(e, 1, end);
		e->catchup.first = read_from(e, &pos, end, &b, &data, &bytes) == ST_OK ? b.first : first;
	}
	return e->catchup.first < first ? e->catchup.first : first;
}

const void *catchup_get(struct engine *e, seq_index from, size_t *bytes_out, seq_index *first_out, seq_index *last_out)
{
	struct catchup *c = &e->catchup;
	uint64_t end = window_pos(e), pos = 0;
	struct batch b;
	const void *data;
	uint32_t at = 0;

	if (!has(e, from) || c->spent_bytes >= BUDGET_BYTES)
		return NULL;
	for (uint32_t i = 0; i < CATCHUP_READERS && !pos; i++)
		if (c->readers[i].next == from) {
			pos = c->readers[i].pos;
			at = i;
		}
	if (!pos) {
		pos = position_of(e, from, end);
		at = c->reader_at++ % CATCHUP_READERS;
	}
	if (read_from(e, &pos, end, &b, &data, bytes_out) != ST_OK || b.first > from || b.first + b.count <= from) {
		/* dropped meanwhile, or damaged: nobody is served from before it any more */
		log_event(e->log, LOG_ENGINE, LOG_WARN, "journal does not have the log", "index=%llu pos=%llu",
			  (unsigned long long)from, (unsigned long long)pos);
		c->first = from + 1;
		return NULL;
	}
	COVER(CATCHUP);
	*first_out = b.first;
	*last_out = b.first + b.count - 1;
	c->readers[at] = (struct catchup_reader){*last_out + 1, pos + 1};
	c->spent_bytes += *bytes_out;
	e->catchup_bytes += *bytes_out;
	return data;
}
