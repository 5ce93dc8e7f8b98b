/*
 * leader.c - the sequencer's leader: taking records, making batches, the horizon, membership (engine; P3 to P5, P19, P24).
 *
 * A new leader first commits an entry of its own term; once that is applied it knows every engine's last number and
 * the next index, and takes records. A batch is whatever arrived while the last ones were in flight: nothing
 * waits for a fixed time. What a leader that lost its office had taken and not proposed is dropped: senders send
 * it again.
 */
#include "base/cover.h"
#include "engine/engine_int.h"

#include <stdio.h>

#define BATCHES_IN_FLIGHT 4
#define BATCH_BYTES (4u << 20)
#define PENDING_BYTES (64u << 20)  /* over it submissions are refused; their senders repeat them */
#define AHEAD_BYTES (8u << 20)     /* the same of those that come before this leader may take any */
#define REPORT_LIMIT 6             /* heartbeat limits without a report before an engine is removed */
#define SETTLE_LIMIT 2             /* the same after a change of leader, for those never heard of */

void leader_init(struct engine *e)
{
	struct leader *l = &e->leader;

	memset(l, 0, sizeof *l);
	buf_init(&l->pending, e->mem);
	buf_init(&l->ahead, e->mem);
	map_init(&l->accepted, e->mem);
	map_init(&l->reports, e->mem);
	map_init(&l->parts, e->mem);
	list_init(&l->parts_all);
}

static void leader_clear(struct engine *e)
{
	struct leader *l = &e->leader;

	buf_reset(&l->pending);
	buf_reset(&l->ahead);
	l->pending_count = 0;
	l->active = false;
	for (size_t i = 0; i < l->accepted_all.count; i++)
		MEM_FREE(e->mem, l->accepted_all.at[i]);
	for (size_t i = 0; i < l->reports_all.count; i++)
		MEM_FREE(e->mem, l->reports_all.at[i]);
	l->accepted_all.count = l->reports_all.count = 0;
	map_clear(&l->accepted);
	map_clear(&l->reports);
	l->removing.count = 0;
	l->joining.count = 0;
	LIST_FOREACH_SAFE(it, tmp, &l->parts_all)
		MEM_FREE(e->mem, CONTAINER_OF(it, struct sent_parts, all));
	list_init(&l->parts_all);
	map_clear(&l->parts);
	receipts_clear(e);
}

void leader_fini(struct engine *e)
{
	struct leader *l = &e->leader;

	leader_clear(e);
	buf_fini(&l->pending);
	buf_fini(&l->ahead);
	map_fini(&l->accepted);
	map_fini(&l->reports);
	map_fini(&l->parts);
	VEC_FINI(e->mem, &l->accepted_all);
	VEC_FINI(e->mem, &l->reports_all);
	VEC_FINI(e->mem, &l->removing);
	VEC_FINI(e->mem, &l->joining);
	receipts_fini(e);
}

void leader_role(struct engine *e, enum seq_role role)
{
	leader_clear(e);
	if (role == SEQ_LEADER)
		e->leader.since_us = engine_now(e);
}

static bool leading(const struct engine *e)
{
	return e->seq && e->leader.active && seq_role(e->seq) == SEQ_LEADER;
}

bool engine_is_leader(const struct engine *e)
{
	return leading(e);
}

/*
 * What was sent again for the new leader's sake came before it could be judged: while its first entry went to the disks. To
 * drop it would leave it to the senders' timers.
 */
static void take_ahead(struct engine *e)
{
	struct buf ahead = e->leader.ahead;
	struct reader r = reader_init(ahead.data, ahead.size);

	buf_init(&e->leader.ahead, e->mem);
	while (reader_left(&r)) {
		engine_id from = get_u64(&r);
		uint32_t bytes = get_u32(&r);
		struct reader records = reader_init(get_raw(&r, bytes), bytes);

		leader_submit(e, from, &records, false);
	}
	buf_fini(&ahead);
}

/* All that is committed is applied, and the own term has begun: last numbers and the next index are known. */
static void maybe_activate(struct engine *e)
{
	struct leader *l = &e->leader;

	if (l->active || !e->seq || seq_role(e->seq) != SEQ_LEADER || !seq_own_term_committed(e->seq) ||
	    seq_in_flight(e->seq) || e->committed_pos < seq_last(e->seq) || e->have_record ||
	    e->window.next != replica_applied(e->rp) + 1)
		return;
	l->active = true;
	COVER(LEADER_CHANGE);
	l->next_index = replica_applied(e->rp) + 1;
	l->horizon = replica_horizon(e->rp);
	l->wall_us = replica_wall_us(e->rp);
	l->since_us = engine_now(e);
	log_event(e->log, LOG_SEQUENCER, LOG_INFO, "leading", "term=%llu next=%llu",
		  (unsigned long long)seq_term(e->seq), (unsigned long long)l->next_index);
	if (!e->self) { /* a restarted archive: its stale id ends with the join (P23) */
		struct buf b;

		buf_init(&b, e->mem);
		join_encode(&b, &e->me);
		leader_join(e, b.data, b.size);
		buf_fini(&b);
	}
	for (size_t i = 0; i < e->refused.count; i++)
		if (e->refused.at[i] != e->self)
			leader_remove(e, e->refused.at[i], REMOVE_LINK);
	take_ahead(e);
	e->kicked = true;
}

/* -- taking records (P4) ------------------------------------------------------------------------------------ */

static struct accepted *accepted_of(struct engine *e, engine_id engine)
{
	struct accepted *a = map_find(&e->leader.accepted, engine);
	const struct member *m;

	if (a)
		return a;
	m = replica_member(e->rp, engine);
	if (!m)
		return NULL;
	a = MEM_NEW(e->mem, struct accepted);
	a->engine = engine;
	a->seq = m->last_seq;
	map_put(&e->leader.accepted, engine, a);
	VEC_PUSH(e->mem, &e->leader.accepted_all, a);
	return a;
}

/* Apply never refuses, so what cannot be applied must not get into the log. */
static bool payload_ok(struct engine *e, const struct record *r)
{
	if (!r->payload && r->payload_bytes)
		return false;
	if (r->kind == REC_PART && !r->payload_bytes)
		return false;
	return (r->kind != REC_COMMIT && r->kind != REC_PART) || record_ops_ok(r, e->mem);
}

/*
 * A commit is applied with exactly the parts that it counts: one that counts others would stop every engine for good, as
 * each waits for what nobody has. Counted are those taken here and, from before, those that the replica has: a leader
 * begins with all applied. True: as it should be, and noted.
 */
static bool parts_ok(struct engine *e, const struct record *r)
{
	struct leader *l = &e->leader;
	struct sent_parts *p = map_find2(&l->parts, r->engine, r->txn);
	uint32_t attempt = 0, count;

	if (r->kind != REC_PART && r->kind != REC_COMMIT && r->kind != REC_ABORT)
		return true;
	if (!p) {
		count = replica_open_parts(e->rp, r->engine, r->txn, &attempt);
		if (count == UINT32_MAX)
			return false; /* it is decided: nothing more may come of it */
		if (!count && r->kind != REC_PART)
			return r->kind == REC_ABORT || !r->parts; /* the usual case */
		p = MEM_NEW(e->mem, struct sent_parts);
		p->engine = r->engine;
		p->txn = r->txn;
		p->attempt = count ? attempt : r->attempt;
		p->count = count;
		map_put2(&l->parts, r->engine, r->txn, p);
		list_push_back(&l->parts_all, &p->all);
	}
	if (p->decided || r->attempt < p->attempt)
		return false;
	if (r->attempt > p->attempt)
		p->count = 0; /* a new attempt's parts replace those of the last one */
	p->attempt = r->attempt;
	if (r->kind == REC_PART) {
		p->count += r->plan >= l->horizon; /* else it is void (P5) */
		return true;
	}
	if (r->kind == REC_COMMIT && r->parts != p->count)
		return false;
	p->decided = r->kind == REC_COMMIT;
	p->count = 0;
	return true;
}

static void sent_parts_free(struct engine *e, struct sent_parts *p)
{
	map_remove2(&e->leader.parts, p->engine, p->txn);
	list_remove(&p->all);
	MEM_FREE(e->mem, p);
}

static void take(struct engine *e, const struct record *r, bool tell, const void *bytes, size_t size)
{
	buf_put(&e->leader.pending, bytes, size);
	e->leader.pending_count++;
	receipts_taken(e, r, tell);
	e->kicked = true;
}

/* Is it one of those, in ascending order, of which the sender wants to hear soon? */
static bool tell_of(struct reader *tells, uint64_t seq)
{
	uint64_t next = 0;

	while (reader_left(tells)) {
		struct reader at = *tells;

		next = get_u64(&at);
		if (next > seq)
			return false;
		*tells = at;
		if (next == seq)
			return true;
	}
	return false;
}

void leader_submit(struct engine *e, engine_id from, struct reader *r, bool tells)
{
	uint32_t tell_count = tells ? get_u32(r) : 0;
	const uint8_t *list = get_raw(r, (size_t)tell_count * sizeof(uint64_t));
	struct reader tell = reader_init(list, list ? (size_t)tell_count * sizeof(uint64_t) : 0);
	struct record *rec;

	if (!leading(e)) { /* it will be sent again, to whoever leads */
		if (e->seq && seq_role(e->seq) == SEQ_LEADER && e->leader.ahead.size + reader_left(r) < AHEAD_BYTES) {
			COVER(LEADER_EARLY);
			put_u64(&e->leader.ahead, from);
			put_u32(&e->leader.ahead, (uint32_t)reader_left(r));
			buf_put(&e->leader.ahead, r->p, reader_left(r));
		}
		return;
	}
	rec = mem_alloc(e->mem, sizeof *rec);
	while (reader_left(r) && e->leader.pending.size < PENDING_BYTES) {
		const uint8_t *at = r->p;
		struct accepted *a;

		if (record_decode(r, rec) != ST_OK || rec->engine != from || record_kind_leaders(rec->kind) ||
		    !payload_ok(e, rec)) {
			log_event(e->log, LOG_SEQUENCER, LOG_WARN, "bad record", "from=%llu",
				  (unsigned long long)from);
			break;
		}
		a = accepted_of(e, from);
		if (!a)
			break; /* not a member */
		if (rec->seq != a->seq + 1) { /* taken already, or after a gap */
			COVER_IF(rec->seq <= a->seq, DUPLICATE);
			continue;
		}
		if (!parts_ok(e, rec)) {
			log_event(e->log, LOG_SEQUENCER, LOG_WARN, "bad record",
				  "from=%llu cause=parts kind=%s txn=%llu parts=%u", (unsigned long long)from,
				  record_kind_name(rec->kind), (unsigned long long)rec->txn, rec->parts);
			break;
		}
		a->seq++;
		take(e, rec, tell_of(&tell, rec->seq), at, (size_t)(r->p - at));
	}
	mem_free(e->mem, rec, sizeof *rec);
}

/* -- own records ----------------------------------------------------------------------------------------------- */

static void propose_own(struct engine *e, enum record_kind kind, const struct buf *payload)
{
	struct record *r = mem_alloc(e->mem, sizeof *r);
	struct buf b;

	r->kind = (uint8_t)kind;
	r->plan = replica_applied(e->rp);
	r->payload = payload->data;
	r->payload_bytes = (uint32_t)payload->size;
	buf_init(&b, e->mem);
	record_encode(r, &b);
	take(e, r, false, b.data, b.size);
	buf_fini(&b);
	mem_free(e->mem, r, sizeof *r);
}

void leader_join(struct engine *e, const void *payload, size_t bytes)
{
	struct join_payload join;
	struct buf b;

	if (!leading(e) || join_decode(payload, bytes, &join) != ST_OK)
		return;
	if (replica_log_id(e->rp) && join.log_id != replica_log_id(e->rp) && join.log_id)
		return;
	if (replica_member_by_nonce(e->rp, join.nonce))
		return;
	for (size_t i = 0; i < e->leader.joining.count; i++)
		if (e->leader.joining.at[i] == join.nonce)
			return;
	join.log_id = replica_log_id(e->rp) ? replica_log_id(e->rp) : e->recovered.identity.log_id;
	VEC_PUSH(e->mem, &e->leader.joining, join.nonce);
	buf_init(&b, e->mem);
	join_encode(&b, &join);
	propose_own(e, REC_JOIN, &b);
	buf_fini(&b);
}

void leader_remove(struct engine *e, engine_id who, enum remove_cause cause)
{
	struct remove_payload p = {.engine = who, .cause = (uint8_t)cause};
	struct buf b;

	if (!leading(e) || !replica_member(e->rp, who))
		return;
	for (size_t i = 0; i < e->leader.removing.count; i++)
		if (e->leader.removing.at[i] == who)
			return;
	VEC_PUSH(e->mem, &e->leader.removing, who);
	buf_init(&b, e->mem);
	remove_encode(&b, &p);
	propose_own(e, REC_REMOVE, &b);
	buf_fini(&b);
}

void leader_suspect(struct engine *e, engine_id reporter, engine_id who, const char *cause)
{
	struct report *r = map_find(&e->leader.reports, who);
	bool refused = strstr(cause, "refused") != NULL;

	if (who == e->self || !replica_member(e->rp, reporter))
		return;
	if (!leading(e)) {
		if (refused && e->seq && seq_role(e->seq) == SEQ_LEADER && replica_member(e->rp, who))
			member_note_refused(e, who); /* removed when it may */
		return;
	}
	/* silent towards one, but not towards us: its other path works, it is not dead */
	if (!refused && r && engine_now(e) - r->at_us < e->cfg.heartbeat_limit_us / 2)
		return;
	leader_remove(e, who, refused ? REMOVE_LINK : REMOVE_SILENT);
}

void leader_applied(struct engine *e, const struct record *r, enum verdict v)
{
	const struct member *m;
	struct remove_payload p;
	struct join_payload join;
	size_t kept = 0;

	if (!leading(e))
		return;
	if (r->kind == REC_JOIN && join_decode(r->payload, r->payload_bytes, &join) == ST_OK) {
		/* while it is a member the root keeps its nonce; once removed, unheard, it asks again under the same one */
		for (size_t i = 0; i < e->leader.joining.count; i++)
			if (e->leader.joining.at[i] != join.nonce)
				e->leader.joining.at[kept++] = e->leader.joining.at[i];
		e->leader.joining.count = kept;
		kept = 0;
	}
	if (r->kind == REC_JOIN && v == VERDICT_OK) { /* its time starts now, not with our leadership */
		m = replica_member_at(e->rp, replica_member_count(e->rp) - 1);
		leader_report(e, m->id, r->index, r->index);
	}
	if (r->kind == REC_COMMIT || r->kind == REC_ABORT) {
		struct sent_parts *sent = map_find2(&e->leader.parts, r->engine, r->txn);

		if (sent && v != VERDICT_DUP)
			sent_parts_free(e, sent);
	}
	if (r->kind != REC_REMOVE || remove_decode(r, &p) != ST_OK)
		return;
	LIST_FOREACH_SAFE(it, tmp, &e->leader.parts_all)
		if (CONTAINER_OF(it, struct sent_parts, all)->engine == p.engine)
			sent_parts_free(e, CONTAINER_OF(it, struct sent_parts, all));
	for (size_t i = 0; i < e->leader.removing.count; i++)
		if (e->leader.removing.at[i] != p.engine)
			e->leader.removing.at[kept++] = e->leader.removing.at[i];
	e->leader.removing.count = kept;
}

/* -- horizon (P19) ------------------------------------------------------------------------------------------------ */

void leader_report(struct engine *e, engine_id from, seq_index applied, seq_index need)
{
	struct report *r;

	if (!leading(e) || !replica_member(e->rp, from))
		return;
	r = map_find(&e->leader.reports, from);
	if (!r) {
		r = MEM_NEW(e->mem, struct report);
		r->engine = from;
		map_put(&e->leader.reports, from, r);
		VEC_PUSH(e->mem, &e->leader.reports_all, r);
	}
	r->applied = applied;
	r->need = need;
	r->at_us = engine_now(e);
}

static seq_index least_need(struct engine *e)
{
	seq_index least = replica_applied(e->rp);

	for (uint32_t i = 0; i < replica_member_count(e->rp); i++) {
		const struct member *m = replica_member_at(e->rp, i);
		const struct report *r = map_find(&e->leader.reports, m->id);
		seq_index need = m->id == e->self ? txns_need(e->txns) : r ? r->need : m->joined;

		if (need < least)
			least = need;
	}
	return least > e->leader.horizon ? least : e->leader.horizon;
}

/* -- batches -------------------------------------------------------------------------------------------------------- */

static size_t records_within(const struct buf *b, size_t limit, uint32_t *count_out)
{
	struct reader r = reader_init(b->data, b->size);
	size_t end = 0;

	*count_out = 0;
	while (reader_left(&r)) {
		uint32_t header = get_u32(&r), payload = get_u32(&r);

		(void)get_u32(&r);
		(void)get_u32(&r);
		(void)get_raw(&r, (size_t)header + payload);
		ASSERT(reader_ok(&r));
		if (end && (size_t)(r.p - b->data) > limit)
			break;
		end = (size_t)(r.p - b->data);
		++*count_out;
	}
	return end;
}

static void make_batch(struct engine *e)
{
	struct leader *l = &e->leader;
	uint64_t wall = clock_wall_us(&e->clock), pos;
	uint32_t count;
	size_t bytes = records_within(&l->pending, BATCH_BYTES, &count);
	seq_index horizon = least_need(e);
	enum status st;
	struct buf b;

	if (wall < l->wall_us)
		wall = l->wall_us; /* never decreasing */
	buf_init(&b, e->mem);
	batch_begin(&b, l->next_index, wall, horizon, e->self);
	batch_add(&b, l->pending.data, bytes);
	batch_end(&b, 0);
	if (receipts_wanted(e, l->next_index + count - 1))
		seq_want_receipt(e->seq);
	st = seq_propose(e->seq, engine_now(e), SEQ_BATCH, b.data, b.size, &pos);
	buf_fini(&b);
	if (st)
		return; /* too much in flight, or not the leader any more */
	l->wall_us = wall;
	l->horizon = horizon;
	receipts_proposed(e, l->next_index + count - 1, horizon, pos);
	l->next_index += count;
	l->pending_count -= count;
	buf_consume(&l->pending, bytes);
	e->batches_made++;
}

static void add_voter(struct engine *e)
{
	struct seq_voters next;
	const struct seq_voters *now = seq_current_voters(e->seq);
	struct buf b;

	for (uint32_t i = 0; i < replica_member_count(e->rp); i++) {
		const struct member *m = replica_member_at(e->rp, i);
		uint32_t k = 0;

		if (m->kind != ENGINE_ARCHIVE || !m->join.voter_id)
			continue;
		while (k < now->count && now->at[k].id != m->join.voter_id)
			k++;
		if (k < now->count && !strcmp(now->at[k].address, m->join.address))
			continue;
		if (k == now->count && now->count >= SEQ_VOTERS_MAX)
			continue;
		next = *now;
		next.at[k].id = m->join.voter_id;
		snprintf(next.at[k].address, sizeof next.at[k].address, "%s", m->join.address);
		if (k == next.count) {
			next.at[k].votes = false;
			next.count++;
		}
		buf_init(&b, e->mem);
		batch_begin(&b, 0, 0, 0, e->self);
		batch_end(&b, 0);
		if (seq_change_voters(e->seq, engine_now(e), &next, b.data, b.size) == ST_OK)
			log_event(e->log, LOG_SEQUENCER, LOG_INFO, "voter added", "voter=%llu address=%s",
				  (unsigned long long)m->join.voter_id, m->join.address);
		buf_fini(&b);
		return; /* one at a time */
	}
}

/* Is it there to confirm an entry? Its engine is a member, or the one that left last and waits for the end of its vote. */
static bool voter_there(const struct engine *e, uint64_t voter)
{
	size_t n = e->left_voters.count;

	return replica_member_by_voter(e->rp, voter) || (n && e->left_voters.at[n - 1] == voter);
}

static enum status propose_without(struct engine *e, const struct seq_voter *gone, const struct seq_voters *next,
				   const char *cause)
{
	enum status st;
	struct buf b;

	buf_init(&b, e->mem);
	batch_begin(&b, 0, 0, 0, e->self);
	batch_end(&b, 0);
	st = seq_change_voters(e->seq, engine_now(e), next, b.data, b.size);
	buf_fini(&b);
	if (st == ST_OK)
		log_event(e->log, LOG_SEQUENCER, LOG_INFO, "voter removed", "voter=%llu address=%s cause=%s voting=%u",
			  (unsigned long long)gone->id, gone->address, cause, seq_voting(next));
	return st;
}

/*
 * Votes of archives that left cleanly end when the others would have no majority without them: those that left first go
 * first. Each list must have a majority that is there, or it could not be committed. An archive that failed keeps its
 * vote: it may have what nobody else has.
 */
static bool drop_voter(struct engine *e)
{
	const struct seq_voters *now = seq_current_voters(e->seq);
	struct seq_voters next = {.count = 0};
	uint32_t members = 0, there = 0;
	struct seq_voter gone;
	size_t at = 0;

	while (at < e->left_voters.count && !seq_voters_find(now, e->left_voters.at[at], &gone))
		at++;
	if (at == e->left_voters.count)
		return false;
	for (uint32_t i = 0; i < now->count; i++) {
		const struct seq_voter *v = &now->at[i];

		members += v->votes && replica_member_by_voter(e->rp, v->id);
		if (v->id == gone.id)
			continue;
		there += v->votes && voter_there(e, v->id);
		next.at[next.count++] = *v;
	}
	if (gone.votes && (members * 2 > seq_voting(now) || there * 2 <= seq_voting(&next)))
		return false;
	(void)propose_without(e, &gone, &next, "left");
	return true;
}

/* What must hold for an operator's word to be enough: else the voter's disk may be needed, or nobody could commit its removal. */
static enum status removable(struct engine *e, const struct seq_voter *v, const struct seq_voters *next, struct error *err)
{
	uint32_t there = 0;

	if (replica_member_by_voter(e->rp, v->id)) {
		error_set(err, ST_STATE, "the archive of voter %llu is a member of the cluster", (unsigned long long)v->id);
		error_hint(err, "stop it first (SIGTERM), or wait until it is removed");
		return ST_STATE;
	}
	for (uint32_t i = 0; i < next->count; i++)
		there += next->at[i].votes && replica_member_by_voter(e->rp, next->at[i].id);
	if (v->votes && there * 2 <= seq_voting(next)) {
		error_set(err, ST_STATE, "of the %u voters that would be left only %u are there: no majority", seq_voting(next),
			  there);
		error_hint(err, "start the other archives first");
		return ST_STATE;
	}
	return ST_OK;
}

/*
 * An archive that failed keeps its vote, because it may have what nobody else has; that it is lost for good only an operator can
 * know. Nothing that was acknowledged is lost with it: that is with a majority, which goes on.
 */
enum status leader_remove_voter(void *ctx, uint64_t voter, uint64_t *under_way, struct error *err)
{
	struct engine *e = ctx;
	const struct seq_voters *now;
	struct seq_voters next = {.count = 0};
	struct seq_voter v;
	enum status st;

	if (!leading(e)) {
		const struct member *m = replica_member(e->rp, e->leader_id);

		*under_way = 0;
		error_set(err, ST_STATE, "voters are removed on the archive that leads");
		if (m)
			error_hint(err, "connect to %s (%s)", m->join.sql_address, m->join.name);
		return ST_STATE;
	}
	now = seq_current_voters(e->seq);
	if (!seq_voters_find(now, voter, &v)) {
		if (*under_way == voter && seq_voters_settled(e->seq)) {
			*under_way = 0;
			return ST_OK;
		}
		if (*under_way == voter)
			return ST_WAIT;
		return error_set(err, ST_BAD_PARAMETER, "there is no voter %llu", (unsigned long long)voter);
	}
	for (uint32_t i = 0; i < now->count; i++)
		if (now->at[i].id != voter)
			next.at[next.count++] = now->at[i];
	st = removable(e, &v, &next, err);
	if (st)
		return st;
	st = propose_without(e, &v, &next, "operator");
	if (st == ST_OK)
		*under_way = voter;
	return st == ST_OK || st == ST_STATE || st == ST_AGAIN ? ST_WAIT : /* a change is under way */
	       error_set(err, st, "the voter cannot be removed: %s", status_text(st));
}

bool leader_hand_over(struct engine *e)
{
	const struct seq_voters *now = seq_current_voters(e->seq);

	for (uint32_t i = 0; i < now->count; i++) {
		const struct member *m = replica_member_by_voter(e->rp, now->at[i].id);
		bool leaves = false;

		if (!now->at[i].votes || !m || m->id == e->self)
			continue;
		for (size_t k = 0; k < e->leader.removing.count; k++)
			leaves = leaves || e->leader.removing.at[k] == m->id;
		if (leaves)
			continue;
		if (seq_transfer(e->seq, engine_now(e), now->at[i].id) == ST_OK)
			log_event(e->log, LOG_SEQUENCER, LOG_INFO, "handing over", "voter=%llu",
				  (unsigned long long)now->at[i].id);
		return true; /* or it is under way already */
	}
	return e->leader.removing.count && e->leader.removing.at[0] != e->self; /* those who leave go first */
}

void leader_turn(struct engine *e)
{
	maybe_activate(e);
	if (!leading(e))
		return;
	while (e->leader.pending_count && seq_in_flight(e->seq) < BATCHES_IN_FLIGHT) {
		uint32_t before = e->leader.pending_count;

		make_batch(e);
		if (e->leader.pending_count == before || !leading(e))
			break;
	}
	if (leading(e))
		receipts_turn(e);
}

/* An engine that reports no more is gone, whether or not somebody lost a link to it (P24). */
void leader_tick(struct engine *e)
{
	uint64_t now = engine_now(e), limit = e->cfg.heartbeat_limit_us;

	if (!leading(e))
		return;
	if (!drop_voter(e))
		add_voter(e);
	for (uint32_t i = 0; i < replica_member_count(e->rp); i++) {
		const struct member *m = replica_member_at(e->rp, i);
		const struct report *r = map_find(&e->leader.reports, m->id);

		if (m->id == e->self)
			continue;
		if (r ? now - r->at_us > REPORT_LIMIT * limit : now - e->leader.since_us > SETTLE_LIMIT * limit)
			leader_remove(e, m->id, REMOVE_SILENT);
	}
}
