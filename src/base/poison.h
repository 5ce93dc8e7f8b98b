/*
 * poison.h - memory that is ours but out of use, told to AddressSanitizer (base).
 *
 * What an allocator of ours hands out again by itself (arenas, slabs, rings, buffers, pools) looks alive to the
 * sanitizer all the time. So whoever takes memory back poisons it, and unpoisons it before it is handed out again: a
 * pointer that outlived its object is then found at its first use. Nothing in other builds.
 */
#ifndef VALENCE_BASE_POISON_H
#define VALENCE_BASE_POISON_H

#if defined(__SANITIZE_ADDRESS__)
#define VALENCE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VALENCE_ASAN 1
#endif
#endif

#ifdef VALENCE_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, bytes) ASAN_POISON_MEMORY_REGION((p), (bytes))
#define UNPOISON(p, bytes) ASAN_UNPOISON_MEMORY_REGION((p), (bytes))
#define REDZONE_BYTES ((size_t)32) /* poisoned, between neighbours; a multiple of 16 */
#else
#define POISON(p, bytes) ((void)(p), (void)(bytes))
#define UNPOISON(p, bytes) ((void)(p), (void)(bytes))
#define REDZONE_BYTES ((size_t)0)
#endif

#endif
