"""pgbench, every script and protocol: no transaction fails, and the balances agree with the history, at every engine."""
import re
import subprocess

import lib
from lib import check, equal
from valence_cluster import PG_BIN, Cluster, say

SCALE = 2
SECONDS = 3
CLIENTS = 4


def pgbench(cluster, engine, *args):
    return subprocess.Popen([PG_BIN + "/pgbench", "-h", "127.0.0.1", "-p", str(cluster.port(engine)), "-U", "valence", *args,
                             "valence"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(process, what):
    """(transactions, failed, tps) of a run that must end well."""
    try:
        out, err = process.communicate(timeout=(SECONDS + 60) * lib.SLOW)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        check(False, what + ": pgbench ends", out, err[-2000:])
        return 0, 0, 0
    check(process.returncode == 0, what + ": exit status 0", process.returncode, out, err[-2000:])
    done = re.search(r"number of transactions actually processed: (\d+)", out)
    failed = re.search(r"number of failed transactions: (\d+)", out)
    tps = re.search(r"tps = ([\d.]+)", out)
    if not check(done and failed and tps, what + ": says what it did", out, err[-2000:]):
        return 0, 0, 0
    check(int(done.group(1)) > 0, what + ": transactions were processed")
    equal(what + ": failed transactions", int(failed.group(1)), 0)
    return int(done.group(1)), int(failed.group(1)), float(tps.group(1))


def agree(cluster, when, transfers, simple):
    """The sums of balances are the sums of the history, everywhere; -N leaves branches and tellers alone."""
    cluster.level()
    for name in cluster.names:
        row = cluster.rows(name, "select (select sum(abalance) from pgbench_accounts)::bigint,"
                           " (select sum(bbalance) from pgbench_branches)::bigint,"
                           " (select sum(tbalance) from pgbench_tellers)::bigint,"
                           " (select coalesce(sum(delta), 0) from pgbench_history)::bigint,"
                           " (select count(*) from pgbench_history)")[0]
        accounts, branches, tellers, history, count = row
        equal("%s, %s: rows of history" % (name, when), count, transfers)
        equal("%s, %s: sum of accounts is that of history" % (name, when), accounts, history)
        equal("%s, %s: sum of branches is that of tellers" % (name, when), branches, tellers)
        if not simple:
            equal("%s, %s: sum of branches is that of history" % (name, when), branches, history)
        # by key: what an index that lost an entry would not show in a scan
        equal("%s, %s: accounts by branch" % (name, when), cluster.rows(
            name, "select b.bid, sum(a.abalance)::bigint from pgbench_branches b join pgbench_accounts a using (bid)"
            " group by b.bid order by 1"), cluster.rows(
                name, "select bid, sum(delta)::bigint from (select a.bid, h.delta from pgbench_history h"
                " join pgbench_accounts a using (aid)) x group by bid order by 1"))


def main():
    cluster = Cluster(caches=2)
    init = pgbench(cluster, "c1", "-i", "-s", str(SCALE), "-q")
    out, err = init.communicate(timeout=120 * lib.SLOW)
    if not check(init.returncode == 0, "pgbench -i -s %d" % SCALE, out, err):
        return
    for table, rows in (("accounts", 100000 * SCALE), ("tellers", 10 * SCALE), ("branches", SCALE)):
        equal("rows of pgbench_" + table, cluster.one("c2", "select count(*) from pgbench_" + table), rows)

    common = ["-n", "-c", str(CLIENTS), "-j", "2", "-T", str(SECONDS)]
    transfers = 0
    for protocol in ("simple", "extended", "prepared"):
        what = "default script, " + protocol
        n, _, tps = result(pgbench(cluster, "c1", *common, "-M", protocol), what)
        say("     %s: %.0f a second" % (what, tps))
        transfers += n
    agree(cluster, "default script at one engine", transfers, False)

    both = [(e, pgbench(cluster, e, *common, "-M", "prepared")) for e in cluster.caches]
    for engine, process in both:
        n, _, tps = result(process, "default script at both, " + engine)
        say("     default script at both engines, %s: %.0f a second" % (engine, tps))
        transfers += n
    agree(cluster, "default script at both engines", transfers, False)

    both = [(e, pgbench(cluster, e, *common, "-S", "-M", "prepared")) for e in cluster.caches]
    for engine, process in both:
        say("     -S at both engines, %s: %.0f a second" % (engine, result(process, "-S at both, " + engine)[2]))
    for protocol in ("simple", "extended"):
        what = "-S, " + protocol
        say("     %s: %.0f a second" % (what, result(pgbench(cluster, "c2", *common, "-S", "-M", protocol), what)[2]))

    for protocol in ("simple", "extended", "prepared"):
        what = "-N, " + protocol
        n, _, tps = result(pgbench(cluster, "c2", *common, "-N", "-M", protocol), what)
        say("     %s: %.0f a second" % (what, tps))
        transfers += n
    agree(cluster, "-N", transfers, True)
    cluster.check_atoms("afterwards")


main()
lib.finish()
