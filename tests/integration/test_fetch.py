"""Images fetched from the cache that originates them: what it costs the holder, by sending and by being read, and kill -9 of it.

Over a fabric with remote memory the metrics have to show that images came by one-sided reads; over the others that they were sent.
"""
import os
import signal
import threading
import time

import lib
from lib import check, equal
from valence_cluster import Cluster, say

READS = (lib.FABRIC or "").endswith(":verbs") and (lib.FABRIC or "").startswith("ofi")
ROWS = 12000
ALL = [(ROWS, ROWS * 400)]
READ_ALL = "select count(*), sum(length(pad)) from big"


def cpu_us(pid):
    """What the scheduler gave the process, all of its threads, in microseconds."""
    ran = 0
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, task), encoding="ascii") as f:
            ran += int(f.read().split()[0])
    return ran / 1000


def table(cluster, name, rows):
    cluster.rows("c1", "create table %s (id int primary key, pad text)" % name)
    cluster.rows("c1", "insert into %s select g, repeat('p', 400) from generate_series(1, %d) g" % (name, rows))


def become_neighbours(cluster, name):
    """A fetch, or more where the machine is slow, after which there is a direct link to c1."""
    for i in range(10):
        table(cluster, "warm%d" % i, 2000)
        cluster.level()
        cluster.rows(name, "select count(pad) from warm%d" % i)
        time.sleep(0.2 * lib.SLOW)
        if cluster.metric(name, "direct_links") > 0:
            break
    check(cluster.metric(name, "direct_links") > 0, "%s has a direct link" % name)


def cpu_for(cluster, name, text, want):
    """Microseconds that c1 ran while name answered a query."""
    cpu, pid = cpu_us(cluster.pid("c1")), cluster.pid("c1")
    equal("all rows at " + name, cluster.rows(name, text), want)
    return cpu_us(pid) - cpu


def fetch(cluster, name):
    """All of big, from c1, and the same query again, without a fetch; (bytes fetched, what c1 ran longer, in us per MiB)."""
    before = cluster.metric(name, "fetch_bytes_total")
    time.sleep(0.5 * lib.SLOW)
    cpu = cpu_for(cluster, name, READ_ALL, ALL)
    fetched = cluster.metric(name, "fetch_bytes_total") - before
    check(fetched > 4000000, "%s fetched it" % name, fetched)
    time.sleep(0.5 * lib.SLOW)
    again = min(cpu_for(cluster, name, READ_ALL, ALL) for _ in range(3))
    return fetched, (cpu - again) / (fetched / 1048576)


def run(what, **flags):
    cluster = Cluster(what, caches=3, **flags)
    table(cluster, "big", ROWS)
    become_neighbours(cluster, "c2")
    lent, read = cluster.metric("c1", "lend_bytes_total"), cluster.metric("c2", "fetch_read_bytes_total")
    fetched, cost = fetch(cluster, "c2")
    lent, read = cluster.metric("c1", "lend_bytes_total") - lent, cluster.metric("c2", "fetch_read_bytes_total") - read
    say("     %s: %.1f MiB, %.1f read and %.1f sent by the holder, %.0f us of its CPU for each MiB"
        % (what, fetched / 1048576, read / 1048576, lent / 1048576, cost))
    return cluster, fetched, read, lent, cost


def holder_dies(cluster):
    reader, watcher = cluster.connect("c3"), cluster.connect("c3").cursor()
    got, pid = [], cluster.pid("c1")

    def read_all():
        with reader.cursor() as cursor:
            cursor.execute(READ_ALL)
            got.append(cursor.fetchall())

    def fetched():
        watcher.execute("select value from valence.metrics where name = 'fetch_bytes_total'")
        return watcher.fetchone()[0]

    before = fetched()
    thread = threading.Thread(target=read_all)
    thread.start()
    while thread.is_alive() and fetched() < before + 300000:
        pass
    os.kill(pid, signal.SIGKILL)
    midway = fetched() - before
    thread.join(60 * lib.SLOW)
    say("     c3 had fetched %.1f MiB when c1 died" % (midway / 1048576))
    equal("all rows at c3, whose holder died meanwhile", got, [ALL])


def main():
    cluster, fetched, read, lent, cost = run("as-it-is")
    if READS:
        check(read > 0.9 * fetched, "images came by one-sided reads", read, fetched)
        check(lent < 0.1 * fetched, "the holder sent hardly anything", lent, fetched)
    else:
        equal("nothing was read from memory", read, 0)
        check(lent > 0.9 * fetched, "the holder sent them", lent, fetched)
    holder_dies(cluster)
    cluster.check_atoms("after the kill")
    cluster.must("stop")
    if READS:
        cluster, fetched, read, lent, sent_cost = run("sent", offset=60, engine_flags=["--remote-memory", "0"])
        equal("nothing is read where no memory is registered", read, 0)
        say("     the holder's CPU for each MiB: %.2f of what sending costs" % (cost / sent_cost))
        check(cost < sent_cost, "being read costs the holder less than sending")


main()
lib.finish()
