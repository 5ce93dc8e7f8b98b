/*
 * client.c - the client's side of the wire protocol, and the bytes' way (sim). See client.h.
 */
#include "sim/client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cover.h"

#define SQL_MAX (64u << 10)
#define ANSWER_LIMIT_US SECONDS(20) /* once nothing fails any more */

static void tell(struct client *c, enum client_event ev);

/* -- the set -------------------------------------------------------------------------------------------------- */

struct clients *clients_new(struct world *w)
{
	struct clients *cs = MEM_NEW(&w->mem, struct clients);

	cs->w = w;
	map_init(&cs->sequences[0], &w->mem);
	map_init(&cs->sequences[1], &w->mem);
	cs->limit_us = SECONDS(4);
	return cs;
}

static void packets_drop(struct client *c, struct list *head)
{
	LIST_FOREACH_SAFE(it, tmp, head) {
		struct packet *p = CONTAINER_OF(it, struct packet, l);

		list_remove(it);
		mem_free(&c->w->mem, p, sizeof *p + p->bytes);
	}
}

static void conn_free(struct client *c)
{
	if (c->conn) {
		list_remove(&c->ready);
		pg_conn_free(c->conn);
		c->conn = NULL;
	}
	packets_drop(c, &c->to_server);
	timer_cancel(&c->w->timers, &c->in);
}

void clients_free(struct clients *cs)
{
	struct mem *mem = &cs->w->mem;

	for (size_t i = 0; i < cs->at.count; i++) {
		struct client *c = cs->at.at[i];

		client_hang_up(c);
		timer_cancel(&cs->w->timers, &c->wake);
		buf_fini(&c->rx);
		arena_fini(&c->reply.arena);
		VEC_FINI(mem, &c->reply.cells);
		mem_free(mem, c->state, c->load->state_bytes);
		MEM_FREE(mem, c);
	}
	VEC_FINI(mem, &cs->at);
	map_fini(&cs->sequences[0]);
	map_fini(&cs->sequences[1]);
	MEM_FREE(mem, cs);
}

void clients_stop(struct clients *cs)
{
	for (size_t i = 0; i < cs->at.count; i++)
		cs->at.at[i]->stopping = true;
}

bool clients_stopped(const struct clients *cs)
{
	for (size_t i = 0; i < cs->at.count; i++)
		if (!cs->at.at[i]->stopped && cs->at.at[i]->load->works)
			return false;
	return true;
}

/* -- bytes on their way ------------------------------------------------------------------------------------------- */

static uint64_t travel_us(struct client *c)
{
	return 40 + rng_below(&c->rng, 120);
}

static void packet_send(struct client *c, struct list *head, struct timer *t, const void *data, size_t bytes)
{
	struct packet *p = mem_alloc(&c->w->mem, sizeof *p + bytes);
	uint64_t due = c->w->now_us + travel_us(c);

	if (!list_empty(head)) {
		const struct packet *last = CONTAINER_OF(head->prev, struct packet, l);

		if (last->due_us > due)
			due = last->due_us;
	}
	p->due_us = due;
	p->bytes = (uint32_t)bytes;
	memcpy(p->data, data, bytes);
	list_push_back(head, &p->l);
	if (!timer_armed(t))
		timer_arm(&c->w->timers, t, due);
}

static void conn_wake(void *ctx)
{
	struct client *c = ctx;

	if (c->conn && list_empty(&c->ready))
		list_push_back(&c->node->ready, &c->ready);
}

/* At the engine. */
static void in_fire(struct timer *t, void *ctx)
{
	struct client *c = ctx;

	while (!list_empty(&c->to_server)) {
		struct packet *p = CONTAINER_OF(list_first(&c->to_server), struct packet, l);

		if (p->due_us > c->w->now_us) {
			timer_arm(&c->w->timers, t, p->due_us);
			return;
		}
		if (c->conn) {
			pg_conn_input(c->conn, p->data, p->bytes);
			conn_wake(c);
		}
		list_remove(&p->l);
		mem_free(&c->w->mem, p, sizeof *p + p->bytes);
	}
}

static void rows_reset(struct client *c)
{
	struct reply *r = &c->reply;

	r->error = false;
	r->warning[0] = r->sqlstate[0] = r->message[0] = r->tag[0] = 0;
	r->rows = r->columns = 0;
	r->cells.count = 0;
	arena_reset(&r->arena);
}

static void take_row(struct client *c, struct reader *r)
{
	uint16_t n = be_get_u16(r);

	c->reply.columns = n;
	c->reply.rows++;
	for (uint16_t i = 0; i < n; i++) {
		int32_t bytes = (int32_t)be_get_u32(r);
		const uint8_t *p = bytes < 0 ? NULL : get_raw(r, (size_t)bytes);
		char *text = p ? arena_strndup(&c->reply.arena, (const char *)p, (size_t)bytes) : NULL;

		VEC_PUSH(&c->w->mem, &c->reply.cells, text);
	}
}

static void take_error(struct client *c, struct reader *r)
{
	bool first = !c->reply.error;

	c->reply.error = true;
	for (;;) {
		uint8_t field = get_u8(r);
		const char *text = field ? get_cstr(r) : NULL;

		if (!text)
			return;
		if (first && field == 'C')
			snprintf(c->reply.sqlstate, sizeof c->reply.sqlstate, "%s", text);
		if (first && field == 'M')
			snprintf(c->reply.message, sizeof c->reply.message, "%s", text);
	}
}

static void take_notice(struct client *c, struct reader *r)
{
	char code[6] = "";
	bool warning = false;

	for (;;) {
		uint8_t field = get_u8(r);
		const char *text = field ? get_cstr(r) : NULL;

		if (!text)
			break;
		if (field == 'S')
			warning = strcmp(text, "WARNING") == 0;
		if (field == 'C')
			snprintf(code, sizeof code, "%s", text);
	}
	if (warning)
		memcpy(c->reply.warning, code, sizeof code);
}

/* One whole message of the engine; false: the reply is complete. */
static bool take_message(struct client *c, uint8_t type, struct reader *r)
{
	const char *tag;

	switch (type) {
	case 'D':
		take_row(c, r);
		return true;
	case 'E':
		take_error(c, r);
		return true;
	case 'N':
		take_notice(c, r);
		return true;
	case 'C':
		tag = get_cstr(r);
		snprintf(c->reply.tag, sizeof c->reply.tag, "%s", tag ? tag : "");
		return true;
	case 'Z':
		c->reply.status = (char)get_u8(r);
		return false;
	case 'T':
		c->reply.rows = 0;
		c->reply.cells.count = 0;
		return true;
	default:
		return true;
	}
}

static void lost(struct client *c)
{
	if (c->phase == CLIENT_CLOSED)
		return;
	client_hang_up(c);
	sim_stats.lost++;
	tell(c, CLIENT_LOST);
}

static void reply_done(struct client *c)
{
	enum client_state was = c->phase;

	timer_cancel(&c->w->timers, &c->limit);
	c->phase = CLIENT_IDLE;
	if (c->reply.error)
		c->prepared &= ~c->preparing;
	c->preparing = 0;
	world_mix(c->w, c->reply.rows + (uint64_t)c->reply.error * 1000 + c->number);
	if (c->reply.error)
		world_note(c->w, "k%u %s: %s %s [%s]", c->number, c->node->name, c->reply.sqlstate, c->reply.message,
			   c->sql);
	tell(c, was == CLIENT_STARTING ? CLIENT_CONNECTED : CLIENT_REPLY);
}

/* Consumed as a whole: a reply is thousands of short messages. */
static void take_bytes(struct client *c)
{
	size_t at = 0;

	while (c->rx.size - at >= 5 && c->phase != CLIENT_CLOSED) {
		const uint8_t *front = c->rx.data + at;
		struct reader r = reader_init(front + 1, c->rx.size - at - 1);
		uint32_t bytes = be_get_u32(&r);

		if (c->rx.size - at < 1 + (size_t)bytes)
			break;
		r = reader_init(front + 5, bytes - 4);
		at += 1 + (size_t)bytes;
		if (!take_message(c, front[0], &r)) {
			buf_consume(&c->rx, at);
			at = 0;
			reply_done(c);
		}
	}
	buf_consume(&c->rx, at);
}

/* At the client. */
static void out_fire(struct timer *t, void *ctx)
{
	struct client *c = ctx;

	while (!list_empty(&c->to_client)) {
		struct packet *p = CONTAINER_OF(list_first(&c->to_client), struct packet, l);

		if (p->due_us > c->w->now_us) {
			timer_arm(&c->w->timers, t, p->due_us);
			return;
		}
		if (p->bytes)
			buf_put(&c->rx, p->data, p->bytes);
		else
			c->lost_pending = true;
		list_remove(&p->l);
		mem_free(&c->w->mem, p, sizeof *p + p->bytes);
		take_bytes(c);
		if (c->lost_pending) {
			lost(c);
			return;
		}
	}
}

static void limit_fire(struct timer *t, void *ctx)
{
	struct client *c = ctx;

	if (c->conn && c->w->phase != PHASE_RUN) {
		uint64_t from = c->query_us > c->w->healed_us ? c->query_us : c->w->healed_us;

		if (c->w->now_us < from + ANSWER_LIMIT_US) {
			timer_arm(&c->w->timers, t, from + ANSWER_LIMIT_US);
			return;
		}
		world_violation(c->w, "client %u (%s) got no answer from %s within %.0f s: %s", c->number, c->load->name,
				c->node->name, (double)ANSWER_LIMIT_US / 1e6, c->sql);
		return;
	}
	world_note(c->w, "k%u gives up on %s [%s]", c->number, c->node->name, c->sql);
	lost(c);
}

static void wake_fire(struct timer *t, void *ctx)
{
	(void)t;
	tell(ctx, CLIENT_WOKEN);
}

struct client *clients_add(struct clients *cs, const struct load *load)
{
	struct client *c = MEM_NEW(&cs->w->mem, struct client);

	c->all = cs;
	c->w = cs->w;
	c->number = (uint32_t)cs->at.count + 1;
	rng_init(&c->rng, rng_next(&cs->w->rng));
	c->load = load;
	c->state = mem_alloc(&cs->w->mem, load->state_bytes ? load->state_bytes : 1);
	if (!load->state_bytes)
		mem_free(&cs->w->mem, c->state, 1);
	if (!load->state_bytes)
		c->state = NULL;
	list_init(&c->ready);
	list_init(&c->to_server);
	list_init(&c->to_client);
	timer_init(&c->in, in_fire, c);
	timer_init(&c->out, out_fire, c);
	timer_init(&c->wake, wake_fire, c);
	timer_init(&c->limit, limit_fire, c);
	buf_init(&c->rx, &cs->w->mem);
	arena_init(&c->reply.arena, &cs->w->mem);
	VEC_PUSH(&cs->w->mem, &cs->at, c);
	return c;
}

/* -- connections --------------------------------------------------------------------------------------------------- */

void client_hang_up(struct client *c)
{
	conn_free(c);
	packets_drop(c, &c->to_client);
	timer_cancel(&c->w->timers, &c->out);
	timer_cancel(&c->w->timers, &c->limit);
	buf_reset(&c->rx);
	c->lost_pending = false;
	c->phase = CLIENT_CLOSED;
	c->node = NULL;
	c->prepared = 0;
}

static void say_lost(struct client *c)
{
	packet_send(c, &c->to_client, &c->out, "", 0);
}

void clients_node_down(struct clients *cs, struct node *n, bool power)
{
	for (size_t i = 0; i < cs->at.count; i++) {
		struct client *c = cs->at.at[i];

		if (c->node != n)
			continue;
		conn_free(c);
		if (!power)
			say_lost(c); /* otherwise it waits until its limit */
		else if (c->phase == CLIENT_IDLE)
			timer_arm(&c->w->timers, &c->limit, c->w->now_us + SECONDS(2));
	}
}

void client_connect(struct client *c, struct node *n)
{
	static const char packet[] = "\0\0\0\0\0\3\0\0user\0sim\0database\0valence\0";
	uint8_t start[sizeof packet];
	uint32_t be = __builtin_bswap32((uint32_t)sizeof packet);

	ASSERT(c->phase == CLIENT_CLOSED);
	for (int i = 0; !n && i < 50; i++) {
		n = &c->w->nodes[rng_below(&c->rng, c->w->node_count)];
		if (!n->up)
			n = NULL;
	}
	if (!n || !n->up) {
		client_sleep(c, MILLIS(50));
		return;
	}
	memcpy(start, packet, sizeof packet);
	memcpy(start, &be, 4);
	c->node = n;
	c->phase = CLIENT_STARTING;
	c->session_lo = 0;
	snprintf(c->sql, sizeof c->sql, "(connecting)");
	rows_reset(c);
	struct pg_conn_config cfg = {.server = n->server, .peer = "client", .ctx = c, .wake = conn_wake};

	c->conn = pg_conn_new(&cfg);
	packet_send(c, &c->to_server, &c->in, start, sizeof start);
	timer_arm(&c->w->timers, &c->limit, c->w->now_us + c->all->limit_us);
}

uint32_t clients_node_turn(struct clients *cs, struct node *n)
{
	uint32_t steps = 0;
	struct list now;

	(void)cs;
	if (list_empty(&n->ready))
		return 0;
	list_init(&now);
	list_insert_before(&n->ready, &now);
	list_remove(&n->ready);
	while (!list_empty(&now)) {
		struct client *c = CONTAINER_OF(list_first(&now), struct client, ready);
		enum pg_step st;
		const void *out;
		size_t bytes;

		list_remove(&c->ready);
		st = pg_conn_step(c->conn);
		steps++;
		out = pg_conn_output(c->conn, &bytes);
		if (bytes) {
			c->applied = node_applied(n);
			packet_send(c, &c->to_client, &c->out, out, bytes);
			pg_conn_consumed(c->conn, bytes);
		}
		if (st == PG_CLOSE) {
			conn_free(c);
			say_lost(c);
		} else if (st == PG_AGAIN || pg_conn_unblocked(c->conn)) {
			conn_wake(c);
		}
	}
	return steps;
}

/* -- queries --------------------------------------------------------------------------------------------------------- */

static void message_put(struct buf *b, char type, const void *body, size_t bytes)
{
	put_u8(b, (uint8_t)type);
	be_put_u32(b, (uint32_t)bytes + 4);
	buf_put(b, body, bytes);
}

/* Some hang up at once: what they asked for goes on, or is left half done, at the engine. */
static uint64_t patience_us(struct client *c)
{
	if (c->w->phase == PHASE_RUN && rng_below(&c->rng, 1000) < c->w->impatient_permille)
		return 100 + rng_below(&c->rng, MILLIS(8));
	return c->all->limit_us;
}

static void busy(struct client *c, const char *sql)
{
	ASSERT(c->phase == CLIENT_IDLE);
	c->phase = CLIENT_BUSY;
	c->query_us = c->w->now_us;
	snprintf(c->sql, sizeof c->sql, "%s", sql);
	rows_reset(c);
	if (c->w->cfg.verbose)
		world_note(c->w, "k%u %s> %s", c->number, c->node->name, c->sql);
	timer_arm(&c->w->timers, &c->limit, c->w->now_us + patience_us(c));
}

static void query_v(struct client *c, const char *fmt, va_list ap)
{
	char *sql = mem_alloc(&c->w->mem, SQL_MAX);
	int n = vsnprintf(sql, SQL_MAX, fmt, ap);
	struct buf b;

	ASSERT(n > 0 && n < (int)SQL_MAX);
	busy(c, sql);
	buf_init(&b, &c->w->mem);
	message_put(&b, 'Q', sql, (size_t)n + 1);
	packet_send(c, &c->to_server, &c->in, b.data, b.size);
	buf_fini(&b);
	mem_free(&c->w->mem, sql, SQL_MAX);
}

void client_query(struct client *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	query_v(c, fmt, ap);
	va_end(ap);
}

void client_execute(struct client *c, uint32_t number, const char *sql, uint32_t count, const char *const *params)
{
	struct buf b, m;
	char name[16];

	snprintf(name, sizeof name, "s%u", number);
	busy(c, sql);
	buf_init(&b, &c->w->mem);
	buf_init(&m, &c->w->mem);
	c->preparing = 1u << number;
	if (!(c->prepared & c->preparing)) {
		put_u8(&m, 'S');
		buf_put(&m, name, strlen(name) + 1);
		message_put(&b, 'C', m.data, m.size); /* an attempt that failed may have left it */
		buf_reset(&m);
		buf_put(&m, name, strlen(name) + 1);
		buf_put(&m, sql, strlen(sql) + 1);
		be_put_u16(&m, 0);
		message_put(&b, 'P', m.data, m.size);
		c->prepared |= c->preparing;
	}
	buf_reset(&m);
	put_u8(&m, 0);
	buf_put(&m, name, strlen(name) + 1);
	be_put_u16(&m, 0);
	be_put_u16(&m, (uint16_t)count);
	for (uint32_t i = 0; i < count; i++) {
		be_put_u32(&m, (uint32_t)strlen(params[i]));
		buf_put(&m, params[i], strlen(params[i]));
	}
	be_put_u16(&m, 0);
	message_put(&b, 'B', m.data, m.size);
	message_put(&b, 'E', "\0\0\0\0", 5);
	message_put(&b, 'S', "", 0);
	packet_send(c, &c->to_server, &c->in, b.data, b.size);
	buf_fini(&m);
	buf_fini(&b);
}

void client_sleep(struct client *c, uint64_t us)
{
	timer_arm(&c->w->timers, &c->wake, c->w->now_us + us);
}

const char *client_cell(const struct client *c, uint32_t row, uint32_t column)
{
	const struct reply *r = &c->reply;
	const char *text = row < r->rows && column < r->columns ? r->cells.at[row * r->columns + column] : NULL;

	return text ? text : "";
}

int64_t client_int(const struct client *c, uint32_t row, uint32_t column)
{
	return strtoll(client_cell(c, row, column), NULL, 10);
}

bool client_sqlstate(const struct client *c, const char *sqlstate)
{
	return c->reply.error && strcmp(c->reply.sqlstate, sqlstate) == 0;
}

seq_index client_applied(const struct client *c)
{
	return c->applied;
}

bool client_error_expected(struct client *c)
{
	/* conflicts, deadlocks, not a member, no voters, canceled, gone log, old snapshot; the rest is a bug */
	static const char *const states[] = {"40001", "40P01", "57P03", "VN001", "08006", "08007", "72000", "57014",
					     "25P02", "53200"};

	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
		if (client_sqlstate(c, states[i]))
			return true;
	return false;
}

bool client_outcome_unknown(const struct client *c)
{
	return client_sqlstate(c, "08007");
}

void client_count(struct client *c, enum txn_end how)
{
	if (how == TXN_ACKED || how == TXN_EARLY) {
		c->done++;
		sim_stats.commits++;
	} else if (how == TXN_UNKNOWN) {
		sim_stats.unknown++;
	} else {
		sim_stats.rollbacks++;
	}
}

void client_next(struct client *c, uint64_t think_us)
{
	if (c->stopping) {
		c->stopped = true;
		client_hang_up(c);
		return;
	}
	if (rng_below(&c->rng, 60) == 0)
		client_hang_up(c);
	client_sleep(c, rng_below(&c->rng, think_us * c->w->pace * 2) + 1);
}

static void tell(struct client *c, enum client_event ev)
{
	if (c->w->failed || c->stopped)
		return;
	c->load->event(c, ev);
}

/* -- from outside ------------------------------------------------------------------------------------------------------ */

struct idle { bool done; };


static void idle_event(struct client *c, enum client_event ev)
{
	struct idle *s = c->state;

	(void)ev;
	s->done = true;
}

const struct load load_idle = {"idle", sizeof(struct idle), idle_event, false};

static bool idle_done(struct world *w, void *ctx)
{
	struct client *c = ctx;

	(void)w;
	return ((struct idle *)c->state)->done;
}

static bool answered(struct client *c, uint64_t limit_us)
{
	return world_run_until(c->w, limit_us, idle_done, c) && c->phase == CLIENT_IDLE && !c->reply.error;
}

bool client_run_on(struct client *c, uint64_t limit_us, struct node *n)
{
	((struct idle *)c->state)->done = false;
	if (c->phase != CLIENT_CLOSED)
		client_hang_up(c);
	client_connect(c, n);
	return answered(c, limit_us);
}

bool client_wait(struct client *c, uint64_t limit_us)
{
	if (c->phase == CLIENT_IDLE)
		return !c->reply.error;
	((struct idle *)c->state)->done = false;
	return answered(c, limit_us);
}

bool client_run(struct client *c, uint64_t limit_us, const char *fmt, ...)
{
	va_list ap;

	if (!fmt)
		return client_run_on(c, limit_us, NULL);
	if (c->phase != CLIENT_IDLE)
		return false;
	((struct idle *)c->state)->done = false;
	va_start(ap, fmt);
	query_v(c, fmt, ap);
	va_end(ap);
	return answered(c, limit_us);
}
