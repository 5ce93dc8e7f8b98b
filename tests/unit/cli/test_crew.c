/*
 * test_crew.c - who takes the next connection, and mail between workers (tests).
 */
#include <CUnit/CUnit.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "cli/crew.h"
#include "unit.h"

#define WORKERS 3

static struct mem mem;

static struct crew *crew_open(void)
{
	struct error err;
	struct crew *c;

	mem_init(&mem, NULL, "crew", 0);
	c = crew_new(&mem, WORKERS, &err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	for (uint32_t i = 0; i < WORKERS; i++) {
		crew_limit(c, i, 3);
		crew_ready(c, i, true);
	}
	return c;
}

static void crew_close(struct crew *c)
{
	crew_free(c);
	mem_fini(&mem);
}

/* The worker with the fewest has the next one; equals take turns, also when each connection ends before the next one comes. */
static void test_crew_spread(void)
{
	struct crew *c = crew_open();
	uint32_t got[WORKERS] = {0};

	CU_ASSERT_EQUAL(crew_pick(c), 0);
	CU_ASSERT_EQUAL(crew_pick(c), 1);
	CU_ASSERT_EQUAL(crew_pick(c), 2);
	crew_client_gone(c, 1);
	CU_ASSERT_EQUAL(crew_pick(c), 1);
	CU_ASSERT_EQUAL(crew_clients(c), 3);
	for (uint32_t i = 0; i < WORKERS; i++)
		crew_client_gone(c, i);
	for (int i = 0; i < 30; i++) {
		int w = crew_pick(c);

		CU_ASSERT_FATAL(w >= 0);
		got[w]++;
		crew_client_gone(c, (uint32_t)w);
	}
	for (uint32_t i = 0; i < WORKERS; i++)
		CU_ASSERT_EQUAL(got[i], 10);
	crew_close(c);
}

/* Whoever answers comes before who starts up, and nobody has more than it may. */
static void test_crew_limits(void)
{
	struct crew *c = crew_open();

	crew_ready(c, 0, false);
	crew_ready(c, 1, false);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(crew_pick(c), 2);
	for (int i = 0; i < 6; i++) { /* the rest is told by those that start up that they do */
		int w = crew_pick(c);

		CU_ASSERT(w == 0 || w == 1);
	}
	CU_ASSERT_EQUAL(crew_pick(c), -1);
	CU_ASSERT_EQUAL(crew_clients(c), 9);
	crew_client_gone(c, 0);
	CU_ASSERT_EQUAL(crew_pick(c), 0);
	crew_close(c);
}

static void *sends(void *arg)
{
	struct mail m = {.kind = MAIL_CANCEL};

	for (m.pid = 1; m.pid <= 1000; m.pid++)
		crew_post(arg, 1, &m);
	return NULL;
}

/* Mail comes once, in order, and wakes who sleeps; cancel requests have a limit; a connection that nobody took is closed. */
static void test_crew_mail(void)
{
	struct crew *c = crew_open();
	struct pollfd fd = {crew_fd(c, 1), POLLIN, 0};
	struct mail m = {.kind = MAIL_STOP, .signal = 15};
	uint32_t got = 0;
	pthread_t thread;
	int pipes[2];

	CU_ASSERT_EQUAL(poll(&fd, 1, 0), 0);
	pthread_create(&thread, NULL, sends, c);
	while (got < 1000 && poll(&fd, 1, 5000) == 1)
		while (crew_take(c, 1, &m))
			CU_ASSERT_EQUAL(m.pid, ++got);
	pthread_join(thread, NULL);
	CU_ASSERT_EQUAL(got, 1000);
	CU_ASSERT_FALSE(crew_take(c, 1, &m));
	m = (struct mail){.kind = MAIL_CANCEL};
	for (uint32_t i = 0; i < CREW_MAIL_MAX + 10; i++)
		crew_post(c, 2, &m);
	m.kind = MAIL_STOP;
	crew_post(c, 2, &m);
	for (got = 0; crew_take(c, 2, &m); got++)
		CU_ASSERT(m.kind == (got < CREW_MAIL_MAX ? MAIL_CANCEL : MAIL_STOP));
	CU_ASSERT_EQUAL(got, CREW_MAIL_MAX + 1);
	crew_post_others(c, 1, &m);
	CU_ASSERT_TRUE(crew_take(c, 0, &m));
	CU_ASSERT_FALSE(crew_take(c, 1, &m));
	CU_ASSERT_TRUE(crew_take(c, 2, &m));
	/* the first hears when another one has ended */
	CU_ASSERT_EQUAL(crew_others(c), 2);
	crew_done(c, 2);
	CU_ASSERT_EQUAL(crew_others(c), 1);
	CU_ASSERT_TRUE(crew_take(c, 0, &m));
	CU_ASSERT_EQUAL(m.kind, MAIL_DONE);
	CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
	m = (struct mail){.kind = MAIL_CLIENT, .fd = pipes[1]};
	crew_post(c, 0, &m);
	crew_close(c);
	CU_ASSERT_EQUAL(read(pipes[0], &got, sizeof got), 0); /* its other end is closed */
	close(pipes[0]);
}

void suite_cli_crew(void)
{
	CU_pSuite s = CU_add_suite("cli_crew", NULL, NULL);

	CU_add_test(s, "spread", test_crew_spread);
	CU_add_test(s, "limits", test_crew_limits);
	CU_add_test(s, "mail", test_crew_mail);
}
