/*
 * load_misc.c - unique keys, bulk and growth, sequences, definitions (sim).
 *
 * uk(id bigint primary key, k text unique, tag bigint): several engines insert, rename and delete the same few keys.
 * big(id bigint primary key, k text, pad text, tag bigint) with an index on k: wide rows, so that atoms and leaves
 * split, and commits of more than one payload or turn. sq0, sq1: values must never repeat. dd: definitions change under those who
 * use them. gr0, gr1 with an index on k: they grow and are emptied.
 */
#include "sim/load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* One statement (or a few between BEGIN and COMMIT), then the end: what all of these have in common. */
struct misc {
	struct mtxn *x;
	uint32_t step, steps;   /* of the transaction; 0: a single statement */
	uint64_t kept;          /* writes before the running statement */
	uint32_t what, key;
	int64_t next_id;
	bool ending, rollback;
	int64_t tag, lo, hi;    /* of the running statement's write */
	uint32_t made;          /* tables */
};

typedef void (*statement_fn)(struct client *c, struct misc *s);

static void misc_end(struct client *c, enum txn_end how, uint64_t think_us)
{
	struct misc *s = c->state;

	if (s->x)
		model_txn_end(c->w->model, s->x, how);
	if (s->x && how == TXN_ACKED && s->x->index > c->session_lo)
		c->session_lo = s->x->index;
	s->x = NULL;
	client_count(c, how);
	client_next(c, think_us);
}

static void misc_start(struct client *c, statement_fn statement)
{
	struct misc *s = c->state;

	s->x = model_txn_begin(c->w->model);
	s->ending = s->rollback = false;
	s->step = 0;
	s->steps = rng_below(&c->rng, 3) ? 0 : 1 + (uint32_t)rng_below(&c->rng, 4);
	if (s->steps) {
		s->x->partial = true;
		s->x->one_snapshot = rng_below(&c->rng, 3) == 0;
		s->x->read_lo = s->x->one_snapshot ? c->session_lo : 0;
		client_query(c, s->x->one_snapshot ? "BEGIN ISOLATION LEVEL REPEATABLE READ" : "BEGIN");
		return;
	}
	s->kept = 0;
	statement(c, s);
}

/* The statement that is sent now writes rows with ids in [lo, hi). */
static int64_t write_tag(struct misc *s, int64_t lo, int64_t hi)
{
	s->lo = lo;
	s->hi = hi;
	s->tag = model_txn_write(s->x, 0, false);
	return s->tag;
}

/* How many the reply's tag tells: "INSERT 0 n", "UPDATE n". */
static uint32_t told_rows(const struct client *c)
{
	const char *n = strrchr(c->reply.tag, ' ');

	return n ? (uint32_t)strtoul(n, NULL, 10) : 0;
}

static void wrote(struct client *c, struct misc *s, const char *table)
{
	uint32_t rows = told_rows(c);

	if (rows)
		model_txn_wrote(c->w->model, s->x, s->tag, table, s->lo, s->hi, rows);
	else
		model_txn_undo(s->x, s->kept);
}

/* DELETE ... RETURNING id, tag */
static void removed(struct client *c, struct misc *s, const char *table)
{
	if (told_rows(c) != c->reply.rows)
		world_violation(c->w, "client %u: \"%s\" and %u rows for %s", c->number, c->reply.tag, c->reply.rows, c->sql);
	for (uint32_t i = 0; i < c->reply.rows; i++)
		model_txn_removed(c->w->model, s->x, table, client_int(c, i, 0), client_int(c, i, 1));
}

static bool expected(struct client *c, const char *const *more)
{
	for (; more && *more; more++)
		if (client_sqlstate(c, *more))
			return true;
	return client_error_expected(c);
}

static void misc_failed(struct client *c, const char *const *more, uint64_t think_us)
{
	struct misc *s = c->state;

	if (!expected(c, more)) {
		world_violation(c->w, "client %u (%s) on %s: %s %s for %s", c->number, c->load->name, c->node->name,
				c->reply.sqlstate, c->reply.message, c->sql);
		return;
	}
	if (client_outcome_unknown(c)) {
		misc_end(c, TXN_UNKNOWN, think_us);
	} else if (c->reply.status == 'I') {
		misc_end(c, TXN_REFUSED, think_us);
	} else {
		s->rollback = true;
		client_query(c, "ROLLBACK");
	}
}

/* done: looks at the reply of a statement that succeeded. */
static void misc_event(struct client *c, enum client_event ev, statement_fn statement, statement_fn done,
		       const char *const *errors, uint64_t think_us)
{
	struct misc *s = c->state;

	switch (ev) {
	case CLIENT_LOST:
		/* a single statement commits by itself, a COMMIT may have */
		misc_end(c, s->x && (s->ending || !s->steps) ? TXN_UNKNOWN : TXN_REFUSED, think_us);
		return;
	case CLIENT_WOKEN:
		if (c->phase == CLIENT_CLOSED)
			client_connect(c, NULL);
		else
			misc_start(c, statement);
		return;
	case CLIENT_CONNECTED:
		if (c->reply.error)
			client_next(c, MILLIS(50));
		else
			misc_start(c, statement);
		return;
	case CLIENT_REPLY:
		break;
	}
	if (s->rollback) {
		misc_end(c, TXN_REFUSED, think_us);
	} else if (c->reply.error) {
		misc_failed(c, errors, think_us);
	} else if (s->ending) {
		misc_end(c, TXN_ACKED, think_us);
	} else {
		if (!s->steps || s->step > 1)
			done(c, s);
		if (c->w->failed)
			return;
		if (!s->steps) {
			misc_end(c, TXN_ACKED, think_us);
		} else if (s->step++ == 0) {
			int64_t tag = model_txn_write(s->x, 0, false); /* nobody overwrites this one */

			model_txn_wrote(c->w->model, s->x, tag, "wit", (int64_t)s->x->number, (int64_t)s->x->number + 1, 1);
			client_query(c, "INSERT INTO wit VALUES (%" PRIu64 ", %" PRId64 ")", s->x->number, tag);
		} else if (s->step <= s->steps + 1) {
			s->kept = model_txn_writes(s->x);
			statement(c, s);
		} else {
			s->ending = true;
			client_query(c, "COMMIT");
		}
	}
}

/* -- unique keys -------------------------------------------------------------------------------------------------- */

#define KEYS 30
#define OWN_ROWS 5 /* more than one transaction writes */

static uint32_t key(struct client *c)
{
	return (uint32_t)rng_below(&c->rng, rng_below(&c->rng, 100) < c->w->hot_percent ? c->w->hot_keys : KEYS);
}

static void keys_statement(struct client *c, struct misc *s)
{
	int64_t id = (int64_t)c->number * 1000000 + s->next_id++;
	uint32_t k = key(c), to = key(c);

	s->what = (uint32_t)rng_below(&c->rng, 9);
	s->key = k;
	switch (s->what) {
	case 0: case 1: case 2:
		client_query(c, "INSERT INTO uk VALUES (%" PRId64 ", 'k%u', %" PRId64 ") RETURNING id", id, k,
			     write_tag(s, id, id + 1));
		return;
	case 3:
		client_query(c, "UPDATE uk SET k = 'k%u', tag = %" PRId64 " WHERE k = 'k%u' RETURNING id", to,
			     write_tag(s, 0, 0), k);
		return;
	case 4:
		client_query(c, "INSERT INTO uk VALUES (%" PRId64 ", 'k%u', %" PRId64 ") ON CONFLICT (k) DO UPDATE SET tag = "
			     "excluded.tag RETURNING id", id, k, write_tag(s, 0, 0));
		return;
	case 5: case 6:
		client_query(c, "DELETE FROM uk WHERE k = 'k%u' RETURNING id, tag", k);
		return;
	case 7:
		client_query(c, "SELECT id, tag, k FROM uk");
		return;
	default:
		client_query(c, "SELECT id, tag, k FROM uk WHERE k = 'k%u'", k);
	}
}

static bool own(const struct client *c, const struct misc *s, uint32_t row)
{
	return (uint64_t)client_int(c, row, 1) / TAG_WRITES == s->x->number;
}

/*
 * All rows, or all with one key: as of one index, none missing, no key twice. But a key that is free by now may be taken
 * within an older snapshot, which shows its row of then beside the new one, as PostgreSQL does.
 */
static void keys_read(struct client *c, struct misc *s)
{
	struct model *m = c->w->model;
	struct mtable *t = model_table(m, "uk");
	int64_t ids[KEYS + OWN_ROWS];
	char key[16];
	struct mreads r;
	uint32_t count = c->reply.rows;

	if (count > (s->what == 7 ? KEYS : 1U) + (s->x->one_snapshot ? OWN_ROWS : 0U)) {
		world_violation(c->w, "client %u on %s: %u rows for %s", c->number, c->node->name, count, c->sql);
		return;
	}
	snprintf(key, sizeof key, "k%u", s->key);
	model_reads_init(&r);
	for (uint32_t i = 0; i < count && !c->w->failed; i++) {
		ids[i] = client_int(c, i, 0);
		model_read(m, &r, t, ids[i], client_int(c, i, 1), 0, s->x);
		for (uint32_t k = 0; k < i; k++)
			if (strcmp(client_cell(c, i, 2), client_cell(c, k, 2)) == 0 &&
			    !(s->x->one_snapshot && own(c, s, i) != own(c, s, k)))
				world_violation(c->w, "client %u on %s read the unique key %s twice", c->number, c->node->name,
						client_cell(c, i, 2));
		if (s->what == 8 && strcmp(client_cell(c, i, 2), key) != 0)
			world_violation(c->w, "client %u on %s: key %s for %s", c->number, c->node->name, client_cell(c, i, 2),
					c->sql);
	}
	model_reads_whole(m, &r, t, s->what == 7 ? 0 : model_k(key), ids, count, s->x, client_applied(c), c->sql);
	if (!c->w->failed)
		model_reads_check(m, &r, s->x, &c->session_lo, client_applied(c), c->sql);
	sim_stats.reads++;
}

static void keys_done(struct client *c, struct misc *s)
{
	if (s->what > 6) {
		keys_read(c, s);
		return;
	}
	if (s->what > 4) {
		removed(c, s, "uk");
		return;
	}
	if (s->what != 3 && strcmp(c->reply.tag, "INSERT 0 1") != 0)
		world_violation(c->w, "client %u: \"%s\" for %s", c->number, c->reply.tag, c->sql);
	s->lo = client_int(c, 0, 0);
	s->hi = s->lo + 1;
	wrote(c, s, "uk");
}

static void keys_event(struct client *c, enum client_event ev)
{
	static const char *const errors[] = {"23505", NULL};

	misc_event(c, ev, keys_statement, keys_done, errors, MILLIS(10));
}

const struct load load_keys = {"keys", sizeof(struct misc), keys_event, true};

/* -- growth -------------------------------------------------------------------------------------------------------- */

static void bulk_statement(struct client *c, struct misc *s)
{
	int64_t from = (int64_t)c->number * 10000000 + s->next_id, rows = 1 + (int64_t)rng_below(&c->rng, 60);

	s->what = (uint32_t)rng_below(&c->rng, 10);
	if (s->what == 0 && rng_below(&c->rng, 6) == 0) { /* more operations than one turn applies */
		rows = 23000;
		s->next_id += rows;
		client_query(c, "INSERT INTO big SELECT g, g::text, 'small', %" PRId64 " FROM generate_series(%" PRId64
			     ", %" PRId64 ") g", write_tag(s, from, from + rows), from, from + rows - 1);
		return;
	}
	if (s->what == 0) { /* more than one payload; the more, the longer are its parts in the log without it */
		rows = 700 + (int64_t)rng_below(&c->rng, rng_below(&c->rng, 3) ? 1 : 3000);
	} else if (s->what == 1) {
		client_query(c, "DELETE FROM big WHERE id >= %" PRId64 " AND id < %" PRId64 " RETURNING id, tag", from - 500,
			     from - 100);
		return;
	} else if (s->what == 2) {
		client_query(c, "UPDATE big SET pad = repeat('u', 900), tag = %" PRId64 " WHERE id >= %" PRId64
			     " AND id < %" PRId64, write_tag(s, from - 40, from), from - 40, from);
		return;
	}
	s->next_id += rows;
	client_query(c, "INSERT INTO big SELECT g, g || repeat('k', 400), repeat('p', %" PRIu64 "), %" PRId64
		     " FROM generate_series(%" PRId64 ", %" PRId64 ") g", 200 + rng_below(&c->rng, 1500),
		     write_tag(s, from, from + rows), from, from + rows - 1);
}

static void bulk_done(struct client *c, struct misc *s)
{
	if (s->what == 1)
		removed(c, s, "big");
	else
		wrote(c, s, "big");
	if (s->what != 1 && s->what != 2 && told_rows(c) != (uint32_t)(s->hi - s->lo))
		world_violation(c->w, "client %u: \"%s\" for %s", c->number, c->reply.tag, c->sql);
}

static void bulk_event(struct client *c, enum client_event ev)
{
	misc_event(c, ev, bulk_statement, bulk_done, NULL, MILLIS(120));
}

const struct load load_bulk = {"bulk", sizeof(struct misc), bulk_event, true};

/* -- sequences ------------------------------------------------------------------------------------------------------- */

static void sequence_statement(struct client *c, struct misc *s)
{
	s->what = (uint32_t)rng_below(&c->rng, 2);
	if (rng_below(&c->rng, 4))
		client_query(c, "SELECT nextval('sq%u')", s->what);
	else
		client_query(c, "SELECT nextval('sq%u') FROM generate_series(1, %u)", s->what,
			     2 + (unsigned)rng_below(&c->rng, 30));
}

static void sequence_done(struct client *c, struct misc *s)
{
	struct map *seen = &c->all->sequences[s->what];

	for (uint32_t i = 0; i < c->reply.rows; i++) {
		uint64_t v = (uint64_t)client_int(c, i, 0);

		if (map_find(seen, v))
			world_violation(c->w, "sequence sq%u gave %" PRIu64 " to client %u on %s, and before to client %u",
					s->what, v, c->number, c->node->name,
					(unsigned)(uintptr_t)map_find(seen, v));
		map_put(seen, v, (void *)(uintptr_t)c->number);
		sim_stats.sequence_values++;
	}
}

static void sequence_event(struct client *c, enum client_event ev)
{
	misc_event(c, ev, sequence_statement, sequence_done, NULL, MILLIS(15));
}

const struct load load_sequence = {"sequence", sizeof(struct misc), sequence_event, true};

/* -- definitions ------------------------------------------------------------------------------------------------------ */

static void wide_table(struct client *c, uint32_t n)
{
	struct buf b;

	buf_init(&b, &c->w->mem);
	buf_printf(&b, "CREATE TABLE wide_%u_%u (id int", c->number, n);
	for (int i = 0; i < 150; i++)
		buf_printf(&b, ", a_column_with_a_long_name_so_that_definitions_grow_%03d bigint", i);
	buf_printf(&b, ")");
	put_u8(&b, 0);
	client_query(c, "%s", (char *)b.data);
	buf_fini(&b);
}

static void ddl_statement(struct client *c, struct misc *s)
{
	uint32_t n = (uint32_t)rng_below(&c->rng, 3);

	s->key = n;
	s->what = (uint32_t)rng_below(&c->rng, 14);
	sim_stats.ddl += s->what < 9;
	switch (s->what) {
	case 0:
		client_query(c, "CREATE TABLE dd%u (id bigint PRIMARY KEY, v text, tag bigint)", n);
		return;
	case 1:
		client_query(c, "DROP TABLE dd%u", n);
		return;
	case 2:
		client_query(c, "TRUNCATE dd%u", n);
		return;
	case 3:
		client_query(c, "CREATE INDEX dd%u_v ON dd%u (v)", n, n);
		return;
	case 4:
		client_query(c, "DROP INDEX dd%u_v", n);
		return;
	case 5:
		client_query(c, "ALTER TABLE dd%u ADD COLUMN more bigint", n);
		return;
	case 6:
		client_query(c, "CREATE TABLE own_%u_%u (id int PRIMARY KEY)", c->number, s->made++);
		return;
	case 7:
		wide_table(c, s->made++);
		return;
	case 8:
		client_query(c, "DROP TABLE IF EXISTS own_%u_%u", c->number, s->made ? s->made - 1 : 0);
		return;
	case 9:
		client_query(c, "SELECT count(*), max(tag) FROM dd%u WHERE v >= 'v'", n);
		return;
	case 10:
		client_query(c, "DELETE FROM dd%u WHERE id < %" PRIu64, n, rng_below(&c->rng, 200));
		return;
	default:
		client_query(c, "INSERT INTO dd%u (id, v, tag) VALUES (%" PRIu64 ", 'v%" PRIu64 "', %" PRId64 ")", n,
			     rng_below(&c->rng, 400), rng_below(&c->rng, 50), write_tag(s, 0, 400));
	}
}

static void ddl_done(struct client *c, struct misc *s)
{
	static const char *const names[] = {"dd0", "dd1", "dd2"};

	if (s->what > 10)
		wrote(c, s, names[s->key]);
	else if (s->what == 1 || s->what == 2)
		model_txn_wrote(c->w->model, s->x, 0, names[s->key], INT64_MIN, INT64_MAX, 0);
	else if (s->what == 10 && told_rows(c))
		model_txn_wrote(c->w->model, s->x, 0, names[s->key], 0, 200, told_rows(c));
}

static void ddl_event(struct client *c, enum client_event ev)
{
	/* others drop and make what one uses */
	static const char *const errors[] = {"42P01", "42P07", "42703", "42701", "42704", "23505", "42710", "25001", "55006",
					     NULL};

	misc_event(c, ev, ddl_statement, ddl_done, errors, MILLIS(60));
}

const struct load load_ddl = {"ddl", sizeof(struct misc), ddl_event, true};

/* -- growth and the end ---------------------------------------------------------------------------------------------- */

/*
 * gr0, gr1: they grow by more than an atom at once, so that splits are on their way while another client empties them, and
 * engines fetch what is about to go. The index was made by another engine than the one that inserts.
 */
static void grow_statement(struct client *c, struct misc *s)
{
	int64_t from = (int64_t)c->number * 10000000 + s->next_id, rows = 100 + (int64_t)rng_below(&c->rng, 500);
	uint32_t n = (uint32_t)rng_below(&c->rng, 2);

	s->key = n;
	s->what = (uint32_t)rng_below(&c->rng, 8);
	switch (s->what) {
	case 0:
	case 1:
		sim_stats.ddl++;
		client_query(c, "TRUNCATE gr%u", n);
		return;
	case 2:
		client_query(c, "SELECT count(*), max(k) FROM gr%u", n);
		return;
	case 3:
		client_query(c, "SELECT tag FROM gr%u ORDER BY k DESC LIMIT 3", n);
		return;
	default:
		s->next_id += rows;
		client_query(c, "INSERT INTO gr%u SELECT g, g || repeat('k', 450), repeat('g', 400), %" PRId64
			     " FROM generate_series(%" PRId64 ", %" PRId64 ") g", n, write_tag(s, from, from + rows), from,
			     from + rows - 1);
	}
}

static void grow_done(struct client *c, struct misc *s)
{
	const char *table = s->key ? "gr1" : "gr0";

	if (s->what < 2)
		model_txn_wrote(c->w->model, s->x, 0, table, INT64_MIN, INT64_MAX, 0);
	else if (s->what > 3)
		wrote(c, s, table);
}

static void grow_event(struct client *c, enum client_event ev)
{
	misc_event(c, ev, grow_statement, grow_done, NULL, MILLIS(8));
}

const struct load load_grow = {"grow", sizeof(struct misc), grow_event, true};
