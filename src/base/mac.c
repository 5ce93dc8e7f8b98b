/*
 * mac.c - HMAC-SHA-256 (base). See mac.h.
 */
#include "base/mac.h"

#include <limits.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/assert.h"

enum status mac_make(const void *key, size_t key_bytes, const void *data, size_t bytes, uint8_t out[MAC_BYTES])
{
	uint8_t made[EVP_MAX_MD_SIZE];
	unsigned made_bytes = 0;

	ASSERT_OP(key_bytes, <=, INT_MAX);
	if (!HMAC(EVP_sha256(), key, (int)key_bytes, data, bytes, made, &made_bytes))
		return ST_INTERNAL;
	ASSERT_OP(made_bytes, ==, MAC_BYTES);
	for (size_t i = 0; i < MAC_BYTES; i++)
		out[i] = made[i];
	return ST_OK;
}

bool mac_equal(const uint8_t a[MAC_BYTES], const uint8_t b[MAC_BYTES])
{
	return CRYPTO_memcmp(a, b, MAC_BYTES) == 0;
}

void mac_forget(void *p, size_t bytes)
{
	OPENSSL_cleanse(p, bytes);
}
