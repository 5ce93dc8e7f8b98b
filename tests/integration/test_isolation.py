"""Two sessions, on one engine and on two: each isolation level, lock and race gives what PostgreSQL gives (READ COMMITTED waits
and re-checks; REPEATABLE READ's first updater wins; unique keys, deadlocks, FOR UPDATE, DDL, cancel, own changes in index scans).
"""
import threading
import time

import psycopg2
import psycopg2.errors

from lib import SLOW, WAIT_FOR_MS, check, equal, finish
from valence_cluster import Cluster

WAITS = 0.4        # a statement that is not done after this long is held to wait
LIMIT = 20 * SLOW


class Session:
    """A connection whose statements may be left running."""

    def __init__(self, cluster, engine, level="read committed", connection=None):
        self.connection = connection or cluster.connect(engine, autocommit=True)
        self.cursor = self.connection.cursor()
        self.level = level
        self.thread = None
        self.result = None

    def do(self, text):
        """Rows, or the SQLSTATE as a text."""
        try:
            self.cursor.execute(text)
            return self.cursor.fetchall() if self.cursor.description else self.cursor.rowcount
        except psycopg2.Error as e:
            return e.pgcode or "lost"

    def begin(self):
        return self.do("begin isolation level " + self.level)

    def start(self, text):
        def run():
            self.result = self.do(text)
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def waiting(self):
        self.thread.join(WAITS)
        return self.thread.is_alive()

    def done(self, limit=LIMIT):
        self.thread.join(limit)
        return "still waiting" if self.thread.is_alive() else self.result

    def close(self):
        self.connection.close()


class Pair:
    """Two sessions over a fresh table t(a primary key, b, c unique) with rows (1..5, 10 a, 'u'a)."""

    def __init__(self, cluster, engines, level="read committed"):
        self.cluster, self.engines, self.level = cluster, engines, level

    def __enter__(self):
        c = self.cluster.connect(self.engines[0])
        c.cursor().execute("drop table if exists t; create table t (a int primary key, b int, c text unique);"
                           "create index t_b on t (b desc); insert into t select i, i * 10, 'u' || i from generate_series(1, 5) i")
        c.close()
        self.cluster.level()
        self.x, self.y = (Session(self.cluster, e, self.level) for e in self.engines)
        return self.x, self.y

    def __exit__(self, *_):
        self.x.close()
        self.y.close()


def level_index(*sessions):
    index = max(s.do("select valence.applied_index()")[0][0] for s in sessions)
    for s in sessions:
        s.do("select valence.wait_for(%d, %d)" % (index, WAIT_FOR_MS))


def test_recheck(cluster, engines, where):
    with Pair(cluster, engines) as (x, y):
        x.begin()
        y.begin()
        x.do("update t set b = b + 1 where a = 1")
        y.start("update t set b = b + 100 where a = 1 returning b")
        check(y.waiting(), where + "the second update waits")
        x.do("commit")
        equal(where + "it sees the first one's row", y.done(), [(111,)])
        y.do("commit")
        x.begin()
        x.do("update t set b = 0 where a = 2")
        y.start("update t set b = 1 where b = 20")
        check(y.waiting(), where + "an update by another column waits")
        x.do("commit")
        equal(where + "and no longer finds the row", y.done(), 0)
        x.begin()
        x.do("delete from t where a = 3")
        y.start("update t set b = 1 where a = 3")
        check(y.waiting(), where + "an update of a row being deleted waits")
        x.do("commit")
        equal(where + "and finds none", y.done(), 0)
        x.begin()
        x.do("update t set b = 7 where a = 4")
        y.start("delete from t where a = 4 returning b")
        check(y.waiting(), where + "a delete waits")
        x.do("rollback")
        equal(where + "and deletes the old version after a rollback", y.done(), [(40,)])
        x.begin()
        x.do("update t set a = 50 where a = 5")
        y.start("update t set b = b + 1 where a = 5")
        check(y.waiting(), where + "an update of a row whose key changes waits")
        x.do("commit")
        equal(where + "and no longer finds it", y.done(), 0)
        level_index(x, y)
        for s in (x, y):
            equal(where + "the end", s.do("select a, b from t order by a"), [(1, 111), (2, 0), (50, 50)])


def test_lost_update(cluster, engines, where):
    with Pair(cluster, engines) as (x, y):
        def add(s):
            for _ in range(40):
                if s.do("update t set b = b + 1 where a = 1") != 1:
                    bad.append(1)
        bad = []
        threads = [threading.Thread(target=add, args=(s,)) for s in (x, y)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(LIMIT)
        equal(where + "no increment fails", bad, [])
        level_index(x, y)
        equal(where + "no increment is lost", y.do("select b from t where a = 1"), [(90,)])


def test_repeatable_read(cluster, engines, where):
    with Pair(cluster, engines, "repeatable read") as (x, y):
        x.begin()
        y.begin()
        equal(where + "a snapshot", y.do("select b from t where a = 1"), [(10,)])
        x.do("update t set b = 11 where a = 1")
        x.do("commit")
        level_index(x)
        equal(where + "the snapshot stays", y.do("select b from t where a = 1"), [(10,)])
        equal(where + "first updater wins", y.do("update t set b = 12 where a = 1"), "40001")
        y.do("rollback")
        x.begin()
        y.begin()
        y.do("select 1 from t")
        x.do("update t set b = 1 where a = 2")
        y.start("update t set b = 2 where a = 2")
        check(y.waiting(), where + "the second updater waits")
        x.do("commit")
        equal(where + "and fails after a commit", y.done(), "40001")
        y.do("rollback")
        x.begin()
        y.begin()
        y.do("select 1 from t")
        x.do("update t set b = 1 where a = 3")
        y.start("update t set b = 2 where a = 3")
        check(y.waiting(), where + "the second updater waits again")
        x.do("rollback")
        equal(where + "and goes on after a rollback", y.done(), 1)
        equal(where + "and commits", y.do("commit"), -1)
        y.begin()
        y.do("select 1 from t")
        x.do("delete from t where a = 4")
        equal(where + "a row deleted meanwhile: FOR UPDATE", y.do("select * from t where a = 4 for update"), "40001")
        y.do("rollback")
        y.begin()
        equal(where + "rows at first", y.do("select count(*) from t"), [(4,)])
        x.do("insert into t values (6, 60, 'u6')")
        equal(where + "no phantom", y.do("select count(*) from t"), [(4,)])
        equal(where + "but its key is taken", y.do("insert into t values (6, 0, 'x')") in ("23505", "40001"), True)
        y.do("rollback")


def test_unique(cluster, engines, where):
    with Pair(cluster, engines) as (x, y):
        for what, text in (("primary key", "(9, 0, 'x%d')"), ("unique key", "(9%d, 0, 'x')")):
            x.begin()
            x.do("insert into t values " + text % 1)
            y.start("insert into t values " + text % 2)
            check(y.waiting(), where + what + ": the second insert waits")
            x.do("rollback")
            equal(where + what + ": goes on after a rollback", y.done(), 1)
            y.do("delete from t where a > 5")
            x.begin()
            x.do("insert into t values " + text % 1)
            y.start("insert into t values " + text % 2)
            check(y.waiting(), where + what + ": the second waits")
            x.do("commit")
            equal(where + what + ": duplicate after a commit", y.done(), "23505")
            x.begin()
            x.do("delete from t where a > 5")
            y.start("insert into t values " + text % 2)
            check(y.waiting(), where + what + ": waits for a delete of the same key")
            x.do("commit")
            equal(where + what + ": the key is free then", y.done(), 1)
            level_index(x, y)
            x.begin()
            x.do("delete from t where a > 5")
            x.do("insert into t values " + text % 1)
            y.start("insert into t values %s on conflict do nothing" % (text % 3))
            check(y.waiting(), where + what + ": ON CONFLICT waits for a delete and insert")
            x.do("commit")
            equal(where + what + ": and does nothing", y.done(), 0)
            x.do("delete from t where a > 5")
            level_index(x, y)
        x.begin()
        x.do("insert into t values (20, 1, 'up')")
        y.start("insert into t values (20, 2, 'other') on conflict (a) do update set b = t.b + excluded.b returning b")
        check(y.waiting(), where + "ON CONFLICT DO UPDATE waits")
        x.do("commit")
        equal(where + "and updates the row it waited for", y.done(), [(3,)])
        x.begin()
        y.begin()
        x.do("delete from t where a = 20")
        x.do("insert into t values (20, 100, 'up')")
        y.start("update t set b = b + 1 where a = 20")
        check(y.waiting(), where + "updating what another deletes and inserts waits")
        x.do("commit")
        # PostgreSQL looks at the old row only and finds it gone; a statement that starts anew (ADR 2) finds the new one
        found = y.done()
        check(found in (0, 1), where + "delete and insert of the same key", found)
        y.do("commit")
        equal(where + "the row is as the count says", y.do("select a, b from t where a = 20"), [(20, 100 + found)])


def test_row_locks(cluster, engines, where):
    with Pair(cluster, engines) as (x, y):
        x.begin()
        equal(where + "FOR UPDATE", x.do("select a from t where a = 1 for update"), [(1,)])
        equal(where + "NOWAIT", y.do("select a from t where a = 1 for update nowait"), "55P03")
        equal(where + "SKIP LOCKED", y.do("select a from t order by a for update skip locked"), [(2,), (3,), (4,), (5,)])
        equal(where + "SKIP LOCKED with LIMIT", y.do("select a from t order by a limit 2 for update skip locked"), [(2,), (3,)])
        equal(where + "readers do not wait", y.do("select a from t where a = 1"), [(1,)])
        equal(where + "other rows do not wait", y.do("update t set b = 5 where a = 2"), 1)
        y.start("select b from t where a = 1 for update")
        check(y.waiting(), where + "FOR UPDATE waits")
        x.do("update t set b = 77 where a = 1")
        x.do("commit")
        equal(where + "and returns the new version", y.done(), [(77,)])
        x.begin()
        y.begin()
        x.do("select a from t where a = 3 for share")
        equal(where + "FOR SHARE is shared", y.do("select a from t where a = 3 for share nowait"), [(3,)])
        y.start("update t set b = 0 where a = 3")
        check(y.waiting(), where + "a writer waits for the share lock")
        x.do("commit")
        equal(where + "until it is gone", y.done(), 1)
        y.do("commit")
        x.begin()
        x.do("update t set b = 0 where a = 4")
        y.do("set lock_timeout = '300ms'")
        start = time.monotonic()
        equal(where + "lock_timeout", y.do("update t set b = 1 where a = 4"), "55P03")
        y.do("reset lock_timeout")
        y.do("set statement_timeout = '300ms'")
        equal(where + "statement_timeout", y.do("update t set b = 1 where a = 4"), "57014")
        y.do("reset statement_timeout")
        check(time.monotonic() - start < 8, where + "both soon")
        y.start("update t set b = 1 where a = 4")
        check(y.waiting(), where + "waits until it is cancelled")
        y.connection.cancel()
        equal(where + "cancel", y.done(5), "57014")
        x.do("rollback")
        equal(where + "and the row is free", y.do("update t set b = 1 where a = 4"), 1)


def test_deadlock(cluster, engines, where):
    with Pair(cluster, engines) as (x, y):
        x.begin()
        y.begin()
        x.do("update t set b = 1 where a = 1")
        y.do("update t set b = 2 where a = 2")
        start = time.monotonic()
        x.start("update t set b = 1 where a = 2")
        y.start("update t set b = 2 where a = 1")
        while time.monotonic() - start < 10 * SLOW and x.thread.is_alive() and y.thread.is_alive():
            time.sleep(0.02)
        took = time.monotonic() - start
        # the victim's locks are gone with its statement, so both may be done by now
        victim, other = (x, y) if x.done(1) == "40P01" else (y, x)
        results = [victim.done()]
        victim.do("rollback")
        results.append(other.done())
        other.do("commit")
        equal(where + "one of the deadlock fails, the other goes on", results, ["40P01", 1])
        check(took < 4 * SLOW, where + "within two seconds or so", took)


def test_ddl(cluster, engines, where):
    with Pair(cluster, engines) as (x, y):
        x.begin()
        x.do("select count(*) from t")
        y.start("drop table t")
        check(y.waiting(), where + "DROP waits for a reader's transaction")
        equal(where + "the reader still reads", x.do("select count(*) from t"), [(5,)])
        x.do("commit")
        equal(where + "then it is dropped", y.done(), -1)
        level_index(x, y)
        equal(where + "for everyone", x.do("select 1 from t"), "42P01")
    with Pair(cluster, engines) as (x, y):
        x.begin()
        x.do("insert into t values (6, 60, 'u6')")
        y.start("alter table t add column d int default 9")
        check(y.waiting(), where + "ALTER waits for a writer's transaction")
        x.do("commit")
        equal(where + "then it alters", y.done(), -1)
        level_index(x, y)
        equal(where + "old rows have the default", x.do("select sum(d), count(*) from t"), [(54, 6)])
        x.begin()
        x.do("alter table t drop column d")
        y.start("insert into t values (7, 70, 'u7')")
        check(y.waiting(), where + "a writer waits for ALTER")
        x.do("rollback")
        equal(where + "and goes on after its rollback", y.done(), 1)
        x.begin()
        x.do("update t set b = b where a = 1")
        y.start("create unique index t_bu on t (b)")
        check(y.waiting(), where + "CREATE INDEX waits for a writer")
        x.do("insert into t values (8, 10, 'u8')")
        x.do("commit")
        equal(where + "and sees its duplicate", y.done(), "23505")
        x.begin()
        x.do("truncate t")
        y.start("select count(*) from t")
        check(y.waiting(), where + "a reader waits for TRUNCATE")
        x.do("rollback")
        equal(where + "and sees the rows after its rollback", y.done(), [(8,)])


def test_index_after_snapshot(cluster, engines, where):
    """An index has no versions from before it was built: a snapshot from before must not use it."""
    with Pair(cluster, engines, "repeatable read") as (x, y):
        x.do("insert into t select i, i * 10, 'u' || i from generate_series(6, 3000) i")
        level_index(x, y)
        x.begin()
        x.do("select count(*) from pg_class")
        y.do("drop index t_b")
        y.do("update t set b = b + 1000000 where a <= 5")
        equal(where + "an index is built beside an older snapshot", y.do("create index t_new on t (b)"), -1)
        level_index(x, y)
        equal(where + "which finds what it had", x.do("select a from t where b = 30"), [(3,)])
        equal(where + "by a range", x.do("select count(*) from t where b between 10 and 60"), [(6,)])
        equal(where + "in order", x.do("select b from t order by b desc limit 1"), [(30000,)])
        x.do("prepare by_b as select a from t where b = $1")
        equal(where + "by a prepared statement", x.do("execute by_b (50)"), [(5,)])
        check("t_new" not in str(x.do("explain select a from t where b = 30")), where + "without the index")
        x.do("commit")
        equal(where + "the next transaction", x.do("execute by_b (50)"), [])
        equal(where + "sees the new", x.do("execute by_b (1000050)"), [(5,)])
        check("t_new" in str(x.do("explain select a from t where b = 30")), where + "with the index")


def test_scans(cluster, engines, where):
    """Own uncommitted changes in order, both ways, over many index leaves; a long snapshot while others update all."""
    x, y = (Session(cluster, e, "repeatable read") for e in engines)
    x.do("drop table if exists big")
    x.do("create table big (i int primary key, j int, s text)")
    x.do("create index big_j on big (j desc)")
    equal(where + "50,000 rows", x.do("insert into big select i * 2, i % 1000, 'r' || i from generate_series(1, 50000) i"), 50000)
    level_index(x, y)
    y.begin()
    equal(where + "the other's snapshot", y.do("select count(*), sum(i), sum(j) from big"), [(50000, 2500050000, 24975000)])
    x.begin()
    model = {i * 2: i % 1000 for i in range(1, 50001)}
    x.do("insert into big select i * 20 + 1, -1, 'own' from generate_series(1, 2000) i")
    model.update({i * 20 + 1: -1 for i in range(1, 2001)})
    x.do("delete from big where i % 30 = 0")
    model = {i: j for i, j in model.items() if i % 30}
    x.do("update big set j = j + 5000 where i between 30000 and 40000")
    model = {i: j + 5000 if 30000 <= i <= 40000 else j for i, j in model.items()}
    x.do("update big set i = -i where i between 50000 and 50100")
    model = {-i if 50000 <= i <= 50100 else i: j for i, j in model.items()}

    def same(session, what):
        keys = sorted(model)
        equal(where + what + ": forward", [r[0] for r in session.do("select i from big order by i")] == keys, True)
        equal(where + what + ": backward", [r[0] for r in session.do("select i from big order by i desc")] == keys[::-1], True)
        equal(where + what + ": a range", session.do("select i, j from big where i >= 29900 and i < 30100 order by i"),
              [(i, model[i]) for i in keys if 29900 <= i < 30100])
        equal(where + what + ": a range backward", session.do("select i from big where i > -60000 and i < 300 order by i desc"),
              [(i,) for i in keys[::-1] if -60000 < i < 300])
        by_j = sorted(((j, i) for i, j in model.items()), reverse=True)
        equal(where + what + ": the other index", [tuple(r) for r in session.do(
            "select j, i from big order by j desc, i desc")] == by_j, True)
        equal(where + what + ": first of the other index", session.do("select j from big order by j desc limit 20 offset 3"),
              [(j,) for j, _ in by_j[3:23]])
        equal(where + what + ": one value of it", session.do("select i from big where j = -1 order by i"),
              [(i,) for i in keys if model[i] == -1])
        equal(where + what + ": count", session.do("select count(*), sum(j) from big"), [(len(model), sum(model.values()))])
    same(x, "own changes")
    x.do("savepoint p")
    x.do("delete from big where i > 100")
    x.do("rollback to p")
    same(x, "after a savepoint")
    equal(where + "not seen by the other", y.do("select count(*), sum(i), sum(j) from big"), [(50000, 2500050000, 24975000)])
    equal(where + "commit", x.do("commit"), -1)
    level_index(x)
    z = Session(cluster, engines[1])
    level_index(x, z)
    same(z, "committed")
    for k in range(3):
        equal(where + "an update of everything", x.do("update big set j = j + 1"), len(model))
    level_index(x, z)
    equal(where + "the old snapshot still", y.do("select count(*), sum(i), sum(j) from big"), [(50000, 2500050000, 24975000)])
    equal(where + "the old snapshot by index", y.do("select i from big order by i desc limit 3"), [(100000,), (99998,), (99996,)])
    equal(where + "the old snapshot by the other index", y.do("select count(*) from big where j between 10 and 19"), [(500,)])
    y.do("commit")
    level_index(y, z)
    equal(where + "the new one", y.do("select sum(j) from big"), [(sum(model.values()) + 3 * len(model),)])
    for s in (x, y, z):
        s.close()


def main():
    cluster = Cluster(caches=2)
    for engines, where in ((("c1", "c1"), "one engine: "), (("c1", "c2"), "two engines: ")):
        for test in (test_recheck, test_lost_update, test_repeatable_read, test_unique, test_row_locks, test_deadlock, test_ddl,
                     test_index_after_snapshot, test_scans):
            test(cluster, engines, where)
    cluster.check_atoms("at the end")


if __name__ == "__main__":
    main()
    finish()
