/*
 * cluster.c - the simulated cluster of these tests (cluster.h).
 */
#include "cluster.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/map.h"
#include "engine/sequencer/seq_wire.h"

#define SEEN_CAP (1u << 15)

void cl_fail(struct cluster *cl, const char *fmt, ...)
{
	va_list ap;

	if (cl->failed)
		return;
	cl->failed = true;
	va_start(ap, fmt);
	vsnprintf(cl->why, sizeof cl->why, fmt, ap);
	va_end(ap);
	printf("\n    seed %llu, step %llu, %llu us: %s\n", (unsigned long long)cl->seed,
	       (unsigned long long)cl->steps, (unsigned long long)cl->now_us, cl->why);
}

static void trace(struct cluster *cl, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void trace(struct cluster *cl, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	if (!cl->tracing)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	buf_printf(&cl->trace, "%4llu.%llu  %s\n", (unsigned long long)(cl->now_us / 1000),
		   (unsigned long long)(cl->now_us / 100 % 10), line);
}

/* Logs */

uint64_t cl_log_last(const struct cl_log *log)
{
	return log->first_pos + log->e.count - 1;
}

const struct cl_entry *cl_log_at(const struct cl_log *log, uint64_t pos)
{
	return pos < log->first_pos || pos > cl_log_last(log) ? NULL
							      : &log->e.at[pos - log->first_pos];
}

static bool log_term(const struct cl_log *log, uint64_t pos, uint64_t *term_out)
{
	const struct cl_entry *e = cl_log_at(log, pos);

	if (!e && pos != log->first_pos - 1)
		return false;
	*term_out = e ? e->term : log->before_term;
	return true;
}

static struct cl_entry entry_copy(struct cluster *cl, uint64_t term, uint8_t kind, const void *data,
				  uint32_t bytes)
{
	struct cl_entry e = {term, kind, bytes, bytes ? mem_alloc(&cl->mem, bytes) : NULL};

	if (bytes)
		memcpy(e.data, data, bytes);
	return e;
}

static void entry_free(struct cluster *cl, struct cl_entry *e)
{
	mem_free(&cl->mem, e->data, e->bytes);
}

static void log_truncate(struct cluster *cl, struct cl_log *log, uint64_t pos)
{
	while (log->e.count > 0 && cl_log_last(log) >= pos)
		entry_free(cl, &log->e.at[--log->e.count]);
}

static void log_fini(struct cluster *cl, struct cl_log *log)
{
	log_truncate(cl, log, 0);
	VEC_FINI(&cl->mem, &log->e);
}

static void log_assign(struct cluster *cl, struct cl_log *to, const struct cl_log *from)
{
	log_truncate(cl, to, 0);
	to->first_pos = from->first_pos;
	to->before_term = from->before_term;
	for (size_t i = 0; i < from->e.count; i++) {
		const struct cl_entry *e = &from->e.at[i];

		VEC_PUSH(&cl->mem, &to->e, entry_copy(cl, e->term, e->kind, e->data, e->bytes));
	}
}

static uint32_t entry_sum(uint8_t kind, const void *data, uint32_t bytes)
{
	return crc32c(kind, data, bytes);
}

/* Properties */

/*
 * One (position, term) is one entry after one entry, wherever it is written: log matching, by
 * induction.
 */
static void check_matching(struct cluster *cl, uint64_t pos, uint64_t term, uint64_t prev_term,
			   uint32_t sum)
{
	uint64_t h = hash_u64(pos * UINT64_C(1000003) + term);

	for (;; h++) {
		struct cl_seen *s = &cl->seen.at[h & (SEEN_CAP - 1)];

		if (s->pos == 0) {
			*s = (struct cl_seen){pos, term, prev_term, sum};
			ASSERT_OP(++cl->seen.count, <, SEEN_CAP / 2);
			return;
		}
		if (s->pos != pos || s->term != term)
			continue;
		if (s->prev_term != prev_term || s->sum != sum)
			cl_fail(cl, "log matching: two entries at %llu of term %llu",
				(unsigned long long)pos, (unsigned long long)term);
		return;
	}
}

static bool has_fact(const struct cluster *cl, const struct cl_log *log, uint64_t pos)
{
	const struct cl_fact *f = &cl->committed.at[pos];
	uint64_t term;

	/* What was dropped below first_pos was committed. */
	return !f->known || pos < log->first_pos - 1 ||
	       (log_term(log, pos, &term) && term == f->term);
}

static void check_complete(struct cluster *cl, struct cl_node *n)
{
	for (uint64_t pos = 1; pos <= cl->max_committed; pos++)
		if (!has_fact(cl, &n->view, pos))
			cl_fail(cl,
				"leader completeness: %llu leads term %llu without the entry at "
				"%llu",
				(unsigned long long)n->id, (unsigned long long)n->role_term,
				(unsigned long long)pos);
}

static void check_durable(struct cluster *cl, struct cl_node *n, uint64_t pos)
{
	uint32_t voting = 0, have = 0;

	for (uint32_t i = 0; i < n->voters.count; i++) {
		if (!n->voters.at[i].votes)
			continue;
		voting++;
		have += has_fact(cl, &cl->at[n->voters.at[i].id].disk, pos);
	}
	if (have <= voting / 2)
		cl_fail(cl, "durability: %llu reports %llu committed, on %u disks of %u",
			(unsigned long long)n->id, (unsigned long long)pos, have, voting);
}

/* Host callbacks */

static void host_persist(void *ctx, const struct seq_persist *p)
{
	struct cl_node *n = ctx;
	struct cluster *cl = n->cl;
	struct cl_write w = {
		.token = p->token, .term = p->term, .vote = p->vote, .first_pos = p->first_pos};
	uint64_t prev_term = 0, after = cl->now_us;

	if (n->writes.count > 0)
		after = n->writes.at[n->writes.count - 1].due_us;
	w.due_us = after + n->disk_us +
		   (n->disk_jitter_us ? rng_below(&cl->rng, n->disk_jitter_us) : 0);
	trace(cl, "%llu writes term %llu vote %llu, %u entries from %llu",
	      (unsigned long long)n->id, (unsigned long long)p->term, (unsigned long long)p->vote,
	      p->entry_count, (unsigned long long)p->first_pos);
	if (p->entry_count > 0) {
		if (p->first_pos > cl_log_last(&n->view) + 1 || p->first_pos < n->view.first_pos)
			cl_fail(cl, "%llu writes at %llu after %llu", (unsigned long long)n->id,
				(unsigned long long)p->first_pos,
				(unsigned long long)cl_log_last(&n->view));
		if (n->role == SEQ_LEADER && n->role_term == p->term &&
		    p->first_pos != cl_log_last(&n->view) + 1)
			cl_fail(cl, "leader append-only: %llu replaces from %llu",
				(unsigned long long)n->id, (unsigned long long)p->first_pos);
		cl->met.truncations += p->first_pos <= cl_log_last(&n->view);
		log_truncate(cl, &n->view, p->first_pos);
		(void)log_term(&n->view, p->first_pos - 1, &prev_term);
	}
	for (uint32_t i = 0; i < p->entry_count; i++) {
		const struct seq_entry *e = &p->entries[i];

		if (e->pos != p->first_pos + i)
			cl_fail(cl, "entries of a write are not in order");
		check_matching(cl, e->pos, e->term, prev_term,
			       entry_sum(e->kind, e->data, e->bytes));
		prev_term = e->term;
		VEC_PUSH(&cl->mem, &n->view.e, entry_copy(cl, e->term, e->kind, e->data, e->bytes));
		VEC_PUSH(&cl->mem, &w.e, entry_copy(cl, e->term, e->kind, e->data, e->bytes));
	}
	VEC_PUSH(&cl->mem, &n->writes, w);
}

static const char *message_text(const void *data, size_t bytes, char out[160])
{
	struct reader r = reader_init(data, bytes);
	union {
		struct seq_msg_vote vote;
		struct seq_msg_vote_reply vote_reply;
		struct seq_msg_append append;
		struct seq_msg_append_reply append_reply;
	} m;

	get_u8(&r);
	switch (get_u8(&r)) {
	case SEQ_MSG_VOTE:
		seq_msg_vote_decode(&r, &m.vote);
		snprintf(out, 160, "%s term %llu last %llu/%llu",
			 m.vote.flags & SEQ_F_PRE ? "pre-vote?" : "vote?",
			 (unsigned long long)m.vote.term, (unsigned long long)m.vote.last_pos,
			 (unsigned long long)m.vote.last_term);
		break;
	case SEQ_MSG_VOTE_REPLY:
		seq_msg_vote_reply_decode(&r, &m.vote_reply);
		snprintf(out, 160, "%s %s term %llu",
			 m.vote_reply.flags & SEQ_F_PRE ? "pre-vote" : "vote",
			 m.vote_reply.flags & SEQ_F_GRANTED ? "yes" : "no",
			 (unsigned long long)m.vote_reply.term);
		break;
	case SEQ_MSG_APPEND:
		seq_msg_append_decode(&r, &m.append);
		snprintf(out, 160, "append term %llu prev %llu/%llu +%u committed %llu%s",
			 (unsigned long long)m.append.term, (unsigned long long)m.append.prev_pos,
			 (unsigned long long)m.append.prev_term, m.append.count,
			 (unsigned long long)m.append.committed,
			 m.append.flags & SEQ_F_ANSWER ? " answer!" : "");
		break;
	case SEQ_MSG_APPEND_REPLY:
		seq_msg_append_reply_decode(&r, &m.append_reply);
		snprintf(out, 160, "%s term %llu match %llu agreed %llu",
			 m.append_reply.flags & SEQ_F_REJECT ? "refused" : "appended",
			 (unsigned long long)m.append_reply.term,
			 (unsigned long long)m.append_reply.match,
			 (unsigned long long)m.append_reply.agreed);
		break;
	default:
		snprintf(out, 160, "stand!");
		break;
	}
	return out;
}

static bool before(const struct cl_message *a, const struct cl_message *b)
{
	return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void wire_push(struct cluster *cl, struct cl_message m)
{
	VEC_PUSH(&cl->mem, &cl->wire, m);
	size_t i = cl->wire.count - 1;
	for (; i > 0 && before(&m, &cl->wire.at[(i - 1) / 2]); i = (i - 1) / 2)
		cl->wire.at[i] = cl->wire.at[(i - 1) / 2];
	cl->wire.at[i] = m;
}

static struct cl_message wire_pop(struct cluster *cl)
{
	struct cl_message top = cl->wire.at[0], last = cl->wire.at[--cl->wire.count];
	size_t n = cl->wire.count, i = 0;

	for (;;) {
		size_t c = 2 * i + 1;

		if (c + 1 < n && before(&cl->wire.at[c + 1], &cl->wire.at[c]))
			c++;
		if (c >= n || !before(&cl->wire.at[c], &last))
			break;
		cl->wire.at[i] = cl->wire.at[c];
		i = c;
	}
	if (n > 0)
		cl->wire.at[i] = last;
	return top;
}

/* What a voter says must be on its disk before it says so. */
static void check_promise(struct cl_node *n, uint64_t to, const void *data, size_t bytes)
{
	struct reader r = reader_init(data, bytes);
	struct seq_msg_vote vote;
	struct seq_msg_vote_reply vote_reply;
	struct seq_msg_append_reply reply;

	get_u8(&r);
	switch (get_u8(&r)) {
	case SEQ_MSG_VOTE:
		seq_msg_vote_decode(&r, &vote);
		if (!(vote.flags & SEQ_F_PRE) && (n->term != vote.term || n->vote != n->id))
			cl_fail(n->cl, "%llu stands before its own vote is durable",
				(unsigned long long)n->id);
		break;
	case SEQ_MSG_VOTE_REPLY:
		seq_msg_vote_reply_decode(&r, &vote_reply);
		if (vote_reply.flags == SEQ_F_GRANTED &&
		    (n->term != vote_reply.term || n->vote != to))
			cl_fail(n->cl, "%llu votes before that is durable",
				(unsigned long long)n->id);
		break;
	case SEQ_MSG_APPEND_REPLY:
		seq_msg_append_reply_decode(&r, &reply);
		if (!(reply.flags & SEQ_F_REJECT) &&
		    (n->term != reply.term || cl_log_last(&n->disk) < reply.match))
			cl_fail(n->cl, "%llu acknowledges %llu before that is durable",
				(unsigned long long)n->id, (unsigned long long)reply.match);
		n->cl->met.rejects += (reply.flags & SEQ_F_REJECT) != 0;
		break;
	case SEQ_MSG_TRANSFER:
		n->cl->met.transfers++;
		break;
	default:
		break;
	}
}

static void host_send(void *ctx, uint64_t to, const void *data, size_t bytes)
{
	struct cl_node *n = ctx;
	struct cluster *cl = n->cl;
	uint32_t copies = 1;
	char text[160];

	trace(cl, "%llu>%llu %s", (unsigned long long)n->id, (unsigned long long)to,
	      message_text(data, bytes, text));
	if (to == 0 || to > CL_NODES || to == n->id) {
		cl_fail(cl, "%llu sends to %llu", (unsigned long long)n->id,
			(unsigned long long)to);
		return;
	}
	check_promise(n, to, data, bytes);
	if (cl->cut[n->id][to] || (cl->drop && cl->drop(cl, n->id, to, data, bytes)) ||
	    rng_below(&cl->rng, 1000) < cl->loss_pm)
		return;
	if (rng_below(&cl->rng, 1000) < cl->dup_pm)
		copies = 2;
	while (copies-- > 0) {
		struct cl_message m = {
			.order = cl->orders++, .from = n->id, .to = to, .bytes = bytes};

		m.due_us = cl->now_us + cl->delay_us +
			   (cl->jitter_us ? rng_below(&cl->rng, cl->jitter_us) : 0);
		m.data = mem_alloc(&cl->mem, bytes);
		memcpy(m.data, data, bytes);
		wire_push(cl, m);
	}
}

static void host_committed(void *ctx, const struct seq_entry *e)
{
	struct cl_node *n = ctx;
	struct cluster *cl = n->cl;
	uint32_t sum = entry_sum(e->kind, e->data, e->bytes);

	trace(cl, "%llu commits %llu/%llu", (unsigned long long)n->id, (unsigned long long)e->pos,
	      (unsigned long long)e->term);
	if (e->pos != n->delivered + 1)
		cl_fail(cl, "state machine safety: %llu reports %llu after %llu",
			(unsigned long long)n->id, (unsigned long long)e->pos,
			(unsigned long long)n->delivered);
	n->delivered = e->pos;
	while (cl->committed.count <= e->pos)
		VEC_PUSH(&cl->mem, &cl->committed, (struct cl_fact){0});
	struct cl_fact *f = &cl->committed.at[e->pos];
	if (f->known) {
		if (f->term != e->term || f->sum != sum)
			cl_fail(cl, "state machine safety: %llu reports another entry at %llu",
				(unsigned long long)n->id, (unsigned long long)e->pos);
		return;
	}
	*f = (struct cl_fact){.term = e->term, .sum = sum, .known = true};
	cl->max_committed = e->pos > cl->max_committed ? e->pos : cl->max_committed;
	if (n->role == SEQ_LEADER)
		check_durable(cl, n, e->pos);
	for (uint32_t i = 1; i <= CL_NODES; i++) {
		struct cl_node *o = &cl->at[i];

		if (o->seq && o->role == SEQ_LEADER && o->role_term >= n->role_term &&
		    !has_fact(cl, &o->view, e->pos))
			cl_fail(cl,
				"leader completeness: %u leads term %llu, %llu committed %llu "
				"which it lacks",
				i, (unsigned long long)o->role_term, (unsigned long long)n->id,
				(unsigned long long)e->pos);
	}
}

static void host_role(void *ctx, enum seq_role role, uint64_t term, uint64_t leader)
{
	static const char *const names[] = {"follows", "pre-candidate", "candidate", "leads"};
	struct cl_node *n = ctx;
	struct cluster *cl = n->cl;

	trace(cl, "%llu %s term %llu leader %llu", (unsigned long long)n->id, names[role],
	      (unsigned long long)term, (unsigned long long)leader);
	if (term < n->role_term)
		cl_fail(cl, "the term of %llu fell", (unsigned long long)n->id);
	n->role = role;
	n->role_term = term;
	n->leader = leader;
	if (role != SEQ_LEADER)
		return;
	while (cl->term_leader.count <= term)
		VEC_PUSH(&cl->mem, &cl->term_leader, (uint64_t)0);
	if (cl->term_leader.at[term] != 0 && cl->term_leader.at[term] != n->id)
		cl_fail(cl, "election safety: %llu and %llu lead term %llu",
			(unsigned long long)n->id, (unsigned long long)cl->term_leader.at[term],
			(unsigned long long)term);
	cl->term_leader.at[term] = n->id;
	check_complete(cl, n);
}

static void host_config(void *ctx, const struct seq_voters *v)
{
	struct cl_node *n = ctx;

	for (uint32_t i = 0; i < v->count && n->role == SEQ_LEADER; i++)
		for (uint32_t j = 0; j < n->voters.count; j++)
			n->cl->met.promotions += v->at[i].id == n->voters.at[j].id &&
						 v->at[i].votes && !n->voters.at[j].votes;
	n->voters = *v;
}

static bool host_read(void *ctx, uint64_t pos, struct seq_entry *out)
{
	struct cl_node *n = ctx;
	const struct cl_entry *e = cl_log_at(&n->disk, pos);

	if (!e)
		return false;
	*out = (struct seq_entry){
		.pos = pos, .term = e->term, .kind = e->kind, .bytes = e->bytes, .data = e->data};
	return true;
}

static void host_too_old(void *ctx, uint64_t id)
{
	struct cl_node *n = ctx;

	trace(n->cl, "%llu is told that %llu is too old", (unsigned long long)n->id,
	      (unsigned long long)id);
	n->too_old = id;
	n->cl->met.too_old++;
}

static void host_noop(void *ctx, struct buf *out)
{
	struct cl_node *n = ctx;

	buf_printf(out, "no-op %llu of %llu", (unsigned long long)++n->noops,
		   (unsigned long long)n->id);
	if (n->cl->noop_bytes > out->size)
		memset(buf_append(out, n->cl->noop_bytes - out->size), 'x',
		       n->cl->noop_bytes - out->size);
}

static void host_read_done(void *ctx, uint64_t request, bool ok, uint64_t committed_pos)
{
	struct cl_node *n = ctx;
	uint64_t floor = n->cl->reads_at[request % 4096];

	trace(n->cl, "%llu read %llu %s at %llu", (unsigned long long)n->id,
	      (unsigned long long)request, ok ? "done" : "failed",
	      (unsigned long long)committed_pos);
	n->reads_ok += ok;
	n->reads_failed += !ok;
	if (ok && committed_pos < floor)
		cl_fail(n->cl, "read index %llu is before %llu", (unsigned long long)committed_pos,
			(unsigned long long)floor);
}

static const struct seq_host host = {
	.persist = host_persist,
	.send = host_send,
	.committed = host_committed,
	.role = host_role,
	.config = host_config,
	.read = host_read,
	.too_old = host_too_old,
	.noop = host_noop,
};

/* Life */

void cl_init(struct cluster *cl, uint64_t seed, uint32_t nodes, uint32_t voters)
{
	memset(cl, 0, sizeof *cl);
	mem_init(&cl->mem, NULL, "cluster", 0);
	rng_init(&cl->rng, seed);
	buf_init(&cl->trace, &cl->mem);
	cl->seed = seed;
	cl->nodes = nodes;
	cl->delay_us = 200;
	cl->now_us = 1000000;
	cl->seen.cap = SEEN_CAP;
	cl->seen.at = mem_alloc(&cl->mem, SEEN_CAP * sizeof *cl->seen.at);
	VEC_PUSH(&cl->mem, &cl->committed, (struct cl_fact){0});
	cl->initial.count = voters;
	for (uint32_t i = 0; i < voters; i++) {
		cl->initial.at[i].id = i + 1;
		cl->initial.at[i].votes = true;
		snprintf(cl->initial.at[i].address, SEQ_ADDRESS_MAX, "host%u:1", i + 1);
	}
	for (uint32_t id = 1; id <= CL_NODES; id++) {
		struct cl_node *n = &cl->at[id];

		n->cl = cl;
		n->id = id;
		n->disk.first_pos = n->view.first_pos = 1;
		n->disk_us = 1000;
		mem_init(&n->mem, NULL, "node", 0);
	}
}

static void write_free(struct cluster *cl, struct cl_write *w)
{
	for (size_t i = 0; i < w->e.count; i++)
		entry_free(cl, &w->e.at[i]);
	VEC_FINI(&cl->mem, &w->e);
}

void cl_fini(struct cluster *cl)
{
	for (uint32_t id = 1; id <= CL_NODES; id++) {
		struct cl_node *n = &cl->at[id];

		cl_crash_keep(cl, id, 0);
		log_fini(cl, &n->disk);
		log_fini(cl, &n->view);
		VEC_FINI(&cl->mem, &n->writes);
	}
	while (cl->wire.count > 0) {
		struct cl_message m = wire_pop(cl);
		mem_free(&cl->mem, m.data, m.bytes);
	}
	VEC_FINI(&cl->mem, &cl->wire);
	VEC_FINI(&cl->mem, &cl->term_leader);
	VEC_FINI(&cl->mem, &cl->committed);
	VEC_FINI(&cl->mem, &cl->seen);
	buf_fini(&cl->trace);
	mem_fini(&cl->mem);
}

static struct seq_voters disk_voters(const struct cluster *cl, const struct cl_node *n)
{
	struct seq_voters v = {0};

	for (uint64_t pos = cl_log_last(&n->disk); pos >= n->disk.first_pos; pos--) {
		const struct cl_entry *c = cl_log_at(&n->disk, pos);
		struct seq_entry e = {.kind = c->kind, .bytes = c->bytes, .data = c->data};

		if (seq_entry_voters(&e, &v))
			return v;
	}
	if (n->disk.first_pos > 1)
		return n->voters; /* tests that drop the journal do not change voters */
	return n->id <= cl->initial.count ? cl->initial : v;
}

void cl_start(struct cluster *cl, uint64_t id)
{
	struct cl_node *n = &cl->at[id];
	struct seq_config cfg = {
		.mem = &n->mem,
		.self = id,
		.seed = cl->seed * 131 + id + cl->steps,
		.host = &host,
		.ctx = n,
		.window_bytes = cl->window_bytes,
		.term = n->term,
		.vote = n->vote,
		.first_pos = n->disk.first_pos,
		.last_pos = cl_log_last(&n->disk),
		.before_term = n->disk.before_term,
		.may_vote = !n->short_journal,
		.committed_pos = n->applied_at_open,
	};

	ASSERT(!n->seq);
	(void)log_term(&n->disk, cfg.last_pos, &cfg.last_term);
	cfg.voters = n->voters = disk_voters(cl, n);
	log_assign(cl, &n->view, &n->disk);
	n->delivered = n->applied_at_open;
	n->role = SEQ_FOLLOWER;
	n->role_term = n->term;
	n->leader = 0;
	trace(cl, "%llu starts term %llu last %llu", (unsigned long long)id,
	      (unsigned long long)n->term, (unsigned long long)cfg.last_pos);
	if (seq_open(&cfg, cl->now_us, &n->seq) != ST_OK)
		cl_fail(cl, "seq_open refuses %llu", (unsigned long long)id);
	else
		seq_set_read_fn(n->seq, host_read_done);
}

static void write_apply(struct cluster *cl, struct cl_node *n, const struct cl_write *w)
{
	n->term = w->term;
	n->vote = w->vote;
	if (w->first_pos == 0)
		return;
	log_truncate(cl, &n->disk, w->first_pos);
	ASSERT_OP(w->first_pos, ==, cl_log_last(&n->disk) + 1);
	for (size_t i = 0; i < w->e.count; i++) {
		const struct cl_entry *e = &w->e.at[i];

		VEC_PUSH(&cl->mem, &n->disk.e, entry_copy(cl, e->term, e->kind, e->data, e->bytes));
	}
}

static void write_done(struct cluster *cl, struct cl_node *n)
{
	struct cl_write w = n->writes.at[0];

	n->writes.count--;
	memmove(&n->writes.at[0], &n->writes.at[1], n->writes.count * sizeof w);
	write_apply(cl, n, &w);
	write_free(cl, &w);
}

/*
 * Not by the disk's last position: it may still have entries there that a write under way replaces.
 */
uint64_t cl_applied(const struct cl_node *n)
{
	uint64_t durable = seq_persisted_pos(n->seq);

	return n->delivered < durable ? n->delivered : durable;
}

void cl_crash_keep(struct cluster *cl, uint64_t id, uint32_t writes)
{
	struct cl_node *n = &cl->at[id];

	if (!n->seq)
		return;
	trace(cl, "%llu crashes", (unsigned long long)id);
	uint64_t most = cl_applied(n);
	for (; writes > 0 && n->writes.count > 0; writes--)
		write_done(cl, n);
	while (n->writes.count > 0)
		write_free(cl, &n->writes.at[--n->writes.count]);
	/* A checkpoint was somewhere. */
	if (most > n->applied_at_open)
		n->applied_at_open += rng_below(&cl->rng, most - n->applied_at_open + 1);
	cl->met.elections += seq_stats(n->seq).elections;
	cl->met.journal_reads += seq_stats(n->seq).journal_reads;
	seq_close(n->seq);
	n->seq = NULL;
	n->role = SEQ_FOLLOWER;
	if (n->mem.used_bytes != 0)
		cl_fail(cl, "%llu leaks %zu bytes", (unsigned long long)id, n->mem.used_bytes);
}

void cl_crash(struct cluster *cl, uint64_t id)
{
	cl_crash_keep(cl, id, (uint32_t)rng_below(&cl->rng, cl->at[id].writes.count + 1));
}

void cl_disk_drop(struct cluster *cl, uint64_t id, uint64_t below_pos)
{
	struct cl_node *n = &cl->at[id];

	if (n->seq)
		seq_truncate_window(n->seq, below_pos);
	while (n->disk.first_pos < below_pos && n->disk.e.count > 0) {
		n->disk.before_term = n->disk.e.at[0].term;
		entry_free(cl, &n->disk.e.at[0]);
		n->disk.e.count--;
		memmove(&n->disk.e.at[0], &n->disk.e.at[1],
			n->disk.e.count * sizeof n->disk.e.at[0]);
		n->disk.first_pos++;
	}
	if (n->applied_at_open < n->disk.first_pos - 1)
		n->applied_at_open = n->disk.first_pos - 1;
}

void cl_cut(struct cluster *cl, uint64_t a, uint64_t b, bool cut)
{
	cl->cut[a][b] = cl->cut[b][a] = cut;
}

void cl_isolate(struct cluster *cl, uint64_t id, bool cut)
{
	for (uint64_t o = 1; o <= CL_NODES; o++)
		if (o != id)
			cl_cut(cl, id, o, cut);
}

void cl_heal(struct cluster *cl)
{
	memset(cl->cut, 0, sizeof cl->cut);
	cl->loss_pm = cl->dup_pm = 0;
	cl->drop = NULL;
}

/* Time */

static uint64_t write_due(const struct cl_node *n)
{
	return n->seq && n->writes.count > 0 && !n->disk_stopped ? n->writes.at[0].due_us
								 : UINT64_MAX;
}

static void wire_deliver(struct cluster *cl)
{
	struct cl_message m = wire_pop(cl);
	struct cl_node *n = &cl->at[m.to];

	if (n->seq && !cl->cut[m.from][m.to])
		seq_message(n->seq, cl->now_us, m.from, m.data, m.bytes);
	mem_free(&cl->mem, m.data, m.bytes);
}

static bool step(struct cluster *cl, uint64_t until_us, bool ticks)
{
	uint64_t due = cl->wire.count > 0 ? cl->wire.at[0].due_us : UINT64_MAX;
	struct cl_node *who = NULL;
	bool tick = false;

	for (uint32_t id = 1; id <= CL_NODES; id++) {
		struct cl_node *n = &cl->at[id];

		if (!n->seq)
			continue;
		if (write_due(n) < due) {
			due = write_due(n);
			who = n;
			tick = false;
		}
		if (ticks && seq_next_us(n->seq) < due) {
			due = seq_next_us(n->seq);
			who = n;
			tick = true;
		}
	}
	if (due > until_us || cl->failed) {
		if (ticks && cl->now_us < until_us)
			cl->now_us = until_us;
		return false;
	}
	cl->steps++;
	if (due > cl->now_us)
		cl->now_us = due;
	if (!who) {
		wire_deliver(cl);
	} else if (tick) {
		seq_tick(who->seq, cl->now_us);
	} else {
		uint64_t token = who->writes.at[0].token;

		write_done(cl, who);
		trace(cl, "%llu has written", (unsigned long long)who->id);
		seq_persisted(who->seq, cl->now_us, token);
	}
	cl_check(cl);
	return !cl->failed;
}

bool cl_step(struct cluster *cl, uint64_t until_us)
{
	return step(cl, until_us, true);
}

void cl_run(struct cluster *cl, uint64_t us)
{
	uint64_t until = cl->now_us + us;

	while (step(cl, until, true))
		;
}

bool cl_run_until(struct cluster *cl, uint64_t limit_us, bool (*cond)(struct cluster *cl))
{
	uint64_t until = cl->now_us + limit_us;

	while (!cond(cl))
		if (!step(cl, until, true))
			return cond(cl);
	return true;
}

void cl_deliver_all(struct cluster *cl)
{
	while (step(cl, UINT64_MAX - 1, false))
		;
}

uint64_t cl_leader(const struct cluster *cl)
{
	uint64_t term = 0, id = 0;

	for (uint32_t i = 1; i <= CL_NODES; i++) {
		const struct cl_node *n = &cl->at[i];

		if (n->seq && n->role == SEQ_LEADER && n->role_term >= term) {
			term = n->role_term;
			id = i;
		}
	}
	return id;
}

bool cl_stand(struct cluster *cl, uint64_t id)
{
	struct cl_node *n = &cl->at[id];

	for (uint32_t o = 1; o <= CL_NODES; o++)
		if (cl->at[o].seq && cl->at[o].leader != 0)
			seq_peer_down(cl->at[o].seq, cl->now_us, cl->at[o].leader);
	if (n->role == SEQ_LEADER)
		return true;
	if (cl->now_us < seq_next_us(n->seq))
		cl->now_us = seq_next_us(n->seq);
	seq_tick(n->seq, cl->now_us);
	cl_deliver_all(cl);
	return n->role == SEQ_LEADER;
}

uint64_t cl_elect(struct cluster *cl, uint64_t id)
{
	for (int i = 0; i < 4 && !cl->failed; i++)
		if (cl_stand(cl, id))
			return cl->at[id].role_term;
	return 0;
}

void cl_three(struct cluster *cl)
{
	for (uint64_t id = 1; id <= 3; id++)
		cl_start(cl, id);
	if (cl_elect(cl, 1) == 0)
		cl_fail(cl, "1 is not elected");
	cl_run(cl, 60000);
}

enum status cl_propose(struct cluster *cl, uint64_t id, const char *text, uint64_t *pos_out)
{
	uint64_t pos = 0;
	enum status st =
		seq_propose(cl->at[id].seq, cl->now_us, SEQ_BATCH, text, strlen(text), &pos);

	if (pos_out)
		*pos_out = pos;
	cl->proposed += st == ST_OK;
	cl_check(cl);
	return st;
}

void cl_read(struct cluster *cl, uint64_t id)
{
	uint64_t request = cl->read_next++;

	cl->reads_at[request % 4096] = cl->max_committed;
	(void)!seq_read_index(cl->at[id].seq, cl->now_us, request);
}

/* The views agree with each other and with what was reported; most checks are in the callbacks. */
void cl_check(struct cluster *cl)
{
	for (uint32_t id = 1; id <= CL_NODES; id++) {
		const struct cl_node *n = &cl->at[id];

		if (!n->seq)
			continue;
		if (seq_last(n->seq) != cl_log_last(&n->view))
			cl_fail(cl, "%u: last %llu, written %llu", id,
				(unsigned long long)seq_last(n->seq),
				(unsigned long long)cl_log_last(&n->view));
		if (seq_committed(n->seq) < n->delivered ||
		    seq_committed(n->seq) > seq_last(n->seq))
			cl_fail(cl, "%u: committed %llu out of order", id,
				(unsigned long long)seq_committed(n->seq));
		if (seq_role(n->seq) != n->role || seq_term(n->seq) != n->role_term ||
		    seq_leader(n->seq) != n->leader)
			cl_fail(cl, "%u: a change of role was not reported", id);
		if (seq_persisted_pos(n->seq) > cl_log_last(&n->disk))
			cl_fail(cl, "%u: believes %llu durable, the disk has %llu", id,
				(unsigned long long)seq_persisted_pos(n->seq),
				(unsigned long long)cl_log_last(&n->disk));
		uint64_t disk_term = 0, view_term = 0;
		(void)log_term(&n->disk, seq_persisted_pos(n->seq), &disk_term);
		(void)log_term(&n->view, seq_persisted_pos(n->seq), &view_term);
		if (disk_term != view_term && seq_persisted_pos(n->seq) >= n->disk.first_pos &&
		    seq_persisted_pos(n->seq) >= n->view.first_pos)
			cl_fail(cl, "%u: another entry is on disk at %llu, believed durable", id,
				(unsigned long long)seq_persisted_pos(n->seq));
		if (seq_stats(n->seq).bad_messages != 0)
			cl_fail(cl, "%u: calls an honest message bad", id);
	}
}

bool cl_all_agree(struct cluster *cl)
{
	uint64_t leader = cl_leader(cl);

	if (leader == 0 || !seq_own_term_committed(cl->at[leader].seq))
		return false;
	const struct cl_node *l = &cl->at[leader];
	for (uint32_t i = 0; i < l->voters.count; i++) {
		const struct cl_node *n = &cl->at[l->voters.at[i].id];

		if (n->seq && n->delivered != cl_log_last(&l->view))
			return false;
	}
	return l->delivered == cl_log_last(&l->view);
}
