/* virtual.c - the table of virtual relations (engine/sql). */
#include "engine/sql/virtual.h"

#include <string.h>

#define C(name, type) {name, {type, -1}},
#define V(schema, name, oid, view, columns) static const struct rel_column schema##_##name##_columns[] = {columns};
#include "engine/sql/virtual_columns.def"
#undef V
#undef C

#define COUNT(a) (uint32_t)(sizeof(a) / sizeof *(a))
#define V(schema, name, oid, view, columns)                                                \
	{#schema, #name, #schema "." #name, oid, view, COUNT(schema##_##name##_columns), \
	 schema##_##name##_columns},
static const struct virtual_rel rels[] = {
#include "engine/sql/virtual_columns.def"
};

const struct virtual_rel *virtual_find(const char *schema, const char *name)
{
	uint32_t i;

	if (!strcmp(schema, "pg_catalog") && strncmp(name, "pg_", 3) != 0)
		return NULL; /* most names that are looked up */
	for (i = 0; i < COUNT(rels); i++)
		if (!strcmp(rels[i].name, name) && !strcmp(rels[i].schema, schema))
			return &rels[i];
	return NULL;
}

const struct virtual_rel *virtual_find_oid(uint32_t oid)
{
	uint32_t i;

	for (i = 0; i < COUNT(rels); i++)
		if (rels[i].oid == oid)
			return &rels[i];
	return NULL;
}

const struct virtual_rel *virtual_at(uint32_t i)
{
	return i < COUNT(rels) ? &rels[i] : NULL;
}

int virtual_column(const struct virtual_rel *v, const char *name)
{
	uint32_t i;

	for (i = 0; i < v->column_count; i++)
		if (!strcmp(v->columns[i].name, name))
			return (int)i;
	return -1;
}
