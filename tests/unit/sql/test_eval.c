/* test_eval.c - the evaluator: selections, nulls, constants, and parts that must not be evaluated. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "engine/sql/functions_int.h"
#include "tests/unit/sql/golden.h"

void suite_sql_eval(void);

#define ROWS 1000

static struct mem mem;
static struct arena arena; /* expressions and inputs */
static struct arena work;
static struct vec inputs[4]; /* a int4 0..999; b int4 mod 10, null when divisible by 7; c bool of three values; d text */
static struct error err;
static uint16_t odd[ROWS / 2];

static int setup(void)
{
	mem_init(&mem, NULL, "test_eval", 0);
	arena_init(&arena, &mem);
	arena_init(&work, &mem);
	vec_alloc(&inputs[0], PHYS_I32, ROWS, &arena);
	inputs[0].nulls = NULL;
	vec_alloc(&inputs[1], PHYS_I32, ROWS, &arena);
	vec_alloc(&inputs[2], PHYS_BOOL, ROWS, &arena);
	vec_alloc(&inputs[3], PHYS_VAR, ROWS, &arena);
	for (uint32_t r = 0; r < ROWS; r++) {
		inputs[0].i32[r] = (int32_t)r;
		inputs[1].i32[r] = r % 7 ? (int32_t)(r % 10) : INT32_MAX; /* under a null bit anything may stand */
		if (r % 7 == 0)
			bit_set(inputs[1].nulls, r);
		inputs[2].b[r] = r % 3 == 1;
		if (r % 3 == 2)
			bit_set(inputs[2].nulls, r);
		inputs[3].var[r] = (struct slice){(const uint8_t *)(r % 2 ? "odd" : "even"), r % 2 ? 3 : 4, 0};
		if (r % 2)
			odd[r / 2] = (uint16_t)r;
	}
	return 0;
}

static int teardown(void)
{
	arena_fini(&work);
	arena_fini(&arena);
	mem_fini(&mem);
	return 0;
}

static struct eval new_eval(void)
{
	arena_reset(&work);
	err = (struct error){0};
	return (struct eval){.arena = &work, .err = &err};
}

static struct expr *col(uint32_t i)
{
	static const uint32_t oids[] = {T_INT4, T_INT4, T_BOOL, T_TEXT};

	return ex_input(&arena, oids[i], i);
}

static struct expr *num(const char *text)
{
	return ex_const(&arena, T_INT4, text);
}

static struct expr *of(enum expr_kind kind, uint32_t oid, uint32_t count, struct expr *a, struct expr *b, struct expr *c)
{
	struct expr *args[3] = {a, b, c};

	return ex_nary(&arena, kind, oid, count, args);
}

/* 1 / (a - k): fails in row k only */
static struct expr *trap(const char *k)
{
	return ex_op(&arena, "/", num("1"), ex_op(&arena, "-", col(0), num(k)));
}

static void rows_are(const struct vec *v, const uint16_t *sel, uint32_t n, bool (*right)(uint32_t r, const struct cell *c))
{
	unsigned wrong = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t r = sel ? sel[i] : i;
		struct cell c;

		vec_cell(v, r, &c);
		wrong += !right(r, &c);
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void check(const struct expr *ex, bool (*right)(uint32_t r, const struct cell *c))
{
	static const uint16_t one[] = {777};
	struct eval ev = new_eval();
	struct vec v;

	CU_ASSERT_EQUAL_FATAL(expr_eval(&ev, ex, inputs, ROWS, NULL, ROWS, &v), ST_OK);
	rows_are(&v, NULL, ROWS, right);
	CU_ASSERT_EQUAL_FATAL(expr_eval(&ev, ex, inputs, ROWS, odd, ROWS / 2, &v), ST_OK);
	rows_are(&v, odd, ROWS / 2, right);
	CU_ASSERT_EQUAL_FATAL(expr_eval(&ev, ex, inputs, ROWS, one, 1, &v), ST_OK);
	rows_are(&v, one, 1, right);
	CU_ASSERT_EQUAL_FATAL(expr_eval(&ev, ex, inputs, 1, NULL, 1, &v), ST_OK);
	rows_are(&v, NULL, 1, right);
	CU_ASSERT_EQUAL(ev.depth, 0);
}

static bool is_sum(uint32_t r, const struct cell *c)
{
	return r % 7 ? !c->null && c->i == (int64_t)(r + r % 10) : c->null;
}

/* Arithmetic over all rows, some rows, one row; a null row does not overflow. */
static void test_eval_arithmetic(void)
{
	check(ex_op(&arena, "+", col(0), col(1)), is_sum);
}

static bool is_and(uint32_t r, const struct cell *c)
{
	bool x = r % 2, n = r % 3 == 2, y = r % 3 == 1;

	return !x || (!n && !y) ? !c->null && !c->i : n ? c->null : !c->null && c->i;
}

static bool is_or(uint32_t r, const struct cell *c)
{
	bool x = r % 2, n = r % 3 == 2, y = r % 3 == 1;

	return x || (!n && y) ? !c->null && c->i : n ? c->null : !c->null && !c->i;
}

/* Three-valued logic, whichever side the null is on. */
static void test_eval_logic(void)
{
	struct expr *is_odd = ex_op(&arena, "=", col(3), ex_const(&arena, T_TEXT, "odd"));

	check(of(EX_AND, T_BOOL, 2, is_odd, col(2), NULL), is_and);
	check(of(EX_AND, T_BOOL, 2, col(2), is_odd, NULL), is_and);
	check(of(EX_OR, T_BOOL, 2, is_odd, col(2), NULL), is_or);
	check(of(EX_OR, T_BOOL, 2, col(2), is_odd, NULL), is_or);
}

static bool is_safe(uint32_t r, const struct cell *c)
{
	return !c->null && c->i == (r != 500 && r == 501);
}

/* A false conjunct, a true disjunct, an untaken CASE branch, a COALESCE that is answered: what follows never runs for that row. */
static void test_eval_lazy(void)
{
	struct expr *not_500 = ex_op(&arena, "<>", col(0), num("500"));
	struct expr *is_500 = ex_op(&arena, "=", col(0), num("500"));
	struct expr *bad = ex_op(&arena, "=", trap("500"), num("1")), *args[3];
	struct eval ev = new_eval();
	struct vec v;
	uint16_t sel[ROWS];
	uint32_t n;

	check(of(EX_AND, T_BOOL, 2, not_500, bad, NULL), is_safe);
	CU_ASSERT_EQUAL(expr_eval(&ev, of(EX_OR, T_BOOL, 2, is_500, bad, NULL), inputs, ROWS, NULL, ROWS, &v), ST_OK);
	args[0] = not_500;
	args[1] = trap("500");
	args[2] = num("0");
	CU_ASSERT_EQUAL(expr_eval(&ev, ex_nary(&arena, EX_CASE, T_INT4, 3, args), inputs, ROWS, NULL, ROWS, &v), ST_OK);
	CU_ASSERT(v.i32[500] == 0 && v.i32[501] == 1 && v.i32[499] == -1);
	args[0] = ex_nary(&arena, EX_CASE, T_INT4, 3, (struct expr *[]){is_500, num("9"), ex_const(&arena, T_INT4, NULL)});
	args[1] = trap("500");
	CU_ASSERT_EQUAL(expr_eval(&ev, ex_nary(&arena, EX_COALESCE, T_INT4, 2, args), inputs, ROWS, NULL, ROWS, &v), ST_OK);
	CU_ASSERT(v.i32[500] == 9 && v.i32[501] == 1);
	CU_ASSERT_EQUAL(expr_filter(&ev, of(EX_AND, T_BOOL, 2, not_500, bad, NULL), inputs, ROWS, NULL, ROWS, sel, &n), ST_OK);
	CU_ASSERT(n == 1 && sel[0] == 501);
	/* and where it is asked for, it fails */
	CU_ASSERT_EQUAL(expr_eval(&ev, of(EX_AND, T_BOOL, 2, bad, not_500, NULL), inputs, ROWS, NULL, ROWS, &v),
			ST_DIVISION_BY_ZERO);
	CU_ASSERT_STRING_EQUAL(err.message, "division by zero");
	CU_ASSERT_EQUAL(expr_eval(&ev, trap("500"), inputs, ROWS, odd, ROWS / 2, &v), ST_OK);
	CU_ASSERT_EQUAL(expr_eval(&ev, trap("500"), inputs, ROWS, NULL, 0, &v), ST_OK);
}

/* Overflow in a constant expression is an error only if a row asks for it. */
static void test_eval_constant_error(void)
{
	struct expr *bad = ex_op(&arena, "/", num("1"), num("0"));
	struct expr *args[3] = {ex_op(&arena, "<", col(0), num("0")), bad, num("5")};
	struct eval ev = new_eval();
	struct vec v;

	CU_ASSERT_EQUAL(expr_eval(&ev, ex_nary(&arena, EX_CASE, T_INT4, 3, args), inputs, ROWS, NULL, ROWS, &v), ST_OK);
	CU_ASSERT_EQUAL(v.i32[999], 5);
	CU_ASSERT_EQUAL(expr_eval(&ev, bad, inputs, ROWS, NULL, 0, &v), ST_OK);
	CU_ASSERT_EQUAL(expr_eval(&ev, bad, inputs, ROWS, NULL, ROWS, &v), ST_DIVISION_BY_ZERO);
	CU_ASSERT(expr_is_constant(bad));
	CU_ASSERT(!expr_is_constant(args[0]));
}

static bool is_in(uint32_t r, const struct cell *c)
{
	if (r % 7 == 0)
		return c->null;
	return r % 10 == 1 || r % 10 == 3 ? !c->null && c->i : c->null; /* NULL is in the list */
}

static bool is_not_in(uint32_t r, const struct cell *c)
{
	if (r % 7 == 0)
		return c->null;
	return !c->null && c->i == !(r % 10 == 1 || r % 10 == 3);
}

/* IN with and without a null in the list, = ANY and <> ALL of an array, constant or built from columns. */
static void test_eval_membership(void)
{
	struct expr *list[] = {col(1), num("1"), num("3"), ex_const(&arena, T_INT4, NULL)};
	struct expr *in = ex_nary(&arena, EX_IN, T_BOOL, 4, list), *not_in = ex_nary(&arena, EX_IN, T_BOOL, 3, list);
	struct expr *any, *all, *array;

	in->fn = not_in->fn = ex_op(&arena, "=", col(1), num("1"))->fn;
	not_in->negate = true;
	check(in, is_in);
	check(not_in, is_not_in);
	any = of(EX_ANY_ARRAY, T_BOOL, 2, col(1), ex_const(&arena, T_INT4_ARRAY, "{1,NULL,3}"), NULL);
	any->fn = in->fn;
	check(any, is_in);
	all = of(EX_ANY_ARRAY, T_BOOL, 2, col(1), ex_const(&arena, T_INT4_ARRAY, "{1,3}"), NULL);
	all->fn = ex_op(&arena, "<>", col(1), num("1"))->fn;
	all->all = true;
	check(all, is_not_in);
	array = ex_nary(&arena, EX_ARRAY, T_INT4_ARRAY, 2, (struct expr *[]){num("1"), ex_op(&arena, "+", num("3"), ex_op(&arena, "*", col(0), num("0")))});
	all->args[1] = array;
	check(all, is_not_in);
}

static bool is_greatest(uint32_t r, const struct cell *c)
{
	int64_t best = r % 7 && r % 10 > 5 ? r % 10 : 5;

	return !c->null && c->i == best;
}

static bool is_nullif(uint32_t r, const struct cell *c)
{
	return r == 3 ? c->null : !c->null && c->i == (int64_t)r;
}

static bool is_distinct(uint32_t r, const struct cell *c)
{
	return !c->null && c->i == (r % 7 == 0 || r % 10 != r);
}

static bool is_null(uint32_t r, const struct cell *c)
{
	return !c->null && c->i == (r % 7 == 0);
}

static bool is_not_true(uint32_t r, const struct cell *c)
{
	return !c->null && c->i == (r % 3 != 1);
}

static bool is_coalesced(uint32_t r, const struct cell *c)
{
	return !c->null && c->i == (r % 7 ? (int64_t)(r % 10) : (int64_t)r);
}

/* GREATEST passes nulls over, NULLIF makes them, IS DISTINCT, IS NULL and IS TRUE never give one. */
static void test_eval_null_forms(void)
{
	struct expr *greatest = of(EX_GREATEST, T_INT4, 3, ex_const(&arena, T_INT4, NULL), col(1), num("5"));
	struct expr *nullif = of(EX_NULLIF, T_INT4, 2, col(0), num("3"), NULL);
	struct expr *distinct = of(EX_IS_DISTINCT, T_BOOL, 2, col(0), col(1), NULL);
	struct expr *not_true = of(EX_IS_TRUE, T_BOOL, 1, col(2), NULL, NULL);

	greatest->fn = ex_op(&arena, "<", col(0), col(1))->fn;
	nullif->fn = distinct->fn = ex_op(&arena, "=", col(0), col(1))->fn;
	not_true->negate = true;
	check(greatest, is_greatest);
	check(nullif, is_nullif);
	check(distinct, is_distinct);
	check(of(EX_IS_NULL, T_BOOL, 1, col(1), NULL, NULL), is_null);
	check(not_true, is_not_true);
	check(of(EX_COALESCE, T_INT4, 2, col(1), col(0), NULL), is_coalesced);
}

/* A random tree of AND, OR, NOT and comparisons: the filter keeps the rows for which evaluation gives true. */
static struct expr *random_bool(uint64_t *seed, int depth)
{
	struct expr *args[3];
	char text[16];
	uint32_t n;

	*seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	if (depth == 0 || (*seed >> 33) % 5 == 0) {
		static const char *const ops[] = {"=", "<>", "<", "<=", ">", ">="};

		snprintf(text, sizeof text, "%u", (unsigned)(*seed >> 40) % 12);
		if ((*seed >> 50) % 6 == 0)
			return col(2);
		return ex_op(&arena, ops[(*seed >> 36) % 6], col((*seed >> 55) % 2), num(text));
	}
	if ((*seed >> 33) % 5 == 1)
		return of(EX_NOT, T_BOOL, 1, random_bool(seed, depth - 1), NULL, NULL);
	n = 2 + (*seed >> 44) % 2;
	for (uint32_t i = 0; i < n; i++)
		args[i] = random_bool(seed, depth - 1);
	return ex_nary(&arena, (*seed >> 60) % 2 ? EX_AND : EX_OR, T_BOOL, n, args);
}

static void test_eval_filter(void)
{
	uint64_t seed = 42;

	for (int i = 0; i < 300; i++) {
		struct expr *ex = random_bool(&seed, 4);
		struct eval ev = new_eval();
		uint16_t sel[ROWS];
		uint32_t n, want = 0;
		struct vec v;
		bool same = true;

		memcpy(sel, odd, sizeof odd);
		CU_ASSERT_EQUAL(expr_eval(&ev, ex, inputs, ROWS, odd, ROWS / 2, &v), ST_OK);
		CU_ASSERT_EQUAL(expr_filter(&ev, ex, inputs, ROWS, sel, ROWS / 2, sel, &n), ST_OK); /* in place */
		for (uint32_t k = 0; k < ROWS / 2; k++) {
			struct cell c;

			vec_cell(&v, odd[k], &c);
			if (!c.null && c.i) {
				same = same && want < n && sel[want] == odd[k];
				want++;
			}
		}
		CU_ASSERT(same && want == n);
	}
}

/* A tree deeper than the limit is refused, and the evaluator can be used again. */
static void test_eval_depth(void)
{
	struct expr *ex = col(0);
	struct eval ev = new_eval();
	struct vec v;

	for (int i = 0; i < EXPR_DEPTH_MAX - 1; i++)
		ex = ex_op(&arena, "+", ex, num("0"));
	CU_ASSERT_EQUAL(expr_eval(&ev, ex, inputs, ROWS, NULL, ROWS, &v), ST_OK);
	ex = ex_op(&arena, "+", ex, num("0"));
	CU_ASSERT_EQUAL(expr_eval(&ev, ex, inputs, ROWS, NULL, ROWS, &v), ST_TOO_COMPLEX);
	CU_ASSERT_EQUAL(ev.depth, 0);
}

/* Parameters by number, typed nulls among them; one that is not there is an error. */
static void test_eval_params(void)
{
	struct cell params[2] = {{.phys = PHYS_I32, .i = 7}, {.null = true}};
	struct expr *p1 = ex_nary(&arena, EX_PARAM, T_INT4, 0, NULL), *p2 = ex_nary(&arena, EX_PARAM, T_INT4, 0, NULL);
	struct eval ev = new_eval();
	struct cell c;

	p1->param = 1;
	p2->param = 2;
	ev.params = params;
	ev.param_count = 2;
	CU_ASSERT_EQUAL(expr_eval_one(&ev, ex_op(&arena, "*", p1, num("6")), &c), ST_OK);
	CU_ASSERT_EQUAL(c.i, 42);
	CU_ASSERT_EQUAL(expr_eval_one(&ev, ex_op(&arena, "+", p1, p2), &c), ST_OK);
	CU_ASSERT(c.null);
	p1->param = 3;
	CU_ASSERT_EQUAL(expr_eval_one(&ev, p1, &c), ST_UNDEFINED_PARAMETER);
}

static unsigned session_calls;

static enum status fake_session(void *ctx, const struct expr *ex, const struct vec *args, uint32_t arg_count,
				const uint16_t *sel, uint32_t n, struct arena *a, struct vec *out, struct error *e)
{
	(void)args;
	(void)arg_count;
	(void)sel;
	(void)n;
	session_calls++;
	if (ex->fn->sfn == SFN_WAIT_FOR)
		return error_set(e, ST_WAIT, "not yet");
	vec_alloc(out, PHYS_I32, 1, a);
	out->constant = true;
	out->i32[0] = *(int *)ctx;
	return ST_OK;
}

/* Functions of the session are asked for through the hook; its WAIT comes up unchanged; without a hook they are refused. */
static void test_eval_session(void)
{
	int pid = 4711;
	struct eval_hooks hooks = {fake_session, &pid};
	struct expr *ex = ex_fn(&arena, "pg_backend_pid", 0, NULL);
	struct expr *index = ex_const(&arena, T_INT8, "9");
	struct eval ev = new_eval();
	struct cell c;

	CU_ASSERT_EQUAL(expr_eval_one(&ev, ex, &c), ST_UNSUPPORTED);
	ev.hooks = &hooks;
	ex->kind = EX_SESSION;
	session_calls = 0;
	CU_ASSERT_EQUAL(expr_eval_one(&ev, ex_op(&arena, "+", ex, num("1")), &c), ST_OK);
	CU_ASSERT_EQUAL(c.i, 4712);
	CU_ASSERT_EQUAL(expr_eval_one(&ev, ex_fn(&arena, "valence.wait_for", 1, &index), &c), ST_WAIT);
	CU_ASSERT_EQUAL(session_calls, 2);
	CU_ASSERT(!expr_is_constant(ex));
}

/* Functions of any number of any arguments know the types of theirs. */
static void test_eval_any(void)
{
	struct expr *args[4] = {ex_const(&arena, T_BOOL, "t"), num("5"), ex_const(&arena, T_TEXT, NULL),
				ex_const(&arena, T_DATE, "2020-01-02")};
	struct eval ev = new_eval();
	struct cell c;

	CU_ASSERT_EQUAL(expr_eval_one(&ev, ex_fn(&arena, "concat", 4, args), &c), ST_OK);
	CU_ASSERT(c.bytes == 12 && memcmp(c.var, "t52020-01-02", 12) == 0);
	CU_ASSERT_EQUAL(expr_eval_one(&ev, ex_fn(&arena, "num_nulls", 4, args), &c), ST_OK);
	CU_ASSERT_EQUAL(c.i, 1);
	CU_ASSERT_EQUAL(expr_eval_one(&ev, ex_fn(&arena, "pg_typeof", 1, args + 3), &c), ST_OK);
	CU_ASSERT_EQUAL(c.i, T_DATE);
}

void suite_sql_eval(void)
{
	CU_pSuite s = CU_add_suite("sql_eval", setup, teardown);

	CU_add_test(s, "arithmetic", test_eval_arithmetic);
	CU_add_test(s, "logic", test_eval_logic);
	CU_add_test(s, "lazy", test_eval_lazy);
	CU_add_test(s, "constant_error", test_eval_constant_error);
	CU_add_test(s, "membership", test_eval_membership);
	CU_add_test(s, "null_forms", test_eval_null_forms);
	CU_add_test(s, "filter", test_eval_filter);
	CU_add_test(s, "depth", test_eval_depth);
	CU_add_test(s, "params", test_eval_params);
	CU_add_test(s, "session", test_eval_session);
	CU_add_test(s, "any", test_eval_any);
}
