/*
 * level.c - commits that are answered before they are decided (engine/txn; P3).
 *
 * At level local a client is answered when its record is submitted, at level memory when the leader says that a majority of voters
 * has received it and that its verdict will be ok. Nothing else differs: the record is kept and sent again until it is seen in the log, its
 * locks end when it is applied, and nobody, this session included, sees its effects before. The transaction leaves its session,
 * which remembers it until it is decided: there is one at most, as each statement first waits for it.
 *
 * Definitions are answered at level archive, as those who hear of a table from its maker look for it at other engines; so are
 * named transactions, which are named because their outcome has to be known, and whoever has an advisory lock, which is to be
 * given up when the next one can see what was done under it.
 */
#include "base/cover.h"
#include "engine/txn/txn_int.h"

static enum commit_level level_of(const struct access *a, const struct txn *x)
{
	return x->named || x->ddl.count || x->intents.count || a->early || !list_empty(&a->advisory) ? COMMIT_ARCHIVE : a->level;
}

bool level_early(const struct access *a, const struct txn *x)
{
	enum commit_level level = level_of(a, x);

	return level == COMMIT_LOCAL || (level == COMMIT_MEMORY && x->received);
}

bool level_tell(const struct access *a, const struct txn *x)
{
	return level_of(a, x) == COMMIT_MEMORY;
}

void level_received(struct txns *t, struct submission *s)
{
	struct txn *x = s->ctx;

	if (!x || s->kind != REC_COMMIT)
		return;
	COVER(EARLY_RECEIVED);
	x->received = true;
	txns_wake(t, WAIT_SUBMISSION, x->id);
}

void level_detach(struct access *a)
{
	struct txn *x = txn_leave(a);

	ASSERT(x->state == TXN_SUBMITTED && !a->early);
	COVER(EARLY_ANSWER);
	a->t->stats.early++;
	x->a = NULL;
	x->answered_early = true;
	x->early = a;
	a->early = x;
}

void level_decided(struct txns *t, struct txn *x, enum verdict v, enum void_cause cause, seq_index index)
{
	struct access *a = x->early;

	COVER_IF(v != VERDICT_OK, EARLY_LOST);
	t->stats.early_lost += v != VERDICT_OK;
	if (!a)
		return; /* nobody is there to be told */
	x->early = NULL;
	a->early = NULL;
	if (v == VERDICT_OK) {
		a->last_commit = index;
	} else {
		a->early_lost = true;
		error_clear(&a->early_error);
		if (index)
			error_set(&a->early_error, ST_SERIALIZATION,
				  "the previous transaction, whose COMMIT was answered early, was rolled back: %s", void_cause_name(cause));
		else
			error_set(&a->early_error, ST_OUTCOME_UNKNOWN,
				  "the outcome of the previous transaction, whose COMMIT was answered early, is unknown: this engine left the cluster");
	}
	txns_wake(t, WAIT_SUBMISSION, x->id);
}

bool access_early_lost(struct access *a, struct error *err_out)
{
	if (!a->early_lost)
		return false;
	*err_out = a->early_error;
	a->early_lost = false;
	return true;
}

void level_access_free(struct access *a)
{
	if (a->early)
		a->early->early = NULL; /* the log decides, nobody is told */
	a->early = NULL;
}
