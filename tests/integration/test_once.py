"""Named transactions (valence.txn_id) happen once: connections are cut between COMMIT and its answer, engines are killed with kill -9, and each
client tries again under the same name, on any engine, until it knows. The sum is exact, at every engine, also after all have started again."""
import random
import threading
import time

import psycopg2

import lib
from lib import check, equal
from valence_cluster import Cluster, say

ROWS = 7
NUMBER = 150  # increments of each client


class Client(threading.Thread):
    def __init__(self, cluster, number):
        super().__init__(daemon=True)
        self.cluster, self.number = cluster, number
        self.random = random.Random(number)
        self.done = self.attempts = self.cut = self.told = self.lost = 0
        self.unexpected = []

    def attempt(self, name, row, first):
        """True: it is known that it is committed."""
        self.attempts += 1
        cut = first and self.random.random() < 0.5
        wire = None
        try:
            wire = lib.Wire(self.cluster.port(self.random.choice(self.cluster.names)))
            if not wire.answer or wire.answer[-1][0] != b"Z":
                return False
            query = ("begin; set local valence.txn_id = '%s'; update counter set n = n + 1 where id = %d; commit" % (name, row))
            if cut:
                self.cut += 1
                wire.send(lib.packet(b"Q", query.encode() + b"\0"))
                time.sleep(self.random.random() * 0.02)  # what its answer is, nobody will know
                return False
            answer = wire.query(query)
        except OSError:
            self.lost += 1
            return False
        finally:
            if wire:
                wire.close()
        if not answer or answer[-1][0] != b"Z":
            self.lost += 1
            return False
        code = lib.error_of(answer).get("C")
        if code == "VT001":
            self.told += 1
            return True
        if code:
            if code not in ("40001", "40P01", "57P03", "VN001", "08006", "08007", "57P01"):
                self.unexpected.append("%s: %s" % (name, lib.error_of(answer)))
            return False
        self.told += any(kind == b"N" and b"CVT001\0" in body for kind, body in answer)
        return True

    def run(self):
        for i in range(NUMBER):
            name, row, first = "client %d: %d" % (self.number, i), self.random.randrange(ROWS), True
            until = time.monotonic() + 60 * lib.SLOW
            while not self.attempt(name, row, first):
                if time.monotonic() > until:
                    self.unexpected.append("%s: no end of it" % name)
                    return
                first = False
            self.done += 1


def sums(cluster, what, want):
    for name in cluster.names:
        equal("%s: the sum at %s" % (what, name), cluster.one(name, "select sum(n)::int from counter"), want)


def load(cluster):
    clients = [Client(cluster, k) for k in range(4)]
    for c in clients:
        c.start()
    for victim in ("c1", "c2", "c1"):
        time.sleep(1)
        cluster.kill(victim)
        time.sleep(1)
        cluster.start(victim)
    for c in clients:
        c.join(200 * lib.SLOW)
    equal("what clients must not see", [u for c in clients for u in c.unexpected][:5], [])
    total = sum(c.done for c in clients)
    equal("increments that are known to be committed", total, NUMBER * len(clients))
    say("     %d increments in %d attempts: %d connections cut by the client, %d lost; %d times an attempt was told of an earlier one" % (
        total, sum(c.attempts for c in clients), sum(c.cut for c in clients), sum(c.lost for c in clients),
        sum(c.told for c in clients)))
    check(sum(c.told for c in clients) > 20, "attempts were told of earlier ones")
    cluster.level()
    sums(cluster, "after the load", total)
    cluster.check_atoms("after the load")
    return total


def stories(cluster, total):
    one, two = cluster.connect("c1", autocommit=False), cluster.connect("c2", autocommit=False)
    a, b = one.cursor(), two.cursor()
    a.execute("set local valence.txn_id = 'story'; update counter set n = n + 1 where id = 0")
    b.execute("set local valence.txn_id = 'story'; update counter set n = n + 1 where id = 1")
    one.commit()
    two.commit()
    check(any("already committed" in n for n in two.notices), "the second of two at once is told that its transaction is committed",
          two.notices)
    a.execute("select valence.last_commit_index(), valence.txn_outcome('story'), valence.txn_outcome('never')")
    first = a.fetchone()
    equal("the outcome is the commit's index", first[0], first[1])
    equal("a name that nobody used", first[2], None)
    b.execute("select valence.last_commit_index()")
    equal("the second one has the first one's index", b.fetchone()[0], first[0])
    one.rollback()
    two.rollback()
    for name in cluster.names:
        c = cluster.connect(name, autocommit=False)
        try:
            c.cursor().execute("set local valence.txn_id = 'story'")
            check(False, "%s refuses the name" % name)
        except psycopg2.Error as e:
            equal("SQLSTATE of a name that is known at %s" % name, e.pgcode, "VT001")
            check("index %d" % first[0] in (e.diag.message_detail or ""), "its index is told", e.diag.message_detail)
        c.rollback()
        c.close()
    # rolled back, it was never committed
    a.execute("set local valence.txn_id = 'again'; update counter set n = n + 1 where id = 0")
    one.rollback()
    a.execute("set local valence.txn_id = 'again'; update counter set n = n + 1 where id = 0")
    one.commit()
    # nothing written is an outcome, too
    b.execute("set local valence.txn_id = 'empty'; select 1")
    two.commit()
    try:
        a.execute("set local valence.txn_id = 'empty'")
        check(False, "a name of one that wrote nothing is taken")
    except psycopg2.Error as e:
        equal("a name of one that wrote nothing", e.pgcode, "VT001")
    one.close()
    two.close()
    sums(cluster, "after the stories", total + 2)


def main():
    cluster = Cluster(archives=1, caches=3)
    cluster.rows("c1", "create table counter (id int primary key, n int not null)")
    cluster.rows("c1", "insert into counter select i, 0 from generate_series(0, %s) i" % (ROWS - 1))
    total = load(cluster)
    cluster.level()
    stories(cluster, total)
    for name in cluster.names:
        cluster.kill(name)
    for name in cluster.names:
        cluster.start(name)
    cluster.level()
    sums(cluster, "after all have started again", total + 2)
    for name in cluster.names:
        check(cluster.one(name, "select valence.txn_outcome('story')") > 0, "%s knows the name after all have started again" % name)


main()
lib.finish()
