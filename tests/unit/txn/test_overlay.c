/*
 * test_overlay.c - a transaction's own writes against a plain model: what each statement sees, savepoints, keys in order.
 */
#include <CUnit/CUnit.h>
#include <string.h>

#include "../unit.h"
#include "base/env.h"
#include "engine/txn/overlay.h"

#define ROWS 60
#define KEYS 60
#define COLUMNS 3
#define SAVED 6

/* The model keeps whole states, one for each statement that ended and each savepoint. */
struct m_row { uint8_t change; bool has[COLUMNS]; int64_t v[COLUMNS]; uint32_t bytes; }; /* change 0: untouched */
struct m_key { bool touched, present; row_id row; };
struct state { struct m_row rows[2][ROWS]; struct m_key keys[KEYS]; };

static struct mem account;
static struct arena arena;
static struct overlay o;
static struct rng rnd;
static struct state now, before; /* before: as the running statement sees it */
static row_id ids[2][ROWS];      /* 0: not there yet. The first half of a table exists in atoms */
static uint8_t key_bytes[KEYS][8];
static uint32_t key_lens[KEYS];

static int setup(void)
{
	mem_init(&account, NULL, "test", 0);
	arena_init(&arena, &account);
	return 0;
}

static int teardown(void)
{
	arena_fini(&arena);
	return account.used_bytes != 0;
}

static uint32_t below(uint32_t n)
{
	return (uint32_t)rng_below(&rnd, n);
}

static const uint8_t *text_of(int64_t v)
{
	static uint8_t text[64];

	for (int i = 0; i < 64; i++)
		text[i] = (uint8_t)(v + i);
	return text;
}

/* Columns 1 and 3 are numbers, column 2 is text. */
static uint32_t cells_make(struct m_row *r, bool all, struct cell out[COLUMNS])
{
	uint32_t n = 0;

	for (uint16_t i = 0; i < COLUMNS; i++) {
		if (!all && below(2))
			continue;
		r->has[i] = true;
		r->v[i] = (int64_t)below(100000);
		memset(&out[n], 0, sizeof out[n]);
		out[n].attno = (uint16_t)(i + 1);
		out[n].phys = i == 1 ? PHYS_VAR : PHYS_I64;
		if (i == 1) {
			r->bytes = below(64);
			out[n].bytes = r->bytes;
			out[n].var = text_of(r->v[1]);
		} else {
			out[n].i = r->v[i];
		}
		n++;
	}
	return n;
}

static rel_id storage_of(int t)
{
	return (rel_id)(10 + t);
}

static void check_version(const struct overlay_version *v, const struct m_row *m)
{
	CU_ASSERT_EQUAL(v ? v->change : 0, m->change);
	if (!v || !m->change || m->change == OVERLAY_DELETED)
		return;
	for (uint16_t i = 0; i < COLUMNS; i++) {
		const struct cell *c = overlay_cell(v, (uint16_t)(i + 1));

		CU_ASSERT_EQUAL(c != NULL, m->has[i]);
		if (!c || !m->has[i])
			continue;
		CU_ASSERT(c->attno == i + 1 && !c->null);
		CU_ASSERT(i == 1 ? c->bytes == m->bytes && !memcmp(c->var, text_of(m->v[1]), m->bytes) : c->i == m->v[i]);
	}
	CU_ASSERT(overlay_cell(v, COLUMNS + 1) == NULL && overlay_cell(v, 0) == NULL);
}

static void check_rows(uint32_t stmt)
{
	for (int t = 0; t < 2; t++) {
		struct overlay_table *tab = overlay_table(&o, storage_of(t));
		uint32_t listed = 0, there = 0;

		for (int i = 0; i < ROWS; i++) {
			struct overlay_row *r = tab && ids[t][i] ? overlay_row(tab, ids[t][i]) : NULL;

			there += r != NULL;
			check_version(r ? overlay_see(r, UINT32_MAX) : NULL, &now.rows[t][i]);
			check_version(r ? overlay_see(r, stmt) : NULL, &before.rows[t][i]);
		}
		for (struct overlay_row *r = tab ? tab->first : NULL; r; r = r->next)
			listed++;
		CU_ASSERT(listed >= there); /* those whose insert was undone stay, with no version */
		for (uint32_t i = 0; tab && i < tab->inserted_count; i++)
			CU_ASSERT((tab->inserted[i]->row & ROW_ID_PROVISIONAL) != 0);
	}
}

static int compare(int a, int b)
{
	uint32_t n = key_lens[a] < key_lens[b] ? key_lens[a] : key_lens[b];
	int c = memcmp(key_bytes[a], key_bytes[b], n);

	return c ? c : (key_lens[a] > key_lens[b]) - (key_lens[a] < key_lens[b]);
}

/* The number of the touched key nearest to key i in a direction; -1 none. */
static int nearest(int i, bool back, bool exclusive, const bool *known)
{
	int best = -1;

	for (int k = 0; k < KEYS; k++) {
		int c = compare(k, i);

		if (!known[k] || (c == 0 && exclusive) || (back ? c > 0 : c < 0))
			continue;
		if (best < 0 || (back ? compare(k, best) > 0 : compare(k, best) < 0))
			best = k;
	}
	return best;
}

static bool is_key(const struct overlay_key *k, int i)
{
	if (i < 0 || !k)
		return i < 0 && !k;
	return k->key_len == key_lens[i] && !memcmp(k->key, key_bytes[i], k->key_len);
}

static void check_keys(uint32_t stmt, const bool *known)
{
	struct overlay_index *x = overlay_index(&o, 99);
	const struct overlay_key *last = NULL;
	uint32_t count = 0;

	if (!x)
		return;
	for (const struct overlay_key *k = x->heads[0]; k; k = k->next[0]) {
		count++;
		if (last) {
			uint32_t n = last->key_len < k->key_len ? last->key_len : k->key_len;
			int c = memcmp(last->key, k->key, n);

			CU_ASSERT(c < 0 || (c == 0 && last->key_len < k->key_len));
		}
		last = k;
	}
	CU_ASSERT_EQUAL(count, x->count);
	CU_ASSERT(overlay_key_seek(x, NULL, 0, false) == x->heads[0] && overlay_key_seek_back(x, NULL, 0, false) == last);
	for (int i = 0; i < KEYS; i++) {
		struct overlay_key *k = overlay_key_find(x, key_bytes[i], key_lens[i]);
		const struct m_key *states[2] = {&now.keys[i], &before.keys[i]};

		CU_ASSERT_EQUAL(k != NULL, known[i]);
		for (int s = 0; s < 2; s++) {
			const struct overlay_key_version *v = k ? overlay_key_see(k, s ? stmt : UINT32_MAX) : NULL;

			CU_ASSERT_EQUAL(v != NULL, states[s]->touched);
			CU_ASSERT(!v || (v->present == states[s]->present && v->row == states[s]->row));
		}
		for (int e = 0; e < 2 && below(6) == 0; e++) {
			CU_ASSERT(is_key(overlay_key_seek(x, key_bytes[i], key_lens[i], e), nearest(i, false, e, known)));
			CU_ASSERT(is_key(overlay_key_seek_back(x, key_bytes[i], key_lens[i], e),
					 nearest(i, true, e, known)));
		}
	}
}

static void change(uint32_t stmt, bool *known)
{
	struct cell cells[COLUMNS];
	int t = (int)below(2), i = (int)below(ROWS);
	struct m_row *m = &now.rows[t][i], add = {0};
	uint32_t n;

	if (below(3) == 0) {
		int k = (int)below(KEYS);
		struct m_key to = {true, below(3) > 0, 1 + below(1000)};

		overlay_put_key(&o, 5, 99, false, stmt, key_bytes[k], key_lens[k], to.present, to.row);
		now.keys[k] = to;
		known[k] = true;
	} else if (!ids[t][i]) {
		n = cells_make(m, true, cells);
		m->change = OVERLAY_INSERTED;
		ids[t][i] = overlay_insert(&o, (rel_id)t + 1, storage_of(t), stmt, cells, n);
		CU_ASSERT((ids[t][i] & ROW_ID_PROVISIONAL) != 0);
	} else if (m->change == OVERLAY_DELETED || (!m->change && i >= ROWS / 2)) {
		return; /* gone, or its insert was undone: nobody can name it */
	} else if (below(4) == 0) {
		overlay_delete(&o, (rel_id)t + 1, storage_of(t), stmt, ids[t][i]);
		*m = (struct m_row){.change = OVERLAY_DELETED};
	} else {
		n = cells_make(&add, false, cells);
		overlay_update(&o, (rel_id)t + 1, storage_of(t), stmt, ids[t][i], cells, n);
		m->change = m->change ? m->change : OVERLAY_UPDATED;
		for (int c = 0; c < COLUMNS; c++)
			if (add.has[c]) {
				m->has[c] = true;
				m->v[c] = add.v[c];
				m->bytes = c == 1 ? add.bytes : m->bytes;
			}
	}
}

static void reset(uint64_t seed, bool *known)
{
	rng_init(&rnd, seed);
	memset(&now, 0, sizeof now);
	memset(&before, 0, sizeof before);
	memset(ids, 0, sizeof ids);
	memset(known, 0, KEYS * sizeof *known);
	for (int t = 0; t < 2; t++)
		for (int i = 0; i < ROWS / 2; i++)
			ids[t][i] = (row_id)(i + 1);
	for (int k = 0; k < KEYS; k++) {
		bool again = true;

		while (again) { /* all different */
			again = false;
			key_lens[k] = below(5);
			for (uint32_t i = 0; i < key_lens[k]; i++)
				key_bytes[k][i] = (uint8_t)(below(3) * 100);
			for (int b = 0; b < k; b++)
				again = again || compare(b, k) == 0;
		}
	}
	overlay_init(&o, &account, &arena);
}

/* Statements that change rows and keys, fail and are undone, and savepoints gone back to: what is seen is the model's. */
static void test_overlay_random(void)
{
	static struct state saved[SAVED];
	uint32_t marks[SAVED], count, stmt;
	bool known[KEYS];

	for (uint64_t seed = 1; seed <= 40; seed++) {
		reset(seed, known);
		CU_ASSERT(overlay_empty(&o));
		for (stmt = 1, count = 0; stmt < 60; stmt++) {
			uint32_t mark = overlay_mark(&o);

			if (count < SAVED && below(5) == 0) {
				saved[count] = now;
				marks[count++] = mark;
			} else if (count && below(8) == 0) {
				count = below(count);
				overlay_rollback(&o, marks[count]);
				now = saved[count];
			}
			mark = overlay_mark(&o);
			before = now;
			for (uint32_t n = below(12); n; n--) {
				change(stmt, known);
				if (below(8) == 0)
					check_rows(stmt);
			}
			check_rows(stmt);
			check_keys(stmt, known);
			if (below(4) == 0) { /* it failed */
				overlay_rollback(&o, mark);
				now = before;
				check_rows(stmt);
				check_keys(stmt, known);
			}
		}
		overlay_rollback(&o, 0);
		CU_ASSERT(overlay_empty(&o));
		memset(&now, 0, sizeof now);
		memset(&before, 0, sizeof before);
		check_rows(stmt);
		check_keys(stmt, known);
		overlay_fini(&o);
		arena_reset(&arena);
	}
}

/* Many keys, in rising, falling and mixed order: found, and in order; a scan stays as long as the keys. */
static void test_overlay_many_keys(void)
{
	overlay_init(&o, &account, &arena);
	for (uint32_t i = 0; i < 20000; i++) {
		uint32_t v = __builtin_bswap32(i % 3 == 0 ? i : i % 3 == 1 ? 100000 - i : i * 2654435761u);

		overlay_put_key(&o, 1, 2, true, 1, &v, 4, true, i);
	}
	CU_ASSERT(overlay_index(&o, 2)->count > 19000);
	for (uint32_t i = 0; i < 20000; i++) {
		uint32_t v = __builtin_bswap32(i % 3 == 0 ? i : i % 3 == 1 ? 100000 - i : i * 2654435761u);
		const struct overlay_key *k = overlay_key_find(overlay_index(&o, 2), &v, 4);

		CU_ASSERT_FATAL(k != NULL);
		CU_ASSERT(k->suffixed);
	}
	CU_ASSERT(overlay_table(&o, 2) == NULL && overlay_index(&o, 3) == NULL);
	overlay_fini(&o);
	arena_reset(&arena);
}

/* Values are copied: the caller's may go. */
static void test_overlay_copies(void)
{
	uint8_t text[3] = "abc", key[2] = "k";
	struct cell c = {.attno = 2, .phys = PHYS_VAR, .bytes = 3, .var = text};
	const struct cell *got;
	row_id row;

	overlay_init(&o, &account, &arena);
	row = overlay_insert(&o, 1, 1, 1, &c, 1);
	overlay_put_key(&o, 1, 2, false, 1, key, 1, true, row);
	memset(text, 0, sizeof text);
	key[0] = 0;
	got = overlay_cell(overlay_see(overlay_row(overlay_table(&o, 1), row), UINT32_MAX), 2);
	CU_ASSERT(got && got->bytes == 3 && !memcmp(got->var, "abc", 3));
	CU_ASSERT(overlay_key_find(overlay_index(&o, 2), "k", 1) != NULL);
	overlay_fini(&o);
	arena_reset(&arena);
}

void suite_txn_overlay(void)
{
	CU_pSuite s = CU_add_suite("txn_overlay", setup, teardown);

	CU_add_test(s, "random", test_overlay_random);
	CU_add_test(s, "many keys", test_overlay_many_keys);
	CU_add_test(s, "copies", test_overlay_copies);
}
