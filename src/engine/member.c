/*
 * member.c - becoming a member, staying one, leaving (engine; P23, P24).
 *
 * A cache asks any member to join: the answer brings the root, the log follows from there, and when the own join record
 * (known by its nonce) is applied, the engine has an id. An archive gets the log from consensus, from its beginning or its
 * checkpoint; it asks the leader to let it join once it is caught up enough to know that it is no member.
 * An engine that finds itself removed ends what was open under its old id, forgets its copies (a cache) and joins
 * again; sessions stay.
 */
#include "base/cover.h"
#include "engine/engine_int.h"

#include <stdio.h>

#define JOIN_RETRY_US 1000000
#define REPORT_US 50000
#define LEAVE_TOGETHER_US 200000 /* a leader that leaves hears first who else does */
#define LEAVE_VOTE_US 3000000    /* how long one that left waits for the end of its vote */

static void join_blob(struct engine *e, struct buf *b)
{
	put_u8(b, e->archive);
	put_u64(b, e->archive && e->store ? e->recovered.identity.log_id : replica_log_id(e->rp));
	join_encode(b, &e->me);
}

/* -- asking ---------------------------------------------------------------------------------------------------- */

/* A voter without an id asks the leader, over the voters' links or in its own process. */
static void voter_join(struct engine *e)
{
	uint64_t leader = seq_leader(e->seq);
	struct buf b;

	if (!leader || engine_now(e) - e->join_sent_us < JOIN_RETRY_US / 4)
		return;
	e->join_sent_us = engine_now(e);
	buf_init(&b, e->mem);
	if (leader == e->me.voter_id) {
		join_encode(&b, &e->me);
		leader_join(e, b.data, b.size);
	} else {
		put_u8(&b, VOTER_JOIN);
		join_encode(&b, &e->me);
		relay_voter_send(e->relay, leader, b.data, b.size);
	}
	buf_fini(&b);
}

#define ASK_MAX 64

struct ask { uint32_t count; char at[ASK_MAX][128]; };

/* Whom to ask: the members as far as known, and those that the operator named. */
static void ask_gather(struct engine *e, struct ask *ask)
{
	ask->count = 0;
	for (uint32_t i = 0; i < replica_member_count(e->rp) && ask->count < ASK_MAX * 3 / 4; i++) {
		const struct member *m = replica_member_at(e->rp, i);

		if (strcmp(m->join.address, e->me.address) != 0)
			snprintf(ask->at[ask->count++], sizeof ask->at[0], "%s", m->join.address);
	}
	for (uint32_t i = 0; i < e->voters.count && ask->count < ASK_MAX; i++)
		if (e->voters.at[i].id != e->me.voter_id)
			snprintf(ask->at[ask->count++], sizeof ask->at[0], "%s", e->voters.at[i].address);
	for (uint32_t i = 0; i < e->contact_count && ask->count < ASK_MAX; i++)
		snprintf(ask->at[ask->count++], sizeof ask->at[0], "%s", e->contacts[i]);
}

static void ask_send(struct engine *e, const struct ask *ask)
{
	const char *contacts[ASK_MAX];
	struct buf b;

	for (uint32_t i = 0; i < ask->count; i++)
		contacts[i] = ask->at[i];
	buf_init(&b, e->mem);
	join_blob(e, &b);
	relay_join(e->relay, contacts, ask->count, b.data, b.size);
	buf_fini(&b);
	e->join_sent_us = engine_now(e);
}

void member_start(struct engine *e)
{
	struct buf b;

	e->nonce = rng_next(&e->rng) | 1;
	e->me.nonce = e->nonce;
	snprintf(e->me.address, sizeof e->me.address, "%s", relay_address(e->relay));
	if (e->seq && !archive_votes(e)) { /* its vote ended when it left: nobody writes to it until it has joined */
		struct ask ask;

		ask_gather(e, &ask);
		ask_send(e, &ask);
		return;
	}
	if (e->seq || !e->contact_count)
		return; /* consensus first; then the leader is asked */
	buf_init(&b, e->mem);
	join_blob(e, &b);
	relay_join(e->relay, (const char *const *)e->contacts, e->contact_count, b.data, b.size);
	buf_fini(&b);
}

/* All that was known of the log: it comes anew. */
void member_forget(struct engine *e)
{
	txns_replica_reset(e->txns);
	e->rp = txns_replica(e->txns);
	e->applying = NULL;
	e->have_record = e->paused = false;
	pull_reset(e);
	e->interest_version = UINT64_MAX;
	window_reset(&e->window, 1);
}

void member_rejoin(struct engine *e)
{
	struct ask ask;

	log_event(e->log, LOG_ENGINE, LOG_WARN, "joining again", "was=%llu", (unsigned long long)e->self);
	COVER(REJOIN);
	ask_gather(e, &ask);
	e->self = 0;
	e->state = ENGINE_JOINING;
	e->nonce = rng_next(&e->rng) | 1;
	e->me.nonce = e->nonce;
	txns_set_self(e->txns, 0);
	relay_set_self(e->relay, 0, e->me.voter_id);
	if (e->archive)
		return; /* goes on following the log as a voter; voter_join() asks */
	member_forget(e);
	ask_send(e, &ask);
}

/* -- answering ------------------------------------------------------------------------------------------------------- */

static void refuse(struct engine *e, struct relay_peer_ref from, const char *why)
{
	relay_join_reply(e->relay, from, false, why, strlen(why));
}

static void forward_join(struct engine *e, const struct join_payload *join)
{
	struct buf b;

	buf_init(&b, e->mem);
	put_u8(&b, MSG_JOIN);
	join_encode(&b, join);
	relay_send(e->relay, ENGINE_LEADER, b.data, b.size);
	buf_fini(&b);
}

/* log id, applied index, voters; then the root image for a cache */
static void on_join_request(void *ctx, struct relay_peer_ref from, const void *data, size_t bytes)
{
	struct engine *e = ctx;
	struct reader r = reader_init(data, bytes);
	bool archive = get_u8(&r) != 0;
	uint64_t log_id = get_u64(&r);
	struct join_payload join;
	const struct atom_head *image;
	size_t image_bytes;
	struct buf b;

	if (r.bad || join_decode(r.p, reader_left(&r), &join) != ST_OK) {
		refuse(e, from, "malformed join request");
		return;
	}
	if (log_id && replica_log_id(e->rp) && log_id != replica_log_id(e->rp)) {
		refuse(e, from, "this is another cluster");
		return;
	}
	if (!e->self || e->state != ENGINE_READY || e->have_record) {
		refuse(e, from, "not a member of the cluster yet");
		return;
	}
	for (uint32_t i = 0; i < replica_member_count(e->rp); i++) {
		const struct member *m = replica_member_at(e->rp, i);

		if (!strcmp(m->join.name, join.name) && m->join.nonce != join.nonce &&
		    strcmp(m->join.address, join.address) && !join.voter_id) {
			refuse(e, from, "another member has this name");
			return;
		}
		if (!strcmp(m->join.address, join.address) && m->join.nonce != join.nonce && !m->join.voter_id &&
		    m->id != e->self) {
			/* its address answers for somebody else now: the old incarnation is gone */
			struct buf s;

			buf_init(&s, e->mem);
			put_u8(&s, MSG_SUSPECT);
			put_u64(&s, m->id);
			put_str(&s, "replaced: address refused to the old incarnation");
			relay_send(e->relay, ENGINE_LEADER, s.data, s.size);
			buf_fini(&s);
		}
	}
	buf_init(&b, e->mem);
	put_u64(&b, replica_log_id(e->rp));
	put_u64(&b, replica_applied(e->rp));
	member_voters_encode(e, &b);
	if (!archive) {
		image = frame_image_ref(atom_find(replica_store(e->rp), ATOM_ID_ROOT), &image_bytes);
		buf_put(&b, image, image_bytes);
		atom_image_unref(replica_store(e->rp), image);
	}
	relay_join_reply(e->relay, from, true, b.data, b.size);
	buf_fini(&b);
	forward_join(e, &join);
}

/* Known to every engine from the members: archives with a voter id. */
void member_voters_encode(struct engine *e, struct buf *b)
{
	struct seq_voters v = {.count = 0};

	for (uint32_t i = 0; i < replica_member_count(e->rp) && v.count < SEQ_VOTERS_MAX; i++) {
		const struct member *m = replica_member_at(e->rp, i);

		if (m->kind != ENGINE_ARCHIVE || !m->join.voter_id)
			continue;
		v.at[v.count].id = m->join.voter_id;
		v.at[v.count].votes = true;
		snprintf(v.at[v.count].address, sizeof v.at[v.count].address, "%s", m->join.address);
		v.count++;
	}
	seq_voters_encode(&v, b);
}

static void on_join_reply(void *ctx, bool accepted, const void *data, size_t bytes)
{
	struct engine *e = ctx;
	struct reader r = reader_init(data, bytes);
	uint64_t log_id, as_of;
	struct seq_voters voters;

	if (!accepted) {
		error_set(&e->error, ST_NOT_MEMBER, "refused: %.*s", (int)(bytes < 200 ? bytes : 200),
			  (const char *)data);
		log_event(e->log, LOG_ENGINE, LOG_WARN, "join refused", "cause=%s", e->error.message);
		return;
	}
	log_id = get_u64(&r);
	as_of = get_u64(&r);
	if (r.bad || !seq_voters_decode(&r, &voters))
		return;
	e->join_sent_us = engine_now(e);
	if (e->archive) {
		archive_joined(e, log_id, &voters);
		return;
	}
	if (e->self)
		return;
	txns_replica_reset(e->txns);
	e->rp = txns_replica(e->txns);
	e->applying = NULL;
	e->have_record = e->paused = false;
	pull_reset(e);
	e->interest_version = UINT64_MAX;
	if (replica_install_root(e->rp, r.p, reader_left(&r), as_of) != ST_OK) {
		log_event(e->log, LOG_ENGINE, LOG_ERROR, "damaged root in a join reply", "bytes=%llu",
			  (unsigned long long)bytes);
		return;
	}
	window_reset(&e->window, as_of + 1);
	if (replica_member_by_nonce(e->rp, e->nonce)) /* the record of an earlier request is in it */
		e->self_pending = replica_member_by_nonce(e->rp, e->nonce)->id;
	relay_set_log_id(e->relay, log_id);
	member_update_relay(e);
	relay_join_stream(e->relay);
	e->kicked = true;
}

/* -- the log's word on membership -------------------------------------------------------------------------------------- */

void member_update_relay(struct engine *e)
{
	uint32_t n = replica_member_count(e->rp);
	struct relay_member *list = mem_alloc(e->mem, (n ? n : 1) * sizeof *list);

	for (uint32_t i = 0; i < n; i++) {
		const struct member *m = replica_member_at(e->rp, i);

		list[i].id = m->id;
		list[i].voter_id = m->join.voter_id;
		snprintf(list[i].address, sizeof list[i].address, "%s", m->join.address);
		snprintf(list[i].location, sizeof list[i].location, "%s", m->join.location);
	}
	relay_set_members(e->relay, list, n, replica_applied(e->rp));
	mem_free(e->mem, list, (n ? n : 1) * sizeof *list);
}

static void left_voters_remove(struct engine *e, uint64_t voter)
{
	size_t kept = 0;

	for (size_t i = 0; i < e->left_voters.count; i++)
		if (e->left_voters.at[i] != voter)
			e->left_voters.at[kept++] = e->left_voters.at[i];
	e->left_voters.count = kept;
}

void member_joined(struct engine *e, const struct member *m)
{
	log_event(e->log, LOG_ENGINE, LOG_INFO, "member joined", "id=%llu name=%s address=%s",
		  (unsigned long long)m->id, m->join.name, m->join.address);
	e->members_changed = true;
	left_voters_remove(e, m->join.voter_id);
	if (m->join.nonce != e->nonce)
		return;
	e->self_pending = m->id;
}

void member_removed(struct engine *e, const struct member *m, uint8_t cause)
{
	struct failover *f = &e->failovers[e->failover_count++ % FAILOVERS_KEPT];
	void *noticed = map_remove(&e->noticed, m->id);
	size_t kept = 0;

	for (size_t i = 0; i < e->refused.count; i++)
		if (e->refused.at[i] != m->id)
			e->refused.at[kept++] = e->refused.at[i];
	e->refused.count = kept;
	if (e->archive && m->join.voter_id && cause == REMOVE_LEFT) {
		left_voters_remove(e, m->join.voter_id);
		VEC_PUSH(e->mem, &e->left_voters, m->join.voter_id);
	}
	memset(f, 0, sizeof *f);
	snprintf(f->cause, sizeof f->cause, "%s", remove_cause_name(cause));
	f->engine = m->id;
	f->index = replica_applied(e->rp) + 1;
	f->noticed = noticed != NULL;
	f->noticed_us = noticed ? (uint64_t)(uintptr_t)noticed - 1 : engine_now(e);
	f->took_us = engine_now(e) - f->noticed_us;
	f->noticed_wall_us = clock_wall_us(&e->clock) - f->took_us;
	LIST_FOREACH(it, atom_all(replica_store(e->rp))) {
		const struct frame *fr = CONTAINER_OF(it, struct frame, all);
		struct hold h;
		atom_id need;

		if (fr->id != ATOM_ID_ROOT && replica_hold(e->rp, fr->id, &h, &need) == ST_OK &&
		    h.originator == m->id && replica_originator(e->rp, &h) == e->self)
			f->atoms++;
	}
	log_event(e->log, LOG_ENGINE, LOG_INFO, "member removed", "id=%llu name=%s cause=%s promoted=%llu us=%llu",
		  (unsigned long long)m->id, m->join.name, f->cause, (unsigned long long)f->atoms,
		  (unsigned long long)f->took_us);
	COVER(REMOVED);
	COVER_IF(f->atoms, PROMOTION);
	e->members_changed = true;
	if (m->id == e->self && e->self) {
		e->self_removed = true;
		e->self_removed_cause = cause;
	}
	if (m->id == e->self_pending && e->self_pending) { /* joined and removed within one turn: it must join anew */
		e->self_pending = 0;
		e->self_removed = true;
		e->self_removed_cause = cause;
	}
}

/* Its removal is in the log; an archive's vote may have to go too. */
static void leave_end(struct engine *e)
{
	static const char *const names[] = {"waited for in vain", "removed", "kept", "kept: it is the last"};
	enum vote_end vote = e->seq ? archive_vote_end(e) : VOTE_REMOVED;

	if (e->state == ENGINE_LEFT || (vote == VOTE_WAITS && engine_now(e) - e->left_at_us < LEAVE_VOTE_US))
		return;
	e->state = ENGINE_LEFT;
	if (!e->seq)
		return;
	log_event(e->log, LOG_ENGINE, vote == VOTE_WAITS ? LOG_WARN : LOG_INFO, "left", "vote=%s voting=%u", names[vote],
		  seq_voting(seq_current_voters(e->seq)));
	if (vote == VOTE_WAITS)
		log_event(e->log, LOG_ENGINE, LOG_WARN, "no commits without this archive", "hint=start it again: %s",
			  "the other voters that run are no majority");
}

/*
 * Another one leads: what the last one had taken and not proposed is gone with it (P4), and what it was told of the dead. A
 * voter knows from consensus (archive.c), others from the next batch, or from here if there is none.
 */
static void leader_turns_up(struct engine *e)
{
	engine_id heard = relay_leader(e->relay);

	if (heard == e->leader_heard)
		return;
	e->leader_heard = heard;
	if (!heard || heard == e->self)
		return;
	if (!e->archive && heard != e->leader_id) {
		e->leader_id = heard;
		e->resubmit = true;
	}
	member_tell_refused(e);
}

/* After apply: what membership records said of this engine. */
void member_turn(struct engine *e)
{
	leader_turns_up(e);
	if (e->members_changed) {
		e->members_changed = false;
		member_update_relay(e);
		if (e->seq) {
			const struct member *m = replica_member_by_voter(e->rp, seq_leader(e->seq));

			e->leader_id = m ? m->id : 0;
			relay_set_leader(e->relay, e->leader_id);
		}
	}
	if (e->self_removed) {
		e->self_removed = false;
		if (e->leaving) {
			e->left_at_us = engine_now(e);
			leave_end(e);
			return;
		}
		/* an archive that joined anew has its next id already */
		if (!e->self_pending)
			member_rejoin(e);
	}
	if (e->self_pending) {
		e->self = e->self_pending;
		e->self_pending = 0;
		e->was_member = true;
		txns_set_self(e->txns, 0);
		txns_set_self(e->txns, e->self);
		relay_set_self(e->relay, e->self, e->me.voter_id);
		relay_set_log_id(e->relay, replica_log_id(e->rp));
		e->state = e->leaving ? ENGINE_LEAVING : ENGINE_READY;
		error_clear(&e->error);
		log_event(e->log, LOG_ENGINE, LOG_INFO, "member", "id=%llu index=%llu", (unsigned long long)e->self,
			  (unsigned long long)replica_applied(e->rp));
		e->report_at_us = 0;
		e->kicked = true;
	}
}

static void send_report(struct engine *e)
{
	struct buf b;

	buf_init(&b, e->mem);
	put_u8(&b, MSG_REPORT);
	put_u64(&b, replica_applied(e->rp));
	put_u64(&b, txns_need(e->txns));
	relay_send(e->relay, ENGINE_LEADER, b.data, b.size);
	buf_fini(&b);
}

static void send_leave(struct engine *e)
{
	struct buf b;

	if (!e->leave_since_us)
		e->leave_since_us = engine_now(e);
	if (engine_is_leader(e)) { /* the next one needs this voter's yes: hand over while there is one */
		if (engine_now(e) - e->leave_since_us >= LEAVE_TOGETHER_US && !leader_hand_over(e))
			leader_remove(e, e->self, REMOVE_LEFT);
		return;
	}
	buf_init(&b, e->mem);
	put_u8(&b, MSG_LEAVE);
	relay_send(e->relay, ENGINE_LEADER, b.data, b.size);
	buf_fini(&b);
}

void member_tick(struct engine *e)
{
	uint64_t now = engine_now(e);

	if (e->self && now >= e->report_at_us) {
		e->report_at_us = now + REPORT_US;
		if (!engine_is_leader(e))
			send_report(e);
	}
	if (e->left_at_us)
		leave_end(e);
	else if (e->leaving && e->self && txns_idle(e->txns))
		send_leave(e);
	if (e->leaving && !e->self)
		e->state = ENGINE_LEFT;
	if (!e->self && e->seq && !e->leaving)
		voter_join(e);
	if (!e->self && !e->leaving && now - e->join_sent_us > JOIN_RETRY_US &&
	    (e->archive ? (e->seq ? !seq_leader(e->seq) : state_take_asks(e)) : replica_applied(e->rp) != 0)) {
		/*
		 * The answer came, the record did not: the contact knew no leader, or that one lost its office. Asked
		 * again under the same nonce: should both records come, the second is of no effect. An archive may not
		 * even know that its vote was removed behind its back, and nobody writes to it: a member tells the leader.
		 */
		struct ask ask;

		ask_gather(e, &ask);
		ask_send(e, &ask);
	}
}

/* -- messages ---------------------------------------------------------------------------------------------------------- */

static void on_latest(struct engine *e, engine_id from, struct reader *r)
{
	struct latest_ask a = {.engine = from, .request = get_u64(r)};

	if (r->bad || !engine_is_leader(e))
		return;
	a.id = ++e->next_latest;
	VEC_PUSH(e->mem, &e->latest, a);
	if (seq_read_index(e->seq, engine_now(e), a.id) != ST_OK && e->latest.count &&
	    e->latest.at[e->latest.count - 1].id == a.id)
		e->latest.count--;
}

static void on_message(void *ctx, engine_id from, const void *data, size_t bytes)
{
	struct engine *e = ctx;
	struct reader r = reader_init(data, bytes);
	uint8_t type = get_u8(&r);
	engine_id who;
	size_t n;
	const uint8_t *text;
	char cause[64];
	uint64_t applied;

	e->kicked = true;
	switch (type) {
	case MSG_SUBMIT:
		leader_submit(e, from, &r, false);
		break;
	case MSG_SUBMIT_TELL:
		leader_submit(e, from, &r, true);
		break;
	case MSG_JOIN:
		leader_join(e, r.p, reader_left(&r));
		break;
	case MSG_SUSPECT:
		who = get_u64(&r);
		text = get_bytes(&r, &n);
		if (r.bad)
			break;
		snprintf(cause, sizeof cause, "%.*s", (int)(n < 63 ? n : 63), (const char *)text);
		leader_suspect(e, from, who, cause);
		break;
	case MSG_REPORT:
		applied = get_u64(&r);
		leader_report(e, from, applied, get_u64(&r));
		break;
	case MSG_LEAVE:
		leader_remove(e, from, REMOVE_LEFT);
		break;
	case MSG_LATEST:
		on_latest(e, from, &r);
		break;
	case MSG_PAYLOADS:
		pull_asked(e, from, &r);
		break;
	case MSG_PAYLOAD:
		pull_answered(e, from, &r);
		break;
	default:
		txns_message(e->txns, from, data, bytes);
	}
}

static void on_log_batch(void *ctx, const void *data, size_t bytes)
{
	struct engine *e = ctx;

	if (!e->archive)
		log_receive(e, data, bytes, 0);
}

static void on_log_gone(void *ctx)
{
	struct engine *e = ctx;

	if (!e->archive)
		member_rejoin(e);
}

static void on_voter_message(void *ctx, uint64_t voter_id, const void *data, size_t bytes)
{
	struct engine *e = ctx;
	struct reader r = reader_init(data, bytes);
	uint8_t type = get_u8(&r);

	e->kicked = true;
	if (type == VOTER_STATE_HEAD || type == VOTER_STATE_PART || type == VOTER_STATE_GONE) {
		state_take_message(e, voter_id, type, &r);
		return;
	}
	if (!e->seq)
		return;
	if (type == VOTER_STATE_ASK || type == VOTER_STATE_GET || type == VOTER_STATE_END) {
		state_send_message(e, voter_id, type, &r);
		return;
	}
	if (type == VOTER_RAFT)
		seq_message(e->seq, engine_now(e), voter_id, r.p, reader_left(&r));
	else if (type == VOTER_JOIN)
		leader_join(e, r.p, reader_left(&r));
	e->kicked = true;
}

void member_note_refused(struct engine *e, engine_id who)
{
	for (size_t i = 0; i < e->refused.count; i++)
		if (e->refused.at[i] == who)
			return;
	VEC_PUSH(e->mem, &e->refused, who);
}

static void send_suspect(struct engine *e, engine_id who, const char *cause)
{
	struct buf b;

	buf_init(&b, e->mem);
	put_u8(&b, MSG_SUSPECT);
	put_u64(&b, who);
	put_str(&b, cause);
	relay_send(e->relay, ENGINE_LEADER, b.data, b.size);
	buf_fini(&b);
}

void member_tell_refused(struct engine *e)
{
	for (size_t i = 0; i < e->refused.count && e->self; i++)
		send_suspect(e, e->refused.at[i], "connection refused");
}

static void on_suspect(void *ctx, engine_id who, const char *cause)
{
	struct engine *e = ctx;
	const struct member *m = replica_member(e->rp, who);

	if (!m || !e->self)
		return;
	if (!map_find(&e->noticed, who))
		map_put(&e->noticed, who, (void *)(uintptr_t)(engine_now(e) + 1));
	log_event(e->log, LOG_RELAY, LOG_INFO, "suspect", "engine=%llu cause=%s", (unsigned long long)who, cause);
	if (strstr(cause, "refused"))
		member_note_refused(e, who);
	if (e->seq && m->join.voter_id && strstr(cause, "refused"))
		seq_peer_down(e->seq, engine_now(e), m->join.voter_id);
	if (engine_is_leader(e))
		leader_suspect(e, e->self, who, cause);
	else
		send_suspect(e, who, cause);
	e->kicked = true;
}

static void on_not_member(void *ctx)
{
	struct engine *e = ctx;

	if (e->archive || !e->self)
		return; /* an archive reads it in the log */
	if (e->leaving)
		e->state = ENGINE_LEFT;
	else
		member_rejoin(e);
}

static void on_moved(void *ctx)
{
	((struct engine *)ctx)->resubmit = true;
}

static void on_join_waiting(void *ctx, const char *cause)
{
	struct engine *e = ctx;
	struct error before = e->error;

	error_set(&e->error, ST_NOT_MEMBER, "no member of the cluster answers: %s", cause);
	if (strcmp(before.message, e->error.message) != 0)
		log_event(e->log, LOG_ENGINE, LOG_WARN, "waiting to join", "cause=%s", cause);
}

/* One that never was a member is wrongly configured: it says so and ends. Others may be the ones that are right. */
static void on_join_refused(void *ctx, const char *cause, const char *advice)
{
	struct engine *e = ctx;
	struct error err;

	if (e->was_member) {
		on_join_waiting(ctx, cause);
		return;
	}
	error_set(&err, ST_NOT_MEMBER, "the cluster refuses this engine: %s", cause);
	error_hint(&err, "%s", advice);
	engine_fail(e, &err);
}

static const void *on_log_get(void *ctx, seq_index from, const struct relay_interest *interest, size_t *bytes_out,
			      seq_index *first_out, seq_index *last_out)
{
	struct engine *e = ctx;
	struct logged *l = from <= replica_applied(e->rp) ? window_find(&e->window, from) : NULL;

	if (!l && e->archive)
		return catchup_get(e, from, bytes_out, first_out, last_out);
	if (!l || l->last > replica_applied(e->rp))
		return NULL;
	*first_out = l->first;
	*last_out = l->last;
	return interest_encode(e, l, interest, bytes_out);
}

static uint64_t on_log_variant(void *ctx, seq_index from, const struct relay_interest *interest)
{
	return interest_variant(ctx, from, interest);
}

/* Only what is applied here is given on, whole batches of it. */
static seq_index on_log_last(void *ctx)
{
	struct engine *e = ctx;
	seq_index applied = replica_applied(e->rp);
	struct logged *l = window_find(&e->window, applied);

	return l && l->last > applied ? l->first - 1 : applied;
}

static seq_index on_log_first(void *ctx)
{
	return catchup_first(ctx);
}

static seq_index on_log_want(void *ctx)
{
	return ((struct engine *)ctx)->window.next;
}

static void on_read(void *ctx, engine_id from, uint64_t token, const void *data, size_t bytes)
{
	txns_read(((struct engine *)ctx)->txns, from, token, data, bytes);
}

const struct relay_events member_relay_events = {
	.message = on_message,
	.log_batch = on_log_batch,
	.log_gone = on_log_gone,
	.voter_message = on_voter_message,
	.read = on_read,
	.suspect = on_suspect,
	.join_request = on_join_request,
	.join_reply = on_join_reply,
	.moved = on_moved,
	.not_member = on_not_member,
	.join_waiting = on_join_waiting,
	.join_refused = on_join_refused,
	.log_get = on_log_get,
	.log_variant = on_log_variant,
	.log_last = on_log_last,
	.log_first = on_log_first,
	.log_want = on_log_want,
};
