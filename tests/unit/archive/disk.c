/*
 * disk.c - stores and models for the archive's tests (tests).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include "disk.h"

#include "base/assert.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* -------- stores -------- */

static void on_journaled(void *ctx, uint64_t token)
{
	struct disk *d = ctx;

	if (token != d->journaled + 1)
		d->out_of_order = true;
	d->journaled = token;
}

static void on_images(void *ctx, uint64_t token)
{
	struct disk *d = ctx;

	if (token != d->images_written + 1)
		d->out_of_order = true;
	d->images_written = token;
}

static void on_failed(void *ctx, const struct error *err)
{
	struct disk *d = ctx;

	d->failed = *err;
}

static const struct store_events events = {on_journaled, on_images, on_failed};

static uint64_t sim_now(void *ctx)
{
	return ((struct disk *)ctx)->now_us;
}

static void no_line(void *ctx, const char *line, uint32_t bytes)
{
	(void)ctx;
	if (getenv("VALENCE_TEST_LOG"))
		fprintf(stderr, "%.*s", (int)bytes, line);
}

static void disk_begin(struct disk *d, const struct store_ops *ops)
{
	memset(d, 0, sizeof *d);
	d->ops = ops;
	mem_init(&d->mem, NULL, "disk", 0);
	logger_init_stderr(&d->log, "test");
	d->log.write = no_line;
}

void disk_init(struct disk *d, const struct store_ops *ops, uint64_t seed)
{
	const char *tmp = getenv("TMPDIR");

	disk_begin(d, ops);
	if (ops == &store_ops_sim) {
		struct sim_disk_config cfg = {.mem = &d->mem, .clock = {.ctx = d, .now_us = sim_now}, .seed = seed,
					      .hiccup_permille = 20, .segment_entries = 16};

		d->sim = sim_disk_new(&cfg);
		return;
	}
	snprintf(d->dir, sizeof d->dir, "%s/valence-archive-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(d->dir))
		abort();
}

void disk_init_at(struct disk *d, const char *dir)
{
	disk_begin(d, &store_ops_bdb);
	snprintf(d->dir, sizeof d->dir, "%s", dir);
}

static void tree_remove(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *de;

	if (!dir) {
		unlink(path);
		return;
	}
	while ((de = readdir(dir))) {
		char sub[PATH_MAX];

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		snprintf(sub, sizeof sub, "%s/%s", path, de->d_name);
		if (de->d_type == DT_DIR)
			tree_remove(sub);
		else
			unlink(sub);
	}
	closedir(dir);
	rmdir(path);
}

void disk_fini(struct disk *d)
{
	disk_close(d);
	if (d->sim)
		sim_disk_free(d->sim);
	else
		tree_remove(d->dir);
	mem_fini(&d->mem);
}

enum status disk_open(struct disk *d)
{
	struct store_config cfg = {.mem = &d->mem, .log = &d->log, .dir = d->dir, .disk = d->sim, .log_id = d->log_id,
				   .events = &events, .ctx = d};

	d->token = d->journaled = d->image_token = d->images_written = 0;
	d->out_of_order = false;
	error_clear(&d->failed);
	error_clear(&d->err);
	return d->ops->open(&cfg, &d->store, &d->found, &d->err);
}

void disk_close(struct disk *d)
{
	if (d->store)
		d->ops->close(d->store);
	d->store = NULL;
	for (int i = 0; i < 4; i++) {
		free(d->lent[i]);
		d->lent[i] = NULL;
	}
}

bool disk_poll(struct disk *d)
{
	struct pollfd p = {.fd = d->ops->wait_fd(d->store), .events = POLLIN};

	if (d->sim) {
		if (sim_disk_next_us(d->sim) != UINT64_MAX && sim_disk_next_us(d->sim) > d->now_us)
			d->now_us = sim_disk_next_us(d->sim);
		sim_disk_run(d->sim, d->now_us);
	} else if (poll(&p, 1, 30000) == 0) {
		return false;
	}
	d->ops->progress(d->store);
	return true;
}

void disk_wait(struct disk *d)
{
	while (d->failed.code == ST_OK && (d->journaled < d->token || d->images_written < d->image_token))
		if (!disk_poll(d))
			return;
}

enum status disk_identity(struct disk *d, uint64_t log_id, uint64_t voter_id)
{
	struct store_identity id = {.log_id = log_id, .voter_id = voter_id, .format = STORE_FORMAT_VERSION};

	return d->ops->set_identity(d->store, &id, &d->err);
}

void disk_path(const struct disk *d, const char *name, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s", d->dir, name);
}

bool disk_newest(const struct disk *d, const char *sub, const char *prefix, char path[PATH_MAX])
{
	char dir_path[PATH_MAX], best[256] = "";
	struct dirent *de;
	DIR *dir;

	disk_path(d, sub, dir_path);
	dir = opendir(dir_path);
	while (dir && (de = readdir(dir)))
		if (!strncmp(de->d_name, prefix, strlen(prefix)) && strcmp(de->d_name, best) > 0)
			snprintf(best, sizeof best, "%s", de->d_name);
	if (dir)
		closedir(dir);
	snprintf(path, PATH_MAX, "%s/%s/%s", d->dir, sub, best);
	return best[0] != 0;
}

bool disk_damage(const char *path, const void *what, size_t bytes)
{
	int fd = open(path, O_RDWR);
	struct stat sb;
	uint8_t *all, *at;
	bool ok = false;

	if (fd < 0 || fstat(fd, &sb) != 0)
		return false;
	all = malloc((size_t)sb.st_size);
	if (all && pread(fd, all, (size_t)sb.st_size, 0) == sb.st_size) {
		uint8_t *end = all + sb.st_size;

		for (at = all; (at = memmem(at, (size_t)(end - at), what, bytes)); at++) {
			*at ^= 0x40;
			ok = pwrite(fd, at, 1, at - all) == 1;
		}
	}
	free(all);
	close(fd);
	return ok;
}

/* -------- the journal's model -------- */

struct model *model_new(void)
{
	struct model *m = calloc(1, sizeof *m);

	if (!m)
		abort();
	return m;
}

void model_free(struct model *m)
{
	free(m);
}

void model_data(const struct model *m, uint64_t pos, uint8_t *out)
{
	struct rng r;

	rng_init(&r, m->at[pos].op * 1000003 + pos);
	for (uint32_t i = 0; i < m->at[pos].bytes; i += 8) {
		uint64_t v = rng_next(&r);

		memcpy(out + i, &v, m->at[pos].bytes - i < 8 ? m->at[pos].bytes - i : 8);
	}
}

static uint32_t random_bytes(struct rng *r)
{
	switch (rng_below(r, 10)) {
	case 0: return 0;
	case 1: return (uint32_t)rng_below(r, 60000);
	case 2: return 4096 + (uint32_t)rng_below(r, 8192);
	default: return (uint32_t)rng_below(r, 700);
	}
}

void model_step(struct model *m, struct disk *d)
{
	struct seq_persist p = {0};
	struct seq_entry *entries;
	struct rng r;
	uint64_t n, first;

	rng_init(&r, ++m->op);
	if (rng_below(&r, 20) == 0)
		m->term++;
	if (!m->term)
		m->term = 1;
	n = rng_below(&r, 8) == 0 ? 0 : 1 + rng_below(&r, rng_below(&r, 10) == 0 ? 100 : 4);
	first = m->last_pos + 1;
	if (rng_below(&r, 12) == 0 && m->last_pos > m->below) { /* a suffix is replaced, in a new term */
		first -= rng_below(&r, m->last_pos - m->below < 20 ? m->last_pos - m->below : 20);
		m->term++;
	}
	ASSERT_OP(first + n, <, MODEL_MAX);
	for (uint64_t i = 0; i < n; i++) {
		struct model_entry *e = &m->at[first + i];

		/* entries of one operation may be of several terms (a follower catching up), never decreasing */
		e->term = i + 1 < n / 2 && m->term > 1 && (first + i == 1 || m->at[first + i - 1].term < m->term) ?
			m->term - 1 : m->term;
		e->op = m->op;
		e->bytes = random_bytes(&r);
		e->kind = (uint8_t)(1 + rng_below(&r, 3));
	}
	if (n)
		m->last_pos = first + n - 1;
	if (!d)
		return;
	entries = calloc(n + 1, sizeof *entries);
	for (uint64_t i = 0; i < n; i++) {
		const struct model_entry *e = &m->at[first + i];
		uint8_t *data = malloc(e->bytes + 1);

		model_data(m, first + i, data);
		entries[i] = (struct seq_entry){first + i, e->term, e->kind, e->bytes, data};
	}
	p = (struct seq_persist){++d->token, m->term, m->op, n ? first : 0, (uint32_t)n, entries};
	d->ops->journal(d->store, &p);
	for (uint64_t i = 0; i < n; i++) {
		void *data = (void *)(uintptr_t)entries[i].data;

		memset(data, 0xee, entries[i].bytes); /* nothing given is kept */
		free(data);
	}
	free(entries);
}

#define SAME(a, b)                                                                                         \
	do {                                                                                               \
		if ((uint64_t)(a) != (uint64_t)(b)) {                                                      \
			printf("  %s: %s is %" PRIu64 ", not %" PRIu64 "\n", d->ops->name, #a, (uint64_t)(a), \
			       (uint64_t)(b));                                                             \
			return false;                                                                      \
		}                                                                                          \
	} while (0)

bool model_check(const struct model *m, struct disk *d)
{
	const struct store_recovered *f = &d->found;
	uint8_t *data = malloc(70000);
	bool ok = true;

	SAME(f->vote, m->op);
	SAME(f->term, m->term);
	SAME(f->last_pos, m->last_pos);
	SAME(f->last_term, m->last_pos ? m->at[m->last_pos].term : 0);
	if (m->last_pos && (f->first_pos > m->below + 1 || f->first_pos < 1))
		SAME(f->first_pos, m->below + 1);
	SAME(f->before_term, m->at[f->first_pos - 1].term);
	for (uint64_t pos = f->first_pos; ok && pos <= m->last_pos; pos++) {
		struct seq_entry e;
		enum status st = d->ops->journal_read(d->store, pos, &e);

		SAME(st, ST_OK);
		SAME(e.pos, pos);
		SAME(e.term, m->at[pos].term);
		SAME(e.kind, m->at[pos].kind);
		SAME(e.bytes, m->at[pos].bytes);
		model_data(m, pos, data);
		ok = memcmp(data, e.data, e.bytes) == 0;
		if (!ok)
			printf("  %s: data of position %" PRIu64 " differ\n", d->ops->name, pos);
	}
	free(data);
	return ok;
}

/*
 * -------- images --------
 * Batch n writes images 1 + n % 5 and 11 + n % 3, removes 21 + (n - 1) % 2 and writes 21 + n % 2; every third
 * completes checkpoint n. Bytes are a function of (id, n).
 */
static void *image_bytes(atom_id id, uint64_t n, size_t *bytes_out)
{
	struct rng r;
	size_t bytes;
	uint8_t *p;

	rng_init(&r, id * 7919 + n);
	bytes = rng_below(&r, 4) ? rng_below(&r, 3000) : 16384 + rng_below(&r, 120000);
	p = malloc(bytes + 8);
	for (size_t i = 0; i < bytes; i += 8) {
		uint64_t v = rng_next(&r);

		memcpy(p + i, &v, 8);
	}
	*bytes_out = bytes;
	return p;
}

void images_step(struct disk *d, uint64_t n)
{
	struct store_image im[4] = {{.id = 1 + n % 5, .as_of = n}, {.id = 11 + n % 3, .as_of = n},
				    {.id = 21 + (n - 1) % 2, .remove = true}, {.id = 21 + n % 2, .as_of = n}};
	struct store_image_batch b = {.token = ++d->image_token, .count = 4, .images = im, .completes = n % 3 == 0,
				      .checkpoint = n, .checkpoint_pos = n * 10};

	if (d->failed.code != ST_OK)
		return;
	for (int i = 0; i < 4; i++)
		if (!im[i].remove)
			im[i].image = d->lent[i] = image_bytes(im[i].id, n, &im[i].image_bytes);
	d->ops->write_images(d->store, &b);
	while (d->failed.code == ST_OK && d->images_written < d->image_token) /* they are lent until then */
		if (!disk_poll(d))
			break;
	for (int i = 0; i < 4 && d->images_written == d->image_token; i++) {
		free(d->lent[i]);
		d->lent[i] = NULL;
	}
}

/* The newest batch up to n that wrote the image; 0: none, or it was removed after. */
static uint64_t image_writer(atom_id id, uint64_t n)
{
	for (; n > 0; n--) {
		if (1 + n % 5 == id || 11 + n % 3 == id || 21 + n % 2 == id)
			return n;
		if (21 + (n - 1) % 2 == id)
			return 0;
	}
	return 0;
}

struct each { uint64_t count, last; bool sorted; };

static void each_image(void *ctx, atom_id id, seq_index as_of, size_t bytes)
{
	struct each *e = ctx;

	(void)as_of;
	(void)bytes;
	if (id <= e->last)
		e->sorted = false;
	e->last = id;
	e->count++;
}

bool images_check(struct disk *d, uint64_t n)
{
	struct each e = {.sorted = true};
	uint64_t count = 0;

	for (atom_id id = 1; id < 30; id++) {
		uint64_t writer = image_writer(id, n);
		const void *image;
		size_t bytes, expected_bytes;
		seq_index as_of;
		enum status st = d->ops->image_read(d->store, id, &image, &bytes, &as_of);
		void *expected;
		bool same;

		SAME(st, writer ? ST_OK : ST_END);
		if (!writer)
			continue;
		count++;
		SAME(as_of, writer);
		expected = image_bytes(id, writer, &expected_bytes);
		same = bytes == expected_bytes && memcmp(image, expected, bytes) == 0;
		free(expected);
		SAME(same, true);
	}
	SAME(d->ops->image_each(d->store, &e, each_image), ST_OK);
	SAME(e.sorted, true);
	SAME(e.count, count);
	return true;
}
