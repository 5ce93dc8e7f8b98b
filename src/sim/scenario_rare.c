/*
 * scenario_rare.c - courses that meet one rare path each, and fail when they do not (sim).
 *
 * Random clusters meet these once in hundreds of seeds, if at all: two messages must pass each other on different ways. Here
 * links are held up just then. What is held up is a direction between two hosts, for less than the heartbeat limit.
 */
#include "sim/scenario.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cover.h"
#include "sim/check.h"
#include "sim/fault.h"
#include "sim/load.h"
#include "sim/model.h"

#define LIMIT SECONDS(10)

static bool said(struct world *w, struct client *c, bool good)
{
	if (!good)
		world_violation(w, "%s on %s: %s %s", c->sql, c->node ? c->node->name : "no node", c->reply.sqlstate,
				c->reply.message);
	return good;
}

static struct client *client_on(struct world *w, struct node *n)
{
	struct client *c = clients_add(w->clients, &load_idle);

	return said(w, c, client_run_on(c, LIMIT, n)) ? c : NULL;
}

static struct node *parent_of(struct world *w, struct node *n)
{
	struct engine_info info;

	engine_info(n->engine, &info);
	return node_by_engine(w, info.parent);
}

/* A cache whose parent is @parent, or is not the leader when that is NULL. */
static struct node *cache_under(struct world *w, const struct node *parent, const struct node *but)
{
	for (uint32_t i = w->archive_count; i < w->node_count; i++) {
		struct node *n = &w->nodes[i], *p = parent_of(w, n);

		if (n != but && p && (parent ? p == parent : p != node_leader(w)))
			return n;
	}
	return NULL;
}

/*
 * The cache with the lowest id. When its parent falls silent it has no other to turn to, if there is one archive only: whoever
 * is to hear of something late must be it.
 */
static struct node *oldest_cache(struct world *w)
{
	struct node *oldest = NULL;
	struct engine_info info, least = {.id = 0};

	for (uint32_t i = w->archive_count; i < w->node_count; i++) {
		if (!w->nodes[i].up)
			continue;
		engine_info(w->nodes[i].engine, &info);
		if (!info.id || (oldest && info.id > least.id))
			continue;
		oldest = &w->nodes[i];
		least = info;
	}
	return oldest;
}

static bool met(struct world *w, enum cover_point point, uint64_t before)
{
	if (!w->failed && cover_counts[point] == before && !w->cfg.may_miss)
		world_violation(w, "the scenario did not meet %s", cover_name(point));
	return !w->failed;
}

/* Wide rows, as one transaction of the model. */
static struct mtxn *fill(struct world *w, struct client *c, const char *table, int64_t from, uint32_t rows, bool wait)
{
	struct mtxn *x = model_txn_begin(w->model);

	client_query(c, "INSERT INTO %s SELECT g, g || repeat('k', 450), repeat('g', 400), %" PRId64
		     " FROM generate_series(%" PRId64 ", %" PRId64 ") g", table, model_txn_write(x, 0, false),
		     from, from + rows - 1);
	if (wait && said(w, c, client_wait(c, LIMIT)))
		model_txn_end(w->model, x, TXN_ACKED);
	return x;
}

/* -- a split that comes after the end of its table ------------------------------------------------------------------- */

static bool in_log(struct world *w, void *ctx)
{
	(void)w;
	return ((struct mtxn *)ctx)->index != 0;
}

/*
 * A makes a table and fills it; its commit makes the index leaf too large, so A, its originator, sends a split. On the way to
 * the leader that is held up. TRUNCATE on another voter waits for A's transaction only, and comes into the log before the split.
 */
static void late_split(struct world *w, int number)
{
	char table[16];
	struct node *leader = node_leader(w), *a = cache_under(w, NULL, NULL), *p = a ? parent_of(w, a) : NULL, *other = NULL;
	struct client *ca, *cb;
	struct mtxn *x;

	for (uint32_t i = 0; i < w->archive_count; i++)
		if (&w->nodes[i] != leader && &w->nodes[i] != p)
			other = &w->nodes[i];
	if (!p || !leader || !other) {
		if (leader) /* all are below the leader: another one shall lead */
			fault_crash(w, leader, false, MILLIS(100));
		(void)world_run_until(w, SECONDS(20), scenario_all_ready, NULL);
		return;
	}
	snprintf(table, sizeof table, "late%d", number);
	if (!(ca = client_on(w, a)) || !(cb = client_on(w, other)) ||
	    !said(w, ca, client_run(ca, LIMIT, "CREATE TABLE %s (id bigint PRIMARY KEY, k text, pad text, tag bigint)", table)) ||
	    !said(w, ca, client_run(ca, LIMIT, "CREATE INDEX ON %s (k)", table)) ||
	    !said(w, ca, client_run(ca, LIMIT, "BEGIN")))
		return;
	x = fill(w, ca, table, 1, 700, false);
	if (!said(w, ca, client_wait(ca, LIMIT)))
		return;
	client_query(cb, "TRUNCATE %s", table);
	world_run_for(w, MILLIS(30));
	client_query(ca, "COMMIT");
	if (!world_run_until(w, SECONDS(2), in_log, x))
		world_violation(w, "the commit did not come into the log");
	sim_net_block(w->net, p->host, leader->host, true);
	(void)client_wait(cb, MILLIS(700));
	sim_net_block(w->net, p->host, leader->host, false);
	if (!said(w, ca, client_wait(ca, LIMIT)) || !said(w, cb, client_wait(cb, LIMIT)))
		return;
	model_txn_end(w->model, x, TXN_ACKED);
	world_run_for(w, MILLIS(300));
	client_hang_up(ca);
	client_hang_up(cb);
}

static void run_late_split(struct world *w)
{
	struct client *admin = scenario_prepare(w);
	uint64_t before = cover_counts[COVER_VOID_EPOCH];

	for (int i = 0; admin && i < 8 && !w->failed && cover_counts[COVER_VOID_EPOCH] == before; i++)
		late_split(w, i);
	if (admin && met(w, COVER_VOID_EPOCH, before))
		scenario_finish(w, admin);
}

/* -- a fetch of what is gone --------------------------------------------------------------------------------------------- */

/*
 * C asks for a copy, and that message is lost with its link. C's client hangs up, so nobody uses the table, and it is emptied;
 * C hears of that late, and asks again before.
 */
static void fetch_gone(struct world *w, int64_t from)
{
	struct node *leader = node_leader(w), *c = oldest_cache(w), *p, *h = NULL;
	struct client *cc, *ch, *ce, *cl;

	for (uint32_t i = w->archive_count; i < w->node_count; i++)
		if (&w->nodes[i] != c)
			h = &w->nodes[i];
	if (!c || !h || parent_of(w, c) != leader) {
		world_violation(w, "no cache has the leader as its only choice");
		return;
	}
	if (!(cc = client_on(w, c)) || !(ch = client_on(w, h)) || !(ce = client_on(w, h)) || !(cl = client_on(w, leader)))
		return;
	(void)fill(w, ch, "gr0", from, 100, true);
	if (w->failed || !said(w, ce, client_run(ce, LIMIT, "BEGIN")) ||
	    !said(w, ce, client_run(ce, LIMIT, "SELECT count(*) FROM gr0")) ||
	    !said(w, cc, client_run(cc, LIMIT, "SELECT count(*) FROM gr1")))
		return;
	p = parent_of(w, c);
	sim_net_block(w->net, c->host, p->host, true);
	client_query(cc, "SELECT max(pad) FROM gr0");
	world_run_for(w, MILLIS(4));
	sim_net_break(w->net, c->host, p->host, false);
	sim_net_block(w->net, c->host, p->host, false);
	client_hang_up(cc);
	world_run_for(w, MILLIS(60));
	client_query(cl, "TRUNCATE gr0");
	world_run_for(w, MILLIS(60)); /* all but E's have told that they do not use it */
	p = parent_of(w, c);
	if (!p) {
		world_violation(w, "%s found no parent", c->name);
		return;
	}
	sim_net_block(w->net, p->host, c->host, true);
	if (!said(w, ce, client_run(ce, LIMIT, "COMMIT")) || !said(w, cl, client_wait(cl, LIMIT)))
		return;
	world_run_for(w, MILLIS(480));
	sim_net_block(w->net, p->host, c->host, false);
	world_run_for(w, MILLIS(300));
	client_hang_up(ch);
	client_hang_up(ce);
	client_hang_up(cl);
}

static void run_fetch_gone(struct world *w)
{
	w->direct_links = 0; /* what is held up is the tree's links */
	w->fan_out = 8;      /* and nobody looks for another place meanwhile */

	struct client *admin = scenario_prepare(w);
	uint64_t before = cover_counts[COVER_FETCH_NOT_HERE];

	for (int i = 0; admin && i < 4 && !w->failed && cover_counts[COVER_FETCH_NOT_HERE] == before; i++)
		fetch_gone(w, 1 + i * 1000);
	if (admin && met(w, COVER_FETCH_NOT_HERE, before))
		scenario_finish(w, admin);
}

/* -- a fetch from within a record --------------------------------------------------------------------------------------- */

static bool paused(struct world *w, void *ctx)
{
	struct node *n = ctx;

	(void)w;
	return n->up && replica_paused(engine_replica(n->engine));
}

/*
 * C, which has heard nothing of the record, wants a copy of an index leaf; the archive, its originator, is in the middle of it.
 * The copy must be from before or after it: C applies the whole record to it.
 */
static void paused_fetch(struct world *w, struct node *h, struct node *c, int64_t from)
{
	struct mtxn *x = model_txn_begin(w->model);
	struct client *ch = client_on(w, h), *cc = client_on(w, c);
	struct node *p;

	if (!ch || !cc || !said(w, cc, client_run(cc, LIMIT, "SELECT tag FROM acct WHERE id = 1")))
		return;
	world_run_for(w, MILLIS(20)); /* it has left whom it joined by */
	p = parent_of(w, c);
	if (!p)
		return;
	sim_net_block(w->net, p->host, c->host, true);
	client_query(ch, "INSERT INTO big SELECT g, g::text, 'small', %" PRId64 " FROM generate_series(%" PRId64 ", %" PRId64
		     ") g", model_txn_write(x, 0, false), from, from + 22999);
	if (!world_run_until(w, MILLIS(500), paused, p))
		world_violation(w, "the record was applied in one turn");
	client_query(cc, "SELECT id FROM big WHERE k = '%" PRIu64 "'", rng_below(&w->rng, 20000));
	world_run_for(w, MILLIS(5) + rng_below(&w->rng, MILLIS(15)));
	sim_net_block(w->net, p->host, c->host, false);
	if (!said(w, ch, client_wait(ch, LIMIT)) || !said(w, cc, client_wait(cc, LIMIT)))
		return;
	model_txn_end(w->model, x, TXN_ACKED);
	world_run_for(w, MILLIS(300));
	for (uint32_t i = 0; i < w->node_count && !w->failed; i++)
		checks_copies(w->checks, &w->nodes[i]);
	client_hang_up(ch);
	client_hang_up(cc);
}

static void run_paused_fetch(struct world *w)
{
	struct client *admin = scenario_prepare(w);

	uint64_t before = cover_counts[COVER_FETCH_PAUSED];

	for (int i = 0; admin && i < 12 && !w->failed && (i < 2 || cover_counts[COVER_FETCH_PAUSED] == before); i++) {
		/* C has no copies then, and originates nothing; and the other cache is no parent for it, being newer */
		for (uint32_t k = 2; k > 0; k--) {
			fault_crash(w, &w->nodes[k], false, MILLIS(100));
			if (!world_run_until(w, SECONDS(20), scenario_all_ready, NULL))
				world_violation(w, "%s is no member again", w->nodes[k].name);
		}
		paused_fetch(w, &w->nodes[1], &w->nodes[2], 1 + i * 100000);
	}
	if (admin && met(w, COVER_FETCH_PAUSED, before))
		scenario_finish(w, admin);
}

/* -- a lost record among many ---------------------------------------------------------------------------------------------- */

/* They do not wait long for an answer, but come again at once: there is always a new record behind a lost one. */
struct restless { struct mtxn *x; uint64_t since_us, acked_us; };

static void restless_start(struct client *c)
{
	struct restless *s = c->state;

	s->x = model_txn_begin(c->w->model);
	s->since_us = c->w->now_us;
	client_query(c, "INSERT INTO wit VALUES (%" PRIu64 ", %" PRId64 ")", s->x->number, model_txn_write(s->x, 0, false));
	if (c->w->phase == PHASE_RUN)
		timer_arm(&c->w->timers, &c->limit, c->w->now_us + MILLIS(40) + rng_below(&c->rng, MILLIS(100)));
}

static void restless_event(struct client *c, enum client_event ev)
{
	struct restless *s = c->state;
	struct node *n = &c->w->nodes[c->w->archive_count + c->number % (c->w->node_count - c->w->archive_count)];

	if (s->x) {
		bool acked = ev == CLIENT_REPLY && !c->reply.error;

		model_txn_end(c->w->model, s->x, acked ? TXN_ACKED : TXN_UNKNOWN);
		s->x = NULL;
		c->done += acked;
		if (acked)
			s->acked_us = s->since_us;
	}
	if (c->stopping) {
		c->stopped = true;
		client_hang_up(c);
	} else if (c->phase == CLIENT_CLOSED) {
		client_connect(c, n);
	} else if (ev == CLIENT_REPLY || (ev == CLIENT_CONNECTED && c->reply.error)) {
		client_sleep(c, 1 + rng_below(&c->rng, MILLIS(3)));
	} else {
		restless_start(c);
	}
}

static const struct load load_restless = {"restless", sizeof(struct restless), restless_event, true};

struct wanted { uint64_t since_us; };

/* Every cache: a transaction begun since then is acknowledged. */
static bool all_served(struct world *w, void *ctx)
{
	const struct wanted *wanted = ctx;
	bool served[NODES_MAX] = {false};

	for (size_t i = 0; i < w->clients->at.count; i++) {
		const struct client *c = w->clients->at.at[i];
		const struct restless *s = c->state;

		if (c->load == &load_restless && s->acked_us > wanted->since_us)
			served[c->number % (w->node_count - w->archive_count)] = true;
	}
	for (uint32_t i = 0; i < w->node_count - w->archive_count; i++)
		if (!served[i])
			return false;
	return true;
}

static void run_lost_record(struct world *w)
{
	struct client *admin = scenario_prepare(w);

	if (!admin)
		return;
	for (uint32_t i = 0; i < 8 * (w->node_count - w->archive_count); i++)
		client_sleep(clients_add(w->clients, &load_restless), 1);
	world_phase(w, PHASE_RUN);
	world_run_for(w, MILLIS(500));
	for (int i = 0; i < 10 && !w->failed; i++) {
		struct node *leader = node_leader(w);
		struct wanted wanted = {w->now_us};

		for (uint32_t k = 0; leader && k < w->archive_count; k++)
			if (&w->nodes[k] != leader)
				sim_net_break(w->net, w->nodes[k].host, leader->host, false);
		if (!world_run_until(w, MILLIS(1500), all_served, &wanted))
			world_violation(w, "after a lost message some cache's records do not come into the log any more");
		world_run_for(w, rng_below(&w->rng, MILLIS(300)));
	}
	if (!w->failed)
		scenario_finish(w, admin);
}

/* -- in and out within one turn ------------------------------------------------------------------------------------------- */

struct joined { const struct node *n; engine_id was; };

static bool has_joined(struct world *w, void *ctx)
{
	const struct joined *j = ctx;
	struct node *leader = node_leader(w);
	struct replica *rp = leader ? engine_replica(leader->engine) : NULL;

	for (uint32_t i = 0; rp && i < replica_member_count(rp); i++) {
		const struct member *m = replica_member_at(rp, i);

		if (m->id > j->was && strcmp(m->join.address, j->n->address) == 0)
			return true;
	}
	return false;
}

/*
 * An engine stands still from before it hears that it has joined until it has been removed for its silence: it hears of both at
 * once, and must not take itself for a member. First an archive, then a cache.
 */
static void run_join_removed(struct world *w)
{
	struct client *admin = scenario_prepare(w);

	for (int i = 0; admin && i < 4 && !w->failed; i++) {
		struct node *leader = node_leader(w), *n = &w->nodes[i % 2 ? w->archive_count : 2];
		struct engine_info info;
		struct joined j = {n, 0};

		if (n == leader)
			n = &w->nodes[1];
		j.n = n;
		engine_info(n->engine, &info);
		j.was = info.id;
		fault_crash(w, n, false, MILLIS(100));
		if (!world_run_until(w, SECONDS(5), has_joined, &j))
			world_violation(w, "%s did not join", n->name);
		fault_pause(w, n, SECONDS(9));
		world_run_for(w, SECONDS(10));
		if (!w->failed && !world_run_until(w, SECONDS(20), scenario_all_ready, NULL))
			world_violation(w, "%s is no member again", n->name);
	}
	if (admin && !w->failed)
		scenario_finish(w, admin);
}

/* -- somebody who joins between the parts of a transaction and its commit ------------------------------------------------ */

static bool parts_open(struct world *w, void *ctx)
{
	struct node *leader = node_leader(w);

	(void)ctx;
	return leader && replica_oldest_part(engine_replica(leader->engine)) != UINT64_MAX;
}

/*
 * A's transaction is too large for one record. When its first parts are in the log, what A sends is held up, and C is started
 * anew: the root that it joins with is from after them, so it must ask for them when the commit comes, if it has a copy by then.
 */
static void late_joiner(struct world *w, int number)
{
	struct node *a = cache_under(w, node_leader(w), NULL), *c = NULL, *p = a ? parent_of(w, a) : NULL;
	struct client *ca, *cc = clients_add(w->clients, &load_idle);
	struct mtxn *x;
	struct joined j = {NULL, 0};
	struct engine_info info;

	for (uint32_t i = w->archive_count; i < w->node_count; i++)
		if (&w->nodes[i] != a && (!a || parent_of(w, &w->nodes[i]) != a))
			c = &w->nodes[i];
	if (!p || !c) {
		world_run_for(w, SECONDS(1));
		return;
	}
	engine_info(c->engine, &info);
	j = (struct joined){c, info.id};
	if (!(ca = client_on(w, a)) || !said(w, ca, client_run(ca, LIMIT, "BEGIN")))
		return;
	x = fill(w, ca, "gr0", 1 + number * 10000, 6000, false);
	if (!said(w, ca, client_wait(ca, LIMIT)))
		return;
	client_query(ca, "COMMIT");
	if (world_run_until(w, SECONDS(2), parts_open, NULL)) {
		sim_net_block(w->net, a->host, p->host, true);
		fault_crash(w, c, false, MILLIS(20));
		(void)world_run_until(w, MILLIS(500), has_joined, &j);
		world_run_for(w, MILLIS(20));
		if (node_ready(c) && client_run_on(cc, MILLIS(100), c)) { /* who has no copy needs no parts */
			client_query(cc, "SELECT max(pad) FROM gr0");
			(void)client_wait(cc, MILLIS(200));
		}
		sim_net_block(w->net, a->host, p->host, false);
	}
	if (client_wait(ca, LIMIT))
		model_txn_end(w->model, x, TXN_ACKED);
	else if (strcmp(ca->reply.sqlstate, "40001") == 0)
		model_txn_end(w->model, x, TXN_REFUSED); /* C had granted it something */
	else if (strcmp(ca->reply.sqlstate, "08007") == 0)
		model_txn_end(w->model, x, TXN_UNKNOWN); /* A was held up for too long */
	else if (!said(w, ca, false))
		return;
	if (!world_run_until(w, SECONDS(20), scenario_all_ready, NULL))
		world_violation(w, "%s is no member again", c->name);
	client_hang_up(ca);
	client_hang_up(cc);
}

static void run_late_joiner(struct world *w)
{
	struct client *admin = scenario_prepare(w);
	uint64_t before = cover_counts[COVER_PARTS_PULLED];

	for (int i = 0; admin && i < 8 && !w->failed && cover_counts[COVER_PARTS_PULLED] == before; i++)
		late_joiner(w, i);
	if (admin && met(w, COVER_PARTS_PULLED, before))
		scenario_finish(w, admin);
}

/* -- somebody for whom no window has the log any more ------------------------------------------------------------------- */

/*
 * C stops for less than the limit and its links break, so nothing waits for it on the way. Much more than a window holds is
 * written. It goes on from the leader's journal, under its old id. Each cache in turn: the one whose grants the writer needs
 * makes it wait.
 */
static void far_behind(struct world *w, int number)
{
	struct node *leader = node_leader(w), *c = &w->nodes[w->archive_count + (uint32_t)number % (w->node_count - w->archive_count)];
	struct client *cl = leader ? client_on(w, leader) : NULL;
	struct engine_info before, after;

	if (!cl)
		return;
	engine_info(c->engine, &before);
	fault_pause(w, c, MILLIS(600));
	for (uint32_t i = 0; i < w->node_count; i++)
		if (&w->nodes[i] != c)
			sim_net_break(w->net, c->host, w->nodes[i].host, false);
	for (int i = 0; i < 4 && !w->failed; i++) /* the newest batch stays in any window */
		(void)fill(w, cl, "gr0", 1 + number * 1000 + i * 100, 100, true);
	world_run_for(w, SECONDS(2));
	client_hang_up(cl);
	if (!world_run_until(w, SECONDS(20), scenario_all_ready, NULL))
		world_violation(w, "%s is no member again", c->name);
	engine_info(c->engine, &after);
	if (!w->failed && (after.id != before.id || after.applied <= before.applied))
		world_violation(w, "%s did not go on where it was", c->name);
}

static void run_far_behind(struct world *w)
{
	struct client *admin;
	uint64_t before = cover_counts[COVER_CATCHUP];

	w->window_bytes = 16u << 10;
	w->multicast = false; /* what came by datagrams while it was stopped would do */
	admin = scenario_prepare(w);
	for (int i = 0; admin && i < 3 && !w->failed; i++)
		far_behind(w, i);
	if (admin && met(w, COVER_CATCHUP, before))
		scenario_finish(w, admin);
}

/* -- interest that comes too late (P7) --------------------------------------------------------------------------------- */

/* C begins to read a table for the first time: the question for its first copy goes out, and nothing after it. */
static bool ask_and_stop(struct world *w, struct node *c, struct client *cc, const char *table, bool *blocked_out)
{
	struct node *p = parent_of(w, c);

	if (!p)
		return false;
	client_query(cc, "SELECT max(pad) FROM %s", table);
	world_run_for(w, 100 + rng_below(&w->rng, MILLIS(1)));
	sim_net_block(w->net, c->host, p->host, true);
	*blocked_out = true;
	return true;
}

/*
 * H made two tables. W has locks on new rows of the first. C has just told that it wants the second, so that it wants the first
 * is told a little later than it asks H for a copy, and is held up. Then W commits: C is not sent the payload. If the copy was
 * there before, C needs it for the next record; if it comes later, for the replay.
 */
static void late_interest(struct world *w, int number, bool replay)
{
	struct node *a = &w->nodes[0], *h = &w->nodes[1], *c = &w->nodes[2], *wr = &w->nodes[3];
	struct client *ch = client_on(w, h), *cc = client_on(w, c), *cw = client_on(w, wr);
	char table[2][16];
	bool blocked = false;
	struct mtxn *x;

	for (int i = 0; i < 2 && ch && cc && cw; i++) {
		snprintf(table[i], sizeof table[i], "%s%d", i ? "second" : "first", number);
		if (!said(w, ch, client_run(ch, LIMIT, "CREATE TABLE %s (id bigint PRIMARY KEY, k text, pad text, tag bigint)",
					    table[i])))
			return;
		(void)fill(w, ch, table[i], 1, 20, true);
	}
	if (!ch || !cc || !cw || w->failed || !said(w, cw, client_run(cw, LIMIT, "BEGIN")))
		return;
	x = fill(w, cw, table[0], 1000, 5, false);
	if (!said(w, cw, client_wait(cw, LIMIT)))
		return;
	world_run_for(w, MILLIS(50));
	if (!said(w, cc, client_run(cc, LIMIT, "SELECT count(*) FROM %s", table[1])))
		return;
	if (replay)
		sim_net_block(w->net, h->host, a->host, true);
	if (!ask_and_stop(w, c, cc, table[0], &blocked))
		world_violation(w, "%s has no parent", c->name);
	client_query(cw, "COMMIT");
	world_run_for(w, MILLIS(60));
	sim_net_block(w->net, h->host, a->host, false);
	world_run_for(w, MILLIS(20));
	sim_net_block(w->net, c->host, a->host, false);
	if (!said(w, cw, client_wait(cw, LIMIT)) || !said(w, cc, client_wait(cc, LIMIT)))
		return;
	model_txn_end(w->model, x, TXN_ACKED);
	world_run_for(w, MILLIS(100));
	for (uint32_t i = 0; i < w->node_count && !w->failed; i++)
		checks_copies(w->checks, &w->nodes[i]);
	client_hang_up(ch);
	client_hang_up(cc);
	client_hang_up(cw);
}

static void until_met(struct world *w, bool replay, enum cover_point point)
{
	uint64_t before = cover_counts[point];
	struct client *admin;

	w->fan_out = 0;
	w->multicast = false; /* by which everybody gets everything */
	w->direct_links = 0; /* what is held up is on the links of the tree */
	admin = scenario_prepare(w);
	for (int i = 0; admin && i < 40 && !w->failed && cover_counts[point] == before; i++)
		late_interest(w, i, replay);
	if (admin && met(w, point, before))
		scenario_finish(w, admin);
}

static void run_late_interest(struct world *w)
{
	until_met(w, false, COVER_PAYLOADS_PULLED);
}

static void run_fetch_pull(struct world *w)
{
	until_met(w, true, COVER_REPLAY_PULLED);
}

/* -- a parent that was not sent what its new child wants ----------------------------------------------------------------- */

/*
 * G, below another cache, has a copy. Its parent falls silent towards it while the table is written, and is then killed. Whoever
 * is G's next parent had nobody who wanted the payloads. @archive: the only archive starts again meanwhile, so the one that has them
 * has an id that G does not know yet.
 */
static void new_parent(struct world *w, int number, bool archive)
{
	struct node *a = &w->nodes[0], *g = NULL, *p = NULL;
	struct client *ca = client_on(w, a), *cg;
	char table[16];

	for (uint32_t i = w->node_count - 1; i > 0 && !g; i--) {
		p = parent_of(w, &w->nodes[i]);
		if (p && p != a)
			g = &w->nodes[i];
	}
	if (!ca || !g || !(cg = client_on(w, g))) {
		world_violation(w, "no cache is below another one");
		return;
	}
	snprintf(table, sizeof table, "np%d", number);
	if (!said(w, ca, client_run(ca, LIMIT, "CREATE TABLE %s (id bigint PRIMARY KEY, k text, pad text, tag bigint)", table)))
		return;
	(void)fill(w, ca, table, 1, 20, true);
	if (w->failed || !said(w, cg, client_run(cg, LIMIT, "SELECT max(pad) FROM %s", table)))
		return;
	world_run_for(w, MILLIS(100)); /* what G wants is known everywhere */
	p = parent_of(w, g);
	if (!p || p == a)
		return;
	sim_net_block(w->net, p->host, g->host, true);
	for (int i = 0; i < 5 && !w->failed; i++)
		(void)fill(w, ca, table, 1000 + i * 10, 5, true);
	fault_crash(w, p, false, MILLIS(3000));
	if (archive) {
		client_hang_up(ca);
		fault_crash(w, a, false, MILLIS(100));
	}
	world_run_for(w, MILLIS(2000));
	sim_net_block(w->net, p->host, g->host, false);
	if (archive && !said(w, ca, client_run_on(ca, LIMIT, a)))
		return;
	if (!world_run_until(w, SECONDS(20), scenario_all_ready, NULL))
		world_violation(w, "%s is no member again", p->name);
	(void)fill(w, ca, table, 2000, 5, true);
	world_run_for(w, MILLIS(100));
	for (uint32_t i = 0; i < w->node_count && !w->failed; i++)
		checks_copies(w->checks, &w->nodes[i]);
	client_hang_up(ca);
	client_hang_up(cg);
}

static void new_parents(struct world *w, bool archive, enum cover_point point)
{
	uint64_t before = cover_counts[point];
	struct client *admin;

	w->fan_out = 2;
	w->multicast = false;
	w->direct_links = 0;
	admin = scenario_prepare(w);
	for (int i = 0; admin && i < 12 && !w->failed && cover_counts[point] == before; i++)
		new_parent(w, i, archive);
	if (admin && met(w, point, before))
		scenario_finish(w, admin);
}

static void run_new_parent(struct world *w)
{
	new_parents(w, false, COVER_PULL_NOT_HERE);
}

static void run_new_archive(struct world *w)
{
	new_parents(w, true, COVER_PULL_LEADER);
}

const struct scenario scenarios_rare[] = {
	{"late-split", "a split that comes after the end of its table", 3, 6, MOOD_MIXED, run_late_split},
	{"fetch-gone", "a copy is asked for of what is gone", 1, 4, MOOD_MIXED, run_fetch_gone},
	{"paused-fetch", "a copy is asked for within a record that changes it", 1, 3, MOOD_MIXED, run_paused_fetch},
	{"lost-record", "one of many records is lost on its way to the leader", 3, 6, MOOD_MIXED, run_lost_record},
	{"join-removed", "an engine hears at once that it joined and was removed", 3, 5, MOOD_MIXED, run_join_removed},
	{"late-joiner", "an engine joins between the parts of a transaction and its commit", 1, 3, MOOD_MIXED, run_late_joiner},
	{"far-behind", "an engine that stops while more is written than any window holds", 3, 6, MOOD_MIXED, run_far_behind},
	{"late-interest", "a record's payload was not sent to who has got a copy since", 1, 4, MOOD_MIXED, run_late_interest},
	{"fetch-pull", "a fetched copy needs payloads that were not sent", 1, 4, MOOD_MIXED, run_fetch_pull},
	{"new-parent", "the next parent was not sent what its new child needs", 1, 8, MOOD_MIXED, run_new_parent},
	{"new-archive", "the same, and who has it started again under another id", 1, 8, MOOD_MIXED, run_new_archive},
	{NULL, NULL, 0, 0, MOOD_ANY, NULL},
};
