/*
 * value_text.c - pieces of text forms: numbers, bytea, UTF-8, arrays as bytes (values.h).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "engine/sql/values.h"

/* -- integers and floats -------------------------------------------------------------------------------------------- */

enum status value_int_parse(const char *s, size_t n, int64_t min, int64_t max, const char *type_name, int64_t *out,
			    struct error *err)
{
	const char *p = s, *end = s + n;
	bool neg = false;
	uint64_t v = 0, limit;

	while (p < end && ascii_space((unsigned char)*p))
		p++;
	if (p < end && (*p == '-' || *p == '+'))
		neg = *p++ == '-';
	if (p == end || !ascii_digit((unsigned char)*p))
		goto syntax;
	limit = neg ? -(uint64_t)min : (uint64_t)max;
	for (; p < end && ascii_digit((unsigned char)*p); p++) {
		if (__builtin_mul_overflow(v, UINT64_C(10), &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v) ||
		    v > limit)
			return error_set(err, ST_NUMERIC_RANGE, "value \"%.*s\" is out of range for type %s", (int)n, s,
					 type_name);
	}
	while (p < end && ascii_space((unsigned char)*p))
		p++;
	if (p != end)
		goto syntax;
	*out = neg ? (int64_t)-v : (int64_t)v;
	return ST_OK;
syntax:
	return error_set(err, ST_BAD_TEXT, "invalid input syntax for type %s: \"%.*s\"", type_name, (int)n, s);
}

static size_t word_len(const char *p, const char *end, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(end - p) < n)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (ascii_lower((unsigned char)p[i]) != word[i])
			return 0;
	return n;
}

/* NaN and infinities, which strtod would take in more spellings than PostgreSQL; bytes read, 0 none */
static size_t float_word(const char *p, const char *end, double *out)
{
	static const struct { const char *word; double v; } words[] = {
		{"nan", NAN}, {"infinity", INFINITY}, {"+infinity", INFINITY}, {"-infinity", -INFINITY},
		{"inf", INFINITY}, {"+inf", INFINITY}, {"-inf", -INFINITY},
	};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		size_t n = word_len(p, end, words[i].word);

		if (n) {
			*out = words[i].v;
			return n;
		}
	}
	return 0;
}

/* bytes of [+-]digits[.digits][e[+-]digits]; 0: none. Hexadecimal forms of strtod are not among them. */
static size_t float_span(const char *p, const char *end)
{
	const char *s = p;
	bool digit = false;

	if (s < end && (*s == '+' || *s == '-'))
		s++;
	for (; s < end && ascii_digit((unsigned char)*s); s++)
		digit = true;
	if (s < end && *s == '.')
		for (s++; s < end && ascii_digit((unsigned char)*s); s++)
			digit = true;
	if (!digit)
		return 0;
	if (s < end && (*s == 'e' || *s == 'E')) {
		const char *e = s + 1;

		if (e < end && (*e == '+' || *e == '-'))
			e++;
		if (e < end && ascii_digit((unsigned char)*e)) {
			while (e < end && ascii_digit((unsigned char)*e))
				e++;
			s = e;
		}
	}
	return (size_t)(s - p);
}

static bool digits_all_zero(const char *s, size_t n)
{
	for (size_t i = 0; i < n && s[i] != 'e' && s[i] != 'E'; i++)
		if (s[i] >= '1' && s[i] <= '9')
			return false;
	return true;
}

enum status value_f64_parse(const char *s, size_t n, bool single, const char *type_name, double *out, struct error *err)
{
	const char *p = s, *end = s + n;
	char small[512];
	size_t len;
	double d;

	while (p < end && ascii_space((unsigned char)*p))
		p++;
	while (end > p && ascii_space((unsigned char)end[-1]))
		end--;
	len = float_word(p, end, &d);
	if (len && p + len == end) {
		*out = d;
		return ST_OK;
	}
	len = float_span(p, end);
	if (len == 0 || p + len != end)
		return error_set(err, ST_BAD_TEXT, "invalid input syntax for type %s: \"%.*s\"", type_name, (int)n, s);
	if (len >= sizeof small)
		return error_set(err, ST_BAD_TEXT, "invalid input syntax for type %s: \"%.*s\"", type_name, 60, s);
	memcpy(small, p, len);
	small[len] = '\0';
	d = single ? (double)strtof(small, NULL) : strtod(small, NULL);
	if (isinf(d) || (d == 0 && !digits_all_zero(small, len)))
		return error_set(err, ST_NUMERIC_RANGE, "\"%s\" is out of range for type %s", small, type_name);
	*out = d;
	return ST_OK;
}

/* v * 2^e without factors of two in v, so that equal numbers look alike */
struct binary { unsigned __int128 v; int e; };

static struct binary odd(unsigned __int128 v, int e)
{
	for (; v && !(v & 1); v >>= 1)
		e++;
	return (struct binary){v, e};
}

/* The text's number "d.ddde+xx", if it is a binary fraction of at most 120 bits; else 0. */
static struct binary exact(const char *text)
{
	unsigned __int128 v = 0;
	int places = 0, exponent;
	bool point = false;

	for (; *text != 'e'; text++) {
		if (*text == '.') {
			point = true;
		} else if (ascii_digit((unsigned char)*text)) {
			v = v * 10 + (unsigned)(*text - '0');
			places += point;
		}
	}
	exponent = (int)strtol(text + 1, NULL, 10) - places;
	if (exponent > 26 || exponent < -26)
		return (struct binary){0, 0};
	for (int i = 0; i < exponent; i++)
		v *= 5;
	for (int i = 0; i > exponent; i--) {
		if (v % 5)
			return (struct binary){0, 0};
		v /= 5;
	}
	return odd(v, exponent);
}

/*
 * A text exactly between two floats reads back only by the rule "ties to even", and PostgreSQL does not rely on that: it prints a
 * digit more. Such texts are short enough only where floats are about 1 or more apart.
 */
static bool is_midpoint(const char *text, double d, bool single)
{
	int bits = single ? 24 : 53, e;
	uint64_t m = (uint64_t)ldexp(frexp(fabs(d), &e), bits);
	struct binary x = exact(text), above = odd(2 * m + 1, e - bits - 1), below = odd(2 * m - 1, e - bits - 1);

	if (m == UINT64_C(1) << (bits - 1)) /* a power of two: the gap below is half as wide */
		below = odd(4 * m - 1, e - bits - 2);
	return x.v && ((x.v == above.v && x.e == above.e) || (x.v == below.v && x.e == below.e));
}

static bool reads_back(const char *text, double d, bool single)
{
	if ((single ? (double)strtof(text, NULL) : strtod(text, NULL)) != d)
		return false;
	return fabs(d) < (single ? 0x1p21 : 0x1p50) || !is_midpoint(text, d, single);
}

/*
 * The shortest decimal that reads back as d, in %.*e form. Every decimal of up to 15 (6 for single) digits survives a round trip through a
 * normal number, so if a shorter one exists the first try already shows it, zeros cut. With more digits the correctly rounded one
 * may fail where its neighbour passes (at powers of two the gap below is half the gap above), so both neighbours are tried.
 */
static void shortest(double d, bool single, char *text, size_t size)
{
	int first = single ? 6 : 15, last = single ? 9 : 17;
	double least = single ? 1.17549435e-38 : 2.2250738585072014e-308;

	if (fabs(d) < least) /* subnormal: fewer digits may do */
		first = 1;
	for (int digits = first; digits <= last; digits++) {
		snprintf(text, size, "%.*e", digits - 1, d);
		if (reads_back(text, d, single))
			return;
		if (digits < last && digits > 1) {
			char *low = text + (text[0] == '-') + digits; /* the last digit: after "d." */

			for (int step = -1; step <= 1; step += 2) {
				char c = *low;

				if (c + step < '0' || c + step > '9')
					continue;
				*low = (char)(c + step);
				if (reads_back(text, d, single))
					return;
				*low = c;
			}
		}
	}
}

size_t value_f64_text(double d, int digits_extra, bool single, char out[40])
{
	char sci[40], digits[24], *p = out;
	int count = 0, exponent, limit = single ? 6 : 15;
	const char *e;

	if (isnan(d))
		return (size_t)snprintf(out, 40, "NaN");
	if (isinf(d))
		return (size_t)snprintf(out, 40, "%s", d > 0 ? "Infinity" : "-Infinity");
	if (digits_extra <= 0) {
		int n = limit + digits_extra;

		return (size_t)snprintf(out, 40, "%.*g", n < 1 ? 1 : n, d);
	}
	if (signbit(d))
		*p++ = '-';
	d = fabs(d);
	if (d == 0) {
		*p++ = '0';
		return (size_t)(p - out);
	}
	if (d < 1e15 && d == (double)(int64_t)d && (!single || d < 1e6)) { /* whole numbers need no search */
		return (size_t)(p - out) + (size_t)snprintf(p, 24, "%lld", (long long)d);
	}
	shortest(d, single, sci, sizeof sci);
	e = strchr(sci, 'e');
	for (const char *s = sci; s < e; s++)
		if (*s != '.')
			digits[count++] = *s;
	exponent = (int)strtol(e + 1, NULL, 10);
	while (count > 1 && digits[count - 1] == '0')
		count--;
	if (exponent < -4 || exponent >= limit) {
		*p++ = digits[0];
		if (count > 1) {
			*p++ = '.';
			memcpy(p, digits + 1, (size_t)count - 1);
			p += count - 1;
		}
		return (size_t)(p - out) + (size_t)snprintf(p, 8, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
	}
	if (exponent < 0) {
		*p++ = '0';
		*p++ = '.';
		for (int i = -1; i > exponent; i--)
			*p++ = '0';
	}
	for (int i = 0; i < count || i <= exponent; i++) {
		*p++ = i < count ? digits[i] : '0';
		if (i == exponent && i + 1 < count)
			*p++ = '.';
	}
	return (size_t)(p - out);
}

/* -- bytea ---------------------------------------------------------------------------------------------------------- */

void value_bytea_text(const uint8_t *p, size_t n, bool escape, struct buf *out)
{
	static const char hex[] = "0123456789abcdef";
	uint8_t *o;

	if (!escape) {
		o = buf_append(out, 2 + 2 * n);
		*o++ = '\\';
		*o++ = 'x';
		for (size_t i = 0; i < n; i++) {
			*o++ = (uint8_t)hex[p[i] >> 4];
			*o++ = (uint8_t)hex[p[i] & 15];
		}
		return;
	}
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\\')
			buf_put(out, "\\\\", 2);
		else if (p[i] < 0x20 || p[i] > 0x7e)
			buf_printf(out, "\\%03o", p[i]);
		else
			put_u8(out, p[i]);
	}
}

static int hex_digit(int c)
{
	if (ascii_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum status bytea_hex(const char *s, const char *end, uint8_t *o, size_t *bytes_out, struct error *err)
{
	uint8_t *start = o;

	while (s < end) {
		int hi, lo;

		if (ascii_space((unsigned char)*s)) {
			s++;
			continue;
		}
		hi = hex_digit((unsigned char)*s);
		if (hi < 0)
			return error_set(err, ST_BAD_PARAMETER, "invalid hexadecimal digit: \"%c\"", *s);
		if (++s == end)
			return error_set(err, ST_BAD_PARAMETER, "invalid hexadecimal data: odd number of digits");
		lo = hex_digit((unsigned char)*s);
		if (lo < 0)
			return error_set(err, ST_BAD_PARAMETER, "invalid hexadecimal digit: \"%c\"", *s);
		s++;
		*o++ = (uint8_t)(hi << 4 | lo);
	}
	*bytes_out = (size_t)(o - start);
	return ST_OK;
}

enum status value_bytea_parse(const char *s, size_t n, struct arena *arena, struct cell *out, struct error *err)
{
	const char *end = s + n;
	uint8_t *o, *start;
	size_t bytes = 0;

	if (!value_room(arena, n))
		return error_set(err, ST_NOMEM, "out of memory");
	start = o = arena_alloc(arena, n + 1);
	if (n >= 2 && s[0] == '\\' && s[1] == 'x') {
		enum status st = bytea_hex(s + 2, end, o, &bytes, err);

		if (st != ST_OK)
			return st;
		*out = cell_var(start, bytes);
		return ST_OK;
	}
	while (s < end) {
		if (*s != '\\') {
			*o++ = (uint8_t)*s++;
		} else if (end - s >= 4 && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
			   s[3] <= '7') {
			*o++ = (uint8_t)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else if (end - s >= 2 && s[1] == '\\') {
			*o++ = '\\';
			s += 2;
		} else {
			return error_set(err, ST_BAD_TEXT, "invalid input syntax for type bytea");
		}
	}
	*out = cell_var(start, (size_t)(o - start));
	return ST_OK;
}

/* -- UTF-8 ------------------------------------------------------------------------------------------------------------ */

size_t utf8_offset(const uint8_t *p, size_t bytes, size_t chars)
{
	const uint8_t *s = p, *end = p + bytes;

	while (chars-- > 0 && s < end)
		s += utf8_len_at(s, end);
	return (size_t)(s - p);
}

uint32_t utf8_decode(const uint8_t *p, uint32_t len)
{
	switch (len) {
	case 1: return p[0];
	case 2: return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
	case 3: return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
	default: return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
	}
}

uint32_t utf8_encode(uint32_t code, uint8_t out[4])
{
	if (code < 0x80) {
		out[0] = (uint8_t)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (uint8_t)(0xc0 | code >> 6);
		out[1] = (uint8_t)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		if (code >= 0xd800 && code < 0xe000)
			return 0;
		out[0] = (uint8_t)(0xe0 | code >> 12);
		out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (code & 0x3f));
		return 3;
	}
	if (code > 0x10ffff)
		return 0;
	out[0] = (uint8_t)(0xf0 | code >> 18);
	out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (code & 0x3f));
	return 4;
}

bool utf8_valid(const uint8_t *p, size_t bytes)
{
	const uint8_t *end = p + bytes;

	while (p < end) {
		uint32_t len, code;

		if (*p < 0x80) {
			if (*p == 0)
				return false;
			p++;
			continue;
		}
		len = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
		if (*p < 0xc2 || *p > 0xf4 || (size_t)(end - p) < len)
			return false;
		for (uint32_t i = 1; i < len; i++)
			if ((p[i] & 0xc0) != 0x80)
				return false;
		code = utf8_decode(p, len);
		if ((len == 3 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) ||
		    (len == 4 && (code < 0x10000 || code > 0x10ffff)))
			return false;
		p += len;
	}
	return true;
}

/* -- arrays as bytes ---------------------------------------------------------------------------------------------------- */

bool array_open(struct array_view *v, const uint8_t *p, size_t bytes)
{
	const struct type_info *ti;

	if (bytes < sizeof v->head)
		return false;
	memcpy(&v->head, p, sizeof v->head);
	ti = type_find(v->head.element_oid);
	if (!ti || v->head.count < 0)
		return false;
	v->phys = ti->phys;
	v->at = p + sizeof v->head;
	v->end = p + bytes;
	v->nulls = NULL;
	v->next = 0;
	if (v->head.has_nulls) {
		if ((size_t)(v->end - v->at) < (size_t)v->head.count)
			return false;
		v->nulls = v->at;
		v->at += v->head.count;
	}
	return true;
}

static void load_fixed(struct cell *out, const uint8_t *p)
{
	switch ((enum phys)out->phys) {
	case PHYS_BOOL: out->i = *p; break;
	case PHYS_I16: { int16_t x; memcpy(&x, p, sizeof x); out->i = x; break; }
	case PHYS_I32: { int32_t x; memcpy(&x, p, sizeof x); out->i = x; break; }
	case PHYS_I64: memcpy(&out->i, p, 8); break;
	case PHYS_F64: memcpy(&out->f, p, 8); break;
	case PHYS_I128: memcpy(&out->x, p, 16); break;
	case PHYS_NONE:
	case PHYS_VAR:
	case PHYS_COUNT: break;
	}
}

bool array_next(struct array_view *v, struct cell *out)
{
	uint32_t bytes = v->phys == PHYS_VAR ? 4 : phys_bytes(v->phys);

	if (v->next >= v->head.count)
		return false;
	*out = (struct cell){.phys = v->phys};
	if (v->nulls && v->nulls[v->next++]) {
		out->null = true;
		return true;
	}
	if (!v->nulls)
		v->next++;
	if ((size_t)(v->end - v->at) < bytes)
		return false;
	if (v->phys != PHYS_VAR) {
		load_fixed(out, v->at);
		v->at += bytes;
		return true;
	}
	memcpy(&out->bytes, v->at, 4);
	v->at += 4;
	if ((size_t)(v->end - v->at) < out->bytes)
		return false;
	out->var = v->at;
	v->at += out->bytes;
	return true;
}

void array_build(uint32_t element_oid, const struct cell *cells, uint32_t count, int32_t lower, struct arena *arena,
		 struct cell *out)
{
	const struct type_info *ti = type_find(element_oid);
	struct array_head h = {element_oid, (int32_t)count, lower, 0};
	size_t bytes = sizeof h;
	uint8_t *p, *start;

	ASSERT(ti != NULL);
	for (uint32_t i = 0; i < count; i++) {
		if (cells[i].null)
			h.has_nulls = 1;
		else
			bytes += ti->phys == PHYS_VAR ? 4 + (size_t)cells[i].bytes : phys_bytes(ti->phys);
	}
	if (h.has_nulls)
		bytes += count;
	start = p = arena_alloc(arena, bytes);
	memcpy(p, &h, sizeof h);
	p += sizeof h;
	if (h.has_nulls)
		for (uint32_t i = 0; i < count; i++)
			*p++ = cells[i].null;
	for (uint32_t i = 0; i < count; i++) {
		const struct cell *c = &cells[i];
		uint32_t n = phys_bytes(ti->phys);

		if (c->null)
			continue;
		if (ti->phys == PHYS_VAR) {
			memcpy(p, &c->bytes, 4);
			if (c->bytes)
				memcpy(p + 4, c->var, c->bytes);
			p += 4 + c->bytes;
			continue;
		}
		memcpy(p, &c->i, n); /* f is in the same place; little-endian: the low bytes */
		p += n;
	}
	*out = cell_var(start, (size_t)(p - start));
}

void interval_cell(struct interval iv, struct arena *arena, struct cell *out)
{
	*out = cell_var(arena_dup(arena, &iv, sizeof iv), sizeof iv);
}

i128 interval_span(struct interval iv)
{
	return (i128)iv.us + ((i128)iv.days + (i128)iv.months * 30) * INT64_C(86400000000);
}
