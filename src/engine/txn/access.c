/*
 * access.c - sessions' transactions: begin, snapshots, savepoints, the end, waiting (engine/txn).
 */
#include "base/cover.h"
#include "engine/txn/txn_int.h"

#define SCRATCH_KEEP_BYTES (1u << 20)

/* -- waiting ------------------------------------------------------------------------------------------ */

/* All who wait for an index are in one: those are few at a time, and an index that is applied concerns every lower one. */
static struct list *wait_bucket(struct txns *t, enum wait_kind kind, uint64_t id)
{
	return &t->waiting[kind][kind == WAIT_APPLIED ? 0 : hash_u64(id) % WAIT_BUCKETS];
}

enum status access_wait(struct access *a, enum wait_kind kind, uint64_t id)
{
	if (kind == WAIT_ATOM && atom_find(replica_store(a->t->rp), id)) {
		/* it came, ahead of us (FRAME_FUTURE): the log makes it usable, no fetch will end */
		kind = WAIT_APPLIED;
		id = txns_applied(a->t) + 1;
	}
	a->wait = kind;
	a->wait_id = id;
	list_remove(&a->waiting);
	list_push_back(wait_bucket(a->t, kind, id), &a->waiting);
	return ST_WAIT;
}

static void wait_end(struct access *a)
{
	a->wait = WAIT_NONE;
	list_remove(&a->waiting);
	a->wake(a->ctx);
}

void txns_wake(struct txns *t, enum wait_kind kind, uint64_t id)
{
	bool all = !id || kind == WAIT_APPLIED;
	struct list *first = all ? t->waiting[kind] : wait_bucket(t, kind, id);
	struct list *end = all ? first + (kind == WAIT_APPLIED ? 1 : WAIT_BUCKETS) : first + 1;

	for (struct list *bucket = first; bucket < end; bucket++)
		LIST_FOREACH_SAFE(it, tmp, bucket) {
			struct access *a = CONTAINER_OF(it, struct access, waiting);

			if (kind == WAIT_APPLIED ? a->wait_id <= id : !id || a->wait_id == id)
				wait_end(a);
		}
}

void txns_wake_all(struct txns *t)
{
	for (int kind = WAIT_NONE + 1; kind < WAIT_KINDS; kind++)
		txns_wake(t, (enum wait_kind)kind, kind == WAIT_APPLIED ? UINT64_MAX : 0);
}

void txns_later(struct txns *t, struct access *a)
{
	if (list_empty(&a->later))
		list_push_back(&t->later, &a->later);
	t->host->kick(t->ctx);
}

void txns_wake_later(struct txns *t)
{
	struct list *it;

	while ((it = list_first(&t->later))) {
		struct access *a = CONTAINER_OF(it, struct access, later);

		list_remove(it);
		wait_end(a);
	}
}

struct txn *txns_find(struct txns *t, txn_id id)
{
	LIST_FOREACH(it, &t->txns) {
		struct txn *x = CONTAINER_OF(it, struct txn, all);

		if (x->id == id && x->self == t->self)
			return x;
	}
	return NULL;
}

static enum status no_voters(struct txns *t, struct error *err)
{
	error_set(err, ST_NO_VOTERS, "no sign of a majority of the archives for %llu ms",
		  (unsigned long long)(t->host->silence_us(t->ctx) / 1000));
	error_hint(err, "this engine may be cut off from the cluster; retry, or use another engine");
	return ST_NO_VOTERS;
}

/* What ends any call of a statement. */
enum status access_check(struct access *a, struct error *err)
{
	struct txn *x = a->txn;

	if (a->canceled)
		return error_set(err, ST_CANCELED, "canceling statement due to user request");
	if (!x)
		return ST_OK;
	if (x->victim)
		return error_set(err, ST_DEADLOCK, "deadlock detected");
	if (x->self != a->t->self)
		return error_set(err, ST_SERIALIZATION,
				 "could not serialize access: this engine left the cluster since the transaction began");
	if (x->stale) {
		error_set(err, ST_SNAPSHOT_TOO_OLD, "snapshot too old: old versions took more memory than they may");
		error_hint(err, "keep transactions shorter, or give the engine more --memory");
		return ST_SNAPSHOT_TOO_OLD;
	}
	if (a->t->silence_us > a->t->stale_read_limit_us && a->t->host->silence_us(a->t->ctx) > a->t->stale_read_limit_us)
		return no_voters(a->t, err);
	if (x->doomed)
		return error_set(err, ST_SERIALIZATION,
				 "could not serialize access: an engine that granted locks left the cluster");
	return ST_OK;
}

/*
 * Others cannot answer, and what was sent now might be in the log or not when they can: refused before that, it is rolled back for
 * certain. What is on its way already waits for the log (P25).
 */
enum status access_check_write(struct access *a, struct error *err)
{
	struct txns *t = a->t;
	enum status st = access_check(a, err);

	if (st || t->silence_us <= t->write_limit_us || t->host->silence_us(t->ctx) <= t->write_limit_us)
		return st;
	COVER(WRITE_REFUSED);
	return no_voters(t, err);
}

/* -- sessions ------------------------------------------------------------------------------------------ */

struct access *txns_access_new(struct txns *t, void (*wake)(void *ctx), void *ctx)
{
	struct access *a = MEM_NEW(t->mem, struct access);

	a->t = t;
	a->wake = wake;
	a->ctx = ctx;
	arena_init(&a->turn, t->mem);
	list_push_back(&t->accesses, &a->all);
	list_init(&a->waiting);
	list_init(&a->later);
	list_init(&a->advisory);
	return a;
}

static void txn_free(struct txns *t, struct txn *x)
{
	grants_call_free(t, x);
	commit_free(t, x);
	ddl_txn_free(t, x);
	serial_txn_free(t, x);
	bmap_fini(&x->held);
	VEC_FINI(t->mem, &x->grantors);
	VEC_FINI(t->mem, &x->asked);
	VEC_FINI(t->mem, &x->used);
	VEC_FINI(t->mem, &x->intents);
	VEC_FINI(t->mem, &x->ddl);
	VEC_FINI(t->mem, &x->pre_created);
	VEC_FINI(t->mem, &x->inherits);
	VEC_FINI(t->mem, &x->inherited_rows);
	overlay_fini(&x->overlay);
	arena_fini(&x->arena);
	list_remove(&x->all);
	MEM_FREE(t->mem, x);
	ddl_txn_ended(t);
}

static struct txn *txn_new(struct access *a)
{
	struct txns *t = a->t;
	struct txn *x = MEM_NEW(t->mem, struct txn);

	x->id = t->next_txn++;
	x->a = a;
	x->self = t->self;
	x->attempt = 1;
	x->begun_us = txns_now(t);
	x->begun_wall_us = clock_wall_us(&t->clock);
	arena_init(&x->arena, t->mem);
	overlay_init(&x->overlay, t->mem, &x->arena);
	bmap_init(&x->held, t->mem);
	list_push_back(&t->txns, &x->all);
	return x;
}

struct txn *txn_hidden_new(struct access *a)
{
	return txn_new(a);
}

void txn_hidden_free(struct txns *t, struct txn *x)
{
	txn_free(t, x);
}

void txn_orphan_done(struct txns *t, struct txn *x)
{
	txn_free(t, x);
}

struct txn *txn_leave(struct access *a)
{
	struct txn *x = a->txn;

	a->txn = NULL;
	a->savepoints.count = 0;
	advisory_transaction_over(a);
	sequences_access_free(a);
	schema_lent_end(a);
	if (a->turn.used_bytes > SCRATCH_KEEP_BYTES)
		arena_reset(&a->turn);
	return x;
}

void txn_end(struct access *a)
{
	struct txns *t = a->t;

	txn_free(t, txn_leave(a));
}

void access_free(struct access *a)
{
	struct txns *t = a->t;

	audits_access_free(a);
	views_free(a);
	sequences_access_free(a);
	level_access_free(a);
	if (a->txn && a->txn->state == TXN_SUBMITTED) {
		/* its record is on its way: the log decides, nobody is told */
		a->txn->a = NULL;
		a->txn = NULL;
	} else if (a->txn) {
		access_rollback(a);
	}
	advisory_free(a);
	schema_lent_end(a);
	VEC_FINI(t->mem, &a->lent);
	VEC_FINI(t->mem, &a->savepoints);
	arena_fini(&a->turn);
	list_remove(&a->waiting);
	list_remove(&a->later);
	list_remove(&a->all);
	MEM_FREE(t->mem, a);
}

/* -- transactions ----------------------------------------------------------------------------------------- */

void access_begin(struct access *a, enum isolation iso, bool read_only)
{
	ASSERT(!a->txn);
	a->txn = txn_new(a);
	a->txn->iso = iso;
	a->txn->read_only = read_only;
	a->canceled = false;
	a->need_applied = a->free_as_of = 0;
	a->latest_request = 0; /* the answer to a statement that was canceled since is too old for this one */
	a->savepoints.count = 0;
}

bool access_in_transaction(const struct access *a)
{
	return a->txn != NULL;
}

void access_set_isolation(struct access *a, enum isolation iso)
{
	ASSERT(a->txn);
	a->txn->iso = iso;
}

void access_set_read_only(struct access *a, bool read_only)
{
	ASSERT(a->txn);
	a->txn->read_only = read_only;
}

enum status access_latest_wait(struct access *a)
{
	struct txns *t = a->t;
	struct buf b;

	if (!a->latest_request) {
		a->latest_request = t->next_request++;
		a->latest_index = 0;
		buf_init(&b, t->mem);
		put_u8(&b, MSG_LATEST);
		put_u64(&b, a->latest_request);
		t->host->send(t->ctx, ENGINE_LEADER_ID, b.data, b.size);
		buf_fini(&b);
	}
	if (!a->latest_index)
		return access_wait(a, WAIT_LATEST, a->latest_request);
	if (a->latest_index > txns_applied(t))
		return access_wait(a, WAIT_APPLIED, a->latest_index);
	return ST_OK;
}

/* P26: the read index that the leader confirmed. A lost question is asked again by the tick. */
void txns_latest_is(struct txns *t, uint64_t request, seq_index index)
{
	LIST_FOREACH(it, &t->accesses) {
		struct access *a = CONTAINER_OF(it, struct access, all);

		if (a->latest_request == request && request)
			a->latest_index = index ? index : 1;
	}
	txns_wake(t, WAIT_LATEST, request);
}

enum status access_voters_check(struct access *a, struct error *err)
{
	struct txns *t = a->t;

	if (t->host->silence_us(t->ctx) <= t->stale_read_limit_us)
		return ST_OK;
	COVER(STALE_REFUSED);
	return no_voters(t, err);
}

static enum status snapshot_take(struct access *a, struct error *err)
{
	struct txns *t = a->t;
	struct txn *x = a->txn;
	seq_index least = a->last_commit > a->need_applied ? a->last_commit : a->need_applied;
	enum status st;

	if (a->early)
		return access_wait(a, WAIT_SUBMISSION, a->early->id);
	least = least > a->free_as_of ? least : a->free_as_of;
	if (least > txns_applied(t))
		return access_wait(a, WAIT_APPLIED, least);
	st = access_voters_check(a, err);
	if (st)
		return st;
	if (a->latest) {
		st = access_latest_wait(a);
		if (st)
			return st;
		a->latest_request = 0;
	}
	x->snapshot = txns_applied(t);
	x->has_snapshot = true;
	return ST_OK;
}

enum status access_statement_begin(struct access *a, struct error *err)
{
	struct txn *x = a->txn;
	enum status st;

	ASSERT(x);
	a->canceled = false;
	st = access_check(a, err);
	if (!st)
		st = advisory_check(a, err);
	if (st)
		return st;
	if (!x->self) {
		error_set(err, ST_NOT_MEMBER, "this engine is not a member of the cluster");
		return ST_NOT_MEMBER;
	}
	if (inherit_open(x)) /* else it might see one change of a transaction and miss another */
		return access_wait(a, WAIT_APPLIED, txns_applied(a->t) + 1);
	if (!x->has_snapshot || x->iso == ISOLATION_READ_COMMITTED) {
		st = snapshot_take(a, err);
		if (st)
			return st;
	}
	x->stmt++;
	a->row_too_large = false;
	a->stmt_mark = overlay_mark(&x->overlay);
	a->stmt_ddl = (uint32_t)x->ddl.count;
	arena_reset(&a->turn);
	return ST_OK;
}

void access_statement_inherits(struct access *a, bool may)
{
	a->may_inherit = may;
}

void access_statement_see_own(struct access *a)
{
	a->txn->stmt++;
}

/*
 * READ COMMITTED takes its next snapshot anew, and nothing is read in between (a cursor has its rows): the old one holds
 * back the horizon no longer. What the transaction was granted still does (P19, P9).
 */
static void snapshot_end(struct txn *x)
{
	if (x && x->iso == ISOLATION_READ_COMMITTED)
		x->has_snapshot = false;
}

void access_statement_end(struct access *a)
{
	a->canceled = false;
	grants_call_free(a->t, a->txn);
	advisory_statement_over(a);
	snapshot_end(a->txn);
}

static void roll_back_to(struct access *a, uint32_t mark, uint32_t ddl)
{
	struct txn *x = a->txn;

	overlay_rollback(&x->overlay, mark);
	if (x->ddl.count > ddl) {
		x->ddl.count = ddl;
		x->ddl_version++;
	}
}

void access_statement_abort(struct access *a)
{
	struct txn *x = a->txn;

	a->canceled = false;
	sequences_access_free(a);
	grants_call_free(a->t, x);
	advisory_statement_over(a);
	intent_give_up(a->t, x);
	x->use_wait_us = 0;
	a->latest_request = 0;
	snapshot_end(x);
	roll_back_to(a, a->stmt_mark, a->stmt_ddl);
}

enum status access_statement_restart(struct access *a, struct error *err)
{
	struct txn *x = a->txn;
	enum status st = access_check(a, err);

	if (st)
		return st;
	st = snapshot_take(a, err);
	if (st)
		return st;
	a->t->stats.restarts++;
	COVER(STATEMENT_RESTART);
	a->row_too_large = false;
	roll_back_to(a, a->stmt_mark, a->stmt_ddl);
	inherit_push(a);
	x->stmt++;
	return ST_OK;
}

void access_rollback(struct access *a)
{
	struct txns *t = a->t;
	struct txn *x = a->txn;

	ASSERT(x);
	ASSERT(x->state != TXN_SUBMITTED);
	t->stats.rollbacks++;
	if (x->parts_sent && x->self == t->self && t->self) {
		struct record r = {.kind = REC_ABORT, .txn = x->id, .attempt = x->attempt};

		txns_submit(t, &r, NULL);
	}
	ddl_rolled_back(t, x);
	grants_release(t, x);
	txn_end(a);
}

enum status access_commit(struct access *a, seq_index *index_out, struct error *err)
{
	return commit_step(a, index_out, err);
}

uint32_t access_savepoint(struct access *a)
{
	struct savepoint s = {overlay_mark(&a->txn->overlay), (uint32_t)a->txn->ddl.count};

	VEC_PUSH(a->t->mem, &a->savepoints, s);
	return (uint32_t)a->savepoints.count;
}

void access_rollback_to(struct access *a, uint32_t n)
{
	struct savepoint s;

	ASSERT(n && n <= a->savepoints.count);
	s = a->savepoints.at[n - 1];
	a->latest_request = 0;
	grants_call_free(a->t, a->txn);
	intent_give_up(a->t, a->txn);
	a->latest_request = 0;
	COVER_IF(overlay_mark(&a->txn->overlay) != s.overlay_mark, SAVEPOINT_UNDONE);
	roll_back_to(a, s.overlay_mark, s.ddl_count);
	a->savepoints.count = n;
}

void access_release(struct access *a, uint32_t n)
{
	ASSERT(n && n <= a->savepoints.count);
	a->savepoints.count = n - 1;
}

seq_index access_last_commit(const struct access *a)
{
	return a->last_commit;
}

seq_index access_snapshot(const struct access *a)
{
	return a->txn ? a->txn->snapshot : txns_applied(a->t);
}

bool access_snapshot_reaches(const struct access *a, seq_index index)
{
	const struct txn *x = a->txn;

	return !x || !x->has_snapshot || x->iso == ISOLATION_READ_COMMITTED || x->snapshot >= index;
}

void access_set_commit_level(struct access *a, enum commit_level level)
{
	a->level = level;
}

void access_set_read_latest(struct access *a, bool latest)
{
	a->latest = latest;
}

uint64_t access_transaction_time_us(const struct access *a)
{
	return a->txn ? a->txn->begun_wall_us : clock_wall_us(&a->t->clock);
}

uint64_t access_wall_us(const struct access *a)
{
	return clock_wall_us(&a->t->clock);
}

uint64_t access_now_us(const struct access *a)
{
	return clock_now_us(&a->t->clock);
}

bool access_waits_for_lock(const struct access *a)
{
	return a->wait == WAIT_LOCK || a->wait == WAIT_INTENT;
}

void access_cancel(struct access *a)
{
	a->canceled = true;
	wait_end(a);
}

void access_publish(struct access *a, const void *session)
{
	a->session = session;
}

const void *access_session_at(const struct access *a, uint64_t n)
{
	LIST_FOREACH(it, &a->t->accesses)
		if (n-- == 0)
			return CONTAINER_OF(it, struct access, all)->session;
	return NULL;
}

uint64_t access_session_count(const struct access *a)
{
	uint64_t n = 0;

	LIST_FOREACH(it, &a->t->accesses)
		n++;
	return n;
}

const char *access_wait_event(const struct access *a, const char **type_out)
{
	static const struct { const char *type, *event; } events[WAIT_KINDS] = {
		[WAIT_APPLIED] = {"IPC", "LogApplied"},       [WAIT_SUBMISSION] = {"IPC", "Commit"},
		[WAIT_ATOM] = {"IO", "AtomFetch"},            [WAIT_LOCK] = {"Lock", "tuple"},
		[WAIT_SEQUENCE] = {"IPC", "SequenceValues"},  [WAIT_INTENT] = {"Lock", "relation"},
		[WAIT_SLOTS] = {"IPC", "AtomCreate"},         [WAIT_MEMBER] = {"IPC", "Membership"},
		[WAIT_LATEST] = {"IPC", "LatestIndex"},       [WAIT_AUDIT] = {"IPC", "Audit"},
		[WAIT_FLOW] = {"IPC", "Flow"},
	};

	*type_out = events[a->wait].type;
	return a->wait == WAIT_LOCK && advisory_waiting(a) ? "advisory" : events[a->wait].event;
}

seq_index access_applied_index(const struct access *a)
{
	return txns_applied(a->t);
}

enum status access_remove_voter(struct access *a, uint64_t voter, struct error *err)
{
	enum status st;

	if (a->canceled)
		return ST_CANCELED;
	st = a->t->host->remove_voter(a->t->ctx, voter, &a->removing_voter, err);
	return st == ST_WAIT ? access_wait(a, WAIT_MEMBER, 0) : st;
}

enum status access_wait_applied(struct access *a, seq_index index)
{
	if (a->canceled)
		return ST_CANCELED;
	return index <= txns_applied(a->t) ? ST_OK : access_wait(a, WAIT_APPLIED, index);
}
