"""An engine that stops reading for a while, and is not removed: what it costs its parent is bounded, and it catches up from the
archive's journal, beyond every window on the log, with its copies and its id."""
import time

import lib
from lib import check, equal
from valence_cluster import Cluster, say

ROWS = 20
WIDE = 96000  # bytes of a row's text
UPDATES = 400
LIMIT = ["--heartbeat-limit-ms", str(20000 * lib.SLOW)]
BOUND = 8 << 20  # RELAY_LOG_BACKLOG_MAX; a batch, the network's buffers and other traffic come on top
SLACK = 6 << 20


def own_memory(cluster, name):
    """What is neither images nor old versions: links, window, all else."""
    return sum(sign * cluster.metric(name, m) for sign, m in ((1, "memory_bytes"), (-1, "image_bytes"), (-1, "undo_bytes")))


def content(cluster, name):
    return cluster.rows(name, "select id, length(pad), md5(pad) from t order by id")


def main():
    cluster = Cluster(archives=1, caches=2, engine_flags=["--window-bytes", "1M", *LIMIT])
    cluster.rows("c1", "create table t (id int primary key, pad text)")
    cluster.rows("c1", "insert into t select i, repeat('a', %d) from generate_series(1, %d) i" % (WIDE, ROWS))
    cluster.level()
    equal("c2 has a copy", len(content(cluster, "c2")), ROWS)
    before = {n: cluster.id_of(n, at="a1") for n in cluster.names}
    usual = own_memory(cluster, "a1")
    most = 0
    cluster.must("pause", "c2")
    began = time.monotonic()
    connection = cluster.connect("c1")
    with connection.cursor() as cursor:
        for k in range(UPDATES):
            cursor.execute("update t set pad = repeat(%s, %s) where id = %s", (chr(ord("b") + k % 25), WIDE, 1 + k % ROWS))
            if k % 40 == 39:
                most = max(most, own_memory(cluster, "a1") - usual)
    connection.close()
    say("     %d MB of log in %.1f s while c2 was stopped: a1 took %.1f MB for it and all else" % (
        UPDATES * WIDE >> 20, time.monotonic() - began, most / (1 << 20)))
    check(most <= BOUND + SLACK, "a child that does not read costs its parent a bounded amount of memory", most)
    cluster.must("resume", "c2")
    began = time.monotonic()
    cluster.level()
    took = time.monotonic() - began
    equal("ids: nobody was removed, nobody joined again", {n: cluster.id_of(n, at="a1") for n in cluster.names}, before)
    read = cluster.metric("a1", "catch_up_bytes_total")
    say("     c2 caught up in %.2f s; %d MB of that came from the journal" % (took, read >> 20))
    check(read > UPDATES * WIDE / 4, "most of the log came from the journal", read)
    equal("what c2 has", content(cluster, "c2"), content(cluster, "c1"))
    cluster.check_atoms("afterwards")


main()
lib.finish()
