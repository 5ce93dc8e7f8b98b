/*
 * test_tree.c - the relay topology (tests).
 */
#include "net/tree/tree.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/env.h"

void suite_net_tree(void);

#define NODES_MAX 600

static struct tree_node nodes[NODES_MAX];
static char locations[NODES_MAX][32];
static uint32_t count, fan_out;

/* A random list: ids with gaps, voters anywhere, locations of none to three components. */
static void random_list(struct rng *r, uint32_t max)
{
	uint64_t id = 0;
	uint32_t style = (uint32_t)rng_below(r, 4), voters = (uint32_t)rng_below(r, 6);

	count = 1 + (uint32_t)rng_below(r, max);
	fan_out = 1 + (uint32_t)rng_below(r, 10);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t a = rng_below(r, 3), b = rng_below(r, 4), c = rng_below(r, 5);

		nodes[i].id = id += 1 + rng_below(r, 5);
		nodes[i].voter = false;
		nodes[i].location = locations[i];
		snprintf(locations[i], sizeof locations[i], style == 0   ? ""
							    : style == 1 ? "r%d"
							    : style == 2 ? "r%d/k%d"
									 : "r%d/k%d/h%d",
			 (int)a, (int)b, (int)c);
		if (rng_below(r, 20) == 0)
			locations[i][0] = '\0';
	}
	for (uint32_t v = 0; v < voters; v++)
		nodes[rng_below(r, count)].voter = true;
}

static uint32_t node_at(engine_id id)
{
	for (uint32_t i = 0; i < count; i++)
		if (nodes[i].id == id)
			return i;
	CU_FAIL_FATAL("a parent that is not on the list");
	return 0;
}

/*
 * Every default parent is legal, no node has more than fan_out children, nobody is left out, and no
 * cycle forms.
 */
static void test_tree_default(void)
{
	struct rng r;

	rng_init(&r, 1);
	for (int round = 0; round < 150; round++) {
		uint32_t children[NODES_MAX] = {0}, roots = 0, voters = 0;

		random_list(&r, 150);
		for (uint32_t i = 0; i < count; i++) {
			engine_id p = tree_parent(nodes, count, i, fan_out);

			voters += nodes[i].voter;
			if (!p) {
				roots += !nodes[i].voter;
				continue;
			}
			CU_ASSERT_FATAL(!nodes[i].voter);
			uint32_t at = node_at(p);

			CU_ASSERT(tree_legal(&nodes[at], &nodes[i]));
			CU_ASSERT(nodes[at].voter || at < i); /* so a walk up ends */
			children[at]++;
			CU_ASSERT_EQUAL(p, tree_parent(nodes, count, i, fan_out));
		}
		for (uint32_t i = 0; i < count; i++)
			CU_ASSERT(children[i] <= fan_out);
		/* without a voter the lowest id is the root; with one, nobody else is */
		CU_ASSERT_EQUAL(roots, voters == 0);
	}
}

/* The depth is logarithmic: filled level by level where there are no locations. */
static void test_tree_depth(void)
{
	static const struct { uint32_t count, fan_out, deepest;
	} cases[] = {
		{9, 8, 1},   {10, 8, 2}, {73, 8, 2}, {74, 8, 3},
		{585, 8, 3}, {63, 2, 5}, {64, 2, 6}, {5, 1, 4},
	};

	for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
		uint32_t deepest = 0;

		for (uint32_t i = 0; i < cases[k].count; i++) {
			nodes[i].id = i + 1;
			nodes[i].voter = i == 0;
			nodes[i].location = "";
		}
		for (uint32_t i = 0; i < cases[k].count; i++) {
			uint32_t d = tree_depth(nodes, cases[k].count, i, cases[k].fan_out);

			deepest = d > deepest ? d : deepest;
		}
		CU_ASSERT_EQUAL(deepest, cases[k].deepest);
	}
}

/* A location is entered by few links: all but the first of its engines have their parent inside. */
static void test_tree_location(void)
{
	uint32_t crossings = 0;

	count = 100;
	for (uint32_t i = 0; i < count; i++) {
		nodes[i].id = i + 1;
		nodes[i].voter = i < 3;
		nodes[i].location = locations[i];
		snprintf(locations[i], sizeof locations[i], "region%u/rack%u", i < 3 ? 0 : i % 4,
			 i % 8);
	}
	for (uint32_t i = 0; i < count; i++) {
		engine_id p = tree_parent(nodes, count, i, 8);

		if (p && strncmp(nodes[i].location, nodes[p - 1].location, 7) != 0)
			crossings++;
	}
	CU_ASSERT_EQUAL(crossings, 3); /* regions 1, 2 and 3, once each */
}

/*
 * Candidates are legal and distinct, the default comes first, the voters last, and one is always
 * among them.
 */
static void test_tree_candidates(void)
{
	struct rng r;

	rng_init(&r, 2);
	for (int round = 0; round < 200; round++) {
		engine_id out[20];
		uint32_t self, max, n, voters = 0;
		bool voter_seen = false;

		random_list(&r, 100);
		self = (uint32_t)rng_below(&r, count);
		max = 2 + (uint32_t)rng_below(&r, 19);
		n = tree_candidates(nodes, count, self, fan_out, (uint32_t)rng_below(&r, 5), out,
				    max);
		for (uint32_t i = 0; i < count; i++)
			voters += nodes[i].voter;
		CU_ASSERT_FATAL(n <= max);
		if (nodes[self].voter) {
			CU_ASSERT_EQUAL(n, 0);
			continue;
		}
		if (n)
			CU_ASSERT_EQUAL(out[0], tree_parent(nodes, count, self, fan_out));
		for (uint32_t i = 0; i < n; i++) {
			const struct tree_node *p = &nodes[node_at(out[i])];

			CU_ASSERT(tree_legal(p, &nodes[self]));
			CU_ASSERT(i == 0 || p->voter || !voter_seen || out[0] == p->id);
			voter_seen |= p->voter && i > 0;
			for (uint32_t k = 0; k < i; k++)
				CU_ASSERT_NOT_EQUAL(out[i], out[k]);
		}
		if (voters && n)
			CU_ASSERT(voter_seen || nodes[node_at(out[0])].voter);
	}
}

/* The orphans of one parent do not all go to one other. */
static void test_tree_spread(void)
{
	uint32_t asked[NODES_MAX] = {0}, most = 0;

	count = 200;
	for (uint32_t i = 0; i < count; i++) {
		nodes[i].id = i + 1;
		nodes[i].voter = i == 0;
		nodes[i].location = "";
	}
	for (uint32_t i = 120; i < count; i++) {
		engine_id out[4];

		CU_ASSERT_FATAL(tree_candidates(nodes, count, i, 8, 0, out, 4) == 4);
		asked[out[1] - 1]++;
	}
	for (uint32_t i = 0; i < count; i++)
		most = asked[i] > most ? asked[i] : most;
	CU_ASSERT(most <= 8);
}

/* 4,096 members are placed in a few milliseconds. */
static void test_tree_large(void)
{
	static struct tree_node many[TREE_NODES_MAX];
	static char at[TREE_NODES_MAX][32];
	clock_t then;

	for (uint32_t i = 0; i < TREE_NODES_MAX; i++) {
		many[i].id = i + 1;
		many[i].voter = i < 5;
		snprintf(at[i], sizeof at[i], "r%u/k%u/h%u", i % 7, i % 91, i % 1000);
		many[i].location = at[i];
	}
	then = clock();
	for (int i = 0; i < 20; i++)
		CU_ASSERT(tree_parent(many, TREE_NODES_MAX, TREE_NODES_MAX - 1, 8) != 0);
	CU_ASSERT((double)(clock() - then) / CLOCKS_PER_SEC / 20 < 0.05);
}

void suite_net_tree(void)
{
	CU_pSuite s = CU_add_suite("net_tree", NULL, NULL);

	CU_add_test(s, "default parents", test_tree_default);
	CU_add_test(s, "depth", test_tree_depth);
	CU_add_test(s, "locations", test_tree_location);
	CU_add_test(s, "candidates", test_tree_candidates);
	CU_add_test(s, "spread", test_tree_spread);
	CU_add_test(s, "large", test_tree_large);
}
