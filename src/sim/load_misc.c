/*
 * load_misc.c - unique keys, bulk and growth, sequences, definitions (sim).
 *
 * uk(id bigint primary key, k text unique, tag bigint): several engines insert, rename and delete the same few keys.
 * big(id bigint primary key, k text, pad text, tag bigint) with an index on k: wide rows, so that atoms and leaves
 * split, and commits of more than one payload. sq0, sq1: values must never repeat. dd: definitions change under those who use them.
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
	uint32_t made;          /* tables */
};

typedef void (*statement_fn)(struct client *c, struct misc *s);

static void misc_end(struct client *c, enum txn_end how, uint64_t think_us)
{
	struct misc *s = c->state;

	if (s->x)
		model_txn_end(c->w->model, s->x, how);
	s->x = NULL;
	if (how == TXN_ACKED) {
		c->done++;
		sim_stats.commits++;
	} else if (how == TXN_UNKNOWN) {
		sim_stats.unknown++;
	} else {
		sim_stats.rollbacks++;
	}
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
		client_query(c, rng_below(&c->rng, 3) ? "BEGIN" : "BEGIN ISOLATION LEVEL REPEATABLE READ");
		return;
	}
	s->kept = 0;
	statement(c, s);
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
			client_query(c, "INSERT INTO wit VALUES (%" PRIu64 ", %" PRId64 ")", s->x->number,
				     model_txn_write(s->x, 0, false)); /* nobody overwrites this one */
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

static void keys_statement(struct client *c, struct misc *s)
{
	int64_t id = (int64_t)c->number * 1000000 + s->next_id++;
	uint32_t k = (uint32_t)rng_below(&c->rng, KEYS), to = (uint32_t)rng_below(&c->rng, KEYS);

	s->what = (uint32_t)rng_below(&c->rng, 7);
	switch (s->what) {
	case 0: case 1: case 2:
		client_query(c, "INSERT INTO uk VALUES (%" PRId64 ", 'k%u', %" PRId64 ")", id, k,
			     model_txn_write(s->x, 0, false));
		return;
	case 3:
		client_query(c, "UPDATE uk SET k = 'k%u', tag = %" PRId64 " WHERE k = 'k%u'", to,
			     model_txn_write(s->x, 0, false), k);
		return;
	case 4:
		client_query(c, "INSERT INTO uk VALUES (%" PRId64 ", 'k%u', %" PRId64 ") ON CONFLICT (k) DO UPDATE SET tag = "
			     "excluded.tag", id, k, model_txn_write(s->x, 0, false));
		return;
	default:
		client_query(c, "DELETE FROM uk WHERE k = 'k%u'", k);
	}
}

static void keys_done(struct client *c, struct misc *s)
{
	if (s->what == 3 && strcmp(c->reply.tag, "UPDATE 0") == 0)
		model_txn_undo(s->x, s->kept);
	else if (s->what < 3 && strcmp(c->reply.tag, "INSERT 0 1") != 0)
		world_violation(c->w, "client %u: \"%s\" for %s", c->number, c->reply.tag, c->sql);
}

static void keys_event(struct client *c, enum client_event ev)
{
	static const char *const errors[] = {"23505", NULL};

	misc_event(c, ev, keys_statement, keys_done, errors, MILLIS(10));
}

const struct load load_keys = {"keys", sizeof(struct misc), keys_event, 18};

/* -- growth -------------------------------------------------------------------------------------------------------- */

static void bulk_statement(struct client *c, struct misc *s)
{
	int64_t from = (int64_t)c->number * 10000000 + s->next_id, rows = 1 + (int64_t)rng_below(&c->rng, 60);

	s->what = (uint32_t)rng_below(&c->rng, 10);
	if (s->what == 0) { /* more than one payload */
		rows = 700;
	} else if (s->what == 1) {
		client_query(c, "DELETE FROM big WHERE id >= %" PRId64 " AND id < %" PRId64, from - 500, from - 100);
		return;
	} else if (s->what == 2) {
		client_query(c, "UPDATE big SET pad = repeat('u', 900), tag = %" PRId64 " WHERE id >= %" PRId64
			     " AND id < %" PRId64, model_txn_write(s->x, 0, false), from - 40, from);
		return;
	}
	s->next_id += rows;
	client_query(c, "INSERT INTO big SELECT g, g || repeat('k', 400), repeat('p', %" PRIu64 "), %" PRId64
		     " FROM generate_series(%" PRId64 ", %" PRId64 ") g", 200 + rng_below(&c->rng, 1500),
		     model_txn_write(s->x, 0, false), from, from + rows - 1);
}

static void bulk_done(struct client *c, struct misc *s)
{
	if (s->what == 2 && strcmp(c->reply.tag, "UPDATE 0") == 0)
		model_txn_undo(s->x, s->kept);
}

static void bulk_event(struct client *c, enum client_event ev)
{
	misc_event(c, ev, bulk_statement, bulk_done, NULL, MILLIS(120));
}

const struct load load_bulk = {"bulk", sizeof(struct misc), bulk_event, 7};

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

const struct load load_sequence = {"sequence", sizeof(struct misc), sequence_event, 12};

/* -- definitions ------------------------------------------------------------------------------------------------------ */

static void wide_table(struct client *c, uint32_t n)
{
	struct buf b;

	buf_init(&b, &c->w->mem);
	buf_printf(&b, "CREATE TABLE wide_%u_%u (id int", c->number, n);
	for (int i = 0; i < 90; i++)
		buf_printf(&b, ", a_column_with_a_long_name_so_that_definitions_grow_%02d bigint", i);
	buf_printf(&b, ")");
	put_u8(&b, 0);
	client_query(c, "%s", (char *)b.data);
	buf_fini(&b);
}

static void ddl_statement(struct client *c, struct misc *s)
{
	uint32_t n = (uint32_t)rng_below(&c->rng, 3);

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
			     rng_below(&c->rng, 400), rng_below(&c->rng, 50), model_txn_write(s->x, 0, false));
	}
}

static void ddl_done(struct client *c, struct misc *s)
{
	(void)c;
	(void)s;
}

static void ddl_event(struct client *c, enum client_event ev)
{
	/* others drop and make what one uses */
	static const char *const errors[] = {"42P01", "42P07", "42703", "42701", "42704", "23505", "42710", "25001", "55006",
					     NULL};

	misc_event(c, ev, ddl_statement, ddl_done, errors, MILLIS(60));
}

const struct load load_ddl = {"ddl", sizeof(struct misc), ddl_event, 8};
