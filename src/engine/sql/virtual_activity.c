/*
 * virtual_activity.c - this engine's sessions, and the locks that it knows of, as PostgreSQL's views show them (engine/sql).
 */
#include "engine/sql/virtual_rows_int.h"

#include <stdlib.h>

static void set_time(struct virtual_rows *v, const char *name, uint64_t wall_us)
{
	if (wall_us)
		set_int(v, name, (int64_t)wall_us - INT64_C(946684800000000)); /* since 2000-01-01 */
}

/* host:port, with or without brackets */
static void set_client(struct virtual_rows *v, const char *client)
{
	const char *colon = strrchr(client, ':');
	size_t n = colon ? (size_t)(colon - client) : strlen(client);

	column(v, "client_port")->null = !colon;
	if (!n)
		return;
	if (client[0] == '[' && client[n - 1] == ']') {
		client++;
		n -= 2;
	}
	set_text(v, "client_addr", arena_strndup(v->arena, client, n));
	if (colon)
		set_int(v, "client_port", strtol(colon + 1, NULL, 10));
}

enum status virtual_activity(struct virtual_rows *v)
{
	const struct sql_session *s = v->s ? access_session_at(v->s->access, v->at) : NULL;
	const char *type, *event;

	if (!s)
		return ST_END;
	set_int(v, "datid", OID_DATABASE);
	set_text(v, "datname", s->database);
	set_int(v, "pid", s->cfg.backend_pid);
	column(v, "leader_pid")->null = true;
	set_int(v, "usesysid", OID_USER);
	set_text(v, "usename", s->user);
	set_text(v, "application_name", settings_get(&s->settings, settings_find("application_name")));
	set_client(v, s->client);
	set_time(v, "backend_start", s->started_us);
	if (access_in_transaction(s->access))
		set_time(v, "xact_start", access_transaction_time_us(s->access));
	set_time(v, "query_start", s->query_us);
	set_time(v, "state_change", s->state_us);
	event = access_wait_event(s->access, &type);
	if (!s->idle_since_us) {
		set_text(v, "state", "active");
	} else {
		type = "Client";
		event = "ClientRead";
		set_text(v, "state", s->block == BLOCK_OPEN ? "idle in transaction" :
				     s->block == BLOCK_FAILED ? "idle in transaction (aborted)" : "idle");
	}
	set_text(v, "wait_event_type", type);
	set_text(v, "wait_event", event);
	column(v, "backend_xid")->null = column(v, "backend_xmin")->null = column(v, "query_id")->null = true;
	set_text(v, "query", s->query);
	set_text(v, "backend_type", "client backend");
	return ST_OK;
}

/* The table or index that has this storage, and where it is a relation's own name: 0 in *oid_out when there is none now. ST_WAIT. */
static enum status storage_owner(struct virtual_rows *v, rel_id storage, int64_t *oid_out)
{
	struct relation_def def;
	rel_id id = 0;
	enum status st;

	*oid_out = 0;
	while ((st = access_relation_next(v->s->access, id, &def, &id)) == ST_OK) {
		if (def.kind != REL_TABLE)
			continue;
		if (def.table->storage == storage)
			*oid_out = (int64_t)def.table->id;
		for (uint16_t i = 0; i < def.table->index_count; i++)
			if (def.table->indexes[i].storage == storage)
				*oid_out = (int64_t)def.table->indexes[i].id;
		if (*oid_out)
			return ST_OK;
	}
	return st == ST_END ? ST_OK : st;
}

static void null_columns(struct virtual_rows *v, const char *const *names)
{
	for (; *names; names++)
		column(v, *names)->null = true;
}

enum status virtual_locks(struct virtual_rows *v)
{
	static const char *const kinds[] = {"relation", "tuple", "object", "advisory"};
	static const char *const modes[] = {"RowShareLock", "ShareLock", "RowExclusiveLock", "ExclusiveLock"};
	static const char *const nulls[] = {"page", "tuple", "transactionid", "classid", "objid", "objsubid", "waitstart", NULL};
	const struct access_lock *l;
	const struct sql_session *s;
	int64_t oid = 0;
	enum status st;

	if (!v->s)
		return ST_END;
	if (!v->locks)
		v->locks = access_locks(v->s->access, v->store, &v->lock_count);
	if (v->at >= v->lock_count)
		return ST_END;
	l = &v->locks[v->at];
	s = l->session;
	if (l->kind == ACCESS_LOCK_RELATION) {
		oid = (int64_t)l->storage;
	} else if (l->kind != ACCESS_LOCK_ADVISORY) {
		st = storage_owner(v, l->storage, &oid);
		if (st)
			return st;
	}
	null_columns(v, nulls);
	set_text(v, "locktype", kinds[l->kind]);
	set_int(v, "database", OID_DATABASE);
	set_int(v, "relation", oid);
	column(v, "relation")->null = !oid;
	if (l->kind == ACCESS_LOCK_ROW) {
		set_int(v, "page", (int64_t)(l->row >> 12 & INT32_MAX));
		set_int(v, "tuple", (int64_t)(l->row & 4095));
	} else if (l->kind == ACCESS_LOCK_KEY) {
		set_int(v, "classid", oid);
		set_int(v, "objid", (int64_t)(l->key_hash & UINT32_MAX));
		set_int(v, "objsubid", 0);
	} else if (l->kind == ACCESS_LOCK_ADVISORY) { /* as PostgreSQL shows them */
		set_int(v, "classid", (int64_t)((uint64_t)l->name.number >> 32));
		set_int(v, "objid", (int64_t)((uint64_t)l->name.number & UINT32_MAX));
		set_int(v, "objsubid", l->name.space);
	}
	set_text(v, "virtualtransaction", arena_printf(v->arena, "%llu/%llu", (unsigned long long)l->engine,
						       (unsigned long long)l->txn));
	set_int(v, "pid", s ? (int64_t)s->cfg.backend_pid : 0);
	column(v, "pid")->null = !s;
	set_text(v, "mode", l->kind == ACCESS_LOCK_RELATION ?
				    (l->mode == ACCESS_RELATION_EXCLUSIVE ? "AccessExclusiveLock" : "AccessShareLock") : modes[l->mode]);
	set_int(v, "granted", l->granted);
	return ST_OK;
}
