/*
 * log.c - the engine's window on the log, and applying it (engine).
 *
 * Batches arrive in order, from the parent in the tree or, at a voter, from consensus; they are kept for the
 * children, for replay on fetched copies, and applied as far as a turn's budget goes (S16).
 */
#include "base/cover.h"
#include "engine/engine_int.h"

#define APPLY_BUDGET 16384
#define PULL_AHEAD_BYTES (4u << 20) /* of payloads asked for at once */
#define PULL_AHEAD_RECORDS 4096

void window_init(struct window *w, struct mem *mem, seq_index next)
{
	memset(w, 0, sizeof *w);
	w->mem = mem;
	w->next = next;
	map_init(&w->pulled, mem);
}

struct pulled { uint32_t bytes; uint8_t data[]; };

static void logged_free(struct window *w, struct logged *l)
{
	for (seq_index i = l->first; l->pulled && i <= l->last; i++) {
		struct pulled *p = map_remove(&w->pulled, i);

		if (!p)
			continue;
		l->pulled--;
		w->bytes -= p->bytes;
		mem_free(w->mem, p, sizeof *p + p->bytes);
	}
	w->bytes -= l->bytes;
	mem_free(w->mem, l->data, l->bytes);
	mem_free(w->mem, l->verdicts, l->count);
	MEM_FREE(w->mem, l);
}

void window_reset(struct window *w, seq_index next)
{
	for (size_t i = 0; i < w->count; i++)
		logged_free(w, w->at[w->head + i]);
	w->head = w->count = 0;
	w->next = next;
}

void window_fini(struct window *w)
{
	window_reset(w, 0);
	mem_free(w->mem, w->at, w->cap * sizeof *w->at);
	map_fini(&w->pulled);
}

const uint8_t *window_payload(const struct window *w, const struct logged *l, seq_index index)
{
	const struct pulled *p = l->pulled ? map_find(&w->pulled, index) : NULL;

	return p ? p->data : NULL;
}

void window_put_payload(struct window *w, struct logged *l, seq_index index, const void *payload, uint32_t bytes)
{
	struct pulled *p = mem_alloc(w->mem, sizeof *p + bytes);

	ASSERT(index >= l->first && index <= l->last && !map_find(&w->pulled, index));
	p->bytes = bytes;
	memcpy(p->data, payload, bytes);
	map_put(&w->pulled, index, p);
	l->pulled++;
	w->bytes += bytes;
}

struct logged *window_add(struct window *w, const struct batch *b, const void *data, size_t bytes, uint64_t pos)
{
	struct logged *l = MEM_NEW(w->mem, struct logged);

	ASSERT_OP(b->first, ==, w->next);
	l->first = b->first;
	l->last = b->first + b->count - 1;
	l->pos = pos;
	l->bytes = (uint32_t)bytes;
	l->count = b->count;
	l->data = mem_alloc(w->mem, bytes);
	memcpy(l->data, data, bytes);
	l->batch = *b;
	l->batch.records = l->data + (b->records - (const uint8_t *)data);
	l->prunable = batch_prunable(b);
	l->verdicts = mem_alloc(w->mem, b->count);
	if (w->head + w->count == w->cap) {
		if (w->head > w->cap / 2) {
			memmove(w->at, w->at + w->head, w->count * sizeof *w->at);
			w->head = 0;
		} else {
			size_t cap = w->cap ? w->cap * 2 : 256;

			w->at = mem_realloc(w->mem, w->at, w->cap * sizeof *w->at, cap * sizeof *w->at);
			w->cap = cap;
		}
	}
	w->at[w->head + w->count++] = l;
	w->bytes += bytes;
	w->next = l->last + 1;
	return l;
}

struct logged *window_find(const struct window *w, seq_index index)
{
	size_t lo = 0, hi = w->count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (w->at[w->head + mid]->last < index)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == w->count || w->at[w->head + lo]->first > index)
		return NULL;
	return w->at[w->head + lo];
}

seq_index window_first(const struct window *w)
{
	return w->count ? w->at[w->head]->first : w->next;
}

void window_trim(struct window *w, uint64_t limit_bytes, seq_index keep_from)
{
	while (w->count && w->bytes > limit_bytes && w->at[w->head]->last < keep_from) {
		logged_free(w, w->at[w->head]);
		w->head++;
		w->count--;
	}
	if (!w->count)
		w->head = 0;
}

/* -- receiving and applying ------------------------------------------------------------------------------ */

void log_receive(struct engine *e, const void *data, size_t bytes, uint64_t pos)
{
	struct batch b;

	if (batch_decode(data, bytes, &b) != ST_OK) {
		log_event(e->log, LOG_ENGINE, LOG_ERROR, "damaged batch", "bytes=%llu", (unsigned long long)bytes);
		return;
	}
	if (!b.count)
		return; /* a leader's first entry of a term */
	if (b.first != e->window.next) {
		ASSERT(!pos || b.first < e->window.next); /* consensus has no gaps */
		return; /* repeated, or after a gap: the stream resumes where we want it */
	}
	window_add(&e->window, &b, data, bytes, pos);
	if (b.leader && b.leader != e->leader_id) {
		e->leader_id = b.leader;
		e->resubmit = true; /* what the last one had taken and not proposed is gone with it (P4) */
	}
	e->kicked = true;
}

/* The next record to apply, from the batch under way or the next one in the window. */
static bool next_record(struct engine *e)
{
	for (;;) {
		enum status st;

		if (!e->applying) {
			e->applying = window_find(&e->window, replica_applied(e->rp) + 1);
			if (!e->applying)
				return false;
			e->batch = e->applying->batch;
			memset(&e->iter, 0, sizeof e->iter);
			replica_batch(e->rp, &e->batch);
		}
		st = batch_next(&e->batch, &e->iter, &e->record);
		if (st == ST_OK && e->record.index <= replica_applied(e->rp))
			continue;
		if (st == ST_OK)
			return true;
		ASSERT(st == ST_END);
		e->applied_pos = e->applying->pos;
		e->applying = NULL;
		if (!window_find(&e->window, replica_applied(e->rp) + 1))
			return false;
	}
}

/*
 * The next record's payload was not sent and is needed, or parts are. Then likely more is: all that lies ahead is asked for at
 * once. True: apply waits.
 */
static bool must_wait(struct engine *e)
{
	struct record *ahead;
	seq_index at = e->record.index;
	uint64_t bytes = 0;

	if (!e->record.payload)
		e->record.payload = window_payload(&e->window, e->applying, at);
	if (replica_missing_parts(e->rp, &e->record, NULL)) {
		COVER(PARTS_PULLED);
		if (!txns_want_parts(e->txns, &e->record) && !e->archive)
			member_rejoin(e); /* a root from after that commit */
		return true;
	}
	if (!replica_missing_payload(e->rp, &e->record, NULL))
		return false;
	COVER(PAYLOADS_PULLED);
	ahead = mem_alloc(e->mem, sizeof *ahead);
	while (!e->pull.from && bytes < PULL_AHEAD_BYTES && at < e->record.index + PULL_AHEAD_RECORDS) {
		const struct logged *l = window_find(&e->window, at);
		struct batch_iter it = {0};

		if (!l)
			break;
		while (batch_next_header(&l->batch, &it, ahead) == ST_OK) {
			if (ahead->index < at || window_payload(&e->window, l, ahead->index) ||
			    !replica_missing_payload(e->rp, ahead, NULL))
				continue;
			pull_add(e, ahead->index);
			bytes += ahead->payload_bytes;
		}
		at = l->last + 1;
	}
	mem_free(e->mem, ahead, sizeof *ahead);
	if (!pull_wait(e) && !e->archive)
		member_rejoin(e); /* a root from after it */
	return true;
}

int log_apply_some(struct engine *e)
{
	int64_t budget = APPLY_BUDGET;
	int done = 0;

	while (budget > 0) {
		enum verdict v;
		struct logged *l;

		if (!e->have_record && !next_record(e))
			break;
		e->have_record = true;
		if (!e->paused && must_wait(e))
			break;
		l = e->applying;
		if (!replica_apply(e->rp, &e->record, &budget, &v)) {
			COVER(APPLY_PAUSED);
			e->paused = true;
			done++;
			break;
		}
		if (!e->record.payload)
			e->payload_bytes_spared += e->record.payload_bytes;
		e->have_record = e->paused = false;
		done++;
		e->records_applied++;
		if (e->applying != l)
			break; /* this engine was removed: its state was made anew */
		l->verdicts[e->record.index - l->first] = (uint8_t)v;
		if (e->record.index == l->last) {
			e->applied_pos = l->pos;
			e->applying = NULL;
		}
	}
	if (done) {
		relay_log_advanced(e->relay);
		if (budget <= 0)
			e->kicked = true;
	}
	return done;
}

/*
 * Can the frame take over all in (as_of, applied]? Not over a membership record if it is a data catalog leaf; and not
 * before what it needs of payloads is here.
 */
static enum status replay_check(struct engine *e, seq_index as_of, const struct frame *f, struct record *r)
{
	seq_index at = as_of + 1, applied = replica_applied(e->rp);
	bool missing = false;

	while (at <= applied) {
		struct logged *l = window_find(&e->window, at);
		struct batch_iter it = {0};

		if (!l)
			return ST_LOG_GONE;
		while (batch_next_header(&l->batch, &it, r) == ST_OK) {
			if (r->index < at || r->index > applied)
				continue;
			if (f->kind == ATOM_DATA_CAT && record_kind_leaders(r->kind))
				return ST_AGAIN;
			if (l->verdicts[r->index - l->first] != VERDICT_OK)
				continue;
			if (replica_missing_parts(e->rp, r, f))
				return ST_LOG_GONE;
			if (replica_missing_payload(e->rp, r, f) && !window_payload(&e->window, l, r->index)) {
				pull_add(e, r->index);
				missing = true;
			}
		}
		at = l->last + 1;
	}
	if (!missing)
		return ST_OK;
	COVER(REPLAY_PULLED);
	return pull_wait(e) ? ST_WAIT : ST_LOG_GONE;
}

/* txn_host: all records in (as_of, applied] on one frame (S10). */
enum status log_replay(struct engine *e, seq_index as_of, struct frame *f)
{
	seq_index at = as_of + 1, applied = replica_applied(e->rp);
	struct record *r = mem_alloc(e->mem, sizeof *r);
	enum status st = replay_check(e, as_of, f, r);

	while (!st && at <= applied) {
		struct logged *l = window_find(&e->window, at);
		struct batch_iter it = {0};

		while (batch_next(&l->batch, &it, r) == ST_OK) {
			if (r->index < at || r->index > applied)
				continue;
			if (!r->payload)
				r->payload = window_payload(&e->window, l, r->index);
			replica_replay(e->rp, r, (enum verdict)l->verdicts[r->index - l->first], f);
		}
		at = l->last + 1;
	}
	mem_free(e->mem, r, sizeof *r);
	return st;
}

/* txn_host (P25): a record by its engine and number. One that was repeated has its verdict where it came first. */
enum status log_record_find(void *ctx, engine_id engine, uint64_t seq, seq_index plan, seq_index *index_out,
			    enum verdict *verdict_out)
{
	struct engine *e = ctx;
	seq_index at = plan + 1, applied = replica_applied(e->rp);
	struct record *r = mem_alloc(e->mem, sizeof *r);
	enum status st = ST_END;

	while (st == ST_END && at <= applied) {
		const struct logged *l = window_find(&e->window, at);
		struct batch_iter it = {0};

		if (!l) {
			st = ST_LOG_GONE;
			break;
		}
		while (batch_next_header(&l->batch, &it, r) == ST_OK && r->index <= applied) {
			if (r->index < at || r->engine != engine || r->seq != seq || record_kind_leaders(r->kind) ||
			    l->verdicts[r->index - l->first] == VERDICT_DUP)
				continue;
			*index_out = r->index;
			*verdict_out = (enum verdict)l->verdicts[r->index - l->first];
			st = ST_OK;
			break;
		}
		at = l->last + 1;
	}
	mem_free(e->mem, r, sizeof *r);
	return st;
}
