/*
 * session_txn.c - transaction blocks with PostgreSQL's rules.
 */
#include "engine/sql/session.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"

enum status txn_refuse_failed(struct error *err)
{
	return error_set(err, ST_IN_FAILED_TRANSACTION,
			 "current transaction is aborted, commands ignored until end of transaction block");
}

bool txn_allowed_when_failed(enum stmt_kind kind)
{
	return kind == STMT_COMMIT || kind == STMT_ROLLBACK || kind == STMT_ROLLBACK_TO || kind == STMT_EMPTY;
}

void txn_ensure(struct sql_session *s)
{
	if (s->block != BLOCK_NONE)
		return;
	s->isolation = (uint8_t)isolation_named(sql_session_get(s, "default_transaction_isolation"));
	s->txn_deferrable = !strcmp(sql_session_get(s, "default_transaction_deferrable"), "on");
	s->txn_read_only = !strcmp(sql_session_get(s, "default_transaction_read_only"), "on");
	s->txn_ran = s->txn_lost = false;
	access_begin(s->access, (enum isolation)s->isolation, s->txn_read_only);
	s->block = BLOCK_IMPLICIT;
}

void txn_over(struct sql_session *s, bool committed)
{
	s->block = BLOCK_NONE;
	s->txn_lost = s->txn_ran = false;
	s->savepoints.count = 0;
	if (s->settings.undo.count) {
		if (committed)
			settings_commit(&s->settings);
		else
			settings_rollback(&s->settings, 0);
		session_settings_apply(s);
	}
	arena_reset(&s->txn_arena);
}

/* An error in the open transaction. Without savepoints nothing can bring it back: what it holds is let go at once. */
void txn_failed(struct sql_session *s)
{
	if (s->block != BLOCK_OPEN && s->block != BLOCK_FAILED)
		return;
	s->block = BLOCK_FAILED;
	if (s->savepoints.count == 0 && !s->txn_lost) {
		access_rollback(s->access);
		s->txn_lost = true;
	}
}

void txn_rollback(struct sql_session *s)
{
	if (s->block != BLOCK_NONE && !s->txn_lost)
		access_rollback(s->access);
	portals_drop(s, true);
	txn_over(s, false);
}

enum status txn_commit(struct sql_session *s, struct error *err)
{
	seq_index index = 0;
	enum status st;

	st = *s->txn_name ? access_name(s->access, s->txn_name, s->txn_since) : ST_OK;
	if (st) {
		txn_rollback(s);
		return error_set(err, st, "the transaction's name cannot be used: %s", status_text(st));
	}
	st = access_commit(s->access, &index, err);
	if (st == ST_WAIT)
		return st;
	if (st == ST_ALREADY_COMMITTED) { /* the transaction that the client means is committed */
		session_notice(s, "NOTICE", st, "transaction \"%s\" was already committed, at index %llu: this attempt is without effect",
			       s->txn_name, (unsigned long long)index);
		st = ST_OK;
	}
	session_report_commit(s);
	session_trace(s, "commit: index %llu, %s", (unsigned long long)index, status_name(st));
	portals_drop(s, true);
	txn_over(s, st == ST_OK);
	return st;
}

/* -- statements ------------------------------------------------------------------------------------------------- */

enum status txn_set_isolation(struct sql_session *s, enum isolation iso, struct error *err)
{
	if (iso == (enum isolation)s->isolation && s->block != BLOCK_NONE)
		return ST_OK;
	if (s->txn_ran)
		return error_set(err, ST_ACTIVE_TRANSACTION,
				 "SET TRANSACTION ISOLATION LEVEL must be called before any query");
	if (s->savepoints.count)
		return error_set(err, ST_ACTIVE_TRANSACTION,
				 "SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction");
	s->isolation = (uint8_t)iso;
	if (access_in_transaction(s->access))
		access_set_isolation(s->access, iso);
	return ST_OK;
}

enum status txn_set_read_only(struct sql_session *s, bool on, struct error *err)
{
	if (s->txn_read_only && !on && s->txn_ran) /* what it has read was not noted as what a writer reads (P12) */
		return error_set(err, ST_ACTIVE_TRANSACTION, "transaction read-write mode must be set before any query");
	s->txn_read_only = on;
	if (access_in_transaction(s->access))
		access_set_read_only(s->access, on);
	return ST_OK;
}

enum status txn_set_deferrable(struct sql_session *s, bool on, struct error *err)
{
	if (s->txn_ran)
		return error_set(err, ST_ACTIVE_TRANSACTION,
				 "SET TRANSACTION [NOT] DEFERRABLE must be called before any query");
	if (s->savepoints.count)
		return error_set(err, ST_ACTIVE_TRANSACTION,
				 "SET TRANSACTION [NOT] DEFERRABLE cannot be called within a subtransaction");
	s->txn_deferrable = on;
	return ST_OK;
}

static enum status modes(struct sql_session *s, const struct stmt *st, struct error *err)
{
	enum status e = ST_OK;

	if (st->isolation_set)
		e = txn_set_isolation(s, (enum isolation)st->isolation, err);
	if (!e && st->read_only_set)
		e = txn_set_read_only(s, st->read_only, err);
	if (!e && st->deferrable_set)
		e = txn_set_deferrable(s, st->deferrable, err);
	return e;
}

static enum status begin(struct sql_session *s, const struct stmt *st, struct error *err)
{
	enum status e;

	if (s->block == BLOCK_OPEN) {
		session_notice(s, "WARNING", ST_ACTIVE_TRANSACTION, "there is already a transaction in progress");
		return ST_OK;
	}
	txn_ensure(s);
	e = modes(s, st, err);
	if (e)
		return e;
	s->block = BLOCK_OPEN;
	return ST_OK;
}

static enum status commit(struct sql_session *s, struct sql_portal *p, struct error *err)
{
	switch ((enum block)s->block) {
	case BLOCK_FAILED:
		txn_rollback(s);
		p->tag = "ROLLBACK";
		return ST_OK;
	case BLOCK_NONE:
		session_notice(s, "WARNING", ST_NO_TRANSACTION, "there is no transaction in progress");
		return ST_OK;
	case BLOCK_IMPLICIT:
		session_notice(s, "WARNING", ST_NO_TRANSACTION, "there is no transaction in progress");
		s->block = BLOCK_OPEN; /* not said twice when the commit waits */
		break;
	case BLOCK_OPEN:
		break;
	}
	return txn_commit(s, err);
}

static enum status characteristics(struct sql_session *s, const struct stmt *st, struct error *err)
{
	enum status e = ST_OK;

	if (st->isolation_set)
		e = session_set(s, "default_transaction_isolation", isolation_name((enum isolation)st->isolation), false, err);
	if (!e && st->deferrable_set)
		e = session_set(s, "default_transaction_deferrable", st->deferrable ? "on" : "off", false, err);
	if (!e && st->read_only_set)
		e = session_set(s, "default_transaction_read_only", st->read_only ? "on" : "off", false, err);
	return e;
}

static int savepoint_find(struct sql_session *s, const char *name)
{
	for (size_t i = s->savepoints.count; i-- > 0;)
		if (!strcmp(s->savepoints.at[i].name, name))
			return (int)i;
	return -1;
}

static enum status savepoint(struct sql_session *s, const struct stmt *st, struct error *err)
{
	struct savepoint sp = {.name = ""};
	int at;

	if (s->block == BLOCK_NONE || s->block == BLOCK_IMPLICIT)
		return error_set(err, ST_NO_TRANSACTION, "%s can only be used in transaction blocks",
				 st->kind == STMT_SAVEPOINT ? "SAVEPOINT" :
				 st->kind == STMT_RELEASE   ? "RELEASE SAVEPOINT" :
							      "ROLLBACK TO SAVEPOINT");
	if (st->kind == STMT_SAVEPOINT) {
		snprintf(sp.name, sizeof sp.name, "%s", st->name);
		sp.number = access_savepoint(s->access);
		VEC_PUSH(&s->mem, &s->savepoints, sp);
		return ST_OK;
	}
	at = savepoint_find(s, st->name);
	if (at < 0)
		return error_set(err, ST_BAD_SAVEPOINT, "savepoint \"%s\" does not exist", st->name);
	if (st->kind == STMT_RELEASE) {
		access_release(s->access, s->savepoints.at[at].number);
		settings_release(&s->settings, (uint32_t)at + 1);
		s->savepoints.count = (size_t)at;
		return ST_OK;
	}
	access_rollback_to(s->access, s->savepoints.at[at].number);
	settings_rollback(&s->settings, (uint32_t)at + 1);
	session_settings_apply(s);
	s->savepoints.count = (size_t)at + 1;
	s->block = BLOCK_OPEN;
	return ST_OK;
}

enum status txn_statement(struct sql_session *s, struct sql_portal *p, const struct stmt *st, struct error *err)
{
	switch ((enum stmt_kind)st->kind) {
	case STMT_BEGIN:
		return begin(s, st, err);
	case STMT_COMMIT:
		return commit(s, p, err);
	case STMT_ROLLBACK:
		if (s->block == BLOCK_NONE || s->block == BLOCK_IMPLICIT)
			session_notice(s, "WARNING", ST_NO_TRANSACTION, "there is no transaction in progress");
		txn_rollback(s);
		return ST_OK;
	case STMT_SAVEPOINT:
	case STMT_RELEASE:
	case STMT_ROLLBACK_TO:
		return savepoint(s, st, err);
	case STMT_SET_TRANSACTION:
		if (st->name) /* SESSION CHARACTERISTICS: of the transactions to come */
			return characteristics(s, st, err);
		if (s->block != BLOCK_OPEN)
			session_notice(s, "WARNING", ST_NO_TRANSACTION,
				       "SET TRANSACTION can only be used in transaction blocks");
		txn_ensure(s);
		return modes(s, st, err);
	default:
		UNREACHABLE();
	}
}

/* -- the protocol's ends ------------------------------------------------------------------------------------------ */

enum status sql_sync(struct sql_session *s, bool failed, struct error *err)
{
	if (s->block != BLOCK_IMPLICIT) {
		if (failed)
			txn_failed(s);
		return ST_OK;
	}
	if (failed) {
		txn_rollback(s);
		return ST_OK;
	}
	return txn_commit(s, err);
}

void sql_session_error(struct sql_session *s)
{
	txn_failed(s);
}
