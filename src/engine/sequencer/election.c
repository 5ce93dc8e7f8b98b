/*
 * election.c - who leads (engine/sequencer).
 *
 *   FOLLOWER --time-out--> PRE_CANDIDATE --majority would--> CANDIDATE --majority did--> LEADER
 *      ^                      |  |                              |                          |
 *      +----gives up, yields--+--+------time-out: pre-vote------+     +--higher term-------+
 *      +--------------------------- higher term, or a leader of this term ----------------+
 *
 * A pre-vote asks "would you?" without touching a term, so a voter that was cut off does not
 * disturb a working leader when it comes back (thesis 9.6). For the same reason a voter that hears
 * its leader answers no to everyone, unless the leader itself asked for the change (transfer). A
 * vote leaves, and counts, only once it is durable; so does the request for votes: a candidate that
 * forgot its term in a crash could otherwise stand twice in it with two logs.
 *
 * Two pre-candidates with equal logs would split the vote: the one with the lower id yields. It
 * yields as a follower with a new time-out, and a round of pre-vote ends the same way, so nobody
 * refuses another for long.
 */
#include "engine/sequencer/seq_int.h"

/* A new term forgets all that was known about the last one's leader. */
static void set_term(struct seq *s, uint64_t term, uint64_t vote)
{
	s->term = term;
	s->vote = vote;
	s->hard_dirty = true;
	s->leader = 0;
	s->agreed_pos = s->committed_pos; /* every leader to come has these */
	s->acked_pos = 0;
	s->round_seen = 0;
	s->reply_due = s->told_gone = s->vote_due = false;
}

void seq_deadline_reset(struct seq *s)
{
	s->deadline_us = s->now_us + s->cfg.election_us + seq_between(s, 0, s->cfg.election_us);
}

void seq_become_follower(struct seq *s, uint64_t term, uint64_t leader)
{
	ASSERT_OP(term, >=, s->term);
	if (term > s->term)
		set_term(s, term, 0);
	bool led = s->role == SEQ_LEADER;
	if (s->role != SEQ_FOLLOWER)
		seq_deadline_reset(s);
	s->role = SEQ_FOLLOWER;
	s->leader = leader;
	if (led)
		seq_peers_sync(s); /* nobody is leaving us any more */
	s->transfer_to = 0;
	s->self_granted = s->transferring = false;
	if (leader != 0)
		s->fast_retries = 0;
}

void seq_step_down(struct seq *s, const char *cause)
{
	log_event(s->cfg.log, LOG_SEQUENCER, LOG_WARN, "leader steps down", "term=%llu cause=%s",
		  (unsigned long long)s->term, cause);
	seq_become_follower(s, s->term, 0);
}

/*
 * Voters stand, and so does one whose removal is in its log and not known to be committed: nobody
 * with the older voters can win without its vote, and nobody with a shorter log gets it (thesis
 * 4.2.2). It does not count itself.
 */
static bool may_stand(const struct seq *s)
{
	bool removing = s->voters.count > 0 && !seq_voters_find(&s->voters, s->cfg.self, NULL) &&
			s->voters_pos > s->committed_pos;

	return s->may_vote && (seq_self_votes(s) || removing) && s->term + 1 < SEQ_WIRE_POS_MAX;
}

static void forget_votes(struct seq *s)
{
	for (uint32_t i = 0; i < s->peer_count; i++)
		s->peers[i].granted = s->peers[i].refused = false;
}

static uint32_t votes_granted(const struct seq *s)
{
	uint32_t n = seq_self_votes(s);

	for (uint32_t i = 0; i < s->peer_count; i++)
		n += s->peers[i].votes && s->peers[i].granted;
	return n;
}

static uint32_t votes_refused(const struct seq *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->peer_count; i++)
		n += s->peers[i].votes && s->peers[i].refused;
	return n;
}

static uint64_t last_term(struct seq *s)
{
	uint64_t term;

	/* The last entry, or the one before the window: always known. */
	ASSERT(seq_log_term(s, seq_log_last(&s->log), &term));
	return term;
}

static void ask_votes(struct seq *s, uint64_t term, uint8_t flags)
{
	struct seq_msg_vote m = {.term = term,
				 .last_pos = seq_log_last(&s->log),
				 .last_term = last_term(s),
				 .flags = flags};

	for (uint32_t i = 0; i < s->peer_count; i++) {
		if (!s->peers[i].votes)
			continue;
		buf_reset(&s->out);
		seq_msg_vote_encode(&m, &s->out);
		seq_send(s, s->peers[i].id);
	}
}

static void pre_vote_start(struct seq *s)
{
	s->role = SEQ_PRE_CANDIDATE;
	s->leader = 0;
	forget_votes(s);
	/*
	 * Known dead (seq_peer_down): the others may learn that some milliseconds later than we, so
	 * ask again soon.
	 */
	s->deadline_us = s->now_us + (s->fast_retries > 0 ? seq_between(s, s->cfg.heartbeat_us / 2,
									s->cfg.heartbeat_us)
							  : s->cfg.election_us / 2);
	if (votes_granted(s) >= seq_quorum(s)) {
		seq_election_start(s, false);
		return;
	}
	ask_votes(s, s->term + 1, SEQ_F_PRE);
}

void seq_election_start(struct seq *s, bool by_transfer)
{
	set_term(s, s->term + 1, s->cfg.self);
	s->role = SEQ_CANDIDATE;
	s->self_granted = false;
	s->transferring = by_transfer;
	s->stats.elections++;
	forget_votes(s);
	s->deadline_us =
		s->now_us + seq_between(s, s->cfg.election_us / 2, s->cfg.election_us * 3 / 2);
	s->again = true;
}

void seq_election_timeout(struct seq *s)
{
	s->leader = 0;
	switch (s->role) {
	case SEQ_PRE_CANDIDATE:
		if (s->fast_retries > 0) {
			s->fast_retries--;
			break;
		}
		s->role = SEQ_FOLLOWER;
		s->deadline_us = s->now_us + seq_between(s, 0, s->cfg.election_us);
		return;
	case SEQ_CANDIDATE:
		if (!s->self_granted) { /* our own disk is slow: standing again would only make it wait longer */
			s->deadline_us = s->now_us + s->cfg.election_us / 2;
			return;
		}
		break;
	case SEQ_FOLLOWER:
	case SEQ_LEADER:
		break;
	}
	if (may_stand(s)) {
		pre_vote_start(s);
	} else {
		s->role = SEQ_FOLLOWER;
		seq_deadline_reset(s);
	}
}

static void send_vote_reply(struct seq *s, uint64_t to, uint64_t term, uint8_t flags)
{
	struct seq_msg_vote_reply m = {.term = term, .flags = flags};

	buf_reset(&s->out);
	seq_msg_vote_reply_encode(&m, &s->out);
	seq_send(s, to);
}

void seq_election_durable(struct seq *s)
{
	bool durable = s->durable_term == s->term && s->durable_vote == s->vote;

	if (s->role == SEQ_CANDIDATE && durable && !s->self_granted) {
		s->self_granted = true;
		if (votes_granted(s) >= seq_quorum(s))
			seq_leader_start(s);
		else
			ask_votes(s, s->term, s->transferring ? SEQ_F_TRANSFER : 0);
	}
	if (s->vote_due && durable) {
		s->vote_due = false;
		send_vote_reply(s, s->vote, s->term, SEQ_F_GRANTED);
	}
}

/* Hears its leader, or is one: no reason to change. */
static bool content(const struct seq *s)
{
	return s->role == SEQ_LEADER ||
	       (s->leader != 0 && s->now_us - s->heard_us < s->cfg.election_us);
}

static bool handle_pre_vote(struct seq *s, uint64_t from, const struct seq_msg_vote *m, bool log_ok)
{
	bool granted = m->term > s->term && log_ok && s->may_vote && !content(s);

	if (granted && s->role == SEQ_PRE_CANDIDATE) {
		bool equal = m->last_term == last_term(s) && m->last_pos == seq_log_last(&s->log);

		if (equal && from < s->cfg.self) {
			granted = false;
			/* it asks, so it hears the leader no more: it said no to us before that, perhaps, and says yes now */
			if (s->fast_retries > 0)
				s->deadline_us = s->now_us;
		} else {
			s->role = SEQ_FOLLOWER;
			seq_deadline_reset(s);
			if (s->fast_retries > 0)
				s->deadline_us = s->now_us + seq_between(s, s->cfg.heartbeat_us,
									 2 * s->cfg.heartbeat_us);
		}
	}
	if (granted && s->deadline_us < s->now_us + s->cfg.heartbeat_us)
		s->deadline_us = s->now_us + s->cfg.heartbeat_us; /* let it try first */
	send_vote_reply(s, from, granted ? m->term : s->term,
			(uint8_t)(SEQ_F_PRE | (granted ? SEQ_F_GRANTED : 0)));
	return true;
}

bool seq_handle_vote(struct seq *s, uint64_t from, const struct seq_msg_vote *m)
{
	if (m->term == 0 || m->term >= SEQ_WIRE_POS_MAX || m->last_term >= m->term ||
	    m->last_pos >= SEQ_WIRE_POS_MAX || (m->flags & ~(SEQ_F_PRE | SEQ_F_TRANSFER)))
		return false;
	bool log_ok = m->last_term > last_term(s) ||
		      (m->last_term == last_term(s) && m->last_pos >= seq_log_last(&s->log));
	if (m->flags & SEQ_F_PRE)
		return handle_pre_vote(s, from, m, log_ok);
	if (m->term > s->term) {
		if (content(s) && !(m->flags & SEQ_F_TRANSFER))
			return true; /* no answer: a stuck candidate's term reaches us when it refuses our leader */
		seq_become_follower(s, m->term, 0);
	}
	if (m->term < s->term || !log_ok || !s->may_vote || (s->vote != 0 && s->vote != from)) {
		send_vote_reply(s, from, s->term, 0);
		return true;
	}
	/*
	 * Given before, durable or not, it is answered again. A leader or candidate voted for
	 * itself.
	 */
	if (s->vote == 0) {
		s->vote = from;
		s->hard_dirty = true;
	}
	s->vote_due = true;
	if (s->role == SEQ_PRE_CANDIDATE)
		s->role = SEQ_FOLLOWER;
	seq_deadline_reset(s);
	return true;
}

static void refused(struct seq *s)
{
	if (seq_voting(&s->voters) - votes_refused(s) >= seq_quorum(s))
		return;
	if (s->role == SEQ_PRE_CANDIDATE && s->fast_retries == 0) {
		s->role = SEQ_FOLLOWER;
		seq_deadline_reset(s);
	}
}

bool seq_handle_vote_reply(struct seq *s, uint64_t from, const struct seq_msg_vote_reply *m)
{
	bool pre = m->flags & SEQ_F_PRE, granted = m->flags & SEQ_F_GRANTED;
	struct seq_peer *p = seq_peer_find(s, from);

	if (m->term >= SEQ_WIRE_POS_MAX || (m->flags & ~(SEQ_F_PRE | SEQ_F_GRANTED)))
		return false;
	if (m->term > s->term && !(pre && granted)) {
		seq_become_follower(s, m->term, 0);
		return true;
	}
	if (!p || !p->votes)
		return true;
	if (pre ? s->role != SEQ_PRE_CANDIDATE || (granted && m->term != s->term + 1)
		: s->role != SEQ_CANDIDATE || !s->self_granted || m->term != s->term)
		return true; /* of an earlier round */
	if (!granted) {
		p->refused = !p->granted;
		refused(s);
		return true;
	}
	p->granted = true;
	if (votes_granted(s) < seq_quorum(s))
		return true;
	if (pre)
		seq_election_start(s, false);
	else
		seq_leader_start(s);
	return true;
}

bool seq_handle_transfer(struct seq *s, uint64_t from, const struct seq_msg_transfer *m)
{
	if (m->term == 0 || m->term >= SEQ_WIRE_POS_MAX)
		return false;
	if (m->term == s->term && s->role == SEQ_FOLLOWER && s->leader == from && may_stand(s))
		seq_election_start(s, true);
	return true;
}
