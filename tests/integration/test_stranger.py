"""Strangers on the fabric port: another secret, cluster or version, garbage, silence, and many of them under a load.

2,000 connections; a hundred thousand with VALENCE_LONG.
"""
import os
import random
import re
import socket
import threading
import time

import fabric_stranger as stranger
import lib
import transfers
from lib import check, equal, has
from valence_cluster import Cluster, file_of, say

# The address sanitizer keeps what was freed, 256 MiB of it: less here, or an engine under it grows until it has that.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=16"
TOTAL = 100000 if os.environ.get("VALENCE_LONG") else 2000
THREADS = 4


def secret_of(cluster):
    with open(os.path.join(cluster.dir, "cluster.secret"), "rb") as f:
        return f.read().rstrip(b"\r\n")


def log_of(cluster, name):
    with open(os.path.join(cluster.dir, name + ".log"), encoding="utf-8", errors="replace") as f:
        return f.read()


def log_has(cluster, name, text):
    lib.eventually(5, "the log of %s has %r" % (name, text), lambda: text in log_of(cluster, name))


def fabric(cluster, name):
    return cluster.port(name) + 100


# -- one of each ------------------------------------------------------------------------------------------------------------

def engines(cluster):
    """Engines of this program with another secret, or none, end and say what to do."""
    wrong = file_of("wrong-secret")
    with open(wrong, "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o600)) as f:
        f.write("the wrong secret of the wrong cluster\n")
    flags = ["--sql", "127.0.0.1:%d" % (lib.PORT_BASE + 60), "--listen", "127.0.0.1:%d" % (lib.PORT_BASE + 160), "--join",
             "127.0.0.1:%d" % fabric(cluster, "a1")]
    for name, more, here, there in (("wrong", ["--secret-file", wrong], "wrong secret", "wrong secret"),
                                    ("none", [], "a secret is wanted here", "a secret is wanted here")):
        e = lib.Engine("cache-engine", "--name", name, *flags, *more)
        equal("an engine with %s secret ends" % name, e.wait(), 1)
        has("it says why", e.text(), "the cluster refuses this engine: 127.0.0.1:%d: %s" % (fabric(cluster, "a1"), here))
        has("it says what to do", e.text(), "hint: give every engine the same --secret-file, or none of them one")
        log_has(cluster, "a1", there)
    os.chmod(wrong, 0o644)
    rc, _, err = lib.valence("cache-engine", "--name", "open", *flags, "--secret-file", wrong)
    equal("a secret that all can read is not used", rc, 1)
    has("it says what to do about that", err, "chmod 600 " + wrong)


def bytes_by_bytes(cluster, secret):
    """What only crafted bytes can say, at the gate and behind it."""
    port = fabric(cluster, "c1")
    log_id = cluster.one("a1", "select 1") and int(re.search(r"log_id=([0-9a-f]+)", log_of(cluster, "a1")).group(1), 16)
    nonce = os.urandom(16)

    kind, data = stranger.ask(port)
    equal("a request without a proof is rejected", (kind, data), (stranger.REJECTION, bytes([stranger.REFUSED, 2])))
    kind, data = stranger.ask(port, bytes([stranger.ENTER]) + nonce + os.urandom(32))
    equal("a request with a false proof is rejected", (kind, data), (stranger.REJECTION, bytes([stranger.REFUSED, 1])))

    link = stranger.Link(port, secret)
    entry = link.entry
    hello = link.hello(log_id=log_id)
    proof = link.prove(hello)
    equal("a good greeting is proved to", link.hear()[0], stranger.PROOF)
    equal("and welcome", link.hear()[0], stranger.WELCOME)
    link.close()
    kind, data = stranger.ask(port, entry)
    equal("its request, sent again, is rejected", (kind, data), (stranger.REJECTION, bytes([stranger.REFUSED, 1])))

    link = stranger.Link(port, secret)
    link.say(hello)
    has("its hello, sent again, is refused", link.refusal(), "repeats an earlier greeting")
    link = stranger.Link(port, secret)
    link.hello(log_id=log_id)
    link.hear()
    link.say(proof)
    has("its proof under a new challenge is refused", link.refusal(), "wrong secret")
    for what, flags, reason in (("another version", {"version": stranger.VERSION + 1, "log_id": log_id},
                                 "protocol version %d here, %d there" % (stranger.VERSION, stranger.VERSION + 1)),
                                ("another cluster", {"log_id": log_id ^ 1}, "another cluster: the log here is"),
                                ("a hello without a proof", {"log_id": log_id, "proves": 0}, "a secret is wanted here")):
        link = stranger.Link(port, secret)
        link.hello(**flags)
        has(what + " is refused", link.refusal(), reason)
        log_has(cluster, "c1", reason)
        link.close()
    link = stranger.Link(port, secret)
    link.hello(magic=1)
    try:
        equal("a wrong magic gets no answer", link.hear(), b"")
    except (ConnectionError, TimeoutError):
        check(True, "a wrong magic gets no answer")
    log_has(cluster, "c1", "not a Valence engine")


# -- many -------------------------------------------------------------------------------------------------------------------

def silent(port, rng, held):
    """Says nothing, and holds on until the engine has had enough."""
    held.append(stranger.dial(port, "127.0.0.%d" % rng.randint(1, 250)))
    while len(held) > 400:
        held.pop(0).close()


def garbage(port, rng, _):
    s = stranger.dial(port, "127.0.0.%d" % rng.randint(1, 250))
    s.sendall(rng.randbytes(rng.randint(1, 200)))
    s.close()


def short(port, rng, _):
    s = stranger.dial(port, "127.0.0.%d" % rng.randint(1, 250))
    s.sendall(stranger.request()[:rng.randint(1, 31)])
    s.close()


def announces(port, rng, held):
    """A request that says that more comes."""
    silent(port, rng, held)
    held[-1].sendall(stranger.request(announce=rng.randint(1, 65535)))


def no_proof(port, rng, _):
    s = stranger.dial(port, "127.0.0.%d" % rng.randint(1, 250))
    s.sendall(stranger.request(rng.choice([b"", bytes([stranger.KNOCK]) + rng.randbytes(16),
                                           bytes([stranger.ENTER]) + rng.randbytes(48), rng.randbytes(rng.randint(1, 255))])))
    if rng.random() < 0.5:
        s.recv(300)
    if rng.random() < 0.3:
        s.sendall(bytes([3, rng.randint(0, 1), 0, 0, 2, 0, 16, 0, 16, 0, 0, 0, 0, 0, 0, 0]))
    s.close()


class Flood(threading.Thread):
    def __init__(self, ports, count, seed):
        super().__init__(daemon=True)
        self.ports, self.count, self.random = ports, count, random.Random(seed)
        self.done, self.failed, self.error = 0, 0, None

    def run(self):
        held = []
        for _ in range(self.count):
            kind = self.random.choices([silent, garbage, short, announces, no_proof], [2, 2, 1, 1, 4])[0]
            try:
                kind(self.random.choice(self.ports), self.random, held)
            except (TimeoutError, socket.timeout) as e:
                self.failed += 1
                self.error = e
            except OSError:
                pass  # reset or closed on us: as it should be
            self.done += 1
        for s in held:
            s.close()


def resident_kb(pid):
    with open("/proc/%d/status" % pid, encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def acknowledged(load):
    return sum(len(c.acknowledged) for c in load.clients)


def flood(cluster, load, total, pids):
    """(seconds, transfers acknowledged, most descriptors) while @total strangers come."""
    ports = [fabric(cluster, name) for name in pids]
    threads = [Flood(ports, total // THREADS, seed) for seed in range(THREADS)]
    start, before, most = time.monotonic(), acknowledged(load), {name: 0 for name in pids}
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        for name, pid in pids.items():
            most[name] = max(most[name], descriptors(pid))
        time.sleep(0.1)
    equal("all strangers were done", sum(t.done for t in threads), total // THREADS * THREADS)
    equal("none of them hung", [t.error for t in threads if t.failed], [])
    return time.monotonic() - start, acknowledged(load) - before, most


def many(cluster):
    transfers.create(cluster, "c1")
    load = transfers.Load(cluster, ["c1", "c2"], clients=4)
    load.start()
    load.goes_on("before the strangers")
    pids = {name: cluster.pid(name) for name in ("a1", "c1")}
    before = acknowledged(load)
    time.sleep(3)
    alone = (acknowledged(load) - before) / 3
    flood(cluster, load, 400, pids)  # so that what is kept for reuse is there
    time.sleep(3)
    kb = {name: resident_kb(pid) for name, pid in pids.items()}
    fds = {name: descriptors(pid) for name, pid in pids.items()}
    seconds, transferred, most = flood(cluster, load, TOTAL, pids)
    load.goes_on("after the strangers")
    time.sleep(4)
    say("     %d strangers in %.1f s (%.0f a second) at two engines; transfers a second: %.0f before, %.0f meanwhile" % (
        TOTAL, seconds, TOTAL / seconds, alone, transferred / seconds))
    for name, pid in pids.items():
        grown, now = resident_kb(pid) - kb[name], descriptors(pid)
        lines = len(re.findall(r"link refused|refusals not shown|silent connections", log_of(cluster, name)))
        say("     %s: memory %+d KiB of %d, descriptors %d before, %d at most, %d after; %d lines in the log" % (
            name, grown, kb[name], fds[name], most[name], now, lines))
        check(grown < 48 << 10, "the memory of %s does not grow" % name, grown)
        check(now <= fds[name] + 6, "the descriptors of %s do not grow" % name, fds[name], now)
        check(most[name] < fds[name] + 1200, "strangers at %s have a bound" % name, most[name])
        check(lines < 60 + 12 * seconds, "the log of %s is not flooded" % name, lines)
        has("the log of %s counts what it does not show" % name, log_of(cluster, name), "refusals not shown")
    load.finish()
    equal("nobody was taken for dead", [cluster.one(n, "select count(*) from valence.failovers") for n in cluster.names], [0, 0, 0])
    equal("the same processes run", {name: cluster.pid(name) for name in pids}, pids)
    load.verify_everywhere()


def main():
    cluster = Cluster(caches=2)
    secret = secret_of(cluster)
    equal("the secret's file is its owner's", os.stat(os.path.join(cluster.dir, "cluster.secret")).st_mode & 0o777, 0o600)
    engines(cluster)
    if lib.FABRIC in (None, "ofi:tcp"):
        bytes_by_bytes(cluster, secret)
        many(cluster)
    else:
        print("SKIP stranger_bytes: fabric_stranger.py speaks as ofi:tcp does, not as %s" % lib.FABRIC)


main()
lib.finish()
