/*
 * test_mcast.c - the log by datagrams with the tree as repair, over the simulated network (tests).
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "net_relays.h"

void suite_net_mcast(void);

static struct relays c;

static void check(bool ok, const char *what, uint64_t seed)
{
	if (!ok) {
		fprintf(stderr, "test_mcast: %s, seed %llu\n", what, (unsigned long long)seed);
		relays_dump(&c);
	}
	CU_ASSERT(ok);
}

static void begin(uint64_t seed, uint32_t nodes, uint32_t voters)
{
	relays_init_multicast(&c, seed, nodes, voters, 4);
	c.auto_remove = true;
	check(relays_settle(&c, 3000000), "does not settle at the start", seed);
}

static void end(uint64_t seed)
{
	check(relays_settle(&c, 10000000), "the log does not arrive", seed);
	check(relays_gaps(&c) == 0, "gaps in the log", seed);
	CU_ASSERT_EQUAL(c.removals, 0);
	relays_fini(&c);
}

static void load(uint32_t turns)
{
	while (turns--) {
		relays_append(&c, 1);
		relays_run(&c, 2000);
	}
}

static struct relay_stats sum(void)
{
	struct relay_stats all = {0}, s;

	for (uint32_t i = c.voter_count; i < c.node_count; i++) {
		if (!c.nodes[i].relay)
			continue; /* crashed */
		relay_stats(c.nodes[i].relay, &s);
		all.mcast_in += s.mcast_in;
		all.mcast_bad += s.mcast_bad;
		all.mcast_batches += s.mcast_batches;
		all.mcast_repairs += s.mcast_repairs;
		all.log_batches_in += s.log_batches_in;
	}
	return all;
}

/* Where nothing is lost the log comes by datagrams, and the tree brings none of it. */
static void test_mcast_calm(void)
{
	for (uint64_t seed = 0; seed < 10; seed++) {
		struct relay_stats before, after;

		begin(seed, 9, seed % 2 ? 3 : 1);
		load(60);
		before = sum();
		load(200);
		check(relays_settle(&c, 1000000), "the log does not arrive", seed);
		after = sum();
		CU_ASSERT_EQUAL(after.mcast_batches - before.mcast_batches, 200 * (c.node_count - c.voter_count));
		CU_ASSERT_EQUAL(after.log_batches_in - before.log_batches_in, 0);
		CU_ASSERT_EQUAL(after.mcast_bad, 0);
		end(seed);
	}
}

/* One in twenty lost, some twice, some overtaken: the tree brings just what is missing, also when the last one is lost. */
static void test_mcast_lossy(void)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct sim_faults f = {.delay_min_us = 30, .delay_max_us = 400, .loss_ppm = 50000, .retransmit_us = 2000,
				       .duplicate_ppm = 50000, .reorder_ppm = 100000};
		struct relay_stats before, after;

		begin(seed, 9, 1);
		load(60);
		before = sum();
		sim_net_set_faults(c.sn, &f);
		for (int i = 0; i < 100; i++) {
			relays_append(&c, 1 + i % 3);
			check(relays_settle(&c, 100000), "a lost batch is not repaired in time", seed);
		}
		after = sum();
		CU_ASSERT(after.mcast_repairs > before.mcast_repairs);
		CU_ASSERT(after.log_batches_in - before.log_batches_in < (after.mcast_batches - before.mcast_batches) / 4);
		end(seed);
	}
}

/* Batches of many datagrams, and some too long for any. */
static void test_mcast_long(void)
{
	static const uint32_t sizes[] = {16, 1315, 1316, 1317, 40000, 190 * 1316, 192 * 1316, 192 * 1316 + 1, 1000000};

	for (uint64_t seed = 0; seed < 4; seed++) {
		struct sim_faults f = {.delay_min_us = 30, .delay_max_us = 100, .loss_ppm = seed ? 2000 : 0,
				       .retransmit_us = 2000};

		begin(seed, 5, 1);
		load(60);
		sim_net_set_faults(c.sn, &f);
		for (size_t i = 0; i < 3 * sizeof sizes / sizeof sizes[0]; i++) {
			c.batch_bytes = sizes[i % (sizeof sizes / sizeof sizes[0])];
			relays_append(&c, 2);
			check(relays_settle(&c, 500000), "a long batch does not arrive", seed);
		}
		CU_ASSERT(sum().mcast_repairs > 0);
		end(seed);
	}
}

/* A network that carries no datagrams any more: the tree streams again, and stays with it. */
static void test_mcast_dead(void)
{
	struct relay_stats before, after;

	begin(7, 9, 1);
	load(60);
	for (uint32_t i = 1; i < c.node_count; i++) {
		struct sim_faults f = {.delay_min_us = 50, .delay_max_us = 150, .datagram_loss_ppm = 1000000};

		sim_net_set_pair_faults(c.sn, c.nodes[0].host, c.nodes[i].host, &f);
	}
	load(300);
	before = sum();
	load(100);
	check(relays_settle(&c, 1000000), "the log does not arrive", 7);
	after = sum();
	CU_ASSERT_EQUAL(after.mcast_repairs - before.mcast_repairs, 0);
	CU_ASSERT_EQUAL(after.log_batches_in - before.log_batches_in, 100 * (c.node_count - 1));
	end(7);
}

/* The leader changes, parents die, engines join: nothing is lost, and datagrams go on under the next leader. */
static void test_mcast_leader(void)
{
	for (uint64_t seed = 0; seed < 10; seed++) {
		struct relay_stats before;

		relays_init_multicast(&c, seed, 12, 3, 2);
		c.auto_remove = true;
		check(relays_settle(&c, 3000000), "does not settle at the start", seed);
		load(60);
		relays_crash(&c, &c.nodes[c.leader], seed % 2);
		load(100);
		relays_crash(&c, &c.nodes[4], seed % 2);
		load(100);
		(void)relays_add(&c);
		load(100);
		check(relays_settle(&c, 10000000), "does not settle after the crashes", seed);
		before = sum();
		load(100);
		CU_ASSERT(sum().mcast_batches > before.mcast_batches);
		check(relays_settle(&c, 10000000), "the log does not arrive", seed);
		check(relays_gaps(&c) == 0, "gaps in the log", seed);
		relays_fini(&c);
	}
}

/* Somebody on the network sends what he likes; what a member sent, he may send again and change. */
static struct { uint8_t data[64][MCAST_DATAGRAM_MAX]; size_t bytes[64]; uint32_t count; } heard;

static void hear(void *ctx, const void *data, size_t bytes)
{
	(void)ctx;
	if (heard.count < 64) {
		memcpy(heard.data[heard.count], data, bytes);
		heard.bytes[heard.count++] = bytes;
	}
}

static void test_mcast_stranger(void)
{
	struct mcast_config cfg = {.mem = &c.mem, .group = "239.1.2.3:7600", .local = "", .datagram = hear};
	struct relay_stats before, after;
	struct mcast *m = NULL;
	struct error err;
	uint64_t sent = 0;

	begin(3, 4, 1);
	cfg.backend = sim_host_new(c.sn, "stranger:1");
	CU_ASSERT_EQUAL_FATAL(mcast_ops_sim.open(&cfg, &m, &err), ST_OK);
	load(60);
	(void)mcast_ops_sim.progress(m);
	CU_ASSERT(heard.count > 30);
	before = sum();
	for (uint32_t i = 0; i < heard.count; i++) {
		uint8_t changed[MCAST_DATAGRAM_MAX];

		/* as it was: it is old, and does nothing */
		CU_ASSERT(mcast_ops_sim.send(m, heard.data[i], heard.bytes[i]));
		memcpy(changed, heard.data[i], heard.bytes[i]);
		changed[rng_below(&c.rng, heard.bytes[i])] ^= (uint8_t)(1 << rng_below(&c.rng, 8));
		CU_ASSERT(mcast_ops_sim.send(m, changed, heard.bytes[i]));
		CU_ASSERT(mcast_ops_sim.send(m, changed, rng_below(&c.rng, heard.bytes[i])));
		sent += 2;
		relays_run(&c, 500);
	}
	relays_run(&c, 10000);
	after = sum();
	CU_ASSERT_EQUAL(after.mcast_bad - before.mcast_bad, sent * (c.node_count - 1));
	CU_ASSERT_EQUAL(after.mcast_batches, before.mcast_batches);
	mcast_ops_sim.close(m);
	end(3);
}

/* Without a secret everything is believed, but nothing may break: no bound, no length is taken from a datagram unchecked. */
static void test_mcast_garbage(void)
{
	struct mcast_config cfg = {.mem = &c.mem, .group = "239.1.2.3:7600", .local = "", .datagram = hear};
	struct mcast *m = NULL;
	struct error err;

	relays_init_secret(&c, NULL, 5, 1, 1, 4);
	c.multicast = "239.1.2.3:7600";
	for (int i = 0; i < 3; i++)
		(void)relays_add(&c);
	check(relays_settle(&c, 3000000), "does not settle at the start", 5);
	cfg.backend = sim_host_new(c.sn, "stranger:1");
	CU_ASSERT_EQUAL_FATAL(mcast_ops_sim.open(&cfg, &m, &err), ST_OK);
	for (uint32_t i = 0; i < 4000; i++) {
		/* magic, version, kind, piece, pieces, zero, bytes, log id, first, last, code, body */
		uint8_t d[MCAST_DATAGRAM_MAX] = {0x76, 0x6c, 0x6d, 0x63, 1, (uint8_t)(1 + rng_below(&c.rng, 2))};
		uint16_t pieces = (uint16_t)rng_below(&c.rng, 200), piece = (uint16_t)rng_below(&c.rng, pieces + 2u);
		uint64_t log_id = RELAYS_LOG_ID, first = 1000 + rng_below(&c.rng, 400), last = first + rng_below(&c.rng, 3);
		uint32_t bytes = pieces * 1316u - (uint32_t)rng_below(&c.rng, 1316);

		memcpy(d + 6, &piece, 2);
		memcpy(d + 8, &pieces, 2);
		memcpy(d + 12, &bytes, 4);
		memcpy(d + 16, &log_id, 8);
		memcpy(d + 24, &first, 8);
		memcpy(d + 32, &last, 8);
		CU_ASSERT(mcast_ops_sim.send(m, d, rng_below(&c.rng, 8) ? sizeof d : rng_below(&c.rng, sizeof d)));
		if (i % 40 == 0)
			relays_append(&c, 1);
		relays_run(&c, 300);
	}
	mcast_ops_sim.close(m);
	check(relays_settle(&c, 10000000), "the log does not arrive", 5);
	for (uint32_t i = 1; i < c.node_count; i++) {
		struct relay_stats s;

		relay_stats(c.nodes[i].relay, &s);
		CU_ASSERT(s.mcast_bad > 200 && s.mcast_in > s.mcast_bad + 1000);
	}
	CU_ASSERT(c.mem.used_bytes < 64u << 20);
	check(relays_gaps(&c) == 0, "a batch of garbage was handed over", 5);
	relays_fini(&c);
}

void suite_net_mcast(void)
{
	CU_pSuite s = CU_add_suite("net_mcast", NULL, NULL);

	CU_ADD_TEST(s, test_mcast_calm);
	CU_ADD_TEST(s, test_mcast_lossy);
	CU_ADD_TEST(s, test_mcast_long);
	CU_ADD_TEST(s, test_mcast_dead);
	CU_ADD_TEST(s, test_mcast_leader);
	CU_ADD_TEST(s, test_mcast_stranger);
	CU_ADD_TEST(s, test_mcast_garbage);
}
