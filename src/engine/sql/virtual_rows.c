/*
 * virtual_rows.c - rows of pg_catalog and information_schema from the definitions, and of valence.*.
 *
 * A view is filled by one function: a row for each call, from a relation and a number within it, or from a number alone.
 * Columns are set by name; what is not set is false, zero or null by its type. Views that nothing here knows are
 * empty: there is nothing in Valence that they could show.
 */
#include "engine/sql/virtual_rows_int.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/map.h"
#include "engine/sql/session.h"
#include "engine/sql/values.h"

struct filler {
	const char *name;
	bool by_relation;
	enum status (*fn)(struct virtual_rows *v); /* ST_END: no (more) row here */
};

/* -- setting columns ------------------------------------------------------------------------------------------------ */

static void set_list(struct virtual_rows *v, const char *name, uint32_t element, const int64_t *at, uint32_t n)
{
	struct cell *cells = ARENA_NEW_N(v->arena, struct cell, n + 1);

	for (uint32_t i = 0; i < n; i++)
		cells[i] = (struct cell){.phys = type_find(element)->phys, .i = at[i]};
	array_build(element, cells, n, 1, v->arena, column(v, name));
}

static void clear(struct virtual_rows *v)
{
	for (uint32_t i = 0; i < v->def->column_count; i++) {
		const struct type_info *ti = type_find(v->def->columns[i].type.oid);
		uint8_t phys = ti ? ti->phys : PHYS_VAR;

		v->row[i] = (struct cell){.phys = phys, .null = phys == PHYS_VAR || v->def->columns[i].type.oid == T_TIMESTAMPTZ};
		if (phys == PHYS_F64)
			v->row[i].f = 0;
	}
}

/* -- names -------------------------------------------------------------------------------------------------------------- */

/* A created schema is kept as a relation: bind_schema_there(). */
static bool is_schema(const struct relation_def *r)
{
	return r->kind == REL_SEQUENCE && !strcmp(r->sequence->schema, SCHEMA_OF_SCHEMAS);
}

static int64_t schema_oid(const char *schema)
{
	if (!strcmp(schema, "pg_catalog"))
		return OID_PG_CATALOG;
	if (!strcmp(schema, "public"))
		return OID_PUBLIC;
	if (!strcmp(schema, "information_schema"))
		return OID_INFORMATION;
	if (!strcmp(schema, "valence"))
		return OID_VALENCE;
	/* made by its name: the same on every engine */
	return (int64_t)(hash_bytes(schema, strlen(schema)) & 0x3fffffff) | 0x40000000;
}

static const struct table_def *table_of(struct virtual_rows *v)
{
	return v->rel.kind == REL_TABLE ? v->rel.table : NULL;
}

static const char *quoted_list(struct virtual_rows *v, const struct table_def *t, const struct index_def *ix)
{
	const char *out = "";

	for (uint32_t i = 0; i < ix->column_count; i++)
		out = arena_printf(v->arena, "%s%s%s%s%s", out, i ? ", " : "", t->columns[ix->attnos[i] - 1].name,
				   ix->desc[i] ? " DESC" : "",
				   ix->desc[i] == ix->nulls_first[i] ? "" : ix->nulls_first[i] ? " NULLS FIRST" : " NULLS LAST");
	return out;
}

static const char *user(struct virtual_rows *v) { return v->s ? v->s->user : "valence"; }
static const char *database(struct virtual_rows *v) { return v->s ? v->s->database : "valence"; }

/* -- pg_class and what hangs on it ---------------------------------------------------------------------------------------- */

static void class_row(struct virtual_rows *v, int64_t oid, const char *schema, const char *name, const char *kind,
		      uint32_t columns)
{
	set_int(v, "oid", oid);
	set_text(v, "relname", name);
	set_int(v, "relnamespace", schema_oid(schema));
	set_int(v, "relowner", OID_USER);
	set_int(v, "relfilenode", oid);
	set_text(v, "relpersistence", "p");
	set_text(v, "relkind", kind);
	set_int(v, "relnatts", columns);
	set_int(v, "relispopulated", 1);
	set_text(v, "relreplident", "d");
}

static enum status pg_class(struct virtual_rows *v)
{
	const struct table_def *t = table_of(v);
	const struct virtual_rel *vr;
	uint64_t rows = 0, atoms = 0;

	if (!v->have_rel) { /* after the relations: the virtual ones */
		vr = virtual_at((uint32_t)v->at);
		if (!vr)
			return ST_END;
		class_row(v, vr->oid, vr->schema, vr->name, vr->view ? "v" : "r", vr->column_count);
		return ST_OK;
	}
	if (!t) {
		if (v->at)
			return ST_END;
		class_row(v, (int64_t)v->rel.sequence->id, v->rel.sequence->schema, v->rel.sequence->name, "S", 3);
		return ST_OK;
	}
	if (v->at == 0) {
		uint32_t live = 0;

		for (uint32_t i = 0; i < t->column_count; i++)
			live += !t->columns[i].dropped;
		class_row(v, (int64_t)t->id, t->schema, t->name, "r", t->column_count);
		access_estimate(v->ex->access, t, &rows, &atoms);
		set_int(v, "reltuples", (int64_t)rows);
		set_int(v, "relpages", (int64_t)atoms * 16);
		set_int(v, "relhasindex", t->index_count > 0);
		set_int(v, "relchecks", t->check_count);
		set_int(v, "relam", 2);
		(void)live;
		return ST_OK;
	}
	if (v->at > t->index_count)
		return ST_END;
	class_row(v, (int64_t)t->indexes[v->at - 1].id, t->schema, t->indexes[v->at - 1].name, "i",
		  t->indexes[v->at - 1].column_count);
	set_int(v, "relam", OID_BTREE);
	return ST_OK;
}

static void attribute_row(struct virtual_rows *v, int64_t rel, const char *name, uint32_t attno, struct sql_type type)
{
	const struct type_info *ti = type_find(type.oid);

	set_int(v, "attrelid", rel);
	set_text(v, "attname", name);
	set_int(v, "atttypid", type.oid);
	set_int(v, "attstattarget", -1);
	set_int(v, "attlen", ti ? ti->length : -1);
	set_int(v, "attnum", attno);
	set_int(v, "attcacheoff", -1);
	set_int(v, "atttypmod", type.typmod);
	set_int(v, "attbyval", ti && ti->length > 0 && ti->length <= 8);
	set_text(v, "attalign", "i");
	set_text(v, "attstorage", ti && ti->length > 0 ? "p" : "x");
	set_text(v, "attcompression", "");
	set_text(v, "attidentity", "");
	set_text(v, "attgenerated", "");
	set_int(v, "attislocal", 1);
	set_int(v, "attcollation", ti && ti->category == 'S' ? 100 : 0);
}

static enum status pg_attribute(struct virtual_rows *v)
{
	const struct table_def *t = table_of(v);
	uint64_t at = v->at;

	if (!v->have_rel) { /* columns of virtual relations, one after the other */
		const struct virtual_rel *vr;

		for (uint32_t i = 0; (vr = virtual_at(i)); at -= vr->column_count, i++)
			if (at < vr->column_count) {
				attribute_row(v, vr->oid, vr->columns[at].name, (uint32_t)at + 1, vr->columns[at].type);
				return ST_OK;
			}
		return ST_END;
	}
	if (!t)
		return ST_END;
	if (at < t->column_count) {
		const struct column_def *c = &t->columns[at];

		attribute_row(v, (int64_t)t->id, c->name, c->attno, (struct sql_type){c->dropped ? 0 : c->type_oid, c->typmod});
		set_int(v, "attnotnull", c->not_null);
		set_int(v, "atthasdef", c->default_sql != NULL && !c->identity);
		set_text(v, "attidentity", c->identity == IDENTITY_ALWAYS ? "a" : c->identity ? "d" : "");
		set_int(v, "atthasmissing", c->has_missing);
		set_int(v, "attisdropped", c->dropped);
		return ST_OK;
	}
	at -= t->column_count;
	for (uint32_t i = 0; i < t->index_count; at -= t->indexes[i].column_count, i++)
		if (at < t->indexes[i].column_count) {
			const struct column_def *c = &t->columns[t->indexes[i].attnos[at] - 1];

			attribute_row(v, (int64_t)t->indexes[i].id, c->name, (uint32_t)at + 1,
				      (struct sql_type){c->type_oid, c->typmod});
			return ST_OK;
		}
	return ST_END;
}

static enum status pg_index(struct virtual_rows *v)
{
	const struct table_def *t = table_of(v);
	const struct index_def *ix;
	int64_t keys[SCHEMA_INDEX_COLUMNS_MAX], zero[SCHEMA_INDEX_COLUMNS_MAX] = {0}, options[SCHEMA_INDEX_COLUMNS_MAX];

	if (!t || v->at >= t->index_count)
		return ST_END;
	ix = &t->indexes[v->at];
	for (uint32_t i = 0; i < ix->column_count; i++) {
		keys[i] = ix->attnos[i];
		options[i] = ix->desc[i] | ix->nulls_first[i] << 1;
	}
	set_int(v, "indexrelid", (int64_t)ix->id);
	set_int(v, "indrelid", (int64_t)t->id);
	set_int(v, "indnatts", ix->column_count);
	set_int(v, "indnkeyatts", ix->column_count);
	set_int(v, "indisunique", ix->unique);
	set_int(v, "indisprimary", ix->primary);
	set_int(v, "indimmediate", 1);
	set_int(v, "indisvalid", 1);
	set_int(v, "indisready", 1);
	set_int(v, "indislive", 1);
	set_list(v, "indkey", T_INT2, keys, ix->column_count);
	set_list(v, "indcollation", T_OID, zero, ix->column_count);
	set_list(v, "indclass", T_OID, zero, ix->column_count);
	set_list(v, "indoption", T_INT2, options, ix->column_count);
	return ST_OK;
}

static enum status pg_indexes(struct virtual_rows *v)
{
	const struct table_def *t = table_of(v);
	const struct index_def *ix;

	if (!t || v->at >= t->index_count)
		return ST_END;
	ix = &t->indexes[v->at];
	set_text(v, "schemaname", t->schema);
	set_text(v, "tablename", t->name);
	set_text(v, "indexname", ix->name);
	set_text(v, "indexdef", arena_printf(v->arena, "CREATE %sINDEX %s ON %s.%s USING btree (%s)", ix->unique ? "UNIQUE " : "",
					     ix->name, t->schema, t->name, quoted_list(v, t, ix)));
	return ST_OK;
}

/* The at-th constraint: indexes of PRIMARY KEY and UNIQUE, then checks. NULL index: a check, its number in *check. */
static bool constraint_at(const struct table_def *t, uint64_t at, const struct index_def **ix, uint32_t *check)
{
	for (uint32_t i = 0; i < t->index_count; i++)
		if (t->indexes[i].constraint && at-- == 0) {
			*ix = &t->indexes[i];
			return true;
		}
	*ix = NULL;
	*check = (uint32_t)at;
	return at < t->check_count;
}

static enum status pg_constraint(struct virtual_rows *v)
{
	const struct table_def *t = table_of(v);
	const struct index_def *ix;
	int64_t keys[SCHEMA_INDEX_COLUMNS_MAX];
	uint32_t check = 0;

	if (!t || !constraint_at(t, v->at, &ix, &check))
		return ST_END;
	set_int(v, "oid", ix ? (int64_t)ix->id : (int64_t)(t->id << 32 | check));
	set_text(v, "conname", ix ? ix->name : t->checks[check].name);
	set_int(v, "connamespace", schema_oid(t->schema));
	set_text(v, "contype", !ix ? "c" : ix->primary ? "p" : "u");
	set_int(v, "convalidated", 1);
	set_int(v, "conrelid", (int64_t)t->id);
	set_int(v, "conindid", ix ? (int64_t)ix->id : 0);
	set_text(v, "confupdtype", " ");
	set_text(v, "confdeltype", " ");
	set_text(v, "confmatchtype", " ");
	set_int(v, "conislocal", 1);
	set_int(v, "connoinherit", ix != NULL);
	for (uint32_t i = 0; ix && i < ix->column_count; i++)
		keys[i] = ix->attnos[i];
	if (ix)
		set_list(v, "conkey", T_INT2, keys, ix->column_count);
	else
		set_text(v, "conbin", t->checks[check].expr_sql);
	return ST_OK;
}

static enum status pg_attrdef(struct virtual_rows *v)
{
	const struct table_def *t = table_of(v);
	uint64_t at = v->at;

	for (uint32_t i = 0; t && i < t->column_count; i++) {
		if (!t->columns[i].default_sql || t->columns[i].identity || at-- > 0)
			continue;
		set_int(v, "oid", (int64_t)(t->id << 16 | t->columns[i].attno));
		set_int(v, "adrelid", (int64_t)t->id);
		set_int(v, "adnum", t->columns[i].attno);
		set_text(v, "adbin", t->columns[i].default_sql);
		return ST_OK;
	}
	return ST_END;
}

static enum status pg_depend(struct virtual_rows *v)
{
	const struct sequence_def *q = v->rel.kind == REL_SEQUENCE ? v->rel.sequence : NULL;

	if (!q || v->at || !q->owned_by_table)
		return ST_END;
	set_int(v, "classid", 1259);
	set_int(v, "objid", (int64_t)q->id);
	set_int(v, "refclassid", 1259);
	set_int(v, "refobjid", (int64_t)q->owned_by_table);
	set_int(v, "refobjsubid", q->owned_by_attno);
	set_text(v, "deptype", "a");
	return ST_OK;
}

static enum status pg_sequence(struct virtual_rows *v)
{
	const struct sequence_def *q = v->rel.kind == REL_SEQUENCE ? v->rel.sequence : NULL;

	if (!q || v->at)
		return ST_END;
	set_int(v, "seqrelid", (int64_t)q->id);
	set_int(v, "seqtypid", q->type_oid);
	set_int(v, "seqstart", q->start);
	set_int(v, "seqincrement", q->increment);
	set_int(v, "seqmax", q->max);
	set_int(v, "seqmin", q->min);
	set_int(v, "seqcache", q->cache);
	set_int(v, "seqcycle", q->cycle);
	return ST_OK;
}

static enum status pg_sequences(struct virtual_rows *v)
{
	const struct sequence_def *q = v->rel.kind == REL_SEQUENCE ? v->rel.sequence : NULL;

	if (!q || v->at)
		return ST_END;
	set_text(v, "schemaname", q->schema);
	set_text(v, "sequencename", q->name);
	set_text(v, "sequenceowner", user(v));
	set_int(v, "data_type", q->type_oid);
	set_int(v, "start_value", q->start);
	set_int(v, "min_value", q->min);
	set_int(v, "max_value", q->max);
	set_int(v, "increment_by", q->increment);
	set_int(v, "cycle", q->cycle);
	set_int(v, "cache_size", q->cache);
	column(v, "last_value")->null = true;
	return ST_OK;
}

static enum status pg_tables(struct virtual_rows *v)
{
	const struct table_def *t = table_of(v);

	if (!t || v->at)
		return ST_END;
	set_text(v, "schemaname", t->schema);
	set_text(v, "tablename", t->name);
	set_text(v, "tableowner", user(v));
	set_int(v, "hasindexes", t->index_count > 0);
	return ST_OK;
}

static enum status pg_stat_user_tables(struct virtual_rows *v)
{
	const struct table_def *t = table_of(v);
	uint64_t rows = 0, atoms = 0;

	if (!t || v->at)
		return ST_END;
	access_estimate(v->ex->access, t, &rows, &atoms);
	set_int(v, "relid", (int64_t)t->id);
	set_text(v, "schemaname", t->schema);
	set_text(v, "relname", t->name);
	set_int(v, "n_live_tup", (int64_t)rows);
	return ST_OK;
}

/* -- what does not depend on relations ------------------------------------------------------------------------------------ */

static const uint32_t type_list[] = {
	T_BOOL, T_BYTEA, T_CHAR1, T_NAME, T_INT8, T_INT2, T_INT4, T_REGPROC, T_TEXT, T_OID, T_FLOAT4, T_FLOAT8, T_UNKNOWN,
	T_BPCHAR, T_VARCHAR, T_DATE, T_TIME, T_TIMESTAMP, T_TIMESTAMPTZ, T_INTERVAL, T_NUMERIC, T_REGCLASS, T_REGTYPE, T_RECORD,
	T_VOID, T_BOOL_ARRAY, T_INT2_ARRAY, T_INT4_ARRAY, T_TEXT_ARRAY, T_INT8_ARRAY, T_NAME_ARRAY};

static enum status pg_type(struct virtual_rows *v)
{
	const struct type_info *ti = NULL;
	uint64_t at = v->at, n = sizeof type_list / sizeof type_list[0];

	if (at < n)
		ti = type_find(type_list[at]);
	for (uint64_t i = n; !ti && at >= n && i < 2 * n; i++) { /* arrays that are not in the list by themselves */
		const struct type_info *e = type_find(type_list[i - n]);
		bool listed = !e || !e->array_oid;

		for (uint64_t k = 0; !listed && k < n; k++)
			listed = type_list[k] == e->array_oid;
		if (!listed && at-- == n)
			ti = type_find(e->array_oid);
	}
	if (!ti)
		return v->at < n ? ST_AGAIN : ST_END;
	set_int(v, "oid", ti->oid);
	set_text(v, "typname", ti->internal);
	set_int(v, "typnamespace", OID_PG_CATALOG);
	set_int(v, "typowner", OID_USER);
	set_int(v, "typlen", ti->length);
	set_int(v, "typbyval", ti->length > 0 && ti->length <= 8);
	set_text(v, "typtype", ti->category == 'P' || ti->oid == T_VOID || ti->oid == T_RECORD ? "p" : "b");
	set_text(v, "typcategory", arena_printf(v->arena, "%c", ti->category));
	set_int(v, "typispreferred", ti->preferred);
	set_int(v, "typisdefined", 1);
	set_text(v, "typdelim", ",");
	set_int(v, "typelem", ti->element_oid);
	set_int(v, "typarray", ti->array_oid);
	set_text(v, "typalign", "i");
	set_text(v, "typstorage", ti->length > 0 ? "p" : "x");
	set_int(v, "typtypmod", -1);
	set_int(v, "typcollation", ti->category == 'S' ? 100 : 0);
	return ST_OK;
}

static const char *const fixed_schemas[] = {"pg_catalog", "public", "information_schema", "valence"};

/* Those that are there by themselves, and those that were made. */
static enum status schema_name(struct virtual_rows *v, const char **out)
{
	if (!v->have_rel) {
		*out = v->at < 4 ? fixed_schemas[v->at] : NULL;
		return *out ? ST_OK : ST_END;
	}
	if (v->at || !is_schema(&v->rel))
		return ST_END;
	*out = v->rel.sequence->name;
	return ST_OK;
}

static enum status pg_namespace(struct virtual_rows *v)
{
	const char *name;
	enum status st = schema_name(v, &name);

	if (st)
		return st;
	set_int(v, "oid", schema_oid(name));
	set_text(v, "nspname", name);
	set_int(v, "nspowner", OID_USER);
	return ST_OK;
}

static enum status pg_database(struct virtual_rows *v)
{
	if (v->at)
		return ST_END;
	set_int(v, "oid", OID_DATABASE);
	set_text(v, "datname", database(v));
	set_int(v, "datdba", OID_USER);
	set_int(v, "encoding", 6);
	set_text(v, "datlocprovider", "c");
	set_int(v, "datallowconn", 1);
	set_int(v, "datconnlimit", -1);
	set_int(v, "dattablespace", 1663);
	set_text(v, "datcollate", "C.UTF-8");
	set_text(v, "datctype", "C.UTF-8");
	return ST_OK;
}

static enum status pg_roles(struct virtual_rows *v)
{
	if (v->at)
		return ST_END;
	set_text(v, "rolname", user(v));
	set_int(v, "rolsuper", 1);
	set_int(v, "rolinherit", 1);
	set_int(v, "rolcreaterole", 1);
	set_int(v, "rolcreatedb", 1);
	set_int(v, "rolcanlogin", 1);
	set_int(v, "rolbypassrls", 1);
	set_int(v, "rolconnlimit", -1);
	set_int(v, "oid", OID_USER);
	return ST_OK;
}

static enum status pg_user(struct virtual_rows *v)
{
	if (v->at)
		return ST_END;
	set_text(v, "usename", user(v));
	set_int(v, "usesysid", OID_USER);
	set_int(v, "usecreatedb", 1);
	set_int(v, "usesuper", 1);
	return ST_OK;
}

static enum status pg_am(struct virtual_rows *v)
{
	if (v->at > 1)
		return ST_END;
	set_int(v, "oid", v->at ? OID_BTREE : 2);
	set_text(v, "amname", v->at ? "btree" : "heap");
	set_text(v, "amtype", v->at ? "i" : "t");
	return ST_OK;
}

static enum status pg_tablespace(struct virtual_rows *v)
{
	if (v->at)
		return ST_END;
	set_int(v, "oid", 1663);
	set_text(v, "spcname", "pg_default");
	set_int(v, "spcowner", OID_USER);
	return ST_OK;
}

static enum status pg_collation(struct virtual_rows *v)
{
	if (v->at > 1)
		return ST_END;
	set_int(v, "oid", v->at ? 950 : 100);
	set_text(v, "collname", v->at ? "C" : "default");
	set_int(v, "collnamespace", OID_PG_CATALOG);
	set_text(v, "collprovider", v->at ? "c" : "d");
	set_int(v, "collisdeterministic", 1);
	set_int(v, "collencoding", -1);
	return ST_OK;
}

static enum status pg_settings(struct virtual_rows *v)
{
	const char *name = settings_name((int)v->at);

	if (!v->s || !name)
		return ST_END;
	set_text(v, "name", name);
	set_text(v, "setting", sql_session_get(v->s, name));
	set_text(v, "category", strncmp(name, "valence.", 8) ? "Client Connection Defaults" : "Valence");
	set_text(v, "short_desc", settings_help((int)v->at));
	set_text(v, "context", "user");
	set_text(v, "vartype", "string");
	set_text(v, "source", "default");
	set_text(v, "boot_val", sql_session_get(v->s, name));
	set_text(v, "reset_val", sql_session_get(v->s, name));
	column(v, "sourceline")->null = true;
	return ST_OK;
}

/* The at-th entry of a map by name. */
static void *nth(const struct bmap *m, uint64_t at)
{
	struct bmap_slot *slot = NULL;
	size_t pos = 0;

	do
		slot = bmap_next(m, &pos);
	while (slot && at-- > 0);
	return slot ? slot->value : NULL;
}

static enum status pg_cursors(struct virtual_rows *v)
{
	const struct sql_portal *p = v->s ? nth(&v->s->portals, v->at) : NULL;

	if (!p)
		return ST_END;
	set_text(v, "name", p->name);
	set_text(v, "statement", p->bound->stmt ? p->bound->stmt->text : "");
	set_int(v, "is_holdable", p->hold);
	set_int(v, "is_scrollable", 1);
	return ST_OK;
}

static enum status pg_prepared_statements(struct virtual_rows *v)
{
	const struct sql_prepared *p = v->s ? nth(&v->s->prepared, v->at) : NULL;

	if (!p)
		return ST_END;
	set_text(v, "name", p->name);
	set_text(v, "statement", p->text);
	set_int(v, "from_sql", p->from_sql);
	return ST_OK;
}

/* -- information_schema ------------------------------------------------------------------------------------------------------ */

static enum status is_tables(struct virtual_rows *v)
{
	const struct table_def *t = table_of(v);

	if (!t || v->at)
		return ST_END;
	set_text(v, "table_catalog", database(v));
	set_text(v, "table_schema", t->schema);
	set_text(v, "table_name", t->name);
	set_text(v, "table_type", "BASE TABLE");
	set_text(v, "is_insertable_into", "YES");
	set_text(v, "is_typed", "NO");
	return ST_OK;
}

static void null_column(struct virtual_rows *v, const char *name)
{
	column(v, name)->null = true;
}

static enum status is_columns(struct virtual_rows *v)
{
	static const char *const optional[] = {"character_maximum_length", "character_octet_length", "numeric_precision",
					       "numeric_precision_radix", "numeric_scale", "datetime_precision",
					       "interval_precision", "maximum_cardinality"};
	const struct table_def *t = table_of(v);
	const struct column_def *c;
	const struct type_info *ti;
	uint64_t at = v->at;
	uint32_t i = 0;

	for (; t && i < t->column_count && (t->columns[i].dropped || at-- > 0); i++)
		;
	if (!t || i == t->column_count)
		return ST_END;
	c = &t->columns[i];
	ti = type_find(c->type_oid);
	for (uint32_t k = 0; k < sizeof optional / sizeof optional[0]; k++)
		null_column(v, optional[k]);
	set_text(v, "table_catalog", database(v));
	set_text(v, "table_schema", t->schema);
	set_text(v, "table_name", t->name);
	set_text(v, "column_name", c->name);
	set_int(v, "ordinal_position", c->attno);
	set_text(v, "column_default", c->identity ? NULL : c->default_sql);
	set_text(v, "is_nullable", c->not_null ? "NO" : "YES");
	set_text(v, "data_type", ti ? (ti->element_oid && ti->category == 'A' ? "ARRAY" : ti->name) : "?");
	set_text(v, "udt_catalog", database(v));
	set_text(v, "udt_schema", "pg_catalog");
	set_text(v, "udt_name", ti ? ti->internal : "?");
	set_text(v, "dtd_identifier", arena_printf(v->arena, "%u", c->attno));
	set_text(v, "is_self_referencing", "NO");
	set_text(v, "is_identity", c->identity ? "YES" : "NO");
	if (c->identity)
		set_text(v, "identity_generation", c->identity == IDENTITY_ALWAYS ? "ALWAYS" : "BY DEFAULT");
	set_text(v, "identity_cycle", "NO");
	set_text(v, "is_generated", "NEVER");
	set_text(v, "is_updatable", "YES");
	if ((c->type_oid == T_VARCHAR || c->type_oid == T_BPCHAR) && c->typmod > 4)
		set_int(v, "character_maximum_length", c->typmod - 4);
	if (c->type_oid == T_NUMERIC && c->typmod > 4) {
		set_int(v, "numeric_precision", (c->typmod - 4) >> 16);
		set_int(v, "numeric_precision_radix", 10);
		set_int(v, "numeric_scale", (c->typmod - 4) & 0x7ff);
	} else if (c->type_oid == T_INT2 || c->type_oid == T_INT4 || c->type_oid == T_INT8) {
		set_int(v, "numeric_precision", c->type_oid == T_INT2 ? 16 : c->type_oid == T_INT4 ? 32 : 64);
		set_int(v, "numeric_precision_radix", 2);
		set_int(v, "numeric_scale", 0);
	} else if (c->type_oid == T_FLOAT8) {
		set_int(v, "numeric_precision", 53);
		set_int(v, "numeric_precision_radix", 2);
	} else if (c->type_oid == T_TIMESTAMP || c->type_oid == T_TIMESTAMPTZ || c->type_oid == T_TIME) {
		set_int(v, "datetime_precision", c->typmod >= 0 ? c->typmod : 6);
	} else if (c->type_oid == T_INTERVAL) {
		set_int(v, "datetime_precision", c->typmod >= 0 && (c->typmod & 0xffff) <= 6 ? c->typmod & 0xffff : 6);
	} else if (c->type_oid == T_DATE) {
		set_int(v, "datetime_precision", 0);
	}
	return ST_OK;
}

static enum status is_schemata(struct virtual_rows *v)
{
	const char *name;
	enum status st = schema_name(v, &name);

	if (st)
		return st;
	set_text(v, "catalog_name", database(v));
	set_text(v, "schema_name", name);
	set_text(v, "schema_owner", user(v));
	return ST_OK;
}

static enum status is_table_constraints(struct virtual_rows *v)
{
	const struct table_def *t = table_of(v);
	const struct index_def *ix;
	uint32_t check = 0;

	if (!t || !constraint_at(t, v->at, &ix, &check))
		return ST_END;
	set_text(v, "constraint_catalog", database(v));
	set_text(v, "constraint_schema", t->schema);
	set_text(v, "constraint_name", ix ? ix->name : t->checks[check].name);
	set_text(v, "table_catalog", database(v));
	set_text(v, "table_schema", t->schema);
	set_text(v, "table_name", t->name);
	set_text(v, "constraint_type", !ix ? "CHECK" : ix->primary ? "PRIMARY KEY" : "UNIQUE");
	set_text(v, "is_deferrable", "NO");
	set_text(v, "initially_deferred", "NO");
	set_text(v, "enforced", "YES");
	return ST_OK;
}

static enum status key_columns(struct virtual_rows *v, bool usage)
{
	const struct table_def *t = table_of(v);
	uint64_t at = v->at;

	for (uint32_t i = 0; t && i < t->index_count; i++) {
		const struct index_def *ix = &t->indexes[i];

		if (!ix->constraint)
			continue;
		if (at >= ix->column_count) {
			at -= ix->column_count;
			continue;
		}
		set_text(v, "constraint_catalog", database(v));
		set_text(v, "constraint_schema", t->schema);
		set_text(v, "constraint_name", ix->name);
		set_text(v, "table_catalog", database(v));
		set_text(v, "table_schema", t->schema);
		set_text(v, "table_name", t->name);
		set_text(v, "column_name", t->columns[ix->attnos[at] - 1].name);
		if (usage) {
			set_int(v, "ordinal_position", (int64_t)at + 1);
			null_column(v, "position_in_unique_constraint");
		}
		return ST_OK;
	}
	return ST_END;
}

static enum status is_key_column_usage(struct virtual_rows *v) { return key_columns(v, true); }
static enum status is_constraint_column_usage(struct virtual_rows *v) { return key_columns(v, false); }

static enum status is_check_constraints(struct virtual_rows *v)
{
	const struct table_def *t = table_of(v);

	if (!t || v->at >= t->check_count)
		return ST_END;
	set_text(v, "constraint_catalog", database(v));
	set_text(v, "constraint_schema", t->schema);
	set_text(v, "constraint_name", t->checks[v->at].name);
	set_text(v, "check_clause", t->checks[v->at].expr_sql);
	return ST_OK;
}

static enum status is_sequences(struct virtual_rows *v)
{
	const struct sequence_def *q = v->rel.kind == REL_SEQUENCE ? v->rel.sequence : NULL;

	if (!q || v->at)
		return ST_END;
	set_text(v, "sequence_catalog", database(v));
	set_text(v, "sequence_schema", q->schema);
	set_text(v, "sequence_name", q->name);
	set_text(v, "data_type", type_find(q->type_oid)->name);
	set_int(v, "numeric_precision", q->type_oid == T_INT2 ? 16 : q->type_oid == T_INT4 ? 32 : 64);
	set_int(v, "numeric_precision_radix", 2);
	set_text(v, "start_value", arena_printf(v->arena, "%lld", (long long)q->start));
	set_text(v, "minimum_value", arena_printf(v->arena, "%lld", (long long)q->min));
	set_text(v, "maximum_value", arena_printf(v->arena, "%lld", (long long)q->max));
	set_text(v, "increment", arena_printf(v->arena, "%lld", (long long)q->increment));
	set_text(v, "cycle_option", q->cycle ? "YES" : "NO");
	return ST_OK;
}

/* -- valence.* ---------------------------------------------------------------------------------------------------------------- */

static enum status cluster_view(struct virtual_rows *v)
{
	struct cell cells[16] = {{0}};
	enum status st;

	ASSERT_OP(v->def->column_count, <=, 16);
	st = access_view_row(v->ex->access, v->def->name, v->at, v->arena, cells, v->def->column_count);
	if (st)
		return st;
	for (uint32_t i = 0; i < v->def->column_count; i++) {
		const struct type_info *ti = type_find(v->def->columns[i].type.oid);

		if (v->def->columns[i].type.oid == T_INT8_ARRAY && !cells[i].null) {
			uint32_t n = cells[i].bytes / 8;
			int64_t *ids = ARENA_NEW_N(v->arena, int64_t, n + 1);

			if (n)
				memcpy(ids, cells[i].var, n * sizeof *ids);
			set_list(v, v->def->columns[i].name, T_INT8, ids, n);
			continue;
		}
		v->row[i] = cells[i];
		if (ti && ti->phys == PHYS_F64 && cells[i].phys == PHYS_I64)
			v->row[i] = (struct cell){.phys = PHYS_F64, .null = cells[i].null, .f = (double)cells[i].i};
		v->row[i].phys = ti ? ti->phys : PHYS_VAR;
	}
	return ST_OK;
}

/* -- all ------------------------------------------------------------------------------------------------------------------------ */

static const struct filler fillers[] = {
	{"pg_catalog.pg_class", true, pg_class},
	{"pg_catalog.pg_attribute", true, pg_attribute},
	{"pg_catalog.pg_index", true, pg_index},
	{"pg_catalog.pg_indexes", true, pg_indexes},
	{"pg_catalog.pg_constraint", true, pg_constraint},
	{"pg_catalog.pg_attrdef", true, pg_attrdef},
	{"pg_catalog.pg_depend", true, pg_depend},
	{"pg_catalog.pg_sequence", true, pg_sequence},
	{"pg_catalog.pg_sequences", true, pg_sequences},
	{"pg_catalog.pg_tables", true, pg_tables},
	{"pg_catalog.pg_stat_user_tables", true, pg_stat_user_tables},
	{"pg_catalog.pg_stat_all_tables", true, pg_stat_user_tables},
	{"pg_catalog.pg_namespace", true, pg_namespace},
	{"pg_catalog.pg_type", false, pg_type},
	{"pg_catalog.pg_database", false, pg_database},
	{"pg_catalog.pg_roles", false, pg_roles},
	{"pg_catalog.pg_authid", false, pg_roles},
	{"pg_catalog.pg_user", false, pg_user},
	{"pg_catalog.pg_am", false, pg_am},
	{"pg_catalog.pg_tablespace", false, pg_tablespace},
	{"pg_catalog.pg_collation", false, pg_collation},
	{"pg_catalog.pg_settings", false, pg_settings},
	{"pg_catalog.pg_cursors", false, pg_cursors},
	{"pg_catalog.pg_prepared_statements", false, pg_prepared_statements},
	{"pg_catalog.pg_stat_activity", false, virtual_activity},
	{"pg_catalog.pg_locks", false, virtual_locks},
	{"information_schema.tables", true, is_tables},
	{"information_schema.columns", true, is_columns},
	{"information_schema.schemata", true, is_schemata},
	{"information_schema.table_constraints", true, is_table_constraints},
	{"information_schema.key_column_usage", true, is_key_column_usage},
	{"information_schema.constraint_column_usage", true, is_constraint_column_usage},
	{"information_schema.check_constraints", true, is_check_constraints},
	{"information_schema.sequences", true, is_sequences},
};
static const struct filler cluster = {"valence", false, cluster_view};

struct virtual_rows *virtual_rows_open(struct exec *ex, const char *name, const struct range_rel *rel, struct arena *arena)
{
	struct virtual_rows *v = ARENA_NEW(arena, struct virtual_rows);
	const char *dot = strchr(name, '.');

	(void)rel;
	v->ex = ex;
	v->store = arena;
	v->s = ex->session;
	v->def = dot ? virtual_find(arena_strndup(arena, name, (size_t)(dot - name)), dot + 1) : NULL;
	if (!v->def) {
		(void)error_set(ex->err, ST_UNDEFINED_TABLE, "relation \"%s\" does not exist", name);
		return NULL;
	}
	v->row = ARENA_NEW_N(arena, struct cell, v->def->column_count + 1);
	if (!strcmp(v->def->schema, "valence"))
		v->fill = &cluster;
	for (size_t i = 0; i < sizeof fillers / sizeof fillers[0]; i++)
		if (!strcmp(fillers[i].name, name))
			v->fill = &fillers[i];
	return v;
}

static bool wants_schemas(const struct virtual_rows *v)
{
	return v->fill->fn == pg_namespace || v->fill->fn == is_schemata;
}

/* Relations first, then (after the last one) what the view has without any. */
static enum status next_relation(struct virtual_rows *v)
{
	rel_id id;
	enum status st;

	while ((st = access_relation_next(v->ex->access, v->after, &v->rel, &id)) == ST_OK && is_schema(&v->rel) &&
	       !wants_schemas(v))
		v->after = id;
	if (st == ST_OK) {
		v->after = id;
		v->have_rel = true;
	} else if (st == ST_END) {
		v->after = UINT64_MAX;
		v->have_rel = false;
		v->rel.kind = 0;
	} else {
		return st;
	}
	v->at = 0;
	return ST_OK;
}

enum status virtual_rows_next(struct virtual_rows *v, struct arena *arena, const struct cell **row_out)
{
	enum status st;

	v->arena = arena;
	*row_out = v->row;
	if (!v->fill)
		return ST_END;
	for (;;) {
		if (v->fill->by_relation && v->after == 0) {
			st = next_relation(v);
			if (st)
				return st;
		}
		clear(v);
		st = v->fill->fn(v);
		if (st == ST_OK || st == ST_AGAIN)
			v->at++;
		if (st == ST_OK)
			return st;
		if (st == ST_AGAIN)
			continue;
		if (st != ST_END)
			return st;
		if (!v->fill->by_relation || !v->have_rel)
			return ST_END;
		st = next_relation(v);
		if (st)
			return st;
	}
}
