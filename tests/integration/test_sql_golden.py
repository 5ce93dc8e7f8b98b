"""SQL answers as PostgreSQL 15 does: psql's output of sql/*.sql is, to the letter, what PostgreSQL printed for it.

sql/NAME.out is PostgreSQL's own output, made by `test_sql_golden.py --generate PORT` beside a server of version 15 (a
database with encoding UTF8 and locale C.UTF-8; everything in its schema public is dropped). setup.sql makes the tables that the
read_*.sql files ask; these run at both caches. The other files make and drop what they use, and run at each cache in turn.
With names of files as arguments only these run. --at PORT runs against a server that is there already.
Left out of the comparison: the LOCATION line of errors (it names PostgreSQL's source files), and the CONTEXT line of COPY where it
quotes a whole line of the input (ours gives the line's number only, and rows are checked in batches).
"""
import difflib
import glob
import os
import re
import subprocess
import sys

import lib
from lib import check

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sql")
SET = ("\\pset format unaligned\n\\pset tuples_only on\n\\pset null '~'\n\\set VERBOSITY verbose\n\\set ECHO queries\n"
       "set timezone = 'UTC';\n")
DIFF_LINES = 60


def run(port, name):
    with open(os.path.join(HERE, name + ".sql"), encoding="utf-8") as f:
        text = f.read()
    done = subprocess.run(["psql", "-X", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "valence", "-d", "valence"],
                          input=(SET + text).encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=120 * lib.SLOW, check=False,
                          env=dict(os.environ, PGCLIENTENCODING="UTF8", PGOPTIONS="", PGTZ="UTC"))
    out = done.stdout.decode("utf-8", "replace")
    out = re.sub(r"^LOCATION: .*\n", "", out, flags=re.M)
    return re.sub(r'^CONTEXT:  COPY \w+, line \d+(: "([^"]|"(?!\n))*")?\n', "", out, flags=re.M)


def golden(name):
    return os.path.join(HERE, name + ".out")


def compare(port, name):
    with open(golden(name), encoding="utf-8", newline="") as f:
        want = f.read()
    got = run(port, name)
    with open(os.path.join(lib.TEST_DIR, "%s.%d.out" % (name, port)), "w", encoding="utf-8") as f:
        f.write(got)
    if not check(got == want, "%s.sql at port %d prints what PostgreSQL prints" % (name, port)):
        diff = difflib.unified_diff(want.splitlines(), got.splitlines(), "PostgreSQL", "Valence", lineterm="", n=3)
        print("\n".join(list(diff)[:DIFF_LINES]))


def generate(port, names):
    subprocess.run(["psql", "-X", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "valence", "-d", "valence", "-c",
                    "drop schema public cascade", "-c", "create schema public"], check=True)
    for name in names:
        with open(golden(name), "w", encoding="utf-8", newline="") as f:
            f.write(run(port, name))


def main():
    args = sys.argv[1:]
    mode = args[0] if args and args[0].startswith("--") else None
    port = int(args[1]) if mode else 0
    wanted = args[2:] if mode else args
    all_names = sorted(os.path.basename(f)[:-4] for f in glob.glob(os.path.join(HERE, "*.sql")))
    names = ["setup"] + [n for n in all_names if n != "setup" and (not wanted or n in wanted)]
    if mode == "--generate":
        generate(port, names)
        return
    if mode == "--at":
        for name in names[1:] if wanted else names:
            compare(port, name)
        return
    cluster = lib.Cluster(archives=1, caches=2)
    compare(cluster.base + 1, "setup")
    catch_up(cluster.base + 2, cluster.base + 1)
    for name in names[1:]:
        for here, there in ((cluster.base + 1, cluster.base + 2), (cluster.base + 2, cluster.base + 1)):
            compare(here, name)
            if not name.startswith("read_"):
                catch_up(there, here)


def catch_up(port, other):
    """Until the engine has applied what the other one has."""
    index = lib.psql(other, "select valence.applied_index()")[1]
    lib.psql(port, "select valence.wait_for(%s, %d)" % (index, lib.WAIT_FOR_MS))


main()
lib.finish()
