/*
 * resolve.c - which function, operator or cast a call means (expr.h), by PostgreSQL's rules.
 *
 * The steps (PostgreSQL's manual, 10.2 and 10.3): an exact match; else the candidates whose arguments can be reached by implicit
 * casts; of these the ones with most exact matches, then with most preferred types; then the category that the untyped
 * literals could have, string first; then all untyped arguments as the one known type; else it is ambiguous.
 */
#include <stdio.h>

#include "base/assert.h"
#include "engine/sql/functions_int.h"

#define CANDIDATES_MAX 256
#define BUCKETS 512

static const struct cast_def { uint16_t from, to, fn; char context; } casts[] = {
#define CAST(from, to, context, fn) {from, to, FNID_##fn, #context[0]},
#include "engine/sql/casts.def"
};
#define CAST_COUNT (sizeof casts / sizeof *casts)

/* Indexes of the two tables, made before main() so that no thread ever sees them half done. */
static uint8_t cast_at[TYPE_ORDINALS][TYPE_ORDINALS]; /* position in casts + 1 */
static uint16_t fn_first[BUCKETS], fn_next[FNID_COUNT]; /* id + 1 */
_Static_assert(CAST_COUNT < 255, "cast_at holds bytes");

static uint32_t bucket_of(const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return (h ^ h >> 15) % BUCKETS;
}

__attribute__((constructor)) static void make_indexes(void)
{
	for (size_t i = 0; i < CAST_COUNT; i++)
		cast_at[type_ordinal(casts[i].from)][type_ordinal(casts[i].to)] = (uint8_t)(i + 1);
	for (uint32_t id = FNID_COUNT; id-- > 0;) {
		uint32_t b = bucket_of(fn_table[id].sql_name);

		fn_next[id] = fn_first[b];
		fn_first[b] = (uint16_t)(id + 1);
	}
}

/* -- casts ------------------------------------------------------------------------------------------------------------- */

static bool is_string(const struct type_info *ti)
{
	return ti->category == 'S';
}

/* Text form to and from: the entry of functions.def with these types. */
static const struct fn_def *io_function(uint32_t from, uint32_t to)
{
	for (uint32_t id = fn_first[bucket_of("::")]; id; id = fn_next[id - 1]) {
		const struct fn_def *fn = &fn_table[id - 1];

		if ((fn->kernel == fnk_io_out || fn->kernel == fnk_io_in) && fn->args[0] == from && fn->result == to)
			return fn;
	}
	return NULL;
}

static char context_of(enum cast_context ctx)
{
	return ctx == CAST_IMPLICIT ? 'i' : ctx == CAST_ASSIGNMENT ? 'a' : 'e';
}

static bool allowed(char of_cast, char asked)
{
	return of_cast == 'i' || asked == 'e' || of_cast == asked;
}

static const struct cast_def *cast_listed(uint32_t from, uint32_t to)
{
	int f = type_ordinal(from), t = type_ordinal(to);

	if (f < 0 || t < 0 || !cast_at[f][t])
		return NULL;
	return &casts[cast_at[f][t] - 1];
}

enum status cast_find(uint32_t from, uint32_t to, enum cast_context ctx, const struct fn_def **fn_out)
{
	const struct type_info *f = type_find(from), *t = type_find(to);
	const struct cast_def *cast;
	const struct fn_def *fn = NULL;

	*fn_out = NULL;
	if (from == to)
		return ST_OK;
	if (!f || !t)
		return ST_CANNOT_COERCE;
	cast = cast_listed(from, to);
	if (cast) {
		if (!allowed(cast->context, context_of(ctx)))
			return ST_CANNOT_COERCE;
		if (cast->fn != FNID_same)
			*fn_out = &fn_table[cast->fn];
		return ST_OK;
	}
	/* through text: to a string by assignment, from a string only when it was asked for */
	if (is_string(t) && ctx != CAST_IMPLICIT)
		fn = io_function(from, T_TEXT);
	else if ((is_string(f) || from == T_UNKNOWN) && ctx == CAST_EXPLICIT)
		fn = io_function(T_TEXT, to);
	if (!fn)
		return ST_CANNOT_COERCE;
	*fn_out = fn;
	return ST_OK;
}

const struct fn_def *cast_length_fn(uint32_t oid)
{
	switch (oid) {
	case T_VARCHAR: return &fn_table[FNID_varchar_length];
	case T_BPCHAR: return &fn_table[FNID_bpchar_length_cast];
	case T_NUMERIC: return &fn_table[FNID_numeric_length];
	case T_TIME: return &fn_table[FNID_time_length];
	case T_TIMESTAMP: return &fn_table[FNID_timestamp_length];
	case T_TIMESTAMPTZ: return &fn_table[FNID_timestamptz_length];
	case T_INTERVAL: return &fn_table[FNID_interval_length];
	default: return NULL;
	}
}

static bool can_coerce(uint32_t from, uint32_t to)
{
	const struct cast_def *cast;

	if (from == to || to == T_NONE || from == T_UNKNOWN)
		return true;
	cast = cast_listed(from, to);
	return cast && cast->context == 'i';
}

/* -- choosing among candidates -------------------------------------------------------------------------------------------- */

struct candidates {
	struct fn_candidate list[CANDIDATES_MAX];
	uint32_t count;
};

static uint32_t arg_type(const struct fn_candidate *c, uint32_t i)
{
	return i < c->arg_count ? c->args[i] : T_NONE; /* beyond: a variadic "any" */
}

static char category_of(uint32_t oid)
{
	const struct type_info *ti = type_find(oid);

	return oid == T_NONE ? 'P' : ti ? ti->category : 'U';
}

static bool preferred(char category, uint32_t oid)
{
	const struct type_info *ti = type_find(oid);

	return ti && ti->category == category && ti->preferred;
}

static void reachable(struct candidates *c, const uint32_t *types, uint32_t count)
{
	uint32_t kept = 0;

	for (uint32_t k = 0; k < c->count; k++) {
		uint32_t i = 0;

		while (i < count && can_coerce(types[i], arg_type(&c->list[k], i)))
			i++;
		if (i == count)
			c->list[kept++] = c->list[k];
	}
	c->count = kept;
}

/* Keeps the candidates with the highest score; with_preferred: preferred types of the argument's category count too. */
static void keep_best(struct candidates *c, const uint32_t *types, uint32_t count, bool with_preferred)
{
	uint32_t best = 0, kept = 0;

	for (uint32_t k = 0; k < c->count; k++) {
		uint32_t score = 0;

		for (uint32_t i = 0; i < count; i++) {
			uint32_t t = arg_type(&c->list[k], i);

			if (types[i] != T_UNKNOWN && !(c->list[k].polymorphic && category_of(t) != 'A') &&
			    (t == types[i] || (with_preferred && preferred(category_of(types[i]), t))))
				score++;
		}
		if (k == 0 || score > best) {
			best = score;
			kept = 0;
		}
		if (score == best)
			c->list[kept++] = c->list[k];
	}
	c->count = kept;
}

/* What an untyped argument may be, judged by all candidates: a category, 0 when they disagree. */
static char unknown_category(const struct candidates *c, uint32_t i, bool *has_preferred)
{
	char category = 0;
	bool conflict = false;

	*has_preferred = false;
	for (uint32_t k = 0; k < c->count; k++) {
		uint32_t t = arg_type(&c->list[k], i);
		char now = category_of(t);
		bool is_preferred = preferred(now, t);

		if (!category || (now != category && now == 'S')) {
			category = now;
			*has_preferred = is_preferred;
		} else if (now == category) {
			*has_preferred |= is_preferred;
		} else {
			conflict = true;
		}
	}
	return conflict && category != 'S' ? 0 : category;
}

static void keep_category(struct candidates *c, const uint32_t *types, uint32_t count)
{
	struct candidates left = {.count = 0};
	char category[CANDIDATES_MAX];
	bool has_preferred[CANDIDATES_MAX];

	for (uint32_t i = 0; i < count; i++) {
		if (types[i] != T_UNKNOWN)
			continue;
		category[i] = unknown_category(c, i, &has_preferred[i]);
		if (!category[i])
			return;
	}
	for (uint32_t k = 0; k < c->count; k++) {
		bool keep = true;

		for (uint32_t i = 0; i < count && keep; i++) {
			uint32_t t = arg_type(&c->list[k], i);

			if (types[i] == T_UNKNOWN)
				keep = category_of(t) == category[i] &&
				       (!has_preferred[i] || preferred(category[i], t));
		}
		if (keep)
			left.list[left.count++] = c->list[k];
	}
	if (left.count)
		*c = left;
}

/* Every known argument has one type: the untyped ones may be of it too. */
static void keep_same_type(struct candidates *c, const uint32_t *types, uint32_t count)
{
	uint32_t known = T_UNKNOWN, found = UINT32_MAX;

	for (uint32_t i = 0; i < count; i++) {
		if (types[i] == T_UNKNOWN)
			continue;
		if (known != T_UNKNOWN && known != types[i])
			return;
		known = types[i];
	}
	if (known == T_UNKNOWN)
		return;
	for (uint32_t k = 0; k < c->count; k++) {
		uint32_t i = 0;

		while (i < count && can_coerce(known, arg_type(&c->list[k], i)))
			i++;
		if (i < count)
			continue;
		if (found != UINT32_MAX)
			return;
		found = k;
	}
	if (found != UINT32_MAX) {
		c->list[0] = c->list[found];
		c->count = 1;
	}
}

/* Leaves one candidate, none, or several (ambiguous). */
static void choose(struct candidates *c, const uint32_t *types, uint32_t count)
{
	uint32_t unknowns = 0;

	reachable(c, types, count);
	if (c->count <= 1)
		return;
	for (uint32_t i = 0; i < count; i++)
		unknowns += types[i] == T_UNKNOWN;
	keep_best(c, types, count, false);
	if (c->count > 1)
		keep_best(c, types, count, true);
	if (c->count > 1 && unknowns) {
		keep_category(c, types, count);
		if (c->count > 1 && unknowns < count)
			keep_same_type(c, types, count);
	}
}

static const struct fn_def *exact(const struct candidates *c, const uint32_t *types, uint32_t count)
{
	for (uint32_t k = 0; k < c->count; k++) {
		uint32_t i = 0;

		while (i < count && arg_type(&c->list[k], i) == types[i])
			i++;
		if (i == count)
			return &fn_table[c->list[k].id];
	}
	return NULL;
}

static struct fn_candidate candidate_of(const struct fn_def *fn)
{
	/* element || array and array || element are one polymorphic operator each in PostgreSQL */
	bool polymorphic = *fn->sql_name == '|' && (fn->kernel == fnk_array_append || fn->kernel == fnk_array_prepend);

	return (struct fn_candidate){fn->args, fn->id, fn->arg_count, polymorphic};
}

static void collect(const char *name, uint32_t count, struct candidates *c)
{
	c->count = 0;
	for (uint32_t id = fn_first[bucket_of(name)]; id; id = fn_next[id - 1]) {
		const struct fn_def *fn = &fn_table[id - 1];

		if (strcmp(fn->sql_name, name))
			continue;
		if ((fn->arg_count == count || (fn->variadic_any && count >= fn->arg_count)) &&
		    c->count < CANDIDATES_MAX)
			c->list[c->count++] = candidate_of(fn);
	}
}

static void set_coercions(const struct fn_def *fn, const uint32_t *types, uint32_t count, uint32_t *coerce_out)
{
	struct fn_candidate c = candidate_of(fn);

	for (uint32_t i = 0; i < count; i++) {
		uint32_t t = arg_type(&c, i);

		coerce_out[i] = t != T_NONE ? t : types[i] == T_UNKNOWN ? T_TEXT : types[i];
	}
}

static const char *type_name(uint32_t oid)
{
	const struct type_info *ti = type_find(oid);

	return ti ? ti->name : "???";
}

static enum status no_function(const char *name, const uint32_t *types, uint32_t count, bool ambiguous,
			       struct error *err)
{
	char list[256] = "";
	size_t at = 0;
	enum status st;

	for (uint32_t i = 0; i < count && at < sizeof list; i++)
		at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", type_name(types[i]));
	st = error_set(err, ambiguous ? ST_AMBIGUOUS_FUNCTION : ST_UNDEFINED_FUNCTION, "function %s(%s) %s", name,
		       list, ambiguous ? "is not unique" : "does not exist");
	error_hint(err, ambiguous ? "Could not choose a best candidate function. You might need to add explicit type casts."
				  : "No function matches the given name and argument types. You might need to add explicit type casts.");
	return st;
}

enum status fn_choose(const char *name, const uint32_t *types, uint32_t count, const struct fn_candidate *list,
		      uint32_t list_count, uint32_t *chosen_out, struct error *err)
{
	struct candidates c = {.count = list_count};

	ASSERT_OP(list_count, <=, CANDIDATES_MAX);
	if (list_count)
		memcpy(c.list, list, sizeof *list * list_count);
	choose(&c, types, count);
	if (c.count != 1)
		return no_function(name, types, count, c.count > 1, err);
	*chosen_out = c.list[0].id;
	return ST_OK;
}

static bool is_operator_name(const char *name)
{
	return !ascii_alpha((unsigned char)*name) && *name != '_';
}

/* name(x) where name is a type: a cast written as a call */
static const struct fn_def *cast_call(const char *name, uint32_t from)
{
	const struct type_info *ti = type_by_name(name);
	const struct fn_def *fn = NULL;

	if (!ti || ti->element_oid || from == T_UNKNOWN || cast_find(from, ti->oid, CAST_EXPLICIT, &fn) != ST_OK || !fn)
		return NULL;
	return fn;
}

enum status fn_resolve(const char *name, const uint32_t *types, uint32_t count, const struct fn_def **fn_out,
		       uint32_t *coerce_out, struct error *err)
{
	struct candidates c;
	const struct fn_def *fn;
	const char *plain = strncmp(name, "pg_catalog.", 11) ? name : name + 11;

	if (is_operator_name(plain) || count > 200)
		return no_function(name, types, count > 200 ? 200 : count, false, err);
	collect(plain, count, &c);
	fn = exact(&c, types, count);
	if (!fn && count == 1)
		fn = cast_call(plain, types[0]);
	if (fn) {
		*fn_out = fn;
		set_coercions(fn, types, count, coerce_out);
		return ST_OK;
	}
	choose(&c, types, count);
	if (c.count != 1)
		return no_function(name, types, count, c.count > 1, err);
	*fn_out = &fn_table[c.list[0].id];
	set_coercions(*fn_out, types, count, coerce_out);
	return ST_OK;
}

static enum status no_operator(const char *name, uint32_t left, uint32_t right, bool ambiguous, struct error *err)
{
	enum status st = ambiguous ? ST_AMBIGUOUS_FUNCTION : ST_UNDEFINED_FUNCTION;
	const char *why = ambiguous ? "operator is not unique" : "operator does not exist";

	if (left == T_NONE)
		error_set(err, st, "%s: %s %s", why, name, type_name(right));
	else
		error_set(err, st, "%s: %s %s %s", why, type_name(left), name, type_name(right));
	if (ambiguous)
		error_hint(err, "Could not choose a best candidate operator. You might need to add explicit type casts.");
	else
		error_hint(err, left == T_NONE ? "No operator matches the given name and argument type. You might need to add an explicit type cast."
					       : "No operator matches the given name and argument types. You might need to add explicit type casts.");
	return st;
}

enum status op_resolve(const char *name, uint32_t left, uint32_t right, const struct fn_def **fn_out,
		       uint32_t coerce_out[2], struct error *err)
{
	uint32_t types[2] = {left, right}, same[2], count = 2;
	struct candidates c;
	const struct fn_def *fn;

	if (!strcmp(name, "!="))
		name = "<>";
	if (left == T_NONE) {
		types[0] = right;
		count = 1;
	}
	if (!is_operator_name(name) || !strcmp(name, "::") || !strcmp(name, "[]"))
		return no_operator(name, left, right, false, err);
	collect(name, count, &c);
	fn = exact(&c, types, count);
	if (!fn && count == 2 && (left == T_UNKNOWN) != (right == T_UNKNOWN)) { /* the untyped side like the other */
		same[0] = same[1] = left == T_UNKNOWN ? right : left;
		fn = exact(&c, same, 2);
	}
	if (!fn) {
		choose(&c, types, count);
		if (c.count != 1)
			return no_operator(name, left, right, c.count > 1, err);
		fn = &fn_table[c.list[0].id];
	}
	*fn_out = fn;
	set_coercions(fn, types, count, coerce_out);
	return ST_OK;
}

/* -- common types ------------------------------------------------------------------------------------------------------------ */

enum status type_common(const uint32_t *types, uint32_t count, uint32_t *out, struct error *err)
{
	uint32_t best = T_UNKNOWN;

	for (uint32_t i = 0; i < count; i++) {
		if (types[i] == T_UNKNOWN || types[i] == best)
			continue;
		if (best == T_UNKNOWN) {
			best = types[i];
			continue;
		}
		if (category_of(types[i]) != category_of(best))
			return error_set(err, ST_DATATYPE_MISMATCH, "types %s and %s cannot be matched", type_name(best),
					 type_name(types[i]));
		if (!preferred(category_of(best), best) && can_coerce(best, types[i]) && !can_coerce(types[i], best))
			best = types[i];
	}
	if (best == T_UNKNOWN)
		best = T_TEXT;
	for (uint32_t i = 0; i < count; i++)
		if (!can_coerce(types[i], best))
			return error_set(err, ST_CANNOT_COERCE, "could not convert type %s to %s", type_name(types[i]),
					 type_name(best));
	*out = best;
	return ST_OK;
}
