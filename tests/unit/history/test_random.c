/*
 * test_random.c - histories of a small database that keeps its promises, and of the same with one of them broken.
 *
 * The database is a log of commits over lists and registers. Clients are at engines that lag behind it; their
 * transactions, at all levels together, overlap. With nothing broken no history may have a finding (the checker
 * does not cry wolf); with a promise broken, now and then, histories must have one, of a kind that it explains.
 */
#include "history/history.h"

#include <CUnit/CUnit.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../unit.h"
#include "base/buf.h"
#include "base/env.h"
#include "base/list.h"

#define KEYS 6        /* of each kind: x0 to x5 are lists, r0 to r5 registers */
#define CLIENTS 6
#define STEPS 900
#define WRITES_MAX 8

enum fault {
	SOUND, LOSE_UPDATE, OLD_SESSION, TORN_SNAPSHOT, DIRTY_READ, LOSE_COMMIT, KEEP_ABORT, SKIP_VALIDATION, OLD_LATEST,
	NEW_SNAPSHOT
};
struct version { int64_t value; uint64_t index; };
struct write { uint32_t key; int64_t value; };
struct client {
	enum history_level level;
	bool active, latest, info, process_over;
	uint32_t process, left;
	uint64_t snapshot, session;  /* least snapshot of the next statement */
	uint32_t reads[KEYS * 2 * 4], read_count;
	struct write writes[WRITES_MAX];
	uint32_t write_count;
	struct buf ops;
};
struct db {
	struct rng rng;
	enum fault fault;
	uint64_t log, clock_us, broken;
	VEC(struct version) keys[KEYS * 2];
	struct client *owner[KEYS * 2]; /* who has the row's lock */
	struct client clients[CLIENTS];
	int64_t next_value;
	uint32_t next_process;
	struct buf text;
};

static struct mem account;

static bool is_list(uint32_t key)
{
	return key < KEYS;
}

/* Now and then, and only by the fault that is tried. */
static bool breaks(struct db *d, enum fault f)
{
	bool now = d->fault == f && rng_below(&d->rng, 4) == 0;

	d->broken += now;
	return now;
}

static uint64_t newest(const struct db *d, uint32_t key)
{
	return d->keys[key].count ? d->keys[key].at[d->keys[key].count - 1].index : 0;
}

static void snapshot(struct db *d, struct client *c)
{
	uint64_t least = c->session, lag = rng_below(&d->rng, 6);

	if (c->latest && !breaks(d, OLD_LATEST))
		least = d->log;
	if (breaks(d, OLD_SESSION))
		least = 0;
	c->snapshot = d->log > lag ? d->log - lag : 0;
	if (c->snapshot < least)
		c->snapshot = least;
	c->session = c->snapshot;
}

static void event(struct db *d, const struct client *c, const char *what)
{
	buf_printf(&d->text, "%" PRIu64 " %u %s", ++d->clock_us, c->process, what);
}

static void begin(struct db *d, struct client *c)
{
	static const char *const names[] = {"", "rc", "rr", "ser"};

	if (!c->process || c->process_over) {
		c->process = ++d->next_process;
		c->session = 0;
		c->process_over = false;
	}
	/* serializable ones promise something among themselves only */
	c->level = d->fault == SKIP_VALIDATION ? HISTORY_SERIALIZABLE : (enum history_level)(1 + rng_below(&d->rng, 3));
	c->latest = rng_below(&d->rng, 4) == 0;
	c->active = true;
	c->info = false;
	c->left = 1 + (uint32_t)rng_below(&d->rng, 5);
	c->read_count = c->write_count = 0;
	buf_reset(&c->ops);
	event(d, c, "invoke");
	buf_printf(&d->text, " c%d %s%s\n", (int)(c - d->clients), names[c->level], c->latest ? ",latest" : "");
	snapshot(d, c);
}

static void end(struct db *d, struct client *c, const char *how)
{
	for (uint32_t i = 0; i < KEYS * 2; i++)
		if (d->owner[i] == c)
			d->owner[i] = NULL;
	event(d, c, how);
	buf_printf(&d->text, " %.*s\n", (int)c->ops.size, (char *)c->ops.data);
	c->active = false;
}

static void apply(struct db *d, struct client *c)
{
	d->log++;
	for (uint32_t i = 0; i < c->write_count; i++) {
		struct version v = {c->writes[i].value, d->log};

		if (!breaks(d, LOSE_COMMIT))
			VEC_PUSH(&account, &d->keys[c->writes[i].key], v);
	}
}

static bool valid(struct db *d, struct client *c)
{
	for (uint32_t i = 0; c->level == HISTORY_SERIALIZABLE && i < c->read_count; i++)
		if (newest(d, c->reads[i]) > c->snapshot && !breaks(d, SKIP_VALIDATION))
			return false;
	return true;
}

static void commit(struct db *d, struct client *c)
{
	bool good = rng_below(&d->rng, 12) && (!c->write_count || valid(d, c)), known = rng_below(&d->rng, 10) != 0;

	if (!good && c->write_count && breaks(d, KEEP_ABORT))
		apply(d, c);
	if (good && c->write_count) {
		apply(d, c);
		c->session = d->log;
	}
	c->process_over = !known;
	end(d, c, !known ? "info" : good ? "ok" : "fail");
}

/* What the snapshot has of the key, then what the transaction wrote itself. */
static void read_key(struct db *d, struct client *c, uint32_t key, uint64_t at)
{
	int64_t last = 0;
	const char *comma = "";
	const struct client *dirty = d->owner[key] && d->owner[key] != c && breaks(d, DIRTY_READ) ? d->owner[key] : NULL;

	buf_printf(&c->ops, is_list(key) ? " x%u?[" : " r%u?", key % KEYS);
	for (size_t i = 0; i < d->keys[key].count && d->keys[key].at[i].index <= at; i++) {
		last = d->keys[key].at[i].value;
		if (is_list(key))
			buf_printf(&c->ops, "%s%" PRId64, comma, last);
		comma = ",";
	}
	for (const struct client *from = dirty; from; from = from == c ? NULL : c)
		for (uint32_t i = 0; i < from->write_count; i++) {
			if (from->writes[i].key != key)
				continue;
			last = from->writes[i].value;
			if (is_list(key))
				buf_printf(&c->ops, "%s%" PRId64, comma, last);
			comma = ",";
		}
	for (uint32_t i = 0; !dirty && i < c->write_count; i++) {
		if (c->writes[i].key != key)
			continue;
		last = c->writes[i].value;
		if (is_list(key))
			buf_printf(&c->ops, "%s%" PRId64, comma, last);
		comma = ",";
	}
	if (is_list(key))
		buf_printf(&c->ops, "]");
	else if (last)
		buf_printf(&c->ops, "%" PRId64, last);
	else
		buf_printf(&c->ops, "nil");
	c->reads[c->read_count++] = key;
}

static void read_some(struct db *d, struct client *c)
{
	uint32_t first = (uint32_t)rng_below(&d->rng, KEYS * 2), count = 1 + (uint32_t)rng_below(&d->rng, 3);

	for (uint32_t i = 0; i < count; i++) {
		uint64_t at = c->snapshot;

		if (i && breaks(d, TORN_SNAPSHOT))
			at = d->log;
		read_key(d, c, (first + i) % (KEYS * 2), at);
	}
}

/* False: the row is another's, or newer than the snapshot: the transaction fails. */
static bool write_one(struct db *d, struct client *c)
{
	uint32_t key = (uint32_t)rng_below(&d->rng, KEYS * 2);

	if (c->write_count == WRITES_MAX)
		return true;
	if (d->owner[key] && d->owner[key] != c)
		return false;
	if (c->level != HISTORY_READ_COMMITTED && newest(d, key) > c->snapshot && !breaks(d, LOSE_UPDATE))
		return false;
	d->owner[key] = c;
	if (c->level == HISTORY_READ_COMMITTED && newest(d, key) > c->session)
		c->session = newest(d, key); /* the statement ran on it */
	c->writes[c->write_count++] = (struct write){key, ++d->next_value};
	buf_printf(&c->ops, is_list(key) ? " x%u+=%" PRId64 : " r%u=%" PRId64, key % KEYS, d->next_value);
	return true;
}

static void step(struct db *d)
{
	struct client *c = &d->clients[rng_below(&d->rng, CLIENTS)];

	if (!c->active) {
		begin(d, c);
		return;
	}
	if (!c->left--) {
		commit(d, c);
		return;
	}
	if (c->ops.size)
		buf_printf(&c->ops, " |");
	if (c->level == HISTORY_READ_COMMITTED || breaks(d, NEW_SNAPSHOT))
		snapshot(d, c);
	if (rng_below(&d->rng, 2))
		read_some(d, c);
	else if (!write_one(d, c))
		end(d, c, "fail");
}

static void final_reads(struct db *d)
{
	struct client *c = &d->clients[0];

	for (uint32_t i = 0; i < CLIENTS; i++)
		if (d->clients[i].active)
			end(d, &d->clients[i], "fail");
	c->process = ++d->next_process;
	c->write_count = c->read_count = 0;
	buf_reset(&c->ops);
	event(d, c, "invoke c0 rr,final\n");
	for (uint32_t i = 0; i < KEYS * 2; i++)
		read_key(d, c, i, d->log);
	end(d, c, "ok");
}

/* Runs one database and checks what its clients saw; how many findings. */
static uint32_t findings(uint64_t seed, enum fault fault, enum history_realtime realtime, uint32_t counts[HISTORY_ANOMALIES],
			 uint64_t *broken_out)
{
	struct history_options o = {.level = HISTORY_AS_DECLARED, .realtime = realtime, .session = true};
	struct db *d = MEM_NEW(&account, struct db);
	struct history_result r;
	struct error err = {.code = ST_OK};
	uint32_t count;

	rng_init(&d->rng, seed);
	d->fault = fault;
	buf_init(&d->text, &account);
	for (uint32_t i = 0; i < CLIENTS; i++)
		buf_init(&d->clients[i].ops, &account);
	for (int i = 0; i < STEPS; i++)
		step(d);
	final_reads(d);
	CU_ASSERT_EQUAL_FATAL(history_check(&account, (char *)d->text.data, d->text.size, &o, &r, &err), ST_OK);
	count = r.count;
	*broken_out = d->broken;
	for (int i = 0; i < HISTORY_ANOMALIES; i++)
		counts[i] += r.counts[i];
	if (fault == SOUND && count && realtime != HISTORY_STRICT)
		printf("\nseed %" PRIu64 ": %s\n", seed, r.findings[0].text);
	history_result_fini(&r);
	for (uint32_t i = 0; i < CLIENTS; i++)
		buf_fini(&d->clients[i].ops);
	for (uint32_t i = 0; i < KEYS * 2; i++)
		VEC_FINI(&account, &d->keys[i]);
	buf_fini(&d->text);
	MEM_FREE(&account, d);
	return count;
}

/* Nothing is found where nothing is broken: transactions of all levels together, lagging engines, unknown outcomes. */
static void test_random_sound(void)
{
	uint32_t counts[HISTORY_ANOMALIES] = {0};
	uint64_t broken;

	for (uint64_t seed = 1; seed <= 300; seed++) {
		CU_ASSERT_EQUAL(findings(seed, SOUND, HISTORY_COMMIT_TIME, counts, &broken), 0);
		CU_ASSERT_EQUAL(broken, 0);
	}
	CU_ASSERT_EQUAL(account.used_bytes, 0);
}

/* Which anomalies each broken promise may lead to; the first of a fault must have been met. */
static const struct { enum fault fault; const char *what; enum history_anomaly first; uint32_t percent; } broken_promises[] = {
	{LOSE_UPDATE, "first updater wins", HISTORY_LOST_UPDATE, 30},
	{OLD_SESSION, "a session goes on from what it saw", HISTORY_G_SINGLE, 50},
	{TORN_SNAPSHOT, "a snapshot is one", HISTORY_G_SINGLE, 50},
	{DIRTY_READ, "only what is committed is read", HISTORY_G1A, 50},
	{LOSE_COMMIT, "what is acknowledged stays", HISTORY_LOST_WRITE, 90},
	{KEEP_ABORT, "what failed has no effect", HISTORY_G1A, 50},
	{SKIP_VALIDATION, "reads are validated", HISTORY_G2_ITEM, 30},
	{OLD_LATEST, "latest is the latest", HISTORY_G_SINGLE, 30},
	{NEW_SNAPSHOT, "a transaction has one snapshot", HISTORY_INTERNAL, 50},
};

/* Each promise of the database, broken now and then, is found in the stated share of histories at least. */
static void test_random_broken(void)
{
	for (size_t k = 0; k < sizeof broken_promises / sizeof broken_promises[0]; k++) {
		uint32_t counts[HISTORY_ANOMALIES] = {0}, found = 0, tried = 0;

		for (uint64_t seed = 1; seed <= 60; seed++) {
			uint64_t broken;
			bool some = findings(seed, broken_promises[k].fault, HISTORY_COMMIT_TIME, counts, &broken) > 0;

			CU_ASSERT(broken > 0 || !some);
			tried += broken > 0;
			found += some;
		}
		CU_ASSERT(tried > 50);
		CU_ASSERT(found * 100 >= tried * broken_promises[k].percent);
		CU_ASSERT(counts[broken_promises[k].first] > 0);
		if (found * 100 < tried * broken_promises[k].percent || !counts[broken_promises[k].first])
			printf("\n%s: found in %u of %u, %u of the kind\n", broken_promises[k].what, found, tried,
			       counts[broken_promises[k].first]);
	}
}

/* Engines lag, so the same histories are not strict: real time tells, where it is asked. */
static void test_random_strict(void)
{
	uint32_t counts[HISTORY_ANOMALIES] = {0}, found = 0;
	uint64_t broken;

	for (uint64_t seed = 1; seed <= 30; seed++)
		found += findings(seed, SOUND, HISTORY_STRICT, counts, &broken) > 0;
	CU_ASSERT(found > 25);
}

static int random_suite_init(void)
{
	mem_init(&account, NULL, "test", 0);
	return 0;
}

void suite_history_random(void)
{
	CU_pSuite s = CU_add_suite("history_random", random_suite_init, NULL);

	CU_add_test(s, "sound", test_random_sound);
	CU_add_test(s, "broken", test_random_broken);
	CU_add_test(s, "strict", test_random_strict);
}
