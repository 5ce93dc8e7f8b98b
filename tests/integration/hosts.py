"""hosts.py - a cluster whose engines stand on hosts of their own: a network namespace each, and a switch between them.

Hosts is a Cluster (valence_cluster.py) but for how engines are started: every one listens on the same ports of its own
address. Clients are on the engine's host, as SQL is on loopback only: connect() opens the socket there. The wires can be
hurt one by one (switch.py); TCP is told nothing of it.

Namespaces have no names and exist while something is open in them; engines and switch end with this process. So nothing
is left behind, however a test ends. Where this cannot be done the test is skipped: need_hosts().
"""
import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time

import psycopg2

import lib
from lib import check
from valence_cluster import Cluster, say

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_SLAVE = 0x4000, 0x80000
PR_SET_PDEATHSIG = 1
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
SQL_PORT, FABRIC_PORT = 7400, 7500
libc = ctypes.CDLL(None, use_errno=True)


def must(rc, what):
    if rc != 0:
        raise OSError(ctypes.get_errno(), "%s: %s" % (what, os.strerror(ctypes.get_errno())))


def own_namespace():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def inside(namespace):
    """This thread's network is that one; sockets, devices and processes made meanwhile stay in it."""
    home = own_namespace()
    must(libc.setns(namespace, CLONE_NEWNET), "setns")
    try:
        yield
    finally:
        must(libc.setns(home, CLONE_NEWNET), "setns")
        os.close(home)


def namespace_new():
    home = own_namespace()
    try:
        must(libc.unshare(CLONE_NEWNET), "a network namespace")
        return own_namespace()
    finally:
        must(libc.setns(home, CLONE_NEWNET), "setns")
        os.close(home)


def tap_new(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


def end_with_us():
    """In a child: this process's end is its end. Where it comes too late, it ends now."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def need_hosts():
    """Ends the test as skipped, with the reason, where hosts cannot be made."""
    try:
        if os.geteuid() != 0:
            raise OSError("needs root, for network namespaces")
        namespace = namespace_new()
        with inside(namespace):
            os.close(tap_new("eth0"))
            subprocess.run(["ip", "link", "show", "lo"], check=True, capture_output=True)
        os.close(namespace)
    except (OSError, subprocess.SubprocessError) as e:
        print("hosts cannot be made here: %s" % e)
        sys.exit(77)


class Host:
    """A namespace with an address of its own."""

    def __init__(self, number):
        self.address = "10.83.0.%d" % number
        self.namespace = namespace_new()
        with inside(self.namespace):
            self.tap = tap_new("eth0")
            for words in (["link", "set", "lo", "up"],
                          ["link", "set", "eth0", "address", "02:00:00:00:00:%02x" % number],
                          ["addr", "add", self.address + "/24", "dev", "eth0"], ["link", "set", "eth0", "up"]):
                subprocess.run(["ip", *words], check=True)

    def enter(self):
        """In a child that is about to become an engine: UCX looks for its devices in /sys."""
        end_with_us()
        must(libc.setns(self.namespace, CLONE_NEWNET), "setns")
        must(libc.unshare(CLONE_NEWNS), "a mount namespace")
        # nobody else sees what is mounted on top of /sys then; not "/", which in a chroot is no mount
        must(libc.mount(b"none", b"/sys", None, MS_REC | MS_SLAVE, None), "change the mount /sys")
        must(libc.mount(b"sysfs", b"/sys", b"sysfs", 0, None), "mount /sys")


class Hosts(Cluster):
    # pylint: disable=super-init-not-called
    def __init__(self, archives=1, caches=2, flags=()):
        self.archives = ["a%d" % (k + 1) for k in range(archives)]
        self.caches = ["c%d" % (k + 1) for k in range(caches)]
        self.names = self.archives + self.caches
        self.flags = [*flags]
        if lib.FABRIC:
            self.flags += ["--fabric", lib.FABRIC]
        if lib.SLOW > 1 and "--heartbeat-limit-ms" not in self.flags:
            self.flags += ["--heartbeat-limit-ms", str(1000 * lib.SLOW)]
        self.dir = os.path.join(lib.TEST_DIR, "hosts")
        os.mkdir(self.dir)
        self.secret = os.path.join(self.dir, "secret")
        with open(os.open(self.secret, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as f:
            f.write("what all of these hosts know\n")
        self.hosts = {name: Host(k + 1) for k, name in enumerate(self.names)}
        self.processes = {}
        self.bad = set()
        self.switch_start()
        self.founded = False
        self.start(*self.names)
        self.founded = True
        lib.clusters.append(self)

    def switch_start(self):
        self.control, theirs = socket.socketpair()
        taps = {name: host.tap for name, host in self.hosts.items()}
        self.switch = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(__file__), "switch.py"),
                                        str(theirs.fileno()), *("%s=%d" % t for t in taps.items())],
                                       pass_fds=[theirs.fileno(), *taps.values()], preexec_fn=end_with_us)
        theirs.close()
        for tap in taps.values():
            os.close(tap)
        self.answers_of_switch = self.control.makefile("r", encoding="ascii")

    # -- wires

    def ask(self, **order):
        self.control.sendall(json.dumps(order).encode() + b"\n")
        return json.loads(self.answers_of_switch.readline())

    def wire(self, *names, ways=("out", "in"), **faults):
        """What is wrong with these hosts' wires from now on; nothing: they are well."""
        for name in names:
            for way in ways:
                self.ask(host=name, way=way, **faults)

    def cut(self, *names, ways=("out", "in")):
        self.wire(*names, ways=ways, cut=True)

    def part(self, *parts):
        """Nothing passes between these lists of hosts."""
        self.ask(parts=parts)

    def repair(self):
        self.wire(*self.names)
        self.part()

    def frames(self):
        return self.ask()

    # -- engines

    def command(self, name):
        host, archive = self.hosts[name], name in self.archives
        words = [lib.VALENCE, "archive-engine" if archive else "cache-engine", "--name", name,
                 "--sql", "127.0.0.1:%d" % SQL_PORT, "--listen", "%s:%d" % (host.address, FABRIC_PORT),
                 "--secret-file", self.secret, "--sql-auth", "trust", "--tls", "off"]
        others = ["%s:%d" % (self.hosts[a].address, FABRIC_PORT) for a in self.archives if a != name]
        if archive:
            words += ["--data", os.path.join(self.dir, name)]
        if others and (self.founded or name != "a1"):
            words += ["--join", ",".join(others)]
        return words + self.flags

    def spawn(self, name):
        with open(os.path.join(self.dir, name + ".log"), "ab") as log:
            self.processes[name] = subprocess.Popen(self.command(name), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                    preexec_fn=self.hosts[name].enter)

    def serves(self, name, names):
        try:
            seen = {r[0] for r in self.rows(name, "select name from valence.engines")}
            return seen >= set(names)
        except psycopg2.Error:
            return False

    def start(self, *names, wait=True):
        for name in names:
            self.spawn(name)
        for name in names if wait else ():
            if not lib.eventually(60, name + " is a member", lambda n=name: self.serves(n, names)):
                raise RuntimeError(name + " did not start")

    def kill(self, *names):
        for name in names:
            self.processes[name].kill()
        for name in names:
            self.processes[name].wait()

    def signal(self, name, number):
        self.processes[name].send_signal(number)

    def must(self, *args):
        """pause and resume, as of `valence cluster`."""
        self.signal(args[1], {"pause": signal.SIGSTOP, "resume": signal.SIGCONT}[args[0]])
        return True

    def pid(self, name):
        return self.processes[name].pid

    def port(self, name):
        return SQL_PORT

    def connect(self, name, autocommit=True, timeout=10):
        with inside(self.hosts[name].namespace):
            return super().connect(name, autocommit, timeout)

    def stop(self, names):
        """All of them are asked; a second time, should a majority not be left to leave to."""
        for name in names:
            if self.processes[name].poll() is None:
                self.signal(name, signal.SIGTERM)
        until = time.monotonic() + 15 * lib.SLOW
        asked_again = time.monotonic() + 1
        while any(self.processes[n].poll() is None for n in names) and time.monotonic() < until:
            time.sleep(0.02)
            if time.monotonic() > asked_again:
                asked_again = until
                for name in names:
                    self.signal(name, signal.SIGTERM)
        return [n for n in names if self.processes[n].poll() != 0]

    def do(self, *args):
        """What lib.py asks of a cluster at a test's end: stop all, and kill one."""
        if args[0] == "stop":
            self.repair()
            left = self.stop(self.caches) + self.stop(self.archives)
            self.control.close()
            return (1, "", "exit status %s" % {n: self.processes[n].poll() for n in left}) if left else (0, "", "")
        if args[0] == "kill":
            self.kill(args[1])
        return 0, "", ""

    # -- what tests ask

    def failovers(self, name):
        return self.rows(name, "select cause, engine_id, milliseconds from valence.failovers order by removed_index")

    def removed(self, name, old, at, since, limit=30):
        """Waits until the engine @at sees no longer @old as @name; says how long that took."""
        ok = lib.eventually(limit, "%s is removed" % name, lambda: self.id_of(name, at=at) != old)
        if ok:
            say("     %s removed %.0f ms after it was cut off" % (name, (time.monotonic() - since) * 1000))
        return ok

    def joined(self, name, old, at, since, limit=30):
        ok = lib.eventually(limit, "%s is a member again" % name, lambda: (self.id_of(name, at=at) or 0) > old)
        if ok:
            say("     %s a member again %.0f ms after the repair" % (name, (time.monotonic() - since) * 1000))
        return ok

    def hurt(self, before, *kinds):
        """The switch did what it was told: a fault that never happened tests nothing."""
        now = self.frames()
        did = {k: now[k] - before[k] for k in now}
        check(all(did[k] > 0 for k in kinds), "frames were " + ", ".join(kinds), did)
        say("     of %d frames: %s" % (did["frames"], ", ".join("%d %s" % (did[k], k) for k in did if k != "frames" and did[k])))
