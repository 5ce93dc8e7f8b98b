/*
 * raft.c - Raft's five properties over all voters of one simulated cluster (sim). See raft.h.
 */
#include "sim/raft.h"

#include <string.h>

#include "engine/sequencer/seq.h"

struct run { uint64_t term, to; };               /* committed in this term up to there */

/* One voter's log as it was after its last turn: hash.at[i] is of position base + i; base itself is known, or 0. */
struct voter_view {
	VEC(uint64_t) hash;
	uint64_t base, last, committed, truncations;
	uint64_t led_term;                       /* it was seen to lead in this term; 0: does not lead */
	bool looked;
};

struct rafts {
	struct world *w;
	struct map leaders;                      /* term -> voter that led */
	struct map entries;                      /* (position, term) -> hash up to there */
	struct voter_view at[NODES_MAX];
	VEC(uint64_t) committed;                 /* hash of each position, from 0 */
	VEC(struct run) runs;                    /* terms rise */
};

struct rafts *rafts_new(struct world *w)
{
	struct rafts *r = MEM_NEW(&w->mem, struct rafts);

	r->w = w;
	map_init(&r->leaders, &w->mem);
	map_init(&r->entries, &w->mem);
	VEC_PUSH(&w->mem, &r->committed, 0);
	return r;
}

void rafts_free(struct rafts *r)
{
	struct mem *mem = &r->w->mem;

	for (uint32_t i = 0; i < NODES_MAX; i++)
		VEC_FINI(mem, &r->at[i].hash);
	map_fini(&r->leaders);
	map_fini(&r->entries);
	VEC_FINI(mem, &r->committed);
	VEC_FINI(mem, &r->runs);
	MEM_FREE(mem, r);
}

void rafts_node_down(struct rafts *r, struct node *n)
{
	struct voter_view *v = &r->at[n->number];

	v->looked = false;
	v->led_term = 0;
}

static uint64_t hash_of(const struct voter_view *v, uint64_t pos)
{
	ASSERT(pos >= v->base && pos - v->base < v->hash.count);
	return v->hash.at[pos - v->base];
}

/* -- log matching ------------------------------------------------------------------------------------------------ */

/* The voter has this entry, behind what has the hash @before. */
static uint64_t entry_check(struct rafts *r, struct node *n, const struct seq_entry *e, uint64_t before)
{
	uint64_t hash = (hash_u64(before ^ hash_u64(e->term << 3 | e->kind)) ^
			 ((uint64_t)crc32c(0, e->data, e->bytes) << 32 | e->bytes)) | 1;
	void *known = map_find2(&r->entries, e->pos, e->term);

	if (!known)
		map_put2(&r->entries, e->pos, e->term, (void *)(uintptr_t)hash); /* not 0: the lowest bit is set */
	else if ((uintptr_t)known != hash)
		world_violation(r->w, "log matching: %s has another log up to the entry of term %llu at position %llu than another voter",
				n->name, (unsigned long long)e->term, (unsigned long long)e->pos);
	return hash;
}

/* Where the view begins, after a start: at what it has committed, which some voter's log has shown before. */
static bool view_begin(struct rafts *r, struct node *n, struct seq *s)
{
	struct voter_view *v = &r->at[n->number];
	uint64_t base = seq_committed(s);
	struct seq_entry e;

	if (base >= r->committed.count)
		base = r->committed.count - 1; /* nobody was seen to have more of it committed */
	if (base && (!seq_entry_at(s, base, &e)))
		base = seq_committed(s); /* only a checkpoint has it */
	if (base >= r->committed.count) {
		world_violation(r->w, "%s begins with position %llu committed, which no voter committed", n->name,
				(unsigned long long)base);
		return false;
	}
	v->hash.count = 0;
	v->base = v->last = base;
	VEC_PUSH(&r->w->mem, &v->hash, r->committed.at[base]);
	v->committed = base;
	v->looked = true;
	return true;
}

static void log_check(struct rafts *r, struct node *n, struct seq *s)
{
	struct voter_view *v = &r->at[n->number];
	uint64_t truncations = seq_stats(s).truncations, last = seq_last(s), from = v->last + 1;
	struct seq_entry e;

	if (truncations != v->truncations) {
		from = v->committed + 1; /* what is committed stays, which is checked below: the rest anew */
		v->truncations = truncations;
	}
	for (uint64_t pos = from; pos <= last && !r->w->failed; pos++) {
		if (!seq_entry_at(s, pos, &e)) {
			v->looked = false; /* it goes on from a newer state, and does not have what is before that */
			return;
		}
		v->hash.count = pos - v->base;
		VEC_PUSH(&r->w->mem, &v->hash, entry_check(r, n, &e, hash_of(v, pos - 1)));
	}
	v->hash.count = last >= v->base ? last - v->base + 1 : 1;
	v->last = last;
}

/* -- leaders ------------------------------------------------------------------------------------------------------ */

/* All that was committed in terms before @term is in this log. */
static void complete_check(struct rafts *r, struct node *n, uint64_t term)
{
	const struct voter_view *v = &r->at[n->number];
	uint64_t to = 0;

	for (size_t i = 0; i < r->runs.count && r->runs.at[i].term < term; i++)
		to = r->runs.at[i].to;
	if (to > v->last || (to >= v->base && hash_of(v, to) != r->committed.at[to]))
		world_violation(r->w, "leader completeness: %s leads in term %llu without what was committed at position %llu",
				n->name, (unsigned long long)term, (unsigned long long)to);
}

static void leader_check(struct rafts *r, struct node *n, uint64_t voter, uint64_t term)
{
	struct voter_view *v = &r->at[n->number];
	uint64_t led = (uintptr_t)map_find(&r->leaders, term);

	if (led && led != voter)
		world_violation(r->w, "election safety: %s leads in term %llu, and so did voter %llu", n->name,
				(unsigned long long)term, (unsigned long long)led);
	v->led_term = term;
	map_put(&r->leaders, term, (void *)(uintptr_t)voter);
	complete_check(r, n, term);
}

static void append_only_check(struct rafts *r, struct node *n, struct seq *s)
{
	const struct voter_view *v = &r->at[n->number];

	if (seq_role(s) == SEQ_LEADER && v->led_term == seq_term(s) &&
	    (seq_last(s) < v->last || seq_stats(s).truncations != v->truncations))
		world_violation(r->w, "leader append-only: %s leads in term %llu and took back entries from its log", n->name,
				(unsigned long long)v->led_term);
}

/* -- what is committed ---------------------------------------------------------------------------------------------- */

static void committed_check(struct rafts *r, struct node *n, struct seq *s)
{
	struct voter_view *v = &r->at[n->number];
	uint64_t to = seq_committed(s), known = r->committed.count - 1, term = seq_term(s);
	uint64_t both = to < known ? to : known;

	if (to <= v->committed)
		return;
	if (both > v->base && hash_of(v, both) != r->committed.at[both]) {
		world_violation(r->w, "state machine safety: %s has committed another log up to position %llu than another voter",
				n->name, (unsigned long long)both);
		return;
	}
	v->committed = to;
	if (to <= known)
		return;
	for (uint64_t pos = known + 1; pos <= to; pos++)
		VEC_PUSH(&r->w->mem, &r->committed, hash_of(v, pos));
	if (r->runs.count && r->runs.at[r->runs.count - 1].term >= term) {
		r->runs.at[r->runs.count - 1].to = to;
	} else {
		struct run run = {term, to};

		VEC_PUSH(&r->w->mem, &r->runs, run);
	}
}

void rafts_turn(struct rafts *r, struct node *n)
{
	struct voter_view *v = &r->at[n->number];
	struct seq *s = engine_consensus(n->engine);
	struct engine_info info;

	if (!s)
		return;
	if (!v->looked) {
		v->truncations = seq_stats(s).truncations;
		if (!view_begin(r, n, s))
			return;
	}
	append_only_check(r, n, s);
	if (seq_role(s) != SEQ_LEADER)
		v->led_term = 0;
	if (seq_last(s) != v->last || seq_stats(s).truncations != v->truncations)
		log_check(r, n, s);
	if (r->w->failed || !v->looked)
		return;
	if (seq_role(s) == SEQ_LEADER && v->led_term != seq_term(s)) {
		engine_info(n->engine, &info);
		leader_check(r, n, info.voter_id, seq_term(s));
	}
	committed_check(r, n, s);
}
