/*
 * history.c - a check from a text to its findings, and how these are told (history). See history.h.
 */
#include "history/history.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "history/history_int.h"

#define FINDINGS_MAX 10
#define LIST_TOLD 12 /* elements of a list that are told: the first few and the last */

static const char *const names[HISTORY_ANOMALIES] = {
	[HISTORY_UNKNOWN_VALUE] = "unknown value",
	[HISTORY_G1A] = "G1a (aborted read)",
	[HISTORY_G1B] = "G1b (intermediate read)",
	[HISTORY_INTERNAL] = "internal",
	[HISTORY_DUPLICATE] = "duplicate element",
	[HISTORY_INCOMPATIBLE] = "incompatible order",
	[HISTORY_LOST_WRITE] = "lost write",
	[HISTORY_COMMIT_ORDER] = "commit order",
	[HISTORY_G0] = "G0",
	[HISTORY_G1C] = "G1c",
	[HISTORY_LOST_UPDATE] = "lost update",
	[HISTORY_G_SINGLE] = "G-single",
	[HISTORY_LONG_FORK] = "long fork",
	[HISTORY_G_NONADJACENT] = "G-nonadjacent",
	[HISTORY_WRITE_SKEW] = "write skew",
	[HISTORY_G2_ITEM] = "G2-item",
	[HISTORY_G2] = "G2",
	[HISTORY_CYCLE] = "cycle",
};
static const struct { const char *name; enum history_level level; } levels[] = {
	{"rc", HISTORY_READ_COMMITTED}, {"read-committed", HISTORY_READ_COMMITTED},
	{"rr", HISTORY_SNAPSHOT}, {"snapshot-isolation", HISTORY_SNAPSHOT}, {"repeatable-read", HISTORY_SNAPSHOT},
	{"ser", HISTORY_SERIALIZABLE}, {"serializable", HISTORY_SERIALIZABLE},
};

const char *history_anomaly_name(enum history_anomaly a)
{
	return names[a];
}

const char *history_finding_name(const struct history_finding *f, char *out, size_t bytes)
{
	snprintf(out, bytes, "%s%s%s", names[f->anomaly], f->session ? "-session" : "", f->realtime ? "-realtime" : "");
	return out;
}

bool history_level_parse(const char *name, size_t bytes, enum history_level *out)
{
	for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
		if (strlen(levels[i].name) == bytes && memcmp(levels[i].name, name, bytes) == 0) {
			*out = levels[i].level;
			return true;
		}
	return false;
}

/* -- in words ------------------------------------------------------------------------------------------------------- */

static void tell_list(const struct history *h, struct buf *b, const struct op *o)
{
	buf_printf(b, "[");
	for (uint32_t i = 0; i < o->count; i++) {
		if (o->count > LIST_TOLD && i == LIST_TOLD / 2) {
			i = o->count - LIST_TOLD / 2;
			buf_printf(b, ",…");
		}
		buf_printf(b, "%s%lld", i ? "," : "", (long long)h->values.at[o->list + i]);
	}
	buf_printf(b, "]");
}

static void tell_answer(const struct history *h, struct buf *b, const struct op *o)
{
	if (o->kind == OP_READ_LIST)
		tell_list(h, b, o);
	else if (o->nil)
		buf_printf(b, "nil");
	else if (o->known)
		buf_printf(b, "%lld", (long long)o->value);
}

void history_tell_read(const struct history *h, struct buf *b, const struct op *o)
{
	buf_printf(b, "%s as ", h->keys.at[o->key].name);
	tell_answer(h, b, o);
}

void history_tell_txn(const struct history *h, struct buf *b, uint32_t txn)
{
	static const char *const types[] = {[TXN_INFO] = "info", [TXN_OK] = "ok", [TXN_FAIL] = "fail"};
	static const char *const short_levels[] = {"", "rc", "rr", "ser"};
	const struct txn *t = &h->txns.at[txn];
	uint16_t statement = 0;

	buf_printf(b, "\n  T%u (lines %u, %u; process %u at %s, %s%s, %llu to ", txn + 1, t->line, t->done_line, t->process,
		   h->engines.at[t->engine], short_levels[t->level], t->latest ? ", latest" : "",
		   (unsigned long long)t->invoke_us);
	if (t->ended)
		buf_printf(b, "%llu, %s):", (unsigned long long)t->done_us, types[t->type]);
	else
		buf_printf(b, "unknown, info):");
	for (uint32_t i = t->op; i < t->op + t->op_count; i++) {
		const struct op *o = &h->ops.at[i];

		for (; statement < o->statement; statement++)
			buf_printf(b, " |");
		buf_printf(b, " %s%s%s", o->predicate ? "*" : "", h->keys.at[o->key].name,
			   o->kind == OP_APPEND ? "+=" : o->kind == OP_WRITE ? "=" : "?");
		if (o->kind <= OP_WRITE)
			buf_printf(b, "%lld", (long long)o->value);
		else
			tell_answer(h, b, o);
	}
	if (t->index)
		buf_printf(b, " @%llu", (unsigned long long)t->index);
}

bool history_wanted(const struct history *h)
{
	uint32_t max = h->options->findings_max;

	return h->result->finding_count < (max ? max : FINDINGS_MAX);
}

void history_found(struct history *h, enum history_anomaly a, bool session, bool realtime, const char *text)
{
	struct history_result *r = h->result;

	r->count++;
	r->counts[a]++;
	if (history_wanted(h))
		r->findings[r->finding_count++] =
			(struct history_finding){a, session, realtime, arena_strdup(&r->arena, text)};
}

void history_tell(struct history *h, enum history_anomaly a, uint32_t t1, uint32_t t2, const char *fmt, ...)
{
	char text[400];
	struct buf b;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	buf_init(&b, h->mem);
	buf_printf(&b, "%s: %s", names[a], text);
	history_tell_txn(h, &b, t1);
	if (t2 != NONE && t2 != t1)
		history_tell_txn(h, &b, t2);
	put_u8(&b, 0);
	history_found(h, a, false, false, (char *)b.data);
	buf_fini(&b);
}

/* -- the check ------------------------------------------------------------------------------------------------------ */

static void init(struct history *h, struct mem *mem, const struct history_options *options, struct history_result *out)
{
	uint32_t max = options->findings_max ? options->findings_max : FINDINGS_MAX;

	memset(h, 0, sizeof *h);
	memset(out, 0, sizeof *out);
	h->mem = mem;
	h->options = options;
	h->result = out;
	arena_init(&h->arena, mem);
	arena_init(&out->arena, mem);
	bmap_init(&h->key_names, mem);
	bmap_init(&h->engine_names, mem);
	map_init(&h->by_value, mem);
	out->findings = ARENA_NEW_N(&out->arena, struct history_finding, max);
}

static void fini(struct history *h)
{
	for (size_t i = 0; i < h->keys.count; i++) {
		VEC_FINI(h->mem, &h->keys.at[i].versions);
		VEC_FINI(h->mem, &h->keys.at[i].reads);
	}
	VEC_FINI(h->mem, &h->txns);
	VEC_FINI(h->mem, &h->ops);
	VEC_FINI(h->mem, &h->values);
	VEC_FINI(h->mem, &h->versions);
	VEC_FINI(h->mem, &h->keys);
	VEC_FINI(h->mem, &h->engines);
	bmap_fini(&h->key_names);
	bmap_fini(&h->engine_names);
	map_fini(&h->by_value);
	arena_fini(&h->arena);
}

static void count(struct history *h)
{
	struct history_result *r = h->result;

	r->transactions = (uint32_t)h->txns.count;
	r->keys = (uint32_t)h->keys.count;
	r->writes = (uint32_t)h->versions.count;
	for (size_t i = 0; i < h->txns.count; i++) {
		r->committed += h->txns.at[i].type == TXN_OK;
		r->failed += h->txns.at[i].type == TXN_FAIL;
		r->unknown += h->txns.at[i].type == TXN_INFO;
	}
	for (size_t i = 0; i < h->keys.count; i++)
		r->reads += (uint32_t)h->keys.at[i].reads.count;
}

enum status history_check(struct mem *mem, const char *text, size_t bytes, const struct history_options *options,
			  struct history_result *out, struct error *err)
{
	struct history h;
	struct graph g;
	enum status st;

	init(&h, mem, options, out);
	st = history_parse(&h, text, bytes, err);
	if (st == ST_OK) {
		graph_init(&g, mem);
		history_reads(&h);
		history_edges(&h, &g);
		out->edges = g.edges.count;
		history_cycles(&h, &g);
		count(&h);
		graph_fini(&g);
	} else {
		history_result_fini(out);
	}
	fini(&h);
	return st;
}

void history_result_fini(struct history_result *r)
{
	arena_fini(&r->arena);
}
