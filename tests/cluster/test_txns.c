/*
 * test_txns.c - transactions on whole engines: properties that need a certain order of steps.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "catalog/replica.h"
#include "engine/txn/txn_int.h"
#include "unit.h"
#include "rig.h"

static struct rig r;

/* One archive and one cache; @s has a table t with three rows on the cache. */
static struct rig_session *begin(uint32_t archives, uint32_t caches)
{
	struct rig_session *s;

	memset(&r, 0, sizeof r);
	CU_ASSERT_FATAL(rig_init(&r, archives, caches));
	s = rig_session(&r, archives);
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "create table t (id int primary key, v text)"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "insert into t values (1, 'a'), (2, 'b'), (3, 'c')"), "");
	return s;
}

static void end(void)
{
	CU_ASSERT(rig_fini(&r));
}

/* The rig itself: what one engine commits another one reads. */
static void test_txns_two_engines(void)
{
	struct rig_session *s = begin(1, 2), *o = rig_session(&r, 2);

	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "select id, v from t order by id"), "1|a\n2|b\n3|c\n");
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "update t set v = 'x' where id = 2"), "");
	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "select v from t where id = 2"), "x\n");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "select w from t"), "42703 column \"w\" does not exist\n");
	end();
}

/* A lock on a relation that was given up does not stand in the way of the next one, in the same transaction or not. */
static void test_txns_given_up_lock(void)
{
	struct rig_session *s = begin(1, 2), *o = rig_session(&r, 2);

	CU_ASSERT_STRING_EQUAL(rig_sql(s, "create table u (id int primary key)"), "");
	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "begin"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "select count(*) from t"), "3\n");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "begin"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "savepoint a"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "set local statement_timeout = 300"), "");
	CU_ASSERT(!strncmp(rig_sql(s, "alter table t add column w int"), "57014", 5));
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "rollback to a"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "alter table u add column w int"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "select w from u"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "commit"), "");
	/* the other one's transaction was never in the way of the second, and t is free again */
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "select count(*) from t"), "3\n");
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "commit"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "insert into t values (4, 'd')"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "alter table t add column w int"), "");
	end();
}

/*
 * The leader's answer to a statement that was canceled before it had applied so much is too old for the next one, which asks again.
 * (That an engine lags just then is not to be had here: its session is put as such a statement leaves it.)
 */
static void test_txns_latest_asks_anew(void)
{
	struct rig_session *s = begin(1, 2), *o = rig_session(&r, 2);
	struct txns *t = engine_txns(r.at[2].engine);
	struct access *a = CONTAINER_OF(t->accesses.prev, struct access, all);

	CU_ASSERT_STRING_EQUAL(rig_sql(s, "select count(*) from t"), "3\n");
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "set valence.read_consistency = latest"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "select count(*) from t"), "3\n");
	CU_ASSERT_EQUAL(a->latest_request, 0);
	CU_ASSERT_EQUAL(a->latest, true);
	rig_kill(&r, 0);
	a->latest_request = 12345;
	a->latest_index = 1;
	rig_send(o, "select count(*) from t");
	CU_ASSERT(!rig_answered(o, 300000));
	CU_ASSERT(rig_start(&r, 0));
	CU_ASSERT(rig_answered(o, 10000000));
	CU_ASSERT_STRING_EQUAL(o->text, "3\n");
	end();
}

/* -- parts ---------------------------------------------------------------------------------------------------------- */

#define SOME_TXN 1000000 /* not one that a session gets */

/* A record of engine @n, as if its transaction manager had made it. @key: of the one operation in it; NULL: none. */
static void submit(uint32_t n, txn_id txn, enum record_kind kind, uint32_t parts, const char *key)
{
	struct txns *t = engine_txns(r.at[n].engine);
	struct record rec = {.kind = (uint8_t)kind, .txn = txn, .attempt = 1, .parts = parts};
	struct buf b;

	buf_init(&b, t->mem);
	if (key)
		op_encode_key(&b, OP_KEY_ADD, 999999, 1, key, (uint32_t)strlen(key)); /* of an index that nobody has */
	txns_submit(t, &rec, &b);
	buf_fini(&b);
}

static seq_index oldest_part(uint32_t n)
{
	return replica_oldest_part(engine_replica(r.at[n].engine));
}

/* A commit that counts parts which were never sent does not get into the log: nobody could ever apply it. */
static void test_txns_parts_counted(void)
{
	struct rig_session *s = begin(1, 2);

	submit(2, SOME_TXN, REC_PART, 0, "one");
	submit(2, SOME_TXN, REC_COMMIT, 2, NULL);
	CU_ASSERT(rig_until(&r, 2000000, NULL, NULL));
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "insert into t values (4, 'd')"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "select count(*) from t"), "4\n");
	end();
}

/* Nor does a part behind its commit. */
static void test_txns_parts_decided(void)
{
	struct rig_session *s = begin(1, 2);

	submit(2, SOME_TXN, REC_PART, 0, "one");
	submit(2, SOME_TXN, REC_COMMIT, 1, NULL);
	CU_ASSERT(rig_quiet(&r));
	submit(2, SOME_TXN, REC_PART, 0, "two");
	CU_ASSERT(rig_until(&r, 2000000, NULL, NULL));
	CU_ASSERT_EQUAL(oldest_part(0), UINT64_MAX);
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "insert into t values (4, 'd')"), "");
	end();
}

/* A commit with the parts that it counts is applied, once; after it, and after an abort, none are left open. */
static void test_txns_parts_applied(void)
{
	struct rig_session *s = begin(1, 2);

	submit(2, SOME_TXN, REC_PART, 0, "one");
	submit(2, SOME_TXN, REC_PART, 0, "two");
	submit(2, SOME_TXN, REC_COMMIT, 2, NULL);
	submit(2, SOME_TXN + 1, REC_PART, 0, "three");
	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT(oldest_part(0) != UINT64_MAX);
	submit(2, SOME_TXN + 1, REC_ABORT, 0, NULL);
	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT_EQUAL(oldest_part(0), UINT64_MAX);
	CU_ASSERT_EQUAL(oldest_part(2), UINT64_MAX);
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "insert into t values (4, 'd')"), "");
	end();
}

/* A part that nobody asked for is not taken from a peer, whatever is in it. */
static void test_txns_parts_not_asked_for(void)
{
	struct rig_session *s = begin(1, 1);
	struct txns *t = engine_txns(r.at[1].engine);
	struct record rec = {.kind = REC_PART, .engine = 1, .seq = 5, .txn = SOME_TXN, .attempt = 1,
			     .payload = (const uint8_t *)"\xff\xff\xff", .payload_bytes = 3};
	struct buf b;

	buf_init(&b, t->mem);
	put_u8(&b, MSG_PART);
	put_u64(&b, 3);
	record_encode(&rec, &b);
	txns_message(t, 1, b.data, b.size);
	buf_fini(&b);
	CU_ASSERT_EQUAL(oldest_part(1), UINT64_MAX);
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "select count(*) from t"), "3\n");
	end();
}

static bool has_index(struct rig *rig, void *ctx)
{
	return rig_applied(rig, 0) >= *(seq_index *)ctx;
}

/* An engine that joined after a transaction's part, cut off from the log while that one commits. The new engine is 3. */
static void join_between(struct rig_session **s)
{
	seq_index at;

	*s = begin(1, 3);
	rig_kill(&r, 3);
	CU_ASSERT(rig_until(&r, 8000000, NULL, NULL)); /* it is removed */
	submit(2, SOME_TXN, REC_PART, 0, "one");
	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT(rig_start(&r, 3));
	CU_ASSERT_EQUAL(oldest_part(3), UINT64_MAX);
	submit(2, SOME_TXN, REC_PART, 0, "two");
	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT(oldest_part(3) != UINT64_MAX);
	for (uint32_t i = 0; i < 3; i++)
		sim_net_block_both(r.net, r.at[i].host, r.at[3].host, true);
	at = rig_applied(&r, 0) + 1;
	submit(2, SOME_TXN, REC_COMMIT, 2, NULL);
	CU_ASSERT(rig_until(&r, 500000, has_index, &at));
	CU_ASSERT(rig_applied(&r, 3) < at);
}

/* Who joined between a transaction's parts and its commit pulls the parts that it has not seen. */
static void test_txns_parts_pulled(void)
{
	struct rig_session *s, *o;

	join_between(&s);
	sim_net_heal(r.net);
	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT_EQUAL(oldest_part(3), UINT64_MAX);
	o = rig_session(&r, 3);
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "insert into t values (4, 'd')"), "");
	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "select count(*) from t"), "4\n");
	end();
}

/* When nobody has them any more, it joins anew rather than to stand still for ever. */
static void test_txns_parts_gone(void)
{
	struct rig_session *s, *o;
	struct engine_info before, after;

	join_between(&s);
	for (uint32_t i = 0; i < 3; i++) /* as engines do once their window of the log has passed the commit */
		replica_forget_parts(engine_replica(r.at[i].engine), UINT64_MAX);
	engine_info(r.at[3].engine, &before);
	sim_net_heal(r.net);
	CU_ASSERT(rig_until(&r, 9000000, NULL, NULL));
	CU_ASSERT(rig_quiet(&r));
	engine_info(r.at[3].engine, &after);
	CU_ASSERT(before.id != after.id && rig_ready(&r, 3));
	o = rig_session(&r, 3);
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "insert into t values (4, 'd')"), "");
	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "select count(*) from t"), "4\n");
	end();
}

/* -- within a record ------------------------------------------------------------------------------------------------- */

/* A definition is seen as before or as after, wherever apply pauses within the commit that changes it. */
static void test_txns_definition_within_record(void)
{
	static char sql[64 << 10];
	struct rig_session *s = begin(1, 2), *o = rig_session(&r, 2);
	uint32_t paused = 0;
	int at = snprintf(sql, sizeof sql, "create table w (");

	for (uint32_t k = 0; k < 250; k++)
		at += snprintf(sql + at, sizeof sql - (size_t)at, "column_number_%u int, ", k);
	snprintf(sql + at, sizeof sql - (size_t)at, "last int)");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, sql), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "create table v (id int)"), "");
	for (uint32_t i = 0; i < 12; i++) {
		snprintf(sql, sizeof sql, "insert into v select g from generate_series(1, %u) g", 16384 - i);
		CU_ASSERT_STRING_EQUAL(rig_sql(s, "begin"), "");
		CU_ASSERT_STRING_EQUAL(rig_sql(s, sql), "");
		snprintf(sql, sizeof sql, "alter table w rename column column_number_%u to x%u", i, i);
		CU_ASSERT_STRING_EQUAL(rig_sql(s, sql), "");
		r.steps_per_turn = 1;
		rig_send(s, "commit");
		while (!s->ready) {
			static const char columns[] = "select count(*), max(length(column_name)) from information_schema.columns "
						      "where table_name = 'w'";

			paused += replica_paused(engine_replica(r.at[2].engine));
			CU_ASSERT_STRING_EQUAL(rig_sql(o, columns), "251|17\n");
		}
		r.steps_per_turn = 64;
		CU_ASSERT_STRING_EQUAL(rig_sql(s, "delete from v"), "");
	}
	CU_ASSERT(paused > 0);
	end();
}

/* -- horizon --------------------------------------------------------------------------------------------------------- */

static seq_index horizon(struct rig_session *writer)
{
	for (int i = 0; i < 20; i++) {
		CU_ASSERT_STRING_EQUAL(rig_sql(writer, "update t set v = 'y' where id = 3"), "");
		CU_ASSERT(rig_until(&r, 100000, NULL, NULL));
	}
	return replica_horizon(engine_replica(r.at[0].engine));
}

/* An open transaction holds the horizon back while it has a snapshot, or a grant; READ COMMITTED has none between statements. */
static void test_txns_idle_snapshot(void)
{
	struct rig_session *s = begin(1, 2), *o = rig_session(&r, 2);
	seq_index from;

	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "begin isolation level repeatable read"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "select count(*) from t"), "3\n");
	CU_ASSERT(horizon(s) <= rig_applied(&r, 0) - 15);
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "select v from t where id = 3"), "c\n");
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "commit"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "begin"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "select count(*) from t"), "3\n");
	from = rig_applied(&r, 0);
	CU_ASSERT(horizon(s) > from);
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "select v from t where id = 3"), "y\n");
	CU_ASSERT(!strncmp(rig_sql(o, "select 1 / 0"), "22012", 5));
	from = rig_applied(&r, 0);
	CU_ASSERT(horizon(s) > from);
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "rollback"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "begin"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "update t set v = 'z' where id = 1"), "");
	from = rig_applied(&r, 0);
	CU_ASSERT(horizon(s) <= from);
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "commit"), "");
	end();
}

/* -- audits ------------------------------------------------------------------------------------------------------------ */

/* One engine's checksums are more than one message's: all of them are compared, and a copy that differs is found. */
static void test_txns_audit_pieces(void)
{
	struct rig_session *s = begin(1, 1);
	struct txns *t = engine_txns(r.at[1].engine);
	struct frame *f, *damaged = NULL;
	char *wrong;

	for (int i = 0; i < 3; i++) {
		struct create_payload c = {.storage = 999999, .kind = ATOM_DATA, .count = CREATE_ATOMS_MAX, .rows = 1};
		struct record rec = {.kind = REC_CREATE};
		struct buf b;

		buf_init(&b, t->mem);
		create_encode(&b, &c);
		txns_submit(t, &rec, &b);
		buf_fini(&b);
	}
	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "select count(*) from valence.check_atoms()"), "0\n");
	LIST_FOREACH(it, atom_all(replica_store(t->rp))) {
		f = CONTAINER_OF(it, struct frame, all);
		if (frame_owner(f) == 999999 && (!damaged || f->id > damaged->id))
			damaged = f;
	}
	CU_ASSERT_FATAL(damaged != NULL);
	wrong = (char *)damaged->image + frame_bytes(damaged) - 1;
	*wrong ^= 1;
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "select count(*) from valence.check_atoms()"), "1\n");
	*wrong ^= 1;
	end();
}

/* -- what is kept ------------------------------------------------------------------------------------------------------ */

/* An atom that nobody else asked for lately costs its originator nothing. */
static void test_txns_grants_forgotten(void)
{
	struct rig_session *s = begin(1, 2), *o = rig_session(&r, 2);
	struct txns *t = engine_txns(r.at[1].engine);

	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT_STRING_EQUAL(rig_sql(o, "update t set v = 'o' where id = 1"), "");
	CU_ASSERT(structures_count(t) > 0);
	CU_ASSERT(rig_until(&r, 15000000, NULL, NULL));
	CU_ASSERT_EQUAL(structures_count(t), 0);
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "update t set v = 's' where id = 1"), "");
	CU_ASSERT_EQUAL(structures_count(t), 0);
	end();
}

static uint32_t atoms(uint32_t n)
{
	uint32_t count = 0;

	LIST_FOREACH(it, atom_all(replica_store(engine_replica(r.at[n].engine))))
		count++;
	return count;
}

/* Atoms made ahead for new tables of a transaction that cannot commit in the end are destroyed. */
static void test_txns_made_ahead_destroyed(void)
{
	struct rig_session *s = begin(1, 1);
	char sql[80];
	uint32_t before;

	CU_ASSERT(rig_quiet(&r));
	before = atoms(0);
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "begin"), "");
	for (int i = 0; i < RECORD_TOUCHES_MAX + 1; i++) {
		snprintf(sql, sizeof sql, "create table n%d as select 1 as id", i);
		CU_ASSERT_STRING_EQUAL(rig_sql(s, sql), "");
	}
	CU_ASSERT(!strncmp(rig_sql(s, "commit"), "54000", 5)); /* more tables than a record may name */
	CU_ASSERT(rig_quiet(&r));
	CU_ASSERT_EQUAL(atoms(0), before);
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "create table n1 as select 1 as id"), "");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "select id from n1"), "1\n");
	CU_ASSERT_EQUAL(atoms(0), before + 1);
	end();
}

/* How long a removal took is told by who noticed the failure; the others do not know, rather than to say nothing at all. */
static void test_txns_failover_time(void)
{
	struct rig_session *s = begin(1, 2), *leader = rig_session(&r, 0);

	CU_ASSERT(rig_quiet(&r));
	rig_kill(&r, 2);
	CU_ASSERT(rig_until(&r, 9000000, NULL, NULL));
	CU_ASSERT_STRING_EQUAL(rig_sql(leader, "select milliseconds > 0 from valence.failovers"), "t\n");
	CU_ASSERT_STRING_EQUAL(rig_sql(s, "select milliseconds is null from valence.failovers"), "t\n");
	end();
}

/*
 * What the leader answered to a statement that was cancelled meanwhile is not taken for the next one's: that begins after more was
 * acknowledged, and must see it or wait (P26).
 */
static void test_txns_latest_cancelled(void)
{
	struct rig_session *s = begin(1, 2), *o = rig_session(&r, 2);

	CU_ASSERT_STRING_EQUAL(rig_sql(o, "set valence.read_consistency = 'latest'"), "");
	for (int block = 0; block < 2; block++) { /* also within a transaction, of which a savepoint is kept */
		CU_ASSERT_STRING_EQUAL(rig_sql(o, "set statement_timeout = 40"), "");
		CU_ASSERT_STRING_EQUAL(rig_sql(o, block ? "begin; savepoint p" : "select count(*) from t"), block ? "" : "3\n");
		CU_ASSERT(rig_quiet(&r));
		sim_net_block(r.net, r.at[0].host, r.at[2].host, true);
		CU_ASSERT(!strncmp(rig_sql(o, "select count(*) from t"), "57014", 5));
		sim_net_heal(r.net);
		CU_ASSERT(rig_until(&r, 2000, NULL, NULL)); /* the answer comes */
		if (block)
			CU_ASSERT_STRING_EQUAL(rig_sql(o, "rollback to p"), "");
		sim_net_block(r.net, r.at[0].host, r.at[2].host, true);
		CU_ASSERT_STRING_EQUAL(rig_sql(s, block ? "insert into t values (5, 'e')" : "insert into t values (4, 'd')"), "");
		CU_ASSERT(!strncmp(rig_sql(o, "select count(*) from t"), "57014", 5));
		sim_net_heal(r.net);
		CU_ASSERT(rig_until(&r, 60000, NULL, NULL));
		if (block)
			CU_ASSERT_STRING_EQUAL(rig_sql(o, "rollback"), "");
		CU_ASSERT_STRING_EQUAL(rig_sql(o, "reset statement_timeout"), "");
		CU_ASSERT_STRING_EQUAL(rig_sql(o, "select count(*) from t"), block ? "5\n" : "4\n");
	}
	end();
}

void suite_cluster_txns(void)
{
	CU_pSuite suite = CU_add_suite("cluster_txns", NULL, NULL);

	CU_ADD_TEST(suite, test_txns_two_engines);
	CU_ADD_TEST(suite, test_txns_given_up_lock);
	CU_ADD_TEST(suite, test_txns_latest_asks_anew);
	CU_ADD_TEST(suite, test_txns_parts_counted);
	CU_ADD_TEST(suite, test_txns_parts_decided);
	CU_ADD_TEST(suite, test_txns_parts_applied);
	CU_ADD_TEST(suite, test_txns_parts_not_asked_for);
	CU_ADD_TEST(suite, test_txns_parts_pulled);
	CU_ADD_TEST(suite, test_txns_parts_gone);
	CU_ADD_TEST(suite, test_txns_definition_within_record);
	CU_ADD_TEST(suite, test_txns_idle_snapshot);
	CU_ADD_TEST(suite, test_txns_audit_pieces);
	CU_ADD_TEST(suite, test_txns_grants_forgotten);
	CU_ADD_TEST(suite, test_txns_made_ahead_destroyed);
	CU_ADD_TEST(suite, test_txns_failover_time);
	CU_ADD_TEST(suite, test_txns_latest_cancelled);
}
