/*
 * cli.h - what the commands share: errors as the contract says, addresses, sizes (cli).
 */
#ifndef VALENCE_CLI_CLI_H
#define VALENCE_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 }; /* exit statuses */

/* "valence: what failed: cause" on standard error; cause may be NULL. Returns CLI_FAILED. */
int cli_fail(const char *what, const char *cause);
int cli_fail_error(const char *what, const struct error *err); /* detail and hint as well */
/* "valence: ..." and a hint where help is. command may be NULL. Returns CLI_USAGE. */
int cli_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cli_hint(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define CLI_HOST_MAX 256
struct cli_address { char host[CLI_HOST_MAX]; uint16_t port; };
/* HOST:PORT or [HOST]:PORT. False: not of that form. */
bool cli_address_parse(const char *text, struct cli_address *out);
/* The host is a loopback address, or the name localhost. */
bool cli_is_loopback(const struct cli_address *a);

bool cli_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out);
bool cli_bytes(const char *text, uint64_t *out); /* 1048576, 512K, 64M, 4G, 1T; iB or B may follow */
bool cli_name_ok(const char *name);              /* letters, digits, - _ . ; at most 31 */

#endif
