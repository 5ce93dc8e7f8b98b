/*
 * cli.c - what the commands share (cli).
 */
#include "cli/cli.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 31

int cli_fail(const char *what, const char *cause)
{
	if (cause && cause[0])
		fprintf(stderr, "valence: %s: %s\n", what, cause);
	else
		fprintf(stderr, "valence: %s\n", what);
	return CLI_FAILED;
}

int cli_fail_error(const char *what, const struct error *err)
{
	cli_fail(what, err->message[0] ? err->message : status_text(err->code));
	if (err->detail[0])
		fprintf(stderr, "detail: %s\n", err->detail);
	if (err->hint[0])
		cli_hint("%s", err->hint);
	return CLI_FAILED;
}

int cli_usage(const char *command, const char *fmt, ...)
{
	va_list ap;

	fputs("valence: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nhint: see valence %s%s--help\n", command ? command : "", command ? " " : "");
	return CLI_USAGE;
}

void cli_hint(const char *fmt, ...)
{
	va_list ap;

	fputs("hint: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

bool cli_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;
	uint64_t v;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || *end || v < min || v > max)
		return false;
	*out = v;
	return true;
}

bool cli_bytes(const char *text, uint64_t *out)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;
	uint64_t v;
	int shift = 0;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno)
		return false;
	unit = *end ? strchr(units, *end >= 'a' && *end <= 'z' ? *end - 'a' + 'A' : *end) : NULL;
	if (unit) {
		shift = 10 * (int)(unit - units + 1);
		end++;
		if (*end == 'i')
			end++;
	}
	if (*end == 'B')
		end++;
	if (*end || v > UINT64_MAX >> shift)
		return false;
	*out = v << shift;
	return true;
}

bool cli_address_parse(const char *text, struct cli_address *out)
{
	const char *colon = strrchr(text, ':'), *host = text;
	size_t bytes;
	uint64_t port;

	if (!colon || !cli_u64(colon + 1, 0, 65535, &port))
		return false;
	bytes = (size_t)(colon - text);
	if (text[0] == '[') {
		if (bytes < 3 || colon[-1] != ']')
			return false;
		host++;
		bytes -= 2;
	} else if (memchr(text, ':', bytes)) {
		return false;
	}
	if (bytes == 0 || bytes >= sizeof out->host)
		return false;
	memcpy(out->host, host, bytes);
	out->host[bytes] = '\0';
	out->port = (uint16_t)port;
	return true;
}

bool cli_is_loopback(const struct cli_address *a)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (strcmp(a->host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, a->host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, a->host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool cli_name_ok(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= NAME_MAX_BYTES && name[0] != '-' && name[0] != '.' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}
