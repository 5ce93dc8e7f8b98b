/*
 * txns.c - the transaction manager as a whole: set-up, events of the replica, messages, turns (engine/txn).
 */
#include "base/cover.h"
#include "engine/txn/txn_int.h"

#define TICK_US 100000

/* -- events of the replica: during apply, so they only note and free ------------------------------------------- */

static void on_applied(void *ctx, const struct record *r, enum verdict v, enum void_cause cause)
{
	struct txns *t = ctx;

	if (v != VERDICT_DUP && (r->kind == REC_COMMIT || r->kind == REC_ABORT) && t->self)
		grants_commit_applied(t, r->engine, r->txn); /* the attempt is over, either way (P8) */
	if (r->engine && r->engine == t->self)
		submit_applied(t, r, v, cause);
	t->host_events->applied(t->ctx, r, v, cause);
}

static void on_member_joined(void *ctx, const struct member *m)
{
	struct txns *t = ctx;

	txns_wake(t, WAIT_MEMBER, 0);
	t->host_events->member_joined(t->ctx, m);
}

static void on_member_removed(void *ctx, const struct member *m, uint8_t cause)
{
	struct txns *t = ctx;

	if (m->id == t->self) /* P25: the log up to here is read, so what it does not have is rolled back */
		t->removed_at = txns_applied(t) + 1;
	peers_removed(t, m->id);
	fetches_removed(t, m->id);
	lends_removed(t, m->id);
	if (t->self && m->id != t->self) {
		grants_removed(t, m->id);
		serial_removed(t, m->id);
		sequences_removed(t, m->id);
		ddl_member_removed(t, m->id);
		audits_removed(t, m->id);
	}
	txns_wake(t, WAIT_MEMBER, 0);
	t->host_events->member_removed(t->ctx, m, cause);
}

static void on_intent_opened(void *ctx, const struct intent *in)
{
	ddl_intent_opened(ctx, in);
}

static void on_intent_closed(void *ctx, const struct intent *in)
{
	ddl_intent_closed(ctx, in);
}

static void on_schema_changed(void *ctx)
{
	(void)ctx; /* compared by version when used */
}

static void on_frame_changed(void *ctx, struct frame *f, bool oversize)
{
	if (oversize)
		structures_oversize(ctx, f);
}

static void on_frame_new(void *ctx, struct frame *f, atom_id split_from)
{
	struct txns *t = ctx;
	struct hold h;
	atom_id need;

	COVER_IF(split_from && f->kind == ATOM_DATA, SPLIT_DATA);
	COVER_IF(split_from && f->kind == ATOM_INDEX, SPLIT_INDEX);
	COVER_IF(split_from && f->kind <= ATOM_INDEX_CAT, SPLIT_CATALOG);
	if (!split_from && f->kind == ATOM_DATA)
		slots_created(t, f);
	/* a copy that a split made of one that nobody had listed yet is asked for by itself (P15) */
	if (split_from && !t->archive && replica_hold(t->rp, f->id, &h, &need) == ST_OK && !hold_has(&h, t->self))
		fetches_hold(t, f->id);
	if (split_from && frame_bytes(f) > ATOM_SPLIT_BYTES)
		structures_oversize(t, f);
}

static void on_frame_gone(void *ctx, struct frame *f)
{
	struct txns *t = ctx;

	structures_gone(t, f->id);
	if (f->kind == ATOM_DATA)
		slots_destroyed(t, frame_owner(f));
	t->host_events->frame_gone(t->ctx, f);
}

static void on_hold_changed(void *ctx, atom_id atom)
{
	sequences_hold_changed(ctx, atom);
}

static void on_audit(void *ctx, const struct record *r)
{
	audits_record(ctx, r);
}

static const struct replica_events events = {
	.applied = on_applied,
	.member_joined = on_member_joined,
	.member_removed = on_member_removed,
	.intent_opened = on_intent_opened,
	.intent_closed = on_intent_closed,
	.schema_changed = on_schema_changed,
	.frame_changed = on_frame_changed,
	.frame_new = on_frame_new,
	.frame_gone = on_frame_gone,
	.hold_changed = on_hold_changed,
	.audit = on_audit,
};

/* -- set-up ------------------------------------------------------------------------------------------------------ */

/*
 * S7: old versions over their budget cost the oldest snapshot here its life; when another engine holds the horizon, the
 * oldest versions go, and copies note how far back they reach.
 */
static void undo_limit(struct txns *t)
{
	struct atom_store *store = replica_store(t->rp);
	struct txn *oldest = NULL;

	if (!atom_store_undo_over(store))
		return;
	LIST_FOREACH(it, &t->txns) {
		struct txn *x = CONTAINER_OF(it, struct txn, all);

		if (x->has_snapshot && !x->stale && x->state == TXN_ACTIVE &&
		    (!oldest || x->snapshot < oldest->snapshot))
			oldest = x;
	}
	if (oldest && oldest->snapshot <= replica_horizon(t->rp) + 1) {
		oldest->stale = true;
		log_event(t->log, LOG_TXN, LOG_WARN, "snapshot given up", "txn=%llu snapshot=%llu",
			  (unsigned long long)oldest->id, (unsigned long long)oldest->snapshot);
		return;
	}
	atom_store_undo_drop_oldest(store, atom_store_undo_bytes(store) / 8);
}

/* P26: who waits for others, cut off from the voters, is told so. What is on its way into the log goes on waiting (P25). */
static void cut_off(struct txns *t)
{
	static const enum wait_kind writes[] = {WAIT_LOCK, WAIT_SEQUENCE, WAIT_INTENT, WAIT_SLOTS, WAIT_FLOW, WAIT_SUBMISSION},
				    reads[] = {WAIT_ATOM, WAIT_APPLIED, WAIT_AUDIT, WAIT_SUBMISSION};

	t->silence_us = t->host->silence_us(t->ctx);
	for (size_t i = 0; t->silence_us > t->write_limit_us && i < sizeof writes / sizeof *writes; i++)
		txns_wake(t, writes[i], 0);
	for (size_t i = 0; t->silence_us > t->stale_read_limit_us && i < sizeof reads / sizeof *reads; i++)
		txns_wake(t, reads[i], 0);
}

static void tick(struct timer *tm, void *ctx)
{
	struct txns *t = ctx;

	cut_off(t);
	undo_limit(t);
	ddl_tick(t);
	grants_probe(t);
	LIST_FOREACH(it, &t->accesses) { /* a question to the leader may be lost */
		struct access *a = CONTAINER_OF(it, struct access, all);

		if (a->wait == WAIT_LATEST)
			a->latest_request = 0;
	}
	txns_wake(t, WAIT_LATEST, 0);
	txns_wake(t, WAIT_MEMBER, 0);
	structures_turn(t);
	doubts_tick(t);
	timer_arm(t->timers, tm, txns_now(t) + TICK_US);
}

static void make_replica(struct txns *t)
{
	struct replica_config rc = {.mem = t->mem, .log = t->log, .events = &events, .ctx = t,
				    .undo_limit_bytes = t->undo_limit_bytes, .archive = t->archive};

	t->rp = replica_new(&rc);
}

void txns_replica_reset(struct txns *t)
{
	ASSERT(!t->self);
	replica_free(t->rp);
	make_replica(t);
	if (t->schema) /* its versions start anew */
		schema_cache_unref(t, t->schema);
	t->schema = NULL;
	t->replica_resets++;
}

struct txns *txns_new(const struct txns_config *cfg)
{
	struct txns *t = MEM_NEW(cfg->mem, struct txns);

	t->mem = cfg->mem;
	t->log = cfg->log;
	t->clock = cfg->clock;
	t->timers = cfg->timers;
	t->host = cfg->host;
	t->host_events = cfg->host_events;
	t->ctx = cfg->ctx;
	t->archive = cfg->archive;
	t->deadlock_timeout_us = cfg->deadlock_timeout_us ? cfg->deadlock_timeout_us : 1000000;
	t->stale_read_limit_us = cfg->stale_read_limit_us ? cfg->stale_read_limit_us : 10000000;
	t->write_limit_us = t->stale_read_limit_us;
	if (cfg->write_limit_us && cfg->write_limit_us < t->write_limit_us)
		t->write_limit_us = cfg->write_limit_us;
	t->resubmit_us = cfg->resubmit_us ? cfg->resubmit_us : 300000;
	t->next_txn = t->next_request = 1;
	rng_init(&t->rng, cfg->seed);
	list_init(&t->accesses);
	list_init(&t->txns);
	list_init(&t->later);
	for (int kind = 0; kind < WAIT_KINDS; kind++)
		for (int i = 0; i < WAIT_BUCKETS; i++)
			list_init(&t->waiting[kind][i]);
	list_init(&t->audits);
	t->undo_limit_bytes = cfg->undo_limit_bytes;
	make_replica(t);
	submit_init(t);
	peers_init(t);
	fetches_init(t);
	lends_init(t);
	grants_init(t);
	serials_init(t);
	slots_init(t);
	sequences_init(t);
	structures_init(t);
	ddl_init(t);
	timer_init(&t->tick_timer, tick, t);
	timer_arm(t->timers, &t->tick_timer, txns_now(t) + TICK_US);
	return t;
}

void txns_free(struct txns *t)
{
	while (!list_empty(&t->accesses))
		access_free(CONTAINER_OF(t->accesses.next, struct access, all));
	timer_cancel(t->timers, &t->tick_timer);
	t->closing = true;
	submit_fail_all(t, t->self); /* ends what has no session any more, too */
	doubts_fini(t);
	submit_fini(t);
	grants_fini(t);
	serials_fini(t);
	sequences_fini(t);
	structures_fini(t);
	slots_fini(t);
	fetches_fini(t);
	lends_fini(t);
	peers_fini(t);
	t->self = 0;
	ddl_reset(t);
	VEC_FINI(t->mem, &t->drained);
	if (t->schema)
		schema_cache_unref(t, t->schema);
	replica_free(t->rp);
	MEM_FREE(t->mem, t);
}

struct replica *txns_replica(struct txns *t)
{
	return t->rp;
}

const struct txns_stats *txns_stats(const struct txns *t)
{
	return &t->stats;
}

/*
 * Another incarnation begins, or this one ended (P24): what was granted, asked and promised under the old id is void.
 * Open transactions find out at their next call.
 */
void txns_set_self(struct txns *t, engine_id self)
{
	engine_id was;

	if (t->self == self)
		return;
	was = t->self;
	t->self = self;
	replica_set_self(t->rp, self);
	submit_fail_all(t, was);
	grants_reset(t);
	serials_reset(t);
	sequences_reset(t);
	structures_reset(t);
	slots_reset(t);
	fetches_reset(t);
	lends_reset(t);
	peers_reset(t);
	t->next_rel = 0;
	ddl_reset(t);
	txns_wake_all(t);
	if (self && !t->archive) { /* copies kept from before are ours again once listed */
		LIST_FOREACH(it, atom_all(replica_store(t->rp))) {
			struct frame *f = CONTAINER_OF(it, struct frame, all);

			if (f->kind != ATOM_ROOT)
				fetches_hold(t, f->id);
		}
	}
}

/* -- messages and turns --------------------------------------------------------------------------------------------- */

void txns_message(struct txns *t, engine_id from, const void *data, size_t bytes)
{
	struct reader r = reader_init(data, bytes);
	uint8_t type = get_u8(&r);
	uint64_t request;

	switch (type) {
	case MSG_SESSION:
		peers_message(t, from, &r);
		break;
	case MSG_FETCH:
	case MSG_HAVE:
		lends_message(t, from, type, &r);
		break;
	case MSG_PIECE:
	case MSG_LENT:
	case MSG_NOT_HERE:
		fetches_message(t, from, type, &r);
		break;
	case MSG_PARTS:
	case MSG_PART:
		parts_message(t, from, type, &r);
		break;
	case MSG_RECEIVED:
		submit_received(t, &r);
		break;
	case MSG_OUTCOME:
	case MSG_OUTCOME_IS:
		doubts_message(t, from, type, &r);
		break;
	case MSG_LATEST_IS:
		request = get_u64(&r);
		txns_latest_is(t, request, get_u64(&r));
		break;
	default:
		r.bad = true;
	}
	if (r.bad)
		log_event(t->log, LOG_TXN, LOG_WARN, "bad message", "from=%llu type=%u bytes=%llu",
			  (unsigned long long)from, type, (unsigned long long)bytes);
}

void txns_read(struct txns *t, engine_id from, uint64_t token, const void *data, size_t bytes)
{
	fetches_read(t, from, token, data, bytes);
}

void txns_turn(struct txns *t)
{
	txns_wake(t, WAIT_APPLIED, txns_applied(t));
	peers_deliver_local(t);
	if (t->self) {
		fetches_turn(t);
		lends_turn(t);
		grants_turn(t);
		serial_turn(t);
		sequences_turn(t);
		structures_turn(t);
		ddl_turn(t);
	}
	txns_wake_later(t);
	if (t->self)
		submit_flush(t);
	peers_flush(t);
}

seq_index txns_need(struct txns *t)
{
	seq_index need = txns_applied(t);

	LIST_FOREACH(it, &t->txns) {
		const struct txn *x = CONTAINER_OF(it, struct txn, all);

		if (x->has_snapshot && !x->stale && x->snapshot < need)
			need = x->snapshot;
		if (x->grant_need && x->grant_need < need)
			need = x->grant_need;
	}
	LIST_FOREACH(it2, &t->submissions) { /* plans of undecided records */
		const struct submission *s = CONTAINER_OF(it2, struct submission, all);

		if (s->plan < need)
			need = s->plan;
	}
	return need;
}

seq_index txns_oldest_fetch(const struct txns *t)
{
	return fetches_oldest(t);
}

void txns_each_fetched(const struct txns *t, void *ctx, void (*fn)(void *ctx, rel_id storage))
{
	fetches_each_storage(t, ctx, fn);
}

uint64_t txns_fetches_version(const struct txns *t)
{
	return fetches_version(t);
}

void txns_payloads_came(struct txns *t)
{
	fetches_payloads_came(t);
}

bool txns_idle(const struct txns *t)
{
	return list_empty(&t->submissions);
}
