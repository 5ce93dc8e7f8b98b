/*
 * intent.c - the exclusive use of a relation, cluster-wide (engine/txn; P13).
 *
 * An intent is a record @d. From d on every engine holds back new use of the relation by others, and tells the
 * coordinator when no transaction that used it before is left there (a submitted commit counts until it is
 * applied). When all who were members at d have told, or left, the transaction has the lock. Its commit ends the
 * intent and sets the relation's barrier to d; after a rollback a finish record ends it.
 *
 * Two transactions that hold the relation in use and want it exclusively wait for each other: who waits for longer
 * than a few deadlock time-outs gets 40P01.
 */
#include "base/cover.h"
#include "engine/txn/txn_int.h"

#define INTENT_EXCLUSIVE 1
#define INTENT_PATIENCE 5 /* deadlock time-outs */

struct intent_call {             /* under way in a transaction; one at a time */
	rel_id relation;
	uint64_t seq;            /* of the submission */
	seq_index index;         /* of the record, once applied; 0 */
	bool refused;
	uint64_t since_us;
};
struct drain { struct list all; struct intent in; };

void ddl_init(struct txns *t)
{
	list_init(&t->drains);
}

void ddl_txn_free(struct txns *t, struct txn *x)
{
	if (x->intent)
		MEM_FREE(t->mem, x->intent);
	x->intent = NULL;
}

bool ddl_used(const struct txn *x, rel_id id)
{
	for (size_t i = 0; i < x->used.count; i++)
		if (x->used.at[i] == id)
			return true;
	return false;
}

/* An open intent of another transaction on this relation. */
static const struct intent *foreign_intent(const struct txns *t, const struct txn *x, rel_id id)
{
	for (uint32_t i = 0; i < replica_intent_count(t->rp); i++) {
		const struct intent *in = replica_intent_at(t->rp, i);

		if (in->relation == id && !(in->engine == t->self && in->txn == x->id))
			return in;
	}
	return NULL;
}

static enum status patience(struct access *a, uint64_t *since_us, rel_id id, struct error *err)
{
	struct txns *t = a->t;

	if (!*since_us)
		*since_us = txns_now(t);
	if (txns_now(t) - *since_us > INTENT_PATIENCE * t->deadlock_timeout_us) {
		*since_us = 0;
		error_set(err, ST_DEADLOCK, "deadlock detected");
		error_detail(err, "waited too long for the definition of a relation to be free");
		return ST_DEADLOCK;
	}
	return access_wait(a, WAIT_INTENT, id);
}

enum status access_use(struct access *a, rel_id id, bool write, struct error *err)
{
	struct txn *x = a->txn;
	enum status st = write ? access_check_write(a, err) : access_check(a, err);

	if (st)
		return st;
	if (write && x->read_only)
		return error_set(err, ST_READ_ONLY, "cannot execute a writing statement in a read-only transaction");
	if (ddl_used(x, id))
		return ST_OK;
	if (foreign_intent(a->t, x, id))
		return patience(a, &x->use_wait_us, id, err);
	x->use_wait_us = 0;
	VEC_PUSH(a->t->mem, &x->used, id);
	return ST_OK;
}

static void intent_done(struct txns *t, struct submission *s, enum verdict v, enum void_cause cause, seq_index index)
{
	(void)cause;
	LIST_FOREACH(it, &t->txns) {
		struct txn *x = CONTAINER_OF(it, struct txn, all);

		if (x->id != s->txn || !x->intent || x->intent->seq != s->seq)
			continue;
		x->intent->index = index;
		x->intent->refused = v != VERDICT_OK;
		txns_wake(t, WAIT_INTENT, x->intent->relation);
		return;
	}
	/* given up meanwhile: the finish record is behind it already */
}

static void intent_submit(struct txns *t, struct txn *x)
{
	struct intent_payload p = {.relation = x->intent->relation, .mode = INTENT_EXCLUSIVE};
	struct record r = {.kind = REC_INTENT, .txn = x->id};
	struct submission *s;
	struct buf b;

	buf_init(&b, t->mem);
	intent_encode(&b, &p);
	s = txns_submit(t, &r, &b);
	s->done = intent_done;
	x->intent->seq = s->seq;
	buf_fini(&b);
}

/* Have all who were members at d told that they are drained? Then up to which index must be applied here. */
static bool all_drained(struct txns *t, const struct intent_call *c, seq_index *applied_out)
{
	*applied_out = c->index;
	for (uint32_t i = 0; i < replica_member_count(t->rp); i++) {
		const struct member *m = replica_member_at(t->rp, i);
		bool found = m->joined > c->index;

		for (size_t k = 0; !found && k < t->drained.count; k++) {
			const struct drained *d = &t->drained.at[k];

			if (d->intent == c->index && d->engine == m->id) {
				found = true;
				if (d->applied > *applied_out)
					*applied_out = d->applied;
			}
		}
		if (!found)
			return false;
	}
	return true;
}

/*
 * The statement that waits for a relation ended without it (cancelled, timed out, a deadlock): others may have it, while
 * the transaction may go on from a savepoint, and lock another one.
 */
void intent_give_up(struct txns *t, struct txn *x)
{
	struct record r = {.kind = REC_FINISH, .txn = x->id};
	struct intent_payload p;
	struct buf b;

	if (!x || !x->intent)
		return;
	if (!x->intent->refused && t->self && x->self == t->self) {
		p = (struct intent_payload){.relation = x->intent->relation, .mode = INTENT_EXCLUSIVE};
		buf_init(&b, t->mem);
		intent_encode(&b, &p);
		txns_submit(t, &r, &b);
		buf_fini(&b);
	}
	ddl_txn_free(t, x);
}

enum status access_lock_relation(struct access *a, rel_id id, struct error *err)
{
	struct txns *t = a->t;
	struct txn *x = a->txn;
	const struct ddl_change *own = ddl_find(x, id);
	enum status st = access_check_write(a, err);
	seq_index applied;

	if (st)
		return st;
	for (size_t i = 0; i < x->intents.count; i++)
		if (x->intents.at[i] == id)
			return ST_OK;
	if (own && own->is_new)
		return ST_OK; /* nobody else knows it */
	if (x->intent && x->intent->relation != id) /* the statement went on to another without its end or abort */
		intent_give_up(t, x);
	if (!x->intent) {
		if (foreign_intent(t, x, id))
			return patience(a, &x->use_wait_us, id, err);
		x->use_wait_us = 0;
		x->intent = MEM_NEW(t->mem, struct intent_call);
		x->intent->relation = id;
		x->intent->since_us = txns_now(t);
		intent_submit(t, x);
	}
	if (x->intent->refused) {
		ddl_txn_free(t, x);
		return error_set(err, ST_SERIALIZATION, "could not lock the relation: the engine left the cluster");
	}
	if (!x->intent->index)
		return access_wait(a, WAIT_INTENT, id);
	/* of two intents the older goes first */
	for (uint32_t i = 0; i < replica_intent_count(t->rp); i++) {
		const struct intent *in = replica_intent_at(t->rp, i);

		if (in->relation == id && in->index < x->intent->index)
			return patience(a, &x->intent->since_us, id, err);
	}
	if (!all_drained(t, x->intent, &applied))
		return patience(a, &x->intent->since_us, id, err);
	if (applied > txns_applied(t))
		return access_wait(a, WAIT_APPLIED, applied);
	ddl_txn_free(t, x);
	VEC_PUSH(t->mem, &x->intents, id);
	if (!ddl_used(x, id))
		VEC_PUSH(t->mem, &x->used, id);
	if (x->iso == ISOLATION_READ_COMMITTED) /* sees all that the drained ones did */
		x->snapshot = txns_applied(t);
	return ST_OK;
}

/*
 * Rolled back, or nothing to commit: the intents end by a record of their own. The log has our records in our order
 * (P4), so it may follow an intent that is still on its way.
 */
void intents_finish(struct txns *t, struct txn *x)
{
	struct record r = {.kind = REC_FINISH, .txn = x->id};

	if ((x->intents.count || (x->intent && !x->intent->refused)) && t->self && x->self == t->self)
		txns_submit(t, &r, NULL);
}

/* -- every engine's side ------------------------------------------------------------------------------------- */

static bool still_used(const struct txns *t, const struct intent *in)
{
	LIST_FOREACH(it, (struct list *)&t->txns) {
		const struct txn *x = CONTAINER_OF(it, struct txn, all);

		if (x->self == t->self && !(in->engine == t->self && in->txn == x->id) &&
		    ddl_used(x, in->relation))
			return true;
	}
	return false;
}

static void check_drains(struct txns *t)
{
	LIST_FOREACH_SAFE(it, tmp, &t->drains) {
		struct drain *d = CONTAINER_OF(it, struct drain, all);
		struct buf b;

		if (!t->self || still_used(t, &d->in)) {
			COVER_IF(t->self, INTENT_DRAIN);
			continue;
		}
		buf_init(&b, t->mem);
		put_u8(&b, MSG_DRAINED);
		put_u64(&b, d->in.index);
		put_u64(&b, txns_applied(t));
		peer_send(t, d->in.engine, &b);
		buf_fini(&b);
		list_remove(&d->all);
		MEM_FREE(t->mem, d);
	}
}

void ddl_intent_opened(struct txns *t, const struct intent *in)
{
	struct drain *d = MEM_NEW(t->mem, struct drain);

	d->in = *in;
	list_push_back(&t->drains, &d->all);
	t->host->kick(t->ctx);
}

void ddl_intent_closed(struct txns *t, const struct intent *in)
{
	size_t kept = 0;

	LIST_FOREACH_SAFE(it, tmp, &t->drains) {
		struct drain *d = CONTAINER_OF(it, struct drain, all);

		if (d->in.index == in->index) {
			list_remove(&d->all);
			MEM_FREE(t->mem, d);
		}
	}
	for (size_t i = 0; i < t->drained.count; i++)
		if (t->drained.at[i].intent != in->index)
			t->drained.at[kept++] = t->drained.at[i];
	t->drained.count = kept;
	txns_wake(t, WAIT_INTENT, in->relation);
}

void ddl_txn_ended(struct txns *t)
{
	if (!list_empty(&t->drains))
		check_drains(t);
}

void ddl_tick(struct txns *t)
{
	check_drains(t);
	txns_wake(t, WAIT_INTENT, 0);
}

void ddl_turn(struct txns *t)
{
	if (!list_empty(&t->drains))
		check_drains(t);
}

void ddl_member_removed(struct txns *t, engine_id who)
{
	(void)who;
	txns_wake(t, WAIT_INTENT, 0);
}

/* A new incarnation of this engine: whatever is open now must hear from it. */
void ddl_reset(struct txns *t)
{
	LIST_FOREACH_SAFE(it, tmp, &t->drains) {
		struct drain *d = CONTAINER_OF(it, struct drain, all);

		list_remove(&d->all);
		MEM_FREE(t->mem, d);
	}
	t->drained.count = 0;
	for (uint32_t i = 0; t->self && i < replica_intent_count(t->rp); i++)
		ddl_intent_opened(t, replica_intent_at(t->rp, i));
}

void ddl_message(struct txns *t, engine_id from, uint8_t type, struct reader *r)
{
	struct drained d = {.engine = from};
	bool known = false;

	(void)type;
	d.intent = get_u64(r);
	d.applied = get_u64(r);
	if (r->bad)
		return;
	for (uint32_t i = 0; i < replica_intent_count(t->rp); i++)
		known = known || replica_intent_at(t->rp, i)->index == d.intent;
	if (!known && d.intent <= txns_applied(t))
		return; /* it is over */
	VEC_PUSH(t->mem, &t->drained, d);
	txns_wake(t, WAIT_INTENT, 0);
}
