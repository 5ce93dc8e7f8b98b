/*
 * reads.c - what reads say by themselves: who committed, in which order lists were appended to, and what contradicts
 * without a cycle (history).
 */
#include <string.h>

#include "history/history_int.h"

static bool is_read(const struct op *o)
{
	return (o->kind == OP_READ_LIST || o->kind == OP_READ) && o->known;
}

static const int64_t *elements(const struct history *h, const struct op *o)
{
	return h->values.at + o->list;
}

/* The first @a of one list are the first of the other, which has at least as many. */
static bool same_beginning(const struct history *h, const struct op *a, const struct op *b)
{
	return a->count <= b->count &&
	       (a->count == 0 || memcmp(elements(h, a), elements(h, b), a->count * sizeof(int64_t)) == 0);
}

uint32_t history_read_version(const struct history *h, const struct op *o)
{
	if (o->kind == OP_READ)
		return o->nil ? NONE : history_version(h, o->key, o->value);
	return o->count == o->own ? NONE : history_version(h, o->key, elements(h, o)[o->count - o->own - 1]);
}

/* -- who committed ------------------------------------------------------------------------------------------------ */

struct work { VEC(uint32_t) txns; };

/* A committed transaction, @o's, has read @value. */
static void value_read(struct history *h, struct work *work, const struct op *o, int64_t value)
{
	uint32_t number = history_version(h, o->key, value);
	const char *name = h->keys.at[o->key].name;
	struct version *v;
	struct txn *writer;

	if (number == NONE) {
		history_tell(h, HISTORY_UNKNOWN_VALUE, o->txn, NONE, "%s had %lld, which nobody wrote", name,
			     (long long)value);
		return;
	}
	v = &h->versions.at[number];
	writer = &h->txns.at[v->txn];
	if (writer->type == TXN_FAIL && !v->told) {
		v->told = true;
		history_tell(h, HISTORY_G1A, o->txn, v->txn, "%s had %lld, of a transaction that failed", name,
			     (long long)value);
	}
	if (writer->type == TXN_INFO && !writer->committed) {
		writer->committed = true;
		VEC_PUSH(h->mem, &work->txns, v->txn);
	}
}

static void list_read(struct history *h, struct work *work, uint32_t op)
{
	const struct op *o = &h->ops.at[op];
	struct key *k = &h->keys.at[o->key];

	if (k->longest != NONE && same_beginning(h, o, &h->ops.at[k->longest]))
		return; /* nothing new, and the most of all reads */
	for (uint32_t i = 0; i < o->count; i++) {
		int64_t value = elements(h, o)[i];
		uint32_t v = history_version(h, o->key, value);

		value_read(h, work, o, value);
		if (v == NONE)
			continue;
		if (h->versions.at[v].seen == op + 1)
			history_tell(h, HISTORY_DUPLICATE, o->txn, h->versions.at[v].txn, "%s had %lld twice", k->name,
				     (long long)value);
		h->versions.at[v].seen = op + 1;
	}
	if (k->longest == NONE || o->count > h->ops.at[k->longest].count)
		k->longest = op;
}

/* All that committed have read has committed, and so on. */
static void committed(struct history *h)
{
	struct work work = {{NULL, 0, 0}};

	for (uint32_t i = 0; i < h->txns.count; i++)
		if (h->txns.at[i].type == TXN_OK) {
			h->txns.at[i].committed = true;
			VEC_PUSH(h->mem, &work.txns, i);
		}
	for (size_t i = 0; i < work.txns.count; i++) {
		const struct txn *t = &h->txns.at[work.txns.at[i]];

		for (uint32_t k = t->op; k < t->op + t->op_count; k++) {
			const struct op *o = &h->ops.at[k];

			if (!is_read(o))
				continue;
			VEC_PUSH(h->mem, &h->keys.at[o->key].reads, k);
			if (o->kind == OP_READ_LIST)
				list_read(h, &work, k);
			else if (!o->nil)
				value_read(h, &work, o, o->value);
		}
	}
	VEC_FINI(h->mem, &work.txns);
}

/* -- lists ---------------------------------------------------------------------------------------------------------- */

/* So many elements at the list's end are the transaction's own, which it had appended by then. */
static void own_elements(struct history *h, const struct txn *t, uint32_t op)
{
	struct op *o = &h->ops.at[op];

	for (o->own = 0; o->own < o->count; o->own++) {
		uint32_t v = history_version(h, o->key, elements(h, o)[o->count - o->own - 1]);

		if (v == NONE || &h->txns.at[h->versions.at[v].txn] != t || h->versions.at[v].op > op)
			return;
	}
}

static void order(struct history *h, struct key *k)
{
	const struct op *most;

	if (k->longest == NONE)
		return;
	most = &h->ops.at[k->longest];
	for (uint32_t i = 0; i < most->count; i++) {
		uint32_t v = history_version(h, most->key, elements(h, most)[i]);

		if (v != NONE && h->versions.at[v].place == NONE)
			h->versions.at[v].place = i;
	}
	for (size_t i = 0; i < k->reads.count; i++) {
		const struct op *o = &h->ops.at[k->reads.at[i]];
		struct buf b;

		if (same_beginning(h, o, most))
			continue;
		k->compatible = false;
		buf_init(&b, h->mem);
		history_tell_read(h, &b, o);
		buf_printf(&b, "; and ");
		history_tell_read(h, &b, most);
		history_tell(h, HISTORY_INCOMPATIBLE, o->txn, most->txn, "%.*s", (int)b.size, (char *)b.data);
		buf_fini(&b);
	}
}

/* -- a transaction by itself ------------------------------------------------------------------------------------------ */

static void internal(struct history *h, const struct op *o, const char *why)
{
	struct buf b;

	buf_init(&b, h->mem);
	history_tell_read(h, &b, o);
	history_tell(h, HISTORY_INTERNAL, o->txn, NONE, "it read %.*s: %s", (int)b.size, (char *)b.data, why);
	buf_fini(&b);
}

/* Its own writes are the last that it sees of a key: nobody else can write it until the commit. */
static bool own_seen(const struct history *h, const struct txn *t, uint32_t op)
{
	const struct op *o = &h->ops.at[op];
	uint32_t at = o->count;

	for (uint32_t i = op; i-- > t->op;) {
		const struct op *w = &h->ops.at[i];

		if (w->key != o->key || w->kind > OP_WRITE)
			continue;
		if (o->kind == OP_READ)
			return !o->nil && o->value == w->value;
		if (at == 0 || elements(h, o)[--at] != w->value)
			return false;
	}
	return true;
}

static bool shows(const struct history *h, const struct op *o, int64_t value)
{
	if (o->kind == OP_READ)
		return !o->nil && o->value == value;
	for (uint32_t i = 0; i < o->count; i++)
		if (elements(h, o)[i] == value)
			return true;
	return false;
}

static bool from_the_future(const struct history *h, const struct txn *t, uint32_t op)
{
	for (uint32_t i = op + 1; i < t->op + t->op_count; i++)
		if (h->ops.at[i].key == h->ops.at[op].key && h->ops.at[i].kind <= OP_WRITE &&
		    shows(h, &h->ops.at[op], h->ops.at[i].value))
			return true;
	return false;
}

/* The read before it of the same key on the same snapshot, and what was written since. */
static bool same_again(const struct history *h, const struct txn *t, uint32_t op)
{
	const struct op *o = &h->ops.at[op], *before = NULL;
	uint32_t i = op, n;

	while (!before && i-- > t->op)
		if (h->ops.at[i].key == o->key && is_read(&h->ops.at[i]))
			before = &h->ops.at[i];
	if (!before || (t->level == HISTORY_READ_COMMITTED && before->statement != o->statement))
		return true;
	if (o->kind == OP_READ) {
		if (history_own_before(h, t, op) != NONE)
			return true; /* own_seen() has judged it */
		return o->nil == before->nil && o->value == before->value;
	}
	n = before->count;
	if (!same_beginning(h, before, o))
		return false;
	for (uint32_t k = i + 1; k < op; k++)
		n += h->ops.at[k].key == o->key && h->ops.at[k].kind == OP_APPEND;
	return n == o->count; /* own_seen() has compared these */
}

static void read_alone(struct history *h, const struct txn *t, uint32_t op)
{
	const struct op *o = &h->ops.at[op];
	uint32_t v;

	if (from_the_future(h, t, op))
		internal(h, o, "what it wrote only afterwards");
	else if (!own_seen(h, t, op))
		internal(h, o, "without what it had written itself");
	else if (!same_again(h, t, op))
		internal(h, o, "which is not what it had read of it before");
	v = history_read_version(h, o);
	if (v == NONE || &h->txns.at[h->versions.at[v].txn] == t || h->versions.at[v].next_own == NONE)
		return;
	history_tell(h, HISTORY_G1B, o->txn, h->versions.at[v].txn, "%s had %lld, which its transaction overwrote with %lld",
		     h->keys.at[o->key].name, (long long)h->versions.at[v].value,
		     (long long)h->versions.at[h->versions.at[v].next_own].value);
}

/* -- in the end ------------------------------------------------------------------------------------------------------- */

/* What was acknowledged before a final read began is in it; of a register: it, or what came after it, which cycles show. */
static void final_read(struct history *h, const struct txn *t, const struct op *o)
{
	const struct key *k = &h->keys.at[o->key];

	for (size_t i = 0; i < k->versions.count; i++) {
		const struct version *v = &h->versions.at[k->versions.at[i]];
		const struct txn *writer = &h->txns.at[v->txn];

		if (writer->type != TXN_OK || writer->done_us >= t->invoke_us)
			continue;
		if (o->kind == OP_READ ? o->nil : !shows(h, o, v->value))
			history_tell(h, HISTORY_LOST_WRITE, v->txn, o->txn, "%lld was written to %s, and is not there in the end",
				     (long long)v->value, k->name);
	}
}

void history_reads(struct history *h)
{
	committed(h);
	for (uint32_t i = 0; i < h->txns.count; i++) {
		const struct txn *t = &h->txns.at[i];

		for (uint32_t k = t->op; t->committed && k < t->op + t->op_count; k++) {
			if (!is_read(&h->ops.at[k]))
				continue;
			if (h->ops.at[k].kind == OP_READ_LIST)
				own_elements(h, t, k);
			read_alone(h, t, k);
			if (t->final)
				final_read(h, t, &h->ops.at[k]);
		}
	}
	for (size_t i = 0; i < h->keys.count; i++)
		if (h->keys.at[i].list)
			order(h, &h->keys.at[i]);
}
