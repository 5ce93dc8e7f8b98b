"""Real input, \\copy'd at one engine, gives at every engine the answers that python computes, also after kill -9 of each.

The Unicode character table (csv form) and Debian's package index (text form, with newlines and all that text has).
"""
import collections
import decimal
import hashlib
import os
import re
import subprocess
import time

import lib
from lib import check, equal
from valence_cluster import Cluster, file_of, ms_since, say

UNICODE = "/usr/share/unicode/UnicodeData.txt"
CHARACTER = """create table character (code text primary key, name text not null, category text not null,
    combining int not null, bidi text not null, decomposition text, decimal_value int, digit_value int, numeric_value text,
    mirrored boolean not null, old_name text, comment text, upper text, lower text, title text)"""
PACKAGE = """create table %s (package text, version text, architecture text, section text, priority text,
    installed_size bigint, maintainer text, description text, primary key (package, version, architecture))"""
FIELDS = ["Package", "Version", "Architecture", "Section", "Priority", "Installed-Size", "Maintainer", "Description"]


def read_characters():
    with open(UNICODE, encoding="utf-8") as f:
        return [[v or None for v in line.rstrip("\n").split(";")] for line in f]


def read_packages():
    """Rows of the package index; one row a (package, version, architecture), the first one wins."""
    text = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=False,
                          env=dict(os.environ, LC_ALL="C.UTF-8")).stdout
    rows = {}
    for stanza in text.split("\n\n"):
        fields, name = {}, None
        for line in stanza.split("\n"):
            if line[:1] in (" ", "\t"):
                fields[name] += "\n" + line
            elif ":" in line:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if "Package" in fields:
            # the index has one line of description; the tags and files behind it make it a text of several lines
            fields["Description"] = "\n".join([fields.get("Description", "")] + [
                n + ":\t" + fields[n] for n in ("Tag", "Depends") if n in fields])
            row = [fields.get(n) for n in FIELDS]
            rows.setdefault(tuple(row[:3]), row)
    return list(rows.values())


def text_form(value):
    """COPY's text format."""
    if value is None:
        return "\\N"
    for a, b in (("\\", "\\\\"), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        value = value.replace(a, b)
    return value


def csv_form(value):
    return "" if value is None else '"%s"' % value.replace('"', '""')


def load(cluster, engine, characters, packages):
    c = cluster.connect(engine)
    c.cursor().execute(CHARACTER)
    c.cursor().execute(PACKAGE % "package")
    c.cursor().execute(PACKAGE % "package_csv")
    c.cursor().execute("create index package_section on package (section)")
    c.close()
    with open(file_of("package.txt"), "w", encoding="utf-8") as f:
        f.writelines("\t".join(text_form(v) for v in row) + "\n" for row in packages)
    few = packages[::20]
    with open(file_of("package.csv"), "w", encoding="utf-8") as f:
        f.write(",".join(FIELDS) + "\n")
        f.writelines(",".join(csv_form(v) for v in row) + "\n" for row in few)
    for what, rows, command in [
            ("characters as csv", characters, "\\copy character from '%s' (format csv, delimiter ';')" % UNICODE),
            ("packages as text", packages, "\\copy package from '%s'" % file_of("package.txt")),
            ("packages as csv", few, "\\copy package_csv from '%s' (format csv, header)" % file_of("package.csv"))]:
        start = time.monotonic()
        cluster.psql(engine, "-c", command)
        took = ms_since(start)
        say("     \\copy of %d %s: %.0f ms" % (len(rows), what, took))


def number(v):
    return None if v is None else int(v)


def digest(rows):
    """Of a set of rows, whatever their order."""
    lines = sorted("\t".join("\\N" if v is None else str(v) for v in row) for row in rows)
    return len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()


def group(rows, key, values):
    groups = collections.defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return [(k,) + values(groups[k]) for k in sorted(groups, key=lambda k: (k is None, (k or "").encode()))]


def join_names(characters, packages):
    by_code = {c[0]: c for c in characters}
    counts = collections.Counter(ch for p in packages for ch in p[0])
    rows = [(by_code["%04X" % ord(ch)][1], by_code["%04X" % ord(ch)][2], n) for ch, n in counts.items()]
    return sorted(rows, key=lambda r: (-r[2], r[0]))


def questions(characters, packages):
    """(what, the question in SQL, the answer computed here)"""
    sizes = [int(p[5]) for p in packages if p[5] is not None]
    few = packages[::20]
    letters = {c[0]: c for c in characters}
    return [
        ("count of characters", "select count(*), count(decomposition), count(upper), sum(combining) from character",
         [(len(characters), sum(c[5] is not None for c in characters), sum(c[12] is not None for c in characters),
           sum(int(c[3]) for c in characters))]),
        ("characters by category",
         "select category, count(*), min(code), max(name), sum(decimal_value), count(*) filter (where mirrored)"
         " from character group by category order by category",
         group(characters, lambda c: c[2], lambda g: (
             len(g), min(c[0] for c in g), max(c[1] for c in g),
             sum(int(c[6]) for c in g if c[6]) if any(c[6] for c in g) else None, sum(c[9] == "Y" for c in g)))),
        ("upper case of lower case (a join of the table with itself)",
         "select a.category, b.category, count(*) from character a join character b on b.code = a.upper"
         " group by a.category, b.category order by 1, 2",
         sorted((k[0], k[1], n) for k, n in collections.Counter(
             (c[2], letters[c[12]][2]) for c in characters if c[12]).items())),
        ("count of packages", "select count(*), count(installed_size), sum(installed_size)::bigint, min(installed_size),"
         " max(installed_size), count(distinct package), count(distinct maintainer) from package",
         [(len(packages), len(sizes), sum(sizes), min(sizes), max(sizes), len({p[0] for p in packages}),
           len({p[6] for p in packages} - {None}))]),
        ("packages by section",
         "select section, count(*), sum(installed_size)::bigint, round(avg(installed_size), 3), min(package),"
         " sum(length(description)), sum(octet_length(description)) from package group by section order by section",
         group(packages, lambda p: p[3], lambda g: (
             len(g), sum(int(p[5]) for p in g if p[5]),
             average([int(p[5]) for p in g if p[5]]), min((p[0] for p in g), key=str.encode), sum(len(p[7]) for p in g),
             sum(len(p[7].encode()) for p in g)))),
        ("descriptions of several lines, and by pattern",
         "select count(*) filter (where description like E'%\\n%'), count(*) filter (where description ilike '%unicode%'),"
         " count(*) filter (where description ~ 'lib[a-z]+-dev') from package",
         [(sum("\n" in p[7] for p in packages), sum("unicode" in p[7].lower() for p in packages),
           sum(bool(re.search("lib[a-z]+-dev", p[7])) for p in packages))]),
        ("characters of package names, joined",
         "select c.name, c.category, count(*) from (select substr(p.package, i, 1) as letter from package p,"
         " generate_series(1, length(p.package)) i) l join character c"
         " on c.code = lpad(upper(to_hex(ascii(l.letter))), 4, '0') group by c.name, c.category order by 3 desc, 1",
         join_names(characters, packages)),
        ("the csv form and the text form agree", "select count(*) from package_csv c join package p using (package, version,"
         " architecture) where p.description = c.description and p.section is not distinct from c.section"
         " and p.installed_size is not distinct from c.installed_size and p.maintainer = c.maintainer", [(len(few),)]),
    ]


def average(values):
    mean = decimal.Decimal(sum(values)) / len(values)
    return mean.quantize(decimal.Decimal("0.001"), rounding=decimal.ROUND_HALF_UP)


def ask(cluster, engine, when, asked, want_rows):
    """Every question at this engine, and every row of both tables."""
    start = time.monotonic()
    for what, text, want in asked:
        got = cluster.rows(engine, text)
        if not check(got == want, "%s %s: %s" % (engine, when, what)):
            wrong = [(g, w) for g, w in zip(got, want) if g != w][:3]
            say("     %d rows, want %d; got, want: %r" % (len(got), len(want), wrong))
    for table, want in want_rows.items():
        equal("%s %s: every row of %s" % (engine, when, table), digest(cluster.rows(engine, "select * from " + table)), want)
    say("     %s: %.0f ms" % (engine, ms_since(start)))


def main():
    cluster = Cluster(caches=2)
    characters, packages = read_characters(), read_packages()
    if len(packages) < 1000:
        say("SKIP real_input_packages: apt-cache knows %d packages, apt-get update gets them; the character table"
            " stands in" % len(packages))
        packages = [[c[1], c[0], "all", c[2], c[4], str(int(c[0], 16)), c[4], "%s\n%s\t\\%s" % (c[1], c[5], c[10])]
                    for c in characters]
    load(cluster, "c1", characters, packages)
    asked = questions(characters, packages)
    want_rows = {
        "character": digest([c[:3] + [number(c[3])] + c[4:6] + [number(c[6]), number(c[7]), c[8], c[9] == "Y"] + c[10:]
                             for c in characters]),
        "package": digest([p[:5] + [number(p[5])] + p[6:] for p in packages])}
    cluster.level()
    for name in cluster.names:
        ask(cluster, name, "after the load", asked, want_rows)
    for name in cluster.caches + cluster.archives:
        cluster.kill(name)
        start = time.monotonic()
        cluster.start(name)
        say("     %s restarted in %.0f ms" % (name, ms_since(start)))
        ask(cluster, name, "after its kill -9", asked, want_rows)
    for name in cluster.names:
        ask(cluster, name, "at the end", asked[:1] + asked[3:4], {})
    cluster.check_atoms("afterwards")


main()
lib.finish()
