/*
 * load_named.c - transfers that must happen once each, whatever becomes of clients, connections and engines (sim).
 *
 * A transfer between two accounts of acct has a name of its own (valence.txn_id) and is tried under it, on any engine, until a
 * client knows that it is committed: by COMMIT's answer, or because a later attempt is told so. All attempts are one transaction of the
 * model with the same tags, so a second effect is "in the log twice", and one that is missing at the end is lost. Some attempts
 * say since when the name is in use; some write nothing, which is an outcome, too.
 */
#include "sim/load.h"

#include <inttypes.h>
#include <stdio.h>

enum at { AT_IDLE, AT_SINCE, AT_BEGIN, AT_NAME, AT_WRITE, AT_COMMIT, AT_AT_ONCE, AT_ROLLBACK, AT_OUTCOME };
struct named_state {
	enum at at;
	struct mtxn *x;         /* under way; NULL: none */
	uint64_t number;
	int a, b;
	int64_t amount, tag_a, tag_b;
	uint64_t since;
	uint32_t attempts;
	bool at_once, empty;    /* one Query with all statements; nothing is written */
};

static void next_attempt(struct client *c, uint64_t think_us)
{
	struct named_state *s = c->state;

	s->at = AT_IDLE;
	if (c->phase != CLIENT_CLOSED && rng_below(&c->rng, 3) == 0)
		client_hang_up(c);
	client_sleep(c, 1 + rng_below(&c->rng, think_us * c->w->pace * 2));
}

static void done(struct client *c)
{
	struct named_state *s = c->state;

	model_txn_end(c->w->model, s->x, TXN_ACKED);
	if (s->x->index > c->session_lo)
		c->session_lo = s->x->index;
	s->x = NULL;
	s->at = AT_IDLE;
	client_count(c, TXN_ACKED);
	client_next(c, MILLIS(8));
}

/* Some hang up while the commit is under way, and try again at once: two attempts are then on their way to the log. */
static void maybe_leave_soon(struct client *c)
{
	if (rng_below(&c->rng, 3))
		return;
	timer_cancel(&c->w->timers, &c->limit);
	timer_arm(&c->w->timers, &c->limit, c->w->now_us + 100 + rng_below(&c->rng, 2000));
}

static void update_text(const struct named_state *s, char *out, size_t room)
{
	snprintf(out, room, "UPDATE acct SET balance = balance + CASE id WHEN %d THEN %" PRId64 " ELSE %" PRId64
		 " END, tag = CASE id WHEN %d THEN %" PRId64 " ELSE %" PRId64 " END WHERE id IN (%d, %d)",
		 s->a, -s->amount, s->amount, s->a, s->tag_a, s->tag_b, s->a, s->b);
}

static void attempt(struct client *c)
{
	struct named_state *s = c->state;
	char update[400];

	s->attempts++;
	s->at_once = rng_below(&c->rng, 2) == 0;
	if (!s->at_once) {
		s->at = AT_BEGIN;
		client_query(c, "BEGIN");
		return;
	}
	s->at = AT_AT_ONCE;
	update_text(s, update, sizeof update);
	client_query(c, "SET valence.commit_level = %s; BEGIN; SET LOCAL valence.txn_since = %" PRIu64 "; SET LOCAL valence.txn_id = 'k%u-%" PRIu64 "'; %s; COMMIT",
		     rng_below(&c->rng, 2) ? "local" : "archive", s->since, c->number, s->number, s->empty ? "SELECT 1" : update);
	maybe_leave_soon(c);
}

static void start(struct client *c)
{
	struct named_state *s = c->state;

	if (s->x) {
		attempt(c);
		return;
	}
	s->number++;
	s->attempts = 0;
	s->since = 0;
	s->empty = rng_below(&c->rng, 10) == 0;
	s->a = (int)rng_below(&c->rng, ACCOUNTS) + 1;
	s->b = s->a % ACCOUNTS + 1;
	s->amount = (int64_t)rng_below(&c->rng, 50) + 1;
	s->x = model_txn_begin(c->w->model);
	if (!s->empty) {
		s->tag_a = model_txn_write(s->x, -s->amount, true);
		s->tag_b = model_txn_write(s->x, s->amount, true);
	}
	s->at = AT_SINCE;
	if (rng_below(&c->rng, 2))
		client_query(c, "SELECT valence.applied_index()");
	else
		attempt(c);
}

static void failed(struct client *c)
{
	struct named_state *s = c->state;

	if (client_sqlstate(c, "VT001")) {
		if (s->attempts < 2)
			world_violation(c->w, "client %u on %s: %s, at the first attempt", c->number, c->node->name,
					c->reply.message);
		s->at = AT_OUTCOME;
		client_query(c, "ROLLBACK; SELECT valence.txn_outcome('k%u-%" PRIu64 "')", c->number, s->number);
		return;
	}
	if (!client_error_expected(c)) {
		world_violation(c->w, "client %u on %s: %s %s for %s", c->number, c->node->name, c->reply.sqlstate,
				c->reply.message, c->sql);
		return;
	}
	if (c->reply.status == 'I') {
		next_attempt(c, MILLIS(20));
		return;
	}
	s->at = AT_ROLLBACK;
	client_query(c, "ROLLBACK");
}

static void replied(struct client *c)
{
	struct named_state *s = c->state;
	char update[400];

	if (c->reply.error && s->at == AT_OUTCOME) {
		next_attempt(c, MILLIS(20));
		return;
	}
	if (c->reply.error && s->at != AT_ROLLBACK) {
		failed(c);
		return;
	}
	switch (s->at) {
	case AT_SINCE:
		s->since = (uint64_t)client_int(c, 0, 0);
		attempt(c);
		return;
	case AT_BEGIN:
		s->at = AT_NAME;
		client_query(c, "SELECT set_config('valence.txn_since', '%" PRIu64 "', true), set_config('valence.txn_id', 'k%u-%" PRIu64
			     "', true)", s->since, c->number, s->number);
		return;
	case AT_NAME:
		s->at = s->empty ? AT_COMMIT : AT_WRITE;
		update_text(s, update, sizeof update);
		client_query(c, "%s", s->empty ? "COMMIT" : update);
		return;
	case AT_WRITE:
		s->at = AT_COMMIT;
		client_query(c, "COMMIT");
		maybe_leave_soon(c);
		return;
	case AT_OUTCOME:
		if (client_int(c, 0, 0) <= 0 || (!s->empty && client_int(c, 0, 0) != (int64_t)s->x->index))
			world_violation(c->w, "client %u on %s: %s was committed at %s, the log has it at %" PRIu64, c->number,
					c->node->name, c->sql, client_cell(c, 0, 0), s->x->index);
		done(c);
		return;
	case AT_COMMIT:
	case AT_AT_ONCE:
		done(c);
		return;
	case AT_ROLLBACK:
		next_attempt(c, MILLIS(20));
		return;
	default:
		return;
	}
}

static void named_event(struct client *c, enum client_event ev)
{
	struct named_state *s = c->state;

	switch (ev) {
	case CLIENT_LOST:
		s->at = AT_IDLE;
		client_sleep(c, 1 + rng_below(&c->rng, rng_below(&c->rng, 2) ? 50 : MILLIS(40)));
		return;
	case CLIENT_WOKEN:
		if (c->phase == CLIENT_CLOSED)
			client_connect(c, NULL);
		else
			start(c);
		return;
	case CLIENT_CONNECTED:
		if (c->reply.error)
			next_attempt(c, MILLIS(50));
		else
			start(c);
		return;
	case CLIENT_REPLY:
		replied(c);
	}
}

const struct load load_named = {"named", sizeof(struct named_state), named_event, true};
