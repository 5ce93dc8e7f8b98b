/*
 * net.c - counted messages (net). See net.h.
 */
#include "net/net.h"

#include "base/assert.h"

struct net_msg *net_msg_new(struct mem *mem, uint32_t bytes)
{
	ASSERT_OP(bytes, <=, NET_MESSAGE_MAX);

	struct net_msg *m = mem_alloc_raw(mem, sizeof *m + bytes);

	m->mem = mem;
	m->refs = 1;
	m->bytes = bytes;
	return m;
}

struct net_msg *net_msg_ref(struct net_msg *m)
{
	ASSERT_OP(m->refs, >, 0);
	m->refs++;
	return m;
}

void net_msg_unref(struct net_msg *m)
{
	ASSERT_OP(m->refs, >, 0);
	if (--m->refs == 0)
		mem_free(m->mem, m, sizeof *m + m->bytes);
}
