/*
 * mem.c - memory accounts and arenas (base).
 *
 * An account is charged together with all its ancestors, so each sums its subtree. Three strengths:
 * mem_try_alloc honours every limit up to the root; mem_alloc and mem_realloc honour the account's own
 * (crossing it is a bug) but not an ancestor's, because data that fills an engine's memory must not
 * make the next internal allocation kill it; arenas are charged past any limit, because the executor
 * checks between vectors (S18).
 *
 * Accounts have no locks: a tree of accounts belongs to one thread.
 */
#include "base/mem.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/poison.h"

/* No object may be larger: keeps every sum of sizes below from wrapping. */
#define MEM_BYTES_MAX ((size_t)1 << 46)

static _Thread_local uint64_t fail_after;

void mem_fail_after(uint64_t n)
{
	fail_after = n;
}

void mem_init(struct mem *m, struct mem *parent, const char *name, size_t limit_bytes)
{
	memset(m, 0, sizeof *m);
	m->parent = parent;
	m->name = name;
	m->limit_bytes = limit_bytes;
}

void mem_fini(struct mem *m)
{
	if (m->used_bytes != 0)
		fprintf(stderr, "valence: memory account \"%s\" is not empty\n", m->name);
	ASSERT_OP(m->used_bytes, ==, 0);
}

static bool has_room(const struct mem *m, size_t bytes)
{
	return m->limit_bytes == 0 ||
	       (m->used_bytes <= m->limit_bytes && bytes <= m->limit_bytes - m->used_bytes);
}

static void charge(struct mem *m, size_t bytes)
{
	for (; m; m = m->parent) {
		m->used_bytes += bytes;
		if (m->used_bytes > m->peak_bytes)
			m->peak_bytes = m->used_bytes;
	}
}

static void uncharge(struct mem *m, size_t bytes)
{
	for (; m; m = m->parent) {
		ASSERT_OP(m->used_bytes, >=, bytes);
		m->used_bytes -= bytes;
	}
}

static void die(const struct mem *m, size_t bytes, const char *why) __attribute__((noreturn, cold));

static void die(const struct mem *m, size_t bytes, const char *why)
{
	fprintf(stderr,
		"valence: %zu bytes of memory for \"%s\": %s (%zu in use, limit %zu)\n", bytes, m->name,
		why, m->used_bytes, m->limit_bytes);
	assert_fail(__FILE__, __LINE__, why);
}

static void check_own(const struct mem *m, size_t bytes)
{
	ASSERT(m != NULL);
	if (bytes > MEM_BYTES_MAX)
		die(m, bytes, "size out of range");
	if (!has_room(m, bytes))
		die(m, bytes, "over the account's limit");
}

static void *must_charge(struct mem *m, void *p, size_t bytes)
{
	if (!p)
		die(m, bytes, "the system has none");
	charge(m, bytes);
	return p;
}

void *mem_alloc(struct mem *m, size_t bytes)
{
	check_own(m, bytes);
	return must_charge(m, calloc(1, bytes ? bytes : 1), bytes);
}

void *mem_alloc_raw(struct mem *m, size_t bytes)
{
	check_own(m, bytes);
	return must_charge(m, malloc(bytes ? bytes : 1), bytes);
}

static bool may_try(const struct mem *m, size_t bytes)
{
	ASSERT(m != NULL);
	if (fail_after != 0 && --fail_after == 0)
		return false;
	if (bytes > MEM_BYTES_MAX)
		return false;
	for (; m; m = m->parent)
		if (!has_room(m, bytes))
			return false;
	return true;
}

void *mem_try_alloc(struct mem *m, size_t bytes)
{
	void *p = may_try(m, bytes) ? calloc(1, bytes ? bytes : 1) : NULL;

	if (p)
		charge(m, bytes);
	return p;
}

void *mem_try_alloc_raw(struct mem *m, size_t bytes)
{
	void *p = may_try(m, bytes) ? malloc(bytes ? bytes : 1) : NULL;

	if (p)
		charge(m, bytes);
	return p;
}

void *mem_realloc(struct mem *m, void *p, size_t old_bytes, size_t new_bytes)
{
	char *q;

	if (!p) {
		ASSERT_OP(old_bytes, ==, 0);
		return mem_alloc(m, new_bytes);
	}
	if (new_bytes > old_bytes)
		check_own(m, new_bytes - old_bytes);
	if (new_bytes > MEM_BYTES_MAX)
		die(m, new_bytes, "size out of range");
	q = realloc(p, new_bytes ? new_bytes : 1);
	if (!q)
		die(m, new_bytes, "the system has none");
	if (new_bytes > old_bytes) {
		memset(q + old_bytes, 0, new_bytes - old_bytes);
		charge(m, new_bytes - old_bytes);
	} else {
		uncharge(m, old_bytes - new_bytes);
	}
	return q;
}

void mem_free(struct mem *m, void *p, size_t bytes)
{
	if (!p)
		return;
	uncharge(m, bytes);
	free(p);
}

/* Arenas */

#define BLOCK_MIN_BYTES ((size_t)4 << 10)
#define BLOCK_MAX_BYTES ((size_t)256 << 10)

struct arena_block {
	struct arena_block *below; /* the one filled before this one */
	size_t size_bytes;         /* with this head */
	size_t at;                 /* offset of the first free byte */
	size_t pad;
};

_Static_assert(sizeof(struct arena_block) % 16 == 0, "allocations start aligned");

/* Offset of a block's first allocation: before and after each is a redzone, where there are any. */
#define BLOCK_FIRST (sizeof(struct arena_block) + REDZONE_BYTES)

static struct arena_block *block_new(struct arena *a, size_t size_bytes)
{
	struct arena_block *b = malloc(size_bytes);

	if (!b)
		die(a->mem, size_bytes, "the system has none");
	charge(a->mem, size_bytes);
	b->size_bytes = size_bytes;
	b->at = BLOCK_FIRST;
	POISON(b + 1, size_bytes - sizeof *b);
	return b;
}

static void block_free(struct arena *a, struct arena_block *b)
{
	UNPOISON(b, b->size_bytes);
	uncharge(a->mem, b->size_bytes);
	free(b);
}

static void block_cut(struct arena_block *b, size_t at)
{
	ASSERT_OP(at, >=, BLOCK_FIRST);
	ASSERT_OP(at, <=, b->at);
	b->at = at;
	POISON((char *)b + at, b->size_bytes - at);
}

void arena_init(struct arena *a, struct mem *mem)
{
	ASSERT(mem != NULL);
	a->mem = mem;
	a->head = NULL;
	a->used_bytes = 0;
}

void arena_fini(struct arena *a)
{
	while (a->head) {
		struct arena_block *b = a->head;

		a->head = b->below;
		block_free(a, b);
	}
	a->used_bytes = 0;
}

void arena_reset(struct arena *a)
{
	struct arena_block *keep = NULL;

	/* the largest of the usual sizes: a statement that ran once probably runs again */
	while (a->head) {
		struct arena_block *b = a->head;

		a->head = b->below;
		if (b->size_bytes <= BLOCK_MAX_BYTES && (!keep || b->size_bytes > keep->size_bytes)) {
			if (keep)
				block_free(a, keep);
			keep = b;
		} else {
			block_free(a, b);
		}
	}
	if (keep) {
#ifdef VALENCE_ASAN
		/* not the same memory: what the next statement writes must not bring a stale pointer to life */
		struct arena_block *fresh = block_new(a, keep->size_bytes);

		block_free(a, keep);
		keep = fresh;
#endif
		block_cut(keep, BLOCK_FIRST);
		keep->below = NULL;
		a->head = keep;
	}
	a->used_bytes = 0;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
	struct arena_block *b = a->head;
	size_t room; /* with the redzone behind it */
	char *p;

	if (bytes > MEM_BYTES_MAX)
		die(a->mem, bytes, "size out of range");
	room = (((bytes ? bytes : 1) + 15) & ~(size_t)15) + REDZONE_BYTES;
	if (!b || b->size_bytes - b->at < room) {
		size_t size = b ? b->size_bytes * 2 : BLOCK_MIN_BYTES;

		if (size > BLOCK_MAX_BYTES)
			size = BLOCK_MAX_BYTES;
		if (size < BLOCK_FIRST + room)
			size = BLOCK_FIRST + room;
		b = block_new(a, size);
		b->below = a->head;
		a->head = b;
	}
	p = (char *)b + b->at;
	b->at += room;
	a->used_bytes += room;
	UNPOISON(p, bytes ? bytes : 1);
	return memset(p, 0, bytes ? bytes : 1);
}

void *arena_dup(struct arena *a, const void *p, size_t bytes)
{
	void *q = arena_alloc(a, bytes);

	if (bytes > 0)
		memcpy(q, p, bytes);
	return q;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_dup(a, s, strlen(s) + 1);
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *q = arena_alloc(a, len + 1);

	memcpy(q, s, len);
	return q;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *q;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	ASSERT(n >= 0);
	q = arena_alloc(a, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(q, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return q;
}

struct arena_mark arena_mark(const struct arena *a)
{
	struct arena_mark m = {a->head, a->head ? a->head->at : 0, a->used_bytes};

	return m;
}

void arena_rewind(struct arena *a, struct arena_mark m)
{
	while (a->head != m.block) {
		struct arena_block *b = a->head;

		ASSERT(b != NULL); /* the mark is of another arena, or older than a reset */
		a->head = b->below;
		block_free(a, b);
	}
	if (a->head)
		block_cut(a->head, m.at);
	ASSERT_OP(a->used_bytes, >=, m.used_bytes);
	a->used_bytes = m.used_bytes;
}
