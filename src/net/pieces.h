/*
 * pieces.h - a link's messages as one stream of bytes, cut in pieces (net).
 *
 * What back ends over a library share. Each message is a head of 8 bytes and the data, padded to 8, so a
 * head is never cut in two. A piece is one operation of the library (net_caps.message_max, a multiple of
 * 8): small messages that wait together share one, the middle of a large one may go without a copy.
 */
#ifndef VALENCE_NET_PIECES_H
#define VALENCE_NET_PIECES_H

#include "base/list.h"
#include "net/net.h"

/* Out: what waits to be given to the library. Keeps link->backlog_bytes. */
struct net_out {
	struct net_link *link;
	struct mem *mem;
	struct list queue;
	uint32_t piece_bytes;
	bool was_over;
};

void net_out_init(struct net_out *o, struct net_link *link, struct mem *mem, uint32_t piece_bytes);
void net_out_push(struct net_out *o, struct net_msg *msg); /* takes the reference */
void net_out_drop(struct net_out *o);                      /* all of it */
static inline bool net_out_empty(const struct net_out *o) { return list_empty(&o->queue); }
/*
 * Copies what waits into one piece, as much as fits, and returns its bytes. Nothing is taken off the
 * queue yet, because the library may not want it: net_out_take() does that, for the same number.
 */
uint32_t net_out_fill(const struct net_out *o, uint8_t *data);
void net_out_take(struct net_out *o, uint32_t bytes);
/* A whole piece from the middle of the first message, lent while *msg_out is held; NULL: there is none. */
const uint8_t *net_out_middle(const struct net_out *o, struct net_msg **msg_out);
void net_out_take_middle(struct net_out *o);
/* True once each time that the backlog has fallen under NET_BACKLOG_LOW after being over. */
bool net_out_drained(struct net_out *o);

/* In: the message that is being put together. */
struct net_in {
	uint8_t *assembly;
	uint32_t cap, bytes, have;
};

/* A whole message, lent until return. False: the link is not up any more, stop. */
typedef bool (*net_in_fn)(void *ctx, const void *data, uint32_t bytes);
/*
 * One piece of @link's. ST_PROTOCOL: not a stream of ours, or a message over link->rx_message_max; ST_NOMEM: no memory for
 * one. Both end the link.
 */
enum status net_in_take(struct net_in *in, const struct net_link *link, struct mem *mem, const uint8_t *data, size_t bytes,
			net_in_fn message, void *ctx) MUST_CHECK;
/*
 * For back ends that can receive a piece where it belongs. Where the piece goes that comes after @ahead more, if it is
 * wholly of the message that is being put together; NULL: it is not. Lent until net_in_took() for it, or net_in_fini().
 */
uint8_t *net_in_place(const struct net_in *in, uint32_t ahead, uint32_t piece_bytes);
/* It came, whole, at @place. False: it should not have, or the link is not up any more. */
bool net_in_took(struct net_in *in, struct mem *mem, const uint8_t *place, uint32_t piece_bytes, net_in_fn message,
		 void *ctx);
void net_in_fini(struct net_in *in, struct mem *mem);

#endif
