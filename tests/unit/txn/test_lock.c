/*
 * test_lock.c - the lock table against a plain model: PostgreSQL's conflicts, fairness, no lost wake-up, whom one waits for.
 */
#include <CUnit/CUnit.h>
#include <string.h>

#include "../unit.h"
#include "base/env.h"
#include "engine/txn/lock.h"

#define OWNERS 9
#define KEYS 4
#define REQUESTS 40
#define ITEMS 3

/* The model: per key the modes held and, in order, who waits. Written from PostgreSQL's table, not from lock.c. */
struct waiter { int request; int mode; };
struct m_key { int held[OWNERS]; struct waiter queue[REQUESTS * ITEMS]; int count; }; /* held: mode + 1; 0 none */
struct m_request { bool used, waits, early; int owner, told; struct lock_request *rq; };

static struct mem account;
static struct lock_table *lt;
static struct rng rnd;
static struct m_key keys[KEYS];
static struct m_request requests[REQUESTS];
static bool passes[OWNERS];
static int told_early;

static int setup(void)
{
	mem_init(&account, NULL, "test", 0);
	return 0;
}

static int teardown(void)
{
	return account.used_bytes != 0;
}

static int below(int n)
{
	return (int)rng_below(&rnd, (uint64_t)n);
}

static bool conflicts(int a, int b)
{
	if (a > b)
		return conflicts(b, a);
	switch (a) { /* the weaker one */
	case ROW_LOCK_KEY_SHARE:
		return b == ROW_LOCK_UPDATE;
	case ROW_LOCK_SHARE:
		return b == ROW_LOCK_NO_KEY_UPDATE || b == ROW_LOCK_UPDATE;
	default:
		return true;
	}
}

/* Is this owner's hold on the key in the way of the request? */
static bool in_the_way(const struct m_key *k, int o, int request, int mode)
{
	return o != requests[request].owner && k->held[o] && conflicts(k->held[o] - 1, mode) &&
	       !(requests[request].early && passes[o]);
}

static bool free_for(const struct m_key *k, int request, int mode)
{
	for (int o = 0; o < OWNERS; o++)
		if (in_the_way(k, o, request, mode))
			return false;
	return true;
}

static void m_hold(struct m_key *k, int owner, int mode)
{
	if (k->held[owner] < mode + 1)
		k->held[owner] = mode + 1;
}

/* Where a request of this owner goes: before the first that waits for what it holds. */
static int place(const struct m_key *k, int owner)
{
	for (int i = 0; k->held[owner] && i < k->count; i++)
		if (requests[k->queue[i].request].owner != owner && conflicts(k->held[owner] - 1, k->queue[i].mode))
			return i;
	return k->count;
}

static bool m_waits(int request)
{
	for (int k = 0; k < KEYS; k++)
		for (int i = 0; i < keys[k].count; i++)
			if (keys[k].queue[i].request == request)
				return true;
	return false;
}

static void m_advance(struct m_key *k)
{
	while (k->count && free_for(k, k->queue[0].request, k->queue[0].mode)) {
		struct waiter first = k->queue[0];
		int owner = requests[first.request].owner, at;

		memmove(k->queue, k->queue + 1, (size_t)--k->count * sizeof first);
		m_hold(k, owner, first.mode);
		at = place(k, owner);
		for (int i = at; i < k->count; i++) { /* its others here are upgrades now */
			struct waiter w = k->queue[i];

			if (requests[w.request].owner != owner)
				continue;
			memmove(&k->queue[at + 1], &k->queue[at], (size_t)(i - at) * sizeof w);
			k->queue[at++] = w;
		}
	}
}

static bool m_add(int request, int key, int mode)
{
	struct m_key *k = &keys[key];
	int owner = requests[request].owner, at = place(k, owner);

	if (k->held[owner] >= mode + 1)
		return true;
	if (at == 0 && free_for(k, request, mode)) {
		m_hold(k, owner, mode);
		return true;
	}
	memmove(&k->queue[at + 1], &k->queue[at], (size_t)(k->count++ - at) * sizeof k->queue[0]);
	k->queue[at] = (struct waiter){request, mode};
	return false;
}

static void m_forget(int request)
{
	for (int k = 0; k < KEYS; k++) {
		int kept = 0;

		for (int i = 0; i < keys[k].count; i++)
			if (keys[k].queue[i].request != request)
				keys[k].queue[kept++] = keys[k].queue[i];
		keys[k].count = kept;
	}
}

static engine_id engine_of(int owner)
{
	return (engine_id)(1 + owner / 3);
}

static txn_id txn_of(int owner)
{
	return (txn_id)(10 + owner);
}

static uint32_t key_of(int key, uint8_t out[17])
{
	return lock_key_row(out, 7, (row_id)(100 + key));
}

static void done(void *ctx, struct lock_request *rq)
{
	struct m_request *r = ctx;

	r->told++;
	if (r->rq != rq || !lock_request_granted(rq))
		told_early++;
}

/* Edges of the model, from the owner of a waiting request: conflicting holders, and all that are before it. */
static void m_edges(int request, bool to[OWNERS][OWNERS])
{
	int owner = requests[request].owner;

	for (int k = 0; k < KEYS; k++)
		for (int i = 0; i < keys[k].count; i++) {
			if (keys[k].queue[i].request != request)
				continue;
			for (int o = 0; o < OWNERS; o++)
				if (in_the_way(&keys[k], o, request, keys[k].queue[i].mode))
					to[owner][o] = true;
			for (int b = 0; b < i; b++)
				if (requests[keys[k].queue[b].request].owner != owner)
					to[owner][requests[keys[k].queue[b].request].owner] = true;
		}
}

static void closure(bool to[OWNERS][OWNERS])
{
	for (int via = 0; via < OWNERS; via++)
		for (int a = 0; a < OWNERS; a++)
			for (int b = 0; b < OWNERS; b++)
				to[a][b] = to[a][b] || (to[a][via] && to[via][b]);
}

/*
 * Following the blockers that the library names, request by request, one comes to exactly those that one waits for, so a
 * probe finds each cycle; and each named is one of them.
 */
static void check_blockers(void)
{
	bool model[OWNERS][OWNERS] = {{false}}, named[OWNERS][OWNERS] = {{false}};

	for (int i = 0; i < REQUESTS; i++)
		if (requests[i].used && m_waits(i))
			m_edges(i, model);
	for (int i = 0; i < REQUESTS; i++) {
		struct lock_owner_id got[64];
		uint32_t n = requests[i].used ? lock_blockers(requests[i].rq, got, 64) : 0;

		for (uint32_t k = 0; k < n; k++) {
			int o = (int)(got[k].txn - 10);

			CU_ASSERT(o >= 0 && o < OWNERS && got[k].engine == engine_of(o) && model[requests[i].owner][o]);
			named[requests[i].owner][o] = true;
		}
	}
	closure(model);
	closure(named);
	CU_ASSERT(memcmp(model, named, sizeof named) == 0);
	for (int i = 0; i < REQUESTS; i++) /* who waits, waits for somebody */
		if (requests[i].used && m_waits(i)) {
			bool any = false;

			for (int o = 0; o < OWNERS; o++)
				any = any || model[requests[i].owner][o];
			CU_ASSERT(any);
		}
}

static void check_all(void)
{
	uint32_t waiting = 0, listed = 0;

	for (int i = 0; i < REQUESTS; i++) {
		struct m_request *r = &requests[i];

		if (!r->used)
			continue;
		CU_ASSERT_EQUAL(lock_request_granted(r->rq), !m_waits(i));
		CU_ASSERT_EQUAL(r->told, r->waits && !m_waits(i)); /* once, when it had to wait and is through */
		waiting += m_waits(i);
	}
	check_blockers();
	for (struct lock_request *rq = NULL; (rq = lock_waiting_next(lt, rq, UINT64_MAX));)
		listed++;
	CU_ASSERT_EQUAL(listed, waiting);
	listed = 0;
	for (int o = 0; o < OWNERS; o++)
		for (struct lock_request *rq = NULL; (rq = lock_waiting_of(lt, engine_of(o), txn_of(o), rq));)
			listed++;
	CU_ASSERT_EQUAL(listed, waiting);
	for (int k = 0; k < KEYS; k++) {
		bool any = keys[k].count > 0;

		for (int o = 0; o < OWNERS; o++)
			any = any || keys[k].held[o];
		CU_ASSERT_EQUAL(lock_any_rows(lt, 7, (row_id)(100 + k), (row_id)(101 + k)), any);
		/* nobody waits without reason: the first of each queue conflicts with a holder */
		CU_ASSERT(!keys[k].count || !free_for(&keys[k], keys[k].queue[0].request, keys[k].queue[0].mode));
	}
	CU_ASSERT_EQUAL(told_early, 0);
}

static void request_free(int i)
{
	requests[i].used = false;
	m_forget(i);
	lock_request_free(requests[i].rq);
	for (int k = 0; k < KEYS; k++)
		m_advance(&keys[k]);
}

static void owner_end(int o)
{
	for (int i = 0; i < REQUESTS; i++)
		if (requests[i].used && requests[i].owner == o)
			request_free(i);
	lock_release_owner(lt, engine_of(o), txn_of(o));
	passes[o] = false;
	for (int k = 0; k < KEYS; k++)
		keys[k].held[o] = 0;
	for (int k = 0; k < KEYS; k++)
		m_advance(&keys[k]);
}

static void engine_end(engine_id e)
{
	for (int i = 0; i < REQUESTS; i++)
		if (requests[i].used && engine_of(requests[i].owner) == e)
			request_free(i);
	lock_release_engine(lt, e);
	for (int o = 0; o < OWNERS; o++)
		passes[o] = passes[o] && engine_of(o) != e;
	for (int o = 0; o < OWNERS; o++)
		for (int k = 0; k < KEYS && engine_of(o) == e; k++)
			keys[k].held[o] = 0;
	for (int k = 0; k < KEYS; k++)
		m_advance(&keys[k]);
}

/* It is submitted: what it holds is in the way of early requests no longer. */
static void owner_pass(int o)
{
	bool holds = false;

	for (int k = 0; k < KEYS; k++)
		holds = holds || keys[k].held[o];
	if (!holds)
		return;
	passes[o] = true;
	lock_pass_owner(lt, engine_of(o), txn_of(o));
	for (int k = 0; k < KEYS; k++)
		m_advance(&keys[k]);
}

/* Of whom an owner took a key over: all that pass and hold it in a mode that conflicts with its own. */
static void check_passed(void)
{
	for (int k = 0; k < KEYS; k++)
		for (int o = 0; o < OWNERS; o++) {
			uint8_t name[17];
			uint32_t len = key_of(k, name);
			struct lock_owner_id by;
			uint32_t n = 0, want = 0;

			for (int h = 0; h < OWNERS && keys[k].held[o]; h++)
				want += h != o && passes[h] && keys[k].held[h] && conflicts(keys[k].held[h] - 1, keys[k].held[o] - 1);
			while ((by = lock_passed_by(lt, name, len, engine_of(o), txn_of(o), n)).engine) {
				int b = (int)by.txn - 10;

				CU_ASSERT(keys[k].held[o] && b != o && passes[b] && keys[k].held[b] &&
					  conflicts(keys[k].held[b] - 1, keys[k].held[o] - 1));
				n++;
			}
			CU_ASSERT(passes[o] ? n <= want : n == want); /* who passes may have been followed */
		}
}

static void request_new(int i)
{
	int n = 1 + below(ITEMS);
	bool all = true;

	requests[i] = (struct m_request){.used = true, .owner = below(OWNERS)};
	requests[i].rq = lock_request_new(lt, engine_of(requests[i].owner), txn_of(requests[i].owner), 1, 5, done,
					  &requests[i]);
	requests[i].early = !below(3);
	if (requests[i].early)
		lock_request_early(requests[i].rq);
	while (n--) {
		int key = below(KEYS), mode = below(4);
		uint8_t name[17];
		uint32_t len = key_of(key, name);
		bool got = lock_request_add(requests[i].rq, name, len, (enum row_lock)mode);

		CU_ASSERT_EQUAL(got, m_add(i, key, mode));
		all = all && got;
	}
	requests[i].waits = !all;
	CU_ASSERT_EQUAL(requests[i].told, 0); /* never from add */
}

/* Random requests, upgrades, ends of requests, owners and engines: who holds, waits and is told is the model's. */
static void test_lock_random(void)
{
	for (uint64_t seed = 1; seed <= 30; seed++) {
		rng_init(&rnd, seed);
		lt = lock_table_new(&account);
		memset(keys, 0, sizeof keys);
		memset(requests, 0, sizeof requests);
		memset(passes, 0, sizeof passes);
		for (int step = 0; step < 600; step++) {
			int what = below(20), i = below(REQUESTS);

			if (what < 12 && !requests[i].used)
				request_new(i);
			else if (what < 16 && requests[i].used)
				request_free(i);
			else if (what == 16 || what == 17)
				owner_end(below(OWNERS));
			else if (what == 19)
				owner_pass(below(OWNERS));
			else if (what == 18 && !below(4))
				engine_end((engine_id)(1 + below(3)));
			check_all();
			check_passed();
		}
		for (int o = 0; o < OWNERS; o++)
			owner_end(o);
		check_all();
		CU_ASSERT_EQUAL(lock_count(lt), 0);
		lock_table_free(lt);
	}
}

static uint8_t name_a[17], name_b[17];

static struct lock_request *ask(int owner, const uint8_t name[17], enum row_lock mode, bool *got_out)
{
	struct m_request *r = &requests[owner];

	*r = (struct m_request){.used = true, .owner = owner};
	r->rq = lock_request_new(lt, engine_of(owner), txn_of(owner), 1, (uint64_t)owner, done, r);
	*got_out = lock_request_add(r->rq, name, 17, mode);
	return r->rq;
}

static void open_table(void)
{
	lt = lock_table_new(&account);
	memset(requests, 0, sizeof requests);
	key_of(0, name_a);
	key_of(1, name_b);
}

/* A newcomer that would not conflict with the holder does not pass one who waits. */
static void test_lock_fair(void)
{
	struct lock_request *rq[3];
	bool got;

	open_table();
	rq[0] = ask(0, name_a, ROW_LOCK_SHARE, &got);
	CU_ASSERT(got);
	rq[1] = ask(1, name_a, ROW_LOCK_UPDATE, &got);
	CU_ASSERT(!got);
	rq[2] = ask(2, name_a, ROW_LOCK_SHARE, &got);
	CU_ASSERT(!got);
	lock_request_free(rq[0]);
	CU_ASSERT(!lock_request_granted(rq[1])); /* what is granted stays the owner's */
	lock_release_owner(lt, engine_of(0), txn_of(0));
	CU_ASSERT(lock_request_granted(rq[1]) && !lock_request_granted(rq[2]));
	lock_request_free(rq[1]);
	lock_release_owner(lt, engine_of(1), txn_of(1));
	CU_ASSERT(lock_request_granted(rq[2]));
	lock_request_free(rq[2]);
	lock_release_owner(lt, engine_of(2), txn_of(2));
	CU_ASSERT_EQUAL(lock_count(lt), 0);
	lock_table_free(lt);
}

/* An upgrade goes before those who wait for its owner (else both would wait for ever), not before an earlier upgrade. */
static void test_lock_upgrade(void)
{
	struct lock_request *rq[3], *up[2];
	bool got;

	open_table();
	rq[0] = ask(0, name_a, ROW_LOCK_KEY_SHARE, &got);
	rq[1] = ask(1, name_a, ROW_LOCK_SHARE, &got);
	CU_ASSERT(got);
	rq[2] = ask(2, name_a, ROW_LOCK_UPDATE, &got);
	CU_ASSERT(!got);
	up[0] = lock_request_new(lt, engine_of(0), txn_of(0), 1, 1, done, &requests[3]);
	requests[3] = (struct m_request){.used = true, .rq = up[0]};
	CU_ASSERT(!lock_request_add(up[0], name_a, 17, ROW_LOCK_NO_KEY_UPDATE)); /* 1 holds SHARE */
	lock_request_free(rq[1]);
	lock_release_owner(lt, engine_of(1), txn_of(1));
	CU_ASSERT(lock_request_granted(up[0]) && !lock_request_granted(rq[2]));
	CU_ASSERT_EQUAL(requests[3].told, 1);
	lock_request_free(up[0]);
	lock_request_free(rq[0]);
	lock_release_owner(lt, engine_of(0), txn_of(0));
	CU_ASSERT(lock_request_granted(rq[2]));
	lock_request_free(rq[2]);
	lock_release_engine(lt, engine_of(2));
	CU_ASSERT_EQUAL(lock_count(lt), 0);
	lock_table_free(lt);
}

static void done_ends_all(void *ctx, struct lock_request *rq)
{
	struct m_request *r = ctx;

	r->told++;
	r->used = false;
	lock_request_free(rq);
	lock_release_owner(lt, engine_of(r->owner), txn_of(r->owner));
}

/* A callback may end its own owner, and with it wake the next, while the one who woke it is still at work. */
static void test_lock_callback(void)
{
	struct lock_request *first;
	bool got;

	open_table();
	first = ask(0, name_a, ROW_LOCK_UPDATE, &got);
	CU_ASSERT(lock_request_add(first, name_b, 17, ROW_LOCK_UPDATE));
	for (int o = 1; o < OWNERS; o++) {
		requests[o] = (struct m_request){.used = true, .owner = o};
		requests[o].rq = lock_request_new(lt, engine_of(o), txn_of(o), 1, 1, done_ends_all, &requests[o]);
		CU_ASSERT(!lock_request_add(requests[o].rq, name_a, 17, ROW_LOCK_UPDATE));
		CU_ASSERT(!lock_request_add(requests[o].rq, name_b, 17, ROW_LOCK_UPDATE));
	}
	lock_request_free(first);
	lock_release_owner(lt, engine_of(0), txn_of(0));
	for (int o = 1; o < OWNERS; o++)
		CU_ASSERT(requests[o].told == 1 && !requests[o].used);
	CU_ASSERT_EQUAL(lock_count(lt), 0);
	lock_table_free(lt);
}

/* Those who wait since before a time, whatever their place in the list. */
static void test_lock_since(void)
{
	struct lock_request *rq[4];
	uint32_t n = 0;
	bool got;

	open_table();
	rq[0] = ask(0, name_a, ROW_LOCK_UPDATE, &got);
	rq[3] = ask(3, name_a, ROW_LOCK_UPDATE, &got);
	rq[1] = ask(1, name_a, ROW_LOCK_UPDATE, &got);
	rq[2] = ask(2, name_a, ROW_LOCK_UPDATE, &got);
	for (struct lock_request *it = NULL; (it = lock_waiting_next(lt, it, 2)); n++)
		CU_ASSERT(it == rq[1] || it == rq[2]);
	CU_ASSERT_EQUAL(n, 2);
	for (int i = 0; i < 4; i++) {
		lock_request_free(rq[i]);
		lock_release_owner(lt, engine_of(i), txn_of(i));
	}
	lock_table_free(lt);
}

/* Rows and keys of a storage are told apart, and ranges of rows from their neighbours. */
static void test_lock_names(void)
{
	uint8_t name[LOCK_KEY_MAX];
	struct lock_request *rq;
	bool got;

	open_table();
	rq = ask(0, name_a, ROW_LOCK_UPDATE, &got); /* storage 7, row 100 */
	CU_ASSERT(lock_any_rows(lt, 7, 100, 101) && lock_any_rows(lt, 7, 0, UINT64_MAX));
	CU_ASSERT(!lock_any_rows(lt, 7, 101, 200) && !lock_any_rows(lt, 7, 0, 100) && !lock_any_rows(lt, 8, 0, 200));
	CU_ASSERT(!lock_any_keys(lt, 7));
	CU_ASSERT(lock_request_add(rq, name, lock_key_key(name, 9, "key", 3), ROW_LOCK_UPDATE));
	CU_ASSERT(lock_any_keys(lt, 9) && !lock_any_keys(lt, 7) && !lock_any_rows(lt, 9, 0, UINT64_MAX));
	lock_request_free(rq);
	lock_table_free(lt); /* holdings may remain */
}

static void never(void *ctx, struct lock_request *rq)
{
	(void)ctx;
	(void)rq;
	CU_FAIL("nothing waits here");
}

/* Whether any row of a range is locked: as a walk over all would say, for ranges within, at and over a group's bounds. */
static void test_lock_ranges(void)
{
	static const row_id bounds[] = {0, 1, 2, 4095, 4096, 4097, 8191, 8192, 8193, 12288, 1 << 20, (1 << 20) + 4096,
					(row_id)1 << 62, UINT64_MAX};
	enum { N = sizeof bounds / sizeof bounds[0] };
	struct lock_request *rq[24];
	row_id rows[24];
	txn_id owners[24];
	uint8_t name[17];
	int n = 0;

	open_table();
	rng_init(&rnd, 12);
	for (int round = 0; round < 400; round++) {
		if (n == 24 || (n && below(3) == 0)) { /* one goes */
			int gone = below(n);

			lock_request_free(rq[gone]);
			lock_release_owner(lt, 1, owners[gone]);
			rq[gone] = rq[--n];
			rows[gone] = rows[n];
			owners[gone] = owners[n];
		} else {
			rows[n] = bounds[below(N - 1)] + (uint64_t)below(3);
			owners[n] = (txn_id)round + 1;
			rq[n] = lock_request_new(lt, 1, owners[n], 1, 1, never, NULL);
			(void)lock_request_add(rq[n], name, lock_key_row(name, 5, rows[n]), ROW_LOCK_SHARE);
			n++;
		}
		for (int lo = 0; lo < N; lo++)
			for (int hi = 0; hi < N; hi++) {
				bool any = false;

				for (int i = 0; i < n; i++)
					any = any || (rows[i] >= bounds[lo] && rows[i] < bounds[hi]);
				CU_ASSERT_EQUAL(lock_any_rows(lt, 5, bounds[lo], bounds[hi]), any);
			}
		CU_ASSERT(!lock_any_keys(lt, 5) && !lock_any_rows(lt, 6, 0, UINT64_MAX));
	}
	while (n)
		lock_request_free(rq[--n]);
	lock_table_free(lt);
}

void suite_txn_lock(void)
{
	CU_pSuite s = CU_add_suite("txn_lock", setup, teardown);

	CU_add_test(s, "random", test_lock_random);
	CU_add_test(s, "fair", test_lock_fair);
	CU_add_test(s, "upgrade", test_lock_upgrade);
	CU_add_test(s, "callback", test_lock_callback);
	CU_add_test(s, "since", test_lock_since);
	CU_add_test(s, "names", test_lock_names);
	CU_add_test(s, "ranges", test_lock_ranges);
}
