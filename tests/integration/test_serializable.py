"""SERIALIZABLE under load, on one engine and several: invariants that no lower level keeps hold in every snapshot, also when an
engine that certifies is killed; and how many of its 40001 a row-exact oracle, which knows every row that was read and written,
would have had, too. PostgreSQL 15 beside it says how many SSI has for the same load.
"""
import os
import random
import re
import threading
import time

import psycopg2

import postgres_beside
from lib import PORT_BASE, SLOW, check, equal, finish
from valence_cluster import Cluster

SECONDS = (20 if os.environ.get("VALENCE_LONG") else 5) * (2 if SLOW > 1 else 1)
EXPECTED = ("40001", "40P01", "VN001", "57P03", "08007", "72000")  # and a lost connection
ROWS, GROUPS = 400, 100


class Worker(threading.Thread):
    """Transactions until told to end; each is a function of (cursor, rng) that returns what it read and wrote."""

    def __init__(self, connect, engine, seed, work, level="serializable"):
        super().__init__(daemon=True)
        self.connect, self.engine, self.rng, self.work, self.level = connect, engine, random.Random(seed), work, level
        self.connection = None
        self.ended, self.done, self.failed, self.errors, self.history = False, 0, 0, [], []

    def run(self):
        while not self.ended:
            try:
                if self.connection is None:
                    self.connection = self.connect(self.engine)
                    self.connection.autocommit = True
                    self.connection.notices = Notices()
                self.once(self.connection.cursor())
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as e:
                if getattr(e, "pgcode", None) and e.pgcode not in EXPECTED:
                    self.errors.append(str(e))
                if self.connection is None or self.connection.closed or not e.pgcode:
                    self.connection = None
                    time.sleep(0.05)
        if self.connection:
            self.connection.close()

    def once(self, cursor):
        self.connection.notices.clear()
        touched = {}
        try:
            cursor.execute("begin isolation level " + self.level)
            touched = self.work(cursor, self.rng)
            cursor.execute("commit")
            self.done += 1
            outcome = "committed"
        except psycopg2.Error as e:
            if e.pgcode is None:
                raise
            if e.pgcode not in EXPECTED:
                self.errors.append(str(e))
            outcome = e.diag.message_primary or e.pgcode
            self.failed += 1
            cursor.execute("rollback")
        self.history.append((outcome, dict(touched or self.partial(cursor)), self.connection.notices.text()))

    @staticmethod
    def partial(_):
        return {}


class Notices(list):
    """What valence.trace tells, of the running transaction only."""

    def text(self):
        return " ".join(self)


def run(workers, seconds, meanwhile=None):
    for w in workers:
        w.start()
    end = time.monotonic() + seconds
    if meanwhile:
        meanwhile()
    time.sleep(max(0, end - time.monotonic()))
    for w in workers:
        w.ended = True
    for w in workers:
        w.join(30 * SLOW)
    errors = [e for w in workers for e in w.errors]
    equal("unexpected errors", errors[:3], [])
    return sum(w.done for w in workers), sum(w.failed for w in workers)


# -- invariants ---------------------------------------------------------------------------------------------------------------

def duty(cursor, rng):
    """Of a pair one is always on duty; read by key, by index or whole."""
    pair = rng.randrange(5)
    cursor.execute(rng.choice(("select id, on_duty from duty where id in (%d, %d) order by id" % (2 * pair, 2 * pair + 1),
                               "select id, on_duty from duty where pair = %d order by id" % pair,
                               "select id, on_duty from duty where pair + 0 = %d order by id" % pair)))
    rows = cursor.fetchall()
    on = [i for i, d in rows if d]
    if not on:
        raise AssertionError("nobody of pair %d is on duty: %s" % (pair, rows))
    if len(on) == 2:
        cursor.execute("update duty set on_duty = 0 where id = %d" % rng.choice(on))
    else:
        cursor.execute("update duty set on_duty = 1 where id = %d" % (2 * pair + (on[0] == 2 * pair)))


def slots(cursor, rng):
    """No group has more than three rows: phantoms, by an index and by a scan."""
    group = rng.randrange(4)
    cursor.execute("select count(*) from slots where %s = %d" % (rng.choice(("g", "g", "g + 0")), group))
    count = cursor.fetchone()[0]
    if count > 3:
        raise AssertionError("group %d has %d" % (group, count))
    if count < 3:
        cursor.execute("insert into slots values (%d, %d)" % (rng.randrange(1 << 60), group))
    else:
        cursor.execute("delete from slots where g = %d" % group)


def look(cursor, _):
    cursor.execute("select pair from duty group by pair having sum(on_duty) < 1")
    bad = cursor.fetchall()
    cursor.execute("select g from slots group by g having count(*) > 3")
    bad += cursor.fetchall()
    if bad:
        raise AssertionError("a snapshot shows %s" % bad)


class Checked(Worker):
    """An invariant that does not hold is an error of the test, not of the transaction."""

    def run(self):
        try:
            super().run()
        except AssertionError as e:
            self.errors.append(str(e))


def make_invariants(cursor):
    cursor.execute("create table duty (id int primary key, pair int, on_duty int); create index duty_pair on duty (pair);"
                   "insert into duty select i, i / 2, 1 from generate_series(0, 9) i;"
                   "create table slots (id bigint primary key, g int); create index slots_g on slots (g)")


def test_invariants(cluster, engines, what, meanwhile=None):
    workers = [Checked(cluster.connect, e, "%s %d %d" % (what, i, k), work) for i, e in enumerate(engines) for k, work in
               enumerate((duty, slots, slots))]
    workers += [Checked(cluster.connect, engines[-1], 7, look, "serializable read only deferrable"),
                Checked(cluster.connect, engines[0], 8, look, "repeatable read")]
    done, failed = run(workers, SECONDS, meanwhile)
    check(done > 50, what + ": work was done", done)
    check(all(w.done for w in workers), what + ": by everybody", [w.done for w in workers])
    equal(what + ": a read-only transaction never fails for what it read",
          [h[0] for h in workers[-2].history if "read/write" in h[0]], [])
    print("     %s: %d committed, %d failed, invariants held" % (what, done, failed))


# -- false conflicts --------------------------------------------------------------------------------------------------------------

def oracle_work(cursor, rng):
    """Reads three rows by key and a group by the index, changes one of them and perhaps its group."""
    touched = {}
    try:
        keys = rng.sample(range(ROWS), 3)
        group = rng.randrange(GROUPS)
        cursor.execute("select id, g from o where id in (%d, %d, %d)" % tuple(keys))
        groups = dict(cursor.fetchall())
        cursor.execute("select id from o where g = %d" % group)
        cursor.fetchall()
        touched.update(keys=set(keys), group=group, wrote=keys[0], left=groups[keys[0]], entered=groups[keys[0]])
        if rng.randrange(3) == 0:
            touched["entered"] = rng.randrange(GROUPS)
            cursor.execute("update o set g = %d, v = v + 1 where id = %d" % (touched["entered"], keys[0]))
        else:
            cursor.execute("update o set v = v + 1 where id = %d" % keys[0])
        return touched
    finally:
        LAST[threading.get_ident()] = touched


LAST = {}
Worker.partial = staticmethod(lambda _: LAST.get(threading.get_ident(), {}))


def numbers(text, word):
    return [int(n) for n in re.findall(word + r":? (?:index )?(\d+)", text)]


def overlaps(reader, writer):
    """Row by row: did the writer change what the reader read?"""
    return writer["wrote"] in reader["keys"] or reader["group"] in (writer["left"], writer["entered"])


def make_oracle(cursor):
    cursor.execute("drop table if exists o; create table o (id int primary key, g int, v int); create index o_g on o (g);"
                   "insert into o select i, i %% %d, 0 from generate_series(0, %d) i" % (GROUPS, ROWS - 1))


def test_oracle(cluster, engines, what):
    def connect(engine):
        c = cluster.connect(engine)
        c.autocommit = True
        c.cursor().execute("set valence.trace = on")
        return c

    workers = [Worker(connect, e, 1000 + 10 * i + k, oracle_work) for i, e in enumerate(engines) for k in range(6 // len(engines))]
    done, failed = run(workers, SECONDS)
    committed, refused, unknown = [], [], 0
    for w in workers:
        for outcome, touched, trace in w.history:
            snapshot, commit = numbers(trace, "snapshot"), numbers(trace, "commit")
            if outcome == "committed" and commit and touched:
                committed.append((commit[-1], touched))
            elif "read/write dependencies" in outcome and snapshot and touched:
                refused.append((snapshot[0], touched))
            elif outcome != "committed":
                unknown += 1
    committed.sort(key=lambda c: c[0])
    false = 0
    for snapshot, reader in refused:
        # those that were committed after its snapshot, up to what was on its way when it was refused
        later = [t for index, t in committed if index > snapshot][:4 * len(workers)]
        false += not any(overlaps(reader, t) for t in later)
    check(done > 20, what + ": committed", done)
    check(committed and len(committed) == done, what + ": each commit's index is known", (len(committed), done))
    check(false <= 2 + len(refused) // 5, what + ": few conflicts that the rows do not explain", (false, len(refused)))
    print("     %s: %d committed, %d refused for what was read (%d of them without a row of another's), %d for what was written"
          % (what, done, len(refused), false, unknown))
    return done, failed


def test_beside(port):
    def connect(_):
        return psycopg2.connect(host="127.0.0.1", port=port, user="valence", dbname="valence")

    c = connect(None)
    c.autocommit = True
    make_oracle(c.cursor())
    workers = [Worker(connect, None, 1000 + k, oracle_work) for k in range(6)]
    done, failed = run(workers, SECONDS)
    print("     PostgreSQL, the same load: %d committed, %d failed" % (done, failed))


def main():
    port = postgres_beside.start(PORT_BASE + 90)
    cluster = Cluster(caches=3)
    c = cluster.connect("c1", autocommit=True)
    make_invariants(c.cursor())
    test_invariants(cluster, ["c1"], "one engine")
    test_invariants(cluster, ["c1", "c2", "a1"], "three engines")
    for engines, what in ((["c1"], "one engine"), (["c1", "c2", "c3"], "three engines")):
        make_oracle(c.cursor())
        cluster.level()
        test_oracle(cluster, engines, what)
    test_beside(port)
    # what c1 made it originates, so it certifies; its death voids what it had promised
    test_invariants(cluster, ["c2", "c3"], "the originator is killed", lambda: (time.sleep(SECONDS / 2), cluster.kill("c1")))
    cluster.check_atoms("at the end")


if __name__ == "__main__":
    main()
    finish()
