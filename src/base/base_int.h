/*
 * base_int.h - what only base and its tests see (base).
 */
#ifndef VALENCE_BASE_BASE_INT_H
#define VALENCE_BASE_BASE_INT_H

#include <stdint.h>

/* crc32c() without the processor's instruction; the test compares the two. */
uint32_t crc32c_portable(uint32_t crc, const void *p, uint64_t bytes);

#endif
