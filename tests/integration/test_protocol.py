"""The wire protocol answers as PostgreSQL 15 does, message for message: the extended protocol in and out of order, portals,
row limits, pipelines with an error in the middle, COPY in all of it, binary values, and cancel.

Every scenario is a list of messages; both servers get it on a connection of its own, and what they say is compared, bytes
and all. Left out: the numbers of relations in row descriptions, and PostgreSQL's source lines in errors.
--at PORT POSTGRES-PORT runs against servers that are there.
"""
import socket
import struct
import sys
import time

import lib
import postgres_beside
from lib import Wire, check, equal, error_of, packet

SETUP = """
CREATE TABLE p (id integer PRIMARY KEY, v text);
CREATE TABLE q (a integer, b text);
INSERT INTO p SELECT i, 'v' || i FROM generate_series(1, 10) i
"""
S = packet(b"S", b"")
H = packet(b"H", b"")


def Q(text):
    return packet(b"Q", text.encode() + b"\0")


def P(text, name="", types=()):
    return packet(b"P", name.encode() + b"\0" + text.encode() + b"\0" + struct.pack(">h", len(types)) +
                  b"".join(struct.pack(">i", t) for t in types))


def B(*values, portal="", name="", formats=(), results=()):
    body = portal.encode() + b"\0" + name.encode() + b"\0" + struct.pack(">h", len(formats))
    body += b"".join(struct.pack(">h", f) for f in formats) + struct.pack(">h", len(values))
    for v in values:
        v = v.encode() if isinstance(v, str) else v
        body += struct.pack(">i", -1) if v is None else struct.pack(">i", len(v)) + v
    return packet(b"B", body + struct.pack(">h", len(results)) + b"".join(struct.pack(">h", f) for f in results))


def D(kind, name=""):
    return packet(b"D", kind.encode() + name.encode() + b"\0")


def E(portal="", rows=0):
    return packet(b"E", portal.encode() + b"\0" + struct.pack(">i", rows))


def C(kind, name=""):
    return packet(b"C", kind.encode() + name.encode() + b"\0")


def data(text):
    return packet(b"d", text.encode() if isinstance(text, str) else text)


DONE = packet(b"c", b"")


def fail(why):
    return packet(b"f", why.encode() + b"\0")


def i4(n):
    return struct.pack(">i", n)


# name: messages. Answers are read until as many ReadyForQuery as there are Query and Sync, or the end.
SCENARIOS = {
    "empty query": [Q(""), Q(";"), Q(" -- nothing")],
    "several statements": [Q("SELECT 1; SELECT 'a' AS b; INSERT INTO q VALUES (1, 'x') RETURNING a"), Q("SELECT * FROM q")],
    "an error ends a string and undoes it": [Q("INSERT INTO q VALUES (2, 'y'); SELECT 1/(id-id) FROM p; SELECT 3"), Q("SELECT * FROM q WHERE a = 2")],
    "a block in a string": [Q("BEGIN; INSERT INTO q VALUES (3, 'z'); COMMIT; SELECT 1/(id-id) FROM p"), Q("SELECT * FROM q WHERE a = 3")],
    "BEGIN takes what came before it in the string": [Q("INSERT INTO q VALUES (4, ''); BEGIN; SELECT 1/(id-id) FROM p"), Q("ROLLBACK"),
                                                      Q("SELECT * FROM q WHERE a = 4")],
    "syntax error anywhere in a string runs nothing": [Q("INSERT INTO q VALUES (5, ''); SELEC 1"), Q("SELECT * FROM q WHERE a = 5")],
    "COMMIT alone warns": [Q("COMMIT"), Q("ROLLBACK"), Q("BEGIN"), Q("BEGIN"), Q("COMMIT")],
    "a whole cycle": [P("SELECT id, v FROM p WHERE id = $1"), D("S"), B("3"), D("P"), E(), C("P"), C("S"), S],
    "no rows, no shape": [P("INSERT INTO q VALUES ($1, $2)"), D("S"), B("6", "s"), D("P"), E(), S],
    "an empty statement": [P(""), D("S"), B(), D("P"), E(), S],
    "two statements in one Parse": [P("SELECT 1; SELECT 2"), S],
    "an error skips to Sync": [P("SELEC"), B(), D("P"), E(), P("SELECT 1"), H, S, Q("SELECT 2")],
    "Flush": [P("SELECT 1"), H, B(), H, E(), H, S],
    "a type that cannot be known": [P("SELECT $1"), D("S"), S, P("SELECT $1 || $2"), D("S"), S, P("SELECT $1::text, $3::int"), D("S"), S],
    "types given": [P("SELECT $1, $2", types=(23, 25)), D("S"), B("1", None), E(), S],
    "types inferred": [P("SELECT id FROM p WHERE id + $1 = $2 AND v LIKE $3 AND $4 LIMIT $5"), D("S"), S],
    "wrong number of parameters": [P("SELECT $1::int"), B(), S, P("SELECT 1"), B("1"), S],
    "wrong number of formats": [P("SELECT $1::int, $2::int"), B("1", "2", formats=(0, 0, 0)), S, P("SELECT 1"), B(results=(0, 0)), E(), S],
    "a format that is not there": [P("SELECT $1::int"), B("1", formats=(2,)), S, ],
    "parameters that cannot be read": [P("SELECT $1::int"), B("x"), E(), S, B(b"\0\0", formats=(1,)), E(), S,
                                       P("SELECT $1::text"), B(b"\xff"), E(), S],
    "a null and an empty parameter": [P("SELECT $1::text IS NULL, $2::text"), B(None, ""), E(), S],
    "no such statement, no such portal": [B(name="nope"), S, D("S", "nope"), S, D("P", "nope"), S, E("nope"), S, C("S", "nope"),
                                          C("P", "nope"), S, D("X"), S],
    "names twice": [P("SELECT 1", "n1"), P("SELECT 2", "n1"), S, C("S", "n1"), P("SELECT 3", "n1"), B(portal="p1", name="n1"),
                    B(portal="p1", name="n1"), S],
    "unnamed things are replaced": [P("SELECT 1"), P("SELECT 2"), B(), B(), E(), S],
    "a query drops the unnamed statement": [P("SELECT 1"), S, Q("SELECT 2"), B(), E(), S],
    "row limits": [P("SELECT id FROM p ORDER BY id"), B(), E(rows=3), E(rows=3), E(rows=10), E(rows=1), S],
    "row limits that fit exactly": [P("SELECT id FROM p ORDER BY id"), B(), E(rows=10), E(rows=1), E(), S],
    "a limit over all": [P("SELECT id FROM p ORDER BY id"), B(), E(rows=100), S],
    "a statement that ran is over": [P("INSERT INTO q VALUES (7, 'once')"), B(), E(), E(), S, Q("SELECT * FROM q WHERE a = 7")],
    "BEGIN ran is over": [P("BEGIN"), B(), E(), E(), S, Q("ROLLBACK")],
    "portals end with the transaction": [P("SELECT id FROM p ORDER BY id", "st"), B(portal="c", name="st"), E("c", 2), S, E("c", 2), S],
    "portals in a block": [Q("BEGIN"), P("SELECT id FROM p ORDER BY id", "st"), B(portal="c", name="st"), E("c", 2), S, E("c", 2), S,
                           Q("FETCH 1 FROM c"), E("c", 1), S, Q("COMMIT"), E("c", 2), S],
    "COMMIT within a pipeline ends portals": [Q("BEGIN"), P("SELECT id FROM p ORDER BY id", "st"), B(portal="c", name="st"), E("c", 2),
                                              P("COMMIT"), B(), E(), E("c", 2), S],
    # an error in a later row comes with the first: a portal that is left suspended has read its whole result (doc/sql.md)
    "a failed statement's portal": [Q("BEGIN"), P("SELECT 1/(id - 1) FROM p ORDER BY id"), B(portal="c"), E("c", 2), S, E("c", 2), S,
                                    E("c", 2), S, Q("ROLLBACK")],
    "in a failed block": [Q("BEGIN"), Q("SELECT 1/(id-id) FROM p"), P("SELECT 1"), S, P("ROLLBACK"), D("S"), B(), E(), S, P("SELECT 1"), B(), E(), S],
    "prepared before a block fails": [P("SELECT 1", "ok"), S, Q("BEGIN"), Q("SELECT 1/(id-id) FROM p"), B(name="ok"), S, D("S", "ok"), S, C("S", "ok"), S,
                                      Q("COMMIT"), B(name="ok"), E(), S],
    "a pipeline is one transaction": [P("INSERT INTO q VALUES (8, 'a')"), B(), E(), P("INSERT INTO q VALUES (9, 'b')"), B(), E(),
                                      P("SELECT 1/(id-id) FROM p"), B(), E(), P("INSERT INTO q VALUES (10, 'c')"), B(), E(), S,
                                      Q("SELECT * FROM q WHERE a IN (8, 9, 10)")],
    "a pipeline with Syncs": [P("INSERT INTO q VALUES (11, 'a')"), B(), E(), S, P("SELECT 1/(id-id) FROM p"), B(), E(), S,
                              P("INSERT INTO q VALUES (12, 'c')"), B(), E(), S, Q("SELECT * FROM q WHERE a IN (11, 12) ORDER BY 1")],
    "BEGIN in a pipeline": [P("INSERT INTO q VALUES (13, 'a')"), B(), E(), P("BEGIN"), B(), E(), P("INSERT INTO q VALUES (14, 'b')"), B(), E(), S,
                            Q("ROLLBACK"), Q("SELECT * FROM q WHERE a IN (13, 14)")],
    "COMMIT in a pipeline": [P("INSERT INTO q VALUES (15, 'a')"), B(), E(), P("COMMIT"), B(), E(), P("INSERT INTO q VALUES (16, 'b')"), B(), E(),
                             P("SELECT 1/(id-id) FROM p"), B(), E(), S, Q("SELECT * FROM q WHERE a IN (15, 16)")],
    "ROLLBACK in a pipeline": [P("INSERT INTO q VALUES (17, 'a')"), B(), E(), P("ROLLBACK"), B(), E(), S, Q("SELECT * FROM q WHERE a = 17")],
    "a unique violation in a pipeline": [P("INSERT INTO p VALUES ($1, 'x')", "ins"), B("50", name="ins"), E(), B("50", name="ins"), E(),
                                         B("51", name="ins"), E(), S, Q("SELECT * FROM p WHERE id >= 50")],
    "savepoints need a block": [P("SAVEPOINT a"), B(), E(), S, Q("SAVEPOINT a"), Q("SELECT 1; SAVEPOINT a")],
    "savepoints": [Q("BEGIN"), Q("SAVEPOINT a"), P("SELECT 1/(id-id) FROM p"), B(), E(), S, P("ROLLBACK TO a"), B(), E(), S, Q("SELECT 1"), Q("RELEASE a"),
                   Q("RELEASE a"), Q("ROLLBACK")],
    "COPY in by the simple protocol": [Q("COPY q FROM STDIN"), data("20\tx\n21\t\\N\n"), data("22\t"), data("split\n"), DONE,
                                       Q("SELECT * FROM q WHERE a BETWEEN 20 AND 29 ORDER BY 1")],
    "COPY in, then more of the string": [Q("COPY q FROM STDIN; SELECT 5; COPY q FROM STDIN"), data("30\tx\n"), DONE, data("31\ty\n"), DONE],
    "COPY in that the client fails": [Q("COPY q FROM STDIN"), data("40\tx\n"), fail("no more"), Q("SELECT count(*) FROM q WHERE a = 40")],
    "COPY in with bad data": [Q("COPY q FROM STDIN"), data("x\ty\n"), data("1\n"), DONE, Q("SELECT 1"),
                              Q("COPY q FROM STDIN"), data("1\n"), DONE, Q("COPY q FROM STDIN"), data("1\t2\t3\n"), DONE],
    "COPY in of csv": [Q("COPY q FROM STDIN (FORMAT csv, HEADER)"), data("a,b\n60,\"x, \"\"y\"\"\"\n61,\n62,\"\"\n"), DONE,
                       Q("SELECT a, b, b IS NULL FROM q WHERE a BETWEEN 60 AND 69 ORDER BY 1")],
    "COPY in by the extended protocol": [P("COPY q FROM STDIN"), D("S"), B(), D("P"), E(), data("70\tx\n"), DONE, S, Q("SELECT * FROM q WHERE a = 70")],
    "COPY in, extended, failed by the client": [P("COPY q FROM STDIN"), B(), E(), data("71\tx\n"), fail("stop"), S, Q("SELECT * FROM q WHERE a = 71")],
    "COPY in, extended, bad data": [P("COPY q FROM STDIN"), B(), E(), data("x\ty\n"), data("72\tz\n"), DONE, S, Q("SELECT 1")],
    "COPY in within a pipeline": [P("INSERT INTO q VALUES (73, 'before')"), B(), E(), P("COPY q FROM STDIN"), B(), E(), data("74\tx\n"), DONE,
                                  P("SELECT 1/(id-id) FROM p"), B(), E(), S, Q("SELECT * FROM q WHERE a IN (73, 74)")],
    "Sync and Flush during COPY mean nothing": [Q("COPY q FROM STDIN"), H, data("75\tx\n"), H, DONE, Q("SELECT a FROM q WHERE a = 75")],
    "a stray CopyData and CopyDone": [data("x"), DONE, fail("x"), Q("SELECT 1")],
    "COPY out": [Q("COPY (SELECT id, v FROM p WHERE id < 4 ORDER BY id) TO STDOUT"), Q("COPY p TO STDOUT (FORMAT csv, HEADER)"),
                 Q("COPY (SELECT 1::int, 'x'::text, NULL::text) TO STDOUT (FORMAT binary)")],
    "COPY out by the extended protocol": [P("COPY (SELECT id FROM p ORDER BY id LIMIT 2) TO STDOUT"), D("S"), B(), D("P"), E(), S],
    "COPY binary in": [Q("COPY q FROM STDIN (FORMAT binary)"),
                       data(b"PGCOPY\n\xff\r\n\0" + i4(0) + i4(0) + b"\0\2" + i4(4) + i4(80) + i4(2) + b"hi" + b"\0\2" + i4(4) + i4(81) + i4(-1) + b"\xff\xff"),
                       DONE, Q("SELECT * FROM q WHERE a BETWEEN 80 AND 89 ORDER BY 1")],
    "DECLARE and FETCH by the extended protocol": [Q("BEGIN"), P("DECLARE cu CURSOR FOR SELECT id FROM p ORDER BY id"), B(), D("P"), E(), S,
                                                   P("FETCH 2 FROM cu"), D("S"), B(), D("P"), E(), S, D("P", "cu"), E("cu", 2), S, Q("CLOSE cu"), Q("COMMIT")],
    "PREPARE shares names with Parse": [Q("PREPARE sh AS SELECT $1::int"), D("S", "sh"), B("4", name="sh"), E(), S, P("SELECT 5", "sh2"), S,
                                        Q("EXECUTE sh2"), Q("DEALLOCATE sh2"), B(name="sh2"), S],
    "a table changes under a statement": [P("SELECT * FROM r", "rr"), S, Q("CREATE TABLE r (a int)"), P("SELECT * FROM r", "rr"), B(name="rr"), E(), S,
                                          Q("ALTER TABLE r ADD b text"), B(name="rr"), E(), S, Q("DROP TABLE r"), B(name="rr"), E(), S],
    "EXPLAIN, SHOW, SET have shapes": [P("SHOW timezone"), D("S"), B(), D("P"), E(), S, P("SET application_name = 'x'"), D("S"), B(), E(), S],
    "DISCARD ALL": [P("SELECT 1", "gone"), S, Q("DISCARD ALL"), B(name="gone"), S],
    "binary parameters and results": [
        P("SELECT $1::bool, $2::int2, $3::int4, $4::int8, $5::float8, $6::text, $7::bytea"),
        B(b"\1", b"\xff\xfe", i4(7), struct.pack(">q", -9), struct.pack(">d", 1.5), b"t\xc3\xa9", b"\0\xff", formats=(1,), results=(1,)), E(), S],
    "binary results of everything": [
        P("SELECT 12345.678::numeric, -0.00012::numeric, 'NaN'::numeric, 0::numeric(10,3), date '2020-02-29', timestamp '2020-02-29 12:00:00.5', "
          "timestamptz '2020-02-29 12:00:00+02', time '01:02:03', interval '1 mon 2 days 03:04:05.6', 'ab'::char(4), 'n'::name, 'v'::varchar(3), "
          "1.5::real, ARRAY[1, NULL, 3], ARRAY['a', ''], NULL::int, '{}'::int[], 'c'::\"char\", 5::oid, '-infinity'::timestamp"),
        B(results=(1,)), D("P"), E(), S],
    "mixed formats": [P("SELECT 1, 'x'::text, 2::int8"), B(results=(1, 0, 1)), D("P"), E(), S],
    "binary numeric in": [P("SELECT $1::numeric"), B(struct.pack(">hhhhhh", 2, 1, 0, 2, 1, 2345)[:12], formats=(1,)), E(), S,
                          B(struct.pack(">hhhhh", 1, 0, 0, 0, 10000), formats=(1,)), E(), S],
    "bytes behind the end of a value": [P("SELECT $1::int8"), B(b"\0" * 9, formats=(1,)), E(), S, P("SELECT $1::bool"), B(b"\0\0", formats=(1,)), E(), S],
    "an unknown message": [packet(b"y", b"")],
    "Terminate": [packet(b"X", b"")],
}


def fields(body):
    """Without places in the source, the bytes that are no UTF-8, and the number of a parameter: our words end before."""
    out = {chr(f[0]): f[1:].decode("utf-8", "replace") for f in body.split(b"\0") if f and chr(f[0]) not in "FLRWq"}
    out["M"] = out["M"].split(" in bind parameter")[0].split('"UTF8":')[0].removesuffix('"UTF8"')
    return out


def normal(message):
    kind, body = message
    if kind in (b"E", b"N"):
        return kind, tuple(sorted(fields(body).items()))
    if kind == b"T":
        out, at = [], 2
        while at < len(body):
            end = body.index(b"\0", at)
            out.append((body[at:end], body[end + 1:end + 5] != b"\0\0\0\0", body[end + 5:end + 19]))
            at = end + 19
        return kind, tuple(out)
    return kind, body


def answers(port, messages):
    w = Wire(port)
    w.query("SET timezone = 'UTC'")
    w.send(b"".join(messages))
    wanted = sum(m[:1] in (b"Q", b"S") for m in messages)
    out = []
    while wanted or messages[-1][:1] not in (b"Q", b"S", b"d", b"c"):
        m = w.message()
        if m is None:
            out.append((b"end", b""))
            break
        if m[0] == b"S":
            continue  # ParameterStatus: which settings are reported is ours
        if m[0] == b"d" and out and out[-1][0] == b"d":
            out[-1] = (b"d", out[-1][1] + m[1])  # how COPY's rows are cut into messages says nothing
        else:
            out.append(normal(m))
        wanted -= m[0] == b"Z"
    w.close()
    return out


def show(messages):
    return "".join("\n        %s %s" % (k.decode(), b) for k, b in messages)


def cancels(port):
    """A cancel request ends what runs, in each state, and nothing else."""
    def cancel(w):
        key = [b for k, b in w.answer if k == b"K"][0]
        s = socket.create_connection(("127.0.0.1", port), 10)
        s.sendall(struct.pack(">ii", 16, 80877102) + key)
        s.recv(1)
        s.close()

    def code_after(w, messages, wait=0.3):
        w.send(b"".join(messages))
        time.sleep(wait)
        cancel(w)
        return error_of(w.until(b"Z")).get("C")

    w = Wire(port)
    cancel(w)
    time.sleep(0.2)
    equal("cancel while idle", w.query("SELECT 1")[-1], (b"Z", b"I"))
    equal("cancel of a query", code_after(w, [Q("SELECT pg_sleep(30)")]), "57014")
    equal("cancel of an Execute", code_after(w, [P("SELECT pg_sleep(30)"), B(), E(), S]), "57014")
    equal("cancel of a long computation",
          code_after(w, [Q("SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b WHERE a + b = 3")]), "57014")
    w.query("BEGIN")
    equal("cancel in a block", code_after(w, [Q("SELECT pg_sleep(30)")]), "57014")
    equal("which is then failed", error_of(w.query("SELECT 1")).get("C"), "25P02")
    w.query("ROLLBACK")

    other = Wire(port)
    w.query("BEGIN; UPDATE p SET v = v WHERE id = 1")
    equal("cancel while waiting for a lock", code_after(other, [Q("UPDATE p SET v = v WHERE id = 1")]), "57014")
    w.query("ROLLBACK")
    equal("and the lock is free", error_of(other.query("UPDATE p SET v = v WHERE id = 1")), {})
    other.close()
    w.close()


def main():
    args = sys.argv[1:]
    if args[:1] == ["--at"]:
        port, pg_port = int(args[1]), int(args[2])
    else:
        pg_port = postgres_beside.start(lib.PORT_BASE + 200)
        port = lib.Cluster(archives=1, caches=1).base + 1
    for at in (port, pg_port):
        w = Wire(at)
        w.query("DROP TABLE IF EXISTS p, q, r")
        check(not error_of(w.query(SETUP)), "set-up at port %d" % at)
        w.close()
    only = args[3:] if args[:1] == ["--at"] else []
    for name, messages in SCENARIOS.items():
        if only and name not in only:
            continue
        ours, theirs = answers(port, messages), answers(pg_port, messages)
        check(ours == theirs, name, "ours:" + show(ours) + "\n    PostgreSQL's:" + show(theirs))
    cancels(port)
    lib.finish()


main()
