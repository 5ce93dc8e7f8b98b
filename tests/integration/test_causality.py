"""What is written at one engine is seen at another: with the commit's index and valence.wait_for(), and with read_consistency = latest, under a
load that keeps every engine busy, and with a leader that is killed in between."""
import random
import threading
import time

import psycopg2

import lib
from lib import check, equal
from valence_cluster import Cluster, say

TURNS = 250


class Noise(threading.Thread):
    def __init__(self, cluster, engine, stop):
        super().__init__(daemon=True)
        self.cluster, self.engine, self.stopping, self.done = cluster, engine, stop, 0

    def run(self):
        while not self.stopping.is_set():
            try:
                c = self.cluster.connect(self.engine)
                cursor = c.cursor()
                while not self.stopping.is_set():
                    cursor.execute("update noise set n = n + 1 where id = %s", (random.randrange(100),))
                    self.done += 1
            except psycopg2.Error:
                time.sleep(0.05)


def write(connection, value):
    """The commit's index, as the protocol reports it."""
    with connection.cursor() as cursor:
        cursor.execute("update seen set n = %s where id = 1", (value,))
    return int(connection.info.parameter_status("valence.last_commit"))


def by_index(cluster):
    connections = {name: cluster.connect(name) for name in cluster.names}
    behind = late = 0
    for c in connections.values():
        c.cursor().execute("set valence.report_last_commit = on")
    for i in range(1, TURNS + 1):
        a, b = random.sample(cluster.names, 2)
        index = write(connections[a], i)
        cursor = connections[b].cursor()
        cursor.execute("select n from seen where id = 1")
        behind += cursor.fetchone()[0] != i
        cursor.execute("select valence.wait_for(%s, %s)", (index, lib.WAIT_FOR_MS))
        cursor.execute("select n from seen where id = 1")
        n = cursor.fetchone()[0]
        if n != i:
            late += 1
        cursor = connections[a].cursor()
        cursor.execute("select valence.last_commit_index()")
        if cursor.fetchone()[0] != index:
            check(False, "last_commit_index() is what was reported")
        cursor.execute("show valence.last_commit")
        if cursor.fetchone()[0] != str(index):
            check(False, "SHOW valence.last_commit is what was reported")
    equal("of %d writes not seen at another engine after wait_for()" % TURNS, late, 0)
    say("     %d writes at one engine, read at another: %d not there yet without wait_for(), none with it" % (TURNS, behind))
    for c in connections.values():
        c.close()


def latest(cluster, what, engines, faults=None):
    """Writes at one engine, then reads at another at once."""
    connections, late, value, failed = {}, 0, 1000000, 0
    started = time.monotonic()
    turns = 0
    while turns < TURNS or (faults and faults.is_alive()):
        if time.monotonic() > started + 120 * lib.SLOW:
            check(False, what + " comes to an end", turns)
            break
        a, b = random.sample(engines, 2)
        value += 1
        try:
            for name in (a, b):
                if name not in connections:
                    connections[name] = cluster.connect(name)
                    connections[name].cursor().execute("set valence.read_consistency = latest")
            with connections[a].cursor() as cursor:
                cursor.execute("update seen set n = %s where id = 1", (value,))
            with connections[b].cursor() as cursor:
                cursor.execute("select n from seen where id = 1")
                if cursor.fetchone()[0] != value:
                    late += 1
            turns += 1
        except psycopg2.Error:
            failed += 1
            for name in (a, b):
                if name in connections:
                    connections.pop(name).close()
            time.sleep(0.02)
    equal("%s: writes not seen at once at another engine" % what, late, 0)
    say("     %s: %d writes read at once at another engine, %d attempts failed" % (what, turns, failed))
    for c in connections.values():
        c.close()


def change_leader(cluster):
    for _ in range(2):
        time.sleep(1)
        leader = cluster.leader("c1")
        cluster.kill(leader)
        time.sleep(2)
        cluster.start(leader)


def main():
    cluster = Cluster(archives=3, caches=3)
    cluster.rows("c1", "create table seen (id int primary key, n int not null)")
    cluster.rows("c1", "insert into seen values (1, 0)")
    cluster.rows("c1", "create table noise (id int primary key, n int not null)")
    cluster.rows("c1", "insert into noise select i, 0 from generate_series(0, 99) i")
    c = cluster.connect("c1")
    c.cursor().execute("update seen set n = n where id = 1")
    equal("reported without being asked for", c.info.parameter_status("valence.last_commit"), None)
    c.close()
    stop = threading.Event()
    noise = [Noise(cluster, name, stop) for name in cluster.caches]
    for n in noise:
        n.start()
    by_index(cluster)
    latest(cluster, "latest", cluster.names)
    faults = threading.Thread(target=change_leader, args=(cluster,), daemon=True)
    faults.start()
    latest(cluster, "latest, the leader killed twice", cluster.caches, faults)
    faults.join()
    stop.set()
    for n in noise:
        n.join(30 * lib.SLOW)
    check(sum(n.done for n in noise) > 100, "the noise went on", sum(n.done for n in noise))
    cluster.level()
    cluster.check_atoms("afterwards")


main()
lib.finish()
