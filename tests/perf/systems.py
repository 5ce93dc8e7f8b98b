"""systems.py - the systems that the scripts of this folder measure beside each other: servers of a run's own.

Valence: archives (each commit is in their journal before it is answered) and caches. PostgreSQL 15: alone, or with a
synchronous standby on the same machine. All on 127.0.0.1, under a directory that the run made, ended by pid.
"""
import os
import shutil
import subprocess
import tempfile
import time

PG = "/usr/lib/postgresql/15/bin"
VALENCE = os.environ.get("VALENCE") or os.path.join(os.environ.get("VALENCE_BUILD", "build"), "valence")


def installed():
    return os.path.exists(f"{PG}/pgbench") and os.path.exists(f"{PG}/initdb")


def directory():
    """A new one, into which the servers may."""
    base = tempfile.mkdtemp(prefix="valence-perf-")
    os.chmod(base, 0o755)
    if os.geteuid() == 0:
        shutil.chown(base, "postgres")
    return base


def sh(*args, **kw):
    return subprocess.run(args, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw).stdout


def as_postgres(*args):
    """PostgreSQL refuses to run as root."""
    if os.geteuid() == 0:
        args = ("runuser", "-u", "postgres", "--") + args
    return sh(*args, cwd="/")


def cpu_seconds(pids):
    tick = os.sysconf("SC_CLK_TCK")
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])  # and reaped children
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total / tick


def tree(pid):
    out = [pid]
    for p in subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], stdout=subprocess.PIPE, text=True).stdout.split():
        out += tree(int(p))
    return out


class Postgres:
    name = "postgresql"

    def __init__(self, base, port, standby):
        self.base, self.port, self.standby = base, port, standby
        self.dirs = []

    def start(self):
        primary = os.path.join(self.base, f"pg{self.port}")
        as_postgres(f"{PG}/initdb", "-D", primary, "-A", "trust", "-U", "postgres")
        conf = f"port={self.port}\nlisten_addresses='127.0.0.1'\nunix_socket_directories='{self.base}'\n" \
               "shared_buffers=512MB\nmax_connections=100\nmax_wal_size=4GB\n"
        with open(os.path.join(primary, "postgresql.conf"), "a") as f:
            f.write(conf)
        with open(os.path.join(primary, "pg_hba.conf"), "a") as f:
            f.write("host replication all 127.0.0.1/32 trust\n")
        as_postgres(f"{PG}/pg_ctl", "-D", primary, "-l", primary + ".log", "-w", "start")
        self.dirs.append(primary)
        if self.standby:
            second = os.path.join(self.base, f"pg{self.port}s")
            as_postgres(f"{PG}/pg_basebackup", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-D", second,
                        "-R", "-X", "stream")
            with open(os.path.join(second, "postgresql.conf"), "a") as f:
                f.write(f"port={self.port + 1}\n")
            with open(os.path.join(second, "postgresql.auto.conf"), "a") as f:
                f.write(f"primary_conninfo='host=127.0.0.1 port={self.port} user=postgres application_name=s1'\n")
            as_postgres(f"{PG}/pg_ctl", "-D", second, "-l", second + ".log", "-w", "start")
            self.dirs.append(second)
            with open(os.path.join(primary, "postgresql.auto.conf"), "a") as f:
                f.write("synchronous_standby_names='s1'\nsynchronous_commit='on'\n")
            as_postgres(f"{PG}/pg_ctl", "-D", primary, "reload")
            for _ in range(100):
                if "sync" in sh("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-tAc",
                                "select sync_state from pg_stat_replication"):
                    break
                time.sleep(0.1)
            else:
                raise RuntimeError("the standby is not synchronous")

    def pids(self):
        out = []
        for d in self.dirs:
            with open(os.path.join(d, "postmaster.pid")) as f:
                out += tree(int(f.readline()))
        return out

    def stop(self):
        for d in reversed(self.dirs):
            try:
                as_postgres(f"{PG}/pg_ctl", "-D", d, "-m", "immediate", "stop")
            except subprocess.CalledProcessError:
                pass

    def client(self):
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "postgres"]


class Valence:
    """Clients use the caches."""
    name = "valence"

    def __init__(self, base, port, caches=1):
        self.dir, self.port, self.caches = os.path.join(base, "valence"), port, caches

    def start(self):
        sh(VALENCE, "cluster", "start", "--dir", self.dir, "--archives", "1", "--caches", str(self.caches), "--base-port",
           str(self.port))

    def pids(self):
        out = []
        for n in ["a1"] + [f"c{i + 1}" for i in range(self.caches)]:
            with open(os.path.join(self.dir, n + ".pid")) as f:
                out.append(int(f.read().split()[0]))
        return out

    def stop(self):
        subprocess.run([VALENCE, "cluster", "stop", "--dir", self.dir], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def client(self, cache=0):
        return ["-h", "127.0.0.1", "-p", str(self.port + 1 + cache), "-U", "valence", "valence"]
