"""Locks that programs ask for, beside a real PostgreSQL 15: every pair of row locks, every pair of modes of advisory locks, on one
engine and on two; NOWAIT, SKIP LOCKED, time-outs, LOCK TABLE, deadlocks through advisory locks, what pg_locks, pg_stat_activity and
pg_blocking_pids() tell of them, and what becomes of advisory locks when an engine is killed.
"""
import itertools
import time

import psycopg2

import postgres_beside
from lib import PORT_BASE, SLOW, Wire, check, equal, error_of, eventually, finish
from test_isolation import Session
from valence_cluster import Cluster

STRENGTHS = ("key share", "share", "no key update", "update")
# (an UPDATE that names a key's column but leaves its value is one of the key here; PostgreSQL looks at the value)
WRITES = ("update t set b = b + 1 where a = 1", "update t set a = a + 50 where a = 1", "delete from t where a = 1")


def table(sessions):
    x, y = sessions
    answers = {}
    for first in STRENGTHS + WRITES:
        for second in STRENGTHS:
            x.begin()
            y.begin()
            x.do(first if first in WRITES else "select a from t where a = 1 for " + first)
            for how in ("nowait", "skip locked"):
                y.do("savepoint s")
                answers[first, second, how] = y.do("select a from t where a = 1 for %s %s" % (second, how))
                y.do("rollback to s")
            x.do("rollback")
            y.do("rollback")
    return {k: [tuple(r) for r in v] if isinstance(v, list) else v for k, v in answers.items()}


def tried(session, text):
    """What another engine's session has let go is free when its message has come to the lock's originator."""
    for _ in range(6):
        got = session.do(text)
        if got != [(False,)]:
            break
        time.sleep(0.03)
    return got


def advisory(sessions):
    x, y = sessions
    out = []
    for first, second in itertools.product(("", "_shared"), repeat=2):
        for scope in ("", "_xact"):
            x.begin()
            y.begin()
            out.append(x.do("select pg_try_advisory%s_lock%s(1)" % (scope, first)))
            out.append(tried(y, "select pg_try_advisory_lock%s(1)" % second))
            out.append(tried(y, "select pg_try_advisory_lock%s(0, 1)" % second))    # another space of names
            out.append(x.do("select pg_try_advisory_xact_lock(1)"))             # never in its own way, unless others share it
            x.do("commit")
            out.append(tried(y, "select pg_try_advisory_lock(1)"))                  # free if it was the transaction's
            out.append(x.do("select pg_advisory_unlock%s(1)" % first))
            out.append(x.do("select pg_advisory_unlock%s(1)" % first))          # not twice
            y.do("commit")
            x.do("select pg_advisory_unlock_all()")
            y.do("select pg_advisory_unlock_all()")
            out.append(tried(y, "select pg_try_advisory_lock(1)"))
            y.do("select pg_advisory_unlock_all()")
    x.do("select pg_advisory_lock(5), pg_advisory_lock(5)")
    out.append(x.do("select pg_advisory_unlock(5)"))
    out.append(tried(y, "select pg_try_advisory_lock(5)"))
    out.append(x.do("select pg_advisory_unlock(5)"))
    out.append(tried(y, "select pg_try_advisory_lock(5)"))
    y.do("select pg_advisory_unlock_all()")
    x.begin()
    x.do("savepoint s")
    x.do("select pg_advisory_lock(6)")
    x.do("rollback")
    out.append(tried(y, "select pg_try_advisory_lock(6)"))                          # the session's stays
    x.do("discard all")
    out.append(tried(y, "select pg_try_advisory_lock(6)"))
    y.do("select pg_advisory_unlock_all()")
    return out


def test_waits(x, y, where):
    x.do("select pg_advisory_lock(-1)")
    y.start("select pg_advisory_lock_shared(-1)")
    check(y.waiting(), where + "an advisory lock is waited for")
    pid = y.connection.info.backend_pid
    equal(where + "it is seen to wait", y.watch("select wait_event_type, wait_event, state from pg_stat_activity where pid = %d" % pid),
          [("Lock", "advisory", "active")])
    x.do("select pg_advisory_unlock(-1)")
    equal(where + "until it is unlocked", y.done(), [("",)])
    equal(where + "a session's end", x.do("select pg_try_advisory_lock(-1)"), [(False,)])
    y.do("select pg_advisory_unlock_all()")
    x.do("select pg_advisory_lock(1)")
    y.do("set lock_timeout = '200ms'; set statement_timeout = '60s'")
    equal(where + "lock_timeout, under a longer statement_timeout", y.do("select pg_advisory_lock(1)"), "55P03")
    y.do("reset lock_timeout; reset statement_timeout")
    equal(where + "what was given up is not in the way", y.do("select pg_try_advisory_lock(1)"), [(False,)])
    y.do("select pg_advisory_lock(2)")
    x.start("select pg_advisory_lock(2)")
    y.start("select pg_advisory_lock(1)")
    end = time.monotonic() + 15 * SLOW
    while x.thread.is_alive() and y.thread.is_alive() and time.monotonic() < end:
        time.sleep(0.02)
    victim, other = (x, y) if not x.thread.is_alive() else (y, x)
    equal(where + "a deadlock of advisory locks", victim.done(), "40P01")
    victim.do("select pg_advisory_unlock_all()")
    equal(where + "the other goes on", other.done(), [("",)])
    other.do("select pg_advisory_unlock_all()")
    x.begin()
    x.do("update t set b = 0 where a = 2")
    y.do("select pg_advisory_lock(3)")
    x.start("select pg_advisory_lock(3)")
    y.start("update t set b = 1 where a = 2")
    end = time.monotonic() + 15 * SLOW
    while x.thread.is_alive() and y.thread.is_alive() and time.monotonic() < end:
        time.sleep(0.02)
    results = sorted(str(s.done(1) if not s.thread.is_alive() else "waits") for s in (x, y))
    check("40P01" in results, where + "a deadlock of an advisory lock and a row", results)
    for s in (x, y, x):
        if not s.thread.is_alive():
            s.do("rollback")
            s.do("select pg_advisory_unlock_all()")
    for s in (x, y):
        s.done()
        s.do("rollback")
        s.do("select pg_advisory_unlock_all()")


def test_table_locks(x, y, where):
    for mode in ("share update exclusive", "share", "share row exclusive", "exclusive", "access exclusive"):
        x.begin()
        y.begin()
        equal(where + "LOCK TABLE " + mode, x.do("lock table t in %s mode" % mode), -1)
        start = time.monotonic()
        equal(where + mode + " excludes itself or a writer, NOWAIT",
              y.do("lock table t in %s mode nowait" % ("row exclusive" if mode == "share" else mode)), "55P03")
        check(time.monotonic() - start < 3 * SLOW, where + "at once", time.monotonic() - start)
        y.do("rollback")
        x.do("commit")
    for mode in ("access share", "row share", "row exclusive"):
        x.begin()
        y.begin()
        equal(where + mode + " is shared", (x.do("lock table t in %s mode" % mode), y.do("lock table t in row exclusive mode nowait")),
              (-1, -1))
        y.do("rollback")
        x.do("commit")


def test_views(cluster, x, y, where):
    x.do("set application_name = 'first'")
    x.begin()
    x.do("update t set b = b + 1 where a = 1")
    y.start("update t set b = b + 1 where a = 1")
    check(y.waiting(), where + "a row is waited for")
    c = cluster.connect("c1").cursor()
    c.execute("select pid, state, application_name, query, xact_start is not null, client_addr from pg_stat_activity "
              "where application_name = 'first'")
    equal(where + "pg_stat_activity", c.fetchall(), [(x.connection.info.backend_pid, "idle in transaction", "first",
                                                      "update t set b = b + 1 where a = 1", True, "127.0.0.1")])
    found = []
    for e in ("a1", "c1", "c2"):  # at the row's originator, whoever that is
        found += cluster.rows(e, "select granted, mode from pg_locks where locktype = 'tuple' order by granted desc")
    equal(where + "who has the row and who waits for it", found, [(True, "RowExclusiveLock"), (False, "RowExclusiveLock")])
    x.do("commit")
    equal(where + "then it goes on", y.done(), 1)


def test_idle(port, x, y, where):
    x.do("set idle_in_transaction_session_timeout = '300ms'")
    equal(where + "not in a transaction it lives", (time.sleep(0.6), x.do("select 1"))[1], [(1,)])
    x.begin()
    equal(where + "a statement may take longer", x.do("select pg_sleep(0.6)"), [("",)])
    x.do("update t set b = b + 1 where a = 3")
    y.start("update t set b = b + 1 where a = 3")
    equal(where + "its locks go with it", y.done(), 1)
    wire = Wire(port)
    wire.query("set idle_in_transaction_session_timeout = '200ms'; set idle_session_timeout = '60s'")
    wire.query("begin")
    told = error_of(wire.until(b"never"))
    equal(where + "what its client is told", (told.get("S"), told.get("C"), told.get("M")),
          ("FATAL", "25P03", "terminating connection due to idle-in-transaction timeout"))
    wire.close()


def test_killed(cluster):
    """The schema's originator dies: sessions that had advisory locks of it hear of that, and others may have them."""
    x, y = Session(cluster, "c1"), Session(cluster, "c2")
    x.do("select pg_advisory_lock(9)")
    x.begin()
    equal("an advisory lock, for a commit", x.do("insert into t values (100, 0, 'k')"), 1)
    owner = cluster.rows("c1", "select e.name from valence.holders h join valence.engines e on e.engine_id = h.engine_id "
                         "join valence.atoms a on a.atom_id = h.atom_id where a.kind = 'schema-catalog' and h.is_originator")[0][0]
    if owner not in ("a1", "a2"):
        print("     SKIP killed: the schema's originator is", owner)
        return
    cluster.kill(owner)
    def free():
        c = cluster.connect("c2")
        try:
            with c.cursor() as cursor:
                cursor.execute("select pg_try_advisory_lock(9)")
                return cursor.fetchone()[0]
        except psycopg2.Error:
            return False
        finally:
            c.close()
    eventually(20, "the lock is free after its grantor's death", free)
    equal("what was done under it is void", x.do("commit"), "40001")
    equal("and the session hears of it once, if it did not", x.do("select 1") in ("40001", [(1,)]), True)
    equal("then goes on", x.do("select 1"), [(1,)])
    x.close()
    y.close()
    cluster.start(owner)


class Watched(Session):
    def __init__(self, cluster, engine, connection=None):
        super().__init__(cluster, engine, "read committed", connection)
        self.second = cluster.connect(engine).cursor() if cluster else None

    def watch(self, text):
        self.second.execute(text)
        return self.second.fetchall()


def main():
    def to_postgres():
        c = psycopg2.connect(host="127.0.0.1", port=port, user="valence", dbname="valence")
        c.autocommit = True
        return Session(None, None, "read committed", c)

    port = postgres_beside.start(PORT_BASE + 90)
    cluster = Cluster(archives=3, caches=2)
    beside = to_postgres(), to_postgres()
    made = "create table t (a int primary key, b int, c text); insert into t select i, i, 'x' from generate_series(1, 5) i"
    beside[0].do(made)
    first = Session(cluster, "c1")
    first.do(made)
    cluster.level()
    rows, locks = table(beside), advisory(beside)
    for engines, where in ((("c1", "c1"), "one engine: "), (("c1", "c2"), "two engines: ")):
        x, y = (Watched(cluster, e) for e in engines)
        ours = table((x, y))
        equal(where + "row locks that differ from PostgreSQL's", {k: (rows[k], ours[k]) for k in rows if rows[k] != ours[k]}, {})
        ours = advisory((x, y))
        equal(where + "advisory locks", ours, locks)
        test_waits(x, y, where)
        test_table_locks(x, y, where)
        test_views(cluster, x, y, where)
        test_idle(cluster.port(engines[0]), x, y, where)
        x.close()
        y.close()
    test_killed(cluster)
    cluster.check_atoms("at the end")


if __name__ == "__main__":
    main()
    finish()
