/*
 * rig.c - see rig.h.
 */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "catalog/replica.h"

#define START_US UINT64_C(1000000)
#define WALL_US UINT64_C(1790000000000000)
#define STEPS_PER_TURN 64
#define TURN_US 20

static uint64_t rig_now(void *ctx)
{
	return ((struct rig *)ctx)->now_us;
}

static uint64_t rig_wall(void *ctx)
{
	return WALL_US + ((struct rig *)ctx)->now_us;
}

static struct clock rig_clock(struct rig *r)
{
	return (struct clock){.ctx = r, .now_us = rig_now, .wall_us = rig_wall};
}

static uint64_t log_now(void *ctx)
{
	return ((struct rig_engine *)ctx)->r->now_us;
}

static void log_line(void *ctx, const char *line, uint32_t bytes)
{
	const struct rig_engine *e = ctx;

	if (e->r->verbose)
		fprintf(stderr, "%10.6f %s %.*s", (double)e->r->now_us / 1e6, e->name, (int)bytes, line);
}

static enum status gate(void *ctx, struct error *err)
{
	const struct rig_engine *e = ctx;

	return engine_state(e->engine) == ENGINE_READY ? ST_OK : error_set(err, ST_CANNOT_CONNECT_NOW, "starting up");
}

static uint32_t secret(void *ctx)
{
	(void)ctx;
	return 1;
}

/* -- engines ------------------------------------------------------------------------------------------------------- */

void rig_open(struct rig *r, uint32_t n)
{
	struct rig_engine *e = &r->at[n];
	const char *contacts[RIG_ENGINES];
	struct error err = {0};
	struct engine_config cfg = {.mem = &e->mem, .log = &e->log, .clock = rig_clock(r), .timers = &e->timers,
				    .seed = ++r->seed, .name = e->name,
				    .kind = e->archive ? ENGINE_ARCHIVE : ENGINE_CACHE, .listen = e->address,
				    .sql_address = "", .location = "", .contacts = contacts, .net_ops = &net_ops_sim,
				    .net_backend = e->host, .store_ops = &store_ops_sim, .dir = "", .disk = e->disk,
				    .memory_bytes = 256u << 20, .checkpoint_bytes = r->checkpoint_bytes,
				    .deadlock_timeout_us = 200000, .direct_links = 4, .remote_bytes = 16u << 20, .ctx = e};
	struct pg_server_config pc = {.mem = &e->mem, .log = &e->log, .ctx = e, .gate = gate, .secret = secret};

	for (uint32_t i = 0; n && i < r->count; i++)
		if (i != n && r->at[i].archive)
			contacts[cfg.contact_count++] = r->at[i].address;
	mem_init(&e->mem, NULL, e->name, 0);
	timers_init(&e->timers, &e->mem);
	memset(&e->log, 0, sizeof e->log);
	e->log.ctx = e->log.ctx_clock = e;
	e->log.write = log_line;
	e->log.wall_us = log_now;
	memcpy(e->log.name, e->name, sizeof e->name);
	logger_set_levels(&e->log, LOG_INFO);
	ASSERT(engine_open(&cfg, &e->engine, &err) == ST_OK);
	pc.engine = e->engine;
	e->server = pg_server_new(&pc);
	e->up = true;
}

static void engine_end(struct rig_engine *e)
{
	struct rig *r = e->r;

	if (!e->up)
		return;
	for (uint32_t i = 0; i < RIG_SESSIONS; i++)
		if (r->sessions[i] && r->sessions[i]->e == e)
			rig_session_free(r->sessions[i]);
	if (e->disk)
		sim_disk_crash(e->disk);
	sim_host_crash(e->host, false);
	pg_server_free(e->server);
	engine_close(e->engine);
	timers_fini(&e->timers);
	mem_fini(&e->mem); /* nothing was forgotten */
	e->up = false;
}

void rig_kill(struct rig *r, uint32_t n)
{
	engine_end(&r->at[n]);
	sim_host_restart(r->at[n].host);
}

static bool have_left(struct rig *r, void *ctx)
{
	uint32_t *which = ctx;

	for (uint32_t n = 0; n < r->count; n++)
		if (*which >> n & 1 && r->at[n].up && engine_state(r->at[n].engine) == ENGINE_LEFT) {
			rig_kill(r, n);
			*which &= ~(1u << n);
		}
	return !*which;
}

bool rig_stop(struct rig *r, uint32_t which)
{
	bool clean;

	for (uint32_t n = 0; n < r->count; n++)
		if (which >> n & 1)
			engine_leave(r->at[n].engine);
	clean = rig_until(r, 8000000, have_left, &which);
	for (uint32_t n = 0; n < r->count; n++)
		if (which >> n & 1)
			rig_kill(r, n);
	return clean;
}

bool rig_ready(struct rig *r, uint32_t n)
{
	return r->at[n].up && engine_state(r->at[n].engine) == ENGINE_READY;
}

seq_index rig_applied(struct rig *r, uint32_t n)
{
	return replica_applied(engine_replica(r->at[n].engine));
}

static bool is_ready(struct rig *r, void *ctx)
{
	return rig_ready(r, *(uint32_t *)ctx);
}

bool rig_start(struct rig *r, uint32_t n)
{
	rig_open(r, n);
	return rig_until(r, 10000000, is_ready, &n);
}

bool rig_init(struct rig *r, uint32_t archives, uint32_t caches)
{
	uint64_t checkpoint_bytes = r->checkpoint_bytes;
	bool remote_read = r->remote_read;

	memset(r, 0, sizeof *r);
	r->checkpoint_bytes = checkpoint_bytes;
	r->remote_read = remote_read;
	r->verbose = getenv("RIG_VERBOSE") != NULL;
	r->now_us = START_US;
	r->steps_per_turn = STEPS_PER_TURN;
	r->count = archives + caches;
	mem_init(&r->mem, NULL, "rig", 0);
	r->net = sim_net_new(&r->mem, rig_clock(r), 7);
	sim_net_set_remote_read(r->net, r->remote_read);
	for (uint32_t i = 0; i < r->count; i++) {
		struct rig_engine *e = &r->at[i];
		struct sim_disk_config dc = {.mem = &r->mem, .clock = rig_clock(r), .seed = i + 1};

		e->r = r;
		e->archive = i < archives;
		snprintf(e->name, sizeof e->name, "%c%u", e->archive ? 'a' : 'c', (i + 1) % 100);
		snprintf(e->address, sizeof e->address, "10.0.0.%u:7500", i + 1);
		e->host = sim_host_new(r->net, e->address);
		e->disk = e->archive ? sim_disk_new(&dc) : NULL;
	}
	for (uint32_t i = 0; i < r->count; i++)
		if (!rig_start(r, i))
			return false;
	return true;
}

bool rig_fini(struct rig *r)
{
	for (uint32_t i = 0; i < r->count; i++)
		engine_end(&r->at[i]);
	for (uint32_t i = 0; i < r->count; i++)
		if (r->at[i].disk)
			sim_disk_free(r->at[i].disk);
	sim_net_free(r->net);
	return r->mem.used_bytes == 0;
}

/* -- time ------------------------------------------------------------------------------------------------------------ */

static bool session_step(struct rig_session *s);

/* Everything that is due. False: nothing happened. */
static bool turn(struct rig *r)
{
	bool busy = sim_net_run(r->net, r->now_us) > 0;

	for (uint32_t i = 0; i < r->count; i++) {
		struct rig_engine *e = &r->at[i];

		if (!e->up)
			continue;
		if (e->disk)
			busy |= sim_disk_run(e->disk, r->now_us) > 0;
		(void)timers_run(&e->timers, r->now_us);
		for (int n = 0; n < r->steps_per_turn && engine_step(e->engine) > 0; n++)
			busy = true;
		for (uint32_t k = 0; k < RIG_SESSIONS; k++)
			if (r->sessions[k] && r->sessions[k]->e == e)
				busy |= session_step(r->sessions[k]);
	}
	return busy;
}

static uint64_t next_us(const struct rig *r)
{
	uint64_t next = sim_net_next_us(r->net);

	for (uint32_t i = 0; i < r->count; i++) {
		const struct rig_engine *e = &r->at[i];
		uint64_t t = e->up ? timers_next_us(&e->timers) : UINT64_MAX;

		next = t < next ? t : next;
		t = e->up && e->disk ? sim_disk_next_us(e->disk) : UINT64_MAX;
		next = t < next ? t : next;
	}
	for (uint32_t k = 0; k < RIG_SESSIONS; k++) {
		uint64_t t = r->sessions[k] ? pg_conn_deadline_us(r->sessions[k]->conn) : 0;

		if (t && t - WALL_US < next)
			next = t - WALL_US;
	}
	return next;
}

bool rig_until(struct rig *r, uint64_t limit_us, rig_until_fn until, void *ctx)
{
	uint64_t end = r->now_us + limit_us;

	while (r->now_us < end) {
		if (until && until(r, ctx))
			return true;
		if (turn(r) || next_us(r) < r->now_us + TURN_US)
			r->now_us += TURN_US;
		else
			r->now_us = next_us(r) < end ? next_us(r) : end;
	}
	return !until || until(r, ctx);
}

bool rig_quiet(struct rig *r)
{
	seq_index last = 0;

	for (int round = 0; round < 50; round++) {
		seq_index least = UINT64_MAX, most = 0;

		rig_until(r, 100000, NULL, NULL);
		for (uint32_t i = 0; i < r->count; i++) {
			seq_index a = r->at[i].up ? rig_applied(r, i) : 0;

			least = r->at[i].up && a < least ? a : least;
			most = a > most ? a : most;
		}
		if (least == most && most == last)
			return true;
		last = most;
	}
	return false;
}

/* -- sessions: the simple protocol ------------------------------------------------------------------------------------ */

static void session_wake(void *ctx)
{
	(void)ctx; /* every session is stepped in every turn */
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_text(struct rig_session *s, const void *p, size_t n)
{
	if (s->text_bytes + n >= RIG_TEXT)
		return;
	memcpy(s->text + s->text_bytes, p, n);
	s->text_bytes += n;
	s->text[s->text_bytes] = 0;
}

static void on_row(struct rig_session *s, const uint8_t *p)
{
	uint32_t columns = (uint32_t)p[0] << 8 | p[1];

	p += 2;
	for (uint32_t i = 0; i < columns; i++) {
		uint32_t n = be32(p);

		p += 4;
		if (i)
			put_text(s, "|", 1);
		if (n == UINT32_MAX)
			continue;
		put_text(s, p, n);
		p += n;
	}
	put_text(s, "\n", 1);
}

static void on_error(struct rig_session *s, const uint8_t *p)
{
	const char *code = "", *message = "";

	for (; *p; p += strlen((const char *)p) + 1) {
		if (*p == 'C')
			code = (const char *)p + 1;
		if (*p == 'M')
			message = (const char *)p + 1;
	}
	s->text_bytes = 0;
	put_text(s, code, strlen(code));
	put_text(s, " ", 1);
	put_text(s, message, strlen(message));
	put_text(s, "\n", 1);
}

static void on_notice(struct rig_session *s, const uint8_t *body)
{
	const char *severity = "", *code = "";

	for (const char *f = (const char *)body; *f; f += strlen(f) + 1) {
		severity = *f == 'S' ? f + 1 : severity;
		code = *f == 'C' ? f + 1 : code;
	}
	if (strcmp(severity, "WARNING") == 0)
		snprintf(s->warning, sizeof s->warning, "%s", code);
}

static void take_output(struct rig_session *s)
{
	size_t bytes, at = 0;
	const void *out = pg_conn_output(s->conn, &bytes);

	if (!bytes)
		return;
	s->rx = realloc(s->rx, s->rx_bytes + bytes);
	ASSERT(s->rx);
	memcpy(s->rx + s->rx_bytes, out, bytes);
	s->rx_bytes += bytes;
	pg_conn_consumed(s->conn, bytes);
	while (s->rx_bytes - at >= 5 && s->rx_bytes - at >= 1 + be32(s->rx + at + 1)) {
		const uint8_t *body = s->rx + at + 5;

		if (s->rx[at] == 'D')
			on_row(s, body);
		else if (s->rx[at] == 'E')
			on_error(s, body);
		else if (s->rx[at] == 'N')
			on_notice(s, body);
		else if (s->rx[at] == 'Z')
			s->ready = true;
		at += 1 + be32(s->rx + at + 1);
	}
	memmove(s->rx, s->rx + at, s->rx_bytes - at);
	s->rx_bytes -= at;
}

static bool session_step(struct rig_session *s)
{
	uint64_t deadline = pg_conn_deadline_us(s->conn);
	enum pg_step st;

	if (deadline && deadline <= s->r->now_us)
		pg_conn_timeout(s->conn);
	st = pg_conn_step(s->conn);
	take_output(s);
	return st == PG_AGAIN;
}

struct rig_session *rig_session(struct rig *r, uint32_t n)
{
	static const uint8_t hello[] = "\0\0\0\x24\0\3\0\0user\0test\0database\0valence\0";
	struct rig_session *s = calloc(1, sizeof *s);
	struct pg_conn_config cc = {.server = r->at[n].server, .peer = "test", .ctx = s, .wake = session_wake};
	uint32_t k = 0;

	ASSERT(s);
	while (k < RIG_SESSIONS && r->sessions[k])
		k++;
	ASSERT_OP(k, <, RIG_SESSIONS);
	_Static_assert(sizeof hello == 0x24, "the length in it is its own");
	r->sessions[k] = s;
	s->r = r;
	s->e = &r->at[n];
	s->conn = pg_conn_new(&cc);
	pg_conn_input(s->conn, hello, sizeof hello);
	ASSERT(rig_answered(s, 1000000));
	return s;
}

void rig_session_free(struct rig_session *s)
{
	for (uint32_t k = 0; k < RIG_SESSIONS; k++)
		if (s->r->sessions[k] == s)
			s->r->sessions[k] = NULL;
	pg_conn_free(s->conn);
	free(s->rx);
	free(s);
}

void rig_send(struct rig_session *s, const char *sql)
{
	size_t n = strlen(sql) + 1;
	uint8_t head[5] = {'Q', (uint8_t)((n + 4) >> 24), (uint8_t)((n + 4) >> 16), (uint8_t)((n + 4) >> 8), (uint8_t)(n + 4)};

	s->ready = false;
	s->text_bytes = 0;
	s->text[0] = s->warning[0] = 0;
	pg_conn_input(s->conn, head, sizeof head);
	pg_conn_input(s->conn, sql, n);
}

static bool answered(struct rig *r, void *ctx)
{
	(void)r;
	return ((struct rig_session *)ctx)->ready;
}

bool rig_answered(struct rig_session *s, uint64_t limit_us)
{
	return rig_until(s->r, limit_us, answered, s);
}

const char *rig_sql(struct rig_session *s, const char *sql)
{
	rig_send(s, sql);
	return rig_answered(s, 10000000) ? s->text : "(no answer)";
}
