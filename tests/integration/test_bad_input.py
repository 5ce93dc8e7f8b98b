"""What operators and clients get wrong gets a clear error and changes nothing."""
import os
import random
import socket
import struct

import lib
from lib import Engine, Wire, check, equal, error_of, has, packet, valence

LISTEN = "127.0.0.1:%d" % (lib.PORT_BASE + 200)
SQL = "127.0.0.1:%d" % (lib.PORT_BASE + 201)


def wrong_flags():
    base = ["--name", "x", "--sql", SQL, "--listen", LISTEN]
    join = ["--join", "127.0.0.1:1"]
    for args, part in [
            ([], "usage: valence"),
            (["nonsense"], 'no command "nonsense"'),
            (["bench"], "what to measure"),
            (["bench", "nonsense"], "no such bench"),
            (["bench", "failover", "--fault", "smoke"], "there are kill, pause, cut"),
            (["bench", "fabric", "--fabric", "smoke"], "not in this build"),
            (["cache-engine"], "--name N is needed"),
            (["cache-engine", "--nonsense"], "no flag --nonsense"),
            (["cache-engine", "--name"], "flag --name needs a value"),
            (["cache-engine", *base], "--join HOST:PORT is needed"),
            (["cache-engine", *base, *join, "extra"], 'unexpected argument "extra"'),
            (["cache-engine", *base, *join, "--data", "d"], "archive engines only"),
            (["cache-engine", *base, *join, "--workers", "0"], "number from 1"),
            (["cache-engine", *base, *join, "--workers", "2", "--memory", "100M"], "64 MiB"),
            (["cache-engine", *base, *join, "--workers", "8", "--connections", "7"], "--connections"),
            (["cache-engine", *base, *join, "--workers", "8", "--worker-ports", "65530"], "ports"),
            (["cache-engine", *base, *join, "--memory", "lots"], "must be a size"),
            (["cache-engine", *base, *join, "--memory", "1K"], "must be at least"),
            (["cache-engine", *base, *join, "--connections", "0"], "must be a number from 1"),
            (["cache-engine", *base, *join, "--fabric", "smoke"], "no such fabric"),
            (["cache-engine", *base, *join, "--log", "loud"], "--log loud"),
            (["cache-engine", *base, *join, "--config", "/nonexistent"], "/nonexistent: No such file"),
            (["cache-engine", *base, "--join", "nowhere"], "not of the form HOST:PORT"),
            (["cache-engine", "--name", "a b", "--sql", SQL, "--listen", LISTEN, *join], "a name has"),
            (["cache-engine", "--name", "x", "--sql", "here", "--listen", LISTEN, *join], "not of the form HOST:PORT"),
            (["cache-engine", "--name", "x", "--sql", "0.0.0.0:1", "--listen", LISTEN, *join], "not a loopback address"),
            (["cache-engine", "--name", "x", "--sql", SQL, "--listen", "[::]:1", *join], "not a loopback address"),
            (["archive-engine", *base], "--data DIR is needed"),
            (["cluster"], "what to do is missing"),
            (["cluster", "dance", "--dir", "d"], "no such thing to do"),
            (["cluster", "start"], "--dir D is needed"),
            (["cluster", "kill", "--dir", "d"], "name is missing"),
            (["cluster", "start", "--dir", "d", "--archives", "0"], "not a number in range"),
            (["catalog", "engines"], "--connect HOST:PORT is needed"),
            (["catalog", "--connect", SQL, "show"], "which atom?"),
            (["catalog", "--connect", SQL], "interactive"),
    ]:
        rc, out, err = valence(*args)
        what = "valence " + " ".join(args[:1] + [a for a in args[1:] if a not in base])
        equal(what + ": exit status", rc, 2)
        has(what + ": error", err, part)
        equal(what + ": no output", out, "")
    for command in ["cache-engine", "archive-engine", "cluster", "catalog"]:
        rc, out, err = valence(command, "--help")
        check(rc == 0 and "usage: valence " + command in out and not err, command + " --help")
    check(valence("--version")[0] == 0, "--version")


def config_file():
    path = os.path.join(lib.TEST_DIR, "engine.conf")
    for text, part in [("name = x\nnonsense = 1\n", 'engine.conf:2: no key "nonsense"'),
                       ("just words\n", "engine.conf:1: not of the form key = value"),
                       ("workers = many\n", "engine.conf:1: workers must be a number")]:
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        rc, _, err = valence("cache-engine", "--config", path)
        equal("configuration %r: exit status" % text, rc, 2)
        has("configuration %r: error" % text, err, part)


def ports_and_directories(cluster):
    taken = "127.0.0.1:%d" % cluster.base
    fabric = "127.0.0.1:%d" % (cluster.base + 100)
    rc, _, err = valence("cache-engine", "--name", "x", "--sql", taken, "--listen", LISTEN, "--join", fabric)
    equal("SQL port in use: exit status", rc, 1)
    has("SQL port in use: error", err, "port %d is in use" % cluster.base)
    rc, _, err = valence("cache-engine", "--name", "x", "--sql", SQL, "--listen", fabric, "--join", fabric)
    equal("fabric port in use: exit status", rc, 1)
    has("fabric port in use: error", err, "in use")

    def archive(directory):
        return valence("archive-engine", "--name", "x", "--sql", SQL, "--listen", LISTEN, "--data", directory)

    rc, _, err = archive(os.path.join(cluster.dir, "a1"))
    equal("data directory in use: exit status", rc, 1)
    has("data directory in use: error", err, "use")
    plain = os.path.join(lib.TEST_DIR, "plain-file")
    with open(plain, "w", encoding="utf-8") as f:
        f.write("not a directory\n")
    rc, _, err = archive(plain)
    equal("data directory is a file: exit status", rc, 1)
    check("valence: " in err and plain in err, "data directory is a file: error names it", err)
    other = os.path.join(lib.TEST_DIR, "other")
    os.mkdir(other)
    with open(os.path.join(other, "precious.txt"), "w", encoding="utf-8") as f:
        f.write("keep me\n")
    rc, _, err = archive(other)
    equal("directory of something else: exit status", rc, 1)
    equal("directory of something else: untouched", os.listdir(other), ["precious.txt"])
    if os.geteuid() != 0:
        locked = os.path.join(lib.TEST_DIR, "locked")
        os.mkdir(locked, 0o500)
        rc, _, err = archive(locked)
        equal("data directory not writable: exit status", rc, 1)
    rc, _, err = archive("/proc/valence")
    equal("data directory cannot be made: exit status", rc, 1)
    has("data directory cannot be made: error", err, "/proc/valence")


def refused_start(port, data, code, what):
    w = Wire(port, start=False)
    w.send(data)
    got = error_of(w.until(b"E"))
    equal(what + ": severity", got.get("S"), "FATAL")
    equal(what + ": code", got.get("C"), code)
    equal(what + ": closed", w.message(), None)
    w.close()


def malformed_bytes(port):
    refused_start(port, b"GET / HTTP/1.1\r\n\r\n", "08P01", "HTTP on the SQL port")
    refused_start(port, struct.pack(">ii", 8, 2 << 16), "0A000", "protocol 2")
    refused_start(port, struct.pack(">ii", 2000000000, 3 << 16), "08P01", "start-up packet of 2 GB")
    refused_start(port, struct.pack(">ii", 9, 3 << 16) + b"\0", "28000", "no user")
    for data, what in [(b"z\0\0\0\4", "unknown message"), (b"Q\0\0\0\3", "length 3"), (b"Q\xff\xff\xff\xff", "length -1"),
                       (b"Q\0\0\0\6ab", "query without its NUL"), (packet(b"B", b"\0\0\0"), "cut Bind"),
                       (packet(b"B", b"\0\0\0\0\xff\xff\0\0"), "Bind of 65535 parameters that are not there")]:
        w = Wire(port)
        w.send(data)
        got = error_of(w.until(b"E"))
        equal(what + ": FATAL 08P01", (got.get("S"), got.get("C")), ("FATAL", "08P01"))
        equal(what + ": closed", w.message(), None)
        w.close()
    rng = random.Random(1)
    for _ in range(200):
        w = Wire(port, start=rng.random() < 0.7)
        try:
            w.send(rng.randbytes(rng.randrange(1, 400)))
            if rng.random() < 0.5:
                w.sock.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass
        w.close()


def oversized_messages(port):
    w = Wire(port)
    size = 200 << 20
    w.send(b"Q" + struct.pack(">i", size + 4))
    chunk = b" " * (1 << 20)
    for _ in range(200):
        w.send(chunk)
    got = error_of(w.until(b"Z"))
    equal("a query of 200 MB: error", (got.get("S"), got.get("C")), ("ERROR", "54000"))
    equal("and then", error_of(w.query("select 1")), {})
    w.close()
    w = Wire(port)
    w.send(b"Q" + struct.pack(">i", (1 << 30) + 1))
    got = error_of(w.until(b"E"))
    equal("a query over 1 GB", (got.get("S"), got.get("C")), ("FATAL", "08P01"))
    w.close()


def invalid_sql(port):
    w = Wire(port)
    for text, code, position in [
            ("selec 1", "42601", "1"), ("select 1 +", "42601", "11"), ("select nothing", "42703", "8"),
            ("select * from nowhere", "42P01", "15"), ("select nofunction(1)", "42883", "8"),
            ("select 'a' + 1", "22P02", None), ("select 1 / 0", "22012", None), ("select \x01", "42601", None)]:
        got = error_of(w.query(text))
        equal("%r: code" % text, got.get("C"), code)
        if position:
            equal("%r: position" % text, got.get("P"), position)
    w.send(packet(b"Q", b"select '\xff'\0"))
    equal("not UTF-8", error_of(w.until(b"Z")).get("C"), "22021")
    deep = "select " + "(" * 20000 + "1" + ")" * 20000
    check(error_of(w.query(deep)).get("C") in ("54001", "42601"), "twenty thousand parentheses")
    long = "select " + "1+" * 30000 + "1"
    check(error_of(w.query(long)).get("C") in ("54001", None), "thirty thousand additions")
    equal("the session goes on", error_of(w.query("select 1")), {})
    w.close()


def parse(name, text):
    return packet(b"P", name + b"\0" + text + b"\0" + struct.pack(">h", 0))


def bind(portal, statement):
    return packet(b"B", portal + b"\0" + statement + b"\0" + struct.pack(">hhh", 0, 0, 0))


def describe(kind, name):
    return packet(b"D", kind + name + b"\0")


def execute(portal):
    return packet(b"E", portal + b"\0" + struct.pack(">i", 0))


def close(kind, name):
    return packet(b"C", kind + name + b"\0")


def statements_about_themselves(port):
    """A statement or portal that names itself, or goes while it is in use. An error, or what was asked for; each time an answer."""
    for what, code, rows, messages in [
            ("EXECUTE of itself", "0A000", [],
             [parse(b"s", b"execute s"), describe(b"S", b"s"), bind(b"", b"s"), describe(b"P", b""), execute(b"")]),
            ("two EXECUTE of each other", "0A000", [],
             [parse(b"s", b"select 1"), parse(b"t", b"execute s"), close(b"S", b"s"), parse(b"s", b"execute t"),
              describe(b"S", b"s"), describe(b"S", b"t"), bind(b"", b"t"), execute(b"")]),
            ("FETCH from itself", "55000", [],
             [parse(b"", b"fetch all from y"), bind(b"y", b""), describe(b"P", b"y"), execute(b"y")]),
            ("CLOSE of itself", "55000", [], [parse(b"", b"close y"), bind(b"y", b""), execute(b"y")]),
            ("CLOSE ALL", None, [], [parse(b"", b"close all"), bind(b"y", b""), execute(b"y")]),
            ("DEALLOCATE of itself, twice", "55000", [],
             [parse(b"s", b"deallocate s"), bind(b"y", b"s"), execute(b"y"), execute(b"y")]),
            ("a statement closed before its portal runs", None, [b"still here"],
             [parse(b"s", b"select 'still ' || 'here'"), bind(b"y", b"s"), close(b"S", b"s"), parse(b"", b"select 2"),
              execute(b"y")]),
            ("an unnamed statement replaced before its portal runs", None, [b"still here"],
             [parse(b"", b"select 'still here' limit 1"), bind(b"y", b""), parse(b"", b"select 2"), bind(b"z", b""),
              execute(b"y")]),
            ("FETCH from a portal that was only bound", "0A000", [],
             [parse(b"", b"select 1"), bind(b"x", b""), parse(b"", b"fetch all from x"), bind(b"y", b""), execute(b"y")])]:
        w = Wire(port)
        w.send(b"".join(messages) + packet(b"S", b""))
        got = w.until(b"Z")
        equal(what + ": error", error_of(got).get("C"), code)
        equal(what + ": rows", [body[6:] for kind, body in got if kind == b"D"], rows)
        equal(what + ": the session goes on", error_of(w.query("select 1")), {})
        w.close()


def still_serves(cluster, when):
    for k in range(2):
        equal("engine %d serves after %s" % (k, when), cluster.sql(k, "select 1 + 1")[:2], (0, "2"))


def starting_engine():
    """An engine that finds no cluster says so to clients, and stops when told."""
    e = Engine("cache-engine", "--name", "lost", "--sql", SQL, "--listen", LISTEN, "--join", "127.0.0.1:1")
    port = int(SQL.split(":")[1])

    def answers():
        try:
            Wire(port, start=False).close()
        except OSError:
            return False
        return True

    if lib.eventually(10, "it listens", answers):
        got = error_of(Wire(port).answer)
        equal("starting up: code", got.get("C"), "57P03")
        equal("starting up: message", got.get("M"), "the database system is starting up")
        check(got.get("D"), "starting up: the reason as detail", got)
    equal("it stops when told", e.stop(), 0)


wrong_flags()
config_file()
starting_engine()
the_cluster = lib.Cluster(archives=1, caches=1)
ports_and_directories(the_cluster)
still_serves(the_cluster, "others tried its ports and directory")
malformed_bytes(the_cluster.base + 1)
still_serves(the_cluster, "malformed bytes")
oversized_messages(the_cluster.base + 1)
invalid_sql(the_cluster.base + 1)
statements_about_themselves(the_cluster.base + 1)
still_serves(the_cluster, "invalid statements")
equal("the cluster stops cleanly", the_cluster.do("stop")[0], 0)
lib.finish()
