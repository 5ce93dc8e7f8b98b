/*
 * startup.c - the first packets of a connection: encryption asked for, cancel, start-up (engine/pgwire).
 *
 * No TLS yet: SSLRequest and GSSENCRequest are answered N and the client goes on in plain or leaves. Whoever gets
 * here is trusted (local trust); an engine that listens elsewhere needs what the contract says.
 */
#include "base/assert.h"
#include "engine/pgwire/pgwire_int.h"
#include "engine/sql/values.h"

#define CODE_CANCEL 80877102u
#define CODE_SSL 80877103u
#define CODE_GSSENC 80877104u
#define PROTOCOL_MAJOR 3u
#define OPTIONS_MAX_BYTES 4096

struct startup { const char *user, *database, *options; };

static enum progress refuse(struct pg_conn *c, enum status st, const struct error *err)
{
	struct error copy = *err;

	pgw_session_close(c);
	pgw_error(c, "FATAL", st, &copy);
	log_event(c->log, LOG_PGWIRE, LOG_INFO, "session refused", "peer=%s sqlstate=%s message=%s", c->peer,
		  status_sqlstate(st), copy.message);
	pgw_move(c, PH_CLOSED);
	return GO_ON;
}

static bool word_is(const char *s, const char *word)
{
	return strcmp(s, word) == 0;
}

/* Calls fn for each name and value of the packet; the reader stands after the version. False: not laid out so. */
static bool parameters(struct reader r, void *ctx, void (*fn)(void *ctx, const char *name, const char *value))
{
	for (;;) {
		const char *name = get_cstr(&r), *value;

		if (!name)
			return false;
		if (name[0] == '\0')
			return reader_left(&r) == 0;
		value = get_cstr(&r);
		if (!value)
			return false;
		fn(ctx, name, value);
	}
}

static void take_main(void *ctx, const char *name, const char *value)
{
	struct startup *st = ctx;

	if (word_is(name, "user"))
		st->user = value;
	else if (word_is(name, "database"))
		st->database = value;
	else if (word_is(name, "options"))
		st->options = value;
}

struct negotiation { struct buf *out; uint32_t count; };

static bool is_protocol_option(const char *name)
{
	return strncmp(name, "_pq_.", 5) == 0;
}

static void count_option(void *ctx, const char *name, const char *value)
{
	(void)value;
	*(uint32_t *)ctx += is_protocol_option(name);
}

static void put_option(void *ctx, const char *name, const char *value)
{
	(void)value;
	if (is_protocol_option(name))
		pgw_cstr(ctx, name);
}

/* A newer minor version or options of the protocol that we do not know: says what there is, and goes on. */
static void negotiate(struct pg_conn *c, uint32_t minor, struct reader r)
{
	uint32_t options = 0;
	size_t at;

	(void)parameters(r, &options, count_option);
	if (minor == 0 && options == 0)
		return;
	at = pgw_begin(&c->out, 'v');
	be_put_u32(&c->out, PROTOCOL_MAJOR << 16);
	be_put_u32(&c->out, options);
	(void)parameters(r, &c->out, put_option);
	pgw_end(&c->out, at);
}

struct setting { struct pg_conn *c; enum status st; struct error err; };

static void set(struct setting *s, const char *name, const char *value)
{
	if (s->st == ST_OK)
		s->st = sql_session_set(s->c->session, name, value, &s->err);
}

static void take_setting(void *ctx, const char *name, const char *value)
{
	struct setting *s = ctx;

	if (word_is(name, "user") || word_is(name, "database") || word_is(name, "options") || is_protocol_option(name))
		return;
	if (word_is(name, "replication")) {
		if (s->st == ST_OK && !word_is(value, "false") && !word_is(value, "off") && !word_is(value, "0"))
			s->st = error_set(&s->err, ST_UNSUPPORTED, "replication connections are not supported");
		return;
	}
	set(s, name, value);
}

/* The next word of options in place, backslashes taken off; NULL: no more. */
static char *option_word(char **at)
{
	char *p = *at, *word, *to;

	while (ascii_space((unsigned char)*p))
		p++;
	if (*p == '\0')
		return NULL;
	word = to = p;
	while (*p && !ascii_space((unsigned char)*p)) {
		if (*p == '\\' && p[1])
			p++;
		*to++ = *p++;
	}
	*at = *p ? p + 1 : p;
	*to = '\0';
	return word;
}

/* -c name=value, -cname=value, --name=value: as PostgreSQL's command line, a dash in a name is an underscore */
static void take_options(struct setting *s, const char *options)
{
	char text[OPTIONS_MAX_BYTES], *at = text, *word;
	size_t bytes = strlen(options);

	if (s->st == ST_OK && bytes >= sizeof text)
		s->st = error_set(&s->err, ST_PROGRAM_LIMIT, "options of %zu bytes are too long", bytes);
	if (s->st != ST_OK)
		return;
	memcpy(text, options, bytes + 1);
	while ((word = option_word(&at)) != NULL && s->st == ST_OK) {
		char *name = word + 2, *value;

		if (word_is(word, "-c"))
			name = option_word(&at);
		else if (strncmp(word, "-c", 2) != 0 && strncmp(word, "--", 2) != 0)
			name = NULL;
		value = name ? strchr(name, '=') : NULL;
		if (!value) {
			s->st = error_set(&s->err, ST_SYNTAX, "invalid command-line argument for server process: %s", word);
			error_hint(&s->err, "options are of the form -c name=value");
			return;
		}
		*value++ = '\0';
		for (char *p = name; *p; p++)
			if (*p == '-')
				*p = '_';
		set(s, name, value);
	}
}

static void welcome(struct pg_conn *c)
{
	size_t at = pgw_begin(&c->out, 'R');

	be_put_u32(&c->out, 0);
	pgw_end(&c->out, at);
	c->reporting = true;
	sql_session_report(c->session, c, pgw_parameter);
	at = pgw_begin(&c->out, 'K');
	be_put_u32(&c->out, c->pid);
	be_put_u32(&c->out, c->secret);
	pgw_end(&c->out, at);
	pgw_move(c, PH_READY);
	pgw_ready(c);
}

static enum progress start(struct pg_conn *c, uint32_t minor, struct reader r, size_t bytes)
{
	struct startup who = {NULL, NULL, NULL};
	struct setting s = {.c = c, .st = ST_OK};
	struct error err = {.code = ST_OK};
	enum status st;

	if (!parameters(r, &who, take_main))
		return pgw_fatal(c, ST_PROTOCOL,
				 "invalid startup packet layout: expected terminator as last byte");
	if (!who.user || who.user[0] == '\0')
		return pgw_fatal(c, ST_AUTH, "no user name specified in startup packet");
	if (!who.database || who.database[0] == '\0')
		who.database = who.user;
	if (!utf8_valid((const uint8_t *)who.user, strlen(who.user)) ||
	    !utf8_valid((const uint8_t *)who.database, strlen(who.database)))
		return pgw_fatal(c, ST_BAD_ENCODING, "user and database names must be valid UTF-8");
	if (c->terminate != ST_OK)
		return pgw_fatal(c, c->terminate, "%s", status_text(c->terminate));
	st = c->server->cfg.gate(c->server->cfg.ctx, &err);
	if (st == ST_OK)
		st = pgw_session_open(c, who.user, who.database, &err);
	if (st != ST_OK)
		return refuse(c, st, &err);
	if (who.options)
		take_options(&s, who.options);
	(void)parameters(r, &s, take_setting);
	if (s.st != ST_OK)
		return refuse(c, s.st, &s.err);
	negotiate(c, minor, r);
	log_event(c->log, LOG_PGWIRE, LOG_DEBUG, "session started", "peer=%s pid=%u user=%s database=%s", c->peer,
		  c->pid, who.user, who.database);
	pgw_consume(c, bytes);
	welcome(c);
	return GO_ON;
}

static enum progress decline(struct pg_conn *c, bool *done, size_t bytes)
{
	*done = true;
	pgw_consume(c, bytes);
	put_u8(&c->out, 'N');
	return GO_ON;
}

/* A client that has not said who it is need not be told why we go. */
static enum progress more(struct pg_conn *c)
{
	if (c->terminate == ST_OK)
		return NEED_INPUT;
	pgw_move(c, PH_CLOSED);
	return GO_ON;
}

enum progress pgw_startup(struct pg_conn *c)
{
	uint32_t bytes, code;
	struct reader r;

	if (pgw_available(c) < 4)
		return more(c);
	r = reader_init(pgw_front(c), 4);
	bytes = be_get_u32(&r);
	if (bytes < 8 || bytes > STARTUP_MAX_BYTES)
		return pgw_fatal(c, ST_PROTOCOL, "invalid length of startup packet");
	if (pgw_available(c) < bytes)
		return more(c);
	r = reader_init(pgw_front(c) + 4, bytes - 4);
	code = be_get_u32(&r);
	if (code == CODE_CANCEL) {
		uint32_t pid = be_get_u32(&r), secret = be_get_u32(&r);

		if (reader_ok(&r) && reader_left(&r) == 0)
			pg_server_cancel(c->server, pid, secret);
		pgw_move(c, PH_CLOSED);
		return GO_ON;
	}
	if (code == CODE_SSL && !c->ssl_done && bytes == 8)
		return decline(c, &c->ssl_done, bytes);
	if (code == CODE_GSSENC && !c->gss_done && bytes == 8)
		return decline(c, &c->gss_done, bytes);
	if (code >> 16 != PROTOCOL_MAJOR)
		return pgw_fatal(c, ST_UNSUPPORTED, "unsupported frontend protocol %u.%u: server supports 3.0 to 3.0",
				 code >> 16, code & 0xffff);
	return start(c, code & 0xffff, r, bytes);
}
