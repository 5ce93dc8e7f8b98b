"""Payloads go where they are needed: what one cache writes costs the others headers, until they read it.

Prints what came to the caches that have no copy of the table, in bytes of the fabric and in CPU time, for each row that another
one committed. PRUNING_ROWS: how many (10000); 100 a statement.
"""
import os
import threading
import time

import psycopg2

import lib
from lib import check, equal
from valence_cluster import Cluster, say

ROWS = int(os.environ.get("PRUNING_ROWS", "10000"))
STATEMENT = 100
PAD = 200


def cpu_seconds(cluster, name):
    with open(os.path.join(cluster.dir, name + ".pid"), encoding="ascii") as f:
        pid = int(f.read().split()[0])
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, task), encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total / 1e9


def insert(wire, table, first, rows):
    for at in range(first, first + rows, STATEMENT):
        answer = wire.query("INSERT INTO %s SELECT g, repeat('x', %d) FROM generate_series(%d, %d) g" % (
            table, PAD, at, at + STATEMENT - 1))
        if lib.error_of(answer):
            check(False, "an insert into " + table, lib.error_of(answer))
            return


def applied(cluster):
    """Every engine has applied what c1 has."""
    index = cluster.metric("c1", "applied_index")
    for name in cluster.caches:
        lib.eventually(20, name + " follows", lambda n=name: cluster.metric(n, "applied_index") >= index)


def look(cluster, name):
    """How much there is. A copy that comes while its table is written may not reach back to the snapshot (72000)."""
    for _ in range(20):
        try:
            return cluster.rows(name, "SELECT count(*), sum(length(pad)) FROM wide")[0]
        except psycopg2.errors.SnapshotTooOld:
            time.sleep(0.05)
    check(False, "%s can read the table" % name)
    return (0, 0)


def main():
    cluster = Cluster(archives=1, caches=3)
    wire = lib.Wire(cluster.port("c1"))
    check(not lib.error_of(wire.query("CREATE TABLE wide (id bigint PRIMARY KEY, pad text)")), "create the table")
    insert(wire, "wide", 1, STATEMENT)
    applied(cluster)
    time.sleep(1.5)
    before = {n: (cluster.metric(n, "relay_bytes_in_total"), cpu_seconds(cluster, n)) for n in cluster.caches}
    idle = time.monotonic()
    time.sleep(2)
    idle = time.monotonic() - idle
    quiet = {n: (cluster.metric(n, "relay_bytes_in_total") - before[n][0], cpu_seconds(cluster, n) - before[n][1])
             for n in cluster.caches}
    start = {n: (cluster.metric(n, "relay_bytes_in_total"), cpu_seconds(cluster, n)) for n in cluster.caches}
    since = time.monotonic()
    insert(wire, "wide", 1 + STATEMENT, ROWS)
    applied(cluster)
    took = time.monotonic() - since
    for n in cluster.caches:
        rate = [(cluster.metric(n, "relay_bytes_in_total") - start[n][0] - quiet[n][0] * took / idle) / ROWS,
                (cpu_seconds(cluster, n) - start[n][1] - quiet[n][1] * took / idle) / ROWS * STATEMENT * 1e6]
        say("     %s: %.1f bytes from other engines for each row, %.0f us of CPU for each transaction of %d rows" % (
            n, rate[0], rate[1], STATEMENT))
        if n != "c1":
            check(rate[0] < PAD / 10, "few bytes of a row come to " + n, rate)
            check(cluster.metric(n, "payload_bytes_spared_total") > ROWS * PAD, "its payloads were spared " + n)
            check(cluster.metric(n, "payloads_pulled_total") == 0, n + " needed none")

    # a first look while the table is written: what is sent and what is pulled make the same table
    writer = threading.Thread(target=insert, args=(wire, "wide", 10000000, ROWS))
    writer.start()
    for name in ("c2", "c3"):
        for _ in range(5):
            count, length = look(cluster, name)
            check(count % STATEMENT == 0 and count >= ROWS + STATEMENT and length == count * PAD,
                  "%s sees whole statements" % name, count, length)
    writer.join()
    applied(cluster)
    for name in cluster.caches:
        equal("rows on " + name, cluster.one(name, "SELECT count(*) FROM wide WHERE pad = repeat('x', %s)", (PAD,)),
              2 * ROWS + STATEMENT)
        say("     %s: %d payloads pulled" % (name, cluster.metric(name, "payloads_pulled_total")))
    spared = cluster.metric("c2", "payload_bytes_spared_total")
    insert(wire, "wide", 20000000, STATEMENT)
    applied(cluster)
    equal("c2 has a copy now and is sent what changes it", cluster.metric("c2", "payload_bytes_spared_total"), spared)
    for k in range(40):
        check(not lib.error_of(wire.query("CREATE TABLE many%d (id bigint PRIMARY KEY, pad text)" % k)), "create many%d" % k)
    rc, out, err = cluster.sql(2, "SELECT count(*) FROM many39")
    equal("c2 has one of them", (rc, out, err), (0, "0", ""))
    inserts = "".join("INSERT INTO many%d VALUES (1, repeat('x', %d));" % (k, PAD) for k in range(40))
    check(not lib.error_of(wire.query("BEGIN; " + inserts + "COMMIT")), "a transaction of more storages than a record can name")
    applied(cluster)
    equal("it is everybody's", cluster.metric("c2", "payload_bytes_spared_total"), spared)
    equal("its row on c2", cluster.one("c2", "SELECT length(pad) FROM many39"), PAD)
    wire.close()
    cluster.check_atoms("afterwards")

main()
lib.finish()
