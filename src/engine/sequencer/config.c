/*
 * config.c - the voters: their encoding, one change at a time, who is leaving (engine/sequencer).
 *
 * Voters hold as of the newest SEQ_CONFIG entry in the log, committed or not, because two
 * majorities of lists that differ in one voter always share one (thesis 4.1). The next change waits
 * until the last is committed and the leader has committed in its own term (the correction of 2015:
 * otherwise two leaders' uncommitted changes may differ in two).
 */
#include "engine/sequencer/seq_int.h"

void seq_voters_encode(const struct seq_voters *v, struct buf *out)
{
	put_u8(out, (uint8_t)v->count);
	for (uint32_t i = 0; i < v->count; i++) {
		put_u64(out, v->at[i].id);
		put_u8(out, v->at[i].votes);
		put_bytes(out, v->at[i].address, strnlen(v->at[i].address, SEQ_ADDRESS_MAX - 1));
	}
}

bool seq_voters_decode(struct reader *r, struct seq_voters *out)
{
	struct seq_voters v = {.count = get_u8(r)};

	if (!reader_ok(r) || v.count > SEQ_VOTERS_MAX + 1)
		return false;
	for (uint32_t i = 0; i < v.count; i++) {
		uint64_t id = get_u64(r);
		uint8_t votes = get_u8(r);
		size_t bytes;
		const uint8_t *address = get_bytes(r, &bytes);

		if (!reader_ok(r) || id == 0 || votes > 1 || bytes >= SEQ_ADDRESS_MAX ||
		    (bytes > 0 && memchr(address, 0, bytes)) || seq_voters_find(&v, id, NULL))
			return false;
		v.at[i].id = id;
		v.at[i].votes = votes;
		if (bytes > 0)
			memcpy(v.at[i].address, address, bytes);
	}
	if (seq_voting(&v) > SEQ_VOTERS_MAX)
		return false;
	*out = v;
	return true;
}

bool seq_voters_find(const struct seq_voters *v, uint64_t id, struct seq_voter *out)
{
	for (uint32_t i = 0; i < v->count; i++) {
		if (v->at[i].id != id)
			continue;
		if (out)
			*out = v->at[i];
		return true;
	}
	return false;
}

uint32_t seq_voting(const struct seq_voters *v)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < v->count; i++)
		n += v->at[i].votes;
	return n;
}

bool seq_self_votes(const struct seq *s)
{
	struct seq_voter v;

	return seq_voters_find(&s->voters, s->cfg.self, &v) && v.votes;
}

bool seq_config_decode(const void *data, size_t bytes, struct seq_voters *out,
		       struct seq_voters *previous_out)
{
	struct reader r = reader_init(data, bytes), head;
	struct seq_voters previous;
	uint32_t head_bytes = get_u32(&r);
	const uint8_t *p = get_raw(&r, head_bytes);

	if (!p)
		return false;
	head = reader_init(p, head_bytes);
	if (!seq_voters_decode(&head, out) || !seq_voters_decode(&head, &previous) ||
	    reader_left(&head) != 0 || seq_voting(out) == 0)
		return false;
	if (previous_out)
		*previous_out = previous;
	return true;
}

const void *seq_entry_batch(const struct seq_entry *e, size_t *bytes_out)
{
	struct reader r = reader_init(e->data, e->bytes);

	if (e->kind == SEQ_CONFIG && !get_raw(&r, get_u32(&r))) {
		*bytes_out = 0;
		return NULL;
	}
	*bytes_out = reader_left(&r);
	return r.p;
}

bool seq_entry_voters(const struct seq_entry *e, struct seq_voters *out)
{
	return e->kind == SEQ_CONFIG && seq_config_decode(e->data, e->bytes, out, NULL);
}

struct seq_peer *seq_peer_find(struct seq *s, uint64_t id)
{
	for (uint32_t i = 0; i < s->peer_count; i++)
		if (s->peers[i].id == id)
			return &s->peers[i];
	return NULL;
}

static void peer_remove(struct seq *s, uint32_t at)
{
	s->peer_count--;
	memmove(&s->peers[at], &s->peers[at + 1], (s->peer_count - at) * sizeof s->peers[0]);
}

/* Peers as the voters say. A leader keeps the one that leaves until its removal is committed. */
void seq_peers_sync(struct seq *s)
{
	for (uint32_t i = s->peer_count; i-- > 0;) {
		struct seq_peer *p = &s->peers[i];

		if (seq_voters_find(&s->voters, p->id, NULL))
			continue;
		if (s->role == SEQ_LEADER && !p->leaving) {
			p->leaving = true;
			p->votes = false;
		} else {
			peer_remove(s, i);
		}
	}
	for (uint32_t i = 0; i < s->voters.count; i++) {
		const struct seq_voter *v = &s->voters.at[i];
		struct seq_peer *p = seq_peer_find(s, v->id);

		if (v->id == s->cfg.self)
			continue;
		if (!p) {
			ASSERT_OP(s->peer_count, <, SEQ_PEERS_MAX);
			p = &s->peers[s->peer_count++];
			memset(p, 0, sizeof *p);
			p->id = v->id;
			p->next = seq_log_last(&s->log) + 1;
			p->heard_us = s->now_us;
		}
		p->votes = v->votes;
		p->leaving = false;
	}
}

static void voters_set(struct seq *s, const struct seq_voters *v, uint64_t pos)
{
	s->voters = *v;
	s->voters_pos = pos;
	s->voters_dirty = true;
	seq_peers_sync(s);
}

void seq_config_appended(struct seq *s, uint64_t pos, const struct seq_voters *v)
{
	voters_set(s, v, pos);
}
/* The one before was committed: the next change waits for that. */
void seq_config_rolled_back(struct seq *s, const struct seq_voters *v)
{
	voters_set(s, v, s->committed_pos);
}

/* Appends the entry that makes @next the voters. */
static enum status config_propose(struct seq *s, const struct seq_voters *next, const void *batch,
				  size_t batch_bytes)
{
	struct buf b;
	uint32_t head_bytes;
	bool ok;

	buf_init(&b, s->cfg.mem);
	put_u32(&b, 0);
	seq_voters_encode(next, &b);
	seq_voters_encode(&s->voters, &b);
	head_bytes = (uint32_t)(b.size - sizeof head_bytes);
	memcpy(b.data, &head_bytes, sizeof head_bytes);
	if (batch_bytes > SEQ_ENTRY_MAX - b.size) {
		buf_fini(&b);
		return ST_PROGRAM_LIMIT;
	}
	buf_put(&b, batch, batch_bytes);
	ok = seq_log_append(s, s->term, SEQ_CONFIG, b.data, b.size);
	buf_fini(&b);
	if (!ok)
		return ST_NOMEM;
	log_event(s->cfg.log, LOG_SEQUENCER, LOG_INFO, "voters change",
		  "pos=%llu voters=%u voting=%u", (unsigned long long)seq_log_last(&s->log),
		  next->count, seq_voting(next));
	seq_config_appended(s, seq_log_last(&s->log), next);
	return ST_OK;
}

/*
 * One added (not voting yet), one removed, or one address changed. False: anything else, or a list
 * that cannot work.
 */
static bool one_difference(const struct seq_voters *now, const struct seq_voters *wanted,
			   struct seq_voters *out)
{
	uint32_t differences = 0;
	struct seq_voter v;

	*out = (struct seq_voters){0};
	if (wanted->count > SEQ_VOTERS_MAX + 1)
		return false;
	for (uint32_t i = 0; i < now->count; i++) {
		struct seq_voter kept = now->at[i];

		if (!seq_voters_find(wanted, kept.id, &v)) {
			differences++;
			continue;
		}
		if (strncmp(kept.address, v.address, SEQ_ADDRESS_MAX) != 0) {
			differences++;
			memcpy(kept.address, v.address, SEQ_ADDRESS_MAX);
		}
		out->at[out->count++] = kept;
	}
	for (uint32_t i = 0; i < wanted->count; i++) {
		v = wanted->at[i];
		if (seq_voters_find(now, v.id, NULL))
			continue;
		differences++;
		if (v.id == 0 || out->count > SEQ_VOTERS_MAX || seq_voters_find(out, v.id, NULL))
			return false;
		v.votes = false;
		out->at[out->count++] = v;
	}
	for (uint32_t i = 0; i < out->count; i++)
		if (!memchr(out->at[i].address, 0, SEQ_ADDRESS_MAX))
			return false;
	return differences == 1 && seq_voting(out) > 0;
}

static bool change_allowed(const struct seq *s)
{
	return seq_own_term_committed(s) && s->voters_pos <= s->committed_pos;
}

enum status seq_change_voters(struct seq *s, uint64_t now_us, const struct seq_voters *next,
			      const void *batch, size_t batch_bytes)
{
	struct seq_voters v;

	if (s->role != SEQ_LEADER)
		return ST_NOT_LEADER;
	if (!change_allowed(s))
		return ST_STATE;
	if (!one_difference(&s->voters, next, &v))
		return ST_BAD_PARAMETER;
	if (!seq_may_propose(s))
		return ST_AGAIN;
	seq_enter(s, now_us);
	enum status st = config_propose(s, &v, batch, batch_bytes);
	seq_leave(s);
	return st;
}

static bool caught_up(const struct seq *s, const struct seq_peer *p)
{
	return p->flow == SEQ_PIPELINE &&
	       (p->match + SEQ_PROMOTE_DISTANCE >= seq_log_last(&s->log) ||
		p->match >= s->committed_pos);
}

void seq_config_promote(struct seq *s)
{
	struct seq_voters next = s->voters;

	if (!change_allowed(s) || !seq_may_propose(s) || seq_voting(&s->voters) >= SEQ_VOTERS_MAX)
		return;
	for (uint32_t i = 0; i < s->peer_count; i++) {
		const struct seq_peer *p = &s->peers[i];

		if (p->votes || p->leaving || !caught_up(s, p))
			continue;
		for (uint32_t j = 0; j < next.count; j++)
			if (next.at[j].id == p->id)
				next.at[j].votes = true;
		buf_reset(&s->scratch);
		s->cfg.host->noop(s->cfg.ctx, &s->scratch);
		if (config_propose(s, &next, s->scratch.data, s->scratch.size) == ST_OK)
			s->again = true;
		return;
	}
}

void seq_config_leave(struct seq *s)
{
	struct seq_peer *best = NULL;

	if (s->voters_pos > s->committed_pos)
		return;
	/* It was just sent the committed position, if it could take it. */
	for (uint32_t i = s->peer_count; i-- > 0;)
		if (s->peers[i].leaving)
			peer_remove(s, i);
	if (seq_voters_find(&s->voters, s->cfg.self, NULL))
		return;
	/*
	 * Its own removal is committed. One that has everything takes over without waiting for a
	 * time-out.
	 */
	for (uint32_t i = 0; i < s->peer_count; i++)
		if (s->peers[i].votes && (!best || s->peers[i].match > best->match))
			best = &s->peers[i];
	if (best) {
		struct seq_msg_transfer m = {.term = s->term};

		buf_reset(&s->out);
		seq_msg_transfer_encode(&m, &s->out);
		seq_send(s, best->id);
	}
	seq_step_down(s, "it is no longer a voter");
	s->again = true;
}
