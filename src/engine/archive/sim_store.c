/*
 * sim_store.c - a store over a simulated disk (engine/archive).
 *
 * What is durable is kept decoded in struct sim_disk: the journal as an array of entries, images as an array
 * sorted by id. Operations wait in two lanes; the store reads through them (what was given is read back at
 * once), and a group moves from its lane into the durable state when its time has come. The data of a lane lives
 * in the disk's memory, so that a crash can still decide what becomes of it.
 */
#include "engine/archive/sim_store.h"

#include "base/assert.h"
#include "base/list.h"
#include "engine/archive/store_int.h"

#include <string.h>

enum op_kind { OP_PERSIST, OP_DROP, OP_IMAGES };

struct sim_entry {
	struct seq_entry e;      /* data owned */
	uint64_t hard_term, hard_vote, op; /* hard state and operation that came with it, for sim_disk_lose_tail */
	uint32_t crc;
};
struct sim_image {
	atom_id id;
	seq_index as_of;
	uint8_t *bytes;
	size_t size;
	uint32_t crc;
};
struct sim_op {
	struct list link;
	enum op_kind kind;
	uint64_t token, bytes;
	uint64_t term, vote, first_pos; /* OP_PERSIST */
	uint32_t entry_count;
	struct sim_entry *entries;
	uint64_t below_pos;      /* OP_DROP */
	struct store_image_batch batch; /* OP_IMAGES: images copied, their bytes lent */
};
struct lane {
	struct list ops;         /* the first group_count of them are under way */
	uint32_t group_count;
	uint64_t due_us;         /* of the group; UINT64_MAX none */
};

struct sim_store;
struct sim_disk {
	struct sim_disk_config cfg;
	struct rng rng;
	uint32_t slow;
	enum status refuse;
	struct sim_store *store; /* the open one */
	struct sim_disk_counters counters;
	/* Durable: */
	struct store_identity identity;
	uint64_t term, vote, first_pos, before_term, op_last;
	VEC(struct sim_entry) entries; /* positions first_pos.. */
	VEC(struct sim_image) images;  /* sorted by id */
	seq_index checkpoint;
	uint64_t checkpoint_pos, used_bytes, journal_bytes;
	/* The end mark, a file of its own: the newest operation acknowledged, whose promises they were, and short. */
	uint64_t mark_pos, mark_op, base_op;
	bool mark_short;
	/* Under way: */
	struct lane journal, image;
};

struct sim_done { struct list link; enum op_kind kind; uint64_t token; };
struct sim_store {
	struct store base;
	struct store_config cfg;
	struct sim_disk *disk;   /* NULL: crashed */
	struct list done;        /* struct sim_done, in the disk's order */
	struct error failed;     /* code ST_OK: none */
	bool failed_told;
	uint64_t next_first, next_last; /* the journal as given: first_pos, last_pos (0: empty) */
	uint8_t *lent;           /* data of the last read */
	size_t lent_bytes;
};

/* -------- memory -------- */

static void *copy_bytes(struct mem *m, const void *p, size_t bytes)
{
	void *to;

	if (!bytes)
		return NULL;
	to = mem_alloc(m, bytes);
	memcpy(to, p, bytes);
	return to;
}

static void entry_fini(struct sim_disk *d, struct sim_entry *e)
{
	mem_free(d->cfg.mem, (void *)(uintptr_t)e->e.data, e->e.bytes);
}

static void op_free(struct sim_disk *d, struct sim_op *op)
{
	list_remove(&op->link);
	for (uint32_t i = 0; i < op->entry_count; i++)
		entry_fini(d, &op->entries[i]);
	mem_free(d->cfg.mem, op->entries, op->entry_count * sizeof *op->entries);
	mem_free(d->cfg.mem, (void *)(uintptr_t)op->batch.images, op->batch.count * sizeof *op->batch.images);
	MEM_FREE(d->cfg.mem, op);
}

static void lane_clear(struct sim_disk *d, struct lane *lane)
{
	LIST_FOREACH_SAFE(it, tmp, &lane->ops)
		op_free(d, CONTAINER_OF(it, struct sim_op, link));
	lane->group_count = 0;
	lane->due_us = UINT64_MAX;
}

/* -------- the durable state -------- */

static uint64_t durable_last(const struct sim_disk *d)
{
	return d->entries.count ? d->first_pos + d->entries.count - 1 : 0;
}

/* Forget entries from the back until @count are left. */
static void entries_cut(struct sim_disk *d, size_t count)
{
	while (d->entries.count > count) {
		struct sim_entry *e = &d->entries.at[--d->entries.count];

		d->used_bytes -= e->e.bytes;
		d->journal_bytes -= e->e.bytes;
		entry_fini(d, e);
	}
}

static void journal_reset(struct sim_disk *d)
{
	entries_cut(d, 0);
	d->first_pos = 1;
	d->before_term = d->term = d->vote = 0;
}

static void images_reset(struct sim_disk *d)
{
	for (size_t i = 0; i < d->images.count; i++) {
		d->used_bytes -= d->images.at[i].size;
		mem_free(d->cfg.mem, d->images.at[i].bytes, d->images.at[i].size);
	}
	d->images.count = 0;
	d->checkpoint = d->checkpoint_pos = 0;
}

static void apply_persist(struct sim_disk *d, struct sim_op *op)
{
	d->op_last++;
	d->term = op->term;
	d->vote = op->vote;
	d->counters.persists++;
	if (!op->entry_count)
		return;
	if (d->entries.count && op->first_pos > durable_last(d) + 1)
		entries_cut(d, 0); /* begun anew */
	if (!d->entries.count) {
		if (op->first_pos != d->first_pos)
			d->before_term = 0;
		d->first_pos = op->first_pos;
	} else if (op->first_pos <= d->first_pos) {
		if (op->first_pos < d->first_pos)
			d->before_term = 0;
		entries_cut(d, 0);
		d->first_pos = op->first_pos;
	} else {
		entries_cut(d, (size_t)(op->first_pos - d->first_pos));
	}
	for (uint32_t i = 0; i < op->entry_count; i++) {
		struct sim_entry e = op->entries[i];

		e.hard_term = op->term;
		e.hard_vote = op->vote;
		e.op = d->op_last;
		VEC_PUSH(d->cfg.mem, &d->entries, e);
		d->used_bytes += e.e.bytes;
		d->journal_bytes += e.e.bytes;
		d->counters.entries++;
		d->counters.entry_bytes += e.e.bytes;
	}
	mem_free(d->cfg.mem, op->entries, op->entry_count * sizeof *op->entries);
	op->entries = NULL; /* the data moved */
	op->entry_count = 0;
}

/* Whole segments only, and never the newest entry, as a journal of files does. */
static void apply_drop(struct sim_disk *d, uint64_t below_pos)
{
	uint32_t unit = d->cfg.segment_entries;
	uint64_t below = below_pos / unit * unit;
	size_t n;

	if (!d->entries.count || below <= d->first_pos)
		return;
	n = (size_t)(below - d->first_pos);
	if (n >= d->entries.count)
		n = d->entries.count - 1;
	if (!n)
		return;
	d->before_term = d->entries.at[n - 1].e.term;
	for (size_t i = 0; i < n; i++) {
		d->used_bytes -= d->entries.at[i].e.bytes;
		d->journal_bytes -= d->entries.at[i].e.bytes;
		entry_fini(d, &d->entries.at[i]);
	}
	memmove(d->entries.at, d->entries.at + n, (d->entries.count - n) * sizeof *d->entries.at);
	d->entries.count -= n;
	d->first_pos += n;
	d->counters.dropped_entries += n;
}

/* The place of an image, or where it would be. */
static size_t image_place(const struct sim_disk *d, atom_id id, bool *found_out)
{
	size_t lo = 0, hi = d->images.count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (d->images.at[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	*found_out = lo < d->images.count && d->images.at[lo].id == id;
	return lo;
}

static void apply_image(struct sim_disk *d, const struct store_image *im)
{
	bool found;
	size_t at = image_place(d, im->id, &found);

	if (found) {
		struct sim_image *old = &d->images.at[at];

		d->used_bytes -= old->size;
		mem_free(d->cfg.mem, old->bytes, old->size);
		if (im->remove) {
			memmove(old, old + 1, (d->images.count - at - 1) * sizeof *old);
			d->images.count--;
		}
	}
	if (im->remove)
		return;
	if (!found) {
		struct sim_image none = {0, 0, NULL, 0, 0};

		VEC_PUSH(d->cfg.mem, &d->images, none);
		memmove(d->images.at + at + 1, d->images.at + at,
			(d->images.count - at - 1) * sizeof *d->images.at);
	}
	d->images.at[at] = (struct sim_image){im->id, im->as_of,
		copy_bytes(d->cfg.mem, im->image, im->image_bytes), im->image_bytes,
		crc32c(0, im->image, im->image_bytes)};
	d->used_bytes += im->image_bytes;
	d->counters.images++;
	d->counters.image_bytes += im->image_bytes;
}

static void apply_images(struct sim_disk *d, const struct store_image_batch *b)
{
	for (uint32_t i = 0; i < b->count; i++)
		apply_image(d, &b->images[i]);
	if (b->completes) {
		d->checkpoint = b->checkpoint;
		d->checkpoint_pos = b->checkpoint_pos;
	}
	d->counters.image_batches++;
}

static void op_apply(struct sim_disk *d, struct sim_op *op)
{
	if (op->kind == OP_PERSIST)
		apply_persist(d, op);
	else if (op->kind == OP_DROP)
		apply_drop(d, op->below_pos);
	else
		apply_images(d, &op->batch);
}

/* -------- lanes -------- */

static void group_start(struct sim_disk *d, struct lane *lane, uint64_t now_us)
{
	uint64_t bytes = 0, us;

	lane->group_count = 0;
	lane->due_us = UINT64_MAX;
	LIST_FOREACH(it, &lane->ops) {
		bytes += CONTAINER_OF(it, struct sim_op, link)->bytes;
		lane->group_count++;
	}
	if (!lane->group_count)
		return;
	us = d->cfg.sync_us + rng_below(&d->rng, d->cfg.jitter_us + 1) + bytes * 1000 / d->cfg.bytes_per_ms;
	if (rng_below(&d->rng, 1000) < d->cfg.hiccup_permille)
		us *= 20;
	lane->due_us = now_us + us * d->slow;
}

static void lane_add(struct sim_disk *d, struct lane *lane, struct sim_op *op)
{
	list_push_back(&lane->ops, &op->link);
	if (!lane->group_count)
		group_start(d, lane, clock_now_us(&d->cfg.clock));
}

static void done_add(struct sim_disk *d, const struct sim_op *op)
{
	struct sim_done *done;

	if (op->kind == OP_DROP)
		return;
	done = MEM_NEW(d->store->cfg.mem, struct sim_done);
	done->kind = op->kind;
	done->token = op->token;
	list_push_back(&d->store->done, &done->link);
}

static void store_fail(struct sim_store *s, enum status code)
{
	struct sim_disk *d = s->disk;

	if (s->failed.code == ST_OK)
		error_set(&s->failed, code, "simulated disk: %s", status_text(code));
	lane_clear(d, &d->journal);
	lane_clear(d, &d->image);
}

/* The group under way ends: it becomes durable as a whole, or the disk refuses it. */
static int group_finish(struct sim_disk *d, struct lane *lane)
{
	uint64_t bytes = 0, start_us = lane->due_us;
	enum status refuse = d->refuse;
	uint32_t n = lane->group_count, at = 0;

	LIST_FOREACH(it, &lane->ops) {
		if (at++ == n)
			break;
		bytes += CONTAINER_OF(it, struct sim_op, link)->bytes;
	}
	if (refuse == ST_OK && d->cfg.capacity_bytes && d->used_bytes + bytes > d->cfg.capacity_bytes)
		refuse = ST_DISK_FULL;
	if (refuse != ST_OK) {
		d->counters.refused++;
		store_fail(d->store, refuse);
		return 1;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct sim_op *op = CONTAINER_OF(list_first(&lane->ops), struct sim_op, link);

		op_apply(d, op);
		done_add(d, op);
		if (op->kind == OP_PERSIST && !d->mark_short) {
			d->mark_op = d->op_last;
			d->mark_pos = durable_last(d);
		}
		op_free(d, op);
	}
	d->counters.groups++;
	group_start(d, lane, start_us);
	return (int)n;
}

int sim_disk_run(struct sim_disk *d, uint64_t now_us)
{
	int n = 0;

	for (;;) { /* the journal first when both are due at one time */
		struct lane *lane = d->image.due_us < d->journal.due_us ? &d->image : &d->journal;

		if (lane->due_us == UINT64_MAX || lane->due_us > now_us)
			return n;
		n += group_finish(d, lane);
	}
}

uint64_t sim_disk_next_us(const struct sim_disk *d)
{
	return d->journal.due_us < d->image.due_us ? d->journal.due_us : d->image.due_us;
}

/* Everything under way ends now. */
static void settle(struct sim_disk *d)
{
	while (d->journal.group_count)
		group_finish(d, &d->journal);
	while (d->image.group_count)
		group_finish(d, &d->image);
}

/* -------- the disk -------- */

struct sim_disk *sim_disk_new(const struct sim_disk_config *cfg)
{
	struct sim_disk *d = MEM_NEW(cfg->mem, struct sim_disk);

	d->cfg = *cfg;
	if (!d->cfg.sync_us)
		d->cfg.sync_us = 200;
	if (!d->cfg.jitter_us)
		d->cfg.jitter_us = 300;
	if (!d->cfg.bytes_per_ms)
		d->cfg.bytes_per_ms = 400000;
	if (!d->cfg.segment_entries)
		d->cfg.segment_entries = 64;
	rng_init(&d->rng, cfg->seed);
	d->slow = 1;
	d->identity.format = STORE_FORMAT_VERSION;
	d->first_pos = 1;
	list_init(&d->journal.ops);
	list_init(&d->image.ops);
	d->journal.due_us = d->image.due_us = UINT64_MAX;
	return d;
}

void sim_disk_free(struct sim_disk *d)
{
	struct mem *m = d->cfg.mem;

	ASSERT(!d->store);
	journal_reset(d);
	images_reset(d);
	VEC_FINI(m, &d->entries);
	VEC_FINI(m, &d->images);
	MEM_FREE(m, d);
}

static void lane_tear(struct sim_disk *d, struct lane *lane, uint64_t *torn)
{
	uint64_t n = 0, keep, at = 0;

	LIST_FOREACH(it, &lane->ops)
		n++;
	keep = d->refuse == ST_OK ? rng_below(&d->rng, n + 1) : 0;
	LIST_FOREACH(it, &lane->ops) {
		struct sim_op *op = CONTAINER_OF(it, struct sim_op, link);

		if (at == keep || (d->cfg.capacity_bytes && d->used_bytes + op->bytes > d->cfg.capacity_bytes))
			break;
		op_apply(d, op); /* durable, and nobody was told: the mark does not know */
		at++;
	}
	*torn += n - at;
	lane_clear(d, lane);
}

void sim_disk_crash(struct sim_disk *d)
{
	d->counters.crashes++;
	lane_tear(d, &d->journal, &d->counters.torn_persists);
	lane_tear(d, &d->image, &d->counters.torn_batches);
	if (d->store)
		d->store->disk = NULL;
	d->store = NULL;
}

void sim_disk_set_slow(struct sim_disk *d, uint32_t factor)
{
	d->slow = factor ? factor : 1;
}

void sim_disk_set_refuse(struct sim_disk *d, enum status code)
{
	d->refuse = code;
}

void sim_disk_set_capacity(struct sim_disk *d, uint64_t bytes)
{
	d->cfg.capacity_bytes = bytes;
}

bool sim_disk_corrupt_image(struct sim_disk *d, atom_id id)
{
	bool found;
	size_t at = image_place(d, id, &found);

	if (!found || !d->images.at[at].size)
		return false;
	d->images.at[at].bytes[rng_below(&d->rng, d->images.at[at].size)] ^= 0x10;
	return true;
}

bool sim_disk_corrupt_entry(struct sim_disk *d, uint64_t pos)
{
	struct seq_entry *e;

	if (!d->entries.count || pos < d->first_pos || pos > durable_last(d))
		return false;
	e = &d->entries.at[pos - d->first_pos].e;
	if (!e->bytes)
		return false;
	((uint8_t *)(uintptr_t)e->data)[rng_below(&d->rng, e->bytes)] ^= 0x10;
	return true;
}

void sim_disk_lose_tail(struct sim_disk *d, uint64_t entries)
{
	uint64_t lost_op;

	ASSERT(!d->store);
	if (!d->entries.count || !entries)
		return;
	if (entries > d->entries.count)
		entries = d->entries.count;
	lost_op = d->entries.at[d->entries.count - (size_t)entries].op;
	entries_cut(d, d->entries.count - (size_t)entries);
	if (d->entries.count) {
		const struct sim_entry *e = &d->entries.at[d->entries.count - 1];

		d->term = e->hard_term;
		d->vote = e->hard_vote;
		d->op_last = e->op == lost_op ? e->op - 1 : e->op; /* there in part only: does not count */
	} else {
		journal_reset(d);
		d->op_last = 0;
	}
}

const struct sim_disk_counters *sim_disk_counters(const struct sim_disk *d)
{
	return &d->counters;
}

uint64_t sim_disk_durable_pos(const struct sim_disk *d)
{
	return durable_last(d);
}

/* -------- the store -------- */

static struct sim_store *sim_of(struct store *s)
{
	return CONTAINER_OF(s, struct sim_store, base);
}

static bool usable(const struct sim_store *s)
{
	return s->disk && s->failed.code == ST_OK;
}

static enum status sim_open(const struct store_config *cfg, struct store **store_out,
			    struct store_recovered *recovered_out, struct error *err)
{
	struct sim_disk *d = cfg->disk;
	struct sim_store *s;
	enum status st;

	if (d->store)
		return error_set(err, ST_OBJECT_IN_USE, "the simulated disk is in use by another engine");
	if (d->refuse != ST_OK)
		return error_set(err, d->refuse, "the simulated disk cannot be written");
	st = store_identity_check(cfg, "the simulated disk", &d->identity, err);
	if (st != ST_OK)
		return st;
	if (d->op_last < d->mark_op)
		d->mark_short = true; /* sticky until the voter id changes */
	s = MEM_NEW(cfg->mem, struct sim_store);
	s->base.ops = &store_ops_sim;
	s->cfg = *cfg;
	s->disk = d;
	list_init(&s->done);
	d->store = s;
	memset(recovered_out, 0, sizeof *recovered_out);
	recovered_out->identity = d->identity;
	recovered_out->term = d->term;
	recovered_out->vote = d->vote;
	recovered_out->first_pos = d->entries.count ? d->first_pos : 1;
	recovered_out->last_pos = durable_last(d);
	recovered_out->last_term = d->entries.count ? d->entries.at[d->entries.count - 1].e.term : 0;
	recovered_out->before_term = d->entries.count ? d->before_term : 0;
	recovered_out->end_mark_pos = d->mark_pos;
	recovered_out->short_journal = d->mark_short;
	recovered_out->checkpoint = d->checkpoint;
	recovered_out->checkpoint_pos = d->checkpoint_pos;
	recovered_out->image_count = d->images.count;
	s->next_first = recovered_out->first_pos;
	s->next_last = recovered_out->last_pos;
	*store_out = &s->base;
	return ST_OK;
}

static void lent_reset(struct sim_store *s)
{
	mem_free(s->cfg.mem, s->lent, s->lent_bytes);
	s->lent = NULL;
	s->lent_bytes = 0;
}

static void sim_close(struct store *store)
{
	struct sim_store *s = sim_of(store);

	if (s->disk) {
		settle(s->disk);
		s->disk->store = NULL;
	}
	LIST_FOREACH_SAFE(it, tmp, &s->done) {
		struct sim_done *done = CONTAINER_OF(it, struct sim_done, link);

		MEM_FREE(s->cfg.mem, done);
	}
	lent_reset(s);
	MEM_FREE(s->cfg.mem, s);
}

/* The state that synchronous changes need: nothing under way and a disk that takes writes. */
static enum status sim_quiesce(struct sim_store *s, struct error *err)
{
	if (s->disk && s->failed.code == ST_OK)
		settle(s->disk);
	if (!s->disk)
		return error_set(err, ST_IO, "the simulated disk crashed");
	if (s->disk->refuse != ST_OK)
		store_fail(s, s->disk->refuse);
	if (s->failed.code != ST_OK) {
		if (err)
			*err = s->failed;
		return s->failed.code;
	}
	return ST_OK;
}

static enum status sim_set_identity(struct store *store, const struct store_identity *id, struct error *err)
{
	struct sim_store *s = sim_of(store);
	struct sim_disk *d = s->disk;
	enum status st = sim_quiesce(s, err);

	if (st != ST_OK)
		return st;
	if (id->log_id != d->identity.log_id) {
		journal_reset(d);
		images_reset(d);
		s->next_first = 1;
		s->next_last = 0;
	}
	if (id->log_id != d->identity.log_id || id->voter_id != d->identity.voter_id) {
		d->mark_short = false; /* a new voter has promised nothing yet */
		d->mark_op = d->base_op = d->op_last;
		d->mark_pos = durable_last(d);
	}
	d->identity = *id;
	d->identity.format = STORE_FORMAT_VERSION;
	return ST_OK;
}

static enum status sim_wipe(struct store *store, struct error *err)
{
	struct sim_store *s = sim_of(store);
	struct sim_disk *d = s->disk;
	enum status st = sim_quiesce(s, err);

	if (st != ST_OK)
		return st;
	if (d->op_last > d->base_op)
		d->mark_short = true; /* this voter id's promises are forgotten: it must not vote again */
	else
		d->mark_pos = 0;
	journal_reset(d);
	images_reset(d);
	s->next_first = 1;
	s->next_last = 0;
	return ST_OK;
}

static void sim_journal(struct store *store, const struct seq_persist *p)
{
	struct sim_store *s = sim_of(store);
	struct sim_disk *d = s->disk;
	struct sim_op *op;

	if (!usable(s))
		return;
	op = MEM_NEW(d->cfg.mem, struct sim_op);
	op->kind = OP_PERSIST;
	op->token = p->token;
	op->term = p->term;
	op->vote = p->vote;
	op->bytes = 64;
	if (p->first_pos && p->entry_count) {
		op->first_pos = p->first_pos;
		op->entry_count = p->entry_count;
		op->entries = mem_alloc(d->cfg.mem, p->entry_count * sizeof *op->entries);
		if (!s->next_last || p->first_pos < s->next_first || p->first_pos > s->next_last + 1)
			s->next_first = p->first_pos;
		s->next_last = p->first_pos + p->entry_count - 1;
	}
	for (uint32_t i = 0; i < op->entry_count; i++) {
		struct sim_entry *e = &op->entries[i];

		ASSERT_OP(p->entries[i].pos, ==, p->first_pos + i);
		e->e = p->entries[i];
		e->e.data = copy_bytes(d->cfg.mem, e->e.data, e->e.bytes);
		e->crc = crc32c(0, e->e.data, e->e.bytes);
		op->bytes += e->e.bytes;
	}
	lane_add(d, &d->journal, op);
}

static void sim_journal_drop(struct store *store, uint64_t below_pos)
{
	struct sim_store *s = sim_of(store);
	struct sim_op *op;

	if (!usable(s))
		return;
	op = MEM_NEW(s->disk->cfg.mem, struct sim_op);
	op->kind = OP_DROP;
	op->below_pos = below_pos;
	lane_add(s->disk, &s->disk->journal, op);
}

/* The newest word on a position: what is under way, newest first, then what is durable. */
static const struct sim_entry *entry_find(const struct sim_disk *d, uint64_t pos)
{
	for (struct list *it = d->journal.ops.prev; it != &d->journal.ops; it = it->prev) {
		const struct sim_op *op = CONTAINER_OF(it, struct sim_op, link);

		if (op->entry_count && pos >= op->first_pos)
			return pos - op->first_pos < op->entry_count ? &op->entries[pos - op->first_pos] : NULL;
	}
	if (!d->entries.count || pos < d->first_pos || pos > durable_last(d))
		return NULL;
	return &d->entries.at[pos - d->first_pos];
}

static const void *lend(struct sim_store *s, const void *p, size_t bytes)
{
	lent_reset(s);
	s->lent = copy_bytes(s->cfg.mem, p, bytes);
	s->lent_bytes = bytes;
	return bytes ? s->lent : (const void *)"";
}

static enum status sim_journal_read(struct store *store, uint64_t pos, struct seq_entry *out)
{
	struct sim_store *s = sim_of(store);
	const struct sim_entry *e;

	if (!s->disk)
		return ST_IO;
	e = entry_find(s->disk, pos);
	if (!e)
		return ST_END;
	if (crc32c(0, e->e.data, e->e.bytes) != e->crc)
		return ST_CORRUPT;
	*out = e->e;
	out->data = lend(s, e->e.data, e->e.bytes);
	return ST_OK;
}

static void sim_write_images(struct store *store, const struct store_image_batch *b)
{
	struct sim_store *s = sim_of(store);
	struct sim_op *op;

	if (!usable(s))
		return;
	op = MEM_NEW(s->disk->cfg.mem, struct sim_op);
	op->kind = OP_IMAGES;
	op->token = b->token;
	op->batch = *b;
	op->batch.images = copy_bytes(s->disk->cfg.mem, b->images, b->count * sizeof *b->images);
	op->bytes = 64;
	for (uint32_t i = 0; i < b->count; i++)
		op->bytes += b->images[i].remove ? 0 : b->images[i].image_bytes;
	lane_add(s->disk, &s->disk->image, op);
}

static enum status sim_image_each(struct store *store, void *ctx,
				  void (*fn)(void *ctx, atom_id id, seq_index as_of, size_t image_bytes))
{
	struct sim_store *s = sim_of(store);

	if (!s->disk)
		return ST_IO;
	for (size_t i = 0; i < s->disk->images.count; i++) {
		const struct sim_image *im = &s->disk->images.at[i];

		fn(ctx, im->id, im->as_of, im->size);
	}
	return ST_OK;
}

static enum status sim_image_read(struct store *store, atom_id id, const void **image_out, size_t *bytes_out,
				  seq_index *as_of_out)
{
	struct sim_store *s = sim_of(store);
	const struct sim_image *im;
	bool found;
	size_t at;

	if (!s->disk)
		return ST_IO;
	for (struct list *it = s->disk->image.ops.prev; it != &s->disk->image.ops; it = it->prev) {
		const struct store_image_batch *b = &CONTAINER_OF(it, struct sim_op, link)->batch;

		for (uint32_t i = b->count; i-- > 0;) {
			if (b->images[i].id != id)
				continue;
			if (b->images[i].remove)
				return ST_END;
			*image_out = lend(s, b->images[i].image, b->images[i].image_bytes);
			*bytes_out = b->images[i].image_bytes;
			*as_of_out = b->images[i].as_of;
			return ST_OK;
		}
	}
	at = image_place(s->disk, id, &found);
	if (!found)
		return ST_END;
	im = &s->disk->images.at[at];
	if (crc32c(0, im->bytes, im->size) != im->crc)
		return ST_CORRUPT;
	*image_out = lend(s, im->bytes, im->size);
	*bytes_out = im->size;
	*as_of_out = im->as_of;
	return ST_OK;
}

static uint64_t sim_journal_bytes(const struct store *store)
{
	const struct sim_store *s = CONTAINER_OF((struct store *)(uintptr_t)store, struct sim_store, base);

	return s->disk ? s->disk->journal_bytes : 0;
}

/* A callback may start more work; it may not close the store. */
static int sim_progress(struct store *store)
{
	struct sim_store *s = sim_of(store);
	int n = 0;

	while (s->disk && !list_empty(&s->done)) {
		struct sim_done *done = CONTAINER_OF(list_first(&s->done), struct sim_done, link);
		enum op_kind kind = done->kind;
		uint64_t token = done->token;

		list_remove(&done->link);
		MEM_FREE(s->cfg.mem, done);
		if (kind == OP_PERSIST)
			s->cfg.events->journaled(s->cfg.ctx, token);
		else
			s->cfg.events->images_written(s->cfg.ctx, token);
		n++;
	}
	if (s->disk && s->failed.code != ST_OK && !s->failed_told) {
		s->failed_told = true;
		s->cfg.events->failed(s->cfg.ctx, &s->failed);
		n++;
	}
	return n;
}

static int sim_wait_fd(struct store *store)
{
	(void)store;
	return -1;
}

const struct store_ops store_ops_sim = {
	.name = "sim",
	.open = sim_open,
	.close = sim_close,
	.set_identity = sim_set_identity,
	.wipe = sim_wipe,
	.journal = sim_journal,
	.journal_read = sim_journal_read,
	.journal_drop = sim_journal_drop,
	.write_images = sim_write_images,
	.image_each = sim_image_each,
	.image_read = sim_image_read,
	.journal_bytes = sim_journal_bytes,
	.progress = sim_progress,
	.wait_fd = sim_wait_fd,
};
