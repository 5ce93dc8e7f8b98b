/*
 * bench_writers.c - see bench_writers.h (cli).
 */
#include "cli/bench_writers.h"

#include <stdlib.h>
#include <string.h>

#include "cli/pgclient.h"

#define ASK_MS 30000
#define POLL_MS 2

struct bench_writer {
	struct bench_writers *all;
	struct member member;
	uint32_t number;
	bool running;
	pthread_t thread;
	struct mem mem;
	struct arena arena;
	uint64_t last_us, gap_us; /* of its own */
	uint32_t commits;         /* since the mark */
};

static void acknowledged(struct bench_writer *w)
{
	struct bench_writers *all = w->all;
	uint64_t now;

	pthread_mutex_lock(&all->lock);
	now = clock_now_us(&all->clock);
	if (now >= all->since_us) {
		if (w->last_us && now - w->last_us > w->gap_us)
			w->gap_us = now - w->last_us;
		if (all->last_us && now - all->last_us > all->gap_us)
			all->gap_us = now - all->last_us;
		w->commits++;
	}
	w->last_us = all->last_us = now;
	pthread_mutex_unlock(&all->lock);
}

static bool told_to_stop(struct bench_writers *all)
{
	bool stop;

	pthread_mutex_lock(&all->lock);
	stop = all->stop;
	pthread_mutex_unlock(&all->lock);
	return stop;
}

static void *write_on(void *ctx)
{
	struct bench_writer *w = ctx;
	struct cli_address to = {.host = "127.0.0.1", .port = w->member.sql_port};
	struct pgc *c = NULL;
	struct error err;
	char words[128];

	snprintf(words, sizeof words, "update bench_writer_%u set v = v + 1 where id = 1", w->number);
	while (!told_to_stop(w->all)) {
		struct arena_mark mark = arena_mark(&w->arena);
		struct pgc_result r;
		enum status st;

		if (!c && !(c = pgc_open(&w->mem, &to, ASK_MS, &err))) {
			cluster_sleep_ms(POLL_MS);
			continue;
		}
		st = pgc_query(c, words, &w->arena, &r, &err);
		arena_rewind(&w->arena, mark);
		if (st == ST_OK) {
			acknowledged(w);
		} else if (st == ST_CONNECTION || st == ST_WAIT || st == ST_PROTOCOL) {
			pgc_close(c);
			c = NULL;
		}
	}
	if (c)
		pgc_close(c);
	return NULL;
}

static enum status make_table(struct bench_writer *w, struct error *err)
{
	struct cli_address to = {.host = "127.0.0.1", .port = w->member.sql_port};
	struct pgc *c = pgc_open(&w->mem, &to, ASK_MS, err);
	struct pgc_result r;
	char words[256];
	enum status st;

	if (!c)
		return err->code;
	snprintf(words, sizeof words,
		 "create table bench_writer_%u (id int primary key, v bigint not null); insert into bench_writer_%u values (1, 0)",
		 w->number, w->number);
	st = pgc_query(c, words, &w->arena, &r, err);
	pgc_close(c);
	return st;
}

enum status bench_writers_start(struct bench_writers *w, const struct member *members, uint32_t member_count, uint32_t count,
				struct error *err)
{
	enum status st = ST_OK;

	*w = (struct bench_writers){.clock = clock_system()};
	pthread_mutex_init(&w->lock, NULL);
	for (uint32_t i = 0; st == ST_OK && i < count; i++) {
		struct bench_writer *one = calloc(1, sizeof *one);

		if (!one) {
			st = error_set(err, ST_SYSTEM, "no memory");
			break;
		}
		w->at[w->count++] = one;
		one->all = w;
		one->member = members[i % member_count];
		one->number = i;
		mem_init(&one->mem, NULL, "writer", 0);
		arena_init(&one->arena, &one->mem);
		st = make_table(one, err);
		if (st == ST_OK && pthread_create(&one->thread, NULL, write_on, one) != 0)
			st = error_set(err, ST_SYSTEM, "cannot start a thread");
		one->running = st == ST_OK;
	}
	bench_writers_mark(w);
	if (st == ST_OK)
		st = bench_writers_wait(w, 1, ASK_MS, err);
	if (st != ST_OK)
		bench_writers_stop(w);
	return st;
}

void bench_writers_stop(struct bench_writers *w)
{
	if (!w->count)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_mutex_unlock(&w->lock);
	for (uint32_t i = 0; i < w->count; i++) {
		if (w->at[i]->running)
			pthread_join(w->at[i]->thread, NULL);
		arena_fini(&w->at[i]->arena);
		mem_fini(&w->at[i]->mem);
		free(w->at[i]);
	}
	w->count = 0;
	pthread_mutex_destroy(&w->lock);
}

void bench_writers_mark(struct bench_writers *w)
{
	pthread_mutex_lock(&w->lock);
	w->since_us = clock_now_us(&w->clock);
	w->gap_us = 0;
	for (uint32_t i = 0; i < w->count; i++)
		w->at[i]->gap_us = w->at[i]->commits = 0;
	pthread_mutex_unlock(&w->lock);
}

enum status bench_writers_wait(struct bench_writers *w, uint32_t commits, uint32_t timeout_ms, struct error *err)
{
	uint64_t due = clock_now_us(&w->clock) + (uint64_t)timeout_ms * 1000;
	uint32_t done;

	for (;;) {
		done = 0;
		pthread_mutex_lock(&w->lock);
		for (uint32_t i = 0; i < w->count; i++)
			done += w->at[i]->commits >= commits;
		pthread_mutex_unlock(&w->lock);
		if (done == w->count)
			return ST_OK;
		if (clock_now_us(&w->clock) > due)
			return error_set(err, ST_WAIT, "%u of %u clients committed no more within %u ms", w->count - done, w->count,
					 timeout_ms);
		cluster_sleep_ms(POLL_MS);
	}
}

void bench_writers_gaps(struct bench_writers *w, uint64_t *any_us_out, uint64_t *client_us_out)
{
	pthread_mutex_lock(&w->lock);
	*any_us_out = w->gap_us;
	*client_us_out = 0;
	for (uint32_t i = 0; i < w->count; i++)
		if (w->at[i]->gap_us > *client_us_out)
			*client_us_out = w->at[i]->gap_us;
	pthread_mutex_unlock(&w->lock);
}
