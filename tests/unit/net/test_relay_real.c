/*
 * test_relay_real.c - two relays in two processes over every real fabric of this machine, one of which is
 * killed (tests).
 */
#include <CUnit/CUnit.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../unit.h"
#include "net/net_peers.h"
#include "net/relay/relay.h"

#define ROUNDS 10

/* One side: engine 1 is the voter, engine 2 its child. */
struct side {
	struct mem mem;
	struct logger log;
	struct timers timers;
	struct relay *relay;
	struct clock clock;
	seq_index last, got;
	uint64_t suspect_us, echoes;
	char cause[96];
};

static const struct backend *over;
static uint64_t batch[2]; /* the batch lent by log_get: first and last */

static void on_message(void *ctx, engine_id from, const void *data, size_t bytes)
{
	struct side *s = ctx;

	s->echoes++;
	if (from == 1)
		relay_send(s->relay, from, data, bytes);
}

static void on_batch(void *ctx, const void *data, size_t bytes)
{
	struct side *s = ctx;
	uint64_t b[2];

	if (bytes != sizeof b)
		_exit(3);
	memcpy(b, data, sizeof b);
	if (b[0] != s->last + 1)
		_exit(4);
	s->last = b[1];
	relay_send(s->relay, 1, &s->last, sizeof s->last);
}

static void on_suspect(void *ctx, engine_id who, const char *cause)
{
	struct side *s = ctx;

	if (who != 2)
		return;
	if (!s->suspect_us)
		s->suspect_us = clock_now_us(&s->clock);
	snprintf(s->cause, sizeof s->cause, "%s", cause);
}

static void on_nothing(void *ctx)
{
	(void)ctx;
}

static void on_voter_message(void *ctx, uint64_t voter, const void *data, size_t bytes)
{
	(void)ctx, (void)voter, (void)data, (void)bytes;
}

static void on_join_request(void *ctx, struct relay_peer_ref from, const void *data, size_t bytes)
{
	(void)ctx, (void)from, (void)data, (void)bytes;
}

static void on_join_reply(void *ctx, bool accepted, const void *data, size_t bytes)
{
	(void)ctx, (void)accepted, (void)data, (void)bytes;
}

static void on_join_waiting(void *ctx, const char *cause)
{
	(void)ctx, (void)cause;
}

static const void *on_log_get(void *ctx, seq_index from, const struct relay_interest *interest, size_t *bytes_out,
			      seq_index *first_out, seq_index *last_out)
{
	struct side *s = ctx;

	(void)interest;
	if (from > s->last)
		return NULL;
	batch[0] = batch[1] = *first_out = *last_out = from;
	*bytes_out = sizeof batch;
	return batch;
}

static seq_index on_log_last(void *ctx)
{
	return ((struct side *)ctx)->last;
}

static seq_index on_log_first(void *ctx)
{
	(void)ctx;
	return 1;
}

static seq_index on_log_want(void *ctx)
{
	return ((struct side *)ctx)->last + 1;
}

static const struct relay_events side_events = {
	.message = on_message,
	.log_batch = on_batch,
	.log_gone = on_nothing,
	.voter_message = on_voter_message,
	.suspect = on_suspect,
	.join_request = on_join_request,
	.join_reply = on_join_reply,
	.not_member = on_nothing,
	.join_waiting = on_join_waiting,
	.log_get = on_log_get,
	.log_last = on_log_last,
	.log_first = on_log_first,
	.log_want = on_log_want,
};

static bool side_open(struct side *s)
{
	struct error err;
	char listen[NET_ADDRESS_MAX];
	struct relay_config cfg = {
		.mem = &s->mem,
		.log = &s->log,
		.clock = clock_system(),
		.timers = &s->timers,
		.seed = rng_seed_system(),
		.net_ops = over->ops,
		.provider = over->fabric->provider,
		.listen = listen,
		.name = "side",
		.secret = "both of them know this",
		.secret_bytes = 22,
		.entropy = entropy_system(),
		.events = &side_events,
		.ctx = s,
	};

	snprintf(listen, sizeof listen, "%s:0", over->host);
	memset(s, 0, sizeof *s);
	s->clock = cfg.clock;
	mem_init(&s->mem, NULL, "side", 0);
	logger_init_stderr(&s->log, "side");
	logger_set_levels(&s->log, LOG_ERROR);
	timers_init(&s->timers, &s->mem);
	return relay_open(&cfg, &s->relay, &err) == ST_OK;
}

static void side_members(struct side *s, const char *voter, const char *child, engine_id self)
{
	struct relay_member m[2];
	uint64_t voter_id = 100;

	memset(m, 0, sizeof m);
	m[0].id = 1;
	m[0].voter_id = voter_id;
	m[1].id = 2;
	snprintf(m[0].address, sizeof m[0].address, "%s", voter);
	snprintf(m[1].address, sizeof m[1].address, "%s", child);
	relay_set_members(s->relay, m, 2, 1);
	if (self == 1)
		relay_set_voters(s->relay, voter_id, &voter_id,
				 (const char(*)[NET_ADDRESS_MAX]) & m[0].address, 1);
	relay_set_self(s->relay, self, self == 1 ? voter_id : 0);
}

static void side_turn(struct side *s)
{
	uint64_t now = clock_now_us(&s->clock), due;
	struct pollfd fd = {relay_wait_fd(s->relay), POLLIN, 0};

	timers_run(&s->timers, now);
	if (relay_progress(s->relay) || !relay_try_wait(s->relay))
		return;
	due = timers_next_us(&s->timers);
	poll(&fd, 1, due <= now ? 0 : due - now > 20000 ? 20 : (int)((due - now) / 1000) + 1);
}

static void child_run(int in, int out)
{
	static struct side s;
	char voter[NET_ADDRESS_MAX], own[NET_ADDRESS_MAX];

	if (read(in, voter, sizeof voter) != sizeof voter || !side_open(&s))
		_exit(1);
	memset(own, 0, sizeof own);
	snprintf(own, sizeof own, "%s", relay_address(s.relay));
	if (write(out, own, sizeof own) != sizeof own)
		_exit(1);
	side_members(&s, voter, own, 2);
	for (;;)
		side_turn(&s);
}

static void kills(void)
{
	uint64_t worst = 0, sum = 0;

	for (int round = 0; round < ROUNDS; round++) {
		static struct side s;
		int to[2], from[2];
		char address[NET_ADDRESS_MAX];
		uint64_t then, end;
		pid_t pid;

		fflush(NULL);
		CU_ASSERT_FATAL(pipe(to) == 0 && pipe(from) == 0);
		pid = fork();
		if (pid == 0)
			child_run(to[0], from[1]);
		CU_ASSERT_FATAL(side_open(&s));
		memset(address, 0, sizeof address);
		snprintf(address, sizeof address, "%s", relay_address(s.relay));
		CU_ASSERT_FATAL(write(to[1], address, sizeof address) == sizeof address);
		CU_ASSERT_FATAL(read(from[0], address, sizeof address) == sizeof address);
		side_members(&s, relay_address(s.relay), address, 1);
		end = clock_now_us(&s.clock) + 5000000 * unit_slow();
		while (s.echoes < 200 && clock_now_us(&s.clock) < end) {
			if (s.last < 200) {
				s.last++;
				relay_log_advanced(s.relay);
			}
			side_turn(&s);
		}
		CU_ASSERT_EQUAL(s.echoes, 200);
		CU_ASSERT_EQUAL(s.suspect_us, 0);
		if (round % 2) { /* busy: nothing is read at the other side any more */
			s.last += 5000;
			relay_log_advanced(s.relay);
		}
		kill(pid, SIGKILL);
		then = clock_now_us(&s.clock);
		while (!s.suspect_us && clock_now_us(&s.clock) < then + 3000000 * unit_slow())
			side_turn(&s);
		CU_ASSERT_FATAL(s.suspect_us != 0);
		CU_ASSERT_STRING_EQUAL(s.cause, "connection refused");
		sum += s.suspect_us - then;
		worst = s.suspect_us - then > worst ? s.suspect_us - then : worst;
		waitpid(pid, NULL, 0);
		relay_close(s.relay);
		timers_fini(&s.timers);
		CU_ASSERT_EQUAL(s.mem.used_bytes, 0);
		for (int i = 0; i < 2; i++) {
			close(to[i]);
			close(from[i]);
		}
	}
	if (getenv("NET_TEST_TIMES"))
		printf("  %s: suspect after %llu us on average, %llu at worst\n", over->name,
		       (unsigned long long)sum / ROUNDS, (unsigned long long)worst);
	CU_ASSERT(worst < 100000 * unit_slow());
}

/*
 * From kill -9 of a child to the suspicion at its parent: well under 100 ms, with the log and
 * unicast flowing before (the child tells the index of each batch back).
 */
static void test_relay_real_kill(void)
{
	for (uint32_t i = 1; (over = backend_at(i)); i++)
		if (!over->local) /* these are two processes */
			kills();
}

void suite_net_relay_real(void)
{
	CU_pSuite s = CU_add_suite("net_relay_real", NULL, NULL);

	CU_add_test(s, "kill -9", test_relay_real_kill);
}
