"""The log by UDP multicast: under a load of transfers, with the leader and a cache killed, it brings what the tree need not."""
import time

import lib
import transfers
from lib import check
from valence_cluster import Cluster, say

GROUP = "239.255.%d.%d:%d" % (lib.PORT_BASE // 256, lib.PORT_BASE % 256, lib.PORT_BASE)


def came_by_it(cluster, name):
    return cluster.metric(name, "multicast_batches_total")


def main():
    cluster = Cluster(archives=3, caches=3, engine_flags=["--multicast", GROUP, "--fan-out", "2"])
    transfers.create(cluster, "c1")
    load = transfers.Load(cluster, cluster.caches)
    load.start()
    load.goes_on("by multicast")
    before = {n: came_by_it(cluster, n) for n in cluster.caches}
    load.goes_on("a little longer")
    for name in cluster.caches:
        check(came_by_it(cluster, name) > before[name], "the log comes to %s by multicast" % name)
    leader = cluster.leader("c1")
    at = time.monotonic()
    cluster.kill(leader)
    load.goes_on("without %s, which led and sent" % leader)
    before = came_by_it(cluster, "c1")
    lib.eventually(20, "the next leader sends", lambda: came_by_it(cluster, "c1") > before + 20)
    cluster.kill("c3")
    load.goes_on("without c3")
    cluster.start(leader)
    cluster.start("c3")
    load.goes_on("with both back")
    load.finish()
    load.gap(at, "the kill of " + leader)
    for name in cluster.caches:
        say("     %s: %d batches by multicast, %d repairs over the tree, %d datagrams" % (
            name, came_by_it(cluster, name), cluster.metric(name, "multicast_repairs_total"),
            cluster.metric(name, "multicast_datagrams_in_total")))
    check(cluster.metric("c1", "multicast_refused_total") == 0, "no datagram was refused")
    load.verify_everywhere()


main()
lib.finish()
