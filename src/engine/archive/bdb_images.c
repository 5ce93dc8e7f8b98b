/*
 * bdb_images.c - atom images (engine/archive): bodies as they are in memory, and a small table beside them.
 *
 * The table (index.db) has each image's index, size and checksum, so that a start can list all atoms without
 * touching a body. One batch is one transaction over both files, so a checkpoint's last step and its images are
 * durable together (P21). An image that is damaged is one image to fetch again: checksums are per image.
 */
#include "engine/archive/bdb_int.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const struct bdb_env_config images_config = {
	.cache_bytes = UINT64_C(32) << 20,
	.log_buffer_bytes = UINT64_C(8) << 20,
	.log_file_bytes = UINT64_C(64) << 20,
};

static uint32_t image_entry_crc(const uint8_t key[8], const struct disk_image *d)
{
	return crc32c(crc32c(0, key, 8), d, offsetof(struct disk_image, crc));
}

static uint32_t checkpoint_crc(const uint8_t key[8], const struct disk_checkpoint *d)
{
	return crc32c(crc32c(0, key, 8), d, offsetof(struct disk_checkpoint, crc));
}

/* -------- open -------- */

static enum status files_open(struct bdb_store *s, struct error *err)
{
	int ret = bdb_open_file(s->ienv.env, "bodies.db", true, &s->bodies);

	if (ret == 0)
		ret = bdb_open_file(s->ienv.env, "index.db", true, &s->image_index);
	return ret == 0 ? ST_OK : bdb_error(err, ret, "cannot open the image files in %s", s->ienv.path);
}

static void files_close(struct bdb_store *s)
{
	if (s->bodies)
		(void)s->bodies->close(s->bodies, 0);
	if (s->image_index)
		(void)s->image_index->close(s->image_index, 0);
	s->bodies = s->image_index = NULL;
}

/* Walks the table; a damaged entry is skipped with a warning: that image is missing, and is fetched again. */
static enum status table_each(struct bdb_store *s, void *ctx,
			      void (*fn)(void *ctx, atom_id id, const struct disk_image *d), struct error *err)
{
	uint8_t key[8];
	struct disk_image d;
	DBT k = {.data = key, .ulen = sizeof key, .flags = DB_DBT_USERMEM};
	DBT v = {.data = &d, .ulen = sizeof d, .flags = DB_DBT_USERMEM};
	DBC *c;
	int ret = s->image_index->cursor(s->image_index, NULL, &c, DB_READ_UNCOMMITTED);

	if (ret != 0)
		return bdb_error(err, ret, "cannot read the images in %s", s->ienv.path);
	while ((ret = c->get(c, &k, &v, DB_NEXT)) == 0) {
		atom_id id = k.size == 8 ? bdb_key_number(key) : 0;

		if (!id)
			continue; /* the checkpoint */
		if (v.size == sizeof d && d.crc == image_entry_crc(key, &d))
			fn(ctx, id, &d);
		else
			log_event(s->cfg.log, LOG_ARCHIVE, LOG_ERROR, "image entry damaged", "atom=%llx",
				  (unsigned long long)id);
	}
	(void)c->close(c);
	return ret == DB_NOTFOUND ? ST_OK : bdb_error(err, ret, "cannot read the images in %s", s->ienv.path);
}

static void count_one(void *ctx, atom_id id, const struct disk_image *d)
{
	(void)id;
	(void)d;
	++*(uint64_t *)ctx;
}

static enum status checkpoint_read(struct bdb_store *s, struct error *err)
{
	uint8_t key[8] = {0};
	struct disk_checkpoint d;
	DBT k = {.data = key, .size = sizeof key}, v = {.data = &d, .ulen = sizeof d, .flags = DB_DBT_USERMEM};
	int ret = s->image_index->get(s->image_index, NULL, &k, &v, 0);

	s->checkpoint = s->checkpoint_pos = 0;
	if (ret == DB_NOTFOUND)
		return ST_OK;
	if (ret != 0)
		return bdb_error(err, ret, "cannot read the checkpoint in %s", s->ienv.path);
	if (v.size != sizeof d || d.crc != checkpoint_crc(key, &d)) {
		error_set(err, ST_CORRUPT, "the checkpoint in %s is damaged", s->ienv.path);
		error_hint(err, "To rejoin with a copy from the others, start with an empty directory.");
		return ST_CORRUPT;
	}
	s->checkpoint = d.checkpoint;
	s->checkpoint_pos = d.checkpoint_pos;
	return ST_OK;
}

enum status bdb_images_open(struct bdb_store *s, struct error *err)
{
	char path[PATH_MAX + 16];
	enum status st;

	snprintf(path, sizeof path, "%s/images", s->dir);
	if ((st = bdb_env_open(&s->ienv, path, "images", &images_config, s->cfg.log, err)) != ST_OK ||
	    (st = files_open(s, err)) != ST_OK || (st = checkpoint_read(s, err)) != ST_OK)
		return st;
	s->image_count = 0;
	return table_each(s, &s->image_count, count_one, err);
}

void bdb_images_close(struct bdb_store *s, bool checkpoint)
{
	files_close(s);
	bdb_env_close(&s->ienv, checkpoint);
}

enum status bdb_images_reset(struct bdb_store *s, struct error *err)
{
	DB_ENV *env = s->ienv.env;
	DB_TXN *txn = NULL;
	int ret;

	files_close(s);
	ret = env->txn_begin(env, NULL, &txn, 0);
	if (ret == 0)
		ret = env->dbremove(env, txn, "bodies.db", NULL, 0);
	if (ret == 0)
		ret = env->dbremove(env, txn, "index.db", NULL, 0);
	if (ret == 0) {
		ret = txn->commit(txn, DB_TXN_SYNC);
		txn = NULL;
	}
	if (txn)
		(void)txn->abort(txn);
	if (ret != 0)
		return bdb_error(err, ret, "cannot remove the images in %s", s->ienv.path);
	s->checkpoint = s->checkpoint_pos = s->image_count = 0;
	return files_open(s, err);
}

/* -------- loop -------- */

void bdb_batch_free(struct bdb_store *s, struct bdb_batch *b)
{
	list_remove(&b->pending_link);
	mem_free(s->cfg.mem, (void *)(uintptr_t)b->b.images, b->b.count * sizeof *b->b.images);
	MEM_FREE(s->cfg.mem, b);
}

void bdb_images_write(struct store *store, const struct store_image_batch *batch)
{
	struct bdb_store *s = bdb_of(store);
	struct bdb_batch *b;

	if (s->failed_told)
		return;
	b = MEM_NEW(s->cfg.mem, struct bdb_batch);
	b->b = *batch;
	b->b.images = NULL;
	if (batch->count) {
		struct store_image *copy = mem_alloc(s->cfg.mem, batch->count * sizeof *copy);

		memcpy(copy, batch->images, batch->count * sizeof *copy);
		b->b.images = copy;
	}
	list_push_back(&s->batches, &b->pending_link);
	if (!bdb_queue_add(&s->image, &b->link))
		bdb_batch_free(s, b);
}

void bdb_images_absorb(struct bdb_store *s, struct list *done, struct list *dead)
{
	bdb_list_move(done, &s->written);
	LIST_FOREACH_SAFE(it, tmp, dead) {
		list_remove(it);
		bdb_batch_free(s, CONTAINER_OF(it, struct bdb_batch, link));
	}
}

struct each_ctx {
	void *ctx;
	void (*fn)(void *ctx, atom_id id, seq_index as_of, size_t image_bytes);
};

static void each_one(void *ctx, atom_id id, const struct disk_image *d)
{
	struct each_ctx *e = ctx;

	e->fn(e->ctx, id, d->as_of, d->bytes);
}

enum status bdb_image_each(struct store *store, void *ctx,
			   void (*fn)(void *ctx, atom_id id, seq_index as_of, size_t image_bytes))
{
	struct each_ctx e = {ctx, fn};

	return table_each(bdb_of(store), &e, each_one, NULL);
}

static void image_reserve(struct bdb_store *s, size_t bytes)
{
	if (bytes <= s->image_cap)
		return;
	mem_free(s->cfg.mem, s->image_buf, s->image_cap);
	s->image_cap = bytes + bytes / 4;
	s->image_buf = mem_alloc(s->cfg.mem, s->image_cap);
}

/* The newest word on an image that is being written, NULL: none is. */
static const struct store_image *image_pending(const struct bdb_store *s, atom_id id)
{
	for (struct list *it = s->batches.prev; it != &s->batches; it = it->prev) {
		const struct store_image_batch *b = &CONTAINER_OF(it, struct bdb_batch, pending_link)->b;

		for (uint32_t i = b->count; i-- > 0;)
			if (b->images[i].id == id)
				return &b->images[i];
	}
	return NULL;
}

enum status bdb_image_read(struct store *store, atom_id id, const void **image_out, size_t *bytes_out,
			   seq_index *as_of_out)
{
	struct bdb_store *s = bdb_of(store);
	const struct store_image *pending = image_pending(s, id);
	uint8_t key[8];
	struct disk_image d;
	DBT k = {.data = key, .size = 8}, v = {.data = &d, .ulen = sizeof d, .flags = DB_DBT_USERMEM};
	int ret;

	if (pending) { /* from memory: its pages may be half written */
		if (pending->remove)
			return ST_END;
		image_reserve(s, pending->image_bytes + 1);
		memcpy(s->image_buf, pending->image, pending->image_bytes);
		*image_out = s->image_buf;
		*bytes_out = pending->image_bytes;
		*as_of_out = pending->as_of;
		return ST_OK;
	}
	bdb_key(id, key);
	ret = s->image_index->get(s->image_index, NULL, &k, &v, DB_READ_UNCOMMITTED);
	if (ret == DB_NOTFOUND)
		return ST_END;
	if (ret != 0 && ret != DB_BUFFER_SMALL)
		return bdb_status(ret);
	if (ret != 0 || v.size != sizeof d || d.crc != image_entry_crc(key, &d))
		return ST_CORRUPT;
	image_reserve(s, d.bytes + 1);
	memset(&v, 0, sizeof v);
	v.data = s->image_buf;
	v.ulen = (uint32_t)s->image_cap;
	v.flags = DB_DBT_USERMEM;
	ret = s->bodies->get(s->bodies, NULL, &k, &v, DB_READ_UNCOMMITTED);
	if (ret == DB_NOTFOUND || ret == DB_BUFFER_SMALL)
		return ST_CORRUPT;
	if (ret != 0)
		return bdb_status(ret);
	if (v.size != d.bytes || crc32c(0, s->image_buf, v.size) != d.image_crc)
		return ST_CORRUPT;
	*image_out = s->image_buf;
	*bytes_out = v.size;
	*as_of_out = d.as_of;
	return ST_OK;
}

/* -------- image thread -------- */

static int image_put(struct bdb_store *s, DB_TXN *txn, const struct store_image *im)
{
	uint8_t key[8];
	struct disk_image d = {.as_of = im->as_of, .bytes = im->image_bytes};
	DBT k = {.data = key, .size = 8}, v = {0};
	int ret;

	bdb_key(im->id, key);
	if (im->remove) {
		ret = s->bodies->del(s->bodies, txn, &k, 0);
		if (ret == 0 || ret == DB_NOTFOUND)
			ret = s->image_index->del(s->image_index, txn, &k, 0);
		return ret == DB_NOTFOUND ? 0 : ret;
	}
	v.data = (void *)(uintptr_t)im->image;
	v.size = (uint32_t)im->image_bytes;
	ret = s->bodies->put(s->bodies, txn, &k, &v, 0);
	if (ret != 0)
		return ret;
	d.image_crc = crc32c(0, im->image, im->image_bytes);
	d.crc = image_entry_crc(key, &d);
	v.data = &d;
	v.size = sizeof d;
	return s->image_index->put(s->image_index, txn, &k, &v, 0);
}

static int checkpoint_put(struct bdb_store *s, DB_TXN *txn, const struct store_image_batch *b)
{
	uint8_t key[8] = {0};
	struct disk_checkpoint d = {.checkpoint = b->checkpoint, .checkpoint_pos = b->checkpoint_pos};
	DBT k = {.data = key, .size = 8}, v = {.data = &d, .size = sizeof d};

	d.crc = checkpoint_crc(key, &d);
	return s->image_index->put(s->image_index, txn, &k, &v, 0);
}

static enum status batch_commit(struct bdb_store *s, const struct store_image_batch *b, struct error *err)
{
	DB_ENV *env = s->ienv.env;
	DB_TXN *txn;
	uint64_t bytes = 0;
	enum status st = bdb_space_check(s, err);
	int ret;

	if (st != ST_OK)
		return st;
	ret = env->txn_begin(env, NULL, &txn, 0);
	if (ret != 0)
		return bdb_error(err, ret, "cannot begin a transaction in %s", s->ienv.path);
	for (uint32_t i = 0; ret == 0 && i < b->count; i++) {
		ret = image_put(s, txn, &b->images[i]);
		bytes += b->images[i].remove ? 0 : b->images[i].image_bytes;
	}
	if (ret == 0 && b->completes)
		ret = checkpoint_put(s, txn, b);
	if (ret != 0) {
		st = bdb_error(err, ret, "cannot write images to %s", s->ienv.path);
		(void)txn->abort(txn);
		return st;
	}
	ret = txn->commit(txn, DB_TXN_SYNC);
	if (ret != 0)
		return bdb_error(err, ret, "cannot commit images to %s", s->ienv.path);
	bdb_env_wrote(&s->ienv, bytes);
	return ST_OK;
}

void *bdb_images_main(void *store)
{
	struct bdb_store *s = store;
	struct list todo, one;

	list_init(&todo);
	list_init(&one);
	while (bdb_queue_take(&s->image, &todo)) {
		while (!list_empty(&todo)) {
			struct list *it = list_first(&todo);
			struct error err = {.code = ST_OK};

			list_remove(it);
			list_push_back(&one, it);
			if (batch_commit(s, &CONTAINER_OF(it, struct bdb_batch, link)->b, &err) != ST_OK)
				bdb_list_move(&todo, &one);
			bdb_queue_done(&s->image, &one, &err);
		}
		bdb_keeper_wake(s, false);
	}
	return NULL;
}
