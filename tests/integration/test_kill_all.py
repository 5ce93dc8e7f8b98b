"""kill -9 of every engine at once under a load of transfers, twice: all that was acknowledged is there after the restart."""
import time

import lib
import transfers
from valence_cluster import Cluster, say


def main():
    cluster = Cluster(caches=2)
    transfers.create(cluster, "c1")
    load = transfers.Load(cluster, ["c1", "c2"])
    load.start()
    for turn in range(2):
        load.goes_on("before all are killed")
        cluster.kill(*(cluster.names if turn == 0 else cluster.names[::-1]))
        started = time.monotonic()
        cluster.start(*cluster.names)
        load.goes_on("after the restart of all", number=300)
        say("     restart %d: %.0f ms until all are members and 300 transfers are done" % (
            turn + 1, (time.monotonic() - started) * 1000))
    load.finish()
    load.verify_everywhere()


main()
lib.finish()
