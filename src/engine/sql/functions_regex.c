/*
 * functions_regex.c - kernels of regular expressions (functions.def), on PCRE2.
 *
 * Why PCRE2: glibc's regcomp() reads the process's locale (here always "C": bytes, not UTF-8 characters), knows none of
 * \d \w \y (?:) (?=) and lazy quantifiers that PostgreSQL's advanced syntax has, and backtracks without a bound. PCRE2 is
 * Unicode-aware by itself, and its match limit turns a runaway pattern into an error. What differs: where two alternatives match
 * at one place PCRE2 takes the first, PostgreSQL the longest; and equivalence classes [[=a=]] are not there.
 *
 * Spelling differences are translated: \m \M \y \Y \Z, and directors "***:" "***=" and "(?i)" options at the front.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "engine/sql/functions_int.h"

#define MATCH_LIMIT 2000000 /* steps of one match: about 20 ms */
#define DEPTH_LIMIT 50000
#define HEAP_LIMIT 16384    /* KiB */

struct regex {
	pcre2_code *code;
	pcre2_match_data *match;
	pcre2_match_context *context;
	uint32_t groups;
};

static void put(struct buf *b, const char *text)
{
	buf_put(b, text, strlen(text));
}

/* PostgreSQL's escapes that PCRE2 spells differently. Inside brackets only \ is special in both. */
static void translate(const uint8_t *p, size_t n, bool fold, struct buf *b)
{
	const uint8_t *end = p + n;
	bool bracket = false;

	while (p < end) {
		if (*p == '\\' && p + 1 < end) {
			switch (bracket ? 0 : p[1]) {
			case 'm': put(b, "\\b(?=\\w)"); break;
			case 'M': put(b, "\\b(?<=\\w)"); break;
			case 'y': put(b, "\\b"); break;
			case 'Y': put(b, "\\B"); break;
			case 'Z': put(b, "\\z"); break;
			default: buf_put(b, p, 2);
			}
			p += 2;
			continue;
		}
		if (!bracket && *p == '[') {
			bracket = true;
			put_u8(b, *p++);
			if (p < end && *p == '^')
				put_u8(b, *p++);
			if (p < end && *p == ']')
				put(b, "\\]"), p++;
			continue;
		}
		if (bracket && *p == '[' && p + 1 < end && (p[1] == ':' || p[1] == '.' || p[1] == '=')) {
			uint8_t kind = p[1];

			if (fold && (size_t)(end - p) >= 9 &&
			    (memcmp(p, "[:upper:]", 9) == 0 || memcmp(p, "[:lower:]", 9) == 0)) {
				put(b, "[:alpha:]"); /* without case they are one class */
				p += 9;
				continue;
			}
			put_u8(b, *p++);
			put_u8(b, *p++);
			while (p < end && !(*p == kind && p + 1 < end && p[1] == ']'))
				put_u8(b, *p++);
			if (p < end) {
				put_u8(b, *p++);
				put_u8(b, *p++);
			}
			continue;
		}
		if (bracket && *p == ']')
			bracket = false;
		put_u8(b, *p++);
	}
}

/* in PostgreSQL's words where it has them */
static enum status pattern_error(struct eval *ev, int code)
{
	uint8_t text[128];
	const char *what;

	switch (code) {
	case PCRE2_ERROR_MISSING_CLOSING_PARENTHESIS:
	case PCRE2_ERROR_UNMATCHED_CLOSING_PARENTHESIS: what = "parentheses () not balanced"; break;
	case PCRE2_ERROR_MISSING_SQUARE_BRACKET: what = "brackets [] not balanced"; break;
	case PCRE2_ERROR_END_BACKSLASH:
	case PCRE2_ERROR_UNKNOWN_ESCAPE: what = "invalid escape \\ sequence"; break;
	case PCRE2_ERROR_QUANTIFIER_INVALID: what = "quantifier operand invalid"; break;
	case PCRE2_ERROR_CLASS_RANGE_ORDER: what = "invalid character range"; break;
	default:
		pcre2_get_error_message(code, text, sizeof text);
		what = (const char *)text;
	}
	return error_set(ev->err, ST_BAD_REGEX, "invalid regular expression: %s", what);
}

static enum status compile(struct eval *ev, const struct slice *pattern, uint32_t options, struct regex *re)
{
	struct buf b;
	int code;
	size_t at;

	fn_buf_init(ev, &b);
	if (pattern->bytes >= 4 && memcmp(pattern->p, "***=", 4) == 0) {
		options = PCRE2_LITERAL | (options & PCRE2_CASELESS);
		buf_put(&b, pattern->p + 4, pattern->bytes - 4);
	} else {
		uint32_t skip = pattern->bytes >= 4 && memcmp(pattern->p, "***:", 4) == 0 ? 4 : 0;

		translate(pattern->p + skip, pattern->bytes - skip, options & PCRE2_CASELESS, &b);
	}
	options |= PCRE2_UTF;
	if (!(options & PCRE2_LITERAL))
		options |= PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
	re->code = pcre2_compile(b.size ? b.data : (const uint8_t *)"", b.size, options, &code, &at, NULL);
	buf_fini(&b);
	if (!re->code)
		return pattern_error(ev, code);
	re->match = pcre2_match_data_create_from_pattern(re->code, NULL);
	re->context = pcre2_match_context_create(NULL);
	pcre2_set_match_limit(re->context, MATCH_LIMIT);
	pcre2_set_depth_limit(re->context, DEPTH_LIMIT);
	pcre2_set_heap_limit(re->context, HEAP_LIMIT);
	pcre2_pattern_info(re->code, PCRE2_INFO_CAPTURECOUNT, &re->groups);
	return ST_OK;
}

static void release(struct regex *re)
{
	if (!re->code)
		return;
	pcre2_match_context_free(re->context);
	pcre2_match_data_free(re->match);
	pcre2_code_free(re->code);
	re->code = NULL;
}

/*
 * The patterns of the last few calls on this thread, most recent first: a constant pattern is compiled once, not once a vector. Only
 * speed depends on it.
 */
#define CACHE_MAX 8
static _Thread_local struct cached { struct regex re; uint32_t options, bytes; uint8_t pattern[128]; } cache[CACHE_MAX];

void regex_forget(void)
{
	for (int i = 0; i < CACHE_MAX; i++)
		release(&cache[i].re);
	memset(cache, 0, sizeof cache);
}

static enum status get_regex(struct eval *ev, const struct slice *pattern, uint32_t options, struct regex *own,
			     struct regex **out)
{
	struct cached c;
	enum status st;
	int i = 0;

	own->code = NULL;
	if (pattern->bytes > sizeof c.pattern) {
		*out = own;
		return compile(ev, pattern, options, own);
	}
	for (; i < CACHE_MAX && cache[i].re.code; i++)
		if (cache[i].options == options && cache[i].bytes == pattern->bytes &&
		    (pattern->bytes == 0 || memcmp(cache[i].pattern, pattern->p, pattern->bytes) == 0))
			break;
	if (i == 0 && cache[0].re.code) {
		*out = &cache[0].re;
		return ST_OK;
	}
	if (i < CACHE_MAX && cache[i].re.code) {
		c = cache[i];
	} else {
		st = compile(ev, pattern, options, &c.re);
		if (st != ST_OK)
			return st;
		c.options = options;
		c.bytes = pattern->bytes;
		if (pattern->bytes)
			memcpy(c.pattern, pattern->p, pattern->bytes);
		if (i == CACHE_MAX)
			release(&cache[--i].re);
	}
	memmove(cache + 1, cache, sizeof *cache * (size_t)i);
	cache[0] = c;
	*out = &cache[0].re;
	return ST_OK;
}

/* Looks from byte `from` on. *hit says whether there is a match; then ovector holds it. */
static enum status search(struct eval *ev, struct regex *re, const struct slice *s, size_t from, bool *hit)
{
	int rc = pcre2_match(re->code, s->bytes ? s->p : (const uint8_t *)"", s->bytes, from, PCRE2_NO_UTF_CHECK,
			     re->match, re->context);

	*hit = rc > 0;
	if (rc > 0 || rc == PCRE2_ERROR_NOMATCH)
		return ST_OK;
	return error_set(ev->err, ST_TOO_COMPLEX, "regular expression is too complex for this text");
}

static enum status parse_flags(struct eval *ev, const struct slice *flags, uint32_t *options, bool *global)
{
	*options = PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY;
	*global = false;
	for (uint32_t i = 0; flags && i < flags->bytes; i++) {
		switch (flags->p[i]) {
		case 'g': *global = true; break;
		case 'i': *options |= PCRE2_CASELESS; break;
		case 'c': *options &= ~(uint32_t)PCRE2_CASELESS; break;
		case 'x': *options |= PCRE2_EXTENDED; break;
		case 's': *options = (*options | PCRE2_DOTALL) & ~(uint32_t)PCRE2_MULTILINE; break;
		case 'n':
		case 'm': *options = (*options | PCRE2_MULTILINE) & ~(uint32_t)PCRE2_DOTALL; break;
		case 'p': *options &= ~(uint32_t)PCRE2_DOTALL; break;
		case 'w': *options |= PCRE2_MULTILINE; break;
		case 'e':
		case 't': break;
		case 'q': *options |= PCRE2_LITERAL; break;
		default:
			return error_set(ev->err, ST_BAD_PARAMETER, "invalid regular expression option: \"%c\"",
					 flags->p[i]);
		}
	}
	if (*options & PCRE2_LITERAL)
		*options &= PCRE2_LITERAL | PCRE2_CASELESS;
	return ST_OK;
}

#define DEFAULT_OPTIONS (PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY)

static enum status match_rows(KERNEL_ARGS, uint32_t options, bool want)
{
	EACH_ROW(r) {
		struct regex own, *re;
		bool hit = false;
		enum status st = get_regex(ev, &ARG(1, var, r), options, &own, &re);

		if (st == ST_OK)
			st = search(ev, re, &ARG(0, var, r), 0, &hit);
		release(&own);
		if (st != ST_OK)
			return st;
		out->b[r] = hit == want;
	}
	return ST_OK;
}

KERNEL(regex_match)
{
	return match_rows(KERNEL_PASS, DEFAULT_OPTIONS, true);
}

KERNEL(regex_not_match)
{
	return match_rows(KERNEL_PASS, DEFAULT_OPTIONS, false);
}

KERNEL(regex_imatch)
{
	return match_rows(KERNEL_PASS, DEFAULT_OPTIONS | PCRE2_CASELESS, true);
}

KERNEL(regex_not_imatch)
{
	return match_rows(KERNEL_PASS, DEFAULT_OPTIONS | PCRE2_CASELESS, false);
}

/* -- functions: OP(re, …) for each row, with the flags of the last argument where there is one ------------------------------------ */

struct regex_call {
	struct eval *ev;
	struct regex *re;
	const struct vec *args;
	struct vec *out;
	uint32_t row;
	bool global;
};

static enum status each_call(KERNEL_ARGS, uint32_t flags_at, enum status (*op)(struct regex_call *c))
{
	EACH_ROW(r) {
		struct regex own;
		struct regex_call c = {ev, NULL, args, out, r, false};
		uint32_t options;
		enum status st = parse_flags(ev, arg_count > flags_at ? &ARG(flags_at, var, r) : NULL, &options, &c.global);

		own.code = NULL;
		if (st == ST_OK)
			st = get_regex(ev, &ARG(1, var, r), options, &own, &c.re);
		if (st == ST_OK)
			st = op(&c);
		release(&own);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

/* \1..\9 and \& in a replacement */
static void put_replacement(struct regex_call *c, const struct slice *s, const struct slice *by, struct buf *b)
{
	const size_t *at = pcre2_get_ovector_pointer(c->re->match);
	const uint8_t *p = by->p, *end = p + by->bytes;

	for (; p < end; p++) {
		uint32_t group;

		if (*p != '\\' || p + 1 == end) {
			put_u8(b, *p);
			continue;
		}
		p++;
		if (*p == '&' || ascii_digit(*p)) {
			group = *p == '&' ? 0 : (uint32_t)(*p - '0');
			if (group <= c->re->groups && at[2 * group] != PCRE2_UNSET)
				buf_put(b, s->p + at[2 * group], at[2 * group + 1] - at[2 * group]);
		} else {
			if (*p != '\\')
				put_u8(b, '\\');
			put_u8(b, *p);
		}
	}
}

/* Where the next search starts after the match just found: an empty one must step over a character. */
static size_t after_match(const struct regex_call *c, const struct slice *s)
{
	const size_t *at = pcre2_get_ovector_pointer(c->re->match);

	if (at[1] > at[0] || at[1] >= s->bytes)
		return at[1] > at[0] ? at[1] : at[1] + 1;
	return at[1] + utf8_len_at(s->p + at[1], s->p + s->bytes);
}

static enum status replace_op(struct regex_call *c)
{
	const struct vec *args = c->args;
	struct slice s = ARG(0, var, c->row), by = ARG(2, var, c->row);
	size_t done = 0, from = 0;
	bool hit = true;
	struct buf b;

	fn_buf_init(c->ev, &b);
	while (from <= s.bytes && hit) {
		const size_t *at = pcre2_get_ovector_pointer(c->re->match);
		enum status st = search(c->ev, c->re, &s, from, &hit);

		if (st != ST_OK || b.size > VALUE_BYTES_MAX) {
			buf_fini(&b);
			return st != ST_OK ? st : error_set(c->ev->err, ST_PROGRAM_LIMIT, "requested length too large");
		}
		if (!hit)
			break;
		buf_put(&b, s.p + done, at[0] - done);
		put_replacement(c, &s, &by, &b);
		done = at[1];
		from = after_match(c, &s);
		if (!c->global)
			break;
	}
	if (done < s.bytes)
		buf_put(&b, s.p + done, s.bytes - done);
	return fn_buf_take(c->ev, &b, &c->out->var[c->row]);
}

KERNEL(regexp_replace)
{
	return each_call(KERNEL_PASS, 3, replace_op);
}

static struct cell group_cell(const struct regex_call *c, const struct slice *s, uint32_t group)
{
	const size_t *at = pcre2_get_ovector_pointer(c->re->match);

	if (at[2 * group] == PCRE2_UNSET)
		return (struct cell){.phys = PHYS_VAR, .null = true};
	return cell_var(s->p + at[2 * group], at[2 * group + 1] - at[2 * group]);
}

static enum status no_global(const struct regex_call *c, const char *name)
{
	return error_set(c->ev->err, ST_BAD_PARAMETER, "%s() does not support the \"global\" option", name);
}

static enum status match_op(struct regex_call *c)
{
	const struct vec *args = c->args;
	struct slice s = ARG(0, var, c->row);
	struct cell *cells, built;
	uint32_t count = c->re->groups ? c->re->groups : 1;
	bool hit;
	enum status st;

	if (c->global) {
		st = no_global(c, "regexp_match");
		error_hint(c->ev->err, "Use the regexp_matches function instead.");
		return st;
	}
	st = search(c->ev, c->re, &s, 0, &hit);
	if (st != ST_OK || !hit) {
		if (st == ST_OK)
			out_null(c->ev, c->out, c->row);
		return st;
	}
	cells = ARENA_NEW_N(c->ev->arena, struct cell, count);
	for (uint32_t g = 0; g < count; g++)
		cells[g] = group_cell(c, &s, c->re->groups ? g + 1 : 0);
	array_build(T_TEXT, cells, count, 1, c->ev->arena, &built);
	c->out->var[c->row] = (struct slice){built.var, built.bytes, 0};
	return ST_OK;
}

KERNEL(regexp_match)
{
	return each_call(KERNEL_PASS, 2, match_op);
}

static enum status like_op(struct regex_call *c)
{
	const struct vec *args = c->args;
	bool hit = false;
	enum status st;

	if (c->global)
		return no_global(c, "regexp_like");
	st = search(c->ev, c->re, &ARG(0, var, c->row), 0, &hit);
	c->out->b[c->row] = hit;
	return st;
}

KERNEL(regexp_like)
{
	return each_call(KERNEL_PASS, 2, like_op);
}

static enum status count_op(struct regex_call *c)
{
	const struct vec *args = c->args;
	struct slice s = ARG(0, var, c->row);
	int32_t count = 0;
	bool hit = true;

	for (size_t from = 0; from <= s.bytes; from = after_match(c, &s)) {
		enum status st = search(c->ev, c->re, &s, from, &hit);

		if (st != ST_OK)
			return st;
		if (!hit)
			break;
		count++;
	}
	c->out->i32[c->row] = count;
	return ST_OK;
}

KERNEL(regexp_count)
{
	return each_call(KERNEL_PASS, 2, count_op);
}

/* substring(text from pattern): the first group, or the whole match */
static enum status substring_op(struct regex_call *c)
{
	const struct vec *args = c->args;
	struct slice s = ARG(0, var, c->row);
	struct cell found = {.null = true};
	bool hit;
	enum status st = search(c->ev, c->re, &s, 0, &hit);

	if (st != ST_OK)
		return st;
	if (hit)
		found = group_cell(c, &s, c->re->groups ? 1 : 0);
	out_cell(c->ev, c->out, c->row, &found);
	return ST_OK;
}

KERNEL(regexp_substring)
{
	return each_call(KERNEL_PASS, 2, substring_op);
}

/* an empty match at the very start or end, or right after another, splits nothing */
static enum status split_op(struct regex_call *c)
{
	const struct vec *args = c->args;
	struct slice s = ARG(0, var, c->row);
	struct cell *cells, built;
	uint32_t count = 0;
	size_t done = 0;
	bool hit;

	if (!value_room(c->ev->arena, ((size_t)s.bytes + 2) * sizeof *cells)) /* a part for every byte, at most */
		return error_set(c->ev->err, ST_NOMEM, "out of memory");
	cells = ARENA_NEW_N(c->ev->arena, struct cell, (size_t)s.bytes + 2);
	for (size_t from = 0; from < s.bytes; from = after_match(c, &s)) {
		const size_t *at = pcre2_get_ovector_pointer(c->re->match);
		enum status st = search(c->ev, c->re, &s, from, &hit);

		if (st != ST_OK)
			return st;
		if (!hit)
			break;
		if (at[1] == at[0] && (at[0] == done || at[0] >= s.bytes))
			continue;
		cells[count++] = cell_var(s.p + done, at[0] - done);
		done = at[1];
	}
	cells[count++] = cell_var(s.p + done, s.bytes - done);
	array_build(T_TEXT, cells, count, 1, c->ev->arena, &built);
	c->out->var[c->row] = (struct slice){built.var, built.bytes, 0};
	return ST_OK;
}

KERNEL(regexp_split)
{
	return each_call(KERNEL_PASS, 2, split_op);
}

/* -- SIMILAR TO: its pattern as a regular expression ------------------------------------------------------------------------------------ */

/*
 * The pattern with escape (NULL: backslash) as a regular expression. Two escape-double-quotes part it in three: the
 * first takes as little as it can, the middle one is the group.
 */
static enum status similar_pattern(struct eval *ev, const struct slice *s, const struct slice *escape, struct slice *res)
{
	const uint8_t *esc = escape ? escape->p : (const uint8_t *)"\\";
	size_t esc_n = escape ? escape->bytes : 1;
	bool bracket = false, lazy = false;
	int quotes = 0;
	struct buf b;

	if (esc_n && esc_n != utf8_len_at(esc, esc + esc_n)) {
		enum status st = error_set(ev->err, ST_BAD_ESCAPE, "invalid escape string");

		error_hint(ev->err, "Escape string must be empty or one character.");
		return st;
	}
	for (uint32_t i = 0; esc_n && i + esc_n < s->bytes; i++)
		lazy = lazy || (s->p[i + esc_n] == '"' && memcmp(s->p + i, esc, esc_n) == 0);
	fn_buf_init(ev, &b);
	put(&b, "^(?:");
	for (const uint8_t *p = s->p, *end = p + s->bytes; p < end; p++) {
		if (esc_n && (size_t)(end - p) > esc_n && memcmp(p, esc, esc_n) == 0) {
			p += esc_n;
			if (*p != '"') {
				put_u8(&b, '\\');
				put_u8(&b, *p);
				continue;
			}
			lazy = false;
			put(&b, ++quotes == 1 ? ")(" : ")(?:");
		} else if (bracket) {
			bracket = *p != ']';
			if (*p == '\\')
				put_u8(&b, '\\');
			put_u8(&b, *p);
		} else if (*p == '%') {
			put(&b, lazy ? ".*?" : ".*");
		} else if (*p == '_') {
			put_u8(&b, '.');
		} else if (*p == '(') {
			put(&b, "(?:");
		} else {
			if (strchr("\\.^$", *p) && *p)
				put_u8(&b, '\\');
			bracket = *p == '[';
			put_u8(&b, *p);
			if (lazy && strchr("*+?}", *p) && *p)
				put_u8(&b, '?');
		}
	}
	put(&b, ")$");
	if (quotes > 2) {
		buf_fini(&b);
		return error_set(ev->err, ST_ESCAPE_USE,
				 "SQL regular expression may not contain more than two escape-double-quote separators");
	}
	return fn_buf_take(ev, &b, res);
}

KERNEL(similar_escape)
{
	EACH_ROW(r) {
		enum status st =
			similar_pattern(ev, &ARG(0, var, r), arg_count == 2 ? &ARG(1, var, r) : NULL, &out->var[r]);

		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

/* substring(x SIMILAR pattern ESCAPE e) */
KERNEL(similar_substring)
{
	EACH_ROW(r) {
		struct regex own = {0};
		struct regex_call c = {ev, NULL, args, out, r, false};
		struct slice pattern;
		enum status st = similar_pattern(ev, &ARG(1, var, r), &ARG(2, var, r), &pattern);

		if (st == ST_OK)
			st = get_regex(ev, &pattern, DEFAULT_OPTIONS, &own, &c.re);
		if (st == ST_OK)
			st = substring_op(&c);
		release(&own);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}
