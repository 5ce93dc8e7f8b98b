/*
 * test_direct.c - direct links over the simulated network: opened on demand, bounded, given up (tests).
 *
 * Everything is a function of the seed; a failing case prints it.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net_relays.h"

void suite_net_direct(void);

static struct relays c;

static void check(bool ok, const char *what, uint64_t seed)
{
	if (!ok) {
		fprintf(stderr, "test_direct: %s, seed %llu\n", what, (unsigned long long)seed);
		relays_dump(&c);
	}
	CU_ASSERT(ok);
}

static void begin(uint64_t seed, uint32_t nodes, uint32_t voters, uint32_t fan_out)
{
	relays_init(&c, seed, nodes, voters, fan_out);
	c.auto_remove = true;
	check(relays_settle(&c, 3000000), "does not settle at the start", seed);
	relays_run(&c, 300000); /* who is below whom is told within that */
}

static void end(uint64_t seed)
{
	check(relays_gaps(&c) == 0, "gaps in the log", seed);
	relays_fini(&c); /* with the memory account: nothing was lost */
}

static struct relay_stats stats_of(const struct node *n)
{
	struct relay_stats s = {0};

	if (n->relay)
		relay_stats(n->relay, &s);
	return s;
}

static uint64_t links_of(const struct node *n)
{
	return stats_of(n).direct_links;
}

/* @count messages of 4 bytes: many in a short time when it is over 64. */
static void chat(struct node *from, const struct node *to, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		relay_send(from->relay, to->id, &i, sizeof i);
}

static void bulk(struct node *from, const struct node *to, uint32_t bytes)
{
	uint8_t *data = mem_alloc(&c.mem, bytes);

	memset(data, 'b', bytes);
	relay_send(from->relay, to->id, data, bytes);
	mem_free(&c.mem, data, bytes);
}

static uint64_t received(const struct node *to, const struct node *from)
{
	uint64_t n = 0;

	for (size_t i = 0; i < to->got.count; i++)
		n += to->got.at[i] >> 32 == from->id;
	return n;
}

static uint64_t suspicions(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < c.node_count; i++)
		n += c.nodes[i].suspects;
	return n;
}

/* What one may have is never exceeded. */
static void check_bound(uint64_t seed)
{
	for (uint32_t i = 0; i < c.node_count; i++)
		check(links_of(&c.nodes[i]) <= c.direct_links, "more direct links than allowed", seed);
}

/* Two members that send each other little use the tree; with bulk, or often, a link of their own, in both directions. */
static void test_direct_on_demand(void)
{
	for (uint64_t seed = 0; seed < 4; seed++) {
		struct node *a, *b;
		uint64_t before;

		begin(seed, 12, 1, 3);
		a = &c.nodes[10];
		b = &c.nodes[11];
		for (int i = 0; i < 40; i++) { /* 20 a second */
			chat(a, b, 1);
			relays_run(&c, 50000);
		}
		CU_ASSERT_EQUAL(links_of(a) + links_of(b), 0);
		if (seed % 2)
			chat(a, b, 64);
		else
			bulk(a, b, 100000);
		relays_run(&c, 10000);
		CU_ASSERT_EQUAL(links_of(a), 1);
		CU_ASSERT_EQUAL(links_of(b), 1);
		CU_ASSERT_EQUAL(stats_of(a).direct_opened, 1);
		CU_ASSERT_EQUAL(stats_of(b).direct_opened, 0);
		before = stats_of(&c.nodes[0]).messages_in;
		a->got.count = b->got.count = 0;
		chat(a, b, 1000);
		chat(b, a, 1000);
		relays_run(&c, 10000);
		CU_ASSERT_EQUAL(received(a, b), 1000);
		CU_ASSERT_EQUAL(received(b, a), 1000);
		for (uint32_t i = 0; i < b->got.count; i++)
			CU_ASSERT_EQUAL((uint32_t)b->got.at[i], i);
		CU_ASSERT_EQUAL(stats_of(b).unicast_direct, 1000);
		CU_ASSERT(stats_of(&c.nodes[0]).messages_in < before + 100);
		CU_ASSERT_EQUAL(suspicions(), 0);
		end(seed);
	}
}

/* Nobody opens a link to who is next to it in the tree, for what is said to the leader, or when there are to be none. */
static void test_direct_not_needed(void)
{
	struct node *child, *parent;
	uint32_t v = 1;

	begin(1, 12, 1, 3);
	child = &c.nodes[11];
	parent = &c.nodes[relay_parent(child->relay) - 1];
	for (int i = 0; i < 500; i++)
		relay_send(child->relay, ENGINE_LEADER, &v, sizeof v);
	chat(child, parent, 500);
	chat(parent, child, 500);
	chat(child, child, 500);
	relays_run(&c, 100000);
	CU_ASSERT_EQUAL(received(parent, child), 500 + (parent->number == c.leader) * 500u);
	for (uint32_t i = 0; i < c.node_count; i++)
		CU_ASSERT_EQUAL(links_of(&c.nodes[i]), 0);
	end(1);
}

/* What carries nothing is closed, on both sides, and nobody is suspect for it. It opens again when it is needed. */
static void test_direct_idle(void)
{
	struct node *a, *b;

	begin(2, 12, 1, 3);
	a = &c.nodes[8];
	b = &c.nodes[11];
	bulk(a, b, 100000);
	relays_run(&c, 9000000);
	CU_ASSERT_EQUAL(links_of(a), 1);
	chat(b, a, 1); /* either direction keeps it */
	relays_run(&c, 9000000);
	CU_ASSERT_EQUAL(links_of(a), 1);
	relays_run(&c, 1500000);
	CU_ASSERT_EQUAL(links_of(a) + links_of(b), 0);
	CU_ASSERT_EQUAL(suspicions(), 0);
	bulk(a, b, 100000);
	relays_run(&c, 1000000);
	CU_ASSERT_EQUAL(links_of(a), 1);
	CU_ASSERT_EQUAL(links_of(b), 1);
	end(2);
}

/* There are never more than allowed, on either side; the coldest makes room, one in use does not. */
static void test_direct_bound(void)
{
	struct node *a;

	begin(3, 20, 1, 3);
	a = &c.nodes[6];
	for (uint32_t i = 10; i < 16; i++) { /* dialled */
		bulk(a, &c.nodes[i], 100000);
		relays_run(&c, 100000);
		check_bound(3);
	}
	CU_ASSERT_EQUAL(links_of(a), 3);
	CU_ASSERT_EQUAL(links_of(&c.nodes[10]), 1);
	CU_ASSERT_EQUAL(links_of(&c.nodes[15]), 0);
	relays_run(&c, 1500000);
	chat(a, &c.nodes[10], 1);
	bulk(a, &c.nodes[15], 100000);
	relays_run(&c, 100000);
	CU_ASSERT_EQUAL(links_of(a), 3);
	CU_ASSERT_EQUAL(links_of(&c.nodes[10]), 1);
	CU_ASSERT_EQUAL(links_of(&c.nodes[11]), 0);
	CU_ASSERT_EQUAL(links_of(&c.nodes[15]), 1);
	relays_run(&c, 20000000);
	for (uint32_t i = 10; i < 16; i++) { /* accepted */
		a->got.count = 0;
		bulk(&c.nodes[i], a, 100000);
		relays_run(&c, 100000);
		check_bound(3);
		chat(&c.nodes[i], a, 10);
		relays_run(&c, 100000);
		CU_ASSERT_EQUAL(received(a, &c.nodes[i]), 10); /* by either way */
	}
	CU_ASSERT_EQUAL(links_of(a), 3);
	CU_ASSERT_EQUAL(suspicions(), 0);
	end(3);
}

/* Two that dial each other at once keep one link. */
static void test_direct_both(void)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct sim_faults f = {.delay_min_us = 50, .delay_max_us = 5000};
		struct node *a, *b;

		begin(seed, 12, 1, 3);
		sim_net_set_faults(c.sn, &f);
		a = &c.nodes[9];
		b = &c.nodes[11];
		bulk(a, b, 100000);
		relays_run(&c, seed * 500);
		bulk(b, a, 100000);
		relays_run(&c, 1000000);
		check(links_of(a) == 1 && links_of(b) == 1, "not one link", seed);
		a->got.count = b->got.count = 0;
		chat(a, b, 100);
		chat(b, a, 100);
		relays_run(&c, 100000);
		CU_ASSERT_EQUAL(received(a, b), 100);
		CU_ASSERT_EQUAL(received(b, a), 100);
		CU_ASSERT_EQUAL(suspicions(), 0);
		end(seed);
	}
}

/* A direct link that breaks is the tree's again at once; nobody is suspect, and later there is another. */
static void test_direct_broken(void)
{
	for (uint64_t seed = 0; seed < 10; seed++) {
		struct node *a, *b;

		begin(seed, 12, 1, 3);
		a = &c.nodes[9];
		b = &c.nodes[11];
		bulk(a, b, 100000);
		relays_run(&c, 100000);
		check(links_of(a) == 1, "no link", seed);
		sim_net_break(c.sn, a->host, b->host, false);
		relays_run(&c, 1000);
		check(links_of(a) == 0 && links_of(b) == 0, "the break is not noticed", seed);
		chat(a, b, 30);
		chat(b, a, 30);
		relays_run(&c, 100000);
		check(received(b, a) == 30 && received(a, b) == 30, "the tree does not carry it", seed);
		for (int i = 0; i < 40; i++) {
			chat(b, a, 70);
			relays_run(&c, 100000);
		}
		check(links_of(a) == 1 && links_of(b) == 1, "does not open again", seed);
		check(suspicions() == 0 && c.removals == 0, "somebody is suspect", seed);
		end(seed);
	}
}

/*
 * A direct link whose other side is never heard again is given up after the heartbeat limit. When only the way between
 * the two is cut the rest of the cluster hears both: nobody is removed, and they go on over the tree.
 */
static void test_direct_silent(void)
{
	struct node *a, *b;

	begin(4, 12, 1, 3);
	c.auto_remove = false;
	a = &c.nodes[9];
	b = &c.nodes[11];
	bulk(a, b, 100000);
	relays_run(&c, 100000);
	CU_ASSERT_EQUAL(links_of(a), 1);
	sim_net_block_both(c.sn, a->host, b->host, true);
	relays_run(&c, 1500000);
	CU_ASSERT_EQUAL(links_of(a) + links_of(b), 0);
	chat(a, b, 30);
	relays_run(&c, 100000);
	CU_ASSERT_EQUAL(received(b, a), 30);
	sim_net_heal(c.sn);
	relays_run(&c, 3000000);
	for (int i = 0; i < 100; i++) {
		chat(a, b, 70);
		relays_run(&c, 100000);
	}
	CU_ASSERT_EQUAL(links_of(a), 1);
	end(4);
}

/* Who was removed has no direct link under its old id, and may have one under its new id. */
static void test_direct_removed(void)
{
	struct node *a, *b;
	engine_id was;

	begin(5, 12, 1, 3);
	a = &c.nodes[9];
	b = &c.nodes[11];
	was = b->id;
	bulk(a, b, 100000);
	bulk(b, a, 100000);
	relays_run(&c, 100000);
	CU_ASSERT_EQUAL(links_of(a), 1);
	relays_remove(&c, was);
	relays_run(&c, 5000);
	CU_ASSERT_EQUAL(links_of(a) + links_of(b), 0);
	check(relays_settle(&c, 3000000), "does not join again", 5);
	CU_ASSERT(b->id > was);
	relays_run(&c, 500000);
	b->got.count = 0;
	bulk(a, b, 100000);
	relays_run(&c, 100000);
	CU_ASSERT_EQUAL(links_of(a), 1);
	chat(a, b, 10);
	relays_run(&c, 100000);
	CU_ASSERT_EQUAL(received(b, a), 10);
	end(5);
}

/* Killed peers, broken links and busy ones at once: it settles, stays in its bounds, and all reach all. */
static void test_direct_random(void)
{
	for (uint64_t seed = 100; seed < 116; seed++) {
		struct sim_faults f = {.delay_min_us = 50, .delay_max_us = 800, .spike_ppm = 1000, .spike_us = 20000, .notice_us = 20000};
		uint64_t opened = 0;

		begin(seed, 16, seed % 2 ? 3 : 1, 3);
		sim_net_set_faults(c.sn, &f);
		for (int i = 0; i < 150; i++) {
			struct node *a = &c.nodes[rng_below(&c.rng, c.node_count)];
			struct node *b = &c.nodes[rng_below(&c.rng, c.node_count)];

			if (!a->relay || !a->id)
				continue;
			if (rng_below(&c.rng, 3))
				bulk(a, b, 70000);
			else
				chat(a, b, 70);
			if (rng_below(&c.rng, 10) == 0)
				sim_net_break(c.sn, a->host, b->host, false);
			if (rng_below(&c.rng, 40) == 0 && !b->voter)
				relays_crash(&c, b, false);
			if (rng_below(&c.rng, 40) == 0 && b->id)
				relays_remove(&c, b->voter ? 0 : b->id);
			relays_append(&c, 1);
			relays_run(&c, rng_below(&c.rng, 60000));
			check_bound(seed);
		}
		check(relays_settle(&c, 5000000), "does not settle", seed);
		check(relays_all_pairs(&c) == 0, "messages between pairs", seed);
		for (uint32_t i = 0; i < c.node_count; i++)
			opened += stats_of(&c.nodes[i]).direct_opened;
		check(opened > 20, "hardly a direct link", seed);
		end(seed);
	}
}

void suite_net_direct(void)
{
	CU_pSuite s = CU_add_suite("net_direct", NULL, NULL);

	CU_add_test(s, "test_direct_on_demand", test_direct_on_demand);
	CU_add_test(s, "test_direct_not_needed", test_direct_not_needed);
	CU_add_test(s, "test_direct_idle", test_direct_idle);
	CU_add_test(s, "test_direct_bound", test_direct_bound);
	CU_add_test(s, "test_direct_both", test_direct_both);
	CU_add_test(s, "test_direct_broken", test_direct_broken);
	CU_add_test(s, "test_direct_silent", test_direct_silent);
	CU_add_test(s, "test_direct_removed", test_direct_removed);
	CU_add_test(s, "test_direct_random", test_direct_random);
}
