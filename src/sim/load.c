/*
 * load.c - making the tables, and the last comparison of every engine with the model (sim).
 */
#include "sim/load.h"

#include <inttypes.h>
#include <stdio.h>

#include "sim/load_history.h"

#define LIMIT SECONDS(20)

static bool ok(struct world *w, struct client *c, bool good)
{
	if (!good)
		world_violation(w, "%s: %s %s", c->sql, c->phase == CLIENT_BUSY ? "no answer" : c->reply.sqlstate,
				c->reply.message);
	return good;
}

static const char *const definitions[] = {
	"CREATE TABLE acct (id int PRIMARY KEY, balance bigint NOT NULL, tag bigint NOT NULL)",
	"CREATE TABLE uk (id bigint PRIMARY KEY, k text UNIQUE, tag bigint)",
	"CREATE TABLE big (id bigint PRIMARY KEY, k text, pad text, tag bigint)",
	"CREATE INDEX big_k ON big (k)",
	"CREATE TABLE gr0 (id bigint PRIMARY KEY, k text, pad text, tag bigint)",
	"CREATE INDEX gr0_k ON gr0 (k)",
	"CREATE TABLE gr1 (id bigint PRIMARY KEY, k text, pad text, tag bigint)",
	"CREATE INDEX gr1_k ON gr1 (k)",
	"CREATE TABLE wit (id bigint PRIMARY KEY, tag bigint)",
	"CREATE TABLE duty (id int PRIMARY KEY, pair int, on_duty int)",
	"CREATE INDEX duty_pair ON duty (pair)",
	"CREATE TABLE slots (id bigint PRIMARY KEY, g int, pad text)",
	"CREATE INDEX slots_g ON slots (g)",
	"CREATE SEQUENCE sq0",
	"CREATE SEQUENCE sq1 CACHE 7",
};

bool load_setup(struct world *w, struct client *c)
{
	struct mtxn *x;
	struct buf b;
	bool good;

	if (!ok(w, c, client_run(c, LIMIT, NULL)))
		return false;
	for (size_t i = 0; i < sizeof definitions / sizeof definitions[0]; i++)
		if (!ok(w, c, client_run(c, LIMIT, "%s", definitions[i])))
			return false;
	for (size_t i = 0; history_definitions[i]; i++)
		if (!ok(w, c, client_run(c, LIMIT, "%s", history_definitions[i])))
			return false;
	x = model_txn_begin(w->model);
	buf_init(&b, &w->mem);
	buf_printf(&b, "INSERT INTO acct VALUES ");
	for (int i = 1; i <= ACCOUNTS; i++)
		buf_printf(&b, "%s(%d, %d, %" PRId64 ")", i > 1 ? ", " : "", i, BALANCE, model_txn_write(x, 0, false));
	put_u8(&b, 0);
	good = ok(w, c, client_run(c, LIMIT, "%s", (char *)b.data));
	buf_fini(&b);
	if (good)
		model_txn_end(w->model, x, TXN_ACKED);
	good = good && ok(w, c, client_run(c, LIMIT, "INSERT INTO duty SELECT i, i / 2, 1 FROM generate_series(0, %d) i",
					   2 * PAIRS - 1));
	client_hang_up(c);
	return good && !w->failed;
}

/* -- the last comparison ---------------------------------------------------------------------------------------- */

static bool value_equal(const struct client *c, uint32_t row, uint32_t column, const struct mvalue *v)
{
	const char *text = c->reply.cells.at[row * c->reply.columns + column];
	char number[24];

	if (!v || v->null || !text)
		return (!v || v->null) == !text;
	if (v->text)
		return strlen(text) == v->bytes && memcmp(text, v->p, v->bytes) == 0;
	snprintf(number, sizeof number, "%" PRId64, v->i);
	return strcmp(text, number) == 0;
}

static struct mrow *live_row(struct mtable *t, int64_t id)
{
	struct mrow *r = map_find(&t->by_id, (uint64_t)id);

	return r && r->live ? r : NULL;
}

/* Column 0 is id in all tables; those without a primary key are empty. */
static void rows_compare(struct world *w, struct client *c, struct mtable *t, const char *how)
{
	for (uint32_t i = 0; i < c->reply.rows && !w->failed; i++) {
		struct mrow *r = live_row(t, client_int(c, i, 0));
		uint32_t column = 0;

		if (!r) {
			world_violation(w, "%s on %s has a row of %s with id %s that is not in the log's state", how,
					c->node->name, t->def->name, client_cell(c, i, 0));
			return;
		}
		for (uint16_t k = 0; k < t->def->column_count; k++) {
			const struct mvalue *v = k < r->count ? &r->values[k] : NULL;

			if (t->def->columns[k].dropped)
				continue;
			if (!value_equal(c, i, column++, v))
				world_violation(w, "%s on %s: row %s of %s has %s = %.60s", how, c->node->name,
						client_cell(c, i, 0), t->def->name, t->def->columns[k].name,
						client_cell(c, i, column - 1));
		}
	}
}

static void table_compare(struct world *w, struct client *c, struct mtable *t)
{
	uint32_t asked = 0;

	if (!ok(w, c, client_run(c, LIMIT, "SELECT * FROM %s", t->def->name)))
		return;
	if (c->reply.rows != t->live)
		world_violation(w, "%s has %u rows of %s, the log says %" PRIu64, c->node->name, c->reply.rows,
				t->def->name, t->live);
	rows_compare(w, c, t, "a scan");
	for (size_t i = 0; i < t->rows.count && asked < 8 && t->def->index_count && !w->failed;
	     i += 1 + t->rows.count / 8) {
		const struct mrow *r = t->rows.at[i];
		bool there = live_row(t, r->id) != NULL;

		asked++;
		if (!ok(w, c, client_run(c, LIMIT, "SELECT * FROM %s WHERE id = %" PRId64, t->def->name, r->id)))
			return;
		if (c->reply.rows != there)
			world_violation(w, "%s: %s with id %" PRId64 " is %u rows by key", c->node->name, t->def->name,
					r->id, c->reply.rows);
		rows_compare(w, c, t, "a key");
	}
	for (uint16_t i = 0; i < t->def->index_count && !w->failed; i++)
		if (model_index_entries(w->model, t->def->indexes[i].storage) != t->live)
			world_violation(w, "index %s has %" PRIu64 " entries for %" PRIu64 " rows",
					t->def->indexes[i].name,
					model_index_entries(w->model, t->def->indexes[i].storage), t->live);
}

static bool audit(struct world *w, struct client *c)
{
	if (!ok(w, c, client_run(c, LIMIT, "SELECT * FROM valence.check_atoms()")))
		return false;
	if (c->reply.rows)
		world_violation(w, "check_atoms() on %s finds %u disagreements, the first of atom %s", c->node->name,
				c->reply.rows, client_cell(c, 0, 0));
	return !w->failed;
}

bool load_verify(struct world *w, struct client *c)
{
	for (uint32_t i = 0; i < w->node_count && !w->failed; i++) {
		struct mtable *t;

		if (!ok(w, c, client_run_on(c, LIMIT, &w->nodes[i])))
			return false;
		for (uint32_t k = 0; (t = model_table_at(w->model, k)) && !w->failed; k++)
			if (!t->gone && t->def)
				table_compare(w, c, t);
		if (!w->failed && i == 0 && !audit(w, c))
			return false;
		if (!w->failed)
			client_hang_up(c);
	}
	return !w->failed;
}
