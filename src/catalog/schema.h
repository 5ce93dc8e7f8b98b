/*
 * schema.h - definitions of relations, as the schema catalog keeps them (catalog).
 *
 * Plain structs in one arena, immutable once made; changing a definition makes a new one with a higher
 * version. encode/decode are the format in the schema catalog's leaves. Type numbers are PostgreSQL's type
 * oids; this layer does not interpret them. A relation's *storage* is what its rows and entries live under in the
 * record and index catalogs: TRUNCATE and rewrites give a new one, the relation keeps its id.
 */
#ifndef VALENCE_CATALOG_SCHEMA_H
#define VALENCE_CATALOG_SCHEMA_H

#include "atoms/vec.h"
#include "base/buf.h"
#include "base/ids.h"
#include "base/mem.h"
#include "base/status.h"

#define SCHEMA_NAME_MAX 63      /* bytes */
#define SCHEMA_OF_SCHEMAS ""    /* where schemas themselves are: sequences of that name */
#define SCHEMA_COLUMNS_MAX 1600
#define SCHEMA_INDEX_COLUMNS_MAX 32

enum identity { IDENTITY_NONE, IDENTITY_BY_DEFAULT, IDENTITY_ALWAYS };
enum rel_kind { REL_TABLE = 1, REL_INDEX = 2, REL_SEQUENCE = 3, REL_VIEW = 4 };

struct column_def {
	uint16_t attno;          /* 1-based, never reused */
	uint8_t phys;            /* enum phys of the stored values */
	bool not_null, dropped;
	uint8_t identity;        /* enum identity; default_sql is then its sequence's nextval */
	uint32_t type_oid;
	int32_t typmod;          /* as PostgreSQL's: -1 none; varchar(n): n + 4; numeric(p,s): ((p << 16) | s) + 4 */
	const char *name;
	const char *default_sql; /* expression text, or NULL */
	bool has_missing;        /* rows older than the column have this value (constant default of ADD COLUMN) */
	struct cell missing;
};

struct index_def {
	rel_id id, table, storage;
	const char *name;
	bool unique, primary, constraint; /* constraint: made by PRIMARY KEY or UNIQUE in a table definition */
	seq_index built;         /* it has the rows as of then: of no use to older snapshots; 0: of all */
	uint16_t column_count;
	uint16_t attnos[SCHEMA_INDEX_COLUMNS_MAX];
	bool desc[SCHEMA_INDEX_COLUMNS_MAX];
	bool nulls_first[SCHEMA_INDEX_COLUMNS_MAX];
};

struct check_def { const char *name; const char *expr_sql; };

struct table_def {
	rel_id id, storage;
	uint64_t version;        /* of the definition: rises with each change */
	const char *schema;      /* "public", … */
	const char *name;
	uint16_t column_count;   /* dropped ones too: columns[attno - 1] */
	struct column_def *columns;
	uint16_t index_count;
	struct index_def *indexes;
	uint16_t check_count;
	struct check_def *checks;
	const char *options;     /* WITH (…) as given, kept and not interpreted; "" none */
};

struct sequence_def {
	rel_id id;
	uint64_t version;
	const char *schema, *name;
	uint32_t type_oid;       /* int2, int4, int8 */
	int64_t start, increment, min, max, cache;
	bool cycle;
	rel_id owned_by_table;   /* serial columns; 0 none */
	uint16_t owned_by_attno;
};

/* What a name stands for. Exactly one of table, index, sequence is set, by kind. */
struct relation_def {
	enum rel_kind kind;
	const struct table_def *table;    /* REL_TABLE, and the table of a REL_INDEX */
	const struct index_def *index;    /* inside *table */
	const struct sequence_def *sequence;
};

void schema_table_encode(const struct table_def *t, struct buf *out);
MUST_CHECK enum status schema_table_decode(const void *data, size_t bytes, struct arena *arena,
					   struct table_def **out);
void schema_sequence_encode(const struct sequence_def *s, struct buf *out);
MUST_CHECK enum status schema_sequence_decode(const void *data, size_t bytes, struct arena *arena,
					      struct sequence_def **out);
struct table_def *schema_table_copy(const struct table_def *t, struct arena *arena); /* deep */

#endif
