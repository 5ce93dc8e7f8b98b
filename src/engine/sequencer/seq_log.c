/*
 * seq_log.c - the log: its newest part in memory, writes under way, delivery of what is committed.
 *
 * Memory is bounded by cfg.window_bytes: the front is evicted once it is durable and delivered, and
 * then comes from the journal when a follower still wants it. What is neither cannot go; the leader
 * refuses proposals then (ST_AGAIN) and a follower drops appends.
 */
#include "engine/sequencer/seq_int.h"

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void seq_log_open(struct seq *s)
{
	struct seq_log *log = &s->log;

	log->first_pos = s->cfg.first_pos;
	log->before_term = s->cfg.before_term;
	log->window_pos = s->cfg.last_pos + 1;
	log->window_before_term = s->cfg.last_term;
}

static size_t item_bytes(const struct seq_item *it)
{
	return it->bytes + sizeof *it;
}

static void item_free(struct seq *s, struct seq_item *it)
{
	s->log.bytes -= item_bytes(it);
	mem_free(s->cfg.mem, it->data, it->bytes);
	it->data = NULL;
}

struct seq_item *seq_log_item(struct seq *s, uint64_t pos)
{
	struct seq_log *log = &s->log;

	ASSERT_OP(pos, >=, log->window_pos);
	ASSERT_OP(pos, <=, seq_log_last(log));
	return &log->ring[(log->head + (size_t)(pos - log->window_pos)) & (log->cap - 1)];
}

static void pop_front(struct seq *s)
{
	struct seq_log *log = &s->log;
	struct seq_item *it = seq_log_item(s, log->window_pos);

	log->window_before_term = it->term;
	item_free(s, it);
	log->head = (log->head + 1) & (log->cap - 1);
	log->window_pos++;
	log->count--;
}

static void pop_back(struct seq *s)
{
	item_free(s, seq_log_item(s, seq_log_last(&s->log)));
	s->log.count--;
}

void seq_log_close(struct seq *s)
{
	while (s->log.count > 0)
		pop_back(s);
	mem_free(s->cfg.mem, s->log.ring, s->log.cap * sizeof *s->log.ring);
	VEC_FINI(s->cfg.mem, &s->writes);
	VEC_FINI(s->cfg.mem, &s->batch);
}

static bool journal_read(struct seq *s, uint64_t pos, struct seq_entry *out)
{
	struct seq_entry e = {0};

	if (pos < s->log.first_pos || !s->cfg.host->read)
		return false;
	s->stats.journal_reads++;
	if (!s->cfg.host->read(s->cfg.ctx, pos, &e))
		return false;
	e.pos = pos;
	*out = e;
	return true;
}

bool seq_log_term(struct seq *s, uint64_t pos, uint64_t *term_out)
{
	const struct seq_log *log = &s->log;
	struct seq_entry e;

	if (pos > seq_log_last(log))
		return false;
	if (pos >= log->window_pos)
		*term_out = seq_log_item(s, pos)->term;
	else if (pos == log->window_pos - 1)
		*term_out = log->window_before_term;
	else if (pos == log->first_pos - 1)
		*term_out = log->before_term;
	else if (journal_read(s, pos, &e))
		*term_out = e.term;
	else
		return false;
	return true;
}

bool seq_log_get(struct seq *s, uint64_t pos, struct seq_entry *out)
{
	if (pos > seq_log_last(&s->log))
		return false;
	if (pos < s->log.window_pos)
		return journal_read(s, pos, out);
	const struct seq_item *it = seq_log_item(s, pos);
	*out = (struct seq_entry){.pos = pos,
				  .term = it->term,
				  .kind = it->kind,
				  .bytes = it->bytes,
				  .data = it->data};
	return true;
}

static void ring_grow(struct seq *s)
{
	struct seq_log *log = &s->log;
	size_t cap = log->cap ? log->cap * 2 : 64;
	struct seq_item *ring = mem_alloc(s->cfg.mem, cap * sizeof *ring);

	for (size_t i = 0; i < log->count; i++)
		ring[i] = log->ring[(log->head + i) & (log->cap - 1)];
	mem_free(s->cfg.mem, log->ring, log->cap * sizeof *ring);
	log->ring = ring;
	log->cap = cap;
	log->head = 0;
}

bool seq_log_append(struct seq *s, uint64_t term, enum seq_kind kind, const void *data,
		    size_t bytes)
{
	struct seq_log *log = &s->log;
	void *copy = NULL;

	if (bytes > 0) {
		copy = mem_try_alloc(s->cfg.mem, bytes);
		if (!copy)
			return false;
		memcpy(copy, data, bytes);
	}
	if (log->count == log->cap)
		ring_grow(s);
	log->count++;
	struct seq_item *it = seq_log_item(s, seq_log_last(log));
	*it = (struct seq_item){
		.term = term, .data = copy, .bytes = (uint32_t)bytes, .kind = (uint8_t)kind};
	log->bytes += item_bytes(it);
	return true;
}

/*
 * The voters as they were before position pos, when a configuration entry is among those that go.
 * At most one is: a leader appends one only when the one before is committed. found_out false: none
 * is.
 */
static bool voters_before(struct seq *s, uint64_t pos, bool *found_out, struct seq_voters *out)
{
	struct seq_voters brought;
	struct seq_entry e;

	*found_out = false;
	for (uint64_t p = pos; p <= seq_log_last(&s->log) && !*found_out; p++) {
		if (!seq_log_get(s, p, &e))
			return false;
		if (e.kind == SEQ_CONFIG) {
			if (!seq_config_decode(e.data, e.bytes, &brought, out))
				return false;
			*found_out = true;
		}
	}
	return true;
}

bool seq_log_truncate(struct seq *s, uint64_t pos, uint64_t before_term)
{
	struct seq_log *log = &s->log;
	struct seq_voters voters;
	bool rolled_back;

	ASSERT_OP(pos, >, s->committed_pos);
	if (!voters_before(s, pos, &rolled_back, &voters))
		return false;
	s->stats.truncations++;
	while (log->count > 0 && seq_log_last(log) >= pos)
		pop_back(s);
	if (pos < log->window_pos) {
		log->window_pos = pos;
		log->window_before_term = before_term;
	}
	/*
	 * A write under way still makes the part below pos durable, and nothing of what replaces
	 * the rest.
	 */
	for (size_t i = s->writes_head; i < s->writes.count; i++)
		s->writes.at[i].last_pos = min_u64(s->writes.at[i].last_pos, pos - 1);
	s->submitted_pos = min_u64(s->submitted_pos, pos - 1);
	s->persisted_pos = min_u64(s->persisted_pos, pos - 1);
	s->voters_pos = min_u64(s->voters_pos, pos - 1);
	if (rolled_back)
		seq_config_rolled_back(s, &voters);
	return true;
}

void seq_log_evict(struct seq *s)
{
	struct seq_log *log = &s->log;
	uint64_t done = min_u64(s->delivered_pos, s->persisted_pos);

	while (log->count > 0 && log->window_pos <= done &&
	       (log->bytes > s->cfg.window_bytes || log->window_pos < log->first_pos))
		pop_front(s);
}

void seq_log_write(struct seq *s)
{
	uint64_t last = seq_log_last(&s->log);
	struct seq_persist p = {.term = s->term, .vote = s->vote};

	if (!s->hard_dirty && s->submitted_pos == last)
		return;
	s->batch.count = 0;
	for (uint64_t pos = s->submitted_pos + 1; pos <= last; pos++) {
		struct seq_entry e;

		ASSERT(seq_log_get(s, pos, &e));
		VEC_PUSH(s->cfg.mem, &s->batch, e);
	}
	p.token = ++s->token;
	p.first_pos = s->batch.count > 0 ? s->submitted_pos + 1 : 0;
	p.entry_count = (uint32_t)s->batch.count;
	p.entries = s->batch.at;
	if (s->writes_head == s->writes.count)
		s->writes_head = s->writes.count = 0;
	VEC_PUSH(s->cfg.mem, &s->writes, ((struct seq_write){p.token, p.term, p.vote, last}));
	s->submitted_pos = last;
	s->hard_dirty = false;
	s->cfg.host->persist(s->cfg.ctx, &p);
}

void seq_persisted(struct seq *s, uint64_t now_us, uint64_t token)
{
	s->depth++;
	if (now_us > s->now_us)
		s->now_us = now_us;
	while (s->writes_head < s->writes.count && s->writes.at[s->writes_head].token <= token) {
		const struct seq_write *w = &s->writes.at[s->writes_head++];

		s->durable_term = w->term;
		s->durable_vote = w->vote;
		if (w->last_pos > s->persisted_pos)
			s->persisted_pos = w->last_pos;
	}
	/* The queue never empties under steady load: shift it now and then. */
	if (s->writes_head >= 64 && s->writes_head * 2 >= s->writes.count) {
		s->writes.count -= s->writes_head;
		memmove(s->writes.at, s->writes.at + s->writes_head,
			s->writes.count * sizeof *s->writes.at);
		s->writes_head = 0;
	}
	seq_leave(s);
}

void seq_log_deliver(struct seq *s)
{
	uint32_t entries = 0;
	size_t bytes = 0;

	while (!s->stuck && s->delivered_pos < s->committed_pos && entries < SEQ_DELIVER_ENTRIES &&
	       bytes < SEQ_DELIVER_BYTES) {
		struct seq_entry e;

		if (!seq_log_get(s, s->delivered_pos + 1, &e)) {
			s->stuck = true;
			log_event(s->cfg.log, LOG_SEQUENCER, LOG_ERROR,
				  "committed entry unreadable", "pos=%llu",
				  (unsigned long long)(s->delivered_pos + 1));
			if (s->cfg.host->too_old)
				s->cfg.host->too_old(s->cfg.ctx, s->cfg.self);
			return;
		}
		entries++;
		bytes += e.bytes;
		s->delivered_pos++;
		s->cfg.host->committed(s->cfg.ctx, &e);
	}
}

void seq_truncate_window(struct seq *s, uint64_t below_pos)
{
	struct seq_log *log = &s->log;
	uint64_t first = min_u64(below_pos, min_u64(s->delivered_pos, s->persisted_pos) + 1), term;

	s->depth++;
	if (first > log->first_pos) {
		/*
		 * Its term is the anchor of the first append we can serve; gone already, the next
		 * one's will do.
		 */
		if (!seq_log_term(s, first - 1, &term)) {
			first++;
			if (first - 1 > min_u64(s->delivered_pos, s->persisted_pos) ||
			    !seq_log_term(s, first - 1, &term))
				first = 0;
		}
		if (first > 0) {
			log->first_pos = first;
			log->before_term = term;
		}
	}
	seq_leave(s);
}
