/*
 * advisory.c - advisory locks: names that programs agree on, cluster-wide (engine/txn; design section 12).
 *
 * A lock is a key of the schema catalog that no definition has, granted by that leaf's originator like any other key. Each
 * name that a session has locked is an owner of its own (a struct txn with nothing in it), so that it can be let go alone, and
 * outlive transactions. A session counts, per name, for itself and for its transaction, exclusive and shared: it never
 * waits for itself. Exclusive once is exclusive until the last count is gone.
 *
 * While a session has advisory locks its commit records name who granted them (rule 4): what was done under a lock that was
 * lost with its grantor is void. The session hears of the loss by its next statement's 40001.
 */
#include "engine/txn/txn_int.h"

struct advisory {
	struct list all;          /* access.advisory */
	struct txn *owner;
	struct advisory_name name;
	uint32_t counts[2][2];    /* [of the session][shared] */
};

static struct advisory *find(const struct access *a, const struct advisory_name *name)
{
	LIST_FOREACH(it, (struct list *)&a->advisory) {
		struct advisory *l = CONTAINER_OF(it, struct advisory, all);

		if (!memcmp(&l->name, name, sizeof *name))
			return l;
	}
	return NULL;
}

static bool counted(const struct advisory *l)
{
	return l->counts[0][0] || l->counts[0][1] || l->counts[1][0] || l->counts[1][1];
}

static void drop(struct access *a, struct advisory *l)
{
	list_remove(&l->all);
	if (l->owner->self == a->t->self && a->t->self)
		grants_release(a->t, l->owner);
	txn_hidden_free(a->t, l->owner);
	MEM_FREE(a->t->mem, l);
}

static struct advisory *add(struct access *a, const struct advisory_name *name)
{
	struct advisory *l = MEM_NEW(a->t->mem, struct advisory);

	l->name = *name;
	l->owner = txn_hidden_new(a);
	list_push_back(&a->advisory, &l->all);
	return l;
}

enum status access_advisory_lock(struct access *a, const struct advisory_name *name, bool session, bool shared, bool nowait,
				 struct error *err)
{
	struct advisory *l = find(a, name);
	struct txn *mine = a->txn;
	enum row_lock mode = shared ? ROW_LOCK_SHARE : ROW_LOCK_UPDATE;
	uint8_t key[9 + sizeof *name];
	const uint8_t *keys[] = {key};
	uint32_t len;
	enum status st;

	if (!l)
		l = add(a, name);
	len = lock_key_key(key, ATOM_SCHEMA_CAT, name, sizeof *name);
	a->txn = l->owner;
	st = grants_acquire(a, keys, &len, 1, mode, nowait, err);
	a->txn = mine;
	if (st == ST_WAIT)
		return st;
	l->owner->grant_need = 0; /* it guards no version: the horizon goes on (P19) */
	if (!st)
		l->counts[session][shared]++;
	else if (!counted(l))
		drop(a, l);
	else
		l->owner->victim = false; /* of a deadlock, in what it asked for now */
	return st;
}

bool access_advisory_unlock(struct access *a, const struct advisory_name *name, bool shared)
{
	struct advisory *l = find(a, name);

	if (!l || !l->counts[true][shared])
		return false;
	l->counts[true][shared]--;
	if (!counted(l))
		drop(a, l);
	return true;
}

static void forget(struct access *a, bool session, bool transaction)
{
	LIST_FOREACH_SAFE(it, tmp, &a->advisory) {
		struct advisory *l = CONTAINER_OF(it, struct advisory, all);

		if (session)
			l->counts[true][0] = l->counts[true][1] = 0;
		if (transaction)
			l->counts[false][0] = l->counts[false][1] = 0;
		if (!counted(l))
			drop(a, l);
	}
}

void access_advisory_unlock_all(struct access *a)
{
	forget(a, true, false);
}

void advisory_statement_over(struct access *a)
{
	LIST_FOREACH_SAFE(it, tmp, &a->advisory) {
		struct advisory *l = CONTAINER_OF(it, struct advisory, all);

		grants_call_free(a->t, l->owner);
		if (!counted(l))
			drop(a, l);
	}
}

void advisory_transaction_over(struct access *a)
{
	forget(a, false, true);
}

void advisory_free(struct access *a)
{
	forget(a, true, true);
}

enum status advisory_check(struct access *a, struct error *err)
{
	bool lost = false;

	LIST_FOREACH_SAFE(it, tmp, &a->advisory) {
		struct advisory *l = CONTAINER_OF(it, struct advisory, all);

		if (l->owner->doomed || l->owner->self != a->t->self) {
			drop(a, l);
			lost = true;
		}
	}
	return lost ? error_set(err, ST_SERIALIZATION, "advisory locks were lost: an engine that granted them, or this one, left "
						       "the cluster") : ST_OK;
}

void advisory_grantors(struct access *a, struct txn *x)
{
	LIST_FOREACH(it, &a->advisory) {
		const struct txn *owner = CONTAINER_OF(it, struct advisory, all)->owner;

		for (size_t i = 0; i < owner->grantors.count; i++)
			grants_grantor(a->t, x, owner->grantors.at[i]);
	}
}

struct txn *advisory_waiting(const struct access *a)
{
	LIST_FOREACH(it, (struct list *)&a->advisory) {
		struct txn *owner = CONTAINER_OF(it, struct advisory, all)->owner;

		if (owner->call)
			return owner;
	}
	return NULL;
}
