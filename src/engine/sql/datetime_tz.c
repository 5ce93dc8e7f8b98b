/*
 * datetime_tz.c - time zones from the system's tzdata (datetime.h).
 *
 * A zone is read once per thread from /usr/share/zoneinfo (RFC 8536, the 64-bit part) and kept; instants after its last
 * transition follow the rule in the file's footer. All engines of a cluster should have one version of tzdata: what a
 * statement computes with it is stored, never recomputed by another engine (S4).
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "engine/sql/datetime.h"

#define ZONE_DIR "/usr/share/zoneinfo/"
#define ZONE_NAME_MAX 64
#define ZONE_FILE_MAX (64 * 1024)
#define ZONES_MAX 700 /* more than tzdata has; beyond it a zone is not found */

struct zone_type { int32_t offset; bool dst; uint8_t abbrev; };
struct zone_rule_day { char kind; int month, week, day; int32_t time; }; /* 'M', 'J', 'N' (0-based day) */
struct zone_rule {
	bool set, has_dst;
	int32_t std_offset, dst_offset;
	char std_name[16], dst_name[16];
	struct zone_rule_day start, end;
};
struct dt_zone {
	struct dt_zone *next;
	char key[ZONE_NAME_MAX];   /* as asked for */
	char name[ZONE_NAME_MAX];
	bool posix_key;
	uint32_t time_count, type_count, abbrev_bytes;
	int64_t *times;
	uint8_t *time_types;
	struct zone_type *types;
	char *abbrevs;
	struct zone_rule rule;     /* after the last transition; alone: the whole zone */
};

static _Thread_local struct mem zone_mem;
static _Thread_local struct dt_zone *zones;
static _Thread_local uint32_t zone_count;
static _Thread_local const struct dt_zone *session_zone;

static const struct dt_zone utc = {
	.name = "UTC", .rule = {.set = true, .std_name = "UTC"},
};

/* -- POSIX rules: "CET-1CEST,M3.5.0,M10.5.0/3" ----------------------------------------------------------------------------- */

static const char *rule_number(const char *p, int *v)
{
	if (!ascii_digit((unsigned char)*p))
		return NULL;
	for (*v = 0; ascii_digit((unsigned char)*p) && *v < 100000; p++)
		*v = *v * 10 + (*p - '0');
	return p;
}

static const char *rule_time(const char *p, int32_t *seconds) /* [+-]hh[:mm[:ss]] */
{
	int sign = 1, h, m = 0, s = 0;

	if (*p == '-' || *p == '+')
		sign = *p++ == '-' ? -1 : 1;
	p = rule_number(p, &h);
	if (p && *p == ':')
		p = rule_number(p + 1, &m);
	if (p && *p == ':')
		p = rule_number(p + 1, &s);
	if (!p || h > 167 || m > 59 || s > 59)
		return NULL;
	*seconds = sign * (h * 3600 + m * 60 + s);
	return p;
}

static const char *rule_name(const char *p, char out[16])
{
	char until = *p == '<' ? '>' : 0;
	int n = 0;

	if (until)
		p++;
	while (*p && (until ? *p != until : ascii_alpha((unsigned char)*p))) {
		if (n < 15)
			out[n++] = *p;
		p++;
	}
	out[n] = '\0';
	if (until)
		return *p == until ? p + 1 : NULL;
	return n >= 3 ? p : NULL;
}

static const char *rule_day(const char *p, struct zone_rule_day *d)
{
	d->time = 7200;
	if (*p == 'M') {
		d->kind = 'M';
		p = rule_number(p + 1, &d->month);
		p = p && *p == '.' ? rule_number(p + 1, &d->week) : NULL;
		p = p && *p == '.' ? rule_number(p + 1, &d->day) : NULL;
		if (p && (d->month < 1 || d->month > 12 || d->week < 1 || d->week > 5 || d->day > 6))
			return NULL;
	} else {
		d->kind = *p == 'J' ? 'J' : 'N';
		p = rule_number(p + (*p == 'J'), &d->day);
		if (p && d->day > 365)
			return NULL;
	}
	if (p && *p == '/')
		p = rule_time(p + 1, &d->time);
	return p;
}

static bool rule_parse(const char *p, struct zone_rule *r)
{
	int32_t west;

	*r = (struct zone_rule){.set = true};
	p = rule_name(p, r->std_name);
	p = p ? rule_time(p, &west) : NULL;
	if (!p)
		return false;
	r->std_offset = -west;
	if (!*p)
		return true;
	p = rule_name(p, r->dst_name);
	if (!p)
		return false;
	r->has_dst = true;
	r->dst_offset = r->std_offset + 3600;
	if (*p && *p != ',') {
		p = rule_time(p, &west);
		if (!p)
			return false;
		r->dst_offset = -west;
	}
	p = *p == ',' ? rule_day(p + 1, &r->start) : NULL;
	p = p && *p == ',' ? rule_day(p + 1, &r->end) : NULL;
	return p && !*p;
}

/* Days since 1970 of a rule's day in a year. */
static int64_t rule_date(const struct zone_rule_day *d, int year)
{
	int64_t first = dt_julian(year, 1, 1) - JDATE_1970;
	bool leap = dt_days_in_month(year, 2) == 29;

	if (d->kind == 'N')
		return first + d->day;
	if (d->kind == 'J')
		return first + d->day - 1 + (leap && d->day >= 60);
	{
		int64_t day = dt_julian(year, d->month, 1) - JDATE_1970;
		int weekday = (int)(((day + 4) % 7 + 7) % 7), n = d->day - weekday;

		if (n < 0)
			n += 7;
		n += 7 * (d->week - 1);
		while (n >= dt_days_in_month(year, d->month))
			n -= 7;
		return day + n;
	}
}

/* What holds at an instant (seconds since 1970): offset, and until when. */
struct span { int32_t offset; const char *abbrev; int64_t end; int32_t next_offset; };

static void rule_span(const struct zone_rule *r, int64_t t, struct span *s)
{
	int year, month, day;
	int64_t days = t >= 0 ? t / 86400 : -((-t + 86399) / 86400);
	int64_t best = INT64_MIN;

	*s = (struct span){r->std_offset, r->std_name, INT64_MAX, r->std_offset};
	if (!r->has_dst)
		return;
	dt_from_julian((int)(days + JDATE_1970), &year, &month, &day);
	for (int y = year - 1; y <= year + 1; y++) {
		int64_t on = rule_date(&r->start, y) * 86400 + r->start.time - r->std_offset;
		int64_t off = rule_date(&r->end, y) * 86400 + r->end.time - r->dst_offset;

		if (on <= t && on > best) {
			best = on;
			s->offset = r->dst_offset;
			s->abbrev = r->dst_name;
		}
		if (off <= t && off > best) {
			best = off;
			s->offset = r->std_offset;
			s->abbrev = r->std_name;
		}
		if (on > t && on < s->end) {
			s->end = on;
			s->next_offset = r->dst_offset;
		}
		if (off > t && off < s->end) {
			s->end = off;
			s->next_offset = r->std_offset;
		}
	}
}

static void zone_span(const struct dt_zone *z, int64_t t, struct span *s)
{
	uint32_t lo = 0, hi = z->time_count;
	const struct zone_type *type;

	while (lo < hi) { /* first transition after t */
		uint32_t mid = (lo + hi) / 2;

		if (z->times[mid] <= t)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == z->time_count && z->rule.set) {
		rule_span(&z->rule, t, s);
		return;
	}
	if (lo == 0) { /* before the first: the first type that is not summer time */
		uint32_t i = 0;

		while (i + 1 < z->type_count && z->types[i].dst)
			i++;
		type = &z->types[i];
	} else {
		type = &z->types[z->time_types[lo - 1]];
	}
	s->offset = type->offset;
	s->abbrev = z->abbrevs + type->abbrev;
	s->end = lo < z->time_count ? z->times[lo] : INT64_MAX;
	s->next_offset = lo < z->time_count ? z->types[z->time_types[lo]].offset : type->offset;
}

/* -- files ------------------------------------------------------------------------------------------------------------------------ */

struct tzif { uint32_t isut, isstd, leap, times, types, chars; };

static bool tzif_head(struct reader *r, struct tzif *h, uint8_t *version)
{
	const uint8_t *p = get_raw(r, 20);

	if (!p || memcmp(p, "TZif", 4))
		return false;
	*version = p[4];
	h->isut = be_get_u32(r);
	h->isstd = be_get_u32(r);
	h->leap = be_get_u32(r);
	h->times = be_get_u32(r);
	h->types = be_get_u32(r);
	h->chars = be_get_u32(r);
	return reader_ok(r) && h->types > 0 && h->types < 256 && h->times < 10000 && h->chars < 1000 && h->leap < 1000;
}

static bool tzif_body(struct reader *r, const struct tzif *h, struct dt_zone *z)
{
	z->time_count = h->times;
	z->type_count = h->types;
	z->abbrev_bytes = h->chars + 1;
	z->times = mem_alloc(&zone_mem, sizeof *z->times * (h->times + 1));
	z->time_types = mem_alloc(&zone_mem, h->times + 1);
	z->types = mem_alloc(&zone_mem, sizeof *z->types * h->types);
	z->abbrevs = mem_alloc(&zone_mem, z->abbrev_bytes);
	for (uint32_t i = 0; i < h->times; i++)
		z->times[i] = (int64_t)be_get_u64(r);
	for (uint32_t i = 0; i < h->times; i++) {
		z->time_types[i] = get_u8(r);
		if (z->time_types[i] >= h->types)
			return false;
	}
	for (uint32_t i = 0; i < h->types; i++) {
		z->types[i].offset = (int32_t)be_get_u32(r);
		z->types[i].dst = get_u8(r) != 0;
		z->types[i].abbrev = get_u8(r);
		if (z->types[i].abbrev >= z->abbrev_bytes)
			return false;
	}
	for (uint32_t i = 0; i < h->chars; i++)
		z->abbrevs[i] = (char)get_u8(r);
	get_raw(r, h->leap * 12 + h->isstd + h->isut);
	return reader_ok(r);
}

static bool tzif_parse(const uint8_t *p, size_t bytes, struct dt_zone *z)
{
	struct reader r = reader_init(p, bytes);
	struct tzif h;
	uint8_t version;
	char footer[128];
	size_t n = 0;

	if (!tzif_head(&r, &h, &version) || version < '2')
		return false;
	get_raw(&r, h.times * 5 + h.types * 6 + h.chars + h.leap * 8 + h.isstd + h.isut); /* the 32-bit part */
	if (!tzif_head(&r, &h, &version) || !tzif_body(&r, &h, z))
		return false;
	if (get_u8(&r) != '\n')
		return true; /* no footer */
	while (reader_left(&r) && n < sizeof footer - 1) {
		footer[n] = (char)get_u8(&r);
		if (footer[n] == '\n')
			break;
		n++;
	}
	footer[n] = '\0';
	if (n && !rule_parse(footer, &z->rule))
		z->rule.set = false;
	return true;
}

static void zone_drop(struct dt_zone *z)
{
	if (z->times) {
		mem_free(&zone_mem, z->times, sizeof *z->times * (z->time_count + 1));
		mem_free(&zone_mem, z->time_types, z->time_count + 1);
		mem_free(&zone_mem, z->types, sizeof *z->types * z->type_count);
		mem_free(&zone_mem, z->abbrevs, z->abbrev_bytes);
	}
	MEM_FREE(&zone_mem, z);
}

static bool file_read(const char *name, struct dt_zone *z)
{
	char path[sizeof ZONE_DIR + ZONE_NAME_MAX];
	uint8_t *data;
	ssize_t n = -1;
	int fd;
	bool ok = false;

	snprintf(path, sizeof path, "%s%s", ZONE_DIR, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	data = mem_alloc(&zone_mem, ZONE_FILE_MAX);
	n = read(fd, data, ZONE_FILE_MAX); /* a local file: one read gives all of it */
	close(fd);
	if (n > 0)
		ok = tzif_parse(data, (size_t)n, z);
	mem_free(&zone_mem, data, ZONE_FILE_MAX);
	return ok;
}

/* -- names ------------------------------------------------------------------------------------------------------------------------- */

/* abbreviations that PostgreSQL's default set knows and people use; seconds east */
static const struct { const char *name; int32_t offset; } abbreviations[] = {
	{"utc", 0}, {"gmt", 0}, {"z", 0}, {"zulu", 0}, {"ut", 0}, {"uct", 0}, {"wet", 0}, {"west", 3600}, {"bst", 3600},
	{"cet", 3600}, {"cest", 7200}, {"met", 3600}, {"mest", 7200}, {"eet", 7200}, {"eest", 10800}, {"msk", 10800},
	{"msd", 14400}, {"ist", 7200}, {"idt", 10800}, {"sast", 7200}, {"pkt", 18000}, {"hkt", 28800}, {"sgt", 28800},
	{"jst", 32400}, {"kst", 32400}, {"aest", 36000}, {"aedt", 39600}, {"acst", 34200}, {"acdt", 37800},
	{"awst", 28800}, {"nzst", 43200}, {"nzdt", 46800}, {"est", -18000}, {"edt", -14400}, {"cst", -21600},
	{"cdt", -18000}, {"mst", -25200}, {"mdt", -21600}, {"pst", -28800}, {"pdt", -25200}, {"akst", -32400},
	{"akdt", -28800}, {"hst", -36000}, {"ast", -14400}, {"adt", -10800}, {"nst", -12600}, {"ndt", -9000},
	{"brt", -10800}, {"brst", -7200}, {"art", -10800}, {"clt", -10800},
};

static bool name_is(const char *name, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++)
		if (ascii_lower((unsigned char)name[i]) != word[i])
			return false;
	return word[n] == '\0';
}

bool dt_zone_abbreviation(const char *name, size_t n, int *offset_out)
{
	for (size_t i = 0; i < sizeof abbreviations / sizeof *abbreviations; i++) {
		if (name_is(name, n, abbreviations[i].name)) {
			*offset_out = abbreviations[i].offset;
			return true;
		}
	}
	return false;
}

/* A fixed offset: "+02:00" (POSIX: west), "2", "-7.5" (hours east, unless posix) */
static bool fixed_offset(const char *name, bool posix, struct dt_zone *z)
{
	const char *p = name;
	int32_t seconds;
	bool plain = true;

	for (const char *s = p + (*p == '+' || *p == '-'); *s; s++)
		if (!ascii_digit((unsigned char)*s) && *s != '.')
			plain = false;
	if (!ascii_digit((unsigned char)p[*p == '+' || *p == '-']))
		return false;
	if (plain && strchr(p, '.')) { /* hours with a fraction */
		double hours;

		if (value_f64_parse(p, strlen(p), false, "time zone", &hours, NULL) != ST_OK || hours < -167 || hours > 167)
			return false;
		seconds = (int32_t)(hours * 3600);
	} else {
		p = rule_time(p, &seconds);
		if (!p || *p)
			return false;
	}
	if (!plain || posix)
		seconds = -seconds;
	z->rule = (struct zone_rule){.set = true, .std_offset = seconds};
	snprintf(z->rule.std_name, sizeof z->rule.std_name, "%c%02d", seconds < 0 ? '-' : '+',
		 (seconds < 0 ? -seconds : seconds) / 3600);
	if (seconds % 3600)
		snprintf(z->rule.std_name + 3, 8, ":%02d", (seconds < 0 ? -seconds : seconds) / 60 % 60);
	return true;
}

/* Names are found in any case: as given, then Capitalised/Like_This, then in capitals. */
static bool named_file(const char *name, struct dt_zone *z)
{
	char other[ZONE_NAME_MAX];
	bool start = true;

	for (const char *p = name; *p; p++)
		if (!ascii_alpha((unsigned char)*p) && !ascii_digit((unsigned char)*p) && !strchr("_/+-", *p))
			return false;
	if (*name == '/' || !*name)
		return false;
	snprintf(z->name, sizeof z->name, "%s", name);
	if (file_read(name, z))
		return true;
	for (size_t i = 0; i <= strlen(name); i++) {
		other[i] = (char)(start ? ascii_upper((unsigned char)name[i]) : ascii_lower((unsigned char)name[i]));
		start = strchr("/_-", name[i]) != NULL && name[i];
	}
	snprintf(z->name, sizeof z->name, "%s", other);
	if (file_read(other, z))
		return true;
	for (size_t i = 0; other[i]; i++)
		other[i] = (char)ascii_upper((unsigned char)other[i]);
	snprintf(z->name, sizeof z->name, "%s", other);
	return file_read(other, z);
}

static bool zone_make(const char *name, bool posix, struct dt_zone *z)
{
	int offset;

	snprintf(z->name, sizeof z->name, "%s", name);
	if (fixed_offset(name, posix, z) || named_file(name, z))
		return true;
	snprintf(z->name, sizeof z->name, "%s", name);
	if (rule_parse(name, &z->rule))
		return true;
	if (!dt_zone_abbreviation(name, strlen(name), &offset))
		return false;
	z->rule = (struct zone_rule){.set = true, .std_offset = offset};
	for (size_t i = 0; i < 15 && name[i]; i++)
		z->rule.std_name[i] = (char)ascii_upper((unsigned char)name[i]);
	return true;
}

static const struct dt_zone *zone_get(const char *name, size_t n, bool posix)
{
	struct dt_zone *z;

	if (n == 0 || n >= ZONE_NAME_MAX || memchr(name, '\0', n))
		return NULL;
	if (name_is(name, n, "utc") || name_is(name, n, "gmt"))
		return &utc;
	for (z = zones; z; z = z->next)
		if (z->posix_key == posix && strlen(z->key) == n && memcmp(z->key, name, n) == 0)
			return z;
	if (zone_count >= ZONES_MAX)
		return NULL;
	if (!zone_mem.name)
		mem_init(&zone_mem, NULL, "time zones", 0);
	z = MEM_NEW(&zone_mem, struct dt_zone);
	memcpy(z->key, name, n);
	z->posix_key = posix;
	if (!zone_make(z->key, posix, z)) {
		zone_drop(z);
		return NULL;
	}
	z->next = zones;
	zones = z;
	zone_count++;
	return z;
}

void dt_zones_forget(void)
{
	while (zones) {
		struct dt_zone *z = zones;

		zones = z->next;
		zone_drop(z);
	}
	zone_count = 0;
	session_zone = NULL;
}

const struct dt_zone *dt_zone_find(const char *name, size_t n)
{
	return zone_get(name, n, false);
}

const struct dt_zone *dt_zone_find_posix(const char *name, size_t n)
{
	return zone_get(name, n, true);
}

void dt_zone_session_changed(void)
{
	session_zone = NULL;
}

const struct dt_zone *dt_zone_session(void)
{
	const char *name = value_settings_get()->time_zone;

	if (!session_zone) {
		session_zone = name ? dt_zone_find(name, strlen(name)) : &utc;
		if (!session_zone) /* the session checks names when they are set: value_time_zone_ok */
			session_zone = &utc;
	}
	return session_zone;
}

const char *dt_zone_name(const struct dt_zone *z)
{
	return z->name;
}

/* -- offsets -------------------------------------------------------------------------------------------------------------------------- */

#define EPOCH_2000 INT64_C(946684800) /* seconds since 1970 */

static int64_t floor_seconds(int64_t us)
{
	int64_t s = us / DT_SEC;

	return s - (us % DT_SEC < 0);
}

int dt_zone_offset_utc(const struct dt_zone *z, int64_t utc_us, const char **abbrev_out)
{
	struct span s;

	zone_span(z, floor_seconds(utc_us) + EPOCH_2000, &s);
	if (abbrev_out)
		*abbrev_out = s.abbrev;
	return s.offset;
}

/*
 * The transition nearest to the wall clock decides: the time is before it by the old offset, or after it by the new one; in a gap
 * the old offset is taken, in a fold the new one.
 */
int dt_zone_offset_local(const struct dt_zone *z, int64_t local_us)
{
	int64_t local = floor_seconds(local_us) + EPOCH_2000, before, after;
	struct span s;

	zone_span(z, local - 86400, &s);
	if (s.end == INT64_MAX)
		return s.offset;
	before = local - s.offset;
	after = local - s.next_offset;
	if (before < s.end && after < s.end)
		return s.offset;
	if (before > s.end && after >= s.end) {
		/* a second transition within two days of the first does not happen often, but let the rules decide it */
		struct span later;

		zone_span(z, after, &later);
		return later.offset == s.next_offset ? s.next_offset : later.offset;
	}
	return before > after ? s.offset : s.next_offset;
}
