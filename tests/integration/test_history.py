"""What clients of a cluster under faults see is what their isolation levels allow: lists and registers, checked by `valence history`.

Three archives and three caches, each on a host of its own where that can be made. Engines are killed (cache, leader), stand
still, are cut off (one, and the leader with a cache), all start again at once; clocks jump; an archive's disk gets full. VALENCE_LONG:
half an hour of these at random (VALENCE_HISTORY_SECONDS: so long); SEED=n repeats the choice of faults, not the timing.
"""
import ctypes
import os
import random
import shutil
import subprocess
import time

import hosts
import lib
from history_load import Load, damaged
from lib import check, equal
from valence_cluster import Cluster, say

LONG = bool(os.environ.get("VALENCE_LONG"))
SECONDS = int(os.environ.get("VALENCE_HISTORY_SECONDS") or (1800 if LONG else 0))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
FLAGS = ["--deadlock-timeout-ms", "100"]  # there are many: transactions write the same few keys in any order
RESERVE_MIB = 128  # free space below which an archive writes nothing more
MS_PRIVATE = 0x40000


class HistoryHosts(hosts.Hosts):
    """Hosts whose wall clocks can be set, and one of whose archives has a small disk of its own."""

    def __init__(self, **more):
        self.clocks = os.path.exists(FAKETIME)
        self.small = None
        super().__init__(**more)

    def clock_file(self, name):
        return os.path.join(self.dir, name + ".clock")

    def spawn(self, name):
        if not self.clocks:
            super().spawn(name)
            return
        if not os.path.exists(self.clock_file(name)):
            self.clock(name, 0)
        env = dict(os.environ, LD_PRELOAD=FAKETIME, FAKETIME_TIMESTAMP_FILE=self.clock_file(name), FAKETIME_NO_CACHE="1",
                   FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME_DONT_RESET="1")
        with open(os.path.join(self.dir, name + ".log"), "ab") as log:
            self.processes[name] = subprocess.Popen(self.command(name), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                    preexec_fn=self.hosts[name].enter, env=env)

    def clock(self, name, seconds):
        """The engine's wall clock is so far from the right time from now on."""
        new = self.clock_file(name) + ".new"
        with open(new, "w", encoding="ascii") as f:
            f.write("%+d\n" % seconds)
        os.rename(new, self.clock_file(name))

    def disk(self, name):
        """The archive's data move to a file system of their own, which can be filled. False: that cannot be done here."""
        data = os.path.join(self.dir, name)
        try:
            private_mounts(self.dir)
        except OSError as e:
            say("SKIP test_history disk full: no mounts here: %s" % e)
            return False
        self.kill(name)
        os.rename(data, data + ".old")
        os.mkdir(data, 0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm,mode=0700" % (RESERVE_MIB * 2), "tmpfs", data], check=True)
        shutil.copytree(data + ".old", data, dirs_exist_ok=True)
        shutil.rmtree(data + ".old")
        self.start(name)
        self.small = name
        return True


def private_mounts(path):
    """What is mounted below is seen by this process and those it starts, and is gone when they are."""
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    hosts.must(hosts.libc.unshare(hosts.CLONE_NEWNS), "a mount namespace")
    hosts.must(hosts.libc.mount(b"none", path.encode(), None, ctypes.c_ulong(MS_PRIVATE), None), "make %s private" % path)


class Faults:
    """One after another; each ends with all engines up and the load going on."""

    def __init__(self, cluster, load, choose):
        self.cluster, self.load, self.random = cluster, load, choose
        self.on_hosts = isinstance(cluster, HistoryHosts)
        self.counts = {}
        self.all = [self.kill_cache, self.kill_leader, self.pause, self.restart_all, self.pause_long]
        if self.on_hosts:
            self.all += [self.cut_one, self.cut_minority, self.one_way]
            self.all += [self.clocks] if cluster.clocks else []
            self.all += [self.disk_full] if cluster.small else []

    def inflict(self, fault):
        self.counts[fault.__name__] = self.counts.get(fault.__name__, 0) + 1
        what = fault()
        self.load.goes_on("after " + what)

    def down(self, name, what):
        self.cluster.kill(name)
        time.sleep(self.random.uniform(0, 2))
        self.cluster.start(name)
        return what + " was killed"

    def kill_cache(self):
        name = self.random.choice(self.cluster.caches)
        return self.down(name, name)

    def leader(self):
        for name in self.cluster.caches:
            if self.cluster.answers(name):
                return self.cluster.leader(name) or self.cluster.archives[0]
        return self.cluster.archives[0]

    def kill_leader(self):
        name = self.leader()
        return self.down(name, "the leader, %s," % name)

    def still(self, name, seconds):
        self.cluster.must("pause", name)
        time.sleep(seconds)
        self.cluster.must("resume", name)
        return "%s stood still for %.1f s" % (name, seconds)

    def pause(self):
        return self.still(self.random.choice(self.cluster.names + [self.leader()]), self.random.uniform(0.1, 0.8))

    def pause_long(self):
        """It is removed meanwhile, and finds the world gone on."""
        return self.still(self.random.choice(self.cluster.names + [self.leader()]), self.random.uniform(1.5, 4))

    def restart_all(self):
        self.cluster.kill(*self.cluster.names)
        self.cluster.start(*self.cluster.names)
        return "all were killed and started"

    def members(self):
        for name in self.cluster.names:
            lib.eventually(60, name + " is a member and answers", lambda n=name: self.cluster.answers(n))

    def mend(self, seconds):
        time.sleep(seconds)
        self.cluster.repair()
        self.members()

    def cut_one(self):
        name = self.random.choice(self.cluster.names)
        self.cluster.cut(name)
        self.mend(self.random.uniform(0.2, 3))
        return name + " was cut off"

    def one_way(self):
        name, way = self.random.choice(self.cluster.names), self.random.choice(["in", "out"])
        self.cluster.cut(name, ways=(way,))
        self.mend(self.random.uniform(0.2, 3))
        return "nothing got %s of %s" % (way, name)

    def cut_minority(self):
        few = [self.leader(), self.random.choice(self.cluster.caches)]
        self.cluster.part(few, [n for n in self.cluster.names if n not in few])
        self.mend(self.random.uniform(1, 4))
        return "%s were cut off together" % " and ".join(few)

    def clocks(self):
        """Forwards and back, by up to a day; some of them at once."""
        for name in self.random.sample(self.cluster.names, 3):
            self.cluster.clock(name, self.random.choice([-86400, -3600, -2, 2, 3600, 86400]))
        time.sleep(0.5)
        return "clocks jumped"

    def disk_full(self):
        """An archive without room says so and ends; what it had acknowledged it still has when it starts with room again."""
        name, filler = self.cluster.small, os.path.join(self.cluster.dir, self.cluster.small, "filler")
        process = self.cluster.processes[name]
        left = self.random.choice([0, RESERVE_MIB // 2])
        with open(filler, "wb") as f:
            room = os.statvfs(filler)
            try:
                os.posix_fallocate(f.fileno(), 0, max(1, room.f_bavail * room.f_frsize - (left << 20)))
            except OSError:
                pass  # it writes at the same time; full is full
        self.load.goes_on("beside an archive without room")
        if lib.eventually(20, name + " ends when it has no room", lambda: process.poll() is not None):
            with open(os.path.join(self.cluster.dir, name + ".log"), encoding="utf-8", errors="replace") as log:
                text = log.read()
            equal("its exit status", process.returncode, 1)
            check("free space" in text or "o space left" in text, "it says why", text[-600:])
        os.unlink(filler)
        self.cluster.start(name)
        return "the disk of %s was full" % name


def cluster_new():
    try:
        hosts.need_hosts()
    except SystemExit:
        say("SKIP test_history partitions: hosts cannot be made here, see above; nor clocks and full disks")
        return Cluster(archives=3, caches=3, engine_flags=FLAGS)
    cluster = HistoryHosts(archives=3, caches=3, flags=FLAGS)
    if not cluster.clocks:
        say("SKIP test_history clocks: no libfaketime (Debian package libfaketime)")
    cluster.disk("a3")
    return cluster


def main():
    say("     SEED=%d" % SEED)
    choose = random.Random(SEED)
    cluster = cluster_new()
    load = Load(cluster, cluster.names, clients=12, think=0.002 if not LONG else 0.01)
    load.start()
    load.goes_on("before any fault", number=100)
    faults = Faults(cluster, load, choose)
    end = time.monotonic() + SECONDS
    todo = list(faults.all)
    choose.shuffle(todo)
    try:
        while todo or time.monotonic() < end:
            faults.inflict(todo.pop() if todo else choose.choice(faults.all))
            time.sleep(choose.uniform(0.1, 1))
        faults.members()
        load.goes_on("with all of them back", number=200)
    except RuntimeError as e:  # an engine did not start: what was seen so far is judged all the same
        check(False, "the faults end", e)
        if faults.on_hosts:
            cluster.repair()
    load.finish()
    say("     faults: " + ", ".join("%s %d" % f for f in sorted(faults.counts.items())))
    good = load.judge()
    check(load.count() > 500, "it was a load", load.count())
    if good and not LONG:
        check(damaged(load.path, lambda line: line.replace("?[1", "?[2,1", 1) if " ok " in line else line),
              "a history with an element too many does not pass")
    cluster.check_atoms("afterwards")


main()
lib.finish()
