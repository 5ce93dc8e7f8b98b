/*
 * test_random.c - whole clusters under random faults: Raft's properties at every step, progress
 * when the faults stop.
 *
 * VALENCE_SEQ_SEEDS=n runs n seeds instead of the default, VALENCE_SEQ_SEED=s that one alone, with
 * its trace when it fails.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "cluster.h"
#include "../unit.h"

enum fault {
	FAULT_CRASH,
	FAULT_RESTART,
	FAULT_CUT,
	FAULT_ISOLATE,
	FAULT_MEND,
	FAULT_SLOW_DISK,
	FAULT_DOWN_NEWS,
	FAULT_TRANSFER,
	FAULT_VOTERS,
	FAULT_DROP_JOURNAL,
	FAULTS
};

static uint64_t pick(struct cluster *cl)
{
	return 1 + rng_below(&cl->rng, cl->nodes);
}

static void change_voters(struct cluster *cl)
{
	uint64_t leader = cl_leader(cl), id = pick(cl);

	if (leader == 0)
		return;
	struct seq_voters v = *seq_current_voters(cl->at[leader].seq);
	for (uint32_t i = 0; i < v.count; i++) {
		if (v.at[i].id != id)
			continue;
		v.at[i] = v.at[--v.count];
		(void)!seq_change_voters(cl->at[leader].seq, cl->now_us, &v, "bye", 3);
		return;
	}
	v.at[v.count].id = id;
	snprintf(v.at[v.count++].address, SEQ_ADDRESS_MAX, "host%llu:1", (unsigned long long)id);
	(void)!seq_change_voters(cl->at[leader].seq, cl->now_us, &v, "hello", 5);
}

static void fault(struct cluster *cl, bool voters)
{
	uint64_t a = pick(cl), b = pick(cl);
	struct cl_node *n = &cl->at[a];

	switch ((enum fault)rng_below(&cl->rng, FAULTS)) {
	case FAULT_CRASH:
		cl_crash(cl, a);
		break;
	case FAULT_RESTART:
		for (uint64_t id = 1; id <= cl->nodes; id++)
			if (!cl->at[id].seq)
				cl_start(cl, id);
		break;
	case FAULT_CUT:
		if (a != b)
			cl->cut[a][b] = true; /* one way */
		break;
	case FAULT_ISOLATE:
		cl_isolate(cl, rng_below(&cl->rng, 2) && cl_leader(cl) ? cl_leader(cl) : a, true);
		break;
	case FAULT_MEND:
		memset(cl->cut, 0, sizeof cl->cut);
		break;
	case FAULT_SLOW_DISK:
		n->disk_us = rng_below(&cl->rng, 4) ? rng_below(&cl->rng, 3000)
						    : rng_below(&cl->rng, 200000);
		n->disk_jitter_us = rng_below(&cl->rng, 5000);
		break;
	case FAULT_DOWN_NEWS: /* true or not */
		if (n->seq)
			seq_peer_down(n->seq, cl->now_us, b);
		break;
	case FAULT_TRANSFER:
		if (cl_leader(cl) != 0)
			(void)!seq_transfer(cl->at[cl_leader(cl)].seq, cl->now_us, a);
		break;
	case FAULT_VOTERS:
		if (voters)
			change_voters(cl);
		break;
	case FAULT_DROP_JOURNAL: /* a checkpoint: the journal goes up to what is applied durably */
		if (n->seq && !voters) {
			n->applied_at_open = cl_applied(n);
			cl_disk_drop(cl, a, n->applied_at_open);
		}
		break;
	case FAULTS:
		UNREACHABLE();
	}
}

static void load(struct cluster *cl)
{
	char text[300];
	uint64_t id = cl_leader(cl);
	uint64_t n = rng_below(&cl->rng, 6);

	for (uint64_t i = 0; id != 0 && i < n; i++) {
		int len = snprintf(text, sizeof text, "%llu", (unsigned long long)cl->proposed);
		size_t more = rng_below(&cl->rng, 8) ? 0 : rng_below(&cl->rng, 250);

		memset(text + len, 'x', more);
		text[(size_t)len + more] = '\0';
		if (rng_below(&cl->rng, 3) == 0)
			seq_want_receipt(cl->at[id].seq);
		(void)!cl_propose(cl, id, text, NULL);
	}
	if (id != 0 && rng_below(&cl->rng, 3) == 0)
		cl_read(cl, id);
	/*
	 * An old leader may still believe: its reads must not be confirmed, its entries not
	 * survive.
	 */
	id = pick(cl);
	if (cl->at[id].seq && cl->at[id].role == SEQ_LEADER) {
		cl_read(cl, id);
		snprintf(text, sizeof text, "%llu by %llu", (unsigned long long)cl->proposed,
			 (unsigned long long)id);
		(void)!cl_propose(cl, id, text, NULL);
	}
}

static void mend_all(struct cluster *cl)
{
	cl_heal(cl);
	for (uint64_t id = 1; id <= cl->nodes; id++) {
		struct cl_node *n = &cl->at[id];

		n->disk_us = 500;
		n->disk_jitter_us = 0;
		for (size_t i = 0; i < n->writes.count; i++)
			n->writes.at[i].due_us = cl->now_us + 500 * (i + 1);
		if (!cl->at[id].seq)
			cl_start(cl, id);
	}
}

/*
 * A voter whose log was dropped everywhere else stays behind; the leader has told. Then only the
 * others count.
 */
static bool all_agree_or_too_old(struct cluster *cl)
{
	uint64_t leader = cl_leader(cl);

	if (cl_all_agree(cl))
		return true;
	if (leader == 0 || !seq_own_term_committed(cl->at[leader].seq))
		return false;
	const struct cl_node *l = &cl->at[leader];
	for (uint32_t i = 0; i < l->voters.count; i++) {
		const struct cl_node *n = &cl->at[l->voters.at[i].id];

		if (n->delivered != cl_log_last(&l->view) && n->too_old != n->id)
			return false;
	}
	return true;
}

static struct {
	uint64_t elections, rejects, journal_reads, truncations, promotions, transfers, too_old,
		reads;
} met;

static void add_met(const struct cluster *cl)
{
	met.elections += cl->met.elections;
	met.rejects += cl->met.rejects;
	met.journal_reads += cl->met.journal_reads;
	met.truncations += cl->met.truncations;
	met.promotions += cl->met.promotions;
	met.transfers += cl->met.transfers;
	met.too_old += cl->met.too_old;
	for (uint32_t id = 1; id <= CL_NODES; id++)
		met.reads += cl->at[id].reads_ok;
}

static bool run_seed(uint64_t seed, bool tracing)
{
	static const uint32_t sizes[] = {1, 3, 3, 5, 5};
	struct cluster cl;
	uint64_t before;
	uint32_t size = sizes[seed % 5];
	bool voters = seed % 3 == 0;

	cl_init(&cl, seed, voters ? 6 : size, size);
	cl.tracing = tracing;
	cl.delay_us = rng_below(&cl.rng, 2000) + 50;
	cl.jitter_us = rng_below(&cl.rng, 3) ? rng_below(&cl.rng, 10000) : 0;
	cl.loss_pm = rng_below(&cl.rng, 2) ? (uint32_t)rng_below(&cl.rng, 200) : 0;
	cl.dup_pm = rng_below(&cl.rng, 2) ? (uint32_t)rng_below(&cl.rng, 200) : 0;
	cl.window_bytes = rng_below(&cl.rng, 3) ? 0 : 2000 + rng_below(&cl.rng, 4000);
	for (uint64_t id = 1; id <= cl.nodes; id++)
		cl_start(&cl, id);
	for (int round = 0; round < 60 && !cl.failed; round++) {
		cl_run(&cl, rng_below(&cl.rng, 60000));
		load(&cl);
		if (round > 5 && rng_below(&cl.rng, 3) == 0)
			fault(&cl, voters);
	}
	mend_all(&cl);
	if (!cl.failed && !cl_run_until(&cl, 10000000, all_agree_or_too_old))
		cl_fail(&cl, "no progress 10 s after the last fault");
	cl_run(&cl, 1000000); /* a transfer that was under way has ended */
	before = cl.max_committed;
	if (!cl.failed && cl_leader(&cl) != 0) {
		if (cl_propose(&cl, cl_leader(&cl), "last", NULL) != ST_OK)
			cl_fail(&cl, "a quiet cluster refuses a proposal");
		if (!cl_run_until(&cl, 5000000, all_agree_or_too_old) || cl.max_committed <= before)
			cl_fail(&cl, "a proposal to a quiet cluster is not committed");
	}
	if (cl.failed && tracing)
		fwrite(cl.trace.data, 1, cl.trace.size, stdout);
	bool ok = !cl.failed;
	for (uint64_t id = 1; id <= cl.nodes; id++)
		cl_crash(&cl, id);
	add_met(&cl);
	cl_fini(&cl);
	return ok;
}

/*
 * Under delays, loss, repeats, reordering, cuts, crashes, slow disks and changes of voters no
 * property ever fails.
 */
static void test_random_faults(void)
{
	const char *one = getenv("VALENCE_SEQ_SEED"), *many = getenv("VALENCE_SEQ_SEEDS");
	uint64_t seeds = many ? strtoull(many, NULL, 10) : 2000;

	if (one) {
		CU_ASSERT_TRUE(run_seed(strtoull(one, NULL, 10), true));
		return;
	}
	for (uint64_t seed = 1; seed <= seeds; seed++) {
		if (run_seed(seed, false))
			continue;
		printf("    repeat with: VALENCE_SEQ_SEED=%llu unit sequencer_random\n",
		       (unsigned long long)seed);
		CU_FAIL("a property failed");
		return;
	}
	/* The faults did bite: each of these ways through the code was taken, many times. */
	CU_ASSERT_TRUE(met.elections > seeds * 2);
	CU_ASSERT_TRUE(met.rejects > seeds * 4);
	CU_ASSERT_TRUE(met.journal_reads > seeds * 4);
	CU_ASSERT_TRUE(met.truncations > seeds / 20);
	CU_ASSERT_TRUE(met.promotions > seeds / 20);
	CU_ASSERT_TRUE(met.transfers > seeds / 20);
	CU_ASSERT_TRUE(met.too_old > seeds / 100);
	CU_ASSERT_TRUE(met.reads > seeds * 4);
}

/* The same seed gives the same run, message for message. */
static void test_random_repeats(void)
{
	uint64_t steps[2], orders[2];
	uint32_t sums[2];

	for (int i = 0; i < 2; i++) {
		struct cluster cl;

		cl_init(&cl, 42, 3, 3);
		cl.tracing = true;
		cl.jitter_us = 5000;
		cl.loss_pm = 100;
		for (uint64_t id = 1; id <= 3; id++)
			cl_start(&cl, id);
		for (int round = 0; round < 20; round++) {
			cl_run(&cl, 50000);
			load(&cl);
		}
		steps[i] = cl.steps;
		orders[i] = cl.orders;
		sums[i] = crc32c(0, cl.trace.data, cl.trace.size);
		CU_ASSERT_FALSE(cl.failed);
		cl_fini(&cl);
	}
	CU_ASSERT_EQUAL(steps[0], steps[1]);
	CU_ASSERT_EQUAL(orders[0], orders[1]);
	CU_ASSERT_EQUAL(sums[0], sums[1]);
	CU_ASSERT_TRUE(steps[0] > 300);
}

void suite_sequencer_random(void)
{
	CU_pSuite s = CU_add_suite("sequencer/random", NULL, NULL);

	CU_add_test(s, "repeats", test_random_repeats);
	CU_add_test(s, "faults", test_random_faults);
}
