/*
 * engine_views.c - the cluster as rows: engines, log, failovers, metrics, tree (engine; contract.md).
 */
#include "engine/engine_int.h"

#include <stdio.h>
#include <string.h>

#include "net/tree/tree.h"

#define LOG_ROWS 1000
#define EPOCH_2000_US UINT64_C(946684800000000) /* SQL's timestamps count from 2000-01-01 */

static struct cell number(uint64_t v)
{
	return (struct cell){.phys = PHYS_I64, .i = (int64_t)v};
}

static struct cell number_or_null(uint64_t v)
{
	return (struct cell){.phys = PHYS_I64, .i = (int64_t)v, .null = v == 0};
}

static struct cell real(double v)
{
	return (struct cell){.phys = PHYS_F64, .f = v};
}

static struct cell text(struct arena *arena, const char *s)
{
	return (struct cell){.phys = PHYS_VAR, .bytes = (uint32_t)strlen(s), .var = arena_dup(arena, s, strlen(s) + 1)};
}

/* Its own parent an engine knows; of the others, the place that the membership gives them. */
static engine_id parent_of(struct engine *e, uint32_t i, struct arena *arena)
{
	uint32_t n = replica_member_count(e->rp);
	struct tree_node *nodes;

	if (replica_member_at(e->rp, i)->id == e->self)
		return relay_parent(e->relay);
	nodes = ARENA_NEW_N(arena, struct tree_node, n);
	for (uint32_t k = 0; k < n; k++) {
		const struct member *m = replica_member_at(e->rp, k);

		nodes[k] = (struct tree_node){m->id, m->join.voter_id != 0, m->join.location};
	}
	return tree_parent(nodes, n, i, e->cfg.fan_out ? e->cfg.fan_out : 8);
}

static enum status engines_row(struct engine *e, uint64_t at, struct arena *arena, struct cell *c)
{
	const struct member *m;
	const struct report *r;

	if (at >= replica_member_count(e->rp))
		return ST_END;
	m = replica_member_at(e->rp, (uint32_t)at);
	r = map_find(&e->leader.reports, m->id);
	c[0] = number(m->id);
	c[1] = text(arena, m->join.name);
	c[2] = text(arena, m->kind == ENGINE_ARCHIVE ? "archive" : "cache");
	c[3] = text(arena, m->join.address);
	c[4] = number_or_null(parent_of(e, (uint32_t)at, arena));
	c[5] = number(m->joined);
	c[6] = number_or_null(m->id == e->self ? replica_applied(e->rp) : r ? r->applied : 0);
	c[7] = text(arena, m->id == e->leader_id ? "leader" : map_find(&e->noticed, m->id) ? "suspect" : "member");
	return ST_OK;
}

static const char *outcome_name(uint8_t v)
{
	return v == VERDICT_OK ? "ok" : v == VERDICT_VOID ? "void" : v == VERDICT_DUP ? "repeated" : "pending";
}

/* The newest LOG_ROWS records, oldest first. */
static enum status log_row(struct engine *e, uint64_t at, struct arena *arena, struct cell *c)
{
	seq_index last = e->window.next - 1, first = window_first(&e->window), index;
	struct logged *l;
	struct batch b;
	struct batch_iter it = {0};
	struct record *r;

	if (last - first + 1 > LOG_ROWS && last >= first)
		first = last - LOG_ROWS + 1;
	index = first + at;
	l = index <= last ? window_find(&e->window, index) : NULL;
	if (!l || batch_decode(l->data, l->bytes, &b) != ST_OK)
		return ST_END;
	r = ARENA_NEW(arena, struct record);
	while (batch_next(&b, &it, r) == ST_OK && r->index < index)
		;
	c[0] = number(index);
	c[1] = text(arena, record_kind_name(r->kind));
	c[2] = number_or_null(r->engine);
	c[3] = number(r->payload_bytes);
	c[4] = text(arena, outcome_name(l->verdicts[index - l->first]));
	return ST_OK;
}

static enum status failovers_row(struct engine *e, uint64_t at, struct arena *arena, struct cell *c)
{
	uint64_t first = e->failover_count > FAILOVERS_KEPT ? e->failover_count - FAILOVERS_KEPT : 0;
	const struct failover *f;

	if (first + at >= e->failover_count)
		return ST_END;
	f = &e->failovers[(first + at) % FAILOVERS_KEPT];
	c[0] = text(arena, f->cause);
	c[1] = number(f->engine);
	c[2] = number(f->noticed_wall_us - EPOCH_2000_US);
	c[3] = number(f->index);
	c[4] = number(f->atoms);
	c[5] = real((double)f->took_us / 1000);
	c[5].null = !f->noticed;
	return ST_OK;
}

/* Archives know the list; others know of it what the members say: archives that are there. */
static enum status voters_row(struct engine *e, uint64_t at, struct arena *arena, struct cell *c)
{
	const struct member *m;
	struct seq_voters v = {.count = 0};

	if (e->seq) {
		v = *seq_current_voters(e->seq);
	} else {
		for (uint32_t i = 0; i < replica_member_count(e->rp) && v.count < SEQ_VOTERS_MAX; i++) {
			m = replica_member_at(e->rp, i);
			if (m->kind != ENGINE_ARCHIVE || !m->join.voter_id)
				continue;
			v.at[v.count].id = m->join.voter_id;
			snprintf(v.at[v.count].address, sizeof v.at[0].address, "%s", m->join.address);
			v.count++;
		}
	}
	if (at >= v.count)
		return ST_END;
	m = replica_member_by_voter(e->rp, v.at[at].id);
	c[0] = number(v.at[at].id);
	c[1] = text(arena, v.at[at].address);
	c[2] = (struct cell){.phys = PHYS_BOOL, .i = v.at[at].votes, .null = !e->seq};
	c[3] = number_or_null(m ? m->id : 0);
	c[4] = text(arena, m ? m->join.name : "");
	c[4].null = !m;
	return ST_OK;
}

static enum status tree_row(struct engine *e, uint64_t at, struct arena *arena, struct cell *c)
{
	uint32_t i = (uint32_t)at, depth = 0;
	engine_id parent;

	if (at >= replica_member_count(e->rp))
		return ST_END;
	c[0] = number(replica_member_at(e->rp, i)->id);
	parent = parent_of(e, i, arena);
	c[1] = number_or_null(parent);
	while (parent && depth < 64) { /* parents have lower ids or are voters: it ends */
		depth++;
		for (i = 0; i < replica_member_count(e->rp); i++)
			if (replica_member_at(e->rp, i)->id == parent)
				break;
		parent = i < replica_member_count(e->rp) ? parent_of(e, i, arena) : 0;
	}
	c[2] = (struct cell){.phys = PHYS_I32, .i = depth};
	return ST_OK;
}

static enum status metrics_row(struct engine *e, uint64_t at, struct arena *arena, struct cell *c)
{
	const struct txns_stats *s = txns_stats(e->txns);
	struct relay_stats rs;

	relay_stats(e->relay, &rs);
	const struct metric { const char *name; double value; const char *help; } m[] = {
		{"applied_index", (double)replica_applied(e->rp), "index of the newest record applied here"},
		{"horizon_index", (double)replica_horizon(e->rp), "oldest index that may still be read"},
		{"members", replica_member_count(e->rp), "engines in the cluster"},
		{"records_applied_total", (double)e->records_applied, "records applied since start"},
		{"batches_total", (double)e->batches_made, "batches made as leader"},
		{"commits_total", (double)s->commits, "transactions committed by this engine"},
		{"voids_total", (double)s->voids, "commit records of this engine that were void"},
		{"repeats_total", (double)s->repeats, "commits of this engine whose transaction was committed before, by its name"},
		{"receipts_told_total", (double)e->receipts_told,
		 "commits of which this engine, as leader, said that a majority of voters had received them"},
		{"early_answers_total", (double)s->early, "commits answered at level memory or local before they were journalled"},
		{"early_lost_total", (double)s->early_lost, "of these, those that were not committed after all"},
		{"names", replica_names_count(e->rp), "names of committed transactions that are known"},
		{"names_forgotten_index", (double)replica_names_forgotten(e->rp), "index of the newest one that is not known any more"},
		{"rollbacks_total", (double)s->rollbacks, "transactions rolled back"},
		{"restarts_total", (double)s->restarts, "statements run anew on a newer snapshot"},
		{"grants_local_total", (double)s->grants_local, "grants that this engine gave itself"},
		{"grants_inherited_total", (double)s->grants_inherited, "transactions from which a row was taken before they were decided"},
		{"grants_remote_total", (double)s->grants_remote, "grants asked of other engines"},
		{"deadlocks_total", (double)s->deadlocks, "deadlocks found"},
		{"serialization_conflicts_total", (double)s->serial_conflicts,
		 "SERIALIZABLE commits of this engine refused for what they had read"},
		{"fetches_total", (double)s->fetches, "atoms fetched from other engines"},
		{"fetch_bytes_total", (double)s->fetch_bytes, "bytes of fetched atoms"},
		{"fetch_reads_total", (double)s->fetch_reads, "atoms that were read from another engine's memory"},
		{"fetch_read_bytes_total", (double)s->fetch_read_bytes, "bytes of them"},
		{"fetch_read_failures_total", (double)s->fetch_read_failures, "such reads that failed"},
		{"lends_total", (double)s->lends, "atoms lent to other engines that fetched them"},
		{"lend_bytes_total", (double)s->lend_bytes, "bytes of images sent to them, what they read themselves not counted"},
		{"splits_total", (double)s->splits, "atoms split by this engine"},
		{"moves_total", (double)s->moves, "originators moved away by this engine"},
		{"reserves_total", (double)s->reserves, "ranges of sequence values reserved"},
		{"resubmits_total", (double)s->resubmits, "times records were sent again"},
		{"parts_total", (double)s->parts, "part records sent"},
		{"payload_bytes_spared_total", (double)e->payload_bytes_spared,
		 "payloads of records that were neither sent here nor needed, bytes"},
		{"payloads_pulled_total", (double)e->payloads_pulled, "payloads that were not sent here, and asked for"},
		{"payload_bytes_pulled_total", (double)e->payload_bytes_pulled, "their bytes"},
		{"payloads_given_total", (double)e->payloads_given, "payloads given to engines that asked for them"},
		{"image_bytes", (double)atom_store_image_bytes(replica_store(e->rp)), "memory of atom images"},
		{"undo_bytes", (double)atom_store_undo_bytes(replica_store(e->rp)), "memory of old versions"},
		{"window_bytes", (double)e->window.bytes, "log kept in memory"},
		{"memory_bytes", (double)e->mem_account.used_bytes, "memory of the engine in all"},
		{"relay_messages_in_total", (double)rs.messages_in, "messages received from other engines"},
		{"relay_messages_out_total", (double)rs.messages_out, "messages sent to other engines"},
		{"relay_sends_total", (double)rs.sends_out, "in how many sends the messages to other engines went"},
		{"relay_silence_max_ms", (double)rs.silence_max_us / 1000, "longest time in which nothing came on a link"},
		{"catch_up_bytes_total", (double)e->catchup_bytes, "of the log read from the journal for engines behind"},
		{"relay_links", (double)rs.links, "links to other engines"},
		{"relay_voter_links", (double)rs.voter_links, "links to other voters, one for each"},
		{"relay_parent_round_trip_seconds", (double)rs.parent_rtt_us / 1e6,
		 "to the parent in the relay tree and back, smoothed"},
		{"relay_parent_changes_total", (double)rs.parent_changes, "parents found in the relay tree"},
		{"relay_parents_left_total", (double)rs.parents_left, "of these, because the last one was quiet, stuck or slow"},
		{"direct_links", (double)rs.direct_links, "links to other engines beside the tree, now"},
		{"direct_links_opened_total", (double)rs.direct_opened, "direct links opened by this engine"},
		{"direct_messages_total", (double)rs.unicast_direct, "messages of this engine that went over one"},
		{"relay_bytes_in_total", (double)rs.bytes_in, "bytes received from other engines"},
		{"relay_bytes_out_total", (double)rs.bytes_out, "bytes sent to other engines"},
		{"failovers_total", (double)e->failover_count, "members removed"},
		{"multicast_datagrams_in_total", (double)rs.mcast_in, "datagrams received from the multicast group"},
		{"multicast_datagrams_out_total", (double)rs.mcast_out, "datagrams sent to the multicast group"},
		{"multicast_refused_total", (double)rs.mcast_bad, "datagrams that are not of this cluster"},
		{"multicast_batches_total", (double)rs.mcast_batches, "batches of the log that came by multicast"},
		{"multicast_repairs_total", (double)rs.mcast_repairs, "times the tree was asked for what multicast lost"},
	};

	if (at >= sizeof m / sizeof *m)
		return ST_END;
	c[0] = text(arena, m[at].name);
	c[1] = real(m[at].value);
	c[2] = text(arena, m[at].help);
	return ST_OK;
}

enum status engine_view_row(void *ctx, const char *view, uint64_t at, struct arena *arena, struct cell *cells,
			    uint32_t count)
{
	static const struct {
		const char *name;
		uint32_t columns;
		enum status (*row)(struct engine *e, uint64_t at, struct arena *arena, struct cell *c);
	} views[] = {
		{"engines", 8, engines_row}, {"log", 5, log_row}, {"failovers", 6, failovers_row},
		{"metrics", 3, metrics_row}, {"tree", 3, tree_row}, {"voters", 5, voters_row},
	};

	for (size_t i = 0; i < sizeof views / sizeof *views; i++)
		if (!strcmp(view, views[i].name) && count >= views[i].columns)
			return views[i].row(ctx, at, arena, cells);
	return ST_END;
}
