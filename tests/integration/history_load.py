"""history_load.py - clients that append to lists and write registers at every isolation level, and the history of what they saw.

The tables: hl(k, v text) of lists, a value behind a comma each; hr(k, v bigint) of registers. Every value is new. The
history is a file for `valence history` (src/history/README has the format), which says whether the levels allow it.
"""
import os
import random
import shutil
import threading
import time

import psycopg2

import lib
from lib import check, equal
from valence_cluster import IDLE, lost, say

SLOTS = 8       # keys in use at a time
LIST_MAX = 40   # elements, then another key takes its place
RETRY = ("40001", "40P01", "72000")   # serialization failure, deadlock, snapshot too old
AWAY = ("57P03", "VN001", "53100")    # between two memberships, no majority of the archives, no room
LEVELS = {"rc": "read committed", "rr": "repeatable read", "ser": "serializable"}
TABLES = ("create table hl (k int primary key, v text not null)", "create table hr (k int primary key, v bigint not null)")


class Keys:
    """The keys that all clients use now, and values that nobody has written."""

    def __init__(self):
        self.lock = threading.Lock()
        self.slots = [[k + 1, 0] for k in range(SLOTS)]
        self.count, self.values, self.processes = SLOTS, 0, 0

    def value(self):
        with self.lock:
            self.values += 1
            return self.values

    def process(self):
        with self.lock:
            self.processes += 1
            return self.processes

    def pick(self, rng, hot):
        return self.slots[rng.randrange(2 if rng.random() < hot else SLOTS)][0]

    def appended(self, key):
        with self.lock:
            for slot in self.slots:
                if slot[0] == key:
                    slot[1] += 1
                    if slot[1] >= LIST_MAX:
                        self.count += 1
                        slot[:] = [self.count, 0]


def now_us():
    return time.monotonic_ns() // 1000


def told(key, rows, a_list):
    """What a statement that found these rows says of the key."""
    if a_list:
        return "l%d?[%s]" % (key, rows.get(key, ""))
    return "r%d?%s" % (key, rows.get(key, "nil"))


class Client(threading.Thread):
    def __init__(self, load, number, engines):
        super().__init__(daemon=True)
        self.load, self.number, self.engines = load, number, engines
        self.random = random.Random(number)
        self.connection, self.doing = None, "nothing yet"
        self.done, self.unexpected, self.codes = {}, [], {}
        self.last_done = time.monotonic()
        self.file = open(load.path + ".%d" % number, "w", encoding="ascii")

    # -- one session

    def open(self):
        engine = self.random.choice(self.engines)
        try:
            self.doing = "connecting to " + engine
            self.connection = self.load.cluster.connect(engine, timeout=5)
            self.engine, self.process = engine, self.load.keys.process()
            self.latest = self.random.random() < 0.3
            with self.connection.cursor() as cursor:
                cursor.execute("set valence.read_consistency = '%s'" % ("latest" if self.latest else "local"))
                cursor.execute("prepare read_list as select k, v from hl where k = $1")
                cursor.execute("prepare append as update hl set v = v || ',' || $2 where k = $1")
                cursor.execute("prepare write as update hr set v = $2 where k = $1")
        except psycopg2.Error:
            self.close()
            time.sleep(0.05)

    def close(self):
        if self.connection:
            try:
                self.connection.close()
            except psycopg2.Error:
                pass
        self.connection = None

    def event(self, what):
        self.file.write("%d %d %s\n" % (now_us(), self.process, what))

    # -- one statement: the operations that it is, if it has the effect that it should have; and what it was found to be

    def keys(self, most):
        return sorted({self.load.keys.pick(self.random, self.load.hot) for _ in range(self.random.randint(1, most))})

    def write_key(self, a_list):
        if self.last and self.last[1] == a_list and self.random.random() < 0.5:
            return self.last[0]
        return self.load.keys.pick(self.random, self.load.hot)

    def read(self, cursor):
        a_list = self.random.random() < 0.6
        table = "hl" if a_list else "hr"
        keys, predicate = self.keys(4), ""
        how = self.random.randrange(5)
        if how == 0:
            slots = [s[0] for s in self.load.keys.slots]
            lo, hi = min(keys[0], max(slots)), max(keys[-1], min(slots))
            keys, predicate = [k for k in slots if lo <= k <= hi], "* "
            cursor.execute("select k, v from %s where k >= %d and k <= %d" % (table, lo, hi))
        elif how == 1 and a_list:
            keys = keys[:1]
            cursor.execute("execute read_list (%d)" % keys[0])
        else:
            cursor.execute("select k, v from %s where k in (%s)%s" % (
                table, ", ".join(map(str, keys)), " for update" if how == 2 else ""))
        rows = dict(cursor.fetchall())
        self.last = (keys[0], a_list) if keys else None
        return predicate + " ".join(told(k, rows, a_list) for k in keys)

    def write(self, cursor, attempt):
        a_list = self.random.random() < 0.6
        key, value, how = self.write_key(a_list), self.load.keys.value(), self.random.randrange(3)
        told_as = "l%d+=%d" % (key, value) if a_list else "r%d=%d" % (key, value)
        attempt.append(told_as)
        if how == 0:
            cursor.execute("execute %s (%d, %s)" % ("append" if a_list else "write", key, "'%d'" % value if a_list else value))
        elif how == 1 and a_list:
            cursor.execute("update hl set v = v || ',%d' where k = %d returning k, v" % (value, key))
            rows = dict(cursor.fetchall())
            if rows:
                told_as += " " + told(key, rows, True)
        elif a_list:
            cursor.execute("insert into hl values (%d, '%d') on conflict (k) do update set v = hl.v || ',' || excluded.v" % (
                key, value))
        else:
            cursor.execute("insert into hr values (%d, %d) on conflict (k) do update set v = excluded.v" % (key, value))
        if a_list and cursor.rowcount:
            self.load.keys.appended(key)
        return told_as if cursor.rowcount else ""

    def statement(self, cursor, ops):
        attempt = []
        self.doing = "a statement at " + self.engine
        try:
            ops.append(self.read(cursor) if self.random.random() < 0.5 else self.write(cursor, attempt))
        except psycopg2.Error:
            self.attempted = attempt
            raise

    # -- one transaction

    def transaction(self):
        level = self.random.choice(self.load.levels)
        single, ops, self.last, self.attempted = self.random.random() < 0.25, [], None, []
        sent = single
        self.event("invoke %s %s%s" % (self.engine, "rc" if single else level, ",latest" if self.latest else ""))
        how = "ok"
        try:
            with self.connection.cursor() as cursor:
                if single:
                    self.statement(cursor, ops)
                else:
                    cursor.execute("begin isolation level " + LEVELS[level])
                    for _ in range(self.random.randint(1, 6)):
                        self.statement(cursor, ops)
                    sent = True
                    self.doing = "commit at " + self.engine
                    cursor.execute("commit")
        except psycopg2.Error as e:
            how = "info" if sent and lost(e) else "fail"
            self.failed(e)
        if how == "info" and single:
            ops += self.attempted
        self.event(how + " " + " | ".join(ops))
        self.done[how] = self.done.get(how, 0) + 1
        if how == "ok":
            self.last_done = time.monotonic()
            self.load.engine_done(self.engine)

    def failed(self, e):
        code = e.pgcode or "lost"
        self.codes[code] = self.codes.get(code, 0) + 1
        if not lost(e) and code not in RETRY + AWAY:
            self.unexpected.append("%s at %s: %s %s" % (self.doing, self.engine, code, str(e).strip()))
        if lost(e) or code in AWAY:
            time.sleep(0.02)
        try:
            if not self.connection.closed and self.connection.info.transaction_status != IDLE:
                with self.connection.cursor() as cursor:
                    cursor.execute("rollback")
        except psycopg2.Error:
            self.close()
        if not self.connection or self.connection.closed or code in AWAY:
            self.close()

    def run(self):
        try:
            while not self.load.stopping.is_set():
                if self.connection and self.random.random() < 0.01:
                    self.close()  # to another engine
                if self.connection:
                    self.transaction()
                else:
                    self.open()
                time.sleep(self.random.random() * self.load.think)
            self.close()
            self.doing = None
        except Exception as e:  # pylint: disable=broad-except
            self.unexpected.append("client %d ends: %r" % (self.number, e))
        finally:
            self.file.close()


class Load:
    """Clients at all the engines named, from start() to finish(); then judge()."""

    def __init__(self, cluster, engines, clients=8, think=0.004, hot=0.5):
        self.cluster, self.engines, self.think, self.hot = cluster, engines, think, hot
        self.path = os.path.join(lib.TEST_DIR, "history")
        self.keys, self.stopping, self.by_engine = Keys(), threading.Event(), {}
        for text in TABLES:
            cluster.rows(engines[0], text)
        self.levels = [level for level in LEVELS if self.has(engines[0], LEVELS[level])]
        say("     levels: " + ", ".join(LEVELS[level] for level in self.levels))
        self.clients = [Client(self, i, engines) for i in range(clients)]

    def has(self, engine, level):
        """The engines may refuse a level as not built, and nothing else."""
        try:
            self.cluster.rows(engine, "begin isolation level %s; select 1; commit" % level)
            return True
        except psycopg2.Error as e:
            check(e.pgcode == "0A000" and level == "serializable", "the level %s is there, or refused" % level, e)
            return False

    def engine_done(self, engine):
        self.by_engine[engine] = self.by_engine.get(engine, 0) + 1

    def start(self):
        for c in self.clients:
            c.start()

    def count(self, how="ok"):
        return sum(c.done.get(how, 0) for c in self.clients)

    def goes_on(self, what, seconds=30, number=40):
        start, before = time.monotonic(), self.count()
        while self.count() < before + number and time.monotonic() < start + seconds * lib.SLOW:
            time.sleep(0.02)
        check(self.count() >= before + number, "the load goes on " + what, "%d transactions in %.1f s; clients: %s" % (
            self.count() - before, time.monotonic() - start, [c.doing for c in self.clients]))

    def finish(self):
        self.stopping.set()
        end = time.monotonic() + 30 * lib.SLOW
        for c in self.clients:
            c.join(max(0.1, end - time.monotonic()))
        equal("clients that never got an answer", [c.doing for c in self.clients if c.is_alive()], [])
        equal("errors that clients must not see", [u for c in self.clients for u in c.unexpected][:5], [])
        codes = {}
        for c in self.clients:
            for code, n in c.codes.items():
                codes[code] = codes.get(code, 0) + n
        say("     %d transactions committed, %d failed, %d of unknown outcome; errors %s" % (
            self.count(), self.count("fail"), self.count("info"), codes))
        say("     committed at " + ", ".join("%s %d" % e for e in sorted(self.by_engine.items())))

    def final(self, out):
        """All of it at every engine, when each has applied what any has."""
        self.cluster.level()
        keys = range(1, self.keys.count + 1)
        for name in self.cluster.names:
            process, began = self.keys.process(), now_us()
            lists, registers = (dict(self.cluster.rows(name, "select k, v from " + table)) for table in ("hl", "hr"))
            out.write("%d %d invoke %s rc,final\n" % (began, process, name))
            out.write("%d %d ok %s | %s\n" % (now_us(), process, " ".join(told(k, lists, True) for k in keys),
                                             " ".join(told(k, registers, False) for k in keys)))

    def judge(self, *flags):
        """The whole history against the level of each transaction."""
        with open(self.path, "w", encoding="ascii") as out:
            for c in self.clients:
                with open(self.path + ".%d" % c.number, encoding="ascii") as f:
                    for part in iter(lambda f=f: f.read(1 << 20), ""):
                        out.write(part)
                os.unlink(self.path + ".%d" % c.number)
            self.final(out)
        rc, text, err = lib.valence("history", *flags, self.path, timeout=600)
        if not check(rc == 0, "the history is one of the levels claimed", text[:20000], err):
            keep(self.path)
        say("     " + text.split("\n", 1)[0].replace(self.path, "history"))
        return rc == 0


def keep(path):
    """A history that was not right is kept beside the suites' logs, where there are any."""
    folder = os.path.join(os.environ.get("VALENCE_BUILD", ""), "check")
    if os.environ.get("VALENCE_BUILD") and os.path.isdir(folder):
        say("the history is kept as " + shutil.copy(path, os.path.join(folder, "history.failed")))


def damaged(path, change):
    """A copy of the history with one line changed must not pass: the check checks."""
    with open(path, encoding="ascii") as f:
        lines = f.readlines()
    for n, line in enumerate(lines):
        new = change(line)
        if new != line:
            lines[n] = new
            break
    else:
        return False
    with open(path + ".damaged", "w", encoding="ascii") as f:
        f.writelines(lines)
    rc, text, _ = lib.valence("history", path + ".damaged", timeout=600)
    os.unlink(path + ".damaged")
    return rc == 1 and "findings" in text
