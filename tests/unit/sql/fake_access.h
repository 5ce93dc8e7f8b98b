/*
 * fake_access.h - a store behind access.h for tests of the SQL layer: one session, no versions, an undo log.
 *
 * It can answer ST_WAIT at random from any call, and ST_AGAIN from row locks; values of var columns point into memory
 * that fake_turn() overwrites, so what is kept beyond a turn without being copied shows.
 */
#ifndef VALENCE_TESTS_SQL_FAKE_ACCESS_H
#define VALENCE_TESTS_SQL_FAKE_ACCESS_H

#include "base/mem.h"
#include "engine/txn/access.h"

struct engine *fake_engine_new(struct mem *mem);
void fake_engine_free(struct engine *e);
/* One of n calls waits, one of n row locks asks for a restart; 0 never. */
void fake_trouble(struct engine *e, uint32_t wait_one_of, uint32_t again_one_of);
void fake_turn(struct engine *e);
void fake_advance_us(struct engine *e, uint64_t us);
void fake_set_clock(struct engine *e, int64_t by_us);   /* the wall clock jumps */
void fake_named(struct engine *e, const char *name); /* another session commits a transaction of this name */
uint64_t fake_commits(const struct engine *e);

#endif
