/*
 * test_sim.c - the simulator's disks: what a crash leaves, faults, determinism.
 */
#include "disk.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit.h"

static void open_founded(struct disk *d, uint64_t seed)
{
	disk_init(d, &store_ops_sim, seed);
	CU_ASSERT_EQUAL_FATAL(disk_open(d), ST_OK);
	CU_ASSERT_EQUAL_FATAL(disk_identity(d, 7, 70), ST_OK);
}

/* The model as of operation @op. */
static struct model *model_at(uint64_t op)
{
	struct model *m = model_new();

	while (m->op < op)
		model_step(m, NULL);
	return m;
}

/*
 * A crash leaves all that was acknowledged and a prefix of what was under way, each operation whole; nobody is told
 * of anything after it, and the journal is never short by it.
 */
static void test_sim_crash_prefix(void)
{
	uint64_t torn_some = 0, kept_some = 0;

	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct model *m = model_new();
		struct disk d;
		struct rng r;

		open_founded(&d, seed);
		rng_init(&r, seed);
		for (int round = 0; round < 4; round++) {
			struct model *left;
			uint64_t given, acked, before = m->op;

			for (uint64_t n = rng_below(&r, 25); n > 0; n--) {
				model_step(m, &d);
				if (rng_below(&r, 3) == 0)
					disk_poll(&d);
			}
			given = m->op;
			acked = before + d.journaled;
			sim_disk_crash(d.sim);
			model_step(m, &d); /* into nothing */
			CU_ASSERT_EQUAL(d.ops->progress(d.store), 0);
			disk_close(&d);
			CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
			CU_ASSERT(d.found.vote >= acked && d.found.vote <= given);
			CU_ASSERT_FALSE(d.found.short_journal);
			kept_some += d.found.vote > acked;
			torn_some += d.found.vote < given;
			left = model_at(d.found.vote);
			CU_ASSERT_FATAL(model_check(left, &d));
			model_free(m);
			m = left;
		}
		CU_ASSERT_EQUAL(sim_disk_counters(d.sim)->crashes, 4);
		disk_fini(&d);
		model_free(m);
	}
	CU_ASSERT(torn_some > 20);
	CU_ASSERT(kept_some > 20);
}

/* Image batches under way at a crash: a prefix of them, each whole. */
static void test_sim_crash_images(void)
{
	bool seen[4] = {false};

	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct disk d;
		const void *image;
		size_t bytes;
		seq_index as_of;
		uint64_t n;

		open_founded(&d, seed);
		for (n = 1; n <= 3; n++) {
			struct store_image im[2] = {{.id = 1, .as_of = n, .image = "abcd", .image_bytes = n},
						    {.id = 10 + n, .as_of = n, .image = "x", .image_bytes = 1}};
			struct store_image_batch b = {.token = n, .count = 2, .images = im, .completes = true,
						      .checkpoint = n, .checkpoint_pos = n};

			d.ops->write_images(d.store, &b);
		}
		sim_disk_crash(d.sim);
		disk_close(&d);
		CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
		n = d.found.checkpoint;
		CU_ASSERT_FATAL(n <= 3);
		seen[n] = true;
		CU_ASSERT_EQUAL(d.found.image_count, n ? n + 1 : 0);
		CU_ASSERT_EQUAL(d.ops->image_read(d.store, 1, &image, &bytes, &as_of), n ? ST_OK : ST_END);
		CU_ASSERT(!n || (as_of == n && bytes == n));
		CU_ASSERT_EQUAL(d.ops->image_read(d.store, 10 + n + 1, &image, &bytes, &as_of), ST_END);
		disk_fini(&d);
	}
	CU_ASSERT(seen[0] && seen[1] && seen[2] && seen[3]);
}

static uint64_t run_hash(uint64_t seed)
{
	struct model *m = model_new();
	struct disk d;
	uint64_t h = 0;

	open_founded(&d, seed);
	for (int i = 0; i < 200; i++) {
		model_step(m, &d);
		if (i % 3 == 0)
			disk_poll(&d);
		h = h * 1000003 + d.now_us * 31 + d.journaled;
	}
	sim_disk_crash(d.sim);
	h = h * 1000003 + sim_disk_durable_pos(d.sim);
	disk_fini(&d);
	model_free(m);
	return h;
}

/* One seed is one run; another seed is another. */
static void test_sim_deterministic(void)
{
	CU_ASSERT_EQUAL(run_hash(5), run_hash(5));
	CU_ASSERT_NOT_EQUAL(run_hash(5), run_hash(6));
}

/* Nothing is durable before its time; what queued meanwhile is one group; a slow disk takes as much longer. */
static void test_sim_time(void)
{
	struct model *m = model_new();
	struct disk d;
	uint64_t due;

	open_founded(&d, 3);
	CU_ASSERT_EQUAL(sim_disk_next_us(d.sim), UINT64_MAX);
	model_step(m, &d);
	due = sim_disk_next_us(d.sim);
	CU_ASSERT(due >= 200);
	CU_ASSERT_EQUAL(sim_disk_run(d.sim, due - 1), 0);
	CU_ASSERT_EQUAL(d.ops->progress(d.store), 0);
	model_step(m, &d);
	model_step(m, &d);
	CU_ASSERT_EQUAL(sim_disk_run(d.sim, due), 1);
	CU_ASSERT_EQUAL(d.ops->progress(d.store), 1);
	CU_ASSERT_EQUAL(d.journaled, 1);
	d.now_us = due;
	CU_ASSERT_EQUAL(sim_disk_run(d.sim, sim_disk_next_us(d.sim)), 2);
	CU_ASSERT_EQUAL(sim_disk_counters(d.sim)->groups, 2);
	disk_wait(&d);
	sim_disk_set_slow(d.sim, 1000);
	model_step(m, &d);
	CU_ASSERT(sim_disk_next_us(d.sim) >= d.now_us + 200000);
	disk_wait(&d);
	CU_ASSERT_EQUAL(d.journaled, 4);
	disk_fini(&d);
	model_free(m);
}

/* A disk that refuses is told once; what was acknowledged before is there when it works again. */
static void test_sim_refuse(void)
{
	struct model *m = model_new();
	struct disk d;

	open_founded(&d, 9);
	for (int i = 0; i < 20; i++)
		model_step(m, &d);
	disk_wait(&d);
	sim_disk_set_refuse(d.sim, ST_DISK_FULL);
	model_step(m, &d);
	disk_wait(&d);
	CU_ASSERT_EQUAL(d.failed.code, ST_DISK_FULL);
	CU_ASSERT_EQUAL(d.journaled, 20);
	error_clear(&d.failed);
	model_step(m, &d);
	CU_ASSERT_EQUAL(d.ops->progress(d.store), 0);
	CU_ASSERT_EQUAL(d.failed.code, ST_OK);
	disk_close(&d);
	CU_ASSERT_EQUAL(disk_open(&d), ST_DISK_FULL);
	sim_disk_set_refuse(d.sim, ST_OK);
	CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
	model_free(m);
	m = model_at(20);
	CU_ASSERT(model_check(m, &d));
	disk_fini(&d);
	model_free(m);
}

/* Space that runs out refuses the whole group; reading goes on. */
static void test_sim_capacity(void)
{
	static const uint8_t data[600];
	struct seq_entry e[2] = {{1, 1, SEQ_BATCH, 600, data}, {2, 1, SEQ_BATCH, 600, data}};
	struct seq_persist p = {1, 1, 1, 1, 1, e};
	struct disk d;

	open_founded(&d, 1);
	sim_disk_set_capacity(d.sim, 1000);
	d.token = 1;
	d.ops->journal(d.store, &p);
	disk_wait(&d);
	CU_ASSERT_EQUAL(d.journaled, 1);
	p = (struct seq_persist){2, 1, 1, 2, 1, e + 1};
	d.token = 2;
	d.ops->journal(d.store, &p);
	disk_wait(&d);
	CU_ASSERT_EQUAL(d.failed.code, ST_DISK_FULL);
	CU_ASSERT_EQUAL(d.journaled, 1);
	CU_ASSERT_EQUAL(d.ops->journal_read(d.store, 1, e), ST_OK);
	disk_close(&d);
	CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
	CU_ASSERT_EQUAL(d.found.last_pos, 1);
	disk_fini(&d);
}

/* A damaged image or entry is ST_CORRUPT for itself alone. */
static void test_sim_corrupt(void)
{
	struct model *m = model_new();
	struct disk d;
	struct seq_entry e;
	const void *image;
	size_t bytes;
	seq_index as_of;
	uint64_t pos = 0;

	open_founded(&d, 11);
	for (int i = 0; i < 30; i++)
		model_step(m, &d);
	for (uint64_t n = 1; n <= 10; n++)
		images_step(&d, n);
	disk_wait(&d);
	while (m->at[++pos].bytes == 0)
		;
	CU_ASSERT_FALSE(sim_disk_corrupt_entry(d.sim, m->last_pos + 1));
	CU_ASSERT_FALSE(sim_disk_corrupt_image(d.sim, 999));
	CU_ASSERT(sim_disk_corrupt_entry(d.sim, pos));
	CU_ASSERT(sim_disk_corrupt_image(d.sim, 2));
	CU_ASSERT_EQUAL(d.ops->journal_read(d.store, pos, &e), ST_CORRUPT);
	CU_ASSERT_EQUAL(d.ops->journal_read(d.store, pos + 1, &e), ST_OK);
	CU_ASSERT_EQUAL(d.ops->image_read(d.store, 2, &image, &bytes, &as_of), ST_CORRUPT);
	CU_ASSERT_EQUAL(d.ops->image_read(d.store, 1, &image, &bytes, &as_of), ST_OK);
	images_step(&d, 11); /* 1 + 11 % 5: written anew */
	CU_ASSERT_EQUAL(d.ops->image_read(d.store, 2, &image, &bytes, &as_of), ST_OK);
	disk_fini(&d);
	model_free(m);
}

/* P23: a vanished tail is noticed by the end mark until the voter has a new id. */
static void test_sim_short(void)
{
	struct model *m = model_new();
	struct disk d;
	uint64_t last;

	open_founded(&d, 13);
	for (int i = 0; i < 50; i++)
		model_step(m, &d);
	disk_wait(&d);
	last = m->last_pos;
	disk_close(&d);
	sim_disk_lose_tail(d.sim, 5);
	CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
	CU_ASSERT(d.found.short_journal);
	CU_ASSERT_EQUAL(d.found.last_pos, last - 5);
	CU_ASSERT_EQUAL(d.found.end_mark_pos, last);
	CU_ASSERT(d.found.vote < m->op);
	disk_close(&d);
	CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
	CU_ASSERT(d.found.short_journal);
	CU_ASSERT_EQUAL(disk_identity(&d, 7, 71), ST_OK);
	disk_close(&d);
	CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
	CU_ASSERT_FALSE(d.found.short_journal);
	CU_ASSERT_EQUAL(d.found.end_mark_pos, last - 5);
	disk_fini(&d);
	model_free(m);
}

void suite_archive_sim(void)
{
	CU_pSuite suite = CU_add_suite("archive_sim", NULL, NULL);

	CU_add_test(suite, "test_sim_crash_prefix", test_sim_crash_prefix);
	CU_add_test(suite, "test_sim_crash_images", test_sim_crash_images);
	CU_add_test(suite, "test_sim_deterministic", test_sim_deterministic);
	CU_add_test(suite, "test_sim_time", test_sim_time);
	CU_add_test(suite, "test_sim_refuse", test_sim_refuse);
	CU_add_test(suite, "test_sim_capacity", test_sim_capacity);
	CU_add_test(suite, "test_sim_corrupt", test_sim_corrupt);
	CU_add_test(suite, "test_sim_short", test_sim_short);
}
