/*
 * follow.c - the follower's side of replication (engine/sequencer).
 *
 * agreed_pos is what lets a follower trust its log: up to there it was compared with, or received
 * from, the leader of this term, who only appends. Nothing beyond it is committed, acknowledged or
 * believed, whatever a message says; nothing up to it is ever replaced in this term, and nothing up
 * to committed_pos in any.
 */
#include "engine/sequencer/seq_int.h"

static void send_reply(struct seq *s, const struct seq_msg_append_reply *m, uint64_t to)
{
	buf_reset(&s->out);
	seq_msg_append_reply_encode(m, &s->out);
	seq_send(s, to);
}

/* Answers at once: it claims nothing durable. */
static void refuse(struct seq *s, uint64_t to, uint64_t prev_pos, uint64_t prev_term)
{
	struct seq_msg_append_reply m = {.term = s->term,
					 .prev_pos = prev_pos,
					 .round = s->round_seen,
					 .flags = SEQ_F_REJECT};
	uint64_t pos = seq_log_last(&s->log), term = 0;
	uint32_t steps = 0;

	/* The newest that may fit: not newer than what was refused, nor of a newer term. */
	if (pos >= prev_pos)
		pos = prev_pos > 0 ? prev_pos - 1 : 0;
	while (seq_log_term(s, pos, &term) && term > prev_term && pos > s->committed_pos &&
	       steps++ < SEQ_HINT_STEPS)
		pos--;
	if (!seq_log_term(s, pos, &m.agreed_term))
		m.agreed_term = 0;
	m.agreed = pos;
	send_reply(s, &m, to);
}

/* Form of all entries; r is a copy. */
static bool entries_sane(const struct seq_msg_append *m, struct reader r)
{
	uint64_t term = m->prev_term;

	for (uint32_t i = 0; i < m->count; i++) {
		uint64_t entry_term = get_u64(&r);
		uint8_t kind = get_u8(&r);
		uint32_t bytes = get_u32(&r);
		const uint8_t *data = get_raw(&r, bytes);
		struct seq_voters v;

		if (!data || entry_term < term || entry_term == 0 || entry_term > m->term ||
		    bytes > SEQ_ENTRY_MAX || kind < SEQ_BATCH || kind > SEQ_CONFIG)
			return false;
		if (kind == SEQ_CONFIG && !seq_config_decode(data, bytes, &v, NULL))
			return false;
		term = entry_term;
	}
	return reader_ok(&r) && reader_left(&r) == 0;
}

static bool append_sane(const struct seq_msg_append *m, const struct reader *r)
{
	return m->term > 0 && m->term < SEQ_WIRE_POS_MAX && m->prev_pos < SEQ_WIRE_POS_MAX &&
	       m->prev_term <= m->term && (m->prev_pos > 0 || m->prev_term == 0) &&
	       (m->prev_term > 0 || m->prev_pos == 0) && m->committed < SEQ_WIRE_POS_MAX &&
	       m->round < SEQ_WIRE_POS_MAX && !(m->flags & ~(SEQ_F_ANSWER | SEQ_F_GONE)) &&
	       !(m->flags & SEQ_F_GONE && m->count > 0) && entries_sane(m, *r);
}

static bool take_entry(struct seq *s, uint64_t term, uint8_t kind, const uint8_t *data,
		       uint32_t bytes)
{
	if (!seq_log_append(s, term, (enum seq_kind)kind, data, bytes))
		return false;
	if (kind == SEQ_CONFIG) {
		struct seq_voters v;

		ASSERT(seq_config_decode(data, bytes, &v, NULL)); /* entries_sane() did */
		seq_config_appended(s, seq_log_last(&s->log), &v);
	}
	return true;
}

/*
 * Takes the entries after prev_pos, which fits. False: the message contradicts what this leader
 * sent before, or what is committed. Short of memory it stops in between: what was taken counts,
 * the rest comes again.
 */
static bool take_entries(struct seq *s, const struct seq_msg_append *m, struct reader *r)
{
	uint64_t pos = m->prev_pos, before_term = m->prev_term;

	for (uint32_t i = 0; i < m->count; i++) {
		uint64_t term = get_u64(r), here;
		uint8_t kind = get_u8(r);
		uint32_t bytes = get_u32(r);
		const uint8_t *data = get_raw(r, bytes);

		pos++;
		if (pos > s->committed_pos) {
			bool have = seq_log_term(s, pos, &here);

			if (have && here != term) {
				if (pos <= s->agreed_pos)
					return false;
				if (!seq_log_truncate(s, pos, before_term))
					break;
				have = false;
			}
			if (!have) {
				if (pos != seq_log_last(&s->log) + 1)
					break; /* the journal here is unreadable */
				/*
				 * What is not committed cannot leave memory, and is not committed before the new leader's first
				 * entry is here: there must be room for all that the last leader may have had in flight, and this.
				 */
				if (s->log.bytes > 2 * s->cfg.window_bytes + SEQ_ENTRY_MAX ||
				    !take_entry(s, term, kind, data, bytes))
					break;
			}
		}
		before_term = term;
		if (pos > s->agreed_pos)
			s->agreed_pos = pos;
	}
	return true;
}

static void told_gone(struct seq *s)
{
	if (s->told_gone)
		return;
	s->told_gone = true;
	log_event(s->cfg.log, LOG_SEQUENCER, LOG_ERROR, "too old", "last=%llu leader=%llu",
		  (unsigned long long)seq_log_last(&s->log), (unsigned long long)s->leader);
	if (s->cfg.host->too_old)
		s->cfg.host->too_old(s->cfg.ctx, s->cfg.self);
}

static void commit(struct seq *s, uint64_t leader_committed)
{
	/* Capped at what this leader is known to share with us. */
	uint64_t pos = leader_committed < s->agreed_pos ? leader_committed : s->agreed_pos;

	if (pos > s->committed_pos)
		s->committed_pos = pos;
}

/*
 * A short journal (P23): all that this leader has committed, its own term's first entry included,
 * is durable here.
 */
static void regain_vote(struct seq *s, uint64_t leader_committed)
{
	uint64_t term;

	if (!s->may_vote && leader_committed > 0 && leader_committed <= s->committed_pos &&
	    leader_committed <= s->persisted_pos && seq_log_term(s, leader_committed, &term) &&
	    term == s->term)
		s->may_vote = true;
}

/* Is what is before the message's entries here? One that was told that it is too old may have taken a newer state since. */
static bool shares(struct seq *s, const struct seq_msg_append *m)
{
	uint64_t here;

	return m->prev_pos <= seq_log_last(&s->log) &&
	       (m->prev_pos < s->committed_pos || (seq_log_term(s, m->prev_pos, &here) && here == m->prev_term));
}

bool seq_handle_append(struct seq *s, uint64_t from, const struct seq_msg_append *m,
		       struct reader *r)
{
	uint64_t here;

	if (!append_sane(m, r))
		return false;
	if (m->term < s->term) {
		refuse(s, from, m->prev_pos, m->prev_term); /* tells it our term */
		return true;
	}
	if (m->term == s->term && (s->role == SEQ_LEADER || (s->leader != 0 && s->leader != from)))
		return false; /* two leaders of one term */
	seq_become_follower(s, m->term, from);
	s->heard_us = s->now_us;
	seq_deadline_reset(s);
	if (m->round > s->round_seen)
		s->round_seen = m->round;
	if (m->flags & SEQ_F_GONE && !shares(s, m)) {
		told_gone(s);
		refuse(s, from, m->prev_pos, m->prev_term);
		return true;
	}
	if (m->prev_pos > seq_log_last(&s->log)) {
		refuse(s, from, m->prev_pos, m->prev_term);
		return true;
	}
	if (m->prev_pos >= s->committed_pos &&
	    (!seq_log_term(s, m->prev_pos, &here) || here != m->prev_term)) {
		if (m->prev_pos <= s->agreed_pos)
			return false;
		refuse(s, from, m->prev_pos, m->prev_term);
		return true;
	}
	if (m->prev_pos > s->agreed_pos)
		s->agreed_pos = m->prev_pos;
	uint64_t last = seq_log_last(&s->log);
	if (!take_entries(s, m, r))
		return false;
	commit(s, m->committed);
	regain_vote(s, m->committed);
	/*
	 * A repeated append brings nothing that would become durable later: its answer may have
	 * been lost.
	 */
	if (m->flags & SEQ_F_ANSWER || (m->count > 0 && seq_log_last(&s->log) == last))
		s->reply_due = true;
	return true;
}

/*
 * Answers what has become durable. The term has to be, too: an answer is a promise to no older
 * leader.
 */
void seq_follower_durable(struct seq *s)
{
	uint64_t match = s->persisted_pos < s->agreed_pos ? s->persisted_pos : s->agreed_pos;

	if (s->role != SEQ_FOLLOWER || s->leader == 0 || s->durable_term != s->term)
		return;
	if (!s->reply_due && match <= s->acked_pos)
		return;
	struct seq_msg_append_reply m = {
		.term = s->term, .match = match, .agreed = s->agreed_pos, .round = s->round_seen};
	s->reply_due = false;
	s->acked_pos = match;
	send_reply(s, &m, s->leader);
}
