/*
 * commit.c - from an overlay to a commit record and its outcome (engine/txn; P1, P2, P5, P11).
 *
 * Stages: row ids for the inserted rows (may wait for a create), at SERIALIZABLE the confirmation of what was read, encoding, in pieces so that the loop goes on,
 * parts ahead where one payload is not enough, the commit itself, and the wait for its verdict in the log. The
 * transaction's locks end when the record is applied (grants_commit_applied).
 */
#include "base/cover.h"
#include "engine/txn/txn_int.h"

#define ENCODE_OPS 8192        /* operations encoded in one turn (S16) */
#define PARTS_IN_FLIGHT 8

enum commit_stage { COMMIT_SLOTS, COMMIT_CERTIFY, COMMIT_ROWS, COMMIT_KEYS, COMMIT_LAST, COMMIT_SENT };

/* Who needs a payload (P7). Over: too many to name, so everybody. */
struct touched { uint32_t count; bool over; struct touch at[RECORD_TOUCHES_MAX]; };

struct commit_work {
	enum commit_stage stage;
	struct buf payload;            /* being filled */
	size_t table_at, index_at;     /* iterators over the overlay's maps */
	struct overlay_table *table;
	struct overlay_row *row;
	struct overlay_index *index;
	struct overlay_key *key;
	bool key_adds;                 /* removes first, then adds */
	uint32_t parts_open;           /* sent and not seen in the log */
	bool part_failed;
	bool decided;
	enum verdict verdict;
	enum void_cause cause;
	seq_index at;
	seq_index first;               /* cause VOID_NAME: of the commit that it repeats */
	uint32_t touch_count;
	rel_id touches[RECORD_TOUCHES_MAX];
	bool touches_over;
	struct touched all, part;      /* (table, storage) changed by the transaction; by the payload being filled */
};

void commit_free(struct txns *t, struct txn *x)
{
	if (!x->commit)
		return;
	/* parts may still be on their way: their outcome finds nobody */
	LIST_FOREACH(it, &t->submissions) {
		struct submission *s = CONTAINER_OF(it, struct submission, all);

		if (s->ctx == x)
			s->ctx = NULL;
	}
	buf_fini(&x->commit->payload);
	MEM_FREE(t->mem, x->commit);
	x->commit = NULL;
}

static void touch(struct commit_work *w, rel_id relation)
{
	for (uint32_t i = 0; i < w->touch_count; i++)
		if (w->touches[i] == relation)
			return;
	if (w->touch_count == RECORD_TOUCHES_MAX)
		w->touches_over = true;
	else
		w->touches[w->touch_count++] = relation;
}

static void touched_add(struct touched *t, rel_id relation, rel_id storage)
{
	for (uint32_t i = t->count; i; i--)
		if (t->at[i - 1].storage == storage)
			return;
	if (t->count == RECORD_TOUCHES_MAX)
		t->over = true;
	else
		t->at[t->count++] = (struct touch){relation, storage};
}

static void touch_storage(struct commit_work *w, rel_id relation, rel_id storage)
{
	touched_add(&w->all, relation, storage);
	touched_add(&w->part, relation, storage);
}

/* -- row ids --------------------------------------------------------------------------------------------- */

static uint32_t average_row(const struct overlay_table *t)
{
	uint64_t bytes = 0;
	uint32_t n = 0, step = t->inserted_count / 64 + 1;

	for (uint32_t i = 0; i < t->inserted_count; i += step) {
		const struct overlay_version *v = t->inserted[i]->newest;

		for (uint32_t k = 0; v && k < v->cell_count; k++) {
			const struct cell *c = &v->cells[k];

			bytes += c->phys == PHYS_VAR ? 8 + (c->null ? 0 : c->bytes) : phys_bytes(c->phys);
		}
		n++;
	}
	return n ? (uint32_t)(bytes / n) : 16;
}

static bool row_lives(const struct overlay_row *r)
{
	return r->newest && r->newest->change == OVERLAY_INSERTED;
}

static enum status take_slots(struct access *a)
{
	struct txns *t = a->t;
	struct map_slot *m;
	size_t at = 0;

	while ((m = map_next(&a->txn->overlay.tables, &at))) {
		struct overlay_table *tab = m->value;

		if (tab->inserted_count &&
		    slots_reserve(t, tab->storage, tab->inserted_count, average_row(tab)) != ST_OK)
			return access_wait(a, WAIT_SLOTS, tab->storage);
	}
	at = 0;
	while ((m = map_next(&a->txn->overlay.tables, &at))) {
		struct overlay_table *tab = m->value;
		uint32_t bytes = average_row(tab);

		for (uint32_t i = 0; i < tab->inserted_count; i++)
			if (row_lives(tab->inserted[i]))
				tab->inserted[i]->final = slots_take(t, tab->storage, bytes);
	}
	return ST_OK;
}

/* -- encoding ---------------------------------------------------------------------------------------------- */

static void part_done(struct txns *t, struct submission *s, enum verdict v, enum void_cause cause, seq_index index)
{
	struct txn *x = s->ctx;

	(void)cause;
	(void)index;
	if (!x || !x->commit)
		return;
	x->commit->parts_open--;
	if (v != VERDICT_OK)
		x->commit->part_failed = true;
	txns_wake(t, WAIT_SUBMISSION, x->id);
}

static void send_part(struct txns *t, struct txn *x)
{
	struct commit_work *w = x->commit;
	struct record r = {.kind = REC_PART, .txn = x->id, .attempt = x->attempt};
	struct submission *s;

	if (!x->ddl.count && !w->part.over) {
		r.touch_count = w->part.count;
		memcpy(r.touches, w->part.at, w->part.count * sizeof r.touches[0]);
	}
	w->part = (struct touched){0};
	s = txns_submit(t, &r, &w->payload);
	s->done = part_done;
	s->ctx = x;
	x->parts_sent++;
	w->parts_open++;
	t->stats.parts++;
	COVER(PARTS);
	buf_reset(&w->payload);
}

uint64_t commit_row_bytes(const struct cell *cells, uint32_t cell_count)
{
	uint64_t bytes = 64;

	for (uint32_t i = 0; i < cell_count; i++)
		bytes += 24 + (cells[i].phys == PHYS_VAR && !cells[i].null ? cells[i].bytes : 0);
	return bytes;
}

static void encode_row(struct txns *t, struct txn *x, const struct overlay_table *tab, const struct overlay_row *r)
{
	const struct overlay_version *v = r->newest;
	struct commit_work *w = x->commit;

	if (!v)
		return;
	/* a large row goes into a part of its own rather than over the end of one */
	if (w->payload.size && w->payload.size + commit_row_bytes(v->cells, v->cell_count) > RECORD_PAYLOAD_SOFT)
		send_part(t, x);
	touch(w, tab->table);
	touch_storage(w, tab->table, tab->storage);
	if (r->row & ROW_ID_PROVISIONAL) {
		if (v->change == OVERLAY_INSERTED)
			op_encode_row(&w->payload, OP_ROW_INSERT, tab->storage, r->final, v->cells, v->cell_count);
	} else if (v->change == OVERLAY_DELETED) {
		op_encode_row(&w->payload, OP_ROW_DELETE, tab->storage, r->row, NULL, 0);
	} else {
		op_encode_row(&w->payload, OP_ROW_UPDATE, tab->storage, r->row, v->cells, v->cell_count);
	}
}

static void encode_key(struct txn *x, struct commit_work *w, const struct overlay_index *ix,
		       const struct overlay_key *k)
{
	const struct overlay_key_version *v = k->newest;
	uint8_t whole[LEAF_KEY_MAX];
	row_id row;

	if (!v || v->present != w->key_adds)
		return;
	touch_storage(w, ix->table, ix->storage);
	if (!v->present) {
		/* the first change tells what was committed: an entry of its row, or nothing when it was an add */
		while (v->older)
			v = v->older;
		if (!v->present)
			op_encode_key(&w->payload, OP_KEY_REMOVE, ix->storage, v->row, k->key, k->key_len);
		return;
	}
	row = v->row;
	if (row & ROW_ID_PROVISIONAL) {
		struct map_slot *m;
		size_t at = 0;

		while ((m = map_next(&x->overlay.tables, &at))) {
			struct overlay_table *tab = m->value;
			struct overlay_row *r = tab->table == ix->table ? overlay_row(tab, row) : NULL;

			if (r) {
				row = r->final;
				break;
			}
		}
		ASSERT(!(row & ROW_ID_PROVISIONAL) && row);
	}
	memcpy(whole, k->key, k->key_len);
	if (k->suffixed) {
		uint64_t be = __builtin_bswap64(row);

		memcpy(whole + k->key_len - 8, &be, 8);
	}
	op_encode_key(&w->payload, OP_KEY_ADD, ix->storage, row, whole, k->key_len);
}

static bool next_row(struct txn *x, struct commit_work *w)
{
	while (!w->row) {
		struct map_slot *m = map_next(&x->overlay.tables, &w->table_at);

		if (!m)
			return false;
		w->table = m->value;
		w->row = w->table->first;
	}
	return true;
}

static bool next_key(struct txn *x, struct commit_work *w)
{
	while (!w->key) {
		struct map_slot *m = map_next(&x->overlay.indexes, &w->index_at);

		if (!m)
			return false;
		w->index = m->value;
		w->key = w->index->heads[0];
	}
	return true;
}

/* Up to ENCODE_OPS operations; true: all are encoded or sent. */
static bool encode(struct txns *t, struct txn *x)
{
	struct commit_work *w = x->commit;

	for (uint32_t n = 0; n < ENCODE_OPS; n++) {
		if (w->payload.size > RECORD_PAYLOAD_SOFT - (64u << 10))
			send_part(t, x);
		if (w->parts_open >= PARTS_IN_FLIGHT)
			return false;
		if (w->stage == COMMIT_ROWS) {
			if (next_row(x, w)) {
				encode_row(t, x, w->table, w->row);
				w->row = w->row->next;
			} else {
				w->stage = COMMIT_KEYS;
			}
		} else if (next_key(x, w)) {
			encode_key(x, w, w->index, w->key);
			w->key = w->key->next[0];
		} else if (!w->key_adds) { /* once more, for the adds */
			w->key_adds = true;
			w->index_at = 0;
		} else {
			return true;
		}
	}
	return false;
}

/* -- the record and its outcome -------------------------------------------------------------------------------- */

static void commit_done(struct txns *t, struct submission *s, enum verdict v, enum void_cause cause,
			seq_index index)
{
	struct txn *x = s->ctx;

	grants_over(t, x, index);
	inherit_decided(t, x, v == VERDICT_OK);
	if (v != VERDICT_OK && index) /* its intents stay open, and leaves made ahead stay, unless it says so */
		ddl_rolled_back(t, x);
	x->commit->decided = true;
	x->commit->verdict = v;
	x->commit->cause = cause;
	x->commit->at = index;
	x->commit->first = cause == VOID_NAME ? replica_named(t->rp, x->name) : 0;
	if (v == VERDICT_OK)
		t->stats.commits++;
	else if (cause == VOID_NAME)
		t->stats.repeats++;
	else
		t->stats.voids++;
	if (x->answered_early)
		level_decided(t, x, v, cause, index);
	if (!x->a)
		txn_orphan_done(t, x);
	else
		txns_wake(t, WAIT_SUBMISSION, x->id);
}

/* Its locks here are over, whatever became of it: others know of the removal. */
static void commit_in_doubt(struct txns *t, engine_id was, struct submission *s)
{
	struct txn *x = s->ctx;

	grants_over(t, x, 0);
	if (!x->a && !x->early) { /* nobody waits for the answer */
		txn_orphan_done(t, x);
		return;
	}
	doubt_add(t, was, s);
}

void commit_doubt_over(struct txns *t, struct txn *x, enum verdict v, seq_index index)
{
	x->commit->decided = true;
	x->commit->verdict = v;
	x->commit->first = v != VERDICT_OK && x->named ? replica_named(t->rp, x->name) : 0;
	x->commit->cause = x->commit->first ? VOID_NAME : VOID_SENDER;
	x->commit->at = index;
	if (v == VERDICT_OK)
		t->stats.commits++;
	else
		t->stats.voids++;
	if (x->answered_early)
		level_decided(t, x, v, VOID_SENDER, index);
	if (!x->a)
		txn_orphan_done(t, x);
	else
		txns_wake(t, WAIT_SUBMISSION, x->id);
}

static enum status send_commit(struct access *a, struct error *err)
{
	struct txns *t = a->t;
	struct txn *x = a->txn;
	struct commit_work *w = x->commit;
	struct record r = {.kind = REC_COMMIT, .txn = x->id, .attempt = x->attempt, .parts = x->parts_sent};
	struct submission *s;

	ddl_encode(a, &w->payload);
	if (w->payload.size > RECORD_PAYLOAD_MAX)
		return error_set(err, ST_PROGRAM_LIMIT, "transaction changes too many definitions");
	advisory_grantors(a, x);
	if (x->grantors.count > RECORD_GRANTORS_MAX)
		return error_set(err, ST_PROGRAM_LIMIT, "transaction has locks of more than %d engines",
				 RECORD_GRANTORS_MAX);
	for (size_t i = 0; i < x->grantors.count; i++)
		r.grantors[r.grantor_count++] = x->grantors.at[i];
	if (x->ddl.count || w->all.over) { /* definitions change what everybody has */
		for (uint32_t i = 0; i < w->touch_count; i++)
			r.touches[r.touch_count++] = (struct touch){w->touches[i], 0};
	} else {
		r.touch_count = w->all.count;
		memcpy(r.touches, w->all.at, w->all.count * sizeof r.touches[0]);
	}
	r.named = x->named;
	memcpy(r.name, x->name, sizeof r.name);
	r.name_since = x->name_since;
	if (!inherit_merge(x, &r))
		return access_wait(a, WAIT_APPLIED, txns_applied(t) + 1);
	s = txns_submit(t, &r, &w->payload);
	s->done = commit_done;
	s->in_doubt = commit_in_doubt;
	s->ctx = x;
	s->tell = level_tell(a, x);
	x->state = TXN_SUBMITTED;
	w->stage = COMMIT_SENT;
	buf_reset(&w->payload);
	inherit_submitted(t, x, &r);
	return ST_OK;
}

static enum status outcome(struct access *a, seq_index *index_out, struct error *err)
{
	struct txn *x = a->txn;
	struct commit_work w = *x->commit;

	if (!w.decided && level_early(a, x)) {
		level_detach(a);
		return ST_OK;
	}
	if (!w.decided)
		return access_wait(a, WAIT_SUBMISSION, x->id);
	if (w.verdict == VERDICT_OK) {
		a->last_commit = w.at;
		*index_out = w.at;
		txn_end(a);
		return ST_OK;
	}
	txn_end(a);
	if (w.cause == VOID_NAME && w.first) {
		a->last_commit = w.first > a->last_commit ? w.first : a->last_commit;
		*index_out = w.first;
		return ST_ALREADY_COMMITTED;
	}
	if (w.cause == VOID_FORGOTTEN) {
		error_set(err, ST_OUTCOME_UNKNOWN, "transaction outcome unknown: names as old as this one's are no longer kept");
		error_detail(err, "Nothing of this attempt happened. An earlier one may have been committed.");
		return ST_OUTCOME_UNKNOWN;
	}
	if (!w.at) {
		COVER(UNKNOWN_OUTCOME);
		error_set(err, ST_OUTCOME_UNKNOWN, "transaction outcome unknown: this engine left the cluster "
						   "before its commit was seen in the log, and nobody has that part any more");
		return ST_OUTCOME_UNKNOWN;
	}
	error_set(err, ST_SERIALIZATION, "could not serialize access: %s", void_cause_name(w.cause));
	error_hint(err, "the transaction was rolled back; it may succeed if retried");
	return ST_SERIALIZATION;
}

/* Before anything is sent: what makes the commit impossible. The transaction is over then. */
static enum status refuse(struct access *a, enum status st)
{
	if (st != ST_WAIT)
		access_rollback(a);
	return st;
}

enum status commit_step(struct access *a, seq_index *index_out, struct error *err)
{
	struct txns *t = a->t;
	struct txn *x = a->txn;
	struct commit_work *w = x->commit;
	enum status st;

	*index_out = 0;
	if (w && w->stage == COMMIT_SENT)
		return outcome(a, index_out, err);
	a->canceled = false; /* too late to cancel */
	st = access_check(a, err);
	if (st)
		return refuse(a, st);
	if (overlay_empty(&x->overlay) && !x->ddl.count && !x->named) {
		ddl_rolled_back(t, x);
		grants_release(t, x);
		txn_end(a);
		return ST_OK;
	}
	st = access_check_write(a, err);
	if (st)
		return refuse(a, st);
	if (!w) {
		w = x->commit = MEM_NEW(t->mem, struct commit_work);
		buf_init(&w->payload, t->mem);
		x->state = TXN_ENCODING;
	}
	if (w->part_failed)
		return refuse(a, error_set(err, ST_SERIALIZATION, "could not serialize access: a part was void"));
	if (w->stage == COMMIT_SLOTS) {
		st = ddl_prepare(a, err);
		if (!st)
			st = take_slots(a);
		if (st)
			return refuse(a, st);
		w->stage = COMMIT_CERTIFY;
	}
	if (w->stage == COMMIT_CERTIFY) {
		st = serial_step(a, err);
		if (st)
			return refuse(a, st);
		ddl_encode_first(a, &w->payload);
		w->stage = COMMIT_ROWS;
	}
	if (w->stage < COMMIT_LAST) {
		if (!encode(t, x)) {
			(void)access_wait(a, WAIT_SUBMISSION, x->id);
			if (w->parts_open < PARTS_IN_FLIGHT)
				txns_later(t, a);
			return ST_WAIT;
		}
		w->stage = COMMIT_LAST;
		if (x->ddl.count && w->payload.size > RECORD_PAYLOAD_MAX / 16)
			send_part(t, x); /* room for the definitions */
	}
	if (w->parts_open)
		return access_wait(a, WAIT_SUBMISSION, x->id);
	if (w->touches_over)
		return refuse(a, error_set(err, ST_PROGRAM_LIMIT, "transaction writes more than %d tables",
					   RECORD_TOUCHES_MAX));
	st = send_commit(a, err);
	return st ? refuse(a, st) : outcome(a, index_out, err);
}
