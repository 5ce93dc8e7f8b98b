#!/usr/bin/python3
"""leader_kills.py [ROUNDS]: kill -9 of the archive that leads, again and again under load; how long nobody's commit is acknowledged.

Three archives and a cache; sessions at the cache that each update a row of their own. A round is: kill the leader, wait until
commits go on and a second more, start it again, wait until it votes. The longest time between two acknowledged commits after each
kill is a sample; printed are its percentiles, and that of rounds without a kill beside them. VALENCE, TEST_DIR and PORT_BASE as
tests/integration/lib.py has them. The aim is 500 ms for the 99th percentile.
"""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

import psycopg2  # noqa: E402

import lib  # noqa: E402
from lib import check, equal  # noqa: E402
from valence_cluster import Cluster, say  # noqa: E402

SESSIONS = 4
LIMIT_S = 20


class Session(threading.Thread):
    def __init__(self, cluster, number, stopping):
        super().__init__(daemon=True)
        self.connection, self.number, self.stopping = cluster.connect("c1"), number, stopping
        self.times, self.errors = [], []

    def run(self):
        with self.connection.cursor() as cursor:
            while not self.stopping.is_set():
                try:
                    cursor.execute("update solo set n = n + 1 where id = %s", (self.number,))
                    self.times.append(time.monotonic())
                except psycopg2.Error as e:
                    self.errors.append((e.pgcode, str(e).strip()))


def longest(sessions, since, until):
    """In milliseconds, between two commits of anybody."""
    times = [since] + sorted(t for s in sessions for t in s.times if since < t < until) + [until]
    return 1000 * max(b - a for a, b in zip(times, times[1:]))


def after(sessions, since):
    return sum(1 for s in sessions for t in s.times[-200:] if t > since)


def percentiles(values):
    values = sorted(values)
    return ", ".join("%s %.0f" % (name, values[min(len(values) - 1, int(len(values) * share))])
                     for name, share in (("p50", .5), ("p90", .9), ("p99", .99), ("max", 1)))


def back(cluster, leader):
    rows = cluster.rows("c1", "select name from valence.engines where kind = 'archive'")
    return len(rows) == 3 and cluster.answers(leader)


def one_round(cluster, sessions):
    """(without a kill, after one); None: nothing went on."""
    at = time.monotonic()
    time.sleep(1)
    calm = longest(sessions, at, time.monotonic())
    leader = cluster.leader("c1")
    at = time.monotonic()
    cluster.kill(leader)
    killed = time.monotonic()
    while after(sessions, killed) < 20 and time.monotonic() < killed + LIMIT_S:
        time.sleep(0.02)
    if after(sessions, killed) < 20:
        return None
    time.sleep(1)
    gap = longest(sessions, at, time.monotonic())
    cluster.start(leader)
    lib.eventually(30, leader + " is back", lambda: back(cluster, leader))
    time.sleep(0.3)
    return calm, gap


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    cluster = Cluster(archives=3, caches=1)
    cluster.rows("c1", "create table solo (id int primary key, n int)")
    cluster.rows("c1", "insert into solo select i, 0 from generate_series(0, %s) i", (SESSIONS - 1,))
    stopping = threading.Event()
    sessions = [Session(cluster, k, stopping) for k in range(SESSIONS)]
    for s in sessions:
        s.start()
    samples = []
    for k in range(rounds):
        sample = one_round(cluster, sessions)
        if not check(sample is not None, "commits go on after kill %d" % (k + 1)):
            break
        samples.append(sample)
    stopping.set()
    for s in sessions:
        s.join(30)
    equal("errors", [e for s in sessions for e in s.errors][:5], [])
    equal("updates that are there", cluster.rows("c1", "select n from solo order by id"),
          [(len(s.times),) for s in sessions])
    if samples:
        say("     longest time between two commits, ms, %d rounds: without a kill %s" % (
            len(samples), percentiles([s[0] for s in samples])))
        say("     after kill -9 of the leader: %s" % percentiles([s[1] for s in samples]))


main()
lib.finish()
