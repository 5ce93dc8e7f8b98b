"""Archives that cannot read the log from where they are: one that was away too long, and one whose disk was lost for good.

The journals are small, so that the log is gone in seconds. Each takes the whole state from another archive while transfers go on,
and votes; the lost one's vote is ended by an operator. Afterwards every copy is equal, on every archive.
"""
import os
import shutil
import time

import psycopg2

import lib
import transfers
from lib import check, equal
from valence_cluster import Cluster, say

FLAGS = ["--checkpoint-bytes", "1M", "--journal-bytes", "4M", "--window-bytes", "1M"]


def log_of(cluster, name):
    with open(os.path.join(cluster.dir, name + ".log"), encoding="utf-8", errors="replace") as f:
        return f.read()


def write(cluster, megabytes):
    """Rows of a kilobyte, some of them over others that are there: the journal of every archive moves on."""
    c = cluster.connect("c1")
    with c.cursor() as cursor:
        for k in range(megabytes):
            cursor.execute("insert into wide select i, repeat(chr(65 + %s), 1000) from generate_series(%s, %s) i"
                           " on conflict (id) do update set v = excluded.v", (k % 26, k % 16 * 1000, k % 16 * 1000 + 999))
    c.close()


def taken(cluster, name, since, what):
    """@since: length of its log then."""
    def found():
        return " state taken index=" in log_of(cluster, name)[since:]
    lib.eventually(60, "%s takes the state, %s" % (name, what), found)
    line = [x for x in log_of(cluster, name)[since:].splitlines() if " state taken index=" in x]
    if line:
        say("     %s: %s" % (name, line[-1].split(name + " ", 1)[1]))


def follows(cluster, name):
    cluster.level()
    check(cluster.id_of(name, at="c1") is not None, name + " is a member")


def refused(cluster, name, voter):
    try:
        cluster.rows(name, "select valence.remove_voter(%s)", (voter,))
        return None
    except psycopg2.Error as e:
        return e.pgcode


def voters(cluster):
    return cluster.rows(cluster.leader("c1"), "select voter_id, votes, name from valence.voters order by voter_id")


def away(cluster, load):
    name = next(a for a in ("a3", "a2") if a != cluster.leader("c1"))
    before = voters(cluster)
    length = len(log_of(cluster, name))
    cluster.kill(name)
    write(cluster, 24)
    load.goes_on("while %s is away" % name)
    cluster.start(name)
    taken(cluster, name, length, "as it was away too long")
    follows(cluster, name)
    equal("the voters afterwards", voters(cluster), before)
    # and its vote is needed, and given
    load.goes_on("with %s back" % name)


def lost(cluster, load):
    leader = cluster.leader("c1")
    name = next(a for a in ("a2", "a3") if a != leader)
    old = cluster.one(leader, "select voter_id from valence.voters where name = %s", (name,))
    equal("ending the vote of who is there", refused(cluster, leader, old), "55000")
    cluster.kill(name)
    shutil.rmtree(os.path.join(cluster.dir, name))
    write(cluster, 24)
    length = len(log_of(cluster, name))
    cluster.start(name)
    taken(cluster, name, length, "on an empty disk")
    follows(cluster, name)
    lib.eventually(30, "the new archive votes", lambda: [v[1] for v in voters(cluster)] == [True] * 4)
    gone = [v[0] for v in voters(cluster) if v[2] is None]
    equal("voters without an engine", gone, [old])
    equal("ending a vote elsewhere than at the leader", refused(cluster, "c1", old), "55000")
    equal("ending the vote of nobody", refused(cluster, cluster.leader("c1"), 4711), "22023")
    cluster.rows(cluster.leader("c1"), "select valence.remove_voter(%s)", (old,))
    equal("voters that vote", [v[1] for v in voters(cluster)], [True] * 3)
    load.goes_on("with %s new" % name)
    # three vote: one of them may fail
    other = next(a for a in cluster.archives if a not in (name, cluster.leader("c1")))
    cluster.kill(other)
    load.goes_on("with %s, and without %s" % (name, other))
    cluster.start(other)
    follows(cluster, other)


def main():
    cluster = Cluster(archives=3, caches=1, engine_flags=FLAGS)
    transfers.create(cluster, "c1")
    cluster.rows("c1", "create table wide (id int primary key, v text)")
    load = transfers.Load(cluster, ["c1"], clients=3)
    load.start()
    load.goes_on("before")
    away(cluster, load)
    lost(cluster, load)
    load.finish()
    load.verify_everywhere()
    at = time.monotonic()
    cluster.must("stop")
    cluster.must("start")
    load.verify("c1")
    say("     all stopped and started in %.1f s" % (time.monotonic() - at))


main()
lib.finish()
