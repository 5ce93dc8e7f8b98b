"""Random statements give what PostgreSQL 15 gives: rows, names and types of columns, command tags, errors' codes and positions.

Each seed makes tables in both, then runs the same statements through both, simple and extended protocol by turns. A
refusal (0A000) of ours is no disagreement, but is counted: they stay few. ./check runs a few fixed seeds; VALENCE_LONG=1
more; SEEDS=A-B those; --at PORT POSTGRES-PORT runs against servers that are there.
"""
import os
import struct
import sys
import time
from decimal import Decimal

import lib
import postgres_beside
from lib import Wire, check, packet
from sql_generator import Generator

STATEMENTS = 60
# Which part of a statement fails first, and whether one fails that no row needs, is the planner's business.
DATA_ERRORS = ("22", "21", "23")


# Found by longer runs, or by reading: each was answered in another way once.
FOUND = """
CREATE TABLE f (id integer PRIMARY KEY, a text, b char(4), v varchar(5), i integer, n numeric)
CREATE TABLE g (id integer, x integer)
INSERT INTO f VALUES (1, 'b', 'x', 'v1', 3, 1.5), (2, 'a', '', 'v2', NULL, 2), (3, 'B', 'abcd', NULL, 5, 0.00), (4, 'a ', 'x  ', 'v1', 3, 0)
INSERT INTO g VALUES (1, 10), (2, 20), (2, NULL)
SELECT f.id FROM f LEFT JOIN g ON f.id = g.id AND (SELECT bool_or(true) FROM g h WHERE f.i = 3) LEFT JOIN (SELECT id, 1 AS one FROM g) k ON false WHERE (SELECT count(*) FROM g) > 1
SELECT min(b), max(b), min(b::char(6)), coalesce(max(b), 'none'), octet_length(max(b)) FROM f
SELECT octet_length(b), length(b), b || '|', b::text || '|', concat(b, '|'), b LIKE 'x', b LIKE 'x%', b = 'x', b = 'x '::text FROM f
SELECT array_agg(b ORDER BY id), string_agg(b, ',' ORDER BY id), string_agg(DISTINCT a, ',') FROM f
SELECT CASE WHEN i = 3 THEN b ELSE 'y'::char(2) END FROM f
SELECT b FROM f UNION SELECT 'q'::char(2)
SELECT a::varchar, a, max(b) FROM f GROUP BY 1, 2
SELECT v::text, v, v || 'x', max(b) FROM f GROUP BY v
SELECT v FROM f GROUP BY v::bpchar
SELECT (SELECT 'x'::varchar FROM g LIMIT 1)::bpchar, (SELECT 1)::bigint, v::varchar, v::text, v FROM f
SELECT s.v, s.w FROM (SELECT v, v || '' AS w FROM f) s
SELECT timestamptz '2000-01-01-08'
SELECT substring('abcdefg' SIMILAR 'a#"%#"g' ESCAPE '#'), substring('abcabc' SIMILAR '%#"b%#"%' ESCAPE '#'), substring('aabb' SIMILAR 'a*#"b*#"' ESCAPE '#'), substring('abc' SIMILAR 'abc' ESCAPE '#')
SELECT substring('abc' SIMILAR '#"a#"b#"c' ESCAPE '#')
SELECT substring('abc' FROM 'a#"%#"' FOR '#'), substring(a FROM '%' FOR '#') FROM f
SELECT to_char(-1e-5::float8, '9990.99'), to_char(-0.004, '9990.99'), 'É' ~* '[[:lower:]]', 'a' ~* '[[:upper:]]'
SELECT (date '2020-01-01', date '2020-02-01') OVERLAPS (date '2020-01-15', interval '1 day'), (NULL::date, date '2020-02-01') OVERLAPS (date '2020-01-15', date '2020-03-01')
SELECT justify_interval('1 mon -1 hour'), justify_hours('2147483647 days 24:00'), date_bin('15 min', timestamp '2020-02-11 15:44:17', '2001-01-01')
SELECT justify_interval('1 mon -1 hour'), date_bin('15 min', timestamp '2000-02-11 15:44:17', '2001-01-01')
SELECT btrim('\\x000100'::bytea, '\\x00'), sha256('abc'), overlay('\\x010203'::bytea PLACING '\\xff' FROM 2), array_to_string(ARRAY[1, NULL, 3], ',', '-')
DROP TABLE f, g
"""


class Side:
    """One server's connection; answers in a form that can be compared."""

    def __init__(self, port):
        self.wire = Wire(port)
        self.must("SET timezone = 'UTC'")
        self.must("SET client_min_messages = 'error'")

    def must(self, text):
        answer = self.wire.query(text)
        error = lib.error_of(answer)
        if error:
            raise RuntimeError("%s: %s" % (text, error))

    def run(self, text, extended):
        if not extended:
            return self.digest(self.wire.query(text))
        self.wire.send(packet(b"P", b"\0" + text.encode() + b"\0\0\0") + packet(b"B", b"\0\0\0\0\0\0\0\0") + packet(b"D", b"P\0") +
                       packet(b"E", b"\0\0\0\0\0") + packet(b"S", b""))
        return self.digest(self.wire.until(b"Z"))

    @staticmethod
    def digest(messages):
        """(shape, rows, tag or error, status)"""
        if not messages or messages[-1][0] != b"Z":
            raise RuntimeError("the connection is gone: %r" % (messages,))
        shape, rows, tag, error = None, [], None, None
        for kind, body in messages:
            if kind == b"T":
                shape = columns_of(body)
            elif kind == b"D":
                rows.append(body)
            elif kind == b"C":
                tag = body[:-1].decode()
            elif kind == b"E":
                error = lib.error_of([(kind, body)])
        return shape, rows, tag, error, messages[-1][1]


def columns_of(body):
    """[(name, type, size, modifier)] of a RowDescription; which table a column is of is compared as yes or no."""
    out, at = [], 2
    for _ in range(struct.unpack(">h", body[:2])[0]):
        end = body.index(b"\0", at)
        table, attno, oid, size, modifier, _ = struct.unpack(">ihihih", body[end + 1:end + 19])
        out.append((body[at:end].decode(), table != 0, attno, oid, size, modifier))
        at = end + 19
    return out


def readable(rows):
    out = []
    for body in rows:
        at, row = 2, []
        for _ in range(struct.unpack(">h", body[:2])[0]):
            n = struct.unpack(">i", body[at:at + 4])[0]
            row.append(None if n < 0 else body[at + 4:at + 4 + n].decode())
            at += 4 + max(n, 0)
        out.append(tuple(row))
    return out


def difference(text, ours, theirs):
    """What is not the same, in words; None: nothing."""
    o_shape, o_rows, o_tag, o_error, o_status = ours
    p_shape, p_rows, p_tag, p_error, p_status = theirs
    if o_error or p_error:
        if o_error and o_error["C"] == "0A000" and (not p_error or p_error["C"] != "0A000"):
            return "refused"
        if p_error and p_error["C"] == "0A000" and p_error["M"].startswith("FULL JOIN"):
            return None
        if not o_error or not p_error:
            if (" FROM " in text or not text.startswith("SELECT")) and (o_error or p_error)["C"][:2] == "22":
                return "uncertain"
            return "error: ours %s, PostgreSQL's %s" % (said(o_error), said(p_error))
        if o_error["C"] != p_error["C"]:
            if o_error["C"][:2] in DATA_ERRORS and p_error["C"][:2] in DATA_ERRORS:
                return None
            return "code: ours %s, PostgreSQL's %s" % (said(o_error), said(p_error))
        if o_error.get("P") != p_error.get("P") or o_error["M"] != p_error["M"]:
            if o_error["C"][:2] in DATA_ERRORS:
                return None
            return "words: ours %s, PostgreSQL's %s" % (said(o_error), said(p_error))
        return None
    if not same_shape(o_shape, p_shape):
        return "columns: ours %s, PostgreSQL's %s" % (o_shape, p_shape)
    if o_tag != p_tag or o_status != p_status:
        return "tag: ours %s %s, PostgreSQL's %s %s" % (o_tag, o_status, p_tag, p_status)
    if not ordered(text):
        o_rows, p_rows = sorted(o_rows), sorted(p_rows)
    if o_rows != p_rows and one_of_equals(text, o_shape, o_rows, p_rows):
        return None
    if o_rows != p_rows:
        ours_only = [r for r in readable(o_rows) if r not in readable(p_rows)][:3]
        theirs_only = [r for r in readable(p_rows) if r not in readable(o_rows)][:3]
        return "rows: ours %d, PostgreSQL's %d; only ours %s, only PostgreSQL's %s" % (len(o_rows), len(p_rows), ours_only, theirs_only)
    return None


def ordered(text):
    return "ORDER BY" in text.rsplit(")", 1)[-1]


EQUALS = {1700: lambda v: str(Decimal(v).normalize() + 0), 1042: lambda v: v.rstrip(), 1186: lambda v: ""}


def one_of_equals(text, shape, ours, theirs):
    """0 and 0.00 are equal: where one stands for all, or they are sorted, either may be the one that is seen."""
    folded = any(word in text for word in ("DISTINCT", "GROUP BY", "UNION", "EXCEPT", "INTERSECT", "min(", "max("))
    if not folded and sorted(ours) != sorted(theirs):
        return False

    def plain(rows):
        out = [tuple(v if v is None or c[3] not in EQUALS else EQUALS[c[3]](v) for v, c in zip(row, shape))
               for row in readable(rows)]
        return out if ordered(text) else sorted(out, key=repr)
    return plain(ours) == plain(theirs)


def same_shape(ours, theirs):
    """PostgreSQL folds constants before it describes a portal: a coalesce() may then have the modifier of one argument."""
    if not ours or not theirs:
        return ours == theirs
    return len(ours) == len(theirs) and all(a[:-1] == b[:-1] and a[-1] in (b[-1], -1) for a, b in zip(ours, theirs))


def said(error):
    return "none" if not error else "%s at %s: %s" % (error["C"], error.get("P"), error["M"])


class Comparison:
    def __init__(self, ours, theirs):
        self.ours, self.theirs = ours, theirs
        self.statements = self.errors = self.uncertain = 0
        self.refused, self.bad = {}, []

    def run(self, text, extended=False):
        ours, theirs = self.ours.run(text, extended), self.theirs.run(text, extended)
        self.statements += 1
        self.errors += theirs[3] is not None
        what = difference(text, ours, theirs)
        if what == "refused":
            m = ours[3]["M"]
            self.refused[m] = self.refused.get(m, 0) + 1
            if theirs[2] and theirs[2].split()[0] in ("INSERT", "UPDATE", "DELETE", "CREATE"):
                self.bad.append((text, "refused a change: " + m))
        elif what == "uncertain":
            self.uncertain += 1
        elif what:
            self.bad.append((text, what))
        return what is None

    def disagreed(self):
        return bool(self.bad)


def change(both, g, text, extended):
    """In a block, alone or under a savepoint; where the two disagree, neither keeps it: the rows stay the same."""
    kind = g.r.randrange(3)
    if kind == 0 and not both.disagreed():
        both.run(text, extended)
        return
    both.run("BEGIN")
    if kind == 1:
        both.run("SAVEPOINT s")
        both.run(text, extended)
        both.run("ROLLBACK TO s", extended)
        both.run("ROLLBACK")
        return
    both.run("COMMIT" if both.run(text, extended) else "ROLLBACK")


def one_seed(both, seed, statements=STATEMENTS):
    g = Generator(seed)
    for k in range(4):
        for text in g.create(k):
            if not both.run(text):
                return
    for i in range(statements):
        extended = g.chance(40)
        if g.chance(25):
            table, text = g.change()
            change(both, g, text, extended)
            both.run("SELECT * FROM %s" % table.name)
        else:
            both.run(g.select(), extended)
    for table in g.tables:
        both.run("DROP TABLE %s" % table.name)


def main():
    args = sys.argv[1:]
    if args[:1] == ["--at"]:
        port, pg_port = int(args[1]), int(args[2])
    else:
        pg_port = postgres_beside.start(lib.PORT_BASE + 200)
        port = lib.Cluster(archives=1, caches=1).base + 1
    first, last = (int(x) for x in os.environ.get("SEEDS", "1-400" if os.environ.get("VALENCE_LONG") else "1-20").split("-"))
    both = Comparison(Side(port), Side(pg_port))
    start = time.monotonic()
    for text in FOUND.strip().splitlines():
        both.run(text)
    for text, what in both.bad:
        check(False, text, what)
    both.bad = []
    for seed in range(first, last + 1):
        one_seed(both, seed)
        for text, what in both.bad:
            check(False, "seed %d: %s" % (seed, text), what)
        both.bad = []
    print("     %d statements, %d of them errors, %d refused, %.0f s" % (both.statements, both.errors, sum(both.refused.values()),
                                                                       time.monotonic() - start))
    for m, n in sorted(both.refused.items(), key=lambda x: -x[1])[:10]:
        print("     refused %d times: %s" % (n, m))
    check(both.uncertain * 100 < both.statements, "few statements fail in one only, by an error of data")
    check(sum(both.refused.values()) * 20 < both.statements, "few statements are refused")
    check(both.errors * 3 < both.statements, "most statements are no errors")
    lib.finish()


main()
