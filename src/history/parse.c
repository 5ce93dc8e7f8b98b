/*
 * parse.c - a history's text into transactions, operations, keys and versions (history). README has the format.
 */
#include <string.h>

#include "history/history_int.h"

struct line {
	struct history *h;
	struct map *open;       /* process -> its transaction + 1 */
	uint32_t number;
	const char *p, *end;
	struct error *err;
};
struct word { const char *p; size_t bytes; };

static enum status bad(struct line *l, const char *what, struct word w)
{
	return error_set(l->err, ST_DATA, "line %u of the history: %s \"%.*s\"", l->number, what,
			 (int)(w.bytes > 100 ? 100 : w.bytes), w.bytes ? w.p : "");
}

static bool word(struct line *l, struct word *out)
{
	while (l->p < l->end && (*l->p == ' ' || *l->p == '\t' || *l->p == '\r'))
		l->p++;
	out->p = l->p;
	while (l->p < l->end && *l->p != ' ' && *l->p != '\t' && *l->p != '\r')
		l->p++;
	out->bytes = (size_t)(l->p - out->p);
	return out->bytes != 0;
}

static bool word_is(struct word w, const char *text)
{
	return strlen(text) == w.bytes && memcmp(w.p, text, w.bytes) == 0;
}

/* Decimal, at the front of the word. */
static bool take_number(struct word *w, int64_t *out)
{
	bool minus = w->bytes && w->p[0] == '-';
	size_t i = minus;
	int64_t v = 0;

	for (; i < w->bytes && w->p[i] >= '0' && w->p[i] <= '9'; i++)
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_sub_overflow(v, w->p[i] - '0', &v))
			return false;
	if (i == (size_t)minus || (!minus && v == INT64_MIN))
		return false;
	*out = minus ? v : -v;
	w->p += i;
	w->bytes -= i;
	return true;
}

static bool number(struct word w, int64_t min, int64_t max, int64_t *out)
{
	return take_number(&w, out) && !w.bytes && *out >= min && *out <= max;
}

/* The number of a name, given at its first use. */
static uint32_t name_number(struct history *h, struct bmap *names, uint32_t next, struct word w, const char **fresh_out)
{
	uintptr_t n = (uintptr_t)bmap_find(names, w.p, w.bytes);

	*fresh_out = NULL;
	if (n)
		return (uint32_t)n - 1;
	*fresh_out = arena_strndup(&h->arena, w.p, w.bytes);
	bmap_put(names, w.p, w.bytes, (void *)(uintptr_t)(next + 1));
	return next;
}

static uint32_t key_number(struct history *h, struct word w)
{
	const char *fresh;
	uint32_t n = name_number(h, &h->key_names, (uint32_t)h->keys.count, w, &fresh);

	if (fresh) {
		struct key k = {.name = fresh, .longest = NONE, .compatible = true};

		VEC_PUSH(h->mem, &h->keys, k);
	}
	return n;
}

static uint32_t engine_number(struct history *h, struct word w)
{
	const char *fresh;
	uint32_t n = name_number(h, &h->engine_names, (uint32_t)h->engines.count, w, &fresh);

	if (fresh)
		VEC_PUSH(h->mem, &h->engines, fresh);
	return n;
}

/* -- operations ------------------------------------------------------------------------------------------------- */

/* "[1,2]" */
static bool take_list(struct line *l, struct word *w, struct op *o)
{
	struct history *h = l->h;

	o->list = (uint32_t)h->values.count;
	w->p++;
	w->bytes--;
	while (w->bytes && w->p[0] != ']') {
		int64_t v;

		if (o->count) {
			if (w->p[0] != ',')
				return false;
			w->p++;
			w->bytes--;
		}
		if (!take_number(w, &v))
			return false;
		VEC_PUSH(h->mem, &h->values, v);
		o->count++;
	}
	if (!w->bytes)
		return false;
	w->p++;
	w->bytes--;
	return true;
}

/* What comes behind the key. */
static bool take_action(struct line *l, struct word *w, struct op *o, bool *typed_out)
{
	char c = w->p[0];

	*typed_out = true;
	w->p++;
	w->bytes--;
	if (c == '=') {
		o->kind = OP_WRITE;
		return take_number(w, &o->value);
	}
	if (c == '+') {
		o->kind = OP_APPEND;
		if (!w->bytes || w->p[0] != '=')
			return false;
		w->p++;
		w->bytes--;
		return take_number(w, &o->value);
	}
	o->kind = OP_READ;
	o->known = w->bytes != 0;
	*typed_out = o->known;
	if (!o->known)
		return true;
	if (w->p[0] == '[') {
		o->kind = OP_READ_LIST;
		return take_list(l, w, o);
	}
	if (word_is(*w, "nil")) {
		o->nil = true;
		w->bytes = 0;
		return true;
	}
	return take_number(w, &o->value);
}

static enum status operation(struct line *l, struct word w, uint32_t txn, bool predicate, uint16_t statement)
{
	struct history *h = l->h;
	struct word whole = w, name = {w.p, 0};
	struct op o = {.txn = txn, .predicate = predicate, .statement = statement};
	bool typed, list;
	struct key *k;

	while (name.bytes < w.bytes && !strchr("=+?", w.p[name.bytes]))
		name.bytes++;
	if (!name.bytes || name.bytes == w.bytes)
		return bad(l, "no operation:", whole);
	w.p += name.bytes;
	w.bytes -= name.bytes;
	if (!take_action(l, &w, &o, &typed) || w.bytes)
		return bad(l, "no operation:", whole);
	o.key = key_number(h, name);
	k = &h->keys.at[o.key];
	list = o.kind == OP_APPEND || o.kind == OP_READ_LIST;
	if (typed && k->typed && k->list != list)
		return bad(l, "the key is both a list and a register:", whole);
	if (typed) {
		k->typed = true;
		k->list = list;
	}
	VEC_PUSH(h->mem, &h->ops, o);
	return ST_OK;
}

/* The rest of the line; the operations replace those that the transaction had. */
static enum status operations(struct line *l, uint32_t txn)
{
	struct history *h = l->h;
	struct txn *t = &h->txns.at[txn];
	uint32_t first = (uint32_t)h->ops.count;
	bool predicate = false;
	uint32_t statement = 0;
	struct word w;

	while (word(l, &w)) {
		enum status st;

		if (word_is(w, "|")) {
			if (++statement > UINT16_MAX - 1)
				return bad(l, "too many statements:", w);
			predicate = false;
		} else if (word_is(w, "*")) {
			predicate = true;
		} else if (w.p[0] == '@') {
			int64_t index;

			w.p++;
			w.bytes--;
			if (!number(w, 1, INT64_MAX, &index))
				return bad(l, "no commit index:", w);
			t->index = (uint64_t)index;
		} else if ((st = operation(l, w, txn, predicate, (uint16_t)statement)) != ST_OK) {
			return st;
		}
	}
	if (h->ops.count > first || t->type == TXN_OK) {
		t->op = first;
		t->op_count = (uint32_t)h->ops.count - first;
		t->statements = (uint16_t)(statement + 1);
	}
	return ST_OK;
}

/* -- lines -------------------------------------------------------------------------------------------------------- */

static bool level_of(struct word w, struct txn *t)
{
	struct word part = {w.p, 0};

	while (part.bytes < w.bytes && w.p[part.bytes] != ',')
		part.bytes++;
	if (!history_level_parse(part.p, part.bytes, &t->level))
		return false;
	while (part.p + part.bytes < w.p + w.bytes) {
		part.p += part.bytes + 1;
		part.bytes = 0;
		while (part.p + part.bytes < w.p + w.bytes && part.p[part.bytes] != ',')
			part.bytes++;
		if (word_is(part, "latest"))
			t->latest = true;
		else if (word_is(part, "final"))
			t->final = t->latest = true;
		else
			return false;
	}
	return true;
}

static enum status invoke(struct line *l, uint64_t time_us, uint32_t process)
{
	struct history *h = l->h;
	struct txn t = {.line = l->number, .process = process, .type = TXN_INFO, .invoke_us = time_us, .before = NONE,
			.statements = 1};
	uint32_t txn = (uint32_t)h->txns.count;
	uint32_t last = (uint32_t)(uintptr_t)map_find(l->open, process);
	struct word w;

	if (last && !h->txns.at[last - 1].ended)
		return bad(l, "the process has not ended its last transaction:", (struct word){"", 0});
	if (last && h->txns.at[last - 1].done_us > time_us)
		return bad(l, "the process begins before it ended its last transaction:", (struct word){"", 0});
	if (!word(l, &w))
		return bad(l, "no engine:", w);
	t.engine = engine_number(h, w);
	if (!word(l, &w) || !level_of(w, &t))
		return bad(l, "no level (rc, rr or ser, then latest, final):", w);
	if (h->options->level != HISTORY_AS_DECLARED)
		t.level = h->options->level;
	if (last)
		t.before = last - 1;
	VEC_PUSH(h->mem, &h->txns, t);
	map_put(l->open, process, (void *)(uintptr_t)(txn + 1));
	return operations(l, txn);
}

static enum status done(struct line *l, uint64_t time_us, uint32_t process, enum txn_type type)
{
	struct history *h = l->h;
	uint32_t txn = (uint32_t)(uintptr_t)map_find(l->open, process);
	struct txn *t = txn ? &h->txns.at[txn - 1] : NULL;

	if (!t || t->ended)
		return bad(l, "the process has begun no transaction:", (struct word){"", 0});
	if (time_us < t->invoke_us)
		return bad(l, "the transaction ends before it began:", (struct word){"", 0});
	t->ended = true;
	t->type = type;
	t->done_us = time_us;
	t->done_line = l->number;
	return operations(l, txn - 1);
}

static enum status line_parse(struct line *l)
{
	struct word w;
	int64_t time_us, process;

	if (!word(l, &w) || w.p[0] == '#')
		return ST_OK;
	if (!number(w, 0, INT64_MAX, &time_us))
		return bad(l, "no time in microseconds:", w);
	if (!word(l, &w) || !number(w, 0, UINT32_MAX - 1, &process))
		return bad(l, "no process:", w);
	if (!word(l, &w))
		return bad(l, "no event:", w);
	if (word_is(w, "invoke"))
		return invoke(l, (uint64_t)time_us, (uint32_t)process);
	if (word_is(w, "ok"))
		return done(l, (uint64_t)time_us, (uint32_t)process, TXN_OK);
	if (word_is(w, "fail"))
		return done(l, (uint64_t)time_us, (uint32_t)process, TXN_FAIL);
	if (word_is(w, "info"))
		return done(l, (uint64_t)time_us, (uint32_t)process, TXN_INFO);
	return bad(l, "no event (invoke, ok, fail or info):", w);
}

/* -- versions -------------------------------------------------------------------------------------------------- */

uint32_t history_version(const struct history *h, uint32_t key, int64_t value)
{
	return (uint32_t)(uintptr_t)map_find2(&h->by_value, key, (uint64_t)value) - 1;
}

static enum status written(struct line *l, uint32_t op)
{
	struct history *h = l->h;
	const struct op *o = &h->ops.at[op];
	struct key *k = &h->keys.at[o->key];
	struct txn *t = &h->txns.at[o->txn];
	struct version v = {.value = o->value, .key = o->key, .txn = o->txn, .op = op, .place = NONE, .next_own = NONE};
	uint32_t number = (uint32_t)h->versions.count, own = history_own_before(h, t, op);

	if (history_version(h, o->key, o->value) != NONE)
		return error_set(l->err, ST_DATA, "line %u of the history: %lld is written to %s a second time",
				 t->ended ? t->done_line : t->line, (long long)o->value, k->name);
	if (own != NONE)
		h->versions.at[own].next_own = number;
	VEC_PUSH(h->mem, &h->versions, v);
	VEC_PUSH(h->mem, &k->versions, number);
	map_put2(&h->by_value, o->key, (uint64_t)o->value, (void *)(uintptr_t)(number + 1));
	t->writes = true;
	return ST_OK;
}

uint32_t history_own_before(const struct history *h, const struct txn *t, uint32_t op)
{
	for (uint32_t i = op; i-- > t->op;)
		if (h->ops.at[i].key == h->ops.at[op].key && h->ops.at[i].kind <= OP_WRITE)
			return history_version(h, h->ops.at[i].key, h->ops.at[i].value);
	return NONE;
}

static enum status versions(struct line *l)
{
	struct history *h = l->h;

	for (uint32_t i = 0; i < h->txns.count; i++) {
		const struct txn *t = &h->txns.at[i];

		for (uint32_t k = t->op; k < t->op + t->op_count; k++) {
			enum status st = h->ops.at[k].kind <= OP_WRITE ? written(l, k) : ST_OK;

			if (st != ST_OK)
				return st;
		}
	}
	return ST_OK;
}

enum status history_parse(struct history *h, const char *text, size_t bytes, struct error *err)
{
	struct map open;
	struct line l = {.h = h, .open = &open, .err = err};
	const char *end = text + bytes;
	enum status st = ST_OK;

	map_init(&open, h->mem);
	for (const char *p = text; p < end && st == ST_OK; p = l.end + 1) {
		l.number++;
		l.p = p;
		l.end = memchr(p, '\n', (size_t)(end - p));
		if (!l.end)
			l.end = end;
		st = line_parse(&l);
	}
	if (st == ST_OK)
		st = versions(&l);
	map_fini(&open);
	return st;
}
