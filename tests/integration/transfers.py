"""transfers.py - a load of transfers between accounts that knows what it was promised, for the tests that kill engines.

Each transfer moves an amount between two accounts and inserts a row with an id of its own, in one transaction. A client
remembers what became of each id: acknowledged, rolled back for certain, or in doubt (the connection went while COMMIT was
under way). Afterwards every balance follows from the rows that are there, and the rows from what clients were told.
"""
import random
import threading
import time

import psycopg2

from lib import SLOW, check, equal
from valence_cluster import IDLE, lost, say

ACCOUNTS = 200
INITIAL = 1000
RETRY = ("40001", "40P01", "72000")  # serialization failure, deadlock, snapshot too old: try again
ISOLATION = ("read committed", "repeatable read")


def create(cluster, engine):
    c = cluster.connect(engine)
    with c.cursor() as cursor:
        cursor.execute("create table account (id int primary key, balance bigint not null)")
        cursor.execute("create table transfer (id text primary key, source int not null, target int not null,"
                       " amount int not null)")
        cursor.execute("insert into account select i, %s from generate_series(1, %s) i", (INITIAL, ACCOUNTS))
    c.close()


class Client(threading.Thread):
    """One client: at home at one engine, at others while that one is away; tries to go home every half second."""

    def __init__(self, cluster, number, engines, stop, refusals, ordered):
        super().__init__(daemon=True)
        self.ordered = ordered
        self.cluster, self.number, self.engines, self.stopping = cluster, number, engines, stop
        self.refusals = refusals
        self.random = random.Random(number)
        self.connection = None
        self.acknowledged = []  # (when, id, engine)
        self.rolled_back, self.doubtful = set(), set()
        self.retries = {}
        self.unexpected = []
        self.doing = "nothing yet"

    def open(self):
        """Home first, else the next engine that lets it in."""
        for engine in self.engines:
            try:
                self.doing = "connecting to " + engine
                self.connection = self.cluster.connect(engine, autocommit=False, timeout=5)
                self.engine, self.since = engine, time.monotonic()
                with self.connection.cursor() as cursor:
                    cursor.execute("set default_transaction_isolation = '%s'" % ISOLATION[self.number % 2])
                self.connection.commit()
                return
            except psycopg2.Error:
                self.connection = None
        time.sleep(0.01)

    def close(self):
        try:
            self.connection.close()
        except psycopg2.Error:
            pass
        self.connection = None

    def transfer(self, number):
        """One attempt, under an id of its own: the outcome of each is checked."""
        name = "%d-%d" % (self.number, number)
        source, target = self.random.sample(range(1, ACCOUNTS + 1), 2)
        amount = self.random.randint(1, 20)
        changes = [(source, -amount), (target, amount)]
        if self.ordered:
            changes.sort()
        committing = False
        try:
            with self.connection.cursor() as cursor:
                for who, change in changes:
                    self.doing = "update of %s at %s" % (name, self.engine)
                    cursor.execute("update account set balance = balance + %s where id = %s", (change, who))
                    if cursor.rowcount != 1:
                        self.unexpected.append("%s: %d rows updated for account %d" % (name, cursor.rowcount, who))
                self.doing = "insert of %s at %s" % (name, self.engine)
                cursor.execute("insert into transfer values (%s, %s, %s, %s)", (name, source, target, amount))
            committing = True
            self.doing = "commit of %s at %s" % (name, self.engine)
            self.connection.commit()
            self.acknowledged.append((time.monotonic(), name, self.engine))
            return
        except psycopg2.Error as e:
            code = e.pgcode or "lost"
            self.retries[code] = self.retries.get(code, 0) + 1
            (self.doubtful if committing and lost(e) else self.rolled_back).add(name)
            if not lost(e) and e.pgcode not in RETRY + self.refusals:
                self.unexpected.append("%s at %s while %s: %s %s" % (name, self.engine, self.doing, e.pgcode,
                                                                    str(e).strip()))
            if self.connection.closed:
                self.close()
                return
            if lost(e) or e.pgcode in self.refusals:
                time.sleep(0.01)  # the engine is between two memberships; its sessions live on
        try:
            self.doing = "rollback of %s at %s" % (name, self.engine)
            self.connection.rollback()
            if self.connection.info.transaction_status != IDLE:
                self.close()
        except psycopg2.Error:
            self.close()

    def run(self):
        number = 0
        while not self.stopping.is_set():
            if not self.connection:
                self.open()
                continue
            if self.engine != self.engines[0] and time.monotonic() > self.since + 0.5:
                self.close()
                continue
            self.transfer(number)
            number += 1
        if self.connection:
            self.close()
        self.doing = None


class Load:
    """
    Clients spread over the engines named, from start() to finish(). Refusals: what else they may be told, as SQLSTATE. Ordered:
    each takes its two rows in the order of their ids, so that there are no deadlocks: one ends after a second
    (deadlock_timeout), and by then all other clients wait for one of its rows, which no gap() can tell from a fault.
    """

    def __init__(self, cluster, engines, clients=6, refusals=(), ordered=False):
        self.cluster, self.stopping = cluster, threading.Event()
        self.clients = [Client(cluster, i, engines[i % len(engines):] + engines[:i % len(engines)], self.stopping, refusals, ordered)
                        for i in range(clients)]

    def start(self):
        self.began = time.monotonic()
        for c in self.clients:
            c.start()

    def count(self, engines=None, since=0):
        return sum(1 for c in self.clients for a in list(c.acknowledged) if (not engines or a[2] in engines) and a[0] > since)

    def goes_on(self, what, seconds=30, number=100):
        """As many more transfers are acknowledged in time; a second of load at least."""
        start, before = time.monotonic(), self.count()
        seconds *= SLOW
        while (time.monotonic() < start + 1 or self.count() < before + number) and time.monotonic() < start + seconds:
            time.sleep(0.02)
        took = time.monotonic() - start
        check(self.count() >= before + number, "the load goes on " + what, "%d transfers in %.1f s; clients: %s" % (
            self.count() - before, took, [c.doing for c in self.clients]))
        say("     %s: %d transfers in %.2f s" % (what, self.count() - before, took))

    def finish(self):
        self.stopping.set()
        self.ended = time.monotonic()
        for c in self.clients:
            c.join(max(0.1, self.ended + 30 * SLOW - time.monotonic()))
        hung = [c.doing for c in self.clients if c.is_alive()]
        equal("clients that never got an answer", hung, [])
        equal("errors that clients must not see", [u for c in self.clients for u in c.unexpected][:5], [])
        retries = {}
        for c in self.clients:
            for code, n in c.retries.items():
                retries[code] = retries.get(code, 0) + n
        say("     %d acknowledged, %d in doubt, %d rolled back %s" % (
            self.count(), sum(len(c.doubtful) for c in self.clients), sum(len(c.rolled_back) for c in self.clients),
            retries))

    def gaps(self, faults):
        """gap() for each (what, since), up to the next."""
        for (what, since), until in zip(faults, [f[1] for f in faults[1:]] + [self.ended]):
            self.gap(since, what, until)

    def gap(self, since, what, until=None, limit=None):
        """Prints the longest time after @since, until the end, in which nothing was acknowledged; at most @limit seconds."""
        until = until or self.ended
        times = [since] + sorted(a[0] for c in self.clients for a in c.acknowledged if since <= a[0] < until) + [until]
        longest, start = max((b - a, a) for a, b in zip(times, times[1:]))
        say("     longest time without an acknowledged transfer since %s: %.0f ms, from %.0f ms after it on" % (
            what, longest * 1000, (start - since) * 1000))
        check(limit is None or longest < limit * SLOW, "the load goes on in time after " + what, longest)

    def verify_everywhere(self):
        """At every engine, when each has applied what any has; and their copies are equal."""
        self.cluster.level()
        for name in self.cluster.names:
            self.verify(name)
        self.cluster.check_atoms("afterwards")

    def verify(self, engine):
        """What is there is what clients were told, exactly, at this engine."""
        rows = self.cluster.rows(engine, "select id, source, target, amount from transfer")
        there = [r[0] for r in rows]
        acknowledged = {a[1] for c in self.clients for a in c.acknowledged}
        doubtful = set().union(*(c.doubtful for c in self.clients))
        rolled_back = set().union(*(c.rolled_back for c in self.clients))
        equal(engine + ": transfers there twice", len(there) - len(set(there)), 0)
        equal(engine + ": acknowledged transfers that are not there", sorted(acknowledged - set(there))[:10], [])
        equal(engine + ": rolled-back transfers that are there", sorted(rolled_back & set(there))[:10], [])
        equal(engine + ": transfers of nobody", sorted(set(there) - acknowledged - doubtful - rolled_back)[:10], [])
        want = {i: INITIAL for i in range(1, ACCOUNTS + 1)}
        for _, source, target, amount in rows:
            want[source] -= amount
            want[target] += amount
        got = self.cluster.rows(engine, "select id, balance from account")
        equal(engine + ": accounts", len(got), ACCOUNTS)
        equal(engine + ": balances that do not follow from the transfers",
              sorted((i, b, want.get(i)) for i, b in got if b != want.get(i))[:10], [])
        equal(engine + ": sum of balances", self.cluster.one(engine, "select sum(balance)::bigint from account"),
              ACCOUNTS * INITIAL)
        # the same through the primary key's index: a lost or a stray entry shows
        sample = random.Random(1).sample(sorted(there), min(20, len(there)))
        missing = [s for s in sample if self.cluster.rows(engine, "select id from transfer where id = %s", (s,)) != [(s,)]]
        equal(engine + ": transfers not found by their key", missing, [])
