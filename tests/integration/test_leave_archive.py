"""SIGTERM to one of two archives: commits go on without it, and it votes again when it is back. All stopped and started."""
import os
import signal
import threading
import time

import lib
import transfers
from lib import check
from valence_cluster import Cluster


def terminate(cluster, name):
    """The exit status is the loop's: it left the cluster, so its pid is gone soon."""
    pid = cluster.pid(name)
    os.kill(pid, signal.SIGTERM)
    for _ in range(150):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def main():
    cluster = Cluster(archives=2, caches=1)
    stops = []
    transfers.create(cluster, "c1")
    load = transfers.Load(cluster, ["c1"])
    load.start()
    for turn in range(3):
        load.goes_on("with both archives")
        goes = cluster.leader("c1") if turn != 1 else next(a for a in cluster.archives if a != cluster.leader("c1"))
        at = time.monotonic()
        check(terminate(cluster, goes), "%s stops" % goes)
        load.goes_on("with one archive", number=200)
        cluster.start(goes)
        load.goes_on("with both again", number=200)
        stops.append((at, goes))
    load.finish()
    for at, goes in stops:
        load.gap(at, "the stop of %s" % goes)
    cluster.level()
    load.verify("c1")
    cluster.must("stop")
    cluster.must("start")
    load.verify("c1")
    # both are needed again: what one alone could not do shows that the other one votes
    cluster.level()
    cluster.kill("a2")
    update = threading.Thread(target=cluster.rows, daemon=True,
                              args=("c1", "update account set balance = balance where id = 1"))
    update.start()
    update.join(2)
    check(update.is_alive(), "no commit with one of two votes")
    cluster.start("a2")
    update.join(30)
    check(not update.is_alive(), "the commit is done when the other one is back")
    cluster.check_atoms("afterwards")


main()
lib.finish()
