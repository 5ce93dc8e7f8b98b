/*
 * certify.h - what SERIALIZABLE transactions that are committing read and write, as an originator keeps it (engine/txn; P12,
 * doc/adr/0011).
 *
 * Reads exclude other transactions' writes, and the other way round; writes do not exclude writes (row and key locks do
 * that, where it matters). A claim is made whole or not at all:
 * - what it reads is written by another that is committing, or waits to: a conflict. A reader never waits.
 * - what it writes is read by another: it waits for that one's end, and holds nothing new meanwhile.
 * So who waits, waits for readers only, and a reader waits for nobody: there is no cycle, given that a transaction claims
 * all its writes before its first read, or both at one originator at once.
 * This module sends nothing and knows no versions.
 */
#ifndef VALENCE_ENGINE_TXN_CERTIFY_H
#define VALENCE_ENGINE_TXN_CERTIFY_H

#include "engine/txn/ranges.h"

struct certify_table;
enum certified { CERTIFY_OK, CERTIFY_WAIT, CERTIFY_CONFLICT };

struct certify_table *certify_new(struct mem *mem);
void certify_free(struct certify_table *ct);
/* Sets settled; copied. WAIT: to be repeated when something was released; counts as writes that wait until it is, or released. */
enum certified certify_try(struct certify_table *ct, engine_id engine, txn_id txn, const struct range_set *reads,
			   const struct range_set *writes);
bool certify_release(struct certify_table *ct, engine_id engine, txn_id txn); /* did it have anything? */
void certify_release_engine(struct certify_table *ct, engine_id engine);
bool certify_any(const struct certify_table *ct, const struct key_range *r); /* does anybody claim something in it? */
uint64_t certify_count(const struct certify_table *ct); /* transactions */

#endif
