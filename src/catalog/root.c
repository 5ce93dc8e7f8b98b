/*
 * root.c - the root atom and its mirror: members, intents, barriers, catalog leaves (catalog).
 *
 * Every change goes to the image first (leaf_put) and to the mirror by the same function, so that root_load() of
 * the image gives the same mirror. Keys: one tag byte, then the key, big-endian where it is a number.
 *   'L' log id          'N' next engine id      'M' engine -> u64 joined, join payload   'Q' engine -> u64 last seq
 *   'B' relation -> u64 barrier                 'I' index -> u64 relation, u8 mode, u64 engine, u64 txn
 *   'C' catalog kind, lower fence -> u64 atom, struct hold
 *   'T' name of a transaction -> u64 index of its commit    'F' 0 -> u64 the newest of those that are forgotten
 */
#include "catalog/replica_int.h"

#include <stdlib.h>

static uint32_t tag_key(uint8_t key[9], char tag, uint64_t n)
{
	key[0] = (uint8_t)tag;
	be64(key + 1, n);
	return 9;
}

static void put(struct replica *rp, seq_index index, const void *key, uint32_t key_len, const void *value,
		uint32_t value_len)
{
	leaf_put(rp->store, rp->root, index, key, key_len, value, value_len);
	replica_changed(rp, rp->root, index);
}

void root_put_u64(struct replica *rp, seq_index index, char tag, uint64_t key, uint64_t value)
{
	uint8_t k[9];

	tag_key(k, tag, key);
	put(rp, index, k, 9, &value, 8);
}

void root_remove(struct replica *rp, seq_index index, char tag, uint64_t key)
{
	uint8_t k[9];

	tag_key(k, tag, key);
	leaf_remove(rp->store, rp->root, index, k, 9);
	replica_changed(rp, rp->root, index);
}

/* -- members --------------------------------------------------------------------------------------- */

static uint32_t member_place(const struct replica *rp, engine_id id)
{
	uint32_t lo = 0, hi = (uint32_t)rp->members.count;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (rp->members.at[mid]->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct member *root_member(const struct replica *rp, engine_id id)
{
	uint32_t i = member_place(rp, id);

	return i < rp->members.count && rp->members.at[i]->id == id ? rp->members.at[i] : NULL;
}

static struct member *member_insert(struct replica *rp, const struct member *m)
{
	struct member *copy = MEM_NEW(rp->mem, struct member);
	uint32_t i = member_place(rp, m->id);

	*copy = *m;
	VEC_PUSH(rp->mem, &rp->members, copy);
	memmove(&rp->members.at[i + 1], &rp->members.at[i],
		(rp->members.count - 1 - i) * sizeof *rp->members.at);
	rp->members.at[i] = copy;
	return copy;
}

void root_set_last_seq(struct replica *rp, seq_index index, struct member *m, uint64_t seq)
{
	m->last_seq = seq;
	root_put_u64(rp, index, 'Q', m->id, seq);
}

void root_join(struct replica *rp, seq_index index, const struct join_payload *join)
{
	struct member m = {.kind = join->kind, .joined = index, .join = *join};
	struct member *in;
	uint8_t key[9];
	struct buf b;

	if (join->log_id && !rp->log_id) {
		rp->log_id = join->log_id;
		root_put_u64(rp, index, 'L', 0, join->log_id);
	}
	m.id = rp->next_engine++;
	root_put_u64(rp, index, 'N', 0, rp->next_engine);
	buf_init(&b, rp->mem);
	put_u64(&b, index);
	join_encode(&b, join);
	tag_key(key, 'M', m.id);
	put(rp, index, key, 9, b.data, (uint32_t)b.size);
	buf_fini(&b);
	in = member_insert(rp, &m);
	rp->events->member_joined(rp->ctx, in);
}

void root_remove_member(struct replica *rp, seq_index index, engine_id id, uint8_t cause)
{
	uint32_t i = member_place(rp, id);
	struct member *m;

	ASSERT(i < rp->members.count && rp->members.at[i]->id == id);
	m = rp->members.at[i];
	memmove(&rp->members.at[i], &rp->members.at[i + 1],
		(rp->members.count - 1 - i) * sizeof *rp->members.at);
	rp->members.count--;
	root_remove(rp, index, 'M', id);
	root_remove(rp, index, 'Q', id);
	root_close_all_intents(rp, index, id);
	rp->events->member_removed(rp->ctx, m, cause);
	MEM_FREE(rp->mem, m);
}

/* -- intents and barriers (P13) ---------------------------------------------------------------------- */

void root_open_intent(struct replica *rp, const struct intent *in)
{
	uint8_t key[9];
	struct buf b;

	buf_init(&b, rp->mem);
	put_u64(&b, in->relation);
	put_u8(&b, in->mode);
	put_u64(&b, in->engine);
	put_u64(&b, in->txn);
	tag_key(key, 'I', in->index);
	put(rp, in->index, key, 9, b.data, (uint32_t)b.size);
	buf_fini(&b);
	VEC_PUSH(rp->mem, &rp->intents, *in);
	rp->events->intent_opened(rp->ctx, in);
}

seq_index root_barrier(const struct replica *rp, rel_id relation)
{
	for (size_t i = 0; i < rp->barriers.count; i++)
		if (rp->barriers.at[i].relation == relation)
			return rp->barriers.at[i].index;
	return 0;
}

/* Barriers at or below the horizon can void nothing any more: plans below it are void anyway. */
static void set_barrier(struct replica *rp, seq_index index, rel_id relation, seq_index d)
{
	struct barrier set = {relation, d};
	size_t kept = 0, at;

	for (size_t i = 0; i < rp->barriers.count; i++) {
		struct barrier b = rp->barriers.at[i];

		if (b.relation == relation)
			continue;
		if (b.index <= rp->horizon)
			root_remove(rp, index, 'B', b.relation);
		else
			rp->barriers.at[kept++] = b;
	}
	rp->barriers.count = kept;
	/* sorted, as root_load() gives them: removals come in the same order on a joiner, so bodies stay equal */
	VEC_PUSH(rp->mem, &rp->barriers, set);
	for (at = kept; at && rp->barriers.at[at - 1].relation > relation; at--)
		rp->barriers.at[at] = rp->barriers.at[at - 1];
	rp->barriers.at[at] = set;
	root_put_u64(rp, index, 'B', relation, d);
}

/* Of one engine; of one transaction unless @all; of one relation unless 0. */
static void close_intents(struct replica *rp, seq_index index, engine_id engine, bool all, txn_id txn, rel_id relation,
			  bool committed)
{
	for (size_t i = 0; i < rp->intents.count;) {
		struct intent in = rp->intents.at[i];

		if (in.engine != engine || (!all && in.txn != txn) || (relation && in.relation != relation)) {
			i++;
			continue;
		}
		memmove(&rp->intents.at[i], &rp->intents.at[i + 1],
			(rp->intents.count - 1 - i) * sizeof *rp->intents.at);
		rp->intents.count--;
		root_remove(rp, index, 'I', in.index);
		if (committed)
			set_barrier(rp, index, in.relation, in.index);
		rp->events->intent_closed(rp->ctx, &in);
	}
}

void root_close_intents(struct replica *rp, seq_index index, engine_id engine, txn_id txn, rel_id relation,
			bool committed)
{
	close_intents(rp, index, engine, false, txn, relation, committed);
}

void root_close_all_intents(struct replica *rp, seq_index index, engine_id engine)
{
	close_intents(rp, index, engine, true, 0, 0, false);
}

/* -- names of transactions (ADR 13) ------------------------------------------------------------------ */

static void name_key(uint8_t key[1 + RECORD_NAME_BYTES], const uint8_t name[RECORD_NAME_BYTES])
{
	key[0] = 'T';
	memcpy(key + 1, name, RECORD_NAME_BYTES);
}

seq_index replica_named(const struct replica *rp, const uint8_t name[RECORD_NAME_BYTES])
{
	uint8_t key[1 + RECORD_NAME_BYTES];
	seq_index index = 0;
	struct slice v;

	name_key(key, name);
	if (leaf_get(rp->store, rp->root, LEAF_NEWEST, key, sizeof key, &v) == ST_OK)
		memcpy(&index, v.p, sizeof index);
	return index;
}

uint32_t replica_names_count(const struct replica *rp)
{
	return (uint32_t)(rp->names.count - rp->names_head);
}

seq_index replica_names_forgotten(const struct replica *rp)
{
	return rp->names_forgotten;
}

static void forget_oldest_name(struct replica *rp, seq_index index)
{
	const struct named *n = &rp->names.at[rp->names_head++];
	uint8_t key[1 + RECORD_NAME_BYTES];

	name_key(key, n->name);
	leaf_remove(rp->store, rp->root, index, key, sizeof key);
	rp->names_forgotten = n->index;
	root_put_u64(rp, index, 'F', 0, n->index);
	if (rp->names_head == REPLICA_NAMES) {
		memmove(rp->names.at, rp->names.at + rp->names_head,
			(rp->names.count - rp->names_head) * sizeof *rp->names.at);
		rp->names.count -= rp->names_head;
		rp->names_head = 0;
	}
}

void root_put_name(struct replica *rp, seq_index index, const uint8_t name[RECORD_NAME_BYTES])
{
	uint8_t key[1 + RECORD_NAME_BYTES];
	struct named n = {.index = index};

	if (replica_names_count(rp) == REPLICA_NAMES)
		forget_oldest_name(rp, index);
	memcpy(n.name, name, sizeof n.name);
	VEC_PUSH(rp->mem, &rp->names, n);
	name_key(key, name);
	put(rp, index, key, sizeof key, &index, sizeof index);
}

static int by_index(const void *a, const void *b)
{
	const struct named *x = a, *y = b;

	return (x->index > y->index) - (x->index < y->index); /* a commit has one name: no two are equal */
}

/* -- catalog leaves ------------------------------------------------------------------------------------ */

static int slice_compare(const void *a, uint32_t a_len, const void *b, uint32_t b_len)
{
	uint32_t n = a_len < b_len ? a_len : b_len;
	int c = n ? memcmp(a, b, n) : 0;

	return c ? c : (a_len > b_len) - (a_len < b_len);
}

static void mirror_catalog(struct replica *rp, enum atom_kind kind, struct slice lo, atom_id atom,
			   const struct hold *h)
{
	struct catalog_leaf *c;
	size_t i = 0;

	while (i < rp->catalogs[kind].count &&
	       slice_compare(rp->catalogs[kind].at[i]->lo.p, rp->catalogs[kind].at[i]->lo.bytes, lo.p, lo.bytes) < 0)
		i++;
	if (i < rp->catalogs[kind].count && rp->catalogs[kind].at[i]->atom == atom) {
		rp->catalogs[kind].at[i]->hold = *h;
		return;
	}
	c = MEM_NEW(rp->mem, struct catalog_leaf);
	c->atom = atom;
	c->hold = *h;
	c->lo.bytes = lo.bytes;
	if (lo.bytes) {
		uint8_t *p = mem_alloc(rp->mem, lo.bytes);

		memcpy(p, lo.p, lo.bytes);
		c->lo.p = p;
	}
	VEC_PUSH(rp->mem, &rp->catalogs[kind], c);
	memmove(&rp->catalogs[kind].at[i + 1], &rp->catalogs[kind].at[i],
		(rp->catalogs[kind].count - 1 - i) * sizeof c);
	rp->catalogs[kind].at[i] = c;
}

void root_put_catalog(struct replica *rp, seq_index index, enum atom_kind kind, struct slice lo, atom_id atom,
		      const struct hold *h)
{
	uint8_t key[2 + LEAF_KEY_MAX];
	struct buf b;

	key[0] = 'C';
	key[1] = (uint8_t)kind;
	ASSERT_OP(lo.bytes + 2, <=, LEAF_KEY_MAX);
	if (lo.bytes)
		memcpy(key + 2, lo.p, lo.bytes);
	buf_init(&b, rp->mem);
	put_u64(&b, atom);
	hold_encode(h, &b);
	put(rp, index, key, 2 + lo.bytes, b.data, (uint32_t)b.size);
	buf_fini(&b);
	mirror_catalog(rp, kind, lo, atom, h);
}

struct catalog_leaf *root_catalog_leaf(struct replica *rp, enum atom_kind kind, const void *key, uint32_t key_len)
{
	struct catalog_leaf *found = NULL;

	for (size_t i = 0; i < rp->catalogs[kind].count; i++) {
		struct catalog_leaf *c = rp->catalogs[kind].at[i];

		if (slice_compare(c->lo.p, c->lo.bytes, key, key_len) > 0)
			break;
		found = c;
	}
	return found;
}

struct catalog_leaf *root_catalog_atom(struct replica *rp, atom_id atom)
{
	for (int kind = ATOM_SCHEMA_CAT; kind <= ATOM_INDEX_CAT; kind++)
		for (size_t i = 0; i < rp->catalogs[kind].count; i++)
			if (rp->catalogs[kind].at[i]->atom == atom)
				return rp->catalogs[kind].at[i];
	return NULL;
}

/* -- the mirror from the image ------------------------------------------------------------------------- */

static bool load_member(struct replica *rp, engine_id id, struct slice v, bool check)
{
	struct member m = {.id = id};

	if (v.bytes < 8 || join_decode(v.p + 8, v.bytes - 8, &m.join) != ST_OK)
		return false;
	memcpy(&m.joined, v.p, 8);
	m.kind = m.join.kind;
	if (!check)
		member_insert(rp, &m);
	return true;
}

static bool load_intent(struct replica *rp, seq_index index, struct slice v, bool check)
{
	struct reader r = reader_init(v.p, v.bytes);
	struct intent in = {.index = index};

	in.relation = get_u64(&r);
	in.mode = get_u8(&r);
	in.engine = get_u64(&r);
	in.txn = get_u64(&r);
	if (!reader_ok(&r) || reader_left(&r))
		return false;
	if (!check)
		VEC_PUSH(rp->mem, &rp->intents, in);
	return true;
}

static bool load_catalog(struct replica *rp, const struct leaf_entry *e, bool check, uint32_t *firsts)
{
	struct slice lo;
	struct hold h;
	atom_id atom;

	if (e->key.bytes < 2 || e->key.p[1] < ATOM_SCHEMA_CAT || e->key.p[1] > ATOM_INDEX_CAT || e->value.bytes < 8 ||
	    !hold_decode(e->value.p + 8, e->value.bytes - 8, &h) || h.kind != e->key.p[1])
		return false;
	memcpy(&atom, e->value.p, 8);
	lo = (struct slice){e->key.p + 2, e->key.bytes - 2, 0};
	if (!lo.bytes)
		*firsts |= 1u << h.kind;
	if (!check)
		mirror_catalog(rp, h.kind, lo, atom, &h);
	return true;
}

static bool load_name(struct replica *rp, const struct leaf_entry *e, bool check)
{
	struct named n;

	if (e->key.bytes != 1 + RECORD_NAME_BYTES || e->value.bytes != sizeof n.index)
		return false;
	memcpy(&n.index, e->value.p, sizeof n.index);
	memcpy(n.name, e->key.p + 1, sizeof n.name);
	if (!check)
		VEC_PUSH(rp->mem, &rp->names, n);
	return true;
}

/* With check, nothing is changed: the image may come from a peer. firsts: kinds of catalogs with a leaf from the start on. */
static bool load_entry(struct replica *rp, const struct leaf_entry *e, bool check, uint32_t *firsts)
{
	uint8_t tag = e->key.bytes ? e->key.p[0] : 0;
	uint64_t key, value = 0;
	struct member *m;

	if (tag == 'C')
		return load_catalog(rp, e, check, firsts);
	if (tag == 'T')
		return load_name(rp, e, check);
	if (e->key.bytes != 9)
		return false;
	key = from_be64(e->key.p + 1);
	if (tag == 'M')
		return load_member(rp, key, e->value, check);
	if (tag == 'I')
		return load_intent(rp, key, e->value, check);
	if (e->value.bytes != 8)
		return false;
	memcpy(&value, e->value.p, 8);
	if (check)
		return tag == 'L' || tag == 'N' || tag == 'Q' || tag == 'B' || tag == 'F';
	if (tag == 'L') {
		rp->log_id = value;
	} else if (tag == 'N') {
		rp->next_engine = value;
	} else if (tag == 'F') {
		rp->names_forgotten = value;
	} else if (tag == 'Q') {
		m = root_member(rp, key);
		if (m)
			m->last_seq = value;
	} else {
		struct barrier b = {key, value};

		VEC_PUSH(rp->mem, &rp->barriers, b);
	}
	return true;
}

static bool load_all(struct replica *rp, struct frame *root, bool check)
{
	struct leaf_entry entries[64];
	uint8_t last[LEAF_KEY_MAX];
	struct slice from = {0};
	uint32_t count, firsts = 0;
	bool ok = true;

	do {
		struct arena_mark mark = arena_mark(&rp->turn);

		ASSERT(leaf_scan(rp->store, root, LEAF_NEWEST, from.p, from.bytes, from.p != NULL, false, 64,
				 &rp->turn, entries, &count) == ST_OK);
		for (uint32_t i = 0; i < count && ok; i++)
			ok = load_entry(rp, &entries[i], check, &firsts);
		if (count) {
			memcpy(last, entries[count - 1].key.p, entries[count - 1].key.bytes);
			from = (struct slice){last, entries[count - 1].key.bytes, 0};
		}
		arena_rewind(&rp->turn, mark);
	} while (count == 64 && ok);
	for (int kind = ATOM_SCHEMA_CAT; kind <= ATOM_INDEX_CAT; kind++)
		ok = ok && firsts >> kind & 1;
	return ok;
}

enum status root_load(struct replica *rp)
{
	struct frame *root = atom_find(rp->store, ATOM_ID_ROOT);

	ASSERT(!rp->root);
	if (!root || root->kind != ATOM_ROOT || !load_all(rp, root, true))
		return ST_CORRUPT;
	rp->root = root;
	(void)load_all(rp, root, false);
	if (rp->names.count)
		qsort(rp->names.at, rp->names.count, sizeof *rp->names.at, by_index);
	return ST_OK;
}
