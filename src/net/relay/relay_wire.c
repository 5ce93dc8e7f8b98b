/*
 * relay_wire.c - encoding and decoding by the schemas of relay_wire.h (net/relay).
 */
#include "net/relay/relay_wire.h"

#include <string.h>

#define PUT_u8(b, m, name) put_u8(b, (m)->name)
#define PUT_u16(b, m, name) put_u16(b, (m)->name)
#define PUT_u32(b, m, name) put_u32(b, (m)->name)
#define PUT_u64(b, m, name) put_u64(b, (m)->name)
#define PUT_str(b, m, name) put_str(b, (m)->name)
#define PUT_b32(b, m, name) buf_put(b, (m)->name, sizeof(m)->name)
#define PUT_b256(b, m, name) buf_put(b, (m)->name, sizeof(m)->name)
#define GET_u8(r, m, name) (m)->name = get_u8(r)
#define GET_u16(r, m, name) (m)->name = get_u16(r)
#define GET_u32(r, m, name) (m)->name = get_u32(r)
#define GET_u64(r, m, name) (m)->name = get_u64(r)
#define GET_str(r, m, name) text_get(r, (m)->name)

#define GET_b32(r, m, name) raw_get(r, (m)->name, sizeof(m)->name)
#define GET_b256(r, m, name) raw_get(r, (m)->name, sizeof(m)->name)

static void raw_get(struct reader *r, uint8_t *out, size_t bytes)
{
	const uint8_t *p = get_raw(r, bytes);

	if (p)
		memcpy(out, p, bytes);
	else
		memset(out, 0, bytes);
}

static void text_get(struct reader *r, char out[RELAY_TEXT_MAX])
{
	size_t bytes;
	const uint8_t *p = get_bytes(r, &bytes);

	out[0] = '\0';
	if (!p || bytes >= RELAY_TEXT_MAX) {
		r->bad = true;
		return;
	}
	/* It ends up in log lines and in dials: nothing but printable characters. */
	for (size_t i = 0; i < bytes; i++)
		out[i] = p[i] >= ' ' && p[i] < 127 ? (char)p[i] : '?';
	out[bytes] = '\0';
}

#define PUT_FIELD(type, name) PUT_##type(b, m, name);
#define GET_FIELD(type, name) GET_##type(r, out, name);
#define DEFINE(x, type, fields, open)                                                             \
	void relay_##x##_encode(struct buf *b, const struct relay_##x *m)                         \
	{                                                                                         \
		put_u8(b, type);                                                                  \
		fields(PUT_FIELD)                                                                 \
	}                                                                                         \
	bool relay_##x##_decode(struct reader *r, struct relay_##x *out)                          \
	{                                                                                         \
		fields(GET_FIELD)                                                                 \
		return reader_ok(r) && ((open) || reader_left(r) == 0);                           \
	}
RELAY_SCHEMAS(DEFINE)

const char *relay_refusal_text(uint8_t reason)
{
	switch (reason) {
	case RELAY_REFUSE_VERSION:
		return "another protocol version";
	case RELAY_REFUSE_LOG_ID:
		return "another cluster's log";
	case RELAY_REFUSE_NOT_MEMBER:
		return "not a member";
	case RELAY_REFUSE_UNKNOWN:
		return "not known there yet";
	case RELAY_REFUSE_ILLEGAL:
		return "not a legal parent";
	case RELAY_REFUSE_FULL:
		return "has enough children";
	case RELAY_REFUSE_SELF:
		return "is this engine itself";
	case RELAY_REFUSE_DUPLICATE:
		return "has another link";
	case RELAY_REFUSE_SECRET:
		return "another secret";
	case RELAY_REFUSE_REPLAY:
		return "repeats an earlier greeting";
	default:
		return "refused for an unknown reason";
	}
}

const char *relay_refusal_advice(uint8_t reason)
{
	switch (reason) {
	case RELAY_REFUSE_VERSION:
		return "run the same version of valence everywhere";
	case RELAY_REFUSE_LOG_ID:
		return "it is of another cluster: look at --join and --data";
	case RELAY_REFUSE_SECRET:
		return "give every engine the same --secret-file, or none of them one";
	default:
		return "";
	}
}
