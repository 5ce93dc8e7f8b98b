/*
 * test_ranges.c - sets of ranges against bitmaps; claims of committing transactions against a plain model.
 */
#include <CUnit/CUnit.h>
#include <string.h>

#include "../unit.h"
#include "base/env.h"
#include "engine/txn/certify.h"

#define POINTS 200 /* of each of two storages, in each of two spaces */
#define GROUPS 4
#define TXNS 6

typedef uint8_t bitmap[GROUPS][POINTS + 1]; /* the last: all that lies behind */

static struct mem account;
static struct rng rnd;

static int setup(void)
{
	mem_init(&account, NULL, "test", 0);
	rng_init(&rnd, 11);
	return 0;
}

static int teardown(void)
{
	return account.used_bytes != 0;
}

static uint32_t below(uint32_t n)
{
	return (uint32_t)rng_below(&rnd, n);
}

/* Keys of different lengths, in the order of their numbers: two bytes, then as many zeroes as the number's last digit. */
static uint32_t key_of(uint8_t out[16], uint32_t number)
{
	out[0] = (uint8_t)(number / 10);
	memset(out + 1, 0, 15);
	return 1 + number % 10;
}

static void add(struct range_set *s, bitmap m, uint32_t group, uint32_t lo, uint32_t hi) /* hi POINTS + 1: no end */
{
	uint8_t l[16], h[16];
	uint32_t l_len, h_len;

	for (uint32_t i = lo; i < hi; i++)
		m[group][i] = 1;
	if (group < 2) {
		ranges_add_rows(s, 7 + group, lo, hi > POINTS ? 0 : hi);
		return;
	}
	l_len = key_of(l, lo);
	if (hi == lo + 1 && below(2)) { /* the next key in this order, too, where the length grows */
		if (lo % 10 != 9) {
			ranges_add_key(s, 7 + group, l, l_len);
			return;
		}
	}
	h_len = key_of(h, hi);
	ranges_add(s, RANGE_KEYS, 7 + group, l, l_len, h, hi > POINTS ? 0 : h_len);
}

static void random_set(struct range_set *s, bitmap m, uint32_t count)
{
	memset(m, 0, sizeof(bitmap));
	for (uint32_t i = 0; i < count; i++) {
		uint32_t lo = below(POINTS), n = below(4) ? 1 : below(20);

		add(s, m, below(GROUPS), lo, !below(50) ? POINTS + 1 : lo + n > POINTS ? POINTS : lo + n);
	}
	ranges_settle(s);
}

static bool has(const struct range_set *s, uint32_t group, uint32_t point)
{
	struct range_set one;
	bitmap unused;
	bool meets;

	ranges_init(&one, &account, RANGES_MAX);
	add(&one, unused, group, point, point == POINTS ? POINTS + 1 : point + 1);
	ranges_settle(&one);
	meets = ranges_meet(s, &one);
	CU_ASSERT_EQUAL(ranges_meet(&one, s), meets);
	ranges_fini(&one);
	return meets;
}

/* Below its limit a set has exactly what was added, in whatever order; settled, its ranges are in order and apart. */
static void test_ranges_exact(void)
{
	for (int round = 0; round < 200; round++) {
		struct range_set s;
		bitmap m;

		ranges_init(&s, &account, RANGES_MAX);
		random_set(&s, m, below(60));
		for (uint32_t g = 0; g < GROUPS; g++)
			for (uint32_t i = 0; i <= POINTS; i++)
				CU_ASSERT_EQUAL(has(&s, g, i), m[g][i]);
		for (size_t i = 1; i < s.all.count; i++)
			CU_ASSERT(!range_meets(&s.all.at[i - 1], &s.all.at[i]));
		ranges_fini(&s);
	}
}

/* Over its limit it has all that was added and perhaps more, in no more ranges than the limit, or one for each storage. */
static void test_ranges_limit(void)
{
	for (int round = 0; round < 200; round++) {
		struct range_set s;
		uint32_t limit = 1 + below(12);
		bitmap m;

		ranges_init(&s, &account, limit);
		random_set(&s, m, below(150));
		CU_ASSERT(s.all.count <= (limit > GROUPS ? limit : GROUPS));
		for (uint32_t g = 0; g < GROUPS; g++)
			for (uint32_t i = 0; i <= POINTS; i++)
				CU_ASSERT(!m[g][i] || has(&s, g, i));
		ranges_fini(&s);
	}
}

/* Two sets meet when their points do; a set comes over the wire as it was. */
static void test_ranges_meet(void)
{
	int met = 0;

	for (int round = 0; round < 2000; round++) {
		struct range_set a, b, copy;
		bitmap x, y;
		struct reader r;
		struct buf buf;
		bool any = false;

		ranges_init(&a, &account, RANGES_MAX);
		ranges_init(&b, &account, RANGES_MAX);
		random_set(&a, x, below(12));
		random_set(&b, y, below(12));
		for (uint32_t g = 0; g < GROUPS; g++)
			for (uint32_t i = 0; i <= POINTS; i++)
				any = any || (x[g][i] && y[g][i]);
		met += any;
		CU_ASSERT_EQUAL(ranges_meet(&a, &b), any);
		buf_init(&buf, &account);
		ranges_encode(&a, &buf);
		r = reader_init(buf.data, buf.size);
		CU_ASSERT_EQUAL(ranges_decode(&r, &account, &copy), ST_OK);
		CU_ASSERT_EQUAL(copy.all.count, a.all.count);
		CU_ASSERT_EQUAL(ranges_meet(&copy, &b), any);
		CU_ASSERT(ranges_empty(&a) || ranges_meet(&copy, &a));
		ranges_fini(&copy);
		/* what is damaged is refused or another set, never more than it may be */
		if (buf.size) {
			buf.data[below((uint32_t)buf.size)] ^= (uint8_t)(1 + below(255));
			r = reader_init(buf.data, buf.size);
			if (ranges_decode(&r, &account, &copy) == ST_OK)
				CU_ASSERT(copy.settled && copy.all.count <= RANGES_MAX);
			ranges_fini(&copy);
		}
		buf_fini(&buf);
		ranges_fini(&a);
		ranges_fini(&b);
	}
	CU_ASSERT(met > 200 && met < 1800);
}

struct m_claim { bool used; bitmap reads, writes, waiting; };

static bool meet(bitmap a, bitmap b)
{
	for (uint32_t g = 0; g < GROUPS; g++)
		for (uint32_t i = 0; i <= POINTS; i++)
			if (a[g][i] && b[g][i])
				return true;
	return false;
}

static void join(bitmap to, bitmap from)
{
	for (uint32_t g = 0; g < GROUPS; g++)
		for (uint32_t i = 0; i <= POINTS; i++)
			to[g][i] |= from[g][i];
}

/* Random claims and releases: read against write conflicts, write against read waits, whoever waits keeps later readers out. */
static void test_certify_model(void)
{
	static struct m_claim model[TXNS];
	static bitmap reads, writes;
	struct certify_table *ct = certify_new(&account);
	int seen[3] = {0};

	memset(model, 0, sizeof model);
	for (int round = 0; round < 5000; round++) {
		uint32_t n = below(TXNS);
		struct m_claim *own = &model[n];
		enum certified expected = CERTIFY_OK, got;
		struct range_set r, w;

		if (!below(3)) {
			CU_ASSERT_EQUAL(certify_release(ct, 1 + n / 3, n), own->used);
			memset(own, 0, sizeof *own);
			continue;
		}
		ranges_init(&r, &account, RANGES_MAX);
		ranges_init(&w, &account, RANGES_MAX);
		random_set(&r, reads, below(5));
		random_set(&w, writes, below(5));
		for (uint32_t i = 0; i < TXNS; i++) {
			if (i == n)
				continue;
			if (meet(reads, model[i].writes) || meet(reads, model[i].waiting))
				expected = CERTIFY_CONFLICT;
			else if (expected == CERTIFY_OK && meet(writes, model[i].reads))
				expected = CERTIFY_WAIT;
		}
		got = certify_try(ct, 1 + n / 3, n, &r, &w);
		CU_ASSERT_EQUAL(got, expected);
		seen[got]++;
		if (got == CERTIFY_OK) {
			join(own->reads, reads);
			join(own->writes, writes);
			memset(own->waiting, 0, sizeof own->waiting);
		} else if (got == CERTIFY_WAIT) {
			join(own->waiting, writes);
		}
		own->used = own->used || got != CERTIFY_CONFLICT;
		for (size_t i = 0; i < w.all.count; i++)
			CU_ASSERT(got == CERTIFY_CONFLICT || certify_any(ct, &w.all.at[i]));
		ranges_fini(&r);
		ranges_fini(&w);
	}
	CU_ASSERT(seen[0] > 200 && seen[1] > 200 && seen[2] > 200);
	certify_release_engine(ct, 1);
	certify_release_engine(ct, 2);
	CU_ASSERT_EQUAL(certify_count(ct), 0);
	certify_free(ct);
}

void suite_txn_ranges(void)
{
	CU_pSuite s = CU_add_suite("txn_ranges", setup, teardown);

	CU_add_test(s, "exact", test_ranges_exact);
	CU_add_test(s, "limit", test_ranges_limit);
	CU_add_test(s, "meet", test_ranges_meet);
	CU_add_test(s, "certify", test_certify_model);
}
