"""sql_generator.py - random tables, rows and statements in the part of SQL that Valence has, from a seed.

What is made has one right answer: no result depends on the order of rows (but by an ORDER BY of everything), no sum
of floats on the order of its terms (all are multiples of 1/4), and nothing on the clock. Expressions are made by type:
RULES lists how a value of a type comes from values of others.
"""
import random

TYPES = ["bool", "int2", "int4", "int8", "float8", "numeric", "text", "varchar", "bpchar", "date", "timestamp",
         "timestamptz", "bytea", "interval"]
COLUMN_TYPES = {
    "bool": ["boolean"], "int2": ["smallint"], "int4": ["integer"], "int8": ["bigint"], "float8": ["double precision"],
    "numeric": ["numeric", "numeric(8,2)", "numeric(20,5)", "numeric(5,0)", "numeric(38,10)"], "text": ["text"],
    "varchar": ["varchar", "varchar(6)", "varchar(20)"], "bpchar": ["char(4)", "char(10)", "char"], "date": ["date"],
    "timestamp": ["timestamp", "timestamp(0)", "timestamp(3)"], "timestamptz": ["timestamptz"], "bytea": ["bytea"],
    "interval": ["interval"]}
NUMBERS = ["int2", "int4", "int8", "numeric", "float8"]
STRINGS = ["text", "varchar", "bpchar"]
WORDS = ["", "a", "b", "ab", "abc", "Abc", "ABC ", " x", "x y", "hello", "Hello World", "foo_bar", "100%", "a%b", "é", "ñandú",
         "日本", "\\", "a\\b", "'", "\"q\"", "null", "0", "12", "-7", "3.50", "true", "2020-02-29", "zz", "ZZ top", "a,b,c",
         "tab\there", "line\nbreak", "😀x"]
PATTERNS = ["%", "a%", "%b", "_", "%a_", "a\\%b", "%é%", "", "ABC%", "__", "%o%", "x y"]
REGEXES = ["a", "^a", "b$", "[a-c]+", "o{1,2}", "(a|b)c?", "\\d+", "^$", ".", "\\w+\\s", "[[:upper:]]", "^.{3}$", "a.*c"]

# how a value of a type is made: {type} is a value of that type, {type!} one that is small and not negative
RULES = {
    "bool": [
        "{bool} AND {bool}", "{bool} OR {bool}", "NOT {bool}", "{bool} IS TRUE", "{bool} IS NOT FALSE", "{bool} IS UNKNOWN",
        "{bool} = {bool}", "{bool} <> {bool}", "{bool} < {bool}", "{int4} {cmp} {int4}", "{int8} {cmp} {int4}",
        "{int2} {cmp} {int4}", "{int2} {cmp} {int8}", "{numeric} {cmp} {int4}", "{numeric} {cmp} {numeric}",
        "{float8} {cmp} {int4}", "{float8} {cmp} {numeric}", "{float8} {cmp} {float8}", "{text} {cmp} {text}",
        "{varchar} {cmp} {text}", "{bpchar} {cmp} {bpchar}", "{bpchar} {cmp} {text}", "{date} {cmp} {date}",
        "{date} {cmp} {timestamp}", "{timestamp} {cmp} {timestamp}", "{timestamptz} {cmp} {timestamp}",
        "{timestamptz} {cmp} {timestamptz}", "{bytea} {cmp} {bytea}", "{interval} {cmp} {interval}",
        "{any} IS NULL", "{any} IS NOT NULL", "{int4} IS DISTINCT FROM {int4}", "{text} IS NOT DISTINCT FROM {text}",
        "{bpchar} IS DISTINCT FROM {bpchar}", "{date} IS DISTINCT FROM {date}", "{int4} BETWEEN {int4} AND {int4}",
        "{text} NOT BETWEEN {text} AND {text}", "{int8} BETWEEN SYMMETRIC {int4} AND {int4}",
        "{numeric} BETWEEN {int4} AND {numeric}", "{int4} IN ({int4}, {int4}, {int4})", "{int4} NOT IN ({int4}, {int4})",
        "{text} IN ({text}, {text})", "{numeric} IN ({int4}, {numeric})", "{date} NOT IN ({date}, {date})",
        "{bpchar} IN ({bpchar}, {bpchar})", "{text} LIKE {pattern}", "{text} NOT LIKE {pattern}", "{text} ILIKE {pattern}",
        "{bpchar} LIKE {pattern}", "{varchar} NOT ILIKE {pattern}", "{text} ~ {regex}", "{text} !~ {regex}", "{text} ~* {regex}",
        "{bpchar} ~ {regex}", "{text} SIMILAR TO {pattern}", "starts_with({text}, {text})", "({int4}, {text}) = ({int4}, {text})",
        "({int4}, {int4}) < ({int4}, {int4})", "({date}, {int4}) >= ({date}, {int4})",
        "({int4}, {text}) IS DISTINCT FROM ({int4}, {text})", "({int4}, {text}) IN (({int4}, {text}), ({int4}, {text}))",
        "{int4} = ANY (ARRAY[{int4}, {int4}])", "{int4} <> ALL (ARRAY[{int4}, {int4}])", "{text} = ANY ('{{a,b,abc,NULL}}')",
        "({int4!})::bool", "({date}, {date}) OVERLAPS ({date}, {date})", "isfinite({date})", "isfinite({timestamp})"],
    "int2": ["-{int2}", "abs({int2})", "{int2} & {int2}", "{int2} | {int2}", "{int2} # {int2}", "~{int2}",
             "({int4!})::int2", "{int2} / {int2!1}", "{int2} % {int2!1}", "mod({int2}, {int2!1})", "{int2!} << {int4!}"],
    "int4": ["{int4} + {int4}", "{int4} - {int4}", "{int4!} * {int4!}", "{int4} / {int4!1}", "{int4} % {int4!1}", "-{int4}",
             "+{int4}", "@{int4}", "abs({int4})", "{int4} & {int4}", "{int4} | {int2}::int4", "{int4} # {int4}", "~{int4}",
             "{int4!} << 3", "{int4} >> 2", "{int2} + {int4}", "{int4} - {int2}", "{int2} * {int4!}", "length({text})", "length({bpchar})",
             "char_length({varchar})", "octet_length({text})", "octet_length({bpchar})", "octet_length({bytea})", "bit_length({text})",
             "length({bytea})", "position({text} IN {text})", "strpos({text}, {text})", "ascii({text})", "{date} - {date}",
             "({numeric})::int4", "({float8})::int4", "({bool})::int4", "({int8})::int4", "sign({int4})::int4",
             "extract(year FROM {date})::int4", "date_part('month', {date})::int4", "gcd({int4}, {int4})", "lcm({int4!}, {int4!})",
             "scale({numeric})", "min_scale({numeric})", "width_bucket({numeric}, -10, 10, 5)", "array_length(ARRAY[{int4}, {int4}], 1)",
             "cardinality(string_to_array({text}, ','))", "div({numeric}, 3)::int4", "num_nulls({int4}, {text}, {date})",
             "num_nonnulls({int4}, {text})", "bit_length({bpchar})", "get_byte({bytea} || '\\x01', 0)", "mod({int4}, {int4!1})"],
    "int8": ["{int8} + {int4}", "{int8} - {int8}", "{int4} * {int8!}", "{int8} / {int4!1}", "{int8} % {int8!1}", "-{int8}",
             "abs({int8})", "{int8} & {int8}", "{int8!} << 5", "{int8} >> 1", "({int4})::int8", "({numeric})::int8",
             "({float8})::int8", "{int2} + {int8}", "gcd({int8}, {int8})", "mod({int8}, {int8!1})", "length({text})::int8",
             "({text_int})::int8", "~{int8}", "{int8} | {int8}", "factorial({int4!})::int8"],
    "float8": ["{float8} + {float8}", "{float8} - {float8}", "{float8} * {float8}", "{float8} / {float8!1}", "-{float8}",
               "abs({float8})", "round({float8})", "trunc({float8})", "ceil({float8})", "floor({float8})", "sign({float8})",
               "sqrt(abs({float8}))", "cbrt({float8})", "exp({float8!} / 100)", "ln({float8!1})", "log({float8!1})", "power({float8!}, 2)",
               "{float8!} ^ 0.5", "sin({float8})", "cos({float8})", "atan({float8})", "atan2({float8}, {float8})", "degrees({float8})", "radians({float8})",
               "({int4})::float8", "({numeric})::float8", "({int8})::float8", "{int4} * {float8}", "{float8} - {int4}",
               "extract(epoch FROM {timestamp})::float8", "date_part('dow', {date})", "date_part('second', {timestamp})", "|/ {float8!}",
               "pi()", "asin({float8!} / 100)", "tanh({float8})"],
    "numeric": ["{numeric} + {numeric}", "{numeric} - {numeric}", "{numeric} * {numeric}", "{numeric} / {numeric!1}",
                "{numeric} % {numeric!1}", "-{numeric}", "abs({numeric})", "round({numeric})", "round({numeric}, 2)",
                "round({numeric}, -1)", "trunc({numeric}, 1)", "ceil({numeric})", "floor({numeric})", "sign({numeric})",
                "sqrt(abs({numeric}))", "power({numeric!}, 3)", "{numeric!} ^ 2", "exp({numeric!} / 50)", "ln({numeric!1})", "log({numeric!1})",
                "log(2, {numeric!1})", "div({numeric}, {numeric!1})", "mod({numeric}, {numeric!1})", "({int4})::numeric", "({int8})::numeric(30,4)",
                "({float8})::numeric", "({numeric})::numeric(20,1)", "{int4} + {numeric}", "{numeric} * {int8}", "{int4} / {numeric!1}",
                "extract(day FROM {timestamp})", "extract(epoch FROM {timestamptz})", "extract(week FROM {date})", "extract(quarter FROM {date})",
                "extract(isodow FROM {date})", "extract(microseconds FROM {timestamp})", "extract(century FROM {date})", "trim_scale({numeric})",
                "({text_int})::numeric", "extract(epoch FROM {interval})", "extract(hour FROM {interval})", "extract(doy FROM {timestamp})", "gcd({numeric!}, {numeric!})",
                "factorial({int4!})", "+{numeric}", "@{numeric}", "extract(julian FROM {date})", "extract(isoyear FROM {date})"],
    "text": ["{text} || {text}", "{text} || {int4}", "{date} || {text}", "{bpchar} || {text}", "{text} || {bpchar}", "{bpchar} || {bpchar}",
             "{varchar} || {varchar}", "{text} || {numeric}", "{text} || {bool}", "{timestamp} || {text}", "upper({text})", "lower({text})", "initcap({text})", "substr({text}, {int4!})",
             "substring({text} FROM {int4} FOR {int4!})", "substring({text} FROM {regex})", "substring({bpchar} FROM 2)", "left({text}, {int4s})",
             "right({text}, {int4s})", "lpad({text}, {int4!}, {text})", "rpad({text}, {int4!})", "trim({text})", "trim(BOTH 'a' FROM {text})", "ltrim({text}, 'ab')",
             "rtrim({bpchar})", "btrim({text}, ' x')", "replace({text}, {text}, {text})", "translate({text}, 'abc', 'xy')", "reverse({text})",
             "repeat({text}, 2)", "split_part({text}, ' ', 1)", "split_part({text}, ',', -1)", "concat({text}, {int4}, {bool}, NULL)", "concat_ws(',', {text}, {date}, {bpchar})",
             "md5({text})", "chr(65 + {int4!})", "to_hex({int4})", "({any})::text", "({int4})::text", "({numeric})::text", "({float8})::text", "({bool})::text",
             "({date})::text", "({timestamp})::text", "({timestamptz})::text", "({bytea})::text", "({bpchar})::text", "({interval})::text",
             "to_char({int4}, '999,999S')", "to_char({numeric}, 'FM9990.009')", "to_char({date}, 'YYYY-MM-DD Day')", "to_char({timestamp}, 'HH24:MI:SS.MS DD Mon YYYY')",
             "to_char({timestamp}, 'FMMonth IW Q J')", "to_char({float8}, '9990.99')", "quote_ident({text})", "quote_literal({text})", "quote_nullable({int4})",
             "format('%s-%I-%L', {text}, 'c d', {text})", "format('%2$s %1$s', {int4}, {text})", "overlay({text} PLACING 'zz' FROM 2 FOR 1)",
             "regexp_replace({text}, {regex}, '<\\&>', 'g')", "regexp_replace({text}, '(.)b', '\\1-')", "encode({bytea}, 'hex')", "encode({bytea}, 'base64')", "encode({bytea}, 'escape')",
             "({text})::varchar(3)", "({text})::char(5)", "(regexp_match({text}, {regex}))[1]", "(string_to_array({text}, ' '))[1]",
             "array_to_string(ARRAY[{int4}, {int4}], '-', 'n')", "ARRAY[{int4}, {int4}]::text", "ARRAY[{text}, {text}]::text", "substring({text} SIMILAR '%#\"a#\"%' ESCAPE '#')",
             "to_char({interval}, 'HH24:MI')", "to_char({int8}, 'S99999999999')", "to_char({numeric}, '999D99MI')", "to_char({int4}, 'RN')", "upper({bpchar})", "max_text({text})"],
    "varchar": ["({text})::varchar", "({int4})::varchar", "({text})::varchar(4)", "({bpchar})::varchar"],
    "bpchar": ["({text})::char(6)", "({int4})::char(3)", "({varchar})::bpchar", "({text})::char"],
    "date": ["{date} + {int4!}", "{date} - {int4!}", "({timestamp})::date", "({timestamptz})::date", "make_date(2000 + {int4!}, 1 + {int4!} % 12, 3)",
             "date_trunc('month', {timestamp})::date", "to_date('2021-03-0' || (1 + {int4!} % 9), 'YYYY-MM-DD')", "{int4!} + {date}"],
    "timestamp": ["{date} + {interval}", "{timestamp} + {interval}", "{timestamp} - {interval}", "date_trunc('hour', {timestamp})",
                  "date_trunc('week', {timestamp})", "date_trunc('quarter', {timestamp})", "({date})::timestamp", "({timestamptz})::timestamp",
                  "{timestamptz} AT TIME ZONE 'Europe/Berlin'", "({timestamp})::timestamp(2)", "{date} - {interval}",
                  "make_timestamp(2001, 2, 3, {int4!} % 24, 5, 6.7)", "date_trunc('decade', {timestamp})", "date_bin('15 minutes', {timestamp}, '2001-01-01')"],
    "timestamptz": ["{timestamptz} + {interval}", "({timestamp})::timestamptz", "({date})::timestamptz", "{timestamp} AT TIME ZONE 'America/New_York'",
                    "date_trunc('day', {timestamptz})", "to_timestamp({float8!} * 1000)", "{timestamptz} - {interval}", "date_trunc('day', {timestamptz}, 'Asia/Tokyo')"],
    "interval": ["{timestamp} - {timestamp}", "age({timestamp}, {timestamp})", "{interval} + {interval}", "{interval} * {int4!}", "-{interval}",
                 "{interval} / 2", "make_interval(days => {int4!})", "justify_hours({interval})", "{timestamptz} - {timestamptz}",
                 "date_trunc('day', {interval})", "justify_days({interval})", "justify_interval({interval})", "{interval} - {interval}", "({int4!} || ' days')::interval",
                 "{interval} * {float8!}", "age({date}, {date})"],
    "bytea": ["{bytea} || {bytea}", "substring({bytea} FROM 1 FOR 2)", "decode(md5({text}), 'hex')", "convert_to({text}, 'UTF8')",
              "overlay({bytea} PLACING '\\xff' FROM 1)", "substr({bytea}, 2)", "sha256({bytea})", "trim('\\x00' FROM {bytea})", "reverse_bytes({bytea})"],
}
# what Valence has not; the statement is not made, so that a refusal stands out
ABSENT = ["max_text", "reverse_bytes", "make_interval(days", "'RN'", "factorial"]
RULES = {t: [r for r in rules if not any(a in r for a in ABSENT)] for t, rules in RULES.items()}
AGGREGATES = {
    "int8": ["count(*)", "count({any})", "sum({int4})", "sum({int2})", "count(DISTINCT {any})", "count({int4}) FILTER (WHERE {bool})"],
    "numeric": ["sum({int8})", "sum({numeric})", "avg({int4})", "avg({numeric})", "avg({int8})", "stddev({int4})", "var_pop({numeric})",
                "sum(DISTINCT {numeric})", "variance({int2})", "stddev_pop({int8})"],
    "int4": ["min({int4})", "max({int4})", "bit_and({int4})", "bit_or({int4})", "max({int4}) FILTER (WHERE {bool})"],
    "text": ["min({text})", "max({text})", "string_agg({text}, ',' ORDER BY {text_same})", "array_agg({int4c} ORDER BY {int4c_same})::text",
             "string_agg(DISTINCT {text}, '-')"],
    "date": ["min({date})", "max({date})"], "bool": ["bool_and({bool})", "bool_or({bool})", "every({bool})"],
    "float8": ["round(sum({float8c})::numeric, 2)::float8", "round(avg({float8c})::numeric, 2)::float8", "max({float8})", "min({float8})"], "timestamp": ["max({timestamp})", "min({timestamp})"],
    "bpchar": ["min({bpchar})", "max({bpchar})"], "interval": ["sum({interval})", "max({interval})", "avg({interval})"],
    "timestamptz": ["max({timestamptz})"]}


def quote(s):
    return "'" + s.replace("'", "''") + "'"


class Table:
    def __init__(self, name, columns):
        self.name = name
        self.columns = columns  # (name, type, declaration)


class Generator:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.tables = []
        self.alias = 0

    def chance(self, percent):
        return self.r.randrange(100) < percent

    # values

    def literal(self, t, small=False):
        r = self.r
        if t == "bool":
            return r.choice(["true", "false", "'t'::bool", "'no'::boolean"])
        if t in ("int2", "int4", "int8"):
            if small:
                n = r.randrange(0, 12)
            else:
                n = r.choice([0, 1, -1, 2, 3, 7, 10, 42, -5, 100, 999, -1000, 32767,
                              {"int2": -32768, "int4": 2147483647, "int8": 9223372036854775807}[t]]
                             if self.chance(15) else [0, 1, -1, 2, 3, 5, 7, 10, -4, 100, -37])
            return "(%d)::%s" % (n, t) if n < 0 or t != "int4" or self.chance(20) else str(n)
        if t == "float8":
            n = r.randrange(0, 50) / 4 if small else r.choice([0.0, 1.5, -2.25, 0.5, 1e10, -2.0**-13, 3.75, 100.25])
            return "(%r)::float8" % n
        if t == "numeric":
            n = str(r.randrange(0, 30) / 10) if small else r.choice(
                ["0", "1.10", "-2.345", "100", "0.001", "-99.99", "12345678901234567890.5", "3.14159", "1e3", "0.00", "7.5", "-0.5", "2.5"])
            return "(%s)::numeric" % n if n[0] == "-" or self.chance(30) else "%s::numeric" % n
        if t in STRINGS:
            w = quote(r.choice(WORDS))
            return w if t == "text" and self.chance(40) else "%s::%s" % (w, t)
        if t == "date":
            return "date '%s'" % r.choice(["2020-01-31", "2020-02-29", "1999-12-31", "2000-01-01", "1970-01-01", "2024-07-04", "0044-03-15 BC", "2100-06-15"])
        if t in ("timestamp", "timestamptz"):
            v = r.choice(["2020-01-31 10:20:30", "2020-02-29 23:59:59.999999", "1999-12-31 00:00:00.5", "2000-01-01 00:00", "1969-07-20 20:17:40", "2024-03-31 02:30"])
            z = r.choice(["", " +00", "+05:30", " -08", " Europe/Paris"]) if t == "timestamptz" else ""
            return "%s '%s%s'" % (t, v, z)
        if t == "interval":
            return "interval '%s'" % r.choice(["1 day", "2 hours 30 minutes", "1 month -3 days", "-1 year", "0", "00:00:01.25", "40 days", "1 mon 26:00"])
        return "'%s'::bytea" % r.choice(["\\x", "\\x00", "\\xdeadbeef", "abc", "\\x0102", "\\xff00", "a\\\\b"])

    def columns_of(self, scope, t):
        return ["%s.%s" % (alias, c[0]) for alias, table in scope for c in table.columns if c[1] == t]

    def column(self, scope, t):
        found = self.columns_of(scope, t)
        return self.r.choice(found) if found else self.literal(t)

    def value(self, t, scope, depth):
        """An expression of type t over the columns of scope, a list of (alias, table)."""
        r = self.r
        if depth <= 0 or self.chance(15):
            if self.chance(5):
                return "NULL::%s" % t
            return self.column(scope, t) if self.chance(70) else self.literal(t)
        if self.chance(16):
            return self.conditional(t, scope, depth)
        if self.tables and self.chance(3):
            return self.scalar_subquery(t, scope, depth)
        if t == "bool" and self.tables and self.chance(6):
            return self.subquery_test(scope, depth)
        return "(" + self.fill(r.choice(RULES[t]), scope, depth) + ")"

    def fill(self, rule, scope, depth):
        out, same = "", {}
        i = 0
        while i < len(rule):
            if rule.startswith("{{", i) or rule.startswith("}}", i):
                out += rule[i]
                i += 2
            elif rule[i] == "{":
                end = rule.index("}", i)
                out += self.part(rule[i + 1:end], scope, depth, same)
                i = end + 1
            else:
                out += rule[i]
                i += 1
        return out

    def part(self, what, scope, depth, same):
        r = self.r
        if what == "cmp":
            return r.choice(["=", "<>", "<", "<=", ">", ">=", "="])
        if what == "pattern":
            return quote(r.choice(PATTERNS))
        if what == "regex":
            return quote(r.choice(REGEXES))
        if what == "any":
            return self.value(r.choice(TYPES), scope, depth - 1)
        if what == "text_int":
            return quote(r.choice(["1", " 42 ", "-17", "+5", "0012"])) + "::text"
        if what == "int4s":
            return str(r.randrange(-3, 6))
        if what.endswith("!1"):
            return self.nonzero(what[:-2], scope)
        if what.endswith("!"):
            t = what[:-1]
            return self.literal(t, small=True) if self.chance(60) else "(abs(%s) %% 10)::%s" % (
                self.column(scope, "int4") if t != "float8" else "%d" % r.randrange(100), t)
        if what.endswith("_same"):
            return same[what[:-5]]
        if what in ("int4c", "float8c"):
            out = self.column(scope, what[:-1])
        else:
            out = self.value(what, scope, depth - 1)
        same[what] = out
        return out

    def nonzero(self, t, scope):
        if self.chance(50):
            return "(%d)::%s" % (self.r.choice([1, 2, 3, 7, 10]), t)
        return "(1 + abs(%s) %% 9)::%s" % (self.column(scope, "int2"), t)

    def conditional(self, t, scope, depth):
        r, d = self.r, depth - 1
        kind = r.randrange(6)
        if kind == 0:
            return "CASE WHEN %s THEN %s ELSE %s END" % (self.value("bool", scope, d), self.value(t, scope, d), self.value(t, scope, d))
        if kind == 1:
            other = r.choice(["int4", "text", "date"])
            return "CASE %s WHEN %s THEN %s WHEN %s THEN %s END" % (
                self.value(other, scope, d), self.value(other, scope, d), self.value(t, scope, d),
                self.value(other, scope, d), self.value(t, scope, d))
        if kind == 2:
            return "coalesce(%s, %s)" % (self.value(t, scope, d), self.value(t, scope, d))
        if kind == 3:
            return "nullif(%s, %s)" % (self.value(t, scope, d), self.value(t, scope, d))
        return "%s(%s, %s)" % (r.choice(["greatest", "least"]), self.value(t, scope, d), self.value(t, scope, d))

    def new_alias(self):
        self.alias += 1
        return "a%d" % self.alias

    def scalar_subquery(self, t, scope, depth):
        table, alias = self.r.choice(self.tables), self.new_alias()
        inner = [(alias, table)]
        some = [a for a in AGGREGATES.get(t, []) if "FILTER" not in a]
        if not some:
            return "(SELECT %s FROM %s %s ORDER BY %s.id LIMIT 1)" % (self.column(inner, t), table.name, alias, alias)
        where = " WHERE " + self.value("bool", inner + scope, 1) if self.chance(70) else ""
        return "(SELECT %s FROM %s %s%s)" % (self.fill(self.r.choice(some), inner, 1), table.name, alias, where)

    def subquery_test(self, scope, depth):
        r = self.r
        table, alias = r.choice(self.tables), self.new_alias()
        inner = [(alias, table)]
        t = r.choice(["int4", "text", "int8", "date", "numeric", "bpchar"])
        where = " WHERE " + self.value("bool", inner + (scope if self.chance(60) else []), 1) if self.chance(75) else ""
        source = "FROM %s %s%s" % (table.name, alias, where)
        kind = r.randrange(4)
        if kind == 0:
            return "EXISTS (SELECT 1 %s)" % source
        if kind == 1:
            return "NOT EXISTS (SELECT %s %s)" % (self.column(inner, t), source)
        if kind == 2:
            return "%s %s (SELECT %s %s)" % (self.value(t, scope, 1), r.choice(["IN", "NOT IN"]), self.column(inner, t), source)
        return "%s %s %s (SELECT %s %s)" % (self.value(t, scope, 1), r.choice(["=", "<", ">=", "<>"]), r.choice(["ANY", "ALL"]),
                                            self.column(inner, t), source)

    # statements

    def create(self, k):
        r = self.r
        columns = [("id", "int4", "integer PRIMARY KEY" if self.chance(70) else "integer")]
        for i in range(r.randrange(4, 11)):
            t = r.choice(TYPES)
            declared = r.choice(COLUMN_TYPES[t])
            columns.append(("c%d" % i, t, declared))
        table = Table("d%d" % k, columns)
        self.tables.append(table)
        out = ["CREATE TABLE %s (%s)" % (table.name, ", ".join("%s %s" % (c[0], c[2]) for c in columns))]
        for i in range(r.randrange(0, 3)):
            some = r.sample(columns, r.randrange(1, min(3, len(columns))))
            out.append("CREATE INDEX ON %s (%s)" % (table.name, ", ".join(
                c[0] + r.choice(["", "", " DESC", " NULLS FIRST"]) for c in some)))
        rows = []
        for i in range(r.choice([0, 3, 12, 30])):
            rows.append("(%d, %s)" % (i, ", ".join(self.stored(c) for c in columns[1:])))
        if rows:
            out.append("INSERT INTO %s VALUES %s" % (table.name, ", ".join(rows)))
        return out

    def stored(self, column):
        _, t, declared = column
        if self.chance(20):
            return "NULL"
        if t in STRINGS and "(" in declared:
            return "left(%s, %s)" % (quote(self.r.choice(WORDS)), declared.split("(")[1].rstrip(")"))
        if declared == "char":
            return quote(self.r.choice(["a", "B", " ", "é", ""]))
        if declared == "numeric(5,0)" or declared == "numeric(8,2)":
            return self.literal("numeric", small=True)
        return self.literal(t)

    def source(self, size):
        """(text of FROM, scope)"""
        r = self.r
        text, scope = "", []
        for i in range(size):
            alias = self.new_alias()
            if self.chance(80) or not self.tables:
                table = r.choice(self.tables)
                item = "%s %s" % (table.name, alias)
            else:
                table, query = self.derived()
                item = "(%s) %s" % (query, alias)
            here = (alias, table)
            if not i:
                text = item
            elif self.chance(25):
                text += ", " + item if " JOIN " not in text else " CROSS JOIN " + item
            else:
                kind = r.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "LEFT JOIN"])
                if self.chance(20) and "," not in text and i == 1:
                    text += " %s %s USING (id)" % (kind, item)
                else:
                    on = self.join_condition(scope, here, kind)
                    text += " %s %s ON %s" % (kind, item, on)
                    if "," in text.split(" JOIN ")[0] and i > 1:
                        scope = scope  # a comma before: the condition may name the last two only
            scope = scope + [here]
        return text, scope

    def join_condition(self, scope, here, kind):
        t = self.r.choice(["int4", "int4", "text", "int8", "date", "numeric", "bpchar"])
        left = self.column(scope[-1:], t)
        right = self.column([here], t)
        on = "%s = %s" % (left, right)
        if kind != "FULL JOIN" and self.chance(40):
            on += " AND " + self.value("bool", [scope[-1], here], 2)
        return on

    def derived(self):
        table = self.r.choice(self.tables)
        alias = self.new_alias()
        inner = [(alias, table)]
        columns = [("id", "int4", ""), *[("x%d" % i, self.r.choice(TYPES), "") for i in range(self.r.randrange(1, 4))]]
        targets = ["%s.id" % alias] + ["%s AS %s" % (self.value(c[1], inner, 2), c[0]) for c in columns[1:]]
        return Table("derived", columns), "SELECT %s FROM %s %s" % (", ".join(targets), table.name, alias)

    def select(self):
        r = self.r
        kind = r.randrange(10)
        if kind == 0:
            return "SELECT " + ", ".join(self.value(r.choice(TYPES), [], 3) for _ in range(r.randrange(1, 4)))
        if kind in (1, 2, 3):
            return self.grouped()
        if kind == 4:
            return self.set_operation()
        text, scope = self.source(r.choice([1, 1, 1, 2, 2, 3]))
        targets = [self.value(r.choice(TYPES), scope, 3) for _ in range(r.randrange(1, 5))]
        distinct = "DISTINCT " if self.chance(12) else ""
        out = "SELECT %s%s FROM %s" % (distinct, ", ".join(targets), text)
        if self.chance(60):
            out += " WHERE " + self.value("bool", scope, 3)
        return out + self.order(len(targets))

    def order(self, count):
        r = self.r
        if not self.chance(40):
            return ""
        keys = list(range(1, count + 1))
        r.shuffle(keys)
        out = " ORDER BY " + ", ".join("%d%s" % (k, r.choice(["", " DESC", " ASC NULLS FIRST", " DESC NULLS LAST"])) for k in keys)
        if self.chance(50):
            out += " LIMIT %d" % r.randrange(0, 9)
        if self.chance(25):
            out += " OFFSET %d" % r.randrange(0, 5)
        return out

    def grouped(self):
        r = self.r
        text, scope = self.source(r.choice([1, 1, 2]))
        keys = [self.value(r.choice(TYPES), scope, r.choice([0, 1, 2])) for _ in range(r.randrange(0, 3))]
        keys = [k for k in keys if any(a + "." in k for a, _ in scope)]
        aggregates = []
        for _ in range(r.randrange(1, 4)):
            t = r.choice(list(AGGREGATES))
            aggregates.append(self.fill(r.choice(AGGREGATES[t]), scope, 2))
        out = "SELECT %s FROM %s" % (", ".join(keys + aggregates), text)
        if self.chance(40):
            out += " WHERE " + self.value("bool", scope, 2)
        if keys:
            out += " GROUP BY " + ", ".join("%d" % (i + 1) for i in range(len(keys)))
        if self.chance(30):
            out += " HAVING count(*) > %d" % r.randrange(0, 3)
        return out + self.order(len(keys) + len(aggregates))

    def set_operation(self):
        r = self.r
        types = [r.choice(TYPES) for _ in range(r.randrange(1, 4))]
        arms = []
        for _ in range(r.randrange(2, 4)):
            text, scope = self.source(1)
            arm = "SELECT %s FROM %s" % (", ".join(self.value(t, scope, 2) for t in types), text)
            if self.chance(40):
                arm += " WHERE " + self.value("bool", scope, 2)
            arms.append(arm)
        out = arms[0]
        for arm in arms[1:]:
            out += " %s %s" % (r.choice(["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL", "INTERSECT ALL"]), arm)
        return out + self.order(len(types))

    def assignable(self, c, scope):
        if c[1] in ("text", "int4", "int8", "float8", "date", "timestamp", "timestamptz", "bytea", "bool", "interval") and "(" not in c[2]:
            return self.value(c[1], scope, 2)
        return self.stored(c)

    def change(self):
        """INSERT, UPDATE, DELETE; what they leave is looked at by the caller."""
        r = self.r
        table = r.choice(self.tables)
        alias = self.new_alias()
        scope = [(alias, table)]
        kind = r.randrange(5)
        returning = " RETURNING " + self.value(r.choice(TYPES), scope, 2) if self.chance(25) else ""
        where = " WHERE " + self.value("bool", scope, 2) if self.chance(85) else ""
        if kind == 0:
            other, inner = r.choice(self.tables), self.new_alias()
            values = ["%s.id + %d" % (inner, r.choice([0, 1000, 2000]))] + [
                self.assignable(c, [(inner, other)]) for c in table.columns[1:]]
            conflict = " ON CONFLICT DO NOTHING" if "PRIMARY" in table.columns[0][2] and self.chance(40) else ""
            return table, "INSERT INTO %s AS %s SELECT %s FROM %s %s%s%s" % (table.name, alias, ", ".join(values), other.name, inner,
                                                                             conflict, returning)
        if kind == 1:
            rows = ["(%d, %s)" % (r.randrange(0, 60), ", ".join(self.stored(c) for c in table.columns[1:])) for _ in range(r.randrange(1, 4))]
            return table, "INSERT INTO %s AS %s VALUES %s%s" % (table.name, alias, ", ".join(rows), returning)
        if kind == 2:
            return table, "DELETE FROM %s %s%s AND %s.id %% 3 = 0%s" % (table.name, alias, where or " WHERE true", alias, returning)
        some = r.sample(table.columns[1:], r.randrange(1, min(3, len(table.columns))))
        sets = ["%s = %s" % (c[0], self.assignable(c, scope)) for c in some]
        if kind == 3 and len(self.tables) > 1:
            other, inner = r.choice(self.tables), self.new_alias()
            return table, "UPDATE %s %s SET %s FROM (SELECT id, count(*) n FROM %s GROUP BY id) %s WHERE %s.id = %s.id%s" % (
                table.name, alias, ", ".join(sets), other.name, inner, inner, alias, returning)
        return table, "UPDATE %s %s SET %s%s%s" % (table.name, alias, ", ".join(sets), where, returning)
