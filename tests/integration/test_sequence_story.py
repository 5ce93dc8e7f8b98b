"""The story of Sequence-A: A creates it, B finds A in the catalog, asks it, becomes a holder; A dies; B originates it.

No value is given twice over all of it, and B has its first value within TARGET_MS of A's end.
"""
import os
import signal
import threading
import time

import psycopg2

import lib
from lib import check, equal
from valence_cluster import Cluster, say

TARGET_MS = 100 * lib.SLOW  # from kill -9 of the originator to the first value elsewhere, on loopback
SEQUENCE = "sequence_a"


def catalog_entry(cluster, at):
    rows = cluster.rows(at, "select originator, holders from valence.atoms where kind = 'sequence' and relation = %s",
                        (SEQUENCE,))
    equal("atoms of the sequence in the catalog of " + at, len(rows), 1)
    return rows[0]


def values(cluster, engine, count, seen):
    """@count values; each must be new to all who ever asked."""
    c = cluster.connect(engine)
    got = []
    with c.cursor() as cursor:
        for _ in range(count):
            cursor.execute("select nextval(%s)", (SEQUENCE,))
            got.append(cursor.fetchone()[0])
    c.close()
    equal("%d values at %s are new" % (count, engine), sorted(set(got) & seen) + [len(set(got))], [count])
    seen.update(got)
    return got


def ended(pid):
    """Is it dead, whether or not its parent has noticed?"""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii") as f:
            return f.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Asker(threading.Thread):
    """One open connection that calls nextval in a loop, and remembers for every value when it was asked for and had."""

    def __init__(self, connection):
        super().__init__(daemon=True)
        self.connection, self.got, self.errors = connection, [], []
        self.stopping = threading.Event()

    def run(self):
        with self.connection.cursor() as cursor:
            while not self.stopping.is_set():
                try:
                    asked = time.monotonic()
                    cursor.execute("select nextval(%s)", (SEQUENCE,))
                    self.got.append((asked, time.monotonic(), cursor.fetchone()[0]))
                except psycopg2.Error as e:
                    self.errors.append("%s %s" % (e.pgcode, str(e).strip()))
                    if self.connection.closed:
                        return


def story(cluster, a, b):
    seen = set()
    id_a, id_b = cluster.id_of(a), cluster.id_of(b)
    say("A = %s (engine %d) creates the sequence; B = %s (engine %d)" % (a, id_a, b, id_b))
    cluster.rows(a, "create sequence " + SEQUENCE)
    values(cluster, a, 10, seen)

    cluster.level()
    originator, holders = catalog_entry(cluster, b)
    equal("B sees in the catalog that A is the originator", originator, id_a)
    equal("B sees in the catalog that A is the only listed holder", holders, [id_a])

    reserves = cluster.metric(a, "reserves_total"), cluster.metric(b, "reserves_total")
    values(cluster, b, 1, seen)
    both = sorted([id_a, id_b])
    lib.eventually(5, "B's first value made it a holder",
                   lambda: catalog_entry(cluster, b)[1] == both)
    equal("the originator is still A", catalog_entry(cluster, b)[0], id_a)
    equal("valence.holders has both, and marks A", cluster.rows(
        b, "select h.engine_id, h.is_originator from valence.holders h join valence.atoms a using (atom_id)"
        " join valence.engines e using (engine_id) where a.relation = %s and e.kind = 'cache' order by 1", (SEQUENCE,)),
        [(i, i == id_a) for i in both])
    values(cluster, b, 200, seen)
    values(cluster, a, 200, seen)
    values(cluster, b, 200, seen)
    equal("B reserved nothing by itself: it asked A", cluster.metric(b, "reserves_total") - reserves[1], 0)
    check(cluster.metric(a, "reserves_total") > reserves[0], "A reserved what both gave out")

    asker = Asker(cluster.connect(b))
    asker.start()
    while len(asker.got) < 50 and asker.is_alive() and not asker.errors:
        time.sleep(0.001)
    pid = cluster.pid(a)
    before = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    while not ended(pid):
        pass
    dead = time.monotonic()
    until = dead + 10 * lib.SLOW
    while asker.is_alive() and time.monotonic() < until and not [1 for x, _, _ in asker.got[-1:] if x > dead + 0.5]:
        time.sleep(0.01)
    asker.stopping.set()
    asker.join(5 * lib.SLOW)
    check(not asker.is_alive(), "B answers")
    equal("errors at B", asker.errors, [])
    # what was asked for when A was dead is from its successor; what was under way then may be from either
    first = [(had - before) * 1000 for asked, had, _ in asker.got if asked > dead]
    under_way = [(had - before) * 1000 for asked, had, _ in asker.got if asked <= dead < had]
    got = [value for _, _, value in asker.got]
    equal("values while A was killed are new", [len(got) - len(set(got)), len(set(got) & seen)], [0, 0])
    seen.update(got)
    if check(first, "B has values after A's end"):
        say("     from kill -9 of A to the next value at B: %.1f ms; %d values in the half second after it" % (
            min(under_way + first), len(first)))
        check(min(first) < TARGET_MS, "B has its first value without A within %d ms" % TARGET_MS, "%.1f ms" % min(first))
    check(cluster.metric(b, "reserves_total") > reserves[1], "B reserves what it gives out now")

    lib.eventually(5, "A is no member", lambda: cluster.id_of(a, at=b) is None)
    equal("B is the originator", catalog_entry(cluster, b)[0], id_b)
    values(cluster, b, 100, seen)
    values(cluster, "a1", 100, seen)
    return seen


def comes_back(cluster, a, b, seen):
    cluster.start(a)
    values(cluster, a, 100, seen)
    equal("B is still the originator", catalog_entry(cluster, a)[0], cluster.id_of(b))
    say("everything is killed and restarted")
    cluster.kill(*cluster.names)
    cluster.start(*cluster.names)
    for name in cluster.names:
        values(cluster, name, 50, seen)
    say("     %d values, none twice; the highest is %d" % (len(seen), max(seen)))
    cluster.check_atoms("afterwards")


def main():
    cluster = Cluster(caches=2)
    seen = story(cluster, "c1", "c2")
    comes_back(cluster, "c1", "c2", seen)


main()
lib.finish()
