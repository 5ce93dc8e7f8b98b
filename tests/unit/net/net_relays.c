/*
 * net_relays.c - see net_relays.h.
 */
#include "net_relays.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"

static uint64_t now_of(void *ctx)
{
	return ((struct relays *)ctx)->now_us;
}

static struct clock relays_clock(struct relays *c)
{
	struct clock k = {c, now_of, now_of};

	return k;
}

bool relays_alive(const struct node *n)
{
	return n->relay && !sim_host_paused(n->host);
}

static const struct member_list *newest_list(const struct relays *c)
{
	return &c->lists.at[c->lists.count - 1];
}

bool relays_is_member(const struct relays *c, engine_id id)
{
	const struct member_list *l = newest_list(c);

	for (uint32_t i = 0; i < l->count; i++)
		if (l->at[i].id == id)
			return true;
	return false;
}

/* -- the log ---------------------------------------------------------------------------------- */

static const struct log_batch *batch_find(const struct relays *c, seq_index at)
{
	size_t lo = 0, hi = c->log.count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (c->log.at[mid].last < at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < c->log.count ? &c->log.at[lo] : NULL;
}

static void lead(struct relays *c, uint32_t number);

static void apply_members(struct node *n, uint32_t version)
{
	const struct member_list *l = &n->c->lists.at[version];

	if (n->members_version >= version)
		return;
	n->members_version = version;
	relay_set_members(n->relay, l->at, l->count, l->index);
	for (uint32_t i = 0; i < l->count && n->join_id; i++) {
		if (l->at[i].id == n->join_id) {
			n->id = n->join_id;
			n->join_id = 0;
			n->joining = false;
			relay_set_self(n->relay, n->id, n->voter);
			if (n->number == n->c->leader)
				lead(n->c, n->number);
			break;
		}
	}
}

static void apply(struct node *n, const struct log_batch *b)
{
	n->last = b->last;
	apply_members(n, b->members_version);
}

static void append(struct relays *c, uint32_t version)
{
	struct log_batch b = {.first = c->log_last + 1, .members_version = version};

	b.last = b.first + rng_below(&c->rng, 4);
	b.bytes = 16 + (uint32_t)rng_below(&c->rng, c->batch_bytes);
	b.data = mem_alloc(&c->mem, b.bytes);
	memcpy(b.data, &b.first, 8);
	memcpy(b.data + 8, &b.last, 8);
	c->log_last = b.last;
	VEC_PUSH(&c->mem, &c->log, b);
	for (uint32_t i = 0; i < c->node_count; i++) {
		struct node *n = &c->nodes[i];

		if (!n->relay || !n->voter)
			continue;
		n->last = b.last;
		if (!n->first)
			n->first = 1;
		apply_members(n, version);
		relay_log_advanced(n->relay);
	}
}

void relays_append(struct relays *c, uint32_t batches)
{
	while (batches--)
		append(c, (uint32_t)c->lists.count - 1);
}

static void new_list(struct relays *c, engine_id without, const struct relay_member *with)
{
	const struct member_list *old = newest_list(c);
	struct member_list l = {.index = c->log_last + 1};

	l.at = mem_alloc(&c->mem, (RELAYS_NODES_MAX + 1) * 4 * sizeof *l.at);
	for (uint32_t i = 0; i < old->count; i++)
		if (old->at[i].id != without)
			l.at[l.count++] = old->at[i];
	if (with)
		l.at[l.count++] = *with;
	VEC_PUSH(&c->mem, &c->lists, l);
	append(c, (uint32_t)c->lists.count - 1);
}

void relays_remove(struct relays *c, engine_id id)
{
	if (!relays_is_member(c, id))
		return;
	c->removals++;
	new_list(c, id, NULL);
}

static const void *on_log_get(void *ctx, seq_index from, const struct relay_interest *interest, size_t *bytes_out,
			      seq_index *first_out, seq_index *last_out)
{
	struct node *n = ctx;
	const struct log_batch *b;

	VEC_PUSH(&n->c->mem, &n->encoded, *interest);
	if (from < n->first || from > n->last)
		return NULL;
	b = batch_find(n->c, from);
	if (b->last > n->last || b->first < n->first)
		return NULL;
	*bytes_out = b->bytes;
	*first_out = b->first;
	*last_out = b->last;
	return b->data;
}

static uint64_t on_log_variant(void *ctx, seq_index from, const struct relay_interest *interest)
{
	(void)ctx, (void)from;
	return hash_bytes(interest, sizeof *interest);
}

static seq_index on_log_last(void *ctx)
{
	return ((struct node *)ctx)->last;
}

static seq_index on_log_first(void *ctx)
{
	return ((struct node *)ctx)->first;
}

static seq_index on_log_want(void *ctx)
{
	const struct node *n = ctx;

	return (n->stuck ? n->held : n->last) + 1;
}

static void on_log_batch(void *ctx, const void *data, size_t bytes)
{
	struct node *n = ctx;
	const struct log_batch *b;
	seq_index first, last;

	if (bytes < 16) {
		n->gaps++;
		return;
	}
	memcpy(&first, data, 8);
	memcpy(&last, (const uint8_t *)data + 8, 8);
	b = batch_find(n->c, first);
	if (first != on_log_want(n) || !b || b->last != last || b->bytes != bytes) {
		n->gaps++;
		return;
	}
	if (n->stuck) {
		n->held = last;
		return;
	}
	apply(n, b);
	relay_log_advanced(n->relay);
}

void relays_stick(struct relays *c, struct node *n, bool stuck)
{
	n->stuck = stuck;
	if (stuck)
		n->held = n->last;
	while (!stuck && n->last < n->held)
		apply(n, batch_find(c, n->last + 1));
	relay_log_advanced(n->relay);
}

/* -- events ----------------------------------------------------------------------------------- */

static struct node *node_of(struct relays *c, engine_id id)
{
	for (uint32_t i = 0; i < c->node_count; i++)
		if (c->nodes[i].id == id)
			return &c->nodes[i];
	return NULL;
}

static void lead(struct relays *c, uint32_t number)
{
	c->leader = number;
	for (uint32_t i = 0; i < c->node_count; i++)
		if (c->nodes[i].relay && c->nodes[i].voter)
			relay_set_leader(c->nodes[i].relay, c->nodes[number].id);
}

static void judge(struct relays *c, struct node *at, engine_id who)
{
	const struct node *n = node_of(c, who);

	if (!c->auto_remove || !relays_is_member(c, who))
		return;
	if (n && n->number == c->leader) {
		if (!at->voter || !at->id || at == n)
			return;
		lead(c, at->number);
	}
	if (at->number == c->leader)
		relays_remove(c, who);
}

static void on_message(void *ctx, engine_id from, const void *data, size_t bytes)
{
	struct node *n = ctx;
	uint64_t what;

	if (bytes == 9 && *(const char *)data == 'S') {
		memcpy(&what, (const char *)data + 1, 8);
		judge(n->c, n, what);
		return;
	}
	if (bytes == 4) {
		uint32_t v;

		memcpy(&v, data, 4);
		VEC_PUSH(&n->c->mem, &n->got, from << 32 | v);
	}
	n->got_bytes += bytes;
}

static void on_voter_message(void *ctx, uint64_t voter_id, const void *data, size_t bytes)
{
	struct node *n = ctx;
	uint32_t v = 0;

	if (bytes == 4)
		memcpy(&v, data, 4);
	VEC_PUSH(&n->c->mem, &n->voter_got, voter_id << 32 | v);
}

static void on_suspect(void *ctx, engine_id who, const char *cause)
{
	struct node *n = ctx;
	char m[9] = {'S'};

	n->suspects++;
	n->last_suspect = who;
	n->last_suspect_us = n->c->now_us;
	snprintf(n->last_cause, sizeof n->last_cause, "%s", cause);
	memcpy(m + 1, &who, 8);
	if (n->voter)
		judge(n->c, n, who);
	if (n->id)
		relay_send(n->relay, ENGINE_LEADER, m, sizeof m);
}

static void on_log_gone(void *ctx)
{
	((struct node *)ctx)->gone++;
}

static void start_joining(struct node *n)
{
	struct relays *c = n->c;
	const char *contacts[8];
	uint32_t count = 0;

	for (uint32_t i = 0; i < c->voter_count && count < 8; i++)
		if (&c->nodes[i] != n)
			contacts[count++] = sim_host_address(c->nodes[i].host);
	n->joining = true;
	n->join_id = 0;
	if (count)
		relay_join(n->relay, contacts, count, &n->number, 4);
}

static void on_not_member(void *ctx)
{
	struct node *n = ctx;

	n->not_members++;
	if (!n->c->auto_remove || n->joining)
		return;
	n->id = 0;
	relay_set_self(n->relay, 0, n->voter);
	start_joining(n);
}

static void on_join_request(void *ctx, struct relay_peer_ref from, const void *data, size_t bytes)
{
	struct node *at = ctx, *n;
	struct relays *c = at->c;
	struct relay_member m;
	uint32_t number;
	uint64_t reply[2];

	if (bytes != 4)
		return;
	memcpy(&number, data, 4);
	n = &c->nodes[number];
	if (!c->nodes[c->leader].relay) {
		relay_join_reply(at->relay, from, false, "no leader", 9);
		return;
	}
	if (n->join_id && relays_is_member(c, n->join_id)) { /* asked before: the same answer */
		reply[0] = n->join_id;
		reply[1] = c->log_last;
		relay_join_reply(at->relay, from, true, reply, sizeof reply);
		return;
	}
	memset(&m, 0, sizeof m);
	m.id = reply[0] = ++c->next_id;
	m.voter_id = n->voter;
	snprintf(m.address, sizeof m.address, "%s", sim_host_address(n->host));
	memcpy(m.location, n->location, sizeof m.location);
	/* It installs the state up to here, the join record comes by the stream. */
	reply[1] = c->log_last;
	n->join_id = m.id;
	new_list(c, 0, &m);
	relay_join_reply(at->relay, from, true, reply, sizeof reply);
}

static void on_join_reply(void *ctx, bool accepted, const void *data, size_t bytes)
{
	struct node *n = ctx;
	uint64_t reply[2];
	const struct log_batch *b;

	n->replies++;
	if (!accepted || bytes != 16) {
		n->refusals++;
		return;
	}
	memcpy(reply, data, 16);
	if (n->voter) { /* it has the log from consensus, the join record included */
		apply_members(n, (uint32_t)n->c->lists.count - 1);
		return;
	}
	if (reply[1] > n->last) {
		n->first = reply[1] + 1;
		n->last = n->installed = reply[1];
	}
	b = batch_find(n->c, n->last);
	if (b)
		apply_members(n, b->members_version);
	relay_join_stream(n->relay);
}

static void on_join_waiting(void *ctx, const char *cause)
{
	struct node *n = ctx;

	snprintf(n->last_waiting, sizeof n->last_waiting, "%s", cause);
	n->waiting++;
}

static void on_join_refused(void *ctx, const char *cause, const char *advice)
{
	struct node *n = ctx;

	snprintf(n->last_waiting, sizeof n->last_waiting, "%s: %s", cause, advice);
	n->refused_for_good++;
}

static const struct relay_events node_events = {
	.message = on_message,
	.log_batch = on_log_batch,
	.log_gone = on_log_gone,
	.voter_message = on_voter_message,
	.suspect = on_suspect,
	.join_request = on_join_request,
	.join_reply = on_join_reply,
	.not_member = on_not_member,
	.join_waiting = on_join_waiting,
	.join_refused = on_join_refused,
	.log_get = on_log_get,
	.log_variant = on_log_variant,
	.log_last = on_log_last,
	.log_first = on_log_first,
	.log_want = on_log_want,
};

/* -- nodes ------------------------------------------------------------------------------------ */

static void set_voters(struct node *n)
{
	struct relays *c = n->c;
	uint64_t ids[RELAY_VOTERS_MAX];
	char addresses[RELAY_VOTERS_MAX][NET_ADDRESS_MAX];

	for (uint32_t i = 0; i < c->voter_count; i++) {
		ids[i] = c->nodes[i].voter;
		snprintf(addresses[i], sizeof addresses[i], "%s",
			 sim_host_address(c->nodes[i].host));
	}
	relay_set_voters(n->relay, n->voter, ids, (const char(*)[NET_ADDRESS_MAX])addresses,
			 c->voter_count);
	relay_set_leader(n->relay, c->nodes[c->leader].id);
}

static void node_open(struct node *n)
{
	struct relays *c = n->c;
	struct error err;
	struct relay_config cfg = {
		.mem = &c->mem,
		.log = &n->logger,
		.clock = relays_clock(c),
		.timers = &n->timers,
		.seed = rng_next(&c->rng),
		.net_ops = &net_ops_sim,
		.net_backend = n->host,
		.listen = sim_host_address(n->host),
		.name = n->logger.name,
		.secret = c->secret,
		.secret_bytes = c->secret ? strlen(c->secret) : 0,
		.entropy = entropy_rng(&n->entropy),
		.events = &node_events,
		.ctx = n,
		.multicast = c->multicast,
		.mcast_ops = &mcast_ops_sim,
		.fan_out = c->fan_out,
		.direct_links = c->direct_links,
		.heartbeat_limit_us = c->heartbeat_limit_us,
	};

	n->logger = c->logger;
	snprintf(n->logger.name, sizeof n->logger.name, "n%u", n->number);
	rng_init(&n->entropy, rng_next(&c->rng));
	timers_init(&n->timers, &c->mem);
	if (relay_open(&cfg, &n->relay, &err) != ST_OK) {
		fprintf(stderr, "node %u: %s\n", n->number, err.message);
		abort();
	}
	relay_set_log_id(n->relay, RELAYS_LOG_ID);
}

static struct node *node_new(struct relays *c, bool voter)
{
	struct node *n = &c->nodes[c->node_count];
	char address[NET_ADDRESS_MAX];

	memset(n, 0, sizeof *n);
	n->c = c;
	n->number = c->node_count++;
	snprintf(address, sizeof address, "sim-%u:1", n->number);
	n->host = sim_host_new(c->sn, address);
	if (voter)
		n->voter = 1000 + n->number;
	return n;
}

static void write_line(void *ctx, const char *line, uint32_t bytes)
{
	struct relays *c = ctx;
	char text[1024];

	snprintf(text, sizeof text, "%.*s", (int)bytes, line);
	if (c->tap)
		c->tap(c, text);
	if (!getenv("NET_TEST_LOG") && strstr(text, " error ") == NULL)
		return;
	fprintf(stderr, "%llu %.*s", (unsigned long long)c->now_us, (int)bytes, line);
}

static uint64_t wall_of(void *ctx)
{
	return ((struct relays *)ctx)->now_us;
}


static void init(struct relays *c, const char *secret, const char *multicast, uint64_t seed, uint32_t nodes,
		 uint32_t voters, uint32_t fan_out)
{
	struct member_list l = {.index = 0};
	struct member_list none = {.index = 0};

	memset(c, 0, sizeof *c);
	mem_init(&c->mem, NULL, "cluster", 0);
	rng_init(&c->rng, seed);
	c->logger.ctx = c;
	c->logger.write = write_line;
	c->logger.wall_us = wall_of;
	c->logger.ctx_clock = c;
	/* NET_TEST_LOG=debug shows what the relays say */
	if (!getenv("NET_TEST_LOG") || !logger_parse_levels(&c->logger, getenv("NET_TEST_LOG")))
		logger_set_levels(&c->logger, LOG_WARN);
	c->now_us = 1000000;
	c->fan_out = fan_out;
	c->batch_bytes = 200;
	c->direct_links = 3;
	c->secret = secret;
	c->multicast = multicast;
	c->voter_count = voters;
	c->sn = sim_net_new(&c->mem, relays_clock(c), seed ^ 0x5eed);
	l.at = mem_alloc(&c->mem, (RELAYS_NODES_MAX + 1) * 4 * sizeof *l.at);
	VEC_PUSH(&c->mem, &c->lists, none);
	for (uint32_t i = 0; i < nodes; i++) {
		struct node *n = node_new(c, i < voters);
		struct relay_member *m = &l.at[l.count++];

		n->id = m->id = ++c->next_id;
		m->voter_id = n->voter;
		snprintf(m->address, sizeof m->address, "%s", sim_host_address(n->host));
		snprintf(n->location, sizeof n->location, "r%u/k%u", i % 2, i % 6);
		if (nodes > 20)
			memcpy(m->location, n->location, sizeof m->location);
		n->first = 1;
	}
	VEC_PUSH(&c->mem, &c->lists, l);
	for (uint32_t i = 0; i < nodes; i++) {
		struct node *n = &c->nodes[i];

		node_open(n);
		apply_members(n, 1);
		relay_set_self(n->relay, n->id, n->voter);
		if (n->voter)
			set_voters(n);
	}
}

static void node_free(struct node *n)
{
	if (n->relay)
		relay_close(n->relay);
	n->relay = NULL;
	timers_fini(&n->timers);
}

void relays_init_secret(struct relays *c, const char *secret, uint64_t seed, uint32_t nodes, uint32_t voters,
			uint32_t fan_out)
{
	init(c, secret, NULL, seed, nodes, voters, fan_out);
}

void relays_init(struct relays *c, uint64_t seed, uint32_t nodes, uint32_t voters, uint32_t fan_out)
{
	init(c, "all of them know this", NULL, seed, nodes, voters, fan_out);
}

void relays_init_multicast(struct relays *c, uint64_t seed, uint32_t nodes, uint32_t voters, uint32_t fan_out)
{
	init(c, "all of them know this", "239.1.2.3:7600", seed, nodes, voters, fan_out);
}

void relays_fini(struct relays *c)
{
	for (uint32_t i = 0; i < c->node_count; i++) {
		node_free(&c->nodes[i]);
		VEC_FINI(&c->mem, &c->nodes[i].got);
		VEC_FINI(&c->mem, &c->nodes[i].voter_got);
		VEC_FINI(&c->mem, &c->nodes[i].encoded);
	}
	for (size_t i = 0; i < c->log.count; i++)
		mem_free(&c->mem, c->log.at[i].data, c->log.at[i].bytes);
	for (size_t i = 0; i < c->lists.count; i++)
		if (c->lists.at[i].at)
			mem_free(&c->mem, c->lists.at[i].at,
				 (RELAYS_NODES_MAX + 1) * 4 * sizeof(struct relay_member));
	VEC_FINI(&c->mem, &c->log);
	VEC_FINI(&c->mem, &c->lists);
	sim_net_free(c->sn);
	mem_fini(&c->mem);
}

struct node *relays_add(struct relays *c)
{
	struct node *n = node_new(c, false);

	node_open(n);
	start_joining(n);
	return n;
}

void relays_crash(struct relays *c, struct node *n, bool power)
{
	(void)c;
	if (!n->relay)
		return;
	sim_host_crash(n->host, power);
	node_free(n);
}

void relays_restart(struct relays *c, struct node *n)
{
	if (n->relay)
		return;
	sim_host_restart(n->host);
	n->id = n->join_id = 0;
	n->members_version = 0;
	n->joining = false;
	node_open(n);
	if (n->voter) { /* its journal has the log */
		n->first = 1;
		n->last = c->log_last;
		apply_members(n, (uint32_t)c->lists.count - 1);
		set_voters(n);
	} else {
		n->first = n->last = 0;
	}
	start_joining(n);
}

void relays_found(struct relays *c)
{
	struct node *n = &c->nodes[0];
	struct relay_member m;
	engine_id stale = 0;

	memset(&m, 0, sizeof m);
	for (uint32_t i = 0; i < newest_list(c)->count; i++)
		if (newest_list(c)->at[i].voter_id == n->voter)
			stale = newest_list(c)->at[i].id;
	relay_join(n->relay, NULL, 0, NULL, 0);
	m.id = n->join_id = ++c->next_id;
	m.voter_id = n->voter;
	snprintf(m.address, sizeof m.address, "%s", sim_host_address(n->host));
	relays_remove(c, stale);
	new_list(c, 0, &m);
	lead(c, 0);
}

/* -- time ------------------------------------------------------------------------------------- */

static uint64_t next_us(const struct relays *c)
{
	uint64_t t = sim_net_next_us(c->sn);

	for (uint32_t i = 0; i < c->node_count; i++) {
		const struct node *n = &c->nodes[i];

		if (!relays_alive(n))
			continue;
		if (sim_host_ready(n->host) || !relay_try_wait(n->relay))
			return c->now_us;
		if (timers_next_us(&n->timers) < t)
			t = timers_next_us(&n->timers);
	}
	return t;
}

void relays_run(struct relays *c, uint64_t us)
{
	uint64_t until = c->now_us + us;

	for (;;) {
		uint64_t t = next_us(c);

		if (t > until)
			break;
		if (t > c->now_us)
			c->now_us = t;
		sim_net_run(c->sn, c->now_us);
		for (uint32_t i = 0; i < c->node_count; i++) {
			struct node *n = &c->nodes[i];

			if (!relays_alive(n))
				continue;
			if (timers_next_us(&n->timers) <= c->now_us)
				timers_run(&n->timers, c->now_us);
			if (sim_host_ready(n->host) || !relay_try_wait(n->relay))
				relay_progress(n->relay);
		}
	}
	c->now_us = until;
}

bool relays_settled(const struct relays *c)
{
	const struct member_list *l = newest_list(c);
	uint32_t living = 0;

	for (uint32_t i = 0; i < c->node_count; i++) {
		const struct node *n = &c->nodes[i];
		engine_id parent;
		bool found = false;

		if (!relays_alive(n))
			continue;
		living++;
		if (!n->id || !relays_is_member(c, n->id) || n->last != c->log_last ||
		    n->members_version + 1 != c->lists.count)
			return false;
		if (n->voter)
			continue;
		parent = relay_parent(n->relay);
		for (uint32_t k = 0; k < c->node_count; k++)
			found |= c->nodes[k].id == parent && relays_alive(&c->nodes[k]);
		if (!parent || !found)
			return false;
	}
	return !c->auto_remove || l->count == living;
}

bool relays_settle(struct relays *c, uint64_t limit_us)
{
	uint64_t end = c->now_us + limit_us;

	while (!relays_settled(c)) {
		if (c->now_us >= end)
			return false;
		relays_run(c, 20000);
	}
	return true;
}

bool relays_links_bounded(const struct relays *c)
{
	uint32_t voters = 0;

	for (uint32_t i = 0; i < c->node_count; i++)
		voters += relays_alive(&c->nodes[i]) && c->nodes[i].voter;
	for (uint32_t i = 0; i < c->node_count; i++) {
		const struct node *n = &c->nodes[i];
		struct relay_stats s;
		uint32_t children;

		if (!relays_alive(n))
			continue;
		relay_stats(n->relay, &s);
		children = relay_children(n->relay, NULL, 0);
		if (children > c->fan_out || s.voter_links != (n->voter ? voters - 1 : 0) ||
		    s.links != children + s.direct_links + (n->voter ? s.voter_links : 1))
			return false;
	}
	return true;
}

bool relays_bounded(struct relays *c, uint64_t limit_us)
{
	uint64_t end = c->now_us + limit_us;

	while (!relays_links_bounded(c)) {
		if (c->now_us >= end)
			return false;
		relays_run(c, 20000);
	}
	return true;
}

uint32_t relays_all_pairs(struct relays *c)
{
	uint32_t missing = 0, value = 7000000 + (uint32_t)rng_below(&c->rng, 1000000);

	relays_run(c, 300000); /* who is below whom is told within that */
	for (uint32_t i = 0; i < c->node_count; i++)
		c->nodes[i].got.count = 0;
	for (uint32_t i = 0; i < c->node_count; i++) {
		if (!relays_alive(&c->nodes[i]))
			continue;
		for (uint32_t k = 0; k < c->node_count; k++)
			if (relays_alive(&c->nodes[k]))
				relay_send(c->nodes[i].relay, c->nodes[k].id, &value, 4);
		relay_send(c->nodes[i].relay, ENGINE_LEADER, &value, 4);
	}
	relays_run(c, 500000);
	for (uint32_t k = 0; k < c->node_count; k++) {
		const struct node *to = &c->nodes[k];

		for (uint32_t i = 0; i < c->node_count; i++) {
			uint32_t want = 1 + (k == c->leader), have = 0;

			if (!relays_alive(to) || !relays_alive(&c->nodes[i]))
				continue;
			for (size_t m = 0; m < to->got.count; m++)
				have += to->got.at[m] == (c->nodes[i].id << 32 | value);
			if (have != want) {
				missing++;
				if (getenv("NET_TEST_LOG"))
					fprintf(stderr, "%u -> %u: %u of %u\n", i, k, have, want);
			}
		}
	}
	return missing;
}

uint64_t relays_gaps(const struct relays *c)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < c->node_count; i++)
		n += c->nodes[i].gaps;
	return n;
}

void relays_dump(const struct relays *c)
{
	fprintf(stderr, "at %llu us: log %llu, leader node %u, members",
		(unsigned long long)c->now_us, (unsigned long long)c->log_last, c->leader);
	for (uint32_t i = 0; i < newest_list(c)->count; i++)
		fprintf(stderr, " %llu", (unsigned long long)newest_list(c)->at[i].id);
	fprintf(stderr, "\n");
	for (uint32_t i = 0; i < c->node_count; i++) {
		const struct node *n = &c->nodes[i];

		fprintf(stderr,
			"  node %u id %llu voter %llu %s%s last %llu parent %lld joining %d "
			"suspects %llu (%llu: %s)\n",
			n->number, (unsigned long long)n->id, (unsigned long long)n->voter,
			n->relay ? "up" : "down", sim_host_paused(n->host) ? " paused" : "",
			(unsigned long long)n->last,
			n->relay ? (long long)relay_parent(n->relay) : -1, n->joining,
			(unsigned long long)n->suspects, (unsigned long long)n->last_suspect,
			n->last_cause);
	}
}
