/*
 * settings.h - a session's settings: SET, SHOW, RESET (engine/sql).
 *
 * One table of names. Values are text in their canonical form. What a transaction set is undone by its rollback; SET LOCAL
 * is undone by its end, either way. Levels count savepoints, so that ROLLBACK TO undoes its part.
 */
#ifndef VALENCE_ENGINE_SQL_SETTINGS_H
#define VALENCE_ENGINE_SQL_SETTINGS_H

#include "base/list.h"
#include "base/mem.h"
#include "base/status.h"
#include "engine/txn/access.h"

#define SETTINGS_MAX 64

struct settings_undo { uint16_t id; bool local; uint32_t level; char *value; };
struct settings {
	struct mem *mem;
	char *values[SETTINGS_MAX];     /* NULL: the default */
	char *startup[SETTINGS_MAX];    /* from the start-up packet: what RESET goes back to */
	VEC(struct settings_undo) undo;
	uint64_t generation;            /* rises with every change: derived values are made anew */
};

void settings_init(struct settings *s, struct mem *mem);
void settings_fini(struct settings *s);
int settings_find(const char *name);                    /* -1 none; any case */
const char *settings_name(int id);                      /* NULL past the end */
const char *settings_help(int id);
const char *settings_get(const struct settings *s, int id);
bool settings_reported(int id);                         /* ParameterStatus */
/* value NULL: RESET. in_txn: remembered for a rollback. level: savepoints open. ST_UNDEFINED_OBJECT, ST_BAD_PARAMETER, … */
MUST_CHECK enum status settings_set(struct settings *s, const char *name, const char *value, bool local, bool in_txn,
				    uint32_t level, struct error *err);
void settings_startup_done(struct settings *s);         /* what is set now is what RESET goes back to */
void settings_commit(struct settings *s);
void settings_rollback(struct settings *s, uint32_t level); /* 0: all of the transaction; n: to savepoint n */
void settings_release(struct settings *s, uint32_t level);
/* Checks and canonical form of one value alone. */
uint64_t settings_ms(const char *value);                /* a canonical time in milliseconds */
/* In any case; READ COMMITTED for what is none, and for READ UNCOMMITTED. */
enum isolation isolation_named(const char *name);
const char *isolation_name(enum isolation iso);

#endif
