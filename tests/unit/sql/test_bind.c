/* test_bind.c - raw statements to bound ones: names, types, errors with their positions, whole trees. */
#include <CUnit/CUnit.h>

#include "tests/unit/sql/fake_catalog.h"

void suite_sql_bind(void);

static struct fake_catalog fake;

static int setup(void)
{
	struct error err = {0};

	fake_init(&fake);
	if (fake_run(&fake, FAKE_TABLES, &err) == ST_OK)
		return 0;
	fprintf(stderr, "test_bind: %s at %d\n", err.message, err.position);
	return -1;
}

static int teardown(void)
{
	fake_fini(&fake);
	return 0;
}

static enum status bind_text(const char *sql, struct arena *arena, struct stmt **out, struct error *err)
{
	struct bind_context cx = fake_context(&fake, arena, err);
	struct raw_list list;
	enum status st = sql_parse(sql, arena, &list, err);

	if (st == ST_OK && list.count != 1)
		return ST_END;
	return st == ST_OK ? sql_bind_stmt(&cx, list.at[0], out) : st;
}

/* "ok|name:type,…" or "42703|8|column …", as in bind_cases.def. */
static char *outcome(const char *sql, struct arena *arena)
{
	struct error err = {0};
	struct stmt *s = NULL;
	enum status st = bind_text(sql, arena, &s, &err);
	char *text = arena_strdup(arena, "ok|");
	uint32_t i;

	if (st != ST_OK)
		return arena_printf(arena, "%s|%d|%s", status_sqlstate(st), err.position, err.message);
	for (i = 0; s->query && i < s->query->target_count; i++)
		if (!s->query->targets[i].junk)
			text = arena_printf(arena, "%s%s:%s,", text, s->query->targets[i].name,
					    type_format(s->query->targets[i].expr->type, arena));
	return text;
}

static void check_outcome(const char *sql, const char *want)
{
	struct arena arena;
	char *got;

	arena_init(&arena, &fake.mem);
	got = outcome(sql, &arena);
	if (strcmp(got, want) != 0)
		fprintf(stderr, "\n%s\n  want %s\n  got  %s\n", sql, want, got);
	CU_ASSERT_STRING_EQUAL(got, want);
	arena_fini(&arena);
}

static void check_dump(const char *sql, const char *want)
{
	struct error err = {0};
	struct stmt *s = NULL;
	struct arena arena;
	const char *got;

	arena_init(&arena, &fake.mem);
	got = bind_text(sql, &arena, &s, &err) == ST_OK && s->query ? query_dump(s->query, &arena) : err.message;
	if (strcmp(got, want) != 0)
		fprintf(stderr, "\n%s\nwant:\n%s\ngot:\n%s\n", sql, want, got);
	CU_ASSERT_STRING_EQUAL(got, want);
	arena_fini(&arena);
}

/* Every statement has the columns, types and errors that PostgreSQL gives it. */
static void test_bind_as_postgresql(void)
{
	static const struct { const char *sql, *want; } cases[] = {
#define CASE(sql, want) {sql, want},
#include "tests/unit/sql/bind_cases.def"
#undef CASE
	};
	size_t i;

	for (i = 0; i < sizeof cases / sizeof *cases; i++)
		check_outcome(cases[i].sql, cases[i].want);
}

/* What we do not have is refused by name with 0A000, where the grammar takes it. */
static void test_bind_unsupported_is_named(void)
{
	check_outcome("create view x as select 1", "0A000|0|CREATE VIEW is not supported");
	check_outcome("create or replace function f() returns int language sql as 'select 1'",
		      "0A000|0|CREATE FUNCTION is not supported");
	check_outcome("create materialized view x as select 1", "0A000|0|CREATE MATERIALIZED VIEW is not supported");
	check_outcome("grant select on t to x", "0A000|0|GRANT is not supported");
	check_outcome("listen x", "0A000|0|LISTEN is not supported");
	check_outcome("prepare transaction 'x'", "0A000|0|PREPARE TRANSACTION is not supported");
	check_outcome("create temp table x (a int)", "0A000|19|a temporary table is not supported");
	check_outcome("create table x (a int references t)", "0A000|23|FOREIGN KEY constraints is not supported");
	check_outcome("create table x (a int) partition by hash (a)", "0A000|14|PARTITION BY is not supported");
	check_outcome("create table x () inherits (t)", "0A000|14|INHERITS is not supported");
	check_outcome("merge into t using u on t.a = u.a when matched then delete", "0A000|0|MERGE is not supported");
	check_outcome("alter table t alter a type text", "0A000|0|ALTER COLUMN TYPE is not supported");
	check_outcome("copy t from '/tmp/x'", "0A000|0|COPY FROM a file or program (use STDIN) is not supported");
	check_outcome("select count(*) over () from t", "0A000|8|a window function is not supported");
	check_outcome("with recursive q as (select 1) select * from q", "0A000|1|WITH RECURSIVE is not supported");
	check_outcome("commit and chain", "0A000|0|AND CHAIN is not supported");
}

/* Joins: merged columns of USING come first and once; FULL takes whichever side there is; ON sees both sides only. */
static void test_bind_join_tree(void)
{
	check_dump("select * from t join (select a, name from u) s using (a) where name > 'm'",
		   "select\n"
		   "  rel 0 table t public.t\n"
		   "  rel 1 subquery s\n"
		   "    column a :integer\n"
		   "    column name :character varying(20)\n"
		   "    select\n"
		   "      rel 0 table u public.u\n"
		   "      scan 0\n"
		   "      target a = a :integer\n"
		   "      target name = name :character varying(20)\n"
		   "  join inner\n"
		   "    scan 0\n"
		   "    scan 1\n"
		   "    on (t.a = s.a) :boolean\n"
		   "  where (s.name > 'm'::text) :boolean\n"
		   "  target a = t.a :integer\n"
		   "  target b = t.b :text\n"
		   "  target c = t.c :numeric(10,2)\n"
		   "  target d = t.d :timestamp without time zone\n"
		   "  target e = t.e :boolean\n"
		   "  target f = t.f :double precision\n"
		   "  target name = s.name :character varying(20)\n");
	check_dump("select a from t full join u using (a)",
		   "select\n"
		   "  rel 0 table t public.t\n"
		   "  rel 1 table u public.u\n"
		   "  join full\n"
		   "    scan 0\n"
		   "    scan 1\n"
		   "    on (t.a = u.a) :boolean\n"
		   "  target a = COALESCE(t.a, u.a) :integer\n");
}

/* A correlated reference names how many query levels up it is; a set operation is a level between. */
static void test_bind_levels(void)
{
	check_dump("select (select u.name from u where u.a = t.a) from t",
		   "select\n"
		   "  rel 0 table t public.t\n"
		   "  scan 0\n"
		   "  target name = (SELECT …) :character varying(20)\n"
		   "    select\n"
		   "      rel 0 table u public.u\n"
		   "      scan 0\n"
		   "      where (a = $column(0,1,1)) :boolean\n"
		   "      target name = name :character varying(20)\n");
	check_dump("select exists (select t.a union select 1.5) from t",
		   "select\n"
		   "  rel 0 table t public.t\n"
		   "  scan 0\n"
		   "  target exists = EXISTS (SELECT …) :boolean\n"
		   "    select union\n"
		   "      select\n"
		   "        target a = $column(0,1,2)::numeric :numeric\n"
		   "      select\n"
		   "        target ?column? = 1.5 :numeric\n"
		   "      target a = a :numeric\n");
}

/* Grouping: aggregates are shared, an expression that is grouped is left whole, ORDER BY adds junk targets. */
static void test_bind_aggregate_tree(void)
{
	check_dump("select b, count(*) + count(*) from t group by b having count(*) > 1 order by max(a) desc",
		   "select\n"
		   "  rel 0 table t public.t\n"
		   "  scan 0\n"
		   "  target b = b :text\n"
		   "  target ?column? = (count(*) + count(*)) :bigint\n"
		   "  junk ?column? = max(a) :integer\n"
		   "  group b :text\n"
		   "  having (count(*) > 1) :boolean\n"
		   "  sort 2 desc nulls first\n");
}

/* INSERT gives every column: coerced with its length, defaults filled in, sequences as nextval. */
static void test_bind_insert_tree(void)
{
	check_dump("insert into u (a, name) values (1, 'q') on conflict (name) do update set a = excluded.a + u.a returning id",
		   "insert\n"
		   "  rel 0 table u public.u\n"
		   "  rel 1 table excluded public.u\n"
		   "  columns 1 2 3 4 5\n"
		   "  source\n"
		   "    select\n"
		   "      target id = nextval('16389'::regclass) :bigint\n"
		   "      target a = 1 :integer\n"
		   "      target name = 'q'::character varying::character varying(20) :character varying(20)\n"
		   "      target big = NULL::bigint :bigint\n"
		   "      target day = NULL::date :date\n"
		   "  conflict update u_name_key\n"
		   "  set 2 = (excluded.a + u.a) :integer\n"
		   "  check u_a_check (u.a > 0) :boolean\n"
		   "  target id = u.id :bigint\n");
	check_dump("insert into t (a, b) select id, name from u",
		   "insert\n"
		   "  rel 0 table t public.t\n"
		   "  columns 1 2 3 4 5 6\n"
		   "  source\n"
		   "    select\n"
		   "      rel 0 subquery *SELECT*\n"
		   "        column id :bigint\n"
		   "        column name :character varying(20)\n"
		   "        select\n"
		   "          rel 0 table u public.u\n"
		   "          scan 0\n"
		   "          target id = id :bigint\n"
		   "          target name = name :character varying(20)\n"
		   "      scan 0\n"
		   "      target a = id::integer :integer\n"
		   "      target b = name :text\n"
		   "      target c = NULL::numeric(10,2) :numeric(10,2)\n"
		   "      target d = NULL::timestamp without time zone :timestamp without time zone\n"
		   "      target e = true :boolean\n"
		   "      target f = NULL::double precision :double precision\n");
}

static const struct table_def *made_table(const char *sql, struct arena *arena, struct create_table_stmt **out)
{
	struct error err = {0};
	struct stmt *s;

	if (bind_text(sql, arena, &s, &err) != ST_OK || !s->create_table || !s->create_table->def) {
		fprintf(stderr, "\n%s: %s\n", sql, err.message);
		CU_FAIL("CREATE TABLE does not bind");
		return NULL;
	}
	*out = s->create_table;
	return s->create_table->def;
}

/* CREATE TABLE: names of constraints, not-null, typmods, defaults and checks as text that says the same. */
static void test_bind_create_table(void)
{
	struct create_table_stmt *c;
	const struct table_def *t;
	struct arena arena;

	arena_init(&arena, &fake.mem);
	t = made_table("create table \"T x\" (id serial primary key, a varchar(10) default 'q' unique, b numeric(5,2) "
		       "default 1 + 1 check (b between 0 and 10), c timestamp default now(), check (a <> b::text), "
		       "unique (a, b)) with (fillfactor = 70)", &arena, &c);
	if (t) {
		CU_ASSERT_EQUAL(t->column_count, 4);
		CU_ASSERT_STRING_EQUAL(t->columns[0].default_sql, "nextval('public.\"T x_id_seq\"'::regclass)");
		CU_ASSERT_TRUE(t->columns[0].not_null);
		CU_ASSERT_EQUAL(c->serial_count, 1);
		CU_ASSERT_EQUAL(c->serials[0].attno, 1);
		CU_ASSERT_EQUAL(c->serials[0].seq->max, INT32_MAX);
		CU_ASSERT_EQUAL(t->columns[1].typmod, 14);
		CU_ASSERT_STRING_EQUAL(t->columns[1].default_sql, "'q'::character varying");
		CU_ASSERT_EQUAL(t->columns[2].typmod, (5 << 16 | 2) + 4);
		CU_ASSERT_STRING_EQUAL(t->columns[2].default_sql, "(1 + 1)");
		CU_ASSERT_STRING_EQUAL(t->columns[3].default_sql, "now()");
		CU_ASSERT_EQUAL(t->index_count, 3);
		CU_ASSERT_STRING_EQUAL(t->indexes[0].name, "T x_pkey");
		CU_ASSERT_TRUE(t->indexes[0].primary && t->indexes[0].unique && t->indexes[0].constraint);
		CU_ASSERT_STRING_EQUAL(t->indexes[1].name, "T x_a_key");
		CU_ASSERT_STRING_EQUAL(t->indexes[2].name, "T x_a_b_key");
		CU_ASSERT_EQUAL(t->check_count, 2);
		CU_ASSERT_STRING_EQUAL(t->checks[0].name, "T x_b_check");
		CU_ASSERT_STRING_EQUAL(t->checks[0].expr_sql, "((b >= 0::numeric) AND (b <= 10::numeric))");
		CU_ASSERT_STRING_EQUAL(t->checks[1].name, "T x_check");
		CU_ASSERT_STRING_EQUAL(t->options, "fillfactor=70");
	}
	arena_fini(&arena);
}

/* A generated name that is taken gets a number; a long one is cut so that it fits. */
static void test_bind_names_are_unique(void)
{
	struct create_table_stmt *c;
	const struct table_def *t;
	struct error err = {0};
	struct arena arena;
	struct stmt *s;

	arena_init(&arena, &fake.mem);
	t = made_table("create table x (a int check (a > 0) check (a < 9) unique, constraint x_a_key1 unique (a))", &arena, &c);
	if (t) {
		CU_ASSERT_STRING_EQUAL(t->indexes[0].name, "x_a_key");
		CU_ASSERT_STRING_EQUAL(t->checks[0].name, "x_a_check");
		CU_ASSERT_STRING_EQUAL(t->checks[1].name, "x_a_check1");
	}
	t = made_table("create table aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa "
		       "(bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb int unique)", &arena, &c);
	if (t) {
		CU_ASSERT_EQUAL(strlen(t->indexes[0].name), 63);
		CU_ASSERT_STRING_EQUAL(t->indexes[0].name,
				       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbb_key");
	}
	CU_ASSERT_EQUAL(bind_text("create index on u (a)", &arena, &s, &err), ST_OK);
	CU_ASSERT_STRING_EQUAL(s->create_index.def->name, "u_a_idx1");
	arena_fini(&arena);
}

/* ALTER TABLE: a later action sees what an earlier one added; a constant default is there for old rows. */
static void test_bind_alter_table(void)
{
	struct error err = {0};
	struct arena arena;
	struct stmt *s;

	arena_init(&arena, &fake.mem);
	CU_ASSERT_EQUAL(bind_text("alter table t add z int default 5 + 1, add unique (z, a), alter z set not null, drop b",
				  &arena, &s, &err), ST_OK);
	CU_ASSERT_EQUAL(s->alter.action_count, 4);
	CU_ASSERT_EQUAL(s->alter.actions[0].kind, ALTER_ADD_COLUMN);
	CU_ASSERT_EQUAL(s->alter.actions[0].column.attno, 7);
	CU_ASSERT_TRUE(s->alter.actions[0].column.has_missing);
	CU_ASSERT_EQUAL(s->alter.actions[0].column.missing.i, 6);
	CU_ASSERT_EQUAL(s->alter.actions[1].kind, ALTER_ADD_INDEX);
	CU_ASSERT_STRING_EQUAL(s->alter.actions[1].index.name, "t_z_a_key");
	CU_ASSERT_EQUAL(s->alter.actions[1].index.attnos[0], 7);
	CU_ASSERT_EQUAL(s->alter.actions[2].kind, ALTER_SET_NOT_NULL);
	CU_ASSERT_EQUAL(s->alter.actions[3].kind, ALTER_DROP_COLUMN);
	CU_ASSERT_EQUAL(s->alter.actions[3].attno, 2);
	CU_ASSERT_EQUAL(bind_text("alter table t add z timestamp default now()", &arena, &s, &err), ST_OK);
	CU_ASSERT_FALSE(s->alter.actions[0].column.has_missing);
	CU_ASSERT_EQUAL(bind_text("alter table if exists nosuch add z int", &arena, &s, &err), ST_OK);
	CU_ASSERT_EQUAL(s->rel_count, 0);
	CU_ASSERT_EQUAL(s->notice_count, 1);
	CU_ASSERT_STRING_EQUAL(s->notices[0], "relation \"nosuch\" does not exist, skipping");
	arena_fini(&arena);
}

/* Parameters take the type that their use asks for, given types stay, and two uses must agree. */
static void test_bind_parameters(void)
{
	static const uint32_t given[] = {T_INT8, T_NONE};
	struct error err = {0};
	struct arena arena;
	struct bind_context cx;
	struct raw_list list;
	struct stmt *s;

	arena_init(&arena, &fake.mem);
	CU_ASSERT_EQUAL(bind_text("select a from t where b = $2 and a = $1 limit $3", &arena, &s, &err), ST_OK);
	CU_ASSERT_EQUAL(s->param_count, 3);
	CU_ASSERT_EQUAL(s->param_types[0], T_INT4);
	CU_ASSERT_EQUAL(s->param_types[1], T_TEXT);
	CU_ASSERT_EQUAL(s->param_types[2], T_INT8);
	cx = fake_context(&fake, &arena, &err);
	cx.param_types = given;
	cx.param_count = 2;
	CU_ASSERT_EQUAL(sql_parse("select a from t where a = $1 and d = $2", &arena, &list, &err), ST_OK);
	CU_ASSERT_EQUAL(sql_bind_stmt(&cx, list.at[0], &s), ST_OK);
	CU_ASSERT_EQUAL(s->param_types[0], T_INT8);
	CU_ASSERT_EQUAL(s->param_types[1], T_TIMESTAMP);
	CU_ASSERT_EQUAL(sql_parse("select $2 is null", &arena, &list, &err), ST_OK);
	CU_ASSERT_EQUAL(bind_text("select $1::int, $1::text", &arena, &s, &err), ST_OK);
	CU_ASSERT_EQUAL(bind_text("select a from t where a = $1 and b = $1", &arena, &s, &err), ST_UNDEFINED_FUNCTION);
	arena_fini(&arena);
}

/* A definition that is not here yet: ST_WAIT, and the same call succeeds later. */
static void test_bind_waits(void)
{
	struct error err = {0};
	struct arena arena;
	struct bind_context cx;
	struct raw_list list;
	struct stmt *s = NULL;
	uint32_t waits = 0;
	enum status st;

	arena_init(&arena, &fake.mem);
	cx = fake_context(&fake, &arena, &err);
	CU_ASSERT_EQUAL(sql_parse("insert into t (a) select a from u where exists (select 1 from v)", &arena, &list, &err),
			ST_OK);
	do {
		fake.waits = 1;
		st = sql_bind_stmt(&cx, list.at[0], &s);
	} while (st == ST_WAIT && fake.waits == 0 && ++waits < 3);
	CU_ASSERT_EQUAL(st, ST_WAIT);
	CU_ASSERT_EQUAL(waits, 3);
	CU_ASSERT_PTR_NULL(s);
	fake.waits = 0;
	CU_ASSERT_EQUAL(sql_bind_stmt(&cx, list.at[0], &s), ST_OK);
	arena_fini(&arena);
}

/* Nesting is limited with 54001, never by the stack: operators, subqueries, joins, set operations, parentheses. */
static void test_bind_depth(void)
{
	static const struct { const char *head, *part, *tail; bool nested; } shapes[] = {
		{"select 1", " + 1", "", false},
		{"select 1", " union all select 1", "", false},
		{"select * from t t0", " natural join t", "", false},
		{"select a", "::int", " from t", false},
		{"select a from t where a in (", "select a from t where a in (", "1", true},
		{"select ", "coalesce(", "1", true},
	};
	struct error err = {0};
	size_t i, k, n = 10000;

	for (i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		size_t step = strlen(shapes[i].part), at;
		char *sql = malloc(step * n + n + 200);
		struct arena arena;
		struct stmt *s;
		enum status st;

		arena_init(&arena, &fake.mem);
		at = (size_t)sprintf(sql, "%s", shapes[i].head);
		for (k = 0; k < n; k++, at += step)
			memcpy(sql + at, shapes[i].part, step);
		at += (size_t)sprintf(sql + at, "%s", shapes[i].tail);
		for (k = 0; shapes[i].nested && k < n + (i == 4); k++)
			sql[at++] = ')';
		sql[at] = 0;
		st = bind_text(sql, &arena, &s, &err);
		CU_ASSERT_EQUAL(st, ST_TOO_COMPLEX);
		if (st != ST_TOO_COMPLEX)
			fprintf(stderr, "\n%s…: %s\n", shapes[i].head, err.message);
		arena_fini(&arena);
		free(sql);
	}
}

/* BETWEEN binds its operand twice: nested ones must end with 54001, not in an afternoon. */
static void test_bind_no_explosion(void)
{
	struct error err = {0};
	struct arena arena;
	char sql[4000] = "select ";
	struct stmt *s;
	size_t at = strlen(sql), i;

	for (i = 0; i < 60; i++)
		sql[at++] = '(';
	sql[at++] = '1';
	for (i = 0; i < 60; i++)
		at += (size_t)sprintf(sql + at, " between 1 and 2)::int");
	arena_init(&arena, &fake.mem);
	CU_ASSERT_EQUAL(bind_text(sql, &arena, &s, &err), ST_TOO_COMPLEX);
	arena_fini(&arena);
}

/* An expression of a definition binds over its table, coerced; positions in it mean nothing to a user. */
static void test_bind_expr_text(void)
{
	struct sql_type want = {T_NUMERIC, (5 << 16 | 2) + 4}, none = {T_NONE, -1};
	struct relation_def rel;
	struct error err = {0};
	struct arena arena;
	struct bind_context cx;
	struct expr *ex;

	arena_init(&arena, &fake.mem);
	cx = fake_context(&fake, &arena, &err);
	CU_ASSERT_EQUAL(fake_relation(&fake, "public", "t", &rel), ST_OK);
	CU_ASSERT_EQUAL(sql_bind_expr(&cx, "(a > 0) AND b IS NOT NULL", rel.table, none, &ex), ST_OK);
	CU_ASSERT_EQUAL(ex->type.oid, T_BOOL);
	CU_ASSERT_EQUAL(sql_bind_expr(&cx, "1", NULL, want, &ex), ST_OK);
	CU_ASSERT_EQUAL(ex->type.typmod, want.typmod);
	CU_ASSERT_EQUAL(sql_bind_expr(&cx, "nosuch + 1", rel.table, none, &ex), ST_UNDEFINED_COLUMN);
	CU_ASSERT_EQUAL(err.position, 0);
	CU_ASSERT_EQUAL(sql_bind_expr(&cx, "1, 2", NULL, none, &ex), ST_SYNTAX);
	CU_ASSERT_EQUAL(sql_bind_expr(&cx, "$1", NULL, want, &ex), ST_UNDEFINED_PARAMETER);
	arena_fini(&arena);
}

/* What expr_deparse writes binds again, and writes the same. */
static void test_bind_deparse_round_trip(void)
{
	static const char *const texts[] = {
		"a + 1 * 2", "-a", "b || 'x''y\\z'", "b LIKE 'x%' AND NOT e", "a IN (1, 2, 3)", "a NOT BETWEEN 1 AND 5",
		"CASE WHEN a > 0 THEN 'p' ELSE b END", "COALESCE(b, 'x')", "NULLIF(a, 0)", "GREATEST(a, 1)", "b IS NULL OR e IS TRUE",
		"a IS DISTINCT FROM 1", "d > '2020-01-01'", "d + interval '1 day'", "c::int", "a::numeric(5,2) > 1.50", "upper(b)",
		"substring(b from 1 for 2)", "extract(year from d)", "position('x' in b)", "a = ANY (ARRAY[1, 2])", "current_date",
		"b::varchar(3)", "f = 1e10", "a = 12345678901", "\"left\"(b, 1)", "trim(b)", "current_user = b", "e", "NULL::int",
		"c = 1", "b ~ 'x'", "a % 2 = 0", "(ARRAY[1,2])[1]", "now() > d", "overlay(b placing 'x' from 1)", "true",
	};
	struct sql_type none = {T_NONE, -1};
	struct relation_def rel;
	struct error err = {0};
	size_t i;

	CU_ASSERT_EQUAL(fake_relation(&fake, "public", "t", &rel), ST_OK);
	for (i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct range_rel r = {.alias = "t", .column_count = 6};
		struct rel_column columns[6];
		struct query q = {.rel_count = 1, .rels = &r};
		const char *one, *two = NULL;
		struct arena arena;
		struct bind_context cx;
		struct expr *ex, *again;
		uint32_t c;

		for (c = 0; c < 6; c++)
			columns[c].name = rel.table->columns[c].name;
		r.columns = columns;
		arena_init(&arena, &fake.mem);
		cx = fake_context(&fake, &arena, &err);
		if (sql_bind_expr(&cx, texts[i], rel.table, none, &ex) != ST_OK) {
			fprintf(stderr, "\n%s: %s\n", texts[i], err.message);
			CU_FAIL("does not bind");
			arena_fini(&arena);
			continue;
		}
		one = expr_deparse(ex, &q, &arena);
		if (sql_bind_expr(&cx, one, rel.table, ex->type, &again) == ST_OK)
			two = expr_deparse(again, &q, &arena);
		if (!two || strcmp(one, two) != 0)
			fprintf(stderr, "\n%s: %s: %s\n", texts[i], one, two ? two : err.message);
		CU_ASSERT_TRUE(two && !strcmp(one, two));
		arena_fini(&arena);
	}
}

/* The statement's own part and its place in the query string, in characters. */
static void test_bind_statement_text(void)
{
	struct error err = {0};
	struct bind_context cx;
	struct raw_list list;
	struct arena arena;
	struct stmt *s;

	arena_init(&arena, &fake.mem);
	cx = fake_context(&fake, &arena, &err);
	CU_ASSERT_EQUAL(sql_parse("select 'é' ; -- x\n  select nosuch from t ;", &arena, &list, &err), ST_OK);
	CU_ASSERT_EQUAL(list.count, 2);
	CU_ASSERT_EQUAL(sql_bind_stmt(&cx, list.at[0], &s), ST_OK);
	CU_ASSERT_STRING_EQUAL(s->text, "select 'é'");
	CU_ASSERT_EQUAL(s->location, 0);
	CU_ASSERT_STRING_EQUAL(s->tag, "SELECT");
	CU_ASSERT_EQUAL(sql_bind_stmt(&cx, list.at[1], &s), ST_UNDEFINED_COLUMN);
	CU_ASSERT_EQUAL(err.position, 28);
	arena_fini(&arena);
}

void suite_sql_bind(void)
{
	CU_pSuite s = CU_add_suite("sql_bind", setup, teardown);

	CU_add_test(s, "as_postgresql", test_bind_as_postgresql);
	CU_add_test(s, "unsupported_is_named", test_bind_unsupported_is_named);
	CU_add_test(s, "join_tree", test_bind_join_tree);
	CU_add_test(s, "levels", test_bind_levels);
	CU_add_test(s, "aggregate_tree", test_bind_aggregate_tree);
	CU_add_test(s, "insert_tree", test_bind_insert_tree);
	CU_add_test(s, "create_table", test_bind_create_table);
	CU_add_test(s, "names_are_unique", test_bind_names_are_unique);
	CU_add_test(s, "alter_table", test_bind_alter_table);
	CU_add_test(s, "parameters", test_bind_parameters);
	CU_add_test(s, "waits", test_bind_waits);
	CU_add_test(s, "depth", test_bind_depth);
	CU_add_test(s, "no_explosion", test_bind_no_explosion);
	CU_add_test(s, "expr_text", test_bind_expr_text);
	CU_add_test(s, "deparse_round_trip", test_bind_deparse_round_trip);
	CU_add_test(s, "statement_text", test_bind_statement_text);
}
