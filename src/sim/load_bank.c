/*
 * load_bank.c - transfers between accounts, and those who count the money (sim).
 *
 * acct(id int primary key, balance bigint, tag bigint). A transfer moves an amount between two accounts, in one of
 * several ways: arithmetic in UPDATE, SELECT FOR UPDATE and explicit values, REPEATABLE READ with explicit values, one statement
 * for both rows, prepared statements. Some connections ask to be answered early (valence.commit_level): what they were told may
 * come to nothing, but only with a warning, and their next statement's reply comes after it is decided. Each write carries a tag (model.h), so the log tells whether anything was lost.
 * The sum never changes.
 */
#include "sim/load.h"

#include <inttypes.h>
#include <stdio.h>

enum way { WAY_ADD, WAY_LOCK, WAY_REPEATABLE, WAY_ONE, WAY_PREPARED, WAY_COUNT };
enum at {
	AT_START, AT_LEVEL, AT_BEGIN, AT_READ, AT_SAVEPOINT, AT_WRONG, AT_BACK, AT_FIRST, AT_SECOND, AT_AGAIN, AT_COMMIT, AT_ALONE,
	AT_ROLLBACK
};
struct bank {
	enum at at;
	enum way way;
	bool savepoint, read_again;
	int a, b;
	int64_t amount, balance_a, balance_b, tag_a, tag_b;
	uint64_t kept;
	struct mtxn *x;
	bool level;             /* of this connection: lower than archive */
	struct mtxn *early;     /* acknowledged early, and not known yet to be decided */
};

/* A reply of a session that was answered early: @waited: of a statement that had a snapshot, taken when all before was decided. */
static void settle(struct client *c, bool waited)
{
	struct bank *s = c->state;
	struct mtxn *x = s->early;

	if (c->reply.warning[0] && !x)
		world_violation(c->w, "client %u on %s: warned by %s of a commit that was not answered early", c->number,
				c->node->name, c->reply.warning);
	if (!x || (!waited && !c->reply.warning[0]))
		return;
	s->early = NULL;
	model_txn_settle(c->w->model, x,
			 !c->reply.warning[0] ? TXN_ACKED : strcmp(c->reply.warning, "08007") ? TXN_REFUSED : TXN_UNKNOWN);
	if (x->end == TXN_ACKED && x->index > c->session_lo)
		c->session_lo = x->index;
}

static void end(struct client *c, enum txn_end how)
{
	struct bank *s = c->state;

	model_txn_end(c->w->model, s->x, how);
	s->x = NULL;
	s->at = AT_START;
	client_count(c, how);
	client_next(c, MILLIS(6));
}

static void reads_check(struct client *c, struct mtxn *x, const char *what)
{
	struct mtable *t = model_table(c->w->model, "acct");
	struct mreads r;

	model_reads_init(&r);
	for (uint32_t i = 0; i < c->reply.rows; i++)
		model_read(c->w->model, &r, t, client_int(c, i, 0), client_int(c, i, 2), client_int(c, i, 1), x);
	model_reads_check(c->w->model, &r, x, &c->session_lo, client_applied(c), what);
	sim_stats.reads++;
}

static int account(struct client *c)
{
	if (rng_below(&c->rng, 100) < c->w->hot_percent)
		return (int)rng_below(&c->rng, c->w->hot_keys) + 1;
	return (int)rng_below(&c->rng, ACCOUNTS) + 1;
}

static void start(struct client *c)
{
	struct bank *s = c->state;

	s->way = (enum way)rng_below(&c->rng, WAY_COUNT);
	s->a = account(c);
	do
		s->b = account(c);
	while (s->b == s->a);
	s->amount = (int64_t)rng_below(&c->rng, 50) + 1;
	s->savepoint = rng_below(&c->rng, 8) == 0;
	s->read_again = rng_below(&c->rng, 4) == 0;
	s->x = model_txn_begin(c->w->model);
	s->x->one_snapshot = s->way == WAY_REPEATABLE;
	s->x->read_lo = s->x->one_snapshot ? c->session_lo : 0;
	if (s->way == WAY_ONE) {
		int64_t ta = model_txn_write(s->x, -s->amount, true), tb = model_txn_write(s->x, s->amount, true);

		s->at = AT_ALONE;
		client_query(c, "UPDATE acct SET balance = balance + CASE id WHEN %d THEN %" PRId64 " ELSE %" PRId64
			     " END, tag = CASE id WHEN %d THEN %" PRId64 " ELSE %" PRId64 " END WHERE id IN (%d, %d)",
			     s->a, -s->amount, s->amount, s->a, ta, tb, s->a, s->b);
		return;
	}
	s->at = AT_BEGIN;
	client_query(c, s->way == WAY_REPEATABLE ? "BEGIN ISOLATION LEVEL REPEATABLE READ" : "BEGIN");
}

static void rollback(struct client *c)
{
	((struct bank *)c->state)->at = AT_ROLLBACK;
	client_query(c, "ROLLBACK");
}

static void write_one(struct client *c, int id, int64_t amount, int64_t balance, enum at at)
{
	struct bank *s = c->state;
	int64_t tag = model_txn_write(s->x, amount, true);
	char p1[24], p2[24], p3[24];
	const char *params[] = {p1, p2, p3};

	s->at = at;
	if (s->way == WAY_PREPARED) {
		snprintf(p1, sizeof p1, "%d", id);
		snprintf(p2, sizeof p2, "%" PRId64, amount);
		snprintf(p3, sizeof p3, "%" PRId64, tag);
		client_execute(c, 1, "UPDATE acct SET balance = balance + $2, tag = $3 WHERE id = $1", 3, params);
	} else if (s->way == WAY_ADD || at == AT_WRONG) {
		client_query(c, "UPDATE acct SET balance = balance + %" PRId64 ", tag = %" PRId64 " WHERE id = %d",
			     amount, tag, id);
	} else {
		client_query(c, "UPDATE acct SET balance = %" PRId64 ", tag = %" PRId64 " WHERE id = %d",
			     balance + amount, tag, id);
	}
}

static void read_two(struct client *c)
{
	struct bank *s = c->state;

	s->at = AT_READ;
	client_query(c, "SELECT id, balance, tag FROM acct WHERE id IN (%d, %d)%s", s->a, s->b,
		     s->way == WAY_LOCK ? " FOR UPDATE" : "");
}

static void took_two(struct client *c)
{
	struct bank *s = c->state;

	if (c->reply.rows != 2) {
		world_violation(c->w, "client %u: accounts %d and %d are %u rows", c->number, s->a, s->b, c->reply.rows);
		return;
	}
	reads_check(c, s->x, "two accounts");
	for (uint32_t i = 0; i < 2; i++)
		if (client_int(c, i, 0) == s->a)
			s->balance_a = client_int(c, i, 1);
		else
			s->balance_b = client_int(c, i, 1);
}

static void updated(struct client *c, const char *tag)
{
	if (strcmp(c->reply.tag, tag) != 0)
		world_violation(c->w, "client %u: \"%s\" instead of \"%s\" for %s", c->number, c->reply.tag, tag, c->sql);
}

static void failed(struct client *c)
{
	struct bank *s = c->state;

	if (!client_error_expected(c)) {
		world_violation(c->w, "client %u on %s: %s %s for %s", c->number, c->node->name, c->reply.sqlstate,
				c->reply.message, c->sql);
		return;
	}
	if (client_outcome_unknown(c))
		end(c, TXN_UNKNOWN);
	else if (s->at == AT_COMMIT || s->at == AT_ALONE || s->at == AT_BEGIN || c->reply.status == 'I')
		end(c, TXN_REFUSED);
	else
		rollback(c);
}

static void replied(struct client *c)
{
	struct bank *s = c->state;

	settle(c, !c->reply.error && s->at != AT_BEGIN && s->at != AT_ROLLBACK && s->at != AT_LEVEL && s->at != AT_SAVEPOINT &&
			  s->at != AT_BACK && s->at != AT_COMMIT);
	if (c->reply.error && s->at != AT_ROLLBACK && s->at != AT_LEVEL) {
		failed(c);
		return;
	}
	switch (s->at) {
	case AT_LEVEL:
		start(c);
		return;
	case AT_BEGIN:
		if (s->way == WAY_LOCK || s->way == WAY_REPEATABLE) {
			read_two(c);
			return;
		}
		/* fall through */
	case AT_READ:
		if (s->at == AT_READ)
			took_two(c);
		if (s->savepoint) {
			s->at = AT_SAVEPOINT;
			client_query(c, "SAVEPOINT s");
			return;
		}
		write_one(c, s->a, -s->amount, s->balance_a, AT_FIRST);
		return;
	case AT_SAVEPOINT:
		s->kept = model_txn_writes(s->x);
		write_one(c, s->b, 100000, 0, AT_WRONG);
		return;
	case AT_WRONG:
		model_txn_undo(s->x, s->kept);
		s->at = AT_BACK;
		client_query(c, "ROLLBACK TO SAVEPOINT s");
		return;
	case AT_BACK:
		write_one(c, s->a, -s->amount, s->balance_a, AT_FIRST);
		return;
	case AT_FIRST:
		updated(c, "UPDATE 1");
		write_one(c, s->b, s->amount, s->balance_b, AT_SECOND);
		return;
	case AT_SECOND:
		updated(c, "UPDATE 1");
		if (s->read_again && s->way == WAY_REPEATABLE) {
			s->at = AT_AGAIN;
			client_query(c, "SELECT id, balance, tag FROM acct WHERE id > %d", ACCOUNTS / 2);
			return;
		}
		/* fall through */
	case AT_AGAIN:
		if (s->at == AT_AGAIN)
			reads_check(c, s->x, "the snapshot again");
		s->at = AT_COMMIT;
		client_query(c, "COMMIT");
		return;
	case AT_ALONE:
		updated(c, "UPDATE 2");
		/* fall through */
	case AT_COMMIT:
		if (s->x->index > c->session_lo && !s->level)
			c->session_lo = s->x->index;
		if (s->level)
			s->early = s->x;
		end(c, s->level ? TXN_EARLY : TXN_ACKED);
		return;
	case AT_ROLLBACK:
		end(c, TXN_REFUSED);
		return;
	case AT_START:
		return;
	}
}

static void bank_event(struct client *c, enum client_event ev)
{
	struct bank *s = c->state;

	switch (ev) {
	case CLIENT_LOST:
		s->early = NULL;
		if (s->x)
			end(c, s->at == AT_COMMIT || s->at == AT_ALONE ? TXN_UNKNOWN : TXN_REFUSED);
		else
			client_next(c, MILLIS(20));
		return;
	case CLIENT_WOKEN:
		if (c->phase == CLIENT_CLOSED) {
			s->early = NULL;
			client_connect(c, NULL);
		} else {
			start(c);
		}
		return;
	case CLIENT_CONNECTED:
		s->level = !c->reply.error && rng_below(&c->rng, 3) == 0;
		if (c->reply.error) {
			client_next(c, MILLIS(50));
		} else if (s->level) {
			s->at = AT_LEVEL;
			client_query(c, "SET valence.commit_level = %s", rng_below(&c->rng, 2) ? "local" : "memory");
		} else {
			start(c);
		}
		return;
	case CLIENT_REPLY:
		replied(c);
	}
}

const struct load load_bank = {"bank", sizeof(struct bank), bank_event, true};

/* -- readers --------------------------------------------------------------------------------------------------------- */

enum reading { READ_SUM, READ_ALL, READ_TWICE, READ_POINT, READ_LATEST, READ_COUNT };
struct reader_state { enum reading what; uint32_t at; struct mtxn *x; seq_index acked; };

static void read_start(struct client *c)
{
	struct reader_state *s = c->state;
	char id[12];
	const char *params[] = {id};

	s->what = (enum reading)rng_below(&c->rng, READ_COUNT);
	s->at = 0;
	switch (s->what) {
	case READ_SUM:
		client_query(c, "SELECT sum(balance), count(*) FROM acct");
		return;
	case READ_ALL:
		client_query(c, "SELECT id, balance, tag FROM acct");
		return;
	case READ_TWICE:
		s->x = model_txn_begin(c->w->model);
		s->x->one_snapshot = true;
		s->x->read_lo = c->session_lo;
		client_query(c, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
		return;
	case READ_LATEST: /* has all that anybody was told of before */
		s->acked = model_acked(c->w->model);
		client_query(c, "BEGIN; SET LOCAL valence.read_consistency = latest; SELECT id, balance, tag FROM acct; COMMIT");
		return;
	case READ_COUNT:
		return;
	case READ_POINT:
		snprintf(id, sizeof id, "%d", account(c));
		client_execute(c, 2, "SELECT id, balance, tag FROM acct WHERE id = $1", 1, params);
	}
}

static void read_end(struct client *c, bool good)
{
	struct reader_state *s = c->state;

	if (s->x)
		model_txn_end(c->w->model, s->x, TXN_REFUSED);
	s->x = NULL;
	c->done += good;
	client_next(c, MILLIS(12));
}

static void sum_check(struct client *c)
{
	if (client_int(c, 0, 0) != TOTAL || client_int(c, 0, 1) != ACCOUNTS)
		world_violation(c->w, "client %u on %s: the sum is %s over %s accounts, wanted %d over %d", c->number,
				c->node->name, client_cell(c, 0, 0), client_cell(c, 0, 1), TOTAL, ACCOUNTS);
	sim_stats.reads++;
}

static void whole_check(struct client *c, struct mtxn *x)
{
	int64_t sum = 0;

	for (uint32_t i = 0; i < c->reply.rows; i++)
		sum += client_int(c, i, 1);
	if (c->reply.rows != ACCOUNTS || sum != TOTAL)
		world_violation(c->w, "client %u on %s: %u rows with the sum %lld", c->number, c->node->name,
				c->reply.rows, (long long)sum);
	reads_check(c, x, "all accounts");
}

static void read_replied(struct client *c)
{
	struct reader_state *s = c->state;

	if (c->reply.error) {
		if (!client_error_expected(c))
			world_violation(c->w, "client %u on %s: %s %s for %s", c->number, c->node->name,
					c->reply.sqlstate, c->reply.message, c->sql);
		if (c->reply.status != 'I' && s->at < 100) {
			s->at = 100;
			client_query(c, "ROLLBACK");
		} else {
			read_end(c, false);
		}
		return;
	}
	if (s->at == 100) {
		read_end(c, false);
		return;
	}
	switch (s->what) {
	case READ_SUM:
		sum_check(c);
		break;
	case READ_ALL:
		whole_check(c, NULL);
		break;
	case READ_LATEST:
		if (s->acked > c->session_lo)
			c->session_lo = s->acked;
		whole_check(c, NULL);
		break;
	case READ_COUNT:
		break;
	case READ_POINT:
		reads_check(c, NULL, "one account");
		break;
	case READ_TWICE:
		if (s->at == 1 || s->at == 3)
			whole_check(c, s->x);
		if (s->at == 2)
			sum_check(c);
		if (s->at == 4)
			break;
		s->at++;
		client_query(c, s->at == 1 ? "SELECT id, balance, tag FROM acct" :
				s->at == 2 ? "SELECT sum(balance), count(*) FROM acct" :
				s->at == 3 ? "SELECT id, balance, tag FROM acct ORDER BY id DESC" : "COMMIT");
		return;
	}
	read_end(c, true);
}

static void reader_event(struct client *c, enum client_event ev)
{
	switch (ev) {
	case CLIENT_LOST:
		read_end(c, false);
		return;
	case CLIENT_WOKEN:
		if (c->phase == CLIENT_CLOSED)
			client_connect(c, NULL);
		else
			read_start(c);
		return;
	case CLIENT_CONNECTED:
		if (c->reply.error)
			client_next(c, MILLIS(50));
		else
			read_start(c);
		return;
	case CLIENT_REPLY:
		read_replied(c);
	}
}

const struct load load_reader = {"reader", sizeof(struct reader_state), reader_event, true};
