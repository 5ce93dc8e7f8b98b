"""Two busy caches below one archive talk over a direct link, which is gone when one of them is, and comes again."""
import time

import lib
import transfers
from lib import check, equal
from valence_cluster import Cluster, say


def direct(cluster, name):
    return cluster.metric(name, "direct_links")


def main():
    cluster = Cluster(caches=3)
    transfers.create(cluster, "c1")
    for name in cluster.names:
        equal("no direct link while nobody is busy, at " + name, direct(cluster, name), 0)
    load = transfers.Load(cluster, ["c1", "c2", "c3"])
    load.start()
    lib.eventually(20, "a busy cache opens one to another", lambda: direct(cluster, "c1") + direct(cluster, "c2")
                   + direct(cluster, "c3") >= 2)
    lib.eventually(20, "messages go over it", lambda: max(cluster.metric(n, "direct_messages_total") for n in cluster.caches) > 100)
    equal("the archive is next to everybody in the tree", direct(cluster, "a1"), 0)
    say("kill -9 c2")
    at = time.monotonic()
    cluster.kill("c2")
    load.goes_on("without c2")
    lib.eventually(10, "its direct links are gone", lambda: direct(cluster, "c1") <= 1 and direct(cluster, "c3") <= 1)
    cluster.start("c2")
    load.goes_on("with c2 back", number=200)
    load.finish()
    load.gap(at, "the kill of c2")
    load.verify_everywhere()
    lib.eventually(30, "an idle direct link is closed", lambda: all(direct(cluster, n) == 0 for n in cluster.names))
    check(cluster.rows("c1", "select count(*) from account") == [(transfers.ACCOUNTS,)], "and nothing is missed")


main()
lib.finish()
