"""Engines of three archives and three caches are killed, paused and restarted at random under a load of transfers.

Nothing acknowledged is lost, nothing is there twice, and once all engines run again the load goes on at each of them.
SEED=n repeats the choice of faults, not the timing; VALENCE_LONG: five minutes instead of fifteen seconds.
"""
import os
import random
import time

import lib
import transfers
from valence_cluster import Cluster, say

SECONDS = 300 if os.environ.get("VALENCE_LONG") else 15
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 10**6)


class Faults:
    """What is down and what is paused; at most two of each kind of fault at a time."""

    def __init__(self, cluster, choose):
        self.cluster, self.random = cluster, choose
        self.down, self.paused = set(), set()

    def one(self):
        up = [n for n in self.cluster.names if n not in self.down | self.paused]
        what = self.random.choice(["kill", "kill", "start", "pause", "resume"])
        if what == "kill" and len(self.down) < 2:
            self.do("kill", self.random.choice(up), self.down.add)
        elif what == "start" and self.down:
            name = self.random.choice(sorted(self.down))
            # an engine that cannot join while others are paused is not its fault: start is tried again when all run
            rc, _, _ = lib.valence("cluster", "start", name, "--dir", self.cluster.dir) if not self.paused else (1, 0, 0)
            if rc == 0:
                say("start " + name)
                self.down.discard(name)
        elif what == "pause" and not self.paused:
            self.do("pause", self.random.choice(up), self.paused.add)
        elif what == "resume" and self.paused:
            self.do("resume", sorted(self.paused)[0], self.paused.discard)

    def do(self, what, name, note):
        say(what + " " + name)
        if self.cluster.must(what, name):
            note(name)

    def end(self):
        for name in sorted(self.paused):
            self.do("resume", name, self.paused.discard)
        if self.down:
            self.cluster.start(*sorted(self.down))


def main():
    say("     SEED=%d" % SEED)
    cluster = Cluster(archives=3, caches=3)
    transfers.create(cluster, "c1")
    load = transfers.Load(cluster, cluster.caches, refusals=("VN001",))  # two archives of three may be away at a time
    load.start()
    load.goes_on("before any fault")
    choose = random.Random(SEED)
    faults = Faults(cluster, choose)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        faults.one()
        time.sleep(choose.uniform(0.05, 1))
    faults.end()
    load.goes_on("when all run again", number=300)
    load.finish()
    for name in cluster.names:
        lib.eventually(30, name + " answers", lambda n=name: cluster.answers(n))
    load.verify_everywhere()


main()
lib.finish()
