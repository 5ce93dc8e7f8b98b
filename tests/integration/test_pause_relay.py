"""A relay is stopped (SIGSTOP) under load: what is below it is served by others within a second, before anybody is removed."""
import os
import threading
import time

import psycopg2

import lib
from lib import check, equal
from valence_cluster import Cluster, say

PAUSE_S = 30 if os.environ.get("VALENCE_LONG") else 5
LIMIT_S = 1.0 * lib.SLOW
WINDOW_S = 0.4
THINK_S = 0.004  # clients that think: what is measured is the cluster, not how many processors there are


class Client(threading.Thread):
    """Commits at one engine, to a table that this engine originates."""

    def __init__(self, cluster, engine):
        super().__init__(daemon=True)
        self.engine, self.stopping = engine, threading.Event()
        self.times, self.errors, self.number = [], [], 0
        self.connection = cluster.connect(engine)

    def run(self):
        with self.connection.cursor() as cursor:
            while not self.stopping.is_set():
                try:
                    cursor.execute("update load_%s set v = v + 1 where id = %d" % (self.engine, self.number % 50))
                    self.times.append(time.monotonic())
                    self.number += 1
                except psycopg2.Error as e:
                    self.errors.append("%s: %s %s" % (self.engine, e.pgcode, str(e).strip()))
                    return
                time.sleep(THINK_S)
        self.connection.close()


def parents(cluster):
    """Of each cache, as it knows itself."""
    ids = {n: cluster.id_of(n, at="a1") for n in cluster.names}
    names = {i: n for n, i in ids.items()}
    return {n: names.get(cluster.one(n, "select parent_id from valence.engines where engine_id = %s", (ids[n],)))
            for n in cluster.caches}


def settled(cluster):
    """The relay with most children, and the tree, once nobody has more than the fan-out."""
    found = []

    def look():
        tree = parents(cluster)
        count = {n: sum(1 for p in tree.values() if p == n) for n in cluster.names}
        if any(p is None for p in tree.values()) or max(count.values()) > 2:
            return False
        found[:] = [max(cluster.caches, key=lambda n: count[n]), tree]
        return True

    lib.eventually(40, "the tree has its shape", look)
    return found


def count(times, start, end):
    return sum(1 for t in times if start <= t < end)


def share(below, beside, start, end):
    """Commits below the relay for each one beside it: what else this machine does touches both."""
    return count(below, start, end) / max(1, count(beside, start, end))


def back_after(below, beside, paused, until, usual):
    """Seconds from the stop to the first window with 90 % of the usual share; None: there is none."""
    at = paused
    while at + WINDOW_S < until:
        if share(below, beside, at, at + WINDOW_S) >= 0.9 * usual:
            return at - paused
        at += 0.01
    return None


def longest_gap(times, paused, until):
    inside = [paused] + [t for t in times if paused <= t < until] + [until]
    return max(b - a for a, b in zip(inside, inside[1:]))


def judge(clients, below, beside, begin, paused, until):
    times = {what: sorted(t for n in names for t in clients[n].times) for what, names in
             (("below", below), ("beside", beside))}
    usual = share(times["below"], times["beside"], begin, paused)
    back = back_after(times["below"], times["beside"], paused, until, usual)
    later = share(times["below"], times["beside"], paused + LIMIT_S, until) / usual
    for what in ("below", "beside"):
        say("     %s the relay: %.0f commits/s before the stop, %.0f/s from a second after it on" % (
            what, count(times[what], begin, paused) / (paused - begin),
            count(times[what], paused + LIMIT_S, until) / (until - paused - LIMIT_S)))
    gaps = {n: longest_gap(clients[n].times, paused, until) for n in clients}
    say("     below, as a share of beside: 90 %% of the usual from %s ms after the stop on, %.0f %% after a second; "
        "longest gap %.0f ms below, %.0f ms beside" % ("%.0f" % (back * 1000) if back is not None else "no", later * 100,
                                                       1000 * max(gaps[n] for n in below), 1000 * max(gaps[n] for n in beside)))
    check(back is not None and back <= LIMIT_S, "throughput is back to 90 %% within %.0f s" % LIMIT_S, back)
    check(later >= 0.85, "and stays there", later)
    check(max(gaps[n] for n in below) <= LIMIT_S, "nobody below the relay waits for more than %.0f s" % LIMIT_S, gaps)


def main():
    cluster = Cluster(archives=1, caches=5, engine_flags=["--fan-out", "2"])
    relay, tree = settled(cluster)
    below = [n for n in cluster.caches if tree[n] == relay]
    beside = [n for n in cluster.caches if n != relay and n not in below]
    if not check(below and beside, "the relay has children, and somebody is not below it", tree):
        lib.finish()
    for n in cluster.caches:
        cluster.rows(n, "create table load_%s (id int primary key, v bigint)" % n)
        cluster.rows(n, "insert into load_%s select i, 0 from generate_series(0, 49) i" % n)
    clients = {n: Client(cluster, n) for n in below + beside}
    for c in clients.values():
        c.start()
    time.sleep(1)
    begin = time.monotonic()
    time.sleep(3)
    paused = time.monotonic()
    cluster.must("pause", relay)
    time.sleep(PAUSE_S)
    until = time.monotonic()
    old = cluster.id_of(relay, at="a1")
    cluster.must("resume", relay)
    lib.eventually(30, "the relay is a member again", lambda: cluster.id_of(relay, at="a1") not in (None, old) and
                   cluster.answers(relay))
    time.sleep(1)
    for c in clients.values():
        c.stopping.set()
    for c in clients.values():
        c.join(30 * lib.SLOW)
    equal("errors that clients got", [e for c in clients.values() for e in c.errors], [])
    judge(clients, below, beside, begin, paused, until)
    for n in below:
        check(cluster.metric(n, "relay_parents_left_total") >= 1, n + " left the stopped relay by itself")
    for n in below + beside:
        equal(n + ": what is there is what was acknowledged", int(cluster.one(n, "select sum(v) from load_" + n)),
              clients[n].number)
    cluster.level()
    cluster.check_atoms("afterwards")


main()
lib.finish()
