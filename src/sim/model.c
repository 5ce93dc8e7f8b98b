/*
 * model.c - one log for all engines; clients' transactions against it (sim). See model.h.
 */
#include "sim/model_int.h"

#include <string.h>

#include "sim/check.h"

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
	for (size_t i = 0; i < m->txns.count; i++) {
		VEC_FINI(mem, &m->txns.at[i]->writes);
		VEC_FINI(mem, &m->txns.at[i]->gone);
		MEM_FREE(mem, m->txns.at[i]);
	}
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

/* Is the verdict one that all must share? Structural records are judged by who has the leaf in question, as of then. */
static bool judges(const struct model *m, struct node *n, const struct record *r, uint8_t verdict)
{
	bool mixed = r->index <= replica_mixed_until(engine_replica(n->engine));

	switch (r->kind) {
	case REC_SPLIT:
	case REC_MOVE:
	case REC_HOLD:
	case REC_DROP:
		return !mixed && (verdict != VERDICT_OK || checks_knows(m->w->checks, n));
	case REC_RESERVE:
		return verdict != VERDICT_OK || n->archive; /* which has every sequence */
	default:
		return true;
	}
}

static void look(struct model *m, struct node *n, const struct record *r, const struct batch *b, uint8_t verdict)
{
	struct mlog l = {.crc = record_crc(r, b), .kind = r->kind, .verdict = verdict}, *was;

	l.judged = judges(m, n, r, verdict);
	if (verdict == VERDICT_DUP)
		world_violation(m->w, "index %llu repeats a record of %llu: the leader took it twice",
				(unsigned long long)r->index, (unsigned long long)r->engine);
	if (r->index == m->log.count + 1 && !r->payload && r->payload_bytes) { /* what leaves the voters they have applied */
		world_violation(m->w, "%s applied index %llu before any archive did", n->name, (unsigned long long)r->index);
		return;
	}
	if (r->index == m->log.count + 1) {
		VEC_PUSH(&m->w->mem, &m->log, l);
		world_mix(m->w, l.crc);
		m->atoms = false;
		if (m->w->cfg.verbose)
			world_note(m->w, "%llu is a %s of %llu:%llu", (unsigned long long)r->index, record_kind_name(r->kind),
				   (unsigned long long)r->engine, (unsigned long long)r->txn);
		if (verdict == VERDICT_OK)
			model_apply(m, r);
		else
			world_note(m->w, "%s of %llu:%llu at %llu has verdict %u", record_kind_name(r->kind),
				   (unsigned long long)r->engine, (unsigned long long)r->txn,
				   (unsigned long long)r->index, verdict);
		m->log.at[r->index - 1].atoms = m->atoms;
		checks_record(m->w->checks, n, r, m->atoms);
		return;
	}
	if (r->index > m->log.count) {
		world_violation(m->w, "%s applied index %llu when nobody had applied %llu", n->name,
				(unsigned long long)r->index, (unsigned long long)m->log.count + 1);
		return;
	}
	was = &m->log.at[r->index - 1];
	checks_record(m->w->checks, n, r, was->atoms);
	if (was->crc != l.crc || was->kind != l.kind)
		world_violation(m->w, "index %llu was given twice: %s applied a %s, others had a %s before",
				(unsigned long long)r->index, n->name, record_kind_name(r->kind),
				record_kind_name(was->kind));
	else if (was->judged && l.judged && was->verdict != l.verdict)
		world_violation(m->w, "%s of %llu at index %llu: verdict %u at %s, %u before elsewhere",
				record_kind_name(r->kind), (unsigned long long)r->engine,
				(unsigned long long)r->index, l.verdict, n->name, was->verdict);
	if (l.judged && !was->judged) {
		was->judged = true;
		was->verdict = l.verdict;
	}
}

void model_feed(struct model *m, struct node *n)
{
	seq_index applied = node_applied(n);

	if (applied < n->fed) { /* it joins anew */
		n->fed = 0;
		checks_unseen(m->w->checks, n);
	}
	while (n->fed < applied && !m->w->failed) {
		struct engine_batch eb;
		struct batch b;
		struct batch_iter it = {0};

		if (!engine_log_batch(n->engine, n->fed + 1, &eb)) {
			n->fed++; /* before its root's index */
			checks_unseen(m->w->checks, n);
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

seq_index model_acked(const struct model *m)
{
	return m->acked;
}

void model_txn_wrote(struct model *m, struct mtxn *x, int64_t tag, const char *table, int64_t lo, int64_t hi,
		     uint32_t rows)
{
	struct mwrite w = {table, lo, hi, rows, tag};

	VEC_PUSH(&m->w->mem, &x->writes, w);
}

void model_txn_removed(struct model *m, struct mtxn *x, const char *table, int64_t id, int64_t tag)
{
	struct mgone g = {table, id, tag};

	model_txn_wrote(m, x, 0, table, id, id + 1, 1);
	VEC_PUSH(&m->w->mem, &x->gone, g);
}

static bool touched_later(const struct mtxn *x, size_t i)
{
	const struct mwrite *a = &x->writes.at[i];

	for (size_t k = i + 1; k < x->writes.count; k++) {
		const struct mwrite *b = &x->writes.at[k];

		if (strcmp(a->table, b->table) == 0 && a->lo < b->hi && b->lo < a->hi)
			return true;
	}
	return false;
}

/* As many rows as each statement's client was told. */
static void rows_check(struct model *m, const struct mtxn *x)
{
	for (size_t i = 0; i < x->writes.count; i++) {
		const struct mwrite *a = &x->writes.at[i];
		uint32_t seen;

		if (!a->tag)
			continue;
		seen = x->rows[(uint64_t)a->tag % TAG_WRITES];
		if (seen > a->rows || (seen < a->rows && !touched_later(x, i)))
			world_violation(m->w, "transaction %llu wrote %u rows of %s in one statement, and committed %u of them at %llu",
					(unsigned long long)x->number, a->rows, a->table, seen,
					(unsigned long long)x->index);
	}
}

static void gone_check(struct model *m, const struct mtxn *x)
{
	for (size_t i = 0; i < x->gone.count; i++) {
		const struct mgone *g = &x->gone.at[i];
		struct mtable *t = model_table(m, g->table);
		struct mrow *row = t ? map_find(&t->by_id, (uint64_t)g->id) : NULL;
		size_t at = row ? row->versions.count : 0;

		if (model_txn_of(m, g->tag) == x)
			continue; /* never in the log */
		while (at && (!row->versions.at[at - 1].live || row->versions.at[at - 1].tag != g->tag))
			at--;
		if (!at || at == row->versions.count || row->versions.at[at].live ||
		    (x->index && row->versions.at[at].from != x->index))
			world_violation(m->w, "transaction %llu removed row %lld of %s with tag %lld, and the log has not",
					(unsigned long long)x->number, (long long)g->id, g->table, (long long)g->tag);
	}
}

static void whole(struct model *m, const struct mtxn *x)
{
	uint64_t required = x->partial ? x->expected & 1 : x->expected;

	if (x->index)
		rows_check(m, x);
	if (x->end == TXN_ACKED || x->index)
		gone_check(m, x);
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
	if (end == TXN_ACKED && x->index > m->acked)
		m->acked = x->index;
	whole(m, x);
	snapshot_check(m, x);
}

void model_txn_settle(struct model *m, struct mtxn *x, enum txn_end end)
{
	ASSERT(x->end == TXN_EARLY);
	x->end = TXN_OPEN;
	model_txn_end(m, x, end);
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

uint64_t model_k(const char *text)
{
	return model_k_bytes(text, strlen(text));
}

static bool touched_by(const struct mtxn *x, const struct mtable *t, int64_t id)
{
	for (size_t i = 0; x && i < x->writes.count; i++) {
		const struct mwrite *a = &x->writes.at[i];

		if (strcmp(a->table, t->def->name) == 0 && a->lo <= id && id < a->hi)
			return true;
	}
	return false;
}

struct span { seq_index from, to; };
struct spans { VEC(struct span) at; };

static void absent(struct model *m, struct spans *out, const struct mreads *r, const struct mrow *row, uint64_t k)
{
	for (size_t i = 0; i < row->versions.count; i++) {
		const struct mversion *v = &row->versions.at[i];
		struct span s = {v->from, v->to};

		if (v->live && (!k || v->k == k) && s.from < r->hi && s.to > r->lo)
			VEC_PUSH(&m->w->mem, &out->at, s);
	}
}

static bool outside(const struct spans *spans, seq_index s)
{
	for (size_t i = 0; i < spans->at.count; i++)
		if (spans->at.at[i].from <= s && s < spans->at.at[i].to)
			return false;
	return true;
}

void model_reads_whole(struct model *m, struct mreads *r, struct mtable *t, uint64_t k, const int64_t *ids, uint32_t count,
		       const struct mtxn *x, seq_index applied, const char *what)
{
	struct spans spans = {0};
	struct map shown;
	seq_index lo = UINT64_MAX;

	if (r->lo >= r->hi || m->w->failed)
		return; /* said by model_reads_check() */
	if (r->hi > applied + 1)
		r->hi = applied + 1;
	map_init(&shown, &m->w->mem);
	for (uint32_t i = 0; i < count; i++)
		map_put(&shown, (uint64_t)ids[i], m);
	for (size_t i = 0; i < t->rows.count; i++)
		if (!map_find(&shown, (uint64_t)t->rows.at[i]->id) && !touched_by(x, t, t->rows.at[i]->id))
			absent(m, &spans, r, t->rows.at[i], k);
	map_fini(&shown);
	/* some index must be outside of all: the least one is the beginning, or an end of one of them */
	if (outside(&spans, r->lo))
		lo = r->lo;
	for (size_t i = 0; i < spans.at.count && lo != r->lo; i++) {
		seq_index s = spans.at.at[i].to;

		if (s >= r->lo && s < r->hi && s < lo && outside(&spans, s))
			lo = s;
	}
	VEC_FINI(&m->w->mem, &spans.at);
	if (lo == UINT64_MAX)
		world_violation(m->w, "%s: of %s rows are missing at every index from %llu, before %llu (%u were shown)", what,
				t->def->name, (unsigned long long)r->lo, (unsigned long long)r->hi, count);
	else
		r->lo = lo;
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
