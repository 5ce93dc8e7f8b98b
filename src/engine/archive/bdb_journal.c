/*
 * bdb_journal.c - writing and reading the journal (engine/archive).
 *
 * The loop encodes an operation's entries into one region. The journal thread takes all that has queued, packs it
 * into as few records as the limits allow and writes them in one transaction with one flush (group commit): a
 * batch as one value is near the speed of a bare append, a value for each entry is not (facts.md).
 */
#include "engine/archive/bdb_int.h"

#include "base/assert.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -------- loop: writing -------- */

void bdb_op_free(struct bdb_store *s, struct bdb_op *op)
{
	mem_free(s->cfg.mem, op->region, op->head.bytes);
	MEM_FREE(s->cfg.mem, op);
}

static void op_encode(struct bdb_store *s, struct bdb_op *op, const struct seq_persist *p)
{
	uint64_t bytes = (uint64_t)p->entry_count * sizeof(struct disk_entry);
	uint32_t off = (uint32_t)bytes;
	struct disk_entry *heads;

	for (uint32_t i = 0; i < p->entry_count; i++)
		bytes += p->entries[i].bytes;
	bytes = (bytes + 7) & ~UINT64_C(7); /* the next region's heads are aligned */
	ASSERT_OP(bytes, <, UINT32_MAX / 4); /* a record and its head fit 31 bits */
	op->head.first_pos = p->first_pos;
	op->head.prev_term = bdb_index_term(&s->index, p->first_pos - 1);
	op->head.entry_count = p->entry_count;
	op->head.first_term = p->entries[0].term;
	op->head.last_term = p->entries[p->entry_count - 1].term;
	op->head.bytes = (uint32_t)bytes;
	op->region = mem_alloc(s->cfg.mem, bytes);
	heads = (struct disk_entry *)(void *)op->region;
	for (uint32_t i = 0; i < p->entry_count; i++) {
		const struct seq_entry *e = &p->entries[i];

		ASSERT_OP(e->pos, ==, p->first_pos + i);
		heads[i].term = e->term;
		heads[i].kind = e->kind;
		heads[i].off = off;
		heads[i].bytes = e->bytes;
		if (e->bytes)
			memcpy(op->region + off, e->data, e->bytes);
		off += e->bytes;
	}
}

void bdb_journal_write(struct store *store, const struct seq_persist *p)
{
	struct bdb_store *s = bdb_of(store);
	struct bdb_op *op;

	if (s->failed_told || bdb_queue_failed(&s->journal, NULL))
		return;
	op = MEM_NEW(s->cfg.mem, struct bdb_op);
	op->token = p->token;
	op->number = s->index.last_op + 1;
	op->head.term = p->term;
	op->head.vote = p->vote;
	if (p->first_pos && p->entry_count)
		op_encode(s, op, p);
	bdb_index_add(&s->index, s->cfg.mem, &op->head, (struct bdb_ref){.number = op->number, .pending = op},
		      (const void *)op->region);
	op->last_pos = s->index.last_pos;
	if (!bdb_queue_add(&s->journal, &op->link)) {
		struct bdb_ref *ref = bdb_index_find_op(&s->index, op->number);

		if (ref)
			ref->pending = NULL;
		bdb_op_free(s, op);
	}
}

/* What the journal thread handed back: the index learns where it is. Refused ones are nowhere. */
void bdb_journal_absorb(struct bdb_store *s, struct list *done, struct list *dead)
{
	LIST_FOREACH(it, done) {
		struct bdb_op *op = CONTAINER_OF(it, struct bdb_op, link);
		struct bdb_ref *ref = bdb_index_find_op(&s->index, op->number);
		struct list *newest = s->index.segments.prev;

		if (newest == &s->index.segments || CONTAINER_OF(newest, struct bdb_segment, link) != op->segment)
			list_push_back(&s->index.segments, &op->segment->link);
		if (op->head.entry_count && op->last_pos > op->segment->max_pos)
			op->segment->max_pos = op->last_pos;
		if (!ref)
			continue;
		ref->pending = NULL;
		ref->segment = op->segment;
		ref->before_record = (uint32_t)(op->number - op->record_op);
		ref->record_bytes = op->record_bytes;
	}
	bdb_list_move(done, &s->journaled);
	LIST_FOREACH_SAFE(it, tmp, dead) {
		struct bdb_op *op = CONTAINER_OF(it, struct bdb_op, link);
		struct bdb_ref *ref = bdb_index_find_op(&s->index, op->number);

		if (ref)
			ref->pending = NULL;
		list_remove(it);
		bdb_op_free(s, op);
	}
}

void bdb_journal_drop(struct store *store, uint64_t below_pos)
{
	struct bdb_store *s = bdb_of(store);
	struct list out;

	if (s->failed_told || bdb_queue_failed(&s->journal, NULL))
		return;
	list_init(&out);
	bdb_index_drop(&s->index, below_pos, &out);
	if (list_empty(&out))
		return;
	s->read_segment = NULL;
	bdb_keeper_drop(s, &out);
}

uint64_t bdb_journal_bytes(const struct store *store)
{
	struct bdb_store *s = bdb_of((struct store *)(uintptr_t)store);
	uint64_t bytes = 0;

	LIST_FOREACH(it, &s->index.segments)
		bytes += __atomic_load_n(&CONTAINER_OF(it, struct bdb_segment, link)->bytes, __ATOMIC_RELAXED);
	return bytes;
}

/* -------- loop: reading -------- */

void bdb_read_reserve(struct bdb_store *s, size_t bytes)
{
	s->read_segment = NULL;
	if (bytes <= s->read_cap)
		return;
	mem_free(s->cfg.mem, s->read_buf, s->read_cap);
	s->read_cap = bytes + bytes / 4;
	s->read_buf = mem_alloc(s->cfg.mem, s->read_cap);
}

/* The record of @ref in read_buf; reading on in the same record costs nothing. */
static enum status record_read(struct bdb_store *s, const struct bdb_ref *ref)
{
	uint64_t key = ref->number - ref->before_record;
	uint8_t k8[8];
	DBT k = {.data = k8, .size = 8, .ulen = 8, .flags = DB_DBT_USERMEM}, v = {0};
	int ret;

	if (s->read_segment == ref->segment && s->read_record == key)
		return ST_OK;
	bdb_key(key, k8);
	bdb_read_reserve(s, ref->record_bytes);
	v.data = s->read_buf;
	v.ulen = ref->record_bytes;
	v.flags = DB_DBT_USERMEM;
	ret = ref->segment->db->get(ref->segment->db, NULL, &k, &v, DB_READ_UNCOMMITTED);
	if (ret == DB_NOTFOUND || ret == DB_BUFFER_SMALL)
		return ST_CORRUPT;
	if (ret != 0)
		return bdb_status(ret);
	if (v.size != ref->record_bytes || !bdb_record_check(s->read_buf, v.size, key, v.size))
		return ST_CORRUPT;
	s->read_segment = ref->segment;
	s->read_record = key;
	s->read_checked_op = 0;
	return ST_OK;
}

static void entry_from(struct seq_entry *out, uint64_t pos, const uint8_t *region, uint64_t at)
{
	const struct disk_entry *e = (const struct disk_entry *)(const void *)region + at;

	out->pos = pos;
	out->term = e->term;
	out->kind = e->kind;
	out->bytes = e->bytes;
	out->data = region + e->off;
}

enum status bdb_journal_read(struct store *store, uint64_t pos, struct seq_entry *out)
{
	struct bdb_store *s = bdb_of(store);
	const struct bdb_ref *ref = bdb_index_find(&s->index, pos);
	const struct disk_op *op;
	struct seq_entry e;
	enum status st;

	if (!ref)
		return ST_END;
	if (ref->pending) { /* its region goes at completion: lend a copy */
		entry_from(&e, pos, ref->pending->region, pos - ref->first_pos);
		bdb_read_reserve(s, e.bytes + 1u);
		memcpy(s->read_buf, e.data, e.bytes);
		e.data = s->read_buf;
		*out = e;
		return ST_OK;
	}
	if (!ref->segment)
		return ST_IO; /* the disk refused it */
	st = record_read(s, ref);
	if (st != ST_OK)
		return st;
	op = (const struct disk_op *)(const void *)(s->read_buf + sizeof(struct disk_record)) + ref->before_record;
	if (s->read_checked_op != ref->number) {
		if (op->first_pos != ref->first_pos || op->entry_count < ref->count ||
		    !bdb_region_check(op, s->read_buf + op->off))
			return ST_CORRUPT;
		s->read_checked_op = ref->number;
	}
	entry_from(out, pos, s->read_buf + op->off, pos - ref->first_pos);
	return ST_OK;
}

/* -------- journal thread -------- */

static enum status pack_reserve(struct bdb_store *s, size_t bytes, struct error *err)
{
	uint8_t *p;

	if (bytes <= s->pack_cap)
		return ST_OK;
	p = realloc(s->pack, bytes + bytes / 4);
	if (!p)
		return error_set(err, ST_NOMEM, "out of memory for a record of %zu bytes", bytes);
	s->pack = p;
	s->pack_cap = bytes + bytes / 4;
	return ST_OK;
}

static enum status segment_make(struct bdb_store *s, uint64_t first_op, struct error *err)
{
	struct bdb_segment *seg = calloc(1, sizeof *seg);
	char name[32];
	int ret;

	if (!seg)
		return error_set(err, ST_NOMEM, "out of memory");
	snprintf(name, sizeof name, "%016" PRIx64 ".db", first_op);
	ret = bdb_open_file(s->jenv.env, name, true, &seg->db);
	if (ret != 0) {
		free(seg);
		return bdb_error(err, ret, "cannot make %s/%s", s->jenv.path, name);
	}
	list_init(&seg->link);
	seg->first_op = first_op;
	s->writing = seg;
	return ST_OK;
}

/* Packs operations from @it on into one record and puts it; @it_out the first that is not in it. */
static enum status record_put(struct bdb_store *s, DB_TXN *txn, struct list *it, const struct list *end,
			      struct list **it_out, uint64_t *bytes_out, struct error *err)
{
	struct list *first = it;
	struct disk_record r = {.magic = DISK_RECORD_MAGIC, .first_op = CONTAINER_OF(it, struct bdb_op, link)->number};
	struct disk_op *heads;
	uint64_t bytes = sizeof r;
	uint32_t off;
	uint8_t k8[8];
	DBT k = {.data = k8, .size = 8}, v = {0};
	enum status st;
	int ret;

	for (; it != end; it = it->next) {
		uint64_t more = sizeof *heads + CONTAINER_OF(it, struct bdb_op, link)->head.bytes;

		if (r.op_count && bytes + more > bdb_tuning.record_bytes)
			break;
		bytes += more;
		r.op_count++;
	}
	*it_out = it;
	r.bytes = (uint32_t)bytes;
	st = pack_reserve(s, bytes, err);
	if (st != ST_OK)
		return st;
	heads = (struct disk_op *)(void *)(s->pack + sizeof r);
	off = (uint32_t)(sizeof r + r.op_count * sizeof *heads);
	for (it = first; it != *it_out; it = it->next, heads++) {
		struct bdb_op *op = CONTAINER_OF(it, struct bdb_op, link);

		op->head.off = off;
		op->head.crc = crc32c(0, op->region, op->head.bytes);
		op->segment = s->writing;
		op->record_op = r.first_op;
		op->record_bytes = r.bytes;
		*heads = op->head;
		if (op->head.bytes)
			memcpy(s->pack + off, op->region, op->head.bytes);
		off += op->head.bytes;
	}
	r.crc = crc32c(crc32c(0, &r, sizeof r), s->pack + sizeof r, r.op_count * sizeof *heads);
	memcpy(s->pack, &r, sizeof r);
	bdb_key(r.first_op, k8);
	v.data = s->pack;
	v.size = r.bytes;
	ret = s->writing->db->put(s->writing->db, txn, &k, &v, 0);
	*bytes_out += bytes;
	return ret == 0 ? ST_OK : bdb_error(err, ret, "cannot write to the journal in %s", s->jenv.path);
}

/* One transaction. */
static enum status group_commit(struct bdb_store *s, struct list *group, struct error *err)
{
	DB_ENV *env = s->jenv.env;
	struct list *it = group->next;
	const struct bdb_op *last = CONTAINER_OF(group->prev, struct bdb_op, link);
	uint64_t bytes = 0;
	DB_TXN *txn;
	enum status st;
	int ret;

	if ((st = bdb_space_check(s, err)) != ST_OK)
		return st;
	if (s->writing && s->writing->bytes >= s->segment_bytes)
		s->writing = NULL;
	if (!s->writing && (st = segment_make(s, CONTAINER_OF(it, struct bdb_op, link)->number, err)) != ST_OK)
		return st;
	ret = env->txn_begin(env, NULL, &txn, 0);
	if (ret != 0)
		return bdb_error(err, ret, "cannot begin a transaction in %s", s->jenv.path);
	while (it != group) {
		st = record_put(s, txn, it, group, &it, &bytes, err);
		if (st != ST_OK) {
			(void)txn->abort(txn);
			return st;
		}
	}
	ret = txn->commit(txn, DB_TXN_SYNC);
	if (ret != 0)
		return bdb_error(err, ret, "cannot commit to the journal in %s", s->jenv.path);
	__atomic_fetch_add(&s->writing->bytes, bytes, __ATOMIC_RELAXED);
	bdb_env_wrote(&s->jenv, bytes);
	ret = bdb_mark_note(&s->mark, last->number, last->last_pos);
	return ret == 0 ? ST_OK : bdb_error(err, ret, "cannot write %s/MARK", s->dir);
}

/* The front of @todo, as much as one transaction may have. */
static void group_cut(struct list *todo, struct list *group)
{
	uint64_t bytes = 0;

	while (!list_empty(todo)) {
		struct list *it = list_first(todo);
		uint64_t more = CONTAINER_OF(it, struct bdb_op, link)->head.bytes;

		if (!list_empty(group) && bytes + more > bdb_tuning.group_bytes)
			return;
		bytes += more;
		list_remove(it);
		list_push_back(group, it);
	}
}

void *bdb_journal_main(void *store)
{
	struct bdb_store *s = store;
	struct list todo, group;

	list_init(&todo);
	list_init(&group);
	while (bdb_queue_take(&s->journal, &todo)) {
		while (!list_empty(&todo)) {
			struct error err = {.code = ST_OK};

			group_cut(&todo, &group);
			if (group_commit(s, &group, &err) != ST_OK)
				bdb_list_move(&todo, &group); /* nothing after a refused group is durable */
			bdb_queue_done(&s->journal, &group, &err);
		}
		bdb_keeper_wake(s, true);
	}
	return NULL;
}
