/*
 * list.h - intrusive doubly linked circular lists, and growable arrays (base).
 */
#ifndef VALENCE_BASE_LIST_H
#define VALENCE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

struct list { struct list *next, *prev; };

#define CONTAINER_OF(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))
#define LIST_FOREACH(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
#define LIST_FOREACH_SAFE(it, tmp, head) \
	for (struct list *it = (head)->next, *tmp = it->next; it != (head); it = tmp, tmp = it->next)

static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }
static inline void list_insert_before(struct list *at, struct list *n)
{
	n->prev = at->prev;
	n->next = at;
	at->prev->next = n;
	at->prev = n;
}
static inline void list_push_back(struct list *head, struct list *n) { list_insert_before(head, n); }
static inline void list_push_front(struct list *head, struct list *n) { list_insert_before(head->next, n); }
static inline void list_remove(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}
static inline struct list *list_first(struct list *head) { return list_empty(head) ? NULL : head->next; }

/* A growable array of T in caller's storage: struct { T *at; size_t count, cap; } */
#define VEC(T) struct { T *at; size_t count, cap; }
#define VEC_PUSH(mem, v, item)                                                                     \
	do {                                                                                       \
		if ((v)->count == (v)->cap) {                                                      \
			size_t cap_ = (v)->cap ? (v)->cap * 2 : 8;                                 \
			(v)->at = mem_realloc((mem), (v)->at, (v)->cap * sizeof *(v)->at,          \
					      cap_ * sizeof *(v)->at);                             \
			(v)->cap = cap_;                                                           \
		}                                                                                  \
		(v)->at[(v)->count++] = (item);                                                    \
	} while (0)
#define VEC_FINI(mem, v)                                                                           \
	do {                                                                                       \
		mem_free((mem), (v)->at, (v)->cap * sizeof *(v)->at);                              \
		(v)->at = NULL;                                                                    \
		(v)->count = (v)->cap = 0;                                                         \
	} while (0)

#endif
