/*
 * load_history.c - transactions over lists and registers, whose history is checked by src/history in the end (sim).
 *
 * hl(id int primary key, v text): a list; an append puts a comma and a value behind the text. hr(id int primary key, v bigint): a
 * register. Every value is new. Clients on all engines use a few keys at a time; a list that has grown long is left
 * for a new key. Transactions are of all levels (SERIALIZABLE ones have a cluster to themselves), short and long, by rows and
 * by ranges; some are single statements. The checker needs nothing from the engines: it goes by what clients were told
 * (history/history.h).
 */
#include "sim/load_history.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "history/history.h"
#include "sim/load.h"

#define SLOTS 6           /* keys in use at a time, of each kind */
#define LIST_MAX 24       /* elements, then another key takes its place */
#define CLIENTS_MAX 256
#define KEYS_READ 4       /* by one statement */
#define FINDINGS 3

struct slot { uint32_t key, appends; };
struct histories {
	struct world *w;
	struct buf text;
	struct buf ops[CLIENTS_MAX]; /* of the client's transaction under way */
	struct slot slots[SLOTS];
	uint32_t processes, keys;
	int64_t values;
	bool serializable;           /* all transactions are: beside others it is no more than a snapshot (doc/adr/0011) */
};

const char *const history_definitions[] = {
	"CREATE TABLE hl (id int PRIMARY KEY, v text NOT NULL)",
	"CREATE TABLE hr (id int PRIMARY KEY, v bigint NOT NULL)",
	NULL,
};

struct histories *histories_new(struct world *w)
{
	struct histories *hs = MEM_NEW(&w->mem, struct histories);

	hs->w = w;
	hs->serializable = rng_below(&w->rng, 3) == 0;
	buf_init(&hs->text, &w->mem);
	for (uint32_t i = 0; i < CLIENTS_MAX; i++)
		buf_init(&hs->ops[i], &w->mem);
	for (uint32_t i = 0; i < SLOTS; i++)
		hs->slots[i].key = ++hs->keys;
	return hs;
}

void histories_free(struct histories *hs)
{
	for (uint32_t i = 0; i < CLIENTS_MAX; i++)
		buf_fini(&hs->ops[i]);
	buf_fini(&hs->text);
	MEM_FREE(&hs->w->mem, hs);
}

/* -- one transaction ---------------------------------------------------------------------------------------------- */

enum at { AT_START, AT_SET, AT_BEGIN, AT_STATEMENT, AT_COMMIT, AT_ROLLBACK };
enum what {
	READ_LISTS, READ_REGISTERS, SCAN_LISTS, SCAN_REGISTERS, LOCK_LISTS, POINT_LIST, POINT_REGISTER, /* reads */
	APPEND, APPEND_PREPARED, APPEND_RETURNING, WRITE, WRITE_PREPARED, WHATS
};
struct hist {
	enum at at;
	enum what what;
	bool latest, single, open;
	uint32_t process, steps, step;
	uint32_t keys[SLOTS], key_count; /* of the statement */
	uint32_t last_key;               /* that was read last, of either kind; 0: none */
	bool last_list;
	int64_t value;
};

static struct histories *all(struct client *c)
{
	return c->w->histories;
}

static struct buf *ops(struct client *c)
{
	ASSERT_OP(c->number, <, CLIENTS_MAX);
	return &all(c)->ops[c->number];
}

static void event(struct client *c, const char *what)
{
	const struct hist *s = c->state;

	buf_printf(&all(c)->text, "%" PRIu64 " %u %s", c->w->now_us, s->process, what);
}

static void hist_end(struct client *c, enum txn_end how)
{
	static const char *const types[] = {[TXN_ACKED] = "ok", [TXN_REFUSED] = "fail", [TXN_UNKNOWN] = "info"};
	struct hist *s = c->state;

	if (s->open) {
		event(c, types[how]);
		buf_printf(&all(c)->text, "%.*s\n", (int)ops(c)->size, (char *)ops(c)->data);
	}
	s->open = false;
	s->at = AT_START;
	client_count(c, how);
	client_next(c, MILLIS(8));
}

static uint32_t pick_key(struct client *c)
{
	uint32_t hot = c->w->hot_keys < SLOTS ? c->w->hot_keys : SLOTS;

	return all(c)->slots[rng_below(&c->rng, rng_below(&c->rng, 100) < c->w->hot_percent ? hot : SLOTS)].key;
}

static void pick_keys(struct client *c, uint32_t count)
{
	struct hist *s = c->state;

	for (s->key_count = 0; s->key_count < count;) {
		uint32_t key = pick_key(c);
		bool twice = false;

		for (uint32_t i = 0; i < s->key_count; i++)
			twice |= s->keys[i] == key;
		if (!twice)
			s->keys[s->key_count++] = key;
		else
			count--;
	}
}

/* The key of a write: often the one that the transaction has just read. */
static void pick_write(struct client *c, bool list)
{
	struct hist *s = c->state;
	bool again = s->last_key && s->last_list == list && rng_below(&c->rng, 2);

	pick_keys(c, 1);
	if (again)
		s->keys[0] = s->last_key;
	s->value = ++all(c)->values;
}

/* A list that is long enough gives its place to a new key, for registers as well. */
static void appended(struct client *c, uint32_t key)
{
	struct histories *hs = all(c);

	for (uint32_t i = 0; i < SLOTS; i++)
		if (hs->slots[i].key == key && ++hs->slots[i].appends >= LIST_MAX)
			hs->slots[i] = (struct slot){++hs->keys, 0};
}

static void ask_keys(struct client *c, const char *table, const char *more)
{
	const struct hist *s = c->state;
	char list[100];
	int n = 0;

	for (uint32_t i = 0; i < s->key_count; i++)
		n += snprintf(list + n, sizeof list - (size_t)n, "%s%u", i ? ", " : "", s->keys[i]);
	client_query(c, "SELECT id, v FROM %s WHERE id IN (%s)%s", table, list, more);
}

/* The rows between two of the keys in use; those that are not there were looked for as well. */
static void ask_range(struct client *c, const char *table)
{
	struct hist *s = c->state;
	uint32_t lo = pick_key(c), hi = pick_key(c);

	if (hi < lo) {
		uint32_t key = lo;

		lo = hi;
		hi = key;
	}
	s->key_count = 0;
	for (uint32_t i = 0; i < SLOTS; i++)
		if (all(c)->slots[i].key >= lo && all(c)->slots[i].key <= hi)
			s->keys[s->key_count++] = all(c)->slots[i].key;
	client_query(c, "SELECT id, v FROM %s WHERE id >= %u AND id <= %u", table, lo, hi);
}

static void ask_prepared(struct client *c, uint32_t number, const char *sql, bool write)
{
	const struct hist *s = c->state;
	char key[24], value[24];
	const char *params[] = {key, value};

	snprintf(key, sizeof key, "%u", s->keys[0]);
	snprintf(value, sizeof value, "%" PRId64, s->value);
	client_execute(c, number, sql, write ? 2 : 1, params);
}

static void statement(struct client *c)
{
	struct hist *s = c->state;

	s->at = AT_STATEMENT;
	s->what = (enum what)rng_below(&c->rng, WHATS);
	if (s->what >= APPEND)
		pick_write(c, s->what < WRITE);
	else
		pick_keys(c, s->what == POINT_LIST || s->what == POINT_REGISTER ? 1 : 1 + (uint32_t)rng_below(&c->rng, KEYS_READ));
	switch (s->what) {
	case READ_LISTS:
	case LOCK_LISTS:
		ask_keys(c, "hl", s->what == LOCK_LISTS ? " FOR UPDATE" : "");
		return;
	case READ_REGISTERS:
		ask_keys(c, "hr", "");
		return;
	case SCAN_LISTS:
		ask_range(c, "hl");
		return;
	case SCAN_REGISTERS:
		ask_range(c, "hr");
		return;
	case POINT_LIST:
		ask_prepared(c, 1, "SELECT id, v FROM hl WHERE id = $1", false);
		return;
	case POINT_REGISTER:
		ask_prepared(c, 2, "SELECT id, v FROM hr WHERE id = $1", false);
		return;
	case APPEND:
		client_query(c, "INSERT INTO hl VALUES (%u, '%" PRId64 "') ON CONFLICT (id) DO UPDATE SET v = hl.v || ',' || excluded.v",
			     s->keys[0], s->value);
		return;
	case APPEND_PREPARED:
		ask_prepared(c, 3, "UPDATE hl SET v = v || ',' || $2 WHERE id = $1", true);
		return;
	case APPEND_RETURNING:
		client_query(c, "UPDATE hl SET v = v || ',%" PRId64 "' WHERE id = %u RETURNING id, v", s->value, s->keys[0]);
		return;
	case WRITE:
		client_query(c, "INSERT INTO hr VALUES (%u, %" PRId64 ") ON CONFLICT (id) DO UPDATE SET v = excluded.v",
			     s->keys[0], s->value);
		return;
	case WRITE_PREPARED:
		ask_prepared(c, 4, "UPDATE hr SET v = $2 WHERE id = $1", true);
		return;
	case WHATS:
		UNREACHABLE();
	}
}

/* -- what it saw -------------------------------------------------------------------------------------------------- */

/* The answer for one key: the row's value, or that there is none. */
static void tell_key(const struct client *c, struct buf *out, uint32_t key, bool list)
{
	const char *v = NULL;

	for (uint32_t i = 0; i < c->reply.rows; i++)
		if (client_int(c, i, 0) == (int64_t)key)
			v = client_cell(c, i, 1);
	if (list)
		buf_printf(out, " l%u?[%s]", key, v ? v : "");
	else
		buf_printf(out, " r%u?%s", key, v ? v : "nil");
}

static void tell_reads(struct client *c, bool list)
{
	struct hist *s = c->state;

	if (s->what == SCAN_LISTS || s->what == SCAN_REGISTERS)
		buf_printf(ops(c), " *");
	for (uint32_t i = 0; i < s->key_count; i++)
		tell_key(c, ops(c), s->keys[i], list);
	s->last_key = s->key_count ? s->keys[0] : 0;
	s->last_list = list;
}

static void tell_write(struct client *c, bool list)
{
	struct hist *s = c->state;
	const char *n = strrchr(c->reply.tag, ' ');

	if (!n || strcmp(n, " 0") == 0)
		return; /* there was no row to update */
	buf_printf(ops(c), list ? " l%u+=%" PRId64 : " r%u=%" PRId64, s->keys[0], s->value);
	if (s->what == APPEND_RETURNING)
		tell_key(c, ops(c), s->keys[0], true);
	if (list)
		appended(c, s->keys[0]);
}

static void statement_done(struct client *c)
{
	struct hist *s = c->state;

	if (ops(c)->size)
		buf_printf(ops(c), " |");
	switch (s->what) {
	case READ_LISTS: case SCAN_LISTS: case LOCK_LISTS: case POINT_LIST:
		tell_reads(c, true);
		return;
	case READ_REGISTERS: case SCAN_REGISTERS: case POINT_REGISTER:
		tell_reads(c, false);
		return;
	case APPEND: case APPEND_PREPARED: case APPEND_RETURNING:
		tell_write(c, true);
		return;
	case WRITE: case WRITE_PREPARED:
		tell_write(c, false);
		return;
	case WHATS:
		UNREACHABLE();
	}
}

/* Of a statement or commit whose outcome nobody was told: what it may have written. */
static void tell_attempt(struct client *c)
{
	const struct hist *s = c->state;

	if (s->at != AT_STATEMENT || s->what < APPEND)
		return;
	if (ops(c)->size)
		buf_printf(ops(c), " |");
	buf_printf(ops(c), s->what < WRITE ? " l%u+=%" PRId64 : " r%u=%" PRId64, s->keys[0], s->value);
}

/* -- its course ----------------------------------------------------------------------------------------------------- */

static const struct { const char *name, *begin; uint32_t weight; } levels[] = {
	{"rc", "BEGIN", 4}, {"rr", "BEGIN ISOLATION LEVEL REPEATABLE READ", 5},
	{"ser", "BEGIN ISOLATION LEVEL SERIALIZABLE", 0},
};

static void start(struct client *c)
{
	struct hist *s = c->state;
	uint64_t pick = rng_below(&c->rng, 9);
	uint32_t level = 0;

	while (pick >= levels[level].weight)
		pick -= levels[level++].weight;
	s->single = rng_below(&c->rng, 4) == 0 && !all(c)->serializable;
	if (all(c)->serializable)
		level = sizeof levels / sizeof levels[0] - 1;
	s->steps = 1 + (uint32_t)rng_below(&c->rng, 6);
	s->step = s->last_key = 0;
	s->open = true;
	buf_reset(ops(c));
	event(c, "invoke");
	buf_printf(&all(c)->text, " %s %s%s\n", c->node->name, s->single ? "rc" : levels[level].name, s->latest ? ",latest" : "");
	if (s->single) {
		statement(c);
		return;
	}
	s->at = AT_BEGIN;
	client_query(c, "%s", levels[level].begin);
}

static void failed(struct client *c)
{
	struct hist *s = c->state;

	if (!client_error_expected(c)) {
		world_violation(c->w, "client %u (history) on %s: %s %s for %s", c->number, c->node->name, c->reply.sqlstate,
				c->reply.message, c->sql);
		return;
	}
	if (client_outcome_unknown(c)) {
		tell_attempt(c);
		hist_end(c, TXN_UNKNOWN);
	} else if (c->reply.status == 'I') {
		hist_end(c, TXN_REFUSED);
	} else {
		s->at = AT_ROLLBACK;
		client_query(c, "ROLLBACK");
	}
}

static void replied(struct client *c)
{
	struct hist *s = c->state;

	if (s->at == AT_ROLLBACK) {
		hist_end(c, TXN_REFUSED);
		return;
	}
	if (c->reply.error) {
		failed(c);
		return;
	}
	switch (s->at) {
	case AT_SET:
		start(c);
		return;
	case AT_STATEMENT:
		statement_done(c);
		s->step++;
		sim_stats.reads += s->what < APPEND;
		/* fall through */
	case AT_BEGIN:
		if (s->single) {
			hist_end(c, TXN_ACKED);
		} else if (s->step < s->steps) {
			statement(c);
		} else {
			s->at = AT_COMMIT;
			client_query(c, "COMMIT");
		}
		return;
	case AT_COMMIT:
		hist_end(c, TXN_ACKED);
		return;
	case AT_START:
	case AT_ROLLBACK:
		return;
	}
}

static void history_lost(struct client *c)
{
	struct hist *s = c->state;

	if (!s->open) {
		s->at = AT_START;
		client_next(c, MILLIS(20));
		return;
	}
	if (s->single)
		tell_attempt(c);
	hist_end(c, s->at == AT_COMMIT || s->single ? TXN_UNKNOWN : TXN_REFUSED);
}

static void history_event(struct client *c, enum client_event ev)
{
	struct hist *s = c->state;

	switch (ev) {
	case CLIENT_LOST:
		history_lost(c);
		return;
	case CLIENT_WOKEN:
		if (c->phase == CLIENT_CLOSED)
			client_connect(c, NULL);
		else
			start(c);
		return;
	case CLIENT_CONNECTED:
		if (c->reply.error) {
			client_next(c, MILLIS(50));
			return;
		}
		s->process = ++all(c)->processes;
		s->latest = rng_below(&c->rng, 3) == 0;
		s->at = AT_SET;
		client_query(c, "SET valence.read_consistency = '%s'", s->latest ? "latest" : "local");
		return;
	case CLIENT_REPLY:
		replied(c);
	}
}

const struct load load_history = {"history", sizeof(struct hist), history_event, true};

/* -- in the end ------------------------------------------------------------------------------------------------------- */

static bool read_all(struct world *w, struct client *c, const char *table, bool list, struct buf *out)
{
	if (!client_run(c, SECONDS(20), "SELECT id, v FROM %s", table)) {
		world_violation(w, "%s: %s %s", c->sql, c->phase == CLIENT_BUSY ? "no answer" : c->reply.sqlstate,
				c->reply.message);
		return false;
	}
	for (uint32_t key = 1; key <= w->histories->keys; key++)
		tell_key(c, out, key, list);
	return true;
}

static bool read_everywhere(struct world *w, struct client *c)
{
	struct histories *hs = w->histories;

	for (uint32_t i = 0; i < w->node_count; i++) {
		uint64_t from = w->now_us;
		struct buf reads;
		bool good;

		buf_init(&reads, &w->mem);
		good = client_run_on(c, SECONDS(20), &w->nodes[i]) && read_all(w, c, "hl", true, &reads);
		buf_printf(&reads, " |");
		good = good && read_all(w, c, "hr", false, &reads);
		hs->processes++;
		buf_printf(&hs->text, "%" PRIu64 " %u invoke %s rc,final\n%" PRIu64 " %u ok%.*s\n", from, hs->processes,
			   w->nodes[i].name, w->now_us, hs->processes, (int)reads.size, (char *)reads.data);
		buf_fini(&reads);
		if (!good) {
			world_violation(w, "no final reads on %s", w->nodes[i].name);
			return false;
		}
		client_hang_up(c);
	}
	return true;
}

static void judge(struct world *w)
{
	struct history_options options = {.level = HISTORY_AS_DECLARED, .realtime = HISTORY_COMMIT_TIME, .session = true,
					  .findings_max = FINDINGS};
	const struct buf *text = &w->histories->text;
	struct history_result r;
	struct error err = {.code = ST_OK};

	if (history_check(&w->mem, (const char *)text->data, text->size, &options, &r, &err) != ST_OK) {
		world_violation(w, "the clients' history is none: %s", err.message);
		return;
	}
	sim_stats.history_transactions += r.committed;
	sim_stats.history_edges += r.edges;
	if (r.count)
		world_violation(w, "%u findings in the clients' history, the first: %s", r.count, r.findings[0].text);
	history_result_fini(&r);
}

bool histories_verify(struct world *w, struct client *c)
{
	if (!w->histories->processes)
		return true; /* none of the clients did this */
	if (read_everywhere(w, c))
		judge(w);
	return !w->failed;
}

bool histories_write(const struct histories *hs, const char *path)
{
	FILE *f = fopen(path, "w");
	bool good;

	if (!f)
		return false;
	good = fwrite(hs->text.data, 1, hs->text.size, f) == hs->text.size;
	return fclose(f) == 0 && good;
}
