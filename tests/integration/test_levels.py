"""Commit levels: what COMMIT takes at archive, memory and local, measured in turns in one run; what a session sees of its own commit; that an
archive-level commit survives the loss of everything while others are answered early; what is answered early is counted."""
import statistics
import threading
import time

import psycopg2

import lib
from lib import check, equal
from valence_cluster import Cluster, say

LEVELS = ("archive", "memory", "local")
ROUNDS = 150


def latencies(cluster, engine):
    took = {level: [] for level in LEVELS}
    c = cluster.connect(engine)
    cursor = c.cursor()
    for i in range(ROUNDS):
        for level in LEVELS:
            cursor.execute("set valence.commit_level = " + level)
            start = time.perf_counter()
            cursor.execute("update t set n = n + 1 where id = 1")
            took[level].append((time.perf_counter() - start) * 1e6)
            # the next statement waits until the commit is applied: it sees it, and that wait is not in the next figure
            cursor.execute("select n, valence.last_commit_index() from t where id = 1")
            n, index = cursor.fetchone()
            if n != took_count(took):
                check(False, "the session sees its own commit at level " + level, n, took_count(took))
                break
            if index is None or index > cluster_applied(cursor):
                check(False, "the index of a commit at level " + level, index)
    median = {level: statistics.median(t) for level, t in took.items()}
    say("     at %s: median of an UPDATE that commits by itself: archive %.0f us, memory %.0f us, local %.0f us" % (
        engine, median["archive"], median["memory"], median["local"]))
    equal("%s: increments of one session" % engine, cluster.one(engine, "select n from t where id = 1"), 3 * ROUNDS)
    check(median["local"] < median["archive"], engine + ": local is answered before archive", median)
    check(median["memory"] < median["archive"] * 1.2, engine + ": memory is not answered after archive", median)
    check(median["local"] < median["memory"] * 1.2, engine + ": local is not answered after memory", median)
    c.close()


def took_count(took):
    return sum(len(t) for t in took.values())


def cluster_applied(cursor):
    cursor.execute("select valence.applied_index()")
    return cursor.fetchone()[0]


def counted(cluster):
    check(cluster.metric("c1", "early_answers_total") >= 2 * ROUNDS * 0.5, "early answers are counted",
          cluster.metric("c1", "early_answers_total"))
    told = sum(cluster.metric(a, "receipts_told_total") for a in cluster.archives)
    check(told > 0, "the leader told of commits that a majority had received", told)
    equal("none of them was lost", cluster.metric("c1", "early_lost_total"), 0)


class Writer(threading.Thread):
    """Inserts rows one by one at its level; remembers which were acknowledged."""

    def __init__(self, cluster, engine, level, first):
        super().__init__(daemon=True)
        self.cluster, self.engine, self.level, self.first = cluster, engine, level, first
        self.acknowledged = []

    def run(self):
        try:
            c = self.cluster.connect(self.engine)
            cursor = c.cursor()
            cursor.execute("set valence.commit_level = " + self.level)
            i = self.first
            while True:
                cursor.execute("insert into kept values (%s)", (i,))
                self.acknowledged.append(i)
                i += 1
        except psycopg2.Error:
            pass


def everything_is_lost(cluster):
    writers = [Writer(cluster, "c1", "archive", 1), Writer(cluster, "c2", "archive", 1000001),
               Writer(cluster, "c1", "local", 2000001), Writer(cluster, "c2", "memory", 3000001)]
    for w in writers:
        w.start()
    time.sleep(2)
    cluster.kill(*cluster.names)
    for w in writers:
        w.join(30 * lib.SLOW)
    cluster.start(*cluster.names)
    cluster.level()
    there = {r[0] for r in cluster.rows("c1", "select id from kept")}
    for w in writers:
        gone = [i for i in w.acknowledged if i not in there]
        say("     kill -9 of all: level %s at %s: %d acknowledged, %d of them gone" % (w.level, w.engine, len(w.acknowledged), len(gone)))
        check(len(w.acknowledged) > 20, "the writer at level %s at %s worked" % (w.level, w.engine))
        if w.level == "archive":
            equal("acknowledged at level archive at %s, and gone" % w.engine, gone[:5], [])
        # what is gone is at the end: a session's later commits wait for its earlier ones
        check(gone == w.acknowledged[len(w.acknowledged) - len(gone):] and len(gone) <= 1,
              "level %s at %s: at most the session's last one is gone" % (w.level, w.engine), gone[:5])


def main():
    cluster = Cluster(archives=3, caches=2)
    cluster.rows("c1", "create table t (id int primary key, n int not null)")
    cluster.rows("c1", "insert into t values (1, 0)")
    cluster.rows("c1", "create table kept (id int primary key)")
    latencies(cluster, "c1")
    counted(cluster)
    c = cluster.connect("c1", autocommit=False)
    cursor = c.cursor()
    cursor.execute("set local valence.commit_level = local")
    cursor.execute("show valence.commit_level")
    equal("SET LOCAL of the level", cursor.fetchone()[0], "local")
    c.commit()
    cursor.execute("show valence.commit_level")
    equal("after the transaction", cursor.fetchone()[0], "archive")
    c.close()
    everything_is_lost(cluster)
    cluster.check_atoms("afterwards")


main()
lib.finish()
