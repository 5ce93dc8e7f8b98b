#include "engine/txn/lock.h"

#include <string.h>

#include "base/assert.h"
#include "base/map.h"

/*
 * A lock exists while somebody holds or waits for it. Its queue is in order of arrival, but that an item whose owner
 * holds the lock already, in a weaker mode, stands before the first that waits for that owner anyway. Granting looks
 * at the front only, so nobody is passed by.
 *
 * Users hear of grants when the tables are consistent again: what is granted is collected in lock_table.ready, and
 * done() is called at the end of the outermost call. It may call anything here.
 */
struct lock {
	uint32_t key_len;
	struct list of_group;
	struct group *group;  /* those near it; NULL: its key has no storage */
	struct list holders;  /* struct holding.of_lock, in order of grants */
	struct list queue;    /* struct item.of_lock */
	uint8_t key[];
};
struct owner {
	engine_id engine;
	txn_id txn;
	bool passes;          /* it is over but for the log: not in the way of early requests */
	struct list holdings; /* struct holding.of_owner */
	struct list requests; /* struct lock_request.of_owner */
};
struct holding {
	struct list of_lock, of_owner;
	struct lock *lock;
	struct owner *owner;
	uint8_t mode;
};
struct item {
	struct list of_lock;    /* in the queue while waiting */
	struct item *next;      /* of the request */
	struct lock *lock;      /* NULL: granted */
	struct lock_request *rq;
	uint8_t mode;
};
struct lock_request {
	struct lock_table *lt;
	struct owner *owner;
	struct list of_owner, waiting; /* waiting: in lock_table.waiting while any item waits, then in ready */
	struct item *items;
	uint32_t pending;
	bool early;                    /* goes on beside holders that pass */
	uint64_t start_us, since_us;
	void (*done)(void *ctx, struct lock_request *rq);
	void *ctx;
};
/* Locks by what they concern, so that a question about an atom looks at its neighbourhood only. */
struct group {
	uint64_t storage, part;  /* rows: row id / GROUP_ROWS; keys: GROUP_KEYS */
	struct list locks;       /* struct lock.of_group; never empty */
};
#define GROUP_ROWS 4096          /* about one atom's */
#define GROUP_KEYS UINT64_MAX

struct lock_table {
	struct mem *mem;
	struct bmap locks;
	struct map groups;    /* (storage, part) -> struct group */
	struct map owners;
	struct list waiting;  /* struct lock_request.waiting, by arrival */
	struct list ready;    /* granted, done() not called yet */
};

uint32_t lock_key_row(uint8_t out[17], rel_id storage, row_id row)
{
	out[0] = 'r';
	memcpy(out + 1, &storage, 8);
	memcpy(out + 9, &row, 8);
	return 17;
}

uint32_t lock_key_key(uint8_t *out, rel_id storage, const void *key, uint32_t key_len)
{
	out[0] = 'k';
	memcpy(out + 1, &storage, 8);
	memcpy(out + 9, key, key_len);
	return 9 + key_len;
}

struct lock_table *lock_table_new(struct mem *mem)
{
	struct lock_table *lt = MEM_NEW(mem, struct lock_table);

	lt->mem = mem;
	bmap_init(&lt->locks, mem);
	map_init(&lt->groups, mem);
	map_init(&lt->owners, mem);
	list_init(&lt->waiting);
	list_init(&lt->ready);
	return lt;
}

/* PostgreSQL's table of row lock conflicts (its documentation, table 13.3). */
static bool conflict(uint8_t a, uint8_t b)
{
	static const bool table[4][4] = {
		/* KEY_SHARE   */ {false, false, false, true},
		/* SHARE       */ {false, false, true, true},
		/* NO_KEY_UPD. */ {false, true, true, true},
		/* UPDATE      */ {true, true, true, true},
	};

	return table[a][b];
}

static struct owner *owner_get(struct lock_table *lt, engine_id engine, txn_id txn)
{
	struct owner *ow = map_find2(&lt->owners, engine, txn);

	if (ow)
		return ow;
	ow = MEM_NEW(lt->mem, struct owner);
	ow->engine = engine;
	ow->txn = txn;
	list_init(&ow->holdings);
	list_init(&ow->requests);
	map_put2(&lt->owners, engine, txn, ow);
	return ow;
}

static void owner_drop_if_idle(struct lock_table *lt, struct owner *ow)
{
	if (!list_empty(&ow->holdings) || !list_empty(&ow->requests))
		return;
	map_remove2(&lt->owners, ow->engine, ow->txn);
	MEM_FREE(lt->mem, ow);
}

static void group_add(struct lock_table *lt, struct lock *l)
{
	uint64_t storage, part = GROUP_KEYS;
	struct group *g;

	if ((l->key[0] != 'r' || l->key_len != 17) && (l->key[0] != 'k' || l->key_len < 9))
		return;
	memcpy(&storage, l->key + 1, 8);
	if (l->key[0] == 'r') {
		memcpy(&part, l->key + 9, 8);
		part /= GROUP_ROWS;
	}
	g = map_find2(&lt->groups, storage, part);
	if (!g) {
		g = MEM_NEW(lt->mem, struct group);
		g->storage = storage;
		g->part = part;
		list_init(&g->locks);
		map_put2(&lt->groups, storage, part, g);
	}
	l->group = g;
	list_push_back(&g->locks, &l->of_group);
}

static void group_remove(struct lock_table *lt, struct lock *l)
{
	struct group *g = l->group;

	if (!g)
		return;
	list_remove(&l->of_group);
	if (!list_empty(&g->locks))
		return;
	map_remove2(&lt->groups, g->storage, g->part);
	MEM_FREE(lt->mem, g);
}

static void lock_drop_if_idle(struct lock_table *lt, struct lock *l)
{
	if (!list_empty(&l->holders) || !list_empty(&l->queue))
		return;
	group_remove(lt, l);
	bmap_remove(&lt->locks, l->key, l->key_len);
	mem_free(lt->mem, l, sizeof *l + l->key_len);
}

static bool in_the_way(const struct holding *h, const struct lock_request *rq, uint8_t mode)
{
	return h->owner != rq->owner && conflict(h->mode, mode) && !(rq->early && h->owner->passes);
}

static bool grantable(const struct lock *l, const struct lock_request *rq, uint8_t mode)
{
	LIST_FOREACH(it, (struct list *)&l->holders) {
		const struct holding *h = CONTAINER_OF(it, struct holding, of_lock);

		if (in_the_way(h, rq, mode))
			return false;
	}
	return true;
}

static struct holding *holding_of(const struct lock *l, const struct owner *ow)
{
	LIST_FOREACH(it, (struct list *)&l->holders) {
		struct holding *h = CONTAINER_OF(it, struct holding, of_lock);

		if (h->owner == ow)
			return h;
	}
	return NULL;
}

static void grant(struct lock_table *lt, struct lock *l, struct owner *ow, uint8_t mode)
{
	struct holding *h = holding_of(l, ow);

	if (h) {
		if (mode > h->mode) {
			h->mode = mode;
			list_remove(&h->of_lock);
			list_push_back(&l->holders, &h->of_lock); /* in the order in which they got what they hold */
		}
		return;
	}
	h = MEM_NEW(lt->mem, struct holding);
	h->lock = l;
	h->owner = ow;
	h->mode = mode;
	list_push_back(&l->holders, &h->of_lock);
	list_push_back(&ow->holdings, &h->of_owner);
}

/* Before the first that waits for what the item's owner holds; at the back when there is none. */
static void queue_place(struct lock *l, struct item *it, const struct holding *held)
{
	LIST_FOREACH(at, &l->queue) {
		const struct item *q = CONTAINER_OF(at, struct item, of_lock);

		if (held && q->rq->owner != it->rq->owner && conflict(held->mode, q->mode)) {
			list_insert_before(at, &it->of_lock);
			return;
		}
	}
	list_push_back(&l->queue, &it->of_lock);
}

struct lock_request *lock_request_new(struct lock_table *lt, engine_id engine, txn_id txn, uint64_t start_us,
				      uint64_t now_us, void (*done)(void *ctx, struct lock_request *rq), void *ctx)
{
	struct lock_request *rq = MEM_NEW(lt->mem, struct lock_request);

	rq->lt = lt;
	rq->owner = owner_get(lt, engine, txn);
	rq->start_us = start_us;
	rq->since_us = now_us;
	rq->done = done;
	rq->ctx = ctx;
	list_init(&rq->waiting);
	list_push_back(&rq->owner->requests, &rq->of_owner);
	return rq;
}

bool lock_request_add(struct lock_request *rq, const void *key, uint32_t key_len, enum row_lock mode)
{
	struct lock_table *lt = rq->lt;
	struct lock *l = bmap_find(&lt->locks, key, key_len);
	struct holding *held;
	struct item *it;

	if (!l) {
		l = mem_alloc(lt->mem, sizeof *l + key_len);
		l->key_len = key_len;
		memcpy(l->key, key, key_len);
		list_init(&l->holders);
		list_init(&l->queue);
		l->group = NULL;
		group_add(lt, l);
		bmap_put(&lt->locks, key, key_len, l);
	}
	held = holding_of(l, rq->owner);
	if (held && held->mode >= mode)
		return true;
	it = MEM_NEW(lt->mem, struct item);
	it->lock = l;
	it->rq = rq;
	it->mode = (uint8_t)mode;
	queue_place(l, it, held);
	if (l->queue.next == &it->of_lock && grantable(l, rq, (uint8_t)mode)) {
		list_remove(&it->of_lock);
		MEM_FREE(lt->mem, it);
		grant(lt, l, rq->owner, (uint8_t)mode);
		return true;
	}
	it->next = rq->items;
	rq->items = it;
	if (rq->pending++ == 0)
		list_push_back(&lt->waiting, &rq->waiting);
	return false;
}

void lock_request_early(struct lock_request *rq)
{
	ASSERT(!rq->items);
	rq->early = true;
}

bool lock_request_granted(const struct lock_request *rq)
{
	return rq->pending == 0;
}

/* An owner got the lock in some mode while others of its items wait here too: now those may be upgrades. */
static void replace_items(struct lock *l, const struct owner *ow)
{
	const struct holding *held = holding_of(l, ow);
	struct list *first = NULL; /* of those that wait for this owner; what is before it keeps its place */

	LIST_FOREACH_SAFE(at, tmp, &l->queue) {
		const struct item *q = CONTAINER_OF(at, struct item, of_lock);

		if (q->rq->owner != ow) {
			if (!first && conflict(held->mode, q->mode))
				first = at;
		} else if (first) {
			list_remove(at);
			list_insert_before(first, at);
		}
	}
}

/* Grants from the front of the queue for as long as it goes. */
static void advance(struct lock_table *lt, struct lock *l)
{
	while (!list_empty(&l->queue)) {
		struct item *it = CONTAINER_OF(l->queue.next, struct item, of_lock);
		struct lock_request *rq = it->rq;

		if (!grantable(l, rq, it->mode))
			break;
		list_remove(&it->of_lock);
		it->lock = NULL;
		grant(lt, l, rq->owner, it->mode);
		if (--rq->pending == 0) {
			list_remove(&rq->waiting);
			list_push_back(&lt->ready, &rq->waiting);
		}
		if (rq->pending || rq->owner->requests.next != rq->owner->requests.prev)
			replace_items(l, rq->owner);
	}
	lock_drop_if_idle(lt, l);
}

static void tell_ready(struct lock_table *lt)
{
	while (!list_empty(&lt->ready)) {
		struct lock_request *rq = CONTAINER_OF(lt->ready.next, struct lock_request, waiting);

		list_remove(&rq->waiting);
		rq->done(rq->ctx, rq);
	}
}

void lock_request_free(struct lock_request *rq)
{
	struct lock_table *lt = rq->lt;

	list_remove(&rq->waiting);
	while (rq->items) {
		struct item *it = rq->items;

		rq->items = it->next;
		if (it->lock) {
			struct lock *l = it->lock;

			list_remove(&it->of_lock);
			it->lock = NULL;
			MEM_FREE(lt->mem, it);
			advance(lt, l);
		} else {
			MEM_FREE(lt->mem, it);
		}
	}
	list_remove(&rq->of_owner);
	owner_drop_if_idle(lt, rq->owner);
	MEM_FREE(lt->mem, rq);
	tell_ready(lt);
}

static void release(struct lock_table *lt, struct owner *ow)
{
	struct list ending;

	/* apart: what advance() gives to a request of its own that still waits is not released with the rest */
	list_init(&ending);
	while (!list_empty(&ow->holdings)) {
		struct list *it = ow->holdings.next;

		list_remove(it);
		list_push_back(&ending, it);
	}
	while (!list_empty(&ending)) {
		struct holding *h = CONTAINER_OF(ending.next, struct holding, of_owner);
		struct lock *l = h->lock;

		list_remove(&h->of_lock);
		list_remove(&h->of_owner);
		MEM_FREE(lt->mem, h);
		advance(lt, l);
	}
	owner_drop_if_idle(lt, ow);
}

void lock_release_owner(struct lock_table *lt, engine_id engine, txn_id txn)
{
	struct owner *ow = map_find2(&lt->owners, engine, txn);

	if (ow)
		release(lt, ow);
	tell_ready(lt);
}

void lock_release_engine(struct lock_table *lt, engine_id engine)
{
	struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&lt->owners, &at))) {
		struct owner *ow = s->value;

		if (ow->engine == engine)
			release(lt, ow); /* removes no other owner than this one */
	}
	tell_ready(lt);
}

void lock_pass_owner(struct lock_table *lt, engine_id engine, txn_id txn)
{
	struct owner *ow = map_find2(&lt->owners, engine, txn);

	if (!ow || ow->passes)
		return;
	ow->passes = true;
	LIST_FOREACH(it, &ow->holdings) /* the owner goes on holding them, so none is dropped */
		advance(lt, CONTAINER_OF(it, struct holding, of_owner)->lock);
	tell_ready(lt);
}

struct lock_owner_id lock_passed_by(const struct lock_table *lt, const void *key, uint32_t key_len, engine_id engine, txn_id txn,
				    uint32_t nth)
{
	const struct lock *l = bmap_find(&lt->locks, key, key_len);
	const struct owner *ow = map_find2(&lt->owners, engine, txn);
	const struct holding *own = l && ow ? holding_of(l, ow) : NULL;
	struct list *it;

	if (!own)
		return (struct lock_owner_id){0, 0};
	for (it = own->of_lock.prev; it != &l->holders; it = it->prev) { /* in order of their grants */
		const struct holding *h = CONTAINER_OF(it, struct holding, of_lock);

		if (h->owner->passes && conflict(h->mode, own->mode) && nth-- == 0)
			return (struct lock_owner_id){h->owner->engine, h->owner->txn};
	}
	return (struct lock_owner_id){0, 0};
}

void lock_table_free(struct lock_table *lt)
{
	struct map_slot *s;
	size_t at = 0;

	/* users free their requests first; holdings without waiters may remain */
	ASSERT(list_empty(&lt->waiting) && list_empty(&lt->ready));
	while ((s = map_next(&lt->owners, &at))) {
		struct owner *ow = s->value;

		ASSERT(list_empty(&ow->requests));
		while (!list_empty(&ow->holdings)) {
			struct holding *h = CONTAINER_OF(ow->holdings.next, struct holding, of_owner);
			struct lock *l = h->lock;

			list_remove(&h->of_lock);
			list_remove(&h->of_owner);
			MEM_FREE(lt->mem, h);
			lock_drop_if_idle(lt, l);
		}
		MEM_FREE(lt->mem, ow);
	}
	map_fini(&lt->owners);
	bmap_fini(&lt->locks);
	map_fini(&lt->groups);
	MEM_FREE(lt->mem, lt);
}

static bool group_any(const struct group *g, row_id lo, row_id hi)
{
	LIST_FOREACH(it, (struct list *)&g->locks) {
		row_id row;

		memcpy(&row, CONTAINER_OF(it, struct lock, of_group)->key + 9, 8);
		if (row >= lo && row < hi)
			return true;
	}
	return false;
}

bool lock_any_rows(const struct lock_table *lt, rel_id storage, row_id lo, row_id hi)
{
	uint64_t first = lo / GROUP_ROWS, last = hi ? (hi - 1) / GROUP_ROWS : 0;
	struct map_slot *s;
	size_t at = 0;

	if (lo >= hi)
		return false;
	for (uint64_t part = first; last - first < lt->groups.count && part <= last; part++) {
		const struct group *g = map_find2(&lt->groups, storage, part);

		if (g && group_any(g, lo, hi))
			return true;
	}
	while (last - first >= lt->groups.count && (s = map_next(&lt->groups, &at))) { /* fewer groups than parts */
		const struct group *g = s->value;

		if (g->storage == storage && g->part >= first && g->part <= last && group_any(g, lo, hi))
			return true;
	}
	return false;
}

bool lock_any_keys(const struct lock_table *lt, rel_id storage)
{
	return map_find2(&lt->groups, storage, GROUP_KEYS) != NULL;
}

uint32_t lock_blockers(const struct lock_request *rq, struct lock_owner_id *out, uint32_t max)
{
	uint32_t n = 0;

	for (const struct item *it = rq->items; it; it = it->next) {
		if (!it->lock)
			continue;
		LIST_FOREACH(h_it, &it->lock->holders) {
			const struct holding *h = CONTAINER_OF(h_it, struct holding, of_lock);

			if (n < max && in_the_way(h, rq, it->mode))
				out[n++] = (struct lock_owner_id){h->owner->engine, h->owner->txn};
		}
		/* and who is just before it in the queue: that one's own blockers include the others before it */
		for (struct list *q_it = it->of_lock.prev; q_it != &it->lock->queue; q_it = q_it->prev) {
			const struct item *q = CONTAINER_OF(q_it, struct item, of_lock);

			if (q->rq->owner == rq->owner)
				continue;
			if (n < max)
				out[n++] = (struct lock_owner_id){q->rq->owner->engine, q->rq->owner->txn};
			break;
		}
	}
	return n;
}

struct lock_owner_id lock_request_owner(const struct lock_request *rq)
{
	return (struct lock_owner_id){rq->owner->engine, rq->owner->txn};
}

struct lock_request *lock_waiting_next(struct lock_table *lt, struct lock_request *after, uint64_t since_us)
{
	for (struct list *it = after ? after->waiting.next : lt->waiting.next; it != &lt->waiting; it = it->next) {
		struct lock_request *rq = CONTAINER_OF(it, struct lock_request, waiting);

		if (rq->since_us <= since_us)
			return rq;
	}
	return NULL;
}

struct lock_request *lock_waiting_of(struct lock_table *lt, engine_id engine, txn_id txn, struct lock_request *after)
{
	struct owner *ow = map_find2(&lt->owners, engine, txn);
	struct list *it;

	if (!ow)
		return NULL;
	for (it = after ? after->of_owner.next : ow->requests.next; it != &ow->requests; it = it->next) {
		struct lock_request *rq = CONTAINER_OF(it, struct lock_request, of_owner);

		if (rq->pending)
			return rq;
	}
	return NULL;
}

uint64_t lock_request_start_us(const struct lock_request *rq)
{
	return rq->start_us;
}

uint64_t lock_count(const struct lock_table *lt)
{
	return lt->locks.count;
}

void lock_each(const struct lock_table *lt, void *ctx,
	       void (*fn)(void *ctx, const uint8_t *key, uint32_t key_len, struct lock_owner_id owner, enum row_lock mode, bool granted))
{
	struct bmap_slot *s;
	size_t at = 0;

	while ((s = bmap_next(&lt->locks, &at))) {
		const struct lock *l = s->value;

		LIST_FOREACH(it, (struct list *)&l->holders) {
			const struct holding *h = CONTAINER_OF(it, struct holding, of_lock);

			fn(ctx, l->key, l->key_len, (struct lock_owner_id){h->owner->engine, h->owner->txn}, (enum row_lock)h->mode,
			   true);
		}
		LIST_FOREACH(it, (struct list *)&l->queue) {
			const struct item *q = CONTAINER_OF(it, struct item, of_lock);

			fn(ctx, l->key, l->key_len, (struct lock_owner_id){q->rq->owner->engine, q->rq->owner->txn},
			   (enum row_lock)q->mode, false);
		}
	}
}
