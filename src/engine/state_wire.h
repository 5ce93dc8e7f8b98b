/*
 * state_wire.h - how an archive gets the whole state from another one: messages over the voters' links (engine; doc/adr/0012).
 *
 * All little-endian, behind the byte of type (VOTER_STATE_...):
 *
 *   ASK    u64 last        the newest position in the asker's journal
 *   HEAD   u64 id, log id, index, pos, term; u32 count; u64 bytes; voters     the state as of index: count images
 *   GET    u64 id; u32 item, offset                                           item 0: the list; else the item-th image of it
 *   PART   u64 id; u32 item, bytes, offset; a piece                           bytes: of the whole item
 *   GONE   u64 id          it is not kept any more: ask anew
 *   END    u64 id          the asker has all of it
 *
 * The list has for each image, newest atoms first and the root last: u64 atom, u64 index of its last change, u32 bytes.
 */
#ifndef VALENCE_ENGINE_STATE_WIRE_H
#define VALENCE_ENGINE_STATE_WIRE_H

#define STATE_PIECE_BYTES (128u << 10)
#define STATE_LIST_ITEM_BYTES 20
#define STATE_IMAGE_MAX (256u << 20)
#define STATE_COUNT_MAX (1u << 26)

#endif
