/*
 * audit.c - comparing copies across the cluster at one index (engine/txn; P20).
 *
 * An audit record names the index. Each engine checksums the bodies of all copies that it has as it applies
 * the record, and sends them to the record's sender, which compares.
 */
#include "engine/txn/txn_int.h"

#define PIECE_ATOMS 2048  /* checksums in one message */
#define PIECE_LAST_AT 9   /* place of the mark in it */

struct result { atom_id atom; engine_id engine; uint32_t crc; };
struct audit {
	struct list all;
	struct access *a;
	seq_index index;
	bool submitted, failed, sorted;
	uint64_t seq;
	seq_index after;
	VEC(struct result) results;
	VEC(engine_id) heard;
	size_t at;
};

static void audit_free(struct txns *t, struct audit *u)
{
	list_remove(&u->all);
	VEC_FINI(t->mem, &u->results);
	VEC_FINI(t->mem, &u->heard);
	if (u->a)
		u->a->audit = NULL;
	MEM_FREE(t->mem, u);
}

void audits_access_free(struct access *a)
{
	if (!a->audit)
		return;
	if (a->audit->submitted && !a->audit->index) {
		a->audit->a = NULL; /* its record will find nobody */
		a->audit = NULL;
		return;
	}
	audit_free(a->t, a->audit);
}

static bool auditable(struct txns *t, struct frame *f)
{
	return f->state != FRAME_TRANSIENT && replica_usable(t->rp, f);
}

static void piece_begin(struct buf *b, seq_index index)
{
	buf_reset(b);
	put_u8(b, MSG_AUDIT);
	put_u64(b, index);
	put_u8(b, false);
}

/* Applied just now: this engine's checksums, in pieces; the last one says so. */
void audits_record(struct txns *t, const struct record *r)
{
	uint32_t n = 0;
	struct buf b;

	if (!t->self)
		return;
	buf_init(&b, t->mem);
	piece_begin(&b, r->index);
	LIST_FOREACH(it, atom_all(replica_store(t->rp))) {
		struct frame *f = CONTAINER_OF(it, struct frame, all);

		if (!auditable(t, f))
			continue;
		if (n == PIECE_ATOMS) {
			peer_send(t, r->engine, &b);
			piece_begin(&b, r->index);
			n = 0;
		}
		put_u64(&b, f->id);
		put_u32(&b, frame_body_crc(f));
		n++;
	}
	b.data[PIECE_LAST_AT] = true;
	peer_send(t, r->engine, &b);
	buf_fini(&b);
}

void audits_message(struct txns *t, engine_id from, struct reader *r)
{
	seq_index index = get_u64(r);
	bool last = get_u8(r) != 0;

	LIST_FOREACH_SAFE(it, tmp, &t->audits) {
		struct audit *u = CONTAINER_OF(it, struct audit, all);

		/* our own record may be applied elsewhere first: index is known with the first answer */
		if (u->index && u->index != index)
			continue;
		/* not known yet: at least it comes after what was applied, so a late answer to an older one is not its */
		if (!u->index && (!u->submitted || index <= u->after))
			continue;
		u->index = u->index ? u->index : index;
		while (reader_left(r)) {
			struct result res = {.engine = from};

			res.atom = get_u64(r);
			res.crc = get_u32(r);
			if (r->bad)
				return;
			VEC_PUSH(t->mem, &u->results, res);
		}
		if (last)
			VEC_PUSH(t->mem, &u->heard, from);
		if (u->a)
			txns_wake(t, WAIT_AUDIT, 0);
		return;
	}
}

void audits_removed(struct txns *t, engine_id who)
{
	(void)who;
	txns_wake(t, WAIT_AUDIT, 0);
}

static void submitted(struct txns *t, struct submission *s, enum verdict v, enum void_cause cause, seq_index index)
{
	(void)cause;
	LIST_FOREACH_SAFE(it, tmp, &t->audits) {
		struct audit *u = CONTAINER_OF(it, struct audit, all);

		if (u->seq > s->seq && !u->index)
			u->after = index;
		if (u->seq != s->seq)
			continue;
		if (!u->a) {
			audit_free(t, u);
			return;
		}
		u->index = index;
		u->failed = v != VERDICT_OK;
		txns_wake(t, WAIT_AUDIT, 0);
		return;
	}
}

static void start(struct access *a)
{
	struct txns *t = a->t;
	struct record r = {.kind = REC_AUDIT};
	struct submission *s;
	struct buf b;

	a->audit = MEM_NEW(t->mem, struct audit);
	a->audit->a = a;
	list_push_back(&t->audits, &a->audit->all);
	buf_init(&b, t->mem);
	atoms_encode(&b, NULL, 0, 0); /* none named: all */
	s = txns_submit(t, &r, &b);
	s->done = submitted;
	a->audit->seq = s->seq;
	a->audit->submitted = true;
	a->audit->after = txns_applied(t);
	buf_fini(&b);
}

static bool heard_all(struct txns *t, const struct audit *u)
{
	for (uint32_t i = 0; i < replica_member_count(t->rp); i++) {
		const struct member *m = replica_member_at(t->rp, i);
		bool found = m->joined > u->index;

		for (size_t k = 0; !found && k < u->heard.count; k++)
			found = u->heard.at[k] == m->id;
		if (!found)
			return false;
	}
	return true;
}

/* Sorted by atom; within one, by engine. Heap sort would do: the lists of engines are merged by insertion of runs. */
static void sort_results(struct audit *u, struct mem *mem)
{
	size_t n = u->results.count;
	struct result *tmp = mem_alloc(mem, (n ? n : 1) * sizeof *tmp);

	for (size_t width = 1; width < n; width *= 2) {
		for (size_t lo = 0; lo < n; lo += 2 * width) {
			size_t mid = lo + width < n ? lo + width : n, hi = lo + 2 * width < n ? lo + 2 * width : n;
			size_t i = lo, k = mid, o = lo;

			while (i < mid || k < hi) {
				const struct result *x = &u->results.at[i], *y = &u->results.at[k];
				bool left = k >= hi || (i < mid && (x->atom < y->atom ||
								    (x->atom == y->atom && x->engine <= y->engine)));

				tmp[o++] = left ? u->results.at[i++] : u->results.at[k++];
			}
		}
		memcpy(u->results.at, tmp, n * sizeof *tmp);
	}
	mem_free(mem, tmp, (n ? n : 1) * sizeof *tmp);
}

enum status access_check_atoms(struct access *a, seq_index at_least, struct access_audit *state, atom_id *atom_out,
			       engine_id *engine_out, uint64_t *crc_out, uint64_t *expected_out, struct error *err)
{
	struct txns *t = a->t;
	struct audit *u;
	enum status st = access_check(a, err);

	if (st)
		return st;
	if (at_least > txns_applied(t))
		return access_wait(a, WAIT_APPLIED, at_least);
	if (!t->self)
		return error_set(err, ST_NOT_MEMBER, "this engine is not a member of the cluster");
	if (!state->state[0])
		audits_access_free(a); /* of a statement that was given up */
	if (!a->audit && state->state[0])
		return ST_END;
	if (!a->audit) {
		start(a);
		state->state[0] = 1;
	}
	u = a->audit;
	if (u->failed) {
		audit_free(t, u);
		return error_set(err, ST_SERIALIZATION, "the audit record was void");
	}
	if (!u->index || u->index > txns_applied(t) || !heard_all(t, u))
		return access_wait(a, WAIT_AUDIT, 0);
	if (!u->sorted) {
		sort_results(u, t->mem);
		u->sorted = true;
	}
	/* the first engine's copy of each atom is what the others are compared with */
	for (; u->at < u->results.count; u->at++) {
		const struct result *r = &u->results.at[u->at], *first = r;

		while (first > u->results.at && first[-1].atom == r->atom)
			first--;
		if (first->crc == r->crc)
			continue;
		*atom_out = r->atom;
		*engine_out = r->engine;
		*crc_out = r->crc;
		*expected_out = first->crc;
		u->at++;
		return ST_OK;
	}
	audit_free(t, u);
	return ST_END;
}

enum status access_atom_hash(struct access *a, atom_id atom, seq_index *applied_out, uint64_t *crc_out,
			     struct error *err)
{
	struct frame *f = atom_find(replica_store(a->t->rp), atom);

	if (!f || !replica_usable(a->t->rp, f))
		return error_set(err, ST_UNDEFINED_OBJECT, "this engine has no copy of atom %llu",
				 (unsigned long long)atom);
	if (!replica_current(a->t->rp, f)) /* within a record: as of no index */
		return access_wait(a, WAIT_APPLIED, txns_applied(a->t) + 1);
	*applied_out = txns_applied(a->t);
	*crc_out = frame_body_crc(f);
	return ST_OK;
}
