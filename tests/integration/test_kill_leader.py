"""kill -9 of the leader of three archives, twice, under a load of transfers: the other two go on; it comes back as a voter."""
import time

import lib
import transfers
from lib import check
from valence_cluster import Cluster


def main():
    cluster = Cluster(archives=3, caches=2)
    transfers.create(cluster, "c1")
    load = transfers.Load(cluster, ["c1", "c2"], ordered=True)
    load.start()
    kills = []
    for _ in range(2):
        load.goes_on("before the leader is killed")
        leader = cluster.leader("c1")
        if not check(leader in cluster.archives, "an archive leads", leader):
            break
        at = time.monotonic()
        cluster.kill(leader)
        load.goes_on("without %s, which led" % leader)
        kills.append((leader, at))
        new = cluster.leader("c1")
        check(new in cluster.archives and new != leader, "another archive leads", new)
        cluster.start(leader)
        load.goes_on("with %s back" % leader)
        # two of three are a majority again only with the one that came back
        lib.eventually(30, leader + " follows", lambda: cluster.one(
            leader, "select valence.applied_index()") > cluster.one("c1", "select valence.applied_index()") - 1000)
    load.finish()
    for leader, at in kills:
        load.gap(at, "the kill of " + leader, limit=1)
    load.verify_everywhere()


main()
lib.finish()
