"""kill -9 of caches under a load of transfers: one that coordinates only, then the one that originates what all write."""
import time

import lib
import transfers
from lib import equal
from valence_cluster import Cluster, say


def killed(cluster, load, name, what):
    say("kill -9 %s, %s" % (name, what))
    load.goes_on("before " + name + " is killed")
    at = time.monotonic()
    cluster.kill(name)
    load.goes_on("without " + name)
    cluster.start(name)
    load.goes_on("with " + name + " back", number=200)
    before = load.count([name])
    lib.eventually(30, "transfers are done at %s again" % name, lambda: load.count([name]) > before + 20)
    return at


def main():
    cluster = Cluster(caches=3)
    transfers.create(cluster, "c2")
    originator = cluster.rows("a1", "select distinct originator from valence.atoms where relation = 'account'")
    equal("c2 originates what it loaded", originator, [(cluster.id_of("c2"),)])
    load = transfers.Load(cluster, ["c1", "c2", "c3"])
    load.start()
    first = killed(cluster, load, "c1", "which coordinates transfers on rows that c2 originates")
    second = killed(cluster, load, "c2", "which originates what the others write")
    load.finish()
    load.gap(first, "the kill of c1")
    load.gap(second, "the kill of c2")
    load.verify_everywhere()


main()
lib.finish()
