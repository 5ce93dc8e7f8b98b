/*
 * like.c - LIKE patterns, and the case of characters (functions_int.h).
 *
 * The matcher remembers only the last '%': when what follows it fails, that '%' takes one more character. Earlier
 * ones need no second look, so the cost is at most text times pattern.
 */
#include <locale.h>
#include <wctype.h>

#include "engine/sql/functions_int.h"

/*
 * Unicode's simple case mapping, from the C library's C.UTF-8 tables: a locale object of our own, the process's locale is neither
 * read nor set. It is made before main(). Without that locale only ASCII has case.
 */
static locale_t utf8_locale;

__attribute__((constructor)) static void make_locale(void)
{
	utf8_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

uint32_t case_lower(uint32_t code)
{
	if (code < 0x80)
		return (uint32_t)ascii_lower((int)code);
	return utf8_locale ? (uint32_t)towlower_l((wint_t)code, utf8_locale) : code;
}

uint32_t case_upper(uint32_t code)
{
	if (code < 0x80)
		return (uint32_t)ascii_upper((int)code);
	return utf8_locale ? (uint32_t)towupper_l((wint_t)code, utf8_locale) : code;
}

bool case_alnum(uint32_t code)
{
	if (code < 0x80)
		return ascii_alpha((int)code) || ascii_digit((int)code);
	return utf8_locale && iswalnum_l((wint_t)code, utf8_locale);
}

struct like {
	const uint8_t *s, *s_end, *p, *p_end;
	bool fold, bytes;
};

static uint32_t step(const struct like *k, const uint8_t *s, const uint8_t *end)
{
	return k->bytes ? 1 : utf8_len_at(s, end);
}

/* One character each; lengths are out-arguments. */
static bool same_char(const struct like *k, const uint8_t *s, const uint8_t *p, uint32_t *s_len, uint32_t *p_len)
{
	*s_len = step(k, s, k->s_end);
	*p_len = step(k, p, k->p_end);
	if (!k->fold)
		return *s_len == *p_len && memcmp(s, p, *s_len) == 0;
	return case_lower(utf8_decode(s, *s_len)) == case_lower(utf8_decode(p, *p_len));
}

bool like_match(const uint8_t *s, size_t n, const uint8_t *pat, size_t pat_n, bool fold, bool bytes, bool *ok)
{
	struct like k = {s, s + n, pat, pat + pat_n, fold, bytes};
	const uint8_t *p = pat, *after = NULL, *retry = NULL; /* after the last '%'; where it would take one more */

	*ok = true;
	for (;;) {
		uint32_t s_len, p_len;

		if (p < k.p_end && *p == '%') {
			after = ++p;
			retry = s;
			if (p == k.p_end)
				return true;
			continue;
		}
		if (p == k.p_end) {
			if (s == k.s_end)
				return true;
		} else {
			const uint8_t *literal = p;

			if (*p == '\\') {
				if (++literal == k.p_end) {
					*ok = false;
					return false;
				}
			}
			if (s < k.s_end) {
				if (*p == '_') {
					s += step(&k, s, k.s_end);
					p++;
					continue;
				}
				if (same_char(&k, s, literal, &s_len, &p_len)) {
					s += s_len;
					p = literal + p_len;
					continue;
				}
			}
		}
		if (!after || retry >= k.s_end)
			return false;
		retry += step(&k, retry, k.s_end);
		if (!fold && *after != '_' && *after != '\\') { /* straight to where the next literal could match */
			retry = retry < k.s_end ? memchr(retry, *after, (size_t)(k.s_end - retry)) : NULL;
			if (!retry)
				return false;
		}
		s = retry;
		p = after;
	}
}

#define LIKE_KERNEL(name, folds, is_bytes, want)                                                                  \
	KERNEL(name)                                                                                           \
	{                                                                                                      \
		EACH_ROW(r) {                                                                                  \
			const struct slice *s = &ARG(0, var, r), *p = &ARG(1, var, r);                         \
			bool ok;                                                                               \
                                                                                                               \
			out->b[r] = like_match(s->p, s->bytes, p->p, p->bytes, folds, is_bytes, &ok) == want;  \
			if (!ok)                                                                               \
				return error_set(ev->err, ST_BAD_ESCAPE,                                       \
						 "LIKE pattern must not end with escape character");           \
		}                                                                                              \
		return ST_OK;                                                                                  \
	}
LIKE_KERNEL(like, false, false, true)
LIKE_KERNEL(not_like, false, false, false)
LIKE_KERNEL(ilike, true, false, true)
LIKE_KERNEL(not_ilike, true, false, false)
LIKE_KERNEL(bytea_like, false, true, true)
LIKE_KERNEL(bytea_not_like, false, true, false)

/* like_escape(pattern, escape): the pattern with \ as its escape */
KERNEL(like_escape)
{
	EACH_ROW(r) {
		const struct slice *p = &ARG(0, var, r), *e = &ARG(1, var, r);
		const uint8_t *s = p->p, *end = s + p->bytes;
		uint32_t e_len = e->bytes ? utf8_len_at(e->p, e->p + e->bytes) : 0;
		uint8_t *start, *o;

		if (e_len != e->bytes) {
			enum status st = error_set(ev->err, ST_BAD_ESCAPE, "invalid escape string");

			error_hint(ev->err, "Escape string must be empty or one character.");
			return st;
		}
		start = o = fn_room(ev, 2 * (size_t)p->bytes + 1);
		if (!o)
			return fn_failed(ev);
		while (s < end) {
			if (e_len && (size_t)(end - s) >= e_len && memcmp(s, e->p, e_len) == 0) {
				*o++ = '\\'; /* what follows is literal, whatever it is */
				s += e_len;
				if (s < end)
					*o++ = *s++;
			} else {
				if (*s == '\\')
					*o++ = '\\';
				*o++ = *s++;
			}
		}
		out->var[r] = (struct slice){start, (uint32_t)(o - start), 0};
	}
	return ST_OK;
}
