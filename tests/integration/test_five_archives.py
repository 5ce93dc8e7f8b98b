"""Five archives: two die at once and commits go on; with three gone writes are refused; a leader that is told to end hands over.

SIGTERM of the leader fails no transaction: the longest time between two acknowledged ones is printed.
"""
import os
import signal
import threading
import time

import psycopg2

import lib
import transfers
from lib import check, equal
from valence_cluster import Cluster, say


def ended(pid):
    for _ in range(150 * lib.SLOW):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def voting(cluster):
    return cluster.one(cluster.leader("c1"), "select count(*) from valence.voters where votes")


class Quiet(threading.Thread):
    """One session that updates a row of its own: nobody is in its way, so that no transaction of it may fail."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.connection = cluster.connect("c1")
        self.stopping, self.errors, self.times = threading.Event(), [], []

    def run(self):
        with self.connection.cursor() as cursor:
            while not self.stopping.is_set():
                try:
                    cursor.execute("update solo set n = n + 1")
                    self.times.append(time.monotonic())
                except psycopg2.Error as e:
                    self.errors.append((e.pgcode, str(e).strip()))
                    return

    def finish(self, cluster):
        self.stopping.set()
        self.join(30 * lib.SLOW)
        equal("errors of a session that nobody is in the way of", self.errors, [])
        equal("its updates", cluster.one("c1", "select n from solo"), len(self.times))
        longest = max(b - a for a, b in zip(self.times, self.times[1:]))
        say("     longest time between two of its %d commits: %.0f ms" % (len(self.times), longest * 1000))


def two_die(cluster, load):
    leader = cluster.leader("c1")
    other = next(a for a in cluster.archives if a != leader)
    at = time.monotonic()
    cluster.kill(leader, other)
    load.goes_on("without %s and %s" % (leader, other))
    cluster.start(leader, other)
    cluster.level()
    return ("the kill of two", at)


def hand_over(cluster, load):
    """Of those that run transactions, none may notice."""
    leader = cluster.leader("c1")
    at = time.monotonic()
    cluster.rows("c1", "create table solo (n int)")
    cluster.rows("c1", "insert into solo values (0)")
    quiet = Quiet(cluster)
    quiet.start()
    time.sleep(0.5)
    pid = cluster.pid(leader)
    os.kill(pid, signal.SIGTERM)
    check(ended(pid), leader + " ends")
    load.goes_on("without %s, which handed over" % leader)
    quiet.finish(cluster)
    new = cluster.leader("c1")
    check(new in cluster.archives and new != leader, "another archive leads", new)
    load.gap(at, "SIGTERM of the leader", time.monotonic())
    cluster.start(leader)
    cluster.level()
    return ("SIGTERM of the leader", at)


def majority_lost(cluster):
    """Refused, and soon, and for certain: the row is not there when the archives are back."""
    gone = [a for a in cluster.archives if a != "a1"][:3]
    cluster.kill(*gone)
    since, code = time.monotonic(), None
    while not code and time.monotonic() < since + 20 * lib.SLOW:
        c = cluster.connect("c1")
        try:
            with c.cursor() as cursor:
                cursor.execute("set statement_timeout = %s" % (15000 * lib.SLOW))
                time.sleep(4 * lib.SLOW)
                cursor.execute("insert into transfer values ('never', 1, 2, 3)")
        except psycopg2.Error as e:
            code = e.pgcode
        finally:
            c.close()
    equal("SQLSTATE of a write without a majority", code, "VN001")
    say("     refused %.1f s after the majority was gone" % (time.monotonic() - since))
    cluster.start(*gone)
    cluster.level()
    equal("the refused row", cluster.rows("c1", "select * from transfer where id = 'never'"), [])


def main():
    cluster = Cluster(archives=5, caches=1, engine_flags=["--stale-read-limit-ms", str(10000 * lib.SLOW)])
    transfers.create(cluster, "c1")
    lib.eventually(30, "five archives vote", lambda: voting(cluster) == 5)
    load = transfers.Load(cluster, ["c1"])
    load.start()
    load.goes_on("with all five")
    faults = [two_die(cluster, load), hand_over(cluster, load)]
    load.goes_on("with all of them back")
    load.finish()
    load.gaps(faults)
    load.verify_everywhere()
    majority_lost(cluster)


main()
lib.finish()
