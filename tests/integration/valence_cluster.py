"""valence_cluster.py - clusters of this build for tests with psycopg2: engines by name, rows, metrics, faults.

A thin layer over lib.py, which gives the program, the directory, the ports, check() and the clean-up.
"""
import os
import subprocess
import time

import psycopg2
import psycopg2.extensions

import lib
from lib import check, equal

PG_BIN = "/usr/lib/postgresql/15/bin"
IDLE = psycopg2.extensions.TRANSACTION_STATUS_IDLE


def say(text):
    print(text, flush=True)


class Cluster(lib.Cluster):
    """Engines have names (a1, c1, …); port() and sql() take them. What is here fails loudly: an error is the test's end."""

    def __init__(self, name="cluster", offset=0, archives=1, caches=2, **flags):
        super().__init__(name, offset, archives=archives, caches=caches, **flags)
        self.archives = ["a%d" % (k + 1) for k in range(archives)]
        self.caches = ["c%d" % (k + 1) for k in range(caches)]
        self.names = self.archives + self.caches

    def port(self, name):
        return self.base + self.names.index(name)

    def connect(self, name, autocommit=True, timeout=10):
        c = psycopg2.connect(host="127.0.0.1", port=self.port(name), user="valence", dbname="valence",
                             connect_timeout=timeout * lib.SLOW)
        c.autocommit = autocommit
        return c

    def rows(self, name, text, args=None):
        c = self.connect(name)
        try:
            with c.cursor() as cursor:
                cursor.execute(text, args)
                return cursor.fetchall() if cursor.description else []
        finally:
            c.close()

    def one(self, name, text, args=None):
        return self.rows(name, text, args)[0][0]

    def id_of(self, name, at=None):
        """The engine id that this name has now; None: not a member. The newest, if the old one is not removed yet."""
        ids = [r[0] for r in self.rows(at or name, "select engine_id from valence.engines where name = %s", (name,))]
        return max(ids) if ids else None

    def metric(self, name, metric):
        return int(self.one(name, "select value from valence.metrics where name = %s", (metric,)))

    def must(self, *args):
        rc, out, err = self.do(*args)
        check(rc == 0, "valence cluster " + " ".join(args), rc, out, err)
        return rc == 0

    def kill(self, *names):
        self.together("kill", names)

    def start(self, *names):
        self.together("start", names)

    def together(self, what, names):
        """The same to several engines at once, as a loss of power and its end: none waits for another to be done."""
        more = lib.START_LIMIT if what == "start" else []
        processes = [subprocess.Popen([lib.VALENCE, "cluster", what, name, "--dir", self.dir, *more], stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True) for name in names]
        for name, process in zip(names, processes):
            out, _ = process.communicate(timeout=90 * lib.SLOW)
            check(process.returncode == 0, "valence cluster %s %s" % (what, name), out)

    def answers(self, name):
        try:
            return self.rows(name, "select 1") == [(1,)]
        except psycopg2.Error:
            return False

    def pid(self, name):
        with open(os.path.join(self.dir, name + ".pid"), encoding="ascii") as f:
            return int(f.read().split()[0])

    def leader(self, at):
        names = [r[0] for r in self.rows(at, "select name from valence.engines where state = 'leader'")]
        return names[0] if names else None

    def level(self, names=None):
        """Every engine has applied what any of them has."""
        names = names or self.names
        index = max(self.one(n, "select valence.applied_index()") for n in names)
        for n in names:
            self.one(n, "select valence.wait_for(%s, %s)", (index, lib.WAIT_FOR_MS))

    def check_atoms(self, what):
        equal("valence.check_atoms() " + what, self.rows(self.names[-1], "select * from valence.check_atoms()"), [])

    def psql(self, name, *args, **more):
        """psql at an engine, with its own arguments; ends the test if it fails."""
        done = subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port(name)),
                               "-U", "valence", "-d", "valence", *args], capture_output=True, text=True,
                              timeout=120 * lib.SLOW, check=False, **more)
        if done.returncode != 0:
            raise RuntimeError("psql at %s %s: %s" % (name, " ".join(args), done.stderr.strip()))
        return done.stdout


def lost(error):
    """Did this error end the connection? Then nothing is known of a COMMIT that it interrupted."""
    return error.pgcode is None or error.pgcode[:2] == "08" or error.pgcode in ("57P01", "57P02", "57P03", "40003")


def ms_since(start):
    return (time.monotonic() - start) * 1000


def file_of(name):
    return os.path.join(lib.TEST_DIR, name)
