/*
 * test_buf.c - buffers and readers.
 */
#include "base/buf.h"

#include <CUnit/CUnit.h>
#include <stdlib.h>

#include "../unit.h"
#include "base/poison.h"

static struct mem account;

/* What was put comes back in order, in both byte orders, and nothing is left over. */
static void test_buf_round_trip(void)
{
	struct buf b;
	struct reader r;
	const uint8_t *p;
	size_t n;

	buf_init(&b, &account);
	put_u8(&b, 0xfe);
	put_u16(&b, 0x1234);
	put_u32(&b, 0xdeadbeef);
	put_u64(&b, UINT64_C(0x0123456789abcdef));
	be_put_u16(&b, 0x1234);
	be_put_u32(&b, 0xdeadbeef);
	be_put_u64(&b, UINT64_C(0x0123456789abcdef));
	put_bytes(&b, "a\0b", 3);
	put_str(&b, "");
	buf_put(&b, "text", 5);
	CU_ASSERT_EQUAL(b.data[1], 0x34); /* little-endian */
	CU_ASSERT_EQUAL(b.data[15], 0x12); /* big-endian */
	r = reader_init(b.data, b.size);
	CU_ASSERT_EQUAL(get_u8(&r), 0xfe);
	CU_ASSERT_EQUAL(get_u16(&r), 0x1234);
	CU_ASSERT_EQUAL(get_u32(&r), 0xdeadbeef);
	CU_ASSERT_EQUAL(get_u64(&r), UINT64_C(0x0123456789abcdef));
	CU_ASSERT_EQUAL(be_get_u16(&r), 0x1234);
	CU_ASSERT_EQUAL(be_get_u32(&r), 0xdeadbeef);
	CU_ASSERT_EQUAL(be_get_u64(&r), UINT64_C(0x0123456789abcdef));
	p = get_bytes(&r, &n);
	CU_ASSERT_EQUAL(n, 3);
	CU_ASSERT(p && memcmp(p, "a\0b", 3) == 0);
	p = get_bytes(&r, &n);
	CU_ASSERT(p != NULL && n == 0 && reader_ok(&r));
	CU_ASSERT_STRING_EQUAL(get_cstr(&r), "text");
	CU_ASSERT(reader_ok(&r));
	CU_ASSERT_EQUAL(reader_left(&r), 0);
	buf_fini(&b);
	CU_ASSERT_EQUAL(account.used_bytes, 0);
}

/* A reader asked for more than it has turns bad, returns zeros and stays bad, at every length. */
static void test_buf_reader_stops_at_end(void)
{
	for (size_t have = 0; have < 8; have++) {
		/* of the exact size, so that a byte read too far is seen by the sanitizer */
		uint8_t *src = malloc(have ? have : 1);
		struct reader r = reader_init(src, have);

		memset(src, 0xff, have ? have : 1);
		CU_ASSERT_EQUAL(get_u64(&r), 0);
		CU_ASSERT(!reader_ok(&r));
		CU_ASSERT_EQUAL(get_u8(&r), 0);
		CU_ASSERT(!reader_ok(&r));
		free(src);
	}
}

/* Every number comes back from its varint, in the fewest bytes; a shortened one is bad. */
static void test_buf_varint(void)
{
	for (int bit = 0; bit <= 64; bit++)
		for (int off = -1; off <= 1; off++) {
			uint64_t v = (bit < 64 ? UINT64_C(1) << bit : 0) + (uint64_t)(int64_t)off;
			size_t want = 1;
			struct buf b;
			struct reader r;

			for (uint64_t rest = v >> 7; rest; rest >>= 7)
				want++;
			buf_init(&b, &account);
			put_varint(&b, v);
			CU_ASSERT_EQUAL(b.size, want);
			r = reader_init(b.data, b.size);
			CU_ASSERT_EQUAL(get_varint(&r), v);
			CU_ASSERT(reader_ok(&r) && reader_left(&r) == 0);
			r = reader_init(b.data, b.size - 1);
			CU_ASSERT_EQUAL(get_varint(&r), 0);
			CU_ASSERT(!reader_ok(&r));
			buf_fini(&b);
		}
}

/* A varint over 64 bits or longer than it need be is bad: one value has one encoding. */
static void test_buf_varint_refuses_other_forms(void)
{
	static const struct {
		uint8_t bytes[11];
		size_t n;
	} bad[] = {
		{{0x80, 0x00}, 2},
		{{0x81, 0x80, 0x00}, 3},
		{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, 10},
		{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0x00}, 11},
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct reader r = reader_init(bad[i].bytes, bad[i].n);

		CU_ASSERT_EQUAL(get_varint(&r), 0);
		CU_ASSERT(!reader_ok(&r));
	}
}

/* A length larger than what follows, even one that would wrap, is bad and lends nothing. */
static void test_buf_bytes_refuse_long_length(void)
{
	static const uint64_t lengths[] = {4, 1000, SIZE_MAX - 1, UINT64_MAX};

	for (size_t i = 0; i < 4; i++) {
		struct buf b;
		struct reader r;
		size_t n = 99;

		buf_init(&b, &account);
		put_varint(&b, lengths[i]);
		buf_put(&b, "abc", 3);
		r = reader_init(b.data, b.size);
		CU_ASSERT_PTR_NULL(get_bytes(&r, &n));
		CU_ASSERT_EQUAL(n, 0);
		CU_ASSERT(!reader_ok(&r));
		buf_fini(&b);
	}
}

/* A string without its NUL is bad; with one, what follows is untouched. */
static void test_buf_cstr(void)
{
	struct reader r = reader_init("ab\0cd", 5);

	CU_ASSERT_STRING_EQUAL(get_cstr(&r), "ab");
	CU_ASSERT_PTR_NULL(get_cstr(&r));
	CU_ASSERT(!reader_ok(&r));
	r = reader_init("", 0);
	CU_ASSERT_PTR_NULL(get_cstr(&r));
	CU_ASSERT(!reader_ok(&r));
}

/* Consuming drops from the front and keeps the rest; truncating drops from the end; printf appends. */
static void test_buf_consume_truncate_printf(void)
{
	char long_text[500];
	struct buf b;

	memset(long_text, 'y', sizeof long_text - 1);
	long_text[sizeof long_text - 1] = '\0';
	buf_init(&b, &account);
	buf_printf(&b, "%s-%d", "one", 2);
	buf_consume(&b, 4);
	CU_ASSERT(b.size == 1 && b.data[0] == '2');
	buf_printf(&b, "%s", long_text);
	CU_ASSERT_EQUAL(b.size, 500);
	CU_ASSERT(memcmp(b.data + 1, long_text, 499) == 0);
	buf_truncate(&b, 3);
	CU_ASSERT(b.size == 3 && memcmp(b.data, "2yy", 3) == 0);
	buf_consume(&b, 3);
	CU_ASSERT_EQUAL(b.size, 0);
	buf_fini(&b);
	CU_ASSERT_EQUAL(account.used_bytes, 0);
}

static int buf_suite_init(void)
{
	mem_init(&account, NULL, "test_buf", 0);
	return 0;
}

#ifdef VALENCE_ASAN
static void check_end(const struct buf *b)
{
	CU_ASSERT_PTR_NULL(__asan_region_is_poisoned(b->data, b->size));
	for (size_t i = b->size; i < b->cap; i++)
		CU_ASSERT(__asan_address_is_poisoned(b->data + i));
}

/* The sanitizer sees who reads what was dropped, or writes past the end without having asked for room. */
static void test_buf_poisons_behind_its_end(void)
{
	struct buf b;

	buf_init(&b, &account);
	for (int i = 0; i < 100; i++) {
		put_u8(&b, 1);
		check_end(&b);
	}
	buf_printf(&b, "%d", 12345);
	check_end(&b);
	buf_consume(&b, 51);
	check_end(&b);
	buf_truncate(&b, 3);
	check_end(&b);
	buf_reserve(&b, 20);
	CU_ASSERT_PTR_NULL(__asan_region_is_poisoned(b.data, b.size + 20));
	buf_reset(&b);
	check_end(&b);
	buf_fini(&b);
}
#endif

void suite_base_buf(void)
{
	CU_pSuite s = CU_add_suite("base_buf", buf_suite_init, NULL);

	CU_add_test(s, "round_trip", test_buf_round_trip);
	CU_add_test(s, "reader_stops_at_end", test_buf_reader_stops_at_end);
	CU_add_test(s, "varint", test_buf_varint);
	CU_add_test(s, "varint_refuses_other_forms", test_buf_varint_refuses_other_forms);
	CU_add_test(s, "bytes_refuse_long_length", test_buf_bytes_refuse_long_length);
	CU_add_test(s, "cstr", test_buf_cstr);
	CU_add_test(s, "consume_truncate_printf", test_buf_consume_truncate_printf);
#ifdef VALENCE_ASAN
	CU_add_test(s, "poisons_behind_its_end", test_buf_poisons_behind_its_end);
#endif
}
