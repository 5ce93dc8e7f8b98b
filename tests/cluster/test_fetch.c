/*
 * test_fetch.c - copies of atoms on whole engines: what a fetch is to others on its way, and when its holder is lost.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "catalog/replica.h"
#include "engine/txn/txns.h"
#include "unit.h"
#include "rig.h"

static struct rig r;
static bool by_reads; /* the engines can read each other's memory */

#define ROWS "2000"
#define ALL "2000|800000\n" /* rows, bytes */
#define READ_ALL "select count(*), sum(length(pad)) from big"

static struct txns_stats stats(uint32_t n)
{
	return *txns_stats(engine_txns(r.at[n].engine));
}

/* One archive and @caches caches; the first cache has made t, and big: images of 800,000 bytes. */
static void begin(uint32_t caches)
{
	struct rig_session *s;

	memset(&r, 0, sizeof r);
	r.remote_read = by_reads;
	CU_ASSERT_FATAL(rig_init(&r, 1, caches));
	s = rig_session(&r, 1);
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "create table t (id int primary key, v int)"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "insert into t select g, 0 from generate_series(1, 100) g"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "create table big (id int primary key, pad text)"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "insert into big select g, repeat('p', 400) from generate_series(1, " ROWS ") g"), "");
	CU_ASSERT(rig_quiet(&r));
	rig_session_free(s);
}

static void end(void)
{
	CU_ASSERT(rig_fini(&r));
}

/* Everything that leaves engine @from for engine @to has a way of @bytes_per_ms. */
static void slow(uint32_t from, uint32_t to, uint64_t bytes_per_ms)
{
	struct sim_faults f = {.delay_min_us = 100, .delay_max_us = 200, .bytes_per_ms = bytes_per_ms};

	sim_net_set_pair_faults(r.net, r.at[from].host, r.at[to].host, &f);
}

/*
 * Images that come over a way of 2 MB/s do not hold up what comes behind them: a grant that is asked for meanwhile waits for
 * a piece or two (30 ms each), not for 400 ms of them, and nobody takes the other for dead.
 */
static void test_fetch_slow_way(void)
{
	struct rig_session *reader, *writer;
	uint64_t worst = 0, started;
	uint32_t updates = 0;
	char sql[80];

	begin(2);
	writer = rig_session(&r, 2);
	CU_ASSERT_STRING_EQUAL(rig_sql(writer, "update t set v = v + 1 where id = 100"), "");
	reader = rig_session(&r, 2);
	slow(0, 2, 2000);
	slow(1, 2, 2000);
	rig_send(reader, READ_ALL);
	started = r.now_us;
	while (!rig_answered(reader, 1) && r.now_us < started + 5000000) {
		uint64_t then = r.now_us;

		snprintf(sql, sizeof sql, "update t set v = v + 1 where id = %u", ++updates);
		CU_ASSERT_STRING_EQUAL(rig_sql(writer, sql), "");
		if (r.now_us - then > worst)
			worst = r.now_us - then;
	}
	CU_ASSERT_STRING_EQUAL(reader->text, ALL);
	CU_ASSERT(r.now_us - started > 400000); /* it cannot have been quicker */
	CU_ASSERT(r.now_us - started < 1500000);
	CU_ASSERT(updates > 5);
	if (worst > 250000)
		fprintf(stderr, "test_fetch: an update took %llu us\n", (unsigned long long)worst);
	CU_ASSERT(worst < 250000);
	CU_ASSERT_STRING_EQUAL(rig_sql(writer, "select count(*) from valence.engines"), "3\n");
	end();
}

static bool begun(struct rig *at, void *ctx)
{
	(void)at;
	(void)ctx;
	return stats(0).lend_bytes + stats(1).lend_bytes > 200000 || stats(0).lends + stats(1).lends > (by_reads ? 9 : 1000);
}

/* The holder dies when some of the pieces have come: the other one is asked, and all of it is there. */
static void test_fetch_holder_dies(void)
{
	struct rig_session *reader;

	for (uint32_t victim = 0; victim < 2; victim++) {
		uint64_t before[2];

		begin(3);
		slow(0, 3, 2000);
		slow(1, 3, 2000);
		slow(2, 3, 2000);
		reader = rig_session(&r, 3);
		if (victim == 0) { /* the archive may not die: it is the only one. Another cache holds it, too */
			struct rig_session *second = rig_session(&r, 2);

			CU_ASSERT_STRING_EQUAL(rig_sql(second, READ_ALL), ALL);
			CU_ASSERT(rig_until(&r, 100000, NULL, NULL));
		}
		before[0] = stats(0).lend_bytes;
		rig_send(reader, READ_ALL);
		CU_ASSERT(rig_until(&r, 3000000, begun, NULL));
		rig_kill(&r, 1);
		CU_ASSERT(rig_answered(reader, 9000000));
		CU_ASSERT_STRING_EQUAL(reader->text, ALL);
		before[1] = stats(0).lend_bytes;
		CU_ASSERT(before[1] >= before[0]);
		end();
	}
}

/* The ways break again and again while the images come. */
static void test_fetch_broken_ways(void)
{
	struct rig_session *reader;

	begin(2);
	slow(0, 2, 4000);
	slow(1, 2, 4000);
	reader = rig_session(&r, 2);
	rig_send(reader, READ_ALL);
	for (int i = 0; i < 8; i++) {
		(void)rig_until(&r, 60000, NULL, NULL);
		sim_net_break(r.net, r.at[2].host, r.at[i % 2].host, false);
	}
	CU_ASSERT(rig_answered(reader, 9000000));
	CU_ASSERT_STRING_EQUAL(reader->text, ALL);
	end();
}

/* What was lent to an engine that is gone is lent no more: the holder changes the images where they are. */
static void test_fetch_requester_dies(void)
{
	struct rig_session *reader, *writer;
	size_t before;

	begin(2);
	writer = rig_session(&r, 1);
	slow(0, 2, 2000);
	slow(1, 2, 2000);
	reader = rig_session(&r, 2);
	rig_send(reader, READ_ALL);
	CU_ASSERT(rig_until(&r, 3000000, begun, NULL));
	rig_kill(&r, 2);
	CU_ASSERT(rig_until(&r, 4000000, NULL, NULL));
	before = atom_store_image_bytes(replica_store(engine_replica(r.at[1].engine)));
	CU_ASSERT_STRING_EQUAL(rig_sql(writer, "update big set pad = repeat('q', 400)"), "");
	CU_ASSERT(atom_store_image_bytes(replica_store(engine_replica(r.at[1].engine))) < before + 1200000);
	end();
}

/* The same, with images that are read by who fetches them. */
static void slow_way_by_reads(void)
{
	by_reads = true;
	test_fetch_slow_way();
	by_reads = false;
}

static void holder_dies_by_reads(void)
{
	by_reads = true;
	test_fetch_holder_dies();
	by_reads = false;
}

static void broken_ways_by_reads(void)
{
	by_reads = true;
	test_fetch_broken_ways();
	by_reads = false;
}

static void requester_dies_by_reads(void)
{
	by_reads = true;
	test_fetch_requester_dies();
	by_reads = false;
}

/* What is read is counted as that, and is most of what is fetched; the holder goes on changing what it lends. */
static void test_fetch_reads(void)
{
	struct rig_session *reader, *writer;
	uint64_t sent;

	by_reads = true;
	begin(2);
	writer = rig_session(&r, 1);
	reader = rig_session(&r, 2);
	for (int i = 0; i < 70; i++) /* so busy that there is a link straight to the holder */
		CU_ASSERT_STRING_EQUAL(rig_sql(reader, i % 2 ? "update t set v = 1 where id = 1" : "update t set v = 2 where id = 2"), "");
	sent = stats(0).lend_bytes + stats(1).lend_bytes;
	rig_send(reader, READ_ALL);
	for (int i = 1; i <= 20; i++)
		CU_ASSERT_STRING_EQUAL(rig_sql(writer, "update big set pad = repeat('q', 400) where id % 100 = 7"), "");
	CU_ASSERT(rig_answered(reader, 9000000));
	CU_ASSERT_STRING_EQUAL(reader->text, ALL);
	CU_ASSERT(stats(2).fetch_reads >= 4);
	CU_ASSERT(stats(2).fetch_read_bytes > 600000);
	CU_ASSERT(stats(2).fetch_read_bytes <= stats(2).fetch_bytes);
	CU_ASSERT(stats(0).lend_bytes + stats(1).lend_bytes - sent < 200000);
	CU_ASSERT(sim_net_counters(r.net)->reads > 10);
	CU_ASSERT_STRING_EQUAL(rig_sql(reader, "select count(*) from big where pad like 'q%'"), "20\n");
	CU_ASSERT_STRING_EQUAL(rig_sql(reader, "select * from valence.check_atoms()"), "");
	end();
	by_reads = false;
}

void suite_cluster_fetch(void)
{
	CU_pSuite s = CU_add_suite("cluster_fetch", NULL, NULL);

	CU_add_test(s, "test_fetch_slow_way", test_fetch_slow_way);
	CU_add_test(s, "test_fetch_holder_dies", test_fetch_holder_dies);
	CU_add_test(s, "test_fetch_broken_ways", test_fetch_broken_ways);
	CU_add_test(s, "test_fetch_requester_dies", test_fetch_requester_dies);
	CU_add_test(s, "test_fetch_reads", test_fetch_reads);
	CU_add_test(s, "test_fetch_slow_way by reads", slow_way_by_reads);
	CU_add_test(s, "test_fetch_holder_dies by reads", holder_dies_by_reads);
	CU_add_test(s, "test_fetch_broken_ways by reads", broken_ways_by_reads);
	CU_add_test(s, "test_fetch_requester_dies by reads", requester_dies_by_reads);
}
