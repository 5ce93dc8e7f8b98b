/*
 * test_wire.c - the messages between relays (tests).
 */
#include "net/relay/relay_wire.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

void suite_net_wire(void);

static struct mem mem;
static struct buf b;

static struct reader fields(size_t bytes)
{
	return reader_init(b.data + 1, bytes - 1);
}

#define FILL_u8(name) m.name = 0xa1
#define FILL_u16(name) m.name = 0xb1b2
#define FILL_u32(name) m.name = 0xc1c2c3c4u
#define FILL_u64(name) m.name = UINT64_C(0xd1d2d3d4d5d6d7d8)
#define FILL_str(name) snprintf(m.name, sizeof m.name, "host-1.example:4711")
#define FILL_b32(name) memset(m.name, 0xe1, sizeof m.name)
#define FILL_b256(name) memset(m.name, 0xe2, sizeof m.name)
#define FILL(type, name) FILL_##type(name);

/*
 * Encodes, decodes, and compares by encoding again; every shorter message is refused, a longer one
 * unless it may be.
 */
#define ROUND_TRIP(x, type, schema, open)                                                         \
	static void round_trip_##x(void)                                                          \
	{                                                                                         \
		struct relay_##x m, out;                                                          \
		struct reader r;                                                                  \
		struct buf again;                                                                 \
                                                                                                  \
		memset(&m, 0, sizeof m);                                                          \
		schema(FILL) buf_reset(&b);                                                       \
		relay_##x##_encode(&b, &m);                                                       \
		CU_ASSERT_EQUAL(b.data[0], type);                                                 \
		r = fields(b.size);                                                               \
		CU_ASSERT(relay_##x##_decode(&r, &out));                                          \
		buf_init(&again, &mem);                                                           \
		relay_##x##_encode(&again, &out);                                                 \
		CU_ASSERT(again.size == b.size && memcmp(again.data, b.data, b.size) == 0);       \
		buf_fini(&again);                                                                 \
		for (size_t n = 1; n < b.size; n++) {                                             \
			r = fields(n);                                                            \
			CU_ASSERT_FALSE(relay_##x##_decode(&r, &out));                            \
		}                                                                                 \
		put_u8(&b, 0);                                                                    \
		r = fields(b.size);                                                               \
		CU_ASSERT_EQUAL(relay_##x##_decode(&r, &out), open);                              \
	}
RELAY_SCHEMAS(ROUND_TRIP)

/* Every message survives the way, and none that is cut or has something behind it is taken. */
static void test_wire_round_trip(void)
{
	mem_init(&mem, NULL, "wire", 0);
	buf_init(&b, &mem);
#define CALL(x, type, schema, open) round_trip_##x();
	RELAY_SCHEMAS(CALL)
	buf_fini(&b);
	mem_fini(&mem);
}

/* A text is bounded, and what is not printable in it does not reach a log line. */
static void test_wire_text(void)
{
	struct relay_refuse m, out;
	struct reader r;
	char longer[RELAY_TEXT_MAX + 1];

	mem_init(&mem, NULL, "wire", 0);
	buf_init(&b, &mem);
	memset(&m, 0, sizeof m);
	snprintf(m.text, sizeof m.text, "a\nb\033[1m\377");
	relay_refuse_encode(&b, &m);
	r = fields(b.size);
	CU_ASSERT(relay_refuse_decode(&r, &out));
	CU_ASSERT_STRING_EQUAL(out.text, "a?b?[1m?");
	buf_reset(&b);
	memset(longer, 'x', sizeof longer);
	put_u8(&b, RELAY_REFUSE);
	put_u8(&b, 1);
	put_bytes(&b, longer, RELAY_TEXT_MAX);
	r = fields(b.size);
	CU_ASSERT_FALSE(relay_refuse_decode(&r, &out));
	buf_fini(&b);
	mem_fini(&mem);
}

/*
 * The numbers of a hello have their places for ever: another version must be able to say that it is
 * one.
 */
static void test_wire_hello_layout(void)
{
	struct relay_hello m = {.magic = RELAY_MAGIC, .version = 0x0102, .role = 3};

	mem_init(&mem, NULL, "wire", 0);
	buf_init(&b, &mem);
	relay_hello_encode(&b, &m);
	CU_ASSERT_EQUAL(memcmp(b.data, "\x01lvvl\x02\x01\x03", 8), 0);
	buf_fini(&b);
	mem_fini(&mem);
}

void suite_net_wire(void)
{
	CU_pSuite s = CU_add_suite("net_wire", NULL, NULL);

	CU_add_test(s, "round trip", test_wire_round_trip);
	CU_add_test(s, "text", test_wire_text);
	CU_add_test(s, "hello", test_wire_hello_layout);
}
