/*
 * test_bdb.c - the Berkeley DB back end on real files: directories, damage, space, and kill -9.
 */
#include "disk.h"

#include "engine/archive/bdb_tuning.h"

#include <CUnit/CUnit.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../unit.h"

static struct bdb_tuning tuning;

static int setup(void)
{
	tuning = bdb_tuning;
	bdb_tuning.segment_bytes = 512 << 10;
	bdb_tuning.record_bytes = 64 << 10;
	bdb_tuning.checkpoint_bytes = 1 << 20;
	bdb_tuning.mark_sync_ms = 5;
	bdb_tuning.reserve_bytes = 1 << 20;
	return 0;
}

static int teardown(void)
{
	bdb_tuning = tuning;
	return 0;
}

static void open_founded(struct disk *d)
{
	disk_init(d, &store_ops_bdb, 1);
	CU_ASSERT_EQUAL_FATAL(disk_open(d), ST_OK);
	CU_ASSERT_EQUAL_FATAL(disk_identity(d, 7, 70), ST_OK);
}

static void reopen(struct disk *d)
{
	disk_close(d);
	CU_ASSERT_EQUAL_FATAL(disk_open(d), ST_OK);
}

static void file_write(const struct disk *d, const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *f;

	disk_path(d, name, path);
	f = fopen(path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		abort();
}

/* -------- directories -------- */

/* A directory with something else in it is refused, named, and left as it was. */
static void test_bdb_foreign_directory(void)
{
	struct disk d;
	char path[PATH_MAX];

	disk_init(&d, &store_ops_bdb, 1);
	file_write(&d, "letter.txt", "dear");
	CU_ASSERT_EQUAL(disk_open(&d), ST_BAD_FILE);
	CU_ASSERT_PTR_NOT_NULL(strstr(d.err.message, "letter.txt"));
	CU_ASSERT(d.err.hint[0] != 0);
	disk_path(&d, "LOCK", path);
	CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
	disk_path(&d, "letter.txt", path);
	CU_ASSERT_EQUAL(unlink(path), 0);
	CU_ASSERT_EQUAL(disk_open(&d), ST_OK);
	disk_fini(&d);
}

/* A directory that is made, that cannot be made, that is a file. */
static void test_bdb_bad_directory(void)
{
	struct disk d;
	char dir[sizeof d.dir];

	disk_init(&d, &store_ops_bdb, 1);
	snprintf(dir, sizeof dir, "%s", d.dir);
	CU_ASSERT_EQUAL(rmdir(d.dir), 0);
	CU_ASSERT_EQUAL(disk_open(&d), ST_OK);
	disk_close(&d);
	snprintf(d.dir, sizeof d.dir, "%.200s/no/such", dir);
	CU_ASSERT_EQUAL(disk_open(&d), ST_BAD_FILE);
	CU_ASSERT_PTR_NOT_NULL(strstr(d.err.message, "cannot make directory"));
	snprintf(d.dir, sizeof d.dir, "%.200s/VALENCE", dir);
	CU_ASSERT_EQUAL(disk_open(&d), ST_BAD_FILE);
	snprintf(d.dir, sizeof d.dir, "/proc/self/task"); /* nothing can be written there, even by root */
	CU_ASSERT_NOT_EQUAL(disk_open(&d), ST_OK);
	CU_ASSERT_PTR_NULL(d.store);
	snprintf(d.dir, sizeof d.dir, "%s", dir);
	disk_fini(&d);
}

/* Who uses it is named by process id; the lock ends with the process, not with its file. */
static void test_bdb_in_use(void)
{
	struct disk d;
	char pid[32];
	struct store *first;

	open_founded(&d);
	first = d.store;
	snprintf(pid, sizeof pid, "process id %ld", (long)getpid());
	CU_ASSERT_EQUAL(disk_open(&d), ST_OBJECT_IN_USE);
	CU_ASSERT_PTR_EQUAL(d.store, first);
	CU_ASSERT_PTR_NOT_NULL(strstr(d.err.message, pid));
	disk_close(&d);
	file_write(&d, "LOCK", "1\n");
	CU_ASSERT_EQUAL(disk_open(&d), ST_OK);
	disk_fini(&d);
}

/* The identity file: another format version is named, damage is noticed, text of something else is refused. */
static void test_bdb_identity_file(void)
{
	struct disk d;
	char path[PATH_MAX];

	open_founded(&d);
	disk_close(&d);
	disk_path(&d, "VALENCE", path);
	CU_ASSERT(disk_damage(path, "log_id", 6));
	CU_ASSERT_EQUAL(disk_open(&d), ST_CORRUPT);
	CU_ASSERT(disk_damage(path, "voter_id 0000000000000046", 25));
	CU_ASSERT_EQUAL(disk_open(&d), ST_CORRUPT);
	file_write(&d, "VALENCE", "Valence archive\nformat 999\nsomething new\n");
	CU_ASSERT_EQUAL(disk_open(&d), ST_UNSUPPORTED);
	CU_ASSERT_PTR_NOT_NULL(strstr(d.err.message, "version 999"));
	file_write(&d, "VALENCE", "hello\n");
	CU_ASSERT_EQUAL(disk_open(&d), ST_BAD_FILE);
	file_write(&d, "VALENCE", "");
	CU_ASSERT_EQUAL(disk_open(&d), ST_BAD_FILE);
	disk_fini(&d);
}

/* -------- damage to values -------- */

/* A bit flipped in an image's bytes is ST_CORRUPT for that image only; written again it is good again. */
static void test_bdb_image_corrupt(void)
{
	struct disk d;
	const void *image;
	size_t bytes;
	seq_index as_of;
	uint8_t piece[32];
	char path[PATH_MAX];

	open_founded(&d);
	for (uint64_t n = 1; n <= 12; n++)
		images_step(&d, n);
	CU_ASSERT_EQUAL_FATAL(d.ops->image_read(d.store, 3, &image, &bytes, &as_of), ST_OK);
	CU_ASSERT_FATAL(bytes > 64);
	memcpy(piece, (const uint8_t *)image + bytes / 2, sizeof piece);
	disk_close(&d);
	disk_path(&d, "images/bodies.db", path);
	CU_ASSERT_FATAL(disk_damage(path, piece, sizeof piece));
	CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
	CU_ASSERT_EQUAL(d.ops->image_read(d.store, 3, &image, &bytes, &as_of), ST_CORRUPT);
	for (atom_id id = 1; id <= 13; id++)
		if (id != 3 && (id <= 5 || id >= 11))
			CU_ASSERT_EQUAL(d.ops->image_read(d.store, id, &image, &bytes, &as_of), ST_OK);
	for (uint64_t n = 13; n <= 17; n++)
		images_step(&d, n);
	CU_ASSERT(images_check(&d, 17));
	disk_fini(&d);
}

/* A bit flipped in an entry is ST_CORRUPT for its operation only. */
static void test_bdb_entry_corrupt(void)
{
	struct model *m = model_new();
	struct disk d;
	struct seq_entry e;
	uint64_t bad = 0, good = 0;
	uint8_t data[70000];
	char path[PATH_MAX];

	open_founded(&d);
	while (m->op < 40) {
		model_step(m, &d);
		disk_wait(&d);
	}
	for (uint64_t pos = m->last_pos; pos > 0 && !bad; pos--)
		if (m->at[pos].bytes > 200 && m->at[pos].bytes < 600)
			bad = pos;
	CU_ASSERT_FATAL(bad != 0);
	model_data(m, bad, data);
	disk_close(&d);
	CU_ASSERT_FATAL(disk_newest(&d, "journal", "0", path));
	CU_ASSERT_FATAL(disk_damage(path, data + 50, 60));
	CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
	CU_ASSERT_FALSE(d.found.short_journal);
	for (uint64_t pos = 1; pos <= m->last_pos; pos++) {
		enum status st = d.ops->journal_read(d.store, pos, &e);

		CU_ASSERT_EQUAL(st, m->at[pos].op == m->at[bad].op ? ST_CORRUPT : ST_OK);
		good += st == ST_OK;
	}
	CU_ASSERT(good > 20);
	disk_fini(&d);
	model_free(m);
}

/* -------- processes that die -------- */

struct shared { _Atomic uint64_t acked_op, acked_images, opened; };

static struct shared *shared_new(void)
{
	struct shared *sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (sh == MAP_FAILED)
		abort();
	return sh;
}

/* After every 10th operation, once it is acknowledged, what is older than 100 positions may go. */
static void model_run(struct model *m, struct disk *d, uint64_t to)
{
	while (m->op < to) {
		model_step(m, d);
		if (m->op % 10 || m->last_pos <= 200)
			continue;
		if (d)
			disk_wait(d);
		if (m->last_pos - 100 > m->below)
			m->below = m->last_pos - 100;
		if (d)
			d->ops->journal_drop(d->store, m->below + 1);
	}
}

/* Goes on from what it finds, as much as @ops more; says what is acknowledged; does not end by itself. */
static void writer_child(const char *dir, struct shared *sh, uint64_t seed, uint64_t ops, bool images)
{
	struct model *m = model_new();
	struct disk d;
	struct rng r;
	uint64_t base, image;

	disk_init_at(&d, dir);
	if (disk_open(&d) != ST_OK)
		_exit(2);
	if (!d.found.identity.log_id && disk_identity(&d, 7, 70) != ST_OK)
		_exit(3);
	sh->opened++;
	base = d.found.vote;
	image = d.found.checkpoint; /* batches after the last complete one are written again: they are the same */
	model_run(m, NULL, base);
	rng_init(&r, seed);
	while (m->op < base + ops) {
		model_run(m, &d, m->op + 1);
		if (rng_below(&r, 3) == 0)
			disk_wait(&d);
		if (images && rng_below(&r, 15) == 0) {
			images_step(&d, ++image);
			if (image % 3 == 0)
				sh->acked_images = image;
		}
		d.ops->progress(d.store);
		if (d.failed.code != ST_OK)
			_exit(4);
		sh->acked_op = base + d.journaled;
	}
	disk_wait(&d);
	sh->acked_op = base + d.journaled;
	if (seed == 0)
		_exit(0); /* as good as killed: nothing is closed */
	for (;;)
		pause();
}

static void sleep_us(uint64_t us)
{
	struct timespec ts = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};

	nanosleep(&ts, NULL);
}

/*
 * kill -9 of a writing process at 30 random moments: all that it had been told of is there, with at most whole
 * operations more; images as of a checkpoint no older than the acknowledged one.
 */
static void test_bdb_kill(void)
{
	struct shared *sh = shared_new();
	struct disk d;
	struct rng r;
	uint64_t grown = 0, last = 0;

	bdb_tuning.segment_bytes = 64 << 10; /* files are made and removed all the time */
	bdb_tuning.checkpoint_bytes = 256 << 10;
	disk_init(&d, &store_ops_bdb, 1);
	rng_init(&r, 2026);
	for (int round = 1; round <= 30; round++) {
		struct model *m;
		uint64_t opened = sh->opened;
		pid_t pid;
		int ended;

		fflush(NULL);
		pid = fork();
		if (pid == 0)
			writer_child(d.dir, sh, (uint64_t)round, 100, true);
		CU_ASSERT_FATAL(pid > 0);
		for (int i = 0; round % 4 && sh->opened == opened && i < 10000; i++) /* else maybe while it opens */
			sleep_us(1000);
		sleep_us(rng_below(&r, 120000));
		CU_ASSERT_EQUAL(kill(pid, SIGKILL), 0);
		CU_ASSERT_EQUAL_FATAL(waitpid(pid, &ended, 0), pid);
		CU_ASSERT_FATAL(WIFSIGNALED(ended)); /* it had not failed before */
		CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
		CU_ASSERT(d.found.vote >= sh->acked_op);
		CU_ASSERT(d.found.checkpoint >= sh->acked_images);
		CU_ASSERT_FALSE(d.found.short_journal);
		m = model_new();
		model_run(m, NULL, d.found.vote);
		CU_ASSERT_FATAL(model_check(m, &d));
		for (uint64_t n = d.found.checkpoint + 1; n <= d.found.checkpoint / 3 * 3 + 3; n++)
			images_step(&d, n); /* complete the step that was cut */
		CU_ASSERT_FATAL(images_check(&d, d.found.checkpoint / 3 * 3 + 3));
		disk_close(&d);
		model_free(m);
		grown += d.found.vote > last;
		last = d.found.vote;
	}
	CU_ASSERT(grown > 10); /* else the children were killed too early to say anything */
	CU_ASSERT(last > 60);
	bdb_tuning.segment_bytes = 512 << 10;
	bdb_tuning.checkpoint_bytes = 1 << 20;
	disk_fini(&d);
	munmap(sh, sizeof *sh);
}

/* A process that wrote @ops operations and died. */
static void died_after(struct disk *d, struct shared *sh, uint64_t ops, bool images)
{
	pid_t pid;
	int ended;

	disk_init(d, &store_ops_bdb, 1);
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		writer_child(d->dir, sh, 0, ops, images);
	CU_ASSERT_EQUAL_FATAL(waitpid(pid, &ended, 0), pid);
	CU_ASSERT_FATAL(WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
	CU_ASSERT_EQUAL(sh->acked_op, ops);
}

/* After damage: a good prefix; short if and only if something acknowledged is missing; usable with a new voter id. */
static bool check_after_damage(struct disk *d, uint64_t acked)
{
	struct model *m = model_new();
	uint64_t below;
	bool is_short;

	CU_ASSERT_EQUAL_FATAL(disk_open(d), ST_OK);
	is_short = d->found.short_journal;
	CU_ASSERT_EQUAL(is_short, d->found.vote < acked);
	CU_ASSERT(d->found.vote <= acked);
	model_run(m, NULL, acked);
	below = m->below; /* was dropped when the lost operations were still there */
	model_free(m);
	m = model_new();
	model_run(m, NULL, d->found.vote);
	m->below = below;
	CU_ASSERT_FATAL(model_check(m, d));
	reopen(d);
	CU_ASSERT_EQUAL(d->found.short_journal, is_short);
	CU_ASSERT_EQUAL_FATAL(disk_identity(d, 7, 71), ST_OK);
	for (int round = 0; round < 2; round++) { /* what is written on it stays */
		model_run(m, d, m->op + 40);
		disk_wait(d);
		CU_ASSERT_EQUAL(d->failed.code, ST_OK);
		reopen(d);
		CU_ASSERT_FALSE(d->found.short_journal);
		CU_ASSERT_FATAL(model_check(m, d));
	}
	model_free(m);
	return is_short;
}

/* Where the data of a log file end: Berkeley DB makes it in full length at once, with holes and a byte at the end. */
static off_t log_end(int fd)
{
	struct stat sb;
	uint8_t *all;
	off_t end;

	CU_ASSERT_FATAL(fd >= 0 && fstat(fd, &sb) == 0 && sb.st_size > 0);
	all = malloc((size_t)sb.st_size);
	CU_ASSERT_FATAL(pread(fd, all, (size_t)sb.st_size, 0) == sb.st_size);
	for (end = sb.st_size - 1; end > 0 && !all[end - 1]; end--)
		;
	free(all);
	return end;
}

/* Flips a byte at a share of the newest log file, or cuts it there. */
static void log_damage(const struct disk *d, unsigned percent, bool cut)
{
	char path[PATH_MAX];
	uint8_t byte;
	off_t at;
	int fd;

	CU_ASSERT_FATAL(disk_newest(d, "journal", "log.", path));
	fd = open(path, O_RDWR);
	at = log_end(fd) * percent / 100;
	CU_ASSERT_FATAL(at > 0);
	if (cut) {
		CU_ASSERT_EQUAL(ftruncate(fd, at), 0);
	} else {
		CU_ASSERT_EQUAL(pread(fd, &byte, 1, at), 1);
		byte ^= 0x5a;
		CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, at), 1);
	}
	close(fd);
}

/*
 * Damage in, or a cut of, the last log file, with data pages behind the log and (by checkpoints) far ahead of the
 * damage: what is missing is noticed, what is left is right, and the journal works again.
 */
static void test_bdb_log_damage(void)
{
	static const unsigned at[] = {5, 35, 65, 97};
	struct shared *sh = shared_new();
	unsigned shorts = 0;

	for (unsigned i = 0; i < sizeof at / sizeof at[0]; i++) {
		for (unsigned how = 0; how < 4; how++) {
			struct disk d;

			bdb_tuning.checkpoint_bytes = how & 1 ? 128 << 10 : 1 << 30;
			died_after(&d, sh, 90, false);
			log_damage(&d, at[i], how & 2);
			shorts += check_after_damage(&d, 90);
			disk_fini(&d);
		}
	}
	bdb_tuning.checkpoint_bytes = 1 << 20;
	CU_ASSERT(shorts > 8);
	munmap(sh, sizeof *sh);
}

/* All log files gone, a segment cut, a segment gone: the same. */
static void test_bdb_file_damage(void)
{
	struct shared *sh = shared_new();

	for (unsigned how = 0; how < 3; how++) {
		struct disk d;
		char path[PATH_MAX];
		struct stat sb;

		died_after(&d, sh, 90, false);
		CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK); /* the files have all then */
		disk_close(&d);
		CU_ASSERT(disk_newest(&d, "journal", how == 0 ? "log." : "0", path));
		if (how == 1)
			CU_ASSERT(stat(path, &sb) == 0 && truncate(path, sb.st_size / 2) == 0);
		if (how != 1)
			CU_ASSERT_EQUAL(unlink(path), 0);
		CU_ASSERT_EQUAL(check_after_damage(&d, 90), how != 0);
		disk_fini(&d);
	}
	munmap(sh, sizeof *sh);
}

/* No end mark, no vouching: short. One damaged slot of it: the others say. */
static void test_bdb_mark_damage(void)
{
	struct model *m = model_new();
	struct disk d;
	char path[PATH_MAX];

	open_founded(&d);
	model_run(m, &d, 30);
	disk_wait(&d);
	disk_close(&d);
	disk_path(&d, "MARK", path);
	for (off_t slot = 0; slot < 3; slot++) {
		int fd = open(path, O_WRONLY);

		CU_ASSERT(fd >= 0 && pwrite(fd, "junk", 4, slot * 4096 + 8) == 4);
		close(fd);
		CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
		CU_ASSERT_FALSE(d.found.short_journal);
		CU_ASSERT(model_check(m, &d));
		disk_close(&d);
	}
	CU_ASSERT_EQUAL(unlink(path), 0);
	CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
	CU_ASSERT(d.found.short_journal);
	CU_ASSERT(model_check(m, &d));
	CU_ASSERT_EQUAL(disk_identity(&d, 7, 71), ST_OK);
	reopen(&d);
	CU_ASSERT_FALSE(d.found.short_journal);
	disk_fini(&d);
	model_free(m);
}

/* Part of a page at the end of a file, as a full disk leaves it, is cut and nothing is lost (facts.md). */
static void test_bdb_partial_page(void)
{
	static const char *const names[] = {"images/bodies.db", "images/index.db", NULL};
	struct shared *sh = shared_new();
	struct model *m = model_new();
	struct disk d;
	char path[PATH_MAX], junk[5000];

	died_after(&d, sh, 90, true);
	memset(junk, 0x5a, sizeof junk);
	for (unsigned i = 0; i < 3; i++) {
		int fd;

		if (names[i])
			disk_path(&d, names[i], path);
		else
			CU_ASSERT(disk_newest(&d, "journal", "0", path));
		fd = open(path, O_WRONLY | O_APPEND);
		CU_ASSERT(fd >= 0 && write(fd, junk, sizeof junk) == (ssize_t)sizeof junk);
		close(fd);
	}
	CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
	CU_ASSERT_FALSE(d.found.short_journal);
	CU_ASSERT_EQUAL(d.found.vote, 90);
	CU_ASSERT(d.found.checkpoint >= sh->acked_images);
	model_run(m, NULL, 90);
	CU_ASSERT(model_check(m, &d));
	disk_fini(&d);
	model_free(m);
	munmap(sh, sizeof *sh);
}

/* A process that died before any checkpoint: all is in the log, and comes from there. */
static void test_bdb_no_checkpoint(void)
{
	struct shared *sh = shared_new();
	struct model *m = model_new();
	struct disk d;
	uint64_t checkpoint_bytes = bdb_tuning.checkpoint_bytes;

	bdb_tuning.checkpoint_bytes = 1 << 30;
	died_after(&d, sh, 90, false);
	bdb_tuning.checkpoint_bytes = checkpoint_bytes;
	CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
	CU_ASSERT_FALSE(d.found.short_journal);
	model_run(m, NULL, 90);
	CU_ASSERT(model_check(m, &d));
	disk_fini(&d);
	model_free(m);
	munmap(sh, sizeof *sh);
}

/* -------- space -------- */

/* Below the reserve nothing is written; the engine is told once, with what to do; all before it is there. */
static void test_bdb_reserve(void)
{
	struct model *m = model_new();
	struct disk d;
	uint64_t reserve = bdb_tuning.reserve_bytes;

	open_founded(&d);
	model_run(m, &d, 20);
	disk_wait(&d);
	bdb_tuning.reserve_bytes = UINT64_MAX;
	model_run(m, &d, 25);
	disk_wait(&d);
	CU_ASSERT_EQUAL(d.failed.code, ST_DISK_FULL);
	CU_ASSERT_PTR_NOT_NULL(strstr(d.failed.message, "free space"));
	CU_ASSERT(d.failed.hint[0] != 0);
	CU_ASSERT_EQUAL(d.journaled, 20);
	error_clear(&d.failed);
	model_run(m, &d, 29); /* model_run waits at every tenth, and no answer comes */
	d.ops->progress(d.store);
	CU_ASSERT_EQUAL(d.failed.code, ST_OK);
	bdb_tuning.reserve_bytes = reserve;
	reopen(&d);
	model_free(m);
	m = model_new();
	model_run(m, NULL, 20);
	CU_ASSERT(model_check(m, &d));
	CU_ASSERT_FALSE(d.found.short_journal);
	disk_fini(&d);
	model_free(m);
}

/*
 * Writes that fail in the middle of anything (a limit on the size of files stands for a full disk): a failed event,
 * no crash, and after it all that was acknowledged.
 */
static void test_bdb_no_space(void)
{
	for (uint64_t kib = 150; kib <= 1500; kib += 270) {
		struct rlimit old, limit;
		struct model *m = model_new();
		struct disk d;
		uint64_t acked;
		int i;

		open_founded(&d);
		signal(SIGXFSZ, SIG_IGN);
		getrlimit(RLIMIT_FSIZE, &old);
		limit = old;
		limit.rlim_cur = kib << 10;
		setrlimit(RLIMIT_FSIZE, &limit);
		for (i = 0; i < 400 && d.failed.code == ST_OK; i++) {
			model_step(m, &d);
			if (i % 4 == 3)
				disk_wait(&d);
			if (i % 10 == 9)
				images_step(&d, (uint64_t)i / 10 + 1);
		}
		CU_ASSERT_EQUAL(d.failed.code, ST_DISK_FULL);
		acked = d.journaled;
		disk_close(&d);
		setrlimit(RLIMIT_FSIZE, &old);
		signal(SIGXFSZ, SIG_DFL);
		CU_ASSERT_EQUAL_FATAL(disk_open(&d), ST_OK);
		CU_ASSERT(d.found.vote >= acked);
		CU_ASSERT_FALSE(d.found.short_journal);
		model_free(m);
		m = model_new();
		while (m->op < d.found.vote)
			model_step(m, NULL);
		CU_ASSERT_FATAL(model_check(m, &d));
		model_run(m, &d, m->op + 20);
		reopen(&d);
		CU_ASSERT(model_check(m, &d));
		disk_fini(&d);
		model_free(m);
	}
}

void suite_archive_bdb(void)
{
	CU_pSuite suite = CU_add_suite("archive_bdb", setup, teardown);

	CU_add_test(suite, "test_bdb_foreign_directory", test_bdb_foreign_directory);
	CU_add_test(suite, "test_bdb_bad_directory", test_bdb_bad_directory);
	CU_add_test(suite, "test_bdb_in_use", test_bdb_in_use);
	CU_add_test(suite, "test_bdb_identity_file", test_bdb_identity_file);
	CU_add_test(suite, "test_bdb_image_corrupt", test_bdb_image_corrupt);
	CU_add_test(suite, "test_bdb_entry_corrupt", test_bdb_entry_corrupt);
	CU_add_test(suite, "test_bdb_kill", test_bdb_kill);
	CU_add_test(suite, "test_bdb_log_damage", test_bdb_log_damage);
	CU_add_test(suite, "test_bdb_file_damage", test_bdb_file_damage);
	CU_add_test(suite, "test_bdb_mark_damage", test_bdb_mark_damage);
	CU_add_test(suite, "test_bdb_partial_page", test_bdb_partial_page);
	CU_add_test(suite, "test_bdb_no_checkpoint", test_bdb_no_checkpoint);
	CU_add_test(suite, "test_bdb_reserve", test_bdb_reserve);
	CU_add_test(suite, "test_bdb_no_space", test_bdb_no_space);
}
