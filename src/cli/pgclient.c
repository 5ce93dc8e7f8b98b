/*
 * pgclient.c - a small client of the PostgreSQL protocol (cli).
 */
#include "cli/pgclient.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/env.h"

#define MESSAGE_MAX_BYTES (256u << 20)

struct pgc {
	struct mem *mem;
	int fd;
	uint32_t timeout_ms;
	uint64_t due_us;      /* of the call under way */
	struct clock clock;
	struct buf in;
	size_t in_at;
	char where[CLI_HOST_MAX + 8];
};

static enum status late(const struct pgc *c, struct error *err)
{
	return error_set(err, ST_CONNECTION, "%s: no answer within %u ms", c->where, c->timeout_ms);
}

static enum status broken(const struct pgc *c, const char *what, struct error *err)
{
	return error_set(err, ST_CONNECTION, "%s: %s", c->where, what);
}

static enum status wait_for(struct pgc *c, short events, struct error *err)
{
	struct pollfd pfd = {.fd = c->fd, .events = events};
	uint64_t now;
	int n;

	do {
		now = clock_now_us(&c->clock);
		if (now >= c->due_us)
			return late(c, err);
		n = poll(&pfd, 1, (int)((c->due_us - now + 999) / 1000));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return broken(c, strerror(errno), err);
	return n == 0 ? late(c, err) : ST_OK;
}

static enum status dial(struct pgc *c, const struct cli_address *to, struct error *err)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list;
	enum status st = ST_OK;
	socklen_t bytes = sizeof(int);
	char port[8];
	int rc, failed = 0;

	snprintf(port, sizeof port, "%u", to->port);
	rc = getaddrinfo(to->host, port, &hints, &list);
	if (rc != 0)
		return broken(c, gai_strerror(rc), err);
	c->fd = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		failed = errno;
	else if (connect(c->fd, list->ai_addr, list->ai_addrlen) != 0 && errno != EINPROGRESS)
		failed = errno;
	freeaddrinfo(list);
	if (!failed)
		st = wait_for(c, POLLOUT, err);
	if (st == ST_OK && !failed && getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &failed, &bytes) != 0)
		failed = errno;
	if (failed)
		return error_set(err, failed == ECONNREFUSED ? ST_CONNECTION_REFUSED : ST_CONNECTION, "%s: %s", c->where,
				 strerror(failed));
	return st;
}

static enum status send_all(struct pgc *c, const struct buf *b, struct error *err)
{
	size_t at = 0;

	while (at < b->size) {
		ssize_t n = send(c->fd, b->data + at, b->size - at, MSG_NOSIGNAL);

		if (n > 0) {
			at += (size_t)n;
		} else if (errno == EAGAIN) {
			enum status st = wait_for(c, POLLOUT, err);

			if (st != ST_OK)
				return st;
		} else if (errno != EINTR) {
			return broken(c, strerror(errno), err);
		}
	}
	return ST_OK;
}

static enum status receive(struct pgc *c, struct error *err)
{
	uint8_t bytes[16384];
	enum status st = wait_for(c, POLLIN, err);
	ssize_t n;

	if (st != ST_OK)
		return st;
	n = recv(c->fd, bytes, sizeof bytes, 0);
	if (n == 0)
		return broken(c, "the connection was closed", err);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? ST_OK : broken(c, strerror(errno), err);
	if (c->in_at > 0 && c->in_at == c->in.size) {
		buf_reset(&c->in);
		c->in_at = 0;
	}
	buf_put(&c->in, bytes, (size_t)n);
	return ST_OK;
}

/* The next message; its body is lent until the next call. */
static enum status message(struct pgc *c, char *type_out, struct reader *body_out, struct error *err)
{
	for (;;) {
		size_t have = c->in.size - c->in_at;
		const uint8_t *p = c->in.data + c->in_at;
		enum status st;
		uint32_t bytes;

		if (have >= 5) {
			memcpy(&bytes, p + 1, sizeof bytes);
			bytes = __builtin_bswap32(bytes);
			if (bytes < 4 || bytes > MESSAGE_MAX_BYTES)
				return broken(c, "that is not a PostgreSQL server", err);
			if (have > bytes) {
				*type_out = (char)p[0];
				*body_out = reader_init(p + 5, bytes - 4);
				c->in_at += (size_t)bytes + 1;
				return ST_OK;
			}
		}
		st = receive(c, err);
		if (st != ST_OK)
			return st;
	}
}

static enum status by_sqlstate(const char *code)
{
	for (int st = ST_OK + 1; st < ST_COUNT; st++)
		if (strcmp(status_sqlstate((enum status)st), code) == 0 && st != ST_WAIT && st != ST_AGAIN && st != ST_END)
			return (enum status)st;
	return ST_INTERNAL;
}

static enum status error_response(struct reader *r, struct error *err)
{
	enum status st = ST_INTERNAL;
	char *to;
	size_t bytes;

	error_set(err, st, "the engine answered an error without words");
	for (;;) {
		uint8_t field = get_u8(r);
		const char *text = field ? get_cstr(r) : NULL;

		if (!text)
			break;
		to = field == 'M' ? err->message : field == 'D' ? err->detail : field == 'H' ? err->hint : NULL;
		bytes = field == 'M' ? sizeof err->message : sizeof err->detail;
		if (to)
			snprintf(to, bytes, "%s", text);
		if (field == 'C')
			err->code = st = by_sqlstate(text);
	}
	return st;
}

static void startup_put(struct buf *b)
{
	static const char words[] = "user\0valence\0database\0valence\0application_name\0valence";

	be_put_u32(b, (uint32_t)(8 + sizeof words + 1));
	be_put_u32(b, 3u << 16);
	buf_put(b, words, sizeof words);
	put_u8(b, 0);
}

static enum status start(struct pgc *c, struct error *err)
{
	struct buf b;
	struct reader r;
	enum status st;
	char type;

	buf_init(&b, c->mem);
	startup_put(&b);
	st = send_all(c, &b, err);
	buf_fini(&b);
	while (st == ST_OK) {
		st = message(c, &type, &r, err);
		if (st != ST_OK || type == 'Z')
			break;
		if (type == 'E')
			st = error_response(&r, err);
		else if (type == 'R' && be_get_u32(&r) != 0)
			st = broken(c, "asks for a password, which this command cannot give", err);
	}
	return st;
}

struct pgc *pgc_open(struct mem *mem, const struct cli_address *to, uint32_t timeout_ms, struct error *err)
{
	struct pgc *c = MEM_NEW(mem, struct pgc);
	enum status st;

	c->mem = mem;
	c->fd = -1;
	c->timeout_ms = timeout_ms;
	c->clock = clock_system();
	c->due_us = clock_now_us(&c->clock) + timeout_ms * UINT64_C(1000);
	buf_init(&c->in, mem);
	snprintf(c->where, sizeof c->where, strchr(to->host, ':') ? "[%s]:%u" : "%s:%u", to->host, to->port);
	st = dial(c, to, err);
	if (st == ST_OK)
		st = start(c, err);
	if (st == ST_OK)
		return c;
	pgc_close(c);
	return NULL;
}

void pgc_close(struct pgc *c)
{
	static const uint8_t terminate[] = {'X', 0, 0, 0, 4};

	if (c->fd >= 0) {
		(void)!send(c->fd, terminate, sizeof terminate, MSG_NOSIGNAL);
		close(c->fd);
	}
	buf_fini(&c->in);
	MEM_FREE(c->mem, c);
}

static bool row_description(struct reader *r, struct arena *arena, struct pgc_result *out)
{
	out->column_count = be_get_u16(r);
	out->row_count = 0;
	out->names = ARENA_NEW_N(arena, const char *, out->column_count + 1);
	out->types = ARENA_NEW_N(arena, uint32_t, out->column_count + 1);
	for (uint32_t i = 0; i < out->column_count; i++) {
		const char *name = get_cstr(r);

		out->names[i] = arena_strdup(arena, name ? name : "");
		(void)get_raw(r, 6);
		out->types[i] = be_get_u32(r);
		(void)get_raw(r, 8);
	}
	return reader_ok(r);
}

struct rows { const char **at; size_t cap; };

static bool data_row(struct reader *r, struct arena *arena, struct pgc_result *out, struct rows *rows)
{
	uint32_t count = be_get_u16(r);
	size_t at = (size_t)out->row_count * out->column_count;

	if (count != out->column_count)
		return false;
	if (at + count > rows->cap) {
		size_t cap = rows->cap ? rows->cap * 2 : 64;
		const char **grown;

		while (cap < at + count)
			cap *= 2;
		grown = ARENA_NEW_N(arena, const char *, cap);
		if (at)
			memcpy(grown, rows->at, at * sizeof *grown);
		rows->at = grown;
		rows->cap = cap;
	}
	for (uint32_t i = 0; i < count; i++) {
		int32_t bytes = (int32_t)be_get_u32(r);
		const uint8_t *p = bytes < 0 ? NULL : get_raw(r, (size_t)bytes);

		if (!reader_ok(r))
			return false;
		rows->at[at + i] = p ? arena_strndup(arena, (const char *)p, (size_t)bytes) : NULL;
	}
	out->row_count++;
	return true;
}

enum status pgc_query(struct pgc *c, const char *sql, struct arena *arena, struct pgc_result *out, struct error *err)
{
	struct rows rows = {NULL, 0};
	enum status st, said = ST_OK;
	struct reader r;
	struct buf b;
	char type = 0;

	memset(out, 0, sizeof *out);
	c->due_us = clock_now_us(&c->clock) + c->timeout_ms * UINT64_C(1000);
	buf_init(&b, c->mem);
	put_u8(&b, 'Q');
	be_put_u32(&b, (uint32_t)(strlen(sql) + 5));
	buf_put(&b, sql, strlen(sql) + 1);
	st = send_all(c, &b, err);
	buf_fini(&b);
	while (st == ST_OK && type != 'Z') {
		st = message(c, &type, &r, err);
		if (st != ST_OK)
			break;
		if (type == 'E')
			said = error_response(&r, err);
		else if ((type == 'T' && !row_description(&r, arena, out)) ||
			 (type == 'D' && !data_row(&r, arena, out, &rows)))
			st = broken(c, "the answer is not well-formed", err);
	}
	out->values = rows.at;
	return st != ST_OK ? st : said;
}

const char *pgc_named(const struct pgc_result *r, uint32_t row, const char *column)
{
	for (uint32_t i = 0; i < r->column_count; i++)
		if (strcmp(r->names[i], column) == 0)
			return pgc_value(r, row, i);
	return NULL;
}
