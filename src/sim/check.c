/*
 * check.c - comparing copies, originators and members over engines and time (sim). See check.h.
 */
#include "sim/check.h"

#include "catalog/replica.h"
#include "sim/originator.h"

#define EVERY_TURNS 12         /* on average, a node that applied has its copies compared */
#define COPIES_PER_CHECK 24    /* checksums made at once; the rest next time */

struct copy_fact { seq_index changed, applied; uint32_t crc; }; /* applied: newest at which it was still so */
struct atom_facts { atom_id atom; VEC(struct copy_fact) facts; };
struct at_index { uint64_t originators; uint32_t members, node; bool originators_known; };
struct seen { seq_index changed; };      /* of one node's copy, already compared */

struct checks {
	struct world *w;
	struct map atoms;                /* atom -> struct atom_facts */
	struct map indexes;              /* applied -> struct at_index */
	struct map seen;                 /* (node number + 1, atom) -> struct seen */
	uint64_t next_turn[NODES_MAX];
	struct originators *originators;
};

struct checks *checks_new(struct world *w)
{
	struct checks *c = MEM_NEW(&w->mem, struct checks);

	c->w = w;
	map_init(&c->atoms, &w->mem);
	map_init(&c->indexes, &w->mem);
	map_init(&c->seen, &w->mem);
	c->originators = originators_new(w);
	return c;
}

void checks_free(struct checks *c)
{
	struct mem *mem = &c->w->mem;
	struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&c->atoms, &at))) {
		struct atom_facts *f = s->value;

		VEC_FINI(mem, &f->facts);
		MEM_FREE(mem, f);
	}
	at = 0;
	while ((s = map_next(&c->indexes, &at)))
		MEM_FREE(mem, (struct at_index *)s->value);
	at = 0;
	while ((s = map_next(&c->seen, &at)))
		MEM_FREE(mem, (struct seen *)s->value);
	originators_free(c->originators);
	map_fini(&c->atoms);
	map_fini(&c->indexes);
	map_fini(&c->seen);
	MEM_FREE(mem, c);
}

void checks_node_down(struct checks *c, struct node *n)
{
	struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&c->seen, &at)))
		if (s->k1 == n->number + 1)
			((struct seen *)s->value)->changed = 0;
	originators_forget(c->originators, n);
}

bool checks_knows(const struct checks *c, const struct node *n)
{
	return originators_known(c->originators, n);
}

void checks_unseen(struct checks *c, struct node *n)
{
	originators_forget(c->originators, n);
}

void checks_record(struct checks *c, struct node *n, const struct record *r, bool all)
{
	originators_record(c->originators, n, r, all);
}

/* -- copies -------------------------------------------------------------------------------------------------------- */

static struct atom_facts *facts_of(struct checks *c, atom_id atom)
{
	struct atom_facts *f = map_find(&c->atoms, atom);

	if (f)
		return f;
	f = MEM_NEW(&c->w->mem, struct atom_facts);
	f->atom = atom;
	map_put(&c->atoms, atom, f);
	return f;
}

static void missed(struct checks *c, struct node *n, atom_id atom, const char *kind, seq_index changed,
		   seq_index applied, const struct copy_fact *other)
{
	world_violation(c->w,
			"atom %llu (%s): the copy of %s changed last at %llu as of %llu; elsewhere at %llu as of %llu",
			(unsigned long long)atom, kind, n->name, (unsigned long long)changed,
			(unsigned long long)applied, (unsigned long long)other->changed,
			(unsigned long long)other->applied);
}

/* The copy says: changed at L, and then nothing up to A. True: its checksum is still to be compared with *fact_out. */
static struct copy_fact *fact_add(struct checks *c, struct node *n, const struct frame *f, seq_index changed,
				  seq_index applied, bool *fresh_out)
{
	struct atom_facts *facts = facts_of(c, f->id);
	struct copy_fact fact = {.changed = changed, .applied = applied};
	size_t at = facts->facts.count;

	*fresh_out = false;
	while (at && facts->facts.at[at - 1].changed > changed)
		at--;
	if (at < facts->facts.count && facts->facts.at[at].changed <= applied)
		missed(c, n, f->id, atom_kind_name(f->kind), changed, applied, &facts->facts.at[at]);
	if (at && facts->facts.at[at - 1].changed == changed) {
		if (facts->facts.at[at - 1].applied < applied)
			facts->facts.at[at - 1].applied = applied;
		return &facts->facts.at[at - 1];
	}
	if (at && facts->facts.at[at - 1].applied >= changed)
		missed(c, n, f->id, atom_kind_name(f->kind), changed, applied, &facts->facts.at[at - 1]);
	*fresh_out = true;
	VEC_PUSH(&c->w->mem, &facts->facts, fact);
	for (size_t i = facts->facts.count - 1; i > at; i--)
		facts->facts.at[i] = facts->facts.at[i - 1];
	facts->facts.at[at] = fact;
	return &facts->facts.at[at];
}

static bool copy_check(struct checks *c, struct node *n, struct frame *f, seq_index applied, bool all)
{
	seq_index changed = frame_last_index(f);
	struct seen *seen = map_find2(&c->seen, n->number + 1, f->id);
	struct copy_fact *fact;
	uint32_t crc;
	bool fresh;

	fact = fact_add(c, n, f, changed, applied, &fresh);
	if (seen && seen->changed == changed && !all)
		return false;
	if (!seen) {
		seen = MEM_NEW(&c->w->mem, struct seen);
		map_put2(&c->seen, n->number + 1, f->id, seen);
	}
	seen->changed = changed;
	crc = frame_body_crc(f);
	sim_stats.checks++;
	if (fresh)
		fact->crc = crc;
	else if (fact->crc != crc)
		world_violation(c->w, "atom %llu (%s) changed last at %llu: %s has other bytes than another engine had",
				(unsigned long long)f->id, atom_kind_name(f->kind), (unsigned long long)changed,
				n->name);
	return true;
}

static void copies(struct checks *c, struct node *n, bool all)
{
	struct replica *rp = engine_replica(n->engine);
	seq_index applied = replica_applied(rp);
	uint32_t made = 0;

	if (engine_applying(n->engine))
		return;
	LIST_FOREACH(it, atom_all(replica_store(rp))) {
		struct frame *f = CONTAINER_OF(it, struct frame, all);

		if (!replica_usable(rp, f))
			continue;
		if (made < COPIES_PER_CHECK || all)
			made += copy_check(c, n, f, applied, all);
		if (c->w->failed)
			return;
	}
}

void checks_copies(struct checks *c, struct node *n)
{
	copies(c, n, true);
}

/* -- originators and members ------------------------------------------------------------------------------------------ */

static uint32_t members_crc(const struct replica *rp)
{
	uint32_t crc = 0;

	for (uint32_t i = 0; i < replica_member_count(rp); i++) {
		const struct member *m = replica_member_at(rp, i);
		uint64_t words[] = {m->id, m->kind, m->joined, m->last_seq, m->join.nonce};

		crc = crc32c(crc, words, sizeof words);
	}
	return crc;
}

static void originators_wrong(struct checks *c, struct node *n, const struct at_index *was, seq_index applied)
{
	struct node *other = &c->w->nodes[was->node];
	bool same = other != n && other->up && node_applied(other) == applied;

	world_violation(c->w, "%s and %s disagree at index %llu on who originates what (atom %llu)", n->name, other->name,
			(unsigned long long)applied,
			same ? (unsigned long long)originators_differ(c->originators, n, other) : 0);
}

static void at_index_check(struct checks *c, struct node *n)
{
	struct replica *rp = engine_replica(n->engine);
	seq_index applied = replica_applied(rp);
	struct at_index now = {.node = n->number}, *was;
	struct engine_info info;

	if (engine_applying(n->engine) || !applied)
		return;
	engine_info(n->engine, &info);
	if (engine_state(n->engine) == ENGINE_READY && !replica_member(rp, info.id))
		world_violation(c->w, "%s says that it is engine %llu, which is no member at index %llu", n->name,
				(unsigned long long)info.id, (unsigned long long)applied);
	now.members = members_crc(rp);
	now.originators_known = originators_hash(c->originators, n, &now.originators);
	was = map_find(&c->indexes, applied);
	if (!was) {
		was = MEM_NEW(&c->w->mem, struct at_index);
		*was = now;
		map_put(&c->indexes, applied, was);
		return;
	}
	if (was->members != now.members)
		world_violation(c->w, "%s has another membership at index %llu than another engine had", n->name,
				(unsigned long long)applied);
	if (!now.originators_known)
		return;
	sim_stats.originators += was->originators_known;
	if (was->originators_known && was->originators != now.originators)
		originators_wrong(c, n, was, applied);
	was->originators_known = true;
	was->originators = now.originators;
	was->node = n->number;
}

void checks_turn(struct checks *c, struct node *n)
{
	at_index_check(c, n);
	if (n->turns < c->next_turn[n->number])
		return;
	c->next_turn[n->number] = n->turns + 1 + rng_below(&c->w->rng, EVERY_TURNS * 2);
	copies(c, n, false);
}

/* Of one atom, on all engines that can tell. */
static void originator_check(struct checks *c, atom_id atom)
{
	engine_id first = 0;

	for (uint32_t i = 0; i < c->w->node_count; i++) {
		struct node *n = &c->w->nodes[i];
		struct replica *rp = engine_replica(n->engine);
		struct hold h;
		atom_id need;
		engine_id who;

		if (replica_hold(rp, atom, &h, &need) != ST_OK)
			continue;
		who = replica_originator(rp, &h);
		if (!who)
			world_violation(c->w, "atom %llu has no originator on %s", (unsigned long long)atom, n->name);
		if (first && who != first)
			world_violation(c->w, "atom %llu: its originator is %llu on %s, %llu elsewhere",
					(unsigned long long)atom, (unsigned long long)who, n->name,
					(unsigned long long)first);
		first = who;
	}
}

void checks_quiet(struct checks *c)
{
	struct world *w = c->w;
	struct atom_store *first = replica_store(engine_replica(w->nodes[0].engine));

	for (uint32_t i = 0; i < w->node_count && !w->failed; i++) {
		checks_copies(c, &w->nodes[i]);
		at_index_check(c, &w->nodes[i]);
	}
	LIST_FOREACH(it, atom_all(first)) {
		struct frame *f = CONTAINER_OF(it, struct frame, all);

		if (f->id != ATOM_ID_ROOT)
			originator_check(c, f->id);
		for (uint32_t i = 1; i < w->archive_count && !w->failed; i++)
			if (!atom_find(replica_store(engine_replica(w->nodes[i].engine)), f->id))
				world_violation(w, "atom %llu (%s) is on %s, but not on %s", (unsigned long long)f->id,
						atom_kind_name(f->kind), w->nodes[0].name, w->nodes[i].name);
	}
}
