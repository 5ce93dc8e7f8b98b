"""A link cut between hosts on RDMA: the device of c2 loses its wire under a load of transfers, and gets it back.

Verbs never report such a loss: the heartbeat limit decides. c2 originates what all write; the others remove it and go on,
and when its wire is back it finds itself removed and joins again by itself. Run by tests/rdma/guest, whose bridge port p3
is the wire of the third host.
"""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

import lib
import transfers
from lib import equal
from valence_cluster import Cluster, say


def wire(state):
    subprocess.run(["ip", "link", "set", "p3", state], check=True)


def main():
    cluster = Cluster(archives=1, caches=2)
    transfers.create(cluster, "c2")
    load = transfers.Load(cluster, ["c1", "c2"], clients=4, refusals=("VN001",))
    load.start()
    load.goes_on("before the cut", number=20)
    old = cluster.id_of("c2", at="a1")
    at = time.monotonic()
    wire("down")
    try:
        if lib.eventually(10, "c2 is removed", lambda: cluster.id_of("c2", at="a1") != old):
            say("     c2 removed %.0f ms after the cut" % ((time.monotonic() - at) * 1000))
        cause = cluster.rows("a1", "select cause from valence.failovers where engine_id = %s", (old,))
        equal("why it was removed", cause, [("silent",)])
        before = load.count(["c1"])
        lib.eventually(30, "c1 goes on without c2", lambda: load.count(["c1"]) > before + 20)
        say("     %d transfers at c1 without c2" % (load.count(["c1"]) - before))
    finally:
        wire("up")
    at = time.monotonic()
    if lib.eventually(30, "c2 is a member again", lambda: (cluster.id_of("c2", at="a1") or old) > old):
        say("     c2 a member again %.0f ms after the wire's return" % ((time.monotonic() - at) * 1000))
    before = load.count(["c2"])
    lib.eventually(30, "transfers are done at c2 again", lambda: load.count(["c2"]) > before + 10)
    load.finish()
    load.verify_everywhere()


main()
lib.finish()
