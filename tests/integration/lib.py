"""lib.py - for the integration tests in Python: clusters and engines of this build, and raw SQL connections.

tests/integration/run gives VALENCE (the program), TEST_DIR (an empty directory) and PORT_BASE (the first of 250 ports that
are this test's alone). Run by hand, a test makes do with build/valence, a temporary directory and ports from 21000.
VALENCE_FABRIC names the fabric of every engine that a test does not give one. Everything started here is ended when the test ends, by its pid.
"""
import atexit
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VALENCE = os.environ.get("VALENCE", os.path.join(TOP, "build", "valence"))
PORT_BASE = int(os.environ.get("PORT_BASE", "21000"))
TEST_DIR = os.environ.get("TEST_DIR") or tempfile.mkdtemp()
OWN_DIR = "TEST_DIR" not in os.environ
FABRIC = os.environ.get("VALENCE_FABRIC")  # what engines talk over; the program's default when not given
SLOW = int(os.environ.get("VALENCE_SLOW") or 1)  # limits of time are so many times as long (sanitizers)
START_LIMIT = ["--timeout", str(60 * SLOW)]
# an engine that computes for a second without a break is slow then, not dead
SLOW_FLAGS = ["--heartbeat-limit-ms", str(1000 * SLOW)] if SLOW > 1 else []
WAIT_FOR_MS = 20000 * SLOW  # for valence.wait_for()

failures = []
processes = []
clusters = []


def check(ok, what, *more):
    """Counts a property; goes on after a failure, so that one run shows all of them."""
    print("%s %s" % ("ok  " if ok else "BAD ", what), *(() if ok else more), flush=True)
    if not ok:
        failures.append(what)
    return ok


def equal(what, got, want):
    return check(got == want, what, "got %r, want %r" % (got, want))


def has(what, text, part):
    return check(part in text, what, "%r is not in %r" % (part, text))


def finish():
    """The test's exit. Whatever still runs is asked to end, as an operator does: that is also when leaks are looked for."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            equal("exit status of an engine that is told to end", process.wait(20 * SLOW), 0)
    for c in clusters:
        rc, out, err = c.do("stop")
        check(rc == 0, "the cluster stops", rc, out, err)
    if failures:
        print("FAILED: %d of the properties: %s" % (len(failures), "; ".join(failures)))
    sys.exit(1 if failures else 0)


def valence(*args, timeout=90):
    """Runs the command; (exit status, standard output, standard error)."""
    done = subprocess.run([VALENCE, *map(str, args)], capture_output=True, text=True, timeout=timeout * SLOW,
                          check=False)
    return done.returncode, done.stdout, done.stderr


class Engine:
    """An engine in a process of its own, started directly."""

    def __init__(self, *args):
        self.log = os.path.join(TEST_DIR, "engine%d.log" % len(processes))
        # with VALENCE_HOSTS a fabric has other addresses than those that a test gives
        if FABRIC and "--fabric" not in args and not os.environ.get("VALENCE_HOSTS"):
            args += ("--fabric", FABRIC)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([VALENCE, *map(str, args)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        processes.append(self.process)

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait(self, timeout=20):
        return self.process.wait(timeout * SLOW)

    def stop(self, timeout=20):
        self.process.send_signal(signal.SIGTERM)
        return self.wait(timeout)


class Cluster:
    """A cluster under TEST_DIR/name; engine k has SQL on base + k. engine_flags go to every engine."""

    def __init__(self, name="cluster", offset=0, engine_flags=(), **flags):
        self.dir = os.path.join(TEST_DIR, name)
        self.base = PORT_BASE + offset
        clusters.append(self)
        for flag in ("fabric", "hosts"):  # the whole suite over another fabric
            if os.environ.get("VALENCE_" + flag.upper()):
                flags.setdefault(flag, os.environ["VALENCE_" + flag.upper()])
        args = [a for k, v in flags.items() for a in ("--" + k.replace("_", "-"), v)]
        rc, out, err = valence("cluster", "start", "--dir", self.dir, "--base-port", self.base, *START_LIMIT,
                               *args, "--", *SLOW_FLAGS, *engine_flags)
        if rc != 0:
            print("FAILED: the cluster did not start:", out, err)
            sys.exit(1)

    def do(self, *args):
        return valence("cluster", *args, "--dir", self.dir)

    def sql(self, k, text):
        return psql(self.base + k, text)


def psql(port, text):
    """(exit status, output, errors) of psql for one string of statements."""
    done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(port), "-U",
                           "valence", "-d", "valence", "-c", text], capture_output=True, text=True, timeout=60 * SLOW,
                          env=dict(os.environ, PGCONNECT_TIMEOUT=str(5 * SLOW)), check=False)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def eventually(seconds, what, f):
    seconds *= SLOW
    until = time.monotonic() + seconds
    while not f():
        if time.monotonic() > until:
            return check(False, what, "not within %d s" % seconds)
        time.sleep(0.1)
    return True


class Wire:
    """A connection that says what it is told, right or wrong."""

    def __init__(self, port, start=True):
        self.sock = socket.create_connection(("127.0.0.1", port), 10 * SLOW)
        self.sock.settimeout(20 * SLOW)
        self.data = b""
        if start:
            words = b"user\0valence\0database\0valence\0\0"
            self.send(struct.pack(">ii", 8 + len(words), 3 << 16) + words)
            self.answer = self.until(b"Z")

    def send(self, data):
        self.sock.sendall(data)

    def message(self):
        """(kind, body), or None when the connection is over."""
        while True:
            if len(self.data) >= 5:
                n = struct.unpack(">i", self.data[1:5])[0]
                if len(self.data) > n:
                    kind, body = self.data[:1], self.data[5:n + 1]
                    self.data = self.data[n + 1:]
                    return kind, body
            try:
                more = self.sock.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                return None
            self.data += more

    def until(self, kind):
        """All messages up to one of this kind, or to the end of the connection."""
        out = []
        while True:
            m = self.message()
            if m is None:
                return out
            out.append(m)
            if m[0] == kind:
                return out

    def query(self, text):
        self.send(packet(b"Q", text.encode() + b"\0"))
        return self.until(b"Z")

    def close(self):
        self.sock.close()


def packet(kind, body):
    return kind + struct.pack(">i", len(body) + 4) + body


def error_of(messages):
    """The fields of the first ErrorResponse as a dict; empty: none."""
    for kind, body in messages:
        if kind == b"E":
            return {chr(f[0]): f[1:].decode("utf-8", "replace") for f in body.split(b"\0") if f}
    return {}


def cleanup():
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
    for c in clusters:
        if os.path.isdir(c.dir):
            for name in os.listdir(c.dir):
                if name.endswith(".pid"):
                    c.do("kill", name[:-4])
    if OWN_DIR:
        if failures:
            print("what the engines said is under " + TEST_DIR)
        else:
            shutil.rmtree(TEST_DIR, ignore_errors=True)


atexit.register(cleanup)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
