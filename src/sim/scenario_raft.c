/*
 * scenario_raft.c - courses about the archives: the known ways to get consensus wrong, the whole state for one that is behind (sim).
 *
 * raft.c looks at Raft's properties all the while; a course here brings about what breaks one when a rule is missing, and fails
 * when it could not.
 */
#include "sim/scenario.h"

#include <string.h>

#include "base/cover.h"
#include "engine/sequencer/seq.h"
#include "engine/sequencer/seq_wire.h"
#include "net/relay/relay_wire.h"
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

static struct node *node_of_host(struct world *w, const struct sim_host *h)
{
	for (uint32_t i = 0; i < w->node_count; i++)
		if (w->nodes[i].host == h)
			return &w->nodes[i];
	return NULL;
}

static uint64_t last_of(struct node *n)
{
	return seq_last(engine_consensus(n->engine));
}

/* -- an entry of an old term on a majority of disks (Raft's figure 8) ------------------------------------------------ */

/*
 * What the network loses meanwhile. Appends from @from go to @only alone; and with own_term, entries of the sender's own term
 * stay behind: an append with others of older terms in front of them brings those, as one that was sent before them would.
 */
struct figure_8 {
	struct world *w;
	const struct node *from, *only;
	bool own_term;
	uint64_t cut;
};

#define APPEND_AT (sizeof(struct relay_plain_head) + 1) /* behind the relay's head and the engine's byte of kind */

static bool figure_8_filter(void *ctx, const struct sim_host *from, const struct sim_host *to, uint8_t *data, uint32_t *bytes)
{
	struct figure_8 *f = ctx;
	struct reader r;
	struct seq_msg_append m;
	uint32_t kept = 0, head;
	const uint8_t *end;

	if (*bytes < APPEND_AT + 2 || data[0] != RELAY_VOTER || data[APPEND_AT] != SEQ_WIRE_VERSION ||
	    data[APPEND_AT + 1] != SEQ_MSG_APPEND)
		return true;
	r = reader_init(data + APPEND_AT + 2, *bytes - APPEND_AT - 2);
	if (!seq_msg_append_decode(&r, &m) || !m.count)
		return true;
	if (f->from && f->from->host == from && f->only->host != to)
		return false;
	if (!f->own_term)
		return true;
	head = *bytes - (uint32_t)reader_left(&r);
	end = r.p;
	while (kept < m.count && get_u64(&r) < m.term) {
		get_u8(&r);
		get_raw(&r, get_u32(&r));
		end = r.p;
		kept++;
	}
	f->cut += m.count - kept;
	if (!kept)
		return false;
	memcpy(data + head - sizeof kept, &kept, sizeof kept); /* the last field of an append's head */
	*bytes = (uint32_t)(end - data);
	return true;
}

struct wanted { struct node *const *at; uint32_t count; struct node *leads; };

/* One of them leads, in the sense of consensus: it may not be able to commit anything. */
static bool one_leads(struct world *w, void *ctx)
{
	struct wanted *x = ctx;

	(void)w;
	for (uint32_t i = 0; i < x->count; i++) {
		struct seq *s = x->at[i]->up ? engine_consensus(x->at[i]->engine) : NULL;

		if (s && seq_role(s) == SEQ_LEADER) {
			x->leads = x->at[i];
			return true;
		}
	}
	return false;
}

static struct node *wait_leader(struct world *w, struct node *const *at, uint32_t count, const char *when)
{
	struct wanted x = {at, count, NULL};

	if (!world_run_until(w, LIMIT, one_leads, &x))
		world_violation(w, "nobody leads %s", when);
	return x.leads;
}

struct at_pos { struct node *n; uint64_t pos; };

static bool has_pos(struct world *w, void *ctx)
{
	const struct at_pos *a = ctx;

	(void)w;
	return sim_disk_durable_pos(a->n->disk) >= a->pos;
}

static bool durable(struct world *w, struct node *n, uint64_t pos, const char *what)
{
	struct at_pos a = {n, pos};

	if (!world_run_until(w, LIMIT, has_pos, &a))
		world_violation(w, "%s does not get %s onto its disk", n->name, what);
	return !w->failed;
}

static void isolate(struct world *w, const struct node *n, bool on)
{
	for (uint32_t i = 0; i < w->node_count; i++)
		if (&w->nodes[i] != n)
			sim_net_block_both(w->net, n->host, w->nodes[i].host, on);
}

/* (a): the leader's entry X reaches one other voter, and no more; then the leader dies. 0: it failed. */
static uint64_t one_gets_it(struct world *w, struct figure_8 *f, struct node *s1, struct node *s2, struct client *c)
{
	struct mtxn *x;
	uint64_t pos;

	f->from = s1;
	f->only = s2;
	pos = last_of(s1) + 1;
	x = model_txn_begin(w->model);
	client_query(c, "UPDATE acct SET tag = %lld WHERE id = 1", (long long)model_txn_write(x, 0, false));
	if (!durable(w, s1, pos, "X") || !durable(w, s2, pos, "X"))
		return 0;
	if (seq_committed(engine_consensus(s1->engine)) >= pos)
		world_violation(w, "X is committed with two voters of five");
	world_run_for(w, MILLIS(2));
	fault_crash(w, s1, false, 0);
	f->from = NULL;
	model_txn_end(w->model, x, TXN_UNKNOWN);
	return w->failed ? 0 : pos;
}

/* (b): another one leads; the first entry of its term stays on its own disk; then it dies. NULL: it failed. */
static struct node *other_leads(struct world *w, struct figure_8 *f, struct node *s2, struct node *const *rest, uint64_t pos)
{
	struct node *s5;

	isolate(w, s2, true);
	f->own_term = true;
	s5 = wait_leader(w, rest, 3, "without X");
	if (!s5 || !durable(w, s5, pos, "its first entry"))
		return NULL;
	world_run_for(w, MILLIS(2));
	fault_crash(w, s5, false, 0);
	isolate(w, s2, false);
	return s5;
}

static void figure_8(struct world *w, struct figure_8 *f)
{
	struct node *s1 = node_leader(w), *s2 = NULL, *rest[3], *first[2], *s5, *again;
	struct client *c = clients_add(w->clients, &load_idle);
	uint32_t n = 0;
	uint64_t pos;

	for (uint32_t i = 0; i < w->archive_count; i++) {
		if (&w->nodes[i] == s1)
			continue;
		if (!s2)
			s2 = &w->nodes[i];
		else
			rest[n++] = &w->nodes[i];
	}
	if (!s1 || !said(w, c, client_run_on(c, LIMIT, s1)) || !said(w, c, client_run(c, LIMIT, "SELECT 1")))
		return;
	world_run_for(w, MILLIS(100));
	if (!(pos = one_gets_it(w, f, s1, s2, c)) || !(s5 = other_leads(w, f, s2, rest, pos)))
		return;
	/* (c): one with X leads again. It brings X to the others' disks, and nothing of its own term. */
	node_start(s1);
	first[0] = s1;
	first[1] = s2;
	again = wait_leader(w, first, 2, "with X");
	for (uint32_t i = 0; i < 3 && again && !w->failed; i++)
		if (rest[i] != s5)
			(void)durable(w, rest[i], pos, "X");
	if (!again || w->failed)
		return;
	world_run_for(w, MILLIS(50)); /* X is on four disks of five, and everybody has told so */
	if (!f->cut || seq_role(engine_consensus(again->engine)) != SEQ_LEADER)
		world_violation(w, "figure 8 was not reached");
	/* (d): those two die, and who led in between, and has never heard of X, leads once more. */
	fault_crash(w, s1, false, 0);
	fault_crash(w, s2, false, 0);
	f->own_term = false;
	node_start(s5);
	if (!wait_leader(w, &s5, 1, "at the end"))
		return;
	world_run_for(w, MILLIS(200));
	node_start(s1);
	node_start(s2);
}

static void run_figure_8(struct world *w)
{
	struct client *admin = scenario_prepare(w);
	struct figure_8 f = {.w = w};

	if (!admin)
		return;
	world_phase(w, PHASE_RUN);
	world_run_for(w, MILLIS(500));
	sim_net_set_filter(w->net, figure_8_filter, &f);
	figure_8(w, &f);
	sim_net_set_filter(w->net, NULL, NULL);
	scenario_finish(w, admin);
}

/* -- commits while entries keep coming --------------------------------------------------------------------------------- */

#define SLOW_DISK 100       /* times slower: a write takes 20 to 50 ms */
#define SOON_US MILLIS(15)  /* from the second disk to the leader's word, with a turn or two that are busy */

struct seen_durable { uint64_t pos, at_us; };

/* The newest position that is on a majority of three disks. */
static uint64_t majority_durable(const struct world *w)
{
	uint64_t a = sim_disk_durable_pos(w->nodes[0].disk), b = sim_disk_durable_pos(w->nodes[1].disk),
		 c = sim_disk_durable_pos(w->nodes[2].disk);
	uint64_t lo = a < b ? a : b, hi = a < b ? b : a;

	return c < lo ? lo : c < hi ? c : hi;
}

/*
 * Writers never pause and the followers' disks are a hundred times slower than the leader's: there is always something that is
 * not durable yet. What is, on a majority of disks, is committed all the same, and at once.
 */
static void starved(struct world *w)
{
	struct node *leader = node_leader(w);
	struct seen_durable seen = {0, w->now_us};
	struct seq *s = engine_consensus(leader->engine);
	uint64_t end = w->now_us + SECONDS(4), term = seq_term(s), from = seq_committed(s);

	for (uint32_t i = 0; i < 3; i++)
		if (&w->nodes[i] != leader)
			sim_disk_set_slow(w->nodes[i].disk, SLOW_DISK);
	while (w->now_us < end && !w->failed) {
		uint64_t now = majority_durable(w);

		if (seq_role(s) != SEQ_LEADER || seq_term(s) != term) {
			world_violation(w, "%s lost its office to slow disks", leader->name);
			break;
		}
		if (seq_committed(s) >= seen.pos) {
			if (now > seq_committed(s)) {
				seen.pos = now;
				seen.at_us = w->now_us;
			}
		} else if (w->now_us > seen.at_us + SOON_US) {
			world_violation(w, "starved commit: position %llu is on two disks of three for %.1f ms, and %s has committed %llu",
					(unsigned long long)seen.pos, (double)(w->now_us - seen.at_us) / 1e3, leader->name,
					(unsigned long long)seq_committed(s));
		}
		world_run_for(w, 500);
	}
	for (uint32_t i = 0; i < 3; i++)
		sim_disk_set_slow(w->nodes[i].disk, 1);
	if (!w->failed && seq_committed(s) < from + 100)
		world_violation(w, "%llu entries in four seconds", (unsigned long long)(seq_committed(s) - from));
}

static void run_starved(struct world *w)
{
	struct client *admin;

	w->pace = 1;
	w->checkpoint_bytes = 8u << 20;
	admin = scenario_prepare(w);
	for (int i = 0; admin && i < 24; i++)
		client_sleep(clients_add(w->clients, i % 3 ? &load_bank : &load_keys), rng_below(&w->rng, MILLIS(100)));
	if (!admin)
		return;
	world_phase(w, PHASE_RUN);
	world_run_for(w, MILLIS(500));
	if (node_leader(w))
		starved(w);
	scenario_finish(w, admin);
}

/* -- an archive that cannot read the log from where it is -------------------------------------------------------------- */

static struct node *follower_of(struct world *w)
{
	struct node *leader = node_leader(w);

	for (uint32_t i = w->archive_count; i-- > 0;)
		if (&w->nodes[i] != leader)
			return &w->nodes[i];
	return NULL;
}

/* The leader does not have the entry any more that the archive needs next. */
static bool log_gone(struct world *w, void *ctx)
{
	const struct at_pos *a = ctx;
	struct node *leader = node_leader(w);
	struct seq *s = leader ? engine_consensus(leader->engine) : NULL;
	struct seq_entry e;

	return s && seq_committed(s) > a->pos + 1 && !seq_entry_at(s, a->pos + 1, &e);
}

static struct client *begin_state(struct world *w)
{
	struct client *admin;

	w->checkpoint_bytes = 64u << 10;
	w->journal_bytes = 128u << 10;
	w->mood = MOOD_BULK;
	w->pace = 1;
	admin = scenario_prepare(w);
	for (int i = 0; admin && i < 10; i++)
		client_sleep(clients_add(w->clients, i % 3 == 0 ? &load_bulk : i % 3 == 1 ? &load_bank : &load_keys),
			     rng_below(&w->rng, MILLIS(100)));
	if (admin)
		world_phase(w, PHASE_RUN);
	return admin;
}

/* An archive is away until the others have dropped what it needs next. NULL: it failed. */
static struct node *far_away(struct world *w, bool power, bool new_disk)
{
	struct node *n = follower_of(w);
	struct at_pos a = {n, 0};

	if (!n || !n->up)
		return NULL;
	a.pos = new_disk ? 0 : sim_disk_durable_pos(n->disk);
	fault_crash(w, n, power, 0);
	if (new_disk)
		node_new_disk(n);
	if (!world_run_until(w, SECONDS(60), log_gone, &a)) {
		world_violation(w, "the log behind position %llu is still there", (unsigned long long)a.pos);
		return NULL;
	}
	return n;
}

static bool is_ready(struct world *w, void *ctx)
{
	(void)w;
	return node_ready(ctx);
}

static bool comes_back(struct world *w, struct node *n)
{
	if (!w->failed && !world_run_until(w, SECONDS(30), is_ready, n))
		world_violation(w, "%s is no member (%s)", n->name, n->up ? engine_error(n->engine)->message : "down");
	return !w->failed;
}

static bool taken(struct world *w, uint64_t before)
{
	if (!w->failed && cover_counts[COVER_STATE_TAKEN] == before && !w->cfg.may_miss)
		world_violation(w, "no state was taken");
	return !w->failed;
}

static void run_state_return(struct world *w)
{
	struct client *admin = begin_state(w);

	for (int i = 0; admin && i < 2 && !w->failed; i++) {
		uint64_t before = cover_counts[COVER_STATE_TAKEN];
		struct node *n = far_away(w, i % 2 == 1, false);

		if (!n)
			break;
		node_start(n);
		if (!comes_back(w, n) || !taken(w, before))
			break;
		world_run_for(w, MILLIS(500));
	}
	if (admin)
		scenario_finish(w, admin);
}

static uint32_t voting(struct world *w, uint32_t *count_out)
{
	struct node *leader = node_leader(w);
	const struct seq_voters *v = leader ? seq_current_voters(engine_consensus(leader->engine)) : NULL;

	*count_out = v ? v->count : 0;
	return v ? seq_voting(v) : 0;
}

struct voters_wanted { uint32_t count, voting; };

static bool voters_are(struct world *w, void *ctx)
{
	const struct voters_wanted *x = ctx;
	uint32_t count;

	return voting(w, &count) == x->voting && count == x->count;
}

/* Its disk is lost. A new one joins in its place, and an operator ends the vote of what is lost. */
static void run_state_new(struct world *w)
{
	struct client *admin = begin_state(w), *c;
	struct voters_wanted with = {4, 4}, without = {3, 3};
	uint64_t before = cover_counts[COVER_STATE_TAKEN], lost;
	struct node *n = admin ? follower_of(w) : NULL;
	struct engine_info info;

	if (!n)
		return;
	engine_info(n->engine, &info);
	lost = info.voter_id;
	n = far_away(w, false, true);
	if (!n)
		return;
	node_start(n);
	if (!comes_back(w, n) || !taken(w, before))
		return;
	if (!world_run_until(w, LIMIT, voters_are, &with))
		world_violation(w, "the new archive does not vote");
	c = clients_add(w->clients, &load_idle);
	if (w->failed || !said(w, c, client_run_on(c, LIMIT, node_leader(w))))
		return;
	if (client_run(c, LIMIT, "SELECT valence.remove_voter(%lld)", (long long)info.voter_id + 2) ||
	    strcmp(c->reply.sqlstate, "22023") != 0)
		world_violation(w, "a voter that is none was removed");
	engine_info(n->engine, &info);
	if (client_run(c, LIMIT, "SELECT valence.remove_voter(%lld)", (long long)info.voter_id) ||
	    strcmp(c->reply.sqlstate, "55000") != 0)
		world_violation(w, "a voter that is there was removed");
	if (!said(w, c, client_run(c, LIMIT, "SELECT valence.remove_voter(%lld)", (long long)lost)))
		return;
	if (!voters_are(w, &without))
		world_violation(w, "the lost voter is not removed");
	client_hang_up(c);
	scenario_finish(w, admin);
}

/* Whoever gives it, and whoever takes it, dies in the middle, again and again. */
static void run_state_broken(struct world *w)
{
	struct client *admin = begin_state(w);
	struct node *n = admin ? far_away(w, false, false) : NULL;
	uint64_t before = cover_counts[COVER_STATE_TAKEN];

	if (!n)
		return;
	for (int i = 0; i < 8 && !w->failed; i++) {
		struct node *leader;

		if (!n->up)
			node_start(n);
		sim_disk_set_slow(n->disk, 40);
		world_run_for(w, MILLIS(50) + rng_below(&w->rng, MILLIS(600)));
		leader = node_leader(w);
		if (i % 3 == 2 && leader)
			fault_crash(w, leader, i % 2, MILLIS(300));
		else
			fault_crash(w, n, i % 2, 0);
		world_run_for(w, rng_below(&w->rng, MILLIS(200)));
	}
	sim_disk_set_slow(n->disk, 1);
	if (!n->up)
		node_start(n);
	if (comes_back(w, n) && taken(w, before))
		scenario_finish(w, admin);
}

/* -- five archives ------------------------------------------------------------------------------------------------------- */

static void blow_two(struct world *w, uint32_t round)
{
	struct node *leader = node_leader(w);
	uint32_t at = (uint32_t)rng_below(&w->rng, w->archive_count);

	if (leader)
		fault_crash(w, leader, round % 2 == 1, MILLIS(100) + rng_below(&w->rng, SECONDS(2)));
	fault_crash(w, &w->nodes[at], round % 3 == 1, MILLIS(100) + rng_below(&w->rng, SECONDS(2)));
}

static void run_five(struct world *w)
{
	struct client *admin = scenario_prepare(w);
	struct voters_wanted five = {5, 5};

	for (int i = 0; admin && i < 10; i++)
		client_sleep(clients_add(w->clients, i % 2 ? &load_bank : &load_keys), rng_below(&w->rng, MILLIS(100)));
	if (!admin)
		return;
	if (!world_run_until(w, LIMIT, voters_are, &five))
		world_violation(w, "there are five archives, and not five voters");
	world_phase(w, PHASE_RUN);
	for (uint32_t i = 0; i < 6 && !w->failed; i++) {
		blow_two(w, i);
		world_run_for(w, MILLIS(300) + rng_below(&w->rng, SECONDS(3)));
	}
	scenario_finish(w, admin);
}

const struct scenario scenarios_raft[] = {
	{"old-term", "an entry of an old term is on most disks, and not committed by that (Raft, figure 8)", 5, 6, MOOD_MIXED,
	 run_figure_8},
	{"starved-commit", "commits while entries keep coming and the followers' disks are slow", 3, 5, MOOD_MIXED, run_starved},
	{"state-return", "an archive was away until its place in the log was gone everywhere", 3, 5, MOOD_BULK, run_state_return},
	{"state-new", "an archive's disk is lost for good, a new one joins, the lost one's vote is ended", 3, 5, MOOD_BULK,
	 run_state_new},
	{"state-broken", "who gives the whole state, and who takes it, die in the middle", 3, 5, MOOD_BULK, run_state_broken},
	{"five-archives", "two of five archives die at a time", 5, 7, MOOD_MIXED, run_five},
	{NULL, NULL, 0, 0, MOOD_ANY, NULL},
};
