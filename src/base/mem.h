/*
 * mem.h - memory accounts and arenas (base).
 *
 * Every allocation belongs to an account; accounts form a tree that sums to the engine's --memory
 * (S18). An account over its limit makes mem_try_* return NULL; mem_* of internal structures aborts
 * instead (a limit there is a bug). Sizes are passed back on free, so no header is kept.
 * mem_alloc and mem_realloc look at the account's own limit only, arenas at none: see mem.c. A tree of
 * accounts belongs to one thread.
 */
#ifndef VALENCE_BASE_MEM_H
#define VALENCE_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

struct mem {
	struct mem *parent;  /* NULL: the root */
	const char *name;
	size_t used_bytes, peak_bytes, limit_bytes; /* limit 0: none of its own */
};

void mem_init(struct mem *m, struct mem *parent, const char *name, size_t limit_bytes);
void mem_fini(struct mem *m); /* asserts that used_bytes is 0 */

void *mem_alloc(struct mem *m, size_t bytes);      /* zeroed; aborts when there is none */
void *mem_try_alloc(struct mem *m, size_t bytes);  /* zeroed; NULL when over a limit or none */
/* As those two, not zeroed: for large ones that are written whole. */
void *mem_alloc_raw(struct mem *m, size_t bytes);
void *mem_try_alloc_raw(struct mem *m, size_t bytes);
void *mem_realloc(struct mem *m, void *p, size_t old_bytes, size_t new_bytes); /* growth zeroed; aborts */
void mem_free(struct mem *m, void *p, size_t bytes); /* p may be NULL */
/* Fault injection for tests: the n-th following mem_try_alloc fails; 0 off. */
void mem_fail_after(uint64_t n);

#define MEM_NEW(m, type) ((type *)mem_alloc((m), sizeof(type)))
#define MEM_FREE(m, p) mem_free((m), (p), sizeof(*(p)))

/*
 * An arena: bump allocation by lifetime (session, transaction, statement). Memory is returned by reset
 * or fini only. Blocks double from 4 KiB to 256 KiB. Allocations are 16-byte aligned and zeroed.
 * Built with AddressSanitizer there is a redzone between them, and what was taken back is poisoned.
 */
struct arena_block;
struct arena {
	struct mem *mem;
	struct arena_block *head;
	size_t used_bytes;  /* handed out since the last reset */
};
struct arena_mark { struct arena_block *block; size_t at, used_bytes; };

void arena_init(struct arena *a, struct mem *mem);
void arena_fini(struct arena *a);
void arena_reset(struct arena *a); /* keeps one block */
void *arena_alloc(struct arena *a, size_t bytes);      /* never NULL: aborts (SQL checks arena->mem limits between vectors) */
void *arena_dup(struct arena *a, const void *p, size_t bytes);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct arena_mark arena_mark(const struct arena *a);
void arena_rewind(struct arena *a, struct arena_mark m); /* frees what came after the mark */

#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_NEW_N(a, type, n) ((type *)arena_alloc((a), sizeof(type) * (size_t)(n)))

#endif
