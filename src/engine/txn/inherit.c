/*
 * inherit.c - what a submitted transaction has locked goes on to the next one before the log has decided (engine/txn;
 * adr/0014).
 *
 * From its submission on only the log ends a transaction, and it comes before all that this engine submits later (P4). So
 * another transaction of this engine may have its rows at once, with its new values, if it then commits only where the
 * first did: its record comes later, names the first one's grantors and touches as well as its own, and no newer plan, so
 * that whatever voids the first voids it too (P5). A row that many sessions of one engine change is then changed many
 * times in one batch, instead of once for each flush of a journal.
 *
 * Who has a row so goes on as after any change of it: the statement runs anew, now with the values inherited. Only
 * statements of which nothing is told before their commit is decided may (access_statement_inherits).
 */
#include "base/cover.h"
#include "engine/txn/txn_int.h"

#define INHERIT_LAG_MAX 4096 /* records since the plan that is passed on: it holds back the horizon, so at times a row waits for the log */
#define INHERIT_ROWS_MAX 64 /* that a transaction has changed: with more of them it waits for the log, as the next one does */

/* -- who passes its locks on --------------------------------------------------------------------------- */

/* Rows that it changed in place only: no keys, for the next one finds rows by what is in the index. */
static bool may_pass(const struct txns *t, const struct txn *x, const struct record *r)
{
	struct map_slot *m;
	size_t at = 0;
	uint32_t rows = 0;

	if (r->parts || r->named || x->ddl.count || !r->touch_count || !r->touches[0].storage ||
	    txns_applied(t) > r->plan + INHERIT_LAG_MAX)
		return false;
	while ((m = map_next(&x->overlay.tables, &at))) {
		const struct overlay_table *tab = m->value;
		struct map_slot *i;
		size_t index_at = 0;

		rows += tab->changed_count;
		if (rows > INHERIT_ROWS_MAX)
			return false;
		while (tab->changed_count && (i = map_next(&x->overlay.indexes, &index_at)))
			if (((const struct overlay_index *)i->value)->table == tab->table)
				return false;
		for (const struct overlay_row *row = tab->changed_count ? tab->first : NULL; row; row = row->next)
			if (row->newest && row->newest->change == OVERLAY_DELETED)
				return false;
	}
	return rows > 0;
}

void inherit_submitted(struct txns *t, struct txn *x, const struct record *r)
{
	struct record *header;

	if (!may_pass(t, x, r))
		return;
	header = ARENA_NEW(&x->arena, struct record);
	*header = *r;
	header->payload = NULL;
	x->sent = header;
	lock_pass_owner(t->locks, t->self, x->id);
}

void inherit_decided(struct txns *t, const struct txn *x, bool committed)
{
	if (!x->passed_on)
		return;
	LIST_FOREACH(it, &t->txns) {
		struct txn *y = CONTAINER_OF(it, struct txn, all);

		for (size_t i = 0; i < y->inherits.count; i++) {
			if (y->inherits.at[i].of != x->id)
				continue;
			y->inherits.at[i].decided = true;
			if (!committed && y->state != TXN_SUBMITTED)
				y->doomed = true; /* its record would be void */
		}
	}
}

/* -- who takes them ------------------------------------------------------------------------------------- */

bool inherit_may_take(const struct txn *y)
{
	return y->a && y->a->may_inherit && y->iso == ISOLATION_READ_COMMITTED && y->state == TXN_ACTIVE && !y->wrote &&
	       y->a->stmt_mark == 0 && !y->ddl.count && !y->a->savepoints.count;
}

static bool inherited(const struct txn *y, rel_id storage, row_id row)
{
	for (size_t i = 0; i < y->inherited_rows.count; i++)
		if (y->inherited_rows.at[i].storage == storage && y->inherited_rows.at[i].row == row)
			return true;
	return false;
}

/* Its newest values, if it has changed the row. */
static void inherit_row(struct txns *t, struct txn *y, const struct txn *x, rel_id storage, row_id row)
{
	struct overlay_table *tab = overlay_table((struct overlay *)&x->overlay, storage);
	const struct overlay_row *r = tab ? overlay_row(tab, row) : NULL;
	struct inherited_row mine = {.storage = storage, .row = row};

	if (!r || !r->newest || inherited(y, storage, row))
		return;
	ASSERT_OP(r->newest->change, ==, OVERLAY_UPDATED);
	mine.table = tab->table;
	mine.cell_count = r->newest->cell_count;
	mine.cells = ARENA_NEW_N(&y->arena, struct cell, mine.cell_count);
	for (uint32_t i = 0; i < mine.cell_count; i++) {
		mine.cells[i] = r->newest->cells[i];
		if (mine.cells[i].phys == PHYS_VAR && !mine.cells[i].null)
			mine.cells[i].var = arena_dup(&y->arena, mine.cells[i].var, mine.cells[i].bytes);
	}
	VEC_PUSH(t->mem, &y->inherited_rows, mine);
	y->inherited_fresh = true;
}

static void depend(struct txns *t, struct txn *y, struct txn *x)
{
	struct inheritance dep = {.of = x->id};
	struct record *header;

	for (size_t i = 0; i < y->inherits.count; i++)
		if (y->inherits.at[i].of == x->id)
			return;
	header = ARENA_NEW(&y->arena, struct record);
	*header = *x->sent;
	dep.header = header;
	VEC_PUSH(t->mem, &y->inherits, dep);
	x->passed_on = true;
	t->stats.grants_inherited++;
	COVER(GRANT_INHERITED);
}

/* Of all who had it before in a mode that excludes this one, as not every one has changed it: the newest values are first. */
void inherit_granted(struct txns *t, struct txn *y, const uint8_t *key, uint32_t key_len)
{
	struct lock_owner_id before;
	rel_id storage;
	row_id row;

	memcpy(&storage, key + 1, 8);
	memcpy(&row, key + 9, 8);
	for (uint32_t n = 0; (before = lock_passed_by(t->locks, key, key_len, t->self, y->id, n)).engine; n++) {
		struct txn *x = txns_find(t, before.txn);

		ASSERT(before.engine == t->self && x && x->sent);
		inherit_row(t, y, x, storage, row);
		depend(t, y, x);
	}
}

/* The statement runs anew: first of all its transaction has changed what it inherited. */
void inherit_push(struct access *a)
{
	struct txn *y = a->txn;

	if (a->stmt_mark)
		return; /* an earlier statement's, still there */
	for (size_t i = 0; i < y->inherited_rows.count; i++) {
		const struct inherited_row *r = &y->inherited_rows.at[i];

		overlay_update(&y->overlay, r->table, r->storage, y->stmt, r->row, r->cells, r->cell_count);
	}
}

bool inherit_open(const struct txn *y)
{
	for (size_t i = 0; i < y->inherits.count; i++)
		if (!y->inherits.at[i].decided)
			return true;
	return false;
}

/* -- its record -------------------------------------------------------------------------------------------- */

static bool add_grantor(struct record *r, engine_id engine)
{
	uint32_t i = 0;

	while (i < r->grantor_count && r->grantors[i] < engine)
		i++;
	if (i < r->grantor_count && r->grantors[i] == engine)
		return true;
	if (r->grantor_count == RECORD_GRANTORS_MAX)
		return false;
	memmove(&r->grantors[i + 1], &r->grantors[i], (r->grantor_count - i) * sizeof r->grantors[0]);
	r->grantors[i] = engine;
	r->grantor_count++;
	return true;
}

static bool add_touch(struct record *r, struct touch touch)
{
	for (uint32_t i = 0; i < r->touch_count; i++)
		if (r->touches[i].relation == touch.relation &&
		    (r->touches[i].storage == touch.storage || !r->touches[i].storage))
			return true;
	if (r->touch_count == RECORD_TOUCHES_MAX)
		return false;
	r->touches[r->touch_count++] = touch;
	return true;
}

bool inherit_merge(const struct txn *y, struct record *r)
{
	for (size_t k = 0; k < y->inherits.count; k++) {
		const struct record *h = y->inherits.at[k].header;

		if (y->inherits.at[k].decided)
			continue;
		for (uint32_t i = 0; i < h->grantor_count; i++)
			if (!add_grantor(r, h->grantors[i]))
				return false;
		for (uint32_t i = 0; i < h->touch_count; i++)
			if (!add_touch(r, h->touches[i]))
				return false;
		if (!r->plan || h->plan < r->plan)
			r->plan = h->plan;
	}
	return true;
}
