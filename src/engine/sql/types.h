/*
 * types.h - SQL types and values (engine/sql). A type is PostgreSQL's oid and typmod.
 *
 * In vectors (atoms/vec.h): boolean BOOL; smallint I16; integer, date (days since 2000-01-01) I32; bigint, oid,
 * timestamp, timestamptz (microseconds since 2000-01-01, timestamptz in UTC) I64; double precision F64; everything else
 * VAR: text kinds as UTF-8, bytea raw, numeric as struct num (num.h), interval, arrays as their own encodings
 * (values.h). +-infinity of dates and timestamps are the extreme values, as in PostgreSQL.
 * Stored numeric(p,s) with p <= 18 is a scaled I64, p <= 38 a scaled I128, else VAR (S14): the scan and the insert convert
 * (type_storage_phys, values_from_storage, values_to_storage); the executor sees VAR only. char(n) is stored
 * without its trailing spaces.
 */
#ifndef VALENCE_ENGINE_SQL_TYPES_H
#define VALENCE_ENGINE_SQL_TYPES_H

#include "atoms/vec.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/status.h"

enum type_oid {
	T_NONE = 0,
	T_BOOL = 16, T_BYTEA = 17, T_CHAR1 = 18 /* "char" */, T_NAME = 19, T_INT8 = 20, T_INT2 = 21, T_INT4 = 23,
	T_REGPROC = 24, T_TEXT = 25, T_OID = 26, T_FLOAT4 = 700, T_FLOAT8 = 701, T_UNKNOWN = 705, T_BOOL_ARRAY = 1000,
	T_INT2_ARRAY = 1005, T_INT4_ARRAY = 1007, T_TEXT_ARRAY = 1009, T_INT8_ARRAY = 1016, T_NAME_ARRAY = 1003,
	T_BPCHAR = 1042, T_VARCHAR = 1043, T_DATE = 1082, T_TIME = 1083, T_TIMESTAMP = 1114,
	T_TIMESTAMPTZ = 1184, T_INTERVAL = 1186, T_NUMERIC = 1700, T_REGCLASS = 2205, T_REGTYPE = 2206,
	T_RECORD = 2249, T_VOID = 2278,
	/* arrays of the remaining scalar types: results of array_agg, columns of the system catalogs */
	T_BYTEA_ARRAY = 1001, T_CHAR1_ARRAY = 1002, T_REGPROC_ARRAY = 1008, T_BPCHAR_ARRAY = 1014, T_VARCHAR_ARRAY = 1015,
	T_FLOAT4_ARRAY = 1021, T_FLOAT8_ARRAY = 1022, T_OID_ARRAY = 1028, T_TIMESTAMP_ARRAY = 1115,
	T_DATE_ARRAY = 1182, T_TIME_ARRAY = 1183, T_TIMESTAMPTZ_ARRAY = 1185, T_INTERVAL_ARRAY = 1187,
	T_NUMERIC_ARRAY = 1231, T_REGCLASS_ARRAY = 2210, T_REGTYPE_ARRAY = 2211
};

struct sql_type { uint32_t oid; int32_t typmod; };

struct type_info {
	uint32_t oid;
	const char *name;      /* as PostgreSQL prints it: "integer", "character varying" */
	const char *internal;  /* pg_type.typname: "int4", "varchar" */
	int16_t length;        /* pg_type.typlen: -1 variable */
	uint8_t phys;          /* in vectors */
	char category;         /* pg_type.typcategory: 'N' 'S' 'B' 'D' 'T' 'U' 'A' 'X' */
	bool preferred;
	uint32_t array_oid, element_oid;
};
const struct type_info *type_find(uint32_t oid);                  /* NULL: none such */
const struct type_info *type_by_name(const char *name);           /* internal or SQL name, "serial" kinds excluded */
char *type_format(struct sql_type t, struct arena *arena);        /* "numeric(10,2)" */
uint8_t type_storage_phys(struct sql_type t);                     /* phys in atoms (S14) */

/* Text and binary of the wire and of literals. in: the text is not NUL-terminated. The result lives in arena. */
MUST_CHECK enum status value_in(struct sql_type t, const char *text, size_t bytes, struct arena *arena,
				struct cell *out, struct error *err);
void value_out(struct sql_type t, const struct cell *v, struct buf *out); /* appends text; v not null */
MUST_CHECK enum status value_recv(struct sql_type t, const void *p, size_t bytes, struct arena *arena,
				  struct cell *out, struct error *err);
void value_send(struct sql_type t, const struct cell *v, struct buf *out);
/* The session's settings that text depends on (DateStyle ISO only, TimeZone, extra_float_digits). Per thread of
 * execution; the session sets them before it runs. */
struct value_settings {
	const char *time_zone;   /* name, abbreviation or offset; lent until the next use; NULL: UTC */
	int extra_float_digits;
	bool bytea_escape;
	bool interval_iso;       /* IntervalStyle iso_8601, else postgres */
	int64_t now_us;          /* start of the transaction, for 'now', 'today' …, timestamptz; 0: they are refused */
};
void value_settings_use(const struct value_settings *s);
bool value_time_zone_ok(const char *name);

/* One value of a vector, and back. */
void vec_cell(const struct vec *v, uint32_t row, struct cell *out);
void vec_set(struct vec *v, uint32_t row, const struct cell *c); /* vector owned by the caller; null bits allocated */
void vec_alloc(struct vec *v, uint8_t phys, uint32_t rows, struct arena *arena); /* zeroed, no nulls; nulls words allocated */

/* Storage conversions; identity for most types. */
MUST_CHECK enum status value_to_storage(struct sql_type t, const struct cell *v, struct arena *arena,
					struct cell *out, struct error *err);
void vec_from_storage(struct sql_type t, const struct vec *stored, const uint16_t *sel, uint32_t n,
		      uint32_t rows, struct arena *arena, struct vec *out);

/* -1, 0, 1 of two not-null values of one type (btree order: NaN last, bpchar without trailing spaces, text by bytes). */
int value_compare(uint32_t oid, const struct cell *a, const struct cell *b);
uint64_t value_hash(uint32_t oid, const struct cell *v); /* equal values, equal hashes */

/*
 * key.h part: memcmp-ordered, self-delimiting encoding of index key columns (S5). Nulls: a leading byte, last unless
 * nulls_first; desc inverts the bytes of the value. Appends. ST_PROGRAM_LIMIT when the key gets over LEAF_KEY_MAX - 16 (key.c).
 */
MUST_CHECK enum status key_append(struct sql_type t, const struct cell *v, bool desc, bool nulls_first,
				  struct buf *out, struct error *err);
/* Smallest byte string greater than all keys that start with this prefix: in place; false: none (all 0xff). */
bool key_successor(struct buf *key);

#endif
