/*
 * name.c - transactions that the application names, and what became of them (engine/txn; ADR 13).
 *
 * The name goes out in the commit's header, and the log decides (apply.c). Here is what a session asks of it: whether a name is
 * known already, as of an index that the leader confirmed. A retry must not be told "no" by an engine that lags.
 */
#include "engine/txn/txn_int.h"

enum status access_name(struct access *a, const char *name, seq_index since)
{
	struct txn *x = a->txn;
	enum status st;

	ASSERT(x);
	if (x->named)
		return ST_OK; /* asked again after a wait */
	st = record_name(name, x->name);
	if (st)
		return st;
	x->named = true;
	x->name_since = since;
	return ST_OK;
}

enum status access_named(struct access *a, const char *name, bool within_statement, seq_index *index_out, struct error *err)
{
	struct txns *t = a->t;
	uint8_t id[RECORD_NAME_BYTES];
	bool confirmed = within_statement && a->txn && a->confirmed_txn == a->txn->id && a->confirmed_stmt == a->txn->stmt;
	enum status st = access_check(a, err);

	if (!st)
		st = record_name(name, id);
	if (st)
		return st;
	if (!t->self)
		return error_set(err, ST_NOT_MEMBER, "this engine is not a member of the cluster");
	*index_out = replica_named(t->rp, id);
	if (*index_out || confirmed)
		return ST_OK;
	st = access_voters_check(a, err);
	if (!st)
		st = access_latest_wait(a);
	if (st)
		return st;
	a->latest_request = 0;
	if (within_statement && a->txn) { /* further rows of the statement need not ask again, and would never be done with it */
		a->confirmed_txn = a->txn->id;
		a->confirmed_stmt = a->txn->stmt;
	}
	*index_out = replica_named(t->rp, id);
	return ST_OK;
}
