"""
Bad wires between hosts, under a load of transfers: frames are lost, doubled and out of order; no transfer is. The log goes by
multicast, too, whose datagrams nobody sends again: what they lose comes over the tree.
"""
import os

import hosts
import lib
import transfers
from lib import check, equal
from valence_cluster import say

BAD = {"loss": 5, "duplicate": 2, "reorder": 10}


def main():
    hosts.need_hosts()
    cluster = hosts.Hosts(archives=3, caches=3, flags=["--multicast", "239.10.83.1:7600"])
    transfers.create(cluster, "c2")
    load = transfers.Load(cluster, cluster.caches)
    load.start()
    load.goes_on("over good wires")
    before = cluster.frames()
    cluster.wire(*cluster.names, ways=("out",), **BAD)
    load.goes_on("with %(loss)d %% loss, %(reorder)d %% reordering, %(duplicate)d %% duplicates" % BAD, seconds=120,
                 number=10000 if os.environ.get("VALENCE_LONG") else 1000)
    cluster.hurt(before, "lost", "duplicated", "reordered")
    for name in cluster.caches:
        came, asked = (cluster.metric(name, "multicast_%s_total" % m) for m in ("batches", "repairs"))
        say("     %s: %d batches by multicast, %d times it asked the tree for others" % (name, came, asked))
        check(came > 0 and asked > 0, name + " has the log by multicast, and what that lost over the tree", came, asked)
    cluster.repair()
    load.goes_on("over good wires again")
    load.finish()
    say("     removed meanwhile: %s" % cluster.failovers("c1"))
    load.verify_everywhere()
    equal("all are members", sorted(r[0] for r in cluster.rows("a1", "select name from valence.engines")), cluster.names)


main()
lib.finish()
