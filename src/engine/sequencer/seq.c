/*
 * seq.c - opening, events and views of the step machine, and the order of effects (seq_int.h).
 */
#include "engine/sequencer/seq.h"

#include "engine/sequencer/seq_int.h"

#define ELECTION_US 300000u
#define HEARTBEAT_US 50000u
#define WINDOW_BYTES (64u << 20)

uint64_t seq_between(struct seq *s, uint64_t low_us, uint64_t high_us)
{
	return low_us + rng_below(&s->rng, high_us - low_us + 1);
}

static bool config_sane(const struct seq_config *c)
{
	return c->self != 0 && c->host && c->mem && c->first_pos >= 1 &&
	       c->last_pos + 1 >= c->first_pos && c->last_pos < SEQ_WIRE_POS_MAX &&
	       c->term < SEQ_WIRE_POS_MAX && c->last_term <= c->term &&
	       c->before_term <= c->last_term && (c->last_pos > 0 || c->last_term == 0) &&
	       (c->first_pos > 1 || c->before_term == 0) &&
	       (c->last_pos + 1 > c->first_pos || c->before_term == c->last_term) &&
	       c->committed_pos <= c->last_pos && c->committed_pos + 1 >= c->first_pos &&
	       c->voters.count <= SEQ_VOTERS_MAX + 1;
}

enum status seq_open(const struct seq_config *cfg, uint64_t now_us, struct seq **seq_out)
{
	if (!config_sane(cfg))
		return ST_BAD_PARAMETER;
	struct seq *s = MEM_NEW(cfg->mem, struct seq);
	s->cfg = *cfg;
	if (s->cfg.election_us == 0)
		s->cfg.election_us = ELECTION_US;
	if (s->cfg.heartbeat_us == 0)
		s->cfg.heartbeat_us = HEARTBEAT_US;
	if (s->cfg.window_bytes == 0)
		s->cfg.window_bytes = WINDOW_BYTES;
	rng_init(&s->rng, cfg->seed);
	buf_init(&s->out, cfg->mem);
	buf_init(&s->scratch, cfg->mem);
	s->now_us = now_us;
	s->term = s->durable_term = s->told_term = cfg->term;
	s->vote = s->durable_vote = cfg->vote;
	seq_log_open(s);
	s->submitted_pos = s->persisted_pos = cfg->last_pos;
	s->committed_pos = s->delivered_pos = s->agreed_pos = cfg->committed_pos;
	s->may_vote = cfg->may_vote;
	s->voters = cfg->voters;
	s->voters_pos = cfg->last_pos;
	seq_peers_sync(s);
	seq_deadline_reset(s);
	if (seq_self_votes(s) && seq_voting(&s->voters) == 1)
		s->deadline_us = now_us; /* nobody to wait for */
	*seq_out = s;
	return ST_OK;
}

void seq_close(struct seq *s)
{
	if (!s)
		return;
	ASSERT_OP(s->depth, ==, 0);
	struct mem *mem = s->cfg.mem;
	seq_log_close(s);
	VEC_FINI(mem, &s->reads);
	buf_fini(&s->out);
	buf_fini(&s->scratch);
	MEM_FREE(mem, s);
}

void seq_report_role(struct seq *s)
{
	if (s->told_role == s->role && s->told_term == s->term && s->told_leader == s->leader)
		return;
	if (s->told_role != s->role || s->told_leader != s->leader)
		log_event(s->cfg.log, LOG_SEQUENCER, LOG_INFO, "role",
			  "role=%d term=%llu leader=%llu", (int)s->role,
			  (unsigned long long)s->term, (unsigned long long)s->leader);
	s->told_role = s->role;
	s->told_term = s->term;
	s->told_leader = s->leader;
	if (s->cfg.host->role)
		s->cfg.host->role(s->cfg.ctx, s->role, s->term, s->leader);
}

void seq_send(struct seq *s, uint64_t to)
{
	s->stats.messages_out++;
	s->stats.bytes_out += s->out.size;
	s->cfg.host->send(s->cfg.ctx, to, s->out.data, s->out.size);
}

/*
 * Emits what follows from the state. Writes start before sends, sends leave before the local apply
 * of what is committed.
 */
static void flush(struct seq *s)
{
	do {
		s->again = false;
		seq_report_role(s);
		if (s->voters_dirty) {
			s->voters_dirty = false;
			if (s->cfg.host->config)
				s->cfg.host->config(s->cfg.ctx, &s->voters);
		}
		seq_log_write(s);
		seq_election_durable(s);
		if (s->role == SEQ_LEADER)
			seq_leader_flush(s);
		else
			seq_follower_durable(s);
		seq_reads_flush(s);
		seq_log_deliver(s);
		if (s->role == SEQ_LEADER)
			seq_config_leave(s);
		seq_log_evict(s);
	} while (s->again);
}

void seq_leave(struct seq *s)
{
	if (s->depth == 1)
		flush(s);
	else
		s->again = true;
	s->depth--;
}

/* Events that change roles come from outside only: see struct seq_host. */
void seq_enter(struct seq *s, uint64_t now_us)
{
	ASSERT_OP(s->depth, ==, 0);
	s->depth = 1;
	if (now_us > s->now_us)
		s->now_us = now_us;
}

void seq_tick(struct seq *s, uint64_t now_us)
{
	seq_enter(s, now_us);
	if (s->role == SEQ_LEADER)
		seq_leader_tick(s);
	else if (s->now_us >= s->deadline_us)
		seq_election_timeout(s);
	seq_leave(s);
}

uint64_t seq_next_us(const struct seq *s)
{
	uint64_t next = s->deadline_us;

	if (s->role == SEQ_LEADER) {
		next = s->peer_count > 0 ? s->beat_us : UINT64_MAX;
		if (s->transfer_to != 0 && s->transfer_us < next)
			next = s->transfer_us;
	}
	if (s->delivered_pos < s->committed_pos && !s->stuck && s->now_us < next)
		next = s->now_us;
	return next;
}

static bool dispatch(struct seq *s, uint64_t from, struct reader *r)
{
	if (from == 0 || from == s->cfg.self || get_u8(r) != SEQ_WIRE_VERSION)
		return false;
	switch (get_u8(r)) {
	case SEQ_MSG_VOTE: {
		struct seq_msg_vote m;
		return seq_msg_vote_decode(r, &m) && reader_left(r) == 0 &&
		       seq_handle_vote(s, from, &m);
	}
	case SEQ_MSG_VOTE_REPLY: {
		struct seq_msg_vote_reply m;
		return seq_msg_vote_reply_decode(r, &m) && reader_left(r) == 0 &&
		       seq_handle_vote_reply(s, from, &m);
	}
	case SEQ_MSG_APPEND: {
		struct seq_msg_append m;
		return seq_msg_append_decode(r, &m) && seq_handle_append(s, from, &m, r);
	}
	case SEQ_MSG_APPEND_REPLY: {
		struct seq_msg_append_reply m;
		return seq_msg_append_reply_decode(r, &m) && reader_left(r) == 0 &&
		       seq_handle_append_reply(s, from, &m);
	}
	case SEQ_MSG_TRANSFER: {
		struct seq_msg_transfer m;
		return seq_msg_transfer_decode(r, &m) && reader_left(r) == 0 &&
		       seq_handle_transfer(s, from, &m);
	}
	default:
		return false;
	}
}

void seq_message(struct seq *s, uint64_t now_us, uint64_t from_voter, const void *data,
		 size_t bytes)
{
	struct reader r = reader_init(data, bytes);

	seq_enter(s, now_us);
	s->stats.messages_in++;
	s->stats.bytes_in += bytes;
	if (!dispatch(s, from_voter, &r)) {
		s->stats.bad_messages++;
		log_event(s->cfg.log, LOG_SEQUENCER, LOG_WARN, "bad message",
			  "from=%llu bytes=%zu type=%d", (unsigned long long)from_voter, bytes,
			  bytes > 1 ? ((const uint8_t *)data)[1] : -1);
	}
	seq_leave(s);
}

void seq_peer_down(struct seq *s, uint64_t now_us, uint64_t voter_id)
{
	seq_enter(s, now_us);
	struct seq_peer *p = seq_peer_find(s, voter_id);
	if (s->role == SEQ_LEADER && p) {
		seq_peer_reset(p);
	} else if (s->role == SEQ_FOLLOWER && voter_id != 0 && s->leader == voter_id) {
		s->leader = 0;
		s->fast_retries = SEQ_FAST_RETRIES;
		s->deadline_us = s->now_us + seq_between(s, 0, SEQ_PEER_DOWN_US);
	}
	seq_leave(s);
}

enum status seq_propose(struct seq *s, uint64_t now_us, enum seq_kind kind, const void *data,
			size_t bytes, uint64_t *pos_out)
{
	if (s->role != SEQ_LEADER)
		return ST_NOT_LEADER;
	if (kind != SEQ_BATCH && kind != SEQ_NOOP)
		return ST_BAD_PARAMETER;
	if (bytes > SEQ_ENTRY_MAX)
		return ST_PROGRAM_LIMIT;
	if (!seq_may_propose(s))
		return ST_AGAIN;
	if (!seq_log_append(s, s->term, kind, data, bytes))
		return ST_NOMEM;
	*pos_out = seq_log_last(&s->log);
	s->depth++;
	if (now_us > s->now_us)
		s->now_us = now_us;
	seq_leave(s);
	return ST_OK;
}

/*
 * The entry that opens the term is first; in flight is bounded by entries and by the bytes that
 * cannot leave memory.
 */
bool seq_may_propose(const struct seq *s)
{
	return s->transfer_to == 0 && seq_log_last(&s->log) >= s->term_pos &&
	       seq_in_flight(s) < SEQ_PROPOSED_MAX && s->log.bytes <= s->cfg.window_bytes &&
	       seq_log_last(&s->log) + 1 < SEQ_WIRE_POS_MAX;
}

enum status seq_read_index(struct seq *s, uint64_t now_us, uint64_t request_id)
{
	struct seq_read r = {.request_id = request_id};

	if (s->role != SEQ_LEADER)
		return ST_NOT_LEADER;
	if (s->reads.count >= SEQ_READS_MAX)
		return ST_AGAIN;
	if (seq_own_term_committed(s)) {
		r.pos = s->committed_pos;
		r.round = s->round + 1; /* one that has not begun */
	}
	VEC_PUSH(s->cfg.mem, &s->reads, r);
	s->depth++;
	if (now_us > s->now_us)
		s->now_us = now_us;
	seq_leave(s);
	return ST_OK;
}

void seq_set_read_fn(struct seq *s,
		     void (*done)(void *ctx, uint64_t request_id, bool ok, uint64_t committed_pos))
{
	s->read_done = done;
}

enum seq_role seq_role(const struct seq *s)
{
	return s->role;
}
uint64_t seq_term(const struct seq *s)
{
	return s->term;
}
uint64_t seq_leader(const struct seq *s)
{
	return s->leader;
}
uint64_t seq_committed(const struct seq *s)
{
	return s->committed_pos;
}
uint64_t seq_last(const struct seq *s)
{
	return seq_log_last(&s->log);
}
uint64_t seq_persisted_pos(const struct seq *s)
{
	return s->persisted_pos;
}
const struct seq_voters *seq_current_voters(const struct seq *s)
{
	return &s->voters;
}
struct seq_stats seq_stats(const struct seq *s)
{
	return s->stats;
}

bool seq_entry_at(struct seq *s, uint64_t pos, struct seq_entry *out)
{
	return pos >= s->log.first_pos && seq_log_get(s, pos, out);
}

uint32_t seq_in_flight(const struct seq *s)
{
	return s->role == SEQ_LEADER ? (uint32_t)(seq_log_last(&s->log) - s->committed_pos) : 0;
}

uint64_t seq_match(const struct seq *s, uint64_t voter)
{
	for (uint32_t i = 0; s->role == SEQ_LEADER && i < s->peer_count; i++)
		if (s->peers[i].id == voter)
			return s->peers[i].match;
	return 0;
}

bool seq_voters_settled(const struct seq *s)
{
	return s->voters_pos <= s->committed_pos;
}

bool seq_stuck(const struct seq *s)
{
	return s->stuck;
}

bool seq_own_term_committed(const struct seq *s)
{
	return s->role == SEQ_LEADER && s->committed_pos >= s->term_pos;
}

void seq_trace(const struct seq *s, struct buf *out)
{
	static const char role[] = {'F', 'P', 'C', 'L'}, flow[] = {'?', '=', '!'};

	buf_printf(out, "%llu %c t%llu", (unsigned long long)s->cfg.self, role[s->role],
		   (unsigned long long)s->term);
	if (s->leader)
		buf_printf(out, ">%llu", (unsigned long long)s->leader);
	buf_printf(out, " log %llu-%llu disk %llu com %llu del %llu",
		   (unsigned long long)s->log.first_pos, (unsigned long long)seq_log_last(&s->log),
		   (unsigned long long)s->persisted_pos, (unsigned long long)s->committed_pos,
		   (unsigned long long)s->delivered_pos);
	for (uint32_t i = 0; s->role == SEQ_LEADER && i < s->peer_count; i++) {
		const struct seq_peer *p = &s->peers[i];

		buf_printf(out, " [%llu%c m%llu n%llu f%u%s]", (unsigned long long)p->id,
			   flow[p->flow], (unsigned long long)p->match, (unsigned long long)p->next,
			   p->flight_count,
			   p->leaving ? " leaving"
			   : p->votes ? ""
				      : " learns");
	}
}
