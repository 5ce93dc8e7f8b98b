"""kill -9 of the only archive under a load of transfers: nothing is acknowledged without it, and nothing lost when it is back."""
import time

import lib
import transfers
from lib import check, equal
from valence_cluster import Cluster


def main():
    cluster = Cluster(caches=2)
    transfers.create(cluster, "c1")
    load = transfers.Load(cluster, ["c1", "c2"], refusals=("VN001",))  # no majority until it is back
    load.start()
    for turn in range(2):
        load.goes_on("before the archive is killed")
        at = time.monotonic()
        cluster.kill("a1")
        time.sleep(0.5)
        # commit level archive: what is acknowledged is on an archive's disk, so now nothing can be
        count = load.count()
        time.sleep(1)
        equal("transfers acknowledged while there is no archive", load.count() - count, 0)
        started = time.monotonic()
        cluster.start("a1")
        load.goes_on("with the archive back", number=300)
        if turn == 0:
            check(all(c.connection for c in load.clients), "sessions at the caches live on")
    load.finish()
    load.gap(at, "the kill of a1")
    load.gap(started, "the start of a1")
    load.verify_everywhere()


main()
lib.finish()
