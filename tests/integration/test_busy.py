"""Nobody is removed who lives: pgbench at two caches, and a loop on every processor that takes all it gets.

At full length for ten minutes (VALENCE_BUSY_SECONDS says otherwise). Prints the longest silence that an engine saw on a
link, beside the heartbeat limit, at which it would have removed the other.
"""
import os
import subprocess
import sys
import time

import lib
from lib import check, equal
from valence_cluster import PG_BIN, Cluster, say

SECONDS = int(os.environ.get("VALENCE_BUSY_SECONDS") or (600 if os.environ.get("VALENCE_LONG") else 20))
LOOP = "import os, sys\nos.sched_setaffinity(0, [int(sys.argv[1])])\nwhile True: pass"


def pgbench(cluster, engine, *args):
    return subprocess.Popen([PG_BIN + "/pgbench", "-h", "127.0.0.1", "-p", str(cluster.port(engine)), "-U", "valence", *args,
                             "valence"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def away(cluster, name):
    """How long it did not run, at worst, as its log says (ms); 0: never for half of the heartbeat limit."""
    with open(os.path.join(cluster.dir, name + ".log"), encoding="utf-8") as f:
        return max([int(line.split("ms=")[1]) for line in f if " was away " in line], default=0)


def main():
    cluster = Cluster(archives=1, caches=2)
    init = pgbench(cluster, "c1", "-i", "-I", "dtGvp", "-s", "2")
    _, err = init.communicate(timeout=60 * lib.SLOW)
    check(init.returncode == 0, "pgbench -i", err)
    loops = [subprocess.Popen([sys.executable, "-c", LOOP, str(cpu)]) for cpu in sorted(os.sched_getaffinity(0))]
    lib.processes.extend(loops)  # ended with the test
    clients = [pgbench(cluster, name, "-n", "-c", "4", "-T", str(SECONDS), "--max-tries", "100") for name in cluster.caches]
    lib.processes.extend(clients)
    busy = time.monotonic()
    for name, process in zip(cluster.caches, clients):
        out, err = process.communicate(timeout=SECONDS + 120 * lib.SLOW)
        done = [line for line in out.splitlines() if "tps" in line or "actually processed" in line]
        check(process.returncode == 0, "pgbench at %s ends well" % name, out, err[-2000:])
        say("     %s: %s" % (name, "; ".join(done)))
    seconds = time.monotonic() - busy
    for process in loops:
        process.kill()
        process.wait()
    limit = 900 if lib.SLOW == 1 else 1000 * lib.SLOW  # the default, and lib.SLOW_FLAGS
    for name in cluster.names:
        equal(name + ": members removed", cluster.rows(name, "select cause, engine_id from valence.failovers"), [])
        silence = cluster.metric(name, "relay_silence_max_ms")
        check(0 < silence < limit, name + ": silence under the limit", silence)
        say("     %s: nothing came on a link for %d ms at most; it was away for %d ms" % (name, silence, away(cluster, name)))
    say("     %.0f s with %d busy loops" % (seconds, len(loops)))
    cluster.level()
    cluster.check_atoms("afterwards")


main()
lib.finish()
