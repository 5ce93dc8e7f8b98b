/*
 * types.c - the table of types, settings of texts, cells and vectors, order and hash of values.
 */
#include "engine/sql/types.h"

#include <math.h>

#include "base/assert.h"
#include "base/map.h"
#include "engine/sql/datetime.h"
#include "engine/sql/functions_int.h"
#include "engine/sql/num.h"
#include "engine/sql/values.h"

#define ARR(base, name, internal, el, arr) \
	{arr, name "[]", "_" internal, -1, PHYS_VAR, 'A', false, 0, el},

static const struct type_info types[] = {
	{T_BOOL, "boolean", "bool", 1, PHYS_BOOL, 'B', true, T_BOOL_ARRAY, 0},
	{T_BYTEA, "bytea", "bytea", -1, PHYS_VAR, 'U', false, T_BYTEA_ARRAY, 0},
	{T_CHAR1, "\"char\"", "char", 1, PHYS_VAR, 'Z', false, T_CHAR1_ARRAY, 0},
	{T_NAME, "name", "name", 64, PHYS_VAR, 'S', false, T_NAME_ARRAY, 0},
	{T_INT8, "bigint", "int8", 8, PHYS_I64, 'N', false, T_INT8_ARRAY, 0},
	{T_INT2, "smallint", "int2", 2, PHYS_I16, 'N', false, T_INT2_ARRAY, 0},
	{T_INT4, "integer", "int4", 4, PHYS_I32, 'N', false, T_INT4_ARRAY, 0},
	{T_REGPROC, "regproc", "regproc", 4, PHYS_I64, 'N', false, T_REGPROC_ARRAY, 0},
	{T_TEXT, "text", "text", -1, PHYS_VAR, 'S', true, T_TEXT_ARRAY, 0},
	{T_OID, "oid", "oid", 4, PHYS_I64, 'N', true, T_OID_ARRAY, 0},
	{T_FLOAT4, "real", "float4", 4, PHYS_F64, 'N', false, T_FLOAT4_ARRAY, 0},
	{T_FLOAT8, "double precision", "float8", 8, PHYS_F64, 'N', true, T_FLOAT8_ARRAY, 0},
	{T_UNKNOWN, "unknown", "unknown", -2, PHYS_VAR, 'X', false, 0, 0},
	{T_BPCHAR, "character", "bpchar", -1, PHYS_VAR, 'S', false, T_BPCHAR_ARRAY, 0},
	{T_VARCHAR, "character varying", "varchar", -1, PHYS_VAR, 'S', false, T_VARCHAR_ARRAY, 0},
	{T_DATE, "date", "date", 4, PHYS_I32, 'D', false, T_DATE_ARRAY, 0},
	{T_TIME, "time without time zone", "time", 8, PHYS_I64, 'D', false, T_TIME_ARRAY, 0},
	{T_TIMESTAMP, "timestamp without time zone", "timestamp", 8, PHYS_I64, 'D', false, T_TIMESTAMP_ARRAY, 0},
	{T_TIMESTAMPTZ, "timestamp with time zone", "timestamptz", 8, PHYS_I64, 'D', true, T_TIMESTAMPTZ_ARRAY, 0},
	{T_INTERVAL, "interval", "interval", 16, PHYS_VAR, 'T', true, T_INTERVAL_ARRAY, 0},
	{T_NUMERIC, "numeric", "numeric", -1, PHYS_VAR, 'N', false, T_NUMERIC_ARRAY, 0},
	{T_REGCLASS, "regclass", "regclass", 4, PHYS_I64, 'N', false, T_REGCLASS_ARRAY, 0},
	{T_REGTYPE, "regtype", "regtype", 4, PHYS_I64, 'N', false, T_REGTYPE_ARRAY, 0},
	{T_RECORD, "record", "record", -1, PHYS_VAR, 'P', false, 0, 0},
	{T_VOID, "void", "void", 4, PHYS_VAR, 'P', false, 0, 0},
	ARR(bool, "boolean", "bool", T_BOOL, T_BOOL_ARRAY)
	ARR(bytea, "bytea", "bytea", T_BYTEA, T_BYTEA_ARRAY)
	ARR(char, "\"char\"", "char", T_CHAR1, T_CHAR1_ARRAY)
	ARR(name, "name", "name", T_NAME, T_NAME_ARRAY)
	ARR(int8, "bigint", "int8", T_INT8, T_INT8_ARRAY)
	ARR(int2, "smallint", "int2", T_INT2, T_INT2_ARRAY)
	ARR(int4, "integer", "int4", T_INT4, T_INT4_ARRAY)
	ARR(regproc, "regproc", "regproc", T_REGPROC, T_REGPROC_ARRAY)
	ARR(text, "text", "text", T_TEXT, T_TEXT_ARRAY)
	ARR(oid, "oid", "oid", T_OID, T_OID_ARRAY)
	ARR(float4, "real", "float4", T_FLOAT4, T_FLOAT4_ARRAY)
	ARR(float8, "double precision", "float8", T_FLOAT8, T_FLOAT8_ARRAY)
	ARR(bpchar, "character", "bpchar", T_BPCHAR, T_BPCHAR_ARRAY)
	ARR(varchar, "character varying", "varchar", T_VARCHAR, T_VARCHAR_ARRAY)
	ARR(date, "date", "date", T_DATE, T_DATE_ARRAY)
	ARR(time, "time without time zone", "time", T_TIME, T_TIME_ARRAY)
	ARR(timestamp, "timestamp without time zone", "timestamp", T_TIMESTAMP, T_TIMESTAMP_ARRAY)
	ARR(timestamptz, "timestamp with time zone", "timestamptz", T_TIMESTAMPTZ, T_TIMESTAMPTZ_ARRAY)
	ARR(interval, "interval", "interval", T_INTERVAL, T_INTERVAL_ARRAY)
	ARR(numeric, "numeric", "numeric", T_NUMERIC, T_NUMERIC_ARRAY)
	ARR(regclass, "regclass", "regclass", T_REGCLASS, T_REGCLASS_ARRAY)
	ARR(regtype, "regtype", "regtype", T_REGTYPE, T_REGTYPE_ARRAY)
};
#undef ARR
#define TYPE_COUNT (sizeof types / sizeof *types)

static const struct { const char *alias; uint32_t oid; } aliases[] = {
	{"int", T_INT4}, {"decimal", T_NUMERIC}, {"float", T_FLOAT8}, {"timestamp", T_TIMESTAMP}, {"time", T_TIME},
	{"int2vector", T_INT2_ARRAY}, {"char varying", T_VARCHAR},
};

_Static_assert(TYPE_COUNT <= TYPE_ORDINALS, "ordinals are dense and few");

/* Oids are small and few: one byte each, made before main() so that no thread ever sees it half done. */
#define INDEX_MAX 2304
static uint8_t type_index[INDEX_MAX];

__attribute__((constructor(101))) static void make_type_index(void)
{
	for (size_t i = 0; i < TYPE_COUNT; i++)
		type_index[types[i].oid] = (uint8_t)(i + 1);
}

const struct type_info *type_find(uint32_t oid)
{
	if (oid >= INDEX_MAX || !type_index[oid])
		return NULL;
	return &types[type_index[oid] - 1];
}

int type_ordinal(uint32_t oid)
{
	return oid < INDEX_MAX ? type_index[oid] - 1 : -1;
}

const struct type_info *type_by_name(const char *name)
{
	size_t n = strlen(name);

	if (n > 2 && n < 64 && !strcmp(name + n - 2, "[]")) {
		const struct type_info *element;
		char base[64];

		memcpy(base, name, n - 2);
		base[n - 2] = '\0';
		element = type_by_name(base);
		return element ? type_find(element->array_oid) : NULL;
	}
	for (size_t i = 0; i < TYPE_COUNT; i++)
		if (!strcmp(name, types[i].internal) || !strcmp(name, types[i].name))
			return &types[i];
	for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
		if (!strcmp(name, aliases[i].alias))
			return type_find(aliases[i].oid);
	return NULL;
}

/* interval's typmod: fields << 16 | precision; only the common fields have a name */
static char *interval_format(int32_t typmod, struct arena *arena)
{
	static const struct { int mask; const char *name; } fields[] = {
		{1 << 2, " year"}, {1 << 1, " month"}, {1 << 3, " day"}, {1 << 10, " hour"}, {1 << 11, " minute"},
		{1 << 12, " second"}, {1 << 2 | 1 << 1, " year to month"}, {1 << 3 | 1 << 10, " day to hour"},
		{1 << 3 | 1 << 10 | 1 << 11, " day to minute"},
		{1 << 3 | 1 << 10 | 1 << 11 | 1 << 12, " day to second"}, {1 << 10 | 1 << 11, " hour to minute"},
		{1 << 10 | 1 << 11 | 1 << 12, " hour to second"}, {1 << 11 | 1 << 12, " minute to second"},
	};
	int mask = typmod >> 16 & 0x7fff, precision = typmod & 0xffff;
	const char *name = "";

	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (fields[i].mask == mask)
			name = fields[i].name;
	if (precision == 0xffff)
		return arena_printf(arena, "interval%s", name);
	return arena_printf(arena, "interval%s(%d)", name, precision);
}

char *type_format(struct sql_type t, struct arena *arena)
{
	const struct type_info *ti = type_find(t.oid);

	if (!ti)
		return arena_printf(arena, "???");
	if (ti->element_oid && t.typmod >= 0)
		return arena_printf(arena, "%s[]",
				    type_format((struct sql_type){ti->element_oid, t.typmod}, arena));
	switch (t.typmod < 0 ? T_NONE : t.oid) {
	case T_VARCHAR:
	case T_BPCHAR:
		return arena_printf(arena, "%s(%d)", ti->name, t.typmod - 4);
	case T_NUMERIC:
		return arena_printf(arena, "numeric(%d,%d)", num_typmod_precision(t.typmod),
				    num_typmod_scale(t.typmod));
	case T_TIME:
		return arena_printf(arena, "time(%d) without time zone", t.typmod);
	case T_TIMESTAMP:
		return arena_printf(arena, "timestamp(%d) without time zone", t.typmod);
	case T_TIMESTAMPTZ:
		return arena_printf(arena, "timestamp(%d) with time zone", t.typmod);
	case T_INTERVAL:
		return interval_format(t.typmod, arena);
	default:
		/* char without a length is char(1) in a declaration, so the bare type has a name of its own */
		return arena_strdup(arena, t.oid == T_BPCHAR ? "bpchar" : ti->name);
	}
}

uint8_t type_storage_phys(struct sql_type t)
{
	const struct type_info *ti = type_find(t.oid);

	if (t.oid == T_NUMERIC && num_typmod_valid(t.typmod) && num_typmod_scale(t.typmod) >= 0) {
		int p = num_typmod_precision(t.typmod), s = num_typmod_scale(t.typmod);

		if (s > p) /* numeric(2,5): below one */
			return PHYS_VAR;
		return p <= 18 ? PHYS_I64 : p <= 38 ? PHYS_I128 : PHYS_VAR;
	}
	return ti ? ti->phys : PHYS_NONE;
}

/* -- settings ---------------------------------------------------------------------------------------------- */

static _Thread_local struct value_settings settings = {NULL, 1, false, false, 0};

void value_settings_use(const struct value_settings *s)
{
	settings = *s;
	dt_zone_session_changed();
}

const struct value_settings *value_settings_get(void)
{
	return &settings;
}

bool value_time_zone_ok(const char *name)
{
	return dt_zone_find(name, strlen(name)) != NULL;
}

bool value_room(const struct arena *arena, size_t bytes)
{
	if (bytes > VALUE_BYTES_MAX)
		return false;
	for (const struct mem *m = arena->mem; m; m = m->parent)
		if (m->limit_bytes && (m->used_bytes > m->limit_bytes || bytes > m->limit_bytes - m->used_bytes))
			return false;
	return true;
}

/* -- cells and vectors --------------------------------------------------------------------------------------- */

void vec_cell(const struct vec *v, uint32_t row, struct cell *out)
{
	if (v->constant)
		row = 0;
	*out = (struct cell){.phys = v->phys};
	if (v->nulls && bit_get(v->nulls, row)) {
		out->null = true;
		return;
	}
	switch ((enum phys)v->phys) {
	case PHYS_BOOL: out->i = v->b[row]; break;
	case PHYS_I16: out->i = v->i16[row]; break;
	case PHYS_I32: out->i = v->i32[row]; break;
	case PHYS_I64: out->i = v->i64[row]; break;
	case PHYS_F64: out->f = v->f64[row]; break;
	case PHYS_I128: out->x = v->i128[row]; break;
	case PHYS_VAR:
		out->var = v->var[row].p;
		out->bytes = v->var[row].bytes;
		break;
	case PHYS_NONE:
	case PHYS_COUNT:
		out->null = true;
		break;
	}
}

void vec_set(struct vec *v, uint32_t row, const struct cell *c)
{
	if (c->null) {
		ASSERT(v->nulls != NULL);
		bit_set(v->nulls, row);
		return;
	}
	ASSERT_OP(v->phys, ==, c->phys);
	if (v->nulls)
		bit_clear(v->nulls, row);
	switch ((enum phys)v->phys) {
	case PHYS_BOOL: v->b[row] = (uint8_t)c->i; break;
	case PHYS_I16: v->i16[row] = (int16_t)c->i; break;
	case PHYS_I32: v->i32[row] = (int32_t)c->i; break;
	case PHYS_I64: v->i64[row] = c->i; break;
	case PHYS_F64: v->f64[row] = c->f; break;
	case PHYS_I128: v->i128[row] = c->x; break;
	case PHYS_VAR: v->var[row] = (struct slice){c->var, c->bytes, 0}; break;
	case PHYS_NONE:
	case PHYS_COUNT: break;
	}
}

void vec_alloc(struct vec *v, uint8_t phys, uint32_t rows, struct arena *arena)
{
	*v = (struct vec){.phys = phys};
	v->data = arena_alloc(arena, (size_t)phys_bytes(phys) * (rows ? rows : 1));
	v->nulls = ARENA_NEW_N(arena, uint64_t, VEC_WORDS);
}

/* -- storage (S14) ------------------------------------------------------------------------------------------- */

enum status value_to_storage(struct sql_type t, const struct cell *v, struct arena *arena, struct cell *out,
			     struct error *err)
{
	uint8_t phys = type_storage_phys(t);
	struct num n;
	i128 x;

	(void)arena; /* all conversions so far are into the cell itself */
	if (t.oid == T_BPCHAR && t.typmod >= 4 && !v->null) { /* the declared length brings the spaces back */
		*out = *v;
		out->bytes = bpchar_bytes(v->var, v->bytes);
		return ST_OK;
	}
	if (t.oid != T_NUMERIC || phys == PHYS_VAR) {
		*out = *v;
		return ST_OK;
	}
	*out = (struct cell){.attno = v->attno, .phys = phys, .null = v->null};
	if (v->null)
		return ST_OK;
	num_load(&n, v->var, v->bytes);
	if (num_special(&n)) {
		/* +-Infinity is refused by numeric(p,s) itself; NaN is the one value beyond the scaled range */
		if (n.kind != NUM_NAN)
			return error_set(err, ST_NUMERIC_RANGE, "numeric field overflow");
		if (phys == PHYS_I64)
			out->i = INT64_MIN;
		else
			out->x = (i128)((unsigned __int128)1 << 127);
		return ST_OK;
	}
	if (!num_to_i128(&n, num_typmod_scale(t.typmod), &x))
		return error_set(err, ST_NUMERIC_RANGE, "numeric field overflow");
	if (phys == PHYS_I64) {
		if (x > INT64_MAX || x <= INT64_MIN)
			return error_set(err, ST_NUMERIC_RANGE, "numeric field overflow");
		out->i = (int64_t)x;
	} else {
		out->x = x;
	}
	return ST_OK;
}

static void num_from_stored(i128 x, bool nan, int scale, struct arena *arena, struct cell *out)
{
	struct num n;

	num_from_i128(&n, x, scale);
	if (nan)
		n = (struct num){.kind = NUM_NAN};
	num_store(&n, arena, out);
}

/* One value that is not stored as it is shown. */
static struct cell cell_from_storage(struct sql_type t, uint8_t phys, const struct vec *stored, uint32_t r, struct arena *arena)
{
	struct cell c, padded;

	if (t.oid == T_BPCHAR) {
		c = cell_var(stored->var[r].p, stored->var[r].bytes);
		/* over its memory: the statement ends before anybody sees it */
		return value_pad(&c, t.typmod, arena, &padded, NULL) == ST_OK ? padded : c;
	}
	if (phys == PHYS_I64)
		num_from_stored(stored->i64[r], stored->i64[r] == INT64_MIN, num_typmod_scale(t.typmod), arena, &c);
	else
		num_from_stored(stored->i128[r], stored->i128[r] == (i128)((unsigned __int128)1 << 127),
				num_typmod_scale(t.typmod), arena, &c);
	return c;
}

void vec_from_storage(struct sql_type t, const struct vec *stored, const uint16_t *sel, uint32_t n, uint32_t rows,
		      struct arena *arena, struct vec *out)
{
	uint8_t phys = type_storage_phys(t);

	if (!(t.oid == T_BPCHAR && t.typmod >= 4) && (t.oid != T_NUMERIC || phys == PHYS_VAR)) {
		*out = *stored;
		return;
	}
	*out = (struct vec){.phys = PHYS_VAR, .constant = stored->constant, .nulls = stored->nulls};
	out->var = ARENA_NEW_N(arena, struct slice, stored->constant ? 1 : rows ? rows : 1);
	if (stored->constant && n)
		n = 1;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t r = stored->constant ? 0 : sel ? sel[i] : i;
		struct cell c;

		if (vec_null(stored, r))
			continue;
		c = cell_from_storage(t, phys, stored, r, arena);
		out->var[r] = (struct slice){c.var, c.bytes, 0};
	}
}

/* -- order and hash ------------------------------------------------------------------------------------------- */

#define CMP(a, b) ((a) < (b) ? -1 : (a) > (b))

static int f64_compare(double a, double b) /* NaN equals itself and is the largest */
{
	if (isnan(a) || isnan(b))
		return isnan(a) ? !isnan(b) : -1;
	return CMP(a, b);
}

static int num_values_compare(const struct cell *a, const struct cell *b)
{
	struct num x, y;

	num_load(&x, a->var, a->bytes);
	num_load(&y, b->var, b->bytes);
	return num_compare(&x, &y);
}

static int array_compare(const struct cell *a, const struct cell *b)
{
	struct array_view x, y;
	struct cell ca, cb;

	if (!array_open(&x, a->var, a->bytes) || !array_open(&y, b->var, b->bytes))
		return bytes_compare(a->var, a->bytes, b->var, b->bytes);
	while (array_next(&x, &ca)) {
		int c;

		if (!array_next(&y, &cb))
			return 1;
		if (ca.null || cb.null)
			c = (int)ca.null - (int)cb.null;
		else
			c = value_compare(x.head.element_oid, &ca, &cb);
		if (c)
			return c;
	}
	return array_next(&y, &cb) ? -1 : 0;
}

int value_compare(uint32_t oid, const struct cell *a, const struct cell *b)
{
	const struct type_info *ti;

	switch (oid) {
	case T_NUMERIC:
		return num_values_compare(a, b);
	case T_BPCHAR:
		return bytes_compare(a->var, bpchar_bytes(a->var, a->bytes), b->var, bpchar_bytes(b->var, b->bytes));
	case T_INTERVAL: {
		i128 x = interval_span(interval_get(a->var)), y = interval_span(interval_get(b->var));

		return CMP(x, y);
	}
	default:
		break;
	}
	switch ((enum phys)a->phys) {
	case PHYS_BOOL:
	case PHYS_I16:
	case PHYS_I32:
	case PHYS_I64:
		return CMP(a->i, b->i);
	case PHYS_F64:
		return f64_compare(a->f, b->f);
	case PHYS_I128:
		return CMP(a->x, b->x);
	case PHYS_VAR:
		ti = type_find(oid);
		if (ti && ti->element_oid)
			return array_compare(a, b);
		return bytes_compare(a->var, a->bytes, b->var, b->bytes);
	case PHYS_NONE:
	case PHYS_COUNT:
		break;
	}
	return 0;
}

static uint64_t hash_f64(double f)
{
	uint64_t bits;

	if (isnan(f))
		return hash_u64(UINT64_C(0x7ff8000000000000));
	f += 0.0; /* -0 becomes 0 */
	memcpy(&bits, &f, sizeof bits);
	return hash_u64(bits);
}

static uint64_t hash_array(const struct cell *v)
{
	struct array_view view;
	struct cell c;
	uint64_t h = 0;

	if (!array_open(&view, v->var, v->bytes))
		return 0;
	while (array_next(&view, &c))
		h = hash_u64(h * 31 + (c.null ? 7 : value_hash(view.head.element_oid, &c)));
	return h;
}

uint64_t value_hash(uint32_t oid, const struct cell *v)
{
	const struct type_info *ti;
	struct num n;

	switch ((enum phys)v->phys) {
	case PHYS_BOOL:
	case PHYS_I16:
	case PHYS_I32:
	case PHYS_I64:
		return hash_u64((uint64_t)v->i);
	case PHYS_F64:
		return hash_f64(v->f);
	case PHYS_I128:
		return hash_u64((uint64_t)v->x ^ hash_u64((uint64_t)(v->x >> 64)));
	case PHYS_VAR:
		break;
	case PHYS_NONE:
	case PHYS_COUNT:
		return 0;
	}
	switch (oid) {
	case T_NUMERIC:
		num_load(&n, v->var, v->bytes);
		return num_hash(&n);
	case T_BPCHAR:
		return hash_bytes(v->var, bpchar_bytes(v->var, v->bytes));
	case T_INTERVAL: {
		i128 x = interval_span(interval_get(v->var));

		return hash_u64((uint64_t)x ^ hash_u64((uint64_t)(x >> 64)));
	}
	default:
		ti = type_find(oid);
		return ti && ti->element_oid ? hash_array(v) : hash_bytes(v->var, v->bytes);
	}
}
