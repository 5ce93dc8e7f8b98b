/*
 * load_skew.c - what SERIALIZABLE keeps and no lower level does (sim).
 *
 * duty(id int primary key, pair int, on_duty int): of the two of a pair one is always on duty. Who finds both on sends one home;
 * who finds one off calls that one back: each writes one row, having read two (write skew).
 * slots(id bigint primary key, g int, pad text): no group has more than SLOTS rows. Who finds room adds a row, who finds none removes them all:
 * each adds rows that no other has locked (a predicate's write skew). Both are read by key, by an index, and whole.
 * Every snapshot, whoever takes it, must show both to hold: writers' own, and those of readers at any level.
 */
#include "sim/load.h"

#include <inttypes.h>
#include <stdio.h>

#define GROUPS 4
#define SLOTS 3
#define PAD_BYTES 20000 /* so that an atom is full after some rows, and new ones are made under those who read the table */

enum at {
	AT_START, AT_BEGIN, AT_SAVEPOINT, AT_READ, AT_BACK, AT_WRITE, AT_COMMIT, AT_ROLLBACK, AT_READER, AT_READER_DUTY,
	AT_READER_SLOTS
};
struct skew {
	enum at at;
	bool slots, savepoint;
	int pair, group;
	int id, on_duty;        /* what it decided to write */
	int64_t count;
	int64_t next_id;
};

static void end(struct client *c, enum txn_end how)
{
	((struct skew *)c->state)->at = AT_START;
	client_count(c, how);
	client_next(c, MILLIS(8));
}

static void ask(struct client *c, enum at at, const char *sql)
{
	((struct skew *)c->state)->at = at;
	client_query(c, "%s", sql);
}

static void start(struct client *c)
{
	static const char *const readers[] = {"BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
					      "BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN ISOLATION LEVEL REPEATABLE READ",
					      "BEGIN"};
	struct skew *s = c->state;

	s->slots = rng_below(&c->rng, 2);
	s->savepoint = rng_below(&c->rng, 6) == 0;
	s->pair = (int)rng_below(&c->rng, PAIRS);
	s->group = (int)rng_below(&c->rng, GROUPS);
	if (rng_below(&c->rng, 4) == 0)
		ask(c, AT_READER, readers[rng_below(&c->rng, 4)]);
	else
		ask(c, AT_BEGIN, "BEGIN ISOLATION LEVEL SERIALIZABLE");
}

/* What the transaction depends on: by key, by an index, or whatever the table has. */
static void read(struct client *c)
{
	struct skew *s = c->state;
	uint64_t how = rng_below(&c->rng, 3);

	s->at = AT_READ;
	if (s->slots)
		client_query(c, "SELECT count(*) FROM slots WHERE %s = %d", how ? "g" : "g + 0", s->group);
	else if (how == 2)
		client_query(c, "SELECT id, on_duty FROM duty WHERE id IN (%d, %d) ORDER BY id", s->pair * 2, s->pair * 2 + 1);
	else
		client_query(c, "SELECT id, on_duty FROM duty WHERE %s = %d ORDER BY id", how ? "pair" : "pair + 0", s->pair);
}

static void decide(struct client *c)
{
	struct skew *s = c->state;
	int64_t on = c->reply.rows == 2 ? client_int(c, 0, 1) + client_int(c, 1, 1) : 0;

	s->count = client_int(c, 0, 0);
	if (s->slots ? s->count > SLOTS : on < 1) {
		world_violation(c->w, "client %u (skew) on %s: %" PRId64 " of group %d, or %" PRId64 " on duty of pair %d", c->number,
				c->node->name, s->count, s->group, on, s->pair);
		return;
	}
	if (s->slots)
		return;
	s->on_duty = on == 1;
	s->id = s->pair * 2 + (int)(on == 1 ? client_int(c, 0, 1) : (int64_t)rng_below(&c->rng, 2));
}

static void write_one(struct client *c)
{
	struct skew *s = c->state;

	s->at = AT_WRITE;
	if (!s->slots)
		client_query(c, "UPDATE duty SET on_duty = %d WHERE id = %d", s->on_duty, s->id);
	else if (s->count < SLOTS)
		client_query(c, "INSERT INTO slots VALUES (%" PRId64 ", %d, repeat('x', %d))", (int64_t)c->number * 1000000 + s->next_id++, s->group,
			     PAD_BYTES);
	else
		client_query(c, "DELETE FROM slots WHERE g = %d", s->group);
}

static void readers_check(struct client *c, bool slots)
{
	for (uint32_t i = 0; i < c->reply.rows; i++)
		if (slots ? client_int(c, i, 1) > SLOTS : client_int(c, i, 1) < 1)
			world_violation(c->w, "client %u (skew) on %s: %s %s has %s", c->number, c->node->name,
					slots ? "group" : "pair", client_cell(c, i, 0), client_cell(c, i, 1));
	if (!slots && c->reply.rows != PAIRS)
		world_violation(c->w, "client %u (skew) on %s: %u pairs", c->number, c->node->name, c->reply.rows);
}

static void replied(struct client *c)
{
	struct skew *s = c->state;

	switch (s->at) {
	case AT_BEGIN:
		if (s->savepoint)
			ask(c, AT_SAVEPOINT, "SAVEPOINT s");
		else
			read(c);
		return;
	case AT_SAVEPOINT:
		read(c);
		return;
	case AT_READ:
		decide(c);
		if (!c->w->failed && s->savepoint) /* what was read counts all the same */
			ask(c, AT_BACK, "ROLLBACK TO s");
		else if (!c->w->failed)
			write_one(c);
		return;
	case AT_BACK:
		write_one(c);
		return;
	case AT_WRITE:
		ask(c, AT_COMMIT, "COMMIT");
		return;
	case AT_READER:
		ask(c, AT_READER_DUTY, "SELECT pair, sum(on_duty) FROM duty GROUP BY pair");
		return;
	case AT_READER_DUTY:
		readers_check(c, false);
		if (!c->w->failed)
			ask(c, AT_READER_SLOTS, "SELECT g, count(*) FROM slots GROUP BY g");
		return;
	case AT_READER_SLOTS:
		readers_check(c, true);
		if (!c->w->failed)
			ask(c, AT_COMMIT, "COMMIT");
		return;
	case AT_COMMIT:
		end(c, strcmp(c->reply.tag, "COMMIT") ? TXN_REFUSED : TXN_ACKED);
		return;
	default:
		end(c, TXN_REFUSED);
	}
}

static void skew_event(struct client *c, enum client_event ev)
{
	struct skew *s = c->state;

	if (ev == CLIENT_LOST) {
		end(c, s->at == AT_COMMIT ? TXN_UNKNOWN : TXN_REFUSED);
	} else if (ev == CLIENT_WOKEN && c->phase == CLIENT_CLOSED) {
		client_connect(c, NULL);
	} else if (ev == CLIENT_CONNECTED && c->reply.error) {
		client_next(c, MILLIS(50));
	} else if (ev != CLIENT_REPLY) {
		start(c);
	} else if (!c->reply.error || s->at == AT_ROLLBACK) {
		replied(c);
	} else if (!client_error_expected(c)) {
		world_violation(c->w, "client %u (skew) on %s: %s %s for %s", c->number, c->node->name, c->reply.sqlstate,
				c->reply.message, c->sql);
	} else if (client_outcome_unknown(c) || c->reply.status == 'I') {
		end(c, client_outcome_unknown(c) ? TXN_UNKNOWN : TXN_REFUSED);
	} else {
		ask(c, AT_ROLLBACK, "ROLLBACK");
	}
}

const struct load load_skew = {"skew", sizeof(struct skew), skew_event, true};
