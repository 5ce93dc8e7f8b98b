/*
 * mac.h - proof that a message comes from who knows a secret: HMAC-SHA-256 (base).
 *
 * A thin cover of OpenSSL's, which mac.c alone includes. Source: RFC 2104, FIPS 198-1.
 */
#ifndef VALENCE_BASE_MAC_H
#define VALENCE_BASE_MAC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define MAC_BYTES 32

/*
 * The code of @bytes at @data under the key. Errors: ST_INTERNAL the library refuses (out of memory, or a key too short
 * for its policy); @out is then not set.
 */
MUST_CHECK enum status mac_make(const void *key, size_t key_bytes, const void *data, size_t bytes, uint8_t out[MAC_BYTES]);
/* In a time that does not depend on where they differ. */
bool mac_equal(const uint8_t a[MAC_BYTES], const uint8_t b[MAC_BYTES]);
/* Overwrites, also where a compiler thinks that nobody looks. */
void mac_forget(void *p, size_t bytes);

#endif
