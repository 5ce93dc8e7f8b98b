"""Engines of other hosts that end unheard and start again on the same address, as a machine that is reset does.

Its wire is cut before it is killed, so nobody is told: the others have connections to a process that is no more. It is back
before they miss it, or after they removed it; it joins under a new id either way, and what it was promised is there.
"""
import os
import time

import hosts
import lib
import transfers
from lib import check
from valence_cluster import say


def restarted(cluster, load, name, what, missed):
    load.goes_on("before %s is reset, %s" % (name, what))
    other = next(a for a in cluster.archives if a != name)
    old, at = cluster.id_of(name, at=other), time.monotonic()
    cluster.cut(name)
    cluster.kill(name)
    if missed:
        cluster.removed(name, old, other, at)
    cluster.repair()
    cluster.start(name, wait=False)
    back = time.monotonic()
    cluster.joined(name, old, other, back)
    lib.eventually(30, name + " answers", lambda: cluster.answers(name))
    gone = cluster.rows(other, "select cause from valence.failovers where engine_id = %s", (old,))
    check(len(gone) == 1, "%s: its old id was removed once" % name, gone)
    say("     removed as: %s" % (gone[0][0] if gone else "never"))
    load.goes_on("with %s back" % name)
    if name in cluster.caches:
        count = load.count([name])
        lib.eventually(30, "transfers are done at %s again" % name, lambda: load.count([name]) > count + 20)
    return at


def resets(cluster, load):
    yield "c2", restarted(cluster, load, "c2", "which originates what all write; back at once", missed=False)
    yield "c3", restarted(cluster, load, "c3", "and is away for long", missed=True)
    for what, missed in (("which leads; back at once", False), ("which leads, and is away for long", True)):
        leader = cluster.leader("c1")
        yield leader, restarted(cluster, load, leader, what, missed)


def main():
    hosts.need_hosts()
    cluster = hosts.Hosts(archives=3, caches=3)
    transfers.create(cluster, "c2")
    load = transfers.Load(cluster, cluster.caches)
    load.start()
    times = []
    for _ in range(5 if os.environ.get("VALENCE_LONG") else 1):
        times += [("the reset of " + name, at) for name, at in resets(cluster, load)]
    load.finish()
    load.gaps(times)
    load.verify_everywhere()


main()
lib.finish()
