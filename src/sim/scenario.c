/*
 * scenario.c - the courses of a simulated cluster (sim).
 *
 * All have one shape: boot, set up, run with faults, heal, run on (everybody must get something done), stop the clients,
 * compare everything.
 */
#include "sim/scenario.h"

#include <string.h>

#include "sim/check.h"
#include "sim/fault.h"
#include "sim/load.h"
#include "sim/load_history.h"
#include "sim/model.h"

#define BOOT_LIMIT SECONDS(20)
#define READY_LIMIT SECONDS(25)    /* after the last fault: every engine is a member */
#define PROGRESS_LIMIT SECONDS(40) /* and every client has done something */
#define QUIET_LIMIT SECONDS(30)
#define LINKS_LIMIT SECONDS(60)    /* somebody who was left as a parent is gone back to after 10 s, later if that happened more often */

bool scenario_all_ready(struct world *w, void *ctx)
{
	(void)ctx;
	for (uint32_t i = 0; i < w->node_count; i++)
		if (!node_ready(&w->nodes[i]))
			return false;
	return true;
}

static void not_ready(struct world *w, const char *when)
{
	for (uint32_t i = 0; i < w->node_count && !w->failed; i++) {
		struct node *n = &w->nodes[i];

		if (!node_ready(n))
			world_violation(w, "%s: %s is no member (state %d, %s)", when, n->name,
					n->up ? (int)engine_state(n->engine) : -1,
					n->up ? engine_error(n->engine)->message : "down");
	}
}

static bool boot(struct world *w)
{
	world_phase(w, PHASE_BOOT);
	for (uint32_t i = 0; i < w->node_count && !w->failed; i++) {
		node_start(&w->nodes[i]);
		if (rng_below(&w->rng, 2))
			world_run_for(w, rng_below(&w->rng, MILLIS(300)));
	}
	if (!world_run_until(w, BOOT_LIMIT, scenario_all_ready, NULL))
		not_ready(w, "at the beginning");
	return !w->failed;
}

/* -- healing ---------------------------------------------------------------------------------------------------- */

struct progress { uint64_t before[64]; };

static bool all_progress(struct world *w, void *ctx)
{
	const struct progress *p = ctx;

	for (size_t i = 0; i < w->clients->at.count && i < 64; i++) {
		const struct client *c = w->clients->at.at[i];

		if (c->load->works && c->done < p->before[i] + 2)
			return false;
	}
	return true;
}

static void no_progress(struct world *w, const struct progress *p)
{
	for (size_t i = 0; i < w->clients->at.count && i < 64; i++) {
		const struct client *c = w->clients->at.at[i];

		if (c->load->works && c->done < p->before[i] + 2)
			world_violation(w, "no progress: client %u (%s) on %s did %llu transactions since the last fault: %s",
					c->number, c->load->name, c->node ? c->node->name : "no node",
					(unsigned long long)(c->done - p->before[i]), c->sql);
	}
}

static bool heal(struct world *w)
{
	struct progress p;

	world_phase(w, PHASE_HEALED);
	faults_heal(w->faults);
	if (!world_run_until(w, READY_LIMIT, scenario_all_ready, NULL)) {
		not_ready(w, "after the last fault");
		return false;
	}
	for (size_t i = 0; i < w->clients->at.count && i < 64; i++)
		p.before[i] = w->clients->at.at[i]->done;
	if (!world_run_until(w, PROGRESS_LIMIT, all_progress, &p))
		no_progress(w, &p);
	if (!w->failed)
		world_run_for(w, MILLIS(300));
	return !w->failed;
}

/* -- comparing ----------------------------------------------------------------------------------------------------- */

static bool clients_done(struct world *w, void *ctx)
{
	(void)ctx;
	return clients_stopped(w->clients);
}

static bool all_equal(struct world *w, void *ctx)
{
	seq_index applied = node_applied(&w->nodes[0]);

	(void)ctx;
	for (uint32_t i = 0; i < w->node_count; i++)
		if (!node_ready(&w->nodes[i]) || node_applied(&w->nodes[i]) != applied ||
		    engine_applying(w->nodes[i].engine))
			return false;
	return applied == model_last(w->model);
}

/* As many links as the tree gives it, one for each other voter, and what it dialled beside them. */
static bool links_bounded(const struct node *n, struct engine_info *info)
{
	const struct world *w = n->w;

	engine_info(n->engine, info);
	return info->children <= (w->fan_out ? w->fan_out : 8) && info->voter_links == (n->archive ? w->archive_count - 1 : 0) &&
	       info->links == info->children + info->direct_links + (n->archive ? info->voter_links : 1);
}

static bool all_bounded(struct world *w, void *ctx)
{
	struct engine_info info;

	(void)ctx;
	for (uint32_t i = 0; i < w->node_count; i++)
		if (!node_ready(&w->nodes[i]) || !links_bounded(&w->nodes[i], &info))
			return false;
	return true;
}

/* Whoever has too many children, or a link too much, loses it soon. */
static void links_settle(struct world *w)
{
	if (world_run_until(w, LINKS_LIMIT, all_bounded, NULL))
		return;
	for (uint32_t i = 0; i < w->node_count && !w->failed; i++) {
		struct engine_info info;

		if (!links_bounded(&w->nodes[i], &info))
			world_violation(w, "links of %s do not settle: %u, with %u children, %u voters and %u direct ones", w->nodes[i].name,
					info.links, info.children, info.voter_links, info.direct_links);
	}
}

static bool quiet(struct world *w)
{
	world_phase(w, PHASE_QUIET);
	clients_stop(w->clients);
	if (!world_run_until(w, QUIET_LIMIT, clients_done, NULL))
		world_violation(w, "clients do not come to an end");
	world_run_for(w, MILLIS(700));
	if (!w->failed)
		links_settle(w);
	if (!w->failed && !world_run_until(w, QUIET_LIMIT, all_equal, NULL))
		world_violation(w, "engines do not come to one index: %s at %llu, the newest is %llu", w->nodes[0].name,
				(unsigned long long)node_applied(&w->nodes[0]),
				(unsigned long long)model_last(w->model));
	return !w->failed;
}

static void verify(struct world *w, struct client *admin)
{
	if (!quiet(w))
		return;
	world_phase(w, PHASE_VERIFY);
	checks_quiet(w->checks);
	model_final(w->model);
	if (!w->failed && load_verify(w, admin) && histories_verify(w, admin) && world_run_until(w, QUIET_LIMIT, all_equal, NULL)) {
		checks_quiet(w->checks);
		model_final(w->model);
	}
}

struct client *scenario_prepare(struct world *w)
{
	struct client *admin = clients_add(w->clients, &load_idle);

	if (!boot(w))
		return NULL;
	world_phase(w, PHASE_SETUP);
	return load_setup(w, admin) ? admin : NULL;
}

void scenario_finish(struct world *w, struct client *admin)
{
	if (!w->failed && heal(w))
		verify(w, admin);
}

/* -- loads ----------------------------------------------------------------------------------------------------------- */

static void add_clients(struct world *w, uint32_t count)
{
	static const struct load *const all[] = {&load_bank, &load_reader, &load_keys, &load_bulk, &load_sequence,
						 &load_ddl, &load_grow, &load_history, &load_named};
	static const uint32_t weights[MOOD_COUNT][sizeof all / sizeof all[0]] = {
		[MOOD_MIXED] = {50, 15, 18, 7, 12, 8, 2, 25, 15},
		[MOOD_HOT] = {60, 10, 22, 1, 10, 1, 0, 25, 20},
		[MOOD_DDL] = {8, 4, 5, 3, 4, 26, 50, 5, 4},
		[MOOD_BULK] = {25, 10, 5, 45, 5, 4, 6, 10, 5},
		[MOOD_HISTORY] = {5, 0, 5, 3, 0, 3, 2, 82, 3},
	};
	const uint32_t *weight = weights[w->mood];
	uint32_t sum = 0;

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		sum += weight[i];
	for (uint32_t k = 0; k < count; k++) {
		uint64_t pick = rng_below(&w->rng, sum);
		size_t i = 0;

		while (pick >= weight[i])
			pick -= weight[i++];
		client_sleep(clients_add(w->clients, all[i]), rng_below(&w->rng, MILLIS(100)));
	}
	for (uint32_t k = 0; k < 1 + count / 6; k++)
		client_sleep(clients_add(w->clients, &load_skew), MILLIS(10 * (k + 1)));
}

/* -- courses ----------------------------------------------------------------------------------------------------------- */

static struct client *begin(struct world *w, uint32_t clients)
{
	struct client *admin = scenario_prepare(w);

	if (!admin)
		return NULL;
	if (w->mood == MOOD_HOT)
		clients += 6 + (uint32_t)rng_below(&w->rng, 10);
	add_clients(w, clients);
	world_phase(w, PHASE_RUN);
	world_run_for(w, MILLIS(500));
	return w->failed ? NULL : admin;
}

static void run_random(struct world *w)
{
	struct client *admin = begin(w, 4 + (uint32_t)rng_below(&w->rng, 8));

	if (!admin)
		return;
	faults_start(w->faults);
	world_run_for(w, w->run_us);
	scenario_finish(w, admin);
}

static void run_calm(struct world *w)
{
	struct client *admin = begin(w, 4 + (uint32_t)rng_below(&w->rng, 8));

	if (!admin)
		return;
	world_run_for(w, w->run_us / 2);
	scenario_finish(w, admin);
}

/* What it is that fails again and again, while others work. */
typedef void (*blow_fn)(struct world *w, uint32_t round);

static void rounds(struct world *w, blow_fn blow, uint32_t count)
{
	struct client *admin = begin(w, 6 + (uint32_t)rng_below(&w->rng, 6));

	for (uint32_t i = 0; admin && i < count && !w->failed; i++) {
		blow(w, i);
		world_run_for(w, MILLIS(300) + rng_below(&w->rng, SECONDS(4)));
	}
	if (admin)
		scenario_finish(w, admin);
}

static uint64_t short_us(struct world *w)
{
	return MILLIS(100) + rng_below(&w->rng, SECONDS(2));
}

static void blow_leader(struct world *w, uint32_t round)
{
	struct node *n = node_leader(w);

	if (n)
		fault_crash(w, n, round % 2 == 1, short_us(w));
}

static void blow_all(struct world *w, uint32_t round)
{
	for (uint32_t i = 0; i < w->node_count; i++)
		fault_crash(w, &w->nodes[i], round % 2 == 1, short_us(w));
}

static void blow_archive(struct world *w, uint32_t round)
{
	fault_crash(w, &w->nodes[0], round % 2 == 1, short_us(w));
}

/* A cache, while its clients' transactions are under way. */
static void blow_coordinator(struct world *w, uint32_t round)
{
	uint32_t caches = w->node_count - w->archive_count;

	fault_crash(w, &w->nodes[w->archive_count + rng_below(&w->rng, caches)], round % 2 == 1, short_us(w));
}

/* Whoever must be asked for the first account: the engine that originates the atom with most rows of acct. */
static void blow_originator(struct world *w, uint32_t round)
{
	struct mtable *t = model_table(w->model, "acct");
	struct node *n = NULL;

	for (uint32_t i = 0; t && i < w->node_count && !n; i++) {
		struct replica *rp;
		struct route route;
		struct hold h;
		atom_id need;

		if (!node_ready(&w->nodes[i]))
			continue;
		rp = engine_replica(w->nodes[i].engine);
		if (replica_route_row(rp, t->storage, 1, &route, &need) == ST_OK &&
		    replica_hold(rp, route.atom, &h, &need) == ST_OK)
			n = node_by_engine(w, replica_originator(rp, &h));
	}
	if (n)
		fault_crash(w, n, round % 2 == 1, short_us(w));
}

static void blow_partition(struct world *w, uint32_t round)
{
	(void)round;
	fault_partition(w, 1 + rng_below(&w->rng, (UINT64_C(1) << (w->node_count < 63 ? w->node_count : 63)) - 2), short_us(w));
}

static void blow_pause(struct world *w, uint32_t round)
{
	(void)round;
	fault_pause(w, &w->nodes[rng_below(&w->rng, w->node_count)], short_us(w));
}

static void run_leader_kill(struct world *w) { rounds(w, blow_leader, 6); }
static void run_all_kill(struct world *w) { rounds(w, blow_all, 4); }
static void run_archive_restart(struct world *w) { rounds(w, blow_archive, 6); }
static void run_coordinator_kill(struct world *w) { rounds(w, blow_coordinator, 8); }
static void run_originator_kill(struct world *w) { rounds(w, blow_originator, 6); }
static void run_partition(struct world *w) { rounds(w, blow_partition, 6); }
static void run_pause(struct world *w) { rounds(w, blow_pause, 8); }

/* -- sequence A --------------------------------------------------------------------------------------------------------- */

static bool said(struct world *w, struct client *c, bool good)
{
	if (!good)
		world_violation(w, "%s on %s: %s %s", c->sql, c->node ? c->node->name : "no node", c->reply.sqlstate,
				c->reply.message);
	return good;
}

static engine_id id_of(struct node *n)
{
	struct engine_info info;

	engine_info(n->engine, &info);
	return info.id;
}

/* The sequence's originator as @n's catalog says, and who holds it. 0: not known there yet. */
static engine_id sequence_holder(struct node *n, const char *name, struct hold *h)
{
	struct replica *rp = engine_replica(n->engine);
	struct route route;
	struct slice v;
	struct buf key;
	atom_id need;
	rel_id seq = 0;

	buf_init(&key, &n->w->mem);
	schema_key_name(&key, "public", name);
	if (replica_route_catalog(rp, ATOM_SCHEMA_CAT, key.data, (uint32_t)key.size, &route) == ST_OK && route.frame &&
	    leaf_get(replica_store(rp), route.frame, LEAF_NEWEST, key.data, (uint32_t)key.size, &v) == ST_OK &&
	    v.bytes >= 8)
		memcpy(&seq, v.p, 8);
	buf_fini(&key);
	if (!seq || replica_route_sequence(rp, seq, &route, &need) != ST_OK || replica_hold(rp, route.atom, h, &need) != ST_OK)
		return 0;
	return replica_originator(rp, h);
}

struct values { uint64_t count; int64_t at[512]; };

static bool take_value(struct world *w, struct client *c, struct values *v)
{
	if (!said(w, c, client_run(c, SECONDS(10), "SELECT nextval('letters')")))
		return false;
	for (uint64_t i = 0; i < v->count; i++)
		if (v->at[i] == client_int(c, 0, 0)) {
			world_violation(w, "nextval gave %lld twice", (long long)v->at[i]);
			return false;
		}
	v->at[v->count++] = client_int(c, 0, 0);
	return true;
}

/*
 * The system's first story: A makes a sequence, so A holds it. B finds that in the catalog and asks A, becomes a
 * holder too. A dies: B is the originator at once, and no value comes twice.
 */
static void run_sequence_a(struct world *w)
{
	struct client *admin = scenario_prepare(w), *a, *b;
	struct node *na = &w->nodes[1], *nb = &w->nodes[2];
	struct values v = {0};
	struct hold h = {0};
	engine_id id_a, id_b;

	if (!admin)
		return;
	a = clients_add(w->clients, &load_idle);
	b = clients_add(w->clients, &load_idle);
	if (!said(w, a, client_run_on(a, SECONDS(5), na)) || !said(w, b, client_run_on(b, SECONDS(5), nb)) ||
	    !said(w, a, client_run(a, SECONDS(5), "CREATE SEQUENCE letters")))
		return;
	id_a = id_of(na);
	id_b = id_of(nb);
	for (int i = 0; i < 40; i++)
		if (!take_value(w, a, &v))
			return;
	world_run_for(w, MILLIS(200));
	if (sequence_holder(na, "letters", &h) != id_a || !hold_has(&h, id_a) || hold_has(&h, id_b))
		world_violation(w, "A made the sequence, and is not its originator and only holder");
	for (int i = 0; i < 40; i++)
		if (!take_value(w, i % 2 ? a : b, &v))
			return;
	world_run_for(w, MILLIS(500));
	if (sequence_holder(nb, "letters", &h) != id_a || !hold_has(&h, id_a) || !hold_has(&h, id_b))
		world_violation(w, "B asked for the sequence: its holders should be A and B, its originator A");
	fault_crash(w, na, false, 0);
	if (!take_value(w, b, &v))
		return;
	if (sequence_holder(nb, "letters", &h) != id_b)
		world_violation(w, "A is gone, and B is not the originator of the sequence");
	for (int i = 0; i < 100; i++)
		if (!take_value(w, b, &v))
			return;
	client_hang_up(a);
	client_hang_up(b);
	scenario_finish(w, admin);
}

/* -- the list ------------------------------------------------------------------------------------------------------------ */

const struct scenario scenarios[] = {
	{"random", "everything is chosen by the seed", 0, 0, MOOD_ANY, run_random},
	{"calm", "no faults", 0, 0, MOOD_ANY, run_calm},
	{"hot", "many clients on a few keys", 0, 0, MOOD_HOT, run_random},
	{"definitions", "tables are made, filled, emptied and dropped under their users", 0, 0, MOOD_DDL, run_random},
	{"history", "lists and registers, whose history must be one of the isolation levels", 0, 0, MOOD_HISTORY, run_random},
	{"bulk", "large commits, growth", 0, 0, MOOD_BULK, run_random},
	{"sequence-a", "A makes a sequence, B asks for it, A dies, B goes on", 1, 3, MOOD_MIXED, run_sequence_a},
	{"leader-kill", "the leader of three archives dies again and again", 3, 5, MOOD_ANY, run_leader_kill},
	{"all-kill", "every machine at once", 0, 0, MOOD_ANY, run_all_kill},
	{"only-archive-restart", "the one archive of a cluster starts again and again", 1, 3, MOOD_ANY, run_archive_restart},
	{"coordinator-kill", "caches die with transactions under way", 0, 5, MOOD_ANY, run_coordinator_kill},
	{"originator-kill", "whoever originates the hot rows dies", 0, 5, MOOD_ANY, run_originator_kill},
	{"partition", "the network falls apart", 3, 5, MOOD_ANY, run_partition},
	{"pause", "engines stand still, and come back", 0, 0, MOOD_ANY, run_pause},
	{NULL, NULL, 0, 0, MOOD_ANY, NULL},
};

const struct scenario *scenario_at(uint32_t i)
{
	uint32_t count = 0;

	while (scenarios[count].name)
		count++;
	if (i < count)
		return &scenarios[i];
	for (const struct scenario *s = scenarios_rare; s->name; s++)
		if (count++ == i)
			return s;
	for (const struct scenario *s = scenarios_raft; s->name; s++)
		if (count++ == i)
			return s;
	return NULL;
}

const struct scenario *scenario_find(const char *name)
{
	const struct scenario *s;

	for (uint32_t i = 0; (s = scenario_at(i)); i++)
		if (strcmp(s->name, name) == 0)
			return s;
	return NULL;
}
