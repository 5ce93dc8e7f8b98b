/*
 * test_store.c - what a store of either back end must do.
 */
#include "disk.h"

#include "engine/archive/bdb_tuning.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit.h"

/* A case runs over both back ends. */
#define BOTH(name)                                                                 \
	static void name(const struct store_ops *ops);                             \
	static void name##_bdb(void) { name(&store_ops_bdb); }                     \
	static void name##_sim(void) { name(&store_ops_sim); }                     \
	static void name(const struct store_ops *ops)

static struct bdb_tuning tuning;

static int setup(void)
{
	tuning = bdb_tuning;
	bdb_tuning.segment_bytes = 256 << 10; /* many segments, records and checkpoints in a short test */
	bdb_tuning.record_bytes = 64 << 10;
	bdb_tuning.checkpoint_bytes = 512 << 10;
	bdb_tuning.mark_sync_ms = 5;
	return 0;
}

static int teardown(void)
{
	bdb_tuning = tuning;
	return 0;
}

static void open_founded(struct disk *d, const struct store_ops *ops)
{
	disk_init(d, ops, 1);
	CU_ASSERT_EQUAL_FATAL(disk_open(d), ST_OK);
	CU_ASSERT_EQUAL_FATAL(disk_identity(d, 7, 70), ST_OK);
}

static void reopen(struct disk *d)
{
	disk_close(d);
	CU_ASSERT_EQUAL_FATAL(disk_open(d), ST_OK);
}

static void persist(struct disk *d, uint64_t term, uint64_t vote, uint64_t first_pos, uint32_t count, const char *text)
{
	struct seq_entry e[8];
	struct seq_persist p = {++d->token, term, vote, first_pos, count, e};

	for (uint32_t i = 0; i < count; i++)
		e[i] = (struct seq_entry){first_pos + i, term, SEQ_BATCH, (uint32_t)strlen(text), text};
	d->ops->journal(d->store, &p);
}

static bool has(struct disk *d, uint64_t pos, uint64_t term, const char *text)
{
	struct seq_entry e;

	return d->ops->journal_read(d->store, pos, &e) == ST_OK && e.pos == pos && e.term == term &&
	       e.kind == SEQ_BATCH && e.bytes == strlen(text) && memcmp(e.data, text, e.bytes) == 0;
}

/* A new store is empty, of no cluster, and says so. */
BOTH(test_store_new)
{
	struct disk d;

	disk_init(&d, ops, 1);
	CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
	CU_ASSERT_EQUAL(d.found.identity.log_id, 0);
	CU_ASSERT_EQUAL(d.found.identity.voter_id, 0);
	CU_ASSERT_EQUAL(d.found.identity.format, STORE_FORMAT_VERSION);
	CU_ASSERT_EQUAL(d.found.first_pos, 1);
	CU_ASSERT_EQUAL(d.found.last_pos, 0);
	CU_ASSERT_EQUAL(d.found.term, 0);
	CU_ASSERT_FALSE(d.found.short_journal);
	CU_ASSERT_EQUAL(d.found.image_count, 0);
	CU_ASSERT_EQUAL(d.found.checkpoint, 0);
	CU_ASSERT_EQUAL(d.ops->journal_bytes(d.store), 0);
	disk_fini(&d);
}

/* What was acknowledged is there after a reopen, with its term and vote, and is read back before and after. */
BOTH(test_store_append)
{
	struct disk d;
	struct seq_entry e;

	open_founded(&d, ops);
	persist(&d, 3, 70, 1, 2, "one");
	CU_ASSERT(has(&d, 2, 3, "one")); /* under way already */
	persist(&d, 3, 70, 3, 1, "");
	disk_wait(&d);
	CU_ASSERT_EQUAL(d.journaled, 2);
	CU_ASSERT_FALSE(d.out_of_order);
	CU_ASSERT(has(&d, 1, 3, "one"));
	CU_ASSERT(has(&d, 3, 3, ""));
	CU_ASSERT_EQUAL(d.ops->journal_read(d.store, 4, &e), ST_END);
	CU_ASSERT_EQUAL(d.ops->journal_read(d.store, 0, &e), ST_END);
	persist(&d, 4, 71, 0, 0, ""); /* a vote alone */
	disk_wait(&d);
	reopen(&d);
	CU_ASSERT_EQUAL(d.found.term, 4);
	CU_ASSERT_EQUAL(d.found.vote, 71);
	CU_ASSERT_EQUAL(d.found.first_pos, 1);
	CU_ASSERT_EQUAL(d.found.last_pos, 3);
	CU_ASSERT_EQUAL(d.found.last_term, 3);
	CU_ASSERT_EQUAL(d.found.end_mark_pos, 3);
	CU_ASSERT_EQUAL(d.found.identity.log_id, 7);
	CU_ASSERT_EQUAL(d.found.identity.voter_id, 70);
	CU_ASSERT_FALSE(d.found.short_journal);
	CU_ASSERT(has(&d, 1, 3, "one"));
	CU_ASSERT(has(&d, 3, 3, ""));
	disk_fini(&d);
}

/* Entries beyond the journal's end begin it anew: what is before them is not of it any more, and nothing is short. */
BOTH(test_store_begun_anew)
{
	struct disk d;
	struct seq_entry e;

	open_founded(&d, ops);
	persist(&d, 1, 70, 1, 6, "old");
	disk_wait(&d);
	persist(&d, 4, 71, 0, 0, "");
	persist(&d, 4, 71, 41, 2, "new");
	disk_wait(&d);
	CU_ASSERT_EQUAL(d.ops->journal_read(d.store, 6, &e), ST_END);
	CU_ASSERT_EQUAL(d.ops->journal_read(d.store, 40, &e), ST_END);
	CU_ASSERT(has(&d, 41, 4, "new"));
	reopen(&d);
	CU_ASSERT_EQUAL(d.found.first_pos, 41);
	CU_ASSERT_EQUAL(d.found.last_pos, 42);
	CU_ASSERT_EQUAL(d.found.term, 4);
	CU_ASSERT_EQUAL(d.found.vote, 71);
	CU_ASSERT_FALSE(d.found.short_journal);
	CU_ASSERT_EQUAL(d.ops->journal_read(d.store, 6, &e), ST_END);
	CU_ASSERT(has(&d, 42, 4, "new"));
	persist(&d, 5, 71, 42, 3, "next"); /* and it goes on as ever */
	disk_wait(&d);
	reopen(&d);
	CU_ASSERT_EQUAL(d.found.first_pos, 41);
	CU_ASSERT_EQUAL(d.found.last_pos, 44);
	CU_ASSERT(has(&d, 41, 4, "new"));
	CU_ASSERT(has(&d, 44, 5, "next"));
	disk_fini(&d);
}

/* A replaced suffix is gone, also when the new one is shorter: at once, and after a reopen; nothing is short. */
BOTH(test_store_replace)
{
	struct disk d;
	struct seq_entry e;

	open_founded(&d, ops);
	persist(&d, 1, 70, 1, 6, "old");
	disk_wait(&d);
	persist(&d, 2, 71, 3, 1, "new");
	CU_ASSERT(has(&d, 3, 2, "new"));
	CU_ASSERT_EQUAL(d.ops->journal_read(d.store, 4, &e), ST_END);
	disk_wait(&d);
	CU_ASSERT(has(&d, 2, 1, "old"));
	CU_ASSERT(has(&d, 3, 2, "new"));
	CU_ASSERT_EQUAL(d.ops->journal_read(d.store, 4, &e), ST_END);
	reopen(&d);
	CU_ASSERT_EQUAL(d.found.last_pos, 3);
	CU_ASSERT_EQUAL(d.found.last_term, 2);
	CU_ASSERT_FALSE(d.found.short_journal);
	CU_ASSERT(has(&d, 2, 1, "old"));
	CU_ASSERT(has(&d, 3, 2, "new"));
	CU_ASSERT_EQUAL(d.ops->journal_read(d.store, 4, &e), ST_END);
	persist(&d, 3, 72, 1, 1, "all");
	disk_wait(&d);
	reopen(&d);
	CU_ASSERT_EQUAL(d.found.last_pos, 1);
	CU_ASSERT(has(&d, 1, 3, "all"));
	disk_fini(&d);
}

/* A journal may begin anywhere (a voter that began with images), and its first entry has no known term before it. */
BOTH(test_store_begins_late)
{
	struct disk d;
	struct seq_entry e;

	open_founded(&d, ops);
	persist(&d, 5, 70, 1001, 2, "late");
	disk_wait(&d);
	reopen(&d);
	CU_ASSERT_EQUAL(d.found.first_pos, 1001);
	CU_ASSERT_EQUAL(d.found.last_pos, 1002);
	CU_ASSERT_EQUAL(d.found.before_term, 0);
	CU_ASSERT(has(&d, 1001, 5, "late"));
	CU_ASSERT_EQUAL(d.ops->journal_read(d.store, 1000, &e), ST_END);
	disk_fini(&d);
}

/*
 * Random operations with random waits, reads and drops: each reopen gives exactly what was given (close waits for
 * what is under way), and dropping makes the journal smaller.
 */
BOTH(test_store_random)
{
	struct model *m = model_new();
	struct disk d;
	struct rng r;

	open_founded(&d, ops);
	rng_init(&r, 42);
	for (int round = 0; round < 12; round++) {
		for (uint64_t n = 30 + rng_below(&r, 150); n > 0; n--) {
			model_step(m, &d);
			if (rng_below(&r, 4) == 0)
				disk_wait(&d);
			if (m->last_pos && rng_below(&r, 4) == 0) {
				uint64_t pos = m->below + 1 + rng_below(&r, m->last_pos - m->below);
				struct seq_entry e;
				uint8_t *data = malloc(70000);

				CU_ASSERT_EQUAL_FATAL(d.ops->journal_read(d.store, pos, &e), ST_OK);
				model_data(m, pos, data);
				CU_ASSERT_EQUAL(e.bytes, m->at[pos].bytes);
				CU_ASSERT_EQUAL(e.term, m->at[pos].term);
				CU_ASSERT(memcmp(data, e.data, e.bytes) == 0);
				free(data);
			}
		}
		if (round % 3 == 2 && m->last_pos > 300) {
			uint64_t before;

			disk_wait(&d);
			before = d.ops->journal_bytes(d.store);
			m->below = m->last_pos - 100; /* replaced suffixes are shorter */
			d.ops->journal_drop(d.store, m->below + 1);
			model_step(m, &d);
			disk_wait(&d);
			CU_ASSERT(d.ops->journal_bytes(d.store) < before);
		}
		CU_ASSERT_FALSE(d.out_of_order);
		CU_ASSERT_EQUAL(d.failed.code, ST_OK);
		reopen(&d);
		CU_ASSERT_FALSE(d.found.short_journal);
		CU_ASSERT_FATAL(model_check(m, &d));
	}
	CU_ASSERT(d.found.first_pos > 1);
	disk_fini(&d);
	model_free(m);
}

/* Dropping everything leaves the newest entries, the term and the vote. */
BOTH(test_store_drop_all)
{
	struct model *m = model_new();
	struct disk d;
	struct seq_entry e;

	open_founded(&d, ops);
	for (int i = 0; i < 400; i++)
		model_step(m, &d);
	disk_wait(&d);
	d.ops->journal_drop(d.store, m->last_pos + 1000);
	for (int i = 0; i < 3; i++) { /* votes only */
		struct seq_persist p = {++d.token, ++m->term, ++m->op, 0, 0, NULL};

		d.ops->journal(d.store, &p);
	}
	disk_wait(&d);
	CU_ASSERT_EQUAL(d.ops->journal_read(d.store, 1, &e), ST_END);
	CU_ASSERT_EQUAL(d.ops->journal_read(d.store, m->last_pos, &e), ST_OK);
	reopen(&d);
	m->below = m->last_pos - 1;
	CU_ASSERT(d.found.first_pos > 1);
	CU_ASSERT(model_check(m, &d));
	disk_fini(&d);
	model_free(m);
}

/* Images: the newest of each, removals, the checkpoint of the last complete step; read while being written too. */
BOTH(test_store_images)
{
	struct disk d;

	open_founded(&d, ops);
	CU_ASSERT(images_check(&d, 0));
	for (uint64_t n = 1; n <= 40; n++) {
		images_step(&d, n);
		CU_ASSERT_FATAL(images_check(&d, n));
		if (n % 9 == 0) {
			reopen(&d);
			CU_ASSERT_EQUAL(d.found.checkpoint, n / 3 * 3);
			CU_ASSERT_EQUAL(d.found.checkpoint_pos, n / 3 * 30);
			CU_ASSERT_FATAL(images_check(&d, n));
		}
	}
	disk_fini(&d);
}

/* An image that is being written reads as the new one; a removal under way as none. */
BOTH(test_store_image_pending)
{
	struct disk d;
	struct store_image im[2] = {{.id = 5, .as_of = 9, .image = "abc", .image_bytes = 3}, {.id = 6, .remove = true}};
	struct store_image_batch b = {.token = 1, .count = 2, .images = im};
	const void *image;
	size_t bytes;
	seq_index as_of;

	open_founded(&d, ops);
	d.image_token = 1;
	d.ops->write_images(d.store, &b);
	im[0].as_of = 77; /* the array was copied */
	CU_ASSERT_EQUAL(d.ops->image_read(d.store, 5, &image, &bytes, &as_of), ST_OK);
	CU_ASSERT_EQUAL(as_of, 9);
	CU_ASSERT(bytes == 3 && memcmp(image, "abc", 3) == 0);
	CU_ASSERT_EQUAL(d.ops->image_read(d.store, 6, &image, &bytes, &as_of), ST_END);
	disk_wait(&d);
	CU_ASSERT_EQUAL(d.images_written, 1);
	disk_fini(&d);
}

/* A store of one cluster is not opened for another; it is for its own, and for any when none is asked for. */
BOTH(test_store_wrong_cluster)
{
	struct disk d;

	open_founded(&d, ops);
	disk_close(&d);
	d.log_id = 8;
	CU_ASSERT_EQUAL(disk_open(&d), ST_STATE);
	CU_ASSERT_PTR_NOT_NULL(strstr(d.err.message, "another cluster"));
	CU_ASSERT_PTR_NOT_NULL(strstr(d.err.message, "0000000000000007"));
	CU_ASSERT(d.err.hint[0] != 0);
	CU_ASSERT_PTR_NULL(d.store);
	d.log_id = 7;
	CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
	disk_fini(&d);
}

/* One engine at a time. */
BOTH(test_store_in_use)
{
	struct disk d;
	struct store *first;

	open_founded(&d, ops);
	first = d.store;
	CU_ASSERT_EQUAL(disk_open(&d), ST_OBJECT_IN_USE);
	CU_ASSERT_PTR_EQUAL(d.store, first);
	disk_close(&d);
	CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
	disk_fini(&d);
}

/* A new voter id keeps the journal; another log id empties journal and images. */
BOTH(test_store_identity)
{
	struct disk d;

	open_founded(&d, ops);
	persist(&d, 1, 70, 1, 3, "x");
	images_step(&d, 3);
	disk_wait(&d);
	CU_ASSERT_EQUAL(disk_identity(&d, 7, 71), ST_OK);
	reopen(&d);
	CU_ASSERT_EQUAL(d.found.identity.voter_id, 71);
	CU_ASSERT_EQUAL(d.found.last_pos, 3);
	CU_ASSERT_EQUAL(d.found.checkpoint, 3);
	CU_ASSERT_FALSE(d.found.short_journal);
	CU_ASSERT_EQUAL(disk_identity(&d, 8, 80), ST_OK);
	CU_ASSERT_EQUAL(d.ops->journal_bytes(d.store), 0);
	persist(&d, 1, 80, 1, 1, "y");
	disk_wait(&d);
	CU_ASSERT(has(&d, 1, 1, "y"));
	reopen(&d);
	CU_ASSERT_EQUAL(d.found.identity.log_id, 8);
	CU_ASSERT_EQUAL(d.found.last_pos, 1);
	CU_ASSERT_EQUAL(d.found.checkpoint, 0);
	CU_ASSERT_EQUAL(d.found.image_count, 0);
	CU_ASSERT_FALSE(d.found.short_journal);
	CU_ASSERT(has(&d, 1, 1, "y"));
	disk_fini(&d);
}

/*
 * P23: a voter that forgot its journal is short for as long as it has its old id, also after a reopen; a new id ends
 * that, whether it comes before or after the wipe.
 */
BOTH(test_store_wipe)
{
	struct disk d;
	struct seq_entry e;

	open_founded(&d, ops);
	persist(&d, 5, 70, 1, 3, "x");
	images_step(&d, 3);
	disk_wait(&d);
	CU_ASSERT_EQUAL(d.ops->wipe(d.store, &d.err), ST_OK);
	CU_ASSERT_EQUAL(d.ops->journal_read(d.store, 1, &e), ST_END);
	reopen(&d);
	CU_ASSERT_EQUAL(d.found.last_pos, 0);
	CU_ASSERT_EQUAL(d.found.first_pos, 1);
	CU_ASSERT_EQUAL(d.found.term, 0);
	CU_ASSERT_EQUAL(d.found.image_count, 0);
	CU_ASSERT(d.found.short_journal);
	persist(&d, 5, 70, 1, 4, "y"); /* catching up does not bring the vote back */
	disk_wait(&d);
	reopen(&d);
	CU_ASSERT(d.found.short_journal);
	CU_ASSERT_EQUAL(disk_identity(&d, 7, 71), ST_OK);
	reopen(&d);
	CU_ASSERT_FALSE(d.found.short_journal);
	CU_ASSERT_EQUAL(d.found.last_pos, 4);
	CU_ASSERT_EQUAL(disk_identity(&d, 7, 72), ST_OK);
	CU_ASSERT_EQUAL(d.ops->wipe(d.store, &d.err), ST_OK);
	reopen(&d);
	CU_ASSERT_EQUAL(d.found.last_pos, 0);
	CU_ASSERT_FALSE(d.found.short_journal);
	persist(&d, 6, 72, 1, 1, "z");
	disk_wait(&d);
	reopen(&d);
	CU_ASSERT_FALSE(d.found.short_journal);
	CU_ASSERT(has(&d, 1, 6, "z"));
	disk_fini(&d);
}

#define ADD(name)                                                      \
	CU_add_test(suite, #name "_bdb", name##_bdb);                  \
	CU_add_test(suite, #name "_sim", name##_sim)

void suite_archive_store(void)
{
	CU_pSuite suite = CU_add_suite("archive_store", setup, teardown);

	ADD(test_store_new);
	ADD(test_store_append);
	ADD(test_store_begun_anew);
	ADD(test_store_replace);
	ADD(test_store_begins_late);
	ADD(test_store_random);
	ADD(test_store_drop_all);
	ADD(test_store_images);
	ADD(test_store_image_pending);
	ADD(test_store_wrong_cluster);
	ADD(test_store_in_use);
	ADD(test_store_identity);
	ADD(test_store_wipe);
}
