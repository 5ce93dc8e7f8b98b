/*
 * fake_catalog.h - definitions for the tests of the SQL front, kept in a list and made by its own CREATE statements.
 *
 * Header only, all static: each test file has a catalog of its own.
 */
#ifndef VALENCE_TESTS_SQL_FAKE_CATALOG_H
#define VALENCE_TESTS_SQL_FAKE_CATALOG_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/sql/query.h"

#define FAKE_MAX 64

struct fake_catalog {
	struct mem mem;
	struct arena arena;
	struct relation_def rels[FAKE_MAX];
	uint32_t count;
	rel_id next_id;
	uint32_t waits; /* so many look-ups answer ST_WAIT first */
	struct bind_catalog ops;
};

static enum status fake_relation(void *ctx, const char *schema, const char *name, struct relation_def *out)
{
	struct fake_catalog *f = ctx;
	uint32_t i, k;

	if (f->waits) {
		f->waits--;
		return ST_WAIT;
	}
	if (strcmp(schema, "public") != 0)
		return ST_UNDEFINED_TABLE;
	for (i = 0; i < f->count; i++) {
		const struct relation_def *r = &f->rels[i];

		if (r->kind == REL_SEQUENCE && !strcmp(r->sequence->name, name)) {
			*out = *r;
			return ST_OK;
		}
		if (r->kind != REL_TABLE)
			continue;
		if (!strcmp(r->table->name, name)) {
			*out = *r;
			return ST_OK;
		}
		for (k = 0; k < r->table->index_count; k++)
			if (!strcmp(r->table->indexes[k].name, name)) {
				*out = *r;
				out->kind = REL_INDEX;
				out->index = &r->table->indexes[k];
				return ST_OK;
			}
	}
	return ST_UNDEFINED_TABLE;
}

static enum status fake_relation_by_id(void *ctx, rel_id id, struct relation_def *out)
{
	struct fake_catalog *f = ctx;
	uint32_t i;

	for (i = 0; i < f->count; i++)
		if ((f->rels[i].kind == REL_TABLE ? f->rels[i].table->id : f->rels[i].sequence->id) == id) {
			*out = f->rels[i];
			return ST_OK;
		}
	return ST_UNDEFINED_TABLE;
}

static void fake_init(struct fake_catalog *f)
{
	memset(f, 0, sizeof *f);
	mem_init(&f->mem, NULL, "fake", 0);
	arena_init(&f->arena, &f->mem);
	f->next_id = 16384;
	f->ops = (struct bind_catalog){f, fake_relation, fake_relation_by_id};
}

__attribute__((unused)) static void fake_fini(struct fake_catalog *f)
{
	arena_fini(&f->arena);
	mem_fini(&f->mem);
}

static void fake_put_sequence(struct fake_catalog *f, struct sequence_def *s)
{
	s->id = f->next_id++;
	f->rels[f->count++] = (struct relation_def){.kind = REL_SEQUENCE, .sequence = s};
}

static void fake_put_table(struct fake_catalog *f, const struct create_table_stmt *c)
{
	struct table_def *t = c->def;
	uint32_t i;

	t->id = t->storage = f->next_id++;
	for (i = 0; i < t->index_count; i++) {
		t->indexes[i].id = t->indexes[i].storage = f->next_id++;
		t->indexes[i].table = t->id;
	}
	for (i = 0; i < c->serial_count; i++) {
		c->serials[i].seq->owned_by_table = t->id;
		fake_put_sequence(f, c->serials[i].seq);
	}
	f->rels[f->count++] = (struct relation_def){.kind = REL_TABLE, .table = t};
}

static void fake_put_index(struct stmt *st, struct fake_catalog *f)
{
	struct table_def *t = (struct table_def *)(uintptr_t)f->rels[0].table;
	struct index_def *at;
	uint32_t i;

	for (i = 0; i < f->count; i++)
		if (f->rels[i].kind == REL_TABLE && f->rels[i].table->id == st->create_index.table->id)
			t = (struct table_def *)(uintptr_t)f->rels[i].table;
	at = ARENA_NEW_N(&f->arena, struct index_def, t->index_count + 1);
	if (t->index_count)
		memcpy(at, t->indexes, t->index_count * sizeof *at);
	at[t->index_count] = *st->create_index.def;
	at[t->index_count++].id = f->next_id++;
	t->indexes = at;
}

static struct bind_context fake_context(struct fake_catalog *f, struct arena *arena, struct error *err)
{
	static const char *const path[] = {"public"};
	struct bind_context cx = {.arena = arena, .err = err, .catalog = &f->ops, .search_path = path, .search_path_count = 1};

	return cx;
}

/* Parses and binds each statement of text, remembering what it creates. */
static enum status fake_run(struct fake_catalog *f, const char *text, struct error *err)
{
	struct bind_context cx = fake_context(f, &f->arena, err);
	struct raw_list list;
	enum status st = sql_parse(text, &f->arena, &list, err);
	uint32_t i;

	for (i = 0; st == ST_OK && i < list.count; i++) {
		struct stmt *s;

		st = sql_bind_stmt(&cx, list.at[i], &s);
		if (st != ST_OK)
			break;
		if ((s->kind == STMT_CREATE_TABLE || s->kind == STMT_CREATE_TABLE_AS) && s->create_table->def)
			fake_put_table(f, s->create_table);
		else if (s->kind == STMT_CREATE_SEQUENCE && s->sequence.def)
			fake_put_sequence(f, s->sequence.def);
		else if (s->kind == STMT_CREATE_INDEX && s->create_index.def)
			fake_put_index(s, f);
	}
	return st;
}

#define FAKE_TABLES                                                                                                  \
	"create table t (a int primary key, b text, c numeric(10,2), d timestamp, e boolean not null default true, " \
	"f float8);"                                                                                                 \
	"create table u (id bigserial primary key, a int, name varchar(20) default 'x' unique, big bigint, day date, " \
	"check (a > 0));"                                                                                            \
	"create index on u (a);"                                                                                     \
	"create table v (k int not null, s char(5), j smallint, r real, y bytea, z timestamptz, i interval, x int[], " \
	"unique (k, j));"                                                                                            \
	"create sequence sq;"                                                                                        \
	"create table pgbench_branches (bid int not null, bbalance int, filler char(88)) with (fillfactor=100);"     \
	"create table pgbench_tellers (tid int not null, bid int, tbalance int, filler char(84));"                   \
	"create table pgbench_accounts (aid int not null primary key, bid int, abalance int, filler char(84));"      \
	"create table pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));"

#endif
