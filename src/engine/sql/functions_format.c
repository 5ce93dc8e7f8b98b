/*
 * functions_format.c - to_char of numbers (functions.def).
 *
 * Patterns: 9 0 . , D G S MI PL SG PR FM L EEEE (not), V, RN (not), TH/th, quoted text. The number is rounded to the digits
 * after the point, laid out right to left, and its sign put where the pattern or, without one, the place before the first digit says.
 */
#include <math.h>

#include "engine/sql/functions_int.h"
#include "engine/sql/num.h"

#define PATTERN_MAX 128

enum piece_kind { N_NINE, N_ZERO, N_POINT, N_COMMA, N_SIGN, N_MINUS, N_PLUS, N_PLUSMINUS, N_TEXT, N_TH, N_CURRENCY };
struct piece { uint8_t kind; char c; };
struct pattern {
	struct piece pieces[PATTERN_MAX];
	int count, whole, fraction, shift;   /* digit places before and after the point; V */
	int first_zero, last_zero;           /* places: whole ones from the left, then the fraction's; -1 none */
	bool fill_mode, angle, sign_given, sign_first;
};

static bool add(struct pattern *p, uint8_t kind, char c)
{
	if (p->count == PATTERN_MAX)
		return false;
	p->pieces[p->count++] = (struct piece){kind, c};
	return true;
}

static bool starts(const char *p, const char *end, const char *word)
{
	for (; *word; p++, word++)
		if (p >= end || ascii_upper((unsigned char)*p) != *word)
			return false;
	return true;
}

static enum status bad(struct eval *ev, const char *message)
{
	return error_set(ev->err, ST_SYNTAX, "%s", message);
}

static enum status pattern_parse(struct eval *ev, const char *s, size_t n, struct pattern *p)
{
	const char *end = s + n;
	bool point = false, quoted = false, ok = true;
	int places = 0;

	*p = (struct pattern){.first_zero = -1, .last_zero = -1};
	while (s < end && ok) {
		if (*s == '"') {
			quoted = !quoted;
			s++;
		} else if (quoted) {
			ok = add(p, N_TEXT, *s++);
		} else if (*s == '9' || *s == '0') {
			if (*s == '0') {
				if (p->first_zero < 0)
					p->first_zero = places;
				p->last_zero = places;
			}
			ok = add(p, *s == '9' ? N_NINE : N_ZERO, *s);
			places++;
			if (point && p->shift >= 0)
				p->fraction++;
			else
				p->whole++;
			s++;
		} else if (*s == '.' || starts(s, end, "D")) {
			if (point)
				return bad(ev, "multiple decimal points");
			point = true;
			ok = add(p, N_POINT, '.');
			s++;
		} else if (*s == ',' || starts(s, end, "G")) {
			ok = add(p, N_COMMA, ',');
			s++;
		} else if (starts(s, end, "FM")) {
			p->fill_mode = true;
			s += 2;
		} else if (starts(s, end, "MI")) {
			p->sign_given = true;
			ok = add(p, N_MINUS, 0);
			s += 2;
		} else if (starts(s, end, "PL")) {
			p->sign_given = true;
			ok = add(p, N_PLUS, 0);
			s += 2;
		} else if (starts(s, end, "SG")) {
			p->sign_given = true;
			ok = add(p, N_PLUSMINUS, 0);
			s += 2;
		} else if (starts(s, end, "PR")) {
			p->angle = true;
			s += 2;
		} else if (starts(s, end, "EEEE") || starts(s, end, "RN") || starts(s, end, "V")) {
			return error_set(ev->err, ST_UNSUPPORTED, "\"%.*s\" is not supported in a number format",
					 starts(s, end, "EEEE") ? 4 : starts(s, end, "RN") ? 2 : 1, s);
		} else if (starts(s, end, "TH")) {
			ok = add(p, N_TH, *s);
			s += 2;
		} else if (starts(s, end, "S")) {
			p->sign_given = true;
			p->sign_first = places == 0;
			ok = add(p, N_SIGN, 0);
			s++;
		} else if (starts(s, end, "L")) {
			ok = add(p, N_CURRENCY, ' ');
			s++;
		} else {
			if (*s == '\\' && s + 1 < end)
				s++;
			ok = add(p, N_TEXT, *s++);
		}
	}
	return ok ? ST_OK : bad(ev, "number format is too long");
}

/* Digits of |v|, rounded: whole ones without leading zeros, then the fraction; "#" when the whole part has no room. */
struct digits { char whole[PATTERN_MAX], fraction[PATTERN_MAX]; int whole_n; bool negative, overflow; };

static void digits_of(struct eval *ev, struct num *v, const struct pattern *p, struct digits *d)
{
	struct buf text;
	const char *dot;
	size_t n;

	num_round(v, p->fraction, ev->arena);
	d->negative = num_sign(v) < 0;
	if (d->negative)
		num_neg(v);
	fn_buf_init(ev, &text);
	num_text_scale(v, p->fraction, &text);
	put_u8(&text, 0);
	dot = strchr((const char *)text.data, '.');
	n = dot ? (size_t)(dot - (const char *)text.data) : text.size - 1;
	if (n == 1 && text.data[0] == '0')
		n = 0; /* a zero before the point is the pattern's matter */
	d->overflow = n > (size_t)p->whole;
	d->whole_n = d->overflow ? 0 : (int)n;
	if (!d->overflow)
		memcpy(d->whole, text.data, n);
	for (int i = 0; i < p->fraction; i++)
		d->fraction[i] = d->overflow ? '#' : dot[1 + i];
	buf_fini(&text);
}

static void put_sign(const struct digits *d, const struct pattern *p, struct buf *out)
{
	if (p->angle)
		put_u8(out, d->negative ? '<' : ' ');
	else
		put_u8(out, d->negative ? '-' : ' ');
}

/* last place of the fraction that FM still shows */
static int last_shown(const struct pattern *p, const struct digits *d)
{
	int last = p->fraction;

	while (p->fill_mode && last > 0 && d->fraction[last - 1] == '0' && p->last_zero < p->whole + last - 1)
		last--;
	return last;
}

static void layout(const struct pattern *p, const struct digits *d, struct buf *out)
{
	int place = 0, lead = p->whole - d->whole_n, shown = last_shown(p, d), fraction = 0;
	bool started = false, after_point = false;
	/* the first place that is shown: a digit, a forced zero, or the point */
	int first = p->first_zero >= 0 && p->first_zero < lead ? p->first_zero : lead;
	bool auto_sign = !p->sign_given, sign_s_pending = false;
	const char *th;

	if (d->overflow)
		first = lead = 0;
	/* without a fraction a zero is shown as one digit */
	if (p->fraction == 0 && first >= p->whole && p->whole > 0)
		first = p->whole - 1;
	for (int i = 0; i < p->count; i++) {
		const struct piece *c = &p->pieces[i];

		switch (c->kind) {
		case N_NINE:
		case N_ZERO:
			if (after_point) {
				if (fraction < shown)
					put_u8(out, (uint8_t)d->fraction[fraction]);
				fraction++;
				break;
			}
			if (place < first) {
				if (!p->fill_mode)
					put_u8(out, ' ');
				place++;
				break;
			}
			if (!started) {
				started = true;
				if (auto_sign && (d->negative || !p->fill_mode))
					put_sign(d, p, out);
				if (sign_s_pending)
					put_u8(out, d->negative ? '-' : '+');
				sign_s_pending = false;
			}
			put_u8(out, d->overflow ? '#' : place < lead ? '0' : (uint8_t)d->whole[place - lead]);
			place++;
			break;
		case N_POINT:
			if (!started) {
				started = true;
				if (auto_sign && (d->negative || !p->fill_mode))
					put_sign(d, p, out);
				if (sign_s_pending)
					put_u8(out, d->negative ? '-' : '+');
				sign_s_pending = false;
			}
			after_point = true;
			put_u8(out, '.');
			break;
		case N_COMMA:
			if (started)
				put_u8(out, ',');
			else if (!p->fill_mode)
				put_u8(out, ' ');
			break;
		case N_SIGN:
			if (!started && p->sign_first)
				sign_s_pending = true;
			else
				put_u8(out, d->negative ? '-' : '+');
			break;
		case N_MINUS:
			if (d->negative || !p->fill_mode)
				put_u8(out, d->negative ? '-' : ' ');
			break;
		case N_PLUS:
			if (!d->negative || !p->fill_mode)
				put_u8(out, d->negative ? ' ' : '+');
			break;
		case N_PLUSMINUS:
			put_u8(out, d->negative ? '-' : '+');
			break;
		case N_TH:
			if (d->negative || p->fraction)
				break;
			th = d->whole_n >= 2 && d->whole[d->whole_n - 2] == '1' ? "TH"
			     : d->whole_n == 0 ? "TH"
			     : d->whole[d->whole_n - 1] == '1' ? "ST"
			     : d->whole[d->whole_n - 1] == '2' ? "ND"
			     : d->whole[d->whole_n - 1] == '3' ? "RD" : "TH";
			for (int k = 0; k < 2; k++)
				put_u8(out, (uint8_t)(c->c == 'T' ? th[k] : ascii_lower(th[k])));
			break;
		default:
			put_u8(out, (uint8_t)c->c);
		}
	}
	if (p->angle && (d->negative || !p->fill_mode))
		put_u8(out, d->negative ? '>' : ' ');
}

/* minus: it has the sign even when nothing is left of it after rounding, as a float does */
static enum status to_char(struct eval *ev, struct num *v, bool minus, const struct slice *fmt, struct slice *res)
{
	struct pattern p;
	struct digits d;
	struct buf b;
	enum status st = pattern_parse(ev, (const char *)fmt->p, fmt->bytes, &p);

	if (st != ST_OK)
		return st;
	if (num_special(v)) { /* shown as too wide a number, as PostgreSQL does for infinity */
		d = (struct digits){.overflow = true, .negative = v->kind == NUM_NINF};
		memset(d.fraction, '#', sizeof d.fraction);
	} else {
		digits_of(ev, v, &p, &d);
		d.negative = d.negative || minus;
	}
	fn_buf_init(ev, &b);
	layout(&p, &d, &b);
	return fn_buf_take(ev, &b, res);
}

#define TO_CHAR_NUMBER(name, MINUS, LOAD)                                                \
	KERNEL(name)                                                                     \
	{                                                                                \
		EACH_ROW(r) {                                                            \
			struct num v;                                                    \
			enum status st;                                                  \
                                                                                         \
			LOAD;                                                            \
			st = to_char(ev, &v, MINUS, &ARG(1, var, r), &out->var[r]);      \
			if (st != ST_OK)                                                 \
				return st;                                               \
		}                                                                        \
		return ST_OK;                                                            \
	}
TO_CHAR_NUMBER(to_char_num, false, num_load(&v, ARG(0, var, r).p, ARG(0, var, r).bytes))
TO_CHAR_NUMBER(to_char_i32, false, num_from_i64(&v, ARG(0, i32, r)))
TO_CHAR_NUMBER(to_char_i64, false, num_from_i64(&v, ARG(0, i64, r)))
TO_CHAR_NUMBER(to_char_f64, signbit(ARG(0, f64, r)) != 0, num_from_f64(&v, ARG(0, f64, r), 15, ev->arena))
