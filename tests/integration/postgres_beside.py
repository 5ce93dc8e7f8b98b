"""postgres_beside.py - a private PostgreSQL 15 beside the engines, for tests that compare with it answer by answer.

Its cluster is under TEST_DIR, trusts everybody on loopback, and has what ours has: UTF8, collation C, time zone UTC, a
superuser and a database called valence. It ends with the test.
"""
import atexit
import os
import pwd
import shutil
import signal
import subprocess
import sys

import lib

PG_BIN = "/usr/lib/postgresql/15/bin"


def as_server_user(*args, **more):
    """PostgreSQL refuses to run as root; the package made a user for it."""
    if os.geteuid() == 0:
        args = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *args)
    return subprocess.run(args, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd="/", check=True,
                          timeout=120 * lib.SLOW, **more)


def start(port):
    """Starts it on this port, or ends the test as skipped where it is not installed."""
    if not os.path.exists(PG_BIN + "/initdb"):
        print("PostgreSQL 15 is not installed (package postgresql-15)")
        sys.exit(77)
    home = os.path.join(lib.TEST_DIR, "postgres")
    os.mkdir(home)
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(home, owner.pw_uid, owner.pw_gid)
        for up in (lib.TEST_DIR, os.path.dirname(lib.TEST_DIR)):  # a way in, without a look around
            if up.startswith("/tmp/"):
                os.chmod(up, os.stat(up).st_mode | 0o011)
    data = os.path.join(home, "data")
    as_server_user(PG_BIN + "/initdb", "-D", data, "-A", "trust", "-U", "valence", "-E", "UTF8", "--locale=C.UTF-8",
                   "--lc-collate=C", "-N")
    settings = ["port=%d" % port, "listen_addresses=127.0.0.1", "unix_socket_directories=", "timezone=UTC", "fsync=off",
                "max_connections=20", "shared_buffers=32MB", "jit=off"]
    atexit.register(stop, data, home)
    as_server_user(PG_BIN + "/pg_ctl", "-D", data, "-w", "-l", home + "/log", "-o",
                   " ".join("-c " + s for s in settings), "start")
    as_server_user(PG_BIN + "/createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "valence", "valence")
    return port


def stop(data, home):
    try:
        with open(data + "/postmaster.pid", encoding="ascii") as f:
            pid = int(f.readline())
    except FileNotFoundError:
        pid = 0
    if pid:
        os.kill(pid, signal.SIGQUIT)
        lib.eventually(10, "PostgreSQL ended", lambda: not os.path.exists(data + "/postmaster.pid"))
    if lib.OWN_DIR:
        shutil.rmtree(home, ignore_errors=True)
