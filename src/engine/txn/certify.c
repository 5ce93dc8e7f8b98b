#include "engine/txn/certify.h"

#include "base/list.h"
#include "base/map.h"

struct claim {
	struct list all;
	engine_id engine;
	txn_id txn;
	struct range_set reads, writes, waiting; /* settled; waiting: writes that it has not got yet */
};
struct certify_table {
	struct mem *mem;
	struct list claims;
	struct map by_owner;
};

struct certify_table *certify_new(struct mem *mem)
{
	struct certify_table *ct = MEM_NEW(mem, struct certify_table);

	ct->mem = mem;
	list_init(&ct->claims);
	map_init(&ct->by_owner, mem);
	return ct;
}

static void claim_free(struct certify_table *ct, struct claim *c)
{
	map_remove2(&ct->by_owner, c->engine, c->txn);
	list_remove(&c->all);
	ranges_fini(&c->reads);
	ranges_fini(&c->writes);
	ranges_fini(&c->waiting);
	MEM_FREE(ct->mem, c);
}

void certify_free(struct certify_table *ct)
{
	LIST_FOREACH_SAFE(it, tmp, &ct->claims)
		claim_free(ct, CONTAINER_OF(it, struct claim, all));
	map_fini(&ct->by_owner);
	MEM_FREE(ct->mem, ct);
}

static struct claim *claim_get(struct certify_table *ct, engine_id engine, txn_id txn)
{
	struct claim *c = map_find2(&ct->by_owner, engine, txn);

	if (c)
		return c;
	c = MEM_NEW(ct->mem, struct claim);
	c->engine = engine;
	c->txn = txn;
	ranges_init(&c->reads, ct->mem, RANGES_MAX);
	ranges_init(&c->writes, ct->mem, RANGES_MAX);
	ranges_init(&c->waiting, ct->mem, RANGES_MAX);
	list_push_back(&ct->claims, &c->all);
	map_put2(&ct->by_owner, engine, txn, c);
	return c;
}

static void take(struct range_set *to, const struct range_set *from)
{
	ranges_add_all(to, from);
	ranges_settle(to);
}

enum certified certify_try(struct certify_table *ct, engine_id engine, txn_id txn, const struct range_set *reads,
			   const struct range_set *writes)
{
	struct claim *own;
	bool wait = false;

	LIST_FOREACH(it, &ct->claims) {
		const struct claim *c = CONTAINER_OF(it, struct claim, all);

		if (c->engine == engine && c->txn == txn)
			continue;
		if (ranges_meet(reads, &c->writes) || ranges_meet(reads, &c->waiting))
			return CERTIFY_CONFLICT;
		wait = wait || ranges_meet(writes, &c->reads);
	}
	own = claim_get(ct, engine, txn);
	if (wait) {
		take(&own->waiting, writes);
		return CERTIFY_WAIT;
	}
	ranges_fini(&own->waiting);
	ranges_init(&own->waiting, ct->mem, RANGES_MAX);
	take(&own->reads, reads);
	take(&own->writes, writes);
	return CERTIFY_OK;
}

bool certify_release(struct certify_table *ct, engine_id engine, txn_id txn)
{
	struct claim *c = map_find2(&ct->by_owner, engine, txn);

	if (!c)
		return false;
	claim_free(ct, c);
	return true;
}

void certify_release_engine(struct certify_table *ct, engine_id engine)
{
	LIST_FOREACH_SAFE(it, tmp, &ct->claims) {
		struct claim *c = CONTAINER_OF(it, struct claim, all);

		if (c->engine == engine)
			claim_free(ct, c);
	}
}

bool certify_any(const struct certify_table *ct, const struct key_range *r)
{
	LIST_FOREACH(it, (struct list *)&ct->claims) {
		const struct claim *c = CONTAINER_OF(it, struct claim, all);
		const struct range_set *sets[] = {&c->reads, &c->writes, &c->waiting};

		for (int k = 0; k < 3; k++)
			for (size_t i = 0; i < sets[k]->all.count; i++)
				if (range_meets(&sets[k]->all.at[i], r))
					return true;
	}
	return false;
}

uint64_t certify_count(const struct certify_table *ct)
{
	return ct->by_owner.count;
}
