/*
 * engine.c - wiring (engine): opens the parts, steps them in turn, and is the host of those below.
 *
 * One turn (S17): what the network and the store have ready, the log, what follows for transactions, the leader's
 * batches; then one send per peer. Queries come after, in the owner's loop.
 */
#include "engine/engine_int.h"
#include "engine/txn/lend_wire.h"

#include <stdio.h>
#include <string.h>

#define TICK_US 20000
#define WRITE_LIMIT 3 /* heartbeat limits without a sign of the voters: then a write is refused before it begins its way */
#define MEMORY_DEFAULT (UINT64_C(4) << 30)

/* -- host of the transaction manager ------------------------------------------------------------------------ */

static void host_send(void *ctx, engine_id to, const void *data, size_t bytes)
{
	struct engine *e = ctx;

	if (to == ENGINE_LEADER && engine_is_leader(e)) /* the usual small cluster: no detour by the relay */
		member_relay_events.message(e, e->self, data, bytes);
	else
		relay_send(e->relay, to, data, bytes);
}

static enum status host_replay(void *ctx, seq_index as_of, struct frame *f)
{
	return log_replay(ctx, as_of, f);
}

static void host_kick(void *ctx)
{
	struct engine *e = ctx;

	e->kicked = true;
	if (e->cfg.kick)
		e->cfg.kick(e->cfg.ctx);
}

static uint64_t host_silence_us(void *ctx)
{
	struct engine *e = ctx;

	return engine_is_leader(e) ? 0 : relay_parent_silence_us(e->relay);
}

static bool host_may_read(void *ctx, engine_id from)
{
	return relay_can_read(((struct engine *)ctx)->relay, from);
}

static bool host_expect(void *ctx, engine_id from, size_t bytes)
{
	return relay_expect(((struct engine *)ctx)->relay, from, bytes);
}

static bool host_read(void *ctx, engine_id from, uint64_t address, uint64_t key, uint32_t bytes, uint64_t token)
{
	return relay_read(((struct engine *)ctx)->relay, from, address, key, bytes, token);
}

static uint32_t host_expose(void *ctx, const void *at, size_t bytes, struct lend_extent *out, uint32_t max)
{
	struct relay_extent x[LEND_EXTENTS_MAX];
	uint32_t n = relay_expose(((struct engine *)ctx)->relay, at, bytes, x, max < LEND_EXTENTS_MAX ? max : LEND_EXTENTS_MAX);

	for (uint32_t i = 0; i < n; i++)
		out[i] = (struct lend_extent){x[i].address, x[i].key, x[i].bytes};
	return n;
}

/* The relay's end is the end of all that it registered. */
static void host_unexpose(void *ctx, const void *at, size_t bytes)
{
	struct engine *e = ctx;

	if (e->relay)
		relay_unexpose(e->relay, at, bytes);
}

static void host_memory_gone(void *ctx, const void *at, size_t bytes)
{
	struct engine *e = ctx;

	if (e->relay)
		relay_memory_gone(e->relay, at, bytes);
}

static const struct txn_host txn_host = {
	.send = host_send,
	.replay = host_replay,
	.kick = host_kick,
	.silence_us = host_silence_us,
	.view_row = engine_view_row,
	.record_find = log_record_find,
	.remove_voter = leader_remove_voter,
	.may_read = host_may_read,
	.expect = host_expect,
	.read = host_read,
	.expose = host_expose,
	.unexpose = host_unexpose,
	.memory_gone = host_memory_gone,
};

static void on_applied(void *ctx, const struct record *r, enum verdict v, enum void_cause cause)
{
	(void)cause;
	leader_applied(ctx, r, v);
}

static void on_member_joined(void *ctx, const struct member *m)
{
	member_joined(ctx, m);
}

static void on_member_removed(void *ctx, const struct member *m, uint8_t cause)
{
	member_removed(ctx, m, cause);
}

static void on_frame_gone(void *ctx, struct frame *f)
{
	archive_frame_gone(ctx, f);
}

static const struct replica_events replica_events = {
	.applied = on_applied,
	.member_joined = on_member_joined,
	.member_removed = on_member_removed,
	.frame_gone = on_frame_gone,
};

/* -- timers -------------------------------------------------------------------------------------------------------- */

static void seq_fire(struct timer *t, void *ctx)
{
	(void)t;
	((struct engine *)ctx)->kicked = true; /* archive_turn() ticks and arms again */
}

static void tick_fire(struct timer *t, void *ctx)
{
	struct engine *e = ctx;
	seq_index keep;

	member_tick(e);
	leader_tick(e);
	archive_tick(e);
	catchup_tick(e);
	pull_tick(e);
	keep = replica_applied(e->rp);
	if (txns_oldest_fetch(e->txns) < keep)
		keep = txns_oldest_fetch(e->txns);
	if (catchup_durable(e) < keep)
		keep = catchup_durable(e);
	window_trim(&e->window, e->cfg.window_bytes, keep);
	replica_forget_parts(e->rp, window_first(&e->window) ? window_first(&e->window) - 1 : 0);
	e->kicked = true;
	timer_arm(e->timers, t, engine_now(e) + TICK_US);
}

/* -- open and close -------------------------------------------------------------------------------------------------- */

static char *copy_string(struct engine *e, const char *s)
{
	char *p;

	if (!s)
		return NULL;
	p = mem_alloc(e->mem, strlen(s) + 1);
	memcpy(p, s, strlen(s) + 1);
	return p;
}

static void free_string(struct engine *e, const char *s)
{
	if (s)
		mem_free(e->mem, (void *)s, strlen(s) + 1);
}

static enum status config_check(const struct engine_config *cfg, struct error *err)
{
	if (strlen(cfg->name) == 0 || strlen(cfg->name) >= sizeof ((struct join_payload *)0)->name)
		return error_set(err, ST_BAD_PARAMETER, "an engine's name has 1 to 63 characters");
	if (cfg->location && strlen(cfg->location) >= sizeof ((struct join_payload *)0)->location)
		return error_set(err, ST_BAD_PARAMETER, "a location has at most 63 characters");
	if (cfg->kind == ENGINE_CACHE && !cfg->contact_count) {
		error_set(err, ST_BAD_PARAMETER, "a cache engine needs a cluster to join");
		error_hint(err, "name one or more of its engines with --join HOST:PORT");
		return ST_BAD_PARAMETER;
	}
	return ST_OK;
}

static void config_copy(struct engine *e, const struct engine_config *cfg)
{
	e->cfg = *cfg;
	e->cfg.name = copy_string(e, cfg->name);
	e->cfg.listen = copy_string(e, cfg->listen);
	e->cfg.sql_address = copy_string(e, cfg->sql_address ? cfg->sql_address : "");
	e->cfg.location = copy_string(e, cfg->location ? cfg->location : "");
	e->cfg.dir = copy_string(e, cfg->dir);
	e->cfg.multicast = copy_string(e, cfg->multicast);
	e->contact_count = cfg->contact_count;
	e->contacts = mem_alloc(e->mem, (cfg->contact_count + 1) * sizeof *e->contacts);
	for (uint32_t i = 0; i < cfg->contact_count; i++)
		e->contacts[i] = copy_string(e, cfg->contacts[i]);
	if (!e->cfg.heartbeat_us)
		e->cfg.heartbeat_us = 100000;
	if (!e->cfg.heartbeat_limit_us)
		e->cfg.heartbeat_limit_us = RELAY_HEARTBEAT_LIMIT_US;
	if (!e->cfg.checkpoint_bytes)
		e->cfg.checkpoint_bytes = 64u << 20;
	if (!e->cfg.journal_bytes)
		e->cfg.journal_bytes = ENGINE_JOURNAL_BYTES;
	if (!e->cfg.window_bytes)
		e->cfg.window_bytes = ENGINE_WINDOW_BYTES;
	if (!e->cfg.memory_bytes)
		e->cfg.memory_bytes = MEMORY_DEFAULT;
	e->me.kind = (uint8_t)cfg->kind;
	snprintf(e->me.name, sizeof e->me.name, "%s", cfg->name);
	snprintf(e->me.sql_address, sizeof e->me.sql_address, "%s", e->cfg.sql_address);
	snprintf(e->me.location, sizeof e->me.location, "%s", e->cfg.location);
}

static enum status relay_start(struct engine *e, struct error *err)
{
	struct relay_config rc = {
		.mem = e->mem,
		.log = e->log,
		.clock = e->clock,
		.timers = e->timers,
		.seed = rng_next(&e->rng),
		.net_ops = e->cfg.net_ops,
		.provider = e->cfg.provider,
		.net_backend = e->cfg.net_backend,
		.listen = e->cfg.listen,
		.name = e->cfg.name,
		.secret = e->cfg.secret,
		.secret_bytes = e->cfg.secret_bytes,
		.entropy = e->cfg.entropy,
		.events = &member_relay_events,
		.ctx = e,
		.multicast = e->cfg.multicast,
		.mcast_ops = e->cfg.mcast_ops,
		.fan_out = e->cfg.fan_out,
		.direct_links = e->cfg.direct_links,
		.remote_bytes = e->cfg.remote_bytes,
		.heartbeat_us = e->cfg.heartbeat_us,
		.heartbeat_limit_us = e->cfg.heartbeat_limit_us,
	};

	enum status st = relay_open(&rc, &e->relay, err);

	e->cfg.secret = NULL; /* the relay has its copy */
	return st;
}

enum status engine_open(const struct engine_config *cfg, struct engine **engine_out, struct error *err)
{
	struct engine *e;
	struct txns_config tc;
	enum status st = config_check(cfg, err);

	if (st)
		return st;
	e = MEM_NEW(cfg->mem, struct engine);
	mem_init(&e->mem_account, cfg->mem, "engine", 0);
	e->mem = &e->mem_account;
	e->log = cfg->log;
	e->clock = cfg->clock;
	e->timers = cfg->timers;
	e->archive = cfg->kind == ENGINE_ARCHIVE;
	rng_init(&e->rng, cfg->seed);
	config_copy(e, cfg);
	map_init(&e->noticed, e->mem);
	window_init(&e->window, e->mem, 1);
	buf_init(&e->pruned, e->mem);
	e->interest_version = UINT64_MAX;
	leader_init(e);
	timer_init(&e->seq_timer, seq_fire, e);
	timer_init(&e->tick_timer, tick_fire, e);
	tc = (struct txns_config){
		.mem = e->mem,
		.log = e->log,
		.clock = e->clock,
		.timers = e->timers,
		.seed = rng_next(&e->rng),
		.host = &txn_host,
		.host_events = &replica_events,
		.ctx = e,
		.archive = e->archive,
		.undo_limit_bytes = e->cfg.memory_bytes / 4,
		.deadlock_timeout_us = e->cfg.deadlock_timeout_us,
		.stale_read_limit_us = e->cfg.stale_read_limit_us,
		.write_limit_us = WRITE_LIMIT * e->cfg.heartbeat_limit_us,
	};
	e->txns = txns_new(&tc);
	e->rp = txns_replica(e->txns);
	st = relay_start(e, err);
	if (st == ST_OK) {
		snprintf(e->me.address, sizeof e->me.address, "%s", relay_address(e->relay));
		if (e->archive)
			st = archive_open(e, err);
	}
	if (st) {
		engine_close(e);
		return st;
	}
	member_start(e);
	timer_arm(e->timers, &e->tick_timer, engine_now(e) + TICK_US);
	*engine_out = e;
	return ST_OK;
}

void engine_close(struct engine *e)
{
	struct mem *parent = e->mem_account.parent;

	timer_cancel(e->timers, &e->seq_timer);
	timer_cancel(e->timers, &e->tick_timer);
	archive_close(e);
	if (e->relay)
		relay_close(e->relay);
	e->relay = NULL;
	txns_free(e->txns);
	leader_fini(e);
	window_fini(&e->window);
	buf_fini(&e->pruned);
	VEC_FINI(e->mem, &e->pull.want);
	VEC_FINI(e->mem, &e->pull_later);
	map_fini(&e->noticed);
	VEC_FINI(e->mem, &e->gone);
	VEC_FINI(e->mem, &e->latest);
	VEC_FINI(e->mem, &e->left_voters);
	VEC_FINI(e->mem, &e->refused);
	for (uint32_t i = 0; i < e->contact_count; i++)
		free_string(e, e->contacts[i]);
	mem_free(e->mem, e->contacts, (e->contact_count + 1) * sizeof *e->contacts);
	free_string(e, e->cfg.name);
	free_string(e, e->cfg.listen);
	free_string(e, e->cfg.multicast);
	free_string(e, e->cfg.sql_address);
	free_string(e, e->cfg.location);
	free_string(e, e->cfg.dir);
	mem_fini(&e->mem_account);
	MEM_FREE(parent, e);
}

void engine_fail(struct engine *e, const struct error *err)
{
	if (e->state == ENGINE_FAILED)
		return;
	e->state = ENGINE_FAILED;
	e->error = *err;
	log_event(e->log, LOG_ENGINE, LOG_ERROR, "failed", "cause=%s", err->message);
}

/* -- stepping ----------------------------------------------------------------------------------------------------------- */

int engine_step(struct engine *e)
{
	int done = 0;

	if (e->state == ENGINE_FAILED)
		return 0;
	done += relay_progress(e->relay);
	if (e->store)
		done += e->store->ops->progress(e->store);
	if (e->archive)
		archive_turn(e);
	done += log_apply_some(e);
	member_turn(e);
	interest_turn(e); /* before what is submitted, on the same way */
	if (e->resubmit) {
		e->resubmit = false;
		txns_resubmit(e->txns);
	}
	txns_turn(e->txns);
	if (e->archive) {
		leader_turn(e);
		/* a lone voter's batch may be on its way to the disk already: do not let it wait for a turn */
		done += log_apply_some(e);
		state_send_turn(e);
	}
	if (e->kicked) {
		e->kicked = false;
		done++;
	}
	return done;
}

uint32_t engine_wait_fds(struct engine *e, int fds[4])
{
	uint32_t n = 0;
	int fd = relay_wait_fd(e->relay);

	if (fd >= 0)
		fds[n++] = fd;
	fd = relay_mcast_fd(e->relay);
	if (fd >= 0)
		fds[n++] = fd;
	if (e->store) {
		fd = e->store->ops->wait_fd(e->store);
		if (fd >= 0)
			fds[n++] = fd;
	}
	return n;
}

uint64_t engine_fds_version(const struct engine *e)
{
	return e->stores_opened;
}

bool engine_try_wait(struct engine *e)
{
	return !e->kicked && relay_try_wait(e->relay);
}

enum engine_state engine_state(const struct engine *e)
{
	return e->state;
}

const struct error *engine_error(const struct engine *e)
{
	return &e->error;
}

void engine_leave(struct engine *e)
{
	e->leaving = true;
	if (e->state == ENGINE_READY)
		e->state = ENGINE_LEAVING;
	else if (e->state == ENGINE_JOINING)
		e->state = ENGINE_LEFT;
}

const char *engine_address(const struct engine *e)
{
	return relay_address(e->relay);
}

const char *engine_name(const struct engine *e)
{
	return e->cfg.name;
}

void engine_info(const struct engine *e, struct engine_info *out)
{
	struct relay_stats rs;

	memset(out, 0, sizeof *out);
	relay_stats(e->relay, &rs);
	out->links = (uint32_t)rs.links;
	out->children = relay_children(e->relay, NULL, 0);
	out->voter_links = (uint32_t)rs.voter_links;
	out->direct_links = (uint32_t)rs.direct_links;
	out->id = e->self;
	out->parent = relay_parent(e->relay);
	out->leader = e->leader_id;
	out->log_id = replica_log_id(e->rp);
	out->voter_id = e->me.voter_id;
	out->applied = replica_applied(e->rp);
	out->committed = e->window.next - 1;
	out->members = replica_member_count(e->rp);
	out->failovers = e->failover_count;
}

struct replica *engine_replica(struct engine *e)
{
	return e->rp;
}

struct txns *engine_txns(struct engine *e)
{
	return e->txns;
}

struct seq *engine_consensus(struct engine *e)
{
	return e->seq;
}

bool engine_log_batch(const struct engine *e, seq_index index, struct engine_batch *out)
{
	const struct logged *l = window_find(&e->window, index);

	if (!l)
		return false;
	*out = (struct engine_batch){.data = l->data, .bytes = l->bytes, .verdicts = l->verdicts};
	return true;
}

bool engine_applying(const struct engine *e)
{
	return e->paused;
}

struct access *access_new(struct engine *e, void (*wake)(void *ctx), void *ctx)
{
	return txns_access_new(e->txns, wake, ctx);
}
