/*
 * test_anomalies.c - histories with one known anomaly each, at every level, and some without any.
 */
#include "history/history.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "../unit.h"

/* A transaction of process p from one time to another. */
#define T(p, from, to, how, ops) #from " " #p " invoke c" #p " rr\n" #to " " #p " " how " " ops "\n"
#define TF(p, from, to, flags, how, ops) #from " " #p " invoke c" #p " rr," flags "\n" #to " " #p " " how " " ops "\n"

/* What is wanted of a level: an anomaly's name, or NULL when the level allows the history. */
struct known {
	const char *what, *text;
	const char *rc, *rr, *ser;
	enum history_realtime realtime;
	bool session, commit_index;
};

/* The levels that forbid it. */
#define ALL(name) .rc = name, .rr = name, .ser = name
#define RR(name) .rc = NULL, .rr = name, .ser = name
#define SER(name) .rc = NULL, .rr = NULL, .ser = name

static const struct known known[] = {
	{"writes in both orders", T(1, 0, 9, "ok", "x+=1 | y+=1") T(2, 0, 9, "ok", "x+=2 | y+=2")
	 T(3, 0, 9, "ok", "x?[1,2] y?[2,1]"), ALL("G0")},
	{"a list in two pieces of one transaction", T(1, 0, 9, "ok", "x+=1 | x+=3") T(2, 0, 9, "ok", "x+=2")
	 T(3, 0, 9, "ok", "x?[1,2,3]"), ALL("G0")},
	{"an aborted append", T(1, 0, 9, "fail", "x+=1") T(2, 0, 9, "ok", "x?[1]"),
	 ALL("G1a (aborted read)")},
	{"an aborted write", T(1, 0, 9, "fail", "x=1") T(2, 0, 9, "ok", "x?1"),
	 ALL("G1a (aborted read)")},
	{"an aborted append below another", T(1, 0, 9, "fail", "x+=1") T(2, 0, 9, "ok", "x+=2") T(3, 0, 9, "ok", "x?[1,2]"),
	 ALL("G1a (aborted read)")},
	{"half of a transaction's appends", T(1, 0, 9, "ok", "x+=1 | x+=2") T(2, 0, 9, "ok", "x?[1]"),
	 ALL("G1b (intermediate read)")},
	{"a value that was overwritten", T(1, 0, 9, "ok", "x=1 | x=2") T(2, 0, 9, "ok", "x?1"),
	 ALL("G1b (intermediate read)")},
	{"each read of the other", T(1, 0, 9, "ok", "x+=1 | y?[2]") T(2, 0, 9, "ok", "y+=2 | x?[1]"), ALL("G1c")},
	{"each read of the other's register", T(1, 0, 9, "ok", "x=1 | y?2") T(2, 0, 9, "ok", "y=2 | x?1"), ALL("G1c")},
	{"a value of nobody", T(1, 0, 9, "ok", "x?[7]"), ALL("unknown value")},
	{"a register's value of nobody", T(1, 0, 9, "ok", "x?7"), ALL("unknown value")},
	{"an own append that is not seen", T(1, 0, 9, "ok", "x+=1 | x?[]"), ALL("internal")},
	{"an own write that is not seen", T(1, 0, 9, "ok", "x=1 | x?nil"), ALL("internal")},
	{"another's append above an own one", T(1, 0, 9, "ok", "x+=1 | x?[1,2]") T(2, 0, 9, "ok", "x+=2"),
	 ALL("internal")},
	{"what is written afterwards", T(1, 0, 9, "ok", "x?[1] | x+=1"), ALL("internal")},
	{"a read that cannot be repeated", T(1, 0, 9, "ok", "x+=1") T(2, 0, 9, "ok", "x+=2") T(3, 0, 9, "ok", "x?[1] | x?[1,2]"),
	 RR("internal")},
	{"a register that cannot be read again", T(1, 0, 9, "ok", "x=1") T(2, 0, 9, "ok", "x=2") T(3, 0, 9, "ok", "x?1 | x?2"),
	 RR("internal")},
	{"twice in one statement", T(1, 0, 9, "ok", "x+=1") T(2, 0, 9, "ok", "x+=2") T(3, 0, 9, "ok", "x?[1] x?[1,2]"),
	 ALL("internal")},
	{"an element twice", T(1, 0, 9, "ok", "x+=1") T(2, 0, 9, "ok", "x?[1,1]"),
	 ALL("duplicate element")},
	{"lists in two orders", T(1, 0, 9, "ok", "x+=1") T(2, 0, 9, "ok", "x+=2") T(3, 0, 9, "ok", "x?[1,2]")
	 T(4, 0, 9, "ok", "x?[2,1]"), ALL("incompatible order")},
	{"an append that was lost", T(1, 0, 1, "ok", "x+=1") T(2, 0, 1, "ok", "x+=2") TF(3, 5, 9, "final", "ok", "x?[1]"),
	 ALL("lost write")},
	{"a register that was lost", T(1, 0, 1, "ok", "x=1") TF(3, 5, 9, "final", "ok", "x?nil"),
	 ALL("lost write")},
	{"both appended to what they had read", T(1, 0, 9, "ok", "x?[] | x+=1") T(2, 0, 9, "ok", "x?[] | x+=2")
	 T(3, 0, 9, "ok", "x?[1,2]"), RR("lost update")},
	{"both wrote what they had read", T(1, 0, 9, "ok", "x=1") T(2, 0, 9, "ok", "x?1 | x=2") T(3, 0, 9, "ok", "x?1 | x=3"),
	 RR("lost update")},
	{"both wrote the first value", T(1, 0, 9, "ok", "x?nil | x=1") T(2, 0, 9, "ok", "x?nil | x=2"),
	 RR("lost update")},
	{"read skew", T(1, 0, 9, "ok", "x+=1 | y+=1") T(2, 0, 9, "ok", "y?[] | x?[1]"), RR("G-single")},
	{"read skew of registers", T(1, 0, 9, "ok", "x=1 | y=1") T(2, 0, 9, "ok", "y?nil | x?1"), RR("G-single")},
	{"half of a transaction in one statement", T(1, 0, 9, "ok", "x+=1 | y+=1") T(2, 0, 9, "ok", "x?[1] y?[]"),
	 ALL("G-single")},
	{"a snapshot with a hole", T(1, 0, 9, "ok", "x+=1") T(2, 0, 9, "ok", "x?[1] | y+=2") T(3, 0, 9, "ok", "x?[] y?[2]"),
	 ALL("G-single")},
	{"statements that go back", T(1, 0, 9, "ok", "x+=1 | y+=1") T(2, 0, 9, "ok", "x?[1] | y?[]"),
	 .rc = "G-single-session", .rr = "G-single", .ser = "G-single", .session = true},
	{"two writers in two orders", T(1, 0, 9, "ok", "x+=1") T(2, 0, 9, "ok", "y+=1") T(3, 0, 9, "ok", "y?[] | x?[1]")
	 T(4, 0, 9, "ok", "x?[] | y?[1]"), RR("long fork")},
	{"two writers in two orders, one statement each", T(1, 0, 9, "ok", "x+=1") T(2, 0, 9, "ok", "y+=1")
	 T(3, 0, 9, "ok", "y?[] x?[1]") T(4, 0, 9, "ok", "x?[] y?[1]"), ALL("long fork")},
	{"anti-dependencies that are no neighbours", T(1, 0, 9, "ok", "x?[] | y?[4]") T(2, 0, 9, "ok", "x+=2 | z+=2")
	 T(3, 0, 9, "ok", "z+=3 | w?[]") T(4, 0, 9, "ok", "w+=4 | y+=4") T(5, 0, 9, "ok", "z?[2,3]"),
	 RR("G-nonadjacent")},
	{"write skew", T(1, 0, 9, "ok", "x?[] y?[] | x+=1") T(2, 0, 9, "ok", "x?[] y?[] | y+=1"), SER("write skew")},
	{"write skew of registers", T(1, 0, 9, "ok", "x?nil y?nil | x=1") T(2, 0, 9, "ok", "x?nil y?nil | y=1"),
	 SER("write skew")},
	{"write skew of three", T(1, 0, 9, "ok", "x?[] | y+=1") T(2, 0, 9, "ok", "y?[] | z+=1") T(3, 0, 9, "ok", "z?[] | x+=1"),
	 SER("G2-item")},
	{"rows that were not there", T(1, 0, 9, "ok", "* x?[] y?[] | x+=1") T(2, 0, 9, "ok", "* x?[] y?[] | y+=1"),
	 SER("G2")},
	{"an own write that is not seen later", T(1, 0, 1, "ok", "x+=1") T(1, 2, 3, "ok", "x?[]"),
	 ALL("G-single-session"), .session = true},
	{"reads that go back", T(1, 0, 9, "ok", "x+=1") T(2, 0, 3, "ok", "x?[1]") T(2, 4, 5, "ok", "x?[]"),
	 ALL("G-single-session"), .session = true},
	{"a read of what is old", T(1, 0, 1, "ok", "x+=1") T(2, 2, 3, "ok", "x?[]"),
	 ALL("G-single-realtime"), .realtime = HISTORY_STRICT},
	{"a read of the latest that is old", T(1, 0, 1, "ok", "x+=1") TF(2, 2, 3, "latest", "ok", "x?[]"),
	 ALL("G-single-realtime"), .realtime = HISTORY_COMMIT_TIME},
	{"a register's latest that is old", T(1, 0, 1, "ok", "x=1") T(2, 2, 3, "ok", "x=2") TF(3, 4, 5, "latest", "ok", "x?1"),
	 ALL("G-single-realtime"), .realtime = HISTORY_COMMIT_TIME},
	{"appends against time", T(1, 0, 1, "ok", "x+=1") T(2, 2, 3, "ok", "x+=2") T(3, 0, 9, "ok", "x?[2,1]"),
	 ALL("G0-realtime"), .realtime = HISTORY_COMMIT_TIME},
	{"appends against their indexes", T(1, 0, 9, "ok", "x+=1 @20") T(2, 0, 9, "ok", "x+=2 @10") T(3, 0, 9, "ok", "x?[1,2]"),
	 ALL("commit order"), .commit_index = true},
	{"an old version by its index", T(1, 0, 9, "ok", "x=1 @10") T(2, 0, 9, "ok", "x=2 y=1 @20") T(3, 0, 9, "ok", "y?1 x?1"),
	 ALL("G-single"), .commit_index = true},
	{"an unknown outcome that was seen in part", T(1, 0, 9, "info", "x+=1 | y+=1") T(2, 0, 9, "ok", "x?[1] y?[]"),
	 ALL("G-single")},
	{"an unknown outcome seen by an unknown outcome", T(1, 0, 9, "info", "x+=1 | y+=1") T(2, 0, 9, "info", "x?[1] y?[] z+=1")
	 T(3, 0, 9, "ok", "z?[1]"), ALL("G-single")},
};

static const struct { const char *what, *text; } valid[] = {
	{"nothing", ""},
	{"a note", "# of nothing\n\n"},
	{"one after another", T(1, 0, 1, "ok", "x?[] | x+=1") T(2, 2, 3, "ok", "x?[1] | x+=2 | x?[1,2]") T(3, 4, 5, "ok", "x?[1,2]")},
	{"registers one after another", T(1, 0, 1, "ok", "x?nil | x=1") T(2, 2, 3, "ok", "x?1 | x=2 | x?2 | x=3 | x?3")
	 T(3, 4, 5, "ok", "x?3")},
	{"an unknown outcome that was seen", T(1, 0, 1, "info", "x+=1 | y+=1") T(2, 2, 3, "ok", "x?[1] y?[1]")},
	{"one that was not", T(1, 0, 1, "info", "x+=1 | y+=1") T(2, 2, 3, "ok", "x?[] y?[]")},
	{"one without an end", "0 1 invoke c1 rr x+=1 | y+=1\n" T(2, 2, 3, "ok", "x?[1] y?[1]")},
	{"one that failed", T(1, 0, 1, "fail", "x+=1") T(2, 2, 3, "ok", "x?[]")},
	{"an unknown outcome, late", T(1, 0, 1, "info", "x+=1") T(2, 2, 3, "ok", "x?[]") T(3, 4, 5, "ok", "x?[1]")},
	{"a read without an answer", T(1, 0, 1, "ok", "x+=1 | x?")},
	{"two writers at once, two readers after", T(1, 0, 3, "ok", "x+=1") T(2, 0, 3, "ok", "y+=1") T(3, 4, 5, "ok", "x?[1] y?[1]")
	 T(4, 4, 5, "ok", "x?[1] y?[1]")},
	{"the end of all", T(1, 0, 1, "ok", "x+=1") T(2, 0, 5, "ok", "x+=2") TF(3, 3, 4, "final", "ok", "x?[1]")},
};

static const struct { const char *what, *text, *message; } broken[] = {
	{"no time", "a 1 invoke c1 rr\n", "line 1 of the history: no time"},
	{"a time below zero", "-1 1 invoke c1 rr\n", "no time"},
	{"no process", "0 x invoke c1 rr\n", "no process"},
	{"no event", "0 1 begin c1 rr\n", "no event"},
	{"no level", "0 1 invoke c1 best\n", "no level"},
	{"no flag of a level", "0 1 invoke c1 rr,newest\n", "no level"},
	{"nothing to end", "0 1 ok x+=1\n", "has begun no transaction"},
	{"ended twice", "0 1 invoke c1 rr\n1 1 ok\n2 1 ok\n", "line 3 of the history: the process has begun no"},
	{"two at once", "0 1 invoke c1 rr\n1 1 invoke c1 rr\n", "has not ended"},
	{"time goes back", "5 1 invoke c1 rr\n1 1 ok\n", "ends before it began"},
	{"time goes back in between", "5 1 invoke c1 rr\n9 1 ok\n8 1 invoke c1 rr\n", "begins before"},
	{"no key", T(1, 0, 1, "ok", "=1"), "no operation"},
	{"no value", T(1, 0, 1, "ok", "x="), "no operation"},
	{"a value too large", T(1, 0, 1, "ok", "x=9223372036854775808"), "no operation"},
	{"a list without its end", T(1, 0, 1, "ok", "x?[1,2"), "no operation"},
	{"a list without a value", T(1, 0, 1, "ok", "x?[1,]"), "no operation"},
	{"more than an operation", T(1, 0, 1, "ok", "x=1y"), "no operation"},
	{"no index", T(1, 0, 1, "ok", "x=1 @0"), "no commit index"},
	{"list and register", T(1, 0, 1, "ok", "x=1 x+=2"), "both a list and a register"},
	{"a value twice", T(1, 0, 1, "ok", "x=1") T(2, 0, 1, "ok", "x=1"), "line 4 of the history: 1 is written to x a second time"},
};

static struct mem account;

static bool has(const struct history_result *r, const char *name)
{
	char text[64];

	for (uint32_t i = 0; i < r->finding_count; i++)
		if (strcmp(history_finding_name(&r->findings[i], text, sizeof text), name) == 0)
			return true;
	return false;
}

static bool judged(const struct known *k, enum history_level level, const char *want)
{
	struct history_options o = {.level = level, .realtime = k->realtime, .session = k->session,
				    .commit_index = k->commit_index};
	struct history_result r;
	struct error err = {.code = ST_OK};
	bool good;

	if (history_check(&account, k->text, strlen(k->text), &o, &r, &err) != ST_OK) {
		printf("\n%s: %s\n", k->what, err.message);
		return false;
	}
	good = want ? has(&r, want) : r.count == 0;
	if (!good)
		printf("\n%s, level %d: wanted %s, found %u, first: %s\n", k->what, (int)level, want ? want : "nothing", r.count,
		       r.finding_count ? r.findings[0].text : "nothing");
	history_result_fini(&r);
	return good;
}

/* Every anomaly is found at the levels that forbid it, under its name, and only there. */
static void test_anomalies_known(void)
{
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		CU_ASSERT(judged(&known[i], HISTORY_READ_COMMITTED, known[i].rc));
		CU_ASSERT(judged(&known[i], HISTORY_SNAPSHOT, known[i].rr));
		CU_ASSERT(judged(&known[i], HISTORY_SERIALIZABLE, known[i].ser));
		CU_ASSERT(judged(&known[i], HISTORY_AS_DECLARED, known[i].rr)); /* all say rr */
	}
	CU_ASSERT_EQUAL(account.used_bytes, 0);
}

/* What a session, time or an index forbids is allowed when these are not looked at. */
static void test_anomalies_by_option(void)
{
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		struct known k = known[i];

		if (!k.session && !k.commit_index && k.realtime == HISTORY_NO_TIME)
			continue;
		k.session = k.commit_index = false;
		k.realtime = HISTORY_NO_TIME;
		CU_ASSERT(judged(&k, HISTORY_READ_COMMITTED, NULL));
	}
}

/* Histories without anomalies pass at the highest level, with all options. */
static void test_anomalies_valid(void)
{
	for (size_t i = 0; i < sizeof valid / sizeof valid[0]; i++) {
		struct known k = {valid[i].what, valid[i].text, .realtime = HISTORY_COMMIT_TIME, .session = true,
				  .commit_index = true};

		CU_ASSERT(judged(&k, HISTORY_SERIALIZABLE, NULL));
		CU_ASSERT(judged(&k, HISTORY_SNAPSHOT, NULL));
		CU_ASSERT(judged(&k, HISTORY_READ_COMMITTED, NULL));
	}
}

/* Write skew is forbidden when both are serializable, not when one is: each is held to its own level. */
static void test_anomalies_mixed_levels(void)
{
	static const char *const text[] = {
		"0 1 invoke c1 ser\n0 2 invoke c1 rr\n9 1 ok x?[] y?[] | x+=1\n9 2 ok x?[] y?[] | y+=1\n",
		"0 1 invoke c1 ser\n0 2 invoke c1 ser\n9 1 ok x?[] y?[] | x+=1\n9 2 ok x?[] y?[] | y+=1\n",
		/* a lost update of an rc transaction is nobody's fault; that an rr one overwrote what it had not seen is */
		"0 1 invoke c1 rr\n0 2 invoke c1 rc\n9 1 ok x?[] | x+=1\n9 2 ok x?[] | x+=2\n0 3 invoke c1 rr\n9 3 ok x?[1,2]\n",
		"0 1 invoke c1 rr\n0 2 invoke c1 rc\n9 1 ok x?[] | x+=1\n9 2 ok x?[] | x+=2\n0 3 invoke c1 rr\n9 3 ok x?[2,1]\n",
	};
	static const char *const want[] = {NULL, "write skew", NULL, "lost update"};

	for (size_t i = 0; i < sizeof text / sizeof text[0]; i++) {
		struct known k = {"mixed", text[i], .session = true};

		CU_ASSERT(judged(&k, HISTORY_AS_DECLARED, want[i]));
	}
}

/* What is no history is refused, with the line and the reason. */
static void test_anomalies_broken(void)
{
	struct history_options o = {.level = HISTORY_AS_DECLARED};

	for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
		struct history_result r;
		struct error err = {.code = ST_OK};

		CU_ASSERT_EQUAL(history_check(&account, broken[i].text, strlen(broken[i].text), &o, &r, &err), ST_DATA);
		CU_ASSERT_PTR_NOT_NULL(strstr(err.message, broken[i].message));
		if (!strstr(err.message, broken[i].message))
			printf("\n%s: %s\n", broken[i].what, err.message);
	}
	CU_ASSERT_EQUAL(account.used_bytes, 0);
}

/* A finding can be verified by hand: it has the transactions, their lines and what ties them to each other. */
static void test_anomalies_words(void)
{
	static const char text[] = T(1, 0, 9, "ok", "x+=1 | y+=1") T(2, 0, 9, "ok", "y?[] | x?[1]");
	static const char *const parts[] = {
		"G-single", "T1 (lines 1, 2; process 1 at c1, rr, 0 to 9, ok): x+=1 | y+=1", "T2 (lines 3, 4;",
		"T1 before T2: wr: T2 read x as [1], and T1 wrote 1", "T2 before T1: rw: T2 read y as [], without T1's 1"};
	struct history_options o = {.level = HISTORY_SNAPSHOT};
	struct history_result r;
	struct error err = {.code = ST_OK};

	CU_ASSERT_EQUAL_FATAL(history_check(&account, text, strlen(text), &o, &r, &err), ST_OK);
	CU_ASSERT_EQUAL_FATAL(r.finding_count, 1);
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		CU_ASSERT_PTR_NOT_NULL(strstr(r.findings[0].text, parts[i]));
	CU_ASSERT_EQUAL(r.transactions, 2);
	CU_ASSERT_EQUAL(r.committed, 2);
	CU_ASSERT_EQUAL(r.keys, 2);
	history_result_fini(&r);
}

/* More findings than are wanted in words are counted all the same. */
static void test_anomalies_counted(void)
{
	char text[40 * 60];
	size_t at = 0;
	struct history_options o = {.level = HISTORY_SNAPSHOT, .findings_max = 3};
	struct history_result r;
	struct error err = {.code = ST_OK};

	for (int i = 0; i < 40; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "%d 1 invoke c1 rr\n%d 1 ok k%d?[7]\n", i, i, i);
	CU_ASSERT_EQUAL_FATAL(history_check(&account, text, at, &o, &r, &err), ST_OK);
	CU_ASSERT_EQUAL(r.finding_count, 3);
	CU_ASSERT_EQUAL(r.count, 40);
	CU_ASSERT_EQUAL(r.counts[HISTORY_UNKNOWN_VALUE], 40);
	history_result_fini(&r);
}

static int anomalies_suite_init(void)
{
	mem_init(&account, NULL, "test", 0);
	return 0;
}

void suite_history_anomalies(void)
{
	CU_pSuite s = CU_add_suite("history_anomalies", anomalies_suite_init, NULL);

	CU_add_test(s, "known", test_anomalies_known);
	CU_add_test(s, "by_option", test_anomalies_by_option);
	CU_add_test(s, "valid", test_anomalies_valid);
	CU_add_test(s, "mixed_levels", test_anomalies_mixed_levels);
	CU_add_test(s, "broken", test_anomalies_broken);
	CU_add_test(s, "words", test_anomalies_words);
	CU_add_test(s, "counted", test_anomalies_counted);
}
