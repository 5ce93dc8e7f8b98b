/*
 * pieces.h - a link's messages as one stream of bytes, cut in pieces (net).
 *
 * What back ends over a library share. Each message is a head of 8 bytes and the data, padded to 8, so a
 * head is never cut in two; at the end of a piece there need be no padding. A piece is one operation of the
 * library (net_caps.message_max, a multiple of 8): small messages that wait together share one, the data of a large
 * one may go without a copy.
 *
 * Where the fabric has slices (net_caps.slice_max), a message that does not fit one piece is *long*: its head ends a
 * piece, and its data comes in *slices*, operations with nothing else in them, which who receives has go where
 * they belong. For that he must know that a slice comes before he posts a receive for it, and receives are posted ahead.
 * So there is a rule for both sides: at most NET_AHEAD_MAX receives of pieces are posted beyond the one that comes
 * next, and only one in all behind a slice, until it was used. A head in the first piece behind a slice is thus followed
 * by its slices at once, any other by NET_AHEAD_MAX empty pieces first: the *gap*.
 */
#ifndef VALENCE_NET_PIECES_H
#define VALENCE_NET_PIECES_H

#include "base/list.h"
#include "net/net.h"

#define NET_AHEAD_MAX 2
#define NET_LEND_BYTES (16u << 10) /* less is copied: an operation of its own costs more */

/* How a stream is cut: of the fabric, so that both sides have the same. */
struct net_cut {
	uint32_t piece_bytes; /* of a piece at most */
	uint32_t slice_bytes; /* of a slice; the last of a message may be shorter. 0: there are none */
};

/* -- out -------------------------------------------------------------------------------------- */

/* What waits to be given to the library. Keeps link->backlog_bytes. */
struct net_out {
	struct net_link *link;
	struct mem *mem;
	struct list queue;
	struct net_cut cut;
	uint32_t lend_bytes; /* so much of one message is lent */
	uint32_t gap;        /* empty pieces before the slices of the first message */
	bool behind_slice;   /* the last operation was one */
	bool was_over;
};

/* One operation: what was copied, then what is lent. */
struct net_piece {
	uint32_t copied_bytes, lent_bytes;
	const uint8_t *lent; /* NULL: nothing */
	struct net_msg *msg; /* whose it is: to be held as long as the library has it */
};

/* @lend: memory of messages may be given to the library. */
void net_out_init(struct net_out *o, struct net_link *link, struct mem *mem, struct net_cut cut, bool lend);
void net_out_push(struct net_out *o, struct net_msg *msg); /* takes the reference */
void net_out_drop(struct net_out *o);                      /* all of it */
static inline bool net_out_empty(const struct net_out *o) { return list_empty(&o->queue); }
/* Whether nothing is copied for the next operation: it needs no room. */
bool net_out_lends(const struct net_out *o);
/*
 * What waits, as much as one operation takes; @data has room for a piece. Nothing is taken off the queue yet, because
 * the library may not want it: net_out_take() does that, for the same operation.
 */
void net_out_next(const struct net_out *o, uint8_t *data, struct net_piece *out);
void net_out_take(struct net_out *o, const struct net_piece *p);
/* True once each time that the backlog has fallen under NET_BACKLOG_LOW after being over. */
bool net_out_drained(struct net_out *o);

/* -- in --------------------------------------------------------------------------------------- */

/*
 * Memory for messages that are put together, kept for the next ones of any link of the transport: large pieces of memory
 * that come from the system and go back cost as much as what is received into them.
 */
#define NET_SPARE_MAX 8
#define NET_SPARE_BYTES (4u << 20)
struct net_spare {
	struct mem *mem;
	uint32_t count;
	size_t bytes; /* <= NET_SPARE_BYTES */
	struct { uint8_t *data; uint32_t cap; } at[NET_SPARE_MAX];
};
void net_spare_init(struct net_spare *s, struct mem *mem);
void net_spare_fini(struct net_spare *s);

/* The message that is being put together. */
struct net_in {
	const struct net_link *link;
	struct net_spare *spare;
	struct net_cut cut;
	uint8_t *assembly;
	uint32_t cap, bytes, have;
	uint32_t gap;      /* of a long message: empty pieces to come */
	bool slicing;      /* the message is long */
	bool behind_slice; /* the last operation was one */
};

void net_in_init(struct net_in *in, const struct net_link *link, struct net_spare *spare, struct net_cut cut);
void net_in_fini(struct net_in *in);
/* A whole message, lent until return. False: the link is not up any more, stop. */
typedef bool (*net_in_fn)(void *ctx, const void *data, uint32_t bytes);
/*
 * One piece of the link's. ST_PROTOCOL: not a stream of ours, or a message over link->rx_message_max; ST_NOMEM: no memory
 * for one. Both end the link.
 */
enum status net_in_take(struct net_in *in, const uint8_t *data, size_t bytes, net_in_fn message, void *ctx) MUST_CHECK;

/* What the operation is that comes after @ahead more. */
enum net_next {
	NET_NEXT_PIECE,
	NET_NEXT_SLICE,  /* it goes to *place_out, *bytes_out of it; lent until net_in_took() for it, or net_in_fini() */
	NET_NEXT_UNKNOWN /* no receive may be posted for it yet */
};
enum net_next net_in_next(const struct net_in *in, uint32_t ahead, uint8_t **place_out, uint32_t *bytes_out);
/* A slice came, @bytes of it, at @place. False: it should not have, or the link is not up any more. */
bool net_in_took(struct net_in *in, const uint8_t *place, size_t bytes, net_in_fn message, void *ctx);

#endif
