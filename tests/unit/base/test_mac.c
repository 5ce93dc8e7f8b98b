/*
 * test_mac.c - message authentication codes and unguessable bytes (tests).
 */
#include "base/mac.h"

#include <CUnit/CUnit.h>
#include <string.h>

#include "base/env.h"

void suite_base_mac(void);

static void expect(const void *key, size_t key_bytes, const char *data, const char *hex)
{
	uint8_t mac[MAC_BYTES];
	char text[2 * MAC_BYTES + 1];

	CU_ASSERT_EQUAL_FATAL(mac_make(key, key_bytes, data, strlen(data), mac), ST_OK);
	for (int i = 0; i < MAC_BYTES; i++) {
		text[2 * i] = "0123456789abcdef"[mac[i] >> 4];
		text[2 * i + 1] = "0123456789abcdef"[mac[i] & 15];
	}
	text[2 * MAC_BYTES] = '\0';
	CU_ASSERT_STRING_EQUAL(text, hex);
}

/* The codes are those of RFC 4231, test cases 1, 2 and 6 (a key longer than a block). */
static void test_mac_known(void)
{
	uint8_t key[131];

	memset(key, 0x0b, 20);
	expect(key, 20, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	expect("Jefe", 4, "what do ya want for nothing?",
	       "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof key);
	expect(key, sizeof key, "Test Using Larger Than Block-Size Key - Hash Key First",
	       "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

/* Codes are equal when all their bytes are, wherever they differ. */
static void test_mac_equal(void)
{
	uint8_t a[MAC_BYTES], b[MAC_BYTES];

	memset(a, 7, sizeof a);
	memset(b, 7, sizeof b);
	CU_ASSERT(mac_equal(a, b));
	for (int i = 0; i < MAC_BYTES * 8; i++) {
		b[i / 8] ^= (uint8_t)(1 << i % 8);
		CU_ASSERT_FALSE(mac_equal(a, b));
		b[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	mac_forget(a, sizeof a);
	for (int i = 0; i < MAC_BYTES; i++)
		CU_ASSERT_EQUAL(a[i], 0);
}

/* The system's bytes differ from call to call, whatever the length; an rng's are those of its seed. */
static void test_mac_entropy(void)
{
	struct entropy sys = entropy_system(), sim;
	uint8_t a[1000] = {0}, b[1000] = {0};
	struct rng rng;

	entropy_fill(&sys, a, sizeof a);
	entropy_fill(&sys, b, sizeof b);
	for (size_t i = 0; i + 16 <= sizeof a; i += 16)
		CU_ASSERT_NOT_EQUAL(memcmp(a + i, b + i, 16), 0);
	memset(a, 0, sizeof a);
	entropy_fill(&sys, a, 3);
	CU_ASSERT_EQUAL(a[3], 0);
	for (int i = 0; i < 2; i++) {
		rng_init(&rng, 5);
		sim = entropy_rng(&rng);
		entropy_fill(&sim, i ? b : a, 37);
	}
	CU_ASSERT_EQUAL(memcmp(a, b, 37), 0);
	entropy_fill(&sim, b, 37);
	CU_ASSERT_NOT_EQUAL(memcmp(a, b, 37), 0);
}

void suite_base_mac(void)
{
	CU_pSuite s = CU_add_suite("base_mac", NULL, NULL);

	CU_add_test(s, "known", test_mac_known);
	CU_add_test(s, "equal", test_mac_equal);
	CU_add_test(s, "entropy", test_mac_entropy);
}
