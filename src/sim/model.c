/*
 * model.c - one log for all engines; clients' transactions against it (sim). See model.h.
 */
#include "sim/model_int.h"

#include <string.h>

struct model *model_new(struct world *w)
{
	struct model *m = MEM_NEW(&w->mem, struct model);

	m->w = w;
	map_init(&m->by_storage, &w->mem);
	map_init(&m->indexes, &w->mem);
	op_reader_init(&m->ops, &w->mem);
	return m;
}

static void row_free(struct mem *mem, struct mrow *r)
{
	for (uint32_t i = 0; i < r->count; i++)
		mem_free(mem, r->values[i].p, r->values[i].bytes);
	mem_free(mem, r->values, r->count * sizeof *r->values);
	VEC_FINI(mem, &r->versions);
	MEM_FREE(mem, r);
}

void model_free(struct model *m)
{
	struct mem *mem = &m->w->mem;

	for (size_t i = 0; i < m->tables.count; i++) {
		struct mtable *t = m->tables.at[i];

		for (size_t k = 0; k < t->rows.count; k++)
			row_free(mem, t->rows.at[k]);
		VEC_FINI(mem, &t->rows);
		map_fini(&t->by_row);
		map_fini(&t->by_id);
		arena_fini(&t->arena);
		MEM_FREE(mem, t);
	}
	for (size_t i = 0; i < m->all_indexes.count; i++) {
		bmap_fini(&m->all_indexes.at[i]->keys);
		MEM_FREE(mem, m->all_indexes.at[i]);
	}
	for (size_t i = 0; i < m->parts.count; i++)
		mem_free(mem, m->parts.at[i].payload, m->parts.at[i].bytes);
	for (size_t i = 0; i < m->txns.count; i++)
		MEM_FREE(mem, m->txns.at[i]);
	for (size_t i = 0; i < m->chunks.count; i++)
		buf_fini(&m->chunks.at[i].bytes);
	VEC_FINI(mem, &m->log);
	VEC_FINI(mem, &m->txns);
	VEC_FINI(mem, &m->tables);
	VEC_FINI(mem, &m->all_indexes);
	VEC_FINI(mem, &m->parts);
	VEC_FINI(mem, &m->chunks);
	VEC_FINI(mem, &m->touched);
	map_fini(&m->by_storage);
	map_fini(&m->indexes);
	op_reader_fini(&m->ops);
	MEM_FREE(mem, m);
}

seq_index model_last(const struct model *m)
{
	return m->log.count;
}

/* -- one log ------------------------------------------------------------------------------------------------------ */

static uint32_t record_crc(const struct record *r, const struct batch *b)
{
	uint64_t head[] = {r->index, r->kind, r->engine, r->seq, r->txn, r->attempt, r->plan, r->parts,
			   r->grantor_count, r->touch_count, r->payload_bytes, r->payload_crc, b->horizon, b->wall_us};
	uint32_t crc = crc32c(0, head, sizeof head);

	crc = crc32c(crc, r->grantors, r->grantor_count * sizeof r->grantors[0]);
	return crc32c(crc, r->touches, r->touch_count * sizeof r->touches[0]);
}

static void look(struct model *m, struct node *n, const struct record *r, const struct batch *b, uint8_t verdict)
{
	struct mlog l = {.crc = record_crc(r, b), .kind = r->kind, .verdict = verdict}, *was;

	if (r->index == m->log.count + 1) {
		VEC_PUSH(&m->w->mem, &m->log, l);
		world_mix(m->w, l.crc);
		if (verdict == VERDICT_OK)
			model_apply(m, r);
		else if (r->kind == REC_COMMIT)
			world_note(m->w, "commit of %llu:%llu at %llu has verdict %u",
				   (unsigned long long)r->engine, (unsigned long long)r->txn,
				   (unsigned long long)r->index, verdict);
		return;
	}
	if (r->index > m->log.count) {
		world_violation(m->w, "%s applied index %llu when nobody had applied %llu", n->name,
				(unsigned long long)r->index, (unsigned long long)m->log.count + 1);
		return;
	}
	was = &m->log.at[r->index - 1];
	if (was->crc != l.crc || was->kind != l.kind)
		world_violation(m->w, "index %llu was given twice: %s applied a %s, others had a %s before",
				(unsigned long long)r->index, n->name, record_kind_name(r->kind),
				record_kind_name(was->kind));
	else if (was->verdict != l.verdict)
		world_violation(m->w, "%s of %llu at index %llu: verdict %u at %s, %u before elsewhere",
				record_kind_name(r->kind), (unsigned long long)r->engine,
				(unsigned long long)r->index, l.verdict, n->name, was->verdict);
}

void model_feed(struct model *m, struct node *n)
{
	seq_index applied = node_applied(n);

	if (applied < n->fed)
		n->fed = 0; /* it joins anew */
	while (n->fed < applied && !m->w->failed) {
		struct engine_batch eb;
		struct batch b;
		struct batch_iter it = {0};

		if (!engine_log_batch(n->engine, n->fed + 1, &eb)) {
			n->fed++; /* before its root's index */
			continue;
		}
		ASSERT(batch_decode(eb.data, eb.bytes, &b) == ST_OK);
		while (!m->w->failed && batch_next(&b, &it, &m->rec) == ST_OK && m->rec.index <= applied)
			if (m->rec.index > n->fed)
				look(m, n, &m->rec, &b, eb.verdicts[m->rec.index - b.first]);
		n->fed = b.first + b.count - 1 < applied ? b.first + b.count - 1 : applied;
	}
}

/* -- clients' transactions ------------------------------------------------------------------------------------------ */

struct mtxn *model_txn_begin(struct model *m)
{
	struct mtxn *x = MEM_NEW(&m->w->mem, struct mtxn);

	x->number = m->txns.count + 1;
	x->read_hi = UINT64_MAX;
	VEC_PUSH(&m->w->mem, &m->txns, x);
	return x;
}

struct mtxn *model_txn_of(struct model *m, int64_t tag)
{
	uint64_t number = (uint64_t)tag / TAG_WRITES;

	return tag > 0 && number && number <= m->txns.count ? m->txns.at[number - 1] : NULL;
}

int64_t model_txn_write(struct mtxn *x, int64_t delta, bool has_delta)
{
	uint32_t k = 0;

	while (k < TAG_WRITES && (x->expected >> k & 1 || x->has_delta[k]))
		k++;
	ASSERT_OP(k, <, TAG_WRITES);
	x->expected |= UINT64_C(1) << k;
	x->delta[k] = delta;
	x->has_delta[k] = has_delta;
	return (int64_t)(x->number * TAG_WRITES + k);
}

uint64_t model_txn_writes(const struct mtxn *x)
{
	return x->expected;
}

void model_txn_undo(struct mtxn *x, uint64_t kept)
{
	for (uint32_t k = 0; k < TAG_WRITES; k++)
		if ((x->expected & ~kept) >> k & 1)
			x->has_delta[k] = true; /* its number is not given again */
	x->expected = kept;
}

static void whole(struct model *m, const struct mtxn *x)
{
	uint64_t required = x->partial ? x->expected & 1 : x->expected;

	if (x->index && ((x->seen & ~x->expected) || (required & ~x->seen)))
		world_violation(m->w, "transaction %llu committed at %llu with writes %llx instead of %llx",
				(unsigned long long)x->number, (unsigned long long)x->index,
				(unsigned long long)x->seen, (unsigned long long)x->expected);
}

static void snapshot_check(struct model *m, struct mtxn *x)
{
	if (x->one_snapshot && x->read_lo >= x->read_hi)
		world_violation(m->w, "transaction %llu read and wrote as of no single index: from %llu, before %llu",
				(unsigned long long)x->number, (unsigned long long)x->read_lo,
				(unsigned long long)x->read_hi);
}

void model_txn_end(struct model *m, struct mtxn *x, enum txn_end end)
{
	ASSERT(x->end == TXN_OPEN);
	x->end = end;
	if (end == TXN_ACKED && x->expected && !x->index)
		world_violation(m->w, "transaction %llu is acknowledged, but is not in the log",
				(unsigned long long)x->number);
	if (end == TXN_REFUSED && x->index)
		world_violation(m->w, "transaction %llu is in the log at %llu, but the client was told that it failed",
				(unsigned long long)x->number, (unsigned long long)x->index);
	whole(m, x);
	snapshot_check(m, x);
}

void model_final(struct model *m)
{
	for (size_t i = 0; i < m->txns.count && !m->w->failed; i++) {
		const struct mtxn *x = m->txns.at[i];

		if (x->end == TXN_ACKED && x->expected && !x->index)
			world_violation(m->w, "transaction %llu was acknowledged and is lost",
					(unsigned long long)x->number);
		if (x->end != TXN_OPEN)
			whole(m, x);
	}
}

/* -- reads ------------------------------------------------------------------------------------------------------------ */

void model_reads_init(struct mreads *r)
{
	r->lo = 0;
	r->hi = UINT64_MAX;
	r->rows = 0;
}

void model_read(struct model *m, struct mreads *r, struct mtable *t, int64_t id, int64_t tag, int64_t balance,
		const struct mtxn *x)
{
	struct mrow *row = t ? map_find(&t->by_id, (uint64_t)id) : NULL;
	const struct mtxn *of = model_txn_of(m, tag);

	r->rows++;
	if (of && of == x)
		return;
	for (size_t i = row ? row->versions.count : 0; i-- > 0;) {
		const struct mversion *v = &row->versions.at[i];

		if (!v->live || v->tag != tag)
			continue;
		if (v->balance != balance)
			world_violation(m->w, "row %lld was read with tag %lld and balance %lld instead of %lld",
					(long long)id, (long long)tag, (long long)balance, (long long)v->balance);
		if (v->from > r->lo)
			r->lo = v->from;
		if (v->to < r->hi)
			r->hi = v->to;
		return;
	}
	world_violation(m->w, "dirty read: row %lld with tag %lld of transaction %lld, which is not in the log",
			(long long)id, (long long)tag, (long long)(tag / TAG_WRITES));
}

void model_reads_check(struct model *m, const struct mreads *r, struct mtxn *x, seq_index *session_lo,
		       seq_index applied, const char *what)
{
	seq_index lo = r->lo, hi = r->hi;

	if (lo >= hi) {
		world_violation(m->w, "%s: the snapshot is no prefix of the log: something of %llu, nothing of %llu",
				what, (unsigned long long)lo, (unsigned long long)hi);
		return;
	}
	if (lo > applied)
		world_violation(m->w, "%s: shows index %llu, but the engine has applied %llu", what,
				(unsigned long long)lo, (unsigned long long)applied);
	if (x && x->one_snapshot) {
		if (lo > x->read_lo)
			x->read_lo = lo;
		if (hi < x->read_hi)
			x->read_hi = hi;
		snapshot_check(m, x);
		return;
	}
	if (hi <= *session_lo) {
		world_violation(m->w, "%s: the session saw index %llu before, and now nothing of %llu", what,
				(unsigned long long)*session_lo, (unsigned long long)hi);
		return;
	}
	if (lo > *session_lo)
		*session_lo = lo;
}
