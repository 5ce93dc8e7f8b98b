"""SIGSTOP: an engine that is silent too long is removed and the load goes on; when it wakes it joins under a new id."""
import time

import lib
import transfers
from lib import check
from valence_cluster import Cluster, say


def paused(cluster, load, name, what):
    """Paused until the others have removed it, then resumed."""
    load.goes_on("before %s is paused, %s" % (name, what))
    other = "c1" if name != "c1" else "c2"
    old = cluster.id_of(name)
    others = [n for n in cluster.caches if n != name]
    at = time.monotonic()
    cluster.must("pause", name)
    try:
        if lib.eventually(30, "%s is removed" % name, lambda: cluster.id_of(name, at=other) != old):
            say("     %s removed %.0f ms after its pause" % (name, (time.monotonic() - at) * 1000))
        before = load.count(others)
        lib.eventually(30, "the others go on without " + name, lambda: load.count(others) > before + 50)
    finally:
        cluster.must("resume", name)
    lib.eventually(30, name + " is a member again", lambda: (cluster.id_of(name, at=other) or old) != old)
    check((cluster.id_of(name, at=other) or 0) > old, name + " has a new id", old)
    lib.eventually(30, name + " answers", lambda: cluster.answers(name))
    load.goes_on("with %s back" % name)
    if name in cluster.caches:  # its sessions lived on, or its clients came home
        before = load.count([name])
        lib.eventually(30, "transfers are done at %s again" % name, lambda: load.count([name]) > before + 20)
    return at


def main():
    cluster = Cluster(archives=3, caches=3)
    transfers.create(cluster, "c2")
    load = transfers.Load(cluster, cluster.caches)
    load.start()
    times = [("c3", paused(cluster, load, "c3", "which only coordinates")),
             ("c2", paused(cluster, load, "c2", "which originates what all write"))]
    leader = cluster.leader("c1")
    times.append((leader, paused(cluster, load, leader, "which leads the archives")))
    load.finish()
    for name, at in times:
        load.gap(at, "the pause of " + name)
    load.verify_everywhere()


main()
lib.finish()
