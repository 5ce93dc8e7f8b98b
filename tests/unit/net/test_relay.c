/*
 * test_relay.c - relays over the simulated network: streams, routes, failures (tests).
 *
 * Everything is a function of the seed; a failing case prints it.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cover.h"
#include "net_relays.h"

void suite_net_relay(void);

static struct relays c;

static void check(bool ok, const char *what, uint64_t seed)
{
	if (!ok) {
		fprintf(stderr, "test_relay: %s, seed %llu\n", what, (unsigned long long)seed);
		relays_dump(&c);
	}
	CU_ASSERT(ok);
}

static void begin(uint64_t seed, uint32_t nodes, uint32_t voters, uint32_t fan_out)
{
	relays_init(&c, seed, nodes, voters, fan_out);
	c.auto_remove = true;
	check(relays_settle(&c, 3000000), "does not settle at the start", seed);
}

static void end(uint64_t seed)
{
	check(relays_gaps(&c) == 0, "gaps in the log", seed);
	relays_fini(&c); /* with the memory account: nothing was lost */
}

/*
 * Without faults, everybody gets the whole log in order, reaches everybody and the leader, and
 * suspects nobody.
 */
static void test_relay_quiet(void)
{
	static const uint32_t sizes[][2] = {{1, 1}, {2, 1}, {3, 1},  {3, 3},
					    {9, 1}, {9, 3}, {64, 1}, {64, 3}};

	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		begin(i, sizes[i][0], sizes[i][1], 4);
		for (int turn = 0; turn < 20; turn++) {
			relays_append(&c, 10);
			relays_run(&c, 10000);
		}
		check(relays_settle(&c, 500000), "the log does not arrive", i);
		check(relays_all_pairs(&c) == 0, "messages between pairs", i);
		for (uint32_t n = 0; n < c.node_count; n++)
			CU_ASSERT_EQUAL(c.nodes[n].suspects, 0);
		CU_ASSERT_EQUAL(c.removals, 0);
		check(relays_links_bounded(&c), "links", i);
		end(i);
	}
}

/* No voter has two links with another, at any time. */
static void run_looking(uint64_t us, uint64_t seed)
{
	for (uint64_t end = c.now_us + us; c.now_us < end;) {
		relays_run(&c, 100);
		for (uint32_t i = 0; i < c.voter_count; i++) {
			struct relay_stats s;

			if (!relays_alive(&c.nodes[i]))
				continue;
			relay_stats(c.nodes[i].relay, &s);
			if (s.voter_links >= c.voter_count) {
				check(false, "two links between two voters", seed);
				return;
			}
		}
	}
}

/*
 * Two voters have one link, whoever dials, and soon one again whatever becomes of it: they dial each other at the same moment, at
 * the start and after each link that both see breaking; one sees it breaking and the other does not; one is stopped, or started
 * again at its address; what one says does not arrive.
 */
static void test_relay_voter_links(void)
{
	uint64_t both = cover_counts[COVER_VOTERS_BOTH], replaced = cover_counts[COVER_VOTERS_REPLACED];

	for (uint64_t seed = 0; seed < 20; seed++) {
		struct sim_faults slow = {.delay_min_us = 1000, .delay_max_us = seed % 2 ? 20000 : 1000};
		uint32_t voters = seed % 3 ? 3 : 5;

		relays_init(&c, seed, voters + 3, voters, 4);
		sim_net_set_faults(c.sn, &slow);
		run_looking(700000, seed);
		check(relays_settle(&c, 3000000) && relays_bounded(&c, 1000000), "voters do not find each other", seed);
		for (int step = 0; step < 12; step++) {
			struct node *a = &c.nodes[rng_below(&c.rng, voters)], *b = &c.nodes[(a->number + 1) % voters];

			switch (rng_below(&c.rng, 5)) {
			case 0:
				sim_net_break(c.sn, a->host, b->host, false);
				break;
			case 1:
				sim_net_break(c.sn, a->host, b->host, true);
				break;
			case 2:
				sim_host_pause(a->host);
				run_looking(rng_below(&c.rng, 2000000), seed);
				sim_host_resume(a->host);
				break;
			case 3:
				sim_net_block(c.sn, a->host, b->host, true);
				run_looking(rng_below(&c.rng, 2000000), seed);
				sim_net_heal(c.sn);
				break;
			default:
				relays_crash(&c, a, rng_below(&c.rng, 2));
				run_looking(rng_below(&c.rng, 1500000), seed);
				relays_restart(&c, a);
			}
			run_looking(rng_below(&c.rng, 300000), seed);
			relays_append(&c, 1);
		}
		/* one that is half-open, or whose other end was reset, is found by the limit */
		run_looking(1500000, seed);
		check(relays_bounded(&c, 3000000), "voters do not come to one link", seed);
		end(seed);
	}
	CU_ASSERT(cover_counts[COVER_VOTERS_BOTH] > both && cover_counts[COVER_VOTERS_REPLACED] > replaced);
}

/* Stopped, and nothing of the log waits for it on its old link. */
static void fall_behind(struct node *child)
{
	sim_host_pause(child->host);
	for (uint32_t i = 0; i < c.node_count; i++)
		if (&c.nodes[i] != child)
			sim_net_break(c.sn, child->host, c.nodes[i].host, false);
	relays_append(&c, 50);
	relays_run(&c, 5000000);
}

/*
 * A child asks for the log from its own index, so a parent's window that begins later makes it ask
 * a voter, then give up.
 */
static void test_relay_log_gone(void)
{
	struct node *child = NULL;

	begin(1, 30, 1, 3);
	relays_append(&c, 50);
	CU_ASSERT(relays_settle(&c, 1000000));
	for (uint32_t i = 0; i < c.node_count && !child; i++)
		if (relay_parent(c.nodes[i].relay) > 1)
			child = &c.nodes[i];
	CU_ASSERT_PTR_NOT_NULL_FATAL(child);
	/* Everybody but the voter has lost the past; the child is far behind. */
	c.auto_remove = false;
	fall_behind(child);
	for (uint32_t i = 1; i < c.node_count; i++)
		if (&c.nodes[i] != child)
			c.nodes[i].first = c.nodes[i].last - 1;
	sim_host_resume(child->host);
	check(relays_settle(&c, 5000000), "the voter's log does not help", 1);
	CU_ASSERT_EQUAL(child->gone, 0);
	/* Now the voter too. */
	fall_behind(child);
	for (uint32_t i = 0; i < c.node_count; i++)
		if (&c.nodes[i] != child)
			c.nodes[i].first = c.nodes[i].last - 1;
	sim_host_resume(child->host);
	relays_run(&c, 5000000);
	check(child->gone == 1, "log gone is said once", 1);
	end(1);
}

/*
 * Whoever is killed: it is suspect within 100 ms, the others find other parents and miss nothing.
 */
static void test_relay_kill(void)
{
	for (uint64_t seed = 0; seed < 24; seed++) {
		uint32_t voters = seed % 2 ? 3 : 1, left = voters == 3 ? 1 : 0;
		uint64_t worst = 0;

		begin(seed, 9 + (uint32_t)(seed % 3) * 20, voters, 3);
		for (int round = 0; round < 5; round++) {
			struct node *n = &c.nodes[rng_below(&c.rng, c.node_count)];
			uint64_t then, removals = c.removals;

			if (!n->relay || (n->voter && !left))
				continue;
			left -= n->voter != 0;
			relays_append(&c, 5);
			relays_run(&c, rng_below(&c.rng, 2000));
			then = c.now_us;
			relays_crash(&c, n, false);
			while (c.removals == removals && c.now_us < then + 1000000)
				relays_run(&c, 500);
			if (c.now_us - then > worst)
				worst = c.now_us - then;
			relays_append(&c, 5);
			check(relays_settle(&c, 2000000), "does not settle after a kill", seed);
		}
		check(worst < 100000, "a kill is noticed late", seed);
		check(relays_all_pairs(&c) == 0, "messages after kills", seed);
		CU_ASSERT_EQUAL(c.removals, sim_net_counters(c.sn)->crashes);
		end(seed);
	}
}

/*
 * A parent and its child die at once, so nobody has a link to the child: the voters find that out.
 */
static void test_relay_kill_both(void)
{
	for (uint64_t seed = 0; seed < 6; seed++) {
		struct node *child = NULL;

		begin(seed, 20, seed % 2 ? 3 : 1, 2);
		for (uint32_t i = c.voter_count; i < c.node_count; i++)
			if (relay_parent(c.nodes[i].relay) > c.voter_count &&
			    relay_children(c.nodes[i].relay, NULL, 0) == 0)
				child = &c.nodes[i];
		CU_ASSERT_PTR_NOT_NULL_FATAL(child);
		relays_crash(&c, &c.nodes[relay_parent(child->relay) - 1], false);
		relays_crash(&c, child, false);
		check(relays_settle(&c, 8000000), "two at once", seed);
		CU_ASSERT_EQUAL(c.removals, 2);
		end(seed);
	}
}

/* Links that break while both sides live make nobody suspect for long and remove nobody. */
static void test_relay_broken_links(void)
{
	for (uint64_t seed = 0; seed < 10; seed++) {
		struct sim_faults f = {.delay_min_us = 50, .delay_max_us = 500, .notice_us = 20000};

		begin(seed, 20, 3, 3);
		sim_net_set_faults(c.sn, &f);
		for (int i = 0; i < 30; i++) {
			struct node *a = &c.nodes[rng_below(&c.rng, c.node_count)];
			struct node *b =
				&c.nodes[relay_parent(a->relay) ? relay_parent(a->relay) - 1
								: rng_below(&c.rng, 3)];

			sim_net_break(c.sn, a->host, b->host, false);
			relays_append(&c, 2);
			relays_run(&c, rng_below(&c.rng, 30000));
		}
		check(relays_settle(&c, 2000000), "broken links", seed);
		check(relays_all_pairs(&c) == 0, "messages after broken links", seed);
		CU_ASSERT_EQUAL(c.removals, 0);
		for (uint32_t i = 0; i < c.node_count; i++)
			CU_ASSERT_EQUAL(c.nodes[i].suspects, 0);
		end(seed);
	}
}

/*
 * A link of which nobody knows that it is dead (half-open) is found by the missing heartbeats: the child
 * soon has another parent and accuses nobody, the parent reports the child at the limit.
 */
static void test_relay_half_open(void)
{
	struct node *child, *parent;
	struct relay_stats stats;

	begin(5, 9, 1, 3);
	c.auto_remove = false;
	child = &c.nodes[8];
	parent = &c.nodes[relay_parent(child->relay) - 1];
	sim_net_break(c.sn, child->host, parent->host, true);
	relays_append(&c, 3);
	relays_run(&c, 150000);
	CU_ASSERT(child->last < c.log_last);
	relays_run(&c, 350000);
	CU_ASSERT(child->last == c.log_last && relay_parent(child->relay) != parent->id);
	relays_run(&c, 300000);
	CU_ASSERT_EQUAL(child->suspects + parent->suspects, 0);
	relays_run(&c, 700000);
	CU_ASSERT(parent->suspects >= 1 && parent->last_suspect == child->id);
	CU_ASSERT_PTR_NOT_NULL(strstr(parent->last_cause, "no heartbeat"));
	relay_stats(parent->relay, &stats);
	CU_ASSERT(stats.silence_max_us >= 900000 && stats.silence_max_us <= 1100000);
	check(relays_settle(&c, 2000000), "half-open link", 5);
	/* It answers when it is asked again, so the suspicion ends. */
	relays_run(&c, 3000000);
	CU_ASSERT_EQUAL(child->suspects, 0);
	CU_ASSERT_EQUAL(parent->suspects, 1);
	end(5);
}

/*
 * A stopped process is suspect after the limit and removed; when it goes on it learns that, and
 * joins again.
 */
static void test_relay_pause(void)
{
	for (uint64_t seed = 0; seed < 10; seed++) {
		struct node *n;
		engine_id before;

		begin(seed, 16, seed % 2 ? 3 : 1, 3);
		n = &c.nodes[c.voter_count + rng_below(&c.rng, c.node_count - c.voter_count)];
		before = n->id;
		sim_host_pause(n->host);
		relays_run(&c, 900000);
		CU_ASSERT_EQUAL(c.removals, 0);
		relays_append(&c, 10);
		relays_run(&c, 1500000);
		CU_ASSERT_EQUAL(c.removals, 1);
		CU_ASSERT_FALSE(relays_is_member(&c, before));
		sim_host_resume(n->host);
		check(relays_settle(&c, 5000000), "a stopped engine does not come back", seed);
		CU_ASSERT(n->id > before);
		CU_ASSERT(n->not_members >= 1);
		CU_ASSERT_EQUAL(n->suspects,
				0); /* it was away itself: no reason to suspect the others */
		check(relays_all_pairs(&c) == 0, "messages after a pause", seed);
		end(seed);
	}
}

static struct node *relay_with_children(struct relays *at, uint32_t skip)
{
	for (uint32_t i = at->voter_count; i < at->node_count; i++)
		if (relay_children(at->nodes[i].relay, NULL, 0) > 1 && !skip--)
			return &at->nodes[i];
	return NULL;
}

static struct relay_stats stats_of(const struct node *n)
{
	struct relay_stats s;

	relay_stats(n->relay, &s);
	return s;
}

/* How long until everybody but @without has what is in the log now; more than @limit_us: not in that time. */
static uint64_t arrives(const struct node *without, uint64_t limit_us)
{
	uint64_t since = c.now_us;
	seq_index want = c.log_last;

	while (c.now_us - since <= limit_us) {
		bool all = true;

		for (uint32_t i = 0; i < c.node_count; i++)
			all &= &c.nodes[i] == without || c.nodes[i].last >= want;
		if (all)
			break;
		relays_run(&c, 1000);
	}
	return c.now_us - since;
}

/*
 * The children of a relay that stops are elsewhere within half a second, in time for nobody below to suspect
 * anything, and the membership stays as it is; it goes on after a while and nothing comes of it.
 */
static void test_relay_quiet_parent(void)
{
	for (uint64_t seed = 0; seed < 12; seed++) {
		engine_id ids[16];
		struct node *p;
		uint32_t children;

		begin(seed, 40, seed % 2 ? 3 : 1, 3);
		relays_run(&c, 1000000 + rng_below(&c.rng, 100000));
		p = relay_with_children(&c, (uint32_t)(seed % 3));
		CU_ASSERT_PTR_NOT_NULL_FATAL(p);
		children = relay_children(p->relay, ids, 16);
		sim_host_pause(p->host);
		relays_append(&c, 3);
		check(arrives(p, 600000) <= 500000, "the log does not get round a stopped relay", seed);
		for (uint32_t i = 0; i < children; i++) {
			CU_ASSERT(relay_parent(c.nodes[ids[i] - 1].relay) != p->id);
			CU_ASSERT_EQUAL(stats_of(&c.nodes[ids[i] - 1]).parents_left, 1);
		}
		/* they are guests of several, for there is no room for them anywhere */
		for (uint32_t i = 0; i < c.node_count; i++)
			CU_ASSERT(relay_children(c.nodes[i].relay, NULL, 0) <= 3 + 1);
		relays_run(&c, 200000);
		CU_ASSERT_EQUAL(c.removals, 0);
		sim_host_resume(p->host);
		check(relays_settle(&c, 1000000), "after a stop", seed);
		CU_ASSERT_EQUAL(c.removals, 0);
		for (uint32_t i = 0; i < c.node_count; i++)
			CU_ASSERT_EQUAL(c.nodes[i].suspects, 0);
		check(relays_all_pairs(&c) == 0, "messages after a stop", seed);
		/* in the end the tree is the default again, and nobody goes back and forth */
		relays_run(&c, 60000000);
		for (uint32_t i = 0; i < c.node_count; i++) {
			CU_ASSERT(stats_of(&c.nodes[i]).parents_left <= 1);
			CU_ASSERT(c.nodes[i].voter || relay_children(c.nodes[i].relay, NULL, 0) <= 3);
		}
		end(seed);
	}
}

/* A relay that talks, but has no more log to give, is left for one that has it; and this accuses nobody. */
static void test_relay_stuck_parent(void)
{
	for (uint64_t seed = 0; seed < 6; seed++) {
		struct node *p;
		engine_id ids[16];
		uint32_t children;

		begin(seed, 40, seed % 2 ? 3 : 1, 3);
		p = relay_with_children(&c, (uint32_t)(seed % 3));
		CU_ASSERT_PTR_NOT_NULL_FATAL(p);
		children = relay_children(p->relay, ids, 16);
		relays_stick(&c, p, true);
		relays_append(&c, 3);
		check(arrives(p, 2000000) <= 900000, "the log does not get round a stuck relay", seed);
		for (uint32_t i = 0; i < children; i++)
			CU_ASSERT(relay_parent(c.nodes[ids[i] - 1].relay) != p->id);
		relays_run(&c, 30000000);
		CU_ASSERT_EQUAL(stats_of(p).parents_left, 0); /* its own parent does what it can */
		for (uint32_t i = 0; i < c.node_count; i++)
			CU_ASSERT(stats_of(&c.nodes[i]).parents_left <= 2);
		CU_ASSERT_EQUAL(c.removals, 0);
		relays_stick(&c, p, false);
		CU_ASSERT(relays_settle(&c, 30000000));
		for (uint32_t i = 0; i < c.node_count; i++)
			CU_ASSERT_EQUAL(c.nodes[i].suspects, 0);
		end(seed);
	}
}

/* The round trip is measured, without a common clock; a parent far away is left for one that is nearer. */
static void test_relay_far_parent(void)
{
	struct sim_faults far = {.delay_min_us = 140000, .delay_max_us = 160000};
	struct node *p, *child;

	begin(4, 40, 1, 3);
	relays_run(&c, 3000000);
	child = &c.nodes[39];
	p = &c.nodes[relay_parent(child->relay) - 1];
	CU_ASSERT(stats_of(child).parent_rtt_us > 100 && stats_of(child).parent_rtt_us < 400);
	sim_net_set_pair_faults(c.sn, p->host, child->host, &far);
	sim_net_set_pair_faults(c.sn, child->host, p->host, &far);
	relays_run(&c, 5000000);
	CU_ASSERT(relay_parent(child->relay) != p->id);
	CU_ASSERT_EQUAL(stats_of(child).parents_left, 1);
	CU_ASSERT(stats_of(child).parent_rtt_us < 400);
	/* everybody is as far: there is nothing better */
	sim_net_set_faults(c.sn, &far);
	relays_run(&c, 60000000);
	CU_ASSERT(stats_of(child).parent_rtt_us > 250000);
	for (uint32_t i = 0; i < c.node_count; i++) {
		CU_ASSERT(stats_of(&c.nodes[i]).parents_left <= 2);
		CU_ASSERT_EQUAL(c.nodes[i].suspects, 0);
	}
	end(4);
}

/* A pause below the limit costs nobody anything. */
static void test_relay_short_pause(void)
{
	begin(3, 16, 3, 3);
	for (uint32_t i = 0; i < c.node_count; i++) {
		sim_host_pause(c.nodes[i].host);
		relays_append(&c, 1);
		relays_run(&c, 700000);
		sim_host_resume(c.nodes[i].host);
		relays_run(&c, 200000);
	}
	CU_ASSERT_EQUAL(c.removals, 0);
	check(relays_settle(&c, 1000000), "short pauses", 3);
	end(3);
}

/*
 * A black hole around one engine, both ways or one way, is a removal; after the heal it joins
 * again.
 */
static void test_relay_partition(void)
{
	for (uint64_t seed = 0; seed < 12; seed++) {
		struct node *n;

		begin(seed, 12, seed % 2 ? 3 : 1, 3);
		n = &c.nodes[c.voter_count + rng_below(&c.rng, c.node_count - c.voter_count)];
		for (uint32_t i = 0; i < c.node_count; i++) {
			if (&c.nodes[i] == n)
				continue;
			if (seed % 3 != 1)
				sim_net_block(c.sn, n->host, c.nodes[i].host, true);
			if (seed % 3 != 2)
				sim_net_block(c.sn, c.nodes[i].host, n->host, true);
		}
		relays_append(&c, 10);
		relays_run(&c, 6000000);
		check(c.removals >= 1 && !relays_is_member(&c, n->id), "a partitioned engine stays",
		      seed);
		CU_ASSERT(relay_parent_silence_us(n->relay) > 1000000 || seed % 3 == 2);
		sim_net_heal(c.sn);
		check(relays_settle(&c, 10000000), "does not heal", seed);
		check(relays_all_pairs(&c) == 0, "messages after a heal", seed);
		end(seed);
	}
}

/*
 * A relay that is cut off from the voters together with its child: the child, which can reach them,
 * leaves it.
 */
static void test_relay_cut_off_parent(void)
{
	struct node *child = NULL, *parent;

	begin(9, 12, 1, 2);
	c.auto_remove = false;
	for (uint32_t i = 1; i < c.node_count && !child; i++)
		if (relay_parent(c.nodes[i].relay) > 1)
			child = &c.nodes[i];
	CU_ASSERT_PTR_NOT_NULL_FATAL(child);
	parent = &c.nodes[relay_parent(child->relay) - 1];
	for (uint32_t i = 0; i < c.node_count; i++)
		if (&c.nodes[i] != child && &c.nodes[i] != parent)
			sim_net_block_both(c.sn, parent->host, c.nodes[i].host, true);
	relays_run(&c, 1500000);
	relays_append(&c, 5);
	relays_run(&c, 8000000);
	check(child->last == c.log_last && relay_parent(child->relay) != parent->id,
	      "the child stays", 9);
	CU_ASSERT(relay_parent_silence_us(child->relay) < 1000000);
	CU_ASSERT(relay_parent_silence_us(parent->relay) > 5000000);
	end(9);
}

/*
 * Joiners get the log from their contact at once, then a place in the tree; also when contacts die
 * under them.
 */
static void test_relay_join(void)
{
	for (uint64_t seed = 0; seed < 8; seed++) {
		begin(seed, 3, seed % 2 ? 3 : 1, 3);
		for (int i = 0; i < 25; i++) {
			relays_append(&c, 3);
			relays_add(&c);
			relays_run(&c, rng_below(&c.rng, 3000));
			if (i == 12 && c.voter_count == 3)
				relays_crash(&c, &c.nodes[1], false);
		}
		check(relays_settle(&c, 8000000), "joiners", seed);
		relays_run(&c, 15000000); /* and the tree is put right */
		check(relays_settled(&c), "joiners, later", seed);
		for (uint32_t i = 0; i < c.node_count; i++)
			if (c.nodes[i].relay)
				check(relay_children(c.nodes[i].relay, NULL, 0) <= 3 * 2, "fan-out",
				      seed);
		check(relays_all_pairs(&c) == 0, "messages between joiners", seed);
		end(seed);
	}
}

/* Nobody to join at: it says so and goes on; then one comes up. */
static void test_relay_join_waits(void)
{
	struct node *n;

	begin(4, 1, 1, 3);
	relays_crash(&c, &c.nodes[0], true);
	n = relays_add(&c);
	relays_run(&c, 5000000);
	CU_ASSERT(n->waiting >= 2);
	CU_ASSERT_EQUAL(n->replies, 0);
	end(4);
}

/*
 * All voters are started again under the same addresses: the others find them by their voter ids
 * and go on.
 */
static void test_relay_restart_voters(void)
{
	for (uint64_t seed = 0; seed < 6; seed++) {
		uint32_t voters = seed % 2 ? 3 : 1;

		begin(seed, 10, voters, 3);
		relays_append(&c, 5);
		relays_run(&c, 100000);
		for (uint32_t i = 0; i < voters; i++)
			relays_crash(&c, &c.nodes[i], false);
		relays_run(&c, 300000);
		for (uint32_t i = 0; i < voters; i++)
			relays_restart(&c, &c.nodes[i]);
		relays_found(&c); /* consensus elects one, which joins itself */
		relays_append(&c, 5);
		check(relays_settle(&c, 10000000), "voters started again", seed);
		check(relays_all_pairs(&c) == 0, "messages after a restart", seed);
		end(seed);
	}
}

/* Voters reach each other by voter id, also before any has an engine id, in order. */
static void test_relay_voter_messages(void)
{
	begin(2, 3, 3, 3);
	relays_run(&c, 100000); /* the links come up */
	for (uint32_t v = 0; v < 500; v++)
		for (int from = 0; from < 3; from++)
			for (int to = 0; to < 3; to++)
				relay_voter_send(c.nodes[from].relay, c.nodes[to].voter, &v, 4);
	relays_run(&c, 1000000);
	for (int to = 0; to < 3; to++) {
		uint32_t next[3] = {0, 0, 0};

		CU_ASSERT_EQUAL(c.nodes[to].voter_got.count, 1500);
		for (size_t i = 0; i < c.nodes[to].voter_got.count; i++) {
			uint64_t m = c.nodes[to].voter_got.at[i];
			uint32_t from = (uint32_t)(m >> 32) - 1000;

			CU_ASSERT_FATAL(from < 3);
			CU_ASSERT_EQUAL((uint32_t)m, next[from]);
			next[from]++;
		}
	}
	end(2);
}

/* A slow link holds back the log at its bound, and loses none of it. */
static void test_relay_backlog(void)
{
	struct sim_faults slow = {.delay_min_us = 50, .delay_max_us = 100, .bytes_per_ms = 20000};
	size_t peak;

	relays_init(&c, 6, 2, 1, 3);
	c.batch_bytes = 200000;
	CU_ASSERT(relays_settle(&c, 1000000));
	sim_net_set_faults(c.sn, &slow);
	relays_append(&c, 400); /* about 40 MB */
	relays_run(&c, 200000);
	peak = c.mem.peak_bytes;
	CU_ASSERT(c.nodes[1].last < c.log_last);
	relays_run(&c, 10000000);
	check(c.nodes[1].last == c.log_last, "the log does not drain", 6);
	/* the log itself is in the account, too; beyond it there is the bound of one link */
	CU_ASSERT(peak < 400 * 200000 + (12u << 20));
	for (uint32_t i = 0; i < 2; i++)
		CU_ASSERT_EQUAL(c.nodes[i].suspects, 0);
	end(6);
}

/*
 * Children that read slowly, or not at all for a while, cost their parent the bound of their links and no more, hold up
 * nobody else, and get all of the log in the end.
 */
static void test_relay_slow_children(void)
{
	struct sim_faults slow = {.delay_min_us = 50, .delay_max_us = 100};
	size_t before, log_bytes = 0;

	relays_init(&c, 7, 6, 1, 8);
	c.batch_bytes = 200000;
	CU_ASSERT(relays_settle(&c, 1000000));
	for (uint32_t i = 1; i <= 3; i++) {
		CU_ASSERT_EQUAL(relay_parent(c.nodes[i].relay), 1);
		slow.bytes_per_ms = 4000 * i;
		sim_net_set_pair_faults(c.sn, c.nodes[0].host, c.nodes[i].host, &slow);
	}
	sim_host_pause(c.nodes[1].host);
	before = c.mem.used_bytes;
	relays_append(&c, 600);
	for (size_t i = 0; i < c.log.count; i++)
		log_bytes += c.log.at[i].bytes;
	CU_ASSERT(log_bytes > 50u << 20);
	relays_run(&c, 500000);
	for (uint32_t i = 4; i <= 5; i++)
		check(c.nodes[i].last == c.log_last, "a fast child waits for slow ones", 7);
	for (uint32_t i = 1; i <= 3; i++)
		CU_ASSERT(c.nodes[i].last < c.log_last);
	/* three links' bounds, and what the simulated network has in flight on each: 1 MiB and a batch */
	check(c.mem.peak_bytes - before <= log_bytes + 3 * (RELAY_LINK_LOG_MAX + (2u << 20)), "slow children take more memory", 7);
	sim_host_resume(c.nodes[1].host);
	check(relays_settle(&c, 40000000), "slow children do not get the log", 7);
	CU_ASSERT_EQUAL(c.removals, 0);
	end(7);
}

/* Another cluster's relay is refused with the reason. */
static void test_relay_other_log(void)
{
	struct node *n;

	begin(8, 3, 1, 3);
	n = relays_add(&c);
	relay_set_log_id(n->relay, 77);
	relays_run(&c, 3000000);
	CU_ASSERT_EQUAL(n->replies, 0);
	CU_ASSERT(n->refused_for_good >= 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(n->last_waiting, "the log here is 1234567890abcdef"));
	end(8);
}

/* One random schedule of everything; in the end the living ones agree and reach each other. */
static void soak(uint64_t seed)
{
	struct sim_faults f = {.delay_min_us = 30, .delay_max_us = 2000, .notice_us = 50000};
	uint32_t nodes = 4 + (uint32_t)(seed % 4) * 6, voters = seed % 3 ? 3 : 1;

	begin(seed, nodes, voters, 2 + (uint32_t)(seed % 5));
	f.spike_ppm = (uint32_t)rng_below(&c.rng, 3000);
	f.spike_us = 300000;
	f.loss_ppm = (uint32_t)rng_below(&c.rng, 10000);
	f.reorder_ppm = f.duplicate_ppm = 10000;
	f.break_ppm = (uint32_t)rng_below(&c.rng, 3000);
	f.half_open_ppm = 200000;
	sim_net_set_faults(c.sn, &f);
	for (int step = 0; step < 60; step++) {
		struct node *a = &c.nodes[rng_below(&c.rng, c.node_count)];
		struct node *b = &c.nodes[rng_below(&c.rng, c.node_count)];

		switch (rng_below(&c.rng, 10)) {
		case 0:
			if (a->number >= voters)
				relays_crash(&c, a, rng_below(&c.rng, 3) == 0);
			break;
		case 1:
			if (a->relay)
				sim_host_pause(a->host);
			break;
		case 2:
			sim_host_resume(a->host);
			break;
		case 3:
			if (a != b)
				sim_net_block(c.sn, a->host, b->host, true);
			break;
		case 4:
			sim_net_heal(c.sn);
			break;
		case 5:
			if (a != b)
				sim_net_break(c.sn, a->host, b->host, rng_below(&c.rng, 2));
			break;
		case 6:
			if (c.node_count < nodes + 12)
				relays_add(&c);
			break;
		case 7:
			relays_restart(&c, a);
			break;
		default:
			relays_append(&c, (uint32_t)rng_below(&c.rng, 20));
		}
		relays_run(&c, rng_below(&c.rng, 400000));
	}
	memset(&f, 0, sizeof f);
	f.delay_min_us = 50;
	f.delay_max_us = 200;
	sim_net_set_faults(c.sn, &f);
	sim_net_heal(c.sn);
	for (uint32_t i = 0; i < c.node_count; i++) {
		sim_host_resume(c.nodes[i].host);
		if (i < voters)
			relays_restart(&c, &c.nodes[i]);
	}
	/* Half-open links may still look well; they are found within the limit. */
	relays_run(&c, 3000000);
	check(relays_settle(&c, 60000000), "soak does not settle", seed);
	/*
	 * One that moves in the tree at that moment may miss some: they are repeated (best effort).
	 */
	check(relays_all_pairs(&c) == 0 || relays_all_pairs(&c) == 0, "soak: messages", seed);
	check(relays_bounded(&c, 60000000), "soak: links", seed);
	end(seed);
}

/* Many random schedules; more with VALENCE_LONG. NET_RELAY_SEEDS=first:count runs others. */
static void test_relay_soak(void)
{
	const char *env = getenv("NET_RELAY_SEEDS");
	unsigned long long first = 1, count = getenv("VALENCE_LONG") ? 1000 : 12;

	if (env)
		sscanf(env, "%llu:%llu", &first, &count);
	for (uint64_t seed = first; seed < first + count; seed++)
		soak(seed);
}

/* The child of node 0 below which @n is. */
static uint32_t top_of(const struct node *n)
{
	while (relay_parent(n->relay) != c.nodes[0].id)
		n = &c.nodes[relay_parent(n->relay) - 1];
	return n->number;
}

static uint32_t encoded(struct node *n, const struct relay_interest *interest)
{
	uint32_t count = 0;

	for (size_t i = 0; i < n->encoded.count; i++)
		count += memcmp(&n->encoded.at[i], interest, sizeof *interest) == 0;
	return count;
}

/*
 * A child is given the log as all below it want it together, one encoding serves children that want the same, and what an
 * engine wanted that is gone is wanted no more.
 */
static void test_relay_interest(void)
{
	struct relay_interest want[RELAYS_NODES_MAX], all = {{0}}, rest[7] = {{{0}}};
	struct node *gone = NULL;

	relays_init(&c, 5, 7, 1, 2);
	CU_ASSERT(relays_settle(&c, 5000000));
	memset(want, 0, sizeof want);
	for (uint32_t i = 1; i < 7; i++) {
		struct relay_interest own = {{0}};

		own.bits[i] = (uint8_t)(1u << i);
		relay_set_interest(c.nodes[i].relay, &own);
		want[top_of(&c.nodes[i])].bits[i] = all.bits[i] = (uint8_t)(1u << i);
	}
	relays_run(&c, 3000000);
	c.nodes[0].encoded.count = 0;
	relays_append(&c, 1);
	CU_ASSERT_EQUAL(c.nodes[0].encoded.count, 2);
	CU_ASSERT(encoded(&c.nodes[0], &want[1]) == 1 && encoded(&c.nodes[0], &want[2]) == 1);

	for (uint32_t i = 1; i < 7; i++) /* soon: it is more */
		relay_set_interest(c.nodes[i].relay, &all);
	relays_run(&c, 100000);
	c.nodes[0].encoded.count = 0;
	relays_append(&c, 1);
	CU_ASSERT(c.nodes[0].encoded.count == 1 && encoded(&c.nodes[0], &all) == 1);

	for (uint32_t i = 1; i < 7; i++) {
		struct relay_interest own = {{0}};

		own.bits[i] = 1;
		relay_set_interest(c.nodes[i].relay, &own);
		if (relay_parent(c.nodes[i].relay) != c.nodes[0].id)
			gone = &c.nodes[i];
	}
	CU_ASSERT_FATAL(gone != NULL);
	for (uint32_t i = 1; i < 7; i++)
		rest[top_of(&c.nodes[i])].bits[i] = i != gone->number;
	c.auto_remove = false;
	relays_crash(&c, gone, false);
	relays_run(&c, 3000000);
	c.nodes[0].encoded.count = 0;
	relays_append(&c, 1);
	CU_ASSERT(encoded(&c.nodes[0], &rest[1]) == 1 && encoded(&c.nodes[0], &rest[2]) == 1);
	relays_fini(&c);
}

/* The same seed gives the same run, to the last counter. */
static void test_relay_deterministic(void)
{
	struct sim_net_counters a;
	seq_index last[2];

	for (int i = 0; i < 2; i++) {
		begin(77, 12, 3, 3);
		relays_append(&c, 50);
		relays_crash(&c, &c.nodes[5], false);
		sim_net_break(c.sn, c.nodes[0].host, c.nodes[1].host, false);
		relays_run(&c, 3000000);
		last[i] = c.log_last;
		if (i)
			CU_ASSERT_EQUAL(memcmp(&a, sim_net_counters(c.sn), sizeof a), 0);
		a = *sim_net_counters(c.sn);
		end(77);
	}
	CU_ASSERT_EQUAL(last[0], last[1]);
}

void suite_net_relay(void)
{
	CU_pSuite s = CU_add_suite("net_relay", NULL, NULL);

	CU_add_test(s, "quiet", test_relay_quiet);
	CU_add_test(s, "log gone", test_relay_log_gone);
	CU_add_test(s, "kill", test_relay_kill);
	CU_add_test(s, "kill parent and child", test_relay_kill_both);
	CU_add_test(s, "broken links", test_relay_broken_links);
	CU_add_test(s, "half-open", test_relay_half_open);
	CU_add_test(s, "pause", test_relay_pause);
	CU_add_test(s, "quiet parent", test_relay_quiet_parent);
	CU_add_test(s, "stuck parent", test_relay_stuck_parent);
	CU_add_test(s, "far parent", test_relay_far_parent);
	CU_add_test(s, "short pause", test_relay_short_pause);
	CU_add_test(s, "partition", test_relay_partition);
	CU_add_test(s, "cut-off parent", test_relay_cut_off_parent);
	CU_add_test(s, "join", test_relay_join);
	CU_add_test(s, "join waits", test_relay_join_waits);
	CU_add_test(s, "links of voters", test_relay_voter_links);
	CU_add_test(s, "restart of the voters", test_relay_restart_voters);
	CU_add_test(s, "voter messages", test_relay_voter_messages);
	CU_add_test(s, "backlog", test_relay_backlog);
	CU_add_test(s, "slow children", test_relay_slow_children);
	CU_add_test(s, "another log", test_relay_other_log);
	CU_add_test(s, "interest", test_relay_interest);
	CU_add_test(s, "deterministic", test_relay_deterministic);
	CU_add_test(s, "soak", test_relay_soak);
}
