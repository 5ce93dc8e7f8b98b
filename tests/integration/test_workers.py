"""Two engines in each process behind one SQL port: sessions on both, data agrees; a process that ends is two members less."""
import os
import signal
import subprocess
import threading
import time

import psycopg2

import lib
from lib import check, equal, eventually, has
from valence_cluster import PG_BIN, Cluster, file_of, say

ALL = ["a1", "a1.1", "c1", "c1.1", "c2", "c2.1"]
SECONDS = 5


def members(cluster, at="a1"):
    return {r[0]: r[1:] for r in cluster.rows(at, "select name, kind, engine_id, address from valence.engines")}


def log_of(cluster, name):
    with open(os.path.join(cluster.dir, name + ".log"), encoding="utf-8") as f:
        return f.read()


def sessions(cluster, name, count):
    """So many sessions at once, by the worker that each is on: the process id says it."""
    out = [[], []]
    for _ in range(count):
        c = cluster.connect(name)
        out[c.info.backend_pid % 2].append(c)
    return out


def close(both):
    for c in both[0] + both[1]:
        c.close()


def value(connection, text):
    with connection.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchone()[0]


def test_members(cluster):
    now = members(cluster)
    equal("members", sorted(now), ALL)
    equal("archives: the first worker of the archive's process only", [n for n in now if now[n][0] == "archive"], ["a1"])
    equal("every worker has an address of its own", len({m[2] for m in now.values()}), len(ALL))
    rc, out, err = cluster.do("status")
    check(rc == 0, "cluster status", rc, out, err)
    for name in ALL:
        has("status has a line of " + name, "\n" + out, "\n%s " % name.ljust(4))
    for name in ("a1", "c1"):
        has("the engines of %s talk within the process" % name, log_of(cluster, name), "link within the process")


def test_spread(cluster):
    both = sessions(cluster, "c1", 4)
    equal("four sessions at once, on each worker", [len(b) for b in both], [2, 2])
    ids = [value(b[0], "select count(*) from pg_stat_activity") if b else 0 for b in both]
    say("     sessions that each worker sees of its own: %s" % ids)
    close(both)
    seen = set()
    for _ in range(6):
        c = cluster.connect("c1")
        seen.add(c.info.backend_pid % 2)
        c.close()
    equal("one session after the other: workers", seen, {0, 1})


def canceled(connection, text):
    """What ends the statement when a cancel request comes half a second after it began, and how long it took."""
    threading.Timer(0.5, connection.cancel).start()
    start = time.monotonic()
    try:
        value(connection, text)
    except psycopg2.Error as e:
        return e.pgcode, time.monotonic() - start
    return None, 0


def test_cancel(cluster):
    both = sessions(cluster, "c1", 4)
    for c in both[0] + both[1]:
        code, took = canceled(c, "select pg_sleep(30)")
        equal("a cancel request finds its session", code, "57014")
        check(took < 10 * lib.SLOW, "and soon", took)
        equal("the session goes on", value(c, "select 1"), 1)
    close(both)


def pgbench(cluster, name, *args):
    done = subprocess.run([PG_BIN + "/pgbench", "-h", "127.0.0.1", "-p", str(cluster.port(name)), "-U", "valence", *args,
                           "valence"], capture_output=True, text=True, timeout=(SECONDS + 60) * lib.SLOW, check=False)
    check(done.returncode == 0, "pgbench " + " ".join(args), done.stdout, done.stderr[-2000:])
    return done.stdout


def commits(both):
    return [int(value(b[0], "select value from valence.metrics where name = 'commits_total'")) for b in both]


def test_pgbench(cluster):
    pgbench(cluster, "c1", "-i", "-q", "-s", "1")
    both = sessions(cluster, "c1", 2)
    before = commits(both)
    out = pgbench(cluster, "c1", "-n", "-c", "4", "-j", "2", "-M", "prepared", "-T", str(SECONDS))
    has("no transaction failed", out, "number of failed transactions: 0")
    after = commits(both)
    close(both)
    say("     transactions by worker: %s" % [b - a for a, b in zip(before, after)])
    check(all(b - a > 50 for a, b in zip(before, after)), "both workers committed", before, after)
    agree(cluster, "after pgbench")


def agree(cluster, when):
    """The sums are the same by every worker of every process, and every copy has the same bytes."""
    index = max(cluster.one(n, "select valence.applied_index()") for n in cluster.names)
    for name in cluster.names:
        both = sessions(cluster, name, 2)
        for c in both[0] + both[1]:
            value(c, "select valence.wait_for(%d, %d)" % (index, lib.WAIT_FOR_MS))
            a, b, h = (value(c, "select coalesce(sum(%s), 0)::bigint from pgbench_%s" % s)
                       for s in (("abalance", "accounts"), ("bbalance", "branches"), ("delta", "history")))
            check(a == b == h, "%s, %s: the sums of balances are those of history" % (name, when), a, b, h)
        close(both)
    cluster.check_atoms(when)


def gone(cluster, ids, cause=None):
    got = cluster.rows("a1", "select cause, engine_id from valence.failovers where engine_id in %s", (ids,))
    return len(got) == 2 and (not cause or all(c == cause for c, _ in got))


def test_kill(cluster):
    """kill -9 of the process is the loss of both engines, while others write."""
    ids = tuple(cluster.id_of(n, "a1") for n in ("c1", "c1.1"))
    with subprocess.Popen([PG_BIN + "/pgbench", "-h", "127.0.0.1", "-p", str(cluster.port("c2")), "-U", "valence", "-n", "-c",
                           "4", "-M", "prepared", "-T", str(SECONDS), "--max-tries", "20", "valence"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as load:
        time.sleep(1)
        cluster.kill("c1")
        eventually(10, "both workers of c1 are removed", lambda: gone(cluster, ids))
        out, err = load.communicate(timeout=(SECONDS + 60) * lib.SLOW)
        check(load.returncode == 0, "the load at c2 goes on", out, err[-2000:])
    equal("who is left", sorted(members(cluster)), [n for n in ALL if not n.startswith("c1")])
    cluster.start("c1")
    new = tuple(cluster.id_of(n, "a1") for n in ("c1", "c1.1"))
    check(all(n and n > max(ids) for n in new), "both come back, with new ids", ids, new)
    agree(cluster, "after the kill")


def test_archive(cluster):
    """The archive's process killed and started again: its first worker goes on from its disk, its second joins as a cache."""
    ids = tuple(cluster.id_of(n, "c1") for n in ("a1", "a1.1"))
    cluster.kill("a1")
    cluster.start("a1")
    eventually(20, "all are members again, the archive's workers with new ids", lambda: sorted(members(cluster)) == ALL and
               all(cluster.id_of(n, "a1") > max(ids) for n in ("a1", "a1.1")))
    agree(cluster, "after the archive's restart")


def test_leave(cluster):
    """SIGTERM: both leave by the log, nobody has to find out, and the process ends with 0."""
    ids = tuple(cluster.id_of(n, "a1") for n in ("c2", "c2.1"))
    pid = cluster.pid("c2")
    idle = sessions(cluster, "c2", 2)
    os.kill(pid, signal.SIGTERM)
    eventually(10, "both workers of c2 have left", lambda: gone(cluster, ids, "left"))
    eventually(10, "the process has ended", lambda: not os.path.exists("/proc/%d/cmdline" % pid)
               or not open("/proc/%d/cmdline" % pid, "rb").read())
    equal("lines of leaving", log_of(cluster, "c2").count("left the cluster"), 2)
    check("stopped" not in log_of(cluster, "c2"), "and no other end")
    close(idle)
    agree_left = [n for n in ALL if not n.startswith("c2")]
    equal("who is left", sorted(members(cluster)), agree_left)


def test_alone():
    """An engine started directly: fixed ports for its workers, one exit status, and levels of logging for all of them."""
    conf = file_of("engine.conf")
    with open(conf, "w", encoding="ascii") as f:
        f.write("log = info\n")
    port = lib.PORT_BASE + 50
    engine = lib.Engine("archive-engine", "--name", "solo", "--sql", "127.0.0.1:%d" % port, "--listen", "127.0.0.1:%d" % (port + 1),
                        "--worker-ports", port + 2, "--workers", 3, "--data", file_of("solo"), "--config", conf, *lib.SLOW_FLAGS)
    rows = []

    def ready():
        rc, out, _ = lib.psql(port, "select name, address from valence.engines order by 1")
        rows[:] = out.split("\n")
        return rc == 0 and len(rows) == 3

    eventually(30, "three engines in one process", ready)
    equal("where they listen", rows, ["solo|127.0.0.1:%d" % (port + 1), "solo.1|127.0.0.1:%d" % (port + 2),
                                      "solo.2|127.0.0.1:%d" % (port + 3)])
    with open(conf, "w", encoding="ascii") as f:
        f.write("log = debug\n")
    engine.process.send_signal(signal.SIGHUP)
    eventually(10, "SIGHUP is taken", lambda: "reloaded" in engine.text())
    equal("exit status after SIGTERM", engine.stop(), 0)
    for name in ("solo", "solo.1", "solo.2"):
        check(any(" debug " in line and " %s " % name in line for line in engine.text().split("\n")),
              "what SIGHUP changed holds for " + name)
    equal("workers that have left", engine.text().count("left the cluster"), 3)
    again = lib.Engine("cache-engine", "--name", "x", "--sql", "127.0.0.1:%d" % port, "--listen", "127.0.0.1:%d" % (port + 1),
                       "--join", "127.0.0.1:%d" % (port + 9), "--worker-ports", port + 1, "--workers", 2)
    equal("exit status when a worker's port is taken", again.wait(), 1)
    has("and why", again.text(), "cannot start the engine x.1")


def main():
    cluster = Cluster(archives=1, caches=2, workers=2)
    for test in (test_members, test_spread, test_cancel, test_pgbench, test_kill, test_archive, test_leave):
        test(cluster)
    test_alone()
    for name in cluster.names:
        check("ThreadSanitizer" not in log_of(cluster, name), name + ": no data race was seen",
              log_of(cluster, name)[-3000:])


if os.environ.get("VALENCE_FABRIC", "ofi:tcp").startswith("ucx"):
    print("workers of one process need a fabric that can be open twice in it: not UCX")
    raise SystemExit(77)
main()
lib.finish()
