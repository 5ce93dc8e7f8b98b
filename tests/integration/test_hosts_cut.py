"""Cut wires between hosts, of which TCP tells nobody, under a load of transfers.

Who is cut off, in both ways or in one, is removed by the heartbeat limit; the others go on. At the minority SQL is refused
after the stale read limit, and what it answers before is what it had: never wrong, never a write acknowledged. With the wire
back it finds itself removed and joins again by itself. The same with the leader and a cache in a minority of their own.
"""
import os
import time

import psycopg2

import hosts
import lib
import transfers
from lib import check, equal
from valence_cluster import say

STALE_MS = 3000 * lib.SLOW
CUT_OFF = "VN001"


def refusal(cluster, name):
    """SQLSTATE and message of a read there; None: it is answered."""
    try:
        cluster.one(name, "select sum(balance)::bigint from account")
        return None
    except psycopg2.Error as e:
        return e.pgcode, str(e).strip()


def read_until_refused(cluster, name, since):
    """Reads at who is cut off: right, if old, until they are refused; says when."""
    wrong, code = [], None
    while not code and time.monotonic() < since + (STALE_MS / 1000 + 10) * lib.SLOW:
        try:
            total = cluster.one(name, "select sum(balance)::bigint from account")
            if total != transfers.ACCOUNTS * transfers.INITIAL:
                wrong.append(total)
            time.sleep(0.05)
        except psycopg2.Error as e:
            code, at = e.pgcode, time.monotonic()
    equal(name + ": sums that are wrong while it is cut off", wrong, [])
    if check(code == CUT_OFF, name + ": reads are refused", code):
        say("     %s refuses SQL %.0f ms after it was cut off" % (name, (at - since) * 1000))
        check(at - since > STALE_MS / 1000 - 1, name + ": but not before the stale read limit", at - since)


def write_refused(cluster, name):
    """At once, and for certain: nothing of it is there later (the load's sums)."""
    at, code = time.monotonic(), None
    try:
        cluster.rows(name, "update account set balance = balance + 1000 where id = 1")
    except psycopg2.Error as e:
        code = e.pgcode
    equal(name + ": SQLSTATE of a write while it is cut off", code, CUT_OFF)
    check(time.monotonic() - at < 1 * lib.SLOW, name + ": that soon", time.monotonic() - at)


def cut(cluster, load, name, what, ways=("out", "in")):
    """One cache: cut off, found out, refusing, repaired, back."""
    others = [n for n in cluster.caches if n != name]
    load.goes_on("before %s is cut off, %s" % (name, what))
    old, at = cluster.id_of(name, at="a1"), time.monotonic()
    before = cluster.frames()
    cluster.cut(name, ways=ways)
    cluster.removed(name, old, "a1", at)
    cause = cluster.rows("a1", "select cause from valence.failovers where engine_id = %s", (old,))
    equal("why it was removed", cause, [("silent",)])
    count = load.count(others)
    lib.eventually(30, "the others go on without " + name, lambda: load.count(others) > count + 50)
    stuck = load.count([name])
    read_until_refused(cluster, name, at)
    equal("transfers acknowledged by %s after its removal" % name, load.count([name]), stuck)
    cluster.hurt(before, "cut")
    cluster.repair()
    mended = time.monotonic()
    cluster.joined(name, old, "a1", mended)
    lib.eventually(30, name + " answers again", lambda: refusal(cluster, name) is None)
    count = load.count([name])
    lib.eventually(30, "transfers are done at %s again" % name, lambda: load.count([name]) > count + 20)
    return at


def cut_minority(cluster, load):
    """The leader and a cache on one side, alone; two archives and the other caches on the other."""
    load.goes_on("before the leader and c3 are cut off from the others")
    leader = cluster.leader("c1")
    rest = [a for a in cluster.archives if a != leader]
    old, old_leader = cluster.id_of("c3", at=rest[0]), cluster.id_of(leader, at=rest[0])
    at = time.monotonic()
    cluster.part([leader, "c3"], rest + ["c1", "c2"])
    cluster.removed("c3", old, rest[0], at)
    cluster.removed(leader, old_leader, rest[0], at)
    count = load.count(["c1", "c2"])
    lib.eventually(30, "the majority goes on", lambda: load.count(["c1", "c2"]) > count + 50)
    check(cluster.leader("c1") in rest, "an archive of the majority leads", cluster.leader("c1"))
    for name in (leader, "c3"):
        read_until_refused(cluster, name, at)
        write_refused(cluster, name)
    equal("transfers acknowledged at c3", load.count(["c3"], since=at + 0.5), 0)
    cluster.repair()
    mended = time.monotonic()
    cluster.joined("c3", old, rest[0], mended)
    cluster.joined(leader, old_leader, rest[0], mended)
    lib.eventually(30, leader + " answers again", lambda: refusal(cluster, leader) is None)
    return at


def cuts(cluster, load):
    return [("c2", cut(cluster, load, "c2", "which originates what all write")),
            ("c3, which is not heard", cut(cluster, load, "c3", "so that nobody hears it", ways=("out",))),
            ("c1, which does not hear", cut(cluster, load, "c1", "so that it hears nobody", ways=("in",))),
            ("the leader with c3", cut_minority(cluster, load))]


def main():
    hosts.need_hosts()
    cluster = hosts.Hosts(archives=3, caches=3, flags=["--stale-read-limit-ms", str(STALE_MS)])
    transfers.create(cluster, "c2")
    load = transfers.Load(cluster, cluster.caches, refusals=(CUT_OFF,))
    load.start()
    times = []
    for _ in range(5 if os.environ.get("VALENCE_LONG") else 1):
        times += cuts(cluster, load)
    load.goes_on("with all of them back")
    load.finish()
    load.gaps([("the cut of " + what, at) for what, at in times])
    load.verify_everywhere()


main()
lib.finish()
