"""psycopg2 and psql as programs use them: types there and back, COPY, errors, transactions, cursors, psql's \\d."""
import datetime
import decimal
import io
import math
import subprocess

import psycopg2
import psycopg2.extras

import lib
from lib import check, equal, has
from valence_cluster import Cluster

D = decimal.Decimal
UTC = datetime.timezone.utc
COLUMNS = [("i2", "smallint"), ("i4", "integer"), ("i8", "bigint"), ("r4", "real"), ("r8", "double precision"),
           ("n", "numeric"), ("n2", "numeric(12,2)"), ("b", "boolean"), ("t", "text"), ("v", "varchar(20)"), ("c", "char(5)"),
           ("d", "date"), ("ts", "timestamp"), ("tz", "timestamptz"), ("tm", "time"), ("iv", "interval"), ("by", "bytea"),
           ("ai", "integer[]"), ("at", "text[]")]
VALUES = [
    (-32768, -2**31, -2**63, 1.5, 0.1, D("-123456789012345678901234567890.123456789"), D("-9999999999.99"), True,
     "Grüße, мир 🌍 \\ ' \" \t\n", "x" * 20, "abc  ", datetime.date(1, 1, 1), datetime.datetime(1970, 1, 1, 0, 0, 0, 1),
     datetime.datetime(2024, 2, 29, 23, 59, 59, 999999, UTC), datetime.time(23, 59, 59, 999999),
     datetime.timedelta(days=-3, hours=4, microseconds=5), bytes(range(256)), [1, None, -3], ["", "a,b", 'q"uote', "back\\slash", None, "NULL"]),
    (32767, 2**31 - 1, 2**63 - 1, math.inf, -math.inf, D("NaN"), D("0.01"), False, "", "", "     ",
     datetime.date(9999, 12, 31), datetime.datetime(9999, 12, 31, 23, 59, 59, 999999),
     datetime.datetime(1900, 1, 1, tzinfo=UTC), datetime.time(0, 0), datetime.timedelta(0), b"", [], []),
    (0, 0, 0, 0.0, 5e-324, D("0"), D("0.00"), None, None, None, None, None, None, None, None, None, None, None, None),
]


def connect(cluster, engine):
    return cluster.connect(engine, autocommit=False)


def round_trips(cluster):
    """What one engine stores, each engine gives back, as the same python values."""
    c = connect(cluster, "c1")
    cur = c.cursor()
    cur.execute("create table kinds (id serial primary key, %s)" % ", ".join("%s %s" % x for x in COLUMNS))
    names = ", ".join(name for name, _ in COLUMNS)
    marks = ", ".join("cast(%s as " + kind + ")" for _, kind in COLUMNS)
    for row in VALUES:
        cur.execute("insert into kinds (%s) values (%s) returning id" % (names, marks), row)
        check(cur.fetchone()[0] > 0, "RETURNING a serial's value")
    cur.execute("insert into kinds (t) values (%s)", (None,))
    c.commit()
    c.close()
    cluster.level()
    for engine in cluster.names:
        c = connect(cluster, engine)
        cur = c.cursor()
        cur.execute("set time zone 'UTC'")
        cur.execute("select %s from kinds order by id" % names)
        got = cur.fetchall()
        equal(engine + ": rows", len(got), len(VALUES) + 1)
        for k, row in enumerate(VALUES):
            for (name, kind), want, value in zip(COLUMNS, row, got[k]):
                if isinstance(value, memoryview):
                    value = bytes(value)
                same = value == want or (isinstance(want, D) and want.is_nan() and value.is_nan())
                check(same and type(value) is type(want), "%s: row %d, %s" % (engine, k, kind), value, want)
        equal(engine + ": a row of nulls", set(got[-1]), {None})
        c.close()


def descriptions(cluster):
    """Drivers choose by type oid, length and modifier: PostgreSQL's."""
    c = connect(cluster, "c2")
    cur = c.cursor()
    cur.execute("select i2, i4, i8, r4, r8, n, n2, b, t, v, c, d, ts, tz, tm, iv, by, ai, at from kinds limit 0")
    equal("type oids", [x.type_code for x in cur.description],
          [21, 23, 20, 700, 701, 1700, 1700, 16, 25, 1043, 1042, 1082, 1114, 1184, 1083, 1186, 17, 1007, 1009])
    equal("precision and scale", (cur.description[6].precision, cur.description[6].scale), (12, 2))
    equal("names", [x.name for x in cur.description], [n for n, _ in COLUMNS])
    equal("rowcount of no row", cur.rowcount, 0)
    c.close()


def transactions(cluster):
    c = connect(cluster, "c1")
    cur = c.cursor()
    cur.execute("create table tx (k int primary key, v text)")
    c.commit()
    cur.executemany("insert into tx values (%s, %s)", [(i, "v%d" % i) for i in range(10)])
    c.rollback()
    cur.execute("select count(*) from tx")
    equal("a rollback undoes all", cur.fetchone(), (0,))
    psycopg2.extras.execute_values(cur, "insert into tx values %s", [(i, "v%d" % i) for i in range(1000)])
    cur.execute("savepoint a")
    cur.execute("update tx set v = 'changed' where k < 100")
    equal("rowcount of UPDATE", cur.rowcount, 100)
    cur.execute("rollback to savepoint a")
    cur.execute("delete from tx where k >= 990")
    equal("rowcount of DELETE", cur.rowcount, 10)
    c.commit()
    cur.execute("select count(*), count(*) filter (where v = 'changed') from tx")
    equal("a savepoint undoes what came after it", cur.fetchone(), (990, 0))
    with c:
        cur.execute("insert into tx values (5, 'x') on conflict (k) do update set v = excluded.v || '!' returning v")
        equal("ON CONFLICT DO UPDATE", cur.fetchall(), [("x!",)])
    c.close()


def errors(cluster):
    """SQLSTATE, fields and state as a driver expects; the connection can be used afterwards."""
    c = connect(cluster, "c2")
    cur = c.cursor()
    for text, code in [("insert into tx values (1, 'again')", "23505"), ("insert into tx values (null, '')", "23502"),
                       ("select * from nowhere", "42P01"), ("select nothing from tx", "42703"), ("selec 1", "42601"),
                       ("select 1/0", "22012"), ("select 'x'::int", "22P02"), ("select 99999999999::int", "22003"),
                       ("create table tx (k int)", "42P07"), ("select nofunction(1)", "42883"),
                       ("insert into kinds (v) values (repeat('x', 21))", "22001")]:
        try:
            cur.execute(text)
            check(False, "an error: " + text)
        except psycopg2.Error as e:
            equal("SQLSTATE of " + text, e.pgcode, code)
        try:
            cur.execute("select 1")
            check(False, "a failed transaction takes no statement")
        except psycopg2.errors.InFailedSqlTransaction:
            pass
        c.rollback()
    try:
        cur.execute("insert into tx values (1, 'again')")
    except psycopg2.errors.UniqueViolation as e:
        equal("constraint, table and schema of an error", (e.diag.constraint_name, e.diag.table_name, e.diag.schema_name),
              ("tx_pkey", "tx", "public"))
        has("detail of an error", e.diag.message_detail, "(k)=(1)")
    c.rollback()
    cur.execute("select count(*) from tx")
    equal("no error changed anything", cur.fetchone(), (990,))
    c.close()


def copies(cluster):
    c = connect(cluster, "c1")
    cur = c.cursor()
    cur.execute("create table copied (k int primary key, v text, n numeric)")
    lines = "".join("%d\t%s\t%s\n" % (i, "\\N" if i % 7 == 0 else "v\\t%d" % i, D(i) / 8) for i in range(5000))
    cur.copy_expert("copy copied from stdin", io.StringIO(lines))
    equal("rowcount of COPY FROM", cur.rowcount, 5000)
    out = io.StringIO()
    cur.copy_expert("copy (select * from copied order by k) to stdout", out)
    equal("COPY TO gives what COPY FROM got", out.getvalue(), lines)
    c.commit()
    cluster.level()
    other = connect(cluster, "c2")
    out = io.StringIO()
    other.cursor().copy_expert("copy (select k, v from copied where k < 10 order by k) to stdout with (format csv, header)",
                               out)
    equal("COPY TO csv at another engine", out.getvalue(), "k,v\n" + "".join(
        "%d,%s\n" % (i, "" if i % 7 == 0 else "v\t%d" % i) for i in range(10)))
    other.close()
    try:
        cur.copy_expert("copy copied from stdin", io.StringIO("5001\tx\t1\n5002\ty\tnot a number\n"))
        check(False, "COPY of a wrong line fails")
    except psycopg2.Error as e:
        equal("SQLSTATE of a wrong line of COPY", e.pgcode, "22P02")
        has("where COPY failed", str(e), "line 2")
    c.rollback()
    cur.execute("select count(*) from copied")
    equal("a COPY that failed copied nothing", cur.fetchone(), (5000,))
    out = io.BytesIO()
    cur.copy_expert("copy copied to stdout (format binary)", out)
    cur.execute("create table copied2 (k int primary key, v text, n numeric)")
    cur.copy_expert("copy copied2 from stdin (format binary)", io.BytesIO(out.getvalue()))
    cur.execute("select count(*) from copied a join copied2 b on a.k = b.k and a.v is not distinct from b.v and a.n = b.n")
    equal("COPY in binary there and back", cur.fetchone(), (5000,))
    c.rollback()
    c.close()


def cursors(cluster):
    c = connect(cluster, "c2")
    cur = c.cursor("named")  # DECLARE CURSOR and FETCH
    cur.itersize = 700
    cur.execute("select k from copied order by k")
    equal("a server-side cursor gives every row in order", [r[0] for r in cur], list(range(5000)))
    c.rollback()
    cur = c.cursor()
    cur.execute("prepare p (int) as select v from tx where k = $1")
    cur.execute("execute p (7)")
    equal("PREPARE and EXECUTE", cur.fetchall(), [("v7",)])
    cur.execute("select %s::int, %s, %s::text = any(%s)", (1, "a'b\\c", "x", ["x", "y"]))
    equal("parameters bound by the driver", cur.fetchone(), (1, "a'b\\c", True))
    c.cancel()
    c.rollback()
    cur.execute("set statement_timeout = 100")
    try:
        cur.execute("select pg_sleep(20)")
        check(False, "statement_timeout")
    except psycopg2.errors.QueryCanceled:
        c.rollback()
    check(c.server_version >= 150000, "a server version that drivers know", c.server_version)
    c.close()


def psql(cluster, engine, *args):
    done = subprocess.run(["psql", "-X", "-h", "127.0.0.1", "-p", str(cluster.port(engine)), "-U", "valence", "-d", "valence",
                           *args], capture_output=True, text=True, timeout=30 * lib.SLOW, check=False)
    return done.stdout + done.stderr


def slash_d(cluster):
    psql(cluster, "c1", "-c", "create table shown (a int primary key, b varchar(10) not null default 'x', n numeric(10,2)"
         " check (n > 0), u text unique)", "-c", "create index shown_n on shown (n, b desc)",
         "-c", "create sequence steps")
    for command, parts in [
            ("\\d shown", ['Table "public.shown"', "a      | integer", "character varying(10)", "not null",
                           '"shown_pkey" PRIMARY KEY, btree (a)', '"shown_u_key" UNIQUE CONSTRAINT, btree (u)',
                           '"shown_n" btree (n, b DESC)', "Check constraints:", "'x'::character varying"]),
            ("\\d+ shown", ['Table "public.shown"', "Storage", "Access method: heap"]),
            ("\\d shown_n", ['Index "public.shown_n"', 'btree, for table "public.shown"']),
            ("\\d steps", ['Sequence "public.steps"', "bigint"]),
            ("\\dt", ["public | shown", "| table |"]), ("\\di", ["shown_pkey", "shown_n"]),
            ("\\ds", ["steps"]), ("\\d", ["shown", "steps"]), ("\\dn", ["public"]), ("\\l", ["valence"]),
            ("\\du", ["valence"]), ("\\df", ["List of functions"]), ("\\dT", ["List of data types"]),
            ("\\dt+", ["shown"]), ("\\conninfo", ['database "valence"'])]:
        out = psql(cluster, "c2", "-c", command)
        for part in parts:
            has("psql %s shows %s" % (command, part), out, part)
        check("ERROR" not in out, "psql %s without error" % command, out)


def main():
    cluster = Cluster(caches=2)
    for part in (round_trips, descriptions, transactions, errors, copies, cursors, slash_d):
        print("-- " + part.__name__, flush=True)
        try:
            part(cluster)
        except (psycopg2.Error, AssertionError) as e:
            check(False, part.__name__ + " ran to its end", type(e).__name__, str(e).strip())
    cluster.check_atoms("afterwards")


main()
lib.finish()
