/*
 * replicate.c - the leader's side of replication (engine/sequencer).
 *
 * A follower is PROBEd until the place where its log parts from ours is known: one append, then an
 * empty one with each heartbeat until it answers. In the PIPELINE appends go out as entries come,
 * next moves on at once, and only what is not yet durable there is bounded. A lost append shows as
 * a refusal of the next or of a heartbeat: back to probing.
 *
 * Commit: the k-th largest durable position of those that vote, our own disk counted like any
 * other, and only from the first entry of this term on (Raft 5.4.2: an older entry on a majority
 * may still be replaced).
 */
#include "engine/sequencer/seq_int.h"

static void flight_clear(struct seq_peer *p)
{
	p->flight_head = p->flight_count = 0;
	p->flight_bytes = 0;
}

void seq_peer_reset(struct seq_peer *p)
{
	p->flow = SEQ_PROBE;
	p->paused = false;
	p->told_gone = false;
	p->sent_committed = 0;
	flight_clear(p);
}

void seq_leader_start(struct seq *s)
{
	uint64_t next = seq_log_last(&s->log) + 1;

	ASSERT(s->role == SEQ_CANDIDATE);
	ASSERT_OP(s->reads.count, ==, 0); /* failed when the last leadership ended */
	s->role = SEQ_LEADER;
	s->leader = s->cfg.self;
	s->fast_retries = 0;
	s->round = 0;
	s->transfer_to = 0;
	s->receipt_pos = 0;
	s->term_pos = next;
	s->beat_us = s->now_us + s->cfg.heartbeat_us;
	for (uint32_t i = 0; i < s->peer_count; i++) {
		struct seq_peer *p = &s->peers[i];

		seq_peer_reset(p);
		p->next = next;
		p->match = p->received = p->acked_round = 0;
		p->heard_us = s->now_us;
	}
	seq_report_role(s);
	buf_reset(&s->scratch);
	s->cfg.host->noop(s->cfg.ctx, &s->scratch);
	/*
	 * Short of memory it does not lead; the data is the host's own, so its size is not a peer's
	 * to choose.
	 */
	if (s->scratch.size > SEQ_ENTRY_MAX ||
	    !seq_log_append(s, s->term, SEQ_NOOP, s->scratch.data, s->scratch.size))
		seq_step_down(s, "no memory for its first entry");
	s->again = true;
}

void seq_leader_tick(struct seq *s)
{
	uint32_t heard = seq_self_votes(s);

	if (s->transfer_to != 0 && s->now_us >= s->transfer_us)
		s->transfer_to = 0;
	if (s->peer_count == 0 || s->now_us < s->beat_us)
		return;
	for (uint32_t i = 0; i < s->peer_count; i++) {
		struct seq_peer *p = &s->peers[i];

		p->beat_due = true;
		heard += p->votes && s->now_us - p->heard_us < s->cfg.election_us;
	}
	s->beat_us = s->now_us + s->cfg.heartbeat_us;
	s->transfer_told = false;
	if (heard < seq_quorum(s))
		seq_step_down(s, "no majority of voters answers");
}

enum counted { BY_MATCH, BY_RECEIVED, BY_ROUND };

static uint64_t count_of(const struct seq_peer *p, enum counted what)
{
	return what == BY_MATCH ? p->match : what == BY_RECEIVED ? p->received : p->acked_round;
}

/* The k-th largest of one number of each that votes, k a majority of them. */
static uint64_t majority_of(const struct seq *s, uint64_t own, enum counted what)
{
	uint64_t at[SEQ_PEERS_MAX + 1];
	uint32_t n = 0;

	if (seq_self_votes(s))
		at[n++] = own;
	for (uint32_t i = 0; i < s->peer_count; i++)
		if (s->peers[i].votes)
			at[n++] = count_of(&s->peers[i], what);
	if (n == 0)
		return 0;
	for (uint32_t i = 1; i < n; i++) { /* insertion sort, largest first */
		uint64_t v = at[i];
		uint32_t j = i;

		for (; j > 0 && at[j - 1] < v; j--)
			at[j] = at[j - 1];
		at[j] = v;
	}
	return at[n / 2];
}

bool seq_leader_commit(struct seq *s)
{
	uint64_t pos = majority_of(s, s->persisted_pos, BY_MATCH);

	if (pos <= s->committed_pos || pos < s->term_pos)
		return false;
	ASSERT_OP(pos, <=, seq_log_last(&s->log));
	s->committed_pos = pos;
	return true;
}

void seq_want_receipt(struct seq *s)
{
	s->receipt_pos = seq_log_last(&s->log) + 1;
}

uint64_t seq_received(const struct seq *s)
{
	uint64_t pos = s->role == SEQ_LEADER ? majority_of(s, seq_log_last(&s->log), BY_RECEIVED) : 0;

	return pos < s->term_pos ? 0 : pos;
}

static void head_put(struct seq *s, struct seq_peer *p, uint64_t prev_pos, uint64_t prev_term,
		     uint8_t flags, uint32_t count)
{
	struct seq_msg_append m = {.term = s->term,
				   .prev_pos = prev_pos,
				   .prev_term = prev_term,
				   .committed = s->committed_pos,
				   .round = s->round,
				   .flags = flags,
				   .count = count};

	seq_msg_append_encode(&m, &s->out);
	p->sent_committed = s->committed_pos;
}

static void gone(struct seq *s, struct seq_peer *p)
{
	p->flow = SEQ_GONE;
	flight_clear(p);
	if (p->told_gone)
		return;
	p->told_gone = true;
	p->beat_due = true; /* tells it */
	s->again = true;
	log_event(s->cfg.log, LOG_SEQUENCER, LOG_WARN, "voter too old",
		  "voter=%llu next=%llu first=%llu", (unsigned long long)p->id,
		  (unsigned long long)p->next, (unsigned long long)s->log.first_pos);
	if (s->cfg.host->too_old)
		s->cfg.host->too_old(s->cfg.ctx, p->id);
}

static bool send_empty(struct seq *s, struct seq_peer *p, uint8_t flags)
{
	uint64_t prev = p->next - 1, prev_term;

	if (p->flow == SEQ_GONE)
		prev = s->log.first_pos - 1;
	if (!seq_log_term(s, prev, &prev_term)) {
		gone(s, p);
		return false;
	}
	buf_reset(&s->out);
	head_put(s, p, prev, prev_term, flags, 0);
	seq_send(s, p->id);
	return true;
}

/*
 * Entries from p->next on, as many as fit one message. *old_out: the journal was read, do no more
 * in this event.
 */
static bool send_entries(struct seq *s, struct seq_peer *p, uint8_t flags, bool *old_out)
{
	uint64_t pos = p->next, last = seq_log_last(&s->log), prev_term;
	size_t head, room = SEQ_APPEND_BYTES;
	uint32_t count = 0;
	struct seq_entry e;

	*old_out = pos < s->log.window_pos;
	if (!seq_log_term(s, pos - 1, &prev_term)) {
		gone(s, p);
		return false;
	}
	buf_reset(&s->out);
	head_put(s, p, pos - 1, prev_term, flags, 0);
	head = s->out.size;
	for (; pos <= last && count < SEQ_APPEND_ENTRIES; pos++, count++) {
		if (!seq_log_get(s, pos, &e))
			break;
		if (count > 0 && e.bytes + SEQ_WIRE_ENTRY_HEAD > room)
			break;
		put_u64(&s->out, e.term);
		put_u8(&s->out, e.kind);
		put_u32(&s->out, e.bytes);
		buf_put(&s->out, e.data, e.bytes);
		room -= e.bytes + SEQ_WIRE_ENTRY_HEAD < room ? e.bytes + SEQ_WIRE_ENTRY_HEAD : room;
	}
	if (count == 0) {
		gone(s, p);
		return false;
	}
	memcpy(s->out.data + head - sizeof count, &count,
	       sizeof count); /* the last field of the head */
	if (p->flow == SEQ_PIPELINE) {
		uint32_t at = (p->flight_head + p->flight_count++) % SEQ_FLIGHT_MESSAGES;

		p->flight[at] = (struct seq_flight){pos - 1, s->out.size};
		p->flight_bytes += s->out.size;
		p->next = pos;
	} else {
		p->paused = true;
	}
	seq_send(s, p->id);
	return true;
}

static bool has_room(const struct seq_peer *p)
{
	return p->flight_count < SEQ_FLIGHT_MESSAGES && p->flight_bytes < SEQ_FLIGHT_BYTES;
}

static bool may_send(const struct seq *s, const struct seq_peer *p)
{
	if (p->next > seq_log_last(&s->log))
		return false;
	if (p->flow == SEQ_PROBE)
		return !p->paused;
	return p->flow == SEQ_PIPELINE && has_room(p);
}

static void peer_send(struct seq *s, struct seq_peer *p)
{
	bool old = false;

	while (!old && may_send(s, p)) {
		uint8_t flags = p->flow == SEQ_PROBE || p->beat_due || p->next <= s->receipt_pos ? SEQ_F_ANSWER : 0;

		if (!send_entries(s, p, flags, &old))
			break;
		if (flags)
			p->beat_due = false;
	}
	if (p->beat_due) {
		if (send_empty(s, p,
			       p->flow == SEQ_GONE ? SEQ_F_ANSWER | SEQ_F_GONE : SEQ_F_ANSWER))
			p->beat_due = false;
	} else if (p->flow == SEQ_PIPELINE && has_room(p) && p->next >= s->log.window_pos &&
		   p->sent_committed < s->committed_pos) {
		/*
		 * The committed position goes out at once, others wait for it; to one that is
		 * stuck, with heartbeats.
		 */
		(void)send_empty(s, p, 0);
	}
}

/* Once the target has all, it is told to stand; again with each heartbeat, should that be lost. */
static void transfer_step(struct seq *s)
{
	struct seq_peer *p = s->transfer_to != 0 ? seq_peer_find(s, s->transfer_to) : NULL;

	if (!p || s->transfer_told || p->match != seq_log_last(&s->log))
		return;
	s->transfer_told = true;
	struct seq_msg_transfer m = {.term = s->term};
	buf_reset(&s->out);
	seq_msg_transfer_encode(&m, &s->out);
	seq_send(s, p->id);
}

void seq_leader_flush(struct seq *s)
{
	(void)seq_leader_commit(s);
	seq_config_promote(s);
	for (uint32_t i = 0; i < s->peer_count; i++)
		peer_send(s, &s->peers[i]);
	transfer_step(s);
}

enum status seq_transfer(struct seq *s, uint64_t now_us, uint64_t to_voter)
{
	struct seq_peer *p = seq_peer_find(s, to_voter);

	if (s->role != SEQ_LEADER)
		return ST_NOT_LEADER;
	if (s->transfer_to != 0)
		return ST_STATE;
	if (!p || !p->votes)
		return ST_BAD_PARAMETER;
	seq_enter(s, now_us);
	s->transfer_to = to_voter;
	s->transfer_told = false;
	s->transfer_us = s->now_us + s->cfg.election_us;
	seq_leave(s);
	return ST_OK;
}

/*
 * A refused append: where to try next. Strictly older than what was refused, never at or below what
 * is durable there.
 */
static void step_back(struct seq *s, struct seq_peer *p, const struct seq_msg_append_reply *m)
{
	uint64_t pos = m->agreed, term;
	uint32_t steps = 0;

	while (m->agreed_term > 0 && pos > p->match && steps++ < SEQ_HINT_STEPS &&
	       seq_log_term(s, pos, &term) && term > m->agreed_term)
		pos--;
	if (pos < p->match)
		pos = p->match;
	p->flow = SEQ_PROBE;
	p->paused = false;
	flight_clear(p);
	p->next = pos + 1;
	if (p->received > p->match) /* it started again, and what was not durable is gone */
		p->received = p->match;
}

static bool handle_reject(struct seq *s, struct seq_peer *p, const struct seq_msg_append_reply *m)
{
	if (m->agreed >= m->prev_pos || m->prev_pos > seq_log_last(&s->log))
		return false;
	s->stats.rejects++;
	if (p->flow == SEQ_GONE)
		return true;
	/* Overtaken by an answer, or by an earlier refusal. */
	if (m->prev_pos <= p->match || (p->flow == SEQ_PROBE && m->prev_pos != p->next - 1))
		return true;
	step_back(s, p, m);
	return true;
}

bool seq_handle_append_reply(struct seq *s, uint64_t from, const struct seq_msg_append_reply *m)
{
	struct seq_peer *p = seq_peer_find(s, from);

	if (m->term == 0 || m->term >= SEQ_WIRE_POS_MAX || (m->flags & ~SEQ_F_REJECT))
		return false;
	if (m->term > s->term) {
		seq_become_follower(s, m->term, 0);
		return true;
	}
	if (m->term < s->term || s->role != SEQ_LEADER || !p)
		return true;
	if (m->round > s->round)
		return false;
	if (m->flags & SEQ_F_REJECT) {
		if (!handle_reject(s, p, m))
			return false;
	} else {
		if (m->match > m->agreed || m->agreed > seq_log_last(&s->log))
			return false;
		if (m->match > p->match)
			p->match = m->match;
		if (m->agreed > p->received)
			p->received = m->agreed;
		while (p->flight_count > 0 && p->flight[p->flight_head].last_pos <= p->match) {
			p->flight_bytes -= p->flight[p->flight_head].bytes;
			p->flight_head = (p->flight_head + 1) % SEQ_FLIGHT_MESSAGES;
			p->flight_count--;
		}
		if (p->flow != SEQ_PIPELINE && m->agreed + 1 >= p->next) {
			p->flow = SEQ_PIPELINE;
			p->paused = p->told_gone = false;
		}
		if (p->next <= m->agreed)
			p->next = m->agreed + 1;
	}
	p->heard_us = s->now_us;
	if (m->round > p->acked_round)
		p->acked_round = m->round;
	return true;
}

static void reads_fail(struct seq *s)
{
	for (size_t i = 0; i < s->reads.count; i++) {
		struct seq_read r = s->reads.at[i];

		if (s->read_done)
			s->read_done(s->cfg.ctx, r.request_id, false, 0);
	}
	s->reads.count = 0;
}

void seq_reads_flush(struct seq *s)
{
	size_t done = 0;

	if (s->reads.count == 0)
		return;
	if (s->role != SEQ_LEADER) {
		reads_fail(s);
		return;
	}
	if (!seq_own_term_committed(s))
		return;
	uint64_t confirmed = majority_of(s, s->round, BY_ROUND);
	for (; done < s->reads.count; done++) {
		struct seq_read *r = &s->reads.at[done];

		if (r->round == 0) { /* what earlier terms committed is known only now */
			r->pos = s->committed_pos;
			r->round = s->round + 1;
		}
		if (r->round > confirmed)
			break;
		struct seq_read ready = *r; /* the callback may add more */
		if (s->read_done)
			s->read_done(s->cfg.ctx, ready.request_id, true, ready.pos);
	}
	s->reads.count -= done;
	if (s->reads.count == 0)
		return;
	memmove(s->reads.at, s->reads.at + done, s->reads.count * sizeof *s->reads.at);
	/* One round at a time: those that came meanwhile share the next. */
	if (s->reads.at[0].round > s->round && confirmed >= s->round) {
		s->round++;
		for (uint32_t i = 0; i < s->peer_count; i++)
			s->peers[i].beat_due = true;
		s->again = true;
	}
}
